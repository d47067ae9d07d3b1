r"""Recordings of asciinema, versions 1 to 3: the commands in them that can be told for certain.

A recording holds what a terminal showed, not what was run. Two things tell commands:

- marks of shell integration in the output (OSC 133 and 633, written by fish, VS Code, kitty, …): the line itself and
  its exit code;
- keys, where they were recorded (``asciinema rec --stdin``): a line that was typed right behind a prompt (``$``, ``#``,
  ``%``, ``>``, ``❯``) and that the terminal showed, so that no password and no answer to a program is taken for a
  command. A line that was edited with arrows, completed with Tab or taken from the history is not known, and skipped.

A recording without either, as all of version 1 are, tells no command: that is counted, and nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from procedural_memory.sources.entry import Entry, Oversize, Skip, instant, real

__all__ = ["entries", "find"]

_MARK = re.compile(r"\x1b\]([16]33);([A-Z])((?:;[^\x07\x1b]*)?)(?:\x07|\x1b\\)")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[@-Z\\-_=>])")
_PROMPT = re.compile(r"(?:[$#%❯➜»]|(?<![>.])>) ?\Z")
_PASTE = re.compile(r"\x1b\[20[01]~")
_HEXED = re.compile(r"\\x([0-9a-fA-F]{2})|\\\\")
_SHOWN = 4_096


def find(home: Path) -> list[Path]:
    """Return the recordings that asciinema keeps by itself."""
    return sorted((home / ".local" / "share" / "asciinema").glob("**/*.cast"))


def entries(lines: Iterable[bytes], skip: Skip) -> Iterator[Entry]:
    """Yield the commands of a recording."""
    header: Mapping[str, Any] | None = None
    screen: _Screen | None = None
    clock = 0.0
    for number, line in enumerate(lines, 1):
        if isinstance(line, Oversize) or not line.strip() or line.startswith(b"#"):
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            if header is None:
                skip(number, "no recording of asciinema, or one of version 1, which tells no commands")
                return
            skip(number, "not valid JSON")
            continue
        if header is None:
            if not isinstance(record, Mapping) or record.get("version") not in (2, 3):
                skip(number, "no recording of asciinema, or one of version 1, which tells no commands")
                return
            header, screen = record, _Screen(instant(record.get("timestamp")), skip)
            continue
        when = real(record[0]) if isinstance(record, list) and len(record) >= 3 else None
        if when is None or not isinstance(record[2], str):
            skip(number, "no event of a recording")
            continue
        clock = clock + when if header["version"] == 3 else when
        assert screen is not None
        if record[1] == "o":
            yield from screen.shows(record[2], clock, number)
        elif record[1] == "i":
            screen.typed(record[2], clock, number)
    if screen is not None:
        yield from screen.rest()
        if not screen.telling:
            has = "marks without command lines, and no keys," if screen.marked else "neither keys nor marks of a shell"
            skip(1, f"a recording that tells no commands: {has} are in it; record with `asciinema rec --stdin`")


class _Screen:
    """What the terminal shows, as far as it is needed to tell commands."""

    def __init__(self, start: float | None, skip: Skip) -> None:
        self._start = start
        self._skip = skip
        self.telling = self.marked = False
        self._line = ""  # what the terminal's last line shows
        self._shown = ""  # since the first key of the line that is being typed
        self._keys: list[str] | None = None  # None: edited in a way that is not known
        self._begun: tuple[float, int, bool] | None = None
        self._waiting: Entry | None = None
        self._marked: Entry | None = None
        self._announced: str | None = None
        self._marks = False

    def shows(self, output: str, clock: float, number: int) -> Iterator[Entry]:
        """Take in what the terminal shows; yield the commands that are known by it."""
        for mark in _MARK.finditer(output):
            self.marked = True
            yield from self._take(mark[2], mark[3][1:], clock, number)
        plain = _ESCAPE.sub("", _MARK.sub("", output))
        self._shown = (self._shown + plain)[-_SHOWN:]
        self._line = _last_line(self._line + plain)
        waiting = self._waiting
        if waiting is not None and not self._marks and _is_shown(waiting.command, self._shown):
            self._waiting = None
            yield waiting

    def typed(self, keys: str, clock: float, number: int) -> None:
        """Take in keys."""
        self.telling = True
        for key in re.split(r"(\r\n|[\r\n\x00-\x1f\x7f])", _PASTE.sub("", keys)):
            if not key:
                continue
            if self._begun is None:
                self._begun, self._keys = (clock, number, bool(_PROMPT.search(self._line))), []
                self._give_up()
                self._shown = ""
            if key in ("\r", "\n", "\r\n"):
                self._enter()
            elif key in ("\x03", "\x04"):
                self._begun = None
            elif self._keys is not None:
                if key in ("\x7f", "\x08"):
                    self._keys = list("".join(self._keys)[:-1])
                elif key == "\x15":
                    self._keys = []
                elif key < " ":
                    self._keys = None
                else:
                    self._keys.append(key)

    def rest(self) -> Iterator[Entry]:
        """Yield what is left at the end."""
        self._give_up()
        if self._marked is not None:
            yield self._marked

    def _give_up(self) -> None:
        """Let go of a line that the terminal did not show before the next one."""
        if self._waiting is not None and not self._marks:
            self._skip(self._waiting.line, "keys that the terminal did not show: perhaps a password")
        self._waiting = None

    def _enter(self) -> None:
        assert self._begun is not None
        (clock, number, prompted), self._begun = self._begun, None
        line = None if self._keys is None else "".join(self._keys)
        if self._marks or line == "":
            return
        if line is None:
            self._skip(number, "a line that was edited or completed in a way that is not recorded")
        elif not prompted:
            self._skip(number, "keys that were not typed at a prompt")
        elif line.strip():
            self._waiting = self._entry(line, clock, number)

    def _take(self, kind: str, rest: str, clock: float, number: int) -> Iterator[Entry]:
        fields = rest.split(";")
        if kind == "E":  # the line, with its bytes escaped
            self._announced = _unescaped(fields[0])
        elif kind == "C":
            given = dict(field.split("=", 1) for field in fields if "=" in field)
            line = unquote(given["cmdline_url"]) if "cmdline_url" in given else self._announced
            self._announced = None
            if line and line.strip():
                self.telling = self._marks = True
                if self._marked is not None:
                    yield self._marked
                self._marked = self._entry(line, clock, number)
        elif kind == "D" and self._marked is not None:
            done, self._marked = self._marked, None
            begun = done.timestamp
            code = fields[0] if fields and re.fullmatch(r"-?\d{1,10}", fields[0]) else None
            spent = None if begun is None or self._start is None else max(0.0, self._start + clock - begun) * 1000
            yield done._replace(exit_code=None if code is None else int(code), duration_ms=spent)

    def _entry(self, line: str, clock: float, number: int) -> Entry:
        when = None if self._start is None else self._start + clock
        return Entry(
            line.replace("\0", ""), when, session=None if self._start is None else f"{self._start:.0f}", line=number
        )


def _last_line(text: str) -> str:
    return re.split(r"[\r\n]", text)[-1][-_SHOWN:]


def _is_shown(command: str, shown: str) -> bool:
    """Return whether a terminal showed what was typed, key by key, wrapped or redrawn."""
    squeezed = re.sub(r"\s+", "", _corrected(shown))
    return re.sub(r"\s+", "", command) in squeezed


def _corrected(shown: str) -> str:
    """Return what is left of a text after its backspaces, each of which goes back to be written over."""
    kept: list[str] = []
    place = 0
    for letter in shown:
        if letter == "\b":
            place = max(0, place - 1)
            continue
        kept[place : place + 1] = [letter]
        place += 1
    return "".join(kept)


def _unescaped(line: str) -> str:
    return _HEXED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "\\", line)
