"""What the ranker of lines sees: how probable a line is by its template, and what was run in such a place before."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from procedural_memory.memory.context import LINE_ORDER
from procedural_memory.prediction.experts import Proposal, Query
from procedural_memory.prediction.features import (
    Column,
    Features,
    as_matrix,
    ended,
    flags,
    log_ages,
    numbered,
    position,
    said,
    shares_of,
)
from procedural_memory.storage.base import hash64, text_id

__all__ = ["LEAST", "LINE_EXPERTS", "LINE_FEATURES", "LINE_SITUATIONS", "extract_lines"]

LINE_EXPERTS: Final = ("line", "line lately", "line here", "line after")

LINE_FEATURES: Final = (
    "fill",
    *LINE_EXPERTS,
    "newest after 1",
    "newest after 2",
    "used in session",
    "log age",
    "followed last time",
    "share of what followed",
    "is the last",
    "filled",
)
"""Columns: log-probabilities by the template and by the experts on lines, hints, and whether a template gives it."""

LINE_SITUATIONS: Final[Mapping[str, int]] = {"match": LINE_ORDER + 2, "exit": 12, "position": 8, "sure": 5}

LEAST: Final = 1e-3
"""What is added to probabilities before the logarithm."""


def extract_lines(query: Query, filled: Mapping[str, float], proposals: Mapping[str, Proposal]) -> Features:
    """Return the features of command lines.

    Parameters
    ----------
    query : Query
    filled : mapping
        Line -> its probability by its template; 0 where no template gives it.
    proposals : mapping
        What the experts on lines say, by their names.
    """
    lines = list(filled)
    candidates = [text_id(line) for line in lines]
    ids = np.array(candidates, dtype=np.int64)
    columns: list[Column] = [np.log(np.array([*filled.values()]) + LEAST)]
    columns += [said(proposals.get(name), candidates, LEAST) for name in LINE_EXPERTS]
    keys = query.keys["line"]
    contexts = [query.followers(keys[order]) if order < len(keys) else None for order in range(LINE_ORDER + 1)]
    columns += [flags(ids, context.recent[-1] if context else None) for context in contexts[1:]]
    before = query.context.lines
    ages = {line: len(before) - i for i, line in enumerate(before)}
    followed = [after for line, after in pairwise(before) if line == before[-1]]
    columns += [
        [line in ages for line in lines],
        log_ages(ages, lines),
        [line == followed[-1] for line in lines] if followed else 0.0,
        shares_of(followed, lines),
        [line == before[-1] for line in lines] if before else 0.0,
        [p > 0.0 for p in filled.values()],
    ]
    matrix = as_matrix(columns, len(lines))
    matched = max((order for order, context in enumerate(contexts) if context), default=-1)
    chosen = (
        matched + 1,
        ended(query.context),
        position(query.context),
        min(4, int(max(filled.values(), default=0.0) * 5)),
    )
    return Features(candidates, matrix, numbered(chosen, LINE_SITUATIONS), _traits(query))


def _traits(query: Query) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    lines, steps = query.context.lines, query.context.templates
    traits = [hash64("any"), hash64("directory", query.cwd or "")]
    if lines:
        traits += [hash64("line", lines[-1]), hash64("step", str(bool(query.context.exit_code)), steps[-1])]
    if len(lines) > 1:
        traits += [hash64("before", lines[-2]), hash64("two", *lines[-2:])]
    return np.array(traits, dtype=np.int64).view(np.uint64)
