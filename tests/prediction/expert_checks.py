"""The contract that every expert fulfils: ``check_*`` functions, run against each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from procedural_memory import ProceduralMemoryEngine, normalize
from procedural_memory.memory.context import SessionContext
from procedural_memory.prediction.experts import Expert, Query
from procedural_memory.types import Command

MakeExpert = Callable[[ProceduralMemoryEngine], Expert]

CONTEXTS: tuple[list[str], ...] = (
    [],
    ["git status"],
    ["git status", "git pull --rebase", "vim src/orders/api.py"],
    ["never --seen before", "nor this | one"],
    ["git status"] * 100,
)


def query(engine: ProceduralMemoryEngine, commands: list[str]) -> Query:
    """Return a question to the memory of `engine`."""
    steps = [Command(command, exit_code=0, cwd="/home/dev/src/orders-api") for command in commands]
    context = SessionContext.of(steps, project="orders-api", cwd="/home/dev/src/orders-api")
    return Query(engine._store, context)


def check_answers_before_learning(make: MakeExpert) -> None:
    """An empty memory gives no candidates, and no error."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        for commands in CONTEXTS:
            proposal = make(engine).propose(query(engine, commands))
            assert proposal is None or not proposal.probabilities


def check_proposes_probabilities(make: MakeExpert, engine: ProceduralMemoryEngine) -> None:
    """Probabilities are positive or zero, and sum to at most one; at least one context gets an answer."""
    answered = 0
    for commands in CONTEXTS:
        proposal = make(engine).propose(query(engine, commands))
        if proposal is None:
            continue
        answered += 1
        assert all(probability >= 0.0 for probability in proposal.probabilities.values())
        assert 0.0 < sum(proposal.probabilities.values()) <= 1.0 + 1e-9
        assert all(isinstance(template, int) for template in proposal.probabilities)
    assert answered


def check_candidates_are_known_templates(make: MakeExpert, engine: ProceduralMemoryEngine) -> None:
    """Each candidate is a template of the memory, or a line that was learned."""
    for commands in CONTEXTS:
        proposal = make(engine).propose(query(engine, commands))
        for template in proposal.probabilities if proposal else ():
            assert normalize(engine._store.template_text(template)) in engine.workflow_graph


def check_is_pure(make: MakeExpert, engine: ProceduralMemoryEngine) -> None:
    """Asking twice gives the same answer; neither the context nor the memory is changed."""
    expert = make(engine)
    before = engine.stats()
    for commands in CONTEXTS:
        question = query(engine, commands)
        context = copy.deepcopy(question.context)
        first, second = expert.propose(question), expert.propose(query(engine, commands))
        assert (first and first.probabilities) == (second and second.probabilities)
        assert question.context == context
    assert engine.stats() == before


def check_explains_what_it_proposes(make: MakeExpert, engine: ProceduralMemoryEngine) -> None:
    """Every candidate with a probability can be explained; one that was not proposed has nothing to tell."""
    for commands in CONTEXTS:
        proposal = make(engine).propose(query(engine, commands))
        if proposal is None:
            continue
        for template, probability in proposal.probabilities.items():
            if probability > 0.0:
                assert proposal.explain(template).details
        assert not proposal.explain(-1).details


def check_memory_is_bounded(make: MakeExpert, engine: ProceduralMemoryEngine) -> None:
    """An expert keeps nothing from question to question but what it says it does, and no more of that."""
    expert: Any = make(engine)
    kept = getattr(expert, "_kept", {})
    if hasattr(expert, "KEPT"):
        expert.KEPT, expert.MANY = 2, 1
    before = {name: repr(value)[:500] for name, value in vars(expert).items() if name != "_kept"}
    for commands in CONTEXTS:
        expert.propose(query(engine, commands))
        assert len(kept) <= 2
    assert {name: repr(value)[:500] for name, value in vars(expert).items() if name != "_kept"} == before


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
