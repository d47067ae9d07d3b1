"""Makes predictions: asks the experts, ranks what they propose, grounds the best, explains them."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from procedural_memory.commands.danger import is_destructive
from procedural_memory.commands.normalize import analyze
from procedural_memory.commands.places import places
from procedural_memory.memory.context import SessionContext
from procedural_memory.prediction.experts import Expert, Proposal, Query
from procedural_memory.prediction.features import Features, extract
from procedural_memory.prediction.feedback import Feedback
from procedural_memory.prediction.lines import Grounding, Line
from procedural_memory.prediction.ranker import Ranker
from procedural_memory.prediction.reasons import reason
from procedural_memory.storage.base import PatternCounts, Store, context_key, text_id
from procedural_memory.types import Command, Evidence, Level, Prediction

__all__ = ["Candidate", "Predictor"]

_SUGGESTIONS = 3
_SPARE = 10
_ASKED = 8
_POOL: Final = {"patterns": 0.05, "semantic": 0.05}
"""Share of the experts that look for what resembles the context, in a linear pool with the ranker (Stone 1961).

The ranker does not see them: what they say hangs on vectors that are made in the background, and learning must not hang
on when a step was asked about."""
_SURE = 0.4
"""An open line that is more probable stands where its probability puts it; others come after the lines that can be run:
nobody is helped by a list of forms."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A template that might come next."""

    template: int
    probability: float


@dataclass(slots=True)
class _Question:
    """What the ranker's experts say of a context, and what the ranker sees of it."""

    proposals: dict[str, Proposal]
    features: Features


class Predictor:
    """Predicts from a store, its experts and a ranker.

    Parameters
    ----------
    store : Store
    ranked : sequence of Expert
        Those that the ranker weighs.
    pooled : sequence of Expert
        Those of `_POOL`.
    ranker : Ranker
    """

    def __init__(self, store: Store, ranked: Sequence[Expert], pooled: Sequence[Expert], ranker: Ranker) -> None:
        self._store = store
        self._ranked = tuple(ranked)
        self._pooled = tuple(pooled)
        self._ranker = ranker
        self._asked: OrderedDict[Hashable, _Question] = OrderedDict()

    @property
    def experts(self) -> tuple[Expert, ...]:
        """All experts."""
        return (*self._ranked, *self._pooled)

    def predict(
        self,
        context: SessionContext,
        top_k: int,
        level: Level,
        min_probability: float,
        place: tuple[str | None, str | None] = (None, None),
    ) -> list[Prediction]:
        """Return at most `top_k` predictions, most probable first, none below `min_probability`.

        `place` is the project and the directory of the step to come, where they are known apart from the context.
        """
        query = Query(self._store, context, *place)
        name = self._name(query)
        question = self._asked[name] = self._asked.get(name) or self._ask(query)
        if len(self._asked) > _ASKED:
            self._asked.popitem(last=False)
        pooled = {expert.name: p for expert in self._pooled if (p := expert.propose(query)) is not None}
        feedback = Feedback(self._store, context)
        candidates = self._candidates(question.features, pooled, feedback)
        grounding = Grounding(self._store, context.values, query.project, query.cwd)
        if level == "template":
            chosen = self._forms(candidates, grounding, feedback, top_k)
        else:
            chosen = self._lines(candidates[: top_k + _SPARE], grounding, feedback, top_k)
        left = 1.0 - sum(_POOL[name] for name in pooled)
        shares = {name: left * share for name, share in self._ranker.shares(question.features).items()} | _POOL
        proposals = question.proposals | pooled
        return [
            self._prediction(candidate, line, query, proposals, shares, grounding, feedback)
            for candidate, line in chosen[:top_k]
            if (candidate.probability if level == "template" else line.probability) >= min_probability
        ]

    def forget(self) -> None:
        """Let go of what was asked: the store went back to an earlier state."""
        self._asked.clear()

    def learn(self, context: SessionContext, command: Command) -> None:
        """Let the ranker learn from the step after `context`, before that step is counted."""
        query = Query(self._store, context, command.project, command.cwd)
        question = self._asked.get(self._name(query)) or self._ask(query)
        self._ranker.learn(question.features, text_id(analyze(command.command).template))

    def _name(self, query: Query) -> Hashable:
        """Return what tells a question from others: nothing was counted since, and all that is looked at is equal."""
        context = query.context
        return (
            *(self._store.meta("generation"), self._store.meta("derived")),
            *(context.length, context.exit_code, context.failures, context.gap, query.project, query.cwd),
            *context.templates,
        )

    def _ask(self, query: Query) -> _Question:
        proposals = {expert.name: p for expert in self._ranked if (p := expert.propose(query)) is not None}
        return _Question(proposals, extract(query, proposals))

    def _candidates(self, features: Features, pooled: Mapping[str, Proposal], feedback: Feedback) -> list[Candidate]:
        """Return the templates that might come next, most probable first."""
        probabilities: dict[int, float] = {}
        if features.templates:
            left = 1.0 - sum(_POOL[name] for name in pooled)
            ranked = (left * self._ranker.rank(features)[0]).tolist()
            probabilities = dict(zip(features.templates, ranked, strict=True))
        for name, proposal in pooled.items():
            for template, p in proposal.probabilities.items():
                if p > 0.0:
                    probabilities[template] = probabilities.get(template, 0.0) + _POOL[name] * p
        texts = dict(zip(probabilities, self._store.template_texts(list(probabilities)), strict=True))
        judged = feedback.templates(probabilities, texts)
        order = sorted(judged, key=lambda template: (-judged[template], texts[template]))
        return [Candidate(template, judged[template]) for template in order]

    def _forms(
        self, candidates: Sequence[Candidate], grounding: Grounding, feedback: Feedback, top_k: int
    ) -> list[tuple[Candidate, Line]]:
        """Return the templates that may come, each with its best line."""
        forms: list[tuple[Candidate, Line]] = []
        for candidate in candidates:
            if len(forms) == top_k:
                break
            if lines := feedback.lines(grounding, self._store.template_text(candidate.template)):
                forms.append((candidate, _of(candidate, lines[0])))
        return forms

    def _lines(
        self, candidates: Sequence[Candidate], grounding: Grounding, feedback: Feedback, top_k: int
    ) -> list[tuple[Candidate, Line]]:
        """Return the most probable lines of all templates, each with its own probability."""
        texts = self._store.template_texts([candidate.template for candidate in candidates])
        grounding.read(place for text in texts for place in places(text))
        found: list[tuple[Candidate, Line]] = []
        enough = 0.0
        for candidate, text in zip(candidates, texts, strict=True):
            # A line is at most as probable as its template.
            if candidate.probability <= 0.0 or candidate.probability < enough:
                break
            lines = feedback.lines(grounding, text, enough / candidate.probability)
            found += [(candidate, _of(candidate, line)) for line in lines]
            runnable = heapq.nlargest(top_k, (line.probability for _, line in found if line.runnable))
            enough = runnable[-1] if len(runnable) == top_k else 0.0
        found.sort(key=lambda item: (_is_late(item[1]), -item[1].probability, item[1].command))
        # An open line behind lines that can be run claims no more than they do.
        least = 1.0
        for place, (candidate, line) in enumerate(found):
            least = min(least, line.probability)
            found[place] = candidate, replace(line, probability=least)
        return found

    def _prediction(
        self,
        candidate: Candidate,
        line: Line,
        query: Query,
        proposals: Mapping[str, Proposal],
        shares: Mapping[str, float],
        grounding: Grounding,
        feedback: Feedback,
    ) -> Prediction:
        template = self._store.template_text(candidate.template)
        evidence = []
        for name, proposal in proposals.items():
            if probability := proposal.probabilities.get(candidate.template, 0.0):
                support = proposal.explain(candidate.template)
                if not all(grounding.may_run(step) for step in support.context):
                    continue  # what resembles the last step is a script of another project
                weight = shares.get(name, 0.0)
                evidence.append(Evidence(name, probability, weight, support.context, support.details))
        evidence.sort(key=lambda item: -item.weight * item.probability)
        if (judged := feedback.evidence(template, line.command)) is not None:
            evidence.append(judged)
        patterns = next((e.details for e in evidence if e.expert == "patterns"), {})
        return Prediction(
            next_command=line.command,
            template=template,
            probability=min(1.0, line.probability),
            template_probability=min(1.0, candidate.probability),
            confidence=max(patterns.get("confidence", 0.0), self._transition_confidence(candidate.template, query)),
            reason=reason(evidence, None if line.command == template else template),
            similar_patterns=patterns.get("pattern_ids", ()),
            auto_suggestions=self._suggestions(template, grounding),
            evidence=tuple(evidence),
            runnable=line.runnable,
            destructive=is_destructive(line.command),
        )

    def _transition_confidence(self, template: int, query: Query) -> float:
        """Return the confidence of the bare transition: a pattern of two steps with similarity 1."""
        keys = query.keys["counts"]
        if len(keys) < 2 or (row := self._store.follower(keys[1], template)) is None:
            return 0.0
        if row.good + row.bad == 0:  # sessions that go on have exit codes only
            return PatternCounts("", row.success, row.failure).confidence
        return PatternCounts("", row.good, row.bad).confidence

    def _suggestions(self, template: str, grounding: Grounding) -> tuple[str, ...]:
        """Return what usually follows a template, from the workflow graph."""
        following = self._store.context(context_key((template,)))
        if following is None:
            return ()
        best = heapq.nlargest(_SUGGESTIONS, following.followers, key=lambda row: row.count)
        least = best[-1].count
        tied = [row for row in following.followers if row.count >= least]
        texts = self._store.template_texts([row.template for row in tied])
        ranked = sorted(zip(tied, texts, strict=True), key=lambda item: (-item[0].count, item[1]))
        return tuple(islice((text for _, text in ranked if grounding.may_run(text)), _SUGGESTIONS))


def _of(candidate: Candidate, line: Line) -> Line:
    """Return a line of a template with the probability of both."""
    return replace(line, probability=candidate.probability * line.probability)


def _is_late(line: Line) -> bool:
    return not line.runnable and line.probability < _SURE
