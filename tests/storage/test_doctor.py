"""The doctor names what is wrong with the file of a memory, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from damaged import PAGE, change, contents, make, overwrite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procedural_memory import ProceduralMemoryEngine, StorageError
from procedural_memory.cli import main
from procedural_memory.repair import check
from procedural_memory.storage import filesystem
from procedural_memory.storage import sqlite as sqlite_store
from procedural_memory.storage.filesystem import network_file_system


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in order."""
    return make(tmp_path_factory.mktemp("whole") / "memory.sqlite3", 30)


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A store of one's own to damage, in a folder of its own."""
    folder = tmp_path / "a folder#1?"
    folder.mkdir(mode=0o700)
    return Path(shutil.copy(whole, folder / "memory.sqlite3"))


def verdicts(path: Path, deep: bool = False) -> dict[str, str]:
    """What is not ok, by name, with what is said; files stay as they are."""
    before = contents(path.parent)
    found = check(path, deep)
    assert contents(path.parent) == before
    return {one.name: f"{one.verdict}: {one.says}" for one in found if one.verdict != "ok"}


def doctor(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["doctor", *arguments])


@pytest.mark.parametrize("deep", [False, True])
def test_a_store_in_order(store: Path, deep: bool) -> None:
    """Nothing is wrong, and nothing is changed."""
    assert verdicts(store, deep) == {}


def test_the_command(store: Path) -> None:
    """It shows each check; the exit code tells whether something is bad, which a warning is not."""
    shown = doctor("--path", str(store))
    assert shown.exit_code == 0, shown.output
    assert "quick_check finds nothing" in shown.output
    store.chmod(0o644)
    told = doctor("--path", str(store), "--json", "--deep")
    assert told.exit_code == 0
    found = json.loads(told.stdout)
    assert found["path"] == str(store)
    assert {one["verdict"] for one in found["checks"]} == {"ok", "warning"}
    missing = store.parent / "nothing" / "here.sqlite3"
    told = doctor("--path", str(missing), "--json")
    assert told.exit_code == 1
    assert "There is no file" in json.loads(told.stdout)["checks"][0]["says"]
    assert not missing.parent.exists()


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("steps", "DELETE FROM session WHERE id = 3"),
        ("steps", "DELETE FROM text WHERE text LIKE 'cat src/module_3_1.py'"),
        ("steps", "DELETE FROM text WHERE text = '/work/p3'"),
        ("numbering", "DELETE FROM log WHERE session = 3 AND step = 1"),
        ("numbering", "INSERT INTO log(session, step, command) SELECT session, step, command FROM log WHERE seq = 1"),
        ("closes", "DELETE FROM log WHERE session = 3 AND step = -1"),
        ("closes", "INSERT INTO log(session, step) VALUES (3, -1)"),
        ("texts", "UPDATE text SET text = 'rm -rf /' WHERE text LIKE 'cat src/module_3_1.py'"),
        ("texts", "UPDATE text SET text = x'ff00' WHERE text LIKE 'cat src/module_3_1.py'"),
        ("contents", "UPDATE log SET exit_code = 77 WHERE session = 3 AND step = 1"),
        ("contents", "UPDATE session SET outcome = 9 WHERE id = 3"),
        ("contents", "UPDATE session SET digest = 'x' WHERE id = 31"),
        ("feedback", "UPDATE feedback SET session = 999"),
        ("feedback", "UPDATE feedback SET line = 999"),
        ("version", "PRAGMA user_version = 999"),
        ("tables", "DROP TABLE session"),
    ],
)
def test_what_is_wrong_is_named(store: Path, name: str, sql: str) -> None:
    """Each rule of the log is looked after; the words say what to do."""
    found = verdicts(change(store, sql))
    assert found[name].startswith("bad: ")
    if name not in ("version", "tables"):
        assert f"Run: procedural-memory repair '{store}' NEW" in found[name]
    assert doctor("--path", str(store)).exit_code == 1


def test_a_file_cut_off(store: Path) -> None:
    """The head of a file says how long it is."""
    os.truncate(store, store.stat().st_size - 3 * PAGE)
    assert verdicts(store)["size"].startswith("bad: 3 pages of 4096 bytes are missing: it was cut off")
    os.truncate(store, store.stat().st_size - 1)
    assert verdicts(store)["size"].startswith("bad: 4 pages")


def test_broken_pages(store: Path) -> None:
    """SQLite's own check is made, quick or in full; what cannot be read is bad, and stops no other check."""
    with closing(sqlite3.connect(store)) as database:
        roots = database.execute("SELECT rootpage FROM sqlite_master WHERE name IN ('log', 'follower')").fetchall()
    for (page,) in roots:
        overwrite(store, (page - 1) * PAGE, b"\xee" * PAGE)
    found = verdicts(store)
    assert found["integrity"].startswith("bad: SQLite's quick_check")
    assert sum(words.startswith("bad") for words in found.values()) > 1
    overwrite(store, 0, bytes(100))
    assert verdicts(store)["file"].startswith("bad: ")
    with pytest.raises(StorageError, match="procedural-memory doctor --path"):
        ProceduralMemoryEngine(path=store, embedder="lexical")


def test_a_schema_that_is_no_text(store: Path) -> None:
    """A damaged name in the schema, which SQLite quotes, is told like other damage."""
    content = (
        store.read_bytes()
        .replace(b"CREATE TABLE follower", b"CREATE TABLE \xff\xfe(\xffer")
        .replace(b"tablefollowerfollower", b"tablefollow\xff\xfefollow\xff\xfe")
    )
    store.write_bytes(content)
    assert verdicts(store)["open"].startswith("bad: ")
    with pytest.raises(StorageError, match="damaged"):
        ProceduralMemoryEngine(path=store, embedder="lexical")


def test_an_index_out_of_step_is_seen_by_the_deep_check(store: Path) -> None:
    """The quick check leaves indexes out."""
    change(
        store,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = sql || ' WHERE step > 0' WHERE name = 'log_session'",
    )
    assert "integrity" not in verdicts(store)
    assert "integrity_check" in verdicts(store, deep=True)["integrity"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE follower SET count = count + 1",
        "DELETE FROM follower WHERE count = 1",
        "UPDATE pattern SET success = success + 1",
        "DELETE FROM course",
    ],
)
def test_counts_that_the_log_does_not_give(store: Path, sql: str) -> None:
    """The deep check derives everything again, in memory, and compares; to rebuild sets it right."""
    change(store, sql)
    assert verdicts(store) == {}
    table = sql.split()[2] if sql.startswith("DELETE") else sql.split()[1]
    found = verdicts(store, deep=True)
    assert found.keys() == {"derived"}
    assert table in found["derived"]
    assert "engine.rebuild()" in found["derived"]
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.rebuild()
    assert verdicts(store, deep=True) == {}


def test_rows_that_wait_are_no_fault(store: Path) -> None:
    """A tail of the log that nobody has counted yet is only noted; more counted than there is is a warning."""
    change(store, "UPDATE meta SET value = value - 2 WHERE key = 'derived'")
    assert verdicts(store, deep=True) == {}
    assert "2 rows of the log are yet to be counted" in doctor("--path", str(store)).output
    change(store, "UPDATE meta SET value = 9999 WHERE key = 'derived'")
    assert "engine.rebuild()" in verdicts(store)["derived"]


def test_other_versions(store: Path) -> None:
    """An older store is brought up when it is opened; the log of it is checked as well."""
    change(store, "DROP TABLE feedback", "PRAGMA user_version = 2")
    assert verdicts(store).keys() == {"version"}
    change(store, "DELETE FROM session WHERE id = 3")
    assert verdicts(store).keys() == {"version", "steps"}


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_who_may_read(store: Path) -> None:
    """Files that others may read, and folders that others may write to, are named with the remedy."""
    store.chmod(0o640)
    assert f"chmod 600 '{store}'" in verdicts(store)["private"]
    store.chmod(0o600)
    store.parent.chmod(0o770)
    assert f"chmod go-w '{store.parent}'" in verdicts(store)["folder"]


def test_left_overs(store: Path) -> None:
    """Files of saves that were broken off are named, other hidden files are not."""
    for name in (".memory.pkl.ab12_xyz", ".bashrc", ".memory.pkl"):
        (store.parent / name).write_text("")
    assert verdicts(store)["left-overs"].endswith("deleted: .memory.pkl.ab12_xyz")


def test_a_store_in_use(store: Path) -> None:
    """While others have it open it is read with their write-ahead log; without its index that is left alone."""
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        engine.learn_workflow(["a", "b", "c"], session_id="new")
        engine.flush()  # nobody writes from here on
        assert verdicts(store, deep=True) == {}
        crashed = store.parent.parent / "crashed"
        shutil.copytree(store.parent, crashed)
    assert verdicts(crashed / store.name) == {}
    assert "32 closed sessions as they were" in doctor("--path", str(crashed / store.name)).output
    (crashed / (store.name + "-shm")).unlink()
    found = verdicts(crashed / store.name)
    assert found.keys() == {"open"}
    assert "procedural-memory stats --path" in found["open"]


def test_files_that_are_no_store(store: Path) -> None:
    """Other files, other databases, empty files and folders are told apart."""
    other = store.parent / "other"
    other.write_text("not a database, but long enough to be one")
    assert "no SQLite database" in verdicts(other)["file"]
    other.write_bytes(b"")
    assert verdicts(other)["file"].startswith("warning: ")
    assert "is no file" in verdicts(store.parent)["file"]
    other.unlink()
    change(other, "CREATE TABLE bookmarks(a)")
    assert "another program" in verdicts(other)["tables"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_stops_the_doctor(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever the bytes are, it tells of them and changes none."""
    folder = tmp_path / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    store = Path(shutil.copy(whole, folder / "memory.sqlite3"))
    size = store.stat().st_size
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.one_of(st.integers(16, 100), st.integers(0, size - 1)))
        overwrite(store, place, data.draw(st.binary(min_size=1, max_size=300)))
    if data.draw(st.booleans()):
        os.truncate(store, data.draw(st.integers(0, size)))
    verdicts(store)


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw shared:2 - nfs4 server:/home rw
31 30 8:2 / /home/me/local rw - ext4 /dev/sdb rw
32 22 0:41 / /mnt/my\\040share rw - cifs //server/share rw
33 22 0:42 / /mnt/s rw - fuse.sshfs me@host: rw
34 22 0:43 / /mnt/twice rw - nfs a:/ rw
35 22 0:44 / /mnt/twice rw - tmpfs tmpfs rw
36 22 0:45 / /mnt/f rw - fuse.portal portal rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/x", None),
        ("/home/me/memory.sqlite3", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/x", None),
        ("/home/me/local/x", None),
        ("/mnt/my share/x", "cifs"),
        ("/mnt/s/x", "fuse.sshfs"),
        ("/mnt/twice/x", None),
        ("/mnt/f/x", None),
    ],
)
def test_network_file_systems(tmp_path: Path, path: str, kind: str | None) -> None:
    """The mount that a path lies on is the innermost one, and the last one on its place."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_file_system(path, mounts) == kind
    assert network_file_system(path, tmp_path / "missing") is None


def test_a_network_file_system_is_a_warning(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor says so."""
    mounts = store.parent.parent / "mountinfo"
    mounts.write_text("1 1 0:1 / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    assert "network file system (nfs4)" in verdicts(store)["file system"]


def test_other_errors_of_sqlite_are_no_damage(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is locked is not called damaged."""
    monkeypatch.setattr(sqlite_store, "PATIENCE", 0.05)
    with ProceduralMemoryEngine(path=store, embedder="lexical") as engine:
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"keeps it locked.*nothing was changed") as it:
            engine.learn_workflow(["a", "b", "c"])
        assert "repair" not in str(it.value)
        other.close()


def test_a_richer_record_that_came_later_is_no_fault(tmp_path: Path) -> None:
    """Which of two records of one step counts is told, not warned of; after a rebuild nothing is left to tell."""
    steps = [{"command": line, "timestamp": 1e9 + 60 * i} for i, line in enumerate(["make", "make test", "git push"])]
    path = tmp_path / "m.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        engine.learn_workflow(steps, None, source="history")
        engine.learn_workflow([{**step, "exit_code": 1} for step in steps], "failure", source="hook")
        engine.flush()
        (found,) = [one for one in check(path, deep=True) if one.name == "derived"]
        assert found.verdict == "ok"
        assert "Richer records of 3 steps" in found.says
        engine.rebuild()
        (found,) = [one for one in check(path, deep=True) if one.name == "derived"]
        assert (found.verdict, found.says) == ("ok", "up to the log, and what it gives")
        assert engine.stats()["total_failures"] == 1
