"""Learning partitioned logs on a cluster of processes of this machine, beside one process that learns the same.

The made-up sessions `habits` are written as JSONL, a file for each partition. In a process of its own each: one
process reads the files and learns them (`learn_many`), and Dask learns them with one worker and with two
(`learn_partitions`), into a new memory on disk. Then the memories are compared, all rows of the log and of all that is
derived from it, and what the ranker learned. Starting a cluster is told apart, and so is, in each run, the ranker: it
learns from the newest steps, the same ones with and without a cluster, where the memory is.

Run: python benchmarks/learn_distributed.py [--commands 100000] [--partitions 8] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from speed.workload import STEPS, habits

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.storage.base import LogRow

HEADER = (
    "| what | seconds | commands a second | times as fast as one process | processor seconds on the longest way "
    "| times as few |"
)
STAGES = ("read", "learn", "unite", "take over", "ranker")
TABLES = (
    *("text", "session", "log", "again", "context", "follower", "value"),
    *("place", "rule", "course", "pattern", "posting"),
)


def write(folder: Path, commands: int, partitions: int) -> list[Path]:
    """Write sessions as partitions."""
    sessions = [*islice(habits(), commands // STEPS)]
    size = -(-len(sessions) // partitions)
    files = []
    for number in range(partitions):
        files.append(folder / f"part-{number:03}.jsonl")
        chunk = sessions[number * size : (number + 1) * size]
        files[-1].write_text("".join(json.dumps(session) + "\n" for session in chunk), encoding="utf-8")
    return files


def alone(files: list[Path], memory: Path) -> dict[str, Any]:
    """Learn the partitions in this process; what the ranker took is told apart."""
    from procedural_memory.sources.files import read_sessions

    with ProceduralMemoryEngine(path=memory, durability="normal", embedder="lexical") as engine:
        learn, ranker = engine._deriver._learn, [0.0, 0.0]

        def timed(rows: Sequence[LogRow], watched: bool, with_lines: bool) -> bool:
            begin, busy = time.perf_counter(), time.process_time()
            try:
                return learn(rows, watched, with_lines)
            finally:
                if watched:  # the rows that a cluster leaves to the ranker's stage
                    ranker[0] += time.perf_counter() - begin
                    ranker[1] += time.process_time() - busy

        engine._deriver._learn = timed  # type: ignore[method-assign]
        begin, busy = time.perf_counter(), time.process_time()
        engine.learn_many(session for file in files for session in read_sessions(file))
        seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    return {"seconds": seconds - ranker[0], "busy": busy - ranker[1], "ranker": ranker[0]}


def on_a_cluster(files: list[Path], memory: Path, workers: int) -> dict[str, Any]:
    """Learn the partitions on a cluster; what the ranker took is told apart."""
    from distributed import Client, LocalCluster

    from procedural_memory.distributed import learn_partitions

    begin = time.perf_counter()
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
        ProceduralMemoryEngine(path=memory, durability="normal", embedder="lexical") as engine,
    ):
        client.run(__import__, "procedural_memory.distributed")
        started, before, here = time.perf_counter(), client.run(time.process_time), time.process_time()
        report = learn_partitions(engine, [*files], client)
        done, after, there = time.perf_counter(), client.run(time.process_time), time.process_time()
    stages = report.seconds
    # The last two stages are one thread of this process, which had the processor evenly.
    ranker = (there - here) * stages["ranker"] / (stages["ranker"] + stages["take over"])
    return {
        "seconds": done - started - stages["ranker"],
        "busy": there - here - ranker + max(after[worker] - before[worker] for worker in before),
        "starting": started - begin,
        "stages": dict(stages),
    }


def measured(workers: int, files: list[Path], memory: Path) -> dict[str, Any]:
    """Run one part in a process of its own; no worker: without a cluster."""
    command = [sys.executable, __file__, "--workers", str(workers), "--memory", str(memory), *map(str, files)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def differing(one: Path, other: Path) -> list[str]:
    """Return the tables in which two memories differ."""
    with closing(sqlite3.connect(one)) as db:
        db.execute("ATTACH ? AS other", (str(other),))
        pairs = {table: (f"main.{table}", f"other.{table}") for table in TABLES}
        ranker = "(SELECT value FROM {}.meta WHERE key IN ('ranker', 'derived'))"
        pairs["ranker"] = ranker.format("main"), ranker.format("other")
        return [
            name
            for name, (a, b) in pairs.items()
            if any(
                db.execute(f"SELECT count(*) FROM (SELECT * FROM {x} EXCEPT SELECT * FROM {y})").fetchone()[0]
                for x, y in ((a, b), (b, a))
            )
        ]


def row(name: str, seconds: float, busy: float, base: tuple[float, float], commands: int) -> str:
    """Return a row of the table, all without the ranker; `base` is what one process took."""
    return (
        f"| {name} | {seconds:.1f} | {commands / seconds:,.0f} | {base[0] / seconds:.2f} | {busy:.1f} | "
        f"{base[1] / busy:.2f} |"
    )


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("files", type=Path, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.workers is not None:
        files, memory = options.files, options.memory
        print(json.dumps(on_a_cluster(files, memory, options.workers) if options.workers else alone(files, memory)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write(folder, options.commands, options.partitions)
        stores = {workers: folder / f"{workers}.sqlite3" for workers in (0, 1, 2)}
        runs = {workers: measured(workers, files, memory) for workers, memory in stores.items()}
        different = {workers: differing(stores[0], stores[workers]) for workers in (1, 2)}
        size = stores[0].stat().st_size
    clusters = {workers: runs[workers] for workers in (1, 2)}
    base = runs[0]["seconds"], runs[0]["busy"]
    rows = [row("one process", *base, base, options.commands)]
    for workers, run in clusters.items():
        name = f"Dask, {workers} worker{'s' * (workers > 1)}"
        rows.append(row(name, run["seconds"], run["busy"], base, options.commands))
    stages = [f"| workers | {' | '.join(STAGES)} |", "|---" * (len(STAGES) + 1) + "|"]
    stages += [
        f"| {workers} | " + " | ".join(f"{run['stages'][stage]:.1f}" for stage in STAGES) + " |"
        for workers, run in clusters.items()
    ]
    ratio = base[0] / clusters[2]["seconds"]
    equal = "equal" if not any(different.values()) else f"NOT equal ({different})"
    said = (
        f"Two workers are {ratio:.2f} times as fast as one process; by the processor time of the busiest worker and of "
        "the process that takes over, which other work on the machine does not lengthen, "
        f"{base[1] / clusters[2]['busy']:.2f} times. The three memories are {equal}, row by row and with what the "
        f"ranker learned ({size / 1e6:.0f} MB). Starting the cluster took {clusters[2]['starting']:.1f} seconds more. "
        "What the ranker takes is left out of each run: it learns from the same newest steps with and without a "
        f"cluster, in one process ({runs[0]['ranker']:.1f} seconds without a cluster, below those with one)."
    )
    table = "\n".join([HEADER, "|---" * HEADER.count(" | ") + "|---|", *rows])
    seconds = "Seconds by stage, of which reading, learning and uniting are on the workers:"
    text = "\n\n".join([table, said, seconds, "\n".join(stages)])
    print(text)
    if options.write:
        command = (
            f"python benchmarks/learn_distributed.py --commands {options.commands} --partitions {options.partitions}"
        )
        told = (
            f"Written by `{command} --write` on {date.today()} (Python {platform.python_version()}, SQLite "
            f"{sqlite3.sqlite_version}, {os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}): "
            f"{options.commands:,} commands of the made-up sessions `habits` of `speed/workload.py` in "
            f"{options.partitions} files of JSONL, durability normal, embedder lexical; each row is a process of "
            "its own with its workers."
        )
        title = "# What learning on several processes gains"
        Path(__file__).with_name("DISTRIBUTED.md").write_text("\n\n".join([title, told, text]) + "\n", encoding="utf-8")
    if any(different.values()):
        raise SystemExit(f"the memories differ: {different}")


if __name__ == "__main__":
    main()
