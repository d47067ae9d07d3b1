"""Checks the file of a memory, and repairs it: what can be read of a damaged file is learned again in a new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from procedural_memory.engine import ProceduralMemoryEngine, store_path
from procedural_memory.errors import InvalidInputError, StorageError
from procedural_memory.memory.sequences import Deriver
from procedural_memory.storage.doctor import Check, examine
from procedural_memory.storage.salvage import Salvaged, salvage
from procedural_memory.storage.snapshot import Snapshot

__all__ = ["check", "repair"]


def check(path: Path, deep: bool = False) -> list[Check]:
    """Check the file of a memory and change nothing; `deep` also derives everything again, in memory, to compare."""
    return examine(path, deep, lambda store: Deriver(store, min_commands=3).rebuild())


def repair(damaged: str | os.PathLike[str], new: str | os.PathLike[str], embedder: str = "auto") -> Salvaged:
    """Salvage what can be read of a damaged memory into a new one.

    Everything is checked, redacted and learned anew: counts and patterns come from the sessions, vectors and the
    ranker's habits are made again. Close what writes to the damaged memory first.

    Parameters
    ----------
    damaged : str or path
        Is only read; neither it nor its write-ahead log is changed.
    new : str or path
        Must not exist.
    embedder : str
        Of the new memory; see `ProceduralMemoryEngine`.

    Returns
    -------
    Salvaged
        What was salvaged, and what is known to be lost.

    Raises
    ------
    InvalidInputError
        There is no damaged file, or the new one exists.
    StorageError
        The damaged file holds nothing that can be salvaged, or a file cannot be read or written; no new file is left.
    """
    source, target = store_path(damaged), store_path(new)
    if not source.is_file():
        raise InvalidInputError(f"repair: {str(source)!r} must be the file of a memory; there is none")
    for path in _files(target):
        if os.path.lexists(path):
            raise InvalidInputError(f"repair: the new file must not exist, got {str(path)!r}; name another one")
    found = salvage(source)
    if not found.records and not found.feedback:
        raise StorageError(
            f"repair {str(source)!r}: nothing of a memory can be read in its {found.pages} pages; it was not changed, "
            "and no new file was made. Take a copy that you kept, or load what was saved"
        )
    with _made(target), ProceduralMemoryEngine(path=target, embedder=embedder) as engine, engine._changing():
        engine._take_in(Snapshot(found.records, found.feedback, {}, b""), keep_open=True)
    return found


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]


@contextmanager
def _made(path: Path) -> Iterator[None]:
    """Make a file that nobody else made; it goes again when the body fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except (OSError, ValueError) as error:
        raise StorageError(f"repair: the new file {str(path)!r} cannot be made ({error})") from error
    try:
        yield
    except BaseException:
        for made in _files(path):
            made.unlink(missing_ok=True)
        raise
