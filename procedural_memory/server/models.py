"""What goes over the wire: the fields of requests and answers, as the OpenAPI document shows them.

Types are strict, so that ``"3"`` is no number. Unknown fields of a request are ignored, as clients of the older service
expect, but not those of `ForgetRequest`: there a slip of the keyboard would forget more than was meant.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from procedural_memory.storage.snapshot import SUFFIXES

__all__ = [
    "MAX_COMMANDS",
    "MAX_CONTEXT",
    "PATH_PART",
    "PATTERN_ID",
    "SNAPSHOT_NAME",
    "VISIBLE",
    "CloseRequest",
    "FeedbackRequest",
    "ForgetRequest",
    "ForgetResponse",
    "HealthResponse",
    "LearnRequest",
    "LearnResponse",
    "LoadRequest",
    "Message",
    "OutcomeRequest",
    "OutcomeResponse",
    "PatternFields",
    "PatternModel",
    "PatternsResponse",
    "PredictRequest",
    "PredictResponse",
    "RecordResponse",
    "Refusal",
    "SaveRequest",
    "SessionFeedbackRequest",
    "SessionPredictRequest",
    "SessionRequest",
    "SessionResponse",
    "SimilarRequest",
    "SimilarResponse",
    "StatsResponse",
    "StepRequest",
]

MAX_COMMANDS = 10_000
MAX_CONTEXT = 1_000
_LONGEST = 65_536
_OUTPUT = 1_048_576

# Something that can be seen, and no NUL.
VISIBLE = r"^[^\x00]*[^\x00-\x20\x7f-\xa0\s][^\x00]*$"
SNAPSHOT_NAME = rf"^[^\x00]*[^\x00/]({'|'.join(re.escape(suffix) for suffix in SUFFIXES)})$"
PATTERN_ID = r"^[0-9A-Za-z_-]{8,128}$"
PATH_PART = r"^[^\x00/]*[^\x00-\x20/\x7f-\xa0\s][^\x00/]*$"


def _whole(value: Any) -> Any:
    """Return 3 for 3.0: to JSON they are the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)
Line = Annotated[str, Field(max_length=_LONGEST, pattern=VISIBLE)]
Short = Annotated[str, Field(max_length=4_096, pattern=VISIBLE)]
Outcome = Literal["success", "failure"]
Level = Literal["command", "template"]
Verdict = Literal["accepted", "rejected", "ignored"]
Seconds = Annotated[float, Field(ge=0, le=1e11)]
Iso = Annotated[str, Field(max_length=64, pattern=VISIBLE, json_schema_extra={"format": "date-time"})]
Time = Annotated[Seconds | Iso, Field(description="Start: seconds since the epoch, or ISO 8601")]
Actor = Literal["human", "agent", "tool"]
SessionId = Annotated[str, Field(max_length=4_096, pattern=PATH_PART)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True)


def _with_example(**fields: Any) -> ConfigDict:
    """Return a configuration with what the documentation shows and tries."""
    return ConfigDict(strict=True, json_schema_extra={"examples": [fields]})


class CommandModel(_Request):
    """One step of a session."""

    command: Line
    exit_code: Annotated[int, Field(gt=-(2**53), lt=2**53), _WHOLE] | None = None
    cwd: Short | None = None
    timestamp: Time | None = None
    duration_ms: Annotated[float, Field(ge=0, le=1e12)] | None = None
    project: Short | None = None
    source: Short | None = None
    actor: Actor | None = None
    host: Short | None = None
    branch: Short | None = None
    context: Any = Field(None, description="taken and not used, as older clients send it")


class StepRequest(CommandModel):
    """The next step of a live session."""

    model_config = _with_example(command="npm test", exit_code=1, output="FAIL src/cart.test.js")

    output: Annotated[str, Field(max_length=_OUTPUT)] | None = Field(
        None, description="lends words to this session's predictions and is never stored"
    )


def _kind(item: Any) -> str:
    return "<line>" if isinstance(item, str) else "<step>"


# Told apart first, so that an error is about what was meant.
AnyCommand = Annotated[Annotated[CommandModel, Tag("<step>")] | Annotated[Line, Tag("<line>")], Discriminator(_kind)]


class LearnRequest(_Request):
    """A finished session."""

    model_config = _with_example(
        session_commands=[{"command": line} for line in ("git add .", "git commit -m wip", "git push")],
        session_outcome="success",
        tool_id="bash",
    )

    session_commands: Annotated[list[AnyCommand], Field(max_length=MAX_COMMANDS)]
    session_outcome: Outcome | None = Field("success", description="null: unknown; success unless told otherwise")
    outcome: Outcome | None = Field(None, description="the same as session_outcome, which it overrules")
    session_id: Short | None = None
    tool_id: Short | None = Field(None, description="who told of the session: its source")
    source: Short | None = Field(None, description="the same as tool_id")


class LearnResponse(BaseModel):
    """The pattern, or why there is none."""

    pattern_id: str | None
    message: str


Context = Annotated[list[AnyCommand], Field(max_length=MAX_CONTEXT)]


class SessionPredictRequest(_Request):
    """How many predictions, and of what kind."""

    top_k: Annotated[int, Field(ge=1, le=10), _WHOLE] = 3
    level: Level = "command"
    min_probability: Share = 0.0
    cwd: Short | None = None


class PredictRequest(SessionPredictRequest):
    """The commands so far, newest last."""

    model_config = _with_example(current_context=["git add ."], top_k=3)

    current_context: Context = []


class EvidenceModel(BaseModel):
    """What one expert contributed."""

    expert: str
    probability: float
    weight: float
    context: list[str]
    details: dict[str, Any]


class PredictionModel(BaseModel):
    """One predicted next action; the numbers are explained at `procedural_memory.Prediction`."""

    next_command: str
    template: str
    probability: float
    template_probability: float
    confidence: float
    reason: str
    similar_patterns: list[str]
    auto_suggestions: list[str]
    evidence: list[EvidenceModel]
    runnable: bool
    destructive: bool


class PredictResponse(BaseModel):
    """Most probable first."""

    predictions: list[PredictionModel]


class PatternFields(BaseModel):
    """What is told of a learned workflow."""

    pattern_id: str
    command_count: int
    command_sequence: list[str]
    templates: list[str]
    success_count: int
    failure_count: int
    unknown_count: int
    confidence: float
    avg_duration_ms: float | None
    last_seen: float
    support: float
    state: Literal["candidate", "active", "archived"]


class PatternModel(PatternFields):
    """A learned workflow."""

    success_rate: float


class PatternsResponse(BaseModel):
    """One page of the patterns, most followed first; `total` counts all that meet the filters."""

    patterns: list[PatternModel]
    total: int


class SimilarRequest(_Request):
    """A sequence of commands."""

    model_config = _with_example(commands=["git add .", "git push"], k=3)

    commands: Context
    k: Annotated[int, Field(ge=1, le=100), _WHOLE] = 5
    threshold: Share | None = None


class SimilarModel(BaseModel):
    """A pattern that resembles it: ``templates[start:end]`` does."""

    pattern_id: str
    similarity: float
    start: int
    end: int
    pattern: PatternModel


class SimilarResponse(BaseModel):
    """Best first."""

    patterns: list[SimilarModel]


class OutcomeRequest(_Request):
    """The commands of a session so far."""

    model_config = _with_example(current_context=[{"command": "npm test", "exit_code": 1}])

    current_context: Context = []
    limit: Annotated[int, Field(ge=1, le=100), _WHOLE] = 5


class InfluenceModel(BaseModel):
    """How one step goes together with the outcome: association, not proof of cause."""

    step: str
    successes: int
    failures: int
    log_odds: float
    low: float
    high: float


class OutcomeResponse(BaseModel):
    """The probability of success with its 95 % interval, and the steps that go with success and failure."""

    probability: float
    low: float
    high: float
    speaks_for: list[InfluenceModel]
    speaks_against: list[InfluenceModel]
    sessions: int


class FeedbackRequest(_Request):
    """What became of a prediction that was shown."""

    model_config = _with_example(current_context=["git add ."], prediction="git push", verdict="accepted")

    current_context: Context = []
    prediction: Line
    verdict: Verdict


class SessionFeedbackRequest(_Request):
    """What became of a prediction that was shown in a live session."""

    model_config = _with_example(prediction="git push", verdict="accepted")

    prediction: Line
    verdict: Verdict


class SessionRequest(_Request):
    """What holds for every step of a live session that does not say otherwise."""

    model_config = _with_example(cwd="/src/shop", actor="agent")

    session_id: SessionId | None = None
    cwd: Short | None = None
    project: Short | None = None
    source: Short | None = None
    actor: Actor | None = None
    host: Short | None = None
    branch: Short | None = None


class SessionResponse(BaseModel):
    """The name under which the session goes on."""

    session_id: str


class RecordResponse(BaseModel):
    """The step as it was stored: redacted, with its project."""

    recorded: dict[str, Any]


class CloseRequest(_Request):
    """How the session ended; null where nobody knows."""

    outcome: Outcome | None = None


def _one_is_needed(schema: dict[str, Any]) -> None:
    names = [name for name in schema["properties"] if name != "dry_run"]
    schema["anyOf"] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]


class ForgetRequest(_Request):
    """Conditions: all that are given must hold for a step; at least one is needed."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra=_one_is_needed)

    pattern: Short | None = None
    command: Line | None = None
    session: Short | None = None
    project: Short | None = None
    before: Time | None = None
    template: Line | None = None
    containing: Line | None = None
    source: Short | None = None
    dry_run: bool = False


class ForgetResponse(BaseModel):
    """What was forgotten, or would be."""

    dry_run: bool
    steps: int
    sessions: int
    feedback: int
    examples: list[str]


class SaveRequest(_Request):
    """Where to; the suffix names the format: .pkl, .json, .jsonl or .sqlite."""

    model_config = _with_example(filepath="/tmp/memory.json")

    filepath: Annotated[str, Field(max_length=4_096, pattern=SNAPSHOT_NAME)]


class LoadRequest(SaveRequest):
    """Where from; without a mode what was learned is replaced, and of a durable memory a backup is kept."""

    mode: Literal["replace", "merge"] | None = None


class Message(BaseModel):
    """What was done."""

    message: str
    success: bool


class HealthResponse(BaseModel):
    """Whether the service can answer, and if not fully, why."""

    status: Literal["healthy", "degraded", "loading", "unavailable"]
    service: Literal["procedural-memory"]
    version: str
    engine_initialized: bool
    reason: str | None


class StatsResponse(BaseModel):
    """Sizes and outcome totals."""

    model_config = ConfigDict(extra="allow")

    pattern_count: int
    graph_node_count: int
    graph_edge_count: int
    causal_chain_count: int
    total_successes: int
    total_failures: int
    session_count: int
    command_count: int
    waiting_steps: int
    unreadable_steps: int
    durable: bool


class Refusal(BaseModel):
    """Why a request was refused: the thing, the rule and what to do."""

    detail: str
