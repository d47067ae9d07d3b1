"""The life of patterns: computed at read, from counts and the age of the newest session."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.memory.lifecycle import ARCHIVED_BELOW, ESTABLISHED, HALF_LIFE, state_of, support_of

START = 1_600_000_000.0


def run(engine: ProceduralMemoryEngine, name: str, start: float) -> str:
    """Learn a session of that name which began then."""
    pattern_id = engine.learn_workflow([{"command": "git pull", "timestamp": start}, "make", f"make {name}"])
    assert pattern_id is not None
    return pattern_id


def test_a_pattern_is_born_lives_and_fades(engine: ProceduralMemoryEngine) -> None:
    """Seen once it is a candidate, twice active; long after the others archived, until it is seen again."""
    pattern_id = run(engine, "docs", START)
    assert engine.patterns[pattern_id].state == "candidate"
    run(engine, "docs", START + 1)
    pattern = engine.patterns[pattern_id]
    assert (pattern.state, pattern.support, pattern.last_seen) == ("active", 2.0, START + 1)
    run(engine, "other", START + 1 + HALF_LIFE)
    assert engine.patterns[pattern_id].support == 1.0
    run(engine, "other", START + 1 + 2 * HALF_LIFE)
    assert engine.patterns[pattern_id].state == "active"
    late = run(engine, "late", START + 2 + 2 * HALF_LIFE)
    pattern = engine.patterns[pattern_id]
    assert pattern.state == "archived"
    assert pattern.support == pytest.approx(0.5)
    assert engine.patterns[late].state == "candidate"
    assert engine.stats()["pattern_states"] == {"candidate": 1, "active": 1, "archived": 1}
    # It is found as before, and tells its state.
    found = {match.pattern_id: match.pattern for match in engine.similar_patterns(["git pull", "make", "make docs"])}
    assert found[pattern_id] == pattern
    run(engine, "docs", START + 2 + 2 * HALF_LIFE)
    assert engine.patterns[pattern_id].state == "active"


def test_a_memory_that_is_not_used_does_not_age(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Years later everything is as it was; so it is in a copy, in whatever order it was learned."""
    runs = [("docs", START), ("test", START + HALF_LIFE), ("docs", START + 5), ("test", START + 9)]
    for name, start in runs:
        run(engine, name, start)
    path = tmp_path / "m.json"
    engine.save(path)
    with ProceduralMemoryEngine(embedder="lexical") as other, ProceduralMemoryEngine(embedder="lexical") as copy:
        for name, start in reversed(runs):
            run(other, name, start)
        copy.load(path)
        lives = [
            [(p.pattern_id, p.state, p.support, p.last_seen) for p in each.patterns.values()]
            for each in (engine, other, copy)
        ]
    assert lives[0] == lives[1] == lives[2]
    assert {state for _, state, _, _ in lives[0]} == {"active"}


def test_a_session_from_the_future_archives_nothing(engine: ProceduralMemoryEngine) -> None:
    """A clock that was wrong once does not make everything old."""
    now = time.time()
    pattern_id = run(engine, "docs", now)
    run(engine, "docs", now + 1)
    run(engine, "other", now + 1000 * HALF_LIFE)
    assert engine.patterns[pattern_id].state == "active"


def test_what_was_forgotten_gives_no_time(tmp_path: Path) -> None:
    """The newest session is the newest that is left, here and in another engine on the file."""
    path = tmp_path / "m.sqlite3"
    with (
        ProceduralMemoryEngine(path=path, embedder="lexical") as one,
        ProceduralMemoryEngine(path=path, embedder="lexical") as other,
    ):
        pattern_id = run(one, "docs", START)
        run(one, "docs", START)
        assert other.patterns[pattern_id].state == "active"
        one.learn_workflow([{"command": c, "timestamp": START + 9 * HALF_LIFE} for c in "abc"], session_id="late")
        assert one.patterns[pattern_id].state == other.patterns[pattern_id].state == "archived"
        other.forget(session="late")
        assert one.patterns[pattern_id].state == other.patterns[pattern_id].state == "active"


def test_support_halves() -> None:
    """By the half-life; nothing is younger than now."""
    assert support_of(8, 0.0, 3 * HALF_LIFE) == 1.0
    assert support_of(8, 10.0, 0.0) == 8.0
    assert state_of(ESTABLISHED - 1, 0.0) == "candidate"
    assert state_of(ESTABLISHED, ARCHIVED_BELOW) == "active"
    assert state_of(ESTABLISHED, ARCHIVED_BELOW - 1e-9) == "archived"
