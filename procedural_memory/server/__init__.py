"""The HTTP shim: one engine for services that are not Python. It has no logic of its own. Extra ``server``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procedural_memory.errors import MissingExtraError

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["create_app"]


def create_app(*args: Any, **options: Any) -> FastAPI:
    """Return the application; see `procedural_memory.server.app.create_app`.

    Raises
    ------
    MissingExtraError
        The extra ``server`` is not installed.
    """
    try:
        from procedural_memory.server.app import create_app as create
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which the server needs,", "server") from error
    return create(*args, **options)
