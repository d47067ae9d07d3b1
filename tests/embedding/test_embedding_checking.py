"""A foreign embedder object is checked in all that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from procedural_memory.embedding.checking import checked_embedder, encodable
from procedural_memory.errors import EmbeddingError, InvalidTypeError


class Foreign:
    """An embedder that gives what it is told to give."""

    def __init__(self, rows: Any, dimension: Any = 2, fingerprint: Any = "mine-d2") -> None:
        self.rows = rows
        self.dimension = dimension
        self.fingerprint = fingerprint

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the rows, whatever the texts."""
        return self.rows


def test_good_rows_are_normalised_to_float32() -> None:
    """Lists, doubles and other lengths come out as unit float32 rows."""
    rows = checked_embedder(Foreign([[3.0, 4.0], [0, 2]])).embed(["a", "b"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 1.0]], atol=1e-7)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0]], r"Foreign gave vectors of shape \(1, 2\), expected 2 x 2"),
        ([[1.0, 2.0, 3.0]] * 2, r"shape \(2, 3\), expected 2 x 2"),
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[1.0, 2.0], [1.0]], "no numeric array"),
        ([[1.0, float("nan")], [1.0, 1.0]], r"NaN or infinity \(row 0\)"),
        ([[1.0, 1.0], [float("-inf"), 1.0]], r"NaN or infinity \(row 1\)"),
        ([[1.0, 1.0], [0.0, 0.0]], r"length zero \(row 1\)"),
        ([["1", "2"], ["3", "4"]], "expected numbers"),
        (None, "expected numbers"),
    ],
)
def test_bad_rows_name_the_embedder_and_the_rule(rows: Any, message: str) -> None:
    """Wrong count, width, values: an error, never a vector."""
    with pytest.raises(EmbeddingError, match=message):
        checked_embedder(Foreign(rows)).embed(["a", "b"])


@pytest.mark.parametrize("dimension", [0, -3, 2.5, True, None, "2"])
def test_a_bad_dimension_is_named(dimension: Any) -> None:
    """Dimension is a positive int."""
    with pytest.raises(EmbeddingError, match=r"Foreign\.dimension must be a positive int"):
        _ = checked_embedder(Foreign([], dimension)).dimension


@pytest.mark.parametrize("fingerprint", ["", None, 7])
def test_a_bad_fingerprint_is_named(fingerprint: Any) -> None:
    """A fingerprint is a non-empty string."""
    with pytest.raises(EmbeddingError, match=r"Foreign\.fingerprint must be a non-empty string"):
        _ = checked_embedder(Foreign([], 2, fingerprint)).fingerprint


def test_nothing_of_the_object_runs_before_it_is_used() -> None:
    """A property that would load a model is not touched."""

    class Heavy:
        @property
        def dimension(self) -> int:
            raise AssertionError("loaded")

        fingerprint = dimension

        def embed(self, texts: Sequence[str]) -> Any:
            raise AssertionError("loaded")

    checked = checked_embedder(Heavy())
    assert checked_embedder(checked) is checked
    with pytest.raises(AssertionError, match="loaded"):
        _ = checked.dimension


@pytest.mark.parametrize(
    ("thing", "message"),
    [(object(), "lacks embed, dimension, fingerprint"), (7, "lacks embed"), (Foreign, "an instance, not a class")],
)
def test_what_is_no_embedder_says_what_it_lacks(thing: object, message: str) -> None:
    """Missing parts are listed."""
    with pytest.raises(InvalidTypeError, match=message):
        checked_embedder(thing)


def test_inner_and_repr() -> None:
    """The given object stays reachable."""
    foreign = Foreign([])
    checked = checked_embedder(foreign)
    assert checked.inner is foreign  # type: ignore[attr-defined]
    assert repr(checked).startswith("CheckedEmbedder(<")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), ("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "😀"), ("\udc00", "\ufffd"), ("😀", "😀")],
)
def test_encodable(text: str, expected: str) -> None:
    """Surrogate pairs join, lone ones are replaced, the rest stays."""
    assert encodable(text) == expected
