"""The server in front of a client: over standard input and output, or as streamable HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp import types
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from procedural_memory.errors import InvalidInputError
from procedural_memory.mcp_server.server import create_server
from procedural_memory.server.backend import Backend
from procedural_memory.server.guard import MAX_BODY, App, Guard, checked_token, is_loopback
from procedural_memory.server.listening import listening

__all__ = ["MAX_BODY", "http_app", "serve_http", "serve_stdio"]

_CHUNK: Final = 65_536
_EDGE: Final = 256
_ID: Final = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{0,100}")\s*'
_VERSION: Final = rb'"jsonrpc"\s*:\s*"2\.0"\s*'
_HEAD_ID: Final = re.compile(rb"\A\s*\{\s*(?:" + _VERSION + rb",\s*)?" + _ID + rb",")
_TAIL_ID: Final = re.compile(rb",\s*" + _ID + rb"(?:,\s*" + _VERSION + rb")?\}\s*\Z")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def serve_stdio(backend: Backend) -> None:
    """Serve one client over standard input and output until its end of the input is closed.

    Nothing but the protocol goes to standard output: what anything else writes there goes to standard error.
    """
    asyncio.run(_stdio(backend))


async def _stdio(backend: Backend) -> None:
    server = create_server(backend)
    source = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # whatever else reads from it must not take parts of the protocol
    os.close(nothing)
    backend.open_soon()
    try:
        # The SDK's own reader takes lines of any length, and says nothing to those that are no messages.
        async with stdio_server(stdin=anyio.wrap_file(io.StringIO())) as (unread, write):
            await unread.aclose()
            send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            answer = write.clone()
            _Reader(source, send, answer).start()
            await server.run(receive, write, server.create_initialization_options())
            await answer.aclose()
    finally:
        backend.close()


class _Reader:
    """Reads messages in a thread that nobody has to wait for, and refuses those that are none.

    Parameters
    ----------
    source : int
        The descriptor.
    taken : stream
        Takes the messages.
    answers : stream
        Takes the refusals.
    """

    def __init__(self, source: int, taken: MemoryObjectSendStream[Any], answers: Any) -> None:
        self._source = source
        self._taken = taken
        self._answers = answers
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="procedural-memory-stdin", daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError, RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            # Each ends the connection: the server has ended, or the client has gone.
            for line in _lines(self._source, MAX_BODY):
                try:
                    stream, item = self._taken, _message(line)
                except _Refused as refused:
                    stream, item = self._answers, refused.answer
                asyncio.run_coroutine_threadsafe(stream.send(item), self._loop).result()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._taken.close)


class _Refused(Exception):
    def __init__(self, identity: str | int | None, code: int, reason: str) -> None:
        error = types.ErrorData(code=code, message=reason)
        self.answer = SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=identity, error=error))


class _TooLong(NamedTuple):
    """How a line begins and ends that is too long to be read."""

    head: bytes
    tail: bytes


def _lines(source: int, most: int) -> Iterator[bytes | _TooLong]:
    """Yield the lines that come from a descriptor, those that are not blank."""
    held, head = b"", b""
    while chunk := os.read(source, _CHUNK):
        *ended, held = (held + chunk).split(b"\n")
        for line in ended:
            if head or len(line) > most:
                yield _TooLong(head or line[:_EDGE], line[-_EDGE:])
            elif line.strip():
                yield line
            head = b""
        if head or len(held) > most:
            head, held = head or held[:_EDGE], held[-_EDGE:]
    if head or held.strip():
        yield _TooLong(head, held[-_EDGE:]) if head else held


def _message(line: bytes | _TooLong) -> SessionMessage:
    """Return the message of a line; raise what answers to one that holds none."""
    if isinstance(line, _TooLong):
        # Clients write the id first or last. Where it is not seen, nobody can be told which request it was.
        found = _HEAD_ID.match(line.head) or _TAIL_ID.search(line.tail)
        identity = json.loads(found[1]) if found else None
        raise _Refused(identity, types.INVALID_REQUEST, f"message: must have at most {MAX_BODY:,} bytes")
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise _Refused(None, types.PARSE_ERROR, "message: must be JSON on one line") from None
    try:
        identity = json.loads(line).get("id")
    except (AttributeError, ValueError, RecursionError):
        identity = None
    if isinstance(identity, bool) or not isinstance(identity, (str, int)):
        identity = None
    raise _Refused(identity, types.INVALID_REQUEST, "message: must be a message of JSON-RPC 2.0")


def http_app(
    backend: Backend, *, host: str = "127.0.0.1", token: str | None = None, allowed_hosts: Collection[str] = ()
) -> App:
    """Return the application that serves streamable HTTP at ``/mcp``.

    Parameters
    ----------
    backend : Backend
        It belongs to the caller.
    host : str
        The address that it will be bound to.
    token : str, optional
        What a request must bring as ``Authorization: Bearer``.
    allowed_hosts : collection of str
        Names under which the service is known, beside the loopback ones and `host`.

    Raises
    ------
    InvalidInputError
        The address can be reached from elsewhere and there is no token, or the token is no text of ASCII.
    """
    token = checked_token(token)
    if token is None and not is_loopback(host):
        raise InvalidInputError(
            f"host: {host!r} can be reached from elsewhere; give a token (PROCEDURAL_MEMORY_TOKEN), or leave out --host"
        )
    names = [*_LOOPBACK, f"[{host}]" if ":" in host else host, *allowed_hosts]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[known for name in names for known in (name, f"{name}:*")],
        allowed_origins=[f"http://{name}:*" for name in names],
    )
    app = create_server(backend).streamable_http_app(
        host=host, max_request_body_size=MAX_BODY, transport_security=security
    )
    return Guard(app, token=token, hosts=names, origins=(), open_to_all=lambda path: False, max_body=MAX_BODY)


def serve_http(
    backend: Backend,
    *,
    host: str = "127.0.0.1",
    port: int = 8003,
    token: str | None = None,
    allowed_hosts: Collection[str] = (),
    started: Callable[[str], object] = lambda address: None,
) -> None:
    """Serve streamable HTTP until the process is told to stop; `started` is told the address. See `http_app`."""
    import uvicorn

    app = http_app(backend, host=host, token=token, allowed_hosts=allowed_hosts)
    # Their own lines would tell paths and queries; what went wrong still goes to standard error.
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    with listening(host, port) as (listener, address):
        backend.open_soon()
        try:
            started(f"{address}/mcp")
            uvicorn.Server(config).run([listener])
        finally:
            backend.close()
