"""What a memory of a million commands costs, beside one of a thousand: disk, opening, a cold prediction, memory.

Sessions of ten steps are made up: habits of many projects, Zipf-distributed, with arguments that come again and ones
that do not. A cold prediction is a process that imports the package, opens the store, predicts once and ends; the two
stores are asked in turns, so that both meet the same machine, and their pages are as warm as the system keeps them.

Run: python benchmarks/scale.py [--commands 1000000] [--folder F] [--rounds 11] [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from procedural_memory import ProceduralMemoryEngine

SMALL, STEPS = 1_000, 10
CHUNK = 1_000
"""Sessions that are learned in one transaction."""
PROGRAMS = (
    "git status",
    "git add {file}",
    "git commit -m '{word} {number}'",
    "git push origin {branch}",
    "git checkout {branch}",
    "make {word}",
    "pytest -q {file}",
    "vim {file}",
    "cat {file}",
    "ls {folder}",
    "cd {folder}",
    "grep -rn {word} {folder}",
    "docker build -t {word}:{number} .",
    "docker run --rm {word}:{number}",
    "kubectl get pods -n {word}",
    "kubectl apply -f {file}",
    "npm run {word}",
    "python {file}",
    "curl -s localhost:{number}/{word}",
    "ssh {word}{number}",
)
COLD = """
import resource, sys, time
begin = time.perf_counter()
from procedural_memory import ProceduralMemoryEngine
imported = time.perf_counter()
engine = ProceduralMemoryEngine(path=sys.argv[1], embedder="lexical")
opened = time.perf_counter()
found = engine.predict_next_action(
    [{"command": line, "cwd": "/src/project3"} for line in ("git status", "git add src/part3/file3.py")], top_k=5)
predicted = time.perf_counter()
assert found
print(imported - begin, opened - imported, predicted - opened,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
HEADER = (
    "| commands | sessions | templates | MB on disk | bytes a command | commands/s learned "
    "| open ms | cold predict ms | process ms | peak MB |"
)


class Cold(NamedTuple):
    """Seconds of a cold prediction by part, those of its whole process, and the peak of its memory in MB."""

    imported: float
    opened: float
    predicted: float
    peak: float
    process: float


def sessions_of(count: int) -> Iterator[dict[str, Any]]:
    """Yield made-up sessions, the same ones each time."""
    chance = random.Random(5)

    def zipf(size: int) -> int:
        return min(size, int(chance.paretovariate(0.9))) - 1

    habits = [[chance.choice(PROGRAMS) for _ in range(STEPS)] for _ in range(400)]
    for number in range(count):
        project = zipf(200)
        commands = []
        for step, program in enumerate(habits[(zipf(400) + 7 * project) % 400]):
            if chance.random() < 0.2:
                program = chance.choice(PROGRAMS)
            part = zipf(50)
            line = program.format(
                file=f"src/part{part}/file{zipf(40)}.py",
                folder=f"src/part{part}",
                word=f"word{zipf(300)}",
                branch=f"topic-{zipf(30)}",
                number=zipf(9_000),
            )
            commands.append(
                {
                    "command": line,
                    "cwd": f"/src/project{project}",
                    "project": f"project{project}",
                    "exit_code": int(chance.random() < 0.1),
                    "timestamp": 1.6e9 + 600.0 * number + 5.0 * step,
                    "duration_ms": 100.0 * zipf(300),
                }
            )
        outcome = "failure" if commands[-1]["exit_code"] else "success"
        yield {"commands": commands, "outcome": outcome, "session_id": f"s{number:07d}", "source": "zsh"}


def build(path: Path, commands: int) -> float:
    """Learn so many commands into a new store; return the seconds that it took."""
    begin = time.perf_counter()
    sessions = sessions_of(commands // STEPS)
    with ProceduralMemoryEngine(path=path, durability="normal", embedder="lexical") as engine:
        learned = 0
        while chunk := list(islice(sessions, CHUNK)):
            learned += len(engine.learn_many(chunk))
            print(f"\r{learned * STEPS:,} of {commands:,} commands", end="", file=sys.stderr, flush=True)
        seconds = time.perf_counter() - begin
        engine.flush()
    print(file=sys.stderr)
    return seconds


def cold(path: Path) -> Cold:
    """Predict once in a new process."""
    begin = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", COLD, str(path)], capture_output=True, text=True, check=True, env={**os.environ}
    ).stdout
    seconds = time.perf_counter() - begin
    imported, opened, predicted, peak = map(float, told.split())
    return Cold(imported, opened, predicted, peak, seconds)


def row(path: Path, seconds: float | None, runs: list[Cold]) -> str:
    """Return a row of the table."""
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        stats = engine.stats()
    size = path.stat().st_size
    opened, predicted, process = (
        1e3 * statistics.median(run[place] for run in runs)
        for place in (Cold._fields.index(name) for name in ("opened", "predicted", "process"))
    )
    speed = f"{stats['command_count'] / seconds:,.0f}" if seconds else "–"
    return (
        f"| {stats['command_count']:,} | {stats['session_count']:,} | {stats['template_count']:,} | {size / 1e6:.1f} "
        f"| {size / stats['command_count']:.0f} | {speed} | {opened:.1f} | {predicted:.1f} | {process:.0f} "
        f"| {max(run.peak for run in runs):.0f} |"
    )


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the stores here; those that are there are used again")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        sizes = (SMALL, options.commands)
        paths = [folder / f"{size}.sqlite3" for size in sizes]
        seconds = [None if path.exists() else build(path, size) for path, size in zip(paths, sizes, strict=True)]
        runs: list[list[Cold]] = [[], []]
        for number in range(options.rounds + 1):
            for path, taken in zip(paths, runs, strict=True):
                run = cold(path)
                if number:  # the first one reads the files
                    taken.append(run)
        rows = [row(*each) for each in zip(paths, seconds, runs, strict=True)]
        ratio = statistics.median(b.process / a.process for a, b in zip(*runs, strict=True))
        within = statistics.median(
            (b.opened + b.predicted) / (a.opened + a.predicted) for a, b in zip(*runs, strict=True)
        )
    found = [HEADER, "|---" * HEADER.count(" | ") + "|---|", *rows]
    found += [
        "",
        f"The process of a cold prediction takes {ratio:.2f} times as long with the large store (median of "
        f"{options.rounds} pairs); opening and predicting alone {within:.2f} times.",
    ]
    print("\n".join(found))
    if options.write:
        command = f"python benchmarks/scale.py --commands {options.commands} --write"
        title = "# What a memory of a million commands costs"
        told = (
            f"Written by `{command}` on {date.today()} (Python {platform.python_version()}, {os.cpu_count()} cores): "
            f"made-up sessions of {STEPS} steps, durability normal, embedder lexical."
        )
        Path(__file__).with_name("SCALE.md").write_text("\n\n".join([title, told, "\n".join(found)]) + "\n")


if __name__ == "__main__":
    main()
