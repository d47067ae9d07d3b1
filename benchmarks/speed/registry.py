"""The operations by name: each gives, for one case, a contest between the engine and its yardsticks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from typing import Any, NamedTuple, TypeAlias

from speed.measure import Contest
from speed.world import Plan, World

__all__ = ["OPERATIONS", "Case", "Operation", "embedders", "one_of", "operation", "patterns", "sizes"]

Case: TypeAlias = Mapping[str, Any]
Axis: TypeAlias = Callable[[Plan], Sequence[Any]]


class Operation(NamedTuple):
    """One row, or many, of the table."""

    name: str
    run: Callable[..., AbstractContextManager[Contest]]
    axes: Mapping[str, Axis]

    def cases(self, plan: Plan) -> list[Case]:
        """Return every combination of what a plan asks for."""
        values = [axis(plan) for axis in self.axes.values()]
        return [dict(zip(self.axes, chosen, strict=True)) for chosen in product(*values)]

    def contest(self, world: World, case: Case) -> AbstractContextManager[Contest]:
        """Return the contest of a case."""
        return self.run(world, **case)

    @staticmethod
    def detail(case: Case) -> str:
        """Return what tells a case from others of its size."""
        told = {"texts": "batch of {:,}"}
        return ", ".join(told.get(name, "{}").format(value) for name, value in case.items() if name != "size")


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, **axes: Axis) -> Callable[[Callable[..., Iterator[Contest]]], Callable[..., Any]]:
    """Enter a generator of one contest, which takes the world and a value of each axis, under a name."""

    def enter(function: Callable[..., Iterator[Contest]]) -> Callable[..., Any]:
        OPERATIONS[name] = Operation(name, contextmanager(function), axes)
        return function

    return enter


def sizes(plan: Plan) -> Sequence[int]:
    """Commands in the memory."""
    return plan.sizes


def patterns(plan: Plan) -> Sequence[int]:
    """Patterns in the memory."""
    return plan.patterns


def embedders(plan: Plan) -> Sequence[str]:
    """Embedders by name."""
    return plan.embedders


def one_of(*values: object) -> Axis:
    """Return an axis that is the same in every plan."""
    return lambda plan: values
