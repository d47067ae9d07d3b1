"""Running the application: where it listens, how it starts and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from procedural_memory.engine import store_path
from procedural_memory.errors import InvalidInputError, StorageError
from procedural_memory.private_socket import bind_private, unbind
from procedural_memory.server.app import create_app
from procedural_memory.server.guard import is_loopback
from procedural_memory.server.listening import CONNECTIONS, listening
from procedural_memory.storage.address import is_address

__all__ = ["PORT", "serve"]

PORT = 8002
_EMBEDDERS = ("auto", "lexical", "mlx", "sentence-transformers")
_HEAD_WITHIN = 10.0
"""Seconds for the head of a request to arrive."""
_HEAD = 32_768
"""Bytes of the head of a request."""
_PIECE = 131_072
_END_WITHIN = 60
"""Seconds for answers to be taken when the server ends; the work itself is finished however long it takes."""


class _Connection(h11.Connection):
    """Counts how much of what comes is content: a body in tiny chunks costs more to read than any other."""

    raw = content = 0

    def next_event(self) -> Any:
        """Count it."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.raw = self.content = 0
        elif isinstance(event, h11.Data):
            self.content += len(event.data)
        return event


class Protocol(H11Protocol):
    """HTTP/1.1 that waits for the head of a request, and for an answer to be taken, for a while only.

    It refuses bodies in tiny chunks, and lets event streams end at shutdown.
    """

    conn: _Connection
    _waiting: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Connection(h11.SERVER, _HEAD)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting while only a part of a head is there."""
        self.conn.raw += len(data)
        super().data_received(data)
        if self.conn.raw > 1.25 * self.conn.content + _HEAD + _PIECE and self.conn.their_state is h11.SEND_BODY:
            self.transport.abort()
        elif self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait until the answer is taken."""
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(_END_WITHIN, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting for that."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def shutdown(self) -> None:
        """End."""
        end_streams = self.app_state.get("end_streams")
        if end_streams is not None:
            end_streams()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in the words of any refusal."""
        body = json.dumps({"detail": f"{msg} The head must be HTTP/1.1, of at most {_HEAD:,} bytes"}).encode("ascii")
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(_HEAD_WITHIN, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    uds: Path | None = None,
    workers: int = 1,
    log_requests: bool = True,
    started: Callable[[str], object] = print,
    **options: Any,
) -> None:
    """Serve until a signal ends it; what was accepted by then is finished.

    Parameters
    ----------
    host, port : str, int
        Where to listen; port 0 takes a free one. A host that others can reach needs a token.
    uds : Path, optional
        Listen on this Unix socket, private to the user, instead.
    workers : int
        Processes that share the memory, which must then be a file.
    log_requests : bool
        Write a line of JSON for each request to stderr.
    started : callable
        Told the address once it is listened on.
    options
        Of `procedural_memory.server.app.create_app`.

    Raises
    ------
    InvalidInputError
        A value breaks a rule.
    StorageError
        The address cannot be listened on, or the memory not be read.
    """
    if uds is None and not options.get("token") and not is_loopback(host):
        raise InvalidInputError(
            f"host: must be a loopback address without a token, got {host!r}; give a token to be reached "
            "by others (--token-file, or the variable PROCEDURAL_MEMORY_TOKEN)"
        )
    path = options.get("path", "default")
    options = {"allowed_hosts": (), **options}
    if workers > 1 and path is None:
        raise InvalidInputError("workers: must be 1 for a memory that is not a file; name one with path")
    embedder = options.get("embedder", "auto")
    if embedder not in _EMBEDDERS and not embedder.startswith(("http://", "https://")):
        rule = f"must be one of {', '.join(_EMBEDDERS)} or the http:// address of a service"
        raise InvalidInputError(f"embedder: {rule}, got {embedder!r}")
    _check(path)
    create_app(**options)  # says what is wrong with them before anything is listened on
    if not is_loopback(host):
        options["allowed_hosts"] = [*options["allowed_hosts"], host, socket.gethostname(), socket.getfqdn()]
    with _listening(host, port, uds) as (listener, address), _shared(workers) as shared:
        config = uvicorn.Config(
            partial(_application, os.getpid() if workers > 1 else None, log_requests, {**options, "shared": shared}),
            factory=True,
            http=Protocol,
            ws="none",
            workers=workers,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=_HEAD,
            timeout_graceful_shutdown=_END_WITHIN,
        )
        started(address)
        # Called again by the server when it has ended: what is below is to be done, too.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            if workers > 1:
                Multiprocess(config, sockets=[listener]).run()
            else:
                server = uvicorn.Server(config)
                with suppress(KeyboardInterrupt):
                    server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)


def _application(parent: int | None, log_requests: bool, options: dict[str, Any]) -> FastAPI:
    """Return the application, in the process that serves it; with a parent it ends when that is gone."""
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    requests = logging.getLogger("procedural_memory.server.requests")
    handler = logging.StreamHandler(sys.stderr)
    requests.addHandler(handler)
    requests.propagate = False
    requests.setLevel(logging.INFO if log_requests else logging.WARNING)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return create_app(**options)


def _end_with(parent: int) -> None:
    # A parent that was killed tells nobody, and a worker that goes on would keep the address.
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _check(path: str | os.PathLike[str] | None) -> None:
    """Say at once that a memory cannot be read."""
    from procedural_memory.storage.sqlite import SQLiteStore

    if is_address(path):
        from procedural_memory.storage.postgres import PostgresStore

        PostgresStore(str(path)).close()
    elif path is not None and (file := store_path(path)).exists():
        SQLiteStore(str(file)).close()


@contextmanager
def _listening(host: str, port: int, uds: Path | None) -> Iterator[tuple[socket.socket, str]]:
    if uds is not None:
        with _private_socket(uds) as listener:
            yield listener, f"unix:{uds}"
        return
    with listening(host, port) as found:
        yield found


def _listen(listener: socket.socket) -> None:
    listener.listen(CONNECTIONS)
    listener.set_inheritable(True)


@contextmanager
def _private_socket(path: Path) -> Iterator[socket.socket]:
    """Give a Unix socket that only this user may connect to; its file goes with it."""
    path = path.expanduser()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            bound = bind_private(listener, path)
            _listen(listener)
        except OSError as error:
            raise StorageError(f"uds {str(path)!r}: cannot be listened on ({error})") from error
        try:
            yield listener
        finally:
            unbind(path, bound)


@contextmanager
def _shared(workers: int) -> Iterator[Path | None]:
    """Give a private folder that several workers share, for as long as they run."""
    if workers == 1:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="procedural-memory-"))
    figures = folder / "figures"
    figures.mkdir(mode=0o700)
    before = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(figures)  # read by the client library when it is imported
    try:
        yield folder / "sessions"
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        os.environ |= {} if before is None else {"PROMETHEUS_MULTIPROC_DIR": before}
        shutil.rmtree(folder, ignore_errors=True)
