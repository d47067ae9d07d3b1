"""The ablation: variants that leave out what they name and are undone, runs that go on where they stopped."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import ablation as script
import pytest
from variants import EVERYTHING, FEATURE_GROUPS, FILL_GROUPS, VARIANTS

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.commands.ground import ANY, SessionValues
from procedural_memory.commands.normalize import analyze
from procedural_memory.evaluation.sessions import as_sessions
from procedural_memory.prediction.features import EXPERTS, FEATURES
from procedural_memory.samples import load_sessions
from procedural_memory.types import Evidence, Prediction

HOME = "/home/dev/src/orders-api"
AT_REST = [name for name, variant in VARIANTS.items() if variant.change is not VARIANTS[EVERYTHING].change]
"""Variants that replace something in the engine."""
LATER = ("ranker: learns nothing", "embedder: none")
"""Of these, those that show in what is learned from then on."""


@pytest.fixture(scope="module")
def taught() -> Iterator[ProceduralMemoryEngine]:
    """An engine that has learned the shipped samples."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many(load_sessions())
        engine.flush()
        yield engine


def answers(engine: ProceduralMemoryEngine) -> list[list[Prediction]]:
    """Return what is predicted in a session with files, ranges, outputs and a failure."""
    found = []
    with engine.session(cwd=HOME, project="orders-api") as live:
        for command, output in (
            ("git status", "modified: src/orders/api.py"),
            ("pytest -q tests/test_api.py", "src/orders/api.py:41: AssertionError\nFAILED tests/test_api.py::test_list"),
            ("sed -n '1,20p' src/orders/api.py", None),
            ("cat > notes.txt <<'EOF'\nx\nEOF", None),
            ("cat notes.txt", None),
            ("pytest -q tests/test_api.py", None),
        ):
            live.record(command, exit_code=int(command.startswith("pytest")), output=output)
            engine._predictor.forget()
            found.append(live.predict(20))
    engine.forget(session_id=live.session_id)
    return found


@pytest.mark.parametrize("name", AT_REST)
def test_a_variant_changes_predictions_and_is_undone(name: str) -> None:
    """With a part left out the engine says something else; what was replaced is back at the end of the block."""
    engines = [ProceduralMemoryEngine(embedder="lexical") for _ in range(2)]
    for engine in engines:
        engine.learn_many(load_sessions()[:12])
        engine.flush()
    usual, other = engines
    parts = [engine._predictor for engine in engines]
    with VARIANTS[name].applied() as apply:
        apply(other)
        changed = answers(other)
    assert [vars(part).keys() for part in parts[:1]] == [vars(part).keys() for part in parts[1:]]
    assert (changed == answers(usual)) == (name in LATER)
