"""What each operation may cost, and what it did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from speed.footprint import Footprint
from speed.measure import Result
from speed.operations.processes import NUMPY
from speed.world import Build

__all__ = ["BUDGETS", "Budget", "Found", "slope"]

MILLION = 1_000_000


@dataclass
class Found:
    """All that was measured.

    Attributes
    ----------
    results : list of Result
    builds : dict of int to Build
        How memories were learned, by commands; those that this code learned.
    footprints : dict of int to Footprint
    missing : dict of str to str
        What was not run, and why.
    """

    results: list[Result] = field(default_factory=list)
    builds: dict[int, Build] = field(default_factory=dict)
    footprints: dict[int, Footprint] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def result(self, name: str, size: int | None = None) -> Result | None:
        """Return the result of a name (operation and detail) and a size."""
        return next((found for found in self.results if found.name == name and found.size == size), None)


@dataclass(frozen=True)
class Budget:
    """A limit.

    Attributes
    ----------
    what : str
    value : callable
        From what was found, and a size, what is limited; None when it was not run.
    limit, aim : float
    unit : str
    size : int, optional
        Where the limit holds.
    at_least : bool
        Whether more is better.
    """

    what: str
    value: Callable[[Found, int], float | None]
    limit: float
    aim: float | None = None
    unit: str = "x"
    size: int | None = None
    at_least: bool = False

    def row(self, found: Found, sizes: Sequence[int]) -> str:
        """Return a row of the table; where the limit was not reached in size, with what was measured below it."""
        bound = f"{'>=' if self.at_least else '<='} {self._shown(self.limit)}"
        aim = "–" if self.aim is None else self._shown(self.aim)
        measured, verdict = "–", f"not run at {self.size:,}" if self.size else "not run"
        for size in (self.size or 0, *sorted(sizes if self.size else (), reverse=True)):
            value = self.value(found, size)
            if value is not None and not math.isnan(value):
                smaller = size != (self.size or 0)
                measured = self._shown(value) + (f" at {size:,}" if smaller else "")
                if not smaller:
                    verdict = self._verdict(value)
                elif self._of_limit(value) > 1:
                    verdict += f"; **missed** at {size:,}"
                break
        return f"| {self.what} | {bound} | {aim} | {measured} | {verdict} |"

    def _of_limit(self, value: float) -> float:
        return self.limit / value if self.at_least else value / self.limit

    def _verdict(self, value: float) -> str:
        of_limit = self._of_limit(value)
        if of_limit > 1:
            return f"**missed**, {of_limit:.2f} times"
        reached = self.aim is not None and (value >= self.aim if self.at_least else value <= self.aim)
        return f"met ({of_limit:.2f} of it){', aim too' if reached else ''}"

    def _shown(self, value: float) -> str:
        if self.unit in ("x", "slope"):
            return f"{value:.2f}{self.unit.removeprefix('slope')}"
        return f"{value:,.{0 if self.limit >= 50 else 2}f} {self.unit}"


def slope(costs: dict[int, float]) -> float | None:
    """Return the exponent of cost in size: the slope of the line through their logarithms; None of fewer than two."""
    if len(costs) < 2:
        return None
    return float(np.polyfit(np.log(list(costs)), np.log(list(costs.values())), 1)[0])


def _median(name: str, found: Found, size: int) -> float | None:
    result = found.result(name, size)
    return None if result is None else result.ours.p50


def _quantile(name: str, quantile: str) -> Callable[[Found, int], float | None]:
    def value(found: Found, size: int) -> float | None:
        result = found.result(name, size)
        return None if result is None else 1e3 * float(getattr(result.ours, quantile))

    return value


def _growth(name: str, small: int) -> Callable[[Found, int], float | None]:
    def value(found: Found, size: int) -> float | None:
        large, little = _median(name, found, size), _median(name, found, small)
        return large / little if large and little and size > small else None

    return value


def _ratio(name: str, yardstick: str | None = None) -> Callable[[Found, int], float | None]:
    def value(found: Found, size: int) -> float | None:
        result = found.result(name, size)
        return None if result is None or not result.yardsticks else result.ratio(yardstick)

    return value


def _apart(found: Found, size: int) -> float | None:
    result = found.result("take apart, normalise and redact")
    return None if result is None else 1e6 * result.ours.mean


def _rate(found: Found, size: int) -> float | None:
    build = found.builds.get(size)
    return None if build is None else build.rate


def _bulk_slope(found: Found, size: int) -> float | None:
    if size not in found.builds:
        return None
    return slope({n: sum(build.whole) for n, build in found.builds.items() if 10_000 <= n <= size})


def _of_footprint(name: str) -> Callable[[Found, int], float | None]:
    def value(found: Found, size: int) -> float | None:
        there = found.footprints.get(size)
        return None if there is None else float(getattr(there, name))

    return value


WARM = "predict, warm, lexical"

BUDGETS = (
    Budget("warm `predict`, 1M commands, p50", _quantile(WARM, "p50"), 3, 1, "ms", MILLION),
    Budget("the same, p99", _quantile(WARM, "p99"), 8, 3, "ms", MILLION),
    Budget("the same, p50 in that at 10,000 commands", _growth(WARM, 10_000), 1.3, size=MILLION),
    Budget(
        "process of `procedural-memory predict`, 1M commands, in `python -c 'import numpy'`",
        _ratio("process: procedural-memory predict", NUMPY),
        3,
        size=MILLION,
    ),
    Budget("`record`, durability full, in a bare SQLite transaction, p50", _ratio("record, full"), 1.5, size=MILLION),
    Budget("`record`, durability normal, in the same, p50", _ratio("record, normal"), 4, size=MILLION),
    Budget("bulk learning: log and counts", _rate, 5_000, 20_000, "commands/s", MILLION, at_least=True),
    Budget("bulk learning, slope from 10,000 to 1M", _bulk_slope, 1.05, unit="slope", size=MILLION),
    Budget(
        "`similar_patterns`, 100,000 patterns, in one product of 100,000 x 384",
        _ratio("similar_patterns"),
        3,
        1.5,
        size=100_000,
    ),
    Budget("normalise and redact, real commands, no cache, mean", _apart, 100, 50, "µs"),
    Budget("peak memory of a process at work, 1M commands", _of_footprint("working"), 400, None, "MB", MILLION),
    Budget(
        "disk a command above its zlib-compressed text, without vectors, 1M commands",
        _of_footprint("above"),
        300,
        150,
        "bytes",
        MILLION,
    ),
)
