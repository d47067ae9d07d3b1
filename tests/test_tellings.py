"""One step, however many tell of it: shell history, hook and transcript of one shell are one memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_keeping import COMMANDS, fresh, view

from procedural_memory import ProceduralMemoryEngine

START = 1_700_000_000.0
TYPED = ["git pull", "make", "make test", "make test", "git commit -am wip", "git push"]


def told(
    source: str,
    lines: list[str] = TYPED,
    late: float = 0.0,
    host: str | None = "box",
    name: str | None = None,
    outcome: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A session as one source tells of it: `late` seconds behind, with what else it knows of every step."""
    steps = [
        {"command": line, "timestamp": START + 60 * i + late, "host": host, "source": source, **more}
        for i, line in enumerate(lines)
    ]
    return {"session_id": name or f"of {source}", "source": source, "outcome": outcome, "commands": steps}


HISTORY = told("zsh", late=0.4)
HOOK = told("hook", exit_code=0, cwd="/src", duration_ms=120.0, outcome="success")
ATUIN = told("atuin", late=-0.2, exit_code=0, duration_ms=119.0)


def counted(engine: ProceduralMemoryEngine) -> dict[str, Any]:
    """Everything that a user can see of a memory, but for what the rankers learned, which hangs on the order."""
    found = view(engine)
    del found["predictions"]
    return found


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_three_sources_of_one_shell_count_once(order: tuple[int, ...]) -> None:
    """Learned one by one, in whatever order, the counts are those of the hook alone; rebuilt, everything is."""
    sources = [HISTORY, HOOK, ATUIN]
    with fresh() as alone, fresh() as engine:
        alone.learn_many([HOOK])
        for i in order:
            engine.learn_many([sources[i]])
            assert engine.stats()["command_count"] == len(TYPED)
            assert engine.workflow_graph["make"]["make test"]["weight"] == 1
        assert [*engine.workflow_graph.edges] == [*alone.workflow_graph.edges]
        assert [*engine.patterns] == [*alone.patterns]
        engine.rebuild()
        assert counted(engine) == counted(alone)


def test_a_live_hook_and_a_history_read_later(tmp_path: Path) -> None:
    """Steps recorded live, by a process that knows how they ended, are not counted again when the history is read."""
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as shell, shell.session(source="hook", host="box") as s:
        for i, line in enumerate(TYPED):
            s.record(line, exit_code=0, cwd="/src", timestamp=START + 60 * i)
        s.close("success")
    with ProceduralMemoryEngine(path=path, embedder="lexical") as reader:
        before = view(reader)
        reader.learn_many([HISTORY, ATUIN])
        assert view(reader) == before
        assert reader.stats()["total_successes"] == 1


def test_what_one_source_missed_is_counted_after_what_it_followed() -> None:
    """A step that only the history has follows the step before it, not the start of a session."""
    hook = told("hook", exit_code=0, cwd="/src")
    del hook["commands"][2]
    with fresh() as engine:
        engine.learn_many([hook, HISTORY])
        edges = {(a, b): d["weight"] for a, b, d in engine.workflow_graph.edges(data=True)}
        assert edges["make", "make test"] == 2  # once as the hook saw it, once as the history did
        assert ("make test", "make test") not in edges
        assert engine.stats()["command_count"] == len(TYPED)
        assert engine.stats()["session_count"] == len(engine) == 1
        assert engine.causal_chains["git pull"] == [{"next": "make", "outcome": "success", "count": 1}]


@pytest.mark.parametrize(
    "other",
    [
        told("hook", late=2.5),
        told("hook", host="other"),
        told("hook", lines=[f"{line} --now" for line in TYPED]),
        told("zsh", name="another of zsh", late=0.4),
        {**told("hook"), "commands": [{**c, "timestamp": None} for c in told("hook")["commands"]]},
    ],
    ids=["later", "elsewhere", "other lines", "same source", "no time"],
)
def test_what_differs_is_another_step(other: dict[str, Any]) -> None:
    """Other times, hosts and lines are other steps; so are equal ones of one source: typed twice is typed twice."""
    with fresh() as engine:
        engine.learn_many([HISTORY, other])
        assert engine.stats()["command_count"] == 2 * len(TYPED)
        assert engine.stats()["session_count"] == 2


def test_of_half_and_half_one_session_counts() -> None:
    """Two sources that each tell more of half of the steps tell of one session, one pattern and one outcome."""
    lines = TYPED[:4]
    one, two = (told(source, lines, late, outcome="success") for source, late in (("hook", 0.0), ("atuin", 0.3)))
    for richer, steps in ((one, (0, 1)), (two, (2, 3))):
        for i in steps:
            richer["commands"][i] |= {"exit_code": 0, "cwd": "/src"}
    for order in ([one, two], [two, one]):
        with fresh() as engine:
            engine.learn_many(order)
            assert engine.stats()["total_successes"] == engine.stats()["session_count"] == 1
            assert [p.success_count for p in engine.patterns.values()] == [1]
            assert engine.stats()["command_count"] == len(lines)


def test_an_unknown_host_may_be_any() -> None:
    """A history that does not tell its host is that of the machine whose steps it has."""
    with fresh() as engine:
        engine.learn_many([told("hook", exit_code=0), told("bash", host=None)])
        assert engine.stats()["command_count"] == len(TYPED)


def test_forgetting_the_source_that_counts_lets_the_other_one_count() -> None:
    """As if the forgotten one had never been learned."""
    with fresh() as engine, fresh() as alone:
        engine.learn_many([HISTORY, HOOK])
        engine.forget(session=HOOK["session_id"])
        alone.learn_many([HISTORY])
        assert counted(engine) == counted(alone)


lines = st.lists(st.sampled_from(COMMANDS), min_size=3, max_size=6)


@given(
    lines,
    st.lists(
        st.tuples(
            st.sampled_from(["zsh", "atuin", "hook"]),
            st.floats(-1, 1),
            st.sampled_from([None, "box"]),
            st.sampled_from([None, 0, 1]),
            st.sampled_from([None, "/src"]),
            st.integers(0, 2),
        ),
        min_size=2,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
    st.integers(0, 5),
)
@settings(max_examples=25, deadline=None)
def test_order_of_tellings_does_not_matter(
    typed: list[str], tellings: list[tuple[Any, ...]], random: Any, cut: int
) -> None:
    """Learned in two orders and rebuilt, or merged from two memories either way round, the memory is the same."""
    sessions = [
        told(source, typed[missing:] if missing < len(typed) else typed, late, host, f"s{i}", exit_code=code, cwd=cwd)
        for i, (source, late, host, code, cwd, missing) in enumerate(tellings)
    ]
    other = sessions[:]
    random.shuffle(other)
    cut %= len(sessions)
    with fresh() as whole, fresh() as one, fresh() as two, fresh() as left, fresh() as right:
        whole.learn_many(sessions)
        for session in other:
            one.learn_many([session])
        two.learn_many(sessions[:cut])
        left.learn_many(sessions[cut:])
        right.merge(two)
        right.merge(left)
        left.merge(two)
        one.rebuild()
        for engine in (one, left, right):
            assert counted(engine) == counted(whole)
