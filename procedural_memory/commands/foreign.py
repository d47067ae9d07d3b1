"""Lines of other languages that people type into shells: SQL, Python."""

from __future__ import annotations

import re
from typing import Final

from procedural_memory.commands.shapes import PLACEHOLDER, Piece, Slot

__all__ = ["write_foreign"]

_SQL: Final = re.compile(
    r"(?:select\s.{1,2000}?\bfrom\b|insert\s+into\b|update\s+\S+\s+set\b|delete\s+from\b"
    r"|(?:create|drop|alter|truncate)\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+)?(?:unique\s+)?(?:table|index|view|database|schema|user|role|function|trigger|sequence|extension)\b"
    r"|explain\s+(?:analyze\s+)?select\b|show\s+(?:tables|databases|columns|index)\b"
    r"|with\s+\w+\s+as\s+\(|pragma\s+\w+|grant\s+\w+|describe\s+\w+\s{0,4};)",
    re.IGNORECASE | re.DOTALL,
)
_PYTHON: Final = re.compile(
    r">>>(?:\s|$)|import [A-Za-z_][\w.]*(?: as \w+|, ?[\w., ]+)?\s*$|from [\w.]+ import \S"
    r"|(?:print|len|type|help|dir|repr|str|int|list)\([^\n]*\)\s*$"
    r"|(?:def|class) \w+[(:].*|[A-Za-z_][\w.]* = \S|[A-Za-z_]\w*(?:\.\w+)+\([^\n]*\)\s*$"
)
_LEXEMES: Final = re.compile(
    rf"""(?P<placeholder>{PLACEHOLDER.pattern})|(?P<string>[rbfuRBFU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))"""
    r"""|(?P<number>\b\d+(?:\.\d+)?\b)|(?P<word>[^\W\d]\w*)|(?P<blank>\s+)|(?P<other>.)""",
    re.DOTALL,
)
_MAX: Final = 2_000


def write_foreign(source: str) -> list[Piece] | None:
    """Return the parts of the template for a line of SQL or Python, None for anything else.

    Names and punctuation stay, strings become ``<STR>``, numbers ``<NUM>``; blanks are one space.
    """
    if not (_SQL.match(source) or _PYTHON.match(source)):
        return None
    if len(source) > _MAX:
        return [Piece("<CODE>", (Slot("CODE", source),))]
    pieces: list[Piece] = []
    tight = True
    for match in _LEXEMES.finditer(source):
        group, text = match.lastgroup, match.group()
        if group == "blank":
            tight = False
            continue
        if match.group("placeholder"):
            part = Piece(text, (Slot(text[1:-1], text),), tight)
        elif group == "string":
            part = Piece("<STR>", (Slot("STR", text),), tight)
        elif group == "number":
            part = Piece("<NUM>", (Slot("NUM", text),), tight)
        else:
            part = Piece(text, (), tight)
        pieces.append(part)
        tight = True
    return pieces
