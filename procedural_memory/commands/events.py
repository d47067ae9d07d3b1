"""Steps that are no command lines: events of an editor, or of a system that is watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["EVENTS", "is_event"]

EVENTS: Final[Mapping[str, str]] = {
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
"""Kind of event of the OmniMemory daemon -> the step that it is."""

_STEPS: Final = frozenset(EVENTS.values())


def is_event(line: str) -> bool:
    """Return whether a step tells of an event, so that no shell could run it.

    What has a flag is a program, or a shell function, that has the name of an event.
    """
    name, _, rest = line.partition(" ")
    return name in _STEPS and not rest.startswith("-") and " -" not in rest
