"""The command line: ``procedural-memory``. A thin layer over the engine; every command takes ``--json``."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, get_args

import click
from click.core import ParameterSource

from procedural_memory import __version__
from procedural_memory.cli_claude import claude
from procedural_memory.cli_mcp import mcp
from procedural_memory.cli_options import (
    FileName,
    bound_options,
    bounds_given,
    json_option,
    path_option,
    token_given,
    token_options,
)
from procedural_memory.errors import MissingExtraError, ProceduralMemoryError
from procedural_memory.storage.address import Address, is_address, refuse_address, shown_place
from procedural_memory.types import SHOWN_TEMPLATES, UNASKED_PROBABILITY, Forgotten, PatternState
from procedural_memory.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from procedural_memory.distributed import PartitionsLearned
    from procedural_memory.engine import ProceduralMemoryEngine
    from procedural_memory.types import ImportReport, Prediction

__all__ = ["main"]

F = TypeVar("F", bound=Callable[..., Any])

_WIDE = 110
"""Columns that a table with reasons needs."""

_embedder_option = click.option(
    "--embedder",
    default="auto",
    show_default=True,
    help="auto, lexical, mlx, sentence-transformers, or the http:// address of an embedding service.",
)


def _store_options(function: F) -> F:
    return path_option(_embedder_option(function))


class _Group(click.Group):
    """Shows the package's own errors, and output that cannot be written, as one clear line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProceduralMemoryError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly when nobody reads on
                raise
            # What could not be written would be tried again when Python ends.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(
                f"the output cannot be written ({error})" if error.filename is None else str(error)
            ) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="procedural-memory")
def main() -> None:
    """Learn workflows from command sequences and predict the next step."""
    # A redirected console may know few characters; better a question mark than a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the folder was deleted
        return None


def _engine(path: str | None, embedder: str, reading: bool = False) -> ProceduralMemoryEngine:
    from procedural_memory.engine import ProceduralMemoryEngine
    from procedural_memory.privacy import DISABLE, is_disabled

    if is_disabled():
        click.echo(f"{DISABLE} turns everything off: nothing is read, stored or predicted", err=True)
        return ProceduralMemoryEngine(embedder="lexical")
    # A path with a slip of the keyboard must not look like a memory that is empty.
    given = click.get_current_context().get_parameter_source("path") is ParameterSource.COMMANDLINE
    a_file = path not in (None, "default") and not is_address(path)
    if reading and given and path and a_file:
        refuse_address("--path", path)
        if not Path(path).expanduser().exists():
            raise click.ClickException(f"--path {path!r}: there is no memory; 'procedural-memory learn' makes one")
    if reading and is_address(path):
        from procedural_memory.storage.postgres_link import Link

        if not Link(Address.of(path)).is_there():
            raise click.ClickException(
                f"--path {shown_place(path)}: there is no memory that this role may see; "
                "'procedural-memory learn' makes one"
            )
    if embedder.startswith(("http://", "https://")):
        return ProceduralMemoryEngine(embedder, path=path, **bounds_given())
    return ProceduralMemoryEngine(path=path, embedder=embedder, **bounds_given())


@contextmanager
def _learner(path: str | None, embedder: str) -> Iterator[ProceduralMemoryEngine]:
    """Give an engine that learns; of a command that fails before it learned anything no new file is left."""
    from procedural_memory.engine import store_path
    from procedural_memory.storage.sqlite import take_away

    file = None if path is None or is_address(path) else store_path(path)
    absent = [] if file is None else [place for place in (file, *file.parents) if not place.exists()]
    try:
        with _engine(path, embedder) as engine:
            yield engine
    except BaseException:
        if file is not None and file in absent and file.exists():
            take_away(file)
            with suppress(OSError):  # one of them is not empty
                for folder in absent[1:]:
                    folder.rmdir()
        raise


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    # A pipe has no width; a table cut at 80 columns would lose what matters.
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(stderr=stderr, highlight=False, emoji=False, width=140)
    return console


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", expand=False)
    for column in columns:
        number = column.startswith("#") or column.endswith("%")
        table.add_column(column.lstrip("#"), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row])
    _console().print(table)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _one_line(command: str, limit: int = 70) -> str:
    line = " ".join(command.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


@main.command()
@click.option("--history", is_flag=True, help="Also learn the history of your own shells (stays in memory).")
@json_option
def demo(history: bool, as_json: bool) -> None:
    """Learn sample sessions and predict a new one, step by step. Nothing is stored or downloaded."""
    from procedural_memory.samples import load_demo_session, load_sessions
    from procedural_memory.sources.shell_history import SHELLS

    live = load_demo_session()
    with _engine(None, "lexical") as engine:
        engine.learn_many(load_sessions())
        read = [engine.import_history(name, include_open=True) for name in SHELLS] if history else []
        own = sum(report.new_sessions for report in read)
        if unread := [problem for report in read for source in report.sources for problem in source.unread]:
            raise click.ClickException(unread[0])
        if history and not any(report.sources for report in read):
            click.echo("No history of bash, zsh, fish or PowerShell was found; the samples only.", err=True)
        engine.flush()
        stats = engine.stats()
        steps = []
        with engine.session(cwd=live["cwd"], project=live["project"]) as session:
            for step in live["commands"]:
                predictions = session.predict(top_k=3, min_probability=0.005)  # shown in per cent
                steps.append({"command": step["command"], "predictions": [asdict(p) for p in predictions]})
                session.record(step)
    hits = {k: sum(s["command"] in [p["next_command"] for p in s["predictions"][:k]] for s in steps) for k in (1, 3)}
    forms = sum(
        _template(step["command"]) in [prediction["template"] for prediction in step["predictions"]] for step in steps
    )
    if as_json:
        _print_json({"stats": stats, "description": live["description"], "steps": steps, "hits": hits, "forms": forms})
        return
    _demo_table(live, stats, own, steps)
    click.echo(
        f"Exactly right: {hits[1]} of {len(steps)} at first place, {hits[3]} among the first three; "
        f"among the first three, right command with other arguments included: {forms} of {len(steps)}."
    )
    if not history:
        click.echo("Your own history: procedural-memory demo --history   (nothing leaves this machine)")


def _demo_table(live: dict[str, Any], stats: dict[str, Any], own: int, steps: list[dict[str, Any]]) -> None:
    from rich.text import Text

    click.echo(
        f"Learned {stats['session_count']} sessions"
        + (f" ({own} of them from your shell history)" if own else "")
        + f": {stats['command_count']} commands, {counted(stats['pattern_count'], 'pattern')}, "
        f"{stats['graph_node_count']} templates, {stats['graph_edge_count']} transitions "
        f"({stats['total_successes']} ended well, {stats['total_failures']} failed)."
    )
    click.echo(f"Now a session it has never seen: {live['description']}\n")
    rows: list[Sequence[Any]] = []
    for number, step in enumerate(steps, 1):
        for rank, prediction in enumerate(step["predictions"]):
            right = prediction["next_command"] == step["command"]
            form = prediction["template"] == _template(step["command"])
            mark = "✓ " if right else "≈ " if form else "  "
            command = Text(mark + _one_line(prediction["next_command"], 48), style="bold green" if right else "")
            if prediction["destructive"]:
                command.append("  ⚠ destructive", style="red")
            rows.append(
                (
                    number if rank == 0 else "",
                    _one_line(step["command"], 44) if rank == 0 else "",
                    command,
                    _percent(prediction["probability"]),
                    prediction["reason"].split(";")[0] if rank == 0 else "",
                )
            )
        if not step["predictions"]:
            rows.append((number, _one_line(step["command"], 44), "(no idea)", "", ""))
    columns = ["#step", "what was typed", "predicted", "prob. %", "why (first)"]
    if _console().width < _WIDE:
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    _table("Predicted before each step (✓ exactly right, ≈ right with other arguments)", columns, rows)


def _template(command: str) -> str:
    from procedural_memory.commands.normalize import normalize

    return normalize(command)


@main.command()
@click.argument("files", nargs=-1, required=True, type=FileName(exists=True, dir_okay=False, path_type=Path))
@click.option("--outcome", type=click.Choice(["success", "failure"]), help="Of sessions that name none.")
@bound_options
@_store_options
@json_option
def learn(files: tuple[Path, ...], outcome: str | None, path: str, embedder: str, as_json: bool) -> None:
    """Learn the sessions of FILES: JSON, JSONL or plain text, one command a line; each also with .gz."""
    from procedural_memory.privacy import is_disabled
    from procedural_memory.sources.files import read_sessions

    report: list[dict[str, Any]] = []
    with _learner(path, embedder) as engine:
        for file in files:
            before = engine.stats()
            try:
                sessions = list(read_sessions(file, outcome))
                with _bar(file.name, len(sessions)) as progress:
                    ids = engine.learn_many(sessions, progress=progress)
            except ProceduralMemoryError as error:
                earlier = f" (learned before it: {', '.join(r['file'] for r in report)})" if report else ""
                raise click.ClickException(
                    f"{_about(file, error)}; nothing of this file was learned{earlier}"
                ) from error
            after = engine.stats()
            report.append(
                {
                    "file": str(file),
                    "sessions": len(sessions),
                    "new_sessions": after["session_count"] - before["session_count"],
                    "new_commands": after["command_count"] - before["command_count"],
                    "new_patterns": after["pattern_count"] - before["pattern_count"],
                    "too_short": ids.count(None),
                }
            )
        engine.flush()
        stats = engine.stats()
    if as_json:
        _print_json({"files": report, "stats": stats})
        return
    if is_disabled():  # which was said
        return
    for item in report:
        click.echo(
            f"{item['file']}: {item['new_sessions']} of {counted(item['sessions'], 'session')} "
            f"{'was' if item['new_sessions'] == 1 else 'were'} new "
            f"({counted(item['new_commands'], 'command')}, {counted(item['new_patterns'], 'new pattern')})"
            + (f"; {item['too_short']} with fewer than 3 commands left out" if item["too_short"] else "")
        )
    click.echo(f"Memory: {stats['path']}")


@main.command("learn-partitions")
@click.argument("partitions", nargs=-1, required=True)
@click.option("--scheduler", help="Address of a Dask cluster (tcp://…); else processes of this machine learn.")
@_store_options
@json_option
def learn_partitions_command(
    partitions: tuple[str, ...], scheduler: str | None, path: str, embedder: str, as_json: bool
) -> None:
    """Learn the sessions of PARTITIONS on a Dask cluster: addresses, patterns or folders of JSONL and Parquet files.

    Addresses are those of fsspec: /logs/*.jsonl, s3://bucket/day=*/*.parquet. Their names end in .jsonl or .ndjson,
    each also packed with .gz, .bz2, .xz or .zst, or in .parquet or .pq. Extra: distributed.
    """
    from procedural_memory.distributed import learn_partitions

    def tell(what: str, done: int, count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{what}: {done} of {count}\033[K", nl=done == count, err=True)

    with _cluster_at(scheduler) as client, _learner(path, embedder) as engine:
        report = learn_partitions(engine, partitions, client, progress=tell)
        _tell_partitions(report, as_json)
        if report.skipped and not any(part.sessions for part in report.partitions):
            raise click.ClickException(
                f"nothing was learned: all that stands in {counted(len(report.partitions), 'partition')} "
                "breaks a rule; mend what is told of it, and start again"
            )


def _tell_partitions(report: PartitionsLearned, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(report))
        return
    known, short = (sum(getattr(part, f"{name}_sessions") for part in report.partitions) for name in ("known", "short"))
    click.echo(
        f"{counted(len(report.partitions), 'partition')}: {counted(report.new_sessions, 'session')} "
        f"{'was' if report.new_sessions == 1 else 'were'} new, {known} known, "
        f"{short} with fewer than 3 commands left out, {report.skipped} "
        + ("row or session that breaks" if report.skipped == 1 else "rows or sessions that break")
        + " a rule left out"
    )
    for problem in [problem for part in report.partitions for problem in part.problems][:20]:
        click.echo(f"  {problem}", err=True)


@contextmanager
def _cluster_at(address: str | None) -> Iterator[Any]:
    """Give a client of the cluster at an address, None without one."""
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(f"{error.name}, which learns on many processes,", "distributed") from error
    if address is None:
        yield None
        return
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"--scheduler {address!r}: no cluster answers ({error})") from error
    with client:
        yield client


def _about(file: Path, error: ProceduralMemoryError) -> str:
    """Return the message of an error, with the name of the file that it is about."""
    return str(error) if str(file) in str(error) else f"file {str(file)!r}: {error}"


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much of `total` is done, on a terminal; yields what is to be called with the number done so far."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.update(task, completed=done)


@main.command()
@click.argument("commands", nargs=-1)
@click.option("-k", "--top-k", default=5, show_default=True, type=click.IntRange(1), help="How many predictions.")
@click.option("--level", type=click.Choice(["command", "template"]), default="command", show_default=True)
@click.option("--min-probability", default=0.0, show_default=True, type=click.FloatRange(0, 1))
@click.option(
    "--unasked", is_flag=True, help=f"Only lines that may be shown unasked: runnable, from {UNASKED_PROBABILITY} on."
)
@click.option("--cwd", default=_current_folder, help="Working directory of the commands.  [default: the current one]")
@_store_options
@json_option
def predict(
    commands: tuple[str, ...],
    top_k: int,
    level: Any,
    min_probability: float,
    unasked: bool,
    cwd: str | None,
    path: str,
    embedder: str,
    as_json: bool,
) -> None:
    """Predict what follows COMMANDS, one argument each: predict -- 'git add .' 'git commit -m wip'."""
    from procedural_memory.memory.collecting import uncollected
    from procedural_memory.privacy import is_disabled

    if unasked and level == "template":
        raise click.UsageError("--unasked is about command lines: leave out --level template")
    _end_uncollected()
    with uncollected(), _engine(path, embedder, reading=True) as engine:
        context = [{"command": command, "cwd": cwd} for command in commands]
        least = max(min_probability, UNASKED_PROBABILITY) if unasked else min_probability
        found = engine.predict_next_action(context, top_k, level=level, min_probability=least)
        found = [p for p in found if p.runnable] if unasked else found
        # To count everything takes ten times as long as to predict, in a memory of a million commands.
        learned = bool(found) or is_disabled() or engine.stats()["session_count"] > 0
    if as_json:
        _print_json({"predictions": [asdict(prediction) for prediction in found]})
    elif not found:
        hint = "" if learned else "; the memory is empty: procedural-memory learn FILE"
        click.echo(f"No prediction{hint}")
    else:
        _predictions_table(found, level)


@cache
def _end_uncollected() -> None:
    """Let the end of this process, which gives everything back, not look for garbage in all that is loaded."""
    atexit.register(gc.disable)


def _predictions_table(found: list[Prediction], level: str) -> None:
    rows = [
        (
            rank,
            (p.template if level == "template" else p.next_command) + ("  ⚠ destructive" if p.destructive else ""),
            _percent(p.template_probability if level == "template" else p.probability),
            f"{p.confidence:.2f}",
            p.reason,
        )
        for rank, p in enumerate(found, 1)
    ]
    _table("What comes next", ("#", "command", "prob. %", "#confidence", "why"), rows)


@main.command()
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1))
@click.option("--state", type=click.Choice(get_args(PatternState)), help="Only those in this state.")
@_store_options
@json_option
def patterns(limit: int, state: PatternState | None, path: str, embedder: str, as_json: bool) -> None:
    """List the learned patterns, most frequent first."""
    with _engine(path, embedder, reading=True) as engine:
        found, total = engine.patterns.page(limit, state=state)
    if as_json:
        shown = [{**asdict(p), "success_rate": p.success_rate} for p in found]
        _print_json({"patterns": shown, "total": total})
        return
    rows = [
        (
            p.pattern_id[:12],
            _one_line(" → ".join(p.templates), 90),
            p.command_count,
            p.success_count,
            p.failure_count,
            p.unknown_count,
            f"{p.confidence:.2f}",
            p.state,
        )
        for p in found
    ]
    columns = ("pattern", "steps", "#length", "#success", "#failure", "#unknown", "#confidence", "state")
    _table(counted(total, "pattern"), columns, rows)


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _DURATION.fullmatch(value.strip().lower())
    if found is None:
        raise click.BadParameter(f"must be seconds, or a number with s, m, h, d or w such as 90d, got {value!r}")
    return float(found[1]) * _SECONDS[found[2]]


def _time(context: click.Context, parameter: click.Parameter, value: str | None) -> float | str | None:
    with suppress(TypeError, ValueError):
        return float(value)  # type: ignore[arg-type]
    return value


def _forgetting_options(function: F) -> F:
    dry = click.option("--dry-run", is_flag=True, help="Change nothing; show what would go.")
    yes = click.option("--yes", is_flag=True, help="Do not ask.")
    return dry(yes(_store_options(json_option(function))))


def _forget_with(call: Callable[..., Forgotten], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Show what goes, ask, and let it go."""
    found = call(dry_run=True)
    if not as_json:
        _show_forgotten(found, "Would forget" if dry_run or not yes else "Forgetting")
    if dry_run or found == Forgotten(0, 0, 0):
        if as_json:
            _print_json({"dry_run": dry_run, **asdict(found)})
        return
    if not yes:
        if not _can_ask():
            raise click.ClickException("this cannot be undone, and nobody can be asked here: add --yes (or --dry-run)")
        if as_json:
            click.echo(f"{found.steps} steps, {found.feedback} verdicts", err=True)
        click.confirm("Forget them? This cannot be undone.", abort=True, err=True)
    done = call(dry_run=False)
    if as_json:
        _print_json({"dry_run": False, **asdict(done)})
    else:
        click.echo(f"Forgot {done.steps} steps and {done.feedback} verdicts.")


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _show_forgotten(found: Forgotten, what: str) -> None:
    click.echo(f"{what} {found.steps} steps ({found.sessions} whole sessions), and {found.feedback} verdicts.")
    for line in found.examples:
        click.echo(f"  {_one_line(line, 100)}")


@main.command()
@click.option("--session", help="Steps of the session with this id.")
@click.option("--pattern", help="Steps of the sessions that followed the pattern whose id begins so.")
@click.option("--command", help="Steps with exactly this command line.")
@click.option("--matching", metavar="REGEX", help="Steps in whose line this regular expression finds something.")
@click.option("--containing", metavar="TEXT", help="Steps whose line holds this text.")
@click.option("--template", help="Steps with this template.")
@click.option("--project", help="Steps of this project.")
@click.option("--source", help="Steps of sessions that came from this source.")
@click.option("--before", metavar="TIME", callback=_time, help="Steps before this time (ISO 8601 or epoch seconds).")
@_forgetting_options
def forget(path: str, embedder: str, dry_run: bool, yes: bool, as_json: bool, **conditions: Any) -> None:
    """Forget steps, as if they had never been learned: those that meet all conditions given."""
    _refuse_none(conditions)
    with _engine(path, embedder, reading=True) as engine:
        if conditions["pattern"]:
            conditions["pattern"] = _whole_id(engine, conditions["pattern"])
        _forget_with(partial(engine.forget, **conditions), dry_run, yes, as_json)


def _refuse_none(given: Mapping[str, Any]) -> None:
    if all(value is None for value in given.values()):
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise click.UsageError(f"give at least one of {options}")


def _whole_id(engine: ProceduralMemoryEngine, begins: str) -> str:
    """Return the id of the one pattern whose id begins so, as lists of patterns show it."""
    found = [name for name in engine.patterns if name.startswith(begins)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise click.ClickException(
            f"--pattern {begins!r}: there is no such pattern; 'procedural-memory patterns' lists them"
        )
    raise click.ClickException(f"--pattern {begins!r}: {len(found)} patterns begin so; give more of the id")


@main.command()
@click.option("--max-age", metavar="DURATION", callback=_seconds, help="Forget sessions older than that: 90d, 12h, 2w.")
@click.option("--min-support", type=click.IntRange(1), help="Forget workflows that fewer sessions followed.")
@click.option("--max-size", type=click.IntRange(1), help="Forget the oldest sessions until so many steps are left.")
@_forgetting_options
def prune(path: str, embedder: str, dry_run: bool, yes: bool, as_json: bool, **limits: Any) -> None:
    """Forget whole sessions until the memory keeps within the limits given."""
    _refuse_none(limits)
    with _engine(path, embedder, reading=True) as engine:
        _forget_with(partial(engine.prune, **limits), dry_run, yes, as_json)


@main.command()
@click.argument("patterns", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Change nothing; count what would change.")
@click.option("--yes", is_flag=True, help="Do not ask. Nobody is asked where there is no terminal.")
@_store_options
@json_option
def scrub(patterns: tuple[str, ...], dry_run: bool, yes: bool, path: str, embedder: str, as_json: bool) -> None:
    """Redact all that is stored as it would be redacted today, and hide what matches PATTERNS (regular expressions)."""
    with _engine(path, embedder, reading=True) as engine:
        ask = not (dry_run or yes) and _can_ask()
        changed = engine.scrub(patterns, dry_run=dry_run or ask)
        if ask and changed:
            question = f"Redact {changed} steps, sessions and verdicts? This cannot be undone."
            click.confirm(question, abort=True, err=True)
            changed = engine.scrub(patterns)
    if as_json:
        _print_json({"dry_run": dry_run, "changed": changed})
    else:
        click.echo(f"{changed} steps, sessions and verdicts {'would be' if dry_run else 'were'} redacted.")


@main.command()
@click.argument("file", type=FileName(dir_okay=False, path_type=Path))
@_store_options
@json_option
def save(file: Path, path: str, embedder: str, as_json: bool) -> None:
    """Write all that was learned to FILE: .json, .jsonl (a session a line), .pkl, or .sqlite (a copy of the store)."""
    with _engine(path, embedder, reading=True) as engine:
        written = engine.save(file)
        sessions = engine.stats()["session_count"]
    if as_json:
        _print_json({"file": str(written), "sessions": sessions})
    else:
        click.echo(f"{sessions} sessions were saved to {written}")


@main.command()
@click.argument("file", type=FileName(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Put it in place of what was learned, which is saved beside it before.")
@_store_options
@json_option
def load(file: Path, replace: bool, path: str, embedder: str, as_json: bool) -> None:
    """Take over FILE, which was written by save or is a pickle of the older engine: add what is not known yet."""
    with _engine(path, embedder) as engine:
        found = engine.load(file, mode="replace" if replace else "merge")
    if as_json:
        _print_json({"sessions": found.sessions, "backup": found.backup})
    else:
        backup = f"; what was there before is in {found.backup}" if found.backup else ""
        click.echo(f"{found.sessions} sessions were taken over{backup}")


@main.command()
@_store_options
@json_option
def stats(path: str, embedder: str, as_json: bool) -> None:
    """Show sizes, outcome totals, and the embedder with the reason it was chosen."""
    with _engine(path, embedder, reading=True) as engine:
        found = engine.stats()
    if as_json:
        _print_json(found)
        return
    embedder_rows = {f"embedder {name}": value for name, value in found.pop("embedder").items()}
    state_rows = {f"patterns {name}": value for name, value in found.pop("pattern_states").items()}
    flat = {**found, **state_rows, **embedder_rows}
    _table("Memory", ("what", "value"), flat.items())


@main.command()
@click.option(
    "-n", "--limit", type=click.IntRange(1), help="Transitions of the table (30), or templates of an export (150)."
)
@click.option("--search", help="Templates with these words, and their neighbours.")
@click.option("--around", help="This template and its neighbourhood.")
@click.option("--html", "html_to", type=FileName(dir_okay=False, path_type=Path), help="Write a page to this file.")
@click.option("--png", "png_to", type=FileName(dir_okay=False, path_type=Path), help="Draw to this file.")
@click.option("--mermaid", "text_format", flag_value="mermaid", help="Print Mermaid instead of a table.")
@click.option("--dot", "text_format", flag_value="dot", help="Print Graphviz DOT instead of a table.")
@click.option("--graphml", "text_format", flag_value="graphml", help="Print GraphML instead of a table.")
@_store_options
@json_option
def graph(
    limit: int | None,
    search: str | None,
    around: str | None,
    html_to: Path | None,
    png_to: Path | None,
    text_format: str | None,
    path: str,
    embedder: str,
    as_json: bool,
) -> None:
    """Show the workflow graph: which template follows which, how often and how well."""
    from procedural_memory.graphs.formats import export, node_link
    from procedural_memory.graphs.picture import write_png

    exported = bool(html_to or png_to or text_format)
    with _engine(path, embedder, reading=True) as engine:
        view = engine.graph_view((limit or SHOWN_TEMPLATES) if exported else None, search, around)
    if html_to:
        export(view, "html", html_to)
    if png_to:
        write_png(view, png_to)
    if text_format:
        click.echo(export(view, text_format), nl=False)
        return
    if exported:
        for file in filter(None, (html_to, png_to)):
            click.echo(f"Written: {file}", err=True)
        return
    edges = view.edges[: limit or 30]
    if as_json:
        used = {name for edge in edges for name in (edge.source, edge.target)}
        nodes = tuple(node for node in view.nodes if node.id in used)
        _print_json(node_link(replace(view, nodes=nodes, edges=edges)))
    else:
        rows = [
            (
                _one_line(edge.source),
                _one_line(edge.target),
                edge.weight,
                edge.success,
                edge.failure,
                _percent(edge.success_rate) if edge.success + edge.failure else "–",
            )
            for edge in edges
        ]
        title = f"{view.total_nodes} templates, {view.total_edges} transitions"
        _table(title, ("from", "to", "#weight", "#success", "#failure", "success %"), rows)


@main.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; others than loopback need a token."
)
@click.option("--port", default=8002, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@click.option("--uds", type=FileName(path_type=Path), help="Listen on this Unix socket instead, private to you.")
@token_options
@click.option("--allowed-host", multiple=True, metavar="NAME", help="Host name of this server beside localhost.")
@click.option("--cors-origin", multiple=True, metavar="ORIGIN", help="Page from elsewhere that may read and write.")
@click.option(
    "--snapshot-dir",
    multiple=True,
    type=FileName(file_okay=False, exists=True, path_type=Path),
    help="Folder for /save and /load, in place of the data folder and the temporary one.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--log-requests/--no-log-requests", default=True, help="A line of JSON for each request, on stderr.")
@click.option("--durability", type=click.Choice(["full", "normal"]), default="full", show_default=True)
@_store_options
def serve(
    host: str,
    port: int,
    uds: Path | None,
    token: str | None,
    token_file: TextIO | None,
    allowed_host: tuple[str, ...],
    cors_origin: tuple[str, ...],
    snapshot_dir: tuple[Path, ...],
    workers: int,
    log_requests: bool,
    durability: str,
    path: str,
    embedder: str,
) -> None:
    """Serve the memory over HTTP, with a page at / and the endpoints described at /docs."""
    secret, place = token_given(token, token_file), shown_place(path)
    try:
        from procedural_memory.server.serving import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which the server needs,", "server") from error

    run(
        host=host,
        port=port,
        uds=uds,
        workers=workers,
        log_requests=log_requests,
        started=lambda address: click.echo(f"Serving {place} on {address} (page: /, endpoints: /docs)", err=True),
        path=path,
        embedder=embedder,
        durability=durability,
        token=secret,
        allowed_hosts=allowed_host,
        cors_origins=cors_origin,
        snapshot_dirs=snapshot_dir or None,
    )


@main.command()
@click.argument("shell", type=click.Choice(["zsh", "bash", "fish"]))
@click.option(
    "--key", default="n", show_default=True, help="Alt with this letter puts the next prediction on the line."
)
@click.option("--ghost", is_flag=True, help="Show the likeliest next command, dim, on an empty line (zsh, fish).")
@path_option
def init(shell: str, key: str, ghost: bool, path: str) -> None:
    """Print what a shell's start-up file evaluates: eval "$(procedural-memory init zsh)"; fish: … | source."""
    from procedural_memory.engine import store_path
    from procedural_memory.shells.script import script

    click.echo(script(shell, store_path(path), key, ghost), nl=False)


@main.command()
@click.argument("data", required=False, type=FileName(exists=True, dir_okay=False, path_type=Path))
@click.option("--history", is_flag=True, help="The history of your own shells instead of a file.")
@click.option("--per-user", is_flag=True, help="One memory for each user, averaged over users.")
@click.option(
    "--sample", type=click.FloatRange(0, 1, min_open=True), help="This share of the sessions, always the same."
)
@click.option("--limit", type=click.IntRange(1), help="The first so many sessions.")
@click.option("--limit-steps", type=click.IntRange(1), help="The first so many steps of each user.")
@click.option("--peers", is_flag=True, help="Also the predictors of benchmarks/peers (in a clone).")
@click.option("--plot", "plot_to", type=FileName(path_type=Path), help="Draw to this .png, .svg or .pdf.")
@_embedder_option
@json_option
def evaluate(
    data: Path | None,
    history: bool,
    per_user: bool,
    sample: float | None,
    limit: int | None,
    limit_steps: int | None,
    peers: bool,
    plot_to: Path | None,
    embedder: str,
    as_json: bool,
) -> None:
    """Measure predictions on the sessions of DATA (as for learn): predict each step, then learn it.

    Where outcomes are known, also how well they are foreseen. Stores nothing.
    """
    from procedural_memory.evaluation import outcomes, report
    from procedural_memory.evaluation.peers import load_peers
    from procedural_memory.evaluation.plot import check_plot, plot
    from procedural_memory.evaluation.predictors import EnginePredictor, Predictor
    from procedural_memory.evaluation.prequential import evaluate as measure
    from procedural_memory.evaluation.sessions import as_sessions, chosen

    if (data is None) == (not history):
        raise click.UsageError("give either a file DATA or --history")
    if plot_to is not None:
        check_plot(plot_to)
    predictors: dict[str, Callable[[], Predictor]] = {"this package": lambda: EnginePredictor(_engine(None, embedder))}
    if peers:
        found, missing = load_peers()
        predictors |= found
        for name, remedy in missing.items():
            click.echo(f"{name} is left out. Run: {remedy}", err=True)
    try:
        sessions = chosen(as_sessions(_raw_sessions(data)), sample=sample, limit=limit, limit_steps=limit_steps)
    except ProceduralMemoryError as error:
        raise click.ClickException(_about(data, error) if data else str(error)) from error
    with _engine(None, embedder) as engine:
        used = engine.stats()["embedder"]
    traces = {}
    for name, make in predictors.items():
        with _bar(name, sum(len(session.steps) for session in sessions)) as progress:
            traces[name] = measure(sessions, make, per_user=per_user, progress=progress)
    summaries = {name: report.summary(trace) for name, trace in traces.items()}
    foreseen = {}
    if outcomes.has_both(sessions):
        makers = outcomes.forecasters(lambda: _engine(None, "lexical"))  # no embedding takes part
        with _bar("outcomes", sum(len(session.steps) for session in sessions)) as progress:
            found_of = outcomes.evaluate_outcomes(sessions, makers, per_user=per_user, progress=progress)
        foreseen = {look: trace.summary() for look, trace in found_of.items()}
    if plot_to is not None:
        plot(traces, plot_to, "your own history" if data is None else data.name)
    if as_json:
        told = {"data": "history" if data is None else str(data), "embedder": used, "predictors": summaries}
        if foreseen:
            told["outcomes"] = foreseen
        _print_json(told)
        return
    for table in [*report.tables(summaries), *outcomes.tables(foreseen)]:
        _table(table.title, table.columns, table.rows)
    click.echo(f"{report.NOTES} Embedder: {used['fingerprint']}.")
    if foreseen:
        click.echo(outcomes.NOTES)


def _raw_sessions(data: Path | None) -> list[dict[str, Any]]:
    """Return the sessions of a file, or of the user's own histories."""
    from procedural_memory.sources.files import read_sessions
    from procedural_memory.sources.shell_history import find_histories, read_history

    if data is not None:
        return list(read_sessions(data))
    files = find_histories()
    if not files:
        raise click.ClickException("No history of bash, zsh, fish or PowerShell was found; name a file instead")
    return [session for path in files for session in read_history(path)]


@main.command()
@click.option("--deep", is_flag=True, help="Also check every index, and derive everything anew to compare.")
@path_option
@json_option
@click.pass_context
def doctor(context: click.Context, deep: bool, path: str, as_json: bool) -> None:
    """Check the file of the memory, and say what to do. Changes nothing; exit code 1 when something is bad."""
    from procedural_memory.engine import store_path
    from procedural_memory.repair import check

    file = store_path(path)
    found = check(file, deep)
    if as_json:
        _print_json({"path": str(file), "checks": [one._asdict() for one in found]})
    else:
        rows = [(one.verdict, one.name, one.says) for one in found]
        _table(f"Memory {str(file)!r}", ("verdict", "what", "found"), rows)
    context.exit(int(any(one.verdict == "bad" for one in found)))


@main.command()
@click.argument("damaged", type=FileName(path_type=Path))
@click.argument("new", type=FileName(path_type=Path))
@_embedder_option
@json_option
def repair(damaged: Path, new: Path, embedder: str, as_json: bool) -> None:
    """Salvage what can be read of the memory DAMAGED, which stays as it is, into the file NEW."""
    from procedural_memory.repair import repair as repaired

    report = repaired(damaged, new, embedder).report
    if as_json:
        _print_json({"path": str(new), **report})
        return
    lost = report.pop("lost")
    rows = [(name.replace("_", " "), len(v) if isinstance(v, list) else v) for name, v in report.items()]
    rows += [(f"known to be lost: {name}", value) for name, value in lost.items()]
    _table(f"Salvaged into {str(new)!r}", ("what", "#count"), rows)
    if ids := report["sessions_incomplete"]:
        click.echo(f"Incomplete: {_one_line(', '.join(ids), 400)}")


@main.command("import")
@click.argument("source", default="auto")
@click.argument("history", required=False, type=FileName(exists=True, path_type=Path), metavar="[PATH]")
@click.option("--dry-run", is_flag=True, help="Learn nothing; show what would be learned.")
@click.option("--all", "include_open", is_flag=True, help="Also sessions that may still go on.")
@click.option(
    "--idle-gap",
    default="30m",
    show_default=True,
    callback=_seconds,
    help="Time without a command that ends a session.",
)
@bound_options
@_store_options
@json_option
def import_history(
    source: str,
    history: Path | None,
    dry_run: bool,
    include_open: bool,
    idle_gap: float,
    path: str | None,
    embedder: str,
    as_json: bool,
) -> None:
    """Learn the histories that are here: of shells, atuin, coding agents, the OmniMemory daemon.

    SOURCE is auto (what there is), zsh, bash, fish, powershell, atuin, claude-code, codex, swe-agent, asciinema,
    omnimemory or file (as for learn); PATH a file, a folder or a pipe where it is not in its usual place. Importing
    again learns what is new. A session whose last command is younger than the idle gap waits for the next import.
    """
    from procedural_memory.engine import store_path
    from procedural_memory.privacy import is_disabled
    from procedural_memory.sources.catalogue import SOURCES, of_another_shell

    if history is None and source not in SOURCES and Path(source).exists():
        source, history = "auto", Path(source)
    if history is not None and (other := of_another_shell(source, history)):
        click.echo(f"Warning: {history} looks like a history of {other}, and is read as one of {source}", err=True)
    if dry_run and path and not is_address(path) and not store_path(path).exists():
        path = None  # no memory is made to look at what one would hold
    with _engine(path, embedder) as engine:
        with _bar("import", 100) as progress:
            report = engine.import_history(
                source,
                history,
                idle_gap=idle_gap,
                include_open=include_open,
                dry_run=dry_run,
                progress=lambda done, whole: progress(100 * done // max(1, whole)),
            )
        where = engine.stats()["path"]
    if as_json:
        _print_json({**asdict(report), "new_sessions": report.new_sessions, "new_commands": report.new_commands})
        _check_read(source, report)
        return
    if is_disabled():
        click.echo("No history was read")
        return
    if source == "auto" and not report.sources:
        click.echo("No history was found; name a source and a path")
        return
    verb = "would be learned" if dry_run else "learned"
    for one in report.sources:
        told = f"{one.new_sessions} of {one.sessions} sessions {verb} ({one.new_commands} commands)"
        nothing = "no finished session that is new" if one.open_commands else "nothing new"
        click.echo(f"{one.source}: {told if one.sessions else nothing}")
        if one.open_commands:
            click.echo(
                f"  {one.open_commands} commands of sessions that may still go on wait for the next import; "
                "--all takes them now"
            )
        for problem in one.unread:
            click.echo(f"  not read: {problem}")
        for reason, times in sorted(one.skipped.items()):
            click.echo(f"  {times} x left out: {reason}")
        for problem in one.problems[:5]:
            click.echo(f"    {_one_line(problem, 110)}")
        for example in one.examples if dry_run else ():
            click.echo(f"    {_one_line(example, 100)}")
    if not dry_run:
        click.echo(f"Memory: {where}")
    _check_read(source, report)


def _check_read(source: str, report: ImportReport) -> None:
    """Fail where one source was named, and nothing of it was read."""
    from procedural_memory.privacy import is_disabled

    if source == "auto" or is_disabled():
        return
    if not report.sources:
        raise click.ClickException(f"source {source!r}: there is no history where it usually is; name its path")
    if all(len(one.unread) == len(one.files) for one in report.sources):
        raise click.ClickException(f"source {source!r}: no file of it could be read")


@main.command("watch")
@click.option("--every", default="2s", show_default=True, callback=_seconds, help="Time between two looks.")
@click.option("--idle", default="5m", show_default=True, callback=_seconds, help="Time that ends a session.")
@click.option("--install", "what", flag_value="install", help="Let systemd or launchd run it from now on.")
@click.option("--uninstall", "what", flag_value="uninstall", help="Take that back.")
@bound_options
@_store_options
def watch_command(every: float, idle: float, what: str | None, path: str, embedder: str) -> None:
    """Follow the histories that import reads, and learn what is new, until a signal ends it."""
    from procedural_memory import watching
    from procedural_memory.engine import store_path
    from procedural_memory.privacy import DISABLE, is_disabled

    if not every or not idle:
        raise click.UsageError("--every, --idle: must be more than 0 seconds")
    if what is not None:
        given = ["--every", f"{every:g}", "--idle", f"{idle:g}", "--embedder", embedder]
        given += ["--path", str(store_path(path))]
        file, to_do = watching.install(given) if what == "install" else watching.uninstall()
        click.echo(f"{'Written' if what == 'install' else 'Removed'}: {file}")
        if to_do:
            click.echo(f"The system did not take it; run: {to_do}")
        return
    if is_disabled():
        raise click.ClickException(f"{DISABLE} turns everything off: there is nothing to watch for")
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    with watching.only_one(store_path(path)), _engine(path, embedder) as engine:
        click.echo(f"Watching for {store_path(path)}", err=True)
        watching.watch(engine, every=every, idle=idle, end=end, told=_tell_learned)


def _tell_learned(report: ImportReport) -> None:
    parts = [f"{one.source} {one.new_commands}" for one in report.sources if one.new_commands]
    click.echo(f"learned: {', '.join(parts)} commands", err=True)


@main.command("normalize")
@click.argument("commands", nargs=-1)
@json_option
def normalize_command(commands: tuple[str, ...], as_json: bool) -> None:
    """Show the template of each of COMMANDS, or of each line of standard input."""
    lines = [*commands] or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    found = [{"command": line, "template": _template(line)} for line in lines]
    if as_json:
        _print_json(found)
    else:
        for item in found:
            click.echo(item["template"])


@main.group()
def model() -> None:
    """Model weights for semantic similarity: list what is on this machine, fetch what is not."""


@model.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models that are on this machine."""
    from procedural_memory.embedding.models import list_models as listed

    found = [asdict(item) for item in listed()]
    if as_json:
        _print_json(found)
    elif not found:
        click.echo("No model is known")
    else:
        rows = [
            (
                item["name"] + (" (default)" if item["default"] else ""),
                f"{item['size'] / 1e6:.0f} MB" if item["path"] else "–",
                item["dimension"] or "–",
                item["problem"] or item["path"] or "not on this machine: procedural-memory model fetch",
            )
            for item in found
        ]
        _table("Models", ("model", "size", "dimension", "where"), rows)


@model.command("fetch")
@click.argument("name", required=False)
@json_option
def fetch_model(name: str | None, as_json: bool) -> None:
    """Download a model (default: all-MiniLM-L6-v2) into the local cache."""
    from procedural_memory.embedding.models import fetch

    folder = fetch(name) if name else fetch()
    if as_json:
        _print_json({"path": str(folder)})
    else:
        click.echo(str(folder))


for command in (mcp, claude):
    main.add_command(command)
