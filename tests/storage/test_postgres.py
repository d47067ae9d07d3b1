"""What a memory in PostgreSQL does beyond the contract of every store: many machines, tenants, a server that fails."""

from __future__ import annotations

import base64
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from postgres_server import PASSWORD, PostgresServer
from store_checks import KEY, counted, derived

from procedural_memory import (
    ClosedError,
    InvalidInputError,
    ProceduralMemoryEngine,
    StorageError,
    StoreBusyError,
    StoreUnavailableError,
)
from procedural_memory.cli import main
from procedural_memory.memory.nearest import NearestIndex
from procedural_memory.samples import load_sessions
from procedural_memory.storage import postgres_schema, postgres_transactions
from procedural_memory.storage.address import Address
from procedural_memory.storage.base import Delta
from procedural_memory.storage.postgres import PostgresStore
from procedural_memory.storage.postgres_schema import COPIED, SCHEMA, VERSION
from procedural_memory.storage.tally import GOOD
from procedural_memory.types import Command

LINES = ["git add .", "git commit -m wip", "git push"]


def opened(address: str | None, **options: Any) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(path=address, embedder="lexical", **options)


def guesses(engine: ProceduralMemoryEngine) -> list[tuple[str, float]]:
    """Return what it predicts."""
    found = engine.predict_next_action(LINES[:2])
    return [(p.next_command, round(p.probability, 9)) for p in found]


def sizes(engine: ProceduralMemoryEngine) -> dict[str, int]:
    """Return how much it holds."""
    return {name: value for name, value in engine.stats().items() if isinstance(value, int)}


def test_it_is_the_memory_that_a_file_is(postgres: PostgresServer, tmp_path: Path) -> None:
    """Counts, patterns, graph and predictions are the same; so they are of a saved copy, and after all came back."""
    address = postgres.address()
    with opened(address) as engine, opened(str(tmp_path / "m.sqlite3")) as file:
        for each in (engine, file):
            each.learn_many(load_sessions()[:12])
            each.feedback(LINES[:1], "git commit -m wip", "accepted")
            each.flush()
        assert (sizes(engine), guesses(engine)) == (sizes(file), guesses(file))
        assert list(engine.patterns.items()) == list(file.patterns.items())
        assert engine.causal_chains == file.causal_chains
        for saved in ("copy.sqlite", "copy.json", "copy.pkl"):
            engine.save(tmp_path / saved)
        with opened(str(tmp_path / "copy.sqlite")) as copy:
            assert (sizes(copy), guesses(copy)) == (sizes(engine), guesses(engine))
        for saved in ("copy.sqlite", "copy.json"):
            with opened(postgres.address()) as other:
                assert other.merge(tmp_path / saved) == sizes(engine)["session_count"]
                assert sizes(other) == sizes(engine)
                assert other.merge(engine) == 0
        before = sizes(engine)
        engine.forget(containing="git")
        engine.scrub(["npm"])
        assert sizes(engine) != before
    with opened(address) as engine:
        assert len(engine.learned_since(0, 10)[1])


def test_what_was_forgotten_is_gone_from_the_tables(postgres: PostgresServer) -> None:
    """No row keeps it, whatever it was part of, in use or on the shelf."""
    with opened(postgres.address(), max_patterns=1) as engine:
        engine.learn_workflow(["cat zqprivate.txt", "vim zqprivate.txt", "ls"], "success", "zqprivate-session")
        engine.learn_workflow(LINES)
        engine.flush()
        assert engine.stats()["shelved_pattern_count"] == 1
        engine.forget(containing="zqprivate")
        engine.forget(session="zqprivate-session")
    for table in COPIED:
        rows = postgres.query(f"SELECT t::text FROM {SCHEMA}.{table} t", "memories")
        assert not [row for (row,) in rows if "zqprivate" in row or b"zqprivate".hex() in row], table


def test_replacing_keeps_a_backup_on_this_machine(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lies beside a server: the copy goes to the user's data folder, and can be opened."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with opened(postgres.address()) as engine, opened(None) as other:
        engine.learn_workflow(LINES)
        other.learn_workflow(["make", "make test", "make install"])
        with pytest.raises(InvalidInputError, match="mode"):
            engine.load(other.save(tmp_path / "other.json"))
        loaded = engine.load(tmp_path / "other.json", mode="replace")
        assert [p.templates for p in engine.patterns.values()] == [p.templates for p in other.patterns.values()]
    assert loaded.backup is not None
    assert loaded.backup.is_relative_to(tmp_path)
    with opened(str(loaded.backup)) as backup:
        assert backup.predict_next_action(LINES[:2])[0].next_command == LINES[2]
        before = derived(loaded.backup)
        backup.rebuild()
        assert derived(loaded.backup) == before  # a file keeps some of it otherwise


def test_long_and_strange_texts_are_kept(postgres: PostgresServer) -> None:
    """Texts that no index could hold, and all that a line may be made of."""
    lines = ["x" * 60_000, "echo 'ünïcödé 🎉 \\ \" { } , %s %% NULL'", "cat <<E\na\tb\nE", "tail"]
    with opened(postgres.address()) as engine:
        engine.learn_workflow([{"command": line, "cwd": "/" + "d" * 3_000} for line in lines], "success", "s" * 3_000)
        engine.learn_workflow(lines, "failure", "NULL")
        saved = engine.predict_next_action(lines[1:3])
        assert saved[0].next_command == "tail"
        kept = engine.learned_since(0, 4)[1]
        assert [(step.command, step.cwd) for step in kept] == [(line, "/" + "d" * 3_000) for line in lines]


def test_others_are_seen_at_once(postgres: PostgresServer) -> None:
    """What one machine has learned, the next call of another one knows: again and again, without a pause."""
    address = postgres.address()
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        for number in range(1, 60):
            one.apply(counted("x" if number % 3 else f"t{number}", start=float(number)), number)
            two.refresh()
            context = two.context(KEY)
            assert context is not None
            assert context.total == number
            assert two.meta("derived") == number
            number_of_x = two.template_ids(["x", f"t{number}"])
            assert len(number_of_x) == 1 + (number % 3 == 0)
            follower = two.follower(KEY, number_of_x["x"])
            assert follower is not None
            assert follower.count == number - number // 3


def test_success_alone_is_news(postgres: PostgresServer) -> None:
    """Counts that change without another step, as when a session is closed, are read again, here and elsewhere."""
    address = postgres.address()
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        one.apply(counted("x"), 0)
        (x,) = one.template_ids(["x"]).values()
        two.refresh()
        assert [store.followers([(KEY, x)])[KEY, x].good for store in (one, two)] == [0, 0]
        delta = Delta()
        delta.context(KEY).add(x, GOOD)
        one.apply(delta, 0)
        two.refresh()
        assert [store.followers([(KEY, x)])[KEY, x].good for store in (one, two)] == [1, 1]


def test_only_what_changed_is_read_again(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice tells which keys a change concerns; without it, or when it is of somebody else, all is read again."""
    address = postgres.address()
    other = Delta()
    other.context(5).follow(other.id_of("y"))
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        one.apply(counted("x"), 0)
        asked: list[str] = []
        rows = two._link.rows

        def counting(sql: str, arguments: tuple[object, ...] = ()) -> list[object]:
            asked.append(sql)
            return rows(sql, arguments)

        monkeypatch.setattr(two._link, "rows", counting)

        def reads() -> bool:
            asked.clear()
            two.refresh()
            two.contexts([KEY])
            return bool(asked)

        assert reads()
        assert not reads()
        one.apply(other, 0)
        assert not reads()
        one.apply(counted("x", start=2.0), 0)
        assert reads()
        postgres.query(f"NOTIFY {two._link.channel}, 'nonsense'", "memories", "root")
        postgres.query(f"NOTIFY {two._link.channel}, '999999 AAAA'", "memories", "root")
        one.apply(other, 0)
        assert not reads()
        news, told = one._news, [""]

        def telling(changes: int) -> str:
            told.append(news(changes))
            return told[-1]

        monkeypatch.setattr(one, "_news", telling)
        one.apply(other, 0)
        postgres.query(f"NOTIFY {two._link.channel}, '{told[-1]}'", "memories", "root")
        assert reads()  # who sends a notice again makes it count for nothing
        assert not reads()
        monkeypatch.setattr(one, "_news", lambda changes: str(changes))
        one.apply(other, 0)
        assert reads()
        assert two.contexts([KEY])[KEY].total == 2
        one.reset_derived()
        two.refresh()
        assert two.contexts([KEY]) == {}


@pytest.mark.parametrize("first", [True, False])
def test_a_forged_notice_hides_no_change(postgres: PostgresServer, first: bool) -> None:
    """Whoever may connect may send one: it is found out, whether it comes before the real one or after it."""
    address = postgres.address()
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        one.apply(counted("x"), 0)
        two.refresh()
        assert two.contexts([KEY])[KEY].total == 1

        def forge() -> None:
            for number in range(two._head.changes, two._head.changes + 6):
                for keys in ("", base64.b64encode(bytes(16)).decode("ascii"), "A"):
                    postgres.query(f"NOTIFY {two._link.channel}, '{number} {keys}'", "memories", "root")

        if first:
            forge()
        one.apply(counted("x", start=2.0), 0)
        if not first:
            forge()
        two.refresh()
        assert two.contexts([KEY])[KEY].total == 2


def test_rules_are_added_to_what_the_server_has(postgres: PostgresServer) -> None:
    """Not to what was read before, should no notice of another writer have come."""
    rules = Delta()
    rules.rules[7] = {"any": (1, 1)}
    address = postgres.address()
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        one.apply(rules, 0)
        two.refresh()
        kept = two.rules([7])
        one.apply(rules, 0)
        with two.transaction():
            two._rules[7] = kept[7]  # as if nothing had been heard
            two.apply(rules, 0)
        two.refresh()
        assert dict(two.rules([7])[7]) == {"any": [3, 3]}


def test_notices_tell_outsiders_nothing(postgres: PostgresServer) -> None:
    """Anybody who may connect may listen: the same change looks different each time, and shows no key."""
    import psycopg

    spied = psycopg.connect(host=str(postgres.folder), dbname="memories", user="root", autocommit=True)
    with closing(PostgresStore(postgres.address())) as store, spied as spy:
        spy.execute(f"LISTEN {store._link.channel}")
        for _ in range(3):
            store.apply(counted("x"), 0)
        told = [notice.payload.split(" ")[1] for notice in spy.notifies(timeout=10, stop_after=3)]
    assert len(told[1]) == len(told[2])
    assert told[1] != told[2]
    assert not [text for text in told if KEY.to_bytes(8, "little", signed=True) in base64.b64decode(text)]


@pytest.mark.parametrize("admitted", [False, True])
def test_notices_that_lie_lose_nothing(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, admitted: bool
) -> None:
    """An outsider's are not listened to; whatever a member tells, what is written does not hang on it."""
    with suppress(Exception):  # of the other run
        postgres.query("CREATE ROLE mallory LOGIN")
    address = postgres.address()
    rules = Delta()
    rules.rules[KEY] = {"same": (1, 1)}
    step = Command("zq line")
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        news = one._news

        def nothing(changes: int) -> str:
            one._keys.clear()
            one._all_changed = False
            return news(changes)

        if admitted:
            monkeypatch.setattr(one, "_news", nothing)

        def forge(first: int, lie: str) -> None:
            for number in () if admitted else range(first, first + 3):
                postgres.query(f"NOTIFY {two._link.channel}, '{number} {lie}'", "memories", "mallory")

        def forged(change: Callable[[], object]) -> None:
            first = one._head.changes + 1
            forge(first, f" {'A' * 22}==")
            change()
            forge(first, "")
            two.refresh()

        two.apply(rules, 0)
        assert list(map(tuple, two.rules([KEY])[KEY].values())) == [(1, 1)]
        one.refresh()
        forged(lambda: one.apply(rules, 0))
        if not admitted:
            assert list(map(tuple, two.rules([KEY])[KEY].values())) == [(2, 2)]
        two.apply(rules, 0)

        number = two.add_session("gone", 1.0, None)
        two.add_steps(number, 0, [step])
        one.refresh()

        def forget() -> None:
            with one.transaction():
                one.delete_sessions([number])
                one.drop_unused()

        forged(forget)
        number = two.add_session("new", 1.0, None)
        two.add_steps(number, 0, [step])
        with closing(PostgresStore(address)) as fresh:
            assert list(map(tuple, fresh.rules([KEY])[KEY].values())) == [(3, 3)]
            assert fresh.steps(number) == [step]
        one.refresh()
        assert two.rules([KEY])
        forged(one.reset_derived)
        assert bool(two.rules([KEY])) == admitted


def test_a_view_is_one_state(postgres: PostgresServer) -> None:
    """Whatever others commit meanwhile."""
    address = postgres.address()
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        one.apply(counted("x"), 0)
        with two.reading():
            one.apply(counted("x", start=2.0), 0)
            assert two.contexts([KEY])[KEY].total == 1
            assert two.last_row() == 0
            with pytest.raises(StorageError, match="looked at"):
                two.set_meta("a", 1)
        two.refresh()
        assert two.contexts([KEY])[KEY].total == 2


def test_who_waits_too_long_is_told(postgres: PostgresServer) -> None:
    """As of a file; and predictions do not wait."""
    address = postgres.address()
    with opened(address) as engine, closing(PostgresStore(address)) as store:
        engine.learn_workflow(LINES)
        engine.flush()  # what embeds in the background would wait, and hold up the rest
        live = engine.session()
        live.record(LINES[0])
        with store.transaction():
            busy = pytest.raises(StoreBusyError, match="another process keeps it locked; try again")
            with busy, engine._store.transaction(0.05):
                pytest.fail("two at once")
            begin = time.perf_counter()
            assert engine.predict_next_action(LINES[:2])[0].next_command == LINES[2]
            assert time.perf_counter() - begin < 10
            with opened(postgres.address()) as other:
                other.learn_workflow(LINES)  # others are not held up
        live.record(LINES[1])
        assert sizes(engine)["command_count"] == 5


# -- tenants and projects


def test_tenants_and_projects_are_apart(postgres: PostgresServer) -> None:
    """The same session id, in each another content; nobody sees what is not theirs."""
    addresses = [postgres.address("acme"), postgres.address("acme", "shop"), postgres.address("other", "shop")]
    for number, address in enumerate(addresses):
        with opened(address) as engine:
            engine.learn_workflow([*LINES[:2], f"push to {number}"], session_id="same")
    for number, address in enumerate(addresses):
        with opened(address) as engine:
            assert engine.predict_next_action(LINES[:2])[0].next_command == f"push to {number}"
            assert engine.learned_since(0)[1][2].command == f"push to {number}"
            assert engine.stats()["session_count"] == 1
            assert engine.stats()["path"] == address
    seen = [
        postgres.query(
            f"SELECT count(*) FROM {SCHEMA}.log", "memories", "keeper",
            procedural_memory__tenant=tenant, procedural_memory__project=project,
        )
        for tenant, project in (("acme", ""), ("acme", "shop"), ("acme", "none"), ("", ""))
    ]  # fmt: skip
    assert seen == [[(4,)], [(4,)], [(0,)], [(0,)]]
    assert postgres.query(f"SELECT count(*) FROM {SCHEMA}.log", "memories", "keeper") == [(0,)]


def test_a_superuser_keeps_them_apart_as_well(postgres: PostgresServer, tmp_path: Path) -> None:
    """No policy holds for one: it is the statements that name their memory, in all that changes and reads."""
    beside = postgres.address(user="root")
    with opened(postgres.address(user="root"), max_patterns=3) as one, opened(beside, max_patterns=2) as two:
        one.learn_many(load_sessions()[:6])
        assert one.stats()["shelved_pattern_count"] == 3
        one.feedback(LINES[:1], LINES[1], "accepted")
        one.flush()
        state, seen = sizes(one), guesses(one)
        copies = [one.save(tmp_path / f"before.{suffix}").read_bytes() for suffix in ("json", "pkl")]
        assert not any(sizes(two)[name] for name in state if name.endswith("count"))
        assert guesses(two) == []
        two.learn_many(load_sessions()[4:8])
        two.learn_workflow(LINES, "failure", "mine")
        two.feedback(LINES[:1], LINES[1], "rejected")
        two.flush()
        for bound in (3, 1, 0, 2):
            opened(beside, max_patterns=bound).close()
        two.scrub(["npm|git"])
        two.forget(containing="push")
        two.forget(session="mine")
        two.prune(max_size=5)
        two.rebuild()
        two.load(tmp_path / "before.json", mode="merge")
        two.prune(max_size=1)
        one._store.refresh()
        one._store._drop_read()  # type: ignore[attr-defined]
        assert (sizes(one), guesses(one)) == (state, seen)
        assert [one.save(tmp_path / f"after.{suffix}").read_bytes() for suffix in ("json", "pkl")] == copies
        one.rebuild()
        assert sizes(one) == state


def test_nothing_on_the_disk_is_looked_for(postgres: PostgresServer) -> None:
    """Neither steps that wait beside the memory, nor an index."""
    seen: list[str] = []
    address = postgres.address()

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename"):
            seen.extend(str(each) for each in arguments if "postgresql" in str(each))

    sys.addaudithook(look)
    with opened(address) as engine:
        engine.learn_workflow(LINES)
        engine.flush()
        assert engine.stats()["waiting_steps"] == engine.stats()["unreadable_steps"] == 0
        engine.forget(containing="push")
        index = NearestIndex(engine._store)
        assert index.path is None
        engine.rebuild()
    assert seen == []


def test_each_table_is_separated(postgres: PostgresServer) -> None:
    """Policies stand on every table that has rows of memories, and hold for its owner as well."""
    with closing(PostgresStore(postgres.address())):
        pass
    rows = postgres.query(
        "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class c JOIN pg_namespace n"
        f" ON n.oid = relnamespace WHERE nspname = '{SCHEMA}' AND relkind = 'r'",
        "memories",
    )
    assert {name for name, separated in rows if not separated} == {"version", "member"}
    assert {name for name, separated in rows if separated} == {"memory", "meta", *COPIED}


def test_roles_see_the_memories_that_they_are_admitted_to(postgres: PostgresServer) -> None:
    """Others not: neither by the address, nor by a setting, nor by number."""
    ours, theirs = postgres.address("ours"), postgres.address("theirs")
    for address in (ours, theirs):
        with opened(address) as engine:
            engine.learn_workflow(LINES)
    postgres.query("DROP ROLE IF EXISTS alice")
    postgres.query("CREATE ROLE alice LOGIN")
    with pytest.raises(StorageError, match=r"permission denied.*admit"):
        opened(postgres.address("ours", user="alice"))
    postgres.query(f"SELECT {SCHEMA}.admit('alice', 'ours')", "memories", "keeper")
    with opened(postgres.address("ours", user="alice")) as engine:
        engine.learn_workflow(["make", "make test", "make install"])
        assert engine.stats()["session_count"] == 2
    with opened(postgres.address("ours", "shop", user="alice")) as engine:
        engine.learn_workflow(LINES)
    for tenant in ("theirs", "anew"):
        with pytest.raises(StorageError, match=rf"'alice' is not admitted to tenant '{tenant}'.*admit"):
            opened(postgres.address(tenant, user="alice"))

    def ask(sql: str, tenant: str = "theirs") -> list[tuple[int]]:
        return postgres.query(sql, "memories", "alice", procedural_memory__tenant=tenant, procedural_memory__project="")

    numbers = dict(postgres.query(f"SELECT tenant, id FROM {SCHEMA}.memory WHERE project = ''", "memories"))
    for table in ("memory", *COPIED):
        assert ask(f"SELECT count(*) FROM {SCHEMA}.{table}") == [(0,)], table
    assert ask(f"SELECT count(*) > 0 FROM {SCHEMA}.log", "ours") == [(True,)]
    assert ask(f"SELECT count(*) FROM {SCHEMA}.log WHERE memory = {numbers['theirs']}", "ours") == [(0,)]
    import psycopg

    for refused in (
        f"INSERT INTO {SCHEMA}.text VALUES ({numbers['theirs']}, 1, 'x')",
        f"UPDATE {SCHEMA}.text SET memory = {numbers['theirs']}",
        f"INSERT INTO {SCHEMA}.member VALUES ('alice', 'theirs', NULL)",
        f"SELECT {SCHEMA}.admit('alice', 'theirs')",
        f"SELECT * FROM {SCHEMA}.member",
        f"ALTER TABLE {SCHEMA}.text DISABLE ROW LEVEL SECURITY",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(refused, "ours")
    # One project alone.
    postgres.query("DROP ROLE IF EXISTS bob")
    postgres.query("CREATE ROLE bob LOGIN")
    postgres.query(f"SELECT {SCHEMA}.admit('bob', 'ours', 'shop')", "memories", "keeper")
    with opened(postgres.address("ours", "shop", user="bob")) as engine:
        assert engine.stats()["session_count"] == 1
    for project in ("", "other"):
        with pytest.raises(StorageError, match="not admitted"):
            opened(postgres.address("ours", project, user="bob"))


# -- the server fails


def test_a_server_that_is_killed_keeps_what_it_acknowledged(postgres: PostgresServer) -> None:
    """In the middle of everything: an error says so, nothing stays by half, and the same engines go on afterwards."""
    address = postgres.address()
    acknowledged: list[str] = []
    refused: list[StorageError] = []
    end = threading.Event()

    def learn(name: int) -> None:
        with opened(address) as engine:
            for number in range(100_000):
                if end.is_set():
                    return
                try:
                    engine.learn_workflow([f"step {i}" for i in range(4)], "success", f"{name}-{number}")
                    acknowledged.append(f"{name}-{number}")
                except StorageError as error:
                    refused.append(error)
                    time.sleep(0.05)

    def wait_for(found: list[Any]) -> None:
        count, latest = len(found) + 3, time.monotonic() + 60
        while len(found) < count:
            assert time.monotonic() < latest
            time.sleep(0.01)

    with opened(address) as before, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3))
        stack.callback(end.set)
        for name in range(3):
            pool.submit(learn, name)
        for _ in range(3):
            wait_for(acknowledged)
            postgres.kill()
            wait_for(refused)
            gone = r"store postgresql://keeper@.*(cannot be reached|went away)"
            with pytest.raises(StoreUnavailableError, match=gone):
                before.predict_next_action(LINES)
            with pytest.raises(ConnectionError):
                before.learn_workflow(LINES)
            postgres.start()
        wait_for(acknowledged)
        stack.close()
        assert {type(error) for error in refused} <= {StoreUnavailableError, StorageError}
        with opened(None) as alone, opened(address) as after:
            with after._reading():
                sessions = list(after._store.sessions())
                steps = {row.session_id: len(after._store.steps(row.id)) for row in sessions}
            assert set(steps) >= set(acknowledged)
            assert all(row.closed for row in sessions)
            assert set(steps.values()) == {4}
            unknown = set(steps) - set(acknowledged)
            assert len(unknown) <= sum("not known" in str(error) for error in refused)
            alone.learn_many(
                {"session_id": name, "commands": [f"step {i}" for i in range(4)], "outcome": "success"}
                for name in steps
            )
            assert sizes(before) == sizes(after) == sizes(alone)
            after.rebuild()
            assert sizes(after) == sizes(alone)


@pytest.mark.parametrize("kept", [True, False])
def test_an_end_that_was_not_heard_of_is_asked_for(
    kept: bool, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the connection breaks while a transaction ends, the server tells afterwards whether it was kept."""
    with opened(postgres.address()) as engine, opened(postgres.address()) as alone:
        store = engine._store
        assert isinstance(store, PostgresStore)
        send = store._send

        def breaking() -> list[object]:
            if store._waiting[-1][0] != "COMMIT":
                return send()
            if not kept:
                store._waiting.pop()
            send()
            db = store._link._db
            assert db is not None
            db.close()
            raise StoreUnavailableError("gone")

        monkeypatch.setattr(store, "_send", breaking)
        if kept:
            engine.learn_workflow(LINES)
        else:
            with pytest.raises(StoreUnavailableError, match="gone; nothing was changed"):
                engine.learn_workflow(LINES)
        monkeypatch.undo()
        if kept:
            alone.learn_workflow(LINES)
        assert sizes(engine) == sizes(alone)
        assert guesses(engine) == guesses(alone)


def test_a_change_that_failed_at_its_end_is_not_taken_for_anothers(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read after it is of the state before it, and let go of when another machine makes the next change."""
    address = postgres.address()
    with closing(PostgresStore(address)) as one, closing(PostgresStore(address)) as two:
        two.apply(counted("x"), 0)
        one.refresh()
        send = one._send

        def failing() -> list[Any]:
            if one._waiting[-1][0] == "COMMIT":
                raise StorageError("no room")
            return send()

        monkeypatch.setattr(one, "_send", failing)
        with pytest.raises(StorageError, match="no room"):
            one.apply(counted("y", start=2.0), 0)
        monkeypatch.undo()
        assert one.contexts([KEY])[KEY].total == 1
        two.apply(counted("z", start=3.0), 0)
        one.refresh()
        assert one.contexts([KEY])[KEY].total == 2


def test_a_connection_that_was_lost_in_between_is_made_anew(postgres: PostgresServer) -> None:
    """Nobody notices where nothing was under way."""
    with opened(postgres.address()) as engine:
        engine.learn_workflow(LINES)
        for call in (lambda: guesses(engine), lambda: engine.learn_workflow(LINES), lambda: engine.stats()):
            postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'")
            call()
        assert engine.stats()["session_count"] == 2


def test_a_fork_does_not_use_the_connection(postgres: PostgresServer) -> None:
    """What a child does leaves the connection of its parent alone."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    with opened(postgres.address()) as engine:
        engine.learn_workflow(LINES)
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                try:
                    engine._store.totals()
                except ClosedError:
                    engine._store.close()
                    engine.close()
                    status = 0
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert guesses(engine)[0][0] == LINES[2]


# -- opening


def _open_and_learn(address: str, number: int) -> None:
    with opened(address) as engine:
        engine.learn_workflow(LINES, session_id=str(number))


def test_many_open_a_new_database_at_once(postgres: PostgresServer) -> None:
    """The tables are made once."""
    postgres.query("CREATE DATABASE fresh OWNER keeper")
    address = postgres.address("t").replace("/memories", "/fresh")
    processes = [
        multiprocessing.get_context("spawn").Process(target=_open_and_learn, args=(address, number))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with opened(address) as engine:
        assert engine.stats()["session_count"] == 4


def test_what_is_not_ours_is_left_alone(postgres: PostgresServer) -> None:
    """A schema of another program, of a newer version, a database of another encoding: refused, and not changed."""
    postgres.query("CREATE DATABASE others OWNER keeper")
    postgres.query(f"CREATE SCHEMA {SCHEMA}", "others", "keeper")
    postgres.query(f"CREATE TABLE {SCHEMA}.notes(a int)", "others", "keeper")
    address = postgres.address("t").replace("/memories", "/others")
    with pytest.raises(StorageError, match="another program; it was not changed"):
        opened(address)
    assert postgres.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname = 'log'", "others") == []
    postgres.query(f"DROP SCHEMA {SCHEMA} CASCADE", "others", "keeper")
    with opened(address) as engine:
        engine.learn_workflow(LINES)
        postgres.query(f"UPDATE {SCHEMA}.version SET number = 99", "others", "keeper")
        for call in (lambda: guesses(engine), lambda: engine.learn_workflow(LINES)):
            with pytest.raises(StorageError, match=r"another version of the package .99.* has taken it over"):
                call()
        with pytest.raises(StorageError, match="of version 99, this package reads"):
            opened(address)
        postgres.query(f"UPDATE {SCHEMA}.version SET number = {VERSION}", "others", "keeper")
        assert engine.stats()["session_count"] == 1
    postgres.query(
        "CREATE DATABASE old OWNER keeper ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
    )
    with pytest.raises(StorageError, match="must be UTF8, it is SQL_ASCII"):
        opened(postgres.address().replace("/memories", "/old"))


@pytest.mark.parametrize("version", range(1, VERSION))
def test_tables_of_an_earlier_version_are_brought_up_to_date(
    version: int, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned is there, and the tables are those that a new database gets."""

    def columns(database: str) -> list[Any]:
        return postgres.query(
            f"SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = '{SCHEMA}'"
            f" UNION SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = '{SCHEMA}' ORDER BY 1, 2",
            database,
        )

    database = f"version{version}"
    for name in (database, f"{database}_new"):
        postgres.query(f"CREATE DATABASE {name} OWNER keeper")
    address = postgres.address("t").replace("/memories", f"/{database}")
    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "MIGRATIONS", postgres_schema.MIGRATIONS[:version])
        for module in (postgres_schema, postgres_transactions):
            patched.setattr(module, "VERSION", version)
        with opened(address) as engine:
            engine.learn_workflow(LINES)
            patterns, edges = dict(engine.patterns), dict(engine.workflow_graph.edges)
    assert postgres.query(f"SELECT number FROM {SCHEMA}.version", database) == [(version,)]
    with opened(address) as engine:
        assert engine.stats()["session_count"] == 1
        assert (dict(engine.patterns), dict(engine.workflow_graph.edges)) == (patterns, edges)
        assert engine.lines_beginning("git c") == ["git commit -m wip"]
        assert engine.learn_workflow(["git fetch", *LINES])
        assert engine.lines_beginning("git f") == ["git fetch"]
    with opened(address.replace(f"/{database}", f"/{database}_new")):
        assert columns(database) == columns(f"{database}_new")


def test_a_missing_database_is_one_clear_line(postgres: PostgresServer) -> None:
    """What is wrong, where, and what happens next."""
    with pytest.raises(StoreUnavailableError) as found:
        opened(postgres.address("t").replace("/memories", "/nowhere"))
    assert "\n" not in str(found.value)
    assert 'database "nowhere" does not exist' in str(found.value)


# -- addresses and passwords


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://u:pw@h:5432/db?tenant=a&project=b", "postgresql://u@h:5432/db?tenant=a&project=b"),
        ("postgres://u:pw@[::1]:5432,h2/db?sslpassword=pw&connect_timeout=3", "postgresql://u@[::1]:5432,h2/db"),
        ("postgresql:///db?host=/run&user=u&password=pw", "postgresql:///db?host=/run&user=u"),
        ("postgresql://u:p%40pw@/db?tenant=a%20b", "postgresql://u@/db?tenant=a%20b"),
        ("POSTGRESQL://h", "postgresql://h"),
        ("PostGres://u:pw@h/db", "postgresql://u@h/db"),
    ],
)
def test_an_address_shows_no_password(given: str, shown: str) -> None:
    """Neither as text nor by repr."""
    address = Address.of(given)
    assert str(address) == shown
    assert "pw" not in repr(address)


@pytest.mark.parametrize("given", ["postgresql://u:p%40pw@/db?tenant=a%20b", "PostGres://u:pw@h/db", "POSTGRESQL://h"])
def test_the_client_library_understands_an_address(given: str) -> None:
    """Whichever way it is written."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    assert Address.of(given).parameters()


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:pw",
        "postgresql://u:pw/db",
        "postgresql://u:p/pw@h/db",
        "postgresql://u:p@pw@h/db",
        "postgresql://u@h/db?password",
        "postgresql://u:pw@h:x/db",
        "postgresql://u:%zzpw@h/db",
        "postgresql://u:pw@h/db?no_such_option=pw",
        "postgresql://u:pw@h/db?tenant=",
        f"postgresql://u:pw@h/db?project={'p' * 300}",
        "postgresql://u:pw@h/db?tenant=a&tenant=b",
    ],
)
def test_a_slip_in_an_address_shows_no_password(given: str, postgres: PostgresServer) -> None:
    """What is wrong is told, the address is not."""
    for call in (lambda: ProceduralMemoryEngine(path=given), lambda: Address.of(given).parameters()):
        with pytest.raises(InvalidInputError, match="path: the address") as found:
            call()
        assert "pw" not in str(found.value)
        assert found.value.__cause__ is None


def test_a_password_is_never_told(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what an engine says of itself, not by errors, logs or commands, not to the database, not in files."""
    import traceback

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    postgres.query("DROP ROLE IF EXISTS guarded")
    postgres.query(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}' IN ROLE keeper")
    good = postgres.address("secret", rest=f"&password={PASSWORD}", user="guarded")
    told: list[str] = []
    caplog.set_level(logging.DEBUG)
    with opened(good) as engine:
        engine.learn_workflow(LINES)
        told += [repr(engine), str(engine.stats()), str(engine._store.path)]
        engine.save(tmp_path / "copy.json")
        engine.load(tmp_path / "copy.json", mode="replace")
    with pytest.raises(ClosedError) as closed:
        engine.stats()
    told += [str(closed.value), repr(engine)]
    for wrong in (good.replace(PASSWORD, f"wrong-{PASSWORD}"), good.replace("/memories", "/nowhere")):
        with pytest.raises(StoreUnavailableError) as found:
            opened(wrong)
        told += ["".join(traceback.format_exception(found.value))]
    assert "password authentication failed" in told[-2]
    for command in (["stats"], ["predict", "--", "git add ."], ["doctor"], ["init", "bash"], ["import", "--dry-run"]):
        result = CliRunner().invoke(main, [*command, "--path", good])
        told += [result.output, str(result.exception)]
        assert result.exit_code == (1 if command[0] in ("doctor", "init") else 0), result.output
    told += [record.getMessage() for record in caplog.records]
    told += [str(path) for path in tmp_path.rglob("*")]
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    told += [str(postgres.query("SELECT * FROM pg_stat_activity"))]
    assert not [text for text in told if PASSWORD in text]


def test_the_service_keeps_its_memory_there(postgres: PostgresServer) -> None:
    """As in a file: what was learned is there when it is started anew; a server that is away is one clear line."""
    pytest.importorskip("fastapi", reason="the service is not installed: the extra 'server'")
    pytest.importorskip("httpx", reason="httpx is not installed: the extra 'test-server'")
    from fastapi.testclient import TestClient

    from procedural_memory.server import create_app

    address = postgres.address()
    for sessions in (1, 2):
        with TestClient(create_app(path=address, embedder="lexical"), base_url="http://localhost") as client:
            body = {"session_commands": [{"command": line} for line in LINES], "session_outcome": "success"}
            assert client.post("/learn", json=body).status_code == 200
            stats = client.get("/stats").json()
            assert (stats["total_successes"], stats["pattern_count"]) == (sessions, 1)
            if sessions == 2:
                postgres.kill()
                try:
                    answer = client.post("/learn", json=body)
                finally:
                    postgres.start()
                assert answer.status_code == 503
                assert answer.json() == {"detail": "the server that keeps the memory cannot be reached; try again"}
                assert client.post("/learn", json=body).status_code == 200


@pytest.mark.parametrize("command", [["doctor"], ["init", "bash"], ["watch"], ["claude", "install", "--dry-run"]])
def test_what_works_on_files_alone_says_so(command: list[str]) -> None:
    """One line, and the address in it without its password."""
    result = CliRunner().invoke(main, [*command, "--path", "postgresql://u:pw@h/db"])
    assert result.exit_code == 1
    assert (
        result.output
        == "Error: path: must name a file: this works on no memory in PostgreSQL, got postgresql://u@h/db\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["repair", "postgresql://u:pw@h/db", "new.sqlite3"],
        ["save", "postgresql://u:pw@h/db"],
        ["load", "postgresql://u:pw@h/db"],
        ["import", "file", "postgresql://u:pw@h/db"],
        ["learn", "POSTGRES://u:pw@h/db"],
        ["stats", "--path", "postgresql+psycopg://u:pw@h/db"],
        ["learn", __file__, "--path", "mysql://u:pw@h/db"],
        ["stats", "--path", " postgresql://u:pw@h/db"],
        ["import", "bash", "jdbc:postgresql://u:pw@h/db"],
    ],
)
def test_an_address_is_no_file_name(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in one line that does not show it, and no file is named like it."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "must be the name of a file, got an address" in result.output
    assert result.output.count("\n") == 1
    assert "pw" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_path_made_of_an_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of the file system has one slash less; what was told apart by it would be a folder of that name."""
    monkeypatch.chdir(tmp_path)
    address = "postgresql://u:pw@h/db"
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        calls = [
            lambda: ProceduralMemoryEngine(path=Path(address)),
            *[
                partial(call, given)
                for call in (engine.save, engine.load, engine.merge)
                for given in (address, Path(address))
            ],
            lambda: engine.import_history("file", address),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError, match=r"name of a file, got an address postgresql://… ") as found:
                call()
            assert "pw" not in str(found.value)
    assert list(tmp_path.iterdir()) == []
    assert ProceduralMemoryEngine(path=tmp_path / "a:b" / "c.sqlite3").stats()["session_count"] == 0


def test_who_is_not_let_in_is_told_what_to_check(postgres: PostgresServer) -> None:
    """A server that is there is not told to be away."""
    for address, words in (
        (postgres.address().replace("/memories", "/nowhere"), 'database "nowhere" does not exist'),
        (postgres.address().replace("keeper@", "nobody@"), 'role "nobody" does not exist'),
    ):
        with pytest.raises(StoreUnavailableError, match=f"lets nobody in .*{words}.*check the user, the password"):
            ProceduralMemoryEngine(path=address)


def test_reading_makes_no_memory_on_a_server(postgres: PostgresServer) -> None:
    """A slip in the name of a tenant is an error, not an empty memory; nothing is made."""
    made, slip = f"made{os.getpid()}", f"slip{os.getpid()}"
    for tenant in (made, slip):
        result = CliRunner().invoke(main, ["stats", "--path", postgres.address(tenant)])
        assert result.exit_code == 1
        assert "there is no memory that this role may see" in result.output
        ProceduralMemoryEngine(path=postgres.address(made), embedder="lexical").close()
    known = {tenant for (tenant,) in postgres.query(f"SELECT tenant FROM {SCHEMA}.memory", "memories")}
    assert made in known
    assert slip not in known
    assert CliRunner().invoke(main, ["stats", "--path", postgres.address(made)]).exit_code == 0


def test_the_driver_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it one line says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'omnimemory-procedural\[postgres\]'"):
        ProceduralMemoryEngine(path="postgresql://u:pw@h/db")
