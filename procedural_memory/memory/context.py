"""The commands of a session so far, and the contexts in which its next step is counted and looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from procedural_memory.commands.ground import SessionValues
from procedural_memory.commands.normalize import analyze
from procedural_memory.commands.tables import ALIASES
from procedural_memory.storage.base import START, chain_keys, text_id
from procedural_memory.types import Command

__all__ = [
    "COUNTED",
    "LINES",
    "MAX_ORDER",
    "PROJECT_ORDER",
    "RATED",
    "SessionContext",
    "context_keys",
    "program_of",
    "runs",
]

CONTEXT_LENGTH = 64
"""How many of the newest commands of a session are looked at."""

MAX_ORDER = 4
"""Longest context that is counted: a fifth step before adds nothing (`benchmarks/ABLATION.md` as of 2026-11-28)."""

PROJECT_ORDER = 1
"""Longest context that is counted for each project apart."""

DIRECTORY_ORDER = 1
"""Longest context that is counted for each directory apart."""

LINE_ORDER = 2
"""Longest context of command lines that is counted."""

SKIPS = (2, 3)
"""How far back a step may lie that is counted with what came after the steps between."""

RATED = ("counts", "project", "directory")
"""Chains that keep the newest followers and the outcomes of each."""

LINES = ("line", "line here", "line after")
"""Chains whose followers are command lines, not templates; they keep the newest ones."""

COUNTED = ("program", "exit", "skip")
"""Chains that keep counts alone."""


@lru_cache(maxsize=65_536)
def program_of(template: str) -> str:
    """Return the first program of a template; of what is no command line, its first word."""
    programs = analyze(template).programs
    return programs[0] if programs else template.split(" ", 1)[0]


def runs(template: str, program: str) -> bool:
    """Return whether the first program of a template is this one; most do not name it, and need not be taken apart."""
    # A name may be written with backslashes in it.
    named = "\\" in template or any(name in template for name in _names(program))
    return named and program_of(template) == program


@lru_cache(maxsize=1_024)
def _names(program: str) -> tuple[str, ...]:
    """Return what a line holds, one or the other, that runs a program: its first word, or what means the same."""
    first = program.split(" ", 1)[0]
    return first, *(name for name, meant in ALIASES.items() if meant == first)


@dataclass(slots=True)
class SessionContext:
    """The commands of the current session so far, newest last.

    Attributes
    ----------
    templates, lines : list of str
        Of the newest `CONTEXT_LENGTH` commands.
    length : int
        How many commands there were in all.
    values : SessionValues
        Files, branches and other values that the session has used.
    project : str or None
        Of the newest command that had one.
    cwd : str or None
        Where the newest command with a folder left the session: a ``cd`` is followed.
    exit_code : int or None
        Of the newest command.
    failures : int
        How many of the newest commands failed in a row.
    gap : float or None
        Seconds between the two newest commands, where both have a time.
    session : int or None
        Of a session that is in the log, its number there.
    """

    templates: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    length: int = 0
    values: SessionValues = field(default_factory=SessionValues)
    project: str | None = None
    cwd: str | None = None
    exit_code: int | None = None
    failures: int = 0
    gap: float | None = None
    session: int | None = None
    _time: float | None = None

    @classmethod
    def of(cls, commands: Sequence[Command], project: str | None = None, cwd: str | None = None) -> SessionContext:
        """Return the context of a session that consists of `commands` so far."""
        context = cls(project=project, cwd=cwd)
        context.length = max(0, len(commands) - CONTEXT_LENGTH)
        for command in commands[-CONTEXT_LENGTH:]:
            context.add(command)
        return context

    def add(self, command: Command) -> None:
        """Take in the next command."""
        analysis = analyze(command.command)
        self.values.observe(analysis, command)
        self.templates.append(analysis.template)
        self.lines.append(command.command)
        del self.templates[:-CONTEXT_LENGTH], self.lines[:-CONTEXT_LENGTH]
        self.length += 1
        self.exit_code = command.exit_code
        self.failures = self.failures + 1 if command.exit_code else 0
        known = self._time is not None and command.timestamp is not None
        self.gap = command.timestamp - self._time if known else None  # type: ignore[operator]
        self._time = command.timestamp
        self.project = self.project if command.project is None else command.project
        self.cwd = self.cwd if self.values.cwd is None else self.values.cwd


def context_keys(context: SessionContext, project: str | None, cwd: str | None) -> dict[str, list[int]]:
    """Return the keys of the contexts of the step after `context`, a chain for each way of looking at it.

    Parameters
    ----------
    context : SessionContext
    project, cwd : str or None
        Of that step.

    Returns
    -------
    dict of str to list of int
        In each chain shorter contexts come first. ``counts``, ``project``, ``directory``: the last steps, anywhere and
        in that place. ``program``: the programs of the last steps. ``exit``: the last step and how it ended.
        ``skip``: a step further back alone. ``line``, ``line here``, ``line after``: the last command lines in this
        project, in this directory, and the last steps, before a command line of this project.
    """
    steps = [text_id(step) for step in context.templates[-MAX_ORDER:]]
    if context.length < MAX_ORDER:
        steps.insert(0, text_id(START))
    keys = {"counts": chain_keys(steps)}
    if project is not None:
        keys["project"] = chain_keys(steps[-PROJECT_ORDER:], f"project {project}")
    if cwd is not None:
        keys["directory"] = chain_keys(steps[-DIRECTORY_ORDER:], f"directory {cwd}")
    programs = [text_id(program_of(step)) for step in context.templates[-2:]]
    if context.length < 2:
        programs.insert(0, text_id(START))
    keys["program"] = chain_keys(programs, "program")[1:]
    if context.exit_code is not None:
        ended = "failed" if context.exit_code else "passed"
        last = chain_keys(programs[-1:], f"program {ended}"), chain_keys(steps[-1:], ended)
        keys["exit"] = [chain[1] for chain in last]
    keys["skip"] = [chain_keys([steps[-back]], f"skip {back}")[1] for back in SKIPS[: len(steps) - 1]]
    # Lines name files, and stay in their project.
    lines = [text_id(line) for line in context.lines[-LINE_ORDER:]]
    if context.length < LINE_ORDER:
        lines.insert(0, text_id(START))
    keys["line"] = chain_keys(lines, f"line {project!r}")
    if cwd is not None:
        keys["line here"] = chain_keys(lines[-DIRECTORY_ORDER:], f"line here {project!r} {cwd!r}")
    keys["line after"] = chain_keys(steps[-LINE_ORDER:], f"line after {project!r}")[1:]
    return keys
