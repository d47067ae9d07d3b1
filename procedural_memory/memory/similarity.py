"""Similarity that knows order: of single commands, and of workflows by ordered alignment.

Two commands are compared by what they do (`procedural_memory.memory.families`), refined by the cosine of
their vectors where there are any. Two workflows are compared by semi-global alignment: Needleman-Wunsch
(1970) with free ends in the pattern, as in Smith-Waterman (1981), so that a short workflow is found anywhere
within a long session. With a linear gap cost the recurrence along the pattern is a running maximum, which
numpy computes for all patterns at once: one pass for each command of the query, no loop over steps or
patterns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from procedural_memory.memory.families import LOOKING, OPPOSITES, read

__all__ = [
    "Alignment",
    "CommandSimilarity",
    "KeptSimilarity",
    "Scale",
    "align",
    "continuations",
    "measure_scale",
    "scale_for",
]

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.intp]
Cosines: TypeAlias = Callable[[Sequence[str], Sequence[str]], Floats | None]

# -- how alike two acts are, by what they share
SAME_PROGRAM: Final = 0.90  # program, verb and object; flags and arguments make up the rest
SAME_JOB: Final = 0.85  # an equivalent tool
SAME_VERB: Final = 0.55  # family and verb, another object: `kubectl get pods`, `kubectl get events`
VAGUE_OBJECT: Final = 0.75  # family and verb, of which one names no object: `fly auth login`, `heroku login`
COMMON_VERB: Final = 0.55  # another family: `npm run build`, `cargo build`
UNKNOWN_VERB: Final = 0.75  # a program that no table knows: `frob build`, `cargo build`
COMMON_PROGRAM: Final = 0.20  # `git log`, `git tag`
COMMON_FAMILY: Final = 0.10
UNRELATED: Final = 0.02  # never 0: that is what opposites have
DETAILS: Final = 0.10  # at most this for equal flags and arguments
FORCED: Final = 0.5  # factor where one of the two overrides a safety check

# -- what vectors may add, as a share of what is missing to the ceiling: they see words, neither effect nor order
LIFT: Final = 0.2
UNKNOWN_LIFT: Final = 0.8  # where a program stands in no table
CEILING: Final = 0.85

# -- alignment
GAP: Final = 0.12  # for a step of the pattern within the match that answers no command of the query
SUBSTITUTION: Final = 0.3  # at least this for a step in the place of another, unless they are opposites
UNKNOWN_SUBSTITUTION: Final = 0.5  # the same for another program, where one of the two stands in no table
DISORDER: Final = 0.7  # share lost of what the pattern holds of the query, but in another order
UNDONE: Final = 0.5  # for a command that the pattern does not hold, while it holds its opposite
POWER: Final = 0.7  # stretches the scores so that 0.7 lies midway between same and different workflows
LOOK: Final = 0.5  # weight of a command that only looks, against one that changes something
PREPARE: Final = 0.25  # weight of a command that only prepares the next one: `cd`, `export`
RECENCY: Final = 0.6  # weight of each command of a context against the next newer one

_DETAIL_BUCKETS: Final = 32
_CAPACITY: Final = 65_536
"""Of so many templates the features are kept, some 250 bytes each."""
_UNIT: Final = 1 << 30  # scores are aligned in fixed point
_COLUMNS: Final = ("_first", "_count", "_identity", "_program", "_share", "_flags", "_used")
_ACT_COLUMNS: Final = ("_codes", "_sides", "_details", "_known", "_weight")


class Scale(NamedTuple):
    """Where an embedder's cosines lie: `low` between unrelated commands, `high` between equivalent ones."""

    low: float
    high: float

    def apply(self, cosines: Floats) -> Floats:
        """Return cosines on the common scale: 0 at `low` or below, 1 at `high` or above; NaN stays NaN."""
        scaled: Floats = np.minimum(np.maximum((cosines - self.low) / (self.high - self.low), 0.0), 1.0)
        return scaled


_REFERENCE: Final = (
    ("git commit -m <STR>", "hg commit -m <STR>"),
    ("git checkout <BRANCH>", "git switch <BRANCH>"),
    ("pytest -q", "python -m pytest -q"),
    ("pip install <PKG>", "uv pip install <PKG>"),
    ("npm run build", "yarn build"),
    ("docker ps -a", "podman ps -a"),
    ("kubectl get pods", "oc get pods"),
    ("terraform plan", "tofu plan"),
    ("sudo systemctl restart <SERVICE>", "sudo service <SERVICE> restart"),
    ("tar -xzf <FILE>", "unzip <FILE>"),
    ("curl -O <URL>", "wget <URL>"),
    ("grep -rn <STR> <FILE>", "rg -n <STR> <FILE>"),
    ("vim <FILE>", "nano <FILE>"),
    ("rm -rf <FILE>", "rm -r <FILE>"),
    ("psql -c <STR>", "mysql -e <STR>"),
    ("ps aux", "top"),
    ("mkdir -p <FILE>", "install -d <FILE>"),
    ("ssh <HOST>", "mosh <HOST>"),
)
"""Pairs of equivalent commands; commands of different pairs are unrelated."""


def measure_scale(embed: Callable[[Sequence[str]], Floats]) -> Scale:
    """Return the scale of an embedder, measured on a fixed set of equivalent and unrelated commands.

    `low` is the upper quartile of the cosines of unrelated commands, `high` that of equivalent ones. It
    depends on the embedder alone, never on what is stored, so that every process and every store agrees on
    it.

    Parameters
    ----------
    embed : callable
        Texts to unit-length rows, as ``Embedder.embed``.
    """
    rows = embed([text for pair in _REFERENCE for text in pair])
    cosines = np.asarray(rows @ rows.T, dtype=np.float64)
    pair = np.arange(len(cosines)) // 2
    low = float(np.quantile(cosines[pair[:, None] != pair], 0.75))
    high = float(np.quantile(cosines[0::2, 1::2].diagonal(), 0.75))
    return Scale(round(low, 3), round(max(high, low + 0.05), 3))


def scale_for(fingerprint: str | None) -> Scale:
    """Return the scale of a known embedder by its fingerprint; that of MiniLM where it was not measured."""
    return _LEXICAL if fingerprint is not None and fingerprint.startswith("lexical-") else _MINILM


# What `measure_scale` gives for the lexical embedder and for all-MiniLM-L6-v2.
_LEXICAL: Final = Scale(0.013, 0.43)
_MINILM: Final = Scale(0.216, 0.779)


class CommandSimilarity:
    """Similarity of single commands, given as templates.

    What two commands do decides: the same program, verb and object; an equivalent tool of the same family;
    opposite verbs (0); one of them forced (half). Where the tables know no answer, vectors may lift the
    similarity, never to more than `CEILING`. Thread-safe; features of the templates used last are kept, a
    bounded number.

    Parameters
    ----------
    cosines : callable, optional
        ``cosines(first, second)`` returns float32 of shape (len(first), len(second)): cosines of the
        templates' vectors, NaN where one has none; or None when there are none at all. Without it structure
        alone counts.
    scale : Scale or callable returning one, optional
        The embedder's scale, see `measure_scale`; a callable is asked at each use. Default: that of MiniLM.
    beside : CommandSimilarity, optional
        One that compares the same templates with other vectors: what was read of them is kept once for both.
    """

    def __init__(
        self,
        cosines: Cosines | None = None,
        scale: Scale | Callable[[], Scale | None] | None = None,
        beside: CommandSimilarity | None = None,
    ) -> None:
        self._cosines = cosines
        self._scale = scale
        self._lock: threading.Lock = threading.Lock() if beside is None else beside._lock
        self._features: _Features = _Features() if beside is None else beside._features

    def matrix(self, query: Sequence[str], others: Sequence[str]) -> Floats:
        """Return similarities of two lists of templates: float32 in 0..1, shape (len(query), len(others)).

        Equal templates have similarity 1. Symmetric up to rounding.
        """
        return self.compare(query, others)[0]

    def compare(self, query: Sequence[str], others: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return `matrix`, and whether it stays so: False where a vector is missing, which may still come."""
        shape = len(query), len(others)
        if not all(shape):
            return np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.bool_)
        with self._lock:
            left, right = self._features.take(query), self._features.take(others)
        scores, lift = _structure(left, right)
        stays = np.full(shape, self._cosines is None)
        cosines = self._cosines(query, others) if self._cosines is not None else None
        if cosines is not None:
            stays = ~np.isnan(cosines)
            near = np.where(stays, self._current_scale().apply(cosines), np.float32(0.0))
            scores += lift * near * np.maximum(CEILING - scores, 0.0)
        np.multiply(scores, np.float32(FORCED), out=scores, where=left.forced[:, None] != right.forced)
        np.copyto(scores, 1.0, where=left.identity[:, None] == right.identity)
        return scores, stays

    def weights(self, templates: Sequence[str]) -> Floats:
        """Return what each command of a workflow counts in `align`: 1, `LOOK` or `PREPARE`; shape (n,)."""
        with self._lock:
            return self._features.take(templates).share

    def substitution(self, query: Sequence[str], others: Sequence[str]) -> Floats:
        """Return what one command counts at least in the place of another in `align`, shape as `matrix`.

        A program that stands in no table may well be an equivalent tool; another use of the same one is none.
        """
        with self._lock:
            program, strange = self._features.programs(query)
            other, unknown = self._features.programs(others)
        doubt = (strange[:, None] | unknown) & (program[:, None] != other)
        return np.where(doubt, np.float32(UNKNOWN_SUBSTITUTION), np.float32(SUBSTITUTION))

    def _current_scale(self) -> Scale:
        scale = self._scale() if callable(self._scale) else self._scale
        return scale or scale_for(None)


class KeptSimilarity:
    """Similarities of the commands of a context to those of patterns: most pairs come up again at the next step.

    To be used by one thread at a time.

    Parameters
    ----------
    similarity : CommandSimilarity
    space : callable
        Names the space of the vectors in use: what is kept holds for one space, in which a vector stays.

    Attributes
    ----------
    CELLS, COLUMNS : int
        So many similarities are kept, to so many commands of patterns.
    """

    CELLS, COLUMNS = 1 << 21, 16_384

    def __init__(self, similarity: CommandSimilarity, space: Callable[[], object]) -> None:
        self._similarity = similarity
        self._space = space
        self._kept_of: object = None
        self._columns: dict[int, int] = {}
        self._rows: dict[str, Floats] = {}

    def matrix(
        self, query: Sequence[str], others: Sequence[int], texts: Callable[[Sequence[int]], Sequence[str]]
    ) -> Floats:
        """Return what `CommandSimilarity.matrix` does; `texts` tells the templates of ids, where they are needed."""
        if not query or len(others) > self.COLUMNS // 2 or len(query) * self.COLUMNS > self.CELLS:
            return self._similarity.matrix(query, texts(others))
        space = self._space()
        columns = len(self._columns) + len(others)
        full = columns > self.COLUMNS or columns * (len(self._rows) + len(query)) > self.CELLS
        if full or space != self._kept_of:
            self.forget()
            self._kept_of = space
        places = np.array([self._columns.setdefault(number, len(self._columns)) for number in others], dtype=np.intp)
        new = np.array([text not in self._rows for text in query], dtype=np.bool_)
        rows = [self._row(text) for text in query]
        scores = np.stack([row[places] for row in rows])
        gaps = np.isnan(scores[~new]).any(axis=0)
        for lines, missing in ((new, np.ones_like(gaps)), (~new, gaps)):
            at, to = np.flatnonzero(lines), np.flatnonzero(missing)
            if len(at) and len(to):
                found, stays = self._similarity.compare(
                    [query[i] for i in at.tolist()], texts([others[i] for i in to.tolist()])
                )
                scores[np.ix_(at, to)] = found
                for i, row in zip(at.tolist(), np.where(stays, found, np.nan), strict=True):
                    rows[i][places[to]] = row
        return scores

    def forget(self) -> None:
        """Let go of what is kept."""
        self._columns, self._rows, self._kept_of = {}, {}, None

    def _row(self, text: str) -> Floats:
        """Return the kept similarities of a command, NaN where there is none, with a place for each column."""
        row = self._rows.get(text)
        if row is None or len(row) < len(self._columns):
            size = 256
            while size < len(self._columns):
                size *= 2
            grown = np.full(size, np.nan, dtype=np.float32)
            if row is not None:
                grown[: len(row)] = row
            row = self._rows[text] = grown
        return row


@dataclass(frozen=True, slots=True)
class _Batch:
    """Features of templates: per template, and per act; `starts` is where each template's acts begin."""

    identity: NDArray[np.int64]
    share: Floats
    forced: NDArray[np.bool_]
    starts: Indices
    codes: NDArray[np.int64]  # (acts, 5): program, family, verb, job, object
    sides: NDArray[np.int64]  # (acts, 2): bit sets, left and right side of the pairs in OPPOSITES
    details: Floats  # (acts, buckets), rows of unit length
    known: NDArray[np.bool_]  # (acts,)
    weight: Floats  # (acts,), sums to 1 in each template


class _Features:
    """Features of templates, kept for those used last. Not thread-safe."""

    def __init__(self) -> None:
        self._clear(256)

    def _clear(self, size: int) -> None:
        self._slots: dict[str, int] = {}
        self._clock = self._acts = 0
        # Of each template; its acts stand from `_first` on in the other columns.
        self._first = np.zeros(size, dtype=np.int64)
        self._count = np.zeros(size, dtype=np.int64)
        self._share = np.zeros(size, dtype=np.float32)
        self._flags = np.zeros((size, 2), dtype=np.bool_)
        self._program = np.zeros(size, dtype=np.int64)
        self._identity = np.zeros(size, dtype=np.int64)
        self._used = np.zeros(size, dtype=np.int64)
        # Of each act.
        self._codes = np.zeros((size, 5), dtype=np.int64)
        self._sides = np.zeros((size, 2), dtype=np.int64)
        self._details = np.zeros((size, _DETAIL_BUCKETS), dtype=np.float32)
        self._known = np.zeros(size, dtype=np.bool_)
        self._weight = np.zeros(size, dtype=np.float32)

    def take(self, templates: Sequence[str]) -> _Batch:
        """Return the features of `templates`."""
        table, slots = self._locate(templates)
        return table._gather(slots)

    def programs(self, templates: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the main program of each template, and whether it runs one that stands in no table."""
        table, slots = self._locate(templates)
        return table._program[slots], table._flags[slots, 1]

    def _locate(self, templates: Sequence[str]) -> tuple[_Features, list[int]]:
        """Return the table that holds `templates`, and their rows in it."""
        if len(templates) > _CAPACITY // 2:
            # More than the table is meant to hold: read them in a table of their own, which is then dropped.
            own = _Features()
            own._add(dict.fromkeys(templates))
            return own, [own._slots[t] for t in templates]
        missing = {t for t in templates if t not in self._slots}
        if len(self._slots) + len(missing) > _CAPACITY:
            self._forget()
            missing = {t for t in templates if t not in self._slots}
        if missing:
            self._add(missing)
        slots = [self._slots[t] for t in templates]
        self._clock += 1
        self._used[slots] = self._clock
        return self, slots

    def _gather(self, slots: list[int]) -> _Batch:
        rows = np.array(slots, dtype=np.int64)
        starts, place = self._places(rows)
        return _Batch(
            identity=self._identity[rows],
            share=self._share[rows],
            forced=self._flags[rows, 0],
            starts=starts,
            codes=self._codes[place],
            sides=self._sides[place],
            details=self._details[place],
            known=self._known[place],
            weight=self._weight[place],
        )

    def _places(self, rows: NDArray[np.int64]) -> tuple[Indices, Indices]:
        """Return where the acts of each of `rows` begin among theirs, and where all of them stand in the columns."""
        counts = self._count[rows]
        starts = np.concatenate(([0], np.cumsum(counts[:-1]))).astype(np.intp)
        place = np.repeat(self._first[rows] - starts, counts) + np.arange(counts.sum())
        return starts, place.astype(np.intp)

    def _add(self, templates: Iterable[str]) -> None:
        """Read templates that are not here, each once."""
        codes: list[tuple[int, int, int, int, int]] = []
        sides: list[tuple[int, int]] = []
        of_acts: list[tuple[bool, float]] = []
        details: list[tuple[int, float]] = []
        columns: list[tuple[int, int, int, int, float, bool, bool]] = []
        for slot, template in enumerate(templates, len(self._slots)):
            acts = read(template)
            heavy = [act for act in acts if act.weight >= 0.5]
            main = heavy or acts
            looks = all(act.verb in LOOKING for act in main)
            columns.append(
                (
                    self._acts + len(codes),
                    len(acts),
                    hash(template),
                    _code(main[0].program),
                    LOOK if looks else 1.0 if heavy else PREPARE,
                    any(act.forced for act in acts),
                    not all(act.known for act in heavy),
                )
            )
            self._slots[template] = slot
            total = sum(act.weight for act in acts)
            for act in acts:
                for detail in act.details:
                    bucket = _code(detail) % _DETAIL_BUCKETS
                    details.append((len(codes) * _DETAIL_BUCKETS + bucket, 1.0 if detail[0] == "-" else 0.5))
                codes.append(
                    (
                        _code(act.program),
                        _code(act.family),
                        _code(act.verb) if act.verb else -1,  # a verb that is not named is shared by nobody
                        _code(f"{act.family}\0{act.verb}\0{act.object}"),
                        _code(act.object),
                    )
                )
                sides.append(_SIDES.get(act.effect, (0, 0)))
                of_acts.append((act.known, act.weight / total))
        self._grow(_COLUMNS, len(self._slots))
        self._grow(_ACT_COLUMNS, self._acts + len(codes))
        new = slice(len(self._slots) - len(columns), len(self._slots))
        first, count, identity, program, share, forced, strange = zip(*columns, strict=True)
        self._first[new], self._count[new], self._identity[new] = first, count, identity
        self._program[new], self._share[new] = program, share
        self._flags[new, 0], self._flags[new, 1] = forced, strange
        new = slice(self._acts, self._acts + len(codes))
        self._codes[new], self._sides[new] = codes, sides
        self._known[new], self._weight[new] = zip(*of_acts, strict=True)
        rows = np.zeros((len(codes), _DETAIL_BUCKETS), dtype=np.float32)
        if details:
            where, amount = zip(*details, strict=True)
            np.add.at(rows.reshape(-1), np.array(where), np.array(amount, dtype=np.float32))
        lengths = np.sqrt((rows * rows).sum(axis=1))
        rows[lengths == 0, _DETAIL_BUCKETS - 1] = lengths[lengths == 0] = 1.0
        self._details[new] = rows / lengths[:, None]
        self._acts += len(codes)

    def _grow(self, columns: Sequence[str], size: int) -> None:
        for name in columns:
            old = getattr(self, name)
            if size > len(old):
                new = np.zeros((max(size, 2 * len(old)), *old.shape[1:]), dtype=old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)

    def _forget(self) -> None:
        """Drop the half that was used longest ago."""
        order = np.argsort(-self._used[: len(self._slots)], kind="stable")[: len(self._slots) // 2]
        names = list(self._slots)
        starts, place = self._places(order)
        for columns, kept in ((_COLUMNS, order), (_ACT_COLUMNS, place)):
            for name in columns:
                old = getattr(self, name)
                new = np.zeros_like(old)
                new[: len(kept)] = old[kept]
                setattr(self, name, new)
        self._first[: len(order)] = starts
        self._acts = len(place)
        self._slots = {names[slot]: i for i, slot in enumerate(order)}


def _code(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"))


_NOTHING: Final = _code("")


def _sides() -> dict[str, tuple[int, int]]:
    table: dict[str, tuple[int, int]] = {}
    for bit, (left, right) in enumerate(OPPOSITES):
        for verbs, side in ((left, 0), (right, 1)):
            for verb in verbs.split():
                masks = list(table.get(verb, (0, 0)))
                masks[side] |= 1 << bit
                table[verb] = (masks[0], masks[1])
    return table


_SIDES: Final = _sides()


def _structure(left: _Batch, right: _Batch) -> tuple[Floats, Floats]:
    """Return similarity by structure, and how far vectors may lift it."""
    program, family, verb, job = ((left.codes[:, i, None] == right.codes[:, i]) for i in range(4))
    verb &= left.codes[:, 2, None] >= 0
    opposite = ((left.sides[:, 0, None] & right.sides[:, 1]) | (left.sides[:, 1, None] & right.sides[:, 0])) != 0
    acts = np.full(job.shape, UNRELATED, dtype=np.float32)
    acts[family] = COMMON_FAMILY
    acts[program] = COMMON_PROGRAM
    acts[verb] = COMMON_VERB
    unknown = ~(left.known[:, None] & right.known)
    acts[verb & unknown] = UNKNOWN_VERB
    acts[verb & family] = SAME_VERB
    vague = (left.codes[:, 4, None] == _NOTHING) != (right.codes[:, 4] == _NOTHING)
    acts[verb & family & vague] = VAGUE_OBJECT
    acts[job] = SAME_JOB
    acts[job & program] = SAME_PROGRAM
    acts[opposite] = 0.0
    acts += np.where(job & ~opposite, DETAILS * (left.details @ right.details.T), 0.0).astype(np.float32)
    # Each act of either line looks for its best answer in the other: a list or pipeline is as alike as its
    # parts.
    forth = np.maximum.reduceat(acts, right.starts, axis=1) * left.weight[:, None]
    back = np.maximum.reduceat(acts, left.starts, axis=0) * right.weight
    scores = (np.add.reduceat(forth, left.starts, axis=0) + np.add.reduceat(back, right.starts, axis=1)) / 2
    opposite &= (left.weight[:, None] > 0.3) & (right.weight > 0.3)
    barred = np.logical_or.reduceat(np.logical_or.reduceat(opposite, left.starts, axis=0), right.starts, axis=1)
    silent = np.logical_or.reduceat(np.logical_or.reduceat(unknown, left.starts, axis=0), right.starts, axis=1)
    lift = np.where(barred, 0.0, np.where(silent, UNKNOWN_LIFT, LIFT)).astype(np.float32)
    return np.clip(scores, 0.0, 1.0), lift


# -- alignment


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a query aligns with each of P patterns.

    Attributes
    ----------
    similarity : float32 of shape (P,)
        0..1.
    start, end : intp of shape (P,)
        The matched part is ``steps[start:end]``, counted from the pattern's own beginning; empty where
        nothing matches.
    """

    similarity: Floats
    start: Indices
    end: Indices


def align(
    similarities: Floats,
    steps: Indices,
    offsets: Indices,
    weights: Floats | None = None,
    substitution: Floats | float = SUBSTITUTION,
) -> Alignment:
    """Align a query with patterns: in order, anywhere in a pattern, with gaps and substitutions.

    The score is the weighted mean, over the commands of the query, of the similarity to the step that each is aligned
    with: at least `substitution` for a step that merely stands in its place, 0 for an opposite one (similarity 0) or
    none. Taken off are `GAP` mean weights for each step of the pattern between matched ones, `DISORDER` of what the
    pattern holds of the query in another order, each step once, and `UNDONE` of the weight of commands that the
    pattern lacks while it holds their opposites. The similarity is that score to the power `POWER`.

    Steps before and after the match cost nothing, so that a query is found within a long session; the other way round
    a short pattern answers a long query only in part.

    Parameters
    ----------
    similarities : float32 of shape (m, U)
        Of the query's commands to the distinct templates.
    steps : intp of shape (N,)
        The patterns' steps one after the other, as columns of `similarities`.
    offsets : intp of shape (P + 1,)
        Pattern p is ``steps[offsets[p]:offsets[p + 1]]``.
    weights : float32 of shape (m,), optional
        What each command of the query counts (`CommandSimilarity.weights`); equal by default.
    substitution : float32 of shape (m, U), or float
        See `CommandSimilarity.substitution`.
    """
    m = len(similarities)
    lengths = np.diff(offsets)
    similarity = np.zeros(len(lengths), dtype=np.float32)
    start = np.zeros(len(lengths), dtype=np.intp)
    end = np.zeros(len(lengths), dtype=np.intp)
    filled = np.flatnonzero(lengths)
    if not m or not len(filled):
        return Alignment(similarity, start, end)
    share = np.full(m, 1.0) if weights is None else np.asarray(weights, dtype=np.float64)
    share /= share.sum()
    scan = _Scan(np.where(similarities <= 0, 0, np.maximum(similarities, substitution)), steps, offsets, share)
    for row in range(m):
        scan.advance(row)
    begins = offsets[:-1][filled]
    top = np.maximum.reduceat(scan.best, begins)
    place = np.arange(len(steps))
    at_top = np.where(scan.best == np.repeat(top, lengths[filled]), place, len(steps))
    last = np.minimum.reduceat(at_top, begins)
    matched = top > 0
    # What the pattern holds of the query in any order, and of what undoes it.
    spread = similarities[:, steps]
    anywhere = np.maximum.reduceat(spread, begins, axis=1)
    undone = (np.minimum.reduceat(spread, begins, axis=1) <= 0) & (anywhere < COMMON_VERB)
    # A step answers one command, not two.
    once = np.add.reduceat((share[:, None] * similarities).max(axis=0)[steps], begins)
    ordered = top / _UNIT
    ordered -= DISORDER * np.maximum(np.minimum(share @ anywhere, once) - ordered, 0.0) + UNDONE * (share @ undone)
    similarity[filled] = np.clip(ordered, 0.0, 1.0) ** POWER
    start[filled] = np.where(matched, scan.first[last] - begins, 0)
    end[filled] = np.where(matched, last + 1 - begins, 0)
    return Alignment(similarity, start, end)


def continuations(similarities: Floats, steps: Indices, offsets: Indices) -> Floats:
    """Return how well a context ends on each step of the patterns: float32 in 0..1 of shape (N,).

    The context's last command sits on the step; the earlier ones lie before it, in order, with gaps and
    substitutions as in `align`. Each command weighs `RECENCY` times the next newer one, so that what was done
    last counts most. The step after a high value is what may come next.

    Parameters
    ----------
    similarities, steps, offsets
        As in `align`; the rows are the context, newest last.
    """
    m = len(similarities)
    if not m or not len(steps):
        return np.zeros(len(steps), dtype=np.float32)
    share = RECENCY ** np.arange(m - 1, -1, -1, dtype=np.float64)
    scan = _Scan(similarities, steps, offsets, share / share.sum())
    for row in range(m - 1):
        scan.advance(row)
    return np.clip(scan.ending(m - 1) / _UNIT, 0.0, 1.0).astype(np.float32)


class _Scan:
    """The alignment of one query with all patterns, one command of the query after the other.

    `best[j]` is the score of the best alignment that ends at or before step j of its pattern, less the gap from
    its end to j; `first[j]` is where that alignment begins. Scores are whole numbers of `1 / _UNIT`, so that ties
    are ties and a pattern's result does not depend on which others stand beside it.
    """

    def __init__(self, similarities: Floats, steps: Indices, offsets: Indices, share: NDArray[np.float64]) -> None:
        scores = np.rint(similarities * (share * _UNIT)[:, None]).astype(np.int64)
        self._rows = scores[:, steps]
        n = len(steps)
        lengths = np.diff(offsets)
        self._place = np.arange(n)
        self._heads = offsets[:-1][lengths > 0]
        # With the gap cost added up along a pattern, "the best so far less its distance" is a running maximum; a
        # rise from pattern to pattern, larger than any score, keeps that maximum from running over into the next.
        owner = np.repeat(np.arange(len(lengths)), lengths)
        self._ramp = round(GAP * _UNIT / len(share)) * self._place + 2 * _UNIT * owner
        self.best: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
        self.first: Indices = np.zeros(n, dtype=np.intp)

    def ending(self, row: int) -> NDArray[np.int64]:
        """Return the scores of alignments in which command `row` sits on each step."""
        scores: NDArray[np.int64] = self._rows[row].copy()
        scores[1:] += self.best[:-1]
        scores[self._heads] = self._rows[row, self._heads]
        return scores

    def advance(self, row: int) -> None:
        """Take command `row` of the query into account."""
        scores = self.ending(row)
        begins = np.empty_like(self.first)
        begins[1:] = self.first[:-1]
        np.copyto(begins, self._place, where=scores == self._rows[row])  # nothing before it
        lifted = scores + self._ramp
        running = np.maximum.accumulate(lifted)
        source = np.maximum.accumulate(np.where(lifted == running, self._place, 0))
        running -= self._ramp
        taken = running > self.best
        np.copyto(self.best, running, where=taken)
        np.copyto(self.first, begins[source], where=taken)
