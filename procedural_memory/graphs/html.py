"""The workflow graph as one HTML file that needs no network, and as a small picture for notebooks."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.util
import json
from functools import cache
from pathlib import Path

from procedural_memory.errors import MissingExtraError
from procedural_memory.graphs.view import GraphView

__all__ = ["STATIC", "d3_file", "graph_part", "notebook", "single_file"]

STATIC = Path(__file__).parent / "static"
"""The drawing's own script and style, which the page of the server uses, too."""
_ROWS = 12


@cache
def d3_file() -> Path:
    """Return the file with the D3 library, of the package gravis; it is read, never imported.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    spec = importlib.util.find_spec("gravis")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder, "_internal", "plotting", "third_party", "d3", "d3.v7.min.def.js")
        if file.is_file():
            return file
    raise MissingExtraError("gravis, which carries the drawing library D3,", "server")


def single_file(view: GraphView) -> str:
    """Return a page with all that it needs in it; nothing but its own scripts can run in it."""
    style = _text(STATIC / "graph.css")
    scripts = [_text(STATIC / "loader.js"), _text(d3_file()), _text(STATIC / "graph.js"), _text(STATIC / "file.js")]
    # No "<" is left in the data, so nothing in it can end the element or open a comment.
    data = json.dumps(view.as_dict()).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    body = _text(STATIC / "file.html").replace("<!-- graph -->", graph_part())
    head, tail = body.split("<!-- here -->")
    parts = [
        head.replace("POLICY", html.escape(policy, quote=False)).replace("STYLE", style),
        f'<script type="application/json" id="graph-data">{data}</script>\n',
        *(f"<script>{script}</script>\n" for script in scripts),
        tail,
    ]
    return "".join(parts)


def graph_part() -> str:
    """Return the HTML of the drawing, its search and its table, which pages put where they want it."""
    return _text(STATIC / "graph.html")


def notebook(view: GraphView) -> str:
    """Return a table of the strongest transitions: no script, so that a notebook shows it that is not trusted."""
    strongest = max((edge.weight for edge in view.edges), default=1)
    rows = []
    for edge in view.edges[:_ROWS]:
        known = edge.success + edge.failure
        rate = f"{100 * edge.success_rate:.0f} %" if known else "unknown"
        bar = (
            f'<svg width="60" height="8" role="img" aria-label="{edge.weight} times">'
            f'<rect width="{max(1, 60 * edge.weight // strongest)}" height="8" fill="#2f6f9f"/></svg>'
        )
        names = [html.escape(_short(name)) for name in (edge.source, edge.target)]
        rows.append(
            f"<tr><td><code>{names[0]}</code></td><td><code>{names[1]}</code></td>"
            f"<td>{bar} {edge.weight}</td><td>{rate}</td></tr>"
        )
    return (
        f"<table><caption>Procedural memory: {view.total_nodes} templates, {view.total_edges} transitions"
        "</caption><thead><tr><th>from</th><th>to</th><th>times</th><th>success</th></tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table>"
    )


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _text(file: Path) -> str:
    # A browser hashes what is between the tags after it has made all ends of lines alike.
    return file.read_text(encoding="utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode('utf-8')).digest()).decode()}'"
