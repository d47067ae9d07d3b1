"""Bounded memory: the most useful patterns are in use, the others on the shelf, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import PostgresServer

from procedural_memory import InvalidInputError, InvalidTypeError, ProceduralMemoryEngine, WorkflowPattern
from procedural_memory.repair import check
from procedural_memory.storage.address import is_address
from procedural_memory.storage.base import HALF_LIFE, Bounds, moment, usefulness

START = 1_600_000_000.0
Run = tuple[int, int, Any]
"""Which workflow, in which month, and how it ended."""

runs = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.sampled_from(["success", "failure", None])), max_size=20
)


def session(run: Run, name: str) -> dict[str, Any]:
    """Return a session."""
    workflow, month, outcome = run
    lines = ["git pull", f"tool{workflow} build", "make"] + ["make test"] * (workflow % 3)
    commands = [{"command": line, "timestamp": START + month * HALF_LIFE} for line in lines]
    return {"commands": commands, "outcome": outcome, "session_id": name}


def sessions(told: Iterable[Run], first: int = 0) -> list[dict[str, Any]]:
    """Return sessions with the names s0, s1, …"""
    return [session(run, f"s{number}") for number, run in enumerate(told, first)]


def fresh(**options: Any) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(embedder="lexical", **options)


def seen(engine: ProceduralMemoryEngine) -> dict[str, WorkflowPattern]:
    """Return the patterns as users see them."""
    return dict(engine.patterns)


def worth(pattern: WorkflowPattern) -> float:
    """Return what the order is by."""
    newest = moment(pattern.last_seen, "s", 0)
    return usefulness(pattern.success_count, pattern.failure_count, pattern.unknown_count, newest)


def sizes(engine: ProceduralMemoryEngine, shelf: bool = False) -> dict[str, int]:
    """Return what patterns count for `max_memory`, those in use or those on the shelf."""
    source = "shelf" if shelf else "rank JOIN pattern p ON p.id = rank.pattern"
    return dict(rows(engine, f"SELECT pattern_id, size FROM {source}"))


def rows(engine: ProceduralMemoryEngine, sql: str) -> list[Any]:
    """Return what a store has in its tables."""
    found: list[Any] = engine._store._all(sql)  # type: ignore[attr-defined]
    return found


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a memory is that several use: a file, or on a server."""
    if request.param == "file":
        return str(tmp_path / "m.sqlite3")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.address()


@settings(max_examples=15, deadline=None)
@given(told=runs, more=runs, bound=st.integers(1, 5))
def test_the_most_useful_patterns_are_in_use_in_whatever_order_they_came(
    told: list[Run], more: list[Run], bound: int
) -> None:
    """Never more than the bound, the best of all; the same after a rebuild, a merge and in the other order."""
    every = sessions(told) + sessions(more, len(told))
    with fresh() as unbound, fresh(max_patterns=bound) as one, fresh(max_patterns=bound) as other, fresh() as half:
        unbound.learn_many(every)
        for item in every:
            one.learn_many([item])
            assert len(one) <= bound
        other.learn_many(every[: len(told)][::-1])
        half.learn_many(every[len(told) :])
        other.merge(half)
        best = sorted(seen(unbound).values(), key=lambda p: -worth(p))
        floor = worth(best[bound - 1]) if len(best) >= bound else -1e9
        expected = {p.pattern_id: p for p in best}
        assert len(one) == min(bound, len(best))
        assert all(worth(p) >= floor and expected[p.pattern_id] == p for p in seen(one).values())
        assert one.stats()["shelved_pattern_count"] == len(best) - len(one)
        assert seen(other) == seen(one)
        before = seen(one)
        one.rebuild()
        assert seen(one) == before
        assert {p.pattern_id for p in one.similar_patterns(["git pull", "make", "make test"], 9, 0.0)} <= set(before)


@settings(max_examples=15, deadline=None)
@given(told=runs, bound=st.integers(250, 2500))
def test_the_patterns_in_use_take_no_more_bytes(told: list[Run], bound: int) -> None:
    """As many of the most useful ones as fit, whatever came in between."""
    with fresh(max_memory=bound) as engine, fresh() as unbound:
        for item in sessions(told):
            engine.learn_many([item])
            assert sizes(engine).keys() == seen(engine).keys()
            assert sum(sizes(engine).values()) <= bound
        unbound.learn_many(sessions(told))
        every, kept, out = seen(unbound), sizes(engine), sizes(engine, shelf=True)
        assert kept.keys() | out.keys() == every.keys()
        fitting = [worth(every[name]) for name in out if out[name] <= bound]
        assert all(worth(every[name]) >= max(fitting, default=-1e9) for name in kept)
        left = bound - sum(kept.values())
        assert not fitting or any(out[name] > left for name in out if worth(every[name]) == max(fitting))


@settings(max_examples=10, deadline=None)
@given(
    told=runs,
    bounds=st.lists(
        st.fixed_dictionaries({}, optional={"max_patterns": st.integers(0, 5), "max_memory": st.integers(0, 2500)}),
        min_size=2,
        max_size=2,
    ),
)
def test_a_server_keeps_those_in_use_that_a_file_keeps(
    postgres: PostgresServer, told: list[Run], bounds: list[dict[str, int]]
) -> None:
    """One by one, also when the bounds change; its tables say the same of what is in use, and of what is not."""
    address = postgres.address()
    every = sessions(told)
    columns = "worth, size FROM rank", "pattern_id, success, failure, unknown, example, worth, size FROM shelf"
    with fresh() as alone:
        for asked, part in zip(bounds, (every[:10], every[10:]), strict=True):
            with fresh(path=address, **asked) as server:
                alone._store.bound_patterns(server._store.bounds())
                for item in part:
                    for engine in (server, alone):
                        engine.learn_many([item])
                    assert seen(server) == seen(alone)
                for each, key in zip(columns, ("pattern", "id"), strict=True):
                    sql = f"SELECT {key}, {each} ORDER BY {key}"
                    assert [*map(tuple, rows(server, sql))] == rows(alone, sql)
                sql = "SELECT key, pattern FROM posting ORDER BY key, pattern"
                assert [*map(tuple, rows(server, sql))] == rows(alone, sql)
                assert server._store.meta("in_use") == alone._store.meta("in_use")
                assert server.stats()["shelved_pattern_count"] == alone.stats()["shelved_pattern_count"]
                assert not told or server.similar_patterns(["git pull"], 9, 0) == alone.similar_patterns(
                    ["git pull"], 9, 0
                )


def test_many_are_moved_at_once(postgres: PostgresServer) -> None:
    """More than are read in one go, from the shelf and to it."""
    told = [
        {"commands": [f"tool{number} a", f"tool{number} b", "make"], "session_id": f"s{number}"}
        for number in range(150)
    ]
    with fresh() as unbound, fresh(path=postgres.address(), max_patterns=100) as engine:
        unbound.learn_many(told)
        engine.learn_many(told)
        best = sorted(seen(unbound).values(), key=worth)
        for bound in (100, 7, 120, 149, 1):
            engine._store.bound_patterns(Bounds(patterns=bound))
            assert seen(engine) == {pattern.pattern_id: pattern for pattern in best[-bound:]}
        engine.learn_many([{**item, "session_id": f"again {item['session_id']}"} for item in told[:90]])
        assert len(engine) == 1
        assert engine.stats()["shelved_pattern_count"] == 149


def test_a_copy_of_a_bounded_memory_on_a_server_is_one_in_a_file(postgres: PostgresServer, tmp_path: Path) -> None:
    """With its bounds, and its shelf, from which patterns come back."""
    with fresh(path=postgres.address(), max_patterns=2) as engine, fresh(max_patterns=2) as alone:
        for each in (engine, alone):
            each.learn_many(sessions((number, number, "success") for number in range(5)))
        copy = engine.save(tmp_path / "copy.sqlite")
        kept = seen(engine)
        assert {found.verdict for found in check(copy, deep=True)} == {"ok"}
        with fresh(path=copy) as copied:
            for table in ("rank", "shelf", "posting"):
                sql = f"SELECT * FROM {table} ORDER BY 1, 2"
                assert rows(copied, sql) == rows(alone, sql)
            assert seen(copied) == kept
            (again,) = copied.learn_many(sessions([(0, 9, "success")], 9))
            assert again is not None
            assert copied.patterns[again].success_count == 2


def test_a_pattern_that_comes_again_comes_back_with_its_counts(place: str) -> None:
    """The least useful one goes on the shelf; another session brings it back, and another one goes."""
    with fresh(path=place, max_patterns=2) as engine:
        old, newer, newest = (engine.learn_many([s])[0] for s in sessions([(0, 0, None), (1, 1, None), (2, 2, None)]))
        assert set(engine.patterns) == {newer, newest}
        assert old not in engine.patterns
        assert old not in {
            match.pattern_id for match in engine.similar_patterns(["git pull", "tool0 build", "make"], 9, 0)
        }
        assert engine.patterns.page()[1] == 2
        assert sum(engine.stats()["pattern_states"].values()) == 2
        assert old is not None
        again = engine.learn_many(sessions([(0, 3, "failure")], 9))[0]
        assert again == old
        assert set(engine.patterns) == {old, newest}
        assert (engine.patterns[old].unknown_count, engine.patterns[old].failure_count) == (1, 1)
        assert engine.similar_patterns(["git pull", "tool0 build", "make"])[0].pattern_id == old
        assert engine.predict_next_action(["git pull", "tool0 build"], top_k=1)[0].next_command == "make"
        assert engine.stats()["shelved_pattern_count"] == 1
    if not is_address(place):
        assert {found.verdict for found in check(Path(place), deep=True)} == {"ok"}


def test_the_bound_holds_for_all_who_use_the_store(place: str) -> None:
    """Kept by the store: who asks for none changes nothing, 0 takes it away, another one brings back or puts away."""
    told = sessions((number, number % 6, "success") for number in range(8))
    with fresh(path=place, max_patterns=3) as engine, fresh(path=place) as other:
        other.learn_many(told[:6])
        assert len(engine) == len(other) == 3
        other.learn_many(told[6:])
        assert len(engine) == len(other) == 3
        # What one process moved, another one has not kept as it read it.
        assert engine.similar_patterns(["git pull"], 9, 0) == other.similar_patterns(["git pull"], 9, 0)
        assert (other.stats()["max_patterns"], other.stats()["max_memory"]) == (3, None)
    with fresh(path=place) as engine:
        assert len(engine) == 3
        three = set(engine.patterns)
    with fresh(path=place, max_patterns=5) as engine:
        assert len(engine) == 5
        assert three < set(engine.patterns)
    with fresh(path=place, max_patterns=0) as engine:
        assert len(engine) == 8
        assert engine.stats()["shelved_pattern_count"] == 0
    with fresh(path=place, max_memory=1) as engine:
        assert len(engine) == 0
        assert engine.stats()["shelved_pattern_count"] == 8
        assert engine.predict_next_action(["git pull"], top_k=1)  # counts are not bounded


def test_one_that_fits_by_no_means_keeps_nobody_out(place: str) -> None:
    """A workflow that is larger than the bound goes on the shelf alone, however useful it is."""
    with fresh(path=place, max_memory=2_000) as engine:
        small = engine.learn_many(sessions([(0, 0, "success")]))
        engine.learn_workflow([{"command": f"make {'x' * 50}{i}", "timestamp": START + 1e7} for i in range(100)])
        assert [*engine.patterns] == small
        assert engine.stats()["shelved_pattern_count"] == 1


def test_what_was_forgotten_is_on_no_shelf(place: str, tmp_path: Path) -> None:
    """Forgetting equals never having learned, for what is in use and what is not; nothing is left in the file."""
    told = sessions([(0, 0, "success"), (1, 1, "success"), (2, 2, "success")])
    told[0]["commands"].append({"command": "make zqprivate", "timestamp": START})
    with fresh(path=place, max_patterns=2) as engine:
        engine.learn_many(told)
        assert engine.stats()["shelved_pattern_count"] == 1
        engine.forget(session="s0")
        assert engine.stats()["shelved_pattern_count"] == 0
        assert not any("zqprivate" in str(row) for row in rows(engine, "SELECT * FROM shelf"))
        engine.forget(session="s2")
        assert len(engine) == 1
    assert b"zqprivate" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_the_order_is_by_support_then() -> None:
    """A month halves; a failure counts a quarter; another session is never a loss."""
    when = moment(START, "s", 0)
    assert usefulness(4, 0, 0, when) == usefulness(2, 0, 0, moment(START + HALF_LIFE, "s", 0))
    assert usefulness(1, 0, 0, when) > usefulness(0, 0, 1, when) > usefulness(0, 1, 0, when)
    assert usefulness(3, 2, 9, when) < min(usefulness(*counts, when) for counts in ((4, 2, 9), (3, 3, 9), (3, 2, 10)))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"max_patterns": -1}, InvalidInputError, r"max_patterns: must be 0 \(no bound\) or more, got -1"),
        ({"max_memory": 1.5}, InvalidTypeError, "max_memory: must be an integer of 0"),
        ({"max_patterns": True}, InvalidTypeError, "max_patterns"),
        ({"max_patterns": 10**30}, InvalidInputError, "max_patterns: must be at most 9223372036854775807, got 1000"),
        ({"max_memory": 2**63}, InvalidInputError, "max_memory: must be at most 9223372036854775807"),
        ({"min_commands": 2**63}, InvalidInputError, "min_commands: must be at most"),
    ],
)
def test_a_bound_that_is_none_is_refused(
    options: dict[str, Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    """Before anything is opened."""
    with pytest.raises(error, match=says):
        fresh(path=tmp_path / "m.sqlite3", **options)
    assert not list(tmp_path.iterdir())
