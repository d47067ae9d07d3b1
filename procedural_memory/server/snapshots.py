"""Files that a client may name: only below some folders, never through a link, never over what is not a snapshot.

A name is checked while it is opened, a folder at a time, so that no folder on the way can be swapped for a link. The
engine itself works on a copy in a folder of its own.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import SnapshotError, StorageError
from procedural_memory.server.refusals import Refused
from procedural_memory.storage.files import close_read, side_files
from procedural_memory.storage.snapshot import STORES, SUFFIXES, is_snapshot
from procedural_memory.types import Loaded

__all__ = ["SnapshotFolders"]

_FLAG = "the server's flag --snapshot-dir names others"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK | getattr(os, "O_CLOEXEC", 0)
_FILE = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_PREFIX = "procedural-memory-"
_LINKED = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


class SnapshotFolders:
    """Saves and loads below some folders.

    Parameters
    ----------
    folders : sequence of Path
        What a client may name; a relative name is one in the first of them.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        if os.open not in os.supports_dir_fd:  # Windows
            folders = ()
        # A folder may itself be reached by a link, which only who starts the server chooses.
        self._folders = [(folder.expanduser().absolute(), folder.expanduser().resolve()) for folder in folders]

    def save(self, engine: ProceduralMemoryEngine, filepath: str) -> None:
        """Write a snapshot under a name that a client gave."""
        with self._opened(filepath) as (folder, name), tempfile.TemporaryDirectory(prefix=_PREFIX) as own:
            copy = Path(own, f"snapshot{Path(name).suffix}")
            before = self._check_free(engine, filepath, folder, name, copy)
            engine.save(copy)
            _put(copy, folder, name, filepath, before)

    def load(self, engine: ProceduralMemoryEngine, filepath: str, mode: str | None) -> Loaded:
        """Read a snapshot that a client named."""
        with self._opened(filepath) as (folder, name), tempfile.TemporaryDirectory(prefix=_PREFIX) as own:
            copy = Path(own, f"snapshot{Path(name).suffix}")
            if _beside(name, folder):
                raise Refused(422, f"filepath: {filepath!r} is a memory in use, or was not closed; save it to load it")
            try:
                _copy(filepath, folder, name, copy)
            except FileNotFoundError:
                raise Refused(404, f"filepath: there is no file {filepath!r}") from None
            with _telling(filepath, copy):
                return engine.load(copy, mode)

    @contextmanager
    def _opened(self, filepath: str) -> Iterator[tuple[int, str]]:
        """Give the folder of a file, open, and the file's name in it."""
        root, parts = self._place(filepath)
        try:
            folder = os.open(root, _FOLDER)
        except OSError:
            raise Refused(404, f"filepath: the folder of {filepath!r} does not exist") from None
        try:
            for part in parts[:-1]:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=folder)
                except OSError as error:
                    if error.errno in _LINKED:
                        raise Refused(403, f"filepath: {filepath!r} goes through a link or a file") from None
                    raise Refused(404, f"filepath: the folder of {filepath!r} does not exist") from None
                os.close(folder)
                folder = inner
                if os.fstat(folder).st_uid != os.geteuid():
                    raise Refused(403, f"filepath: a folder of {filepath!r} belongs to another user")
            yield folder, parts[-1]
        finally:
            os.close(folder)

    def _place(self, filepath: str) -> tuple[Path, tuple[str, ...]]:
        if Path(filepath).suffix not in SUFFIXES:
            raise Refused(422, f"filepath: must end in one of {', '.join(SUFFIXES)}, got {filepath!r}")
        if self._folders:
            # Not normalised: what goes up may go through a link.
            path = self._folders[0][0] / filepath
            for given, real in self._folders:
                for folder in (given, real):
                    if path.is_relative_to(folder):
                        parts = path.relative_to(folder).parts
                        if parts and ".." not in parts:
                            return real, parts
        raise Refused(403, f"filepath: {filepath!r} lies outside the folders for snapshots; {_FLAG}")

    def _check_free(
        self, engine: ProceduralMemoryEngine, filepath: str, folder: int, name: str, copy: Path
    ) -> os.stat_result | None:
        """Refuse to write over what is no snapshot; return what is there."""
        try:
            status = _copy(filepath, folder, name, copy)
        except FileNotFoundError:
            return None
        store = engine.stats()["path"]
        with suppress(OSError):
            if store is not None and os.path.samestat(status, os.stat(store)):
                raise Refused(403, f"filepath: {filepath!r} is the memory itself; name another file")
        if _beside(name, folder) or not is_snapshot(copy):
            raise Refused(403, f"filepath: {filepath!r} is no snapshot of this package, and is not overwritten")
        copy.unlink()
        return status


@contextmanager
def _telling(filepath: str, copy: Path) -> Iterator[None]:
    """Name in an error what the client named, not the copy that was worked on."""
    try:
        yield
    except SnapshotError as error:
        raise Refused(422, str(error).replace(str(copy), filepath)) from None


def _copy(filepath: str, folder: int, name: str, copy: Path) -> os.stat_result:
    """Copy a file that belongs to this user; a link, a device or another user's file is refused."""
    try:
        handle = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Refused(403, "filepath: the name of the file is too long") from None
        why = "is a link" if error.errno in _LINKED else "cannot be read"
        raise Refused(403, f"filepath: {filepath!r} {why}") from None
    foreign = Refused(403, f"filepath: {filepath!r} is not a file of the user who runs the server")
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise foreign
    file = os.fdopen(handle, "rb")
    try:
        if status.st_uid != os.geteuid():
            raise foreign
        with open(copy, "xb", opener=_private) as target:
            shutil.copyfileobj(file, target, 1 << 20)
    finally:
        close_read(file)
    return status


def _put(copy: Path, folder: int, name: str, filepath: str, before: os.stat_result | None) -> None:
    """Move a finished file to its place: whole, synced, private, and only over what stood there before."""
    temporary = f".{os.urandom(8).hex()}.saving"
    try:
        with open(copy, "rb") as source, open(temporary, "xb", opener=_private_in(folder)) as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        if before is None:  # a link takes no name that is taken
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(temporary, dir_fd=folder)
        elif _same(before, os.stat(name, dir_fd=folder, follow_symlinks=False)):
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            raise FileExistsError
        os.fsync(folder)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        if isinstance(error, FileExistsError):
            raise Refused(403, f"filepath: {filepath!r} was changed meanwhile, and is not overwritten") from None
        raise StorageError(f"save {filepath!r}: the file cannot be written ({error})") from error


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and one.st_mtime_ns == other.st_mtime_ns


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINK, 0o600)


def _private_in(folder: int) -> Callable[[str, int], int]:
    return lambda path, flags: os.open(path, flags | _NO_LINK, 0o600, dir_fd=folder)


def _beside(name: str, folder: int) -> bool:
    """Return whether SQLite keeps something beside a file: it is in use, and not whole without that."""
    return name.endswith(STORES) and any(_is_there(side.name, folder) for side in side_files(name))


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
