"""Calls of the engine and of its yardsticks in turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Call", "Contest", "Result", "Times", "Unmeasurable", "compare"]

LONG = 10.0
"""Seconds of a call that is not repeated."""
LEAST = 11


class Unmeasurable(Exception):
    """Something cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is timed, and what comes before it and is not."""

    timed: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Contest:
    """An operation beside its yardsticks.

    Attributes
    ----------
    ours : Call
    yardsticks : mapping of str to Call
        By name, the most telling one first.
    each : int
        How many commands (or texts, rows) a call handles: times are told for one.
    warm : int
        Turns left out at the beginning: they import, compile and fill caches.
    """

    ours: Call
    yardsticks: Mapping[str, Call]
    each: int = 1
    warm: int = 1


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each call."""

    seconds: tuple[float, ...]

    @property
    def p50(self) -> float:
        return float(np.percentile(self.seconds, 50))

    @property
    def p99(self) -> float:
        return float(np.percentile(self.seconds, 99))

    @property
    def mean(self) -> float:
        return float(np.mean(self.seconds))

    def __len__(self) -> int:
        return len(self.seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of one case of an operation.

    Attributes
    ----------
    operation : str
    detail : str
        What tells the case from others of the operation, but for its size.
    size : int or None
        Commands, or patterns, in the memory.
    each : int
    ours : Times
    yardsticks : mapping of str to Times
    """

    operation: str
    detail: str
    size: int | None
    each: int
    ours: Times
    yardsticks: Mapping[str, Times] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.operation, self.detail)))

    def ratio(self, yardstick: str | None = None) -> float:
        """Return the median in medians of a yardstick, the first one unless named."""
        return self.ours.p50 / self.yardsticks[yardstick or next(iter(self.yardsticks))].p50


def compare(contest: Contest, seconds: float) -> tuple[Times, dict[str, Times]]:
    """Time the calls of a contest in turns; return the times of ours and of the yardsticks.

    For so many seconds; up to three times as long where that gives fewer than `LEAST` turns. A turn that takes longer
    than `LONG` is the only one.
    """
    calls = {"": contest.ours, **contest.yardsticks}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    turn = -contest.warm
    end = time.perf_counter() + seconds
    while True:
        for name, call in calls.items():
            call.before()
            begin = time.perf_counter()
            call.timed()
            taken[name].append(time.perf_counter() - begin)
        turn += 1
        now = time.perf_counter()
        if sum(times[-1] for times in taken.values()) > LONG:  # the last turn counts, the first one even alone
            break
        if turn == 0 and contest.warm:
            taken = {name: [] for name in calls}
            end = now + seconds
        elif now > (end if turn >= LEAST else end + 2 * seconds) and turn > 2:
            break
    times = {name: Times(tuple(second / contest.each for second in found)) for name, found in taken.items()}
    return times.pop(""), times
