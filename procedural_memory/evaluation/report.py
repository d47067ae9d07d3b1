"""What an evaluation found: as plain numbers, as tables, as markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from procedural_memory.evaluation import metrics
from procedural_memory.evaluation.metrics import Bools
from procedural_memory.evaluation.predictors import TOP
from procedural_memory.evaluation.prequential import BLOCK, LevelTrace, Trace
from procedural_memory.evaluation.sessions import LEVELS, EvaluationLevel
from procedural_memory.types import UNASKED_PROBABILITY

__all__ = ["NOTES", "SURE", "THRESHOLDS", "Table", "best_peer", "markdown", "summary", "tables"]

SURE = 0.7
"""From this probability on a prediction is called sure, and its precision reported."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Least probabilities for which it is reported how often something would be shown, and how often that is right."""

BINS = 15
_INTERVAL = "hit@1 95 %"

NOTES = (
    "Each step is predicted before it is learned; a step never seen counts as a miss unless it was put together right. "
    "hit@k: the right one is among the first k; MRR over the first 10; 95 %: bootstrap interval over sessions (over "
    f"blocks of {BLOCK} steps where there are no sessions). Means are over the steps of each memory, then over "
    f"memories; calibration error (ECE, {BINS} bins of equal mass, of the first prediction), precision and times are "
    "over all steps. Log loss (natural) and Brier score: what the probabilities of a list leave over is shared equally "
    "by the texts seen so far that it does not list and one place for all new ones. default: template hits of the list "
    "of command lines. A line with an open placeholder keeps its rank and claims no probability of being the exact "
    "line."
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: columns that begin with ``#`` hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary(trace: Trace) -> dict[str, Any]:
    """Return the measures of a trace: ``steps``, ``sessions``, ``memories``, and ``levels`` by level and part.

    A part is ``overall`` or one of the kinds of steps; each has ``steps`` and, unless it is empty, the measures.
    A measure that is not defined is None.
    """
    return {
        "steps": len(trace.memory),
        "sessions": trace.sessions,
        "memories": len(np.unique(trace.memory)),
        "levels": {
            level: {name: _measures(trace, trace.levels[level], part) for name, part in _parts(trace, level).items()}
            for level in LEVELS
        },
    }


def _parts(trace: Trace, level: EvaluationLevel) -> dict[str, Bools]:
    steps = trace.levels[level]
    return {
        "overall": np.ones(len(trace.memory), dtype=bool),
        "repeated in the session": steps.repeated,
        "known from other sessions": steps.seen & ~steps.repeated,
        "first time": ~steps.seen & ~steps.repeated,
        "multi-line": trace.multi_line,
        "right after a failure": trace.after_failure,
    }


def _measures(trace: Trace, level: LevelTrace, part: Bools) -> dict[str, Any]:
    memory, unit = trace.memory[part], trace.unit[part]
    if not len(memory):
        return {"steps": 0}
    rank, first = level.rank[part], level.first[part]
    top = metrics.hit_rate(rank, 1)
    claims = first > 0.0
    precision, coverage = metrics.precision_and_coverage(first, top, SURE)

    def mean(values: metrics.Floats) -> float:
        return metrics.macro_mean(values, memory)

    found: dict[str, Any] = {"steps": len(memory)}
    found |= {f"hit@{k}": mean(metrics.hit_rate(rank, k)) for k in (1, 3, 5)}
    found |= {_INTERVAL: metrics.bootstrap_interval(top, unit, memory)}
    found |= {f"MRR@{TOP}": mean(metrics.reciprocal_rank(rank, TOP))}
    found |= {f"default hit@{k}": mean(metrics.hit_rate(level.default_rank[part], k)) for k in (1, 3, 5)}
    found |= {
        "coverage": mean(level.listed[part].astype(float)),
        "seen": mean(level.seen[part].astype(float)),
        "log loss": mean(level.log_loss[part]),
        "Brier": mean(level.brier[part]),
        "ECE": metrics.calibration_error(first[claims], top[claims], BINS),
        "shown from": {str(least): _shown(first, top, least) for least in THRESHOLDS},
        f"right at p>={SURE}": precision,
        f"share at p>={SURE}": coverage,
        "p50 ms": float(np.percentile(level.seconds[part], 50) * 1e3),
        "p99 ms": float(np.percentile(level.seconds[part], 99) * 1e3),
    }
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()}


def _shown(first: metrics.Floats, top: metrics.Floats, least: float) -> dict[str, float | None]:
    right, share = metrics.precision_and_coverage(first, top, least)
    return {"share": share, "right": None if math.isnan(right) else right}


_RANKS = ("hit@1", _INTERVAL, "hit@3", "hit@5", f"MRR@{TOP}", "coverage")
_DEFAULT = ("default hit@1", "default hit@5")
_PROBABILITIES = ("log loss", "Brier", "ECE", f"right at p>={SURE}", f"share at p>={SURE}", "p50 ms", "p99 ms")


def tables(summaries: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return tables of one or several predictors that were evaluated on the same steps.

    Parameters
    ----------
    summaries : mapping
        From the predictor's name to its `summary`. The first is the one in question: the kinds of steps are shown
        for it, with its ratio to the best of the others.
    """
    name, own = next(iter(summaries.items()))
    found = []
    for level in LEVELS:
        overall = own["levels"][level]["overall"]
        title = (
            f"{level}: {overall['steps']} steps, {own['sessions']} sessions, "
            f"{own['memories']} memor{'y' if own['memories'] == 1 else 'ies'}; "
            f"{overall['seen']:.3f} of the steps seen before (the ceiling without generalising)"
        )
        found += [
            _overall(title, level, (*_RANKS, *(_DEFAULT if level == "template" else ())), summaries),
            _overall(f"{level}: probabilities and times", level, _PROBABILITIES, summaries),
            _by_kind(name, level, summaries),
        ]
    return [*found, _silence(name, own["levels"]["full"]["overall"]["shown from"])]


def _silence(name: str, shown: Mapping[str, Mapping[str, float | None]]) -> Table:
    rows = [
        (
            least + " (`UNASKED_PROBABILITY`)" * (float(least) == UNASKED_PROBABILITY),
            _cell(at, "share"),
            _cell(at, "right"),
        )
        for least, at in shown.items()
    ]
    return Table(
        f"full: the first line, where it is probable enough: {name}", ("from", "#shown", "#right"), tuple(rows)
    )


def _overall(
    title: str, level: EvaluationLevel, measures: tuple[str, ...], summaries: Mapping[str, Mapping[str, Any]]
) -> Table:
    rows = [
        (who, *(_cell(each["levels"][level]["overall"], measure) for measure in measures))
        for who, each in summaries.items()
    ]
    return Table(title, ("predictor", *(f"#{measure}" for measure in measures)), tuple(rows))


def _by_kind(name: str, level: EvaluationLevel, summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    peers = len(summaries) > 1
    rows = []
    for part, own in summaries[name]["levels"][level].items():
        row = [part, str(own["steps"])]
        for measure in ("hit@1", "hit@5"):
            row.append(_cell(own, measure))
            if peers:
                row.append(_against(name, level, part, measure, summaries))
        rows.append((*row, _cell(own, f"MRR@{TOP}"), _cell(own, "ECE")))
    heads = [head for measure in ("hit@1", "hit@5") for head in (f"#{measure}", *(["best peer"] * peers))]
    return Table(
        f"{level}, by kind of step: {name}", ("steps that are", "#steps", *heads, f"#MRR@{TOP}", "#ECE"), tuple(rows)
    )


def best_peer(
    name: str, level: EvaluationLevel, part: str, measure: str, summaries: Mapping[str, Mapping[str, Any]]
) -> tuple[str, float] | None:
    """Return which other predictor has the highest value of a measure, and the value; None where none has one."""
    values = {who: each["levels"][level][part].get(measure) for who, each in summaries.items() if who != name}
    known = {who: float(value) for who, value in values.items() if value is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None


def _against(
    name: str, level: EvaluationLevel, part: str, measure: str, summaries: Mapping[str, Mapping[str, Any]]
) -> str:
    best = best_peer(name, level, part, measure, summaries)
    if best is None:
        return "–"
    who, value = best
    ratio = f"{summaries[name]['levels'][level][part][measure] / value:.2f}x" if value else "–"
    return f"{ratio} {who} {value:.3f}"


def _cell(measures: Mapping[str, Any], measure: str) -> str:
    value = measures.get(measure)
    if value is None:
        return "–"
    if measure == _INTERVAL:
        return "{:.3f}-{:.3f}".format(*value)
    return f"{value:.2f}" if measure.endswith("ms") else f"{value:.3f}"


def markdown(found: Sequence[Table]) -> list[str]:
    """Return tables as lines of markdown."""
    lines: list[str] = []
    for table in found:
        heads = [column.lstrip("#") for column in table.columns]
        marks = ["--:" if column.startswith("#") else "---" for column in table.columns]
        lines += ["", f"**{table.title}**", "", _row(heads), _row(marks), *map(_row, table.rows)]
    return lines[1:]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
