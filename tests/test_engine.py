"""The public contract of the engine: learning, predicting, and what it remembers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import networkx as nx
import pytest

from procedural_memory import (
    ClosedError,
    InvalidInputError,
    ProceduralMemoryEngine,
    SessionConflictError,
    WorkflowPattern,
)

RELEASE = ["git add .", "git commit -m 'release'", "git push"]


def test_seed_example_works_without_a_service(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The documented first example runs with no embedding service, degrades to counts and says so."""
    engine = ProceduralMemoryEngine(embedding_service_url="http://127.0.0.1:9")
    pattern_id = engine.learn_workflow(
        session_commands=[
            {"command": "npm install", "timestamp": 1732262400.0},
            {"command": "npm test", "timestamp": 1732262460.0},
            {"command": "git commit -m 'ok'", "timestamp": 1732262520.0},
        ],
        session_outcome="success",
    )
    predictions = engine.predict_next_action(current_context=["npm install"], top_k=3)
    assert predictions[0].next_command == "npm test"
    assert engine.flush() > 0
    problem = engine.stats()["embedder"]["problem"]
    assert problem is not None
    assert "127.0.0.1:9" in problem
    assert "counts alone" in caplog.text

    saved = engine.save(tmp_path / "memory.pkl")
    again = ProceduralMemoryEngine(embedding_service_url="http://127.0.0.1:9")
    again.load(saved)
    assert list(again.patterns) == [pattern_id]
    assert again.predict_next_action(["npm install"])[0].next_command == "npm test"


def test_empty_memory_predicts_nothing(engine: ProceduralMemoryEngine) -> None:
    """Before any learning every read answers, with nothing."""
    assert engine.predict_next_action(["git status"]) == []
    assert engine.predict_next_action([]) == []
    assert engine.similar_patterns(["git status"]) == []
    assert dict(engine.patterns) == {}
    assert engine.causal_chains == {}
    assert engine.workflow_graph.number_of_nodes() == 0
    assert len(engine) == 0
    assert engine
    assert engine.explain_outcome(["git status"]).raises == ()


def test_short_batch_learns_nothing(engine: ProceduralMemoryEngine) -> None:
    """Fewer than `min_commands` commands give None and leave no trace."""
    assert engine.learn_workflow(["git status", "git diff"]) is None
    assert engine.stats()["command_count"] == 0


def test_pattern_counts_outcomes(engine: ProceduralMemoryEngine) -> None:
    """The same workflow is one pattern; outcomes add up; confidence is the Beta(1, 1) posterior mean."""
    ids = {engine.learn_workflow(RELEASE, outcome) for outcome in ("success", "success", "failure", None)}
    (pattern_id,) = ids
    assert isinstance(pattern_id, str)
    pattern = engine.patterns[pattern_id]
    assert isinstance(pattern, WorkflowPattern)
    assert (pattern.success_count, pattern.failure_count, pattern.unknown_count) == (2, 1, 1)
    assert pattern.success_rate == pytest.approx(2 / 3)
    assert pattern.confidence == pytest.approx(3 / 5)
    assert pattern.command_sequence == tuple(RELEASE)
    assert pattern.command_count == 3


def test_one_success_is_not_certainty(engine: ProceduralMemoryEngine) -> None:
    """A pattern seen once with success has confidence 2/3."""
    pattern_id = engine.learn_workflow(RELEASE)
    assert pattern_id is not None
    assert engine.patterns[pattern_id].confidence == pytest.approx(2 / 3)


def test_duration_is_averaged(engine: ProceduralMemoryEngine) -> None:
    """The duration of a pattern is the mean over the sessions whose times are known."""
    timed = [{"command": c, "timestamp": 1e9 + 10 * i, "duration_ms": 500} for i, c in enumerate(RELEASE)]
    pattern_id = engine.learn_workflow(timed)
    engine.learn_workflow(RELEASE)
    assert pattern_id is not None
    assert engine.patterns[pattern_id].avg_duration_ms == pytest.approx(20_500)


def test_prediction_follows_what_was_seen(engine: ProceduralMemoryEngine) -> None:
    """The step that always followed comes first, with a reason whose numbers are the counts."""
    for _ in range(4):
        engine.learn_workflow(RELEASE)
    engine.learn_workflow(["git add .", "git status", "git diff"], "failure")
    best, second = engine.predict_next_action(["git add ."], top_k=2)
    assert best.next_command == "git commit -m 'release'"
    assert best.template == "git commit -m <STR>"
    assert 0 < second.probability < best.probability <= best.template_probability <= 1
    assert "4 times after" in best.reason
    assert "4 sessions" in best.reason
    assert "4 ended well" in best.reason
    assert best.confidence == pytest.approx(5 / 6)
    assert best.auto_suggestions == ("git push",)
    assert best.runnable
    assert not best.destructive
    counts = next(item for item in best.evidence if item.expert == "counts")
    assert counts.details["count"] == 4


def test_probabilities_of_distinct_templates_sum_to_at_most_one(learned: ProceduralMemoryEngine) -> None:
    """Template probabilities are probabilities: some mass is left for what was never seen."""
    found = learned.predict_next_action(["git status"], top_k=1000, level="template")
    assert len({p.template for p in found}) == len(found)
    total = sum(p.template_probability for p in found)
    assert 0.5 < total < 1.0


def test_lists_are_ordered_by_their_level(learned: ProceduralMemoryEngine) -> None:
    """Lines that can be run are ordered by `probability`, templates by `template_probability`."""
    lines = [p.probability for p in learned.predict_next_action(["git add ."], top_k=10) if p.runnable]
    forms = [p.template_probability for p in learned.predict_next_action(["git add ."], top_k=10, level="template")]
    assert lines == sorted(lines, reverse=True)
    assert forms == sorted(forms, reverse=True)


def test_min_probability_keeps_silent(learned: ProceduralMemoryEngine) -> None:
    """What is less probable than asked for is left out."""
    everything = learned.predict_next_action(["git add ."], top_k=1000)
    floor = everything[2].probability
    wanted = [p for p in everything if p.probability >= floor]
    assert 3 <= len(wanted) < 10
    assert learned.predict_next_action(["git add ."], top_k=10, min_probability=floor) == wanted


def test_empty_context_predicts_how_sessions_start(engine: ProceduralMemoryEngine) -> None:
    """With nothing typed yet, the usual first step is predicted."""
    for _ in range(3):
        engine.learn_workflow(["git pull", "npm ci", "npm test"])
    best = engine.predict_next_action([], top_k=1)[0]
    assert best.next_command == "git pull"
    assert "start of a session" in best.reason


def test_prediction_is_pure(learned: ProceduralMemoryEngine) -> None:
    """Predicting changes nothing: the same question has the same answer, and no count moves."""
    before = learned.stats()
    context = ["git status", "never seen before --at-all"]
    first = learned.predict_next_action(context)
    assert learned.predict_next_action(context) == first
    assert context == ["git status", "never seen before --at-all"]
    assert learned.stats() == before


def test_unseen_last_step_still_gets_an_answer(learned: ProceduralMemoryEngine) -> None:
    """After a command that was never seen the engine falls back instead of giving up."""
    assert learned.predict_next_action(["frobnicate --hard"], top_k=3)


def test_equivalent_tool_is_recognised(engine: ProceduralMemoryEngine) -> None:
    """What follows `npm ci` is proposed after `yarn install`, which was never seen."""
    for _ in range(3):
        engine.learn_workflow(["git pull", "npm install", "npm test", "git push"])
    best = engine.predict_next_action(["git pull", "yarn install"], top_k=1)[0]
    assert best.next_command == "npm test"
    assert best.similar_patterns == tuple(engine.patterns)


def test_graph_is_a_digraph_with_counts(engine: ProceduralMemoryEngine) -> None:
    """Edges carry weight, success, failure and their rate; exit codes win over the session's outcome."""
    engine.learn_workflow(RELEASE, "success")
    engine.learn_workflow(
        [{"command": RELEASE[0]}, {"command": RELEASE[1], "exit_code": 1}, {"command": RELEASE[2]}], "success"
    )
    graph = engine.workflow_graph
    assert isinstance(graph, nx.DiGraph)
    assert graph.edges["git add .", "git commit -m <STR>"] == {
        "weight": 2,
        "success": 1,
        "failure": 1,
        "success_rate": 0.5,
    }
    assert graph.nodes["git push"]["count"] == 2
    graph.clear()
    assert engine.workflow_graph.number_of_edges() == 2


def test_causal_chains_count_outcomes(engine: ProceduralMemoryEngine) -> None:
    """A chain is template -> next -> outcome with its count, most frequent first."""
    engine.learn_workflow(RELEASE, "success")
    engine.learn_workflow(RELEASE, "success")
    engine.learn_workflow(RELEASE, "failure")
    engine.learn_workflow(RELEASE, None)
    assert engine.causal_chains["git add ."] == [
        {"next": "git commit -m <STR>", "outcome": "success", "count": 2},
        {"next": "git commit -m <STR>", "outcome": None, "count": 1},
        {"next": "git commit -m <STR>", "outcome": "failure", "count": 1},
    ]


def test_explain_outcome_tells_which_steps_help(engine: ProceduralMemoryEngine) -> None:
    """A step that goes with success raises the odds, its absence elsewhere shows in counts and interval."""
    for _ in range(12):
        engine.learn_workflow(["git pull", "pytest -q", "git push"], "success")
        engine.learn_workflow(["git pull", "git push --force", "git log"], "failure")
    told = engine.explain_outcome(["git pull", "pytest -q", "git push --force"])
    assert told.sessions == 24
    assert told.base_rate == pytest.approx(0.5)
    raising = {i.step: i for i in told.raises}
    lowering = {i.step: i for i in told.lowers}
    assert (raising["pytest -q"].successes, raising["pytest -q"].failures) == (12, 0)
    assert "git pull -> pytest -q" in raising
    assert raising["pytest -q"].low > 0
    assert lowering["git push --force"].high < 0
    assert "git pull" not in raising | lowering


def test_learning_again_is_a_no_op(engine: ProceduralMemoryEngine) -> None:
    """A repeated id with equal content changes nothing; with different content it is an error."""
    first = engine.learn_workflow(RELEASE, session_id="s1")
    assert engine.learn_workflow(RELEASE, session_id="s1") == first
    assert engine.stats()["session_count"] == 1
    with pytest.raises(SessionConflictError, match="'s1' is taken"):
        engine.learn_workflow(RELEASE, "failure", session_id="s1")
    with pytest.raises(SessionConflictError):
        engine.learn_workflow([*RELEASE, "git log"], session_id="s1")
    assert engine.stats()["command_count"] == 3


def test_learn_many_is_all_or_nothing(engine: ProceduralMemoryEngine) -> None:
    """One invalid session undoes the whole call, and the error names the item."""
    good = {"commands": RELEASE, "outcome": "success"}
    with pytest.raises(InvalidInputError, match=r"sessions\[1\]\.commands\[2\]: must not be empty"):
        engine.learn_many([good, {"commands": ["a", "b", " "]}])
    assert engine.stats()["session_count"] == 0
    seen: list[int] = []
    ids = engine.learn_many([good, ["ls", "pwd"], {"session_commands": RELEASE}], progress=seen.append)
    assert seen == [1, 2, 3]
    assert ids[1] is None
    assert ids[0] == ids[2]
    pattern = engine.patterns[str(ids[0])]
    assert (pattern.success_count, pattern.unknown_count) == (1, 1)


def test_live_session_equals_batch() -> None:
    """Recording step by step and closing gives the memory that learning the batch gives."""
    steps: list[dict[str, Any]] = [
        {"command": "git pull", "exit_code": 0},
        {"command": "pytest -q"},
        {"command": "pytest -q", "exit_code": 1},
        {"command": "git push"},
    ]
    with ProceduralMemoryEngine(embedder="lexical") as batch, ProceduralMemoryEngine(embedder="lexical") as live:
        wanted = batch.learn_workflow(steps, "failure", session_id="s")
        session = live.session(session_id="s")
        for step in steps:
            session.record(step["command"], exit_code=step.get("exit_code"))
            live.predict_next_action(["git pull"])
        assert session.close("failure") == wanted
        assert session.close("failure") == wanted
        assert dict(live.patterns) == dict(batch.patterns)
        assert live.causal_chains == batch.causal_chains
        assert nx.utils.graphs_equal(live.workflow_graph, batch.workflow_graph)


def test_session_learns_at_once(engine: ProceduralMemoryEngine) -> None:
    """A recorded step counts before the session is closed, also for other contexts."""
    session = engine.session(cwd="/src")
    for command in ("make build", "make test") * 2:
        session.record(command, exit_code=0)
    assert engine.predict_next_action(["make build"], top_k=1)[0].next_command == "make test"
    session.record("make build")
    session.record("make test")
    session.record("make build")
    assert session.predict(top_k=1)[0].next_command == "make test"
    assert len(engine) == 0


def test_session_block_closes_with_unknown_outcome(engine: ProceduralMemoryEngine) -> None:
    """Leaving the block closes; a closed session takes nothing more."""
    with engine.session() as session:
        for command in RELEASE:
            session.record(command)
    (pattern,) = engine.patterns.values()
    assert pattern.unknown_count == 1
    with pytest.raises(ClosedError, match="is closed"):
        session.record("git log")
    with pytest.raises(ClosedError):
        session.predict()
    assert "closed" in repr(session)


def test_short_session_keeps_steps_but_forms_no_pattern(engine: ProceduralMemoryEngine) -> None:
    """Two steps are remembered as a transition, not as a pattern."""
    session = engine.session()
    session.record("git add .")
    session.record("git commit -m x")
    assert session.close("success") is None
    assert len(engine) == 0
    assert engine.workflow_graph.edges["git add .", "git commit -m <STR>"]["success"] == 1


def test_session_id_is_unique(engine: ProceduralMemoryEngine) -> None:
    """A live session cannot take an id that is in use."""
    engine.session(session_id="mine")
    with pytest.raises(SessionConflictError, match="'mine' is taken"):
        engine.session(session_id="mine")


def test_async_twins_give_the_same(engine: ProceduralMemoryEngine) -> None:
    """The coroutines do what the methods do."""

    async def run() -> tuple[str | None, str]:
        pattern_id = await engine.alearn_workflow(RELEASE, "success")
        found = await engine.apredict_next_action(RELEASE[:2], top_k=1)
        return pattern_id, found[0].next_command

    pattern_id, command = asyncio.run(run())
    assert pattern_id in engine.patterns
    assert command == "git push"


def test_threads_lose_nothing(engine: ProceduralMemoryEngine) -> None:
    """Eight threads learning and predicting at once: every session is counted."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(20):
                engine.learn_workflow(["git pull", f"make step{number}", "git push"], session_id=f"{number}-{i}")
                assert engine.predict_next_action(["git pull"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert engine.stats()["session_count"] == 160
    assert engine.workflow_graph.nodes["git push"]["count"] == 160


def test_closed_engine_refuses(engine: ProceduralMemoryEngine) -> None:
    """After close every call says so; closing again is fine."""
    engine.learn_workflow(RELEASE)
    session = engine.session()
    engine.close()
    engine.close()
    for call in (
        lambda: engine.learn_workflow(RELEASE),
        lambda: engine.predict_next_action([]),
        lambda: engine.stats(),
        lambda: len(engine),
        lambda: session.record("ls"),
    ):
        with pytest.raises(ClosedError, match="engine is closed"):
            call()
    assert "closed" in repr(engine)


def test_repr_says_what_is_there(engine: ProceduralMemoryEngine) -> None:
    """The repr names place, sizes and embedder."""
    engine.learn_workflow(RELEASE)
    assert repr(engine) == ("<ProceduralMemoryEngine in memory, 1 pattern, 1 session, 3 commands, embedder lexical>")


def test_stats_has_the_documented_fields(learned: ProceduralMemoryEngine) -> None:
    """Sizes agree with what the views show."""
    stats = learned.stats()
    graph = learned.workflow_graph
    assert stats["pattern_count"] == len(learned)
    assert stats["graph_node_count"] == graph.number_of_nodes()
    assert stats["graph_edge_count"] == graph.number_of_edges()
    assert stats["causal_chain_count"] == sum(len(links) for links in learned.causal_chains.values())
    assert stats["total_successes"] == 27
    assert stats["total_failures"] == 10
    assert stats["embedder"]["name"] == "lexical"
    assert stats["embedder"]["pending"] == 0
    assert stats["embedder"]["reason"]


def test_missing_pattern_is_a_key_error(engine: ProceduralMemoryEngine) -> None:
    """The mapping behaves like a dict."""
    with pytest.raises(KeyError):
        engine.patterns["no such id"]
    assert engine.patterns.get("no such id") is None
    for odd in ("\ud800", 5, None):
        assert odd not in engine.patterns


def test_durable_memory_is_there_again(tmp_path: Any) -> None:
    """A memory with a path is there after closing, private to the user, and two engines see each other's learning."""
    path = tmp_path / "deep" / "memory.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as first:
        first.learn_workflow(RELEASE)
        assert path.stat().st_mode & 0o077 == 0
        with ProceduralMemoryEngine(path=str(path), embedder="lexical") as second:
            assert second.predict_next_action(["git add ."])
            second.learn_workflow(RELEASE)
        assert first.stats()["session_count"] == 2
    with ProceduralMemoryEngine(path=path, embedder="lexical") as third:
        assert third.workflow_graph.nodes["git push"]["count"] == 2
