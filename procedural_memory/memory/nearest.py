"""The nearest vectors of large memories: an approximate index beside the store, which is never the truth.

Up to `EXACT` vectors every one is compared. Beyond, that is quadratic for a memory, and reads all of it for one
template; so a graph of near neighbours (HNSW: Malkov and Yashunin 2018, by usearch) is searched instead. It holds the
vectors in half precision, in a file that is read where it lies. Which file fits is told by the store: the space, the
generation, and a checksum. A file that is missing, damaged, foreign or from before something was forgotten is never
used; it is made anew from the vectors that the store has. What was added since is compared one by one, until there is
enough of it for a new file. Of a store that is in no file the index is in memory.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from procedural_memory.storage.address import file_of
from procedural_memory.storage.base import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from usearch.index import Index

__all__ = ["EXACT", "NearestIndex", "usearch_installed"]

EXACT: Final = 100_000
"""Up to so many vectors all are compared."""

_TAIL, _SHARE = 5_000, 0.05
"""So many vectors, and so large a part of all, may be waiting for a new file."""
_EDGES, _BUILD, _SEARCH = 48, 256, 400
"""Of the graph: edges of a node, and how many nodes are looked at when one is added, and at least in a search."""
_MORE = 32
"""So many more than were asked for are put in order."""
_CHUNK = 10_000
_ALONE = 2_000
"""So many are added one after the other: those that are added at once do not see each other, and in a small graph of
templates that are much alike part of it is then cut off."""
_META: Final = "nearest"
_log = logging.getLogger("procedural_memory")


def usearch_installed() -> bool:
    """Return whether the approximate index can be used; say once what to install where it cannot."""
    global _told
    try:
        _index_type()
    except ImportError:
        if not _told:
            _told = True
            _log.warning(
                "more than %s templates are compared one by one, which is right and slow; for an index: "
                "pip install 'omnimemory-procedural[index]'",
                f"{EXACT:,}",
            )
        return False
    return True


_told = False


def _index_type() -> type[Index]:
    with suppress(ImportError):
        # After usearch, MLX cannot compile for the CPU any more: both bring a C++ library, and the first one is used.
        import mlx.core  # noqa: F401
    from usearch.index import Index

    index_type: type[Index] = Index
    return index_type


class NearestIndex:
    """The approximate index of the vectors of a store. Safe for several threads.

    Parameters
    ----------
    store : Store
        Of one that is in no file the index is in memory.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._of: tuple[str, int | None] | None = None
        self._index: Index | None = None
        self._known: NDArray[np.int64] | None = None
        self._tail: NDArray[np.float32] | None = None
        """Vectors of the last of those that are known: they are not in the index."""

    @property
    def path(self) -> Path | None:
        """The file, whether it is there or not; None for a store in memory or on a server."""
        file = file_of(self._store.path)
        return None if file is None else Path(f"{file}-nearest")

    def search(self, fingerprint: str, queries: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """Return (template id, cosine) of about the `k` nearest templates of each query, nearest first.

        Parameters
        ----------
        fingerprint : str
            Names the space.
        queries : float32 of shape (n, dimension)
        k : int
        """
        import numpy as np

        with self._lock:
            self._follow(fingerprint)
            assert self._index is not None
            assert self._known is not None
            assert self._tail is not None
            found = self._index.search(queries, min(k + _MORE, len(self._index)))
            near = np.atleast_2d(found.keys).view(np.int64)
            last = self._known[len(self._known) - len(self._tail) :]
            late = queries @ self._tail.T
        # Half precision finds them, full precision puts them in order; what was forgotten meanwhile is not there.
        stored = self._store.vectors_of(fingerprint, np.unique(near).tolist())
        lists = []
        for query, row, more in zip(queries, near, late, strict=True):
            ids = np.array([number for number in row.tolist() if number in stored], dtype=np.int64)
            rows = np.frombuffer(b"".join(stored[number] for number in ids.tolist()), dtype=np.float32)
            ids, cosines = np.concatenate([ids, last]), np.concatenate([rows.reshape(-1, len(query)) @ query, more])
            best = np.lexsort((ids, -cosines))[:k]
            lists.append(list(zip(ids[best].tolist(), cosines[best].tolist(), strict=True)))
        return lists

    def drop(self) -> None:
        """Let go of the index and delete its file: something was forgotten, and no trace may be left."""
        # No lock: who searches just now ends with what there was, and the generation tells that it is old.
        self._of = None
        if self.path is not None:
            for file in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
                with suppress(OSError):
                    file.unlink()

    # -- inside

    def _follow(self, fingerprint: str) -> None:
        """Bring the index up to the store."""
        import numpy as np

        store, generation = self._store, self._store.meta("generation")
        if self._of != (fingerprint, generation):
            self._of, self._index = None, self._loaded(fingerprint, generation)
            if self._index is None:
                self._build(fingerprint)
            else:
                # As one array: iterated, each key counts through all before it.
                self._known = np.asarray(self._index.keys).view(np.int64)
                self._tail = np.empty((0, self._index.ndim), dtype=np.float32)
            self._of = fingerprint, generation
        assert self._index is not None
        assert self._known is not None
        assert self._tail is not None
        if len(self._known) == store.count_vectors(fingerprint):  # within a generation vectors are only added
            return
        ids = np.array(store.vector_ids(fingerprint), dtype=np.int64)
        if not np.isin(self._known, ids, assume_unique=True).all():
            self._build(fingerprint)
            return
        new = np.setdiff1d(ids, self._known, assume_unique=True)
        stored = store.vectors_of(fingerprint, new.tolist())
        added = np.frombuffer(b"".join(stored.values()), dtype=np.float32).reshape(len(stored), -1)
        self._known = np.concatenate([self._known, np.array(list(stored), dtype=np.int64)])
        self._tail = np.concatenate([self._tail, added])
        if len(self._tail) > max(_TAIL, _SHARE * len(self._known)):
            self._build(fingerprint)

    def _build(self, fingerprint: str) -> None:
        """Make the index of all vectors, and keep it in the file."""
        import numpy as np

        index_type = _index_type()
        generation, index = self._store.meta("generation"), None
        vectors: Iterator[tuple[int, bytes]] = iter(self._store.vectors(fingerprint))
        known: list[NDArray[np.int64]] = []
        while part := list(islice(vectors, _CHUNK)):
            ids = np.array([number for number, _ in part], dtype=np.int64)
            rows = np.frombuffer(b"".join(data for _, data in part), dtype=np.float32).reshape(len(part), -1)
            if index is None:
                index = index_type(
                    ndim=rows.shape[1],
                    metric="ip",
                    dtype="f16",
                    connectivity=_EDGES,
                    expansion_add=_BUILD,
                    expansion_search=_SEARCH,
                )
            alone = 0 if known else _ALONE
            if alone:
                index.add(ids[:alone].view(np.uint64), rows[:alone], threads=1)
            if len(ids) > alone:
                index.add(ids[alone:].view(np.uint64), rows[alone:])
            known.append(ids)
        assert index is not None
        self._known = np.concatenate(known)
        self._tail = np.empty((0, index.ndim), dtype=np.float32)
        self._index = self._saved(index, fingerprint, generation)

    def _saved(self, index: Index, fingerprint: str, generation: int | None) -> Index:
        """Put the index into its file, and return it as it lies there; as it is where that cannot be."""
        if (path := self.path) is None:
            return index
        import tempfile

        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            os.close(handle)
            index.save(temporary)
            size, checksum = _digest(Path(temporary))
            told = {"fingerprint": fingerprint, "generation": generation, "size": size, "checksum": checksum}
            with self._store.transaction():
                if self._store.meta("generation") != generation:  # something was forgotten meanwhile
                    return index
                os.replace(temporary, path)
                self._store.set_meta(_META, json.dumps(told))
            return self._loaded(fingerprint, generation) or index
        except OSError as error:
            _log.warning("the index of templates stays in memory, it cannot be written (%s)", error)
            return index
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

    def _loaded(self, fingerprint: str, generation: int | None) -> Index | None:
        """Return the index in the file, where that is the one that the store tells of."""
        path, kept = self.path, self._store.meta(_META)
        if path is None or kept is None:
            return None
        told: dict[str, Any] = json.loads(kept)
        if (told["fingerprint"], told["generation"]) != (fingerprint, generation):
            return None
        try:
            if _digest(path) != (told["size"], told["checksum"]):
                _log.info("the index of templates was damaged, and is made anew")
                return None
            index = _index_type().restore(str(path), view=True)
        except (OSError, RuntimeError, ValueError):
            return None
        if index is not None:
            index.expansion_search = _SEARCH
        return index


def _digest(path: Path) -> tuple[int, int]:
    """Return the size and a checksum of a file."""
    size = checksum = 0
    with path.open("rb") as file:
        while part := file.read(1 << 22):
            size, checksum = size + len(part), zlib.crc32(part, checksum)
    return size, checksum
