"""Reads the pages of an SQLite file without SQLite, so that one broken page hides no other.

Rows are read from the leaves of tables (https://www.sqlite.org/fileformat2.html): no tree is walked, nothing is
written, and what a hostile file claims is checked before it costs memory or time: a page is read once as a leaf, the
cells of a page take no more than its size, and a page belongs to one overflow chain only.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeAlias

from procedural_memory.storage.files import close_read, open_to_read

__all__ = ["MAGIC", "Pages", "Row"]

MAGIC: Final = b"SQLite format 3\0"

Row: TypeAlias = tuple[int, list[Any]]
"""Number and columns of a row."""

_SIZES = (4096, 512, 1024, 2048, 8192, 16384, 32768, 65536)
"""Page sizes there are, the usual one first."""
_LEAF = 0x0D
_MAX_HEADER = 128
"""Longest header of a record that is looked at, in bytes: that of a dozen columns has fewer."""
_MAX_PAYLOAD = 20 * 1024 * 1024
"""Longest row: a command line of four million characters has fewer bytes."""
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Pages:
    """The pages of a file as the last commit left them, that of its write-ahead log included.

    Attributes
    ----------
    size : int
        Of a page, in bytes.
    count : int
        How many there are, or were when the file was whole.
    declared : int
        How many there ought to be; 0 where that is not known.
    refused : int
        How many cells could not be read so far.

    Raises
    ------
    OSError
        The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_to_read(path)
        self._log = None
        self._logged: dict[int, int] = {}
        self._followed: set[int] = set()
        self.refused = 0
        try:
            self._length = os.fstat(self._file.fileno()).st_size
            beginning = self._file.read(100)
            self.size, declared = _page_size(self._file, beginning), 0
            wal = path.with_name(path.name + "-wal")
            committed = 0
            if wal.is_file():
                self._log = open(wal, "rb")  # noqa: SIM115  closed by close()
                self.size, self._logged, committed = _read_log(self._log, self.size)
            head = self.page(1)[:100]
            self._usable = self.size
            if head.startswith(MAGIC):
                if self.size - head[20] >= 480:  # less than that no file has
                    self._usable -= head[20]
                # The number of pages stands there, if a version of SQLite wrote it that knew of it.
                if head[24:28] == head[92:96]:
                    declared = int.from_bytes(head[28:32], "big")
            self.declared = committed or declared
            there = max(-(-self._length // self.size), *self._logged, 0)
            self.count = min(committed, there) or there
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        close_read(self._file)
        if self._log is not None:
            self._log.close()

    @property
    def missing(self) -> int:
        """How many pages the file ought to have at its end and has not."""
        whole = self._length // self.size
        missing = max(0, self.declared - whole)
        return missing - sum(number > whole for number in self._logged if number <= self.declared)

    def page(self, number: int) -> bytes:
        """Return a page, filled up with zeros where the file ends."""
        place = self._logged.get(number)
        file = self._file if place is None else self._log
        assert file is not None
        file.seek((number - 1) * self.size if place is None else place)
        return file.read(self.size).ljust(self.size, b"\0")

    def free(self) -> set[int]:
        """Return the pages that are in no use: what they hold was deleted. None of them where their list is damaged."""
        head = self.page(1)
        trunk, count = struct.unpack(">II", head[32:40])
        found: set[int] = set()
        while trunk and head.startswith(MAGIC):
            page = self.page(trunk) if 1 < trunk <= self.count and trunk not in found else b""
            following, leaves = struct.unpack(">II", page[:8]) if page else (0, self.size)
            if leaves > self.size // 4 - 2 or len(found) > self.count:
                return set()
            found.add(trunk)
            found.update(struct.unpack(f">{leaves}I", page[8 : 8 + 4 * leaves]))
            trunk = following
        return found if len(found) == count else set()

    def rows(self, number: int) -> Iterator[Row]:
        """Yield the rows that a page holds, if it is a leaf of a table; what cannot be read is counted."""
        page = self.page(number)
        start = 100 if number == 1 else 0
        if page[start] != _LEAF:
            return
        left = self.size
        for place in _places(page, start, self.size):
            try:
                row, used = self._row(page[place:])
            except (ValueError, IndexError, struct.error):
                self.refused += 1
                continue
            left -= used
            if left < 0:  # cells that overlap: made, not damaged
                self.refused += 1
                return
            yield row

    def _row(self, cell: bytes) -> tuple[Row, int]:
        """Return a row and how many bytes of its page it takes."""
        length, place = _varint(cell, 0)
        rowid, place = _varint(cell, place)
        if length > min(_MAX_PAYLOAD, self.size * self.count):
            raise ValueError("longer than a row may be")
        local, usable = length, self._usable
        if length > usable - 35:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (usable - 4)
            local = local if local <= usable - 35 else least
        payload = cell[place : place + local]
        types, body = _header(payload, length)
        used = place + local
        if local < length:
            (following,) = struct.unpack(">I", cell[used : used + 4])
            payload += self._overflow(following, length - local)
            used += 4
        if len(payload) < length:
            raise ValueError("cut off")
        return (_signed(rowid), _values(payload, types, body)), used

    def _overflow(self, number: int, length: int) -> bytes:
        parts = []
        while length > 0:
            if not 1 < number <= self.count or number in self._followed:
                raise ValueError("a chain of pages is broken")
            self._followed.add(number)
            page = self.page(number)
            parts.append(page[4 : min(self._usable, 4 + length)])
            length -= len(parts[-1])
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts)


def _width(kind: int) -> int:
    """Return how many bytes a value of this serial type takes."""
    if kind in (10, 11):
        raise ValueError("a type that is not in use")
    return (kind - 12) // 2 if kind >= 12 else 8 if kind == 7 else _INTEGERS.get(kind, 0)


def _values(payload: bytes, types: Sequence[int], place: int) -> list[Any]:
    values: list[Any] = []
    for kind in types:
        data = payload[place : place + _width(kind)]
        place += len(data)
        if kind == 0:
            values.append(None)
        elif kind in _INTEGERS:
            values.append(int.from_bytes(data, "big", signed=True))
        elif kind == 7:
            values.append(struct.unpack(">d", data)[0])
        elif kind < 10:
            values.append(kind - 8)
        else:
            values.append(data.decode() if kind % 2 else data)
    return values


def _header(payload: bytes, length: int) -> tuple[list[int], int]:
    """Return the serial types of a record, and where its values begin."""
    end, place = _varint(payload, 0)
    if not place <= end <= min(_MAX_HEADER, len(payload)):
        raise ValueError("no header of a record")
    types = []
    while place < end:
        kind, place = _varint(payload, place)
        types.append(kind)
    if place != end or end + sum(map(_width, types)) != length:
        raise ValueError("the types do not make up the length")
    return types, end


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return an unsigned number of up to nine bytes, and where it ends."""
    value = 0
    for _ in range(8):
        byte = data[place]
        place += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place
    return value << 8 | data[place], place + 1


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _places(page: bytes, start: int, size: int) -> list[int]:
    """Return where the cells of a leaf begin, each place once, those outside of it left out."""
    count = min(int.from_bytes(page[start + 3 : start + 5], "big"), (size - start - 8) // 2)
    first = start + 8
    found = struct.unpack(f">{count}H", page[first : first + 2 * count])
    return [place for place in dict.fromkeys(found) if first + 2 * count <= place <= size - 4]


def _page_size(file: Any, beginning: bytes) -> int:
    """Return the size with which the file has most leaves of tables: the one in its head may be damaged."""
    said = int.from_bytes(beginning[16:18], "big")
    said = 65536 if said == 1 else said
    best = said if beginning.startswith(MAGIC) and said in _SIZES else _SIZES[0]
    found = dict.fromkeys(_SIZES, 0)
    file.seek(0)
    base = 0
    while chunk := file.read(65536):
        for place in range(0, len(chunk), 512):
            if chunk[place] == _LEAF:
                for size in _SIZES:
                    if (base + place) % size == 0:
                        found[size] += _is_leaf(chunk[place : place + size], size)
        base += len(chunk)
    most = max(found, key=lambda size: (found[size], size == best))
    return most if found[most] else best


def _is_leaf(page: bytes, size: int) -> bool:
    """Say whether this is a leaf in order, with as many cells as it says, all of them within it."""
    if len(page) < size:
        return False
    count = int.from_bytes(page[3:5], "big")
    content = int.from_bytes(page[5:7], "big") or 65536
    places = _places(page, 0, size)
    return 0 < count == len(places) and 8 + 2 * count <= content <= min(places)


def _read_log(file: Any, size: int) -> tuple[int, dict[int, int], int]:
    """Return the page size, where the newest committed copies of pages stand in a write-ahead log, and the page count.

    As SQLite does: up to the last commit before the first frame that does not match its checksum.
    """
    file.seek(0)
    head = file.read(32)
    magic, _, claimed, _, *salts, first, second = struct.unpack(">8I", head) if len(head) == 32 else (0,) * 8
    if magic not in (0x377F0682, 0x377F0683) or claimed not in _SIZES:
        return size, {}, 0
    order = "<" if magic == 0x377F0682 else ">"
    if _checksum(head[:24], order, (0, 0)) != (first, second):
        return size, {}, 0
    sums = (first, second)
    pending: dict[int, int] = {}
    committed: dict[int, int] = {}
    count, place = 0, 32
    while len(frame := file.read(24 + claimed)) == 24 + claimed:
        number, commit, *rest = struct.unpack(">6I", frame[:24])
        sums = _checksum(frame[24:], order, _checksum(frame[:8], order, sums))
        if rest[:2] != salts or tuple(rest[2:]) != sums or not number:
            break
        pending[number] = place + 24
        place += len(frame)
        if commit:
            committed |= pending
            pending.clear()
            count = commit
    return (claimed if committed else size), {n: at for n, at in committed.items() if n <= count}, count


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        one = one + words[i] + two & 0xFFFFFFFF
        two = two + words[i + 1] + one & 0xFFFFFFFF
    return one, two
