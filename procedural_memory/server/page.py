"""The pages at ``/``, ``/docs`` and ``/redoc``, what they load, and the workflow graph in every format."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, Response

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import MissingExtraError
from procedural_memory.graphs.formats import export
from procedural_memory.graphs.html import STATIC, d3_file, graph_part
from procedural_memory.server.backend import Backend
from procedural_memory.server.refusals import refusals
from procedural_memory.types import SHOWN_TEMPLATES

__all__ = ["CONTENT_SECURITY_POLICY", "is_public", "page_routes"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The documentation's libraries make their styles as they run; scripts are files here, too."""
_DOCS_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"})
_PUBLIC = frozenset({"/", "/docs", "/redoc", "/openapi.json"})
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NOW = {"Cache-Control": "no-cache"}
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_MEDIA = {
    "json": "application/json",
    "graphml": "application/xml",
    "mermaid": "text/plain; charset=utf-8",
    "dot": "text/vnd.graphviz; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
_MOST = 5_000

GraphFormat = Literal["json", "graphml", "mermaid", "dot", "html", "view"]


def is_public(path: str) -> bool:
    """Return whether nothing of the memory is in what a path gives: pages, and what they load."""
    return path in _PUBLIC or path.startswith(("/static/", "/vendor/"))


def page_routes(backend: Backend) -> APIRouter:
    """Return the routes of the pages, ``/static``, ``/vendor`` and ``/graph``.

    Raises
    ------
    MissingExtraError
        A package that carries a library of the pages is not installed.
    """
    router = APIRouter()
    _vendored()  # say at once what is missing

    async def page() -> HTMLResponse:
        """Return the page."""
        return HTMLResponse(_page("page.html"), headers={**_HEADERS, **_NOW})

    async def docs() -> HTMLResponse:
        """Return the documentation of the endpoints, where they can be tried."""
        return HTMLResponse(_page("docs.html"), headers={**_HEADERS, **_NOW, "Content-Security-Policy": _DOCS_POLICY})

    async def redoc() -> HTMLResponse:
        """Return the documentation of the endpoints for reading."""
        return HTMLResponse(_page("redoc.html"), headers={**_HEADERS, **_NOW, "Content-Security-Policy": _DOCS_POLICY})

    async def static(name: str, v: str | None = None) -> Response:
        """Return a script or style of the page."""
        file = _files().get(name)
        if file is None:
            raise HTTPException(404, "there is no such file")
        return _sent(file, v)

    async def vendor(name: str, v: str | None = None) -> Response:
        """Return a library, from the package that carries it."""
        file = _vendored().get(name)
        if file is None:
            raise HTTPException(404, "there is no such file")
        return _sent(file, v)

    async def graph(
        format: Annotated[GraphFormat, Query(description="json is node-link data as networkx reads it")] = "json",
        limit: Annotated[int | None, Query(ge=1, le=_MOST, description="at most this many templates")] = None,
        search: Annotated[str | None, Query(max_length=1_000, description="templates with these words")] = None,
        around: Annotated[str | None, Query(max_length=100_000, description="a template's neighbourhood")] = None,
    ) -> Response:
        """Return the workflow graph, or the part of it that is asked for, in one of six formats."""
        most = limit or (SHOWN_TEMPLATES if format in ("view", "html") else None)
        return await backend.run(lambda engine: _graph(engine, format, most, search, around))

    hidden: dict[str, Any] = {"methods": ["GET"], "include_in_schema": False}
    router.add_api_route("/", page, response_class=HTMLResponse, **hidden)
    router.add_api_route("/docs", docs, response_class=HTMLResponse, **hidden)
    router.add_api_route("/redoc", redoc, response_class=HTMLResponse, **hidden)
    router.add_api_route("/static/{name}", static, **hidden)
    router.add_api_route("/vendor/{name}", vendor, **hidden)
    kinds: dict[str, Any] = {media.partition(";")[0]: {} for media in _MEDIA.values()}
    described: dict[int | str, dict[str, Any]] = {
        200: {"content": kinds, "description": "In the format that was asked for"},
        **refusals(422),
    }
    router.add_api_route("/graph", graph, response_class=Response, responses=described, tags=["memory"])
    return router


def _graph(
    engine: ProceduralMemoryEngine, format: str, limit: int | None, search: str | None, around: str | None
) -> Response:
    view = engine.graph_view(limit, search, around)
    if format == "view":
        return Response(json.dumps(view.as_dict()), media_type="application/json", headers={**_HEADERS, **_NOW})
    headers = {**_HEADERS, **_NOW}
    if format == "html":
        del headers["Content-Security-Policy"]  # it has its own, with the hashes of its scripts
    return Response(export(view, format).encode("utf-8"), media_type=_MEDIA[format], headers=headers)


@cache
def _files() -> dict[str, Path]:
    """Return what may be asked for by name: nothing that is asked for becomes part of a path."""
    own = Path(__file__).parent / "static"
    return {file.name: file for folder in (STATIC, own) for file in folder.iterdir() if file.suffix in _TYPES}


@cache
def _vendored() -> dict[str, Path]:
    """Return the libraries by name, in the packages that carry them; these are read, never imported."""
    spec = importlib.util.find_spec("fastapi_offline")
    folders = (spec.submodule_search_locations or []) if spec else []
    found = {file.name: file for folder in folders for file in Path(folder, "static").glob("*")}
    if not found.keys() >= _DOCS_FILES:
        raise MissingExtraError("fastapi-offline, which carries the pages of the documentation,", "server")
    return {"d3.js": d3_file()} | {name: found[name] for name in _DOCS_FILES}


@cache
def _page(name: str) -> str:
    text = (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")
    version = _digest(b"".join(file.read_bytes() for _, file in sorted(_files().items())))
    vendor = _digest(b"".join(file.read_bytes() for _, file in sorted(_vendored().items())))
    return text.replace("VERSION", version).replace("VENDOR", vendor).replace("<!-- graph -->", graph_part())


def _sent(file: Path, version: str | None) -> Response:
    # Only an address that names the content may be kept for good.
    lasting = _FOREVER if version else _NOW
    return Response(file.read_bytes(), media_type=_TYPES[file.suffix], headers={**_HEADERS, **lasting})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
