"""What a process does beside an open store, reading its file, opening it again, forking, costs no lock and no step."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from procedural_memory import (
    ClosedError,
    InvalidInputError,
    ProceduralMemoryEngine,
    SessionConflictError,
    StorageError,
)
from procedural_memory.repair import check
from procedural_memory.storage.sqlite import SQLiteStore

STEPS = ["git pull", "make build", "make test", "git push"]
OTHER = """
import sys
from procedural_memory import ProceduralMemoryEngine
with ProceduralMemoryEngine(path=sys.argv[1], embedder="lexical") as engine:
    engine.learn_workflow(["ls", "pwd", "make"], session_id=sys.argv[2])
"""
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def opened(path: Path) -> ProceduralMemoryEngine:
    """Open a store."""
    return ProceduralMemoryEngine(path=path, embedder="lexical")


def learn_elsewhere(path: Path, name: str) -> None:
    """Let another process learn a session, as the only one that it knows of."""
    subprocess.run([sys.executable, "-c", OTHER, str(path), name], check=True)


def ids(path: Path) -> list[str]:
    """Return the sessions that a new connection finds."""
    with closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT session_id FROM session ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "m.sqlite3"


@pytest.mark.parametrize("beside", ["second engine", "check", "truncation check", "snapshot"])
def test_locks_are_kept(path: Path, beside: str) -> None:
    """POSIX drops the locks of a process when it closes any descriptor of a file: nothing closes one of a store."""
    with opened(path) as engine:
        engine.learn_workflow(STEPS, session_id="one")
        if beside == "second engine":
            opened(path).close()
        elif beside == "check":
            check(path, deep=False)
        elif beside == "truncation check":
            with pytest.raises(InvalidInputError):
                engine.save(path)
        else:
            with ProceduralMemoryEngine(embedder="lexical") as other:
                other.load(path)
        # Without its locks the other process would take itself for the last one and delete the write-ahead log.
        learn_elsewhere(path, "two")
        engine.learn_workflow(STEPS, session_id="three")
        assert ids(path) == ["one", "two", "three"]
    assert ids(path) == ["one", "two", "three"]
    learn_elsewhere(path, "four")
    assert ids(path) == ["one", "two", "three", "four"]


def _learn(path: Path, name: str) -> None:
    with opened(path) as engine:
        engine.learn_workflow(STEPS, session_id=name)
    os._exit(0)


@forking
def test_a_forked_process_makes_its_own(path: Path) -> None:
    """What parent and child learn is all there, also when the one closes while the other goes on."""
    engine = opened(path)
    session = engine.session(session_id="live")
    session.record("make build")
    child = multiprocessing.get_context("fork").Process(target=_learn, args=(path, "child"))
    child.start()
    session.record("make test")
    child.join()
    assert child.exitcode == 0
    engine.learn_workflow(STEPS, session_id="parent")
    session.record("git push")
    session.close("success")
    assert sorted(ids(path)) == ["child", "live", "parent"]
    assert engine.stats()["command_count"] == 11
    engine.close()
    assert sorted(ids(path)) == ["child", "live", "parent"]


def _try(path: Path, results: multiprocessing.queues.Queue[str]) -> None:
    try:
        opened(path)
        results.put("opened")
    except StorageError as error:
        results.put(str(error))


@forking
def test_a_process_forked_in_the_middle_of_a_change_is_refused(path: Path) -> None:
    """It would take for its own the lock of the other one; the error says what to do."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()

    def fork(done: int) -> None:
        if done == 1:
            child = context.Process(target=_try, args=(path, results))
            child.start()
            child.join()

    with opened(path) as engine:
        engine.learn_many([STEPS, STEPS], progress=fork)
        assert "forked from was using the memory" in results.get(timeout=10)
        engine.learn_workflow(STEPS)
        assert engine.stats()["session_count"] == 3


@forking
def test_an_inherited_engine_is_closed_in_the_child(path: Path) -> None:
    """It says whose it is; the parent's goes on."""
    with opened(path) as engine:
        engine.learn_workflow(STEPS)
        if (child := os.fork()) == 0:
            try:
                engine.predict_next_action(STEPS[:1])
            except ClosedError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert engine.predict_next_action(STEPS[:1])[0].next_command == "make build"


def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    """What lies beside the file itself counts, not what lies beside a link to it."""
    link = tmp_path / "elsewhere" / "link.sqlite3"
    link.parent.mkdir()
    link.symlink_to(path)
    with opened(link) as engine:
        engine.learn_workflow(STEPS, session_id="one")
        assert engine.stats()["path"] == str(path.resolve())
        log = Path(f"{path}-wal").read_bytes()
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(log)
    with pytest.raises(StorageError, match="cut off"):
        opened(link)
    assert Path(f"{path}-wal").read_bytes() == log


def test_a_snapshot_does_not_take_the_place_of_a_memory_in_use(path: Path, tmp_path: Path) -> None:
    """SQLite would play the old write-ahead log into the new file."""
    other = tmp_path / "other.sqlite"
    with opened(other) as used, ProceduralMemoryEngine(embedder="lexical") as engine:
        used.learn_workflow(STEPS, session_id="used")
        engine.learn_workflow(STEPS, session_id="saved")
        with pytest.raises(InvalidInputError, match=r"other\.sqlite' is a memory that is in use.*save to another file"):
            engine.save(other)
        used.learn_workflow(STEPS, session_id="more")
    assert ids(other) == ["used", "more"]
    engine = ProceduralMemoryEngine(embedder="lexical")
    engine.learn_workflow(STEPS, session_id="saved")
    engine.save(other)
    assert ids(other) == ["saved"]


def test_a_failed_replacement_leaves_live_sessions(path: Path, tmp_path: Path) -> None:
    """They go on, and no backup of what is still there is left."""
    with opened(path) as engine, ProceduralMemoryEngine(embedder="lexical") as other:
        session = engine.session(session_id="live")
        session.record("make build")
        other.learn_workflow(STEPS, session_id="same")
        lines = other.save(tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()
        doubled = [lines[0], lines[1], lines[1].replace("git pull", "git push"), '{"end": true}']
        (tmp_path / "m.jsonl").write_text("\n".join(doubled), encoding="utf-8")
        with pytest.raises(SessionConflictError, match="'same'"):
            engine.load(tmp_path / "m.jsonl", mode="replace")
        session.record("make test")
        session.record("git push")
        assert session.close("success") in engine.patterns
    assert not list(tmp_path.glob("*.sqlite"))


def test_a_step_that_cannot_be_counted_is_not_learned_from_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full predictions go on, and what the rankers learned is what they learned before."""
    with opened(path) as engine:
        engine.learn_workflow(STEPS, session_id="one")
        session = engine.session()
        session.record("git pull")
        learned = engine._rankers.learned
        with monkeypatch.context() as full:

            def apply(*arguments: object) -> bool:
                raise StorageError("store: the disk is full")

            full.setattr(SQLiteStore, "apply", apply)
            for _ in range(3):
                assert session.predict(1)[0].next_command == "make build"
                with pytest.raises(StorageError, match="disk is full"):
                    engine.stats()
            engine.save(path.with_name("saved.json"))
            assert engine._rankers.learned == learned
        session.predict(1)
        assert engine._rankers.learned == learned + 1
    with ProceduralMemoryEngine(embedder="lexical") as other:
        other.load(path.with_name("saved.json"))
        assert other.stats()["command_count"] == 5


def test_a_copy_of_the_store_has_what_the_ranker_learned(tmp_path: Path) -> None:
    """Loaded or opened as it is."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many([STEPS] * 5)
        engine.stats()
        learned = engine._rankers.learned
        copy = engine.save(tmp_path / "m.sqlite3")
    with opened(copy) as again:
        assert again._rankers.learned == learned
