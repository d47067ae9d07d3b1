"""Rollouts of Codex: the commands that its shell tools ran.

Each line is a JSON object; older rollouts hold the items themselves, later ones wrap them in ``payload`` with a
``timestamp``. A command is a ``function_call`` (``shell``, ``shell_command``, ``exec_command``, ``container.exec``) or
a ``local_shell_call``, its end the output with its ``call_id``. How it ended stands in the output's metadata, in the
lines before the output proper, or in an ``exec_command_end`` event; where it stands nowhere it is unknown.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from procedural_memory.sources.calls import Calls
from procedural_memory.sources.entry import UNFINISHED, Entry, Skip, instant, number_of, objects, real

__all__ = ["entries", "find"]

_SHELLS = ("shell", "shell_command", "exec_command", "container.exec", "local_shell", "unified_exec")
_HEAD = 2_000
_CODE = re.compile(r"^(?:Exit code:|Process exited with code) (-?\d{1,10})\s*$", re.MULTILINE)
_WALL = re.compile(r"^Wall time: (\d+(?:\.\d+)?) seconds", re.MULTILINE)
_HEADS = ("Exit code:", "Chunk ID:", "Wall time:", "Process exited")
_OUTPUT = re.compile(r"^Output:\s*$", re.MULTILINE)
_NEVER_RAN = re.compile(
    r"\s*(?:exec command rejected|(?:command|patch) rejected|unsupported call|failed to parse function)"
)


def find(home: Path) -> list[Path]:
    """Return the rollouts of a user, archived ones included."""
    folder = Path(os.environ.get("CODEX_HOME") or home / ".codex")
    return sorted(
        path for part in ("sessions", "archived_sessions") for path in (folder / part).glob("**/rollout-*.jsonl")
    )


def entries(lines: Iterable[bytes], skip: Skip) -> Iterator[Entry]:
    """Yield the commands of a rollout, in the order in which they began."""
    calls = Calls()
    ends: dict[str, dict[str, Any]] = {}
    session = cwd = branch = None
    for number, record in objects(lines, skip):
        inner = record.get("payload")
        item: Mapping[str, Any] = inner if isinstance(inner, Mapping) else record
        kind = record.get("type") if item is not record and record.get("type") in _WRAPPED else item.get("type")
        if kind in ("session_meta", "turn_context") or (kind is None and "id" in item and "instructions" in item):
            # A rollout that goes on from another one repeats what that one said of itself.
            session = session or _text(item.get("id"))
            cwd = _text(item.get("cwd")) or cwd
            git = item.get("git")
            branch = (_text(git.get("branch")) if isinstance(git, Mapping) else None) or branch
            continue
        call = _text(item.get("call_id")) or _text(item.get("id"))
        command, folder = _command(item)
        if command is not None:
            if call is None or not command.strip():
                skip(number, "a call without id or command")
                continue
            if folder and cwd and not os.path.isabs(folder):
                folder = os.path.normpath(os.path.join(cwd, folder))
            when = instant(record.get("timestamp"))
            entry = Entry(command, when, cwd=folder or cwd, session=session, branch=branch, line=number)
            if not calls.knows(call):
                yield from calls.begin(call, entry)
        elif kind == "custom_tool_call" and item.get("name") == "exec":
            skip(number, "a program that calls tools: which commands it ran is not told")
        elif kind == "exec_command_end" and call is not None and calls.knows(call):
            ends[call] = {"exit_code": number_of(item.get("exit_code")), "duration_ms": _milliseconds(item)}
        elif kind in _OUTPUTS and call is not None and calls.knows(call):
            told = _ended(item.get("output"))
            if told is None:
                skip(number, "refused, and never run")
                yield from calls.drop(call)
            else:
                known = {name: value for name, value in ends.pop(call, {}).items() if value is not None}
                yield from calls.end(call, **{**told, **known})
    for call, known in ends.items():
        yield from calls.end(call, **known)
    for entry, ended in calls.rest():
        yield entry if ended else entry._replace(command=UNFINISHED)


_WRAPPED = ("session_meta", "turn_context")
_OUTPUTS = ("function_call_output", "local_shell_call_output", "custom_tool_call_output")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _command(item: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the command line of a call and the folder that it names."""
    given: Any
    if item.get("type") == "local_shell_call":
        given = item.get("action")
    elif item.get("type") == "function_call" and item.get("name") in _SHELLS:
        given = item.get("arguments")
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError):
                return "", None
    else:
        return None, None
    if not isinstance(given, Mapping):
        return "", None
    folder = _text(given.get("workdir")) or _text(given.get("working_directory"))
    words = given.get("command", given.get("cmd"))
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        shell = words[0].rsplit("/", 1)[-1] if words else ""
        if len(words) == 3 and shell in ("bash", "sh", "zsh") and words[1] in ("-lc", "-c"):
            return words[2], folder
        return shlex.join(words), folder
    return words if isinstance(words, str) else "", folder


def _ended(output: Any) -> dict[str, Any] | None:
    """Return what an output tells of the end; None where the command never ran."""
    if isinstance(output, str) and output.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            output = json.loads(output)
    if isinstance(output, Mapping):
        about = output.get("metadata")
        about = about if isinstance(about, Mapping) else output
        if (code := number_of(about.get("exit_code"))) is not None:
            spent = real(about.get("duration_seconds"))
            return {"exit_code": code, "duration_ms": spent * 1000 if spent is not None and spent >= 0 else None}
        output = next((output[name] for name in ("content", "body", "output") if name in output), "")
    if isinstance(output, list):
        output = "\n".join(str(part.get("text", "")) for part in output if isinstance(part, Mapping))
    said = output[:_HEAD] if isinstance(output, str) else ""
    if _NEVER_RAN.match(said):
        return None
    begin = _OUTPUT.search(said)
    head = said[: begin.start()] if begin else said if said.startswith(_HEADS) else ""
    found, wall = _CODE.search(head), _WALL.search(head)
    return {
        "exit_code": int(found[1]) if found else None,
        "duration_ms": float(wall[1]) * 1000 if found and wall else None,
    }


def _milliseconds(item: Mapping[str, Any]) -> float | None:
    spent = item.get("duration")
    if not isinstance(spent, Mapping):
        return None
    seconds, nanoseconds = real(spent.get("secs", 0)), real(spent.get("nanos", 0))
    return None if seconds is None or nanoseconds is None else seconds * 1e3 + nanoseconds / 1e6
