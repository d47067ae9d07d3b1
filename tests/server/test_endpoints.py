"""Every endpoint, field for field."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi import FastAPI
from fastapi.testclient import TestClient

import procedural_memory
from procedural_memory import ProceduralMemoryEngine
from procedural_memory.server import create_app
from procedural_memory.server.live import LiveSessions
from procedural_memory.server.refusals import Refused

RELEASE = ["git status", "git add .", "git commit -m wip", "git push"]


def _learn(client: TestClient, commands: list[Any], **rest: Any) -> dict[str, Any]:
    body = {"session_commands": [{"command": c} if isinstance(c, str) else c for c in commands], **rest}
    answer = client.post("/learn", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def engine() -> Iterator[ProceduralMemoryEngine]:
    """A memory that belongs to the test."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        yield engine


@pytest.fixture
def client(engine: ProceduralMemoryEngine) -> TestClient:
    """A client without a lifespan: what a mounted application gets."""
    return TestClient(create_app(engine))


def test_learn_answers_with_the_pattern(client: TestClient, engine: ProceduralMemoryEngine) -> None:
    """Fields of the steps, the outcome and who told of it get to the engine."""
    steps = [
        {"command": "pytest -q", "timestamp": 1732262400.0, "context": {"any": "thing"}, "exit_code": 1, "cwd": "/src"},
        {"command": "vim a.py", "timestamp": "2024-11-22T08:00:10+00:00"},
        {"command": "pytest -q", "exit_code": 0},
    ]
    found = _learn(client, steps, session_outcome="failure", tool_id="bash", session_id="s1")
    assert set(found) == {"pattern_id", "message"}
    pattern = engine.patterns[found["pattern_id"]]
    assert (pattern.success_count, pattern.failure_count) == (0, 1)
    assert engine.forget(source="bash", dry_run=True).steps == 3
    assert engine.forget(session="s1", dry_run=True).steps == 3
    assert engine.forget(project="/src", dry_run=True).steps == 1


def test_learn_defaults_to_success_and_takes_an_unknown_end(client: TestClient) -> None:
    """As the older service did; null is unknown."""
    _learn(client, RELEASE)
    _learn(client, RELEASE, session_outcome=None)
    stats = client.get("/stats").json()
    assert (stats["total_successes"], stats["total_failures"]) == (1, 0)


def test_the_outcome_may_be_called_as_elsewhere(client: TestClient) -> None:
    """A failure is not learned as a success because of its name."""
    _learn(client, RELEASE, outcome="failure")
    stats = client.get("/stats").json()
    assert (stats["total_successes"], stats["total_failures"]) == (0, 1)


def test_what_the_document_shows_can_be_tried(client: TestClient) -> None:
    """Its examples are requests that are answered."""
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    shown = {name: schema["examples"][0] for name, schema in schemas.items() if "examples" in schema}
    for name, path in {"LearnRequest": "learn", "PredictRequest": "predict", "SimilarRequest": "similar"}.items():
        assert client.post(f"/{path}", json=shown[name]).status_code == 200


def test_a_short_session_gives_null_and_the_reason(client: TestClient) -> None:
    """Two commands are too few, and so are three of which one is kept out."""
    found = _learn(client, RELEASE[:2])
    assert found["pattern_id"] is None
    assert "at least 3 commands" in found["message"]
    assert "2" in found["message"]
    assert _learn(client, ["a", " b", "c"])["pattern_id"] is None
    assert client.get("/stats").json()["session_count"] == 0


def test_predict_answers_as_the_engine_does(client: TestClient, engine: ProceduralMemoryEngine) -> None:
    """The same object, the same answers."""
    for _ in range(3):
        _learn(client, RELEASE)
    answer = client.post("/predict", json={"current_context": RELEASE[:2], "top_k": 3})
    found = answer.json()["predictions"]
    expected = engine.predict_next_action(RELEASE[:2], top_k=3)
    assert [item["next_command"] for item in found] == [item.next_command for item in expected]
    assert found[0]["next_command"] == "git commit -m wip"
    assert found[0]["probability"] == pytest.approx(expected[0].probability)
    assert {
        "next_command", "confidence", "reason", "similar_patterns", "auto_suggestions", "probability",
        "template_probability", "template", "evidence", "runnable", "destructive",
    } == set(found[0])  # fmt: skip
    assert len(client.post("/predict", json={"current_context": RELEASE[:1]}).json()["predictions"]) <= 3
    assert client.post("/predict", json={}).json()["predictions"][0]["next_command"] == "git status"
    steps = [{"command": RELEASE[0], "exit_code": 0, "cwd": "/src"}]
    assert client.post("/predict", json={"current_context": steps, "level": "template"}).status_code == 200


@pytest.mark.parametrize("top_k", [0, 11, "3", 2.5, True, None])
def test_top_k_is_from_1_to_10(client: TestClient, top_k: Any) -> None:
    """Anything else is refused, and the refusal names it."""
    answer = client.post("/predict", json={"current_context": [], "top_k": top_k})
    assert answer.status_code == 422
    assert "top_k" in answer.json()["detail"]


def test_patterns_by_page_and_filter(client: TestClient) -> None:
    """Most followed first; the total counts what meets the filters."""
    for number in range(7):
        for _ in range(number + 1):
            _learn(client, [f"tool{number} {verb}" for verb in ("make", "test", "ship")])
    answer = client.get("/patterns").json()
    assert answer["total"] == len(answer["patterns"]) == 7
    first = answer["patterns"][0]
    assert {"pattern_id", "command_count", "success_count", "failure_count", "confidence"} <= set(first)
    assert (first["command_count"], first["success_count"], first["failure_count"]) == (3, 7, 0)
    pages = [client.get("/patterns", params={"limit": 3, "offset": at}).json() for at in (0, 3, 6, 9)]
    assert [len(page["patterns"]) for page in pages] == [3, 3, 1, 0]
    assert {page["total"] for page in pages} == {7}
    assert [p["pattern_id"] for page in pages for p in page["patterns"]] == [
        p["pattern_id"] for p in answer["patterns"]
    ]
    assert client.get("/patterns", params={"containing": "tool3"}).json()["total"] == 1
    assert client.get("/patterns", params={"min_support": 6}).json()["total"] == 2
    assert client.get("/patterns", params={"state": "candidate"}).json()["total"] == 1
    assert client.get("/patterns", params={"min_confidence": 0.85}).json()["total"] == 3
    one = client.get(f"/patterns/{first['pattern_id']}")
    assert one.json() == first
    assert client.get("/patterns/none").status_code == 404


def test_stats_tell_sizes_and_no_path(tmp_path: Path) -> None:
    """All fields of the older service; where the memory lies is nobody's business."""
    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as engine:
        client = TestClient(create_app(engine))
        _learn(client, RELEASE)
        found = client.get("/stats").json()
        expected = engine.stats()
    for name in (
        "pattern_count", "graph_node_count", "graph_edge_count", "causal_chain_count", "total_successes",
        "total_failures",
    ):  # fmt: skip
        assert found[name] == expected[name]
    assert found["durable"] is True
    assert found["embedder"]["name"] == "lexical"
    assert str(tmp_path) not in json.dumps(found)


def test_health(client: TestClient) -> None:
    """Healthy, with the version."""
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "healthy",
        "service": "procedural-memory",
        "version": procedural_memory.__version__,
        "engine_initialized": True,
        "reason": None,
    }


def test_health_of_a_closed_memory_and_of_a_failing_embedder(engine: ProceduralMemoryEngine) -> None:
    """503, with the reason."""

    class Failing:
        dimension, fingerprint = 4, "failing-v1"

        def embed(self, texts: list[str]) -> Any:
            raise RuntimeError("no such device /dev/secret")

    with ProceduralMemoryEngine(embedder=Failing()) as failing:  # type: ignore[arg-type]
        client = TestClient(create_app(failing))
        _learn(client, RELEASE)
        failing.flush()
        answer = client.get("/health")
        assert answer.status_code == 503
        assert answer.json()["status"] == "degraded"
        assert "embedder" in answer.json()["reason"]
        assert "secret" not in client.get("/stats").text
        assert client.post("/predict", json={}).status_code == 200
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert client.post("/predict", json={}).status_code == 503


def test_save_and_load(client: TestClient, engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """There and back, by the name that the client gave."""
    _learn(client, RELEASE)
    file = str(tmp_path / "memory.pkl")
    client = TestClient(create_app(engine, snapshot_dirs=[tmp_path]))
    assert client.post("/save", json={"filepath": file}).json() == {"message": f"saved to {file}", "success": True}
    _learn(client, ["a", "b", "c"])
    answer = client.post("/load", json={"filepath": file})
    assert answer.json()["success"] is True
    assert engine.stats()["session_count"] == 1
    _learn(client, ["a", "b", "c"])
    assert client.post("/load", json={"filepath": file, "mode": "merge"}).status_code == 200
    assert engine.stats()["session_count"] == 2
    assert client.post("/load", json={"filepath": str(tmp_path / "none.pkl")}).status_code == 404
    assert client.post("/load", json={"filepath": file, "mode": "add"}).status_code == 422
    answer = client.post("/save", json={"filepath": str(tmp_path / "memory.txt")})
    assert answer.status_code == 422
    assert "ends in one of .pkl" in answer.json()["detail"]


def test_load_of_a_durable_memory_keeps_a_backup(tmp_path: Path) -> None:
    """Without a mode it replaces; the message names the backup, which lies beside the memory."""
    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as engine:
        client = TestClient(create_app(engine))  # its own folder may be named
        _learn(client, RELEASE)
        assert client.post("/save", json={"filepath": "one.json"}).status_code == 200
        _learn(client, ["a", "b", "c"])
        message = client.post("/load", json={"filepath": str(tmp_path / "one.json")}).json()["message"]
        (backup,) = tmp_path.glob("m.sqlite3.*.sqlite")
        assert backup.name in message
        assert str(tmp_path) not in message.replace(str(tmp_path / "one.json"), "")
        assert engine.stats()["session_count"] == 1
    with ProceduralMemoryEngine(path=backup, embedder="lexical") as before:
        assert before.stats()["session_count"] == 2


def test_a_live_session(client: TestClient, engine: ProceduralMemoryEngine) -> None:
    """Begun, recorded, asked, closed."""
    for _ in range(3):
        _learn(client, RELEASE)
    answer = client.post("/sessions", json={"cwd": "/src", "actor": "agent"})
    assert answer.status_code == 201
    name = answer.json()["session_id"]
    for line in RELEASE[:3]:
        answer = client.post(f"/sessions/{name}/commands", json={"command": line, "exit_code": 0, "output": "ok"})
        assert answer.json()["recorded"]["command"] == line
        assert answer.json()["recorded"]["cwd"] == "/src"
        assert answer.json()["recorded"]["actor"] == "agent"
    found = client.post(f"/sessions/{name}/predict", json={"top_k": 2}).json()["predictions"]
    assert found[0]["next_command"] == "git push"
    verdict = {"prediction": "git push", "verdict": "accepted"}
    assert client.post(f"/sessions/{name}/feedback", json=verdict).json()["success"] is True
    assert engine.stats()["feedback_count"] == 1
    assert 0 < client.post(f"/sessions/{name}/outcome").json()["probability"] < 1
    closed = client.post(f"/sessions/{name}/close", json={"outcome": "success"}).json()
    assert closed["pattern_id"] in engine.patterns
    for path in ("commands", "close"):
        body = {"command": "ls"} if path == "commands" else {}
        assert client.post(f"/sessions/{name}/{path}", json=body).status_code == 409
        assert client.post(f"/sessions/never/{path}", json=body).status_code == 404


def test_a_session_that_was_forgotten_is_told(client: TestClient) -> None:
    """Its steps went meanwhile; the memory is still there."""
    name = client.post("/sessions", json={"session_id": "mine"}).json()["session_id"]
    client.post(f"/sessions/{name}/commands", json={"command": "make it"})
    assert client.post("/sessions", json={"session_id": "mine"}).status_code == 409
    client.post("/forget", json={"session": "mine"})
    assert client.post(f"/sessions/{name}/predict", json={}).status_code == 409
    assert client.post("/sessions", json={"session_id": "a/b"}).status_code == 422


def test_a_session_goes_on_when_it_is_no_longer_in_memory(engine: ProceduralMemoryEngine) -> None:
    """With all that it was begun with; also under an id that was redacted."""
    live = LiveSessions(most=2)
    secret = "token=ghp_0123456789abcdefghijABCDEFGHIJ012345"
    for name in ("first", secret):
        kept = live.start(engine, {"session_id": name, "cwd": "/src/shop", "actor": "agent"})
        kept.record("make it", output="in src/a.py")
        assert live.get(engine, name) is kept
        for _ in range(3):
            live.start(engine, {})
        again = live.get(engine, name)
        assert again is not kept
        step = again.record("ls")
        assert (step.cwd, step.actor) == ("/src/shop", "agent")
        assert again.close("success") is None
        live.drop(name)
        with pytest.raises(Refused):
            live.get(engine, name)
    assert engine.forget(containing="make it", dry_run=True).steps == 2


def test_turned_off_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is learned or saved, and no answer claims that it was."""
    monkeypatch.setenv("PROCEDURAL_MEMORY_DISABLE", "1")
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        client = TestClient(create_app(engine, snapshot_dirs=[tmp_path]))
        assert "turns everything off" in client.get("/health").json()["reason"]
        assert "turns everything off" in _learn(client, RELEASE)["message"]
        assert client.post("/save", json={"filepath": "m.json"}).status_code == 403
    assert not list(tmp_path.iterdir())


def test_similar_outcome_and_feedback(client: TestClient, engine: ProceduralMemoryEngine) -> None:
    """As the engine answers."""
    for end in ("success", "failure"):
        _learn(client, RELEASE, session_outcome=end)
    found = client.post("/similar", json={"commands": RELEASE[1:], "k": 2}).json()["patterns"]
    assert found[0]["pattern"]["templates"] == [*RELEASE[:2], "git commit -m <STR>", "git push"]
    assert found[0]["similarity"] == pytest.approx(engine.similar_patterns(RELEASE[1:], 2)[0].similarity)
    outcome = client.post("/outcome", json={"current_context": RELEASE[:1]}).json()
    assert set(outcome) == {"probability", "low", "high", "speaks_for", "speaks_against", "sessions"}
    assert outcome["sessions"] == 2
    body = {"current_context": RELEASE[:1], "prediction": "git add .", "verdict": "ignored"}
    assert client.post("/feedback", json=body).json() == {"message": "taken: ignored", "success": True}


def test_forget(client: TestClient, engine: ProceduralMemoryEngine) -> None:
    """What would go, and then what went; a slip in a name forgets nothing."""
    _learn(client, RELEASE)
    dry = client.post("/forget", json={"containing": "push", "dry_run": True}).json()
    assert dry == {"dry_run": True, "steps": 1, "sessions": 0, "feedback": 0, "examples": ["git push"]}
    assert client.post("/forget", json={"containing": "push", "comand": "x"}).status_code == 422
    assert client.post("/forget", json={"matching": "(a+)+$"}).status_code == 422
    assert client.post("/forget", json={}).status_code == 422
    assert engine.stats()["command_count"] == 4
    assert client.post("/forget", json={"containing": "push"}).json()["steps"] == 1
    assert engine.stats()["command_count"] == 3


def test_metrics(client: TestClient) -> None:
    """Requests by route and status, and sizes; never what was asked about."""
    _learn(client, RELEASE)
    client.get("/patterns/secret-name")
    text = client.get("/metrics").text
    assert 'procedural_memory_requests_total{method="POST",route="/learn",status="200"} 1.0' in text
    assert 'route="/patterns/{pattern_id}",status="404"' in text
    assert "procedural_memory_pattern_count 1.0" in text
    assert "secret-name" not in text


def test_two_applications_share_nothing(client: TestClient) -> None:
    """There is no global state: not even in the figures."""
    with ProceduralMemoryEngine(embedder="lexical") as other:
        second = TestClient(create_app(other))
        _learn(client, RELEASE)
        assert second.get("/stats").json()["session_count"] == 0
        assert 'route="/learn"' not in second.get("/metrics").text


def test_mounted_every_route_answers(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Below a prefix, without a lifespan; the engine still belongs to who made it."""
    outer = FastAPI()
    inner = create_app(engine, snapshot_dirs=[tmp_path])
    outer.mount("/memory", inner)
    bodies: dict[str, Any] = {
        "/learn": {"session_commands": [{"command": line} for line in RELEASE]},
        "/predict": {"current_context": RELEASE[:1]},
        "/similar": {"commands": RELEASE},
        "/outcome": {"current_context": RELEASE},
        "/feedback": {"prediction": "ls", "verdict": "accepted"},
        "/sessions": {"session_id": "live"},
        "/sessions/{session_id}/commands": {"command": "ls"},
        "/sessions/{session_id}/predict": {},
        "/sessions/{session_id}/outcome": None,
        "/sessions/{session_id}/feedback": {"prediction": "ls", "verdict": "rejected"},
        "/sessions/{session_id}/close": {},
        "/save": {"filepath": str(tmp_path / "m.json")},
        "/load": {"filepath": str(tmp_path / "m.json")},
        "/forget": {"containing": "nothing like this"},
    }
    with TestClient(outer) as client:
        paths = client.get("/memory/openapi.json").json()["paths"]
        pattern_id = client.post("/memory/learn", json=bodies["/learn"]).json()["pattern_id"]
        assert {path for path, item in paths.items() if "post" in item} == set(bodies)
        for path, body in bodies.items():
            answer = client.post("/memory" + path.format(session_id="live"), json=body)
            assert answer.status_code in (200, 201), (path, answer.text)
        for path in [path for path, item in paths.items() if "get" in item and path != "/events"]:
            answer = client.get("/memory" + path.format(pattern_id=pattern_id))
            assert answer.status_code == 200, (path, answer.text)
        for page in ("/", "/docs", "/redoc", "/static/page.js", "/vendor/d3.js"):
            assert client.get("/memory" + page).status_code == 200, page
    assert engine.stats()["session_count"] > 0  # not closed


def test_without_an_engine_it_opens_its_own(tmp_path: Path) -> None:
    """With a lifespan when it starts, mounted with the first request; and it closes what it opened."""
    path = tmp_path / "own.sqlite3"
    with TestClient(create_app(path=path, embedder="lexical")) as client:
        _learn(client, RELEASE)
        assert client.get("/health").status_code == 200
    with TestClient(create_app(path=path, embedder="lexical")) as client:
        assert client.get("/stats").json()["session_count"] == 1
    lazy = TestClient(create_app(path=path, embedder="lexical"))
    assert lazy.get("/health").json()["status"] == "loading"
    until = time.monotonic() + 20
    while lazy.get("/health").json()["status"] != "healthy":  # asked for its health it opens the memory, too
        assert time.monotonic() < until
        time.sleep(0.02)
    assert lazy.get("/stats").json()["session_count"] == 1


def test_a_memory_that_cannot_be_opened_is_told_without_its_path(tmp_path: Path) -> None:
    """503, and the server goes on."""
    path = tmp_path / "broken.sqlite3"
    path.write_bytes(b"no memory at all" * 100)
    with TestClient(create_app(path=path, embedder="lexical")) as client:
        answer = client.post("/predict", json={})
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        health = client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "unavailable")
        assert str(tmp_path) not in health.text
        assert health.json()["engine_initialized"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": ""},
        {"token": "schlüssel"},
        {"token": "two\nlines"},
        {"cors_origins": ["*"]},
        {"allowed_hosts": "example.org"},
    ],
)
def test_wrong_options_are_refused(engine: ProceduralMemoryEngine, wrong: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(procedural_memory.InvalidInputError, match=next(iter(wrong))):
        create_app(engine, **wrong)
    with pytest.raises(procedural_memory.InvalidTypeError, match="engine"):
        create_app("engine")
