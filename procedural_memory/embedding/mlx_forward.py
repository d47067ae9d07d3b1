"""Batches for a model on MLX: few shapes where the forward pass is compiled, vectors in float32 from any type.

Imported only when a model is loaded: MLX is an optional dependency.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from procedural_memory.embedding import mlx_thread

__all__ = ["CPU", "GPU", "POOLINGS", "Forward", "Runner", "Way"]

Forward: TypeAlias = Callable[[Any, Any], Any]
"""Token ids and mask (1 at tokens, 0 at padding; both batch x length) to hidden states (batch, length, width)."""

POOLINGS: Final = ("mean", "cls", "lasttoken", "max")

_BATCH_TEXTS: Final = 64
_BATCH_TOKENS: Final = 8192


class Way(NamedTuple):
    """How a model runs.

    Attributes
    ----------
    half : bool
        Whether the weights and activations of an encoder are float16; else float32.
    compiled : bool
        Whether the forward pass is compiled, once for each shape; there are few, as `shape` pads to them.
    """

    half: bool
    compiled: bool

    def shape(self, rows: int, width: int, limit: int) -> tuple[int, int]:
        """Return the shape that a batch is padded to.

        Compiled, rows are a power of two and widths an eighth of one apart, at least 8 and at most `limit`.
        """
        if not self.compiled:
            return rows, width
        step = max(8, (1 << (width - 1).bit_length()) // 8)
        return 1 << (rows - 1).bit_length(), max(width, min(-(-width // step) * step, limit))


# Compiled for a CPU, the padding costs more than the graph saves.
CPU: Final = Way(half=False, compiled=False)
GPU: Final = Way(half=True, compiled=True)


class Runner:
    """Gives one vector for each list of token ids. Make and call it in the thread of MLX.

    Parameters
    ----------
    forward : callable
        The model.
    pooling : str
        One of `POOLINGS`.
    way : Way
    limit : int
        Most tokens of a text.
    """

    def __init__(self, forward: Forward, pooling: str, way: Way, limit: int) -> None:
        def pooled(tokens: Any, mask: Any) -> Any:
            return _pooled(forward(tokens, mask).astype(mx.float32), mask, pooling)

        self._way = way
        self._limit = limit
        # MLX 0.31.2 and 0.32.0 find a graph by the address of its function, and only the thread that compiled it
        # forgets it. Whoever lets go of the runner, it must be released there, or the next model at this address
        # gives the numbers of this one.
        self._held: list[Callable[[Any, Any], Any]] = [mx.compile(pooled) if way.compiled else pooled]
        weakref.finalize(self, mlx_thread.post, self._held.clear).atexit = False

    def __call__(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return one float32 row for each list of token ids, in their order; none may be empty."""
        parts: list[NDArray[np.float32]] = []
        order: list[int] = []
        for batch in batches([len(item) for item in ids], self._way, self._limit):
            shape = self._way.shape(len(batch), len(ids[batch[-1]]), self._limit)
            tokens, mask = _padded([ids[index] for index in batch], shape)
            parts.append(np.array(self._held[0](mx.array(tokens), mx.array(mask)))[: len(batch)])
            order += batch
        rows = np.concatenate(parts)
        rows[order] = rows.copy()
        return rows


def batches(lengths: Sequence[int], way: Way, limit: int) -> Iterator[list[int]]:
    """Yield indices, shortest texts first, so that a batch pads little and holds a bounded number of tokens."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        rows, width = way.shape(len(batch) + 1, lengths[index], limit)
        if batch and (len(batch) == _BATCH_TEXTS or rows * width > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _padded(ids: Sequence[Sequence[int]], shape: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    tokens, mask = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    mask[:, 0] = 1.0  # also in rows that hold no text: attention to nothing is no number
    for row, item in enumerate(ids):
        tokens[row, : len(item)] = item
        mask[row, : len(item)] = 1.0
    return tokens, mask


def _pooled(states: Any, mask: Any, pooling: str) -> Any:
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[mx.arange(states.shape[0]), mask.sum(axis=1).astype(mx.int32) - 1]
    wide = mask[:, :, None]
    if pooling == "max":
        return mx.where(wide > 0, states, -1e9).max(axis=1)
    return (states * wide).sum(axis=1) / wide.sum(axis=1)
