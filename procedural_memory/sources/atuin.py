"""The history of atuin: commands with exit code, folder, duration, session and host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from procedural_memory.sources.database import Row, TableSource
from procedural_memory.sources.entry import Entry, Skip, instant, number_of

__all__ = ["ATUIN"]

_ACTORS = {1: "human", 2: "agent", "user": "human", "agent": "agent"}


def _find(home: Path) -> list[Path]:
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    places = [data / "atuin" / "history.db", home / ".atuin" / "data" / "history.db"]
    if folder := os.environ.get("ATUIN_DB_PATH"):
        places.insert(0, Path(folder).expanduser())
    return [path for path in dict.fromkeys(places) if path.is_file()]


def _entries(rows: Iterator[Row], skip: Skip) -> Iterator[Entry]:
    for row in rows:
        number = row["rowid"]
        if row.get("deleted_at") is not None:
            skip(number, "deleted in atuin")
            continue
        command = row.get("command")
        if not isinstance(command, str) or not command.strip():
            skip(number, "no command, or one that is too long")
            continue
        nanoseconds, spent, code = (number_of(row.get(name)) for name in ("timestamp", "duration", "exit"))
        # -1 stands for what is not known: the command goes on, or its shell was ended.
        yield Entry(
            command.replace("\0", ""),
            instant(nanoseconds / 1e9) if nanoseconds else None,
            spent / 1e6 if spent is not None and spent >= 0 else None,
            None if code == -1 else code,
            cwd=_text(row, "cwd") if row.get("cwd") != "unknown" else None,
            session=_text(row, "session"),
            host=(_text(row, "hostname") or "").partition(":")[0] or None,
            actor=_actor(row),
            line=number,
        )


def _text(row: Row, name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) else None


def _actor(row: Row) -> str | None:
    """Return who ran a command: newer versions say so; an author that is not the user may be anyone."""
    if (kind := row.get("author_kind")) is not None:
        return _ACTORS.get(kind)
    user = (_text(row, "hostname") or "").partition(":")[2]
    return "human" if row.get("author") in (None, user) else None


ATUIN = TableSource("atuin", "history", ("id", "timestamp", "command"), "timestamp", _find, _entries)
