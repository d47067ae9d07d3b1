"""The real all-MiniLM-L6-v2: MLX and sentence-transformers give the same vectors, and one name for them."""

from __future__ import annotations

import gzip
import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import LAYERS, need, tiny_bert, tiny_qwen3

from procedural_memory.embedding.base import Vectors
from procedural_memory.embedding.mlx import MLXEmbedder
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model
from procedural_memory.embedding.sentence_transformers import SentenceTransformerEmbedder
from procedural_memory.errors import MissingExtraError, ModelFormatError

TOLERANCE = 1e-5

DATA = Path(os.environ.get("PROCEDURAL_MEMORY_DATA", Path(__file__).parents[3] / "shared" / "data"))

SHORT = """
ls; pwd; cd src; git status; git diff --staged; git add -p; git commit -m "fix parser"; git push; git pull --rebase
git log --oneline -5; git checkout -b feature/login; git stash pop; npm ci; npm test; npm run build; yarn add react
pytest -q; pytest -x tests/test_api.py; python -m pip install -e .; python3 manage.py migrate; make; make -j4 test
cargo build --release; cargo test; go test ./...; docker ps -a; docker compose up -d; docker build -t web:1.2 .
kubectl get pods; kubectl apply -f deploy.yaml; terraform plan; ssh admin@10.0.0.5; nmap -sV 10.1.26.9; top; htop
cat README.md; less /var/log/syslog; tail -f app.log; grep -rn TODO src; find . -name '*.py'; rm -rf build; mkdir -p a/b
cp a.txt b.txt; mv old new; chmod +x run.sh; curl -s localhost:8080/health; export PATH=$HOME/bin:$PATH; echo $?; vim
""".replace("\n", ";").split(";")

LONGER = [
    'for f in $(git diff --name-only HEAD~1 | grep \'\\.py$\'); do ruff check "$f" && mypy --strict "$f"; done',
    "cd /testbed && python -c \"import django; print(django.VERSION)\" && grep -rn 'def resolve' django/urls | head",
    "kubectl -n staging get pods -o json | jq -r '.items[] | select(.status.phase != \"Running\") | .metadata.name'",
    "docker run --rm -it -v $(pwd):/work -w /work -e CI=1 -p 8080:80 registry.local/team/app:2.3.1 npm run test:e2e",
    "rsync -avz --delete --exclude node_modules --exclude .git ./ deploy@example.com:/srv/www/app/ > sync.log 2>&1",
]

HUGE = "cat <<'EOF' > fix.py\n" + "\n".join(f"    result_{n} = compute(value, {n})" for n in range(40)) + "\nEOF"


def made_commands() -> list[str]:
    """Return 200 commands from one word to past the token limit."""
    short = [text.strip() for text in SHORT if text.strip()]
    varied = [f"{text} {suffix}" for suffix in ("--verbose", "| head -3", "&& ls") for text in short]
    strange = ["", "naïve café 你好", "\U0001f680 deploy", "x" * 300, "\ud800"]
    return [HUGE, *LONGER, *strange, *short, *varied][:200]


def real_commands() -> list[str]:
    """Return 200 commands of the development data, lengths mixed; none where the data is not."""
    found: list[str] = []
    for name in ("agent_bash.jsonl.gz", "training_shell.jsonl.gz"):
        path = DATA / name
        if not path.is_file():
            return []
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            commands = [step["command"] for line in islice(lines, 60) for step in json.loads(line)["commands"]]
        distinct = sorted(set(commands), key=lambda text: (len(text), text))
        # Mostly short, as MLX on a CPU is slow; a few long ones, and one past the token limit.
        short = [text for text in distinct if len(text) <= 24]
        longer = [text for text in distinct if 24 < len(text) <= 300]
        found += short[:: max(len(short) // 90, 1)][:90] + longer[:: max(len(longer) // 9, 1)][:9] + distinct[-1:]
    assert len(found) == 200
    return found


@pytest.fixture(scope="module")
def weights() -> Path:
    """Return the folder of the real model, or skip."""
    need("mlx", "tokenizers", "sentence_transformers")
    folder = find_model(DEFAULT_MODEL)
    if folder is None:
        pytest.skip(f"{DEFAULT_MODEL} is not on this machine (extra: models)")
    return folder


@pytest.fixture(scope="module")
def backends(weights: Path) -> tuple[MLXEmbedder, SentenceTransformerEmbedder]:
    """Return both backends on the same weights."""
    return MLXEmbedder(weights), SentenceTransformerEmbedder(weights)


def furthest(first: Vectors, second: Vectors) -> float:
    """Return the largest difference of two arrays of the same shape."""
    assert first.shape == second.shape
    return float(np.abs(first - second).max())


def test_mlx_equals_sentence_transformers(backends: tuple[MLXEmbedder, SentenceTransformerEmbedder]) -> None:
    """200 commands of mixed length, in one batch and singly: at most 1e-5 apart in every number.

    Real ones where the development data is, else made ones. MLX on a CPU takes a minute or two for this.
    """
    commands = real_commands() or made_commands()
    assert len(commands) == 200
    mlx, torch = backends
    batch = mlx.embed(commands)
    assert furthest(batch, torch.embed(commands)) <= TOLERANCE
    singly = np.concatenate([mlx.embed([command]) for command in commands])
    assert furthest(batch, singly) <= TOLERANCE
    assert furthest(singly, np.concatenate([torch.embed([command]) for command in commands])) <= TOLERANCE


def test_float16_on_a_gpu_agrees_with_float32(weights: Path) -> None:
    """Cosines: 1e-5 between the two vectors of a text, 1e-3 between two texts; the figures that `MLXEmbedder` states.

    60 commands, as float16 is slow on a CPU.
    """
    from procedural_memory.embedding.mlx_forward import GPU

    commands = (real_commands() or made_commands())[::-3][:60]
    half = MLXEmbedder(weights)
    half._way = GPU
    exact, near = (backend.embed(commands).astype(np.float64) for backend in (MLXEmbedder(weights), half))
    assert (1 - np.einsum("ij,ij->i", exact, near)).max() < 1e-5
    for other in (exact, near):
        assert np.abs(exact @ exact.T - near @ other.T).max() < 1e-3
    assert np.abs(exact - near).max() > 1e-5


def test_one_fingerprint(backends: tuple[MLXEmbedder, SentenceTransformerEmbedder]) -> None:
    """The name of the published weights, read without loading them; a store moves between backends by it."""
    mlx, torch = backends
    assert mlx.fingerprint == torch.fingerprint == "bert-ebe1229abfcd6264-mean-l256-d384"


def test_the_vectors_mean_something(backends: tuple[MLXEmbedder, SentenceTransformerEmbedder]) -> None:
    """Related commands are nearer than unrelated ones."""
    rows = backends[0].embed(["delete the old log files", "rm -rf /var/log/*.old", "npm install react"])
    assert float(rows[0] @ rows[1]) > float(rows[0] @ rows[2]) + 0.2


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("described", [True, False])
def test_tiny_encoders_agree(tmp_path: Path, pooling: str, described: bool) -> None:
    """Pooling and limits are read alike by both backends, also from a folder that says little."""
    need("mlx", "tokenizers", "sentence_transformers")
    folder = tiny_bert(tmp_path, pooling=pooling, described=described)
    mlx, torch = MLXEmbedder(folder), SentenceTransformerEmbedder(folder)
    texts = ["git status", "npm " * 60, "", "Git ADD ."]
    assert furthest(mlx.embed(texts), torch.embed(texts)) <= TOLERANCE
    assert mlx.fingerprint == torch.fingerprint


@pytest.mark.parametrize("described", [True, False])
def test_tiny_decoders_agree(tmp_path: Path, described: bool) -> None:
    """Last-token pooling on both, documents and queries; a bare decoder is not pooled by the mean."""
    need("mlx", "mlx_lm", "tokenizers", "sentence_transformers")
    folder = tiny_qwen3(tmp_path, described=described)
    mlx, torch = MLXEmbedder(folder), SentenceTransformerEmbedder(folder)
    texts = ["git status", "npm " * 60, "", "ls -la | head"]
    assert furthest(mlx.embed(texts), torch.embed(texts)) <= 1e-4
    assert furthest(mlx.embed_queries(texts), torch.embed_queries(texts)) <= 1e-4


def test_sentence_transformers_loads_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No bars and no notices on the terminal."""
    need("sentence_transformers", "tokenizers")
    SentenceTransformerEmbedder(tiny_bert(tmp_path)).embed(["ls"])
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_sentence_transformers_refuses_foreign_weights(tmp_path: Path) -> None:
    """What the library cannot load names the folder."""
    need("sentence_transformers", "tokenizers")
    folder = tiny_bert(tmp_path, model_type="no-such-architecture")
    with pytest.raises(ModelFormatError, match="sentence-transformers cannot load this model") as caught:
        SentenceTransformerEmbedder(folder).embed(["ls"])
    assert str(folder) in str(caught.value)


def test_nothing_is_filled_with_random_numbers(tmp_path: Path) -> None:
    """A configuration that asks for more layers than the weights hold is refused by both backends."""
    need("mlx", "sentence_transformers", "tokenizers")
    folder = tiny_bert(tmp_path, config={"num_hidden_layers": LAYERS + 1})
    for backend in (MLXEmbedder, SentenceTransformerEmbedder):
        with pytest.raises(ModelFormatError, match=rf"not in the weights, first \S*{LAYERS}\."):
            backend(folder).embed(["ls"])


@pytest.mark.parametrize("names", [{"prefix": "bert."}, {"legacy_names": True}])
def test_names_of_tensors_may_differ(tmp_path: Path, names: Any) -> None:
    """Prefixed names and the older gamma and beta are the same model for both backends."""
    need("mlx", "sentence_transformers", "tokenizers")
    folder = tiny_bert(tmp_path, **names)
    texts = ["git status", "ls"]
    assert furthest(MLXEmbedder(folder).embed(texts), SentenceTransformerEmbedder(folder).embed(texts)) <= TOLERANCE


def test_names_that_only_one_backend_knows_are_refused_by_the_other(tmp_path: Path) -> None:
    """Where transformers finds none of the weights, it is not left to make them up."""
    need("sentence_transformers", "tokenizers")
    with pytest.raises(ModelFormatError, match="not in the weights"):
        SentenceTransformerEmbedder(tiny_bert(tmp_path, prefix="model.")).embed(["ls"])


def test_sentence_transformers_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the command that installs it."""
    folder = tiny_bert(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"omnimemory-procedural\[sentence-transformers\]"):
        SentenceTransformerEmbedder(folder).embed(["ls"])
