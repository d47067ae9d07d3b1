"""The sample sessions are well formed, tell a coherent story and leave the demo session out."""

import datetime
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from procedural_memory.samples import load_demo_session, load_sessions

SESSIONS = load_sessions()
DEMO = load_demo_session()
EVERY = [*SESSIONS, {"session_id": "demo", **DEMO}]
IDS = [str(session["session_id"]) for session in EVERY]
STEP_FIELDS = {"command": str, "exit_code": int, "cwd": str, "timestamp": float, "duration_ms": int}

DOMAINS = {
    "git": r"^git (status|add|commit|push|pull|rebase|switch)",
    "python": r"\b(pytest|ruff|mypy|pip|uv|venv)\b",
    "node": r"^(npm|npx) ",
    "docker": r"^docker (compose|build|push)",
    "data": r"^(duckdb|sqlite3|psql|jupyter|dvc|awk) ",
    "rust": r"^cargo ",
    "go": r"^go (build|test|vet)",
    "kubernetes": r"^kubectl ",
    "remote": r"^(ssh|rsync) ",
    "systemd": r"\b(systemctl|journalctl|systemd-analyze)\b",
}
SHAPES = {
    "pipeline": r" \| ",
    "heredoc": r"<<'?[A-Z]+'?\n",
    "list": r" && ",
    "subshell": r"^\(",
    "single quotes": r"'[^']+ [^']*'",
    "double quotes": r'"[^"]+ [^"]*"',
    "environment assignment": r"^[A-Z_]+=\S+ \S",
    "comment": r"  # ",
    "redirection": r" > ",
}


def lines(session: dict[str, Any]) -> list[str]:
    """Return the command lines of a session."""
    return [step["command"] for step in session["commands"]]


def exit_codes(session: dict[str, Any]) -> list[int]:
    """Return the exit codes of a session."""
    return [step["exit_code"] for step in session["commands"]]


def all_lines() -> list[str]:
    """Return every command line of the sample sessions."""
    return [line for session in SESSIONS for line in lines(session)]


def end(step: dict[str, Any]) -> float:
    """Return the time at which a step ended."""
    return float(step["timestamp"]) + float(step["duration_ms"]) / 1000


def test_there_are_enough_sessions_with_distinct_ids() -> None:
    """A month of sessions, each under its own id, across four or five projects."""
    ids = [session["session_id"] for session in SESSIONS]
    assert 32 <= len(ids) <= 40
    assert len(set(ids)) == len(ids)
    assert 4 <= len({session["project"] for session in SESSIONS}) <= 5


def test_outcomes_are_valid_and_mixed() -> None:
    """Most sessions succeed, about a quarter fail, a few are unknown; nothing else occurs."""
    outcomes = Counter(session["outcome"] for session in SESSIONS)
    assert set(outcomes) == {"success", "failure", None}
    assert 0.2 <= outcomes["failure"] / len(SESSIONS) <= 0.3
    assert 2 <= outcomes[None] <= 5
    assert outcomes["success"] > outcomes["failure"]


@pytest.mark.parametrize("session", EVERY, ids=IDS)
def test_every_step_has_exactly_the_documented_fields(session: dict[str, Any]) -> None:
    """Steps carry the five fields with their types, and the command is printable text."""
    assert 4 <= len(session["commands"]) <= 22
    for step in session["commands"]:
        assert {name: type(value) for name, value in step.items()} == STEP_FIELDS
        assert step["command"] == step["command"].strip() != ""
        assert step["command"].replace("\n", "").isprintable()
        assert 0 <= step["exit_code"] <= 255
        assert step["duration_ms"] > 0


@pytest.mark.parametrize("session", EVERY, ids=IDS)
def test_a_step_starts_after_the_one_before_has_ended(session: dict[str, Any]) -> None:
    """Steps are in order and never overlap, and nobody thinks for more than a few minutes."""
    steps = session["commands"]
    gaps = [later["timestamp"] - end(earlier) for earlier, later in pairwise(steps)]
    assert min(gaps) > 0
    assert max(gaps) < 300


@pytest.mark.parametrize("session", EVERY, ids=IDS)
def test_a_session_stays_in_its_project(session: dict[str, Any]) -> None:
    """Every cwd is the project's folder or lies in it, and only a `cd` changes it."""
    root = f"/home/dev/src/{session['project']}"
    steps = session["commands"]
    assert all(step["cwd"] == root or step["cwd"].startswith(root + "/") for step in steps)
    for earlier, later in pairwise(steps):
        assert earlier["cwd"] == later["cwd"] or earlier["command"].startswith("cd ")


def test_sessions_follow_each_other_over_four_working_weeks() -> None:
    """The file is in order of time, without overlap, on working days of four weeks in 2026."""
    for earlier, later in pairwise(SESSIONS):
        assert end(earlier["commands"][-1]) < later["commands"][0]["timestamp"]
    days = [
        datetime.datetime.fromtimestamp(session["commands"][0]["timestamp"], datetime.timezone.utc).date()
        for session in SESSIONS
    ]
    assert {day.year for day in days} == {2026}
    assert 21 <= (days[-1] - days[0]).days <= 28
    assert all(day.isoweekday() <= 5 for day in days)
    assert all(str(day) in session["session_id"] for day, session in zip(days, SESSIONS, strict=True))


def test_exit_codes_tell_the_story_of_the_outcome() -> None:
    """A success ends on a step that worked; a failure has several failed steps, one of them late."""
    for session in SESSIONS:
        codes = exit_codes(session)
        if session["outcome"] == "success":
            assert codes[-1] == 0, session["session_id"]
        if session["outcome"] == "failure":
            assert sum(code != 0 for code in codes) >= 2, session["session_id"]
            assert any(codes[len(codes) // 2 :]), session["session_id"]


def test_only_successful_sessions_publish_finished_work() -> None:
    """A failed session ends without a push, and more than half of the successful ones end with one."""
    pushed = {
        session["session_id"]: any(
            step["command"].startswith("git push") and step["exit_code"] == 0 for step in session["commands"]
        )
        for session in SESSIONS
    }
    by_outcome = {
        outcome: [s["session_id"] for s in SESSIONS if s["outcome"] == outcome] for outcome in ("success", "failure")
    }
    assert not any(pushed[name] for name in by_outcome["failure"])
    assert sum(pushed[name] for name in by_outcome["success"]) > len(by_outcome["success"]) / 2


def test_a_failed_step_is_often_retried_until_it_works() -> None:
    """In most successful sessions with a failed step, that same line works later in the session."""
    failed, fixed = 0, 0
    for session in SESSIONS:
        if session["outcome"] != "success":
            continue
        steps = session["commands"]
        for index, step in enumerate(steps):
            if step["exit_code"] not in (0, 130):
                failed += 1
                fixed += any(
                    later["command"] == step["command"] and later["exit_code"] == 0 for later in steps[index + 1 :]
                )
    assert failed >= 20
    assert fixed / failed > 0.6


def test_habits_repeat_so_that_there_is_something_to_learn() -> None:
    """Test-fix-test and build-up-logs recur, and the last line says far more of the next than frequency."""
    joined = ["\n".join(lines(session)) for session in SESSIONS]
    retest = re.compile(r"^(.*\b(?:pytest|npm test|cargo test|vitest)\b.*)\nvim .*\n\1$", re.MULTILINE)
    assert sum(bool(retest.search(text)) for text in joined) >= 10
    assert sum("docker compose up -d\ndocker compose logs" in text for text in joined) >= 3

    after: defaultdict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    from_last = from_overall = 0
    for session in SESSIONS:
        words = [" ".join(line.split()[:2]) for line in lines(session)]
        for word, following in pairwise(words):
            # Predict first, then learn.
            from_last += [name for name, _ in after[word].most_common(1)] == [following]
            from_overall += [name for name, _ in overall.most_common(1)] == [following]
            after[word][following] += 1
            overall[following] += 1
    assert from_last > 2 * from_overall > 0
    assert from_last > 0.3 * overall.total()


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_is_present(domain: str) -> None:
    """Each kind of work named in the documentation occurs at least three times."""
    assert sum(bool(re.search(DOMAINS[domain], line)) for line in all_lines()) >= 3


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shell_construct_is_present(shape: str) -> None:
    """The parser meets each construct in the samples."""
    assert any(re.search(SHAPES[shape], line) for line in all_lines())


def test_hosts_and_addresses_are_reserved_for_documentation() -> None:
    """No line names a real host, address or secret."""
    for line in [*all_lines(), *lines(DEMO)]:
        for address in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", line):
            assert address.startswith("192.0.2.")
        for host in re.findall(r"(?:https?://|[\w-]+@)([\w.-]+\.[a-z]{2,})\b", line):
            assert host.endswith("example.com")
        assert not re.search(r"(?i)passw|token|secret|api_?key|bearer|://[^/\s@:]+:[^/\s@]+@", line)


def test_the_demo_session_is_not_among_the_samples() -> None:
    """The demo session is new as a whole and comes after the samples, in a known project."""
    demo = lines(DEMO)
    assert all(lines(session) != demo for session in SESSIONS)
    assert all(DEMO["commands"][-2]["command"] != line for line in all_lines())
    assert DEMO["commands"][0]["timestamp"] > end(SESSIONS[-1]["commands"][-1])
    assert DEMO["project"] in {session["project"] for session in SESSIONS}
    assert all(step["cwd"] == DEMO["cwd"] for step in DEMO["commands"])
    assert DEMO["description"]


def test_the_demo_session_resembles_the_habits() -> None:
    """Most of its lines were seen in its project, and it holds one failing test that an edit fixes."""
    seen = {line for session in SESSIONS if session["project"] == DEMO["project"] for line in lines(session)}
    demo = lines(DEMO)
    assert 8 <= len(demo) <= 10
    assert sum(line in seen for line in demo) >= 0.7 * len(demo)
    failing = [index for index, code in enumerate(exit_codes(DEMO)) if code]
    assert len(failing) == 1
    test, edit, again = DEMO["commands"][failing[0] : failing[0] + 3]
    assert "pytest" in test["command"]
    assert edit["command"].startswith("vim ")
    assert (again["command"], again["exit_code"]) == (test["command"], 0)
    assert DEMO["outcome"] == "success"


def test_loading_returns_fresh_objects() -> None:
    """A caller that changes what it was given does not change the next answer."""
    first = load_sessions()
    first[0]["commands"].clear()
    load_demo_session()["commands"].clear()
    assert load_sessions() == SESSIONS
    assert load_demo_session() == DEMO


def test_loading_needs_the_standard_library_alone() -> None:
    """Reading the samples imports no third-party package."""
    code = (
        "import sys; from procedural_memory.samples import load_sessions; assert load_sessions();"
        "print(*sorted({'numpy', 'networkx', 'tree_sitter', 'torch', 'mlx', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
