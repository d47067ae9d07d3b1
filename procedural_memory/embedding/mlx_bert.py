"""BERT-type encoders in MLX. Imported only when a model is loaded: MLX is an optional dependency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn

from procedural_memory.embedding.model_files import ModelFiles
from procedural_memory.errors import ModelFormatError, shown

__all__ = ["BertEncoder", "load_encoder"]

ACTIVATIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "gelu": nn.gelu,  # exact, with the error function
    "gelu_new": nn.gelu_approx,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "quick_gelu": nn.gelu_fast_approx,
    "relu": nn.relu,
    "silu": nn.silu,
    "swish": nn.silu,
}

_PREFIXES: Final = ("bert.", "roberta.", "model.")


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes of an encoder, from ``config.json``."""

    vocab: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    types: int
    epsilon: float
    activation: Callable[[Any], Any]
    position_offset: int

    @classmethod
    def read(cls, files: ModelFiles) -> BertConfig:
        """Read the sizes; a missing or impossible one raises `ModelFormatError`."""
        config, place = files.config, files.folder / "config.json"

        def number(key: str, default: int | None = None) -> int:
            value = config.get(key, default)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ModelFormatError(f"{place}: {key} must be a positive number, found {shown(value)}")
            return value

        kind = config.get("position_embedding_type", "absolute")
        if kind not in ("absolute", None):
            raise ModelFormatError(f"{place}: position_embedding_type must be absolute, found {shown(kind)}")
        name = config.get("hidden_act", "gelu")
        if name not in ACTIVATIONS:
            raise ModelFormatError(f"{place}: hidden_act must be one of {', '.join(ACTIVATIONS)}, found {shown(name)}")
        width, heads = number("hidden_size"), number("num_attention_heads")
        if width % heads:
            raise ModelFormatError(f"{place}: hidden_size {width} is no multiple of {heads} attention heads")
        roberta = files.architecture != "bert"
        return cls(
            vocab=number("vocab_size"),
            width=width,
            layers=number("num_hidden_layers"),
            heads=heads,
            inner=number("intermediate_size"),
            positions=number("max_position_embeddings"),
            types=number("type_vocab_size", 2),
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
            activation=ACTIVATIONS[name],
            position_offset=int(config.get("pad_token_id") or 0) + 1 if roberta else 0,
        )


class _Embeddings(nn.Module):  # type: ignore[misc]
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab, config.width)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.token_type_embeddings = nn.Embedding(config.types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self._offset = config.position_offset

    def __call__(self, ids: Any) -> Any:
        positions = mx.arange(self._offset, self._offset + ids.shape[1])
        summed = self.word_embeddings(ids) + self.token_type_embeddings(mx.zeros_like(ids))
        return self.norm(summed + self.position_embeddings(positions))


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.attended = nn.Linear(config.width, config.width)
        self.attended_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.inner = nn.Linear(config.width, config.inner)
        self.outer = nn.Linear(config.inner, config.width)
        self.outer_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self._heads = config.heads
        self._activation = config.activation

    def __call__(self, states: Any, mask: Any) -> Any:
        batch, length, width = states.shape

        def split(values: Any) -> Any:
            return values.reshape(batch, length, self._heads, width // self._heads).transpose(0, 2, 1, 3)

        mixed = mx.fast.scaled_dot_product_attention(
            split(self.query(states)),
            split(self.key(states)),
            split(self.value(states)),
            scale=(width // self._heads) ** -0.5,
            mask=mask,
        )
        mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, length, width)
        states = self.attended_norm(states + self.attended(mixed))
        return self.outer_norm(states + self.outer(self._activation(self.inner(states))))


class BertEncoder(nn.Module):  # type: ignore[misc]
    """BERT, RoBERTa and kin: absolute positions, normalisation after each block (Devlin et al. 2019)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.layers = [_Layer(config) for _ in range(config.layers)]

    def __call__(self, ids: Any, mask: Any) -> Any:
        """Return hidden states (batch, length, width) for token `ids`; `mask` is 1 at tokens, 0 at padding.

        Padding stands at the end.
        """
        states = self.embeddings(ids)
        # In the type of the states: attention refuses a mask of a wider one.
        bias = mx.where(mask[:, None, None, :] > 0, 0.0, float("-inf")).astype(states.dtype)
        for layer in self.layers:
            states = layer(states, bias)
        return states


# Names in this module, against those that transformers writes.
_RENAMED: Final = (
    ("encoder.layer.", "layers."),
    ("attention.self.", ""),
    ("attention.output.dense.", "attended."),
    ("attention.output.LayerNorm.", "attended_norm."),
    ("intermediate.dense.", "inner."),
    ("output.dense.", "outer."),
    ("output.LayerNorm.", "outer_norm."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("norm.gamma", "norm.weight"),
    ("norm.beta", "norm.bias"),
)


def _renamed(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    return name


def load_encoder(files: ModelFiles, dtype: Any = mx.float32) -> BertEncoder:
    """Return the encoder in `files` with its weights in `dtype`, which its activations take too.

    Raises
    ------
    ModelFormatError
        If a tensor is missing or has another shape than the configuration asks for.
    """
    from mlx.utils import tree_flatten

    model = BertEncoder(BertConfig.read(files))
    wanted = {name: tuple(value.shape) for name, value in tree_flatten(model.parameters())}
    weights: dict[str, Any] = {}
    for path in files.weights:
        try:
            tensors: Any = mx.load(str(path))
        except (RuntimeError, ValueError) as error:
            raise ModelFormatError(f"{path}: the weights cannot be read: {error}") from None
        for theirs, tensor in sorted(tensors.items()):  # the order of the library varies
            name = _renamed(theirs)
            if name not in wanted:
                continue
            if tuple(tensor.shape) != wanted[name]:
                raise ModelFormatError(
                    f"{path}: tensor {theirs} should have shape {wanted[name]} by config.json, "
                    f"found {tuple(tensor.shape)}"
                )
            weights[name] = tensor.astype(dtype)
    missing = sorted(wanted.keys() - weights.keys())
    if missing:
        raise ModelFormatError(
            f"{files.folder}: {len(missing)} of {len(wanted)} tensors that config.json asks for are not "
            "in the "
            f"weights, first {missing[0]}: weights and configuration belong to different models"
        )
    model.load_weights(list(weights.items()))
    mx.eval(model.parameters())
    return model
