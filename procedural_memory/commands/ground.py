"""What a session has used so far, and the rules that fill the places of a template from it.

A *fill rule* proposes the value of one place, given the values of those filled before it: the file just written, the
file of the last command, the lines after those shown last, a path that a command printed. How often each rule was
right is counted, for each role of a place; `prediction.lines` weighs them by it.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, TypeAlias, TypeVar

from procedural_memory.commands.derived import (
    LineRange,
    conventional_test,
    counterpart,
    lines_after,
    lines_at,
    module_names,
)
from procedural_memory.commands.normalize import Normalized
from procedural_memory.commands.places import FILE_KINDS, UNKNOWABLE, Place, filling_order, places
from procedural_memory.commands.printed import Printed, read_output
from procedural_memory.commands.shapes import is_safe
from procedural_memory.types import Command

__all__ = ["ANY", "Guess", "Judged", "SessionValues", "levels"]

_T = TypeVar("_T")
_STEPS: Final = 64
_VALUES: Final = 64
_KEYS: Final = 256
_JUDGED: Final = 4_096
_LISTED: Final = 24
_HEARD: Final = count(1)

FROM_OUTPUT: Final = ("printed", "older")
"""How the names of the rules begin that take values from outputs: they are judged in the live session."""

_ROLE_RULES, _KIND_RULES, _FORM_RULES = (
    tuple(f"{name} {nth}" for nth in (1, 2, 3)) for name in ("role", "kind", "form")
)

ANY: Final = "any"
"""Counted like a rule: whether any rule proposed the right value."""


def levels(place: Place, last: str) -> tuple[tuple[str, ...], ...]:
    """Return what rules are counted by, for a place after a template: its kind, its role, its role after that."""
    return (place.kind,), (place.role,), (place.role, last)


Guess: TypeAlias = tuple[str, str]
"""What a fill rule proposes for a place: the rule and the value."""

Judged: TypeAlias = dict[tuple[str, ...], dict[str, tuple[int, int]]]
"""Level -> fill rule -> (times offered, times right)."""


class _Step(NamedTuple):
    template: str
    values: tuple[str, ...]
    places: tuple[Place, ...]


@dataclass(slots=True)
class SessionValues:
    """What a session has used so far, newest last. Bounded, whatever the length of the session.

    Attributes
    ----------
    steps : list
        The newest steps: template, values and places.
    by_form, by_role, by_kind : dict
        Values by template (all of a line together), by role, and by kind of placeholder.
    written : list of str
        Files that were written or opened in an editor.
    made : list of str
        Those of them that were new, oldest first, without those removed since.
    printed : Printed
        What the output of the last command offers.
    listed : list of str
        Paths in outputs.
    numbers : dict
        File -> line numbers that outputs named.
    judged : dict
        Counts of the rules that need outputs. Sessions of one engine share it; it is never stored.
    heard : int
        Tells the outputs taken in from all others; 0 while there are none.
    cwd : str or None
        Folder in which the next command will run, as far as it is known.
    """

    steps: list[_Step] = field(default_factory=list)
    by_form: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    by_role: dict[str, list[str]] = field(default_factory=dict)
    by_kind: dict[str, list[str]] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    printed: Printed = field(default_factory=Printed)
    listed: list[str] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    heard: int = 0
    cwd: str | None = None
    judged: Judged = field(default_factory=dict)
    _files_known: Sequence[Guess] | None = field(default=None, repr=False, compare=False)

    @property
    def last(self) -> str:
        """The template of the last step, "" before the first."""
        return self.steps[-1].template if self.steps else ""

    def observe(self, analysis: Normalized, command: Command) -> None:
        """Take in a step."""
        if self.printed.paths or self.printed.lines:
            self._judge_printed(analysis)
        texts = ("" if slot.kind in UNKNOWABLE else slot.value for slot in analysis.slots)
        step = _Step(analysis.template, tuple(texts), places(analysis.template))
        self.steps.append(step)
        del self.steps[:-_STEPS]
        _push(_list(self.by_form, step.template), step.values)
        known = _list(self.by_kind, "FILE")
        self.made += [name for name in analysis.created if name not in known and name not in self.made]
        for place, value in zip(step.places, step.values, strict=True):
            _push(_list(self.by_role, place.role), value)
            for name in _names(value) if place.kind in FILE_KINDS else (value,):
                _push(_list(self.by_kind, place.kind), name)
        for name in (*analysis.mentioned, *analysis.created):
            if "::" not in name:
                _push(known, name)
        for name in analysis.created:
            _push(self.written, name)
        self._follow(step, command)
        if "rm" in analysis.programs:
            gone = {
                n for p, v in zip(step.places, step.values, strict=True) if p.role.startswith("rm ") for n in _names(v)
            }
            self.written = [name for name in self.written if name not in gone]
            self.made = [name for name in self.made if name not in gone]
        del self.made[:-_VALUES]
        self.printed = Printed(root=self.printed.root)
        self._files_known = None

    def observe_output(self, text: str) -> None:
        """Take in what the last command printed, redacted: the paths, tests and line numbers in it."""
        if not self.steps:
            return
        self.heard = next(_HEARD)
        self._files_known = None
        step = self.steps[-1]
        files = [value for place, value in zip(step.places, step.values, strict=True) if place.kind == "FILE"]
        listed = files[-1] if files and step.places[-1].role.startswith("ls ") else ""
        self.printed = read_output(text, listed, self.by_kind.get("FILE", ()), self.printed.root)
        for path in reversed(self.printed.paths):
            _push(self.listed, path)
        for path, number in reversed(self.printed.lines):
            _push(_list(self.numbers, path or (files[-1] if files else "")), number)

    def fills(self, template: str, number: int, known: Mapping[int, str]) -> Iterator[Guess]:
        """Yield what the rules propose for a place; a rule proposes once.

        Parameters
        ----------
        template : str
        number : int
            Of the place.
        known : mapping
            Values of places that are filled already, by number.
        """
        yield from self.free_fills(places(template)[number])
        yield from self.bound_fills(template, number, known)

    def free_fills(self, place: Place) -> Iterator[Guess]:
        """Yield what the rules propose that look at no other place of the line."""
        kind, role = place
        yield from zip(_ROLE_RULES, reversed(self.by_role.get(role, ())), strict=False)
        yield from zip(_KIND_RULES, reversed(self.by_kind.get(kind, ())), strict=False)
        if kind == "FILE":
            yield from self._files(role)
        elif kind == "TEST":
            for nth, name in enumerate(self.printed.tests[:2], 1):
                yield f"printed {nth}", _word(name)
            named = self.by_kind.get("FILE", ())
            for nth, name in enumerate(named[:-3:-1], 1):
                yield f"file {nth}", _word(name)
            tests = [name for name in reversed(named) if "test" in name]
            for nth, name in enumerate(tests[:2], 1):
                for rule, module in module_names(name):
                    yield f"{rule} {nth}", module

    def bound_fills(self, template: str, number: int, known: Mapping[int, str]) -> Iterator[Guess]:
        """Yield what the rules propose that look at the values of the places filled before."""
        there = places(template)
        kind, role = there[number]
        yield from self._same_form(template, number, known)
        if known:
            if same := [value for other, value in known.items() if there[other].kind == kind]:
                yield "same line", same[0]
            if companion := self._companion(kind, next(iter(known.values()))):
                yield "companion", companion
        if kind == "RANGE":
            file = next((value for other, value in known.items() if there[other].kind == "FILE"), "")
            yield from self._ranges(role, file)

    def judge(self, analysis: Normalized) -> Iterator[tuple[Place, dict[str, bool]]]:
        """Yield, for each place of the step that comes next, the rules that propose a value: whether it is right."""
        there = places(analysis.template)
        known: dict[int, str] = {}
        for number in filling_order(analysis.template):
            value = analysis.slots[number].value
            if there[number].kind not in UNKNOWABLE:
                right = {rule: guess == value for rule, guess in self.fills(analysis.template, number, known)}
                yield there[number], {ANY: any(right.values()), **right}
                known[number] = value

    def _judge_printed(self, analysis: Normalized) -> None:
        """Count how often the rules that need outputs are right: here, where the outputs are; the log has none."""
        for place, right in self.judge(analysis):
            for level in levels(place, self.last):
                counts = self.judged.setdefault(level, {})
                for rule, was_right in right.items():
                    if rule.startswith(FROM_OUTPUT):
                        offered, hits = counts.get(rule, (0, 0))
                        counts[rule] = offered + 1, hits + was_right
        for level in list(self.judged)[:-_JUDGED]:
            del self.judged[level]

    def _follow(self, step: _Step, command: Command) -> None:
        """Keep the folder in which the next command will run."""
        self.cwd = command.cwd
        if command.cwd is not None and step.places and step.places[-1].role == "cd  FILE 1":
            self.cwd = posixpath.normpath(posixpath.join(command.cwd, step.values[-1]))

    def _same_form(self, template: str, place: int, known: Mapping[int, str]) -> Iterator[Guess]:
        """Propose what stood there in lines of this template that have the same values so far."""
        nth, last = 0, None
        for values in reversed(self.by_form.get(template, ())):
            if values[place] != last and all(values[other] == value for other, value in known.items()):
                last = values[place]
                yield _FORM_RULES[nth], last
                nth += 1
                if nth == len(_FORM_RULES):
                    return

    def _companion(self, kind: str, value: str) -> str | None:
        """Return the value of a kind in the newest line that has `value` as well."""
        for step in reversed(self.steps):
            if value in step.values:
                for place, other in zip(step.places, step.values, strict=True):
                    if place.kind == kind and other != value:
                        return other
        return None

    def _files(self, role: str) -> Iterator[Guess]:
        """Propose files written, made, printed, and those that belong to the newest one."""
        yield from self._known_files()
        made = self.made
        used = next((name for name in reversed(self.by_role.get(role, ())) if name in made), None)
        if used is not None and (after := made[made.index(used) + 1 :]):
            yield "made next", _word(after[0])

    def _known_files(self) -> Sequence[Guess]:
        """Return the files that are proposed for every place, whatever its role."""
        if self._files_known is None:
            self._files_known = tuple(self._name_files())
        return self._files_known

    def _name_files(self) -> Iterator[Guess]:
        made, named, printed = self.made, self.by_kind.get("FILE", []), self.printed.paths
        here = [name for name in made if "/" not in name]
        newest = named[-1] if named else ""
        folder, _, base = newest.rpartition("/")
        for name, files in (
            ("written 1", self.written[-1:]),
            ("written 2", self.written[-2:-1]),
            ("made 1", made[-1:]),
            ("made 2", made[-2:-1]),
            ("made first", made[:1]),
            ("all made", made[-_LISTED:]),
            ("all made here", here[-_LISTED:]),
            ("printed 1", printed[:1]),
            ("printed 2", printed[1:2]),
            ("printed 3", printed[2:3]),
            ("printed last", printed[-1:]),
            ("printed alone", printed if len(printed) == 1 else ()),
            ("printed and used", [file for file in printed if file in named][-1:]),
            ("printed and new", [file for file in printed if file not in named][:1]),
            ("its folder", [folder] if folder else ()),
            ("its name", [base] if base else ()),
        ):
            if files:
                yield name, " ".join(map(_word, files))
        if test := counterpart(base, [*named, *self.listed]):
            yield "its test", _word(test)
        if test := conventional_test(newest):
            yield "its test by convention", _word(test)

    def _ranges(self, role: str, file: str) -> Iterator[Guess]:
        """Propose ranges of lines: after those shown last of the file, and at lines that an output named."""
        before = (LineRange.of(value) for value in reversed(self.by_role.get(role) or self.by_kind.get("RANGE") or []))
        style = next(filter(None, before), LineRange(0, 0))
        if file and (shown := self._shown(file)):
            for rule, first, last in lines_after(shown):
                yield rule, style.moved(first, last)
        printed = [n for path, n in self.printed.lines if path in ("", file)] or [n for _, n in self.printed.lines]
        older = self.numbers.get(file, [])[-1:]
        for name, number in [("printed line", n) for n in printed[:1]] or [("older line", n) for n in older]:
            for rule, first, last in lines_at(name, number):
                yield rule, style.moved(first, last)

    def _shown(self, file: str) -> LineRange | None:
        """Return the range of lines in the newest line with that file."""
        for step in reversed(self.steps):
            if file in step.values:
                for place, value in zip(reversed(step.places), reversed(step.values), strict=True):
                    if place.kind == "RANGE" and (shown := LineRange.of(value)):
                        return shown
        return None


def _names(value: str) -> list[str]:
    """Return the names in a value: a run of arguments has several."""
    return value.split() if is_safe(value.replace(" ", "")) else [value]


def _word(name: str) -> str:
    """Return a name as it is written on a command line."""
    return name if is_safe(name) else shlex.quote(name)


def _list(lists: dict[str, list[_T]], key: str) -> list[_T]:
    """Return the list of a key; of many keys those used last stay."""
    found = lists.pop(key, None)
    lists[key] = found = [] if found is None else found
    if len(lists) > _KEYS:
        del lists[next(iter(lists))]
    return found


def _push(values: list[_T], value: _T) -> None:
    """Append `value` as the newest, once, and keep the list short."""
    if value in values:
        values.remove(value)
    values.append(value)
    if len(values) > _VALUES:
        del values[0]
