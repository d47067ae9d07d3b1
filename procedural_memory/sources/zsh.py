"""The history of zsh, plain and extended: a backslash continues a line, and some bytes are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from procedural_memory.sources.entry import Entry, joined, seconds, text

__all__ = ["entries"]

_EXTENDED = re.compile(r": *(\d{1,15}):(\d{1,12});(.*)", re.DOTALL)
_LONGEST = 1e8
"""Seconds that no command takes: a longer time is damage."""
_ESCAPED = re.compile(rb"\x83(.)", re.DOTALL)
_KEPT_BACKSLASH = re.compile(r"\\ +\Z")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the commands of a history, in order."""
    pending: list[bytes] = []
    begin = 1
    for number, line in enumerate(lines, 1):
        begin = begin if pending else number
        if line.endswith(b"\\"):
            pending.append(type(line)(line[:-1]))
            continue
        yield from _entry([*pending, line], begin)
        pending = []
    if pending:
        yield from _entry(pending, begin)


def _entry(lines: list[bytes], begin: int) -> Iterator[Entry]:
    raw = joined(lines)
    if raw is None:
        return
    line = text(_ESCAPED.sub(lambda match: bytes([match[1][0] ^ 32]), raw))
    extended = _EXTENDED.fullmatch(line)
    # A plain line that begins with a colon is kept apart from an extended one by a backslash.
    command = extended[3] if extended else line.removeprefix("\\") if line.startswith("\\:") else line
    if _KEPT_BACKSLASH.search(command):  # zsh adds a space, or the backslash would continue the line
        command = command[:-1]
    if not command.strip():
        return
    if extended and (start := seconds(extended[1])) is not None:
        spent = float(extended[2])
        yield Entry(command, start, spent * 1000 if spent < _LONGEST else None, line=begin)
    else:
        yield Entry(command, line=begin)
