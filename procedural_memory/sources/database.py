"""Histories that are a table of an SQLite database: read only, each row once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from procedural_memory.errors import HistoryError
from procedural_memory.sources.entry import Entry, Skip

__all__ = ["Row", "TableSource"]

Row: TypeAlias = Mapping[str, Any]
"""The columns that a row has, by name, and its number as ``rowid``."""

_WAIT = 5.0
_LONGEST = 1024 * 1024
"""Characters of the longest value that is read."""


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table with a row for each command or event.

    Parameters
    ----------
    name : str
    table : str
    needed : tuple of str
        Columns without which it is another table.
    order : str
        The column of the time, by which rows are put in order.
    find_in : callable
        Returns the databases below a home folder.
    read : callable
        Yields the entries of rows.
    identity : str
        The column that names a row also when rows are numbered anew.
    """

    name: str
    table: str
    needed: tuple[str, ...]
    order: str
    find_in: Callable[[Path], list[Path]]
    read: Callable[[Iterator[Row], Skip], Iterator[Entry]]
    identity: str = "id"

    def find(self, home: Path) -> list[Path]:
        """Return the files of a user that exist."""
        return self.find_in(home)

    def open(self, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> _TableReading:
        """Begin to read a file, after the place that is known from before."""
        return _TableReading(self, path, known, skip)


class _TableReading:
    whole = True
    unfinished = ()

    def __init__(self, source: TableSource, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> None:
        self._source = source
        self._path = path
        self._known = known or {}
        self._skip = skip
        self._rows = self._total = 0
        self._after = self._last = 0

    def entries(self) -> Iterator[Entry]:
        """Yield what the rows after the place that is known tell, by time."""
        source = self._source
        try:
            with closing(self._connect()) as db:
                db.execute("BEGIN")  # one state, whatever is written meanwhile
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({source.table})")]
                if missing := [name for name in source.needed if name not in columns]:
                    raise HistoryError(
                        f"{source.name} database {str(self._path)!r}: has no column "
                        f"{', '.join(f'{source.table}.{name}' for name in missing)}; is it one of {source.name}?"
                    )
                self._after = self._start(db)
                self._total, newest = db.execute(
                    f"SELECT count(*), max(rowid) FROM {source.table} WHERE rowid > ?", (self._after,)
                ).fetchone()
                # A value that is too long is not even fetched.
                picked = ", ".join(f'CASE WHEN length("{name}") <= {_LONGEST} THEN "{name}" END' for name in columns)
                rows = db.execute(
                    f'SELECT rowid, {picked} FROM {source.table} WHERE rowid > ? ORDER BY "{source.order}", rowid',
                    (self._after,),
                )
                yield from source.read(self._counted(rows, columns), self._skip)
                self._last = newest or self._after
        except (sqlite3.Error, UnicodeError) as error:  # a name in a damaged schema may be no text
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> HistoryError:
        return HistoryError(f"{self._source.name} database {str(self._path)!r}: cannot be read ({error})")

    def _connect(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        db = sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None)
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return db

    def _start(self, db: sqlite3.Connection) -> int:
        line, name = self._known.get("line"), self._known.get("id")
        if not isinstance(line, int) or name is None:
            return 0
        table, identity = self._source.table, self._source.identity
        if db.execute(f"SELECT 1 FROM {table} WHERE rowid = ? AND {identity} = ?", (line, name)).fetchone():
            return line
        found = db.execute(f"SELECT rowid FROM {table} WHERE {identity} = ?", (name,)).fetchone()
        return found[0] if found else 0

    def _counted(self, rows: sqlite3.Cursor, columns: list[str]) -> Iterator[Row]:
        for row in rows:
            self._rows += 1
            yield {
                "rowid": row[0],
                **{name: value for name, value in zip(columns, row[1:], strict=True) if value != ""},
            }

    @property
    def done(self) -> float:
        """The share that was read."""
        return self._rows / self._total if self._total else 1.0

    @property
    def last(self) -> int:
        """The number of the newest row; until all are read the place that was known, for they come by time."""
        return self._last or self._after

    def place(self, line: int) -> Mapping[str, Any]:
        """Return what tells later where the row was."""
        try:
            with closing(self._connect()) as db:
                found = db.execute(
                    f"SELECT rowid, {self._source.identity} FROM {self._source.table} WHERE rowid <= ?"
                    " ORDER BY rowid DESC LIMIT 1",
                    (line,),
                ).fetchone()
        except (sqlite3.Error, UnicodeError) as error:  # a name in a damaged schema may be no text
            raise self._failed(error) from error
        return {"line": found[0], "id": found[1]} if found else {"line": 0}
