"""The file of a store: private to the user from its first byte, there after a power cut, and whole.

POSIX lets go of all locks that a process has on a file as soon as it closes *any* descriptor of it. So nothing but
SQLite may close one of a store that this process has open; what else reads it uses `open_to_read` and `close_read`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from procedural_memory.errors import StorageError

__all__ = [
    "close_read",
    "hold",
    "make_private",
    "missing_bytes",
    "open_to_read",
    "reading",
    "release",
    "replacing",
    "side_files",
    "sync_folder",
]

_Inode = tuple[int, int]
_lock = threading.Lock()
_held: dict[_Inode, list[int]] = {}
"""Files that stores of this process have open, or had when it was forked -> their processes, one for each store."""
_parked: dict[_Inode, list[IO[bytes]]] = {}
"""What was read of them, to be closed when the last store is."""


def hold(path: str) -> _Inode:
    """Say that a store opens a file; call `release` with what this returns once it has closed it."""
    status = os.stat(path)
    inode = (status.st_dev, status.st_ino)
    with _lock:
        holders = _held.setdefault(inode, [])
        if any(process != os.getpid() for process in holders):
            # SQLite in this process would take locks for its own that the other one has.
            raise StorageError(
                f"path {path!r}: the process that this one was forked from was using the memory at that moment; close "
                "the engine before the fork, or start this process by spawn or forkserver"
            )
        holders.append(os.getpid())
    return inode


def release(inode: _Inode) -> None:
    """Say that a store has closed its file."""
    with _lock:
        holders = _held.get(inode, [])
        if os.getpid() in holders:
            holders.remove(os.getpid())
        if not holders:
            _held.pop(inode, None)
            for file in _parked.pop(inode, []):
                file.close()


def open_to_read(path: str | Path) -> IO[bytes]:
    """Open a file that may be that of a store; to be closed by `close_read`."""
    return open(path, "rb")


def close_read(file: IO[bytes]) -> None:
    """Close a file, or keep it until no store of this process has it open."""
    status = os.fstat(file.fileno())
    inode = (status.st_dev, status.st_ino)
    with _lock:
        if inode in _held:
            _parked.setdefault(inode, []).append(file)
        else:
            file.close()


@contextmanager
def reading(path: str | Path) -> Iterator[IO[bytes]]:
    """Give a file that may be that of a store."""
    file = open_to_read(path)
    try:
        yield file
    finally:
        close_read(file)


def side_files(path: str | Path) -> list[Path]:
    """Return what SQLite may put beside a file."""
    return [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")]


def make_private(path: Path) -> None:
    """Make sure that a file is there which only its owner may read, and that it will be there after a power cut."""
    new = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in new:
        sync_folder(folder.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.is_dir() or not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError("it cannot be read and written") from None
    else:
        sync_folder(path.parent)


@contextmanager
def replacing(target: Path) -> Iterator[tuple[IO[bytes], str]]:
    """Give a file, and its name, that becomes `target` when the body is done: whole, synced and private to the user.

    When the body raises, or the file cannot be written, what stood there before is untouched.
    """
    if not target.parent.is_dir():  # else the error would name a file that nobody asked for
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; make it first", str(target.parent))
    # mkstemp makes the file 0600; the same folder, so that the rename is atomic.
    import tempfile  # slow, and not needed to read a memory

    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, temporary
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except BaseException:
        for left in (temporary, f"{temporary}-journal"):
            with suppress(OSError):  # it is gone, or the disk takes nothing: the first error is the one to tell of
                os.unlink(left)
        raise


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder survive a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def missing_bytes(path: str) -> int:
    """Return how many bytes an SQLite file lacks by its own header; more than 0 where it was cut off.

    While another process moves pages from the write-ahead log to the file it may lack some for a moment.
    """
    with reading(path) as file:
        header = file.read(100)
        size = os.fstat(file.fileno()).st_size
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return 0
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    return max(0, pages * (65_536 if page == 1 else page) - size)
