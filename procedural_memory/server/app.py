"""The application: one engine, its guard and its endpoints, put together."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import platformdirs
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from procedural_memory import __version__
from procedural_memory.engine import ProceduralMemoryEngine, store_path
from procedural_memory.errors import InvalidInputError, InvalidTypeError, ProceduralMemoryError, shown
from procedural_memory.server.backend import Backend, Busy, opener
from procedural_memory.server.events import Feed
from procedural_memory.server.guard import MAX_BODY, Guard, RequestLog, checked_token
from procedural_memory.server.live import LiveSessions
from procedural_memory.server.metrics import Metrics
from procedural_memory.server.page import is_public, page_routes
from procedural_memory.server.refusals import Refused, refusal_of, told
from procedural_memory.server.routes import routes
from procedural_memory.server.snapshots import SnapshotFolders
from procedural_memory.storage.address import is_address
from procedural_memory.types import Durability

__all__ = ["create_app"]

TEST_HOSTS = ("testserver",)


def create_app(
    engine: ProceduralMemoryEngine | None = None,
    *,
    path: str | os.PathLike[str] | None = "default",
    embedder: str = "auto",
    durability: Durability = "full",
    token: str | None = None,
    allowed_hosts: Collection[str] = TEST_HOSTS,
    cors_origins: Collection[str] = (),
    snapshot_dirs: Sequence[str | os.PathLike[str]] | None = None,
    max_body: int = MAX_BODY,
    max_waiting: int = 256,
    shared: Path | None = None,
) -> FastAPI:
    """Return the HTTP service of one engine, to be served or mounted in another application.

    Parameters
    ----------
    engine : ProceduralMemoryEngine, optional
        It belongs to the caller, who closes it. Without one the application opens its own: when it starts, or, where
        it is mounted and never told so, with the first request.
    path, embedder, durability
        As of `ProceduralMemoryEngine`, where there is no engine.
    token : str, optional
        What a request must bring as ``Authorization: Bearer``, but for the pages.
    allowed_hosts : collection of str
        Host names of the service beside addresses and localhost; that of Starlette's test client unless given.
    cors_origins : collection of str
        Pages from elsewhere (``https://app.example``) that may read and write.
    snapshot_dirs : sequence of path, optional
        Folders below which ``/save`` and ``/load`` may work, in place of the data folder and the temporary one.
    max_body : int
        Bytes of a request.
    max_waiting : int
        How many calls may wait or run; the next ones get 503 with ``Retry-After``.
    shared : Path, optional
        A private folder of all workers of one server.

    Raises
    ------
    InvalidInputError
        A value breaks a rule.
    MissingExtraError
        A package of the extra ``server`` is not installed.
    """
    if engine is not None and not isinstance(engine, ProceduralMemoryEngine):
        raise InvalidTypeError(f"engine: must be a ProceduralMemoryEngine or None, not {type(engine).__name__}")
    token = checked_token(token)
    if isinstance(cors_origins, str) or isinstance(allowed_hosts, str):
        raise InvalidTypeError("allowed_hosts, cors_origins: must be lists of strings, not one string")
    cors_origins = [_origin(text) for text in cors_origins]

    backend = Backend(engine, None if engine is not None else opener(path, embedder, durability), max_waiting)
    feed, metrics = Feed(backend), Metrics()
    folders = SnapshotFolders(
        [_data_folder(engine, path), Path(tempfile.gettempdir())]
        if snapshot_dirs is None
        else [Path(folder) for folder in snapshot_dirs]
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        backend.open_soon()
        # Whoever serves the application lets the streams end before it waits for what goes on.
        yield {"end_streams": feed.close}
        feed.close()
        await run_in_threadpool(backend.close)

    app = FastAPI(
        title="Procedural memory",
        version=__version__,
        description="Learns workflows from command sequences and predicts the next step.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if token else [],
        generate_unique_id_function=lambda route: f"{min(route.methods or {'GET'}).lower()}_{route.name}",
    )
    app.state.end_streams = feed.close
    for router in (routes(backend, LiveSessions(shared), folders, feed, metrics), page_routes(backend)):
        for route in router.routes:
            if isinstance(route, APIRoute):  # else the name of the function stands above what it does
                route.summary = route.description.partition(". ")[0].rstrip(".")
        app.include_router(router)
    for kind in (ProceduralMemoryError, Refused, Busy, OSError, Exception):
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_middleware(
        Guard, token=token, hosts=allowed_hosts, origins=cors_origins, open_to_all=is_public, max_body=max_body
    )
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(RequestLog, seen=metrics.seen)
    return app


def _origin(text: str) -> str:
    """Return an origin as browsers send it."""
    found = re.fullmatch(r"(https?://[\w.\[\]:-]+)/?", text)
    if found is None:
        raise InvalidInputError(f"cors_origins: must name pages as https://app.example:8443, got {shown(text)}")
    return found[1].lower()


def _data_folder(engine: ProceduralMemoryEngine | None, path: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the memory; of one that is not kept, the user's data folder."""
    used = engine.stats()["path"] if engine is not None else path
    if used is not None and not is_address(used):
        return store_path(used).parent
    return Path(platformdirs.user_data_dir("omnimemory-procedural", appauthor=False))


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    status, detail, headers = refusal_of(error)
    return JSONResponse({"detail": detail}, status, headers)


async def _refuse_fields(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": told(error.errors())}, 422)
