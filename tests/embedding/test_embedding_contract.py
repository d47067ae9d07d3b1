"""Every embedder passes every check of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from embedding_checks import CHECKS, Factory
from embedding_service import running
from tiny_models import need, tiny_bert, tiny_qwen3

from procedural_memory.embedding.checking import checked_embedder
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.embedding.remote import RemoteEmbedder
from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder

KINDS = [
    "lexical",
    "lexical-1024",
    "checked-object",
    "remote",
    "mlx-bert",
    "mlx-qwen3",
    "mlx-bert-as-on-a-gpu",
    "sentence-transformers-bert",
    "sentence-transformers-qwen3",
]


@pytest.fixture(scope="module", params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """Yield a factory for one kind of embedder."""
    kind: str = request.param
    folder: Path = tmp_path_factory.mktemp(kind)
    if kind == "lexical":
        yield LexicalEmbedder
    elif kind == "lexical-1024":
        yield lambda: LexicalEmbedder(1024)
    elif kind == "checked-object":
        yield lambda: checked_embedder(LexicalEmbedder(48))
    elif kind == "remote":
        with running() as service:
            yield lambda: RemoteEmbedder(service.url)
    else:
        gpu = kind.endswith("-as-on-a-gpu")
        backend, _, model = kind.removesuffix("-as-on-a-gpu").rpartition("-")
        need(*({"mlx": ("mlx", "mlx_lm"), "sentence-transformers": ("sentence_transformers",)}[backend]))
        path = (tiny_bert if model == "bert" else tiny_qwen3)(folder)
        cls = MLXEmbedder if backend == "mlx" else SentenceTransformerEmbedder
        yield lambda: as_on_a_gpu(path) if gpu else cls(path)


def as_on_a_gpu(path: Path) -> MLXEmbedder:
    """Return an embedder that is compiled and in float16."""
    from procedural_memory.embedding.mlx_forward import GPU

    embedder = MLXEmbedder(path)
    embedder._way = GPU
    return embedder


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[Factory], None], make: Factory) -> None:
    """The embedder keeps this rule of the contract."""
    check(make)
