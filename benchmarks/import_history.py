"""What importing a long history costs, beside reading, redacting and storing its lines alone.

A history of zsh with times is generated: sessions of the sample steps, with numbers and names varied so that lines are
as new as they are in life. In a process of its own each: reading the file line by line, redacting every line and
inserting it into a bare SQLite file (what no import can do without), importing it, and importing it once more. Memory
is the peak of the process, and what of it was there before the first line was read.

Run: python benchmarks/import_history.py [--lines 1000000] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

HEADER = "| what | seconds | lines a second | peak MB | of it before MB | learned |"


def generate(path: Path, lines: int) -> None:
    """Write a history of so many lines."""
    from procedural_memory.samples import load_sessions

    sessions = [[step["command"] for step in session["commands"]] for session in load_sessions()]
    chance = random.Random(7)
    when, written = 1_600_000_000, 0
    with path.open("w", encoding="utf-8") as file:
        while written < lines:
            when += 3_600
            for command in chance.choice(sessions)[: lines - written]:
                when += chance.randrange(5, 90)
                line = command.replace("\n", "\\\n")
                if chance.random() < 0.3:
                    line = f"cat logs/{chance.randrange(100_000)}.txt"
                file.write(f": {when}:{chance.randrange(3)};{line}\n")
                written += 1


def peak() -> float:
    """Return the peak of this process in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


def bare(history: Path, memory: Path) -> dict[str, Any]:
    """Read, redact and insert every line, 4,000 in a transaction."""
    from procedural_memory.commands.redact import redact
    from procedural_memory.sources import zsh
    from procedural_memory.sources.entry import lines_of

    before, begin = peak(), time.perf_counter()
    with closing(sqlite3.connect(memory.with_name("bare.sqlite3"))) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE log(timestamp REAL, duration REAL, command TEXT)")
        entries = zsh.entries(lines_of(history))
        while rows := [(e.timestamp, e.duration_ms, redact(e.command)) for e in islice(entries, 4_000)]:
            with db:
                db.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)
    return {"seconds": time.perf_counter() - begin, "before": before, "peak": peak(), "learned": "–"}


def learn(history: Path, memory: Path) -> dict[str, Any]:
    """Import the history."""
    from procedural_memory import ProceduralMemoryEngine

    with ProceduralMemoryEngine(path=memory, embedder="lexical") as engine:
        known = engine.stats()["command_count"]
        before, begin = peak(), time.perf_counter()
        report = engine.import_history("zsh", history)
        seconds = time.perf_counter() - begin
        assert engine.stats()["command_count"] == known + report.new_commands
        return {"seconds": seconds, "before": before, "peak": peak(), "learned": f"{report.new_commands:,}"}


def measured(what: str, history: Path, memory: Path) -> dict[str, Any]:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, "--part", what, "--history", str(history), "--memory", str(memory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--part", choices=["bare", "import"], help=argparse.SUPPRESS)
    parser.add_argument("--history", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part = (bare if options.part == "bare" else learn)(options.history, options.memory)
        print(json.dumps(part))
        return
    with tempfile.TemporaryDirectory() as folder:
        history, memory = Path(folder, "zsh_history"), Path(folder, "memory.sqlite3")
        rows = []
        generate(history, options.lines // 10)
        small = measured("import", history, memory)
        for file in Path(folder).glob("memory*"):
            file.unlink()
        generate(history, options.lines)
        parts = {
            "reading, redacting, inserting alone": measured("bare", history, memory),
            f"importing a tenth ({options.lines // 10:,} lines)": small,
            "importing": measured("import", history, memory),
            "importing again": measured("import", history, memory),
        }
        size = memory.stat().st_size
    for name, part in parts.items():
        lines = options.lines // 10 if part is small else options.lines
        rows.append(
            f"| {name} | {part['seconds']:.1f} | {lines / part['seconds']:,.0f} | {part['peak']:.0f} |"
            f" {part['before']:.0f} | {part['learned']} |"
        )
    whole, alone, again = (
        parts[name]["seconds"] for name in ("importing", "reading, redacting, inserting alone", "importing again")
    )
    table = "\n".join([HEADER, "|---" * 6 + "|", *rows])
    said = (
        f"Importing takes {whole / alone:.1f} times what reading, redacting and inserting alone takes, importing again "
        f"{again / alone:.2f} times. The memory is {size / 1e6:.0f} MB."
    )
    print(table, said, sep="\n\n")
    if options.write:
        told = (
            f"Written by `python benchmarks/import_history.py --lines {options.lines} --write` on {date.today()} "
            f"(Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores): a "
            f"generated history of zsh with times, {options.lines:,} commands, into a new memory on disk; each row is "
            "a process of its own."
        )
        Path(__file__).with_name("IMPORT.md").write_text(
            "\n\n".join(["# What importing a long history costs", told, table, said]) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
