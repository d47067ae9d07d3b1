"""Print what the commands room costs per command: ``python tests/commands/time_commands.py [folder]``."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from procedural_memory.commands.danger import is_destructive
from procedural_memory.commands.normalize import _analyze, analyze
from procedural_memory.commands.redact import redact
from procedural_memory.commands.scan import scan


def _cost(function: Callable[[str], object], commands: list[str]) -> float:
    start = time.process_time()
    for command in commands:
        function(command)
    return (time.process_time() - start) / len(commands) * 1e6


def main(folder: Path) -> None:
    """Print microseconds of processor time per command, mean over every command of every file."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            commands = [step["command"] for line in lines for step in json.loads(line)["commands"]][:30_000]
        print(path.name, len(commands))
        steps: list[tuple[str, Callable[[str], object]]] = [
            ("scan", lambda command: list(scan(command))),
            ("analyze, no cache", _analyze),
            ("analyze", analyze),
            ("redact", redact),
            ("is_destructive", is_destructive),
        ]
        for name, function in steps:
            print(f"  {name:20} {_cost(function, commands):8.1f} us")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
