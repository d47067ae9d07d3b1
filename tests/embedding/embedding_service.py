"""A real HTTP server on a free port that answers with lexical vectors, or misbehaves as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from procedural_memory.embedding.lexical import LexicalEmbedder

EMBEDDER = LexicalEmbedder(64)


class Service:
    """What the server does; change `answer` to make it misbehave."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, Any]] = []
        self.answer: Callable[[Handler, str, Any], None] = honest

    @property
    def paths(self) -> list[str]:
        """Return the paths asked for so far."""
        return [path for path, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the service."""

    service: Service

    def do_POST(self) -> None:
        """Note the request and let the service answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.service.requests.append((self.path, body))
        self.service.answer(self, self.path, body)

    def reply(self, content: Any, status: int = 200, **headers: str) -> None:
        """Send JSON, or bytes as they are."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""
        pass


def embed_answer(texts: list[str]) -> dict[str, Any]:
    """Return what the service says to /embed."""
    # Scaled, so that a client that forgets to normalise is found out.
    return {"embeddings": (EMBEDDER.embed(texts) * 3.0).tolist(), "dim": EMBEDDER.dimension}


def sequence_answer(commands: list[str]) -> dict[str, Any]:
    """Return what the service says to /embed/command-sequence."""
    rows = EMBEDDER.embed(commands)
    return {
        "sequence_embedding": rows.mean(axis=0).tolist(),
        "command_embeddings": rows.tolist(),
        "transition_embeddings": (rows[1:] - rows[:-1]).tolist(),
        "metadata": {"model": "lexical", "count": len(commands)},
    }


def honest(handler: Handler, path: str, body: Any) -> None:
    """Answer as the service should."""
    if path.endswith("/embed"):
        handler.reply(embed_answer(body["texts"]))
    elif path.endswith("/embed/command-sequence"):
        handler.reply(sequence_answer(body["commands"]))
    else:
        handler.reply({"detail": "Not Found"}, 404)


@contextmanager
def running() -> Iterator[Service]:
    """Serve on a free local port for the block."""
    service = Service()
    handler = type("BoundHandler", (Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
