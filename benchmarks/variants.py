"""Variants of the engine for `ablation.py`: everything, and everything but one part.

A variant is made from outside, on an engine as it is shipped: a list of attributes that are replaced while it is
evaluated, or sessions that lack something. Nothing is trained again without the part: the start weights stay, the
ranker learns online as ever. So a part may look worth more than it is where others could have stood in for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias
from unittest import mock

import numpy as np
from train_weights import NEUTRAL

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.commands.ground import Guess, SessionValues
from procedural_memory.embedding.models import DEFAULT_MODEL, find_model
from procedural_memory.evaluation.sessions import EvaluationSession
from procedural_memory.prediction import predictor
from procedural_memory.prediction.features import EXPERTS, FEATURES, SITUATIONS, Features, extract
from procedural_memory.prediction.line_features import (
    LEAST,
    LINE_EXPERTS,
    LINE_FEATURES,
    LINE_SITUATIONS,
    extract_lines,
)

__all__ = ["EVERYTHING", "FEATURE_GROUPS", "FILL_GROUPS", "LINE_FEATURE_GROUPS", "VARIANTS", "Variant"]

EVERYTHING: Final = "everything"

Replacement: TypeAlias = tuple[Any, str, Any]
"""(object, name of its attribute, what stands there in the variant)"""

Sessions: TypeAlias = Sequence[EvaluationSession]


def _unchanged(engine: ProceduralMemoryEngine) -> list[Replacement]:
    return []


def _as_they_are(sessions: Sessions) -> Sessions:
    return sessions


@dataclass(frozen=True)
class Variant:
    """One way to run the engine.

    Attributes
    ----------
    change : callable
        From an engine to what is replaced in it.
    sessions : callable
        From the sessions to those that this variant is shown.
    embedder : str
    """

    change: Callable[[ProceduralMemoryEngine], list[Replacement]] = _unchanged
    sessions: Callable[[Sessions], Sessions] = _as_they_are
    embedder: str = "lexical"

    @contextmanager
    def applied(self) -> Iterator[Callable[[ProceduralMemoryEngine], None]]:
        """Give what turns an engine into this variant; what was replaced is back at the end of the block."""
        with ExitStack() as stack:

            def apply(engine: ProceduralMemoryEngine) -> None:
                for replaced in self.change(engine):
                    stack.enter_context(mock.patch.object(*replaced))  # raises where there is no such attribute

            yield apply


# -- experts


def _without_experts(*names: str) -> Variant:
    def change(engine: ProceduralMemoryEngine) -> list[Replacement]:
        asked = engine._predictor
        if missing := set(names) - {expert.name for expert in asked.experts}:
            raise ValueError(f"experts: {sorted(missing)} are not among those of the engine")
        return [
            (asked, part, tuple(expert for expert in getattr(asked, part) if expert.name not in names))
            for part in ("_ranked", "_pooled", "_liners")
        ]

    return Variant(change)


# -- what the ranker sees


def _altered(alter: Callable[[Features], Features], extractor: Callable[..., Features] = extract) -> Variant:
    def altered(*arguments: Any, **named: Any) -> Features:
        return alter(extractor(*arguments, **named))

    return Variant(lambda engine: [(predictor, extractor.__name__, altered)])


def _without_columns(names: Iterable[str], lines: bool = False) -> Variant:
    columns = LINE_FEATURES if lines else FEATURES
    places = [columns.index(name) for name in names]

    def alter(features: Features) -> Features:
        matrix = features.matrix.copy()
        matrix[:, places] = 0.0
        return replace(features, matrix=matrix)

    return _altered(alter, extract_lines if lines else extract)


def _without_situations(*names: str, lines: bool = False) -> Variant:
    kept = [place for place, name in enumerate(LINE_SITUATIONS if lines else SITUATIONS) if name not in names]
    return _altered(
        lambda features: replace(features, cases=tuple(features.cases[place] for place in kept)),
        extract_lines if lines else extract,
    )


def _without_pairs(features: Features) -> Features:
    return replace(features, traits=np.empty(0, dtype=np.uint64))


FEATURE_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "newest after 1 to 4 steps": tuple(name for name in FEATURES if name.startswith("newest after")),
    "seen after 1 to 4 steps": tuple(name for name in FEATURES if name.startswith("seen after")),
    "newest in this directory": ("newest here", "newest here after 1"),
    "what followed in this session": ("followed last time", "share of what followed", "followed both last time"),
    "age in this session": ("log age", "used in session"),
    "is the last, the one before, the third last": ("is the last", "is the one before", "is the third last"),
    "same program": ("same program",),
    "frequency": ("log count",),
}
"""Columns beside those of the experts and the constant, in groups of one idea."""

LINE_FEATURE_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "newest after 1 and 2 lines": ("newest after 1", "newest after 2"),
    "what followed in this session": ("followed last time", "share of what followed"),
    "age in this session": ("used in session", "log age", "is the last"),
    "whether a template gives it": ("filled",),
}
"""The same for the ranker of lines: columns beside those of the experts and of the template."""

_HINTS: Final = tuple(name for name in FEATURES if name not in (*EXPERTS, "known"))
_GROUPED: Final = {name for group in FEATURE_GROUPS.values() for name in group}
_REST: Final = tuple(name for name in _HINTS if name not in _GROUPED)


def _from_neutral(engine: ProceduralMemoryEngine) -> list[Replacement]:
    engine._rankers.restart(NEUTRAL)
    return []


def _learns_nothing(*arguments: Any, **named: Any) -> None:
    """Stand in for a method that learns."""


# -- how lines are filled

FILL_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "values used in the session": ("role ", "kind ", "form ", "same line", "companion"),
    "outputs": ("printed", "older"),
    "files written or made": ("written ", "made ", "all made"),
    "derived names": ("its ", "module ", "inner module ", "package ", "inner folder ", "file "),
    "line ranges": ("next lines", "lines from there"),
}
"""Fill rules in groups, each by how the names of its rules begin."""


def _without_fills(beginnings: tuple[str, ...]) -> Variant:
    def kept(method: Callable[..., Iterator[Guess]]) -> Callable[..., Iterator[Guess]]:
        def fills(*arguments: Any, **named: Any) -> Iterator[Guess]:
            return (guess for guess in method(*arguments, **named) if not guess[0].startswith(beginnings))

        return fills

    methods = ("free_fills", "bound_fills")
    return Variant(lambda engine: [(SessionValues, name, kept(getattr(SessionValues, name))) for name in methods])


def _as_filled(features: Features) -> tuple[Any, float]:
    filled = np.exp(features.matrix[:, 0].astype(np.float64)) - LEAST
    return filled, max(0.0, 1.0 - float(filled.sum()))


def _knows_nothing(keys: Sequence[int]) -> dict[int, Any]:
    """Stand in for a read of the store."""
    return {}


# -- what is told of a step


def _nowhere(sessions: Sessions) -> Sessions:
    return _with_steps(sessions, project=None, cwd=None)


def _no_exit_codes(sessions: Sessions) -> Sessions:
    return _with_steps(sessions, exit_code=None)


def _with_steps(sessions: Sessions, **fields: Any) -> Sessions:
    """Return sessions whose steps lack something; what is right stays the same."""
    return [
        replace(
            session,
            project=None if "project" in fields else session.project,
            steps=tuple(replace(step, command=replace(step.command, **fields)) for step in session.steps),
        )
        for session in sessions
    ]


# -- embedders


def _no_vectors(engine: ProceduralMemoryEngine) -> list[Replacement]:
    return [(engine._vectors, "_embedder", None)]


_MINILM: Final = find_model(DEFAULT_MODEL) is not None and importlib.util.find_spec("sentence_transformers") is not None

VARIANTS: Final[Mapping[str, Variant]] = {
    EVERYTHING: Variant(),
    **{f"expert: {name}": _without_experts(name) for name in (*EXPERTS, "patterns", "semantic", *LINE_EXPERTS)},
    "experts: all on lines": _without_experts(*LINE_EXPERTS),
    "experts: patterns and semantic": _without_experts("patterns", "semantic"),
    **{f"feature: {name}": _without_columns(columns) for name, columns in FEATURE_GROUPS.items()},
    **({"feature: others": _without_columns(_REST)} if _REST else {}),
    "features: all but what the experts say": _without_columns(_HINTS),
    **{f"situation: {name}": _without_situations(name) for name in SITUATIONS},
    "situations: all": _without_situations(*SITUATIONS),
    "ranker: no memory of pairs": _altered(_without_pairs),
    "ranker: neutral start weights": Variant(_from_neutral),
    "ranker: learns nothing": Variant(lambda engine: [(engine._rankers.templates, "learn", _learns_nothing)]),
    **{
        f"feature of lines: {name}": _without_columns(columns, lines=True)
        for name, columns in LINE_FEATURE_GROUPS.items()
    },
    **{f"situation of lines: {name}": _without_situations(name, lines=True) for name in LINE_SITUATIONS},
    "situations of lines: all": _without_situations(*LINE_SITUATIONS, lines=True),
    "ranker of lines: no memory of pairs": _altered(_without_pairs, extract_lines),
    "ranker of lines: learns nothing": Variant(lambda engine: [(engine._rankers.lines, "learn", _learns_nothing)]),
    "ranker of lines: probabilities of templates and fills alone": Variant(
        lambda engine: [(engine._rankers.lines, "rank", _as_filled)]
    ),
    **{f"fill rules: {name}": _without_fills(beginnings) for name, beginnings in FILL_GROUPS.items()},
    "fill rules: how often they were right": Variant(lambda engine: [(engine._store, "rules", _knows_nothing)]),
    "lines: values of the past": Variant(lambda engine: [(engine._store, "values", _knows_nothing)]),
    "told: no project, no directory": Variant(sessions=_nowhere),
    "told: no exit codes": Variant(sessions=_no_exit_codes),
    "embedder: none": Variant(_no_vectors),
    **({"embedder: MiniLM": Variant(embedder="sentence-transformers")} if _MINILM else {}),
}
"""What is left out or done otherwise -> the variant; all but the embedder's are with the lexical one."""
