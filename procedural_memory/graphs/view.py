"""The part of the workflow graph that is worth showing: a few hundred templates of what may be many thousands."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from procedural_memory.errors import InvalidInputError, InvalidTypeError, shown
from procedural_memory.storage.base import Store
from procedural_memory.types import SHOWN_TEMPLATES
from procedural_memory.validation import as_positive_int

__all__ = ["Edge", "GraphView", "Node", "view_of"]

_EDGES_PER_NODE = 4


@dataclass(frozen=True, slots=True)
class Node:
    """A template, how often it was used, and how the transitions to it went."""

    id: str
    count: int
    success: int
    failure: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A transition; `success_rate` is 0.0 when no outcome is known, as in the workflow graph."""

    source: str
    target: str
    weight: int
    success: int
    failure: int

    @property
    def success_rate(self) -> float:
        """Successes / (successes + failures)."""
        known = self.success + self.failure
        return self.success / known if known else 0.0


@dataclass(frozen=True, slots=True)
class GraphView:
    """Part of the workflow graph, most used templates and strongest transitions first, and the size of the whole."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    total_nodes: int
    total_edges: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        edges = [{**asdict(edge), "success_rate": edge.success_rate} for edge in self.edges]
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "edges": edges,
            "total_nodes": self.total_nodes,
            "total_edges": self.total_edges,
        }


def view_of(
    store: Store,
    text: Callable[[str], str] = str,
    *,
    limit: int | None = SHOWN_TEMPLATES,
    search: str | None = None,
    around: str | None = None,
) -> GraphView:
    """Pick the part of the workflow graph that is worth showing.

    Parameters
    ----------
    store : Store
    text : callable
        Redacts a template.
    limit : int or None
        At most this many templates; None: all.
    search : str, optional
        Templates that hold all of these words, whatever their case, and then their strongest neighbours.
    around : str, optional
        This template and its neighbourhood, strongest transitions first.

    Returns
    -------
    GraphView
        The most used templates when neither is given. The same memory gives the same view.

    Raises
    ------
    InvalidInputError
        A value breaks a rule, or both `search` and `around` are given.
    """
    if limit is not None:
        limit = as_positive_int("limit", limit)
    for name, value in (("search", search), ("around", around)):
        if value is not None and not isinstance(value, str):
            raise InvalidTypeError(f"{name}: must be a text or None, not {type(value).__name__} ({shown(value)})")
    if search and around:
        raise InvalidInputError("search, around: give one of them, not both")
    counts: dict[str, int] = {}
    for template, count in store.template_counts():
        name = text(template)
        counts[name] = counts.get(name, 0) + count
    edges = _edges(store, text)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    if around:
        chosen = _grown([around] if around in counts else [], edges, limit)
    elif search and search.split():
        words = search.casefold().split()
        chosen = _grown([name for name in order if all(word in name.casefold() for word in words)], edges, limit, 1)
    else:
        chosen = set(order[:limit])
    inside = [edge for edge in edges if edge.source in chosen and edge.target in chosen]
    if limit is not None:
        inside = _strongest(inside, _EDGES_PER_NODE * limit)
    went: dict[str, tuple[int, int]] = {}
    for edge in edges:
        good, bad = went.get(edge.target, (0, 0))
        went[edge.target] = good + edge.success, bad + edge.failure
    nodes = [Node(name, counts[name], *went.get(name, (0, 0))) for name in order if name in chosen]
    return GraphView(tuple(nodes), tuple(inside), len(counts), len(edges))


def _edges(store: Store, text: Callable[[str], str]) -> list[Edge]:
    """Return all transitions, strongest first; those whose texts are the same once redacted are one."""
    rows = list(store.edges())
    names = store.template_texts([follower.template for _, follower in rows])
    sums: dict[tuple[str, str], tuple[int, int, int]] = {}
    for (first, row), second in zip(rows, names, strict=True):
        key = text(first), text(second)
        count, good, bad = sums.get(key, (0, 0, 0))
        sums[key] = count + row.count, good + row.success, bad + row.failure
    return sorted((Edge(*key, *found) for key, found in sums.items()), key=lambda e: (-e.weight, e.source, e.target))


def _strongest(edges: Iterable[Edge], limit: int) -> list[Edge]:
    """Keep the first `limit`, and of the others those without which a template would look as if nothing led to it."""
    kept: list[Edge] = []
    linked: set[str] = set()
    for edge in edges:
        if len(kept) < limit or not {edge.source, edge.target} <= linked:
            kept.append(edge)
            if edge.source != edge.target:
                linked |= {edge.source, edge.target}
    return kept


def _grown(seeds: Iterable[str], edges: Iterable[Edge], limit: int | None, hops: int = 2) -> set[str]:
    """Grow the seeds by their neighbours, nearest first and of these the strongest, until `limit` are found."""
    neighbours: dict[str, list[tuple[int, str]]] = {}
    for edge in edges:
        neighbours.setdefault(edge.source, []).append((edge.weight, edge.target))
        neighbours.setdefault(edge.target, []).append((edge.weight, edge.source))
    chosen: set[str] = set()
    # Seeds come in the order of their use, and keep it.
    queue: list[tuple[int, int, str]] = [(0, number, seed) for number, seed in enumerate(seeds)]
    for hop, _, name in _popped(queue):
        if limit is not None and len(chosen) >= limit:
            break
        if name in chosen:
            continue
        chosen.add(name)
        if hop < hops:
            for weight, other in neighbours.get(name, ()):
                if other not in chosen:
                    heapq.heappush(queue, (hop + 1, -weight, other))
    return chosen


def _popped(queue: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    heapq.heapify(queue)
    while queue:
        yield heapq.heappop(queue)
