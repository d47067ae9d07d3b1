"""The one protocol that every embedder fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedder", "Vectors"]

Vectors: TypeAlias = NDArray[np.float32]
"""Float32 array of shape (n, d), each row of unit length."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit-length vectors. Deterministic: the same text gives the same vector."""

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Name of the vector space, the same on every backend: model, weights hash, pooling, dimension."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit-length row per text, in order: float32 of shape (len(texts), dimension)."""
        ...
