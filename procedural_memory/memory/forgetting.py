"""Forgetting: what goes from the session log, what a text becomes that is to be hidden.

First a plan is made, which changes nothing; so a dry run tells what the real one does. Carrying it out changes the
log alone. Everything else is derived from what is left, and so equals never having learned the rest: newest
followers, values and examples cannot be subtracted without reading the log, so the log is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Final

from procedural_memory.commands.hide import TEXTS, name_for, with_texts
from procedural_memory.commands.normalize import normalize
from procedural_memory.commands.redact import SECRET
from procedural_memory.errors import InvalidInputError
from procedural_memory.memory.patterns import pattern_id_of
from procedural_memory.storage.base import FeedbackRow, SessionRow, Store, session_digest
from procedural_memory.types import Command, Forgotten
from procedural_memory.validation import as_pattern, as_positive_int, as_seconds, as_text, as_timestamp

__all__ = ["EXAMPLES", "Conditions", "Limits", "Plan", "plan_forget", "plan_prune", "plan_scrub"]

EXAMPLES: Final = 10
"""How many of the command lines that go are shown."""

_TEXTS = ("pattern", "command", "session", "project", "template", "containing", "source")
_KEPT = 16_384
"""Of so many texts it is kept how they are hidden: folders, projects and lines come up again and again."""


@dataclass(slots=True)
class Plan:
    """What the log will be: sessions that go, sessions with fewer steps or other texts, and feedback that is left."""

    gone: list[int] = field(default_factory=list)
    shortened: list[tuple[SessionRow, list[Command]]] = field(default_factory=list)
    rewritten: list[tuple[SessionRow, list[Command]]] = field(default_factory=list)
    feedback: dict[int | None, list[FeedbackRow]] = field(default_factory=dict)
    """Of those sessions of which it changes; None: that of no session."""
    steps: int = 0
    verdicts: int = 0
    rewrites: int = 0
    """How many steps, sessions and verdicts get another text."""
    _examples: dict[str, None] = field(default_factory=dict)

    @property
    def forgotten(self) -> Forgotten:
        """What goes."""
        return Forgotten(self.steps, len(self.gone), self.verdicts, tuple(self._examples))

    def drop(self, commands: Iterable[Command]) -> None:
        """Count steps that go."""
        for command in commands:
            self.steps += 1
            if len(self._examples) < EXAMPLES:
                self._examples[command.command] = None

    def drop_session(self, store: Store, row: SessionRow, commands: Iterable[Command]) -> None:
        """Let a whole session go, with its feedback."""
        self.gone.append(row.id)
        self.verdicts += len(store.feedback(row.id))
        self.drop(commands)

    def keep_feedback(self, session: int | None, told: list[FeedbackRow], left: list[FeedbackRow]) -> None:
        """Leave that of the feedback which was `told`."""
        if left != told:
            self.feedback[session] = left
            self.verdicts += len(told) - len(left)

    def carry_out(self, store: Store) -> bool:
        """Change the log; return whether that changed anything. Wants a `Deriver.rebuild` after it."""
        store.delete_sessions(self.gone)
        for row, commands in self.shortened:
            store.replace_steps(row.id, commands, session_digest(commands, row.outcome))
            if commands and commands[0].timestamp is not None:
                # A session begins with its first step, also when that was another one before.
                store.set_start(row.id, commands[0].timestamp)
        for row, commands in self.rewritten:
            digest = session_digest(commands, row.outcome)
            store.rewrite_session(row.id, row.session_id, row.source, commands, digest)
        for session, rows in self.feedback.items():
            store.replace_feedback(session, rows)
        return bool(self.gone or self.shortened or self.rewritten or self.feedback)


# -- forget


_Words = tuple[str, ...] | None
"""A text as the caller gave it, and as it is when it is redacted: what is stored may be the one or the other."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is to be forgotten: what meets all conditions that are not None."""

    pattern: _Words = None
    command: _Words = None
    session: _Words = None
    project: _Words = None
    before: float | None = None
    matching: re.Pattern[str] | None = None
    template: _Words = None
    containing: _Words = None
    source: _Words = None

    @classmethod
    def of(cls, hide: Callable[[str], str], **given: object) -> Conditions:
        """Return the conditions that a caller gave, checked."""
        texts = {name: as_text(name, given[name]) for name in _TEXTS if given[name] is not None}
        checked = {name: tuple(dict.fromkeys((text, hide(text)))) for name, text in texts.items()}
        if "containing" in checked:
            # Nothing but the mark would be found in every line that lost a secret.
            found = [text for text in checked["containing"] if text.replace(SECRET, "").strip()]
            checked["containing"] = tuple(found)
        before = as_timestamp("before", given["before"])
        matching = None if given["matching"] is None else as_pattern("matching", given["matching"])
        conditions = cls(**checked, before=before, matching=matching)
        if conditions == cls():
            raise InvalidInputError("forget: give at least one condition, such as session= or containing=")
        return conditions

    @property
    def asks_of_steps(self) -> bool:
        """Whether some condition is about single steps."""
        asked = (self.command, self.project, self.before, self.matching, self.template, self.containing)
        return any(condition is not None for condition in asked)

    def meets(self, command: Command, when: float) -> bool:
        """Return whether a step that began then meets what is asked of steps."""
        line = command.command
        return (
            (self.command is None or line in self.command)
            and (self.project is None or command.project in self.project)
            and (self.before is None or when < self.before)
            and (self.containing is None or any(text in line for text in self.containing))
            and (self.matching is None or self.matching.search(line) is not None)
            and (self.template is None or normalize(line) in self.template)
        )

    def spares(self, row: FeedbackRow) -> bool:
        """Return whether feedback stays: neither its line nor the one before it meets what is asked of steps."""
        lines = [line for line in (row.line, row.after) if line is not None]
        return not any(self.meets(Command(line, project=row.project), row.timestamp) for line in lines)

    def sessions(self, store: Store) -> Iterator[tuple[SessionRow, list[Command]]]:
        """Yield the sessions that meet what is asked of sessions, with their steps."""
        if self.session is None:
            rows = store.sessions()
        else:
            rows = (row for name in self.session if (row := store.find_session(name)) is not None)
        for row in rows:
            if self.source is None or row.source in self.source:
                commands = store.steps(row.id)
                if self.pattern is None or _pattern_of(commands) in self.pattern:
                    yield row, commands


def plan_forget(store: Store, asked: Conditions) -> Plan:
    """Return what is left without all that meets the conditions."""
    plan = Plan()
    for row, commands in asked.sessions(store):
        kept = [
            number
            for number, command in enumerate(commands)
            if not asked.meets(command, row.start if command.timestamp is None else command.timestamp)
        ]
        # A session that goes on without the steps that it had goes on, unless it was meant itself.
        if not kept and (not asked.asks_of_steps if not row.closed else commands or asked.session is not None):
            plan.drop_session(store, row, commands)
            continue
        told = store.feedback(row.id)
        places = {0: 0} | {old + 1: new for new, old in enumerate(kept, 1)}
        left = [replace(item, step=places[item.step]) for item in told if item.step in places and asked.spares(item)]
        plan.keep_feedback(row.id, told, left)
        if len(kept) < len(commands):
            staying = set(kept)
            plan.drop(command for number, command in enumerate(commands) if number not in staying)
            plan.shortened.append((row, [commands[number] for number in kept]))
    if asked.session is asked.pattern is asked.source is None:
        told = store.feedback(None)
        plan.keep_feedback(None, told, [item for item in told if asked.spares(item)])
    return plan


# -- prune


@dataclass(frozen=True, slots=True)
class Limits:
    """What a memory is to be kept within; see `plan_prune`."""

    max_age: float | None
    min_support: int | None
    max_size: int | None

    @classmethod
    def of(cls, max_age: float | timedelta | None, min_support: int | None, max_size: int | None) -> Limits:
        """Return the limits that a caller gave, checked."""
        if max_age is min_support is max_size is None:
            raise InvalidInputError("prune: give at least one of max_age=, min_support= and max_size=")
        return cls(
            as_seconds("max_age", max_age),
            None if min_support is None else as_positive_int("min_support", min_support),
            None if max_size is None else as_positive_int("max_size", max_size),
        )


@dataclass(frozen=True, slots=True)
class _Closed:
    """A closed session: what it is judged by."""

    row: SessionRow
    last: float
    size: int
    pattern: str | None


def plan_prune(store: Store, limits: Limits, now: float, min_commands: int) -> Plan:
    """Return what is left within the limits: a question of what the sessions are, not of the order they came in.

    First those go that are too old; then those whose pattern is followed by too few of the rest; then the oldest ones
    until the steps of all fit; then again those whose pattern lost too many by that. Open ones stay; their steps count.
    """
    every, total = [], 0
    for row in store.sessions():
        commands = store.steps(row.id)
        total += len(commands)
        if row.closed:
            last = max((c.timestamp for c in commands if c.timestamp is not None), default=row.start)
            pattern = _pattern_of(commands) if len(commands) >= min_commands else None
            every.append(_Closed(row, last, len(commands), pattern))
    left = every
    if limits.max_age is not None:
        left = [item for item in left if item.last >= now - limits.max_age]
    left = _supported(left, limits.min_support)
    if limits.max_size is not None:
        left = sorted(left, key=lambda item: (item.last, item.row.start, item.row.session_id))
        size = total - sum(item.size for item in every) + sum(item.size for item in left)
        oldest = 0
        while size > limits.max_size and oldest < len(left):
            size -= left[oldest].size
            oldest += 1
        left = _supported(left[oldest:], limits.min_support)
    staying = {item.row.id for item in left}
    plan = Plan()
    for item in every:
        if item.row.id not in staying:
            plan.drop_session(store, item.row, store.steps(item.row.id))
    if limits.max_age is not None:
        oldest_told, told = now - limits.max_age, store.feedback(None)
        plan.keep_feedback(None, told, [row for row in told if row.timestamp >= oldest_told])
    return plan


def _supported(sessions: list[_Closed], least: int | None) -> list[_Closed]:
    """Return the sessions without those whose pattern fewer than `least` of them follow."""
    if least is None:
        return sessions
    runs = Counter(item.pattern for item in sessions)
    return [item for item in sessions if item.pattern is None or runs[item.pattern] >= least]


# -- scrub


def plan_scrub(store: Store, hide: Callable[[str], str]) -> Plan:
    """Return the log with every text as `hide` makes it."""
    plan, hide = Plan(), lru_cache(_KEPT)(hide)
    rows = list(store.sessions())
    taken = {row.session_id for row in rows}
    for row in rows:
        commands = store.steps(row.id)
        name = name_for(row.session_id, hide(row.session_id), taken)
        taken.add(name)
        clean = replace(row, session_id=name, source=None if row.source is None else hide(row.source))
        hidden = [with_texts(command, TEXTS, hide) for command in commands]
        if (clean, hidden) != (row, commands):
            plan.rewrites += (clean != row) + sum(a != b for a, b in zip(hidden, commands, strict=True))
            plan.rewritten.append((clean, hidden))
        _scrub_feedback(plan, row.id, store.feedback(row.id), hide)
    _scrub_feedback(plan, None, store.feedback(None), hide)
    return plan


def _scrub_feedback(plan: Plan, session: int | None, told: list[FeedbackRow], hide: Callable[[str], str]) -> None:
    hidden = [
        replace(
            row,
            line=hide(row.line),
            # Of a session it is what the log says.
            after=row.after if session is not None or row.after is None else hide(row.after),
            project=None if row.project is None else hide(row.project),
        )
        for row in told
    ]
    if hidden != told:
        plan.rewrites += sum(a != b for a, b in zip(hidden, told, strict=True))
        plan.feedback[session] = hidden


def _pattern_of(commands: Iterable[Command]) -> str:
    return pattern_id_of([normalize(command.command) for command in commands])
