"""Shared fixtures: engines without a model, the shipped samples, real sessions where they are at hand, and what the
tests of durability need."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Missing, PostgresServer, running

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.samples import load_sessions

DATA = Path(os.environ.get("PROCEDURAL_MEMORY_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


@pytest.fixture
def engine() -> Iterator[ProceduralMemoryEngine]:
    """An empty engine with the embedder that needs no weights."""
    with ProceduralMemoryEngine(embedder="lexical") as made:
        yield made


@pytest.fixture
def learned(engine: ProceduralMemoryEngine) -> ProceduralMemoryEngine:
    """An engine that has learned the shipped samples."""
    engine.learn_many(load_sessions())
    engine.flush()
    return engine


@pytest.fixture(scope="session")
def real_sessions() -> Callable[[str], list[dict[str, Any]]]:
    """Read a file of real sessions; skips the test when it is not on this machine."""

    def read(name: str) -> list[dict[str, Any]]:
        path = DATA / f"{name}.jsonl.gz"
        if not path.is_file():
            pytest.skip(f"real sessions are not at hand: {path} (set PROCEDURAL_MEMORY_DATA)")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    return read


@pytest.fixture(scope="session")
def thorough() -> bool:
    """Whether tests of durability try all that they can, or a sample: set PROCEDURAL_MEMORY_THOROUGH=1 for all."""
    return bool(os.environ.get("PROCEDURAL_MEMORY_THOROUGH"))


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: it is the same to a process, and syncing costs nothing."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built library of `shim.c`; skips the test where it cannot be built."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux"):
        pytest.skip("the library that watches files is for Linux")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the library that watches files")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).parent / "durability" / "shim.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own; skips the test where none can be started, or the driver is missing."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: the extra 'postgres'")
    from procedural_memory.storage.postgres import PostgresStore

    with ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except Missing as error:
            pytest.skip(str(error))
        PostgresStore(server.address()).close()  # the tables are the keeper's, whatever role a test comes with first
        yield server
