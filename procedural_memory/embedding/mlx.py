"""Embedders on MLX, Apple's array framework: Apple silicon, CUDA, and any CPU for tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from procedural_memory.embedding import mlx_thread
from procedural_memory.embedding.local import LocalModelEmbedder
from procedural_memory.embedding.model_files import DECODERS, ENCODERS, ModelFiles
from procedural_memory.errors import MissingExtraError, ModelFormatError

if TYPE_CHECKING:
    from procedural_memory.embedding.mlx_forward import Forward, Runner, Way

__all__ = ["MLXEmbedder"]


@final
class MLXEmbedder(LocalModelEmbedder):
    """Embed with a local model on MLX, on the GPU where MLX has one, else on the CPU.

    - Encoders of BERT type (bert, roberta, xlm-roberta, camembert: all-MiniLM, bge, e5) run in a module of
      this package: in float32 on the CPU, in float16 on a GPU. A text that float16 cannot hold is embedded in
      float32. Both share a fingerprint: with all-MiniLM-L6-v2 the cosine of a text's two vectors is above
      1 - 1e-5, and the cosine of two texts changes by less than 1e-3.
    - Decoders (qwen3, qwen2, llama, mistral: Qwen3-Embedding) load through mlx-lm, in the type that they are
      stored in, and embed with their last token. The end token is what the tokenizer's own post-processor
      adds, as in transformers 5; nothing else is appended.

    On a GPU the forward pass is compiled, for few shapes. Tokenizer, pooling, token limit and prompts come from
    the model folder (see `read_model_files`); rows are always normalised. Parameters are those of
    `LocalModelEmbedder`.
    """

    _way: Way | None = None  # by what MLX has here; tests run the way of a GPU on the CPU

    def _load(self, files: ModelFiles) -> _Model:
        _require("mlx", "MLX", "mlx")
        _require("tokenizers", "tokenizers (for MLX)", "mlx")
        _check_supported(files)
        tokenizer = _load_tokenizer(files)
        return mlx_thread.run(lambda: _Model(files, tokenizer, self._way))

    def _encode(self, loaded: _Model, texts: list[str]) -> NDArray[np.float32]:
        ids = loaded.tokenized(texts)
        return mlx_thread.run(lambda: loaded.rows(ids))


class _Model:
    """A loaded model. Made and run in the thread of MLX."""

    def __init__(self, files: ModelFiles, tokenizer: Any, way: Way | None) -> None:
        import mlx.core as mx

        from procedural_memory.embedding.mlx_forward import CPU, GPU

        gpu = has_gpu()
        self._files = files
        self._tokenizer = tokenizer
        self._device = mx.gpu if gpu else mx.cpu
        self._way = way or (GPU if gpu else CPU)
        self._runner = self._load(self._way)
        self._exact: Runner | None = None

    def tokenized(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, at least one; needs no MLX."""
        end = self._files.config.get("eos_token_id")
        fallback = [end if isinstance(end, int) else 0]
        if self._files.lowercase:
            texts = [text.lower() for text in texts]
        return [encoding.ids or fallback for encoding in self._tokenizer.encode_batch(texts)]

    def rows(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return one row for each list of token ids."""
        rows = self._run(self._runner, ids)
        if self._way.half and not self._files.is_decoder:
            # Past 65,504 float16 is infinite. Only the texts concerned run again, so that no vector depends on
            # which other texts were embedded with it or before it.
            lost = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if lost.size:
                self._exact = self._exact or self._load(self._way._replace(half=False))
                rows[lost] = self._run(self._exact, [ids[index] for index in lost.tolist()])
        return rows

    def _load(self, way: Way) -> Runner:
        import mlx.core as mx

        from procedural_memory.embedding.mlx_forward import Runner

        files = self._files
        with mx.stream(self._device):
            forward = _load_decoder(files) if files.is_decoder else _load_encoder(files, way.half)
            return Runner(forward, files.pooling, way, files.max_length)

    def _run(self, runner: Runner, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import mlx.core as mx

        with mx.stream(self._device):
            return runner(ids)


def has_gpu() -> bool:
    """Return whether MLX has a GPU backend here. Imports MLX."""
    import mlx.core as mx

    metal, cuda = getattr(mx, "metal", None), getattr(mx, "cuda", None)
    return bool((metal is not None and metal.is_available()) or (cuda is not None and cuda.is_available()))


def _check_supported(files: ModelFiles) -> None:
    from procedural_memory.embedding.mlx_forward import POOLINGS

    place = files.folder
    otherwise = "use embedder='sentence-transformers' for it"
    if files.architecture not in ENCODERS and not files.is_decoder:
        raise ModelFormatError(
            f"{place / 'config.json'}: model_type should be one of {', '.join((*ENCODERS, *DECODERS))}, "
            f"found {files.architecture}; {otherwise}"
        )
    if files.other_modules:
        raise ModelFormatError(
            f"{place / 'modules.json'}: expected Transformer, Pooling and Normalize, found also "
            f"{', '.join(files.other_modules)}; {otherwise}"
        )
    if files.pooling not in POOLINGS:
        raise ModelFormatError(
            f"{place}: pooling should be one of {', '.join(POOLINGS)}, found {files.pooling}; {otherwise}"
        )
    if files.pooling != "lasttoken" and files.is_decoder:
        raise ModelFormatError(
            f"{place}: a decoder ({files.architecture}) needs pooling lasttoken, found {files.pooling}; {otherwise}"
        )
    if not files.include_prompt and (files.document_prompt or files.query_prompt):
        raise ModelFormatError(f"{place}: prompts left out of the pooling are not supported; {otherwise}")
    if files.config.get("is_causal") is False or files.config.get("use_bidirectional_attention"):
        raise ModelFormatError(f"{place / 'config.json'}: expected causal attention, found both ways; {otherwise}")


def _load_tokenizer(files: ModelFiles) -> Any:
    import tokenizers

    path = files.folder / "tokenizer.json"
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelFormatError(f"{path}: the tokenizer cannot be read: {error}") from None
    tokenizer.no_padding()  # files may ask for padding to a fixed length
    tokenizer.enable_truncation(files.max_length)
    vocabulary, known = tokenizer.get_vocab_size(), files.config.get("vocab_size")
    if isinstance(known, int) and vocabulary > known:
        raise ModelFormatError(
            f"{path}: at most {known} tokens expected by config.json (vocab_size), found {vocabulary}: "
            "tokenizer and weights belong to different models"
        )
    return tokenizer


def _load_encoder(files: ModelFiles, half: bool) -> Forward:
    import mlx.core as mx

    from procedural_memory.embedding.mlx_bert import load_encoder

    encoder: Forward = load_encoder(files, mx.float16 if half else mx.float32)
    return encoder


def _load_decoder(files: ModelFiles) -> Forward:
    """Load a decoder through mlx-lm and return its body: no language-model head is needed or expected."""
    _require("mlx_lm", "mlx-lm", "mlx")
    from mlx_lm.utils import _get_classes, load_model

    def classes(config: dict[str, Any]) -> tuple[Any, Any]:
        model_class, arguments = _get_classes(config)

        def sanitize(self: Any, weights: dict[str, Any]) -> dict[str, Any]:
            if "embed_tokens.weight" in weights:  # saved without the head: no common prefix
                weights = {f"model.{name}": tensor for name, tensor in weights.items()}
            if hasattr(model_class, "sanitize"):
                weights = model_class.sanitize(self, weights)
            weights.pop("lm_head.weight", None)
            self.pop("lm_head", None)
            return weights

        return type("Body", (model_class,), {"sanitize": sanitize}), arguments

    try:
        model, _ = load_model(files.folder, get_model_classes=classes)
    except (ValueError, TypeError, KeyError, RuntimeError, OSError) as error:
        raise ModelFormatError(
            f"{files.folder}: weights and config.json do not make a {files.architecture} model: {error}"
        ) from error
    body = model.model
    # Padding stands at the end and attention looks back only, so no token ever sees it: no mask needed.
    return lambda ids, mask: body(ids)


def _require(module: str, feature: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(feature, extra)
