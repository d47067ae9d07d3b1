"""Predictors that a user could pick instead, each a few lines with its source, all on the same templates and lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from peers.base import Peer, SequenceModel
from peers.counts import IPAM, InterpolatedCounts, Markov, MostFrequent
from peers.history import MatchPreviousCommand, MostRecent
from peers.sessions import CPT, STAN, SequentialRules

MODELS: dict[str, Callable[[], SequenceModel]] = {
    "most frequent": MostFrequent,
    "most recent": MostRecent,
    "Markov-1": partial(Markov, 1),
    "Markov-2": partial(Markov, 2),
    "IPAM": IPAM,
    "counts 0-3": InterpolatedCounts,
    "counts 0-3, decayed": partial(InterpolatedCounts, decay=0.97),
    "match_prev_cmd": MatchPreviousCommand,
    "CPT": CPT,
    "STAN (session kNN)": STAN,
    "sequential rules": SequentialRules,
}
"""The models by name."""


def missing() -> dict[str, str]:
    """Return the names of models whose library is not installed, each with the command that installs it."""
    return {} if find_spec("cpt") else {"CPT": "pip install -e '.[benchmarks]'"}


def make_peers() -> dict[str, Callable[[], Peer]]:
    """Return what makes each peer that can run here."""
    return {name: partial(Peer, model) for name, model in MODELS.items() if name not in missing()}
