"""The endpoints: each hands its fields to the engine and its answer back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse

from procedural_memory import __version__
from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import ClosedError, ProceduralMemoryError
from procedural_memory.privacy import DISABLE, is_disabled
from procedural_memory.server import models
from procedural_memory.server.backend import Backend, Busy
from procedural_memory.server.events import Feed
from procedural_memory.server.live import LiveSessions
from procedural_memory.server.metrics import CONTENT_TYPE_LATEST, Metrics
from procedural_memory.server.models import CommandModel
from procedural_memory.server.refusals import Refused, refusals
from procedural_memory.server.snapshots import SnapshotFolders
from procedural_memory.session import Session
from procedural_memory.types import WorkflowPattern

__all__ = ["routes"]

T = TypeVar("T")

_MOST_PATTERNS = 1_000
_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?(?:[/\\][\w.@+ -]+){2,}")
_SessionId = Annotated[str, Path(max_length=4_096)]


def routes(  # a list of endpoints
    backend: Backend, live: LiveSessions, folders: SnapshotFolders, feed: Feed, metrics: Metrics
) -> APIRouter:
    """Return the endpoints of the service."""
    router = APIRouter()
    write = refusals(403, 413, 422)

    async def answer(work: Callable[[ProceduralMemoryEngine], Any], status: int = 200) -> Response:
        """Ask the engine, and write the answer in the thread that has it."""
        content = await backend.run(lambda engine: json.dumps(work(engine), default=_plain).encode("ascii"))
        return Response(content, status, media_type="application/json")

    def in_session(engine: ProceduralMemoryEngine, session_id: str, work: Callable[[Session], T]) -> T:
        session = live.get(engine, session_id)
        try:
            return work(session)
        except ClosedError:
            engine.stats()  # raises where it is the engine that is closed
            raise live.gone(session_id) from None

    async def with_session(session_id: str, work: Callable[[Session], Any]) -> Response:
        return await answer(lambda engine: in_session(engine, session_id, work))

    @router.post("/learn", response_model=models.LearnResponse, responses={**write, **refusals(409)}, tags=["learn"])
    async def learn(body: models.LearnRequest) -> Response:
        """Learn a finished session. Nothing is learned of one with fewer than 3 commands."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            source = body.source or body.tool_id
            outcome = body.outcome or body.session_outcome
            found = engine.learn_workflow(_commands(body.session_commands), outcome, body.session_id, source)
            return _learned(engine, found, len(body.session_commands))

        return await answer(work)

    @router.post("/predict", response_model=models.PredictResponse, responses=write, tags=["predict"])
    async def predict(body: models.PredictRequest) -> Response:
        """Predict what comes next, most probable first."""
        asked = _asked(body)
        context = _commands(body.current_context)
        return await answer(lambda e: _predictions(e.predict_next_action(context, body.top_k, **asked)))

    @router.post("/similar", response_model=models.SimilarResponse, responses=write, tags=["predict"])
    async def similar(body: models.SimilarRequest) -> Response:
        """Find the patterns that resemble a sequence of commands, in order."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            found = engine.similar_patterns(_commands(body.commands), body.k, body.threshold)
            return {
                "patterns": [
                    {
                        "pattern_id": one.pattern_id,
                        "similarity": one.similarity,
                        "start": one.start,
                        "end": one.end,
                        "pattern": _pattern(one.pattern),
                    }
                    for one in found
                ]
            }

        return await answer(work)

    @router.post("/outcome", response_model=models.OutcomeResponse, responses=write, tags=["predict"])
    async def outcome(body: models.OutcomeRequest) -> Response:
        """Predict how a session will end, and say what speaks for and against it."""
        return await answer(lambda e: asdict(e.predict_outcome(_commands(body.current_context), body.limit)))

    @router.post("/feedback", response_model=models.Message, responses=write, tags=["learn"])
    async def feedback(body: models.FeedbackRequest) -> Response:
        """Tell what became of a prediction that was shown."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            engine.feedback(_commands(body.current_context), body.prediction, body.verdict)
            return _done(f"taken: {body.verdict}")

        return await answer(work)

    # -- live sessions

    @router.post(
        "/sessions", status_code=201, response_model=models.SessionResponse, responses={**write, **refusals(409)},
        tags=["sessions"],
    )  # fmt: skip
    async def start(body: models.SessionRequest) -> Response:
        """Begin a live session; its steps are learned as they are recorded."""
        given = body.model_dump(exclude_none=True)
        return await answer(lambda e: {"session_id": live.start(e, given).session_id}, 201)

    of_session: dict[str, Any] = {"responses": {**write, **refusals(404, 409)}, "tags": ["sessions"]}

    @router.post("/sessions/{session_id}/commands", response_model=models.RecordResponse, **of_session)
    async def record(session_id: _SessionId, body: models.StepRequest) -> Response:
        """Record the next step. It is durable when this answers."""
        step = _command(body)
        return await with_session(
            session_id, lambda session: {"recorded": asdict(session.record(step, output=body.output))}
        )

    @router.post("/sessions/{session_id}/predict", response_model=models.PredictResponse, **of_session)
    async def predict_in(session_id: _SessionId, body: models.SessionPredictRequest) -> Response:
        """Predict the next step of a live session."""
        asked = _asked(body)
        return await with_session(session_id, lambda session: _predictions(session.predict(body.top_k, **asked)))

    @router.post("/sessions/{session_id}/outcome", response_model=models.OutcomeResponse, **of_session)
    async def outcome_in(session_id: _SessionId) -> Response:
        """Predict how a live session will end."""
        return await with_session(session_id, lambda session: asdict(session.predict_outcome()))

    @router.post("/sessions/{session_id}/feedback", response_model=models.Message, **of_session)
    async def feedback_in(session_id: _SessionId, body: models.SessionFeedbackRequest) -> Response:
        """Tell what became of a prediction that was shown after the steps so far."""

        def work(session: Session) -> Any:
            session.feedback(body.prediction, body.verdict)
            return _done(f"taken: {body.verdict}")

        return await with_session(session_id, work)

    @router.post("/sessions/{session_id}/close", response_model=models.LearnResponse, **of_session)
    async def close(session_id: _SessionId, body: models.CloseRequest) -> Response:
        """Close a live session: its outcome is credited, its pattern formed."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            pattern_id = in_session(engine, session_id, lambda session: session.close(body.outcome))
            live.drop(session_id)
            return _learned(engine, pattern_id, None)

        return await answer(work)

    # -- what is remembered

    @router.get("/patterns", response_model=models.PatternsResponse, responses=refusals(422), tags=["memory"])
    async def patterns(
        limit: Annotated[int, Query(ge=1, le=_MOST_PATTERNS)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
        containing: Annotated[str | None, Query(max_length=1_000, description="in a command line")] = None,
        state: Literal["candidate", "active", "archived"] | None = None,
        min_confidence: Annotated[float, Query(ge=0, le=1)] = 0.0,
        min_support: Annotated[int, Query(ge=0, le=2**53, description="sessions that followed it")] = 0,
    ) -> Response:
        """List the patterns, most followed first."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            found, total = engine.patterns.page(
                limit,
                offset,
                state=state,
                containing=containing,
                min_confidence=min_confidence,
                min_support=min_support,
            )
            return {"patterns": [_pattern(one) for one in found], "total": total}

        return await answer(work)

    @router.get(
        "/patterns/{pattern_id}", response_model=models.PatternModel, responses=refusals(404, 422), tags=["memory"]
    )
    async def pattern(pattern_id: Annotated[str, Path(max_length=200)]) -> Response:
        """Return one pattern."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            found = engine.patterns.get(pattern_id)
            if found is None:
                raise Refused(404, f"pattern_id: there is no pattern {pattern_id!r}")
            return _pattern(found)

        return await answer(work)

    @router.get("/stats", response_model=models.StatsResponse, responses=refusals(), tags=["memory"])
    async def stats() -> Response:
        """Return sizes, outcome totals and the embedder."""
        return await answer(_stats)

    @router.post("/forget", response_model=models.ForgetResponse, responses=write, tags=["memory"])
    async def forget(body: models.ForgetRequest) -> Response:
        """Forget steps, as if they had never been learned: those that meet all conditions given."""
        asked = body.model_dump(exclude_none=True)
        return await answer(lambda e: {"dry_run": body.dry_run, **asdict(e.forget(**asked))})

    @router.post("/save", response_model=models.Message, responses={**write, **refusals(404)}, tags=["memory"])
    async def save(body: models.SaveRequest) -> Response:
        """Write the memory to a file, below the folders for snapshots."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            if is_disabled():
                raise Refused(403, f"save: {DISABLE} turns everything off, and nothing was written")
            folders.save(engine, body.filepath)
            return _done(f"saved to {body.filepath}")

        return await answer(work)

    @router.post("/load", response_model=models.Message, responses={**write, **refusals(404, 409)}, tags=["memory"])
    async def load(body: models.LoadRequest) -> Response:
        """Take over a file that /save wrote, or a pickle of the older engine; nothing in it is run."""

        def work(engine: ProceduralMemoryEngine) -> Any:
            found = folders.load(engine, body.filepath, body.mode or "replace")
            backup = f"; what was there before is in {found.backup.name}, beside the memory" if found.backup else ""
            return _done(f"{found.sessions} sessions were taken over from {body.filepath}{backup}")

        return await answer(work)

    # -- the service itself

    @router.get(
        "/health", response_model=models.HealthResponse, tags=["service"],
        responses={**refusals(401), 503: {"model": models.HealthResponse, "description": "Why it is not well"}},
    )  # fmt: skip
    async def health() -> JSONResponse:
        """Tell whether the service can answer. It does not wait for calls that go on."""
        status, reason = await backend.health()
        content = {
            "status": status,
            "service": "procedural-memory",
            "version": __version__,
            "engine_initialized": backend.is_open,
            "reason": reason,
        }
        return JSONResponse(content, 200 if status == "healthy" else 503)

    @router.get(
        "/metrics", response_class=Response, tags=["service"],
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}, **refusals(401)},
    )  # fmt: skip
    async def figures() -> Response:
        """Return figures for Prometheus."""
        try:
            sizes = await backend.sizes()
        except ProceduralMemoryError:
            sizes = None
        return Response(metrics.text(sizes, backend.calls), media_type=CONTENT_TYPE_LATEST)

    @router.get(
        "/events", response_class=StreamingResponse, tags=["service"],
        responses={200: {"content": {"text/event-stream": {}}, "description": "An endless stream"}, **refusals(422)},
    )  # fmt: skip
    async def events(
        last_event_id: Annotated[str | None, Header(max_length=20, description="where an earlier stream ended")] = None,
    ) -> StreamingResponse:
        """Tell of what is learned from now on, or from an earlier event on, as server-sent events."""
        if feed.is_full:
            raise Busy
        place = int(last_event_id) if last_event_id and re.fullmatch(r"[0-9]{1,18}", last_event_id) else None
        return StreamingResponse(feed.events(place), media_type="text/event-stream")

    return router


def _command(command: CommandModel) -> dict[str, Any]:
    return command.model_dump(exclude_none=True, exclude={"context", "output"})


def _commands(commands: list[CommandModel | str]) -> list[str | dict[str, Any]]:
    return [command if isinstance(command, str) else _command(command) for command in commands]


def _learned(engine: ProceduralMemoryEngine, pattern_id: str | None, given: int | None) -> dict[str, Any]:
    if pattern_id is not None:
        return {"pattern_id": pattern_id, "message": "learned"}
    least = engine.stats()["min_commands"]
    if is_disabled():
        message = f"nothing was learned: {DISABLE} turns everything off"
    elif given is None:
        message = f"no pattern was formed: the session has fewer than {least} commands; its steps are kept"
    else:
        why = f"has {given}" if given < least else "has fewer after what is kept out"
        message = f"nothing was learned: a session needs at least {least} commands, this one {why}"
    return {"pattern_id": None, "message": message}


def _asked(body: models.SessionPredictRequest) -> dict[str, Any]:
    return {"level": body.level, "min_probability": body.min_probability, "cwd": body.cwd}


def _plain(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass: `dataclasses.asdict` would copy all that is in them first."""
    return {field.name: getattr(value, field.name) for field in fields(value)} if is_dataclass(value) else dict(value)


def _predictions(found: list[Any]) -> dict[str, Any]:
    return {"predictions": found}


def _pattern(pattern: WorkflowPattern) -> dict[str, Any]:
    return {**asdict(pattern), "command_count": pattern.command_count, "success_rate": pattern.success_rate}


def _stats(engine: ProceduralMemoryEngine) -> dict[str, Any]:
    found = engine.stats()
    durable = found.pop("path") is not None
    embedder = {
        name: _PATH.sub("<PATH>", value) if isinstance(value, str) else value
        for name, value in found.pop("embedder").items()
    }
    return {**found, "durable": durable, "embedder": embedder}


def _done(message: str) -> dict[str, Any]:
    return {"message": message, "success": True}
