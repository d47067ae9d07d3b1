"""The loop: nothing is seen before it is predicted, and each step lands in the right place."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers.base import Peer
from peers.counts import Markov, MostFrequent

from procedural_memory import InvalidInputError, ProceduralMemoryEngine
from procedural_memory.evaluation.predictors import Context, EnginePredictor, Predictor, Ranking
from procedural_memory.evaluation.prequential import BLOCK, evaluate
from procedural_memory.evaluation.report import summary
from procedural_memory.evaluation.sessions import EvaluationLevel, EvaluationSession, Step, as_sessions, chosen
from procedural_memory.types import Outcome

TOOLS = [f"tool{number} go" for number in range(8)]


def session(commands: list[Any], **fields: Any) -> dict[str, Any]:
    """Return a session as a file holds it."""
    return {"commands": commands, **fields}


class Spy:
    """Notes every call, and checks that a step is learned strictly after it was predicted at both levels."""

    def __init__(self, said: Ranking | None = None) -> None:
        self.said = said or []
        self.calls: list[tuple[str, Any]] = []
        self.past: list[Step] = []
        self.asked: list[EvaluationLevel] = []

    def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
        """Check and note."""
        assert list(context.steps) == self.past, "a context holds exactly what was learned in this session"
        self.asked.append(level)
        self.calls.append(("predict", len(context.steps)))
        return self.said

    def learn(self, step: Step) -> None:
        """Check and note."""
        assert sorted(self.asked) == ["full", "template"], "each step is predicted once at each level, then learned"
        self.asked = []
        self.past.append(step)
        self.calls.append(("learn", step.command.command))

    def end(self, outcome: Outcome) -> None:
        """Note."""
        self.past = []
        self.calls.append(("end", outcome))

    def close(self) -> None:
        """Note."""
        self.calls.append(("close", None))


def test_learning_is_strictly_after_prediction() -> None:
    """Predict, predict, learn for each step, the first of a session included; the outcome comes last."""
    spy = Spy()
    evaluate(as_sessions([session(["a", "b"], outcome="success"), session(["c"], outcome="failure")]), lambda: spy)
    assert spy.calls == [
        ("predict", 0), ("predict", 0), ("learn", "a"), ("predict", 1), ("predict", 1), ("learn", "b"),
        ("end", "success"),
        ("predict", 0), ("predict", 0), ("learn", "c"), ("end", "failure"),
        ("close", None),
    ]  # fmt: skip


def cycles(shuffled: bool) -> list[EvaluationSession]:
    """Return sessions that go round through `TOOLS`, or the same steps in a random order."""
    steps = [TOOLS[step % len(TOOLS)] for _ in range(20) for step in range(16)]
    if shuffled:
        random.Random(5).shuffle(steps)
    return as_sessions([session(steps[start : start + 16], session=str(start)) for start in range(0, len(steps), 16)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: EnginePredictor(ProceduralMemoryEngine(embedder="lexical")),
        lambda: Peer(lambda: Markov(2)),
    ],
    ids=["engine", "Markov-2"],
)
def test_shuffled_labels_score_at_chance(make: Callable[[], Predictor]) -> None:
    """Where the next step cannot be known, it is not: one in eight; in order, nearly always."""
    in_order = summary(evaluate(cycles(shuffled=False), make))["levels"]
    at_random = summary(evaluate(cycles(shuffled=True), make))["levels"]
    for level in in_order:
        assert in_order[level]["overall"]["hit@1"] > 0.85
        low, high = at_random[level]["overall"]["hit@1 95 %"]
        assert low < 1 / len(TOOLS) < high or at_random[level]["overall"]["hit@1"] < 1 / len(TOOLS)


def test_kinds_of_steps() -> None:
    """Seen and repeated are told apart by level; multi-line and after a failure by the commands."""
    trace = evaluate(
        as_sessions(
            [
                session([{"command": "cat a.txt", "exit_code": 1}, "cat a.txt", "cat b.txt"]),
                session(["cat b.txt", {"command": "cat <<E\nx\nE", "exit_code": 0}, "ls"]),
            ]
        ),
        Spy,
    )
    assert trace.levels["template"].seen.tolist()[:4] == [False, True, True, True]
    assert trace.levels["template"].repeated.tolist()[:4] == [False, True, True, False]
    assert trace.levels["full"].seen.tolist() == [False, True, False, True, False, False]
    assert trace.levels["full"].repeated.tolist() == [False, True, False, False, False, False]
    assert trace.multi_line.tolist() == [False, False, False, False, True, False]
    assert trace.after_failure.tolist() == [False, True, False, False, False, False]


def test_ranks_of_both_lists() -> None:
    """A rank is a place in the level's own list; the template hits of the default list are told apart."""

    class Said(Spy):
        def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
            super().predict(context, level)
            full = [("ls", 0.5), ("cat b.txt", 0.3), ("cat a.txt", 0.1)]
            return full if level == "full" else [("cat <FILE>", 0.6)]

    trace = evaluate(as_sessions([session(["cat a.txt", "make"])]), Said)
    assert trace.levels["full"].rank.tolist() == [2, -1]
    assert trace.levels["template"].rank.tolist() == [0, -1]
    assert trace.levels["template"].default_rank.tolist() == [1, -1]
    assert trace.levels["full"].log_loss[0] == pytest.approx(-np.log(0.1))


def test_a_memory_for_each_user() -> None:
    """Per user, nothing of one is known to the other, and each user weighs the same."""
    sessions = as_sessions([session(["make"] * 9, user="a"), session(["make"], user="b")])
    together = summary(evaluate(sessions, lambda: Peer(MostFrequent)))
    apart = summary(evaluate(sessions, lambda: Peer(MostFrequent), per_user=True))
    assert (together["memories"], apart["memories"]) == (1, 2)
    assert together["levels"]["full"]["overall"]["hit@1"] == pytest.approx(9 / 10)
    assert apart["levels"]["full"]["overall"]["hit@1"] == pytest.approx((8 / 9 + 0) / 2)


def test_units_of_the_bootstrap() -> None:
    """Sessions; blocks of 200 steps where each user has one endless session."""
    with_sessions = evaluate(as_sessions([session(["ls"] * 300, user="a")] * 2), Spy)
    assert len(set(with_sessions.unit.tolist())) == 2
    without = evaluate(as_sessions([session(["ls"] * (2 * BLOCK + 1), user="a")]), Spy)
    assert np.unique(without.unit, return_counts=True)[1].tolist() == [BLOCK, BLOCK, 1]


def test_warm_up_and_held_out() -> None:
    """Warm-up sessions are learned and not predicted; offline, the others are predicted and not learned."""

    class Notes(Spy):
        def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
            self.calls.append(("predict", len(context.steps)))
            return []

        def learn(self, step: Step) -> None:
            self.calls.append(("learn", step.command.command))

    spy = Notes()
    trace = evaluate(as_sessions([session(["a"]), session(["b", "c"])]), lambda: spy, warm_up=1, online=False)
    assert spy.calls == [
        ("learn", "a"), ("end", None), ("predict", 0), ("predict", 0), ("predict", 1), ("predict", 1), ("close", None),
    ]  # fmt: skip
    assert (len(trace.memory), trace.sessions) == (2, 1)
    with pytest.raises(InvalidInputError, match="warm_up: must leave a session to predict, got 2 of 2 sessions"):
        evaluate(as_sessions([session(["a"]), session(["b"])]), Notes, warm_up=2)


def test_the_engine_is_told_of_project_output_and_outcome() -> None:
    """A path that only an output named is proposed; the outcome of the session arrives."""
    engine = ProceduralMemoryEngine(embedder="lexical")
    told = [
        session(
            [{"command": "rg todo", "output": f"src/m{n}.py:1: todo"}, f"cat src/m{n}.py", "make"], outcome="failure"
        )
        for n in range(12)
    ]
    predictor = EnginePredictor(engine)
    predictor.close = lambda: None  # type: ignore[method-assign]  # to be looked at afterwards
    trace = evaluate(as_sessions([{**item, "project": "shop"} for item in told]), lambda: predictor)
    new_lines = trace.levels["full"].rank[1::3]
    assert not trace.levels["full"].seen[1::3].any()
    assert (new_lines[4:] == 0).mean() > 0.5
    assert engine.stats()["total_failures"] == 12
    engine.close()


def test_parts_of_the_sessions() -> None:
    """A sample is fixed and keeps the order; limits count sessions, and steps of each user."""
    sessions = as_sessions([session(["a", "b", "c"], user=str(n % 2), session=str(n)) for n in range(200)])
    sampled = chosen(sessions, sample=0.2)
    assert 20 <= len(sampled) <= 60
    assert sampled == [s for s in sessions if s in chosen(list(reversed(sessions)), sample=0.2)]
    assert len(chosen(sessions, limit=7)) == 7
    cut = chosen(sessions, limit_steps=4)
    assert [len(s.steps) for s in cut] == [3, 3, 1, 1]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"commands": ["ls", ""]}, r"sessions\[0\]\.commands\[1\]: must not be empty"),
        ({"commands": "ls"}, r"sessions\[0\]\.commands: must be a list of commands"),
        ({"commands": ["ls"], "outcome": "fine"}, r"sessions\[0\]\.session_outcome: must be 'success'"),
        ({"commands": [{"command": "ls", "output": 5}]}, "output: must be a string, bytes or None, not int"),
        ({"commands": []}, "sessions: must hold at least one step to predict"),
    ],
)
def test_bad_sessions(item: dict[str, Any], message: str) -> None:
    """An error names the item, the rule and the value."""
    with pytest.raises(InvalidInputError, match=message):
        chosen(as_sessions([item]))
