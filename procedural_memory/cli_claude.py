"""The command line of the hooks of Claude Code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from procedural_memory.cli_options import json_option, path_option

__all__ = ["claude"]

F = TypeVar("F", bound=Callable[..., Any])


def _scope_options(function: F) -> F:
    options = (
        click.option("--user", "scope", flag_value="user", default=True, help="~/.claude/settings.json (the default)."),
        click.option("--project", "scope", flag_value="project", help=".claude/settings.json of this folder."),
        click.option("--local", "scope", flag_value="local", help=".claude/settings.local.json of this folder."),
        click.option("--dry-run", is_flag=True, help="Change nothing; show what would change."),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def claude() -> None:
    """Claude Code: hooks that record what it runs, and tell it what usually works."""


@claude.command()
@_scope_options
@click.option("--warn", is_flag=True, help="Also warn before a command that usually fails in the project.")
@path_option
def install(scope: str, dry_run: bool, as_json: bool, warn: bool, path: str) -> None:
    """Add the hooks to the settings of Claude Code; what is there stays, and is kept beside the file as it was."""
    from procedural_memory.claude import settings
    from procedural_memory.engine import store_path
    from procedural_memory.storage.sqlite import SQLiteStore

    store = store_path(path)
    change = settings.install(settings.settings_file(scope), store, warn=warn, dry_run=dry_run)
    if not dry_run:
        SQLiteStore(str(store)).close()  # so that the first hook finds it
    for other in {"user", "project", "local"} - {scope}:
        file = settings.settings_file(other)
        if file.resolve() != change.file and settings.installed(file):
            click.echo(f"The hooks are in {file} as well: uninstall one of them, or steps may be told twice.", err=True)
    _show(change, dry_run, as_json, "The hooks were there already.")
    if not as_json and change.is_one and not dry_run:
        click.echo(f"Steps go to {store}. Sessions that are open take the hooks up when they are started anew.")


@claude.command()
@_scope_options
def uninstall(scope: str, dry_run: bool, as_json: bool) -> None:
    """Take the hooks out of the settings of Claude Code, and nothing else."""
    from procedural_memory.claude import settings

    change = settings.uninstall(settings.settings_file(scope), dry_run=dry_run)
    _show(change, dry_run, as_json, "There were no hooks of this package.")


@claude.command()
@path_option
@json_option
def status(path: str, as_json: bool) -> None:
    """Show where the hooks are installed, and what they recorded."""
    from procedural_memory.claude import settings
    from procedural_memory.claude.events import SOURCE
    from procedural_memory.engine import store_path
    from procedural_memory.errors import ProceduralMemoryError
    from procedural_memory.storage.append import connect, spool
    from procedural_memory.storage.identity import hash64

    store = store_path(path)
    report: dict[str, Any] = {
        "store": str(store),
        "settings": {},
        "recorded": None,
        "waiting": spool(str(store)).steps,
    }
    for scope in ("user", "project", "local"):
        file = settings.settings_file(scope)
        try:
            told: Any = sorted(settings.installed(file))
        except ProceduralMemoryError as error:
            told = str(error)
        report["settings"][str(file)] = told
    db = connect(str(store), write=False)
    if db is not None:
        (report["recorded"],) = db.execute("SELECT count(*) FROM log WHERE source = ?", (hash64(SOURCE),)).fetchone()
        db.close()
    log = store.parent / "hook.log"
    report["trouble"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:] if log.is_file() else []
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    for name, told in report["settings"].items():
        click.echo(f"{name}: {told if isinstance(told, str) else ', '.join(told) or 'not installed'}")
    recorded = f"{report['recorded']} steps recorded by the hooks"
    if report["recorded"] is None:
        recorded = "no memory of this version that can be read; see doctor" if store.exists() else "not there yet"
    click.echo(
        f"{store}: {recorded}" + (f", {report['waiting']} more wait to be taken in" if report["waiting"] else "")
    )
    for line in report["trouble"]:
        click.echo(f"hook.log: {line}")


def _show(change: Any, dry_run: bool, as_json: bool, nothing: str) -> None:
    from procedural_memory.claude import settings

    if as_json:
        told = {
            "file": str(change.file),
            "changed": change.is_one,
            "dry_run": dry_run,
            "events": settings.hooks_of(change.after),
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    elif not change.is_one:
        click.echo(f"{change.file}: {nothing}")
    elif dry_run:
        import difflib

        before, after = [(text or "").splitlines(keepends=True) for text in (change.before, change.after)]
        click.echo("".join(difflib.unified_diff(before, after, str(change.file), f"{change.file} (new)")), nl=False)
    else:
        backup = Path(f"{change.file}{settings.BACKUP}")
        click.echo(f"{change.file} was changed" + (f"; as it was: {backup}" if backup.is_file() else ""))
