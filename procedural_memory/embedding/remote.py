"""An embedding service over HTTP, on the standard library."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NoReturn, final
from urllib.parse import SplitResult, urlsplit

import numpy as np
from numpy.typing import NDArray

from procedural_memory.embedding.base import Vectors
from procedural_memory.embedding.checking import checked_texts, encodable, unit_rows
from procedural_memory.errors import (
    EmbeddingError,
    EmbeddingServiceError,
    InvalidInputError,
    InvalidTypeError,
    shown,
)

__all__ = ["RemoteEmbedder", "SequenceEmbedding"]

MAX_RESPONSE: Final = 64 * 2**20
"""Bytes read of an answer: 256 vectors of 8,192 numbers fit."""

_BATCH: Final = 256
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

_EMBED: Final = "/embed"
_SEQUENCE: Final = "/embed/command-sequence"


@dataclass(frozen=True, slots=True)
class SequenceEmbedding:
    """What the service makes of a sequence of commands.

    Attributes
    ----------
    sequence : ndarray of float32, shape (d,)
        The whole sequence, unit length.
    commands : ndarray of float32, shape (n, d)
        Each command, unit length.
    transitions : ndarray of float32, shape (n - 1, t)
        Each step from one command to the next, unit length or zero; shape (0, 0) when the service gives none.
    metadata : mapping
        What else the service says.
    """

    sequence: NDArray[np.float32]
    commands: Vectors
    transitions: NDArray[np.float32]
    metadata: Mapping[str, Any] = field(default_factory=dict)


class _NoSuchPath(Exception):
    """The service has no such endpoint."""


class _Transient(Exception):
    """Worth another try."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


@final
class RemoteEmbedder:
    """Embed by an OmniMemory embedding service. Constructing it touches no network.

    Asks ``POST /embed {"texts": […]}`` for ``{"embeddings": [[…]], "dim": n}``; where that endpoint is missing
    (404, 405) it takes the ``command_embeddings`` of ``POST /embed/command-sequence {"commands": […]}``.

    A connection error, 429 and 5xx are tried again after 0.1, 0.2, 0.4 … seconds; a timeout is not. After a failure the
    service is left alone for `cooldown` seconds, in which every call fails at once; the next call then tries once.
    Proxies of the environment are not used and redirects not followed. Answers are checked (count, dimension, finite,
    at most 64 MiB) and normalised again. Safe to share between threads.

    Parameters
    ----------
    url : str
        Base of the service, ``http://…`` or ``https://…``.
    timeout : float, default 5.0
        Seconds for one request, from connecting to the last byte.
    retries : int, default 2
        Further tries after the first.
    cooldown : float, default 30.0
        Seconds without any try after a failure.
    dimension : int, optional
        Length of a vector, when known; any other length is then an error.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        retries: int = 2,
        cooldown: float = 30.0,
        dimension: int | None = None,
    ) -> None:
        self._target: Final = _checked_url(url)
        self._url: Final = self._target.geturl()
        self._timeout: Final = _number("timeout", timeout, above=0.0)
        self._cooldown: Final = _number("cooldown", cooldown)
        if isinstance(retries, bool) or not isinstance(retries, int):
            raise InvalidTypeError(f"retries must be an int, not {type(retries).__name__}: {shown(retries)}")
        if not 0 <= retries <= 10:
            raise InvalidInputError(f"retries must be 0 to 10, not {retries}")
        if dimension is not None and (isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1):
            raise InvalidInputError(f"dimension must be a positive int or None, not {shown(dimension)}")
        self._retries: Final = retries
        self._lock: Final = threading.Lock()
        self._dimension = dimension
        self._identity: str | None = None
        self._exact: bool = False
        self._path = _EMBED
        self._closed_until = 0.0
        self._failure = ""

    def __repr__(self) -> str:
        return f"RemoteEmbedder({self._url!r})"

    @property
    def url(self) -> str:
        """Base of the service."""
        return self._url

    @property
    def dimension(self) -> int:
        """Length of a vector; asks the service when no call has told it yet.

        Raises
        ------
        EmbeddingServiceError
            If the service must be asked and does not answer.
        """
        if self._dimension is None:
            self._probe()
        assert self._dimension is not None
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """Name of the vector space; asks the service when no call has told it yet.

        What the service itself calls ``fingerprint``; else ``remote:<its model, or its URL>-d<dimension>``.

        Raises
        ------
        EmbeddingServiceError
            If the service must be asked and does not answer.
        """
        if self._identity is None:
            self._probe()
        assert self._identity is not None
        return self._identity if self._exact else f"remote:{self._identity}-d{self.dimension}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit-length row per text: float32 of shape (len(texts), dimension).

        Raises
        ------
        InvalidTypeError
            If `texts` is no sequence of strings.
        EmbeddingServiceError
            If the service is down, too slow, or answers something that is no embedding of these texts.
        """
        items = [encodable(item) for item in checked_texts(texts)]
        if not items:
            return np.zeros((0, self.dimension), dtype=np.float32)
        parts = [self._batch(items[start : start + _BATCH]) for start in range(0, len(items), _BATCH)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def embed_sequence(self, commands: Sequence[str]) -> SequenceEmbedding:
        """Return the service's vectors for an ordered run of commands.

        Raises
        ------
        InvalidInputError
            If `commands` is empty.
        EmbeddingServiceError
            As for `embed`.
        """
        items = [encodable(item) for item in checked_texts(commands)]
        if not items:
            raise InvalidInputError("commands must hold at least one command, found none")
        try:
            answer = self._post(_SEQUENCE, {"commands": items})
        except _NoSuchPath:
            self._fail(f"it has no {_SEQUENCE}", "point the URL at an OmniMemory embedding service")
        rows = self._accept(answer, "command_embeddings", len(items))
        try:
            whole = unit_rows([answer.get("sequence_embedding")], 1, rows.shape[1], "sequence_embedding")[0]
            transitions = _transitions(answer.get("transition_embeddings"), len(items) - 1)
        except EmbeddingError as error:
            self._fail(str(error), "check which service answers at this URL")
        metadata = answer.get("metadata")
        return SequenceEmbedding(
            whole, rows, transitions, MappingProxyType(metadata if isinstance(metadata, dict) else {})
        )

    def _probe(self) -> None:
        self._batch(["ls"])

    def _batch(self, texts: list[str]) -> Vectors:
        if self._path == _EMBED:
            try:
                return self._accept(self._post(_EMBED, {"texts": texts}), "embeddings", len(texts))
            except _NoSuchPath:
                self._path = _SEQUENCE
        try:
            return self._accept(self._post(_SEQUENCE, {"commands": texts}), "command_embeddings", len(texts))
        except _NoSuchPath:
            self._path = _EMBED
            self._fail(f"it has neither {_EMBED} nor {_SEQUENCE}", "point the URL at an OmniMemory embedding service")

    def _accept(self, answer: Mapping[str, Any], key: str, count: int) -> Vectors:
        """Return the checked vectors of an answer, and remember what it tells of the vector space."""
        if key not in answer:
            self._fail(f"its answer has no {key}, only {shown(sorted(answer))}", "check which service answers there")
        metadata = answer.get("metadata")
        told: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
        exact = _name(answer, "fingerprint") or _name(told, "fingerprint")
        identity = exact or _name(answer, "model") or _name(told, "model") or _name(told, "model_name")
        try:
            with self._lock:
                rows = unit_rows(answer[key], count, self._dimension, key)
                stated = answer.get("dim", rows.shape[1])
                if stated != rows.shape[1]:
                    raise EmbeddingError(f"it states dim {shown(stated)} and gave vectors of {rows.shape[1]}")
                known = self._identity
                identity = identity or known or self._url.partition("://")[2]
                if known is not None and known != identity:
                    raise EmbeddingError(f"it served model {known} before and serves {identity} now")
                self._dimension, self._identity = rows.shape[1], identity
                self._exact = self._exact or exact is not None
        except EmbeddingError as error:
            self._fail(str(error), "check which service and model answer at this URL")
        return rows

    def _post(self, path: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            waiting = self._closed_until - time.monotonic()
            tries = 1 if self._closed_until else self._retries + 1
        if waiting > 0:
            raise EmbeddingServiceError(
                f"embedding service {self._url} is left alone for {waiting:.0f} s more after a failure: {self._failure}"
            )
        body = json.dumps(payload).encode()
        pause = _FIRST_PAUSE
        while True:
            tries -= 1
            try:
                answer = self._once(path, body)
            except _Transient as error:
                if tries <= 0:
                    self._fail(str(error), "start the service, check the URL, or leave embedding_service_url out")
                time.sleep(min(error.pause if error.pause is not None else pause, _LONGEST_PAUSE))
                pause *= 2
            else:
                with self._lock:
                    self._closed_until = 0.0
                return answer

    def _once(self, path: str, body: bytes) -> Mapping[str, Any]:
        """Make one request; everything that a second try may mend raises `_Transient`."""
        target = self._target
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        deadline = time.monotonic() + self._timeout
        with closing(kind(target.hostname or "", target.port, timeout=self._timeout)) as connection:
            try:
                connection.connect()
                sock = connection.sock
                # A socket's own timeout starts anew with every byte; a service that drips would hold us for ever.
                watch = threading.Timer(max(deadline - time.monotonic(), 0.0), _hang_up, [sock])
                watch.daemon = True
                watch.start()
                try:
                    connection.request("POST", target.path + path, body, headers)
                    response = connection.getresponse()
                    raw = self._read(response)
                    if time.monotonic() >= deadline:  # a body without a length just ends when we hang up
                        raise TimeoutError
                finally:
                    watch.cancel()
            except EmbeddingServiceError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                    self._fail(f"no complete answer within {self._timeout:g} s", "raise the timeout or check its load")
                raise _Transient(f"{type(error).__name__}: {error}") from error
            return self._parsed(path, response, raw)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        if response.length is not None and response.length > MAX_RESPONSE:
            self._fail(f"its answer has {response.length} bytes, the limit is {MAX_RESPONSE}", "check the URL")
        raw = response.read(MAX_RESPONSE + 1)
        if len(raw) > MAX_RESPONSE:
            self._fail(f"its answer is longer than the limit of {MAX_RESPONSE} bytes", "check the URL")
        if response.length:  # read(n) does not raise when the body ends early
            raise http.client.IncompleteRead(raw, response.length)
        return raw

    def _parsed(self, path: str, response: http.client.HTTPResponse, raw: bytes) -> Mapping[str, Any]:
        status = response.status
        if status in (404, 405):
            raise _NoSuchPath
        if status == 429 or status >= 500:
            raise _Transient(f"HTTP {status} {response.reason}{_said(raw)}", _retry_after(response))
        if 300 <= status < 400:
            self._fail(f"it redirects to {shown(response.getheader('Location'))}", "give that URL instead")
        if status != 200:  # the request's own fault: the service is fine, so it is not left alone
            raise EmbeddingServiceError(
                f"embedding service {self._url}{path} refused the request: HTTP {status} {response.reason}{_said(raw)}"
            )
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            self._fail(f"its answer is no JSON{_said(raw)}", "check which service answers at this URL")
        if not isinstance(answer, dict):
            self._fail(f"its answer is no JSON object{_said(raw)}", "check which service answers at this URL")
        return answer

    def _fail(self, what: str, advice: str) -> NoReturn:
        """Leave the service alone for a while, and say why."""
        with self._lock:
            self._closed_until = time.monotonic() + self._cooldown
            self._failure = what
        raise EmbeddingServiceError(f"embedding service {self._url} failed: {what}; {advice}")


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _checked_url(url: str) -> SplitResult:
    if not isinstance(url, str):
        raise InvalidTypeError(f"embedding_service_url must be a string, not {type(url).__name__}: {shown(url)}")
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInputError(f"embedding_service_url must be a URL, not {shown(url)}: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidInputError(
            "embedding_service_url must not hold a user name or password (it is shown in logs and reports)"
        )
    printable = all(" " < letter < "\x7f" for letter in url.strip())
    if parts.scheme not in ("http", "https") or not host or port == 0 or not printable:
        raise InvalidInputError(f"embedding_service_url must look like http://localhost:8000, not {shown(url)}")
    if parts.query or parts.fragment:
        raise InvalidInputError(f"embedding_service_url must have no query or fragment: {shown(url)}")
    return parts._replace(path=parts.path.rstrip("/"))


def _number(name: str, value: float, above: float | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} must be a number of seconds, not {type(value).__name__}: {shown(value)}")
    if not math.isfinite(value) or value < 0 or value == above or value > 86_400:
        raise InvalidInputError(f"{name} must be between 0 and 86400 seconds, not {value}")
    return float(value)


def _name(answer: Mapping[str, Any], key: str) -> str | None:
    value = answer.get(key)
    return value[:200] if isinstance(value, str) and value else None


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    try:
        return max(float(response.getheader("Retry-After") or ""), 0.0)
    except ValueError:
        return None


def _said(raw: bytes) -> str:
    text = raw[:200].decode("utf-8", "replace").strip()
    return f" ({shown(text)})" if text else ""


def _transitions(values: Any, count: int) -> NDArray[np.float32]:
    """Return the rows given, normalised where they are not zero: a command repeated may give a zero step."""
    if values is None or (isinstance(values, list) and not values):
        return np.zeros((0, 0), dtype=np.float32)
    try:
        rows = np.asarray(values)
    except ValueError as error:
        raise EmbeddingError(f"transition_embeddings is no numeric array: {error}") from None
    if rows.dtype.kind not in "fiu" or rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise EmbeddingError(f"transition_embeddings should be {count} rows of finite numbers, found {rows.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (rows / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return unit
