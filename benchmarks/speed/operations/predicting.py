"""What a prediction costs: warm, right after a step, and as the first of a process; beside the peers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from peers.base import SequenceModel

from procedural_memory import Command, ProceduralMemoryEngine
from speed.bare import open_and_read
from speed.measure import Call, Contest
from speed.registry import embedders, operation, sizes
from speed.world import World, recent

WARM = 100
TOP = 5


def _ask(peer: SequenceModel, context: list[Command]) -> None:
    peer.rank(recent(context))


@operation("predict, warm", embedder=embedders, size=sizes)
def warm(world: World, embedder: str, size: int) -> Iterator[Contest]:
    """Predict five command lines for contexts that were not asked about before; vectors are stored."""
    world.embedder_is_here(embedder)
    contexts = world.contexts(size)
    context: list[Command] = []

    def next_context() -> None:
        context[:] = next(contexts)

    with ProceduralMemoryEngine(path=world.store(size, embedder), embedder=embedder) as engine:
        ours = Call(lambda: engine.predict_next_action(context, TOP), next_context)
        peers = {name: Call(partial(_ask, peer, context)) for name, peer in world.peers(size).items()}
        assert engine.predict_next_action(["git status"], TOP)
        yield Contest(ours, peers, warm=WARM)


@operation("predict, right after a step", size=sizes)
def live(world: World, size: int) -> Iterator[Contest]:
    """Predict five command lines in a live session after each step, which is learned first."""
    sessions = world.later(size)
    past: list[Command] = []
    with (
        ProceduralMemoryEngine(path=world.copy(world.store(size)), durability="normal", embedder="lexical") as engine,
        engine.session() as session,
    ):
        steps = (step for commands in sessions for step in commands)

        def next_step() -> None:
            past.append(session.record(next(steps)))

        ours = Call(lambda: session.predict(top_k=TOP), next_step)
        peers = {name: Call(partial(_ask, peer, past)) for name, peer in world.peers(size).items()}
        yield Contest(ours, peers, warm=WARM)


@operation("predict, first after opening", size=sizes)
def first(world: World, size: int) -> Iterator[Contest]:
    """Open a memory, predict once and close it, with modules loaded; bare: open it and read its newest rows."""
    store = world.store(size)
    contexts = world.contexts(size)

    def ours() -> None:
        with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
            engine.predict_next_action(next(contexts), TOP)

    yield Contest(Call(ours), {"sqlite3: open, read 64 rows": Call(lambda: open_and_read(store))}, warm=3)
