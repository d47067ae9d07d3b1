"""Grounding: from a template to the command lines that a user might really run.

A *fill rule* proposes one line for a template from what the session has used so far. How often each rule was right is
counted while learning, and is the probability its proposal starts from. Lines of the past compete with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from procedural_memory.commands.normalize import Normalized, render
from procedural_memory.commands.redact import SECRET
from procedural_memory.commands.shapes import PLACEHOLDER

__all__ = ["Line", "SessionValues", "ground", "placeholders"]

_REMEMBERED = 64
_OUTPUT_READ, _FROM_OUTPUT = 16_384, 64
_PATH = re.compile(
    r"(?<![\w./-])(?:\.{0,2}/)?(?:[\w.-]{1,64}/){0,12}[\w-]{1,64}(?:\.\w{1,32}){0,3}\.[A-Za-z]\w{0,7}(?![\w/])"
)
_FILE = "FILE"
_FREE_TEXT = frozenset({"STR", "HEREDOC", "CODE", "TEXT"})
_FEW = 3
_PRIOR_RIGHT, _PRIOR_OFFERED = 1.0, 4.0
_LINE_DISCOUNT = 0.5


@lru_cache(maxsize=16_384)
def placeholders(template: str) -> tuple[str, ...]:
    """Return the kinds of the placeholders of a template, in order."""
    return tuple(match.group()[1:-1] for match in PLACEHOLDER.finditer(template))


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, the probability that it is the next one given its template, and where it comes from."""

    command: str
    probability: float
    origin: str
    runnable: bool = True


@dataclass(slots=True)
class SessionValues:
    """What a session has used so far: lines by template, values by kind, files it wrote. Newest last."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    by_program: dict[str, dict[str, str]] = field(default_factory=dict)

    def observe(self, analysis: Normalized, command: str) -> None:
        """Take in a step."""
        _push(self.lines.setdefault(analysis.template, []), command)
        for slot in analysis.slots:
            _push(self.values.setdefault(slot.kind, []), slot.value)
            for program in analysis.programs:
                self.by_program.setdefault(program, {})[slot.kind] = slot.value
        for name in analysis.mentioned:
            _push(self.values.setdefault(_FILE, []), name)
        for name in analysis.created:
            _push(self.values.setdefault(_FILE, []), name)
            _push(self.created, name)

    def observe_output(self, text: str) -> None:
        """Take in the file names in what a command printed, the first `_FROM_OUTPUT` distinct ones, until the next."""
        names = dict.fromkeys(match[0] for match in _PATH.finditer(text[:_OUTPUT_READ]))
        self.printed = list(names)[:_FROM_OUTPUT]

    def proposals(self, template: str, programs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        """Yield (rule, command line): at most one line a rule, all slots filled."""
        used = self.lines.get(template, [])
        if used:
            yield "repeat", used[-1]
        if len(used) > 1:
            yield "repeat the one before", used[-2]
        kinds = placeholders(template)
        if not kinds:
            return
        for rule, newest_file in (
            ("file just written", self.created[-1:]),
            ("newest value", self.values.get(_FILE, [])[-1:]),
            ("value before the newest", self.values.get(_FILE, [])[-2:-1]),
            ("file just printed", self.printed[:1]),
        ):
            if _FILE not in kinds and rule != "newest value":
                continue
            line = self._fill(template, kinds, newest_file)
            if line is not None:
                yield rule, line
        for program in programs:
            last = self.by_program.get(program, {})
            if all(kind in last for kind in kinds):
                yield "same program", render(template, [last[kind] for kind in kinds])
                break

    def score(self, analysis: Normalized, command: str) -> list[tuple[str, bool]]:
        """Return (rule, whether it was right) of each rule that would have proposed a line for this step."""
        return [(rule, line == command) for rule, line in self.proposals(analysis.template, analysis.programs)]

    def _fill(self, template: str, kinds: Sequence[str], files: Sequence[str]) -> str | None:
        taken: dict[str, int] = {}
        values = []
        for kind in kinds:
            # A second slot of a kind takes the value before, as in `mv <FILE> <FILE>`.
            nth = taken[kind] = taken.get(kind, 0) + 1
            pool = list(files) if kind == _FILE and nth == 1 else self.values.get(kind, [])[: -nth + 1 or None]
            if not pool:
                return None
            values.append(pool[-1])
        return str(render(template, values))


def ground(
    template: str,
    programs: Sequence[str],
    values: SessionValues,
    past: Sequence[tuple[str, int]],
    total: int,
    rules: Mapping[str, tuple[int, int]],
    limit: int,
) -> list[Line]:
    """Return the most probable command lines of a template, best first; the template itself when none is known.

    Parameters
    ----------
    template : str
    programs : sequence of str
        Its programs, for the rule that takes the values last given to the same program.
    values : SessionValues
        What the session has used.
    past : sequence of (str, int)
        Lines of this template that were learned, with counts; those of other projects left out where they name files.
    total : int
        How often the template was learned in all, within the same limits.
    rules : mapping
        Fill rule -> (times offered, times right).
    limit : int
        At most this many lines.
    """
    kinds = placeholders(template)
    origins: dict[str, str] = {}
    wrong: dict[str, float] = {}

    def propose(line: str, probability: float, origin: str) -> None:
        if SECRET in line:
            return
        origins.setdefault(line, origin)
        # Rules that agree support each other: a line is wrong only if all its rules are.
        wrong[line] = wrong.get(line, 1.0) * (1.0 - probability)

    for rule, line in values.proposals(template, programs):
        offered, right = rules.get(rule, (0, 0))
        propose(line, (right + _PRIOR_RIGHT) / (offered + _PRIOR_OFFERED), rule)
    session = 1.0
    for product in wrong.values():
        session *= product
    # Without a slot the lines differ in spacing or quotes only; with one, a line seen once says little.
    discount = _LINE_DISCOUNT if kinds else 0.05
    # Free text that never came twice, such as commit messages, will not come again: better an open slot.
    never_twice = len(past) >= _FEW and all(count == 1 for _, count in past) and not _FREE_TEXT.isdisjoint(kinds)
    for line, count in () if never_twice else past:
        propose(line, session * (count - discount) / total, "past")
    mass = sum(1.0 - product for product in wrong.values())
    scale = min(1.0, 1.0 / mass) if mass else 0.0
    lines = [
        Line(line, (1.0 - product) * scale, origins[line], runnable=not placeholders(line))
        for line, product in wrong.items()
    ]
    if never_twice or not lines:
        open_mass = 1.0 - sum(line.probability for line in lines)
        lines.append(Line(template, open_mass, "template", runnable=not kinds and SECRET not in template))
    return sorted(lines, key=lambda line: (-line.probability, line.command))[:limit]


def _push(values: list[str], value: str) -> None:
    """Append `value` as the newest, once, and keep the list short."""
    if value in values:
        values.remove(value)
    values.append(value)
    if len(values) > _REMEMBERED:
        del values[0]
