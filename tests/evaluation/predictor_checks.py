"""The contract that every predictor fulfils: ``check_*`` functions, run against each of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing

from procedural_memory import Command, normalize
from procedural_memory.evaluation.predictors import TOP, Context, Predictor, Ranking
from procedural_memory.evaluation.sessions import LEVELS, EvaluationLevel, Step

MakePredictor = Callable[[], Predictor]

LINES = [
    "git status",
    "git add a.py",
    "git add b.py",
    "git commit -m 'one'",
    "git push",
    "make",
    "make test",
    "vim a.py",
]


def steps(lines: list[str]) -> list[Step]:
    """Return lines as steps."""
    return [Step(Command(line), normalize(line)) for line in lines]


def habits(seed: int, sessions: int = 12) -> list[list[Step]]:
    """Return sessions that mostly go through `LINES` in order, some with new lines, some longer than a block."""
    draw = random.Random(seed)
    found = []
    for number in range(sessions):
        lines = [draw.choice(LINES) if draw.random() < 0.3 else LINES[i % len(LINES)] for i in range(10 + number * 5)]
        lines[5] = f"cat notes-{number}.txt"
        found.append(steps(lines))
    return found


def context(past: list[Step]) -> Context:
    """Return a context of no project."""
    return Context(None, None, past)


def teach(predictor: Predictor, sessions: list[list[Step]]) -> None:
    """Let a predictor learn sessions."""
    for session in sessions:
        for step in session:
            predictor.learn(step)
        predictor.end(None)


def answers(predictor: Predictor, past: list[Step]) -> dict[EvaluationLevel, Ranking]:
    """Return what a predictor says at each level."""
    return {level: predictor.predict(context(past), level) for level in LEVELS}


def check_answers_before_learning(make: MakePredictor) -> None:
    """Nothing learned: nothing predicted, and no error."""
    with closing(make()) as predictor:
        assert answers(predictor, []) == {level: [] for level in LEVELS}


def check_probabilities_sum_to_at_most_one(make: MakePredictor) -> None:
    """Before each step: at most ten distinct texts, probabilities in 0..1 that sum to at most 1."""
    with closing(make()) as predictor:
        for session in habits(1, 6):
            for number, step in enumerate(session):
                for ranking in answers(predictor, session[:number]).values():
                    assert len({text for text, _ in ranking}) == len(ranking) <= TOP
                    assert all(0.0 <= probability <= 1.0 for _, probability in ranking)
                    assert sum(probability for _, probability in ranking) <= 1.0 + 1e-9
                predictor.learn(step)
            predictor.end("success")


def check_prediction_is_pure(make: MakePredictor) -> None:
    """Asking changes no later answer: one that is asked before each step ends up like one that never was."""
    with closing(make()) as asked, closing(make()) as silent:
        for session in habits(2, 5):
            for number, step in enumerate(session):
                assert answers(asked, session[:number]) == answers(asked, session[:number])
                asked.learn(step)
                silent.learn(step)
            asked.end(None)
            silent.end(None)
        assert answers(asked, []) == answers(silent, [])


def check_is_deterministic(make: MakePredictor) -> None:
    """Two of a kind that learn the same say the same."""
    with closing(make()) as one, closing(make()) as two:
        teach(one, habits(3))
        teach(two, habits(3))
        said = answers(one, [])
        assert said == answers(two, [])
        assert all(said.values())


def check_learns_what_it_is_told(make: MakePredictor) -> None:
    """A session repeated many times is known: its steps are among the first five, at both levels."""
    with closing(make()) as predictor:
        whole = steps([f"tool{number} run" for number in range(5)])
        teach(predictor, [whole] * 20)
        found = 0
        for number, step in enumerate(whole):
            for level, ranking in answers(predictor, whole[:number]).items():
                found += step.text(level) in [text for text, _ in ranking[:5]]
            predictor.learn(step)
        predictor.end(None)
        assert found >= 8


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
