"""``procedural-memory evaluate``, its report and its plot, and the script that writes the results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import evaluate as script
import pytest
from click.testing import CliRunner, Result
from peers.base import Peer
from peers.counts import Markov, MostFrequent

import procedural_memory.samples
from procedural_memory.cli import main
from procedural_memory.evaluation import peers, report
from procedural_memory.evaluation.prequential import Trace
from procedural_memory.evaluation.prequential import evaluate as measure
from procedural_memory.evaluation.sessions import as_sessions
from procedural_memory.samples import load_sessions

SAMPLES = str(Path(procedural_memory.samples.__file__).parent / "sessions.jsonl")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run ``evaluate`` in an empty folder and home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("HISTFILE", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["evaluate", *arguments, "--embedder", "lexical"])

    return call


def test_samples_with_peers(run: Any) -> None:
    """All measures at both levels, the engine's and the peers', from the same steps; nothing is stored."""
    result = run(SAMPLES, "--limit", "6", "--peers", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["embedder"]["name"] == "lexical"
    assert {"this package", "most frequent", "IPAM", "STAN (session kNN)"} <= set(told["predictors"])
    for who in told["predictors"].values():
        assert (who["sessions"], who["memories"]) == (6, 1)
        for level in ("template", "full"):
            parts = who["levels"][level]
            overall = parts["overall"]
            assert (
                overall["steps"]
                == who["steps"]
                == sum(
                    parts[part]["steps"]
                    for part in ("repeated in the session", "known from other sessions", "first time")
                )
            )
            assert 0 <= overall["hit@1"] <= overall["hit@3"] <= overall["hit@5"] <= 1
            assert overall["hit@1"] <= overall["MRR@10"] <= 1
            assert overall["hit@1 95 %"][0] <= overall["hit@1"] <= overall["hit@1 95 %"][1]
            assert 0 <= overall["seen"] <= 1
            assert 0 <= overall["Brier"] <= 2
            assert 0 <= overall["ECE"] <= 1
            assert overall["log loss"] > 0
            assert 0 < overall["p50 ms"] <= overall["p99 ms"]
    assert [path.name for path in Path().iterdir()] == []


def test_outcomes_are_foreseen_where_they_are_known(run: Any) -> None:
    """With both kinds of end known, the report says how well they are foreseen; else it does not speak of it."""
    told = json.loads(run(SAMPLES, "--limit", "12", "--json").stdout)
    (look,) = told["outcomes"].values()
    assert look["sessions"] == 12
    assert list(look["forecasters"])[:2] == ["this package", "length alone"]
    assert 0 <= look["forecasters"]["this package"]["AUC"] <= 1
    text = run(SAMPLES, "--limit", "12").output
    assert "outcome at the end: 12 sessions" in text
    assert "its outcome is foreseen" in text
    Path("unknown.jsonl").write_text('{"commands": ["ls", "pwd", "ls"]}\n' * 2)
    assert "outcomes" not in json.loads(run("unknown.jsonl", "--json").stdout)
    assert "outcome" not in run("unknown.jsonl").output


def test_table_and_plot(run: Any) -> None:
    """The tables name their measures and say how they are meant; the plot is drawn."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: examples)")
    result = run(SAMPLES, "--limit", "3", "--plot", "out.png")
    assert result.exit_code == 0, result.output
    for word in ("template:", "full:", "MRR@10", "log loss", "right at p>=0.7", "right after a failure", "best peer"):
        assert (word in result.output) == (word != "best peer")
    assert "must" not in result.output
    assert Path("out.png").read_bytes()[:4] == b"\x89PNG"


def test_sample_and_limits(run: Any) -> None:
    """Parts of the sessions are taken as asked for."""
    told = [
        json.loads(run(SAMPLES, "--json", *options).stdout)["predictors"]["this package"]
        for options in (["--limit-steps", "5"], ["--sample", "0.2", "--limit", "2"])
    ]
    assert told[0]["steps"] == 5
    assert told[1]["sessions"] == 2


def test_own_history(run: Any) -> None:
    """With --history one's own files are measured."""
    assert "No history of bash, zsh, fish or PowerShell was found" in run("--history").output
    Path(".bash_history").write_text("make\nmake test\n" * 10)
    told = json.loads(run("--history", "--json").stdout)
    assert told["data"] == "history"
    assert told["predictors"]["this package"]["steps"] == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a file DATA or --history"),
        ([SAMPLES, "--history"], "give either a file DATA or --history"),
        (["none.jsonl"], "does not exist"),
        (["bad.jsonl"], "file 'bad.jsonl', line 2: commands[0]: must not be empty"),
        ([SAMPLES, "--sample", "2"], "Invalid value for '--sample'"),
        ([SAMPLES, "--plot", "a.txt"], "plot: must end with one of .pdf, .png, .svg, got 'a.txt'"),
        ([SAMPLES, "--plot", "no/a.png"], "plot: must lie in a folder that exists, got 'no/a.png'"),
    ],
)
def test_bad_input_is_one_clear_line(run: Any, arguments: list[str], message: str) -> None:
    """What is wrong is named before anything is measured; no traceback."""
    Path("bad.jsonl").write_text('{"commands": ["ls"]}\n{"commands": [""]}\n')
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_plot_without_matplotlib(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is one line with the exact command."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(SAMPLES, "--plot", "out.png")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "pip install 'omnimemory-procedural[examples]'" in result.output


def test_peers_without_the_source(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installed package without its source says where the peers are."""
    monkeypatch.setattr(peers, "__file__", str(tmp_path / "a" / "b" / "peers.py"))
    result = run(SAMPLES, "--peers")
    assert result.exit_code == 1
    assert "in a clone, run pip install -e . first" in result.output.replace("\n", " ")


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    """Two peers on the shipped samples; the better one as the one in question."""
    sessions = as_sessions(load_sessions())
    return {
        script.OURS: measure(sessions, lambda: Peer(lambda: Markov(2))),
        "most frequent": measure(sessions, lambda: Peer(MostFrequent)),
    }


def test_tables_compare_with_the_best_peer(traces: dict[str, Trace]) -> None:
    """A ratio is the quotient of the two values that are told."""
    summaries = {name: report.summary(trace) for name, trace in traces.items()}
    own = summaries[script.OURS]["levels"]["template"]["overall"]["hit@1"]
    peer = summaries["most frequent"]["levels"]["template"]["overall"]["hit@1"]
    text = "\n".join(report.markdown(report.tables(summaries)))
    assert f"| overall | 519 | {own:.3f} | {own / peer:.2f}x most frequent {peer:.3f} |" in text
    assert report.best_peer(script.OURS, "template", "overall", "hit@1", summaries) == ("most frequent", peer)
    assert report.best_peer("most frequent", "full", "multi-line", "nothing", summaries) is None


def test_results_keep_what_was_not_measured(traces: dict[str, Trace]) -> None:
    """A section is written anew; the others stay; sections of no known data set go."""
    options = script.Options(Path("nowhere"), "lexical", None)
    first = script.updated("# Old\n\n## unknown\n\nx\n", {"training_shell": ["## training_shell", "", "kept"]})
    text = script.updated(first, {"agent_bash": script.section("agent_bash", traces, options)})
    assert text.count("\n## ") == 2
    assert text.index("## agent_bash") < text.index("## training_shell")
    assert text.rstrip().endswith("kept")
    assert "unknown" not in text
    assert "| template, overall: hit@1 |" in text
    assert script.updated(text, {}) == text


def test_targets_say_what_was_reached(traces: dict[str, Trace]) -> None:
    """Ratios are held against the best peer, values against their bounds, small ones from above."""
    summaries = {name: report.summary(trace) for name, trace in traces.items()}
    rows = {row.split(" | ")[0]: row.split(" | ") for row in script.targets("agent_bash", summaries)}
    hit = rows["| template, overall: hit@1"]
    assert hit[1:5] == [f"{ratio(summaries):.3f}x", "1.1x", "1.2x", "aim"]
    assert rows["| template, overall: p50 ms"][4] == "aim"
    assert rows["| template, overall: ECE"][4] == "no"


def ratio(summaries: dict[str, dict[str, Any]]) -> float:
    """Return ours over the best peer, template hit@1."""
    values = [each["levels"]["template"]["overall"]["hit@1"] for each in summaries.values()]
    return float(values[0] / values[1])


def test_script_measures_a_data_set(tmp_path: Path) -> None:
    """A data set is read from its folder and measured with the predictors it names, held-out sessions included."""
    import gzip

    with gzip.open(tmp_path / "agent_bash.jsonl.gz", "wt") as file:
        for session in load_sessions():
            file.write(json.dumps(session) + os.linesep)
    options = script.Options(tmp_path, "lexical", None)
    assert list(script.predictors("held-out", "lexical")) == [script.OURS, *script.CLASSIC]
    trace = script.measure(("agent_bash", "Markov-1", options))
    assert (len(trace.memory), trace.sessions) == (519, 40)
    name = "agent_bash, outcomes"
    lines = script.outcome_section(name, script.foresee(name, options))
    assert any(line.startswith("**outcome at the end: 37 sessions") for line in lines)
    kept = script.updated("", {name: lines})
    assert script.updated(kept, {"held-out": ["## held-out"]}).endswith(kept.partition("## ")[2])
