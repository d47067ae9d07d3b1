"""Which lines of a history without times are steps that the hook of that shell recorded: these have the hook's times.

A line is taken for a recorded step only where it stands among others as it was recorded: at least four steps that
follow each other in both; all that a shell ran between two such runs, right before or right behind them, where it
stands in its order; or all that is left of a shell before, behind or without them, in a part of the file that was
written while the hook was at work. Each recorded step is taken once, the newest lines come first, and a step that was
taken before is not given. So where a run of lines that was typed long ago is taken for an equal one that its shell has
yet to write, that one is not taken for anything when it comes: as many steps are counted as were typed. Repetitions of
a line that follow each other are one, for a shell may keep them out of its history.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

__all__ = ["Recorded", "align", "looked_at"]

_LEAST: Final = 4
"""How many steps must follow each other in the history as they were recorded."""
_BETWEEN: Final = 64
"""How many lines may stand between two runs of a shell for its other steps to be looked for there."""
_BESIDE: Final = 4
"""How many lines that are no steps may stand among those before or behind all runs of a shell."""


class Recorded(NamedTuple):
    """A step that a hook recorded: the shell in which it ran, its line, and when it began."""

    shell: str
    line: str
    time: float


class _Lines:
    """Lines of which those that follow each other and are equal are one; taken ones stand between the others."""

    def __init__(self, numbered: Sequence[tuple[int, str]], taken: Container[int]) -> None:
        self.texts: list[str | None] = []
        self.members: list[list[int]] = []
        for number, text in numbered:
            kept = None if number in taken else text
            if self.texts and self.texts[-1] == kept:
                self.members[-1].append(number)
            else:
                self.texts.append(kept)
                self.members.append([number])


def looked_at(recorded: int) -> int:
    """Return how many of the newest lines of a history may be among so many recorded steps."""
    return 2 * recorded + 40


def align(lines: Sequence[str], recorded: Sequence[Recorded], goes_on: bool) -> dict[int, float]:
    """Return when lines began, by their index, of those that are recorded steps.

    Parameters
    ----------
    lines : sequence of str
        The newest ones of a history, in its order.
    recorded : sequence of Recorded
        None of which was found in a history before.
    goes_on : bool
        Whether all of the lines were written after others had been learned; else only those from the first run on that
        is found are known to be of the time of the hook.
    """
    found: dict[int, float] = {}
    placed: dict[int, int] = {}

    def take(one: Sequence[int], other: Sequence[int]) -> None:
        for line, step in zip(reversed(one), reversed(other), strict=False):
            found[line] = recorded[step].time
            placed[step] = line

    def told(step: int) -> str:
        return recorded[step].line

    by_time = sorted(range(len(recorded)), key=lambda step: recorded[step].time)
    shells: dict[str, list[int]] = {}
    for step in by_time:
        shells.setdefault(recorded[step].shell, []).append(step)
    newest_first = sorted(shells.values(), key=lambda steps: recorded[steps[-1]].time, reverse=True)
    there = set(lines)
    runs = _Runs(_Lines(list(enumerate(lines)), ()))
    # As shells write that share a history line by line, and as they write it whole when they end.
    for order in (by_time, *newest_first):
        # What is nowhere in the history was kept out of it.
        steps = _Lines([(step, recorded[step].line) for step in order if recorded[step].line in there], placed)
        for one, other in runs.of(steps):
            take(runs.history.members[one], steps.members[other])
    if not goes_on and not found:
        return found
    begin = 0 if goes_on else min(found)
    where: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        where.setdefault(line, []).append(number)
    for order in newest_first:
        for left, after, before in _left(order, placed):
            # Lines that are no steps stand between some: the others are there, all of them in their order.
            some = [step for step in left if told(step) in there]
            once = [step for step, other in zip_longest(some, some[1:]) if other is None or told(step) != told(other)]
            near = [number for number in _near(len(some), after, before, len(lines)) if number not in found]
            for wanted in (some, once):  # a shell may keep repetitions out of its history
                places = _in_order([told(step) for step in wanted], [lines[number] for number in near])
                if places is not None:
                    take([near[place] for place in places], wanted)
                    break
    for order in newest_first:
        for left, after, before in _left(order, placed):
            if after is not None and before is not None:
                continue  # they were kept out of the history
            rest = _Lines([(step, recorded[step].line) for step in left], set())
            first, end = begin if after is None else after + 1, len(lines) if before is None else before
            for number in reversed(where.get(told(left[-1]), ())):
                if number < end and (members := _ending_at(number, rest.texts, lines, range(first, end), found)):
                    for group, steps_of_it in zip(members, rest.members, strict=True):
                        take(group, steps_of_it)
                    break
    return found


def _left(order: Sequence[int], placed: Mapping[int, int]) -> Iterator[tuple[list[int], int | None, int | None]]:
    """Yield the steps of a shell that were not found, those between two found ones together, with the lines of these.

    None stands for the beginning and for the end of the shell.
    """
    left: list[int] = []
    after = None
    for step in [*order, None]:
        if step is not None and step not in placed:
            left.append(step)
            continue
        before = None if step is None else placed[step]
        if left:
            yield left, after, before
        left, after = [], before


def _in_order(steps: Sequence[str], lines: Sequence[str]) -> list[int] | None:
    """Return where steps are among lines, each behind the one before; None where not all of them are."""
    places: list[int] = []
    for number, line in enumerate(lines):
        if len(places) < len(steps) and line == steps[len(places)]:
            places.append(number)
    return places if len(places) == len(steps) else None


def _near(steps: int, after: int | None, before: int | None, lines: int) -> range:
    """Return the lines between the found ones of a shell, behind its last or before its first one; none where steps or
    lines are many."""
    if steps > _BETWEEN:
        return range(0)
    if after is not None and before is not None:
        return range(after + 1, before) if before - after <= _BETWEEN else range(0)
    if after is not None:
        return range(after + 1, min(lines, after + 1 + steps + _BESIDE))
    return range(0) if before is None else range(max(0, before - steps - _BESIDE), before)


def _ending_at(
    number: int, texts: Sequence[str | None], lines: Sequence[str], within: range, found: Container[int]
) -> list[list[int]]:
    """Return which lines up to a number are these texts, repetitions together; none where they are not, or go on."""
    if number + 1 in within and number + 1 not in found and lines[number + 1] == lines[number]:
        return []
    members: list[list[int]] = []
    for text in reversed(texts):
        same: list[int] = []
        while number in within and number not in found and lines[number] == text:
            same.append(number)
            number -= 1
        if not same:
            return []
        members.append(same[::-1])
    return members[::-1]


class _Runs:
    """The runs of a history, each place of which is given once."""

    def __init__(self, history: _Lines) -> None:
        self.history = history
        self._taken: set[int] = set()
        self._places: dict[tuple[str | None, ...], list[int]] = {}
        for end in range(_LEAST - 1, len(history.texts)):
            self._places.setdefault(tuple(history.texts[end - _LEAST + 1 : end + 1]), []).append(end)

    def of(self, steps: _Lines) -> Iterator[tuple[int, int]]:
        """Yield the places of both that belong together: runs of equal ones, the newest first."""
        texts, taken = self.history.texts, self._taken
        step = len(steps.texts) - 1
        while step >= _LEAST - 1:
            ends = self._places.get(tuple(steps.texts[step - _LEAST + 1 : step + 1]), [])
            while ends and not taken.isdisjoint(range(ends[-1] - _LEAST + 1, ends[-1] + 1)):
                ends.pop()
            if not ends:
                step -= 1
                continue
            place = ends.pop()
            while step >= 0 and place >= 0 and place not in taken and steps.texts[step] == texts[place]:
                taken.add(place)
                yield place, step
                step, place = step - 1, place - 1
