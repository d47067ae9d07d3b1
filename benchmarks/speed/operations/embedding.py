"""What an embedder costs beside sentence-transformers' own `encode` of the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice

from procedural_memory import normalize
from procedural_memory.embedding.base import Embedder
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model
from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder
from speed.measure import Call, Contest, Unmeasurable
from speed.registry import embedders, operation
from speed.workload import habits
from speed.world import Plan, World

KINDS = {"lexical": LexicalEmbedder, "mlx": MLXEmbedder, "sentence-transformers": SentenceTransformerEmbedder}
FEW = 32
"""More texts than these are not embedded by MLX without a GPU: it would take minutes."""


def _texts(plan: Plan) -> tuple[int, ...]:
    return tuple(plan.texts)


@operation("embed", embedder=embedders, texts=_texts)
def embed(world: World, embedder: str, texts: int) -> Iterator[Contest]:
    """Embed distinct templates with a loaded model."""
    world.embedder_is_here(embedder)
    if embedder == "mlx" and texts > FEW:
        import mlx.core as mx

        if mx.default_device() == mx.Device(mx.cpu):
            raise Unmeasurable(f"MLX has no GPU here, and would take minutes for {texts:,} texts")
    lines = (normalize(step["command"]) for session in habits() for step in session["commands"])
    seen: dict[str, None] = {}
    while len(seen) < texts:
        seen.update(dict.fromkeys(islice(lines, texts)))
    templates = list(seen)[:texts]
    kind: Embedder = KINDS[embedder]()
    assert kind.embed(templates).shape == (texts, kind.dimension)
    yardsticks = {}
    if find_spec("sentence_transformers") and (path := find_model(DEFAULT_MODEL)):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(path), device="cpu")
        yardsticks["SentenceTransformer.encode"] = Call(lambda: model.encode(templates, normalize_embeddings=True))
    yield Contest(Call(lambda: kind.embed(templates)), yardsticks, each=texts, warm=1)
