"""A store to damage, and ways to damage it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.storage.snapshot import sessions_of
from procedural_memory.storage.sqlite import SQLiteStore

PAGE = 4096
LONG = "echo " + "long " * 3000


def learn(engine: ProceduralMemoryEngine, sessions: int = 60) -> None:
    """Learn sessions of every kind: with times and without, ended well or not, open, with feedback and long lines."""
    for i in range(sessions):
        commands = [
            {
                "command": f"cat src/module_{i}_{j}.py",
                "exit_code": j % 2,
                "cwd": f"/work/p{i % 7}",
                "duration_ms": 5.0 * j,
            }
            for j in range(3 + i % 4)
        ]
        if i % 2:
            commands[0]["timestamp"] = 1_700_000_000.0 + 1000 * i
        if i == 30:
            commands.append({"command": LONG})
        outcome: Any = ("success", "failure", None)[i % 3]
        engine.learn_workflow(commands, outcome, session_id=f"session-{i}", source="test" if i % 5 else None)
    with engine.session(session_id="live") as live:
        live.record("make")
        live.feedback("make test", "accepted")
        live.record("make test", exit_code=0)
        live.feedback("git push", "rejected")
        live.close("success")
    still_open = engine.session(session_id="open", cwd="/work/p1")
    still_open.record("git pull")
    still_open.feedback("make", "ignored")
    engine.feedback(["git add ."], "git commit -m wip", "accepted")


def make(path: Path, sessions: int = 60) -> Path:
    """Make a store that was closed in order."""
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        learn(engine, sessions)
        engine.flush()
    return path


def log_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sessions of a store as it reads them, by id."""
    with closing(SQLiteStore(str(path))) as store:
        return {item["session_id"]: item for item in sessions_of(store)}


def change(path: Path, *statements: str) -> Path:
    """Run SQL on a store, as no part of the package would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
    return path


def overwrite(path: Path, place: int, data: bytes) -> Path:
    """Put bytes into a file."""
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(data)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir()) if each.is_file()}
