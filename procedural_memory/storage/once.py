"""Contexts that were followed once: each is one row that also holds what followed, and has no row of its own for that.

Most contexts never come again, so that this is half of what is counted. Of such a context ``only`` is what followed,
``how`` what is counted of it, and ``recent`` the moment alone where newest followers are kept. Contexts by which
followers are looked through stay as they are: the one of all steps, and those with a head, the nodes of the graph.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from procedural_memory.storage.base import context_key
from procedural_memory.storage.identity import MOMENT

__all__ = ["EVERYWHERE", "IN_A_ROW", "columns_of", "follower_of", "how_of", "newest_of"]

EVERYWHERE: Final = context_key(())
"""The key of the context of all steps."""

_ID: Final = struct.Struct(">q")

IN_A_ROW: Final = f"""
ALTER TABLE context ADD COLUMN only INTEGER;
ALTER TABLE context ADD COLUMN how INTEGER;
UPDATE context SET recent = coalesce(substr(recent, 1, {MOMENT.size}), x''),
    only = (SELECT template FROM follower WHERE context = key),
    how = (SELECT sessions | success << 1 | failure << 2 | good << 3 | bad << 4 FROM follower WHERE context = key)
    WHERE total = 1 AND head IS NULL AND key <> {EVERYWHERE}
    AND (SELECT max(count, sessions, success, failure, good, bad) FROM follower WHERE context = key) = 1;
DELETE FROM follower WHERE context IN (SELECT key FROM context WHERE only NOT NULL)
"""
"""In SQL, what brings older tables to this form."""


def columns_of(table: str) -> str:
    """Return in SQL what `follower_of` returns, of a row of a table of contexts."""
    return ", ".join([f"{table}.only", "1", *(f"{table}.how >> {place} & 1" for place in range(5))])


def how_of(counts: Sequence[int]) -> int | None:
    """Return the counts of what followed once (sessions, success, failure, good, bad) as one number.

    None where one of them is more than 1.
    """
    if max(counts) > 1:
        return None
    sessions, success, failure, good, bad = counts
    return sessions | success << 1 | failure << 2 | good << 3 | bad << 4


def follower_of(only: int, how: int) -> tuple[int, ...]:
    """Return what followed once, as a row of what follows others: its id, its count, and the rest of its counts."""
    return only, 1, *(how >> place & 1 for place in range(5))


def newest_of(recent: bytes, only: int | None) -> bytes:
    """Return the newest followers of a context, as they are kept where it was followed more than once."""
    return recent + _ID.pack(only) if recent and only is not None else recent
