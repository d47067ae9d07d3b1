"""Sample sessions: a month of one small team's command lines, and one session held out for the demo.

`sessions.jsonl` holds one session a line, oldest first; `demo_session.json` holds the held-out one. Both were
written for this package: the team, its projects and its hosts do not exist. Times are epoch seconds in 2026.
"""

import json
from importlib import resources
from typing import Any


def load_sessions() -> list[dict[str, Any]]:
    """Return the sample sessions, oldest first.

    Each has `session_id`, `project`, `outcome` ("success", "failure" or None) and `commands`: dicts of
    `command`, `exit_code`, `cwd`, `timestamp` (epoch seconds at the start) and `duration_ms`.
    """
    # One object ends at each newline character alone: splitlines() would also cut at U+2028 inside a string.
    lines = _read("sessions.jsonl").split("\n")
    return [json.loads(line) for line in lines if line]


def load_demo_session() -> dict[str, Any]:
    """Return the demo session: `description`, `project`, `cwd`, `outcome` and `commands`."""
    session: dict[str, Any] = json.loads(_read("demo_session.json"))
    return session


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
