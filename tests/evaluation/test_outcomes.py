"""How outcomes are evaluated: nothing of the future is seen, each session lands at the right look."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.evaluation import metrics
from procedural_memory.evaluation.outcomes import (
    FIRST,
    EngineForecaster,
    Forecaster,
    Yardstick,
    evaluate_outcomes,
    forecasters,
    tables,
)
from procedural_memory.evaluation.report import markdown
from procedural_memory.evaluation.sessions import EvaluationSession, as_sessions
from procedural_memory.types import Command

LOOKS = [f"after {FIRST} commands", "at the end"]


def sessions(count: int, seed: int = 0, **fields: Any) -> list[EvaluationSession]:
    """Return sessions of 10 to 40 steps; in a failure steps fail more often, and more so towards the end."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        good = chance.random() < 0.5
        steps = [
            {"command": f"tool{chance.randrange(6)} go", "exit_code": int(chance.random() < (0.05 if good else 0.4))}
            for _ in range(chance.randint(10, 40))
        ]
        steps[0]["timestamp"] = 1e9 + number
        found.append({"commands": steps, "outcome": "success" if good else "failure", "session_id": str(number)})
    return as_sessions({**item, **fields} for item in found)


class Spy:
    """Notes every call."""

    def __init__(self, calls: list[tuple[str, Any]]) -> None:
        self.calls = calls

    def probability(self, commands: Sequence[Command], look: str) -> float:
        """Note what is shown."""
        self.calls.append((look, [command.command for command in commands]))
        return 0.5

    def learn(self, session: EvaluationSession) -> None:
        """Note what is learned."""
        self.calls.append(("learn", session.session_id))

    def close(self) -> None:
        """Note the end."""
        self.calls.append(("close", None))


def spied(items: list[EvaluationSession], **options: Any) -> list[tuple[str, Any]]:
    """Return the calls of an evaluation."""
    calls: list[tuple[str, Any]] = []
    evaluate_outcomes(items, {"spy": lambda: Spy(calls)}, **options)
    return calls


def test_asked_before_learned_and_shown_no_more_than_the_look() -> None:
    """Each session is asked about with its first commands, then with all, then learned; a short one at its end only."""
    items = as_sessions(
        [
            {"commands": [f"a{n}" for n in range(FIRST + 2)], "outcome": "success", "session_id": "long"},
            {"commands": ["b", "c"], "outcome": "failure", "session_id": "short"},
            {"commands": ["d", "e"], "session_id": "unknown"},
        ]
    )
    every = [f"a{n}" for n in range(FIRST + 2)]
    assert spied(items) == [
        (LOOKS[0], every[:FIRST]),
        (LOOKS[1], every),
        ("learn", "long"),
        (LOOKS[1], ["b", "c"]),
        ("learn", "short"),
        ("learn", "unknown"),
        ("close", None),
    ]


def test_a_memory_for_each_user() -> None:
    """With per_user one user's sessions are not learned by the memory of another."""
    items = [*sessions(3, user="ann"), *sessions(3, seed=1, user="bob")]
    ends = [name for name, _ in spied(items, per_user=True) if name in ("learn", "close")]
    assert ends == [*["learn"] * 3, "close"] * 2
    assert [name for name, _ in spied(items)].count("close") == 1


@pytest.mark.parametrize("outcomes", [["success"] * 3, ["failure", None, None], [None] * 3])
def test_without_both_outcomes_nothing_is_measured(outcomes: list[str | None]) -> None:
    """One kind of end cannot be told from the other; nothing is learned for it."""
    items = as_sessions({"commands": ["a", "b"], "outcome": outcome} for outcome in outcomes)
    assert evaluate_outcomes(items, {"spy": lambda: Spy([])}) == {}
    assert spied(items) == []


def engine() -> ProceduralMemoryEngine:
    """Return an empty engine."""
    return ProceduralMemoryEngine(embedder="lexical")


def areas(items: list[EvaluationSession], name: str = "this package") -> list[float]:
    """Return the area under the curve at each look, of one forecaster."""
    makers = {name: forecasters(engine)[name]}
    return [
        metrics.area_under_curve(trace.probability[name], trace.success.astype(float))
        for trace in evaluate_outcomes(items, makers).values()
    ]


def test_what_can_be_foreseen_is_foreseen() -> None:
    """Failing steps tell: the engine and the yardstick of failures find it, the length tells nothing."""
    items = sessions(60)
    assert min(areas(items)) > 0.85
    assert min(areas(items, "share failed alone")) > 0.85
    assert max(areas(items, "length alone")) < 0.65


def test_shuffled_outcomes_cannot_be_foreseen() -> None:
    """The control: with outcomes dealt at random every forecaster is at chance, so none sees the future."""
    items = sessions(60)
    dealt = [session.outcome for session in items]
    random.Random(4).shuffle(dealt)
    shuffled = [
        EvaluationSession(session.user, session.session_id, session.project, outcome, session.steps)
        for session, outcome in zip(items, dealt, strict=True)
    ]
    for name in forecasters(engine):
        assert all(0.2 < area < 0.7 for area in areas(shuffled, name)), name


@pytest.mark.parametrize("make", forecasters(engine).values(), ids=forecasters(engine))
def test_forecaster_contract(make: Callable[[], Forecaster]) -> None:
    """Each forecaster answers before it has learned, changes nothing by answering, and is the same each time."""
    items = sessions(6)
    commands = [step.command for step in items[-1].steps]
    answers = []
    for asking in (False, True):
        forecaster = make()
        assert forecaster.probability(commands, LOOKS[1]) == 0.5
        for session in items[:-1]:
            if asking:
                forecaster.probability(commands[:FIRST], LOOKS[0])
            forecaster.learn(session)
        answers.append(forecaster.probability(commands, LOOKS[1]))
        forecaster.close()
    assert answers[0] == answers[1]
    assert 0.0 < answers[0] < 1.0


def test_the_engine_is_asked_as_any_caller_would() -> None:
    """The forecaster's number is that of `predict_outcome` on a memory with the same sessions."""
    items = sessions(8)
    forecaster, other = EngineForecaster(engine()), engine()
    for session in items[:-1]:
        forecaster.learn(session)
        other.learn_workflow([step.command for step in session.steps], session.outcome)
    commands = [step.command for step in items[-1].steps]
    assert forecaster.probability(commands, LOOKS[1]) == pytest.approx(other.predict_outcome(commands).probability)
    forecaster.close()
    other.close()


def test_a_number_that_never_varied_says_nothing() -> None:
    """A yardstick of a constant gives the share of successes, nearly."""
    constant, share = Yardstick(lambda commands: 3.0), Yardstick()
    for session in sessions(40):
        constant.learn(session)
        share.learn(session)
    assert constant.probability([], LOOKS[1]) == pytest.approx(share.probability([], LOOKS[1]), abs=0.02)


def test_summary_and_table_tell_the_measures() -> None:
    """The measures are those of the arrays, and the table shows each forecaster at each look."""
    traces = evaluate_outcomes(sessions(20), forecasters(engine))
    told = {look: trace.summary() for look, trace in traces.items()}
    assert list(told) == LOOKS
    for look, trace in traces.items():
        assert told[look]["sessions"] == len(trace.success)
        assert told[look]["base rate"] == pytest.approx(trace.success.mean())
        for name, said in trace.probability.items():
            measures = told[look]["forecasters"][name]
            assert measures["Brier"] == pytest.approx(np.mean((said - trace.success) ** 2))
            assert measures["AUC 95 %"][0] <= measures["AUC"] <= measures["AUC 95 %"][1]
    assert told[LOOKS[1]]["sessions"] == 20 > told[LOOKS[0]]["sessions"]
    text = "\n".join(markdown(tables(told)))
    assert f"**outcome {LOOKS[1]}: 20 sessions, {told[LOOKS[1]]['base rate']:.3f} of them ended in success**" in text
    assert f"| this package | {told[LOOKS[1]]['forecasters']['this package']['AUC']:.3f} |" in text
