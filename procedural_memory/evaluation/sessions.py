"""Sessions to evaluate on: cleaned as the engine cleans them, with templates, so that all predictors see the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from procedural_memory.commands.normalize import normalize
from procedural_memory.errors import InvalidInputError
from procedural_memory.types import Command, Outcome
from procedural_memory.validation import as_commands, as_outcome, as_output, as_positive_int, as_probability, as_text

__all__ = ["LEVELS", "EvaluationLevel", "EvaluationSession", "Step", "as_sessions", "chosen"]

EvaluationLevel: TypeAlias = Literal["template", "full"]
"""What has to be right: the template, or exactly the command line."""

LEVELS: tuple[EvaluationLevel, ...] = ("template", "full")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a session.

    Attributes
    ----------
    command : Command
        As the engine stores it: cleaned and redacted.
    template : str
    output : str or None
        What the command printed.
    """

    command: Command
    template: str
    output: str | None = None

    def text(self, level: EvaluationLevel) -> str:
        """Return what a prediction of this level must equal."""
        return self.template if level == "template" else self.command.command


@dataclass(frozen=True, slots=True)
class EvaluationSession:
    """A session to predict step by step.

    Attributes
    ----------
    user : str or None
    session_id : str
    project : str or None
    outcome : {"success", "failure", None}
    steps : tuple of Step
    """

    user: str | None
    session_id: str
    project: str | None
    outcome: Outcome
    steps: tuple[Step, ...]


def as_sessions(items: Iterable[Mapping[str, Any]]) -> list[EvaluationSession]:
    """Return sessions from mappings, as `read_sessions` and `read_history` yield them, in their order.

    Raises
    ------
    InvalidInputError
        A value breaks a rule of `ProceduralMemoryEngine.learn_many`; the message names the session, the rule and
        the value.
    """
    return [_session(f"sessions[{number}]", item) for number, item in enumerate(items)]


def _session(name: str, item: Mapping[str, Any]) -> EvaluationSession:
    def given(*keys: str) -> Any:
        return next((item[key] for key in keys if item.get(key) is not None), None)

    project = as_text(f"{name}.project", item.get("project"), optional=True)
    raw = given("commands", "session_commands") or ()
    commands = as_commands(f"{name}.commands", raw, defaults={"project": project})
    outputs = [as_output(step.get("output")) if isinstance(step, Mapping) else None for step in raw]
    return EvaluationSession(
        user=as_text(f"{name}.user", item.get("user"), optional=True),
        session_id=as_text(f"{name}.session_id", given("session_id", "session"), optional=True) or name,
        project=project,
        outcome=as_outcome(given("outcome", "session_outcome"), f"{name}."),
        steps=tuple(
            Step(command, normalize(command.command), output) for command, output in zip(commands, outputs, strict=True)
        ),
    )


def chosen(
    sessions: Sequence[EvaluationSession],
    *,
    sample: float | None = None,
    limit: int | None = None,
    limit_steps: int | None = None,
) -> list[EvaluationSession]:
    """Return part of the sessions, in their order.

    Parameters
    ----------
    sessions : sequence of EvaluationSession
    sample : float, optional
        About this share of the sessions, picked by a hash of user and id: the same sessions each time.
    limit : int, optional
        Of these, the first so many sessions.
    limit_steps : int, optional
        Of these, the first so many steps of each user.
    """
    kept = list(sessions)
    if sample is not None:
        share = as_probability("sample", sample)
        kept = [session for session in kept if _place(session) < share]
    if limit is not None:
        kept = kept[: as_positive_int("limit", limit)]
    if limit_steps is not None:
        most = as_positive_int("limit_steps", limit_steps)
        left: Counter[str | None] = Counter()
        cut = []
        for session in kept:
            cut.append(replace(session, steps=session.steps[: max(0, most - left[session.user])]))
            left[session.user] += len(session.steps)
        kept = cut
    kept = [session for session in kept if session.steps]
    if not kept:
        raise InvalidInputError(
            f"sessions: must hold at least one step to predict, got {len(sessions)} sessions, 0 kept"
        )
    return kept


def _place(session: EvaluationSession) -> float:
    """Return a number in 0..1 that depends on the session alone."""
    name = f"{session.user}/{session.session_id}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / 2**64
