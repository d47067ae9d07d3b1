"""Accuracy on real sessions, beside the peers, in one pass; writes RESULTS.md and plots.

Every data set is a section of RESULTS.md, as is a table of held-out sessions: the first 400 sessions of agent_bash
learned, the other 100 predicted; and one of how well outcomes are foreseen. A run writes the sections that it measured
and leaves the others, each of which says when and how it came about.

Run: python benchmarks/evaluate.py [--data FOLDER] [--data-set NAME …] [--processes 2] [--write]
"""

from __future__ import annotations

import argparse
import platform
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from peers import make_peers, missing
from train_weights import DATA, as_told, without

from procedural_memory import ProceduralMemoryEngine, __version__
from procedural_memory.evaluation import outcomes, report
from procedural_memory.evaluation.plot import plot
from procedural_memory.evaluation.predictors import EnginePredictor, HeldOutEnginePredictor, Predictor
from procedural_memory.evaluation.prequential import Trace, evaluate
from procedural_memory.evaluation.sessions import EvaluationLevel, EvaluationSession, as_sessions, chosen
from procedural_memory.sources.files import read_sessions

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
OURS = "this package"
CLASSIC = ("most frequent", "Markov-1", "IPAM")


@dataclass(frozen=True)
class DataSet:
    """What is evaluated, and how.

    A target is (level, part, measure, least, aim): ratios to the best peer; for ECE, precision and times the values
    themselves.
    """

    about: str
    file: str
    per_user: bool = False
    limit: int | None = None
    limit_steps: int | None = None
    warm_up: int = 0
    online: bool = True
    peers: tuple[str, ...] | None = None
    outcomes: bool = False
    targets: tuple[tuple[EvaluationLevel, str, str, float, float], ...] = ()


BOTH: tuple[EvaluationLevel, ...] = ("template", "full")
EVERYWHERE = tuple(
    (level, "overall", measure, least, aim)
    for level in BOTH
    for measure, least, aim in (("ECE", 0.03, 0.015), ("p50 ms", 6.0, 1.0), ("p99 ms", 12.0, 3.0))
)
SURE_RIGHT = f"right at p>={report.SURE}"
VALUES = ("ECE", SURE_RIGHT, "p50 ms", "p99 ms")
"""Measures whose targets are values, not ratios."""

DATA_SETS = {
    "agent_bash": DataSet(
        "One memory, the sessions in the order of the file.",
        "agent_bash",
        targets=(
            ("template", "overall", "hit@1", 1.10, 1.20),
            ("template", "overall", "hit@5", 1.06, 1.12),
            ("full", "overall", "hit@1", 1.6, 2.2),
            ("full", "overall", "hit@5", 1.45, 1.9),
            ("template", "right after a failure", "hit@1", 1.15, 1.35),
            ("full", "overall", SURE_RIGHT, 0.85, 0.9),
            *EVERYWHERE,
        ),
    ),
    "training_shell": DataSet(
        "One memory, the sessions in the order of the file.",
        "training_shell",
        targets=(
            *(
                (level, "overall", measure, 1.08, aim)
                for measure, aim in (("hit@1", 1.17), ("hit@5", 1.15))
                for level in BOTH
            ),
            *EVERYWHERE,
        ),
    ),
    "process_accounting": DataSet(
        "The first 1,000 program names of each of the first 10 users; one memory for each user.",
        "process_accounting",
        per_user=True,
        limit=10,
        limit_steps=1000,
        targets=(("template", "overall", "hit@1", 1.02, 1.05), *EVERYWHERE),
    ),
    "held-out": DataSet(
        "The first 400 sessions of agent_bash learned, the other 100 predicted; nothing learned from those.",
        "agent_bash",
        warm_up=400,
        online=False,
        peers=CLASSIC,
    ),
    "held-out, online": DataSet(
        "The first 400 sessions of agent_bash learned, the other 100 predicted, each step learned afterwards.",
        "agent_bash",
        warm_up=400,
        peers=CLASSIC,
    ),
    "agent_bash, outcomes": DataSet(
        "One memory, the sessions in the order of the file. " + outcomes.NOTES, "agent_bash", outcomes=True
    ),
}


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    data: Path
    embedder: str
    limit: int | None


def load(name: str, options: Options) -> list[EvaluationSession]:
    """Return the sessions of a data set."""
    wanted = DATA_SETS[name]
    sessions = as_sessions(read_sessions(options.data / f"{wanted.file}.jsonl.gz"))
    limits = [wanted.limit, options.limit and options.limit + wanted.warm_up]
    limit = min((most for most in limits if most), default=None)
    return chosen(sessions, limit=limit, limit_steps=wanted.limit_steps)


def predictors(name: str, embedder: str) -> dict[str, Callable[[], Predictor]]:
    """Return what makes each predictor of a data set, ours first."""
    wanted = DATA_SETS[name]
    engine = EnginePredictor if wanted.online else HeldOutEnginePredictor

    def ours() -> Predictor:
        made = ProceduralMemoryEngine(embedder=embedder)
        made._rankers.restart(without(wanted.file))
        return engine(made)

    makers: dict[str, Callable[[], Predictor]] = {OURS: ours}
    return makers | {peer: make for peer, make in make_peers().items() if wanted.peers is None or peer in wanted.peers}


def measure(job: tuple[str, str, Options]) -> Trace:
    """Evaluate one predictor on one data set."""
    name, predictor, options = job
    wanted = DATA_SETS[name]
    make = predictors(name, options.embedder)[predictor]
    sessions = load(name, options)
    return evaluate(sessions, make, per_user=wanted.per_user, warm_up=wanted.warm_up, online=wanted.online)


def foresee(name: str, options: Options) -> dict[str, outcomes.OutcomeTrace]:
    """Evaluate how well the outcomes of a data set are foreseen."""
    makers = outcomes.forecasters(lambda: ProceduralMemoryEngine(embedder=options.embedder))
    return outcomes.evaluate_outcomes(load(name, options), makers, per_user=DATA_SETS[name].per_user)


def targets(name: str, summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of a data set's targets and what was reached."""
    rows = []
    for level, part, measure, least, aim in DATA_SETS[name].targets:
        own = summaries[OURS]["levels"][level][part].get(measure)
        best = report.best_peer(OURS, level, part, measure, summaries)
        reached, against = own, ""
        if measure not in VALUES and own is not None and best is not None and best[1] > 0:
            reached, against = own / best[1], f"{own:.3f} against {best[0]} {best[1]:.3f}"
        rows.append(_target_row(f"{level}, {part}: {measure}", reached, least, aim, measure, against))
    if not rows:
        return []
    table = report.Table("Targets", ("measure", "#reached", "#at least", "#aim", "met", "of"), tuple(rows))
    return ["", *report.markdown([table])]


def _target_row(
    what: str, reached: float | None, least: float, aim: float, measure: str, against: str
) -> tuple[str, ...]:
    smaller = measure == "ECE" or measure.endswith("ms")
    unit = "" if measure in VALUES else "x"
    met = "–"
    if reached is not None:
        good = [reached <= bound if smaller else reached >= bound for bound in (least, aim)]
        met = "aim" if good[1] else "yes" if good[0] else "no"
    shown = "–" if reached is None else f"{reached:.3f}{unit}"
    return what, shown, f"{least:g}{unit}", f"{aim:g}{unit}", met, against


def section(name: str, traces: Mapping[str, Trace], options: Options) -> list[str]:
    """Return the section of a data set."""
    summaries = {predictor: report.summary(trace) for predictor, trace in traces.items()}
    absent = [peer for peer in missing() if DATA_SETS[name].peers is None]
    return [
        *_head(name, f"embedder {options.embedder}; start weights trained without this data set"),
        *(["", f"Left out: {', '.join(absent)}."] if absent else []),
        *targets(name, summaries),
        "",
        *report.markdown(report.tables(summaries)),
    ]


def outcome_section(name: str, foreseen: Mapping[str, outcomes.OutcomeTrace]) -> list[str]:
    """Return the section of a data set whose outcomes were foreseen."""
    told = {look: trace.summary() for look, trace in foreseen.items()}
    return [*_head(name, "no embedding and no trained weight takes part"), "", *report.markdown(outcomes.tables(told))]


def _head(name: str, how: str) -> list[str]:
    command = shlex.join(["python", "benchmarks/evaluate.py", *as_told(sys.argv[1:])])
    return [
        f"## {name}",
        "",
        DATA_SETS[name].about,
        "",
        f"Written by `{command}` on {date.today()} (omnimemory-procedural {__version__}, Python "
        f"{platform.python_version()}, numpy {np.__version__}; {how}).",
    ]


HEAD = ["# Accuracy on real sessions", "", report.NOTES]


def updated(text: str, sections: Mapping[str, Sequence[str]]) -> str:
    """Return RESULTS.md with the sections that were measured written anew, in the order of `DATA_SETS`."""
    found = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}
    kept = {name: "## " + part.rstrip("\n") for name, part in found.items() if name in DATA_SETS}
    kept |= {name: "\n".join(lines) for name, lines in sections.items()}
    return "\n\n".join(["\n".join(HEAD), *(kept[name] for name in DATA_SETS if name in kept)]) + "\n"


def main() -> None:
    """Print the sections; with ``--write`` also put them into ``benchmarks/RESULTS.md`` and draw the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--data-set", action="append", choices=DATA_SETS, help="only this one; may be repeated")
    parser.add_argument("--embedder", default="lexical")
    parser.add_argument("--limit", type=int, help="predict only so many sessions, for a quick look; writes nothing")
    parser.add_argument("--processes", type=int, default=1, help="predictors side by side; times are then less exact")
    parser.add_argument("--write", action="store_true")
    chosen_options = parser.parse_args()
    if chosen_options.write and chosen_options.limit:
        parser.error("--limit is for a look and --write for the record: use one of them")
    options = Options(chosen_options.data, chosen_options.embedder, chosen_options.limit)
    names = chosen_options.data_set or list(DATA_SETS)
    jobs = [
        (name, predictor, options)
        for name in names
        if not DATA_SETS[name].outcomes
        for predictor in predictors(name, options.embedder)
    ]
    with ProcessPoolExecutor(chosen_options.processes) as pool:
        results = pool.map(measure, jobs)
        forecasts = {name: pool.submit(foresee, name, options) for name in names if DATA_SETS[name].outcomes}
        # A data set is written as soon as it is done: what was measured is kept when a run is cut short.
        for name in names:
            traces = {predictor: next(results) for where, predictor, _ in jobs if where == name}
            told = forecasts.get(name)
            lines = outcome_section(name, told.result()) if told else section(name, traces, options)
            print("\n".join(lines), flush=True)
            if chosen_options.write:
                old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
                RESULTS.write_text(updated(old, {name: lines}), encoding="utf-8")
                if traces and DATA_SETS[name].peers is None:
                    plot(traces, HERE / f"{name}.png", name)


if __name__ == "__main__":
    main()
