"""After a power cut, what was acknowledged is there and nothing is there by half.

A driver makes calls while every write and sync of its files is written down; then the disk is rebuilt as it may be
found after a cut at many a moment: with what was synced alone, or with any part of the rest.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path

import pytest
from disk import WRITE, Disk, Entry, read_journal
from power_cut_driver import MIX
from workload import State, after, calls, contents, derived, fresh, integrity, saved, snapshot_of

from procedural_memory.types import Durability

COUNT = 60


def recorded(folder: Path, shim: Path, durability: Durability, seed: int) -> list[Entry]:
    """Run the driver and return what it did to its files."""
    journal, disk = folder / "journal", folder / "disk"
    disk.mkdir()
    subprocess.run(
        [sys.executable, Path(__file__).with_name("power_cut_driver.py"), disk, durability, str(seed), str(COUNT)],
        env={**os.environ, "LD_PRELOAD": str(shim), "SHIM_FOLDER": str(disk), "SHIM_JOURNAL": str(journal)},
        check=True,
        timeout=120,
    )
    return list(read_journal(journal))


def is_mark(entry: Entry) -> bool:
    """Whether an entry is the mark that a call was acknowledged."""
    return entry.operation == WRITE and entry.data == b"."


def images(entries: list[Entry], folder: Path, seed: int, cuts: int) -> Iterator[tuple[int, Path]]:
    """Yield disks after cuts, and how many calls were acknowledged before; half of the cuts follow a mark."""
    chance = random.Random(seed)
    marks = [number for number, entry in enumerate(entries, 1) if is_mark(entry)]
    chosen = {*chance.sample(marks, min(len(marks), cuts // 2)), *chance.sample(range(len(entries)), cuts // 2)}
    disk, done = Disk(folder / "disk"), 0
    for number, entry in enumerate(entries):
        if number in chosen:
            for luck in (None, random.Random(seed + number)):
                target = folder / "image"
                target.mkdir()
                disk.write_image(target, luck)
                yield done, target
                shutil.rmtree(target)
        disk.play(entry)
        done += is_mark(entry)


def states(seed: int) -> list[State]:
    """Return the state before the memory was made, and after each acknowledgement."""
    empty = State({})
    return [empty, *accumulate(islice(calls(seed, MIX), COUNT), after, initial=empty)]


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_what_was_acknowledged_survives_a_power_cut(
    durability: Durability, shim: Path, quick: Path, thorough: bool
) -> None:
    """Full: all that was acknowledged is there. Normal: the newest calls may be lost, whole and in order."""
    seed, lost = 7, 0
    entries = recorded(quick, shim, durability, seed)
    expected = [state.memory for state in states(seed)]
    assert sum(map(is_mark, entries)) == len(expected) - 1
    for done, image in images(entries, quick, seed, 300 if thorough else 16):
        path = image / "new" / "memory.sqlite3"
        with fresh(path, durability) as engine:
            found = contents(engine, quick)
            engine.predict_next_action(["git add ."])
            counts = derived(engine)
            engine.rebuild()
            assert derived(engine) == counts
        assert integrity(path) == "ok"
        whole = expected[done : done + 2]
        if durability == "full":
            assert found in whole, f"after {done} calls"
        else:
            assert found in expected[: done + 2], f"after {done} calls"
            lost += found not in whole
    # Otherwise the two levels would be one, or the cuts would show nothing.
    assert (lost > 0) == (durability == "normal")


def test_a_snapshot_survives_a_power_cut_whole(shim: Path, quick: Path, thorough: bool) -> None:
    """At every moment a saved file is the old one or the new one; once `save` returned, it is the new one."""
    seed = 11
    entries = recorded(quick, shim, "full", seed)
    expected = [state.snapshot for state in states(seed)]
    seen = 0
    for done, image in images(entries, quick, seed, 2_000 if thorough else 200):
        found = saved(snapshot_of(image / "new" / "memory.sqlite3"))
        assert found in expected[done : done + 2], f"after {done} calls"
        seen += found is not None
    assert seen
