"""All sources by name, what a user has of them, and which one a file is of."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from procedural_memory.errors import HistoryError, InvalidInputError, shown
from procedural_memory.sources import asciinema, bash, claude_code, codex, fish, powershell, zsh
from procedural_memory.sources.atuin import ATUIN
from procedural_memory.sources.base import LineSource, Source
from procedural_memory.sources.entry import Entry, Skip
from procedural_memory.sources.omnimemory import OMNIMEMORY
from procedural_memory.sources.swe_agent import SWE_AGENT

__all__ = ["HISTORIES", "PLACES", "SOURCES", "SessionFiles", "detect", "files_of", "found", "of_another_shell"]

_log = logging.getLogger("procedural_memory")

PLACES = (
    "HISTFILE",
    "SHELL",
    "ZDOTDIR",
    "XDG_DATA_HOME",
    "ATUIN_DB_PATH",
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
)
"""Variables of the environment that say where a user's histories are: each a path, as all sources read it."""


def _data(home: Path) -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")


def _shell(
    name: str, places: Callable[[Path], list[Path]], read: Callable[[Iterable[bytes]], Iterator[Entry]]
) -> LineSource:
    def find(home: Path) -> list[Path]:
        own = [path for shell, path in _own_history() if shell == name]
        return [path for path in (*own, *places(home)) if path.is_file()]

    def entries(lines: Iterable[bytes], skip: Skip) -> Iterator[Entry]:
        return read(lines)

    return LineSource(name, find, entries, actor="human")


class SessionFiles:
    """Files that hold whole sessions, as `sources.files` reads them: nobody keeps them by himself, one names them."""

    name = "file"

    def find(self, home: Path) -> list[Path]:
        """Return nothing."""
        return []


def _own_history() -> list[tuple[str | None, Path]]:
    """Return the file that ``HISTFILE`` names, and which shell it is of: by its name, its lines, else ``SHELL``."""
    if not (own := os.environ.get("HISTFILE")):
        return []
    try:
        path = Path(own).expanduser()
        there = path.is_file()
    except (OSError, RuntimeError) as error:  # no such user; a folder that may not be entered
        _log.warning("HISTFILE: %r cannot be looked at (%s)", own, error)
        return []
    if not there:
        return []
    name = _named(path.name)
    with suppress(HistoryError):
        name = name or _looks(path)
    return [(name or Path(os.environ.get("SHELL", "")).name, path)]


def _zsh(home: Path) -> list[Path]:
    folders = [home, *(Path(folder) for folder in [os.environ.get("ZDOTDIR")] if folder)]
    return [folder / name for folder in folders for name in (".zsh_history", ".zhistory")]


_PSREADLINE = ("powershell", "PSReadLine", "ConsoleHost_history.txt")
_ALL: tuple[Source, ...] = (
    _shell("zsh", _zsh, zsh.entries),
    _shell("bash", lambda home: [home / ".bash_history"], bash.entries),
    _shell("fish", lambda home: sorted((_data(home) / "fish").glob("*_history")), fish.entries),
    _shell("powershell", lambda home: [_data(home).joinpath(*_PSREADLINE)], powershell.entries),
    ATUIN,
    LineSource("claude-code", claude_code.find, claude_code.entries, actor="agent", from_start=True),
    LineSource("codex", codex.find, codex.entries, actor="agent", from_start=True),
    SWE_AGENT,
    LineSource("asciinema", asciinema.find, asciinema.entries, actor="human", from_start=True),
    OMNIMEMORY,
)
HISTORIES: Mapping[str, Source] = {source.name: source for source in _ALL}
"""The sources whose sessions are made of entries, by the label of the sessions."""

SOURCES: Mapping[str, Source | SessionFiles] = {**HISTORIES, SessionFiles.name: SessionFiles()}
"""Every source."""

_SHELLS = frozenset(("zsh", "bash", "fish", "powershell"))
_OF_ANY_SHELL = frozenset(("history", ".history", "histfile", ".histfile"))
"""Names of histories that tell of no shell; that of Python, say, has another one."""
_SESSIONS = frozenset((".json", ".jsonl", ".ndjson", ".txt"))
_HEAD = 65_536
# What the files of a source are called that are many in a folder.
_INSIDE = {
    "claude-code": ("**/*.jsonl",),
    "codex": ("**/rollout-*.jsonl",),
    "swe-agent": ("**/*.traj",),
    "asciinema": ("**/*.cast",),
}
# Where the others are: in the folder, or as in a home folder below it.
_DATA = ".local/share"
_BESIDE = {
    "zsh": ("*",),
    "bash": ("*",),
    "fish": ("*", f"{_DATA}/fish/*"),
    "powershell": ("*", f"{_DATA}/powershell/PSReadLine/*"),
    "atuin": ("*", f"{_DATA}/atuin/*", ".atuin/data/*"),
    "omnimemory": ("*", ".memory-daemon/storage/*"),
}


def found(home: Path) -> list[tuple[Source, Path]]:
    """Return what a user has, each file once."""
    files: dict[Path, tuple[Source, Path]] = {}
    for source in HISTORIES.values():
        try:
            for path in source.find(home):
                files.setdefault(path.resolve(), (source, path))
        except OSError as error:  # a folder that may not be entered keeps nothing else from being read
            _log.warning("a place of histories for %s cannot be looked at (%s)", source.name, error)
    return list(files.values())


def files_of(source: str, path: Path) -> list[tuple[Source | SessionFiles, Path]]:
    """Return the files that a path means: itself, or all below it that may be of a source; `source` may be "auto"."""
    if not path.is_dir():
        return [(SOURCES[detect(path) if source == "auto" else source], path)]
    places = {**_BESIDE, **_INSIDE}
    names = places if source == "auto" else {source: places.get(source, ("*",))}
    files: dict[Path, tuple[Source | SessionFiles, Path]] = {}
    for name, patterns in names.items():
        for file in [file for pattern in patterns for file in _below(path, pattern)]:
            if _is_of(name, file, source != "auto"):
                files.setdefault(file, (SOURCES[name], file))
    if not files:
        raise InvalidInputError(
            f"path {str(path)!r}: no history was found in this folder"
            + ("; name its source" if source == "auto" else f" for the source {source!r}")
        )
    return list(files.values())


def _below(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder whose names fit, in order."""
    found = []
    try:
        for file in folder.glob(pattern):
            if file.is_file():
                found.append(file)
    except OSError as error:
        _log.warning("%s cannot be looked through (%s)", folder / pattern, error)
    return sorted(found)


_NO_HISTORY = frozenset((".py", ".sh", ".bash", ".zsh", ".fish", ".pl", ".rb", ".js", ".c", ".md", ".html", ".json"))
"""Suffixes of scripts and documents that may be about histories."""


def _is_of(source: str, file: Path, asked_for: bool) -> bool:
    """Return whether a file in a folder is of a source: beside a history there is much else."""
    if asked_for and source in _INSIDE:
        return True
    name, named = file.name.lower(), _named(file.name)
    if source == SessionFiles.name:
        return Path(name.removesuffix(".gz")).suffix in _SESSIONS
    if source not in _SHELLS:
        return named == source or _looks_like(source, file)
    if "hist" not in name or named not in (None, source) or file.suffix.lower() in _NO_HISTORY:
        return False
    if named == source or _looks_like(source, file):
        return True
    return asked_for and source in ("zsh", "bash") and name in _OF_ANY_SHELL and _looks_like(None, file)


def _looks_like(source: str | None, file: Path) -> bool:
    with suppress(HistoryError):
        return _looks(file) == source
    return False


def detect(path: Path) -> str:
    """Return the source that a file is of, by its name and its first lines."""
    name = _named(path.name) or _looks(path)
    if name is None:
        raise InvalidInputError(
            f"path {str(path)!r}: cannot tell what kind of history it is; name its source, one of "
            f"{', '.join(SOURCES)}, got {shown('auto')}"
        )
    return name


def of_another_shell(source: str, path: Path) -> str | None:
    """Return the shell that a file is of by its lines, where it was said to be of another one."""
    if source not in _SHELLS or not path.is_file():
        return None
    with suppress(HistoryError):
        looks = _looks(path)
        return looks if looks in _SHELLS and looks != source else None
    return None


def _named(name: str) -> str | None:
    lower = name.lower()
    for sign, source in (
        ("zsh", "zsh"),
        ("zhistory", "zsh"),
        ("fish", "fish"),
        ("host_history.txt", "powershell"),
        ("bash", "bash"),
        ("rollout-", "codex"),
    ):
        if sign in lower:
            return source
    return {".traj": "swe-agent", ".cast": "asciinema", ".json": "file", ".gz": "file"}.get(Path(lower).suffix)


def _looks(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise HistoryError(f"path {str(path)!r}: cannot be read ({error})") from error
    if head.startswith(b"SQLite format 3\0"):
        return _table(path)
    for line in head.split(b"\n")[:50]:
        if re.match(rb": *\d{9,11}:\d+;", line):
            return "zsh"
        if line.startswith(b"- cmd: "):
            return "fish"
        if re.fullmatch(rb"#\d{9,11}", line):
            return "bash"
        if line.startswith(b"{") and (name := _json(line)):
            return name
    return None


def _json(line: bytes) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if "payload" in record or "instructions" in record or record.get("record_type") == "state":
        return "codex"
    if record.get("version") in (1, 2, 3) and ("width" in record or "term" in record):
        return "asciinema"
    if "commands" in record or "session_commands" in record:
        return "file"
    return "claude-code" if "sessionId" in record else None


def _table(path: Path) -> str | None:
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise HistoryError(f"path {str(path)!r}: cannot be read ({error})") from error
    return "atuin" if "history" in tables else "omnimemory" if "events" in tables else None
