"""The workflow graph in the formats of other tools, and the part of it that is shown."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import stat
from pathlib import Path

import networkx as nx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import InvalidInputError, ProceduralMemoryEngine, StorageError
from procedural_memory.cli import main
from procedural_memory.graphs.formats import FORMATS, export
from procedural_memory.graphs.view import Edge, GraphView, Node


def need_d3() -> None:
    """Skip when the package that carries the drawing library is not there; it is read, never imported."""
    if importlib.util.find_spec("gravis") is None:
        pytest.skip("gravis is not installed")


HOSTILE = st.text(min_size=1, max_size=30) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "</script>",
        "<!--",
        "]]>",
        "\x00\x1b",
        "\ud800",
        "end",
        "a\nb",
        "`${x}`",
        "&amp;",
        "#quot;",
        "%%",
    ]
)


@st.composite
def views(draw: st.DrawFn) -> GraphView:
    """Graphs with any text at all in them."""
    names = draw(st.lists(HOSTILE, min_size=1, max_size=5, unique=True))
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), unique=True, max_size=8))
    edges = tuple(Edge(a, b, n + 2, n % 3, 1) for n, (a, b) in enumerate(pairs))
    return GraphView(tuple(Node(name, 1, 0, 0) for name in names), edges, len(names), len(edges))


@given(views())
@settings(deadline=None)
def test_node_link_reads_back(view: GraphView) -> None:
    """Node link reads back."""
    graph = nx.node_link_graph(json.loads(export(view, "json")), edges="edges")
    assert set(graph) == {node.id for node in view.nodes}
    assert {(a, b): d["weight"] for a, b, d in graph.edges(data=True)} == {
        (e.source, e.target): e.weight for e in view.edges
    }


@given(views())
@settings(deadline=None)
def test_graphml_reads_back(view: GraphView) -> None:
    """Graphml reads back."""
    graph = nx.read_graphml(io.BytesIO(export(view, "graphml").encode("utf-8")))
    assert len(graph) == len(view.nodes)
    assert sorted(d["weight"] for _, _, d in graph.edges(data=True)) == sorted(e.weight for e in view.edges)
    for number, node in enumerate(view.nodes):
        if node.id.isprintable() and node.id.isascii():
            assert graph.nodes[f"n{number}"]["template"] == node.id


@given(views())
@settings(deadline=None)
def test_mermaid_has_one_line_each_and_nothing_of_its_syntax_in_a_text(view: GraphView) -> None:
    """Mermaid has one line each and nothing of its syntax in a text."""
    lines = export(view, "mermaid").rstrip("\n").split("\n")
    assert len(lines) == 1 + len(view.nodes) + len(view.edges)
    for line in lines[1 : 1 + len(view.nodes)]:
        assert re.fullmatch(r'  n\d+\["[^"<>`\\\[\]{}|]*"\]', line)


@given(views())
@settings(deadline=None)
def test_dot_has_one_line_each_and_each_text_ends_where_it_should(view: GraphView) -> None:
    """Dot has one line each and each text ends where it should."""
    lines = export(view, "dot").rstrip("\n").split("\n")
    text = r'"(?:[^"\\]|\\.)*"'
    assert len(lines) == 3 + len(view.nodes) + len(view.edges)
    for line in lines[2 : 2 + len(view.nodes)]:
        assert re.fullmatch(rf"  n\d+ \[label={text}\];", line)


@given(views())
@settings(deadline=None, max_examples=30)
def test_nothing_in_a_page_ends_its_data(view: GraphView) -> None:
    """Nothing in a page ends its data."""
    need_d3()
    page = export(view, "html")
    page.encode("utf-8")
    data = page.split('id="graph-data">', 1)[1].split("</script>", 1)[0]
    assert "<" not in data
    assert json.loads(data) == json.loads(json.dumps(view.as_dict()))
    assert page.count("</script>") == 5


def test_the_same_memory_gives_the_same_export(learned: ProceduralMemoryEngine) -> None:
    """The same memory gives the same export."""
    need_d3()
    for format in FORMATS:
        assert learned.export_graph(format) == learned.export_graph(format)


def test_json_is_the_workflow_graph(learned: ProceduralMemoryEngine) -> None:
    """Json is the workflow graph."""
    graph = nx.node_link_graph(json.loads(learned.export_graph("json")), edges="edges")
    whole = learned.workflow_graph
    assert nx.utils.graphs_equal(graph, whole)


def test_the_part_that_is_shown(learned: ProceduralMemoryEngine) -> None:
    """The part that is shown."""
    whole = learned.graph_view(None)
    assert len(whole.nodes) == whole.total_nodes
    few = learned.graph_view(10)
    assert few.nodes == whole.nodes[:10]
    assert all(edge.source in {node.id for node in few.nodes} for edge in few.edges)
    near = learned.graph_view(8, around="git status")
    assert "git status" in {node.id for node in near.nodes}
    assert len(near.nodes) == 8
    strongest = next(edge for edge in whole.edges if edge.source == "git status")
    assert strongest in near.edges
    found = learned.graph_view(500, search="GIT  status")
    assert "git status" in {node.id for node in found.nodes}
    assert learned.graph_view(search="no such thing").nodes == ()
    assert learned.graph_view(around="no such thing").nodes == ()


def test_bad_questions_are_named(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Bad questions are named."""
    with pytest.raises(InvalidInputError, match="limit"):
        learned.graph_view(0)
    with pytest.raises(InvalidInputError, match="search, around"):
        learned.graph_view(search="a", around="b")
    with pytest.raises(InvalidInputError, match="format: must be one of json"):
        learned.export_graph("exe")
    with pytest.raises(StorageError, match="cannot be written"):
        learned.export_graph("dot", tmp_path / "none" / "graph.dot")
    assert list(tmp_path.iterdir()) == []


def test_files_are_private_and_whole(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Files are private and whole."""
    file = tmp_path / "graph.dot"
    file.write_text("old")
    file.chmod(0o644)
    text = learned.export_graph("dot", file)
    assert file.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_the_memory_itself_is_not_overwritten(tmp_path: Path) -> None:
    """A slip of the keyboard does not put a drawing in place of what was learned."""
    store = tmp_path / "memory.sqlite3"
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.learn_workflow(["git pull", "make", "make test"])
        with pytest.raises(InvalidInputError, match="is a database, perhaps the memory"):
            engine.export_graph("dot", store)
        with ProceduralMemoryEngine(path=store, embedder="lexical") as other:
            assert len(other) == 1
    with pytest.raises(StorageError, match="cannot be written"):
        ProceduralMemoryEngine(embedder="lexical").export_graph("dot", tmp_path / "nul\0")


def test_a_notebook_shows_it_without_a_script(engine: ProceduralMemoryEngine) -> None:
    """A notebook shows it without a script."""
    engine.learn_workflow(["echo <script>alert(1)</script>", "b <img src=x>", "c"])
    shown = engine._repr_html_()
    assert shown is not None
    assert "<script" not in shown
    assert "<img" not in shown
    assert "transitions" in shown


def test_the_command_writes_and_prints(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """The command writes and prints."""
    need_d3()
    pytest.importorskip("matplotlib")
    store = tmp_path / "memory.sqlite3"
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.merge(learned)
    page, picture = tmp_path / "g.html", tmp_path / "g.png"
    base = ["graph", "--path", str(store), "--embedder", "lexical"]
    done = CliRunner().invoke(main, [*base, "--html", str(page), "--png", str(picture)])
    assert done.exit_code == 0, done.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert picture.read_bytes().startswith(b"\x89PNG")
    for option, start in (("--mermaid", "flowchart"), ("--dot", "digraph"), ("--graphml", "<?xml")):
        printed = CliRunner().invoke(main, [*base, option, "--around", "git status", "-n", "5"])
        assert printed.exit_code == 0, printed.output
        assert printed.output.startswith(start)
