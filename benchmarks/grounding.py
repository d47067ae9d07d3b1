"""How well templates are turned into command lines, given that the right template is known.

Sessions are replayed online: each step is grounded, then learned. Prints hit rates of the exact line, calibration, and
for each fill rule how often it had a value and how often that was right. With ``--fit`` it also prints the weights of
the logistic model that the replayed sessions ask for.

Run: python benchmarks/grounding.py [--data FOLDER] [--files agent_bash training_shell] [--sessions 100] [--fit]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from train_weights import DATA

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.commands.normalize import analyze
from procedural_memory.commands.places import UNKNOWABLE, filling_order, places
from procedural_memory.evaluation.metrics import calibration_error
from procedural_memory.prediction.lines import FLOOR, Grounding, PlaceEvidence, log_odds
from procedural_memory.sources.files import read_sessions
from procedural_memory.validation import as_commands

K = 5

WEIGHTS = ("rule", "no rule", "past", "no past", "other", "other: past", "other: rules", "other: best")


class Decisions:
    """The values that a place might have had, as features of the logistic model, decision after decision."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []
        self.others: list[list[float]] = []
        self.decision: list[int] = []
        self.right: list[bool] = []
        self.other_right: list[bool] = []

    def add(self, seen: PlaceEvidence, right: str) -> None:
        """Add what was known of a place, and what stood there."""
        for value in dict.fromkeys([*seen.rules, *seen.shares]):
            odds, share = seen.rules.get(value, (FLOOR, ""))[0], seen.shares.get(value)
            past = FLOOR if share is None else log_odds(share)
            self.values.append([odds, float(value not in seen.rules), past, float(share is None)])
            self.decision.append(len(self.others))
            self.right.append(value == right)
        best = max((odds for odds, _ in seen.rules.values()), default=FLOOR)
        self.others.append([1.0, seen.log_rest, seen.no_rule_right, best])
        self.other_right.append(right not in seen.rules and right not in seen.shares)

    def fit(self, rounds: int = 2000, rate: float = 0.02) -> np.ndarray:
        """Return the weights of greatest likelihood, by gradient ascent (Adam, Kingma and Ba 2015)."""
        values, others, decision = np.array(self.values), np.array(self.others), np.array(self.decision)
        right, other_right = np.array(self.right, float), np.array(self.other_right, float)
        split, count = values.shape[1], len(others)
        weights = np.zeros(split + others.shape[1])
        mean, square = np.zeros_like(weights), np.zeros_like(weights)
        for step in range(1, rounds + 1):
            score, other = np.exp(values @ weights[:split]), np.exp(others @ weights[split:])
            total = other + np.bincount(decision, score, count)
            ahead = values.T @ (right - score / total[decision]), others.T @ (other_right - other / total)
            slope = np.concatenate(ahead) / count
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            weights += rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-9)
        return weights


def replay(sessions: list[dict[str, Any]], decisions: Decisions, rules: dict[str, list[int]]) -> str:
    """Ground and learn all steps; return a line of figures."""
    ranks, firsts, times = [], [], []
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        for session in sessions:
            live = engine.session(project=session["project"])
            for command, step in zip(as_commands("commands", session["commands"]), session["commands"], strict=True):
                analysis, values = analyze(command.command), live._context.values
                for _, right in values.judge(analysis):
                    for rule, was_right in right.items():
                        rules[rule][0] += 1
                        rules[rule][1] += was_right
                if engine._store.template_ids([analysis.template]):
                    begin = time.perf_counter()
                    grounding = Grounding(engine._store, values, session["project"], values.cwd)
                    found = [line for line in grounding.lines(analysis.template) if line.runnable]
                    times.append(time.perf_counter() - begin)
                    names = [line.command for line in found]
                    ranks.append(names.index(command.command) if command.command in names else len(names) + K)
                    if found:
                        firsts.append((found[0].probability, ranks[-1] == 0))
                    known: dict[int, str] = {}
                    for number in filling_order(analysis.template):
                        if places(analysis.template)[number].kind not in UNKNOWABLE:
                            evidence = grounding.evidence(analysis.template, number, known)
                            decisions.add(evidence, analysis.slots[number].value)
                        known[number] = analysis.slots[number].value
                live.record(command, output=step.get("output"))
                engine.stats()  # reads, and so catches up with the log
            live.close(session["outcome"])
    hits = [np.mean([rank < k for rank in ranks]) for k in (1, K)]
    error = calibration_error(*np.array(firsts, dtype=float).T)
    return (
        f"{len(ranks)} steps with a known template: exact line hit@1 {hits[0]:.3f}, hit@{K} {hits[1]:.3f}; "
        f"calibration error {error:.3f}; {np.median(times) * 1e3:.2f} ms a template"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--files", nargs="+", default=["agent_bash", "training_shell"])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    decisions = Decisions()
    table: dict[str, list[list[int]]] = {}
    for place, name in enumerate(options.files):
        rules: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        sessions = list(islice(read_sessions(options.data / f"{name}.jsonl.gz"), options.sessions))
        print(f"{name}: {replay(sessions, decisions, rules)}")
        for rule, counts in rules.items():
            table.setdefault(rule, [[0, 0] for _ in options.files])[place] = counts
    print("\n| fill rule |" + "".join(f" {name}: offered, right |" for name in options.files))
    print("|---|" + "---|" * len(options.files))
    for rule, row in sorted(table.items(), key=lambda item: -sum(right for _, right in item[1])):
        print(f"| {rule} |" + "".join(f" {offered}, {right / max(1, offered):.3f} |" for offered, right in row))
    if options.fit:
        print("\n" + ", ".join(f"{n} {w:.2f}" for n, w in zip(WEIGHTS, decisions.fit(), strict=True)))


if __name__ == "__main__":
    main()
