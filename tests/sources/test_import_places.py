"""What a path may be: a folder as a home is, a pipe, and nothing that never ends."""

from __future__ import annotations

import gzip
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

import pytest
from click.testing import CliRunner
from test_import import ONE, START, TWO, counts, home, lines_of, write, zsh
from test_import_formats import atuin_file, atuin_row, daemon, jsonl, local, result, use

from procedural_memory import HistoryError, ProceduralMemoryEngine
from procedural_memory.cli import main
from procedural_memory.sources import opening
from procedural_memory.sources.files import read_sessions

__all__ = ["home"]


@contextmanager
def pipe(content: bytes) -> Iterator[Path]:
    """The path of a pipe that something is written to, as a shell's ``<(…)`` is."""
    reading, writing = os.pipe()

    def write_all() -> None:
        with open(writing, "wb") as file:
            try:
                file.write(content)
                file.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), writing)

    thread = threading.Thread(target=write_all)
    thread.start()
    try:
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        thread.join()


@pytest.mark.parametrize("other_places", [False, True])
def test_auto_finds_in_a_folder_what_it_finds_in_a_home(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_places: bool
) -> None:
    """Wherever those of the user are; and nothing that only lies beside histories."""
    if other_places:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        monkeypatch.setenv("HISTFILE", str(write(tmp_path / "mine" / "histfile", zsh(["ls mine", "cd mine", "make"]))))
    there = tmp_path / "backup" / "me"
    write(there / ".zsh_history", zsh(ONE))
    write(there / ".bash_history", "ls\nmake\nmake test\n")
    write(there / ".local/share/fish/fish_history", "".join(f"- cmd: {c}\n  when: {START + 9}\n" for c in ONE))
    write(there / ".local/share/powershell/PSReadLine/ConsoleHost_history.txt", "ls\r\ncd x\r\ngit push\r\n")
    atuin_file(there / ".local/share/atuin/history.db", [atuin_row(i, f"ls {i}", i) for i in range(3)])
    daemon(there / ".memory-daemon/storage/memory_data.db", [(local(i), "file_open", "a") for i in range(3)])
    write(
        there / ".claude/projects/p/s.jsonl",
        jsonl([i for n in range(3) for i in (use(f"a{n}", f"m{n}", n), result(f"a{n}"))]),
    )
    for name in (".zshrc", ".netrc", ".python_history", "bash_history.md", ".histfile", "notes_history", "zsh.txt"):
        write(there / name, "machine example.org\nlogin me\npassword secret\n")
    report = engine.import_history("auto", there)
    assert {one.source: one.new_commands for one in report.sources} == dict.fromkeys(
        ("zsh", "bash", "fish", "powershell", "atuin", "omnimemory", "claude-code"), 3
    )
    assert counts(engine.import_history("auto", there)) == (0, 0)
    for source in ("fish", "powershell", "atuin", "omnimemory"):
        assert len(engine.import_history(source, there).sources[0].files) == 1


def test_histories_that_lie_in_a_folder(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Copies under other names, told by name or by look, each once."""
    write(tmp_path / "h" / "old_bash_history", "ls\nmake\nmake test\n")
    write(tmp_path / "h" / "work_history", zsh(ONE))
    write(tmp_path / "h" / "fish_history", "".join(f"- cmd: {c}\n  when: {START + 9}\n" for c in TWO))
    report = engine.import_history("auto", tmp_path / "h")
    assert {one.source: [Path(file).name for file in one.files] for one in report.sources} == {
        "zsh": ["work_history"],
        "bash": ["old_bash_history"],
        "fish": ["fish_history"],
    }
    assert report.new_commands == 9


@pytest.mark.parametrize("source", ["auto", "bash", "fish", "atuin", "claude-code", "file"])
def test_what_never_ends_is_refused(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A device, a socket, a pipe into which is written for ever: one clear error, and nothing is learned."""
    with pytest.raises(HistoryError, match="path '/dev/zero': must be a file, a folder or a pipe, and is a device"):
        engine.import_history(source, "/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        listener.bind("s.sock")
        with pytest.raises(HistoryError, match=r"path 's.sock': must be .* and is a socket"):
            engine.import_history(source, "s.sock")
    monkeypatch.setattr(opening, "MOST_PIPED", 2_000_000)
    with pipe(b"make\n" * 1_000_000) as path, pytest.raises(HistoryError, match="the pipe gives more than 2,000,000"):
        engine.import_history(source, path)
    assert engine.stats()["command_count"] == 0


def test_files_of_sessions_are_read_from_what_ends() -> None:
    """As everywhere: `learn` and `evaluate` read them, too."""
    with pytest.raises(HistoryError, match="path '/dev/zero': must be a file"):
        next(read_sessions("/dev/zero"))
    with pipe(b"ls\nmake\n\ngit push\n") as path:
        assert [session["commands"] for session in read_sessions(path)] == [["ls", "make"], ["git push"]]
    result = CliRunner().invoke(main, ["learn", "/dev/zero"])
    assert result.exit_code == 1
    assert "must be a file" in result.output


def test_a_pipe_is_read_as_a_file_is(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Its kind is found out, its content learned once, and it is called by its name, of which nothing is left."""
    before = set(Path(gettempdir()).glob("procedural-memory-*"))
    for source in ("auto", "zsh"):
        for _ in range(2):
            with pipe(zsh(ONE).encode()) as path:
                report = engine.import_history(source, path)
            assert report.sources[0].files == (str(path),)
    assert lines_of(engine, tmp_path) == [ONE]
    with pipe(b"ls a\nls b\nls c\n" * 4) as path:
        assert counts(engine.import_history("bash", path, include_open=True)) == (1, 12)
    with pipe(b"cd x\nmake x\ncd -\n" + b"ls a\nls b\nls c\n" * 4) as path:  # of another machine: nothing is skipped
        assert counts(engine.import_history("bash", path, include_open=True)) == (1, 15)
    with pipe(b"x" * 1_100_000 + b"\n") as path:
        (problem,) = engine.import_history("bash", path).sources[0].problems
        assert problem.startswith(f"{path}, line 1: ")
    for source, content in (("atuin", b"text"), ("auto", b"text"), ("omnimemory", gzip.compress(b"x"))):
        with pipe(content) as path, pytest.raises(Exception, match=f"'{path}'"):
            engine.import_history(source, path)
    assert set(Path(gettempdir()).glob("procedural-memory-*")) <= before


def test_a_history_file_that_is_a_pipe_is_not_looked_into(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody writes to it: it would be waited for."""
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setenv("HISTFILE", str(tmp_path / "fifo"))
    assert engine.import_history().sources == ()


@pytest.mark.parametrize("own", ["~nosuchuser/history", f"/{'x' * 300}/history"])
def test_a_place_that_cannot_be_looked_at_keeps_nothing_else_from_being_read(
    own: str,
    engine: ProceduralMemoryEngine,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told, and the other histories are learned."""
    write(home / ".zsh_history", zsh(ONE))
    monkeypatch.setenv("HISTFILE", own)
    assert engine.import_history(include_open=True).new_sessions == 1
    assert "HISTFILE" in caplog.text
