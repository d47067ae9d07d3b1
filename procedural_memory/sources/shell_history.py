"""Sessions from the history files of bash and zsh: enough for a look at one's own habits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procedural_memory.errors import StorageError

__all__ = ["IDLE_GAP", "find_histories", "read_history"]

IDLE_GAP = 30 * 60.0
"""Seconds without a command that end a session, where the history has times."""

_UNTIMED_SESSION = 40
_LATEST = 1e11
_ZSH = re.compile(r"^: (\d+):(\d+);(.*)$", re.DOTALL)
_BASH_TIME = re.compile(r"^#(\d{9,11})$")


def find_histories(home: Path | None = None) -> list[Path]:
    """Return the history files of this user that exist; ``HISTFILE`` is looked at first."""
    folder = home or Path.home()
    places = [folder / ".zsh_history", folder / ".bash_history"]
    if os.environ.get("HISTFILE"):
        places.insert(0, Path(os.environ["HISTFILE"]).expanduser())
    found: dict[Path, Path] = {}
    for path in places:
        if path.is_file():
            found.setdefault(path.resolve(), path)  # one file under two names is read once
    return list(found.values())


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Yield sessions of a bash or zsh history: by idle gap where there are times, else by blocks of 40 commands.

    Outcomes are unknown: a history file does not tell them.
    """
    session: list[dict[str, Any]] = []
    last: float | None = None
    number = 0
    for command, when in _entries(path):
        gap = when is not None and last is not None and when - last > IDLE_GAP
        if session and (gap or (when is None and len(session) >= _UNTIMED_SESSION)):
            yield {"session_id": f"{path}:{number}", "commands": session, "outcome": None, "source": path.name}
            session, number = [], number + 1
        session.append({"command": command, "timestamp": when, "actor": "human"})
        last = when
    if session:
        yield {"session_id": f"{path}:{number}", "commands": session, "outcome": None, "source": path.name}


def _entries(path: Path) -> Iterator[tuple[str, float | None]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StorageError(f"history {str(path)!r}: cannot be read ({error})") from error
    when: float | None = None
    pending = ""
    if "zsh" in path.name:
        raw = _unmetafied(raw)
    for line in raw.decode("utf-8", "replace").replace("\0", "").split("\n"):
        if mark := _BASH_TIME.match(line):
            when = _time(mark[1])
            continue
        pending += line
        if pending.endswith("\\"):  # zsh continues a multi-line entry with a backslash
            pending = pending[:-1] + "\n"
            continue
        timed = _ZSH.match(pending)
        command = timed[3] if timed else pending
        if command.strip():
            yield command, _time(timed[1]) if timed else when
        pending = ""


def _time(digits: str) -> float | None:
    """Return seconds since the epoch; None for a time that cannot be one."""
    seconds = float(digits)
    return seconds if seconds <= _LATEST else None


def _unmetafied(raw: bytes) -> bytes:
    """Undo zsh's byte escape: 0x83 followed by the byte xor 32."""
    if b"\x83" not in raw:
        return raw
    return re.sub(rb"\x83(.)", lambda match: bytes([match[1][0] ^ 32]), raw, flags=re.DOTALL)
