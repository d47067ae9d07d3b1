"""The remote embedder against a real HTTP server that behaves, and misbehaves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from embedding_service import EMBEDDER, Handler, Service, embed_answer, honest, running, sequence_answer

from procedural_memory.embedding import remote as module
from procedural_memory.embedding.remote import RemoteEmbedder
from procedural_memory.errors import EmbeddingServiceError, InvalidInputError, InvalidTypeError

COMMANDS = ["git status", "git add .", "git commit -m x"]


@pytest.fixture
def service() -> Iterator[Service]:
    """Yield a running, honest service."""
    with running() as running_service:
        yield running_service


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def altered(**changes: Any) -> Callable[[Handler, str, Any], None]:
    """Answer /embed honestly but for `changes`."""

    def answer(handler: Handler, path: str, body: Any) -> None:
        handler.reply({**embed_answer(body["texts"]), **changes})

    return answer


def test_vectors_are_the_services_normalised(service: Service) -> None:
    """The scaled vectors of the service come back at unit length."""
    rows = RemoteEmbedder(service.url).embed(COMMANDS)
    np.testing.assert_allclose(rows, EMBEDDER.embed(COMMANDS), atol=1e-6)
    assert service.requests == [("/embed", {"texts": COMMANDS})]


def test_constructing_touches_no_network() -> None:
    """No service runs at this port; only a call notices."""
    embedder = RemoteEmbedder(f"http://127.0.0.1:{free_port()}", retries=0)
    assert repr(embedder) == f"RemoteEmbedder('{embedder.url}')"
    with pytest.raises(EmbeddingServiceError, match="ConnectionRefusedError"):
        embedder.embed(["ls"])


def test_a_path_in_the_url_is_kept(service: Service) -> None:
    """A service behind a prefix is asked below the prefix."""
    RemoteEmbedder(service.url + "/memory/").embed(["ls"])
    assert service.paths == ["/memory/embed"]


def test_many_texts_go_in_batches(service: Service) -> None:
    """600 texts take three requests and keep their order."""
    texts = [f"make target{number}" for number in range(600)]
    np.testing.assert_allclose(RemoteEmbedder(service.url).embed(texts), EMBEDDER.embed(texts), atol=1e-6)
    assert [len(body["texts"]) for _, body in service.requests] == [256, 256, 88]


def test_dimension_and_fingerprint_ask_once(service: Service) -> None:
    """Before any call the service is asked with one text; after that nothing is asked."""
    embedder = RemoteEmbedder(service.url)
    assert embedder.dimension == 64
    assert embedder.fingerprint == f"remote:{service.url.removeprefix('http://')}-d64"
    assert len(service.requests) == 1
    assert embedder.embed([]).shape == (0, 64)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"model": "all-MiniLM-L6-v2"}, "remote:all-MiniLM-L6-v2-d64"),
        ({"metadata": {"model": "bge"}}, "remote:bge-d64"),
        ({"metadata": {"model_name": "e5"}}, "remote:e5-d64"),
        ({"fingerprint": "bert-00ff-mean-l256-d64", "model": "x"}, "bert-00ff-mean-l256-d64"),
        ({"model": 7, "metadata": "none"}, None),
    ],
)
def test_fingerprint_follows_what_the_service_tells(service: Service, told: Any, expected: str | None) -> None:
    """A stated fingerprint or model names the space; else the URL does."""
    service.answer = altered(**told)
    fingerprint = RemoteEmbedder(service.url).fingerprint
    assert fingerprint == expected or (expected is None and "127.0.0.1" in fingerprint)


def test_a_service_that_changes_its_model_is_refused(service: Service) -> None:
    """Vectors of two models are never mixed."""
    embedder = RemoteEmbedder(service.url)
    service.answer = altered(model="old")
    embedder.embed(["ls"])
    service.answer = altered(model="new")
    with pytest.raises(EmbeddingServiceError, match="served model old before and serves new now"):
        embedder.embed(["ls"])


def without(*missing: str, status: int = 404) -> Callable[[Handler, str, Any], None]:
    """Answer honestly but for endpoints that do not exist."""

    def answer(handler: Handler, path: str, body: Any) -> None:
        if path in missing:
            handler.reply({"detail": "no"}, status)
        else:
            honest(handler, path, body)

    return answer


@pytest.mark.parametrize("status", [404, 405])
def test_without_embed_the_sequence_endpoint_serves(service: Service, status: int) -> None:
    """The missing endpoint is asked once, not before every call."""
    service.answer = without("/embed", status=status)
    embedder = RemoteEmbedder(service.url)
    np.testing.assert_allclose(embedder.embed(COMMANDS), EMBEDDER.embed(COMMANDS), atol=1e-6)
    embedder.embed(COMMANDS)
    assert service.paths == ["/embed", "/embed/command-sequence", "/embed/command-sequence"]


def test_without_any_endpoint_the_error_says_so(service: Service) -> None:
    """A web server that is no embedding service is named."""
    service.answer = without("/embed", "/embed/command-sequence")
    with pytest.raises(EmbeddingServiceError, match="has neither /embed nor /embed/command-sequence"):
        RemoteEmbedder(service.url).embed(["ls"])
    with pytest.raises(EmbeddingServiceError, match="has no /embed/command-sequence"):
        RemoteEmbedder(service.url).embed_sequence(["ls"])


def test_embed_sequence(service: Service) -> None:
    """Sequence, commands, transitions and metadata come back, checked and normalised."""
    result = RemoteEmbedder(service.url).embed_sequence(COMMANDS)
    rows = EMBEDDER.embed(COMMANDS)
    mean = rows.mean(axis=0)
    np.testing.assert_allclose(result.sequence, mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(result.commands, rows, atol=1e-6)
    assert result.transitions.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(result.transitions, axis=1), 1.0, atol=1e-5)
    assert result.metadata == {"model": "lexical", "count": 3}
    assert service.requests == [("/embed/command-sequence", {"commands": COMMANDS})]


def test_a_repeated_command_has_a_zero_transition(service: Service) -> None:
    """A step of length zero stays zero: it has no direction to normalise."""
    assert not RemoteEmbedder(service.url).embed_sequence(["ls", "ls"]).transitions.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence_embedding": None}, "sequence_embedding"),
        ({"sequence_embedding": [1.0, 2.0]}, r"shape \(1, 2\), expected 1 x 64"),
        ({"transition_embeddings": [[1.0]]}, "should be 2 rows"),
        ({"transition_embeddings": [["a"], ["b"]]}, "should be 2 rows"),
        ({"transition_embeddings": [[1.0], [2.0, 3.0]]}, "no numeric array"),
        ({"command_embeddings": []}, "expected 3 x"),
    ],
)
def test_a_bad_sequence_answer_is_refused(service: Service, changes: Any, message: str) -> None:
    """Each part of the answer is checked."""
    service.answer = lambda handler, path, body: handler.reply({**sequence_answer(body["commands"]), **changes})
    with pytest.raises(EmbeddingServiceError, match=message):
        RemoteEmbedder(service.url).embed_sequence(COMMANDS)


def test_a_sequence_needs_commands(service: Service) -> None:
    """An empty sequence is the caller's mistake; the service is not asked."""
    with pytest.raises(InvalidInputError, match="at least one"):
        RemoteEmbedder(service.url).embed_sequence([])
    assert not service.requests


def test_transitions_may_be_missing(service: Service) -> None:
    """A service without transitions still gives the rest."""
    service.answer = lambda handler, path, body: handler.reply(
        {
            k: v
            for k, v in sequence_answer(body["commands"]).items()
            if k in ("sequence_embedding", "command_embeddings")
        }
    )
    result = RemoteEmbedder(service.url).embed_sequence(COMMANDS)
    assert result.transitions.shape == (0, 0)
    assert result.metadata == {}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_again(service: Service, status: int) -> None:
    """Two failures, then an answer: the caller sees only the answer."""

    def answer(handler: Handler, path: str, body: Any) -> None:
        if len(service.requests) <= 2:
            handler.reply({"detail": "busy"}, status, Retry_After="0.01")
        else:
            honest(handler, path, body)

    service.answer = answer
    assert RemoteEmbedder(service.url, retries=2).embed(["ls"]).shape == (1, 64)
    assert len(service.requests) == 3


def test_retries_are_bounded_and_the_error_says_why(service: Service) -> None:
    """After the last try the error names URL, status and what the service said."""
    service.answer = lambda handler, path, body: handler.reply({"detail": "out of memory"}, 500)
    with pytest.raises(EmbeddingServiceError, match=r"http://127.*HTTP 500.*out of memory.*start the service"):
        RemoteEmbedder(service.url, retries=2).embed(["ls"])
    assert len(service.requests) == 3


def test_retry_after_is_capped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that asks for an hour does not get it."""
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)
    service.answer = lambda handler, path, body: handler.reply({}, 503, Retry_After="3600")
    begun = time.monotonic()
    with pytest.raises(EmbeddingServiceError):
        RemoteEmbedder(service.url, retries=1).embed(["ls"])
    assert time.monotonic() - begun < 2


def test_a_refused_request_is_not_tried_again_nor_held_against_the_service(service: Service) -> None:
    """422 is about the request: one try, and the next call goes out."""
    service.answer = lambda handler, path, body: handler.reply({"detail": "too long"}, 422)
    embedder = RemoteEmbedder(service.url)
    with pytest.raises(EmbeddingServiceError, match=r"refused the request: HTTP 422.*too long"):
        embedder.embed(["ls"])
    assert len(service.requests) == 1
    service.answer = honest
    assert embedder.embed(["ls"]).shape == (1, 64)


def test_a_down_service_is_left_alone(service: Service) -> None:
    """After a failure calls fail at once until the cooldown is over; then one try is made."""
    service.answer = lambda handler, path, body: handler.reply({}, 500)
    embedder = RemoteEmbedder(service.url, retries=1, cooldown=0.4)
    with pytest.raises(EmbeddingServiceError):
        embedder.embed(["ls"])
    assert len(service.requests) == 2
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(EmbeddingServiceError, match=r"left alone for .*HTTP 500"):
            embedder.embed(["ls"])
    assert time.monotonic() - begun < 0.3
    assert len(service.requests) == 2
    time.sleep(0.45)
    with pytest.raises(EmbeddingServiceError, match="HTTP 500"):
        embedder.embed(["ls"])
    assert len(service.requests) == 3  # one try, no retries
    time.sleep(0.45)
    service.answer = honest
    assert embedder.embed(["ls"]).shape == (1, 64)
    service.answer = lambda handler, path, body: handler.reply({}, 500)
    with pytest.raises(EmbeddingServiceError):
        embedder.embed(["ls"])
    assert len(service.requests) == 6  # healthy again: with its retry


def test_a_slow_service_times_out_once(service: Service) -> None:
    """A timeout is not tried again: that would only multiply the wait."""
    release = threading.Event()
    service.answer = lambda handler, path, body: (release.wait(5), None)[1]
    begun = time.monotonic()
    with pytest.raises(EmbeddingServiceError, match=r"no complete answer within 0.2 s"):
        RemoteEmbedder(service.url, timeout=0.2).embed(["ls"])
    release.set()
    assert time.monotonic() - begun < 1.5
    assert len(service.requests) == 1


@pytest.mark.parametrize("length", [b"Content-Length: 1000\r\n", b""])
def test_a_dripping_service_times_out_as_a_whole(service: Service, length: bytes) -> None:
    """A byte now and then does not extend the time limit, with a stated length or without."""

    def answer(handler: Handler, path: str, body: Any) -> None:
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n{")
            for _ in range(60):
                handler.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            pass

    service.answer = answer
    begun = time.monotonic()
    with pytest.raises(EmbeddingServiceError, match=r"no complete answer within 0.3 s"):
        RemoteEmbedder(service.url, timeout=0.3).embed(["ls"])
    assert time.monotonic() - begun < 1.5


def raw(content: bytes) -> Callable[[Handler, str, Any], None]:
    """Write bytes to the socket and hang up."""

    def answer(handler: Handler, path: str, body: Any) -> None:
        handler.wfile.write(content)
        handler.wfile.flush()
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "RemoteDisconnected"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"emb', "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", "IncompleteRead"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html></h", "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "no JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\n[1, 2]", "no JSON object"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "no JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe\x00", "no JSON"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "redirects to 'http://elsewhere/'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "the limit is"),
    ],
)
def test_garbage_is_refused(service: Service, content: bytes, message: str) -> None:
    """Half an answer, another protocol, HTML, a bomb: an error that says which."""
    service.answer = raw(content)
    with pytest.raises(EmbeddingServiceError, match=message):
        RemoteEmbedder(service.url, retries=1).embed(["ls"])


def test_an_endless_answer_is_cut(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stated length reading stops at the limit."""
    monkeypatch.setattr(module, "MAX_RESPONSE", 1000)
    service.answer = raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 5000)
    with pytest.raises(EmbeddingServiceError, match="longer than the limit of 1000 bytes"):
        RemoteEmbedder(service.url).embed(["ls"])
    assert len(service.requests) == 1  # asking again would not help


def test_half_closed_then_honest(service: Service) -> None:
    """A connection cut in the middle of an answer is tried again."""

    def answer(handler: Handler, path: str, body: Any) -> None:
        if len(service.requests) == 1:
            raw(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"embeddings": [[')(handler, path, body)
        else:
            honest(handler, path, body)

    service.answer = answer
    np.testing.assert_allclose(RemoteEmbedder(service.url).embed(["ls"]), EMBEDDER.embed(["ls"]), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": [[float("nan")] * 64]}, "NaN or infinity"),
        ({"embeddings": [[float("inf")] * 64]}, "NaN or infinity"),
        ({"embeddings": [[0.0] * 64]}, "length zero"),
        ({"embeddings": [[1.0] * 64] * 2}, r"shape \(2, 64\), expected 1 x"),
        ({"embeddings": []}, r"expected 1 x"),
        ({"embeddings": [[]], "dim": 0}, r"expected 1 x"),
        ({"embeddings": [1.0] * 64}, r"shape \(64,\)"),
        ({"embeddings": [["1.0"] * 64]}, "expected numbers"),
        ({"embeddings": [[None] * 64]}, "expected numbers"),
        ({"embeddings": [[True] * 64]}, "expected numbers"),
        ({"embeddings": {"0": [1.0]}}, "expected numbers"),
        ({"embeddings": None}, "expected numbers"),
        ({"dim": 384}, "states dim 384 and gave vectors of 64"),
    ],
)
def test_no_embedding_is_refused(service: Service, changes: Any, message: str) -> None:
    """What is not one finite vector a text raises; no vector is made up."""
    service.answer = altered(**changes)
    with pytest.raises(EmbeddingServiceError, match=message):
        RemoteEmbedder(service.url).embed(["ls"])


def test_an_answer_of_something_else_names_its_keys(service: Service) -> None:
    """Another kind of service is recognised by what it answers."""
    service.answer = lambda handler, path, body: handler.reply({"status": "ok"})
    with pytest.raises(EmbeddingServiceError, match=r"no embeddings, only \['status'\]"):
        RemoteEmbedder(service.url).embed(["ls"])


def test_a_wrong_dimension_is_refused(service: Service) -> None:
    """A known dimension, given or seen, holds for every later answer."""
    with pytest.raises(EmbeddingServiceError, match=r"expected 1 x 384"):
        RemoteEmbedder(service.url, dimension=384).embed(["ls"])
    embedder = RemoteEmbedder(service.url, dimension=64)
    assert embedder.dimension == 64
    assert len(service.requests) == 1  # the refused one
    embedder.embed(["ls"])
    service.answer = altered(embeddings=[[1.0] * 32], dim=32)
    with pytest.raises(EmbeddingServiceError, match=r"shape \(1, 32\), expected 1 x 64"):
        embedder.embed(["ls"])


def test_huge_and_tiny_values_are_normalised(service: Service) -> None:
    """Squares of these numbers overflow or vanish; the direction survives."""
    for size in (1e300, 1e-300):
        service.answer = altered(embeddings=[[size] * 64])
        np.testing.assert_allclose(RemoteEmbedder(service.url).embed(["ls"]), 0.125, atol=1e-6)


def test_lone_surrogates_reach_the_service_as_valid_json(service: Service) -> None:
    """Text that no UTF-8 can carry is sent with the replacement character."""
    RemoteEmbedder(service.url).embed(["a\ud800b"])
    assert service.requests[0][1] == {"texts": ["a\ufffdb"]}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "must look like http://localhost:8000"),
        ("", "must look like"),
        ("ftp://host/", "must look like"),
        ("http://", "must look like"),
        ("http://host:99999", "must be a URL"),
        ("http://host:0", "must look like"),
        ("http://[::1", "must be a URL"),
        ("http://ho st/", "must look like"),
        ("http://host/a\r\nX: y", "must look like"),
        ("http://host/?a=1", "no query"),
        ("http://me:hunter2@host", "must not hold a user name or password"),
    ],
)
def test_a_bad_url_is_refused_at_once(url: str, message: str) -> None:
    """The error names the rule; a password is not repeated."""
    with pytest.raises(InvalidInputError, match=message) as caught:
        RemoteEmbedder(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, InvalidInputError),
        ({"timeout": float("nan")}, InvalidInputError),
        ({"timeout": "5"}, InvalidTypeError),
        ({"cooldown": -1}, InvalidInputError),
        ({"retries": -1}, InvalidInputError),
        ({"retries": 1.5}, InvalidTypeError),
        ({"dimension": 0}, InvalidInputError),
        ({"dimension": "64"}, InvalidInputError),
    ],
)
def test_bad_options_are_refused(options: Any, error: type[Exception]) -> None:
    """Each option says its range."""
    with pytest.raises(error, match=next(iter(options))):
        RemoteEmbedder("http://localhost", **options)


def test_url_must_be_text() -> None:
    """Another type is named."""
    with pytest.raises(InvalidTypeError, match="not int: 8000"):
        RemoteEmbedder(8000)  # type: ignore[arg-type]
