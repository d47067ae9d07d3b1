"""How long embedding takes: 1, 32 and 256 commands, for every embedder that is available.

Run: ``pytest benchmarks/bench_embed.py --benchmark-only``. Models that are not on this machine are skipped.
"""

from __future__ import annotations

import importlib.util
import itertools
from functools import cache
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from procedural_memory.embedding.base import Embedder
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model
from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder

TEMPLATES = [
    " ".join(parts).strip()
    for parts in itertools.product(
        ["git commit -m <STR>", "npm run build", "pytest -q <FILE>", "docker compose up -d", "cat <FILE> | grep <STR>"],
        ["", "--verbose", "<FILE>", "--output <FILE>"],
        ["", "&& git push", "| head -<NUM>", "> <FILE>", "2>&1", "-x", "; echo done", "|| exit <NUM>"],
        ["", "--dry-run"],
    )
]


@cache
def embedder(name: str) -> Embedder:
    """Return a loaded embedder, or skip with the reason."""
    if name == "lexical":
        return LexicalEmbedder()
    module = {"mlx": "mlx", "sentence-transformers": "sentence_transformers"}[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    if find_model(DEFAULT_MODEL) is None:
        pytest.skip(f"{DEFAULT_MODEL} is not on this machine")
    found: Embedder = MLXEmbedder() if name == "mlx" else SentenceTransformerEmbedder()
    found.embed(["ls"])
    return found


@pytest.mark.parametrize("count", [1, 32, 256])
@pytest.mark.parametrize("name", ["lexical", "mlx", "sentence-transformers"])
def test_embed(benchmark: BenchmarkFixture, name: str, count: int) -> None:
    """Embed `count` templates with a loaded model."""
    texts = TEMPLATES[:count]
    assert len(texts) == count
    chosen = embedder(name)
    rounds = 2 if name == "mlx" and count > 1 else 10
    pedantic: Any = benchmark.pedantic
    rows = pedantic(chosen.embed, args=(texts,), rounds=rounds, warmup_rounds=int(count == 1))
    assert rows.shape == (count, chosen.dimension)


def test_embed_cold_lexical(benchmark: BenchmarkFixture) -> None:
    """Embed 256 templates with an empty cache of words."""
    benchmark(lambda: LexicalEmbedder().embed(TEMPLATES[:256]))
