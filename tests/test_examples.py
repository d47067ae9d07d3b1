"""The examples run as they are shipped, and show what they promise."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import InvalidTypeError, ProceduralMemoryEngine
from procedural_memory.samples import load_sessions

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "procedural_memory.ipynb"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def quickstart() -> dict[str, str]:
    """What the script prints, by section title."""
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py")],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    parts = re.split(r"^== (.+) ==$", run.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_quickstart_learns_samples_and_own_sessions(quickstart: dict[str, str]) -> None:
    """The script learns every sample session and three of its own, which follow one pattern."""
    assert f"{len(load_sessions()) + 3} sessions" in quickstart["Learn"]
    assert "5 steps, 3 successes, success rate 100%, confidence 0.80" in quickstart["Learn"]


def test_quickstart_predicts_with_a_reason(quickstart: dict[str, str]) -> None:
    """The most probable command comes first, with its reason; the sessions just learned are known."""
    assert re.search(
        r"after: git commit\n  1\. git push  \(\d+%\)\n     because: .*seen \d+ times", quickstart["Predict"]
    )
    assert re.search(r"after: terraform validate\n  1\. terraform plan -out next\.tfplan ", quickstart["Predict"])


def test_quickstart_follows_a_live_session(quickstart: dict[str, str]) -> None:
    """After a failed test the file that was edited is offered, and closing forms a pattern."""
    assert re.search(r"which failed\n  1\. vim src/orders/refunds\.py ", quickstart["Live session"])
    assert re.search(r"formed pattern [0-9a-f]{8}$", quickstart["Live session"].rstrip())


def test_quickstart_finds_similar_patterns_best_first(quickstart: dict[str, str]) -> None:
    """Similar patterns are listed with falling similarity."""
    lines = quickstart["Similar patterns"].strip().splitlines()
    scores = [float(line.split()[0]) for line in lines]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all("docker compose up -d" in line for line in lines)


def test_quickstart_explains_an_outcome(quickstart: dict[str, str]) -> None:
    """Stashing and leaving the branch goes together with failed sessions."""
    assert re.search(r"^  worse   git (stash|switch)", quickstart["Explain the outcome"], flags=re.MULTILINE)
    assert "Association, not proof of cause" in quickstart["Explain the outcome"]


def test_quickstart_predicts_an_outcome(quickstart: dict[str, str]) -> None:
    """A session whose tests pass is likelier to end well than one whose tests fail."""
    lines = quickstart["Predict the outcome"].strip().splitlines()
    found = [re.match(r"npm test gives (\d): ends well with probability (\S+) \((\S+) to (\S+)\)", e) for e in lines]
    (passed, failed) = [[float(part) for part in match.groups()[1:]] for match in found if match]
    assert passed[0] > failed[0]
    assert all(low < probability < high for probability, low, high in (passed, failed))


def test_quickstart_loads_what_it_saved(quickstart: dict[str, str]) -> None:
    """A loaded memory predicts the same command."""
    section = quickstart["Save and load"]
    assert "before: terraform apply next.tfplan" in section
    assert "after:  terraform apply next.tfplan" in section
    assert section.rstrip().endswith("the same prediction")


def _printed(name: str) -> str:
    run = subprocess.run([sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_tool_loop_fails_less_with_memory() -> None:
    """What a person did is recalled, so the same task takes fewer calls and none of them fails."""
    without, remembering = re.findall(r"(\d+) calls, (\d+) failed", _printed("tool_loop.py"))
    assert int(without[1]) > 0
    assert remembering == ("4", "0")


def test_a_graph_keeps_its_workflows_in_the_store() -> None:
    """A LangGraph agent does what the person did, and learns that it did."""
    pytest.importorskip("langgraph", reason="langgraph is not installed (extra: examples)")
    printed = _printed("langgraph_memory.py")
    assert re.findall(r"^(ok  |fail) (.*)$", printed, re.MULTILINE) == [
        ("ok  ", line) for line in ("./configure", "make build", "make test", "make install")
    ]
    assert "4 of 4 sessions ended well" in printed


@pytest.fixture
def langgraph_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example as a module."""
    pytest.importorskip("langgraph", reason="langgraph is not installed (extra: examples)")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import langgraph_memory

    return langgraph_memory


@pytest.fixture
def store(langgraph_memory: Any) -> Iterator[Any]:
    """A store with a memory of its own."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        yield langgraph_memory.ProceduralStore(engine)


SHOP = ("workflows", "/src/shop")
LINES = ["npm ci", {"command": "npm test", "exit_code": 0}, "npm publish"]


def test_the_store_learns_what_is_put(store: Any) -> None:
    """And gives it back as it is; replaced or deleted it is forgotten. Also without blocking the event loop."""
    value = {"commands": LINES, "outcome": "success", "note": 3}
    store.put(SHOP, "one", value)
    asyncio.run(store.aput(SHOP, "two", value))
    assert store.get(SHOP, "one").value == value
    assert store.get(SHOP, "none") is None
    assert store.engine.stats()["session_count"] == 2
    (step, *_) = store.next_steps(SHOP, LINES[:2])
    assert step.next_command == "npm publish"
    store.put(SHOP, "one", {"commands": ["make", "make test", "make install"], "outcome": "failure"})
    assert store.engine.stats()["session_count"] == 2
    assert len(store.engine.patterns) == 2
    store.put(SHOP, "one", {"commands": ["make"]})  # too short to be learned, and no longer what it was
    assert store.engine.stats()["session_count"] == 1
    with pytest.raises(InvalidTypeError):
        store.put(SHOP, "three", {"commands": [1, 2, 3]})
    store.put(SHOP, "one", {"note": "no session any more"})
    store.delete(SHOP, "two")
    assert store.engine.stats()["session_count"] == 0
    assert store.get(SHOP, "one").value == {"note": "no session any more"}


def test_a_key_in_two_namespaces_is_two_sessions(store: Any) -> None:
    """Each with its own content, folder and end."""
    store.put(SHOP, "one", {"commands": LINES})
    store.put(("workflows", "/src/app"), "one", {"commands": ["make", "make test", "make install"]})
    assert store.engine.stats()["session_count"] == 2
    store.delete(SHOP, "one")
    assert store.get(("workflows", "/src/app"), "one").value["commands"][0] == "make"
    assert store.engine.stats()["session_count"] == 1


def test_a_query_finds_what_is_like_it_below_a_prefix(store: Any) -> None:
    """The best first; all else that was put there comes after it, and nothing of another prefix at all."""
    store.put(SHOP, "shop", {"commands": LINES})
    store.put(("workflows", "/src/app"), "app", {"commands": ["make", "make test", "make install"]})
    store.put(("notes",), "note", {"text": "npm ci"})
    query = "npm ci\nnpm test"
    assert [item.key for item in store.search((), query=query)] == ["shop", "app", "note"]
    assert [item.key for item in store.search(("workflows",), query="make\nmake test")] == ["app", "shop"]
    (best,) = store.search((), query=query, limit=1)
    assert best.value == {"commands": LINES}
    assert best.score is not None
    assert 0.5 < best.score <= 1
    assert [item.key for item in store.search((), query=query, limit=5, offset=2)] == ["note"]
    assert [item.key for item in store.search(("notes",), query=query, filter={"text": "npm ci"})] == ["note"]
    assert store.search(("workflows", "/src"), query=query) == []
    assert len(store.search((), query="\x1b\n ")) == 3


def test_what_breaks_a_rule_is_not_kept(store: Any) -> None:
    """Nor is what came with it."""
    from langgraph.store.base import InvalidNamespaceError, PutOp

    from procedural_memory import InvalidInputError

    with pytest.raises(InvalidInputError, match="outcome"):
        store.batch([PutOp(SHOP, "note", {"text": "x"}), PutOp(SHOP, "bad", {"commands": LINES, "outcome": "fine"})])
    assert store.search(()) == []
    with pytest.raises(InvalidNamespaceError):
        store.put((), "one", {"commands": LINES})


def test_the_store_does_what_that_of_langgraph_does(langgraph_memory: Any) -> None:
    """Whatever is asked of both, in whatever order: the same items, namespaces and refusals."""
    from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
    from langgraph.store.memory import InMemoryStore

    spaces = st.lists(st.sampled_from(["workflows", "/src/app", "x"]), min_size=1, max_size=3).map(tuple)
    prefixes = st.lists(st.sampled_from(["workflows", "/src/app", "x"]), max_size=2).map(tuple)
    keys = st.sampled_from(["one", "two"])
    sessions = st.lists(st.sampled_from(["make", "make test", "git push"]), max_size=4)
    values = st.one_of(
        st.none(),
        st.builds(lambda lines, n: {"commands": lines, "n": n}, sessions, st.integers(0, 2)),
        st.builds(lambda n: {"n": n}, st.integers(0, 2)),
    )
    pages = {"limit": st.integers(1, 4), "offset": st.integers(0, 2)}
    filters = st.sampled_from([None, {"n": 1}, {"n": {"$gte": 1}}])
    conditions = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), st.sampled_from([("x",), ("*", "x")]))
    ops = st.one_of(
        st.builds(PutOp, spaces, keys, values),
        st.builds(PutOp, spaces, keys, values),
        st.builds(GetOp, spaces, keys),
        st.builds(SearchOp, prefixes, filters, query=st.none(), **pages),
        st.builds(ListNamespacesOp, st.none() | st.tuples(conditions), st.none() | st.integers(1, 2), **pages),
    )

    def told(result: Any) -> Any:
        if isinstance(result, list):
            return [told(one) for one in result]
        return (result.namespace, result.key, result.value) if hasattr(result, "key") else result

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(ops, min_size=1, max_size=4), max_size=6))
    def check(batches: list[list[Any]]) -> None:
        with ProceduralMemoryEngine(embedder="lexical") as engine:
            ours, theirs = langgraph_memory.ProceduralStore(engine), InMemoryStore()
            for batch in batches:
                assert told(ours.batch(batch)) == told(theirs.batch(batch))
            items = [item for item in theirs.search((), limit=1_000) if len(item.value.get("commands", ())) >= 3]
            assert engine.stats()["session_count"] == len(items)

    check()


def test_a_tool_that_fails_is_a_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that takes too long is ended with all that it started; what it prints need not be text."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from tool_loop import run

    begin = time.monotonic()
    code, output = run("echo before; sleep 60 | cat; echo after", str(tmp_path), 1)
    assert time.monotonic() - begin < 30
    assert code != 0
    assert output.startswith("before\n")
    assert "after" not in output.split("(ended after 1 seconds)")[0].replace("before", "")
    code, output = run("printf 'a\\377\\376b'; exit 3", str(tmp_path))
    assert code == 3
    assert output[0] + output[-1] == "ab"
    assert run("cat", str(tmp_path)) == (0, "")  # nobody is there to type


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after all of its cells have run; a cell that raises fails the fixture."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra: examples)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra: examples)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra: examples)")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: examples)")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        # A user's own kernels and start-up files must not take part.
        patch.setenv("JUPYTER_DATA_DIR", str(folder / "data"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        client = nbclient.NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute()
    return notebook


def outputs(notebook: Any, tag: str) -> list[Any]:
    """Return the outputs of the cell with this tag."""
    (cell,) = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    return list(cell.outputs)


def test_notebook_is_valid_and_kept_without_outputs() -> None:
    """The notebook in the repository is valid, has cell ids, and holds no outputs."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra: examples)")
    notebook = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_notebook_runs_without_an_error(executed: Any) -> None:
    """Every code cell ran, in order, and none gave an error."""
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = [output.output_type for cell in code for output in cell.outputs]
    assert "error" not in kinds


@pytest.mark.parametrize("tag", ["workflow-graph", "outcome-chart"])
def test_notebook_draws_its_pictures(executed: Any, tag: str) -> None:
    """The workflow graph and the outcome chart come out as PNG images of a readable size."""
    (image,) = [output.data["image/png"] for output in outputs(executed, tag) if "image/png" in output.get("data", {})]
    content = base64.b64decode(image)
    assert content.startswith(PNG)
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    assert width >= 500
    assert height >= 250


def test_notebook_loads_what_it_saved(executed: Any) -> None:
    """The saved and loaded memory answers as the first one did."""
    text = "".join(output.text for output in outputs(executed, "save-and-load") if output.output_type == "stream")
    assert "before: terraform apply next.tfplan\nafter: terraform apply next.tfplan\n" in text
