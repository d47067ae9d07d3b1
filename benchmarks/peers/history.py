"""Peers that look things up in the history, newest first. A lookup has a rank and no probability of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from procedural_memory.evaluation.predictors import TOP, Ranking


class RankRates:
    """Turns an order into probabilities: how often each place of it was right so far, one more for each."""

    def __init__(self) -> None:
        self._hits = [0] * TOP
        self._steps = 0

    def of(self, order: Sequence[str]) -> Ranking:
        whole = self._steps + 2 * TOP
        return [(symbol, (hits + 1) / whole) for symbol, hits in zip(order, self._hits, strict=False)]

    def learn(self, order: Sequence[str], symbol: str) -> None:
        self._steps += 1
        if symbol in order:
            self._hits[order.index(symbol)] += 1


class Newest:
    """Distinct symbols, the newest last."""

    def __init__(self) -> None:
        self._symbols: dict[str, None] = {}

    def add(self, symbol: str) -> None:
        self._symbols.pop(symbol, None)
        self._symbols[symbol] = None

    def first(self, also: Iterable[str] = ()) -> list[str]:
        """Return at most `TOP` symbols, the newest first, filled up from `also`."""
        found: dict[str, None] = {}
        for symbol in (*self._top(), *also):
            found[symbol] = None
        return list(found)[:TOP]

    def _top(self) -> list[str]:
        return [symbol for symbol, _ in zip(reversed(self._symbols), range(TOP), strict=False)]


class MostRecent:
    """What was used last."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._rates = RankRates()

    def rank(self, history: Sequence[str]) -> Ranking:
        return self._rates.of(self._newest.first())

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._rates.learn(self._newest.first(), symbol)
        self._newest.add(symbol)

    def end(self, history: Sequence[str]) -> None:
        pass


class MatchPreviousCommand:
    """The strategy ``match_prev_cmd`` of zsh-autosuggestions: the newest entry that came after the same command.

    Where there is none, or more places are to be filled, the most recent.
    """

    def __init__(self) -> None:
        self._all = Newest()
        self._after: dict[str, Newest] = {}
        self._rates = RankRates()

    def rank(self, history: Sequence[str]) -> Ranking:
        return self._rates.of(self._order(history))

    def _order(self, history: Sequence[str]) -> list[str]:
        after = self._after.get(history[-1]) if history else None
        return after.first(self._all.first()) if after else self._all.first()

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._rates.learn(self._order(history), symbol)
        self._all.add(symbol)
        if history:
            self._after.setdefault(history[-1], Newest()).add(symbol)

    def end(self, history: Sequence[str]) -> None:
        pass
