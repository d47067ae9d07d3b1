"""The prequential evaluation: predict each step, then learn it (Dawid, 1984)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from procedural_memory.commands.normalize import normalize
from procedural_memory.errors import InvalidInputError
from procedural_memory.evaluation import metrics
from procedural_memory.evaluation.metrics import Bools, Floats, Ints
from procedural_memory.evaluation.predictors import Context, Predictor
from procedural_memory.evaluation.sessions import LEVELS, EvaluationLevel, EvaluationSession, Step

__all__ = ["BLOCK", "LevelTrace", "Trace", "evaluate"]

BLOCK = 200
"""Steps that are drawn together where there are no sessions."""


@dataclass(frozen=True, slots=True)
class LevelTrace:
    """What happened at one level, one entry a step.

    Attributes
    ----------
    rank : array of int
        Place of the right text from 0; -1 where it was not listed.
    default_rank : array of int
        At the template level, the place of the first line of the default list with the right template; at the full
        level the same as `rank`.
    first : array of float
        Probability of the first prediction; 0 where there was none, or none that claims to be the exact text.
    listed : array of bool
        Whether there was any prediction.
    log_loss, brier : array of float
    seconds : array of float
        Time of the prediction.
    seen, repeated : array of bool
        Whether the right text had been learned before, and whether in this session.
    """

    rank: Ints
    default_rank: Ints
    first: Floats
    listed: Bools
    log_loss: Floats
    brier: Floats
    seconds: Floats
    seen: Bools
    repeated: Bools


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened in an evaluation, one entry a step.

    Attributes
    ----------
    memory : array of int
        Number of the memory: one for each user, or 0.
    unit : array of int
        Number of the session, or of the block of `BLOCK` steps where there are no sessions.
    sessions : int
    multi_line, after_failure : array of bool
    levels : mapping of level to LevelTrace
    """

    memory: Ints
    unit: Ints
    sessions: int
    multi_line: Bools
    after_failure: Bools
    levels: dict[EvaluationLevel, LevelTrace]


def evaluate(
    sessions: Sequence[EvaluationSession],
    make: Callable[[], Predictor],
    *,
    per_user: bool = False,
    warm_up: int = 0,
    online: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Trace:
    """Predict each step of the sessions, in their order, each before it is learned.

    Parameters
    ----------
    sessions : sequence of EvaluationSession
    make : callable
        Makes an empty predictor.
    per_user : bool
        One memory for each user rather than one for all.
    warm_up : int
        The first so many sessions of each memory are learned and not predicted.
    online : bool
        Whether what was predicted is learned afterwards.
    progress : callable, optional
        Called with the number of steps done so far.

    Raises
    ------
    InvalidInputError
        No session is left to predict.
    """
    groups: dict[str | None, list[EvaluationSession]] = {}
    for session in sessions:
        groups.setdefault(session.user if per_user else None, []).append(session)
    if not any(len(group) > warm_up for group in groups.values()):
        raise InvalidInputError(f"warm_up: must leave a session to predict, got {warm_up} of {len(sessions)} sessions")
    log = _Log(sessions, progress)
    for memory, group in enumerate(groups.values()):
        with closing(make()) as predictor:
            log.memory, log.vocabulary = memory, {level: set() for level in LEVELS}
            for number, session in enumerate(group):
                warm = number < warm_up
                _run(session, predictor, log, predicting=not warm, learning=warm or online)
    return log.trace()


def _run(session: EvaluationSession, predictor: Predictor, log: _Log, *, predicting: bool, learning: bool) -> None:
    past: list[Step] = []
    for step in session.steps:
        if predicting:
            context = Context(session.project, step.command.cwd, past)
            rankings = {}
            # The default list first: what has to catch up with the last step does so on the way to what users see.
            for level in reversed(LEVELS):
                begin = time.perf_counter()
                ranking = predictor.predict(context, level)
                rankings[level] = (ranking, time.perf_counter() - begin)
            log.add(past, step, rankings)
        if learning:
            predictor.learn(step)
            for level in LEVELS:
                log.vocabulary[level].add(step.text(level))
        past.append(step)
        log.step()
    if learning:
        predictor.end(session.outcome)
    log.session += 1


class _Log:
    """Collects the entries of a `Trace`."""

    def __init__(self, sessions: Sequence[EvaluationSession], progress: Callable[[int], object] | None) -> None:
        users = len({session.user for session in sessions})
        self._blocks = len(sessions) <= users
        self._progress = progress
        self._done = 0
        self._rows: list[tuple[int, int, bool, bool]] = []
        self._levels: dict[EvaluationLevel, list[tuple[float, ...]]] = {level: [] for level in LEVELS}
        self._predicted: set[int] = set()
        self.memory = 0
        self.session = 0
        self.vocabulary: dict[EvaluationLevel, set[str]] = {}

    def step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done)

    def add(
        self, past: Sequence[Step], step: Step, rankings: dict[EvaluationLevel, tuple[list[tuple[str, float]], float]]
    ) -> None:
        unit = self.session * 1_000_000 + (len(past) // BLOCK if self._blocks else 0)
        failed = bool(past) and past[-1].command.exit_code not in (None, 0)
        self._rows.append((self.memory, unit, "\n" in step.command.command, failed))
        self._predicted.add(self.session)
        default = _place([normalize(line) for line, _ in rankings["full"][0]], step.template)
        for level, (ranking, seconds) in rankings.items():
            right = step.text(level)
            rank = _place([text for text, _ in ranking], right)
            listed = [probability for _, probability in ranking]
            seen = self.vocabulary[level]
            self._levels[level].append(
                (
                    rank,
                    default if level == "template" else rank,
                    listed[0] if listed else 0.0,
                    bool(listed),
                    metrics.log_loss(listed, rank, len(seen)),
                    metrics.brier_score(listed, rank, len(seen)),
                    seconds,
                    right in seen,
                    any(earlier.text(level) == right for earlier in past),
                )
            )

    def trace(self) -> Trace:
        memory, unit, multi_line, failed = np.array(self._rows, dtype=np.int64).reshape(-1, 4).T
        return Trace(
            memory,
            unit,
            len(self._predicted),
            multi_line > 0,
            failed > 0,
            {level: _level(rows) for level, rows in self._levels.items()},
        )


def _level(rows: list[tuple[float, ...]]) -> LevelTrace:
    rank, default, first, listed, loss, brier, seconds, seen, repeated = np.array(rows).reshape(-1, 9).T
    return LevelTrace(
        rank.astype(np.int64), default.astype(np.int64), first, listed > 0, loss, brier, seconds, seen > 0, repeated > 0
    )


def _place(texts: list[str], right: str) -> int:
    return texts.index(right) if right in texts else -1
