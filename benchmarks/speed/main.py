"""Measures what is asked for, and writes SPEED.md and SPEED.png."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from peers import missing
from train_weights import DATA

import speed.operations  # noqa: F401  (enters the operations)
from speed.budgets import Found
from speed.footprint import footprint, peak_of_numpy
from speed.measure import Result, Unmeasurable, compare
from speed.registry import OPERATIONS, Case, Operation
from speed.report import document, plot
from speed.workload import STEPS, real_lines
from speed.world import Plan, World

__all__ = ["main", "measure"]

ROOT = Path(__file__).parents[2]
FOOTPRINT = "disk and memory"
FAILED = "failed"
DASK = "learning with Dask beside one process"
INSTALL = "pip install -e '.[benchmarks]'"


def measure(world: World, operation: Operation, case: Case, seconds: float) -> Result:
    """Measure one case."""
    try:
        with operation.contest(world, case) as contest:
            ours, yardsticks = compare(contest, seconds)
            return Result(operation.name, operation.detail(case), case.get("size"), contest.each, ours, yardsticks)
    finally:
        world.clear()


def numbers_of(text: str) -> list[int]:
    """Read ``1,32,1_024``: numbers from 1 on, each once, rising."""
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"must be whole numbers from 1 on, with commas between, got {text!r}")
    return numbers


def sizes_of(text: str) -> list[int]:
    """Read ``1000,10_000``: rising multiples of the steps of a session."""
    sizes = numbers_of(text)
    if sizes[0] < 10 * STEPS or any(size % STEPS for size in sizes):
        raise argparse.ArgumentTypeError(f"must be multiples of {STEPS}, from {10 * STEPS} on, got {text!r}")
    return sizes


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default else action.help


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__, formatter_class=_Help)
    made.add_argument("--sizes", type=sizes_of, default="1000,10000,100000", help="commands in the memories")
    made.add_argument("--patterns", type=sizes_of, help="patterns in those that are searched; as --sizes unless given")
    made.add_argument("--texts", type=numbers_of, default="1,32,1024", help="how many texts are embedded at a time")
    made.add_argument("--embedder", action="append", choices=Plan([], []).embedders, help="only this; may be repeated")
    made.add_argument("--seconds", type=float, default=4.0, help="how long each case is measured")
    made.add_argument("--only", action="append", help="operations that begin so; may be repeated")
    made.add_argument("--cache", type=Path, default=ROOT / ".benchmarks" / "stores", help="memories are kept here")
    made.add_argument("--rebuild", action="store_true", help="learn the memories anew")
    made.add_argument("--data", type=Path, default=DATA, help="folder of the data sets of real commands")
    made.add_argument("--write", action="store_true", help="write SPEED.md and SPEED.png")
    made.add_argument("--to", type=Path, default=ROOT / "benchmarks", help="the folder to write to")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; print the tables, and write them when asked to."""
    made = parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = made.parse_args(given)
    chosen = [name for name in [*OPERATIONS, FOOTPRINT] if _is_chosen(name, options.only)]
    if not chosen:
        made.error(f"--only: none begins with {options.only}; there are: {'; '.join([*OPERATIONS, FOOTPRINT])}")
    if options.write and not find_spec("matplotlib"):  # said before hours of work
        made.error(f"--write draws with matplotlib: {INSTALL}")
    plan = Plan(options.sizes, options.patterns or options.sizes, options.texts)
    if options.embedder:
        plan = Plan(plan.sizes, plan.patterns, plan.texts, options.embedder)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        world = World(plan, options.cache, Path(scratch), options.data, options.rebuild)
        found, text = Found(), ""
        _, lines = real_lines(options.data, plan.lines)
        for name in [*OPERATIONS, FOOTPRINT]:
            found.missing[name] = "the run ended before it" if name in chosen else "not asked for"
        found.missing[DASK] = "not among the operations of this run"
        found.missing |= {name: f"not installed ({how})" for name, how in absent().items()}
        _builds(world, found)
        bare_peak = peak_of_numpy()
        for name in chosen:
            del found.missing[name]
            if name == FOOTPRINT:
                _footprints(world, found)
            else:
                _operation(world, OPERATIONS[name], options.seconds, found)
            # Written as it grows: what was measured is kept when a long run is cut short.
            minutes = (time.perf_counter() - begin) / 60
            text = document(given, found, plan.sizes, f"It took {minutes:.0f} minutes.", "SPEED.png", lines, bare_peak)
            if options.write:
                (options.to / "SPEED.md").write_text(text, encoding="utf-8")
                plot(found, options.to / "SPEED.png")
    print(text)
    if failures := [what for what, why in found.missing.items() if why.startswith(FAILED)]:
        raise SystemExit(f"{FAILED}: {'; '.join(failures)}")


def absent() -> dict[str, str]:
    """Return the yardsticks that are not installed, each with the command that installs it."""
    searches = {"usearch": INSTALL, "faiss": "pip install faiss-cpu"}
    return {**missing(), **{name: how for name, how in searches.items() if not find_spec(name)}}


def _is_chosen(name: str, only: Sequence[str] | None) -> bool:
    return not only or any(name.startswith(start) for start in only)


def _builds(world: World, found: Found) -> None:
    """Learn the memories that are not there; take note of how long it took."""
    for size in world.plan.sizes:
        build = world.build(size)
        if build.code == world.code:
            found.builds[size] = build
        else:
            found.missing[f"bulk learning of {size:,} commands"] = (
                f"the memory was learned on {build.day} by other code; --rebuild learns it anew"
            )


def _operation(world: World, operation: Operation, seconds: float, found: Found) -> None:
    for case in operation.cases(world.plan):
        with _going_on(", ".join([operation.name, *map(str, case.values())]), found):
            found.results.append(measure(world, operation, case, seconds))


def _footprints(world: World, found: Found) -> None:
    for size in world.plan.sizes:
        with _going_on(f"{FOOTPRINT}, {size:,}", found):
            found.footprints[size] = footprint(world, size)
        world.clear()


@contextmanager
def _going_on(what: str, found: Found) -> Iterator[None]:
    """Go on where one case fails: hours of others must not be lost. The run says so, and ends with an error."""
    _say(what)
    try:
        yield
    except Unmeasurable as reason:
        found.missing[what] = str(reason)
    except Exception as error:
        traceback.print_exc()
        found.missing[what] = f"{FAILED}: {type(error).__name__}: {error}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
