"""How long a prediction takes in a memory of many steps, beside the peers and a yardstick of the machine, in turns.

The first sessions of agent_bash are learned; then every step of the others is predicted and learned, as a live session
does. Before each step the engine and the peers are asked one after the other, so that all meet the same machine. The
yardstick is a loop of Python, `LOOP` additions long: a time divided by that of the loop next to it says more of the
code than of the machine.

Run: python benchmarks/latency.py [--data FOLDER] [--learn 470] [--embedder lexical] [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from peers import make_peers
from train_weights import DATA

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.evaluation.predictors import Context, EnginePredictor, Predictor
from procedural_memory.evaluation.sessions import EvaluationSession, Step, as_sessions
from procedural_memory.sources.files import read_sessions

PEERS = ("Markov-1", "IPAM", "counts 0-3, decayed", "STAN (session kNN)")
LOOP = 20_000
HEADER = "| predictor | p50 ms | p90 ms | p99 ms | p50 in loops | p99 in loops |"


def loop() -> None:
    """Take as long as the machine is slow."""
    total = 0
    for number in range(LOOP):
        total += number


def learn(predictor: Predictor, sessions: list[EvaluationSession]) -> None:
    """Learn sessions without asking."""
    for session in sessions:
        for step in session.steps:
            predictor.learn(step)
        predictor.end(session.outcome)


class Clock:
    """Collects the times of each thing that is asked, and of the loop beside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[tuple[float, float]]] = {}

    def time(self, name: str, call: Callable[[], object]) -> None:
        """Time one call."""
        begin = time.perf_counter()
        call()
        middle = time.perf_counter()
        loop()
        self.seconds.setdefault(name, []).append((middle - begin, time.perf_counter() - middle))

    def row(self, name: str) -> str:
        """Return a row of the table."""
        taken, loops = np.array(self.seconds[name]).T
        p50, p90, p99 = np.percentile(taken * 1e3, (50, 90, 99))
        in_loops = np.percentile(taken / loops, (50, 99))
        return f"| {name} | {p50:.2f} | {p90:.2f} | {p99:.2f} | {in_loops[0]:.2f} | {in_loops[1]:.2f} |"


def measure(sessions: list[EvaluationSession], learned: int, embedder: str) -> tuple[list[str], str]:
    """Return the table, and what was done."""
    engine = ProceduralMemoryEngine(embedder=embedder)
    engine.learn_many(
        {
            "commands": [step.command for step in session.steps],
            "outcome": session.outcome,
            "session_id": f"{number:06d}",
        }
        for number, session in enumerate(sessions[:learned])
    )
    engine.flush()
    ours = EnginePredictor(engine)
    made = make_peers()
    peers = {name: made[name]() for name in PEERS}
    for peer in peers.values():
        learn(peer, sessions[:learned])
    everyone: tuple[Predictor, ...] = (ours, *peers.values())
    steps = engine.stats()["command_count"]
    clock = Clock()
    for session in sessions[learned:]:
        past: list[Step] = []
        for step in session.steps:
            context = Context(session.project, step.command.cwd, past)
            clock.time("this package, 10 command lines", partial(ours.predict, context, "full"))
            clock.time("this package, 10 templates right after", partial(ours.predict, context, "template"))
            for name, peer in peers.items():
                clock.time(f"{name}, 10 command lines", partial(peer.predict, context, "full"))
            for predictor in everyone:
                predictor.learn(step)
            past.append(step)
        for predictor in everyone:
            predictor.end(session.outcome)
    asked = len(clock.seconds["this package, 10 command lines"])
    ours.close()
    return [HEADER, "|---|---|---|---|---|---|", *map(clock.row, clock.seconds)], (
        f"{steps} steps of {learned} sessions learned, {asked} steps of {len(sessions) - learned} others asked about; "
        f"embedder {embedder}; a loop is {LOOP} additions"
    )


def main() -> None:
    """Print the table; with ``--write`` also put it into ``benchmarks/LATENCY.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--learn", type=int, default=470)
    parser.add_argument("--embedder", default="lexical")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    sessions = as_sessions(read_sessions(options.data / "agent_bash.jsonl.gz"))
    if not 0 < options.learn < len(sessions):
        parser.error(f"--learn: must be between 1 and {len(sessions) - 1}, got {options.learn}")
    table, about = measure(sessions, options.learn, options.embedder)
    print("\n".join([*table, "", about]))
    if options.write:
        given = [(name, getattr(options, name)) for name in ("learn", "embedder")]
        told = "".join(f" --{name} {value}" for name, value in given if value != parser.get_default(name))
        head = [
            "# How long a prediction takes",
            "",
            f"Written by `python benchmarks/latency.py --data FOLDER{told} --write` on {date.today()} (Python "
            f"{platform.python_version()}, {os.cpu_count()} cores): {about}.",
            "",
        ]
        (Path(__file__).parent / "LATENCY.md").write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
