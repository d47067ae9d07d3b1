"""The events of Claude Code, as its hooks hand them over: one JSON object on standard input.

Shells: ``PostToolUse`` comes after a call of Bash that ended with 0, ``PostToolUseFailure`` after one that failed; its
``error`` begins with the exit status. Both come when the command is over and tell how long it took. ``SessionStart``
and, where it was asked for, ``PreToolUse`` are answered with what the log knows; ``SessionEnd`` closes the session with
unknown outcome, for nobody tells how it ended. Other events, tools and fields are ignored.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any, BinaryIO, Final

from procedural_memory.storage.append import append, close

__all__ = ["SOURCE", "note", "run", "session_name"]

SOURCE: Final = "claude-hook"
"""Who tells of the steps; the reader of transcripts has a name of its own, so that a step of both is counted once."""

_MOST: Final = 16 * 1024 * 1024
"""Bytes of an event that is read; the output of a command comes with it."""
_WITHIN: Final = 5.0
"""Seconds for an event to arrive, and to be answered."""
_LOG_SIZE: Final = 262_144
_EXIT: Final = re.compile(r"\s*(?:Error: )?(?:Exit code|Command exited with non-zero status code) (-?\d{1,9})\b")


def run(arguments: list[str], given: BinaryIO, answer: BinaryIO) -> None:
    """Take in one event.

    Parameters
    ----------
    arguments : list of str
        ``--store FILE``, and ``--warn`` where a step that usually fails is to be warned of.
    given, answer : binary files
        The event, and what goes back to the agent.
    """
    store = arguments[arguments.index("--store") + 1]
    # What is recorded is not cut off: it waits for nobody for long, and on a busy machine a step must not be lost.
    _end_after(_WITHIN)
    event = json.loads(given.read(_MOST))
    if not isinstance(event, dict):
        return
    kind = event.get("hook_event_name")
    if kind in ("PostToolUse", "PostToolUseFailure", "SessionEnd"):
        _end_after(0.0)
    if kind in ("PostToolUse", "PostToolUseFailure"):
        _record(store, event, failed=kind == "PostToolUseFailure")
    elif kind == "SessionEnd":
        close(store, session_name(event))
    elif kind == "SessionStart" or (
        kind == "PreToolUse" and "--warn" in arguments and event.get("tool_name") == "Bash"
    ):
        from procedural_memory.claude import recall

        told = recall.usual(store, event) if kind == "SessionStart" else recall.warning(store, event)
        if told:
            output = {"hookSpecificOutput": {"hookEventName": kind, "additionalContext": told}}
            answer.write(json.dumps(output).encode("ascii"))
            answer.flush()


def _end_after(seconds: float) -> None:
    """End the process, well, when so much time has passed; 0: do not."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def session_name(event: dict[str, Any]) -> str:
    """Return the name of the session of an event; what a subagent runs is a session of its own."""
    name = f"claude-{event.get('session_id') or 'unknown'}"
    agent = event.get("agent_id")
    return f"{name}-{agent}" if isinstance(agent, str) and agent else name


def _record(store: str, event: dict[str, Any], failed: bool) -> None:
    called = event.get("tool_input")
    if event.get("tool_name") != "Bash" or not isinstance(called, dict) or not isinstance(called.get("command"), str):
        return
    told = event.get("duration_ms")
    took = float(told) if isinstance(told, (int, float)) and not isinstance(told, bool) and 0 <= told < 1e12 else None
    append(
        store,
        session_name(event),
        called["command"],
        exit_code=_failure(event) if failed else _success(called, event.get("tool_response")),
        cwd=event.get("cwd"),
        # The event comes at the end. Older versions do not say how long it took; then this is when it was over.
        timestamp=time.time() - (took or 0.0) / 1_000,
        duration_ms=took,
        source=SOURCE,
        actor="agent",
    )


def _failure(event: dict[str, Any]) -> int | None:
    """Return the exit status of a call that failed; None where it is not told, or the user stopped it."""
    told = event.get("error")
    found = _EXIT.match(told) if isinstance(told, str) else None
    return int(found[1]) if found and event.get("is_interrupt") is not True else None


def _success(called: dict[str, Any], response: Any) -> int | None:
    """Return the exit status of a call that did not fail; None where it goes on, or was cut short."""
    if called.get("run_in_background") is True:
        return None
    if isinstance(response, dict):
        if response.get("interrupted") is True or response.get("backgroundTaskId") is not None:
            return None
        # Some programs say "nothing found" by a status that is not 0, and which one is not told.
        if response.get("returnCodeInterpretation"):
            return None
    return 0


def note(arguments: list[str], error: BaseException) -> None:
    """Write down what went wrong, without what the event held."""
    path = os.path.join(os.path.dirname(arguments[arguments.index("--store") + 1]), "hook.log")
    what = "not JSON" if isinstance(error, ValueError) else str(error)
    with open(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8") as file:
        if file.tell() > _LOG_SIZE:
            file.truncate(0)
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {type(error).__name__}: {what[:500]}\n")
