"""Derives counts, patterns and outcomes from the session log.

The one way in which anything is learned: rows of the log become a `Delta` of integers. A batch and a live session
pass through the same code, so both give the same memory; so does any order of the sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, Protocol

from procedural_memory.commands.normalize import Normalized, analyze
from procedural_memory.memory.collecting import uncollected
from procedural_memory.memory.context import COUNTED, LINES, RATED, SessionContext, context_keys
from procedural_memory.memory.courses import LONGEST, pack_step
from procedural_memory.memory.feedback import count_feedback
from procedural_memory.memory.fills import learn_fills, may_be_kept
from procedural_memory.memory.patterns import index_keys, pattern_id_of
from procedural_memory.memory.tellings import SAME_TIME, is_told_elsewhere
from procedural_memory.storage.base import Course, Delta, LogRow, PatternRow, SessionRow, Store, moment, recent_entry
from procedural_memory.storage.tally import BAD, COUNT, FAILURE, GOOD, SESSION, SUCCESS
from procedural_memory.types import Command

__all__ = ["BATCH", "WATCHED", "WATCHED_LINES", "Deriver", "Learned"]

WATCHED = 2_000
"""Of a long tail the ranker learns from the newest rows only; counts come from all of them."""

WATCHED_LINES = 300
"""Of these, the newest rows from which the ranker of lines learns: to put lines together takes a while."""

BATCH = 16_000
"""So many rows of the log are counted at a time: the more, the more of what lies together is written together."""
_WATCHED_BATCH = 16
"""What the ranker learns from is what was counted before a batch: a small one keeps that near."""
_LIVE_SESSIONS = 1024


@dataclass(slots=True)
class _State:
    """What must be remembered of a session while its steps arrive."""

    row: SessionRow
    templates: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)
    unjudged: list[tuple[list[int], int]] = field(default_factory=list)
    context: SessionContext = field(default_factory=SessionContext)
    again: set[int] = field(default_factory=set)
    """Numbers of the steps that are counted where another source tells of them."""
    course: list[bytes] = field(default_factory=list)
    duration_ms: float = 0.0
    first: float | None = None
    last: float | None = None


def _goes_with_another(state: _State) -> bool:
    """Return whether a session is told of elsewhere, as most of its steps are; of half and half the first one tells."""
    excess = 2 * len(state.again) - len(state.templates)
    return excess > 0 or (excess == 0 and 0 in state.again)


class Watcher(Protocol):
    """What can go back to an earlier state."""

    def state(self) -> Any:
        """Return what was learned, for `reset`."""
        ...

    def reset(self, state: Any) -> None:
        """Go back to an earlier state."""
        ...


class Learned(NamedTuple):
    """How many rows of the log were learned, and whether templates were seen for the first time."""

    rows: int
    news: bool


class Deriver:
    """Keeps the derived state of a store up to its log.

    Parameters
    ----------
    store : Store
    min_commands : int
        A session with fewer steps forms no pattern.
    watch : callable, optional
        Called with the context of a step and the step before it is counted: here the rankers learn. Also says whether
        the step is among the newest `WATCHED_LINES`.
    watcher : Watcher, optional
        What learns when `watch` is called: it goes back to what it was where the rows cannot be counted.
    told_elsewhere : callable, optional
        Whether a step is counted with the record of another source, where more is known of it than is in the store.
    """

    def __init__(
        self,
        store: Store,
        min_commands: int,
        watch: Callable[[SessionContext, Command, bool], None] | None = None,
        watcher: Watcher | None = None,
        told_elsewhere: Callable[[Store, LogRow, Command], bool] | None = None,
    ) -> None:
        self._store = store
        self._told_elsewhere = told_elsewhere
        self._min_commands = min_commands
        self._watch = watch
        self._watcher = watcher
        self._live: OrderedDict[int, _State] = OrderedDict()
        self._generation: int | None = None

    def catch_up(self, all_of_it: bool = True, patience: float | None = None, watched: bool = True) -> Learned:
        """Learn what the log holds beyond the derived state.

        Parameters
        ----------
        all_of_it : bool
            False: the newest `WATCHED` rows, from which the ranker learns, are left for the next time.
        patience : float, optional
            Seconds to wait for another process that writes; as long as the store does, unless given.
        watched : bool
            False: the rankers do not learn from these rows.
        """
        self._catch_up_feedback(patience)
        learned = Learned(0, False)
        while (end := self._store.last_row()) > self._derived():
            before = None if self._watcher is None else self._watcher.state()
            try:
                # In one transaction, so that no two processes derive the same rows.
                with self._store.transaction(patience):
                    generation = self._store.meta("generation")
                    if generation != self._generation:  # another process may have renumbered steps
                        self._live.clear()
                        self._generation = generation
                    left = end - self._derived()
                    unwatched = left - WATCHED if watched and self._watch else left
                    if unwatched <= 0 and not all_of_it:
                        break
                    most = min(BATCH, unwatched) if unwatched > 0 else _WATCHED_BATCH
                    with uncollected() if most > _WATCHED_BATCH else nullcontext():
                        rows = self._store.tail(most)
                        news = self._learn(rows, unwatched <= 0, left <= WATCHED_LINES)
                    learned = Learned(learned.rows + len(rows), learned.news or news)
            except BaseException:
                self._live.clear()
                if self._watcher is not None:
                    self._watcher.reset(before)
                raise
        return learned

    def behind(self) -> bool:
        """Return whether the log has steps, or feedback, that are not counted."""
        return self._store.last_row() > self._derived() or bool(self._store.feedback_tail(1))

    def _catch_up_feedback(self, patience: float | None) -> None:
        while self._store.feedback_tail(1):
            with self._store.transaction(patience):
                if rows := self._store.feedback_tail(BATCH):
                    self._store.apply_shown(count_feedback(row for _, row in rows), rows[-1][0])

    def _derived(self) -> int:
        return self._store.meta("derived") or 0

    def _learn(self, rows: Sequence[LogRow], watched: bool, with_lines: bool) -> bool:
        delta = Delta()
        told_elsewhere = self._told_elsewhere
        if told_elsewhere is None and self._may_be_told_elsewhere(rows):
            told_elsewhere = is_told_elsewhere
        for row in rows:
            state = self._state(row.session, row.step)
            if row.command is None:
                self._close(state, delta)
                del self._live[row.session]
                continue
            again = told_elsewhere is not None and told_elsewhere(self._store, row, row.command)
            if again:
                self._store.mark_again(row.session, row.step)
            elif watched and self._watch:
                self._watch(state.context, row.command, with_lines)
            self._step(state, row.command, again, delta)
        return bool(rows) and self._store.apply(delta, rows[-1].seq)

    def _may_be_told_elsewhere(self, rows: Sequence[LogRow]) -> bool:
        """Return whether several sources tell of the time of many rows: one question instead of one for each."""
        times = [row.command.timestamp for row in rows if row.command and row.command.timestamp is not None]
        if len(rows) <= _WATCHED_BATCH or not times:
            return bool(times)
        return self._store.sources_between(min(times) - SAME_TIME, max(times) + SAME_TIME) > 1

    def forget(self) -> None:
        """Drop what is remembered of live sessions; it is read back from the log when needed."""
        self._live.clear()

    def rebuild(self, watched: bool = True) -> None:
        """Derive everything again from the log; the rankers learn from it unless not `watched`."""
        with self._store.transaction():
            self.forget()
            self._store.reset_derived()
            self.catch_up(watched=watched)
            self._store.drop_unused()

    def _state(self, session: int, step: int) -> _State:
        state = self._live.get(session)
        known = step if step >= 0 else self._store.step_count(session)
        if state is None or known != len(state.templates):
            # Begun by another process, or evicted: read the beginning back, counting nothing twice.
            state = _State(self._store.get_session(session), context=SessionContext(session=session))
            again = self._store.marked_again(session) if known else set()
            for number, command in enumerate(self._store.steps(session)[:known] if known else ()):
                self._step(state, command, number in again, Delta())
            self._live[session] = state
            if len(self._live) > _LIVE_SESSIONS:
                self._live.popitem(last=False)
        else:
            self._live.move_to_end(session)
        return state

    def _step(self, state: _State, command: Command, again: bool, delta: Delta) -> None:
        analysis = analyze(command.command)
        if again:
            state.again.add(len(state.templates))
        else:
            self._count(state, command, analysis, delta)
        state.context.add(command)
        state.templates.append(analysis.template)
        state.commands.append(command.command)
        state.course.append(pack_step(command))
        state.duration_ms += command.duration_ms or 0.0
        if command.timestamp is not None:
            state.first = command.timestamp if state.first is None else min(state.first, command.timestamp)
            end = command.timestamp + (command.duration_ms or 0.0) / 1000
            state.last = end if state.last is None else max(state.last, end)

    def _count(self, state: _State, command: Command, analysis: Normalized, delta: Delta) -> None:
        template = delta.id_of(analysis.template)
        keys = context_keys(state.context, command.project, command.cwd)
        when = moment(state.row.start, state.row.session_id, len(state.templates))
        entry = recent_entry(when, template)
        if state.templates:
            delta.context(keys["counts"][1]).head = delta.id_of(state.templates[-1])
        rated = [*chain.from_iterable(keys.get(name, ()) for name in RATED)]
        judged = 0 if command.exit_code is None else FAILURE if command.exit_code else SUCCESS
        for key in rated:
            pair = key, template
            first = 0 if pair in state.seen else SESSION
            state.seen.add(pair)
            delta.context(key).follow(template, COUNT + first + judged, entry)
        if not judged:
            state.unjudged.append((rated, template))
        for key in chain.from_iterable(keys.get(name, ()) for name in COUNTED):
            delta.context(key).follow(template)
        if may_be_kept(analysis, command):
            line = delta.id_of(command.command)
            entry = recent_entry(when, line)
            for key in chain.from_iterable(keys.get(name, ()) for name in LINES):
                delta.context(key).follow(line, COUNT, entry)
        learn_fills(state.context.values, analysis, command, when, delta)

    def _close(self, state: _State, delta: Delta) -> None:
        # The outcome is set when a session is closed, which may be after its first steps were read.
        outcome = self._store.get_session(state.row.id).outcome
        if outcome is not None:
            for keys, template in state.unjudged:
                for key in keys:
                    delta.context(key).add(template, SUCCESS if outcome == "success" else FAILURE)
        if _goes_with_another(state):
            self._store.mark_again(state.row.id, -1)
            return
        if outcome is not None:
            for key, template in state.seen:
                delta.context(key).add(template, GOOD if outcome == "success" else BAD)
            if state.course:
                when = moment(state.row.start, state.row.session_id, 0)
                delta.courses[when] = Course(outcome == "success", b"".join(state.course[-LONGEST:]))
        if len(state.templates) < self._min_commands:
            return
        pattern_id = pattern_id_of(state.templates)
        row = delta.patterns.get(pattern_id)
        if row is None:
            templates = tuple(state.templates)
            keys_of = frozenset(key for template in set(templates) for key in index_keys(template))
            row = delta.patterns[pattern_id] = PatternRow(pattern_id, templates, keys_of)
        row.success += outcome == "success"
        row.failure += outcome == "failure"
        row.unknown += outcome is None
        elapsed = state.duration_ms
        if state.first is not None and state.last is not None:
            elapsed = max(elapsed, (state.last - state.first) * 1000)
        if elapsed > 0:
            row.duration_ms += round(elapsed)
            row.timed += 1
        when = moment(state.row.start, state.row.session_id, 0)
        if when > row.newest:
            row.newest, row.example = when, tuple(state.commands)
