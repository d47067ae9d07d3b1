"""Every operation of `benchmarks/run` by pytest-benchmark, on small memories: one revision beside another.

Run: ``pytest benchmarks/bench_speed.py --benchmark-only``, with ``--benchmark-autosave`` and ``--benchmark-compare`` to
set two revisions side by side. With ``--benchmark-disable`` everything runs once, yardsticks too: does it still work?
Nothing is asserted about time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import speed.operations  # noqa: F401  (enters the operations)
from pytest_benchmark.fixture import BenchmarkFixture
from speed.footprint import footprint
from speed.measure import Unmeasurable
from speed.registry import OPERATIONS, Case, Operation
from speed.world import Plan, World

SIZE = 200
PLAN = Plan(sizes=(SIZE,), patterns=(SIZE,), texts=(1, 4), lines=40)
CASES = [
    pytest.param(operation, case, id="-".join([operation.name, *map(str, case.values())]))
    for operation in OPERATIONS.values()
    for case in operation.cases(PLAN)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Small memories, learned when they are first asked for; a folder without data sets: sample sessions serve."""
    return World(PLAN, tmp_path_factory.mktemp("stores"), tmp_path_factory.mktemp("scratch"), Path())


@pytest.fixture(autouse=True)
def _cleared(world: World) -> Iterator[None]:
    yield
    world.clear()


@pytest.mark.parametrize(("operation", "case"), CASES)
def test_operation(benchmark: BenchmarkFixture, world: World, operation: Operation, case: Case) -> None:
    """The engine's call is timed; its yardsticks run once."""
    pedantic: Any = benchmark.pedantic
    benchmark.group = operation.name
    try:
        with operation.contest(world, case) as contest:
            pedantic(contest.ours.timed, setup=contest.ours.before, rounds=20)
            for yardstick in contest.yardsticks.values():
                yardstick.before()
                yardstick.timed()
    except Unmeasurable as reason:
        pytest.skip(str(reason))


def test_footprint(world: World) -> None:
    """A memory takes more than its compressed text, and what vectors take is a part of its file."""
    there = footprint(world, SIZE, sessions=2)
    assert there.commands == SIZE
    assert 0 < there.vectors < there.file
    assert there.above > 0
    assert not there.working < there.predicting / 2, "NaN where there is no tool to tell"
    assert there.file > there.text > 0
