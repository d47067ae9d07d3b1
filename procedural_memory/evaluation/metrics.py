"""Measures of ranked, probabilistic predictions: pure functions on arrays.

A ranking of at most k texts with probabilities is read as one distribution: what its probabilities leave over is
"other", shared equally by the texts seen so far that it does not list and one place for all new ones. So a step that
was never seen has a finite loss, and a predictor that says nothing is charged for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "area_interval",
    "area_under_curve",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "hit_rate",
    "log_loss",
    "macro_mean",
    "precision_and_coverage",
    "reciprocal_rank",
    "reliability",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FLOOR = 1e-6
"""Least probability that a log loss is taken of."""


def hit_rate(ranks: Ints, k: int) -> Floats:
    """Return 1.0 where the right text is among the first `k`, else 0.0.

    Parameters
    ----------
    ranks : array of int, shape (n,)
        Place of the right text in the ranking, from 0; -1 where it is not listed.
    k : int
    """
    return ((ranks >= 0) & (ranks < k)).astype(float)


def reciprocal_rank(ranks: Ints, k: int) -> Floats:
    """Return 1 / (place from 1) of the right text, 0.0 where it is not among the first `k`."""
    return np.where(hit_rate(ranks, k) > 0, 1.0 / (np.maximum(ranks, 0) + 1.0), 0.0)


def _other(listed: Sequence[float], seen: int) -> tuple[float, int]:
    """Return the probability of each text that is not listed, and how many of them there are."""
    places = max(seen - len(listed), 0) + 1
    return max(0.0, 1.0 - sum(listed)) / places, places


def log_loss(listed: Sequence[float], rank: int, seen: int) -> float:
    """Return the negative natural logarithm of the probability that the right text was given.

    Parameters
    ----------
    listed : sequence of float
        Probabilities of the listed texts.
    rank : int
        Place of the right text from 0; -1 where it is not listed.
    seen : int
        How many distinct texts were seen so far.
    """
    right = listed[rank] if rank >= 0 else 0.0
    if not right > 0.0:  # not listed, or listed without a claim
        right = _other(listed, seen)[0]
    return float(-np.log(min(1.0, max(right, FLOOR))))


def brier_score(listed: Sequence[float], rank: int, seen: int) -> float:
    """Return the squared distance between the distribution and what happened, in 0..2 (Brier, 1950).

    Parameters are those of `log_loss`.
    """
    each, places = _other(listed, seen)
    right = listed[rank] if rank >= 0 else each
    return sum(p * p for p in listed) + places * each * each - 2.0 * right + 1.0


def reliability(probabilities: Floats, right: Floats, bins: int = 15) -> tuple[Floats, Floats, Ints]:
    """Return what the points of a reliability diagram are, in bins of equal mass.

    Parameters
    ----------
    probabilities : array of float, shape (n,)
    right : array of float, shape (n,)
        1.0 where the prediction was right.
    bins : int

    Returns
    -------
    mean_probability, share_right : array of float, shape (m,)
        Of each bin that is not empty, m <= bins.
    sizes : array of int, shape (m,)
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return (
        np.array([probabilities[part].mean() for part in parts]),
        np.array([right[part].mean() for part in parts]),
        np.array([part.size for part in parts], dtype=np.int64),
    )


def calibration_error(probabilities: Floats, right: Floats, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal mass (Naeini et al., 2015); nan of nothing."""
    if not probabilities.size:
        return float("nan")
    said, was, sizes = reliability(probabilities, right, bins)
    return float(np.average(np.abs(said - was), weights=sizes))


def precision_and_coverage(probabilities: Floats, right: Floats, threshold: float) -> tuple[float, float]:
    """Return the share right of what is at least so probable (nan of nothing), and its share of all."""
    sure = probabilities >= threshold
    precision = float(right[sure].mean()) if sure.any() else float("nan")
    return precision, float(sure.mean()) if sure.size else float("nan")


def macro_mean(values: Floats, groups: Ints) -> float:
    """Return the mean over groups of each group's mean; nan of nothing."""
    if not values.size:
        return float("nan")
    _, places = np.unique(groups, return_inverse=True)
    return float(np.mean(np.bincount(places, values) / np.bincount(places)))


def bootstrap_interval(values: Floats, units: Ints, groups: Ints, draws: int = 1000) -> tuple[float, float]:
    """Return a 95 % percentile interval of `macro_mean`, resampling whole units within each group.

    Parameters
    ----------
    values : array of float, shape (n,)
    units, groups : array of int, shape (n,)
        The unit (a session, or a block of steps) and the group (a memory) that each value belongs to. Values of one
        unit are not independent, so units are drawn, not values.
    draws : int
    """
    if not values.size:
        return float("nan"), float("nan")
    random = np.random.default_rng(0)
    means = []
    for group in np.unique(groups):
        member = groups == group
        _, places = np.unique(units[member], return_inverse=True)
        sums, sizes = np.bincount(places, values[member]), np.bincount(places)
        drawn = random.integers(0, len(sizes), (draws, len(sizes)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    low, high = np.percentile(np.mean(means, axis=0), [2.5, 97.5])
    return float(low), float(high)


def area_under_curve(scores: Floats, right: Floats) -> float:
    """Return the area under the ROC curve: the share of pairs of a right one and a wrong one that are told apart.

    Equal scores count one half (Mann and Whitney, 1947); nan where there are not both.
    """
    order = np.argsort(scores, kind="stable")
    _, places, sizes = np.unique(scores[order], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2.0)[places]
    good = right[order] > 0
    n, m = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - n * (n + 1) / 2.0) / (n * m)) if n and m else float("nan")


def area_interval(scores: Floats, right: Floats, draws: int = 1000) -> tuple[float, float]:
    """Return a 95 % percentile interval of `area_under_curve`, resampling the right ones and the wrong ones."""
    random = np.random.default_rng(0)
    good, bad = scores[right > 0], scores[right <= 0]
    if not (good.size and bad.size):
        return float("nan"), float("nan")
    labels = np.repeat([1.0, 0.0], [good.size, bad.size])
    areas = [
        area_under_curve(np.concatenate([random.choice(good, good.size), random.choice(bad, bad.size)]), labels)
        for _ in range(draws)
    ]
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)
