"""Which lines of a history without times are steps that the hook of that shell recorded: these have the hook's times.

A line is taken for a recorded step only where it stands among others as it was recorded: at least four steps that
follow each other in both, or all that is left of a shell, in a part of the file that was written while the hook was at
work. Each recorded step is taken once, the newest lines come first, and a step that was taken before is not given. So
where a run of lines that was typed long ago is taken for an equal one that its shell has yet to write, that one is not
taken for anything when it comes: as many steps are counted as were typed. Repetitions of a line that follow each other
are one, for a shell may keep them out of its history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Recorded", "align", "looked_at"]

_LEAST: Final = 4
"""How many steps must follow each other in the history as they were recorded."""


class Recorded(NamedTuple):
    """A step that a hook recorded: the shell in which it ran, its line, and when it began."""

    shell: str
    line: str
    time: float


class _Lines:
    """Lines of which those that follow each other and are equal are one; taken ones stand between the others."""

    def __init__(self, numbered: Sequence[tuple[int, str]], taken: set[int]) -> None:
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
    taken_lines: set[int] = set()
    taken: set[int] = set()

    def take(one: Sequence[int], other: Sequence[int]) -> None:
        for line, step in zip(reversed(one), reversed(other), strict=False):
            found[line] = recorded[step].time
            taken_lines.add(line)
            taken.add(step)

    by_time = sorted(range(len(recorded)), key=lambda step: recorded[step].time)
    shells: dict[str, list[int]] = {}
    for step in by_time:
        shells.setdefault(recorded[step].shell, []).append(step)
    newest_first = sorted(shells.values(), key=lambda steps: recorded[steps[-1]].time, reverse=True)
    there = set(lines)
    # As shells write that share a history line by line, and as they write it whole when they end.
    for order in (by_time, *newest_first):
        # What is nowhere in the history was kept out of it.
        steps = _Lines([(step, recorded[step].line) for step in order if recorded[step].line in there], taken)
        history = _Lines(list(enumerate(lines)), taken_lines)
        for one, other in _runs(history, steps):
            take(history.members[one], steps.members[other])
    if not goes_on and not found:
        return found
    begin = 0 if goes_on else min(found)
    for order in newest_first:
        if left := [step for step in order if step not in taken]:
            rest = _Lines([(step, recorded[step].line) for step in left], set())
            history = _Lines([(number, lines[number]) for number in range(begin, len(lines))], taken_lines)
            size = len(rest.texts)
            for place in range(len(history.texts) - size, -1, -1):
                if history.texts[place : place + size] == rest.texts:
                    for offset in range(size):
                        take(history.members[place + offset], rest.members[offset])
                    break
    return found


def _runs(history: _Lines, steps: _Lines) -> Iterator[tuple[int, int]]:
    """Yield the places of both that belong together: runs of equal ones, the newest first, each place once."""
    places: dict[tuple[str | None, ...], list[int]] = {}
    for end in range(_LEAST - 1, len(history.texts)):
        run = tuple(history.texts[end - _LEAST + 1 : end + 1])
        if None not in run:
            places.setdefault(run, []).append(end)
    taken: set[int] = set()
    step = len(steps.texts) - 1
    while step >= _LEAST - 1:
        ends = places.get(tuple(steps.texts[step - _LEAST + 1 : step + 1]), [])
        while ends and not taken.isdisjoint(range(ends[-1] - _LEAST + 1, ends[-1] + 1)):
            ends.pop()
        if not ends:
            step -= 1
            continue
        place = ends.pop()
        while (
            step >= 0
            and place >= 0
            and place not in taken
            and steps.texts[step] is not None
            and steps.texts[step] == history.texts[place]
        ):
            taken.add(place)
            yield place, step
            step, place = step - 1, place - 1
