"""The watcher: what a history gains is learned by itself, once, by one process."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from procedural_memory import ImportReport, ProceduralMemoryEngine, watching
from procedural_memory.errors import StorageError


def _command(home: Path, *options: str) -> list[str]:
    words = [sys.executable, "-m", "procedural_memory", "watch", "--every", "0.1", "--embedder", "lexical"]
    return [*words, "--path", str(home / "m.sqlite3"), *options]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("HISTFILE", "PROCEDURAL_MEMORY_DISABLE")}
    return kept | {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "XDG_CONFIG_HOME": str(home / "config")}


def _run(home: Path, *options: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(home, *options),
        env=environment or _environment(home),
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def _watched(home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        _command(home, *options), env=_environment(home), stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert process.stderr is not None
        assert "Watching" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(home: Path, count: int) -> list[str]:
    end = time.monotonic() + 30
    while True:
        with ProceduralMemoryEngine(path=home / "m.sqlite3", embedder="lexical") as engine:
            _, steps = engine.learned_since(0, 1_000)
        if len(steps) >= count or time.monotonic() > end:
            return [step.command for step in steps]
        time.sleep(0.2)


def _write(file: Path, lines: list[str], age: float, mode: str = "a") -> None:
    """Write zsh's history of some time ago."""
    with file.open(mode) as out:
        for number, line in enumerate(lines):
            out.write(f": {int(time.time() - age) + number}:0;{line}\n")


def test_what_a_history_gains_is_learned(tmp_path: Path) -> None:
    """Appended, written anew, cut short: each line once; what may still go on waits."""
    file = tmp_path / ".zsh_history"
    _write(file, ["make one", "make two", "make three"], 4_000)
    with _watched(tmp_path) as process:
        assert _wait_for(tmp_path, 3) == ["make one", "make two", "make three"]
        _write(file, ["git add .", "git commit", "git push"], 2_000)
        assert len(_wait_for(tmp_path, 6)) == 6
        new = tmp_path / "new"  # rotated: another file, with the end of the old one
        new.write_text("".join(file.read_text().splitlines(keepends=True)[-2:]))
        _write(new, ["ls a", "ls b", "ls c"], 1_000)
        new.replace(file)
        assert len(_wait_for(tmp_path, 9)) == 9
        _write(file, ["cd x", "cd y", "cd z"], 700, mode="w")  # truncated
        _write(file, ["now one", "now two", "now three"], 10)
        commands = _wait_for(tmp_path, 12)
        time.sleep(0.5)
        assert sorted(_wait_for(tmp_path, 12)) == sorted(commands)
        assert len(commands) == len(set(commands)) == 12
        assert "now one" not in commands
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_session_is_over_when_nothing_happens(tmp_path: Path) -> None:
    """After the time that was asked for."""
    _write(tmp_path / ".zsh_history", ["now one", "now two", "now three"], 3)
    with _watched(tmp_path, "--idle", "4"):
        assert _wait_for(tmp_path, 3) == ["now one", "now two", "now three"]


def test_a_look_that_costs_much_is_taken_less_often() -> None:
    """So that it takes a small share of a processor, whatever a file that grows is read for."""
    looks = []
    end = threading.Event()

    class Costly:
        def import_history(self, **_: Any) -> ImportReport:
            looks.append(time.monotonic())
            begin = time.process_time()
            while time.process_time() - begin < 0.05:
                pass
            return ImportReport((), False)

    timer = threading.Timer(3.5, end.set)
    timer.start()
    watching.watch(Costly(), every=0.01, end=end)  # type: ignore[arg-type]
    timer.join()
    assert 2 <= len(looks) <= 5


def test_short_sessions_are_not_lost(tmp_path: Path) -> None:
    """Their steps are kept and count, as those of a live session do; an import after it finds nothing new."""
    file = tmp_path / ".zsh_history"
    _write(file, ["git pull", "make"], 9_000)
    with _watched(tmp_path):
        assert _wait_for(tmp_path, 2) == ["git pull", "make"]
        _write(file, ["ls"], 5_000)
        assert _wait_for(tmp_path, 3) == ["git pull", "make", "ls"]
    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as engine:
        report = engine.import_history("zsh", file)
        assert (report.new_sessions, report.new_commands) == (0, 0)
        assert not engine.patterns
        assert engine.predict_next_action(["git pull"])[0].next_command == "make"
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        report = engine.import_history("zsh", file)
        assert (report.new_sessions, report.new_commands) == (2, 3)
        assert not report.sources[0].skipped


def test_the_daemons_database_is_followed(tmp_path: Path) -> None:
    """New events are learned by their id; the database is only read."""
    folder = tmp_path / ".memory-daemon" / "storage"
    folder.mkdir(parents=True)
    db = sqlite3.connect(folder / "memory_data.db")
    db.execute("CREATE TABLE events(id INTEGER PRIMARY KEY, timestamp REAL, event_type TEXT, session_id TEXT)")
    kinds = ["file_open", "file_save", "git_commit", "git_push"]

    def happen(session: str, age: float) -> None:
        begin = time.time() - age
        rows = [(begin + number, kind, session) for number, kind in enumerate(kinds)]
        db.executemany("INSERT INTO events(timestamp, event_type, session_id) VALUES (?, ?, ?)", rows)
        db.commit()

    happen("one", 4_000)
    with _watched(tmp_path):
        assert len(_wait_for(tmp_path, 4)) == 4
        happen("two", 2_000)
        assert len(_wait_for(tmp_path, 8)) == 8
    db.close()


def test_a_memory_that_cannot_be_there_is_named(tmp_path: Path) -> None:
    """It is the memory that cannot be written, not the output."""
    (tmp_path / "file").write_text("")
    done = _run(tmp_path, "--path", str(tmp_path / "file" / "m.sqlite3"))
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert "the output" not in done.stderr


def test_there_is_one_for_a_memory(tmp_path: Path) -> None:
    """A second one says so; when the first is killed its place is free."""
    with _watched(tmp_path):
        done = _run(tmp_path)
        assert done.returncode == 1
        assert "another process watches" in done.stderr
        with pytest.raises(StorageError, match="another process"), watching.only_one(tmp_path / "m.sqlite3"):
            pass
    with _watched(tmp_path):
        pass


def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    """And the others are learned all the same."""
    (tmp_path / ".bash_history").write_text("")
    atuin = tmp_path / "data" / "atuin" / "history.db"
    atuin.parent.mkdir(parents=True)
    atuin.write_bytes(b"no database at all" * 100)
    _write(tmp_path / ".zsh_history", ["make one", "make two", "make three"], 4_000)
    with _watched(tmp_path) as process:
        assert len(_wait_for(tmp_path, 3)) == 3
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read().count("history.db") == 1


def test_the_system_is_told_how_to_start_it(tmp_path: Path) -> None:
    """A unit that systemd accepts, with whatever is in the path; uninstall takes it back."""
    odd = tmp_path / 'a "b" %h $HOME'
    odd.mkdir()
    done = _run(odd, "--install", environment=_environment(tmp_path))
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "config" / "systemd" / "user" / f"{watching.NAME}.service"
    assert str(unit) in done.stdout
    if "did not take it" in done.stdout:
        assert "systemctl --user enable procedural-memory-watch" in done.stdout
    text = unit.read_text()
    assert "%%h $$HOME" in text
    if shutil.which("systemd-analyze"):
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, timeout=60
        )
        assert str(unit) not in verified.stderr, verified.stderr
        broken = unit.with_name("broken.service")
        broken.write_text(text.replace("ExecStart=", "ExecStart=relative "))
        assert subprocess.run(["systemd-analyze", "verify", "--user", str(broken)], timeout=60).returncode != 0
    done = _run(odd, "--uninstall", environment=_environment(tmp_path))
    assert done.returncode == 0
    assert not unit.exists()


def test_the_launch_agent_is_a_property_list() -> None:
    """With the words of the command and the variables as they are."""
    command = ["/usr/bin/python3", "-m", "procedural_memory", "watch", "--path", "/a b/<m>&.sqlite3"]
    variables = {"HISTFILE": '/a b/"<h>&" %h $HOME'}
    found = plistlib.loads(watching.launch_agent(command, variables))
    assert found["ProgramArguments"] == command
    assert found["EnvironmentVariables"] == variables
    assert found["Label"] == watching.NAME
    assert found["RunAtLoad"] is True


def test_the_service_knows_where_the_histories_are(tmp_path: Path) -> None:
    """What the installing shell says of that, as systemd reads it; and nothing else of its environment."""
    odd = str(tmp_path / 'h "x" %h $HOME \\n')
    given = {"HISTFILE": odd, "CLAUDE_CONFIG_DIR": "~/claude", "CODEX_HOME": "codex", "ZDOTDIR": ""}
    given |= {"ATUIN_DB_PATH": "/x/a\rb", "HF_HOME": "/x/a\nb", "XDG_CACHE_HOME": "/x/\x1b[1m"}  # left out
    secret = {"API_TOKEN": "ghp_" + "a1B2" * 9, "HF_HUB_CACHE": "/x/ghp_" + "a1B2" * 9}
    done = _run(tmp_path, "--install", environment=_environment(tmp_path) | given | secret)
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "config" / "systemd" / "user" / f"{watching.NAME}.service"
    text = unit.read_text()
    assert "ghp_" not in text
    assert "ZDOTDIR" not in text
    lines = [line.removeprefix("Environment=") for line in text.splitlines() if line.startswith("Environment=")]
    read = dict(shlex.split(line)[0].replace("%%", "%").split("=", 1) for line in lines)
    assert read.pop("HISTFILE") == odd
    assert read.pop("CLAUDE_CONFIG_DIR") == "~/claude"
    assert read.pop("CODEX_HOME") == str(Path.cwd() / "codex")
    assert read.pop("XDG_DATA_HOME") == str(tmp_path / "data")
    assert set(read) <= {"SHELL", "HUGGINGFACE_HUB_CACHE"}
    if shutil.which("systemd-analyze"):
        verify = ["systemd-analyze", "verify", "--user", str(unit)]
        told = subprocess.run(verify, capture_output=True, text=True, timeout=60)
        assert unit.name not in told.stderr, told.stderr


LAUNCHCTL = """#!/bin/sh
cd {folder}
echo "$@" >> calls
case $1 in
    bootstrap) if [ -e loaded ]; then exit 5; fi; if [ -e ending ]; then rm ending; exit 37; fi; touch loaded;;
    bootout) if ! [ -e loaded ]; then exit 3; fi; rm loaded; touch ending;;
esac
"""


def test_launchd_starts_the_agent_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs already is ended first, which takes it a moment; else it would go on as it was."""
    program = tmp_path / "bin" / "launchctl"
    program.parent.mkdir()
    program.write_text(LAUNCHCTL.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(watching, "_BETWEEN", 0.01)
    for _ in range(2):
        file, to_do = watching.install(["--every", "2"])
        assert to_do is None
        assert (tmp_path / "loaded").exists()
    calls = (tmp_path / "calls").read_text().split("\n")
    assert [call.partition(" ")[0] for call in calls if call] == ["bootout", "bootstrap", "bootout"] + ["bootstrap"] * 2
    assert plistlib.loads(file.read_bytes())["ProgramArguments"][-2:] == ["--every", "2"]
    assert watching.uninstall() == (file, None)
    assert not (tmp_path / "loaded").exists()
    program.write_text("#!/bin/sh\nexit 1\n")
    _, to_do = watching.install([])
    assert to_do is not None
    assert to_do.index("bootout") < to_do.index("; ") < to_do.index("bootstrap")


def test_turned_off_there_is_nothing_to_watch(tmp_path: Path) -> None:
    """It says so, and makes no memory."""
    done = _run(tmp_path, environment=_environment(tmp_path) | {"PROCEDURAL_MEMORY_DISABLE": "1"})
    assert done.returncode == 1
    assert "turns everything off" in done.stderr
    assert not (tmp_path / "m.sqlite3").exists()
