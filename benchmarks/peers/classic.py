"""Classic next-command predictors.

Each is fed one step at a time with ``learn(previous, current)`` (`previous` is None at the start of a session) and
asked with ``predict(previous, k)`` for the k most probable next templates.
"""

from __future__ import annotations

from collections import Counter, defaultdict


def _top(scores: dict[str, float] | Counter[str], k: int, rest: Counter[str]) -> list[str]:
    """Return the k best of `scores`, filled up with the most frequent of `rest`; ties by text."""
    best = sorted(scores, key=lambda name: (-scores[name], name))[:k]
    if len(best) < k:
        best += [name for name, _ in rest.most_common(k + len(best)) if name not in scores][: k - len(best)]
    return best


class MostFrequent:
    """The commands seen most often."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def learn(self, previous: str | None, current: str) -> None:
        self._counts[current] += 1

    def predict(self, previous: str | None, k: int) -> list[str]:
        return [name for name, _ in self._counts.most_common(k)]


class Markov1:
    """What followed the last command most often; filled up with the most frequent."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._next: defaultdict[str | None, Counter[str]] = defaultdict(Counter)

    def learn(self, previous: str | None, current: str) -> None:
        self._counts[current] += 1
        self._next[previous][current] += 1

    def predict(self, previous: str | None, k: int) -> list[str]:
        return _top(self._next.get(previous, Counter()), k, self._counts)


class IPAM:
    """Incremental probabilistic action modeling (Davison and Hirsh, 1998): Markov-1 decayed at each update by alpha."""

    def __init__(self, alpha: float = 0.8) -> None:
        self._alpha = alpha
        self._counts: Counter[str] = Counter()
        self._default: dict[str, float] = {}
        self._next: dict[str | None, dict[str, float]] = {}

    def _update(self, table: dict[str, float], current: str) -> None:
        for name in table:
            table[name] *= self._alpha
        table[current] = table.get(current, 0.0) + 1.0 - self._alpha

    def learn(self, previous: str | None, current: str) -> None:
        self._counts[current] += 1
        self._update(self._default, current)
        if previous not in self._next:  # a new row starts as a copy of the default row
            self._next[previous] = dict(self._default)
        self._update(self._next[previous], current)

    def predict(self, previous: str | None, k: int) -> list[str]:
        return _top(self._next.get(previous, self._default), k, self._counts)
