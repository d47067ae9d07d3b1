"""How far a file was read, and where to go on when it has grown, was trimmed at its head, or was written anew.

The place is the number of the last line that was learned, with a few bits of each of the lines before it. Where they
are still there, reading goes on after them. Where they are not, they are looked for: a history that lost its head
keeps its tail. Where they are nowhere, everything is read, and what the memory knows is left out by its time.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["place_again", "tail"]

_TAIL: Final = 64
_LEAST: Final = 4
"""How many lines must follow each other as they did, to be the same lines."""


def tail(marks: Sequence[int], line: int) -> str:
    """Return the marks of the lines up to `line`, for `place_again`."""
    return array("H", marks[max(0, line - _TAIL) : line]).tobytes().hex()


def place_again(marks: Sequence[int], known: Any) -> int:
    """Return the line after which a file goes on that was read before.

    Parameters
    ----------
    marks : sequence of int
        Of all its lines now.
    known : mapping or None
        ``line`` and ``tail``, as they were when it was read.
    """
    line, last = _known(known)
    if not line or not last or len(marks) == 0:
        return 0
    if len(marks) >= line and list(marks[line - len(last) : line]) == last:
        return line
    return _search(marks[:line], last)


def _known(known: Any) -> tuple[int, list[int]]:
    try:
        return int(known["line"]), list(array("H", bytes.fromhex(known["tail"])))
    except (KeyError, TypeError, ValueError):
        return 0, []


def _search(marks: Sequence[int], last: list[int]) -> int:
    """Return the end of the run of known lines that goes furthest; of those the longest, the latest one.

    Not the longest of all: a shell may have dropped single lines that were typed again.
    """
    places: dict[int, list[int]] = {}
    for number, mark in enumerate(last):
        places.setdefault(mark, []).append(number)
    least = min(_LEAST, len(last))
    best = (-1, 0, 0)
    runs: dict[int, int] = {}
    for line, mark in enumerate(marks, 1):
        runs = {number: runs.get(number - 1, 0) + 1 for number in places.get(mark, ())}
        for number, length in runs.items():
            # Few are enough where they are all that is left: the last ones known, and nothing before them.
            if length >= least or (number == len(last) - 1 and length == line):
                best = max(best, (number, length, line))
    return best[2]
