"""How a session will end: nothing learned, one kind only, planted causes, any order of learning."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from procedural_memory import (
    ClosedError,
    InvalidInputError,
    InvalidTypeError,
    OutcomePrediction,
    ProceduralMemoryEngine,
)
from procedural_memory.commands.normalize import analyze
from procedural_memory.memory.courses import LONGEST, runs_tests
from procedural_memory.samples import load_sessions

STEPS = ["git pull", "npm ci", "vim a.js", "ls", "cat b.txt", "git add .", "git commit -m x", "git push"]


def made(count: int, plant: Callable[[list[dict[str, Any]], bool], None], seed: int = 0) -> list[dict[str, Any]]:
    """Return random sessions, half of them successes, each changed by what is planted in it."""
    chance = random.Random(seed)
    sessions = []
    for number in range(count):
        good = number % 2 == 0
        steps: list[dict[str, Any]] = [
            {"command": chance.choice(STEPS), "exit_code": int(chance.random() < 0.15)}
            for _ in range(chance.randint(4, 12))
        ]
        plant(steps, good)
        steps[0]["timestamp"] = 1e9 + number
        sessions.append(
            {"commands": steps, "outcome": "success" if good else "failure", "session_id": f"session {number}"}
        )
    return sessions


def nothing(steps: list[dict[str, Any]], good: bool) -> None:
    """Plant nothing: the outcome is chance."""


def a_flag(steps: list[dict[str, Any]], good: bool) -> None:
    """Failures have a forced push somewhere."""
    if not good:
        steps[len(steps) // 2]["command"] = "git push --force"


def an_order(steps: list[dict[str, Any]], good: bool) -> None:
    """Failures push right after they edit; successes commit between."""
    steps[1:3] = [{"command": c, "exit_code": 0} for c in ("vim a.js", "git commit -m x" if good else "git push")]


def a_last_step(steps: list[dict[str, Any]], good: bool) -> None:
    """The last step of a failure fails."""
    steps[-1]["exit_code"] = int(not good)


def told_apart(engine: ProceduralMemoryEngine, sessions: Sequence[dict[str, Any]]) -> float:
    """Return the share of sessions that are on the right side of one half."""
    said = [engine.predict_outcome(session["commands"]).probability for session in sessions]
    right = [(p > 0.5) == (session["outcome"] == "success") for p, session in zip(said, sessions, strict=True)]
    return right.count(True) / len(right)


def sound(told: OutcomePrediction) -> None:
    """Assert what holds of every prediction."""
    assert 0.0 < told.low <= told.probability <= told.high < 1.0
    assert all(step.log_odds > 0 for step in told.speaks_for)
    assert all(step.log_odds < 0 for step in told.speaks_against)
    assert all(0 < step.successes + step.failures <= told.sessions for step in told.speaks_for + told.speaks_against)


def test_an_empty_memory_knows_nothing(engine: ProceduralMemoryEngine) -> None:
    """One half, nearly anything possible, no steps; whatever the context."""
    for context in ([], ["git status"], [{"command": "make", "exit_code": 2}] * 700):
        told = engine.predict_outcome(context)
        sound(told)
        assert told.probability == 0.5
        assert told.low < 0.05
        assert told.high > 0.95
        assert (told.speaks_for, told.speaks_against, told.sessions) == ((), (), 0)


def test_unknown_outcomes_teach_nothing(engine: ProceduralMemoryEngine) -> None:
    """Sessions whose end is not known leave the prediction where it was."""
    before = engine.predict_outcome(["git pull"])
    for _ in range(5):
        engine.learn_workflow(["git pull", "make", "git push"], None)
    assert engine.predict_outcome(["git pull"]) == before


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_one_kind_of_outcome_only(engine: ProceduralMemoryEngine, outcome: str) -> None:
    """From the first session on the probability moves towards what was seen, short of certainty, and gets surer."""
    distances, widths = [0.0], [1.0]
    for _ in range(6):
        engine.learn_workflow(["git pull", "make", "git push"], outcome)  # type: ignore[arg-type]
        told = engine.predict_outcome(["git pull", "make"])
        sound(told)
        distances.append(abs(told.probability - 0.5))
        widths.append(told.high - told.low)
        assert (told.probability > 0.5) == (outcome == "success")
    assert distances == sorted(distances)
    assert widths == sorted(widths, reverse=True)
    assert distances[-1] < 0.45
    assert told.sessions == 6


@pytest.mark.parametrize("plant", [a_flag, an_order, a_last_step])
def test_a_planted_cause_is_found(
    engine: ProceduralMemoryEngine, plant: Callable[[list[dict[str, Any]], bool], None]
) -> None:
    """A template, an order of programs or a failure that decides is learned, and told in sessions never seen."""
    engine.learn_many(made(80, plant))
    fresh = made(60, plant, seed=1)
    assert told_apart(engine, fresh) >= 0.9
    for session in fresh:
        sound(engine.predict_outcome(session["commands"]))


def test_chance_is_not_taken_for_a_cause(engine: ProceduralMemoryEngine) -> None:
    """Where nothing decides, predictions stay near the base rate, and fresh sessions are told apart by luck alone."""
    engine.learn_many(made(200, nothing))
    fresh = made(60, nothing, seed=1)
    assert all(0.2 < engine.predict_outcome(session["commands"]).probability < 0.8 for session in fresh)
    assert 0.3 < told_apart(engine, fresh) < 0.7


def test_the_steps_that_speak_are_told_with_their_counts(engine: ProceduralMemoryEngine) -> None:
    """The planted step speaks against, with the sessions that had it; the limit holds on each side."""
    sessions = made(80, a_flag)
    engine.learn_many(sessions)
    told = engine.predict_outcome(["git pull", "git push --force"], limit=1)
    (step,) = told.speaks_against
    assert step.step == "git push --force"
    assert (step.successes, step.failures) == (0, 40)
    assert len(told.speaks_for) <= 1
    explained = engine.explain_outcome(["git pull", "git push --force"], limit=1)
    assert (told.speaks_for, told.speaks_against) == (explained.raises, explained.lowers)
    assert told.sessions == 80


def test_the_interval_narrows_with_data() -> None:
    """More sessions of the same kind make the same question surer."""
    widths = []
    for count in (0, 10, 40, 160):
        with ProceduralMemoryEngine(embedder="lexical") as engine:
            engine.learn_many(made(count, nothing))
            told = engine.predict_outcome(["git pull", "ls"])
            sound(told)
            widths.append(told.high - told.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 2


def test_order_of_learning_is_nothing() -> None:
    """Sessions learned in any order, at once or one by one with questions between, give the same to the last bit."""
    sessions = made(40, a_flag)
    questions = [session["commands"][:4] for session in made(10, nothing, seed=2)]
    answers = []
    for seed in range(3):
        shuffled = sessions[:]
        random.Random(seed).shuffle(shuffled)
        with ProceduralMemoryEngine(embedder="lexical") as engine:
            for session in shuffled:
                engine.learn_workflow(session["commands"], session["outcome"], session["session_id"])
                if seed:
                    engine.predict_outcome(questions[0])
            answers.append([engine.predict_outcome(question) for question in questions])
    assert answers[0] == answers[1] == answers[2]


def test_merge_and_forget(tmp_path: Path) -> None:
    """Merged memories say what the union says, also from a file; a forgotten session leaves no trace."""
    sessions = made(40, a_flag)
    context = ["git pull", "git push --force", "ls"]
    engines = [ProceduralMemoryEngine(embedder="lexical") for _ in range(4)]
    whole, left, right, other = engines
    whole.learn_many(sessions)
    left.learn_many(sessions[:25])
    right.learn_many(sessions[20:])
    other.merge(right.save(tmp_path / "right.pkl"))
    other.merge(left)
    left.merge(right)
    expected = whole.predict_outcome(context)
    assert left.predict_outcome(context) == other.predict_outcome(context) == expected
    other.learn_workflow(["git pull", "git push --force", "ls"], "success", "wrong")
    assert other.predict_outcome(context) != expected
    other.forget(session="wrong")
    assert other.predict_outcome(context) == expected
    other.forget(containing="--force")
    with ProceduralMemoryEngine(embedder="lexical") as innocent:
        innocent.learn_many(
            {**s, "commands": [c for c in s["commands"] if "--force" not in c["command"]]} for s in sessions
        )
        assert other.predict_outcome(["git pull"]).probability == pytest.approx(
            innocent.predict_outcome(["git pull"]).probability
        )
    for engine in engines:
        engine.close()


def test_a_failed_change_leaves_no_fit_behind(engine: ProceduralMemoryEngine) -> None:
    """What a batch taught before it failed is not in later answers, though it was asked about meanwhile."""
    engine.learn_many(made(20, a_flag))
    before = engine.predict_outcome(["git push --force"])
    seen = []

    def ask(done: int) -> None:
        seen.append(engine.predict_outcome(["git push --force"]))
        if done == 3:
            raise RuntimeError("stop")

    extra = [{**s, "session_id": f"extra {s['session_id']}"} for s in made(10, nothing, seed=5)]
    with pytest.raises(RuntimeError, match="stop"):
        engine.learn_many(extra, progress=ask)
    assert seen[-1] != before
    # As many changes as were taken back, so that only what they were can tell them apart.
    for session in extra[5:8]:
        engine.learn_workflow(session["commands"], session["outcome"], session["session_id"])
    with ProceduralMemoryEngine(embedder="lexical") as other:
        other.learn_many([*made(20, a_flag), *extra[5:8]])
        assert engine.predict_outcome(["git push --force"]) == other.predict_outcome(["git push --force"])
    for session in extra[5:8]:
        engine.forget(session=session["session_id"])
    assert engine.predict_outcome(["git push --force"]) == before


def test_a_live_session_is_asked_like_a_list(engine: ProceduralMemoryEngine) -> None:
    """At every step the session says what the engine says of its commands, and being asked changes nothing."""
    engine.learn_many(made(40, a_last_step))
    commands = made(1, a_flag, seed=7)[0]["commands"]
    with engine.session() as live:
        assert live.predict_outcome() == engine.predict_outcome([])
        for n, command in enumerate(commands, 1):
            live.record(command, output="Traceback (most recent call last):")
            assert live.predict_outcome(limit=2) == engine.predict_outcome(commands[:n], limit=2)
        live.close("failure")
        with pytest.raises(ClosedError):
            live.predict_outcome()
    assert engine.predict_outcome([]).sessions == 41


def test_a_finished_session_is_seen_as_it_was_under_way(engine: ProceduralMemoryEngine) -> None:
    """A batch and a live session teach the same about outcomes."""
    sessions = made(30, an_order)
    engine.learn_many(sessions)
    with ProceduralMemoryEngine(embedder="lexical") as other:
        for session in sessions:
            live = other.session(session_id=session["session_id"])
            for step in session["commands"]:
                live.record(step)
            live.close(session["outcome"])
        for session in made(5, an_order, seed=3):
            assert other.predict_outcome(session["commands"]) == engine.predict_outcome(session["commands"])


def test_very_long_sessions_are_seen_from_their_end(engine: ProceduralMemoryEngine) -> None:
    """Of a session longer than is looked at, the newest steps count, learned, live and as a list."""
    newest = [{"command": f"make part{n % 7}", "exit_code": n % 2} for n in range(LONGEST)]
    long = [{"command": "npm test", "exit_code": 0}] * 50 + newest
    sessions = made(20, nothing)
    engine.learn_many(sessions)
    engine.learn_workflow(long, "failure")
    assert engine.predict_outcome(long) == engine.predict_outcome(newest)
    with engine.session() as live:
        for step in long:
            live.record(step)
        assert live.predict_outcome() == engine.predict_outcome(long)
    with ProceduralMemoryEngine(embedder="lexical") as other:
        other.learn_many(sessions)
        other.learn_workflow(newest, "failure")
        assert other.predict_outcome(["npm test"]).probability == engine.predict_outcome(["npm test"]).probability


def test_the_async_twin(engine: ProceduralMemoryEngine) -> None:
    """`apredict_outcome` says the same."""
    engine.learn_many(load_sessions())
    context: list[Any] = ["npm ci", {"command": "npm test", "exit_code": 1}]
    assert asyncio.run(engine.apredict_outcome(context, limit=2)) == engine.predict_outcome(context, limit=2)


def test_bad_input_is_named(engine: ProceduralMemoryEngine) -> None:
    """The item, the rule and the value are told; a closed engine refuses."""
    with pytest.raises(InvalidInputError, match=r"context\[1\]: must not be empty"):
        engine.predict_outcome(["ls", ""])
    with pytest.raises(InvalidTypeError, match="context: must be a list of commands, not str"):
        engine.predict_outcome("ls")
    with pytest.raises(InvalidInputError, match="limit: must be at least 1, got 0"):
        engine.predict_outcome(["ls"], limit=0)
    with engine.session() as live, pytest.raises(InvalidTypeError, match="limit: must be an integer"):
        live.predict_outcome(limit=1.5)  # type: ignore[arg-type]
    engine.close()
    with pytest.raises(ClosedError):
        engine.predict_outcome([])


def test_a_durable_store_says_the_same_when_opened_again(tmp_path: Path) -> None:
    """Also one that another process wrote to meanwhile."""
    path = tmp_path / "m.sqlite3"
    context = ["git pull", "git push --force"]
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        engine.learn_many(made(30, a_flag))
        expected = engine.predict_outcome(context)
        with ProceduralMemoryEngine(path=path, embedder="lexical") as beside:
            assert beside.predict_outcome(context) == expected
            beside.learn_workflow([*context, "ls"], "success")
            assert beside.predict_outcome(context) == engine.predict_outcome(context) != expected
            expected = engine.predict_outcome(context)
    with ProceduralMemoryEngine(path=path, embedder="lexical") as again:
        assert again.predict_outcome(context) == expected


@pytest.mark.parametrize(
    ("line", "tests"),
    [
        ("pytest -q", True),
        ("python -m pytest tests/test_a.py", True),
        ("python -m unittest", True),
        ("npm test", True),
        ("pnpm run test:unit", True),
        ("cargo test", True),
        ("go test ./...", True),
        ("make test", True),
        ("./gradlew test", True),
        ("mvn -q verify", True),
        ("python manage.py test app", True),
        ("./tests/runtests.py app", True),
        ("npx jest", True),
        ("cd src && pytest", True),
        ("make", False),
        ("make install", False),
        ("test -f a.txt", False),
        ("cat test.py", False),
        ("python test.py", False),
        ("grep -rn test src", False),
        ("git commit -m test", False),
    ],
)
def test_what_runs_tests(line: str, tests: bool) -> None:
    """Runners of tests are known by their names, sub-commands and targets."""
    analysis = analyze(line)
    assert runs_tests(analysis.programs, analysis.template) is tests
