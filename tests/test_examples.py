"""The examples run as they are shipped, and show what they promise."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_the_store_keeps_the_contract_of_langgraph(monkeypatch: pytest.MonkeyPatch) -> None:
    """put, search, get, delete and list_namespaces, also without blocking the event loop."""
    pytest.importorskip("langgraph", reason="langgraph is not installed (extra: examples)")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import asyncio

    from langgraph_memory import ProceduralStore

    from procedural_memory import ProceduralMemoryEngine

    space = ("workflows", "/src/shop")
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        store = ProceduralStore(engine)
        value = {"commands": ["npm ci", {"command": "npm test", "exit_code": 0}, "npm publish"], "outcome": "success"}
        store.put(space, "one", value)
        asyncio.run(store.aput(space, "two", value))
        (found,) = store.search(space, query="npm ci\nnpm test", limit=1)
        assert found.value["command"] == "npm publish"
        assert found.score is not None
        assert 0 < found.score <= 1
        (pattern_id,) = engine.patterns
        item = store.get(space, pattern_id)
        assert item is not None
        assert item.value["commands"] == ["npm ci", "npm test", "npm publish"]
        assert store.get(space, "none") is None
        assert store.list_namespaces() == [space]
        store.delete(space, "one")
        assert engine.stats()["session_count"] == 1


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
