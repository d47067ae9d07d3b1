"""Feedback in predictions: what was accepted when it was shown here before gains, what was rejected loses.

A template's probability is multiplied by how often it is accepted, relative to what is expected of a prediction of
which nothing is known; that of a line, given its template, likewise. Nothing is learned here: counts of what was shown
are read, and where there are none a prediction is left exactly as it was.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

from procedural_memory.memory.context import SessionContext
from procedural_memory.memory.feedback import here_key, line_key, template_key
from procedural_memory.prediction.lines import Grounding, Line
from procedural_memory.storage.base import START, ShownCounts, Store
from procedural_memory.types import Evidence

__all__ = ["Feedback", "factor"]

_EXPECTED: Final = 0.5
"""How often a prediction is accepted of which nothing is known."""
_IGNORED: Final = 0.25
"""What ignoring counts against a prediction, of a rejection: who looks elsewhere has not judged."""
_MOST_REJECTED, _MOST_IGNORED = 8, 4
"""So many count at most: feedback does not fade, and habits change."""
_OF_TEMPLATE, _OF_LINE = 4.0, 2.0
"""How many predictions, accepted as often as expected, are put before those that were shown."""

_K = TypeVar("_K", bound=Hashable)


def _rate(counts: ShownCounts, prior: float) -> float:
    accepted, rejected, ignored = counts
    against = min(rejected, _MOST_REJECTED) + _IGNORED * min(ignored, _MOST_IGNORED)
    return (accepted + prior * _EXPECTED) / (accepted + against + prior)


def factor(counts: ShownCounts, prior: float) -> float:
    """Return what (accepted, rejected, ignored) counts do to a probability: 1 where there are none, at most 2."""
    return _rate(counts, prior) / _EXPECTED


class Feedback:
    """What became of predictions that were shown after the last step of a context.

    Parameters
    ----------
    store : Store
    context : SessionContext
    """

    def __init__(self, store: Store, context: SessionContext) -> None:
        self._store = store
        self._after = context.templates[-1] if context.templates else START
        # Most steps are ones after which nothing was ever judged: a single row tells.
        self._any = bool(store.shown([here_key(self._after)]))

    def templates(self, probabilities: Mapping[int, float]) -> Mapping[int, float]:
        """Return the probabilities of templates with what feedback does to them."""
        if not self._any:
            return probabilities
        texts = self._store.template_texts(list(probabilities))
        keys = {number: template_key(self._after, text) for number, text in zip(probabilities, texts, strict=True)}
        return self._moved(probabilities, keys, _OF_TEMPLATE)

    def lines(self, grounding: Grounding, template: str, least: float = 0.0) -> list[Line]:
        """Return the lines of a template as `grounding` does, with what feedback does to them, best first."""
        if not self._any:
            return grounding.lines(template, least)
        # All of them: one that is improbable by itself may be one that was accepted.
        lines = grounding.lines(template)
        keys = {place: line_key(self._after, line.command) for place, line in enumerate(lines)}
        moved = self._moved({place: line.probability for place, line in enumerate(lines)}, keys, _OF_LINE)
        lines = [line._replace(probability=moved[place]) for place, line in enumerate(lines)]
        return sorted(lines, key=lambda line: (not line.runnable, -line.probability))

    def lines_of_all(self, probabilities: Mapping[tuple[int, str], float]) -> Mapping[tuple[int, str], float]:
        """Return the probabilities of lines, by template and line, with what feedback on both does to them."""
        if not self._any:
            return probabilities
        texts = self._store.template_texts([template for template, _ in probabilities])
        of_templates = {item: template_key(self._after, text) for item, text in zip(probabilities, texts, strict=True)}
        of_lines = {item: line_key(self._after, item[1]) for item in probabilities}
        return self._moved(self._moved(probabilities, of_templates, _OF_TEMPLATE), of_lines, _OF_LINE)

    def evidence(self, template: str, line: str) -> Evidence | None:
        """Return the counts that moved a prediction, if any did."""
        if not self._any:
            return None
        keys = (template_key(self._after, template), line_key(self._after, line))
        found = self._store.shown(keys)
        if not found:
            return None
        of_template, of_line = (found.get(key, (0, 0, 0)) for key in keys)
        names = ("accepted", "rejected", "ignored")
        details = dict(zip(names, of_template, strict=True))
        details |= {f"line_{name}": count for name, count in zip(names, of_line, strict=True)}
        context = (self._after,) if self._after != START else ()
        return Evidence("feedback", _rate(of_template, _OF_TEMPLATE), 0.0, context, details)

    def _moved(self, probabilities: Mapping[_K, float], keys: Mapping[_K, int], prior: float) -> Mapping[_K, float]:
        """Return probabilities times their factors.

        What is lost goes to nobody: it is the share of what is not in the list. What is won is taken from all, that
        share included, so that the list stays a distribution.
        """
        found = self._store.shown(list(keys.values()))
        factors = {item: factor(found[key], prior) for item, key in keys.items() if key in found}
        if not factors:
            return probabilities
        total = max(1.0, 1.0 + sum(probabilities[item] * (by - 1.0) for item, by in factors.items()))
        return {item: p * factors.get(item, 1.0) / total for item, p in probabilities.items()}
