"""Files that are damaged, or made to harm, load whole or raise one of our errors; nothing is taken in half."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procedural_memory import ProceduralMemoryEngine, ProceduralMemoryError
from procedural_memory.samples import load_sessions

SUFFIXES = (".pkl", ".json", ".jsonl", ".sqlite")
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """The same small memory in every format."""
    folder = tmp_path_factory.mktemp("saved")
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many(load_sessions()[:3])
        with engine.session(session_id="live") as session:
            session.record("make build")
            session.feedback("make test", "accepted")
        engine.feedback(["make build"], "make lint", "rejected")
        engine.flush()
        yield {suffix: engine.save(folder / f"m{suffix}").read_bytes() for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def other() -> Iterator[ProceduralMemoryEngine]:
    """A memory into which everything is loaded."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        yield engine


def view(engine: ProceduralMemoryEngine) -> Any:
    """Return what a memory has learned."""
    sizes = {name: size for name, size in engine.stats().items() if name.endswith("_count")}
    return sizes, dict(engine.patterns), engine.causal_chains


def take(engine: ProceduralMemoryEngine, path: Path) -> None:
    """Load a file; where that fails, the memory is as it was."""
    engine.load(path.with_name("empty.json"))
    engine.learn_workflow(["is", "still", "here"], session_id="kept")
    before = view(engine)
    message = ""
    try:
        engine.merge(path)
    except ProceduralMemoryError as error:
        message = str(error)
    if message:
        assert str(path) in message or "session_id" in message
        assert view(engine) == before
    engine.predict_next_action(["make build"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an empty snapshot."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.save(tmp_path / "empty.json")
    return tmp_path


@pytest.mark.parametrize("suffix", SUFFIXES)
@FUZZ
@given(data=st.data())
def test_damage(
    suffix: str, saved: dict[str, bytes], other: ProceduralMemoryEngine, folder: Path, data: st.DataObject
) -> None:
    """Bytes changed, parts cut out, doubled or put in, the end cut off."""
    content = bytearray(saved[suffix])
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(data.draw(st.integers(1, 6))):
        how = data.draw(st.sampled_from(["byte", "digit", "cut", "double", "noise", "end"]))
        place = chance.randrange(max(1, len(content)))
        part = slice(place, place + chance.randint(1, 200))
        if how == "byte" and content:
            content[place % len(content)] = chance.randrange(256)
        elif how == "digit" and (digits := [i for i, byte in enumerate(content) if 48 <= byte <= 57]):
            content[chance.choice(digits)] = chance.choice(b"0123456789-eE.")
        elif how == "cut":
            del content[part]
        elif how == "double":
            content[place:place] = content[part]
        elif how == "noise":
            content[part] = chance.randbytes(chance.randint(1, 200))
        elif how == "end":
            del content[place:]
    path = folder / f"damaged{suffix}"
    path.write_bytes(content)
    take(other, path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
fields = ("session_id", "start", "outcome", "closed", "source", "commands", "feedback")
steps = ("command", "exit_code", "cwd", "timestamp", "duration_ms", "project", "actor", "step", "line", "verdict")
sessions = st.dictionaries(
    st.sampled_from(fields),
    values | st.lists(st.dictionaries(st.sampled_from(steps), values, max_size=5), max_size=4),
    max_size=7,
)


@FUZZ
@given(
    content=st.fixed_dictionaries(
        {"format": st.just("procedural-memory"), "version": st.just(1), "sessions": st.lists(sessions, max_size=3)},
        optional={"feedback": values, "ranker": values, "vectors": values, "checksum": values},
    )
    | values
)
def test_wrong_values(other: ProceduralMemoryEngine, folder: Path, content: Any) -> None:
    """Plain containers of any shape, in the places where a session has something else."""
    path = folder / "wrong.pkl"
    path.write_bytes(pickle.dumps(content))
    take(other, path)


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


class Sets:
    """Pickles as an object with a state of its own."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (), self._state)


def bomb(depth: int) -> Any:
    """Return containers in containers, each twice: small as a pickle, large when written out."""
    made: Any = "x"
    for _ in range(depth):
        made = [made, made]
    return made


def deep(depth: int) -> bytes:
    """Return the pickle of lists in lists, deeper than Python may go."""
    return b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Calls(os.system, "touch {proof}")),
        pickle.dumps({"format": "procedural-memory", "version": 1, "sessions": [Calls(os.system, "touch {proof}")]}),
        pickle.dumps(Calls(eval, "open('{proof}', 'w')")),
        pickle.dumps(Calls(exec, "open('{proof}', 'w')")),
        pickle.dumps({"patterns": Calls(os.system, "touch {proof}"), "graph": None, "causal_chains": {}}),
        pickle.dumps(Sets({"x": Calls(os.system, "touch {proof}")})),
        pickle.dumps({"format": "procedural-memory", "version": 1, "sessions": bomb(60)}),
        pickle.dumps({"patterns": {"p": bomb(60)}, "graph": None, "causal_chains": {}}),
        deep(100_000),
        b"cos\nsystem\n(S'touch {proof}'\ntR.",
        b'c__builtin__\neval\n(S\'open("{proof}", "w")\'\ntR.',
        b"(S'touch {proof}'\nios\nsystem\n.",
        b"\x80\x02c__builtin__\ngetattr\ncos\nsystem\n\x86R.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 50,
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 50,
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 50,
        b"r\xff\xff\xff\x7f.",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"\x80\x03.",
        b"",
    ],
    ids=str,
)
def test_hostile_pickles(content: bytes, other: ProceduralMemoryEngine, folder: Path) -> None:
    """Nothing is run, and nothing of them is taken in."""
    proof = folder / "proof"
    path = folder / "hostile.pkl"
    path.write_bytes(content.replace(b"{proof}", str(proof).encode()))
    with pytest.raises(ProceduralMemoryError, match=r"hostile\.pkl"):
        other.merge(path)
    assert not proof.exists()
