"""What is learned: two generators of made-up sessions, the same ones each time, and commands that were run.

``habits``: sessions of ten steps. Each follows one of 400 habits in one of 200 projects, drawn from heavy tails; a
fifth of the steps are others, and arguments come again or not. The vocabulary grows as in life: after n commands
1.05 n^0.78 templates were seen, 50,000 after a million.

``workflows``: sessions of three to five steps, no two with the same templates, so that each is a pattern of its own.
Every second step is one of few common commands: long lists of patterns share it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from procedural_memory.samples import load_sessions
from procedural_memory.sources.files import read_sessions

__all__ = ["STEPS", "habits", "real_lines", "template_of", "workflows", "write_history"]

STEPS = 10
_SHARE, _GROWTH = 1.05, 0.78
_HABITS, _PROJECTS = 400, 200
_FORMS = (
    "git status",
    "git add {file}",
    "git commit -m '{word} {number}'",
    "git push origin {branch}",
    "git checkout {branch}",
    "make build",
    "pytest -q {file}",
    "vim {file}",
    "cat {file}",
    "ls {folder}",
    "cd {folder}",
    "grep -rn {word} {folder}",
    "docker build -t {word}:{number} .",
    "docker push {word}:{number}",
    "kubectl get pods -n {word}",
    "kubectl apply -f {file}",
    "npm run test",
    "python {file}",
    "curl -s localhost:{number}/{word}",
    "terraform plan",
)
_SYLLABLES = ("ba", "co", "di", "fu", "ga", "ho", "ki", "lu", "ma", "no", "pi", "ru", "sa", "to", "vi", "zu")


def template_of(index: int) -> str:
    """Return the form of a command line: the first ones as people type them, the others with an option more."""
    option, form = divmod(index, len(_FORMS))
    program, _, rest = _FORMS[form].partition(" ")
    name = ""
    while option:
        option, place = divmod(option, len(_SYLLABLES))
        name += _SYLLABLES[place]
    verb, _, arguments = rest.partition(" ")
    words = [program, verb, f"--{name}" if name else "", arguments]
    return " ".join(word for word in words if word)


def _vocabulary(steps: int) -> int:
    return int(_SHARE * steps**_GROWTH)


def _tail(chance: random.Random, size: int) -> int:
    return min(size, int(chance.paretovariate(0.9))) - 1


@cache
def _habits() -> list[list[int]]:
    chance = random.Random(5)
    return [[_tail(chance, 100) for _ in range(STEPS)] for _ in range(_HABITS)]


def _line(chance: random.Random, index: int) -> str:
    part = _tail(chance, 50)
    return template_of(index).format(
        file=f"src/part{part}/file{_tail(chance, 40)}.py",
        folder=f"src/part{part}",
        word=f"word{_tail(chance, 300)}",
        branch=f"topic-{_tail(chance, 30)}",
        number=_tail(chance, 9_000),
    )


def habits(first: int = 0) -> Iterator[dict[str, Any]]:
    """Yield sessions without end, from the session number `first` on."""
    for number in count(first):
        chance = random.Random(number)
        project = _tail(chance, _PROJECTS)
        followed = _habits()[(_tail(chance, _HABITS) + 7 * project) % _HABITS]
        commands = []
        for step, index in enumerate(followed):
            done = number * STEPS + step
            known = _vocabulary(done)
            if _vocabulary(done + 1) > known:
                index = known
            elif chance.random() < 0.2:
                index = int(known * chance.random() ** 3)
            commands.append(
                {
                    "command": _line(chance, index),
                    "cwd": f"/src/project{project}",
                    "project": f"project{project}",
                    "exit_code": int(chance.random() < 0.1),
                    "timestamp": 1.6e9 + 3_600.0 * number + 5.0 * step,
                    "duration_ms": 100.0 * _tail(chance, 30),
                    "source": "zsh",
                }
            )
        outcome = "failure" if commands[-1]["exit_code"] else "success"
        yield {"commands": commands, "outcome": outcome, "session_id": f"s{number:07d}", "source": "zsh"}


def workflows(first: int = 0) -> Iterator[dict[str, Any]]:
    """Yield sessions without end, each a new pattern, from the session number `first` on."""
    for number in count(first):
        chance = random.Random(number)
        # The second and the fourth step spell the number: no two sessions are the same.
        high, low = divmod(number, 1_000)
        indexes = [_tail(chance, 100), 100 + low, _tail(chance, 100), 100 + high, _tail(chance, 100)]
        taken = indexes[: chance.choice((4, 5))] if high else indexes[:3]
        commands = [
            {"command": _line(chance, index), "exit_code": 0, "timestamp": 1.6e9 + 600.0 * number + 5.0 * step}
            for step, index in enumerate(taken)
        ]
        yield {"commands": commands, "outcome": "success", "session_id": f"w{number:07d}"}


def write_history(path: Path, commands: int) -> None:
    """Write the first commands of `habits` as a history of zsh with times."""
    with path.open("w", encoding="utf-8") as file:
        written = 0
        for session in habits():
            for step in session["commands"]:
                if written == commands:
                    return
                file.write(f": {step['timestamp']:.0f}:{step['duration_ms'] / 1e3:.0f};{step['command']}\n")
                written += 1


@cache
def real_lines(folder: Path, most: int) -> tuple[list[str], str]:
    """Return distinct command lines, and where they come from: of agents and people where the data sets are there."""
    files = [path for name in ("agent_bash", "training_shell") if (path := folder / f"{name}.jsonl.gz").is_file()]
    lines: list[str] = []
    for sessions in [read_sessions(path) for path in files] or [iter(load_sessions())]:
        seen = dict.fromkeys(step["command"] for session in sessions for step in session["commands"])
        lines += random.Random(1).sample(sorted(seen), min(len(seen), most // max(1, len(files))))
    told = " and ".join(path.name.split(".")[0] for path in files) or "the sample sessions (the data sets are not here)"
    return lines, f"{len(lines):,} distinct lines of {told}"
