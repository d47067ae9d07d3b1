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

    def used(self, keys: Iterable[int], most: int | None = None) -> None:
        """Take note that rows were asked for, and let go of what is more than `MOST`, or than another number."""
        for key in keys:
            self.move_to_end(key)
        while len(self) > (self.MOST if most is None else most):
            self.popitem(last=False)


def read_once(
    kept: Kept[_T | None], keys: Sequence[int], read: Callable[[list[int]], Iterable[tuple[int, _T]]]
) -> dict[int, _T]:
    """Return the rows under `keys`: as they are kept, or read in one go; that there is none is kept as well."""
    if missing := [key for key in dict.fromkeys(keys) if key not in kept]:
        kept.update(dict.fromkeys(missing) | dict(read(missing)))
    found = {key: row for key in keys if (row := kept[key]) is not None}
    kept.used(keys)
    return found
