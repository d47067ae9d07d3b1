"""What the tests of durability do to a memory, as plain calls, and the state that each call must lead to."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from procedural_memory import ProceduralMemoryEngine, Session
from procedural_memory.storage.migrations import MIGRATIONS
from procedural_memory.types import Durability

__all__ = [
    "Call",
    "Performer",
    "State",
    "after",
    "calls",
    "contents",
    "derived",
    "fresh",
    "integrity",
    "make_older",
    "saved",
    "snapshot_of",
]

LINES = (
    "git status",
    "git add .",
    "git commit -m wip",
    "git push",
    "make",
    "make test",
    "pytest -q",
    "ls -la",
    "cd src",
)
OUTCOMES = ("success", "failure", None)


class Call(NamedTuple):
    """One call of the public API: its name, the session it is about, and the command lines."""

    name: str
    session: str = ""
    lines: tuple[str, ...] = ()
    outcome: str | None = None


Sessions = dict[str, tuple["str | None", tuple[str, ...]]]
"""By session id: its outcome, its command lines. Whether it is open hangs on whether its process is still there."""


class State(NamedTuple):
    """What a memory holds, and what the snapshot beside it holds, if there is one."""

    memory: Sessions
    snapshot: Sessions | None = None


def calls(seed: int, mix: str = "record learn save merge forget rebuild migrate reopen") -> Iterator[Call]:
    """Yield calls without end, the same for the same seed.

    Parameters
    ----------
    seed : int
    mix : str
        Names of what may happen, with blanks between; one that stands there twice happens twice as often.
    """
    chance = random.Random(seed)
    known: list[str] = []
    for number in range(1_000_000):
        name = chance.choice(mix.split())
        session = f"{seed}-{number}"
        lines = tuple(f"{chance.choice(LINES)} {chance.randrange(9)}" for _ in range(chance.randint(3, 5)))
        outcome = chance.choice(OUTCOMES)
        if name == "record":
            yield Call("open", session)
            for line in lines:
                yield Call("record", session, (line,))
            if chance.random() < 0.7:
                yield Call("close", session, outcome=outcome)
            known.append(session)
        elif name in ("learn", "merge"):
            yield Call(name, session, lines, outcome)
            known.append(session)
        elif name == "forget":
            if known:
                yield Call(name, known.pop(chance.randrange(len(known))))
        else:
            yield Call(name)


def after(state: State, call: Call) -> State:
    """Return the state after a call."""
    memory = dict(state.memory)
    if call.name == "save":
        return State(memory, memory)
    if call.name == "open":
        memory[call.session] = (None, ())
    elif call.name == "record":
        memory[call.session] = (None, memory[call.session][1] + call.lines)
    elif call.name == "close":
        memory[call.session] = (call.outcome, memory[call.session][1])
    elif call.name in ("learn", "merge"):
        memory[call.session] = (call.outcome, call.lines)
    elif call.name == "forget":
        del memory[call.session]
    return State(memory, state.snapshot)


def fresh(path: Path | None, durability: Durability) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(path=path, embedder="lexical", durability=durability)


class Performer:
    """Performs calls on the memory in a file.

    Parameters
    ----------
    path : Path
        Of the memory; snapshots are saved beside it.
    durability : {"full", "normal"}
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path, self._durability = path, durability
        self.engine = fresh(path, durability)
        self._live: dict[str, Session] = {}

    def perform(self, call: Call) -> None:
        """Make the call; when this returns, it was acknowledged."""
        engine, name, lines = self.engine, call.name, list(call.lines)
        if name == "open":
            self._live[call.session] = engine.session(session_id=call.session)
        elif name == "record":
            self._live[call.session].record(lines[0])
        elif name == "close":
            self._live[call.session].close(call.outcome)  # type: ignore[arg-type]
        elif name == "learn":
            engine.learn_workflow(lines, call.outcome, call.session)  # type: ignore[arg-type]
        elif name == "merge":
            with fresh(None, "full") as other:
                other.learn_workflow(lines, call.outcome, call.session)  # type: ignore[arg-type]
                engine.merge(other)
        elif name == "forget":
            engine.forget(session=call.session)
        elif name == "rebuild":
            engine.rebuild()
        elif name == "save":
            engine.save(snapshot_of(self._path))
        elif name == "copy":
            engine.save(self._path.with_suffix(".sqlite"))
        elif name == "load":
            engine.load(snapshot_of(self._path), mode="merge")
        elif name == "predict":
            engine.predict_next_action([*LINES[:2]])
        elif name in ("reopen", "migrate"):
            self.close()
            if name == "migrate":
                make_older(self._path)
            self.engine = fresh(self._path, self._durability)
        else:
            raise ValueError(name)

    def close(self) -> None:
        """Close the memory."""
        self._live.clear()
        self.engine.close()


def _made_by(steps: Sequence[str]) -> dict[str, str]:
    """Return the tables and indexes that steps of the migration make, and which of both each is."""
    with closing(sqlite3.connect(":memory:")) as database:
        for step in steps:
            database.executescript(step)
        return dict(database.execute("SELECT name, type FROM sqlite_master WHERE sql IS NOT NULL"))


def make_older(path: Path) -> None:
    """Take from a store what the first version did not have: feedback, the owners of sessions, and more."""
    first = _made_by(MIGRATIONS[:1])
    added = {name: kind for name, kind in _made_by(MIGRATIONS).items() if name not in first}
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        for name in sorted(added, key=lambda name: added[name]):  # indexes before tables
            database.execute(f"DROP {added[name]} {name}")
        database.execute("ALTER TABLE session DROP COLUMN owner")
        database.execute("PRAGMA user_version = 1")
        database.execute("COMMIT")


def contents(engine: ProceduralMemoryEngine, folder: Path) -> Sessions:
    """Return what a memory holds."""
    sessions = saved(engine.save(folder / "contents.json"))
    assert sessions is not None
    return sessions


def snapshot_of(path: Path) -> Path:
    """Return where the snapshots of a memory are saved."""
    return path.with_suffix(".json")


def saved(path: Path) -> Sessions | None:
    """Return what a snapshot holds; None where there is none."""
    if not path.exists():
        return None
    return {
        item["session_id"]: (item["outcome"], tuple(command["command"] for command in item["commands"]))
        for item in json.loads(path.read_text(encoding="utf-8"))["sessions"]
    }


def derived(engine: ProceduralMemoryEngine) -> tuple[Any, ...]:
    """Return what was derived of the sessions."""
    totals = {name: value for name, value in engine.stats().items() if isinstance(value, int)}
    graph = engine.workflow_graph
    return totals, dict(graph.nodes.data()), sorted(graph.edges.data(), key=repr), dict(engine.patterns)


def integrity(path: Path) -> str:
    """Return what SQLite finds when it looks the file through; "ok" when all is well."""
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])
