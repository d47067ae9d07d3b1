"""The file of a store: private to the user from its first byte, there after a power cut, and whole."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_private", "missing_bytes", "sync_folder"]


def make_private(path: Path) -> None:
    """Make sure that a file is there which only its owner may read, and that it will be there after a power cut."""
    new = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in new:
        sync_folder(folder.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        os.close(os.open(path, os.O_RDWR))  # raises where it must not be written
    else:
        sync_folder(path.parent)


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
    with open(path, "rb") as file:
        header = file.read(100)
        size = os.fstat(file.fileno()).st_size
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return 0
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    return max(0, pages * (65_536 if page == 1 else page) - size)
