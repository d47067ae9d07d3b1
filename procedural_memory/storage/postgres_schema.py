"""The tables of memories in PostgreSQL, as numbered steps, and who may see which rows.

All memories of a database share the tables of the schema ``procedural_memory``; a *memory* is what a tenant keeps for
a project, and each row belongs to one. Two things keep them apart. Every statement names its memory. And policies,
which hold for the owner of the tables as well, show a session only the rows of the tenant and project that its
settings ``procedural_memory.tenant`` and ``procedural_memory.project`` name, and those only if its role is *admitted*
to them: whoever owns the schema is to all, others as ``procedural_memory.admit(role, tenant, project)`` says.

Texts of any length are found by their hash, since an entry of an index holds less than 3 kB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from procedural_memory.errors import StorageError

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["COPIED", "DERIVED", "PATTERN", "SCHEMA", "VERSION", "bring_up_to_date"]

SCHEMA: Final = "procedural_memory"

LOG: Final = {
    "text": "id bigint NOT NULL, text text NOT NULL, PRIMARY KEY(memory, id)",
    "session": """
        id bigint NOT NULL, name_id bigint NOT NULL, session_id text NOT NULL, start float8 NOT NULL, outcome int,
        closed int NOT NULL DEFAULT 0, source text, digest bytea NOT NULL DEFAULT '', owner text,
        PRIMARY KEY(memory, id), UNIQUE(memory, name_id)""",
    "log": """
        seq bigint NOT NULL, session bigint NOT NULL, step int NOT NULL, command bigint, exit_code bigint, cwd bigint,
        timestamp float8, duration_ms float8, project bigint, source bigint, actor bigint, host bigint, branch bigint,
        PRIMARY KEY(memory, seq)""",
    "feedback": """
        seq bigint NOT NULL, session bigint NOT NULL, step int NOT NULL, after bigint NOT NULL, line bigint NOT NULL,
        verdict int NOT NULL, timestamp float8 NOT NULL, project bigint,
        PRIMARY KEY(memory, seq), UNIQUE(memory, session, step, after, line, verdict, timestamp)""",
    "meta": "id bigint NOT NULL, key text NOT NULL, value text, data bytea, PRIMARY KEY(memory, id)",
}
_PATTERN: Final = """
        id bigint NOT NULL, pattern_id text NOT NULL, templates bytea NOT NULL, success bigint NOT NULL,
        failure bigint NOT NULL, unknown bigint NOT NULL, duration_ms bigint NOT NULL, timed bigint NOT NULL,
        newest bytea NOT NULL, example text NOT NULL"""
_BY_ID: Final = "PRIMARY KEY(memory, id)"
DERIVED: Final = {
    "again": "session bigint NOT NULL, step int NOT NULL, PRIMARY KEY(memory, session, step)",
    "context": """
        key bigint NOT NULL, head bigint, total bigint NOT NULL, recent bytea NOT NULL, PRIMARY KEY(memory, key)""",
    "follower": """
        context bigint NOT NULL, template bigint NOT NULL, count bigint NOT NULL, sessions bigint NOT NULL,
        success bigint NOT NULL, failure bigint NOT NULL, good bigint NOT NULL, bad bigint NOT NULL,
        PRIMARY KEY(memory, context, template)""",
    "value": """
        key bigint NOT NULL, id bigint NOT NULL, value text NOT NULL, count bigint NOT NULL, newest bytea NOT NULL,
        PRIMARY KEY(memory, key, id)""",
    "place": """
        key bigint NOT NULL, total bigint NOT NULL, kinds bigint NOT NULL, best text NOT NULL,
        PRIMARY KEY(memory, key)""",
    "rule": "key bigint NOT NULL, counts text NOT NULL, PRIMARY KEY(memory, key)",
    "shown": """
        key bigint NOT NULL, accepted bigint NOT NULL, rejected bigint NOT NULL, ignored bigint NOT NULL,
        PRIMARY KEY(memory, key)""",
    "course": "moment bytea NOT NULL, success int NOT NULL, steps bytea NOT NULL, PRIMARY KEY(memory, moment)",
    "pattern": f"{_PATTERN}, {_BY_ID}",
    "posting": "key bigint NOT NULL, pattern bigint NOT NULL, PRIMARY KEY(memory, key, pattern)",
    "rank": """
        pattern bigint NOT NULL, worth float8 NOT NULL, size bigint NOT NULL, keys bigint[] NOT NULL,
        PRIMARY KEY(memory, pattern)""",
    "shelf": f"{_PATTERN}, worth float8 NOT NULL, size bigint NOT NULL, keys bigint[] NOT NULL, {_BY_ID}",
}
_VECTORS: Final = """
        template bigint NOT NULL, fingerprint text NOT NULL, data bytea NOT NULL,
        PRIMARY KEY(memory, fingerprint, template)"""
VECTORS: Final = {"vector": _VECTORS, "neighbour": _VECTORS}
_INDEXES: Final = """
CREATE INDEX session_open ON session(memory, id) WHERE closed = 0;
CREATE INDEX session_start ON session(memory, start);
CREATE INDEX log_session ON log(memory, session, step);
CREATE INDEX log_told ON log(memory, timestamp) WHERE source IS NOT NULL AND timestamp IS NOT NULL;
CREATE INDEX again_session ON again(memory, session) WHERE step = -1;
CREATE INDEX context_head ON context(memory, key) WHERE head IS NOT NULL;
CREATE INDEX follower_count ON follower(memory, context, count, template);
CREATE INDEX value_count ON value(memory, key, count, newest);
CREATE INDEX rank_worth ON rank(memory, worth, pattern);
CREATE INDEX shelf_worth ON shelf(memory, worth, id);
"""
_MEMBERS: Final = """
CREATE TABLE member(role text NOT NULL, tenant text NOT NULL, project text, UNIQUE(role, tenant, project));
COMMENT ON TABLE member IS 'who may use which memories; project NULL: all of the tenant';

-- Not in SQL: such a function would be planned anew in each statement, which takes longer than the statement.
CREATE FUNCTION may_use(its_tenant text, its_project text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = procedural_memory, pg_temp AS $$
BEGIN
    RETURN pg_has_role(
            session_user, (SELECT nspowner FROM pg_namespace WHERE nspname = 'procedural_memory'), 'MEMBER')
        OR EXISTS (
            SELECT 1 FROM member m JOIN pg_roles r ON r.rolname = m.role
            WHERE m.tenant = its_tenant AND (m.project IS NULL OR m.project = its_project)
                AND pg_has_role(session_user, r.oid, 'MEMBER'));
END
$$;

CREATE FUNCTION admit(who text, its_tenant text, its_project text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = procedural_memory, pg_temp AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA procedural_memory TO %I', who);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA procedural_memory TO %I', who);
    EXECUTE format('REVOKE ALL ON member, version FROM %I', who);
    EXECUTE format('REVOKE DELETE ON memory FROM %I', who);
    EXECUTE format('GRANT SELECT ON version TO %I', who);
    DELETE FROM member WHERE role = who AND tenant = its_tenant AND project IS NOT DISTINCT FROM its_project;
    INSERT INTO member VALUES (who, its_tenant, its_project);
END
$$;
REVOKE ALL ON FUNCTION admit FROM PUBLIC;
"""
_TEXT: Final = ' text COLLATE "C" NOT NULL'
_HERE: Final = "(SELECT m.id FROM memory m WHERE {})"
_SETTINGS: Final = " AND ".join(
    f"{name} = current_setting('procedural_memory.{name}', true)" for name in ("tenant", "project")
)


def _separated(table: str, condition: str) -> str:
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        f" CREATE POLICY its_memory ON {table} USING ({condition}) WITH CHECK ({condition});"
    )


def _first() -> str:
    tables = {**LOG, **DERIVED, **VECTORS}
    return "\n".join(
        [
            _MEMBERS,
            "CREATE TABLE memory(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL,"
            " project text NOT NULL, secret bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()),"
            " changes bigint NOT NULL DEFAULT 0, rows bigint NOT NULL DEFAULT 0,"
            " sessions bigint NOT NULL DEFAULT 0, feedback bigint NOT NULL DEFAULT 0,"
            # Rewritten by each change: with room for that in its page, it needs no new entry in an index.
            " UNIQUE(tenant, project)) WITH (fillfactor = 10);",
            *(
                # Texts sort as in every other memory, by their bytes, whatever the language of the database.
                f"CREATE TABLE {name}(memory int NOT NULL, {columns.replace(' text NOT NULL', _TEXT)});"
                for name, columns in tables.items()
            ),
            _INDEXES,
            _separated("memory", f"{_SETTINGS} AND may_use(tenant, project)"),
            *(_separated(name, f"memory = {_HERE.format(_SETTINGS)}") for name in tables),
        ]
    )


def _second() -> str:
    # A column, not an expression in the index: PostgreSQL would not look for that before it asked a policy of each row.
    return """
    ALTER TABLE text ADD COLUMN begin text COLLATE "C" GENERATED ALWAYS AS (left(text, 64)) STORED;
    CREATE INDEX text_begin ON text(memory, begin);
    CREATE INDEX log_command ON log(memory, command, seq) INCLUDE (exit_code);
    """


def _third() -> str:
    # Other contexts are counted: who opens a memory derives it anew.
    settings = "'derived', 'derived_feedback', 'superseded', 'in_use', 'ranker', 'ranker_version'"
    return f"""
    TRUNCATE {", ".join(DERIVED)};
    ALTER TABLE meta NO FORCE ROW LEVEL SECURITY;
    DELETE FROM meta WHERE key IN ({settings});
    ALTER TABLE meta FORCE ROW LEVEL SECURITY;
    """


MIGRATIONS: Final = (_first, _second, _third)
"""What makes the tables of version n - 1 those of version n. Steps are never changed, only added."""

VERSION: Final = len(MIGRATIONS)

PATTERN: Final = "id, pattern_id, templates, success, failure, unknown, duration_ms, timed, newest, example"
"""The columns of a pattern, in use or on the shelf."""

COPIED: Final = {
    "text": "id, text",
    "session": "id, session_id, start, outcome, closed, source, digest, owner",
    "log": "seq, session, step, command, exit_code, cwd, timestamp, duration_ms, project, source, actor, host, branch",
    "feedback": "seq, session, step, after, line, verdict, timestamp, project",
    "again": "session, step",
    "context": "key, head, total, recent",
    "follower": "context, template, count, sessions, success, failure, good, bad",
    "value": "key, value, count, newest",
    "place": "key, total, kinds, best",
    "rule": "key, counts",
    "shown": "key, accepted, rejected, ignored",
    "course": "moment, success, steps",
    "pattern": PATTERN,
    "posting": "key, pattern",
    "rank": "pattern, worth, size, keys",
    "shelf": f"{PATTERN}, worth, size, keys",
    "vector": "template, fingerprint, data",
    "neighbour": "template, fingerprint, data",
}
"""Tables and columns that a store in a file has as well."""


def bring_up_to_date(db: Connection[Any], place: str) -> None:
    """Make the tables, or what an older version lacks of them, in one transaction; one process at a time.

    Raises
    ------
    StorageError
        The schema is not ours, or of a newer version; it was not changed.
    """
    if _version(db, place) == VERSION:
        return
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(hashtextextended('procedural_memory', 0))")
        version = _version(db, place)  # another process may have been first
        if version == VERSION:
            return
        if version == 0:
            db.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            db.execute(f"CREATE TABLE {SCHEMA}.version AS SELECT 0 AS number")
        db.execute(f"SET LOCAL search_path = {SCHEMA}")
        for step in MIGRATIONS[version:]:
            db.execute(step())
        db.execute("UPDATE version SET number = %s", (VERSION,))


def _version(db: Connection[Any], place: str) -> int:
    """Return the version of the tables; 0 where there are none."""
    row = db.execute(
        "SELECT count(*), coalesce(bool_or(c.relname = 'version'), false) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s",
        (SCHEMA,),
    ).fetchone()
    assert row is not None
    there, ours = row
    if not there:
        return 0
    if not ours:
        raise StorageError(f"store {place}: the schema {SCHEMA} is that of another program; it was not changed")
    found = db.execute(f"SELECT number FROM {SCHEMA}.version").fetchone()
    version = int(found[0]) if found else 0
    if version > VERSION:
        raise StorageError(
            f"store {place}: the store is of version {version}, this package reads {VERSION}; "
            "update omnimemory-procedural (the store was not changed)"
        )
    return version
