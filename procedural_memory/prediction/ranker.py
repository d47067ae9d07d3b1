"""Rankers: from what the experts say of each candidate to one calibrated probability, learned online.

A conditional logit (McFadden 1974) over the candidates and an explicit "none of these". Its weights are the sum of
shared ones and of those of the situation; to its scores a sparse memory of pairs (last steps, candidate) adds what the
features cannot express (a maximum-entropy residual, hashed as in Weinberger et al. 2009). Both follow the gradient of
the log-likelihood with AdaGrad steps (Duchi et al. 2011).

There are two, of one kind: one ranks templates, one the command lines that these and the counts of lines propose.

The weights start from those shipped with the package and follow the user. They are the one part of the memory that
depends on the order of learning: the counts they weigh are exact.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from procedural_memory.prediction.features import FEATURES, SITUATIONS, Features
from procedural_memory.prediction.line_features import LINE_FEATURES, LINE_SITUATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LINES", "START_WEIGHTS", "TEMPLATES", "Ranker", "Rankers", "Scheme"]

START_WEIGHTS: Final = Path(__file__).with_name("start_weights.json")
"""Written by ``benchmarks/train_weights.py``."""

RATE, CASE_RATE, PAIR_RATE = 0.03, 0.015, 0.05
"""Steps of the shared weights, of those of a situation, and of the memory of pairs (findings: higher ones hurt)."""

_PAIRS: Final = 1 << 14
_SHIFT: Final = np.uint64(64 - 14)
_SPREAD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_SMALL: Final = 1e-3
_MOST: Final = 2**52
_LARGEST: Final = 100.0
"""No weight that was learned comes near it."""
_Arrays: TypeAlias = tuple["NDArray[np.float64]", ...]
State: TypeAlias = tuple[int, tuple[_Arrays, ...]]


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a ranker sees: the names of its columns, and of the ways of telling situations apart with their cases."""

    features: tuple[str, ...]
    situations: Mapping[str, int]


TEMPLATES: Final = Scheme(FEATURES, SITUATIONS)
LINES: Final = Scheme(LINE_FEATURES, LINE_SITUATIONS)


class Ranker:
    """Scores candidates and learns from what came next.

    Parameters
    ----------
    scheme : Scheme
    start : mapping
        Number of a case, as text, -> weights of the columns to start from; see `start_weights`.
    """

    def __init__(self, scheme: Scheme, start: Mapping[str, Sequence[float]]) -> None:
        self.scheme = scheme
        self._shared = sum(scheme.situations.values())
        # The last column holds the scores of "none of these".
        size = (self._shared + 1, len(scheme.features) + 1)
        self._weights = np.zeros(size)
        self._squares = np.full(size, 1e-2)
        self._pairs = np.zeros(_PAIRS)
        self._pair_squares = np.full(_PAIRS, 0.1)
        self._lent = False
        for row, values in start.items():
            self._weights[int(row)] = values

    @property
    def arrays(self) -> _Arrays:
        """What was learned. The next step is taken on a copy, so that they stay as they are."""
        self._lent = True
        return self._weights, self._squares, self._pairs, self._pair_squares

    @arrays.setter
    def arrays(self, arrays: _Arrays) -> None:
        self._lent = True
        self._weights, self._squares, self._pairs, self._pair_squares = arrays

    def rank(self, features: Features) -> tuple[NDArray[np.float64], float]:
        """Return the probability of each candidate, and that it is none of them.

        Returns
        -------
        probabilities : ndarray of float64, shape (len(features.candidates),)
        none : float
            The rest: everything sums to one.
        """
        weights = self._weights[[*features.cases, self._shared]].sum(axis=0)
        scores = features.matrix @ weights[:-1] + self._pairs[_places(features)].sum(axis=0)
        scores = np.append(scores, weights[-1])
        odds = np.exp(scores - scores.max())
        odds /= odds.sum()
        return odds[:-1], float(odds[-1])

    def learn(self, features: Features, answer: int | None) -> None:
        """Take one step towards what came next.

        Parameters
        ----------
        features : Features
            Of the question, as they were before the answer was known.
        answer : int or None
            What came next; None when it was not known.
        """
        if self._lent:
            self._weights, self._squares, self._pairs, self._pair_squares = (part.copy() for part in self.arrays)
            self._lent = False
        probabilities, none = self.rank(features)
        gradient = -probabilities
        if answer in features.candidates:
            gradient[features.candidates.index(answer)] += 1.0
            none_gradient = -none
        else:
            none_gradient = 1.0 - none
        slope = np.append(gradient @ features.matrix, none_gradient)
        rows = [*features.cases, self._shared]
        self._squares[rows] += slope**2
        rates = np.array([CASE_RATE] * len(features.cases) + [RATE])[:, None]
        self._weights[rows] += rates * slope / np.sqrt(self._squares[rows])
        matter = np.abs(gradient) > _SMALL
        places = _places(features)[:, matter]
        # Of pairs that share a place the last one counts: they are few, and a step is small.
        self._pair_squares[places] += gradient[matter] ** 2
        self._pairs[places] += PAIR_RATE * gradient[matter] / np.sqrt(self._pair_squares[places])

    def shares(self, features: Features, names: Iterable[str]) -> dict[str, float]:
        """Return the share of each of the columns `names` in their weights, in this situation; they sum to one."""
        weights = self._weights[[*features.cases, self._shared]].sum(axis=0)
        columns = {name: self.scheme.features.index(name) for name in names}
        said = (features.matrix != 0.0).any(axis=0)
        positive = {name: max(0.0, float(weights[i])) for name, i in columns.items() if said[i]}
        total = sum(positive.values()) or 1.0
        return {name: weight / total for name, weight in positive.items()}

    def start_weights(self) -> dict[str, Any]:
        """Return the weights in the form of the file they start from; the memory of pairs is left out."""
        rows = {str(i): [round(float(v), 4) for v in row] for i, row in enumerate(self._weights) if row.any()}
        return {
            "features": [*self.scheme.features, "none"],
            "situations": dict(self.scheme.situations),
            "weights": rows,
        }


class Rankers:
    """The ranker of templates and that of lines, kept and moved together.

    Parameters
    ----------
    start : path
        JSON with the weights to start from.

    Attributes
    ----------
    templates, lines : Ranker
    learned : int
        Steps that they learned from.
    """

    def __init__(self, start: Path = START_WEIGHTS) -> None:
        self.restart(start)

    def restart(self, start: Path | None = None) -> None:
        """Forget what was learned: go back to the weights of the start, or to those of another file."""
        if start is not None:
            self._start = start
        weights = json.loads(self._start.read_text(encoding="utf-8"))
        self.templates = Ranker(TEMPLATES, weights["templates"]["weights"])
        self.lines = Ranker(LINES, weights["lines"]["weights"])
        self.learned = 0

    def to_bytes(self) -> bytes:
        """Return what was learned as bytes, for `restore`."""
        packed = b"".join(part.tobytes() for ranker in self._both() for part in ranker.arrays)
        return self.learned.to_bytes(8, "little") + zlib.compress(packed, 1)

    def restore(self, data: object) -> bool:
        """Take over what `to_bytes` gave; return False, and change nothing, when it is of another kind."""
        if not isinstance(data, bytes) or int.from_bytes(data[:8], "little") > _MOST:
            return False
        shapes = [part.shape for ranker in self._both() for part in ranker.arrays]
        sizes = [math.prod(shape) for shape in shapes]
        try:
            values = np.frombuffer(zlib.decompressobj().decompress(data[8:], 8 * sum(sizes) + 1))
        except (ValueError, zlib.error):
            return False
        if len(values) != sum(sizes) or not (np.abs(values) < _MOST).all():  # neither infinite nor no number
            return False
        parts = np.split(values.copy(), np.cumsum(sizes)[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        if min(part.min() for part in arrays[1::2]) <= 0.0 or max(np.abs(p).max() for p in arrays[::2]) > _LARGEST:
            return False
        self.templates.arrays, self.lines.arrays = tuple(arrays[:4]), tuple(arrays[4:])
        self.learned = int.from_bytes(data[:8], "little")
        return True

    def combine(self, data: object, share: float = 1.0) -> bool:
        """Add what others learned, as `to_bytes` gave it: every weight becomes the mean of the two, by their evidence.

        The evidence for a weight is the sum of the squared slopes that moved it, an estimate of the information that
        there is on it; so this is approximate, as two rankers that learned apart never saw each other's steps.

        Parameters
        ----------
        data : bytes
        share : float
            Of their evidence, that which is new here.

        Returns
        -------
        bool
            False, and nothing is changed, when `data` is of another kind.
        """
        if not self.learned and share == 1.0:
            return self.restore(data)  # to the last bit
        start, other = Rankers(self._start), Rankers(self._start)
        if not other.restore(data):
            return False
        for mine, theirs, first in zip(self._both(), other._both(), start._both(), strict=True):
            pairs = [(ranker.arrays[:2], ranker.arrays[2:]) for ranker in (mine, theirs, first)]
            mine.arrays = tuple(
                part for ours, others, zero in zip(*pairs, strict=True) for part in _combined(ours, others, zero, share)
            )
        self.learned += round(share * other.learned)
        return True

    def state(self) -> State:
        """Return what was learned, for `reset`."""
        return self.learned, tuple(ranker.arrays for ranker in self._both())

    def reset(self, state: State) -> None:
        """Go back to an earlier state."""
        self.learned, (self.templates.arrays, self.lines.arrays) = state

    def start_weights(self) -> dict[str, Any]:
        """Return the weights in the form of the file they start from."""
        return {"templates": self.templates.start_weights(), "lines": self.lines.start_weights()}

    def _both(self) -> tuple[Ranker, Ranker]:
        return self.templates, self.lines


def _combined(mine: _Arrays, theirs: _Arrays, start: _Arrays, share: float) -> _Arrays:
    """Return the mean of two arrays of weights, each followed by the squared slopes that moved it, and its evidence."""
    ours, others = mine[1] - start[1], share * (theirs[1] - start[1])
    both = ours + others
    moved = (mine[0] - start[0]) * ours + (theirs[0] - start[0]) * others
    return start[0] + np.divide(moved, both, out=np.zeros_like(both), where=both > 0.0), start[1] + both


def _places(features: Features) -> NDArray[np.int64]:
    """Return the place of each pair of a trait and a candidate: shape (traits, candidates)."""
    ids = np.array(features.candidates, dtype=np.int64).view(np.uint64)
    mixed = (features.traits[:, None] ^ (ids * _SPREAD)) * _MIX
    return (mixed >> _SHIFT).astype(np.int64)
