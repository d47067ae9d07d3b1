"""The contract that every store fulfils: ``check_*`` functions, run against each of them."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from procedural_memory.storage.base import (
    BEST_VALUES,
    FOLLOWERS,
    HALF_LIFE,
    LOOKED_AT,
    RECENT,
    Bounds,
    Course,
    Delta,
    FeedbackRow,
    Follower,
    PatternRow,
    SessionRow,
    Store,
    context_key,
    hash64,
    moment,
    pattern_row_id,
    pattern_size,
    recent_entry,
    recent_templates,
    text_id,
)
from procedural_memory.storage.tally import BAD, COUNT, FAILURE, GOOD, SESSION, SUCCESS
from procedural_memory.types import Command

MakeStore = Callable[[], Store]
KEY = context_key(("a",))
STEPS = [
    Command("ls -la", 0, "/src", 1e9, 12.5, "p", "test", "human", "box", "main"),
    Command("ünïcödé 🎉\nsecond line"),
]


def counted(*templates: str, start: float = 1.0, session: str = "s") -> Delta:
    """Return a delta in which `templates` followed the context ``a``, one after the other."""
    delta = Delta()
    for step, template in enumerate(templates):
        delta.context(context_key(())).follow(delta.id_of(template))
        number = delta.id_of(template)
        delta.context(KEY).follow(number, entry=recent_entry(moment(start, session, step), number))
    delta.context(KEY).head = delta.id_of("a")
    return delta


def derived(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what is counted in a store, and how its patterns are kept."""
    tables = ("again", "context", "follower", "pattern", "place", "posting", "rank", "shelf", "value")
    with closing(sqlite3.connect(path)) as database:
        return {table: sorted(database.execute(f"SELECT * FROM {table}")) for table in tables}


def check_log_round_trips(store: Store) -> None:
    """Sessions and steps come back as they were, in order."""
    number = store.add_session("s1", 5.0, "src")
    store.add_steps(number, 0, STEPS[:1])
    assert store.step_count(number) == 1
    store.add_steps(number, 1, STEPS[1:])
    assert store.steps(number) == STEPS
    store.close_session(number, "failure", b"d")
    row = store.find_session("s1")
    assert row == store.get_session(number)
    assert row is not None
    assert (row.session_id, row.start, row.outcome, row.closed, row.source, row.digest) == (
        "s1",
        5.0,
        "failure",
        True,
        "src",
        b"d",
    )
    assert store.find_session("other") is None


def check_tail_is_what_was_not_derived(store: Store) -> None:
    """The tail holds steps and closes in the order they came, until they are applied."""
    number = store.add_session("s1", 5.0, None)
    store.add_steps(number, 0, STEPS)
    store.close_session(number, None, b"")
    rows = store.tail(10)
    assert [row.command for row in rows] == [*STEPS, None]
    store.apply(Delta(), rows[1].seq)
    assert [row.command for row in store.tail(10)] == [None]
    store.reset_derived()
    assert len(store.tail(2)) == 2


def check_lines_are_found_by_how_they_begin(store: Store) -> None:
    """Those that go on, the most frequent first, then the newest; nothing in a text is a wildcard."""
    lines = ["git push", "git pull", "git%x", "git pull", "git", "ls", "Git pull", "git push -f", "git_x"]
    number = store.add_session("s", 1.0, None)
    store.add_steps(number, 0, [Command(line) for line in lines])
    assert store.lines_beginning("git", 9) == ["git pull", "git_x", "git push -f", "git%x", "git push"]
    assert store.lines_beginning("git", 2) == ["git pull", "git_x"]
    assert store.lines_beginning("git_", 9) == ["git_x"]
    assert store.lines_beginning("git push -f", 9) == []
    more = [Command("gti push", 127), Command("gti push", 127), Command("gti pull", 130), Command("gti\nls", 0)]
    store.add_steps(number, len(lines), more)
    assert store.lines_beginning("gti", 9) == ["gti pull", "gti push"]


def check_any_text_finds_what_begins_so(store: Store) -> None:
    """Of any characters and any length: what is found is what a look at all lines finds, in its order."""
    rng = Random(7)
    parts = ["a", "b", "A", "%", "_", " ", "é", "\ud7ff", "\ue000", "\uffff", "\U0001f600", "\n", "x" * 63, "x" * 65]
    lines = ["".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(300)]
    steps = [Command(line, rng.choice([None, 0, 1, 130])) for line in rng.choices(lines, k=600)]
    number = store.add_session("s", 1.0, None)
    store.add_steps(number, 0, steps)

    def expected(text: str) -> list[str]:
        counted: dict[str, list[int]] = {}
        for newest, step in enumerate(steps):
            if step.command.startswith(text) and step.command != text and "\n" not in step.command:
                counts = counted.setdefault(step.command, [0, 0, 0])
                counts[0] |= step.exit_code in (None, 0, 130)
                counts[1:] = counts[1] + 1, newest
        return sorted(counted, key=lambda line: counted[line], reverse=True)

    for text in {"", *parts, *(line[: rng.randint(1, 140)] for line in lines)}:
        assert store.lines_beginning(text, 1_000) == expected(text), text


def check_of_many_lines_that_begin_so_the_newest_are_found(store: Store) -> None:
    """Where more begin so than are looked at: those of the newest rows, counted whole, and the first of the others."""
    number = store.add_session("s", 1.0, None)
    often = [Command("git zz often")] * 5
    store.add_steps(number, 0, often)
    many = [Command(f"git commit -m {n:05}") for n in range(4 * LOOKED_AT)]
    store.add_steps(number, 5, many)
    store.add_steps(number, 5 + len(many), [Command("git zz often"), Command("git first", 1)])
    found = store.lines_beginning("git ", 10_000)
    assert found[0] == "git zz often"
    assert found[1] == many[-1].command
    assert found[-1] == "git first"
    assert many[0].command in found
    assert many[2 * LOOKED_AT - 10].command not in found
    assert store.lines_beginning("git z", 9) == ["git zz often"]
    assert store.lines_beginning(f"git commit -m {LOOKED_AT + 7:05}"[:-1], 3) == [
        f"git commit -m {LOOKED_AT + last:05}" for last in (9, 8, 7)
    ]
    assert store.lines_beginning("git commit -m 99", 3) == []


def check_who_else_tells_of_a_step(store: Store) -> None:
    """Rows of other sources with an equal line, a host that may be the same and about the same time are found."""
    here = Command("make", 0, None, 100.0, source="zsh", host="box")
    others = [
        replace(here, source="atuin", timestamp=102.0),
        replace(here, source="hook", timestamp=98.0, host=None),
        replace(here, source="hook", timestamp=102.01),
        replace(here, source="hook", host="other"),
        replace(here, source="hook", command="make all"),
        replace(here, source=None),
        replace(here, source="hook", timestamp=None),
    ]
    number = store.add_session("s", 1.0, None)
    store.add_steps(number, 0, [here, *others])
    assert [row.step for row in store.told_elsewhere(here, 2.0)] == [1, 2]
    found = store.told_elsewhere(replace(here, host=None), 2.0)
    assert [(row.session, row.step, row.command) for row in found] == [(number, i, others[i - 1]) for i in (1, 2, 4)]
    for unknown in (replace(here, source=None), replace(here, timestamp=None)):
        assert store.told_elsewhere(unknown, 2.0) == []
    spans = [(98.0, 102.0), (98.1, 101.9), (102.0, 102.0), (103.0, 200.0)]
    assert [store.sources_between(*span) for span in spans] == [3, 2, 1, 0]
    store.close_session(number, "success", b"d")
    store.mark_again(number, 1)
    store.mark_again(number, -1)
    assert store.marked_again(number) == {1, -1}
    assert [store.is_marked_again(number, step) for step in (-1, 0, 1, 2)] == [True, False, True, False]
    totals = store.totals()
    assert (totals["command_count"], totals["session_count"], totals["total_successes"]) == (len(others), 0, 0)
    assert store.outcome_totals() == (0, 0)
    store.reset_derived()
    assert store.marked_again(number) == set()
    assert store.outcome_totals() == (1, 0)


def check_a_step_is_known_by_source_and_time(store: Store) -> None:
    """The same line, source and time, in the log up to a row."""
    step = Command("make", timestamp=5.0, source="zsh", exit_code=0)
    number = store.add_session("s", 1.0, None)
    store.add_steps(number, 0, [Command("ls"), step])
    end = store.last_row()
    assert store.has_step(replace(step, exit_code=None, host="box"), end)
    assert not store.has_step(step, end - 1)
    for other in (
        {"command": "make all"},
        {"timestamp": 6.0},
        {"source": "bash"},
        {"source": None},
        {"timestamp": None},
    ):
        assert not store.has_step(replace(step, **other), end)


def check_steps_that_a_hook_alone_tells_of(store: Store) -> None:
    """Those of one shell's hook on one host whose line and time the history of that shell does not have."""
    hook = Command("make", timestamp=5.0, source="zsh-hook", host="box")
    missed = replace(hook, command="make test", timestamp=6.0)
    assert store.told_by_hook_alone("zsh", "box") == []
    first, second = store.add_session("first", 1.0, None), store.add_session("second", 2.0, None)
    store.add_steps(second, 0, [missed, hook, replace(hook, timestamp=7.0)])
    store.add_steps(
        first,
        0,
        [
            replace(hook, source="zsh", host=None),
            replace(missed, source="zsh", timestamp=6.5),
            replace(missed, source="bash"),
            replace(missed, source="bash-hook"),
            replace(missed, host="other"),
            replace(missed, timestamp=None),
            replace(missed, timestamp=4.0),
        ],
    )
    assert store.told_by_hook_alone("zsh", "box") == [
        ("second", "make test", 6.0),
        ("second", "make", 7.0),
        ("first", "make test", 4.0),
    ]
    assert store.told_by_hook_alone("bash", "box") == []


def check_sessions_come_in_canonical_order(store: Store) -> None:
    """By start, then by id, however they were added."""
    for name, start in (("b", 2.0), ("c", 1.0), ("a", 2.0)):
        store.add_session(name, start, None)
    assert [row.session_id for row in store.sessions()] == ["c", "a", "b"]


def check_texts_sort_by_their_bytes(store: Store) -> None:
    """Whatever language the store is kept in: sessions that start together, templates, patterns."""
    names = ["b", "B", "_", "a-b", "ab", "é", "z"]
    delta = Delta()
    for name in names:
        store.add_session(name, 1.0, None)
        delta.context(context_key(())).follow(delta.id_of(name))
        delta.patterns[name] = PatternRow(name, (name,), frozenset())
    store.apply(delta, 0)
    assert [row.session_id for row in store.sessions()] == sorted(names)
    assert [row.session_id for row in store.open_sessions()] == sorted(names)
    assert [name for name, _ in store.template_counts()] == sorted(names)
    assert store.pattern_ids() == sorted(names)


def check_a_session_is_rewritten_in_place(store: Store) -> None:
    """Its name, source and steps get other texts; the rows of the log, its place and how it ended stay."""
    numbers = [store.add_session(name, 1.0, "hook") for name in ("a", "open")]
    for number in numbers:
        store.add_steps(number, 0, [Command("one", 1, cwd="/x", timestamp=2.0), Command("two")])
    store.close_session(numbers[0], "failure", b"old")
    before = [(row.seq, row.session, row.step) for row in store.tail(9)]
    clean = [Command("1", 1, cwd="/y", timestamp=2.0), Command("two", branch="b")]
    for number, name in zip(numbers, ("z", "y"), strict=True):
        store.rewrite_session(number, name, None, clean, b"new")
        assert store.steps(number) == clean
    assert [(row.seq, row.session, row.step) for row in store.tail(9)] == before
    assert store.find_session("a") is None
    assert store.find_session("z") == SessionRow(numbers[0], "z", 1.0, "failure", True, None, b"new")
    assert store.find_session(numbers[1]) == SessionRow(numbers[1], "y", 1.0, None, False, None, b"")
    assert store.find_session(99) is None


def check_the_newest_start_is_known(store: Store) -> None:
    """Whatever is added, moved, deleted or rolled back."""
    assert store.newest_start() is None
    one, two = store.add_session("one", 5.0, None), store.add_session("two", 3.0, None)
    assert store.newest_start() == 5.0
    store.set_start(two, 7.0)
    assert store.newest_start() == 7.0

    def fail() -> None:
        with store.transaction():
            store.add_session("three", 9.0, None)
            assert store.newest_start() == 9.0
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert store.newest_start() == 7.0
    store.delete_sessions([two])
    assert store.newest_start() == 5.0
    store.delete_sessions([one])
    assert store.newest_start() is None


def check_deltas_commute(make: MakeStore) -> None:
    """Two deltas give the same state in either order."""
    first, second = counted("x", "y", start=1.0), counted("y", "y", start=0.5, session="t")
    states = []
    for deltas in ((first, second), (second, first)):
        store = make()
        for delta in deltas:
            store.apply(delta, 0)
        context = store.context(KEY)
        assert context is not None
        named = {store.template_text(number): count for number, count in context.counts.items()}
        states.append((context.total, named, [store.template_text(number) for number in context.recent]))
        store.close()
    assert states[0] == states[1] == (4, {"x": 1, "y": 3}, ["y", "y", "x", "y"])


def check_counts_add_up(make: MakeStore) -> None:
    """Whatever is counted in one delta or in several, of contexts that come once or again: the sums are read."""
    ids = {template: text_id(template) for template in "xyz"}
    keeping, others = ([hash64(kind, str(n)) for n in range(4)] for kind in ("keeps the newest", "counts"))
    for seed in range(40):
        chance = Random(seed)
        store = make()
        counts: dict[tuple[int, int], list[int]] = {}
        newest: dict[int, list[bytes]] = {}
        unjudged: list[tuple[int, int]] = []
        for number in range(chance.randint(1, 6)):
            delta = Delta()
            for key, template in unjudged[: chance.randint(0, len(unjudged))]:
                # As at the end of a session, which is told of steps that were counted before.
                unjudged.remove((key, template))
                place = chance.choice((2, 3, 4, 5))
                delta.context(key).add(template, (COUNT, SESSION, SUCCESS, FAILURE, GOOD, BAD)[place])
                counts[key, template][place] += 1
            for step in range(chance.randint(0, 3)):
                template = delta.id_of(chance.choice("xyz"))
                key = chance.choice([*keeping, *others])
                delta.context(context_key(())).follow(template)
                total = counts.setdefault((key, template), [0] * 6)
                total[0] += 1
                if key in others:
                    delta.context(key).follow(template)
                    continue
                total[1] += 1
                entry = recent_entry(moment(chance.random(), f"s{number}", step), template)
                delta.context(key).follow(template, COUNT + SESSION, entry)
                newest.setdefault(key, []).append(entry)
                unjudged.append((key, template))
            store.apply(delta, 0)
            if chance.random() < 0.5:  # what was read before is not to be read again, nor to be wrong
                store.contexts([*keeping, *others])
        for _ in range(2):
            for key in (*keeping, *others):
                followed = {t: row for (k, t), row in counts.items() if k == key}
                context = store.context(key)
                assert (context is None) == (not followed)
                if context is not None:
                    assert context.total == sum(row[0] for row in followed.values())
                    assert context.counts == {template: row[0] for template, row in followed.items()}
                    assert context.recent == tuple(recent_templates(b"".join(sorted(newest.get(key, [])))))
            pairs = [(key, template) for key in (*keeping, *others) for template in ids.values()]
            found = store.followers(pairs)
            assert found == {(key, template): Follower(template, *row) for (key, template), row in counts.items()}
            assert all(store.follower(*pair) == found.get(pair) for pair in pairs)
            store.drop_unused()  # lets go of what was read
        store.close()


def check_best_values_add_up(make: MakeStore) -> None:
    """Of the values of a place the most frequent ones are at hand, of equals the newest; all of them are counted."""
    for seed in range(20):
        chance = Random(seed)
        store = make()
        model: dict[str, tuple[int, bytes]] = {}
        for number in range(12):
            delta = Delta()
            for _ in range(chance.randint(1, 6)):
                value, count = f"v{int(chance.paretovariate(0.5)) % 40}", chance.randint(1, 2)
                when = moment(float(chance.randint(0, 5)), f"s{number}", 0)
                before, newest = delta.values.get((KEY, value), (0, b""))
                delta.values[KEY, value] = before + count, max(newest, when)
                before, newest = model.get(value, (0, b""))
                model[value] = before + count, max(newest, when)
            store.apply(delta, 0)
            best = sorted(model, key=lambda value: (model[value], value), reverse=True)[:BEST_VALUES]
            found = store.values([KEY])[KEY]
            assert list(found.best.items()) == [(value, model[value][0]) for value in best]
            assert (found.total, found.kinds) == (sum(count for count, _ in model.values()), len(model))
        store.close()


def check_recent_followers_are_bounded(store: Store) -> None:
    """Of many followers the newest in canonical order are kept, whatever the order of learning."""
    for start in range(3 * RECENT, 0, -1):
        store.apply(counted(f"t{start}", start=float(start)), 0)
    context = store.context(KEY)
    assert context is not None
    assert context.total == 3 * RECENT
    assert [store.template_text(n) for n in context.recent] == [f"t{i}" for i in range(2 * RECENT + 1, 3 * RECENT + 1)]
    assert context.counts.keys() >= set(context.recent)


def check_recent_followers_of_one_delta_are_bounded(store: Store) -> None:
    """Of many followers in one delta the newest are kept, in whatever order they came."""
    many = 20 * RECENT
    starts = Random(1).sample(range(many), many)
    delta = Delta()
    for start in starts:
        number = delta.id_of(f"t{start}")
        delta.context(KEY).follow(number, entry=recent_entry(moment(float(start), "s", 0), number))
    store.apply(delta, 0)
    context = store.context(KEY)
    assert context is not None
    assert context.total == many
    assert [store.template_text(n) for n in context.recent] == [f"t{i}" for i in range(many - RECENT, many)]


def check_failed_transaction_leaves_nothing(store: Store) -> None:
    """What raises inside a transaction is undone, nested ones with it; ids handed out are not reused wrongly."""
    store.apply(counted("kept"), 0)

    def fail() -> None:
        with store.transaction():
            number = store.add_session("s1", 1.0, None)
            store.add_steps(number, 0, STEPS)
            store.apply(counted("lost"), 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert store.find_session("s1") is None
    assert store.template_ids(["lost", "kept"]).keys() == {"kept"}
    store.apply(counted("new"), 0)
    context = store.context(KEY)
    assert context is not None
    assert {store.template_text(number) for number in context.counts} == {"kept", "new"}


def check_what_was_read_is_not_outdated(store: Store) -> None:
    """What was read before is read again once it has changed, and after a change that was undone."""
    unigram = context_key(())
    assert store.apply(counted("x"), 0)
    x = store.template_ids(["x"])["x"]

    def seen() -> tuple[int, int, list[int], list[str]]:
        context, row = store.context(KEY), store.follower(KEY, x)
        assert context is not None
        assert row is not None
        known = sorted(store.template_ids(["x", "y", "z"]))
        return context.total, row.count, list(context.counts.values()), known

    assert store.contexts([KEY, 5]).keys() == {KEY}
    assert seen() == (1, 1, [1], ["x"])
    assert store.apply(counted("x", "y", start=2.0), 0)
    assert seen() == (3, 2, [2, 1], ["x", "y"])
    assert not store.apply(counted("x", start=3.0), 0)

    def fail() -> None:
        with store.transaction():
            store.apply(counted("x", "z", start=4.0), 0)
            assert seen() == (6, 4, [4, 1, 1], ["x", "y", "z"])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert seen() == (4, 3, [3, 1], ["x", "y"])
    store.reset_derived()
    assert (store.context(KEY), store.context(unigram), store.template_ids(["x"])) == (None, None, {})


def check_contexts_read_meanwhile_are_those_read_at_the_end(make: MakeStore) -> None:
    """Whether contexts were read between changes or not, they are the same: counts, their order and the newest ones."""
    random = Random(7)
    deltas = []
    for number in range(400):
        # First few templates, then so many that not all are read; now and then many at once, or an older session late.
        names = [
            f"t{int(random.paretovariate(0.5)) % (8 + number)}"
            for _ in range(30 if number in (50, 250) else random.randint(1, 5))
        ]
        deltas.append((names, number / 2 if number % 7 else random.random() * number))
    keys = [context_key(()), KEY]
    watched = make()
    done = 0
    for until in (1, 3, 30, 49, 120, 240, 400):
        for names, start in deltas[done:until]:
            watched.contexts(keys)
            watched.apply(counted(*names, start=start, session=str(start)), 0)
        done = until
        unwatched = make()
        for names, start in deltas[:until]:
            unwatched.apply(counted(*names, start=start, session=str(start)), 0)
        found = [
            [(key, context, list(context.counts.items())) for key, context in store.contexts(keys).items()]
            for store in (watched, unwatched)
        ]
        assert found[0] == found[1]
        unwatched.close()
    assert not watched.contexts(keys)[KEY].complete
    watched.close()


def check_what_followed_once_and_long_ago_is_left_out(store: Store) -> None:
    """Of a context that was followed often: what followed it more than once, and what did so lately; of others all."""
    old = [f"old{number}" for number in range(FOLLOWERS - 3)]
    store.apply(counted(*old, "twice", "twice"), 0)
    context = store.context(KEY)
    assert context is not None
    assert (context.complete, len(context.counts)) == (True, FOLLOWERS - 2)
    store.apply(counted(*[f"new{number}" for number in range(RECENT)], start=2.0), 0)
    context = store.context(KEY)
    assert context is not None
    named = dict(zip(store.template_texts(list(context.counts)), context.counts.values(), strict=True))
    assert named == {"twice": 2, **{f"new{number}": 1 for number in range(RECENT)}}
    assert not context.complete
    number = text_id("old1")
    assert store.follower(KEY, number) == Follower(number, 1, 0, 0, 0, 0, 0)


def check_a_view_ends(store: Store) -> None:
    """Within a view reads are as ever; views nest, also in a transaction; after one the store can be written."""
    store.apply(counted("x"), 0)
    with store.reading(), store.reading():
        assert store.contexts([KEY])[KEY].total == 1
    with store.transaction(), store.reading():
        store.apply(counted("y", start=2.0), 0)
    with pytest.raises(RuntimeError, match="stop"), store.reading():
        raise RuntimeError("stop")
    store.apply(counted("x", start=3.0), 0)
    assert store.contexts([KEY])[KEY].total == 3


def check_patterns_add_up(store: Store) -> None:
    """Counts of a pattern add up; the newest example stays; rare keys find it first; none is there before."""
    numbers = [pattern_row_id("p1"), pattern_row_id("p0")]
    assert (store.patterns_with([1, 2], 5), store.pattern_counts(numbers)) == ([], {})
    assert [*store.pattern_templates(numbers)] == []
    for when, line in ((2.0, "newer"), (1.0, "older")):
        delta = Delta()
        delta.patterns["p1"] = PatternRow(
            "p1", ("a", "b", "c"), frozenset({1, 2}), success=1, duration_ms=10, timed=1,
            newest=moment(when, "s", 0), example=(line, "b", "c"),
        )  # fmt: skip
        store.apply(delta, 0)
    other = Delta()
    other.patterns["p0"] = PatternRow("p0", ("a", "c"), frozenset({1}), failure=1)
    store.apply(other, 0)
    row = store.pattern("p1")
    assert row is not None
    assert (row.templates, row.success, row.duration_ms, row.timed) == (("a", "b", "c"), 2, 20, 2)
    assert row.example == ("newer", "b", "c")
    assert store.pattern_ids() == ["p0", "p1"]
    best = store.patterns_with([1, 2], 5)
    assert best == numbers
    assert [row.pattern_id for row in store.pattern_counts(best).values()] == ["p1", "p0"]
    texts = [[store.template_text(t) for t in templates] for _, templates in store.pattern_templates(best)]
    assert texts == [["a", "b", "c"], ["a", "c"]]
    assert store.pattern("p9") is None


def check_values_add_up(store: Store) -> None:
    """Values of a place are counted in all, and the most frequent ones are at hand; equally frequent, the newest."""
    for when in (2.0, 1.0):
        delta = Delta()
        for key, value, count in ((1, "a", 2), (1, f"new {when}", 1), (2, "b", 5)):
            delta.values[key, value] = (count, moment(when, "s", 0))
        store.apply(delta, 0)
    found = store.values([1, 2, 3])
    assert found.keys() == {1, 2}
    assert list(found[1].best.items()) == [("a", 4), ("new 2.0", 1), ("new 1.0", 1)]
    assert (found[1].total, found[1].kinds) == (6, 3)
    for n in range(2 * BEST_VALUES):
        more = Delta()
        more.values[1, f"v{n}"] = (n + 1, b"")
        store.apply(more, 0)
    (row,) = store.values([1]).values()
    assert list(row.best.values()) == sorted(range(BEST_VALUES + 1, 2 * BEST_VALUES + 1), reverse=True)
    assert row.kinds == 2 * BEST_VALUES + 3


def check_rules_add_up(store: Store) -> None:
    """Counts of fill rules add up, each key and rule apart."""
    for offered, right in ((3, 1), (2, 2)):
        delta = Delta()
        delta.rules[7] = {"role 1": (offered, right), f"only {offered}": (1, 0)}
        store.apply(delta, 0)
    found = store.rules([7, 8])
    assert found.keys() == {7}
    counts = {rule: tuple(pair) for rule, pair in found[7].items()}
    assert counts == {"role 1": (5, 3), "only 3": (1, 0), "only 2": (1, 0)}


def check_feedback_round_trips(store: Store) -> None:
    """Feedback comes back as it was, each event once, and goes with its session; of a session the log has the step."""
    number = store.add_session("s1", 5.0, None)
    store.add_steps(number, 0, STEPS)
    store.close_session(number, None, b"")
    rows = [
        FeedbackRow(0, None, "ls", "ignored", 1e9, "p"),
        FeedbackRow(1, STEPS[0].command, "ünïcödé 🎉", "rejected", 1e9),
        FeedbackRow(2, STEPS[1].command, "ls", "accepted", 1e9 + 1),
    ]
    alone = [FeedbackRow(0, None, "ls", "ignored", 1e9), FeedbackRow(0, "a", "b", "accepted", 2e9, "p")]
    for _ in range(2):  # the second time it is all there
        store.add_feedback(number, reversed(rows))
        store.add_feedback(None, reversed(alone))
    assert store.feedback(number) == rows
    assert store.feedback(None) == alone
    assert store.totals()["feedback_count"] == 5
    store.drop_unused()
    assert store.feedback(number) == rows
    assert store.feedback(None) == alone
    store.replace_feedback(number, rows[1:])
    store.replace_feedback(None, alone[:1])
    assert store.feedback(number) == rows[1:]
    assert store.feedback(None) == alone[:1]
    store.delete_sessions([number])
    assert store.feedback(number) == []
    assert store.feedback(None) == alone[:1]


def check_feedback_tail_is_what_was_not_derived(store: Store) -> None:
    """The tail holds feedback in the order it came, until it is applied; its counts add up, each key apart."""
    assert store.feedback_tail(5) == []
    assert store.shown([1, 2, 3]) == {}
    rows = [FeedbackRow(0, None, line, "ignored", 1e9) for line in "abc"]
    store.add_feedback(None, rows)
    tail = store.feedback_tail(2)
    assert [row for _, row in tail] == rows[:2]
    for counts in ([1, 0, 2], [0, 3, 1]):
        delta = Delta()
        delta.shown = {1: counts, 2: [sum(counts), 0, 0]}
        store.apply_shown(delta, tail[-1][0])
    assert {key: tuple(counts) for key, counts in store.shown([1, 2, 3]).items()} == {1: (1, 3, 3), 2: (7, 0, 0)}
    assert [row for _, row in store.feedback_tail(5)] == rows[2:]
    store.apply_shown(Delta(), store.feedback_tail(5)[-1][0])
    assert store.feedback_tail(5) == []
    store.add_feedback(None, [FeedbackRow(0, None, "d", "ignored", 1e9)])
    assert [row.line for _, row in store.feedback_tail(5)] == ["d"]
    store.reset_derived()
    assert store.shown([1, 2, 3]) == {}
    assert len(store.feedback_tail(5)) == 4


def check_failed_feedback_leaves_nothing(store: Store) -> None:
    """Counts and rows of a transaction that fails are gone, though they were read in between."""
    delta = Delta()
    delta.shown[1] = [1, 0, 0]

    def fail() -> None:
        with store.transaction():
            store.add_feedback(None, [FeedbackRow(0, None, "a", "ignored", 1e9)])
            assert store.feedback_tail(5)
            store.apply_shown(delta, store.feedback_tail(5)[-1][0])
            assert store.shown([1])
            assert not store.feedback_tail(5)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert store.shown([1]) == {}
    assert store.feedback(None) == []
    store.add_feedback(None, [FeedbackRow(0, None, "a", "ignored", 1e9)])
    assert len(store.feedback_tail(5)) == 1


def check_courses_come_in_canonical_order(store: Store) -> None:
    """The newest courses come back oldest first, whatever the order they came in; a counter tells of every change."""
    assert store.courses(5) == []
    versions = [store.meta("courses")]
    for when in (2.0, 3.0, 1.0):
        delta = Delta()
        delta.courses[moment(when, "s", 0)] = Course(when == 2.0, b"%d" % when)
        store.apply(delta, 0)
        versions.append(store.meta("courses"))
    assert store.courses(5) == [Course(False, b"1"), Course(True, b"2"), Course(False, b"3")]
    assert store.courses(2) == [Course(True, b"2"), Course(False, b"3")]
    store.apply(Delta(), 0)
    assert store.meta("courses") == versions[-1]
    store.reset_derived()
    assert store.courses(5) == []
    assert len({*versions, store.meta("courses")}) == 5


def check_outcomes_are_totalled(store: Store) -> None:
    """Sessions are totalled by outcome; open ones and unknown ends belong to neither."""
    assert store.outcome_totals() == (0, 0)
    for name, outcome in (("a", "success"), ("b", "failure"), ("c", "success"), ("d", None)):
        store.close_session(store.add_session(name, 1.0, None), outcome, b"")  # type: ignore[arg-type]
    store.add_session("open", 1.0, None)
    assert store.outcome_totals() == (2, 1)


def check_vectors_are_kept_apart_by_space(store: Store) -> None:
    """Vectors and neighbours of one fingerprint are never those of another."""
    unigram = Delta()
    unigram.context(context_key(())).follow(unigram.id_of("x"))
    store.apply(unigram, 0)
    ((number, text),) = store.missing_vectors("one", 5)
    assert text == "x"
    assert store.count_templates() == 1
    store.put_vectors("one", {number: b"\0\0\x80?"})
    assert store.count_missing("one") == 0
    assert store.count_missing("two") == 1
    assert list(store.vectors("one")) == [(number, b"\0\0\x80?")]
    assert (store.vector_ids("one"), store.vector_ids("two")) == ([number], [])
    assert store.vectors_of("two", [number]) == {}
    assert store.unlinked("one") == [number]
    store.put_neighbours("one", {number: [(number, 0.5), (8, -1.0)], 9: [(number, 1.0)]})
    assert store.unlinked("one") == []
    assert store.neighbours("one", number) == [(number, 0.5)]  # 8 and 9 are not there, or no more
    assert store.neighbours("one", 9) == []
    assert store.neighbours("two", number) == []


def check_settings_are_kept(store: Store) -> None:
    """A setting comes back with its type, the last one given."""
    assert store.meta("colour") is None
    store.set_meta("colour", "red")
    store.set_meta("colour", math.pi)
    assert store.meta("colour") == math.pi
    store.set_meta("import a", "1")
    store.set_meta("imports", "2")
    store.clear_meta("import ")
    assert [store.meta(name) for name in ("import a", "imports", "colour")] == [None, "2", math.pi]


def check_a_view_sees_the_last_setting(store: Store) -> None:
    """Within a view a setting may be asked for often; the next one sees what was set, not what was undone."""

    def seen() -> object:
        with store.reading():
            return [store.meta("colour") for _ in range(2)]

    assert seen() == [None, None]
    store.set_meta("colour", "red")
    assert seen() == ["red", "red"]

    def fail() -> None:
        with store.transaction():
            store.set_meta("colour", "blue")
            assert seen() == ["blue", "blue"]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert seen() == ["red", "red"]
    store.clear_meta("col")
    assert seen() == [None, None]


def check_patterns_keep_within_bounds(store: Store) -> None:
    """The most useful ones are in use; the others are found by nothing, and come back with their counts."""

    def learn(name: str, start: float, keys: frozenset[int], line: str = "a") -> None:
        delta = Delta()
        when = moment(start, "s", 0)
        delta.patterns[name] = PatternRow(name, ("a", name), keys, success=1, newest=when, example=(line, name))
        store.apply(delta, 0)

    assert store.bounds() == Bounds()
    for number in range(4):
        learn(f"p{number}", 1e9 + number, frozenset({1, 10 + number}))
    assert len(store.patterns_with([1], 9)) == 4
    store.bound_patterns(Bounds(patterns=2))
    assert store.bounds() == Bounds(patterns=2)
    assert store.pattern_ids() == ["p2", "p3"]
    assert (store.totals()["pattern_count"], store.totals()["shelved_pattern_count"]) == (2, 2)
    assert len(store.patterns_with([1], 9)) == 2
    assert store.patterns_with([10], 9) == []
    assert store.pattern("p0") is None
    (p2,) = store.patterns_with([12], 9)
    assert ([*store.pattern_counts([p2])], len([*store.pattern_templates([p2])])) == ([p2], 1)
    learn("p0", 1e9 + 9, frozenset({1, 10}))
    assert store.patterns_with([12], 9) == []
    assert (store.pattern_counts([p2]), [*store.pattern_templates([p2])]) == ({}, [])
    row = store.pattern("p0")
    assert row is not None
    assert (row.success, row.newest) == (2, moment(1e9 + 9, "s", 0))
    assert store.pattern_ids() == ["p0", "p3"]
    assert store.patterns_with([10], 9) == [row.id]
    one = pattern_size(2, len(json.dumps(["a", "p0"])), 2)
    store.bound_patterns(Bounds(size=3 * one + 1))
    assert store.pattern_ids() == ["p0", "p2", "p3"]
    assert store.patterns_with([12], 9) == [p2]
    assert [name for number in (10, 11, 12, 13) for name in store.patterns_with([number], 9)] == [
        row.id for name in ("p0", "p2", "p3") if (row := store.pattern(name)) is not None
    ]
    store.reset_derived()
    assert store.totals()["shelved_pattern_count"] == 0
    learn("p1", 1e9, frozenset({1}))
    assert store.pattern_ids() == ["p1"]
    store.bound_patterns(Bounds(size=one - 200))
    assert store.pattern_ids() == []
    store.bound_patterns(Bounds())
    assert store.pattern_ids() == ["p1"]


def check_the_next_useful_pattern_is_waited_for(store: Store) -> None:
    """One that is worth less is not in use in its place, also where it is small enough and was just learned."""

    def learn(name: str, month: int, length: int) -> None:
        delta = Delta()
        when, example = moment(1e9 + month * HALF_LIFE, "s", 0), ("x" * length,)
        delta.patterns[name] = PatternRow(name, (name,), frozenset(), success=1, newest=when, example=example)
        store.apply(delta, 0)

    empty = pattern_size(1, len(json.dumps([""])), 0)
    store.bound_patterns(Bounds(size=2 * empty + 110))
    learn("best", 9, 100)
    learn("least", 1, 10)
    assert store.pattern_ids() == ["best", "least"]
    learn("next", 8, 20)
    assert store.pattern_ids() == ["best"]
    learn("least", 2, 10)
    assert store.pattern_ids() == ["best"]
    assert store.totals()["shelved_pattern_count"] == 2
    learn("best", 10, 90)
    assert store.pattern_ids() == ["best", "next"]
    learn("least", 12, 10)
    assert store.pattern_ids() == ["best", "least"]


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
