"""The history of PowerShell's PSReadLine: one command a line, continued by a backtick; it tells no times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, text

__all__ = ["entries"]


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    pending: list[str] = []
    for number, raw in enumerate(lines):
        line = text(raw.removesuffix(b"\r"))
        line = line.removeprefix("\ufeff") if number == 0 else line
        pending.append(line[:-1] if line.endswith("`") else line)
        if not line.endswith("`"):
            yield from _entry(pending)
            pending = []
    yield from _entry(pending)


def _entry(lines: list[str]) -> Iterator[Entry]:
    command = "\n".join(lines)
    if command.strip():
        yield Entry(command)
