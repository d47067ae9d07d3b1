"""Live sessions over HTTP: found again by their id, by whichever worker a request reaches."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from procedural_memory.commands.redact import redact
from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import InvalidInputError, SessionConflictError
from procedural_memory.server.refusals import Refused
from procedural_memory.session import Session

__all__ = ["LiveSessions"]

_BEGUN = 100_000


class LiveSessions:
    """The sessions that go on, the ones used last in memory.

    Parameters
    ----------
    folder : Path or None
        A private folder that the workers of one server share; what a session was begun with is kept there.
    most : int
        So many are kept in memory; the others are read from the store when they are used again.
    """

    def __init__(self, folder: Path | None = None, most: int = 1_000) -> None:
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Session] = OrderedDict()
        self._begun: OrderedDict[str, dict[str, Any]] = OrderedDict()  # of one worker, in place of the folder

    def start(self, engine: ProceduralMemoryEngine, given: dict[str, Any]) -> Session:
        """Begin a session."""
        live = engine.session(**given)
        self._note(live)
        return self._keep(live)

    def get(self, engine: ProceduralMemoryEngine, session_id: str) -> Session:
        """Return the open session with that id.

        Raises
        ------
        Refused
            There is none.
        """
        name = redact(session_id)  # as it was kept
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None:
            return self._keep(kept)
        try:
            return self._keep(engine.session(session_id=name, resume=True, **self._begun_with(name)))
        except SessionConflictError:
            raise Refused(409, f"session_id: session {session_id!r} is closed; start another one") from None
        except InvalidInputError:
            raise Refused(404, f"session_id: there is no session {session_id!r}") from None

    def gone(self, session_id: str) -> Refused:
        """Let go of a session that turned out to be closed or forgotten; return what to answer."""
        self.drop(session_id)
        return Refused(409, f"session_id: session {session_id!r} is closed or was forgotten; start another one")

    def _note(self, live: Session) -> None:
        """Keep what a session was begun with: the store knows its steps alone."""
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._file(live.session_id).write_text(json.dumps(live.defaults), encoding="utf-8")
            return
        with self._lock:
            self._begun[live.session_id] = live.defaults
            while len(self._begun) > _BEGUN:
                self._begun.popitem(last=False)

    def _begun_with(self, session_id: str) -> dict[str, Any]:
        if self._folder is None:
            with self._lock:
                return dict(self._begun.get(session_id, {}))
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self._file(session_id).read_text(encoding="utf-8"))
            return found
        return {}

    def _keep(self, live: Session) -> Session:
        with self._lock:
            kept = self._kept.setdefault(live.session_id, live)
            self._kept.move_to_end(live.session_id)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return kept

    def drop(self, session_id: str) -> None:
        """Let go of a session."""
        with self._lock:
            self._kept.pop(redact(session_id), None)
            self._begun.pop(redact(session_id), None)
        if self._folder is not None:
            with suppress(OSError):
                self._file(redact(session_id)).unlink()

    def _file(self, session_id: str) -> Path:
        assert self._folder is not None
        return self._folder / hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()
