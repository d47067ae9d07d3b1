"""What an engine keeps out and what it redacts beyond the built-in rules: its policy, in one place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from procedural_memory.commands.hide import TEXTS, hider, name_for, with_texts
from procedural_memory.errors import InvalidTypeError, shown
from procedural_memory.storage.base import FeedbackRow
from procedural_memory.types import Command, Prediction
from procedural_memory.validation import CommandLike, as_command, as_commands, as_pattern, begins_with_blank, line_of

if TYPE_CHECKING:
    from procedural_memory.storage.snapshot import SessionRecord

__all__ = ["DISABLE", "PatternLike", "Privacy", "is_disabled"]

DISABLE: Final = "PROCEDURAL_MEMORY_DISABLE"
"""The environment variable that turns everything off, unless it is empty or ``0``."""


def is_disabled() -> bool:
    """Return whether everything is turned off."""
    return os.environ.get(DISABLE, "") not in ("", "0")


PatternLike: TypeAlias = str | re.Pattern[str]
"""A regular expression, compiled or not."""


class Privacy:
    """What one engine keeps out, and what it redacts.

    Parameters
    ----------
    redact : sequence of str or Pattern
        What they match becomes ``<SECRET>``, or their group ``s`` where they have one.
    ignore : sequence of str or Pattern
        A command in which one is found is kept out.

    Attributes
    ----------
    disabled : bool
        Whether `DISABLE` was set when this was made: then every command is kept out.
    """

    def __init__(self, redact: Sequence[PatternLike] = (), ignore: Sequence[PatternLike] = ()) -> None:
        self._redact = _compiled("redact", redact)
        self._ignore = _compiled("ignore", ignore)
        self.disabled = is_disabled()
        # What is shown and saved was redacted when it was stored; mostly the same lines, again and again.
        self.again: Callable[[str], str] = lru_cache(maxsize=8192)(self.hider())
        """Redact a text that is on its way out, by all the rules that there are now."""
        self._all_again = lru_cache(maxsize=8192)(self._each_again)

    def __reduce__(self) -> tuple[type[Privacy], tuple[Sequence[PatternLike], Sequence[PatternLike]]]:
        return Privacy, (self._redact, self._ignore)

    def text(self, text: str) -> str:
        """Redact by the patterns of this engine what the built-in rules have redacted."""
        return self.again(text) if self._redact else text

    def hider(self, patterns: Sequence[re.Pattern[str]] = ()) -> Callable[[str], str]:
        """Return what redacts by all the rules that there are, and by some more patterns."""
        return hider([*self._redact, *patterns])

    def optional(self, text: str | None) -> str | None:
        """Redact a text that may be None."""
        return None if text is None else self.text(text)

    def hide(self, command: Command) -> Command:
        """Redact every text of a command."""
        return with_texts(command, TEXTS, self.text) if self._redact else command

    def hide_again(self, command: Command) -> Command:
        """Redact every text of a command that was stored, by all the rules that there are now."""
        return with_texts(command, TEXTS, self.again)

    def keeps_out(self, item: CommandLike) -> bool:
        """Return whether a command, as it was handed in, must not be learned."""
        if self.disabled or begins_with_blank(item):
            return True
        return bool(self._ignore) and any(pattern.search(line_of(item).strip()) for pattern in self._ignore)

    def commands(self, name: str, items: Any, *, defaults: Mapping[str, Any] | None = None) -> list[Command]:
        """Return the commands of a sequence, checked and redacted, without those that are kept out."""
        return as_commands(name, items, defaults=defaults, read=self.command)

    def command(self, name: str, item: Any, *, defaults: Mapping[str, Any] | None = None) -> Command | None:
        """Return a command checked and redacted, None where it is kept out."""
        command = self.hide(as_command(name, item, defaults=defaults))
        return None if self.keeps_out(item) else command

    def sessions(self, records: Iterable[SessionRecord]) -> list[SessionRecord]:
        """Return sessions of a snapshot redacted, without what is kept out and those of which nothing is left."""
        taken: set[str] = set()
        return [record for record in records if self._session(record, taken)]

    def _session(self, record: SessionRecord, taken: set[str]) -> bool:
        steps = len(record.commands)
        record.leave_out({number for number, command in enumerate(record.commands) if self.keeps_out(command)})
        record.commands = [self.hide(command) for command in record.commands]
        record.session_id = name_for(record.session_id, self.text(record.session_id), taken)
        taken.add(record.session_id)
        record.source = self.optional(record.source)
        record.feedback = self.feedback(record.feedback)
        return bool(record.commands) or not (steps or self.disabled)

    def feedback(self, rows: Iterable[FeedbackRow]) -> list[FeedbackRow]:
        """Return feedback redacted, without that on lines which are kept out."""
        kept = [row for row in rows if not any(self.keeps_out(line) for line in (row.line, row.after) if line)]
        return [with_texts(row, ("line", "after", "project"), self.text) for row in kept] if self._redact else kept

    def predictions(self, predictions: Iterable[Prediction]) -> list[Prediction]:
        """Return what may be shown of predictions: rules may be newer than what is stored."""
        return [self._shown(prediction) for prediction in predictions if not self.keeps_out(prediction.next_command)]

    def _shown(self, prediction: Prediction) -> Prediction:
        found = with_texts(prediction, ("next_command", "template", "reason"), self.again)
        suggestions = self._all_again(found.auto_suggestions)
        evidence = tuple(
            one if (context := self._all_again(one.context)) == one.context else replace(one, context=context)
            for one in found.evidence
        )
        if suggestions != found.auto_suggestions or evidence != found.evidence:
            found = replace(found, auto_suggestions=suggestions, evidence=evidence)
        # A line that lost a part cannot be run as it stands.
        return found if found.next_command == prediction.next_command else replace(found, runnable=False)

    def _each_again(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(self.again, texts))


def _compiled(name: str, patterns: Any) -> tuple[re.Pattern[str], ...]:
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Sequence):
        raise InvalidTypeError(
            f"{name}: must be a list of regular expressions, not {type(patterns).__name__} ({shown(patterns)})"
        )
    return tuple(as_pattern(f"{name}[{number}]", pattern) for number, pattern in enumerate(patterns))
