"""The command line of the MCP server."""

from __future__ import annotations

from typing import TextIO

import click

from procedural_memory.mcp_server import serve_http, serve_stdio

__all__ = ["mcp"]


@click.command()
@click.option("--http", is_flag=True, help="Streamable HTTP at /mcp, instead of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; one seen from elsewhere needs a token.")
@click.option("--port", default=8003, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--token", envvar="PROCEDURAL_MEMORY_TOKEN", help="What requests must bring as 'Authorization: Bearer'.")
@click.option("--token-file", type=click.File(), help="Read the token from a file: others see a command line.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, help="A name under which the service is known.")
@click.option(
    "--path",
    default="default",
    show_default=True,
    envvar="PROCEDURAL_MEMORY_PATH",
    help="File of the memory; 'default' is the user's data folder.",
)
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
    from procedural_memory.engine import ProceduralMemoryEngine
    from procedural_memory.server.backend import Backend

    def opened() -> ProceduralMemoryEngine:
        url = embedder if embedder.startswith(("http://", "https://")) else None
        return ProceduralMemoryEngine(url, path=path, embedder="auto" if url else embedder)

    backend = Backend(None, opened)
    if http:
        click.echo(f"Procedural memory: MCP at http://{host}:{port}/mcp", err=True)
        secret = token_file.read().strip() if token_file else token
        serve_http(backend, host=host, port=port, token=secret, allowed_hosts=allowed_hosts)
    else:
        serve_stdio(backend)
