"""Vectors of templates: embedded in batches by a background worker, each with its nearest templates beside it.

Prediction reads stored neighbours only; it never waits for a model.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from procedural_memory.errors import EmbeddingError, ModelFormatError
from procedural_memory.storage.base import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procedural_memory.embedding.select import Selection
    from procedural_memory.memory.similarity import Scale

__all__ = ["NEIGHBOURS", "VectorIndex"]

NEIGHBOURS = 20
"""How many nearest templates are stored with a template."""

_BATCH = 256
_CACHED = 20_000
_PATIENCE = 2.0
_log = logging.getLogger("procedural_memory")


class VectorIndex:
    """Keeps a vector for every template, in one space, and the nearest templates of each.

    Parameters
    ----------
    store : Store
        Where vectors and neighbours are kept, by embedder fingerprint.
    selection : Selection
        The embedder and why it was chosen; without one only what is stored already is used.
    fingerprint : str or None
        The space that the store was built with, None in a new one.
    """

    def __init__(self, store: Store, selection: Selection, fingerprint: str | None) -> None:
        self._store = store
        self._selection = selection
        self._embedder = selection.embedder
        self._fingerprint = fingerprint
        self._wake = threading.Condition()
        self._work = threading.Lock()
        self._worker: threading.Thread | None = None
        self._pending = False
        self._closed = False
        self._scale: Scale | None = None
        self._cache: dict[int, NDArray[np.float32]] = {}
        self.problem: str | None = None

    def scale(self) -> Scale | None:
        """Return where this space's cosines lie; measured once, with the first vectors, and kept in the store."""
        if self._scale is None and self._fingerprint is not None:
            kept = self._store.meta(f"scale {self._fingerprint}")
            if kept is not None:
                from procedural_memory.memory.similarity import Scale

                self._scale = Scale(*json.loads(kept))
        return self._scale

    @property
    def fingerprint(self) -> str | None:
        """The space of the vectors; None until an embedder that must be asked first has answered."""
        return self._fingerprint

    def notify(self) -> None:
        """Say that there may be new templates; returns at once."""
        if self._embedder is None:
            return
        with self._wake:
            if self._closed:
                return
            self._pending = True
            if self._worker is None:
                self._worker = threading.Thread(target=self._run, name="procedural-memory-embed", daemon=True)
                self._worker.start()
            self._wake.notify()

    def flush(self) -> int:
        """Embed what is waiting, in this thread; return how many templates are still without a vector."""
        if self._embedder is not None:
            self._drain()
        return self.missing()

    def missing(self) -> int:
        """Return how many templates have no vector."""
        if self._embedder is None:
            return 0
        return self._store.count_missing(self._fingerprint or "")

    def close(self) -> None:
        """Stop the worker; what is not embedded yet is embedded when the store is next used."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._worker is not None:
            # A model that is just being loaded is not waited for: the worker is a daemon and notices the close.
            self._worker.join(timeout=_PATIENCE)

    def neighbours(self, template: int) -> list[tuple[int, float]]:
        """Return (template id, cosine) of the nearest templates, nearest first; empty when not known yet."""
        if self._fingerprint is None:
            return []
        return self._store.neighbours(self._fingerprint, template)

    def stored(self, templates: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the stored vectors of `templates`, without embedding anything."""
        import numpy as np

        if self._fingerprint is None:
            return {}
        ids = self._store.template_ids(templates)
        cache = self._cache
        if lacking := [number for number in ids.values() if number not in cache]:
            if len(cache) > _CACHED:
                cache.clear()
            for number, data in self._store.vectors_of(self._fingerprint, lacking).items():
                cache[number] = np.frombuffer(data, dtype=np.float32)
        return {text: cache[number] for text, number in ids.items() if number in cache}

    def restore(self, vectors: Mapping[str, Mapping[str, bytes]]) -> None:
        """Take over cached vectors of the space in use, for templates that are known."""
        if self._fingerprint is None:
            # The space of a model on this machine is known from its files; a service would have to be asked.
            if self._embedder is None or self._selection.name == "remote":
                return
            self._fingerprint = self._embedder.fingerprint
        rows = vectors.get(self._fingerprint, {})
        if len({len(data) for data in rows.values()}) == 1:
            ids = self._store.template_ids(rows)
            self._store.put_vectors(self._fingerprint, {ids[t]: rows[t] for t in rows if t in ids})

    def status(self) -> dict[str, Any]:
        """Return the embedder, why it was chosen, and how far it is."""
        return {
            "name": self._selection.name,
            "reason": self._selection.reason,
            "fingerprint": self._fingerprint,
            "pending": self.missing(),
            "problem": self.problem,
        }

    def stored_cosines(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float32]:
        """Return cosines of two lists of templates from stored vectors; NaN where one is missing.

        Returns
        -------
        ndarray of float32, shape (len(first), len(second))
        """
        return _cosines(self.stored([*first, *second]), first, second)

    def cosines(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float32]:
        """As `stored_cosines`, but missing vectors are made on the spot, for calls that may take their time."""
        texts = list(dict.fromkeys([*first, *second]))
        have = self.stored(texts)
        if self._embedder is not None and (lacking := [text for text in texts if text not in have]):
            try:
                have.update(zip(lacking, self._embed(lacking), strict=True))
            except EmbeddingError as error:
                self._report(error)
        return _cosines(have, first, second)

    def reset(self) -> None:
        """Drop what is cached of the store, after templates were dropped from it."""
        self._cache.clear()

    # -- worker

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                self._pending = False
            self._drain()

    def _drain(self) -> None:
        try:
            with self._work:
                while not self._closed and self._embed_batch():
                    pass
                self._link()
                self._measure()
            self.problem = None
        except EmbeddingError as error:
            self._report(error)
        except Exception as error:
            # The store may be closed under the worker. Anything else is a fault worth a traceback; neither may
            # take predictions down with it.
            if not self._closed:
                _log.exception("embedding stopped")
                self._report(error)

    def _report(self, error: Exception) -> None:
        message = f"{type(error).__name__}: {error}"
        if message != self.problem:
            _log.warning("predictions use counts alone for now: %s", message)
        self.problem = message

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        assert self._embedder is not None
        rows = np.ascontiguousarray(self._embedder.embed(texts), dtype=np.float32)
        fingerprint = self._embedder.fingerprint
        wanted = (len(texts), self._embedder.dimension)
        if rows.shape != wanted:
            raise ModelFormatError(f"embedder {fingerprint}: must return an array of shape {wanted}, got {rows.shape}")
        if not np.isfinite(rows).all():
            raise ModelFormatError(f"embedder {fingerprint}: must return finite numbers, got NaN or infinity")
        if self._fingerprint is None:
            self._fingerprint = fingerprint
        elif self._fingerprint != fingerprint:
            raise ModelFormatError(
                f"embedder: the space must stay {self._fingerprint}, not become {fingerprint}; they are never mixed"
            )
        return rows

    def _embed_batch(self) -> bool:
        todo = self._store.missing_vectors(self._fingerprint or "", _BATCH)
        if not todo:
            return False
        rows = self._embed([text for _, text in todo])
        assert self._fingerprint is not None
        self._store.put_vectors(self._fingerprint, {number: rows[i].tobytes() for i, (number, _) in enumerate(todo)})
        if self._store.meta("embedder") != self._fingerprint:
            self._store.set_meta("embedder", self._fingerprint)
        return True

    def _measure(self) -> None:
        """Measure the scale of the space where vectors came without it, from a snapshot say."""
        from procedural_memory.memory.similarity import measure_scale

        if self._fingerprint is not None and self.scale() is None:
            self._store.set_meta(f"scale {self._fingerprint}", json.dumps(measure_scale(self._embed)))

    def _link(self) -> None:
        """Store the neighbours of templates that have none yet, and mend the lists that these enter."""
        import numpy as np

        if self._fingerprint is None or not (new := self._store.unlinked(self._fingerprint)):
            return
        stored = list(self._store.vectors(self._fingerprint))
        ids = np.array([number for number, _ in stored])
        rows = np.frombuffer(b"".join(data for _, data in stored), dtype=np.float32).reshape(len(ids), -1)
        is_new = np.isin(ids, new)
        old = np.flatnonzero(~is_new)
        floors = np.array([self._floor(int(ids[place])) for place in old], dtype=np.float32)
        entering: dict[int, list[tuple[int, float]]] = {}
        linked: dict[int, list[tuple[int, float]]] = {}
        k = min(NEIGHBOURS + 1, len(ids))
        fresh = np.flatnonzero(is_new)
        for begin in range(0, len(fresh), _BATCH):
            block = fresh[begin : begin + _BATCH]
            cosines = rows[block] @ rows.T
            best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            for row, place in enumerate(block):
                mine = best[row][np.lexsort((ids[best[row]], -cosines[row][best[row]]))]
                pairs = [(int(ids[b]), float(cosines[row][b])) for b in mine if b != place]
                linked[int(ids[place])] = pairs[:NEIGHBOURS]
            for row, column in zip(*np.nonzero(cosines[:, old] > floors), strict=True):
                pair = (int(ids[block[row]]), float(cosines[row, old[column]]))
                entering.setdefault(int(ids[old[column]]), []).append(pair)
        for number, pairs in entering.items():
            pairs += self._store.neighbours(self._fingerprint, number)
            linked[number] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:NEIGHBOURS]
        self._store.put_neighbours(self._fingerprint, linked)

    def _floor(self, template: int) -> float:
        """Return the cosine that a new neighbour of `template` must exceed."""
        pairs = self._store.neighbours(self._fingerprint or "", template)
        return pairs[-1][1] if len(pairs) >= NEIGHBOURS else -2.0


def _cosines(
    have: Mapping[str, NDArray[np.float32]], first: Sequence[str], second: Sequence[str]
) -> NDArray[np.float32]:
    import numpy as np

    if not have:
        return np.full((len(first), len(second)), np.nan, dtype=np.float32)
    void = np.full(len(next(iter(have.values()))), np.nan, dtype=np.float32)
    left = np.stack([have.get(text, void) for text in first])
    right = np.stack([have.get(text, void) for text in second])
    return np.asarray(left @ right.T, dtype=np.float32)
