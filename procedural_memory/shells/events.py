"""What the shells call in the background: record a command, or ask for predictions. Needs the standard library alone.

What it is about comes by the environment, for the command line of a process could be read by others: ``_PM_LINE``,
``_PM_CODE``, ``_PM_CWD``, ``_PM_START``, ``_PM_TOOK``, ``_PM_SESSION``, ``_PM_SHELL`` and ``_PM_AFTER``, the process
that records the command before; ``_PM_RECENT``: the newest commands, each with its exit status, with a unit separator
between them; ``_PM_TYPED``: what stands on the line. A line that is too long for the environment comes by standard
input, without ``_PM_LINE``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import Any, BinaryIO, Final

from procedural_memory.storage.append import LONGEST, append

__all__ = ["run", "socket_of"]

_STARTS_WITHIN: Final = 8.0
_ANSWERS_WITHIN: Final = 8.0
_TAKEN_WITHIN: Final = 10.0
_TRY_AGAIN: Final = 0.02
_MOST: Final = 4 * LONGEST + 1
_LONGEST_NAME: Final = 100
_KEEPS_ORDER: Final = 15.0
_FORM: Final = 2
"""Of questions and answers: a process of an earlier version of the package, that still runs, is not asked."""
_PREDICTIONS: Final = 5
_BETWEEN: Final = "\x1f"


def run(arguments: list[str], answer: BinaryIO) -> None:
    """Do what a shell asks for.

    Parameters
    ----------
    arguments : list of str
        ``record`` or ``suggest``, ``--store FILE``, ``--unasked`` where nobody pressed a key, ``--tell PID`` to leave
        the likeliest line in ``<store>.<PID>.ghost`` for a moment and send that process SIGUSR1.
    answer : binary file
        Predictions: each a letter (``r``: may be run, ``d``: can lose data) and the line, ended by a NUL.
    """
    store = arguments[arguments.index("--store") + 1]
    if arguments[0] == "record":
        _record(store)
        return
    found = _suggest(store, "--unasked" in arguments)
    if "--tell" in arguments:
        _tell(store, arguments[arguments.index("--tell") + 1], [one["line"] for one in found if one["kind"] == "r"])
        return
    answer.write(b"".join(f"{one['kind']}{one['line']}\0".encode() for one in found))
    answer.flush()


def _given(name: str) -> str:
    return os.environb.get(b"_PM_" + name.encode("ascii"), b"").decode("utf-8", "replace")


def _record(store: str) -> None:
    duration, began, now = _number(_given("TOOK")), _number(_given("START")), _begun()
    line = _given("LINE") if b"_PM_LINE" in os.environb else sys.stdin.buffer.read(_MOST).decode("utf-8", "replace")
    _wait_for(_given("AFTER"))
    if len(line) > LONGEST:
        raise OverflowError(f"a command of more than {LONGEST:,} characters is not recorded")
    append(
        store,
        _given("SESSION"),
        line,
        exit_code=int(_given("CODE")),
        cwd=_given("CWD") or None,
        timestamp=now - (duration or 0.0) / 1_000 if began is None else began,
        duration_ms=duration,
        source=f"{_given('SHELL')}-hook",
        actor="human",
        host=os.uname().nodename,
    )


def _begun() -> float:
    """Return when this process began, which on a busy machine is a while ago."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):  # not Linux
        return time.time()


def _wait_for(process: str) -> None:
    """Wait until the process that records the command before has ended."""
    end = time.monotonic() + _KEEPS_ORDER
    while process.isdecimal() and _goes_on(int(process)) and time.monotonic() < end:
        time.sleep(0.01)


def _goes_on(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    # One that has ended is still there until its shell, perhaps much later, takes notice.
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
    except OSError:  # not Linux
        state = subprocess.run(["ps", "-o", "state=", "-p", str(process)], capture_output=True).stdout.strip()
    return state[:1] not in (b"Z", b"X", b"")


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))  # as some languages write it
    except ValueError:
        return None


def _suggest(store: str, unasked: bool) -> list[dict[str, str]]:
    cwd, recent = _given("CWD"), _given("RECENT").split(_BETWEEN) if _given("RECENT") else []
    steps = [[line, int(code)] for line, code in zip(recent[::2], recent[1::2], strict=True)]
    question = {"cwd": cwd, "steps": steps, "k": 1 if unasked else _PREDICTIONS, "unasked": unasked}
    question["typed"] = _given("TYPED")
    place = socket_of(store)
    end = time.monotonic() + _STARTS_WITHIN
    begun = False
    while True:
        try:
            return _ask(place, question)
        except (FileNotFoundError, ConnectionRefusedError):
            if not begun:
                _begin(store, place)
                begun = True
            if time.monotonic() > end:
                return []
            time.sleep(_TRY_AGAIN)


def _tell(store: str, process: str, lines: list[str]) -> None:
    """Leave a line for a shell, and take it away again where the shell does not take it: it ended, or is busy."""
    if not lines:
        return
    shell = int(process)
    place = f"{store}.{shell}.ghost"
    written = f"{place}.{os.getpid()}"  # whole when it is there, and told from the line of another who tells this shell
    with open(os.open(written, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(lines[0])
    mine = os.stat(written)
    os.replace(written, place)
    end = time.monotonic() + _TAKEN_WITHIN
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if _takes(shell, signal.SIGUSR1):
            os.kill(shell, signal.SIGUSR1)
            while _is_same(os.stat(place), mine) and time.monotonic() < end:
                os.kill(shell, 0)
                time.sleep(_TRY_AGAIN)
    with contextlib.suppress(FileNotFoundError):
        if _is_same(os.stat(place), mine):
            os.unlink(place)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_mtime_ns) == (other.st_ino, other.st_mtime_ns)


def _takes(process: int, number: int) -> bool:
    """Return whether a process handles a signal; what a shell became by ``exec`` would be ended by it."""
    try:
        with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):  # not Linux
        return True
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def socket_of(store: str) -> str:
    """Return the socket of the process that answers for a store, in a folder that is private to the user."""
    name = f"procedural-memory-{_short(store)}-{_FORM}.sock"
    for folder in (os.environ.get("XDG_RUNTIME_DIR"), os.path.dirname(store)):
        if (
            folder
            and os.access(folder, os.W_OK | os.X_OK)
            and len(os.fsencode(place := os.path.join(folder, name))) <= _LONGEST_NAME
        ):
            return place
    folder = f"/tmp/procedural-memory-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder}: is not a private folder of this user")
    return os.path.join(folder, name)


def _short(text: str) -> str:
    from procedural_memory.storage.identity import hash64

    return f"{hash64(text) & (1 << 64) - 1:016x}"


def _ask(place: str, question: dict[str, Any]) -> list[dict[str, str]]:
    if os.lstat(place).st_uid != os.getuid():
        return []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWERS_WITHIN)
        client.connect(place)
        client.sendall(json.dumps(question).encode("ascii"))
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65_536):
            parts.append(part)
    found: list[dict[str, str]] = json.loads(b"".join(parts) or b"[]")
    return found


def _begin(store: str, place: str) -> None:
    """Start the process that answers, apart from this one."""
    subprocess.Popen(
        # Without what a project's environment says of Python, and without what was typed.
        [sys.executable, "-E", "-m", "procedural_memory.shells.answering", "--store", store, "--socket", place],
        env={name: value for name, value in os.environ.items() if not name.startswith("_PM_")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
