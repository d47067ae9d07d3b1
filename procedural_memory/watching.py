"""Learning histories while they grow: a process that looks at them every few seconds, and how a system starts it."""

from __future__ import annotations

import logging
import os
import plistlib
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from procedural_memory.commands.redact import redact
from procedural_memory.errors import ProceduralMemoryError, StorageError
from procedural_memory.sources.catalogue import PLACES

if TYPE_CHECKING:
    from procedural_memory.engine import ProceduralMemoryEngine
    from procedural_memory.types import ImportReport

__all__ = [
    "EVERY",
    "IDLE",
    "NAME",
    "install",
    "launch_agent",
    "only_one",
    "systemd_unit",
    "uninstall",
    "watch",
]

_log = logging.getLogger("procedural_memory.watch")

EVERY: Final = 2.0
"""Seconds between two looks."""
IDLE: Final = 300.0
"""Seconds without a command after which a session is over."""
NAME: Final = "procedural-memory-watch"
_AFTER_TROUBLE: Final = 60.0
_SHARE: Final = 20.0
"""A look is followed by a pause of so many times the processor time that it took: a long transcript that grows all the
time is read anew each time, and takes at most a twentieth of a processor so."""
_LONGEST: Final = 60.0
_MODELS: Final = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TRIES: Final = 10
_BETWEEN: Final = 0.5
"""How often launchd is asked to take an agent, and seconds between: it ends the old one in its own time."""


def watch(
    engine: ProceduralMemoryEngine,
    *,
    every: float = EVERY,
    idle: float = IDLE,
    end: threading.Event,
    told: Callable[[ImportReport], object] = lambda report: None,
) -> None:
    """Learn what is new in the histories of this user, again and again.

    Parameters
    ----------
    engine : ProceduralMemoryEngine
        It belongs to the caller.
    every : float
        Seconds between two looks, more where a look takes long; a file that did not change is not read.
    idle : float
        Seconds without a command after which a session is over, and learned.
    end : threading.Event
        Ends it, after the look that is going on.
    told : callable
        Given each report in which something was learned.
    """
    trouble = ""
    while not end.is_set():
        pause = every
        begin = time.process_time()
        try:
            report = engine.import_history(idle_gap=idle)
        except ProceduralMemoryError as error:  # a store that cannot be written now: what is new is still there later
            pause = _AFTER_TROUBLE
            found = str(error)
        else:
            pause = max(every, min(_LONGEST, _SHARE * (time.process_time() - begin)))
            if report.new_commands:
                told(report)
            found = "; ".join(problem for one in report.sources for problem in one.unread)
        if found and found != trouble:  # once, not every few seconds
            _log.warning("%s", found)
        trouble = found
        end.wait(pause)


@contextmanager
def only_one(store: Path) -> Iterator[None]:
    """Hold the place of the one process that watches for a memory.

    Raises
    ------
    StorageError
        Another one does.
    """
    lock = Path(f"{store}.watch")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StorageError(f"path {str(store)!r}: cannot be written beside it ({error})") from error
    with open(descriptor, "r+b") as file:
        _hold(file, store)
        yield


def _hold(file: IO[bytes], store: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two of them learn nothing twice either, they only look twice as often
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system, whatever becomes of the process
    except BlockingIOError:
        raise StorageError(f"path {str(store)!r}: another process watches for this memory already") from None


def _environment() -> dict[str, str]:
    """Return what this environment says of where histories and models are, which a service would not know.

    These are paths alone, and of them none that holds a secret, or a control character: no unit takes that.
    """
    found = {name: os.environ.get(name, "") for name in (*PLACES, *_MODELS)}
    return {
        name: value if value.startswith(("/", "~")) else os.path.abspath(value)
        for name, value in found.items()
        if value and redact(value) == value and not _CONTROL.search(value)
    }


def systemd_unit(command: list[str], variables: Mapping[str, str]) -> str:
    """Return the unit of a systemd user service."""
    words = " ".join('"' + _systemd_text(word).replace("$", "$$") + '"' for word in command)
    places = "".join(f'Environment="{_systemd_text(f"{name}={value}")}"\n' for name, value in variables.items())
    return f"""\
[Unit]
Description=Procedural memory: learns your command histories

[Service]
ExecStart={words}
{places}Restart=on-failure
RestartSec=30
Nice=10
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def _systemd_text(word: str) -> str:
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return plain.replace("%", "%%")


def launch_agent(command: list[str], variables: Mapping[str, str]) -> bytes:
    """Return the property list of a launchd agent."""
    return plistlib.dumps(
        {
            "Label": NAME,
            "ProgramArguments": command,
            "EnvironmentVariables": dict(variables),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ProcessType": "Background",
            "Umask": 0o077,
        }
    )


def install(arguments: list[str]) -> tuple[Path, str | None]:
    """Let the system start the watcher whenever this user logs in, and now.

    Parameters
    ----------
    arguments : list of str
        Of ``procedural-memory watch``.

    Returns
    -------
    file : Path
    to_do : str or None
        What is left to be run where the system did not take it.
    """
    command = [sys.executable, "-m", "procedural_memory", "watch", *arguments]
    file, begin, end = _place()
    told = _environment()
    content = launch_agent(command, told) if file.suffix == ".plist" else systemd_unit(command, told).encode("utf-8")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{str(file)!r}: cannot be written ({error})") from error
    if file.suffix != ".plist":
        return file, _ran(begin)
    # launchd takes no agent of a name that it has: the old one would go on as it was.
    _ran(end)
    for _ in range(_TRIES):
        if (left := _ran(begin)) is None:
            return file, None
        time.sleep(_BETWEEN)
    return file, f"{' && '.join(map(shlex.join, end))}; {left}"


def uninstall() -> tuple[Path, str | None]:
    """Take back what `install` did; as from `install`."""
    file, _, end = _place()
    left = _ran(end) if file.exists() else None
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{str(file)!r}: cannot be removed ({error})") from error
    return file, left


def _place() -> tuple[Path, list[list[str]], list[list[str]]]:
    """Return the file of the service, and what starts and what ends it."""
    if sys.platform == "darwin":
        file = Path.home() / "Library" / "LaunchAgents" / f"{NAME}.plist"
        domain = f"gui/{os.getuid()}"
        return file, [["launchctl", "bootstrap", domain, str(file)]], [["launchctl", "bootout", f"{domain}/{NAME}"]]
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    systemctl = ["systemctl", "--user"]
    # Enabled before: what runs is the old one until it is started again.
    begin = [[*systemctl, "daemon-reload"], [*systemctl, "enable", NAME], [*systemctl, "restart", NAME]]
    return folder / "systemd" / "user" / f"{NAME}.service", begin, [[*systemctl, "disable", "--now", NAME]]


def _ran(commands: list[list[str]]) -> str | None:
    """Run commands; return them as text where one fails."""
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is None or done.returncode:
            return " && ".join(map(shlex.join, commands))
    return None
