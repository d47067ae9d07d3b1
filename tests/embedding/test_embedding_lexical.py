"""The lexical embedder: the same everywhere, and aware of what a command is made of."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.errors import InvalidInputError, InvalidTypeError

EMBEDDER = LexicalEmbedder()


def similarity(first: str, second: str) -> float:
    """Return the cosine of two texts."""
    rows = EMBEDDER.embed([first, second])
    return float(rows[0] @ rows[1])


GOLDEN = {
    "git commit -m 'fix the parser'": {21: -0.500947, 49: -0.443082, 114: 0.350663, 96: -0.310158},
    "cat <FILE> | grep -n <STR>": {255: -0.582087, 122: -0.407461, 138: -0.407461, 252: -0.285223},
    "": {62: -1.0, 0: 0.0},
    "naïve --ünïcode 你好": {217: -0.639213, 79: 0.402382, 237: 0.296697, 26: 0.232315},
}


@pytest.mark.parametrize("text", GOLDEN)
def test_vectors_are_the_same_on_every_platform(text: str) -> None:
    """Hard-coded numbers. If a change moves them on purpose, raise VERSION: stores hold the old vectors."""
    row = EMBEDDER.embed([text])[0]
    for index, value in GOLDEN[text].items():
        assert row[index] == pytest.approx(value, abs=2e-6)


def test_vectors_are_the_same_in_every_process() -> None:
    """Two processes with other hash seeds agree to the bit."""
    script = (
        "from procedural_memory.embedding.lexical import LexicalEmbedder;"
        "print(LexicalEmbedder().embed(['git push --force', 'a b | c']).tobytes().hex())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {EMBEDDER.embed(["git push --force", "a b | c"]).tobytes().hex()}


@pytest.mark.parametrize(
    ("text", "nearer", "farther"),
    [
        ("git push origin main", "git push upstream dev", "git pull origin main"),  # sub-command over arguments
        ("git push -f origin main", "git push origin main", "git pull -f origin main"),  # over flags
        ("grep -rn parse src", "grep -i other lib", "sed -rn parse src"),  # program over all the rest
        ("pytest -q -x", "pytest -q", "pytest --lf"),  # flags count
        ("tar -xzf a.tgz", "tar -xzf b.tgz", "tar -czf a.tgz"),  # flags over arguments
        ("cat notes.md", "cat notes.txt", "cat main.rs"),  # arguments count a little
        ("cat <FILE>", "cat <URL>", "head <FILE>"),  # placeholders hardly at all
        ("python -m pytest -q", "pytest -q", "python -m http.server"),  # a module is a program
        ("sudo systemctl restart nginx", "systemctl restart nginx", "sudo apt restart nginx"),  # wrappers fade
        ("CI=1 npm test", "npm test", "CI=1 cargo test"),  # so do assignments
        ("/usr/bin/git status", "git status", "/usr/bin/ls status"),  # the place of a program does not matter
        ("cd /a/b && make test", "make test", "cd /a/b && ls"),  # nor going somewhere first
        ("cat x | sort", "cat x | sort -u", "sort x | cat"),  # pipeline position
        ("docker compose up -d", "docker compose up", "docker compose down -d"),
        ("terraform-apply x", "terraform_apply y", "kubectl z"),  # word pieces
        ("kubeclt get pods", "kubectl get nodes", "git get-tar-commit-id"),  # a typo, by n-grams
    ],
)
def test_what_a_part_of_a_command_weighs(text: str, nearer: str, farther: str) -> None:
    """The middle one is nearer than the last."""
    assert similarity(text, nearer) > similarity(text, farther) + 0.005


def test_unrelated_commands_are_orthogonal() -> None:
    """Different words give a cosine near 0, within a few standard deviations of chance."""
    texts = ["npm install", "yarn add", "pytest -q", "docker ps", "kubectl logs", "terraform plan", "vim", "make"]
    rows = EMBEDDER.embed(texts)
    others = (rows @ rows.T)[np.triu_indices(len(texts), 1)]
    assert np.abs(others).mean() < 0.08
    assert np.abs(others).max() < 4 / 16


def test_blank_texts_share_one_vector() -> None:
    """Empty and blank texts are the same fixed unit vector, apart from every command."""
    rows = EMBEDDER.embed(["", "   ", "\t", "ls"])
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])
    assert abs(float(rows[0] @ rows[3])) < 0.3


def test_the_cache_changes_nothing() -> None:
    """More distinct words than the cache holds: what comes after is what came before."""
    embedder = LexicalEmbedder(32)
    before = embedder.embed(["git status --short"])
    for start in range(0, 20_000, 2000):
        embedder.embed([f"tool{number} word{number}" for number in range(start, start + 2000)])
    np.testing.assert_array_equal(embedder.embed(["git status --short"]), before)
    assert len(embedder._rows) <= embedder._CAPACITY


def test_only_the_front_of_a_long_text_counts() -> None:
    """A tail past 2,048 characters moves nothing."""
    text = "cat <<EOF " + "x" * 3000
    np.testing.assert_array_equal(EMBEDDER.embed([text]), EMBEDDER.embed([text + " and more"]))


@pytest.mark.parametrize("opener", ['"', "'", "`", "\\", "<", "$(", "&", "|", "a=", "- ", "<<A\n", "'\"", "\n"])
def test_hostile_repeats_take_linear_time(opener: str) -> None:
    """A megabyte of any opener costs no more than its first 2,048 characters."""
    begun = time.perf_counter()
    EMBEDDER.embed([opener * (1_000_000 // len(opener))])
    assert time.perf_counter() - begun < 0.25


@given(st.text(max_size=200))
def test_any_text_gives_a_unit_vector(text: str) -> None:
    """No text crashes it or gives a zero vector."""
    assert np.linalg.norm(EMBEDDER.embed([text])[0]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("dimension", [15, 0, -1, 8193])
def test_dimension_has_limits(dimension: int) -> None:
    """The error gives rule and value."""
    with pytest.raises(InvalidInputError, match=f"16 to 8192, not {dimension}"):
        LexicalEmbedder(dimension)


@pytest.mark.parametrize("dimension", [256.0, "256", True, None])
def test_dimension_is_an_int(dimension: object) -> None:
    """Another type is named."""
    with pytest.raises(InvalidTypeError, match="dimension must be an int"):
        LexicalEmbedder(dimension)  # type: ignore[arg-type]


def test_names() -> None:
    """The fingerprint tells version and dimension, so spaces of other sizes never mix."""
    assert EMBEDDER.fingerprint == "lexical-v1-d256"
    assert LexicalEmbedder(64).fingerprint == "lexical-v1-d64"
    assert repr(LexicalEmbedder(64)) == "LexicalEmbedder(dimension=64)"
