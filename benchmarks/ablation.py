"""What each part of the engine is worth: accuracy without it, on a fixed fifth of the sessions; writes ABLATION.md.

The sessions are chosen by a hash of their ids and stay in the order of the file. Every variant of `variants.py` is
evaluated as in `evaluate.py`, each step predicted before it is learned. What is finished is kept in
``benchmarks/.ablation``, apart for every state of the code and the sessions, so that a run that was cut short goes on
where it stopped and results of different code never stand in one table.

Run: python benchmarks/ablation.py [--data FOLDER] [--data-set NAME …] [--only VARIANT …] [--processes 2] [--write]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from evaluate import DATA_SETS, OURS, Options, load, predictors
from train_weights import DATA, NAMES, as_told
from variants import EVERYTHING, VARIANTS

import procedural_memory
from procedural_memory.evaluation import metrics, report
from procedural_memory.evaluation.predictors import EnginePredictor
from procedural_memory.evaluation.prequential import Trace, evaluate
from procedural_memory.evaluation.sessions import LEVELS, EvaluationLevel, EvaluationSession, chosen

HERE = Path(__file__).parent
RESULTS = HERE / "ABLATION.md"
KEPT = HERE / ".ablation"
SAMPLE = 0.2
MEASURES = tuple((level, k) for level in LEVELS for k in (1, 5))


@dataclass(frozen=True)
class Job:
    """One variant on one data set, and the file that keeps its trace."""

    name: str
    variant: str
    data: Path
    limit: int | None
    kept: Path


def sample(name: str, data: Path, limit: int | None = None) -> list[EvaluationSession]:
    """Return the fixed sample of a data set."""
    return chosen(load(name, Options(data, "lexical", None)), sample=SAMPLE, limit=limit)


def digest(parts: Iterable[bytes]) -> str:
    """Return a short hash of parts."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def code() -> str:
    """Return a hash of all that results depend on beside the sessions."""
    package = Path(procedural_memory.__file__).parent
    files = [path for path in sorted(package.rglob("*")) if path.suffix in (".py", ".json")]
    files += [HERE / "variants.py", HERE / "evaluate.py", *sorted((HERE / "weights").glob("*.json"))]
    return digest(path.read_bytes() for path in files)


def measure(job: Job) -> float:
    """Evaluate a variant and keep its trace; return the seconds it took."""
    variant = VARIANTS[job.variant]
    begin = time.perf_counter()
    with variant.applied() as apply:

        def make() -> EnginePredictor:
            made = predictors(job.name, variant.embedder)[OURS]()
            assert isinstance(made, EnginePredictor)
            apply(made._engine)
            return made

        trace = evaluate(variant.sessions(sample(job.name, job.data, job.limit)), make)
    job.kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = job.kept.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(pickle.dumps(trace))
    unfinished.replace(job.kept)  # a file that is there is whole
    return time.perf_counter() - begin


def trace_of(job: Job) -> Trace:
    """Return the trace that `measure` kept."""
    trace = pickle.loads(job.kept.read_bytes())
    assert isinstance(trace, Trace)
    return trace


def jobs_of(names: Sequence[str], data: Path, limit: int | None) -> list[Job]:
    """Return all jobs of some data sets, those that the others are held against first."""
    state = code()
    folders = {
        name: KEPT / state / f"{name}-{digest([repr(sample(name, data, limit)).encode('utf-8', 'surrogatepass')])}"
        for name in names
    }
    return [
        Job(name, variant, data, limit, folders[name] / f"{re.sub('[^a-z0-9]+', '-', variant.lower())}.pickle")
        for variant in VARIANTS
        for name in names
    ]


def difference(trace: Trace, whole: Trace, level: EvaluationLevel, k: int) -> str:
    """Return what hit@k gained or lost, in points, with its interval; bold where that leaves out 0."""
    mine, all_of_it = (metrics.hit_rate(each.levels[level].rank, k) for each in (trace, whole))
    change = 100.0 * (mine - all_of_it)
    # Of the differences of each step, so that sessions that are hard for both do not widen it.
    low, high = metrics.bootstrap_interval(change, whole.unit, whole.memory)
    shown = f"{metrics.macro_mean(change, whole.memory):+.1f}"
    return f"{f'**{shown}**' if low > 0.0 or high < 0.0 else shown} ({low:+.1f} to {high:+.1f})"


def table(name: str, traces: Mapping[str, Trace]) -> report.Table:
    """Return the table of a data set: each variant's measures and their differences to everything."""
    whole = traces[EVERYTHING]
    rows = []
    for variant, trace in traces.items():
        row = [variant]
        overall = report.summary(trace)["levels"]
        for level, k in MEASURES:
            row.append(f"{overall[level]['overall'][f'hit@{k}']:.3f}")
            row.append("" if variant == EVERYTHING else difference(trace, whole, level, k))
        ece = [overall[level]["overall"]["ECE"] for level in LEVELS]
        rows.append((*row, *("–" if value is None else f"{value:.3f}" for value in ece)))
    heads = [head for level, k in MEASURES for head in (f"#{level} @{k}", "#points")]
    title = f"{name}: {len(whole.memory)} steps of {whole.sessions} sessions"
    return report.Table(title, ("without, or with", *heads, *(f"#ECE {level}" for level in LEVELS)), tuple(rows))


def same(trace: Trace, whole: Trace) -> bool:
    """Return whether a variant ranked and said the same as everything at each step."""
    return all(
        np.array_equal(trace.levels[level].rank, whole.levels[level].rank)
        and np.array_equal(trace.levels[level].first, whole.levels[level].first)
        for level in LEVELS
    )


HEAD = (
    "# What each part is worth",
    "",
    f"A fixed sample of {SAMPLE:.0%} of the sessions, chosen by a hash of their ids, in the order of the file; one "
    "memory, each step predicted before it is learned, as in RESULTS.md. The start weights are those trained without "
    "the data set, with all parts: they are not trained again for a variant, so that a part may look worth more than "
    "it is. points: difference of the hit rate to everything, in points, with a paired bootstrap 95 % interval over "
    "sessions; bold where that leaves out 0, as some five of a hundred do by chance where there is no difference. ECE: "
    f"calibration error of the first prediction, {report.BINS} bins of equal mass. The embedder is the lexical one but "
    "where a row says otherwise.",
)


def section(name: str, traces: Mapping[str, Trace]) -> list[str]:
    """Return the section of a data set."""
    command = shlex.join(["python", "benchmarks/ablation.py", *as_told(sys.argv[1:])])
    missing = [variant for variant in VARIANTS if variant not in traces]
    equal = [variant for variant in traces if variant != EVERYTHING and same(traces[variant], traces[EVERYTHING])]
    return [
        f"## {name}",
        "",
        f"{DATA_SETS[name].about} Written by `{command}` on {date.today()} (omnimemory-procedural "
        f"{procedural_memory.__version__}, Python {platform.python_version()}, numpy {np.__version__}; code {code()}).",
        *(["", f"Not measured: {'; '.join(missing)}."] if missing else []),
        *(["", f"The same as everything at each step: {'; '.join(equal)}."] if equal else []),
        "",
        *report.markdown([table(name, traces)]),
    ]


def run(jobs: Sequence[Job], processes: int, say: Callable[[str], object] = print) -> list[str]:
    """Measure the jobs that are not kept yet; return what went wrong, a line a job."""
    left = [job for job in jobs if not job.kept.exists()]
    say(f"{len(jobs) - len(left)} of {len(jobs)} are kept from before")
    failed = []
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(measure, job): job for job in left}
        for number, done in enumerate(as_completed(running), 1):
            job = running[done]
            if (error := done.exception()) is None:
                outcome = f"{done.result():.0f} s"
            else:
                outcome = f"{type(error).__name__}: {error}"
                failed.append(f"{job.name}, {job.variant}: {outcome}")
            say(f"{number}/{len(left)} {job.name}, {job.variant}: {outcome}")
    return failed


def wanted(variant: str, only: Sequence[str] | None) -> bool:
    """Return whether a variant is asked for by its name or by how that begins."""
    return variant == EVERYTHING or not only or variant.startswith(tuple(only))


def main() -> None:
    """Print a table a data set; with ``--write`` put them into ``benchmarks/ABLATION.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--data-set", action="append", choices=NAMES, help="only this one; may be repeated")
    parser.add_argument("--only", action="append", metavar="VARIANT", help="those that begin so; may be repeated")
    parser.add_argument("--limit", type=int, help="only so many sessions of the sample, for a look; writes nothing")
    parser.add_argument("--processes", type=int, default=1, help="variants side by side")
    parser.add_argument("--write", action="store_true", help="write all that is measured, also what was kept")
    options = parser.parse_args()
    if options.write and (options.limit or options.data_set):
        parser.error("--limit and --data-set are for a look and --write for the record: use one of them")
    if options.only and not any(variant.startswith(tuple(options.only)) for variant in VARIANTS):
        parser.error(f"--only: must begin one of {', '.join(VARIANTS)}; got {', '.join(options.only)}")
    names = options.data_set or NAMES
    jobs = jobs_of(names, options.data, options.limit)
    failed = run(
        [job for job in jobs if wanted(job.variant, options.only)],
        options.processes,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    lines = [*HEAD]
    for name in names:
        traces = {job.variant: trace_of(job) for job in jobs if job.name == name and job.kept.exists()}
        if EVERYTHING in traces:
            lines += ["", *section(name, traces)]
    print("\n".join(lines))
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if failed:
        sys.exit("\n".join(["not measured:", *failed]))


if __name__ == "__main__":
    main()
