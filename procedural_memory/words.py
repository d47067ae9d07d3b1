"""Words that are told to people, wherever they are told."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str) -> str:
    """Return how many there are of what a noun names: ``1 pattern``, ``2 patterns``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
