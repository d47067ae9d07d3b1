"""Embedders on sentence-transformers (PyTorch): the CPU fallback, with the same weights as on MLX."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from procedural_memory.embedding.local import LocalModelEmbedder
from procedural_memory.embedding.model_files import ModelFiles
from procedural_memory.embedding.models import DEFAULT_MODEL
from procedural_memory.errors import MissingExtraError, ModelFormatError

__all__ = ["SentenceTransformerEmbedder"]

_BATCH: Final = 32


@final
class SentenceTransformerEmbedder(LocalModelEmbedder):
    """Embed with a local model on PyTorch; the first `embed` imports it, which takes seconds.

    Pooling, token limit and prompts are read from the folder as for MLX, so that both give the same vectors.
    Encoders run in float32, decoders in the type that they are stored in. Runs no code from the model folder.

    Parameters
    ----------
    model, download, query_prompt, document_prompt
        As for `LocalModelEmbedder`.
    device : str, default "cpu"
        Device of PyTorch.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        download: bool = False,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(model, download=download, query_prompt=query_prompt, document_prompt=document_prompt)
        self._device: Final = device

    def _load(self, files: ModelFiles) -> Any:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtraError("sentence-transformers", "sentence-transformers")
        with _quiet():
            try:
                model = self._build(files)
            except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
                raise ModelFormatError(
                    f"{files.folder}: sentence-transformers cannot load this model: {error}"
                ) from error
            _check_complete(files, model[0].auto_model)
        model.max_seq_length = files.max_length
        if not files.is_decoder:
            model = model.float()
        found = int(model.encode(["."], show_progress_bar=False, prompt="").shape[1])
        if found != files.dimension:
            raise ModelFormatError(
                f"{files.folder}: expected vectors of {files.dimension} by its configuration, found {found}"
            )
        return model

    def _build(self, files: ModelFiles) -> Any:
        import sentence_transformers

        folder = str(files.folder)
        if files.described:
            return sentence_transformers.SentenceTransformer(
                folder, device=self._device, local_files_only=True, trust_remote_code=False
            )
        # Left to itself the library would pool a bare decoder by the mean, which ruins it silently.
        from sentence_transformers import models

        transformer = models.Transformer(folder)
        pooling = models.Pooling(files.dimension, pooling_mode=files.pooling)
        return sentence_transformers.SentenceTransformer(modules=[transformer, pooling], device=self._device)

    def _encode(self, loaded: Any, texts: list[str]) -> Any:
        # The prompt already stands in front; "" keeps the library from adding its default one.
        return loaded.encode(texts, batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True, prompt="")


def _check_complete(files: ModelFiles, body: Any) -> None:
    """Refuse a model that is not all in the weights: transformers fills what is missing with random numbers."""
    stored = {name.removeprefix(f"{body.base_model_prefix}.") for header in files.headers for name in header}
    if all(name in stored for name, _ in body.named_parameters()):
        return
    # Old checkpoints have other names; the library knows them, but tells only when it loads a model itself.
    _, report = type(body).from_pretrained(str(files.folder), output_loading_info=True, local_files_only=True)
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))  # not used here
    if missing:
        raise ModelFormatError(
            f"{files.folder}: {len(missing)} tensors that config.json asks for are not in the weights, first "
            f"{missing[0]}: weights and configuration belong to different models"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars and notices of transformers off the terminal while a model loads."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
