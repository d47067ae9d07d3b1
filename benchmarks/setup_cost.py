"""What a new user pays: the README's two commands in a fresh clone, and a bare import.

Clones the committed state into a temporary folder, runs each command of the README there with an empty environment,
times it and looks at what it installed; then times ``import procedural_memory`` against a bare interpreter, in turns.

Run: python benchmarks/setup_cost.py [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "networkx", "mlx", "torch", "fastapi", "sqlite3", "tree_sitter")


def readme_commands() -> dict[str, str]:
    """Return the README's commands by name."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- command: (\w+) -->\n```bash\n(.+)\n```", text))


def run_in_clone(command: str, folder: Path) -> tuple[float, str, int, list[str]]:
    """Return seconds, last line of output, bytes installed, and the packages installed, of one command."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    begin = time.perf_counter()
    shown = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout
    seconds = time.perf_counter() - begin
    size = sum(file.stat().st_size for file in (folder / ".venv").rglob("*") if file.is_file())
    names = sorted(path.name.split("-")[0] for path in (folder / ".venv").rglob("*.dist-info"))
    return seconds, shown.strip().splitlines()[-1], size, names


def import_ratio(rounds: int = 40) -> tuple[float, float, list[str]]:
    """Return median process times of ``pass`` and of the import (s), and the heavy modules the import loads."""
    times: dict[str, list[float]] = {"pass": [], "import procedural_memory": []}
    for _ in range(rounds):
        for code, taken in times.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
            taken.append(time.perf_counter() - begin)
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import procedural_memory"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stderr
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in report.splitlines()}
    bare, package = (statistics.median(taken) for taken in times.values())
    return bare, package, [name for name in HEAVY if name in loaded]


def main() -> None:
    """Print the figures; with ``--write`` also put them into ``benchmarks/SETUP.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    lines = ["| command of the README | seconds | installed | packages | last line |", "|---|---|---|---|---|"]
    for name, command in readme_commands().items():
        with tempfile.TemporaryDirectory() as folder:
            seconds, last, size, names = run_in_clone(command, Path(folder) / "clone")
        torch = "with torch" if "torch" in names else "no torch"
        lines.append(f"| {name} | {seconds:.0f} | {size / 1e6:.0f} MB, {torch} | {len(names)} | {last[:110]} |")
    bare, package, heavy = import_ratio()
    lines += [
        "",
        f"`python -c pass` {bare * 1e3:.1f} ms, `python -c 'import procedural_memory'` {package * 1e3:.1f} ms: "
        f"{package / bare:.2f}x (medians of whole processes, run in turns). "
        f"Heavy modules that the import loads, of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}.",
    ]
    print("\n".join(lines))
    if write:
        head = [
            "# What setting up costs",
            "",
            f"Written by `python benchmarks/setup_cost.py --write` on {date.today()} (Python "
            f"{platform.python_version()}, {os.cpu_count()} cores; sizes of the whole `.venv`, pip included).",
            "",
        ]
        (ROOT / "benchmarks" / "SETUP.md").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
