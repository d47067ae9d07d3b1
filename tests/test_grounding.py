"""From templates to lines that could be run: where the values come from, and where they must not come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from said import Said, said

from procedural_memory import ProceduralMemoryEngine, normalize
from procedural_memory.session import Session

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


HEREDOC = "cat > {} <<'EOF'\nprint()\nEOF"

OTHERS = ["ls {0}_1", "ls {0}_2", "ls {0}_3"]
"""Steps that name other files, so that what was named before is not among the newest."""

RULES: dict[str, tuple[list[str | tuple[str, str]], str]] = {
    "the file just written": ([HEREDOC.format("{0}.py")], "python {0}.py"),
    "the file edited last": (["cat {0}.py", "sed -i s/a/b/ {0}.py", *OTHERS], "python {0}.py"),
    "all files made": (["touch lib/{0}_a.txt", "touch {0}_b.txt"], "rm lib/{0}_a.txt {0}_b.txt"),
    "all files made here": (["touch lib/{0}.txt", "touch {0}_a.txt", "touch {0}_b.txt"], "rm {0}_a.txt {0}_b.txt"),
    "the file of the last lines shown": (["nl -ba {0}.py | sed -n '3,9p'"], "grep -n main {0}.py"),
    "the lines after those shown": (["sed -n '{1}01,{1}40p' {0}.py"], "sed -n '{1}41,{1}80p' {0}.py"),
    "what went with the file": (
        ["scp -i {0}.pem x.txt {0}.example.com:", *(f"ping {{0}}-{n}.example.com" for n in range(3))],
        "ssh -i {0}.pem {0}.example.com",
    ),
    "a path that was printed": ([("git status", "modified:   src/{0}.ts\n")], "git add src/{0}.ts"),
    "the first path that was printed": (
        ["cat {0}_a.ts", "cat {0}_c.ts", *OTHERS, ("git status", "{0}_a.ts\n{0}_b.ts\n{0}_c.ts\n")],
        "git add {0}_a.ts",
    ),
    "a name in the folder that was listed": ([("ls lib/{0}", "core.py\n")], "cat lib/{0}/core.py"),
    "the line that was printed": ([("grep -n main {0}.py", "{1}13:def main():\n")], "sed -n '{1}13,{1}40p' {0}.py"),
    "a test that failed": ([("pytest -q", "FAILED test_{0}.py::test_x - no\n")], "pytest test_{0}.py::test_x"),
    "the test of the file": (["ls tests/test_{0}.py", *OTHERS, "vim src/{0}.py"], "pytest tests/test_{0}.py"),
    "the test by convention": (["vim src/{0}.py"], "pytest src/tests/test_{0}.py"),
    "the module of the file": (["vim tests/{0}/test_io.py"], "python -m unittest {0}.test_io"),
    "the other form of the program": (["kubectl logs {0}-1"], "kubectl logs -f {0}-1"),
    "a file of a traceback": (
        ["python src/{0}.py", ("make", 'File "/srv/{0}/src/{0}.py", line 3\nFile "/srv/{0}/lib/{0}_io.py", line 9\n')],
        "vim lib/{0}_io.py",
    ),
}
"""What a rule takes values from, steps (with outputs) before, and the line that follows."""


def replay(engine: ProceduralMemoryEngine, rule: str, name: str, number: int) -> tuple[Session, str]:
    """Record the steps of a rule's example in a new session; return it, and the line that follows."""
    steps, line = RULES[rule]
    session = engine.session(cwd=f"/src/{name}")
    for step in steps:
        command, output = step if isinstance(step, tuple) else (step, None)
        session.record(command.format(name, number), output=output and output.format(name, number))
    return session, line.format(name, number)


@pytest.mark.parametrize("rule", RULES)
def test_place_is_filled_by(engine: ProceduralMemoryEngine, rule: str) -> None:
    """What filled a place in other projects fills it in a new one, with values that were never seen before."""
    for number, name in enumerate(("apple", "birch", "cedar"), 1):
        session, line = replay(engine, rule, name, number)
        session.record(line)
        session.close("success")
    session, line = replay(engine, rule, "unheard", 7)
    found = [p for p in session.predict(top_k=20) if p.template == normalize(line)]
    assert next(p.next_command for p in found if p.runnable) == line


def test_rules_that_were_right_weigh_more() -> None:
    """Who runs what was just written gets the file just written, who runs the oldest gets the oldest."""
    for chosen in ("last", "first"):
        with ProceduralMemoryEngine(embedder="lexical") as engine:
            for name in ("a", "b", "c", "d", "e"):
                made = [f"touch {name}_{part}.py" for part in ("first", "2", "3", "4", "last")]
                engine.learn_workflow([*made, f"python {name}_{chosen}.py"])
            session = engine.session()
            for part in ("first", "2", "3", "4", "last"):
                session.record(f"touch new_{part}.py")
            found = [p.next_command for p in session.predict(top_k=20) if p.next_command.startswith("python")]
            assert found[0] == f"python new_{chosen}.py"


def test_values_of_a_line_belong_together(engine: ProceduralMemoryEngine) -> None:
    """The lines of the session come first, not a mix of them."""
    session = engine.session(cwd="/src")
    told = ["head -n 90 x.log | tail -n 7", "head -n 50 y.log | tail -n 3"]
    for line in told:
        session.record(line)
        session.record("make")
    found = [p.next_command for p in session.predict(top_k=20) if p.runnable and p.next_command.startswith("head")]
    assert set(found[:2]) == set(told)


def test_a_file_named_twice_in_a_line_is_the_same(engine: ProceduralMemoryEngine) -> None:
    """Whichever file fills the first place fills the second."""
    for n in range(4):
        for chosen in ("old", "new"):
            line = f"test -f {chosen}{n} && cat {chosen}{n}"
            engine.learn_workflow([f"touch old{n}", f"touch new{n}", line])
    session = engine.session()
    session.record("touch first")
    session.record("touch second")
    found = [p.next_command for p in session.predict(top_k=20) if p.runnable and p.next_command.startswith("test -f")]
    assert set(found[:2]) == {"test -f first && cat first", "test -f second && cat second"}


def test_what_a_place_depends_on_is_the_step_before(engine: ProceduralMemoryEngine) -> None:
    """After writing a file it is run; after a failed edit elsewhere the script that was run before is run again."""
    for name in ("a", "b", "c", "d"):
        engine.learn_workflow(
            [f"touch {name}.py", f"python {name}.py", f"sed -i s/x/y/ lib/{name}_core.py", f"python {name}.py"]
        )
    session = engine.session()
    session.record("touch new.py")
    assert session.predict(top_k=1)[0].next_command == "python new.py"
    session.record("python new.py")
    session.record("sed -i s/x/y/ lib/new_core.py")
    assert session.predict(top_k=1)[0].next_command == "python new.py"


def test_values_of_the_folder_lead_those_of_the_project(engine: ProceduralMemoryEngine) -> None:
    """What was used in this folder comes before what is more usual elsewhere in the project; `cd` is followed."""
    for folder, file, times in (("a", "notes.txt", 2), ("b", "todo.txt", 4)):
        for _ in range(times):
            steps = (("/p", f"cd {folder}"), (f"/p/{folder}", "ls"), (f"/p/{folder}", f"cat {file}"))
            engine.learn_workflow([{"command": c, "cwd": cwd, "project": "p"} for cwd, c in steps])
    for folder, file in (("a", "notes.txt"), ("b", "todo.txt")):
        session = engine.session(cwd="/p", project="p")
        session.record(f"cd {folder}")
        found = session.predict(top_k=20)
        assert next(p.next_command for p in found if p.runnable and p.template == "cat <FILE>") == f"cat {file}"


def test_lines_are_a_distribution(learned: ProceduralMemoryEngine) -> None:
    """Probabilities of lines never sum to more than one, and none is more probable than its template."""
    for context in ([], [{"command": "git add .", "cwd": "/src"}], ["git status"]):
        found = learned.predict_next_action(context, top_k=100)
        assert len({p.template for p in found if p.runnable}) > 3
        assert 0.0 < sum(p.probability for p in found) <= 1.0 + 1e-9
        assert all(0.0 <= p.probability <= p.template_probability for p in found)
        sums: dict[str, float] = {}
        for p in found[:10]:
            sums[p.template] = sums.get(p.template, 0.0) + p.probability
            assert sums[p.template] <= p.template_probability + 1e-9
        assert len({(p.template, p.template_probability) for p in found}) == len({p.template for p in found})


@pytest.mark.parametrize("command", ["grep secretproj.py log", "echo 'see src/secretproj.md'", "X=src/secretproj make"])
def test_texts_that_name_files_stay_in_their_project(engine: ProceduralMemoryEngine, command: str) -> None:
    """So does a text that is no file but names one."""
    for _ in range(3):
        engine.learn_workflow([{"command": c, "cwd": "/src/a"} for c in ("make", command, "git push")])
    assert command in lines(engine, ["make"], cwd="/src/a")
    for elsewhere in ("/src/b", None):
        assert not any("secretproj" in line for line in lines(engine, ["make"], cwd=elsewhere))


def test_nothing_of_an_output_is_stored(tmp_path: Path) -> None:
    """Neither the memory's files nor a snapshot hold a word of what commands printed."""
    with ProceduralMemoryEngine(path=tmp_path / "m.sqlite3", embedder="lexical") as engine:
        with engine.session(cwd="/src") as session:
            for _ in range(3):
                session.record("make", output="src/oddword.py:3: failed\nFAILED tests/oddword.py::test_oddword\n")
                session.predict()
        engine.save(tmp_path / "m.json")
        engine.save(tmp_path / "m.pkl")
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"oddword" not in kept


def test_outputs_leave_the_counts_as_they_are() -> None:
    """A memory that was told outputs predicts in other sessions as one that was not, and as its own rebuild."""
    told: list[Said] = []
    for output in (None, "src/cart.py:3: failed"):
        with ProceduralMemoryEngine(embedder="lexical") as engine:
            for _ in range(3):
                with engine.session(cwd="/src", session_id=f"s{_}") as session:
                    for command in ("make", "vim src/cart.py", "make"):
                        session.record(command, output=output)
            context = [{"command": "make", "cwd": "/src"}]
            told.append(said(engine, context))
            engine.rebuild()
            assert told[-1] == said(engine, context)
    assert told[0] == told[1]


def test_what_outputs_taught_ends_with_what_was_learned(engine: ProceduralMemoryEngine) -> None:
    """Sessions share how often outputs were right; forgetting takes that back to what nothing is known of."""
    told: list[float] = []
    for _ in range(4):
        session, line = replay(engine, "the first path that was printed", f"n{len(told)}", 1)
        found = [p for p in session.predict(top_k=50) if p.next_command == line]
        told += [p.probability / p.template_probability for p in found] or [0.0]
        session.record(line)
        session.close()
    assert told[3] > told[1] > 0.0
    assert engine._judged
    engine.forget(before=4e9)
    assert not engine._judged


def test_merged_memories_fill_places_alike() -> None:
    """Values and rules are sums: two halves merged, in either order, ground as the whole does."""
    session = ("touch f{0}.py", "python f{0}.py", "sed -n '1,20p' lib.py", "sed -n '21,40p' lib.py")
    every = [
        {
            "session_id": f"s{n}",
            "commands": [{"command": c.format(n), "timestamp": 1e9 + n, "cwd": "/p"} for c in session],
        }
        for n in range(6)
    ]
    context = [{"command": c, "cwd": "/p"} for c in ("touch new.py", "python new.py", "sed -n '1,20p' lib.py")]
    told: list[dict[str, dict[str, float]]] = []
    for first, second in ((every, []), (every[:2], every[2:]), (every[2:], every[:2])):
        with ProceduralMemoryEngine(embedder="lexical") as one, ProceduralMemoryEngine(embedder="lexical") as two:
            one.learn_many(first)
            two.learn_many(second)
            one.merge(two)
            one.flush()
            told.append(said(one, context)[1])
    for other in told[1:]:
        assert other.keys() == told[0].keys()
        assert all(other[line] == pytest.approx(told[0][line]) for line in other)


def test_free_text_that_never_repeats_stays_open(engine: ProceduralMemoryEngine) -> None:
    """Old commit messages are not proposed again; the open form is, with the probability of a new one."""
    for i in range(5):
        engine.learn_workflow(["git add .", f"git commit -m 'change number {i}'", "git push"])
    best = engine.predict_next_action(["git add ."], top_k=1)[0]
    assert best.next_command == "git commit -m <STR>"
    assert not best.runnable
    assert 0.5 * best.template_probability < best.probability <= best.template_probability


def test_lines_that_can_be_run_come_first(engine: ProceduralMemoryEngine) -> None:
    """A form that stays open comes after the lines that can be run, unless it is the more probable by far."""
    for n, other in enumerate(["make", "make test", "ls", "pwd"]):
        engine.learn_workflow(["git add .", f"git commit -m 'change {n}'", "git push"])
        engine.learn_workflow(["git add .", other, "git push"])
        engine.learn_workflow(["git add .", f"{other} --all", "git push"])
    found = engine.predict_next_action(["git add ."], top_k=20)
    order = [p.runnable for p in found]
    assert False in order
    assert order == sorted(order, reverse=True)


def test_a_redacted_secret_is_not_offered_again(engine: ProceduralMemoryEngine) -> None:
    """A value whose secret was redacted is no proposal, however often it came, in the session or before."""
    secret = f"curl -H 'Authorization: Bearer {TOKEN}' https://api.example.com"
    for _ in range(4):
        engine.learn_workflow(["make", secret, "ls"])
    session = engine.session()
    session.record(secret)
    session.record("make")
    found = [p for p in session.predict(top_k=20) if p.next_command.startswith("curl")]
    assert [p.runnable for p in found] == [False]
    assert TOKEN not in repr(found)


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
    engine.learn_workflow(["make\r\n", "git push \n", "ls"])
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
    assert "3 sessions, 2 ended well" in found.reason


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


def test_outputs_are_heard_by_their_session_alone(engine: ProceduralMemoryEngine) -> None:
    """Of two sessions with the same commands each proposes what its own output named."""
    for number in range(8):
        with engine.session(cwd="/src") as live:
            live.record("make test", output=f"src/part{number}.py:3: failed")
            live.predict(3)
            live.record(f"vim src/part{number}.py")
    one, two = (engine.session(cwd="/src") for _ in range(2))
    for live, name in ((one, "alpha"), (two, "beta")):
        live.record("make test", output=f"src/{name}.py:3: failed")
    for _ in range(2):
        assert "vim src/alpha.py" in [p.next_command for p in one.predict(5)]
        assert "vim src/beta.py" in [p.next_command for p in two.predict(5)]
        assert not any("beta" in p.next_command for p in one.predict(50))
        assert not any("alpha" in p.next_command for p in two.predict(50))
