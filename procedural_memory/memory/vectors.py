"""Vectors of templates: embedded in batches in the background, each with its nearest templates beside it.

Prediction reads stored neighbours and vectors only; it never waits for a model. One thread embeds at a time, so an
embedder need not be safe for several. Lock order: the work lock before the store's; nobody who holds the store
waits for work.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from procedural_memory.errors import EmbeddingError, ModelFormatError, StoreBusyError
from procedural_memory.memory.nearest import EXACT, NearestIndex, usearch_installed
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
_WIDE = 64
"""How many nearest templates of a new one may take it into their lists, where not all are compared."""
_LIKE = 5
_FEW = 16
_CACHED = 20_000
_QUERIES = 4_096
_PATIENCE = 2.0
_LINKED = "embedded {}"
"""Name of the setting that tells how many templates have a vector and neighbours, of one space."""
_BUSY = 0.05
_NO_FLOOR = -2.0
"""What any cosine is above."""
_UNIT = 1e-3
_log = logging.getLogger("procedural_memory")
_Lists: TypeAlias = dict[int, list[tuple[int, float]]]


class _Done(NamedTuple):
    """What was embedded.

    Attributes
    ----------
    embedded : list of int
        The templates.
    all_new : bool
        Whether they alone lack neighbours: those that were noted and they are all there are.
    templates : int
        So many there are; each has a vector, unless the index was closed meanwhile.
    generation : int or None
        Of the store that this was seen in.
    """

    embedded: list[int]
    all_new: bool
    templates: int
    generation: int | None


class VectorIndex:
    """Keeps a vector for every template, in one space, and the nearest templates of each.

    Parameters
    ----------
    store : Store
        Where vectors and neighbours are kept, by embedder fingerprint.
    selection : Selection
        The embedder and why it was chosen; without one only what is stored already is used.
    keep : bool
        Whether the space that the store was built with must stay. Only an embedder asked for by name may change it.
    """

    def __init__(self, store: Store, selection: Selection, keep: bool) -> None:
        self._store = store
        self._selection = selection
        self._embedder = selection.embedder
        self._keep = keep
        # A service says what it is when it first answers; until then the space is the one recorded.
        self._fingerprint: str | None = store.meta("embedder")
        if self._embedder is not None and selection.name != "remote":
            self._fingerprint = self._embedder.fingerprint
        self._state = threading.Lock()
        self._work = threading.Lock()
        self._worker: threading.Thread | None = None
        self._pending = False
        self._closed = False
        self._scale: Scale | None = None
        self._index = NearestIndex(store)
        self._cache = _Kept(None)
        self._queries: dict[str, NDArray[np.float32]] = {}
        self._held: tuple[int | None, NDArray[np.int64], NDArray[np.float32]] | None = None
        self._floors: tuple[int | None, NDArray[np.int64], NDArray[np.float32]] | None = None
        self.problem: str | None = None
        _log.info("embedder %s: %s", selection.name, selection.reason)

    def scale(self) -> Scale | None:
        """Return where this space's cosines lie; measured once, with the first vectors, and kept in the store."""
        if self._scale is None and self._fingerprint is not None:
            kept = self._store.meta(f"scale {self._fingerprint}")
            if kept is not None:
                from procedural_memory.memory.similarity import Scale

                self._scale = Scale(*json.loads(kept))
        return self._scale

    def space(self) -> tuple[str | None, Scale | None, int | None]:
        """Return what the cosine of two templates hangs on, once both have a vector: their space, its scale, and the
        generation of the store, within which no vector is dropped."""
        return self._fingerprint, self.scale(), self._store.meta("generation")

    def notify(self) -> None:
        """Say that there may be templates without a vector; returns at once."""
        if self._embedder is None:
            return
        with self._state:
            self._pending = True
            if self._closed or (self._worker is not None and self._worker.is_alive()):
                return
            # The worker ends when nothing is left to do, so that a forgotten engine leaves no thread behind.
            self._worker = threading.Thread(target=self._run, name="procedural-memory-embed", daemon=True)
            self._worker.start()

    def flush(self) -> int:
        """Embed what is waiting, in this thread; return how many templates are still without a vector."""
        if self._embedder is not None:
            self._drain()
        return self.missing()

    def missing(self) -> int:
        """Return how many templates have no vector."""
        return self._store.count_missing(self._fingerprint or "")

    def behind(self) -> bool:
        """Return whether there may be templates without a vector, without looking at each of them."""
        templates = self._store.count_templates()
        return templates > 0 and self._noted() != templates

    def close(self) -> None:
        """Stop the worker; what is not embedded yet is embedded when the store is next used."""
        with self._state:
            self._closed = True
            worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            # A model that is just being loaded is not waited for: the worker is a daemon and notices the close.
            worker.join(timeout=_PATIENCE)

    def neighbours(self, template: int) -> list[tuple[int, float]]:
        """Return (template id, cosine) of the nearest templates, nearest first; empty when not known yet."""
        if self._fingerprint is None:
            return []
        return self._store.neighbours(self._fingerprint, template)

    def stored_cosines(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float32] | None:
        """Return cosines of two lists of templates from stored vectors; NaN where one is missing, None where all are.

        Returns
        -------
        ndarray of float32, shape (len(first), len(second))
        """
        return self._cosines(first, second, {})

    def prepare(self, templates: Sequence[str]) -> None:
        """Make the vectors of a query that are not stored; call it without holding any lock, it may take its time."""
        if self._embedder is None:
            return
        there = self._read(templates)
        if lacking := [text for text in there.lacking(dict.fromkeys(templates)) if text not in self._queries]:
            try:
                with self._work:
                    made = dict(zip(lacking, self._embed(lacking), strict=True))
            except EmbeddingError as error:
                self._report(error)
                return
            # Replaced, not changed: another thread may be reading it.
            self._queries = made if len(self._queries) > _QUERIES else {**self._queries, **made}

    def like(self, templates: Sequence[str]) -> list[str]:
        """Return the templates that are nearest to those of a query that are not known; call it after `prepare`, and
        like it without holding any lock."""
        import numpy as np

        made, scale = self._queries, self.scale()
        rows = [made[text] for text in templates if text in made]
        if not rows or scale is None or self._fingerprint is None:
            return []
        with self._work:
            queries, generation = np.stack(rows), self._store.meta("generation")
            if self._many():
                lists = self._index.search(self._fingerprint, queries, _LIKE)
            else:
                ids, held = self._matrix((), generation)
                cosines = queries @ held.T if len(ids) else np.empty((len(rows), 0), dtype=np.float32)
                best = np.argsort(-cosines, axis=1, kind="stable")[:, :_LIKE]
                lists = [
                    list(zip(ids[places].tolist(), row[places].tolist(), strict=True))
                    for row, places in zip(cosines, best, strict=True)
                ]
        near = dict.fromkeys(number for pairs in lists for number, cosine in pairs if cosine > scale.low)
        return self._store.template_texts(list(near))

    def _many(self) -> bool:
        """Whether there are too many vectors to compare all of them, and an index may be had."""
        return self._store.count_vectors(self._fingerprint or "") > EXACT and usearch_installed()

    def prepared_cosines(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float32] | None:
        """As `stored_cosines`, with the vectors made by `prepare`."""
        return self._cosines(first, second, self._queries)

    def _cosines(
        self, first: Sequence[str], second: Sequence[str], made: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32] | None:
        import numpy as np

        kept = self._read([*first, *second])
        left, right = kept.take(first, made), kept.take(second, made)
        if left is None or right is None:
            return None
        # For a few rows BLAS takes longer to hand the work to its threads than to do it.
        if len(left) <= _FEW:
            return np.stack([right @ row for row in left])
        cosines: NDArray[np.float32] = left @ right.T
        return cosines

    def _read(self, templates: Sequence[str]) -> _Kept:
        """Return the vectors that are kept, with those of `templates` that are stored."""
        kept, generation = self._cache, self._store.meta("generation")
        lacking = kept.lacking(templates)
        if kept.generation != generation or len(kept) + len(lacking) > _CACHED:
            # Put in place of the other one, which another thread may be reading.
            kept = self._cache = _Kept(generation)
            lacking = list(templates)
        if self._fingerprint is not None and lacking:
            numbers = self._store.template_ids(lacking)
            stored = self._store.vectors_of(self._fingerprint, list(numbers.values()))
            kept.add({text: stored[number] for text, number in numbers.items() if number in stored})
        return kept

    def restore(self, vectors: Mapping[str, Mapping[str, bytes]]) -> None:
        """Take over cached vectors of the space in use, for templates that are known; what is no vector is left."""
        import numpy as np

        if self._embedder is None or self._fingerprint is None or self._selection.name == "remote":
            return
        rows = vectors.get(self._fingerprint, {})
        ids = self._store.template_ids(rows)
        good = {}
        for text, number in ids.items():
            row = np.frombuffer(rows[text], dtype=np.float32)
            if len(row) == self._embedder.dimension and abs(float(np.linalg.norm(row)) - 1.0) < _UNIT:
                good[number] = rows[text]
        self._store.put_vectors(self._fingerprint, good)

    def status(self) -> dict[str, Any]:
        """Return the embedder, why it was chosen, and how far it is."""
        return {
            "name": self._selection.name,
            "reason": self._selection.reason,
            "fingerprint": self._fingerprint,
            "pending": self.missing(),
            "problem": self.problem,
        }

    def reset(self) -> None:
        """Drop what is cached of the store, after templates were dropped from it."""
        self._index.drop()
        self._cache, self._queries = _Kept(None), {}
        self._held = self._floors = None

    # -- the work

    def _run(self) -> None:
        while True:
            with self._state:
                if not self._pending or self._closed:
                    self._worker = None
                    return
                self._pending = False
            self._drain()

    def _drain(self) -> None:
        try:
            with self._work:
                done = self._embed_missing()
                if done.templates and not self._closed and self._fingerprint is not None:
                    self._link(done.embedded if done.all_new else self._store.unlinked(self._fingerprint), done)
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
        try:
            # Shape, numbers and length are checked where the embedder was chosen.
            rows = np.ascontiguousarray(self._embedder.embed(texts), dtype=np.float32)
            fingerprint = self._embedder.fingerprint
        except EmbeddingError:
            raise
        except Exception as error:
            raise EmbeddingError(f"embedder {self._selection.name}: {type(error).__name__}: {error}") from error
        if fingerprint != self._fingerprint:
            if self._keep and self._fingerprint is not None:
                raise ModelFormatError(
                    f"embedder: the space must stay {self._fingerprint}, not become {fingerprint}; they are never mixed"
                )
            self._fingerprint, self._scale = fingerprint, None
            self.reset()
        return rows

    def _noted(self) -> int | None:
        """Return how many templates there were when each had its vector and its neighbours, as far as is noted.

        Within a generation of the store templates are added, and none is dropped: as many are the same ones.
        """
        kept = self._store.meta(_LINKED.format(self._fingerprint))
        if kept is None:
            return None
        generation, templates = json.loads(kept)
        return int(templates) if generation == self._store.meta("generation") else None

    def _embed_missing(self) -> _Done:
        """Embed the templates that have no vector."""
        embedded: list[int] = []
        before: tuple[int | None, int | None] | None = None
        while True:
            space, store = self._fingerprint, self._store
            with store.reading():
                generation, noted = store.meta("generation"), self._noted()
                todo, templates = store.missing_vectors(space or "", _BATCH), store.count_templates()
            before = before or (generation, noted)
            if todo and not self._closed:
                self._embed_batch(todo)
                embedded += [number for number, _ in todo]
            if self._fingerprint != space and not self._closed:  # none has a vector of this one
                embedded, before = [], (generation, None)
                continue
            # What is learned meanwhile is told by another notice.
            if len(todo) < _BATCH or self._closed:
                # Those that were noted had vectors, the others got theirs here: where both make up all, no other one
                # came from elsewhere that may lack neighbours.
                same, had = before[0] == generation, before[1]
                all_new = same and had is not None and had + len(embedded) == templates
                return _Done(embedded, all_new, templates, generation)

    def _embed_batch(self, todo: Sequence[tuple[int, str]]) -> None:
        rows = self._embed([text for _, text in todo])
        assert self._fingerprint is not None
        with self._store.transaction():
            self._store.put_vectors(
                self._fingerprint, {number: rows[i].tobytes() for i, (number, _) in enumerate(todo)}
            )
            if self._store.meta("embedder") != self._fingerprint:
                self._store.set_meta("embedder", self._fingerprint)

    def _measure(self) -> None:
        """Measure the scale of the space where vectors came without it, from a snapshot say."""
        from procedural_memory.memory.similarity import measure_scale

        if self._fingerprint is not None and self.scale() is None and not self._closed:
            self._store.set_meta(f"scale {self._fingerprint}", json.dumps(measure_scale(self._embed)))

    def _link(self, new: Sequence[int], done: _Done) -> None:
        """Store the neighbours of templates that have none yet, and mend the lists that these enter."""
        assert self._fingerprint is not None
        note = _LINKED.format(self._fingerprint), json.dumps([done.generation, done.templates])
        if not new:
            # The note alone: where it cannot be written now, it is written another time.
            with suppress(StoreBusyError):
                if self._noted() != done.templates:
                    with self._store.transaction(patience=_BUSY):
                        self._store.set_meta(*note)
            return
        while not self._closed:
            fresh, entering, compared = self._nearest(new, done.generation)
            with self._store.transaction():
                if self._store.meta("generation") != done.generation:
                    # Templates and lists were dropped meanwhile; who dropped them told of it.
                    return
                if compared is not None and compared != self._store.count_vectors(self._fingerprint):
                    continue  # another process added some meanwhile, which know nothing of these
                for number, pairs in entering.items():
                    merged = dict([*self._store.neighbours(self._fingerprint, number), *pairs])
                    fresh[number] = sorted(merged.items(), key=lambda pair: (-pair[1], pair[0]))[:NEIGHBOURS]
                self._store.put_neighbours(self._fingerprint, fresh)
                self._store.set_meta(*note)
            self._raise_floors(fresh)
            return

    def _nearest(self, new: Sequence[int], generation: int | None) -> tuple[_Lists, _Lists, int | None]:
        """Return the lists of the `new` templates, and what these add to the lists of the others.

        And how many vectors were compared with each; None where not all were.
        """
        import numpy as np

        assert self._fingerprint is not None
        if self._many():
            return (*self._nearly_nearest(new), None)
        ids, rows = self._matrix(new, generation)
        is_old, floors = ~np.isin(ids, new), self._floors_of(ids, generation)
        fresh = np.flatnonzero(~is_old)
        lists: _Lists = {}
        entering: _Lists = {}
        k = min(NEIGHBOURS + 1, len(ids))
        for begin in range(0, len(fresh), _BATCH):
            block = fresh[begin : begin + _BATCH]
            cosines = rows[block] @ rows.T
            best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            for row, place in enumerate(block):
                mine = best[row][np.lexsort((ids[best[row]], -cosines[row][best[row]]))]
                pairs = [(int(ids[b]), float(cosines[row][b])) for b in mine if b != place]
                lists[int(ids[place])] = pairs[:NEIGHBOURS]
            for row, column in zip(*np.nonzero((cosines > floors) & is_old), strict=True):
                pair = (int(ids[block[row]]), float(cosines[row, column]))
                entering.setdefault(int(ids[column]), []).append(pair)
        return lists, entering, len(ids)

    def _floors_of(self, ids: NDArray[np.int64], generation: int | None) -> NDArray[np.float32]:
        """Return the least cosine in the list of each template that has a full one; else what any cosine is above.

        They are read once. Other processes may have raised some since: too low a floor costs a look, and changes
        nothing.
        """
        import numpy as np

        assert self._fingerprint is not None
        of, known, floors = self._floors or (None, ids[:0], np.empty(0, dtype=np.float32))
        if len(known) and of == generation and np.array_equal(ids[: len(known)], known):
            floors = np.concatenate([floors, np.full(len(ids) - len(known), _NO_FLOOR, dtype=np.float32)])
        else:
            least = self._store.floors(self._fingerprint, NEIGHBOURS)
            floors = np.array([least.get(number, _NO_FLOOR) for number in ids.tolist()], dtype=np.float32)
        self._floors = generation, ids, floors
        return floors

    def _raise_floors(self, lists: _Lists) -> None:
        """Note the floors of lists that were stored."""
        import numpy as np

        full = {number: pairs[-1][1] for number, pairs in lists.items() if len(pairs) == NEIGHBOURS}
        if self._floors is None or not full:
            return
        _, ids, floors = self._floors
        order = np.argsort(ids)
        places = order[np.searchsorted(ids, np.array(list(full), dtype=np.int64), sorter=order)]
        floors[places] = np.array(list(full.values()), dtype=np.float32)

    def _nearly_nearest(self, new: Sequence[int]) -> tuple[_Lists, _Lists]:
        """As `_nearest`, by the approximate index: a template is taken into the lists of those that are near to it."""
        import numpy as np

        assert self._fingerprint is not None
        lists: _Lists = {}
        entering: _Lists = {}
        fresh = set(new)
        self._held = self._floors = None
        for begin in range(0, len(new), _BATCH):
            stored = self._store.vectors_of(self._fingerprint, new[begin : begin + _BATCH])
            if not stored:
                continue
            rows = np.frombuffer(b"".join(stored.values()), dtype=np.float32).reshape(len(stored), -1)
            for number, found in zip(stored, self._index.search(self._fingerprint, rows, _WIDE), strict=True):
                pairs = [pair for pair in found if pair[0] != number]
                lists[number] = pairs[:NEIGHBOURS]
                for other, cosine in pairs:
                    if other not in fresh:
                        entering.setdefault(other, []).append((number, cosine))
        return lists, entering

    def _matrix(self, new: Sequence[int], generation: int | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids and vectors of all templates; of those known from the last time only the `new` are read."""
        import numpy as np

        assert self._fingerprint is not None
        ids, rows = np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        # Within a generation templates are only added, so equal numbers mean equal sets.
        if self._held is not None and self._held[0] == generation:
            _, ids, rows = self._held
        fresh = np.array(new, dtype=np.int64)
        stored = self._store.vectors_of(self._fingerprint, fresh[~np.isin(fresh, ids)].tolist())
        count = self._store.count_vectors(self._fingerprint)
        if len(ids) + len(stored) != count and len(ids):  # another process added some
            there = np.array(self._store.vector_ids(self._fingerprint), dtype=np.int64)
            stored = self._store.vectors_of(self._fingerprint, np.setdiff1d(there, ids).tolist())
        if len(ids) + len(stored) != count:
            ids, stored = ids[:0], dict(self._store.vectors(self._fingerprint))
        if stored:
            added = np.frombuffer(b"".join(stored.values()), dtype=np.float32).reshape(len(stored), -1)
            rows = np.concatenate([rows[: len(ids)].reshape(-1, added.shape[1]), added])
            ids = np.concatenate([ids, np.array(list(stored), dtype=np.int64)])
        self._held = generation, ids, rows
        return ids, rows


class _Kept:
    """Vectors of templates, kept as the rows of one matrix: those of a thousand are had in one go.

    Parameters
    ----------
    generation : int or None
        Of the store, within which no template goes.
    """

    def __init__(self, generation: int | None) -> None:
        self.generation = generation
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._rows: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def lacking(self, templates: Iterable[str]) -> list[str]:
        """Return those of the templates that are not here."""
        places = self._places
        return [text for text in templates if text not in places]

    def add(self, vectors: Mapping[str, bytes]) -> None:
        """Keep vectors as they are stored."""
        import numpy as np

        with self._lock:  # two threads may have read the same ones
            new = {text: data for text, data in vectors.items() if text not in self._places}
            if not new:
                return
            added = np.frombuffer(b"".join(new.values()), dtype=np.float32).reshape(len(new), -1)
            used = len(self._places)
            if self._rows is None:
                self._rows = np.empty((256, added.shape[1]), dtype=np.float32)
            if used + len(new) > len(self._rows):
                grown = np.empty((max(2 * len(self._rows), used + len(new)), self._rows.shape[1]), dtype=np.float32)
                grown[:used] = self._rows[:used]
                self._rows = grown
            self._rows[used : used + len(new)] = added
            self._places.update(zip(new, range(used, used + len(new)), strict=True))

    def take(self, templates: Sequence[str], made: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
        """Return vectors; those `made` where there is none, NaN where that is not either; None where all would be."""
        import numpy as np

        get = self._places.get
        places = np.array([get(text, -1) for text in templates], dtype=np.intp)
        missing = np.flatnonzero(places < 0).tolist()
        more = {place: vector for place in missing if (vector := made.get(templates[place])) is not None}
        rows = self._rows
        if rows is None:
            if not more:
                return None
            taken = np.full((len(templates), len(next(iter(more.values())))), np.nan, dtype=np.float32)
        else:
            taken = rows[places]
            taken[missing] = np.nan
        for place, vector in more.items():
            taken[place] = vector
        return taken
