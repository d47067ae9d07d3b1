"""What the operations work on: memories of each size, built once and kept, and copies of them that may be changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property
from importlib.util import find_spec
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from peers import MODELS, missing
from peers.base import Peer, SequenceModel

import procedural_memory
from procedural_memory import Command, ProceduralMemoryEngine
from procedural_memory.embedding.base import Embedder
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model
from procedural_memory.memory.sequences import WATCHED
from speed.bare import BareLog
from speed.measure import Unmeasurable
from speed.workload import STEPS, habits, workflows

__all__ = ["DIMENSION", "PEERS", "TAUGHT", "Build", "Plan", "World", "recent"]

PEERS = ("CPT", "Markov-1", "counts 0-3, decayed", "STAN (session kNN)")
TAUGHT = 20_000
"""Newest commands that the peers are taught, at most: none of them is made for more."""
CHUNK = 10_000
"""Sessions that are learned at a time."""
DIMENSION = 384
MODULES = {"sentence-transformers": "sentence_transformers", "mlx": "mlx"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured.

    Attributes
    ----------
    sizes : sequence of int
        Commands in the memories.
    patterns : sequence of int
        Patterns in those that are searched.
    texts : sequence of int
        How many texts are embedded at a time.
    embedders : sequence of str
    lines : int
        Real command lines that are taken apart at a time.
    """

    sizes: Sequence[int]
    patterns: Sequence[int]
    texts: Sequence[int] = (1, 32, 1_024)
    embedders: Sequence[str] = ("lexical", "sentence-transformers", "mlx")
    lines: int = 2_000


@dataclass(frozen=True, slots=True)
class Build:
    """How long a memory took to learn, by chunk: until the last session was counted, as a whole, and bare SQLite.

    Attributes
    ----------
    commands : list of int
    counted, whole, bare : list of float
        Seconds. In what the whole has more the newest steps are counted, the ranker learns from them, and all is kept.
    vectors : float
        Seconds until every template had its vector and its neighbours.
    code : str
        Digest of the package that learned it.
    day : str
    """

    commands: list[int] = field(default_factory=list)
    counted: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    vectors: float = 0.0
    code: str = ""
    day: str = ""

    @property
    def rate(self) -> float | None:
        """Commands a second whose log and counts were written before the last steps; None where all were last ones."""
        before = sum(max(0, commands - WATCHED) for commands in self.commands)
        return before / sum(self.counted) if before else None


class World:
    """Makes what an operation asks for.

    Parameters
    ----------
    plan : Plan
    cache : Path
        Memories are kept here by size, and used again.
    scratch : Path
        A folder for what is thrown away.
    data : Path
        Folder with the data sets of real commands.
    rebuild : bool
        Learn memories anew that are there.
    """

    def __init__(self, plan: Plan, cache: Path, scratch: Path, data: Path, rebuild: bool = False) -> None:
        self.plan = plan
        self.data = data
        self._cache = cache
        self._scratch = scratch
        self._numbers = count()
        self._ready: set[Path] = set()
        self._peers: dict[int, dict[str, SequenceModel]] = {}
        cache.mkdir(parents=True, exist_ok=True)
        for path in cache.glob("*.sqlite3*") if rebuild else ():
            path.unlink()

    @cached_property
    def code(self) -> str:
        """Digest of the package."""
        root = Path(procedural_memory.__file__).parent
        digest = hashlib.blake2b(digest_size=8)
        for file in sorted(root.rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def store(self, commands: int, embedder: str = "lexical") -> Path:
        """Return the file of a memory that learned the first commands of `habits`."""
        if embedder == "lexical":
            return self._built(f"habits-{commands}", islice(habits(), commands // STEPS), "lexical")
        # Any backend gives the same vectors of the same weights.
        path = self._cache / f"habits-{commands}-minilm.sqlite3"
        if not path.exists():
            part = self._copied(self.store(commands), path.with_suffix(".part"))
            with ProceduralMemoryEngine(path=part, durability="normal", embedder=embedder) as engine:
                _say(f"embedding the templates of {commands:,} commands with {embedder}")
                if left := engine.flush():
                    raise Unmeasurable(
                        f"{left} templates could not be embedded: {engine.stats()['embedder']['problem']}"
                    )
            part.rename(path)
        return path

    def pattern_store(self, patterns: int) -> Path:
        """Return the file of a memory with so many patterns of `workflows`, and vectors of 384 numbers."""
        return self._built(f"workflows-{patterns}", islice(workflows(), patterns), LexicalEmbedder(DIMENSION))

    def build(self, commands: int) -> Build:
        """Return how long the memory took to learn."""
        told = self.store(commands).with_suffix(".json")
        return Build(**json.loads(told.read_text(encoding="utf-8")))

    def copy(self, store: Path) -> Path:
        """Return a copy of a memory that may be changed."""
        return self._copied(store, self.new(store.suffix))

    def new(self, suffix: str = ".sqlite3") -> Path:
        """Return the name of a file that is not there yet."""
        return self._scratch / f"{next(self._numbers)}{suffix}"

    def clear(self) -> None:
        """Delete the copies."""
        for path in self._scratch.iterdir():
            path.unlink()

    def later(self, commands: int) -> Iterator[list[Command]]:
        """Yield sessions that come after those of a memory, without end."""
        for session in habits(commands // STEPS):
            yield [Command(**step) for step in session["commands"]]

    def contexts(self, commands: int) -> Iterator[list[Command]]:
        """Yield what came before a step, for steps of later sessions, one of each."""
        for number, session in enumerate(self.later(commands)):
            yield session[: 1 + number % (STEPS - 1)]

    def peers(self, commands: int) -> dict[str, SequenceModel]:
        """Return the peers that can run here, taught the newest of the commands of a memory."""
        if commands not in self._peers:
            first = max(0, commands - TAUGHT) // STEPS
            taught = {}
            for name in PEERS:
                if name in missing():
                    continue
                taught[name] = model = MODELS[name]()
                for session in islice(habits(first), commands // STEPS - first):
                    history: list[str] = []
                    for step in session["commands"]:
                        model.learn(history, step["command"])
                        history.append(step["command"])
                    model.end(history)
            self._peers[commands] = taught
        return self._peers[commands]

    def embedder_is_here(self, name: str) -> None:
        """Raise where an embedder cannot run."""
        if name != "lexical" and find_spec(MODULES[name]) is None:
            raise Unmeasurable(f"{MODULES[name]} is not installed")
        if name != "lexical" and find_model(DEFAULT_MODEL) is None:
            raise Unmeasurable(f"the weights of {DEFAULT_MODEL} are not on this machine")

    def _built(self, name: str, sessions: Iterator[dict[str, Any]], embedder: str | Embedder) -> Path:
        path = self._cache / f"{name}.sqlite3"
        if not path.exists():
            part = path.with_suffix(".part")
            for left in self._cache.glob(f"{part.name}*"):
                left.unlink()
            build = _learn(part, sessions, embedder, self.new())
            told = {**asdict(build), "code": self.code, "day": str(date.today())}
            path.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")
            part.rename(path)
        elif path not in self._ready:
            # What other code left to do, a migration say, must not fall on what is timed.
            with ProceduralMemoryEngine(path=path, durability="normal", embedder=embedder) as engine:
                engine.flush()
        self._ready.add(path)
        return path

    def _copied(self, store: Path, target: Path) -> Path:
        for left in target.parent.glob(f"{target.name}*"):
            left.unlink()
        shutil.copyfile(store, target)
        if (wal := Path(f"{store}-wal")).exists():
            shutil.copyfile(wal, f"{target}-wal")
        return target


def recent(history: Sequence[Command]) -> list[str]:
    """Return the lines of a context that a peer is shown."""
    return [command.command for command in history[-Peer.MEMORY :]]


def _learn(path: Path, sessions: Iterator[dict[str, Any]], embedder: str | Embedder, bare_path: Path) -> Build:
    """Learn sessions into a new memory, in turns with bare SQLite."""
    build = Build()
    done = deque[float](maxlen=1)
    with (
        ProceduralMemoryEngine(path=path, durability="normal", embedder=embedder) as engine,
        closing(BareLog(bare_path)) as bare,
    ):
        while chunk := list(islice(sessions, CHUNK)):
            begin = time.perf_counter()
            engine.learn_many(chunk, progress=lambda _: done.append(time.perf_counter()))
            build.whole.append(time.perf_counter() - begin)
            build.counted.append(done[-1] - begin)
            rows = [Command(**step) for step in chain.from_iterable(session["commands"] for session in chunk)]
            begin = time.perf_counter()
            bare.insert(rows)
            build.bare.append(time.perf_counter() - begin)
            build.commands.append(len(rows))
            _say(f"{path.stem}: learned {sum(build.commands):,} commands in {sum(build.whole):.0f} s")
        begin = time.perf_counter()
        engine.flush()
        vectors = time.perf_counter() - begin
    return Build(build.commands, build.counted, build.whole, build.bare, vectors)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
