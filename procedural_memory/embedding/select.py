"""Which embedder a memory uses, and why."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from procedural_memory.embedding.base import Embedder
from procedural_memory.embedding.checking import checked_embedder
from procedural_memory.embedding.lexical import VERSION, LexicalEmbedder
from procedural_memory.errors import InvalidInputError, InvalidTypeError, MissingExtraError, shown

if TYPE_CHECKING:
    from procedural_memory.embedding.local import LocalModelEmbedder

__all__ = ["CHOICES", "Selection", "select_embedder"]

CHOICES: Final = ("auto", "mlx", "sentence-transformers", "lexical", "remote")

HINT: Final = "for vectors that know meaning run: procedural-memory model fetch"

_MODULES: Final = {"mlx": "mlx", "sentence-transformers": "sentence_transformers"}
_CUDA_BUILDS: Final = ("mlx-cuda", "mlx-cuda-12", "mlx-cuda-13")
_CUDA_DEVICES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class Selection:
    """The embedder chosen for a memory.

    Attributes
    ----------
    embedder : Embedder or None
        ``None``: the memory's own embedder cannot be loaded here; its cached vectors still serve.
    name : str
        ``lexical``, ``mlx``, ``sentence-transformers``, ``remote``, ``custom`` or, without an embedder, ``cached``.
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
    """Choose an embedder. Loads no model, imports no backend, downloads nothing and touches no network.

    ``auto`` follows `recorded`, and never flips to another vector space; for a new memory it takes, of what is
    installed with its weights on this machine, MLX where it has a GPU, else sentence-transformers, else lexical. An
    explicit `embedder` or `model` is a switch: it wins over `recorded`, and may download when it is first needed.

    Parameters
    ----------
    embedder : str or Embedder
        One of `CHOICES`, or an object that fulfils the protocol; all that such an object gives is checked.
    model : str or Path, optional
        A model folder, hub id or short name, for ``auto``, ``mlx`` and ``sentence-transformers``.
    embedding_service_url : str, optional
        Use this service, with ``auto`` or ``remote``.
    recorded : str, optional
        Fingerprint of the vectors that the memory holds already.

    Raises
    ------
    InvalidInputError
        If `embedder` is none of the choices, or the arguments contradict each other.
    ModelNotFoundError
        If `model` is a path and nothing is there.
    MissingExtraError
        If an explicit choice needs a package that is not installed.
    """
    if not isinstance(embedder, str):
        if model is not None or embedding_service_url is not None:
            raise InvalidInputError("give either an embedder object, or model or embedding_service_url, not both")
        return Selection(checked_embedder(embedder), "custom", f"given: {shown(embedder)}")
    if embedder not in CHOICES:
        raise InvalidInputError(f"embedder must be one of {', '.join(CHOICES)}, or an object; not {shown(embedder)}")
    if recorded is not None and not isinstance(recorded, str):
        raise InvalidTypeError(f"recorded must be a fingerprint, not {type(recorded).__name__}: {shown(recorded)}")
    if embedding_service_url is not None or embedder == "remote":
        return _remote(embedder, model, embedding_service_url)
    if embedder == "lexical":
        if model is not None:
            raise InvalidInputError(f"the lexical embedder takes no model, found {shown(str(model))}")
        return Selection(LexicalEmbedder(_lexical_dimension(recorded) or 256), "lexical", "asked for by name")
    if embedder != "auto" or model is not None:
        return _explicit(embedder, model)
    return _fresh() if recorded is None else _recorded(recorded)


def _remote(embedder: str, model: str | Path | None, url: str | None) -> Selection:
    if embedder not in ("auto", "remote"):
        raise InvalidInputError(
            f"embedding_service_url needs embedder 'auto' or 'remote', found {shown(embedder)}: leave one out"
        )
    if model is not None:
        raise InvalidInputError(
            f"the service at embedding_service_url chooses the model; leave out model={shown(str(model))}"
        )
    if url is None:
        raise InvalidInputError("embedder 'remote' needs embedding_service_url, such as http://localhost:8000")
    from procedural_memory.embedding.remote import RemoteEmbedder  # http and ssl are slow to import

    remote = RemoteEmbedder(url)
    return Selection(remote, "remote", f"embedding service {remote.url}")


def _embedder_of(name: str) -> type[LocalModelEmbedder]:
    """Return the embedder of a backend. What models are is imported where one may be used: lexical memories open
    sooner without."""
    if name == "mlx":
        from procedural_memory.embedding.mlx import MLXEmbedder

        return MLXEmbedder
    from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder


def _explicit(embedder: str, model: str | Path | None) -> Selection:
    from procedural_memory.embedding.models import DEFAULT_MODEL

    model = DEFAULT_MODEL if model is None else model
    name = embedder if embedder != "auto" else _backend() or "sentence-transformers"
    if not _installed(name):
        raise MissingExtraError(name if name != "mlx" else "MLX", name)
    asked = "asked for by name" if embedder != "auto" else "model asked for by name"
    return Selection(_embedder_of(name)(model, download=True), name, f"{asked}: {model}")


def _fresh() -> Selection:
    """Choose for a new memory."""
    from procedural_memory.embedding.models import DEFAULT_MODEL, find_model

    here = find_model(DEFAULT_MODEL) is not None
    gpu = _mlx_gpu()
    name = "mlx" if gpu else "sentence-transformers"
    if here and _installed(name):
        why = "MLX has a GPU here" if gpu else "no GPU for MLX, sentence-transformers is installed"
        return Selection(_embedder_of(name)(), name, f"{DEFAULT_MODEL} is on this machine; {why}")
    if here:
        return Selection(
            LexicalEmbedder(),
            "lexical",
            f"{DEFAULT_MODEL} is on this machine but sentence-transformers is not installed; for vectors that know "
            "meaning run: pip install 'omnimemory-procedural[sentence-transformers]'",
        )
    return Selection(LexicalEmbedder(), "lexical", f"{DEFAULT_MODEL} is not on this machine; {HINT}")


def _recorded(recorded: str) -> Selection:
    """Find the embedder that made the vectors of an existing memory."""
    dimension = _lexical_dimension(recorded)
    if dimension is not None:
        return Selection(LexicalEmbedder(dimension), "lexical", f"this memory was built with it ({recorded})")
    if recorded.startswith("remote:"):
        return _cached(recorded, "give embedding_service_url to embed with that service")
    from procedural_memory.embedding.models import list_models

    row = next((row for row in list_models() if row.fingerprint == recorded and row.path is not None), None)
    if row is None or row.path is None:
        return _cached(recorded, "no model with this fingerprint is on this machine")
    name = _backend()
    if name is None:
        return _cached(recorded, f"{row.name} is here; run: pip install 'omnimemory-procedural[sentence-transformers]'")
    return Selection(_embedder_of(name)(row.path), name, f"this memory was built with {row.name} ({recorded})")


def _cached(recorded: str, why: str) -> Selection:
    return Selection(
        None, "cached", f"this memory was built with {recorded}; {why}. Its cached vectors are used, new ones not made"
    )


def _lexical_dimension(recorded: str | None) -> int | None:
    match = re.fullmatch(rf"lexical-v{VERSION}-d([1-9]\d{{1,3}})", recorded or "")
    return int(match[1]) if match and 16 <= int(match[1]) <= 8192 else None


def _backend() -> str | None:
    """Return what runs a model best of what is installed: any backend gives the same vectors."""
    if _mlx_gpu():
        return "mlx"
    return next((name for name in ("sentence-transformers", "mlx") if _installed(name)), None)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(_MODULES[name]) is not None


def _mlx_gpu() -> bool:
    """Return whether MLX has a GPU here, by what is installed and present: importing MLX to ask is slow."""
    if not _installed("mlx"):
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(_has_distribution(name) for name in _CUDA_BUILDS) and any(Path(d).exists() for d in _CUDA_DEVICES)


def _has_distribution(name: str) -> bool:
    import importlib.metadata

    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
