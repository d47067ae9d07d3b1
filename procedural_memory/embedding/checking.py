"""Checks shared by the embedders: what goes in is text, what comes out is unit-length vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from procedural_memory.embedding.base import Embedder, Vectors
from procedural_memory.errors import EmbeddingError, InvalidTypeError, shown

__all__ = ["checked_embedder", "checked_texts", "encodable", "unit_rows"]


def checked_texts(texts: Sequence[str]) -> list[str]:
    """Return `texts` as a new list.

    Raises
    ------
    InvalidTypeError
        If it is a single string, no sequence, or an item is no string.
    """
    if isinstance(texts, str | bytes):
        raise InvalidTypeError(f"texts must be a sequence of strings, not one {type(texts).__name__}: {shown(texts)}")
    try:
        items = list(texts)
    except TypeError:
        raise InvalidTypeError(
            f"texts must be a sequence of strings, not {type(texts).__name__}: {shown(texts)}"
        ) from None
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise InvalidTypeError(f"texts[{index}] must be a string, not {type(item).__name__}: {shown(item)}")
    return items


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced by U+FFFD: tokenizers take valid Unicode only."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def unit_rows(values: Any, count: int, dimension: int | None, source: str) -> Vectors:
    """Return `values` as unit-length float32 rows.

    Parameters
    ----------
    values : array_like
        What an embedder or service gave.
    count : int
        Rows wanted.
    dimension : int or None
        Columns wanted; ``None`` admits any.
    source : str
        Who gave them, for the message.

    Raises
    ------
    EmbeddingError
        If they are no numbers, have another shape, are not finite, or a row has length zero.
    """
    try:
        given: NDArray[Any] = np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise EmbeddingError(f"{source} gave vectors that are no numeric array: {error}") from None
    if given.dtype.kind not in "fiu":  # also texts that look like numbers
        raise EmbeddingError(f"{source} gave vectors of {given.dtype}, expected numbers")
    rows: NDArray[np.float64] = given.astype(np.float64)
    if count == 0 and rows.size == 0:
        return np.zeros((0, dimension or 0), dtype=np.float32)
    wanted = (count, dimension if dimension is not None else "d")
    if rows.ndim != 2 or rows.shape[0] != count or rows.shape[1] == 0 or dimension not in (None, rows.shape[1]):
        raise EmbeddingError(f"{source} gave vectors of shape {rows.shape}, expected {wanted[0]} x {wanted[1]}")
    if not np.isfinite(rows).all():
        raise EmbeddingError(f"{source} gave a vector with NaN or infinity (row {_first(~np.isfinite(rows))})")
    largest = np.abs(rows).max(axis=1)
    if not largest.all():
        raise EmbeddingError(f"{source} gave a vector of length zero (row {int(np.argmin(largest))})")
    rows = rows / largest[:, None]  # first, so that squares neither overflow nor vanish
    unit: Vectors = (rows / np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]).astype(np.float32)
    return unit


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.argmax(mask.any(axis=1)))


class CheckedEmbedder:
    """A foreign embedder whose every answer is checked for shape, type and unit length."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner

    @property
    def inner(self) -> Embedder:
        """The embedder that was given."""
        return self._inner

    @property
    def dimension(self) -> int:
        """Length of a vector, as the embedder says.

        Raises
        ------
        EmbeddingError
            If it is no positive int.
        """
        dimension = self._inner.dimension
        if isinstance(dimension, bool) or not isinstance(dimension, int | np.integer) or dimension < 1:
            raise EmbeddingError(f"{self._name}.dimension must be a positive int, not {shown(dimension)}")
        return int(dimension)

    @property
    def fingerprint(self) -> str:
        """Name of the vector space, as the embedder says.

        Raises
        ------
        EmbeddingError
            If it is no string or empty.
        """
        fingerprint = self._inner.fingerprint
        if not isinstance(fingerprint, str) or not fingerprint:
            raise EmbeddingError(f"{self._name}.fingerprint must be a non-empty string, not {shown(fingerprint)}")
        return fingerprint

    def __repr__(self) -> str:
        return f"CheckedEmbedder({self._inner!r})"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the embedder's vectors, re-normalised to unit length in float32.

        Raises
        ------
        EmbeddingError
            If their shape is not (len(texts), dimension), or a value is not finite.
        """
        items = checked_texts(texts)
        return unit_rows(self._inner.embed(items), len(items), self.dimension, self._name)

    @property
    def _name(self) -> str:
        return type(self._inner).__name__


def checked_embedder(embedder: object) -> Embedder:
    """Return `embedder` behind checks of all that it gives; nothing of it is called yet.

    Raises
    ------
    InvalidTypeError
        If it lacks ``embed``, ``dimension`` or ``fingerprint``.
    """
    if isinstance(embedder, CheckedEmbedder):
        return embedder
    # Looked up on the type: on the object a property would run, and may load a model.
    missing = [n for n in ("embed", "dimension", "fingerprint") if not hasattr(type(embedder), n)]
    missing = [n for n in missing if n not in getattr(embedder, "__dict__", {})]
    if missing or isinstance(embedder, type):
        what = "an instance, not a class" if isinstance(embedder, type) else f"lacks {', '.join(missing)}"
        raise InvalidTypeError(
            f"embedder must have embed(texts), dimension and fingerprint; {shown(embedder)} "
            + (f"must be {what}" if isinstance(embedder, type) else what)
        )
    return CheckedEmbedder(cast(Embedder, embedder))
