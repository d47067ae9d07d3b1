"""What is kept beside the store stays in step with it: after failures, for several engines, after forgetting."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from procedural_memory import Prediction, ProceduralMemoryEngine, SessionConflictError
from procedural_memory.prediction.predictor import Predictor
from procedural_memory.types import Level

RELEASE = ["git add .", "git commit -m x", "git push"]


def fresh(path: Path | None = None) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(path=path, embedder="lexical")


def told(engine: ProceduralMemoryEngine, context: list[Any]) -> list[tuple[str, float]]:
    """Return lines with their probabilities."""
    return [(p.next_command, p.probability) for p in engine.predict_next_action(context, top_k=20)]


def test_what_was_rolled_back_is_not_predicted(engine: ProceduralMemoryEngine) -> None:
    """A batch that fails leaves no trace, though it was read in the middle."""
    engine.learn_many([RELEASE] * 3)
    before, ranker = told(engine, ["git status"]), engine._rankers.to_bytes()

    def progress(done: int) -> None:
        engine.predict_next_action(["git status"])
        if done == 2:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        engine.learn_many([["git status", "deploy secretproject", "bb"]] * 2, progress=progress)
    assert told(engine, ["git status"]) == before
    assert engine._rankers.to_bytes() == ranker
    engine.learn_many([["git status", "make test", "bb"]] * 2)
    assert "deploy secretproject" not in dict(told(engine, ["git status"]))


def test_a_load_that_fails_changes_nothing(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Neither counts nor what the ranker learned."""
    for n in range(20):
        engine.learn_workflow(RELEASE, session_id=f"s{n}")
    before, ranker = told(engine, ["git add ."]), engine._rankers.to_bytes()
    path = engine.save(tmp_path / "m.json")
    content = json.loads(path.read_text())
    del content["checksum"]
    content["sessions"].append({**content["sessions"][0], "outcome": "failure"})
    path.write_text(json.dumps(content))
    with pytest.raises(SessionConflictError):
        engine.load(path)
    assert told(engine, ["git add ."]) == before
    assert engine._rankers.to_bytes() == ranker


@pytest.mark.parametrize("count", [499, 500, 501, 1000])
def test_a_batch_of_any_size_teaches_the_ranker(engine: ProceduralMemoryEngine, count: int) -> None:
    """However a batch is cut, the ranker learns from its newest steps, as a rebuild does."""
    engine.learn_many([RELEASE] * count)
    learned = engine._rankers.learned
    assert learned > 1400
    engine.flush()
    before = told(engine, ["git add ."])
    engine.rebuild()
    engine.flush()
    assert engine._rankers.learned == learned
    assert dict(told(engine, ["git add ."])) == pytest.approx(dict(before))


def test_an_older_engine_does_not_overwrite_what_was_learned_since(tmp_path: Path) -> None:
    """Of two engines on one file, the one that closes last keeps the weights of the other; a forget stays forgotten."""
    path = tmp_path / "m.sqlite3"
    first = fresh(path)
    for _ in range(16):
        first.learn_workflow(["a 1", "b", "c"])
    with fresh(path) as second:
        second.learn_many([RELEASE] * 300)
        second.stats()
        learned = second._rankers.learned
    first.close()
    with fresh(path) as again:
        assert again._rankers.learned >= learned > 500
    first = fresh(path)
    first.learn_workflow(RELEASE)
    with fresh(path) as second:
        second.forget(before=4e9)
    first.close()
    with fresh(path) as again:
        assert again._rankers.learned == 0


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM meta WHERE key = 'ranker'",
        "UPDATE meta SET value = 'text' WHERE key = 'ranker'",
        "UPDATE meta SET value = 7 WHERE key = 'ranker'",
        "UPDATE meta SET value = x'ffffffffffffffff' WHERE key = 'ranker'",
        "UPDATE meta SET value = substr(value, 1, 90) WHERE key = 'ranker'",
        "UPDATE meta SET value = 'x' WHERE key = 'ranker_version'",
    ],
)
def test_a_damaged_ranker_makes_no_store_unusable(tmp_path: Path, change: str) -> None:
    """Weights that cannot be read are started anew; everything else is there."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as engine:
        engine.learn_many([RELEASE] * 30)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    with fresh(path) as engine:
        assert engine.predict_next_action(RELEASE[:2])[0].next_command == "git push"
        engine.learn_many([RELEASE] * 30)
    with fresh(path) as engine:
        assert engine.stats()["session_count"] == 60
        assert engine._rankers.learned > 0


def test_an_open_session_lets_go_of_a_forgotten_file(tmp_path: Path) -> None:
    """A name that was forgotten fills no place, in this engine and in others on the same file."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as one, fresh(path) as other:
        session = one.session(cwd="/p")
        for name in ["a.py"] * 70 + ["secret.py"] * 3:
            session.record(f"cat {name}")
        assert "cat secret.py" in [p.next_command for p in session.predict(20)]
        other.forget(containing="secret.py")
        assert "cat secret.py" not in [p.next_command for p in session.predict(20)]
        session.record("cat secret.py")
        one.forget(containing="secret.py")
        assert "secret" not in str(session.predict(20))


@pytest.mark.parametrize(
    "script", ["./deploy.sh --all", "../tools/deploy.sh", "ci/deploy.sh x", "git add -A && ./deploy.sh"]
)
def test_scripts_stay_in_their_project(engine: ProceduralMemoryEngine, script: str) -> None:
    """A script is offered where it was run; elsewhere no part of a prediction names it, and the list is as long."""
    for _ in range(6):
        for cwd, second in (("/pa", script), ("/pb", "git pull"), ("/pc", "ls -la")):
            engine.learn_workflow([{"command": c, "cwd": cwd} for c in ("git status", second, "git push")])
    engine.flush()
    here = engine.predict_next_action([{"command": "git status", "cwd": "/pa"}], top_k=8)
    assert script in [p.next_command for p in here]
    levels: tuple[Level, ...] = ("command", "template")
    for level in levels:
        elsewhere = engine.predict_next_action([{"command": "git status", "cwd": "/pb"}], top_k=3, level=level)
        assert len(elsewhere) == 3
        assert "deploy" not in str(elsewhere)


def test_scripts_are_offered_where_no_project_is_known(engine: ProceduralMemoryEngine) -> None:
    """A memory of bare lines knows of no projects; what it was told it says again."""
    for _ in range(4):
        engine.learn_workflow(["git pull", "./build.sh all", "git push"])
    assert engine.predict_next_action(["git pull"])[0].next_command == "./build.sh all"
    assert "build.sh" not in str(engine.predict_next_action([{"command": "git pull", "cwd": "/p"}], top_k=9))


def test_what_was_asked_before_forgetting_leaves_no_trace() -> None:
    """Similarities that were worked out with the vector of a template go when it is forgotten."""

    def after_forgetting(asked_before: bool) -> list[Prediction]:
        with ProceduralMemoryEngine(embedder="lexical", similarity_threshold=0.3) as engine:
            engine.learn_workflow(["wibble --alpha beta", "echo x", "echo y"], session_id="gone")
            engine.learn_workflow(["git status", "make test", "wobble --alpha beta", "make build", "ls"])
            engine.flush()
            context = ["git status", "make test", "wibble --alpha beta"]
            if asked_before:
                engine.predict_next_action(context)
            engine.forget(session="gone")
            engine.flush()
            return engine.predict_next_action(context, top_k=5)

    assert after_forgetting(True) == after_forgetting(False)


@pytest.mark.parametrize("change", ["learn", "forget"])
def test_a_prediction_sees_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """What another process writes in the middle of a prediction shows in the next one."""
    with closing(fresh(tmp_path / "memory.db")) as engine, closing(fresh(tmp_path / "memory.db")) as other:
        other._store._db.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]
        for number in range(3):
            engine.learn_workflow(["make", "make test", "make install"], "success", session_id=f"s{number}")
        engine.flush()
        before = engine.predict_next_action(["make"], top_k=5)
        candidates = Predictor._candidates

        def in_the_middle(self: Predictor, *arguments: Any) -> Any:
            found = candidates(self, *arguments)
            monkeypatch.undo()
            if change == "learn":
                other.learn_workflow(["make", "make test", "make clean"], "failure")
            else:
                other.forget(template="make test")
            return found

        monkeypatch.setattr(Predictor, "_candidates", in_the_middle)
        engine._predictor.forget()
        assert engine.predict_next_action(["make"], top_k=5) == before
        assert engine.predict_next_action(["make"], top_k=5) != before
