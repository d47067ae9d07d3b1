"""Snapshots: a memory as one file of plain containers, written whole or not at all.

Format (version 1), the same in ``.pkl`` and ``.json``::

    {"format": "procedural-memory", "version": 1,
     "sessions": [{"session_id", "start", "outcome", "closed", "source", "commands": [{"command", …}, …],
                   "feedback": [{"step", "line", "verdict", "timestamp", "project"}, …]}, …],  # may be absent
     "checksum": of the sessions,                                  # without it damage may go unnoticed
     "feedback": [{"after", "line", "verdict", …}, …],             # of no session; may be absent
     "feedback_checksum": of that,
     "ranker": what the ranker had learned, base64,                # may be absent; then it is learned from the sessions
     "vectors": {fingerprint: {template: float32 bytes}}}          # .pkl only; a cache, may be absent

``.jsonl`` holds the same line by line, so that it can be written and read one session at a time: first a line with all
but the sessions, then a line for each session, at last one that shows that nothing is missing::

    {"format": "procedural-memory", "version": 1, "ranker": …}
    {"session_id": …, "start": …, "commands": […]}
    {"end": true, "lines": how many before it, "checksum": of these}  # the last two may be absent

``.sqlite`` is a copy of the store itself, which can also be opened as it is (``path=``).

Counts and patterns are derived from the sessions again on load. A ``.pkl`` of the older engine is read as well, see
`procedural_memory.storage.older`.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import closing
from copy import copy
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

from procedural_memory.commands.hide import name_for
from procedural_memory.commands.redact import redact
from procedural_memory.errors import (
    InvalidInputError,
    InvalidTypeError,
    SnapshotError,
    SnapshotNotFoundError,
    StorageError,
    shown,
)
from procedural_memory.storage.address import file_of, refuse_address
from procedural_memory.storage.base import FeedbackRow, Store
from procedural_memory.storage.files import replacing, side_files
from procedural_memory.storage.migrations import FIRST_TABLES, tables_of
from procedural_memory.storage.older import older_patterns, read_older
from procedural_memory.storage.plain_pickle import load_plain
from procedural_memory.types import Command, Outcome
from procedural_memory.validation import (
    as_commands,
    as_outcome,
    as_text,
    as_timestamp,
    as_verdict,
    begins_with_blank,
    redacted,
)

__all__ = [
    "STORES",
    "SUFFIXES",
    "SessionRecord",
    "Snapshot",
    "as_feedback",
    "is_snapshot",
    "read_snapshot",
    "sessions_of",
    "write_snapshot",
]

_FORMAT, _VERSION = "procedural-memory", 1
STORES = (".sqlite", ".sqlite3")
"""What the name of a copy of the store may end in."""
SUFFIXES = (".pkl", ".pickle", ".json", ".jsonl", *STORES)
"""What the name of a snapshot may end in; each names a format."""
_COMMAND_FIELDS = tuple(field.name for field in fields(Command))
_TEXT_FIELDS = ("command", "cwd", "project", "source", "host", "branch", "line", "after")


class SessionRecord:
    """A session read from a snapshot or another memory, checked and redacted."""

    __slots__ = ("closed", "commands", "feedback", "outcome", "session_id", "source", "start")

    def __init__(self, name: str, item: Any) -> None:
        if not isinstance(item, dict):
            raise SnapshotError(f"{name}: must be a mapping, not {type(item).__name__}")
        self.session_id: str = redact(as_text(f"{name}.session_id", item.get("session_id")))
        start = as_timestamp(f"{name}.start", item.get("start"))
        if start is None:
            raise SnapshotError(f"{name}.start: must be epoch seconds, got None")
        self.start = start
        self.outcome = as_outcome(item.get("outcome"), f"{name}.")
        self.closed = bool(item.get("closed", True))
        self.source: str | None = redacted(f"{name}.source", item.get("source"))
        self.commands = as_commands(f"{name}.commands", item.get("commands"))
        self.feedback = as_feedback(f"{name}.feedback", item.get("feedback", []), len(self.commands))
        self.leave_out({number for number, command in enumerate(item["commands"]) if begins_with_blank(command)})

    def leave_out(self, numbers: Set[int]) -> None:
        """Leave out steps, and the feedback that was given after them."""
        if not numbers:
            return
        kept = [number for number in range(len(self.commands)) if number not in numbers]
        places = {0: 0} | {old + 1: new for new, old in enumerate(kept, 1)}
        self.commands = [self.commands[number] for number in kept]
        self.feedback = [replace(row, step=places[row.step]) for row in self.feedback if row.step in places]


def as_feedback(name: str, items: Any, steps: int | None = None) -> list[FeedbackRow]:
    """Return the feedback of a session with that many steps, or of none, checked and redacted."""
    if not isinstance(items, list):
        raise SnapshotError(f"{name}: must be a list, not {type(items).__name__}")
    rows = []
    for i, item in enumerate(items):
        here = f"{name}[{i}]"
        if not isinstance(item, dict):
            raise SnapshotError(f"{here}: must be a mapping, not {type(item).__name__}")
        step = item.get("step", 0)
        if type(step) is not int or not 0 <= step <= (steps or 0):
            raise SnapshotError(f"{here}.step: must be an integer from 0 to {steps or 0}, got {shown(step)}")
        timestamp = as_timestamp(f"{here}.timestamp", item.get("timestamp"))
        if timestamp is None:
            raise SnapshotError(f"{here}.timestamp: must be epoch seconds, got None")
        after = redacted(f"{here}.after", item.get("after")) if steps is None else None
        line = redact(as_text(f"{here}.line", item.get("line")))
        verdict = as_verdict(item.get("verdict"), f"{here}.verdict")
        project = redacted(f"{here}.project", item.get("project"))
        rows.append(FeedbackRow(step, after, line, verdict, timestamp, project))
    return rows


def _plain_feedback(rows: list[FeedbackRow], leave_out: str, text: Callable[[str], str]) -> list[dict[str, Any]]:
    names = [field.name for field in fields(FeedbackRow) if field.name != leave_out]
    return [
        {
            name: text(value) if name in _TEXT_FIELDS else value
            for name in names
            if (value := getattr(row, name)) is not None
        }
        for row in rows
    ]


def sessions_of(store: Store, text: Callable[[str], str] = redact) -> Iterator[dict[str, Any]]:
    """Yield the sessions of a store as plain containers, in canonical order, redacted once more by `text`."""
    taken: set[str] = set()
    for row in store.sessions():
        name = name_for(row.session_id, text(row.session_id), taken)
        taken.add(name)
        commands = [
            {
                name: text(value) if name in _TEXT_FIELDS else value
                for name in _COMMAND_FIELDS
                if (value := getattr(command, name)) is not None
            }
            for command in store.steps(row.id)
        ]
        feedback = _plain_feedback(store.feedback(row.id), "after", text)  # which the steps tell
        yield {
            "session_id": name,
            "start": row.start,
            "outcome": row.outcome,
            "closed": row.closed,
            "source": None if row.source is None else text(row.source),
            "commands": commands,
            **({"feedback": feedback} if feedback else {}),
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot holds; `feedback` that of no session, `vectors` fingerprint -> {template: float32 bytes}."""

    sessions: list[SessionRecord]
    feedback: list[FeedbackRow]
    vectors: dict[str, dict[str, bytes]]
    ranker: bytes


def write_snapshot(
    store: Store, path: str | os.PathLike[str], ranker: bytes, text: Callable[[str], str] = redact
) -> Path:
    """Write a snapshot; the file appears whole, readable by its owner only, or not at all.

    Every text passes through `text` once more, for a rule may be newer than what is stored; a ``.sqlite`` is a copy of
    the store as it is.

    Raises
    ------
    InvalidInputError
        The suffix names no format, or the file is the store itself.
    StorageError
        The file cannot be written; what stood there before is untouched.
    """
    target = _target(path)
    if (own := file_of(store.path)) is not None and target.exists() and target.samefile(own):
        raise InvalidInputError(f"path: {str(target)!r} is the memory itself; save to another file")
    if target.suffix in STORES and (beside := [side.name for side in side_files(target) if side.exists()]):
        raise InvalidInputError(
            f"path: {str(target)!r} is a memory that is in use, or was not closed ({', '.join(beside)} beside it); "
            "save to another file"
        )
    try:
        with replacing(target) as (file, temporary):
            if target.suffix in STORES:
                store.backup(temporary, ranker)
            else:
                _write(store, file, target.suffix, ranker, text)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"save {str(target)!r}: the file cannot be written ({error})") from error
    return target


def is_snapshot(path: Path) -> bool:
    """Return whether a file looks like one that `write_snapshot` wrote; what is in it is not checked.

    A memory that is opened by ``path=`` is none: its header tells that it logs ahead.
    """
    with open(path, "rb") as file:
        head = file.read(256)
    if path.suffix in (".json", ".jsonl"):
        return re.match(rb'\s*\{\s*"format":\s*"' + _FORMAT.encode() + b'"', head) is not None
    if path.suffix not in STORES:
        return head.startswith(b"\x80\x04") and b"format" in head[:64] and _FORMAT.encode() in head[:64]
    if not (head.startswith(b"SQLite format 3\0") and head[18:20] == b"\x01\x01"):
        return False
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        try:
            return tables_of(db).issuperset(FIRST_TABLES)
        except sqlite3.Error:
            return False


def _write(store: Store, file: IO[bytes], suffix: str, ranker: bytes, text: Callable[[str], str]) -> None:
    content: dict[str, Any] = {"format": _FORMAT, "version": _VERSION}
    if suffix != ".jsonl":
        content["sessions"] = sessions = list(sessions_of(store, text))
        content["checksum"] = _checksum(sessions)
    if feedback := _plain_feedback(store.feedback(None), "step", text):
        content |= {"feedback": feedback, "feedback_checksum": _checksum(feedback)}
    content["ranker"] = base64.b64encode(ranker).decode("ascii")
    if suffix == ".json":
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8"))
    elif suffix == ".jsonl":
        file.writelines(_lines(content, sessions_of(store, text)))
    else:
        if vectors := _vectors_of(store, text):
            content["vectors"] = vectors
        pickle.dump(content, file, protocol=4)


def _vectors_of(store: Store, text: Callable[[str], str]) -> dict[str, dict[str, bytes]]:
    fingerprint = store.meta("embedder")
    if fingerprint is None:
        return {}
    return {fingerprint: {text(store.template_text(number)): data for number, data in store.vectors(fingerprint)}}


def read_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Read and check a snapshot; runs nothing that a file may hold.

    Raises
    ------
    SnapshotNotFoundError
        There is no such file.
    SnapshotError
        The file is no snapshot, is damaged, or holds something other than plain containers.
    """
    target = _target(path)
    try:
        if target.suffix in STORES:
            return _read_store(target)
        with open(target, "rb") as file:
            content = _READ.get(target.suffix, _unpickled)(file)
    except FileNotFoundError as error:
        raise SnapshotNotFoundError(f"load {str(target)!r}: there is no such file") from error
    except OSError as error:
        raise StorageError(f"load {str(target)!r}: the file cannot be read ({error})") from error
    except (SnapshotError, InvalidInputError) as error:
        raise SnapshotError(f"load {str(target)!r}: {error}") from error
    except StorageError:
        raise
    except Exception as error:  # an unpickler fed with garbage raises almost anything
        raise SnapshotError(f"load {str(target)!r}: the file is damaged or no snapshot ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SnapshotError(f"load {str(target)!r}: the file is no snapshot of a procedural memory")
    if content.get("version") != _VERSION:
        raise SnapshotError(
            f"load {str(target)!r}: snapshot version {shown(content.get('version'))} is not known, "
            f"this package reads version {_VERSION}; upgrade omnimemory-procedural"
        )
    sessions = content.get("sessions")
    if not isinstance(sessions, list):
        raise SnapshotError(f"load {str(target)!r}: 'sessions' must be a list, not {type(sessions).__name__}")
    feedback = content.get("feedback", [])
    for name, part, checksum in (("sessions", sessions, "checksum"), ("feedback", feedback, "feedback_checksum")):
        if checksum in content and content[checksum] != _checksum(part):
            raise SnapshotError(
                f"load {str(target)!r}: the file is damaged: its {name} do not match its checksum "
                f"(to load a file that you edited, take its {checksum!r} out)"
            )
    try:
        records = [
            item if isinstance(item, SessionRecord) else SessionRecord(f"sessions[{i}]", item)
            for i, item in enumerate(sessions)
        ]
        alone = as_feedback("feedback", feedback)
    except (InvalidInputError, SnapshotError) as error:
        raise SnapshotError(f"load {str(target)!r}: {error}") from error
    return Snapshot(records, alone, _vectors(content.get("vectors", {})), _bytes(content.get("ranker")))


def _read_store(target: Path) -> Snapshot:
    """Return what a store holds: read from a copy, so that one of an older version may be brought up to date."""
    from procedural_memory.storage.sqlite import SQLiteStore, copy_store

    with tempfile.TemporaryDirectory(prefix="procedural-memory-") as folder:
        copied = os.path.join(folder, "copy.sqlite")
        copy_store(target, copied)
        try:
            with closing(SQLiteStore(copied)) as store:
                records = [SessionRecord(f"sessions[{i}]", item) for i, item in enumerate(sessions_of(store))]
                feedback = as_feedback("feedback", _plain_feedback(store.feedback(None), "step", redact))
                return Snapshot(records, feedback, _vectors(_vectors_of(store, redact)), store.meta("ranker") or b"")
        except StorageError as error:
            raise SnapshotError(str(error).replace(copied, str(target))) from error


def _lines(head: dict[str, Any], sessions: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the lines of a ``.jsonl`` file."""
    digest, count = blake2b(digest_size=16), 0
    for item in chain([head], sessions):
        line = json.dumps(item, ensure_ascii=False).encode("utf-8") + b"\n"
        digest.update(line)
        count += 1
        yield line
    yield json.dumps({"end": True, "lines": count, "checksum": digest.hexdigest()}).encode() + b"\n"


def _read_lines(file: IO[bytes]) -> Any:
    """Return what `_lines` wrote in the form of the other formats."""
    items: list[Any] = []
    digest, end = blake2b(digest_size=16), None
    for line in file:
        if not line.strip():
            continue
        item = json.loads(line)
        if end is not None:
            raise SnapshotError("lines follow the one that ends it; nothing was loaded")
        if isinstance(item, dict) and item.get("end") is True:
            end = item
        else:
            items.append(item)
            digest.update(line)
    if end is None and items:
        raise SnapshotError("its last line is missing: the file was cut off; nothing was loaded")
    found = {"lines": len(items), "checksum": digest.hexdigest()}
    if end is not None and any(end.get(name, value) != value for name, value in found.items()):
        raise SnapshotError(
            "the file is damaged: its lines do not match the last one "
            "(to load a file that you edited, take 'lines' and 'checksum' out of that)"
        )
    head = items[0] if items else None
    return {**head, "sessions": items[1:]} if isinstance(head, dict) else head


_READ: Final[dict[str, Callable[[IO[bytes]], Any]]] = {".json": json.load, ".jsonl": _read_lines}
"""How files are read that are no pickles, by suffix."""


def _unpickled(file: IO[bytes]) -> Any:
    """Return what a pickle holds: plain containers, or patterns of the older engine as a snapshot of sessions."""
    try:
        return load_plain(file)
    except SnapshotError:
        patterns = read_older(file)
        if patterns is None:
            raise
    # That engine did not say when: before the file was written.
    start = max(0.0, os.fstat(file.fileno()).st_mtime)
    return {"format": _FORMAT, "version": _VERSION, "sessions": [*_older_records(patterns, start)]}


def _older_records(patterns: Mapping[str, Any], start: float) -> Iterator[SessionRecord]:
    """Yield patterns of the older engine as sessions: one for each time that a pattern went well, or not."""
    for pattern in older_patterns(patterns):
        content = {"start": start, "source": "older engine", "commands": pattern.commands}
        # Checked and redacted once; the id is made of what is kept, so that it tells nothing of a secret.
        first = SessionRecord(f"patterns[{pattern.pattern_id[:80]!r}]", {"session_id": "older", **content})
        named = json.dumps([redact(pattern.pattern_id), *[command.command for command in first.commands]])
        digest = blake2b(named.encode(), digest_size=8).hexdigest()
        counts: dict[Outcome, int] = {"success": pattern.success, "failure": pattern.failure}
        for outcome, count in counts.items() if any(counts.values()) else ((None, 1),):
            for number in range(count):
                record = copy(first)
                record.session_id, record.outcome = f"older-{digest}-{outcome or 'unknown'}-{number}", outcome
                yield record


def _checksum(items: Any) -> str | None:
    """Return a hash of sessions or feedback; None where they are no plain values."""
    try:
        text = json.dumps(items)
    except (TypeError, ValueError, RecursionError):
        return None
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _bytes(value: Any) -> bytes:
    """Return what a base64 text stands for; nothing where it is none: what it held can be learned again."""
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        return b""


def _vectors(value: Any) -> dict[str, dict[str, bytes]]:
    """Return the cached vectors that are well-formed: they are a cache, and can be made again."""
    good: dict[str, dict[str, bytes]] = {}
    if isinstance(value, dict):
        for fingerprint, rows in value.items():
            if isinstance(fingerprint, str) and isinstance(rows, dict):
                good[fingerprint] = {
                    k: v for k, v in rows.items() if isinstance(k, str) and isinstance(v, bytes) and len(v) % 4 == 0
                }
    return good


def _target(path: str | os.PathLike[str]) -> Path:
    refuse_address("path", path)
    try:
        target = Path(os.fspath(path)).expanduser()
        if target.is_symlink():  # the file is replaced, not the link to it
            target = target.resolve()
    except TypeError as error:
        raise InvalidTypeError(f"path: must be a file name, not {type(path).__name__} ({shown(path)})") from error
    if "\0" in str(target):
        raise InvalidInputError(f"path: must not hold a NUL byte, got {shown(str(target))}")
    if target.suffix not in SUFFIXES:
        raise InvalidInputError(f"path: must end in one of {', '.join(SUFFIXES)}, got {shown(str(target))}")
    return target
