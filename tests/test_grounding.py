"""From templates to lines that could be run: where the values come from, and where they must not come from."""

from __future__ import annotations

import pytest

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.commands.ground import Line, SessionValues, ground
from procedural_memory.prediction import predictor
from procedural_memory.prediction.blend import Candidate

TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def lines(engine: ProceduralMemoryEngine, context: list[str], cwd: str | None = None) -> dict[str, bool]:
    """Return the predicted lines, each with whether it can be run."""
    found = engine.predict_next_action([{"command": c, "cwd": cwd} for c in context], top_k=20)
    return {p.next_command: p.runnable for p in found}


@pytest.mark.parametrize("command", ["cat src/secretproj.py", "pytest secretproj_test.py::test_a", "ls secretproj*"])
def test_file_names_stay_in_their_project(engine: ProceduralMemoryEngine, command: str) -> None:
    """A file name learned in one project is proposed there, not in another, and not where no project is known."""
    for _ in range(3):
        engine.learn_workflow([{"command": c, "cwd": "/src/a"} for c in ("make", command, "git push")])
    assert command in lines(engine, ["make"], cwd="/src/a")
    for elsewhere in ("/src/b", None):
        told = lines(engine, ["make"], cwd=elsewhere)
        assert not any("secretproj" in line for line in told)
        placeholder = next(line for line in told if line.startswith(command.split()[0]))
        assert told[placeholder] is False


def test_scripts_stay_in_their_project(engine: ProceduralMemoryEngine) -> None:
    """So does a script of the project that is run by its path."""
    for _ in range(3):
        engine.learn_workflow([{"command": c, "cwd": "/src/a"} for c in ("make", "./secretproj.sh", "git push")])
    assert "./secretproj.sh" in lines(engine, ["make"], cwd="/src/a")
    assert not any("secretproj" in line for line in lines(engine, ["make"], cwd="/src/b"))


def test_commands_without_files_are_shared(engine: ProceduralMemoryEngine) -> None:
    """What names no file is proposed in every project."""
    engine.learn_workflow([{"command": c, "cwd": "/src/a"} for c in ("make", "git stash pop", "git push")])
    assert lines(engine, ["make"], cwd="/src/b")["git stash pop"]


def test_file_just_written_is_proposed(engine: ProceduralMemoryEngine) -> None:
    """A file that the session wrote fills the next command's slot, although its name was never seen before."""
    for name in ("one", "two", "three"):
        engine.learn_workflow([f"cat > {name}.py <<'EOF'\nprint()\nEOF", f"python {name}.py", "git status"])
    with engine.session(cwd="/src/new") as session:
        session.record("cat > brand_new.py <<'EOF'\nprint()\nEOF")
        best = session.predict(top_k=1)[0]
    assert best.next_command == "python brand_new.py"
    assert best.runnable


def test_file_named_in_the_output_is_proposed(engine: ProceduralMemoryEngine) -> None:
    """A file that a command printed may fill the next slot; the output itself is kept nowhere."""
    for name in ("one", "two", "three"):
        engine.learn_workflow(["npm test", f"vim src/{name}.ts", "npm test"])
    with engine.session(cwd="/src/new") as session:
        session.record("npm test", exit_code=1, output=f"FAIL src/cart.test.ts:3 expected 1 {TOKEN}\n")
        assert "vim src/cart.test.ts" in [p.next_command for p in session.predict(top_k=5)]
        assert TOKEN not in repr(session._context)
    assert "cart.test" not in "".join(str(row) for row in engine._store.steps(4))


@pytest.mark.parametrize("output", ["NUL \0 inside", b"bytes \xff", "x" * 5_000_000, ""])
def test_odd_output_does_not_lose_the_step(engine: ProceduralMemoryEngine, output: str | bytes) -> None:
    """Whatever a command printed, the step is recorded."""
    with engine.session() as session:
        session.record("make", output=output)
    assert engine.stats()["command_count"] == 1


def test_last_line_of_a_template_is_repeated(engine: ProceduralMemoryEngine) -> None:
    """Within a session the same arguments come again."""
    engine.learn_workflow(["vim a.py", "pytest a_test.py", "vim a.py", "pytest a_test.py"])
    with engine.session(cwd="/src/other") as session:
        for command in ("vim z.py", "pytest tests/z_test.py", "vim z.py"):
            session.record(command)
        assert session.predict(top_k=1)[0].next_command == "pytest tests/z_test.py"


def test_values_of_the_same_program_are_taken() -> None:
    """A new form of a program takes the value that the program was last given."""
    values = SessionValues()
    from procedural_memory.commands.normalize import analyze

    for command in ("kubectl logs web-1", "ssh db.example.com"):
        values.observe(analyze(command), command)
    proposals = dict(values.proposals("kubectl logs -f <NAME>", ("kubectl logs",)))
    assert proposals["same program"] == "kubectl logs -f web-1"


def test_second_slot_takes_the_value_before() -> None:
    """Two slots of a kind are not filled with the same value."""
    values = SessionValues()
    from procedural_memory.commands.normalize import analyze

    for command in ("cat first.txt", "cat second.txt"):
        values.observe(analyze(command), command)
    proposals = dict(values.proposals("diff <FILE> <FILE>"))
    assert proposals["newest value"] == "diff second.txt first.txt"


def test_rules_that_were_right_weigh_more() -> None:
    """The counted hit rate of a fill rule is the probability that its proposal starts from."""
    values = SessionValues()
    from procedural_memory.commands.normalize import analyze

    for command in ("cat seen.txt", "touch made.txt", "cat seen.txt"):
        values.observe(analyze(command), command)
    often = {"newest value": (100, 90), "file just written": (100, 1)}
    seldom = {"newest value": (100, 1), "file just written": (100, 90)}
    assert ground("rm <FILE>", (), values, [], 0, often, 3)[0].command == "rm seen.txt"
    assert ground("rm <FILE>", (), values, [], 0, seldom, 3)[0].command == "rm made.txt"


def test_lines_of_the_past_share_what_the_session_leaves() -> None:
    """Probabilities of the lines of a template never sum to more than one, and follow the counts."""
    found = ground("make <STR>", (), SessionValues(), [("make 'a'", 6), ("make 'b'", 2)], 10, {}, 5)
    assert [line.command for line in found] == ["make 'a'", "make 'b'"]
    assert found[0].probability == pytest.approx(0.55)
    assert sum(line.probability for line in found) <= 1.0


def test_free_text_that_never_repeats_stays_open(engine: ProceduralMemoryEngine) -> None:
    """Old commit messages are not proposed again; the open form is, with the probability of the form."""
    for i in range(5):
        engine.learn_workflow(["git add .", f"git commit -m 'change number {i}'", "git push"])
    best = engine.predict_next_action(["git add ."], top_k=1)[0]
    assert best.next_command == "git commit -m <STR>"
    assert not best.runnable
    assert best.probability == pytest.approx(best.template_probability)


def test_runnable_comes_first_at_equal_probability(
    engine: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two equally probable predictions the one that can be run is shown first."""
    engine.learn_workflow(["start", "cat <FILE>", "zz-run"])
    engine.flush()
    ids = engine._store.template_ids(["cat <FILE>", "zz-run"])
    equal = [Candidate(number, 0.25) for number in ids.values()]
    monkeypatch.setattr(engine._predictor._blend, "propose", lambda query: (equal, {}))
    monkeypatch.setattr(predictor, "ground", lambda t, *_: [Line(t, 1.0, "", runnable="<" not in t)])
    found = engine.predict_next_action(["start"])
    assert [(p.next_command, p.runnable) for p in found] == [("zz-run", True), ("cat <FILE>", False)]


def test_a_line_that_had_a_secret_is_not_offered_again() -> None:
    """A learned line whose secret was redacted is no proposal, however often it came."""
    past = [("mysql -h db.example.com -p<SECRET>", 9)]
    found = ground("mysql -h <HOST> -p<SECRET>", (), SessionValues(), past, 9, {}, 3)
    assert [(line.command, line.runnable) for line in found] == [("mysql -h <HOST> -p<SECRET>", False)]


def test_secrets_are_never_put_on_a_line(engine: ProceduralMemoryEngine) -> None:
    """A line that had a secret is not proposed as it is: it stays open and cannot be run."""
    for _ in range(3):
        engine.learn_workflow(["make", f"export API_TOKEN={TOKEN}", "make deploy"])
    told = lines(engine, ["make"])
    assert not any(TOKEN in line for line in told)
    assert not any(runnable for line, runnable in told.items() if line.startswith("export"))


def test_no_text_of_a_step_keeps_a_secret(engine: ProceduralMemoryEngine) -> None:
    """Folder, project, ids and names are redacted like the command, and so are error messages."""
    spoiled = dict.fromkeys(("cwd", "project", "source", "host", "branch"), f"/src/{TOKEN}")
    engine.learn_workflow([{"command": "ls", **spoiled}] * 3, session_id=TOKEN, source=TOKEN)
    engine.learn_workflow([{"command": "ls", "cwd": f"/src/{TOKEN}"}] * 3)
    kept = [(row, engine._store.steps(row.id)) for row in engine._store.sessions()]
    assert TOKEN not in repr(kept)
    for bad in ([f"echo {TOKEN}\0"] * 3, [f"export X={TOKEN}".encode()] * 3, {"command": TOKEN}):
        with pytest.raises(ValueError, match="must") as error:
            engine.learn_workflow(bad)  # type: ignore[arg-type]
        assert TOKEN not in str(error.value)


@pytest.mark.parametrize(
    ("command", "destructive"),
    [("rm -rf build", True), ("git reset --hard", True), ("git push --force", True), ("git push", False)],
)
def test_destructive_lines_are_flagged(engine: ProceduralMemoryEngine, command: str, destructive: bool) -> None:
    """A prediction that can lose data says so."""
    for _ in range(3):
        engine.learn_workflow([{"command": c, "cwd": "/p"} for c in ("make", command, "ls")])
    found = engine.predict_next_action([{"command": "make", "cwd": "/p"}], top_k=1)[0]
    assert (found.next_command, found.destructive) == (command, destructive)


def test_line_ends_do_not_make_another_line(engine: ProceduralMemoryEngine) -> None:
    """Blanks and line ends around a command are no part of it: nothing runs by being put on a prompt."""
    engine.learn_workflow(["make\r\n", " git push \n", "ls"])
    assert engine.predict_next_action(["make"], top_k=1)[0].next_command == "git push"


def test_exit_codes_count_in_every_order(engine: ProceduralMemoryEngine) -> None:
    """Success and failure of a step are known for long contexts as well."""
    for code, outcome in ((0, "success"), (1, "success"), (1, "failure")):
        engine.learn_workflow(["a", "b", "c", {"command": "deploy", "exit_code": code}], outcome)  # type: ignore[arg-type]
    found = engine.predict_next_action(["a", "b", "c"], top_k=1)[0]
    counts = next(e for e in found.evidence if e.expert == "counts")
    assert counts.context == ("a", "b", "c")
    assert (counts.details["successes"], counts.details["failures"]) == (1, 2)
    assert (counts.details["ended_well"], counts.details["ended_badly"]) == (2, 1)
    assert "in 3 sessions, 2 ended well" in found.reason


def test_confidence_of_a_bare_transition(engine: ProceduralMemoryEngine) -> None:
    """A step seen only in short live sessions has the confidence of the transition alone."""
    for outcome in ("success", "success", "failure"):
        session = engine.session()
        session.record("make")
        session.record("make test")
        session.close(outcome)
    found = engine.predict_next_action(["make"], top_k=1)[0]
    assert found.similar_patterns == ()
    assert found.confidence == pytest.approx(3 / 5)


@pytest.mark.parametrize("order", [(2e9, 1e9), (1e9, 2e9)])
def test_the_newest_session_is_a_patterns_example(engine: ProceduralMemoryEngine, order: tuple[float, float]) -> None:
    """The command lines of a pattern are those of the newest session, in whatever order sessions are learned."""
    for when in order:
        name = "new" if when == max(order) else "old"
        first, *rest = [f"vim {name}.py", f"python {name}.py", "git add ."]
        engine.learn_workflow([{"command": first, "timestamp": when}, *rest])
    (pattern,) = engine.patterns.values()
    assert pattern.command_sequence[0] == "vim new.py"


def test_of_a_long_query_the_newest_steps_count(engine: ProceduralMemoryEngine) -> None:
    """Of more than 256 commands the newest are aligned."""
    pattern_id = engine.learn_workflow(["git add .", "git commit -m x", "git push"])
    tail = ["git add .", "git commit -m x", "git push"] * 86
    best = engine.similar_patterns(["unrelated command"] * 300 + tail, k=1, threshold=0.0)[0]
    assert best.pattern_id == pattern_id
    assert best.similarity == pytest.approx(engine.similar_patterns(tail[-256:], k=1, threshold=0.0)[0].similarity)


def test_steps_without_a_comparison_explain_nothing(engine: ProceduralMemoryEngine) -> None:
    """A step that every session has cannot tell success from failure."""
    for outcome in ("success", "success", "failure"):
        engine.learn_workflow(["make", "ls", "git push"], outcome)
    told = engine.explain_outcome(["make", "ls"])
    assert told.sessions == 3
    assert told.raises == told.lowers == ()
