"""The MLX embedder against a plain numpy forward pass and against transformers; and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedding_checks import COMMANDS
from tiny_models import need, numpy_bert, tiny_bert, tiny_qwen3, write_json, write_safetensors

from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.errors import MissingExtraError, ModelFormatError, ModelNotFoundError

need_mlx = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('mlx')", reason="mlx is not installed")
pytestmark = need_mlx

LONG = "git commit " + "abc/def " * 30  # past the limit of 24 tokens
TEXTS = [*COMMANDS, "", LONG, "Git STATUS"]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_encoder_equals_a_plain_forward_pass(tmp_path: Path, pooling: str, activation: str) -> None:
    """Every pooling and activation, mixed lengths in one batch, one text past the limit: 1e-5."""
    folder = tiny_bert(tmp_path, pooling=pooling, activation=activation)
    expected = numpy_bert(folder, TEXTS, pooling=pooling, activation=activation)
    np.testing.assert_allclose(MLXEmbedder(folder).embed(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("names", [{"prefix": "bert."}, {"legacy_names": True}, {"prefix": "model."}])
def test_names_of_tensors_may_differ(tmp_path: Path, names: Any) -> None:
    """Prefixed names and the older gamma and beta are the same model."""
    folder = tiny_bert(tmp_path, **names)
    np.testing.assert_allclose(MLXEmbedder(folder).embed(TEXTS), numpy_bert(folder, TEXTS), atol=1e-5)


def test_roberta_counts_positions_from_the_padding_id(tmp_path: Path) -> None:
    """XLM-RoBERTa (multilingual e5) starts at position padding + 1."""
    folder = tiny_bert(tmp_path, model_type="xlm-roberta", config={"pad_token_id": 1})
    np.testing.assert_allclose(
        MLXEmbedder(folder).embed(TEXTS), numpy_bert(folder, TEXTS, position_offset=2), atol=1e-5
    )


def test_a_folder_that_says_little_has_documented_defaults(tmp_path: Path) -> None:
    """Without modules.json: mean pooling, and the tokenizer's limit of 40."""
    folder = tiny_bert(tmp_path, described=False)
    embedder = MLXEmbedder(folder)
    assert (embedder.files.pooling, embedder.files.max_length) == ("mean", 40)
    np.testing.assert_allclose(embedder.embed(TEXTS), numpy_bert(folder, TEXTS, limit=40), atol=1e-5)


def test_prompts_are_put_in_front(tmp_path: Path) -> None:
    """Prompts of the folder (as for e5) and of the caller."""
    folder = tiny_bert(tmp_path)
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "git add ", "passage": "npm "}})
    embedder = MLXEmbedder(folder)
    np.testing.assert_allclose(embedder.embed(["a"]), numpy_bert(folder, ["npm a"]), atol=1e-5)
    np.testing.assert_allclose(embedder.embed_queries(["a"]), numpy_bert(folder, ["git add a"]), atol=1e-5)
    own = MLXEmbedder(folder, document_prompt="", query_prompt="x ")
    np.testing.assert_allclose(own.embed(["a"]), numpy_bert(folder, ["a"]), atol=1e-5)
    np.testing.assert_allclose(own.embed_queries(["a"]), numpy_bert(folder, ["x a"]), atol=1e-5)
    assert own.fingerprint != embedder.fingerprint


def test_texts_are_lowered_when_the_folder_says_so(tmp_path: Path) -> None:
    """do_lower_case of sentence-transformers."""
    folder = tiny_bert(tmp_path)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": True})
    assert MLXEmbedder(folder).files.lowercase
    np.testing.assert_allclose(MLXEmbedder(folder).embed(["GIT"]), numpy_bert(folder, ["git"]), atol=1e-5)


def reference(folder: Path, texts: list[str]) -> Any:
    """Embed by transformers itself: last hidden state of the last token of each text, one at a time."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).float().eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=256).input_ids
            assert ids[0, -1] == tokenizer.convert_tokens_to_ids("<|endoftext|>")
            rows.append(torch.nn.functional.normalize(model(ids).last_hidden_state[0, -1], dim=0).numpy())
    return np.array(rows)


@pytest.mark.parametrize(
    "layout", [{}, {"bare": False}, {"described": False}, {"tied": False}, {"tied": False, "bare": False}]
)
def test_decoder_equals_transformers(tmp_path: Path, layout: Any) -> None:
    """A random Qwen3 saved by transformers, with and without head: 1e-4, in one batch, documents and queries."""
    need("mlx_lm")
    folder = tiny_qwen3(tmp_path, **layout)
    embedder = MLXEmbedder(folder)
    expected = reference(folder, TEXTS)
    np.testing.assert_allclose(embedder.embed(TEXTS), expected, atol=1e-4)
    if layout.get("described", True):
        queries = reference(folder, ["Instruct: find the next command\nQuery:" + text for text in TEXTS])
        np.testing.assert_allclose(embedder.embed_queries(TEXTS), queries, atol=1e-4)
        assert np.abs(queries - expected).max() > 0.01


def test_decoder_is_told_apart_from_mean_pooling(tmp_path: Path) -> None:
    """Mean pooling would ruin a decoder silently: a folder that asks for it is refused."""
    folder = tiny_qwen3(tmp_path)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    with pytest.raises(ModelFormatError, match="needs pooling lasttoken, found mean"):
        MLXEmbedder(folder).embed(["ls"])


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    """Return a change to a JSON file of the folder; None removes a key."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        content.update(changes)
        write_json(folder / name, {key: value for key, value in content.items() if value is not None})

    return apply


def write(name: str, content: bytes) -> Callable[[Path], None]:
    """Return a replacement of a file."""

    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def other_modules(folder: Path) -> None:
    """Add a Dense module."""
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", [*modules, {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}])


def empty_weights(folder: Path) -> None:
    """Write weights without any tensor of the model."""
    write_safetensors(folder / "model.safetensors", {"something": np.zeros((2, 2))})


BREAKS = [
    (edit("config.json", model_type="mpnet"), r"config\.json: model_type should be one of bert, .*found mpnet"),
    (edit("config.json", hidden_act="mish"), r"hidden_act must be one of gelu, .*found 'mish'"),
    (edit("config.json", position_embedding_type="relative_key"), "must be absolute, found 'relative_key'"),
    (edit("config.json", num_attention_heads=5), "hidden_size 32 is no multiple of 5"),
    (edit("config.json", num_hidden_layers=3), r"16 of \d+ tensors that config\.json asks for are not in the weights"),
    (edit("config.json", num_hidden_layers="2"), "num_hidden_layers must be a positive number, found '2'"),
    (edit("config.json", vocab_size=None), "vocab_size must be a positive number, found None"),
    (
        edit("config.json", intermediate_size=64),
        r"layer\.0\.intermediate\.dense\.bias.* \(64,\).* found \(48,\)",
    ),
    (edit("config.json", vocab_size=20), "at most 20 tokens expected by"),
    (edit("config.json", is_causal=False), "expected causal attention"),
    (edit("1_Pooling/config.json", pooling_mode="weightedmean"), "pooling should be one of mean, .*found weightedmean"),
    (edit("1_Pooling/config.json", pooling_mode=["mean", "max"]), r"found mean\+max"),
    (other_modules, r"modules\.json: expected Transformer, .*found also Dense"),
    (empty_weights, "tensors that config.json asks for are not in the weights"),
    (write("tokenizer.json", b"{}"), r"tokenizer\.json: the tokenizer cannot be read"),
    (write("tokenizer.json", b"\xff\xfe"), r"tokenizer\.json: the tokenizer cannot be read"),
]


@pytest.mark.parametrize(("breakage", "message"), BREAKS)
def test_what_cannot_be_loaded_says_file_expected_and_found(
    tmp_path: Path, breakage: Callable[[Path], None], message: str
) -> None:
    """Each error is a ModelFormatError that names the place."""
    folder = tiny_bert(tmp_path)
    breakage(folder)
    with pytest.raises(ModelFormatError, match=message) as caught:
        MLXEmbedder(folder).embed(["ls"])
    assert str(tmp_path) in str(caught.value)


def test_prompts_outside_the_pooling_are_refused(tmp_path: Path) -> None:
    """include_prompt=False with a prompt would need other pooling."""
    folder = tiny_bert(tmp_path)
    edit("1_Pooling/config.json", include_prompt=False)(folder)
    MLXEmbedder(folder).embed(["ls"])
    with pytest.raises(ModelFormatError, match="prompts left out of the pooling"):
        MLXEmbedder(folder, document_prompt="x").embed(["ls"])


def test_decoder_with_foreign_weights_is_refused(tmp_path: Path) -> None:
    """mlx-lm's own complaint is wrapped and names the folder."""
    folder = tiny_qwen3(tmp_path)
    edit("config.json", intermediate_size=128)(folder)
    with pytest.raises(ModelFormatError, match="do not make a qwen3 model"):
        MLXEmbedder(folder).embed(["ls"])


def test_an_encoding_without_tokens_still_embeds(tmp_path: Path) -> None:
    """A decoder's tokenizer may give no token at all for an empty text."""
    folder = tiny_qwen3(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = None
    write_json(folder / "tokenizer.json", content)
    assert np.isfinite(MLXEmbedder(folder).embed(["", "ls"])).all()


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constructing and the fingerprint need no MLX; embedding names the extra."""
    folder = tiny_bert(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    embedder = MLXEmbedder(folder)
    assert embedder.fingerprint.startswith("bert-")
    with pytest.raises(MissingExtraError, match=r"MLX is not installed.*omnimemory-procedural\[mlx\]"):
        embedder.embed(["ls"])


def test_a_failed_load_can_be_tried_again(tmp_path: Path) -> None:
    """Nothing half-loaded is kept: once the file is there, it works."""
    folder = tiny_bert(tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    embedder = MLXEmbedder(folder)
    with pytest.raises(ModelNotFoundError, match=r"has no model\.safetensors"):
        embedder.embed(["ls"])
    (folder / "model.safetensors").write_bytes(weights)
    assert embedder.embed(["ls"]).shape == (1, 32)
