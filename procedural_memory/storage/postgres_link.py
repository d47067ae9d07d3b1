"""The connection of a store to PostgreSQL: made when needed, and anew when it broke; its errors in plain words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from procedural_memory.errors import MissingExtraError, StorageError, StoreBusyError, StoreUnavailableError
from procedural_memory.storage.address import Address
from procedural_memory.storage.postgres_schema import SCHEMA, bring_up_to_date
from procedural_memory.types import Durability

if TYPE_CHECKING:
    from psycopg import Connection, Notify

__all__ = ["Link", "array", "byte_array"]

_OLDEST: Final = 130000
_CONNECTING: Final = 10
"""Seconds that a server may take to answer, unless the address says ``connect_timeout``."""
_PASSING: Final = re.compile(r"starting up|shutting down|recovery|too many|remaining connection slots|terminat")
"""What a server says in English that turns everybody away, but not for long."""
_FATE: Final = 5.0
"""Seconds in which a server that went away while it committed may come back, and say whether it did."""


def array(values: Iterable[object]) -> str:
    """Return numbers, or None, as PostgreSQL writes an array."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def byte_array(values: Iterable[bytes]) -> str:
    """Return byte strings as PostgreSQL writes an array."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


class Link:
    """A connection to the server that keeps one memory.

    Used by one thread at a time. What fails raises a `StorageError`; after that nothing of it is left on the server.

    Parameters
    ----------
    address : Address
    durability : {"full", "normal"}
    noticed : callable
        Called with what others told on the channel of the memory.
    """

    def __init__(
        self, address: Address, durability: Durability = "full", noticed: Callable[[str], object] = bool
    ) -> None:
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise MissingExtraError("psycopg, which a memory in PostgreSQL needs,", "postgres") from error
        self._psycopg = psycopg
        self._address = address
        self._parameters = {
            "connect_timeout": _CONNECTING,
            "application_name": "procedural-memory",
            **address.parameters(),
        }
        self._durability = durability
        self._noticed = noticed
        self._db: Connection[Any] | None = None
        self.memory = 0
        """The number of the memory on the server, known once it was connected to."""
        self.secret = b""
        """What those who use the memory know, and others of the database do not."""

    def connect(self) -> None:
        """Connect, unless that is so already."""
        if self._db is not None and not self._db.closed:
            return
        psycopg = self._psycopg
        db = self._reach()
        try:
            self._set_up(db)
        except psycopg.Error as error:
            if db.closed:
                raise self._unreachable(error) from None
            raise self.failed(error, "it was not opened") from error
        finally:
            if self._db is not db:
                db.close()

    def is_there(self) -> bool:
        """Return whether the server keeps the memory, as far as the role may see; unlike `connect` this makes none."""
        find = f"SELECT count(*) FROM {SCHEMA}.memory WHERE tenant = %s AND project = %s"
        # Without the right to look, opening it tells what is missing.
        with closing(self._reach()) as db, suppress(self._psycopg.Error):
            if db.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.memory",)).fetchone() == (None,):
                return False
            self._name_memory(db)
            return db.execute(find, (self._address.tenant, self._address.project)).fetchone() != (0,)
        return True

    def _reach(self) -> Connection[Any]:
        try:
            return self._psycopg.connect(**self._parameters, autocommit=True)
        except self._psycopg.Error as error:
            raise self._unreachable(error) from None  # its traceback would hold the password

    def _unreachable(self, error: Exception) -> StoreUnavailableError:
        words = self._words(error)
        what = "the server cannot be reached"
        rest = "nothing was changed, and it is tried again at the next call"
        if "FATAL" in words and not _PASSING.search(words):
            what = "the server lets nobody in who asks like that"
            rest = "check the user, the password (in ~/.pgpass or PGPASSWORD), and that there is such a database"
        return StoreUnavailableError(f"store {self._address}: {what} ({words}); {rest}")

    def _name_memory(self, db: Connection[Any], **settings: str | None) -> None:
        """Say on a connection which memory it is for, which policies ask, and other settings."""
        settings = {
            f"{SCHEMA}.tenant": self._address.tenant,
            f"{SCHEMA}.project": self._address.project,
            **settings,
        }
        given = [(name, value) for name, value in settings.items() if value is not None]
        calls = ", ".join(["set_config(%s, %s, false)"] * len(given))
        db.execute(f"SELECT {calls}", [text for pair in given for text in pair])

    def _set_up(self, db: Connection[Any]) -> None:
        if db.info.server_version < _OLDEST:
            version = db.info.server_version // 10000
            raise StorageError(f"store {self._address}: the server must be PostgreSQL 13 or newer, it is {version}")
        encoding = db.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StorageError(
                f"store {self._address}: the encoding of the database must be UTF8, it is {encoding}; "
                "make one with: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
            )
        self._name_memory(
            db,
            synchronous_commit=None if self._durability == "full" else "off",
            jit="off",  # compiling takes longer than any of the statements
            enable_seqscan="off",  # all is looked up by key, also where nobody has counted the rows yet
            idle_in_transaction_session_timeout="0",  # a reader may think for as long as it likes
        )
        bring_up_to_date(db, str(self._address))
        db.execute(f"SET search_path = {SCHEMA}")
        self.memory, self.secret = self._find(db)
        db.add_notify_handler(self._hear)
        db.execute(f"LISTEN {self.channel}")
        self._db = db

    def _hear(self, notice: Notify) -> None:
        self._noticed(notice.payload)

    def _find(self, db: Connection[Any]) -> tuple[int, bytes]:
        named = (self._address.tenant, self._address.project)
        find = "SELECT id, secret FROM memory WHERE tenant = %s AND project = %s"
        row = db.execute(find, named).fetchone()
        if row is None:
            try:
                db.execute("INSERT INTO memory(tenant, project) VALUES (%s, %s) ON CONFLICT DO NOTHING", named)
            except self._psycopg.errors.InsufficientPrivilege as error:
                role, (tenant, project) = db.info.user, named
                raise StorageError(
                    f"store {self._address}: the role {role!r} is not admitted to tenant {tenant!r}, project "
                    f"{project!r}; the owner of the schema admits it: SELECT {SCHEMA}.admit({role!r}, {tenant!r})"
                ) from error
            row = db.execute(find, named).fetchone()
        assert row is not None
        return int(row[0]), bytes(row[1])

    @property
    def channel(self) -> str:
        """The channel on which those who use the memory tell each other of changes."""
        return f"{SCHEMA}_{self.memory}"

    def close(self) -> None:
        """Disconnect."""
        if self._db is not None:
            self._db.close()

    @property
    def broken(self) -> bool:
        """Whether there is no connection, or none any more."""
        return self._db is None or self._db.closed

    def rows(self, sql: str, arguments: Sequence[Any] | None = None) -> list[Any]:
        """Execute a statement and return its rows."""
        db = self._db
        assert db is not None
        try:
            cursor = db.execute(sql, arguments, binary=True)
            return cursor.fetchall() if cursor.description is not None else []
        except self._psycopg.Error as error:
            raise self.failed(error) from error

    def script(self, sql: str) -> list[Any]:
        """Execute several statements in one message and return the rows of the last one that has any."""
        db, rows = self._db, []
        assert db is not None
        try:
            cursor = db.execute(sql)
            more: bool | None = True
            while more:
                if cursor.description is not None:
                    rows = cursor.fetchall()
                more = cursor.nextset()
            return rows
        except self._psycopg.Error as error:
            raise self.failed(error) from error

    def many(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Execute statements one after the other, without waiting in between; return the rows of the last one."""
        if len(statements) == 1:
            return self.rows(*statements[0])
        db = self._db
        assert db is not None
        try:
            with db.pipeline() if self._psycopg.Pipeline.is_supported() else nullcontext():
                for sql, arguments in statements:
                    cursor = db.execute(sql, arguments, binary=True)
            return cursor.fetchall() if cursor.description is not None else []
        except self._psycopg.Error as error:
            raise self.failed(error) from error

    def roll_back(self) -> None:
        """Undo what is going on; a connection that cannot do that is given up, and the server undoes it."""
        if self.broken:
            return
        assert self._db is not None
        try:
            self._db.execute("ROLLBACK")
        except self._psycopg.Error:
            self._db.close()

    def was_committed(self, transaction: str) -> bool | None:
        """Return whether a transaction was kept whose end was not heard of; None where nobody can say."""
        end = time.monotonic() + _FATE
        while time.monotonic() < end:
            with suppress(StorageError):
                self.connect()
                ((status,),) = self.rows("SELECT pg_xact_status(%s::xid8)", (transaction,))
                if status in ("committed", "aborted"):
                    return bool(status == "committed")
            time.sleep(0.1)
        return None

    def failed(self, error: Exception, *rest: str) -> StorageError:
        """Return what an error of the driver means to the user."""
        errors = self._psycopg.errors
        kind: type[StorageError] = StorageError
        told = self._words(error)
        if isinstance(error, errors.LockNotAvailable):
            kind, told = StoreBusyError, "another process keeps it locked; try again when that is done"
        elif self._db is not None and self._db.closed:
            kind, told = StoreUnavailableError, f"the server went away ({told}); it is connected anew at the next call"
        elif isinstance(error, errors.ReadOnlySqlTransaction):
            told = f"it may be read, not written ({told}); connect to the primary server"
        elif isinstance(error, errors.InsufficientPrivilege):
            role = self._db.info.user if self._db is not None else "ROLE"
            told = (
                f"the role {role!r} may not do that ({told}); the owner of the schema admits it: "
                f"SELECT {SCHEMA}.admit({role!r}, {self._address.tenant!r})"
            )
        elif isinstance(error, errors.DiskFull):
            told = f"the disk of the server is full ({told}); make room and try again"
        return kind("; ".join([f"store {self._address}: {told}", *rest]))

    def _words(self, error: Exception) -> str:
        """Return the message of the driver, as one line that holds no password."""
        text = " ".join(str(error).split()) or type(error).__name__
        for name in ("password", "sslpassword"):
            if secret := self._parameters.get(name):
                text = text.replace(secret, "<SECRET>")
        return text
