"""The database of the OmniMemory daemon: its table of events, each kind of which is one step.

Beside ``id``, ``timestamp``, ``event_type`` and ``session_id`` a version of the daemon may keep more, in columns or as
JSON in one of them. A process whose command line is told is that line, and its end tells its exit code; without a line
it is ``execute_command`` and ``command_completed``. What happens to a file that is named gets its path as argument.
Times without a zone are local ones, as the daemon writes them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from procedural_memory.sources.calls import Calls
from procedural_memory.sources.database import Row, TableSource
from procedural_memory.sources.entry import Entry, Skip, instant, number_of

__all__ = ["EVENTS", "OMNIMEMORY"]

EVENTS: Final = {
    "file_open": "open_file",
    "file_save": "save_file",
    "file_create": "create_file",
    "file_delete": "delete_file",
    "file_modify": "modify_file",
    "process_start": "execute_command",
    "process_end": "command_completed",
    "editor_open": "open_editor",
    "editor_close": "close_editor",
    "code_edit": "edit_code",
    "test_run": "run_tests",
    "build_start": "build_project",
    "git_commit": "commit_changes",
    "git_push": "push_changes",
    "git_pull": "pull_changes",
}
"""Kind of event -> the step that it is."""

_COMMAND = ("command", "command_line", "cmd", "cmdline")
_PATH = ("file_path", "filepath", "path", "file")
_CWD = ("cwd", "working_directory", "workdir", "working_dir")
_CODE = ("exit_code", "exit_status", "return_code", "returncode")
_DETAILS = ("payload", "data", "metadata", "details", "event_data", "properties", "context")


def _find(home: Path) -> list[Path]:
    path = home / ".memory-daemon" / "storage" / "memory_data.db"
    return [path] if path.is_file() else []


def _entries(rows: Iterator[Row], skip: Skip) -> Iterator[Entry]:
    running = Calls()
    for row in rows:
        number, kind = row["rowid"], row.get("event_type")
        step = EVENTS.get(kind) if isinstance(kind, str) else None
        if step is None:
            skip(number, f"an event of unknown type ({str(kind)[:40]})")
            continue
        entry = _entry(row, step, number)
        if entry is None:
            skip(number, "an event without a time")
        elif not _is_process(kind) or entry.command == step:
            key = f"#{number}"
            yield from running.begin(key, entry)
            yield from running.end(key)
        else:
            key = f"{entry.session}\n{entry.command}"
            if kind == "process_start":
                if running.knows(key):  # started again: of the first one no end was seen
                    yield from running.end(key)
                yield from running.begin(key, entry)
            elif running.knows(key):
                yield from running.end(key, **_end(running.entry(key), entry))
            else:
                skip(number, "the end of a command whose start is not there")
    yield from sorted((entry for entry, _ in running.rest()), key=lambda entry: (entry.timestamp or 0.0, entry.line))


def _is_process(kind: Any) -> bool:
    return kind in ("process_start", "process_end")


def _end(start: Entry, end: Entry) -> dict[str, Any]:
    spent = end.duration_ms
    if spent is None and start.timestamp is not None and end.timestamp is not None:
        spent = max(0.0, end.timestamp - start.timestamp) * 1000
    return {"exit_code": end.exit_code, "duration_ms": spent, "cwd": start.cwd or end.cwd}


def _entry(row: Row, step: str, number: int) -> Entry | None:
    told = {**_details(row), **{name: value for name, value in row.items() if value is not None}}
    when = instant(told.get("timestamp"))
    if when is None:
        return None
    line, path = _first(told, _COMMAND), _first(told, _PATH)
    if step in ("execute_command", "command_completed"):
        command = line or step
    else:
        command = f"{step} {shlex.quote(path)}" if path else step
    spent = told.get("duration_ms")
    codes = [code for name in _CODE if (code := number_of(told.get(name))) is not None]
    return Entry(
        command,
        when,
        float(spent) if isinstance(spent, (int, float)) and spent >= 0 else None,
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
