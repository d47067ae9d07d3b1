"""What each tool does with an engine. The engine has the rules; here are only names, words and shapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from mcp.types import ToolAnnotations
from pydantic import BaseModel

from procedural_memory.commands.danger import is_destructive
from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import InvalidInputError, shown
from procedural_memory.mcp_server import models as wire
from procedural_memory.server.models import InfluenceModel
from procedural_memory.types import WorkflowPattern

__all__ = ["TOOLS", "Tool", "pattern_page", "pattern_with_id", "usual_workflows"]


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes
    ----------
    title, description : str
        What clients and agents are told.
    request, response : type
        Its arguments and its answer.
    work : callable
        Makes the answer of an engine and the arguments.
    annotations : ToolAnnotations
    """

    title: str
    description: str
    request: type[wire.Request]
    response: type[BaseModel]
    work: Callable[[ProceduralMemoryEngine, Any], BaseModel]
    annotations: ToolAnnotations


def _predict(engine: ProceduralMemoryEngine, asked: wire.PredictRequest) -> wire.PredictResponse:
    found = engine.predict_next_action(
        _commands(asked.commands),
        asked.top_k,
        level=asked.level,
        min_probability=asked.min_probability,
        cwd=asked.cwd,
    )
    fields = wire.PredictionModel.model_fields
    predictions = [wire.PredictionModel(**{name: getattr(one, name) for name in fields}) for one in found]
    return wire.PredictResponse(predictions=predictions)


def _learn(engine: ProceduralMemoryEngine, asked: wire.LearnRequest) -> wire.LearnResponse:
    commands = [
        {"actor": "agent", **(command if isinstance(command, dict) else {"command": command})}
        for command in _commands(asked.commands)
    ]
    pattern_id = engine.learn_workflow(commands, asked.outcome, asked.session_id, asked.source)
    if pattern_id is not None:
        return wire.LearnResponse(pattern_id=pattern_id, message="learned")
    least = engine.stats()["min_commands"]
    return wire.LearnResponse(
        pattern_id=None,
        message=f"nothing was learned: a workflow has at least {least} commands, those that are kept out not counted",
    )


def _similar(engine: ProceduralMemoryEngine, asked: wire.SimilarRequest) -> wire.SimilarResponse:
    found = engine.similar_patterns(_commands(asked.commands), asked.k, asked.threshold)
    return wire.SimilarResponse(
        patterns=[
            wire.SimilarModel(
                pattern_id=one.pattern_id,
                similarity=one.similarity,
                start=one.start,
                end=one.end,
                pattern=_pattern(one.pattern),
            )
            for one in found
        ]
    )


def _explain(engine: ProceduralMemoryEngine, asked: wire.ExplainRequest) -> wire.ExplainResponse:
    commands = _commands(asked.commands)
    told, foreseen = engine.explain_outcome(commands, asked.limit), engine.predict_outcome(commands, asked.limit)
    return wire.ExplainResponse(
        probability=foreseen.probability,
        low=foreseen.low,
        high=foreseen.high,
        base_rate=told.base_rate,
        raises=[InfluenceModel(**asdict(step)) for step in told.raises],
        lowers=[InfluenceModel(**asdict(step)) for step in told.lowers],
        sessions=told.sessions,
    )


def pattern_page(engine: ProceduralMemoryEngine, asked: wire.ListPatternsRequest) -> wire.ListPatternsResponse:
    """Return a page of the patterns, most followed first."""
    found, total = engine.patterns.page(asked.limit, asked.offset, state=asked.state, containing=asked.containing)
    return wire.ListPatternsResponse(patterns=[_pattern(pattern) for pattern in found], total=total)


def pattern_with_id(engine: ProceduralMemoryEngine, pattern_id: str) -> wire.GetPatternResponse:
    """Return the pattern whose id is this, or begins with it.

    Raises
    ------
    InvalidInputError
        There is none, or more than one.
    """
    known = engine.patterns.get(pattern_id)
    if known is None:
        same = [one for one in engine.patterns if one.startswith(pattern_id)]
        if len(same) != 1:
            raise InvalidInputError(
                f"pattern_id: must be the id of one pattern, or its beginning; {len(same) or 'no'} ids begin with "
                f"{shown(pattern_id)}; list_patterns has them"
            )
        known = engine.patterns[same[0]]
    risky = [line for line in dict.fromkeys(known.command_sequence) if is_destructive(line)]
    return wire.GetPatternResponse(pattern=_pattern(known), destructive_commands=risky)


def _get_pattern(engine: ProceduralMemoryEngine, asked: wire.GetPatternRequest) -> wire.GetPatternResponse:
    return pattern_with_id(engine, asked.pattern_id)


def _forget(engine: ProceduralMemoryEngine, asked: wire.ForgetRequest) -> wire.ForgetResponse:
    gone = engine.forget(**asked.model_dump(exclude_none=True))
    return wire.ForgetResponse(dry_run=asked.dry_run, **{**asdict(gone), "examples": list(gone.examples)})


_WORD: Final = re.compile(r"[A-Za-z0-9][\w.-]*[A-Za-z0-9]")
_MOST_WORDS: Final = 16
_EACH_WORD: Final = 50
_IDLE: Final = frozenset(
    ("a", "an", "and", "for", "in", "my", "of", "on", "our", "run", "the", "this", "to", "usual", "with")
)


def usual_workflows(engine: ProceduralMemoryEngine, task: str, limit: int = 3) -> list[wire.PatternModel]:
    """Return the workflows that a task most probably means, best first.

    Those whose lines hold most of its words, the more often followed and the better ended first; where none holds any,
    those that resemble it as if it was a command.
    """
    words = sorted({word for word in _WORD.findall(task) if word.lower() not in _IDLE})[:_MOST_WORDS]
    hits: Counter[str] = Counter()
    known: dict[str, WorkflowPattern] = {}
    for word in words:
        pages = [engine.patterns.page(_EACH_WORD, containing=form)[0] for form in {word, word.lower()}]
        with_it = {pattern.pattern_id: pattern for page in pages for pattern in page}
        known |= with_it
        hits.update(with_it.keys())
    if hits:
        best = max(hits.values())
        found = [known[pattern_id] for pattern_id, count in hits.items() if count == best]
        found.sort(key=lambda pattern: (-_followed(pattern) * pattern.confidence, pattern.pattern_id))
    else:
        found = [one.pattern for one in engine.similar_patterns([task], limit)]
    return [_pattern(pattern) for pattern in found[:limit]]


def _followed(pattern: WorkflowPattern) -> int:
    return pattern.success_count + pattern.failure_count + pattern.unknown_count


def _pattern(pattern: WorkflowPattern) -> wire.PatternModel:
    fields = {name: getattr(pattern, name) for name in wire.PatternModel.model_fields}
    if not pattern.success_count + pattern.failure_count:
        fields["success_rate"] = None
    return wire.PatternModel.model_validate(
        {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
    )


def _commands(steps: list[Any]) -> list[str | dict[str, Any]]:
    return [step if isinstance(step, str) else step.model_dump(exclude_none=True) for step in steps]


_READS: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

TOOLS: Final = {
    "predict_next_action": Tool(
        "Predict the next command",
        "Predict which command comes next after the commands of a session so far, with a calibrated probability, how "
        "well that path has worked before, and why. Learned from the command history of this user.",
        wire.PredictRequest,
        wire.PredictResponse,
        _predict,
        _READS,
    ),
    "learn_workflow": Tool(
        "Learn a finished workflow",
        "Remember a finished sequence of commands and how it ended. Say 'success' or 'failure' only where that is "
        "known. Secrets in it are redacted before it is stored.",
        wire.LearnRequest,
        wire.LearnResponse,
        _learn,
        ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False),
    ),
    "similar_workflows": Tool(
        "Find similar workflows",
        "Find learned workflows that resemble a sequence of commands, in order, with how often they ended well.",
        wire.SimilarRequest,
        wire.SimilarResponse,
        _similar,
        _READS,
    ),
    "explain_outcome": Tool(
        "Explain how a session will probably end",
        "Tell how probable it is that a session with these commands ends well, and which of its steps go together "
        "with success or failure. Association, not proof of cause.",
        wire.ExplainRequest,
        wire.ExplainResponse,
        _explain,
        _READS,
    ),
    "list_patterns": Tool(
        "List learned workflows",
        "List the learned workflows, most followed first.",
        wire.ListPatternsRequest,
        wire.ListPatternsResponse,
        pattern_page,
        _READS,
    ),
    "get_pattern": Tool(
        "Get a learned workflow",
        "Get one learned workflow by its id: its commands, templates and outcomes.",
        wire.GetPatternRequest,
        wire.GetPatternResponse,
        _get_pattern,
        _READS,
    ),
    "forget": Tool(
        "Forget steps for good",
        "Forget the steps that meet all conditions given, as if they had never been learned. It cannot be undone. "
        "By default it is a dry run: show the user what would go, and call again with dry_run false only where the "
        "user agreed.",
        wire.ForgetRequest,
        wire.ForgetResponse,
        _forget,
        ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False),
    ),
}
"""The tools by name."""
