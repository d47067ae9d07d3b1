"""Shared fixtures: engines without a model, the shipped samples, and real sessions where they are at hand."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
