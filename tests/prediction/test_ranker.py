"""The ranker: probabilities that sum to one, learned from what came next, kept and moved with the memory."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from expert_checks import query

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.memory.context import SessionContext
from procedural_memory.prediction.features import EXPERTS, FEATURES, Features, extract
from procedural_memory.prediction.line_features import LINE_EXPERTS, LINE_FEATURES
from procedural_memory.prediction.ranker import LINES, START_WEIGHTS, TEMPLATES, Rankers
from procedural_memory.types import Command, Level

STEPS = ["git status", "git pull --rebase", "vim src/orders/api.py"]


def ask(engine: ProceduralMemoryEngine, commands: list[str]) -> Features:
    """Return the features of a question to the memory of `engine`."""
    question = query(engine, commands)
    proposals = {expert.name: p for expert in engine._predictor._ranked if (p := expert.propose(question)) is not None}
    return extract(question, proposals)


def test_probabilities_and_none_sum_to_one(learned: ProceduralMemoryEngine) -> None:
    """Every candidate has a probability; the rest is that it is none of them."""
    for commands in ([], STEPS[:1], STEPS, ["never --seen before"]):
        features = ask(learned, commands)
        probabilities, none = Rankers().templates.rank(features)
        assert len(probabilities) == len(features.candidates) > 0
        assert (probabilities > 0).all()
        assert none > 0
        assert probabilities.sum() + none == pytest.approx(1.0)


def test_ranking_is_pure(learned: ProceduralMemoryEngine) -> None:
    """Asking changes nothing."""
    ranker = Rankers()
    before = ranker.to_bytes()
    first, second = (ranker.templates.rank(ask(learned, STEPS)) for _ in range(2))
    ranker.templates.shares(ask(learned, STEPS), EXPERTS)
    assert np.array_equal(first[0], second[0])
    assert ranker.to_bytes() == before


def test_learning_moves_towards_what_came(learned: ProceduralMemoryEngine) -> None:
    """What came next becomes more probable, also when it was the last of the candidates; so does "none of these"."""
    features = ask(learned, STEPS)
    for place in (0, len(features.candidates) - 1):
        ranker = Rankers()
        before, _ = ranker.templates.rank(features)
        for _ in range(5):
            ranker.templates.learn(features, features.candidates[place])
        after, _ = ranker.templates.rank(features)
        assert after[place] > before[place]
    ranker = Rankers()
    _, before_none = ranker.templates.rank(features)
    ranker.templates.learn(features, None)
    assert ranker.templates.rank(features)[1] > before_none


def test_nothing_to_choose_from_teaches_nothing() -> None:
    """A step before anything was learned leaves the weights alone."""
    with ProceduralMemoryEngine(embedder="lexical") as empty:
        ranker = Rankers()
        before = ranker.to_bytes()
        ranker.templates.learn(ask(empty, []), 7)
        assert ranker.to_bytes() == before


def test_what_was_learned_round_trips(learned: ProceduralMemoryEngine) -> None:
    """Bytes restored give the same probabilities; bytes of another kind are refused and change nothing."""
    features = ask(learned, STEPS)
    ranker, other = Rankers(), Rankers()
    for template in features.candidates:
        ranker.templates.learn(features, template)
        ranker.learned += 1
    assert other.restore(ranker.to_bytes())
    assert other.learned == ranker.learned == len(features.candidates)
    assert other.templates.rank(features)[0] == pytest.approx(ranker.templates.rank(features)[0], rel=1e-5)
    for damaged in (b"", b"12345678", ranker.to_bytes()[:-9], b"12345678" + bytes(64)):
        assert not other.restore(damaged)
    assert other.templates.rank(features)[0] == pytest.approx(ranker.templates.rank(features)[0], rel=1e-5)


def test_start_weights_name_features_and_nothing_else() -> None:
    """The shipped file holds numbers, and no text but the names of features and situations."""
    content = json.loads(START_WEIGHTS.read_text(encoding="utf-8"))
    assert content.keys() == {"templates", "lines"}
    for part, scheme in ((content["templates"], TEMPLATES), (content["lines"], LINES)):
        assert part["features"] == [*scheme.features, "none"]
        assert part["situations"] == dict(scheme.situations)
        assert all(key.isdigit() and int(key) <= sum(scheme.situations.values()) for key in part["weights"])
        for row in part["weights"].values():
            assert len(row) == len(scheme.features) + 1
            assert all(isinstance(value, (int, float)) for value in row)
    assert set(EXPERTS) <= set(FEATURES)
    assert {"fill", *LINE_EXPERTS} <= set(LINE_FEATURES)


def test_the_engine_learns_what_its_experts_are_worth(engine: ProceduralMemoryEngine) -> None:
    """Where the step after `go` is what was done before it, not what is usual, the ranker comes to say so."""
    rng = random.Random(3)
    hits = []
    for number in range(240):
        with engine.session() as live:
            first = rng.choice(["alpha", "beta", "gamma", "delta"])
            for command in (first, "go", first):
                if command is first and live._context.length:
                    hits.append(live.predict(1)[0].next_command == first if number else False)
                live.record(command)
    assert np.mean(hits[-100:]) > 0.95


def test_probabilities_mean_what_they_say(engine: ProceduralMemoryEngine) -> None:
    """Of a coin with known chances the probability comes out as its chance."""
    rng = random.Random(5)
    seen = []
    for _ in range(500):
        with engine.session() as live:
            live.record("flip")
            best = live.predict(3, level="template")
            live.record(rng.choices(["heads", "tails"], [0.7, 0.3])[0])
            seen.append({p.template: p.template_probability for p in best}.get("heads", 0.0))
    assert np.mean(seen[-200:]) == pytest.approx(0.7, abs=0.08)


def test_ranker_is_kept_with_the_memory(tmp_path: Path) -> None:
    """A durable memory opens with what its ranker had learned; a forgotten session leaves none of it."""
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        engine.learn_many([["a", "b", "c", "d"]] * 8)
        engine.learn_workflow(["a", "x", "c"], session_id="other")
        expected = engine.predict_next_action(["a"])
    with ProceduralMemoryEngine(path=path, embedder="lexical") as again:
        assert again._rankers.learned > 0
        found = again.predict_next_action(["a"])
        assert [p.template for p in found] == [p.template for p in expected]
        assert [p.probability for p in found] == pytest.approx([p.probability for p in expected], rel=1e-4)
        again.forget(session="other")
        forgotten = again._rankers.to_bytes()
    with ProceduralMemoryEngine(embedder="lexical") as innocent:
        innocent.learn_many([["a", "b", "c", "d"]] * 8)
        assert innocent._rankers.to_bytes() == forgotten


def test_after_a_failure_the_fix_is_likelier(engine: ProceduralMemoryEngine) -> None:
    """How the last step ended decides what is proposed."""
    for _ in range(12):
        engine.learn_workflow(
            [{"command": "make", "exit_code": 2}, {"command": "vim Makefile", "exit_code": 0}, "make clean"]
        )
        engine.learn_workflow(
            [{"command": "make", "exit_code": 0}, {"command": "make install", "exit_code": 0}, "make clean"]
        )
    for code, expected in ((2, "vim <FILE>"), (0, "make install")):
        best = engine.predict_next_action([{"command": "make", "exit_code": code}], top_k=1, level="template")[0]
        assert best.template == expected


def test_the_directory_counts(engine: ProceduralMemoryEngine) -> None:
    """The same step goes on in one way here and in another there; the caller may say where it stands."""
    for _ in range(12):
        for cwd, after in (("/src/shop", "npm test"), ("/src/api", "cargo test")):
            engine.learn_workflow([{"command": c, "cwd": cwd} for c in ("git pull", after, "git push")])
    for cwd, after in (("/src/shop", "npm test"), ("/src/api", "cargo test")):
        told = engine.predict_next_action([{"command": "git pull", "cwd": cwd}], top_k=1)
        asked = engine.predict_next_action(["git pull"], top_k=1, cwd=cwd)
        assert told[0].next_command == asked[0].next_command == after


def test_context_is_the_same_live_and_in_a_batch(engine: ProceduralMemoryEngine) -> None:
    """A live session and its commands handed over as a list are one context."""
    steps = [Command("make", exit_code=2, timestamp=10.0), Command("make", exit_code=1, cwd="/w", timestamp=70.0)]
    live = SessionContext()
    for step in steps:
        live.add(step)
    assert live == SessionContext.of(steps)
    assert (live.length, live.failures, live.exit_code, live.gap, live.cwd) == (2, 2, 1, 60.0, "/w")


def test_a_list_is_ordered_by_its_probabilities(engine: ProceduralMemoryEngine) -> None:
    """However lines and forms are placed, no prediction claims more than one above it."""
    for n in range(6):
        engine.learn_workflow(["git add .", f"git commit -m 'change {n}'", f"git tag v{n}", "git push"])
        engine.learn_workflow(["git add .", "make", f"cat notes{n}.txt", "git push"])
    for context in ([], ["git add ."], ["git add .", "git commit -m x"], ["make"]):
        levels: tuple[Level, ...] = ("command", "template")
        for level in levels:
            found = engine.predict_next_action(context, top_k=50, level=level)
            told = [p.probability if level == "command" else p.template_probability for p in found]
            assert told == sorted(told, reverse=True)
            assert 0.0 < sum(told) <= 1.0 + 1e-9
            assert all(p.probability <= p.template_probability + 1e-12 for p in found)


def test_a_floor_leaves_out_what_is_less_probable(engine: ProceduralMemoryEngine) -> None:
    """``min_probability`` cuts the list where its probabilities fall below it."""
    for n in range(4):
        engine.learn_workflow(["git add .", f"git commit -m 'change {n}'", "git push"])
        engine.learn_workflow(["git add .", "make", "git push"])
    every = engine.predict_next_action(["git add ."], top_k=20)
    some = engine.predict_next_action(["git add ."], top_k=20, min_probability=0.1)
    assert some == [p for p in every if p.probability >= 0.1]
    assert 0 < len(some) < len(every)


@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_a_snapshot_keeps_what_the_ranker_learned(engine: ProceduralMemoryEngine, tmp_path: Path, suffix: str) -> None:
    """After a load predictions are as probable as before the save, also where steps were learned one by one."""
    for n in range(12):
        with engine.session(cwd="/src") as live:
            for command in ("git pull", "make", "make test" if n % 3 else "make clean", "git push"):
                live.record(command, exit_code=0)
    engine.learn_many([["git pull", "make", "git push"]] * 5)
    engine.flush()
    contexts = [["git pull", "make"], ["make"], []]
    before = [[(p.next_command, p.probability) for p in engine.predict_next_action(c)] for c in contexts]
    path = engine.save(tmp_path / f"m{suffix}")
    with ProceduralMemoryEngine(embedder="lexical") as loaded:
        loaded.load(path)
        loaded.flush()
        for context, expected in zip(contexts, before, strict=True):
            found = loaded.predict_next_action(context)
            assert [p.next_command for p in found] == [command for command, _ in expected]
            assert [p.probability for p in found] == pytest.approx([p for _, p in expected], rel=1e-4)


def habits(first: str, second: str) -> ProceduralMemoryEngine:
    """Return a memory in which a step is followed by one thing or the other."""
    engine = ProceduralMemoryEngine(embedder="lexical")
    for number in range(40):
        with engine.session(session_id=f"{first}-{number}") as live:
            for step, command in enumerate(("git pull", first if number % 4 else second, "git push")):
                live.record(command, exit_code=0, timestamp=1e9 + 60 * number + step)
    engine.stats()
    return engine


def test_a_merge_combines_what_the_rankers_learned() -> None:
    """Each side has its say, by its evidence, whichever is merged into the other; a merge again changes nothing."""
    one, two, three, four = habits("make", "ls"), habits("npm ci", "ls -l"), habits("make", "ls"), habits("a", "b")
    learned = one._rankers.learned
    assert one.merge(two) == 40
    assert one._rankers.learned == 2 * learned
    two.merge(three)
    assert dict(one.patterns) == dict(two.patterns)
    assert one.causal_chains == two.causal_chains
    for mine, theirs in zip(one._rankers.state()[1], two._rankers.state()[1], strict=True):
        for part, same in zip(mine, theirs, strict=True):
            assert part == pytest.approx(same, abs=1e-9)
    before = one._rankers.to_bytes()
    assert one.merge(two) == 0
    assert one._rankers.to_bytes() == before
    alone, mean = (engine._rankers.templates.arrays[0] for engine in (three, one))
    empty = ProceduralMemoryEngine(embedder="lexical")
    start = empty._rankers.templates.arrays[0].copy()
    empty.merge(three)
    assert empty._rankers.templates.arrays[0] == pytest.approx(alone)
    assert abs(mean - start).max() > 0
    # Half of what is merged is known already: that half's evidence is not counted again.
    four.merge(one)
    assert four._rankers.learned == 3 * learned
    five = habits("make", "ls")
    five.merge(one)
    assert five._rankers.learned == 2 * learned


def test_a_damaged_ranker_in_a_snapshot_is_learned_anew(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """What is no ranker is left aside; the sessions are loaded all the same."""
    engine.learn_many([["git pull", "make", "git push"]] * 30)
    path = engine.save(tmp_path / "m.json")
    content = json.loads(path.read_text())
    for value in ("no base64!", "AAAA", 7, None):
        path.write_text(json.dumps({**content, "ranker": value}))
        with ProceduralMemoryEngine(embedder="lexical") as loaded:
            assert loaded.load(path).sessions == 30
            assert loaded._rankers.learned > 0
            assert loaded.predict_next_action(["git pull", "make"])[0].next_command == "git push"


def test_a_line_follows_the_line_before_it(engine: ProceduralMemoryEngine) -> None:
    """Where the templates are the same, the line that was run decides which comes next, in its project alone."""
    for number in range(24):
        branch, after = [("main", "git pull"), ("dev", "make lint")][number % 2]
        with engine.session(project="shop") as live:
            for command in ("git fetch", f"git checkout {branch}", after):
                live.predict(3)
                live.record(command)
    for branch, after in (("main", "git pull"), ("dev", "make lint")):
        context = [{"command": c, "project": "shop"} for c in ("git fetch", f"git checkout {branch}")]
        first = engine.predict_next_action(context, top_k=1)[0]
        assert first.next_command == after
        (counted,) = [item for item in first.evidence if item.expert == "line"]
        assert counted.context == ("git fetch", f"git checkout {branch}")
        assert counted.details == {"count": 12, "at_start": False, "project": "shop"}
        assert "this very line 12 times after" in first.reason
        elsewhere = [{**command, "project": "other"} for command in context]
        evidence = [item for found in engine.predict_next_action(elsewhere, top_k=20) for item in found.evidence]
        assert not any(item.expert.startswith("line") for item in evidence)


def test_lines_learn_from_what_is_recorded_unasked(engine: ProceduralMemoryEngine) -> None:
    """The ranker of lines learns from the log, whether or not a step was predicted."""
    before = engine._rankers.lines.arrays[0].copy()
    engine.learn_many([["git add .", "git commit -m wip", "git push"]] * 5)
    assert not np.array_equal(engine._rankers.lines.arrays[0], before)


def test_a_line_with_a_secret_is_never_offered(engine: ProceduralMemoryEngine) -> None:
    """A line that lost its secret cannot be run, and comes back through no expert."""
    for _ in range(6):
        steps = ["make", "curl -H 'Authorization: Bearer abcdef0123456789abcdef0123456789' localhost", "make"]
        engine.learn_workflow([{"command": command, "cwd": "/src/a"} for command in steps])
    found = engine.predict_next_action([{"command": "make", "cwd": "/src/a"}], top_k=30)
    assert found
    assert not any("<SECRET>" in p.next_command and p.runnable for p in found)


@pytest.mark.parametrize("level", ["command", "template"])
def test_the_first_are_the_same_however_many_are_asked_for(learned: ProceduralMemoryEngine, level: Level) -> None:
    """`top_k` cuts a list and changes nothing of it, also beyond what the ranker of lines looks at."""
    for context in ([], STEPS[:1], STEPS, ["git add ."], ["never --seen before"]):
        every = learned.predict_next_action(context, top_k=60, level=level)
        assert len(every) > 10
        for k in (1, 3, 10, 11, 25):
            few = learned.predict_next_action(context, top_k=k, level=level)
            assert few[:10] == every[: min(k, 10)]
            assert len(few) == min(k, len(every))
        assert len({p.next_command for p in every}) == len(every) or level == "template"
