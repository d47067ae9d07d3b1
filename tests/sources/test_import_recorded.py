"""A history without times and the hook of the same shell: what both tell of is counted once, all else is counted."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_import import LONG_AGO, home
from test_import_typed import PROMPT, shell_of, type_in

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.sources.aligning import Recorded, align
from procedural_memory.storage.append import append

__all__ = ["home"]

NOW = time.time() - 4 * 86_400
OLD = ["ls", "cd src", "make", "make test", "vim a.py", "git push", "df", "top", "make", "make test", "git push", "who"]
WORK = ["git pull", "make", "make test", "vim b.py", "make test", "git commit", "git push", "exit"]


@pytest.fixture
def store(tmp_path: Path, home: Path) -> Path:
    """The file of an empty memory."""
    path = tmp_path / "m.sqlite3"
    ProceduralMemoryEngine(path=path, embedder="lexical").close()
    return path


def record(store: Path, shell: str, lines: list[str], begin: float = NOW, kind: str = "bash") -> None:
    """Record what was typed, as the hook does it."""
    told: dict[str, Any] = {"source": f"{kind}-hook", "actor": "human", "host": socket.gethostname(), "cwd": "/src"}
    for number, line in enumerate(lines):
        append(str(store), f"{kind}-{shell}", line, exit_code=0, timestamp=begin + 10 * number, **told)


def write(home: Path, lines: list[str], name: str = ".bash_history") -> None:
    """Write more of a history, some time ago."""
    with (home / name).open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    os.utime(home / name, LONG_AGO)


def counted(store: Path, times: int = 1) -> Counter[str]:
    """Import the histories, and return how often each template is counted; all again, derived anew, is the same."""
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        for _ in range(times):
            engine.import_history()
        found = Counter(dict(engine._store.template_counts()))
        assert engine.stats()["command_count"] == sum(found.values())
        assert engine.import_history().new_commands == 0
        engine.rebuild()
        assert Counter(dict(engine._store.template_counts())) == found
    return found


def alone(tmp_path: Path, *sessions: list[str]) -> Counter[str]:
    """Return how often each template is counted when each of these sessions is told of once."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many([{"commands": session} for session in sessions])
        return Counter(dict(engine._store.template_counts()))


@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_what_a_hook_recorded_is_not_counted_again(store: Path, home: Path, tmp_path: Path, kind: str) -> None:
    """The end of the history is; what was typed before the hook was there is counted, also where it looks alike."""
    record(store, "1-1", WORK, kind=kind)
    write(home, OLD + WORK, f".{kind}_history")
    assert counted(store) == alone(tmp_path, OLD, WORK)


def test_shells_write_when_they_end(store: Path, home: Path, tmp_path: Path) -> None:
    """In another order than they were typed; one goes on for days, and a short one comes by itself."""
    long, other, short = ["cargo new x", "cd x", "cargo build", "cargo run", "cargo doc"], WORK, ["uptime", "w", "exit"]
    record(store, "1-1", long[:2], NOW)
    record(store, "2-2", other, NOW + 15)
    record(store, "1-1", long[2:], NOW + 86_400)
    record(store, "3-3", short, NOW + 2 * 86_400)
    write(home, OLD + other)
    assert sum(counted(store).values()) == len(OLD + long + other + short)
    write(home, short)
    assert sum(counted(store).values()) == len(OLD + long + other + short)
    write(home, long)
    assert counted(store) == alone(tmp_path, OLD, long, other, short)


def test_shells_that_share_a_history(store: Path, home: Path, tmp_path: Path) -> None:
    """Line by line, with repetitions left out."""
    one, two = WORK, ["htop", "free", "df -h", "df -h", "df -h", "du", "exit"]
    record(store, "1-1", one, NOW, "zsh")
    record(store, "2-2", two, NOW + 5, "zsh")
    mixed = [line for pair in zip(one, [*two, ""], strict=True) for line in pair if line]
    write(home, OLD + mixed, ".zsh_history")
    assert counted(store) == alone(tmp_path, OLD, one, two)


def test_other_steps_are_counted(store: Path, home: Path, tmp_path: Path) -> None:
    """Of a shell without the hook, another kind of shell, another machine, and in another order."""
    record(store, "1-1", WORK)
    write(home, WORK, ".zsh_history")
    assert sum(counted(store).values()) == 2 * len(WORK)
    write(home, [*reversed(WORK)])
    assert sum(counted(store).values()) == 3 * len(WORK)
    elsewhere = tmp_path / "bash_history"
    elsewhere.write_text("\n".join(WORK) + "\n")
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.import_history("bash", elsewhere, include_open=True)
    assert sum(counted(store).values()) == 4 * len(WORK)


def test_an_equal_run_of_long_ago_makes_up_for_one_that_is_not_written(store: Path, home: Path, tmp_path: Path) -> None:
    """When it is written it is counted: as many steps as were typed."""
    record(store, "1-1", WORK)
    write(home, OLD + WORK)
    counted(store)
    write(home, WORK)
    assert counted(store) == alone(tmp_path, OLD, WORK, WORK)


def test_a_dry_run_changes_nothing(store: Path, home: Path) -> None:
    """And tells what would be learned."""
    record(store, "1-1", WORK)
    write(home, OLD + WORK)
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        assert engine.import_history(dry_run=True).new_commands == len(OLD + WORK)
        assert engine.stats()["command_count"] == len(WORK)


@pytest.mark.parametrize("program", ["bash", "zsh"])
def test_a_real_shell_without_times(program: str, store: Path, home: Path) -> None:
    """Typed in a shell with the hook, in its defaults: once recorded, once in the history, counted once."""
    lines = ["echo one", "echo one", "true", "ls /", "echo 'a  b' | cat", "pwd"]
    init = f'eval "$({sys.executable} -m procedural_memory init {program} --path {store})"'
    rc = {
        "bash": f"PS1='{PROMPT}'; unset HISTTIMEFORMAT HISTCONTROL\n{init}\n",
        "zsh": f"PS1='{PROMPT}'; HISTFILE=~/.zsh_history; SAVEHIST=99; HISTSIZE=99\nunsetopt ZLE\n{init}\n",
    }[program]
    (home / f".{program}_history").write_text("".join(f"{line}\n" for line in OLD))
    type_in(shell_of(program, home, rc, PYTHONPATH=os.environ.get("PYTHONPATH", "")), lines)
    end = time.monotonic() + 30
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        while len(engine.learned_since(0, 100)[1]) < len(lines):
            assert time.monotonic() < end, [step.command for step in engine.learned_since(0, 100)[1]]
            time.sleep(0.1)
        before = engine.stats()["command_count"]
    history = (home / f".{program}_history").read_text().splitlines()
    assert len(history) > len(OLD) + 4
    os.utime(home / f".{program}_history", LONG_AGO)
    # What left the shell is in the history alone: there was no prompt after it.
    assert sum(counted(store).values()) == before + len(OLD) + (history[-1] == "exit")


typed = st.lists(st.sampled_from("abcde"), min_size=1, max_size=8)


@given(
    st.lists(st.sampled_from("abcde"), max_size=20), st.lists(st.tuples(typed, st.booleans()), max_size=6), st.data()
)
@settings(max_examples=300, deadline=None)
def test_never_more_is_taken_than_was_recorded(
    old: list[str], shells: list[tuple[list[str], bool]], data: st.DataObject
) -> None:
    """Each line is taken for a step with its text, no step for two lines; written bit by bit it is the same."""
    recorded = [
        Recorded(str(number), line, 100.0 * number + place)
        for number, (lines, hooked) in enumerate(shells)
        if hooked
        for place, line in enumerate(lines)
    ]
    history = old + [line for lines, _ in data.draw(st.permutations(shells)) for line in lines]
    cut = data.draw(st.integers(0, len(history)))
    left, lines_left = recorded, []
    for part, goes_on in ((history[:cut], False), (history[cut:], cut > 0)):
        found = align(part, left, goes_on)
        assert len(set(found.values())) == len(found)
        for place, when in found.items():
            (step,) = [step for step in left if step.time == when]
            assert step.line == part[place]
        lines_left += [line for place, line in enumerate(part) if place not in found]
        left = [step for step in left if step.time not in found.values()]
    everything = Counter(old) + Counter(line for lines, _ in shells for line in lines)
    assert everything - (Counter(lines_left) + Counter(step.line for step in recorded)) == Counter()


noise = st.sampled_from(["", "", "", "# a note", "echo 'a", "of two lines'"])
"""What stands behind a step in the history, and is none: a comment, the lines of one that has several."""


@given(
    st.lists(st.sampled_from(["# a note", "old"]), max_size=10),
    st.lists(st.tuples(st.lists(st.tuples(st.integers(0, 3), noise), max_size=12), st.integers(0, 6)), max_size=5),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_lines_between_are_no_reason_to_count_twice(
    old: list[str], shells: list[tuple[list[tuple[int, str]], int]], goes_on: bool
) -> None:
    """Where four steps of a shell stand together, and no four come twice, all that it ran is found, whatever few lines
    stand between others."""
    history = list(old)
    recorded: list[Recorded] = []
    for number, (steps, place) in enumerate(shells):
        run = [(f"{number} run {step}", "") for step in range(4)]
        ran = [(f"{number} {step}", other) for step, other in steps]
        ran[place:place] = run
        # Of equal ones that follow each other only some may be in a history, so nobody knows which.
        assume(not any(other and one == line for (one, other), (line, _) in pairwise(ran)))
        # Of steps that alternate nobody knows with which of them a run begins.
        texts = [line for line, _ in groupby(line for line, _ in ran)]
        fours = list(zip(texts, texts[1:], texts[2:], texts[3:], strict=False))
        assume(len(set(fours)) == len(fours))
        # As many others as may stand before or behind the run.
        assume(sum(bool(other) for _, other in ran[:place]) <= 4 >= sum(bool(other) for _, other in ran[place:]))
        for line, other in ran:
            recorded.append(Recorded(str(number), line, len(recorded) * 10.0))
            history += [line, other] if other else [line]
    found = align(history, recorded, goes_on)
    assert Counter(history[place] for place in found) == Counter(step.line for step in recorded)


def typed_by(rng: Random, *, share: bool, kept_out: float) -> tuple[list[str], list[Recorded], Counter[str]]:
    """Return a history, what hooks recorded, and how often each line is both: of eight shells, two of them without the
    hook, in which few lines are typed often. A tenth of the lines are comments, or of a shell that the hook missed."""
    lines = [f"line {number}" for number in range(40)]
    often = [1 / (number + 1) for number in range(40)]
    shells = []
    for number in range(8):
        clock = 1_000 * rng.random()
        typed = []
        for _ in range(rng.randrange(2, 30)):
            clock += 20 * rng.random()
            line = rng.choices(lines, often)[0]
            hooked = number > 1 and rng.random() > 0.1
            typed.append((clock, str(number), line, hooked, not hooked or rng.random() >= kept_out))
        shells.append(typed)
    if not share:
        shells.sort(key=lambda typed: typed[-1])
    steps = [step for typed in shells for step in typed]
    steps = sorted(steps) if share else steps
    history = [*rng.choices(lines, often, k=40), *(line for _, _, line, _, written in steps if written)]
    recorded = [Recorded(shell, line, clock) for clock, shell, line, hooked, _ in sorted(steps) if hooked]
    return history, recorded, Counter(line for _, _, line, hooked, written in steps if hooked and written)


@pytest.mark.parametrize(
    ("share", "kept_out", "twice", "lost"),
    [(False, 0.0, 0.06, 0.0), (True, 0.0, 0.13, 0.0), (False, 0.1, 0.2, 0.0025), (True, 0.1, 0.25, 0.0025)],
)
def test_few_are_counted_twice_and_hardly_one_is_lost(share: bool, kept_out: float, twice: float, lost: float) -> None:
    """Of shells that write when they end, and of such as share a history; also where it lacks a tenth of the steps."""
    rng = Random(1)
    matched, both, too_many = 0, 0, 0
    for _ in range(100):
        history, recorded, told_twice = typed_by(rng, share=share, kept_out=kept_out)
        found = Counter(history[place] for place in align(history, recorded, goes_on=False))
        both += sum(told_twice.values())
        matched += sum((found & told_twice).values())
        too_many += sum((found - told_twice).values())
    assert 1 - matched / both <= twice
    assert too_many / both <= lost
