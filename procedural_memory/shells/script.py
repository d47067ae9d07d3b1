"""What ``eval "$(procedural-memory init SHELL)"`` runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final

from procedural_memory.errors import InvalidInputError, shown

__all__ = ["SHELLS", "script"]

SHELLS: Final = ("zsh", "bash", "fish")
_ESCAPE: Final = {"zsh": "'^[{}'", "bash": r"\e{}", "fish": r"\e{}"}


def script(shell: str, store: Path, key: str = "n", ghost: bool = False) -> str:
    """Return the script for a shell.

    Parameters
    ----------
    shell : {"zsh", "bash", "fish"}
    store : Path
        The file of the memory.
    key : str
        A small letter: with Alt it puts the next prediction on the line, with Alt and Shift one that can lose data.
    ghost : bool
        Show the likeliest next command, dim, while the line is empty (not in bash).
    """
    if shell not in SHELLS:
        raise InvalidInputError(f"shell: must be one of {', '.join(SHELLS)}, got {shown(shell)}")
    if len(key) != 1 or not key.isascii() or not key.islower():
        raise InvalidInputError(f"key: must be a small letter from a to z, got {shown(key)}")
    if ghost and shell == "bash":
        raise InvalidInputError("ghost: bash cannot show anything behind the cursor; leave it out, or use zsh or fish")
    quote = _fish_quote if shell == "fish" else shlex.quote
    values = {
        "@PYTHON@": quote(sys.executable),
        "@HOOK@": quote(str(Path(__file__).parents[1] / "hook.py")),
        "@STORE@": quote(str(store)),
        "@KEY@": _ESCAPE[shell].format(key),
        "@SECOND@": _ESCAPE[shell].format(key.upper()),
        "@SECOND_NAME@": f"Alt-Shift-{key.upper()}",
        "@GHOST@": str(int(ghost)),
    }
    text = (Path(__file__).parent / f"init.{shell}").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(name, value)
    return text.replace("KEY puts", f"Alt-{key.upper()} puts")


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
