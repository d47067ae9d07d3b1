"""Servers in processes of their own, and the official client in front of them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

COMMAND = (sys.executable, "-m", "procedural_memory", "mcp", "--embedder", "lexical")
START = 60.0


def arguments(path: Path) -> list[str]:
    """Return the command line of a server of the memory in a file."""
    return [*COMMAND, "--path", str(path)]


@contextmanager
def http_server(path: Path, *more: str, **environment: str) -> Iterator[str]:
    """Give the address of a server over HTTP, as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*arguments(path), "--http", "--port", str(port), *more]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, **environment})
    try:
        end = time.monotonic() + START
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.terminate()
        server.wait(30)
        assert server.stderr is not None
        server.stderr.close()


@asynccontextmanager
async def client(transport: str, path: Path, mode: str = "auto") -> AsyncIterator[Client]:
    """Give a client of a server of its own."""
    if transport == "stdio":
        command = arguments(path)
        # The client hands on a few variables only.
        parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
        async with Client(parameters, mode=mode) as connected:
            yield connected
        return
    with http_server(path) as address:
        async with Client(address, mode=mode) as connected:
            yield connected


def run(work: Callable[[Client], Awaitable[Any]], transport: str, path: Path, mode: str = "auto") -> Any:
    """Return what `work` makes of a client."""

    async def main() -> Any:
        async with client(transport, path, mode) as connected:
            return await work(connected)

    return asyncio.run(main())
