"""Who may ask, from where and how much: what is refused, and that the memory is unharmed."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.websockets import WebSocketDisconnect

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.server import create_app
from procedural_memory.server.backend import Backend, Busy
from procedural_memory.server.guard import _depth, _host_name

STEPS = {"session_commands": ["git add .", "git commit -m wip", "git push"]}
LOCAL = ["127.0.0.1:8002", "localhost", "[::1]:8002", "192.168.1.5", "memory.localhost:80"]
FOREIGN = ["evil.example", "localhost.evil.example", "evil.example:8002", "", "127.0.0.1.evil.example", "a b", "x:y:z"]


@pytest.fixture
def engine() -> Iterator[ProceduralMemoryEngine]:
    """A memory of one session; a test that was refused leaves it like that."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_workflow(**STEPS)  # type: ignore[arg-type]
        yield engine
        assert engine.stats()["session_count"] == 1


@pytest.fixture
def client(engine: ProceduralMemoryEngine) -> TestClient:
    """A client of a server without a token."""
    return TestClient(create_app(engine))


@pytest.mark.parametrize("host", LOCAL)
def test_a_host_that_nobody_else_can_have_is_served(client: TestClient, host: str) -> None:
    """Addresses and localhost."""
    assert client.get("/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    """A page whose name was bound to this address reads nothing (DNS rebinding)."""
    for method, path in (("GET", "/stats"), ("GET", "/"), ("POST", "/learn"), ("GET", "/events")):
        answer = client.request(method, path, headers={"Host": host}, json=STEPS if method == "POST" else None)
        assert answer.status_code == 400, path
        assert "--allowed-host" in answer.json()["detail"]


def test_a_host_that_was_named_is_served(engine: ProceduralMemoryEngine) -> None:
    """And no other one."""
    client = TestClient(create_app(engine, allowed_hosts=["Memory.Example"]))
    assert client.get("/stats", headers={"Host": "memory.example:443"}).status_code == 200
    assert client.get("/stats", headers={"Host": "x.memory.example"}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver:81"},
        {"Origin": "file://"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_from_elsewhere_may_not_write(client: TestClient, headers: dict[str, str]) -> None:
    """Neither learn nor make the server forget."""
    for path, body in (("/learn", STEPS), ("/forget", {"containing": "git"})):
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code == 403
        assert "--cors-origin" in answer.json()["detail"]


def test_the_own_page_may_write(engine: ProceduralMemoryEngine) -> None:
    """Its origin is the host that is asked; a named origin may, too, and is told so."""
    client = TestClient(create_app(engine, cors_origins=["https://App.example/"]))
    for headers in ({"Origin": "http://testserver"}, {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}):
        answer = client.post("/predict", json={}, headers=headers)
        assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert client.options("/predict", headers={"Origin": "https://app.example", **asked}).status_code == 200
    assert client.options("/predict", headers={"Origin": "https://evil.example", **asked}).status_code == 400
    closed = TestClient(create_app(engine))
    assert "access-control-allow-origin" not in closed.get("/stats", headers={"Origin": "https://evil.example"}).headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic right-token"},
        {"Authorization": "right-token"},
        {"Authorization": "Bearer right-token x"},
        {"Authorization": "Bearer \xfcber"},
    ],
)
def test_without_the_token_nothing_is_told(engine: ProceduralMemoryEngine, headers: dict[str, str]) -> None:
    """Only the pages, in which there is nothing of the memory."""
    client = TestClient(create_app(engine, token="right-token"))
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
    paths = client.get("/openapi.json").json()["paths"]
    for path, item in paths.items():
        for method in item:
            answer = client.request(method, path, headers=raw, json={} if method == "post" else None)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "git" not in answer.text
    for page in ("/", "/docs", "/redoc", "/static/page.js"):
        assert client.get(page).status_code == 200
        assert "git add" not in client.get(page).text
    assert client.get("/static/../stats").status_code in (401, 404)
    assert client.get("/stats", headers={"Authorization": "bearer right-token"}).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[" * 100_000, 422),
        (b'{"a":' * 50_000, 422),
        (b'{"current_context": ' + b"[" * 70 + b"]" * 70 + b"}", 422),
        (b"x" * (4 * 1024 * 1024 + 1), 413),
        (b'{"current_context": ["' + b"a" * 70_000 + b'"]}', 422),
        (json.dumps({"current_context": ["ls"] * 1_001}).encode(), 422),
        (b'{"top_k": 1e999}', 422),
        (b'{"top_k": ' + b"9" * 5_000 + b"}", 422),
        (b'{"top_k": NaN}', 422),
        (b'{"current_context": ["\\ud800"]}', 422),
        (b'{"current_context": ["a\\u0000b"]}', 422),
        (b'{"current_context": [null]}', 422),
        (b'{"current_context": "ls"}', 422),
        (b"\xff\xfe\x00", 422),
        (b"not json", 422),
        (b"null", 422),
        (("[" * 900 + '"\u2241"' + "]" * 900).encode("utf-16"), 422),
    ],
)
def test_a_body_that_is_too_much_is_refused(client: TestClient, content: bytes, status: int) -> None:
    """By a 4xx that says why, without the body in it."""
    answer = client.post("/predict", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (status, 400 if status == 422 else status), answer.text
    assert answer.json()["detail"]
    assert len(answer.content) < 2_000


def test_too_many_commands_are_refused(client: TestClient) -> None:
    """Ten thousand are taken."""
    answer = client.post("/learn", json={"session_commands": ["a"] * 10_001})
    assert answer.status_code == 422
    assert "10000" in answer.json()["detail"]


def test_a_length_that_lies_is_refused(client: TestClient) -> None:
    """Announced too much: not a byte is read. Not announced: read to the limit."""
    json_type = {"Content-Type": "application/json"}
    answer = client.post("/learn", content=b"{}", headers={"Content-Length": str(10**12), **json_type})
    assert answer.status_code == 413
    pieces = (b"x" * 65_536 for _ in range(100))
    assert client.post("/learn", content=pieces, headers=json_type).status_code == 413


def test_the_body_of_a_read_is_not_waited_for(client: TestClient) -> None:
    """There is no reason for one, and it could come slowly: the connection ends with the answer."""
    assert client.request("GET", "/stats", content=b"x").headers["connection"] == "close"
    assert client.request("GET", "/predict", content=b"x").status_code == 405
    assert "connection" not in client.request("GET", "/stats", headers={"Content-Length": "0"}).headers


def test_there_is_no_websocket(client: TestClient) -> None:
    """Nobody waits for one."""
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/events"):
        pass


def test_a_call_that_waited_for_too_long_is_not_begun(
    engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 after its patience, and nothing of it was done; what runs is finished."""
    free, calls = threading.Event(), []

    def slow(self: ProceduralMemoryEngine, *args: Any, **options: Any) -> Any:
        calls.append(args)
        assert free.wait(20)
        return []

    monkeypatch.setattr(ProceduralMemoryEngine, "predict_next_action", slow)
    backend = Backend(engine, waiting=100, patience=0.3)

    async def ask() -> list[Any]:
        running = [asyncio.create_task(backend.run(lambda e: e.predict_next_action([]))) for _ in range(6)]
        await asyncio.sleep(1.0)
        done = [task for task in running if task.done()]
        free.set()
        await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(task.exception(), Busy) for task in done)
        return done

    assert len(asyncio.run(ask())) == 2
    assert len(calls) == 4
    backend.close()
    with pytest.raises(Busy):
        asyncio.run(backend.run(lambda e: e.stats()))
    assert backend.calls == 0


def test_a_form_cannot_write(client: TestClient) -> None:
    """A page needs no leave to send these types: they are no JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = client.post("/learn", content=json.dumps(STEPS), headers={"Content-Type": kind})
        assert answer.status_code == 422


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='[]{}",:\\ a0', max_size=300))
def test_depth_is_what_a_reader_finds(text: str) -> None:
    """Of valid JSON; of anything it ends."""

    def deep(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    padded = ("[" * 70 + text + "]" * 70).encode()
    try:
        expected = deep(json.loads(padded))
    except ValueError:
        _depth(padded)
    else:
        assert _depth(padded) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_a_host_is_a_name_or_none(text: str) -> None:
    """Whatever is sent, it is read without an error and nothing but a name comes out."""
    name = _host_name(text)
    assert name is None or name == name.lower()


def test_no_error_shows_what_is_inside(engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack trace, no path: only that the log tells more."""

    def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("/home/somebody/secret.py")

    monkeypatch.setattr(ProceduralMemoryEngine, "predict_next_action", fails)
    client = TestClient(create_app(engine), raise_server_exceptions=False)
    answer = client.post("/predict", json={})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "something went wrong; the server's log tells more"}


def test_the_log_tells_no_command(
    engine: ProceduralMemoryEngine, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, route, status, time; not the line, the query, the id."""
    with caplog.at_level(logging.INFO, "procedural_memory.server.requests"):
        client.post("/predict", json={"current_context": ["cat very-private"]})
        client.get("/graph", params={"search": "very-private"})
        client.get("/patterns/very-private")
        client.get("/very-private")
        client.request("VERYPRIVATE", "/stats")
    assert len(caplog.records) == 5
    assert "very-private" not in caplog.text.lower().replace("veryprivate", "very-private")
    line = json.loads(caplog.records[0].getMessage())
    assert {"method": "POST", "route": "/predict", "status": 200}.items() <= line.items()
    assert line["ms"] > 0


def test_every_answer_is_kept_from_caches_and_frames(client: TestClient) -> None:
    """Refusals, too."""
    for path in ("/stats", "/none", "/health"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_full_queue_is_told(engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After at once; what waited is answered, and health does not wait."""
    free = threading.Event()
    known = ProceduralMemoryEngine.predict_next_action

    def slow(self: ProceduralMemoryEngine, *args: Any, **options: Any) -> Any:
        assert free.wait(20)
        return known(self, *args, **options)

    monkeypatch.setattr(ProceduralMemoryEngine, "predict_next_action", slow)
    answers: list[int] = []
    with TestClient(create_app(engine, max_waiting=6)) as client:

        def ask() -> None:
            answers.append(client.post("/predict", json={}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 20
        while "calls_waiting 6.0" not in client.get("/metrics").text and time.monotonic() < until:
            time.sleep(0.02)
        refused = client.post("/predict", json={})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "busy" in refused.json()["detail"]
        assert client.get("/health").status_code == 200
        free.set()
        for thread in threads:
            thread.join()
        assert answers == [200] * 6
        assert client.post("/predict", json={}).status_code == 200
