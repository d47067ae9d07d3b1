"""From the entries of a history to its sessions.

A session is what the history itself calls one, cut where nothing happened for the idle gap: so that a terminal which
stays open for weeks comes to an end now and then, and reading a history bit by bit gives the sessions that reading it
at once gives. It is cut after 5,000 commands, too. Without ids of its own a history is also cut where its times go back
(another shell's block begins) and where one goes to another project; without times, into blocks of 40 commands.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from procedural_memory.commands.project import project_of
from procedural_memory.sources.entry import Entry

__all__ = ["IDLE_GAP", "Grouper", "Run"]

IDLE_GAP = 30 * 60.0
"""Seconds without a command that end a session, where the history has times."""

_UNTIMED_SESSION = 40
_LONGEST_SESSION = 5_000
_BACK = 1.0
"""Seconds by which times may go back within a session: some shells know whole seconds only."""

_MANY = 256
_CHANGE = re.compile(r"(?:cd|pushd)(?:\s+(?:--\s+)?([^;&|<>()`$*?\[\]{}\n]*))?\s*(?:(?:&&|;).*)?", re.DOTALL)


@dataclass(slots=True)
class Run:
    """Entries that are one session, in the order of the history."""

    own: str | None
    entries: list[Entry] = field(default_factory=list)
    end: float | None = None
    """When the last command ended, as far as is known."""
    folder: str | None = None
    """Where the last ``cd`` went, for the next one."""

    @property
    def first(self) -> int:
        """The line on which it begins."""
        return min(entry.line for entry in self.entries)

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self.entries.append(entry)
        end = entry.end
        if end is not None:
            self.end = end if self.end is None else max(self.end, end)


class Grouper:
    """Takes entries in, gives sessions out as soon as they are over.

    Parameters
    ----------
    idle_gap : float
        Seconds.
    here : bool
        Whether the history is of this machine: then a ``cd`` tells the project, by the folders that there are.
    """

    def __init__(self, idle_gap: float, here: bool = True) -> None:
        self._gap = idle_gap
        self._here = here
        self._open: dict[str | None, Run] = {}
        self._folder: str | None = None

    def take(self, entries: Iterable[Entry]) -> Iterator[Run]:
        """Yield the sessions that are over while `entries` are read."""
        for entry in entries:
            over: list[Run] = []
            run = self._open.get(entry.session)
            moved = self._moves(entry)
            if run is not None and (moved or self._cut(run, entry)):
                over.append(self._open.pop(entry.session))
                run = None
            if run is None:
                if len(self._open) >= _MANY:
                    over += self._idle(entry)
                run = self._open[entry.session] = Run(entry.session)
            run.add(entry)  # first, so that who is given a session knows what comes after it
            yield from over

    def rest(self) -> list[Run]:
        """Return the sessions that are not over, oldest first, and let go of them."""
        left = sorted(self._open.values(), key=lambda run: run.first)
        self._open = {}
        return left

    def continues(self, run: Run, entry: Entry) -> bool:
        """Return whether an entry is of a session."""
        return entry.session == run.own and not self._cut(run, entry)

    def first_open(self) -> int | None:
        """Return the line on which the oldest session that is not over begins."""
        return min((run.first for run in self._open.values()), default=None)

    def _cut(self, run: Run, entry: Entry) -> bool:
        last = run.entries[-1]
        if len(run.entries) >= _LONGEST_SESSION:
            return True
        if entry.timestamp is None:
            return run.own is None and len(run.entries) >= _UNTIMED_SESSION
        if run.end is None:  # times begin here
            return run.own is None
        back = run.own is None and last.end is not None and (entry.end or entry.timestamp) < last.end - _BACK
        return back or entry.timestamp - run.end > self._gap

    def _idle(self, entry: Entry) -> list[Run]:
        if entry.timestamp is None:
            return []
        over = [key for key, run in self._open.items() if run.end is not None and entry.timestamp - run.end > self._gap]
        return [self._open.pop(key) for key in over]

    def _moves(self, entry: Entry) -> bool:
        """Return whether an entry of a history without ids goes from one project to another one."""
        if entry.session is not None:
            return False
        before = self._folder
        if entry.cwd is not None:
            self._folder = entry.cwd
        elif self._here:
            self._folder = _after(entry.command, before)
        if before is None or self._folder is None or before == self._folder:
            return False
        one, other = _root(before), _root(self._folder)
        return one is not None and other is not None and one != other


def _after(line: str, folder: str | None) -> str | None:
    """Return where a line leaves the shell, None where that is not known."""
    if not line.startswith(("cd", "pushd", "popd")):
        return folder
    change = _CHANGE.fullmatch(line.strip())
    if change is None:
        return None if line.split(maxsplit=1)[0] in ("cd", "pushd", "popd") else folder
    try:
        words = shlex.split(change[1] or "")
    except ValueError:
        return None
    if len(words) > 1 or words == ["-"]:
        return None
    target = os.path.expanduser(words[0] if words else "~")
    if not os.path.isabs(target):
        if folder is None:
            return None
        target = os.path.join(folder, target)
    return os.path.normpath(target)


@lru_cache(maxsize=4096)
def _root(folder: str) -> str | None:
    """Return the project of a folder where it can be told for certain: the git root above it."""
    root = project_of(folder)
    return root if root is not None and os.path.exists(os.path.join(root, ".git")) else None
