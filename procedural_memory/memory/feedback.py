"""Feedback: what became of predictions that were shown, counted by the step they were shown after.

Feedback is no step: it adds to no count of what follows what. What a user took is learned when it is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

from procedural_memory.commands.normalize import normalize
from procedural_memory.storage.base import START, Delta, FeedbackRow, hash64
from procedural_memory.types import Verdict

__all__ = ["count_feedback", "here_key", "line_key", "template_key"]

_COLUMNS: dict[Verdict, int] = {"accepted": 0, "rejected": 1, "ignored": 2}


def here_key(after: str) -> int:
    """Return the key of all that was shown after a template (`START` at the start of a session)."""
    return hash64("shown here", after)


def template_key(after: str, template: str) -> int:
    """Return the key of a template that was shown after another."""
    return hash64("shown template", after, template)


def line_key(after: str, line: str) -> int:
    """Return the key of a command line that was shown after a template."""
    return hash64("shown line", after, line)


def count_feedback(rows: Iterable[FeedbackRow]) -> Delta:
    """Return the counts of what became of predictions."""
    delta = Delta()
    for row in rows:
        after = START if row.after is None else normalize(row.after)
        for key in (here_key(after), template_key(after, normalize(row.line)), line_key(after, row.line)):
            delta.shown.setdefault(key, [0, 0, 0])[_COLUMNS[row.verdict]] += 1
    return delta
