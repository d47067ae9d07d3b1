"""What a memory says of the next step that does not depend on the order of learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.prediction.line_features import LINE_EXPERTS

Said: TypeAlias = tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]
"""template -> expert -> probability; line -> expert on lines -> probability, that given its template among them"""


def said(engine: ProceduralMemoryEngine, context: Sequence[Any]) -> Said:
    """Return what each expert gives each template, and what those on lines give each line.

    Both come from counts, which are exact. How the experts are weighed is learned step by step, in the order in which
    steps come.
    """
    of_lines = {"fill", *LINE_EXPERTS}
    templates = engine.predict_next_action(context, top_k=100, level="template")
    lines = engine.predict_next_action(context, top_k=100)
    return (
        {p.template: {item.expert: item.probability for item in p.evidence} for p in templates},
        {
            p.next_command: {item.expert: item.probability for item in p.evidence if item.expert in of_lines}
            for p in lines
            if p.runnable
        },
    )
