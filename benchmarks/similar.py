"""What a search for similar patterns costs in memories of a thousand patterns and more, and what the index finds.

Patterns are made up: `patterns_of` draws workflows of three to ten commands of real and made-up tools, by Zipf; half as
many distinct templates as patterns. They are put into a store through the interface by which everything is learned
(`Store.apply`), with the vectors of the lexical embedder of 384 dimensions. A query is a pattern of which one
step is missing and another one is replaced. Each is asked twice: at first much of what it needs was never read.

Yardsticks in the same run, in turns: one product of a float32 matrix, patterns x 384, with a vector, and the exact
search of usearch in the same matrix.

The index of the nearest templates (`memory.nearest`) is measured by itself, whatever the size from which it is used:
vectors of made-up templates, each the query for its own neighbours, beside comparing all. Of those that are equally
near any is right.

Run: python benchmarks/similar.py [--sizes 1000 10000 100000] [--templates 10000 50000] [--folder F] [--write]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from procedural_memory import ProceduralMemoryEngine, normalize
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.memory.nearest import NearestIndex
from procedural_memory.memory.patterns import index_keys, pattern_id_of
from procedural_memory.memory.similarity import measure_scale
from procedural_memory.storage.base import Delta, PatternRow, context_key, moment
from procedural_memory.storage.sqlite import SQLiteStore

DIMENSION, CHUNK = 384, 5_000
TOOLS = ("git", "docker", "kubectl", "npm", "cargo", "pytest", "make", "terraform", "aws", "pip", "go", "helm", "ssh")
VERBS = (  # noqa: SIM905 - words are easier to read
    "add build check clean commit create delete deploy describe diff export fetch get init install list log merge "
    "plan publish pull push remove restart run scan show start status stop sync tag test update upgrade validate"
).split()
FLAGS = ("-v", "-q", "--all", "--force", "--dry-run", "--json", "-n", "--verbose", "--no-cache", "--wait", "-r", "-f")
ARGUMENTS = ("", "", "src/main.py", "https://example.org/a", "42", "./build", "'a message'", "package.json")
TOP, EQUAL = 10, 1e-6
SIMILAR = (
    "| patterns | templates | product ms | usearch exact, of the product | first time ms | again ms "
    "| first time, of the product | again, of the product | first time, CPU | again, CPU |"
)
INDEX = (
    "| templates | recall@10 | search ms | product ms | search, of the product | build s | comparing all s "
    "| open s | file MB |"
)
NOTE = """*Product*: one float32 matrix-vector product, patterns (templates) x 384. *First time*: a query that was not
asked before, in a process that answered the queries before it. *CPU*: the same by the seconds of all cores, which who
else uses the machine changes less. *Comparing all*: as many products as there are templates, what it takes at least to
link each template to its nearest ones without an index. The index is used from 100,000 templates
on; *open* is the first search of another process, which reads the file once to check it."""
SYLLABLES = ("ka", "lo", "mi", "ru", "te", "so", "va", "ne", "pi", "du", "fa", "xo")


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
    store, embedder = SQLiteStore(str(path), "normal"), LexicalEmbedder(DIMENSION)
    store.set_meta("embedder", embedder.fingerprint)
    store.set_meta(f"scale {embedder.fingerprint}", json.dumps(measure_scale(embedder.embed)))
    for begin in range(0, len(patterns), CHUNK):
        delta = Delta()
        for number, steps in enumerate(patterns[begin : begin + CHUNK], begin):
            for template in steps:
                delta.context(context_key(())).follow(delta.id_of(template))
            name = pattern_id_of(steps)
            keys = frozenset(key for template in set(steps) for key in index_keys(template))
            when = moment(1.6e9 + 60.0 * number, f"s{number}", 0)
            delta.patterns[name] = PatternRow(name, steps, keys, success=1, newest=when, example=steps)
        store.apply(delta, 0)
        texts = list(dict.fromkeys(step for steps in patterns[begin : begin + CHUNK] for step in steps))
        numbers = store.template_ids(texts)
        rows = embedder.embed(texts)
        vectors = {numbers[text]: row.tobytes() for text, row in zip(texts, rows, strict=True)}
        store.put_vectors(embedder.fingerprint, vectors)
        print(f"\r{begin + CHUNK:,} of {len(patterns):,} patterns", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    store.close()


class Took(NamedTuple):
    """Seconds that a call took, and those of all cores that it used."""

    wall: float
    cpu: float


class Times(NamedTuple):
    """What searches and the yardsticks took, one of each in turns."""

    search: list[Took]
    again: list[Took]
    product: list[Took]
    exact: list[Took]


def took(function: Callable[[], object]) -> Took:
    """Return what a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def measure(engine: ProceduralMemoryEngine, queries: Sequence[list[str]], size: int) -> Times:
    """Ask every query once, then once more at once; after each come the yardsticks."""
    from usearch.index import search

    chance = np.random.default_rng(3)
    matrix: NDArray[np.float32] = chance.standard_normal((size, DIMENSION), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    times = Times([], [], [], [])
    for steps in queries:
        vector = chance.standard_normal(DIMENSION, dtype=np.float32)
        times.search.append(took(lambda steps=steps: engine.similar_patterns(steps, 5, 0.0)))  # type: ignore[misc]
        times.again.append(took(lambda steps=steps: engine.similar_patterns(steps, 5, 0.0)))  # type: ignore[misc]
        times.product.append(took(lambda vector=vector: matrix @ vector))  # type: ignore[misc]
        times.exact.append(
            took(lambda vector=vector: search(matrix, vector, 10, "ip", exact=True))  # type: ignore[misc]
        )
    return times


def similar_row(folder: Path, size: int, count: int) -> str:
    """Return the row of a memory of so many patterns."""
    templates = templates_of(size // 2)
    patterns = list(patterns_of(size, templates))
    path = folder / f"patterns-{size}.sqlite3"
    if not path.exists():
        build(path, patterns)
    with ProceduralMemoryEngine(path=path, embedder=LexicalEmbedder(DIMENSION)) as engine:
        warm, *queries = queries_of(count + 1, patterns, templates)
        engine.similar_patterns(warm)
        times = measure(engine, queries, size)
    search, again, product, exact = (1e3 * statistics.median(each.wall for each in taken) for taken in times)
    cpu = [statistics.median(each.cpu for each in taken) for taken in times]
    return (
        f"| {size:,} | {len(templates):,} | {product:.2f} | {exact / product:.2f} | {search:.1f} | {again:.1f} "
        f"| {search / product:.2f} | {again / product:.2f} | {cpu[0] / cpu[2]:.2f} | {cpu[1] / cpu[2]:.2f} |"
    )


def index_row(folder: Path, size: int, count: int) -> str:
    """Return the row of an index of so many templates."""
    templates = templates_of(size)
    rows = LexicalEmbedder(DIMENSION).embed(templates)
    with closing(SQLiteStore(str(folder / f"templates-{size}.sqlite3"), "normal")) as store:
        ids = store.template_ids(templates)
        if not ids:
            delta = Delta()
            for template in templates:
                delta.context(context_key(())).follow(delta.id_of(template))
            store.apply(delta, 0)
            ids = store.template_ids(templates)
            store.put_vectors("v", {ids[text]: row.tobytes() for text, row in zip(templates, rows, strict=True)})
        index = NearestIndex(store)
        index.drop()  # one that was kept
        built = took(lambda: index.search("v", rows[:1], 1)).wall
        opened = took(lambda: NearestIndex(store).search("v", rows[:1], 1)).wall
        chosen = np.random.default_rng(3).choice(size, count, replace=False)
        right, search, product = 0, [], []
        for place in chosen.tolist():
            query = rows[place : place + 1]
            begin = time.perf_counter()
            (found,) = index.search("v", query, TOP)
            search.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            cosines = rows @ query[0]
            product.append(time.perf_counter() - begin)
            floor = np.partition(cosines, -TOP)[-TOP] - EQUAL
            near = {ids[templates[other]] for other in np.flatnonzero(cosines >= floor).tolist()}
            right += sum(number in near for number, _ in found)
        megabytes = index.path.stat().st_size / 1e6 if index.path is not None else 0.0
    per_search, per_product = 1e3 * statistics.median(search), 1e3 * statistics.median(product)
    return (
        f"| {size:,} | {right / (TOP * count):.4f} | {per_search:.2f} | {per_product:.2f} "
        f"| {per_search / per_product:.2f} | {built:.1f} | {size * per_product / 1e3:.0f} | {opened:.2f} "
        f"| {megabytes:.0f} |"
    )


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="of patterns")
    parser.add_argument("--templates", type=int, nargs="*", default=[10_000, 50_000], help="in the index")
    parser.add_argument("--folder", type=Path, help="keep the stores here; those that are there are used again")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        found += [SIMILAR, "|---" * SIMILAR.count(" | ") + "|---|"]
        for size in options.sizes:
            found.append(similar_row(folder, size, options.queries))
            print(found[-1], file=sys.stderr)
        found += ["", INDEX, "|---" * INDEX.count(" | ") + "|---|"]
        for size in options.templates:
            found.append(index_row(folder, size, 2 * options.queries))
            print(found[-1], file=sys.stderr)
    print("\n".join(found))
    if options.write:
        given = " ".join(["--sizes", *map(str, options.sizes), "--templates", *map(str, options.templates)])
        told = (
            f"Written by `python benchmarks/similar.py {given} --write` on {date.today()} (Python "
            f"{platform.python_version()}, numpy {np.__version__}, usearch {version('usearch')}, {os.cpu_count()} "
            f"cores): made-up patterns of 3 to 10 steps, vectors of {DIMENSION} dimensions, {options.queries} queries, "
            "medians. The load average was "
            f"{os.getloadavg()[0]:.1f} at the end."
        )
        text = ["# What a search for similar patterns costs", told, "\n".join(found), NOTE]
        Path(__file__).with_name("SIMILAR.md").write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
