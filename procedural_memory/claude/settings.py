"""Puts the hooks into the settings of Claude Code, and takes exactly them out again.

A file of settings is read, changed in memory and replaced whole; what stood in it before is kept beside it. Nothing is
touched that is no hook of this package, and nothing at all where the file cannot be understood.
"""

from __future__ import annotations

import copy
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from procedural_memory.errors import InvalidInputError, StorageError
from procedural_memory.storage.files import replacing

__all__ = ["BACKUP", "HOOK", "Change", "command_line", "hooks_of", "install", "installed", "settings_file", "uninstall"]

HOOK: Final = Path(__file__).resolve().parent.parent / "hook.py"
"""What Claude Code calls."""

BACKUP: Final = ".before-procedural-memory"
"""What the name of a file of settings gets where it is kept as it was."""

_OURS: Final = ("procedural_memory", "hook.py")
_SECONDS: Final = 10
_EVENTS: Final = ("PostToolUse", "PostToolUseFailure", "SessionStart", "SessionEnd")
_ON_SHELL: Final = frozenset({"PreToolUse", "PostToolUse", "PostToolUseFailure"})


@dataclass(frozen=True)
class Change:
    """What was changed, or would be.

    Attributes
    ----------
    file : Path
        The file itself, where the name is a link to it.
    before, after : str or None
        What stands in it; None where there is no file.
    """

    file: Path
    before: str | None
    after: str | None

    @property
    def is_one(self) -> bool:
        """Whether anything changes."""
        return self.before != self.after


def settings_file(scope: str, folder: Path | None = None) -> Path:
    """Return the settings of the user, or those of a project: shared ("project"), or one's own there ("local")."""
    if scope == "user":
        return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude") / "settings.json"
    name = "settings.json" if scope == "project" else "settings.local.json"
    return (folder or Path.cwd()) / ".claude" / name


def command_line(store: Path, warn: bool = False, python: str = sys.executable) -> str:
    """Return the line that Claude Code gives to its shell.

    It ends well also when this package, or its Python, is not there any more: an agent must not stumble over that.
    """
    words = [python, "-I", "-S", str(HOOK), "--store", str(store), *(["--warn"] if warn else [])]
    return f"test ! -f {shlex.quote(str(HOOK))} || {shlex.join(words)} 2>/dev/null || :"


def install(file: Path, store: Path, *, warn: bool = False, dry_run: bool = False) -> Change:
    """Add the hooks to a file of settings, or renew them there.

    Raises
    ------
    InvalidInputError
        The file holds no settings; it was not changed.
    StorageError
        It cannot be read or written.
    """
    target, before, settings = _read(file)
    changed = copy.deepcopy(settings)
    _take_out(changed, _original(target)[1])
    hooks = changed.setdefault("hooks", {})
    line = command_line(store, warn)
    for event in (*_EVENTS, *(["PreToolUse"] if warn else [])):
        group: dict[str, Any] = {"matcher": "Bash"} if event in _ON_SHELL else {}
        group["hooks"] = [{"type": "command", "command": line, "timeout": _SECONDS}]
        hooks.setdefault(event, []).append(group)
    after = before if changed == settings else _text(changed, before)
    change = Change(target, before, after)
    if change.is_one and not dry_run:
        if before is not None and not any(_ours(settings)):
            _write(Path(f"{target}{BACKUP}"), before, target)
        _write(target, after or "", target)
    return change


def uninstall(file: Path, *, dry_run: bool = False) -> Change:
    """Take the hooks out of a file of settings; where nothing else was changed since, it is what it was before.

    Raises
    ------
    InvalidInputError
        The file holds no settings; it was not changed.
    StorageError
        It cannot be read or written.
    """
    target, before, settings = _read(file)
    if not any(_ours(settings)):
        return Change(target, before, before)
    text, original = _original(target)
    changed = copy.deepcopy(settings)
    _take_out(changed, original)
    # As it was, to the letter; None: there was no file.
    after = text if changed == original else _text(changed, before)
    change = Change(target, before, after)
    if not dry_run:
        try:
            if after is None:
                target.unlink()
            else:
                _write(target, after, target)
            Path(f"{target}{BACKUP}").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"settings {str(target)!r}: cannot be written ({error})") from error
    return change


def installed(file: Path) -> dict[str, str]:
    """Return the lines of this package by event; see `install` for the errors."""
    return {event: str(hook["command"]) for event, _, hook in _ours(_read(file)[2])}


def hooks_of(text: str | None) -> list[str]:
    """Return the events for which a text of settings holds hooks of this package."""
    return sorted({event for event, _, _ in _ours(json.loads(text) if text else {})})


def _ours(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for event, groups in (settings.get("hooks") or {}).items():
        for group in groups:
            for hook in group["hooks"] if isinstance(group, dict) and isinstance(group.get("hooks"), list) else ():
                command = hook.get("command") if isinstance(hook, dict) else None
                if isinstance(command, str) and "/".join(_OURS) in command.replace("\\", "/"):
                    yield event, group, hook


def _take_out(settings: dict[str, Any], original: dict[str, Any]) -> None:
    """Take the hooks of this package out, and what holds nothing without them, unless it was there before."""
    for event, group, hook in list(_ours(settings)):
        groups = settings["hooks"][event]
        group["hooks"].remove(hook)
        if not group["hooks"]:
            groups[:] = [other for other in groups if other is not group]
        if not groups and event not in (original.get("hooks") or {}):
            del settings["hooks"][event]
    if settings.get("hooks") == {} and "hooks" not in original:
        del settings["hooks"]


def _original(target: Path) -> tuple[str | None, dict[str, Any]]:
    """Return the text that a file had before the hooks were added, and what that holds."""
    return _read(Path(f"{target}{BACKUP}"))[1:]


def _read(file: Path) -> tuple[Path, str | None, dict[str, Any]]:
    """Return the file behind a name, its text and what that holds."""
    try:
        target = file.resolve()
        text = target.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return target, None, {}
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"settings {str(file)!r}: must be UTF-8 ({error}); it was not changed") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise StorageError(f"settings {str(file)!r}: cannot be read ({error})") from error
    if not text.strip():
        return target, text, {}
    try:
        settings = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"settings {str(file)!r}: must be JSON ({error}); it was not changed: correct it, then try again"
        ) from error
    _check(file, settings)
    return target, text, settings


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # one of them would be lost when the file is written
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


def _check(file: Path, settings: Any) -> None:
    hooks = settings.get("hooks") if isinstance(settings, dict) else None
    if not isinstance(settings, dict) or not isinstance(hooks, (dict, type(None))):
        raise InvalidInputError(
            f"settings {str(file)!r}: must be an object, and its 'hooks' one as well; it was not changed"
        )
    for event, groups in (hooks or {}).items():
        if not isinstance(groups, list):
            raise InvalidInputError(
                f"settings {str(file)!r}: hooks.{event} must be a list, not {type(groups).__name__}; it was not changed"
            )
    if hooks is None:
        settings.pop("hooks", None)


def _text(settings: dict[str, Any], before: str | None) -> str:
    """Return settings as text, indented as the file was."""
    first = next((line for line in (before or "").splitlines()[1:] if line.strip()), "  ")
    indent = first[: len(first) - len(first.lstrip())] or "  "
    return json.dumps(settings, indent=indent, ensure_ascii=False) + "\n"


def _write(file: Path, text: str, like: Path) -> None:
    """Write a file whole or not at all, with the mode of another one; a new one is private to the user."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = like.stat().st_mode & 0o777 if like.exists() else None
        with replacing(file) as (out, temporary):
            out.write(text.encode("utf-8"))
            if mode is not None:
                os.chmod(temporary, mode)
    except OSError as error:
        raise StorageError(f"settings {str(file)!r}: cannot be written ({error}); nothing was changed") from error
