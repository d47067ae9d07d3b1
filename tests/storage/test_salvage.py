"""What is salvaged from damaged stores, and that no damage does more harm than it must."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from damaged import LONG, PAGE, change, contents, learn, log_of, make, overwrite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procedural_memory import InvalidInputError, ProceduralMemoryEngine, StorageError
from procedural_memory.cli import main
from procedural_memory.repair import repair
from procedural_memory.storage.base import text_id
from procedural_memory.storage.pages import Pages
from procedural_memory.storage.salvage import Salvaged, salvage

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in order."""
    return make(tmp_path_factory.mktemp("whole") / "memory.sqlite3")


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A store of one's own to damage."""
    return Path(shutil.copy(whole, tmp_path / "memory.sqlite3"))


def plain(found: Salvaged) -> dict[str, dict[str, Any]]:
    """What was salvaged in the form in which a store tells of its sessions."""
    items = {}
    for record in found.records:
        commands = [
            {name: value for name in type(c).__slots__ if (value := getattr(c, name)) is not None}
            for c in record.commands
        ]
        feedback = [
            {"step": f.step, "line": f.line, "verdict": f.verdict, "timestamp": f.timestamp}
            | ({"project": f.project} if f.project else {})
            for f in record.feedback
        ]
        items[record.session_id] = {
            "session_id": record.session_id,
            "start": record.start,
            "outcome": record.outcome,
            "closed": record.closed,
            "source": record.source,
            "commands": commands,
            **({"feedback": feedback} if feedback else {}),
        }
    return items


Row = list[Any]


def is_head(row: Row) -> bool:
    """Return whether a row is that of a session: feedback has as many columns, and a number for the session."""
    return len(row) == 8 and isinstance(row[1], str)


def is_text(row: Row) -> bool:
    """Return whether a row is a text."""
    return len(row) == 2


def leaves(path: Path, wanted: Callable[[Row], bool]) -> dict[int, list[tuple[int, Row]]]:
    """Return the pages that hold rows of a kind, with their rows."""
    with Pages(path) as pages:
        found = {number: list(pages.rows(number)) for number in range(1, pages.count + 1)}
    return {number: rows for number, rows in found.items() if any(wanted(row) for _, row in rows)}


def test_every_row_is_read_without_sqlite(whole: Path) -> None:
    """The reader of pages finds the rows that SQLite finds, of each table that has numbers for rows."""
    with closing(sqlite3.connect(whole)) as db:
        wanted = 0
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            try:
                rows = db.execute(f"SELECT rowid, * FROM {name}").fetchall()
            except sqlite3.OperationalError:
                continue  # WITHOUT ROWID
            wanted += len(rows)
        wanted += db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        texts = dict(db.execute("SELECT id, text FROM text"))
    with Pages(whole) as pages:
        found = [row for number in range(1, pages.count + 1) for row in pages.rows(number)]
        assert (pages.refused, pages.missing, pages.size) == (0, 0, PAGE)
    assert len(found) == wanted
    assert {n: r[1] for n, r in found if len(r) == 2 and r[0] is None and texts.get(n) == r[1]} == texts


def test_a_store_in_order_comes_back_as_it_is(whole: Path, tmp_path: Path) -> None:
    """All sessions, feedback and counts are in the new store; the old one stays, to the byte."""
    before = contents(whole.parent)
    found = repair(whole, tmp_path / "new.sqlite3", "lexical")
    assert contents(whole.parent) == before
    assert found.report == {
        "sessions": 62,
        "sessions_whole": 62,
        "sessions_incomplete": [],
        "sessions_without_head": [],
        "sessions_open": 1,
        "steps": 274,
        "feedback": 4,
        "lost": {"sessions": 0, "steps": 0, "feedback": 0},
        "pages": whole.stat().st_size // PAGE,
        "unreadable_cells": 0,
    }
    assert log_of(tmp_path / "new.sqlite3") == log_of(whole)
    with (
        ProceduralMemoryEngine(path=whole, embedder="lexical") as old,
        ProceduralMemoryEngine(path=tmp_path / "new.sqlite3", embedder="lexical") as new,
    ):
        assert dict(new.patterns) == dict(old.patterns)
        assert {n: v for n, v in new.stats().items() if n.endswith("count")} == {
            n: v for n, v in old.stats().items() if n.endswith("count")
        }
        assert new._store.feedback(None) == old._store.feedback(None)
    assert (tmp_path / "new.sqlite3").stat().st_mode & 0o077 == 0


@dataclass
class Known:
    """What is known of a store in order: its sessions, the rows of each page, pages of no tree, names of sessions."""

    sessions: dict[str, dict[str, Any]]
    rows: dict[int, list[tuple[int, list[Any]]]]
    others: set[int]
    names: dict[int, str]


@pytest.fixture(scope="module")
def known(whole: Path) -> Known:
    """What is known of the store in order."""
    with Pages(whole) as pages:
        rows = {number: list(pages.rows(number)) for number in range(1, pages.count + 1)}
        others = {number for number in rows if number > 1 and pages.page(number)[0] not in (2, 5, 10, 13)}
    with closing(sqlite3.connect(whole)) as db:
        names = dict(db.execute("SELECT id, session_id FROM session"))
    return Known(log_of(whole), rows, others, names)


@FUZZ
@given(st.data())
def test_a_destroyed_page_costs_only_what_was_on_it(
    whole: Path, known: Known, tmp_path: Path, data: st.DataObject
) -> None:
    """Sessions whose rows and texts lie on other pages come back exactly, whatever stands on the page now."""
    store = Path(shutil.copy(whole, tmp_path / "memory.sqlite3"))
    of_log = [n for n, rows in known.rows.items() if n > 1 and any(len(row) in (2, 8, 13) for _, row in rows)]
    page = data.draw(st.one_of(st.sampled_from(of_log), st.integers(2, len(known.rows))))
    how = data.draw(st.sampled_from(["zeros", "noise", "half", "ones"]))
    noise = random.Random(data.draw(st.integers(0, 2**32))).randbytes(PAGE)
    junk = {"zeros": bytes(PAGE), "noise": noise, "half": noise[: PAGE // 2], "ones": b"\xff" * PAGE}[how]
    overwrite(store, (page - 1) * PAGE, junk)

    rows = known.rows[page]
    touched = {known.names[row[1]] for _, row in rows if len(row) in (8, 13) and not is_head(row) and row[1]}
    touched |= {known.names[number] for number, row in rows if is_head(row)}
    lost = {row[1] for _, row in rows if len(row) == 2}
    if page in known.others:
        lost.add(LONG.strip())
    for name, item in known.sessions.items():
        told = [*item["commands"], *item.get("feedback", [])]
        if lost.intersection(value for each in told for value in each.values()):
            touched.add(name)
    found = salvage(store)
    kept = plain(found)
    for name in known.sessions.keys() - touched:
        assert kept[name] == known.sessions[name]
    assert set(found.incomplete) <= touched
    assert found.whole >= len(known.sessions) - len(touched)


@FUZZ
@given(st.data())
def test_no_damage_raises_anything_but_our_errors(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes overwritten anywhere, pages zeroed, files cut off: something is salvaged, or nothing."""
    store = Path(shutil.copy(whole, tmp_path / "memory.sqlite3"))
    size = store.stat().st_size
    for _ in range(data.draw(st.integers(1, 8))):
        how = data.draw(st.sampled_from(["byte", "bytes", "page", "head", "cut"]))
        place = data.draw(st.integers(0, size - 1))
        if how == "byte":
            overwrite(store, place, bytes([data.draw(st.integers(0, 255))]))
        elif how == "bytes":
            overwrite(store, place, data.draw(st.binary(min_size=1, max_size=200)))
        elif how == "page":
            overwrite(store, place // PAGE * PAGE, bytes(PAGE))
        elif how == "head":
            overwrite(store, place % 100, data.draw(st.binary(min_size=1, max_size=8)))
        else:
            os.truncate(store, place)
    before = store.read_bytes()
    found = salvage(store)
    assert store.read_bytes() == before
    assert len({record.session_id for record in found.records}) == len(found.records)
    assert found.whole + len(found.incomplete) + len(found.headless) == len(found.records)


@FUZZ
@given(st.binary(max_size=5000), st.booleans())
def test_any_file_is_salvaged_or_refused(tmp_path: Path, noise: bytes, with_head: bool) -> None:
    """Random bytes hold nothing; the error says so, and no file is made."""
    path = tmp_path / "noise"
    path.write_bytes(b"SQLite format 3\0\x10\0" + noise if with_head else noise)
    with pytest.raises(StorageError, match="nothing of a memory can be read"):
        repair(path, tmp_path / "new.sqlite3", "lexical")
    assert not list(tmp_path.glob("new*"))


@FUZZ
@given(st.integers(1, 13), st.binary(min_size=8, max_size=8), st.integers(0, 2**32))
def test_hostile_leaves_cost_no_time(tmp_path: Path, flag: int, head: bytes, seed: int) -> None:
    """Pages full of cell pointers and lengths that lie are read in a moment."""
    chance = random.Random(seed)
    page = bytes([13]) + head[:2] + struct.pack(">HH", 2040, 16) + b"\0"
    page += b"".join(struct.pack(">H", chance.choice([4000, 3000, chance.randrange(65536)])) for _ in range(1000))
    page = page.ljust(PAGE, chance.choice([b"\x81", b"\x02", b"\xff", b"\0"]))[:PAGE]
    path = tmp_path / "hostile"
    path.write_bytes(b"SQLite format 3\0\x10\0".ljust(PAGE, b"\0") + page * 20)
    begun = time.process_time()
    assert salvage(path).records == []
    assert time.process_time() - begun < 5


def test_cells_of_a_page_take_no_more_than_the_page(tmp_path: Path) -> None:
    """Rows that overlap, of which a page could hold a great many, are no rows."""
    row = bytes([0x87, 0x6C, 1, 4, 0, 0x8F, 0x5C])  # 1,004 bytes, row 1: a header of 4, nothing, 1,000 bytes
    count, first = 300, 700
    page = (b"\x0d\0\0" + struct.pack(">HH", count, first) + b"\0").ljust(first, b"\0") + row * 490
    places = struct.pack(f">{count}H", *range(first, first + 7 * count, 7))
    page = (page[:8] + places + page[8 + len(places) :]).ljust(PAGE, b"\0")[:PAGE]
    path = tmp_path / "hostile"
    path.write_bytes(b"SQLite format 3\0\x10\0".ljust(PAGE, b"\0") + page)
    with Pages(path) as pages:
        rows = list(pages.rows(2))
        assert 1 <= len(rows) <= 4
        assert pages.refused == 1


def test_a_chain_of_pages_that_never_ends_is_left(store: Path) -> None:
    """An overflow page that names itself as the next one costs its row, and nothing else."""
    original = log_of(store)
    (leaf,) = [n for n, rows in leaves(store, is_text).items() if any(row[1] == LONG.strip() for _, row in rows)]
    with Pages(store) as pages:
        assert list(pages.rows(leaf))
        first, *_, last = sorted(pages._followed)
        ends = [n for n in pages._followed if pages.page(n)[:4] == bytes(4)]
    assert first < last
    assert len(ends) == 1
    overwrite(store, (ends[0] - 1) * PAGE, struct.pack(">I", ends[0]))
    assert plain(salvage(store)) == original  # no page is wanted after the last one
    middle = first if first != ends[0] else last
    overwrite(store, (middle - 1) * PAGE, struct.pack(">I", middle))
    found = salvage(store)
    assert found.incomplete == ["session-30"]
    assert found.lost_steps == 1
    assert found.unreadable >= 1


@pytest.mark.parametrize("size", [512, 1024, 4096, 8192, 65536])
@pytest.mark.parametrize("lost", [100, 4096])
def test_the_first_page_may_be_lost(store: Path, size: int, lost: int) -> None:
    """Without the head of the file its page size is found out."""
    original = log_of(store)
    change(store, "PRAGMA journal_mode = DELETE", f"PRAGMA page_size = {size}", "VACUUM")
    overwrite(store, 0, bytes(min(lost, size)))
    if size < lost:
        overwrite(store, 0, bytes(size))
    assert plain(salvage(store)) == original


@pytest.mark.parametrize(
    ("place", "data"), [(16, b"\x02\0"), (16, b"\0\1"), (20, b"\xff"), (28, b"\0\0\0\3"), (32, b"\xff" * 8)]
)
def test_a_damaged_head_is_not_believed(store: Path, place: int, data: bytes) -> None:
    """A wrong page size, room at the end of pages, page count or list of free pages costs next to nothing."""
    original = log_of(store)
    found = plain(salvage(overwrite(store, place, data)))
    if place == 20:  # where long rows go on is told by it
        del original["session-30"], found["session-30"]
    assert found == original


def test_of_two_copies_the_closed_session_counts(store: Path) -> None:
    """An older copy of a page, which no list of free pages tells of, neither reopens nor doubles a session."""
    old = b"".join(
        store.read_bytes()[(page - 1) * PAGE : page * PAGE]
        for page, rows in leaves(store, is_head).items()
        if any(is_head(row) and row[1] == "open" for _, row in rows)
    )
    assert len(old) == PAGE
    with (
        ProceduralMemoryEngine(embedder="lexical") as other,
        ProceduralMemoryEngine(path=store, embedder="lexical") as engine,
    ):
        other.learn_workflow([{"command": "git pull", "cwd": "/work/p1"}, "make", "ls"], "failure", session_id="open")
        engine.merge(other)
    original = log_of(store)
    assert original["open"]["closed"]
    content = store.read_bytes()
    # Behind what there is; and before it, over a page that only leads to others.
    with Pages(store) as pages:
        inner = next(n for n in range(2, pages.count) if pages.page(n)[0] in (2, 5))
    assert inner * PAGE < content.index(b"session-1")
    for place in (len(content), (inner - 1) * PAGE):
        store.write_bytes(content)
        assert plain(salvage(overwrite(store, place, old))) == original


def test_a_broken_interior_page_loses_nothing(store: Path) -> None:
    """Every page that leads to others may be lost."""
    original = log_of(store)
    with Pages(store) as pages:
        inner = [n for n in range(2, pages.count + 1) if pages.page(n)[0] in (2, 5)]
    assert len(inner) > 5
    for number in inner:
        overwrite(store, (number - 1) * PAGE, bytes(PAGE))
    found = salvage(store)
    assert plain(found) == original
    assert found.whole == len(original)


def test_sessions_without_their_row_get_an_id_of_their_content(store: Path, tmp_path: Path) -> None:
    """Steps without their session are kept under an id that is the same each time, with unknown outcome, closed."""
    original = log_of(store)
    for page in leaves(store, is_head):
        overwrite(store, (page - 1) * PAGE, bytes(PAGE))
    found = salvage(store)
    assert found.report["lost"] == {"sessions": 0, "steps": 0, "feedback": 0}
    assert len(found.headless) == len(original) == len(found.records)
    assert all(r.session_id.startswith("salvaged-") and r.closed and r.outcome is None for r in found.records)
    by_steps = {json.dumps(item["commands"]) for item in original.values()}
    assert {json.dumps(item["commands"]) for item in plain(found).values()} == by_steps
    starts = [record.start for record in found.records]
    assert starts == sorted(starts)
    assert salvage(store).headless == found.headless
    repair(store, tmp_path / "new.sqlite3", "lexical")
    assert log_of(tmp_path / "new.sqlite3").keys() == set(found.headless)


def test_a_step_without_its_text_is_left_out(store: Path) -> None:
    """What was told after it goes with it, what was told after others keeps its place; the session is incomplete."""
    change(store, f"UPDATE text SET text = 'rm -rf /' WHERE id = {text_id('make')}")
    found = salvage(store)
    assert found.incomplete == ["live"]
    (live,) = [record for record in found.records if record.session_id == "live"]
    assert [command.command for command in live.commands] == ["make test"]
    assert live.outcome == "success"
    assert [(row.step, row.line) for row in live.feedback] == [(1, "git push")]
    # The open session was shown "make", which is lost, too.
    assert (found.lost_steps, found.lost_feedback) == (1, 2)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE log SET exit_code = 77 WHERE step = 1 AND session = 5",
        "DELETE FROM log WHERE step = 1 AND session = 5",
        "UPDATE session SET outcome = 1 - coalesce(outcome, 0) WHERE id = 5",
        "UPDATE session SET digest = x'00' WHERE id = 5",
    ],
)
def test_a_session_that_is_not_what_it_was_is_told(store: Path, sql: str) -> None:
    """A closed session is whole only if its digest says so."""
    found = salvage(change(store, sql))
    assert found.incomplete == ["session-4"]
    assert found.whole == 61


def test_values_that_break_a_rule_cost_their_step_only(store: Path) -> None:
    """A value that no step may have is damage; the other steps of the session stay."""
    change(store, "UPDATE log SET timestamp = -5e30 WHERE step = 1 AND session = 5")
    found = salvage(store)
    assert found.incomplete == ["session-4"]
    assert found.lost_steps == 1
    assert len({r.session_id: r for r in found.records}["session-4"].commands) == 2


@pytest.mark.parametrize("sql", ["start = -5", "start = 1e300", "session_id = ''", "session_id = 'a' || char(0)"])
def test_a_head_that_breaks_a_rule_costs_no_step(store: Path, sql: str) -> None:
    """A session whose own row cannot be true keeps its steps, under another id."""
    found = salvage(change(store, f"UPDATE session SET {sql} WHERE id = 5"))
    assert (len(found.headless), found.whole, found.incomplete) == (1, 61, [])
    assert found.report["lost"] == {"sessions": 0, "steps": 0, "feedback": 0}


def test_numbers_that_cannot_be_are_no_steps(store: Path) -> None:
    """A step with a number beyond all others is not believed."""
    found = salvage(change(store, f"UPDATE log SET step = {2**62} WHERE session = 5 AND step = 2"))
    assert found.incomplete == ["session-4"]
    assert found.lost_steps == 0  # nothing tells that it was there
    with pytest.raises(StorageError):
        repair(change(store, "DELETE FROM log", "DELETE FROM session", "DELETE FROM feedback"), store.parent / "new")


def test_a_log_that_claims_too_many_pages_costs_no_time(store: Path) -> None:
    """A write-ahead log may say that a file has four billion pages."""

    def checksum(data: bytes, one: int = 0, two: int = 0) -> tuple[int, int]:
        words = struct.unpack(f">{len(data) // 4}I", data)
        for i in range(0, len(words), 2):
            one = (one + words[i] + two) % 2**32
            two = (two + words[i + 1] + one) % 2**32
        return one, two

    head = struct.pack(">6I", 0x377F0683, 3007000, PAGE, 0, 1, 2)
    sums = checksum(head)
    page = store.read_bytes()[:PAGE]
    frame = struct.pack(">2I", 1, 2**32 - 1)
    ends = checksum(page, *checksum(frame, *sums))
    log = head + struct.pack(">2I", *sums) + frame + struct.pack(">4I", 1, 2, *ends) + page
    store.with_name(store.name + "-wal").write_bytes(log)
    with Pages(store) as pages:
        assert pages.declared == 2**32 - 1
        assert pages.count == store.stat().st_size // PAGE
    assert plain(salvage(store)) == log_of(Path(shutil.copy(store, store.with_name("alone"))))


def test_what_was_deleted_does_not_come_back(store: Path, tmp_path: Path) -> None:
    """Pages in no use are not read, also where they were not overwritten; nor is what the engine forgot."""
    change(store, "PRAGMA secure_delete = OFF", "DELETE FROM log", "DELETE FROM session")
    assert salvage(store).records == []
    other = make(tmp_path / "other.sqlite3", 5)
    with ProceduralMemoryEngine(path=other, embedder="lexical") as engine:
        engine.forget(session="session-1")
    assert "session-1" not in plain(salvage(other))


def test_secrets_are_redacted_again(store: Path) -> None:
    """What an older version let pass, the new store does not hold."""
    secret = "curl -u admin:hunter2hunter2 https://example.org"
    change(
        store,
        f"INSERT INTO text VALUES ({text_id(secret)}, '{secret}')",
        f"UPDATE log SET command = {text_id(secret)} WHERE session = 5 AND step = 0",
    )
    lines = [c.command for r in salvage(store).records if r.session_id == "session-4" for c in r.commands]
    assert "<SECRET>" in lines[0]
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE feedback", "DROP TABLE shown", "PRAGMA user_version = 2"],
        ["DROP TABLE feedback", "PRAGMA user_version = 0"],
        ["ALTER TABLE session ADD COLUMN later TEXT", "UPDATE session SET later = 'x'", "PRAGMA user_version = 99"],
        ["ALTER TABLE log ADD COLUMN later INTEGER", "ALTER TABLE feedback ADD COLUMN later"],
    ],
)
def test_other_versions_are_salvaged(store: Path, statements: list[str]) -> None:
    """Stores that know of no feedback, and those with a column more."""
    original = log_of(store)
    found = plain(salvage(change(store, *statements)))
    if "DROP TABLE feedback" in statements:
        for item in original.values():
            item.pop("feedback", None)
    assert found == original


def test_the_write_ahead_log_is_taken_in(tmp_path: Path) -> None:
    """What was committed but not yet moved into the file counts; a torn end of the log costs only itself."""
    path = tmp_path / "memory.sqlite3"
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        learn(engine, 10)
        engine.learn_workflow(["a", "b", "c"], session_id="last")
        copy = tmp_path / "copy" / "memory.sqlite3"
        copy.parent.mkdir()
        for name in ("memory.sqlite3", "memory.sqlite3-wal"):
            shutil.copy(tmp_path / name, copy.parent)
    original = log_of(path)
    wal = copy.with_name("memory.sqlite3-wal")
    assert wal.stat().st_size > 10 * PAGE
    before = contents(copy.parent)
    assert plain(salvage(copy)) == original
    assert contents(copy.parent) == before
    overwrite(copy, 0, bytes(copy.stat().st_size))  # all of it stands in the log
    assert plain(salvage(copy)) == original
    os.truncate(wal, wal.stat().st_size - 24 - PAGE)  # the end of the last transaction
    assert original.keys() - plain(salvage(copy)).keys() <= {"last"}
    overwrite(wal, 32 + 24 + 100, b"\x55\xaa\x55")  # from here on nothing is sure
    assert salvage(copy).records == []


def test_repair_replaces_nothing(store: Path, tmp_path: Path) -> None:
    """The new file must be new; there must be a damaged one; what fails leaves no new file."""
    other = tmp_path / "other"
    other.write_text("mine")
    with pytest.raises(InvalidInputError, match=r"new file must not exist, got .*other"):
        repair(store, other, "lexical")
    with pytest.raises(InvalidInputError, match="must not exist"):
        repair(store, store, "lexical")
    (tmp_path / "new-wal").write_text("mine")
    with pytest.raises(InvalidInputError, match="new-wal"):
        repair(store, tmp_path / "new", "lexical")
    with pytest.raises(InvalidInputError, match="there is none"):
        repair(tmp_path / "missing", tmp_path / "fresh", "lexical")
    with pytest.raises(InvalidInputError, match="embedder"):
        repair(store, tmp_path / "fresh", "no such embedder")
    assert not list(tmp_path.glob("fresh*"))
    assert other.read_text() == (tmp_path / "new-wal").read_text() == "mine"


def test_repair_on_the_command_line(store: Path, tmp_path: Path) -> None:
    """The store's own words lead to the command, which tells what came back."""
    with Pages(store) as pages:
        inner = [n for n in range(2, pages.count + 1) if pages.page(n)[0] == 5]
    for number in inner:
        overwrite(store, (number - 1) * PAGE, b"\xee" * PAGE)
    before = store.read_bytes()
    with pytest.raises(StorageError, match="damaged or no memory") as error:
        ProceduralMemoryEngine(path=store, embedder="lexical").stats()
    words = str(error.value).split("and: procedural-memory ")[1].split()
    assert store.read_bytes() == before
    ran = CliRunner().invoke(main, [*words, "--embedder", "lexical", "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert (told["sessions_whole"], told["lost"]["steps"]) == (62, 0)
    shown = CliRunner().invoke(main, ["repair", str(store), str(tmp_path / "b.sqlite3"), "--embedder", "lexical"])
    assert "sessions whole" in shown.output
    again = CliRunner().invoke(main, ["repair", str(store), str(tmp_path / "b.sqlite3")])
    assert again.exit_code == 1
    assert "must not exist" in again.output
