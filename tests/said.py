"""What a memory says of the next step that does not depend on the order of learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from procedural_memory import ProceduralMemoryEngine

Said: TypeAlias = tuple[dict[str, dict[str, float]], dict[str, float]]
"""template -> expert -> probability; line -> probability given its template"""


def said(engine: ProceduralMemoryEngine, context: Sequence[Any]) -> Said:
    """Return what each expert gives each template, and the probability of each line given its template.

    Both come from counts, which are exact. How the experts are weighed is learned step by step, in the order in which
    steps come.
    """
    templates = engine.predict_next_action(context, top_k=100, level="template")
    lines = engine.predict_next_action(context, top_k=100)
    return (
        {p.template: {item.expert: item.probability for item in p.evidence} for p in templates},
        {p.next_command: p.probability / p.template_probability for p in lines if p.runnable},
    )
