"""Importing histories: whole sessions, each once, whatever becomes of the files."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import ImportReport, InvalidInputError, InvalidTypeError, ProceduralMemoryEngine, StorageError
from procedural_memory.cli import main

START = 1_700_000_000
LONG_AGO = (START, START)
DAY = 86_400


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without anything in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    places = ("HISTFILE", "XDG_DATA_HOME", "CODEX_HOME", "ATUIN_DB_PATH", "CLAUDE_CONFIG_DIR", "ZDOTDIR")
    for name in (*places, "PROCEDURAL_MEMORY_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def zsh(commands: list[str], start: float = START, apart: float = 60.0) -> str:
    """A history of zsh."""
    return "".join(f": {start + apart * i:.0f}:0;{command}\n" for i, command in enumerate(commands))


def write(path: Path, text: str, old: bool = True) -> Path:
    """Write a file that was last changed long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    if old:
        os.utime(path, LONG_AGO)
    return path


def kept(engine: ProceduralMemoryEngine, tmp_path: Path) -> list[dict[str, Any]]:
    """The sessions of a memory, as a saved file has them."""
    lines = engine.save(tmp_path / "kept.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[1:-1]]


def lines_of(engine: ProceduralMemoryEngine, tmp_path: Path) -> list[list[str]]:
    """The command lines of each session."""
    return [[step["command"] for step in session["commands"]] for session in kept(engine, tmp_path)]


def counts(report: ImportReport) -> tuple[int, int]:
    """What was learned."""
    return report.new_sessions, report.new_commands


ONE = ["git pull", "make", "make test"]
TWO = ["vim a.py", "pytest -q", "git push"]


def test_a_file_that_did_not_change_is_not_read_again(engine: ProceduralMemoryEngine, home: Path) -> None:
    """Nor where a session of it goes on, until that may be over; what waits is told of all the same."""
    file = write(home / ".zsh_history", zsh(["make", "make test", "ls a"], time.time() - 300), old=False)
    status = file.stat()
    assert engine.import_history().sources[0].open_commands == 3
    file.write_text(file.read_text().replace("make\n", "make ", 1))  # two commands, and as long as it was
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert engine.import_history().sources[0].open_commands == 3
    assert engine.import_history(dry_run=True, idle_gap=100).sources[0].commands == 2
    assert engine.import_history(dry_run=True, include_open=True).sources[0].commands == 2
    os.utime(file)
    assert engine.import_history().sources[0].open_commands == 2


def test_importing_again_changes_nothing(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """What was learned is not learned again, also by another engine of the same memory."""
    write(home / ".zsh_history", zsh(ONE) + zsh(TWO, START + DAY))
    write(home / ".bash_history", "ls\ncat notes\ncp notes old\n")
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as first:
        assert counts(first.import_history()) == (3, 9)
        before = kept(first, tmp_path)
        assert [step["command"] for step in before[0]["commands"]] == ONE
        assert counts(first.import_history()) == (0, 0)
    with ProceduralMemoryEngine(path=path, embedder="lexical") as second:
        assert counts(second.import_history()) == (0, 0)
        os.utime(home / ".bash_history", (START + 1, START + 1))  # touched: it is read again
        assert counts(second.import_history()) == (0, 0)
        assert kept(second, tmp_path) == before


def test_steps_have_time_source_host_and_no_outcome(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """The history of this machine is of this host; nothing that a history does not tell is made up."""
    write(home / ".zsh_history", f": {START}:3;make\n: {START + 60}:0;make test\n: {START + 90}:0;ls\n")
    engine.import_history("zsh")
    (session,) = kept(engine, tmp_path)
    assert session["source"] == "zsh"
    assert session["outcome"] is None
    assert session["commands"][0] == {
        "command": "make",
        "timestamp": START,
        "duration_ms": 3000.0,
        "source": "zsh",
        "actor": "human",
        "host": socket.gethostname(),
    }
    engine.import_history("zsh", write(tmp_path / "of_another.zsh_history", zsh(TWO, START + DAY)))
    assert "host" not in kept(engine, tmp_path)[1]["commands"][0]
    assert (
        "host" not in kept(engine, tmp_path)[0]["commands"][0]
        or kept(engine, tmp_path)[1]["commands"][0].get("host") is None
    )


def test_a_file_that_grew_gives_what_is_new(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Only new sessions are read, and they do not grow into old ones."""
    file = write(home / ".zsh_history", zsh(ONE))
    engine.import_history()
    write(file, zsh(ONE) + zsh(TWO, START + DAY))
    report = engine.import_history()
    assert counts(report) == (1, 3)
    assert report.sources[0].commands == 3
    assert lines_of(engine, tmp_path) == [ONE, TWO]


@pytest.mark.parametrize("timed", [True, False])
def test_a_history_trimmed_at_its_head(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path, timed: bool) -> None:
    """What is left of a session that lost its head is not another session."""
    typed = [f"make target{i}" for i in range(30)]
    new = [f"make other{i}" for i in range(10)]
    if timed:
        file, whole = home / ".zsh_history", zsh(typed)
        grown = "".join(zsh(typed).splitlines(True)[13:]) + zsh(new, START + DAY)
    else:
        file, whole = home / ".bash_history", "".join(f"{line}\n" for line in typed)
        grown = "".join(f"{line}\n" for line in [*typed[13:], *new])
    write(file, whole)
    engine.import_history()
    write(file, grown)
    assert counts(engine.import_history()) == (1, 10)
    assert lines_of(engine, tmp_path) == [typed, new]


def test_a_history_written_anew_is_known_by_its_times(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path
) -> None:
    """Without any line where it was, and with old lines between new ones, each step is learned once."""
    typed = [f"make target{i}" for i in range(90)]
    file = write(home / ".zsh_history", zsh(typed))
    engine.import_history()
    left = zsh(typed).splitlines(True)[0:80:3]  # no two that stood beside each other
    between = [zsh([f"ls {i}"], START + 180 * i + 30) for i in range(len(left))]
    write(file, "".join(line for pair in zip(left, between, strict=True) for line in pair))
    assert engine.import_history().new_commands == len(between)
    assert sorted(line for session in lines_of(engine, tmp_path) for line in session) == sorted(
        [*typed, *(f"ls {i}" for i in range(len(left)))]
    )


def test_untimed_history_that_lost_repeats(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """A shell that drops an older line when it is typed again does not make old lines new."""
    typed = [f"make target{i}" for i in range(40)]
    file = write(home / ".bash_history", "".join(f"{line}\n" for line in typed))
    engine.import_history()
    again = [*typed[:20], *typed[21:], typed[20], "new 1", "new 2", "new 3"]
    write(file, "".join(f"{line}\n" for line in again))
    assert counts(engine.import_history()) == (1, 4)
    assert lines_of(engine, tmp_path) == [typed, [typed[20], "new 1", "new 2", "new 3"]]


def test_a_session_that_goes_on_waits(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """It is learned when it is over, whole; until then nothing of it is."""
    now = time.time()
    file = write(home / ".zsh_history", zsh(ONE) + zsh(TWO, now - 300))
    report = engine.import_history()
    assert counts(report) == (1, 3)
    assert report.sources[0].open_commands == 3
    write(file, zsh(ONE) + zsh([*TWO, "git log", "git status"], now - 300))
    assert counts(engine.import_history(idle_gap=20 * 60)) == (0, 0)
    write(file, zsh(ONE) + zsh([*TWO, "git log", "git status"], now - 7_200))
    assert counts(engine.import_history()) == (1, 5)
    assert lines_of(engine, tmp_path) == [ONE, [*TWO, "git log", "git status"]]


def test_a_session_that_goes_on_may_be_learned_at_once(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path
) -> None:
    """Then what follows is another session, and nothing is learned twice."""
    now = time.time() - 600
    file = write(home / ".zsh_history", zsh(TWO, now))
    assert counts(engine.import_history(include_open=True)) == (1, 3)
    write(file, zsh([*TWO, *ONE], now))
    assert counts(engine.import_history(include_open=True)) == (1, 3)
    assert lines_of(engine, tmp_path) == [TWO, ONE]


@given(
    st.lists(
        st.tuples(st.sampled_from(["make", "ls", "git push", "cd /tmp"]), st.sampled_from([0, 1, 700, 2000, 90_000])),
        max_size=25,
    ),
    st.lists(st.integers(0, 25), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_bit_by_bit_gives_what_at_once_gives(typed: list[tuple[str, int]], cuts: list[int]) -> None:
    """However often a history is imported while it grows, the same sessions are learned, under the same names."""
    import tempfile

    when, text = START, []
    for line, later in typed:
        when += later
        text.append((when, f": {when}:0;{line}\n"))
    really = time.time
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        with ProceduralMemoryEngine(embedder="lexical") as one, ProceduralMemoryEngine(embedder="lexical") as bits:
            for cut in [*sorted(cuts), len(text)]:
                part = text[:cut]
                file = write(folder / "zsh_history", "".join(line for _, line in part))
                now = part[-1][0] + 60.0 if part and cut < len(text) else really()
                patch.setattr(time, "time", lambda now=now: now)
                os.utime(file, (min(now, really()), min(now, really())))
                bits.import_history(path=file)
            patch.setattr(time, "time", really)
            one.import_history(path=file)
            assert kept(bits, folder) == kept(one, folder)


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(3, 30), st.integers(0, 40), st.booleans()), min_size=1, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_cut_off_at_the_head(timed: bool, changes: list[tuple[int, int, bool]]) -> None:
    """A history that grows, loses lines at its head and is imported now and then gives each line that was there at an
    import once, in order."""
    import tempfile

    with tempfile.TemporaryDirectory() as name, ProceduralMemoryEngine(embedder="lexical") as engine:
        file = Path(name) / ("zsh_history" if timed else "bash_history")
        left: list[str] = []
        told: dict[str, None] = {}
        for number, (more, less, imported) in enumerate(changes):
            new = [f"make t{number}-{i}" for i in range(more)]
            if timed:
                left += zsh(new, START + number * DAY).splitlines(True)
            else:
                left += [f"{line}\n" for line in new]
            left = left[min(less, len(left) - more) :]  # what is new is there until it was imported
            write(file, "".join(left))
            os.utime(file, (START + number, START + number))
            if imported or number == len(changes) - 1:
                engine.import_history(path=file)
                told |= dict.fromkeys(line.rpartition(";")[2].strip() for line in left)
        learned = [line for session in lines_of(engine, Path(name)) for line in session]
        assert len(learned) == len(set(learned))
        assert [line for line in told if line in learned] == learned
        # What was cut down to one or two steps before it was seen is too short to be learned.
        missing = [line for line in told if line not in learned]
        assert len({line.split("-")[0] for line in missing}) * 2 >= len(missing)


def test_dry_run_tells_and_touches_nothing(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """What it tells is what is then learned; the files that are read stay as they are."""
    file = write(home / ".zsh_history", zsh(ONE) + zsh(TWO, START + DAY))
    told = engine.import_history(dry_run=True)
    assert told.dry_run
    assert told.sources[0].examples == (*ONE, *TWO)
    assert engine.stats()["session_count"] == 0
    assert file.stat().st_mtime == START
    assert engine.import_history().sources == told.sources
    assert counts(engine.import_history(dry_run=True)) == (0, 0)


def test_bad_lines_are_counted_and_named(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """A line of three megabytes is not held, bytes that are no text and times that are none do no harm."""
    raw = (
        b": 1700000000:0;git pull\n"
        b": 1700000060:0;echo " + b"x" * 3_000_000 + b"\n"
        b": 1700000120:0;make \xff\x00 all\n"
        b": 99999999999999:0;ls -l\n"
        b": 1700000180:0;  \n"
        b": 1700000240:0; secret thing\n"
        b": 1700000300:0;git push\n"
    )
    (home / ".zsh_history").write_bytes(raw)
    os.utime(home / ".zsh_history", LONG_AGO)
    report = engine.import_history()
    (source,) = report.sources
    assert source.skipped == {"a line longer than 1,048,576 bytes": 1, "kept out (leading blank, or ignored)": 1}
    assert any("line 2: a line longer" in problem for problem in source.problems)
    assert any("line 6: kept out" in problem for problem in source.problems)
    (lines,) = lines_of(engine, tmp_path)
    assert lines == ["git pull", "make \ufffd all", "ls -l", "git push"]


def test_a_damaged_run_time_costs_itself_only(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A command that ran for thousands of years neither is refused nor tears its session apart."""
    text = f": {START}:0;make a\n: {START + 9}:99999999999;make b\n: {START + 19}:0;make c\n"
    assert counts(engine.import_history(path=write(tmp_path / "zsh_history", text))) == (1, 3)
    assert "duration_ms" not in kept(engine, tmp_path)[0]["commands"][1]


def test_a_value_that_breaks_a_rule_is_counted(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """One bad step costs that step only."""
    items: list[dict[str, Any]] = [{"id": "s", "timestamp": None, "instructions": None}]
    for i in range(4):
        items.append({"type": "local_shell_call", "call_id": f"c{i}", "action": {"command": ["make", f"t{i}"]}})
        output = {"output": "", "metadata": {"exit_code": 10**20 if i == 1 else 0}}
        items.append({"type": "function_call_output", "call_id": f"c{i}", "output": json.dumps(output)})
    file = write(tmp_path / "rollout-1.jsonl", "".join(f"{json.dumps(item)}\n" for item in items))
    (source,) = engine.import_history(path=file).sources
    assert source.skipped == {"a value that breaks a rule": 1}
    assert "line 4: " in source.problems[0]
    assert "exit_code: must be a whole number" in source.problems[0]
    assert lines_of(engine, tmp_path) == [["make t0", "make t2", "make t3"]]


def test_what_is_ignored_or_secret_is_not_learned(home: Path, tmp_path: Path) -> None:
    """Histories go through the same privacy as all else."""
    write(home / ".zsh_history", zsh(["vpn up", "mysql -phunter2horse db", "make", "make test"]))
    with ProceduralMemoryEngine(embedder="lexical", ignore=[r"^vpn\b"]) as engine:
        told = engine.import_history(dry_run=True)
        engine.import_history()
        assert lines_of(engine, tmp_path) == [["mysql -p<SECRET> db", "make", "make test"]]
        assert "hunter2horse" not in repr(told)


def test_disabled_reads_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch that turns everything off holds for imports."""
    write(home / ".zsh_history", zsh(ONE))
    monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", "1")
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        assert engine.import_history() == ImportReport(())


@pytest.mark.parametrize(
    ("name", "text", "shell", "source"),
    [
        ("histfile", zsh(ONE), "/bin/sh", "zsh"),
        ("histfile", "ls\nmake\nmake test\n", "/bin/bash", "bash"),
        ("my_bash_history", "ls\nmake\nmake test\n", "/bin/zsh", "bash"),
    ],
)
def test_histfile_is_found(
    engine: ProceduralMemoryEngine,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    shell: str,
    source: str,
) -> None:
    """Whatever it is called: its name, its lines or the login shell tell whose it is."""
    monkeypatch.setenv("HISTFILE", str(write(home / "kept" / name, text)))
    monkeypatch.setenv("SHELL", shell)
    assert [(one.source, one.new_commands) for one in engine.import_history().sources] == [(source, 3)]


def test_what_was_forgotten_stays_forgotten(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """The next import reads on; it does not bring back what went."""
    private = ["cat diary", "vim diary", "gpg diary"]
    text = zsh(ONE) + zsh(private, START + DAY)
    file = write(home / ".zsh_history", text)
    engine.import_history()
    engine.forget(containing="diary")
    engine.forget(command="make test")
    write(file, text + zsh(TWO, START + 2 * DAY))
    assert counts(engine.import_history()) == (1, 3)
    assert lines_of(engine, tmp_path) == [["git pull", "make"], TWO]


def test_a_replaced_memory_may_learn_it_again(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """How far files were read belongs to what was learned of them."""
    write(home / ".zsh_history", zsh(ONE))
    empty = tmp_path / "empty.json"
    engine.save(empty)
    engine.import_history()
    engine.load(empty, mode="replace")
    assert counts(engine.import_history()) == (1, 3)


def test_blocks_of_two_shells_are_two_sessions(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """A shell that writes when it ends puts earlier times behind later ones."""
    text = "".join(f"#{START + t}\n{line}\n" for t, line in enumerate(ONE)) + "".join(
        f"#{START + t - 100}\n{line}\n" for t, line in enumerate(TWO)
    )
    write(home / ".bash_history", text)
    engine.import_history()
    assert lines_of(engine, tmp_path) == [TWO, ONE]


def test_another_project_is_another_session(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """A cd into another repository ends a session; one within it, or to a folder of no repository, does not."""
    for name in ("app", "lib"):
        (home / name / ".git").mkdir(parents=True)
        (home / name / "src").mkdir()
    typed = ["cd ~/app", "make", "cd src", "make test", "cd ~/lib", "make", "git push", "cd", "ls"]
    write(home / ".zsh_history", zsh(typed))
    engine.import_history()
    assert lines_of(engine, tmp_path) == [typed[:4], typed[4:]]


def test_a_long_command_does_not_end_a_session(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """The gap is counted from its end."""
    write(home / ".zsh_history", f": {START}:7200;make all\n: {START + 7260}:0;make test\n: {START + 7300}:0;ls\n")
    engine.import_history()
    assert lines_of(engine, tmp_path) == [["make all", "make test", "ls"]]


def test_the_same_done_twice_is_two_sessions(engine: ProceduralMemoryEngine, home: Path) -> None:
    """Also where a history tells no times."""
    write(home / ".bash_history", "make\n" * 80)
    assert counts(engine.import_history()) == (2, 80)


def test_progress_and_its_errors(engine: ProceduralMemoryEngine, home: Path) -> None:
    """Bytes read of bytes there are; wrong arguments name themselves."""
    write(home / ".zsh_history", zsh([f"make t{i}" for i in range(1_000)], apart=900.0))
    seen: list[tuple[int, int]] = []
    engine.import_history(progress=lambda done, whole: seen.append((done, whole)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == (home / ".zsh_history").stat().st_size
    with pytest.raises(InvalidInputError, match="source: must be 'auto' or one of zsh, bash"):
        engine.import_history("csh")
    with pytest.raises(InvalidInputError, match="idle_gap: must be more than 0"):
        engine.import_history(idle_gap=0)
    with pytest.raises(InvalidTypeError, match="path: must be a file"):
        engine.import_history(path=7)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="does not exist"):
        engine.import_history(path=home / "nothing")
    with pytest.raises(InvalidInputError, match="cannot tell what kind"):
        engine.import_history(path=write(home / "notes", "hello\n"))


def test_a_crash_in_between_loses_and_doubles_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned before it is kept, with how far that was."""
    monkeypatch.setattr("procedural_memory.importing._CHUNK", 400)
    typed = [f"make t{i}" for i in range(900)]
    write(home / ".zsh_history", "".join(zsh(typed[i : i + 90], START + DAY * i) for i in range(0, 900, 90)))
    path = tmp_path / "m.sqlite3"

    def stop(done: int, whole: int) -> None:
        raise KeyboardInterrupt

    with ProceduralMemoryEngine(path=path, embedder="lexical", durability="normal") as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.import_history(progress=stop)
        assert 0 < engine.stats()["command_count"] < 900
        engine.import_history()
        assert [line for session in lines_of(engine, tmp_path) for line in session] == typed


def test_two_processes_import_at_the_same_time(home: Path, tmp_path: Path) -> None:
    """Another process that learned the same history meanwhile, in other sessions, is noticed."""
    write(home / ".zsh_history", zsh(ONE) + zsh(TWO, START + 1_000))
    path = tmp_path / "m.sqlite3"
    with (
        ProceduralMemoryEngine(path=path, embedder="lexical") as one,
        ProceduralMemoryEngine(path=path, embedder="lexical") as two,
    ):
        from procedural_memory import importing

        really: Callable[..., Any] = importing._Importer._learn
        with pytest.MonkeyPatch.context() as patch:

            def late(self: Any, *args: Any) -> Any:
                patch.undo()
                two.import_history(idle_gap=600)
                return really(self, *args)

            patch.setattr(importing._Importer, "_learn", late)
            one.import_history()
        assert lines_of(one, tmp_path) == [ONE, TWO]


def test_a_source_that_was_named_is_to_be_read(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there, or nothing that can be read, is a failure; another shell's history is told of."""
    monkeypatch.setenv("PROCEDURAL_MEMORY_PATH", str(tmp_path / "memory.sqlite3"))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["import", "--embedder", "lexical", *arguments])

    for more in ([], ["--json"]):
        for source in ("file", "swe-agent", "atuin"):
            result = run(source, *more)
            assert result.exit_code == 1
            assert f"source '{source}': there is no history where it usually is" in result.stderr
        assert run(*more).exit_code == 0
    write(home / ".local" / "share" / "atuin" / "history.db", "this is no database, and was never one")
    result = run("atuin")
    assert result.exit_code == 1
    assert "no file of it could be read" in result.stderr
    assert run().exit_code == 0
    result = run("bash", str(write(tmp_path / "old", zsh(ONE))))
    assert result.exit_code == 0
    assert "looks like a history of zsh" in result.stderr


def test_command_line(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run makes no memory; the report names sessions, commands and what was left out."""
    memory = tmp_path / "memory.sqlite3"
    monkeypatch.setenv("PROCEDURAL_MEMORY_PATH", str(memory))
    write(home / ".zsh_history", zsh([*ONE, " hidden"]) + zsh(TWO, time.time() - 60))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["import", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    shown = run("--dry-run")
    assert "zsh: 1 of 1 sessions would be learned (3 commands)" in shown
    assert "git pull" in shown
    assert not memory.exists()
    shown = run("auto", "--embedder", "lexical")
    assert "zsh: 1 of 1 sessions learned (3 commands)" in shown
    assert "3 commands of sessions that may still go on wait for the next import; --all takes them now" in shown
    assert "zsh: no finished session that is new" in run("zsh")
    assert "1 x left out: kept out (leading blank, or ignored)" in shown
    told = json.loads(run("zsh", str(home / ".zsh_history"), "--json", "--all"))
    assert told["new_commands"] == 3
    assert "zsh: nothing new" in run(str(home / ".zsh_history"), "--idle-gap", "1h")
    for arguments, said in (
        (["import", "nonsense"], "source: must be"),
        (["import", "--idle-gap", "x"], "must be seconds"),
    ):
        failed = CliRunner().invoke(main, arguments)
        assert failed.exit_code != 0
        assert said in failed.output


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let files of a name be unreadable."""
    really = Path.open

    def refuse(name: str) -> None:
        def opened(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path.name == name:
                raise PermissionError(13, "Permission denied")
            return really(path, *args, **kwargs)

        monkeypatch.setattr(Path, "open", opened)

    return refuse


def test_a_memory_that_cannot_be_written_is_an_error(
    engine: ProceduralMemoryEngine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for a history that cannot be read; the next import learns all of it."""
    write(home / ".zsh_history", zsh(ONE))
    write(home / ".bash_history", "ls\nmake\nmake test\n")

    def full(*arguments: Any) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("procedural_memory.storage.sqlite.SQLiteStore.add_steps", full)
        with pytest.raises(StorageError, match="disk full"):
            engine.import_history()
    assert counts(engine.import_history()) == (2, 6)


def test_one_unreadable_file_does_not_keep_out_the_others(
    engine: ProceduralMemoryEngine, home: Path, unreadable: Callable[[str], None]
) -> None:
    """It is named; given by itself, it is an error."""
    write(home / ".zsh_history", zsh(ONE))
    write(home / ".bash_history", "ls\nmake\nmake test\n")
    unreadable(".zsh_history")
    report = engine.import_history()
    assert counts(report) == (1, 3)
    assert any("cannot be read" in one for source in report.sources for one in source.unread)
    with pytest.raises(StorageError, match="cannot be read"):
        engine.import_history("zsh", home / ".zsh_history")
