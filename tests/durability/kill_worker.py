"""A process that makes calls until it is killed, for `test_kill.py`."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from workload import Performer, calls

from procedural_memory.types import Durability

__all__ = ["MIX", "work"]

MIX = "record learn learn save merge forget rebuild migrate reopen"


def work(path: Path, durability: Durability, seed: int, acknowledged: Connection) -> None:
    """Make calls, and say so after each."""
    performer = Performer(path, durability)
    for call in calls(seed, MIX):
        performer.perform(call)
        acknowledged.send_bytes(b".")
