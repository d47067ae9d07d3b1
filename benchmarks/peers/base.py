"""What the peers share: a model of one alphabet of symbols, used once for templates and once for command lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from procedural_memory.evaluation.predictors import TOP, Context, Ranking
from procedural_memory.evaluation.sessions import LEVELS, EvaluationLevel, Step
from procedural_memory.types import Outcome


class SequenceModel(Protocol):
    """Predicts the next symbol of a sequence from the symbols before it in the session, newest last."""

    def rank(self, history: Sequence[str]) -> Ranking:
        """Return at most `TOP` symbols, best first, with probabilities that sum to at most 1; changes nothing."""
        ...

    def learn(self, history: Sequence[str], symbol: str) -> None:
        """Take in what came after `history`."""
        ...

    def end(self, history: Sequence[str]) -> None:
        """Take in that a session ended."""
        ...


class Peer:
    """A predictor made of two models: one of templates, one of command lines."""

    def __init__(self, make: Callable[[], SequenceModel]) -> None:
        self._models = {level: make() for level in LEVELS}
        self._learned: dict[EvaluationLevel, list[str]] = {level: [] for level in LEVELS}

    def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
        return self._models[level].rank([step.text(level) for step in context.steps[-Peer.MEMORY :]])

    def learn(self, step: Step) -> None:
        for level, model in self._models.items():
            model.learn(self._learned[level], step.text(level))
            self._learned[level].append(step.text(level))

    def end(self, outcome: Outcome) -> None:
        for level, model in self._models.items():
            model.end(self._learned[level])
            self._learned[level] = []

    def close(self) -> None:
        pass

    MEMORY = 50
    """How many of the newest steps a model is shown."""


def back_off(shares: Iterable[tuple[str, float]], lower: Ranking) -> Ranking:
    """Return `shares`, best first, then what `lower` knows besides, scaled to the probability that is left over."""
    found = dict(list(shares)[:TOP])
    left = max(0.0, 1.0 - sum(found.values()))
    for symbol, probability in lower:
        if len(found) == TOP:
            break
        found.setdefault(symbol, left * probability)
    return list(found.items())
