"""Server-sent events of what is learned, by this process or another one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import ProceduralMemoryError
from procedural_memory.server.backend import Backend, Busy
from procedural_memory.types import Command

__all__ = ["Feed"]

_EVERY = 0.5
"""Seconds between two looks at the log, however many listen."""
_ALIVE = 15.0
_LONGEST = 600.0
"""Seconds after which a stream ends; a client goes on where it was."""
_FIELDS = ("command", "exit_code", "timestamp", "source", "actor")


class Feed:
    """Tells all who listen of new steps.

    Parameters
    ----------
    backend : Backend
    most : int
        So many may listen at a time.
    """

    def __init__(self, backend: Backend, most: int = 64) -> None:
        self._backend = backend
        self._most = most
        self._listening = 0
        self._closing = False
        self._looked = 0.0
        self._last: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether nobody else may listen now."""
        return self._listening >= self._most

    def close(self) -> None:
        """Let all streams end."""
        self._closing = True

    async def events(self, place: int | None) -> AsyncIterator[bytes]:
        """Yield events from a place in the log on; without one, from now on."""
        self._listening += 1
        try:
            until, told = time.monotonic() + _LONGEST, time.monotonic()
            yield b": learning is told as it happens\nretry: 1000\n\n"
            while not self._closing and time.monotonic() < until:
                now = await self._place()
                place = now if place is None else place
                if now not in (None, place):
                    try:
                        place, steps = await self._backend.run(_since(place))
                    except (Busy, ProceduralMemoryError):  # it is told a little later
                        steps = []
                    if steps:
                        kept = [{name: getattr(step, name) for name in _FIELDS} for step in steps]
                        data = json.dumps({"commands": kept, "place": place})
                        yield f"id: {place}\nevent: learned\ndata: {data}\n\n".encode()
                        told = time.monotonic()
                if time.monotonic() - told > _ALIVE:
                    yield b": still here\n\n"
                    told = time.monotonic()
                await asyncio.sleep(_EVERY / 2)
        finally:
            self._listening -= 1

    async def _place(self) -> int | None:
        """Return where the log ends, as it was seen at most `_EVERY` seconds ago."""
        if self._last is None or time.monotonic() - self._looked > _EVERY:
            self._looked = time.monotonic()
            try:
                self._last, _ = await self._backend.run(_since(None))
            except (Busy, ProceduralMemoryError):
                return self._last
        return self._last


def _since(place: int | None) -> Callable[[ProceduralMemoryEngine], tuple[int, list[Command]]]:
    return lambda engine: engine.learned_since(place)
