"""Makes calls on a memory and writes a mark after each, for `test_power_cut.py`: FOLDER DURABILITY SEED COUNT."""

from __future__ import annotations

import os
import sys
from itertools import islice
from pathlib import Path
from typing import cast

from workload import Performer, calls

from procedural_memory.types import Durability

MIX = "record record learn learn save merge forget reopen"


def main(folder: Path, durability: Durability, seed: int, count: int) -> None:
    """Make the calls; the marks go the way of all writes, so that the journal tells what was acknowledged when."""
    marks = os.open(folder / "marks", os.O_CREAT | os.O_WRONLY, 0o600)
    # In a folder that is new, too.
    performer = Performer(folder / "new" / "memory.sqlite3", durability)
    os.write(marks, b".")
    for call in islice(calls(seed, MIX), count):
        performer.perform(call)
        os.write(marks, b".")
    os._exit(0)  # as if it went on


if __name__ == "__main__":
    main(Path(sys.argv[1]), cast(Durability, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
