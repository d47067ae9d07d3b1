"""Embedders on MLX, Apple's array framework: Apple silicon, CUDA, and any CPU for tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from procedural_memory.embedding.local import LocalModelEmbedder
from procedural_memory.embedding.model_files import DECODERS, ENCODERS, ModelFiles
from procedural_memory.errors import MissingExtraError, ModelFormatError

__all__ = ["MLXEmbedder"]

_BATCH_TEXTS: Final = 64
_BATCH_TOKENS: Final = 8192

_POOLINGS: Final = ("mean", "cls", "lasttoken", "max")


class _Loaded(NamedTuple):
    files: ModelFiles
    tokenizer: Any
    forward: Callable[[Any, Any], Any]
    device: Any
    fallback_token: int


@final
class MLXEmbedder(LocalModelEmbedder):
    """Embed with a local model on MLX, on the GPU where MLX has one, else on the CPU.

    - Encoders of BERT type (bert, roberta, xlm-roberta, camembert: all-MiniLM, bge, e5) run in a module of
      this package, in float32.
    - Decoders (qwen3, qwen2, llama, mistral: Qwen3-Embedding) load through mlx-lm, in the type that they are
      stored in, and embed with their last token. The end token is what the tokenizer's own post-processor
      adds, as in transformers 5; nothing else is appended.

    Tokenizer, pooling, token limit and prompts come from the model folder (see `read_model_files`); rows are
    always normalised. Parameters are those of `LocalModelEmbedder`.
    """

    def _load(self, files: ModelFiles) -> _Loaded:
        _require("mlx", "MLX", "mlx")
        _require("tokenizers", "tokenizers (for MLX)", "mlx")
        _check_supported(files)
        import mlx.core as mx

        device = mx.gpu if has_gpu() else mx.cpu
        tokenizer = _load_tokenizer(files)
        with mx.stream(device):
            forward = _load_decoder(files) if files.is_decoder else _load_encoder(files)
        end = files.config.get("eos_token_id")
        return _Loaded(files, tokenizer, forward, device, end if isinstance(end, int) else 0)

    def _encode(self, loaded: _Loaded, texts: list[str]) -> NDArray[np.float32]:
        import mlx.core as mx

        files = loaded.files
        if files.lowercase:
            texts = [text.lower() for text in texts]
        ids = [e.ids or [loaded.fallback_token] for e in loaded.tokenizer.encode_batch(texts)]
        rows = np.empty((len(texts), files.dimension), dtype=np.float32)
        with mx.stream(loaded.device):
            for batch in _batches([len(item) for item in ids]):
                width = len(ids[batch[-1]])
                tokens = np.zeros((len(batch), width), dtype=np.int32)
                mask = np.zeros((len(batch), width), dtype=np.float32)
                for row, index in enumerate(batch):
                    tokens[row, : len(ids[index])] = ids[index]
                    mask[row, : len(ids[index])] = 1.0
                vectors = _pooled(loaded.forward(mx.array(tokens), mx.array(mask)), mx.array(mask), files.pooling)
                rows[batch] = np.array(vectors.astype(mx.float32))
        return rows


def has_gpu() -> bool:
    """Return whether MLX has a GPU backend here. Imports MLX."""
    import mlx.core as mx

    metal, cuda = getattr(mx, "metal", None), getattr(mx, "cuda", None)
    return bool((metal is not None and metal.is_available()) or (cuda is not None and cuda.is_available()))


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Yield indices, shortest texts first, so that a batch pads little and holds a bounded number of tokens."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == _BATCH_TEXTS or (len(batch) + 1) * lengths[index] > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _pooled(states: Any, mask: Any, pooling: str) -> Any:
    import mlx.core as mx

    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[mx.arange(states.shape[0]), mask.sum(axis=1).astype(mx.int32) - 1]
    wide = mask[:, :, None]
    if pooling == "max":
        return mx.where(wide > 0, states, -1e9).max(axis=1)
    return (states * wide).sum(axis=1) / wide.sum(axis=1)


def _check_supported(files: ModelFiles) -> None:
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
    if files.pooling not in _POOLINGS:
        raise ModelFormatError(
            f"{place}: pooling should be one of {', '.join(_POOLINGS)}, found {files.pooling}; {otherwise}"
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


def _load_encoder(files: ModelFiles) -> Callable[[Any, Any], Any]:
    from procedural_memory.embedding.mlx_bert import load_encoder

    encoder: Callable[[Any, Any], Any] = load_encoder(files)
    return encoder


def _load_decoder(files: ModelFiles) -> Callable[[Any, Any], Any]:
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
