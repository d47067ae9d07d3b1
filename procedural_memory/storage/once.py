"""Contexts that were followed once: each is one row that also holds what followed, and has no row of its own for that.

Most contexts never come again, so that this is half of what is counted. Of such a context ``only`` is what followed,
``how`` what is counted of it, and ``recent`` the moment alone where newest followers are kept. Contexts by which
followers are looked through stay as they are: the one of all steps, and those with a head, the nodes of the graph.
"""

from __future__ import annotations

import struct
from typing import Final

from procedural_memory.storage.base import EVERYWHERE
from procedural_memory.storage.identity import MOMENT
from procedural_memory.storage.tally import BAD, COUNT, FAILURE, GOOD, SESSION, SUCCESS

__all__ = ["FOLD", "columns_of", "follower_of", "how_of", "newest_of"]

FOLD: Final = f"""
UPDATE context SET recent = coalesce(substr(recent, 1, {MOMENT.size}), x''),
    only = (SELECT template FROM follower WHERE context = key),
    how = (SELECT sessions + 2 * success + 4 * failure + 8 * good + 16 * bad FROM follower WHERE context = key)
    WHERE total = 1 AND head IS NULL AND key <> {EVERYWHERE}
    AND (SELECT max(count, sessions, success, failure, good, bad) FROM follower WHERE context = key) = 1;
DELETE FROM follower WHERE context IN (SELECT key FROM context WHERE only NOT NULL);
"""
"""In SQL, what brings contexts to this form that were written as others are."""

_ID: Final = struct.Struct(">q")

_HOW: Final = {
    COUNT + sum(one for place, one in enumerate((SESSION, SUCCESS, FAILURE, GOOD, BAD)) if how >> place & 1): how
    for how in range(32)
}


def columns_of(table: str) -> str:
    """Return in SQL what `follower_of` returns, of a row of a table of contexts."""
    return ", ".join([f"{table}.only", "1", *(f"{table}.how >> {place} & 1" for place in range(5))])


def how_of(counts: int) -> int | None:
    """Return what is counted of what followed once as ``how`` has it; None where it is more than one step gives."""
    return _HOW.get(counts | COUNT)


def follower_of(only: int, how: int) -> tuple[int, ...]:
    """Return what followed once, as a row of what follows others: its id, its count, and the rest of its counts."""
    return only, 1, *(how >> place & 1 for place in range(5))


def newest_of(recent: bytes, only: int | None) -> bytes:
    """Return the newest followers of a context, as they are kept where it was followed more than once."""
    return recent + _ID.pack(only) if recent and only is not None else recent
