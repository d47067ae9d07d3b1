"""Sessions from files: JSON, JSONL and plain text, each also gzipped.

JSON and JSONL hold sessions: mappings with ``commands`` (or ``session_commands``) and optionally ``outcome``,
``session_id``, ``project``. Plain text holds one command a line; an empty line ends a session, a line that begins
with ``#`` is a comment.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, cast

from procedural_memory.commands.clean import clean
from procedural_memory.errors import HistoryError, InvalidInputError, shown
from procedural_memory.sources.opening import readable
from procedural_memory.validation import as_commands, as_outcome

__all__ = ["JSONL", "PACKED", "PARQUET", "read_sessions"]

JSONL: Final = (".jsonl", ".ndjson")
PARQUET: Final = (".parquet", ".pq")
PACKED: Final = (".gz", ".bz2", ".xz", ".zst")
"""Endings of files of sessions, and of what packs them. One process reads all but Parquet, and unpacks ``.gz``; the
workers of `procedural_memory.distributed` read JSONL and Parquet, and unpack all."""


def read_sessions(
    path: str | os.PathLike[str], outcome: str | None = None, skip: Callable[[str], object] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the sessions of a file.

    Sessions without an id get one made of the file's name, their place and their content, so that learning a
    file again changes nothing.

    Parameters
    ----------
    path : str or path
        ``.json``, ``.jsonl``, or plain text; each also with ``.gz``.
    outcome : str, optional
        For sessions that name none.
    skip : callable, optional
        Called with what is wrong with a session that is left out; without it the first one raises.
    """
    target = Path(path)
    name = Path(target.name.lower())
    packed = name.suffix == ".gz"
    kind = Path(name.stem).suffix if packed else name.suffix
    if name.suffix in PARQUET or (name.suffix in PACKED and not packed):
        raise HistoryError(
            f"file {str(target)!r}: must be JSON (.json), JSONL ({', '.join(JSONL)}) or plain text, each also with "
            f".gz; learn-partitions reads Parquet ({', '.join(PARQUET)}), and JSONL also with {', '.join(PACKED)}"
        )
    readers = {".json": _json, **dict.fromkeys(JSONL, _jsonl)}
    try:
        with readable(target) as there, gzip.open(there, "rb") if packed else open(there, "rb") as file:
            lines = io.TextIOWrapper(cast("IO[bytes]", file), "utf-8-sig", "replace", newline="\n")
            for i, (place, read) in enumerate(readers.get(kind, _plain)(str(target), lines)):
                try:
                    session = read()
                    _check(place, session, outcome)
                except InvalidInputError as error:
                    if skip is None:
                        raise
                    skip(str(error))
                    continue
                if not any(_is_id(session.get(name)) for name in ("session_id", "session")):
                    content = json.dumps(session, sort_keys=True, default=str).encode()
                    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
                    session["session_id"] = f"{target.name}:{i}:{digest}"
                yield session
    except (OSError, EOFError, zlib.error) as error:
        raise HistoryError(f"file {str(target)!r}: cannot be read ({error})") from error


def _is_id(value: Any) -> bool:
    """Return whether an id is given; one of which nothing would be kept is none."""
    return bool(clean(value)) if isinstance(value, str) else value is not None


def _check(place: str, session: dict[str, Any], outcome: str | None) -> None:
    """Check a session here, where an error can still name the place in the file; give it an outcome."""
    if session.get("outcome") is None and session.get("session_outcome") is None:
        session["outcome"] = outcome
    commands, outcomes = (name if name in session else f"session_{name}" for name in ("commands", "outcome"))
    as_commands(f"{place}: {commands}", session[commands])
    as_outcome(session[outcomes], f"{place}: ", outcomes)


_Sessions: TypeAlias = Iterator[tuple[str, Callable[[], dict[str, Any]]]]
"""(place in the file, what returns the session or raises what is wrong with it)"""


def _json(name: str, lines: IO[str]) -> _Sessions:
    content = _parsed(name, "", lines.read())
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
        place = f"file {name!r}, session {i}"
        yield place, partial(_session, place, item)


def _jsonl(name: str, lines: IO[str]) -> _Sessions:
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"file {name!r}, line {number}"
            yield place, partial(_line, name, place, number, line)


def _line(name: str, place: str, number: int, line: str) -> dict[str, Any]:
    return _session(place, _parsed(name, f", line {number}", line))


def _plain(name: str, lines: IO[str]) -> _Sessions:
    commands: list[str] = []
    begin = 0
    for number, line in enumerate(chain(lines, [""]), 1):
        if line.lstrip().startswith("#"):
            continue
        if line.strip():
            begin = begin if commands else number
            commands.append(line.removesuffix("\n"))
        elif commands:
            place = f"file {name!r}, session at line {begin}"
            yield place, partial(_session, place, commands)
            commands = []


def _session(name: str, item: Any) -> dict[str, Any]:
    if isinstance(item, list):
        item = {"commands": item}
    if not isinstance(item, Mapping) or not ("commands" in item or "session_commands" in item):
        raise InvalidInputError(f"{name}: must be a session with 'commands', got {shown(item)}")
    return dict(item)


def _parsed(name: str, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"file {name!r}{place}: is not valid JSON ({error})") from error
