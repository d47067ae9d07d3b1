"""How fast many processes learn into one memory, beside bare SQLite.

Each writer has live sessions open on the same file, several at a time, and records their steps one by one, while
readers ask for predictions. The same steps are then inserted by as many processes into a table of SQLite with one
transaction each, on the same disk with the same level: no memory that many processes share is faster than that.

Run: python benchmarks/many_processes.py [--writers 8] [--sessions 500] [--readers 2] [--write]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from procedural_memory import ProceduralMemoryEngine, Session
from procedural_memory.types import Durability

AT_ONCE = 5
"""Live sessions that a writer has open at a time."""

PRELOADED = (
    "procedural_memory.engine",
    "procedural_memory.embedding.lexical",
    "procedural_memory.embedding.select",
    "procedural_memory.prediction.outcome",
    "procedural_memory.prediction.predictor",
    "procedural_memory.storage.sqlite",
    "procedural_memory.storage.postgres",
)
"""So that a new process is there at once, as a copy of one that has read all this."""

START = 1_700_000_000.0
LINES = (
    "git status",
    "git add",
    "git commit -m",
    "git push origin",
    "make",
    "pytest -q",
    "vim",
    "cd",
    "ls",
    "docker run",
)
HEADER = (
    "| durability | sessions | steps | steps/s | record p50 ms | p99 ms | bare p50 ms | p99 ms | p50 ratio | p99 ratio "
    "| predictions | p50 ms | p99 ms |"
)


class Run(NamedTuple):
    """Seconds that each call took, and that all of them took together."""

    records: list[float]
    predictions: list[float]
    wall: float


def steps_of(writer: int, session: int) -> list[dict[str, Any]]:
    """Return the steps of a session, the same ones each time."""
    chance = random.Random(f"{writer} {session}")
    start = START + 3_600 * session + writer
    return [
        {"command": f"{chance.choice(LINES)} part{chance.randrange(20)}", "timestamp": start + step}
        for step in range(chance.randint(4, 5))
    ]


def outcome_of(session: int) -> Any:
    """Return how a session ends."""
    return ("success", "failure", None)[session % 3]


def sessions_of(writers: int, sessions: int) -> Iterator[dict[str, Any]]:
    """Yield all sessions as `learn_many` takes them."""
    for writer in range(writers):
        for session in range(sessions):
            name, commands = f"{writer}-{session}", steps_of(writer, session)
            yield {"session_id": name, "commands": commands, "outcome": outcome_of(session)}


def interleaved(writer: int, sessions: int) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
    """Yield (session, step number, step), None after the last step; several sessions go on at once."""
    for first in range(0, sessions, AT_ONCE):
        going = {session: steps_of(writer, session) for session in range(first, min(sessions, first + AT_ONCE))}
        for step in range(1 + max(map(len, going.values()))):
            for session, steps in going.items():
                if step <= len(steps):
                    yield session, step, steps[step] if step < len(steps) else None


def fresh(path: Path | str | None, durability: Durability) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(path=path, embedder="lexical", durability=durability)


def timed(seconds: list[float], call: Callable[[], object]) -> None:
    """Make a call and add the time that it took."""
    begin = time.perf_counter()
    call()
    seconds.append(time.perf_counter() - begin)


def write(path: Path | str, durability: Durability, writer: int, sessions: int) -> list[float]:
    """Learn sessions live; return how long each `record` took."""
    seconds: list[float] = []
    live: dict[int, Session] = {}
    with fresh(path, durability) as engine:
        for session, step, item in interleaved(writer, sessions):
            if step == 0:
                live[session] = engine.session(session_id=f"{writer}-{session}")
            if item is None:
                live.pop(session).close(outcome_of(session))
            else:
                timed(seconds, partial(live[session].record, item))
    return seconds


def read(path: Path | str, durability: Durability, stop: Path) -> list[float]:
    """Predict until told to stop; return how long each prediction took."""
    seconds: list[float] = []
    chance = random.Random(0)
    with fresh(path, durability) as engine:
        while not stop.exists():
            context = [step["command"] for step in steps_of(0, chance.randrange(20))[:2]]
            timed(seconds, partial(engine.predict_next_action, context))
    return seconds


def insert(path: Path, durability: Durability, writer: int, sessions: int) -> list[float]:
    """Insert the same steps with SQLite alone; return how long each transaction took."""
    seconds: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as database:
        database.execute(f"PRAGMA synchronous = {durability}")

        def add(*row: Any) -> None:
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO log(session, step, command, timestamp) VALUES (?, ?, ?, ?)", row)
            database.execute("COMMIT")

        for session, step, item in interleaved(writer, sessions):
            if item is not None:
                timed(seconds, partial(add, f"{writer}-{session}", step, item["command"], item["timestamp"]))
    return seconds


def together(
    work: Callable[[Any, Durability, int, int], list[float]],
    path: Path | str,
    durability: Durability,
    writers: int,
    sessions: int,
    readers: int = 0,
    stop: Path | None = None,
) -> Run:
    """Let all writers work at once, and readers beside them, until the file `stop` is there."""
    stop = stop or Path(path).with_suffix(".stop")
    method = multiprocessing.get_context("forkserver")
    method.set_forkserver_preload([*PRELOADED])
    with ProcessPoolExecutor(writers + readers, method) as pool:
        begin = time.perf_counter()
        asked = [pool.submit(read, path, durability, stop) for _ in range(readers)]
        done = [pool.submit(work, path, durability, writer, sessions) for writer in range(writers)]
        try:
            records = gathered(done)
            wall = time.perf_counter() - begin
        finally:
            stop.touch()
        return Run(records, gathered(asked), wall)


def gathered(futures: list[Future[list[float]]]) -> list[float]:
    """Return the times of all processes."""
    return [seconds for future in futures for seconds in future.result()]


def measure(folder: Path, durability: Durability, writers: int, sessions: int, readers: int) -> str:
    """Return a row of the table."""
    path = folder / f"{durability}.sqlite3"
    ours = together(write, path, durability, writers, sessions, readers)
    with fresh(path, durability) as engine:
        found = engine.stats()
    assert (found["session_count"], found["command_count"]) == (writers * sessions, len(ours.records)), found
    bare_path = folder / f"bare-{durability}.sqlite3"
    with closing(sqlite3.connect(bare_path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "CREATE TABLE log(seq INTEGER PRIMARY KEY, session TEXT, step INT, command TEXT, timestamp REAL)"
        )
    bare = together(insert, bare_path, durability, writers, sessions)
    p, b, q = (np.percentile(np.array(each) * 1e3, (50, 99)) for each in (ours.records, bare.records, ours.predictions))
    steps = len(ours.records)
    return (
        f"| {durability} | {writers * sessions} | {steps} | {steps / ours.wall:.0f} | {p[0]:.2f} | {p[1]:.2f} "
        f"| {b[0]:.2f} | {b[1]:.2f} | {p[0] / b[0]:.2f} | {p[1] / b[1]:.2f} "
        f"| {len(ours.predictions)} | {q[0]:.2f} | {q[1]:.2f} |"
    )


def main() -> None:
    """Print the table; with ``--write`` also put it into ``benchmarks/MANY_PROCESSES.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=500, help="of each writer")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    table = [HEADER, "|---" * HEADER.count(" | ") + "|---|"]
    for durability in get_args(Durability):
        with tempfile.TemporaryDirectory() as folder:
            table.append(measure(Path(folder), durability, options.writers, options.sessions, options.readers))
            print(table[-1], flush=True)
    print("\n".join(table))
    if options.write:
        given = [(name, getattr(options, name)) for name in ("writers", "sessions", "readers")]
        told = "".join(f" --{name} {value}" for name, value in given if value != parser.get_default(name))
        head = [
            "# How fast many processes learn into one memory",
            "",
            f"Written by `python benchmarks/many_processes.py{told} --write` on {date.today()} (Python "
            f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores): {options.writers} "
            f"processes with {options.sessions} live sessions each, {AT_ONCE} at a time, and {options.readers} that "
            "predict; then as many that insert the same steps with SQLite alone, a transaction each (bare).",
            "",
        ]
        (Path(__file__).parent / "MANY_PROCESSES.md").write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
