"""The history of bash: one command a line; with times, the lines between two times are one command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, seconds, text

__all__ = ["entries"]

_TIME = re.compile(r"#(\d{9,11})")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    when: float | None = None
    timed = False
    command: list[str] = []
    for line in map(text, lines):
        mark = _TIME.fullmatch(line)
        if mark or not timed:
            yield from _entry(command, when)
            command = []
        if mark:
            timed, when = True, seconds(mark[1])
        else:
            command.append(line)
    yield from _entry(command, when)


def _entry(lines: list[str], when: float | None) -> Iterator[Entry]:
    command = "\n".join(lines)
    if command.strip():
        yield Entry(command, when)
