"""Experts: sources of candidates with probabilities.

Each expert reads the memory and the context and changes neither; what it knows is learned by the memory. The
contract is `Expert`; every expert passes the same ``check_*`` suite.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from procedural_memory.memory.context import COUNTED, SKIPS, SessionContext, context_keys, program_of
from procedural_memory.memory.patterns import PatternIndex
from procedural_memory.storage.base import Context, Follower, Store, node_key

__all__ = [
    "ChainExpert",
    "Expert",
    "LineExpert",
    "PatternExpert",
    "Proposal",
    "Query",
    "RecencyExpert",
    "SemanticExpert",
    "SkipExpert",
    "Support",
    "chain_experts",
    "line_experts",
]

DISCOUNT = 0.75
"""Absolute discount of the interpolated back-off (Ney, Essen and Kneser 1994)."""

ESCAPE = 1.0
"""Unseen followers that a context is given: what was seen once or twice in a row is no certainty."""

_SHOWN_PATTERNS = 5


class Support(NamedTuple):
    """What an expert knows in favour of one candidate."""

    context: tuple[str, ...]
    details: Mapping[str, Any]


Matched: TypeAlias = tuple[tuple[str, ...], Mapping[str, Any]]
"""The steps that a context matched, and what else is to be said of it."""


@dataclass(slots=True)
class Proposal:
    """Candidates of one expert: template id -> probability (sum at most 1), and how to explain one of them."""

    probabilities: dict[int, float]
    explain: Callable[[int], Support]


class Query:
    """A context together with what is read of the memory for it; each row is read once for all experts.

    Parameters
    ----------
    store : Store
    context : SessionContext
    project, cwd : str or None
        Of the step to come; those of the context unless given.
    """

    def __init__(
        self, store: Store, context: SessionContext, project: str | None = None, cwd: str | None = None
    ) -> None:
        self.store = store
        self.context = context
        self.project = context.project if project is None else project
        self.cwd = context.cwd if cwd is None else cwd
        self.keys = context_keys(context, self.project, self.cwd)
        self.ids = store.template_ids(context.templates)
        self._contexts: dict[int, Context | None] = {}
        self._rows: dict[tuple[int, int], Follower | None] = {}
        self._longest: dict[tuple[str, int], int | None] = {}
        self.read([key for chain in self.keys.values() for key in chain])

    def read(self, keys: Sequence[int]) -> None:
        """Read what followed some contexts, in one go."""
        if missing := [key for key in keys if key not in self._contexts]:
            self._contexts.update(dict.fromkeys(missing))
            self._contexts.update(self.store.contexts(missing))

    def followers(self, key: int) -> Context | None:
        """Return what followed a context."""
        if key not in self._contexts:
            self.read((key,))
        return self._contexts[key]

    def count(self, key: int, followed: int) -> int:
        """Return how often something followed a context."""
        context = self.followers(key)
        if context is None:
            return 0
        known = context.counts.get(followed, 0)
        if known or context.complete:
            return known
        row = self.follower(key, followed)
        return row.count if row else 0

    def longest(self, chain: str, followed: int) -> int | None:
        """Return the place in a chain of the longest context that something followed."""
        if (chain, followed) not in self._longest:
            place = len(keys := self.keys.get(chain, ())) - 1
            while place >= 0 and not self.count(keys[place], followed):
                place -= 1
            self._longest[chain, followed] = place if place >= 0 else None
        return self._longest[chain, followed]

    def read_followers(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Read the counts of followers, by context and what followed, in one go."""
        if missing := [pair for pair in dict.fromkeys(pairs) if pair not in self._rows]:
            self._rows.update(dict.fromkeys(missing))
            self._rows.update(self.store.followers(missing))

    def follower(self, key: int, followed: int) -> Follower | None:
        """Return the counts of one follower of a context."""
        if (key, followed) not in self._rows:
            self.read_followers([(key, followed)])
        return self._rows[key, followed]


class Expert(Protocol):
    """Proposes candidates. Pure: the same memory and context give the same answer, and neither is changed."""

    @property
    def name(self) -> str:
        """Name shown in `Evidence`."""
        ...

    def propose(self, query: Query) -> Proposal | None:
        """Return candidates with probabilities, or None when there is nothing to say."""
        ...


def decayed(context: Context, decay: float) -> tuple[Mapping[int, float], float]:
    """Return the followers' counts, each weighted by ``decay`` to the power of its age, and their sum.

    The age is the number of updates of this context since. Followers older than the recent ones that are stored
    share the exact sum of the older weights by their counts.
    """
    if decay == 1.0:
        return context.counts, context.total
    weights: dict[int, float] = {}
    weight = 1.0
    for template in reversed(context.recent):
        weights[template] = weights[template] + weight if template in weights else weight
        weight *= decay
    total = (1.0 - weight) / (1.0 - decay)
    older = context.total - len(context.recent)
    if older > 0:
        mass = weight * (1.0 - decay**older) / (1.0 - decay)
        recent = Counter(context.recent)
        for template, count in context.counts.items():
            if template not in recent:
                weights[template] = mass * count / older
            elif extra := count - recent[template]:
                weights[template] += mass * extra / older
        total += mass
    return weights, total


class ChainExpert:
    """Counts of a chain of contexts, the longer ones first: interpolated with absolute discounting.

    Parameters
    ----------
    name : str
    chain : str
        Which of the chains of `context_keys`.
    decay : float
        Weight of a follower relative to the one after it in the same context.

    Attributes
    ----------
    KEPT, MANY : int
        Of at most so many contexts with so many followers the weights are kept: there are few of them, and most
        predictions look at the same ones.
    """

    KEPT, MANY = 256, 16

    def __init__(self, name: str, chain: str, decay: float) -> None:
        self.name = name
        self._chain = chain
        self._decay = decay
        self._kept: dict[int, tuple[Context, list[tuple[int, float]], float]] = {}

    def propose(self, query: Query) -> Proposal | None:
        """Back off from the longest context that was seen to shorter ones, which share what it leaves."""
        mixed: dict[int, float] = {}
        left = 1.0
        for key in reversed(query.keys.get(self._chain, ())):
            context = query.followers(key)
            if context is None:
                continue
            above, total = self._above_discount(key, context)
            each, used = left / (total + ESCAPE), 0.0
            for template, weight in above:
                p = weight * each
                mixed[template] = mixed[template] + p if template in mixed else p
                used += p
            left -= used
        if not mixed:
            return None
        matched: dict[int, Matched] = {}
        return Proposal(mixed, lambda template: self._explain(query, template, matched))

    def _above_discount(self, key: int, context: Context) -> tuple[list[tuple[int, float]], float]:
        """Return by how much the weights of followers are above the discount, and the sum of all weights."""
        if (known := self._kept.get(key)) and known[0] is context:
            return known[1:]
        weights, total = decayed(context, self._decay)
        above = [(template, weight - DISCOUNT) for template, weight in weights.items() if weight > DISCOUNT]
        if len(weights) >= self.MANY:
            if len(self._kept) >= self.KEPT:
                self._kept.clear()
            self._kept[key] = context, above, total
        return above, total

    def _explain(self, query: Query, template: int, matched: dict[int, Matched]) -> Support:
        """Return the counts of the longest context that this candidate followed; `matched` keeps what it matched."""
        place = query.longest(self._chain, template)
        if place is None:
            return Support((), {})
        key = query.keys[self._chain][place]
        context = query.followers(key)
        assert context is not None
        if place not in matched:
            matched[place] = self._match(query, place)
        steps, condition = matched[place]
        if self._chain in COUNTED:
            return Support(steps, {"count": query.count(key, template), "total": context.total, **condition})
        row = query.follower(key, template)
        assert row is not None
        details = {**counts_of(row), "total": context.total, **condition}
        if self._decay < 1.0:
            details |= {"lately": context.recent.count(template), "of": len(context.recent)}
        return Support(steps, details)

    def _match(self, query: Query, place: int) -> Matched:
        """Return the steps that a context of the chain matched, and what else is to be said of it."""
        if self._chain in COUNTED:
            return (), self._condition(query, place)
        steps = tuple(query.context.templates[-place:]) if place else ()
        # A context one longer than the session so far includes its beginning.
        return steps, {"at_start": place > len(query.context.templates)}

    def _condition(self, query: Query, place: int) -> dict[str, Any]:
        """Return what a chain that keeps counts alone matched: the last steps or, of any arguments, their programs."""
        length = place + (self._chain == "program")
        steps = tuple(query.context.templates[-length:]) if length else ()
        details: dict[str, Any] = {"at_start": length > len(query.context.templates)}
        if self._chain == "exit":
            details["ended"] = "failed" if query.context.exit_code else "passed"
            if length:
                return {**details, "steps": steps}
            steps = tuple(query.context.templates[-1:])
        return {**details, "programs": tuple(program_of(step) for step in steps)}


def chain_experts() -> tuple[ChainExpert, ...]:
    """Return the experts on counts: long memory and short, by place, by program, and by how the last step ended."""
    return (
        ChainExpert("counts", "counts", 1.0),
        ChainExpert("recent", "counts", 0.9),
        ChainExpert("project", "project", 0.95),
        ChainExpert("directory", "directory", 0.95),
        ChainExpert("program", "program", 1.0),
        ChainExpert("exit", "exit", 1.0),
    )


class LineExpert(ChainExpert):
    """Counts of command lines after a chain of contexts; its candidates are lines."""

    def _explain(self, query: Query, template: int, matched: dict[int, Matched]) -> Support:
        place = query.longest(self._chain, template)
        if place is None:
            return Support((), {})
        if place not in matched:
            matched[place] = self._match(query, place)
        steps, condition = matched[place]
        return Support(steps, {"count": query.count(query.keys[self._chain][place], template), **condition})

    def _match(self, query: Query, place: int) -> Matched:
        # The chain after templates has no context of order 0.
        steps, order = query.context.lines, place
        if self._chain == "line after":
            steps, order = query.context.templates, place + 1
        return tuple(steps[-order:]) if order else (), {"at_start": order > len(steps), "project": query.project}


def line_experts() -> tuple[LineExpert, ...]:
    """Return the experts on command lines."""
    return (
        LineExpert("line", "line", 1.0),
        LineExpert("line lately", "line", 0.9),
        LineExpert("line here", "line here", 0.95),
        LineExpert("line after", "line after", 0.95),
    )


class SkipExpert:
    """What came after a step further back, whatever stood between (skip-grams; weight by distance as in SR)."""

    name = "skip"

    def propose(self, query: Query) -> Proposal | None:
        """Mix the followers of each earlier step by one over its distance."""
        mixed: dict[int, float] = {}
        keys = zip(SKIPS, query.keys["skip"], strict=False)
        seen_after = [(back, context) for back, key in keys if (context := query.followers(key)) is not None]
        total = sum(1.0 / back for back, _ in seen_after)
        for back, context in seen_after:
            seen = context.total
            for template, count in context.counts.items():
                mixed[template] = mixed.get(template, 0.0) + count / seen / back
        if not mixed:
            return None

        def explain(template: int) -> Support:
            said = [
                (context.counts[template] / context.total / back, -back, context.counts[template], context.total)
                for back, context in seen_after
                if template in context.counts
            ]
            if not said:
                return Support((), {})
            _, nearness, count, seen = max(said)
            back = -nearness
            step = query.context.templates[-back : len(query.context.templates) - back + 1]
            return Support(tuple(step), {"count": count, "total": seen, "steps_back": back})

        return Proposal({template: p / total for template, p in mixed.items()}, explain)


def counts_of(row: Follower) -> dict[str, int]:
    """Return the counts of a follower under the names used in `Evidence.details`.

    ``successes`` and ``failures`` are of the step itself; ``ended_well`` and ``ended_badly`` of the sessions with it.
    """
    return {
        "count": row.count,
        "sessions": row.sessions,
        "successes": row.success,
        "failures": row.failure,
        "ended_well": row.good,
        "ended_badly": row.bad,
    }


class PatternExpert:
    """Steps that follow the place where the context aligns with a learned pattern."""

    name = "patterns"
    LENGTH, CANDIDATES, SHARPNESS, PSEUDO = 6, 24, 6.0, 0.5

    def __init__(self, index: PatternIndex, threshold: float) -> None:
        self._index = index
        self._threshold = threshold

    def propose(self, query: Query) -> Proposal | None:
        """Let each matching place in a pattern vote for the step after it."""
        templates = query.context.templates[-self.LENGTH :]
        if not templates:
            return None
        found = self._index.continuations(templates, self.CANDIDATES, self._threshold)
        if found is None or not len(found.templates):
            return None
        votes: dict[int, float] = {}
        weights = found.similarities.astype(np.float64) ** self.SHARPNESS
        for step, weight in zip(found.templates.tolist(), weights.tolist(), strict=True):
            votes[step] = votes.get(step, 0.0) + weight
        total = sum(votes.values()) + self.PSEUDO

        nearest_of: dict[int, dict[int, float]] = {}

        def explain(template: int) -> Support:
            if not nearest_of:
                columns = (found.templates, found.patterns, found.similarities)
                for step, number, similarity in zip(*(column.tolist() for column in columns), strict=True):
                    patterns = nearest_of.setdefault(step, {})
                    patterns[number] = max(patterns.get(number, 0.0), similarity)
            best = nearest_of.get(template)
            if best is None:
                return Support((), {})
            # Similarity first: counts are read only for the patterns that can be shown.
            nearest = heapq.nsmallest(_SHOWN_PATTERNS, best, key=lambda number: (-best[number], number))
            rows = query.store.pattern_counts(nearest)
            ranked = sorted(rows, key=lambda n: (-best[n] * rows[n].confidence, rows[n].pattern_id))
            return Support(
                tuple(templates),
                {
                    "patterns": len(best),
                    "all_looked_at": found.complete,
                    "pattern_ids": tuple(rows[number].pattern_id for number in ranked),
                    "similarity": round(best[nearest[0]], 4),
                    "confidence": best[ranked[0]] * rows[ranked[0]].confidence,
                },
            )

        return Proposal({step: vote / total for step, vote in votes.items()}, explain)


class SemanticExpert:
    """What followed the templates that resemble the last command most, by their stored vectors."""

    name = "semantic"
    SHARPNESS, FLOOR = 4.0, 0.3

    def __init__(self, neighbours: Callable[[int], list[tuple[int, float]]]) -> None:
        self._neighbours = neighbours

    def propose(self, query: Query) -> Proposal | None:
        """Mix the followers of the nearest templates, weighted by cosine."""
        last = query.ids.get(query.context.templates[-1]) if query.context.templates else None
        if last is None:
            return None
        votes: dict[int, float] = {}
        weighed: list[tuple[int, float, Context]] = []
        total = 0.0
        cosines = dict(self._neighbours(last))
        near = [neighbour for neighbour, cosine in cosines.items() if cosine >= self.FLOOR]
        keys = {neighbour: node_key(neighbour) for neighbour in near}
        query.read(list(keys.values()))
        for neighbour, key in keys.items():
            cosine = cosines[neighbour]
            context = query.followers(key)
            if context is None:
                continue
            weight = cosine**self.SHARPNESS
            weighed.append((neighbour, weight, context))
            total += weight
            seen = context.total
            for template, count in context.counts.items():
                votes[template] = votes.get(template, 0.0) + weight * count / seen
        if not total:
            return None

        def explain(template: int) -> Support:
            said = [
                (weight * count / context.total, neighbour, count)
                for neighbour, weight, context in weighed
                if (count := context.counts.get(template))
            ]
            if not said:
                return Support((), {})
            _, neighbour, count = max(said)
            return Support(
                (query.store.template_text(neighbour),),
                {"count": count, "similarity": round(cosines[neighbour], 4)},
            )

        return Proposal({template: vote / total for template, vote in votes.items()}, explain)


class RecencyExpert:
    """Steps of this session, the newer the more probable."""

    name = "recency"
    DECAY, PSEUDO = 0.85, 1.0

    def propose(self, query: Query) -> Proposal | None:
        """Weight each step of the session by its age."""
        weights: dict[int, float] = {}
        ages: dict[int, int] = {}
        total = 0.0
        for age, template in enumerate(reversed(query.context.templates), 1):
            weight = self.DECAY**age
            total += weight
            number = query.ids.get(template)
            if number is not None:
                weights[number] = weights.get(number, 0.0) + weight
                ages.setdefault(number, age)
        if not weights:
            return None
        return Proposal(
            # In a session of one step, a repeat is a guess and no more.
            {template: weight / (total + self.PSEUDO) for template, weight in weights.items()},
            lambda template: Support((), {"steps_ago": ages[template]} if template in ages else {}),
        )
