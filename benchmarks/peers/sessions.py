"""Peers from sequential recommendation, which look further back than the last few steps."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Sequence

from peers.base import back_off
from peers.counts import Markov, Row
from peers.history import RankRates
from procedural_memory.evaluation.predictors import TOP, Ranking


class SequentialRules:
    """First-order sequential rules, SR (Ludewig and Jannach, 2018): what came up to 10 steps after the last symbol.

    A rule weighs 1 / distance. What has no rule is filled up with the most frequent.
    """

    STEPS = 10

    def __init__(self) -> None:
        self._frequent = Row()
        self._rules: dict[str, Row] = {}

    def rank(self, history: Sequence[str]) -> Ranking:
        rules = self._rules.get(history[-1]) if history else None
        frequent = self._frequent.shares()
        return frequent if rules is None else back_off(rules.shares(), frequent)

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._frequent.add(symbol)
        for distance, earlier in enumerate(reversed(history[-self.STEPS :]), 1):
            self._rules.setdefault(earlier, Row()).add(symbol, 1.0 / distance)

    def end(self, history: Sequence[str]) -> None:
        pass


class STAN:
    """Session nearest neighbours, aware of sequence and age: STAN (Garg et al., 2019), with its default weights.

    A session's similarity is that of its symbols, each weighed by its nearness to the end of the current session
    (``lambda_spw``), and fades with age (``lambda_snh``, here in hundreds of sessions: not all files have times). A
    symbol counts by its nearness in the neighbour to the newest shared one (``lambda_inh``). Long sessions are taken as
    blocks, each a neighbour once it is complete. Filled up by Markov-1.
    """

    BLOCK = 50
    NEIGHBOURS = 100
    POOL = 1000
    SPW, SNH, INH = 1.02, 5.0, 2.05
    NEWEST = 10
    """Older symbols of the current session weigh less than exp(-10 / 1.02)."""

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._holding: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=self.POOL))
        self._markov = Markov(1)

    def rank(self, history: Sequence[str]) -> Ranking:
        weights: dict[str, float] = {}
        for age, symbol in enumerate(reversed(history[-self.NEWEST :])):
            weights.setdefault(symbol, math.exp(-age / self.SPW))
        similarity: defaultdict[int, float] = defaultdict(float)
        for symbol, weight in weights.items():
            for number in self._holding.get(symbol, ()):
                similarity[number] += weight
        scores: defaultdict[str, float] = defaultdict(float)
        for value, number in heapq.nlargest(
            self.NEIGHBOURS, ((self._faded(value, number), number) for number, value in similarity.items())
        ):
            block = self._blocks[number]
            shared = max((weights[s], i) for i, s in enumerate(block) if s in weights)[1]
            for place, symbol in enumerate(block):
                if place != shared:
                    scores[symbol] += value * math.exp(-abs(place - shared) / self.INH)
        whole = sum(scores.values()) * (1 + 1 / (1 + len(similarity)))
        best = heapq.nsmallest(TOP, scores.items(), key=lambda item: (-item[1], item[0]))
        return back_off([(symbol, score / whole) for symbol, score in best], self._markov.rank(history))

    def _faded(self, value: float, number: int) -> float:
        age = (len(self._blocks) - number) / 100
        return value * math.exp(-age / self.SNH) / math.sqrt(len(self._blocks[number]))

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._markov.learn(history, symbol)
        if history and len(history) % self.BLOCK == 0:
            self._add(history[-self.BLOCK :])

    def end(self, history: Sequence[str]) -> None:
        rest = len(history) % self.BLOCK or min(len(history), self.BLOCK)
        self._add(history[len(history) - rest :])

    def _add(self, block: Sequence[str]) -> None:
        for symbol in set(block):
            self._holding[symbol].append(len(self._blocks))
        self._blocks.append(list(block))


class CPT:
    """The compact prediction tree (Gueniche et al., 2013), as the package ``cpt`` of PyPI has it.

    Asked with the last two symbols, trained on blocks of ten, as a tree is built of short sequences; filled up by
    Markov-1. It tells an order and no probabilities: those are how often each place was right so far.
    """

    BLOCK, TAIL = 10, 2

    def __init__(self) -> None:
        from cpt.cpt import Cpt

        self._tree = Cpt()
        self._later: defaultdict[str, set[str]] = defaultdict(set)
        self._markov = Markov(1)
        self._rates = RankRates()

    def rank(self, history: Sequence[str]) -> Ranking:
        return self._rates.of(self._order(history))

    def _order(self, history: Sequence[str]) -> list[str]:
        tail = list(history[-self.TAIL :])
        # The package fills its list up with symbols that have no support; Markov-1 does that better.
        supported = {later for symbol in tail for later in self._later.get(symbol, ())}
        found = self._tree.predict_k([tail], TOP, False)[0] if supported else []
        lower = [symbol for symbol, _ in self._markov.rank(history)]
        return list(dict.fromkeys([*(symbol for symbol in found if symbol in supported), *lower]))[:TOP]

    def learn(self, history: Sequence[str], symbol: str) -> None:
        self._rates.learn(self._order(history), symbol)
        self._markov.learn(history, symbol)
        if history and len(history) % self.BLOCK == 0:
            self._fit(history[-self.BLOCK :])

    def end(self, history: Sequence[str]) -> None:
        rest = len(history) % self.BLOCK or min(len(history), self.BLOCK)
        self._fit(history[len(history) - rest :])

    def _fit(self, block: Sequence[str]) -> None:
        self._tree.fit([list(block)])
        for place, symbol in enumerate(block):
            self._later[symbol].update(block[place + 1 :])
