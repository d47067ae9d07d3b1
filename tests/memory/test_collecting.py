"""The collection of garbage rests while much is counted, and goes on afterwards, whatever happened meanwhile."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.memory.collecting import uncollected


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collection as it was."""
    yield
    gc.enable()


def test_it_rests_until_the_last_one_is_done() -> None:
    """Also after an error, and where several count at once."""
    inside, done = threading.Event(), threading.Event()

    def count() -> None:
        with uncollected():
            inside.set()
            done.wait(10)

    other = threading.Thread(target=count)
    other.start()
    inside.wait(10)
    with pytest.raises(ZeroDivisionError), uncollected():
        _ = 1 / 0
    assert not gc.isenabled()
    done.set()
    other.join()
    assert gc.isenabled()


def test_where_it_is_off_it_stays_off() -> None:
    """It is not for a library to turn on what an application has turned off."""
    gc.disable()
    with uncollected():
        assert not gc.isenabled()
    assert not gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_collects() -> None:
    """The thread that counts is not in it, and could not turn it on again."""
    with uncollected():
        child = os.fork()
        if child == 0:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not gc.isenabled()
    assert gc.isenabled()


def test_much_is_counted_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of many steps is counted while it rests, one of a few is not."""
    found: list[bool] = []
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        apply = engine._store.apply

        def noted(*arguments: Any) -> bool:
            found.append(gc.isenabled())
            return apply(*arguments)

        monkeypatch.setattr(engine._store, "apply", noted)
        engine.learn_workflow(["git pull", "make build", "make test"])
        assert found == [True]
        engine.learn_many([["git pull", "make build", f"make part{number}"] for number in range(800)])
    assert False in found
    assert gc.isenabled()
