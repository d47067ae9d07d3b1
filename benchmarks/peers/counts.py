"""Peers that count what follows what."""

from __future__ import annotations

from collections.abc import Sequence

from peers.base import back_off
from procedural_memory.evaluation.predictors import TOP, Ranking

_LEADERS = 64
_RESCALE = 1e100


class Row:
    """Counts of what followed one context, decayed at each update, with the highest ones at hand.

    With ``decay < 1`` new counts grow instead of old ones shrinking, which is the same but for a common factor.
    """

    __slots__ = ("_counts", "_decay", "_scale", "_total", "leaders")

    def __init__(self, decay: float = 1.0) -> None:
        self._counts: dict[str, float] = {}
        self._decay = decay
        self._scale = 1.0
        self._total = 0.0
        self.leaders: list[str] = []

    def add(self, symbol: str, amount: float = 1.0) -> None:
        if self._scale > _RESCALE:
            self._counts = {name: count / self._scale for name, count in self._counts.items()}
            self._total, self._scale = self._total / self._scale, 1.0
        self._scale /= self._decay
        self._counts[symbol] = self._counts.get(symbol, 0.0) + amount * self._scale
        self._total += amount * self._scale
        if symbol not in self.leaders:
            self.leaders.append(symbol)
        self.leaders.sort(key=self._counts.__getitem__, reverse=True)
        del self.leaders[_LEADERS:]

    def count(self, symbol: str) -> float:
        return self._counts.get(symbol, 0.0) / self._scale

    @property
    def total(self) -> float:
        return self._total / self._scale

    def __len__(self) -> int:
        return len(self._counts)

    def shares(self) -> Ranking:
        """Return the most frequent, with what is left over for others: C / (C + distinct) (method C, Moffat 1990)."""
        whole = self.total + len(self)
        return [(symbol, self.count(symbol) / whole) for symbol in self.leaders[:TOP]]


class MostFrequent:
    """What occurred most often."""

    def __init__(self) -> None:
        self._row = Row()

    def rank(self, history: Sequence[str]) -> Ranking:
        return self._row.shares()

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._row.add(symbol)

    def end(self, history: Sequence[str]) -> None:
        pass


class Markov:
    """What followed the last n symbols most often; then the last n - 1, down to the most frequent."""

    def __init__(self, order: int) -> None:
        self._order = order
        self._rows: dict[tuple[str, ...], Row] = {}

    def rank(self, history: Sequence[str]) -> Ranking:
        ranking: Ranking = []
        for context in _contexts(history, self._order):
            if context in self._rows:
                ranking = back_off(self._rows[context].shares(), ranking)
        return ranking

    def learn(self, history: Sequence[str], symbol: str) -> None:
        for context in _contexts(history, self._order):
            self._rows.setdefault(context, Row()).add(symbol)

    def end(self, history: Sequence[str]) -> None:
        pass


_START = "\0start"


def _contexts(history: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """Return the last 0, 1, … `order` symbols; the start of the session is one of them."""
    past = (_START, *history[-order:]) if len(history) < order else tuple(history[len(history) - order :])
    return [past[len(past) - n :] for n in range(min(order, len(past)) + 1)]


class InterpolatedCounts:
    """Counts of orders 0 to 3, each interpolated with the order below: absolute discounting (Ney, Essen, Kneser, 1994).

    With `decay`, the counts of a context are multiplied by it at each update of that context.
    """

    ORDER = 3

    def __init__(self, discount: float = 0.75, decay: float = 1.0) -> None:
        self._discount = discount
        self._decay = decay
        self._rows: dict[tuple[str, ...], Row] = {}

    def rank(self, history: Sequence[str]) -> Ranking:
        rows = [self._rows[c] for c in _contexts(history, self.ORDER) if c in self._rows]
        candidates = dict.fromkeys(symbol for row in reversed(rows) for symbol in row.leaders)
        scores = dict.fromkeys(candidates, 0.0)
        for row in rows:
            kept = {symbol: max(0.0, row.count(symbol) - self._discount) / row.total for symbol in candidates}
            left = 1.0 - self._kept(row)
            scores = {symbol: left * scores[symbol] + kept[symbol] for symbol in candidates}
        return sorted(scores.items(), key=lambda item: -item[1])[:TOP]

    def _kept(self, row: Row) -> float:
        """Return the share of a row's counts that discounting leaves."""
        if self._decay == 1.0:
            return (row.total - self._discount * len(row)) / row.total
        # Decayed counts sum to 1 / (1 - decay) at most, so those above the discount are all among the leaders.
        return sum(max(0.0, row.count(symbol) - self._discount) for symbol in row.leaders) / row.total

    def learn(self, history: Sequence[str], symbol: str) -> None:
        for context in _contexts(history, self.ORDER):
            self._rows.setdefault(context, Row(self._decay)).add(symbol)

    def end(self, history: Sequence[str]) -> None:
        pass


class IPAM:
    """Incremental probabilistic action modeling (Davison and Hirsh, 1998): a Markov-1 table of probabilities.

    An update multiplies a row by alpha and adds 1 - alpha to what came; a new row starts as a copy of the default row,
    which is updated at each step. What a row does not know is filled up from the default row and the most frequent.
    """

    LEAST = 1e-6

    def __init__(self, alpha: float = 0.8) -> None:
        self._alpha = alpha
        self._frequent = Row()
        self._default: dict[str, float] = {}
        self._rows: dict[str, dict[str, float]] = {}

    def rank(self, history: Sequence[str]) -> Ranking:
        ranking = back_off(_best(self._default), self._frequent.shares())
        row = self._rows.get(_last(history))
        return ranking if row is None else back_off(_best(row), ranking)

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._frequent.add(symbol)
        self._default = self._updated(self._default, symbol)
        self._rows[_last(history)] = self._updated(self._rows.get(_last(history), self._default), symbol)

    def _updated(self, row: dict[str, float], symbol: str) -> dict[str, float]:
        # Entries fade by alpha at each update; those too small to matter are let go.
        faded = {name: self._alpha * p for name, p in row.items() if p > self.LEAST}
        faded[symbol] = faded.get(symbol, 0.0) + 1.0 - self._alpha
        return faded

    def end(self, history: Sequence[str]) -> None:
        pass


def _last(history: Sequence[str]) -> str:
    return history[-1] if history else _START


def _best(row: dict[str, float]) -> Ranking:
    return sorted(row.items(), key=lambda item: -item[1])[:TOP]
