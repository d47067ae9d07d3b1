"""What a path may be: a file, or what ends as one does. A pipe is copied first, for a file is read more than once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from procedural_memory.errors import HistoryError

__all__ = ["MOST_PIPED", "readable"]

MOST_PIPED: Final = 256 * 1024 * 1024
"""Bytes that are taken from a pipe; some never end."""
_BLOCK: Final = 1024 * 1024


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Give a path that can be read again and again: the path itself, or that of a private copy of what a pipe gives.

    Raises
    ------
    HistoryError
        It is a device or a socket, cannot be read, or a pipe gives more than `MOST_PIPED` bytes.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise HistoryError(f"path {str(path)!r}: does not exist") from error
    except (OSError, ValueError) as error:
        raise HistoryError(f"path {str(path)!r}: cannot be read ({error})") from error
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        yield path
        return
    if not stat.S_ISFIFO(mode) and not (stat.S_ISCHR(mode) and _is_terminal(path)):
        kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise HistoryError(f"path {str(path)!r}: must be a file, a folder or a pipe, and is {kind}")
    with TemporaryDirectory(prefix="procedural-memory-") as folder:
        copy = Path(folder) / path.name
        try:
            with path.open("rb", buffering=0) as pipe, copy.open("xb") as file:
                while block := pipe.read(_BLOCK):
                    if file.tell() + len(block) > MOST_PIPED:
                        raise HistoryError(
                            f"path {str(path)!r}: the pipe gives more than {MOST_PIPED:,} bytes; save them as a file, "
                            "and name that"
                        )
                    file.write(block)
        except OSError as error:
            raise HistoryError(f"path {str(path)!r}: cannot be read ({error})") from error
        yield copy


def _is_terminal(path: Path) -> bool:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.isatty(number)
    finally:
        os.close(number)
