"""Blends what the experts propose into one probability per template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from procedural_memory.prediction.experts import Expert, Proposal, Query

__all__ = ["WEIGHTS", "Blend", "Candidate"]

WEIGHTS: Final = {"counts": 0.3, "project": 0.25, "patterns": 0.2, "semantic": 0.08, "recency": 0.17}
"""Share of each expert in the linear opinion pool (Stone 1961); the shares of those that answer sum to one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A template that might come next."""

    template: int
    probability: float


class Blend:
    """A linear pool of experts: as calibrated as its experts, and each part of a probability can be named."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        self.experts = tuple(experts)

    def propose(self, query: Query) -> tuple[list[Candidate], dict[str, tuple[float, Proposal]]]:
        """Return the candidates, most probable first, and (weight, proposal) of each expert that answered."""
        answers = {e.name: p for e in self.experts if (p := e.propose(query)) is not None}
        total = sum(WEIGHTS[name] for name in answers)
        shares = {name: (WEIGHTS[name] / total, proposal) for name, proposal in answers.items()}
        mixed: dict[int, float] = {}
        for share, proposal in shares.values():
            for template, probability in proposal.probabilities.items():
                mixed[template] = mixed.get(template, 0.0) + share * probability
        texts = dict(zip(mixed, query.store.template_texts(list(mixed)), strict=True))
        ranked = [Candidate(template, p) for template, p in mixed.items() if p > 0.0]
        ranked.sort(key=lambda c: (-c.probability, texts[c.template]))
        return ranked, shares
