"""What goes over the wire: the arguments of each tool and what it answers, as agents see them in the schemas.

Nothing that is not in a schema is taken: a slip in a name must not change what is asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from procedural_memory.mcp_server.recalled import NOTICE
from procedural_memory.server.models import (
    PATTERN_ID,
    VISIBLE,
    InfluenceModel,
    Level,
    Outcome,
    PatternFields,
    Share,
    Short,
)

__all__ = [
    "MAX_COMMANDS",
    "MAX_CONTEXT",
    "MAX_LINE",
    "ExplainRequest",
    "ExplainResponse",
    "ForgetRequest",
    "ForgetResponse",
    "GetPatternRequest",
    "GetPatternResponse",
    "GraphResource",
    "LearnRequest",
    "LearnResponse",
    "ListPatternsRequest",
    "ListPatternsResponse",
    "PredictRequest",
    "PredictResponse",
    "PredictionModel",
    "Recalled",
    "Request",
    "SimilarRequest",
    "SimilarResponse",
]

MAX_COMMANDS = 2_000
"""Commands of a workflow that is learned."""
MAX_CONTEXT = 512
"""Commands that are asked about."""
MAX_LINE = 16_384
"""Characters of a command line."""


Line = Annotated[str, Field(max_length=MAX_LINE, pattern=VISIBLE)]


class Request(BaseModel):
    """Arguments of a tool."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Step(Request):
    """One command that was run."""

    command: Line = Field(description="The command line.")
    exit_code: Annotated[int, Field(gt=-(2**53), lt=2**53)] | None = Field(default=None, description="Exit status.")
    cwd: Short | None = Field(default=None, description="Folder in which it ran.")
    timestamp: Annotated[float, Field(ge=0, le=1e11)] | None = Field(
        default=None, description="When it began, in seconds since the epoch."
    )
    duration_ms: Annotated[float, Field(ge=0, le=1e12)] | None = Field(default=None, description="How long it ran.")


def _kind(item: object) -> str:
    return "<line>" if isinstance(item, str) else "<step>"


# Told apart first, so that an error is about what was meant.
_AnyStep = Annotated[Annotated[Step, Tag("<step>")] | Annotated[Line, Tag("<line>")], Discriminator(_kind)]
Context = Annotated[
    list[_AnyStep], Field(max_length=MAX_CONTEXT, description="The commands of the session so far, newest last.")
]


class PredictRequest(Request):
    """The commands so far."""

    commands: Context = []
    top_k: Annotated[int, Field(ge=1, le=10)] = Field(default=3, description="How many predictions at most.")
    level: Level = Field(default="command", description="Rank command lines, or templates with placeholders.")
    min_probability: Share = Field(default=0.0, description="Leave out what is less probable.")
    cwd: Short | None = Field(default=None, description="Folder in which the next command will run.")


class LearnRequest(Request):
    """A finished workflow."""

    commands: Annotated[list[_AnyStep], Field(min_length=1, max_length=MAX_COMMANDS)] = Field(
        description="The commands in the order in which they ran."
    )
    outcome: Outcome | None = Field(default=None, description="How it ended; null where that is not known.")
    session_id: Short | None = Field(
        default=None, description="A name under which the same workflow is learned once, however often it is sent."
    )
    source: Short = Field(default="mcp", description="Who tells of it.")


class SimilarRequest(Request):
    """A sequence of commands."""

    commands: Annotated[list[_AnyStep], Field(min_length=1, max_length=MAX_CONTEXT)] = Field(
        description="A sequence of commands, matched in order at any place of a workflow."
    )
    k: Annotated[int, Field(ge=1, le=20)] = Field(default=5, description="How many at most.")
    threshold: Share | None = Field(default=None, description="Least similarity.")


class ExplainRequest(Request):
    """A session so far."""

    commands: Context
    limit: Annotated[int, Field(ge=1, le=20)] = Field(default=5, description="How many steps at most on each side.")


class ListPatternsRequest(Request):
    """Which patterns."""

    limit: Annotated[int, Field(ge=1, le=100)] = Field(default=20, description="How many at most.")
    offset: Annotated[int, Field(ge=0, le=10**9)] = Field(default=0, description="How many to leave out before.")
    state: Literal["candidate", "active", "archived"] | None = Field(
        default=None, description="Seen once; seen more often; seen more often, but not for long."
    )
    containing: Short | None = Field(default=None, description="Only those with this text in a command line.")


class GetPatternRequest(Request):
    """Which pattern."""

    pattern_id: Annotated[str, Field(pattern=PATTERN_ID)] = Field(
        description="The id, or a beginning of it that only one pattern has."
    )


class ForgetRequest(Request):
    """All conditions that are given must hold for a step; at least one is needed."""

    pattern: Short | None = Field(default=None, description="Steps of the sessions that followed this pattern.")
    command: Line | None = Field(default=None, description="Steps with exactly this command line.")
    session: Short | None = Field(default=None, description="Steps of the session with this id.")
    project: Short | None = Field(default=None, description="Steps of this project.")
    before: Annotated[float | Short, Field(description="Steps before this time: seconds, or ISO 8601.")] | None = None
    template: Line | None = Field(default=None, description="Steps with this template.")
    containing: Line | None = Field(default=None, description="Steps whose line holds this text.")
    source: Short | None = Field(default=None, description="Steps of sessions that came from this source.")
    dry_run: bool = Field(default=True, description="Change nothing, tell what would go. False forgets for good.")


class Recalled(BaseModel):
    """An answer that holds recalled text."""

    notice: str = NOTICE


class PredictionModel(BaseModel):
    """One predicted next action."""

    next_command: str
    template: str
    probability: float = Field(description="Calibrated: exactly this line is next.")
    template_probability: float = Field(description="A line of this template is next.")
    confidence: float = Field(description="How well this path has worked before.")
    reason: str
    similar_patterns: list[str]
    auto_suggestions: list[str] = Field(description="What usually follows this command.")
    runnable: bool = Field(description="False while a placeholder is left in it, or where it is an event, no command.")
    destructive: bool = Field(description="True when the line can lose data: ask the user before it is run.")


class PatternModel(PatternFields):
    """A learned workflow."""

    success_rate: float | None = Field(description="Of the sessions with a known outcome; null where there are none.")


class SimilarModel(BaseModel):
    """A pattern that resembles it: ``templates[start:end]`` does."""

    pattern_id: str
    similarity: float
    start: int
    end: int
    pattern: PatternModel


class PredictResponse(Recalled):
    """Most probable first; empty where nothing is known."""

    predictions: list[PredictionModel]


class LearnResponse(BaseModel):
    """The pattern, or why there is none."""

    pattern_id: str | None
    message: str


class SimilarResponse(Recalled):
    """Best first; of each pattern ``templates[start:end]`` matches."""

    patterns: list[SimilarModel]


class ExplainResponse(Recalled):
    """The probability of success with its 95 % interval, and the steps that go together with success and failure.

    Association, not proof of cause.
    """

    probability: float
    low: float
    high: float
    base_rate: float = Field(description="Of all sessions with a known outcome.")
    raises: list[InfluenceModel]
    lowers: list[InfluenceModel]
    sessions: int = Field(description="With a known outcome; 0: nothing is known.")


class ListPatternsResponse(Recalled):
    """One page, most followed first; `total` counts all that were asked for."""

    patterns: list[PatternModel]
    total: int


class GraphResource(Recalled):
    """The workflow graph as node-link data."""

    graph: dict[str, Any]


class GetPatternResponse(Recalled):
    """A learned workflow."""

    pattern: PatternModel
    destructive_commands: list[str] = Field(description="Lines of it that can lose data: ask the user before.")


class ForgetResponse(Recalled):
    """What was forgotten, or would be."""

    dry_run: bool
    steps: int
    sessions: int
    feedback: int
    examples: list[str]
