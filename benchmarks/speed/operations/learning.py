"""What learning costs, beside the rows that it cannot leave out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from typing import Any, get_args

from procedural_memory import Command, ProceduralMemoryEngine
from procedural_memory.types import Durability
from speed.bare import BareLog, copy_rows, import_lines
from speed.measure import Call, Contest
from speed.registry import one_of, operation, sizes
from speed.workload import write_history
from speed.world import World

BARE = "bare SQLite, same rows"


@operation("record", durability=one_of(*get_args(Durability)), size=sizes)
def record(world: World, durability: Durability, size: int) -> Iterator[Contest]:
    """Record one step of a live session; bare: the same rows, into another copy of the memory."""
    steps = chain.from_iterable(world.later(size))
    recorded: list[Command] = []
    store = world.store(size)
    with (
        ProceduralMemoryEngine(path=world.copy(store), durability=durability, embedder="lexical") as engine,
        closing(BareLog(world.copy(store), durability)) as bare,
        engine.session(cwd="/src/app", source="zsh", host="laptop") as session,
    ):
        given: dict[str, Any] = {}

        def next_step() -> None:
            given.update(asdict(next(steps)), host="laptop")

        def ours() -> None:
            recorded[:] = [session.record(given)]

        yield Contest(Call(ours, next_step), {BARE: Call(lambda: bare.insert(recorded))}, warm=100)


@operation("learn_workflow, 20 commands", durability=one_of(*get_args(Durability)), size=sizes)
def learn_workflow(world: World, durability: Durability, size: int) -> Iterator[Contest]:
    """Learn a session whose lines are partly new."""
    sessions = world.later(size)
    session: list[Command] = []
    store = world.store(size)
    with (
        ProceduralMemoryEngine(path=world.copy(store), durability=durability, embedder="lexical") as engine,
        closing(BareLog(world.copy(store), durability)) as bare,
    ):

        def next_session() -> None:
            session[:] = [*next(sessions), *next(sessions)]

        def ours() -> None:
            assert engine.learn_workflow(session, "success", source="zsh")

        yield Contest(Call(ours, next_session), {BARE: Call(lambda: bare.insert(session))}, warm=3)


@operation("import a history of zsh", size=sizes)
def import_history(world: World, size: int) -> Iterator[Contest]:
    """Import into a new memory; bare: reading, redacting and inserting the lines."""
    history = world.new(".zsh_history")
    write_history(history, size)

    def ours() -> None:
        with ProceduralMemoryEngine(path=world.new(), durability="normal", embedder="lexical") as engine:
            assert engine.import_history("zsh", history, include_open=True).new_commands == size

    def bare() -> None:
        assert import_lines(history, world.new()) == size

    yield Contest(Call(ours), {"read, redact, insert alone": Call(bare)}, each=size, warm=0)


@operation("merge into a new memory", size=sizes)
def merge(world: World, size: int) -> Iterator[Contest]:
    """Take over all sessions of another memory; bare: its rows."""
    store = world.store(size)
    with ProceduralMemoryEngine(path=store, embedder="lexical") as other:

        def ours() -> None:
            with ProceduralMemoryEngine(path=world.new(), durability="normal", embedder="lexical") as engine:
                assert engine.merge(other) == other.stats()["session_count"]

        yield Contest(Call(ours), {BARE: Call(lambda: copy_rows(store, world.new()))}, each=size, warm=0)
