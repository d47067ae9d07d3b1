"""Next-template accuracy on held-out sessions, beside classic predictors, in one run.

The first sessions of a file are learned, the rest are predicted step by step, each session's own earlier steps being
its context. Once with nothing learned from the held-out sessions, and once online: each step is learned after it was
predicted, which is how such predictors are used. All predictors see the same templates.

Run: python benchmarks/accuracy.py [--data FOLDER] [--embedder lexical] [--write]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from peers.classic import IPAM, Markov1, MostFrequent

from procedural_memory import ProceduralMemoryEngine, __version__, normalize
from procedural_memory.prediction.context import SessionContext
from procedural_memory.validation import as_commands

HERE = Path(__file__).parent
DATA = Path(os.environ.get("PROCEDURAL_MEMORY_DATA", HERE.parent.parent / "shared" / "data"))
K = 5
OURS = "this package"


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ours(
    train: list[dict[str, Any]], test: list[dict[str, Any]], embedder: str, online: bool
) -> tuple[list[list[int]], list[tuple[float, bool]], dict[str, float]]:
    """Return the rank of the right template in each step, (probability, right) of each first guess, and times."""
    ranks: list[list[int]] = []
    firsts: list[tuple[float, bool]] = []
    latencies = []
    with ProceduralMemoryEngine(embedder=embedder) as engine:
        begin = time.perf_counter()
        engine.learn_many(train)
        learning = time.perf_counter() - begin
        engine.flush()
        for session in test:
            context = SessionContext()
            live = engine.session(project=session["project"]) if online else None
            found = []
            for command in as_commands("commands", session["commands"], defaults={"project": session["project"]}):
                begin = time.perf_counter()
                guesses = live.predict(K, level="template") if live else engine._predict(context, K, "template", 0.0)
                latencies.append(time.perf_counter() - begin)
                right = normalize(command.command)
                names = [guess.template for guess in guesses]
                found.append(names.index(right) if right in names else K)
                if guesses:
                    firsts.append((guesses[0].template_probability, names[0] == right))
                if live:
                    live.record(command)
                else:
                    context.add(command)
            if live:
                live.close(session["outcome"])
            ranks.append(found)
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    steps = sum(len(session["commands"]) for session in train)
    return ranks, firsts, {"p50 ms": p50, "p99 ms": p99, "learning ms/command": learning / steps * 1e3}


def peer(model: Any, train: list[list[str]], test: list[list[str]], online: bool) -> list[list[int]]:
    """Return the rank of the right template in each step for one of the classic predictors."""
    for session in train:
        for previous, current in zip([None, *session], session, strict=False):
            model.learn(previous, current)
    ranks = []
    for session in test:
        found = []
        for previous, current in zip([None, *session], session, strict=False):
            names = model.predict(previous, K)
            found.append(names.index(current) if current in names else K)
            if online:
                model.learn(previous, current)
        ranks.append(found)
    return ranks


def interval(ranks: list[list[int]], k: int) -> tuple[float, float, float]:
    """Return hit@k over all steps, with a 95 % bootstrap interval over sessions."""
    hits = np.array([sum(rank < k for rank in session) for session in ranks])
    steps = np.array([len(session) for session in ranks])
    draws = np.random.default_rng(0).integers(0, len(ranks), (1000, len(ranks)))
    low, high = np.percentile(hits[draws].sum(1) / steps[draws].sum(1), [2.5, 97.5])
    return hits.sum() / steps.sum(), low, high


def table(results: dict[str, list[list[int]]]) -> list[str]:
    """Return the table of hit rates, with the ratio to the best of the peers."""
    lines = ["| predictor | template hit@1 (95 % over sessions) | template hit@5 |", "|---|---|---|"]
    for name, ranks in results.items():
        cells = " | ".join("{:.3f} ({:.3f}-{:.3f})".format(*interval(ranks, k)) for k in (1, K))
        lines.append(f"| {name} | {cells} |")
    best = [max(interval(ranks, k)[0] for name, ranks in results.items() if name != OURS) for k in (1, K)]
    mine = [interval(results[OURS], k)[0] for k in (1, K)]
    return [
        *lines,
        "",
        f"Against the best of these peers: {mine[0] / best[0]:.2f}x at 1, {mine[1] / best[1]:.2f}x at 5.",
    ]


def calibration_error(firsts: list[tuple[float, bool]], bins: int = 10) -> float:
    """Return the expected calibration error of the first guesses (equal-width bins)."""
    p, right = np.array([f[0] for f in firsts]), np.array([f[1] for f in firsts], dtype=float)
    place = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum(abs(p[place == b].mean() - right[place == b].mean()) * (place == b).mean() for b in set(place)))


def main() -> None:
    """Print the table; with ``--write`` also put it into ``benchmarks/RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--embedder", default="lexical")
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--file", default="agent_bash")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    sessions = read(options.data / f"{options.file}.jsonl.gz")
    train, test = sessions[: options.train], sessions[options.train :]
    templates = [[normalize(c["command"]) for c in session["commands"]] for session in sessions]
    seen = {template for session in templates[: options.train] for template in session}
    held_out = [template for session in templates[options.train :] for template in session]
    lines = [
        f"{options.file}: {len(train)} sessions learned, {len(test)} predicted ({len(held_out)} steps; "
        f"{np.mean([template in seen for template in held_out]):.3f} of them with a template seen in training: "
        "the ceiling).",
    ]
    for online in (False, True):
        results = {}
        for name, model in (("most frequent", MostFrequent()), ("Markov-1", Markov1()), ("IPAM", IPAM())):
            results[name] = peer(model, templates[: options.train], templates[options.train :], online)
        results[OURS], firsts, times = ours(train, test, options.embedder, online)
        lines += ["", "## Online" if online else "## Nothing learned from the held-out sessions", ""]
        lines += table(results)
        lines += [
            "",
            f"Expected calibration error of the first guess: {calibration_error(firsts):.3f}. "
            f"Predict p50 {times['p50 ms']:.1f} ms, p99 {times['p99 ms']:.1f} ms; "
            f"learning {times['learning ms/command']:.2f} ms a command; embedder {options.embedder}.",
        ]
    print("\n".join(lines))
    if options.write:
        head = [
            "# Next-template accuracy on held-out sessions",
            "",
            f"Written by `python benchmarks/accuracy.py --embedder {options.embedder} --write` on {date.today()} "
            f"(omnimemory-procedural {__version__}, Python {platform.python_version()}, numpy {np.__version__}).",
            "",
        ]
        (HERE / "RESULTS.md").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
