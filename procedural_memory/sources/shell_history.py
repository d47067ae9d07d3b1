"""Sessions from the history files of bash, zsh, fish and PowerShell: enough for a look at one's own habits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procedural_memory.sources import bash, fish, powershell, zsh
from procedural_memory.sources.entry import Entry, lines_of

__all__ = ["IDLE_GAP", "find_histories", "read_history"]

IDLE_GAP = 30 * 60.0
"""Seconds without a command that end a session, where the history has times."""

_UNTIMED_SESSION = 40


def find_histories(home: Path | None = None) -> list[Path]:
    """Return the history files of this user that exist; ``HISTFILE`` is looked at first."""
    folder = home or Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or folder / ".local" / "share")
    places = [
        folder / ".zsh_history",
        folder / ".bash_history",
        data / "fish" / "fish_history",
        data / "powershell" / "PSReadLine" / "ConsoleHost_history.txt",
    ]
    if os.environ.get("HISTFILE"):
        places.insert(0, Path(os.environ["HISTFILE"]).expanduser())
    found: dict[Path, Path] = {}
    for path in places:
        if path.is_file():
            found.setdefault(path.resolve(), path)  # one file under two names is read once
    return list(found.values())


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Yield sessions of a shell's history: by idle gap where there are times, else by blocks of 40 commands.

    Outcomes are unknown: a history file does not tell them.
    """
    session: list[dict[str, Any]] = []
    last: float | None = None
    number = 0
    for command, when, duration in _entries(path):
        gap = when is not None and last is not None and when - last > IDLE_GAP
        if session and (gap or (when is None and len(session) >= _UNTIMED_SESSION)):
            yield {"session_id": f"{path}:{number}", "commands": session, "outcome": None, "source": path.name}
            session, number = [], number + 1
        session.append({"command": command, "timestamp": when, "duration_ms": duration, "actor": "human"})
        last = when
    if session:
        yield {"session_id": f"{path}:{number}", "commands": session, "outcome": None, "source": path.name}


def _entries(path: Path) -> Iterator[Entry]:
    name = path.name.lower()
    lines = lines_of(path)
    if "zsh" in name:
        return zsh.entries(lines)
    if "fish" in name:
        return fish.entries(lines)
    if "consolehost" in name:
        return powershell.entries(lines)
    return bash.entries(lines)
