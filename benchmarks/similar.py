"""What a search for similar patterns costs in memories of a thousand to a million patterns, and what it finds.

Patterns are made up: `patterns_of` draws workflows of three to ten commands of real and made-up tools, Zipf-distributed,
half as many distinct templates as patterns. They are put into a store through the interface by which everything is
learned (`Store.apply`), with the vectors of the lexical embedder of 384 dimensions. A query is a pattern of which one
step is missing and another one is replaced; every query is asked once, so that none finds itself prepared.

Yardsticks in the same run, in turns: one product of a float32 matrix, patterns x 384, with a vector, and the exact
search of usearch in the same matrix.

Run: python benchmarks/similar.py [--sizes 1000 10000 100000] [--folder F] [--queries 60] [--write]
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from procedural_memory import ProceduralMemoryEngine, normalize
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.memory.patterns import index_keys, pattern_id_of
from procedural_memory.storage.base import Delta, PatternRow, context_key, moment
from procedural_memory.storage.sqlite import SQLiteStore

DIMENSION, CHUNK = 384, 5_000
TOOLS = ("git", "docker", "kubectl", "npm", "cargo", "pytest", "make", "terraform", "aws", "pip", "go", "helm", "ssh")
VERBS = (
    "add build check clean commit create delete deploy describe diff export fetch get init install list log merge "
    "plan publish pull push remove restart run scan show start status stop sync tag test update upgrade validate"
).split()
FLAGS = ("-v", "-q", "--all", "--force", "--dry-run", "--json", "-n", "--verbose", "--no-cache", "--wait", "-r", "-f")
ARGUMENTS = ("", "", "src/main.py", "https://example.org/a", "42", "./build", "'a message'", "package.json")
SYLLABLES = "ka lo mi ru te so va ne pi du fa xo".split()


def templates_of(count: int) -> list[str]:
    """Return so many distinct templates, those of the most used tools first."""
    chance, found = random.Random(7), dict[str, None]()
    made_up = ["".join(parts) for parts in itertools.product(SYLLABLES, repeat=3)]
    chance.shuffle(made_up)
    tools = [*TOOLS, *made_up[: 20 + count // 200]]
    while len(found) < count:
        flags = " ".join(chance.sample(FLAGS, chance.choice((0, 1, 1, 2, 2, 3))))
        line = f"{_zipf(chance, tools)} {chance.choice(VERBS)} {flags} {chance.choice(ARGUMENTS)}"
        found[normalize(" ".join(line.split()))] = None
    return list(found)


def patterns_of(count: int, templates: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield so many distinct workflows, the same ones each time."""
    chance, seen = random.Random(11), set[tuple[str, ...]]()
    while len(seen) < count:
        # A project has its own tools: a stretch of the list, beside what everybody uses.
        begin = chance.randrange(len(templates))
        own = [templates[(begin + number) % len(templates)] for number in range(40)]
        steps = tuple(
            chance.choice(own) if chance.random() < 0.6 else _zipf(chance, templates)
            for _ in range(chance.randint(3, 10))
        )
        if steps not in seen:
            seen.add(steps)
            yield steps


def queries_of(count: int, patterns: Sequence[tuple[str, ...]], templates: Sequence[str]) -> list[list[str]]:
    """Return so many distinct queries."""
    chance, found = random.Random(13), dict[tuple[str, ...], None]()
    while len(found) < count:
        steps = list(chance.choice(patterns))
        steps[chance.randrange(len(steps))] = chance.choice(templates)
        if len(steps) > 3:
            del steps[chance.randrange(len(steps))]
        found[tuple(steps)] = None
    return [list(steps) for steps in found]


def _zipf(chance: random.Random, items: Sequence[str]) -> str:
    return items[(int(chance.paretovariate(0.6)) - 1) % len(items)]


def build(path: Path, patterns: Sequence[tuple[str, ...]]) -> None:
    """Put patterns and their templates into a new store."""
    store = SQLiteStore(str(path), "normal")
    for begin in range(0, len(patterns), CHUNK):
        delta = Delta()
        for number, steps in enumerate(patterns[begin : begin + CHUNK], begin):
            for template in steps:
                delta.follow(context_key(()), template, 0)
            name = pattern_id_of(steps)
            keys = frozenset(key for template in set(steps) for key in index_keys(template))
            when = moment(1.6e9 + 60.0 * number, f"s{number}", 0)
            delta.patterns[name] = PatternRow(name, steps, keys, success=1, newest=when, example=steps)
        store.apply(delta, 0)
        print(f"\r{begin + CHUNK:,} of {len(patterns):,} patterns", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    store.close()


class Times(NamedTuple):
    """Seconds of searches and of the yardsticks, one of each in turns."""

    search: list[float]
    again: list[float]
    product: list[float]
    exact: list[float]


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def measure(engine: ProceduralMemoryEngine, queries: Sequence[list[str]], size: int) -> Times:
    """Ask every query once, then once more at once; after each come the yardsticks."""
    from usearch.index import MetricKind, search

    chance = np.random.default_rng(3)
    matrix: NDArray[np.float32] = chance.standard_normal((size, DIMENSION), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    times = Times([], [], [], [])
    for steps in queries:
        vector = chance.standard_normal(DIMENSION, dtype=np.float32)
        times.search.append(seconds_of(lambda steps=steps: engine.similar_patterns(steps, 5, 0.0)))  # type: ignore[misc]
        times.again.append(seconds_of(lambda steps=steps: engine.similar_patterns(steps, 5, 0.0)))  # type: ignore[misc]
        times.product.append(seconds_of(lambda vector=vector: matrix @ vector))  # type: ignore[misc]
        times.exact.append(
            seconds_of(lambda vector=vector: search(matrix, vector, 10, MetricKind.IP, exact=True))  # type: ignore[misc]
        )
    return times


def store_of(folder: Path, size: int, templates: Sequence[str], patterns: Sequence[tuple[str, ...]]) -> Path:
    """Return a store of so many patterns, made unless it is there."""
    path = folder / f"patterns-{size}.sqlite3"
    if not path.exists():
        build(path, patterns)
    return path


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="keep the stores here; those that are there are used again")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for size in options.sizes:
            begin = time.perf_counter()
            templates = templates_of(size // 2)
            patterns = list(patterns_of(size, templates))
            path = store_of(folder, size, templates, patterns)
            print(f"built {time.perf_counter() - begin:.1f}", file=sys.stderr)
            with ProceduralMemoryEngine(path=path, embedder=LexicalEmbedder(DIMENSION)) as engine:
                begin = time.perf_counter()
                engine.flush()
                print(f"embedded {time.perf_counter() - begin:.1f}", file=sys.stderr)
                times = measure(engine, queries_of(options.queries, patterns, templates), size)
                print(
                    size,
                    {
                        k: [round(1e3 * x, 2) for x in (statistics.median(v), sorted(v)[int(0.9 * len(v))])]
                        for k, v in times._asdict().items()
                    },
                )


if __name__ == "__main__":
    main()
