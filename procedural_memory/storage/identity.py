"""The ids that a store makes of content, so that every memory, process and machine gives the same.

Needs the standard library alone: what appends to a log without loading the package makes the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

try:  # the same function without what loads OpenSSL, which takes as long as all the rest
    from _blake2 import blake2b
except ImportError:  # pragma: no cover
    from hashlib import blake2b

__all__ = ["digest_of", "hash64"]


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
