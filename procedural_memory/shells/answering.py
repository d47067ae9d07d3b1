"""The process that answers a user's shells: started with the first question, gone when nobody asked for a while."""

from __future__ import annotations

import argparse
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from procedural_memory.commands.danger import is_destructive
from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import ProceduralMemoryError
from procedural_memory.private_socket import bind_private, unbind
from procedural_memory.types import UNASKED_PROBABILITY

__all__ = ["answer", "serve"]

_IDLE = 900.0
"""Seconds without a question after which it ends."""
_LOOKED_AT = 25
"""How many predictions are looked at for those that begin with what was typed."""
_MOST = 4 * 1024 * 1024
_READ_WITHIN = 2.0


def answer(engine: ProceduralMemoryEngine, question: dict[str, Any]) -> list[dict[str, str]]:
    """Return the lines that may come next and begin with what was typed.

    One with an open placeholder is none that could be put on a prompt. Where too few predictions begin so, lines that
    were run come behind them.
    """
    cwd, typed, k = question["cwd"], question["typed"], question["k"]
    context = [{"command": line, "exit_code": code, "cwd": cwd} for line, code in question["steps"] if line.strip()]
    least = UNASKED_PROBABILITY if question["unasked"] else 0.0
    predictions = engine.predict_next_action(context, _LOOKED_AT if typed else k, cwd=cwd, min_probability=least)
    lines = [one.next_command for one in predictions if one.runnable and one.next_command.startswith(typed)]
    if typed and len(lines) < k:
        lines += engine.lines_beginning(typed, k)  # of one line only
    # What has several lines a shell would run as soon as it is pasted.
    lines = [line for line in dict.fromkeys(lines) if line != typed and "\n" not in line]
    return [{"kind": "d" if is_destructive(line) else "r", "line": line} for line in lines[:k]]


def serve(store: str, place: str, idle: float = _IDLE) -> None:
    """Answer on a Unix socket until nobody asks any more.

    Parameters
    ----------
    store, place : str
        The file of the memory, and that of the socket.
    idle : float
        Seconds without a question after which it ends.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            bound = bind_private(listener, Path(place))
        except OSError:
            return  # another process was first
        listener.listen(16)
        try:
            listener.settimeout(idle)
            with ProceduralMemoryEngine(path=store) as engine, suppress(TimeoutError):
                opened = _identity(store)
                while True:
                    connection, _ = listener.accept()
                    if _identity(store) != opened:  # removed, or another one: the next question starts anew
                        connection.close()
                        return
                    with connection, suppress(OSError, ValueError, KeyError, TypeError, ProceduralMemoryError):
                        connection.settimeout(_READ_WITHIN)
                        connection.sendall(json.dumps(answer(engine, _read(connection))).encode("ascii"))
        finally:
            unbind(Path(place), bound)


def _identity(store: str) -> tuple[int, int] | None:
    try:
        status = os.stat(store)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read(connection: socket.socket) -> dict[str, Any]:
    parts, size = [], 0
    while part := connection.recv(65_536):
        parts.append(part)
        size += len(part)
        if size > _MOST:
            raise ValueError("too much")
    question: dict[str, Any] = json.loads(b"".join(parts))
    return question


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--socket", required=True)
    options = parser.parse_args()
    serve(options.store, options.socket)
