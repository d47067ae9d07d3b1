"""Lets calls meet faults of their files, for `test_faults.py`: FOLDER CONTROL FAILURE MOST.

Each operation on a file that a call does fails once, and fails from then on; with MOST, only so many of them by chance.
"""

from __future__ import annotations

import errno
import faulthandler
import logging
import mmap
import random
import shutil
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from workload import Call, Performer, State, after, contents, derived, integrity, make_older, saved, snapshot_of

from procedural_memory import ProceduralMemoryError

READS, CHANGES = 1, 2
SHORT_WRITE = -1
FAILURES = {
    "disk full": (errno.ENOSPC, CHANGES),
    "I/O error": (errno.EIO, READS | CHANGES),
    "short write": (SHORT_WRITE, CHANGES),
    "read-only": (errno.EROFS, CHANGES),
}
NEVER = 2**31 - 1
PATIENCE = 60
LINES = ("git add . 1", "make test 2", "git push 3")
PREPARED = (
    *(Call("learn", f"known {number}", LINES[:number] + LINES, "success") for number in range(4)),
    Call("save"),
    Call("learn", "newer", LINES, "failure"),
)
LIVE = (Call("open", "live"), Call("record", "live", LINES[:1]))
CALLS = (
    Call("learn", "added", LINES, "success"),
    Call("merge", "added", LINES, "failure"),
    Call("record", "live", LINES[1:2]),
    Call("close", "live", outcome="success"),
    Call("open", "another"),
    Call("forget", "known 2"),
    *map(Call, ("save", "copy", "load", "rebuild", "predict", "make", "reopen", "migrate")),
)


class Faults:
    """Arms the library that stands between this process and its files; see `struct control` in `shim.c`."""

    size = struct.calcsize("5i")

    def __init__(self, control: Path, failure: str) -> None:
        with control.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), self.size)
        self._failure, self._classes = FAILURES[failure]

    def arm(self, after: int, once: bool) -> None:
        """Let operations fail after so many."""
        self._memory[:] = struct.pack("5i", self._failure, self._classes, after, once, 0)

    def disarm(self) -> int:
        """Let nothing fail; return how many operations there were that could have failed."""
        seen: int = struct.unpack("5i", self._memory[:])[4]
        self._memory[:] = bytes(self.size)
        return seen


class Trial(NamedTuple):
    """What came of a call: how many operations it did, and whether it was refused."""

    seen: int
    refused: bool


def attempt(folder: Path, call: Call, faults: Faults, after_operations: int, once: bool) -> Trial:
    """Make a call on a copy of the prepared memory while its files fail, and check what is left."""
    place = folder / "trial"
    if call.name == "make":
        place.mkdir()
        before = State({})
    else:
        shutil.copytree(folder / "prepared", place)
        before = prepared_state()
    path = place / "memory.sqlite3"
    opens = call.name in ("make", "reopen", "migrate")
    if call.name == "migrate":
        make_older(path)
    performer = None if opens else Performer(path, "full")
    if performer is not None:
        for earlier in LIVE:
            performer.perform(earlier)
            before = after(before, earlier)
        performer.engine.flush()
    refused = False
    faults.arm(after_operations, once)
    try:
        if performer is None:
            performer = Performer(path, "full")
        else:
            performer.perform(call)
    except ProceduralMemoryError:
        refused = True
    finally:
        seen = faults.disarm()
    # The same engine goes on; one that could not be made is made now.
    if performer is None:
        performer = Performer(path, "full")
    wanted = before if opens else after(before, call)
    found = state_of(performer, path, folder)
    assert found in ((before, wanted) if refused else (wanted,)), "half of it, or lost"
    if found != wanted:
        performer.perform(call)
        assert state_of(performer, path, folder) == wanted, "not done when asked again"
    performer.engine.flush()
    performer.close()
    check(path, wanted, folder)
    copied = path.with_suffix(".sqlite")
    if copied.exists():
        check(copied, wanted, folder)
    shutil.rmtree(place)
    return Trial(seen, refused)


def state_of(performer: Performer, path: Path, folder: Path) -> State:
    """Return what a memory and its snapshot hold."""
    return State(contents(performer.engine, folder), saved(snapshot_of(path)))


def check(path: Path, wanted: State, folder: Path) -> None:
    """Check what a new engine finds in a file."""
    performer = Performer(path, "full")
    assert state_of(performer, path, folder) == wanted, "another engine finds something else"
    counts = derived(performer.engine)
    performer.engine.rebuild()
    assert derived(performer.engine) == counts, "counts are not those of the sessions"
    performer.close()
    assert integrity(path) == "ok"


def prepared_state() -> State:
    """Return what the prepared memory holds."""
    state = State({})
    for call in PREPARED:
        state = after(state, call)
    return state


def main(folder: Path, control: Path, failure: str, most: int) -> int:
    """Print what went wrong, and how much was tried."""
    logging.getLogger("procedural_memory").setLevel(logging.CRITICAL)  # the worker says that it met the fault, too
    faults, chance = Faults(control, failure), random.Random(failure)
    (folder / "prepared").mkdir()
    performer = Performer(folder / "prepared" / "memory.sqlite3", "full")
    for call in PREPARED:
        performer.perform(call)
    performer.engine.flush()
    performer.close()
    tried = refused = wrong = 0
    for call in CALLS:
        seen = attempt(folder, call, faults, NEVER, once=True).seen
        for place in sorted(chance.sample(range(seen), min(most, seen))):
            for once in (True, False):
                faulthandler.dump_traceback_later(PATIENCE, exit=True)  # a call that hangs
                try:
                    tried += 1
                    refused += attempt(folder, call, faults, place, once).refused
                except Exception as error:
                    wrong += 1
                    problem = f"{type(error).__name__}: {error}"
                    print(f"{call.name}, operation {place} of {seen}, {'once' if once else 'lasting'}: {problem}")
                    shutil.rmtree(folder / "trial")
                finally:
                    faulthandler.cancel_dump_traceback_later()
    print(f"{tried} tried, {refused} refused")
    return 1 if wrong or not refused else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
