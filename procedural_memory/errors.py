"""Every error the package raises on purpose, in one tree.

::

    ProceduralMemoryError
    ├── InvalidInputError (ValueError)          a value breaks a rule; nothing was changed
    │   ├── InvalidTypeError (TypeError)        a value has the wrong type
    │   └── SessionConflictError                a session id is taken by other content
    ├── MissingExtraError (ImportError)         an optional dependency is not installed
    ├── EmbeddingError (RuntimeError)
    │   ├── ModelNotFoundError (FileNotFoundError)    no model folder, or no file in it
    │   ├── ModelFormatError (ValueError)             weights or configuration cannot be used
    │   └── EmbeddingServiceError (ConnectionError)   the remote service failed or answered nonsense
    ├── StorageError (RuntimeError)
    │   ├── HistoryError                        a file to learn from cannot be read, or is of another kind
    │   ├── StoreBusyError                      another process is writing; try again
    │   ├── StoreUnavailableError (ConnectionError)   the server that keeps the memory cannot be reached
    │   ├── SnapshotNotFoundError (FileNotFoundError) the file to load does not exist
    │   └── SnapshotError (ValueError)                the file is not a snapshot, or a hostile one
    └── ClosedError (RuntimeError)              the engine or session was closed

Each error subclasses the builtin a caller would already catch.
"""

from __future__ import annotations

import reprlib
import shlex
from typing import Any

__all__ = [
    "ClosedError",
    "EmbeddingError",
    "EmbeddingServiceError",
    "HistoryError",
    "InvalidInputError",
    "InvalidTypeError",
    "MissingExtraError",
    "ModelFormatError",
    "ModelNotFoundError",
    "ProceduralMemoryError",
    "SessionConflictError",
    "SnapshotError",
    "SnapshotNotFoundError",
    "StorageError",
    "StoreBusyError",
    "StoreUnavailableError",
    "damage",
    "shown",
]


class ProceduralMemoryError(Exception):
    """Base of every error raised on purpose by this package."""


class InvalidInputError(ProceduralMemoryError, ValueError):
    """A value breaks a rule; the message names the item, the rule and the value. Nothing was changed."""


class InvalidTypeError(InvalidInputError, TypeError):
    """A value has the wrong type; the message names the item, the type wanted and the type given."""


class SessionConflictError(InvalidInputError):
    """A session id is already taken by a session with different content."""


class MissingExtraError(ProceduralMemoryError, ImportError):
    """An optional dependency is not installed; the message is the exact command that installs it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} is not installed. Run: pip install 'omnimemory-procedural[{extra}]' "
            f"(in a clone: pip install '.[{extra}]')"
        )
        self._given = feature, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return MissingExtraError, self._given  # it may be raised in a process that is asked to do something


class EmbeddingError(ProceduralMemoryError, RuntimeError):
    """An embedder could not be loaded or could not embed."""


class ModelNotFoundError(EmbeddingError, FileNotFoundError):
    """A model folder, or a file that it must hold, does not exist."""


class ModelFormatError(EmbeddingError, ValueError):
    """Weights, tokenizer or configuration of a model cannot be used."""


class EmbeddingServiceError(EmbeddingError, ConnectionError):
    """The remote embedding service is down, too slow, or answered something that is no embedding."""


class StorageError(ProceduralMemoryError, RuntimeError):
    """The store could not read or write."""


class HistoryError(StorageError):
    """A file to learn from cannot be read, or is not what it is taken for."""


class StoreBusyError(StorageError):
    """Another process keeps the store locked, for too long to be waited for. Nothing was lost or changed."""


class StoreUnavailableError(StorageError, ConnectionError):
    """The server that keeps the memory cannot be reached, or went away. The next call connects anew."""


class SnapshotNotFoundError(StorageError, FileNotFoundError):
    """The snapshot to load does not exist."""


class SnapshotError(StorageError, ValueError):
    """A file is no snapshot of this package, is damaged, or holds something that must not be loaded."""


class ClosedError(ProceduralMemoryError, RuntimeError):
    """The engine or the session was closed and takes no more calls."""


def damage(path: object, reason: object) -> str:
    """Return the message for a file of the memory that cannot be read: what is wrong and what to do."""
    name = str(path)
    new = name.removesuffix(".sqlite3") + "-repaired.sqlite3"
    return (
        f"path {name!r}: the file is damaged or no memory ({reason}); it was not changed. "
        f"Run: procedural-memory doctor --path {shlex.quote(name)}, "
        f"and: procedural-memory repair {shlex.quote(name)} {shlex.quote(new)}"
    )


def shown(value: Any, limit: int = 80) -> str:
    """Return a short ``repr`` of `value` for an error message, without secrets."""
    from procedural_memory.commands.redact import redact

    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 4 * limit
    try:
        # Before it is cut: what is cut away may be what tells that the rest is a secret.
        text = repr(redact(value)) if isinstance(value, str) else redact(short.repr(value))
    except Exception:  # an object whose repr fails, an integer too long to print
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"
