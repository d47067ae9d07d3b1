"""What whole processes cost: the command line and the hook, beside a bare Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import procedural_memory
from procedural_memory import ProceduralMemoryEngine
from procedural_memory.samples import load_sessions
from speed.measure import Call, Contest
from speed.registry import one_of, operation, sizes
from speed.world import World

HOOK = Path(procedural_memory.__file__).with_name("hook.py")
CLI = [sys.executable, "-m", "procedural_memory"]
ASKED = ["--cwd", "/src/project3", "git status", "git add src/part3/file3.py"]
PASS, NUMPY, SQLITE = "python -c pass", "python -c 'import numpy'", "python -c 'import json, sqlite3'"
# Python keeps what it compiled, as it does of what is installed; the first call is not counted.
KEPT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
TOKEN = f"curl -H 'Authorization: Bearer {'a1B2' * 9}' https://api.example.com/v1/items"


def run(command: list[str], given: bytes = b"") -> bytes:
    """Run a process to its end; return what it printed."""
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True, env=KEPT).stdout


def python(code: str) -> Call:
    """Return the start of a bare Python."""
    return Call(lambda: run([sys.executable, "-c", code]))


def predicting(store: Path) -> list[str]:
    """Return the command line of a prediction."""
    return [*CLI, "predict", "--path", str(store), "--embedder", "lexical", *ASKED]


@operation("process: procedural-memory --version")
def version(world: World) -> Iterator[Contest]:
    """Start the command line."""
    yield Contest(Call(lambda: run([*CLI, "--version"])), {PASS: python("pass"), NUMPY: python("import numpy")})


@operation("process: procedural-memory predict", size=sizes)
def predict(world: World, size: int) -> Iterator[Contest]:
    """Predict once in a new process; what the system keeps of the file is warm."""
    command = predicting(world.store(size))
    assert b"git" in run(command)
    yield Contest(Call(lambda: run(command)), {NUMPY: python("import numpy"), PASS: python("pass")})


@operation(
    "process: hook of Claude Code", event=one_of("step", "failed step", "step with a token", "start of a session")
)
def hook(world: World, event: str) -> Iterator[Contest]:
    """Take in an event, into a memory of the sample sessions."""
    store = world.new()
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.learn_many(load_sessions())
        before = engine.stats()["command_count"]
    command = [sys.executable, "-I", "-S", str(HOOK), "--store", str(store)]
    told = cycle(_events(event, str(store.parent)))
    done = 0

    def ours() -> None:
        nonlocal done
        run(command, next(told))
        done += 1

    yield Contest(Call(ours), {SQLITE: python("import json, sqlite3"), PASS: python("pass")}, warm=3)
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        learned = engine.stats()["command_count"] - before
    assert learned == (0 if event == "start of a session" else done), (learned, done)


def _events(kind: str, cwd: str) -> list[bytes]:
    common = {
        "session_id": "00000000-0000-4000-8000-000000000000",
        "transcript_path": "/home/me/.claude/projects/app/0.jsonl",
        "cwd": cwd,
        "permission_mode": "default",
    }
    call = {"tool_name": "Bash", "tool_use_id": "toolu_0", "duration_ms": 900, "hook_event_name": "PostToolUse"}
    went_well = {"tool_response": {"stdout": "", "stderr": "", "interrupted": False}}
    failed = {"hook_event_name": "PostToolUseFailure", "error": "Exit code 1\nFAILED", "is_interrupt": False}
    lines = [step["command"] for session in load_sessions() for step in session["commands"]]
    events: dict[str, list[dict[str, Any]]] = {
        "step": [{**call, **went_well, "tool_input": {"command": line}} for line in lines[:40]],
        "failed step": [{**call, **failed, "tool_input": {"command": "npm test"}}],
        "step with a token": [{**call, **went_well, "tool_input": {"command": TOKEN}}],
        "start of a session": [{"hook_event_name": "SessionStart", "source": "startup"}],
    }
    return [json.dumps({**common, **event}).encode() for event in events[kind]]
