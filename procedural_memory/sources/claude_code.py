"""Transcripts of Claude Code: the commands that its Bash tool ran.

Each line of a transcript is a JSON object. A command is a ``tool_use`` block of an assistant message, its end the
``tool_result`` block with its id. Subagents (sidechains) are sessions of their own. What is told of the end:

- a result that is no error ended with 0, unless the command went on in the background, was interrupted, or its code
  was interpreted (``grep`` that found nothing): then the code is not told, and unknown;
- an error that begins with ``Exit code N`` ended with N; another error (a time-out) has an unknown code;
- what was refused (by the user, a rule or a hook) never ran, and what has no result may not have run: neither counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from procedural_memory.sources.calls import Calls
from procedural_memory.sources.entry import UNFINISHED, Entry, Skip, instant, objects

__all__ = ["entries", "find"]

_CODE = re.compile(r"\s*(?:<error>|<tool_use_error>)?\s*(?:Error:\s*)?Exit code (\d{1,3})\b")
_NEVER_RAN = re.compile(
    r"\s*(?:Error:\s*)?(?:<tool_use_error>|The user doesn't want|User rejected|Permission to use|Permission denied by"
    r"|\[Request interrupted by user for tool use\]|Claude requested permissions|This command requires approval"
    r"|PreToolUse:|Hook PreToolUse|InputValidationError|Cancelled: parallel tool call)"
)
_BACKGROUND = re.compile(
    r"\s*Command (?:running in background|was manually backgrounded|.{0,80}moved to the background)"
)


def find(home: Path) -> list[Path]:
    """Return the transcripts of a user, those of subagents included."""
    folder = Path(os.environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    return sorted((folder / "projects").glob("**/*.jsonl"))


def entries(lines: Iterable[bytes], skip: Skip) -> Iterator[Entry]:
    """Yield the commands of a transcript, in the order in which they began."""
    calls = Calls()
    seen: set[str] = set()
    roots: dict[str, str] = {}
    for number, record in objects(lines, skip):
        session = _session(record, roots)
        for block in _blocks(record):
            kind = block.get("type")
            if kind == "tool_use" and block.get("name") == "Bash":
                call, given = str(block.get("id") or ""), block.get("input")
                command = given.get("command") if isinstance(given, Mapping) else None
                if not call or not isinstance(command, str) or not command.strip():
                    skip(number, "a Bash call without id or command")
                elif call not in seen:
                    seen.add(call)
                    yield from calls.begin(call, _entry(record, command, session, number))
            elif kind == "tool_result" and calls.knows(str(block.get("tool_use_id"))):
                call = str(block.get("tool_use_id"))
                ran, code = _ended(block, record.get("toolUseResult"))
                if ran:
                    yield from calls.end(call, exit_code=code)
                else:
                    skip(number, "refused, and never run")
                    yield from calls.drop(call)
    for entry, ended in calls.rest():
        yield entry if ended else entry._replace(command=UNFINISHED)


def _session(record: Mapping[str, Any], roots: dict[str, str]) -> str | None:
    own = record.get("sessionId")
    session = own if isinstance(own, str) else None
    if not record.get("isSidechain"):
        return session
    agent, here, above = record.get("agentId"), record.get("uuid"), record.get("parentUuid")
    if not isinstance(agent, str):  # older ones are told apart by the message that they began with
        agent = roots.get(above, here) if isinstance(above, str) else here
        if isinstance(here, str) and isinstance(agent, str):
            roots[here] = agent
    return f"{session}/{agent}"


def _blocks(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    message = record.get("message")
    content = message.get("content") if isinstance(message, Mapping) else None
    if record.get("type") in ("assistant", "user") and isinstance(content, list):
        for block in content:
            if isinstance(block, Mapping):
                yield block


def _entry(record: Mapping[str, Any], command: str, session: str | None, number: int) -> Entry:
    cwd, branch = record.get("cwd"), record.get("gitBranch")
    return Entry(
        command,
        instant(record.get("timestamp")),
        cwd=cwd if isinstance(cwd, str) and cwd else None,
        session=session,
        branch=branch if isinstance(branch, str) and branch not in ("", "HEAD") else None,
        line=number,
    )


def _ended(block: Mapping[str, Any], result: Any) -> tuple[bool, int | None]:
    """Return whether a command ran, and with which code it ended."""
    said = block.get("content")
    if isinstance(said, list):
        said = "\n".join(str(part.get("text", "")) for part in said if isinstance(part, Mapping))
    said = said if isinstance(said, str) else ""
    told = result if isinstance(result, Mapping) else {}
    if block.get("is_error"):
        code = _CODE.match(said)
        return not _NEVER_RAN.match(said), int(code[1]) if code else None
    unknown = (
        told.get("interrupted")
        or told.get("backgroundTaskId")
        or told.get("returnCodeInterpretation")
        or _BACKGROUND.match(said)
    )
    return True, None if unknown else 0
