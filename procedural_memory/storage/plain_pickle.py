"""Pickles of plain containers, read so that a hostile file can neither run anything nor unfold into more than it is."""

from __future__ import annotations

import os
import pickle
import pickletools
from typing import IO, Any, Final

from procedural_memory.errors import SnapshotError

__all__ = ["load_plain"]

_OPCODES: Final = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    )
)
"""What pickling plain containers with protocol 4 writes."""

_GLOBALS: Final = frozenset(("GLOBAL", "STACK_GLOBAL"))

_BITS: Final = 64

_SHARED: Final = 16
"""Characters that may be repeated by reference for each byte of the file: names of fields, a few a step."""


def load_plain(file: IO[bytes]) -> Any:
    """Return the plain containers that a pickle holds; runs nothing, in time and memory linear in the file's size.

    Raises
    ------
    SnapshotError
        It names a class or function, or is made of anything but plain containers that stand in one place each.
    Exception
        Of almost any kind, when the file is no pickle.
    """
    _check(file)
    file.seek(0)
    return _PlainUnpickler(file).load()


def _check(file: IO[bytes]) -> None:
    """Refuse what would unfold: memo places far out, and containers or long texts that stand in many places."""
    memo: list[int] = []  # lengths of texts; more than there is to spare for all else
    spare = _SHARED * os.fstat(file.fileno()).st_size
    never = spare + 1
    length = never
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _GLOBALS:  # refused by name when it is read, and nothing after it is
            return
        if name not in _OPCODES:
            raise SnapshotError(f"the pickle holds {name}: a snapshot holds plain containers only, nothing was loaded")
        if isinstance(argument, int) and argument.bit_length() > _BITS:  # hashes of longer ones can be made to collide
            raise SnapshotError("the pickle holds a longer integer than a snapshot does; nothing was loaded")
        if name == "MEMOIZE":
            memo.append(length)
        elif name in ("BINGET", "LONG_BINGET"):
            spare -= memo[int(argument or 0)]  # IndexError: a damaged file
            if spare < 0:
                raise SnapshotError("the pickle repeats by reference what a snapshot holds once; nothing was loaded")
        if name != "FRAME":  # may stand between a text and its place in the memo
            length = len(argument) if isinstance(argument, str) else never


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every class and function by name, before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every global."""
        raise SnapshotError(
            f"the pickle names {module}.{name}: a snapshot holds plain containers only, nothing was loaded or run"
        )
