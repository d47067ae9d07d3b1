"""The PostgreSQL store: the session log and the derived state of a memory that many machines share.

Concurrency contract
    *Threads*: one connection per store, used under one re-entrant lock, so that every call is safe from any thread.
    *Processes*: one writes to a memory at a time. A transaction locks the row of its memory first; who comes second
    waits, at most `PATIENCE` seconds, in the order of coming. Other memories of the database are not held up. Readers
    wait for nobody: `reading` gives them one state (``REPEATABLE READ``).
    *Freshness*: what another machine has committed is seen by whatever begins after that. `refresh` asks the server
    for the number of the newest change, once; only what was changed is read again.
    *Failure*: a write that fails is rolled back whole; what was kept in memory of it is dropped. Where the server goes
    away while it commits, it is asked afterwards whether it did.
    *Durability*: what a transaction wrote survives what the server survives; with ``"normal"`` a crash of the server
    may cost the newest transactions (``synchronous_commit = off``), never the memory.
"""

from __future__ import annotations

import heapq
import json
import math
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from procedural_memory.errors import StorageError
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
from procedural_memory.storage.kept import Kept
from procedural_memory.storage.once import FOLD
from procedural_memory.storage.postgres_link import array, byte_array
from procedural_memory.storage.postgres_schema import COPIED, DERIVED
from procedural_memory.storage.postgres_shelf import Shelf
from procedural_memory.storage.postgres_transactions import PATIENCE
from procedural_memory.storage.rows import (
    NEIGHBOUR,
    OUTCOME_CODES,
    OUTCOMES,
    VERDICTS,
    merge_rules,
    pattern_head,
    pattern_row,
    shown_row,
)
from procedural_memory.storage.tally import tallies
from procedural_memory.types import Command, Durability, Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PATIENCE", "PostgresStore"]

_T = TypeVar("_T")
_CACHE = 200_000
_CONTEXTS = 4_096
"""For how many keys more than a row each is kept."""
_POSTINGS_READ = 100
_AT_ONCE = 500
"""Sessions that are read in one go."""
_INTERNED = ("cwd", "project", "source", "actor", "host", "branch")
_LOG_COLUMNS = ("command", "exit_code", "timestamp", "duration_ms", *_INTERNED)
_LOG_TYPES = ("bigint", "bigint", "float8", "float8", *["bigint"] * len(_INTERNED))
_FOLLOWER = ("count", "sessions", "success", "failure", "good", "bad")
_SESSION = "id, session_id, start, outcome, closed, source, digest, owner"
_STEP = "c.text, l.exit_code, w.text, l.timestamp, l.duration_ms, p.text, s.text, a.text, h.text, b.text"
_ASKED_OFTEN = (
    "derived",
    "derived_feedback",
    "generation",
    "ranker_version",
    "courses",
    "superseded",
    "embedder",
    "bounds",
    "in_use",
)
"""Settings that are read anew, in one go, when another process has changed the memory."""


def _packed(row: Sequence[Any]) -> list[Any]:
    """Return a row as a file has it, where lists of numbers are packed."""
    return [struct.pack(f"<{len(value)}q", *value) if isinstance(value, list) else value for value in row]


def _unpack(blob: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(blob) // 8}q", blob)


class PostgresStore(Shelf):
    """A store on PostgreSQL.

    Parameters
    ----------
    address : str
        ``postgresql://user@host/database?tenant=…&project=…``; the last two name the memory within the database.
    durability : {"full", "normal"}
        What a write outlives: whatever the server is set to outlive, or the end of the process.
    """

    def __init__(self, address: str, durability: Durability = "full") -> None:
        super().__init__(address, durability)
        self._contexts: Kept[Context | None] = self._kept()
        self._followers: Kept[dict[int, Follower | None]] = self._kept()
        self._values: Kept[ValueCounts | None] = self._kept()
        self._rules: Kept[RuleCounts | None] = self._kept()
        self._shown: Kept[ShownCounts | None] = self._kept()
        self._counted: Kept[bool] = self._kept()
        self._postings: Kept[tuple[int, tuple[int, ...]]] = self._kept()
        self._pattern_counts: Kept[PatternCounts | None] = self._kept()
        self._pattern_templates: Kept[NDArray[np.int64] | None] = self._kept()
        self._neighbours: Kept[dict[str, list[tuple[int, float]]]] = self._kept()
        self._session_rows: dict[int, SessionRow] = {}
        self._step_counts: dict[int, int] = {}
        joins = zip("cwpsahb", ("command", *_INTERNED), strict=True)
        self._step_joins = " ".join(
            f"LEFT JOIN text {short} ON {short}.memory = l.memory AND {short}.id = l.{name}" for short, name in joins
        )

    def take_in_spooled(self, patience: float) -> int:
        """Return 0: hooks write to files alone."""
        return 0

    def _drop_small(self) -> None:
        super()._drop_small()
        self._session_rows.clear()
        self._step_counts.clear()

    # -- interning

    def _intern(self, texts: Iterable[str]) -> None:
        """Make sure that texts are there; their ids are made of them."""
        new = {number: text for text in texts if (number := text_id(text)) not in self._written}
        if not new:
            return
        if len(self._written) > _CACHE:
            self._written.clear()
        self._write(
            f"INSERT INTO text SELECT {self._memory}, * FROM unnest(%s::bigint[], %s::text[]) ON CONFLICT DO NOTHING",
            (array(new), list(new.values())),
        )
        self._written.update(new)

    def template_ids(self, templates: Iterable[str]) -> dict[str, int]:
        """Return the ids of those `templates` that were counted."""
        ids = {text: text_id(text) for text in templates}
        with self._lock:
            counted = self._counted
            if len(counted) > _CACHE:
                counted.clear()
            if missing := [number for number in dict.fromkeys(ids.values()) if number not in counted]:
                counted.update(dict.fromkeys(missing, False))
                counted.update((row[1], True) for row in self._pairs("1", [(EVERYWHERE, number) for number in missing]))
            return {text: number for text, number in ids.items() if counted[number]}

    def template_text(self, template: int) -> str:
        """Return a template by its id."""
        return self.template_texts([template])[0]

    def template_texts(self, templates: Sequence[int]) -> list[str]:
        """Return templates by their ids."""
        texts = self._texts
        if missing := {number for number in templates if number not in texts}:
            if len(texts) > _CACHE:
                texts = self._texts = {}
                missing = set(templates)
            sql = f"SELECT id, text FROM text WHERE {self._mine} AND id = ANY(%s::bigint[])"
            texts.update(self._all(sql, (array(missing),)))
        return [texts[number] for number in templates]

    # -- the log

    def add_session(self, session_id: str, start: float, source: str | None, owner: str | None = None) -> int:
        """Open a session and return its id."""
        with self.transaction():
            number = self._head.sessions + 1
            self._write(
                "INSERT INTO session(memory, id, name_id, session_id, start, source, owner)"
                f" VALUES ({self._memory}, %s, %s, %s, %s, %s, %s)",
                (number, text_id(session_id), session_id, start, source, owner),
            )
            self._head = self._head._replace(sessions=number)
            return number

    def add_steps(self, session: int, first: int, commands: Sequence[Command]) -> None:
        """Append steps to a session, numbered from `first`."""
        with self.transaction():
            self._append(session, range(first, first + len(commands)), commands)

    def _append(self, session: int, steps: Sequence[int], commands: Sequence[Command]) -> None:
        """Append rows to the log; there are no columns to fill of a session's close."""
        if not steps:
            return
        first, last = self._head.rows + 1, self._head.rows + len(steps)
        columns = self._step_columns(commands) if commands else [array([None])] * len(_LOG_COLUMNS)
        types = ", ".join(f"%s::{kind}[]" for kind in ("bigint", "int", *_LOG_TYPES))
        self._write(
            f"INSERT INTO log(memory, session, seq, step, {', '.join(_LOG_COLUMNS)})"
            f" SELECT {self._memory}, %s, * FROM unnest({types})",
            (session, array(range(first, last + 1)), array(steps), *columns),
        )
        self._head = self._head._replace(rows=last)
        self._last_row = last
        self._step_counts.pop(session, None)

    def _step_columns(self, commands: Sequence[Command]) -> list[str]:
        """Return the columns of steps as arrays, making sure that their texts are there."""
        texts = {name: [getattr(command, name) for command in commands] for name in ("command", *_INTERNED)}
        self._intern(text for column in texts.values() for text in column if text is not None)
        return [
            array(None if text is None else text_id(text) for text in texts[name])
            if name in texts
            else array(getattr(command, name) for command in commands)
            for name in _LOG_COLUMNS
        ]

    def step_count(self, session: int) -> int:
        """Return how many steps a session has."""
        if session in self._step_counts:
            return self._step_counts[session]
        sql = f"SELECT coalesce(max(step) + 1, 0) FROM log WHERE {self._mine} AND session = %s"
        return int(self._one(sql, (session,))[0])

    def next_step(self, session: int) -> int | None:
        """Return the number of the next step of a session that is open, None when it is closed or not there."""
        steps = f"SELECT coalesce(max(step) + 1, 0) FROM log WHERE {self._mine} AND session = s.id"
        row = self._one(f"SELECT closed, ({steps}) FROM session s WHERE {self._mine} AND id = %s", (session,))
        return None if row is None or row[0] else int(row[1])

    def set_start(self, session: int, start: float) -> None:
        """Place a session elsewhere in canonical order."""
        with self.transaction():
            self._session_rows.pop(session, None)
            self._write(f"UPDATE session SET start = %s WHERE {self._mine} AND id = %s", (start, session))

    def close_session(self, session: int, outcome: Outcome, digest: bytes) -> None:
        """Close a session: sets its outcome and appends the close to the log."""
        with self.transaction():
            self._session_rows.pop(session, None)
            self._write(
                "UPDATE session SET outcome = %s, closed = 1, digest = %s, owner = NULL"
                f" WHERE {self._mine} AND id = %s",
                (OUTCOME_CODES[outcome], digest, session),
            )
            self._append(session, [-1], ())

    def _sessions(self, condition: str, values: Sequence[Any] = ()) -> Iterator[SessionRow]:
        rows = self._all(f"SELECT {_SESSION} FROM session WHERE {self._mine} AND {condition}", values)
        for number, name, start, outcome, closed, *rest in rows:
            yield SessionRow(number, name, start, OUTCOMES[outcome], bool(closed), *rest)

    def find_session(self, key: int | str) -> SessionRow | None:
        """Return the session with this row id or session id."""
        if isinstance(key, str):
            return next(self._sessions("name_id = %s", (text_id(key),)), None)
        return next(self._sessions("id = %s", (key,)), None)

    def get_session(self, session: int) -> SessionRow:
        """Return a session by its row id."""
        known = self._session_rows.get(session)
        row = self.find_session(session) if known is None else replace(known)
        if row is None:
            raise StorageError(f"session row {session} is not in the store")
        return row

    def sessions(self) -> Iterator[SessionRow]:
        """Yield all sessions in canonical order."""
        ids = [row[0] for row in self._all(f"SELECT id FROM session WHERE {self._mine} ORDER BY start, session_id")]
        for first in range(0, len(ids), _AT_ONCE):
            chunk = ids[first : first + _AT_ONCE]
            yield from self._sessions("id = ANY(%s::bigint[]) ORDER BY start, session_id", (array(chunk),))

    def open_sessions(self) -> list[SessionRow]:
        """Return the sessions that are not closed."""
        return list(self._sessions("closed = 0 ORDER BY start, session_id"))

    def newest_start(self) -> float | None:
        """Return the start of the newest session."""
        start: float | None = self._one(f"SELECT max(start) FROM session WHERE {self._mine}")[0]
        return start

    def steps(self, session: int, first: int = 0) -> list[Command]:
        """Return the steps of a session in order, from number `first` on."""
        rows = self._all(
            f"SELECT {_STEP} FROM log l {self._step_joins}"
            f" WHERE l.{self._mine} AND l.session = %s AND l.step >= %s ORDER BY l.step",
            (session, first),
        )
        return [Command(*row) for row in rows]

    def tail(self, limit: int) -> list[LogRow]:
        """Return the next rows of the log that are not yet part of the derived state."""
        with self._lock:
            rows = self.rows_after(self.meta("derived") or 0, limit)
            if self._depth:
                self._read_sessions(rows)
            return rows

    def _read_sessions(self, rows: Sequence[LogRow]) -> None:
        """Read in one go what is asked for of the sessions of rows that are about to be learned."""
        if len(self._session_rows) > _CONTEXTS:
            self._session_rows.clear()
            self._step_counts.clear()
        sessions = {row.session for row in rows}
        if new := sessions.difference(self._session_rows):
            self._session_rows.update((row.id, row) for row in self._sessions("id = ANY(%s::bigint[])", (array(new),)))
        if ended := {row.session for row in rows if row.command is None}.difference(self._step_counts):
            sql = (
                f"SELECT session, max(step) + 1 FROM log WHERE {self._mine} AND session = ANY(%s::bigint[]) GROUP BY 1"
            )
            self._step_counts.update(self._all(sql, (array(ended),)))

    def _log_rows(self, condition: str, values: Sequence[Any]) -> list[LogRow]:
        rows = self._all(
            f"SELECT l.seq, l.session, l.step, {_STEP} FROM log l {self._step_joins}"
            f" WHERE l.{self._mine} AND {condition}",
            values,
        )
        return [LogRow(row[0], row[1], row[2], None if row[3] is None else Command(*row[3:])) for row in rows]

    def rows_after(self, seq: int, limit: int) -> list[LogRow]:
        """Return the next rows of the log behind a row."""
        return self._log_rows("l.seq > %s ORDER BY l.seq LIMIT %s", (seq, limit))

    def last_row(self) -> int:
        """Return the number of the last row of the log, 0 where it is empty."""
        with self._lock:
            if self._last_row is None:
                self._read_often()
            assert self._last_row is not None
            return self._last_row

    def _read_often(self) -> None:
        """Read what each call asks for, in one go."""
        rows = self._all(
            f"SELECT key, value FROM meta WHERE {self._mine} AND id = ANY(%s::bigint[]) UNION ALL"
            f" SELECT 'last row', (SELECT coalesce(max(seq), 0) FROM log WHERE {self._mine})::text UNION ALL"
            f" SELECT 'last feedback', (SELECT coalesce(max(seq), 0) FROM feedback WHERE {self._mine})::text",
            (array(map(text_id, _ASKED_OFTEN)),),
        )
        found = {key: json.loads(value) for key, value in rows}
        self._last_row, self._last_feedback = found.pop("last row"), found.pop("last feedback")
        self._meta.update({**dict.fromkeys(_ASKED_OFTEN), **found})

    def told_elsewhere(self, command: Command, within: float) -> list[LogRow]:
        """Return the rows of other sources with this line, from a host that may be the same, at about its time."""
        if command.source is None or command.timestamp is None:
            return []
        host = None if command.host is None else text_id(command.host)
        rows = self._log_rows(
            "l.source IS NOT NULL AND l.timestamp BETWEEN %s AND %s AND l.command = %s AND l.source <> %s"
            " AND (l.host = %s::bigint OR l.host IS NULL OR %s::bigint IS NULL) ORDER BY l.seq",
            # A little more than is asked for: a sum may be rounded, a difference tells exactly.
            (
                command.timestamp - within - 1e-3,
                command.timestamp + within + 1e-3,
                text_id(command.command),
                text_id(command.source),
                host,
                host,
            ),
        )
        found = []
        for row in rows:
            assert row.command is not None
            assert row.command.timestamp is not None
            if abs(row.command.timestamp - command.timestamp) <= within:
                found.append(row)
        return found

    def sources_between(self, begin: float, end: float) -> int:
        """Return how many sources tell of steps of that time."""
        told = f"FROM log WHERE {self._mine} AND source IS NOT NULL AND timestamp BETWEEN %s AND %s"
        return int(self._one(f"SELECT count(DISTINCT source) {told}", (begin, end))[0])

    def lines_beginning(self, text: str, limit: int) -> list[str]:
        """Return the single lines among the newest steps that begin with a text and go on: those first that did not
        fail each time, then the most frequent ones."""
        begin = text[:BEGIN]
        newest = f"seq > (SELECT max(seq) FROM log WHERE {self._mine}) -"
        rows = self._all(
            # Each step is bounded, and by LIMIT and OFFSET kept from being planned as one with the next.
            f"WITH began AS MATERIALIZED (SELECT id FROM text WHERE {self._mine} AND begin BETWEEN %s AND %s"
            f" ORDER BY memory, begin LIMIT {LOOKED_AT}), looked AS (SELECT id FROM began UNION (SELECT command"
            f" FROM log WHERE (SELECT count(*) FROM began) = {LOOKED_AT} AND {self._mine} AND {newest} {2 * LOOKED_AT}"
            f" AND step >= 0 ORDER BY memory, seq LIMIT {2 * LOOKED_AT})) SELECT line.text FROM looked CROSS JOIN"
            f" LATERAL (SELECT text FROM text WHERE {self._mine} AND id = looked.id AND left(text, %s) = %s"
            f" AND length(text) > %s AND strpos(text, chr(10)) = 0 OFFSET 0) line CROSS JOIN LATERAL (SELECT count(*)"
            f" AS often, max(seq) AS newest, bool_or(coalesce(exit_code, 0) IN ({SUCCEEDED})) AS well FROM log"
            f" WHERE {self._mine} AND command = looked.id AND {newest} {LOOKED_THROUGH}) counted"
            " WHERE often > 0 ORDER BY well DESC, often DESC, newest DESC LIMIT %s",
            (begin, begin + chr(0x10FFFF), len(text), text, len(text), limit),
        )
        return [line for (line,) in rows]

    def has_step(self, command: Command, until: int) -> bool:
        """Return whether a row up to number `until` has this line, of the same source and the same time."""
        if command.source is None or command.timestamp is None:
            return False
        found = self._one(
            f"SELECT 1 FROM log WHERE {self._mine} AND source IS NOT NULL AND timestamp = %s AND command = %s"
            " AND source = %s AND seq <= %s LIMIT 1",
            (command.timestamp, text_id(command.command), text_id(command.source), until),
        )
        return found is not None

    def told_by_hook_alone(self, source: str, host: str) -> list[tuple[str, str, float]]:
        """Return the newest steps of a shell's hook on a host, without those found in the shell's history."""
        return self._all(
            "SELECT s.session_id, c.text, l.timestamp FROM log l"
            " JOIN session s ON s.memory = l.memory AND s.id = l.session"
            " JOIN text c ON c.memory = l.memory AND c.id = l.command"
            f" WHERE l.{self._mine} AND l.seq > (SELECT max(seq) FROM log WHERE {self._mine}) - %s AND l.source = %s"
            f" AND l.host = %s AND l.timestamp IS NOT NULL AND NOT EXISTS (SELECT 1 FROM log t WHERE t.{self._mine} AND"
            " t.source IS NOT NULL AND t.timestamp = l.timestamp AND t.command = l.command AND t.source = %s)"
            " ORDER BY l.seq",
            (HOOK_STEPS, text_id(f"{source}-hook"), text_id(host), text_id(source)),
        )

    def mark_again(self, session: int, step: int) -> None:
        """Mark a step, or with number -1 a session, that is counted where another source tells of it."""
        with self.transaction():
            self._write(f"INSERT INTO again VALUES ({self._memory}, %s, %s) ON CONFLICT DO NOTHING", (session, step))

    def is_marked_again(self, session: int, step: int) -> bool:
        """Return whether a step, or with number -1 its session, is marked."""
        sql = f"SELECT 1 FROM again WHERE {self._mine} AND session = %s AND step = %s"
        return self._one(sql, (session, step)) is not None

    def marked_again(self, session: int) -> set[int]:
        """Return the numbers that are marked of a session."""
        sql = f"SELECT step FROM again WHERE {self._mine} AND session = %s"
        return {step for (step,) in self._all(sql, (session,))}

    def replace_steps(self, session: int, commands: Sequence[Command], digest: bytes) -> None:
        """Replace the steps of a session in the log."""
        with self.transaction():
            row = self.get_session(session)
            self._write(f"DELETE FROM log WHERE {self._mine} AND session = %s", (session,))
            self._drop_small()
            self.add_steps(session, 0, commands)
            if row.closed:
                self.close_session(session, row.outcome, digest)

    def rewrite_session(
        self, session: int, session_id: str, source: str | None, commands: Sequence[Command], digest: bytes
    ) -> None:
        """Put other texts into a session and its steps, one by one: the rows of the log stay where they are."""
        with self.transaction():
            self._session_rows.pop(session, None)
            self._write(
                "UPDATE session SET session_id = %s, name_id = %s, source = %s,"
                f" digest = CASE closed WHEN 1 THEN %s ELSE digest END WHERE {self._mine} AND id = %s",
                (session_id, text_id(session_id), source, digest, session),
            )
            types = ", ".join(f"%s::{kind}[]" for kind in ("int", *_LOG_TYPES))
            self._write(
                f"UPDATE log SET {', '.join(f'{name} = new.{name}' for name in _LOG_COLUMNS)}"
                f" FROM unnest({types}) AS new(step, {', '.join(_LOG_COLUMNS)})"
                f" WHERE log.{self._mine} AND session = %s AND log.step = new.step",
                (array(range(len(commands))), *self._step_columns(commands), session),
            )

    def delete_sessions(self, sessions: Iterable[int]) -> None:
        """Delete sessions from the log."""
        with self.transaction():
            numbers = array(sessions)
            for table, column in (("log", "session"), ("feedback", "session"), ("session", "id")):
                self._write(f"DELETE FROM {table} WHERE {self._mine} AND {column} = ANY(%s::bigint[])", (numbers,))
            self._drop_small()

    # -- feedback, which is part of the log

    def add_feedback(self, session: int | None, rows: Iterable[FeedbackRow]) -> None:
        """Add what became of predictions; what is there already is left as it is."""
        with self.transaction():
            given = list(rows)
            if not given:
                return
            texts = [(row.after if session is None else None, row.line, row.project) for row in given]
            self._intern(text for each in texts for text in each if text is not None)
            first, last = self._head.feedback + 1, self._head.feedback + len(given)
            self._write(
                "INSERT INTO feedback(memory, session, seq, step, after, line, verdict, timestamp, project)"
                f" SELECT {self._memory}, %s, * FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::bigint[],"
                " %s::int[], %s::float8[], %s::bigint[]) ON CONFLICT DO NOTHING",
                (
                    session or 0,
                    array(range(first, last + 1)),
                    array(row.step for row in given),
                    array(0 if after is None else text_id(after) for after, _, _ in texts),
                    array(text_id(row.line) for row in given),
                    array(VERDICTS.index(row.verdict) for row in given),
                    array(row.timestamp for row in given),
                    array(None if project is None else text_id(project) for _, _, project in texts),
                ),
            )
            self._head = self._head._replace(feedback=last)
            self._last_feedback = None

    def _feedback(self, condition: str, values: Sequence[Any]) -> list[Any]:
        texts = {"c": "l.command", "a": "f.after", "t": "f.line", "p": "f.project"}
        joins = (
            f"LEFT JOIN text {each} ON {each}.memory = f.memory AND {each}.id = {at}" for each, at in texts.items()
        )
        return self._all(
            "SELECT f.seq, f.step, coalesce(c.text, a.text), t.text, f.verdict, f.timestamp, p.text FROM feedback f"
            " LEFT JOIN log l ON l.memory = f.memory AND l.session = f.session AND l.step = f.step - 1"
            f" {' '.join(joins)} WHERE f.{self._mine} AND {condition}",
            values,
        )

    def feedback(self, session: int | None) -> list[FeedbackRow]:
        """Return what became of the predictions of a session, or of those of none."""
        order = "f.step, f.timestamp, t.text, a.text NULLS FIRST, f.verdict"
        return [shown_row(row) for row in self._feedback(f"f.session = %s ORDER BY {order}", (session or 0,))]

    def feedback_tail(self, limit: int) -> list[tuple[int, FeedbackRow]]:
        """Return the next rows of feedback that are not yet part of the derived state."""
        with self._lock:
            if self._last_feedback is None:
                self._read_often()
            assert self._last_feedback is not None
            upto = self.meta("derived_feedback") or 0
            if self._last_feedback <= upto:
                return []
            rows = self._feedback("f.seq > %s ORDER BY f.seq LIMIT %s", (upto, limit))
            return [(row[0], shown_row(row)) for row in rows]

    def replace_feedback(self, session: int | None, rows: Iterable[FeedbackRow]) -> None:
        """Replace the feedback of a session, or that of none."""
        with self.transaction():
            self._write(f"DELETE FROM feedback WHERE {self._mine} AND session = %s", (session or 0,))
            self._last_feedback = None
            self.add_feedback(session, rows)

    # -- derived state

    def reset_derived(self) -> None:
        """Drop the derived state."""
        with self.transaction():
            self._all_changed = True
            self._drop_read()
            for table in DERIVED:
                self._write(f"DELETE FROM {table} WHERE {self._mine}")
            for name in ("derived", "derived_feedback", "superseded"):
                self.set_meta(name, 0)
            self.set_meta("in_use", None)
            for counter in ("generation", "courses"):
                self.set_meta(counter, (self.meta(counter) or 0) + 1)

    def drop_unused(self) -> None:
        """Drop texts, vectors and neighbours that neither the log nor the derived state refers to.

        The server makes room for new rows of what was deleted when it vacuums; its write-ahead log and its backups are
        its own.
        """
        with self.transaction():
            self._all_changed = True
            columns = [(c, "log") for c in ("command", *_INTERNED)]
            columns += [(c, "feedback") for c in ("after", "line", "project")]
            columns += [("template", "follower"), ("head", "context")]
            used = " UNION ".join(
                f"SELECT {c} AS id FROM {table} WHERE {self._mine} AND {c} IS NOT NULL" for c, table in columns
            )
            self._write(
                f"WITH used AS MATERIALIZED ({used})"
                f" DELETE FROM text t WHERE {self._mine} AND NOT EXISTS (SELECT 1 FROM used WHERE used.id = t.id)"
            )
            self._write(
                f"DELETE FROM vector v WHERE {self._mine} AND NOT EXISTS"
                f" (SELECT 1 FROM follower f WHERE f.{self._mine} AND f.context = %s AND f.template = v.template)",
                (EVERYWHERE,),
            )
            self._write(f"DELETE FROM neighbour WHERE {self._mine}")
            self._written.clear()
            self._texts.clear()

    def apply(self, delta: Delta, upto: int) -> bool:
        """Merge a delta and mark the log as derived up to row `upto`; return whether it counts templates never seen."""
        with self.transaction():
            counted = delta.counted()
            news = len(self.template_ids(counted)) < len(counted)
            self._intern(
                {
                    *delta.texts.values(),
                    *chain.from_iterable(row.templates for row in delta.patterns.values()),
                }
            )
            self._apply_followers(delta)
            self._apply_contexts(delta)
            self._apply_values(delta)
            self._apply_rules(delta)
            self._apply_courses(delta)
            self._apply_patterns(delta)
            if news:
                self._touch(map(text_id, counted))
            self.set_meta("derived", upto)
            return news

    def _apply_followers(self, delta: Delta) -> None:
        rows = [
            (key, number, *tallies(counts))
            for key, added in delta.contexts.items()
            for number, counts in added.rows.items()
        ]
        if not rows:
            return
        self._touch(delta.contexts)
        arrays = ", ".join(["%s::bigint[]"] * (2 + len(_FOLLOWER)))
        self._write(
            f"INSERT INTO follower AS f SELECT {self._memory}, * FROM unnest({arrays})"
            " ON CONFLICT (memory, context, template) DO UPDATE SET "
            + ", ".join(f"{name} = f.{name} + EXCLUDED.{name}" for name in _FOLLOWER),
            tuple(map(array, zip(*rows, strict=True))),
        )

    def _apply_contexts(self, delta: Delta) -> None:
        contexts = {key: added for key, added in delta.contexts.items() if added.total}
        if not contexts:
            return
        self._touch(contexts)
        packed = {key: added.newest for key, added in contexts.items() if added.newest}
        sql = f"SELECT key, recent FROM context WHERE {self._mine} AND key = ANY(%s::bigint[])"
        before: dict[int, bytes] = dict(self._all(sql, (array(packed),))) if packed else {}
        recents = (merge_recent(before.get(key, b""), packed[key]) if key in packed else b"" for key in contexts)
        self._write(
            f"INSERT INTO context AS c SELECT {self._memory}, * FROM"
            " unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[])"
            " ON CONFLICT (memory, key) DO UPDATE SET total = c.total + EXCLUDED.total, recent = EXCLUDED.recent",
            (
                array(contexts),
                array(added.head for added in contexts.values()),
                array(added.total for added in contexts.values()),
                byte_array(recents),
            ),
        )

    def apply_shown(self, delta: Delta, upto: int) -> None:
        """Merge what was shown and mark the feedback as derived up to row `upto`."""
        with self.transaction():
            if delta.shown:
                self._touch(delta.shown)
                self._write(
                    f"INSERT INTO shown AS s SELECT {self._memory}, * FROM"
                    " unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
                    " ON CONFLICT (memory, key) DO UPDATE SET "
                    + ", ".join(f"{name} = s.{name} + EXCLUDED.{name}" for name in VERDICTS),
                    (array(delta.shown), *map(array, zip(*delta.shown.values(), strict=True))),
                )
            self.set_meta("derived_feedback", upto)

    def _apply_values(self, delta: Delta) -> None:
        if not delta.values:
            return
        totals: dict[int, list[int]] = {}
        for (key, _), (count, _) in delta.values.items():
            totals.setdefault(key, [0, 0])[0] += count
        self._touch(totals)
        rows = self._write_now(
            f"INSERT INTO value AS v SELECT {self._memory}, * FROM"
            " unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bytea[])"
            " ON CONFLICT (memory, key, id) DO UPDATE SET count = v.count + EXCLUDED.count,"
            " newest = greatest(v.newest, EXCLUDED.newest) RETURNING v.key, v.xmax = 0",
            (
                array(key for key, _ in delta.values),
                array(text_id(value) for _, value in delta.values),
                [value for _, value in delta.values],
                array(count for count, _ in delta.values.values()),
                byte_array(newest for _, newest in delta.values.values()),
            ),
        )
        for key, new in rows:
            totals[key][1] += new
        best: dict[int, dict[str, int]] = {key: {} for key in totals}
        sql = (
            "SELECT k, v.value, v.count FROM unnest(%s::bigint[]) WITH ORDINALITY AS keys(k, place) CROSS JOIN LATERAL"
            f" (SELECT value, count, newest FROM value WHERE {self._mine} AND key = k"
            " ORDER BY count DESC, newest DESC, value DESC LIMIT %s) v"
            " ORDER BY place, count DESC, newest DESC, value DESC"
        )
        for key, value, count in self._all(sql, (array(totals), BEST_VALUES)):
            best[key][value] = count
        self._write(
            f"INSERT INTO place AS p SELECT {self._memory}, * FROM"
            " unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[])"
            " ON CONFLICT (memory, key) DO UPDATE SET total = p.total + EXCLUDED.total,"
            " kinds = p.kinds + EXCLUDED.kinds, best = EXCLUDED.best",
            (
                array(totals),
                array(total for total, _ in totals.values()),
                array(kinds for _, kinds in totals.values()),
                [json.dumps(best[key]) for key in totals],
            ),
        )

    def _apply_courses(self, delta: Delta) -> None:
        if delta.courses:
            self._write(
                f"INSERT INTO course SELECT {self._memory}, * FROM unnest(%s::bytea[], %s::int[], %s::bytea[])"
                " ON CONFLICT (memory, moment) DO UPDATE SET success = EXCLUDED.success, steps = EXCLUDED.steps",
                (
                    byte_array(delta.courses),
                    array(int(course.success) for course in delta.courses.values()),
                    byte_array(course.steps for course in delta.courses.values()),
                ),
            )
            self.set_meta("courses", (self.meta("courses") or 0) + 1)

    def _apply_rules(self, delta: Delta) -> None:
        if not delta.rules:
            return
        self._touch(delta.rules)
        # From the server: what is written back must not hang on what was heard, or not, of other writers.
        sql = f"SELECT key, counts FROM rule WHERE {self._mine} AND key = ANY(%s::bigint[])"
        stored = {key: json.loads(counts) for key, counts in self._all(sql, (array(delta.rules),))}
        texts = []
        for key, counts in delta.rules.items():
            merged = merge_rules(stored.get(key, {}), counts)
            texts.append(json.dumps(merged))
        self._write(
            f"INSERT INTO rule SELECT {self._memory}, * FROM unnest(%s::bigint[], %s::text[])"
            " ON CONFLICT (memory, key) DO UPDATE SET counts = EXCLUDED.counts",
            (array(delta.rules), texts),
        )

    def _apply_patterns(self, delta: Delta) -> None:
        if not delta.patterns:
            return
        rows = {pattern_row_id(row.pattern_id): row for row in delta.patterns.values()}
        self._touch(rows)
        self._touch({key for row in rows.values() for key in row.keys})
        bounds = self.bounds()
        if bounds != Bounds():
            self._take_back(rows)
        counts = ("success", "failure", "unknown", "duration_ms", "timed")
        self._write(
            f"INSERT INTO pattern AS p(memory, id, pattern_id, templates, newest, example, {', '.join(counts)})"
            f" SELECT {self._memory}, * FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bytea[], %s::text[],"
            f" {', '.join(['%s::bigint[]'] * len(counts))}) ON CONFLICT (memory, id) DO UPDATE SET "
            + ", ".join(f"{name} = p.{name} + EXCLUDED.{name}" for name in counts)
            + ", example = CASE WHEN EXCLUDED.newest > p.newest THEN EXCLUDED.example ELSE p.example END,"
            " newest = greatest(p.newest, EXCLUDED.newest)",
            (
                array(rows),
                [row.pattern_id for row in rows.values()],
                byte_array(
                    struct.pack(f"<{len(row.templates)}q", *map(text_id, row.templates)) for row in rows.values()
                ),
                byte_array(row.newest for row in rows.values()),
                [json.dumps(row.example) for row in rows.values()],
                *(array(getattr(row, name) for row in rows.values()) for name in counts),
            ),
        )
        postings = [(key, number) for number, row in rows.items() for key in row.keys]
        self._write(
            f"INSERT INTO posting SELECT {self._memory}, * FROM unnest(%s::bigint[], %s::bigint[])"
            " ON CONFLICT DO NOTHING",
            (array(key for key, _ in postings), array(number for _, number in postings)),
        )
        if bounds != Bounds():
            self._rank(bounds, {number: row.keys for number, row in rows.items()})
            self._keep_within(bounds)

    def contexts(self, keys: Sequence[int]) -> dict[int, Context]:
        """Return what followed contexts that were seen: what `FOLLOWERS` tells, plus the recent ones."""
        return self._known(self._contexts, keys, self._read_contexts)

    def _read_contexts(self, keys: str) -> Iterator[tuple[int, Context]]:
        best = "count DESC, template DESC"
        rows = self._all(
            "SELECT c.key, c.total, c.recent, f.templates, f.counts FROM context c CROSS JOIN LATERAL"
            f" (SELECT array_agg(template ORDER BY {best}) AS templates, array_agg(count ORDER BY {best}) AS counts"
            f" FROM (SELECT template, count FROM follower WHERE {self._mine} AND context = c.key"
            f" AND (c.total < {FOLLOWERS} OR count > 1) ORDER BY {best} LIMIT {FOLLOWERS}) AS b) AS f"
            f" WHERE c.{self._mine} AND c.key = ANY(%s::bigint[])",
            (keys,),
        )
        found = {
            key: (total, tuple(recent_templates(recent)), dict(zip(templates or (), counts or (), strict=True)))
            for key, total, recent, templates, counts in rows
        }
        pairs = [
            (key, template)
            for key, (_, recent, counts) in found.items()
            for template in sorted(set(recent).difference(counts))
        ]
        for key, template, count in self._pairs("count", pairs):
            found[key][2][template] = count
        for key, (total, recent, counts) in found.items():
            yield key, Context(total, recent, counts, sum(counts.values()) == total)

    def _pairs(self, columns: str, pairs: Sequence[tuple[int, int]]) -> list[Any]:
        """Return columns of followers, behind their contexts and templates, in the order of these."""
        if not pairs:
            return []
        return self._all(
            f"SELECT context, template, {columns} FROM unnest(%s::bigint[], %s::bigint[]) AS pairs(k, t)"
            f" JOIN follower ON {self._mine} AND context = k AND template = t ORDER BY context, template",
            (array(key for key, _ in pairs), array(template for _, template in pairs)),
        )

    def context(self, key: int) -> Context | None:
        """Return what followed a context."""
        return self.contexts((key,)).get(key)

    def followers(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Follower]:
        """Return the counts of followers, by context and template, of those that were seen."""
        with self._lock:
            kept = self._followers
            known = {key: kept.setdefault(key, {}) for key, _ in pairs}
            kept.used(known, _CONTEXTS)
            missing = [pair for pair in dict.fromkeys(pairs) if pair[1] not in known[pair[0]]]
            for key, template in missing:
                known[key][template] = None
            for key, *row in self._pairs(", ".join(_FOLLOWER), missing):
                known[key][row[0]] = Follower(*row)
            return {(key, number): found for key, number in pairs if (found := known[key][number]) is not None}

    def follower(self, key: int, template: int) -> Follower | None:
        """Return the counts of one follower of a context."""
        return self.followers([(key, template)]).get((key, template))

    def edges(self) -> Iterator[tuple[str, Follower]]:
        """Yield the transitions, in the order of their texts."""
        rows = self._all(
            f"SELECT h.text, f.template, {', '.join(f'f.{name}' for name in _FOLLOWER)} FROM context c"
            " JOIN follower f ON f.memory = c.memory AND f.context = c.key"
            " JOIN text h ON h.memory = c.memory AND h.id = c.head"
            " JOIN text t ON t.memory = c.memory AND t.id = f.template"
            f" WHERE c.{self._mine} AND c.head IS NOT NULL ORDER BY h.text, t.text"
        )
        for row in rows:
            yield row[0], Follower(*row[1:])

    def template_counts(self) -> Iterator[tuple[str, int]]:
        """Yield (template, how often it was seen), sorted by template."""
        yield from self._all(
            "SELECT t.text, f.count FROM follower f JOIN text t ON t.memory = f.memory AND t.id = f.template"
            f" WHERE f.{self._mine} AND f.context = %s ORDER BY t.text",
            (EVERYWHERE,),
        )

    def values(self, keys: Sequence[int]) -> dict[int, ValueCounts]:
        """Return the values counted under those keys that are known."""

        def read(missing: str) -> Iterator[tuple[int, ValueCounts]]:
            sql = f"SELECT key, best, total, kinds FROM place WHERE {self._mine} AND key = ANY(%s::bigint[])"
            for key, best, *rest in self._all(sql, (missing,)):
                yield key, ValueCounts(json.loads(best), *rest)

        return self._known(self._values, keys, read)

    def rules(self, keys: Sequence[int]) -> dict[int, RuleCounts]:
        """Return how often each fill rule offered a value and was right, for those keys that are known."""

        def read(missing: str) -> Iterator[tuple[int, RuleCounts]]:
            sql = f"SELECT key, counts FROM rule WHERE {self._mine} AND key = ANY(%s::bigint[])"
            for key, counts in self._all(sql, (missing,)):
                yield key, json.loads(counts)

        return self._known(self._rules, keys, read)

    def shown(self, keys: Sequence[int]) -> dict[int, ShownCounts]:
        """Return what became of what was shown, for those keys that are known."""

        def read(missing: str) -> Iterator[tuple[int, ShownCounts]]:
            sql = f"SELECT key, accepted, rejected, ignored FROM shown WHERE {self._mine} AND key = ANY(%s::bigint[])"
            for key, *counts in self._all(sql, (missing,)):
                yield key, counts

        return self._known(self._shown, keys, read)

    def courses(self, limit: int) -> list[Course]:
        """Return the newest `limit` courses, oldest first."""
        sql = f"SELECT success, steps FROM course WHERE {self._mine} ORDER BY moment DESC LIMIT %s"
        return [Course(bool(success), steps) for success, steps in reversed(self._all(sql, (limit,)))]

    def outcome_totals(self) -> tuple[int, int]:
        """Return how many sessions ended in success, and how many in failure."""
        good, bad = self._one(
            "SELECT count(*) FILTER (WHERE outcome = 1), count(*) FILTER (WHERE outcome = 0) FROM session s"
            f" WHERE {self._mine} AND NOT EXISTS"
            f" (SELECT 1 FROM again a WHERE a.{self._mine} AND a.session = s.id AND a.step = -1)"
        )
        return int(good), int(bad)

    def patterns_with(self, keys: Sequence[int], limit: int) -> list[int]:
        """Return at most `limit` ids of patterns that hold most of `keys`, rare keys weighing more, best first."""
        # A key that more patterns share than are read says little about any of them.
        read = max(_POSTINGS_READ, 4 * limit)
        scores: dict[int, float] = {}
        for rows in self._read_postings(list(dict.fromkeys(keys)), read):
            weight = 1.0 / math.log(2 + len(rows))
            for pattern in rows:
                scores[pattern] = scores.get(pattern, 0.0) + weight
        ranked = heapq.nlargest(limit, [(score, pattern) for pattern, score in scores.items()])
        return [pattern for _, pattern in ranked]

    def _read_postings(self, keys: Sequence[int], limit: int) -> list[tuple[int, ...]]:
        """Return for each key the newest ids, as numbers, of patterns that hold it."""
        with self._lock:
            postings = self._postings
            missing = [key for key in keys if key not in postings or postings[key][0] < limit]
            if missing:
                found: dict[int, list[int]] = {key: [] for key in missing}
                sql = (
                    "SELECT k, p.pattern FROM unnest(%s::bigint[]) AS keys(k) CROSS JOIN LATERAL"
                    f" (SELECT pattern FROM posting WHERE {self._mine} AND key = k ORDER BY pattern DESC LIMIT %s) p"
                    " ORDER BY p.pattern DESC"
                )
                for key, pattern in self._all(sql, (array(missing), limit)):
                    found[key].append(pattern)
                postings.update({key: (limit, tuple(rows)) for key, rows in found.items()})
            lists = [postings[key][1][:limit] for key in keys]
            postings.used(keys, _CONTEXTS)
            return lists

    def pattern_templates(self, ids: Sequence[int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (row id, template ids) of those of the patterns that are there, in order."""
        import numpy as np

        def read(missing: str) -> Iterator[tuple[int, NDArray[np.int64]]]:
            sql = f"SELECT id, templates FROM pattern WHERE {self._mine} AND id = ANY(%s::bigint[])"
            for number, blob in self._all(sql, (missing,)):
                yield number, np.frombuffer(blob, dtype="<i8")

        found = self._known(self._pattern_templates, ids, read)
        yield from ((number, found[number]) for number in ids if number in found)

    def pattern_counts(self, ids: Sequence[int]) -> dict[int, PatternCounts]:
        """Return id and outcome counts of patterns by row id."""

        def read(missing: str) -> Iterator[tuple[int, PatternCounts]]:
            sql = f"SELECT id, pattern_id, success, failure FROM pattern WHERE {self._mine} AND id = ANY(%s::bigint[])"
            for number, *row in self._all(sql, (missing,)):
                yield number, PatternCounts(*row)

        return self._known(self._pattern_counts, ids, read)

    def pattern(self, key: int | str) -> PatternRow | None:
        """Return a pattern by row id or pattern id."""
        row = self._one(
            "SELECT pattern_id, templates, success, failure, unknown, duration_ms, timed, newest, example, id"
            f" FROM pattern WHERE {self._mine} AND id = %s",
            (pattern_row_id(key) if isinstance(key, str) else key,),
        )
        if row is None:
            return None
        return pattern_row(row, self.template_texts(_unpack(row[1])))

    def pattern_runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield of each pattern how many sessions followed it, and the moment of the newest one."""
        yield from self._all(f"SELECT success + failure + unknown, newest FROM pattern WHERE {self._mine}")

    def pattern_heads(self, examples: bool) -> Iterator[PatternRow]:
        """Yield all patterns without their templates."""
        columns = f"pattern_id, success, failure, unknown, newest, {'example' if examples else repr('')}"
        rows = self._all(f"SELECT {columns} FROM pattern WHERE {self._mine} ORDER BY id")
        yield from map(pattern_head, rows)

    def pattern_ids(self) -> list[str]:
        """Return all pattern ids, sorted."""
        sql = f"SELECT pattern_id FROM pattern WHERE {self._mine} ORDER BY pattern_id"
        return [row[0] for row in self._all(sql)]

    def totals(self) -> dict[str, int]:
        """Return the sizes shown by ``stats()``."""
        mine = self._mine
        steps = f"FROM follower f JOIN context c ON c.memory = f.memory AND c.key = f.context WHERE f.{mine}"
        queries = {
            "session_count": (
                f"(SELECT count(*) FROM session WHERE {mine}) - (SELECT count(*) FROM again WHERE {mine} AND step = -1)"
            ),
            "command_count": (
                f"(SELECT count(*) FROM log WHERE {mine} AND step >= 0)"
                f" - (SELECT count(*) FROM again WHERE {mine} AND step >= 0)"
            ),
            "pattern_count": f"(SELECT count(*) FROM pattern WHERE {mine})",
            "shelved_pattern_count": f"(SELECT count(*) FROM shelf WHERE {mine})",
            "template_count": f"(SELECT count(*) FROM follower WHERE {mine} AND context = {EVERYWHERE})",
            "graph_edge_count": f"(SELECT count(*) {steps} AND c.head IS NOT NULL)",
            "feedback_count": f"(SELECT count(*) FROM feedback WHERE {mine})",
            "causal_chain_count": (
                "(SELECT coalesce(sum((success > 0)::int + (failure > 0)::int + (count > success + failure)::int), 0)"
                f" {steps} AND c.head IS NOT NULL)"
            ),
        }
        row = self._one(f"SELECT {', '.join(queries.values())}")
        found = {name: int(value) for name, value in zip(queries, row, strict=True)}
        successes, failures = self.outcome_totals()
        return {**found, "total_successes": successes, "total_failures": failures}

    # -- vectors

    def _without_vector(self) -> str:
        return (
            f"WHERE f.{self._mine} AND f.context = %s AND NOT EXISTS (SELECT 1 FROM vector v"
            f" WHERE v.{self._mine} AND v.fingerprint = %s AND v.template = f.template)"
        )

    def missing_vectors(self, fingerprint: str, limit: int) -> list[tuple[int, str]]:
        """Return templates that have no vector of this fingerprint."""
        return self._all(
            "SELECT t.id, t.text FROM follower f JOIN text t ON t.memory = f.memory AND t.id = f.template"
            f" {self._without_vector()} ORDER BY t.id LIMIT %s",
            (EVERYWHERE, fingerprint, limit),
        )

    def count_templates(self) -> int:
        """Return how many templates were counted."""
        return int(self._one(f"SELECT count(*) FROM follower WHERE {self._mine} AND context = %s", (EVERYWHERE,))[0])

    def count_missing(self, fingerprint: str) -> int:
        """Return how many templates have no vector of this fingerprint."""
        return int(self._one(f"SELECT count(*) FROM follower f {self._without_vector()}", (EVERYWHERE, fingerprint))[0])

    def vectors_of(self, fingerprint: str, templates: Sequence[int]) -> dict[int, bytes]:
        """Return the stored float32 vectors of some templates."""
        return dict(
            self._all(
                f"SELECT template, data FROM vector WHERE {self._mine} AND fingerprint = %s"
                " AND template = ANY(%s::bigint[])",
                (fingerprint, array(templates)),
            )
        )

    def put_vectors(self, fingerprint: str, vectors: Mapping[int, bytes]) -> None:
        """Store float32 vectors by template id, of templates that are still there."""
        with self.transaction():
            self._write(
                "INSERT INTO vector(memory, template, fingerprint, data)"
                f" SELECT {self._memory}, f.template, %s, new.data"
                f" FROM unnest(%s::bigint[], %s::bytea[]) AS new(template, data) JOIN follower f ON f.{self._mine}"
                " AND f.context = %s AND f.template = new.template"
                " ON CONFLICT (memory, fingerprint, template) DO UPDATE SET data = EXCLUDED.data",
                (fingerprint, array(vectors), byte_array(vectors.values()), EVERYWHERE),
            )

    def vectors(self, fingerprint: str) -> Iterator[tuple[int, bytes]]:
        """Yield (template id, float32 bytes) in id order."""
        sql = f"SELECT template, data FROM vector WHERE {self._mine} AND fingerprint = %s ORDER BY template"
        yield from self._all(sql, (fingerprint,))

    def vector_ids(self, fingerprint: str) -> list[int]:
        """Return the ids of the templates that have a vector of this fingerprint."""
        sql = f"SELECT template FROM vector WHERE {self._mine} AND fingerprint = %s"
        return [number for (number,) in self._all(sql, (fingerprint,))]

    def count_vectors(self, fingerprint: str) -> int:
        """Return how many vectors of this fingerprint there are."""
        sql = f"SELECT count(*) FROM vector WHERE {self._mine} AND fingerprint = %s"
        return int(self._one(sql, (fingerprint,))[0])

    def floors(self, fingerprint: str, full: int) -> dict[int, float]:
        """Return the least cosine among the neighbours of each template that has `full` of them."""
        rows = self._all(
            f"SELECT template, substr(data, length(data) + 1 - {NEIGHBOUR.size}) FROM neighbour"
            f" WHERE {self._mine} AND fingerprint = %s AND length(data) >= %s",
            (fingerprint, full * NEIGHBOUR.size),
        )
        return {template: NEIGHBOUR.unpack(last)[1] for template, last in rows}

    def unlinked(self, fingerprint: str) -> list[int]:
        """Return templates that have a vector but no neighbours yet."""
        rows = self._all(
            f"SELECT template FROM vector v WHERE {self._mine} AND fingerprint = %s AND NOT EXISTS (SELECT 1 FROM"
            f" neighbour n WHERE n.{self._mine} AND n.fingerprint = v.fingerprint AND n.template = v.template)"
            " ORDER BY template",
            (fingerprint,),
        )
        return [row[0] for row in rows]

    def put_neighbours(self, fingerprint: str, neighbours: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """Store the nearest templates of templates: (template id, cosine), nearest first."""
        with self.transaction():
            # Templates may have been forgotten since the lists were made.
            asked = {*neighbours, *(number for pairs in neighbours.values() for number, _ in pairs)}
            sql = (
                f"SELECT template FROM vector WHERE {self._mine} AND fingerprint = %s AND template = ANY(%s::bigint[])"
            )
            there = {number for (number,) in self._all(sql, (fingerprint, array(asked)))}
            kept = {
                template: b"".join(NEIGHBOUR.pack(*pair) for pair in pairs if pair[0] in there)
                for template, pairs in neighbours.items()
                if template in there
            }
            self._touch(kept)
            self._write(
                f"INSERT INTO neighbour(memory, template, fingerprint, data) SELECT {self._memory}, new.template, %s,"
                " new.data FROM unnest(%s::bigint[], %s::bytea[]) AS new(template, data)"
                " ON CONFLICT (memory, fingerprint, template) DO UPDATE SET data = EXCLUDED.data",
                (fingerprint, array(kept), byte_array(kept.values())),
            )

    def neighbours(self, fingerprint: str, template: int) -> list[tuple[int, float]]:
        """Return the nearest templates of a template, nearest first; empty when not computed yet."""
        with self._lock:
            kept = self._neighbours.setdefault(template, {})
            self._neighbours.used((template,), _CONTEXTS)
            if fingerprint not in kept:
                sql = f"SELECT data FROM neighbour WHERE {self._mine} AND fingerprint = %s AND template = %s"
                row = self._one(sql, (fingerprint, template))
                kept[fingerprint] = [] if row is None else list(NEIGHBOUR.iter_unpack(row[0]))
            return kept[fingerprint]

    # -- a copy

    def backup(self, path: str, ranker: bytes) -> None:
        """Copy the memory, with what the ranker has learned, to an empty file that can be opened as a store."""
        from procedural_memory.storage.sqlite import SQLiteStore

        SQLiteStore(path).close()
        try:
            with self.reading(), closing(sqlite3.connect(path)) as copied:
                copied.execute("PRAGMA journal_mode = DELETE")  # one file, that is whole by itself
                for table, columns in COPIED.items():
                    rows = self._all(f"SELECT {columns} FROM {table} WHERE {self._mine}")
                    marks = ", ".join("?" * (columns.count(",") + 1))
                    copied.executemany(f"INSERT INTO {table}({columns}) VALUES ({marks})", map(_packed, rows))
                copied.commit()
                copied.executescript(FOLD)
                settings = {
                    key: json.loads(value) if data is None else data
                    for key, value, data in self._all(f"SELECT key, value, data FROM meta WHERE {self._mine}")
                }
                if ranker:
                    settings |= {"ranker": ranker, "ranker_version": (settings.get("ranker_version") or 0) + 1}
                copied.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", settings.items())
                copied.commit()
        except sqlite3.Error as error:
            raise StorageError(f"store {self._address}: it was not copied ({error})") from error
