"""The command line: every command, its JSON, and its errors."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import procedural_memory
from procedural_memory import UNASKED_PROBABILITY, __version__
from procedural_memory.cli import main

SESSION = {"commands": ["git add .", "git commit -m 'fix'", "git push"], "outcome": "success"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line with a memory of its own."""
    monkeypatch.setenv("PROCEDURAL_MEMORY_PATH", str(tmp_path / "memory.sqlite3"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("PYTHONPATH", str(Path(procedural_memory.__file__).parents[1]))
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
    assert "Learned 43 sessions (3 of them from your shell history)" in told.output
    (home / ".bash_history").unlink()
    (home / ".zsh_history").unlink()
    assert "No history of bash, zsh, fish or PowerShell was found" in run("demo", "--history").output


def test_histories_of_one_name_are_two(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """HISTFILE and the usual place may both hold a .bash_history; a link to the same file is read once."""
    (Path("home") / ".bash_history").write_text("ls\nmake\ngit push\n")
    Path("elsewhere").mkdir()
    Path("elsewhere/.bash_history").write_text("ls\nmake\nmake test\n")
    monkeypatch.setenv("HISTFILE", "elsewhere/.bash_history")
    assert "(2 of them from your shell history)" in run("demo", "--history").output
    Path("elsewhere/.bash_history").unlink()
    Path("elsewhere/.bash_history").symlink_to(Path("home/.bash_history").absolute())
    assert "(1 of them from your shell history)" in run("demo", "--history").output


def test_history_that_cannot_be_read_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history file without permission is one clear line."""
    (Path("home") / ".zsh_history").write_text("ls\n")

    really_open = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == ".zsh_history":
            raise PermissionError(13, "Permission denied")
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    result = run("demo", "--history")
    assert result.exit_code == 1
    assert ".zsh_history': cannot be read" in result.output.replace("\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["stats"], ["stats", "--json"], ["demo"]])
def test_output_that_cannot_be_written_is_named(run: Any, arguments: list[str]) -> None:
    """A full disk behind a redirected output is one clear line."""
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "procedural_memory", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: the output cannot be written ([Errno 28]")
    assert "Traceback" not in ran.stderr


def test_nobody_reading_on_is_no_error(run: Any) -> None:
    """Output into a pipe that is closed early ends quietly."""
    command = f"'{sys.executable}' -m procedural_memory demo --json | head -n 1"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("{\n", "")


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
    unasked = parsed(run("predict", "--json", "--unasked", "-k", "50", "--", "git add ."))["predictions"]
    every = parsed(run("predict", "--json", "-k", "50", "--", "git add ."))["predictions"]
    assert unasked == [p for p in every if p["probability"] >= UNASKED_PROBABILITY and p["runnable"]]
    assert run("predict", "--unasked", "--level", "template", "--", "git add .").exit_code == 2


def test_turned_off(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With `PROCEDURAL_MEMORY_DISABLE` nothing is learned or predicted, and no memory is made."""
    monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", "1")
    Path("sessions.jsonl").write_text(json.dumps(SESSION) + "\n")
    assert parsed(run("learn", "sessions.jsonl", "--json"))["files"][0]["new_sessions"] == 0
    assert parsed(run("predict", "--json", "--", "git add ."))["predictions"] == []
    assert run("learn", "sessions.jsonl").stdout == ""  # no count of what was left out, for nothing was looked at
    assert run("predict", "--", "git add .").stdout == "No prediction\n"
    assert not (tmp_path / "memory.sqlite3").exists()


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
        ("a.JSONL", b'\n{"commands": ["a", "", "c"]}', "file 'a.JSONL', line 2: commands[1]: must not be empty"),
        ("a.jsonl", b'{"commands": ["a", "b", "c"], "outcome": "good"}', "line 1: outcome: must be 'success'"),
        ("a.json", b'[["a", "b", "c"], ["a", 5, "c"]]', "file 'a.json', session 1: commands[1]: must be a string"),
        ("a.txt", b"make\n\n# note\ngit pull\nl\0s\n", "session at line 4: commands[1]: must not hold a NUL byte"),
        ("a.txt.gz", b"no gzip", "cannot be read"),
        (
            "a.parquet",
            b"PAR1\0",
            "file 'a.parquet': must be JSON (.json), JSONL (.jsonl, .ndjson) or plain text, each also",
        ),
        (
            "a.jsonl.bz2",
            b"BZh9",
            "learn-partitions reads Parquet (.parquet, .pq), and JSONL also with .gz, .bz2, .xz, .zst",
        ),
    ],
)
def test_bad_file_is_one_clear_line(run: Any, name: str, content: bytes, message: str) -> None:
    """A bad file is named with place and rule; no traceback, nothing learned."""
    Path(name).write_bytes(content)
    result = run("learn", name)
    assert result.exit_code == 1
    assert message in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not list(Path().glob("**/*.sqlite3"))
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
    dot = run("graph", "--dot").output
    assert 'n0 [label="git add ."];' in dot
    assert 'n0 -> n1 [label="1, 100 % ok"' in dot
    assert "3 templates, 2 transitions" in run("graph").output


@pytest.fixture
def remembered(run: Any) -> Any:
    """Run the command line with a memory of three sessions."""
    other = {"commands": ["make", "cat alice.txt", "ls"], "session_id": "alice", "outcome": None}
    Path("s.jsonl").write_text("\n".join(json.dumps(item) for item in (SESSION, SESSION, other)))
    run("learn", "s.jsonl")
    return run


def steps(run: Any) -> int:
    """How many steps the memory holds."""
    return int(parsed(run("stats", "--json"))["command_count"])


def test_forget_shows_asks_and_forgets(remembered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run changes nothing; nobody at the terminal and no --yes is refused; a no is a no."""
    run = remembered
    arguments = ("forget", "--matching", "alice|push")
    told = parsed(run(*arguments, "--dry-run", "--json"))
    assert told == {
        "dry_run": True,
        "steps": 3,
        "sessions": 0,
        "feedback": 0,
        "examples": ["git push", "cat alice.txt"],
    }
    shown = run(*arguments, "--dry-run").output
    assert "Would forget 3 steps (0 whole sessions), and 0 verdicts." in shown
    assert "  cat alice.txt" in shown
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "add --yes" in refused.output
    monkeypatch.setattr("procedural_memory.cli._can_ask", lambda: True)
    assert run(*arguments, stdin="n\n").exit_code == 1
    assert steps(run) == 9
    agreed = run(*arguments, stdin="y\n")
    assert "Forgot 3 steps" in agreed.output
    assert steps(run) == 6
    assert parsed(run("forget", "--session", "alice", "--yes", "--json"))["sessions"] == 1
    assert parsed(run("forget", "--before", "4e9", "--yes", "--json"))["steps"] == 4
    assert steps(run) == 0
    assert "Would forget 0 steps" in run(*arguments).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forget"], "give at least one of --session, --pattern, --command,"),
        (["forget", "--matching", "("], "matching: must be a regular expression"),
        (["forget", "--before", "soon"], "before: must be epoch seconds or ISO 8601"),
        (["prune"], "give at least one of --max-age, --min-support, --max-size"),
        (["prune", "--max-age", "soon"], "must be seconds, or a number with s, m, h, d or w"),
        (["scrub", "["], "patterns[0]: must be a regular expression"),
    ],
)
def test_wrong_conditions_are_lines(remembered: Any, arguments: list[str], message: str) -> None:
    """What is wrong with a condition is said in a line, and nothing goes."""
    result = remembered(*arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert steps(remembered) == 9


def test_a_pattern_is_forgotten_by_how_its_id_begins(remembered: Any) -> None:
    """As `patterns` shows it; what names none, or several, is an error."""
    run = remembered
    whole = [pattern["pattern_id"] for pattern in parsed(run("patterns", "--json"))["patterns"]]
    assert len(whole) > 1
    begins = run("patterns").output
    assert whole[0][:12] in begins
    found = parsed(run("forget", "--pattern", whole[0][:12], "--dry-run", "--json"))
    assert found == parsed(run("forget", "--pattern", whole[0], "--dry-run", "--json"))
    assert found["steps"] > 0
    missing = run("forget", "--pattern", "nope", "--dry-run")
    assert (missing.exit_code, "there is no such pattern" in missing.output) == (1, True)
    several = run("forget", "--pattern", "", "--dry-run")
    assert several.exit_code == 1


def test_prune_and_scrub(remembered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits and patterns are given as one would say them."""
    run = remembered
    assert parsed(run("prune", "--max-age", "1w", "--json", "--dry-run"))["steps"] == 0
    assert parsed(run("scrub", "alice", "--json", "--dry-run")) == {"dry_run": True, "changed": 2}
    with monkeypatch.context() as asked:
        asked.setattr("procedural_memory.cli._can_ask", lambda: True)
        refused = run("scrub", "alice", stdin="n\n")
        assert refused.exit_code == 1
        assert "Redact 2 steps, sessions and verdicts? This cannot be undone." in refused.output
        assert parsed(run("scrub", "alice", "--json", "--dry-run"))["changed"] == 2
        assert "2 steps, sessions and verdicts were redacted" in run("scrub", "alice", stdin="y\n").output
        assert "0 steps" in run("scrub", "alice").output
    assert parsed(run("scrub", "bob", "--json")) == {"dry_run": False, "changed": 0}
    assert parsed(run("forget", "--session", "<SECRET>", "--json", "--dry-run"))["steps"] == 3
    assert parsed(run("prune", "--min-support", "2", "--json", "--yes"))["sessions"] == 1
    listed = parsed(run("patterns", "--json", "--state", "active"))
    assert [pattern["state"] for pattern in listed["patterns"]] == ["active"]
    assert parsed(run("patterns", "--json", "--state", "candidate"))["total"] == 0
    assert "active" in run("patterns").output
    assert "patterns active" in run("stats").output
    assert parsed(run("prune", "--max-age", "0s", "--max-size", "3", "--json", "--yes"))["sessions"] == 2


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


@pytest.mark.parametrize("command", [["stats"], ["patterns"], ["graph"], ["predict", "--", "ls"]])
def test_reading_makes_no_memory(run: Any, tmp_path: Path, command: list[str]) -> None:
    """A path at which there is nothing is an error, not an empty memory; nothing is made there."""
    missing = tmp_path / "nothing" / "here.sqlite3"
    result = run(command[0], "--path", str(missing), *command[1:])
    assert result.exit_code == 1
    assert "there is no memory" in result.output
    assert not missing.parent.exists()


def test_save_and_load(run: Any, tmp_path: Path) -> None:
    """Everything can be taken out in an open format and put into another memory, added or in place of what it has."""
    (tmp_path / "one.json").write_text(json.dumps(SESSION))
    other = ("--path", str(tmp_path / "other.sqlite3"))
    parsed(run("learn", "one.json", "--json"))
    assert parsed(run("save", "all.jsonl", "--json")) == {"file": "all.jsonl", "sessions": 1}
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    assert [step["command"] for step in json.loads(lines[1])["commands"]] == SESSION["commands"]
    (tmp_path / "two.txt").write_text("ls\nmake\nmake test\n")
    parsed(run("learn", "two.txt", *other, "--json"))
    assert parsed(run("load", "all.jsonl", *other, "--json")) == {"sessions": 1, "backup": None}
    assert parsed(run("load", "all.jsonl", *other, "--json"))["sessions"] == 0
    assert parsed(run("stats", *other, "--json"))["session_count"] == 2
    shown = run("load", "all.jsonl", "--replace", *other)
    assert "1 sessions were taken over; what was there before is in " in shown.output
    (backup,) = tmp_path.glob("other.sqlite3.*.sqlite")
    assert parsed(run("stats", *other, "--json"))["session_count"] == 1
    assert parsed(run("load", backup.name, "--replace", *other, "--json"))["sessions"] == 2
    (tmp_path / "bad.jsonl").write_text("{}")
    failed = run("load", "bad.jsonl")
    assert failed.exit_code == 1
    assert "bad.jsonl" in failed.output
    assert "Traceback" not in failed.output
    assert "must end in one of" in run("save", "all.txt").output


def test_bounds_are_kept_by_the_memory(run: Any) -> None:
    """Given once to a command that learns they hold for the next ones; 0 takes them away."""
    for name in "abc":
        Path(f"{name}.txt").write_text(f"git pull\nmake {name}\ntool{name} run\n")
    assert run("learn", "a.txt", "--max-patterns", "1").exit_code == 0
    assert run("learn", "b.txt", "c.txt").exit_code == 0
    found = parsed(run("stats", "--json"))
    assert (found["pattern_count"], found["shelved_pattern_count"], found["max_patterns"]) == (1, 2, 1)
    assert run("learn", "a.txt", "--max-patterns", "0").exit_code == 0
    found = parsed(run("stats", "--json"))
    assert (found["pattern_count"], found["max_patterns"]) == (3, None)
