"""What a prediction is made from: the commands of the current session so far, analysed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from procedural_memory.commands.ground import SessionValues
from procedural_memory.commands.normalize import analyze
from procedural_memory.types import Command

__all__ = ["CONTEXT_LENGTH", "SessionContext"]

CONTEXT_LENGTH = 64
"""How many of the newest commands of a session are looked at."""


@dataclass(slots=True)
class SessionContext:
    """The commands of the current session so far, newest last.

    Attributes
    ----------
    templates : list of str
        Of the newest `CONTEXT_LENGTH` commands.
    values : SessionValues
        Files, branches and other values that the session has used.
    project : str or None
    """

    templates: list[str] = field(default_factory=list)
    values: SessionValues = field(default_factory=SessionValues)
    project: str | None = None

    @classmethod
    def of(cls, commands: Sequence[Command], project: str | None = None) -> SessionContext:
        """Return the context of a session that consists of `commands` so far."""
        context = cls(project=project)
        for command in commands[-CONTEXT_LENGTH:]:
            context.add(command)
        return context

    def add(self, command: Command) -> None:
        """Take in the next command."""
        analysis = analyze(command.command)
        self.values.observe(analysis, command)
        self.templates.append(analysis.template)
        if len(self.templates) > CONTEXT_LENGTH:
            del self.templates[0]
        if command.project is not None:
            self.project = command.project
