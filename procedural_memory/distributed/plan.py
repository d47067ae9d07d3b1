"""What is to be learned of which partition: known when all are read, before anything is learned.

So no partial memory has to be corrected when it meets another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from procedural_memory.distributed.partials import Head
from procedural_memory.errors import InvalidInputError, SessionConflictError
from procedural_memory.memory.tellings import SAME_TIME

__all__ = ["Share", "plan", "told_by_several"]


@dataclass(slots=True)
class Share:
    """What is learned of a partition: the places of its sessions that are new, and how many rows of the log they take,
    of which the first `derived` are learned by the worker."""

    new: list[int]
    rows: int = 0
    derived: int = 0


def plan(heads: Sequence[Head], is_known: Callable[[str, bytes], bool], tail: int) -> list[Share]:
    """Return what is to be learned of each partition.

    Parameters
    ----------
    heads : sequence of Head
    is_known : callable
        Whether the memory knows a session by this id; raises where that has other content.
    tail : int
        So many of the newest rows of the log are left to be learned where the union is.

    Raises
    ------
    SessionConflictError
        An id stands for different content.
    """
    first: dict[str, tuple[str, bytes]] = {}
    shares = []
    for head in heads:
        share = Share([])
        for place, (name, digest, line, rows) in enumerate(head.sessions):
            here = head.at(line)
            if name in first:
                before, known = first[name]
                if known != digest:
                    raise SessionConflictError(
                        f"session_id: {name!r} stands for different content in {before}, and in {here}; "
                        "nothing was learned. A session must stand in one partition as a whole, and has its own id"
                    )
                continue
            first[name] = here, digest
            try:
                if is_known(name, digest):
                    continue
            except InvalidInputError as error:
                raise SessionConflictError(f"{here}: {error}; nothing was learned") from error
            share.new.append(place)
            share.rows += rows
        shares.append(share)
    for share in reversed(shares):
        left = min(share.rows, tail)
        share.derived, tail = share.rows - left, tail - left
    return shares


def told_by_several(heads: Sequence[Head]) -> list[int]:
    """Return the numbers of the partitions with steps that another source may tell of, there or elsewhere."""
    spans = [
        (first, last, source, host, number)
        for number, head in enumerate(heads)
        for (source, host), (first, last) in head.tellers.items()
    ]
    spans.sort(key=lambda span: span[0])
    found: set[int] = set()
    for place, (_, last, source, host, number) in enumerate(spans):
        for begin, _, other, elsewhere, another in spans[place + 1 :]:
            if begin > last + SAME_TIME:
                break
            if other != source and (elsewhere == host or None in (elsewhere, host)):
                found |= {number, another}
    return sorted(found)
