"""How well the outcome of a session is foreseen: asked after its first commands and at its end, then learned.

A session whose outcome is unknown is learned and not asked about. What is asked after a fixed number of commands is
asked of the sessions that have so many: a share of the session, say half, would tell how long it became.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.evaluation import metrics
from procedural_memory.evaluation.metrics import Bools, Floats
from procedural_memory.evaluation.report import Table
from procedural_memory.evaluation.sessions import EvaluationSession
from procedural_memory.prediction.outcome import fit_logistic
from procedural_memory.types import Command

__all__ = [
    "FIRST",
    "NOTES",
    "EngineForecaster",
    "Forecaster",
    "OutcomeTrace",
    "Yardstick",
    "evaluate_outcomes",
    "forecasters",
    "has_both",
    "tables",
]

FIRST: Final = 20
"""Commands after which a session is asked about, and once more at its end."""

BINS: Final = 10
LOOKS: Final[Mapping[str, int | None]] = {f"after {FIRST} commands": FIRST, "at the end": None}
"""Name -> how many commands are seen; None: all."""

NOTES: Final = (
    "Before a session with a known outcome is learned, its outcome is foreseen, by what the sessions before it taught. "
    f"AUC: the share of pairs, one success and one failure, that are told apart; 95 %: bootstrap interval over "
    f"sessions; ECE: {BINS} bins of equal mass. Yardsticks, learned online as well: the share of successes so far, and "
    "a logistic regression on the length of the session alone, and on the share of its commands that failed alone."
)


class Forecaster(Protocol):
    """Foresees the outcome of a session, then learns it."""

    def probability(self, commands: Sequence[Command], look: str) -> float:
        """Return the probability that a session with these commands so far ends in success; changes nothing."""
        ...

    def learn(self, session: EvaluationSession) -> None:
        """Take in a finished session."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class EngineForecaster:
    """The engine, which learns each session step by step, as a live one."""

    def __init__(self, engine: ProceduralMemoryEngine) -> None:
        self._engine = engine
        self._sessions = 0

    def probability(self, commands: Sequence[Command], look: str) -> float:
        """Return the engine's probability."""
        return self._engine.predict_outcome(commands).probability

    def learn(self, session: EvaluationSession) -> None:
        """Record the steps and close the session with its outcome."""
        # Ids in order rather than random ones: where start times are equal, they order the sessions.
        self._sessions += 1
        live = self._engine.session(project=session.project, session_id=f"evaluation-{self._sessions:08d}")
        for step in session.steps:
            live.record(step.command)
        live.close(session.outcome)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class Yardstick:
    """A logistic regression on one number; on none, the share of successes so far."""

    def __init__(self, number: Callable[[Sequence[Command]], float] | None = None) -> None:
        self._number = number
        self._right: dict[str, list[float]] = {look: [] for look in LOOKS}
        self._numbers: dict[str, list[float]] = {look: [] for look in LOOKS}

    def probability(self, commands: Sequence[Command], look: str) -> float:
        """Return what the sessions so far say, at the same look."""
        right, numbers = np.array(self._right[look]), np.array(self._numbers[look])
        if self._number is None or not len(right):
            return float((right.sum() + 1.0) / (len(right) + 2.0))
        mean, deviation = numbers.mean(), numbers.std() + 1e-9
        rows = np.column_stack([np.ones(len(right)), (numbers - mean) / deviation])
        weights, _ = fit_logistic(rows, right, np.ones(len(right)), (1,))
        # A number that never varied says nothing, however far the next one is from it.
        value = float(np.clip((self._number(commands) - mean) / deviation, -5.0, 5.0)) if deviation > 1e-6 else 0.0
        return 1.0 / (1.0 + math.exp(-float(weights @ [1.0, value])))

    def learn(self, session: EvaluationSession) -> None:
        """Take in a finished session, as far as it is seen at each look."""
        if session.outcome is None:
            return
        for look, commands in _seen(session).items():
            self._right[look].append(float(session.outcome == "success"))
            self._numbers[look].append(0.0 if self._number is None else self._number(commands))

    def close(self) -> None:
        """Nothing is held."""


def forecasters(make: Callable[[], ProceduralMemoryEngine]) -> dict[str, Callable[[], Forecaster]]:
    """Return what makes the engine's forecaster and each yardstick, by name."""
    return {
        "this package": lambda: EngineForecaster(make()),
        "length alone": lambda: Yardstick(lambda commands: math.log1p(len(commands))),
        "share failed alone": lambda: Yardstick(lambda commands: sum(map(_failed, commands)) / len(commands)),
        "successes so far": Yardstick,
    }


def _failed(command: Command) -> bool:
    return bool(command.exit_code)


def _seen(session: EvaluationSession) -> dict[str, list[Command]]:
    """Return what is seen of a session at each look, for those that it is long enough for."""
    commands = [step.command for step in session.steps]
    return {look: commands[:first] for look, first in LOOKS.items() if first is None or len(commands) >= first}


@dataclass(frozen=True, slots=True)
class OutcomeTrace:
    """What was foreseen at one look, one entry a session.

    Attributes
    ----------
    success : array of bool
    probability : mapping of str to array of float
        By name of the forecaster.
    """

    success: Bools
    probability: Mapping[str, Floats]

    def summary(self) -> dict[str, Any]:
        """Return sessions, base rate, and the measures of each forecaster."""
        right = self.success.astype(float)
        return {
            "sessions": len(right),
            "base rate": float(right.mean()),
            "forecasters": {name: _measures(said, right) for name, said in self.probability.items()},
        }


def _measures(said: Floats, right: Floats) -> dict[str, Any]:
    return {
        "AUC": metrics.area_under_curve(said, right),
        "AUC 95 %": metrics.area_interval(said, right),
        "Brier": float(np.mean((said - right) ** 2)),
        "ECE": metrics.calibration_error(said, right, BINS),
    }


def has_both(sessions: Sequence[EvaluationSession]) -> bool:
    """Return whether some sessions ended in success and some in failure: otherwise there is nothing to tell apart."""
    return {session.outcome for session in sessions} >= {"success", "failure"}


def evaluate_outcomes(
    sessions: Sequence[EvaluationSession],
    makers: Mapping[str, Callable[[], Forecaster]],
    *,
    per_user: bool = False,
    progress: Callable[[int], object] | None = None,
) -> dict[str, OutcomeTrace]:
    """Foresee the outcome of each session, in their order, each before it is learned.

    Parameters
    ----------
    sessions : sequence of EvaluationSession
    makers : mapping
        From the name of a forecaster to what makes it, as `forecasters` returns it.
    per_user : bool
        One memory for each user rather than one for all.
    progress : callable, optional
        Called with the number of steps done so far, of all forecasters.

    Returns
    -------
    dict of str to OutcomeTrace
        By look; without those at which not both a success and a failure were met.
    """
    groups: dict[str | None, list[EvaluationSession]] = {}
    for session in sessions:
        groups.setdefault(session.user if per_user else None, []).append(session)
    success: dict[str, list[bool]] = {look: [] for look in LOOKS}
    said: dict[str, dict[str, list[float]]] = {look: {name: [] for name in makers} for look in LOOKS}
    done = 0
    for group in groups.values() if has_both(sessions) else ():
        made = {name: make() for name, make in makers.items()}
        try:
            for session in group:
                if session.outcome is not None:
                    for look, commands in _seen(session).items():
                        success[look].append(session.outcome == "success")
                        for name, forecaster in made.items():
                            said[look][name].append(forecaster.probability(commands, look))
                for forecaster in made.values():
                    forecaster.learn(session)
                done += len(session.steps)
                if progress is not None:
                    progress(done)
        finally:
            for forecaster in made.values():
                forecaster.close()
    return {
        look: OutcomeTrace(np.array(success[look]), {name: np.array(values) for name, values in said[look].items()})
        for look in LOOKS
        if len(set(success[look])) == 2
    }


def tables(summaries: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return a table for each look, from its `OutcomeTrace.summary`."""
    found = []
    for look, told in summaries.items():
        rows = [
            (
                name,
                f"{measures['AUC']:.3f}",
                "{:.3f}-{:.3f}".format(*measures["AUC 95 %"]),
                f"{measures['Brier']:.3f}",
                f"{measures['ECE']:.3f}",
            )
            for name, measures in told["forecasters"].items()
        ]
        title = f"outcome {look}: {told['sessions']} sessions, {told['base rate']:.3f} of them ended in success"
        found.append(Table(title, ("forecaster", "#AUC", "#AUC 95 %", "#Brier", "#ECE"), tuple(rows)))
    return found
