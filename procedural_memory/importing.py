"""Learning histories: what was read of which file, what of it is new, what was left out and why.

A session that may still go on (its last command is younger than the idle gap) is left for the next import, so that
what is learned is always whole sessions, and importing every day gives what importing once gives. A short one keeps
its steps and forms no pattern, as a live one. How far each file
was read is kept in the memory, in the transaction that learns what was read. A step that the memory already has, of the
same source, line and time, is not learned again, whatever became of the file. Lines without times that the hook of
their shell recorded get the hook's times, and so are one step with what it recorded, as all that several sources tell.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from procedural_memory.errors import HistoryError, InvalidInputError, shown
from procedural_memory.sources.aligning import Recorded, align, looked_at
from procedural_memory.sources.base import Reading, Source
from procedural_memory.sources.catalogue import SOURCES, SessionFiles, files_of, found
from procedural_memory.sources.entry import Entry, Skipped
from procedural_memory.sources.files import read_sessions
from procedural_memory.sources.grouping import Grouper, Run
from procedural_memory.sources.opening import readable
from procedural_memory.storage.base import IMPORTED
from procedural_memory.types import Command, ImportedSource, ImportReport

__all__ = ["Memory", "Told", "import_files", "session_name"]

_CHUNK = 4_000
"""Commands that are learned in one transaction."""
_SESSIONS = 200
_EXAMPLES = 10
_PROBLEMS = 20
_HOOKED = ("bash", "zsh")
"""The shells that write no times unless they are told to, and that have a hook of their own."""


@dataclass(slots=True)
class Told:
    """A session as a history tells it, checked and redacted."""

    own: str | None
    commands: list[Command]
    chain: str | None = None
    """Of a session without times: the digest of those before it, so that the same steps done twice are two sessions."""
    times: dict[int, float] = field(default_factory=dict)
    """Of a session without times: when steps began, by their index, as far as a hook recorded it."""


class Memory(Protocol):
    """What importing needs of the engine."""

    def import_state(self, key: str) -> str | None:
        """Return how far a file was read."""
        ...

    def log_end(self) -> int:
        """Return the number of the newest row of the log."""
        ...

    def recorded(self, source: str, host: str) -> list[Recorded]:
        """Return the newest steps of a hook on a host that no history of that shell was found to hold, oldest first."""
        ...

    def prepare(self, name: str, item: Mapping[str, Any]) -> Command | None:
        """Return a command checked and redacted, None where it is kept out."""
        ...

    def learn_told(
        self, source: str, sessions: list[Told], until: int, states: tuple[str, str | None, str], dry_run: bool
    ) -> list[tuple[Sequence[Command], bool]]:
        """Learn what is not known up to row `until` of the log; return of each session what was not known, and whether
        it was learned.

        With it the state is kept, given as its key, what it was (else another process has imported meanwhile, and all
        that is known counts as known) and what it is to be.
        """
        ...

    def learn_sessions(
        self, sessions: list[dict[str, Any]], dry_run: bool
    ) -> list[tuple[Sequence[Command], bool] | InvalidInputError]:
        """Learn sessions with ids of their own; return of each its commands, empty where it is known, and whether it
        was learned, or what is wrong with it."""
        ...


def import_files(
    memory: Memory,
    source: str,
    path: Path | None,
    *,
    idle_gap: float,
    include_open: bool,
    dry_run: bool,
    progress: Callable[[int, int], object] | None,
) -> ImportReport:
    """Import what a user has, or what `path` means; see `ProceduralMemoryEngine.import_history`."""
    if source != "auto" and source not in SOURCES:
        raise InvalidInputError(f"source: must be 'auto' or one of {', '.join(SOURCES)}, got {shown(source)}")
    options = (idle_gap, include_open, dry_run, progress)
    if path is None:
        return _import(memory, source, None, False, *options)
    with readable(path) as file:
        if file == path:
            return _import(memory, source, path, False, *options)

        def told(text: str) -> str:
            return text.replace(str(file), str(path))

        try:
            report = _import(memory, source, file, True, *options)
        except (HistoryError, InvalidInputError) as error:
            raise type(error)(told(str(error))) from error
        sources = (replace(one, files=(str(path),), problems=tuple(map(told, one.problems))) for one in report.sources)
        return replace(report, sources=tuple(sources))


def _import(
    memory: Memory,
    source: str,
    path: Path | None,
    piped: bool,
    idle_gap: float,
    include_open: bool,
    dry_run: bool,
    progress: Callable[[int, int], object] | None,
) -> ImportReport:
    """Import what a user has, or what there is at a path: of what came through a pipe nothing is known from before."""
    own = {file.resolve(): kind for kind, file in found(Path.home())}
    files: list[tuple[Source | SessionFiles, Path]]
    if path is None:
        files = [(kind, file) for file, kind in own.items() if source in ("auto", kind.name)]
    else:
        files = files_of(source, path)
    sizes = [_size(file) for _, file in files]
    whole = sum(sizes)
    tallies: dict[str, _Tally] = {}
    before = 0
    for (kind, file), size in zip(files, sizes, strict=True):
        tally = tallies.setdefault(kind.name, _Tally(kind.name))
        tally.files += 1
        tally.paths.append(str(file))
        told = None if progress is None else _part(progress, before, size, whole)
        try:
            if isinstance(kind, SessionFiles):
                _import_sessions(memory, file, dry_run, tally)
            else:
                here = file.resolve() in own
                _Importer(memory, kind, file, here, piped, idle_gap, include_open, dry_run, tally, told).run()
        except (HistoryError, sqlite3.Error) as error:  # of a database that is locked just now
            if path is not None and len(files) == 1:
                raise
            tally.unread.append(str(error))
        before += size
    return ImportReport(tuple(tally.report() for tally in tallies.values()), dry_run)


def _part(progress: Callable[[int, int], object], before: int, size: int, whole: int) -> Callable[[float], object]:
    return lambda done: progress(before + int(done * size), whole)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@dataclass(slots=True)
class _Tally:
    """Counts of one source."""

    source: str
    files: int = 0
    paths: list[str] = field(default_factory=list)
    sessions: int = 0
    commands: int = 0
    new_sessions: int = 0
    new_commands: int = 0
    open_commands: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def count(self, new: Sequence[Command], learned: bool) -> None:
        """Count a session of which so much was not known."""
        if learned:
            self.new_sessions += 1
            self.new_commands += len(new)
            self.examples += [command.command for command in new[: _EXAMPLES - len(self.examples)]]
        elif new:
            self.skipped["a session with too few commands"] += 1

    def report(self) -> ImportedSource:
        """Return what is told of it."""
        return ImportedSource(
            source=self.source,
            files=tuple(self.paths),
            sessions=self.sessions,
            commands=self.commands,
            new_sessions=self.new_sessions,
            new_commands=self.new_commands,
            open_commands=self.open_commands,
            skipped=dict(self.skipped),
            problems=tuple(self.problems[:_PROBLEMS]),
            unread=tuple(self.unread),
            examples=tuple(self.examples),
        )


def _import_sessions(memory: Memory, path: Path, dry_run: bool, tally: _Tally) -> None:
    """Import a file that holds sessions with their outcomes, as `learn` reads it."""

    def skip(problem: str) -> None:
        tally.skipped["a session that breaks a rule"] += 1
        tally.problems.append(problem)

    sessions = read_sessions(path, skip=skip)
    while some := list(islice(sessions, _SESSIONS)):
        for one in some:
            one.setdefault("source", SessionFiles.name)
        for told in memory.learn_sessions(some, dry_run):
            if isinstance(told, InvalidInputError):
                skip(f"{path}: {told}")
                continue
            commands, learned = told
            tally.sessions += 1
            tally.commands += len(commands)
            tally.count(commands, learned)


class _Importer:
    """Imports one file."""

    def __init__(
        self,
        memory: Memory,
        source: Source,
        path: Path,
        here: bool,
        piped: bool,
        idle_gap: float,
        include_open: bool,
        dry_run: bool,
        tally: _Tally,
        told: Callable[[float], object] | None,
    ) -> None:
        self._memory = memory
        self._source = source
        self._path = path
        self._host = socket.gethostname() if here else None
        self._gap = idle_gap
        self._include_open = include_open
        self._dry_run = dry_run
        self._tally = tally
        self._progress = told
        self._skipped = Skipped(_PROBLEMS)
        self._grouper = Grouper(idle_gap, here)
        self._piped = piped
        # No path, for what comes through one pipe has nothing to do with what came through another.
        place = "|" if piped else str(path.resolve())
        digest = blake2b(place.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self._key = f"{IMPORTED}{source.name} {digest}"
        self._chain = ""
        self._kept: str | None = None
        self._times: dict[int, tuple[str, float]] = {}

    def run(self) -> None:
        """Read and learn what is new."""
        known = self._known()
        before = self._stamp()
        if known.get("unchanged") == before and not self._is_due(known):
            self._tally.open_commands += known.get("open", 0)
            return
        self._chain = str(known.get("chain", ""))
        until = self._memory.log_end()
        self._times = self._recorded(known)
        try:
            reading = self._source.open(self._path, known, self._skipped)
        except OSError as error:
            raise HistoryError(f"history {str(self._path)!r}: cannot be read ({error})") from error
        runs: list[Run] = []
        waiting = 0
        for run in self._grouper.take(reading.entries()):
            runs.append(run)
            waiting += len(run.entries)
            if waiting >= _CHUNK:
                self._learn(runs, until, self._state(reading, self._grouper.first_open(), []))
                runs, waiting = [], 0
                if self._progress is not None:
                    self._progress(reading.done)
        rest = self._grouper.rest()
        awaited = self._awaited(reading)
        left = [
            run
            for number, run in enumerate(rest, 1)
            if self._goes_on(run, reading, number == len(rest))
            or any(self._grouper.continues(run, call) for call in awaited)
        ]
        runs += [run for run in rest if run not in left]
        waiting = sum(len(run.entries) for run in left)
        self._tally.open_commands += waiting
        first = min([run.first for run in left] + [call.line for call in awaited], default=None)
        state = self._state(reading, first, before)
        over = [run.end for run in left if run.end is not None] + ([before[1] / 1e9] if before else [])
        if first is not None and over:  # until then there is nothing to do, unless the file changes
            state |= {"unchanged": before, "open": waiting, "gap": self._gap, "again": min(over) + self._gap}
        self._learn(runs, until, state)
        self._tally.skipped += self._skipped.counts
        self._tally.problems += [f"{self._path}, line {line}: {reason}" for line, reason in self._skipped.places]
        if self._progress is not None:
            self._progress(1.0)

    def _recorded(self, known: Mapping[str, Any]) -> dict[int, tuple[str, float]]:
        """Return the lines without times that are steps which the shell's hook recorded, with text and time."""
        name = self._source.name
        recorded = self._memory.recorded(name, self._host) if name in _HOOKED and self._host else []
        if not recorded:
            return {}
        newest: deque[Entry] = deque(maxlen=looked_at(len(recorded)))
        first = None
        with suppress(OSError):  # which is told when it is read to be learned
            for entry in self._source.open(self._path, known, lambda line, reason: None).entries():
                first = entry.line if first is None else first
                newest.append(entry)
        lines = []
        for entry in newest:
            if entry.timestamp is None:
                with suppress(InvalidInputError):
                    if (command := self._memory.prepare("", self._item(entry))) is not None:
                        lines.append((entry.line, command.command))
        times = align([text for _, text in lines], recorded, goes_on=first is not None and first > 1)
        return {lines[index][0]: (lines[index][1], when) for index, when in times.items()}

    def _known(self) -> Mapping[str, Any]:
        self._kept = self._memory.import_state(self._key)
        try:
            known = json.loads(self._kept) if self._kept and not self._piped else {}
        except ValueError:
            return {}
        return known if isinstance(known, dict) else {}

    def _is_due(self, known: Mapping[str, Any]) -> bool:
        """Return whether a session of a file that did not change, which went on then, may be over or is wanted now."""
        if "again" not in known:
            return False
        left = known["again"] - time.time()
        return self._include_open or known["gap"] != self._gap or not 0 < left <= self._gap

    def _stamp(self) -> list[int]:
        """Return what changes when the file does; of a database the newest rows may stand beside it."""
        found = []
        for path in (self._path, Path(f"{self._path}-wal")):
            with suppress(OSError):
                status = path.stat()
                found += [status.st_size, status.st_mtime_ns]
        return found

    def _goes_on(self, run: Run, reading: Reading, last: bool) -> bool:
        """Return whether a session may still go on."""
        if self._include_open:
            return False
        if run.end is None or (last and not reading.whole):
            return self._is_fresh()
        return self._age(run.end) < self._gap

    def _awaited(self, reading: Reading) -> Sequence[Entry]:
        """Return the calls whose result may still come; count the others."""
        calls = reading.unfinished
        if calls and not self._include_open and self._is_fresh():
            return calls
        for call in calls:
            self._skipped(call.line, "without a result: perhaps never run")
        return ()

    def _is_fresh(self) -> bool:
        """Return whether the file was changed within the idle gap."""
        try:
            return self._age(self._path.stat().st_mtime) < self._gap
        except OSError:  # it is gone
            return False

    @staticmethod
    def _age(when: float) -> float:
        return abs(time.time() - when)  # a clock that goes wrong must not hold a session back for ever

    def _state(self, reading: Reading, first: int | None, stamp: list[int]) -> dict[str, Any]:
        line = reading.last if first is None else min(first - 1, reading.last)
        place = dict(reading.place(line))
        return {**place, "unchanged": stamp} if stamp and first is None else place

    def _learn(self, runs: list[Run], until: int, state: dict[str, Any]) -> None:
        told = [session for run in runs if (session := self._told(run)).commands]
        kept = json.dumps({**state, "chain": self._chain})
        states = (self._key, self._kept, kept)
        counts = self._memory.learn_told(self._source.name, told, until, states, self._dry_run)
        self._kept = self._kept if self._dry_run else kept
        tally = self._tally
        for session, (new, learned) in zip(told, counts, strict=True):
            tally.sessions += 1
            tally.commands += len(session.commands)
            tally.count(new if learned else (), learned)

    def _told(self, run: Run) -> Told:
        commands: list[Command] = []
        times: dict[int, float] = {}
        for entry in run.entries:
            try:
                command = self._memory.prepare(f"{self._path}, line {entry.line}", self._item(entry))
            except InvalidInputError as error:
                self._skipped(entry.line, "a value that breaks a rule", str(error))
                continue
            if command is None:
                self._skipped(entry.line, "kept out (leading blank, or ignored)")
            else:
                text, when = self._times.get(entry.line, (None, 0.0))
                if text == command.command:  # the file may have changed since it was compared
                    times[len(commands)] = when
                commands.append(command)
        told = Told(run.own and run.own.replace("\0", ""), commands)
        if all(command.timestamp is None for command in commands):
            told.times = times
            told.chain = self._chain
            lines = "\n".join([self._chain, *(command.command for command in commands)])
            self._chain = blake2b(lines.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        return told

    def _item(self, entry: Entry) -> dict[str, Any]:
        item = {name: value for name, value in entry._asdict().items() if name not in ("session", "line")}
        return {**item, "host": entry.host or self._host, "source": self._source.name}


def session_name(source: str, told: Told, digest: bytes) -> str:
    """Return the id of a session: made of what it is, and of nothing that changes with the file."""
    content = blake2b(digest + (told.chain or "").encode(), digest_size=8).hexdigest()
    return f"{source}:{told.own}:{content}" if told.own else f"{source}:{content}"
