"""How long the engine takes to learn, predict, search, save and load; with yardsticks in the same run.

Run: ``pytest benchmarks/bench_engine.py --benchmark-only``. Nothing is asserted about time.

Each group has the engine's work and, where there is one, a yardstick: what the bare standard library takes for the part
of the same work that cannot be left out (`sqlite3` for the rows that are logged, `shlex` for cutting a line into words,
`json` for writing and reading the same sessions).
"""

from __future__ import annotations

import importlib
import itertools
import json
import pkgutil
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import procedural_memory.commands
from procedural_memory import ProceduralMemoryEngine, normalize, redact
from procedural_memory.samples import load_demo_session, load_sessions
from procedural_memory.types import Level

SAMPLES = load_sessions()
DEMO = load_demo_session()
LINES = list(dict.fromkeys(step["command"] for session in SAMPLES for step in session["commands"]))
TWENTY = list(itertools.islice(itertools.cycle(DEMO["commands"]), 20))
LOG_COLUMNS = ("command", "exit_code", "cwd", "timestamp", "duration_ms")

STORES = pytest.mark.parametrize("store", ["memory", "file"])


@pytest.fixture(scope="module")
def learned() -> Iterator[ProceduralMemoryEngine]:
    """A memory of the samples, embedded; for tests that only read."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many(SAMPLES)
        engine.flush()
        yield engine


@pytest.fixture
def growing(store: str, tmp_path: Path) -> Iterator[ProceduralMemoryEngine]:
    """A memory of the samples that a test may add to."""
    path = tmp_path / "memory.sqlite3" if store == "file" else None
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        engine.learn_many(SAMPLES)
        engine.flush()
        yield engine


@pytest.fixture
def bare_log(store: str, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty SQLite table with the columns of a log and an index, as durable as the engine's."""
    path = tmp_path / "bare.sqlite3" if store == "file" else ":memory:"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            f"CREATE TABLE log(seq INTEGER PRIMARY KEY, session INT, step INT, {', '.join(LOG_COLUMNS)})"
        )
        connection.execute("CREATE INDEX log_session ON log(session, step)")
        yield connection


def pedantic(benchmark: BenchmarkFixture, function: Callable[..., Any], **options: Any) -> Any:
    """Time a function a set number of times; the method of this name carries no annotations."""
    method: Any = benchmark.pedantic
    return method(function, **options)


def insert(connection: sqlite3.Connection, sessions: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Write the rows of sessions in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for number, steps in enumerate(sessions):
        connection.executemany(
            "INSERT INTO log(session, step, command, exit_code, cwd, timestamp, duration_ms) VALUES (?,?,?,?,?,?,?)",
            [(number, i, *(step[column] for column in LOG_COLUMNS)) for i, step in enumerate(steps)],
        )
    connection.execute("COMMIT")


def renamed(serial: int) -> list[dict[str, Any]]:
    """Return twenty commands, each with a comment that makes its line, not its template, a new one."""
    return [{**step, "command": f"{step['command']}  # {serial}"} for step in TWENTY]


# -- learning


@STORES
@pytest.mark.parametrize("lines", ["known lines", "new lines"])
@pytest.mark.benchmark(group="learn one session of 20 commands")
def test_learn_workflow(benchmark: BenchmarkFixture, growing: ProceduralMemoryEngine, lines: str) -> None:
    serial = itertools.count()

    def session() -> tuple[tuple[list[dict[str, Any]], str], dict[str, Any]]:
        return (TWENTY if lines == "known lines" else renamed(next(serial)), "success"), {}

    before = growing.stats()["command_count"]
    assert pedantic(benchmark, growing.learn_workflow, setup=session, rounds=50) is not None
    assert growing.stats()["command_count"] >= before + 20


@STORES
@pytest.mark.benchmark(group="learn one session of 20 commands")
def test_learn_workflow_yardstick_sqlite3(benchmark: BenchmarkFixture, bare_log: sqlite3.Connection) -> None:
    pedantic(benchmark, insert, args=(bare_log, [TWENTY]), rounds=50)


@STORES
@pytest.mark.benchmark(group="record one step of a live session")
def test_record(benchmark: BenchmarkFixture, growing: ProceduralMemoryEngine) -> None:
    session = growing.session(cwd=DEMO["cwd"], project=DEMO["project"])
    stored = pedantic(
        benchmark, session.record, args=("uv run pytest -q tests/test_refunds.py",), kwargs={"exit_code": 1}, rounds=200
    )
    assert stored.project == DEMO["project"]


@pytest.mark.parametrize("count", [10, len(SAMPLES)])
@pytest.mark.benchmark(group="learn many sessions")
def test_learn_many(benchmark: BenchmarkFixture, count: int) -> None:
    engines: list[ProceduralMemoryEngine] = []

    def empty() -> tuple[tuple[ProceduralMemoryEngine], dict[str, Any]]:
        # The one before must not go on embedding in the background while the next one is timed.
        while engines:
            engines.pop().close()
        engines.append(ProceduralMemoryEngine(embedder="lexical"))
        return (engines[0],), {}

    learned = pedantic(benchmark, lambda engine: engine.learn_many(SAMPLES[:count]), setup=empty, rounds=10)
    engines.pop().close()
    assert len(learned) == count


@pytest.mark.parametrize("store", ["memory"])
@pytest.mark.parametrize("count", [10, len(SAMPLES)])
@pytest.mark.benchmark(group="learn many sessions")
def test_learn_many_yardstick_sqlite3(benchmark: BenchmarkFixture, bare_log: sqlite3.Connection, count: int) -> None:
    pedantic(benchmark, insert, args=(bare_log, [session["commands"] for session in SAMPLES[:count]]), rounds=10)


# -- predicting and searching


@pytest.mark.parametrize("level", ["template", "command"])
@pytest.mark.parametrize("length", [0, 3, len(DEMO["commands"])])
@pytest.mark.benchmark(group="predict, warm")
def test_predict(benchmark: BenchmarkFixture, learned: ProceduralMemoryEngine, length: int, level: Level) -> None:
    context = DEMO["commands"][:length]
    assert learned.predict_next_action(context, 5, level=level)
    benchmark(learned.predict_next_action, context, 5, level=level)


@pytest.mark.parametrize("length", [3, len(DEMO["commands"])])
@pytest.mark.benchmark(group="similar patterns")
def test_similar_patterns(benchmark: BenchmarkFixture, learned: ProceduralMemoryEngine, length: int) -> None:
    found = benchmark(learned.similar_patterns, DEMO["commands"][-length:], 5, 0.0)
    assert len(found) == 5


# -- commands


def forget_commands() -> None:
    """Empty the caches of everything that takes command lines apart; loaded grammars stay."""
    for module in pkgutil.iter_modules(procedural_memory.commands.__path__, "procedural_memory.commands."):
        for value in vars(importlib.import_module(module.name)).values():
            if hasattr(value, "cache_clear") and (value.cache_info().maxsize or 0) > 1:
                value.cache_clear()


def normalize_all() -> list[str]:
    """Return the template of each distinct sample command."""
    return [normalize(line) for line in LINES]


def split_all() -> int:
    """Cut each distinct sample command into words; return how many lines `shlex` could not read."""
    failed = 0
    for line in LINES:
        try:
            shlex.split(line)
        except ValueError:
            failed += 1
    return failed


@pytest.mark.benchmark(group=f"take {len(LINES)} distinct commands apart")
def test_normalize_cold(benchmark: BenchmarkFixture) -> None:
    normalize("true")
    templates = pedantic(benchmark, normalize_all, setup=forget_commands, rounds=10)
    assert len(templates) == len(LINES)


@pytest.mark.benchmark(group=f"take {len(LINES)} distinct commands apart")
def test_normalize_cached(benchmark: BenchmarkFixture) -> None:
    normalize_all()
    assert len(benchmark(normalize_all)) == len(LINES)


@pytest.mark.benchmark(group=f"take {len(LINES)} distinct commands apart")
def test_normalize_yardstick_shlex(benchmark: BenchmarkFixture) -> None:
    assert benchmark(split_all) < len(LINES)


@pytest.mark.benchmark(group=f"take {len(LINES)} distinct commands apart")
def test_redact(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(lambda: [redact(line) for line in LINES])) == len(LINES)


@pytest.mark.parametrize("size", [100, 10_000])
@pytest.mark.benchmark(group="redact one command with a secret")
def test_redact_one(benchmark: BenchmarkFixture, size: int) -> None:
    secret = "AKIA" + "Q4XWJ2ZT7MPK3DRV"
    line = f"AWS_ACCESS_KEY_ID={secret} aws s3 cp --recursive " + "./build/report.csv " * (size // 19) + "s3://bucket/"
    assert secret not in benchmark(redact, line)


# -- keeping


@pytest.mark.parametrize("form", ["pkl", "json"])
@pytest.mark.benchmark(group="save the samples")
def test_save(benchmark: BenchmarkFixture, learned: ProceduralMemoryEngine, tmp_path: Path, form: str) -> None:
    assert benchmark(learned.save, tmp_path / f"memory.{form}").stat().st_size > 0


@pytest.mark.benchmark(group="save the samples")
def test_save_yardstick_json(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    target = tmp_path / "sessions.json"
    benchmark(lambda: target.write_text(json.dumps(SAMPLES), encoding="utf-8"))


@pytest.mark.parametrize("form", ["pkl", "json"])
@pytest.mark.benchmark(group="load the samples")
def test_load(benchmark: BenchmarkFixture, learned: ProceduralMemoryEngine, tmp_path: Path, form: str) -> None:
    saved = learned.save(tmp_path / f"memory.{form}")
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        loaded = pedantic(benchmark, engine.load, args=(saved,), rounds=10, warmup_rounds=1)
        assert loaded.sessions == len(SAMPLES)


@pytest.mark.benchmark(group="load the samples")
def test_load_yardstick_json(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    target = tmp_path / "sessions.json"
    target.write_text(json.dumps(SAMPLES), encoding="utf-8")
    assert len(benchmark(lambda: json.loads(target.read_text(encoding="utf-8")))) == len(SAMPLES)
