"""Options that several commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import click

__all__ = ["json_option", "path_option", "token_given", "token_options"]

F = TypeVar("F", bound=Callable[..., Any])

_TOKEN = "PROCEDURAL_MEMORY_TOKEN"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
path_option = click.option(
    "--path",
    default="default",
    show_default=True,
    envvar="PROCEDURAL_MEMORY_PATH",
    help="File of the memory, or its address, postgresql://…; 'default' is the user's data folder.",
)


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
