"""Procedural memory: learns workflows from command sequences and predicts the next step, in process.

>>> from procedural_memory import ProceduralMemoryEngine
>>> engine = ProceduralMemoryEngine(embedder="lexical")
>>> _ = engine.learn_workflow(["npm ci", "npm test", "git push"], session_outcome="success")
>>> engine.predict_next_action(["npm ci", "npm test"])[0].next_command
'git push'

Names are imported when they are first used: importing the package loads no heavy library.
"""

from __future__ import annotations

# `TYPE_CHECKING` is spelled out, because importing typing would double the time of a bare import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from procedural_memory.commands.normalize import normalize
    from procedural_memory.commands.redact import redact
    from procedural_memory.embedding.base import Embedder
    from procedural_memory.embedding.lexical import LexicalEmbedder
    from procedural_memory.embedding.mlx import MLXEmbedder
    from procedural_memory.embedding.remote import RemoteEmbedder
    from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder
    from procedural_memory.engine import ProceduralMemoryEngine
    from procedural_memory.errors import (
        ClosedError,
        EmbeddingError,
        EmbeddingServiceError,
        HistoryError,
        InvalidInputError,
        InvalidTypeError,
        MissingExtraError,
        ModelFormatError,
        ModelNotFoundError,
        ProceduralMemoryError,
        SessionConflictError,
        SnapshotError,
        SnapshotNotFoundError,
        StorageError,
        StoreBusyError,
        StoreUnavailableError,
    )
    from procedural_memory.session import Session
    from procedural_memory.types import (
        UNASKED_PROBABILITY,
        Command,
        Evidence,
        Forgotten,
        ImportedSource,
        ImportReport,
        Loaded,
        OutcomeExplanation,
        OutcomePrediction,
        Prediction,
        SimilarPattern,
        StepInfluence,
        WorkflowPattern,
    )

__version__ = "0.1.0"

_MODULES = {
    "ProceduralMemoryEngine": "engine",
    "Session": "session",
    "normalize": "commands.normalize",
    "redact": "commands.redact",
    "UNASKED_PROBABILITY": "types",
    "Command": "types",
    "Evidence": "types",
    "Forgotten": "types",
    "ImportReport": "types",
    "ImportedSource": "types",
    "Loaded": "types",
    "OutcomeExplanation": "types",
    "OutcomePrediction": "types",
    "Prediction": "types",
    "SimilarPattern": "types",
    "StepInfluence": "types",
    "WorkflowPattern": "types",
    "Embedder": "embedding.base",
    "LexicalEmbedder": "embedding.lexical",
    "MLXEmbedder": "embedding.mlx",
    "RemoteEmbedder": "embedding.remote",
    "SentenceTransformerEmbedder": "embedding.sentence_transformers",
    "ClosedError": "errors",
    "EmbeddingError": "errors",
    "EmbeddingServiceError": "errors",
    "HistoryError": "errors",
    "InvalidInputError": "errors",
    "InvalidTypeError": "errors",
    "MissingExtraError": "errors",
    "ModelFormatError": "errors",
    "ModelNotFoundError": "errors",
    "ProceduralMemoryError": "errors",
    "SessionConflictError": "errors",
    "SnapshotError": "errors",
    "SnapshotNotFoundError": "errors",
    "StorageError": "errors",
    "StoreBusyError": "errors",
    "StoreUnavailableError": "errors",
}

__all__ = [
    "UNASKED_PROBABILITY",
    "ClosedError",
    "Command",
    "Embedder",
    "EmbeddingError",
    "EmbeddingServiceError",
    "Evidence",
    "Forgotten",
    "HistoryError",
    "ImportReport",
    "ImportedSource",
    "InvalidInputError",
    "InvalidTypeError",
    "LexicalEmbedder",
    "Loaded",
    "MLXEmbedder",
    "MissingExtraError",
    "ModelFormatError",
    "ModelNotFoundError",
    "OutcomeExplanation",
    "OutcomePrediction",
    "Prediction",
    "ProceduralMemoryEngine",
    "ProceduralMemoryError",
    "RemoteEmbedder",
    "SentenceTransformerEmbedder",
    "Session",
    "SessionConflictError",
    "SimilarPattern",
    "SnapshotError",
    "SnapshotNotFoundError",
    "StepInfluence",
    "StorageError",
    "StoreBusyError",
    "StoreUnavailableError",
    "WorkflowPattern",
    "normalize",
    "redact",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
