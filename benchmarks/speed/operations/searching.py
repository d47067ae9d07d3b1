"""What a search for similar patterns costs, beside one pass over as many vectors."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.memory.nearest import usearch_installed
from speed.measure import Call, Contest
from speed.registry import operation, patterns
from speed.workload import workflows
from speed.world import DIMENSION, World

FOUND = 5


@operation("similar_patterns", size=patterns)
def similar_patterns(world: World, size: int) -> Iterator[Contest]:
    """Search with workflows that were not asked about before; beside products with a matrix of `size` x 384."""
    vectors = np.random.default_rng(3).standard_normal((size, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[0].copy()
    yardsticks = {"numpy float32 matrix-vector": Call(lambda: vectors @ query)}
    if usearch_installed():
        from usearch.compiled import MetricKind
        from usearch.index import search

        yardsticks["usearch, exact"] = Call(lambda: search(vectors, query, FOUND, MetricKind.IP, exact=True))
    if find_spec("faiss"):
        import faiss

        index: Any = faiss.IndexFlatIP(DIMENSION)
        index.add(vectors)
        yardsticks["faiss, exact"] = Call(lambda: index.search(query[None], FOUND))
    asked = workflows(size)
    lines: list[str] = []

    def next_query() -> None:
        lines[:] = [step["command"] for step in next(asked)["commands"]]

    with ProceduralMemoryEngine(path=world.pattern_store(size), embedder="lexical") as engine:
        assert engine.similar_patterns(["git status", "git add a.py", "git push"], k=FOUND, threshold=0.0)
        ours = Call(lambda: engine.similar_patterns(lines, k=FOUND, threshold=0.0), next_query)
        yield Contest(ours, yardsticks, warm=20)
