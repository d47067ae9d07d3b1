"""What the embedders that run a model in this process have in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from procedural_memory.embedding.base import Vectors
from procedural_memory.embedding.checking import checked_texts, encodable, unit_rows
from procedural_memory.embedding.model_files import ModelFiles, read_model_files
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model, local_model

__all__ = ["LocalModelEmbedder"]

MAX_CHARS: Final = 16_384
"""Read of a text before it is tokenised: 32 characters a token at the largest token limit."""


class LocalModelEmbedder(ABC):
    """A model folder: found at once, read when asked for its fingerprint, loaded by the first `embed`.

    Safe to share between threads: one text batch runs at a time.

    Parameters
    ----------
    model : str or Path, default all-MiniLM-L6-v2
        A model folder, a hub id or a known short name.
    download : bool, default False
        Whether a hub id that is not on this machine is downloaded, with a progress bar, when it is first
        needed.
    query_prompt, document_prompt : str, optional
        Put before texts by `embed_queries` and `embed`. Default: what the model folder says.

    Raises
    ------
    ModelNotFoundError
        If `model` is a path and nothing is there; a hub id is looked up when it is first needed.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        download: bool = False,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> None:
        find_model(model)
        self._model: Final = model
        self._download: Final = download
        self._prompts: Final = (query_prompt, document_prompt)
        self._lock: Final = threading.RLock()
        self._files: ModelFiles | None = None
        self._fingerprint: str | None = None
        self._loaded: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._model)!r})"

    @property
    def files(self) -> ModelFiles:
        """What the model folder says; read once."""
        with self._lock:
            if self._files is None:
                folder = local_model(self._model, download=self._download)
                query, document = self._prompts
                self._files = read_model_files(folder, query_prompt=query, document_prompt=document)
            return self._files

    @property
    def dimension(self) -> int:
        """Length of a vector, from the model's configuration."""
        return self.files.dimension

    @property
    def fingerprint(self) -> str:
        """Name of the vector space: equal for equal weights on every backend. Loads no model."""
        with self._lock:
            if self._fingerprint is None:
                self._fingerprint = self.files.fingerprint()
            return self._fingerprint

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit-length row per text to store: float32 of shape (len(texts), dimension).

        A text is read up to the model's token limit and 16,384 characters. Lone surrogates count as U+FFFD.

        Raises
        ------
        InvalidTypeError
            If `texts` is no sequence of strings.
        ModelNotFoundError, ModelFormatError, MissingExtraError
            If the model cannot be loaded.
        """
        return self._embed(texts, query=False)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit-length row per text to search with: `embed` with the model's query instruction."""
        return self._embed(texts, query=True)

    def _embed(self, texts: Sequence[str], query: bool) -> Vectors:
        items = checked_texts(texts)
        with self._lock:
            files = self.files
            if not items:
                return np.zeros((0, files.dimension), dtype=np.float32)
            prompt = files.query_prompt if query else files.document_prompt
            if self._loaded is None:
                self._loaded = self._load(files)
            rows = self._encode(self._loaded, [prompt + encodable(item[:MAX_CHARS]) for item in items])
        return unit_rows(rows, len(items), files.dimension, f"model {files.folder}")

    @abstractmethod
    def _load(self, files: ModelFiles) -> Any:
        """Return what `_encode` needs. The lock is held."""

    @abstractmethod
    def _encode(self, loaded: Any, texts: list[str]) -> Any:
        """Return one row per text, of any length. The lock is held."""
