"""Commands whose beginning and whose end are told apart: kept in the order in which they began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from procedural_memory.sources.entry import Entry

__all__ = ["Calls"]

_MOST = 1_000


class Calls:
    """Calls that wait for their end.

    Of a session they come out in the order in which they began, each when it and those before it have ended; at the
    latest after a thousand others.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str | None, Entry]] = {}
        self._queues: dict[str | None, dict[str, Entry | None]] = {}

    def begin(self, call: str, entry: Entry) -> Iterator[Entry]:
        """Note that a call began."""
        queue = self._queues.setdefault(entry.session, {})
        self._waiting[call] = entry.session, entry
        queue[call] = None
        if len(queue) > _MOST:
            oldest = next(iter(queue))
            if oldest in self._waiting:
                yield from self.end(oldest)

    def knows(self, call: str) -> bool:
        """Return whether a call has begun and not ended."""
        return call in self._waiting

    def entry(self, call: str) -> Entry:
        """Return what is known of a call that has not ended."""
        return self._waiting[call][1]

    def end(self, call: str, **told: Any) -> Iterator[Entry]:
        """Yield what has ended with this call, and is known now: what the end told is added to it."""
        session, entry = self._waiting.pop(call)
        queue = self._queues[session]
        queue[call] = entry._replace(**told)
        yield from self._ended(queue)

    def drop(self, call: str) -> Iterator[Entry]:
        """Let go of a call that was never run."""
        session, _ = self._waiting.pop(call)
        queue = self._queues[session]
        del queue[call]
        yield from self._ended(queue)

    def rest(self) -> Iterator[tuple[Entry, bool]]:
        """Yield what is left, with whether it has ended."""
        for queue in self._queues.values():
            for call, entry in queue.items():
                yield (self._waiting[call][1], False) if entry is None else (entry, True)
        self._waiting, self._queues = {}, {}

    def _ended(self, queue: dict[str, Entry | None]) -> Iterator[Entry]:
        while queue:
            call = next(iter(queue))
            entry = queue[call]
            if entry is None:
                return
            del queue[call]
            yield entry
