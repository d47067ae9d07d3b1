"""What an engine keeps out and redacts beyond the built-in rules, in every way in and out."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import InvalidInputError, InvalidTypeError, ProceduralMemoryEngine, StorageError
from procedural_memory.privacy import Privacy

STEPS = ["git pull", "make build", "make test"]
CODE = r"\bPRJ-\d{4}\b"


def made(**options: Any) -> ProceduralMemoryEngine:
    """An engine without a model."""
    return ProceduralMemoryEngine(embedder="lexical", **options)


def bytes_of(folder: Path) -> bytes:
    """All that lies in a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def lines_of(engine: ProceduralMemoryEngine, folder: Path) -> list[str]:
    """The command lines that a memory holds."""
    content = json.loads(engine.save(folder / "lines.json").read_text(encoding="utf-8"))
    return [step["command"] for session in content["sessions"] for step in session["commands"]]


# -- redact=


def test_own_patterns_redact_every_way_in(tmp_path: Path) -> None:
    """Commands, folders, ids, outputs, contexts and feedback: nowhere in the file is what the pattern matches."""
    with made(path=tmp_path / "m.sqlite3", redact=[CODE]) as engine:
        engine.learn_workflow(["run PRJ-1111", *STEPS], session_id="first PRJ-2222", source="PRJ-3333")
        engine.learn_many([{"commands": [{"command": "deploy PRJ-4444", "cwd": "/src/PRJ-5555"}, *STEPS]}])
        with engine.session(cwd="/src/PRJ-6666", session_id="live PRJ-7777") as session:
            step = session.record("build PRJ-8888", output="wrote PRJ-9999")
            session.feedback("make PRJ-1212", "accepted")
        engine.feedback(["test PRJ-1313"], "push PRJ-1414", "rejected")
        assert (step.command, step.cwd) == ("build <SECRET>", "/src/<SECRET>")
        assert engine.predict_next_action(["run PRJ-0000"], top_k=1)[0].next_command == "git pull"
        assert engine.forget(containing="run PRJ-0000").steps == 1
        engine.flush()
    assert not re.search(rb"PRJ-\d", bytes_of(tmp_path))


def test_the_group_s_is_the_secret(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A group says which part goes; a compiled pattern is taken as it is; what is redacted is not looked into."""
    with made(redact=[r"ticket (?P<s>\w+)", re.compile("internal", re.IGNORECASE), "[A-Z]+"]) as own:
        own.learn_workflow(["note ticket abc now", "ls INTERNAL", "mysql -phunter2"])
        assert lines_of(own, tmp_path) == ["note ticket <SECRET> now", "ls <SECRET>", "mysql -p<SECRET>"]


def test_newer_rules_hold_on_the_way_out(tmp_path: Path) -> None:
    """What was stored before there was a rule is neither shown nor saved."""
    path = tmp_path / "m.sqlite3"
    with made(path=path) as engine:
        for _ in range(3):
            engine.learn_workflow(["git pull", "run PRJ-1111", "make test", "secretly go"])
        assert engine.predict_next_action(["git pull"], top_k=1)[0].next_command == "run PRJ-1111"
    with made(path=path, redact=[CODE], ignore=["^secretly"]) as engine:
        best = engine.predict_next_action(["git pull"], top_k=1)[0]
        assert (best.next_command, best.runnable) == ("run <SECRET>", False)
        assert all("secretly" not in p.next_command for p in engine.predict_next_action(["make test"], top_k=9))
        for name in ("m.json", "m.jsonl", "m.pkl"):
            assert b"PRJ-1" not in engine.save(tmp_path / name).read_bytes()


def test_built_in_rules_hold_on_the_way_out(tmp_path: Path) -> None:
    """A line that an older version stored in clear is redacted when it is shown or saved."""
    path = tmp_path / "m.sqlite3"
    with made(path=path) as engine:
        for _ in range(3):
            engine.learn_workflow(["git pull", "mysql -pXYZZY", "make test"])
    with sqlite3.connect(path) as store:
        tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for column in [row[1] for row in store.execute(f"PRAGMA table_info({table})")]:
                store.execute(
                    f"UPDATE {table} SET {column} = replace({column}, '-p<SECRET>', '-phunter2') "
                    f"WHERE typeof({column}) = 'text'"
                )
    store.close()
    assert b"hunter2" in path.read_bytes()
    with made(path=path) as engine:
        shown = engine.predict_next_action(["git pull"], top_k=9)
        assert "mysql -p<SECRET>" in [prediction.next_command for prediction in shown]
        assert "hunter2" not in repr(shown)
        assert "hunter2" not in engine.save(tmp_path / "m.json").read_text(encoding="utf-8")


# -- ignore=, and a leading blank


@pytest.mark.parametrize("kept_out", ["vpn connect PRJ-1111", " git stash PRJ-1111", "\techo PRJ-1111"])
def test_kept_out_altogether(tmp_path: Path, kept_out: str) -> None:
    """Not stored, not counted, no part of a session: the memory is as if the command had never been run."""
    folder = tmp_path / "with"
    folder.mkdir()
    with made(path=folder / "m.sqlite3", ignore=[r"^vpn\b"]) as engine, made() as plain:
        for one, steps in ((engine, [STEPS[0], kept_out, *STEPS[1:]]), (plain, STEPS)):
            one.learn_workflow(steps, session_id="a")
            one.learn_many([{"commands": [{"command": step} for step in steps], "session_id": "b"}])
            with one.session(session_id="c") as session:
                for step in steps:
                    session.record(step, output="PRJ-1111" if step == kept_out else None)
                probable = session.predict(1)
                session.close("success")
        assert probable
        assert engine.patterns.keys() == plain.patterns.keys()
        assert engine.stats()["command_count"] == plain.stats()["command_count"] == 9
        asked = engine.predict_next_action([STEPS[0], kept_out])
        assert [p.next_command for p in asked] == [p.next_command for p in plain.predict_next_action([STEPS[0]])]
        engine.feedback(STEPS, "vpn connect PRJ-1111", "accepted")
        engine.flush()
    assert b"PRJ-1111" not in bytes_of(folder)


def test_what_is_kept_out_does_not_count() -> None:
    """`min_commands` is about what is left; `record` still says what the step would have been."""
    with made(ignore=["^cd "]) as engine:
        assert engine.learn_workflow(["cd a", "ls", "make"]) is None
        assert engine.learn_many([["cd a", "ls", "make"], ["cd a", *STEPS]])[0] is None
        with engine.session(cwd="/src") as session:
            step = session.record("cd a", exit_code=0)
            assert (step.command, step.cwd, step.exit_code) == ("cd a", "/src", 0)
            assert repr(session).startswith(f"<Session {session.session_id!r}, 0 steps")
        assert engine.stats()["command_count"] == 3


def test_a_line_end_is_no_blank(engine: ProceduralMemoryEngine) -> None:
    """Only a space or a tab keeps a command out; a transcript may begin a command with a line end."""
    assert engine.learn_workflow(["\nls", "make \n", "\r\nmake test"]) is not None
    assert engine.learn_workflow(["ls", " make", "make test"]) is None


def test_bad_commands_raise_also_when_kept_out(engine: ProceduralMemoryEngine) -> None:
    """A mistake is told, whatever else would become of the command."""
    with pytest.raises(InvalidInputError, match=r"session_commands\[1\]: must not hold a NUL byte"):
        engine.learn_workflow(["ls", " a\0b", "make"])
    with pytest.raises(InvalidInputError, match="must not be empty"):
        engine.learn_workflow(["ls", " \t", "make"])


def test_loading_and_merging_leave_out(tmp_path: Path) -> None:
    """Also what another memory knows is kept out, with the feedback after it; steps behind it keep theirs."""
    with made() as other, made(ignore=["^vpn"], redact=[CODE]) as engine:
        with other.session(session_id="a") as session:
            session.record("git pull")
            session.record("vpn connect")
            session.feedback("make lint", "rejected")
            session.record("make PRJ-1111")
            session.feedback("vpn status", "accepted")
            session.feedback("make test", "accepted")
        other.learn_workflow(["vpn a", "vpn b", "vpn c"])
        path = other.save(tmp_path / "other.json")
        assert engine.merge(other) == 1
        assert lines_of(engine, tmp_path) == ["git pull", "make <SECRET>"]
        content = json.loads((tmp_path / "lines.json").read_text(encoding="utf-8"))
        assert [(row["step"], row["line"]) for row in content["sessions"][0]["feedback"]] == [(2, "make test")]
        with made(ignore=["^vpn"], redact=[CODE]) as again:
            assert again.load(path).sessions == 1
            assert lines_of(again, tmp_path) == ["git pull", "make <SECRET>"]
        # A file that was edited by hand may hold a leading blank.
        edited = json.loads(path.read_text(encoding="utf-8"))
        del edited["checksum"]
        edited["sessions"][0]["commands"][0]["command"] = " git pull"
        path.write_text(json.dumps(edited), encoding="utf-8")
        with made() as plain:
            plain.load(path)
            assert lines_of(plain, tmp_path)[:2] == ["vpn connect", "make PRJ-1111"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["ls", " ls", "\tmake", "make", "vpn a", "x vpn", "\n make"]), max_size=8))
def test_what_is_left_is_what_counts(steps: list[str]) -> None:
    """Learning a batch is learning what of it is not kept out."""
    left = [step for step in steps if step[0] not in " \t" and not step.startswith("vpn")]
    with made(ignore=["^vpn"]) as engine, made() as plain:
        assert engine.learn_workflow(steps) == plain.learn_workflow(left)
        assert engine.stats()["command_count"] == plain.stats()["command_count"]


# -- turned off


@pytest.mark.parametrize("value", ["1", "true", "off"])
def test_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Nothing is stored, nothing predicted, no file is made, and all calls go through."""
    with made() as other:
        other.learn_workflow(STEPS)
        saved = other.save(tmp_path / "saved.json")
        monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", value)
        path = tmp_path / "deep" / "m.sqlite3"
        with made(path=path) as engine:
            assert engine.learn_workflow(STEPS) is None
            assert engine.learn_many([STEPS, STEPS]) == [None, None]
            with engine.session(cwd="/src") as session:
                assert session.record("mysql -phunter2").command == "mysql -p<SECRET>"
                session.feedback("ls", "accepted")
                assert session.predict() == []
            engine.feedback(STEPS, "ls", "accepted")
            assert engine.predict_next_action(STEPS) == []
            assert engine.merge(other) == engine.load(saved).sessions == engine.forget(containing="a").steps == 0
            assert len(engine) == engine.stats()["command_count"] == 0
            with pytest.raises(StorageError, match=r"save: PROCEDURAL_MEMORY_DISABLE turns everything off.*unset it"):
                engine.save(saved)
        assert not path.parent.exists()
        assert json.loads(saved.read_text(encoding="utf-8"))["sessions"]


def test_an_existing_memory_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned off, the file is left as it is; turned on again, all is there."""
    path = tmp_path / "m.sqlite3"
    with made(path=path) as engine:
        engine.learn_workflow(STEPS)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", "1")
    with made(path=path) as engine:
        engine.learn_workflow(["a", "b", "c"])
        assert engine.predict_next_action(STEPS[:1]) == []
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before
    for value in ("", "0"):
        monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", value)
        with made(path=path) as engine:
            assert engine.predict_next_action(STEPS[:1])[0].next_command == STEPS[1]


# -- bad patterns

BAD: list[tuple[Any, type[Exception], str]] = [
    (["ok", "a("], InvalidInputError, r"redact\[1\]: must be a regular expression \(.*\), got 'a\('; .*re\.escape"),
    (["ok", 7], InvalidTypeError, r"redact\[1\]: must be a regular expression of text, not int \(7\)"),
    ([re.compile(b"a")], InvalidTypeError, r"redact\[0\]: must be a regular expression of text, not Pattern"),
    (["a*"], InvalidInputError, r"redact\[0\]: must not match the empty text, got 'a\*'"),
    ("abc", InvalidTypeError, r"redact: must be a list of regular expressions, not str \('abc'\)"),
    (None, InvalidTypeError, r"redact: must be a list of regular expressions, not NoneType"),
]


@pytest.mark.parametrize(("patterns", "kind", "message"), BAD)
@pytest.mark.parametrize("name", ["redact", "ignore"])
def test_bad_patterns(name: str, patterns: Any, kind: type[Exception], message: str, tmp_path: Path) -> None:
    """The error names item, rule and value, and no file is made."""
    with pytest.raises(kind, match=message.replace("redact", name)):
        made(path=tmp_path / "m.sqlite3", **{name: patterns})
    assert not list(tmp_path.iterdir())


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abAB<>SECRET- 1", max_size=40))
def test_own_patterns_redact_once(text: str) -> None:
    """Redacting again changes nothing, also where a pattern would match the placeholder."""
    privacy = Privacy(redact=["[A-Z]+", "a(?P<s>b+)", r"\d"])
    once: Callable[[str], str] = privacy.again
    assert once(once(text)) == once(text)
