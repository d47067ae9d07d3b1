"""The tables of the store, as numbered steps from nothing to the newest version.

A new store takes all the steps, one of an older version those that it lacks, in one transaction: after a crash the file
is of the one version or of the other. Only the log is migrated. What is derived from it is dropped where its form or
its meaning changed, and derived anew from the log when the store is next used.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

__all__ = ["FIRST_TABLES", "LOG_TABLES", "VERSION", "migrate", "tables_of", "version_of"]

_VECTOR: Final = """
CREATE TABLE vector(  -- with a rowid, unlike the rest: so long a row would overflow the page of a key
    template INTEGER NOT NULL, fingerprint TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY(fingerprint, template));
"""

MIGRATIONS: Final = (
    # 1
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE text(id INTEGER PRIMARY KEY, text TEXT NOT NULL);  -- the id is a hash of the text
    CREATE TABLE session(
        id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL UNIQUE, start REAL NOT NULL, outcome INTEGER,
        closed INTEGER NOT NULL DEFAULT 0, source TEXT, digest BLOB NOT NULL DEFAULT x'');
    CREATE TABLE log(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, step INTEGER NOT NULL, command INTEGER,
        exit_code INTEGER, cwd INTEGER, timestamp REAL, duration_ms REAL, project INTEGER, source INTEGER,
        actor INTEGER, host INTEGER, branch INTEGER);
    CREATE INDEX log_session ON log(session, step);
    """,
    # 2: of what is derived only
    "",
    # 3: what became of predictions; session 0: of no session, and only then `after` is not 0
    """
    CREATE TABLE feedback(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, step INTEGER NOT NULL, after INTEGER NOT NULL,
        line INTEGER NOT NULL, verdict INTEGER NOT NULL, timestamp REAL NOT NULL, project INTEGER,
        UNIQUE(session, step, after, line, verdict, timestamp));
    """,
    # 4: which process a session that is going on belongs to
    """
    ALTER TABLE session ADD COLUMN owner TEXT;
    CREATE INDEX session_open ON session(id) WHERE closed = 0;
    CREATE INDEX session_start ON session(start, session_id);
    """,
    # 5: steps, and with number -1 sessions, that another source tells of as well, and that are counted there
    """
    CREATE TABLE again(session INTEGER NOT NULL, step INTEGER NOT NULL, PRIMARY KEY(session, step)) WITHOUT ROWID;
    CREATE INDEX again_session ON again(session) WHERE step = -1;
    CREATE INDEX log_told ON log(timestamp) WHERE source IS NOT NULL AND timestamp IS NOT NULL;
    """,
    # 6: where bounds are set, what patterns in use are worth, and the patterns that are not; vectors laid out anew
    f"""
    CREATE TABLE rank(pattern INTEGER PRIMARY KEY, worth REAL NOT NULL, size INTEGER NOT NULL, keys BLOB NOT NULL);
    CREATE INDEX rank_worth ON rank(worth, pattern);
    CREATE TABLE shelf(
        id INTEGER PRIMARY KEY, pattern_id TEXT NOT NULL UNIQUE, templates BLOB NOT NULL, success INTEGER NOT NULL,
        failure INTEGER NOT NULL, unknown INTEGER NOT NULL, duration_ms INTEGER NOT NULL, timed INTEGER NOT NULL,
        newest BLOB NOT NULL, example TEXT NOT NULL, worth REAL NOT NULL, size INTEGER NOT NULL, keys BLOB NOT NULL);
    CREATE INDEX shelf_worth ON shelf(worth, id);
    CREATE TABLE IF NOT EXISTS vector(template, fingerprint, data);
    ALTER TABLE vector RENAME TO vector_before;
    {_VECTOR}
    INSERT INTO vector SELECT template, fingerprint, data FROM vector_before;
    DROP TABLE vector_before;
    """,
    # 7: texts by how they begin, and steps by their line
    """
    CREATE INDEX text_begin ON text(substr(text, 1, 64));
    CREATE INDEX log_command ON log(command, seq, exit_code);
    """,
    # 8: of what is derived only, as in 2
    "",
)
"""What makes a log of version n - 1 one of version n. Steps are never changed, only added."""

VERSION: Final = len(MIGRATIONS)

DERIVED_SINCE: Final = 8
"""The version in which the form or the meaning of what is derived last changed."""

VECTORS_SINCE: Final = 3
"""The same of vectors and neighbours, which may take a model to make anew."""

DERIVED_SCHEMA: Final = """CREATE TABLE context(
    key INTEGER PRIMARY KEY, head INTEGER, total INTEGER NOT NULL, recent BLOB NOT NULL DEFAULT x'',
    only INTEGER, how INTEGER);
CREATE INDEX context_head ON context(head) WHERE head IS NOT NULL;
CREATE TABLE follower(
    context INTEGER NOT NULL, template INTEGER NOT NULL, count INTEGER NOT NULL, sessions INTEGER NOT NULL,
    success INTEGER NOT NULL, failure INTEGER NOT NULL, good INTEGER NOT NULL, bad INTEGER NOT NULL,
    PRIMARY KEY(context, template)) WITHOUT ROWID;
CREATE INDEX follower_often ON follower(context, count) WHERE count > 1;  -- most are seen once, and never again
CREATE TABLE value(
    key INTEGER NOT NULL, value TEXT NOT NULL, count INTEGER NOT NULL, newest BLOB NOT NULL,
    PRIMARY KEY(key, value)) WITHOUT ROWID;
CREATE TABLE place(  -- best: JSON, the most frequent values of a key with their counts, for reading in one go
    key INTEGER PRIMARY KEY, total INTEGER NOT NULL, kinds INTEGER NOT NULL, best TEXT NOT NULL);
CREATE TABLE rule(key INTEGER PRIMARY KEY, counts TEXT NOT NULL);  -- JSON: fill rule -> [offered, right]
CREATE TABLE shown(
    key INTEGER PRIMARY KEY, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL, ignored INTEGER NOT NULL);
CREATE TABLE course(moment BLOB PRIMARY KEY, success INTEGER NOT NULL, steps BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE pattern(
    id INTEGER PRIMARY KEY, pattern_id TEXT NOT NULL UNIQUE, templates BLOB NOT NULL, success INTEGER NOT NULL,
    failure INTEGER NOT NULL, unknown INTEGER NOT NULL, duration_ms INTEGER NOT NULL, timed INTEGER NOT NULL,
    newest BLOB NOT NULL, example TEXT NOT NULL);
CREATE TABLE posting(key INTEGER NOT NULL, pattern INTEGER NOT NULL, PRIMARY KEY(key, pattern)) WITHOUT ROWID;
"""

_NEIGHBOUR: Final = """
DELETE FROM vector;
DROP TABLE IF EXISTS neighbour;
CREATE TABLE neighbour(
    template INTEGER NOT NULL, fingerprint TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY(fingerprint, template)) WITHOUT ROWID;
"""

DERIVED_TABLES: Final = (
    *re.findall(r"CREATE TABLE (\w+)", DERIVED_SCHEMA),
    "line",  # of the first version
)
"""What any version has derived; whatever else is in the file is left there."""

FIRST_TABLES: Final = frozenset({"meta", "text", "session", "log"})
"""Tables that a store of any version has."""
LOG_TABLES: Final = FIRST_TABLES | {"feedback"}


def tables_of(db: sqlite3.Connection) -> set[str]:
    """Return the names of the tables."""
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return names - {"sqlite_sequence"}


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of a store; 0 of an empty file."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version) or int("log" in tables_of(db))  # the first stores did not say


def migrate(db: sqlite3.Connection) -> None:
    """Bring a store to the newest version, within the transaction that is open."""
    version = version_of(db)
    for step in MIGRATIONS[version:]:
        _run(db, step)
    if version < DERIVED_SINCE:
        for table in DERIVED_TABLES:
            db.execute(f"DROP TABLE IF EXISTS {table}")
        _run(db, DERIVED_SCHEMA)
        for table in ("again", "rank", "shelf"):
            db.execute(f"DELETE FROM {table}")
        # The ranker learns from what is derived: kept, it would learn the same steps twice.
        derived = "'derived', 'derived_feedback', 'superseded', 'in_use', 'ranker', 'ranker_version'"
        db.execute(f"DELETE FROM meta WHERE key IN ({derived})")
    if version < VECTORS_SINCE:
        _run(db, _NEIGHBOUR)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _run(db: sqlite3.Connection, script: str) -> None:
    # Not `executescript`, which commits first.
    for statement in script.split(";"):
        db.execute(statement)
