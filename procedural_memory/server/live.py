"""Live sessions over HTTP: found again by their id, by whichever worker a request reaches."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import ClosedError, InvalidInputError, ProceduralMemoryError, SessionConflictError
from procedural_memory.server.refusals import Refused
from procedural_memory.session import Session
from procedural_memory.types import Outcome

__all__ = ["LiveSessions"]


class LiveSessions:
    """The sessions that go on, the ones used last in memory.

    Parameters
    ----------
    folder : Path or None
        A private folder that the workers of one server share; what a session was begun with is kept there.
    most : int
        So many are kept in memory; the others are read from the store when they are used again.
    idle : float
        Seconds without a request after which a session is closed, with unknown outcome.
    """

    def __init__(self, folder: Path | None = None, most: int = 1_000, idle: float = 12 * 3_600.0) -> None:
        self._folder = folder
        self._most = most
        self._idle = idle
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Session, float]] = OrderedDict()

    def start(self, engine: ProceduralMemoryEngine, given: dict[str, Any]) -> Session:
        """Begin a session."""
        self._close_idle()
        live = engine.session(**given)
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._file(live.session_id).write_text(json.dumps(live.defaults), encoding="utf-8")
        self._keep(live)
        return live

    def get(self, engine: ProceduralMemoryEngine, session_id: str) -> Session:
        """Return the open session with that id.

        Raises
        ------
        Refused
            There is none.
        """
        with self._lock:
            kept = self._kept.get(session_id)
        if kept is not None:
            live = kept[0]
        else:
            try:
                live = engine.session(session_id=session_id, resume=True, **self._begun_with(session_id))
            except SessionConflictError:
                raise Refused(409, f"session_id: session {session_id!r} is closed; start another one") from None
            except InvalidInputError:
                raise Refused(404, f"session_id: there is no session {session_id!r}") from None
        self._keep(live)
        return live

    def gone(self, session_id: str) -> Refused:
        """Let go of a session that turned out to be closed or forgotten; return what to answer."""
        self._drop(session_id)
        return Refused(409, f"session_id: session {session_id!r} is closed or was forgotten; start another one")

    def close(self, engine: ProceduralMemoryEngine, session_id: str, outcome: Outcome) -> str | None:
        """Close a session; return its pattern."""
        live = self.get(engine, session_id)
        pattern_id = live.close(outcome)
        self._drop(session_id)
        return pattern_id

    def _begun_with(self, session_id: str) -> dict[str, Any]:
        if self._folder is not None:
            with suppress(OSError, ValueError):
                found: dict[str, Any] = json.loads(self._file(session_id).read_text(encoding="utf-8"))
                return found
        return {}

    def _keep(self, live: Session) -> None:
        with self._lock:
            self._kept[live.session_id] = live, time.monotonic()
            self._kept.move_to_end(live.session_id)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def _drop(self, session_id: str) -> None:
        with self._lock:
            self._kept.pop(session_id, None)
        if self._folder is not None:
            with suppress(OSError):
                self._file(session_id).unlink()

    def _close_idle(self) -> None:
        until = time.monotonic() - self._idle
        with self._lock:
            idle = [live for live, used in self._kept.values() if used < until]
        for live in idle:
            with suppress(ClosedError, ProceduralMemoryError):
                live.close()
            self._drop(live.session_id)

    def _file(self, session_id: str) -> Path:
        assert self._folder is not None
        return self._folder / hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()
