"""Lets the collection of garbage rest while much is counted: it finds none, and takes a tenth of the time."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]

_lock = threading.Lock()
_resting = 0
_collects = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Let it rest in the body, in the whole process; where several bodies run at once, until the last one is done."""
    global _resting, _collects
    with _lock:
        if not _resting:
            _collects = gc.isenabled()
            gc.disable()
        _resting += 1
    try:
        yield
    finally:
        with _lock:
            _resting -= 1
            if not _resting and _collects:
                gc.enable()


def _in_child() -> None:
    # Of the threads that were in a body none is in this process, which would never collect again.
    global _lock, _resting
    _lock = threading.Lock()
    if _resting and _collects:
        gc.enable()
    _resting = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
