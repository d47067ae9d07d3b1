"""Options that several commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import click

from procedural_memory.storage.address import refuse_address

__all__ = ["FileName", "bound_options", "bounds_given", "json_option", "path_option", "token_given", "token_options"]

F = TypeVar("F", bound=Callable[..., Any])

_TOKEN = "PROCEDURAL_MEMORY_TOKEN"


class FileName(click.Path):
    """The name of a file; an address is refused, and not shown: there may be a password in it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the file name that was given."""
        refuse_address(param.human_readable_name if param else "path", value)
        return super().convert(value, param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
path_option = click.option(
    "--path",
    default="default",
    show_default=True,
    envvar="PROCEDURAL_MEMORY_PATH",
    help="File of the memory, or its address, postgresql://…; 'default' is the user's data folder.",
)


def bound_options(function: F) -> F:
    """Take bounds of the memory, which `bounds_given` returns; the store keeps them for all who use it."""
    count = click.option(
        "--max-patterns",
        type=click.IntRange(0),
        callback=_note_bound,
        expose_value=False,
        help="Keep the so many most useful patterns in use, now and later; 0: all.",
    )
    size = click.option(
        "--max-memory",
        type=click.IntRange(0),
        metavar="BYTES",
        callback=_note_bound,
        expose_value=False,
        help="The same by the bytes that they take in the store.",
    )
    return count(size(function))


def _note_bound(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    context.meta[f"{__name__}.{parameter.name}"] = value


def bounds_given() -> dict[str, Any]:
    """Return the bounds that the command was given, as options of the engine."""
    meta = click.get_current_context().meta
    return {name: meta.get(f"{__name__}.{name}") for name in ("max_patterns", "max_memory")}


def token_options(function: F) -> F:
    """Take a token, by itself or from a file."""
    text = click.option("--token", envvar=_TOKEN, help="What requests must bring as 'Authorization: Bearer'.")
    file = click.option(
        "--token-file", type=click.File(), help="Read the token from a file: others see a command line."
    )
    return text(file(function))


def token_given(token: str | None, token_file: TextIO | None) -> str | None:
    """Return the token that was given; an environment that means to give one and does not is a mistake."""
    if token_file is not None:
        return token_file.read().strip()
    if token is None and os.environ.get(_TOKEN) == "":
        raise click.UsageError(f"{_TOKEN}: is set, but empty; unset it to serve without a token")
    return token
