"""Finds the predictors to compare with, which come with the source and not with an installed package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from procedural_memory.errors import InvalidInputError
from procedural_memory.evaluation.predictors import Predictor

__all__ = ["load_peers"]


def load_peers() -> tuple[dict[str, Callable[[], Predictor]], dict[str, str]]:
    """Return what makes each peer, by name, and for those that cannot run here the command that helps.

    Raises
    ------
    InvalidInputError
        The package was installed without its source.
    """
    folder = Path(__file__).parents[2] / "benchmarks"
    if not (folder / "peers" / "__init__.py").is_file():
        raise InvalidInputError(
            f"peers: must lie in {str(folder / 'peers')!r}; they come with the source: in a clone, "
            "run pip install -e . first"
        )
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    peers = import_module("peers")
    return peers.make_peers(), peers.missing()
