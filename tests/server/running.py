"""Real servers for the tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application in a thread; yields its address."""
    import uvicorn

    from procedural_memory.server.serving import Protocol, _listening

    with _listening("127.0.0.1", 0, None) as (listener, address):
        server = uvicorn.Server(
            uvicorn.Config(app, http=Protocol, log_level="warning", log_config=None, timeout_graceful_shutdown=5)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        assert server.started
        try:
            yield address + "/"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


class Running:
    """A ``procedural-memory serve`` of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "serve.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "procedural_memory", "serve", "--port", "0", *options],
                stdout=log,
                stderr=log,
                env=os.environ | {"XDG_DATA_HOME": str(folder / "data"), "PYTHONUNBUFFERED": "1"},
            )
        until = time.monotonic() + 60
        while not (found := re.search(r" on (\S+) \(page", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        self.address = found[1]

    def end(self, how: int = signal.SIGTERM) -> int:
        """Ask it to end, and return how it did."""
        self.process.send_signal(how)
        return self.process.wait(90)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Running]:
    """Run the command; it is gone afterwards."""
    server = Running(folder, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
