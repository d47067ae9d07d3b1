"""Learning partitioned logs on a cluster gives the memory that one process learns, and all or nothing of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import learn_distributed
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logs import KINDS, parted, same, write
from postgres_server import PostgresServer
from speed.workload import habits
from test_keeping import view
from test_tellings import ATUIN, HISTORY, HOOK, TYPED, told

from procedural_memory import (
    HistoryError,
    InvalidInputError,
    InvalidTypeError,
    MissingExtraError,
    ProceduralMemoryEngine,
    SessionConflictError,
    StorageError,
    StoreUnavailableError,
)
from procedural_memory.cli import main
from procedural_memory.distributed import job, learn_partitions, partials, partitions
from procedural_memory.memory import sequences
from procedural_memory.samples import load_sessions
from procedural_memory.storage.postgres import PostgresStore

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed (extra: distributed)")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: distributed)")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra: distributed)")

LINES = [*TYPED, "cat a.py", "cat b.py", "vim a.py", "npm ci", "docker run -p 80:80 web", "ssh host3", "./run.sh x"]
MADE = [*islice(habits(), 60)]


def fresh(**options: Any) -> ProceduralMemoryEngine:
    """An empty engine."""
    return ProceduralMemoryEngine(embedder="lexical", **options)


@pytest.fixture(scope="session")
def threads() -> Iterator[Any]:
    """A client of two workers in this process."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def processes() -> Iterator[Any]:
    """A client of two workers that are processes."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ranker learn from few rows, so that workers learn most of what a test has."""
    set_tail(monkeypatch, 23)


def set_tail(monkeypatch: pytest.MonkeyPatch, tail: int) -> None:
    """Say how many rows are left to the ranker, here and where one process learns."""
    monkeypatch.setattr(job, "WATCHED", tail)
    monkeypatch.setattr(sequences, "WATCHED", tail)


def made(seed: int, count: int) -> list[dict[str, Any]]:
    """Sessions of a few people: outcomes and exit codes known or not, in an order that is not that of time."""
    chance = random.Random(seed)
    sessions = []
    for number in range(count):
        project = chance.choice([None, "/src/shop", "/src/web"])
        begin = 1.7e9 + chance.randrange(50) * 1_000
        # Half of them follow one of two patterns, with files of their own.
        lines = chance.choice([["git pull", f"cat {number}.py", "make"], ["make test", f"vim {number}.py", "git push"]])
        if chance.random() < 0.5:
            lines = [chance.choice(LINES) for _ in range(chance.randrange(2, 9))]
        commands = [
            {
                "command": line,
                "exit_code": chance.choice([None, 0, 0, 1]),
                "timestamp": begin + 7.0 * step,
                "duration_ms": chance.choice([None, 12.5]),
                "cwd": project and f"{project}/src",
                "project": project,
            }
            for step, line in enumerate(lines)
        ]
        outcome = chance.choice(["success", "failure", None])
        sessions.append({"session_id": f"s{number}", "commands": commands, "outcome": outcome, "source": "zsh"})
    return sessions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_equals_learning_on_one_machine(tmp_path: Path, threads: Any, kind: str, parts: int) -> None:
    """However the sessions are cut and written, every row and every prediction is that of one process."""
    sessions = [*MADE[:25], *load_sessions()[:15]]
    with fresh() as one, fresh() as many:
        one.learn_many(sessions)
        report = learn_partitions(many, parted(tmp_path, sessions, parts, kind), threads)
        assert report.new_sessions == len(sessions)
        assert report.skipped == 0
        assert len(report.partitions) == parts
        same(many, one)
        assert view(many) == view(one)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 14), st.integers(1, 12), st.integers(0, 40), st.sampled_from(KINDS))
def test_any_sessions_in_any_parts(
    threads: Any, monkeypatch: pytest.MonkeyPatch, seed: int, count: int, parts: int, tail: int, kind: str
) -> None:
    """Also where a session is cut by what is left for the ranker, and where more parts are united than go at once."""
    set_tail(monkeypatch, tail)
    monkeypatch.setattr(job, "_FAN_IN", 3)
    sessions = made(seed, count)
    with tempfile.TemporaryDirectory() as folder, fresh() as one, fresh() as many:
        one.learn_many(sessions)
        if files := parted(Path(folder), sessions, parts, kind):
            learn_partitions(many, files, threads)
        same(many, one)
        assert view(many) == view(one)


def test_the_newest_session_is_the_example_of_a_pattern(
    tmp_path: Path, threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever partition it stands in."""
    set_tail(monkeypatch, 0)
    sessions = [told("zsh", [f"cat {day}.py", "make", "git push"], 1e6 * day, name=f"{day}") for day in (2, 3, 1)]
    with fresh() as one, fresh() as many:
        one.learn_many(sessions)
        learn_partitions(many, parted(tmp_path, sessions, 3, "jsonl"), threads)
        (pattern,) = many.patterns.values()
        assert pattern.command_sequence[0] == "cat 3.py"
        same(many, one)


def test_worker_processes_and_a_lost_one(tmp_path: Path, processes: Any) -> None:
    """With processes as workers, one of which is killed when it has learned, the memory is the same."""
    sessions = [*islice(habits(), 120)]
    files = parted(tmp_path, sessions, 6, "jsonl")
    killed: list[int] = []

    def kill(what: str, done: int, count: int) -> None:
        if what == "learn" and not killed:
            killed.append(next(iter(processes.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    with fresh(path=tmp_path / "one.sqlite3") as one, fresh(path=tmp_path / "many.sqlite3") as many:
        one.learn_many(sessions)
        report = learn_partitions(many, files, processes, progress=kill)
        assert report.new_sessions == len(sessions)
        assert killed
        assert killed[0] not in processes.run(os.getpid).values()
        same(many, one)
        assert view(many) == view(one)


def test_a_cluster_of_its_own(tmp_path: Path) -> None:
    """Without a client processes of this machine learn, and none is left."""
    with fresh() as one, fresh() as many:
        one.learn_many(MADE)
        learn_partitions(many, parted(tmp_path, MADE, 2, "jsonl"))
        same(many, one)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_what_several_sources_tell_of_is_counted_once(tmp_path: Path, threads: Any, order: tuple[int, ...]) -> None:
    """Sources of one shell in partitions of their own count as in one log that is rebuilt."""
    sessions = [[HISTORY, HOOK, ATUIN][i] for i in order] + made(3, 12)
    with fresh() as one, fresh() as many:
        one.learn_many(sessions)
        one.rebuild()
        learn_partitions(many, parted(tmp_path, sessions, 5, "jsonl"), threads)
        assert many.stats()["session_count"] == one.stats()["session_count"]
        same(many, one)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_any_tellings(threads: Any, monkeypatch: pytest.MonkeyPatch, seed: int, parts: int) -> None:
    """Steps that some of four sources tell of, at about the same time, from hosts that may be known."""
    set_tail(monkeypatch, 9)
    chance = random.Random(seed)
    richer: tuple[dict[str, Any], ...] = ({}, {"exit_code": 0})
    sessions = [
        told(
            chance.choice(["zsh", "hook", "atuin", "claude"]),
            late=chance.choice([0.0, 0.4, 1.9, 2.0, 2.1, -1.5]),
            host=chance.choice([None, "box", "box", "other"]),
            name=f"t{number}",
            outcome=chance.choice([None, "success", "failure"]),
            **chance.choice(richer),
        )
        for number in range(6)
    ]
    with tempfile.TemporaryDirectory() as folder, fresh() as one, fresh() as many:
        one.learn_many(sessions)
        one.rebuild()
        learn_partitions(many, parted(Path(folder), sessions, parts, "jsonl"), threads)
        same(many, one)


def test_a_memory_that_knows_something(tmp_path: Path, threads: Any) -> None:
    """What is learned is added to what a memory knows, whose feedback stays; what it knows is left out."""
    known, more = MADE[:25], MADE[15:]
    with fresh(path=tmp_path / "one.sqlite3") as one, fresh(path=tmp_path / "many.sqlite3") as many:
        for engine in (one, many):
            engine.learn_many(known)
            engine.feedback(["git status"], "git push", "rejected")
        one.learn_many(more)
        report = learn_partitions(many, parted(tmp_path, more, 3, "jsonl"), threads)
        assert report.new_sessions == 35
        assert [part.known_sessions for part in report.partitions] == [10, 0, 0]
        now = [engine.stats() for engine in (one, many)]
        assert now[0]["command_count"] == now[1]["command_count"]
        same_but_feedback(one, many)
        assert view(many) == view(one)


def test_numbers_of_what_was_forgotten_are_not_used_again(tmp_path: Path, threads: Any) -> None:
    """Who follows the log by its numbers misses nothing of what is added."""
    with fresh(path=tmp_path / "one.sqlite3") as one, fresh(path=tmp_path / "many.sqlite3") as many:
        for engine in (one, many):
            engine.learn_many(MADE[:20])
            place, _ = engine.learned_since()
            engine.forget(session="s0000019")
        one.learn_many(MADE[20:40])
        learn_partitions(many, parted(tmp_path, MADE[20:40], 2, "jsonl"), threads)
        assert len(many.learned_since(place, 1_000)[1]) == 200
        same(many, one)


def same_but_feedback(one: ProceduralMemoryEngine, other: ProceduralMemoryEngine) -> None:
    """Assert equality of memories whose feedback was told at different moments."""
    from logs import tables

    ours, others = tables(one), tables(other)
    assert len(ours.pop("feedback")) == len(others.pop("feedback"))
    for name in ours:
        assert ours[name] == others[name], name


def test_a_memory_that_knows_the_same_steps(tmp_path: Path, threads: Any) -> None:
    """A history learned into a memory that a hook told of the same steps counts them once."""
    others = made(5, 12)
    with fresh() as one, fresh() as many:
        one.learn_many([HISTORY, *others[:6], HOOK, *others[6:]])
        one.rebuild()
        many.learn_many([HISTORY, *others[:6]])
        learn_partitions(many, parted(tmp_path, [HOOK, *others[6:]], 2, "jsonl"), threads)
        same(many, one)


def test_again_changes_nothing(tmp_path: Path, threads: Any) -> None:
    """A job that ran before learns nothing; what is new beside it is learned."""
    files = parted(tmp_path, MADE[:50], 3, "steps.parquet")
    with fresh(path=tmp_path / "m.sqlite3") as engine, fresh() as one:
        learn_partitions(engine, tmp_path, threads)
        before = view(engine)
        report = learn_partitions(engine, str(tmp_path / "*.parquet"), threads)
        assert report.new_sessions == 0
        assert [part.known_sessions for part in report.partitions] == [17, 17, 16]
        assert view(engine) == before
        write(tmp_path / "part-9.jsonl", MADE[50:])
        assert learn_partitions(engine, [*files, tmp_path / "part-9.jsonl"], threads).new_sessions == 10
        one.learn_many(MADE[:50])
        one.learn_many(MADE[50:])
        same(engine, one)


def test_equal_sessions_count_once(tmp_path: Path, threads: Any) -> None:
    """A session that stands in two partitions, or twice in one, is one session."""
    files = parted(tmp_path, [*MADE[:30], *MADE[20:], MADE[59]], 3, "jsonl")
    with fresh() as one, fresh() as many:
        one.learn_many(MADE)
        report = learn_partitions(many, files, threads)
        assert report.new_sessions == 60
        assert sum(part.known_sessions for part in report.partitions) == 11
        same(many, one)
        assert view(many) == view(one)


def test_an_id_with_two_contents_is_refused(tmp_path: Path, threads: Any) -> None:
    """Nothing is learned; the error names both places, also where the memory is one of them."""
    changed = {**MADE[7], "outcome": None}
    files = [write(tmp_path / "a.jsonl", MADE[:10]), write(tmp_path / "b.jsonl", [*MADE[10:20], changed])]
    with fresh() as engine:
        with pytest.raises(SessionConflictError, match=r"'s0000007'.*a\.jsonl, line 8, and in .*b\.jsonl, line 11"):
            learn_partitions(engine, files, threads)
        assert engine.stats()["session_count"] == 0
        engine.learn_many([changed])
        with pytest.raises(SessionConflictError, match=r"a\.jsonl, line 8: .*'s0000007'"):
            learn_partitions(engine, files[:1], threads)
        assert engine.stats()["session_count"] == 1


def test_a_session_with_steps_in_two_partitions_is_refused(tmp_path: Path, threads: Any) -> None:
    """The error says that a session must stand in one partition."""
    steps = MADE[0]["commands"]
    files = [
        write(tmp_path / f"{half}.steps.parquet", [{**MADE[0], "commands": part}])
        for half, part in enumerate((steps[:5], steps[5:]))
    ]
    with fresh() as engine, pytest.raises(SessionConflictError, match="must stand in one partition as a whole"):
        learn_partitions(engine, files, threads)


def test_rows_that_break_a_rule_are_told(tmp_path: Path, threads: Any) -> None:
    """They are left out and counted; the rest is learned. No secret is in what is told."""
    good = [json.dumps(session) for session in MADE[:3]]
    odd = [
        "{",
        "17",
        '{"outcome": "success"}',
        '{"commands": ["a", 7], "outcome": "success"}',
        '{"commands": ["a", "b", "c"], "outcome": "export API_TOKEN=hunter2hunter2"}',
        '["ls", "cd"]',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([good[0], *odd, "", good[1]]), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(good[2] + "\n", encoding="utf-8")
    with fresh() as engine, fresh() as one:
        report = learn_partitions(engine, tmp_path, threads)
        one.learn_many(MADE[:3])
        same(engine, one)
    first, second = report.partitions
    assert (first.new_sessions, first.short_sessions, second.new_sessions, second.skipped) == (2, 1, 1, {})
    assert first.skipped == {"a row that is no session": 2, "a session that breaks a rule": 3}
    assert [problem.split("a.jsonl, ")[1].split(":")[0] for problem in first.problems] == [
        f"line {number}" for number in range(2, 7)
    ]
    assert "hunter2" not in repr(report)
    assert report.skipped == 5


def test_steps_that_break_a_rule_are_told(tmp_path: Path, threads: Any) -> None:
    """Of a session with a row for each step the other steps are learned."""
    rows: list[dict[str, Any]] = [
        {"session_id": "a", "command": "git pull", "exit_code": 0.0},
        {"session_id": "b", "command": "ls", "outcome": "success"},
        {"session_id": "a", "command": None},
        {"session_id": None, "command": "make"},
        {"session_id": "a", "command": "make", "exit_code": 0.5},
        {"session_id": "a", "command": "make test", "outcome": "failure"},
        {"session_id": "b", "command": "cd", "outcome": "failure"},
        {"session_id": "a", "command": "git push", "exit_code": 1.0},
    ]
    names = ("session_id", "command", "exit_code", "outcome")
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), tmp_path / "a.parquet")
    with fresh() as engine:
        (report,) = learn_partitions(engine, tmp_path / "a.parquet", threads).partitions
        assert report.new_sessions == 1
        assert report.skipped == {"a row that is no session": 2, "a row that breaks a rule": 2}
        assert sorted(int(problem.split("row ")[1].split(":")[0]) for problem in report.problems) == [2, 3, 4, 5]
        (pattern,) = engine.patterns.values()
        assert pattern.command_sequence == ("git pull", "make test", "git push")
        assert pattern.failure_count == 1


def test_times_of_parquet(tmp_path: Path, threads: Any) -> None:
    """Times may be timestamps of any unit and zone, or epoch seconds."""
    lines, begin = ["git pull", "make", "git push"], 1_700_000_000
    with fresh() as one:
        one.learn_many(
            [
                {
                    "session_id": "s",
                    "outcome": None,
                    "commands": [{"command": line, "timestamp": begin + i} for i, line in enumerate(lines)],
                }
            ]
        )
        for unit, zone in (("s", None), ("ns", "UTC"), ("ms", "Europe/Berlin")):
            scale = {"s": 1, "ms": 10**3, "ns": 10**9}[unit]
            times = pa.array([(begin + i) * scale for i in range(3)]).cast(pa.timestamp(unit, zone))
            columns = {"session_id": ["s"] * 3, "command": lines, "timestamp": times}
            pq.write_table(pa.table(columns), tmp_path / "steps.parquet")
            struct = pa.StructArray.from_arrays([pa.array(lines), times], names=["command", "timestamp"])
            listed = pa.ListArray.from_arrays(pa.array([0, 3], pa.int32()), struct)
            pq.write_table(pa.table({"session_id": ["s"], "commands": listed}), tmp_path / "sessions.parquet")
            for name in ("steps", "sessions"):
                with fresh() as many:
                    learn_partitions(many, tmp_path / f"{name}.parquet", threads)
                    same(many, one)


def test_an_object_store(threads: Any) -> None:
    """Addresses of any file system that fsspec knows, patterns included."""
    fsspec = pytest.importorskip("fsspec")
    for number in range(3):
        with fsspec.open(f"memory://logs/day={number}/part.jsonl.gz", "wt", compression="gzip") as file:
            file.writelines(json.dumps(session) + "\n" for session in MADE[20 * number : 20 * number + 20])
    with fresh() as one, fresh() as many:
        one.learn_many(MADE)
        report = learn_partitions(many, "memory://logs/day=*/part.jsonl.gz", threads)
        assert [part.url for part in report.partitions] == [f"memory:///logs/day={i}/part.jsonl.gz" for i in range(3)]
        same(many, one)


def test_secrets_and_what_is_kept_out(tmp_path: Path, threads: Any) -> None:
    """Workers redact by the rules of the engine before anything is kept; what is to be ignored is not learned."""
    lines = [
        "vpn up",
        "deploy --ticket PRJ-1234",
        " secret line",
        "export API_TOKEN=hunter2hunter2",
        "make",
        "git push",
    ]
    sessions = [*made(1, 12), {"session_id": "x", "commands": lines}, {"session_id": "y", "commands": ["vpn up"] * 4}]
    with fresh(redact=[r"PRJ-\d{4}"], ignore=[r"^vpn\b"], path=tmp_path / "m.sqlite3") as engine:
        bad = write(tmp_path / "bad.jsonl", [{**MADE[0], "outcome": "PRJ-1234"}])
        report = learn_partitions(engine, [*parted(tmp_path, sessions, 2, "jsonl"), bad], threads)
        assert report.partitions[1].short_sessions >= 1
        assert report.skipped == 1
        assert "PRJ" not in repr(report)
    content = b"".join(file.read_bytes() for file in tmp_path.glob("m.sqlite3*"))
    assert b"deploy --ticket <SECRET>" in content
    for hidden in (b"PRJ-1234", b"hunter2", b"vpn up", b"secret line"):
        assert hidden not in content


def test_sessions_without_ids_and_times(tmp_path: Path, threads: Any) -> None:
    """They get ids of their place and content, and keep their order."""
    for day in "ab":
        (tmp_path / day).mkdir()
        write(tmp_path / day / "part.jsonl", [{"commands": ["make", "make test", f"git push {day}"]}] * 2)
    with fresh() as engine:
        assert learn_partitions(engine, tmp_path, threads).new_sessions == 4
        assert learn_partitions(engine, tmp_path, threads).new_sessions == 0
        engine.save(tmp_path / "all.json")
        saved = json.loads((tmp_path / "all.json").read_text())["sessions"]
        assert [session["session_id"].rsplit(":", 1)[0] for session in saved] == [
            f"{(tmp_path / day / 'part.jsonl').as_uri()}:{place}" for day in "ab" for place in (0, 1)
        ]
        assert saved[-1]["start"] < time.time() + 2  # a second for each partition


@pytest.mark.parametrize("tick", [partials.TICK, 60.0])
def test_sessions_without_times_come_after_what_is_known(
    tmp_path: Path, threads: Any, monkeypatch: pytest.MonkeyPatch, tick: float
) -> None:
    """They count as the newest, in the order of their partitions, and what is learned next is newer: as in one
    process. So many that they take until after now come before it, too."""
    for module in (job, partials):
        monkeypatch.setattr(module, "TICK", tick)

    def deploys(to: str, count: int) -> list[dict[str, Any]]:
        lines = ["make a", "make b", f"deploy --host {to}"]
        return [{"session_id": f"{to}{number}", "commands": lines} for number in range(count)]

    parts = [deploys(f"new{number:02}", 3) for number in range(12)]
    files = [write(tmp_path / f"{number:02}.jsonl", part) for number, part in enumerate(parts)]
    order = []
    with fresh() as one, fresh() as many:
        for engine in (one, many):
            engine.learn_many(deploys("old", 40))
        one.learn_many([session for part in parts for session in part])
        learn_partitions(many, files, threads)
        for engine in (one, many):
            (example,) = (pattern.command_sequence[-1] for pattern in engine.patterns.values())
            assert example == "deploy --host new11"
            engine.learn_many(deploys("last", 1))
            engine.save(tmp_path / "all.json")
            saved = json.loads((tmp_path / "all.json").read_text())["sessions"]
            order.append([item["session_id"] for item in sorted(saved, key=lambda item: item["start"])])
            (example,) = (pattern.command_sequence[-1] for pattern in engine.patterns.values())
            assert example == "deploy --host last"
        assert order[0] == order[1]
        assert view(many)["predictions"] == view(one)["predictions"]


def test_ids_do_not_hang_on_what_else_is_learned(tmp_path: Path, threads: Any) -> None:
    """Each file once, alone or with others; equal files of two folders are two, also where a folder is a secret."""
    sessions = [{"commands": ["make", "make test", "git push"]}] * 2
    folders = [tmp_path / name for name in ("token=a", "token=b", "c")]
    for folder in folders:
        folder.mkdir()
        write(folder / "part.jsonl", sessions)
    with fresh() as engine:
        for folder in folders[:2]:
            assert learn_partitions(engine, folder / "part.jsonl", threads).new_sessions == 2
        assert learn_partitions(engine, tmp_path, threads).new_sessions == 2
        assert engine.stats()["session_count"] == 6


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("file:///logs/a@b/c?d.jsonl", "file:///logs/a@b/c?d.jsonl"),
        ("ftp://ann:pw@box:21/a.jsonl", "ftp://box:21/a.jsonl"),
        ("https://ann:p@w@box/a.jsonl?sig=5&end=.jsonl", "https://box/a.jsonl"),
        ("s3://logs/day=1/a.jsonl", "s3://logs/day=1/a.jsonl"),
    ],
)
def test_the_name_of_an_address_has_no_login(url: str, name: str) -> None:
    """A password or signature that changes makes no new sessions of those that are known."""
    from procedural_memory.distributed.partitions import name_of

    assert name_of(url) == name


@pytest.fixture
def hosted() -> Any:
    """A file system with hosts, like that of FTP, but in memory; ``memory://box/a`` is ``hosted://box/a``."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.utils import infer_storage_options

    class Hosted(MemoryFileSystem):  # type: ignore[misc]
        """Like that of FTP, but in memory."""

        protocol = "hosted"
        store = MemoryFileSystem.store

        def __init__(self, host: str, **options: Any) -> None:
            super().__init__(**options)
            self.host = host

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + str(infer_storage_options(path)["path"]).strip("/")

        @staticmethod
        def _get_kwargs_from_urls(url: str) -> dict[str, Any]:
            found = infer_storage_options(url)
            return {"host": found["host"]} if "host" in found else {}

        def _open(self, path: str, *arguments: Any, **options: Any) -> Any:
            return super()._open(f"/{self.host}{path}", *arguments, **options)

        def info(self, path: str, **options: Any) -> Any:
            return super().info(f"/{self.host}{self._strip_protocol(path)}", **options)

    fsspec.register_implementation("hosted", Hosted, clobber=True)
    return fsspec


def test_the_host_of_an_address_stays(threads: Any, hosted: Any) -> None:
    """File systems that are a connection leave it out of what they list; workers need it, and it tells files apart."""
    for host in ("ann", "bob"):
        with hosted.open(f"memory://{host}/part.jsonl", "wt") as file:
            file.write(json.dumps({"commands": ["make", "make test", "git push"]}))
    with fresh() as engine:
        report = learn_partitions(engine, [f"hosted://me:pw@{host}/part.jsonl" for host in ("ann", "bob")], threads)
        assert report.new_sessions == 2
        assert [part.url for part in report.partitions] == ["hosted://ann/part.jsonl", "hosted://bob/part.jsonl"]


def test_nothing_is_left_of_what_fails(tmp_path: Path, threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read, an error while the memory takes over: it is what it was."""
    write(tmp_path / "a.jsonl", MADE[:10])
    (tmp_path / "b.jsonl.gz").write_bytes(b"\x1f\x8b no gzip")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no Parquet")
    with fresh(path=tmp_path / "m.sqlite3") as engine:
        engine.learn_many(MADE[50:])
        before = view(engine)
        for name in ("b.jsonl.gz", "c.parquet"):
            with pytest.raises(HistoryError, match=rf"{name}.*cannot be read"):
                learn_partitions(engine, [tmp_path / "a.jsonl", tmp_path / name], threads)
        with monkeypatch.context() as patch:
            patch.setattr("procedural_memory.storage.union._renew_place", lambda db, key: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                learn_partitions(engine, tmp_path / "a.jsonl", threads)
        assert view(engine) == before
        assert learn_partitions(engine, tmp_path / "a.jsonl", threads).new_sessions == 10
    with fresh(path=tmp_path / "m.sqlite3") as engine:
        assert engine.stats()["session_count"] == 20


def test_nothing_is_left_on_a_server_of_what_fails(
    tmp_path: Path, threads: Any, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several files are taken over in one transaction: when the last one fails, the first one is not there either."""
    parts = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for number, part in enumerate(parts):
        write(part, MADE[10 * number : 10 * (number + 1)])
    with fresh(path=postgres.address()) as engine:
        engine.learn_many(MADE[50:])
        before = view(engine)
        add, added = PostgresStore.add_session, [0]

        def failing(store: PostgresStore, *arguments: Any) -> int:
            added[0] += 1
            if added[0] > 15:
                raise StoreUnavailableError("the server went away")
            return add(store, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(PostgresStore, "add_session", failing)
            with pytest.raises(StoreUnavailableError):
                learn_partitions(engine, parts, threads)
        assert view(engine) == before
        assert learn_partitions(engine, parts, threads).new_sessions == 20
        assert engine.stats()["session_count"] == 30


def test_a_partition_that_changes_meanwhile_is_noticed(tmp_path: Path, threads: Any) -> None:
    """What was planned of one content is not learned of another: where a worker is lost its partition is read anew."""
    from procedural_memory.distributed.partials import learn_part, read_part
    from procedural_memory.privacy import Privacy

    path = write(tmp_path / "a.jsonl", MADE[:10])
    before = read_part(str(path), {}, Privacy(), 3)
    write(path, MADE[1:11])
    now = read_part(str(path), {}, Privacy(), 3)
    with pytest.raises(Exception, match=r"a\.jsonl.*was changed while"):
        learn_part(now, before.head.fingerprint, [0], set(), 4, 3, 0.0)


def test_bad_arguments(tmp_path: Path, threads: Any) -> None:
    """Each is named, with the rule and what was given."""
    path = write(tmp_path / "a.jsonl", MADE[:3])
    (tmp_path / "a.csv").touch()
    (tmp_path / "empty").mkdir()
    pq.write_table(pa.table({"line": ["ls"]}), tmp_path / "a.parquet")
    with fresh() as engine:
        for given in ([], 7, [7], b"a.jsonl"):
            with pytest.raises(InvalidTypeError, match="partitions"):
                learn_partitions(engine, given, threads)  # type: ignore[arg-type]
        (tmp_path / "a.parquet.gz").touch()
        with pytest.raises(
            InvalidInputError, match=r"must end in \.jsonl, \.ndjson \(each also with .*, got .*parquet\.gz"
        ):
            learn_partitions(engine, tmp_path / "a.parquet.gz", threads)
        for name, rule in (
            ("none-*.jsonl", "no file"),
            ("empty", "no file; none in the folder ends in"),
            ("no/folder", "no file; check"),
            ("a.csv", r"must end in .jsonl"),
        ):
            with pytest.raises(InvalidInputError, match=rule):
                learn_partitions(engine, tmp_path / name, threads)
        with pytest.raises(InvalidInputError, match="nosuch"):
            learn_partitions(engine, "nosuch://bucket/a.jsonl", threads)
        with pytest.raises(HistoryError, match=r"missing\.jsonl.*check the address"):
            learn_partitions(engine, tmp_path / "missing.jsonl", threads)
        with pytest.raises(
            InvalidInputError,
            match=r"^partition 'file://.*a\.parquet': .*'commands'.*'session_id' and 'command'.*'line'",
        ):
            learn_partitions(engine, tmp_path / "a.parquet", threads)
        with pytest.raises(InvalidTypeError, match="client"):
            learn_partitions(engine, path, "tcp://127.0.0.1:1")
        closed = distributed.Client(threads.scheduler.address)
        closed.close()
        with pytest.raises(InvalidInputError, match="client: is closed; make a new one"):
            learn_partitions(engine, path, closed)
        with pytest.raises(InvalidTypeError, match="engine"):
            learn_partitions(str(path), path, threads)  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="progress"):
            learn_partitions(engine, path, threads, progress=7)  # type: ignore[arg-type]


def test_turned_off(tmp_path: Path, threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything turned off nothing is read."""
    monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", "1")
    with fresh() as engine:
        assert learn_partitions(engine, tmp_path / "missing.jsonl", threads).partitions == ()


@pytest.mark.parametrize("package", ["distributed", "fsspec"])
def test_a_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """One line says what to install, and no memory is left."""
    monkeypatch.setitem(sys.modules, package, None)
    with (
        fresh() as engine,
        pytest.raises(MissingExtraError, match=rf"^{package}.*pip install 'omnimemory-procedural\[distributed\]'"),
    ):
        learn_partitions(engine, tmp_path)
    command = ["learn-partitions", str(tmp_path), "--path", str(tmp_path / "m.sqlite3")]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 1
    assert told.output.startswith(f"Error: {package}")
    assert not list(tmp_path.iterdir())


def test_on_the_command_line(tmp_path: Path) -> None:
    """The command tells what it learned and what it left out, and names a cluster that does not answer."""
    write(tmp_path / "a.jsonl", MADE[:10])
    (tmp_path / "b.jsonl").write_text("{\n", encoding="utf-8")
    memory = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical"]
    arguments = ["learn-partitions", str(tmp_path / "*.jsonl"), *memory]
    nobody = CliRunner().invoke(main, [*arguments, "--scheduler", "nowhere://127.0.0.1:1"])
    assert nobody.exit_code == 1
    assert "'nowhere://127.0.0.1:1': no cluster answers" in nobody.output
    with distributed.LocalCluster(
        n_workers=1, host="127.0.0.1", processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    ) as cluster:
        told = CliRunner().invoke(main, [*arguments, "--scheduler", cluster.scheduler_address])
        assert told.exit_code == 0, told.output
        assert "2 partitions: 10 sessions were new, 0 known" in told.output
        assert "1 row or session that breaks a rule" in told.output
        assert "b.jsonl, line 1: is not valid JSON" in told.output
        again = CliRunner().invoke(main, [*arguments, "--scheduler", cluster.scheduler_address, "--json"])
        report = json.loads(again.stdout)["partitions"]
        assert [part["known_sessions"] for part in report] == [10, 0]


def test_nothing_is_left_of_a_command_that_fails(tmp_path: Path) -> None:
    """No new memory, and no new folder; a memory that was there stays, and one that another process has open."""
    good = write(tmp_path / "good.jsonl", MADE[:2])
    write(tmp_path / "conflict.jsonl", [MADE[0], {**MADE[0], "outcome": None}])
    write(tmp_path / "bad.jsonl", [{**MADE[0], "outcome": 7}])
    before = sorted(tmp_path.iterdir())
    memory, embedder = tmp_path / "new" / "folder" / "m.sqlite3", ["--embedder", "lexical"]
    with distributed.LocalCluster(
        n_workers=1, host="127.0.0.1", processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    ) as cluster:

        def told(name: str) -> Any:
            command = ["learn-partitions", str(tmp_path / name), "--path", str(memory), *embedder]
            return CliRunner().invoke(main, [*command, "--scheduler", cluster.scheduler_address])

        for name, reason in (
            ("missing.jsonl", "check the address"),
            ("conflict.jsonl", "different content"),
            ("bad.jsonl", "all that stands in 1 partition breaks a rule"),
        ):
            failed = told(name)
            assert failed.exit_code == 1
            assert reason in failed.output
            assert sorted(tmp_path.iterdir()) == before, name
        with fresh(path=memory):
            assert told("conflict.jsonl").exit_code == 1
        assert memory.exists()
        assert "1 partition: 2 sessions were new" in told(good.name).output
        assert told("conflict.jsonl").exit_code == 1
    with fresh(path=memory) as engine:
        assert engine.stats()["session_count"] == 2


def test_a_memory_that_is_in_use_is_not_taken_away(tmp_path: Path) -> None:
    """Also where it was made meanwhile and holds nothing yet."""
    from procedural_memory.storage.sqlite import take_away

    path = tmp_path / "m.sqlite3"
    with fresh(path=path) as engine:
        take_away(path)
        assert path.exists()
        engine.learn_many(MADE[:1])
    take_away(path)
    assert path.exists()
    with fresh(path=tmp_path / "n.sqlite3"):
        pass
    take_away(tmp_path / "n.sqlite3")
    assert sorted(tmp_path.iterdir()) == [path]


def test_problems_use_the_names_of_the_file(tmp_path: Path, threads: Any) -> None:
    """Columns as they are called there; a row is a row; integers are ids."""
    (tmp_path / "a.jsonl").write_text(
        '{"commands": 7}\n{"session_commands": 7}\n{"commands": [], "outcome": 1}\n{"commands": [{"command": null}]}\n'
    )
    steps = {"session_id": [7, 7, 7, 7], "command": ["git pull", None, "make", "git push"], "exit_code": [0, 0, 0.5, 0]}
    pq.write_table(pa.table(steps), tmp_path / "b.parquet")
    sessions = {"session": [7, None], "commands": [["ls", "cd", "make"]] * 2, "outcome": ["success", "great"]}
    pq.write_table(pa.table(sessions), tmp_path / "c.parquet")
    with fresh() as engine:
        report = learn_partitions(engine, [tmp_path / "a.jsonl", tmp_path / "b.parquet"], threads)
        problems = [problem.split("/")[-1] for part in report.partitions for problem in part.problems]
        rules = (
            "a.jsonl, line 1: commands: must be a list",
            "a.jsonl, line 2: session_commands: must be a list",
            "a.jsonl, line 3: outcome: must be 'success'",
            "a.jsonl, line 4: commands[0]: must have a 'command', got null",
            "b.parquet, row 2: must have a 'command', got null",
            "b.parquet, row 3: exit_code: must be a whole number",
        )
        assert len(problems) == len(rules)
        for problem, rule in zip(problems, rules, strict=True):
            assert problem.startswith(rule)
        assert report.partitions[1].sessions == 1
        assert report.partitions[1].short_sessions == 1
        (found,) = learn_partitions(engine, tmp_path / "c.parquet", threads).partitions
        assert (found.new_sessions, found.problems[0].split("/")[-1][:25]) == (1, "c.parquet, row 2: outcome")
        with pytest.raises(SessionConflictError):
            engine.learn_workflow(["ls"] * 3, session_id="7")


def test_the_benchmark_tells_the_ranker_apart(tmp_path: Path) -> None:
    """Of one process by what it took there: of few commands it is most, and never more than all."""
    begin = time.perf_counter()
    found = learn_distributed.alone(learn_distributed.write(tmp_path, 60, 2), tmp_path / "m.sqlite3")
    whole = time.perf_counter() - begin
    assert min(found.values()) > 0
    assert found["seconds"] + found["ranker"] < whole


def test_the_import_is_light() -> None:
    """Dask and what reads files are loaded when they are used."""
    code = (
        "import sys, procedural_memory.distributed;"
        "print([n for n in ('dask', 'distributed', 'fsspec', 'pyarrow') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_damaged_packed_files(tmp_path: Path, threads: Any, packing: str) -> None:
    """Whatever is wrong within, the error names the file."""
    fsspec = pytest.importorskip("fsspec")
    lines = "".join(json.dumps(session) + "\n" for session in made(1, 300))
    path = tmp_path / f"a.jsonl.{packing}"
    if packing == "zst":
        path.write_bytes(pa.compress(lines.encode(), "zstd", asbytes=True))
    else:
        with fsspec.open(str(path), "wt", compression="infer") as file:
            file.write(lines)
    good = path.read_bytes()
    for content, count in ((good, 300), (good + good, 600)):
        path.write_bytes(content)
        assert len(list(partitions.read_items(str(path), {}, lambda line, problem: None))) == count
    with fresh() as engine:
        for content in (good[:40] + b"\x00\xff\x13\x77" * 10 + good[80:], b"not packed at all", good[: len(good) // 2]):
            path.write_bytes(content)
            with pytest.raises(HistoryError, match=rf"a\.jsonl\.{packing}.*cannot be read"):
                learn_partitions(engine, path, threads)


def test_values_of_parquet_that_are_out_of_range(tmp_path: Path, threads: Any) -> None:
    """They are bad rows; the other ones are learned."""
    lines = ["git pull", "make", "git push", "ls"]
    much = {
        "timestamp": [pa.array([None] * 3 + [2**60], pa.timestamp("us")), pa.array([None] * 3 + [2**30], pa.date32())],
        "duration_ms": [pa.array([None] * 3 + [2**60], pa.duration("s"))],
        "outcome": [pa.array([None] * 3 + [["success"]]), pa.array([None] * 3 + [{"a": 1}])],
    }
    for name, arrays in much.items():
        for array in arrays:
            columns = {"session_id": ["s"] * 4, "command": lines, name: array}
            pq.write_table(pa.table(columns), tmp_path / "steps.parquet")
            with fresh() as engine:
                (report,) = learn_partitions(engine, tmp_path / "steps.parquet", threads).partitions
                assert (report.new_sessions, report.commands) == (1, 3)
                assert len(report.problems) == 1
                assert f"row 4: {name}" in report.problems[0]
    pq.write_table(pa.table({**columns, "outcome": [["success"]] * 4}), tmp_path / "steps.parquet")
    with fresh() as engine:
        assert learn_partitions(engine, tmp_path / "steps.parquet", threads).skipped == 4
    struct = pa.StructArray.from_arrays([pa.array(lines), much["timestamp"][0]], names=["command", "timestamp"])
    listed = pa.ListArray.from_arrays(pa.array([0, 3, 4], pa.int32()), struct)
    pq.write_table(pa.table({"session_id": ["a", "b"], "commands": listed}), tmp_path / "sessions.parquet")
    with fresh() as engine:
        (report,) = learn_partitions(engine, tmp_path / "sessions.parquet", threads).partitions
        assert report.new_sessions == 1
        assert "timestamp" in report.problems[0]


def test_no_address_and_odd_options(tmp_path: Path, threads: Any) -> None:
    """An empty address is not the current folder; options are a mapping."""
    path = write(tmp_path / "a.jsonl", MADE[:3])
    with fresh() as engine:
        with pytest.raises(InvalidInputError, match="must not be empty"):
            learn_partitions(engine, [path, ""], threads)
        with pytest.raises(InvalidInputError, match="must not be empty"):
            learn_partitions(engine, "", threads)
        for options in ("x", [1], 7):
            with pytest.raises(InvalidTypeError, match="storage_options: must be a mapping"):
                learn_partitions(engine, path, threads, storage_options=options)  # type: ignore[arg-type]


def test_passwords_of_addresses_are_not_told(tmp_path: Path, threads: Any) -> None:
    """Neither in an error nor in a report."""
    addresses = [
        "ftp://ann:S3cretPw@127.0.0.1:1/x.jsonl",
        "nosuch://ann:S3cretPw@box/x.jsonl",
        "ftp://ann:S3cretPw@127.0.0.1:1/x.csv",
        "memory://ann:S3cretPw@box/none-*.jsonl",
    ]
    with fresh() as engine:
        for address in addresses:
            with pytest.raises((HistoryError, InvalidInputError)) as caught:
                learn_partitions(engine, address, threads)
            assert "S3cretPw" not in "".join(traceback.format_exception(caught.value)).replace(address, "")
            assert "S3cretPw" not in str(caught.value)
            assert "partitions: " in str(caught.value)


def test_passwords_are_not_in_reports(threads: Any, hosted: Any) -> None:
    """Of a partition that was read, of a conflict, of a file that is missing."""
    address = "hosted://ann:S3cretPw@box"
    for name, lines in (("a", ['{"commands": 7}', *map(json.dumps, MADE[:3])]), ("b", [json.dumps(MADE[5])])):
        with hosted.open(f"memory://box/{name}.jsonl", "wt") as file:
            file.write("\n".join(lines))
    with fresh() as engine:
        report = learn_partitions(engine, f"{address}/a.jsonl", threads)
        assert report.new_sessions == 3
        assert report.skipped == 1
        assert "S3cretPw" not in repr(report)
        engine.learn_many([{**MADE[5], "outcome": None}])
        with pytest.raises(SessionConflictError) as conflict:
            learn_partitions(engine, f"{address}/b.jsonl", threads)
        with pytest.raises(HistoryError) as missing:
            learn_partitions(engine, f"{address}/missing.jsonl", threads)
        assert "S3cretPw" not in f"{conflict.value}{missing.value}"


def test_a_worker_that_always_dies(tmp_path: Path) -> None:
    """The error names the partition; nothing is learned."""
    dask = pytest.importorskip("dask")
    files = [write(tmp_path / "a.jsonl", MADE[:10])]
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
        fresh() as engine,
    ):
        client.run(_die_on_reading)
        with pytest.raises(StorageError, match=r"each worker that tried read_part of partition .*a\.jsonl' died"):
            learn_partitions(engine, files, client)
        assert engine.stats()["session_count"] == 0


def _die_on_reading() -> None:
    import os

    from procedural_memory.distributed import partials

    partials.__dict__["read_items"] = lambda *arguments: os._exit(1)


def test_an_error_of_ours_is_told_once(tmp_path: Path) -> None:
    """Without what Dask says of a task that raises."""
    memory = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical"]
    command = [sys.executable, "-m", "procedural_memory", "learn-partitions", str(tmp_path / "missing.jsonl"), *memory]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 1
    assert "missing.jsonl" in told.stderr
    assert "Compute Failed" not in told.stderr
    assert "Traceback" not in told.stderr
