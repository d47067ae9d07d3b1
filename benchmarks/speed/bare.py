"""What the standard library takes for the part of the work that cannot be left out: the rows, in SQLite alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from procedural_memory import Command
from procedural_memory.commands.redact import redact
from procedural_memory.sources import zsh
from procedural_memory.sources.entry import lines_of
from procedural_memory.storage.base import text_id
from procedural_memory.storage.migrations import MIGRATIONS
from procedural_memory.types import Durability

__all__ = ["BareLog", "copy_rows", "import_lines", "open_and_read"]

TEXTS = ("cwd", "project", "source", "actor", "host", "branch")
_INSERT = (
    f"INSERT INTO log(session, step, command, exit_code, timestamp, duration_ms, {', '.join(TEXTS)})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_BATCH = 4_000


class BareLog:
    """The log of a store, written by SQLite alone: the same rows and bytes, tables, indexes and settings.

    Parameters
    ----------
    path : Path
        A copy of a store, or a new file, which gets the tables of the log.
    durability : {"full", "normal"}
    """

    def __init__(self, path: Path, durability: Durability = "normal") -> None:
        new = not path.exists()
        self._db = sqlite3.connect(path, isolation_level=None)
        for setting in ("secure_delete = ON", "journal_mode = WAL", f"synchronous = {durability}"):
            self._db.execute(f"PRAGMA {setting}")
        for script in MIGRATIONS if new else ():
            self._db.executescript(script)
        (self._session,) = self._db.execute("SELECT 1 + coalesce(max(session), 0) FROM log").fetchone()
        self._known: set[int] = set()
        self._step = 0

    def insert(self, commands: Sequence[Command]) -> None:
        """Insert the rows of steps, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        for command in commands:
            texts = {name: text for name in ("command", *TEXTS) if (text := getattr(command, name)) is not None}
            ids = {name: text_id(text) for name, text in texts.items()}
            for name, number in ids.items():
                if number not in self._known:
                    self._known.add(number)
                    self._db.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", (number, texts[name]))
            row = (self._session, self._step, ids["command"], command.exit_code, command.timestamp, command.duration_ms)
            self._db.execute(_INSERT, (*row, *map(ids.get, TEXTS)))
            self._step += 1
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def copy_rows(store: Path, target: Path) -> None:
    """Insert all texts, sessions and rows of the log of a store into a new file."""
    BareLog(target).close()
    db = sqlite3.connect(target, isolation_level=None)
    try:
        db.execute("ATTACH ? AS store", (str(store),))
        db.execute("BEGIN IMMEDIATE")
        for table in ("text", "session", "log"):
            db.execute(f"INSERT INTO main.{table} SELECT * FROM store.{table}")
        db.execute("COMMIT")
    finally:
        db.close()


def import_lines(history: Path, target: Path) -> int:
    """Read, redact and insert every line of a history of zsh; return how many there were."""
    db = sqlite3.connect(target)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE log(timestamp REAL, duration REAL, command TEXT)")
        entries = zsh.entries(lines_of(history))
        done = 0
        while rows := [(e.timestamp, e.duration_ms, redact(e.command)) for e in islice(entries, _BATCH)]:
            with db:
                db.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)
            done += len(rows)
        return done
    finally:
        db.close()


def open_and_read(store: Path) -> None:
    """Open a store and read its newest rows."""
    db = sqlite3.connect(store)
    try:
        assert db.execute("SELECT * FROM log ORDER BY seq DESC LIMIT 64").fetchall()
    finally:
        db.close()
