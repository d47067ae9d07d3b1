"""The ids that a store makes of content, so that every memory, process and machine gives the same.

Needs the standard library alone: what appends to a log without loading the package makes the same ids.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence

from procedural_memory.digests import blake2b

__all__ = ["COURSE_STEP", "MOMENT", "digest_of", "hash64", "moment"]

MOMENT = struct.Struct(">d6sI")
"""Session start, hash of the session id, number of the step."""

COURSE_STEP = struct.Struct("<qqB")
"""One step of a course: the ids of its program and of its template, and flags."""


def hash64(*parts: str) -> int:
    """Return a signed 64-bit hash of `parts`, equal in every process and on every platform."""
    digest = blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def digest_of(outcome: str | None, steps: Iterable[Sequence[object]]) -> bytes:
    """Return a hash that names the content of a session.

    Parameters
    ----------
    outcome : {"success", "failure", None}
    steps : iterable of sequence
        Of each step the line, exit status, folder and time. Who told of it, and the project, may differ.
    """
    return blake2b(json.dumps([outcome, [list(step) for step in steps]]).encode(), digest_size=16).digest()


def moment(start: float, session_id: str, step: int) -> bytes:
    """Return the canonical place of a step: bytes that sort by session start, session, step.

    Ties between sessions that start together are broken by a hash of the session id, which every memory agrees on.
    """
    return MOMENT.pack(start, blake2b(session_id.encode("utf-8", "surrogatepass"), digest_size=6).digest(), step)
