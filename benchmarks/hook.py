"""What the hook of Claude Code costs as a whole process, in turns with a bare Python that imports json and sqlite3.

Events have the form of those of the tests, with commands of the sample sessions and one with a token. They go into a
memory that has learned the sample sessions.

Run: python benchmarks/hook.py [--runs 200] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import numpy as np

import procedural_memory
from procedural_memory import ProceduralMemoryEngine
from procedural_memory.samples import load_sessions

HOOK = Path(procedural_memory.__file__).with_name("hook.py")
BARE = [sys.executable, "-c", "import json, sqlite3"]
HEADER = "| process | p50 ms | p90 ms | p50 / bare p50 |"


def events(cwd: str) -> list[tuple[str, bytes]]:
    """Return events by name: a step that worked, one that failed, one with a token, the start of a session."""
    common = {
        "session_id": "00000000-0000-4000-8000-000000000000",
        "transcript_path": "/home/me/.claude/projects/app/0.jsonl",
        "cwd": cwd,
        "permission_mode": "default",
        "tool_name": "Bash",
        "tool_use_id": "toolu_0",
        "duration_ms": 900,
    }
    done = {"hook_event_name": "PostToolUse", "tool_response": {"stdout": "", "stderr": "", "interrupted": False}}
    failed = {"hook_event_name": "PostToolUseFailure", "error": "Exit code 1\nFAILED", "is_interrupt": False}
    lines = [step["command"] for session in load_sessions() for step in session["commands"]]
    token = f"curl -H 'Authorization: Bearer {'a1B2' * 9}' https://api.example.com/v1/items"
    steps = [("step", {**common, **done, "tool_input": {"command": line}}) for line in lines[:40]]
    named = [
        *steps,
        ("failed step", {**common, **failed, "tool_input": {"command": "npm test"}}),
        ("step with a token", {**common, **done, "tool_input": {"command": token}}),
        ("start of a session", {**common, "hook_event_name": "SessionStart", "source": "startup"}),
    ]
    return [(name, json.dumps(event).encode()) for name, event in named]


def took(command: list[str], given: bytes) -> float:
    """Return the seconds that a process takes."""
    begin = time.perf_counter()
    subprocess.run(command, input=given, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def measure(runs: int) -> list[str]:
    """Return the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "memory.sqlite3")
        with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
            engine.learn_many(load_sessions())
        command = [sys.executable, "-I", "-S", str(HOOK), "--store", store]
        told = events(folder)
        single = [event for event in told if event[0] == "step"]
        rare = [event for event in told if event[0] != "step"]
        taken: dict[str, list[float]] = {}
        # In turns, so that what else the machine does falls on all of them.
        for turn, (name, event) in enumerate(islice(cycle(single), runs)):
            taken.setdefault("bare: json, sqlite3", []).append(took(BARE, b""))
            taken.setdefault(name, []).append(took(command, event))
            other, event = rare[turn % len(rare)]
            taken.setdefault(other, []).append(took(command, event))
        with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
            learned = engine.stats()["command_count"] - sum(len(session["commands"]) for session in load_sessions())
    assert learned == runs + sum(len(taken[name]) for name, _ in rare[:2]), learned
    bare = float(np.percentile(taken["bare: json, sqlite3"], 50))
    rows = []
    for name, seconds in taken.items():
        p50, p90 = np.percentile(seconds, [50, 90])
        rows.append(f"| {name} | {1e3 * p50:.1f} | {1e3 * p90:.1f} | {p50 / bare:.2f} |")
    return rows


def main() -> None:
    """Measure, print, and write HOOK.md when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="write HOOK.md")
    asked = parser.parse_args()
    rows = measure(asked.runs)
    text = "\n".join(
        [
            "# What the hook of Claude Code costs",
            "",
            f"Written by `python benchmarks/hook.py --runs {asked.runs} --write` on {date.today()}: whole processes",
            f"in turns, Python {platform.python_version()}, {os.cpu_count()} cores ({platform.system()}). All steps of",
            "the run were found in the memory afterwards.",
            "",
            HEADER,
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
    print(text)
    if asked.write:
        Path(__file__).with_name("HOOK.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
