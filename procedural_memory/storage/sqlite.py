"""The SQLite store: the session log and the derived state, in memory or in a file.

Concurrency contract
    *Threads*: one connection per store, used under one re-entrant lock, so that every call is safe from any thread.
    *Processes*: the file is in WAL mode. One writes at a time, within ``BEGIN IMMEDIATE``; who comes second waits, at
    most `PATIENCE` seconds. Readers wait for nobody: `reading` gives them one state of the file. What was read before
    is let go of as soon as another process has changed the file (``PRAGMA data_version``).
    *Failure*: a write that fails is rolled back whole; what was kept in memory of it is dropped.
    *Durability*: what a transaction wrote survives a killed process; with ``"full"`` also a power cut, for it is synced
    before the call returns. With ``"normal"`` a power cut may cost the newest transactions, never the file.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from procedural_memory.errors import ClosedError, SnapshotError, StorageError, StoreBusyError, damage
from procedural_memory.storage.append import spool_of, spooled, take_in, tidy
from procedural_memory.storage.base import (
    BEGIN,
    BEST_VALUES,
    EVERYWHERE,
    FOLLOWERS,
    HOOK_STEPS,
    LOOKED_AT,
    LOOKED_THROUGH,
    SUCCEEDED,
    Bounds,
    Context,
    Course,
    Delta,
    FeedbackRow,
    Follower,
    LogRow,
    PatternCounts,
    PatternRow,
    RuleCounts,
    SessionRow,
    ShownCounts,
    ValueCounts,
    merge_recent,
    pattern_row_id,
    recent_templates,
    text_id,
)
from procedural_memory.storage.files import hold, make_private, missing_bytes, release, side_files
from procedural_memory.storage.identity import MOMENT
from procedural_memory.storage.kept import Kept, read_once
from procedural_memory.storage.migrations import FIRST_TABLES, VERSION, migrate, tables_of, version_of
from procedural_memory.storage.once import follower_of, how_of, newest_of
from procedural_memory.storage.rows import (
    ADD_COUNTS,
    NEIGHBOUR,
    OUTCOME_CODES,
    OUTCOMES,
    VERDICTS,
    merge_rules,
    pattern_head,
    pattern_row,
    shown_row,
)
from procedural_memory.storage.shelf import keep_within, put_anew, take_back
from procedural_memory.storage.tally import tallies
from procedural_memory.storage.union import add_stores, told_in_both
from procedural_memory.types import Command, Durability, Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PATIENCE", "SQLiteStore", "copy_store", "take_away"]

PATIENCE = 30.0
"""Seconds that a writer waits for another one."""
_FORK_PATIENCE = 5.0
"""Seconds that a fork waits for what other threads do with a store."""
_ASK_AGAIN = 10
"""Milliseconds after which a writer that waits begins to ask anew."""
_BREATH = 0.001
"""Seconds before it does, for there are locks that SQLite does not wait for."""

_DERIVED = (
    "context",
    "follower",
    "value",
    "place",
    "rule",
    "shown",
    "course",
    "pattern",
    "posting",
    "rank",
    "shelf",
    "again",
)
_NO_VECTOR = (
    "WHERE f.context = ? AND NOT EXISTS (SELECT 1 FROM vector v WHERE v.fingerprint = ? AND v.template = f.template)"
)
_T = TypeVar("_T")
_CLEANING = ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
"""What takes every trace of deleted content out of the files. Overwriting it is not enough: where a page of the file
was split, it keeps copies of what moved to another one."""
_PATIENCE_MS = 2_000
"""How long cleaning waits for those who still read what was there before."""
_LAST_PATIENCE_MS = 100
"""How long it waits for them when the store is closed, or when it is tried again."""
_CLEAN_AGAIN = 60.0
"""Seconds after which a write rewrites the file, where that failed before."""
_log = logging.getLogger("procedural_memory")
_POSTINGS_READ = 100
_POSTINGS = 4_096
"""How many lists of patterns are kept: with up to 800 patterns each they are the largest of all that is read."""
_UNREAD = Context(1, (), {})
"""Stands for a context that was not read: it may have been followed once."""
_CACHE = 200_000
_RENEWED = 8
"""Contexts of which so many followers changed are read again."""
_FOLLOWER = "template, count, sessions, success, failure, good, bad"
_INTERNED = ("cwd", "project", "source", "actor", "host", "branch")
_STEP_COLUMNS = """c.text, l.exit_code, w.text, l.timestamp, l.duration_ms, p.text, s.text, a.text, h.text, b.text"""
_STEP_JOINS = """LEFT JOIN text c ON c.id = l.command LEFT JOIN text w ON w.id = l.cwd
    LEFT JOIN text p ON p.id = l.project LEFT JOIN text s ON s.id = l.source LEFT JOIN text a ON a.id = l.actor
    LEFT JOIN text h ON h.id = l.host LEFT JOIN text b ON b.id = l.branch"""
_AGAIN = "SELECT session FROM again WHERE step = -1"
_FEEDBACK = """SELECT f.seq, f.step, coalesce(c.text, a.text), t.text, f.verdict, f.timestamp, p.text FROM feedback f
    LEFT JOIN log l ON l.session = f.session AND l.step = f.step - 1
    LEFT JOIN text c ON c.id = l.command LEFT JOIN text a ON a.id = f.after
    LEFT JOIN text t ON t.id = f.line LEFT JOIN text p ON p.id = f.project"""


def _chunks(items: Sequence[_T], size: int = 500) -> Iterator[Sequence[_T]]:
    """Yield parts of `items` that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _told(error: Exception) -> str:
    """Return what an error of SQLite means to the user."""
    text = str(error)
    if "locked" in text:
        return "another process keeps it locked; try again when that is done"
    if "readonly" in text or "read-only" in text:
        return f"it may be read, not written ({text}); check the owner and mode of the file and of its folder"
    if "disk is full" in text:
        return f"the disk is full ({text}); make room and try again"
    return text


def _unpack(blob: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(blob) // 8}q", blob)


class SQLiteStore:
    """A store on SQLite.

    Parameters
    ----------
    path : str or None
        The file; None keeps everything in memory.
    durability : {"full", "normal"}
        What a write outlives: a power cut, or the end of the process.
    """

    def __init__(self, path: str | None = None, durability: Durability = "full") -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._written: set[int] = set()
        self._texts: dict[int, str] = {}
        # What was read and is still so: dropped when it changes, here or in another process, or is rolled back.
        self._contexts: Kept[Context | None] = Kept()
        self._values: Kept[ValueCounts | None] = Kept()
        self._rules: Kept[RuleCounts | None] = Kept()
        self._shown: Kept[ShownCounts | None] = Kept()
        self._all_shown = False
        self._counted: set[int] = set()
        self._postings: Kept[tuple[int, NDArray[np.int64]]] = Kept()
        self._metas: dict[str, Any] = {}
        self._pattern_counts: Kept[PatternCounts | None] = Kept()
        self._pattern_templates: Kept[NDArray[np.int64] | None] = Kept()
        self._data_version = 0
        self._dropped = False
        self._uncleaned: tuple[str, ...] = ()
        self._cleaned = 0.0
        self._closed = False
        self._durability = durability
        self._put_down = False
        self._connect()
        _stores.add(self)

    def _connect(self) -> None:
        try:
            self._held = None
            if self._path is not None:
                make_private(Path(self._path))
                self._held = hold(self._path)
            try:
                self._check_whole()
                where = self._path or ":memory:"
                self._db = sqlite3.connect(where, check_same_thread=False, isolation_level=None, timeout=PATIENCE)
                try:
                    self._open()
                except BaseException:
                    self._db.close()  # rolls back
                    raise
            except BaseException:
                self._let_go()
                raise
        except (sqlite3.Error, UnicodeError, OSError) as error:
            raise self._failed(error, "it was not changed") from error

    def _let_go(self) -> None:
        if self._held is not None:
            release(self._held)
            self._held = None

    def put_down(self) -> None:
        """Close the file before this process is forked: SQLite must not be carried into another process."""
        if self._path is None or self._closed or not self._lock.acquire(timeout=_FORK_PATIENCE):
            return
        if self._closed or self._db.in_transaction:  # of this very thread, which is in the middle of something
            self._lock.release()
            return
        self._db.close()
        self._let_go()
        self._put_down = True

    def take_up(self, in_parent: bool) -> None:
        """Go on after a fork: with a new connection in the process that had the store, never again in the other one."""
        if not self._put_down:
            return
        self._put_down = False
        try:
            if in_parent:
                self._drop_read()
                self._data_version = 0
                with suppress(StorageError):  # it will be told when the store is used
                    self._connect()
            else:
                self._closed = True
        finally:
            self._lock.release()

    def _open(self) -> None:
        """Make the tables of a new store, or what an older version lacks; refuse what is not ours to read."""
        execute = self._db.execute
        execute("PRAGMA trusted_schema = OFF")  # whatever a file says, nothing in it calls anything
        tables, version = tables_of(self._db), version_of(self._db)
        foreign = execute("SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone()[0]
        if (tables and not tables.issuperset(FIRST_TABLES)) or foreign:
            raise StorageError(f"path {self._path!r}: the file is the database of another program; it was not changed")
        if version > VERSION:
            raise StorageError(
                f"path {self._path!r}: the store is of version {version}, this package reads {VERSION}; "
                "update omnimemory-procedural (the store was not changed)"
            )
        # Deleted content is overwritten: what was forgotten is not left readable in the file.
        execute("PRAGMA secure_delete = ON")
        if self._path is not None:
            # Where others are just making the file SQLite gives up at once, whatever it was told of waiting.
            self._patiently("PRAGMA journal_mode = WAL")
            execute(f"PRAGMA synchronous = {self._durability}")
            execute("PRAGMA fullfsync = ON")  # where a sync does not reach the disk by itself
        if version < VERSION:  # else without a write lock, which another process may hold for long
            execute("BEGIN IMMEDIATE")
            if version_of(self._db) < VERSION:  # another process may have been first
                migrate(self._db)
            execute("COMMIT")
        execute(f"PRAGMA busy_timeout = {_ASK_AGAIN}")

    def _check_whole(self) -> None:
        """Refuse a file that was cut off: SQLite would take what is missing for empty, and go on."""
        path = self._path
        if path is None:
            return
        if os.path.getsize(path) == 0:
            lost = os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal") > 0
        else:
            lost = missing_bytes(path) > 0
            if lost:  # or another process is just writing the missing pages; who moves pages waits for that
                with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as other:
                    other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                lost = missing_bytes(path) > 0
        if lost:
            raise StorageError(damage(path, "it was cut off, and is shorter than it must be"))

    def backup(self, path: str, ranker: bytes) -> None:
        """Copy the store, as it was committed last, to an empty file that nobody else uses."""
        with self._lock:
            self._check_open()
            if self._path is None and self._depth:
                raise StorageError("store in memory: it cannot be copied while it is being changed; save it afterwards")
            try:
                with closing(sqlite3.connect(path)) as copied:
                    if self._path is None:
                        self._db.backup(copied)
                    else:  # by a connection of its own: this one may be about to write, and SQLite copies none that is
                        with closing(_reader(self._path)) as read:
                            read.backup(copied)
                    copied.execute("PRAGMA journal_mode = DELETE")  # one file, that is whole by itself
                    if ranker:
                        copied.execute("INSERT OR REPLACE INTO meta VALUES ('ranker', ?)", (ranker,))
                        version = "coalesce((SELECT value FROM meta WHERE key = 'ranker_version'), 0) + 1"
                        copied.execute(f"INSERT OR REPLACE INTO meta VALUES ('ranker_version', {version})")
                        copied.commit()
            except sqlite3.Error as error:
                raise self._failed(error, "it was not copied") from error

    @contextmanager
    def beside(self, paths: Sequence[str]) -> Iterator[list[str]]:
        """Attach the stores in some files that nobody else uses; give their names, for `absorb`."""
        names: list[str] = []
        try:
            for path in paths:
                self._all(f"ATTACH ? AS part{len(names)}", (path,))
                names.append(f"part{len(names)}")
            yield names
        finally:
            for name in names:
                self._all(f"DETACH {name}")

    def absorb(self, names: Sequence[str], within: float) -> bool:
        """Add the stores that are `beside` this one, of other sessions; return whether one of them and this one tell of
        one step, at most `within` seconds apart. Then all has to be derived anew.
        """
        with self.transaction():
            try:
                count = "SELECT count(*) FROM {}.session JOIN main.session USING (session_id)"
                if known := sum(self._one(count.format(name))[0] for name in names):
                    raise StoreBusyError(
                        f"store {self._path or 'in memory'}: another process learned {known} of these sessions "
                        "meanwhile; nothing was changed; try again"
                    )
                told = any(told_in_both(self._db, name, within) for name in names)
                if (bounds := self.bounds()) != Bounds():
                    put_anew(self._db, Bounds())  # what is on the shelf may be worth more with what is added
                add_stores(self._db, names)
                put_anew(self._db, bounds)
            finally:
                self._drop_read()
                self._texts.clear()
        return told

    def _failed(self, error: Exception, *rest: str) -> StorageError:
        # A plain DatabaseError tells of a file that is malformed or no database; its subclasses of everything else.
        # A name in a damaged schema may be no text, and then SQLite's words for it are none.
        if type(error) is sqlite3.DatabaseError or isinstance(error, UnicodeError):
            return StorageError(damage(self._path, error))
        kind = StoreBusyError if "locked" in str(error) else StorageError
        return kind("; ".join([f"store {self._path or 'in memory'}: {_told(error)}", *rest]))

    @property
    def path(self) -> str | None:
        """The file, or None in memory."""
        return self._path

    @contextmanager
    def transaction(self, patience: float | None = None) -> Iterator[None]:
        """Run the body as one transaction; nested uses join the outer one.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for another process that writes; `PATIENCE` unless given.
        """
        with self._lock:
            if self._depth:
                yield
                return
            self._check_open()
            self._depth = 1
            self._metas.clear()
            try:
                self._patiently("BEGIN IMMEDIATE", patience=PATIENCE if patience is None else patience)
                try:
                    self.refresh()
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    self._drop_read()
                    if self._db.in_transaction:  # a full disk has rolled back already
                        self._db.execute("ROLLBACK")
                    raise
                if self._dropped and self._path is not None:
                    self._clean(_CLEANING, _PATIENCE_MS)
                elif self._uncleaned == _CLEANING[-1:]:  # quick enough to be tried after each write
                    self._clean(self._uncleaned)
                elif self._uncleaned and time.monotonic() > self._cleaned + _CLEAN_AGAIN:
                    self._clean(self._uncleaned, _LAST_PATIENCE_MS)
            except sqlite3.Error as error:
                raise self._failed(error, "nothing was changed") from error
            finally:
                self._depth = 0
                self._dropped = False

    def _patiently(self, sql: str, arguments: Sequence[Any] = (), patience: float = math.inf) -> list[Any]:
        """Execute a statement as soon as no other process locks it out; wait for that no longer than may be.

        SQLite itself asks less and less often, in the end ten times a second, so that who came later is first again and
        again. Here it is told to give up soon, and begins anew.
        """
        end = time.monotonic() + min(patience, PATIENCE)
        while True:
            try:
                return self._db.execute(sql, arguments).fetchall()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(_BREATH)

    def _clean(self, steps: tuple[str, ...], patience: int = 0) -> None:
        """Take every trace of deleted content out of the files; what others hold back now is left for later."""
        self._uncleaned, self._cleaned = steps, time.monotonic()
        reason = "another process still reads what was there before"
        try:
            self._db.execute(f"PRAGMA busy_timeout = {patience}")
            while self._uncleaned:
                row = self._db.execute(self._uncleaned[0]).fetchone()
                if row is not None and row[0]:
                    break
                self._uncleaned = self._uncleaned[1:]
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'uncleaned'", (len(self._uncleaned),))
        except sqlite3.Error as error:
            reason = str(error)
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_ASK_AGAIN}")
        if self._uncleaned and patience == _PATIENCE_MS:
            _log.warning(
                "store %s: what was forgotten is gone from the memory, but its files may hold traces of it (%s); they "
                "are taken out at a later write, or when the memory is closed",
                self._path,
                reason,
            )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the body see one state, whatever others write meanwhile; it must not write. Nested uses join."""
        with self._lock:
            self._check_open()
            # A transaction sees one state anyway; what is in memory is changed by nobody who does not hold the lock.
            if self._path is None or self._db.in_transaction:
                yield
                return
            self._all("BEGIN")
            try:
                self.refresh()  # the first read: from here on it is this state
                yield
            finally:
                self._all("COMMIT")

    def refresh(self) -> None:
        """Let go of what was read before another process changed the file."""
        if self._path is not None:
            (version,) = self._one("PRAGMA data_version")
            if version != self._data_version:
                self._drop_read()
                (schema,) = self._one("PRAGMA user_version")
                if schema > VERSION:
                    raise StorageError(
                        f"store {self._path}: a newer version of the package ({schema}, this one reads {VERSION}) has "
                        "taken it over; update omnimemory-procedural and make a new ProceduralMemoryEngine"
                    )
                self._data_version = version

    def _drop_read(self) -> None:
        kept = (self._contexts, self._values, self._rules, self._shown, self._counted, self._postings, self._written)
        for each in (*kept, self._pattern_counts, self._pattern_templates, self._metas):
            each.clear()
        self._all_shown = False

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if not self._closed and self._path is not None:
                with suppress(sqlite3.Error, StorageError):
                    # Perhaps of another process that could not: the last one to close can.
                    if left := self.meta("uncleaned"):
                        self._clean(_CLEANING[-left:], _LAST_PATIENCE_MS)
                        if self._uncleaned:
                            _log.warning("store %s: its files still hold traces of what was forgotten", self._path)
            if not self._closed:
                self._closed = True
                self._db.close()
                self._let_go()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the memory is closed; make a new ProceduralMemoryEngine")

    def _all(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            self._check_open()
            try:
                return self._patiently(sql, arguments)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _one(self, sql: str, arguments: Sequence[Any] = ()) -> Any:
        rows = self._all(sql, arguments)
        return rows[0] if rows else None

    def take_in_spooled(self, patience: float) -> int:
        """Write what hooks could not write to this store when it happened; return how many steps."""
        with self._lock:
            # Not within a transaction, which may be rolled back when the files are gone.
            if self._path is None or self._closed or self._depth or not spooled(self._path):
                return 0
            with self.transaction(patience):
                names = take_in(self._db, self._path)
            tidy(self._path, names)
            return len(names)

    # -- interning

    def _intern(self, text: str) -> int:
        """Return the id of a text, making sure that the text is there."""
        number = text_id(text)
        if number not in self._written:
            if len(self._written) > _CACHE:
                self._written.clear()
            self._db.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", (number, text))
            self._written.add(number)
        return number

    def template_ids(self, templates: Iterable[str]) -> dict[str, int]:
        """Return the ids of those `templates` that were counted."""
        ids = {text: text_id(text) for text in templates}
        with self._lock:
            counted = self._counted
            if len(counted) > _CACHE:
                counted.clear()
            for chunk in _chunks([number for number in dict.fromkeys(ids.values()) if number not in counted]):
                marks = ",".join("?" * len(chunk))
                sql = f"SELECT template FROM follower WHERE context = ? AND template IN ({marks})"
                counted.update(number for (number,) in self._all(sql, (EVERYWHERE, *chunk)))
            return {text: number for text, number in ids.items() if number in counted}

    def template_text(self, template: int) -> str:
        """Return a template by its id."""
        return self.template_texts([template])[0]

    def template_texts(self, templates: Sequence[int]) -> list[str]:
        """Return templates by their ids."""
        texts = self._texts
        if missing := [number for number in templates if number not in texts]:
            if len(texts) > _CACHE:
                texts = self._texts = {}
                missing = list(templates)
            for chunk in _chunks(missing):
                marks = ",".join("?" * len(chunk))
                texts.update(self._all(f"SELECT id, text FROM text WHERE id IN ({marks})", chunk))
        return [texts[number] for number in templates]

    # -- the log

    def add_session(self, session_id: str, start: float, source: str | None, owner: str | None = None) -> int:
        """Open a session and return its id."""
        with self.transaction():
            cursor = self._db.execute(
                "INSERT INTO session(session_id, start, source, owner) VALUES (?, ?, ?, ?)",
                (session_id, start, source, owner),
            )
            return int(cursor.lastrowid or 0)

    def add_steps(self, session: int, first: int, commands: Sequence[Command]) -> None:
        """Append steps to a session, numbered from `first`."""
        with self.transaction():
            self._db.executemany(
                f"INSERT INTO log(session, step, command, exit_code, timestamp, duration_ms, {', '.join(_INTERNED)})"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(session, step, *self._step_row(command)) for step, command in enumerate(commands, first)],
            )

    def _step_row(self, c: Command) -> list[Any]:
        row = [self._intern(c.command), c.exit_code, c.timestamp, c.duration_ms]
        texts = (getattr(c, name) for name in _INTERNED)
        return [*row, *(None if text is None else self._intern(text) for text in texts)]

    def step_count(self, session: int) -> int:
        """Return how many steps a session has."""
        return int(self._one("SELECT coalesce(max(step) + 1, 0) FROM log WHERE session = ?", (session,))[0])

    def next_step(self, session: int) -> int | None:
        """Return the number of the next step of a session that is open, None when it is closed or not there."""
        steps = "SELECT coalesce(max(step) + 1, 0) FROM log WHERE session = s.id"
        row = self._one(f"SELECT closed, ({steps}) FROM session s WHERE id = ?", (session,))
        return None if row is None or row[0] else int(row[1])

    def set_start(self, session: int, start: float) -> None:
        """Place a session elsewhere in canonical order."""
        with self.transaction():
            self._db.execute("UPDATE session SET start = ? WHERE id = ?", (start, session))

    def close_session(self, session: int, outcome: Outcome, digest: bytes) -> None:
        """Close a session: sets its outcome and appends the close to the log."""
        with self.transaction():
            self._db.execute(
                "UPDATE session SET outcome = ?, closed = 1, digest = ?, owner = NULL WHERE id = ?",
                (OUTCOME_CODES[outcome], digest, session),
            )
            self._db.execute("INSERT INTO log(session, step) VALUES (?, -1)", (session,))

    def _sessions(self, where: str, values: Sequence[Any] = ()) -> Iterator[SessionRow]:
        columns = "id, session_id, start, outcome, closed, source, digest, owner"
        for number, name, start, outcome, closed, *rest in self._all(f"SELECT {columns} FROM session {where}", values):
            yield SessionRow(number, name, start, OUTCOMES[outcome], bool(closed), *rest)

    def find_session(self, key: int | str) -> SessionRow | None:
        """Return the session with this row id or session id."""
        return next(self._sessions(f"WHERE {'session_id' if isinstance(key, str) else 'id'} = ?", (key,)), None)

    def get_session(self, session: int) -> SessionRow:
        """Return a session by its row id."""
        row = self.find_session(session)
        if row is None:
            raise StorageError(f"session row {session} is not in the store")
        return row

    def sessions(self) -> Iterator[SessionRow]:
        """Yield all sessions in canonical order."""
        for (number,) in self._all("SELECT id FROM session ORDER BY start, session_id"):
            yield self.get_session(number)

    def open_sessions(self) -> list[SessionRow]:
        """Return the sessions that are not closed."""
        return list(self._sessions("INDEXED BY session_open WHERE closed = 0 ORDER BY start, session_id"))

    def newest_start(self) -> float | None:
        """Return the start of the newest session."""
        start: float | None = self._one("SELECT max(start) FROM session")[0]
        return start

    def steps(self, session: int, first: int = 0) -> list[Command]:
        """Return the steps of a session in order, from number `first` on."""
        rows = self._all(
            f"SELECT {_STEP_COLUMNS} FROM log l {_STEP_JOINS} WHERE l.session = ? AND l.step >= ? ORDER BY l.step",
            (session, first),
        )
        return [Command(*row) for row in rows]

    def tail(self, limit: int) -> list[LogRow]:
        """Return the next rows of the log that are not yet part of the derived state."""
        return self.rows_after(self.meta("derived") or 0, limit)

    def rows_after(self, seq: int, limit: int) -> list[LogRow]:
        """Return the next rows of the log behind a row."""
        rows = self._all(
            f"SELECT l.seq, l.session, l.step, {_STEP_COLUMNS} FROM log l {_STEP_JOINS}"
            " WHERE l.seq > ? ORDER BY l.seq LIMIT ?",
            (seq, limit),
        )
        return [LogRow(row[0], row[1], row[2], None if row[3] is None else Command(*row[3:])) for row in rows]

    def last_row(self) -> int:
        """Return the number of the last row of the log, 0 where it is empty."""
        return int(self._one("SELECT coalesce(max(seq), 0) FROM log")[0])

    def told_elsewhere(self, command: Command, within: float) -> list[LogRow]:
        """Return the rows of other sources with this line, from a host that may be the same, at about its time."""
        if command.source is None or command.timestamp is None:
            return []
        rows = self._all(
            f"SELECT l.seq, l.session, l.step, {_STEP_COLUMNS} FROM log l INDEXED BY log_told {_STEP_JOINS}"
            " WHERE l.source IS NOT NULL AND l.timestamp BETWEEN ? AND ? AND l.command = ? AND l.source <> ?"
            " AND (l.host = ? OR l.host IS NULL OR ? IS NULL) ORDER BY l.seq",
            # A little more than is asked for: a sum may be rounded, a difference tells exactly.
            (
                command.timestamp - within - 1e-3,
                command.timestamp + within + 1e-3,
                text_id(command.command),
                text_id(command.source),
                *(2 * [None if command.host is None else text_id(command.host)]),
            ),
        )
        # The fourth column of a step is its time.
        return [
            LogRow(row[0], row[1], row[2], Command(*row[3:]))
            for row in rows
            if abs(row[6] - command.timestamp) <= within
        ]

    def sources_between(self, begin: float, end: float) -> int:
        """Return how many sources tell of steps of that time."""
        told = "FROM log INDEXED BY log_told WHERE source NOT NULL AND timestamp BETWEEN ? AND ?"
        return int(self._one(f"SELECT count(DISTINCT source) {told}", (begin, end))[0])

    def lines_beginning(self, text: str, limit: int) -> list[str]:
        """Return the single lines among the newest steps that begin with a text and go on: those first that did not
        fail each time, then the most frequent ones."""
        begin = text[:BEGIN]
        rows = self._all(
            # Names alone, from the index; texts are compared with the whole of what was asked for afterwards.
            f"WITH began(id) AS (SELECT id FROM text INDEXED BY text_begin WHERE substr(text, 1, {BEGIN}) BETWEEN ?1"
            f" AND ?1 || char(1114111) LIMIT {LOOKED_AT}), looked(id) AS (SELECT id FROM began UNION SELECT command"
            f" FROM log WHERE (SELECT count(*) FROM began) = {LOOKED_AT} AND seq > (SELECT max(seq) FROM log) -"
            f" {2 * LOOKED_AT} AND step >= 0) SELECT t.text FROM (SELECT command, count(*) AS often, max(seq) AS"
            f" newest, max(coalesce(exit_code, 0) IN ({SUCCEEDED})) AS well FROM log INDEXED BY log_command WHERE"
            " command IN (SELECT id FROM text WHERE id IN looked AND substr(text, 1, length(?2)) = ?2 AND length(text)"
            f" > length(?2) AND instr(text, char(10)) = 0) AND seq > (SELECT max(seq) FROM log) - {LOOKED_THROUGH}"
            " GROUP BY command ORDER BY well DESC, often DESC, newest DESC LIMIT ?3) f JOIN text t ON t.id = f.command"
            " ORDER BY well DESC, often DESC, newest DESC",
            (begin, text, limit),
        )
        return [line for (line,) in rows]

    def has_step(self, command: Command, until: int) -> bool:
        """Return whether a row up to number `until` has this line, of the same source and the same time."""
        if command.source is None or command.timestamp is None:
            return False
        found = self._one(
            "SELECT 1 FROM log INDEXED BY log_told WHERE source IS NOT NULL AND timestamp = ? AND command = ?"
            " AND source = ? AND seq <= ? LIMIT 1",
            (command.timestamp, text_id(command.command), text_id(command.source), until),
        )
        return found is not None

    def told_by_hook_alone(self, source: str, host: str) -> list[tuple[str, str, float]]:
        """Return the newest steps of a shell's hook on a host, without those found in the shell's history."""
        return self._all(
            "SELECT s.session_id, c.text, l.timestamp FROM log l JOIN session s ON s.id = l.session"
            " JOIN text c ON c.id = l.command WHERE l.seq > (SELECT max(seq) FROM log) - ? AND l.source = ?"
            " AND l.host = ? AND l.timestamp IS NOT NULL AND NOT EXISTS (SELECT 1 FROM log t INDEXED BY log_told WHERE"
            " t.source IS NOT NULL AND t.timestamp = l.timestamp AND t.command = l.command AND t.source = ?)"
            " ORDER BY l.seq",
            (HOOK_STEPS, text_id(f"{source}-hook"), text_id(host), text_id(source)),
        )

    def mark_again(self, session: int, step: int) -> None:
        """Mark a step, or with number -1 a session, that is counted where another source tells of it."""
        with self.transaction():
            self._db.execute("INSERT OR IGNORE INTO again VALUES (?, ?)", (session, step))

    def is_marked_again(self, session: int, step: int) -> bool:
        """Return whether a step, or with number -1 its session, is marked."""
        return self._one("SELECT 1 FROM again WHERE session = ? AND step = ?", (session, step)) is not None

    def marked_again(self, session: int) -> set[int]:
        """Return the numbers that are marked of a session."""
        return {step for (step,) in self._all("SELECT step FROM again WHERE session = ?", (session,))}

    def replace_steps(self, session: int, commands: Sequence[Command], digest: bytes) -> None:
        """Replace the steps of a session in the log."""
        with self.transaction():
            row = self.get_session(session)
            self._db.execute("DELETE FROM log WHERE session = ?", (session,))
            self.add_steps(session, 0, commands)
            if row.closed:
                self.close_session(session, row.outcome, digest)

    def rewrite_session(
        self, session: int, session_id: str, source: str | None, commands: Sequence[Command], digest: bytes
    ) -> None:
        """Put other texts into a session and its steps, one by one: the rows of the log stay where they are."""
        with self.transaction():
            self._db.execute(
                "UPDATE session SET session_id = ?, source = ?, digest = CASE closed WHEN 1 THEN ? ELSE digest END"
                " WHERE id = ?",
                (session_id, source, digest, session),
            )
            columns = ("command", "exit_code", "timestamp", "duration_ms", *_INTERNED)
            self._db.executemany(
                f"UPDATE log SET {', '.join(f'{name} = ?' for name in columns)} WHERE session = ? AND step = ?",
                [(*self._step_row(command), session, step) for step, command in enumerate(commands)],
            )

    def delete_sessions(self, sessions: Iterable[int]) -> None:
        """Delete sessions from the log."""
        with self.transaction():
            for session in sessions:
                self._db.execute("DELETE FROM log WHERE session = ?", (session,))
                self._db.execute("DELETE FROM feedback WHERE session = ?", (session,))
                self._db.execute("DELETE FROM session WHERE id = ?", (session,))

    # -- feedback, which is part of the log

    def add_feedback(self, session: int | None, rows: Iterable[FeedbackRow]) -> None:
        """Add what became of predictions; what is there already is left as it is."""
        with self.transaction():
            self._all_shown = False
            self._db.executemany(
                "INSERT OR IGNORE INTO feedback(session, step, after, line, verdict, timestamp, project)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(session or 0, *self._feedback_row(row, session is None)) for row in rows],
            )

    def _feedback_row(self, row: FeedbackRow, alone: bool) -> list[Any]:
        after = self._intern(row.after) if alone and row.after is not None else 0
        project = None if row.project is None else self._intern(row.project)
        return [row.step, after, self._intern(row.line), VERDICTS.index(row.verdict), row.timestamp, project]

    def feedback(self, session: int | None) -> list[FeedbackRow]:
        """Return what became of the predictions of a session, or of those of none."""
        order = "ORDER BY f.step, f.timestamp, t.text, a.text, f.verdict"
        rows = self._all(f"{_FEEDBACK} WHERE f.session = ? {order}", (session or 0,))
        return [shown_row(row) for row in rows]

    def feedback_tail(self, limit: int) -> list[tuple[int, FeedbackRow]]:
        """Return the next rows of feedback that are not yet part of the derived state."""
        with self._lock:
            if self._all_shown:
                return []
            upto = "coalesce((SELECT value FROM meta WHERE key = 'derived_feedback'), 0)"
            rows = self._all(f"{_FEEDBACK} WHERE f.seq > {upto} ORDER BY f.seq LIMIT ?", (limit,))
            self._all_shown = not rows
            return [(row[0], shown_row(row)) for row in rows]

    def replace_feedback(self, session: int | None, rows: Iterable[FeedbackRow]) -> None:
        """Replace the feedback of a session, or that of none."""
        with self.transaction():
            self._db.execute("DELETE FROM feedback WHERE session = ?", (session or 0,))
            self.add_feedback(session, rows)

    # -- derived state

    def reset_derived(self) -> None:
        """Drop the derived state, and every text and vector that the log no longer speaks of."""
        with self.transaction():
            self._drop_read()
            for table in _DERIVED:
                self._db.execute(f"DELETE FROM {table}")
            self.set_meta("derived", 0)
            self.set_meta("derived_feedback", 0)
            self.set_meta("superseded", 0)
            self.set_meta("in_use", None)
            for counter in ("generation", "courses"):
                self.set_meta(counter, (self.meta(counter) or 0) + 1)

    def drop_unused(self) -> None:
        """Drop texts, vectors and neighbours that neither the log nor the derived state refers to."""
        with self.transaction():
            columns = [(c, "log") for c in ("command", *_INTERNED)]
            columns += [(c, "feedback") for c in ("after", "line", "project")]
            used = " UNION ".join(f"SELECT {c} FROM {table} WHERE {c} NOT NULL" for c, table in columns)
            self._db.execute(
                f"DELETE FROM text WHERE id NOT IN ({used} UNION SELECT template FROM follower"
                " UNION SELECT head FROM context WHERE head NOT NULL)"
            )
            for table in ("vector", "neighbour"):
                self._db.execute(f"DELETE FROM {table} WHERE template NOT IN (SELECT template FROM follower)")
            self._db.execute("DELETE FROM neighbour")
            self._written.clear()
            self._texts.clear()
            self._dropped = True
            if self._path is not None:
                # For whoever closes the file next, should this process not come to it.
                self.set_meta("uncleaned", len(_CLEANING))

    def apply(self, delta: Delta, upto: int) -> bool:
        """Merge a delta and mark the log as derived up to row `upto`; return whether it counts templates never seen."""
        with self.transaction():
            counted = delta.counted()
            news = len(self.template_ids(counted)) < len(counted)
            for text in delta.texts.values():
                self._intern(text)
            recents = self._apply_contexts(delta)
            self._renew(delta, recents)
            self._apply_values(delta)
            self._apply_rules(delta)
            self._apply_courses(delta)
            bounds = self.bounds() if delta.patterns else Bounds()
            bounded = bounds != Bounds()
            for row in delta.patterns.values():
                if bounded:
                    take_back(self._db, pattern_row_id(row.pattern_id))
                self._apply_pattern(row)
                for key in row.keys:
                    self._postings.pop(key, None)
            if bounded:
                changed = {pattern_row_id(row.pattern_id): row.keys for row in delta.patterns.values()}
                for number, *keys in keep_within(self._db, bounds, changed):
                    self._pattern_counts.pop(number, None)
                    self._pattern_templates.pop(number, None)
                    for key in keys:
                        self._postings.pop(key, None)
            self.set_meta("derived", upto)
            return news

    def bound_patterns(self, bounds: Bounds) -> None:
        """Keep the most useful patterns in use from now on, within bounds; the others are put on the shelf."""
        if bounds != self.bounds():
            with self.transaction():
                self.set_meta("bounds", json.dumps(bounds))
                put_anew(self._db, bounds)
                self._drop_read()

    def bounds(self) -> Bounds:
        """Return what the patterns are kept within."""
        kept = self.meta("bounds")
        return Bounds() if kept is None else Bounds(*json.loads(kept))

    def _apply_contexts(self, delta: Delta) -> dict[int, bytes]:
        """Merge counts of contexts and of what followed them; return the newest followers of those that keep them."""
        stored: dict[int, tuple[bytes, int | None, int]] = {}
        # In the order of the file, so that what lies together is read and written together.
        keys = sorted(delta.contexts)
        for chunk in _chunks(keys):
            marks = ",".join("?" * len(chunk))
            for key, *row in self._all(f"SELECT key, recent, only, how FROM context WHERE key IN ({marks})", chunk):
                stored[key] = tuple(row)
        followers: list[tuple[int, ...]] = []
        contexts: list[tuple[Any, ...]] = []
        recents: dict[int, bytes] = {}
        for key in keys:
            added = delta.contexts[key]
            recent, only, how = stored.get(key, (b"", None, 0))
            newest = newest_of(recent, only)
            if added.newest:
                newest = merge_recent(newest, added.newest)
            if newest:
                recents[key] = newest
            if key in stored:
                alone = added.total == 0 and [*added.rows] == [only]
            else:
                alone = added.total == 1 and len(added.rows) == 1 and added.head is None and key != EVERYWHERE
            if alone:
                ((number, counts),) = added.rows.items()
                if (counted := how_of(counts)) is not None:
                    contexts.append((key, None, added.total, newest[: MOMENT.size], number, how | counted))
                    continue
            if only is not None:
                followers.append((key, *follower_of(only, how)))
            followers.extend((key, number, *tallies(counts)) for number, counts in added.rows.items())
            if added.total or only is not None:
                contexts.append((key, added.head, added.total, newest, None, None))
        self._db.executemany(
            f"INSERT INTO follower VALUES (?, ?, ?, ?, ?, ?, ?, ?) {ADD_COUNTS}",
            followers,
        )
        self._db.executemany(
            "INSERT INTO context VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET total = total + excluded.total,"
            " recent = excluded.recent, only = excluded.only, how = excluded.how",
            contexts,
        )
        return recents

    def _renew(self, delta: Delta, recents: Mapping[int, bytes]) -> None:
        """Bring the contexts that were read up to a delta that is merged: they are asked for again at the next step."""
        if len(delta.contexts) > Kept.MOST:  # of so many steps that another one follows, and nobody asks between
            self._contexts.clear()
            return
        for key in self._contexts.keys() & delta.contexts.keys():
            change = delta.contexts[key]
            added = {number: count for number, counts in change.rows.items() if (count := tallies(counts)[0])}
            if not added:
                continue
            before = self._contexts.pop(key) or Context(0, (), {})
            if len(added) > _RENEWED:
                continue
            counts = dict(before.counts)
            for number, count in added.items():
                if number in counts or before.complete:
                    counts[number] = counts.get(number, 0) + count
                else:
                    row = self.follower(key, number)
                    assert row is not None
                    counts[number] = row.count
            total = before.total + change.total
            recent = tuple(recent_templates(recents.get(key, b"")))
            # What neither was nor is among the most frequent ones has a count that did not rise.
            ranked = sorted(counts, key=lambda number: (counts[number], number), reverse=True)
            if total >= FOLLOWERS:
                ranked = [number for number in ranked[:FOLLOWERS] if counts[number] > 1]
                ranked += sorted(set(recent).difference(ranked))
            shown = {number: counts[number] for number in ranked}
            self._contexts[key] = Context(total, recent, shown, sum(shown.values()) == total)

    def apply_shown(self, delta: Delta, upto: int) -> None:
        """Merge what was shown and mark the feedback as derived up to row `upto`."""
        with self.transaction():
            self._db.executemany(
                "INSERT INTO shown VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " accepted = accepted + excluded.accepted, rejected = rejected + excluded.rejected,"
                " ignored = ignored + excluded.ignored",
                ((key, *counts) for key, counts in delta.shown.items()),
            )
            for key in delta.shown:
                self._shown.pop(key, None)
            self.set_meta("derived_feedback", upto)

    def _apply_values(self, delta: Delta) -> None:
        changes: dict[int, dict[str, tuple[int, bytes]]] = {}
        for (key, value), change in delta.values.items():
            changes.setdefault(key, {})[value] = change
        places = self.values(list(changes))
        values, renewed = [], []
        for key, changed in sorted(changes.items()):
            place = places.get(key, ValueCounts({}, 0, 0))
            # Counts only rise, so that what is neither changed nor among the best is not among them now.
            known: dict[str, tuple[int, bytes]] = {}
            for chunk in _chunks(list({*changed, *place.best})):
                marks = ",".join("?" * len(chunk))
                sql = f"SELECT value, count, newest FROM value WHERE key = ? AND value IN ({marks})"
                known.update((value, (count, newest)) for value, count, newest in self._all(sql, (key, *chunk)))
            kinds = place.kinds + sum(value not in known for value in changed)
            for value, (count, newest) in changed.items():
                before, at = known.get(value, (0, b""))
                known[value] = before + count, max(newest, at)
                values.append((key, value, *known[value]))
            best = sorted(known, key=lambda value: (known[value], value), reverse=True)[:BEST_VALUES]
            total = place.total + sum(count for count, _ in changed.values())
            renewed.append((key, total, kinds, json.dumps({value: known[value][0] for value in best})))
            self._values.pop(key, None)
        self._db.executemany("INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?)", values)
        self._db.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", renewed)

    def _apply_courses(self, delta: Delta) -> None:
        if delta.courses:
            self._db.executemany(
                "INSERT OR REPLACE INTO course VALUES (?, ?, ?)",
                ((when, course.success, course.steps) for when, course in delta.courses.items()),
            )
            self.set_meta("courses", (self.meta("courses") or 0) + 1)

    def _apply_rules(self, delta: Delta) -> None:
        stored = self.rules(list(delta.rules))
        for key, counts in delta.rules.items():
            merged = merge_rules(stored.get(key, {}), counts)
            self._db.execute("INSERT OR REPLACE INTO rule VALUES (?, ?)", (key, json.dumps(merged)))
            self._rules.pop(key, None)

    def _apply_pattern(self, row: PatternRow) -> None:
        execute = self._db.execute
        number = pattern_row_id(row.pattern_id)
        self._pattern_counts.pop(number, None)
        self._pattern_templates.pop(number, None)  # that it is not there was kept as well
        known = execute("SELECT id, newest FROM pattern WHERE pattern_id = ?", (row.pattern_id,)).fetchone()
        counts = (row.success, row.failure, row.unknown, row.duration_ms, row.timed)
        if known is None:
            ids = [self._intern(template) for template in row.templates]
            execute(
                "INSERT INTO pattern VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    row.pattern_id,
                    struct.pack(f"<{len(ids)}q", *ids),
                    *counts,
                    row.newest,
                    json.dumps(row.example),
                ),
            )
            self._db.executemany("INSERT OR IGNORE INTO posting VALUES (?, ?)", ((key, number) for key in row.keys))
            return
        execute(
            "UPDATE pattern SET success = success + ?, failure = failure + ?, unknown = unknown + ?,"
            " duration_ms = duration_ms + ?, timed = timed + ? WHERE id = ?",
            (*counts, known[0]),
        )
        if row.newest > known[1]:
            execute(
                "UPDATE pattern SET newest = ?, example = ? WHERE id = ?",
                (row.newest, json.dumps(row.example), known[0]),
            )

    def contexts(self, keys: Sequence[int]) -> dict[int, Context]:
        """Return what followed contexts that were seen: what `FOLLOWERS` tells, plus the recent ones."""
        return self._known(self._contexts, keys, self._read_contexts)

    def _known(
        self,
        kept: Kept[_T | None],
        keys: Sequence[int],
        read: Callable[[str, Sequence[int]], Iterable[tuple[int, _T]]],
    ) -> dict[int, _T]:
        """Return what is known under `keys`: as it was read before, or read in one go."""

        def fetch(missing: list[int]) -> Iterator[tuple[int, _T]]:
            for chunk in _chunks(missing):
                yield from read(",".join("?" * len(chunk)), chunk)

        with self._lock:
            return read_once(kept, keys, fetch)

    def _read_contexts(self, marks: str, keys: Sequence[int]) -> Iterator[tuple[int, Context]]:
        rows = self._all(f"SELECT key, only, total, recent FROM context WHERE key IN ({marks})", keys)
        yield from (
            (key, Context(1, (only,) if moment else (), {only: 1})) for key, only, _, moment in rows if only is not None
        )
        heads = [(key, total, recent) for key, only, total, recent in rows if only is None]
        # No context has more followers than it was followed: those of small ones are read in one go.
        small = [key for key, total, _ in heads if total < FOLLOWERS]
        marks = ",".join("?" * len(small))
        found: dict[int, list[tuple[int, int]]] = {key: [] for key in small}
        for key, *row in self._all(f"SELECT context, count, template FROM follower WHERE context IN ({marks})", small):
            found[key].append(tuple(row))
        for key, total, blob in heads:
            recent = tuple(recent_templates(blob))
            ranked = found[key] if key in found else self._most_frequent(key)
            ranked.sort(reverse=True)
            counts = {template: count for count, template in ranked}
            if key not in found and (others := sorted(set(recent).difference(counts))):
                if len(ranked) < FOLLOWERS:
                    counts.update(dict.fromkeys(others, 1))  # all that was seen more often is there
                else:
                    marks = ",".join("?" * len(others))
                    sql = f"SELECT template, count FROM follower WHERE context = ? AND template IN ({marks})"
                    counts.update(self._all(sql, (key, *others)))
            yield key, Context(total, recent, counts, sum(counts.values()) == total)

    def _most_frequent(self, key: int) -> list[tuple[int, int]]:
        """Return counts and templates of the most frequent followers of a context among those seen more than once."""
        sql = "SELECT count, template FROM follower INDEXED BY follower_often WHERE context = ? AND count > 1"
        return self._all(f"{sql} ORDER BY count DESC, template DESC LIMIT ?", (key, FOLLOWERS))

    def context(self, key: int) -> Context | None:
        """Return what followed a context."""
        return self.contexts((key,)).get(key)

    def followers(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Follower]:
        """Return the counts of followers, by context and template, of those that were seen."""
        found: dict[tuple[int, int], Follower] = {}
        for chunk in _chunks(pairs, 250):
            # A row value in a list is no search of the index; a join that begins with the list is.
            marks = ",".join(["(?, ?)"] * len(chunk))
            sql = (
                f"SELECT context, {_FOLLOWER} FROM (VALUES {marks}) CROSS JOIN follower"
                " ON context = column1 AND template = column2"
            )
            for key, *row in self._all(sql, list(chain.from_iterable(chunk))):
                found[key, row[0]] = Follower(*row)
        wanted = {pair for pair in pairs if pair not in found and self._may_be_once(pair[0])}
        for keys in _chunks(sorted({key for key, _ in wanted})):
            marks = ",".join("?" * len(keys))
            for key, *row in self._all(f"SELECT key, only, how FROM context WHERE key IN ({marks})", keys):
                if (key, row[0]) in wanted:
                    found[key, row[0]] = Follower(*follower_of(*row))
        return found

    def _may_be_once(self, key: int) -> bool:
        """Return whether a context may have been followed once, as far as it was read."""
        known = self._contexts.get(key, _UNREAD)
        return known is not None and known.total == 1

    def follower(self, key: int, template: int) -> Follower | None:
        """Return the counts of one follower of a context."""
        return self.followers([(key, template)]).get((key, template))

    def edges(self) -> Iterator[tuple[str, Follower]]:
        """Yield the transitions, in the order of their texts."""
        rows = self._all(
            "SELECT h.text, f.template, f.count, f.sessions, f.success, f.failure, f.good, f.bad FROM context c"
            " JOIN follower f ON f.context = c.key JOIN text h ON h.id = c.head JOIN text t ON t.id = f.template"
            " WHERE c.head NOT NULL ORDER BY h.text, t.text"
        )
        for row in rows:
            yield row[0], Follower(*row[1:])

    def template_counts(self) -> Iterator[tuple[str, int]]:
        """Yield (template, how often it was seen), sorted by template."""
        yield from self._all(
            "SELECT t.text, f.count FROM follower f JOIN text t ON t.id = f.template WHERE f.context = ?"
            " ORDER BY t.text",
            (EVERYWHERE,),
        )

    def values(self, keys: Sequence[int]) -> dict[int, ValueCounts]:
        """Return the values counted under those keys that are known."""

        def read(marks: str, chunk: Sequence[int]) -> Iterator[tuple[int, ValueCounts]]:
            for key, total, kinds, best in self._all(f"SELECT * FROM place WHERE key IN ({marks})", chunk):
                yield key, ValueCounts(json.loads(best), total, kinds)

        return self._known(self._values, keys, read)

    def rules(self, keys: Sequence[int]) -> dict[int, RuleCounts]:
        """Return how often each fill rule offered a value and was right, for those keys that are known."""

        def read(marks: str, chunk: Sequence[int]) -> Iterator[tuple[int, RuleCounts]]:
            for key, counts in self._all(f"SELECT key, counts FROM rule WHERE key IN ({marks})", chunk):
                yield key, json.loads(counts)

        return self._known(self._rules, keys, read)

    def shown(self, keys: Sequence[int]) -> dict[int, ShownCounts]:
        """Return what became of what was shown, for those keys that are known."""

        def read(marks: str, chunk: Sequence[int]) -> Iterator[tuple[int, ShownCounts]]:
            for key, *counts in self._all(f"SELECT * FROM shown WHERE key IN ({marks})", chunk):
                yield key, counts

        return self._known(self._shown, keys, read)

    def courses(self, limit: int) -> list[Course]:
        """Return the newest `limit` courses, oldest first."""
        rows = self._all("SELECT success, steps FROM course ORDER BY moment DESC LIMIT ?", (limit,))
        return [Course(bool(success), steps) for success, steps in reversed(rows)]

    def outcome_totals(self) -> tuple[int, int]:
        """Return how many sessions ended in success, and how many in failure."""
        columns = "coalesce(sum(outcome = 1), 0), coalesce(sum(outcome = 0), 0)"
        good, bad = self._one(f"SELECT {columns} FROM session")
        good_again, bad_again = self._one(f"SELECT {columns} FROM session WHERE id IN ({_AGAIN})")
        return int(good - good_again), int(bad - bad_again)

    def patterns_with(self, keys: Sequence[int], limit: int) -> list[int]:
        """Return at most `limit` ids of patterns that hold most of `keys`, rare keys weighing more, best first."""
        import numpy as np

        # A key that more patterns share than are read says little about any of them.
        read = max(_POSTINGS_READ, 4 * limit)
        lists = [self._posting(key, read) for key in dict.fromkeys(keys)]
        if not lists:
            return []
        patterns, which = np.unique(np.concatenate(lists), return_inverse=True)
        weights = np.repeat([1.0 / math.log(2 + len(rows)) for rows in lists], [len(rows) for rows in lists])
        scores = np.bincount(which, weights, len(patterns))
        ranked: list[int] = patterns[np.lexsort((patterns, scores))[: -limit - 1 : -1]].tolist()
        return ranked

    def _posting(self, key: int, limit: int) -> NDArray[np.int64]:
        """Return the newest ids, as numbers, of patterns that hold a key."""
        import numpy as np

        with self._lock:
            postings = self._postings
            if key not in postings or postings[key][0] < limit:
                sql = "SELECT pattern FROM posting WHERE key = ? ORDER BY pattern DESC LIMIT ?"
                rows = self._all(sql, (key, limit))
                postings[key] = limit, np.fromiter(chain.from_iterable(rows), np.int64, len(rows))
            postings.used((key,), _POSTINGS)
            return postings[key][1][:limit]

    def pattern_templates(self, ids: Sequence[int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (row id, template ids) of those of the patterns that are there, in order."""
        import numpy as np

        def read(marks: str, chunk: Sequence[int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
            for number, blob in self._all(f"SELECT id, templates FROM pattern WHERE id IN ({marks})", chunk):
                yield number, np.frombuffer(blob, dtype="<i8")

        found = self._known(self._pattern_templates, ids, read)
        yield from ((number, found[number]) for number in ids if number in found)

    def pattern_counts(self, ids: Sequence[int]) -> dict[int, PatternCounts]:
        """Return id and outcome counts of patterns by row id."""

        def read(marks: str, chunk: Sequence[int]) -> Iterator[tuple[int, PatternCounts]]:
            sql = f"SELECT id, pattern_id, success, failure FROM pattern WHERE id IN ({marks})"
            for number, *row in self._all(sql, chunk):
                yield number, PatternCounts(*row)

        return self._known(self._pattern_counts, ids, read)

    def pattern(self, key: int | str) -> PatternRow | None:
        """Return a pattern by row id or pattern id."""
        row = self._one(
            "SELECT pattern_id, templates, success, failure, unknown, duration_ms, timed, newest, example, id"
            f" FROM pattern WHERE {'pattern_id' if isinstance(key, str) else 'id'} = ?",
            (key,),
        )
        if row is None:
            return None
        return pattern_row(row, self.template_texts(_unpack(row[1])))

    def pattern_runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield of each pattern how many sessions followed it, and the moment of the newest one."""
        yield from self._all("SELECT success + failure + unknown, newest FROM pattern")

    def pattern_heads(self, examples: bool) -> Iterator[PatternRow]:
        """Yield all patterns without their templates."""
        example = "example" if examples else "''"
        rows = self._all(f"SELECT pattern_id, success, failure, unknown, newest, {example} FROM pattern")
        yield from map(pattern_head, rows)

    def pattern_ids(self) -> list[str]:
        """Return all pattern ids, sorted."""
        return [row[0] for row in self._all("SELECT pattern_id FROM pattern ORDER BY pattern_id")]

    def totals(self) -> dict[str, int]:
        """Return the sizes shown by ``stats()``."""
        queries = {
            "session_count": f"SELECT count(*) - (SELECT count(*) FROM ({_AGAIN})) FROM session",
            "command_count": (
                "SELECT count(*) - (SELECT count(*) FROM again WHERE step >= 0) FROM log WHERE step >= 0"
            ),
            "pattern_count": "SELECT count(*) FROM pattern",
            "shelved_pattern_count": "SELECT count(*) FROM shelf",
            "template_count": "SELECT count(*) FROM follower WHERE context = ?",
            "graph_edge_count": (
                "SELECT count(*) FROM follower f JOIN context c ON c.key = f.context WHERE c.head NOT NULL"
            ),
            "feedback_count": "SELECT count(*) FROM feedback",
            "causal_chain_count": (
                "SELECT coalesce(sum((success > 0) + (failure > 0) + (count > success + failure)), 0)"
                " FROM follower f JOIN context c ON c.key = f.context WHERE c.head NOT NULL"
            ),
        }
        found = {name: int(self._one(sql, (EVERYWHERE,) * sql.count("?"))[0]) for name, sql in queries.items()}
        successes, failures = self.outcome_totals()
        return {**found, "total_successes": successes, "total_failures": failures}

    # -- vectors

    def missing_vectors(self, fingerprint: str, limit: int) -> list[tuple[int, str]]:
        """Return templates that have no vector of this fingerprint."""
        return self._all(
            f"SELECT t.id, t.text FROM follower f JOIN text t ON t.id = f.template {_NO_VECTOR} LIMIT ?",
            (EVERYWHERE, fingerprint, limit),
        )

    def count_templates(self) -> int:
        """Return how many templates were counted."""
        return int(self._one("SELECT count(*) FROM follower WHERE context = ?", (EVERYWHERE,))[0])

    def count_missing(self, fingerprint: str) -> int:
        """Return how many templates have no vector of this fingerprint."""
        return int(self._one(f"SELECT count(*) FROM follower f {_NO_VECTOR}", (EVERYWHERE, fingerprint))[0])

    def vectors_of(self, fingerprint: str, templates: Sequence[int]) -> dict[int, bytes]:
        """Return the stored float32 vectors of some templates."""
        found: dict[int, bytes] = {}
        for chunk in _chunks(templates):
            marks = ",".join("?" * len(chunk))
            found.update(
                self._all(
                    f"SELECT template, data FROM vector WHERE fingerprint = ? AND template IN ({marks})",
                    (fingerprint, *chunk),
                )
            )
        return found

    def put_vectors(self, fingerprint: str, vectors: Mapping[int, bytes]) -> None:
        """Store float32 vectors by template id, of templates that are still there."""
        with self.transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO vector SELECT template, ?, ? FROM follower WHERE context = ? AND template = ?",
                ((fingerprint, data, EVERYWHERE, template) for template, data in vectors.items()),
            )

    def vectors(self, fingerprint: str) -> Iterator[tuple[int, bytes]]:
        """Yield (template id, float32 bytes) in id order."""
        yield from self._all(
            "SELECT template, data FROM vector WHERE fingerprint = ? ORDER BY template", (fingerprint,)
        )

    def vector_ids(self, fingerprint: str) -> list[int]:
        """Return the ids of the templates that have a vector of this fingerprint."""
        return [number for (number,) in self._all("SELECT template FROM vector WHERE fingerprint = ?", (fingerprint,))]

    def count_vectors(self, fingerprint: str) -> int:
        """Return how many vectors of this fingerprint there are."""
        return int(self._one("SELECT count(*) FROM vector WHERE fingerprint = ?", (fingerprint,))[0])

    def floors(self, fingerprint: str, full: int) -> dict[int, float]:
        """Return the least cosine among the neighbours of each template that has `full` of them."""
        rows = self._all(
            "SELECT template, substr(data, -?) FROM neighbour WHERE fingerprint = ? AND length(data) >= ?",
            (NEIGHBOUR.size, fingerprint, full * NEIGHBOUR.size),
        )
        return {template: NEIGHBOUR.unpack(last)[1] for template, last in rows}

    def unlinked(self, fingerprint: str) -> list[int]:
        """Return templates that have a vector but no neighbours yet."""
        rows = self._all(
            "SELECT template FROM vector v WHERE fingerprint = ? AND NOT EXISTS"
            " (SELECT 1 FROM neighbour n WHERE n.fingerprint = v.fingerprint AND n.template = v.template)",
            (fingerprint,),
        )
        return [row[0] for row in rows]

    def put_neighbours(self, fingerprint: str, neighbours: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """Store the nearest templates of templates: (template id, cosine), nearest first."""
        with self.transaction():
            # Templates may have been forgotten since the lists were made.
            asked = {*neighbours, *(number for pairs in neighbours.values() for number, _ in pairs)}
            there: set[int] = set()
            for chunk in _chunks(sorted(asked)):
                marks = ",".join("?" * len(chunk))
                sql = f"SELECT template FROM vector WHERE fingerprint = ? AND template IN ({marks})"
                there.update(number for (number,) in self._all(sql, (fingerprint, *chunk)))
            neighbours = {
                template: [pair for pair in pairs if pair[0] in there]
                for template, pairs in neighbours.items()
                if template in there
            }
            self._db.executemany(
                "INSERT OR REPLACE INTO neighbour VALUES (?, ?, ?)",
                (
                    (template, fingerprint, b"".join(NEIGHBOUR.pack(*pair) for pair in pairs))
                    for template, pairs in neighbours.items()
                ),
            )

    def neighbours(self, fingerprint: str, template: int) -> list[tuple[int, float]]:
        """Return the nearest templates of a template, nearest first; empty when not computed yet."""
        row = self._one("SELECT data FROM neighbour WHERE fingerprint = ? AND template = ?", (fingerprint, template))
        return [] if row is None else list(NEIGHBOUR.iter_unpack(row[0]))

    def meta(self, key: str) -> Any:
        """Return a recorded setting, or None."""
        with self._lock:
            # Only where one state is seen is it known that no other process changed it.
            seen = not self._depth and (self._path is None or self._db.in_transaction)
            if seen and key in self._metas:
                return self._metas[key]
            row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
            value = None if row is None else row[0]
            if seen:
                self._metas[key] = value
            return value

    def set_meta(self, key: str, value: str | int | float | bytes | None) -> None:
        """Record a setting."""
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def clear_meta(self, prefix: str) -> None:
        """Let go of the settings whose names begin with `prefix`."""
        with self.transaction():
            self._db.execute("DELETE FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))


_stores: WeakSet[SQLiteStore] = WeakSet()


def _put_down() -> None:
    for store in list(_stores):
        store.put_down()


def _take_up(in_parent: bool) -> None:
    for store in list(_stores):
        store.take_up(in_parent)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_put_down, after_in_parent=lambda: _take_up(True), after_in_child=lambda: _take_up(False)
    )


def _reader(path: str | Path) -> sqlite3.Connection:
    # A file that nobody uses can be read where nothing can be written, and without leaving anything beside it.
    immutable = "" if any(side.exists() for side in side_files(path)) else "&immutable=1"
    uri = f"{Path(path).absolute().as_uri()}?mode=ro{immutable}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE)


def take_away(path: Path) -> None:
    """Delete the file of a store that holds nothing and that nobody has open; else leave it as it is."""
    if os.path.exists(spool_of(str(path))):
        return
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as db:
        db.execute("PRAGMA journal_mode = DELETE")  # fails where it is open elsewhere
        db.execute("BEGIN EXCLUSIVE")
        if not any(db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in ("session", "log", "feedback")):
            path.unlink()


def copy_store(source: Path, target: str) -> None:
    """Copy the database in a file, that others may be using, to a new file; the source is only read.

    Raises
    ------
    SnapshotError
        The file is no database, or a damaged one.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist")
    try:
        with closing(_reader(source)) as read, closing(sqlite3.connect(target)) as written:
            read.backup(written)
            (verdict,) = written.execute("PRAGMA quick_check(1)").fetchone()
            if not tables_of(written):
                verdict = "it is empty"
    except sqlite3.Error as error:
        raise SnapshotError(f"the file is no store, or is damaged ({_told(error)})") from error
    if verdict != "ok":
        raise SnapshotError(f"the file is no store, or is damaged ({verdict})")
