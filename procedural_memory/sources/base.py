"""What a source is: where its files are, and how the entries of one are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from procedural_memory.sources.entry import UNFINISHED, Entry, Lines, Skip
from procedural_memory.sources.reading import place_again, tail

__all__ = ["LineSource", "Reading", "Source"]


class Reading(Protocol):
    """One file that is being read."""

    def entries(self) -> Iterator[Entry]:
        """Yield what was not read before, each entry with its line; raises `HistoryError` where it cannot be read."""
        ...

    @property
    def done(self) -> float:
        """The share that was read, 0..1."""
        ...

    @property
    def last(self) -> int:
        """The line up to which everything was read."""
        ...

    @property
    def whole(self) -> bool:
        """Whether what was read last is complete, as far as one can see."""
        ...

    @property
    def unfinished(self) -> Sequence[Entry]:
        """The calls that had no result when all was read."""
        ...

    def place(self, line: int) -> Mapping[str, Any]:
        """Return what tells later where `line` was."""
        ...


class Source(Protocol):
    """A kind of history."""

    @property
    def name(self) -> str:
        """The label of its sessions and steps."""
        ...

    def find(self, home: Path) -> list[Path]:
        """Return the files of a user that exist."""
        ...

    def open(self, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> Reading:
        """Begin to read a file, after the place that is known from before."""
        ...


@dataclass(frozen=True, slots=True)
class LineSource:
    """A history that is a text file, read line by line.

    Parameters
    ----------
    name : str
    find_in : callable
        Returns the files below a home folder.
    read : callable
        Yields the entries of lines, numbered from 1.
    actor : str, optional
        Who runs its commands.
    from_start : bool
        Whether entries can only be understood with all the lines before them.
    """

    name: str
    find_in: Callable[[Path], list[Path]]
    read: Callable[[Iterable[bytes], Skip], Iterator[Entry]]
    actor: str | None = None
    from_start: bool = False

    def find(self, home: Path) -> list[Path]:
        """Return the files of a user that exist."""
        return self.find_in(home)

    def open(self, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> _LineReading:
        """Begin to read a file, after the place that is known from before."""
        return _LineReading(self, path, known, skip)


class _LineReading:
    def __init__(self, source: LineSource, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> None:
        self._source = source
        self._known = known
        self._size = max(1, path.stat().st_size)
        self._skip = skip
        self._after = self._cut = 0
        self.unfinished: list[Entry] = []
        self._lines = Lines(path, self._told)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries after the place that is known."""
        if self._known and self._known.get("line"):
            earlier = Lines(self._lines.path)
            for _ in earlier:
                pass
            self._after = place_again(earlier.marks, self._known)
        skipped = 0 if self._source.from_start else self._after
        for entry in self._source.read(self._from(skipped), lambda line, reason: self._told(line + skipped, reason)):
            line = entry.line + skipped
            if line <= self._after:
                continue
            if entry.command == UNFINISHED:
                self.unfinished.append(entry._replace(line=line))
            else:
                yield entry._replace(line=line, actor=entry.actor or self._source.actor)

    def _from(self, skipped: int) -> Iterator[bytes]:
        for number, line in enumerate(self._lines, 1):
            if self._source.from_start and not (self._lines.whole or _is_json(line)):
                self._cut = 1  # it is being written
                return
            if number > skipped:
                yield line

    def _told(self, line: int, reason: str) -> None:
        if line > self._after:  # the others were told of before
            self._skip(line, reason)

    @property
    def done(self) -> float:
        """The share that was read."""
        return min(1.0, self._lines.position / self._size)

    @property
    def last(self) -> int:
        """The number of the last line, without one that is being written."""
        return len(self._lines.marks) - self._cut

    @property
    def whole(self) -> bool:
        """Whether the last line was complete."""
        return self._lines.whole

    def place(self, line: int) -> Mapping[str, Any]:
        """Return what tells later where `line` was."""
        return {"line": line, "tail": tail(self._lines.marks, line)}


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
