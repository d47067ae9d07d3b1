"""What opening, saving and loading cost, beside the bare means of the standard library."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import islice

from procedural_memory import ProceduralMemoryEngine
from speed.bare import copy_rows, open_and_read
from speed.measure import Call, Contest
from speed.operations.learning import BARE
from speed.registry import operation, sizes
from speed.workload import STEPS, habits
from speed.world import World

PICKLE = "pickle, same sessions"


@operation("open", size=sizes)
def opening(world: World, size: int) -> Iterator[Contest]:
    """Open a memory and close it, with modules loaded."""
    store = world.store(size)

    def ours() -> None:
        ProceduralMemoryEngine(path=store, embedder="lexical").close()

    yield Contest(Call(ours), {"sqlite3: open, read 64 rows": Call(lambda: open_and_read(store))}, warm=3)


@operation("save as .pkl", size=sizes)
def save(world: World, size: int) -> Iterator[Contest]:
    """Write a memory to one file."""
    target, other = world.new(".pkl"), world.new(".pkl")
    sessions = list(islice(habits(), size // STEPS))
    with ProceduralMemoryEngine(path=world.store(size), embedder="lexical") as engine:
        pickling = Call(lambda: other.write_bytes(pickle.dumps(sessions)))
        yield Contest(Call(lambda: engine.save(target)), {PICKLE: pickling}, each=size, warm=0)


@operation("load a .pkl", size=sizes)
def load(world: World, size: int) -> Iterator[Contest]:
    """Read a saved file into a new memory on disk."""
    saved, other, store = world.new(".pkl"), world.new(".pkl"), world.store(size)
    other.write_bytes(pickle.dumps(list(islice(habits(), size // STEPS))))
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.save(saved)

    def ours() -> None:
        with ProceduralMemoryEngine(path=world.new(), durability="normal", embedder="lexical") as engine:
            assert engine.load(saved, mode="replace").sessions == size // STEPS

    yardsticks = {
        BARE: Call(lambda: copy_rows(store, world.new())),
        PICKLE: Call(lambda: pickle.loads(other.read_bytes())),
    }
    yield Contest(Call(ours), yardsticks, each=size, warm=0)
