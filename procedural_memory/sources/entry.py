"""One entry of a history, what reading it may skip, and how its lines are read: one at a time, whatever the size of
the file."""

from __future__ import annotations

import json
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from procedural_memory.errors import HistoryError

__all__ = [
    "LONGEST_LINE",
    "UNFINISHED",
    "Entry",
    "Lines",
    "Oversize",
    "Skip",
    "Skipped",
    "instant",
    "joined",
    "lines_of",
    "number_of",
    "objects",
    "real",
    "seconds",
    "text",
]

LONGEST_LINE: Final = 1024 * 1024
"""Bytes of the longest line that is read; a longer one is skipped without being held in memory."""

UNFINISHED: Final = ""
"""In place of the command of a call that has no result yet: it may be running, or wait to be allowed, or never run."""

_LATEST = 1e11
_GREATEST = 1e300
_BLOCK = 65_536

Skip: TypeAlias = Callable[[int, str], object]
"""Called with the line and the reason for what cannot be read."""


class Entry(NamedTuple):
    """A command as it was run, with what the history tells of it.

    Attributes
    ----------
    command : str
    timestamp : float or None
        When it began, in seconds since the epoch.
    duration_ms : float or None
    exit_code : int or None
        None where the history does not tell it.
    cwd, host, actor, branch, project : str or None
        As in `Command`.
    session : str or None
        The history's own id of the session; None where it keeps none.
    line : int
        Where it begins: the number of a line, from 1, or of a row. Later entries of a file have greater ones.
    """

    command: str
    timestamp: float | None = None
    duration_ms: float | None = None
    exit_code: int | None = None
    cwd: str | None = None
    session: str | None = None
    host: str | None = None
    actor: str | None = None
    branch: str | None = None
    project: str | None = None
    line: int = 0

    @property
    def end(self) -> float | None:
        """When it ended, as far as is known; None without a time."""
        return None if self.timestamp is None else self.timestamp + (self.duration_ms or 0.0) / 1000


class Skipped:
    """What was skipped while a history was read: how often for which reason, and the first places."""

    def __init__(self, shown: int = 20) -> None:
        self.counts: Counter[str] = Counter()
        self.places: list[tuple[int, str]] = []
        self._shown = shown

    def __call__(self, line: int, reason: str, detail: str | None = None) -> None:
        """Count one."""
        self.counts[reason] += 1
        if len(self.places) < self._shown:
            self.places.append((line, detail or reason))


class Oversize(bytes):
    """What stands for a line that is too long to be read: its last bytes."""


def objects(lines: Iterable[bytes], skip: Skip) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the JSON objects of lines, each with its number; what is none is skipped."""
    for number, line in enumerate(lines, 1):
        if isinstance(line, Oversize) or not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            skip(number, "not valid JSON")
            continue
        if isinstance(record, Mapping):
            yield number, record
        else:
            skip(number, "not a JSON object")


class Lines:
    """The lines of a file without their ends, one at a time.

    Attributes
    ----------
    marks : array of int
        16 bits of a checksum of each line read: enough to find a place again when many follow each other, too little
        to tell what a line was.
    position : int
        How many bytes were read.
    whole : bool
        Whether the last line that was read had an end.
    """

    def __init__(self, path: Path, skip: Skip | None = None) -> None:
        self.path = path
        self.marks = array("H")
        self.position = 0
        self.whole = True
        self._skip = skip

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while line := file.readline(LONGEST_LINE + 1):
                    self.position += len(line)
                    if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                        check = zlib.crc32(line)
                        while line and not line.endswith(b"\n"):
                            tail = line[-2:]
                            line = file.readline(_BLOCK)
                            self.position += len(line)
                            check = zlib.crc32(line, check)
                        self.whole = line.endswith(b"\n")
                        line = Oversize((tail + line).rstrip(b"\n")[-2:])
                        self.marks.append(check & 0xFFFF)
                        if self._skip:
                            self._skip(len(self.marks), f"a line longer than {LONGEST_LINE:,} bytes")
                    else:
                        self.whole = line.endswith(b"\n")
                        line = line.rstrip(b"\n")
                        self.marks.append(zlib.crc32(line) & 0xFFFF)
                    yield line
        except OSError as error:
            raise HistoryError(f"history {str(self.path)!r}: cannot be read ({error})") from error


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a history without their ends."""
    return iter(Lines(path))


def joined(lines: Iterable[bytes]) -> bytes | None:
    """Return lines as one text; None where one of them was too long to be read."""
    parts = list(lines)
    return None if any(isinstance(part, Oversize) for part in parts) else b"\n".join(parts)


def text(line: bytes) -> str:
    """Return a line as text; no command holds a NUL."""
    return line.decode("utf-8", "replace").replace("\0", "")


def seconds(digits: str | float) -> float | None:
    """Return seconds since the epoch; None for a time that cannot be one."""
    number = float(digits)
    return number if 0 < number <= _LATEST else None


def instant(value: Any) -> float | None:
    """Return seconds since the epoch from ISO 8601 (without a zone: local time) or a number; None for anything else.

    Numbers may be seconds, or milli-, micro- or nanoseconds, as their size tells.
    """
    if isinstance(value, str):
        try:
            return seconds(datetime.fromisoformat(_three_or_six(value.strip())).timestamp())
        except (ValueError, OverflowError, OSError):
            try:
                value = float(value)
            except ValueError:
                return None
    number = real(value)
    for unit in (1.0, 1e3, 1e6, 1e9):
        if number is not None and abs(number) / unit <= _LATEST:
            return seconds(number / unit)
    return None


def _three_or_six(stamp: str) -> str:
    """Return an ISO time in a form that Python 3.10 reads too: no ``Z``, six digits of a fraction."""
    stamp = stamp[:-1] + "+00:00" if stamp[-1:] in "zZ" and stamp else stamp
    head, dot, rest = stamp.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}" if dot and digits else stamp


def real(value: Any) -> float | None:
    """Return a number that is finite and no greater than a float can be, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _GREATEST:
        return None
    return float(value)


def number_of(value: Any) -> int | None:
    """Return a whole number, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
