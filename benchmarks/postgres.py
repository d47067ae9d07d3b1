"""What a memory in PostgreSQL costs, beside the round trips and the bare transactions that no store can do without.

A server of our own is started from the packages of the system, on a Unix socket and without syncing: what is measured
is the work, not the disk. Each call is timed in turns with its yardstick: recording a step with a transaction on the
same server that inserts the same rows, a prediction with that of a memory in a file. Predictions are timed where
nothing has changed, and right after another machine has recorded a step: with its notices, and deaf to them.

Run: python benchmarks/postgres.py [--steps 200] [--sessions 100] [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from many_processes import sessions_of

from procedural_memory import ProceduralMemoryEngine

if TYPE_CHECKING:
    from postgres_server import PostgresServer


_CALLS = ("record", "bare", "warm", "file", "told", "deaf", "trip")


def fresh(path: str) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(path=path, embedder="lexical")


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def row(what: str, ours: list[float], yardstick: str, bare: list[float]) -> str:
    """Return a row of the table."""
    p, b = np.percentile(np.array(ours), (50, 99)), np.percentile(np.array(bare), (50, 99))
    return f"| {what} | {p[0]:.2f} | {p[1]:.2f} | {yardstick} | {b[0]:.2f} | {b[1]:.2f} | {p[0] / b[0]:.1f} |"


def measure(server: PostgresServer, steps: int, sessions: int) -> Iterator[str]:
    """Yield the rows of the table."""
    import psycopg

    address = server.address()
    rows = [*sessions_of(1, sessions)]
    lines = [step["command"] for session in rows for step in session["commands"]]
    bare = psycopg.connect(host=str(server.folder), dbname="memories", user="keeper", autocommit=True)
    bare.execute("CREATE TABLE IF NOT EXISTS bare_text(id bigint PRIMARY KEY, text text)")
    bare.execute("CREATE TABLE IF NOT EXISTS bare(seq bigserial PRIMARY KEY, session int, step int, command bigint)")

    def insert(step: int, line: str) -> None:
        with bare.transaction():
            number = hash(line)
            bare.execute("INSERT INTO bare_text VALUES (%s, %s) ON CONFLICT DO NOTHING", (number, line))
            bare.execute("INSERT INTO bare(session, step, command) VALUES (1, %s, %s)", (step, number))

    def round_trip() -> None:
        bare.execute("SELECT 1").fetchall()

    with (
        tempfile.TemporaryDirectory() as folder,
        fresh(address) as one,
        fresh(address) as two,
        fresh(str(Path(folder) / "file.sqlite3")) as file,
    ):
        learned = [timed(lambda each=each: each.learn_many(rows)) for each in (one, file)]  # type: ignore[misc]
        file.flush()
        one.flush()
        live = one.session()
        times: dict[str, list[float]] = {
            name: [] for name in ("record", "bare", "warm", "file", "told", "deaf", "trip")
        }
        store: Any = two._store
        context = lines[:2]
        two.predict_next_action(context)
        for step in range(steps):
            line = f"{lines[step % len(lines)]} --try {step % 7}"
            times["record"].append(timed(lambda line=line: live.record(line)))  # type: ignore[misc]
            times["bare"].append(timed(lambda step=step, line=line: insert(step, line)))  # type: ignore[misc]
            one.predict_next_action(context)  # learns the step, so that the other one need not
            if step % 2:
                store.refresh()
                store._drop_read()
            times["deaf" if step % 2 else "told"].append(timed(lambda: two.predict_next_action(context)))
            times["warm"].append(timed(lambda: two.predict_next_action(context)))
            times["file"].append(timed(lambda: file.predict_next_action(context)))
            times["trip"].append(timed(round_trip))
    bare.close()
    yield row("one round trip", times["trip"], "itself", times["trip"])
    yield row("record a step", times["record"], "transaction that inserts the same rows", times["bare"])
    yield row("predict, nothing changed", times["warm"], "from a file", times["file"])
    yield row("predict after another's step, with notices", times["told"], "from a file", times["file"])
    yield row("predict after another's step, deaf to them", times["deaf"], "from a file", times["file"])
    yield row(f"learn {len(rows)} sessions, {len(lines)} steps", learned[:1], "the same into a file", learned[1:])


def main() -> None:
    """Print the table; with ``--write`` also put it into ``benchmarks/POSTGRES.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from postgres_server import running

    table = ["| what | p50 ms | p99 ms | beside | p50 ms | p99 ms | p50 ratio |", "|---" * 7 + "|"]
    with running() as server:
        ((version,),) = server.query("SHOW server_version")
        table += measure(server, options.steps, options.sessions)
    print("\n".join(table))
    if options.write:
        head = [
            "# What a memory in PostgreSQL costs",
            "",
            f"Written by `python benchmarks/postgres.py --steps {options.steps} --sessions {options.sessions} --write`"
            f" on {date.today()} (Python {platform.python_version()}, PostgreSQL {version.split()[0]} on a Unix socket,"
            f" not syncing, {os.cpu_count()} cores that others used as well: load {os.getloadavg()[0]:.1f}).",
            "",
        ]
        (Path(__file__).parent / "POSTGRES.md").write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
