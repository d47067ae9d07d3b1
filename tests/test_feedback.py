"""What became of predictions that were shown moves what is shown next, and is no step."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from said import said

from procedural_memory import ClosedError, InvalidInputError, Prediction, ProceduralMemoryEngine, SnapshotError
from procedural_memory.types import Level, Verdict

ADD = ["git add ."]
CAT = [{"command": "cat a.py", "project": "p"}]
ALL = {"make lint", "make secret-thing", "make docs", "make test", "vim a.py"}
LEVELS: tuple[Level, ...] = get_args(Level)


def fresh(path: Path | None = None) -> ProceduralMemoryEngine:
    """Return an engine that has learned three steps after ``git add .`` and two lines after ``cat a.py``."""
    engine = ProceduralMemoryEngine(path=path, embedder="lexical")
    if engine.stats()["session_count"] == 0:
        lines = [["git add .", f"make {name}", "git push"] for name in ("lint", "test", "docs")]
        lines += [["cat a.py", "vim a.py", "cat a.py"], ["cat a.py", "vim b.py", "cat b.py"]]
        engine.learn_many(
            {
                "session_id": f"{n} {steps[1]}",
                "project": "p",
                "commands": [{"command": step, "timestamp": 1e9 + n} for step in steps],
            }
            for n in range(4)
            for steps in lines
        )
        engine.flush()
    return engine


@pytest.fixture
def engine() -> ProceduralMemoryEngine:
    """An engine of `fresh`."""
    return fresh()


def told(engine: ProceduralMemoryEngine, context: list[Any] = ADD, level: Level = "command") -> dict[str, float]:
    """Return lines, or templates, with their probabilities, in order."""
    found = engine.predict_next_action(context, top_k=20, level=level)
    if level == "template":
        return {p.template: p.template_probability for p in found}
    return {p.next_command: p.probability for p in found}


def judgements(engine: ProceduralMemoryEngine, context: list[Any]) -> dict[str, Any]:
    """Return the evidence that is feedback, by line."""
    found = engine.predict_next_action(context, top_k=20)
    return {p.next_command: e for p in found for e in p.evidence if e.expert == "feedback"}


def counted(engine: ProceduralMemoryEngine) -> dict[str, Any]:
    """Return what is counted of steps, whatever was shown; every table of the store but those of feedback."""
    engine.flush()
    kept = ("feedback", "shown", "meta", "text", "sqlite_sequence", "vector", "neighbour")
    names = engine._store._all("SELECT name FROM sqlite_master WHERE type = 'table'")  # type: ignore[attr-defined]
    return {
        name: sorted(engine._store._all(f'SELECT * FROM "{name}"'), key=repr)  # type: ignore[attr-defined]
        for (name,) in names
        if name not in kept
    }


@pytest.mark.parametrize("level", LEVELS)
def test_rejected_falls_below_the_next(engine: ProceduralMemoryEngine, level: Level) -> None:
    """What is rejected loses, the others lose nothing, and what is lost is nobody's."""
    before = told(engine, level=level)
    first, second, *_ = before
    engine.feedback(ADD, first, "rejected")
    engine.feedback(ADD, first, "rejected")
    after = told(engine, level=level)
    assert next(iter(after)) == second
    assert after[first] < before[first]
    assert all(after[line] == before[line] for line in before if line != first)


@pytest.mark.parametrize("level", LEVELS)
def test_accepted_rises(engine: ProceduralMemoryEngine, level: Level) -> None:
    """What is accepted gains, all others lose the same share, and the list stays a distribution."""
    before = told(engine, level=level)
    line = list(before)[1]
    for _ in range(40):
        engine.feedback(ADD, line, "accepted")
    after = told(engine, level=level)
    assert next(iter(after)) == line
    assert sum(told(engine, level="template").values()) < 1.0
    shares = {after[other] / before[other] for other in before if other != line}
    assert max(shares) < 1.0
    assert max(shares) == pytest.approx(min(shares))


def test_factors_are_those_documented(engine: ProceduralMemoryEngine) -> None:
    """The probability of a template is multiplied by its rate of acceptance over the expected one, as is its line's."""
    before = engine.predict_next_action(ADD, top_k=1)[0]
    verdicts: list[Verdict] = ["rejected", "rejected", "ignored", "accepted"]
    for verdict in verdicts:
        engine.feedback(ADD, before, verdict)
    after = next(p for p in engine.predict_next_action(ADD, top_k=9) if p.next_command == before.next_command)
    of_template = (1 + 4 * 0.5) / (1 + 2 + 0.25 + 4) / 0.5
    of_line = (1 + 2 * 0.5) / (1 + 2 + 0.25 + 2) / 0.5
    assert after.template_probability == pytest.approx(before.template_probability * of_template)
    assert after.probability == pytest.approx(before.probability * of_template * of_line)


def test_ignored_loses_less_than_rejected() -> None:
    """Who looks elsewhere has said less than who says no."""
    after = {}
    for verdict in get_args(Verdict):
        engine = fresh()
        before = told(engine)["make lint"]
        engine.feedback(ADD, "make lint", verdict)
        after[verdict] = told(engine)["make lint"]
    assert after["rejected"] < after["ignored"] < before < after["accepted"]


def test_a_line_is_judged_among_the_lines_of_its_template(engine: ProceduralMemoryEngine) -> None:
    """A line that is rejected gives way to another of its template."""
    first, second = list(told(engine, CAT))[:2]
    assert {first, second} == {"vim a.py", "vim b.py"}
    for _ in range(40):
        engine.feedback(CAT, first, "rejected")
        engine.feedback(CAT, second, "accepted")
    assert next(iter(told(engine, CAT))) == second


def test_a_short_list_is_the_beginning_of_a_long_one() -> None:
    """A line that is improbable by itself and was accepted is not overlooked where few are asked for."""
    engine = ProceduralMemoryEngine(embedder="lexical")
    steps = ["make"] * 11 + ["vim a.py"] * 2 + ["vim b.py"]
    engine.learn_many(
        {
            "session_id": f"{n} {i} {step}",
            "project": "p",
            "commands": [{"command": line, "timestamp": 1e9 + n} for line in ("ls", step, "pwd")],
        }
        for n in range(4)
        for i, step in enumerate(steps)
    )
    context = [{"command": "ls", "project": "p"}]
    for _ in range(20):
        engine.feedback(context, "vim a.py", "accepted")
        engine.feedback(context, "vim d.py", "rejected")
    for _ in range(6):
        every = engine.predict_next_action(context, top_k=20)
        for top_k in (1, 2):
            assert engine.predict_next_action(context, top_k=top_k) == every[:top_k]
        engine.feedback(context, "make", "rejected")
    assert every[0].next_command == "vim a.py"


def test_min_probability_sees_what_feedback_did(engine: ProceduralMemoryEngine) -> None:
    """What falls below the threshold is not shown."""
    least = {level: told(engine, level=level)["make lint"] for level in LEVELS}

    def shown(level: Level) -> list[str]:
        found = engine.predict_next_action(ADD, 20, min_probability=least[level], level=level)
        return [p.next_command for p in found]

    assert all("make lint" in shown(level) for level in LEVELS)
    engine.feedback(ADD, "make lint", "ignored")
    assert not any("make lint" in shown(level) for level in LEVELS)


def test_feedback_counts_after_this_step_only(engine: ProceduralMemoryEngine) -> None:
    """What was rejected after one step may be right after another, and what was so by a line is so for its template."""
    others: list[list[Any]] = [[], CAT, ["make lint"], ["git add .", "make test"]]
    before = [engine.predict_next_action(context, top_k=20) for context in others]
    for _ in range(9):
        engine.feedback(["ls", "git add ."], "make lint", "rejected")
    assert [engine.predict_next_action(context, top_k=20) for context in others] == before
    assert told(engine, ["pwd", *ADD])["make lint"] < told(engine, ["pwd", *ADD])["make test"] / 2
    first = next(iter(told(engine, [])))
    engine.feedback([], first, "rejected")
    assert told(engine, [])[first] < next(p.probability for p in before[0] if p.next_command == first)


def test_feedback_is_no_step() -> None:
    """Shown, accepted and then recorded, a step counts once: every count is as it is without feedback."""
    made = []
    for judge in (True, False):
        engine = fresh()
        with engine.session(session_id="live") as session:
            for step in [*ADD, "make lint", "git push"]:
                shown = session.predict(3)
                if judge:
                    for p in shown:
                        session.feedback(p, "accepted" if p.next_command == step else "ignored")
                session.record(step, timestamp=2e9)
            session.close("success")
        made.append(engine)
    judged, plain = made
    assert judged.stats()["feedback_count"] > 3
    assert plain.stats()["feedback_count"] == 0
    assert counted(judged) == counted(plain)
    assert judged.causal_chains == plain.causal_chains
    assert judged._rankers.to_bytes() == plain._rankers.to_bytes()
    for context in ([], ADD, ["make lint"]):
        with_feedback, without = said(judged, context)[0], said(plain, context)[0]
        for experts in with_feedback.values():
            experts.pop("feedback", None)
        assert with_feedback == without


def test_a_session_tells_after_which_step(engine: ProceduralMemoryEngine) -> None:
    """Feedback in a live session stands for the steps so far, and counts as that given with the context."""
    other = fresh()
    with engine.session() as session:
        session.feedback("cat a.py", "rejected")
        session.record("git add .")
        session.feedback(session.predict(1)[0], "rejected")
        line = next(iter(told(other)))
        other.feedback([], "cat a.py", "rejected")
        other.feedback(ADD, line, "rejected")
        for context in (ADD, []):
            assert judgements(engine, context) == judgements(other, context)
        assert list(judgements(engine, ADD)) == [line]
        assert list(judgements(engine, [])) == ["cat <FILE>"]  # no line of it is known where no project is
    with pytest.raises(ClosedError, match="is closed"):
        session.feedback("ls", "accepted")


def test_evidence_and_reason_tell_the_counts(engine: ProceduralMemoryEngine) -> None:
    """A prediction that feedback moved says so, with the counts of its template and its line; others do not."""
    shown: list[Verdict] = ["accepted", "accepted", "rejected", "ignored"]
    for verdict in shown:
        engine.feedback(CAT, "vim b.py", verdict)
    engine.feedback(CAT, "vim c.py", "rejected")
    found = {p.next_command: p for p in engine.predict_next_action(CAT, top_k=9)}
    item = judgements(engine, CAT)["vim b.py"]
    of_template, of_line = (2, 2, 1), (2, 1, 1)
    assert tuple(item.details[name] for name in get_args(Verdict)) == of_template
    assert tuple(item.details[f"line_{name}"] for name in get_args(Verdict)) == of_line
    assert item.context == ("cat <FILE>",)
    assert item.weight == 0.0
    assert found["vim b.py"].reason.endswith("this line accepted 2 of 4 times after this step")
    assert found["vim a.py"].reason.endswith("accepted 2 of 5 times after this step")
    assert "this line" not in found["vim a.py"].reason
    untouched = found["cat a.py"]
    assert "feedback" not in [e.expert for e in untouched.evidence]
    assert not re.search("accepted|rejected|ignored", untouched.reason)
    engine.feedback(ADD, "make docs", "ignored")
    assert next(p for p in engine.predict_next_action(ADD, 9) if p.next_command == "make docs").reason.endswith(
        "this line ignored once after this step"
    )


def test_a_prediction_can_be_given_as_it_is_or_by_its_line() -> None:
    """Both say the same; so does the call for an event loop."""
    states = []
    for kind in ("prediction", "line", "async"):
        engine = fresh()
        shown = engine.predict_next_action(ADD, top_k=2)[1]
        assert isinstance(shown, Prediction)
        if kind == "async":
            asyncio.run(engine.afeedback(ADD, shown, "rejected"))
        else:
            engine.feedback(ADD, shown if kind == "prediction" else shown.next_command, "rejected")
        states.append(told(engine))
    assert states[0] == pytest.approx(states[1])
    assert states[0] == pytest.approx(states[2])


def test_feedback_is_there_again(tmp_path: Path) -> None:
    """It is kept over a new start, a rebuild, a file, and a merge."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as engine:
        before = told(engine)
        engine.feedback(ADD, "make lint", "rejected")
        with engine.session() as session:
            session.record("git add .")
            session.feedback("make test", "accepted")
        expected = told(engine)
        said_so = said(engine, ADD)
    assert expected["make lint"] < before["make lint"]
    with fresh(path) as engine:
        assert engine.stats()["feedback_count"] == 2
        assert told(engine) == pytest.approx(expected)
        engine.rebuild()
        assert said(engine, ADD) == said_so
        for suffix in (".json", ".pkl"):
            saved = engine.save(tmp_path / f"m{suffix}")
            other = fresh()
            other.load(saved)
            assert said(other, ADD) == said_so
            third = fresh()
            third.feedback(ADD, "make docs", "ignored")
            third.load(saved, mode="replace")
            assert said(third, ADD) == said_so
            empty = ProceduralMemoryEngine(embedder="lexical")
            empty.merge(saved)
            empty.merge(engine)
            assert empty.stats()["feedback_count"] == 2
            assert said(empty, ADD) == said_so


def test_another_engine_on_the_file_sees_it_at_once(tmp_path: Path) -> None:
    """What one process is told, the next prediction of another knows, however often it has read before."""
    path = tmp_path / "m.sqlite3"
    fresh(path).close()
    with fresh(path) as one, fresh(path) as other:
        for verdict in get_args(Verdict):
            before = told(other)
            assert told(one) == before
            one.feedback(ADD, "make lint", verdict)
            assert told(other)["make lint"] != before["make lint"]
            assert told(one) == told(other)


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"session": "live"}, {"make docs", "vim a.py"}),
        ({"containing": "secret"}, ALL - {"make secret-thing"}),
        ({"template": "make test"}, ALL - {"make test"}),
        ({"template": "cat <FILE>"}, ALL - {"vim a.py"}),
        ({"project": "/p"}, {"vim a.py"}),
        ({"before": 4e9}, set()),
        ({"before": 5e8}, ALL),
        ({"source": "agent"}, {"make docs", "vim a.py"}),
        ({"containing": "secret", "project": "/q"}, ALL),
    ],
)
def test_feedback_is_forgotten(conditions: dict[str, Any], left: set[str], tmp_path: Path) -> None:
    """It goes with its session and with the step before it, and where it meets the conditions itself."""
    engine = fresh(tmp_path / "m.sqlite3")
    engine.feedback(["cat a.py"], "vim a.py", "rejected")
    engine.feedback([{"command": "git add .", "cwd": "/p"}], "make docs", "accepted")
    live = engine.session(session_id="live", cwd="/p", source="agent")
    live.record("git add .", timestamp=1e9)
    live.feedback("make lint", "rejected")
    live.feedback("make secret-thing", "ignored")
    live.record("make secret-thing", timestamp=1e9 + 1)
    live.record("git add .", timestamp=1e9 + 2)
    live.feedback("make test", "accepted")
    live.record("make test", timestamp=1e9 + 3)
    live.close("success")
    copy = ProceduralMemoryEngine(embedder="lexical")
    copy.load(engine.save(tmp_path / "m.json"))
    for each in (engine, copy):
        each.forget(**conditions)
    content = json.loads(copy.save(tmp_path / "m.json").read_text())
    path = engine.save(tmp_path / "m.json")
    assert json.loads(path.read_text()) | {"ranker": ""} == content | {"ranker": ""}
    rows = [*content.get("feedback", []), *(row for item in content["sessions"] for row in item.get("feedback", []))]
    assert {row["line"] for row in rows} == left
    # What is left counts as it does in a memory that was told no more than that.
    again = ProceduralMemoryEngine(embedder="lexical")
    again.load(path)
    for context in (ADD, ["cat a.py"]):
        assert said(again, context) == said(engine, context)
    if "secret" in str(conditions) and "project" not in conditions:
        assert b"secret-thing" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_feedback_after_a_forgotten_step_moves_with_its_own(engine: ProceduralMemoryEngine) -> None:
    """Steps before it that are forgotten leave feedback after the step after which it was given."""
    with engine.session() as session:
        for step in ("ls", "pwd", "git add ."):
            session.record(step)
        session.feedback("make lint", "rejected")
        session.record("git push")
    before = said(engine, ADD)[0]["make lint"]["feedback"]
    engine.forget(containing="pwd")
    assert said(engine, ADD)[0]["make lint"]["feedback"] == before


def test_secrets_in_feedback_are_never_stored(tmp_path: Path) -> None:
    """The line shown and the step before it are redacted before anything is kept."""
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    line = f"curl -H 'Authorization: Bearer {secret}' https://api.example.com"
    with fresh(tmp_path / "m.sqlite3") as engine:
        engine.feedback([line], line, "rejected")
        with engine.session() as session:
            session.feedback(line, "accepted")
        assert engine.stats()["feedback_count"] == 2
        engine.save(tmp_path / "m.json")
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_call_that_fails_leaves_nothing(engine: ProceduralMemoryEngine) -> None:
    """A wrong verdict or prediction changes nothing, and the error names rule and value."""
    session = engine.session()
    session.record("git add .")
    with pytest.raises(InvalidInputError, match=r"verdict: must be 'accepted', 'rejected' or 'ignored', got 'liked'"):
        session.feedback("make lint", "liked")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="prediction: must be a Prediction or its command line, not list"):
        session.feedback(["make lint"], "accepted")  # type: ignore[arg-type]
    assert judgements(engine, ADD) == {}
    engine.forget(session=session.session_id)
    with pytest.raises(ClosedError):
        session.feedback("make lint", "rejected")
    with pytest.raises(InvalidInputError, match="progress callback"):
        engine.learn_many([["a", "b", "c"]], progress=lambda _: engine.feedback(ADD, "make lint", "rejected"))
    assert engine.stats()["feedback_count"] == 0


def test_a_session_that_was_closed_elsewhere_takes_no_feedback(tmp_path: Path) -> None:
    """Its end, learned from another memory, is the end here."""
    with fresh(tmp_path / "m.sqlite3") as one, fresh(tmp_path / "m.sqlite3") as other:
        session = one.session(session_id="live")
        session.record("git add .", timestamp=1e9)
        ended = ProceduralMemoryEngine(embedder="lexical")
        ended.learn_workflow([{"command": "git add .", "timestamp": 1e9}, "make lint", "git push"], session_id="live")
        other.merge(ended)
        with pytest.raises(ClosedError, match="was closed"):
            session.feedback("make lint", "accepted")
        assert one.stats()["feedback_count"] == 0


def test_without_feedback_nothing_is_read(tmp_path: Path) -> None:
    """A memory without feedback is asked for it once, by one key, and then no more until it changes."""
    with fresh(tmp_path / "m.sqlite3") as engine:
        engine.predict_next_action(["make lint"])
        asked: list[str] = []
        engine._store._db.set_trace_callback(asked.append)  # type: ignore[attr-defined]
        for _ in range(3):
            engine.predict_next_action(ADD, top_k=9)
        assert len([sql for sql in asked if "shown" in sql or "feedback" in sql]) <= 1


@pytest.mark.parametrize(
    ("where", "row", "message"),
    [
        ("session", 5, r"sessions\[0\]\.feedback\[0\]: must be a mapping, not int"),
        ("session", {"step": 4}, r"sessions\[0\]\.feedback\[0\]\.step: must be an integer from 0 to 3, got 4"),
        ("session", {"step": True}, r"sessions\[0\]\.feedback\[0\]\.step: must be an integer"),
        ("session", {"verdict": "liked"}, r"feedback\[0\]\.verdict: must be 'accepted', 'rejected' or 'ignored'"),
        ("none", {"timestamp": None}, r"m\.json': feedback\[0\]\.timestamp: must be epoch seconds, got None"),
        ("none", {"line": ""}, r"m\.json': feedback\[0\]\.line: must not be empty"),
        ("none", {"after": 5}, r"m\.json': feedback\[0\]\.after: must be a string"),
        ("none", "all", r"m\.json': feedback: must be a list, not str"),
    ],
)
def test_damaged_feedback_is_refused(
    engine: ProceduralMemoryEngine, tmp_path: Path, where: str, row: Any, message: str
) -> None:
    """A snapshot with feedback that breaks a rule is refused whole; the error names place, rule and value."""
    good = {"step": 0, "line": "ls", "verdict": "accepted", "timestamp": 1.0}
    rows = row if row == "all" else [{**good, **row} if isinstance(row, dict) else row]
    session = {"session_id": "s", "start": 1.0, "commands": ["a", "b", "c"]}
    content = {"format": "procedural-memory", "version": 1, "sessions": [session], "feedback": []}
    (session if where == "session" else content)["feedback"] = rows
    path = tmp_path / "m.json"
    path.write_text(json.dumps(content))
    before = told(engine)
    with pytest.raises(SnapshotError, match=message):
        engine.load(path)
    assert told(engine) == before


def test_a_changed_letter_in_feedback_is_noticed(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Feedback of no session is guarded by a checksum, too; a file without any is as it was before there was any."""
    path = engine.save(tmp_path / "m.json")
    assert "feedback" not in path.read_text()
    engine.feedback(ADD, "make lint", "rejected")
    engine.save(path)
    path.write_text(path.read_text().replace('"line": "make lint"', '"line": "make link"'))
    with pytest.raises(SnapshotError, match="its feedback do not match its checksum"):
        engine.load(path)


def test_being_ignored_cannot_silence_a_habit(engine: ProceduralMemoryEngine) -> None:
    """Feedback does not fade, so what it can do to a probability is bounded: who types on has judged little."""
    line, before = next(iter(told(engine).items()))
    for _ in range(4):
        engine.feedback(ADD, line, "ignored")
    after = told(engine)[line]
    for _ in range(60):
        engine.feedback(ADD, line, "ignored")
    assert told(engine)[line] == pytest.approx(after)
    assert before / 4 < after < before
