"""The workflow graph: a view of the transitions, built when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from procedural_memory.storage.base import Store

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["causal_chains", "workflow_graph"]


def workflow_graph(store: Store, text: Callable[[str], str] = str) -> nx.DiGraph:
    """Return the transitions as a directed graph, templates redacted by `text`.

    Returns
    -------
    networkx.DiGraph
        Nodes are templates with ``count``; edges carry ``weight`` (times seen), ``success``, ``failure`` and
        ``success_rate`` (success / (success + failure), 0.0 when no outcome is known).
    """
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph()
    for template, count in store.template_counts():
        graph.add_node(text(template), count=count)
    for first, follower in store.edges():
        known = follower.success + follower.failure
        graph.add_edge(
            text(first),
            text(store.template_text(follower.template)),
            weight=follower.count,
            success=follower.success,
            failure=follower.failure,
            success_rate=follower.success / known if known else 0.0,
        )
    return graph


def causal_chains(store: Store, text: Callable[[str], str] = str) -> dict[str, list[dict[str, str | int | None]]]:
    """Return what followed each template and how that went, most frequent first.

    A chain is counted association, not proof of cause.

    Returns
    -------
    dict
        template -> ``[{"next": template, "outcome": "success" | "failure" | None, "count": n}, …]``
    """
    chains: dict[str, list[dict[str, str | int | None]]] = {}
    for first, follower in store.edges():
        unknown = follower.count - follower.success - follower.failure
        for outcome, count in (("success", follower.success), ("failure", follower.failure), (None, unknown)):
            if count:
                chains.setdefault(text(first), []).append(
                    {"next": text(store.template_text(follower.template)), "outcome": outcome, "count": count}
                )
    for links in chains.values():
        links.sort(key=lambda link: (-int(link["count"] or 0), str(link["next"]), str(link["outcome"])))
    return chains
