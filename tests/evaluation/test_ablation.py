"""The ablation: variants leave out what they name and are undone; runs go on where they stopped."""

from __future__ import annotations

import copy
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import ablation as script
import numpy as np
import pytest
from train_weights import NAMES
from variants import EVERYTHING, FEATURE_GROUPS, FILL_GROUPS, LINE_FEATURE_GROUPS, VARIANTS

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.commands.ground import ANY
from procedural_memory.commands.normalize import analyze
from procedural_memory.evaluation.sessions import as_sessions
from procedural_memory.memory.context import SessionContext
from procedural_memory.prediction.features import EXPERTS, FEATURES
from procedural_memory.prediction.line_features import LINE_EXPERTS, LINE_FEATURES
from procedural_memory.samples import load_sessions
from procedural_memory.types import Command, Prediction

HOME = "/home/dev/src/orders-api"
STEPS = (
    ("git status", 0, "modified: src/orders/api.py"),
    ("pytest -q tests/test_api.py", 1, "src/orders/api.py:41: AssertionError\nFAILED tests/test_api.py::test_list"),
    ("sed -n '1,20p' src/orders/api.py", 0, ""),
    ("touch notes.txt", 0, ""),
    ("sed -n '21,40p' src/orders/api.py", 0, ""),
    ("cat notes.txt", 0, ""),
    ("pytest -q tests/test_api.py", 1, "src/orders/api.py:41: AssertionError\nFAILED tests/test_api.py::test_list"),
)
LATER = ("ranker: learns nothing", "ranker of lines: learns nothing", "embedder: none")
"""Variants that show only in what is learned from then on."""
AT_ONCE = [name for name, v in VARIANTS.items() if v.change is not VARIANTS[EVERYTHING].change and name not in LATER]


@pytest.fixture(scope="module")
def taught() -> Iterator[ProceduralMemoryEngine]:
    """An engine that has learned sessions with ranges of lines, outcomes and places."""
    looking = ["pytest -q tests/test_api.py", "sed -n '1,20p' src/orders/api.py", "sed -n '21,40p' src/orders/api.py"]
    commands = [{"command": command, "cwd": HOME, "project": "orders-api"} for command in looking]
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many([*load_sessions()[:15], *[{"commands": commands, "outcome": "success"}] * 3])
        engine.flush()
        yield engine


def answers(engine: ProceduralMemoryEngine) -> list[list[Prediction]]:
    """Return what is predicted at each place of a session that is not learned."""
    context = SessionContext(project="orders-api", cwd=HOME)
    found = []
    for command, exit_code, output in STEPS:
        context.add(Command(command, exit_code=exit_code, cwd=HOME, project="orders-api"))
        context.values.observe_output(output)
        engine._predictor.forget()
        asked = copy.deepcopy(context)
        found.append(engine._predict(lambda: asked, 20, "command", 0.0, None))  # noqa: B023
    return found


@pytest.mark.parametrize("name", [name for name in AT_ONCE if name != "ranker: neutral start weights"])
def test_a_variant_changes_predictions_and_is_undone(name: str, taught: ProceduralMemoryEngine) -> None:
    """With a part left out the engine says something else; afterwards it says what it said before."""
    usual = answers(taught)
    with VARIANTS[name].applied() as apply:
        apply(taught)
        assert answers(taught) != usual
        if name.startswith("expert: "):
            experts = {item.expert for found in answers(taught) for p in found for item in p.evidence}
            assert name.removeprefix("expert: ") not in experts
            assert len(experts) > 5
    assert answers(taught) == usual


def test_variants_that_show_later() -> None:
    """A ranker that learns nothing stays as it began; without an embedder there are no vectors; weights are others."""
    for name in (EVERYTHING, *LATER, "ranker: neutral start weights"):
        with ProceduralMemoryEngine(embedder="lexical") as engine, VARIANTS[name].applied() as apply:
            before = engine._rankers.to_bytes()
            apply(engine)
            assert (engine._rankers.to_bytes() != before) == (name == "ranker: neutral start weights")
            rankers = {"ranker": engine._rankers.templates, "ranker of lines": engine._rankers.lines}
            weights = {of: ranker.arrays for of, ranker in rankers.items()}
            engine.learn_many(load_sessions()[:2])
            assert (engine.flush() > 0) == (name == "embedder: none")
            for of, ranker in rankers.items():
                same = all(map(np.array_equal, weights[of], ranker.arrays))
                assert same == (name == f"{of}: learns nothing")


def test_what_a_variant_is_not_told() -> None:
    """Sessions without places or exit codes are the same steps, and what is right stays the same."""
    sessions = as_sessions(load_sessions())
    blind = VARIANTS["told: no project, no directory"].sessions(sessions)
    deaf = VARIANTS["told: no exit codes"].sessions(sessions)
    steps, nowhere, unknown = ([step for session in some for step in session.steps] for some in (sessions, blind, deaf))
    assert {0, 1} <= {step.command.exit_code for step in steps}
    assert {(s.command.project, s.command.cwd) for s in nowhere} == {(None, None)} == {(s.project, None) for s in blind}
    assert {step.command.exit_code for step in unknown} == {None}
    assert [s.text("full") for s in steps] == [s.text("full") for s in nowhere] == [s.text("full") for s in unknown]


def test_every_feature_and_fill_rule_is_in_one_group() -> None:
    """Nothing that the ranker sees, and no rule that proposes a value, is left out of the groups, or is in two."""
    grouped = [name for group in FEATURE_GROUPS.values() for name in group]
    assert sorted([*EXPERTS, *grouped, "known"]) == sorted(FEATURES)
    of_lines = [name for group in LINE_FEATURE_GROUPS.values() for name in group]
    assert sorted(["fill", *LINE_EXPERTS, *of_lines]) == sorted(LINE_FEATURES)
    context = SessionContext()
    for session in load_sessions():
        for step in session["commands"]:
            command = Command(step["command"], cwd=step.get("cwd"))
            for _, rules in context.values.judge(analyze(command.command)):
                for rule in rules:
                    groups = [name for name, beginnings in FILL_GROUPS.items() if rule.startswith(beginnings)]
                    assert len(groups) == (rule != ANY), rule
            context.add(command)
            context.values.observe_output("src/orders/api.py:41: AssertionError\nFAILED tests/test_api.py::test_list")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped samples in place of the data sets, and an empty one for what is kept."""
    monkeypatch.setattr(script, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "ABLATION.md")
    for name in NAMES:
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(session) + "\n" for session in load_sessions())
    return tmp_path


def test_a_run_goes_on_where_it_stopped(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept is not measured again, unless the code or the sessions are others; what failed is said."""
    jobs = [job for job in script.jobs_of(["agent_bash"], data, 1) if script.wanted(job.variant, ["expert: counts"])]
    assert [job.variant for job in jobs] == [EVERYTHING, "expert: counts"]
    said: list[str] = []
    assert script.run(jobs[:1], 1, said.append) == []
    assert script.run(jobs, 1, said.append) == []
    assert said[0] == "0 of 1 are kept from before"
    assert said[2] == "1 of 2 are kept from before"
    assert len(said) == 4
    assert len(script.trace_of(jobs[1]).memory) == sum(len(s.steps) for s in script.sample("agent_bash", data, 1))
    assert script.jobs_of(["agent_bash"], data, 2)[0].kept != jobs[0].kept
    monkeypatch.setattr(script, "code", lambda: "other")
    assert script.jobs_of(["agent_bash"], data, 1)[0].kept != jobs[0].kept
    broken = script.Job("agent_bash", "none such", data, 1, data / "kept" / "none")
    assert script.run([broken], 1, said.append) == ["agent_bash, none such: KeyError: 'none such'"]


def test_script_writes_its_tables(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table a data set, with differences to everything; what was not measured is named."""
    monkeypatch.setattr(sys, "argv", ["ablation.py", "--data", str(data), "--only", "ranker: learns", "--write"])
    script.main()
    text = script.RESULTS.read_text()
    assert text.startswith("# What each part is worth\n")
    assert text.count("\n## ") == 2
    assert "Not measured: expert: counts;" in text
    for name in NAMES:
        rows = [row.split(" | ") for row in text.partition(f"\n## {name}")[2].partition("\n## ")[0].splitlines()]
        whole, other = (next(row for row in rows if row[0] == f"| {v}") for v in (EVERYTHING, "ranker: learns nothing"))
        for place in (1, 3, 5, 7):
            points = float(other[place + 1].split(" (")[0].strip("*"))
            assert points == pytest.approx(100 * (float(other[place]) - float(whole[place])), abs=0.16)
    assert "learns nothing" in capsys.readouterr().out
