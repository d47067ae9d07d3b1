"""Templates: the command with its program, sub-commands and flags kept and its arguments replaced by placeholders.

``cat a/b.txt`` becomes ``cat <FILE>``, ``git commit -m "fix"`` becomes ``git commit -m <STR>``. A template is one line.
What the placeholders stood for is kept beside it, so that `render` gives the command back.

A template is its own template. Where rewriting a template would change it again (a line that is no shell, cut in an odd
place), it is rewritten until it stands; a line that never comes to rest becomes ``<TEXT>``.

Control characters count as blanks, terminal escape sequences are dropped; every `str` has a template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from procedural_memory.commands.arguments import Facts, Item, write_command, write_words
from procedural_memory.commands.foreign import write_foreign
from procedural_memory.commands.parse import tokens
from procedural_memory.commands.plain import plain_commands, plain_document, plain_items
from procedural_memory.commands.scan import Kind, Token
from procedural_memory.commands.shapes import PLACEHOLDER, Piece, Slot, fill

__all__ = ["Normalized", "Slot", "analyze", "normalize", "render"]

MAX_COMMANDS: Final = 24
"""Simple commands that a template keeps; the rest is one ``<REST>``."""
MAX_PARTS: Final = 1_000
"""Words of one command, or parts of one list, that are read; what follows is part of ``<REST>``."""
MAX_DEPTH: Final = 12
"""Nested substitutions that a template keeps."""
MAX_LENGTH: Final = 4_000
"""Characters of the longest template; beyond it a template is ``<TEXT>``."""
_CACHED_LENGTH: Final = 4_096

_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]{0,20}[ -/]?[@-~]|\x1b[()][0-9A-Za-z]|\x1b\][^\x07\x1b]{0,200}\x07")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNCLEAN: Final = re.compile(r"[\n\t]|  ")
_QUIET: Final = re.compile(r"<<(-?)[ \t]*")


@dataclass(frozen=True, slots=True)
class Normalized:
    """A command line, taken apart.

    Attributes
    ----------
    template : str
        The command with placeholders.
    slots : tuple of Slot
        What stood in the placeholders, in their order in the template.
    programs : tuple of str
        One key per simple command, in order of appearance: ``git commit``, ``pytest`` (also for ``python -m pytest``).
    flags : tuple of str
        The flags as the template shows them.
    created : tuple of str
        Files that the command writes or opens in an editor, unquoted.
    mentioned : tuple of str
        Other files, test ids and globs, unquoted.
    """

    template: str
    slots: tuple[Slot, ...] = ()
    programs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()


class _Frame:
    """A command list in the making: the whole line, or what stands in a substitution."""

    __slots__ = ("header", "items", "opener", "parentheses", "pieces")

    def __init__(self, opener: str = "") -> None:
        self.opener = opener
        self.items: list[Item] = []  # of the simple command that is being read
        self.pieces: list[Piece] = []
        self.header = False  # words after `for`, `case` or `in` are no command
        self.parentheses = 0


_NO_SEPARATOR_AFTER: Final = frozenset(
    {
        ";",
        "&&",
        "||",
        "|",
        "|&",
        "&",
        ";;",
        ";&",
        ";;&",
        "then",
        "do",
        "else",
        "elif",
        "if",
        "while",
        "until",
        "{",
        "(",
        "in",
        "!",
    }
)
_HEADERS: Final = frozenset({"for", "case", "select", "function", "in"})


class _Builder:
    """Turns tokens into the parts of a template."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.facts = Facts()
        self.frames = [_Frame()]
        self.commands = 0

    def build(self, stream: Iterator[Token]) -> list[Piece]:
        """Read all tokens, or as many as a template keeps."""
        source = self.source
        last_end = -1
        for kind, start, end in stream:
            frame = self.frames[-1]
            if len(frame.items) >= MAX_PARTS or len(frame.pieces) >= MAX_PARTS:
                self._rest(start)
                break
            if kind is Kind.WORD:
                if (self.commands >= MAX_COMMANDS or len(self.frames) > MAX_DEPTH) and not frame.items:
                    self._rest(start)
                    break
                glued = start == last_end and bool(frame.items) and frame.items[-1].kind == "substitution"
                frame.items.append(Item("word", source[start:end], (), glued))
            elif kind is Kind.OPERATOR:
                self._flush(frame)
                frame.header = False
                self._operator(frame, source[start:end])
            elif kind is Kind.KEYWORD:
                self._keyword(frame, source[start:end])
            elif kind is Kind.REDIRECT:
                text = source[start:end]
                plain = text.lstrip("0123456789")
                if plain.startswith("<<") and plain[2:3] != "<" and len(plain.rstrip("-")) > 2:
                    frame.items.append(Item("complete", _QUIET.sub(r"<<\1", text)))
                else:
                    complete = plain[:2] in (">&", "<&") and len(plain) > 2
                    frame.items.append(Item("complete" if complete else "redirect", text))
            elif kind is Kind.HEREDOC:
                self._flush(frame)
                frame.pieces.append(Piece("<HEREDOC>", (Slot("HEREDOC", "\n" + source[start:end]),)))
            elif kind is Kind.OPEN:
                if len(self.frames) > MAX_DEPTH:
                    self._rest(start)
                    break
                self.frames.append(_Frame(source[start:end]))
            elif kind is Kind.CLOSE and len(self.frames) > 1:
                self._close(source[start:end])
            last_end = end
        return self._finish()

    def _operator(self, frame: _Frame, text: str) -> None:
        if text == "\n":
            if not frame.pieces or frame.pieces[-1].text in _NO_SEPARATOR_AFTER:
                return
            text = ";"
        if text == ";" and frame.pieces and frame.pieces[-1].text == ";":
            return
        frame.pieces.append(Piece(text, (), text[0] == ";"))

    def _keyword(self, frame: _Frame, text: str) -> None:
        if text == ")" and not frame.parentheses:
            frame.header = True  # the pattern of a case
        self._flush(frame)
        frame.header = text in _HEADERS
        if text == "(":
            frame.parentheses += 1
            frame.pieces.append(Piece(text, (), False, True))
        elif text == ")":
            frame.parentheses = max(0, frame.parentheses - 1)
            frame.pieces.append(Piece(text, (), True))
        else:
            frame.pieces.append(Piece(text))

    def _flush(self, frame: _Frame) -> None:
        if not frame.items:
            return
        if frame.header:
            frame.pieces.extend(write_words(frame.items))
        else:
            self.commands += 1
            frame.pieces.extend(write_command(frame.items, self.facts))
        frame.items = []

    def _close(self, closer: str) -> None:
        frame = self.frames.pop()
        self._flush(frame)
        if frame.pieces and frame.pieces[-1].text == ";":
            frame.pieces.pop()
        text, slots = _join(frame.pieces)
        self.frames[-1].items.append(Item("substitution", f"{frame.opener}{text}{closer}", slots))

    def _rest(self, start: int) -> None:
        frame = self.frames[-1]
        self._flush(frame)
        rest = self.source[start:]
        if frame.pieces and frame.pieces[-1].text == "<REST>":  # the command before was too long as well
            rest = f"{frame.pieces.pop().slots[0].value} {rest}"
        frame.pieces.append(Piece("<REST>", (Slot("REST", rest),)))

    def _finish(self) -> list[Piece]:
        while len(self.frames) > 1:
            frame = self.frames.pop()
            self._flush(frame)
            text, slots = _join(frame.pieces)
            self.frames[-1].items.append(Item("substitution", frame.opener + text, slots))
        frame = self.frames[0]
        self._flush(frame)
        while frame.pieces and frame.pieces[-1].text == ";":
            frame.pieces.pop()
        return frame.pieces


def _join(pieces: list[Piece]) -> tuple[str, tuple[Slot, ...]]:
    """Return the text of parts, one space between two unless one of them clings, and their slots."""
    out: list[str] = []
    slots: list[Slot] = []
    clings = True
    for text, values, left, right in pieces:
        if not text:
            continue
        if not (clings or left):
            out.append(" ")
        out.append(text)
        slots.extend(values)
        clings = right
    return "".join(out), tuple(slots)


def _clean(command: str) -> str:
    if not command.isprintable():
        command = command.replace("\r\n", "\n")
        if "\x1b" in command:
            command = _ESCAPE.sub("", command)
        command = _CONTROL.sub(" ", command)
    return command.strip(" \t\n")


def _protected(match: re.Match[str]) -> str:
    return f"x{match.group(1)}x"


def _matches(template: str, slots: tuple[Slot, ...]) -> bool:
    """Whether a template is one clean line with one placeholder per slot, as odd input (``<<<FILE>``) may prevent."""
    if _UNCLEAN.search(template):
        return False
    return PLACEHOLDER.findall(template) == [slot.kind for slot in slots]


def _written(pieces: list[Piece], facts: Facts) -> Normalized:
    template, slots = _join(pieces)
    return Normalized(
        template, slots, tuple(facts.programs), tuple(facts.flags), tuple(facts.created), tuple(facts.mentioned)
    )


@lru_cache(maxsize=8_192)
def _plain_command(command: str) -> Normalized:
    """Take one command of a plain line apart; other lines hold it as well."""
    facts = Facts()
    return _written(write_command(plain_items(command), facts), facts)


_BETWEEN: Final = {"": "", ";": "; ", "\n": "; ", "&&": " && ", "||": " || ", "|": " | "}


def _plain_line(line: str) -> Normalized | None:
    commands = plain_commands(line)
    if commands is None or len(commands) > MAX_COMMANDS // 2:
        return None
    template, parts = "", []
    for command, operator in commands:
        parts.append(_plain_command(command))
        template += parts[-1].template + _BETWEEN[operator]
    return _together(template, parts)


def _plain(source: str) -> Normalized | None:
    """Take a plain line apart, or one with a here-document and plain lines around it; None when it is neither."""
    if "<<" not in source:
        return _plain_line(source)
    document = plain_document(source)
    if document is None:
        return None
    line, text, rest = document
    first = _plain_line(line)
    if first is None:
        return None
    told = Normalized("<HEREDOC>", (Slot("HEREDOC", "\n" + text),))
    if not rest:
        return _together(f"{first.template} <HEREDOC>", [first, told])
    last = None if "<<" in rest else _plain_line(rest)
    return last and _together(f"{first.template} <HEREDOC>; {last.template}", [first, told, last])


def _together(template: str, parts: list[Normalized]) -> Normalized:
    """Return one template with what its parts hold."""
    if len(parts) == 1:
        return parts[0]
    return Normalized(
        template,
        tuple(slot for part in parts for slot in part.slots),
        tuple(program for part in parts for program in part.programs),
        tuple(flag for part in parts for flag in part.flags),
        tuple(file for part in parts for file in part.created),
        tuple(file for part in parts for file in part.mentioned),
    )


def _shell(source: str) -> Normalized:
    """Take any line apart."""
    # To a shell `<FILE>` would redirect; hidden behind letters of the same length it is a word.
    hidden = PLACEHOLDER.sub(_protected, source) if "<" in source else source
    builder = _Builder(source)
    pieces = builder.build(tokens(hidden, shell="<HEREDOC>" not in source))
    if not pieces and source:
        pieces = [Piece("#")]  # nothing but comments
    return _written(pieces, builder.facts)


def _draft(source: str) -> Normalized:
    """Return what one pass over clean text makes of it."""
    foreign = write_foreign(source)
    result = _written(foreign, Facts()) if foreign is not None else _plain(source) or _shell(source)
    if len(result.template) > MAX_LENGTH or not _matches(result.template, result.slots):
        return replace(result, template="<TEXT>", slots=(Slot("TEXT", source),))
    return result


@lru_cache(maxsize=32_768)
def _stands(template: str) -> bool:
    """Whether a template is its own template."""
    return template == _clean(template) and _draft(template).template == template


def _compose(first: Normalized, second: Normalized) -> Normalized | None:
    """Return the second pass, which read the template of the first, with the values of the first in its slots."""
    values = iter(first.slots)
    slots = []
    for slot in second.slots:
        inside = len(PLACEHOLDER.findall(slot.value))
        taken = [value for value, _ in zip(values, range(inside), strict=False)]
        if len(taken) < inside:
            return None
        slots.append(Slot(slot.kind, fill(slot.value, taken)))
    if next(values, None) is not None:
        return None
    return Normalized(second.template, tuple(slots), first.programs, first.flags, first.created, first.mentioned)


def _analyze(command: str) -> Normalized:
    source = _clean(command)
    result = _draft(source)
    for _ in range(4):
        if _stands(result.template):
            return result
        composed = _compose(result, _draft(_clean(result.template)))
        if composed is None:
            break
        result = composed
    return Normalized(
        "<TEXT>", (Slot("TEXT", source),), result.programs, result.flags, result.created, result.mentioned
    )


_analyze_cached: Final = lru_cache(maxsize=8_192)(_analyze)


def analyze(command: str) -> Normalized:
    """Take a command line apart. Pure, deterministic, linear in the length of `command`; never raises on a `str`."""
    return _analyze_cached(command) if len(command) <= _CACHED_LENGTH else _analyze(command)


def normalize(command: str) -> str:
    """Return the template of a command line; the template of a template is itself.

    Examples
    --------
    >>> normalize("cat a/b.txt")
    'cat <FILE>'
    >>> normalize('git commit -m "fix the build"')
    'git commit -m <STR>'
    """
    return analyze(command).template


def render(template: str, values: Sequence[str]) -> str:
    """Put `values` into the placeholders of `template`, from left to right.

    Placeholders beyond the last value stay. A here-document brings its own line ends.
    """
    following = iter(values)

    out: list[str] = []
    last = 0
    for match in PLACEHOLDER.finditer(template):
        text = next(following, match.group())
        start, end, after = match.start(), match.end(), ""
        if match.group() == "<HEREDOC>" and text != "<HEREDOC>":
            start -= template[last:start].endswith(" ")
            if template.startswith("; ", end):
                end, after = end + 2, "\n"
        out += (template[last:start], text, after)
        last = end
    out.append(template[last:])
    return "".join(out)
