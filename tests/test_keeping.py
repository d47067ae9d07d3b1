"""Saving, loading, merging, forgetting, rebuilding: the session log is the truth, everything else follows from it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from said import said

from procedural_memory import (
    InvalidInputError,
    ProceduralMemoryEngine,
    SessionConflictError,
    SnapshotError,
    SnapshotNotFoundError,
    StorageError,
)
from procedural_memory.samples import load_sessions
from procedural_memory.types import Verdict

COMMANDS = ["git pull", "make", "make test", "git push", "cat a.py", "cat b.py", "vim a.py", "npm ci"]
CONTEXTS = [[], ["git pull"], ["make", "make test"], ["cat a.py"]]


def view(engine: ProceduralMemoryEngine) -> dict[str, Any]:
    """Everything that a user can see of a memory."""
    engine.flush()
    graph = engine.workflow_graph
    stats = engine.stats()
    return {
        "patterns": dict(engine.patterns),
        "nodes": dict(graph.nodes(data=True)),
        "edges": {(a, b): d for a, b, d in graph.edges(data=True)},
        "chains": engine.causal_chains,
        "predictions": [engine.predict_next_action(context, top_k=8) for context in CONTEXTS],
        "sizes": {name: value for name, value in stats.items() if name.endswith("_count")},
        "explained": engine.explain_outcome(COMMANDS),
        "outcomes": [engine.predict_outcome(context) for context in CONTEXTS],
    }


def fresh() -> ProceduralMemoryEngine:
    """An empty engine."""
    return ProceduralMemoryEngine(embedder="lexical")


sessions = st.lists(
    st.fixed_dictionaries(
        {
            "commands": st.lists(
                st.fixed_dictionaries(
                    {"command": st.sampled_from(COMMANDS), "exit_code": st.sampled_from([None, 0, 1])}
                ),
                min_size=3,
                max_size=6,
            ),
            "outcome": st.sampled_from(["success", "failure", None]),
            "start": st.integers(1_000_000_000, 1_000_000_003),
        }
    ),
    max_size=6,
)


def named(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give sessions ids and times, as a source would."""
    made = []
    for i, item in enumerate(items):
        first, *rest = item["commands"]
        made.append({**item, "session_id": f"s{i}", "commands": [{**first, "timestamp": item["start"]}, *rest]})
    return made


def close(a: Any, b: Any) -> bool:
    """Equality up to the last bits of a float: sums are taken in another order."""
    if isinstance(a, float) and isinstance(b, float):
        return a == pytest.approx(b, abs=1e-9)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def same_counts(a: ProceduralMemoryEngine, b: ProceduralMemoryEngine) -> None:
    """Assert that two memories hold exactly the same counts, and that each expert says the same of each candidate."""
    one, two = view(a), view(b)
    for name in ("patterns", "nodes", "edges", "chains", "sizes", "explained", "outcomes"):
        assert one[name] == two[name], name
    for context in CONTEXTS:
        assert close(said(a, context), said(b, context))


@settings(max_examples=25, deadline=None)
@given(sessions, st.integers(0, 6))
def test_merge_equals_learning_the_union(items: list[dict[str, Any]], cut: int) -> None:
    """Merging two memories, in either order, gives what learning all their sessions gives; again changes nothing."""
    every = named(items)
    with fresh() as whole, fresh() as left, fresh() as right, fresh() as other:
        whole.learn_many(every)
        left.learn_many(every[:cut])
        right.learn_many(reversed(every[max(cut - 1, 0) :]))  # they share a session
        other.merge(right)
        left.merge(right)
        other.merge(left)
        assert left.merge(right) == 0
        same_counts(left, whole)
        same_counts(other, whole)


@settings(max_examples=20, deadline=None)
@given(sessions, st.integers(0, 5))
def test_forgetting_equals_never_having_learned(items: list[dict[str, Any]], number: int) -> None:
    """After forgetting a session the memory is what it would be without it."""
    every = named(items)
    with fresh() as forgetful, fresh() as innocent:
        forgetful.learn_many(every)
        innocent.learn_many([item for item in every if item["session_id"] != f"s{number}"])
        forgotten = forgetful.forget(session=f"s{number}")
        assert forgotten.steps == (len(every[number]["commands"]) if number < len(every) else 0)
        same_counts(forgetful, innocent)


def test_forgetting_the_first_step_moves_the_session() -> None:
    """A session whose first steps are forgotten begins where one without them begins, in order and in predictions."""
    timed = [{"command": c, "timestamp": 100.0 * i} for i, c in enumerate(["vim draft", "make", "make test", "ls"], 1)]
    other = [{"command": c, "timestamp": 150.0 + i} for i, c in enumerate(["make", "make check", "make clean"])]
    with fresh() as forgetful, fresh() as innocent:
        forgetful.learn_many([{"commands": timed, "session_id": "a"}, {"commands": other, "session_id": "b"}])
        innocent.learn_many([{"commands": timed[1:], "session_id": "a"}, {"commands": other, "session_id": "b"}])
        assert forgetful.forget(containing="draft").steps == 1
        same_counts(forgetful, innocent)
        assert forgetful.predict_next_action(["make"]) == innocent.predict_next_action(["make"])


@settings(max_examples=20, deadline=None)
@given(sessions)
def test_rebuild_gives_the_same(items: list[dict[str, Any]]) -> None:
    """Deriving everything again from the log changes nothing that can be seen."""
    with fresh() as engine:
        engine.learn_many(named(items))
        before = view(engine)
        engine.rebuild()
        assert close(view(engine), before)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".json", ".jsonl", ".sqlite"])
def test_save_and_load_round_trip(learned: ProceduralMemoryEngine, tmp_path: Path, suffix: str) -> None:
    """A loaded memory is the saved one, to the last count and probability; the file is private."""
    path = learned.save(tmp_path / f"memory{suffix}")
    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == [path.name]
    with fresh() as loaded:
        loaded.learn_workflow(["is", "replaced", "whole"])
        assert loaded.load(path).sessions == 40
        same_counts(loaded, learned)


def test_open_session_survives_a_snapshot(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Steps of a session that is still going on are saved too."""
    engine.session(session_id="live").record("make build")
    path = engine.save(tmp_path / "memory.pkl")
    with fresh() as loaded:
        loaded.load(path)
        assert loaded.stats()["command_count"] == 1
        with pytest.raises(SessionConflictError):
            loaded.session(session_id="live")


def test_load_can_merge(tmp_path: Path) -> None:
    """``mode="merge"`` adds what is not known yet and keeps the rest."""
    with fresh() as first, fresh() as second:
        first.learn_workflow(["a", "b", "c"], session_id="one")
        second.learn_workflow(["a", "b", "d"], session_id="two")
        path = first.save(tmp_path / "memory.pkl")
        assert second.load(path, mode="merge").sessions == 1
        assert second.load(path, mode="merge").sessions == 0
        assert second.stats()["session_count"] == 2


def test_merge_conflict_changes_nothing(tmp_path: Path) -> None:
    """One id with two contents is an error that names it; no other session of the file is taken over."""
    with fresh() as first, fresh() as second:
        first.learn_workflow(["a", "b", "c"], session_id="early")
        first.learn_workflow(["a", "b", "c"], session_id="same")
        second.learn_workflow(["x", "y", "z"], session_id="same")
        before = view(second)
        with pytest.raises(SessionConflictError, match="'same'"):
            second.merge(first)
        with pytest.raises(SessionConflictError, match="'same'"):
            second.load(first.save(tmp_path / "m.json"), mode="merge")
        assert view(second) == before
        assert second.merge(second) == 0


def test_a_durable_store_is_replaced_after_a_backup(tmp_path: Path) -> None:
    """A load into a durable store says which mode it means; what is replaced can be had back from the backup."""
    path = tmp_path / "m.sqlite3"
    with fresh() as source, ProceduralMemoryEngine(path=path, embedder="lexical") as durable:
        source.learn_workflow(["a", "b", "c"])
        saved = source.save(tmp_path / "m.pkl")
        durable.learn_many(load_sessions())
        before = view(durable)
        with pytest.raises(InvalidInputError, match="durable store wants to be told 'merge' or 'replace', got None"):
            durable.load(saved)
        loaded = [durable.load(saved, mode="replace"), durable.load(saved, mode="replace")]
        assert [item.sessions for item in loaded] == [1, 1]
        assert durable.stats()["session_count"] == 1
        backups = [item.backup for item in loaded if item.backup]
        assert len({*backups}) == 2
        for backup in backups:
            assert backup.parent == tmp_path
            assert backup.stat().st_mode & 0o077 == 0
        assert os.fspath(loaded[0]) == str(backups[0])
        with fresh() as back:
            back.load(loaded[0])
            same_counts(back, durable_copy := ProceduralMemoryEngine(path=backups[0], embedder="lexical"))
            durable_copy.close()
        assert durable.load(saved, mode="merge").backup is None
        durable.load(loaded[0], mode="replace")
        assert close(view(durable), before)
        with pytest.raises(SnapshotError, match="damaged or no snapshot"):
            durable.load(_garbage(tmp_path / "bad.pkl"), mode="replace")
        assert close(view(durable), before)
        assert len(list(tmp_path.glob("m.sqlite3.*.sqlite"))) == 3


def _garbage(path: Path) -> Path:
    path.write_bytes(b"garbage")
    return path


def test_a_store_in_use_is_a_snapshot(tmp_path: Path) -> None:
    """What another engine has open can be loaded: with what stands in its write-ahead log, and without a change."""
    path = tmp_path / "m.sqlite"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as used, fresh() as other:
        used.learn_many(load_sessions()[:5])
        session = used.session(session_id="live")
        session.record("make build")
        used.flush()  # what goes on in the background writes, too
        files = {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
        assert other.load(path).sessions == 6
        assert files == {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.name in files}
        with pytest.raises(InvalidInputError, match="is the memory itself"):
            used.save(path)


class Hostile:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def test_hostile_pickle_runs_nothing(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A pickle that would run a command raises, runs nothing and leaves the memory alone."""
    path, proof = tmp_path / "evil.pkl", tmp_path / "proof"
    path.write_bytes(pickle.dumps({"format": "procedural-memory", "version": 1, "sessions": Hostile(f"touch {proof}")}))
    before = learned.stats()
    with pytest.raises(SnapshotError, match=r"names (posix|nt)\.system.*nothing was loaded or run"):
        learned.load(path)
    assert not proof.exists()
    assert learned.stats() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pkl", b"", "damaged or no snapshot"),
        ("a.pkl", b"not a pickle at all", "damaged or no snapshot"),
        ("a.pkl", pickle.dumps([1, 2]), "is no snapshot"),
        ("a.pkl", pickle.dumps({"format": "procedural-memory", "version": 9}), "version 9 is not known.*upgrade"),
        ("a.pkl", pickle.dumps({"format": "procedural-memory", "version": 1, "sessions": 5}), "must be a list"),
        ("a.pkl", pickle.dumps({"format": "procedural-memory", "version": 1, "sessions": [5]}), "must be a mapping"),
        (
            "a.pkl",
            pickle.dumps(
                {
                    "format": "procedural-memory",
                    "version": 1,
                    "sessions": [{"session_id": "s", "start": 1.0, "commands": ["ok", ""]}],
                }
            ),
            r"sessions\[0\]\.commands\[1\]: must not be empty",
        ),
        ("a.json", b"{", "damaged or no snapshot"),
        ("a.json", b"[]", "is no snapshot"),
        ("a.json", b"[" * 100_000, "damaged or no snapshot"),
        ("a.jsonl", b"", "is no snapshot"),
        ("a.jsonl", b"{\n", "damaged or no snapshot"),
        ("a.jsonl", b'[]\n{"end": true}\n', "is no snapshot"),
        ("a.sqlite", b"", r"is no store, or is damaged \(it is empty\)"),
        ("a.sqlite", b"no database at all, but long enough to look at " * 40, "is no store, or is damaged"),
        ("a.jsonl", b'{"format": "procedural-memory", "version": 1}\n', "last line is missing"),
        ("a.jsonl", b'{"format": "procedural-memory", "version": 1}\n{"end": true}\n{}', "lines follow"),
        ("a.jsonl", b'{"format": "procedural-memory", "version": 1}\n5\n{"end": true}\n', r"sessions\[0\]: must be"),
    ],
)
def test_damaged_snapshot_is_refused(
    learned: ProceduralMemoryEngine, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """What is no snapshot is refused with the reason, and the memory is as it was."""
    path = tmp_path / name
    path.write_bytes(content)
    before = learned.stats()
    with pytest.raises(SnapshotError, match=message):
        learned.load(path)
    assert learned.stats() == before


def _snapshot(sessions: Any) -> dict[str, Any]:
    return {"format": "procedural-memory", "version": 1, "sessions": sessions}


def _aliased(commands: Any, times: int) -> bytes:
    sessions = [{"session_id": f"s{i}", "start": 1.0, "commands": commands} for i in range(times)]
    return pickle.dumps(_snapshot(sessions), protocol=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04Nr\xff\xff\xff\x0f.", "holds LONG_BINPUT"),  # a memo of 4 GB
        (_aliased(["make"] * 1000, 1000), "by reference"),  # a million steps in 20 kB
        (_aliased(["echo " + "x" * 20_000] * 1000, 1), "by reference"),  # 20 MB of text in 40 kB
        (b"\x80\x04]\x94h\x00a.", "by reference"),  # a list that holds itself
        (b"\x80\x04h\x07.", "damaged or no snapshot"),
        (b"\x80\x02\x82\x01.", "holds EXT1"),
        (pickle.dumps(_snapshot([{1, 2}])), "holds EMPTY_SET"),
        (pickle.dumps(_snapshot([{k * (2**61 - 1): k for k in range(99)}])), "longer integer"),  # all with one hash
    ],
)
def test_a_pickle_costs_no_more_than_its_size(
    engine: ProceduralMemoryEngine, tmp_path: Path, content: bytes, message: str
) -> None:
    """A small pickle that would unfold into gigabytes or into endless work is refused before it is read."""
    path = tmp_path / "bomb.pkl"
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=message):
        engine.load(path)
    assert len(engine) == 0


@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_a_changed_letter_is_noticed(engine: ProceduralMemoryEngine, tmp_path: Path, suffix: str) -> None:
    """A snapshot damaged within a text is no other memory; one edited on purpose can still be loaded."""
    engine.learn_workflow(["git pull", "make install", "git push"])
    path = engine.save(tmp_path / f"memory{suffix}")
    path.write_bytes(path.read_bytes().replace(b"make install", b"make instead"))
    with fresh() as other:
        with pytest.raises(SnapshotError, match="do not match its checksum"):
            other.load(path)
        content = json.loads(path.read_bytes()) if suffix == ".json" else pickle.loads(path.read_bytes())
        del content["checksum"]
        path.write_bytes(json.dumps(content).encode() if suffix == ".json" else pickle.dumps(content, protocol=4))
        other.load(path)
        assert other.predict_next_action(["git pull"])[0].next_command == "make instead"


def test_a_file_of_lines_is_open_to_others(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A line a session; what is missing or changed is noticed, and what was edited on purpose can be loaded."""
    path = learned.save(tmp_path / "memory.jsonl")
    head, *sessions, end = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert json.loads(head)["format"] == "procedural-memory"
    assert [len(json.loads(line)["commands"]) > 0 for line in sessions] == [True] * 40
    for broken in ([head, *sessions], [head, *sessions[1:], end], [head, *sessions, end[:-9]]):
        path.write_text("".join(broken), encoding="utf-8")
        with fresh() as other:
            with pytest.raises(SnapshotError, match=r"memory.jsonl'.*(cut off|damaged)"):
                other.load(path)
            assert len(other) == 0
    path.write_text("".join([head, *sessions[1:], '{"end": true}']), encoding="utf-8")
    with fresh() as other:
        assert other.load(path).sessions == 39


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_nothing(
    engine: ProceduralMemoryEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """However a save ends early, the old file is whole and no half one lies beside it."""
    engine.learn_workflow(["git pull", "make", "git push"])
    path = engine.save(tmp_path / "memory.pkl")
    old = path.read_bytes()
    engine.learn_workflow(["git pull", "make", "make test"])

    def interrupt(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else StorageError):
        engine.save(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["memory.pkl"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A store that cannot grow says why; what was learned before is there, and learning goes on once there is room."""
    resource = pytest.importorskip("resource")
    with ProceduralMemoryEngine(path=tmp_path / "memory.sqlite3", embedder="lexical") as engine:
        engine.learn_workflow(["git pull", "make", "git push"])
        before = engine.stats()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        try:
            with pytest.raises(StorageError, match=r"(full|disk I/O error); nothing was changed"):
                engine.learn_many([f"make a{i}", f"make b{i}", f"make c{i}"] for i in range(1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert {**engine.stats(), "embedder": 0} == {**before, "embedder": 0}
        assert engine.learn_workflow(["git pull", "make", "make test"]) in engine.patterns


def test_missing_snapshot_is_named(engine: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """Loading what is not there says which file."""
    with pytest.raises(SnapshotNotFoundError, match=r"gone\.pkl"):
        engine.load(tmp_path / "gone.pkl")


def test_failed_save_keeps_the_old_file(learned: ProceduralMemoryEngine, tmp_path: Path) -> None:
    """A save that cannot be finished leaves no half file and the old one whole."""
    with pytest.raises(StorageError, match="there is no such folder; make it first"):
        learned.save(tmp_path / "no such folder" / "memory.pkl")
    path = learned.save(tmp_path / "memory.json")
    old = path.read_bytes()
    path.chmod(0o600)
    learned.learn_workflow(["a", "b", "c"])
    learned.save(path)
    assert json.loads(path.read_bytes())["sessions"] != json.loads(old)["sessions"]
    assert os.listdir(tmp_path) == ["memory.json"]


def test_forget_by_text_pattern_project_and_time(engine: ProceduralMemoryEngine) -> None:
    """Each condition picks its steps, and all given conditions must hold."""
    pattern_id = engine.learn_workflow(
        [{"command": c, "project": "p", "timestamp": 1e9 + i} for i, c in enumerate(["make", "cat leaked.txt", "ls"])]
    )
    engine.learn_workflow([{"command": c, "project": "q"} for c in ["make", "make test", "ls"]], source="import")
    assert engine.forget(containing="leaked", project="q").steps == 0
    assert engine.forget(containing="leaked").steps == 1
    assert "cat <FILE>" not in engine.workflow_graph
    assert pattern_id not in engine.patterns
    assert engine.workflow_graph.has_edge("make", "ls")
    assert engine.forget(before=1e9 + 1).steps == 1
    assert engine.forget(template="make test").steps == 1
    assert engine.forget(source="import").steps == 2
    assert engine.forget(project="p").steps == 1
    assert engine.stats()["session_count"] == 0
    assert engine.stats()["template_count"] == 0


def test_forget_a_pattern(engine: ProceduralMemoryEngine) -> None:
    """Forgetting a pattern forgets the sessions that followed it."""
    gone = engine.learn_workflow(["a", "b", "c"])
    engine.learn_workflow(["a", "b", "c"])
    kept = engine.learn_workflow(["a", "b", "d"])
    assert engine.forget(pattern=gone).steps == 6
    assert list(engine.patterns) == [kept]


def test_forgotten_text_is_gone_from_the_file(tmp_path: Path) -> None:
    """No trace of a forgotten line is left among the texts of the store."""
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        engine.learn_workflow(["make", "cat very-private-name.txt", "ls"])
        engine.flush()
        engine.forget(containing="very-private-name")
    assert b"very-private-name" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_secrets_are_never_stored(tmp_path: Path) -> None:
    """A secret on a command line is redacted before anything is kept, saved or predicted."""
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        engine.learn_workflow(["make", f"curl -H 'Authorization: Bearer {secret}' https://api.example.com", "ls"])
        engine.flush()
        engine.save(tmp_path / "m.json")
        found = engine.predict_next_action(["make"], top_k=5)
        assert secret not in repr(found)
        assert [p.runnable for p in found if p.next_command.startswith("curl")] == [False]
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_samples_merge_from_two_halves() -> None:
    """Two engines that learned half of the samples each merge to the engine that learned all."""
    samples = load_sessions()
    with fresh() as whole, fresh() as left, fresh() as right:
        whole.learn_many(samples)
        left.learn_many(samples[::2])
        right.learn_many(samples[1::2])
        left.merge(right)
        same_counts(left, whole)
        assert nx.utils.graphs_equal(left.workflow_graph, whole.workflow_graph)


def judged(items: list[dict[str, Any]], shown: list[tuple[int, int, str, Verdict]], folder: Path) -> dict[str, Any]:
    """Record sessions live, judge what is shown in them or in none, and return what a snapshot of it holds."""
    with fresh() as engine:
        for number, item in enumerate(items):
            with engine.session(session_id=item["session_id"]) as session:
                for step, command in enumerate([*item["commands"], None]):
                    for where, when, line, verdict in shown:
                        if where == number and min(when, len(item["commands"])) == step:
                            session.feedback(line, verdict)
                    if command is not None:
                        session.record(command)
                session.close(item["outcome"])
        for where, when, line, verdict in shown:
            if where >= len(items):
                engine.feedback(CONTEXTS[when % len(CONTEXTS)], line, verdict)
        content: dict[str, Any] = json.loads(engine.save(folder / "all.json").read_text())
        return content


def snapshot_of(content: dict[str, Any], keep: Callable[[dict[str, Any]], bool], path: Path) -> Path:
    """Write those sessions and that feedback of a snapshot that are to be kept."""
    kept = {"format": content["format"], "version": content["version"]}
    kept["sessions"] = [
        {**item, "feedback": [row for row in item.get("feedback", []) if keep(row)]}
        for item in content["sessions"]
        if keep(item)
    ]
    kept["feedback"] = [row for row in content.get("feedback", []) if keep(row)]
    path.write_text(json.dumps(kept))
    return path


def merged(*paths: Path) -> ProceduralMemoryEngine:
    """Return an engine into which files were merged, one after the other."""
    engine = fresh()
    for path in paths:
        engine.merge(path)
    return engine


feedback = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from(COMMANDS), st.sampled_from(get_args(Verdict))),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(sessions, feedback, st.data())
def test_merge_of_feedback_is_its_union(
    tmp_path_factory: pytest.TempPathFactory,
    items: list[dict[str, Any]],
    shown: list[tuple[int, int, str, Verdict]],
    data: st.DataObject,
) -> None:
    """However sessions and feedback lie in three memories, in part in several: merged in any order they are the whole.

    So they are when merged two and two, merged again, saved and loaded, and rebuilt.
    """
    folder = tmp_path_factory.mktemp("parts")
    content = judged(named(items), shown, folder)
    whole = merged(snapshot_of(content, lambda _: True, folder / "whole.json"))
    assert whole.stats()["feedback_count"] == len(shown)
    places: dict[int, set[int]] = {}
    some = st.sets(st.integers(0, 2), min_size=1)
    for item in content["sessions"]:
        places[id(item)] = data.draw(some)
        for row in item.get("feedback", []):
            # A memory that has feedback of a session has the session.
            places[id(row)] = data.draw(st.sets(st.sampled_from(sorted(places[id(item)])), min_size=1))
    for row in content.get("feedback", []):
        places[id(row)] = data.draw(some)
    a, b, c = (
        snapshot_of(content, lambda item, n=n: n in places[id(item)], folder / f"{n}.json")  # type: ignore[misc]
        for n in data.draw(st.permutations(range(3)))
    )
    with whole, merged(a, b, c) as left, merged(a) as right, merged(b, c, b) as two:
        right.merge(two)
        assert right.merge(two) == 0
        for engine in (left, right):
            same_counts(engine, whole)
        two.load(right.save(folder / "again.pkl"))
        same_counts(two, whole)
        right.rebuild()
        same_counts(right, whole)


@settings(max_examples=20, deadline=None)
@given(sessions, feedback, st.integers(0, 5))
def test_forgetting_a_session_forgets_its_feedback(
    tmp_path_factory: pytest.TempPathFactory,
    items: list[dict[str, Any]],
    shown: list[tuple[int, int, str, Verdict]],
    number: int,
) -> None:
    """A memory that forgot a session is one that never had it nor the feedback in it; other feedback stays."""
    folder = tmp_path_factory.mktemp("parts")
    content = judged(named(items), shown, folder)
    whole = snapshot_of(content, lambda _: True, folder / "whole.json")
    rest = snapshot_of(content, lambda item: item.get("session_id") != f"s{number}", folder / "rest.json")
    with merged(whole) as forgetful, merged(rest) as innocent:
        forgetful.forget(session=f"s{number}")
        same_counts(forgetful, innocent)
