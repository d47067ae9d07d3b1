"""What goes wrong with a file, a disk or a process is told, and costs nothing that was learned."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from procedural_memory import InvalidInputError, ProceduralMemoryEngine, StorageError, StoreBusyError
from procedural_memory import engine as engine_module
from procedural_memory.storage import sqlite as sqlite_store
from procedural_memory.storage.owner import fate_of, owner_of
from procedural_memory.storage.sqlite import SQLiteStore

STEPS = ["git pull", "make build", "make test", "git push"]

INTERRUPTED = f"""
import os, sys
from procedural_memory import ProceduralMemoryEngine
engine = ProceduralMemoryEngine(path=sys.argv[1], embedder="lexical")
session = engine.session(session_id="live", cwd="/src")
for command in {STEPS}:
    session.record(command, exit_code=0)
print("recorded", flush=True)
sys.stdin.readline()
os._exit(1)
"""


def opened(path: Path) -> ProceduralMemoryEngine:
    """Open a store as another process would."""
    return ProceduralMemoryEngine(path=path, embedder="lexical")


def test_an_interrupted_session_is_closed_when_its_process_is_gone(tmp_path: Path) -> None:
    """While the process lives its session stays open; then it is closed, outcome unknown, with all its steps."""
    path = tmp_path / "m.sqlite3"
    code = [sys.executable, "-c", INTERRUPTED, str(path)]
    with subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as live:
        assert live.stdout is not None
        assert live.stdin is not None
        assert live.stdout.readline() == "recorded\n"
        with opened(path) as engine:
            assert engine.stats()["command_count"] == 4
            assert len(engine) == 0
        live.stdin.write("\n")
        live.stdin.flush()
        live.wait()
    with opened(path) as engine:
        (pattern,) = engine.patterns.values()
        assert list(pattern.command_sequence) == STEPS
        assert (pattern.success_count, pattern.failure_count, pattern.unknown_count) == (0, 0, 1)
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT closed, outcome, owner FROM session").fetchall() == [(1, None, None)]
        before = dict(engine.patterns)
        engine.rebuild()
        assert dict(engine.patterns) == before


def test_a_session_of_this_process_stays_open(tmp_path: Path) -> None:
    """Another engine of the same process leaves it as it is."""
    path = tmp_path / "m.sqlite3"
    with opened(path) as engine:
        session = engine.session()
        session.record("make build")
        opened(path).close()
        session.record("make test")
        session.record("git push")
        assert session.close("success") in engine.patterns


def test_the_fate_of_processes() -> None:
    """A number that was given out again, another boot and another machine are told apart."""
    mine = owner_of(os.getpid())
    assert fate_of(mine) == "alive"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = owner_of(child.pid)
        assert fate_of(other) == "alive"
        child.kill()
        child.wait()
    assert fate_of(other) == "gone"
    number = f" {os.getpid()}, "
    assert number in mine
    reused = mine.rpartition(number)[0] + number + '"1"]'
    assert fate_of(reused) == "gone"
    assert fate_of(mine.replace('["', '["elsewhere ')) == "unknown"
    for nonsense in (None, "", "x", "[]", "[1, 2, 3, 4]", "{}", "7"):
        assert fate_of(nonsense) == "unknown"


def test_of_an_unknown_process_only_old_sessions_are_closed(tmp_path: Path) -> None:
    """Of other machines nothing can be known: their sessions may go on for days."""
    path = tmp_path / "m.sqlite3"
    with closing(SQLiteStore(str(path))) as store:
        store.add_session("new", time.time() - 86_400, None, '["elsewhere", "", 1, "1"]')
        store.add_session("old", time.time() - 30 * 86_400, None, '["elsewhere", "", 1, "1"]')
    opened(path).close()
    with closing(SQLiteStore(str(path))) as store:
        assert [row.session_id for row in store.open_sessions()] == ["new"]


def test_a_busy_store_opens_at_once(tmp_path: Path) -> None:
    """What was interrupted waits for the next open where another process is writing."""
    path = tmp_path / "m.sqlite3"
    with closing(SQLiteStore(str(path))) as store:
        number = store.add_session("old", 1.0, None)
        with store.transaction():
            store.set_start(number, 2.0)
            begun = time.monotonic()
            opened(path).close()
            assert time.monotonic() - begun < sqlite_store.PATIENCE / 2
    with closing(SQLiteStore(str(path))) as store:
        assert [row.session_id for row in store.open_sessions()] == ["old"]
    opened(path).close()
    with closing(SQLiteStore(str(path))) as store:
        assert not store.open_sessions()


def test_a_writer_that_waits_in_vain_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and it works again as soon as the other one is done."""
    monkeypatch.setattr(sqlite_store, "PATIENCE", 0.2)
    path = tmp_path / "m.sqlite3"
    with opened(path) as engine, closing(sqlite3.connect(path, isolation_level=None)) as other:
        engine.learn_workflow(STEPS, "success")
        session = engine.session()
        session.record("make build")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"another process keeps it locked; try again.*nothing was changed"):
            session.record("make test")
        assert engine.predict_next_action(["git pull"], top_k=1)[0].next_command == "make build"
        with pytest.raises(StoreBusyError, match="locked"):
            engine.stats()  # a number that leaves out what was recorded would be wrong
        other.execute("COMMIT")
        session.record("make test")
        session.record("git push")
        session.close("success")
        assert sorted(pattern.command_count for pattern in engine.patterns.values()) == [3, 4]


@pytest.mark.parametrize("left", [0.3, 0.7, 0.95])
def test_a_store_that_was_cut_off_is_refused(tmp_path: Path, left: float) -> None:
    """It is neither changed nor replaced, and the error says how to save what is left."""
    path = tmp_path / "m.sqlite3"
    with opened(path) as engine:
        engine.learn_workflow(STEPS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * left)])
    with pytest.raises(StorageError, match=r"cut off.*it was not changed.*procedural-memory repair .*m\.sqlite3 "):
        opened(path)
    assert path.read_bytes() == whole[: int(len(whole) * left)]


def test_an_empty_file_beside_a_write_ahead_log_is_refused(tmp_path: Path) -> None:
    """SQLite would delete the log, in which the newest steps may be."""
    path = tmp_path / "m.sqlite3"
    engine = opened(path)
    engine.learn_workflow(STEPS)
    log = Path(f"{path}-wal").read_bytes()
    engine.close()
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(log)
    with pytest.raises(StorageError, match="cut off"):
        opened(path)
    assert Path(f"{path}-wal").read_bytes() == log


def test_a_schema_that_does_things_is_refused(tmp_path: Path) -> None:
    """Triggers and views are not made by this package; what they would do is not done."""
    path = tmp_path / "m.sqlite3"
    opened(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM session; END")
    with pytest.raises(StorageError, match="database of another program"):
        opened(path)


def test_a_clock_that_goes_back_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions without times stay in the order in which they came, in this process and in the next; a clock that was
    a year ahead is not followed for ever."""
    path = tmp_path / "m.sqlite3"
    now = 1_800_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    with opened(path) as engine:
        engine.learn_workflow(["a", "b", "c"], session_id="first")
        now -= 3_600
        engine.learn_workflow(["a", "b", "c"], session_id="second")
    with opened(path) as engine:
        now -= 3_600
        engine.learn_workflow(["a", "b", "c"], session_id="third")
        now += 366 * 86_400
        engine.learn_workflow(["a", "b", "c"], session_id="ahead")
    now -= 366 * 86_400
    with opened(path) as engine:
        engine.learn_workflow(["a", "b", "c"], session_id="right again")
    with closing(SQLiteStore(str(path))) as store:
        rows = list(store.sessions())
        assert [row.session_id for row in rows] == ["right again", "first", "second", "third", "ahead"]
        assert rows[0].start == now


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_that_of_the_file(tmp_path: Path, durability: str, level: int) -> None:
    """The levels are those of SQLite; that they hold what they promise is shown by `tests/durability`."""
    engine = ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", durability=durability, embedder="lexical")  # type: ignore[arg-type]
    assert isinstance(engine._store, SQLiteStore)
    assert engine._store._one("PRAGMA synchronous")[0] == level
    engine.close()
    with pytest.raises(InvalidInputError, match="durability: must be 'full' or 'normal', got 'off'"):
        ProceduralMemoryEngine(durability="off")  # type: ignore[arg-type]


def test_a_network_file_system_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory works; the warning names the kind and what to do."""
    path = tmp_path / "m.sqlite3"
    monkeypatch.setattr(engine_module, "network_file_system", lambda path: "nfs4")
    with pytest.warns(UserWarning, match=r"m\.sqlite3': lies on a network file system \(nfs4\).*local disk") as told:
        opened(path).close()
    assert told[0].filename == __file__
