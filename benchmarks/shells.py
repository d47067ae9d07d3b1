"""What the hooks of a shell add to the time from Enter to the next prompt.

Two shells of a kind run side by side under a terminal, one as it is and one with ``procedural-memory init``; a line is
typed in each in turns, so that both meet the same machine. Between two lines is a pause, as people make it: what is
recorded in the background must not count, and is not waited for. Then come 20 lines without a pause, as when they are
pasted, while all that records them runs.

Run: python benchmarks/shells.py [--lines 60] [--write]     (needs pexpect, zsh and fish)
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pexpect

HERE = Path(__file__).parent
START = {"zsh": ("zsh -d -i", ".zshrc"), "bash": ("bash --noprofile -i", ".bashrc"), "fish": ("fish -i", "config.fish")}
HEADER = (
    "| shell | without ms | with ms | added ms (median of differences) | added, 90th percentile | added in a burst |"
)
BURST = 20


def opened(shell: str, home: Path, init: bool) -> pexpect.spawn[str]:
    """Start a shell that says ``ready>``."""
    command, file = START[shell]
    words = [sys.executable, "-m", "procedural_memory", "init", shell, "--path", str(home / "memory.sqlite3")]
    made = shlex.join(words)
    if shell == "fish":
        lines = ["function fish_prompt; echo -n 'ready>'; end", "function fish_greeting; end", f"{made} | source"]
        place = home / ".config" / "fish" / file
    else:
        lines = ["PS1='ready>'", "unset zle_bracketed_paste", f'eval "$({made})"']
        place = home / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("\n".join(lines if init else lines[:2]) + "\n")
    environment = {
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    environment |= {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HISTFILE": str(home / "history")}
    program, *arguments = command.split()
    child = pexpect.spawn(program, arguments, env=environment, encoding="utf-8", timeout=30, cwd=str(home))
    child.delaybeforesend = None
    child.expect_exact("ready>")
    return child


def ask(child: pexpect.spawn[str], number: int) -> float:
    """Type a line; return the seconds until the next prompt."""
    line = f"echo done{number}"
    child.send(line)
    child.expect_exact(line[-4:])
    begin = time.perf_counter()
    child.send("\r")
    child.expect_exact(f"done{number}\r\n")
    child.expect_exact("ready>")
    return time.perf_counter() - begin


def measure(shell: str, lines: int, folder: Path) -> str:
    """Return a row of the table."""
    children = []
    for init in (False, True):
        home = folder / f"{shell}-{init}"
        home.mkdir()
        children.append(opened(shell, home, init))
    taken = []
    for number in range(lines):
        pair = []
        for child in children if number % 2 else reversed(children):
            pair.append(ask(child, number))
            time.sleep(0.4)
        taken.append(pair if number % 2 else pair[::-1])
    bursts = []
    for child in children:
        bursts.append(statistics.median(ask(child, lines + number) for number in range(BURST)))
        time.sleep(3)
        child.close(force=True)
    plain, hooked = zip(*taken[5:], strict=True)
    added = sorted((b - a) * 1e3 for a, b in zip(plain, hooked, strict=True))
    return (
        f"| {shell} | {statistics.median(plain) * 1e3:.2f} | {statistics.median(hooked) * 1e3:.2f} "
        f"| {statistics.median(added):.2f} | {added[int(0.9 * len(added))]:.2f} "
        f"| {(bursts[1] - bursts[0]) * 1e3:.2f} |"
    )


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(shell, options.lines, Path(folder)) for shell in START if shutil.which(shell)]
    table = [HEADER, "|---" * 6 + "|", *rows]
    print("\n".join(table))
    if options.write:
        told = (
            f"Written by `python benchmarks/shells.py --write` on {date.today()} (Python {platform.python_version()}, "
            f"{os.cpu_count()} cores): {options.lines} lines in each shell, the first 5 left out; "
            f"then {BURST} at once (median with, less median without)."
        )
        (HERE / "SHELLS.md").write_text(
            "\n\n".join(["# What the hooks of a shell add to a prompt", told, ""]) + "\n".join(table) + "\n"
        )


if __name__ == "__main__":
    main()
