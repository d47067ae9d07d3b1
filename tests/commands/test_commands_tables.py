"""The tables name only flags and argument classes that exist: every row of them can be used."""

from __future__ import annotations

import pytest

from procedural_memory import normalize
from procedural_memory.commands.tables import COMMON_FLAGS, FLAGS, GROUPS, POSITIONAL, SUBCOMMANDS

VALUES = ("a/b.py", "5", "name", "10.0.0.1", "'quoted text'", "x" * 300)


@pytest.mark.parametrize("program", sorted(FLAGS))
def test_every_flag_takes_any_value(program: str) -> None:
    """A flag of the table with a value of any kind, apart and after an equals sign, gives a template that stands."""
    for flag in FLAGS[program]:
        for value in VALUES:
            for line in (f"{program} {flag} {value} rest", f"{program} {flag}={value}"):
                assert normalize(normalize(line)) == normalize(line)


@pytest.mark.parametrize("program", sorted(POSITIONAL))
def test_every_argument_takes_any_value(program: str) -> None:
    """Arguments of any kind at the places of the table give a template that stands."""
    for value in VALUES:
        line = f"{program} {value} {value} {value}"
        assert normalize(normalize(line)) == normalize(line)


@pytest.mark.parametrize("flag", sorted(COMMON_FLAGS))
def test_common_flags_work_with_an_unknown_program(flag: str) -> None:
    """What holds for nearly every program holds for one that no table knows."""
    for value in VALUES:
        line = f"no-such-program {flag} {value}"
        assert normalize(normalize(line)) == normalize(line)


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_groups_keep_their_next_word(group: str) -> None:
    """A group of sub-commands belongs to a program that has some, and keeps the word after it."""
    assert group.split()[0] in SUBCOMMANDS
    assert normalize(f"{group} wibble").startswith(group)


def test_flags_may_hold_a_colon() -> None:
    """A colon in the table ends the flag only before a class name."""
    assert normalize("ffmpeg -i in.mp4 -c:v libx264 out.mp4") == "ffmpeg -i <FILE> -c:v libx264 <FILE>"
