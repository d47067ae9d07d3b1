"""The history of fish: a list of ``- cmd:`` with ``when:`` and ``paths:``, which looks like YAML but is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, Oversize, seconds, text

__all__ = ["entries"]

_COMMAND = b"- cmd: "
_ESCAPE = re.compile(r"\\([\\n])")
_WHEN = re.compile(r"  when: (\d{1,15})\s*")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    command = ""
    when: float | None = None
    begin = 1
    for number, line in enumerate(lines, 1):
        if isinstance(line, Oversize) or line.startswith(_COMMAND):
            if command.strip():
                yield Entry(command, when, line=begin)
            raw = b"" if isinstance(line, Oversize) else line[len(_COMMAND) :]
            command = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else "\\", text(raw))
            when, begin = None, number
        elif mark := _WHEN.fullmatch(text(line)):
            when = seconds(mark[1])
    if command.strip():
        yield Entry(command, when, line=begin)
