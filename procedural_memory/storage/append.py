"""Appends a step to the log of a store without loading the package: for the hooks of shells and agents.

The rows are those that `ProceduralMemoryEngine.session` and `Session.record` write; what is derived of them is left to
the next reader. Needs the standard library alone.

Where the store cannot be written at once, because it is not there yet, busy, damaged or of another version, the step is
*spooled*: kept in a private file of its own in the folder ``<store>.spool``. Whoever writes to the store next takes it
in, in the order of time: the next hook, or an engine that opens or reads the store. The names of the files that a
transaction took in are kept by it, so that a crash before they are removed takes nothing in twice. Where `MOST_SPOOLED`
bytes wait already, for nobody has taken them in for long, a step is dropped, which is an error that the hook logs.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from procedural_memory.commands.clean import clean, starts_blank
from procedural_memory.commands.project import branch_of, project_of
from procedural_memory.commands.redact import redact
from procedural_memory.storage.identity import digest_of, hash64
from procedural_memory.storage.migrations import VERSION

__all__ = [
    "IDLE",
    "LONGEST",
    "MOST_SPOOLED",
    "Spool",
    "append",
    "close",
    "connect",
    "spool",
    "spool_of",
    "spooled",
    "take_in",
    "tidy",
]

IDLE: Final = 1_800.0
"""Seconds after which the next step begins another session, as in histories that know of none."""

LONGEST: Final = 4 * 1024 * 1024
"""Characters of the longest line, or other text, that is kept."""
MOST_SPOOLED: Final = 64 * 1024 * 1024
"""Bytes on the disk that may wait beside a store."""
_BLOCK: Final = 4_096
"""Bytes that the smallest file takes."""
_UNREAD: Final = ".unread"
_TEXTS: Final = ("cwd", "project", "source", "actor", "host", "branch")
_TAKEN: Final = "spool_taken"
_FORM: Final = 1
_AT_ONCE: Final = 2_000
"""Spooled steps that one transaction takes in."""
_ASK_AGAIN: Final = 10
_BREATH: Final = 0.001
_NEWEST: Final = 1e11


def append(store: str, session: str, command: str, *, patience: float = 1.0, **given: Any) -> bool:
    """Append a step to the open session of a name, which is begun where there is none.

    Parameters
    ----------
    store : str
        The file.
    session : str
        The name of the session. Where one of this name was closed, or nothing happened in it for `IDLE` seconds,
        another one goes on under the name with a number.
    command : str
        The line; redacted before anything keeps it.
    patience : float
        Seconds to wait for another process that writes.
    **given
        ``exit_code``, ``cwd``, ``timestamp``, ``duration_ms``, ``source``, ``actor``, ``host``.

    Returns
    -------
    bool
        False where the step is kept out: nothing is left of the line, or it was typed after a blank.
    """
    if starts_blank(command) or "\0" in command or len(command) > LONGEST:
        return False
    line = clean(command)
    if not line:
        return False
    if (cwd := _text(given.get("cwd"))) is not None:
        given["project"] = project_of(cwd)
        given["branch"] = branch_of(given["project"])
    step = {"session": redact(clean(session)), "command": redact(line), **_checked(given)}
    _write(store, step, patience)
    return True


def close(store: str, session: str, *, patience: float = 1.0) -> None:
    """Close the open session of a name, with unknown outcome; nothing happens where there is none."""
    _write(store, {"session": redact(clean(session)), "timestamp": time.time()}, patience)


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a step as an engine keeps them; what breaks a rule is left out."""
    texts = {name: None if (text := _text(given.get(name))) is None else redact(text) for name in _TEXTS}
    code = given.get("exit_code")
    return {
        **texts,
        "exit_code": code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**53 else None,
        "duration_ms": _number(given.get("duration_ms"), 1e12),
        "timestamp": _number(given.get("timestamp"), _NEWEST),
    }


def _text(value: Any) -> str | None:
    return clean(value) or None if isinstance(value, str) and "\0" not in value and len(value) <= LONGEST else None


def _number(value: Any, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        return None
    return float(value)


def _write(store: str, step: dict[str, Any], patience: float) -> None:
    db = None
    try:
        db = connect(store)
        if db is not None:
            with _writing(db, patience):
                taken = take_in(db, store)
                _put(db, step)
            tidy(store, taken)
            return
    except sqlite3.Error as error:  # busy, damaged, a full disk: the step is kept beside the store
        _spool(store, step)
        if not isinstance(error, sqlite3.OperationalError) or "locked" not in str(error):
            raise
        return
    finally:
        if db is not None:
            db.close()
    _spool(store, step)


def connect(store: str, *, write: bool = True) -> sqlite3.Connection | None:
    """Return a connection to a store of this version; None where there is none, or not one that may be written."""
    if not os.path.exists(store):
        return None
    name = os.path.abspath(store).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    mode = "rw" if write else "ro"
    db = sqlite3.connect(f"file:{name}?mode={mode}", uri=True, isolation_level=None, timeout=_ASK_AGAIN / 1_000)
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (foreign,) = db.execute("SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone()
        if version == VERSION and not foreign:
            if write:
                db.execute("PRAGMA synchronous = FULL")
            return db
    except sqlite3.DatabaseError as error:
        db.close()
        if "locked" in str(error):
            raise
        return None
    db.close()
    return None


@contextlib.contextmanager
def _writing(db: sqlite3.Connection, patience: float) -> Iterator[None]:
    end = time.monotonic() + patience
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(_BREATH)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _put(db: sqlite3.Connection, step: dict[str, Any]) -> None:
    """Write a step, or the end of a session, within the transaction that is open."""
    known = _open_session(db, step["session"])
    if "command" not in step:
        if known is not None:
            _close(db, known[0])
        return
    began = step["timestamp"]
    if known is not None and began is not None and known[2] is not None and began - known[2] > IDLE:
        _close(db, known[0])
        known = None
    if known is None:
        known = _begin(db, step)
    ids = {name: _intern(db, text) for name in ("command", *_TEXTS) if (text := step.get(name)) is not None}
    db.execute(
        f"INSERT INTO log(session, step, command, exit_code, timestamp, duration_ms, {', '.join(_TEXTS)})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (known[0], known[1], ids["command"], step["exit_code"], began, step["duration_ms"], *map(ids.get, _TEXTS)),
    )


def _open_session(db: sqlite3.Connection, name: str) -> tuple[int, int, float | None] | None:
    """Return of the open session of a name: its row, the number of its next step, and when the newest one began."""
    found = db.execute(
        "SELECT id FROM session WHERE closed = 0 AND (session_id = ? OR session_id BETWEEN ? AND ?) ORDER BY id DESC",
        (name, f"{name}#", f"{name}#~"),
    ).fetchone()
    if found is None:
        return None
    last = db.execute(
        "SELECT step + 1, timestamp FROM log WHERE session = ? ORDER BY step DESC LIMIT 1", found
    ).fetchone()
    return (found[0], *(last or (0, None)))


def _begin(db: sqlite3.Connection, step: dict[str, Any]) -> tuple[int, int, float | None]:
    name, number = step["session"], 1
    while db.execute("SELECT 1 FROM session WHERE session_id = ?", (name,)).fetchone():
        number += 1
        name = f"{step['session']}#{number}"
    start = step["timestamp"] if step["timestamp"] is not None else time.time()
    # No process owns it: an agent's session may go on in another one. Left open, it is closed when it is long over.
    cursor = db.execute(
        "INSERT INTO session(session_id, start, source, owner) VALUES (?, ?, ?, NULL)", (name, start, step["source"])
    )
    return int(cursor.lastrowid or 0), 0, None


def _close(db: sqlite3.Connection, session: int) -> None:
    steps = db.execute(
        "SELECT c.text, l.exit_code, w.text, l.timestamp FROM log l LEFT JOIN text c ON c.id = l.command"
        " LEFT JOIN text w ON w.id = l.cwd WHERE l.session = ? AND l.step >= 0 ORDER BY l.step",
        (session,),
    ).fetchall()
    db.execute(
        "UPDATE session SET outcome = NULL, closed = 1, digest = ?, owner = NULL WHERE id = ?",
        (digest_of(None, steps), session),
    )
    db.execute("INSERT INTO log(session, step) VALUES (?, -1)", (session,))


def _intern(db: sqlite3.Connection, text: str) -> int:
    number = hash64(text)
    db.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", (number, text))
    return number


# -- steps that wait beside the store


def spool_of(store: str) -> str:
    """Return the folder of the steps that wait beside a store."""
    return f"{store}.spool"


class Spool(NamedTuple):
    """What waits beside a store: how many steps, how many files that could not be read, and their bytes on the disk."""

    steps: int
    unreadable: int
    size: int


def spool(store: str) -> Spool:
    """Return what waits beside a store."""
    steps = unreadable = size = 0
    with contextlib.suppress(OSError), os.scandir(spool_of(store)) as files:
        for file in files:
            steps += file.name.endswith(".json") and not file.name.startswith(".")
            unreadable += file.name.endswith(_UNREAD)
            with contextlib.suppress(OSError):  # another process may just have taken it in
                size += max(file.stat(follow_symlinks=False).st_size, _BLOCK)
    return Spool(steps, unreadable, size)


def spooled(store: str) -> list[str]:
    """Return the names of the steps that wait, oldest first."""
    try:
        names = os.listdir(spool_of(store))
    except OSError:
        return []
    return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))


def _spool(store: str, step: dict[str, Any]) -> None:
    folder = spool_of(store)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    waiting = spool(store)
    if waiting.size + _BLOCK > MOST_SPOOLED:
        raise OverflowError(
            f"a step was dropped: {waiting.steps:,} wait beside the memory, and {waiting.unreadable:,} that could not"
            f" be read, of {MOST_SPOOLED // 2**20} MiB at most; procedural-memory stats takes them in, doctor says more"
        )
    name = f"{time.time_ns():020d}-{os.getpid()}.json"
    temporary = os.path.join(folder, f".{name}")
    with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        json.dump({"form": _FORM, **step}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, os.path.join(folder, name))


def take_in(db: sqlite3.Connection, store: str) -> list[str]:
    """Write the steps that wait beside a store, within the transaction that is open.

    Returns
    -------
    list of str
        Files to be removed by `tidy` when the transaction is committed.
    """
    waiting = spooled(store)
    if not waiting:
        return []
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_TAKEN,)).fetchone()
    known = set(json.loads(row[0])) if row else set()
    batch = [name for name in waiting if name not in known][:_AT_ONCE]
    for name in list(batch):
        path = os.path.join(spool_of(store), name)
        step = _read(path)
        if step is not None:
            _put(db, step)
        elif os.path.exists(path):  # perhaps of a newer version: it is kept, but not asked for again
            with contextlib.suppress(OSError):
                os.rename(path, f"{path}{_UNREAD}")
            batch.remove(name)
    taken = [name for name in waiting if name in known] + batch
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_TAKEN, json.dumps(taken)))
    return taken


def tidy(store: str, names: list[str]) -> None:
    """Remove the files of steps that were taken in."""
    for name in names:
        with contextlib.suppress(OSError):  # another process may have been first
            os.unlink(os.path.join(spool_of(store), name))


def _read(path: str) -> dict[str, Any] | None:
    """Return a spooled step; None where the file is none, or is not there any more."""
    try:
        with open(path, encoding="utf-8") as file:
            step = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(step, dict) or step.get("form") != _FORM:
        return None
    # Checked and redacted once more: the file may be of another version, or of anybody who may write there.
    session = _text(step.get("session"))
    if session is None:
        return None
    if "command" not in step:
        return {"session": redact(session), "timestamp": None}
    command = _text(step["command"])
    return None if command is None else {"session": redact(session), "command": redact(command), **_checked(step)}
