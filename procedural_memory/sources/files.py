"""Sessions from files: JSON, JSONL (also gzipped) and plain text.

JSON and JSONL hold sessions: mappings with ``commands`` (or ``session_commands``) and optionally ``outcome``,
``session_id``, ``project``. Plain text holds one command a line; an empty line ends a session, a line that begins
with ``#`` is a comment.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from procedural_memory.errors import InvalidInputError, StorageError, shown
from procedural_memory.validation import as_commands, as_outcome

__all__ = ["read_sessions"]


def read_sessions(path: str | os.PathLike[str], outcome: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the sessions of a file.

    Sessions without an id get one made of the file's name, their place and their content, so that learning a
    file again changes nothing.

    Parameters
    ----------
    path : str or path
        ``.json``, ``.jsonl``, or plain text; each also with ``.gz``.
    outcome : str, optional
        For sessions that name none.
    """
    target = Path(path)
    name = Path(target.name.lower())
    packed = name.suffix == ".gz"
    kind = Path(name.stem).suffix if packed else name.suffix
    try:
        with gzip.open(target, "rb") if packed else open(target, "rb") as file:
            text = file.read().decode("utf-8-sig", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"file {str(target)!r}: cannot be read ({error})") from error
    readers = {".json": _json, ".jsonl": _jsonl, ".ndjson": _jsonl}
    for i, (place, session) in enumerate(readers.get(kind, _plain)(str(target), text)):
        if session.get("outcome") is None and session.get("session_outcome") is None:
            session["outcome"] = outcome
        if session.get("session_id") is None and session.get("session") is None:
            content = json.dumps(session, sort_keys=True, default=str).encode()
            session["session_id"] = f"{target.name}:{i}:{hashlib.blake2b(content, digest_size=8).hexdigest()}"
        # Checked here, where an error can still name the place in the file.
        as_commands(f"{place}: commands", session["commands"] if "commands" in session else session["session_commands"])
        as_outcome(session["outcome"] if "outcome" in session else session["session_outcome"], f"{place}: ")
        yield session


_Sessions: TypeAlias = Iterator[tuple[str, dict[str, Any]]]
"""(place in the file, session)"""


def _json(name: str, text: str) -> _Sessions:
    content = _parsed(name, "", text)
    if isinstance(content, Mapping) and "sessions" in content:
        content = content["sessions"]
    if isinstance(content, Mapping) or (
        isinstance(content, list)
        and content
        and all(isinstance(i, str) or (isinstance(i, Mapping) and "command" in i) for i in content)
    ):
        content = [content]
    if not isinstance(content, list):
        raise InvalidInputError(f"file {name!r}: must hold a session or a list of sessions, got {shown(content)}")
    for i, item in enumerate(content):
        yield _session(f"file {name!r}, session {i}", item)


def _jsonl(name: str, text: str) -> _Sessions:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _session(f"file {name!r}, line {number}", _parsed(name, f", line {number}", line))


def _plain(name: str, text: str) -> _Sessions:
    commands: list[str] = []
    begin = 0
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.lstrip().startswith("#"):
            continue
        if line.strip():
            begin = begin if commands else number
            commands.append(line)
        elif commands:
            yield f"file {name!r}, session at line {begin}", {"commands": commands}
            commands = []


def _session(name: str, item: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(item, list):
        item = {"commands": item}
    if not isinstance(item, Mapping) or not ("commands" in item or "session_commands" in item):
        raise InvalidInputError(f"{name}: must be a session with 'commands', got {shown(item)}")
    return name, dict(item)


def _parsed(name: str, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"file {name!r}{place}: is not valid JSON ({error})") from error
