"""The value objects of the public contract: frozen, slotted, with no behaviour beyond derived numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

__all__ = [
    "ACTORS",
    "SHOWN_TEMPLATES",
    "UNASKED_PROBABILITY",
    "Actor",
    "Command",
    "Durability",
    "Evidence",
    "Forgotten",
    "ImportReport",
    "ImportedSource",
    "Level",
    "Loaded",
    "Outcome",
    "OutcomeExplanation",
    "OutcomePrediction",
    "PatternState",
    "Prediction",
    "SimilarPattern",
    "StepInfluence",
    "Verdict",
    "WorkflowPattern",
]

Outcome: TypeAlias = Literal["success", "failure"] | None
"""How a session ended; ``None`` is unknown."""

Level: TypeAlias = Literal["command", "template"]
"""What a list of predictions is ranked by: exact command lines, or templates."""

Verdict: TypeAlias = Literal["accepted", "rejected", "ignored"]
"""What became of a prediction that was shown."""

Durability: TypeAlias = Literal["full", "normal"]
"""What a durable memory outlives once a call has returned: a power cut, or the end of the process only."""

PatternState: TypeAlias = Literal["candidate", "active", "archived"]
"""Where a pattern stands in its life: see `WorkflowPattern`."""

Actor: TypeAlias = Literal["human", "agent", "tool"]
ACTORS: tuple[str, ...] = get_args(Actor)


UNASKED_PROBABILITY: Final = 0.6
"""Least `Prediction.probability` of a line that is shown without being asked for: ghost text, hints of a shell, hooks.

Chosen from data, as the least tenth at which what is shown was right three times of four on every data set;
``benchmarks/RESULTS.md`` has the share that was right, and how often something was shown, at each threshold."""

SHOWN_TEMPLATES: Final = 150
"""Templates of a graph that are shown unless another limit is asked for: more of them hide each other in a drawing."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command line as typed or as a tool ran it.

    Attributes
    ----------
    command : str
        The line itself; secrets are redacted before it is stored.
    exit_code : int or None
        Exit status, ``None`` when unknown.
    cwd : str or None
        Working directory in which it ran.
    timestamp : float or None
        Start, in seconds since the epoch.
    duration_ms : float or None
        Run time in milliseconds.
    project : str or None
        Project it belongs to: given, else the git root of `cwd`, else `cwd`.
    source, actor, host, branch : str or None
        Who told of the step, who ran it (human, agent or tool), where, and on which git branch.
    """

    command: str
    exit_code: int | None = None
    cwd: str | None = None
    timestamp: float | None = None
    duration_ms: float | None = None
    project: str | None = None
    source: str | None = None
    actor: str | None = None
    host: str | None = None
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class WorkflowPattern:
    """A learned workflow: an ordered sequence of templates with its outcome counts.

    Attributes
    ----------
    pattern_id : str
        Hash of the template sequence: the same workflow has the same id in every memory.
    command_sequence : tuple of str
        The command lines of the newest session that followed this pattern, redacted.
    templates : tuple of str
        The normalised commands.
    success_count, failure_count, unknown_count : int
        Sessions by outcome.
    avg_duration_ms : float or None
        Mean of the known session durations, in milliseconds.
    confidence : float
        Posterior mean of the success rate under a Beta(1, 1) prior: one success gives 2/3, not certainty.
    last_seen : float
        When the newest session that followed it began, in seconds since the epoch.
    support : float
        How many sessions followed it, halved for every 30 days between its newest session and the newest of the
        memory: not used, a memory does not age.
    state : {"candidate", "active", "archived"}
        Seen once; seen more often; seen more often, but faded to a `support` below one half.
    """

    pattern_id: str
    command_sequence: tuple[str, ...]
    templates: tuple[str, ...]
    success_count: int
    failure_count: int
    unknown_count: int
    avg_duration_ms: float | None
    confidence: float
    # When sessions without a time of their own were learned makes no other pattern of them.
    last_seen: float = field(compare=False)
    support: float = field(compare=False)
    state: PatternState

    @property
    def command_count(self) -> int:
        """Number of steps."""
        return len(self.templates)

    @property
    def success_rate(self) -> float:
        """Successes / (successes + failures), 0.0 when no outcome is known."""
        known = self.success_count + self.failure_count
        return self.success_count / known if known else 0.0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten, or would be.

    Attributes
    ----------
    steps : int
        Steps, those of whole sessions included.
    sessions : int
        Sessions of which nothing is left.
    feedback : int
        Verdicts on predictions.
    examples : tuple of str
        Up to ten of the command lines, each once, oldest first.
    """

    steps: int
    sessions: int
    feedback: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedSource:
    """What was read of one kind of history, and learned, or would be.

    Attributes
    ----------
    source : str
        The label of its sessions and steps.
    files : tuple of str
    sessions, commands : int
        Read, without what had been read before.
    new_sessions, new_commands : int
        Learned: not known before, and long enough.
    open_commands : int
        Of sessions that may still go on: they are left for the next import.
    skipped : mapping
        Why something was left out -> how often.
    problems : tuple of str
        The first twenty of what was left out, with file, line and reason.
    unread : tuple of str
        Why files could not be read.
    examples : tuple of str
        Up to ten of the new command lines, redacted, oldest first.
    """

    source: str
    files: tuple[str, ...]
    sessions: int
    commands: int
    new_sessions: int
    new_commands: int
    open_commands: int
    skipped: Mapping[str, int]
    problems: tuple[str, ...]
    unread: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What `ProceduralMemoryEngine.import_history` did, or would do.

    Attributes
    ----------
    sources : tuple of ImportedSource
        Those of which there are files.
    dry_run : bool
        Whether nothing was learned.
    """

    sources: tuple[ImportedSource, ...]
    dry_run: bool = False

    @property
    def new_sessions(self) -> int:
        """Sessions learned."""
        return sum(source.new_sessions for source in self.sources)

    @property
    def new_commands(self) -> int:
        """Commands learned."""
        return sum(source.new_commands for source in self.sources)

    @property
    def skipped(self) -> int:
        """How much was left out."""
        return sum(sum(source.skipped.values()) for source in self.sources)


@dataclass(frozen=True, slots=True)
class SimilarPattern:
    """A pattern that resembles a sequence of commands.

    Attributes
    ----------
    pattern_id : str
    similarity : float
        Ordered-alignment similarity in 0..1.
    start, end : int
        The matched part of the pattern is ``templates[start:end]``.
    pattern : WorkflowPattern
    """

    pattern_id: str
    similarity: float
    start: int
    end: int
    pattern: WorkflowPattern


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one expert contributed to a prediction.

    Attributes
    ----------
    expert : str
        Name of the expert; ``"feedback"`` for what became of this prediction when it was shown before.
    probability : float
        What this expert alone gave the template; of feedback, how often it is accepted, as far as is known.
    weight : float
        Its share in the ranker's weights in this situation; 0 for feedback, which is no source of candidates.
    context : tuple of str
        The templates it matched, oldest first.
    details : mapping
        Its counts: ``count``, ``total``, ``sessions``, ``successes``, ``failures``, ``pattern_id`` …; of feedback
        ``accepted``, ``rejected``, ``ignored`` for the template, ``line_accepted`` … for the line.
    """

    expert: str
    probability: float
    weight: float
    context: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One predicted next action.

    Attributes
    ----------
    next_command : str
        The command line; with a placeholder left in it when no value is known (then `runnable` is False).
    template : str
        The template it comes from.
    probability : float
        Calibrated probability that exactly this line is next; for a line with an open placeholder, that a line of
        this form is next which is not predicted itself. Orders the list at ``level="command"``, lines that can be run
        before open ones, unless an open one is more probable than 0.4; an open line behind them claims no more than
        they do.
    template_probability : float
        The same for the template: it orders the list at ``level="template"``. Beside a line it is at least what the
        lines of the template come to together.
    confidence : float
        How well this path has worked before: pattern confidence x similarity of the best supporting pattern
        (a bare transition is a pattern of two steps with similarity 1).
    reason : str
        One plain sentence, generated from `evidence`.
    similar_patterns : tuple of str
        Ids of the patterns that support it, best first.
    auto_suggestions : tuple of str
        What usually follows this command, from the workflow graph.
    evidence : tuple of Evidence
        What each expert contributed.
    runnable : bool
        False while a placeholder is left in `next_command`, and where it is an event that no shell could run.
    destructive : bool
        True when the line can lose data (``rm -rf``, ``git reset --hard``, ``DROP TABLE``, …).
    """

    next_command: str
    template: str
    probability: float
    template_probability: float
    confidence: float
    reason: str
    similar_patterns: tuple[str, ...] = ()
    auto_suggestions: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    runnable: bool = True
    destructive: bool = False


@dataclass(frozen=True, slots=True)
class StepInfluence:
    """How one step of a context goes together with the outcome of a session. Association, not proof of cause.

    Attributes
    ----------
    step : str
        The template, or ``first -> second`` for a causal chain.
    successes, failures : int
        Sessions with this step, by outcome.
    log_odds : float
        Log of the ratio of the odds of success with and without the step, each count plus one half.
    low, high : float
        95 % interval of `log_odds` (Woolf).
    """

    step: str
    successes: int
    failures: int
    log_odds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class OutcomeExplanation:
    """Which steps of a context raise or lower the odds of success.

    Attributes
    ----------
    base_rate : float
        Posterior mean success rate of all sessions with a known outcome.
    raises, lowers : tuple of StepInfluence
        Steps by strength, strongest first.
    sessions : int
        Sessions with a known outcome.
    """

    base_rate: float
    raises: tuple[StepInfluence, ...]
    lowers: tuple[StepInfluence, ...]
    sessions: int


@dataclass(frozen=True, slots=True)
class OutcomePrediction:
    """How a session that has come so far will probably end.

    Attributes
    ----------
    probability : float
        That it ends in success. 0.5 while no outcome is known.
    low, high : float
        95 % interval of that probability: wide where few sessions tell, or none that are like this one.
    speaks_for, speaks_against : tuple of StepInfluence
        Steps of the context that go together with success, with failure, strongest first. They are counted one by one
        and explain; `probability` weighs everything together.
    sessions : int
        Sessions with a known outcome.
    """

    probability: float
    low: float
    high: float
    speaks_for: tuple[StepInfluence, ...]
    speaks_against: tuple[StepInfluence, ...]
    sessions: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `ProceduralMemoryEngine.load` did; stands for the path of the backup where a path is wanted.

    Attributes
    ----------
    sessions : int
        Sessions taken over.
    backup : Path or None
        Where a durable memory was saved before it was replaced: an ``.sqlite`` file that can be loaded, or opened as
        it is.
    """

    sessions: int
    backup: Path | None = None

    def __fspath__(self) -> str:
        if self.backup is None:
            raise TypeError("Loaded: no backup was made, so there is no path")
        return str(self.backup)
