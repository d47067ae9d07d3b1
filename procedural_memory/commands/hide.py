"""Redaction with patterns of one's own beside the rules that are always applied."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final, TypeVar

from procedural_memory.commands.redact import SECRET, redact

__all__ = ["TEXTS", "hide_matches", "hider", "name_for", "with_texts"]

TEXTS: Final = ("command", "cwd", "project", "source", "host", "branch")
"""The fields of a command that are texts, and may hold what is to be hidden."""

_ROUNDS = 8
_LETTERS = str.maketrans("0123456789", "abcdefghij")
_Item = TypeVar("_Item")


def hider(patterns: Sequence[re.Pattern[str]] = ()) -> Callable[[str], str]:
    """Return what redacts a text, and puts ``<SECRET>`` in the place of all that matches one of `patterns`.

    Of a pattern with a group ``s`` only that group is hidden. Hiding twice changes nothing.
    """

    def hide(text: str) -> str:
        for _ in range(_ROUNDS):
            hidden = redact(text)
            for pattern in patterns:
                hidden = hide_matches(hidden, pattern)
            if hidden == text:
                break
            text = hidden
        return text

    return hide


def hide_matches(text: str, pattern: re.Pattern[str]) -> str:
    """Return `text` with what matches hidden. What is hidden already stays whole, so that hiding again is the same."""
    group = "s" if "s" in pattern.groupindex else 0
    size = len(SECRET)
    hidden = [match.start() for match in re.finditer(re.escape(SECRET), text)]
    parts, done = [], 0
    for match in pattern.finditer(text):
        start, end = match.span(group)
        if start == end:  # nothing, or a group that took no part
            continue
        touched = hidden[bisect_right(hidden, start - size) : bisect_left(hidden, end)]
        if touched:
            if touched[0] <= start and end <= touched[0] + size:
                continue
            start, end = min(start, touched[0]), max(end, touched[-1] + size)
        if start >= done:
            parts += [text[done:start], SECRET]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def name_for(name: str, hidden: str, taken: Container[str]) -> str:
    """Return the id of a session without what is to be hidden: with letters, where it would be that of another one."""
    if hidden == name or hidden not in taken:
        return hidden
    # Letters in the place of digits: numbers are what a pattern may hide.
    names = (f"{hidden} {str(number).translate(_LETTERS)}" for number in count(1))
    return next(other for other in names if other not in taken)


def with_texts(item: _Item, names: Iterable[str], change: Callable[[str], str]) -> _Item:
    """Return an item with some of its texts changed; itself when none is."""
    texts = {name: text for name in names if (text := getattr(item, name)) is not None}
    new: dict[str, Any] = {name: changed for name, text in texts.items() if (changed := change(text)) != text}
    return replace(item, **new) if new else item  # type: ignore[type-var]  # any dataclass
