"""Many processes learn into one file while others predict: all is there, and counted exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from many_processes import Run, fresh, sessions_of, together, write
from postgres_server import PostgresServer
from workload import contents, derived, integrity

from procedural_memory.types import Durability

WRITERS, READERS = 8, 2


def check_nothing_is_lost(path: Path | str, durability: Durability, sessions: int, run: Run, folder: Path) -> None:
    """Every step is there once, and what is derived is what one process derives that learns alone."""
    expected = [*sessions_of(WRITERS, sessions)]
    assert len(run.records) == sum(len(session["commands"]) for session in expected)
    assert len(run.predictions) > READERS
    with fresh(path, durability) as engine, fresh(None, durability) as alone:
        found = contents(engine, folder)
        assert found == {
            session["session_id"]: (session["outcome"], tuple(step["command"] for step in session["commands"]))
            for session in expected
        }
        alone.learn_many(expected)
        counts = derived(engine)
        assert counts == derived(alone)
        engine.rebuild()
        assert derived(engine) == counts


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_many_processes_learn_into_one_file(durability: Durability, tmp_path: Path, thorough: bool) -> None:
    """No step is lost, none is counted twice, and nobody is told that the file is locked."""
    sessions = 500 if thorough else 8
    path = tmp_path / "memory.sqlite3"
    run = together(write, path, durability, WRITERS, sessions, READERS)
    check_nothing_is_lost(path, durability, sessions, run, tmp_path)
    assert integrity(path) == "ok"


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_many_processes_learn_into_one_database(
    durability: Durability, postgres: PostgresServer, tmp_path: Path, thorough: bool
) -> None:
    """The same of a memory in PostgreSQL, beside another tenant's in the same tables."""
    sessions = 500 if thorough else 4
    address = postgres.address()
    with fresh(postgres.address(), durability) as other:
        other.learn_many(sessions_of(1, 3))
        before = derived(other)
        run = together(write, address, durability, WRITERS, sessions, READERS, tmp_path / "stop")
        assert derived(other) == before
    check_nothing_is_lost(address, durability, sessions, run, tmp_path)
