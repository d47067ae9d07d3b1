"""Turns what a caller hands in into `Command` objects, or says exactly what is wrong with it.

Control characters are dropped, lone surrogates become U+FFFD, secrets become ``<SECRET>``: nothing else of the
package ever sees them.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeAlias, get_args

from procedural_memory.commands.clean import clean, printable, starts_blank
from procedural_memory.commands.project import project_of
from procedural_memory.commands.redact import redact
from procedural_memory.errors import InvalidInputError, InvalidTypeError, shown
from procedural_memory.types import ACTORS, Command, Outcome, Prediction, Verdict

__all__ = [
    "MAX_COMMAND",
    "CommandLike",
    "as_bound",
    "as_command",
    "as_commands",
    "as_outcome",
    "as_pattern",
    "as_positive_int",
    "as_probability",
    "as_seconds",
    "as_shown",
    "as_text",
    "as_verdict",
    "begins_with_blank",
    "line_of",
]

MAX_COMMAND = 4 * 1024 * 1024
"""Longest command line that is accepted, in characters."""

CommandLike: TypeAlias = str | Mapping[str, Any] | Command
"""A command line, a mapping with a ``"command"`` key, or a `Command`."""

_LATEST = 1e11
_LONGEST_MS = 1e12
_OUTPUT = 16_384
_LARGEST = 2**63 - 1  # what an integer of a database holds
_TEXTS = ("cwd", "project", "source", "host", "branch")


def as_text(name: str, value: Any, *, optional: bool = False) -> Any:
    """Return a clean, non-empty string (or None where that is allowed)."""
    if value is None and optional:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name}: must be a string, not {type(value).__name__} ({shown(value)})")
    if "\0" in value:
        raise InvalidInputError(f"{name}: must not hold a NUL byte, got {shown(value)}")
    if len(value) > MAX_COMMAND:
        raise InvalidInputError(
            f"{name}: must have at most {MAX_COMMAND:,} characters, got {len(value):,} ({shown(value, 40)})"
        )
    text = clean(value)
    if not text:
        if optional:
            return None
        raise InvalidInputError(f"{name}: must not be empty, got {shown(value)}")
    return text


def as_positive_int(name: str, value: Any) -> int:
    """Return an integer of at least 1."""
    return _as_int(name, value, 1, "at least 1")


def _as_int(name: str, value: Any, least: int, rule: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError as error:
        raise InvalidTypeError(
            f"{name}: must be an integer of {rule}, not {type(value).__name__} ({shown(value)})"
        ) from error
    if number < least:
        raise InvalidInputError(f"{name}: must be {rule}, got {shown(number)}")
    if number > _LARGEST:
        raise InvalidInputError(f"{name}: must be at most {_LARGEST}, got {shown(number)}")
    return number


def as_bound(name: str, value: Any) -> int | None:
    """Return an integer of at least 1, 0 for no bound, or None."""
    return None if value is None else _as_int(name, value, 0, "0 (no bound) or more")


def as_probability(name: str, value: Any) -> float:
    """Return a float in 0..1."""
    number = _as_number(name, value)
    if number is None or not 0.0 <= number <= 1.0:
        raise InvalidInputError(f"{name}: must lie between 0 and 1, got {shown(value)}")
    return number


def as_seconds(name: str, value: Any) -> float | None:
    """Return a length of time in seconds, from a number or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = _as_number(name, value)
    if number is not None and number < 0:
        raise InvalidInputError(f"{name}: must be seconds of 0 or more, or a timedelta, got {shown(value)}")
    return number


def as_pattern(name: str, value: Any) -> re.Pattern[str]:
    """Return a regular expression, compiled. It finds something in a text, so it must not match the empty one."""
    source = value.pattern if isinstance(value, re.Pattern) else value
    if not isinstance(source, str):
        raise InvalidTypeError(
            f"{name}: must be a regular expression of text, not {type(value).__name__} ({shown(value)})"
        )
    try:
        compiled = re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidInputError(
            f"{name}: must be a regular expression ({error}), got {shown(source)}; re.escape() takes a text as it is"
        ) from error
    if compiled.search(""):
        raise InvalidInputError(
            f"{name}: must not match the empty text, got {shown(source)}; it would match everything: use + instead of *"
        )
    return compiled


def as_outcome(value: Any, prefix: str = "", name: str = "session_outcome") -> Outcome:
    """Return ``"success"``, ``"failure"`` or None."""
    if value is None:
        return None
    if isinstance(value, str) and value in ("success", "failure"):
        return "success" if value == "success" else "failure"
    rule = f"{prefix}{name}: must be 'success', 'failure' or None (unknown)"
    if not isinstance(value, str):
        raise InvalidTypeError(f"{rule}, not {type(value).__name__} ({shown(value)})")
    raise InvalidInputError(f"{rule}, got {shown(value)}")


def as_verdict(value: Any, name: str = "verdict") -> Verdict:
    """Return ``"accepted"``, ``"rejected"`` or ``"ignored"``."""
    for verdict in get_args(Verdict):
        if isinstance(value, str) and value == verdict:
            return verdict  # type: ignore[no-any-return]
    rule = f"{name}: must be 'accepted', 'rejected' or 'ignored'"
    if not isinstance(value, str):
        raise InvalidTypeError(f"{rule}, not {type(value).__name__} ({shown(value)})")
    raise InvalidInputError(f"{rule}, got {shown(value)}")


def as_shown(value: Any) -> str:
    """Return the command line of a prediction that was shown, cleaned and redacted."""
    if not isinstance(value, (str, Prediction)):
        raise InvalidTypeError(
            f"prediction: must be a Prediction or its command line, not {type(value).__name__} ({shown(value)})"
        )
    return redact(as_text("prediction", value.next_command if isinstance(value, Prediction) else value))


_redact_again = lru_cache(maxsize=1_024)(redact)
"""For folders, projects and sources, which every step of a session names again."""


def redacted(name: str, value: Any) -> str | None:
    """Return a clean string without secrets, or None."""
    text = as_text(name, value, optional=True)
    return None if text is None else _redact_again(text)


def as_output(value: Any) -> str | None:
    """Return the beginning of what a command printed, without secrets. Whatever it holds, a step is not lost by it."""
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[:_OUTPUT]).decode("utf-8", "replace")
    if not isinstance(value, str):
        raise InvalidTypeError(f"output: must be a string, bytes or None, not {type(value).__name__}")
    return redact(printable(value[:_OUTPUT]).replace("\0", ""))


def as_commands(
    name: str,
    items: Any,
    *,
    defaults: Mapping[str, Any] | None = None,
    read: Callable[..., Command | None] | None = None,
) -> list[Command]:
    """Return the commands of a sequence; an error names the item that is wrong.

    `read` reads one item in place of `as_command`; where it returns None, the item is left out.
    """
    # A set has no order, and order is what is learned.
    if isinstance(items, (str, bytes, Mapping, Set)) or not isinstance(items, Iterable):
        raise InvalidTypeError(f"{name}: must be a list of commands, not {type(items).__name__} ({shown(items)})")
    found = ((read or as_command)(f"{name}[{i}]", item, defaults=defaults) for i, item in enumerate(items))
    return [command for command in found if command is not None]


def begins_with_blank(item: CommandLike) -> bool:
    """Return whether a command was typed after a blank: shells keep such a line out of their history."""
    return starts_blank(line_of(item))


def line_of(item: CommandLike) -> str:
    """Return the line of a command as it was handed in, blanks and secrets included; only control codes are gone."""
    line = item if isinstance(item, str) else item.command if isinstance(item, Command) else item["command"]
    return printable(os.fspath(line))


def as_command(
    name: str, item: Any, *, defaults: Mapping[str, Any] | None = None, given: Mapping[str, Any] | None = None
) -> Command:
    """Return one command, cleaned and redacted.

    Parameters
    ----------
    name : str
        What the caller calls the item; errors begin with it.
    item : str, mapping or Command
        Keys of a mapping that are no field of `Command` are ignored.
    defaults, given : mapping, optional
        Values for fields that the item does not give, and values that win over what the item says.
    """
    fields: Mapping[str, Any]
    if isinstance(item, str):
        fields = {"command": item}
    elif isinstance(item, Command):
        fields = {slot: getattr(item, slot) for slot in Command.__slots__}
    elif isinstance(item, Mapping):
        if item.get("command") is None:
            got = "null" if "command" in item else f"the keys {shown(sorted(map(str, item)))}"
            raise InvalidInputError(f"{name}: must have a 'command', got {got}")
        fields = item
    else:
        raise InvalidTypeError(
            f"{name}: must be a string, a mapping with a 'command' or a Command, not {type(item).__name__}"
            # A word of a list may be a secret by its place, which is not seen here: they are not shown.
            + ("; join the words of a line with shlex.join" if isinstance(item, (list, tuple)) else f" ({shown(item)})")
        )
    if defaults or given:
        layers = (defaults or {}, fields, given or {})
        fields = {key: value for layer in layers for key, value in layer.items() if value is not None}
    # A mapping names its field, a plain string is the item itself.
    prefix = name if isinstance(item, str) else f"{name}.command"
    texts = {key: redacted(f"{name}.{key}", fields.get(key)) for key in _TEXTS}
    actor = fields.get("actor")
    if actor is not None and not (isinstance(actor, str) and actor in ACTORS):
        raise InvalidInputError(f"{name}.actor: must be one of {', '.join(ACTORS)}, got {shown(actor)}")
    duration = _as_number(f"{name}.duration_ms", fields.get("duration_ms"))
    if duration is not None and not 0 <= duration <= _LONGEST_MS:
        rule = "must not be negative" if duration < 0 else f"must be at most {_LONGEST_MS:.0f} (30 years)"
        raise InvalidInputError(f"{name}.duration_ms: {rule}, got {shown(fields['duration_ms'])}")
    project = texts["project"] or project_of(texts["cwd"])
    return Command(
        command=redact(as_text(prefix, fields["command"])),
        exit_code=_as_exit_code(f"{name}.exit_code", fields.get("exit_code")),
        cwd=texts["cwd"],
        timestamp=as_timestamp(f"{name}.timestamp", fields.get("timestamp")),
        duration_ms=duration,
        project=project,
        source=texts["source"],
        actor=actor,
        host=texts["host"],
        branch=texts["branch"],
    )


def _as_number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    # numpy scalars and Decimals are numbers too; strings and booleans are mistakes.
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"{name}: must be a number, not {type(value).__name__} ({shown(value)})") from error
    if not math.isfinite(number):
        raise InvalidInputError(f"{name}: must be finite, got {shown(value)}")
    return number


def _as_exit_code(name: str, value: Any) -> int | None:
    number = _as_number(name, value)
    if number is None:
        return None
    if number != int(number) or abs(number) >= 2**53:
        raise InvalidInputError(f"{name}: must be a whole number, got {shown(value)}")
    return int(number)


def as_timestamp(name: str, value: Any) -> float | None:
    """Return seconds since the epoch from a number, an ISO 8601 string or a datetime (naive: UTC)."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:  # its message repeats the value, whatever that holds
            raise InvalidInputError(
                f"{name}: must be epoch seconds or ISO 8601 such as '2026-01-31T12:00:00+00:00', got {shown(value)}"
            ) from None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
    number = _as_number(name, value)
    if number is not None and not 0 <= number <= _LATEST:
        hint = " (milliseconds? divide by 1000)" if number > _LATEST else ""
        raise InvalidInputError(f"{name}: must be epoch seconds between 0 and {_LATEST:.0f}{hint}, got {shown(value)}")
    return number
