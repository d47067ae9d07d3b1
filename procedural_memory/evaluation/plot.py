"""A picture of an evaluation: hits by list length, reliability, accuracy over time."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from procedural_memory.errors import InvalidInputError, MissingExtraError
from procedural_memory.evaluation import metrics
from procedural_memory.evaluation.predictors import TOP
from procedural_memory.evaluation.prequential import Trace
from procedural_memory.evaluation.sessions import LEVELS, EvaluationLevel

__all__ = ["check_plot", "plot"]

_FORMATS = (".pdf", ".png", ".svg")
_STRETCHES = 20


def check_plot(path: str | os.PathLike[str]) -> Path:
    """Return the file to draw to, or say at once why nothing could be drawn: an evaluation may take long.

    Raises
    ------
    InvalidInputError
        The file's suffix is none of the formats, or its folder does not exist.
    MissingExtraError
        matplotlib is not installed.
    """
    target = Path(path)
    if target.suffix not in _FORMATS:
        raise InvalidInputError(f"plot: must end with one of {', '.join(_FORMATS)}, got {str(target)!r}")
    if not target.parent.is_dir():
        raise InvalidInputError(f"plot: must lie in a folder that exists, got {str(target)!r}")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "examples")
    return target


def plot(traces: Mapping[str, Trace], path: str | os.PathLike[str], title: str = "") -> None:
    """Draw traces of predictors on the same steps; the first is the one whose reliability is shown.

    Parameters
    ----------
    traces : mapping
        From the predictor's name to its `Trace`.
    path : str or path
        ``.png``, ``.svg`` or ``.pdf``.
    title : str
    """
    target = check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    if title:
        figure.suptitle(title)
    rows = figure.subplots(len(LEVELS), 3)
    for (hits, bins, course), level in zip(rows, LEVELS, strict=True):
        _hits(hits, traces, level)
        _reliability(bins, next(iter(traces.values())), level)
        _course(course, traces, level)
    rows[0][0].legend(fontsize=6)
    figure.savefig(target, dpi=80)


def _hits(axes: Any, traces: Mapping[str, Trace], level: EvaluationLevel) -> None:
    lengths = range(1, TOP + 1)
    for place, (name, trace) in enumerate(traces.items()):
        ranks = trace.levels[level].rank
        rates = [metrics.macro_mean(metrics.hit_rate(ranks, k), trace.memory) for k in lengths]
        axes.plot(lengths, rates, label=name, **_style(place))
    axes.set(title=f"{level}: hit@k", xlabel="k", ylim=(0, None))


def _reliability(axes: Any, trace: Trace, level: EvaluationLevel) -> None:
    steps = trace.levels[level]
    claims = steps.first > 0.0
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    if claims.any():
        right = metrics.hit_rate(steps.rank, 1)[claims]
        said, was, _ = metrics.reliability(steps.first[claims], right)
        error = metrics.calibration_error(steps.first[claims], right)
        axes.plot(said, was, marker="o", **_style(0))
        axes.text(0.05, 0.9, f"ECE {error:.3f}")
    axes.set(title=f"{level}: reliability of the first", xlabel="probability", ylabel="share right")


def _course(axes: Any, traces: Mapping[str, Trace], level: EvaluationLevel) -> None:
    for place, (_, trace) in enumerate(traces.items()):
        # Memories side by side: what is asked is how accuracy grows with what a memory has seen.
        age = np.concatenate([np.linspace(0, 1, n, endpoint=False) for n in np.bincount(trace.memory)])
        stretch = np.minimum((age * _STRETCHES).astype(int), _STRETCHES - 1)
        hits = metrics.hit_rate(trace.levels[level].rank, 1)
        present = np.unique(stretch)
        axes.plot((present + 0.5) / _STRETCHES, [hits[stretch == s].mean() for s in present], **_style(place))
    axes.set(title=f"{level}: hit@1 over time", xlabel="share of the steps done", ylim=(0, None))


def _style(place: int) -> dict[str, Any]:
    return {"linewidth": 2.5, "color": "black", "zorder": 5} if place == 0 else {"linewidth": 1, "alpha": 0.8}
