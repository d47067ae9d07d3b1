"""What is learned of the places of templates: which values stood there, and which fill rules were right.

Both are counted by the *role* of a place, so that what one line taught holds for every line with such a place. Rules
are judged within each session, values are counted within their project (and its folders); both are plain sums, so
that the order of the sessions does not matter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from procedural_memory.commands.ground import SessionValues, levels
from procedural_memory.commands.normalize import Normalized
from procedural_memory.commands.places import FILE_KINDS, UNKNOWABLE, Place, places
from procedural_memory.commands.printed import names_a_file
from procedural_memory.storage.base import Delta, hash64
from procedural_memory.types import Command

__all__ = ["learn_fills", "line_place", "may_be_kept", "rule_keys", "runs_own_script", "value_keys"]

_LONGEST: Final = 256
"""Longer values are not kept: scripts and messages that will not come again."""

_OF_A_PROJECT: Final = FILE_KINDS | {"RANGE", "TEXT", "LINE"}
"""Kinds whose values are names of files, may hold some, or mean something in one file only."""

_ADDRESSES: Final = frozenset({"URL", "HOST", "IP", "IMAGE", "PKG", "BRANCH", "NUM"})
"""Kinds whose values look like names of files and are none; a text that names a file stays in its project."""


@lru_cache(maxsize=16_384)
def rule_keys(place: Place, last: str) -> tuple[int, ...]:
    """Return the keys under which rules are counted for a place: its kind, its role, and its role after a template."""
    return tuple(hash64("rule", *level) for level in levels(place, last))


@lru_cache(maxsize=16_384)
def value_keys(place: Place, project: str | None, cwd: str | None) -> tuple[int, ...]:
    """Return the keys under which values of a place are counted, widest first: everywhere, in the project, the folder.

    What may name files is known within its project only.
    """
    keys = [] if place.kind in _OF_A_PROJECT else [hash64("value", place.role)]
    if project is not None or place.kind == "LINE":  # a memory that knows of no projects has lines all the same
        keys.append(hash64("value", place.role, "project", project or ""))
        if project is not None and cwd is not None:
            keys.append(hash64("value", place.role, "project", project, "folder", cwd))
    return tuple(keys)


def runs_own_script(analysis: Normalized) -> bool:
    """Return whether a line runs a script by its path: one that belongs to a project."""
    return any("/" in program for program in analysis.programs)


def may_be_kept(analysis: Normalized, command: Command) -> bool:
    """Return whether a command line may come again: neither a script nor one that names files of who knows where."""
    if len(command.command) > _LONGEST or "\n" in command.command:
        return False
    if any(slot.kind in UNKNOWABLE for slot in analysis.slots):
        return False
    return command.project is not None or not any(
        slot.kind in _OF_A_PROJECT or (slot.kind not in _ADDRESSES and names_a_file(slot.value))
        for slot in analysis.slots
    )


def line_place(template: str) -> Place:
    """Return the place of a line without placeholders, or of a template that runs a script of its project."""
    return Place("LINE", f"line {template}")


def learn_fills(values: SessionValues, analysis: Normalized, command: Command, when: bytes, delta: Delta) -> None:
    """Add what a step teaches of its places to a delta; `values` is the session before the step."""
    last = values.last
    for place, right in values.judge(analysis):
        for key in rule_keys(place, last):
            counts = delta.rules.setdefault(key, {})
            for rule, was_right in right.items():
                offered, hits = counts.get(rule, (0, 0))
                counts[rule] = offered + 1, hits + was_right
    there = places(analysis.template)
    seen = list(zip(there, (slot.value for slot in analysis.slots), strict=True))
    if not there:
        seen.append((line_place(analysis.template), command.command))
    elif runs_own_script(analysis):
        seen.append((line_place(analysis.template), analysis.template))
    for place, value in seen:
        if place.kind not in UNKNOWABLE and len(value) <= _LONGEST:
            keys = value_keys(place, command.project, command.cwd)
            if place.kind not in _OF_A_PROJECT and place.kind not in _ADDRESSES and names_a_file(value):
                keys = keys[1:]
            for key in keys:
                count, newest = delta.values.get((key, value), (0, b""))
                delta.values[key, value] = count + 1, max(newest, when)
