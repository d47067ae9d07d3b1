"""What stands before every route: who may ask, from where, how much, and what is written down of it."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from procedural_memory.errors import InvalidInputError

__all__ = ["LOCAL_HOSTS", "MAX_BODY", "Guard", "RequestLog", "checked_token", "is_loopback", "refuse"]

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request."""

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_HOSTS = frozenset({"localhost"})
"""Names that no page from elsewhere can have."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_BODY_WITHIN = 30.0
"""Seconds for a body to arrive."""
_DEEPEST = 64
"""How deeply arrays and objects of a body may be nested: what is asked for needs four."""
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_log = logging.getLogger("procedural_memory.server.requests")


class Guard:
    """ASGI middleware that refuses what must not get to the routes.

    Parameters
    ----------
    app : ASGI application
    token : str or None
        What ``Authorization: Bearer`` must bring, but for `open_to_all`.
    hosts : collection of str
        Host names under which the service is known. Addresses and `LOCAL_HOSTS` always are: a page whose name was
        bound to this address (DNS rebinding) brings its own name.
    origins : collection of str
        Pages from elsewhere that may write.
    open_to_all : callable
        Whether a path holds nothing of the memory, and is answered without the token.
    max_body : int
        Bytes.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str | None,
        hosts: Collection[str],
        origins: Collection[str],
        open_to_all: Callable[[str], bool],
        max_body: int,
        body_within: float = _BODY_WITHIN,
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode("utf-8")
        self._hosts = frozenset(_host_name(host) or host for host in hosts) | LOCAL_HOSTS
        self._origins = frozenset(origins)
        self._open_to_all = open_to_all
        self._max_body = max_body
        self._body_within = body_within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket":  # there is none
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope)
        length = headers.get(b"content-length", [b"0"])
        unread = scope["method"] in _READS and (b"transfer-encoding" in headers or length != [b"0"])
        send = _with_safe_headers(send, unread)
        wrong = self._wrong(scope, headers)
        if wrong is not None:
            await refuse(send, *wrong)
            return
        if scope["method"] not in _READS:
            bounded = _Body(receive, self._max_body, self._body_within)
            wrong = await bounded.read()
            if wrong is not None:
                await refuse(send, *wrong)
                return
            receive = bounded.again
        await self._app(scope, receive, send)

    def _wrong(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> tuple[int, str] | None:
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or not self._is_ours(host := _text(hosts[0])):
            return 400, (
                "Host: must be an address, localhost or a host name that the server was told of, got "
                f"{_shown(_text(hosts[0])) if hosts else 'none'}; --allowed-host NAME adds one"
            )
        write = scope["method"] not in _READS
        if write and (wrong := self._foreign(headers, host)):
            return 403, wrong
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if self._token is not None and not self._open_to_all(path) and not self._is_known(headers):
            return 401, "Authorization: must be 'Bearer' and the token of this server"
        length = headers.get(b"content-length")
        if write and length and not length[0].isdigit():
            return 400, "Content-Length: must be a number"
        if write and length and int(length[0]) > self._max_body:
            return 413, f"body: must have at most {self._max_body:,} bytes, got {int(length[0]):,}"
        return None

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        return name in self._hosts or name.endswith(".localhost") or _is_address(name)

    def _foreign(self, headers: dict[bytes, list[bytes]], host: str) -> str | None:
        """Return why a write comes from a page that may not write."""
        origins = [_text(origin) for origin in headers.get(b"origin", [])]
        if any(origin in self._origins for origin in origins):
            return None
        for origin in origins:
            if not _is_same(origin, host):
                return f"Origin: pages from {_shown(origin)} may not write here; --cors-origin lets them"
        site = headers.get(b"sec-fetch-site", [])
        if site and _text(site[0]).lower() not in ("same-origin", "none"):
            return "Sec-Fetch-Site: pages from elsewhere may not write here; --cors-origin lets them"
        return None

    def _is_known(self, headers: dict[bytes, list[bytes]]) -> bool:
        given = headers.get(b"authorization", [])
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        right = hmac.compare_digest(token.strip(), self._token or b"")
        return right and scheme.lower() == b"bearer"


class _Body:
    """The body of a request, read within limits of size and time before anybody works on it."""

    def __init__(self, receive: Receive, most: int, within: float) -> None:
        self._receive = receive
        self._most = most
        self._within = within
        self._body = b""
        self._gone: Message | None = None
        self._told = False

    async def read(self) -> tuple[int, str] | None:
        """Take in the body; return why it is refused."""
        try:
            await asyncio.wait_for(self._all(), self._within)
        except asyncio.TimeoutError:
            return 408, f"body: must arrive within {self._within:g} seconds"
        except OverflowError:
            return 413, f"body: must have at most {self._most:,} bytes"
        if b"\0" in self._body:
            return 422, "body: must be JSON in UTF-8"
        if _depth(self._body) > _DEEPEST:
            return 422, f"body: must not be nested more than {_DEEPEST} deep"
        return None

    async def _all(self) -> None:
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone = message
                return
            part = message.get("body", b"")
            size += len(part)
            if size > self._most:
                raise OverflowError
            parts.append(part)
            if not message.get("more_body"):
                self._body = b"".join(parts)
                return

    async def again(self) -> Message:
        """Give what was read, once; then what comes after it."""
        if self._gone is not None:
            return self._gone
        if self._told:
            return await self._receive()
        self._told = True
        return {"type": "http.request", "body": self._body, "more_body": False}


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[{]+|[\]}]+")


def _depth(body: bytes) -> int:
    """Return how deeply a JSON text is nested. Deep nesting costs a parser its stack."""
    if body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return 0
    depth = deepest = 0
    for run in _BRACKETS.findall(_STRING.sub(b"", body)):
        depth = depth + len(run) if run[0] in b"[{" else depth - len(run)
        deepest = max(deepest, depth)
    return deepest


def _headers(scope: Scope) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _shown(value: str) -> str:
    return repr(value[:80])


def _host_name(host: str) -> str | None:
    """Return the name of a Host header, without its port; None where it is none."""
    name = re.sub(r":\d{1,5}\Z", "", host.lower())
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name.rstrip(".")
    if _is_address(name) or all(_LABEL.fullmatch(label) for label in name.split(".")):
        return name
    return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_token(token: str | None) -> str | None:
    """Return a token that can stand in a header, without the blanks around it.

    Raises
    ------
    InvalidInputError
        It cannot.
    """
    if token is None:
        return None
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token.strip()):
        raise InvalidInputError("token: must be one word of ASCII letters, digits and signs")
    return token.strip()


def _is_same(origin: str, host: str) -> bool:
    """Return whether a page has the host that is asked. A proxy may have ended its TLS: the scheme does not count."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    standard = {"http": 80, "https": 443}[parts.scheme]
    found = re.search(r":(\d{1,5})\Z", host)
    return parts.hostname == _host_name(host) and (port or standard) == (int(found[1]) if found else standard)


def _with_safe_headers(send: Send, unread: bool) -> Send:
    """Add what every answer says; where a body comes that nobody reads, the connection ends with the answer."""
    more = (*_SAFE, (b"connection", b"close")) if unread else _SAFE

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            given = {name.lower() for name, _ in headers}
            message = {**message, "headers": headers + [pair for pair in more if pair[0] not in given]}
        await send(message)

    return sending


async def refuse(send: Send, status: int, detail: str) -> None:
    """Answer with a refusal; after one whose body was not read the connection ends."""
    body = json.dumps({"detail": detail}, ensure_ascii=True).encode("ascii")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    # What is left of a body is not read to its end.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class RequestLog:
    """ASGI middleware that writes a line of JSON for each request, and tells `seen` of it.

    What was asked about is left out: of the path the route's own pattern is written, of the query nothing.
    """

    def __init__(self, app: App, seen: Callable[[str, str, int, float], None]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; then write."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status, sent = time.perf_counter(), 499, 0

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except BaseException as error:
            status = 499 if isinstance(error, asyncio.CancelledError) else 500
            raise
        finally:
            took = time.perf_counter() - begin
            route = getattr(scope.get("route"), "path", None) or "other"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._seen(method, route, status, took)
            _log.info(
                "%s",
                json.dumps(
                    {
                        "time": round(time.time(), 3),
                        "method": method,
                        "route": route,
                        "status": status,
                        "ms": round(1e3 * took, 2),
                        "bytes": sent,
                    }
                ),
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
