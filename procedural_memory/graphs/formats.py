"""The workflow graph in the formats of other tools. Commands are foreign text: each format has its own escaping."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procedural_memory.errors import InvalidInputError, StorageError, shown
from procedural_memory.graphs.html import single_file
from procedural_memory.graphs.view import GraphView
from procedural_memory.storage.files import reading, replacing

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["FORMATS", "digraph", "export", "node_link", "write_private"]

_SQLITE = b"SQLite format 3\0"
_MERMAID_PLAIN = frozenset(" -._/=,+@")


def digraph(view: GraphView) -> nx.DiGraph:
    """Return the graph that a view shows, with the attributes of the workflow graph."""
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph()
    for node in view.nodes:
        graph.add_node(node.id, count=node.count)
    for edge in view.edges:
        numbers = {"weight": edge.weight, "success": edge.success, "failure": edge.failure}
        graph.add_edge(edge.source, edge.target, **numbers, success_rate=edge.success_rate)
    return graph


def node_link(view: GraphView) -> dict[str, Any]:
    """Return node-link data, as ``networkx.node_link_graph(data, edges="edges")`` reads it; ids are templates."""
    import networkx as nx

    data: dict[str, Any] = nx.node_link_data(digraph(view), edges="edges")
    return data


def _json(view: GraphView) -> str:
    return json.dumps(node_link(view), indent=1) + "\n"


def _graphml(view: GraphView) -> str:
    """Nodes are n0, n1, …, because what XML cannot hold is replaced in their ``template``."""
    import networkx as nx

    graph = digraph(view)
    nx.set_node_attributes(graph, {node.id: _printable(node.id) for node in view.nodes}, "template")
    graph = nx.relabel_nodes(graph, _names(view))
    out = io.BytesIO()
    nx.write_graphml_xml(graph, out)
    return out.getvalue().decode("utf-8") + "\n"


def _mermaid(view: GraphView) -> str:
    names = _names(view)
    lines = ["flowchart LR"]
    lines += [f'  {names[node.id]}["{_mermaid_text(node.id)}"]' for node in view.nodes]
    lines += [f'  {names[e.source]} -->|"{_label(e)}"| {names[e.target]}' for e in view.edges]
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    plain = " ".join(_printable(text).split())
    return "".join(
        char if char.isalnum() or char in _MERMAID_PLAIN or ord(char) > 127 else f"#{ord(char)};" for char in plain
    )


def _dot(view: GraphView) -> str:
    names = _names(view)
    strongest = max((edge.weight for edge in view.edges), default=1)
    lines = ["digraph workflow {", "  node [shape=box];"]
    lines += [f"  {names[node.id]} [label={_dot_text(node.id)}];" for node in view.nodes]
    lines += [
        f"  {names[e.source]} -> {names[e.target]} [label={_dot_text(_label(e))}, weight={e.weight},"
        f" penwidth={1 + 4 * e.weight / strongest:.2f}];"
        for e in view.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    plain = _printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return '"' + plain.replace("\r", "").replace("\n", "\\n") + '"'


def _label(edge: Any) -> str:
    return f"{edge.weight}" + (f", {100 * edge.success_rate:.0f} % ok" if edge.success + edge.failure else "")


def _names(view: GraphView) -> dict[str, str]:
    return {node.id: f"n{number}" for number, node in enumerate(view.nodes)}


def _printable(text: str) -> str:
    """Replace what XML 1.0 cannot hold: control characters, halves of surrogate pairs, U+FFFE and U+FFFF."""
    return "".join(
        char
        if (char >= " " or char in "\t\n\r") and not 0xD800 <= ord(char) <= 0xDFFF and char not in "\ufffe\uffff"
        else "\ufffd"
        for char in text
    )


FORMATS: Mapping[str, Callable[[GraphView], str]] = {
    "json": _json,
    "graphml": _graphml,
    "mermaid": _mermaid,
    "dot": _dot,
    "html": single_file,
}
"""What each format is written by."""


def export(view: GraphView, format: str, path: str | os.PathLike[str] | None = None) -> str:
    """Return a view in one of the `FORMATS`, and write it to `path` when one is given.

    Raises
    ------
    InvalidInputError
        There is no such format.
    StorageError
        The file cannot be written; what was there is as it was.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise InvalidInputError(f"format: must be one of {', '.join(FORMATS)}, got {shown(format)}")
    text = FORMATS[format](view)
    if path is not None:
        write_private(path, text.encode("utf-8"))
    return text


def write_private(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    target = Path(path)
    if _is_database(target):
        raise InvalidInputError(f"path: {str(target)!r} is a database, perhaps the memory; name another file")
    try:
        with replacing(target) as (file, _):
            file.write(content)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        raise StorageError(f"path {str(target)!r}: cannot be written ({error})") from error


def _is_database(path: Path) -> bool:
    try:
        with reading(path) as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):  # not there, or it cannot be: writing it will tell
        return False
