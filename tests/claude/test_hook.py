"""The hook of Claude Code: what it records of each event, and that it never gets in the agent's way."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from calling import EVENTS, event, hook, ran, start

from procedural_memory import Command, ProceduralMemoryEngine
from procedural_memory.claude.events import SOURCE
from procedural_memory.claude.settings import HOOK
from procedural_memory.repair import check as check_store
from procedural_memory.storage.append import MOST_SPOOLED, append, spool_of, spooled
from procedural_memory.storage.migrations import VERSION
from procedural_memory.storage.sqlite import SQLiteStore

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The file of an empty store."""
    path = tmp_path / "memory.sqlite3"
    SQLiteStore(str(path)).close()
    return path


def steps_of(path: Path) -> list[tuple[str, Command]]:
    """Return the steps of a store with the names of their sessions, in the order of the log."""
    engine_steps = SQLiteStore(str(path))
    with closing(engine_steps) as opened:
        opened.take_in_spooled(5.0)
        sessions = sorted(opened.sessions(), key=lambda row: row.id)
        return [(row.session_id, step) for row in sessions for step in opened.steps(row.id)]


def test_a_step_is_what_a_session_would_record(store: Path, tmp_path: Path) -> None:
    """The rows are those of `Session.record`, texts, project and branch included."""
    project = tmp_path / "app"
    (project / ".git").mkdir(parents=True)
    (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    line = f"curl\x1b[0m -H 'Authorization: token {TOKEN}' https://x.example/é\ud800 "
    before = time.time()
    hook(store, ran(line, cwd=project / "src"))
    after = time.time()
    ((name, step),) = steps_of(store)
    assert name == "claude-00893aaf-19fa-41d2-8238-13269b9b3ca0"
    assert before - 1.5 <= step.timestamp <= after - 1.5  # type: ignore[operator]

    other = tmp_path / "other.sqlite3"
    with (
        ProceduralMemoryEngine(path=other, embedder="lexical") as engine,
        engine.session(session_id=name, source=SOURCE, actor="agent") as session,
    ):
        told = {"exit_code": 0, "timestamp": step.timestamp, "duration_ms": 1500}
        session.record(line, cwd=str(project / "src"), branch="main", **told)  # type: ignore[arg-type]
    assert steps_of(other) == [(name, step)]
    columns = (
        "SELECT step, command, exit_code, cwd, timestamp, duration_ms, project, source, actor, host, branch FROM log"
    )
    with closing(sqlite3.connect(store)) as one, closing(sqlite3.connect(other)) as two:
        assert one.execute(columns).fetchone() == two.execute(columns).fetchone()
        texts = [set(db.execute("SELECT id, text FROM text")) for db in (one, two)]
        assert texts[0] <= texts[1]
        start = "SELECT session_id, start, source FROM session"
        assert one.execute(start).fetchall() == two.execute(start).fetchall()
    assert TOKEN not in step.command
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "changes", "status"),
    [
        ("post_tool_use", {}, 0),
        ("post_tool_use_failure", {}, 4),
        ("post_tool_use_failure", {"error": "Exit code 127"}, 127),
        ("post_tool_use_failure", {"error": "Error: Exit code 1\nx"}, 1),
        ("post_tool_use_failure", {"error": "Command exited with non-zero status code 2"}, 2),
        ("post_tool_use_failure", {"error": "spawn bash ENOENT"}, None),
        ("post_tool_use_failure", {"error": None}, None),
        ("post_tool_use_failure", {"is_interrupt": True}, None),
        ("post_tool_use_background", {}, None),
        ("post_tool_use_background", {"tool_response": "as older versions"}, None),
        ("post_tool_use_nothing_found", {}, None),
        ("post_tool_use", {"tool_response": {"interrupted": True}}, None),
        ("post_tool_use", {"tool_response": "as older versions"}, 0),
    ],
)
def test_the_exit_status_is_told_or_unknown(
    store: Path, name: str, changes: dict[str, Any], status: int | None
) -> None:
    """It is taken from the event; where the event does not tell it, nothing is made up."""
    hook(store, event(name, **changes))
    ((_, step),) = steps_of(store)
    assert step.exit_code == status
    assert step.actor == "agent"
    assert step.source == "claude-hook"


def test_the_time_is_that_of_the_start(store: Path) -> None:
    """The event comes at the end: how long the command took is subtracted, where it is told."""
    began = time.time()
    hook(store, event("post_tool_use", duration_ms=600_000))
    hook(store, {k: v for k, v in event("post_tool_use").items() if k != "duration_ms"})
    hook(store, event("post_tool_use", duration_ms="long"))
    (_, first), (_, second), (_, third) = steps_of(store)
    assert first.timestamp == pytest.approx(began - 600, abs=20)
    assert first.duration_ms == 600_000
    for step in (second, third):
        assert step.timestamp == pytest.approx(began, abs=20)
        assert step.duration_ms is None


def test_the_session_goes_on_through_many_processes(store: Path) -> None:
    """Until its end closes it with unknown outcome; subagents have their own; after the end another one begins."""
    for line in ("git add a", "git commit -m a", "git push"):
        hook(store, ran(line))
    hook(store, event("post_tool_use_subagent"))
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:  # it does not take it for abandoned
        assert len(engine) == 0
        assert engine.predict_next_action(["git add a", "git commit -m a"])[0].next_command == "git push"
    hook(store, event("stop"))
    hook(store, event("session_end"))
    hook(store, event("session_end"))
    hook(store, ran("git status"))
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        (pattern,) = engine.patterns.values()
        assert pattern.command_sequence == ("git add a", "git commit -m a", "git push")
        assert (pattern.success_count, pattern.failure_count, pattern.unknown_count) == (0, 0, 1)
        before = {**engine.stats(), "embedder": None}  # it works in the background
        engine.rebuild()
        assert {**engine.stats(), "embedder": None} == before
    base = "claude-00893aaf-19fa-41d2-8238-13269b9b3ca0"
    assert [name for name, _ in steps_of(store)] == [base] * 3 + [f"{base}-a1b2c3", f"{base}#2"]
    checks = subprocess.run(
        [sys.executable, "-m", "procedural_memory", "doctor", "--deep", "--json", "--path", str(store)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {check["verdict"] for check in json.loads(checks.stdout)["checks"]} == {"ok"}


def test_a_long_pause_begins_another_session(store: Path) -> None:
    """As with histories: what was run half an hour later belongs to something else."""
    for number, began in enumerate([1_000.0, 1_100.0, 4_000.0]):
        append(str(store), "claude-s", f"make {number}", timestamp=began, source=SOURCE)
    assert [name for name, _ in steps_of(store)] == ["claude-s", "claude-s", "claude-s#2"]


def test_what_is_kept_out_leaves_nothing(store: Path, tmp_path: Path) -> None:
    """A leading blank, another tool, unknown events and fields, and the off switch."""
    before = store.read_bytes()
    left_out: list[Any] = [
        ran(" secret-thing --now"),
        ran("\tsecret-thing"),
        ran("\x1b[0m secret-thing"),
        ran(""),
        ran("a\0b"),
        event("post_tool_use_other_tool"),
        event("post_tool_use", tool_input={"command": ["ls"]}),
        event("post_tool_use", tool_input=None),
        event("stop"),
        event("pre_tool_use"),
        event("post_tool_use", hook_event_name="SomethingNew"),
        {},
        [],
    ]
    for given in left_out:
        assert hook(store, given) == ""
    assert hook(store, event("post_tool_use"), PROCEDURAL_MEMORY_DISABLE="1") == ""
    assert store.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {store.name}
    hook(store, event("post_tool_use", new_field={"x": [1]}), PROCEDURAL_MEMORY_DISABLE="0")
    assert len(steps_of(store)) == 1


@pytest.mark.parametrize("given", [b"", b"no JSON", b"\xff\xfe", b"[" * 100_000, b"null", b'"text"', b"{" + b" " * 99])
def test_nonsense_ends_well(store: Path, given: bytes) -> None:
    """Whatever comes, the hook says nothing and ends with 0; what went wrong is in a private file."""
    assert hook(store, given) == ""
    log = store.parent / "hook.log"
    if log.exists():
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert "no JSON" not in log.read_text()


def test_an_event_that_does_not_come_is_not_waited_for(store: Path) -> None:
    """An input that stays open ends after some seconds, and well."""
    hanging = subprocess.Popen(
        [sys.executable, "-I", "-S", str(HOOK), "--store", str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with hanging:
        assert hanging.wait(30) == 0


def test_a_missing_argument_ends_well() -> None:
    """Even without a store to write to."""
    ended = subprocess.run([sys.executable, "-I", "-S", str(HOOK)], input=b"{}", capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_two_hundred_at_once_lose_nothing(store: Path) -> None:
    """Each step is there once, in a session whose steps are numbered without a gap."""
    lines = [f"make target-{number}" for number in range(200)]
    running = [start(store, ran(line, duration_ms=1)) for line in lines]
    for process in running:
        assert process.communicate(timeout=120) == (b"", b"")
        assert process.returncode == 0
    found = steps_of(store)
    assert sorted(step.command for _, step in found) == sorted(lines)
    assert {name for name, _ in found} == {"claude-00893aaf-19fa-41d2-8238-13269b9b3ca0"}
    with closing(sqlite3.connect(store)) as db:
        assert [number for (number,) in db.execute("SELECT step FROM log ORDER BY step")] == list(range(200))


def test_a_busy_store_is_not_waited_for(store: Path) -> None:
    """The step waits beside it, and is taken in by the next hook, before its own step."""
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for line in ("make one", "make two"):  # each ends while the store is still locked
            hook(store, ran(line))
        assert len(spooled(str(store))) == 2
        other.execute("ROLLBACK")
    hook(store, ran("make three"))
    assert spooled(str(store)) == []
    assert [step.command for _, step in steps_of(store)] == ["make one", "make two", "make three"]
    assert not (store.parent / "hook.log").exists()


@pytest.mark.parametrize("what", ["missing", "older", "newer", "damaged"])
def test_what_cannot_be_written_waits_for_an_engine(tmp_path: Path, what: str) -> None:
    """Without a store of this version, the steps are kept in private files until one opens; a damaged one is left."""
    store = tmp_path / "data" / "memory.sqlite3"
    if what != "missing":
        store.parent.mkdir()
    if what == "damaged":
        store.write_bytes(b"SQLite format 3\0" + b"x" * 5_000)
    elif what == "newer":
        SQLiteStore(str(store)).close()
        with closing(sqlite3.connect(store)) as db:
            db.execute("PRAGMA user_version = 99")
    elif what == "older":
        script = (Path(__file__).parents[1] / "storage" / "versions" / "4.sql").read_text(encoding="utf-8")
        with closing(sqlite3.connect(store)) as db:
            db.executescript(script)
    before = store.read_bytes() if store.exists() else None
    for line in ("make one", f"login --password {TOKEN}", "make three"):
        hook(store, ran(line))
    hook(store, event("session_end"))
    folder = Path(spool_of(str(store)))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert all(TOKEN not in path.read_text() for path in folder.iterdir())
    assert (store.read_bytes() if store.exists() else None) == before
    if what == "newer":
        with closing(sqlite3.connect(store)) as db:
            db.execute(f"PRAGMA user_version = {VERSION}")
    if what == "damaged":
        store.unlink()
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        found = [p for p in engine.patterns.values() if p.command_sequence[0] == "make one"]
        assert len(found) == 1
        assert found[0].command_sequence[2] == "make three"
    assert spooled(str(store)) == []


def test_an_engine_that_is_open_sees_what_waited(store: Path) -> None:
    """It takes in what a hook could not write, with the next call."""
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            hook(store, ran("make one"))
        assert engine.stats()["command_count"] == 1
        assert spooled(str(store)) == []


def test_a_crash_after_taking_in_takes_nothing_in_twice(store: Path) -> None:
    """The files that a transaction took in are known by it, also where they could not be removed any more."""
    missing = store.parent / "later.sqlite3"
    for number in range(3):
        append(str(missing), "claude-s", f"make {number}", timestamp=1_000.0 + number)
    kept = {path.name: path.read_bytes() for path in Path(spool_of(str(missing))).iterdir()}
    assert len(steps_of(missing)) == 3
    for name, content in kept.items():
        Path(spool_of(str(missing)), name).write_bytes(content)
    append(str(missing), "claude-s", "make 3", timestamp=1_003.0)
    assert [step.command for _, step in steps_of(missing)] == [f"make {number}" for number in range(4)]
    assert spooled(str(missing)) == []


def test_files_that_are_no_steps_are_no_trouble(store: Path) -> None:
    """What somebody else put into the folder is checked as any input is, and does not stand in the way."""
    folder = Path(spool_of(str(store)))
    folder.mkdir()
    bad = [
        b"no JSON",
        b"[]",
        b'{"form": 1}',
        b'{"form": 2, "session": "s", "command": "ls"}',
        b'{"form": 1, "session": "\\ud800", "command": "ls \\ud800", "exit_code": 1e400, "timestamp": "x"}',
        b'{"form": 1, "session": "s", "command": 7}',
        b'{"form": 1, "session": "s", "command": "a\\u0000b"}',
        b'{"form": 1, "session": "s", "command": "x", "exit_code": 99999999999999999999999, "duration_ms": -1}',
        f'{{"form": 1, "session": "s", "command": "login --password {TOKEN}", "cwd": 3}}'.encode(),
    ]
    for number, content in enumerate(bad):
        (folder / f"{number}.json").write_bytes(content)
    (folder / ".partly.json").write_bytes(b"{")
    hook(store, ran("make"))
    lines = [step.command for _, step in steps_of(store)]
    assert sorted(lines) == sorted(["ls ?", "login --password <SECRET>", "make", "x"])
    assert spooled(str(store)) == []


def test_what_waits_is_told_of_and_is_not_without_end(store: Path) -> None:
    """Beyond so much a step is dropped, and the log of the hook says so; the hook still ends well."""

    def found() -> dict[str, tuple[str, str]]:
        return {check.name: (check.verdict, check.says) for check in check_store(store)}

    assert found()["waiting steps"] == ("ok", "none")
    folder = Path(spool_of(str(store)))
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        hook(store, ran("make one"))
        hook(store, ran("make two"))
    (folder / "0.json").write_text("no step")
    verdict, says = found()["waiting steps"]
    assert verdict == "warning"
    assert "3 steps" in says
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        stats = engine.stats()
    assert (stats["command_count"], stats["waiting_steps"], stats["unreadable_steps"]) == (2, 0, 1)
    assert "1 could not be read" in found()["waiting steps"][1]
    os.truncate(folder / "0.json.unread", MOST_SPOOLED)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        hook(store, ran("make three"))
    assert spooled(str(store)) == []
    assert "a step was dropped" in (store.parent / "hook.log").read_text()
    assert "make three" not in (store.parent / "hook.log").read_text()
    assert "64 of 64 MiB" in found()["waiting steps"][1]
    store.unlink()
    assert [name for name, (verdict, _) in found().items() if verdict != "ok"] == ["file", "waiting steps"]
    hook(store, ran("make four"))
    (folder / "0.json.unread").unlink()
    hook(store, ran("make five"))
    assert [step.command for _, step in steps_of(store)] == ["make five"]


def test_the_hook_and_another_source_tell_of_one_step(store: Path) -> None:
    """A transcript that tells of the same command at the same time is counted once."""
    hook(store, ran("make all"))
    ((_, step),) = steps_of(store)
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        told = {"command": "make all", "timestamp": (step.timestamp or 0) + 1.2, "exit_code": 0, "actor": "agent"}
        engine.learn_workflow([told, "make test", "make install"], source="claude-code")
        assert engine.stats()["command_count"] == 3


def test_it_needs_the_standard_library_alone(store: Path) -> None:
    """No module of the package but those that need nothing else, and no slow one of Python's, is loaded."""
    code = (
        "import io, sys; sys.path.insert(0, sys.argv[1])\n"
        "from procedural_memory.claude.events import run\n"
        "run(['--store', sys.argv[2]], open(sys.argv[3], 'rb'), None)\n"
        "print(*sys.modules)"
    )
    arguments = [str(HOOK.parents[1]), str(store), str(EVENTS / "post_tool_use.json")]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *arguments], capture_output=True, check=True, text=True
    )
    loaded = set(ended.stdout.split())
    assert {name for name in loaded if name.startswith("procedural_memory.")} == {
        "procedural_memory.claude",
        "procedural_memory.claude.events",
        "procedural_memory.commands",
        "procedural_memory.commands.clean",
        "procedural_memory.commands.project",
        "procedural_memory.commands.redact",
        "procedural_memory.digests",
        "procedural_memory.storage",
        "procedural_memory.storage.append",
        "procedural_memory.storage.identity",
        "procedural_memory.storage.migrations",
    }
    assert loaded.isdisjoint(
        {"numpy", "click", "hashlib", "dataclasses", "inspect", "pathlib", "subprocess", "logging"}
    )
    assert len(steps_of(store)) == 1


def test_it_writes_nothing_elsewhere(store: Path, tmp_path: Path) -> None:
    """Neither into the home nor the working directory."""
    home = tmp_path / "home"
    home.mkdir()
    old = os.getcwd()
    os.chdir(home)
    try:
        hook(store, event("post_tool_use"), HOME=str(home))
    finally:
        os.chdir(old)
    assert list(home.iterdir()) == []
