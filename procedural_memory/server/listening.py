"""Where a server listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from procedural_memory.errors import StorageError

__all__ = ["CONNECTIONS", "listening"]

CONNECTIONS = 1_024


@contextmanager
def listening(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """Listen on an address, so that whoever is told it can connect: a server accepts as soon as it runs.

    Yields
    ------
    listener : socket
    address : str
        As a URL, with the port that was taken for port 0.

    Raises
    ------
    StorageError
        Another program listens there, or it is no address of this machine.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(CONNECTIONS)
            listener.set_inheritable(True)
            shown = f"[{host}]" if ":" in host else host
            yield listener, f"http://{shown}:{listener.getsockname()[1]}"
    except (OSError, OverflowError) as error:
        raise StorageError(f"host {host!r}, port {port}: cannot be listened on ({error})") from error
