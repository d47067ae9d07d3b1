"""The course of a session as small integers: what its outcome is learned from.

A session that goes on, a list of commands and a finished session are packed by the same code, so that the beginning
of one is like the beginning of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from procedural_memory.commands.normalize import analyze
from procedural_memory.commands.tables import BUILD_TOOLS, TEST_RUNNERS
from procedural_memory.storage.base import text_id
from procedural_memory.storage.identity import COURSE_STEP
from procedural_memory.types import Command

__all__ = ["LONGEST", "CourseStep", "course_of", "pack_step", "runs_tests", "unpack_course"]

LONGEST = 512
"""How many of the newest steps of a session are looked at."""

_FAILED, _PASSED, _WROTE, _TESTED = 1, 2, 4, 8
_WORDS: Final = re.compile(r"[^a-z0-9]+")
_TARGETS: Final = frozenset({"test", "tests", "spec", "specs", "check", "verify"})


class CourseStep(NamedTuple):
    """What is known of one step: ids of its program and template, how it ended, whether it wrote a file or ran tests.

    `failed` and `passed` are both False where the exit code is unknown.
    """

    program: int
    template: int
    failed: bool
    passed: bool
    wrote: bool
    tested: bool


def course_of(commands: Sequence[Command]) -> bytes:
    """Return the course of a session that consists of `commands` so far."""
    return b"".join(map(pack_step, commands[-LONGEST:]))


def pack_step(command: Command) -> bytes:
    """Return one step of a course."""
    analysis = analyze(command.command)
    flags = _PASSED if command.exit_code == 0 else _FAILED if command.exit_code else 0
    flags |= _WROTE * bool(analysis.created) | _TESTED * runs_tests(analysis.programs, analysis.template)
    program = analysis.programs[0] if analysis.programs else analysis.template.partition(" ")[0]
    return COURSE_STEP.pack(text_id(program), text_id(analysis.template), flags)


def unpack_course(steps: bytes) -> Iterator[CourseStep]:
    """Yield the steps of a course."""
    for program, template, flags in COURSE_STEP.iter_unpack(steps[-LONGEST * COURSE_STEP.size :]):
        yield CourseStep(
            program, template, bool(flags & _FAILED), bool(flags & _PASSED), bool(flags & _WROTE), bool(flags & _TESTED)
        )


@lru_cache(maxsize=8_192)
def runs_tests(programs: tuple[str, ...], template: str) -> bool:
    """Return whether a line runs tests.

    Parameters
    ----------
    programs : tuple of str
        As in `Normalized`: ``npm test``, ``manage.py test``, ``runtests.py`` run tests, the shell's own ``test`` not.
    template : str
        For a build tool it tells which target is made.
    """
    for program in programs:
        first, _, rest = program.rpartition("/")[2].partition(" ")
        if first in TEST_RUNNERS or (first in BUILD_TOOLS and not _TARGETS.isdisjoint(_words(template))):
            return True
        words = _words(first) | _words(rest)
        if first != "test" and (words & {"test", "tests", "spec"} or any(word.startswith("runtest") for word in words)):
            return True
    return False


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORDS.split(text.lower()))
