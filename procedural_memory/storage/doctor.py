"""Examines the file of a store and says what to do about what is wrong. It reads only: every file stays as it is."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from procedural_memory.errors import StorageError
from procedural_memory.storage.append import MOST_SPOOLED, spool, spool_of
from procedural_memory.storage.base import session_digest, text_id
from procedural_memory.storage.files import close_read, open_to_read
from procedural_memory.storage.filesystem import network_file_system
from procedural_memory.storage.migrations import FIRST_TABLES, LOG_TABLES, VERSION, version_of
from procedural_memory.storage.pages import MAGIC, Pages
from procedural_memory.storage.rows import OUTCOMES
from procedural_memory.storage.sqlite import SQLiteStore
from procedural_memory.types import Command

__all__ = ["Check", "examine"]

Derive: TypeAlias = Callable[[SQLiteStore], object]
"""Derives everything of a store from its log."""

_LARGE_LOG = 64 * 1024 * 1024
_LEFT = re.compile(r"\..+\.(?:pkl|pickle|jsonl?|sqlite3?)\.[a-z0-9_]{8}")
"""Files that a save makes, and renames once they are whole."""
_INTERNED = ("command", "cwd", "project", "source", "actor", "host", "branch")
_DERIVED = {
    "follower": "context, template, count, sessions, success, failure, good, bad",
    "context": "key, total, recent, only, how",
    "pattern": "pattern_id, success, failure, unknown, duration_ms, timed, newest",
    "shown": "key, accepted, rejected, ignored",
    "course": "moment, success, steps",
}
"""What is compared of the derived state, in the order of a key."""


class Check(NamedTuple):
    """What was looked at, how it was found, and in a sentence what that means and what to do."""

    name: str
    verdict: Literal["ok", "warning", "bad"]
    says: str


def examine(path: Path, deep: bool = False, derive: Derive | None = None) -> list[Check]:
    """Check a store.

    Parameters
    ----------
    path : path
        The file, absolute. Neither it nor what lies beside it is changed.
    deep : bool
        Also check every index, and that what was derived from the log is what the log gives. Takes as long as
        learning everything again.
    derive : callable, optional
        Derives a store in memory from its log, for `deep`.

    Returns
    -------
    list of Check
        In the order in which they were made. Where one makes further ones impossible, those are left out.
    """
    found = [_file(path)]
    if found[-1].verdict != "ok":
        return [*found, *(check for check in _spool(path) if check.verdict != "ok")]
    found += [_size(path), *_private(path), _file_system(path), *_beside(path)]
    opened = _connect(path)
    if isinstance(opened, Check):
        return [*found, opened]
    before = _stamp(path)
    with closing(opened) as db:
        found += _Inside(db, path).checks(deep, derive)
    if _stamp(path) != before and any(check.verdict == "bad" for check in found):
        found.append(Check("meanwhile", "warning", "The file changed while it was read: run doctor again."))
    return found


def _repair(path: Path) -> str:
    return f"Run: procedural-memory repair {shlex.quote(str(path))} NEW"


def _file(path: Path) -> Check:
    name = "file"
    try:
        if not path.exists():
            return Check(name, "bad", f"There is no file {str(path)!r}; 'procedural-memory learn' makes one.")
        if not path.is_file():
            return Check(name, "bad", f"{str(path)!r} is no file: name the file of the memory.")
        file = open_to_read(path)
        try:
            beginning = file.read(len(MAGIC))
        finally:
            close_read(file)
    except (OSError, ValueError) as error:
        return Check(name, "bad", f"{str(path)!r} cannot be read ({error}).")
    if not beginning:
        return Check(name, "warning", f"{str(path)!r} is empty: a memory that learned nothing, or a file cut off.")
    if beginning != MAGIC:
        return Check(name, "bad", f"{str(path)!r} is no SQLite database, or its beginning is lost. {_repair(path)}")
    return Check(name, "ok", str(path))


def _size(path: Path) -> Check:
    try:
        with Pages(path) as pages:
            missing, size, there = pages.missing, pages.size, pages.count
    except OSError as error:
        return Check("size", "bad", f"The file cannot be read ({error}).")
    if missing:
        return Check("size", "bad", f"{missing} pages of {size} bytes are missing: it was cut off. {_repair(path)}")
    return Check("size", "ok", f"{there} pages of {size} bytes, as the file says")


def _beside_names(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]


def _stamp(path: Path) -> list[tuple[int, int]]:
    found = []
    for each in [path, *_beside_names(path)]:
        with suppress(OSError):
            found.append((each.stat().st_size, each.stat().st_mtime_ns))
    return found


def _private(path: Path) -> Iterator[Check]:
    """Others must not read the file, nor put another one in its place."""
    if os.name != "posix":
        return
    files = [each for each in [path, *_beside_names(path)] if each.exists()]
    open_to = [each for each in files if stat.S_IMODE(each.stat().st_mode) & 0o077]
    if open_to:
        names = " ".join(shlex.quote(str(each)) for each in open_to)
        yield Check("private", "warning", f"Other users may read or write it. Run: chmod 600 {names}")
    else:
        yield Check("private", "ok", "only you may read it")
    mode = path.parent.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX:
        folder = shlex.quote(str(path.parent))
        yield Check("folder", "warning", f"Other users may put files into its folder. Run: chmod go-w {folder}")
    else:
        yield Check("folder", "ok", "only you may put files beside it")


def _file_system(path: Path) -> Check:
    kind = network_file_system(path)
    if kind is None:
        return Check("file system", "ok", "none of a network, as far as can be told")
    says = f"It lies on a network file system ({kind}), where a database is easily damaged: move it to a local disk."
    return Check("file system", "warning", says)


def _beside(path: Path) -> Iterator[Check]:
    wal = _beside_names(path)[0]
    size = wal.stat().st_size if wal.exists() else 0
    if size > _LARGE_LOG:
        says = f"It has {size / 1e6:.0f} MB: a process that reads keeps it from being taken in. Close what uses it."
        yield Check("write-ahead log", "warning", says)
    else:
        yield Check("write-ahead log", "ok", f"{size / 1e6:.1f} MB")
    yield from _spool(path)
    with suppress(OSError):
        left = sorted(each.name for each in path.parent.iterdir() if _LEFT.fullmatch(each.name))
        if left:
            says = f"Left by saves that were broken off, unless one is going on; they may be deleted: {', '.join(left)}"
            yield Check("left-overs", "warning", says)


def _spool(path: Path) -> Iterator[Check]:
    """Look at the steps that hooks could not write to the file."""
    steps, unreadable, size = spool(str(path))
    where = shlex.quote(spool_of(str(path)))
    if not steps and not unreadable:
        yield Check("waiting steps", "ok", "none")
        return
    says = f"{steps:,} steps of hooks wait in {where}"
    if steps:
        says += f"; they are taken in by: procedural-memory stats --path {shlex.quote(str(path))}"
    if unreadable:
        says += f"; {unreadable:,} could not be read, perhaps as a newer version wrote them: update, or delete *.unread"
    if size + MOST_SPOOLED // 10 > MOST_SPOOLED:
        says += f"; they take {size / 2**20:.0f} of {MOST_SPOOLED // 2**20} MiB, and what comes beyond is dropped"
    yield Check("waiting steps", "warning", f"{says}.")


def _connect(path: Path) -> sqlite3.Connection | Check:
    """Open the file so that nothing is written, not even beside it; or say why that cannot be done."""
    wal, shm = _beside_names(path)
    if wal.exists() and shm.exists():
        # Others may be at work: the log is read as it is, and its index is not touched.
        options = "mode=ro&readonly_shm=1"
    elif wal.exists() and wal.stat().st_size:
        says = (
            f"The changes in {wal.name} are yet to be taken in, which would write; the rest was not looked at. "
            f"Run: procedural-memory stats --path {shlex.quote(str(path))}, then doctor again"
        )
        return Check("open", "warning", says)
    else:
        options = "mode=ro&immutable=1"
    try:
        db = sqlite3.connect(f"{path.as_uri()}?{options}", uri=True, isolation_level=None, timeout=5)
    except sqlite3.Error as error:
        return Check("open", "bad", f"SQLite cannot open it without writing ({error}). {_repair(path)}")
    # What is no text any more is still read, and found to be another one.
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db


class _Inside:
    """Checks of what the database holds, all of them of one state."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def checks(self, deep: bool, derive: Derive | None) -> Iterator[Check]:
        """Make the checks; what fails for a damaged page is bad and stops no other check."""
        try:
            self._db.execute("PRAGMA trusted_schema = OFF")
            self._db.execute("BEGIN")
            tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version = version_of(self._db)
        except (sqlite3.Error, UnicodeError) as error:  # its words may quote what is no text
            yield Check("open", "bad", f"SQLite cannot read it ({error}). {_repair(self._path)}")
            return
        if not tables.issuperset(FIRST_TABLES):
            yield Check("tables", "bad", "It is the database of another program, or its tables are lost.")
            return
        yield self._version(version)
        checks: dict[str, Callable[[], Check | None]] = {"integrity": lambda: self._integrity(deep)}
        if version <= VERSION:
            checks |= {"steps": self._steps, "numbering": self._numbering, "closes": self._closes}
            checks |= {"texts": self._texts, "contents": self._contents, "open sessions": self._open_sessions}
        if version == VERSION:
            checks["feedback"] = self._feedback
            checks["derived"] = lambda: self._derived(derive if deep else None)
        for name, check in checks.items():
            try:
                made = check()
            except (sqlite3.Error, StorageError, TypeError, ValueError) as error:
                made = Check(name, "bad", f"It cannot be read ({error}). {_repair(self._path)}")
            if made:
                yield made
        with suppress(sqlite3.Error):
            free, pages = self._one("PRAGMA freelist_count")[0], self._one("PRAGMA page_count")[0]
            yield Check("free pages", "ok", f"{free} of {pages}")

    def _one(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()

    def _bad(self, name: str, count: int, what: str, fine: str) -> Check:
        if count:
            return Check(name, "bad", f"{count:,} {what}. {_repair(self._path)}")
        return Check(name, "ok", fine)

    def _version(self, version: int) -> Check:
        if version > VERSION:
            says = f"It is of version {version}, this package reads {VERSION}: update omnimemory-procedural."
            return Check("version", "bad", says)
        if version < VERSION:
            says = f"It is of version {version}: this package brings it to {VERSION} when it next opens it."
            return Check("version", "warning", says)
        return Check("version", "ok", str(version))

    def _integrity(self, deep: bool) -> Check:
        pragma = "integrity_check" if deep else "quick_check"
        told = [str(line) for (line,) in self._db.execute(f"PRAGMA {pragma}(5)")]
        if told == ["ok"]:
            return Check("integrity", "ok", f"SQLite's {pragma} finds nothing")
        return Check("integrity", "bad", f"SQLite's {pragma}: {'; '.join(told)[:300]}. {_repair(self._path)}")

    def _steps(self) -> Check:
        lost = " OR ".join(f"(l.{c} NOT NULL AND NOT EXISTS (SELECT 1 FROM text WHERE id = l.{c}))" for c in _INTERNED)
        (count,) = self._one(
            "SELECT count(*) FROM log l WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.id = l.session)"
            f" OR (l.step >= 0 AND l.command IS NULL) OR {lost}"
        )
        (steps,) = self._one("SELECT count(*) FROM log WHERE step >= 0")
        return self._bad(
            "steps", count, "rows of the log lack their session or a text", f"{steps:,}, each with session and texts"
        )

    def _numbering(self) -> Check:
        (count,) = self._one(
            "SELECT count(*) FROM (SELECT 1 FROM log WHERE step != -1 GROUP BY session"
            " HAVING min(step) != 0 OR max(step) != count(*) - 1 OR count(DISTINCT step) != count(*))"
        )
        return self._bad("numbering", count, "sessions lack steps, or have one twice", "no session lacks a step")

    def _closes(self) -> Check:
        (count,) = self._one(
            "SELECT count(*) FROM session s WHERE s.closed !="
            " (SELECT count(*) FROM log l WHERE l.session = s.id AND l.step = -1)"
        )
        return self._bad(
            "closes", count, "sessions are closed otherwise than the log says", "the log closes each session once"
        )

    def _texts(self) -> Check:
        rows = self._db.execute("SELECT id, text FROM text")
        count = sum(not isinstance(text, str) or text_id(text) != number for number, text in rows)
        return self._bad("texts", count, "texts are not what they were", "each is what it was")

    def _contents(self) -> Check:
        """Compare the digests of sessions with their steps."""
        steps = self._db.execute(
            "SELECT l.session, c.text, l.exit_code, w.text, l.timestamp FROM log l LEFT JOIN text c ON c.id = l.command"
            " LEFT JOIN text w ON w.id = l.cwd WHERE l.step >= 0 ORDER BY l.session, l.step"
        )
        row = next(steps, None)
        count = closed = 0
        for number, outcome, digest in self._db.execute(
            "SELECT id, outcome, digest FROM session WHERE closed ORDER BY id"
        ):
            commands = []
            while row is not None and row[0] <= number:
                if row[0] == number:
                    commands.append(Command(*row[1:]))
                row = next(steps, None)
            closed += 1
            try:
                count += session_digest(commands, OUTCOMES[outcome]) != digest
            except (KeyError, TypeError):
                count += 1
        return self._bad(
            "contents", count, "closed sessions are not what they were", f"{closed:,} closed sessions as they were"
        )

    def _feedback(self) -> Check:
        (count,) = self._one(
            "SELECT count(*) FROM feedback f"
            " WHERE (f.session != 0 AND NOT EXISTS (SELECT 1 FROM session s WHERE s.id = f.session))"
            " OR NOT EXISTS (SELECT 1 FROM text WHERE id = f.line)"
            " OR (f.after != 0 AND NOT EXISTS (SELECT 1 FROM text WHERE id = f.after))"
        )
        (rows,) = self._one("SELECT count(*) FROM feedback")
        return self._bad("feedback", count, "rows lack their session or a text", f"{rows:,} rows in order")

    def _open_sessions(self) -> Check:
        count, first = self._one("SELECT count(*), min(start) FROM session WHERE NOT closed")
        if not count:
            return Check("open sessions", "ok", "none")
        days = max(0.0, time.time() - first) / 86_400
        return Check("open sessions", "ok", f"{count:,}; the oldest began {days:.1f} days ago")

    def _derived(self, derive: Derive | None) -> Check:
        name, rebuild = "derived", "Run engine.rebuild(), which derives it anew."
        row = self._one("SELECT value FROM meta WHERE key = 'derived'")
        (last,) = self._one("SELECT coalesce(max(seq), 0) FROM log")
        done = row[0] if row else 0
        behind = last - (done or 0)
        if behind < 0:
            return Check(name, "warning", f"It counts rows that the log has not. {rebuild}")
        if behind:
            return Check(name, "ok", f"{behind:,} rows of the log are yet to be counted, as any command does")
        if derive is None:
            return Check(name, "ok", "up to the log")
        if differ := self._differing(derive):
            row = self._one("SELECT value FROM meta WHERE key = 'superseded'")
            if row and row[0]:
                says = f"Richer records of {row[0]:,} steps came after poorer ones, which count until engine.rebuild()"
                return Check(name, "ok", says)
            says = f"Not what the log gives, if no other min_commands was used: {', '.join(differ)}. {rebuild}"
            return Check(name, "warning", says)
        return Check(name, "ok", "up to the log, and what it gives")

    def _differing(self, derive: Derive) -> list[str]:
        """Return the tables that differ from what the log gives when it is derived in memory."""
        with closing(SQLiteStore()) as fresh:
            with fresh.transaction():
                for table in LOG_TABLES - {"meta"}:
                    rows = self._db.execute(f"SELECT * FROM {table}")
                    marks = ",".join("?" * len(rows.description))
                    fresh._db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
                if kept := self._one("SELECT value FROM meta WHERE key = 'bounds'"):
                    fresh.set_meta("bounds", kept[0])
            derive(fresh)
            differ = []
            for table, columns in _DERIVED.items():
                sql = f"SELECT {columns} FROM {table} ORDER BY 1, 2"
                pairs = zip_longest(self._db.execute(sql), fresh._db.execute(sql))
                if any(one != other for one, other in pairs):
                    differ.append(table)
            return differ
