"""The one thread of this process that uses MLX: it starts with the first call and stays until the process ends.

MLX keeps what it compiled by thread. Those who embed are short-lived threads of the background and whoever asks a
question; each would compile again, and what one of them leaves behind none of the others can release.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["post", "run"]

T = TypeVar("T")

_calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
_start = threading.Lock()
_thread: threading.Thread | None = None


def run(function: Callable[[], T]) -> T:
    """Return what `function` returns in the thread of MLX, or raise what it raises there.

    `function` must not call `run`.
    """
    result: Future[T] = Future()

    def call() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    _begin()
    post(call)
    return result.result()


def post(function: Callable[[], Any]) -> None:
    """Have `function` called in the thread of MLX, once there is one, and do not wait; safe in a finalizer.

    It must not raise.
    """
    _calls.put(function)


def _begin() -> None:
    global _thread
    if _thread is None:
        with _start:
            if _thread is None:
                # A daemon: were it to end before the process, MLX would abort the process now and then.
                _thread = threading.Thread(target=_work, name="procedural-memory-mlx", daemon=True)
                _thread.start()


def _work() -> None:
    while True:
        _calls.get()()


def _begin_anew() -> None:
    """Forget the thread: a child process has none of its parent's."""
    global _calls, _start, _thread
    _calls, _start, _thread = SimpleQueue(), threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
