"""How a session will end: a regularised logistic regression on the beginnings of sessions whose outcome is known.

Each learned session is looked at after 5, 10, 20, … steps and at its end, so that the model knows sessions that are
under way; a session counts once, however often it is looked at. What is looked at: a few counts, which programs came
after which, and templates that alone tell success from failure. The weights have normal priors, as wide as the
sessions learned say they should be: where nothing tells, the weights stay near zero. The interval is that of the normal
approximation at their posterior mode, and so is the probability, which is drawn towards one half where the weights are
unsure (MacKay, 1992: "The evidence framework applied to classification networks").

The fit reads the newest sessions in canonical order and nothing else, so that neither the order in which they were
learned nor what was asked before matters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from procedural_memory.memory.causal import explain_outcome, log_odds
from procedural_memory.memory.courses import CourseStep, unpack_course
from procedural_memory.storage.base import Course, Store
from procedural_memory.types import OutcomePrediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OutcomeModel", "OutcomePredictor", "fit_logistic"]

SESSIONS: Final = 1_000
"""The newest sessions, from which the weights are fitted."""

_POINTS: Final = (5, 10, 20, 40, 80, 160, 320)
_COUNTS: Final = 9
_PAIRS: Final = 64
_TEMPLATES: Final = 32
_LEAST: Final = 5
"""So many sessions must have a pair or template, and as many lack it: of fewer, nothing is learned."""
_INTERCEPT: Final = 0.25
"""Precision of the prior of the intercept: before anything is known, nearly anything is possible."""
_SHAPE, _RATE = 1.0, 0.2
"""Of the gamma prior of the other precisions: it only matters while there are few sessions."""
_WIDEST, _NARROWEST, _FIRST = 1.0, 200.0, 20.0
"""Precisions of the other priors: the least, the most, and where the search for them begins."""
_ROUNDS: Final = 20
_SETTLED: Final = 1e-4
_Z95: Final = 1.959963984540054


class _Beginning:
    """A course, taken apart: its counts after any number of steps, and after how many steps each trait was there."""

    __slots__ = ("length", "steps", "traits")

    def __init__(self, packed: bytes) -> None:
        self.steps: list[CourseStep] = list(unpack_course(packed))
        self.length = len(self.steps)
        self.traits: dict[tuple[int, ...], int] = {}
        for number, step in enumerate(self.steps, 1):
            self.traits.setdefault((step.template,), number)
        for number, (first, second) in enumerate(pairwise(self.steps), 2):
            self.traits.setdefault((first.program, second.program), number)

    def counts(self, length: int) -> list[float]:
        """Return the counts after `length` steps."""
        steps = self.steps[:length]
        tests = [step for step in steps if step.tested]
        failed = sum(step.failed for step in steps)
        in_a_row = next((n for n, step in enumerate(reversed(steps)) if not step.failed), length)
        return [
            math.log1p(length),
            math.log1p(failed),
            failed / max(length, 1),
            float(in_a_row > 0),
            min(in_a_row, 3),
            math.log1p(sum(step.wrote for step in steps)),
            len(tests) / max(length, 1),
            float(bool(tests) and tests[-1].passed),
            float(bool(tests) and tests[-1].failed),
        ]

    def points(self) -> list[int]:
        """Return after how many steps a finished session is looked at."""
        return [*(point for point in _POINTS if point < self.length), self.length]


_beginning: Final = lru_cache(maxsize=2 * SESSIONS)(_Beginning)


@dataclass(frozen=True, slots=True)
class OutcomeModel:
    """Weights of what is looked at, as fitted.

    Attributes
    ----------
    columns : dict
        Of the traits: ``(template,)`` or ``(program, program)`` by id -> its column after the counts.
    mean, deviation, least, most : ndarray of float64, shape (9,)
        Of the counts in the sessions learned. Counts beyond what was seen are taken for the least or most seen.
    weights : ndarray of float64, shape (1 + 9 + len(columns),)
    covariance : ndarray of float64, shape (len(weights), len(weights))
    """

    columns: dict[tuple[int, ...], int]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def fit(cls, courses: Sequence[Course]) -> OutcomeModel:
        """Return the model of courses with a known outcome; of none, one that says one half."""
        beginnings = [_beginning(course.steps) for course in courses]
        columns = {trait: column for column, trait in enumerate(_telling(courses, beginnings))}
        looks = [(place, length) for place, found in enumerate(beginnings) for length in found.points()]
        counts = np.array([beginnings[place].counts(length) for place, length in looks]).reshape(-1, _COUNTS)
        right = np.array([float(courses[place].success) for place, _ in looks])
        shares = np.array([1.0 / len(beginnings[place].points()) for place, _ in looks])
        if looks:
            # A count that hardly varies must not become a strong one by being scaled up.
            mean, deviation = counts.mean(0), counts.std(0) + 0.1
            least, most = counts.min(0), counts.max(0)
        else:
            mean, deviation, least, most = np.zeros(_COUNTS), np.ones(_COUNTS), np.zeros(_COUNTS), np.zeros(_COUNTS)
        groups = (_COUNTS, len(columns))
        frame = cls(columns, mean, deviation, least, most, np.zeros(0), np.zeros((0, 0)))
        rows = np.zeros((len(looks), 1 + sum(groups)))
        for number, (place, length) in enumerate(looks):
            rows[number] = frame._row(beginnings[place], length)
        weights, covariance = fit_logistic(rows, right, shares, groups)
        return replace(frame, weights=weights, covariance=covariance)

    def estimate(self, steps: bytes) -> tuple[float, float, float]:
        """Return the probability that a course ends in success, and the ends of its 95 % interval."""
        course = _Beginning(steps)
        row = self._row(course, course.length)
        mode = float(row @ self.weights)
        variance = float(row @ self.covariance @ row)
        margin = _Z95 * math.sqrt(variance)
        # The mean of the logistic of a normal variable, nearly (MacKay, 1992).
        probability = _logistic(mode / math.sqrt(1.0 + math.pi * variance / 8.0))
        low, high = _logistic(mode - margin), _logistic(mode + margin)
        return probability, min(low, probability), max(high, probability)

    def _row(self, course: _Beginning, length: int) -> NDArray[np.float64]:
        row = np.zeros(1 + _COUNTS + len(self.columns))
        row[0] = 1.0
        row[1 : 1 + _COUNTS] = (np.clip(course.counts(length), self.least, self.most) - self.mean) / self.deviation
        for trait, seen in course.traits.items():
            if seen <= length and (column := self.columns.get(trait)) is not None:
                row[1 + _COUNTS + column] = 1.0
        return row


def _telling(courses: Sequence[Course], beginnings: Sequence[_Beginning]) -> list[tuple[int, ...]]:
    """Return the traits that are looked at: the most common pairs, and the templates that tell most surely.

    Of templates there are many, and most tell nothing: only those count whose 95 % interval leaves out "no difference".
    """
    ended: tuple[Counter[tuple[int, ...]], ...] = (Counter(), Counter())
    totals = [0, 0]
    for course, found in zip(courses, beginnings, strict=True):
        ended[course.success].update(found.traits.keys())
        totals[course.success] += 1
    bad, good = ended
    pairs, templates = [], []
    for trait in good.keys() | bad.keys():
        sessions = good[trait] + bad[trait]
        if not _LEAST <= sessions <= len(courses) - _LEAST:
            continue
        if len(trait) == 2:
            pairs.append((-sessions, trait))
            continue
        ratio, error = log_odds(good[trait], bad[trait], totals[1], totals[0])
        if abs(ratio) > _Z95 * error:
            templates.append((-abs(ratio) / error, trait))
    # Ids break ties, so that the same sessions give the same columns in every process.
    return [trait for _, trait in sorted(pairs)[:_PAIRS]] + [trait for _, trait in sorted(templates)[:_TEMPLATES]]


def fit_logistic(
    rows: NDArray[np.float64], right: NDArray[np.float64], shares: NDArray[np.float64], groups: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the posterior mode of the weights of a logistic regression, and the covariance there.

    Newton's steps and MacKay's (1992) updates of the priors' precisions, in turn.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, 1 + sum(groups))
        The first column is 1.
    right : ndarray of float64, shape (n,)
        1.0 for a success, 0.0 for a failure.
    shares : ndarray of float64, shape (n,)
        How much each row counts.
    groups : sequence of int
        How many of the other columns, from left to right, share one prior.

    Returns
    -------
    weights : ndarray of float64, shape (1 + sum(groups),)
    covariance : ndarray of float64, shape (1 + sum(groups), 1 + sum(groups))
    """
    weights = np.zeros(rows.shape[1])
    precisions = np.full(len(weights), _FIRST)
    precisions[0] = _INTERCEPT
    ends = [*accumulate(groups, initial=1)]
    parts = [slice(first, last) for first, last in pairwise(ends) if first < last]
    for _ in range(_ROUNDS):
        said = 1.0 / (1.0 + np.exp(-(rows @ weights)))
        curvature = (rows * (shares * said * (1.0 - said))[:, None]).T @ rows + np.diag(precisions)
        covariance = np.asarray(np.linalg.inv(curvature), dtype=np.float64)
        step = covariance @ (rows.T @ (shares * (right - said)) - precisions * weights)
        weights = weights + step
        if float(np.abs(step).max()) < _SETTLED:
            break
        for part in parts:
            own = weights[part]
            # How many of the weights the data determine, rather than their prior.
            told = len(own) - float(precisions[part] @ covariance.diagonal()[part])
            precision = (told + 2.0 * _SHAPE) / (float(own @ own) + 2.0 * _RATE)
            precisions[part] = min(max(precision, _WIDEST), _NARROWEST)
    return weights, covariance


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


class OutcomePredictor:
    """Predicts how a session ends from what a store holds; fits anew when a session with an outcome was learned."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fitted: tuple[int, OutcomeModel] | None = None

    def predict(self, templates: Sequence[str], course: bytes, limit: int) -> OutcomePrediction:
        """Return the prediction for a session so far.

        Parameters
        ----------
        templates : sequence of str
            Of its steps, oldest first.
        course : bytes
            The same steps, packed.
        limit : int
            At most this many steps that speak for success, and against it.
        """
        probability, low, high = self._model().estimate(course)
        told = explain_outcome(self._store, templates, limit)
        return OutcomePrediction(probability, low, high, told.raises, told.lowers, told.sessions)

    def forget(self) -> None:
        """Drop the fit: a change that was taken back may have been part of it."""
        self._fitted = None

    def _model(self) -> OutcomeModel:
        version = self._store.meta("courses") or 0
        if self._fitted is None or self._fitted[0] != version:
            self._fitted = version, OutcomeModel.fit(self._store.courses(SESSIONS))
        return self._fitted[1]
