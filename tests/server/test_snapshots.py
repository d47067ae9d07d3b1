"""Files that a client names: where they may lie, and what is never read or written over."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi.testclient import TestClient

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.server import create_app

SUFFIXES = [".pkl", ".pickle", ".json", ".jsonl", ".sqlite", ".sqlite3"]


class Service:
    """A memory of one session, a folder for its snapshots and one that is out of bounds."""

    def __init__(self, engine: ProceduralMemoryEngine, folder: Path) -> None:
        self.engine = engine
        self.inside, self.outside = folder / "inside", folder / "outside"
        for made in (self.inside, self.outside):
            made.mkdir()
        engine.learn_workflow(["git add .", "git commit -m wip", "git push"])
        self.client = TestClient(create_app(engine, snapshot_dirs=[self.inside]))

    def post(self, path: str, filepath: object, **rest: Any) -> int:
        """Return the status; a refusal shows no path but what the client named."""
        answer = self.client.post(path, json={"filepath": str(filepath), **rest})
        if answer.status_code != 200:
            left = answer.text.replace(json.dumps(str(filepath))[1:-1], "")
            assert "/tmp" not in left
            assert str(self.inside) not in left
        return answer.status_code

    def is_unharmed(self) -> bool:
        """Whether the memory is what it was."""
        return bool(self.engine.stats()["session_count"] == 1)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service, unharmed afterwards."""
    with ProceduralMemoryEngine(path=tmp_path / "memory.sqlite3", embedder="lexical") as engine:
        service = Service(engine, tmp_path)
        yield service
        assert service.is_unharmed()
        assert not list(service.outside.glob("*"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_there_and_back_and_over_itself(service: Service, suffix: str) -> None:
    """Every format; a snapshot may be written anew, and is private."""
    file = service.inside / f"memory{suffix}"
    for _ in range(2):
        assert service.post("/save", file) == 200
    assert file.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in service.inside.iterdir()] == [file.name]
    service.engine.learn_workflow(["a", "b", "c"])
    assert service.post("/load", file) == 200


def test_a_name_alone_is_in_the_first_folder(service: Service) -> None:
    """And a folder in it may be named."""
    (service.inside / "deep").mkdir()
    assert service.post("/save", "deep/memory.json") == 200
    assert (service.inside / "deep" / "memory.json").exists()
    assert service.post("/save", "none/memory.json") == 404


def test_nothing_outside_is_touched(service: Service) -> None:
    """Not by a path, not by going up, not by a link, whatever the name."""
    secret = service.outside / "secret.json"
    for name in (
        secret,
        service.inside / ".." / "outside" / "secret.json",
        "../outside/secret.json",
        "./../outside/secret.json",
        "a/../../outside/secret.json",
        f"{service.inside}x/memory.json",
        "/etc/memory.json",
        "~/memory.json",
        "//etc/memory.json",
        "file:///etc/memory.json",
    ):
        for path in ("/save", "/load"):
            assert service.post(path, name) in (403, 404), name
    answer = service.client.post("/save", json={"filepath": str(secret)})
    assert "--snapshot-dir" in answer.json()["detail"]
    assert service.post("/save", "a\0.json") == 422


def test_links_are_not_followed(service: Service, tmp_path: Path) -> None:
    """Neither the file nor a folder on the way; a link to a snapshot is none."""
    real = tmp_path / "real.json"
    service.engine.save(real)
    content = real.read_bytes()
    (service.inside / "file.json").symlink_to(real)
    (service.inside / "dangling.json").symlink_to(service.outside / "new.json")
    (service.inside / "folder").symlink_to(service.outside)
    for name in ("file.json", "dangling.json", "folder/new.json"):
        for path in ("/save", "/load"):
            assert service.post(path, name) == 403, (path, name)
    assert real.read_bytes() == content


def test_what_is_no_snapshot_is_not_written_over(service: Service) -> None:
    """Another program's data, a folder, an empty file, a memory in use or not."""
    files = {
        "notes.json": b'{"format": "other"}',
        "empty.json": b"",
        "lines.jsonl": b"{}\n",
        "model.pkl": pickle.dumps({"format": "other"}, protocol=4),
        "old.pkl": pickle.dumps([1, 2, 3], protocol=2),
        "text.sqlite": b"text",
    }
    for name, content in files.items():
        (service.inside / name).write_bytes(content)
        assert service.post("/save", name) == 403, name
        assert (service.inside / name).read_bytes() == content
    (service.inside / "folder.json").mkdir()
    assert service.post("/save", "folder.json") == 403
    with sqlite3.connect(service.inside / "other.sqlite") as db:
        db.execute("CREATE TABLE mine(x)")
    db.close()
    assert service.post("/save", "other.sqlite") == 403
    with ProceduralMemoryEngine(path=service.inside / "used.sqlite3", embedder="lexical") as used:
        used.learn_workflow(["a", "b", "c"])
        assert service.post("/save", "used.sqlite3") == 403
        assert service.post("/load", "used.sqlite3", mode="merge") == 422
    assert service.post("/save", "used.sqlite3") == 403
    with ProceduralMemoryEngine(path=service.inside / "used.sqlite3", embedder="lexical") as used:
        assert used.stats()["session_count"] == 1


def test_the_memory_itself_is_not_written_over(tmp_path: Path) -> None:
    """Under whatever name its file is given."""
    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as engine:
        engine.learn_workflow(["a", "b", "c"])
        client = TestClient(create_app(engine))
        os.link(tmp_path / "m.sqlite3", tmp_path / "same.sqlite3")
        for name in ("m.sqlite3", "same.sqlite3"):
            assert client.post("/save", json={"filepath": name}).status_code == 403
        engine.learn_workflow(["d", "e", "f"])
        assert engine.stats()["session_count"] == 2


class _Runs:
    def __reduce__(self) -> Any:
        return (os.system, ("touch hurt-by-pickle",))


def test_a_hostile_pickle_runs_nothing(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and says so."""
    monkeypatch.chdir(tmp_path)
    (service.inside / "hostile.pkl").write_bytes(pickle.dumps({"format": "procedural-memory", "x": _Runs()}))
    assert service.post("/load", "hostile.pkl") == 422
    assert not (tmp_path / "hurt-by-pickle").exists()
    for name, content in {"cut.pkl": b"\x80\x04", "empty.json": b"", "no.sqlite": b"SQLite format 3\0" * 9}.items():
        (service.inside / name).write_bytes(content)
        assert service.post("/load", name) == 422, name


def test_a_device_a_pipe_and_a_folder_are_refused(service: Service) -> None:
    """At once: nothing waits for what never comes."""
    os.mkfifo(service.inside / "pipe.json")
    (service.inside / "folder.pkl").mkdir()
    for name in ("pipe.json", "folder.pkl"):
        for path in ("/save", "/load"):
            assert service.post(path, name) == 403, name


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make another user's file")
def test_another_users_file_is_refused(service: Service) -> None:
    """Neither read nor written over, nor is anything put in another user's folder."""
    service.engine.save(service.inside / "planted.json")
    os.chown(service.inside / "planted.json", 65_534, 65_534)
    folder = service.inside / "theirs"
    folder.mkdir()
    os.chown(folder, 65_534, 65_534)
    for path in ("/save", "/load"):
        assert service.post(path, "planted.json") == 403
        assert service.post(path, "theirs/memory.json") == 403


def test_a_save_that_fails_leaves_what_was_there(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    assert service.post("/save", "memory.json") == 200
    before = (service.inside / "memory.json").read_bytes()
    service.engine.learn_workflow(["a", "b", "c"])

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        assert service.post("/save", "memory.json") == 503
    assert (service.inside / "memory.json").read_bytes() == before
    assert [item.name for item in service.inside.iterdir()] == ["memory.json"]
    service.engine.forget(containing="a", template="a")
    service.engine.load(service.inside / "memory.json", mode="replace")


def test_what_appears_meanwhile_is_not_written_over(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where nothing was, nor where a snapshot was."""
    save = ProceduralMemoryEngine.save

    def slow(engine: ProceduralMemoryEngine, path: Path) -> Path:
        (service.inside / "free.json").write_text("precious")
        (service.inside / "taken.json").unlink(missing_ok=True)
        (service.inside / "taken.json").write_text("precious")
        return save(engine, path)

    assert service.post("/save", "taken.json") == 200
    monkeypatch.setattr(ProceduralMemoryEngine, "save", slow)
    for name in ("free.json", "taken.json"):
        (service.inside / "free.json").unlink(missing_ok=True)
        if name == "taken.json":
            save(service.engine, service.inside / name)
        assert service.post("/save", name) == 403
        assert (service.inside / name).read_text() == "precious"
    assert sorted(item.name for item in service.inside.iterdir()) == ["free.json", "taken.json"]


def test_odd_names_show_nothing_of_the_server(service: Service) -> None:
    """A refusal names what the client named, whatever that holds; a name that is too long is said to be that."""
    for name in ("a\\b'c.json", "\x7f.json", "ü\n.json", "'.pkl"):
        (service.inside / name).write_text("garbage")
        assert service.post("/load", name) == 422, name
    for length in (240, 300):
        assert service.post("/save", "x" * length + ".json") in (200, 403)
        assert service.post("/load", "x" * length + ".json") in (200, 403)
