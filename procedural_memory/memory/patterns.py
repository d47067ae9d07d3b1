"""Learned patterns: the mapping that users see, and the search for those that resemble a sequence of commands."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, get_args

from procedural_memory.digests import blake2b
from procedural_memory.errors import InvalidInputError, shown
from procedural_memory.memory.families import fold
from procedural_memory.memory.lifecycle import memory_time, state_of, support_of
from procedural_memory.storage.base import PatternCounts, PatternRow, Store, hash64, moment_start, pattern_row_id
from procedural_memory.types import PatternState, SimilarPattern, WorkflowPattern
from procedural_memory.validation import as_positive_int

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procedural_memory.memory.similarity import CommandSimilarity, KeptSimilarity

__all__ = ["CANDIDATES", "Continuations", "PatternIndex", "Patterns", "index_keys", "pattern_id_of", "to_pattern"]

CANDIDATES = 200
"""At most this many patterns are aligned with a query."""

MAX_QUERY = 256
"""Of a longer query its newest steps are aligned."""

MAX_STEPS = 200_000
"""Patterns are aligned until they hold this many steps together: bounds time and memory of one search."""


@lru_cache(maxsize=65_536)
def index_keys(template: str) -> tuple[int, ...]:
    """Return the keys under which patterns with this template are found: itself, and its programs, tools folded."""
    return (hash64("=", template), *[hash64(part) for part in fold(template)])


def pattern_id_of(templates: Sequence[str]) -> str:
    """Return the id of the pattern with these templates: the same in every memory."""
    return blake2b("\x1e".join(templates).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def to_pattern(row: PatternRow, now: float, text: Callable[[str], str] = str) -> WorkflowPattern:
    """Return the public view of a stored pattern, at the time `now` of its memory, its texts redacted by `text`."""
    runs, last_seen = row.success + row.failure + row.unknown, moment_start(row.newest)
    support = support_of(runs, last_seen, now)
    return WorkflowPattern(
        pattern_id=row.pattern_id,
        command_sequence=tuple(map(text, row.example)),
        templates=tuple(map(text, row.templates)),
        success_count=row.success,
        failure_count=row.failure,
        unknown_count=row.unknown,
        avg_duration_ms=row.duration_ms / row.timed if row.timed else None,
        confidence=PatternCounts(row.pattern_id, row.success, row.failure).confidence,
        last_seen=last_seen,
        support=support,
        state=state_of(runs, support),
    )


class Patterns(Mapping[str, WorkflowPattern]):
    """A live, read-only mapping: pattern id -> `WorkflowPattern`.

    Parameters
    ----------
    store : Store
    reading : callable
        Gives the context in which the store is up to date and stays as it is.
    text : callable
        Redacts a text that is shown.
    """

    def __init__(
        self, store: Store, reading: Callable[[], AbstractContextManager[object]], text: Callable[[str], str]
    ) -> None:
        self._store = store
        self._reading = reading
        self._text = text

    def __getitem__(self, pattern_id: str) -> WorkflowPattern:
        with self._reading():
            row = self._store.pattern(pattern_id) if isinstance(pattern_id, str) and pattern_id.isascii() else None
            if row is None:
                raise KeyError(pattern_id)
            return to_pattern(row, memory_time(self._store), self._text)

    def __iter__(self) -> Iterator[str]:
        with self._reading():
            return iter(self._store.pattern_ids())

    def __len__(self) -> int:
        with self._reading():
            return self._store.totals()["pattern_count"]

    def items(self) -> ItemsView[str, WorkflowPattern]:
        """Return the patterns of this moment: a loop over them does not stumble over what is forgotten meanwhile."""
        return self._copy().items()

    def values(self) -> ValuesView[WorkflowPattern]:
        """As `items`, the patterns alone."""
        return self._copy().values()

    def page(
        self,
        limit: int = 20,
        offset: int = 0,
        *,
        state: PatternState | None = None,
        containing: str | None = None,
        min_confidence: float = 0.0,
        min_support: int = 0,
    ) -> tuple[list[WorkflowPattern], int]:
        """Return a part of the patterns, and how many there are in all that meet the conditions.

        Parameters
        ----------
        limit, offset : int
            At most so many, behind so many: those that most sessions followed come first.
        state : {"candidate", "active", "archived"}, optional
        containing : str, optional
            Those with this text in a command line of their example.
        min_confidence : float
        min_support : int
            Those that so many sessions followed.
        """
        most = as_positive_int("limit", limit)
        if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
            raise InvalidInputError(f"offset: must be 0 or more, got {shown(offset)}")
        if state not in (None, *get_args(PatternState)):
            raise InvalidInputError(f"state: must be candidate, active, archived or None, got {shown(state)}")
        with self._reading():
            now = memory_time(self._store)
            heads = [
                (-runs, -seen.confidence, seen.pattern_id)
                for row in self._store.pattern_heads(examples=bool(containing))
                if (runs := row.success + row.failure + row.unknown) >= min_support
                and (not containing or self._holds(row.example, containing))
                and (seen := to_pattern(row, now)).confidence >= min_confidence
                and state in (None, seen.state)
            ]
            heads.sort()
            return [self[pattern_id] for _, _, pattern_id in heads[offset : offset + most]], len(heads)

    def _holds(self, lines: Sequence[str], words: str) -> bool:
        # What is hidden when it is shown is not found either.
        return any(words in line and words in self._text(line) for line in lines)

    def _copy(self) -> dict[str, WorkflowPattern]:
        with self._reading():
            return {pattern_id: self[pattern_id] for pattern_id in self._store.pattern_ids()}

    def __repr__(self) -> str:
        return f"<{len(self)} patterns>"


@dataclass(frozen=True, slots=True)
class Continuations:
    """The steps that follow where a context matches patterns: one entry a matching place.

    Attributes
    ----------
    templates : ndarray of int, shape (n,)
        Template id of the step after the place.
    similarities : ndarray of float32, shape (n,)
    patterns : ndarray of int, shape (n,)
        Row id of the pattern.
    complete : bool
        Whether all patterns that share a tool with the context were looked at, not the nearest ones only.
    """

    templates: NDArray[np.int64]
    similarities: NDArray[np.float32]
    patterns: NDArray[np.int64]
    complete: bool


@dataclass(frozen=True, slots=True)
class _Aligned:
    """What is aligned: patterns, their steps as columns of `similarities`, and where each pattern begins."""

    ids: list[int]
    templates: NDArray[np.int64]
    similarities: NDArray[np.float32]
    steps: NDArray[np.intp]
    offsets: NDArray[np.intp]
    complete: bool


class PatternIndex:
    """Finds patterns by ordered alignment.

    Parameters
    ----------
    store : Store
    similarity : CommandSimilarity
        Similarity of single commands.
    kept : KeptSimilarity, optional
        The same for `continuations`, which is asked for at every step.
    text : callable
        Redacts a text that is shown.
    """

    def __init__(
        self,
        store: Store,
        similarity: CommandSimilarity,
        kept: KeptSimilarity | None = None,
        text: Callable[[str], str] = str,
    ) -> None:
        self._store = store
        self._text = text
        self._similarity = similarity
        self._kept = kept

    def strangers(self, templates: Sequence[str]) -> list[str]:
        """Return those of `templates` of which no pattern has the template nor the tool."""
        newest = list(dict.fromkeys(templates[-MAX_QUERY:]))
        known = self._store.template_ids(newest)
        return [text for text in newest if text not in known and not self._store.patterns_with(index_keys(text), 1)]

    def similar(
        self, templates: Sequence[str], k: int, threshold: float, like: Sequence[str] = ()
    ) -> list[SimilarPattern]:
        """Return the `k` patterns most similar to `templates`, best first, none below `threshold`.

        Patterns are looked for by what `templates` do, and by what templates `like` them do.
        """
        from procedural_memory.memory.similarity import align

        query = templates[-MAX_QUERY:]
        work = self._prepare(query, CANDIDATES, MAX_STEPS, like=like)
        if work is None:
            return []
        aligned = align(
            work.similarities,
            work.steps,
            work.offsets,
            self._similarity.weights(query),
            self._similarity.substitution(query, self._store.template_texts(work.templates.tolist())),
        )
        ranked = sorted(range(len(work.ids)), key=lambda i: (-aligned.similarity[i], work.ids[i]))
        matches, now = [], memory_time(self._store)
        for i in ranked[:k]:
            if (score := float(aligned.similarity[i])) < threshold:
                break
            row = self._store.pattern(work.ids[i])
            assert row is not None
            matches.append(
                SimilarPattern(
                    row.pattern_id, score, int(aligned.start[i]), int(aligned.end[i]), to_pattern(row, now, self._text)
                )
            )
        return matches

    def continuations(self, templates: Sequence[str], candidates: int, threshold: float) -> Continuations | None:
        """Return the steps that follow where `templates` (a context, newest last) matches a pattern."""
        import numpy as np

        from procedural_memory.memory.similarity import continuations

        work = self._prepare(templates, candidates, MAX_STEPS // 10, self._kept)
        if work is None:
            return None
        scores = continuations(work.similarities, work.steps, work.offsets)
        scores[work.offsets[1:] - 1] = 0.0  # nothing follows a last step
        places = np.flatnonzero(scores >= max(threshold, 1e-6))
        owners = np.searchsorted(work.offsets, places, side="right") - 1
        return Continuations(
            work.templates[work.steps[places + 1]],
            scores[places],
            np.array(work.ids, dtype=np.int64)[owners],
            work.complete,
        )

    def groups(self, threshold: float) -> list[tuple[str, ...]]:
        """Return groups of near-duplicate patterns: connected by mutual similarity of at least `threshold`."""
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while parent.setdefault(name, name) != name:
                name = parent[name]
            return name

        for pattern_id in self._store.pattern_ids():
            row = self._store.pattern(pattern_id)
            assert row is not None
            for match in self.similar(row.templates, CANDIDATES, threshold):
                # A short workflow inside a long one is no duplicate of it: the match must cover both.
                if match.end - match.start >= threshold * len(match.pattern.templates):
                    first, second = sorted((root(pattern_id), root(match.pattern_id)))
                    parent[second] = first
        groups: dict[str, list[str]] = {}
        for pattern_id in sorted(parent):
            groups.setdefault(root(pattern_id), []).append(pattern_id)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def _prepare(
        self,
        templates: Sequence[str],
        candidates: int,
        most_steps: int,
        kept: KeptSimilarity | None = None,
        like: Sequence[str] = (),
    ) -> _Aligned | None:
        import numpy as np

        keys = [key for template in (*templates, *like) for key in index_keys(template)]
        # However many share its tools, the very same workflow is looked at first, where it is known.
        exact = pattern_row_id(pattern_id_of(templates))
        near = self._store.patterns_with(keys, candidates)
        found = list(dict.fromkeys([exact, *near]))
        complete = len(near) < candidates
        ids: list[int] = []
        parts: list[NDArray[np.int64]] = []
        size = 0
        for number, steps in self._store.pattern_templates(found):
            if len(ids) == candidates or (ids and size + len(steps) > most_steps):
                complete = False
                break
            ids.append(number)
            parts.append(steps[:most_steps])
            size += len(steps)
        if not ids:
            return None
        universe, steps_of = np.unique(np.concatenate(parts), return_inverse=True)
        numbers, texts = universe.tolist(), self._store.template_texts
        return _Aligned(
            ids,
            universe,
            kept.matrix(templates, numbers, texts) if kept else self._similarity.matrix(templates, texts(numbers)),
            steps_of.astype(np.intp),
            np.cumsum([0, *map(len, parts)]).astype(np.intp),
            complete and size <= most_steps,
        )
