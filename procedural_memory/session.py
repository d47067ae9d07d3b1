"""A live session: record a step, ask what comes next, close with the outcome."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from procedural_memory.errors import ClosedError, InvalidTypeError
from procedural_memory.types import Command, Level, Outcome, OutcomePrediction, Prediction, Verdict

if TYPE_CHECKING:
    from procedural_memory.engine import ProceduralMemoryEngine
    from procedural_memory.memory.context import SessionContext
    from procedural_memory.validation import CommandLike

__all__ = ["Session"]

_NOTED = 64
"""Steps that wait to be understood."""


class Session:
    """A session that is going on; made by `ProceduralMemoryEngine.session`.

    Used as a context manager it is closed with an unknown outcome at the end of the block, unless it was closed before.

    Attributes
    ----------
    session_id : str
    """

    def __init__(
        self,
        engine: ProceduralMemoryEngine,
        number: int,
        session_id: str,
        defaults: dict[str, str | None],
        context: SessionContext,
    ) -> None:
        self.session_id = session_id
        self._engine = engine
        self._number = number
        self._defaults = defaults
        self._known = context
        self._noted: list[tuple[Command, str | None]] = []
        self._closed = False
        self._gone = False
        self._pattern_id: str | None = None

    @property
    def defaults(self) -> dict[str, str | None]:
        """What holds for every step that does not say otherwise, redacted: cwd, project, source, actor, …"""
        return dict(self._defaults)

    def record(
        self,
        command: CommandLike,
        *,
        exit_code: int | None = None,
        output: str | bytes | None = None,
        cwd: str | None = None,
        timestamp: float | str | None = None,
        duration_ms: float | None = None,
        branch: str | None = None,
    ) -> Command:
        """Learn the next step at once.

        Parameters
        ----------
        command : str, mapping or Command
        exit_code, cwd, timestamp, duration_ms, branch : optional
            As in `Command`; the session's own `cwd` and `branch` unless given.
        output : str or bytes, optional
            What the command printed; its first 16 kB are read. Paths, line numbers and tests in it may fill
            placeholders of this session's predictions; it is never stored.

        Returns
        -------
        Command
            The step as it was stored: redacted, with its project. One that the engine keeps out (`ignore=`, a leading
            blank) comes back like that as well, and is not stored.
        """
        self._check_open()
        given = {
            "exit_code": exit_code,
            "cwd": cwd,
            "timestamp": timestamp,
            "duration_ms": duration_ms,
            "branch": branch,
        }
        return self._engine._record(self, command, given, output)

    def predict(
        self, top_k: int = 5, *, level: Level = "command", min_probability: float = 0.0, cwd: str | None = None
    ) -> list[Prediction]:
        """Return the most probable next steps; see `ProceduralMemoryEngine.predict_next_action`."""
        self._check_open()
        place = None if cwd is None else self._engine._place(cwd, self._defaults)
        return self._engine._predict(lambda: self._engine._context_of(self), top_k, level, min_probability, place)

    def feedback(self, prediction: Prediction | str, verdict: Verdict) -> None:
        """Tell what became of a prediction that was shown after the steps recorded so far.

        It moves what is predicted after such a step, here and in other sessions, and is no step itself: what was
        accepted is learned when it is recorded, and counts once. Each call is one event.

        Parameters
        ----------
        prediction : Prediction or str
            As `predict` returned it, or its command line.
        verdict : {"accepted", "rejected", "ignored"}
        """
        self._check_open()
        self._engine._judge(self, prediction, verdict)

    def predict_outcome(self, limit: int = 5) -> OutcomePrediction:
        """Return how this session will probably end; see `ProceduralMemoryEngine.predict_outcome`."""
        self._check_open()
        return self._engine._predict_outcome(lambda: self._engine._steps_of(self._number), limit)

    def close(self, outcome: Outcome = None) -> str | None:
        """Close the session: credits the outcome and forms the pattern.

        Returns
        -------
        str or None
            The pattern id; None when the session is shorter than `min_commands`. Closing again changes nothing.
        """
        if not self._closed:
            self._check_open()
            self._pattern_id = self._engine._close_session(self, outcome)
            self._closed = True
        return self._pattern_id

    def _hide(self, hide: Callable[[str], str]) -> None:
        """Redact what every step is told of."""
        self._defaults = {name: None if value is None else hide(value) for name, value in self._defaults.items()}

    def _note(self, command: Command, output: str | None) -> None:
        """Remember a step that was recorded, with what it printed."""
        self._noted.append((command, output))
        if len(self._noted) >= _NOTED:
            self._take_in()

    @property
    def _context(self) -> SessionContext:
        """The steps so far, as predictions see them; to be read with the engine's lock held."""
        self._take_in()
        return self._known

    @_context.setter
    def _context(self, context: SessionContext) -> None:
        self._known, self._noted = context, []

    def _take_in(self) -> None:
        # Not when they are recorded: who only records need not wait until they are understood.
        noted, self._noted = self._noted, []
        for command, output in noted:
            self._known.add(command)
            if output is not None:
                self._known.values.observe_output(output)

    def _check_open(self) -> None:
        if self._gone:
            raise ClosedError(f"session {self.session_id!r} was forgotten or replaced; start a new one")
        if self._closed:
            raise ClosedError(f"session {self.session_id!r} is closed; start a new one with engine.session()")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise InvalidTypeError("Session: cannot be copied or pickled; it belongs to its engine")

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if not self._gone:
                self.close()
        except ClosedError:
            if not self._gone:  # forgotten by another process
                raise

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Session {self.session_id!r}, {self._known.length + len(self._noted)} steps, {state}>"
