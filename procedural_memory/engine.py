"""The engine: wires the rooms together and holds no algorithm of its own."""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate, count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, get_args
from weakref import WeakSet

from procedural_memory.commands.events import is_event
from procedural_memory.commands.ground import Judged, SessionValues
from procedural_memory.commands.normalize import normalize
from procedural_memory.commands.shapes import PLACEHOLDER
from procedural_memory.errors import (
    ClosedError,
    InvalidInputError,
    InvalidTypeError,
    SessionConflictError,
    StorageError,
    StoreBusyError,
    shown,
)
from procedural_memory.memory.context import CONTEXT_LENGTH, SessionContext
from procedural_memory.memory.courses import LONGEST, course_of
from procedural_memory.memory.lifecycle import count_states
from procedural_memory.memory.patterns import MAX_QUERY, PatternIndex, Patterns, pattern_id_of
from procedural_memory.memory.sequences import BATCH, Deriver
from procedural_memory.memory.tellings import SAME_TIME, SUPERSEDED
from procedural_memory.privacy import DISABLE, PatternLike, Privacy
from procedural_memory.session import Session
from procedural_memory.storage.address import Address, file_of, is_address, refuse_address
from procedural_memory.storage.append import spool
from procedural_memory.storage.base import IMPORTED, Bounds, FeedbackRow, SessionRow, Store, session_digest
from procedural_memory.storage.files import make_private
from procedural_memory.storage.filesystem import network_file_system
from procedural_memory.storage.owner import fate_of, owner_of
from procedural_memory.types import (
    SHOWN_TEMPLATES,
    Command,
    Durability,
    Forgotten,
    ImportReport,
    Level,
    Loaded,
    Outcome,
    OutcomeExplanation,
    OutcomePrediction,
    Prediction,
    SimilarPattern,
    Verdict,
)
from procedural_memory.validation import (
    CommandLike,
    as_bound,
    as_command,
    as_outcome,
    as_output,
    as_pattern,
    as_positive_int,
    as_probability,
    as_seconds,
    as_shown,
    as_verdict,
    redacted,
)
from procedural_memory.words import counted

if TYPE_CHECKING:
    import networkx as nx

    from procedural_memory.embedding.base import Embedder
    from procedural_memory.graphs.view import GraphView
    from procedural_memory.importing import Told
    from procedural_memory.memory.forgetting import Plan
    from procedural_memory.sources.aligning import Recorded
    from procedural_memory.storage.snapshot import SessionRecord, Snapshot

__all__ = ["ProceduralMemoryEngine"]

_T = TypeVar("_T")
_KEEP_AFTER = 64
_ASKING = 0.25
"""Seconds that a prediction waits for another process that writes, to learn what is new before it answers."""
_LEFT_OUT = 20
"""How many more lines are looked at than are wanted, for some of them are left out."""
_ABANDONED = 7 * 86_400.0
_SKEW = 86_400.0
"""Seconds by which a clock may have gone back and the order of sessions still be kept."""


class ProceduralMemoryEngine:
    """Learns workflows from command sequences and predicts the next step, in process.

    Safe to use from several threads; a forked process makes its own. A call that raises leaves the memory as it was.

    Parameters
    ----------
    embedding_service_url : str, optional
        Use a running OmniMemory embedding service instead of a model in this process. While it is down, predictions
        use counts alone, and `stats` says so.
    path : str or path, optional
        Where the memory lives. None: in memory. ``"default"``: the user's data folder. An address such as
        ``"postgresql://user@host/database?tenant=…&project=…"``: in PostgreSQL, for many machines.
    durability : {"full", "normal"}
        Once a call that learns has returned, what it learned survives a power cut (``"full"``), or the end of the
        process only (``"normal"``, several times faster): then a power cut may cost the newest steps, never the file.
    embedder : {"auto", "mlx", "sentence-transformers", "lexical", "remote"} or Embedder
        ``"auto"`` takes the best that is on this machine and never downloads.
    model : str or path, optional
        Model folder or hub id for ``"mlx"`` and ``"sentence-transformers"``.
    similarity_threshold : float
        Least ordered-alignment similarity of a pattern that counts as similar.
    min_commands : int
        A shorter batch learns nothing; a shorter live session forms no pattern. What is kept out does not count.
    redact : sequence of str or Pattern
        Regular expressions beside the built-in rules: what they match, or their group ``s``, becomes ``<SECRET>`` on
        the way in, and once more in predictions and saved files.
    ignore : sequence of str or Pattern
        A command in which one of these is found is kept out altogether, and so is one after a leading blank. With
        ``PROCEDURAL_MEMORY_DISABLE=1`` in the environment everything is: nothing is read or stored, nothing predicted.
    max_patterns : int, optional
        So many patterns are in use at most: the most useful ones, by their support, of whose sessions one of unknown
        outcome counts half and one that failed a quarter. The others are put on a shelf: kept with their counts, but
        neither listed nor searched, until they are worth more again. Kept by the store for all who use it; None: as it
        was, 0: no bound.
    max_memory : int, optional
        The same by the bytes that the patterns in use take in the store, about: steps, example, and places in the index
        by which they are found. What is on the shelf, the log, counts and vectors are not bounded by it: see `prune`.

    Examples
    --------
    >>> engine = ProceduralMemoryEngine(embedder="lexical")
    >>> _ = engine.learn_workflow(["git add .", "git commit -m wip", "git push"], session_outcome="success")
    >>> engine.predict_next_action(["git add .", "git commit -m wip"], top_k=1)[0].next_command
    'git push'
    """

    def __init__(
        self,
        embedding_service_url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        durability: Durability = "full",
        embedder: str | Embedder = "auto",
        model: str | os.PathLike[str] | None = None,
        similarity_threshold: float = 0.7,
        min_commands: int = 3,
        redact: Sequence[PatternLike] = (),
        ignore: Sequence[PatternLike] = (),
        max_patterns: int | None = None,
        max_memory: int | None = None,
    ) -> None:
        from procedural_memory.embedding.select import select_embedder
        from procedural_memory.memory.similarity import CommandSimilarity, KeptSimilarity
        from procedural_memory.memory.vectors import VectorIndex
        from procedural_memory.prediction.experts import (
            PatternExpert,
            RecencyExpert,
            SemanticExpert,
            SkipExpert,
            chain_experts,
            line_experts,
        )
        from procedural_memory.prediction.outcome import OutcomePredictor
        from procedural_memory.prediction.predictor import Predictor
        from procedural_memory.prediction.ranker import Rankers

        self._threshold = as_probability("similarity_threshold", similarity_threshold)
        self._min_commands = as_positive_int("min_commands", min_commands)
        if durability not in get_args(Durability):
            raise InvalidInputError(f"durability: must be 'full' or 'normal', got {shown(durability)}")
        if model is not None and not isinstance(model, (str, os.PathLike)):
            raise InvalidTypeError(f"model: must be a folder, a hub id or None, not {type(model).__name__}")
        asked = as_bound("max_patterns", max_patterns), as_bound("max_memory", max_memory)
        self._privacy = Privacy(redact, ignore)
        if self._privacy.disabled:  # no file is touched, no model looked for
            path, embedder, model, embedding_service_url = None, "lexical", None, None
        self._lock = threading.RLock()
        self._closed = False
        self._process = os.getpid()
        self._batch = False
        self._live: WeakSet[Session] = WeakSet()
        self._judged: Judged = {}
        self._store: Store = _open(path, durability)
        try:
            # 0 takes a bound away, None leaves what the store has.
            bounds = (
                had if value is None else value or None for value, had in zip(asked, self._store.bounds(), strict=True)
            )
            self._store.bound_patterns(Bounds(*bounds))
            self._last_start = self._store.newest_start() or 0.0
            self._selection = select_embedder(
                embedder,
                None if model is None else os.fspath(model),
                embedding_service_url,
                self._store.meta("embedder"),
            )
            # Only an embedder that was asked for by name may change the space of a store; "auto" never does.
            keep = embedder == "auto" and embedding_service_url is None
            self._vectors = VectorIndex(self._store, self._selection, keep)
        except BaseException:
            self._store.close()
            raise
        self._patterns = Patterns(self._store, self._reading, self._privacy.again)
        # Prediction must not wait for a model, so its similarity knows stored vectors only.
        stored = CommandSimilarity(self._vectors.stored_cosines, self._vectors.scale)
        prepared = CommandSimilarity(self._vectors.prepared_cosines, self._vectors.scale, stored)
        self._kept_pairs = KeptSimilarity(stored, self._vectors.space)
        self._index = PatternIndex(self._store, stored, self._kept_pairs, self._privacy.again)
        self._search = PatternIndex(self._store, prepared, text=self._privacy.again)
        self._rankers = Rankers()
        self._kept: tuple[int, int] = (0, 0)  # of the ranker in the store: its version, how many steps it had learned
        self._generation: int | None = self._store.meta("generation")
        self._views = 0  # how many reads are going on, one within the other
        self._predictor = Predictor(
            self._store,
            (*chain_experts(), SkipExpert(), RecencyExpert()),
            (PatternExpert(self._index, self._threshold), SemanticExpert(self._vectors.neighbours)),
            line_experts(),
            self._rankers,
        )
        self._outcomes = OutcomePredictor(self._store)
        self._deriver = Deriver(self._store, self._min_commands, self._predictor.learn, self._rankers)
        if self._store.path is not None:
            self._notice_others()
            self._close_interrupted()
        if self._vectors.behind():
            self._vectors.notify()

    # -- learning

    def learn_workflow(
        self,
        session_commands: Sequence[CommandLike],
        session_outcome: Outcome = "success",
        session_id: str | None = None,
        source: str | None = None,
    ) -> str | None:
        """Learn a finished session.

        Parameters
        ----------
        session_commands : list of str, mapping or Command
            In order. A mapping has a ``"command"`` and optionally the other fields of `Command`.
        session_outcome : {"success", "failure", None}
            None is unknown.
        session_id : str, optional
            A fresh one unless given. The same id with the same content is learned once.
        source : str, optional
            Who told of the session. A step that several sources tell of is counted once: see `merge`.

        Returns
        -------
        str or None
            The pattern id; None, and nothing is learned, when there are fewer than `min_commands` commands.

        Raises
        ------
        InvalidInputError
            A command, the outcome or another value breaks a rule.
        SessionConflictError
            `session_id` is taken by a session with different content.
        """
        item = {
            "session_commands": session_commands,
            "session_outcome": session_outcome,
            "session_id": session_id,
            "source": source,
        }
        session = _SessionInput("", item, self._privacy)
        with self._changing():
            pattern_id = self._learn(session)
            self._catch_up()
        return pattern_id

    def learn_many(
        self,
        sessions: Iterable[Mapping[str, Any] | Sequence[CommandLike]],
        progress: Callable[[int], object] | None = None,
    ) -> list[str | None]:
        """Learn many sessions as one transaction: all of them, or none when one is invalid.

        Parameters
        ----------
        sessions : iterable
            Mappings with ``commands`` (or ``session_commands``) and optionally ``outcome`` (or ``session_outcome``;
            unknown when absent), ``session_id`` (or ``session``), ``source``, ``project``; or plain lists of commands.
        progress : callable, optional
            Called with the number of sessions learned so far, inside the transaction: it may read, but not close.

        Returns
        -------
        list of (str or None)
            The pattern id of each session, as from `learn_workflow`.
        """
        if isinstance(sessions, (str, bytes, Mapping)) or not isinstance(sessions, Iterable):
            raise InvalidTypeError(f"sessions: must be an iterable of sessions, not {type(sessions).__name__}")
        if progress is not None and not callable(progress):
            raise InvalidTypeError(
                f"progress: must be callable or None, not {type(progress).__name__} ({shown(progress)})"
            )
        # Read and checked before the lock is taken: a slow source keeps nobody waiting.
        inputs = [_SessionInput(f"sessions[{i}].", item, self._privacy) for i, item in enumerate(sessions)]
        learned = []
        with self._changing():
            self._batch = True
            try:
                waiting = 0
                for i, session in enumerate(inputs):
                    learned.append(self._learn(session))
                    waiting += len(session.commands)
                    if waiting >= BATCH:
                        self._catch_up(all_of_it=False)
                        waiting = 0
                    if progress is not None:
                        progress(i + 1)
                self._catch_up()
            finally:
                self._batch = False
        return learned

    def import_history(
        self,
        source: str = "auto",
        path: str | os.PathLike[str] | None = None,
        *,
        idle_gap: float | timedelta = 1800.0,
        include_open: bool = False,
        dry_run: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> ImportReport:
        """Learn the histories of shells and coding agents, as far as they are not known.

        Importing again learns what is new. Sessions are those of the history, cut where nothing happened for
        `idle_gap`; their outcome is unknown, for no history tells it, while steps have the exit codes that are told.
        A session whose last command is younger than `idle_gap` may go on: it is left for the next import.
        What cannot be read is counted and left out; each few thousand commands are learned as one transaction.

        Parameters
        ----------
        source : str
            ``"auto"``: what there is, or what kind of history `path` is. Else one of ``"zsh"``, ``"bash"``, ``"fish"``,
            ``"powershell"``, ``"atuin"``, ``"claude-code"``, ``"codex"``, ``"swe-agent"``, ``"asciinema"``,
            ``"omnimemory"``, and ``"file"``: sessions as JSON, JSONL or plain text, with the outcomes they name.
        path : str or path, optional
            A file, a folder, or a pipe that ends; where the source keeps its own unless given.
        idle_gap : float or timedelta
            Seconds without a command that end a session.
        include_open : bool
            Learn sessions also whose last command is younger than `idle_gap`; what follows is another session.
        dry_run : bool
            Learn nothing; tell what would be learned.
        progress : callable, optional
            Called with how many bytes were read, of how many.

        Returns
        -------
        ImportReport

        Raises
        ------
        InvalidInputError
            The source is unknown, or cannot be told from the file.
        HistoryError
            The file cannot be read, or is a device or a socket. Of several files those that cannot be read are in the
            report.
        """
        from procedural_memory.importing import import_files

        gap = as_seconds("idle_gap", idle_gap)
        if not isinstance(source, str):
            raise InvalidTypeError(f"source: must be a string, not {type(source).__name__} ({shown(source)})")
        if not gap:
            raise InvalidInputError(f"idle_gap: must be more than 0 seconds, got {shown(idle_gap)}")
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise InvalidTypeError(f"path: must be a file, a folder or None, not {type(path).__name__} ({shown(path)})")
        refuse_address("path", path)
        if progress is not None and not callable(progress):
            raise InvalidTypeError(f"progress: must be callable or None, not {type(progress).__name__}")
        if self._privacy.disabled:
            return ImportReport((), dry_run)
        report = import_files(
            _Memory(self),
            source,
            None if path is None else Path(path).expanduser(),
            idle_gap=gap,
            include_open=include_open,
            dry_run=dry_run,
            progress=progress,
        )
        if report.new_sessions and not dry_run:
            with self._changing():
                self._catch_up()
        hide = self._privacy.again
        return replace(
            report, sources=tuple(replace(one, problems=tuple(map(hide, one.problems))) for one in report.sources)
        )

    async def alearn_workflow(
        self,
        session_commands: Sequence[CommandLike],
        session_outcome: Outcome = "success",
        session_id: str | None = None,
        source: str | None = None,
    ) -> str | None:
        """`learn_workflow` in a thread, so that the event loop goes on."""
        return await _in_thread(self.learn_workflow, session_commands, session_outcome, session_id, source)

    def session(
        self,
        *,
        cwd: str | None = None,
        session_id: str | None = None,
        project: str | None = None,
        source: str | None = None,
        actor: str | None = None,
        host: str | None = None,
        branch: str | None = None,
        resume: bool = False,
    ) -> Session:
        """Start a live session; its steps are learned as they are recorded.

        Parameters
        ----------
        cwd, project, source, actor, host, branch : str, optional
            For every step that does not say otherwise; see `Command`.
        session_id : str, optional
            A fresh one unless given.
        resume : bool
            Go on with the open session of that id, also where another process of this machine began it. When that
            process ends and it is still open, it is closed.

        Raises
        ------
        SessionConflictError
            The id is taken; with `resume`, by a session that is closed.
        InvalidInputError
            A value breaks a rule; with `resume`, no session has the id.
        """
        defaults = {"cwd": cwd, "project": project, "source": source, "actor": actor, "host": host, "branch": branch}
        probe = self._privacy.hide(as_command("session", "true", defaults=defaults))
        name = self._privacy.optional(redacted("session_id", session_id)) or uuid.uuid4().hex
        kept = {field: None if value is None else getattr(probe, field) for field, value in defaults.items()}
        with self._reading() if resume else self._changing():
            known = self._store.find_session(name)
            if resume:
                number = _open_number(name, known)
            elif known is not None:
                raise SessionConflictError(f"session_id: {name!r} is taken; leave it out to get a fresh one")
            else:
                number = self._store.add_session(name, self._now(), probe.source, owner_of(os.getpid()))
            values = SessionValues(judged=self._judged)
            context = SessionContext(values=values, project=probe.project, cwd=probe.cwd, session=number)
            live = Session(self, number, name, kept, context)
            self._live.add(live)
        return live

    def _record(
        self, live: Session, item: CommandLike, given: Mapping[str, Any], output: str | bytes | None
    ) -> Command:
        command = self._privacy.hide(as_command("command", item, defaults=live._defaults, given=given))
        text = self._privacy.optional(as_output(output))
        if self._privacy.keeps_out(item):
            return command
        with self._writing():
            with self._store.transaction():
                step = self._next_step(live)
                if step == 0 and command.timestamp is not None:
                    # As in a batch, a session begins with its first step.
                    self._store.set_start(live._number, command.timestamp)
                self._store.add_steps(live._number, step, [command])
            live._note(command, text)
        return command

    def _next_step(self, live: Session) -> int:
        step = self._store.next_step(live._number)
        if step is None:
            self._find(live)
            raise ClosedError(f"session {live.session_id!r} was closed; start a new one with engine.session()")
        return step

    def _find(self, live: Session) -> SessionRow:
        """Return the row of a live session, which another process may have forgotten."""
        row = self._store.find_session(live._number)
        if row is None:
            live._gone = True
            raise ClosedError(f"session {live.session_id!r} was forgotten or replaced; start a new one")
        return row

    def _close_session(self, live: Session, outcome: Outcome) -> str | None:
        result, number = as_outcome(outcome, name="outcome"), live._number
        with self._changing():
            row, commands = self._find(live), self._store.steps(number)
            if not row.closed:
                self._store.close_session(number, result, session_digest(commands, result))
                self._catch_up()
                self._predictor.forget()  # what its outputs named goes with the session
            if len(commands) < self._min_commands:
                return None
            return pattern_id_of(_templates(commands))

    def _close_interrupted(self) -> None:
        """Close the sessions of processes that are gone, with unknown outcome; of those of which nothing can be known
        the ones that began long ago."""
        gone = [row for row in self._store.open_sessions() if self._is_interrupted(row)]
        # Where the store cannot be written now they wait for the next one that opens it.
        with suppress(StorageError):
            if gone:
                with self._store.transaction(patience=0.1):
                    for row in gone:
                        if not self._store.get_session(row.id).closed:
                            digest = session_digest(self._store.steps(row.id), None)
                            self._store.close_session(row.id, None, digest)

    def _is_interrupted(self, row: SessionRow) -> bool:
        fate = fate_of(row.owner)
        return fate == "gone" or (fate == "unknown" and row.start < time.time() - _ABANDONED)

    def _after_removal(self) -> None:
        """Derive everything again."""
        self._rankers.restart()
        self._derive_again()

    def _derive_again(self, watched: bool = True) -> None:
        self._deriver.rebuild(watched)
        self._keep_ranker(anew=True)
        self._judged.clear()
        self._predictor.forget()
        self._vectors.reset()

    def _settle(self) -> None:
        """After sessions were removed or added for good: let open sessions forget what is gone, embed what is new."""
        with self._reading():
            self._refresh_live()
        self._vectors.notify()

    def _refresh_live(self) -> None:
        for live in list(self._live):
            known = self._store.find_session(live._number)
            live._gone = (known is None or known.closed) and not live._closed
            if known is None or known.closed:
                continue
            live.session_id = known.session_id  # another one after a scrub
            steps = self._store.steps(known.id)
            same = [command.command for command in steps[-CONTEXT_LENGTH:]] == live._context.lines
            if not same or len(steps) != live._context.length:
                self._set_context(live, steps)

    def _context_of(self, live: Session) -> SessionContext:
        """Return the steps of a live session so far, those included that other processes recorded."""
        if live._context.length != self._store.step_count(live._number):
            self._set_context(live, self._store.steps(live._number))
        return live._context

    def _set_context(self, live: Session, steps: Sequence[Command]) -> None:
        known = live._context
        project = None if known.project is None else self._privacy.again(known.project)
        live._context = SessionContext.of(steps, project, known.cwd)
        live._context.session = live._number
        live._context.values.judged = self._judged

    def _learn(self, session: _SessionInput | _Imported) -> str | None:
        too_few = len(session.commands) < self._min_commands
        if too_few and not isinstance(session, _Imported):
            return None
        digest = session_digest(session.commands, session.outcome)
        with self._store.transaction():
            name = session.session_id or uuid.uuid4().hex
            known = self._store.find_session(name)
            if known is not None:
                self._check_same(known, digest)
            else:
                start = session.commands[0].timestamp
                number = self._store.add_session(name, self._now() if start is None else start, session.source)
                self._store.add_steps(number, 0, session.commands)
                self._store.close_session(number, session.outcome, digest)
        return None if too_few else pattern_id_of(_templates(session.commands))

    def _check_same(self, known: SessionRow, digest: bytes) -> None:
        """Raise when the session that is known under an id has other content."""
        if known.digest == digest:
            return
        # Kept when there were fewer rules for what is redacted, it may be the same.
        hidden = [self._privacy.hide_again(command) for command in self._store.steps(known.id)]
        if session_digest(hidden, known.outcome) != digest:
            raise SessionConflictError(
                f"session_id: {known.session_id!r} is taken by a session with different content; "
                "use another id, or forget that session first"
            )

    # -- predicting

    def predict_next_action(
        self,
        current_context: Sequence[CommandLike] = (),
        top_k: int = 3,
        *,
        level: Level = "command",
        min_probability: float = 0.0,
        cwd: str | None = None,
    ) -> list[Prediction]:
        """Predict what comes next.

        Parameters
        ----------
        current_context : list of str, mapping or Command
            The commands of the current session so far, newest last. Empty: how sessions start.
        top_k : int
            At most this many predictions.
        level : {"command", "template"}
            Rank command lines by `Prediction.probability`, or distinct templates by
            `Prediction.template_probability`.
        min_probability : float
            Leave out what is less probable.
        cwd : str, optional
            The directory in which the next command will run; that of the newest command unless given.

        Returns
        -------
        list of Prediction
            Most probable first; empty when nothing was learned or nothing is probable enough.
        """
        context = SessionContext.of(self._privacy.commands("current_context", current_context))
        place = None if cwd is None else self._place(cwd)
        return self._predict(lambda: context, top_k, level, min_probability, place)

    async def apredict_next_action(
        self,
        current_context: Sequence[CommandLike] = (),
        top_k: int = 3,
        *,
        level: Level = "command",
        min_probability: float = 0.0,
        cwd: str | None = None,
    ) -> list[Prediction]:
        """`predict_next_action` in a thread, so that the event loop goes on."""
        return await _in_thread(
            self.predict_next_action, current_context, top_k, level=level, min_probability=min_probability, cwd=cwd
        )

    def _predict(
        self,
        context: Callable[[], SessionContext],
        top_k: int,
        level: Level,
        min_probability: float,
        place: Command | None,
    ) -> list[Prediction]:
        k = as_positive_int("top_k", top_k)
        floor = as_probability("min_probability", min_probability)
        if level not in get_args(Level):
            raise InvalidInputError(f"level: must be 'command' or 'template', got {shown(level)}")
        with self._asking():
            where = (place.project, place.cwd) if place else (None, None)
            found = self._predictor.predict(context(), k, level, floor, where)
        return self._privacy.predictions(found)

    def _place(self, cwd: str, defaults: Mapping[str, Any] | None = None) -> Command:
        """Return a command that would run in a directory."""
        return self._privacy.hide(as_command("cwd", "true", defaults=defaults, given={"cwd": cwd}))

    def lines_beginning(self, text: str, limit: int = 5) -> list[str]:
        """Return command lines that were run and begin with a text.

        Parameters
        ----------
        text : str
            Longer lines that begin exactly so.
        limit : int
            At most so many lines.

        Returns
        -------
        list of str
            Of one line each; those that were run most often come first, behind them what failed each time. Lines with
            an open or redacted part are left out, and events that no shell could run. Runs among the newest 200,000
            steps count. However many lines begin so, it takes a few milliseconds: of more than 500 those of the newest
            1,000 steps are looked at, and of the others the first 500 of the alphabet.
        """
        if not isinstance(text, str):
            raise InvalidTypeError(f"text: must be a string, not {type(text).__name__} ({shown(text)})")
        most = as_positive_int("limit", limit)
        if "\0" in text or text.encode("utf-8", "replace").decode() != text:
            return []  # no line has such a character
        with self._asking():
            found = self._store.lines_beginning(text, most + _LEFT_OUT)
        lines = [line for line in found if not (PLACEHOLDER.search(line) or is_event(line))]
        privacy = self._privacy
        return [line for line in lines if not privacy.keeps_out(line) and privacy.again(line) == line][:most]

    def feedback(self, current_context: Sequence[CommandLike], prediction: Prediction | str, verdict: Verdict) -> None:
        """Tell what became of a prediction that was shown, where there is no live session; see `Session.feedback`.

        Parameters
        ----------
        current_context : list of str, mapping or Command
            For which the prediction was made. Nothing is learned from it.
        prediction : Prediction or str
            As `predict_next_action` returned it, or its command line.
        verdict : {"accepted", "rejected", "ignored"}
        """
        commands = self._privacy.commands("current_context", current_context)
        last = commands[-1].command if commands else None
        project = next((command.project for command in reversed(commands) if command.project), None)
        self._judge(None, prediction, verdict, last, project)

    async def afeedback(
        self, current_context: Sequence[CommandLike], prediction: Prediction | str, verdict: Verdict
    ) -> None:
        """`feedback` in a thread, so that the event loop goes on."""
        await _in_thread(self.feedback, current_context, prediction, verdict)

    def _judge(
        self,
        live: Session | None,
        prediction: Prediction | str,
        told: Verdict,
        after: str | None = None,
        project: str | None = None,
    ) -> None:
        line, verdict = self._privacy.text(as_shown(prediction)), as_verdict(told)
        if self._privacy.keeps_out(prediction if isinstance(prediction, str) else prediction.next_command):
            return
        with self._writing(), self._store.transaction():
            number, step = None, 0
            if live is not None:
                number, step, project = live._number, self._next_step(live), live._context.project
            self._store.add_feedback(number, [FeedbackRow(step, after, line, verdict, self._now(), project)])

    def similar_patterns(
        self, commands: Sequence[CommandLike], k: int = 5, threshold: float | None = None
    ) -> list[SimilarPattern]:
        """Return the patterns that resemble a sequence of commands, in order, best first.

        Parameters
        ----------
        commands : list of str, mapping or Command
            Matched at any place of a pattern, with gaps and substitutions. Of more than 256 the newest count.
        k : int
            At most this many.
        threshold : float, optional
            Least similarity in 0..1; `similarity_threshold` unless given.
        """
        wanted = as_positive_int("k", k)
        floor = self._threshold if threshold is None else as_probability("threshold", threshold)
        templates = _templates(self._privacy.commands("commands", commands))
        # Before the lock: a model that is slow keeps no prediction waiting.
        with self._reading():
            batch = self._batch
            strangers = self._search.strangers(templates)
        like: list[str] = []
        if not batch:  # a batch holds the store, which the worker may be waiting for
            self._vectors.prepare(templates[-MAX_QUERY:])
            like = self._vectors.like(strangers)
        with self._reading():
            return self._search.similar(templates, wanted, floor, like) if templates else []

    def pattern_groups(self, threshold: float = 0.9) -> list[tuple[str, ...]]:
        """Return groups of near-duplicate patterns: ids connected by similarity of at least `threshold`.

        A view computed when asked for: two memories with the same sessions give the same groups.
        """
        floor = as_probability("threshold", threshold)
        with self._reading():
            return self._index.groups(floor)

    def explain_outcome(self, context: Sequence[CommandLike], limit: int = 5) -> OutcomeExplanation:
        """Return which steps of a context go together with success or failure, with counts and an interval.

        Association, not proof of cause.

        Parameters
        ----------
        context : list of str, mapping or Command
        limit : int
            At most this many steps on each side.
        """
        from procedural_memory.memory.causal import explain_outcome

        most = as_positive_int("limit", limit)
        templates = _templates(self._privacy.commands("context", context))
        with self._reading():
            return explain_outcome(self._store, templates, most)

    def predict_outcome(self, context: Sequence[CommandLike] = (), limit: int = 5) -> OutcomePrediction:
        """Predict whether a session that has come so far will end in success, and say what speaks for and against it.

        Learned from the outcomes, exit codes and steps of sessions: the newest 1,000 with a known outcome.
        Association, not proof of cause.

        Parameters
        ----------
        context : list of str, mapping or Command
            The commands of the session so far, newest last; of a very long session the newest 512 count.
        limit : int
            At most this many steps on each side.

        Raises
        ------
        InvalidInputError
            A command or `limit` breaks a rule.
        """
        commands = self._privacy.commands("context", context)
        return self._predict_outcome(lambda: commands, limit)

    async def apredict_outcome(self, context: Sequence[CommandLike] = (), limit: int = 5) -> OutcomePrediction:
        """`predict_outcome` in a thread, so that the event loop goes on."""
        return await _in_thread(self.predict_outcome, context, limit)

    def _predict_outcome(self, commands: Callable[[], Sequence[Command]], limit: int) -> OutcomePrediction:
        most = as_positive_int("limit", limit)
        with self._asking():
            newest = commands()[-LONGEST:]
            return self._outcomes.predict(_templates(newest), course_of(newest), most)

    def _steps_of(self, number: int) -> list[Command]:
        """Return the newest steps of a live session."""
        return self._store.steps(number, max(0, self._store.step_count(number) - LONGEST))

    # -- what is remembered

    @property
    def patterns(self) -> Patterns:
        """The learned patterns by id: a live, read-only mapping, with `page` for a part of them in order."""
        return self._patterns

    @property
    def workflow_graph(self) -> nx.DiGraph:
        """The transitions as a directed graph, up to date when read; changing it changes no memory."""
        from procedural_memory.memory.graph import workflow_graph

        with self._reading():
            return workflow_graph(self._store, self._privacy.again)

    def graph_view(
        self, limit: int | None = SHOWN_TEMPLATES, search: str | None = None, around: str | None = None
    ) -> GraphView:
        """Return the part of the workflow graph that is worth showing.

        Parameters
        ----------
        limit : int or None
            At most this many templates, the most used ones; None: all.
        search : str, optional
            Templates that hold all of these words, and their strongest neighbours.
        around : str, optional
            This template and its neighbourhood.
        """
        from procedural_memory.graphs.view import view_of

        with self._reading():
            return view_of(self._store, self._privacy.again, limit=limit, search=search, around=around)

    def export_graph(
        self,
        format: str,
        path: str | os.PathLike[str] | None = None,
        *,
        limit: int | None = None,
        search: str | None = None,
        around: str | None = None,
    ) -> str:
        """Return the workflow graph as text, and write it to a file that is private to the user when one is named.

        Parameters
        ----------
        format : {"json", "graphml", "mermaid", "dot", "html"}
            ``"json"`` is node-link data as networkx reads it; ``"html"`` one page that needs no network.
        path : str or path, optional
        limit, search, around
            As of `graph_view`, but all of the graph unless told otherwise.
        """
        from procedural_memory.graphs.formats import export

        return export(self.graph_view(limit, search, around), format, path)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        limit: int | None = SHOWN_TEMPLATES,
        search: str | None = None,
        around: str | None = None,
    ) -> str:
        """Return one page that shows the workflow graph and needs no network; see `export_graph`."""
        return self.export_graph("html", path, limit=limit, search=search, around=around)

    def _repr_html_(self) -> str | None:
        from procedural_memory.graphs.html import notebook

        return None if self._closed else notebook(self.graph_view())

    @property
    def causal_chains(self) -> dict[str, list[dict[str, str | int | None]]]:
        """What followed each template, with outcome and count: association, not proof of cause."""
        from procedural_memory.memory.graph import causal_chains

        with self._reading():
            return causal_chains(self._store, self._privacy.again)

    def learned_since(self, place: int | None = None, limit: int = 100) -> tuple[int, list[Command]]:
        """Return the steps that were learned after a place in the log, by whatever process.

        Parameters
        ----------
        place : int, optional
            As this returned it before. None: only say what the place is now.
        limit : int
            At most so many rows of the log; what is behind them comes with the next call.

        Returns
        -------
        place : int
            Up to where the log was read.
        steps : list of Command
            Oldest first, redacted.
        """
        most = as_positive_int("limit", limit)
        if place is not None and (isinstance(place, bool) or not isinstance(place, int)):
            raise InvalidTypeError(f"place: must be an integer or None, not {type(place).__name__} ({shown(place)})")
        with self._asking():
            now = self._store.last_row()
            rows = self._store.rows_after(place, most) if place is not None and place < now else []
        commands = [row.command for row in rows if row.command is not None]
        return rows[-1].seq if rows else now, [self._privacy.hide_again(command) for command in commands]

    def stats(self) -> dict[str, Any]:
        """Return sizes, outcome totals, and the embedder with the reason it was chosen.

        Steps and sessions that several sources tell of are counted once. What hooks recorded while the memory could not
        be written waits beside it until it can: ``waiting_steps``, and ``unreadable_steps`` of another version or none.
        """
        with self._reading():
            totals, bounds = self._store.totals(), self._store.bounds()
            file = file_of(self._store.path)
            waiting, unreadable, _ = (0, 0, 0) if file is None else spool(file)
            return {
                **totals,
                "waiting_steps": waiting,
                "unreadable_steps": unreadable,
                "graph_node_count": totals["template_count"],
                "pattern_states": count_states(self._store),
                "max_patterns": bounds.patterns,
                "max_memory": bounds.size,
                "path": self._store.path,
                "min_commands": self._min_commands,
                "similarity_threshold": self._threshold,
                "embedder": self._vectors.status(),
            }

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self._patterns)

    def __bool__(self) -> bool:
        """An engine is true, also when it has learned nothing."""
        return True

    def __repr__(self) -> str:
        where = self._store.path or "in memory"
        try:
            totals = self.stats()
        except ClosedError:
            return f"<ProceduralMemoryEngine {where}, closed>"
        return (
            f"<ProceduralMemoryEngine {where}, {counted(totals['pattern_count'], 'pattern')}, "
            f"{counted(totals['session_count'], 'session')}, {counted(totals['command_count'], 'command')}, "
            f"embedder {self._selection.name}>"
        )

    # -- keeping and moving

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the memory to one file, whole and private.

        By its suffix: ``.pkl``, ``.json`` or ``.jsonl`` of plain containers, or ``.sqlite``, a copy of the store as
        it is: rules that are newer hold for it when it is read.
        """
        from procedural_memory.storage.snapshot import write_snapshot

        if self._privacy.disabled:
            raise StorageError(f"save: {DISABLE} turns everything off, and nothing was written; unset it to save")
        with self._asking():
            return write_snapshot(self._store, path, self._rankers.to_bytes(), self._privacy.again)

    def load(self, path: str | os.PathLike[str], mode: str | None = None) -> Loaded:
        """Read a file written by `save`, or a pickle of the older engine.

        Of the latter each pattern becomes as many sessions as it had successes and failures; of more than 200 the share
        is kept.

        Parameters
        ----------
        path : str or path
            A hostile or damaged file raises, and nothing in it is run.
        mode : {"replace", "merge"}, optional
            ``"replace"`` (the default in memory) puts the file in place of what was learned; ``"merge"`` adds the
            sessions that are not known yet. A durable store wants to be told which; before it is replaced it is saved
            beside its file.

        Returns
        -------
        Loaded
            How many sessions were taken over, and where the backup is.
        """
        from procedural_memory.storage.snapshot import read_snapshot

        if mode not in (None, "replace", "merge"):
            raise InvalidInputError(f"mode: must be 'replace' or 'merge', got {shown(mode)}")
        if self._store.path is not None and mode is None:
            raise InvalidInputError("mode: a durable store wants to be told 'merge' or 'replace', got None")
        snapshot = read_snapshot(path)
        backup = None
        with self._changing():
            if mode != "merge":
                backup = self._back_up()
                self._store.delete_sessions([row.id for row in self._store.sessions()])
                self._store.replace_feedback(None, ())
                self._store.clear_meta(IMPORTED)  # what was imported went with the rest, and may be imported again
                self._after_removal()
            try:
                added = self._take_in(snapshot, keep_open=mode != "merge")
                self._vectors.restore(snapshot.vectors)
            except BaseException:
                if backup is not None:
                    backup.unlink()  # of what is still there
                raise
        self._settle()
        if not self._vectors.missing():
            # Every vector came with the file: what is left is quick, and predictions are at once as before.
            self._vectors.flush()
        return Loaded(added, backup)

    def _back_up(self) -> Path | None:
        """Save a durable memory beside its file, under a name that is free."""
        if self._store.path is None:
            return None
        beside = self._store.path
        if is_address(beside):  # nothing lies beside that: it is saved on this machine
            beside = os.fspath(store_path("default").with_name(re.sub(r"[^\w.-]+", "-", beside)))
            Path(beside).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stem = f"{beside}.{time.strftime('%Y%m%dT%H%M%S')}"
        names = (Path(f"{stem}.{number}.sqlite") for number in count(1))
        return self.save(next(name for name in names if not name.exists()))

    def merge(self, other: ProceduralMemoryEngine | str | os.PathLike[str]) -> int:
        """Learn every session of another memory, or of a file written by `save`, that is not known yet.

        The result is what learning the union of the sessions gives, in whatever order merges happen. Only what the
        rankers learned, which hangs on the order of learning, is combined approximately: by the evidence of both.

        Steps with equal line and host, at most two seconds apart and from different sources are one step: the record
        that tells most of it counts. A session most of whose steps count elsewhere forms no pattern. Learned without a
        merge, a poorer record that came first goes on to count until `rebuild`.

        Returns
        -------
        int
            Number of sessions added.

        Raises
        ------
        SessionConflictError
            A session id stands for different content in the two memories; nothing was merged.
        """
        from procedural_memory.storage.snapshot import SessionRecord, Snapshot, read_snapshot, sessions_of

        if isinstance(other, ProceduralMemoryEngine):
            if other is self:
                return 0
            with other._reading():
                records = [SessionRecord("session", item) for item in sessions_of(other._store, other._privacy.again)]
                snapshot = Snapshot(records, other._store.feedback(None), {}, other._rankers.to_bytes())
        else:
            snapshot = read_snapshot(other)
        with self._changing():
            added = self._take_in(snapshot)
        self._settle()
        return added

    def _take_in(self, snapshot: Snapshot, keep_open: bool = False) -> int:
        """Learn the sessions that are not known, and feedback that is not known, also that of known sessions.

        Open sessions are left to the memory in which they go on, unless kept open.
        """
        self._catch_up()
        self._store.add_feedback(None, self._privacy.feedback(snapshot.feedback))
        added, new_steps, steps, moved = 0, 0, 0, False
        for record in self._privacy.sessions(snapshot.sessions):
            steps += len(record.commands)
            if not (record.closed or keep_open):
                continue
            digest = session_digest(record.commands, record.outcome)
            known = self._store.find_session(record.session_id)
            if known is not None:
                if record.closed and not known.closed:
                    new_steps += self._complete(known, record, digest)
                    added += 1
                else:
                    self._check_same(known, digest)
                if record.start < known.start:
                    # Learned in two places without a time of its own: the earlier place holds everywhere.
                    self._store.set_start(known.id, record.start)
                    moved = True
                self._store.add_feedback(known.id, record.feedback)
                continue
            number = self._store.add_session(record.session_id, record.start, record.source)
            self._store.add_steps(number, 0, record.commands)
            self._store.add_feedback(number, record.feedback)
            if record.closed:
                self._store.close_session(number, record.outcome, digest)
            added += 1
            new_steps += len(record.commands)
        if moved:
            self._after_removal()
            return added
        # Rankers that have seen these steps in the other memory need not see them again.
        combined = bool(new_steps) and self._rankers.combine(snapshot.ranker, new_steps / steps)
        self._catch_up(watched=not combined)
        if self._store.meta(SUPERSEDED):
            self._derive_again(watched=False)
        elif combined:
            self._keep_ranker(anew=True)
        return added

    def _absorb(self, paths: Sequence[Path]) -> None:
        """Take over what `distributed` learned of sessions that are not known here; the tail of their log, from which
        the ranker learns, is left for the next read."""
        from procedural_memory.storage.sqlite import SQLiteStore

        if not isinstance(self._store, SQLiteStore):
            from procedural_memory.storage.snapshot import read_snapshot

            snapshots = [read_snapshot(path) for path in paths]
            with self._changing():
                for snapshot in snapshots:
                    self._take_in(snapshot)
            self._settle()
            return
        with self._store.beside([*map(str, paths)]) as names, self._changing():
            self._catch_up()
            told_in_both = self._store.absorb(names, SAME_TIME)
            self._predictor.forget()
            self._outcomes.forget()
            if told_in_both:
                self._derive_again(watched=False)

    def _complete(self, known: SessionRow, record: SessionRecord, digest: bytes) -> int:
        """Bring a session that is open here to the end that it came to elsewhere; return how many steps are new."""
        steps = self._store.steps(known.id)
        if session_digest(steps, None) != session_digest(record.commands[: len(steps)], None):
            raise SessionConflictError(
                f"session_id: {record.session_id!r} is taken by an open session with different content; close it first"
            )
        self._store.add_steps(known.id, len(steps), record.commands[len(steps) :])
        self._store.close_session(known.id, record.outcome, digest)
        return len(record.commands) - len(steps)

    def forget(
        self,
        *,
        pattern: str | None = None,
        command: str | None = None,
        session: str | None = None,
        project: str | None = None,
        before: float | str | datetime | None = None,
        matching: str | re.Pattern[str] | None = None,
        template: str | None = None,
        containing: str | None = None,
        source: str | None = None,
        dry_run: bool = False,
    ) -> Forgotten:
        """Forget steps, as if they had never been learned. All conditions given must hold for a step.

        Feedback goes with the step that it was given after; and where its own line, project and time meet the
        conditions, as if it were a step. No file of the memory keeps a trace of what went: its free space is
        overwritten and given back, its write-ahead log emptied. While another process still reads what was there
        before, that waits for a later write or a close; a warning is logged.

        All is derived from the log again: it takes about as long as learning what is left.

        Parameters
        ----------
        pattern : str, optional
            Steps of the sessions that followed the pattern with this id.
        command : str, optional
            Steps with exactly this command line.
        session, source : str, optional
            Steps of the session with this id, or of sessions that came from that source.
        project : str, optional
            Steps of that project.
        before : float, str or datetime, optional
            Steps that began before this time (the session's start where a step has none).
        matching : str or re.Pattern, optional
            Steps in whose command line this regular expression finds something. Lines were redacted when they were
            learned: a secret is not found.
        template : str, optional
            Steps with that template.
        containing : str, optional
            Steps whose command line holds this text.
        dry_run : bool
            Change nothing; tell what would go.

        Returns
        -------
        Forgotten
            How many steps, sessions and verdicts went, and examples of the lines.

        Raises
        ------
        InvalidInputError
            No condition is given, or one breaks a rule.
        """
        from procedural_memory.memory.forgetting import Conditions, plan_forget

        asked = Conditions.of(
            self._privacy.again,
            pattern=pattern,
            command=command,
            session=session,
            project=project,
            before=before,
            matching=matching,
            template=template,
            containing=containing,
            source=source,
        )
        return self._forgotten(self._carry_out(lambda: plan_forget(self._store, asked), dry_run))

    def prune(
        self,
        *,
        max_age: float | timedelta | None = None,
        min_support: int | None = None,
        max_size: int | None = None,
        dry_run: bool = False,
    ) -> Forgotten:
        """Forget whole sessions until the memory keeps within all limits given; open sessions stay.

        Parameters
        ----------
        max_age : float or timedelta, optional
            Sessions whose last step (the start, where steps have no time) is longer ago go, in seconds; feedback of no
            session, too.
        min_support : int, optional
            Sessions whose pattern fewer sessions follow go: rare workflows. A workflow that is new is rare, too, so
            prune by it now and then rather than every night. Open sessions form no pattern; sessions without one stay.
        max_size : int, optional
            Sessions go, those whose last step is oldest first, until at most this many steps are left. The file
            shrinks with them: each step takes about as much of it as before.
        dry_run : bool
            Change nothing; tell what would go.

        Returns
        -------
        Forgotten
            As from `forget`, and with as little trace left. What goes depends on the sessions and the time of day
            alone; pruning again within the same limits finds nothing.

        Raises
        ------
        InvalidInputError
            No limit is given, or one breaks a rule.
        """
        from procedural_memory.memory.forgetting import Limits, plan_prune

        limits = Limits.of(max_age, min_support, max_size)
        return self._forgotten(
            self._carry_out(lambda: plan_prune(self._store, limits, time.time(), self._min_commands), dry_run)
        )

    def _forgotten(self, plan: Plan) -> Forgotten:
        found = plan.forgotten
        return replace(found, examples=tuple(map(self._privacy.again, found.examples)))

    def scrub(
        self, patterns: str | re.Pattern[str] | Iterable[str | re.Pattern[str]] = (), *, dry_run: bool = False
    ) -> int:
        """Redact everything that is stored, as it would be if it was learned today; what was there leaves no trace.

        For what an older version did not know to be a secret, and for secrets that only you know.

        Parameters
        ----------
        patterns : regular expression, or several of them
            What is to be hidden beside what always is: in command lines, feedback, ids of sessions, folders, projects,
            sources, hosts and branches. Of one with a group named ``s`` only that group.
        dry_run : bool
            Change nothing; tell how much would change.

        Returns
        -------
        int
            How many steps, session ids with sources, and verdicts got another text; 0 when it is called again.

        Raises
        ------
        InvalidInputError
            A pattern is no regular expression.
        """
        from procedural_memory.memory.forgetting import plan_scrub

        given = [patterns] if isinstance(patterns, (str, re.Pattern)) else patterns
        if not isinstance(given, Iterable):
            raise InvalidTypeError(f"patterns: must be regular expressions, not {type(given).__name__}")
        hide = self._privacy.hider([as_pattern(f"patterns[{i}]", item) for i, item in enumerate(given)])
        rewrites = self._carry_out(lambda: plan_scrub(self._store, hide), dry_run).rewrites
        if not dry_run:
            for live in list(self._live):
                live._hide(hide)
        return rewrites

    def _carry_out(self, plan_of: Callable[[], Plan], dry_run: bool) -> Plan:
        if dry_run:
            with self._reading():
                return plan_of()
        with self._changing():
            plan = plan_of()
            if plan.carry_out(self._store):
                self._after_removal()
        self._settle()
        return plan

    def rebuild(self) -> None:
        """Derive everything again from the session log: the result is what was there."""
        with self._changing():
            self._after_removal()
        self._settle()

    def flush(self) -> int:
        """Finish what goes on in the background: learn the log's tail and embed new templates.

        Returns
        -------
        int
            How many templates are still without a vector; more than 0 when the embedder fails, see `stats`.
        """
        with self._reading():
            # A batch holds the store, which the worker may be waiting for.
            if self._batch:
                return self._vectors.missing()
        return self._vectors.flush()

    def close(self) -> None:
        """Stop the background work and release the store. Closing again changes nothing."""
        if self._process != os.getpid():
            return  # what a fork copied is not ours to close
        with self._lock:
            if self._closed:
                return
            if self._batch:
                raise InvalidInputError("close: must not be called from within learn_many")
            if self._rankers.learned != self._kept[1]:
                with suppress(StorageError):  # a store that cannot be written now: only the newest habits are lost
                    self._keep_ranker()
            self._closed = True
        # Outside the lock: the worker may be in the middle of a batch.
        self._vectors.close()
        self._store.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise InvalidTypeError(
            "ProceduralMemoryEngine: cannot be copied or pickled; use save(path) and load(path), or merge(other)"
        )

    def __enter__(self) -> ProceduralMemoryEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- inside

    def _writing(self) -> _Guard:
        return _Guard(self, refresh=False)

    def _reading(self) -> _Guard:
        return _Guard(self, refresh=True)

    def _asking(self) -> _Guard:
        """Read what must not wait: what another process, or a full disk, keeps from being learned now is left."""
        return _Guard(self, refresh=True, patience=_ASKING)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the memory in one transaction; when it fails, what is kept beside the store is as before, too."""
        with self._writing():
            ranker, kept, generation = self._rankers.state(), self._kept, self._generation
            try:
                with self._store.transaction():
                    yield
            except BaseException:
                self._rankers.reset(ranker)
                self._kept = kept
                if self._generation != generation:
                    self._generation = generation
                    with suppress(StorageError):
                        self._refresh_live()  # they go on as if nothing had happened
                self._predictor.forget()
                self._kept_pairs.forget()
                self._outcomes.forget()
                self._deriver.forget()
                raise

    def _catch_up(self, all_of_it: bool = True, patience: float | None = None, watched: bool = True) -> None:
        if self._store.path is not None:
            self._store.refresh()
            self._notice_others()
        for live in list(self._live):
            live._take_in()  # what its outputs taught of a step is learned with the step
        learned = self._deriver.catch_up(all_of_it, patience, watched)
        if learned.rows:
            # A service that was down is tried again whenever something is learned.
            if learned.news or self._vectors.problem:
                self._vectors.notify()
            if self._rankers.learned - self._kept[1] >= _KEEP_AFTER:
                with suppress(StoreBusyError):  # it is kept next time
                    self._keep_ranker(patience=patience)

    def _notice_others(self) -> None:
        """Take over what other processes did to the ranker, and let go of what they forgot."""
        generation = self._store.meta("generation")
        if generation != self._generation:
            self._generation = generation
            self._refresh_live()
        version = self._store.meta("ranker_version")
        if version not in (None, self._kept[0]):
            # What cannot be read is left as it is here, and written anew when there is more to keep.
            self._rankers.restore(self._store.meta("ranker"))
            self._kept = version, self._rankers.learned

    def _keep_ranker(self, anew: bool = False, patience: float | None = None) -> None:
        """Keep the ranker in the store, unless another process kept its own since: of the two the first one stays."""
        if self._store.path is None:
            return
        with self._store.transaction(patience):
            version = self._store.meta("ranker_version")
            if version not in (None, self._kept[0]) and not anew:
                self._notice_others()
                return
            version = version + 1 if isinstance(version, int) else 1
            self._store.set_meta("ranker", self._rankers.to_bytes())
            self._store.set_meta("ranker_version", version)
        self._kept = version, self._rankers.learned

    def _now(self) -> float:
        """Return the time, later than ever before: sessions without a time keep the order in which they came.

        Also when the clock goes back, unless by so much that it must have been wrong before.
        """
        now, next_one = time.time(), self._last_start + 1e-6
        self._last_start = next_one if now < next_one < now + _SKEW else now
        return self._last_start

    def _moments(self, counts: Sequence[int], tick: float) -> list[float]:
        """Return when each of several groups of sessions without a time begins: after all that came before, so many
        ticks apart. What comes next is later."""
        first = self._now()
        self._last_start = first + tick * sum(counts)
        return [first + tick * before for before in accumulate(counts, initial=0)]


class _Guard:
    """Holds the engine's lock, refuses a closed engine; before a read it catches up with the log, and that sees one
    state of the store."""

    __slots__ = ("_engine", "_patience", "_refresh", "_view")

    def __init__(self, engine: ProceduralMemoryEngine, refresh: bool, patience: float | None = None) -> None:
        self._engine = engine
        self._refresh = refresh
        self._patience = patience
        self._view: AbstractContextManager[None] = nullcontext()

    def __enter__(self) -> None:
        engine = self._engine
        # A fork copies locks as they were, perhaps held, and no thread that could release them.
        if engine._process != os.getpid():
            raise ClosedError("the engine belongs to the process that made it; make a new ProceduralMemoryEngine here")
        engine._lock.acquire()
        try:
            if engine._closed:
                raise ClosedError("the engine is closed; make a new ProceduralMemoryEngine")
            if engine._batch and not self._refresh:
                raise InvalidInputError("learn_many: a progress callback may read, but not change the memory")
            with suppress(StorageError):  # busy: they wait for the next call
                engine._store.take_in_spooled(_ASKING if self._patience is None else self._patience)
            # Within a view all is seen as it was when that began.
            if self._refresh and not engine._views and self._enter_view():
                # What is counted is changed where nothing is looked at.
                self._view.__exit__(None, None, None)
                with nullcontext() if self._patience is None else suppress(StorageError):
                    engine._catch_up(patience=self._patience)
                self._view = engine._store.reading()
                self._view.__enter__()
            engine._views += self._refresh
        except BaseException:
            engine._lock.release()
            raise

    def _enter_view(self) -> bool:
        """Begin to see one state; return whether what is counted is behind the log."""
        engine = self._engine
        self._view = engine._store.reading()
        self._view.__enter__()
        try:
            if engine._store.path is not None:
                engine._notice_others()
            return engine._deriver.behind()
        except BaseException as error:
            self._view.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._engine._views -= self._refresh
            self._view.__exit__(kind, error, traceback)
        finally:
            self._engine._lock.release()


class _Imported(NamedTuple):
    """A session of a history, checked and redacted; as of a live one its steps are kept, however few they are."""

    commands: Sequence[Command]
    session_id: str
    source: str
    outcome: Outcome = None


class _Memory:
    """What importing histories needs of an engine."""

    __slots__ = ("_engine",)

    def __init__(self, engine: ProceduralMemoryEngine) -> None:
        self._engine = engine

    def import_state(self, key: str) -> str | None:
        """Return how far a file was read."""
        with self._engine._writing():
            kept = self._engine._store.meta(key)
        return kept if isinstance(kept, str) else None

    def log_end(self) -> int:
        """Return the number of the newest row of the log."""
        with self._engine._writing():
            return self._engine._store.last_row()

    def recorded(self, source: str, host: str) -> list[Recorded]:
        """Return the newest steps of a hook that no history of its shell was found to hold."""
        from procedural_memory.sources.aligning import Recorded

        with self._engine._writing():
            return [
                Recorded(session.partition("#")[0], line, when)
                for session, line, when in self._engine._store.told_by_hook_alone(source, host)
            ]

    def prepare(self, name: str, item: Mapping[str, Any]) -> Command | None:
        """Return a command checked and redacted, None where it is kept out."""
        return self._engine._privacy.command(name, item)

    def learn_told(
        self, source: str, sessions: list[Told], until: int, states: tuple[str, str | None, str], dry_run: bool
    ) -> list[tuple[Sequence[Command], bool]]:
        """Learn what is not known up to row `until`, and keep how far the file was read."""
        from procedural_memory.importing import session_name

        engine = self._engine
        store, (key, before, after) = engine._store, states
        found: list[tuple[Sequence[Command], bool]] = []
        with engine._writing() if dry_run else engine._changing():
            if store.meta(key) != before:
                until = store.last_row()
            for told in sessions:
                new = [command for command in told.commands if not (until and store.has_step(command, until))]
                name = session_name(source, told, session_digest(new, None))
                name = engine._privacy.text(redacted("session_id", name) or name)
                learns = bool(new) and store.find_session(name) is None
                # Named without them: what is read again has none, for its steps were found before.
                for index, when in told.times.items():
                    new[index] = replace(new[index], timestamp=when)
                if learns and not dry_run:
                    engine._learn(_Imported(new, name, source))
                found.append((new, learns))
            if not dry_run:
                store.set_meta(key, after)
                engine._catch_up(all_of_it=False)  # the newest rows wait for the end of the import
        return found

    def learn_sessions(
        self, sessions: list[dict[str, Any]], dry_run: bool
    ) -> list[tuple[Sequence[Command], bool] | InvalidInputError]:
        """Learn sessions with ids of their own, all but those with which something is wrong."""
        engine = self._engine
        found: list[tuple[Sequence[Command], bool] | InvalidInputError] = []
        with engine._writing() if dry_run else engine._changing():
            for item in sessions:
                try:
                    session = _SessionInput("", item, engine._privacy)
                    known = engine._store.find_session(session.session_id or "")
                    if known is not None:
                        engine._check_same(known, session_digest(session.commands, session.outcome))
                        found.append(((), False))
                        continue
                except InvalidInputError as error:
                    found.append(error)
                    continue
                learns = len(session.commands) >= engine._min_commands
                if learns and not dry_run:
                    engine._learn(session)
                found.append((session.commands, learns))
            if not dry_run:
                engine._catch_up(all_of_it=False)
        return found


class _SessionInput:
    """A session handed in by a caller, checked and redacted."""

    __slots__ = ("commands", "outcome", "session_id", "source")

    def __init__(self, prefix: str, item: Any, privacy: Privacy) -> None:
        if not isinstance(item, Mapping):
            item = {"commands": item}
        # Errors name what was given by the name that it was given.
        commands, outcome, session_id = (
            other if name not in item and other in item else name
            for name, other in (
                ("commands", "session_commands"),
                ("outcome", "session_outcome"),
                ("session_id", "session"),
            )
        )
        if commands not in item:
            raise InvalidInputError(f"{prefix}commands: must be given, got the keys {shown(sorted(map(str, item)))}")
        self.outcome = as_outcome(item.get(outcome), prefix, outcome)
        self.session_id: str | None = privacy.optional(redacted(f"{prefix}{session_id}", item.get(session_id)))
        self.source: str | None = privacy.optional(redacted(f"{prefix}source", item.get("source")))
        defaults = {"project": item.get("project"), "source": self.source}
        self.commands = privacy.commands(
            f"{prefix}{commands}", item[commands], defaults={k: v for k, v in defaults.items() if v is not None}
        )


async def _in_thread(function: Callable[..., _T], *arguments: Any, **given: Any) -> _T:
    import asyncio  # who awaits has loaded it; others need not wait for it

    return await asyncio.to_thread(function, *arguments, **given)


def _open_number(name: str, known: SessionRow | None) -> int:
    if known is None:
        raise InvalidInputError(f"session_id: no session has the id {name!r}; leave out resume to start one")
    if known.closed:
        raise SessionConflictError(f"session_id: {name!r} is closed; start another session")
    return known.id


def _templates(commands: Sequence[Command]) -> list[str]:
    return [normalize(command.command) for command in commands]


def store_path(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path means: "default" is in the user's data folder."""
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidTypeError(f"path: must be a file name or None, not {type(path).__name__} ({shown(path)})")
    if path == ":memory:":
        raise InvalidInputError("path: must name a file, got ':memory:'; leave it out to keep everything in memory")
    if is_address(path):
        raise InvalidInputError(
            f"path: must name a file: this works on no memory in PostgreSQL, got {Address.of(path)}"
        )
    refuse_address("path", path)
    if path == "default":
        import platformdirs

        path = Path(platformdirs.user_data_dir("omnimemory-procedural", appauthor=False)) / "memory.sqlite3"
    # The memory stays the same file when the process goes to another folder; what SQLite keeps beside it is beside the
    # file itself, not beside a link to it.
    try:
        return Path(path).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte; links in a circle; no home
        raise StorageError(f"path {str(path)!r}: the store cannot be opened ({error})") from error


def _open(path: str | os.PathLike[str] | None, durability: Durability) -> Store:
    """Open the store that a path means."""
    if is_address(path):
        from procedural_memory.storage.postgres import PostgresStore

        return PostgresStore(str(path), durability)
    from procedural_memory.storage.sqlite import SQLiteStore

    return SQLiteStore(_resolve(path), durability)


def _resolve(path: str | os.PathLike[str] | None) -> str | None:
    if path is None:
        return None
    target = store_path(path)
    try:
        make_private(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        raise StorageError(f"path {str(target)!r}: the store cannot be opened ({error})") from error
    if kind := network_file_system(target):
        warnings.warn(
            f"path {str(target)!r}: lies on a network file system ({kind}); used by several machines "
            "at once it may be damaged: keep it on a local disk, and move it with save and merge",
            stacklevel=4,
        )
    return str(target)
