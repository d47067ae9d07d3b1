"""A disk rebuilt from the journal of `shim.c`: what may be found on it after a power cut.

Data is there for certain once its file was synced, and a name once its folder was: until then any part of it may be
there, or none. A write may be torn between sectors.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["Disk", "Entry", "read_journal"]

SECTOR = 512
OPEN, CLOSE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MAKE_FOLDER = range(1, 9)
_ENTRY = struct.Struct("<iiqii")


class Entry(NamedTuple):
    """An operation that went well: `data` is what was written, or the path; `other` the new name."""

    operation: int
    handle: int
    offset: int
    data: bytes
    other: bytes


def read_journal(path: Path) -> Iterator[Entry]:
    """Yield what was done to the files, in order."""
    content, place = path.read_bytes(), 0
    while place < len(content):
        operation, handle, offset, size, other = _ENTRY.unpack_from(content, place)
        place += _ENTRY.size
        yield Entry(
            operation, handle, offset, content[place : place + size], content[place + size : place + size + other]
        )
        place += size + other


@dataclass(eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, data), or (size, None)

    def sync(self) -> None:
        for offset, data in self.pending:
            _change(self.synced, offset, data)
        self.pending.clear()

    def image(self, chance: random.Random | None) -> bytes:
        """Return the content after a cut: what was synced, and by chance some of what was not."""
        content = bytearray(self.synced)
        for offset, data in self.pending if chance else ():
            assert chance is not None
            fate = chance.choice(("lost", "whole", "torn"))
            if fate == "whole" or (fate == "torn" and data is None):
                _change(content, offset, data)
            elif fate == "torn" and data is not None:
                for begin, end in _sectors(offset, len(data)):
                    if chance.random() < 0.5:
                        _change(content, offset + begin, data[begin:end])
        return bytes(content)


class _Folder:
    """Marks a name that is a folder's."""


class _Naming(NamedTuple):
    """A file put under a name, or none; and the name that it had before."""

    path: str
    what: _File | _Folder | None
    older: str | None = None

    def apply(self, names: dict[str, _File | _Folder]) -> None:
        if self.older is not None:
            names.pop(self.older, None)
        if self.what is None:
            names.pop(self.path, None)
        else:
            names[self.path] = self.what


class Disk:
    """Files as programs see them, and what of that would survive a power cut now.

    Parameters
    ----------
    root : Path
        The folder that all files are in, which is there for certain.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._names: dict[str, _File | _Folder] = {self._root: _Folder()}
        self._durable = dict(self._names)
        self._pending: list[_Naming] = []
        self._handles: dict[int, tuple[str, _File | _Folder]] = {}

    def play(self, entry: Entry) -> None:
        """Do what was done."""
        path = entry.data.decode() if entry.operation in (OPEN, RENAME, UNLINK, MAKE_FOLDER) else ""
        if entry.operation == OPEN:
            if path not in self._names:
                self._name(_Naming(path, _File()))
            found = self._names[path]
            if isinstance(found, _File) and entry.offset:  # opened to be written anew
                found.pending.append((0, None))
            self._handles[entry.handle] = path, found
        elif entry.operation == CLOSE:
            del self._handles[entry.handle]
        elif entry.operation == RENAME:
            self._name(_Naming(entry.other.decode(), self._names[path], older=path))
        elif entry.operation == UNLINK:
            self._name(_Naming(path, None))
        elif entry.operation == MAKE_FOLDER:
            self._name(_Naming(path, _Folder()))
        else:
            path, found = self._handles[entry.handle]
            if isinstance(found, _Folder):
                self._sync_names(path)
            elif entry.operation == SYNC:
                found.sync()
            else:
                found.pending.append((entry.offset, entry.data if entry.operation == WRITE else None))

    def _name(self, naming: _Naming) -> None:
        naming.apply(self._names)
        self._pending.append(naming)

    def _sync_names(self, folder: str) -> None:
        for naming in self._pending:
            if os.path.dirname(naming.path) == folder:
                naming.apply(self._durable)
        self._pending = [naming for naming in self._pending if os.path.dirname(naming.path) != folder]

    def write_image(self, target: Path, chance: random.Random | None = None) -> None:
        """Write the files as they may be found after a cut now.

        Parameters
        ----------
        target : Path
            An empty folder that takes the place of the root.
        chance : Random, optional
            Decides what is found of that which was not synced; nothing of it unless given.
        """
        names = dict(self._durable)
        for naming in self._pending:
            if chance is not None and chance.random() < 0.5:
                naming.apply(names)
        there = {self._root}  # of the folders
        for path, what in sorted(names.items(), key=lambda item: item[0]):
            place = target / os.path.relpath(path, self._root)
            if path == self._root or os.path.dirname(path) not in there:
                continue
            if isinstance(what, _Folder):
                there.add(path)
                place.mkdir()
            elif not path.endswith("-shm"):  # memory that processes share; no program trusts it after a cut
                place.write_bytes(what.image(chance))


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    size = offset if data is None else offset + len(data)
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if data is None:
        del content[size:]
    else:
        content[offset:size] = data


def _sectors(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a write that lie in one sector each."""
    begin = 0
    while begin < size:
        end = min(size, begin + SECTOR - (offset + begin) % SECTOR)
        yield begin, end
        begin = end
