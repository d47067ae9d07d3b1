"""Histories that are nearly right: nothing in one field, row or byte is fatal, or takes away what stands beside it."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_import import ONE, START, zsh
from test_import_formats import (
    META,
    atuin_file,
    atuin_row,
    called,
    daemon,
    jsonl,
    keys,
    local,
    put_out,
    result,
    stamp,
    use,
    wrapped,
)

from procedural_memory import HistoryError, ProceduralMemoryEngine
from procedural_memory.sources.catalogue import SOURCES

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    10**18,
    10**400,
    float("inf"),
    float("nan"),
    "",
    " ",
    "\0",
    "\ud800",
    "\x1b[2J",
    "nan",
    "1e999",
    "9" * 400,
    "a\nb",
    "~/../" * 50,
    "x" * 5_000,
    [],
    [[]],
    {},
    {"a": 1},
    [None, {}],
)
"""Where something else is expected."""

CLAUDE = [
    {"type": "summary", "summary": "x", "leafUuid": "x"},
    use("a", "make", 1),
    result("a", "Exit code 2", error=True),
    use("b", "make test", 2, isSidechain=True, agentId="g"),
    result("b", [{"type": "text", "text": "ok"}]),
    use("c", "git push", 3),
    result("c", "", interrupted=True),
]
CODEX = [
    META,
    called("shell", 1, "1", command=["bash", "-lc", "make"], workdir="sub"),
    put_out(json.dumps({"output": "x", "metadata": {"exit_code": 1, "duration_seconds": 0.5}}), 2, "1"),
    called("exec_command", 3, "2", cmd="make test"),
    wrapped("event_msg", 4, type="exec_command_end", call_id="2", exit_code=0, duration={"secs": 1, "nanos": 5}),
    put_out("Exit code: 0\nWall time: 1.5 seconds\nOutput:\nx", 4, "2"),
    {"type": "local_shell_call", "call_id": "3", "timestamp": stamp(5), "action": {"command": ["git", "push"]}},
    {
        "type": "local_shell_call_output",
        "call_id": "3",
        "output": {"metadata": {"exit_code": 0, "duration_seconds": 1}},
    },
    put_out([{"text": "Process exited with code 0"}], 9, "3"),
]
CAST = [
    {"version": 3, "width": 80, "height": 24, "timestamp": START},
    [0.5, "o", "$ "],
    *keys("make", 1),
    [1.5, "o", "$ "],
    *keys("git push", 2),
    [3, "o", "\x1b]633;E;ls -la\x07\x1b]633;C\x07"],
    [4, "o", "\x1b]133;D;0\x07"],
]
SWE = {"trajectory": [{"action": line, "state": json.dumps({"working_dir": "/repo"})} for line in ONE]}
SESSIONS = [
    {"commands": ONE, "outcome": "success", "session_id": "a", "project": "/p"},
    {"commands": [{"command": line, "exit_code": 0, "cwd": "/p", "timestamp": START} for line in ONE], "source": "s"},
]
DOCUMENTS: dict[str, Any] = {
    "claude-code": CLAUDE,
    "codex": CODEX,
    "asciinema": CAST,
    "swe-agent": SWE,
    "file": SESSIONS,
}
SUFFIXES = {"swe-agent": ".traj", "asciinema": ".cast", "file": ".jsonl"}
TEXTS = {
    "zsh": zsh(["ls", "echo 'a\\\nb'", "make é\x83\xa3", *ONE]),
    "bash": "ls\nmake\n"
    + "".join(f"#{START + n}\n{line}\n" for n, line in enumerate([*ONE, "for a in b\ndo c\ndone"])),
    "fish": "".join(
        f"- cmd: {line}\n  when: {START + n}\n  paths:\n    - a\n" for n, line in enumerate([*ONE, "a\\nb"])
    ),
    "powershell": "\ufeffls\r\ncd a `\r\nb\r\ngit push\r\n",
}


@pytest.fixture(scope="module")
def learning() -> Iterator[ProceduralMemoryEngine]:
    """One memory for all that is imported here."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        yield engine


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for all the files."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def written(source: str, document: Any) -> bytes:
    """A document as the source has it in a file."""
    text = json.dumps(document) if source == "swe-agent" else jsonl(document)
    return text.encode("utf-8", "surrogatepass")


def content(source: str) -> bytes:
    """A good file of a source."""
    return TEXTS[source].encode() if source in TEXTS else written(source, DOCUMENTS[source])


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every place within a document: what holds it, and its key there."""
    inner = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [found for key, value in inner for found in ((node, key), *places(value))]


def imported(engine: ProceduralMemoryEngine, source: str, path: Path) -> int:
    """Import a file; a second time there is nothing new. Return how many commands it has."""
    report = engine.import_history(source, path, include_open=True)
    again = engine.import_history(source, path, include_open=True)
    assert again.new_commands == 0
    return sum(one.commands for one in report.sources)


@pytest.mark.parametrize("source", DOCUMENTS)
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_value_is_fatal(learning: ProceduralMemoryEngine, folder: Path, source: str, data: st.DataObject) -> None:
    """One or two values of a good document are something else: the rest is read all the same."""
    document = copy.deepcopy(DOCUMENTS[source])
    changed = data.draw(st.integers(1, 2))
    for _ in range(changed):
        holder, key = data.draw(st.sampled_from(places(document)))
        holder[key] = copy.deepcopy(data.draw(st.sampled_from(HOSTILE)))
    path = folder / f"{source}{SUFFIXES.get(source, '.jsonl')}"
    path.write_bytes(written(source, document))
    try:
        imported(learning, source, path)
    except HistoryError:
        assert source == "swe-agent"  # of which a file is one document


@pytest.mark.parametrize("source", [*TEXTS, *DOCUMENTS])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_no_byte_is_fatal(learning: ProceduralMemoryEngine, folder: Path, source: str, data: st.DataObject) -> None:
    """Bytes are lost, changed or added anywhere, or the end is missing; its kind may no longer be known."""
    raw = bytearray(content(source))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(raw)))
        end = min(len(raw), begin + data.draw(st.sampled_from([0, 0, 1, 1, 5, 100_000])))
        raw[begin:end] = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"\\", b"\n", b"\r\n", b"\0", b"`"]))
        )
    path = folder / f"damaged-{source}{SUFFIXES.get(source, '.jsonl')}"
    path.write_bytes(raw)
    try:
        imported(learning, source, path)
    except HistoryError:
        assert source == "swe-agent"


@pytest.mark.parametrize("source", ["zsh", "bash", "fish", "claude-code", "codex", "file"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_damaged_line_takes_nothing_else_away(folder: Path, source: str, data: st.DataObject) -> None:
    """A line of rubbish between two good halves of a history: all commands of both are learned."""
    lines = content(source).split(b"\n")[:-1]
    # Between two entries, not within one.
    starts = {"zsh": b": ", "bash": b"#", "fish": b"- cmd"}.get(source, b"{")
    cuts = [number for number, line in enumerate(lines) if line.startswith(starts)]
    cut = data.draw(st.sampled_from(cuts))
    rubbish = data.draw(st.binary(min_size=1, max_size=30)).replace(b"\n", b"").rstrip(b"\\")
    path = folder / f"rubbish-{source}{SUFFIXES.get(source, '.jsonl')}"
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        path.write_bytes(b"\n".join([*lines, b""]))
        whole = imported(engine, source, path)
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        path.write_bytes(b"\n".join([*lines[:cut], rubbish, *lines[cut:], b""]))
        assert imported(engine, source, path) >= whole


@pytest.mark.parametrize("source", ["atuin", "omnimemory"])
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_row_is_fatal(learning: ProceduralMemoryEngine, folder: Path, source: str, data: st.DataObject) -> None:
    """SQLite keeps values of any type in any column: those of the other rows are read all the same."""
    path = folder / f"{source}-{uuid4()}.db"
    fits = st.sampled_from([value for value in HOSTILE if not isinstance(value, (list, dict, bool))])
    value = fits.filter(lambda one: one != "\ud800" and not (isinstance(one, int) and one >= 2**63)) | st.binary(
        max_size=4
    )
    if source == "atuin":
        rows = [atuin_row(number, line, number) for number, line in enumerate(ONE)]
        names = st.sampled_from([name for name in rows[0] if name != "id"])
        rows[1][data.draw(names)] = data.draw(value)
        atuin_file(path, rows)
    else:
        columns = ["command", "exit_code", "pid", "cwd", "duration_ms", "payload"]
        events = [[local(n), "process_start", "a", line, 0, n, "/p", 1, "{}"] for n, line in enumerate(ONE)]
        events[1][data.draw(st.integers(0, 8))] = data.draw(value)
        if data.draw(st.booleans()):
            hostile = {data.draw(st.sampled_from(columns)): data.draw(st.sampled_from(HOSTILE))}
            events[1][3:] = [None, None, None, None, None, json.dumps(hostile)]
        daemon(
            path, [tuple(row) for row in events], "".join(f", {name}" for name in columns), ", " + ", ".join(columns)
        )
    assert imported(learning, source, path) >= 2


@pytest.mark.parametrize("source", ["atuin", "omnimemory"])
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_damage_to_a_database_is_fatal(
    learning: ProceduralMemoryEngine, folder: Path, source: str, data: st.DataObject
) -> None:
    """A page is cut off or overwritten: what can be read is, or one error says what is wrong."""
    good, path = folder / f"good-{source}.db", folder / f"damaged-{source}.db"
    if not good.exists():
        if source == "atuin":
            atuin_file(good, [atuin_row(number, f"make t{number}", number) for number in range(200)])
        else:
            daemon(good, [(local(number), "file_open", "a") for number in range(200)])
    shutil.copy(good, path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path.write_bytes(raw[: data.draw(st.sampled_from([len(raw), len(raw), len(raw) // 2, 4096, 100]))])
    with suppress(HistoryError):
        learning.import_history(source, path, include_open=True)


def test_a_name_in_a_database_that_is_no_text_is_one_clear_error(folder: Path) -> None:
    """SQLite itself cannot say what is wrong then."""
    path = folder / "named.db"
    daemon(path, [(local(number), "file_open", "a") for number in range(20)])
    raw = path.read_bytes().replace(b"tableeventsevents", b"table\x80ventsevents").replace(b"CREATE T", b"CREATX T")
    path.write_bytes(raw)
    with ProceduralMemoryEngine(embedder="lexical") as engine, pytest.raises(HistoryError, match=r"named\.db"):
        engine.import_history("omnimemory", path)


@pytest.mark.parametrize("missing", ["id", "command"])
def test_a_database_without_a_column_is_one_clear_error(folder: Path, missing: str) -> None:
    """The column is named; no error of the database's own comes through."""
    path = folder / f"without-{missing}.db"
    names = [name for name in ("id", "timestamp", "command", "exit") if name != missing]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE history ({', '.join(names)})")
        db.execute(f"INSERT INTO history VALUES ({', '.join('?' * 3)})", (1, 2, 3))
    with (
        ProceduralMemoryEngine(embedder="lexical") as engine,
        pytest.raises(HistoryError, match=rf"history\.{missing}"),
    ):
        engine.import_history("atuin", path)


def test_every_source_is_tried() -> None:
    """A new one is to be added here."""
    assert {*TEXTS, *DOCUMENTS, "atuin", "omnimemory"} == set(SOURCES)
