"""What the ranker sees: a row of numbers for each candidate, and the situation that they stand in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import numpy as np

from procedural_memory.memory.context import MAX_ORDER, SessionContext, program_of, runs
from procedural_memory.prediction.experts import Proposal, Query
from procedural_memory.storage.base import hash64

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "EXPERTS",
    "FEATURES",
    "SITUATIONS",
    "Column",
    "Features",
    "as_matrix",
    "ended",
    "extract",
    "flags",
    "log_ages",
    "numbered",
    "position",
    "said",
    "shares_of",
]

EXPERTS: Final[Mapping[str, tuple[float, float]]] = {
    "counts": (0.4, 1e-4),
    "recent": (0.4, 1e-4),
    "project": (0.2, 1e-3),
    "directory": (0.2, 1e-3),
    "program": (0.1, 1e-4),
    "exit": (0.2, 1e-3),
    "skip": (0.1, 1e-3),
    "recency": (0.1, 1e-2),
}
"""Name of each expert -> (its say in who becomes a candidate, what is added to its probabilities before the log)."""

_ORDERS: Final = range(1, MAX_ORDER + 1)
FEATURES: Final = (
    *EXPERTS,
    *[f"newest after {order}" for order in _ORDERS],
    *[f"seen after {order}" for order in _ORDERS],
    "newest here",
    "newest here after 1",
    "followed last time",
    "share of what followed",
    "followed both last time",
    "log age",
    "used in session",
    "is the last",
    "is the one before",
    "is the third last",
    "same program",
    "log count",
    "known",
)
"""Columns of the matrix: log-probabilities of the experts, then hints of other kinds, then a constant."""

SITUATIONS: Final[Mapping[str, int]] = {"match": 5 * (MAX_ORDER + 2), "exit": 12, "position": 8, "gap": 6, "place": 4}
"""Ways of telling situations apart, each with its number of cases; the ranker has weights for every case."""

_T = TypeVar("_T")
Column: TypeAlias = "Sequence[float] | NDArray[np.float64] | NDArray[np.bool_] | float"
_CANDIDATES = 60
_NO_AGE = -3.5


@dataclass(frozen=True, slots=True)
class Features:
    """Candidates of one question.

    Attributes
    ----------
    candidates : list of int
        Their ids.
    matrix : ndarray of float32, shape (len(candidates), columns)
    cases : tuple of int
        The situation: one case of each way of telling situations apart, numbered through.
    traits : ndarray of uint64
        Hashes of the last steps, for the ranker's memory of pairs.
    """

    candidates: list[int]
    matrix: NDArray[np.float32]
    cases: tuple[int, ...]
    traits: NDArray[np.uint64]


def extract(query: Query, proposals: Mapping[str, Proposal]) -> Features:
    """Return the features of the candidates that the experts propose."""
    mixed: dict[int, float] = {}
    for name, proposal in proposals.items():
        say = EXPERTS[name][0]
        for template, p in proposal.probabilities.items():
            mixed[template] = mixed.get(template, 0.0) + say * p
    # Ties are broken by the id, which is made of the text.
    candidates = [template for _, template in sorted((-p, template) for template, p in mixed.items())[:_CANDIDATES]]
    ids = np.array(candidates, dtype=np.int64)
    columns = [
        *[said(proposals.get(name), candidates, least) for name, (_, least) in EXPERTS.items()],
        *_order_hints(query, candidates, ids),
        *_session_hints(query, candidates, ids),
        *_own_hints(query, candidates),
    ]
    return Features(candidates, as_matrix(columns, len(candidates)), _cases(query, proposals), _traits(query))


def as_matrix(columns: Sequence[Column], rows: int) -> NDArray[np.float32]:
    """Return columns as a matrix; a number stands for a column of it."""
    matrix = np.empty((rows, len(columns)), dtype=np.float32)
    for place, column in enumerate(columns):
        matrix[:, place] = column
    return matrix


def said(proposal: Proposal | None, candidates: Sequence[int], least: float) -> Column:
    """Return the log-probabilities that an expert gives candidates, `least` added to each; 0 where it says nothing."""
    if proposal is None:
        return 0.0
    given = proposal.probabilities
    return np.log(np.array([given.get(number, 0.0) for number in candidates], dtype=np.float64) + least)


def shares_of(followed: Sequence[_T], candidates: Iterable[_T]) -> Column:
    """Return the share of each candidate in what followed, of which there may be little."""
    if not followed:
        return 0.0
    counts = Counter(followed)
    return [counts[candidate] / (len(followed) + 0.5) for candidate in candidates]


def log_ages(ages: Mapping[_T, int], candidates: Iterable[_T]) -> list[float]:
    """Return minus the logarithm of how many steps ago each candidate was used; `_NO_AGE` where it was not."""
    return [-math.log(ages[candidate]) if candidate in ages else _NO_AGE for candidate in candidates]


def numbered(cases: Sequence[int], situations: Mapping[str, int]) -> tuple[int, ...]:
    """Return the cases of several ways of telling situations apart, numbered through."""
    begins = accumulate(situations.values(), initial=0)
    return tuple(begin + case for begin, case in zip(begins, cases, strict=False))


def ended(context: SessionContext) -> int:
    """Return a number in 0..11 for how the last steps ended."""
    last = 0 if context.exit_code is None else 1 if context.exit_code == 0 else 2
    return last * 4 + min(3, context.failures)


def position(context: SessionContext) -> int:
    """Return a number in 0..7 for how long the session is."""
    return min(7, int(math.log2(1 + context.length)))


def flags(candidates: NDArray[np.int64], wanted: int | None) -> Column:
    """Return 1 for the candidate that is wanted, and 0 for the others."""
    return 0.0 if wanted is None else candidates == wanted


def _order_hints(query: Query, candidates: list[int], ids: NDArray[np.int64]) -> list[Column]:
    """Return whether a candidate followed a context of each order, and whether it did so the last time."""
    keys = query.keys["counts"]
    contexts = [query.followers(keys[order]) if order < len(keys) else None for order in _ORDERS]
    newest = [flags(ids, context.recent[-1] if context else None) for context in contexts]
    seen: list[Column] = [[t in context.counts for t in candidates] if context else 0.0 for context in contexts]
    here = [query.followers(key) for key in query.keys.get("directory", [])]
    for order in range(2):
        context = here[order] if order < len(here) else None
        seen.append(flags(ids, context.recent[-1] if context else None))
    return newest + seen


def _session_hints(query: Query, candidates: list[int], ids: NDArray[np.int64]) -> list[Column]:
    """Return what this session alone says of a candidate."""
    steps = [query.ids.get(template) for template in query.context.templates]
    ages = {step: len(steps) - i for i, step in enumerate(steps)}
    last = steps[-1] if steps else None
    pair = tuple(steps[-2:])
    followed = [after for step, after in pairwise(steps) if step == last]
    both = None
    for i in range(len(steps) - 3, -1, -1):
        if len(pair) == 2 and (steps[i], steps[i + 1]) == pair:
            both = steps[i + 2]
            break
    return [
        flags(ids, followed[-1] if followed else None),
        shares_of(followed, candidates),
        flags(ids, both),
        log_ages(ages, candidates),
        [template in ages for template in candidates],
        *[flags(ids, steps[-back] if back <= len(steps) else None) for back in (1, 2, 3)],
    ]


def _own_hints(query: Query, candidates: list[int]) -> list[Column]:
    """Return what a candidate is: the same program again, how frequent; and the constant."""
    last = program_of(query.context.templates[-1]) if query.context.templates else None
    texts = query.store.template_texts(candidates)
    everywhere = query.followers(query.keys["counts"][0])
    counts: Mapping[int, int] = everywhere.counts if everywhere else {}
    return [
        0.0 if last is None else [runs(text, last) for text in texts],
        np.log1p([counts.get(template, 1) for template in candidates]) / 5.0,
        1.0,
    ]


def _cases(query: Query, proposals: Mapping[str, Proposal]) -> tuple[int, ...]:
    context = query.context
    keys = query.keys["counts"]
    matched = max((order for order in range(len(keys)) if query.followers(keys[order])), default=-1)
    sure = max(proposals["recent"].probabilities.values()) if "recent" in proposals else 0.0
    gap = 0 if context.gap is None else 1 + sum(context.gap >= limit for limit in (5, 20, 60, 300))
    place = 2 * ("directory" in proposals) + ("project" in proposals)
    chosen = (
        (matched + 1) * 5 + min(4, int(sure * 5)),
        ended(context),
        position(context),
        gap,
        place,
    )
    return numbered(chosen, SITUATIONS)


def _traits(query: Query) -> NDArray[np.uint64]:
    steps = query.context.templates[-3:]
    how = "" if query.context.exit_code is None else "failed" if query.context.exit_code else "passed"
    traits = [hash64("ended", how)]
    if steps:
        traits += [hash64("last", steps[-1]), hash64("last", how, steps[-1])]
    if len(steps) > 1:
        traits += [hash64("pair", *steps[-2:]), hash64("before", steps[-2])]
    if len(steps) > 2:
        traits.append(hash64("third", steps[-3]))
    return np.array(traits, dtype=np.int64).view(np.uint64)
