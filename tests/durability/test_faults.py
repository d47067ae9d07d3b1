"""A call whose files fail is refused and changes nothing, or is done; and the memory goes on when they work again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_driver import FAILURES, Faults
from workload import Call, Performer, State, after, contents, derived, fresh, integrity

from procedural_memory import StorageError
from procedural_memory.types import Durability


@pytest.mark.parametrize("failure", FAILURES)
def test_calls_meet_faults_of_their_files(failure: str, shim: Path, quick: Path, thorough: bool) -> None:
    """Whatever operation on a file fails, once or from then on."""
    disk, control = quick / "disk", quick / "control"
    disk.mkdir()
    control.write_bytes(bytes(Faults.size))
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("fault_driver.py"),
            disk,
            control,
            failure,
            "99" if thorough else "2",
        ],
        env={**os.environ, "LD_PRELOAD": str(shim), "SHIM_FOLDER": str(disk), "SHIM_CONTROL": str(control)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_full_disk_is_told_of_and_costs_nothing(durability: Durability, small: Path, tmp_path: Path) -> None:
    """Sessions are learned until the disk is full, and again when there is room."""
    path, filler = small / "memory.sqlite3", small / "filler"
    performer, state = Performer(path, durability), State({})
    filler.write_bytes(bytes(1_000_000))
    for number in range(1_000):
        call = Call("learn", f"{number}", (f"make part{number}", f"test part{number}", f"git push part{number}"))
        try:
            performer.perform(call)
        except StorageError as error:
            refused, told = call, str(error)
            break
        state = after(state, call)
    assert "full" in told
    with pytest.raises(StorageError):
        performer.engine.save(small / "memory.json")
    assert contents(performer.engine, tmp_path) == state.memory
    assert performer.engine.predict_next_action(["make part1"])
    filler.unlink()
    performer.perform(refused)
    state = after(state, refused)
    performer.close()
    with fresh(path, durability) as engine:
        assert contents(engine, tmp_path) == state.memory
        counts = derived(engine)
        engine.rebuild()
        assert derived(engine) == counts
    assert integrity(path) == "ok"
    assert {file.name for file in small.iterdir()} == {"memory.sqlite3"}
