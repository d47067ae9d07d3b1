"""The life of a pattern: candidate, active, archived. Computed when it is read, from counts and the newest session."""

from __future__ import annotations

import time
from typing import Final, get_args

from procedural_memory.storage.base import HALF_LIFE, Store, moment_start
from procedural_memory.types import PatternState

__all__ = ["ARCHIVED_BELOW", "ESTABLISHED", "HALF_LIFE", "count_states", "memory_time", "state_of", "support_of"]

ESTABLISHED: Final = 2
"""From so many sessions on a sequence is a workflow; a single one may be chance."""

ARCHIVED_BELOW: Final = 0.5
"""A workflow whose support fell below this is archived: half of what a single session counts today."""


def memory_time(store: Store) -> float:
    """Return the moment from which age is counted: the newest session of the memory.

    Not the time of day: a memory that was not used for a year does not wake up with everything archived, and two
    memories of the same sessions are equal whenever they are read. Only a session from the future, of a clock that is
    wrong, is not believed.
    """
    return min(store.newest_start() or 0.0, time.time())


def support_of(runs: int, last_seen: float, now: float) -> float:
    """Return how many sessions followed a pattern, decayed by the age of the newest one."""
    return float(runs * 0.5 ** (max(0.0, now - last_seen) / HALF_LIFE))


def state_of(runs: int, support: float) -> PatternState:
    """Return where a pattern stands."""
    if runs < ESTABLISHED:
        return "candidate"
    return "archived" if support < ARCHIVED_BELOW else "active"


def count_states(store: Store) -> dict[str, int]:
    """Return how many patterns are in each state."""
    now = memory_time(store)
    counts = dict.fromkeys(get_args(PatternState), 0)
    for runs, newest in store.pattern_runs():
        counts[state_of(runs, support_of(runs, moment_start(newest), now))] += 1
    return counts
