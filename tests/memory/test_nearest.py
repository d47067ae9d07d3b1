"""The approximate index of large memories: nearly what comparing all gives, and never the truth."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.memory import nearest
from procedural_memory.memory.nearest import NearestIndex
from procedural_memory.storage.base import Delta, context_key
from procedural_memory.storage.sqlite import SQLiteStore

if not nearest.usearch_installed():
    pytest.skip("needs pip install 'omnimemory-procedural[index]'", allow_module_level=True)

Floats = NDArray[np.float32]
SPACE = "space"


def unit(rows: NDArray[np.float64]) -> Floats:
    """Return rows of unit length."""
    unit_rows: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit_rows


def scattered(count: int, seed: int = 1) -> Floats:
    """Return vectors without any order."""
    return unit(np.random.default_rng(seed).normal(size=(count, 48)))


def clustered(count: int, seed: int = 2) -> Floats:
    """Return vectors in tight groups, many of them all but equal, as templates of one tool are."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(max(1, count // 40), 48))
    return unit(centres[chance.integers(0, len(centres), count)] + 0.05 * chance.normal(size=(count, 48)))


def put(store: SQLiteStore, rows: Floats, first: int = 0) -> list[int]:
    """Give a store so many templates with these vectors; return their ids."""
    names = [f"tool{number}" for number in range(first, first + len(rows))]
    delta = Delta()
    for name in names:
        delta.context(context_key(())).follow(delta.id_of(name))
    store.apply(delta, 0)
    ids = store.template_ids(names)
    store.put_vectors(SPACE, {ids[name]: row.tobytes() for name, row in zip(names, rows, strict=True)})
    return [ids[name] for name in names]


def recall(index: NearestIndex, rows: Floats, ids: list[int], queries: Floats, k: int = 10) -> float:
    """Return which share of the `k` nearest ones the index finds."""
    cosines = queries @ rows.T
    found = index.search(SPACE, queries, k)
    right = 0
    for row, pairs in zip(cosines, found, strict=True):
        floor = np.sort(row)[-k] - 1e-6  # of those that are as near one is as good as another
        near = {ids[place] for place in np.flatnonzero(row >= floor)}
        right += sum(number in near for number, _ in pairs)
    return right / (k * len(queries))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "m.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    """A store in a file."""
    with closing(SQLiteStore(str(path), "normal")) as store:
        yield store


@pytest.mark.parametrize("make", [scattered, clustered])
@pytest.mark.parametrize("durable", [True, False])
def test_it_finds_nearly_what_comparing_all_finds(make: object, durable: bool, path: Path) -> None:
    """Recall of the ten nearest, in a file and in memory; exact cosines, best first."""
    rows = make(3_000)  # type: ignore[operator]
    with closing(SQLiteStore(str(path) if durable else None, "normal")) as store:
        ids, index = put(store, rows), NearestIndex(store)
        assert recall(index, rows, ids, rows[:200]) >= 0.98
        (pairs,) = index.search(SPACE, rows[7:8], 5)
        assert pairs[0][1] == pytest.approx(1.0, abs=1e-6)
        assert [cosine for _, cosine in pairs] == sorted((cosine for _, cosine in pairs), reverse=True)
        place = dict(zip(ids, range(len(ids)), strict=True))
        for number, cosine in pairs:
            assert cosine == pytest.approx(float(rows[7] @ rows[place[number]]), abs=1e-6)
        assert (index.path is not None and index.path.exists()) is durable


def test_the_file_is_private_and_used_again(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process need not build it."""
    rows = scattered(400)
    ids, index = put(store, rows), NearestIndex(store)
    first = index.search(SPACE, rows[:3], 4)
    assert index.path is not None
    assert index.path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(NearestIndex, "_build", lambda *_: pytest.fail("it was built again"))
    assert NearestIndex(store).search(SPACE, rows[:3], 4) == first
    assert recall(NearestIndex(store), rows, ids, rows[:50]) >= 0.98


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty", "gone", "folder"])
def test_a_file_that_does_not_fit_is_made_anew(damage: str, store: SQLiteStore, tmp_path: Path) -> None:
    """Cut off, with another byte, of another store, empty, gone: the answer is right, and the file is good again."""
    rows = clustered(500)
    ids, index = put(store, rows), NearestIndex(store)
    index.search(SPACE, rows[:1], 1)
    file = index.path
    assert file is not None
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        file.write_bytes(whole[:5_000] + bytes([whole[5_000] ^ 255]) + whole[5_001:])
    elif damage == "foreign":
        with closing(SQLiteStore(str(tmp_path / "other.sqlite3"), "normal")) as other:
            put(other, scattered(500, 9), 7_000)
            elsewhere = NearestIndex(other)
            elsewhere.search(SPACE, rows[:1], 1)
            assert elsewhere.path is not None
            file.write_bytes(elsewhere.path.read_bytes())
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
        if damage == "folder":
            file.mkdir()
    assert recall(NearestIndex(store), rows, ids, rows[:100]) >= 0.98
    if damage != "folder":  # then it stays in memory
        assert len(file.read_bytes()) > len(whole) // 2
        assert recall(NearestIndex(store), rows, ids, rows[:100]) >= 0.98


def test_what_others_add_is_found(store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once; a new file is made when there is enough of it."""
    monkeypatch.setattr(nearest, "_TAIL", 100)
    rows = scattered(1_000)
    ids, index = put(store, rows[:600]), NearestIndex(store)
    index.search(SPACE, rows[:1], 1)
    with closing(SQLiteStore(str(path), "normal")) as other:
        ids += put(other, rows[600:650], 600)
        assert recall(index, rows[:650], ids, rows[550:650]) >= 0.98
        assert index._tail is not None
        assert len(index._tail) == 50
        ids += put(other, rows[650:], 650)
        assert recall(index, rows, ids, rows[600:700]) >= 0.98
        assert len(index._tail) == 0
        assert recall(NearestIndex(other), rows, ids, rows[600:700]) >= 0.98


def test_another_space_and_generation_is_another_index(store: SQLiteStore) -> None:
    """Vectors of two spaces are not mixed; after a rebuild the file of before is not used."""
    rows = scattered(300)
    ids, index = put(store, rows), NearestIndex(store)
    store.put_vectors("other", {number: (-row).tobytes() for number, row in zip(ids, rows, strict=True)})
    assert index.search(SPACE, rows[:1], 1)[0][0][0] == ids[0]
    assert index.search("other", -rows[1:2], 1)[0][0][0] == ids[1]
    assert index.search(SPACE, rows[2:3], 1)[0][0][0] == ids[2]
    store.reset_derived()
    fresh = NearestIndex(store)
    assert fresh._loaded(SPACE, store.meta("generation")) is None


LINES = [f"{tool} {verb} --{thing}" for tool in ("frob", "zap", "kubectl") for verb in ("build", "run", "get", "sync")
         for thing in ("alpha", "beta", "gamma", "delta", "pods", "users", "logs", "nodes")]  # fmt: skip


def learned(path: Path | None) -> ProceduralMemoryEngine:
    """Return an engine that knows all of `LINES`."""
    engine = ProceduralMemoryEngine(path=path, embedder="lexical")
    engine.learn_many([{"commands": LINES[i : i + 4], "session_id": f"s{i}"} for i in range(0, len(LINES), 4)])
    assert engine.flush() == 0
    return engine


def neighbours(engine: ProceduralMemoryEngine) -> dict[str, list[str]]:
    """Return the ten nearest templates of each."""
    store, found = engine._store, {}
    for line in LINES:
        number = store.template_ids([line])[line]
        found[line] = store.template_texts([other for other, _ in engine._vectors.neighbours(number)[:10]])
    return found


def test_the_engine_uses_it_beyond_a_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbours of templates are those that comparing all gives; those that come later enter the lists."""
    with learned(None) as exact:
        right = neighbours(exact)
    monkeypatch.setattr("procedural_memory.memory.vectors.EXACT", 20)
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        for begin in (0, 48):
            engine.learn_many([{"commands": LINES[begin : begin + 48], "session_id": f"s{begin}"}])
            engine.flush()
        near = neighbours(engine)
        assert Path(f"{path}-nearest").exists()
        same = sum(len(set(near[line]) & set(right[line])) for line in LINES)
        assert same / (10 * len(LINES)) >= 0.9  # of those that are equally near there may be others


@pytest.mark.parametrize("exact", [20, 100_000])
def test_a_tool_that_no_pattern_has_finds_those_that_are_like_it(
    exact: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the vectors of its commands, where nothing else speaks for a pattern."""
    monkeypatch.setattr("procedural_memory.memory.vectors.EXACT", exact)
    with learned(path) as engine:
        found = engine.similar_patterns(["frobctl sync --alpha", "frobctl sync --beta", "frobctl sync --gamma"], 3, 0.0)
        assert found
        assert all("sync" in template for template in found[0].pattern.templates)
        assert found[0].similarity > 0.3


def test_what_was_forgotten_leaves_the_file_and_the_results(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file goes with the forgetting; another engine does not find it either."""
    monkeypatch.setattr("procedural_memory.memory.vectors.EXACT", len(LINES) - 4)  # what is left is compared
    query = ["frobctl sync --alpha", "frobctl sync --beta", "frobctl sync --gamma"]
    with learned(path) as engine, ProceduralMemoryEngine(path=path, embedder="lexical") as other:
        assert other.similar_patterns(query, 3, 0.0)
        file = Path(f"{path}-nearest")
        assert file.exists()
        engine.forget(containing="frob sync")
        engine.flush()
        assert not file.exists()
        gone = {f"frob sync --{thing}" for thing in ("alpha", "beta", "gamma", "delta")}
        for each in (engine, other):
            for match in each.similar_patterns(query, 99, 0.0):
                assert not gone & set(match.pattern.templates)


def test_mlx_works_beside_it(tmp_path: Path) -> None:
    """Also where it is loaded after the index: on a CPU it compiles what it computes."""
    pytest.importorskip("mlx.core", reason="needs pip install 'omnimemory-procedural[mlx]'")
    script = (
        "from procedural_memory.memory.nearest import usearch_installed; assert usearch_installed()\n"
        "import mlx.core as mx; print(mx.compile(lambda x: mx.exp(x) * 2 + 1)(mx.zeros((3,))).tolist())"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # nothing that was compiled before
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "[3.0, 3.0, 3.0]", done.stderr


def test_without_the_extra_all_are_compared(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Right as ever, and one line says what to install."""
    with learned(None) as engine:
        right = neighbours(engine)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setattr(nearest, "_told", False)
    monkeypatch.setattr("procedural_memory.memory.vectors.EXACT", 20)
    with caplog.at_level(logging.WARNING), learned(None) as engine:
        assert neighbours(engine) == right
        assert engine.similar_patterns(["frobctl sync --alpha", "frobctl sync --beta", "frobctl sync --gamma"], 3, 0.0)
    told = [record.getMessage() for record in caplog.records if "omnimemory-procedural[index]" in record.getMessage()]
    assert len(told) == 1
