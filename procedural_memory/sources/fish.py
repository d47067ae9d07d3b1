"""The history of fish: a list of ``- cmd:`` with ``when:`` and ``paths:``, which looks like YAML but is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, seconds, text

__all__ = ["entries"]

_ESCAPE = re.compile(r"\\([\\n])")
_WHEN = re.compile(r"  when: (\d{1,15})\s*")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    command = ""
    when: float | None = None
    for line in map(text, lines):
        if line.startswith("- cmd: "):
            if command.strip():
                yield Entry(command, when)
            command = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else "\\", line[len("- cmd: ") :])
            when = None
        elif mark := _WHEN.fullmatch(line):
            when = seconds(mark[1])
    if command.strip():
        yield Entry(command, when)
