"""Which embedder is chosen: the rules, one by one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_bert

from procedural_memory.embedding import models, select
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.embedding.models import DEFAULT_MODEL
from procedural_memory.embedding.remote import RemoteEmbedder
from procedural_memory.embedding.select import CHOICES, select_embedder
from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder
from procedural_memory.errors import InvalidInputError, InvalidTypeError, MissingExtraError, ModelNotFoundError


class Machine:
    """A machine with what the test puts on it."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        self.installed: set[str] = set()
        self.gpu = False
        monkeypatch.setenv("HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(models, "_PACKAGED", {})
        monkeypatch.setattr(select, "_installed", lambda name: name in self.installed)
        monkeypatch.setattr(select, "_mlx_gpu", lambda: self.gpu and "mlx" in self.installed)
        monkeypatch.setattr(models, "fetch", self._fetch)

    def _fetch(self, *args: Any, **options: Any) -> Path:
        raise AssertionError("auto downloads nothing")

    def add_model(self, name: str = DEFAULT_MODEL, **options: Any) -> Path:
        """Put a tiny model into the hub cache."""
        return tiny_bert(self.cache / f"models--{name.replace('/', '--')}" / "snapshots" / "1", **options)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with no model, no backend, no GPU."""
    return Machine(tmp_path / "hub", monkeypatch)


BOTH = {"mlx", "sentence-transformers"}


@pytest.mark.parametrize(
    ("installed", "gpu", "weights", "expected"),
    [
        (set(), False, False, "lexical"),
        (set(), False, True, "lexical"),
        (BOTH, True, False, "lexical"),
        (BOTH, True, True, "mlx"),
        ({"mlx"}, True, True, "mlx"),
        (BOTH, False, True, "sentence-transformers"),
        ({"sentence-transformers"}, False, True, "sentence-transformers"),
        ({"mlx"}, False, True, "lexical"),  # MLX on a CPU is too slow to be a default
    ],
)
def test_a_new_memory(machine: Machine, installed: set[str], gpu: bool, weights: bool, expected: str) -> None:
    """MLX with a GPU, else sentence-transformers, each only with its weights here; else lexical."""
    machine.installed, machine.gpu = installed, gpu
    if weights:
        machine.add_model()
    chosen = select_embedder()
    assert chosen.name == expected
    kinds = {"mlx": MLXEmbedder, "sentence-transformers": SentenceTransformerEmbedder, "lexical": LexicalEmbedder}
    assert type(chosen.embedder) is kinds[expected]
    assert "\n" not in chosen.reason


def test_the_hint_says_what_to_run(machine: Machine) -> None:
    """Without weights: fetch. With weights and no backend: install."""
    assert "run: procedural-memory model fetch" in select_embedder().reason
    machine.add_model()
    assert "pip install 'omnimemory-procedural[sentence-transformers]'" in select_embedder().reason


@pytest.mark.parametrize(
    ("installed", "gpu", "expected"),
    [
        (BOTH, True, "mlx"),
        (BOTH, False, "sentence-transformers"),
        ({"mlx"}, False, "mlx"),  # slow, but the memory's own space
        (set(), False, "cached"),
    ],
)
def test_a_recorded_model_is_found_again(machine: Machine, installed: set[str], gpu: bool, expected: str) -> None:
    """Any backend serves the same space; without one only cached vectors are used."""
    machine.add_model("other/model")
    recorded = MLXEmbedder(machine.add_model("bge/small", pooling="cls")).fingerprint
    machine.installed, machine.gpu = installed, gpu
    chosen = select_embedder(recorded=recorded)
    assert chosen.name == expected
    if chosen.embedder is None:
        assert "pip install" in chosen.reason
    else:
        assert chosen.embedder.fingerprint == recorded
        assert "bge/small" in chosen.reason


@pytest.mark.parametrize(
    "recorded",
    ["bert-0123456789abcdef-mean-l256-d384", "lexical-v0-d256", "lexical-v1-d7", "mine", "remote:localhost:8000-d384"],
)
def test_auto_never_flips(machine: Machine, recorded: str) -> None:
    """A space that cannot be made here gives no embedder, although others are available."""
    machine.installed, machine.gpu = BOTH, True
    machine.add_model()
    chosen = select_embedder(recorded=recorded)
    assert chosen.embedder is None
    assert chosen.name == "cached"
    assert recorded in chosen.reason


def test_a_recorded_lexical_memory_stays_lexical(machine: Machine) -> None:
    """With its own dimension, also where a model is at hand."""
    machine.installed, machine.gpu = BOTH, True
    machine.add_model()
    chosen = select_embedder(recorded="lexical-v1-d512")
    assert chosen.name == "lexical"
    assert chosen.embedder is not None
    assert chosen.embedder.fingerprint == "lexical-v1-d512"
    named = select_embedder("lexical", recorded="lexical-v1-d512").embedder
    assert named is not None
    assert named.dimension == 512
    default = select_embedder("lexical", recorded="other").embedder
    assert default is not None
    assert default.dimension == 256


def test_an_explicit_choice_wins(machine: Machine) -> None:
    """By name, by model, by URL, by object: also over what is recorded."""
    machine.installed = BOTH
    folder = machine.add_model("x/y")
    recorded = "lexical-v1-d256"
    assert isinstance(select_embedder("mlx", recorded=recorded).embedder, MLXEmbedder)
    assert isinstance(select_embedder("sentence-transformers").embedder, SentenceTransformerEmbedder)
    chosen = select_embedder(model=folder, recorded=recorded)
    assert isinstance(chosen.embedder, SentenceTransformerEmbedder)
    assert str(folder) in chosen.reason
    machine.gpu = True
    assert isinstance(select_embedder(model="x/y").embedder, MLXEmbedder)


@pytest.mark.parametrize("embedder", ["auto", "remote"])
def test_a_url_means_the_service(machine: Machine, embedder: str) -> None:
    """The constructor of the older engine: a URL and nothing else; no service need run."""
    chosen = select_embedder(embedder, embedding_service_url="http://localhost:8000", recorded="lexical-v1-d256")
    assert isinstance(chosen.embedder, RemoteEmbedder)
    assert (chosen.name, chosen.reason) == ("remote", "embedding service http://localhost:8000")


def test_an_object_is_checked_when_it_is_used() -> None:
    """It is wrapped, not called."""
    own = LexicalEmbedder(32)
    chosen = select_embedder(own)
    assert chosen.name == "custom"
    assert chosen.embedder is not own
    assert chosen.embedder is not None
    assert chosen.embedder.embed(["ls"]).shape == (1, 32)
    with pytest.raises(InvalidTypeError, match="lacks embed"):
        select_embedder(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"embedder": "openai"},
            "one of auto, mlx, sentence-transformers, lexical, remote, or an object; not 'openai'",
        ),
        ({"embedder": "remote"}, "needs embedding_service_url"),
        ({"embedder": "lexical", "model": "x/y"}, "takes no model, found 'x/y'"),
        ({"embedder": "lexical", "embedding_service_url": "http://h"}, "needs embedder 'auto' or 'remote'"),
        ({"model": "x/y", "embedding_service_url": "http://h"}, "leave out model='x/y'"),
        ({"embedder": LexicalEmbedder(), "model": "x/y"}, "either an embedder object, or"),
        ({"embedding_service_url": "nonsense"}, "must look like http://localhost:8000"),
        ({"model": "not a model"}, "model must be a folder"),
        ({"recorded": 7}, "recorded must be a fingerprint"),
    ],
)
def test_contradictions_are_refused(machine: Machine, arguments: Any, message: str) -> None:
    """The error names the arguments."""
    machine.installed = BOTH
    with pytest.raises(InvalidInputError, match=message):
        select_embedder(**arguments)


def test_a_missing_folder_or_package_is_refused_at_once(machine: Machine) -> None:
    """An explicit choice that cannot work does not wait for the first embed."""
    for name in BOTH:
        with pytest.raises(MissingExtraError, match=rf"omnimemory-procedural\[{name}\]"):
            select_embedder(name)
    with pytest.raises(MissingExtraError):
        select_embedder(model="x/y")
    machine.installed = BOTH
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        select_embedder("mlx", model="./nowhere")


def test_choosing_imports_no_backend() -> None:
    """Selection on this real machine: no torch, no MLX, no hub library, no HTTP."""
    script = (
        "import sys\n"
        "from procedural_memory.embedding.select import select_embedder\n"
        "select_embedder(); select_embedder(recorded='bert-0-mean-l1-d1')\n"
        "heavy = {'torch', 'mlx', 'mlx.core', 'transformers', 'tokenizers', 'huggingface_hub', 'http.client'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("platform_name", "machine_name", "build", "device", "expected"),
    [
        ("darwin", "arm64", False, False, True),
        ("darwin", "x86_64", False, False, False),
        ("linux", "x86_64", False, True, False),
        ("linux", "x86_64", True, False, False),
        ("linux", "x86_64", True, True, True),
    ],
)
def test_where_mlx_has_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    platform_name: str,
    machine_name: str,
    build: bool,
    device: bool,
    expected: bool,
) -> None:
    """Apple silicon, or a CUDA build with a device; never without MLX."""
    monkeypatch.setattr("sys.platform", platform_name)
    monkeypatch.setattr("platform.machine", lambda: machine_name)
    monkeypatch.setattr(select, "_CUDA_BUILDS", ("numpy",) if build else ("no-such-distribution",))
    monkeypatch.setattr(select, "_CUDA_DEVICES", (str(tmp_path if device else tmp_path / "none"),))
    monkeypatch.setattr(select, "_installed", lambda name: True)
    assert select._mlx_gpu() is expected
    monkeypatch.setattr(select, "_installed", lambda name: False)
    assert select._mlx_gpu() is False


def test_choices() -> None:
    """The names that the engine documents."""
    assert CHOICES == ("auto", "mlx", "sentence-transformers", "lexical", "remote")
