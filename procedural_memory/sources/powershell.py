"""The history of PowerShell's PSReadLine: one command a line, continued by a backtick; it tells no times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, Oversize, joined, text

__all__ = ["entries"]


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    pending: list[bytes] = []
    begin = 1
    for number, raw in enumerate(lines, 1):
        begin = begin if pending else number
        line = raw if isinstance(raw, Oversize) else raw.removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        pending.append(type(line)(line[:-1]) if line.endswith(b"`") else line)
        if not line.endswith(b"`"):
            yield from _entry(pending, begin)
            pending = []
    yield from _entry(pending, begin)


def _entry(lines: list[bytes], begin: int) -> Iterator[Entry]:
    command = joined(lines)
    if command is not None and command.strip():
        yield Entry(text(command), line=begin)
