"""The shelf of a memory in PostgreSQL: patterns that are kept with their counts, but neither listed nor searched.

Which ones these are is the same as in a file: see `procedural_memory.storage.shelf`. Patterns are looked at from where
those in use meet those on the shelf, so that a change costs what it moves, however many patterns there are.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from procedural_memory.storage.base import Bounds, pattern_size, usefulness
from procedural_memory.storage.postgres_link import array
from procedural_memory.storage.postgres_schema import PATTERN
from procedural_memory.storage.postgres_transactions import Transactions

__all__ = ["Shelf"]

_NUMBER: Final = 8
"""Bytes of a template in a packed list."""
_FIRST, _MOST = 4, 1_024
"""How many patterns are read at first, and at most in one go."""


class _Ranked(NamedTuple):
    """A pattern in the order of what patterns are worth."""

    worth: float
    pattern: int
    size: int
    keys: tuple[int, ...]


class Shelf(Transactions):
    """A memory whose patterns keep within bounds."""

    def bounds(self) -> Bounds:
        """Return what the patterns are kept within."""
        kept = self.meta("bounds")
        return Bounds() if kept is None else Bounds(*json.loads(kept))

    def bound_patterns(self, bounds: Bounds) -> None:
        """Keep the most useful patterns in use from now on, within bounds; the others are put on the shelf."""
        if bounds == self.bounds():
            return
        with self.transaction():
            self._all_changed = True
            self._drop_read()
            self.set_meta("bounds", json.dumps(bounds))
            self.set_meta("in_use", None)
            self._write(f"DELETE FROM rank WHERE {self._mine}")
            self._take_back()
            if bounds != Bounds():
                self._rank(bounds)
                self._keep_within(bounds)

    def _take_back(self, patterns: Iterable[int] | None = None) -> None:
        """Take patterns from the shelf, or all of them."""
        some, values = ("", ()) if patterns is None else (" AND id = ANY(%s::bigint[])", (array(patterns),))
        self._write(
            f"WITH taken AS (DELETE FROM shelf WHERE {self._mine}{some} RETURNING *),"
            f" found AS (INSERT INTO pattern(memory, {PATTERN}) SELECT memory, {PATTERN} FROM taken)"
            " INSERT INTO posting(memory, key, pattern) SELECT memory, unnest(keys), id FROM taken"
            " ON CONFLICT DO NOTHING",
            values,
        )

    def _put_away(self, patterns: Iterable[int]) -> None:
        """Put ranked patterns on the shelf."""
        values = (array(patterns),)
        ranked = f"SELECT * FROM rank WHERE {self._mine} AND pattern = ANY(%s::bigint[])"
        self._write(
            f"DELETE FROM posting p USING (SELECT pattern, unnest(keys) AS key FROM ({ranked}) r) AS gone"
            f" WHERE p.{self._mine} AND p.key = gone.key AND p.pattern = gone.pattern",
            values,
        )
        self._write(
            f"WITH ranked AS (DELETE FROM rank WHERE {self._mine} AND pattern = ANY(%s::bigint[]) RETURNING *),"
            f" gone AS (DELETE FROM pattern p USING ranked r WHERE p.{self._mine} AND p.id = r.pattern RETURNING p.*)"
            f" INSERT INTO shelf(memory, {PATTERN}, worth, size, keys)"
            f" SELECT r.memory, {PATTERN}, worth, size, keys FROM gone JOIN ranked r ON r.pattern = gone.id",
            values,
        )

    def _rank(self, bounds: Bounds, keys: Mapping[int, Iterable[int]] | None = None) -> None:
        """Say what patterns in use are worth and how many bytes they take: of those with these keys, or of all."""
        if keys is None:
            held = f"SELECT pattern, array_agg(key ORDER BY key) AS keys FROM posting WHERE {self._mine} GROUP BY 1"
            found = f"coalesce(h.keys, '{{}}') FROM pattern p LEFT JOIN ({held}) AS h ON h.pattern = p.id"
            some = ""
        else:
            found, some = "NULL FROM pattern p", " AND p.id = ANY(%s::bigint[])"
        rows = self._all(
            "SELECT p.id, success, failure, unknown, newest, length(templates), octet_length(example),"
            f" (SELECT size FROM rank r WHERE r.{self._mine} AND r.pattern = p.id), {found} WHERE p.{self._mine}{some}",
            () if keys is None else (array(keys),),
        )
        count, size = self._in_use()
        ranked = []
        for number, success, failure, unknown, newest, templates, example, before, found in rows:
            its = tuple(sorted(found if keys is None else keys[number]))
            takes = pattern_size(templates // _NUMBER, example, len(its))
            worth = usefulness(success, failure, unknown, newest) if bounds.hold(1, takes) else -math.inf
            ranked.append(_Ranked(worth, number, takes, its))
            count, size = count + (before is None), size + takes - (before or 0)
        self._put_in_order(ranked)
        self.set_meta("in_use", json.dumps([count, size]))

    def _put_in_order(self, ranked: Sequence[_Ranked]) -> None:
        self._write(
            f"INSERT INTO rank(memory, worth, pattern, size, keys) SELECT {self._memory}, worth, pattern, size,"
            " keys::bigint[] FROM unnest(%s::float8[], %s::bigint[], %s::bigint[], %s::text[])"
            " AS new(worth, pattern, size, keys) ON CONFLICT (memory, pattern)"
            " DO UPDATE SET worth = EXCLUDED.worth, size = EXCLUDED.size, keys = EXCLUDED.keys",
            (
                array(each.worth for each in ranked),
                array(each.pattern for each in ranked),
                array(each.size for each in ranked),
                [array(each.keys) for each in ranked],
            ),
        )

    def _keep_within(self, bounds: Bounds) -> None:
        """Put on the shelf, or take from it, what must be."""
        count, size = self._in_use()
        shelved = self._in_order("shelf", "id", "DESC")
        best = next(shelved, None)
        out: list[_Ranked] = []
        for each in self._in_order("rank", "pattern", "ASC"):
            if bounds.hold(count, size) and (best is None or best < each):
                break
            out.append(each)
            count, size = count - 1, size - each.size
        back = []
        for each in heapq.merge(reversed(out), *([[best], shelved] if best else []), reverse=True):
            if each.worth == -math.inf or not bounds.hold(count + 1, size + each.size):
                break
            back.append(each)
            count, size = count + 1, size + each.size
        again = {each.pattern for each in out} & {each.pattern for each in back}
        out, back = ([each for each in moved if each.pattern not in again] for moved in (out, back))
        if out:
            self._put_away(each.pattern for each in out)
        if back:
            self._take_back(each.pattern for each in back)
            self._put_in_order(back)
        for each in (*out, *back):
            self._touch((each.pattern, *each.keys))
        self.set_meta("in_use", json.dumps([count, size]))

    def _in_order(self, table: str, number: str, direction: str) -> Iterator[_Ranked]:
        """Yield patterns by what they are worth, as many as are asked for."""
        than, order = ("<" if direction == "DESC" else ">"), f"worth {direction}, {number} {direction}"
        after, limit = "", _FIRST
        values: tuple[Any, ...] = ()
        while True:
            sql = f"SELECT worth, {number}, size, keys FROM {table} WHERE {self._mine}{after} ORDER BY {order} LIMIT %s"
            rows = [_Ranked(*row) for row in self._all(sql, (*values, limit))]
            yield from rows
            if len(rows) < limit:
                return
            after, values = f" AND (worth, {number}) {than} (%s::float8, %s::bigint)", rows[-1][:2]
            limit = min(4 * limit, _MOST)

    def _in_use(self) -> tuple[int, int]:
        """Return how many patterns are in use, and how many bytes they take."""
        kept = self.meta("in_use")
        if kept is None:
            return 0, 0
        count, size = json.loads(kept)
        return count, size
