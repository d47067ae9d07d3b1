"""The engine behind the shim: opened off the event loop, asked through a bounded queue."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import ProceduralMemoryError
from procedural_memory.privacy import DISABLE, is_disabled
from procedural_memory.types import Durability

__all__ = ["Backend", "Busy", "opener"]

T = TypeVar("T")
_log = logging.getLogger("procedural_memory.server")

_THREADS = 4
"""The engine answers one call at a time; the others read requests and write answers meanwhile."""
_STUCK = 120.0
_ANSWER_WITHIN = 2.0
"""Seconds within which an engine that is well tells of its health."""


class Busy(Exception):
    """The queue is full, or the call waited in it for too long; nothing of it was done."""


class Backend:
    """Runs calls of one engine in threads.

    Parameters
    ----------
    engine : ProceduralMemoryEngine or None
        It belongs to the caller, who closes it.
    opened_by : callable, optional
        Where there is no engine: opens one, which belongs to this object.
    waiting : int
        How many calls may wait or run at a time.
    patience : float
        Seconds for which a call may wait; one that has begun is always finished.
    """

    def __init__(
        self,
        engine: ProceduralMemoryEngine | None,
        opened_by: Callable[[], ProceduralMemoryEngine] | None = None,
        waiting: int = 256,
        patience: float = 30.0,
    ) -> None:
        self._engine = engine
        self._opened_by = opened_by
        self._waiting = waiting
        self._patience = patience
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "procedural-memory")
        self._watch = ThreadPoolExecutor(1, "procedural-memory-health")
        self._asked: asyncio.Future[dict[str, Any]] | None = None
        self._asked_at = 0.0
        self._opens = False
        self.failure: str | None = None
        self.calls = 0
        """How many calls wait or run."""

    def engine(self) -> ProceduralMemoryEngine:
        """Return the engine; the first call opens it, and may take its time."""
        if self._engine is None:
            with self._opening:
                if self._engine is None:
                    if self._opened_by is None:
                        raise RuntimeError("there is neither an engine nor a way to open one")
                    self.failure = None
                    try:
                        self._engine = self._opened_by()
                    except (ProceduralMemoryError, OSError) as error:
                        self.failure = type(error).__name__
                        _log.error("the memory cannot be opened: %s", error)
                        raise
        return self._engine

    @property
    def is_open(self) -> bool:
        """Whether there is an engine yet."""
        return self._engine is not None

    async def run(self, work: Callable[[ProceduralMemoryEngine], T]) -> T:
        """Return what `work` makes of the engine.

        Raises
        ------
        Busy
            Too many calls wait, or this one waited for too long; it was not begun.
        """
        if self.calls >= self._waiting:
            raise Busy
        try:
            future = self._pool.submit(lambda: work(self.engine()))
        except RuntimeError:  # it has ended
            raise Busy from None
        self.calls += 1
        loop = asyncio.get_running_loop()
        # Counted until it is done, not until nobody waits for it.
        future.add_done_callback(lambda _: _on(loop, self._done))
        # A client that has gone does not stop what was accepted.
        answer = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), self._patience)
        except asyncio.TimeoutError:
            if future.cancel():
                raise Busy from None
        return await asyncio.shield(answer)  # it has begun, and is finished

    def _done(self) -> None:
        self.calls -= 1

    async def health(self) -> tuple[str, str | None]:
        """Return the state, ``"healthy"``, ``"degraded"``, ``"loading"`` or ``"unavailable"``, and the reason."""
        if is_disabled():
            return "healthy", f"{DISABLE} turns everything off: nothing is learned or predicted"
        if self._engine is None:
            self.open_soon()
            if self.failure is not None:
                return "unavailable", f"the memory cannot be opened ({self.failure}); the server's log tells more"
            return "loading", "the memory is being opened"
        try:
            sizes = await self.sizes()
        except ProceduralMemoryError as error:
            _log.error("the memory does not answer: %s", error)
            return "unavailable", f"the memory does not answer ({type(error).__name__}); the server's log tells more"
        if sizes is None and time.monotonic() - self._asked_at > _STUCK:
            return "degraded", f"busy: a call has been going on for more than {_STUCK:.0f} seconds"
        if sizes is None:
            return "healthy", "busy: a long call is going on, others wait for it"
        if sizes["embedder"]["problem"] is not None:
            return "degraded", "the embedder fails; predictions use counts alone"
        return "healthy", None

    async def sizes(self) -> dict[str, Any] | None:
        """Return the `stats` of the engine, past the queue; None where there is none or it is busy for long."""
        if self._engine is None:
            return None
        if self._asked is None or self._asked.done():  # one question at a time, however many ask
            self._asked = asyncio.wrap_future(self._watch.submit(self._engine.stats))
            self._asked_at = time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), _ANSWER_WITHIN)
        except asyncio.TimeoutError:
            return None

    def open_soon(self) -> None:
        """Begin to open the engine, unless that has been begun."""
        if not self._opens and self._engine is None:
            self._opens = True
            self._watch.submit(self._open_quietly)

    def _open_quietly(self) -> None:
        try:
            self.engine()
        except Exception:  # told by health, and by every call
            _log.debug("not opened", exc_info=True)
        finally:
            self._opens = False

    def close(self) -> None:
        """Finish the calls that were accepted; close the engine, unless it belongs to somebody else."""
        self._pool.shutdown(wait=True)
        self._watch.shutdown(wait=True)
        if self._opened_by is not None and self._engine is not None:
            self._engine.close()


def opener(
    path: str | os.PathLike[str] | None, embedder: str, durability: Durability = "full"
) -> Callable[[], ProceduralMemoryEngine]:
    """Return what opens a memory; an embedder may be the address of a service."""
    url = embedder if embedder.startswith(("http://", "https://")) else None
    return lambda: ProceduralMemoryEngine(url, path=path, embedder="auto" if url else embedder, durability=durability)


def _on(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop has ended
        function()
