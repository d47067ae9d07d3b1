"""What Claude Code and the shells call: takes one event from standard input, and always ends well, whatever happens.

Run by its path with ``python -I -S``: that starts fastest, sees neither the user's environment nor other packages, and
needs nothing but the standard library. What goes wrong is written to a private file beside the store.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Take in one event; ends the process."""
    if os.environ.get("PROCEDURAL_MEMORY_DISABLE", "") in ("", "0"):
        os.umask(0o077)
        try:
            sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            if arguments[:1] == ["shell"]:
                from procedural_memory.shells import events as shell

                shell.run(arguments[1:], sys.stdout.buffer)
            else:
                from procedural_memory.claude.events import run

                run(arguments, sys.stdin.buffer, sys.stdout.buffer)
        except BaseException as error:  # also a keyboard interrupt: the agent must not notice
            _note(arguments, error)
    # Without the work of a normal end, which takes a fifth of the time.
    os._exit(0)


def _note(arguments: list[str], error: BaseException) -> None:
    try:
        from procedural_memory.claude.events import note

        note(arguments, error)
    except BaseException:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
