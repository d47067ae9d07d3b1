"""Trains the weights that the rankers start from, and for the accuracy tables weights trained without a data set.

Every session is replayed live: each step is predicted, then learned. What the rankers have come to at the end is
written as numbers for named features; their memory of pairs, which is about single commands, is left out. The shipped
weights are the mean over the data sets.

Run: python benchmarks/train_weights.py [--data FOLDER] [--sessions 250]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.evaluation.predictors import Context, EnginePredictor
from procedural_memory.evaluation.sessions import as_sessions
from procedural_memory.prediction.ranker import START_WEIGHTS
from procedural_memory.sources.files import read_sessions

HERE = Path(__file__).parent
DATA = Path(os.environ.get("PROCEDURAL_MEMORY_DATA", HERE.parent.parent / "shared" / "data"))
NAMES = ("agent_bash", "training_shell")
FOLDERS = ("--data", "--cache", "--to")
"""Options that name a folder."""
NEUTRAL = HERE / "weights" / "neutral.json"
"""Trust in the counts and in their recent part, and in nothing else."""


def as_told(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command as they are told to others: where folders lie here is no news to them."""
    before = ["", *arguments]
    return ["FOLDER" if name in FOLDERS else argument for name, argument in zip(before, arguments, strict=False)]


def without(name: str) -> Path:
    """Return the file of weights that were trained without a data set."""
    path = HERE / "weights" / f"without_{name}.json"
    return path if path.exists() else START_WEIGHTS


def trained(path: Path, most: int) -> dict[str, Any]:
    """Replay the sessions of a file; return the weights at the end."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine._rankers.restart(NEUTRAL)
        predictor = EnginePredictor(engine)
        for session in as_sessions(read_sessions(path))[:most]:
            for step in session.steps:
                predictor.predict(Context(session.project, step.command.cwd), "full")
                predictor.learn(step)
            predictor.end(session.outcome)
        return engine._rankers.start_weights()


def mean(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of the weights of each ranker; a situation that a part never met counts as zero there."""
    found = {}
    for ranker in parts[0]:
        of_ranker = [part[ranker] for part in parts]
        rows: dict[str, list[float]] = {}
        for row in sorted({row for part in of_ranker for row in part["weights"]}, key=int):
            values = [part["weights"].get(row, [0.0] * len(part["features"])) for part in of_ranker]
            rows[row] = [round(sum(column) / len(parts), 4) for column in zip(*values, strict=True)]
        found[ranker] = {**of_ranker[0], "weights": rows}
    return found


def write(path: Path, weights: dict[str, Any]) -> None:
    """Write weights, a situation a line."""
    parts = []
    for ranker, part in weights.items():
        lines = [f'  "{row}": {json.dumps(values)}' for row, values in part["weights"].items()]
        head = {name: value for name, value in part.items() if name != "weights"}
        parts.append(f'"{ranker}": ' + json.dumps(head)[:-1] + ',\n "weights": {\n' + ",\n".join(lines) + "\n}}")
    path.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def main() -> None:
    """Write the shipped weights, and those without each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sessions", type=int, default=250)
    options = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        paths = [options.data / f"{name}.jsonl.gz" for name in NAMES]
        parts = dict(zip(NAMES, pool.map(trained, paths, [options.sessions] * len(NAMES)), strict=True))
    for name in NAMES:
        write(HERE / "weights" / f"without_{name}.json", mean([parts[other] for other in NAMES if other != name]))
    write(START_WEIGHTS, mean(list(parts.values())))


if __name__ == "__main__":
    main()
