"""Tiny random models in a temporary folder, and a forward pass in numpy to compare with."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 4, 48, 64
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def need(*modules: str) -> None:
    """Skip the test, saying why, when one of `modules` is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write float32 tensors in the safetensors format: header length, JSON header, data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = np.ascontiguousarray(tensor, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def write_tokenizer(folder: Path) -> int:
    """Write a character-level WordPiece tokenizer with a few whole words; return its size."""
    need("tokenizers")
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    letters = "abcdefghijklmnopqrstuvwxyz0123456789-_./|&<>'\"=:"
    tokens = [*SPECIAL, "git", "status", "add", "commit", "npm", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    # As all-MiniLM's own file: a fixed padding and a limit that the reader must not follow.
    tokenizer.enable_padding(length=48, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(16)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 40,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
        },
    )
    return len(tokens)


def bert_weights(vocabulary: int, positions: int = POSITIONS, types: int = 2) -> dict[str, Array]:
    """Return the same random weights on every call, named as transformers names them."""
    random = np.random.default_rng(7)

    def draw(*shape: int) -> Array:
        values: Array = random.normal(0.0, 0.3, shape).astype(np.float32).astype(np.float64)
        return values

    weights = {
        "embeddings.word_embeddings.weight": draw(vocabulary, WIDTH),
        "embeddings.position_embeddings.weight": draw(positions, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(types, WIDTH),
        "embeddings.LayerNorm.weight": 1.0 + draw(WIDTH),
        "embeddings.LayerNorm.bias": draw(WIDTH),
        "pooler.dense.weight": draw(WIDTH, WIDTH),
        "pooler.dense.bias": draw(WIDTH),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            weights |= {name + part + ".weight": draw(WIDTH, WIDTH), name + part + ".bias": draw(WIDTH)}
        weights |= {
            name + "intermediate.dense.weight": draw(INNER, WIDTH),
            name + "intermediate.dense.bias": draw(INNER),
            name + "output.dense.weight": draw(WIDTH, INNER),
            name + "output.dense.bias": draw(WIDTH),
        }
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            weights |= {name + part + ".weight": 1.0 + draw(WIDTH), name + part + ".bias": draw(WIDTH)}
    return weights


def tiny_bert(
    folder: Path,
    *,
    pooling: str = "mean",
    activation: str = "gelu",
    described: bool = True,
    prefix: str = "",
    model_type: str = "bert",
    legacy_names: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a random two-layer encoder with the layout of a sentence-transformers folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    weights = bert_weights(vocabulary)
    if legacy_names:
        weights = {
            name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
            for name, tensor in weights.items()
        }
    write_safetensors(folder / "model.safetensors", {prefix + name: tensor for name, tensor in weights.items()})
    write_json(
        folder / "config.json",
        {
            "model_type": model_type,
            "architectures": ["BertModel"],
            "vocab_size": vocabulary,
            "hidden_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": INNER,
            "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
            "hidden_act": activation,
            "pad_token_id": 0,
            **(config or {}),
        },
    )
    if described:
        kind = "sentence_transformers.models."
        write_json(
            folder / "modules.json",
            [
                {"idx": 0, "name": "0", "path": "", "type": kind + "Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind + "Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": kind + "Normalize"},
            ],
        )
        (folder / "2_Normalize").mkdir(exist_ok=True)
        modes = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "lasttoken": "lasttoken"}
        write_json(
            folder / "1_Pooling" / "config.json",
            {
                "word_embedding_dimension": WIDTH,
                **{f"pooling_mode_{key}": mode == pooling for mode, key in modes.items()},
            },
        )
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    return folder


def numpy_bert(
    folder: Path,
    texts: list[str],
    *,
    pooling: str = "mean",
    activation: str = "gelu",
    limit: int = 24,
    position_offset: int = 0,
) -> Array:
    """Embed with a plain forward pass, one text at a time, no padding, no mask."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    weights = bert_weights(tokenizer.get_vocab_size())

    def norm(x: Array, name: str) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[name + ".weight"] + weights[name + ".bias"]

    def linear(x: Array, name: str) -> Array:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def act(x: Array) -> Any:
        if activation == "relu":
            return np.maximum(x, 0.0)
        if activation == "gelu_new":
            return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
        exact: Array = 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))
        return exact

    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        positions = np.arange(len(ids)) + position_offset
        x = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][positions]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        x = norm(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}."
            query, key, value = (linear(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
            heads = []
            size = WIDTH // HEADS
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                scores = query[:, part] @ key[:, part].T / math.sqrt(size)
                scores = np.exp(scores - scores.max(axis=1, keepdims=True))
                heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, part])
            mixed = linear(np.concatenate(heads, axis=1), name + "attention.output.dense")
            x = norm(x + mixed, name + "attention.output.LayerNorm")
            inner = act(linear(x, name + "intermediate.dense"))
            x = norm(x + linear(inner, name + "output.dense"), name + "output.LayerNorm")
        pooled = {"mean": x.mean(axis=0), "cls": x[0], "max": x.max(axis=0), "lasttoken": x[-1]}[pooling]
        rows.append(pooled / np.linalg.norm(pooled))
    return np.array(rows)


def tiny_qwen3(folder: Path, *, bare: bool = True, described: bool = True, tied: bool = True) -> Path:
    """Save a random two-layer Qwen3 by transformers, with a tokenizer that appends its end token.

    `bare` saves the body without the language-model head, as the published embedding models are.
    """
    need("torch", "transformers", "tokenizers")
    import torch
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.processors import TemplateProcessing

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, "<|endoftext|>", "<|im_end|>"])}
    end = vocabulary["<|endoftext|>"]
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    tokenizer.post_processor = TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)])
    torch.manual_seed(5)
    config = transformers.Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        eos_token_id=end,
        bos_token_id=end,
        initializer_range=0.2,
        dtype="float32",
    )
    kind: Any = transformers.Qwen3Model if bare else transformers.Qwen3ForCausalLM
    kind(config).float().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 256,
        },
    )
    if described:
        kind_of = "sentence_transformers.models."
        write_json(
            folder / "modules.json",
            [
                {"idx": 0, "name": "0", "path": "", "type": kind_of + "Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind_of + "Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": kind_of + "Normalize"},
            ],
        )
        (folder / "2_Normalize").mkdir(exist_ok=True)
        write_json(
            folder / "1_Pooling" / "config.json",
            {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True},
        )
        write_json(
            folder / "config_sentence_transformers.json",
            {
                "prompts": {"query": "Instruct: find the next command\nQuery:", "document": ""},
                "default_prompt_name": None,
            },
        )
    return folder
