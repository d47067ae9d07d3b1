"""Pickles of the older engine: read without its classes, and without running anything."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import ProceduralMemoryEngine, SnapshotError
from procedural_memory.storage.older import MOST_SESSIONS, read_older

RELEASE = ["git add .", "git commit -m wip", "git push"]
SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"


@dataclass
class WorkflowPattern:
    """As the older engine kept it."""

    pattern_id: str
    command_sequence: Any
    success_count: Any = 0
    failure_count: Any = 0
    avg_duration: float = 1.5
    embeddings: Any = field(default_factory=lambda: np.ones(4, dtype=np.float32))


def pickled(content: Any, protocol: int = 4) -> bytes:
    """Return a pickle whose class lives in a module that is gone."""
    module = types.ModuleType("procedural_engine")
    module.WorkflowPattern = WorkflowPattern  # type: ignore[attr-defined]
    before = WorkflowPattern.__module__
    sys.modules[module.__name__], WorkflowPattern.__module__ = module, module.__name__
    try:
        return pickle.dumps(content, protocol)
    finally:
        del sys.modules[module.__name__]
        WorkflowPattern.__module__ = before


def memory(*patterns: WorkflowPattern) -> dict[str, Any]:
    """Return what the older engine saved."""
    graph = nx.DiGraph()
    nx.add_path(graph, RELEASE)
    chains = {"git add .": [{"next": "git commit", "outcome": "success", "count": 2}]}
    return {"patterns": {item.pattern_id: item for item in patterns}, "graph": graph, "causal_chains": chains}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_patterns_become_sessions(engine: ProceduralMemoryEngine, tmp_path: Path, protocol: int) -> None:
    """Counts of successes and failures are as they were, predictions come, and loading again adds nothing."""
    path = tmp_path / "old.pkl"
    patterns = WorkflowPattern("a", RELEASE, 3, 1), WorkflowPattern("b", ["make", "make test", f"deploy {SECRET}"])
    path.write_bytes(pickled(memory(*patterns), protocol))
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(path.read_bytes())
    assert engine.load(path).sessions == 5
    found = {tuple(p.command_sequence): p for p in engine.patterns.values()}
    release = found[tuple(RELEASE)]
    assert (release.success_count, release.failure_count) == (3, 1)
    other = next(p for p in found.values() if p is not release)
    assert (other.success_count, other.failure_count, other.unknown_count) == (0, 0, 1)
    assert "<SECRET>" in other.command_sequence[-1]
    assert engine.predict_next_action(RELEASE[:2])[0].next_command == "git push"
    assert engine.workflow_graph["git add ."]["git commit -m <STR>"]["weight"] == 4
    assert engine.merge(path) == 0
    # A later save of the same memory: two more of them went well, one more did not.
    path.write_bytes(pickled(memory(WorkflowPattern("a", RELEASE, 5, 2), patterns[1]), protocol))
    assert engine.merge(path) == 3


def test_an_id_tells_nothing_of_a_secret(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Two passwords, one session."""
    for number, password in enumerate(("hunter2", "letmein")):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickled(memory(WorkflowPattern("a", ["ls", f"mysql -p{password}", "make"], 1))))
        assert engine.merge(path) == 1 - number


class Slotted:
    """Fields in slots and beside them."""

    __slots__ = ("__dict__", "command_sequence")


def test_other_shapes_of_the_same(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Mappings and lists of other classes, fields in slots, counts that are no plain integers."""
    slotted: Any = Slotted()
    slotted.command_sequence, slotted.success_count, slotted.failure_count = RELEASE, 2.0, None
    patterns = OrderedDict(a=slotted, b=OrderedDict(command_sequence=deque(["ls", "pwd", "make"]), success_count=1))
    Slotted.__module__ = "procedural_engine"
    module = types.ModuleType("procedural_engine")
    module.Slotted = Slotted  # type: ignore[attr-defined]
    sys.modules["procedural_engine"] = module
    content = pickle.dumps({"patterns": patterns, "causal_chains": {}})
    del sys.modules["procedural_engine"]
    (tmp_path / "old.pkl").write_bytes(content)
    assert engine.load(tmp_path / "old.pkl").sessions == 3
    assert sorted((len(p.command_sequence), p.success_count) for p in engine.patterns.values()) == [(3, 1), (3, 2)]


def test_nothing_is_lost_for_what_is_no_older_memory(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Ids that are no texts, and other programs' pickles, leave the memory as it was."""
    engine.learn_workflow(["ls", "pwd", "make"])
    pattern = WorkflowPattern("a", RELEASE, 1)
    for content, message in (
        ({**memory(), "patterns": {("git add .", "git push"): pattern}}, "patterns: must have texts for ids"),
        ({"patterns": {}, "model": pattern}, "names procedural_engine.WorkflowPattern"),
    ):
        (tmp_path / "old.pkl").write_bytes(pickled(content))
        with pytest.raises(SnapshotError, match=message):
            engine.load(tmp_path / "old.pkl")
        assert len(engine.patterns) == 1


def test_a_durable_memory_takes_it_in(tmp_path: Path) -> None:
    """Beside what it knows."""
    (tmp_path / "old.pkl").write_bytes(pickled(memory(WorkflowPattern("a", RELEASE, 2))))
    with ProceduralMemoryEngine(path=tmp_path / "m.db", embedder="lexical") as engine:
        engine.learn_workflow(["ls", "pwd", "make"])
        assert engine.load(tmp_path / "old.pkl", mode="merge").sessions == 2
        assert len(engine.patterns) == 2


def test_what_was_counted_often_is_bounded(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A count of a million is no million sessions; what happened at all stays."""
    (tmp_path / "old.pkl").write_bytes(pickled(memory(WorkflowPattern("a", RELEASE, 10**6, 5))))
    assert engine.load(tmp_path / "old.pkl").sessions == MOST_SESSIONS + 1


class Hostile:
    """Pickles as a call that leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("where", ["command", "commands", "pattern", "graph", "patterns"])
def test_nothing_is_run(engine: ProceduralMemoryEngine, tmp_path: Path, where: str) -> None:
    """A call in the place of anything stays a call that nobody makes."""
    engine.learn_workflow(["ls", "pwd", "make"])
    proof, path = tmp_path / "proof", tmp_path / "old.pkl"
    hostile: Any = Hostile(proof)
    content = memory(WorkflowPattern("a", RELEASE, 1))
    if where == "command":
        content["patterns"]["a"].command_sequence = ["ls", hostile]
    elif where == "commands":
        content["patterns"]["a"].command_sequence = hostile
    elif where == "pattern":
        content["patterns"]["a"] = hostile
    else:
        content[where] = hostile
    path.write_bytes(pickled(content))
    if where == "graph":
        assert engine.load(path).sessions == 1
    else:
        with pytest.raises(SnapshotError, match=r"patterns\['a'\].command_sequence|nothing was loaded or run"):
            engine.load(path)
        assert len(engine.patterns) == 1
    assert not proof.exists()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (WorkflowPattern("a", []), r"patterns\['a'\].command_sequence: must be a list of commands, got a list of 0"),
        (WorkflowPattern("a", ["ls", " "]), r"patterns\['a'\].commands\[1\]: must not be empty"),
        (WorkflowPattern("a", ["ls", 5]), r"command_sequence: must hold command lines, got 5"),
        (WorkflowPattern("a", RELEASE, -1), r"success_count: must be an integer of 0 or more, got -1"),
        (WorkflowPattern("a", RELEASE, True), r"success_count: must be an integer of 0 or more, got True"),
        (WorkflowPattern("a", RELEASE, 0, "x"), r"failure_count: must be an integer of 0 or more, got 'x'"),
    ],
)
def test_a_broken_pattern_is_named(
    engine: ProceduralMemoryEngine, tmp_path: Path, pattern: WorkflowPattern, message: str
) -> None:
    """The pattern, the rule and the value; nothing is taken over."""
    (tmp_path / "old.pkl").write_bytes(pickled(memory(WorkflowPattern("fine", RELEASE, 1), pattern)))
    with pytest.raises(SnapshotError, match=message):
        engine.load(tmp_path / "old.pkl")
    assert len(engine.patterns) == 0


def test_many_steps_by_reference_are_refused(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """One list of commands in a thousand patterns is no millions of steps, one line no gigabyte of text."""
    for commands in (["make"] * 5_000, ["echo " + "x" * 90_000]):
        many = [WorkflowPattern(str(i), commands, 1, embeddings=None) for i in range(1_000)]
        (tmp_path / "old.pkl").write_bytes(pickled(memory(*many)))
        with pytest.raises(SnapshotError, match="more than 500000 steps or 20000000 characters"):
            engine.load(tmp_path / "old.pkl")


def test_an_error_shows_no_bomb(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Tuples that would unfold into gigabytes are not written out."""
    bomb: Any = ("x",)
    for _ in range(60):
        bomb = bomb, bomb
    (tmp_path / "old.pkl").write_bytes(pickled(memory(WorkflowPattern("a", [bomb]))))
    with pytest.raises(SnapshotError, match=r"must hold command lines, got a tuple of 2"):
        engine.load(tmp_path / "old.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04}" + b"}" * 60 + b"N" + b"s" * 10 + b".",
        b"\x80\x04)" + b"".join(b"0" for _ in range(100)) + b".",  # more taken than there is
        b"\x80\x04N" + b"\x94h\x00h\x00\x86" * 1 + b"h\x00\x86" * 60 + b".",
        b"\x80\x02]" + b"\x85" * 200_000 + b".",  # tuples in tuples
        b"\x80\x02}" + b"(" * 100_000 + b"u.",
        b"\x80\x04Nr\xff\xff\xff\x7f.",  # a far place of the memo
        b"\x80\x02}q\x00("
        + b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(20_000))
        + b"u.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes that are not there
    ],
)
def test_odd_pickles_are_none_of_it(content: bytes) -> None:
    """Bombs and stumps cost no more than their size and are not taken for an older memory."""
    assert read_older(io.BytesIO(content)) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_raises_our_error_only(data: st.DataObject) -> None:
    """Whatever bytes are changed: a memory, or nothing, or our error."""
    content = bytearray(pickled(memory(WorkflowPattern("a", RELEASE, 1)), data.draw(st.sampled_from([0, 2, 4]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_older(io.BytesIO(bytes(content[: data.draw(st.integers(1, len(content)))])))
    except SnapshotError:
        return
    assert found is None or isinstance(found, dict)
