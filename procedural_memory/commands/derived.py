"""Values derived from other values: the module of a file, the test of a file, the lines after those shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["LineRange", "conventional_test", "counterpart", "lines_after", "lines_at", "module_names"]

_RANGE: Final = re.compile(r"(['\"]?)(\d{1,7}),(\d{1,7})(p?['\"]?)")
_LENGTHS: Final = (10, 20, 30, 40, 50)
_BEFORE: Final = (5, 10)
_AROUND: Final = 20
_MARKS: Final = (("test_", ""), ("", "_test"), ("", ".test"), ("", ".spec"))


class LineRange(NamedTuple):
    """Lines of a file as `sed -n '1,20p'` names them, with what is written before and after the numbers."""

    first: int
    last: int
    before: str = "'"
    after: str = "p'"

    @classmethod
    def of(cls, text: str) -> LineRange | None:
        """Return the range that a word names, None if it names none."""
        match = _RANGE.fullmatch(text)
        return match and cls(int(match[2]), int(match[3]), match[1], match[4])

    def moved(self, first: int, last: int) -> str:
        """Return another range, written in the same way."""
        return f"{self.before}{first},{last}{self.after}"


def lines_after(shown: LineRange) -> Iterator[tuple[str, int, int]]:
    """Yield (rule, first, last) of ranges that continue one, to a round number."""
    length = shown.last - shown.first
    for rule, first in (("next lines", shown.last + 1), ("lines from there", shown.last)):
        for suffix, more in (("", length), (" 20", 20)):
            last = (shown.last + more + 1) // 10 * 10
            if last > first:
                yield rule + suffix, first, last


def lines_at(name: str, number: int) -> Iterator[tuple[str, int, int]]:
    """Yield (rule, first, last) of ranges that begin at a line, or a little before it."""
    for length in _LENGTHS:
        yield f"{name} to {length}", number, -(-(number + length) // 10) * 10
    for before in _BEFORE:
        first = max(1, (number - before) // 10 * 10)
        yield f"{name} from {before}", first, first + _AROUND


def module_names(path: str) -> Iterator[tuple[str, str]]:
    """Yield (rule, name) of a file as a module: ``tests/a/test_b.py`` is ``a.test_b`` to a runner of tests."""
    parts = path.removesuffix(".py").strip("/").split("/")
    for rule, some in (
        ("module", parts),
        ("inner module", parts[1:]),
        ("package", parts[1:-1]),
        ("inner folder", parts[1:2]),
    ):
        if some:
            yield rule, ".".join(some)


def counterpart(base: str, names: Sequence[str]) -> str | None:
    """Return the last of `names` that is of the test of a file called `base`, or of the file that a test is of."""
    stem, _, ending = base.rpartition(".")
    if not stem:
        return None
    wanted = {f"{before}{stem}{after}.{ending}" for before, after in _MARKS}
    wanted |= {
        f"{stem[len(before) : len(stem) - len(after)]}.{ending}"
        for before, after in _MARKS
        if stem.startswith(before) and stem.endswith(after) and len(stem) > len(before) + len(after)
    }
    return next((name for name in reversed(names) if name.rpartition("/")[2] in wanted), None)


def conventional_test(path: str) -> str | None:
    """Return where a Python file's test stands by convention, in the folder `tests` beside it."""
    folder, _, base = path.rpartition("/")
    if not folder or not base.endswith(".py") or base.startswith("test_"):
        return None
    return f"{folder}/tests/test_{base}"
