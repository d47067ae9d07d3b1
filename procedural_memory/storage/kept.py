"""What was read of a store and is still so, to be read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, TypeVar

__all__ = ["Kept", "read_once"]

_T = TypeVar("_T")


class Kept(OrderedDict[int, _T]):
    """Rows of a kind by key, as they were read; of many those go that were asked for longest ago.

    Attributes
    ----------
    MOST : int
        How many are kept: those of a session come up again and again, and a few thousand in every other session.
    """

    MOST: ClassVar[int] = 16_384

    def trim(self, most: int | None = None) -> None:
        """Let go of what is more than `MOST`, or than another number."""
        while len(self) > (self.MOST if most is None else most):
            self.popitem(last=False)


def read_once(
    kept: Kept[_T | None], keys: Sequence[int], read: Callable[[list[int]], Iterable[tuple[int, _T]]]
) -> dict[int, _T]:
    """Return the rows under `keys`: as they are kept, or read in one go; that there is none is kept as well."""
    if missing := [key for key in dict.fromkeys(keys) if key not in kept]:
        kept.update(dict.fromkeys(missing) | dict(read(missing)))
    found = {}
    for key in keys:
        kept.move_to_end(key)
        if (row := kept[key]) is not None:
            found[key] = row
    kept.trim()
    return found
