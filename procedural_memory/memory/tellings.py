"""One step, however many tell of it: which of the records of one step is counted.

A shell's history, a hook and a transcript may all tell of the same step. Records with equal redacted text, of hosts
that may be the same, at most `SAME_TIME` apart and from different sources are one step; the richest record counts.
The others stay in the log, and in the context of what followed them in their own session. Which one that is hangs on
the records alone, not on the order in which they came. Only where a richer record comes after a poorer one has been
counted does the poorer one go on to count, until all is derived anew: what followed it cannot be subtracted.
A line that one source has twice within that time, and a richer one once, is one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from procedural_memory.storage.base import LogRow, Store, moment
from procedural_memory.types import Command

__all__ = ["SAME_TIME", "SUPERSEDED", "Telling", "is_told_elsewhere", "rank", "told_again"]

Rank: TypeAlias = tuple[int, str, bytes]

SAME_TIME: Final = 2.0
"""Seconds by which two sources may differ on when a step began: some know whole seconds only, or when it ended."""

SUPERSEDED: Final = "superseded"
"""The setting that counts the steps of which a richer record came after a poorer one was counted."""

_RICH: Final = ("exit_code", "cwd", "duration_ms", "branch", "actor", "host")


def is_told_elsewhere(store: Store, row: LogRow, command: Command) -> bool:
    """Return whether a step, the next one to be counted, is counted with the record of another source.

    All rows of the log before it have been counted, or are marked.
    """
    others = store.told_elsewhere(command, SAME_TIME)
    if not others:
        return False
    own = _rank(store, row, command)
    ranks = {other.seq: _rank(store, other, other.command) for other in others if other.command is not None}
    counted = [
        other.seq for other in others if other.seq < row.seq and not store.is_marked_again(other.session, other.step)
    ]
    # Also where this one gives way to a third one, which may be too far from those that give way to this one.
    if any(ranks[seq] < own for seq in counted):
        store.set_meta(SUPERSEDED, (store.meta(SUPERSEDED) or 0) + 1)
    return bool(counted) or max(ranks.values()) > own


def _rank(store: Store, row: LogRow, command: Command) -> Rank:
    session = store.get_session(row.session)
    return rank(command, session.start, session.session_id, row.step)


def rank(command: Command, start: float, session_id: str, step: int) -> Rank:
    """Return what records of one step are compared by: how much they tell; then what is the same in every memory."""
    known = sum(getattr(command, name) is not None for name in _RICH)
    return known, command.source or "", moment(start, session_id, step)


class Telling(NamedTuple):
    """A record of a step that another source may tell of as well."""

    line: str
    timestamp: float
    source: str
    host: str | None
    rank: Rank
    place: tuple[int, ...]
    """What the caller knows it by."""


def told_again(tellings: Iterable[Telling]) -> set[tuple[int, ...]]:
    """Return the places of those records that are counted with that of another source, of all that there are.

    The same ones as `is_told_elsewhere` finds where all of them are in one log before the first is counted.
    """
    by_line: dict[str, list[Telling]] = {}
    for telling in tellings:
        by_line.setdefault(telling.line, []).append(telling)
    again: set[tuple[int, ...]] = set()
    for group in by_line.values():
        group.sort(key=lambda telling: telling.timestamp)
        for number, one in enumerate(group):
            for other in islice(group, number + 1, None):
                if other.timestamp - one.timestamp > SAME_TIME:
                    break
                if one.source != other.source and (one.host == other.host or None in (one.host, other.host)):
                    again.add(min(one, other, key=lambda telling: telling.rank).place)
    return again
