"""What is taken out of a text before anything else sees it. Needs the standard library alone, as `redact` does."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["clean", "printable", "starts_blank"]

_CONTROL: Final = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def printable(text: str) -> str:
    """Return a text without sequences for terminals and control characters; line ends, tabs and NUL stay."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub("", text)


def clean(text: str) -> str:
    """Return a text as it is kept: printable, with line ends of one kind, U+FFFD for halves of surrogate pairs.

    Blanks at the ends say nothing, and a line end there would run a line that is only put on a prompt.
    """
    if text.isprintable():  # nearly every text, and then there is nothing to take out
        return text.strip()
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def starts_blank(line: str) -> bool:
    """Return whether a line was typed after a blank: shells keep such a line out of their history."""
    return printable(line).startswith((" ", "\t"))
