"""Makes predictions: asks the experts, ranks what they propose, grounds the best, explains them."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from procedural_memory.commands.danger import is_destructive
from procedural_memory.commands.events import is_event
from procedural_memory.commands.normalize import analyze
from procedural_memory.commands.places import places
from procedural_memory.commands.shapes import PLACEHOLDER
from procedural_memory.memory.context import RATED, SessionContext
from procedural_memory.memory.fills import line_place
from procedural_memory.prediction.experts import Expert, Proposal, Query
from procedural_memory.prediction.features import EXPERTS, Features, extract
from procedural_memory.prediction.feedback import Feedback
from procedural_memory.prediction.line_features import LINE_EXPERTS, extract_lines
from procedural_memory.prediction.lines import Grounding, Line
from procedural_memory.prediction.ranker import Rankers
from procedural_memory.prediction.reasons import reason
from procedural_memory.storage.base import PatternCounts, Store, node_key, text_id
from procedural_memory.types import Command, Evidence, Level, Prediction

__all__ = ["Predictor"]

_SUGGESTIONS = 3
_SPARE = 4
_LOOKED_FOR = 10
"""So many lines are looked for at least: those that the ranker of lines learns from."""
_FROM_EACH = 8
"""How many lines of each expert on lines are looked at."""
_ASKED = 8
_POOL: Final = {"patterns": 0.05, "semantic": 0.05}
"""Share of the experts that look for what resembles the context, in a linear pool with the ranker (Stone 1961).

The ranker does not see them: what they say hangs on vectors that are made in the background, and learning must not hang
on when a step was asked about."""
_SURE = 0.4
"""An open line that is more probable stands where its probability puts it; others come after the lines that can be run:
nobody is helped by a list of forms."""


_Place: TypeAlias = tuple[bool, float, str, int, tuple[int, str]]
"""What a line is sorted by, and at the end its template and itself."""


class _Chosen(NamedTuple):
    """What is predicted: a template and its probability, a line given it, and the probability of that line."""

    template: int
    of_template: float
    line: Line
    probability: float


@dataclass(slots=True)
class _Lines:
    """Command lines that may come, and what the ranker of lines sees of them.

    Attributes
    ----------
    name : tuple or None
        What they hang on beside the question: the session, its length, and the outputs it heard.
    runnable : dict
        Command line -> its template, and itself given that; its probability is 0 where the template does not give it.
    open : list
        Template, line with an open placeholder, and the probability of both.
    rest : float
        What the templates leave for lines that are not runnable.
    proposals : dict
        What the experts on lines say.
    features : Features
    """

    name: tuple[int, int, int] | None
    runnable: dict[str, tuple[int, Line]]
    open: list[tuple[int, Line, float]]
    rest: float
    proposals: dict[str, Proposal]
    features: Features


@dataclass(slots=True)
class _Question:
    """What the ranker's experts say of a context, and what the ranker sees of it."""

    proposals: dict[str, Proposal]
    features: Features
    lines: _Lines | None = None


class Predictor:
    """Predicts from a store, its experts and their rankers.

    Parameters
    ----------
    store : Store
    ranked : sequence of Expert
        Those that the ranker weighs.
    pooled : sequence of Expert
        Those of `_POOL`.
    liners : sequence of Expert
        Those on command lines.
    rankers : Rankers
    """

    def __init__(
        self,
        store: Store,
        ranked: Sequence[Expert],
        pooled: Sequence[Expert],
        liners: Sequence[Expert],
        rankers: Rankers,
    ) -> None:
        self._store = store
        self._ranked = tuple(ranked)
        self._pooled = tuple(pooled)
        self._liners = tuple(liners)
        self._rankers = rankers
        self._asked: OrderedDict[Hashable, _Question] = OrderedDict()

    @property
    def experts(self) -> tuple[Expert, ...]:
        """All experts."""
        return (*self._ranked, *self._pooled, *self._liners)

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
        pooled = _proposals(self._pooled, query)
        feedback = Feedback(self._store, context)
        ranked = self._rankers.templates.rank(question.features)[0].tolist()
        first = None if level == "template" else max(top_k, _LOOKED_FOR) + _SPARE
        candidates = self._candidates(question.features, ranked, pooled, first, feedback)
        grounding = Grounding(self._store, context.values, query.project, query.cwd)
        left = 1.0 - sum(_POOL[name] for name in pooled)
        shares = self._rankers.templates.shares(question.features, EXPERTS)
        shares = {name: left * share for name, share in shares.items()} | _POOL
        proposals = question.proposals | pooled
        if level == "template":
            chosen = self._forms(candidates, grounding, feedback, top_k)
            liners: dict[str, Proposal] = {}
        else:
            lines = self._ask_lines(question, ranked, query, grounding)
            chosen = self._lines(question, lines, candidates, pooled, grounding, feedback, top_k)
            shares |= self._rankers.lines.shares(lines.features, ("fill", *LINE_EXPERTS))
            liners = lines.proposals
        shown = [
            item
            for item in chosen
            if (item.of_template if level == "template" else item.probability) >= min_probability
        ]
        self._read_for(query, [item.template for item in shown])
        return [self._prediction(item, query, proposals, liners, shares, grounding, feedback) for item in shown]

    def forget(self) -> None:
        """Let go of what was asked: the store went back to an earlier state."""
        self._asked.clear()

    def learn(self, context: SessionContext, command: Command, with_lines: bool) -> None:
        """Let the rankers learn from the step after `context`, before that step is counted."""
        query = Query(self._store, context, command.project, command.cwd)
        question = self._asked.get(self._name(query)) or self._ask(query)
        if not question.features.candidates:
            return
        if with_lines:
            lines = question.lines
            # What was shown is learned from: it may come from outputs, which the log does not have.
            if lines is None or lines.name is None or lines.name[:2] != (context.session, context.length):
                grounding = Grounding(self._store, context.values, query.project, query.cwd)
                ranked = self._rankers.templates.rank(question.features)[0].tolist()
                lines = self._ask_lines(question, ranked, query, grounding)
            self._rankers.lines.learn(lines.features, text_id(command.command))
        self._rankers.templates.learn(question.features, text_id(analyze(command.command).template))
        self._rankers.learned += 1

    def _name(self, query: Query) -> Hashable:
        """Return what tells a question from others: nothing was counted since, and all that is looked at is equal."""
        context = query.context
        return (
            *(self._store.meta("generation"), self._store.meta("derived")),
            *(context.length, context.exit_code, context.failures, context.gap, query.project, query.cwd),
            *context.templates,
        )

    def _ask(self, query: Query) -> _Question:
        proposals = _proposals(self._ranked, query)
        return _Question(proposals, extract(query, proposals))

    def _ask_lines(self, question: _Question, ranked: Sequence[float], query: Query, grounding: Grounding) -> _Lines:
        """Return the lines that the ranked templates and the experts on lines propose."""
        context = query.context
        # A session goes on in one way only; of contexts that are told there may be many with the same templates.
        name = None if context.session is None else (context.session, context.length, context.values.heard)
        known = question.lines
        if known is not None and known.name == name is not None:
            return known
        runnable: dict[str, tuple[int, Line]] = {}
        filled: dict[str, float] = {}
        opened: list[tuple[int, Line, float]] = []
        first = _LOOKED_FOR + _SPARE
        likely = [*islice(self._candidates(question.features, ranked, {}, first).items(), first)]
        texts = self._store.template_texts([template for template, _ in likely])
        grounding.read(place for text in texts[:_LOOKED_FOR] for place in places(text) or [line_place(text)])
        enough = 0.0
        for (template, probability), text in zip(likely, texts, strict=True):
            # A line is at most as probable as its template.
            if probability <= 0.0 or probability < enough:
                break
            for line in grounding.lines(text, enough / probability):
                p = probability * line.probability
                if not line.runnable:
                    opened.append((template, line, p))
                elif p > filled.get(line.command, 0.0):
                    filled[line.command] = p
                    runnable[line.command] = template, line
            if len(filled) >= _LOOKED_FOR:
                enough = sorted(filled.values())[-_LOOKED_FOR]
        rest = max(1.0 - sum(filled.values()), sum(p for _, _, p in opened), 1e-9)
        proposals = _proposals(self._liners, query)
        for command, template in self._proposed(proposals).items():
            if command not in filled:
                filled[command] = 0.0
                runnable[command] = template, Line(command, 0.0, "past")
        features = extract_lines(query, filled, proposals)
        question.lines = _Lines(name, runnable, opened, rest, proposals, features)
        return question.lines

    def _proposed(self, proposals: Mapping[str, Proposal]) -> dict[str, int]:
        """Return the lines that experts propose most and that can be run, each with its template."""
        best: dict[int, None] = {}
        for proposal in proposals.values():
            said = proposal.probabilities
            first = heapq.nsmallest(_FROM_EACH, [(-p, number) for number, p in said.items()])
            best |= dict.fromkeys(number for _, number in first)
        texts = sorted(text for text in self._store.template_texts(list(best)) if not PLACEHOLDER.search(text))
        templates = [analyze(text).template for text in texts]
        ids = self._store.template_ids(templates)
        return {text: ids[template] for text, template in zip(texts, templates, strict=True) if template in ids}

    def _candidates(
        self,
        features: Features,
        ranked: Sequence[float],
        pooled: Mapping[str, Proposal],
        first: int | None,
        feedback: Feedback | None = None,
    ) -> dict[int, float]:
        """Return the templates that might come next with their probabilities, most probable first.

        `ranked` is what the ranker says of them. The alphabet decides between what is equally probable; only of the
        `first` ones, all of them if None, the order is sure.
        """
        left = 1.0 - sum(_POOL[name] for name in pooled)
        probabilities = {template: left * p for template, p in zip(features.candidates, ranked, strict=True)}
        for name, proposal in pooled.items():
            for template, p in proposal.probabilities.items():
                if p > 0.0:
                    probabilities[template] = probabilities.get(template, 0.0) + _POOL[name] * p
        judged = feedback.templates(probabilities) if feedback else probabilities
        # The texts are read of what may be among the first.
        least = 0.0 if first is None or len(judged) <= first else sorted(judged.values())[-first]
        among = [template for template, p in judged.items() if p >= least]
        texts = self._store.template_texts(among)
        order = sorted(zip([-judged[template] for template in among], texts, among, strict=True))
        return {template: -low for low, _, template in order[:first]} | dict(judged)

    def _forms(
        self, candidates: Mapping[int, float], grounding: Grounding, feedback: Feedback, top_k: int
    ) -> list[_Chosen]:
        """Return the templates that may come, each with its best line."""
        forms: list[_Chosen] = []
        for template, probability in candidates.items():
            if len(forms) == top_k:
                break
            if lines := feedback.lines(grounding, self._store.template_text(template)):
                forms.append(_Chosen(template, probability, lines[0], probability * lines[0].probability))
        return forms

    def _lines(
        self,
        question: _Question,
        lines: _Lines,
        candidates: Mapping[int, float],
        pooled: Mapping[str, Proposal],
        grounding: Grounding,
        feedback: Feedback,
        top_k: int,
    ) -> list[_Chosen]:
        """Return the most probable lines, those that can be run first."""
        ranked, none = self._rankers.lines.rank(lines.features)
        left = 1.0 - sum(_POOL[name] for name in pooled)
        pool: dict[int, float] = {}
        for name, proposal in pooled.items():
            for template, p in proposal.probabilities.items():
                pool[template] = pool.get(template, 0.0) + _POOL[name] * p
        given: dict[tuple[int, str], Line] = {}
        probabilities: dict[tuple[int, str], float] = {}
        for (command, (template, line)), p in zip(lines.runnable.items(), ranked.tolist(), strict=True):
            given[template, command] = line
            probabilities[template, command] = left * p + pool.get(template, 0.0) * line.probability
        # What the ranker of lines does not see shares "none of these" as the templates say.
        share = none / lines.rest
        for template, line, p in lines.open:
            given[template, line.command] = line
            probabilities[template, line.command] = left * share * p + pool.get(template, 0.0) * line.probability
        asked, seen = {template for template, _ in given}, set(question.features.candidates)
        commands = {command for _, command in given}

        def add(template: int) -> None:
            for line in grounding.lines(self._store.template_text(template)):
                if line.command not in commands:
                    commands.add(line.command)
                    given[template, line.command] = line
                    p = candidates[template] * line.probability
                    probabilities[template, line.command] = share * p if template in seen else p

        for template in islice(candidates, _LOOKED_FOR):
            if template not in asked:
                add(template)
        near = len(given)
        for template in islice(candidates, top_k + _SPARE if top_k > _LOOKED_FOR else 0):
            add(template)
        keys = list(given)
        # What is known of lines alone may say more of their template than the templates do.
        judged = feedback.lines_of_all({key: probabilities[key] for key in keys[:near]})
        sums: dict[int, float] = {}
        for (template, _), p in judged.items():
            sums[template] = sums.get(template, 0.0) + p

        def ordered(judged: Mapping[tuple[int, str], float], first: int) -> list[_Place]:
            """Return lines, those that can be run first, unless an open one is sure enough; ties by the line."""
            return sorted(
                (not given[key].runnable and p < _SURE, -p, key[1], number, key)
                for number, (key, p) in enumerate(judged.items(), first)
            )

        # The first ones are the same, however many are asked for.
        found = ordered(judged, 0)
        further = ordered(feedback.lines_of_all({key: probabilities[key] for key in keys[near:]}), near)
        found[_LOOKED_FOR:] = sorted([*found[_LOOKED_FOR:], *further])
        chosen, least = [], 1.0
        for _, low, _, _, key in found[:top_k]:
            least = min(least, -low)  # an open line behind lines that can be run claims no more than they do
            of_template = max(sums.get(key[0], 0.0), candidates.get(key[0], 0.0))
            chosen.append(_Chosen(key[0], of_template, given[key], least))
        return chosen

    def _read_for(self, query: Query, templates: Sequence[int]) -> None:
        """Read in one go what explains templates: how those contexts went that they followed, and what follows them."""
        wanted = []
        for template in dict.fromkeys(templates):
            for chain in RATED:
                if (place := query.longest(chain, template)) is not None:
                    wanted.append((query.keys[chain][place], template))
            wanted += [(key, template) for key in query.keys["counts"][1:2]]
        query.read_followers(wanted)
        query.read([node_key(template) for template in templates])

    def _prediction(
        self,
        chosen: _Chosen,
        query: Query,
        proposals: Mapping[str, Proposal],
        liners: Mapping[str, Proposal],
        shares: Mapping[str, float],
        grounding: Grounding,
        feedback: Feedback,
    ) -> Prediction:
        number, line = chosen.template, chosen.line
        template = self._store.template_text(number)
        evidence = []
        for name, proposal in proposals.items():
            if probability := proposal.probabilities.get(number, 0.0):
                support = proposal.explain(number)
                if name == "semantic" and not all(grounding.may_run(step) for step in support.context):
                    continue  # what resembles the last step is a script of another project
                weight = shares.get(name, 0.0)
                evidence.append(Evidence(name, probability, weight, support.context, support.details))
        command = text_id(line.command)
        for name, proposal in liners.items():
            if probability := proposal.probabilities.get(command, 0.0):
                support = proposal.explain(command)
                evidence.append(Evidence(name, probability, shares.get(name, 0.0), support.context, support.details))
        if "fill" in shares and line.probability:
            evidence.append(Evidence("fill", line.probability, shares["fill"], (template,), {"rule": line.origin}))
        evidence.sort(key=lambda item: -item.weight * item.probability)
        if (judged := feedback.evidence(template, line.command)) is not None:
            evidence.append(judged)
        patterns = next((e.details for e in evidence if e.expert == "patterns"), {})
        return Prediction(
            next_command=line.command,
            template=template,
            probability=min(1.0, chosen.probability),
            template_probability=min(1.0, chosen.of_template),
            confidence=max(patterns.get("confidence", 0.0), self._transition_confidence(number, query)),
            reason=reason(evidence, None if line.command == template else template),
            similar_patterns=patterns.get("pattern_ids", ()),
            auto_suggestions=self._suggestions(query, number, grounding),
            evidence=tuple(evidence),
            runnable=line.runnable and not is_event(line.command),
            destructive=is_destructive(line.command),
        )

    def _transition_confidence(self, template: int, query: Query) -> float:
        """Return the confidence of the bare transition: a pattern of two steps with similarity 1."""
        keys = query.keys["counts"]
        if len(keys) < 2 or (row := query.follower(keys[1], template)) is None:
            return 0.0
        if row.good + row.bad == 0:  # sessions that go on have exit codes only
            return PatternCounts("", row.success, row.failure).confidence
        return PatternCounts("", row.good, row.bad).confidence

    def _suggestions(self, query: Query, template: int, grounding: Grounding) -> tuple[str, ...]:
        """Return what usually follows a template, from the workflow graph."""
        following = query.followers(node_key(template))
        if following is None:
            return ()
        counts = following.counts
        least = [*islice(counts.values(), _SUGGESTIONS)][-1]  # the most frequent ones come first
        tied = [template for template, count in counts.items() if count >= least]
        texts = dict(zip(tied, self._store.template_texts(tied), strict=True))
        ranked = sorted(tied, key=lambda template: (-counts[template], texts[template]))
        return tuple(islice((texts[t] for t in ranked if grounding.may_run(texts[t])), _SUGGESTIONS))


def _proposals(experts: Iterable[Expert], query: Query) -> dict[str, Proposal]:
    return {expert.name: proposal for expert in experts if (proposal := expert.propose(query)) is not None}
