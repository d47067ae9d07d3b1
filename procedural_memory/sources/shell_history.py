"""The histories of one's own shells as sessions, for a look at one's own habits without a memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procedural_memory.errors import InvalidInputError
from procedural_memory.sources.catalogue import HISTORIES, detect
from procedural_memory.sources.entry import Skipped
from procedural_memory.sources.grouping import IDLE_GAP, Grouper

__all__ = ["IDLE_GAP", "SHELLS", "find_histories", "read_history"]

SHELLS = ("zsh", "bash", "fish", "powershell")
"""The sources that are histories of shells."""


def find_histories(home: Path | None = None) -> list[Path]:
    """Return the history files of this user that exist, each once; where ``HISTFILE`` names one, that one too."""
    found = {path.resolve(): path for name in SHELLS for path in HISTORIES[name].find(home or Path.home())}
    return list(found.values())


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Yield sessions of a shell's history: by idle gap where there are times, else by blocks of 40 commands.

    Outcomes are unknown: a history file does not tell them.
    """
    try:
        name = detect(path)
    except InvalidInputError:  # lines without a sign of another shell
        name = "bash"
    grouper = Grouper(IDLE_GAP)
    number = 0
    for ends in (grouper.take(HISTORIES[name].open(path, None, Skipped()).entries()), grouper.rest):
        for run in ends() if callable(ends) else ends:
            commands = [
                {"command": e.command, "timestamp": e.timestamp, "duration_ms": e.duration_ms, "actor": e.actor}
                for e in run.entries
            ]
            yield {"session_id": f"{path}:{number}", "commands": commands, "outcome": None, "source": name}
            number += 1
