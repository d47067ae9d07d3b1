"""How what a store keeps is written in rows: the same ones, whatever database they are in."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from procedural_memory.storage.base import FeedbackRow, PatternRow, RuleCounts
from procedural_memory.types import Outcome, Verdict

__all__ = [
    "ADD_COUNTS",
    "NEIGHBOUR",
    "OUTCOMES",
    "OUTCOME_CODES",
    "VERDICTS",
    "merge_rules",
    "pattern_head",
    "pattern_row",
    "shown_row",
]

OUTCOME_CODES: Final[Mapping[Outcome, int | None]] = {"success": 1, "failure": 0, None: None}
OUTCOMES: Final[Mapping[int | None, Outcome]] = {code: outcome for outcome, code in OUTCOME_CODES.items()}

VERDICTS: Final[tuple[Verdict, ...]] = ("accepted", "rejected", "ignored")
"""A verdict is kept as its place here."""

ADD_COUNTS: Final = """ON CONFLICT DO UPDATE SET
    count = count + excluded.count, sessions = sessions + excluded.sessions, success = success + excluded.success,
    failure = failure + excluded.failure, good = good + excluded.good, bad = bad + excluded.bad"""
"""In SQL, what adds a row of what followed to the one that is there, in a file."""

NEIGHBOUR: Final = struct.Struct("<qf")
"""A template that is near to another one, and their cosine."""


def shown_row(row: Sequence[Any]) -> FeedbackRow:
    """Return feedback from its number, step, texts, verdict, time and project."""
    _, step, after, line, verdict, timestamp, project = row
    return FeedbackRow(step, after, line, VERDICTS[verdict], timestamp, project)


def pattern_row(row: Sequence[Any], templates: Sequence[str]) -> PatternRow:
    """Return a pattern from the columns of its table, from its id on to its number; `templates` of the second one."""
    pattern_id, _, success, failure, unknown, duration_ms, timed, newest, example, number = row
    return PatternRow(
        pattern_id,
        tuple(templates),
        frozenset(),
        success=success,
        failure=failure,
        unknown=unknown,
        duration_ms=duration_ms,
        timed=timed,
        newest=newest,
        example=tuple(json.loads(example)),
        id=number,
    )


def pattern_head(row: Sequence[Any]) -> PatternRow:
    """Return a pattern without its templates from its id, counts, newest moment, and example or an empty text."""
    pattern_id, success, failure, unknown, newest, example = row
    return PatternRow(
        pattern_id,
        (),
        frozenset(),
        success=success,
        failure=failure,
        unknown=unknown,
        newest=newest,
        example=tuple(json.loads(example)) if example else (),
    )


def merge_rules(stored: RuleCounts, added: RuleCounts) -> dict[str, Sequence[int]]:
    """Return the counts of fill rules added up."""
    merged = dict(stored)
    for rule, (offered, right) in added.items():
        before = merged.get(rule, (0, 0))
        merged[rule] = before[0] + offered, before[1] + right
    return merged
