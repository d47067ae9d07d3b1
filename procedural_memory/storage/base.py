"""The storage interface: what a store keeps, reads and writes.

A store holds the *session log*, which is the truth, and *derived state*, which is only ever changed by applying a
`Delta` of integers and keyed entries. Applying the deltas of a set of sessions in any order gives the same
state, so that a merge equals learning the union and a rebuild equals what was there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from procedural_memory.storage.identity import MOMENT, digest_of, hash64, moment
from procedural_memory.storage.tally import COUNT
from procedural_memory.types import Command, Outcome, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BEGIN",
    "BEST_VALUES",
    "EVERYWHERE",
    "FOLLOWERS",
    "HALF_LIFE",
    "HOOK_STEPS",
    "IMPORTED",
    "LOOKED_AT",
    "LOOKED_THROUGH",
    "RECENT",
    "START",
    "SUCCEEDED",
    "Bounds",
    "Context",
    "Course",
    "Delta",
    "FeedbackRow",
    "Followed",
    "Follower",
    "LogRow",
    "PatternCounts",
    "PatternRow",
    "RuleCounts",
    "SessionRow",
    "ShownCounts",
    "Store",
    "ValueCounts",
    "chain_keys",
    "context_key",
    "hash64",
    "moment",
    "moment_start",
    "node_key",
    "pattern_row_id",
    "pattern_size",
    "recent_templates",
    "session_digest",
    "text_id",
    "usefulness",
]

START = ""
"""The template that stands before the first step of a session in contexts; never a node of the graph."""

RECENT = 64
"""How many of the newest followers of a context are kept, for decay computed at read."""

FOLLOWERS = 40
"""A context that was followed less often is read with all its followers; of another one, beside the recent ones, at
most so many of those that followed it more than once: what did so once, long ago, says nothing. With 64 nothing is
foreseen better (at most 0.12 points, now one way and now the other, on three data sets)."""

LOOKED_THROUGH: Final = 200_000
"""Among how many of the newest rows of the log lines that begin with a text are counted."""

LOOKED_AT: Final = 500
"""How many texts that begin so are looked at; where there are more, the lines of twice as many of the newest rows are
as well."""

BEGIN: Final = 64
"""How many characters of a text the index holds that texts are found with by how they begin."""

SUCCEEDED: Final = "0, 130, 143"
"""Exit statuses of what did its work: servers and the like are ended by Ctrl-C or a signal."""

HOOK_STEPS: Final = 100_000
"""Among how many of the newest rows of the log the steps of a shell's hook are looked for."""

IMPORTED = "import "
"""What the names of the settings begin with that say how far histories were read."""

HALF_LIFE: Final = 30 * 86_400.0
"""Seconds in which the support of a pattern halves. A month: what comes every month, a release, stays active from its
second time on; what was done twice and then no more is archived after two months, what was done a hundred times after
eight."""

_ID = struct.Struct(">q")
_SIGN: Final = 1 << 63
_ONES: Final = (1 << 64) - 1
_RECENT_ID = struct.Struct(f">{MOMENT.size}xq")
BEST_VALUES = 8
"""How many of the values seen in a place are kept at hand."""

ENTRY = MOMENT.size + _ID.size

_TRIMMED = 16 * RECENT
"""More of the followers of a context are not collected before all but the newest are dropped."""


@lru_cache(maxsize=65_536)
def text_id(text: str) -> int:
    """Return the id of a text: made of its content, so that every memory and process gives it the same."""
    return hash64(text)


def pattern_row_id(pattern_id: str) -> int:
    """Return the row id of a pattern: made of its id, the same in every memory."""
    return hash64("pattern", pattern_id)


def chain_keys(ids: Sequence[int], scope: str = "") -> list[int]:
    """Return the keys of the contexts made of the last 0, 1, 2 … of some texts within `scope`, shorter ones first.

    Each key is made of the one before, by a xor, two multiplications and shifts (as the finalizer of MurmurHash3 has
    them): there are two dozens a step, and a hash of all texts for each took as long as counting them.

    Parameters
    ----------
    ids : sequence of int
        Of the texts, oldest first.
    scope : str
    """
    key = _scope_key(scope)
    keys = [key if key < _SIGN else key - 2 * _SIGN]
    for number in reversed(ids):
        key = (key ^ number) * 0xFF51AFD7ED558CCD & _ONES
        key = (key ^ key >> 33) * 0xC4CEB9FE1A85EC53 & _ONES
        key ^= key >> 33
        keys.append(key if key < _SIGN else key - 2 * _SIGN)
    return keys


def context_key(templates: Sequence[str], scope: str = "") -> int:
    """Return the key of the context made of `templates` (oldest first) within `scope`."""
    return chain_keys([text_id(template) for template in templates], scope)[-1]


@lru_cache(maxsize=65_536)
def node_key(template: int) -> int:
    """Return the key of the context made of one template, by its id."""
    return chain_keys([template])[-1]


@lru_cache(maxsize=16_384)
def _scope_key(scope: str) -> int:
    return hash64("context", scope) & _ONES


EVERYWHERE: Final = context_key(())
"""The key of the context of all steps."""


def moment_start(when: bytes) -> float:
    """Return the session start that a moment was made of."""
    return float(MOMENT.unpack(when)[0])


def recent_entry(when: bytes, template: int) -> bytes:
    """Return one packed entry of a context's recent followers."""
    return when + _ID.pack(template)


def session_digest(commands: Iterable[Command], outcome: Outcome) -> bytes:
    """Return a hash that names the content of a session."""
    return digest_of(outcome, ((c.command, c.exit_code, c.cwd, c.timestamp) for c in commands))


def merge_recent(blob: bytes, entries: Iterable[bytes]) -> bytes:
    """Return `blob` with `entries` merged in: the `RECENT` newest, in canonical order, each once."""
    new = sorted(set(entries))
    if not blob or new[0] > blob[-ENTRY:]:
        return (blob + b"".join(new))[-RECENT * ENTRY :]
    old = [blob[i : i + ENTRY] for i in range(0, len(blob), ENTRY)]
    return b"".join(sorted({*old, *new})[-RECENT:])


def recent_templates(blob: bytes) -> list[int]:
    """Return the template ids of a packed list of followers, oldest first."""
    return [number for (number,) in _RECENT_ID.iter_unpack(blob)]


@dataclass(slots=True)
class SessionRow:
    """A session of the log. `start` places it in canonical order; `digest` names its content once closed, until then
    `owner` the process in which it goes on."""

    id: int
    session_id: str
    start: float
    outcome: Outcome
    closed: bool
    source: str | None
    digest: bytes
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the log: a step (`command` is set) or the close of its session (`command` is None)."""

    seq: int
    session: int
    step: int
    command: Command | None


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What became of a prediction that was shown. Two rows that are equal but for `project` are one event.

    Attributes
    ----------
    step : int
        After how many steps of its session; 0 where there is no session.
    after : str or None
        The command line before it, None at the start. Of a session it is what the log says, and is not stored.
    line : str
        The command line that was shown.
    verdict : {"accepted", "rejected", "ignored"}
    timestamp : float
        When it was told, in seconds since the epoch.
    project : str or None
    """

    step: int
    after: str | None
    line: str
    verdict: Verdict
    timestamp: float
    project: str | None = None


@dataclass(slots=True)
class Follower:
    """How often a template followed a context.

    `success` and `failure` count transitions; `sessions` the sessions it was seen in, of which `good` ended in success
    and `bad` in failure.
    """

    template: int
    count: int
    sessions: int
    success: int
    failure: int
    good: int
    bad: int


@dataclass(slots=True)
class Context:
    """What followed a context: how often in all, the newest followers (oldest first), and how often each.

    Shared by all who ask for it, and so not to be changed.
    """

    total: int
    recent: tuple[int, ...]
    counts: Mapping[int, int]
    """Template -> how often it followed: of those that `FOLLOWERS` tells, best first, then of the recent ones."""
    complete: bool = True
    """Whether `counts` has all followers."""


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """Values seen in a place: the `BEST_VALUES` most frequent ones with their counts, those seen equally often newest
    first; how many values were seen in all, and how many different ones."""

    best: Mapping[str, int]
    total: int
    kinds: int


@dataclass(frozen=True, slots=True)
class Course:
    """A finished session whose outcome is known: its steps as `memory.courses.course_of` packs them."""

    success: bool
    steps: bytes


RuleCounts: TypeAlias = Mapping[str, Sequence[int]]
"""Fill rule -> (times offered, times right)."""

ShownCounts: TypeAlias = Sequence[int]
"""Of what was shown, how often it was accepted, rejected and ignored."""


@dataclass(slots=True)
class PatternRow:
    """A pattern as stored. `newest` is the moment of the session that `example` comes from."""

    pattern_id: str
    templates: tuple[str, ...]
    keys: frozenset[int]
    success: int = 0
    failure: int = 0
    unknown: int = 0
    duration_ms: int = 0
    timed: int = 0
    newest: bytes = b""
    example: tuple[str, ...] = ()
    id: int = 0


@dataclass(frozen=True, slots=True)
class PatternCounts:
    """Id and outcome counts of a pattern."""

    pattern_id: str
    success: int
    failure: int

    @property
    def confidence(self) -> float:
        """Posterior mean of the success rate under a Beta(1, 1) prior."""
        return (self.success + 1) / (self.success + self.failure + 2)


class Bounds(NamedTuple):
    """How many patterns are in use at most, and how many bytes they take (`pattern_size`); None: any number."""

    patterns: int | None = None
    size: int | None = None

    def hold(self, patterns: int, size: int) -> bool:
        """Return whether so many patterns that take so many bytes keep within the bounds."""
        return (self.patterns is None or patterns <= self.patterns) and (self.size is None or size <= self.size)


def usefulness(success: int, failure: int, unknown: int, newest: bytes) -> float:
    """Return what a pattern is worth, to be compared with others: the logarithm of its support, at whatever time.

    Its sessions, halved for every `HALF_LIFE` since the newest one; one of unknown outcome counts half, one that failed
    a quarter. Another session never makes a pattern worth less.
    """
    return math.log2(success + unknown / 2 + failure / 4) + moment_start(newest) / HALF_LIFE


def pattern_size(steps: int, example: int, keys: int) -> int:
    """Return how many bytes a pattern of so many steps, bytes of its example and keys takes in a store, about."""
    return 200 + 9 * steps + example + 30 * keys


@dataclass(slots=True)
class Followed:
    """What is added to a context.

    Attributes
    ----------
    total : int
        Steps that followed it.
    rows : dict of int to int
        Text id of what followed -> what is counted of it (`storage.tally`).
    newest : list of bytes
        Entries of steps (`recent_entry`), where the newest followers are kept.
    head : int or None
        Of a context of order 1, a node of the graph: the id of its template.
    """

    total: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    newest: list[bytes] = field(default_factory=list)
    head: int | None = None

    def add(self, number: int, counts: int) -> None:
        """Add to what is counted of a follower."""
        self.rows[number] = self.rows.get(number, 0) + counts

    def follow(self, number: int, counts: int = COUNT, entry: bytes | None = None) -> None:
        """Count a follower; `entry` tells of it where the newest followers are kept."""
        self.total += 1
        self.rows[number] = self.rows.get(number, 0) + counts
        if entry is not None:
            newest = self.newest
            newest.append(entry)
            if len(newest) > _TRIMMED:
                newest.sort()
                del newest[:-RECENT]


@dataclass(slots=True)
class Delta:
    """Increments to the derived state. Every field merges commutatively into what is stored."""

    texts: dict[int, str] = field(default_factory=dict)
    """id -> text, of what the contexts speak of"""
    contexts: dict[int, Followed] = field(default_factory=dict)
    """key of a context -> what is added to it"""
    values: dict[tuple[int, str], tuple[int, bytes]] = field(default_factory=dict)
    """(key of a place, value) -> (count, newest moment)"""
    patterns: dict[str, PatternRow] = field(default_factory=dict)
    rules: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """key of a place -> fill rule -> (offered, right)"""
    shown: dict[int, list[int]] = field(default_factory=dict)
    """key of what was shown -> [accepted, rejected, ignored]"""
    courses: dict[bytes, Course] = field(default_factory=dict)
    """moment of a session -> how it went and ended"""

    def id_of(self, text: str) -> int:
        """Return the id of a text that the contexts speak of."""
        number = text_id(text)
        self.texts[number] = text
        return number

    def context(self, key: int) -> Followed:
        """Return what is added to a context, to be added to."""
        if (context := self.contexts.get(key)) is None:
            context = self.contexts[key] = Followed()
        return context

    def counted(self) -> list[str]:
        """Return the templates of the steps that are added."""
        steps = self.contexts.get(EVERYWHERE)
        return [] if steps is None else [self.texts[number] for number in steps.rows if number in self.texts]


class Store(Protocol):
    """What every store does. One writer at a time; a transaction that fails leaves the store as it was."""

    @property
    def path(self) -> str | None:
        """Where it is: the file, or an address without its password; None in memory."""
        ...

    def transaction(self, patience: float | None = None) -> AbstractContextManager[None]:
        """Run the body as one transaction, rolled back whole when it raises. Nested uses join the outer one.

        `patience`: seconds to wait for others that write.
        """
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Let the body see one state, whatever others write meanwhile; it must not write. Nested uses join."""
        ...

    def refresh(self) -> None:
        """Let go of what was read before another process changed it; called before each use."""
        ...

    def backup(self, path: str, ranker: bytes) -> None:
        """Copy the store, with what the ranker has learned, to an empty file that can be opened as a store."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...

    # -- the log
    def add_session(self, session_id: str, start: float, source: str | None, owner: str | None = None) -> int:
        """Open a session, that goes on in the process `owner`, and return its id."""
        ...

    def add_steps(self, session: int, first: int, commands: Sequence[Command]) -> None:
        """Append steps to a session, numbered from `first`."""
        ...

    def step_count(self, session: int) -> int:
        """Return how many steps a session has."""
        ...

    def next_step(self, session: int) -> int | None:
        """Return the number of the next step of a session that is open, None when it is closed or not there."""
        ...

    def set_start(self, session: int, start: float) -> None:
        """Place a session elsewhere in canonical order; wants a `reset_derived` after it if it has been derived."""
        ...

    def close_session(self, session: int, outcome: Outcome, digest: bytes) -> None:
        """Close a session: sets its outcome and appends the close to the log."""
        ...

    def find_session(self, key: int | str) -> SessionRow | None:
        """Return the session with this row id or session id."""
        ...

    def get_session(self, session: int) -> SessionRow:
        """Return a session by its row id."""
        ...

    def sessions(self) -> Iterator[SessionRow]:
        """Yield all sessions in canonical order."""
        ...

    def open_sessions(self) -> list[SessionRow]:
        """Return the sessions that are not closed, in canonical order."""
        ...

    def newest_start(self) -> float | None:
        """Return the start of the newest session, None where there is none."""
        ...

    def steps(self, session: int, first: int = 0) -> list[Command]:
        """Return the steps of a session in order, from number `first` on."""
        ...

    def tail(self, limit: int) -> list[LogRow]:
        """Return the next rows of the log that are not yet part of the derived state."""
        ...

    def last_row(self) -> int:
        """Return the number of the last row of the log, 0 where it is empty."""
        ...

    def take_in_spooled(self, patience: float) -> int:
        """Write what hooks could not write when it happened, outside of transactions; return how many steps."""
        ...

    def rows_after(self, seq: int, limit: int) -> list[LogRow]:
        """Return the next rows of the log behind a row."""
        ...

    def lines_beginning(self, text: str, limit: int) -> list[str]:
        """Return the single lines among the newest steps that begin with a text and go on: those first that did not
        fail each time, then the most frequent ones.

        However many begin so, the time is bounded: of more than `LOOKED_AT` texts the first ones in the order of the
        alphabet are looked at, and the lines of the newest rows.
        """
        ...

    def told_elsewhere(self, command: Command, within: float) -> list[LogRow]:
        """Return the rows of other sources with this line, from a host that may be the same, at most `within` seconds
        from its time, in the order of the log; none where the source or the time is unknown."""
        ...

    def sources_between(self, begin: float, end: float) -> int:
        """Return how many sources tell of steps of that time, the bounds included."""
        ...

    def has_step(self, command: Command, until: int) -> bool:
        """Return whether a row up to number `until` has this line, of the same source and the same time."""
        ...

    def told_by_hook_alone(self, source: str, host: str) -> list[tuple[str, str, float]]:
        """Return the session id, line and time of the newest steps of a shell's hook on a host, in the order of the
        log, without those that a step of the shell's history `source` has line and time of."""
        ...

    def replace_steps(self, session: int, commands: Sequence[Command], digest: bytes) -> None:
        """Replace the steps of a session in the log (used by forgetting); wants a `reset_derived` after it."""
        ...

    def rewrite_session(
        self, session: int, session_id: str, source: str | None, commands: Sequence[Command], digest: bytes
    ) -> None:
        """Put other texts into a session and its steps, one by one; wants a `reset_derived` after it."""
        ...

    def delete_sessions(self, sessions: Iterable[int]) -> None:
        """Delete sessions from the log, with their feedback; wants a `reset_derived` after it."""
        ...

    def add_feedback(self, session: int | None, rows: Iterable[FeedbackRow]) -> None:
        """Add what became of predictions, shown in a session or in none; what is there already is left as it is."""
        ...

    def feedback(self, session: int | None) -> list[FeedbackRow]:
        """Return what became of the predictions of a session, or of those of none, in an order that is always so."""
        ...

    def feedback_tail(self, limit: int) -> list[tuple[int, FeedbackRow]]:
        """Return the next rows of feedback, with their numbers, that are not yet part of the derived state."""
        ...

    def replace_feedback(self, session: int | None, rows: Iterable[FeedbackRow]) -> None:
        """Replace the feedback of a session, or that of none; wants a `reset_derived` after it."""
        ...

    # -- derived state
    def apply(self, delta: Delta, upto: int) -> bool:
        """Merge a delta and mark the log as derived up to row `upto`; return whether it counts templates never seen.

        Courses count up ``meta("courses")``.
        """
        ...

    def apply_shown(self, delta: Delta, upto: int) -> None:
        """Merge `Delta.shown` and mark the feedback as derived up to row `upto`."""
        ...

    def mark_again(self, session: int, step: int) -> None:
        """Mark a step that is counted where another source tells of it; number -1: its session."""
        ...

    def is_marked_again(self, session: int, step: int) -> bool:
        """Return whether a step, or with number -1 its session, is marked."""
        ...

    def marked_again(self, session: int) -> set[int]:
        """Return the numbers that are marked of a session."""
        ...

    def reset_derived(self) -> None:
        """Drop the derived state, so that the whole log is its tail again.

        Counts up ``meta("generation")`` and ``meta("courses")``.
        """
        ...

    def drop_unused(self) -> None:
        """Drop texts and vectors that neither the log nor the derived state refers to (after forgetting).

        When the transaction has ended, or as soon as nobody else reads what was there before, no file of the store
        holds anything that was deleted, and the space is given back.
        """
        ...

    def bound_patterns(self, bounds: Bounds) -> None:
        """Keep within bounds from now on, whoever writes: the most useful patterns are in use (`usefulness`; of two
        that are worth the same that of the greater id), as many as fit, up to the first that does not. The others are
        kept on the shelf with their counts, and are in use again when they are worth more. A pattern that does not fit
        by itself never is."""
        ...

    def bounds(self) -> Bounds:
        """Return what the patterns are kept within."""
        ...

    def template_ids(self, templates: Iterable[str]) -> dict[str, int]:
        """Return the ids of those `templates` that were counted."""
        ...

    def template_text(self, template: int) -> str:
        """Return a template by its id."""
        ...

    def template_texts(self, templates: Sequence[int]) -> list[str]:
        """Return templates by their ids."""
        ...

    def contexts(self, keys: Sequence[int]) -> dict[int, Context]:
        """Return what followed contexts that were seen: what `FOLLOWERS` tells, plus the recent ones."""
        ...

    def context(self, key: int) -> Context | None:
        """Return what followed a context."""
        ...

    def followers(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Follower]:
        """Return the counts of followers, by context and template, of those that were seen."""
        ...

    def follower(self, key: int, template: int) -> Follower | None:
        """Return the counts of one follower of a context."""
        ...

    def edges(self) -> Iterator[tuple[str, Follower]]:
        """Yield the transitions: (template, what followed it)."""
        ...

    def template_counts(self) -> Iterator[tuple[str, int]]:
        """Yield (template, how often it was seen), sorted by template."""
        ...

    def values(self, keys: Sequence[int]) -> dict[int, ValueCounts]:
        """Return the values counted under those keys that are known."""
        ...

    def rules(self, keys: Sequence[int]) -> dict[int, RuleCounts]:
        """Return how often each fill rule offered a value and was right, for those keys that are known."""
        ...

    def shown(self, keys: Sequence[int]) -> dict[int, ShownCounts]:
        """Return what became of what was shown, for those keys that are known."""
        ...

    def courses(self, limit: int) -> list[Course]:
        """Return the newest `limit` courses, oldest first."""
        ...

    def outcome_totals(self) -> tuple[int, int]:
        """Return how many sessions ended in success, and how many in failure; each once, whoever tells of it."""
        ...

    def patterns_with(self, keys: Sequence[int], limit: int) -> list[int]:
        """Return at most `limit` ids of patterns that hold most of `keys`, rare keys weighing more, best first."""
        ...

    def pattern_templates(self, ids: Sequence[int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (row id, template ids) of those of the patterns that are there, in order."""
        ...

    def pattern_counts(self, ids: Sequence[int]) -> dict[int, PatternCounts]:
        """Return id and outcome counts of patterns by row id."""
        ...

    def pattern(self, key: int | str) -> PatternRow | None:
        """Return a pattern by row id or pattern id."""
        ...

    def pattern_runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield of each pattern how many sessions followed it, and the moment of the newest one."""
        ...

    def pattern_heads(self, examples: bool) -> Iterator[PatternRow]:
        """Yield all patterns without their templates, and without their example unless that is wanted."""
        ...

    def pattern_ids(self) -> list[str]:
        """Return all pattern ids, sorted."""
        ...

    def totals(self) -> dict[str, int]:
        """Return the sizes shown by ``stats()``; of patterns on the shelf only how many there are."""
        ...

    # -- vectors
    def missing_vectors(self, fingerprint: str, limit: int) -> list[tuple[int, str]]:
        """Return templates that have no vector of this fingerprint."""
        ...

    def count_templates(self) -> int:
        """Return how many templates were counted."""
        ...

    def count_missing(self, fingerprint: str) -> int:
        """Return how many templates have no vector of this fingerprint."""
        ...

    def vectors_of(self, fingerprint: str, templates: Sequence[int]) -> dict[int, bytes]:
        """Return the stored float32 vectors of some templates."""
        ...

    def put_vectors(self, fingerprint: str, vectors: Mapping[int, bytes]) -> None:
        """Store float32 vectors by template id."""
        ...

    def vectors(self, fingerprint: str) -> Iterator[tuple[int, bytes]]:
        """Yield (template id, float32 bytes) in id order."""
        ...

    def vector_ids(self, fingerprint: str) -> list[int]:
        """Return the ids of the templates that have a vector of this fingerprint."""
        ...

    def count_vectors(self, fingerprint: str) -> int:
        """Return how many vectors of this fingerprint there are."""
        ...

    def floors(self, fingerprint: str, full: int) -> dict[int, float]:
        """Return the least cosine among the neighbours of each template that has `full` of them."""
        ...

    def unlinked(self, fingerprint: str) -> list[int]:
        """Return templates that have a vector but no neighbours yet."""
        ...

    def put_neighbours(self, fingerprint: str, neighbours: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """Store the nearest templates of templates: (template id, cosine), nearest first."""
        ...

    def neighbours(self, fingerprint: str, template: int) -> list[tuple[int, float]]:
        """Return the nearest templates of a template, nearest first; empty when not computed yet."""
        ...

    def meta(self, key: str) -> Any:
        """Return a recorded setting, or None."""
        ...

    def set_meta(self, key: str, value: str | int | float | bytes | None) -> None:
        """Record a setting."""
        ...

    def clear_meta(self, prefix: str) -> None:
        """Let go of the settings whose names begin with `prefix`."""
        ...
