"""A process that is killed at any moment leaves what it acknowledged, and nothing by half."""

from __future__ import annotations

import multiprocessing
import random
import time
from itertools import accumulate, islice
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from kill_worker import MIX, work
from workload import State, after, calls, contents, derived, fresh, integrity, saved, snapshot_of

from procedural_memory.types import Durability

PRELOADED = (
    "procedural_memory.engine",
    "procedural_memory.embedding.lexical",
    "procedural_memory.embedding.select",
    "procedural_memory.prediction.outcome",
    "procedural_memory.prediction.predictor",
    "procedural_memory.storage.snapshot",
    "procedural_memory.storage.sqlite",
    "pytest",
)
"""So that a new process is there at once, as a copy of one that has read all this."""


def received(acknowledged: Connection) -> int:
    """Return how many calls a process that is gone had acknowledged."""
    count = 0
    try:
        while acknowledged.recv_bytes():
            count += 1
    except EOFError:
        return count
    raise AssertionError("an empty acknowledgement")


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_killed_process_leaves_what_it_acknowledged(durability: Durability, quick: Path, thorough: bool) -> None:
    """Also with level normal: what the system was told outlives the process."""
    method = multiprocessing.get_context("forkserver")
    method.set_forkserver_preload([*PRELOADED])
    path = quick / "memory.sqlite3"
    state, moments, total = State({}), random.Random(3), 0
    for seed in range(100 if thorough else 20):
        ours, theirs = method.Pipe(duplex=False)
        process = method.Process(target=work, args=(path, durability, seed, theirs))
        process.start()
        theirs.close()
        ours.poll(
            10
        )  # its first acknowledgement; what comes first is opening, which is killed in `migrate` and `reopen`
        time.sleep(moments.uniform(0.0, 0.15))
        process.kill()
        process.join()
        done = received(ours)
        total += done
        states = [*accumulate(islice(calls(seed, MIX), done + 1), after, initial=state)][done:]
        with fresh(path, durability) as engine:
            state = State(contents(engine, quick), saved(snapshot_of(path)))
            assert state in states, f"round {seed}, after {done} calls"
            counts = derived(engine)
            engine.rebuild()
            assert derived(engine) == counts
        assert integrity(path) == "ok"
    assert total
