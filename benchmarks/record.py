"""What recording a step costs beyond the transaction that keeps it, in turns with bare SQLite.

The bare transaction inserts the same rows, of the same bytes, into the same tables with the same indexes and settings:
what is left is cleaning, redaction, finding the project, checking the session. Steps are those of the sample sessions,
recorded one by one into live sessions, as a shell or an agent does.

Run: python benchmarks/record.py [--steps 3000] [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from typing import get_args

import numpy as np

from procedural_memory import Command, ProceduralMemoryEngine
from procedural_memory.samples import load_sessions
from procedural_memory.storage.base import text_id
from procedural_memory.storage.migrations import MIGRATIONS
from procedural_memory.types import Durability

TEXTS = ("cwd", "project", "source", "actor", "host", "branch")
INSERT = (
    f"INSERT INTO log(session, step, command, exit_code, timestamp, duration_ms, {', '.join(TEXTS)})"
    " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
HEADER = "| durability | record p50 µs | p99 µs | bare p50 µs | p99 µs | record / bare, p50 |"


class Bare:
    """SQLite with the tables of the log, one transaction a step."""

    def __init__(self, path: Path, durability: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        for setting in ("secure_delete = ON", "journal_mode = WAL", f"synchronous = {durability}"):
            self._db.execute(f"PRAGMA {setting}")
        for script in MIGRATIONS:
            self._db.executescript(script)
        self._known: set[int] = set()
        self._step = 0

    def insert(self, command: Command) -> None:
        """Insert the rows of a step."""
        texts = {name: text for name in ("command", *TEXTS) if (text := getattr(command, name)) is not None}
        ids = {name: text_id(text) for name, text in texts.items()}
        self._db.execute("BEGIN IMMEDIATE")
        for name, number in ids.items():
            if number not in self._known:
                self._known.add(number)
                self._db.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", (number, texts[name]))
        row = (self._step, ids["command"], command.exit_code, command.timestamp, command.duration_ms)
        self._db.execute(INSERT, (*row, *map(ids.get, TEXTS)))
        self._db.execute("COMMIT")
        self._step += 1

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def measure(durability: Durability, steps: int, folder: Path) -> str:
    """Return a row of the table."""
    commands = islice(cycle([step for session in load_sessions() for step in session["commands"]]), steps)
    taken = []
    with (
        ProceduralMemoryEngine(
            path=folder / f"{durability}.sqlite3", durability=durability, embedder="lexical"
        ) as engine,
        closing(Bare(folder / f"bare-{durability}.sqlite3", durability)) as bare,
        engine.session(cwd="/src/app", source="zsh", host="laptop") as session,
    ):
        for number, item in enumerate(commands):
            begin = time.perf_counter()
            command = session.record({**item, "timestamp": 1.7e9 + number})
            middle = time.perf_counter()
            bare.insert(command)
            taken.append((middle - begin, time.perf_counter() - middle))
    record, alone = np.array(taken[100:]).T * 1e6  # the first ones import, compile and fill caches
    (r50, r99), (b50, b99) = (np.percentile(part, (50, 99)) for part in (record, alone))
    return f"| {durability} | {r50:.0f} | {r99:.0f} | {b50:.0f} | {b99:.0f} | {r50 / b50:.2f} |"


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(durability, options.steps, Path(folder)) for durability in get_args(Durability)]
    table = "\n".join([HEADER, "|---" * 6 + "|", *rows])
    print(table)
    if options.write:
        told = (
            f"Written by `python benchmarks/record.py --write` on {date.today()} (Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores): {options.steps} steps of the sample sessions, "
            "recorded and inserted in turns."
        )
        Path(__file__).with_name("RECORD.md").write_text(
            "\n\n".join(["# What recording a step costs beyond its transaction", told, table]) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
