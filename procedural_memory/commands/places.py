"""Where the placeholders of a template stand: what a value is for, whatever the rest of the line does.

``cd <FILE> && python -m pytest <FILE> -k <STR>`` has three places: the folder of a ``cd``, the file that ``python`` is
given, the value of its ``-k``. The *role* names such a place: what is known of it holds in every line that has it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from procedural_memory.commands.shapes import PLACEHOLDER

__all__ = ["FILE_KINDS", "UNKNOWABLE", "Place", "filling_order", "places"]

FILE_KINDS: Final = frozenset({"FILE", "TEST", "GLOB"})
"""Placeholders that stand for names of files."""

UNKNOWABLE: Final = frozenset({"HEREDOC", "REST"})
"""Placeholders whose text is new each time."""

_BREAKS: Final = frozenset(
    (
        "&&",
        "||",
        "|",
        "|&",
        "&",
        ";",
        ";;",
        "(",
        ")",
        "{",
        "}",
        "!",
        "then",
        "do",
        "else",
        "elif",
        "if",
        "while",
        "until",
    )
)
_WORD: Final = re.compile(r"[a-z][a-z-]*")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")


class Place(NamedTuple):
    """A placeholder of a template: its kind, and its role: program, flag or redirection before it, kind, and number."""

    kind: str
    role: str


@lru_cache(maxsize=16_384)
def places(template: str) -> tuple[Place, ...]:
    """Return the places of a template, in the order of its placeholders."""
    found: list[Place] = []
    program, before, at = "", "", 0
    numbers: dict[str, int] = {}
    for token in template.split():
        word = token[:-1] if token[-1] == ";" and token != "\\;" else token
        if token in _BREAKS:
            word = ""
        start = 0
        for match in PLACEHOLDER.finditer(word):
            kind = match.group(1)
            base = f"{program} {word[start : match.start()] or before} {kind}"
            numbers[base] = numbers.get(base, 0) + 1
            found.append(Place(kind, f"{base} {numbers[base]}"))
            start = match.end()
        if word != token or not word:
            program, before, at = "", "", 0
            numbers.clear()
            continue
        if not program:
            program = "" if _ASSIGNMENT.match(word) else word
        elif at == 0 and not start:
            at = 1
            if _WORD.fullmatch(word):
                program = f"{program} {word}"  # a sub-command
        before = word if not start and word[0] in "-<>&12" else ""
    return tuple(found)


@lru_cache(maxsize=16_384)
def filling_order(template: str) -> tuple[int, ...]:
    """Return the numbers of the places in the order in which they are filled.

    Names of files first: line numbers and patterns depend on the file more than it on them.
    """
    kinds = [place.kind for place in places(template)]
    return tuple(sorted(range(len(kinds)), key=lambda i: kinds[i] not in FILE_KINDS))
