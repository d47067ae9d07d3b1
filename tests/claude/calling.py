"""The hook as Claude Code calls it, and the events that it hands over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from procedural_memory.claude.settings import HOOK

EVENTS = Path(__file__).parent / "events"


def event(name: str, cwd: Path | str = "/src/app", **changes: Any) -> dict[str, Any]:
    """Return an event in the form that Claude Code documents, with some of its fields changed."""
    text = (EVENTS / f"{name}.json").read_text(encoding="utf-8").replace('"@CWD@"', json.dumps(str(cwd)))
    return {**json.loads(text), **changes}


def ran(command: str, name: str = "post_tool_use", cwd: Path | str = "/src/app", **changes: Any) -> dict[str, Any]:
    """Return the event of a command."""
    return event(name, cwd, **{"tool_input": {"command": command}, **changes})


def start(store: Path, given: Any, *more: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start the hook with an event, or any other input."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(HOOK), "--store", str(store), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    try:
        process.stdin.write(given if isinstance(given, bytes) else json.dumps(given).encode())
        process.stdin.close()
    except BrokenPipeError:  # turned off, it reads nothing
        pass
    process.stdin = None
    return process


def hook(store: Path, given: Any, *more: str, **environment: str) -> str:
    """Return what the hook answers; it always ends well, and says nothing else."""
    process = start(store, given, *more, **environment)
    answer, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == b""
    return answer.decode()
