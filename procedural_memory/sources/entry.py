"""One entry of a shell's history, and how its lines are read: a line at a time, whatever the size of the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from procedural_memory.errors import StorageError

__all__ = ["Entry", "lines_of", "seconds", "text"]

_LATEST = 1e11


class Entry(NamedTuple):
    """A command as it was typed, with its start and its run time where the history tells them."""

    command: str
    timestamp: float | None = None
    duration_ms: float | None = None


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a history without their ends."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except OSError as error:
        raise StorageError(f"history {str(path)!r}: cannot be read ({error})") from error


def text(line: bytes) -> str:
    """Return a line as text; no command holds a NUL."""
    return line.decode("utf-8", "replace").replace("\0", "")


def seconds(digits: str) -> float | None:
    """Return seconds since the epoch; None for a time that cannot be one."""
    number = float(digits)
    return number if 0 < number <= _LATEST else None
