"""Transactions of a memory in PostgreSQL, and what of it is kept in this process as it was read.

Each change counts up a number in the row of the memory, ``changes``. What was read stays valid while the number does,
and each piece of work begins by reading it. Who commits a change tells the others by ``NOTIFY`` which keys it concerns:
who has heard of all changes up to the number lets go of just these keys, who missed one of everything. So the number
alone decides what is true, and a notice that is lost or late costs time only.

Notices are heard by whoever may connect to the database. Keys are hashes that could be guessed, so they are masked by
a secret of the memory; and what is written never hangs on a notice: it is made of what was read within its transaction,
or since the number changed.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b, shake_256
from hmac import compare_digest
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from procedural_memory.errors import ClosedError, StorageError, StoreUnavailableError
from procedural_memory.storage.address import Address
from procedural_memory.storage.base import text_id
from procedural_memory.storage.kept import Kept, read_once
from procedural_memory.storage.postgres_link import Link, array
from procedural_memory.storage.postgres_schema import VERSION
from procedural_memory.types import Durability

__all__ = ["PATIENCE", "Transactions"]

PATIENCE = 30.0
"""Seconds that a writer waits for another one."""

_T = TypeVar("_T")
_TOLD = 700
"""How many keys fit into a notice; of more than that only the number of the change is told."""
_SEAL = 16
"""Bytes by which a notice is known to come from who knows the secret of the memory."""
_HEARD = 1_000
"""How many notices are kept until they are needed."""


class Head(NamedTuple):
    """The row of a memory: how often it was changed, and the last numbers given to rows of the log, to sessions and to
    feedback."""

    changes: int
    rows: int
    sessions: int
    feedback: int


_NOTHING_YET = Head(-1, 0, 0, 0)


class Transactions:
    """A memory on a server: one connection, used under one re-entrant lock.

    Parameters
    ----------
    address : str
    durability : {"full", "normal"}
    """

    def __init__(self, address: str, durability: Durability = "full") -> None:
        self._address = Address.of(address)
        self._lock = threading.RLock()
        self._closed = False
        self._depth = 0
        self._view = False
        # Of the transaction that goes on: what waits to be sent with the next question, the keys that it concerns, and
        # whether it concerns more than these.
        self._waiting: list[tuple[str, Sequence[Any]]] = []
        self._changed = self._all_changed = False
        self._keys: set[int] = set()
        # What was read and is still so: dropped when it changes, here or in another process, or is rolled back.
        self._by_key: list[Kept[Any]] = []
        self._meta: dict[str, Any] = {}
        self._last_row: int | None = None
        self._last_feedback: int | None = None
        self._texts: dict[int, str] = {}
        self._written: set[int] = set()
        self._heard: dict[int, Sequence[int] | None] = {}
        self._head = _NOTHING_YET
        self._link = Link(self._address, durability, self._hear)
        self._link.connect()
        self._memory = self._link.memory
        self._mine = f"memory = {self._memory}"
        _opened.add(self)

    @property
    def path(self) -> str | None:
        """The address, without its password."""
        return str(self._address)

    @contextmanager
    def transaction(self, patience: float | None = None) -> Iterator[None]:
        """Run the body as one transaction; nested uses join the outer one.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for another process that writes; `PATIENCE` unless given.
        """
        with self._lock:
            if self._depth:
                yield
                return
            self._check_open()
            if self._view:
                raise StorageError(f"store {self._address}: it cannot be changed while it is looked at")
            wait = max(1, round(1000 * min(PATIENCE if patience is None else patience, PATIENCE)))
            transaction = self._begin(
                f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {wait};"
                f" {self._looking('pg_current_xact_id()')} FOR NO KEY UPDATE"
            )
            before = self._head
            self._depth = 1
            try:
                yield
                if self._changed:
                    self._commit(transaction)
                else:
                    self._link.script("COMMIT")
            except BaseException:
                self._drop_read()
                self._head = before
                self._link.roll_back()
                raise
            finally:
                self._depth = 0
                self._changed = self._all_changed = False
                self._keys.clear()
                self._waiting.clear()

    def _commit(self, transaction: str) -> None:
        head = self._head = self._head._replace(changes=self._head.changes + 1)
        numbers = ", ".join(f"{name} = {value}" for name, value in head._asdict().items())
        self._waiting += [
            (f"UPDATE memory SET {numbers} WHERE id = {self._memory}", ()),
            ("SELECT pg_notify(%s, %s)", (self._link.channel, self._news(head.changes))),
            ("COMMIT", ()),
        ]
        try:
            self._send()
        except StoreUnavailableError as error:
            committed = self._link.was_committed(transaction)
            if committed is None:
                raise StoreUnavailableError(
                    f"{error}; whether the last change was kept is not known: it is there in whole or not at all"
                ) from error
            self._drop_read()
            if not committed:
                raise StoreUnavailableError(f"{error}; nothing was changed") from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the body see one state, whatever others write meanwhile; it must not write. Nested uses join."""
        with self._lock:
            self._check_open()
            if self._depth or self._view:
                yield
                return
            self._begin(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {self._looking()}")
            self._view = True
            try:
                yield
            finally:
                self._view = False
                self._link.roll_back()  # nothing was written

    def refresh(self) -> None:
        """Let go of what was read before another process changed the memory."""
        with self._lock:
            self._check_open()
            if not (self._depth or self._view):
                self._begin(self._looking())

    def _looking(self, transaction: str = "NULL") -> str:
        """Return the statement that reads the row of the memory, the version, and what the transaction is called."""
        columns = f"{', '.join(Head._fields)}, (SELECT number FROM version), {transaction}::text"
        return f"SELECT {columns} FROM memory WHERE id = {self._memory}"

    def _begin(self, sql: str) -> str:
        """Execute what begins a piece of work and ends with `_looking`; let go of what others changed since.

        Where the connection broke since the last piece it is begun on a new one. Returns how the transaction is called.
        """
        try:
            rows = self._anew(lambda: self._link.script(sql))
            if not rows:
                raise StorageError(f"store {self._address}: it was deleted on the server; make a new engine")
            *numbers, version, transaction = rows[-1]
            if version != VERSION:
                raise StorageError(
                    f"store {self._address}: another version of the package ({version}, this one reads {VERSION}) has "
                    "taken it over; update omnimemory-procedural and make a new ProceduralMemoryEngine"
                )
        except BaseException:
            self._link.roll_back()
            raise
        self._go_to(Head(*map(int, numbers)))
        return str(transaction)

    def _anew(self, ask: Callable[[], list[Any]]) -> list[Any]:
        """Ask the server, outside of transactions; once more where the connection broke since it was asked last."""
        if not self._link.broken:
            try:
                return ask()
            except StoreUnavailableError:
                pass
        self._drop_read()
        self._heard.clear()
        self._head = _NOTHING_YET
        self._link.connect()
        if self._link.memory != self._memory:
            raise StorageError(f"store {self._address}: it was replaced by another one; make a new engine")
        return ask()

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._link.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the memory is closed; make a new ProceduralMemoryEngine")

    # -- statements

    def _all(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a question, asked after what waits."""
        with self._lock:
            self._check_open()
            if self._waiting:
                self._waiting.append((sql, arguments))
                return self._send()
            if self._depth or self._view:
                return self._link.rows(sql, arguments)
            return self._anew(lambda: self._link.rows(sql, arguments))

    def _one(self, sql: str, arguments: Sequence[Any] = ()) -> Any:
        rows = self._all(sql, arguments)
        return rows[0] if rows else None

    def _write(self, sql: str, arguments: Sequence[Any] = ()) -> None:
        """Change something, within a transaction: sent with the next question, or at the end."""
        assert self._depth
        self._changed = True
        self._waiting.append((sql, arguments))

    def _write_now(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """Change something, within a transaction; return the rows that the statement returns."""
        self._write(sql, arguments)
        return self._send()

    def _send(self) -> list[Any]:
        """Send what waits, all at once; return the rows of the last statement."""
        statements, self._waiting = self._waiting, []
        return self._link.many(statements)

    # -- settings

    def meta(self, key: str) -> Any:
        """Return a recorded setting, or None."""
        with self._lock:
            if key not in self._meta:
                sql = f"SELECT value, data FROM meta WHERE {self._mine} AND id = %s"
                value, data = self._one(sql, (text_id(key),)) or ("null", None)
                self._meta[key] = json.loads(value) if data is None else data
            return self._meta[key]

    def set_meta(self, key: str, value: str | int | float | bytes | None) -> None:
        """Record a setting."""
        with self.transaction():
            blob = isinstance(value, bytes)
            self._write(
                f"INSERT INTO meta VALUES ({self._memory}, %s, %s, %s, %s) ON CONFLICT (memory, id)"
                " DO UPDATE SET value = EXCLUDED.value, data = EXCLUDED.data",
                (text_id(key), key, None if blob else json.dumps(value), value if blob else None),
            )
            self._meta[key] = value

    def clear_meta(self, prefix: str) -> None:
        """Let go of the settings whose names begin with `prefix`."""
        with self.transaction():
            self._write(f"DELETE FROM meta WHERE {self._mine} AND starts_with(key, %s)", (prefix,))
            self._meta.clear()

    # -- what is kept

    def _kept(self) -> Kept[Any]:
        """Return a place for rows of a kind."""
        kept: Kept[Any] = Kept()
        self._by_key.append(kept)
        return kept

    def _known(
        self, kept: Kept[_T | None], keys: Sequence[int], read: Callable[[str], Iterable[tuple[int, _T]]]
    ) -> dict[int, _T]:
        """Return what is known under `keys`: as it was read before, or read in one go."""
        with self._lock:
            return read_once(kept, keys, lambda missing: read(array(missing)))

    def _touch(self, keys: Iterable[int]) -> None:
        """Let go of what was read under keys that change, here and elsewhere."""
        touched = list(keys)
        self._keys.update(touched)
        self._evict(touched)

    def _evict(self, keys: Sequence[int]) -> None:
        for kept in self._by_key:
            if kept:
                for key in keys:
                    kept.pop(key, None)

    def _drop_read(self) -> None:
        for kept in self._by_key:
            kept.clear()
        self._drop_small()

    def _drop_small(self) -> None:
        """Let go of what is not kept by key, and of all that writing relies on."""
        self._meta.clear()
        self._written.clear()
        self._last_row = self._last_feedback = None

    def _go_to(self, head: Head) -> None:
        """Let go of what was changed between the state that was read before and this one."""
        before, self._head = self._head, head
        if head == before:
            return
        keys: list[int] = []
        known = 0 <= before.changes < head.changes <= before.changes + _HEARD
        for number in range(before.changes + 1, head.changes + 1) if known else ():
            told = self._heard.get(number)
            known = known and told is not None
            keys += told or ()
        if known:
            self._evict(keys)
            self._drop_small()
        else:
            self._drop_read()
        self._heard = {number: keys for number, keys in self._heard.items() if number > head.changes}

    # -- notices

    def _news(self, changes: int) -> str:
        """Return the notice of a change: its number, and the keys that it concerns."""
        if self._all_changed or len(self._keys) > _TOLD:
            return str(changes)
        packed = struct.pack(f"<{len(self._keys)}q", *self._keys)
        told = self._seal(changes, packed) + self._masked(changes, packed)
        return f"{changes} {base64.b64encode(told).decode('ascii')}"

    def _hear(self, notice: str) -> None:
        """Keep a notice until the change that it tells of is seen.

        Whoever may connect may send one: keys count only under the seal of the memory, and when two tell of one change,
        it may concern everything.
        """
        number, blank, keys = notice.partition(" ")
        if len(self._heard) >= _HEARD:
            self._heard.clear()
        try:
            changes = int(number)
            told = base64.b64decode(keys, validate=True)
            packed = self._masked(changes, told[_SEAL:])
            genuine = blank and compare_digest(told[:_SEAL], self._seal(changes, packed))
            heard = [key for (key,) in struct.iter_unpack("<q", packed)] if genuine else None
        except (ValueError, struct.error, OverflowError):
            return
        self._heard[changes] = heard if changes not in self._heard else None

    def _seal(self, changes: int, packed: bytes) -> bytes:
        return blake2b(changes.to_bytes(8, "big") + packed, key=self._link.secret, digest_size=_SEAL).digest()

    def _masked(self, changes: int, packed: bytes) -> bytes:
        mask = shake_256(self._link.secret + changes.to_bytes(8, "big")).digest(len(packed))
        return bytes(a ^ b for a, b in zip(packed, mask, strict=True))


_opened: WeakSet[Transactions] = WeakSet()


def _leave() -> None:
    """In a forked process: the connection stays that of the parent, and threads that hold locks are not here."""
    for store in list(_opened):
        store._lock = threading.RLock()
        store._closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
