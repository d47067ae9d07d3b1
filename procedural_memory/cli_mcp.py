"""The command line of the MCP server."""

from __future__ import annotations

from typing import TextIO

import click

from procedural_memory.cli_options import path_option, token_given, token_options
from procedural_memory.mcp_server import serve_http, serve_stdio

__all__ = ["mcp"]


@click.command()
@click.option("--http", is_flag=True, help="Streamable HTTP at /mcp, instead of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; one seen from elsewhere needs a token.")
@click.option("--port", default=8003, show_default=True, type=click.IntRange(1, 65_535))
@token_options
@click.option("--allowed-host", "allowed_hosts", multiple=True, help="A name under which the service is known.")
@path_option
@click.option("--embedder", default="auto", show_default=True, help="As of the other commands.")
def mcp(
    http: bool,
    host: str,
    port: int,
    token: str | None,
    token_file: TextIO | None,
    allowed_hosts: tuple[str, ...],
    path: str,
    embedder: str,
) -> None:
    """Serve the memory to agents by the Model Context Protocol, over standard input and output."""
    from procedural_memory.server.backend import Backend, opener

    backend = Backend(None, opener(path, embedder))
    if http:
        secret = token_given(token, token_file)
        serve_http(
            backend,
            host=host,
            port=port,
            token=secret,
            allowed_hosts=allowed_hosts,
            started=lambda address: click.echo(f"Procedural memory: MCP at {address}", err=True),
        )
    else:
        serve_stdio(backend)
        if backend.failure is not None:  # what it is was told when it was opened
            click.get_current_context().exit(1)
