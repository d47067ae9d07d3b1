"""The command line: every command, its JSON, and its errors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from procedural_memory import __version__
from procedural_memory.cli import main

SESSION = {"commands": ["git add .", "git commit -m 'fix'", "git push"], "outcome": "success"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line with a memory of its own."""
    monkeypatch.setenv("PROCEDURAL_MEMORY_PATH", str(tmp_path / "memory.sqlite3"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("HISTFILE", raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin)

    return call


def parsed(result: Result) -> Any:
    """The JSON that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_demo_predicts_before_each_step(run: Any) -> None:
    """The demo learns the samples, shows predictions with reasons, counts hits, and stores nothing."""
    shown = run("demo")
    assert shown.exit_code == 0, shown.output
    assert "Learned 40 sessions: 519 commands" in shown.output
    assert "git status" in shown.output
    assert "times at the start" in shown.output
    told = parsed(run("demo", "--json"))
    assert len(told["steps"]) == 10
    right = [s for s in told["steps"] if s["predictions"][0]["next_command"] == s["command"]]
    assert told["hits"]["1"] == len(right) >= 5
    assert not Path("memory.sqlite3").exists()


def test_demo_learns_ones_own_history(run: Any) -> None:
    """With --history the files of bash and zsh are read as well, times and continued lines included."""
    home = Path("home")
    (home / ".bash_history").write_text(
        "#1700000000\nmake\n#1700000005\nmake test\n#1700000009\ngit push\n#1700009999\nls\n"
    )
    (home / ".zsh_history").write_bytes(
        b": 1700000000:0;echo caf\x83\xe3\x83\x89\n: 1700000003:2;for i in 1\\\ndo x\\\ndone\n"
    )
    told = run("demo", "--history")
    assert told.exit_code == 0, told.output
    assert "Learned 41 sessions (1 of them from your shell history)" in told.output
    (home / ".bash_history").unlink()
    (home / ".zsh_history").unlink()
    assert "No .zsh_history or .bash_history was found" in run("demo", "--history").output


def test_learn_then_predict(run: Any) -> None:
    """What one process learns, the next one predicts; learning a file again changes nothing."""
    Path("sessions.jsonl").write_text("\n".join(json.dumps(SESSION) for _ in range(3)) + "\n\n")
    told = parsed(run("learn", "sessions.jsonl", "--json"))
    assert told["files"][0]["new_sessions"] == 3
    again = run("learn", "sessions.jsonl")
    assert "0 of 3 sessions were new" in again.output
    found = parsed(run("predict", "--json", "-k", "1", "--", "git add ."))["predictions"]
    assert [p["next_command"] for p in found] == ["git commit -m 'fix'"]
    assert "3 times after" in run("predict", "--", "git add .").output
    form = parsed(run("predict", "--json", "--level", "template", "--", "git add ."))["predictions"][0]
    assert form["template"] == "git commit -m <STR>"
    assert parsed(run("predict", "--json", "--min-probability", "0.99", "--", "git add ."))["predictions"] == []


@pytest.mark.parametrize(
    ("name", "content", "sessions", "commands"),
    [
        ("a.json", json.dumps({"sessions": [SESSION, SESSION]}), 2, 6),
        ("a.json", json.dumps(SESSION), 1, 3),
        ("a.json", json.dumps(["make", {"command": "make test"}, "ls"]), 1, 3),
        ("a.json", json.dumps([["make", "make test", "ls"], SESSION]), 2, 6),
        ("a.txt", "make\nmake test\nls\n\n\ngit pull\nmake\nls\n", 2, 6),
        ("a.jsonl", json.dumps({"session_commands": SESSION["commands"], "session_outcome": "failure"}), 1, 3),
    ],
)
def test_formats_of_learn(run: Any, name: str, content: str, sessions: int, commands: int) -> None:
    """JSON, JSONL and plain text are read, plain and gzipped."""
    Path(name).write_text(content)
    Path(f"z{name}.gz").write_bytes(gzip.compress(content.encode()))
    for file in (name, f"z{name}.gz"):
        told = parsed(run("learn", file, "--json", "--path", f"{file}.sqlite3"))["files"][0]
        assert (told["sessions"], told["new_commands"]) == (sessions, commands)


def test_outcome_of_plain_text_is_unknown_unless_given(run: Any) -> None:
    """Nothing is invented: a text file has no outcome, --outcome gives one."""
    Path("a.txt").write_text("make\nmake test\nls\n")
    assert parsed(run("learn", "a.txt", "--json"))["stats"]["total_successes"] == 0
    told = parsed(run("learn", "a.txt", "--json", "--outcome", "failure", "--path", "other.sqlite3"))
    assert told["stats"]["total_failures"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "is not valid JSON"),
        ("a.json", b"5", "must hold a session or a list of sessions"),
        ("a.jsonl", b'{"commands": ["a", "b", "c"]}\n{"no": 1}', "line 2: must be a session with 'commands'"),
        ("a.jsonl", b'{"commands": ["a", "", "c"]}', "sessions[0].session_commands[1]: must not be empty"),
        ("a.txt.gz", b"no gzip", "cannot be read"),
    ],
)
def test_bad_file_is_one_clear_line(run: Any, name: str, content: bytes, message: str) -> None:
    """A bad file is named with place and rule; no traceback, nothing learned."""
    Path(name).write_bytes(content)
    result = run("learn", name)
    assert result.exit_code == 1
    assert message in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert parsed(run("stats", "--json"))["session_count"] == 0


def test_views(run: Any) -> None:
    """Patterns, stats and graph show the same memory, as tables and as JSON."""
    Path("s.json").write_text(json.dumps(SESSION))
    assert "No prediction; the memory is empty" in run("predict", "--", "ls").output
    run("learn", "s.json")
    listed = parsed(run("patterns", "--json"))
    assert listed["total"] == 1
    assert listed["patterns"][0]["success_rate"] == 1.0
    assert "git commit -m <STR>" in run("patterns").output
    stats = parsed(run("stats", "--json"))
    assert (stats["pattern_count"], stats["graph_edge_count"]) == (1, 2)
    assert "embedder reason" in run("stats").output
    graph = parsed(run("graph", "--json"))
    assert {node["id"] for node in graph["nodes"]} == {"git add .", "git commit -m <STR>", "git push"}
    assert '"git add ." -> "git commit -m <STR>" [label=1];' in run("graph", "--dot").output
    assert "3 templates, 2 transitions" in run("graph").output


def test_normalize(run: Any) -> None:
    """Templates of arguments, or of the lines of standard input."""
    assert run("normalize", "cat a/b.txt", "sleep 5").output == "cat <FILE>\nsleep <NUM>\n"
    assert run("normalize", stdin="cat a/b.txt\n\n").output == "cat <FILE>\n"
    assert parsed(run("normalize", "--json", "ls")) == [{"command": "ls", "template": "ls"}]


def test_models_are_listed(run: Any) -> None:
    """The list says what is on this machine, also when there is nothing."""
    assert isinstance(parsed(run("model", "list", "--json")), list)
    assert run("model", "list").exit_code == 0


def test_errors_are_lines_not_tracebacks(run: Any) -> None:
    """Our errors end the process with status 1 and one line."""
    result = run("stats", "--embedder", "magic")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "magic" in result.output


def test_version(run: Any) -> None:
    """The version is the package's."""
    assert run("--version").output.strip() == f"procedural-memory, version {__version__}"
