"""What a memory takes on disk, and its processes in main memory, as the system's `time` tells it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from procedural_memory import ProceduralMemoryEngine
from speed.operations.processes import CLI, predicting
from speed.workload import STEPS, write_history
from speed.world import World

__all__ = ["Footprint", "footprint", "peak_of_numpy"]

WORKING = """
import sys
from procedural_memory import ProceduralMemoryEngine
from speed.workload import habits
from itertools import islice
with ProceduralMemoryEngine(path=sys.argv[1], embedder="lexical") as engine:
    for session in islice(habits(int(sys.argv[2])), int(sys.argv[3])):
        commands = session["commands"]
        for length in range(1, 10):
            assert engine.predict_next_action(commands[:length], 5)
        engine.similar_patterns(commands, k=5)
        engine.learn_workflow(commands, session["outcome"], source="zsh")
    assert len(engine)
"""
"""Of each session nine steps are predicted, and all of it is searched and learned."""
SESSIONS = 100
IMPORTED = 100_000
"""So many lines are imported at most: more of them take longer, not more memory."""

_VECTORS = ("vector", "neighbour")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Sizes of a memory in bytes, and peaks of processes in MB, NaN where there is no tool to tell.

    Attributes
    ----------
    commands, templates, patterns : int
    file : int
    vectors : int
        Of the file, the pages of vectors and neighbours.
    text : int
        All command lines in order, compressed by zlib.
    predicting, working, importing : float
    """

    commands: int
    templates: int
    patterns: int
    file: int
    vectors: int
    text: int
    predicting: float
    working: float
    importing: float

    @property
    def above(self) -> float:
        """Bytes a command on disk, without vectors, above the compressed text."""
        return (self.file - self.vectors - self.text) / self.commands


def footprint(world: World, size: int, sessions: int = SESSIONS) -> Footprint:
    """Measure the memory of a size; a process at work takes in so many sessions."""
    store = world.copy(world.store(size))
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.flush()
        stats = engine.stats()
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        vectors, text = _vectors(db), _compressed(db)
    file = store.stat().st_size
    history = world.new(".zsh_history")
    write_history(history, min(size, IMPORTED))
    importing = ["import", "--path", str(world.new()), "--embedder", "lexical", "--all", "zsh", str(history)]
    return Footprint(
        stats["command_count"],
        stats["template_count"],
        stats["pattern_count"],
        file,
        vectors,
        text,
        _peak(predicting(store)),
        _peak([sys.executable, "-c", WORKING, str(store), str(size // STEPS), str(sessions)]),
        _peak([*CLI, *importing]),
    )


def peak_of_numpy() -> float:
    """Return the peak of a process that imports numpy, in MB."""
    return _peak([sys.executable, "-c", "import numpy"])


def _vectors(db: sqlite3.Connection) -> int:
    marks = ",".join("?" * len(_VECTORS))
    try:
        query = f"SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = 1 AND name IN ({marks})"
        (size,) = db.execute(query, _VECTORS).fetchone()
    except sqlite3.OperationalError:  # built without dbstat: what the rows hold
        size = sum(db.execute(f"SELECT coalesce(sum(length(data)), 0) FROM {name}").fetchone()[0] for name in _VECTORS)
    return int(size)


def _compressed(db: sqlite3.Connection) -> int:
    packer, size = zlib.compressobj(), 0
    for (line,) in db.execute("SELECT text.text FROM log JOIN text ON text.id = log.command ORDER BY log.seq"):
        size += len(packer.compress(line.encode() + b"\n"))
    return size + len(packer.flush())


def _peak(command: list[str]) -> float:
    """Return the most memory that a process held, in MB; the tool's own process keeps ours out of the count."""
    tool = shutil.which("time")
    if tool is None:
        return float("nan")
    form = ["-l"] if sys.platform == "darwin" else ["-f", "%M"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([tool, *form, *command], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    last = done.stderr.strip().splitlines()
    if sys.platform == "darwin":
        return next(int(line.split()[0]) for line in last if "maximum resident" in line) / 1e6
    return int(last[-1]) * 1024 / 1e6
