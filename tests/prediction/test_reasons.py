"""Every number of a reason, and every count of the evidence, counted again in the sessions themselves.

The sessions stand here as plain lists of steps. Nothing is read from the store, and no key, chain or count of the
product is used: only templates and programs are made by it, the similarity of two single commands, and vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory import ProceduralMemoryEngine
from procedural_memory.commands.normalize import analyze
from procedural_memory.embedding.lexical import LexicalEmbedder
from procedural_memory.memory.context import program_of
from procedural_memory.memory.fills import may_be_kept
from procedural_memory.memory.similarity import GAP, RECENCY
from procedural_memory.prediction.reasons import reason
from procedural_memory.samples import load_sessions
from procedural_memory.types import Evidence, Prediction
from procedural_memory.validation import as_command

# -- the sessions, and what is counted in them

NEWEST = 64
"""How many of the newest steps after a context are told apart."""

LOOKED_AT = 6
"""How many of the last steps are held against workflows."""

LOOKED_INTO = 24
"""Of more workflows the nearest ones are looked at."""

LEAST = 0.7
"""Least similarity of a workflow."""


@dataclass(frozen=True)
class Step:
    """A step as it was told."""

    template: str
    exit_code: int | None
    project: str | None
    cwd: str | None
    line: str
    kept: bool
    """Whether the line may come again."""


@dataclass
class Told:
    """A session as it was told; `padded` are its templates after an empty one that stands for its start."""

    start: float
    steps: list[Step] = field(default_factory=list)
    outcome: str | None = None
    closed: bool = False
    padded: list[str] = field(default_factory=lambda: [""])

    def add(self, step: Step) -> None:
        """Take in the next step."""
        self.steps.append(step)
        self.padded.append(step.template)


Place: TypeAlias = tuple[Told, int]
"""A session and the number of a step."""

Condition: TypeAlias = Callable[[Told, int], bool]


def after(context: Sequence[str]) -> Condition:
    """Return whether a step comes right after some templates; an empty one is the start of the session."""
    wanted = list(context)
    return lambda told, i: told.padded[max(0, i + 1 - len(wanted)) : i + 1] == wanted


def after_lines(context: Sequence[str]) -> Condition:
    """As `after`, of command lines."""
    wanted = list(context)

    def holds(told: Told, i: int) -> bool:
        lines = ["", *(step.line for step in told.steps)]
        return lines[max(0, i + 1 - len(wanted)) : i + 1] == wanted

    return holds


def after_programs(programs: Sequence[str], at_start: bool) -> Condition:
    """Return whether a step comes right after steps with these programs."""
    n = len(programs)

    def holds(told: Told, i: int) -> bool:
        before = told.steps[max(0, i - n) : i]
        return [program_of(step.template) for step in before] == list(programs) and (i == n or not at_start)

    return holds


def after_end(ended: str) -> Condition:
    """Return whether the step before ended in that way."""

    def holds(told: Told, i: int) -> bool:
        code = told.steps[i - 1].exit_code if i else None
        return code is not None and (code != 0) == (ended == "failed")

    return holds


def back(steps: int, template: str) -> Condition:
    """Return whether a template, or the start of the session, lies so many steps back."""
    return lambda told, i: i + 1 >= steps and told.padded[i + 1 - steps] == template


@dataclass
class Asked:
    """A question: the sessions so far, the steps of the current one, and where the next will run."""

    log: list[Told]
    steps: list[Step]
    project: str | None
    cwd: str | None

    @property
    def templates(self) -> list[str]:
        """The templates of the current session."""
        return [step.template for step in self.steps]

    def workflows(self) -> set[tuple[str, ...]]:
        """Return the workflows of the sessions that are closed."""
        return {tuple(told.padded[1:]) for told in self.log if told.closed and len(told.steps) >= 3}

    def scope(self, expert: str) -> Condition:
        """Return whether a step was where the next one will run, as far as an expert looks at that."""
        if expert == "project":
            return lambda told, i: told.steps[i].project == self.project
        if expert == "directory":
            return lambda told, i: told.steps[i].cwd == self.cwd
        return lambda told, i: True

    def counts(self, template: str, *conditions: Condition) -> dict[str, int]:
        """Count all there is to count of a template at the places where the conditions hold."""
        places = sorted(
            (
                (told, i)
                for told in self.log
                for i in range(len(told.steps))
                if all(condition(told, i) for condition in conditions)
            ),
            key=lambda place: (place[0].start, place[1]),
        )
        newest = places[-NEWEST:]
        hits = [(told, i) for told, i in places if told.steps[i].template == template]
        ends = [_succeeded(told, told.steps[i]) for told, i in hits]
        sessions = {told.start: told.outcome for told, _ in hits}
        return {
            "count": len(hits),
            "total": len(places),
            "sessions": len(sessions),
            "successes": ends.count(True),
            "failures": ends.count(False),
            "ended_well": list(sessions.values()).count("success"),
            "ended_badly": list(sessions.values()).count("failure"),
            "lately": sum(told.steps[i].template == template for told, i in newest),
            "of": len(newest),
        }

    def lines(self, expert: str, line: str, context: Sequence[str]) -> int:
        """Return how often a line came after a context where the next one will run."""
        comes = after(context) if expert == "line after" else after_lines(context)
        steps = [
            told.steps[i]
            for told in self.log
            for i in range(len(told.steps))
            if told.steps[i].project == self.project and comes(told, i)
        ]
        if expert == "line here":
            steps = [step for step in steps if step.cwd == self.cwd]
        return sum(step.line == line for step in steps)

    def is_beginning(self, context: Sequence[str]) -> bool:
        """Return whether the current session ends with a context, or is it where that holds the start."""
        padded = ["", *self.templates]
        return list(context) == padded[max(0, len(padded) - len(context)) :]


def _succeeded(told: Told, step: Step) -> bool | None:
    """Return how a transition ended: by the exit code, else by the session."""
    if step.exit_code is not None:
        return step.exit_code == 0
    return None if told.outcome is None else told.outcome == "success"


# -- what resembles


class Resembling:
    """Similarities, computed again from those of single commands."""

    def __init__(self, engine: ProceduralMemoryEngine) -> None:
        self._matrix = engine._index._similarity.matrix
        self._embedder = LexicalEmbedder()

    def cosine(self, first: str, second: str) -> float:
        """Return the cosine of two templates."""
        one, other = self._embedder.embed([first, second])
        return float(one @ other)

    def workflows(self, asked: Asked, template: str) -> dict[tuple[str, ...], float]:
        """Return the workflows in which `template` follows what was done last, each with its best similarity."""
        context = asked.templates[-LOOKED_AT:]
        found: dict[tuple[str, ...], float] = {}
        for steps in asked.workflows():
            if template in steps[1:]:
                ending = self._endings(context, steps)
                best = max(ending[i] for i in range(len(steps) - 1) if steps[i + 1] == template)
                if best >= LEAST - 1e-4:
                    found[steps] = best
        return found

    def _endings(self, context: Sequence[str], steps: tuple[str, ...]) -> list[float]:
        """Return how well a context ends on each step: every alignment is tried, one step after the other."""
        n = len(context)
        shares = [RECENCY ** (n - 1 - i) for i in range(n)]
        weights = [share / sum(shares) for share in shares]
        likeness = self._matrix(list(context), list(steps)).tolist()
        gap = GAP / n

        @cache
        def ending(row: int, step: int) -> float:
            earlier = (ending(other, place) - gap * (step - place - 1) for other in range(row) for place in range(step))
            return float(weights[row] * likeness[row][step]) + max([0.0, *earlier])

        return [min(1.0, ending(n - 1, step)) for step in range(len(steps))]


def confidence(asked: Asked, steps: tuple[str, ...]) -> float:
    """Return the mean of the posterior of a workflow's success under a flat prior."""
    outcomes = [told.outcome for told in asked.log if told.closed and tuple(told.padded[1:]) == steps]
    good, bad = outcomes.count("success"), outcomes.count("failure")
    return (good + 1) / (good + bad + 2)


# -- evidence


def check_evidence(item: Evidence, found: Prediction, asked: Asked, like: Resembling, engine: Any) -> None:
    """Each count of an expert is what the sessions say."""
    d, template = dict(item.details), found.template
    if item.expert in ("counts", "recent", "project", "directory"):
        context = ("",) * d.pop("at_start") + item.context
        assert asked.is_beginning(context)
        told = asked.counts(template, asked.scope(item.expert), after(context))
        assert d == {name: told[name] for name in d}
        assert {"count", "total", "sessions", "successes", "failures", "ended_well", "ended_badly"} <= d.keys()
    elif item.expert in ("program", "exit"):
        told = asked.counts(template, *matched(d, asked))
        assert (d["count"], d["total"]) == (told["count"], told["total"])
    elif item.expert == "skip":
        step = item.context[0] if item.context else ""
        assert ["", *asked.templates][-d["steps_back"]] == step
        told = asked.counts(template, back(d["steps_back"], step))
        assert (d["count"], d["total"]) == (told["count"], told["total"])
    elif item.expert == "patterns":
        alike = like.workflows(asked, template)
        assert list(item.context) == asked.templates[-LOOKED_AT:]
        check_workflows(alike, d["patterns"], d["all_looked_at"], d["similarity"], 1e-3)
        assert d["all_looked_at"] or len(asked.workflows()) >= LOOKED_INTO
        shown = [engine.patterns[name].templates for name in d["pattern_ids"]]
        assert len(set(shown)) == len(shown) == min(d["patterns"], 5)
        worth = [alike[steps] * confidence(asked, steps) for steps in shown]
        assert worth == pytest.approx(sorted(worth, reverse=True), abs=1e-3)
        assert d["confidence"] == pytest.approx(worth[0], abs=1e-3)
    elif item.expert == "semantic":
        told = asked.counts(template, after(item.context))
        assert d["count"] == told["count"]
        assert d["similarity"] == pytest.approx(like.cosine(item.context[0], asked.templates[-1]), abs=1e-3)
    elif item.expert.startswith("line"):
        context = ("",) * d["at_start"] + item.context
        mine = asked.templates if item.expert == "line after" else [step.line for step in asked.steps]
        assert list(context) == ["", *mine][max(0, 1 + len(mine) - len(context)) :]
        assert d["count"] == asked.lines(item.expert, found.next_command, context)
        assert d["project"] == asked.project
    elif item.expert == "fill":
        assert item.context == (template,)
        assert 0.0 < item.probability <= 1.0
        assert d["rule"]
    else:
        assert item.expert == "recency"
        assert d["steps_ago"] == asked.templates[::-1].index(template) + 1


def matched(d: Mapping[str, Any], asked: Asked) -> Iterator[Condition]:
    """Yield what must hold of a step that is counted by the programs or the end of those before it."""
    if "steps" in d:
        context = ("",) * d["at_start"] + d["steps"]
        assert asked.is_beginning(context)
        yield after(context)
    else:
        n = len(d["programs"])
        assert list(d["programs"]) == [program_of(template) for template in asked.templates[-n:] if n]
        assert not d["at_start"] or n == len(asked.steps)
        yield after_programs(d["programs"], d["at_start"])
    if "ended" in d:
        assert (d["ended"] == "failed") == bool(asked.steps[-1].exit_code)
        yield after_end(d["ended"])


def check_workflows(found: Mapping[Any, float], number: int, all_of_them: bool, best: float, close: float) -> None:
    """So many are similar enough; what lies at the limit may be on either side of it."""
    assert 1 <= number <= len(found)
    if all_of_them:
        assert number >= sum(value >= LEAST + 1e-4 for value in found.values())
        assert best == pytest.approx(max(found.values()), abs=close)
    else:
        assert number <= LOOKED_INTO
        assert any(best == pytest.approx(value, abs=close) for value in found.values())


# -- reasons

QUOTED = r"«(?:\d+)»"
STEPS = rf"{QUOTED}(?: then {QUOTED})*"
ANY = rf"any {QUOTED}(?: then any {QUOTED})*"
TIMES = r"(?P<times>once|\d+ times)"
SHARE = r"(?P<share>the only time|\d+ of \d+ times)"
WHERE = r"(?P<where> of this project| in this directory|)"
ENDED = r"(?P<ended>, which ended (?:well|badly)|(?:, of \d+ with a known end|,) \d+ ended well|)"
BEGUN = r"(?P<begun> at the start of a session|)"
FORMS = {
    "start": rf"seen {TIMES} at the start of a session{WHERE}{ENDED}",
    "seen": rf"seen {TIMES}(?: after (?P<steps>{STEPS}))? (?P<place>at the start of|in) "
    rf"(?P<sessions>a session|\d+ sessions){WHERE}{ENDED}",
    "lately": rf"(?P<lately>\d+) of the last (?P<of>\d+) (?:times after (?P<steps>{STEPS})|steps)",
    "began": r"(?P<lately>\d+) of the last (?P<of>\d+) sessions (?P<that>that |)began so",
    "program": rf"{SHARE} after (?P<programs>{ANY}){BEGUN}",
    "exit": rf"{SHARE} after (?P<steps>{STEPS}) (?P<how>failed|passed){BEGUN}",
    "program exit": rf"{SHARE} after (?P<programs>{ANY}) that (?P<how>failed|passed){BEGUN}",
    "skip": rf"{SHARE} (?P<back>\d+) steps after (?P<step>{QUOTED}|the start of a session)",
    "patterns": r"(?P<least>at least |)(?P<many>1 similar workflow continues|\d+ similar workflows continue) this way "
    r"\(best match (?P<similarity>\d\.\d\d)\)",
    "semantic": rf"followed (?P<step>{QUOTED}), which resembles the last step \((?P<similarity>\d\.\d\d)\), {TIMES}",
    "last": r"the last step of this session",
    "line": rf"this very line {TIMES}(?: after (?P<lines>{STEPS}))?(?:{BEGUN}| in sessions) of (?P<of>this|no) project",
    "recency": r"used (?P<back>\d+) steps ago in this session",
}
"""Everything that a reason may say; quoted templates are numbered."""


def short(template: str) -> str:
    """Return a template as it is quoted."""
    line = " ".join(template.split())
    return line if len(line) <= 60 else line[:59] + "…"


def check_reason(found: Prediction, asked: Asked, like: Resembling) -> set[str]:
    """Read a reason as a reader does, and count again what it says; return its forms."""
    text = found.reason
    if text and found.next_command != found.template:
        subject = f"`{short(found.template)}`: "
        assert text.startswith(subject)
        text = text.removeprefix(subject)
    templates = {step.template for told in asked.log for step in told.steps} | set(asked.templates)
    known = {short(name) for template in templates for name in (template, program_of(template))}
    known |= {short(step.line) for told in asked.log for step in told.steps} | {short(s.line) for s in asked.steps}
    quoted = sorted(known, key=lambda name: (-len(name), name))
    for number, name in enumerate(quoted):
        text = text.replace(f"`{name}`", f"«{number}»")
    said = set()
    for part in text.split("; ") if text else ():
        form, match = next((name, m) for name, form in FORMS.items() if (m := re.fullmatch(form, part)))
        groups = match.groupdict("")
        names = {key: [quoted[int(n)] for n in re.findall(r"«(\d+)»", value)] for key, value in groups.items()}
        check_part(form, groups, names, found, asked, like)
        said.add(form)
    return said


def check_part(
    form: str, m: dict[str, str], names: dict[str, list[str]], about: Prediction, asked: Asked, like: Resembling
) -> None:
    """Count again what one part of a reason says."""
    template, templates = about.template, asked.templates

    def last(number: int) -> list[str]:
        return templates[len(templates) - number :]

    if form in ("start", "seen"):
        where = {" of this project": "project", " in this directory": "directory", "": "anywhere"}[m["where"]]
        context = last(len(names.get("steps", [])))
        assert [short(step) for step in context] == names.get("steps", [])
        if form == "start" or m["place"] == "at the start of":
            assert len(context) == len(templates)
            context = ["", *context]
        told = asked.counts(template, asked.scope(where), after(context))
        assert m["times"] == times(told["count"])
        sessions = told["sessions"]
        if form == "start":
            assert sessions == told["count"]
        else:
            assert m["sessions"] == ("a session" if sessions == 1 else f"{sessions} sessions")
        check_end(m["ended"], told)
    elif form in ("lately", "began"):
        context = last(len(names.get("steps", [])))
        assert [short(step) for step in context] == names.get("steps", [])
        if form == "began":
            context = ["", *templates]
            assert (m["that"] == "") == (templates == [])
        told = asked.counts(template, after(context))
        assert (int(m["lately"]), int(m["of"])) == (told["lately"], told["of"])
    elif form in ("program", "program exit", "exit"):
        if form == "exit":
            context = last(len(names["steps"]))
            assert [short(step) for step in context] == names["steps"]
            conditions = [after(("",) * bool(m["begun"]) + tuple(context))]
        else:
            programs = [program_of(step) for step in last(len(names["programs"]))]
            assert [short(program) for program in programs] == names["programs"]
            conditions = [after_programs(programs, bool(m["begun"]))]
        if "exit" in form:
            conditions.append(after_end(m["how"]))
            assert (m["how"] == "failed") == bool(asked.steps[-1].exit_code)
        check_share(m["share"], asked.counts(template, *conditions))
    elif form == "skip":
        step = ["", *templates][-int(m["back"])]
        assert names["step"] == [short(step)] if step else m["step"] == "the start of a session"
        check_share(m["share"], asked.counts(template, back(int(m["back"]), step)))
    elif form == "patterns":
        found = like.workflows(asked, template)
        check_workflows(found, int(m["many"].split()[0]), not m["least"], float(m["similarity"]), 0.006)
    elif form == "semantic":
        same = {t for told in asked.log for t in told.padded[1:] if short(t) == names["step"][0]}
        counted = {t: asked.counts(template, after([t]))["count"] for t in same}
        assert any(
            m["times"] == times(n) and abs(float(m["similarity"]) - like.cosine(t, templates[-1])) < 0.006
            for t, n in counted.items()
        )
    elif form == "line":
        before = [step.line for step in asked.steps][len(templates) - len(names.get("lines", [])) :]
        assert [short(line) for line in before] == names.get("lines", [])
        if m["begun"]:
            assert len(before) == len(templates)
        count = asked.lines("line", about.next_command, ("",) * bool(m["begun"]) + tuple(before))
        assert m["times"] == times(count)
        assert (m["of"] == "this") == (asked.project is not None)
    elif form == "last":
        assert templates[-1] == template
    else:
        steps = int(m["back"])
        assert template not in last(steps - 1)
        assert templates[-steps] == template


def check_share(share: str, told: Mapping[str, int]) -> None:
    """ "N of M times", or "the only time" where there was one."""
    if share == "the only time":
        assert told["count"] == told["total"] == 1
    else:
        assert share == f"{told['count']} of {told['total']} times"
        assert told["total"] > 1


def check_end(ended: str, told: Mapping[str, int]) -> None:
    """How the sessions ended, of which a known end may be said."""
    good, bad = told["ended_well"], told["ended_badly"]
    if not ended:
        assert good + bad == 0
    elif numbers := [int(n) for n in re.findall(r"\d+", ended)]:
        assert numbers == ([good] if good + bad == told["sessions"] else [good + bad, good])
    else:
        assert told["sessions"] == 1
        assert (good, bad) == ((1, 0) if ended.endswith("well") else (0, 1))


def times(count: int) -> str:
    """Return a count in words."""
    return "once" if count == 1 else f"{count} times"


# -- memories and questions


def step_of(item: Mapping[str, Any]) -> Step:
    """Return a step as the log has it: redacted, with its project."""
    command = as_command("command", item)
    analysis = analyze(command.command)
    kept = may_be_kept(analysis, command)
    return Step(analysis.template, command.exit_code, command.project, command.cwd, command.command, kept)


class Memory:
    """An engine, and beside it the sessions that it was told."""

    def __init__(self, engine: ProceduralMemoryEngine) -> None:
        self.engine = engine
        self.log: list[Told] = []
        self.forms: set[str] = set()
        self.experts: set[str] = set()
        self.reasons: list[str] = []
        self._like = Resembling(engine)

    def learn(self, commands: Sequence[Mapping[str, Any]], outcome: Any, start: float) -> None:
        """Learn a finished session."""
        timed = [{**command, "timestamp": start + i} for i, command in enumerate(commands)]
        learned = self.engine.learn_workflow(timed, session_outcome=outcome)
        assert (learned is None) == (len(commands) < 3)
        if learned is not None:
            told = Told(start, outcome=outcome, closed=True)
            for command in commands:
                told.add(step_of(command))
            self.log.append(told)

    def live(
        self, commands: Sequence[Mapping[str, Any]], outcome: Any, start: float, every: int = 1, top_k: int = 8
    ) -> None:
        """Run a session, asking before each step, or each so many steps, and at its end."""
        told = Told(start)
        self.log.append(told)
        with self.engine.session() as session:
            for i, command in enumerate([*commands, None]):
                if i % every == 0 or command is None:
                    self.engine.flush()
                    cwd = command.get("cwd") if command else told.steps[-1].cwd
                    asked = self._asked(told, cwd)
                    self._check(session.predict(top_k, cwd=cwd), asked)
                    self._check(session.predict(top_k, cwd=cwd, level="template"), asked)
                if command is not None:
                    session.record({**command, "timestamp": start + i})
                    told.add(step_of(command))
            session.close(outcome)
        told.outcome, told.closed = outcome, True

    def ask(self, commands: Sequence[Mapping[str, Any]], top_k: int = 8) -> None:
        """Ask about a context that is not learned."""
        told = Told(0.0)
        for command in commands:
            told.add(step_of(command))
        self.engine.flush()
        self._check(self.engine.predict_next_action(list(commands), top_k), self._asked(told, None))

    def _asked(self, told: Told, cwd: str | None) -> Asked:
        def newest(values: list[str | None]) -> str | None:
            return next((value for value in reversed(values) if value is not None), None)

        project = newest([step.project for step in told.steps])
        if cwd is not None:
            return Asked(self.log, list(told.steps), step_of({"command": "true", "cwd": cwd}).project, cwd)
        return Asked(self.log, list(told.steps), project, newest([step.cwd for step in told.steps]))

    def _check(self, predictions: Sequence[Prediction], asked: Asked) -> None:
        for found in predictions:
            for item in found.evidence:
                check_evidence(item, found, asked, self._like, self.engine)
                self.experts.add(item.expert)
            self.forms |= check_reason(found, asked, self._like)
            self.reasons.append(found.reason)


COMMANDS = (
    "git status",
    "git add .",
    "git add -A",
    "git commit -m x",
    "git commit -m x --amend",
    "git push",
    "make",
    "make test",
    "pytest -q tests",
    "cat notes.txt",
    "npm ci",
    "npm run build",
    "docker compose up",
    "docker compose up -d",
    "make clean; make",
    "echo `date` > now.txt",
    "tar --create --gzip --verbose --exclude-vcs --file archive.tar.gz --directory build . && git status --short",
)
PLACES: tuple[dict[str, str], ...] = ({}, {"cwd": "/src/a"}, {"cwd": "/src/b"}, {"project": "a"}, {"project": "b"})


def told_steps(least: int, most: int, choice: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Generate the commands of a session: few kinds, so that they repeat."""
    step = st.tuples(st.sampled_from(COMMANDS[:choice]), st.sampled_from([None, 0, 0, 1]), st.sampled_from(PLACES))
    return st.lists(step, min_size=least, max_size=most).map(
        lambda steps: [{"command": text, "exit_code": code, **place} for text, code, place in steps]
    )


OUTCOMES = st.sampled_from(["success", "failure", None])


@st.composite
def memories(draw: st.DrawFn) -> dict[str, Any]:
    """Generate sessions, the order of their times, two live ones and a context that is not learned."""
    choice = draw(st.integers(2, len(COMMANDS)))
    batch = draw(st.lists(st.tuples(told_steps(2, 9, choice), OUTCOMES), max_size=14))
    live = draw(st.lists(st.tuples(told_steps(1, 9, choice), OUTCOMES), min_size=1, max_size=2))
    starts = draw(st.permutations([1e9 + 1000.0 * i for i in range(len(batch) + len(live))]))
    return {"batch": batch, "live": live, "starts": starts, "context": draw(told_steps(0, 7, len(COMMANDS)))}


@settings(max_examples=30, deadline=None)
@given(memories())
def test_reasons_are_true_of_generated_sessions(made: dict[str, Any]) -> None:
    """Whatever was learned, at every place: counts and reasons say what the sessions say."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        memory = Memory(engine)
        starts = iter(made["starts"])
        for commands, outcome in made["batch"]:
            memory.learn(commands, outcome, next(starts))
        memory.ask(made["context"])
        for commands, outcome in made["live"]:
            memory.live(commands, outcome, next(starts))
        memory.ask(made["context"])


def test_reasons_are_true_of_the_samples(engine: ProceduralMemoryEngine) -> None:
    """The same of the shipped sessions; here every expert speaks, and everything that can be said is said."""
    memory = Memory(engine)
    for number, session in enumerate(load_sessions()):
        start = 1e9 + 10_000 * number
        if number < 30:
            memory.learn(session["commands"], session["outcome"], start)
        else:
            memory.live(session["commands"], session["outcome"], start, every=2)
    memory.ask([])
    assert memory.experts == {"fill", *(expert.name for expert in engine._predictor.experts)}
    assert memory.forms == set(FORMS) - {"began"}
    said = "\n".join(memory.reasons)
    for words in (
        *("the only time", "which ended well", "which ended badly", ", 0 ended well", "with a known end"),
        *(" of this project", " in this directory", "` at the start of a session", "1 similar workflow continues"),
        *("seen once", "seen 2 times", " in a session"),
    ):
        assert words in said, words


def test_reasons_are_true_of_what_became_rare(engine: ProceduralMemoryEngine) -> None:
    """Of a habit that changed, the newest times are told apart from all times: at the start of sessions, and later."""
    memory = Memory(engine)
    for number in range(90):
        first, second = ("make", "make test") if number < 40 or number % 9 == 0 else ("git status", "git push")
        commands = [{"command": command} for command in ("git pull", first, second)][number % 2 :]
        memory.learn([*commands, {"command": "git status"}], "success", 1e9 - 1000.0 * (number % 7) + 10_000 * number)
    for context in ([], ["git pull"], ["make"], ["git status"], ["git push"], ["git push", "git status"]):
        memory.ask([{"command": command} for command in context])
    assert {"began", "lately"} <= memory.forms
    said = "\n".join(memory.reasons)
    assert re.search(r"\d of the last 64 sessions began so", said)
    assert re.search(r"\d of the last 64 steps", said)


def test_reasons_are_true_of_many_workflows(engine: ProceduralMemoryEngine) -> None:
    """Where more workflows continue alike than are looked at, the number is said to be the least."""
    memory = Memory(engine)
    for number in range(60):
        commands = [f"tool{number} prepare", "git pull", "make", "git push"]
        memory.learn([{"command": command} for command in commands], "success", 1e9 + 1000.0 * number)
    memory.ask([{"command": command} for command in ("git pull", "make")])
    found = engine.predict_next_action(["git pull", "make"], top_k=1)[0]
    patterns = next(item for item in found.evidence if item.expert == "patterns")
    assert (patterns.details["patterns"], patterns.details["all_looked_at"]) == (LOOKED_INTO, False)
    assert reason([patterns]).startswith("at least 24 similar workflows continue this way")


@pytest.mark.parametrize("name", ["agent_bash", "training_shell"])
def test_reasons_are_true_of_real_sessions(name: str, engine: ProceduralMemoryEngine, real_sessions: Any) -> None:
    """The same of real sessions, deep in them, with scripts, long lines and folders."""
    memory = Memory(engine)
    for number, session in enumerate(real_sessions(name)[:14]):
        commands = [
            {key: step[key] for key in ("command", "exit_code", "cwd") if step.get(key) is not None}
            for step in session["commands"][:70]
        ]
        start = 1e9 + 10_000 * number
        if number < 11:
            memory.learn(commands, session["outcome"], start)
        else:
            memory.live(commands, session["outcome"], start, every=11, top_k=5)
    assert len(re.findall(r"\d+", " ".join(memory.reasons))) > 100
