"""Makes predictions: asks the blend for templates, grounds them, explains them."""

from __future__ import annotations

import heapq

from procedural_memory.commands.danger import is_destructive
from procedural_memory.commands.places import places
from procedural_memory.prediction.blend import Blend, Candidate
from procedural_memory.prediction.context import SessionContext
from procedural_memory.prediction.experts import Proposal, Query
from procedural_memory.prediction.lines import Grounding, Line
from procedural_memory.prediction.reasons import reason
from procedural_memory.storage.base import PatternCounts, Store, context_key
from procedural_memory.types import Evidence, Level, Prediction

__all__ = ["Predictor"]

_SUGGESTIONS = 3
_SPARE = 10
_SURE = 0.4
"""An open line that is more probable stands where its probability puts it; others come after the lines that can be run:
nobody is helped by a list of forms."""


class Predictor:
    """Predicts from a store and a blend of experts.

    Parameters
    ----------
    store : Store
    blend : Blend
    """

    def __init__(self, store: Store, blend: Blend) -> None:
        self._store = store
        self._blend = blend

    def predict(self, context: SessionContext, top_k: int, level: Level, min_probability: float) -> list[Prediction]:
        """Return at most `top_k` predictions, most probable first, none below `min_probability`."""
        query = Query(self._store, context)
        candidates, shares = self._blend.propose(query)
        grounding = Grounding(self._store, context.values, context.project)
        candidates = candidates[: top_k if level == "template" else top_k + _SPARE]
        texts = self._store.template_texts([candidate.template for candidate in candidates])
        grounding.read(place for text in texts for place in places(text))
        chosen: list[tuple[float, Candidate, Line]] = []
        enough = 0.0
        for candidate, text in zip(candidates, texts, strict=True):
            # A line is at most as probable as its template.
            if candidate.probability < enough:
                break
            lines = grounding.lines(text, enough / candidate.probability)
            for line in lines[:1] if level == "template" else lines:
                rank = candidate.probability * (1.0 if level == "template" else line.probability)
                if rank >= min_probability:
                    chosen.append((rank, candidate, line))
            if level == "command":
                runnable = heapq.nlargest(top_k, (rank for rank, _, line in chosen if line.runnable))
                enough = runnable[-1] if len(runnable) == top_k else 0.0
        if level == "command":
            chosen.sort(key=lambda item: (not item[2].runnable and item[0] < _SURE, -item[0], item[2].command))
        return [self._prediction(candidate, line, query, shares) for _, candidate, line in chosen[:top_k]]

    def _prediction(
        self, candidate: Candidate, line: Line, query: Query, shares: dict[str, tuple[float, Proposal]]
    ) -> Prediction:
        template = self._store.template_text(candidate.template)
        evidence = []
        for name, (weight, proposal) in shares.items():
            if probability := proposal.probabilities.get(candidate.template, 0.0):
                support = proposal.explain(candidate.template)
                evidence.append(Evidence(name, probability, weight, support.context, support.details))
        evidence.sort(key=lambda item: -item.weight * item.probability)
        patterns = next((e.details for e in evidence if e.expert == "patterns"), {})
        return Prediction(
            next_command=line.command,
            template=template,
            probability=min(1.0, candidate.probability * line.probability),
            template_probability=min(1.0, candidate.probability),
            confidence=max(patterns.get("confidence", 0.0), self._transition_confidence(candidate.template, query)),
            reason=reason(evidence),
            similar_patterns=patterns.get("pattern_ids", ()),
            auto_suggestions=self._suggestions(template),
            evidence=tuple(evidence),
            runnable=line.runnable,
            destructive=is_destructive(line.command),
        )

    def _transition_confidence(self, template: int, query: Query) -> float:
        """Return the confidence of the bare transition: a pattern of two steps with similarity 1."""
        if len(query.keys) < 2 or (row := self._store.follower(query.keys[1], template)) is None:
            return 0.0
        if row.good + row.bad == 0:  # sessions that go on have exit codes only
            return PatternCounts("", row.success, row.failure).confidence
        return PatternCounts("", row.good, row.bad).confidence

    def _suggestions(self, template: str) -> tuple[str, ...]:
        """Return what usually follows a template, from the workflow graph."""
        following = self._store.context(context_key((template,)), _SUGGESTIONS)
        if following is None:
            return ()
        best = sorted(following.followers, key=lambda row: (-row.count, self._store.template_text(row.template)))
        return tuple(self._store.template_text(row.template) for row in best[:_SUGGESTIONS])
