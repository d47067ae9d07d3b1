"""Every store passes the same checks."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from store_checks import CHECKS, KEY, counted

from procedural_memory import StorageError
from procedural_memory.storage.base import Store
from procedural_memory.storage.postgres import PostgresStore
from procedural_memory.storage.sqlite import SQLiteStore
from procedural_memory.types import Command


@pytest.fixture(params=["memory", "file", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return what makes an empty store."""
    numbers = count()
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return lambda: PostgresStore(server.address())
    if request.param == "memory":
        return SQLiteStore
    return lambda: SQLiteStore(str(tmp_path / f"store{next(numbers)}.sqlite3"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_store_contract(check: Callable[..., None], make: Callable[[], Store]) -> None:
    """Each store keeps each rule of the contract."""
    if "make" in inspect.signature(check).parameters:
        check(make)
        return
    store = make()
    check(store)
    store.close()


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if "store" in inspect.signature(check).parameters], ids=lambda c: c.__name__
)
def test_memories_are_apart_where_no_policy_holds(check: Callable[..., None], postgres: PostgresServer) -> None:
    """For a superuser of PostgreSQL: beside a memory with the very same content the contract is kept as well."""
    for _ in range(2):
        with closing(PostgresStore(postgres.address(user="root"))) as store:
            check(store)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """A file with other content is named and left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database; keep them as they are please " * 20)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"notes\.txt"):
        SQLiteStore(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["bookmarks", "meta"])
def test_the_database_of_another_program_is_refused(tmp_path: Path, table: str) -> None:
    """A database with other tables is left as it is, also when a name happens to be the same."""
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE {table}(a)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"places\.sqlite.*database of another program; it was not changed"):
        SQLiteStore(str(path))
    assert path.read_bytes() == before


def test_nothing_of_what_was_dropped_is_left_in_the_file(tmp_path: Path) -> None:
    """Pages that were split keep no copies of texts that moved to other pages and were deleted there."""
    path = tmp_path / "m.sqlite3"
    with closing(SQLiteStore(str(path))) as store:
        numbers = {}
        with store.transaction():
            for i in range(1500):
                name = f"{'zqprivate' if i % 3 else 'plain'}-{i * 7919 % 9973:04}"
                numbers[name] = store.add_session(name, float(i), None)
                store.add_steps(numbers[name], 0, [Command(f"cat {name}.txt")])
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        with store.transaction():
            store.delete_sessions(number for name, number in numbers.items() if name.startswith("zqprivate"))
            store.drop_unused()
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < size
        assert b"zqprivate" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert len(list(store.sessions())) == 500


def test_another_store_on_the_file_is_noticed(tmp_path: Path) -> None:
    """What was read before another process wrote is read again after a refresh, and within a transaction."""
    path = str(tmp_path / "m.sqlite3")
    with closing(SQLiteStore(path)) as one, closing(SQLiteStore(path)) as two:
        one.apply(counted("x"), 0)
        two.refresh()
        before, after = two.context(KEY), counted("y", start=2.0)
        one.apply(after, 0)
        assert two.context(KEY) == before
        two.refresh()
        now = two.context(KEY)
        assert now is not None
        assert now.total == 2
        one.apply(counted("z", start=3.0), 0)
        with two.transaction():
            now = two.context(KEY)
        assert now is not None
        assert now.total == 3


def test_a_view_sees_what_another_process_set(tmp_path: Path) -> None:
    """What was asked for in an earlier view is asked for again once another connection has written."""
    path = str(tmp_path / "m.sqlite3")
    with closing(SQLiteStore(path)) as one, closing(SQLiteStore(path)) as two:
        for colour in ("red", "blue"):
            two.set_meta("colour", colour)
            with one.reading():
                assert [one.meta("colour"), one.meta("colour")] == [colour, colour]
                two.set_meta("colour", "white")
                assert one.meta("colour") == colour
            assert one.meta("colour") == "white"
