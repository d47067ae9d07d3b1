"""What the output of a command offers to the next one: paths, test ids and line numbers. Nothing else of it is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Printed", "names_a_file", "read_output"]

READ: Final = 16_384
"""Characters of an output that are looked at."""
KEPT: Final = 64
"""Values of each sort that are kept of an output."""

_PATH: Final = re.compile(
    r"(?<![\w./-])(?:\./)?(/?(?:[\w.@+-]{1,64}/){0,12}[\w@+-][\w.@+-]{0,80}\.[A-Za-z]\w{0,7})"
    r"(?:(::[\w:-]{1,120})|(?:\", line |:)(\d{1,7}))?(?![\w/])"
)
"""``a/b.py``, ``a/b.py::test_c``, ``a/b.py:12`` (grep, compilers) or ``File "a/b.py", line 12`` (tracebacks)."""
_ENDINGS: Final = re.compile(
    r"bash|bat|c|cc|cfg|conf|cpp|cs|css|csv|cxx|dart|db|env|erl|exs?|go|gradle|gz|h|hpp|hs|html|ini|ipynb|java|jl|jsx?|"
    r"json|kt|less|lock|log|lua|mdx?|mjs|ml|mod|mts|php|pl|png|proto|ps1|pyi?|pyx|r|rb|rs|rst|sass|scala|scss|sh|sql|"
    r"sqlite3?|sum|svelte|svg|swift|tar|tf|toml|tsx?|tsv|txt|vue|xml|ya?ml|zig|zip"
)
"""Endings by which a name without a folder is taken for a file: most words with a dot in an output are code."""
_NUMBERED: Final = re.compile(r"^[ \t]{0,20}(\d{1,7})[:\t]", re.MULTILINE)
"""A line with its number: ``grep -n`` on one file, ``nl``, ``cat -n``."""


@dataclass(frozen=True, slots=True)
class Printed:
    """Values found in an output, each once, in their order.

    Attributes
    ----------
    paths, tests : tuple of str
    lines : tuple of (str, int)
        File and line number; the file is "" where the output does not name it.
    root : str
        Folder, with its slash, in which the session works; "" while unknown.
    """

    paths: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    lines: tuple[tuple[str, int], ...] = ()
    root: str = ""


def read_output(text: str, folder: str, known: Sequence[str], root: str = "") -> Printed:
    """Find the values in an output.

    Parameters
    ----------
    text : str
        The output, redacted; its first `READ` characters are read.
    folder : str
        Folder that the command listed, "" if none: bare names in the output are names in it.
    known : sequence of str
        Files that the session has named, newest last. An absolute path that ends with one of them tells in which
        folder the session works, and is shortened like every path in that folder.
    root : str
        That folder, if an earlier output told it.
    """
    text = text[:READ]
    found = list(_PATH.finditer(text))
    root = root or _root([match[1] for match in found if match[1][0] == "/"], known)
    paths: dict[str, None] = {}
    tests: dict[str, None] = {}
    lines: dict[tuple[str, int], None] = {}
    for match in found:
        path, test, number = match.groups()
        if root and path.startswith(root):
            path = path[len(root) :]
        elif folder and "/" not in path:
            path = f"{folder.rstrip('/')}/{path}"
        elif not _is_file(path):
            continue
        paths[path] = None
        if test:
            tests[path + test] = None
        if number:
            lines[path, int(number)] = None
    for match in _NUMBERED.finditer(text):
        lines["", int(match[1])] = None
    return Printed(tuple(paths)[:KEPT], tuple(tests)[:KEPT], tuple(lines)[:KEPT], root)


def names_a_file(text: str) -> bool:
    """Whether the name of a file may stand in a text."""
    return "/" in text or any(_is_file(match[1]) for match in _PATH.finditer(text))


def _is_file(name: str) -> bool:
    return "/" in name or _ENDINGS.fullmatch(name.rpartition(".")[2]) is not None


def _root(absolute: Sequence[str], known: Sequence[str]) -> str:
    """Return the folder, with its slash, in which relative names of the session are those of absolute paths."""
    for path in absolute:
        for name in reversed(known):
            if name[0] != "/" and path.endswith(f"/{name}"):
                return path[: -len(name)]
    return ""
