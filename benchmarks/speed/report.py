"""The tables and the plot."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from train_weights import as_told

from procedural_memory import __version__
from procedural_memory.memory.sequences import WATCHED
from speed.budgets import BUDGETS, Found, slope
from speed.measure import Result
from speed.world import TAUGHT

__all__ = ["blas", "document", "plot"]

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def table(head: Sequence[str], rows: Iterable[str]) -> list[str]:
    """Return the lines of a table."""
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows]


def shown(seconds: float) -> str:
    """Return a time in its unit, three digits of it."""
    size, unit = next((pair for pair in SCALES if seconds >= pair[0]), SCALES[-1])
    value = seconds / size
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def ratio(value: float) -> str:
    """Return a ratio, three digits of it."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4}f}"


def blas() -> str:
    """Return numpy's BLAS and its threads."""
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
        if pools:
            return f"{pools[0]['internal_api']} {pools[0]['version']} with {pools[0]['num_threads']} thread(s)"
    found: Any = np.show_config(mode="dicts")
    return f"{found['Build Dependencies']['blas']['name']} (threads unknown: threadpoolctl is not installed)"


def _size(result: Result) -> str:
    return "–" if result.size is None else f"{result.size:,}"


def _rows(result: Result) -> Iterable[str]:
    ours = f"| {shown(result.ours.p50)} | {shown(result.ours.p99)} | {len(result.ours)}"
    head = f"| {result.name} | {_size(result)} {ours} "
    if not result.yardsticks:
        yield f"{head}| – | – | – | – | – |"
    for name, times in result.yardsticks.items():
        yield (
            f"{head}| `{name}` | {shown(times.p50)} | {shown(times.p99)} "
            f"| {ratio(result.ours.p50 / times.p50)} | {ratio(result.ours.p99 / times.p99)} |"
        )
        head = "| | | | | "


def _costs(results: Sequence[Result]) -> dict[str, dict[int, float]]:
    """Return what the whole of an operation costs, by its name and size."""
    costs: dict[str, dict[int, float]] = {}
    for result in results:
        if result.size is not None:
            costs.setdefault(result.name, {})[result.size] = result.ours.p50 * result.each
    return costs


def _yardstick_costs(results: Sequence[Result], name: str) -> dict[int, float]:
    return {
        result.size: next(iter(result.yardsticks.values())).p50 * result.each
        for result in results
        if result.name == name and result.size is not None and result.yardsticks
    }


def _bulk(found: Found) -> list[str]:
    rows = []
    for size, build in sorted(found.builds.items()):
        counted, whole, bare = (sum(part) for part in (build.counted, build.whole, build.bare))
        rate = "–" if build.rate is None else f"{build.rate:,.0f}"
        rows.append(
            f"| {size:,} | {len(build.commands)} | {counted:.1f} | {rate} | {whole - counted:.1f} "
            f"| {size / whole:,.0f} | {bare:.2f} | {whole / bare:.0f} | {build.vectors:.1f} | {build.day} |"
        )
    head = (
        "commands", "calls", "log and counts s", "commands/s", "the rest s", "commands/s, all", "bare s", "all / bare",
        "vectors s", "on",
    )  # fmt: skip
    return table(head, rows)


def _footprints(found: Found) -> list[str]:
    rows = [
        f"| {there.commands:,} | {there.templates:,} | {there.patterns:,} | {there.file / 1e6:.1f} "
        f"| {there.vectors / 1e6:.1f} | {there.text / 1e6:.3f} | {there.above:.0f} | {there.predicting:.0f} "
        f"| {there.working:.0f} | {there.importing:.0f} |"
        for _, there in sorted(found.footprints.items())
    ]
    head = (
        "commands", "templates", "patterns", "file MB", "of it vectors MB", "zlib text MB", "bytes a command above",
        "predict: peak MB", "at work: peak MB", "import: peak MB",
    )  # fmt: skip
    return table(head, rows)


def machine() -> str:
    """Return what it was measured on."""
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, SQLite {sqlite3.sqlite_version}"
    load = f"load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else "load unknown"
    return f"{versions}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, {load}, BLAS {blas()}"


def document(
    arguments: Sequence[str], found: Found, sizes: Sequence[int], told: str, picture: str, lines: str, bare_peak: float
) -> str:
    """Return SPEED.md."""
    costs = _costs(found.results)
    bulk = {size: sum(build.whole) for size, build in found.builds.items()}
    if bulk:
        costs["bulk learning"] = bulk
    slopes = []
    for name, points in costs.items():
        if (own := slope(points)) is not None:
            other = slope(_yardstick_costs(found.results, name))
            span = f"{min(points):,} to {max(points):,}"
            slopes.append(f"| {name} | {span} | {own:.2f} | {'–' if other is None else f'{other:.2f}'} |")
    command = shlex.join(["benchmarks/run", *as_told(arguments)])
    parts = [
        "# Speed and scale",
        f"Written by `{command}` on {date.today()} (omnimemory-procedural {__version__}, {machine()}). {told}",
        "The engine and its yardsticks are called in turns, so that what else the machine does falls on all of them. "
        "Times are of one call, or of one command or text where a call handles many; n is the number of calls, the "
        "ratios are those of the medians and of the 99th percentiles, which of fewer than 100 calls are near the "
        "slowest. Memories learned the generator `habits` of `benchmarks/speed/workload.py`, those that are searched "
        "`workflows`; the embedder is lexical unless named. "
        f"Peers were taught the newest {TAUGHT:,} commands of the memory and are asked with the same contexts.",
        "## Budgets",
        "\n".join(
            table(("what", "limit", "aim", "measured", "verdict"), (budget.row(found, sizes) for budget in BUDGETS))
        ),
        "## Operations",
        f"Taken apart are {lines}.",
        "\n".join(
            table(
                ("operation", "size", "p50", "p99", "n", "yardstick", "p50", "p99", "ratio p50", "ratio p99"),
                (row for result in found.results for row in _rows(result)),
            )
        ),
        "## Cost against size",
        f"The slope is that of a line through the logarithms: 0 is a cost that does not grow, 1 one that grows with "
        f"the size.\n\n![cost against size]({picture})",
        "\n".join(table(("operation", "sizes", "slope", "slope of its yardstick"), slopes)),
        "## Bulk learning",
        "`learn_many` into new memories, durability normal, up to 100,000 commands a call, in turns with bare SQLite, "
        "which inserts the same rows. Log and counts end with the last session; the rest are the newest "
        f"{WATCHED:,} steps of a call, from which the ranker learns too, and the commit. The rate of log and counts is "
        "of the steps without these.",
        "\n".join(_bulk(found)),
        "## Disk and memory",
        "Of a copy that was closed. Text: all command lines in order, compressed by zlib as one. Peaks are told by the "
        "system's `time`: of a process that predicts once, of one that predicts 900 times, searches 100 times and "
        "learns 100 sessions, and of one that imports as many lines, 100,000 at most. A process that imports numpy: "
        f"{bare_peak:.0f} MB.",
        "\n".join(_footprints(found)),
    ]
    if found.missing:
        parts += ["## Not run", "\n".join(f"- {what}: {why}." for what, why in found.missing.items())]
    return "\n\n".join(parts) + "\n"


def plot(found: Found, path: Path) -> None:
    """Draw the cost of each operation against the size of the memory, both as logarithms."""
    from matplotlib.figure import Figure

    costs = _costs(found.results)
    whole = {result.name for result in found.results if result.each > 1}
    if found.builds:
        costs["bulk learning"] = {size: sum(build.whole) for size, build in sorted(found.builds.items())}
        whole.add("bulk learning")
    figure = Figure(figsize=(15, 7), layout="constrained")
    for axes, title, chosen in zip(
        figure.subplots(1, 2),
        ("one call (dotted: the first yardstick)", "the whole memory (dotted: the first yardstick)"),
        ([name for name in costs if name not in whole], [name for name in costs if name in whole]),
        strict=True,
    ):
        for place, name in enumerate(chosen):
            _draw(
                axes, f"C{place % 10}", "os"[place // 10 % 2], name, costs[name], _yardstick_costs(found.results, name)
            )
        axes.set(xscale="log", yscale="log", title=title, xlabel="commands or patterns in the memory", ylabel="seconds")
        if chosen:
            axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=80)


def _draw(
    axes: Any, colour: str, marker: str, name: str, ours: Mapping[int, float], other: Mapping[int, float]
) -> None:
    exponent = slope(dict(ours))
    label = name if exponent is None else f"{name}: slope {exponent:.2f}"
    axes.plot(list(ours), list(ours.values()), f"{marker}-", color=colour, label=label)
    if other:
        axes.plot(list(other), list(other.values()), ".:", color=colour, alpha=0.5)
