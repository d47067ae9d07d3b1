"""Which steps go together with success or failure of a session: counted association, not proof of cause."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from procedural_memory.storage.base import Store, context_key
from procedural_memory.types import OutcomeExplanation, StepInfluence

__all__ = ["explain_outcome", "log_odds"]

_Z95 = 1.959963984540054


def explain_outcome(store: Store, templates: Sequence[str], limit: int) -> OutcomeExplanation:
    """Compare the odds of success of sessions with and without each step and causal chain of a context.

    The log odds ratio has half a session added to each cell (Haldane 1956, Anscombe 1956); its 95 % interval is
    Woolf's (1955). A step is listed as raising (lowering) the odds only when the ratio is above (below) one.

    Parameters
    ----------
    store : Store
    templates : sequence of str
        The context, oldest first.
    limit : int
        At most this many steps on each side.
    """
    good_all, bad_all = store.outcome_totals()
    influences = []
    for name, good, bad in _counts(store, templates):
        if good + bad == good_all + bad_all:  # no session is without it: nothing to compare with
            continue
        ratio, error = log_odds(good, bad, good_all, bad_all)
        margin = _Z95 * error
        influences.append(StepInfluence(name, good, bad, ratio, ratio - margin, ratio + margin))
    # Strength is how surely the interval stays away from "no difference".
    influences.sort(key=lambda i: -abs(i.log_odds) / (i.high - i.low))
    return OutcomeExplanation(
        base_rate=(good_all + 1) / (good_all + bad_all + 2),
        raises=tuple([i for i in influences if i.log_odds > 0][:limit]),
        lowers=tuple([i for i in influences if i.log_odds < 0][:limit]),
        sessions=good_all + bad_all,
    )


def log_odds(good: int, bad: int, good_all: int, bad_all: int) -> tuple[float, float]:
    """Return the log of the ratio of the odds of success with and without a step, and its standard error.

    Parameters
    ----------
    good, bad : int
        Sessions with the step, by outcome.
    good_all, bad_all : int
        All sessions, by outcome.
    """
    a, b, c, d = (cell + 0.5 for cell in (good, bad, good_all - good, bad_all - bad))
    return math.log(a * d / (b * c)), math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def _counts(store: Store, templates: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    ids = store.template_ids(templates)
    for template in dict.fromkeys(templates):
        if template in ids and (row := store.follower(context_key(()), ids[template])) and row.good + row.bad:
            yield template, row.good, row.bad
    for first, second in dict.fromkeys(itertools.pairwise(templates)):
        if second in ids and (row := store.follower(context_key((first,)), ids[second])) and row.good + row.bad:
            yield f"{first} -> {second}", row.good, row.bad
