"""The MCP server: what an agent may ask of one engine, over stdio or streamable HTTP. Extra ``mcp``.

`models` says what goes over the wire, `tools` what each tool does, `recalled` how recalled text is marked as data,
`server` puts them behind the protocol, `transports` in front of a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procedural_memory.errors import MissingExtraError

if TYPE_CHECKING:
    from mcp.server import Server

    from procedural_memory.server.backend import Backend

__all__ = ["create_server", "serve_http", "serve_stdio"]


def create_server(backend: Backend) -> Server[Any]:
    """Return the server; see `procedural_memory.mcp_server.server.create_server`.

    Raises
    ------
    MissingExtraError
        The extra ``mcp`` is not installed.
    """
    _require()
    from procedural_memory.mcp_server.server import create_server as create

    return create(backend)


def serve_stdio(backend: Backend) -> None:
    """Serve until the input ends; see `procedural_memory.mcp_server.transports.serve_stdio`."""
    _require()
    from procedural_memory.mcp_server.transports import serve_stdio as serve

    serve(backend)


def serve_http(backend: Backend, **options: Any) -> None:
    """Serve until stopped; see `procedural_memory.mcp_server.transports.serve_http`."""
    _require()
    from procedural_memory.mcp_server.transports import serve_http as serve

    serve(backend, **options)


def _require() -> None:
    try:
        import mcp.server.lowlevel
    except ImportError as error:
        raise MissingExtraError("The MCP server (mcp)", "mcp") from error
    if not hasattr(mcp.server.lowlevel.Server, "streamable_http_app"):  # an SDK of the first major version
        raise MissingExtraError("The MCP server (mcp, version 2 or newer)", "mcp")
