"""Salvages sessions and feedback from a store that is damaged, and changes nothing of it.

Rows are read from every page that still holds some (`storage.pages`). What a row belongs to, its shape tells; a text
is right when its id is the hash of it, a session when its digest is that of its steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from procedural_memory.errors import InvalidInputError, SnapshotError, StorageError
from procedural_memory.storage.base import FeedbackRow, session_digest, text_id
from procedural_memory.storage.pages import Pages
from procedural_memory.storage.rows import OUTCOMES, VERDICTS
from procedural_memory.storage.snapshot import SessionRecord, as_feedback
from procedural_memory.types import Command, Outcome
from procedural_memory.validation import as_command

__all__ = ["Salvaged", "salvage"]

_MAX_STEPS = 1_000_000
"""Steps with a greater number are damage."""


class _Head(NamedTuple):
    """A row of the table of sessions."""

    session_id: str
    start: float
    outcome: int | None
    closed: int
    source: str | None
    digest: bytes


class _Step(NamedTuple):
    """A row of the log without its number, session and step: texts by their ids."""

    command: int
    exit_code: int | None
    cwd: int | None
    timestamp: float | None
    duration_ms: float | None
    project: int | None
    source: int | None
    actor: int | None
    host: int | None
    branch: int | None

    @property
    def texts(self) -> list[int]:
        return [self.command, *(number for number in (self.cwd, *self[5:]) if number is not None)]


class _Shown(NamedTuple):
    """A row of feedback without its number and session."""

    step: int
    after: int
    line: int
    verdict: int
    timestamp: float
    project: int | None


@dataclass(slots=True)
class Salvaged:
    """What was salvaged, and what is known to be lost.

    Attributes
    ----------
    records : list of SessionRecord
    feedback : list of FeedbackRow
        That of no session.
    whole : int
        Sessions that are as they were: a closed one has the digest that was written when it was closed, an open one
        no gap.
    incomplete : list of str
        Sessions of which steps or details are lost.
    headless : list of str
        New ids of sessions whose own row is lost: when they began, how they ended and who told of them is not known.
    still_open : int
        Of the sessions, those that were never closed.
    steps, feedback_rows : int
    lost_sessions, lost_steps, lost_feedback : int
        Of which some trace is left; of what went without a trace nothing is known.
    pages, unreadable : int
        How many pages the file has, and how many cells of them could not be read.
    """

    records: list[SessionRecord] = field(default_factory=list)
    feedback: list[FeedbackRow] = field(default_factory=list)
    whole: int = 0
    incomplete: list[str] = field(default_factory=list)
    headless: list[str] = field(default_factory=list)
    still_open: int = 0
    steps: int = 0
    feedback_rows: int = 0
    lost_sessions: int = 0
    lost_steps: int = 0
    lost_feedback: int = 0
    pages: int = 0
    unreadable: int = 0

    @property
    def report(self) -> dict[str, Any]:
        """The numbers and ids."""
        return {
            "sessions": len(self.records),
            "sessions_whole": self.whole,
            "sessions_incomplete": self.incomplete,
            "sessions_without_head": self.headless,
            "sessions_open": self.still_open,
            "steps": self.steps,
            "feedback": self.feedback_rows,
            "lost": {"sessions": self.lost_sessions, "steps": self.lost_steps, "feedback": self.lost_feedback},
            "pages": self.pages,
            "unreadable_cells": self.unreadable,
        }


class _Rows:
    """The rows of the log that were found, by session."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.heads: dict[int, _Head] = {}
        self.steps: dict[int, dict[int, _Step]] = {}
        self.feedback: dict[int, dict[_Shown, None]] = {}

    def add(self, number: int, row: list[Any]) -> None:
        """Take a row for what its shape says that it is; most rows are derived, and of no interest.

        Newer versions have more columns, at the end. Of two rows with one number, which an older copy of a page may
        hold, that of a closed session counts, else the first.
        """
        width = len(row)
        if width == 2:
            if row[0] is None and isinstance(row[1], str) and text_id(row[1]) == number:
                self.texts[number] = row[1]
        elif width in (7, 8, 9) and _is_head(row):
            head = _Head(*row[1:7])
            if number not in self.heads or head.closed > self.heads[number].closed:
                self.heads[number] = head
        elif width in (8, 9) and _is_feedback(row):
            self.feedback.setdefault(row[1], {})[_Shown(*row[2:8])] = None
        elif width in (13, 14) and _is_step(row):
            self.steps.setdefault(row[1], {}).setdefault(row[2], _Step(*row[3:13]))


def salvage(path: Path) -> Salvaged:
    """Read what can be read of a store.

    Parameters
    ----------
    path : path
        The damaged store; its write-ahead log is taken in where it stands beside it. Neither is changed.

    Raises
    ------
    StorageError
        The file cannot be read at all.
    """
    rows = _Rows()
    found = Salvaged()
    try:
        with Pages(path) as pages:
            free = pages.free()
            for page in range(1, pages.count + 1):
                if page not in free:
                    for row in pages.rows(page):
                        rows.add(*row)
            found.pages, found.unreadable = pages.count, pages.refused
    except OSError as error:
        raise StorageError(f"repair {str(path)!r}: the file cannot be read ({error})") from error
    start, taken = 0.0, set[str]()
    for number in sorted({*rows.heads, *rows.steps} - {0}):
        # Sessions are numbered as they came: one that says nothing of its time began after the one before.
        start = _assemble(number, rows, found, start, taken)
    for number, shown in rows.feedback.items():
        if number == 0:
            found.feedback = _checked(shown, rows.texts, found, None)
        elif number not in rows.heads and number not in rows.steps:
            found.lost_feedback += len(shown)
    return found


def _assemble(number: int, rows: _Rows, found: Salvaged, before: float, taken: set[str]) -> float:
    """Put a session together from its rows and return when it began."""
    head = rows.heads.get(number)
    if head and _record(head, head.session_id, head.start, None, []) is None:
        head = None  # a value in it breaks a rule, which damage alone does
    steps = rows.steps.get(number, {})
    steps.pop(-1, None)  # its close, of which the row of the session tells
    kept = [step for step in sorted(steps) if steps[step].command in rows.texts]
    commands = [_command(steps[step], rows.texts) for step in kept]
    is_whole = len(kept) == max(steps, default=-1) + 1
    is_whole &= all(text in rows.texts for step in kept for text in steps[step].texts)
    lost = max(steps, default=-1) + 1 - len(kept)
    if head is None:
        start = next((c.timestamp for c in commands if c.timestamp is not None), before)
        outcome: Outcome = None
    else:
        start, outcome = float(head.start), OUTCOMES[head.outcome]
        is_whole &= not head.closed or head.digest == session_digest(commands, outcome)
    digest = session_digest(commands, outcome)
    session_id = head.session_id if head and head.session_id not in taken else f"salvaged-{_hash(number, digest)}"
    places = {0: 0} | {old + 1: new for new, old in enumerate(kept, 1)}
    shown = rows.feedback.get(number, {})
    record = None
    if commands or (head and is_whole):
        record = _record(head, session_id, start, outcome, commands)
        if record is None:
            # The same of its steps: those in order remain.
            valid = [place for place, command in enumerate(commands) if _is_valid(command)]
            lost += len(commands) - len(valid)
            is_whole = False
            places = {0: 0} | {kept[old] + 1: new for new, old in enumerate(valid, 1)}
            record = _record(head, session_id, start, outcome, [commands[place] for place in valid]) if valid else None
    if record is None or record.session_id in taken:
        found.lost_sessions += 1
        found.lost_steps += lost + (len(record.commands) if record else 0)
        found.lost_feedback += len(shown)
        return start
    record.feedback = _checked(shown, rows.texts, found, places)
    found.records.append(record)
    found.steps += len(record.commands)
    found.lost_steps += lost
    found.still_open += not record.closed
    taken.update((session_id, record.session_id))
    if head is None:
        found.headless.append(record.session_id)
    elif is_whole:
        found.whole += 1
    else:
        found.incomplete.append(record.session_id)
    return start


def _record(
    head: _Head | None, session_id: str, start: float, outcome: Outcome, commands: list[Command]
) -> SessionRecord | None:
    """Return a session checked and redacted, None where a value breaks a rule.

    An open session stays open; one that lost its row is closed, for nobody knows it by its new id.
    """
    closed, source = (bool(head.closed), head.source) if head else (True, None)
    item = {"session_id": session_id, "start": start, "outcome": outcome, "closed": closed, "source": source}
    try:
        return SessionRecord("session", {**item, "commands": commands})
    except (InvalidInputError, SnapshotError):
        return None


def _is_valid(command: Command) -> bool:
    try:
        as_command("command", command)
    except InvalidInputError:
        return False
    return True


def _command(step: _Step, texts: dict[int, str]) -> Command:
    cwd, *others = [None if text is None else texts.get(text) for text in (step.cwd, *step[5:])]
    return Command(texts[step.command], step.exit_code, cwd, _real(step.timestamp), _real(step.duration_ms), *others)


def _real(value: float | None) -> float | None:
    """Return what stands in a column of reals, which SQLite writes as an integer where it is one."""
    return None if value is None else float(value)


def _checked(
    rows: Iterable[_Shown], texts: dict[int, str], found: Salvaged, places: dict[int, int] | None
) -> list[FeedbackRow]:
    """Return feedback whose texts and step are there, checked and redacted; count that, and the rest as lost."""
    checked: list[FeedbackRow] = []
    for row in rows:
        item: dict[str, Any] = {"line": texts.get(row.line), "verdict": VERDICTS[row.verdict]}
        item |= {"timestamp": float(row.timestamp), "project": texts.get(row.project or 0)}
        if places is None:
            item |= {"after": texts.get(row.after)}
            known = row.step == 0 and (row.after == 0 or row.after in texts)
        else:
            known = row.step in places
            item |= {"step": places.get(row.step, 0)}
        try:
            if not known:
                raise SnapshotError("its step is lost")
            checked += as_feedback("feedback", [item], None if places is None else len(places) - 1)
        except (InvalidInputError, SnapshotError):
            found.lost_feedback += 1
    found.feedback_rows += len(checked)
    return checked


def _hash(number: int, digest: bytes) -> str:
    return blake2b(b"%d:%b" % (number, digest), digest_size=8).hexdigest()


def _is_head(row: list[Any]) -> bool:
    _, session_id, start, outcome, closed, source, digest, *_ = row
    return (
        row[0] is None
        and isinstance(session_id, str)
        and _is_number(start)
        and outcome in OUTCOMES
        and closed in (0, 1)
        and (source is None or isinstance(source, str))
        and isinstance(digest, bytes)
    )


def _is_feedback(row: list[Any]) -> bool:
    number, session, step, after, line, verdict, timestamp, project, *_ = row
    return (
        number is None
        and all(isinstance(value, int) for value in (session, step, after, line, verdict))
        and session >= 0
        and step >= 0
        and 0 <= verdict < len(VERDICTS)
        and _is_number(timestamp)
        and (project is None or isinstance(project, int))
    )


def _is_step(row: list[Any]) -> bool:
    number, session, step, command, exit_code, cwd, timestamp, duration, *texts = row[:13]
    return (
        number is None
        and isinstance(session, int)
        and isinstance(step, int)
        and session > 0
        # The close of a session has the number -1 and no command.
        and (step >= 0) == isinstance(command, int)
        and -1 <= step < _MAX_STEPS
        and all(value is None or isinstance(value, int) for value in (command, exit_code, cwd, *texts))
        and all(value is None or _is_number(value) for value in (timestamp, duration))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
