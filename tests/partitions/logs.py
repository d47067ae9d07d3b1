"""Writes sessions as partitions of each kind, and looks into all tables of a memory."""

from __future__ import annotations

import gzip
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from procedural_memory import ProceduralMemoryEngine

Sessions = Sequence[dict[str, Any]]
KINDS = ("jsonl", "jsonl.gz", "sessions.parquet", "steps.parquet")


def write(path: Path, sessions: Sessions) -> Path:
    """Write a partition of the kind that its name tells."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(session) + "\n" for session in sessions), encoding="utf-8")
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress("".join(json.dumps(session) + "\n" for session in sessions).encode()))
    elif path.name.endswith(".sessions.parquet"):
        names = sorted({name for session in sessions for name in session})
        pq.write_table(pa.table({name: [session.get(name) for session in sessions] for name in names}), path)
    else:
        shared = ("session_id", "outcome", "source", "project")
        rows = [
            {**{name: session.get(name) for name in shared}, **step}
            for session in sessions
            for step in session["commands"]
        ]
        names = sorted({name for row in rows for name in row})
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    return path


def parted(folder: Path, sessions: Sessions, parts: int, kind: str) -> list[Path]:
    """Write sessions as so many partitions, in order; one more than there are sessions for is empty."""
    size = max(1, -(-len(sessions) // parts))
    chunks = [sessions[i : i + size] for i in range(0, len(sessions), size)]
    return [write(folder / f"part-{number:03}.{kind}", chunk) for number, chunk in enumerate(chunks)]


TABLES = (
    *("text", "session", "log", "feedback", "again"),
    *("context", "follower", "value", "place", "rule", "shown", "course", "pattern", "posting"),
)


def tables(engine: ProceduralMemoryEngine) -> dict[str, list[Any]]:
    """Return all rows of the log and of all that is derived from it, numbers and order included."""
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(engine.save(f"{folder}/m.sqlite"))) as db:
        found = {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}
        found["derived"] = db.execute("SELECT value FROM meta WHERE key = 'derived'").fetchall()
        return found


def same(one: ProceduralMemoryEngine, other: ProceduralMemoryEngine) -> None:
    """Assert that two memories hold the same, row by row."""
    ours, others = tables(one), tables(other)
    for name in ours:
        assert ours[name] == others[name], name
