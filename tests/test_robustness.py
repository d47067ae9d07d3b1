"""What must hold when things interleave: several engines, open sessions, callbacks, slow and broken embedders."""

from __future__ import annotations

import gc
import itertools
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from said import said

from procedural_memory import (
    ClosedError,
    InvalidInputError,
    LexicalEmbedder,
    ProceduralMemoryEngine,
    SessionConflictError,
)
from procedural_memory.embedding.select import Selection
from procedural_memory.memory.nearest import usearch_installed
from procedural_memory.memory.vectors import VectorIndex
from procedural_memory.storage.base import Delta, context_key
from procedural_memory.storage.sqlite import SQLiteStore


def fresh(path: Path | None = None, **options: Any) -> ProceduralMemoryEngine:
    """Return an engine without a model."""
    return ProceduralMemoryEngine(path=path, **{"embedder": "lexical", **options})


class Wrapped:
    """An embedder of the user's own: lexical vectors, slowed down or spoiled on demand."""

    def __init__(self, delay: float = 0.0, spoil: Any = None) -> None:
        self._inner = LexicalEmbedder()
        self.delay = delay
        self.spoil = spoil
        self.busy = 0
        self.most_busy = 0
        self.name = "wrapped"

    @property
    def dimension(self) -> int:
        """As the wrapped one."""
        return self._inner.dimension

    @property
    def fingerprint(self) -> str:
        """A space of its own."""
        return self.name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed, slowly or wrongly."""
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        time.sleep(self.delay)
        self.busy -= 1
        rows = self._inner.embed(texts)
        return rows if self.spoil is None else self.spoil(rows)


# -- live sessions


def test_forgotten_session_takes_no_more_steps(engine: ProceduralMemoryEngine) -> None:
    """A session that was forgotten while open says so, and writes into no other one."""
    live = engine.session(session_id="live")
    live.record("ls")
    engine.forget(session="live")
    other = engine.session(session_id="other")
    other.record("git status")
    for call in (lambda: live.record("echo stray"), live.predict, live.close):
        with pytest.raises(ClosedError, match="'live' was forgotten or replaced"):
            call()
    assert engine.stats()["command_count"] == 1


def test_open_session_forgets_what_is_forgotten(engine: ProceduralMemoryEngine) -> None:
    """After forgetting a step an open session proposes it no more, and goes on."""
    with engine.session(cwd="/src") as live:
        for command in ("cat draftplan.txt", "make", "cat draftplan.txt", "make"):
            live.record(command)
        assert "draftplan" in repr(live.predict())
        engine.forget(containing="draftplan")
        assert "draftplan" not in repr(live.predict())
        live.record("make test")
    assert [p.templates for p in engine.patterns.values()] == [("make", "make", "make test")]


def test_loading_replaces_open_sessions(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A session that was open when the memory was replaced does not write into the new one."""
    with fresh() as other:
        other.learn_workflow(["a", "b", "c"])
        path = other.save(tmp_path / "m.pkl")
    live = engine.session()
    live.record("ls")
    engine.load(path)
    with pytest.raises(ClosedError, match="forgotten or replaced"):
        live.record("stray")
    assert engine.stats()["command_count"] == 3


def test_closing_from_two_threads_counts_once(engine: ProceduralMemoryEngine) -> None:
    """However many threads close a session, its outcome is credited once and all get the same id."""
    for _ in range(20):
        live = engine.session()
        for command in ("make", "make test", "git push"):
            live.record(command)
        barrier = threading.Barrier(4)
        ids: list[str | None] = []

        def close(live: Any = live, barrier: Any = barrier, ids: Any = ids) -> None:
            barrier.wait()
            ids.append(live.close("success"))

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 1
    (pattern,) = engine.patterns.values()
    assert pattern.success_count == 20


def test_open_sessions_are_merged_when_they_end(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A session that goes on elsewhere is taken over once, when it is closed; merging before does no harm."""
    with fresh() as other:
        live = other.session(session_id="s")
        live.record("git pull")
        assert engine.merge(other) == 0
        halfway = other.save(tmp_path / "halfway.pkl")
        live.record("make")
        live.record("make test")
        live.close("success")
        assert engine.merge(other) == 1
        assert engine.merge(other) == 0
        assert engine.load(halfway, mode="merge").sessions == 0
        assert [p.success_count for p in engine.patterns.values()] == [1]
        with fresh() as third:  # a snapshot of the open session, completed by the closed one
            third.load(halfway)
            assert third.merge(other) == 1
            assert dict(third.patterns) == dict(engine.patterns)
            clash = fresh()
            clash.session(session_id="s").record("something else")
            with pytest.raises(SessionConflictError, match="open session with different content"):
                clash.merge(other)


def test_live_session_begins_with_its_first_step() -> None:
    """A replay of old steps stands in time where a batch of them would."""
    steps = [{"command": c, "timestamp": 1e9 + i} for i, c in enumerate(["make", "make test", "ls"])]
    with fresh() as live, fresh() as batch:
        batch.learn_workflow(steps, session_id="s")
        with live.session(session_id="s") as session:
            for step in steps:
                session.record(step)
            session.close("success")
        assert live.merge(batch) == 0
        assert [row.start for row in live._store.sessions()] == [1e9]


def test_many_interleaved_sessions_equal_batches() -> None:
    """Sessions that take turns, more than are remembered at once, give the counts of batches."""
    with fresh() as live, fresh() as batch:
        live._deriver._live.clear()
        sessions = [live.session(session_id=f"s{i}") for i in range(40)]
        live_limit = 8
        for step in range(4):
            for i, session in enumerate(sessions):
                session.record(f"step{(i + step) % 5} run")
                if i % live_limit == 0:
                    live.predict_next_action([])
                    live._deriver.forget()  # as if evicted, or begun by another process
        for session in sessions:
            session.close("failure")
        batch.learn_many(
            {"commands": [f"step{(i + s) % 5} run" for s in range(4)], "outcome": "failure", "session_id": f"s{i}"}
            for i in range(40)
        )
        assert live.causal_chains == batch.causal_chains
        assert {k: v.failure_count for k, v in live.patterns.items()} == {
            k: v.failure_count for k, v in batch.patterns.items()
        }


# -- several engines on one file


def test_two_engines_share_one_file(tmp_path: Path) -> None:
    """Forgetting in one engine does not make another write wrong texts or lose patterns."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as a, fresh(path) as b:
        a.learn_workflow(["git add .", "git commit", "git push"])
        b.learn_workflow(["npm ci", "npm test", "npm publish"], session_id="n")
        a.stats()
        a.forget(session="n")
        a.learn_workflow(["docker build .", "docker tag a b", "docker login"])
        again = b.learn_workflow(["npm ci", "npm test", "npm publish"], session_id="n2")
        assert again is not None
        assert a.patterns[again].command_sequence == ("npm ci", "npm test", "npm publish")

        live = a.session()
        live.record("one x")
        live.record("two x")
        a.stats()
        live.record("three x")
        b.stats()
        live.record("four x")
        b.stats()
        pattern_id = live.close("success")
        assert pattern_id is not None
        assert a.patterns[pattern_id].templates == b.patterns[pattern_id].templates
        assert len(a.patterns[pattern_id].templates) == 4


def test_forgotten_text_leaves_the_write_ahead_log(tmp_path: Path) -> None:
    """What was forgotten cannot be read from any file of the store while it is open either."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as engine:
        engine.learn_workflow(["make", "cat very-private-name.txt", "ls"])
        engine.flush()
        engine.forget(containing="very-private-name")
        assert b"very-private-name" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_saving_onto_the_memory_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot never replaces the file that the memory lives in."""
    path = tmp_path / "store.pkl"
    with fresh(path) as engine:
        engine.learn_workflow(["a", "b", "c"])
        with pytest.raises(InvalidInputError, match="is the memory itself"):
            engine.save(path)
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(InvalidInputError, match="is the memory itself"):
            engine.save("~/store.pkl")
    with fresh(path) as engine:
        assert len(engine) == 1


def test_a_memory_is_one_file_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of the folder in which the engine was made."""
    monkeypatch.chdir(tmp_path)
    with fresh(Path("store.pkl")) as engine:
        engine.learn_workflow(["a", "b", "c"])
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "store.pkl").touch()
        assert engine.save("store.pkl").stat().st_size > 0
        assert engine.stats()["path"] == str(tmp_path / "store.pkl")


# -- the order of learning does not matter


def test_predictions_do_not_depend_on_the_order_of_learning() -> None:
    """Four hundred sessions, shuffled: every expert says the same, and similar patterns are the same, ties included."""
    draw = random.Random(4)
    tools = [f"tool{i}" for i in range(12)]
    sessions = [
        {
            "session_id": f"s{i}",
            "outcome": draw.choice(["success", "failure"]),
            "commands": [
                {"command": f"{draw.choice(tools)} --flag{draw.randrange(9)}", "timestamp": 1e9 + 1000 * i + k}
                for k in range(5)
            ],
        }
        for i in range(400)
    ]
    answers = []
    for seed in (1, 2):
        random.Random(seed).shuffle(sessions)
        with fresh() as engine:
            engine.learn_many(sessions)
            engine.flush()
            contexts = [["tool1 --flag1"], ["tool2 --flag3", "tool5 --flag0"], []]
            answers.append(
                [
                    (
                        *said(engine, c),
                        [m.pattern_id for m in engine.similar_patterns(c or ["tool1 --flag1"], k=10, threshold=0.1)],
                    )
                    for c in contexts
                ]
            )
    for one, two in zip(*answers, strict=True):
        # Candidates are the most promising ones: at the edge of the list the order in which sums were taken may tell.
        shared = one[0].keys() & two[0].keys()
        assert len(shared) >= 0.9 * max(len(one[0]), len(two[0]))
        for template in shared:
            assert one[0][template] == pytest.approx(two[0][template])
        assert one[2] == two[2]


def test_untimed_sessions_keep_the_earlier_place(engine: ProceduralMemoryEngine) -> None:
    """Sessions without times that two memories learned in different order: merges agree, whichever comes first."""
    first, second = (["make", "old way", "x"], "s1"), (["make", "new way", "x"], "s2")
    with fresh() as a, fresh() as b, fresh() as other:
        for commands, name in (first, second):
            a.learn_workflow(commands, session_id=name)
        for commands, name in (second, first):
            b.learn_workflow(commands, session_id=name)
        engine.merge(a)
        engine.merge(b)
        other.merge(b)
        other.merge(a)
        starts = [[(row.session_id, row.start) for row in e._store.sessions()] for e in (engine, other)]
        assert starts[0] == starts[1]
        assert said(engine, ["make"]) == said(other, ["make"])


def test_the_same_workflow_is_found_among_thousands(engine: ProceduralMemoryEngine) -> None:
    """However many patterns share its tools, the very same workflow comes first with similarity 1."""
    old = ["git add .", "git commit -m x", "git push --force-with-lease"]
    pattern_id = engine.learn_workflow(old)
    engine.learn_many(["git add .", "git commit -m x", f"git push --flag{i}"] for i in range(700))
    (best,) = engine.similar_patterns(old, k=1)
    assert best.pattern_id == pattern_id
    assert best.similarity == pytest.approx(1.0)


def test_the_same_workflow_is_found_among_all_its_orders(engine: ProceduralMemoryEngine) -> None:
    """Among 720 workflows of the same six commands each is found as itself, whatever is cut before the alignment."""
    steps = ["git pull", "make build", "npm test", "docker ps", "cargo check", "terraform plan"]
    ids = engine.learn_many(list(order) for order in itertools.permutations(steps))
    for place in (0, 123, 359, 511, 719):
        query = next(itertools.islice(itertools.permutations(steps), place, None))
        (best,) = engine.similar_patterns(query, k=1)
        assert best.pattern_id == ids[place]
        assert best.similarity == pytest.approx(1.0)


def test_a_very_long_workflow_is_searched_up_to_a_limit(
    engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One search takes bounded time and memory, however long a workflow is: its beginning is what is aligned."""
    monkeypatch.setattr("procedural_memory.memory.patterns.MAX_STEPS", 40)
    steps = [f"tool{i} run" for i in range(100)]
    engine.learn_workflow(steps)
    (found,) = engine.similar_patterns(steps[:5], threshold=0.9)
    assert (found.start, found.end) == (0, 5)
    assert found.pattern.templates == tuple(steps)
    assert engine.similar_patterns(steps[60:65], threshold=0.9) == []


def test_content_counts_not_who_told_of_it(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """The same session told by another source, or from a folder that has become a repository, is no conflict."""
    steps = [{"command": c, "cwd": str(tmp_path / "sub")} for c in ("a", "b", "c")]
    engine.learn_workflow(steps, session_id="s", source="history")
    (tmp_path / ".git").mkdir()
    engine.learn_workflow([{**s, "project": "named"} for s in steps], session_id="s", source="hook")
    assert engine.stats()["session_count"] == 1


# -- callbacks and generators


def test_progress_may_read_and_flush_but_not_close() -> None:
    """A progress callback may ask the engine; closing from it is refused, and everything is undone."""
    with ProceduralMemoryEngine(embedder=Wrapped(delay=0.05)) as engine:
        engine.learn_workflow(["a", "b", "c"])
        seen: list[Any] = []
        engine.learn_many(
            [["d", "e", "f"]], progress=lambda n: seen.append((n, engine.flush(), engine.predict_next_action(["a"])))
        )
        assert seen[0][0] == 1
        with pytest.raises(InvalidInputError, match="must not be called from within learn_many"):
            engine.learn_many([["g", "h", "i"]], progress=lambda n: engine.close())
        assert engine.stats()["session_count"] == 2


def test_a_slow_source_keeps_nobody_waiting(engine: ProceduralMemoryEngine) -> None:
    """While a generator is slow, other threads learn and predict."""
    engine.learn_workflow(["a", "b", "c"])
    release = threading.Event()

    def slow() -> Iterator[list[str]]:
        release.wait(20)
        yield ["d", "e", "f"]

    thread = threading.Thread(target=lambda: engine.learn_many(slow()))
    thread.start()
    assert engine.predict_next_action(["a"])
    assert len(engine) == 1
    release.set()
    thread.join()
    assert len(engine) == 2


def test_a_source_that_fails_leaves_nothing(engine: ProceduralMemoryEngine) -> None:
    """An error of the caller's own generator passes through, and nothing was learned."""

    def broken() -> Iterator[list[str]]:
        yield ["a", "b", "c"]
        raise KeyError("source")

    with pytest.raises(KeyError):
        engine.learn_many(broken())
    assert engine.stats()["session_count"] == 0


# -- embedders


def test_users_own_embedder_is_used() -> None:
    """An object with embed, dimension and fingerprint serves; it is asked by one thread at a time."""
    own = Wrapped(delay=0.02)
    with ProceduralMemoryEngine(embedder=own) as engine:
        engine.learn_workflow(["docker compose up -d", "docker compose logs", "docker compose down"])
        threads = [
            threading.Thread(target=engine.similar_patterns, args=([f"docker compose ps {i}"],)) for i in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert engine.flush() == 0
        assert engine.stats()["embedder"]["fingerprint"] == "wrapped"
    assert own.most_busy == 1


def test_prediction_does_not_wait_for_a_query_being_embedded() -> None:
    """While one thread waits for the model in similar_patterns, another predicts."""
    own = Wrapped()
    with ProceduralMemoryEngine(embedder=own) as engine:
        engine.learn_workflow(["a", "b", "c"])
        engine.flush()
        own.delay = 3.0
        thread = threading.Thread(target=engine.similar_patterns, args=(["something new"],))
        thread.start()
        while not own.busy:
            time.sleep(0.001)
        assert engine.predict_next_action(["a"])
        assert own.busy  # the model was still at work when the prediction came
        thread.join()


def _boom(rows: Any) -> Any:
    raise RuntimeError("no model today")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda rows: rows[:, :-1], "(3, 255), expected 3 x 256"),
        (lambda rows: rows[:-1], "(2, 256), expected 3 x 256"),
        (lambda rows: rows * np.nan, "Wrapped gave"),
        (lambda rows: rows * 0, "length zero"),
        (_boom, "no model today"),
    ],
)
def test_a_broken_embedder_degrades_to_counts(spoil: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wrong shapes, numbers, exceptions: said, never stored; predictions and searches go on; mended, it serves."""
    own = Wrapped(spoil=spoil)
    with ProceduralMemoryEngine(embedder=own) as engine:
        engine.learn_workflow(["a", "b", "c"])
        assert engine.flush() == 3
        assert engine.predict_next_action(["a"], top_k=1)[0].next_command == "b"
        assert engine.similar_patterns(["a", "b", "c"])
        assert problem in engine.stats()["embedder"]["problem"]
        assert "counts alone" in caplog.text
        own.spoil = None
        assert engine.flush() == 0
        assert engine.stats()["embedder"]["problem"] is None


def test_spaces_are_never_mixed(tmp_path: Path) -> None:
    """``auto`` keeps to the space of the store; another embedder by name embeds everything again."""
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder=Wrapped()) as engine:
        engine.learn_workflow(["a", "b", "c"])
        assert engine.flush() == 0
    with ProceduralMemoryEngine(path=path) as engine:  # nobody here can load "wrapped"
        engine.learn_workflow(["d", "e", "f"])
        status = engine.stats()["embedder"]
        assert (status["name"], status["fingerprint"], status["pending"]) == ("cached", "wrapped", 3)
    with fresh(path) as engine:
        assert engine.flush() == 0
        assert engine.stats()["embedder"]["fingerprint"] == "lexical-v1-d256"
        assert engine._store.count_vectors("wrapped") == 3
        assert engine._store.count_vectors("lexical-v1-d256") == 6


def test_a_space_that_must_stay_is_not_changed() -> None:
    """An embedder that turns into another one is refused where the space must stay; nothing of it is stored."""
    own = Wrapped()
    store = SQLiteStore()
    index = VectorIndex(store, Selection(own, "custom", "a test"), keep=True)
    unigram = Delta()
    unigram.context(context_key(())).follow(unigram.id_of("ls"))
    store.apply(unigram, 0)
    own.name = "turned"
    assert index.flush() == 1
    assert index.problem is not None
    assert "must stay wrapped, not become turned" in index.problem
    assert store.count_vectors("turned") == 0


def test_reopened_store_embeds_what_was_left(tmp_path: Path) -> None:
    """Templates that had no vector when the process ended get one in the next."""
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder=Wrapped(spoil=_boom)) as engine:
        engine.learn_workflow(["a", "b", "c"])
        engine.flush()
    with fresh(path) as engine:
        for _ in range(200):
            if not engine.stats()["embedder"]["pending"]:
                break
            time.sleep(0.05)
        assert engine.stats()["embedder"]["pending"] == 0


def test_damaged_vectors_of_a_snapshot_are_made_again(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Vectors of a file are a cache: those of wrong length or wrong numbers are embedded again."""
    import pickle

    with fresh() as source:
        source.learn_workflow(["git add .", "git commit", "git push"])
        source.flush()
        path = source.save(tmp_path / "m.pkl")
    content = pickle.loads(path.read_bytes())
    (rows,) = content["vectors"].values()
    names = sorted(rows)
    good = rows[names[0]]
    rows[names[0]], rows[names[1]] = good[:8], np.full(256, np.nan, dtype=np.float32).tobytes()
    path.write_bytes(pickle.dumps(content))
    engine.load(path)
    assert engine.flush() == 0
    number = engine._store.template_ids(names)[names[0]]
    assert dict(engine._store.vectors(engine.stats()["embedder"]["fingerprint"]))[number] == good
    assert engine.similar_patterns(["git add .", "git commit", "git push"])


def test_a_saved_memory_predicts_as_before(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """After save and load every prediction is the same: vectors and their scale included."""
    contexts = [["git status"], ["uv run pytest -q", "vim src/orders/api.py"], ["docker compose up -d"]]
    path = learned.save(tmp_path / "m.pkl")
    with fresh() as loaded:
        loaded.load(path)
        loaded.flush()
        for context in contexts:
            assert loaded.predict_next_action(context) == learned.predict_next_action(context)


def test_engines_leave_no_threads_behind() -> None:
    """Engines that are dropped without being closed end their workers."""
    before = threading.active_count()
    for _ in range(10):
        fresh().learn_workflow(["a", "b", "c"])
    gc.collect()
    for _ in range(200):
        if threading.active_count() <= before:
            break
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_opening_looks_for_templates_without_vectors_only_where_there_may_be_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory whose vectors are whole is opened without a look at each template, one of a killed process is not."""
    asked: list[str] = []
    looks = SQLiteStore.missing_vectors

    def watched(store: SQLiteStore, fingerprint: str, limit: int) -> list[tuple[int, str]]:
        asked.append(fingerprint)
        return looks(store, fingerprint, limit)

    monkeypatch.setattr(SQLiteStore, "missing_vectors", watched)
    path = tmp_path / "m.sqlite3"

    def opened() -> tuple[int, int]:
        asked.clear()
        with fresh(path=path) as engine:
            worker = engine._vectors._worker
            if worker is not None:
                worker.join()
            return len(asked), engine.stats()["embedder"]["pending"]

    with fresh(path=path) as engine:
        engine.learn_many([[f"tool{i} build", f"tool{i} test", f"tool{i} push"] for i in range(9)])
        engine.flush()
    assert opened() == (0, 0)
    with fresh(path=path) as engine:
        monkeypatch.setattr(engine._vectors, "notify", lambda: None)
        engine.learn_workflow(["new build", "new test", "new push"])
        assert engine.stats()["embedder"]["pending"] == 3
    looked, pending = opened()
    assert looked > 0
    assert pending == 0
    assert opened() == (0, 0)
    with fresh(path=path) as engine:
        monkeypatch.setattr(engine._vectors, "notify", lambda: None)
        engine.forget(containing="tool1")
        engine.learn_workflow(["other build", "other test", "other push"])
    assert opened()[1] == 0  # as many templates, of another generation


def test_an_empty_memory_asks_nothing_of_a_model(tmp_path: Path) -> None:
    """A model may have to be loaded, or fetched: not before there is something to embed."""
    embedder = Wrapped()
    for path in (None, tmp_path / "m.sqlite3", tmp_path / "m.sqlite3"):
        with fresh(path=path, embedder=embedder) as engine:
            assert engine.flush() == 0
            assert engine._vectors._worker is None
    assert embedder.most_busy == 0


def test_neighbours_stay_right_where_an_index_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that grows beyond what is compared one by one, and what comes after."""
    if not usearch_installed():
        pytest.skip("needs pip install 'omnimemory-procedural[index]'")
    monkeypatch.setattr("procedural_memory.memory.vectors.EXACT", 60)
    chance = random.Random(1)
    words = ["git", "docker", "npm", "cargo", "make", "ls", "cat", "echo", "grep", "find", "sed", "awk", "tar"]
    words += ["curl", "ssh", "kubectl", "helm", "go", "pip", "uv"]
    with fresh() as engine:
        for number in range(40):
            lines = []
            for _ in range(6):
                start = f"{chance.choice(words)} {chance.choice(words)}x{number}{chance.randrange(1000)}"
                lines.append(f"{start} --{chance.choice(words)}")
            engine.learn_workflow(lines)
            assert engine.flush() == 0
            assert engine.stats()["embedder"]["problem"] is None
        assert engine._store.unlinked(engine.stats()["embedder"]["fingerprint"]) == []


def test_neighbours_know_what_another_process_links_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists that were made before another process added templates are made again."""
    path = tmp_path / "m.sqlite3"
    with fresh(path=path) as one, fresh(path=path) as two:
        for engine in (one, two):
            monkeypatch.setattr(engine._vectors, "notify", lambda: None)
        one.learn_workflow(["git pull", "git add .", "git push"])
        nearest = one._vectors._nearest

        def interrupted(*given: Any) -> Any:
            found = nearest(*given)
            monkeypatch.setattr(one._vectors, "_nearest", nearest)
            two.learn_workflow(["npm ci", "npm test", "npm publish"])
            two.flush()
            return found

        monkeypatch.setattr(one._vectors, "_nearest", interrupted)
        one.flush()
        store, fingerprint = one._store, one.stats()["embedder"]["fingerprint"]
        assert {len(store.neighbours(fingerprint, number)) for number in store.vector_ids(fingerprint)} == {5}


def test_a_note_on_vectors_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Another process writes for long: what it cannot be told of now is written another time."""
    path = tmp_path / "m.sqlite3"
    with fresh(path=path) as engine:
        engine.learn_workflow(["git pull", "git add .", "git push"])
        engine.flush()
        engine._store.clear_meta("embedded")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with fresh(path=path) as engine:
            worker = engine._vectors._worker
            if worker is not None:
                worker.join(5)
                assert not worker.is_alive()
            assert engine.stats()["embedder"]["problem"] is None


def test_a_read_within_a_read_sees_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another process records a step just when the first one begins."""
    path = tmp_path / "m.sqlite3"
    with fresh(path=path) as one, fresh(path=path) as two:
        two.learn_workflow(["git pull", "git add .", "git push"])
        live, catch_up = two.session(), one._catch_up

        def late(*given: Any, **named: Any) -> None:
            catch_up(*given, **named)
            live.record("ls")

        live.record("ls")
        monkeypatch.setattr(one, "_catch_up", late)
        assert [pattern.templates for _, pattern in one.patterns.items()] == [("git pull", "git add .", "git push")]
        assert one.patterns.page(5)[1]
        live.close()


def test_neighbours_are_those_of_all_templates_however_they_came(tmp_path: Path) -> None:
    """One by one, from two memories on one file, some forgotten: the lists that all at once would have."""
    path = tmp_path / "m.sqlite3"
    chance = random.Random(5)
    words = [f"{a}{b}{c}" for a in ("ba", "co", "di") for b in ("fu", "ga", "ho") for c in ("ki", "lu", "ma", "no")]
    sessions = [
        [f"{chance.choice(words)} {chance.choice(words)} --{chance.choice(words)}" for _ in range(3)] for _ in range(60)
    ]

    def cosines(engine: ProceduralMemoryEngine) -> dict[str, list[float]]:
        store, fingerprint = engine._store, engine.stats()["embedder"]["fingerprint"]
        texts = [text for text, _ in store.template_counts()]
        found = {text: store.neighbours(fingerprint, number) for text, number in store.template_ids(texts).items()}
        return {text: [cosine for _, cosine in pairs] for text, pairs in found.items()}

    with fresh(path=path) as one, fresh(path=path) as two:
        for number, session in enumerate(sessions):
            engine = one if number % 3 else two
            engine.learn_workflow(session, session_id=str(number))
            engine.flush()
            if number in (30, 45):
                two.forget(session=str(number - 3))
                two.flush()
        grown = cosines(one)
    with fresh() as whole:
        kept = [number for number in range(len(sessions)) if number not in (27, 42)]
        whole.learn_many({"commands": sessions[number], "session_id": str(number)} for number in kept)
        whole.flush()
        made = cosines(whole)
        assert len(grown) > 150
        assert grown.keys() == made.keys()
        # A product of other shape rounds the last bits otherwise.
        for text, expected in made.items():
            assert grown[text] == pytest.approx(expected, abs=1e-5)


def test_patterns_can_be_listed_while_some_are_forgotten(engine: ProceduralMemoryEngine) -> None:
    """A loop over the patterns sees those that were there when it began."""
    engine.learn_many([f"make a{i}", f"make b{i}", f"make c{i}"] for i in range(9))
    seen = []
    for pattern_id, pattern in engine.patterns.items():
        seen.append(pattern.templates)
        engine.forget(pattern=pattern_id)
        engine.forget(containing="make a")
    assert len(seen) == 9
    assert len(engine.patterns) == 0


def test_closing_under_a_flush_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush whose engine is closed while it embeds says that the engine is closed, not that the store is broken."""
    monkeypatch.setattr("procedural_memory.memory.vectors._PATIENCE", 0.0)
    engine = fresh(embedder=Wrapped(delay=0.3))
    engine.learn_workflow(["git pull", "make", "git push"])
    threading.Timer(0.1, engine.close).start()
    with pytest.raises(ClosedError, match="closed"):
        engine.flush()
    assert "closed" in repr(engine)


FORK = """
import os, sys, threading
from procedural_memory import ClosedError, ProceduralMemoryEngine, StorageError
engine = ProceduralMemoryEngine(path=sys.argv[1] or None, embedder="lexical")
session = engine.session()
held, done = threading.Event(), threading.Event()
hold = lambda _: (held.set(), done.wait(10))
thread = threading.Thread(target=lambda: engine.learn_many([["make a", "make b", "make c"]], progress=hold))
thread.start()
held.wait()
child = os.fork()
if child == 0:
    said = 0
    for call in (engine.stats, lambda: len(engine.patterns), lambda: session.record("ls"), engine.flush):
        try:
            call()
        except ClosedError as error:
            said += "belongs to the process that made it" in str(error)
    engine.close()
    try:
        with ProceduralMemoryEngine(path=sys.argv[1] or None, embedder="lexical") as own:
            said += len(own) == 0 and not sys.argv[1]
    except StorageError as error:  # the file was in the middle of a change
        said += "was using the memory" in str(error)
    os._exit(said)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
thread.join()
assert len(engine) == 1
print("said", code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("durable", [False, True])
def test_a_forked_engine_says_so(tmp_path: Path, durable: bool) -> None:
    """In a forked process a copied engine neither hangs on a lock that was held nor touches the store."""
    path = str(tmp_path / "m.sqlite3") if durable else ""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "said 5\n", ran.stderr


# -- numbers at the edge


@pytest.mark.parametrize(
    "item",
    [
        {"command": "ls", "duration_ms": 1e300},
        {"command": "ls", "exit_code": 10**400},
        {"command": "ls", "timestamp": 10**400},
        {"command": "ls", "timestamp": np.array([1, 2])},
        {"command": "ls", "actor": np.array(["human"])},
    ],
)
def test_extreme_numbers_are_refused(engine: ProceduralMemoryEngine, item: dict[str, Any]) -> None:
    """Numbers that no store could keep are our errors, and the memory goes on."""
    with pytest.raises(InvalidInputError, match=r"session_commands\[0\]"):
        engine.learn_workflow([item, "b", "c"])
    assert engine.predict_next_action(["ls"]) == []


def test_numbers_and_paths_of_other_libraries_are_taken(engine: ProceduralMemoryEngine) -> None:
    """numpy integers, paths and datetimes mean what they say."""
    from datetime import datetime, timezone

    step = {
        "command": "ls",
        "exit_code": np.int64(0),
        "cwd": Path("/src"),
        "timestamp": datetime(2026, 1, 1, tzinfo=timezone.utc),
    }
    engine.learn_workflow((step, step, step))
    assert len(engine.predict_next_action(["ls"], top_k=int(np.int64(1)))) == 1
    (row,) = engine._store.sessions()
    stored = engine._store.steps(row.id)[0]
    assert (stored.cwd, stored.exit_code, stored.timestamp) == ("/src", 0, 1767225600.0)


# -- found by a second look


def test_progress_may_search_while_the_worker_is_busy() -> None:
    """A search from a progress callback does not wait for the worker, which waits for the batch."""
    with ProceduralMemoryEngine(embedder=Wrapped(delay=0.3)) as engine:
        engine.learn_workflow(["a", "b", "c"])
        done = threading.Event()

        def search(count: int) -> None:
            time.sleep(0.1)
            engine.similar_patterns(["docker build ."])
            with pytest.raises(InvalidInputError, match="may read, but not change"):
                engine.forget(containing="a")
            done.set()

        thread = threading.Thread(target=engine.learn_many, args=([["d", "e", "f"]],), kwargs={"progress": search})
        thread.daemon = True
        thread.start()
        assert done.wait(30)
        thread.join(30)
        assert len(engine) == 2


@pytest.mark.parametrize(
    "when", ["missing_vectors", "count_templates", "unlinked", "vectors_of", "count_vectors", "vectors", "floors"]
)
@pytest.mark.parametrize("change", ["forget", "rebuild", "learn"])
def test_neighbours_are_right_whatever_happens_meanwhile(when: str, change: str, monkeypatch: Any) -> None:
    """Forgetting, rebuilding or learning while neighbours are being made gives the lists of a memory made at once."""
    first = ["git add .", "git commit", "git push"]
    other = ["git add -A", "git commit -a", "git push -f"]
    changes = {
        "forget": lambda engine: engine.forget(session="z"),
        "rebuild": lambda engine: engine.rebuild(),
        "learn": lambda engine: engine.learn_workflow(["npm ci", "npm test", "git push -u"], session_id="late"),
    }
    with fresh() as engine, fresh() as calm:
        for each in (engine, calm):
            # Reads in the background would use up the interruption; here linking happens in flush alone.
            monkeypatch.setattr(each._vectors, "notify", lambda: None)
            each.learn_workflow(first)
        engine.flush()
        engine.learn_workflow(other, session_id="z")
        read = getattr(engine._store, when)

        def interrupted(*arguments: Any) -> Any:
            answer = read(*arguments)
            answer = list(answer) if when == "vectors" else answer
            monkeypatch.setattr(engine._store, when, read)
            changes[change](engine)
            return answer

        if when in ("vectors", "floors"):
            engine._vectors.reset()  # so that all of them are read anew
        if when == "unlinked":
            engine._store.clear_meta("embedded")  # so that each is looked at
        monkeypatch.setattr(engine._store, when, interrupted)
        engine.flush()
        assert getattr(engine._store, when) == read
        assert engine.flush() == 0
        if change != "forget":
            calm.learn_workflow(other, session_id="z")
        if change == "learn":
            changes[change](calm)
        assert calm.flush() == 0
        assert engine.stats()["embedder"]["problem"] is None
        known = {number for number, _ in calm._store.vectors("lexical-v1-d256")}
        assert {number for number, _ in engine._store.vectors("lexical-v1-d256")} == known
        for number in known:
            mine, theirs = (dict(each._vectors.neighbours(number)) for each in (engine, calm))
            assert mine == pytest.approx(theirs)
            assert len(mine) == len(known) - 1


def test_loading_while_the_worker_links(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A load into a memory whose worker is just at work leaves no problem behind."""
    path = learned.save(tmp_path / "memory.pkl")
    for _ in range(10):
        with fresh() as loaded:
            loaded.learn_workflow(["is", "replaced", "whole"])
            loaded.load(path)
            assert loaded.stats()["embedder"]["problem"] is None
            assert loaded.flush() == 0


@pytest.mark.parametrize("count", [499, 500, 501])
def test_a_batch_of_any_size_wakes_the_worker(engine: ProceduralMemoryEngine, count: int) -> None:
    """However many sessions are learned, their templates get vectors without a flush."""
    engine.learn_many([["a", "b", f"c{i % 3}"] for i in range(count)])
    for _ in range(400):
        if not engine.stats()["embedder"]["pending"]:
            break
        time.sleep(0.02)
    assert engine.stats()["embedder"]["pending"] == 0


def test_forgetting_leaves_new_sessions_alone(engine: ProceduralMemoryEngine) -> None:
    """A session that has no step yet is not forgotten with others; by its id it can be."""
    live = engine.session(session_id="empty")
    assert engine.forget(containing="nothing like it").steps == 0
    live.record("ls")
    engine.session(session_id="other")
    engine.forget(session="other")
    assert engine.stats()["session_count"] == 1


def test_a_failed_load_leaves_open_sessions_open(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """When a load fails, a session that is going on goes on."""
    import json

    record = {"session_id": "s", "start": 1.0, "commands": ["a", "b", "c"]}
    path = tmp_path / "m.json"
    sessions = [record, {**record, "commands": ["x", "y", "z"]}]
    path.write_text(json.dumps({"format": "procedural-memory", "version": 1, "sessions": sessions}))
    live = engine.session(cwd="/src")
    live.record("ls", output="see src/odd_name.py")
    with pytest.raises(SessionConflictError):
        engine.load(path)
    live.record("pwd")
    engine.rebuild()
    assert live._context.values.listed == ["src/odd_name.py"]
    live.close("success")


def test_two_engines_agree_after_forgetting_a_live_step(tmp_path: Path) -> None:
    """A step that another engine forgot does not come back into the counts."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as a, fresh(path) as b:
        live = b.session()
        for command in ("alpha x", "secretcmd x"):
            live.record(command)
        live.predict()
        live.record("gamma x")
        a.forget(template="secretcmd x")
        live.record("delta x")
        assert sorted(b.workflow_graph.edges) == [("alpha x", "gamma x"), ("gamma x", "delta x")]


def test_ids_with_secrets_are_redacted_everywhere(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Ids and sources are kept without secrets, from files as well, and can be forgotten as they were given."""
    import json

    name = "https://bob:hunter2secret@h.example/x"
    record = {"session_id": name, "source": name, "start": 1.0, "commands": ["a", "b", "c"]}
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"format": "procedural-memory", "version": 1, "sessions": [record]}))
    engine.load(path)
    assert "hunter2secret" not in repr(list(engine._store.sessions()))
    assert engine.forget(session=name).steps == 3
    engine.learn_workflow(["a", "b", "c"], source=name)
    assert engine.forget(source=name).steps == 3


def test_numbers_too_long_to_print_are_refused(engine: ProceduralMemoryEngine) -> None:
    """An integer that Python itself will not print is our error too."""
    with pytest.raises(InvalidInputError, match="exit_code: must be finite"):
        engine.learn_workflow([{"command": "ls", "exit_code": 10**5000}] * 3)
    with pytest.raises(InvalidInputError, match="top_k: must be at least 1"):
        engine.predict_next_action([], top_k=-(10**5000))
