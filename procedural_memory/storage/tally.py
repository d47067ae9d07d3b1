"""What is counted of one thing that followed a context, as one number: counters of 30 bits beside each other.

Most counts are 0 or 1, and there are dozens of each step. Numbers are added in one go and, unlike lists, cost the
collection of garbage nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = ["BAD", "COUNT", "FAILURE", "GOOD", "SESSION", "SUCCESS", "tallies"]

_BITS: Final = 30
_MASK: Final = (1 << _BITS) - 1
COUNT, SESSION, SUCCESS, FAILURE, GOOD, BAD = (1 << _BITS * place for place in range(6))
"""One more in all, one more session, step that went well or not, session with it that went well or not."""


@lru_cache(maxsize=4_096)
def tallies(number: int) -> tuple[int, ...]:
    """Return the counters of a number: count, sessions, success, failure, good, bad."""
    return tuple(number >> _BITS * place & _MASK for place in range(6))
