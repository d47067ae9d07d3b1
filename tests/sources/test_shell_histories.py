"""Histories as the shells write them, read back exact."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedural_memory.sources import bash, fish, powershell, zsh
from procedural_memory.sources.entry import Entry, lines_of
from procedural_memory.sources.shell_history import find_histories, read_history

COMMANDS = st.lists(st.text(st.sampled_from("ab é\\`#:;\n'\"ツ…")).filter(lambda text: text.strip() != ""), max_size=6)
TIME = 1_700_000_000


def _told(entries: Iterator[Entry]) -> list[Entry]:
    """What entries say, without where they stand."""
    return [entry._replace(line=0) for entry in entries]


def _lines(raw: bytes) -> list[bytes]:
    return raw.removesuffix(b"\n").split(b"\n")


def _zsh(command: str, extended: bool) -> bytes:
    """Write an entry: newlines, a backslash at the end and zsh's own bytes are escaped."""
    line = command.replace("\n", "\\\n") + (" " if command.rstrip(" ").endswith("\\") else "")
    if not extended and line.startswith(":"):
        line = "\\" + line
    raw = b"".join(bytes([0x83, i ^ 32]) if i == 0 or 0x83 <= i <= 0xA2 else bytes([i]) for i in line.encode())
    return (b": %d:7;" % TIME if extended else b"") + raw + b"\n"


@given(COMMANDS, st.booleans())
def test_zsh(commands: list[str], extended: bool) -> None:
    """Continuations, escaped bytes, a backslash at the end."""
    if not extended:
        commands = [command for command in commands if not command.startswith("\\:")]  # zsh itself loses these
    raw = b"".join(_zsh(command, extended) for command in commands)
    expected = [Entry(command, TIME, 7000.0) if extended else Entry(command) for command in commands]
    assert _told(zsh.entries(_lines(raw))) == expected


@given(COMMANDS)
def test_bash_with_times(commands: list[str]) -> None:
    """The lines between two times are one command."""
    raw = "".join(f"#{TIME}\n{command}\n" for command in commands).encode()
    assert _told(bash.entries(_lines(raw))) == [Entry(command, TIME) for command in commands]


def test_bash_without_times_has_a_command_a_line() -> None:
    """Without times nothing joins lines."""
    assert [entry.command for entry in bash.entries([b"ls \\", b"-l", b"# note"])] == ["ls \\", "-l", "# note"]


@given(COMMANDS)
def test_fish(commands: list[str]) -> None:
    """Its own escapes, and what belongs to no command."""
    escaped = [command.replace("\\", "\\\\").replace("\n", "\\n") for command in commands]
    raw = "".join(f"- cmd: {line}\n  when: {TIME}\n  paths:\n    - a\n" for line in escaped).encode()
    assert _told(fish.entries(_lines(raw))) == [Entry(command, TIME) for command in commands]


@given(COMMANDS)
def test_powershell(commands: list[str]) -> None:
    """A backtick continues a line."""
    kept = [command for command in commands if not command.endswith("`")]  # PSReadLine itself loses these
    raw = "".join(command.replace("\n", "`\n") + "\n" for command in kept).encode()
    assert _told(powershell.entries(_lines(raw))) == [Entry(command) for command in kept]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_what_bash_itself_writes(tmp_path: Path) -> None:
    """A history that the installed bash wrote, with times, holds its commands exact and in order."""
    commands = ["git status", "for i in 1 2; do\n  echo $i\ndone", "echo 'a\\' \\", "echo é # note", "git status"]
    script = 'set -o history; HISTTIMEFORMAT=%s; for c in "$@"; do history -s -- "$c"; done; history -w "$HISTFILE"'
    file = tmp_path / "history"
    subprocess.run(
        ["bash", "--norc", "-c", "history -c; " + script, "bash", *commands],
        env={"HISTFILE": str(file), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        check=True,
        timeout=30,
    )
    found = list(bash.entries(lines_of(file)))
    assert [entry.command for entry in found][-len(commands) :] == commands
    assert all(entry.timestamp is not None for entry in found)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize("extended", [False, True])
def test_what_zsh_itself_writes(extended: bool, tmp_path: Path) -> None:
    """A history that the installed zsh wrote holds its commands exact and in order."""
    commands = [
        "echo hi",
        "for i in 1 2\ndo echo $i\ndone",
        'echo "ünï 🎉 ツ"',
        "echo a \\\n  b",
        "ends \\",
        "ends \\\\",
        "ends in a blank \\ ",
        ": 123:4;x",
        ": nothing",
        "last \\\n",
    ]
    option = "setopt" if extended else "unsetopt"
    script = (
        f'HISTSIZE=99 SAVEHIST=99; {option} EXTENDED_HISTORY; for c in "$@"; do print -rs -- "$c"; done; fc -W "$F"'
    )
    file = tmp_path / "zsh_history"
    subprocess.run(
        ["zsh", "-f", "-i", "-c", script, "zsh", *commands],
        env={"F": str(file), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=30,
    )
    found = list(zsh.entries(lines_of(file)))
    assert [entry.command for entry in found] == commands
    assert all((entry.timestamp is not None) is extended for entry in found)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_what_fish_itself_writes(tmp_path: Path) -> None:
    """A history that the installed fish wrote of what was typed holds it exact, in order and with times."""
    pexpect = pytest.importorskip("pexpect")
    commands = ["echo hi", "for i in 1 2\necho $i\nend", "echo 'a\\nb'", "echo 'ü 🎉'", "echo - cmd: '  when: 12'"]
    homes = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "conf")}
    env = {**homes, "PATH": "/usr/bin:/bin", "TERM": "dumb", "LC_ALL": "C.UTF-8", "fish_greeting": ""}
    shell = pexpect.spawn("fish", ["--interactive"], env=env, timeout=60, encoding="utf-8")
    for number, command in enumerate(commands):
        shell.send(command.replace("\n", "\r") + "\r")
        shell.send(f"echo done-(math {number} + 100)\r")
        shell.expect_exact(f"done-{number + 100}")
    shell.send("exit\r")
    shell.expect(pexpect.EOF)
    found = list(fish.entries(lines_of(tmp_path / "data" / "fish" / "fish_history")))
    typed = [entry.command for entry in found]
    assert [line for line in typed if line in commands] == commands
    assert all(entry.timestamp is not None for entry in found)


def test_every_shell_of_a_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each history is found where its shell keeps it, and read as that shell writes it."""
    monkeypatch.delenv("HISTFILE", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    share = tmp_path / ".local" / "share"
    kept = {
        tmp_path / ".zsh_history": ": 1700000000:2;make\n",
        tmp_path / ".bash_history": "#1700000000\nmake\n",
        share / "fish" / "fish_history": "- cmd: make\n  when: 1700000000\n",
        share / "powershell" / "PSReadLine" / "ConsoleHost_history.txt": "make\n",
    }
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert find_histories(tmp_path) == list(kept)
    for path in kept:
        (session,) = read_history(path)
        assert [step["command"] for step in session["commands"]] == ["make"]
        assert (session["commands"][0]["timestamp"] is None) is (path.name == "ConsoleHost_history.txt")
