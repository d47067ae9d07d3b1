"""The workflow graph as a picture."""

from __future__ import annotations

import importlib.util
import io
import os

from procedural_memory.errors import MissingExtraError
from procedural_memory.graphs.formats import digraph, write_private
from procedural_memory.graphs.view import GraphView

__all__ = ["write_png"]

_LONGEST = 32
_COLOURS = ("#b5530f", "#8a8a8a", "#1f6fb0")
"""From always failing to always succeeding: orange and blue are told apart by everyone."""


def write_png(view: GraphView, path: str | os.PathLike[str]) -> None:
    """Draw a view: the width of an edge is its weight, its colour its success rate, dashed where that is below half.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "examples")
    import networkx as nx
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    colours = LinearSegmentedColormap.from_list("success", _COLOURS)
    graph = digraph(view)
    figure = Figure(figsize=(14, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(f"{len(view.nodes)} of {view.total_nodes} templates; dashed: fails more often than it succeeds")
    place = nx.spring_layout(graph, weight=None, seed=1, k=2 / max(1, len(graph)) ** 0.5)
    strongest = max((edge.weight for edge in view.edges), default=1)
    most = max((node.count for node in view.nodes), default=1)
    for edge in view.edges:
        known = edge.success + edge.failure
        axes.annotate(
            "",
            place[edge.target],
            place[edge.source],
            arrowprops={
                "arrowstyle": "-|>",
                "color": colours(edge.success_rate) if known else "0.6",
                "linewidth": 0.5 + 4 * edge.weight / strongest,
                "linestyle": "--" if known and edge.success_rate < 0.5 else "-",
                "connectionstyle": "arc3,rad=0.1",
            },
        )
    for node in view.nodes:
        x, y = place[node.id]
        axes.scatter(x, y, s=30 + 400 * node.count / most, color="#2f6f9f", zorder=3)
        name = " ".join(node.id.split())
        short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
        axes.annotate(short, place[node.id], fontsize=8, zorder=4, ha="center", va="bottom", parse_math=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    write_private(path, out.getvalue())
