"""Forgetting, pruning, scrubbing: what goes, what is left, and that no file holds a trace of it."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from said import said

from procedural_memory import Forgotten, InvalidInputError, InvalidTypeError, ProceduralMemoryEngine, normalize
from procedural_memory.commands.hide import hider
from procedural_memory.storage import sqlite
from procedural_memory.types import Verdict

COMMANDS = ["git pull", "make", "make test", "cat a.py", "cat alice.txt", "vim b.py"]
CONTEXTS = [[], ["git pull"], ["make", "make test"], ["cat a.py"]]
NOW = 1_700_000_000
DAY = 86_400


def fresh(path: Path | None = None) -> ProceduralMemoryEngine:
    """An engine without a model."""
    return ProceduralMemoryEngine(path=path, embedder="lexical")


def content(engine: ProceduralMemoryEngine, path: Path) -> dict[str, Any]:
    """What a snapshot holds, but for the weights of the ranker, which follow the order of steps."""
    held: dict[str, Any] = json.loads(engine.save(path).read_text())
    return {**held, "ranker": "", "checksum": "", "feedback_checksum": ""}


def left_of(held: dict[str, Any], path: Path) -> ProceduralMemoryEngine:
    """Return a memory that only ever learned what a snapshot holds."""
    path.write_text(json.dumps({k: v for k, v in held.items() if not k.endswith("checksum")}))
    engine = fresh()
    engine.load(path)
    return engine


def rounded(value: Any) -> Any:
    """Floats up to their last bits: sums are taken in another order."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-9)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return tuple(rounded(item) for item in value) if isinstance(value, (list, tuple)) else value


def check_same(one: ProceduralMemoryEngine, other: ProceduralMemoryEngine, folder: Path) -> None:
    """Assert that two memories hold the same log and derived the same from it."""
    for engine in (one, other):
        engine.flush()
    assert content(one, folder / "one.json") == content(other, folder / "other.json")
    assert [asdict(p) for p in one.patterns.values()] == [asdict(p) for p in other.patterns.values()]
    assert list(one.workflow_graph.edges(data=True)) == list(other.workflow_graph.edges(data=True))
    assert one.causal_chains == other.causal_chains
    sizes = [{k: v for k, v in engine.stats().items() if "count" in k or "states" in k} for engine in (one, other)]
    assert sizes[0] == sizes[1]
    assert one.predict_outcome(["make"]) == other.predict_outcome(["make"])
    for context in CONTEXTS:
        assert said(one, context) == rounded(said(other, context))


steps = st.fixed_dictionaries(
    {
        "command": st.sampled_from(COMMANDS),
        "exit_code": st.sampled_from([None, 0, 1]),
        "project": st.sampled_from([None, "/p", "/q"]),
        "timestamp": st.one_of(st.none(), st.integers(NOW - 3, NOW + 3)),
    }
)
memories = st.tuples(
    st.lists(
        st.fixed_dictionaries(
            {
                "commands": st.lists(steps, min_size=1, max_size=5),
                "outcome": st.sampled_from(["success", "failure", None]),
                "closed": st.booleans(),
                "source": st.sampled_from([None, "hook"]),
                "start": st.integers(NOW - 3, NOW),
            }
        ),
        max_size=6,
    ),
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 5), st.sampled_from(COMMANDS), st.sampled_from(get_args(Verdict))),
        max_size=8,
    ),
)


def memory(made: Any) -> dict[str, Any]:
    """Return the snapshot of a memory: sessions, and feedback within them and of none."""
    sessions, shown = made
    held: dict[str, Any] = {"format": "procedural-memory", "version": 1, "sessions": [], "feedback": []}
    for number, item in enumerate(sessions):
        # As when it was learned, a session begins with its first step.
        first = item["commands"][0]["timestamp"]
        start = item["start"] if first is None else first
        outcome = item["outcome"] if item["closed"] else None
        rows = [{k: v for k, v in step.items() if v is not None} for step in item["commands"]]
        held["sessions"].append(
            {**item, "session_id": f"s{number}", "start": start, "outcome": outcome, "commands": rows, "feedback": []}
        )
    for when, (number, step, line, verdict) in enumerate(shown, NOW - 3):
        row = {"line": line, "verdict": verdict, "timestamp": when}
        if number < len(held["sessions"]):
            session = held["sessions"][number]
            session["feedback"].append({**row, "step": min(step, len(session["commands"]))})
        else:
            held["feedback"].append({**row, "after": COMMANDS[step], "project": "/p"})
    return held


def meant(asked: dict[str, Any], line: str, project: str | None, when: float) -> bool:
    """Say in plain words whether a line meets conditions on steps."""
    tests: dict[str, Callable[[Any], bool]] = {
        "command": lambda value: line == value,
        "template": lambda value: normalize(line) == value,
        "containing": lambda value: value in line,
        "matching": lambda value: re.search(value, line) is not None,
        "project": lambda value: project == value,
        "before": lambda value: when < value,
    }
    return all(tests[name](value) for name, value in asked.items() if name in tests)


def without(held: dict[str, Any], asked: dict[str, Any], patterns: dict[str, str]) -> dict[str, Any]:
    """Return a snapshot that never held what meets the conditions."""
    sessions = []
    for item in held["sessions"]:
        asked_of = {"session": item["session_id"], "source": item["source"], "pattern": patterns[item["session_id"]]}
        if any(asked[name] != value for name, value in asked_of.items() if name in asked):
            sessions.append(item)
            continue
        kept, rows, moved = [], [], {0: 0}
        lines = [None, *[step["command"] for step in item["commands"]]]
        for number, step in enumerate(item["commands"], 1):
            when = step.get("timestamp", item["start"])
            if not meant(asked, step["command"], step.get("project"), when):
                kept.append(step)
                moved[number] = len(kept)
        for row in item["feedback"]:
            about = [line for line in (row["line"], lines[row["step"]]) if line is not None]
            if row["step"] in moved and not any(meant(asked, line, None, row["timestamp"]) for line in about):
                rows.append({**row, "step": moved[row["step"]]})
        # A session that goes on does so without its steps, unless it was meant itself.
        if kept or not (item["closed"] or asked.keys() <= {"session", "source", "pattern"}):
            shorter = kept and len(kept) < len(item["commands"])
            start = kept[0].get("timestamp", item["start"]) if shorter else item["start"]
            sessions.append({**item, "commands": kept, "feedback": rows, "start": start})
    alone = [
        row
        for row in held["feedback"]
        if {"session", "source", "pattern"} & asked.keys()
        or not any(meant(asked, line, row["project"], row["timestamp"]) for line in (row["line"], row["after"]))
    ]
    return {**held, "sessions": sessions, "feedback": alone}


conditions = st.fixed_dictionaries(
    {},
    optional={
        "command": st.sampled_from(COMMANDS),
        "template": st.sampled_from(["make", "cat <FILE>"]),
        "containing": st.sampled_from(["alice", "make", "e"]),
        "matching": st.sampled_from([r"^cat \w+\.py$", "git|test", "(?i)ALICE"]),
        "project": st.sampled_from(["/p", "/q"]),
        "before": st.integers(NOW - 3, NOW + 4),
        "session": st.sampled_from(["s0", "s1", "s9"]),
        "source": st.just("hook"),
        "pattern": st.sampled_from(["s0", "s1"]),
    },
).filter(bool)


@settings(max_examples=40, deadline=None)
@given(memories, conditions)
def test_forgetting_equals_never_having_learned(
    tmp_path_factory: pytest.TempPathFactory, made: Any, asked: dict[str, Any]
) -> None:
    """Whatever is forgotten, log and all that is derived are those of a memory that never held it."""
    folder = tmp_path_factory.mktemp("forget")
    with left_of(memory(made), folder / "all.json") as engine:
        held = content(engine, folder / "all.json")
        for item in held["sessions"]:
            item.setdefault("feedback", [])
        held.setdefault("feedback", [])
        # A pattern is named by a session that followed it.
        ids = {item["session_id"]: _pattern_id(item["commands"]) for item in held["sessions"]}
        if "pattern" in asked:
            asked = {**asked, "pattern": ids.get(asked["pattern"], "none")}
        rest = without(held, asked, ids)
        told = engine.forget(**asked, dry_run=True)
        assert content(engine, folder / "again.json") == content(left_of(held, folder / "h.json"), folder / "h.json")
        assert engine.forget(**asked) == told
        assert _sizes(held)[0] - _sizes(rest)[0] == told.steps
        assert _sizes(held)[1] - _sizes(rest)[1] == told.sessions
        assert _sizes(held)[2] - _sizes(rest)[2] == told.feedback
        with left_of(rest, folder / "rest.json") as innocent:
            check_same(engine, innocent, folder)


def _pattern_id(commands: list[dict[str, Any]]) -> str:
    with ProceduralMemoryEngine(embedder="lexical", min_commands=1) as engine:
        return str(engine.learn_workflow(commands))


def _sizes(held: dict[str, Any]) -> tuple[int, int, int]:
    sessions = held["sessions"]
    feedback = sum(len(item["feedback"]) for item in sessions) + len(held["feedback"])
    return sum(len(item["commands"]) for item in sessions), len(sessions), feedback


limits = st.fixed_dictionaries(
    {}, optional={"max_age": st.integers(0, 6), "min_support": st.integers(1, 3), "max_size": st.integers(1, 12)}
).filter(bool)


@settings(max_examples=30, deadline=None)
@given(memories, limits, st.randoms())
def test_pruning_keeps_within_all_limits(
    tmp_path_factory: pytest.TempPathFactory, made: Any, asked: dict[str, Any], random: Any
) -> None:
    """What is left keeps within the limits, open sessions stay, again finds nothing, and no order plays a part."""
    folder = tmp_path_factory.mktemp("prune")
    held = memory(made)
    shuffled = {**held, "sessions": random.sample(held["sessions"], len(held["sessions"]))}
    with left_of(held, folder / "a.json") as engine, left_of(shuffled, folder / "b.json") as other:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: NOW + 3.0)
            told = engine.prune(**asked, dry_run=True)
            assert engine.prune(**asked) == told
            assert other.prune(**asked) == told
            assert engine.prune(**asked) == Forgotten(0, 0, 0)
        rest = content(engine, folder / "rest.json")
        for name, item in {item["session_id"]: item for item in held["sessions"]}.items():
            assert item["closed"] or name in {left["session_id"] for left in rest["sessions"]}
        closed = [item for item in rest["sessions"] if item["closed"]]
        if "max_age" in asked:
            oldest = NOW + 3 - asked["max_age"]
            ends = [max([c["timestamp"] for c in i["commands"] if "timestamp" in c] or [i["start"]]) for i in closed]
            assert all(end >= oldest for end in ends)
            assert all(row["timestamp"] >= oldest for row in rest.get("feedback", []))
        if "min_support" in asked:
            runs = [p.success_count + p.failure_count + p.unknown_count for p in engine.patterns.values()]
            assert all(count >= asked["min_support"] for count in runs)
        if "max_size" in asked:
            assert not closed or sum(len(item["commands"]) for item in rest["sessions"]) <= asked["max_size"]
        with left_of(rest, folder / "rest.json") as innocent:
            check_same(engine, innocent, folder)
        check_same(engine, other, folder)


def test_prune_takes_the_old_the_rare_and_the_oldest(engine: ProceduralMemoryEngine) -> None:
    """Each limit takes what it says and no more; the newest steps of a session count."""
    start = time.time()
    for age, name in ((40, "old"), (20, "middle"), (1, "new")):
        lines = ["make", "make test", f"git {name}"]
        engine.learn_workflow(
            [{"command": c, "timestamp": start - age * DAY + i * 5 * DAY / 2} for i, c in enumerate(lines)],
            session_id=name,
        )
    engine.learn_workflow(["make", "make test", "git new"], session_id="again")
    live = engine.session(session_id="live")
    live.record("make", timestamp=start - 99 * DAY)

    def told(**asked: Any) -> tuple[str, ...]:
        return engine.prune(**asked, dry_run=True).examples

    assert told(max_age=timedelta(days=36)) == ()  # its last step was five days after its first
    assert told(max_age=timedelta(days=34)) == ("make", "make test", "git old")
    assert told(min_support=2) == ("make", "make test", "git old", "git middle")
    assert told(max_size=13) == ()
    assert told(max_size=12) == told(max_size=10) == ("make", "make test", "git old")
    assert told(max_size=9) == ("make", "make test", "git old", "git middle")
    # The oldest one that follows a pattern takes the other with it, where one alone has too little support.
    assert engine.prune(max_size=4, min_support=2, dry_run=True).sessions == 4
    assert engine.stats()["session_count"] == 5
    assert engine.prune(max_size=1) == Forgotten(12, 4, 0, ("make", "make test", "git old", "git middle", "git new"))
    live.record("make test")
    assert engine.stats()["command_count"] == 2


BAD: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("forget", {"matching": "("}, InvalidInputError, r"matching: must be a regular expression \(.*got '\('"),
    ("forget", {"matching": ""}, InvalidInputError, "matching: must not match the empty text"),
    ("forget", {"matching": 5}, InvalidTypeError, "matching: must be a regular expression of text, not int"),
    (
        "forget",
        {"matching": re.compile(b"a")},
        InvalidTypeError,
        "matching: must be a regular expression of text, not Pattern",
    ),
    ("forget", {"command": " "}, InvalidInputError, "command: must not be empty"),
    ("forget", {"session": 5}, InvalidTypeError, "session: must be a string"),
    ("prune", {}, InvalidInputError, "prune: give at least one of max_age="),
    ("prune", {"max_age": -1}, InvalidInputError, "max_age: must be seconds of 0 or more"),
    ("prune", {"max_age": "90d"}, InvalidTypeError, "max_age: must be a number"),
    ("prune", {"min_support": 0}, InvalidInputError, "min_support: must be at least 1"),
    ("prune", {"max_size": 2.5}, InvalidTypeError, "max_size: must be an integer"),
    ("scrub", {"patterns": ["a", "["]}, InvalidInputError, r"patterns\[1\]: must be a regular expression"),
    ("scrub", {"patterns": 5}, InvalidTypeError, "patterns: must be regular expressions, not int"),
]


@pytest.mark.parametrize(("name", "asked", "error", "message"), BAD)
def test_bad_conditions_change_nothing(
    learned: ProceduralMemoryEngine, name: str, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An error names condition, rule and value."""
    before = learned.stats()
    with pytest.raises(error, match=message):
        getattr(learned, name)(**asked)
    assert learned.stats() == before


def test_examples_show_what_goes(engine: ProceduralMemoryEngine) -> None:
    """Ten different lines at most, oldest first; a command is compared as it was learned, without its secret."""
    secret = "mysql -phunter2secret db"
    engine.learn_workflow([f"echo {i % 15}" for i in range(40)] + [secret])
    told = engine.forget(containing="echo", dry_run=True)
    assert told == Forgotten(40, 0, 0, tuple(f"echo {i}" for i in range(10)))
    assert engine.forget(command=secret).steps == 1
    assert engine.forget(command="echo").steps == 0
    assert engine.forget(command="echo 1").steps == 3
    assert engine.forget(matching=re.compile("ECHO [23]$", re.IGNORECASE)).steps == 6


def test_a_plan_that_fails_changes_nothing(engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting and scrubbing are done whole or not at all."""
    engine.learn_many([["make", "cat alice.txt", "ls"], ["make", "make test", "cat alice.txt"]])
    engine.flush()
    before, graph = engine.stats(), list(engine.workflow_graph.edges)

    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    with monkeypatch.context() as patch:
        patch.setattr(engine._store, "drop_unused", fail)
        for call in (
            lambda: engine.forget(containing="alice"),
            lambda: engine.scrub("alice"),
            lambda: engine.prune(max_age=0),
        ):
            with pytest.raises(RuntimeError, match="stop"):
                call()
    assert (engine.stats(), list(engine.workflow_graph.edges)) == (before, graph)


# -- scrub


def scrubbed(held: dict[str, Any], path: Path) -> ProceduralMemoryEngine:
    """Return a memory that was told every text as it is after a scrub."""
    hide = hider([re.compile("alice"), re.compile("hook|/q")])
    texts = {"command", "project", "source", "line", "after"}

    def hidden(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: hidden(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [hidden(item) for item in value]
        return hide(value) if key in texts and value is not None else value

    return left_of(hidden(held), path)


@settings(max_examples=30, deadline=None)
@given(memories)
def test_scrubbing_equals_having_learned_redacted(tmp_path_factory: pytest.TempPathFactory, made: Any) -> None:
    """Every count and every probability is that of a memory that learned the redacted texts; again finds nothing."""
    folder = tmp_path_factory.mktemp("scrub")
    with left_of(memory(made), folder / "all.json") as engine:
        told = engine.scrub(["alice", re.compile("hook|/q")], dry_run=True)
        assert engine.scrub(["alice", "hook|/q"]) == told
        assert engine.scrub(["alice", "hook|/q"]) == 0
        with scrubbed(memory(made), folder / "redacted.json") as innocent:
            check_same(engine, innocent, folder)
            # The rows of the log stayed where they were, so the ranker learned the same, too.
            assert engine._rankers.to_bytes() == innocent._rankers.to_bytes()


def test_scrub_applies_the_redaction_of_today(engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older version did not know to be a secret is redacted now, everywhere."""
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    with monkeypatch.context() as older:
        for name in ("redact", "_redact_again"):
            older.setattr(f"procedural_memory.validation.{name}", lambda text: text)
        step = {"command": f"curl {secret}", "cwd": f"/{secret}", "host": secret, "branch": secret, "source": secret}
        engine.learn_workflow([step, step, "ls"], session_id=f"{secret}-1", source=secret)
        engine.learn_workflow(["ls", "pwd", "make"], session_id="plain")
        engine.feedback([f"curl {secret}"], f"wget {secret}", "rejected")
    assert secret in "".join(engine._store._db.iterdump())  # type: ignore[attr-defined]
    assert secret not in repr(engine.patterns.values())  # it is redacted once more on its way out
    assert engine.scrub(dry_run=True) == 2 + 1 + 1 + 1  # steps, the source of the third, the session, the verdict
    assert secret in "".join(engine._store._db.iterdump())  # type: ignore[attr-defined]
    assert engine.scrub() == 5
    assert secret not in "".join(engine._store._db.iterdump())  # type: ignore[attr-defined]
    assert engine.scrub() == 0
    engine.learn_workflow([step, step, "ls"], session_id=f"{secret}-1", source=secret)  # the same content: no conflict
    assert engine.stats()["session_count"] == 2


def test_ids_that_become_equal_stay_apart(engine: ProceduralMemoryEngine) -> None:
    """Two sessions whose ids differ in what is hidden are two sessions still, under ids that stay."""
    for name in ("alice", "bob", "carl"):
        engine.learn_workflow(["make", "ls", f"echo {name}"], session_id=f"run of {name}")
    with engine.session(session_id="dora's") as live:
        live.record("make")
        assert engine.scrub(["alice|bob|carl", "dora"]) == 3 + 3 + 1
        assert [row.session_id for row in engine._store.sessions()] == [
            "run of <SECRET>",
            "run of <SECRET> b",
            "run of <SECRET> c",
            "<SECRET>'s",
        ]
        assert live.session_id == "<SECRET>'s"
        live.record("ls")
    assert engine.scrub(["alice|bob|carl", "dora", r"\d+"]) == 0


@pytest.mark.parametrize("line", ["cat alice.txt", "git commit -m 'for alice'"])
def test_an_open_session_proposes_nothing_that_was_scrubbed(tmp_path: Path, line: str) -> None:
    """Nor does it remember it, though another engine on the file scrubbed, and where the template stays the same."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as one, fresh(path) as other:
        live = one.session(cwd="/src")
        for command in (line, "make", line, "make"):
            live.record(command)
        assert "alice" in repr(live.predict())
        assert other.scrub("alice") == 2
        assert "alice" not in repr(live.predict())
        assert "alice" not in repr(live._context)
        live.record("ls")
        assert live.close() in other.patterns


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="ab <>SECRT=1", max_size=20),
    st.lists(
        st.sampled_from([".", "a", "a+", r"\S+", ".*", "SECRET", "<S", "T>", "a(?P<s>b+)", "(?=a)", "=[^=]*", r"\d"]),
        max_size=3,
    ),
)
@example("a=b<SECRET>=", ["=[^=]*"])
def test_hiding_twice_changes_nothing(text: str, patterns: list[str]) -> None:
    """What is hidden stays hidden and whole, whatever the pattern."""
    hide = hider([re.compile(pattern) for pattern in patterns])
    hidden = hide(text)
    assert hide(hidden) == hidden
    for pattern in patterns:
        if pattern in ("a", "a+", r"\d"):
            assert not re.search(pattern, hidden)


def test_what_is_hidden_stays_whole() -> None:
    """A match that takes in a part of what is hidden takes in all of it; one within it none."""
    assert hider([re.compile("a<S|T> b")])("a<SECRET> b") == "<SECRET>"
    assert hider([re.compile("(?=b)|c|(?P<s>q)")])("a b c") == "a b c"
    assert hider([re.compile("(?=b)|c")])("a b c") == "a b <SECRET>"
    assert hider([re.compile("CRE|x+")])("x <SECRET>xx") == "<SECRET> <SECRET><SECRET>"


def test_only_the_group_is_hidden() -> None:
    """A group ``s`` says what of a match is the secret, as in the rules that are always applied."""
    assert hider([re.compile("user=(?P<s>[a-z]+)")])("login user=bob now user=carl") == (
        "login user=<SECRET> now user=<SECRET>"
    )


# -- no trace


WORD = "zqprivate"


def files_hold(folder: Path) -> dict[str, int]:
    """How often each file holds the word that was forgotten."""
    return {file.name: found for file in folder.iterdir() if (found := file.read_bytes().count(WORD.encode()))}


def fill(engine: ProceduralMemoryEngine) -> None:
    """Learn sessions, a third of them with the word, ids and feedback included."""
    sessions = []
    for i in range(60):
        word = WORD if i % 3 == 0 else "plain"
        sessions.append(
            {
                "commands": [f"cat {word}-{i}-{j}.txt" for j in range(3)],
                "session_id": f"{word}-{i * 7919 % 997}",
                "source": word,
                "project": f"/{word}",
            }
        )
    engine.learn_many(sessions)
    engine.feedback(["ls"], f"vim {WORD}.txt", "ignored")
    engine.flush()


WAYS: dict[str, Any] = {
    "forget": lambda engine: (engine.forget(source=WORD), engine.forget(containing=WORD)),
    "prune": lambda engine: engine.prune(max_age=0),
    "scrub": lambda engine: engine.scrub(WORD),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_file_holds_what_went(tmp_path: Path, way: str) -> None:
    """While it is open, with another engine on the file, and after it is closed."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as engine, fresh(path) as other:
        fill(engine)
        assert other.stats()["session_count"] == 60
        assert files_hold(tmp_path)
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        WAYS[way](engine)
        assert files_hold(tmp_path) == {}
        assert other.stats()["session_count"] == {"forget": 40, "prune": 0, "scrub": 60}[way]
        assert way != "prune" or path.stat().st_size < size  # given back
        other.learn_workflow(["make", "make test", "ls"])
    assert files_hold(tmp_path) == {}


@pytest.mark.parametrize("then", ["write", "close", "close of another"])
def test_a_reader_holds_traces_back_no_longer_than_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, then: str
) -> None:
    """What a reader still sees stays in the files; it is told, and taken out at the next write or the next close."""
    monkeypatch.setattr(sqlite, "_PATIENCE_MS", 50)
    path = tmp_path / "m.sqlite3"
    with fresh(path) as engine, fresh(path) as other, closing(sqlite3.connect(path)) as reader:
        fill(engine)
        other.stats()
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchone()
        with caplog.at_level(logging.WARNING):
            assert engine.forget(source=WORD).sessions == 20
            engine.forget(containing=WORD)
        assert "its files may hold traces of it (another process still reads" in caplog.text
        assert files_hold(tmp_path)
        caplog.clear()
        engine.learn_workflow(["a", "b", "c"])  # nor does writing wait for the reader, or tell again
        assert files_hold(tmp_path)
        assert caplog.text == ""
        engine.flush()  # so that nobody writes in the background
        assert reader.execute("SELECT count(*) FROM log WHERE step >= 0").fetchone() == (180,)
        reader.execute("COMMIT")
        if then == "write":
            engine.learn_workflow(["a", "b", "d"])
        elif then == "close":
            engine.close()
        else:
            other.close()
        assert files_hold(tmp_path) == {}
        with closing(sqlite3.connect(path)) as again:
            assert again.execute("SELECT value FROM meta WHERE key = 'uncleaned'").fetchall() == [(0,)]


def test_what_a_crash_left_is_taken_out_at_the_next_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends between forgetting and cleaning leaves word of it."""
    path = tmp_path / "m.sqlite3"
    with closing(sqlite3.connect(path)) as another:
        with monkeypatch.context() as crash, fresh(path) as engine:
            crash.setattr(sqlite.SQLiteStore, "_clean", lambda *_: None)  # as if it never came to it
            fill(engine)
            another.execute("SELECT count(*) FROM log").fetchone()  # so that a close leaves the write-ahead log
            engine.forget(source=WORD)
            engine.forget(containing=WORD)
            engine.close()
        assert files_hold(tmp_path)
        fresh(path).close()
        assert files_hold(tmp_path) == {}


def test_a_full_disk_leaves_what_was_forgotten_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the file cannot be rewritten, forgetting holds, the reason is told, and the next close tries again."""
    path = tmp_path / "m.sqlite3"
    with fresh(path) as engine:
        fill(engine)
        with monkeypatch.context() as full:
            full.setattr(sqlite, "_CLEANING", ("SELECT no_room()",))
            engine.forget(source=WORD)
        assert "no_room" in caplog.text
        assert WORD not in repr(list(engine.patterns.values()))
        engine.forget(containing=WORD)
    assert files_hold(tmp_path) == {}
