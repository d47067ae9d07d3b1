"""The union of stores that were learned apart: their logs one after the other, their derived rows added up.

Everything that is derived is a sum, a newest one or a set, and ids are hashes of what they name, so rows with equal
keys are added and nothing is derived again. What was learned is that of one store which learned the logs in this
order. That holds where no session is in two of the stores, and where no step of one store is told of by another: who
calls this has seen to both. The vectors and the feedback of a store that is added are not taken over.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from procedural_memory.errors import StorageError
from procedural_memory.storage.base import BEST_VALUES, ENTRY, merge_recent
from procedural_memory.storage.once import columns_of, newest_of
from procedural_memory.storage.rows import ADD_COUNTS, merge_rules

__all__ = ["add_stores", "told_in_both", "unite"]

_INTERNED: Final = "command, exit_code, {}, timestamp, duration_ms".format(
    ", ".join(("cwd", "project", "source", "actor", "host", "branch"))
)
_UNION: Final = (
    # Each in the order of its key, so that neighbours are written together.
    "INSERT OR IGNORE INTO text SELECT id, text FROM {part}.text ORDER BY id",
    """INSERT INTO session(id, session_id, start, outcome, closed, source, digest)
    SELECT id + :sessions, session_id, start, outcome, closed, source, digest FROM {part}.session ORDER BY id""",
    f"""INSERT INTO log(seq, session, step, {_INTERNED})
    SELECT seq + :rows, session + :sessions, step, {_INTERNED} FROM {{part}}.log ORDER BY seq""",
    "INSERT INTO again SELECT session + :sessions, step FROM {part}.again ORDER BY session, step",
    # What either store saw once, and the other one too, gets rows of its own.
    f"""INSERT INTO follower SELECT c.key, {columns_of("c")} FROM {{part}}.context p
    CROSS JOIN main.context c ON c.key = p.key WHERE c.only NOT NULL ORDER BY c.key""",
    f"""INSERT INTO follower SELECT context, template, count, sessions, success, failure, good, bad
    FROM {{part}}.follower WHERE true ORDER BY context, template {ADD_COUNTS}""",
    f"""INSERT INTO follower SELECT p.key, {columns_of("p")} FROM {{part}}.context p
    WHERE p.only NOT NULL AND EXISTS (SELECT 1 FROM main.context c WHERE c.key = p.key) ORDER BY p.key
    {ADD_COUNTS}""",
    """INSERT INTO context SELECT key, head, total, recent, only, how FROM {part}.context WHERE true ORDER BY key
    ON CONFLICT DO UPDATE SET total = total + excluded.total, only = NULL, how = NULL,
    recent = sum_of_newest(recent, only, excluded.recent, excluded.only)""",
    """INSERT INTO value SELECT key, value, count, newest FROM {part}.value WHERE true ORDER BY key, value
    ON CONFLICT DO UPDATE SET count = count + excluded.count, newest = max(newest, excluded.newest)""",
    """INSERT INTO place SELECT key, total, kinds, best FROM {part}.place WHERE true ORDER BY key
    ON CONFLICT DO UPDATE SET total = total + excluded.total""",
    """INSERT INTO rule SELECT key, counts FROM {part}.rule WHERE true ORDER BY key
    ON CONFLICT DO UPDATE SET counts = sum_of_rules(counts, excluded.counts)""",
    "INSERT OR REPLACE INTO course SELECT moment, success, steps FROM {part}.course ORDER BY moment",
    """INSERT INTO pattern
    SELECT id, pattern_id, templates, success, failure, unknown, duration_ms, timed, newest, example
    FROM {part}.pattern WHERE true ORDER BY id ON CONFLICT(id) DO UPDATE SET
    success = success + excluded.success, failure = failure + excluded.failure, unknown = unknown + excluded.unknown,
    duration_ms = duration_ms + excluded.duration_ms, timed = timed + excluded.timed,
    example = CASE WHEN excluded.newest > newest THEN excluded.example ELSE example END,
    newest = max(newest, excluded.newest)""",
    "INSERT OR IGNORE INTO posting SELECT key, pattern FROM {part}.posting ORDER BY key, pattern",
)


def unite(parts: Sequence[Path], target: Path) -> None:
    """Write the union of the stores in some files, that nobody uses, to a new file, to be added to another store.

    It has no indexes: where rows only pass through, to keep them costs more than all the rest.

    Parameters
    ----------
    parts : sequence of path
        At least one; in the order in which their logs are to stand.
    target : path
    """
    import shutil  # loads compressors, for which nobody who opens a store should wait

    shutil.copyfile(parts[0], target)
    with closing(sqlite3.connect(target, isolation_level=None)) as db:
        # Of a file that is not there until it is whole there is nothing to roll back.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        _drop_indexes(db)
        for part in parts[1:]:
            db.execute("ATTACH ? AS part", (str(part),))
            db.execute("BEGIN")
            _add(db, "part")
            db.execute("COMMIT")
            db.execute("DETACH part")


def add_stores(db: sqlite3.Connection, parts: Sequence[str]) -> None:
    """Add stores that are attached under these names to the main one, within the transaction that is open.

    The log of each may have a tail that is not derived; what is added to a tail must be all tail.
    """
    # To keep the indexes of a store to which all comes takes longer than to build them.
    indexes = [] if _log_of(db, "main")[0] else _drop_indexes(db)
    for part in parts:
        _add(db, part)
    for statement in indexes:
        db.execute(statement)


def _add(db: sqlite3.Connection, part: str) -> None:
    rows, derived = _log_of(db, "main")
    _, derived_more = _log_of(db, part)
    if derived < rows and derived_more:
        raise StorageError("union of stores: the log of the first one is not derived to its end; derive it first")
    db.create_function("sum_of_newest", 4, _sum_of_newest, deterministic=True)
    db.create_function("sum_of_rules", 2, _sum_of_rules, deterministic=True)
    shared = db.execute(f"SELECT key FROM {part}.place WHERE key IN (SELECT key FROM main.place)").fetchall()
    used = {"sessions": _used(db, "session"), "rows": _used(db, "log")}
    for statement in _UNION:
        db.execute(statement.format(part=part), used if ":" in statement else {})
    for (key,) in shared:
        _renew_place(db, key)
    upto = used["rows"] + derived_more if derived == rows else derived
    courses = "coalesce((SELECT value FROM main.meta WHERE key = 'courses'), 0) + 1"
    db.execute("INSERT OR REPLACE INTO main.meta VALUES ('derived', ?)", (upto,))
    db.execute(f"INSERT OR REPLACE INTO main.meta VALUES ('courses', {courses})")


def told_in_both(db: sqlite3.Connection, part: str, within: float) -> bool:
    """Return whether a step of the store `part` may be one that another source tells of in the main store.

    As `Store.told_elsewhere` finds it, but for what lies on the edge of `within`.
    """
    row = db.execute(
        f"""SELECT 1 FROM {part}.log n CROSS JOIN main.log o INDEXED BY log_told
        ON o.timestamp BETWEEN n.timestamp - :within AND n.timestamp + :within AND o.source IS NOT NULL
        AND o.command = n.command AND o.source <> n.source AND (o.host = n.host OR o.host IS NULL OR n.host IS NULL)
        WHERE n.source IS NOT NULL AND n.timestamp IS NOT NULL LIMIT 1""",
        {"within": within + 1e-3},
    ).fetchone()
    return row is not None


def _drop_indexes(db: sqlite3.Connection) -> list[str]:
    """Drop the indexes of the main store; return what builds them again."""
    found = db.execute("SELECT name, sql FROM main.sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
    for name, _ in found:
        db.execute(f"DROP INDEX main.{name}")
    return [sql for _, sql in found]


def _log_of(db: sqlite3.Connection, schema: str) -> tuple[int, int]:
    """Return the number of the last row of a log, and up to which row it is derived."""
    (last,) = db.execute(f"SELECT coalesce(max(seq), 0) FROM {schema}.log").fetchone()
    (derived,) = db.execute(f"SELECT coalesce((SELECT value FROM {schema}.meta WHERE key = 'derived'), 0)").fetchone()
    return last, derived


def _used(db: sqlite3.Connection, table: str) -> int:
    """Return the highest number that a row of the main store has, or had before it was deleted."""
    row = db.execute("SELECT seq FROM main.sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0


def _renew_place(db: sqlite3.Connection, key: int) -> None:
    """Bring a place of both stores up to its values, of which the sums are there."""
    best = db.execute(
        "SELECT value, count FROM main.value WHERE key = ? ORDER BY count DESC, newest DESC, value DESC LIMIT ?",
        (key, BEST_VALUES),
    ).fetchall()
    db.execute(
        "UPDATE main.place SET best = ?, kinds = (SELECT count(*) FROM main.value WHERE key = place.key) WHERE key = ?",
        (json.dumps(dict(best)), key),
    )


def _sum_of_newest(one: bytes, only: int | None, other: bytes, other_only: int | None) -> bytes:
    """Return the newest followers of a context of both stores."""
    one, other = newest_of(one, only), newest_of(other, other_only)
    return merge_recent(one, [other[i : i + ENTRY] for i in range(0, len(other), ENTRY)]) if other else one


def _sum_of_rules(one: str, other: str) -> str:
    """Return the counts of rules in two texts of JSON added up."""
    return json.dumps(merge_rules(json.loads(one), json.loads(other)))
