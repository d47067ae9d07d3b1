"""What can be evaluated: the protocol of a predictor, and the engine behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.evaluation.sessions import EvaluationLevel, Step
from procedural_memory.session import Session
from procedural_memory.types import Level, Outcome, Prediction

__all__ = ["TOP", "Context", "EnginePredictor", "HeldOutEnginePredictor", "Predictor", "Ranking"]

TOP = 10
"""How many predictions are asked for."""

Ranking = list[tuple[str, float]]
"""At most `TOP` texts, best first, each with the probability that exactly it is next."""

_ENGINE_LEVEL: dict[EvaluationLevel, Level] = {"template": "template", "full": "command"}
_CONTEXT = 64


@dataclass(slots=True)
class Context:
    """What is known when the next step is to be predicted.

    Attributes
    ----------
    project : str or None
    cwd : str or None
        Where the next step will run: a shell stands there before anything is typed.
    steps : sequence of Step
        The session so far, newest last.
    """

    project: str | None
    cwd: str | None
    steps: Sequence[Step] = field(default_factory=list)


class Predictor(Protocol):
    """Predicts the next step of a session, then learns it."""

    def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
        """Return the most probable next texts of a level; changes nothing."""
        ...

    def learn(self, step: Step) -> None:
        """Take in the next step of the current session; the first one after `end` begins a session."""
        ...

    def end(self, outcome: Outcome) -> None:
        """End the current session."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class EnginePredictor:
    """The engine, used as a shell or an agent uses it: a live session, asked before each step.

    Parameters
    ----------
    engine : ProceduralMemoryEngine
        Closed by `close`.
    """

    def __init__(self, engine: ProceduralMemoryEngine) -> None:
        self._engine = engine
        self._live: Session | None = None
        self._sessions = 0

    def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
        """Return the live session's predictions."""
        session = self._session(context)
        return _ranking(session.predict(TOP, level=_ENGINE_LEVEL[level], cwd=context.cwd), level)

    def learn(self, step: Step) -> None:
        """Record the step with its output; embeddings are waited for, as they are ready before a person types on."""
        command = step.command
        self._session(Context(command.project, command.cwd)).record(command, output=step.output)
        self._engine.flush()

    def end(self, outcome: Outcome) -> None:
        """Close the live session with its outcome."""
        if self._live is not None:
            self._live.close(outcome)
            self._live = None

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _session(self, context: Context) -> Session:
        if self._live is None:
            # Ids in order rather than random ones: where start times are equal, they order the sessions.
            self._sessions += 1
            self._live = self._engine.session(
                cwd=context.cwd, project=context.project, session_id=f"evaluation-{self._sessions:08d}"
            )
        return self._live


class HeldOutEnginePredictor(EnginePredictor):
    """The engine asked about sessions that it does not learn: through `predict_next_action`."""

    def predict(self, context: Context, level: EvaluationLevel) -> Ranking:
        """Return the engine's predictions for a context that it was never told of."""
        commands = [step.command for step in context.steps[-_CONTEXT:]]
        level_of = _ENGINE_LEVEL[level]
        return _ranking(self._engine.predict_next_action(commands, TOP, level=level_of, cwd=context.cwd), level)


def _ranking(predictions: Sequence[Prediction], level: EvaluationLevel) -> Ranking:
    if level == "template":
        return [(p.template, p.template_probability) for p in predictions]
    # An open placeholder takes its rank, but its probability is that of a form: it claims nothing of an exact line.
    return [(p.next_command, p.probability if p.runnable else 0.0) for p in predictions]
