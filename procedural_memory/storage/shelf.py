"""The shelf of an SQLite store: patterns that are kept with their counts, but neither listed nor searched.

Where a store has bounds, the most useful patterns are in use: in the order of `usefulness`, and of their ids where two
are equal, as many as fit, up to the first that does not. What a pattern is worth hangs on its counts alone, so it is
the same patterns in whatever order the sessions came. One that would fill the bounds by itself is never in use.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from procedural_memory.storage.base import Bounds, pattern_size, usefulness

__all__ = ["keep_within", "put_anew", "take_back"]

_PATTERN: Final = "id, pattern_id, templates, success, failure, unknown, duration_ms, timed, newest, example"
_NUMBER: Final = 8
"""Bytes of a key, as of a template, in a packed list."""


def take_back(db: sqlite3.Connection, pattern: int) -> bool:
    """Take a pattern from the shelf, for it was learned again; return whether it was there."""
    row = db.execute("SELECT keys FROM shelf WHERE id = ?", (pattern,)).fetchone()
    if row is None:
        return False
    db.execute(f"INSERT INTO pattern SELECT {_PATTERN} FROM shelf WHERE id = ?", (pattern,))
    db.executemany("INSERT OR IGNORE INTO posting VALUES (?, ?)", ((key, pattern) for key in _unpacked(row[0])))
    db.execute("DELETE FROM shelf WHERE id = ?", (pattern,))
    return True


def put_anew(db: sqlite3.Connection, bounds: Bounds) -> None:
    """Take everything from the shelf, and rank all patterns for other bounds."""
    for (pattern,) in db.execute("SELECT id FROM shelf").fetchall():
        take_back(db, pattern)
    db.execute("DELETE FROM rank")
    db.execute("DELETE FROM meta WHERE key = 'in_use'")
    if bounds == Bounds():
        return
    every = [pattern for (pattern,) in db.execute("SELECT id FROM pattern")]
    keys: dict[int, list[int]] = {}
    for key, pattern in db.execute("SELECT key, pattern FROM posting ORDER BY key"):
        keys.setdefault(pattern, []).append(key)
    keep_within(db, bounds, {pattern: keys.get(pattern, ()) for pattern in every})


def keep_within(db: sqlite3.Connection, bounds: Bounds, changed: Mapping[int, Iterable[int]]) -> list[tuple[int, ...]]:
    """Rank the patterns that changed, given with their keys, and put on the shelf, or take from it, what must be.

    Returns
    -------
    list of tuple
        Of each pattern that was moved its id, followed by its keys.
    """
    count, size = _in_use(db)
    for pattern, keys in changed.items():
        worth, takes, packed = _rank(db, pattern, keys, bounds)
        before = db.execute("SELECT size FROM rank WHERE pattern = ?", (pattern,)).fetchone()
        db.execute("INSERT OR REPLACE INTO rank VALUES (?, ?, ?, ?)", (pattern, worth, takes, packed))
        count += before is None
        size += takes - (before[0] if before else 0)
    moved: list[tuple[int, ...]] = []
    while True:
        last = db.execute("SELECT worth, pattern, size, keys FROM rank ORDER BY worth, pattern LIMIT 1").fetchone()
        first = db.execute("SELECT worth, id, size, keys FROM shelf ORDER BY worth DESC, id DESC LIMIT 1").fetchone()
        if last and (not bounds.hold(count, size) or (first and first[:2] > last[:2])):
            worth, pattern, takes, packed = last
            _put_away(db, pattern, worth, takes, packed)
            count, size = count - 1, size - takes
        elif first and first[0] > -math.inf and bounds.hold(count + 1, size + first[2]):
            worth, pattern, takes, packed = first
            take_back(db, pattern)
            db.execute("INSERT INTO rank VALUES (?, ?, ?, ?)", (pattern, worth, takes, packed))
            count, size = count + 1, size + takes
        else:
            break
        moved.append((pattern, *_unpacked(packed)))
    db.execute("INSERT OR REPLACE INTO meta VALUES ('in_use', ?)", (json.dumps([count, size]),))
    return moved


def _in_use(db: sqlite3.Connection) -> tuple[int, int]:
    row = db.execute("SELECT value FROM meta WHERE key = 'in_use'").fetchone()
    if row is None or row[0] is None:
        return 0, 0
    count, size = json.loads(row[0])
    return count, size


def _rank(db: sqlite3.Connection, pattern: int, keys: Iterable[int], bounds: Bounds) -> tuple[float, int, bytes]:
    """Return what a pattern is worth, how many bytes it takes, and its keys, packed."""
    templates, success, failure, unknown, newest, example = db.execute(
        "SELECT templates, success, failure, unknown, newest, example FROM pattern WHERE id = ?", (pattern,)
    ).fetchone()
    packed = b"".join(key.to_bytes(_NUMBER, "little", signed=True) for key in sorted(keys))
    takes = pattern_size(len(templates) // _NUMBER, len(example.encode("utf-8")), len(packed) // _NUMBER)
    worth = usefulness(success, failure, unknown, newest) if bounds.hold(1, takes) else -math.inf
    return worth, takes, packed


def _put_away(db: sqlite3.Connection, pattern: int, worth: float, size: int, packed: bytes) -> None:
    db.execute(
        f"INSERT INTO shelf SELECT {_PATTERN}, ?, ?, ? FROM pattern WHERE id = ?", (worth, size, packed, pattern)
    )
    db.executemany("DELETE FROM posting WHERE key = ? AND pattern = ?", ((key, pattern) for key in _unpacked(packed)))
    db.execute("DELETE FROM pattern WHERE id = ?", (pattern,))
    db.execute("DELETE FROM rank WHERE pattern = ?", (pattern,))


def _unpacked(packed: bytes) -> Iterator[int]:
    return (
        int.from_bytes(packed[place : place + _NUMBER], "little", signed=True)
        for place in range(0, len(packed), _NUMBER)
    )
