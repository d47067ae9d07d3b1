"""The public surface: names, lazy import, and what an import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import procedural_memory

PUBLIC = [
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
    "UNASKED_PROBABILITY",
    "WorkflowPattern",
    "normalize",
    "redact",
]


def test_all_names_what_is_public() -> None:
    """``__all__`` is exactly the list above: a new public name is a decision."""
    assert sorted(procedural_memory.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_resolves(name: str) -> None:
    """Each public name is there, and listed by dir()."""
    value = getattr(procedural_memory, name)
    assert name.isupper() or value.__name__ == name
    assert name in dir(procedural_memory)


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist raises what Python raises elsewhere."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        procedural_memory.nothing  # noqa: B018


def test_import_loads_no_heavy_library() -> None:
    """A bare import pulls in none of the libraries that cost time."""
    code = "import sys, procedural_memory; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    heavy = {"numpy", "networkx", "mlx", "mlx.core", "torch", "fastapi", "tree_sitter", "sqlite3", "rich", "click"}
    assert not loaded & heavy


def test_engine_without_a_model_loads_no_model_library() -> None:
    """Learning and predicting with the lexical embedder needs neither torch, mlx nor networkx.

    Nor what of Python's own loads compressors and OpenSSL.
    """
    code = (
        "import sys; from procedural_memory import ProceduralMemoryEngine as E; e = E(embedder='lexical');"
        "e.learn_workflow(['a', 'b', 'c']); e.predict_next_action(['a']); e.flush(); e.close(); print(*sys.modules)"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"networkx", "mlx.core", "torch", "sentence_transformers", "fastapi", "shutil", "hashlib"}


def test_redact_is_standard_library_only() -> None:
    """The redactor, which hooks import, pulls in neither the parser nor numpy."""
    code = "import sys; from procedural_memory.commands.redact import redact; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"tree_sitter", "numpy", "sqlite3", "procedural_memory.engine"}
