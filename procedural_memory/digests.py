"""BLAKE2b without OpenSSL, which `hashlib` loads: in a short process that takes longer than all that is hashed."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # pragma: no cover
    from hashlib import blake2b

__all__ = ["blake2b"]
