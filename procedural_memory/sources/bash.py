"""The history of bash: one command a line; with times, the lines between two times are one command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, joined, seconds, text

__all__ = ["entries"]

_TIME = re.compile(rb"#(\d{9,11})\r?")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    when: float | None = None
    timed = False
    command: list[bytes] = []
    begin = 1
    for number, line in enumerate(lines, 1):
        mark = _TIME.fullmatch(line)
        if mark or not timed:
            yield from _entry(command, when, begin)
            command, begin = [], number
        if mark:
            timed, when = True, seconds(mark[1].decode())
        else:
            command.append(line)
    yield from _entry(command, when, begin)


def _entry(lines: list[bytes], when: float | None, begin: int) -> Iterator[Entry]:
    command = joined(lines)
    if command is not None and command.strip():
        yield Entry(text(command), when, line=begin)
