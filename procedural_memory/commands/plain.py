"""Plain lines, as most are: read by regular expressions, without the grammar.

A plain line is one of words, quoted texts and redirections, with ``&&``, ``||``, ``|``, ``;`` or a line end between
its commands. Nothing in it is expanded or nested outside of quotes, so `parse.tokens` gives the same parts.
"""

from __future__ import annotations

import re
from typing import Final

from procedural_memory.commands.arguments import Item
from procedural_memory.commands.scan import KEYWORDS
from procedural_memory.commands.shapes import PLACEHOLDER

__all__ = ["plain_commands", "plain_document", "plain_items"]

MAX_PLAIN: Final = 900
"""Characters of the longest line that is read here; no bound on the parts of a template is reached by it."""

_BARE: Final = r"""[^\s'"\\$`|&;<>(){}\[\]#!]"""
_DOUBLE: Final = r'"[^"\\$`]*(?:(?:\\.|\$[A-Za-z_])[^"\\$`]*)*"'
_APART: Final = rf"(?:'[^']*'|{_DOUBLE}|{PLACEHOLDER.pattern.replace('(', '(?:')})"
# Reserved, or the grammar knows more of them.
_SPECIAL: Final = "|".join(
    [
        "=[=~]",
        "declare",
        "typeset",
        "export",
        "readonly",
        "local",
        "unset",
        "unsetenv",
        *sorted(map(re.escape, KEYWORDS)),
    ]
)
_WORD: Final = rf"(?!(?:{_SPECIAL})(?!{_BARE}))(?:{_BARE}|{_APART}){_BARE}*(?:{_APART}{_BARE}*)*"
_COMPLETE: Final = r"2>&1|<<'\w{1,40}'"
_REDIRECT: Final = r"[12]?>>?|&>|<"
_COMMAND: Final = rf"{_WORD}(?:[ \t]+(?:{_COMPLETE}|(?:{_REDIRECT})[ \t]*{_WORD}|{_WORD}))*"
_NEXT: Final = re.compile(rf"({_COMMAND})(?:[ \t]*(&&|\|\|?|;|\n)[ \t\n]*|\Z)")
_PART: Final = re.compile(rf"{_COMPLETE}|[12]?>>?|&>|{_WORD}|<")
_KINDS: Final = {
    "2>&1": "complete",
    "<<": "complete",
    **dict.fromkeys([">", ">>", "1>", "1>>", "2>", "2>>", "&>", "<"], "redirect"),
}
# The grammar takes a backslash at the beginning of a document for one of the command; and a word with a small letter
# may be what hides a placeholder from it.
_OPENING: Final = re.compile(r"""[^\n'"<]*[ \t]<<'([A-Z]\w{0,39})'[^\n'"<]*\n(?!\s*\\)""")


def plain_commands(line: str) -> list[tuple[str, str]] | None:
    """Return the commands of a plain line, each with the operator after it, "" after the last one; None for others."""
    if len(line) > MAX_PLAIN:
        return None
    commands, end = [], 0
    while match := _NEXT.match(line, end):
        command, operator = match.groups("")
        commands.append((command, operator))
        end = match.end()
        if not operator:
            return commands
    return None


def plain_items(command: str) -> list[Item]:
    """Return the parts of a plain command, as they were typed."""
    return [Item(_KINDS.get(part[:2] if part[:2] == "<<" else part, "word"), part) for part in _PART.findall(command)]


def plain_document(source: str) -> tuple[str, str, str] | None:
    """Return the line that opens a here-document, the document with its closing line, and what follows them."""
    opening = _OPENING.match(source)
    if opening is None:
        return None
    start = opening.end()
    # The grammar ends a document at a word that is indented or goes on as well: such a document is not that plain.
    closing = re.compile(rf"\n[^\S\n]*{opening[1]}.*").search(source, start - 1)
    if closing is None or closing.group() != f"\n{opening[1]}":
        return None
    end = closing.end()
    return source[: start - 1], source[start:end], source[end:].lstrip(" \t\n")
