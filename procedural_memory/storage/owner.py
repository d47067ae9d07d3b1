"""Which process a live session belongs to, and whether that process is still there.

A process is named by its machine, its number and the moment it began, so that a number that was given out again is not
mistaken for it.
"""

from __future__ import annotations

import json
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

__all__ = ["fate_of", "owner_of"]

Fate = Literal["alive", "gone", "unknown"]
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def owner_of(process: int) -> str:
    """Return the name of a process of this machine."""
    return json.dumps([_machine(), _boot(), process, _beginning(process)])


def fate_of(owner: str | None) -> Fate:
    """Return whether a process is alive; "unknown" of those of other machines, and where no process is named."""
    try:
        machine, boot, process, beginning = json.loads(owner or "null")
    except (TypeError, ValueError, RecursionError):
        return "unknown"
    if machine != _machine() or not isinstance(process, int):
        return "unknown"
    return "alive" if boot == _boot() and beginning is not None and beginning == _beginning(process) else "gone"


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return the name of this machine; containers on it count as others, for they cannot see each other's processes."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{platform.node()} {space}"


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _beginning(process: int) -> str | None:
    """Return when a process began, None where there is no such process."""
    if _BOOT_ID.exists():
        try:
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # In clock ticks since the boot. The name before it may hold blanks and brackets.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    import subprocess

    told = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    return told.stdout.strip() or None
