"""Which embedder a memory uses, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from procedural_memory.embedding.base import Embedder
from procedural_memory.embedding.checking import checked_embedder
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.errors import InvalidInputError, shown

__all__ = ["CHOICES", "Selection", "select_embedder"]

CHOICES = ("auto", "mlx", "sentence-transformers", "lexical", "remote")


@dataclass(frozen=True, slots=True)
class Selection:
    """The embedder chosen for a memory.

    Attributes
    ----------
    embedder : Embedder or None
        ``None``: the memory's own embedder cannot be loaded here; its cached vectors still serve.
    name : str
        ``lexical``, ``mlx``, ``sentence-transformers``, ``remote``, ``custom`` or ``cached``.
    reason : str
        Why, in one line.
    """

    embedder: Embedder | None
    name: str
    reason: str


def select_embedder(
    embedder: str | Embedder = "auto",
    model: str | Path | None = None,
    embedding_service_url: str | None = None,
    recorded: str | None = None,
) -> Selection:
    """Choose an embedder. Cheap: loads no model, downloads nothing, touches no network."""
    if not isinstance(embedder, str):
        return Selection(checked_embedder(embedder), "custom", "given as an object")
    if embedder not in CHOICES:
        raise InvalidInputError(f"embedder must be one of {', '.join(CHOICES)}, not {shown(embedder)}")
    if recorded is not None and (match := re.fullmatch(r"lexical-v1-d(\d+)", recorded)):
        return Selection(LexicalEmbedder(int(match[1])), "lexical", "this memory was built with it")
    return Selection(LexicalEmbedder(), "lexical", "no model weights on this machine")
