"""Finding, listing, fetching and reading model folders, without loading a model."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import bert_weights, need, tiny_bert, write_json, write_safetensors

from procedural_memory.embedding import models
from procedural_memory.embedding.local import LocalModelEmbedder
from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.embedding.model_files import read_header, read_model_files
from procedural_memory.embedding.models import DEFAULT_MODEL, fetch, find_model, list_models, local_model
from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder
from procedural_memory.errors import (
    InvalidInputError,
    InvalidTypeError,
    MissingExtraError,
    ModelFormatError,
    ModelNotFoundError,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the hub cache at an empty folder, forbid the network, hide the packaged model."""
    folder = tmp_path / "hub"
    for variable in ("HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(models, "_PACKAGED", {})
    return folder


def cached_model(cache: Path, name: str, revision: str = "abc", main: bool = True, **options: Any) -> Path:
    """Write a tiny model in the layout of the hub cache."""
    entry = cache / f"models--{name.replace('/', '--')}"
    folder = tiny_bert(entry / "snapshots" / revision, **options)
    if main:
        (entry / "refs").mkdir(parents=True, exist_ok=True)
        (entry / "refs" / "main").write_text(revision)
    return folder


def test_a_folder_is_itself(tmp_path: Path) -> None:
    """A path, as text or Path, is taken as it is."""
    assert find_model(tmp_path) == tmp_path
    assert find_model(str(tmp_path)) == tmp_path


def test_a_hub_id_is_looked_up_in_the_cache(cache: Path) -> None:
    """By its full and its short name; another one is not there."""
    folder = cached_model(cache, DEFAULT_MODEL)
    assert find_model(DEFAULT_MODEL) == folder
    assert find_model("all-MiniLM-L6-v2") == folder
    assert find_model("BAAI/bge-small-en-v1.5") is None


def test_the_main_revision_is_taken(cache: Path) -> None:
    """Of several snapshots the one that refs/main names, not the newest."""
    main = cached_model(cache, "a/b", "old")
    cached_model(cache, "a/b", "new", main=False)
    assert find_model("a/b") == main


def test_an_unfinished_snapshot_is_not_taken(cache: Path) -> None:
    """A snapshot without config.json is a broken download."""
    (cache / "models--a--b" / "snapshots" / "x").mkdir(parents=True)
    assert find_model("a/b") is None


@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_the_cache_follows_the_hubs_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, below: str
) -> None:
    """Each variable that moves the hub's cache moves ours."""
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    folder = cached_model(tmp_path / "elsewhere" / below, "a/b")
    assert find_model("a/b") == folder


def test_the_cache_is_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without variables it is where the hub library puts it."""
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert find_model("a/b") is None
    folder = cached_model(tmp_path / ".cache" / "huggingface" / "hub", "a/b")
    assert find_model("a/b") == folder


def test_a_packaged_model_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python package may carry the weights; it is not imported."""
    folder = tiny_bert(tmp_path / "site" / "carrier_of_weights" / "model")
    (folder.parent / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(models, "_PACKAGED", {DEFAULT_MODEL: ("carrier_of_weights", "model")})
    assert find_model(DEFAULT_MODEL) == folder


@pytest.mark.parametrize("model", ["./none", "/nowhere/at/all", "~/no-such-folder", Path("nothing")])
def test_a_path_with_nothing_there_says_what_to_do(model: str | Path) -> None:
    """The error names the folder, the files it must hold, and the way out; also when constructing."""
    for use in (find_model, local_model, fetch, MLXEmbedder, SentenceTransformerEmbedder):
        call: Callable[[Any], Any] = use
        with pytest.raises(ModelNotFoundError, match=r"does not exist.*config\.json.*model fetch"):
            call(model)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A path to the weights themselves is named as such."""
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelNotFoundError, match="is a file, not a folder"):
        find_model(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("model", ["", "no such model", "a/b/c", "a\0b", "-x/y"])
def test_a_malformed_name_is_refused(model: str) -> None:
    """What is neither folder nor hub id is an input error that shows it."""
    with pytest.raises(InvalidInputError, match="model must be a folder"):
        find_model(model)


def test_a_name_is_text() -> None:
    """Another type is named; an impossible path raises no bare OSError."""
    with pytest.raises(InvalidTypeError, match="not int: 7"):
        find_model(7)  # type: ignore[arg-type]
    with pytest.raises((ModelNotFoundError, InvalidInputError)):
        find_model("x" * 100_000)


def test_without_download_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A hub id that is not here: the error gives the command; with download=True fetch is asked once."""
    with pytest.raises(ModelNotFoundError, match=rf"BAAI/x is not on this machine \(looked in {cache}.*fetch BAAI/x"):
        local_model("BAAI/x")
    asked: list[Any] = []

    def pretend(model: Any) -> Path:
        asked.append(model)
        return cached_model(cache, "BAAI/x")

    monkeypatch.setattr(models, "fetch", pretend)
    embedder = MLXEmbedder("BAAI/x", download=True)
    assert not asked  # not when constructing
    assert embedder.dimension == 32
    assert embedder.fingerprint
    assert asked == ["BAAI/x"]


def test_fetch_offline_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub library's own refusal is wrapped with name and ways out."""
    need("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=r"model no/such could not be downloaded: \w+: .*HF_HUB_OFFLINE"):
        fetch("no/such", progress=False)


@pytest.mark.parametrize("progress", [True, False])
def test_fetch_takes_only_what_is_needed(monkeypatch: pytest.MonkeyPatch, cache: Path, progress: bool) -> None:
    """The right id goes to the hub; no pickles, no other formats; the bars follow `progress`."""
    need("huggingface_hub")
    import fnmatch

    import huggingface_hub
    from huggingface_hub.utils import are_progress_bars_disabled

    seen: dict[str, Any] = {}

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        seen.update(name=name, patterns=allow_patterns, bars=not are_progress_bars_disabled())
        return str(cached_model(cache, name))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    folder = fetch("bge-small-en-v1.5", progress=progress)
    assert folder == find_model("BAAI/bge-small-en-v1.5")
    assert seen["name"] == "BAAI/bge-small-en-v1.5"
    assert seen["bars"] is progress
    assert not are_progress_bars_disabled()

    def wanted(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in seen["patterns"])

    assert all(
        map(wanted, ["config.json", "1_Pooling/config.json", "model-00001-of-00002.safetensors", "tokenizer.json"])
    )
    assert not any(map(wanted, ["pytorch_model.bin", "onnx/model.onnx", "openvino/x.xml", "README.md", "rust.ot"]))


@pytest.mark.parametrize(("system", "extra"), [("linux", "sentence-transformers"), ("darwin", "mlx")])
def test_fetch_needs_the_hub_library(system: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the error is the command that installs it, with what a new memory then uses."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.platform", system)
    with pytest.raises(MissingExtraError, match=rf"huggingface-hub.*\[{extra}\]"):
        fetch("a/b")


def test_fetch_of_a_folder_checks_it(tmp_path: Path) -> None:
    """A good folder comes back; a bad one raises."""
    folder = tiny_bert(tmp_path / "m")
    assert fetch(folder) == folder
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"has no tokenizer\.json"):
        fetch(str(folder))


def test_list_models(cache: Path) -> None:
    """The default first, here or not; embedders of the cache; broken ones with their problem; no chat models."""
    assert list_models() == [models.ModelInfo(DEFAULT_MODEL, None, default=True)]
    folder = cached_model(cache, "BAAI/bge--small")
    cached_model(cache, "chat/model", described=False, model_type="qwen2")
    (cached_model(cache, "bro/ken") / "model.safetensors").write_bytes(b"short")
    (cache / "models--dangling--x").mkdir()
    rows = list_models()
    assert [row.name for row in rows] == [DEFAULT_MODEL, "BAAI/bge--small", "bro/ken"]
    assert (rows[1].path, rows[1].dimension, rows[1].problem) == (folder, 32, None)
    assert rows[1].size == (folder / "model.safetensors").stat().st_size
    assert rows[1].fingerprint == read_model_files(folder).fingerprint()
    assert "no safetensors file" in (rows[2].problem or "")


def test_fingerprint_names_the_space_not_the_place(tmp_path: Path) -> None:
    """Equal weights in other folders and on other backends have one name, and it tells how they are used."""
    first, second = tiny_bert(tmp_path / "a"), tiny_bert(tmp_path / "other name")
    fingerprint = MLXEmbedder(first).fingerprint
    assert fingerprint == SentenceTransformerEmbedder(second).fingerprint
    assert fingerprint.startswith("bert-")
    assert fingerprint.endswith("-mean-l24-d32")
    assert MLXEmbedder(first).dimension == 32


def change_weight(folder: Path) -> None:
    """Change one number in the middle of the weights."""
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    "change",
    [
        change_weight,
        lambda folder: write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls"}),
        lambda folder: write_json(folder / "sentence_bert_config.json", {"max_seq_length": 30}),
        lambda folder: write_json(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": True}),
        lambda folder: write_json(
            folder / "config.json", {**json.loads((folder / "config.json").read_text()), "num_attention_heads": 2}
        ),
        lambda folder: write_json(folder / "config_sentence_transformers.json", {"prompts": {"document": "d: "}}),
    ],
)
def test_fingerprint_follows_what_moves_vectors(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """One bit of a weight, pooling, limit, heads, a document prompt: another space."""
    folder = tiny_bert(tmp_path)
    before = read_model_files(folder).fingerprint()
    change(folder)
    assert read_model_files(folder).fingerprint() != before


def test_fingerprint_ignores_what_does_not(tmp_path: Path) -> None:
    """A query prompt and notes in the configuration leave stored vectors valid."""
    folder = tiny_bert(tmp_path)
    before = read_model_files(folder).fingerprint()
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: "}})
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "transformers_version": "9", "_name_or_path": "x"})
    assert read_model_files(folder).fingerprint() == before


def test_fingerprint_reads_a_bounded_part(tmp_path: Path) -> None:
    """64 blocks of 4 kB, whatever the size; the last block counts."""
    write_safetensors(tmp_path / "model.safetensors", {"x": np.zeros(4_000_000)})
    for name, content in (("config.json", {"model_type": "bert", "hidden_size": 4}), ("tokenizer.json", {})):
        write_json(tmp_path / name, content)
    before = read_model_files(tmp_path).fingerprint()
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert read_model_files(tmp_path).fingerprint() != before


def test_fingerprint_loads_no_backend(tmp_path: Path) -> None:
    """Reading the files imports neither torch nor MLX nor tokenizers."""
    import subprocess

    folder = tiny_bert(tmp_path)
    script = (
        "import sys\n"
        "from procedural_memory.embedding.mlx import MLXEmbedder\n"
        "from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder\n"
        f"a, b = MLXEmbedder({str(folder)!r}), SentenceTransformerEmbedder({str(folder)!r})\n"
        "assert a.fingerprint == b.fingerprint and a.dimension == 32 and a.embed([]).shape == (0, 32)\n"
        "loaded = {'torch', 'mlx', 'mlx.core', 'tokenizers', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_sharded_weights(tmp_path: Path) -> None:
    """Weights in several files by an index are one model; the same vectors come out."""
    need("mlx", "tokenizers")
    folder = tiny_bert(tmp_path)
    expected = MLXEmbedder(folder).embed(["git status"])
    weights = bert_weights(len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]))
    names = list(weights)
    (folder / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for shard, part in shards.items():
        write_safetensors(folder / shard, {name: weights[name] for name in part})
    index = {"weight_map": {name: shard for shard, part in shards.items() for name in part}}
    write_json(folder / "model.safetensors.index.json", index)
    np.testing.assert_array_equal(MLXEmbedder(folder).embed(["git status"]), expected)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="has no model-00002-of-00002"):
        read_model_files(folder)
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"x": "../../secret"}})
    with pytest.raises(ModelFormatError, match="no plain file name"):
        read_model_files(folder)
    write_json(folder / "model.safetensors.index.json", {"weight_map": 7})
    with pytest.raises(ModelFormatError, match="weight_map must map"):
        read_model_files(folder)


def header(entries: Any, data: bytes = b"") -> bytes:
    """Return a safetensors file with this header."""
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found 0 bytes in all"),
        (b"abc", "no safetensors file"),
        (b"\xff" * 64, "no safetensors file"),
        (struct.pack("<Q", 30) + b"{" * 30, "header cannot be read"),
        (header([]), "header cannot be read"),
        (header({"x": {"dtype": "F32"}}), "header cannot be read"),
        (header({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"), r"expected \d+ bytes, found"),
        (header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345678"), r"expected \d+ bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n", "no safetensors file"),
    ],
)
def test_damaged_weights_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    """Cut off, padded, another format, a pointer of git-lfs: found before any backend reads it."""
    folder = tiny_bert(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    for make in (MLXEmbedder, SentenceTransformerEmbedder):
        embedder: LocalModelEmbedder = make(folder)
        with pytest.raises(ModelFormatError, match=message) as caught:
            embedder.embed(["ls"])
        assert str(folder / "model.safetensors") in str(caught.value)


def test_a_cut_off_file_is_found_at_every_length(tmp_path: Path) -> None:
    """A download that stopped anywhere is refused."""
    whole = (tiny_bert(tmp_path) / "model.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in (1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFormatError):
            read_header(path)
    path.write_bytes(whole)
    assert read_header(path)["embeddings.LayerNorm.bias"] == ("F32", (32,))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """Folder, file and remedy."""
    folder = tiny_bert(tmp_path)
    (folder / name).unlink()
    with pytest.raises(ModelNotFoundError, match=rf"{folder} has no {name}; fetch the model again"):
        MLXEmbedder(folder).embed(["ls"])


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    """A folder with only pytorch_model.bin says why it is refused."""
    folder = tiny_bert(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelNotFoundError, match="pickled weights"):
        read_model_files(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json: expected JSON"),
        ("config.json", "[]", "config.json: expected an object, found list"),
        ("config.json", "{}", "model_type must be a name, found None"),
        ("config.json", '{"model_type": 3}', "model_type must be a name, found 3"),
        ("config.json", '{"model_type": "bert"}', "hidden_size must be a positive number, found None"),
        ("config.json", "[" * 100_000, "config.json: expected JSON"),
        ("modules.json", "{}", "modules.json: expected a list, found dict"),
        ("modules.json", "[7]", "expected modules with a type, found 7"),
        ("1_Pooling/config.json", '{"pooling_mode": "best"}', "pooling must be one of .*found 'best'"),
        ("sentence_bert_config.json", '{"max_seq_length": 1}', "at least 2, found 1"),
        ("config_sentence_transformers.json", '{"prompts": {"query": 1}}', "prompts must map names to texts"),
    ],
)
def test_an_unreadable_configuration_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    """File, expected, found."""
    folder = tiny_bert(tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(ModelFormatError, match=message):
        read_model_files(folder)


def test_the_token_limit_is_the_smallest_that_is_said(tmp_path: Path) -> None:
    """Stated limit, else the tokenizer's, else positions; never over 512; an absurd tokenizer limit is none."""
    folder = tiny_bert(tmp_path, config={"max_position_embeddings": 4096})

    def limit(stated: Any, tokenizer: Any) -> int:
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": stated} if stated else {})
        write_json(folder / "tokenizer_config.json", {"model_max_length": tokenizer} if tokenizer else {})
        return read_model_files(folder).max_length

    assert limit(128, 256) == 128
    assert limit(None, 256) == 256
    assert limit(None, 1e30) == 512
    assert limit(8192, None) == 512
    assert limit(None, None) == 512


def test_other_pooling_and_modules_are_read(tmp_path: Path) -> None:
    """Several modes are joined and widen the vector; a Dense module sets its length."""
    folder = tiny_bert(tmp_path)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True})
    files = read_model_files(folder)
    assert (files.pooling, files.dimension) == ("cls+mean", 64)
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", [*modules, {"path": "2_Dense", "type": "x.Dense"}])
    write_json(folder / "2_Dense" / "config.json", {"out_features": 16})
    files = read_model_files(folder)
    assert (files.other_modules, files.dimension) == (("Dense",), 16)
    assert repr(MLXEmbedder(folder)) == f"MLXEmbedder({str(folder)!r})"
