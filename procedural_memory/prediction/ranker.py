"""The ranker: from what the experts say of each candidate to one calibrated probability, learned online.

A conditional logit (McFadden 1974) over the candidates and an explicit "none of these". Its weights are the sum of
shared ones and of those of the situation; to its scores a sparse memory of pairs (last steps, candidate) adds what the
features cannot express (a maximum-entropy residual, hashed as in Weinberger et al. 2009). Both follow the gradient of
the log-likelihood with AdaGrad steps (Duchi et al. 2011).

The weights start from those shipped with the package and follow the user. They are the one part of the memory that
depends on the order of learning: the counts they weigh are exact.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from procedural_memory.prediction.features import EXPERTS, FEATURES, SITUATIONS, Features

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["START_WEIGHTS", "Ranker"]

START_WEIGHTS: Final = Path(__file__).with_name("start_weights.json")
"""Written by ``benchmarks/train_weights.py``."""

RATE, CASE_RATE, PAIR_RATE = 0.03, 0.015, 0.05
"""Steps of the shared weights, of those of a situation, and of the memory of pairs (findings: higher ones hurt)."""

_CASES: Final = sum(SITUATIONS.values())
_SHARED: Final = _CASES
_PAIRS: Final = 1 << 14
_SHIFT: Final = np.uint64(64 - 14)
_SPREAD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_SMALL: Final = 1e-3
_MOST: Final = 2**52
_LARGEST: Final = 100.0
"""No weight that was learned comes near it."""
State: TypeAlias = tuple[int, tuple["NDArray[np.float64]", ...]]
_COLUMNS: Final = len(FEATURES) + 1  # the last one holds the scores of "none of these"


class Ranker:
    """Scores candidates and learns from what came next.

    Parameters
    ----------
    start : path
        JSON with the weights to start from.
    """

    def __init__(self, start: Path = START_WEIGHTS) -> None:
        self.restart(start)

    def restart(self, start: Path | None = None) -> None:
        """Forget what was learned: go back to the weights of the start, or to those of another file."""
        if start is not None:
            self._start = start
        self._weights = np.zeros((_CASES + 1, _COLUMNS))
        self._squares = np.full((_CASES + 1, _COLUMNS), 1e-2)
        self._pairs = np.zeros(_PAIRS)
        self._pair_squares = np.full(_PAIRS, 0.1)
        self.learned = 0
        for row, values in json.loads(self._start.read_text(encoding="utf-8"))["weights"].items():
            self._weights[int(row)] = values

    def rank(self, features: Features) -> tuple[NDArray[np.float64], float]:
        """Return the probability of each candidate, and that it is none of them.

        Returns
        -------
        probabilities : ndarray of float64, shape (len(features.templates),)
        none : float
            The rest: everything sums to one.
        """
        weights = self._weights[[*features.cases, _SHARED]].sum(axis=0)
        scores = features.matrix @ weights[:-1] + self._pairs[_places(features)].sum(axis=0)
        scores = np.append(scores, weights[-1])
        odds = np.exp(scores - scores.max())
        odds /= odds.sum()
        return odds[:-1], float(odds[-1])

    def learn(self, features: Features, template: int | None) -> None:
        """Take one step towards what came next.

        Parameters
        ----------
        features : Features
            Of the question, as they were before the answer was known.
        template : int or None
            What came next; None when it was not known.
        """
        if not features.templates:
            return
        probabilities, none = self.rank(features)
        gradient = -probabilities
        if template in features.templates:
            gradient[features.templates.index(template)] += 1.0
            none_gradient = -none
        else:
            none_gradient = 1.0 - none
        slope = np.append(gradient @ features.matrix, none_gradient)
        rows = [*features.cases, _SHARED]
        self._squares[rows] += slope**2
        rates = np.array([CASE_RATE] * len(features.cases) + [RATE])[:, None]
        self._weights[rows] += rates * slope / np.sqrt(self._squares[rows])
        matter = np.abs(gradient) > _SMALL
        places = _places(features)[:, matter]
        # Of pairs that share a place the last one counts: they are few, and a step is small.
        self._pair_squares[places] += gradient[matter] ** 2
        self._pairs[places] += PAIR_RATE * gradient[matter] / np.sqrt(self._pair_squares[places])
        self.learned += 1

    def shares(self, features: Features) -> dict[str, float]:
        """Return the share of each expert in the weights on log-probabilities, in this situation; they sum to one."""
        weights = self._weights[[*features.cases, _SHARED]].sum(axis=0)
        positive = {name: max(0.0, float(weights[i])) for i, name in enumerate(EXPERTS) if features.matrix[:, i].any()}
        total = sum(positive.values()) or 1.0
        return {name: weight / total for name, weight in positive.items()}

    def to_bytes(self) -> bytes:
        """Return what was learned as bytes, for `restore`."""
        parts = (self._weights, self._squares, self._pairs, self._pair_squares)
        packed = b"".join(part.tobytes() for part in parts)
        return self.learned.to_bytes(8, "little") + zlib.compress(packed, 1)

    def restore(self, data: object) -> bool:
        """Take over what `to_bytes` gave; return False, and change nothing, when it is of another kind."""
        if not isinstance(data, bytes) or int.from_bytes(data[:8], "little") > _MOST:
            return False
        sizes = [(_CASES + 1) * _COLUMNS] * 2 + [_PAIRS] * 2
        try:
            values = np.frombuffer(zlib.decompressobj().decompress(data[8:], 8 * sum(sizes) + 1))
        except (ValueError, zlib.error):
            return False
        if len(values) != sum(sizes) or not (np.abs(values) < _MOST).all():  # neither infinite nor no number
            return False
        weights, squares, pairs, pair_squares = np.split(values.copy(), np.cumsum(sizes)[:-1])
        if min(squares.min(), pair_squares.min()) <= 0.0 or max(np.abs(weights).max(), np.abs(pairs).max()) > _LARGEST:
            return False
        self._weights, self._squares = (part.reshape(_CASES + 1, _COLUMNS) for part in (weights, squares))
        self._pairs, self._pair_squares = pairs, pair_squares
        self.learned = int.from_bytes(data[:8], "little")
        return True

    def state(self) -> State:
        """Return a copy of what was learned, for `reset`."""
        parts = (self._weights, self._squares, self._pairs, self._pair_squares)
        return self.learned, tuple(part.copy() for part in parts)

    def reset(self, state: State) -> None:
        """Go back to an earlier state."""
        self.learned, (self._weights, self._squares, self._pairs, self._pair_squares) = state

    def start_weights(self) -> dict[str, Any]:
        """Return the weights in the form of the file they start from; the memory of pairs is left out."""
        rows = {str(i): [round(float(v), 4) for v in row] for i, row in enumerate(self._weights) if row.any()}
        return {"features": [*FEATURES, "none"], "situations": dict(SITUATIONS), "weights": rows}


def _places(features: Features) -> NDArray[np.int64]:
    """Return the place of each pair of a trait and a candidate: shape (traits, candidates)."""
    ids = np.array(features.templates, dtype=np.int64).view(np.uint64)
    mixed = (features.traits[:, None] ^ (ids * _SPREAD)) * _MIX
    return (mixed >> _SHIFT).astype(np.int64)
