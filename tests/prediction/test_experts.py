"""Every expert passes the same checks; and what each of them is there for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import pytest
from expert_checks import CHECKS, MakeExpert, query

from procedural_memory import ProceduralMemoryEngine, normalize
from procedural_memory.memory.context import program_of, runs
from procedural_memory.prediction import features
from procedural_memory.prediction.experts import (
    Expert,
    PatternExpert,
    RecencyExpert,
    SemanticExpert,
    SkipExpert,
    chain_experts,
    decayed,
    line_experts,
)
from procedural_memory.prediction.line_features import LINE_EXPERTS
from procedural_memory.storage.base import Context


def _chain(place: int, engine: ProceduralMemoryEngine) -> Expert:
    return chain_experts()[place]


def _line(place: int, engine: ProceduralMemoryEngine) -> Expert:
    return line_experts()[place]


EXPERTS: dict[str, MakeExpert] = {
    **{expert.name: partial(_chain, place) for place, expert in enumerate(chain_experts())},
    "skip": lambda engine: SkipExpert(),
    "patterns": lambda engine: PatternExpert(engine._index, 0.7),
    "semantic": lambda engine: SemanticExpert(engine._vectors.neighbours),
    "recency": lambda engine: RecencyExpert(),
    **{expert.name: partial(_line, place) for place, expert in enumerate(line_experts())},
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EXPERTS)
def test_expert_contract(check: Callable[..., None], name: str, learned: ProceduralMemoryEngine) -> None:
    """Each expert keeps each rule of the contract."""
    arguments = (EXPERTS[name], learned)
    check(*arguments[: len(inspect.signature(check).parameters)])


def test_every_expert_of_the_engine_is_checked(learned: ProceduralMemoryEngine) -> None:
    """The experts in use are those checked here, and the rankers see all but the pooled ones."""
    seen = {"patterns", "semantic", *features.EXPERTS, *LINE_EXPERTS}
    assert {expert.name for expert in learned._predictor.experts} == set(EXPERTS) == seen


def test_counts_prefer_the_longer_context(engine: ProceduralMemoryEngine) -> None:
    """After `a`, `c` is usual; after `x` then `a` it is `d`: the longer context decides."""
    for _ in range(5):
        engine.learn_workflow(["start", "a", "c"])
    for _ in range(3):
        engine.learn_workflow(["x", "a", "d"])
    engine.flush()
    ids = engine._store.template_ids(["c", "d"])
    proposal = EXPERTS["counts"](engine).propose(query(engine, ["x", "a"]))
    assert proposal is not None
    assert proposal.probabilities[ids["d"]] > proposal.probabilities[ids["c"]]


def test_counts_fade(engine: ProceduralMemoryEngine) -> None:
    """A habit that changed: the newer follower wins although the older one was seen more often."""
    for _ in range(60):
        engine.learn_workflow(["deploy", "old-way", "done"])
    for _ in range(40):
        engine.learn_workflow(["deploy", "new-way", "done"])
    assert engine.predict_next_action(["deploy"], top_k=1)[0].next_command == "new-way"


def test_decay_counts_what_is_recent_fully() -> None:
    """The newest follower weighs 1, the one before .97; all older ones share the rest of the geometric sum."""
    weights, total = decayed(Context(2, (7, 9), {7: 1, 9: 1}), 0.97)
    assert weights == pytest.approx({9: 1.0, 7: 0.97})
    assert total == pytest.approx(1.97)


def test_decay_of_a_long_history_sums_to_its_total() -> None:
    """With followers older than the recent ones, weights still add up to the geometric sum over all updates."""
    context = Context(300, (1,) * 64, {1: 200, 2: 100})
    weights, total = decayed(context, 0.97)
    assert total == pytest.approx((1 - 0.97**300) / 0.03)
    assert sum(weights.values()) == pytest.approx(total)
    assert weights[2] < weights[1]


def test_pattern_expert_bridges_an_extra_step(engine: ProceduralMemoryEngine) -> None:
    """A step in between that the pattern does not have keeps it from no vote."""
    pattern_id = engine.learn_workflow(["git pull", "npm ci", "npm run build", "npm test", "git push"])
    engine.flush()
    proposal = EXPERTS["patterns"](engine).propose(
        query(engine, ["git pull", "npm ci", "cat README.md", "npm run build"])
    )
    assert proposal is not None
    best = max(proposal.probabilities, key=lambda template: proposal.probabilities[template])
    assert engine._store.template_text(best) == "npm test"
    details = proposal.explain(best).details
    assert details["pattern_ids"] == (pattern_id,)
    assert 0.7 <= details["similarity"] < 1.0


def test_semantic_expert_borrows_from_a_neighbour(engine: ProceduralMemoryEngine) -> None:
    """A step whose followers are few takes those of the step that resembles it most."""
    for _ in range(3):
        engine.learn_workflow(["docker compose up -d", "docker compose logs -f", "docker compose down"])
    engine.learn_workflow(["ls", "pwd", "docker compose up"])
    engine.flush()
    proposal = EXPERTS["semantic"](engine).propose(query(engine, ["docker compose up"]))
    assert proposal is not None
    logs = engine._store.template_ids(["docker compose logs -f"])["docker compose logs -f"]
    support = proposal.explain(logs)
    assert support.context == ("docker compose up -d",)
    assert support.details["count"] == 3


def test_numbers_of_a_reason_are_those_of_the_store(learned: ProceduralMemoryEngine) -> None:
    """What a reason says of counts is what the graph says of the transition."""
    checked = 0
    for found in learned.predict_next_action(["ls", "git add src/orders/api.py"], top_k=5, level="template"):
        counts = next((item for item in found.evidence if item.expert == "counts"), None)
        if counts is None or counts.context != ("git add <FILE>",) or counts.details["at_start"]:
            continue
        edge = learned.workflow_graph.edges["git add <FILE>", found.template]
        assert counts.details["count"] == edge["weight"]
        assert counts.details["successes"] == edge["success"]
        times = "once" if edge["weight"] == 1 else f"{edge['weight']} times"
        assert f"seen {times} after `git add <FILE>`" in found.reason
        checked += 1
    assert checked


def test_a_template_runs_its_first_program_and_no_other() -> None:
    """Whether a line names a program tells soon that it does not run it, by whatever name it does."""
    lines = [
        *[
            "git status",
            "git commit -m x",
            "python3 -m pytest -q",
            "pip3 install x",
            "vi a.txt",
            "sudo vim a.txt",
            "ls",
        ],
        *["./run.sh", "env A=1 make", "cd src && make", "/usr/bin/git log", "A=1", "", "# no line", "select 1 from t"],
    ]
    templates = [normalize(line) for line in lines]
    programs = {program_of(template) for template in templates}
    for template in templates:
        assert [program for program in programs if runs(template, program)] == [program_of(template)]
