"""How the errors of the package are told over HTTP: the same words, but no path of this machine in them."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from procedural_memory.errors import (
    ClosedError,
    EmbeddingError,
    InvalidInputError,
    ProceduralMemoryError,
    SessionConflictError,
    StoreBusyError,
    StoreUnavailableError,
)
from procedural_memory.server.backend import Busy
from procedural_memory.server.models import PATH_PART, PATTERN_ID, SNAPSHOT_NAME, VISIBLE, Refusal
from procedural_memory.storage.snapshot import SUFFIXES

__all__ = ["Refused", "refusal_of", "refusals", "told"]

_log = logging.getLogger("procedural_memory.server")
_RETRY = {"Retry-After": "1"}
_PATTERNS = {
    SNAPSHOT_NAME: f"must be a file name that ends in one of {', '.join(SUFFIXES)}",
    PATH_PART: "must hold something that can be seen, no slash and no NUL",
    PATTERN_ID: "must be 8 to 128 letters, digits, - or _",
    VISIBLE: "must hold something that can be seen, and no NUL",
}


class Refused(Exception):
    """A request that the shim itself refuses."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def refusal_of(error: Exception) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers for an error. What only the machine's owner may know goes to the log."""
    if isinstance(error, Refused):
        return error.status, error.detail, {}
    if isinstance(error, Busy):
        return 503, "busy: too many calls wait; nothing was done, try again", _RETRY
    if isinstance(error, StoreBusyError):
        return 503, "busy: another process is writing; nothing was done, try again", _RETRY
    if isinstance(error, StoreUnavailableError):
        return 503, "the server that keeps the memory cannot be reached; try again", _RETRY
    if isinstance(error, SessionConflictError):
        return 409, str(error), {}
    if isinstance(error, InvalidInputError):
        return 422, str(error), {}
    _log.error("%s: %s", type(error).__name__, error, exc_info=not isinstance(error, ProceduralMemoryError))
    if isinstance(error, ClosedError):
        return 503, "the memory is closed", {}
    if isinstance(error, EmbeddingError):
        return 503, "the embedder fails; the server's log tells more", _RETRY
    if isinstance(error, (ProceduralMemoryError, OSError)):
        return (
            503,
            f"the memory cannot be read or written ({type(error).__name__}); the server's log tells more",
            _RETRY,
        )
    return 500, "something went wrong; the server's log tells more", {}


def told(errors: Sequence[Any]) -> str:
    """Return what is wrong with the fields of a request, without repeating what was sent."""
    lines = []
    for error in errors[:5]:
        place = ""
        for part in error.get("loc", ()):
            if not re.match(r"<|constrained-|function-", str(part)):  # which of the forms that a value may have
                place += f"[{part}]" if isinstance(part, int) else f".{part}"
        lines.append(f"{place.removeprefix('.') or 'request'}: {_rule(error)}")
    more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
    return "; ".join(lines) + more


def _rule(error: Any) -> str:
    kind = error.get("type")
    if kind == "model_attributes_type":
        return "must be a JSON object, sent with Content-Type: application/json"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(error["ctx"]["pattern"], f"must match {error['ctx']['pattern']}")
    if kind == "json_invalid":
        return f"must be JSON ({error.get('ctx', {}).get('error', 'it is not')})"
    message = str(error.get("msg", "is not valid"))
    return message[:1].lower() + message[1:]


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body cannot be read, or the Host header is foreign"},
    401: {"model": Refusal, "description": "The token is missing or wrong"},
    403: {"model": Refusal, "description": "A page from elsewhere, or a file that must not be touched"},
    404: {"model": Refusal, "description": "There is no such thing"},
    409: {"model": Refusal, "description": "The session id is taken, or the session is closed"},
    413: {"model": Refusal, "description": "The body is too large"},
    422: {"model": Refusal, "description": "A value breaks a rule"},
    503: {"model": Refusal, "description": "Busy or not available; Retry-After tells when to try again"},
}


def refusals(*also: int) -> dict[int | str, dict[str, Any]]:
    """Return what the document says of refusals: those that any endpoint may answer with, and others."""
    return {status: _REFUSALS[status] for status in (400, 401, 503, *also)}
