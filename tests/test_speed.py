"""What `benchmarks/run` measures by: calls in turns, workloads that stay the same, budgets judged as written."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NoReturn

import pytest
import speed.measure as measuring
from speed.bare import BareLog
from speed.budgets import Budget, Found, slope
from speed.main import main
from speed.measure import Call, Contest, compare
from speed.registry import OPERATIONS
from speed.report import shown
from speed.workload import STEPS, habits, template_of, workflows, write_history
from train_weights import as_told

from procedural_memory import Command, ProceduralMemoryEngine, normalize


def test_calls_are_made_in_turns_and_warm_ones_left_out() -> None:
    """Ours and the yardsticks alternate, so that noise falls on all of them; the first turns are not counted."""
    order: list[str] = []
    contest = Contest(
        Call(lambda: order.append("ours"), before=lambda: order.append("before")),
        {"one": Call(lambda: order.append("one")), "other": Call(lambda: order.append("other"))},
        warm=3,
    )
    ours, yardsticks = compare(contest, seconds=0.0)
    turns = len(order) // 4
    assert order == ["before", "ours", "one", "other"] * turns
    assert len(ours) == len(yardsticks["one"]) == len(yardsticks["other"]) == turns - 3 >= 3


def test_what_comes_before_a_call_is_not_timed() -> None:
    """Time spent to prepare a call is no part of it, and a call of many commands is told by command."""
    ours, yardsticks = compare(
        Contest(Call(lambda: None, lambda: time.sleep(0.01)), {"slow": Call(lambda: time.sleep(0.02))}, each=10), 0.0
    )
    assert ours.p50 < 0.001
    assert 0.002 <= yardsticks["slow"].p50 < 0.02


def test_a_long_call_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes is not repeated, not even to warm up."""
    monkeypatch.setattr(measuring, "LONG", 0.01)
    ours, _ = compare(Contest(Call(lambda: time.sleep(0.02)), {}, warm=3), seconds=5.0)
    assert len(ours) == 1


def test_slope_is_the_exponent() -> None:
    """Cost that grows with the square root of the size has the slope 0.5; one point has none."""
    assert slope({size: 3.0 * size**0.5 for size in (1_000, 10_000, 1_000_000)}) == pytest.approx(0.5)
    assert slope({1_000: 1.0}) is None


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (0.5, False, "met (0.25 of it), aim too"),
        (1.5, False, "met (0.75 of it)"),
        (3.0, False, "**missed**, 1.50 times"),
        (4.0, True, "met (0.50 of it), aim too"),
        (1.0, True, "**missed**, 2.00 times"),
    ],
)
def test_budget_says_by_how_much(value: float, at_least: bool, verdict: str) -> None:
    """A budget is met or missed, by its ratio, in either direction."""
    aim = 3.0 if at_least else 1.0
    row = Budget("what", lambda found, size: value, 2.0, aim, "ms", at_least=at_least).row(Found(), [])
    assert row.endswith(f"| {value:.2f} ms | {verdict} |")


def test_budget_of_a_size_that_was_not_run_is_not_judged() -> None:
    """Where the memory of the budget's size was not measured, a smaller one is shown and nothing claimed."""
    values = {1_000: 1.0, 10_000: 1.5}
    budget = Budget("what", lambda found, size: values.get(size), 2.0, size=1_000_000)
    assert budget.row(Found(), list(values)).endswith("| 1.50x at 10,000 | not run at 1,000,000 |")


@pytest.mark.parametrize("generator", [habits, workflows])
def test_sessions_are_the_same_each_time(generator: Callable[..., object]) -> None:
    """A generator begun later goes on as the one from the start."""
    made = list(islice(generator(0), 60))  # type: ignore[call-overload]
    assert made[40:] == list(islice(generator(40), 20))  # type: ignore[call-overload]


def test_vocabulary_grows_as_said() -> None:
    """After n commands about 1.05 n^0.78 templates were seen, whatever the arguments; no two forms are one template."""
    for count in (1_000, 10_000):
        lines = [step["command"] for session in islice(habits(), count // STEPS) for step in session["commands"]]
        assert len({normalize(line) for line in lines}) == pytest.approx(1.05 * count**0.78, rel=0.02)
    assert len({template_of(index) for index in range(60_000)}) == 60_000


def test_each_workflow_is_a_pattern_of_its_own() -> None:
    """The second and the fourth template tell a session from all others; each is long enough to form a pattern."""
    made = [[normalize(step["command"]) for step in s["commands"]] for s in islice(workflows(500), 1_500)]
    assert len({tuple(templates[1:4:2]) for templates in made}) == len(made)
    assert min(map(len, made)) >= 3


def test_bare_log_writes_the_rows_of_the_engine(tmp_path: Path) -> None:
    """The yardstick of learning inserts the same rows and bytes, all but the mark of a session's end."""
    (session,) = islice(habits(), 1)
    steps = [Command(**step) for step in session["commands"]]
    with ProceduralMemoryEngine(path=tmp_path / "ours.sqlite3", embedder="lexical") as engine:
        engine.learn_workflow(steps, session["outcome"], source="zsh")
    with closing(BareLog(tmp_path / "bare.sqlite3")) as bare:
        bare.insert(steps)
    rows = []
    for name in ("ours", "bare"):
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite3")) as db:
            rows.append(db.execute("SELECT * FROM log WHERE step >= 0 ORDER BY seq").fetchall())
            texts = {text for (text,) in db.execute("SELECT text FROM text")}
            assert texts >= {step.command for step in steps} | {"zsh", steps[0].cwd}
    assert rows[0] == rows[1] != []


def test_history_can_be_imported(tmp_path: Path) -> None:
    """The history that is generated holds the commands of the sessions, cut where they are cut."""
    write_history(tmp_path / "zsh_history", 50)
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        report = engine.import_history("zsh", tmp_path / "zsh_history", include_open=True)
    assert (report.new_sessions, report.new_commands) == (5, 50)


def test_run_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command writes the tables and the plot, says what was not run, and keeps memories for the next time."""
    pytest.importorskip("matplotlib")
    arguments = ["--sizes", "100,200", "--seconds", "0", "--cache", str(tmp_path / "stores"), "--to", str(tmp_path)]
    arguments += ["--embedder", "lexical", "--data", str(tmp_path), "--write"]
    main([*arguments, "--only", "record", "--only", "predict, warm"])
    text = (tmp_path / "SPEED.md").read_text(encoding="utf-8")
    assert (tmp_path / "SPEED.png").read_bytes().startswith(b"\x89PNG")
    for name in ("record, full | 100", "record, normal | 200", "predict, warm, lexical | 100", "`Markov-1`"):
        assert f"| {name} |" in text
    assert "- open: not asked for." in text
    assert re.search(r"x at 200 \| not run at 1,000,000(; \*\*missed\*\* at 200)? \|", text), (
        "met or missed, as the machine was"
    )
    assert text in capsys.readouterr().out
    kept = sorted((tmp_path / "stores").glob("habits-*.json"))
    assert [path.stem for path in kept] == ["habits-100", "habits-200"]
    kept[0].write_text(json.dumps({**json.loads(kept[0].read_text()), "code": "other"}), encoding="utf-8")
    main([*arguments, "--only", "open"])
    text = (tmp_path / "SPEED.md").read_text(encoding="utf-8")
    assert "- bulk learning of 100 commands: the memory was learned on" in text
    assert "- record: not asked for." in text


def test_run_goes_on_where_a_case_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is named in what is written, the others are measured, and the run ends with an error."""
    pytest.importorskip("matplotlib")

    def broken(world: object, size: int) -> NoReturn:
        raise ValueError(f"cannot do {size}")

    monkeypatch.setitem(OPERATIONS, "open", OPERATIONS["open"]._replace(run=broken))
    arguments = ["--sizes", "100", "--seconds", "0", "--cache", str(tmp_path / "stores"), "--to", str(tmp_path)]
    with pytest.raises(SystemExit, match="failed: open, 100"):
        main([*arguments, "--data", str(tmp_path), "--write", "--only", "open", "--only", "save"])
    text = (tmp_path / "SPEED.md").read_text(encoding="utf-8")
    assert "- open, 100: failed: ValueError: cannot do 100." in text
    assert "| save as .pkl | 100 |" in text


def test_run_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """An operation that does not exist is named, with those that do."""
    with pytest.raises(SystemExit):
        main(["--only", "none of them"])
    assert "none of them" in (told := capsys.readouterr().err)
    assert "predict, warm" in told


def test_times_have_three_digits() -> None:
    """Times are told in the unit in which they are read."""
    assert [shown(seconds) for seconds in (2.5, 0.0123, 456e-6, 7.89e-7)] == ["2.50 s", "12.3 ms", "456 µs", "789 ns"]


def test_command_is_told_without_folders() -> None:
    """Where folders lie is not told in what is written."""
    arguments = ["--sizes", "1000", "--cache", "/home/me/x", "--data", "/data", "--write"]
    assert as_told(arguments) == ["--sizes", "1000", "--cache", "FOLDER", "--data", "FOLDER", "--write"]
