"""Bad input: a clear error that names item, rule and value, and a memory that is as it was."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import (
    InvalidInputError,
    InvalidTypeError,
    ModelNotFoundError,
    ProceduralMemoryEngine,
    Session,
)
from procedural_memory.memory.context import SessionContext

GOOD = ["git pull", "make", "make test"]

BAD_COMMANDS: list[tuple[Any, str]] = [
    ("", r"session_commands\[1\]: must not be empty, got ''"),
    (" \t\n", r"session_commands\[1\]: must not be empty"),
    (None, r"session_commands\[1\]: must be a string, a mapping with a 'command' or a Command, not NoneType"),
    (7, r"session_commands\[1\]: must be a string.*not int \(7\)"),
    (b"ls", r"not bytes"),
    ({"command": None}, r"session_commands\[1\]: must have a 'command'"),
    ({"cmd": "ls"}, r"session_commands\[1\]: must have a 'command', got the keys \['cmd'\]"),
    ({"command": 5}, r"session_commands\[1\]\.command: must be a string, not int \(5\)"),
    ("ls\0-la", r"session_commands\[1\]: must not hold a NUL byte"),
    ({"command": "ls", "exit_code": "0"}, r"session_commands\[1\]\.exit_code: must be a number, not str \('0'\)"),
    ({"command": "ls", "exit_code": True}, r"exit_code: must be a number, not bool"),
    ({"command": "ls", "exit_code": 0.5}, r"exit_code: must be a whole number, got 0.5"),
    ({"command": "ls", "timestamp": "yesterday"}, r"timestamp: must be epoch seconds or ISO 8601.*'yesterday'"),
    ({"command": "ls", "timestamp": math.nan}, r"timestamp: must be finite"),
    ({"command": "ls", "timestamp": 1732262400000}, r"milliseconds\? divide by 1000"),
    ({"command": "ls", "timestamp": -1}, r"timestamp: must be epoch seconds between 0"),
    ({"command": "ls", "duration_ms": -5}, r"duration_ms: must not be negative, got -5"),
    ({"command": "ls", "actor": "robot"}, r"actor: must be one of human, agent, tool, got 'robot'"),
    ({"command": "ls", "cwd": 3}, r"cwd: must be a string, not int"),
    ("x" * (4 * 1024 * 1024 + 1), r"at most 4,194,304 characters, got 4,194,305"),
]


def state(engine: ProceduralMemoryEngine) -> tuple[Any, ...]:
    """Everything a failed call might have touched."""
    return (engine.stats(), dict(engine.patterns), engine.causal_chains)


@pytest.fixture
def taught(engine: ProceduralMemoryEngine) -> ProceduralMemoryEngine:
    """An engine with one session, so that there is something to damage."""
    engine.learn_workflow(GOOD, session_id="good")
    engine.flush()
    return engine


@pytest.mark.parametrize(("bad", "message"), BAD_COMMANDS)
def test_bad_command_names_item_rule_and_value(taught: ProceduralMemoryEngine, bad: Any, message: str) -> None:
    """A bad item in a batch is named; nothing of the batch is learned."""
    before = state(taught)
    with pytest.raises(InvalidInputError, match=message):
        taught.learn_workflow(["ls", bad, "pwd", "make"])
    assert state(taught) == before


@pytest.mark.parametrize("bad", ["", None, 7, "ls\0"])
def test_bad_context_item_is_named(taught: ProceduralMemoryEngine, bad: Any) -> None:
    """The context of a prediction is checked by the same rules."""
    with pytest.raises(InvalidInputError, match=r"current_context\[0\]"):
        taught.predict_next_action([bad])
    with pytest.raises(InvalidInputError, match=r"commands\[0\]"):
        taught.similar_patterns([bad])


@pytest.mark.parametrize("items", ["git pull", {"command": "ls"}, 5, None, b"ls"])
def test_a_list_of_commands_is_wanted(taught: ProceduralMemoryEngine, items: Any) -> None:
    """A bare string is a likely mistake for a list of one, and is not taken apart into letters."""
    with pytest.raises(InvalidTypeError, match="must be a list of commands"):
        taught.learn_workflow(items)


@pytest.mark.parametrize("outcome", ["ok", "SUCCESS", "", 1, True, 0])
def test_unknown_outcome_is_refused(taught: ProceduralMemoryEngine, outcome: Any) -> None:
    """Only success, failure and None are outcomes."""
    before = state(taught)
    with pytest.raises(InvalidInputError, match=r"^session_outcome: must be 'success', 'failure' or None"):
        taught.learn_workflow(GOOD, outcome)
    session = taught.session()
    session.record("make")
    with pytest.raises(InvalidInputError, match=r"^outcome: must be"):
        session.close(outcome)
    assert session.close("success") is None
    assert len(state(taught)[1]) == len(before[1])


BAD_CALLS: list[tuple[Callable[[ProceduralMemoryEngine], Any], str]] = [
    (lambda e: e.predict_next_action(GOOD, top_k=0), "top_k: must be at least 1, got 0"),
    (lambda e: e.predict_next_action(GOOD, top_k=-3), "top_k: must be at least 1, got -3"),
    (lambda e: e.predict_next_action(GOOD, top_k=2.5), "top_k: must be an integer"),  # type: ignore[arg-type]
    (lambda e: e.predict_next_action(GOOD, top_k=True), "top_k: must be an integer"),
    (lambda e: e.predict_next_action(GOOD, level="line"), "level: must be 'command' or 'template', got 'line'"),  # type: ignore[arg-type]
    (lambda e: e.predict_next_action(GOOD, min_probability=1.5), "min_probability: must lie between 0 and 1, got 1.5"),
    (lambda e: e.predict_next_action(GOOD, min_probability=math.nan), "min_probability: must be finite"),
    (lambda e: e.similar_patterns(GOOD, k=0), "k: must be at least 1"),
    (lambda e: e.similar_patterns(GOOD, threshold=-0.1), "threshold: must lie between 0 and 1"),
    (lambda e: e.pattern_groups(threshold=2), "threshold: must lie between 0 and 1"),
    (lambda e: e.learn_workflow(GOOD, session_id=5), "session_id: must be a string"),  # type: ignore[arg-type]
    (lambda e: e.feedback(GOOD, "ls", "liked"), "verdict: must be 'accepted', 'rejected' or 'ignored', got 'liked'"),  # type: ignore[arg-type]
    (lambda e: e.feedback(GOOD, "ls", None), "verdict: must be 'accepted', 'rejected' or 'ignored', not NoneType"),  # type: ignore[arg-type]
    (lambda e: e.feedback(GOOD, 5, "accepted"), "prediction: must be a Prediction or its command line, not int"),  # type: ignore[arg-type]
    (lambda e: e.feedback(GOOD, " ", "accepted"), "prediction: must not be empty"),
    (lambda e: e.feedback("ls", "ls", "accepted"), "current_context: must be a list of commands, not str"),
    (lambda e: e.feedback([5], "ls", "accepted"), r"current_context\[0\]: must be a string"),  # type: ignore[list-item]
    (lambda e: e.forget(), "forget: give at least one condition"),
    (lambda e: e.forget(containing=""), "containing: must not be empty"),
    (lambda e: e.forget(before="soon"), "before: must be epoch seconds or ISO 8601"),
    (lambda e: e.load("memory.pkl", mode="add"), "mode: must be 'replace' or 'merge', got 'add'"),
    (lambda e: e.save("memory.txt"), "path: must end in one of .pkl, .pickle, .json, .jsonl"),
    (lambda e: e.save(5), "path: must be a file name, not int"),  # type: ignore[arg-type]
    (lambda e: e.learn_many([{"outcome": "success"}]), "sessions.*commands: must be given"),
    (lambda e: e.session(actor="robot"), "session.actor: must be one of"),
    (lambda e: e.learn_many([GOOD], progress=5), "progress: must be callable or None, not int"),  # type: ignore[arg-type]
    (lambda e: e.save("a\0.pkl"), "path: must not hold a NUL byte"),
    (lambda e: e.load("a\0.pkl"), "path: must not hold a NUL byte"),
    (lambda e: e.merge(5), "path: must be a file name, not int"),  # type: ignore[arg-type]
    (lambda e: e.learn_workflow(set(GOOD)), "session_commands: must be a list of commands, not set"),  # type: ignore[arg-type]
    (lambda e: pickle.dumps(e), "ProceduralMemoryEngine: cannot be copied or pickled; use save"),
    (copy.copy, "ProceduralMemoryEngine: cannot be copied"),
    (copy.deepcopy, "ProceduralMemoryEngine: cannot be copied"),
    (lambda e: copy.copy(Session(e, 0, "s", {}, SessionContext())), "Session: cannot be copied or pickled"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_argument_is_named(
    taught: ProceduralMemoryEngine, call: Callable[[ProceduralMemoryEngine], Any], message: str
) -> None:
    """Every argument has its rule, and a call that breaks it changes nothing."""
    before = state(taught)
    with pytest.raises(InvalidInputError, match=message):
        call(taught)
    assert state(taught) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"similarity_threshold": 7}, "similarity_threshold: must lie between 0 and 1, got 7"),
        ({"min_commands": 0}, "min_commands: must be at least 1, got 0"),
        ({"embedder": "magic"}, "embedder"),
        ({"path": 5}, "path: must be a file name or None, not int"),
        ({"path": ":memory:"}, "path: must name a file, got ':memory:'; leave it out"),
    ],
)
def test_bad_constructor_argument(arguments: dict[str, Any], error: str) -> None:
    """The constructor checks what it is given."""
    with pytest.raises(InvalidInputError, match=error):
        ProceduralMemoryEngine(**arguments)


def test_missing_model_folder_is_named(tmp_path: Any) -> None:
    """A model folder that is not there is an error that names it, at the first use at the latest."""
    with pytest.raises((ModelNotFoundError, ImportError), match=r"no-such-model|pip install"):
        ProceduralMemoryEngine(embedder="sentence-transformers", model=tmp_path / "no-such-model")


@pytest.mark.parametrize(
    "command",
    [
        "echo 'unbalanced",
        'echo "unbalanced',
        "echo $(",
        "cat <<EOF\nnever closed",
        "if then fi done ((",
        "\x1b[31mls\x1b[0m",
        "bell\x07 and \x08 backspace",
        "lone \ud800 surrogate \udfff",
        "emoji 🎉 ünïcödé ﷽",
        "\u202eright to left",
        "ls\r\npwd\r",
        "{" * 5000,
        "a" * 1_000_000,
        "echo " + "x " * 500_000,
        "| && ; ||",
        "Get-ChildItem -Path C:\\temp | Where-Object { $_.Length -gt 5 }",
    ],
)
def test_odd_commands_are_learned_and_predicted(engine: ProceduralMemoryEngine, command: str) -> None:
    """Whatever people paste into a shell can be learned, predicted, saved; terminal escapes do not survive."""
    engine.learn_workflow(["start here", command, "and on"])
    found = engine.predict_next_action(["start here"], top_k=1)
    assert found
    assert "\x1b" not in found[0].next_command
    assert engine.predict_next_action(["start here", command], top_k=1)[0].next_command == "and on"


def test_very_long_session(engine: ProceduralMemoryEngine) -> None:
    """A session of 100,000 commands is learned, and predictions from it still come."""
    cycle = ["git pull", "make", "make test", "git add .", "git commit -m x", "git push", "vim a.py"]
    pattern_id = engine.learn_workflow([cycle[i % 7] for i in range(100_000)])
    assert pattern_id is not None
    assert engine.patterns[pattern_id].command_count == 100_000
    assert engine.predict_next_action(["git pull"], top_k=1)[0].next_command == "make"
    assert engine.similar_patterns(["git pull", "make", "make test"], k=1)[0].pattern_id == pattern_id


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=60),
            st.none(),
            st.integers(),
            st.dictionaries(
                st.sampled_from(["command", "exit_code", "timestamp", "cwd", "duration_ms", "extra"]),
                st.one_of(st.none(), st.text(max_size=20), st.integers(), st.floats(), st.booleans()),
            ),
        ),
        max_size=6,
    ),
    st.one_of(st.sampled_from(["success", "failure", None]), st.text(max_size=8)),
)
def test_any_input_is_learned_or_refused_whole(items: list[Any], outcome: Any) -> None:
    """Whatever is handed in: it is learned, or refused with our error and the memory is untouched."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        before = engine.stats()
        try:
            learned = engine.learn_workflow(items, outcome)
        except InvalidInputError:
            learned = None
        if learned is None:
            assert engine.stats() == before
        else:
            assert engine.stats()["command_count"] == len(items)
            assert list(engine.patterns) == [learned]


@pytest.mark.parametrize("text", ["make\0", "\ud800", "ma\udfff", "\U0010ffff"])
def test_no_line_begins_with_what_no_line_has(taught: ProceduralMemoryEngine, text: str) -> None:
    """Characters that no line has are no error where lines are looked for by how they begin."""
    assert taught.lines_beginning(text) == []
