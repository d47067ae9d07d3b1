"""The database of the OmniMemory daemon: its table of events, each kind of which is one step.

Beside ``id``, ``timestamp``, ``event_type`` and ``session_id`` a version of the daemon may keep more, in columns or as
JSON in one of them. A process whose command line is told is that line, and its end, which tells its exit code, is found
by its number or by its line; without a line it is ``execute_command`` and ``command_completed``. What happens to a file
that is named gets its path as argument.
Times without a zone are local ones, as the daemon writes them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from procedural_memory.commands.events import EVENTS
from procedural_memory.sources.calls import Calls
from procedural_memory.sources.database import Row, TableSource
from procedural_memory.sources.entry import Entry, Skip, instant, number_of, real

__all__ = ["OMNIMEMORY"]

_COMMAND = ("command", "command_line", "cmd", "cmdline")
_PATH = ("file_path", "filepath", "path", "file")
_PID = ("pid", "process_id")
_CWD = ("cwd", "working_directory", "workdir", "working_dir")
_CODE = ("exit_code", "exit_status", "return_code", "returncode")
_DETAILS = ("payload", "data", "metadata", "details", "event_data", "properties", "context")


def _find(home: Path) -> list[Path]:
    path = home / ".memory-daemon" / "storage" / "memory_data.db"
    return [path] if path.is_file() else []


def _entries(rows: Iterator[Row], skip: Skip) -> Iterator[Entry]:
    running = Calls()
    begun: dict[tuple[str | None, str, str], tuple[str, str | None]] = {}  # by line or by number: call and number
    for row in rows:
        number, kind = row["rowid"], row.get("event_type")
        step = EVENTS.get(kind) if isinstance(kind, str) else None
        if step is None:
            skip(number, f"an event of unknown type ({str(kind)[:40]})")
            continue
        told = {**_details(row), **{name: value for name, value in row.items() if value is not None}}
        entry = _entry(told, step, number)
        if entry is None:
            skip(number, "an event without a time")
            continue
        call, process = f"#{number}", _first(told, _PID)
        names = [(entry.session, "number", process)] if process else []
        names += [(entry.session, "line", entry.command)] if entry.command != step else []
        if kind == "process_end" and (start := _start_of(names, process, begun, running)):
            yield from running.end(start, **_end(running.entry(start), entry))
        elif kind == "process_end" and entry.command != step:
            skip(number, "the end of a command whose start is not there")
        elif kind == "process_start" and entry.command != step:
            if start := _start_of(names, process, begun, running):  # started again: of the first one no end was seen
                yield from running.end(start)
            yield from running.begin(call, entry)
            begun.update(dict.fromkeys(names, (call, process)))
        else:
            yield from running.begin(call, entry)
            yield from running.end(call)
    yield from sorted((entry for entry, _ in running.rest()), key=lambda entry: (entry.timestamp or 0.0, entry.line))


def _start_of(
    names: list[tuple[str | None, str, str]],
    process: str | None,
    begun: dict[tuple[str | None, str, str], tuple[str, str | None]],
    running: Calls,
) -> str | None:
    """Return the call that has begun under one of some names, and not ended; its number is no other one."""
    for name in names:
        call, known = begun.get(name, ("", None))
        if running.knows(call) and (known is None or process is None or known == process):
            del begun[name]
            return call
    return None


def _end(start: Entry, end: Entry) -> dict[str, Any]:
    spent = end.duration_ms
    if spent is None and start.timestamp is not None and end.timestamp is not None:
        spent = max(0.0, end.timestamp - start.timestamp) * 1000
    return {"exit_code": end.exit_code, "duration_ms": spent, "cwd": start.cwd or end.cwd}


def _entry(told: Mapping[str, Any], step: str, number: int) -> Entry | None:
    when = instant(told.get("timestamp"))
    if when is None:
        return None
    line, path = _first(told, _COMMAND), _first(told, _PATH)
    if step in ("execute_command", "command_completed"):
        command = line or step
    else:
        command = f"{step} {shlex.quote(path)}" if path else step
    spent = real(told.get("duration_ms"))
    codes = [code for name in _CODE if (code := number_of(told.get(name))) is not None]
    return Entry(
        command,
        when,
        spent if spent is not None and spent >= 0 else None,
        codes[0] if codes else None,
        cwd=_first(told, _CWD),
        session=_first(told, ("session_id",)),
        host=_first(told, ("hostname", "host")),
        branch=_first(told, ("git_branch", "branch")),
        project=_first(told, ("project_path", "project")),
        line=number,
    )


def _details(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _DETAILS:
        value = row.get(name)
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                continue
            if isinstance(inner, Mapping):
                found |= {key: found.get(key, item) for key, item in inner.items()}
    return found


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value.strip():
            return value.replace("\0", "")
    return None


OMNIMEMORY = TableSource("omnimemory", "events", ("id", "timestamp", "event_type"), "id", _find, _entries)
