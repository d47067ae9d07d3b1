"""What a worker does: read a partition, learn a partial memory from it, unite partial memories.

Each is a function of its arguments alone: where a worker is lost, another one computes the same.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, cast

from procedural_memory import __version__
from procedural_memory.commands.redact import redact
from procedural_memory.distributed.partitions import Item, name_of, read_items, safe_address, unit_of
from procedural_memory.engine import _SessionInput
from procedural_memory.errors import InvalidInputError, ProceduralMemoryError, StorageError
from procedural_memory.memory.sequences import Deriver
from procedural_memory.memory.tellings import Telling, rank, told_again
from procedural_memory.privacy import Privacy
from procedural_memory.storage.base import LogRow, Store, session_digest
from procedural_memory.storage.sqlite import SQLiteStore
from procedural_memory.storage.union import unite
from procedural_memory.types import Command, Outcome

__all__ = [
    "TICK",
    "Failure",
    "Head",
    "Listed",
    "Part",
    "Partial",
    "attempt",
    "head_of",
    "learn_part",
    "read_part",
    "tellings_of",
    "unite_partials",
]

TICK: Final = 1e-6
"""Seconds between sessions without a time."""

PROBLEMS: Final = 20
"""Of each partition so many problems are told, and all counted."""

Partial: TypeAlias = bytes
"""A partial memory: the file of a store."""


class Listed(NamedTuple):
    """A session as the plan knows it: `rows` are those that it takes in the log."""

    session_id: str
    digest: bytes
    line: int
    rows: int


@dataclass(slots=True)
class Head:
    """What the plan needs to know of a partition.

    Attributes
    ----------
    url, version : str
        Of the package that read it.
    unit : str
        What its sessions stand in: lines or rows.
    sessions : list of Listed
    short : int
        Sessions with too few commands.
    commands : int
        Of all sessions, the short ones included.
    skipped : Counter of str
    problems : list of str
        The first `PROBLEMS` of them, each with its line, or row.
    tellers : dict
        (source, host) -> the first and the last time that it tells of; where there is no time it tells of nothing.
    fingerprint : bytes
        A hash of the ids and contents.
    """

    url: str
    version: str = __version__
    unit: str = "line"
    sessions: list[Listed] = field(default_factory=list)
    short: int = 0
    commands: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    tellers: dict[tuple[str, str | None], tuple[float, float]] = field(default_factory=dict)
    fingerprint: bytes = b""

    def skip(self, kind: str, line: int, problem: str) -> None:
        """Count what is left out."""
        self.skipped[kind] += 1
        if len(self.problems) < PROBLEMS:
            self.problems.append(f"{self.at(line)}: {problem}")

    def at(self, line: int) -> str:
        """Return how a line or row is named."""
        return f"{self.url}, {self.unit} {line}"


class _Told(NamedTuple):
    """A session of a partition, checked and redacted."""

    session_id: str
    start: float | None
    source: str | None
    outcome: Outcome
    digest: bytes
    commands: list[Command]

    def begun(self, after: float, place: int) -> _Told:
        """Return it with a time: where it has none of its own, so many microseconds after."""
        return self if self.start is not None else self._replace(start=after + TICK * place)


@dataclass(slots=True)
class Part:
    """A partition that was read: what is told of it, and its sessions."""

    head: Head
    sessions: list[_Told]


@dataclass(frozen=True, slots=True)
class Failure:
    """What a worker returns instead of a result where something is wrong that is to be told.

    What is raised Dask reports on its own, with a traceback, before it is told.
    """

    error: ProceduralMemoryError


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns; a failure where it fails or has one as an argument."""
    for argument in arguments:
        if isinstance(argument, Failure):
            return argument
    try:
        return function(*arguments)
    except ProceduralMemoryError as error:
        return Failure(error.with_traceback(None))


def head_of(part: Part) -> Head:
    """Return what the plan needs to know of a partition."""
    return part.head


def read_part(url: str, options: Mapping[str, Any], privacy: Privacy, min_commands: int) -> Part:
    """Read, check and redact the sessions of a partition.

    Parameters
    ----------
    url : str
        Sessions without an id get one made of its name, their place and their content.
    options : mapping
        For the file system.
    privacy : Privacy
    min_commands : int
        Sessions with fewer commands are left out.
    """
    head, sessions = Head(privacy.again(safe_address(url)), unit=unit_of(url)), []

    def bad(line: int, problem: str) -> None:
        head.skip("a row that is no session", line, problem)

    for item in read_items(url, options, bad):
        session = _checked(item, name_of(url), privacy, head)
        if session is None:
            continue
        head.commands += len(session.commands)
        if len(session.commands) < min_commands:
            head.short += 1
            continue
        told = _Told(
            session.session_id or "",
            session.commands[0].timestamp,
            session.source,
            session.outcome,
            session_digest(session.commands, session.outcome),
            session.commands,
        )
        sessions.append(told)
        head.sessions.append(Listed(told.session_id, told.digest, item.line, len(told.commands) + 1))
        for command in told.commands:
            if command.source is not None and command.timestamp is not None:
                first, last = head.tellers.get((command.source, command.host), (command.timestamp,) * 2)
                span = min(first, command.timestamp), max(last, command.timestamp)
                head.tellers[command.source, command.host] = span
    head.problems = [privacy.again(problem) for problem in head.problems]
    listed = [(session.session_id, session.digest.hex()) for session in head.sessions]
    head.fingerprint = hashlib.blake2b(json.dumps(listed).encode(), digest_size=16).digest()
    return Part(head, sessions)


def _checked(item: Item, name: str, privacy: Privacy, head: Head) -> _SessionInput | None:
    session = dict(item.session)
    if session.get("outcome") is None and session.get("session_outcome") is None:
        session["outcome"] = None
    if session.get("session_id") is None and session.get("session") is None:
        # Of the name, too: two may be one when their secrets are redacted.
        content = json.dumps([name, session], sort_keys=True, default=str).encode()
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        session["session_id"] = f"{privacy.text(redact(name))}:{item.place}:{digest}"
    if item.rows:
        session["commands"] = _good_rows(item, privacy, head)
    try:
        return _SessionInput("", session, privacy)
    except InvalidInputError as error:
        head.skip("a session that breaks a rule", item.line, str(error))
        return None


def _good_rows(item: Item, privacy: Privacy, head: Head) -> list[Any]:
    """Return the steps of a session that has a row for each, without those that break a rule."""
    commands: list[Any] = item.session["commands"]
    with suppress(InvalidInputError):
        privacy.commands("", commands)
        return commands
    good = []
    for line, command in zip(item.rows, commands, strict=True):
        try:
            privacy.command("row", command)
        except InvalidInputError as error:
            # The place names the row already.
            head.skip("a row that breaks a rule", line, str(error).removeprefix("row").lstrip(".: "))
        else:
            good.append(command)
    return good


def tellings_of(part: Part, number: int, new: Sequence[int], after: float) -> list[Telling]:
    """Return the records of steps of which another source may tell, placed by partition, session and step."""
    return [
        Telling(
            command.command,
            command.timestamp,
            command.source,
            command.host,
            rank(command, cast("float", told.start), told.session_id, step),
            (number, place, step),
        )
        for place in new
        for told in (part.sessions[place].begun(after, place),)
        for step, command in enumerate(told.commands)
        if command.source is not None and command.timestamp is not None
    ]


def told_again_in(*tellings: list[Telling]) -> dict[int, set[tuple[int, int]]]:
    """Return for each partition which steps, by session and number, are counted where another source tells of them."""
    again: dict[int, set[tuple[int, int]]] = {}
    for partition, session, step in told_again(telling for part in tellings for telling in part):
        again.setdefault(partition, set()).add((session, step))
    return again


def learn_part(
    part: Part,
    fingerprint: bytes,
    new: Sequence[int],
    again: Set[tuple[int, int]],
    rows: int,
    min_commands: int,
    after: float,
) -> Partial:
    """Learn the sessions of a partition that are new; of their log the first so many rows, the others stay its tail.

    Parameters
    ----------
    part : Part
    fingerprint : bytes
        Of the head from which the plan was made: the partition may have been read again since.
    new : sequence of int
        The places of the sessions.
    again : set of (int, int)
        Steps, by place of the session and number, that are counted elsewhere.
    rows, min_commands : int
    after : float
        Sessions without a time begin then, by their place.
    """
    if part.head.fingerprint != fingerprint:
        raise StorageError(
            f"partition {part.head.url!r}: was changed while it was learned from; nothing was learned; start again"
        )
    places = dict(enumerate(new, 1))

    def told_elsewhere(store: Store, row: LogRow, command: Command) -> bool:
        return (places[row.session], row.step) in again

    with closing(SQLiteStore()) as store:
        sessions = [part.sessions[place].begun(after, place) for place in new]
        with store.transaction():
            rest = _add(store, sessions, rows)
            if rows:
                Deriver(store, min_commands, told_elsewhere=told_elsewhere).catch_up(watched=False)
            _add_rest(store, rest)
        with tempfile.TemporaryDirectory(prefix="procedural-memory-") as folder:
            file = Path(folder, "partial.sqlite")
            file.touch(0o600)
            store.backup(str(file), b"")
            return file.read_bytes()


def _add(store: Store, sessions: Iterable[_Told], rows: int) -> list[tuple[int, int, _Told]]:
    """Add sessions to the log up to a row; return what is left: the number of a session, how many steps it has, it."""
    rest = []
    for told in sessions:
        number = store.add_session(told.session_id, cast("float", told.start), told.source)
        cut = min(len(told.commands), rows)
        store.add_steps(number, 0, told.commands[:cut])
        if cut < rows:
            store.close_session(number, told.outcome, told.digest)
        else:
            rest.append((number, cut, told))
        rows = max(0, rows - len(told.commands) - 1)
    return rest


def _add_rest(store: Store, rest: Iterable[tuple[int, int, _Told]]) -> None:
    for number, cut, told in rest:
        store.add_steps(number, cut, told.commands[cut:])
        store.close_session(number, told.outcome, told.digest)


def unite_partials(*partials: Partial) -> Partial:
    """Return the union of partial memories, their logs in this order."""
    with tempfile.TemporaryDirectory(prefix="procedural-memory-") as folder:
        files = []
        for number, partial in enumerate(partials):
            files.append(Path(folder, f"{number}.sqlite"))
            files[-1].write_bytes(partial)
        target = Path(folder, "united.sqlite")
        unite(files, target)
        return target.read_bytes()
