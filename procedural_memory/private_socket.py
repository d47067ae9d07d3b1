"""A Unix socket that only its user may connect to."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["bind_private", "unbind"]


def bind_private(listener: socket.socket, path: Path) -> tuple[int, int]:
    """Bind a socket to a name, private from its first moment; one on which nobody listens any more is replaced.

    Returns
    -------
    tuple of int
        What `unbind` wants to know.

    Raises
    ------
    FileExistsError
        There is a file of that name that is no socket.
    ConnectionError
        Another process listens there.
    OSError
        The name cannot be bound.
    """
    _remove_left(path)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    status = path.lstat()
    return status.st_dev, status.st_ino


def unbind(path: Path, bound: tuple[int, int]) -> None:
    """Remove the name of a socket, unless another one has it meanwhile."""
    with suppress(OSError):
        status = path.lstat()
        if (status.st_dev, status.st_ino) == bound:
            path.unlink()


def _remove_left(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"there is a file of that name that is no socket: {str(path)!r}")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                path.unlink()
        else:
            raise ConnectionError("another server listens there")
