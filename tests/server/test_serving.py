"""The command ``procedural-memory serve`` as it is run: real processes, real sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from running import Running, running

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.server import serving


def _ask(address: str, path: str, body: Any = None, **headers: str) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, content, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _is_well(address: str) -> bool:
    """Whether it is healthy, when it has opened its memory."""
    for _ in range(200):
        with suppress(urllib.error.HTTPError):  # while it loads
            return bool(_ask(address, "/health")["status"] == "healthy")
        time.sleep(0.1)
    return False


def _session(number: int) -> dict[str, Any]:
    commands = [f"tool{number} {verb}" for verb in ("make", "test", "ship")]
    return {"session_commands": commands, "session_id": f"session {number}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for the tests that only talk to it."""
    folder = tmp_path_factory.mktemp("server")
    with running(folder, "--path", str(folder / "m.sqlite3"), "--embedder", "lexical") as server:
        yield server


def _connection(server: Running) -> socket.socket:
    parts = urlsplit(server.address)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def test_it_serves_and_ends(tmp_path: Path) -> None:
    """SIGTERM ends it well, and its memory is there."""
    with running(tmp_path, "--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical") as server:
        assert _ask(server.address, "/learn", _session(1))["pattern_id"]
        assert server.end() == 0
    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as engine:
        assert engine.stats()["session_count"] == 1
    assert "Traceback" not in server.log.read_text()


def test_the_memory_is_the_users_own_unless_told_otherwise(tmp_path: Path) -> None:
    """``path="default"``: in the data folder."""
    with running(tmp_path, "--embedder", "lexical") as server:
        _ask(server.address, "/learn", _session(1))
    assert (tmp_path / "data" / "omnimemory-procedural" / "memory.sqlite3").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_was_acknowledged_is_kept(tmp_path: Path, workers: str) -> None:
    """SIGTERM in the middle of the load: whatever got a 200 is in the memory, and nobody waits in vain."""
    path = tmp_path / "m.sqlite3"
    learned: list[str] = []
    broken: list[int] = []
    ending = threading.Event()

    def load(server: Running, first: int) -> None:
        for number in range(first, first + 10_000):
            try:
                _ask(server.address, "/learn", _session(number))
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError):
                    broken.append(error.code)
                if ending.is_set():
                    return
                raise
            learned.append(f"session {number}")

    with running(tmp_path, "--path", str(path), "--embedder", "lexical", "--workers", workers) as server:
        threads = [threading.Thread(target=load, args=(server, 10_000 * i)) for i in range(6)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 60
        while len(learned) < 60 and time.monotonic() < until:
            time.sleep(0.01)
        ending.set()
        assert server.end() == 0
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    assert len(learned) >= 60
    assert set(broken) <= {503}
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        assert engine.stats()["session_count"] >= len(learned)
        for name in learned:
            assert engine.forget(session=name, dry_run=True).steps == 3, name


def test_a_stream_ends_with_the_server(tmp_path: Path) -> None:
    """Who listens for events keeps nobody waiting; until then each new step is told once, however many there are."""
    options = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical"]
    with running(tmp_path, *options) as server, _connection(server) as stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = stream.recv(65_536)
        while b"retry" not in got:
            got += stream.recv(65_536)
        time.sleep(0.7)
        with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as other:
            other.learn_workflow(["make it", "curl -H 'Authorization: Bearer abcdefgh12345678' x", "ship it"])
        while b"ship it" not in got:
            part = stream.recv(65_536)
            assert part, got
            got += part
        assert got.count(b"make it") == 1
        assert b"abcdefgh12345678" not in got
        assert b"event: learned" in got
        _ask(server.address, "/learn", {"session_commands": [f"many{number}" for number in range(350)]})
        while b"many349" not in got:
            part = stream.recv(65_536)
            assert part, got
            got += part
        assert all(got.count(b'"many%d"' % number) == 1 for number in range(350))
        place = int(got.split(b"id: ")[-1].split(b"\n")[0])
        begin = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - begin < 20
    with running(tmp_path, "--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical") as server:
        _ask(server.address, "/learn", _session(7))
        request = urllib.request.Request(server.address + "/events", headers={"Last-Event-ID": str(place)})
        with urllib.request.urlopen(request, timeout=30) as answer:
            while b"tool7 ship" not in (line := answer.readline()):
                assert line


def test_workers_share_sessions(tmp_path: Path) -> None:
    """A live session goes on in whichever process a request reaches, with all that it was begun with."""
    path = tmp_path / "m.sqlite3"
    with running(tmp_path, "--path", str(path), "--embedder", "lexical", "--workers", "3") as server:
        for number in range(4):
            name = _ask(server.address, "/sessions", {"cwd": "/src/project", "actor": "agent"})["session_id"]
            for step in range(6):
                answer = _ask(server.address, f"/sessions/{name}/commands", {"command": f"tool{number} part{step}"})
                assert answer["recorded"]["cwd"] == "/src/project"
                assert answer["recorded"]["actor"] == "agent"
            assert _ask(server.address, f"/sessions/{name}/predict", {})["predictions"]
            assert _ask(server.address, f"/sessions/{name}/close", {"outcome": "success"})["pattern_id"]
        text = urllib.request.urlopen(server.address + "/metrics", timeout=30).read().decode()
        assert 'route="/sessions/{session_id}/commands",status="200"} 24.0' in text
        assert server.end() == 0
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        assert len(engine) == 4
        assert all(pattern.command_count == 6 for pattern in engine.patterns.values())


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Also when it is killed: the address is free again."""
    with running(tmp_path, "--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical", "--workers", "2") as server:
        assert _is_well(server.address)
        server.end(signal.SIGKILL)
        until = time.monotonic() + 30
        with pytest.raises(urllib.error.URLError, match="refused"):  # noqa: PT012
            while time.monotonic() < until:
                with suppress(urllib.error.HTTPError, ConnectionResetError, http.client.RemoteDisconnected):
                    _ask(server.address, "/health")
                time.sleep(0.2)


def test_a_unix_socket_is_private(tmp_path: Path) -> None:
    """It answers, others cannot connect, a dead one is replaced, a live one is not, and it goes with the server."""
    place = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    options = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical", "--uds", str(place)]
    with running(tmp_path, *options) as server:
        assert place.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(place))
            client.sendall(b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        second = _failing(*options)
        assert "another server listens there" in second
        assert server.end() == 0
    assert not place.exists()
    place.write_text("mine")
    assert "no socket" in _failing(*options)
    assert place.read_text() == "mine"


def _failing(*options: str) -> str:
    command = [sys.executable, "-m", "procedural_memory", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_does_not_start_in_the_open(tmp_path: Path) -> None:
    """Another host needs a token; a broken memory and a taken port are told at once."""
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.org"):
        assert "token" in _failing("--host", host)
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"no memory" * 1_000)
    assert "procedural-memory doctor" in _failing("--path", str(broken))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "cannot be listened on" in _failing("--port", port, "--path", str(tmp_path / "m.sqlite3"))


def test_with_a_token_it_listens_for_others(tmp_path: Path) -> None:
    """From a file; without it every question is refused."""
    secret = tmp_path / "token"
    secret.write_text("a-long-enough-token\n")
    options = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical", "--token-file", str(secret)]
    with running(tmp_path, *options, "--host", "0.0.0.0") as server:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            _ask(address, "/stats")
        bearer = {"Authorization": "Bearer a-long-enough-token"}
        assert _ask(address, "/stats", **bearer)["session_count"] == 0
        assert _ask(address, "/stats", Host=socket.gethostname(), **bearer)["session_count"] == 0
        assert "a-long-enough-token" not in server.log.read_text()


def test_a_flood_of_headers_is_refused(server: Running) -> None:
    """The connection ends; the server goes on."""
    with _connection(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        try:
            while sent < 10_000_000:
                sent += client.send(b"X-%d: %s\r\n" % (sent, b"a" * 1_000))
        except OSError:
            pass
        assert sent < 10_000_000
    assert _is_well(server.address)


def test_a_request_that_is_none_is_refused(server: Running) -> None:
    """Whatever bytes come."""
    for content in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\r\n" * 10_000, b"GET / HTTP/9.9\r\n\r\n"):
        with _connection(server) as client:
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            got = client.recv(65_536)
            assert not got or got.startswith(b"HTTP/1.1 400")
            assert b"text/plain" not in got
    assert _is_well(server.address)


def test_two_lengths_are_refused(server: Running) -> None:
    """Nothing is smuggled behind a body whose end is told twice."""
    for lengths in (
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ):
        with _connection(server) as client:
            client.sendall(
                b"POST /learn HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n0\r\n\r\nGET /stats HTTP/1.1\r\n\r\n"
            )
            assert not client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_slow_head_and_a_slow_body_end(tmp_path: Path) -> None:
    """A client that sends a byte now and then holds a connection for a while only; others are served meanwhile."""
    code = (
        "import procedural_memory.server.serving as s, procedural_memory.server.guard as g;"
        "s._HEAD_WITHIN = 1.0; g.Guard.__init__.__kwdefaults__['body_within'] = 1.0;"
        f"s.serve(port=0, path={str(tmp_path / 'm.sqlite3')!r}, embedder='lexical', "
        "started=lambda address: print(address, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        parts = urlsplit(address)
        heads = (
            b"GET /health HTTP/1.1\r\nHost: loc",
            b"POST /learn HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n{",
        )
        for head, expected in zip(heads, (b"", b"HTTP/1.1 408"), strict=True):
            with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
                client.sendall(head)
                begin = time.monotonic()
                got = b"waiting"
                for _ in range(200):
                    try:
                        client.sendall(b"a" if not expected else b" ")
                        client.settimeout(0.05)
                        got = client.recv(65_536)
                        break
                    except TimeoutError:
                        continue
                    except OSError:
                        got = b""
                        break
                assert got.startswith(expected)
                assert (got == b"") == (expected == b"")
                assert time.monotonic() - begin < 10
            assert _is_well(address)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_body_in_tiny_chunks_is_cut_off(server: Running) -> None:
    """It would keep the server busy for long; others are served meanwhile."""
    chunks = b"1\r\n \r\n" * 40_000
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    begin = time.monotonic()
    with _connection(server) as client, suppress(OSError):
        client.sendall(head)
        for _ in range(50):
            client.sendall(chunks)
        assert client.recv(100) == b""
    assert time.monotonic() - begin < 10
    body = json.dumps({"current_context": ["ls"] * 500}).encode()
    with _connection(server) as client:  # as clients chunk that mean well
        client.sendall(head.replace(b"Host", b"Content-Type: application/json\r\nConnection: close\r\nHost"))
        for at in range(0, len(body), 1_000):
            piece = body[at : at + 1_000]
            client.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_wrong_options_are_told_before_anything_is_served(tmp_path: Path) -> None:
    """Also with workers, which would be started again and again."""
    (tmp_path / "empty").touch()
    path = ["--path", str(tmp_path / "m.sqlite3"), "--port", "0"]
    for options in (
        ["--token-file", str(tmp_path / "empty")],
        ["--cors-origin", "*"],
        ["--cors-origin", "app.example"],
    ):
        for workers in ("1", "2"):
            told = _failing(*path, *options, "--workers", workers)
            assert "Serving" not in told


def test_a_token_that_is_empty_is_a_mistake() -> None:
    """An environment that means to give one and does not must not open the server."""
    command = [sys.executable, "-m", "procedural_memory", "serve", "--port", "0"]
    environment = os.environ | {"PROCEDURAL_MEMORY_TOKEN": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert "PROCEDURAL_MEMORY_TOKEN" in done.stderr


def test_the_log_is_json_and_tells_no_command(server: Running) -> None:
    """A line for each request."""
    _ask(server.address, "/predict", {"current_context": ["cat very-private"]})
    until = time.monotonic() + 20
    while '"/predict"' not in (text := server.log.read_text()):  # it is written when the answer has been sent
        assert time.monotonic() < until
        time.sleep(0.02)
    assert "very-private" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert {"method": "POST", "route": "/predict", "status": 200}.items() <= lines[-1].items()


def test_options_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """By name."""
    with pytest.raises(ValueError, match="workers"):
        serving.serve(path=None, workers=2)
    with pytest.raises(RuntimeError, match="uds"):
        serving.serve(path=None, uds=tmp_path / ("x" * 200))


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    """With the command that installs it."""
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('no', name='fastapi')")
    command = [sys.executable, "-m", "procedural_memory", "serve"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert "pip install 'omnimemory-procedural[server]'" in done.stderr
    assert "Traceback" not in done.stderr
