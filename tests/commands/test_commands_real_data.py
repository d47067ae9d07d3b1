"""The normaliser on real sessions, where they are at hand. Set PROCEDURAL_MEMORY_DATA to their folder."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from procedural_memory.commands.danger import is_destructive
from procedural_memory.commands.normalize import analyze, normalize, render
from procedural_memory.commands.redact import redact
from procedural_memory.commands.shapes import PLACEHOLDER

DATA = Path(os.environ.get("PROCEDURAL_MEMORY_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
# (file, least share of steps whose template was seen before, most distinct templates per command)
SETS = [("agent_bash", 0.95, 0.06), ("training_shell", 0.74, 0.16)]


def _commands(name: str) -> list[str]:
    path = DATA / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {DATA}; set PROCEDURAL_MEMORY_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [step["command"] for line in lines for step in json.loads(line)["commands"]]


@pytest.mark.parametrize(("name", "least_seen", "most_distinct"), SETS)
def test_templates_repeat(name: str, least_seen: float, most_distinct: float) -> None:
    """Most steps have a template that was seen before."""
    seen: set[str] = set()
    again = 0
    commands = _commands(name)
    for command in commands:
        template = normalize(command)
        again += template in seen
        seen.add(template)
    assert again / len(commands) >= least_seen
    assert len(seen) / len(commands) <= most_distinct


@pytest.mark.parametrize(("name", "least_seen", "most_distinct"), SETS)
def test_every_template_stands(name: str, least_seen: float, most_distinct: float) -> None:
    """Every template is its own template and has its slots; a line comes back from them, blanks aside."""
    lines = kept = 0
    for command in set(_commands(name)):
        result = analyze(command)
        assert normalize(result.template) == result.template
        assert [slot.kind for slot in result.slots] == PLACEHOLDER.findall(result.template)
        if "\n" not in command.strip():
            lines += 1
            back = render(result.template, [slot.value for slot in result.slots])
            kept += "".join(back.split()) == "".join(command.split())
    assert kept / lines >= 0.995


@pytest.mark.parametrize("name", [name for name, _, _ in SETS])
def test_redaction_is_rare_and_stable(name: str) -> None:
    """Few commands hold a secret, and redacting twice changes nothing."""
    commands = set(_commands(name))
    touched = 0
    for command in commands:
        redacted = redact(command)
        touched += redacted != command
        assert redact(redacted) == redacted
        assert is_destructive(command) in (True, False)
    assert touched / len(commands) < 0.05
