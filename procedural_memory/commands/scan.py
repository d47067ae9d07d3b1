"""A shell tokeniser of our own: linear in its input and never at a loss.

It reads what the grammar-based parser cannot or must not read: lines that are no valid shell (another language, an
unbalanced quote), lines too long for a parser that is quadratic on hostile input, and templates that hold a
here-document placeholder. It yields the same tokens as `parse.tokens`.

Linear means: every character is passed over a bounded number of times. A look-ahead for a closing quote or bracket
that finds none is made at most once per kind of opener; from then on that opener is an ordinary character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

__all__ = ["KEYWORDS", "Kind", "Scanner", "Token", "scan"]


class Kind(IntEnum):
    """What a token is."""

    WORD = 0
    OPERATOR = 1  # && || ; | |& & ;; and newline
    KEYWORD = 2  # if then do { ( ) } …
    REDIRECT = 3  # > >> 2> <<< <<EOF; its target is the next word, unless it is complete in itself (2>&1)
    HEREDOC = 4  # the body of a here-document with its closing line
    COMMENT = 5
    OPEN = 6  # $( <( >( or a backtick that starts a word
    CLOSE = 7  # the end of what OPEN began


class Token(NamedTuple):
    """A piece of a command line: ``source[start:end]``."""

    kind: Kind
    start: int
    end: int


KEYWORDS: Final = frozenset(
    [
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "select",
        "function",
        "in",
        "!",
        "{",
        "}",
    ]
)
"""Reserved words where a command may start."""

# Reserved words after which a command may start again.
_OPENERS: Final = frozenset(["if", "then", "elif", "else", "while", "until", "do", "!", "{"])

_IN_FOLLOWS: Final = frozenset({"for", "case", "select"})

_BLANK: Final = re.compile(r"(?:[ \t]|\\\n)+")
_OPERATOR: Final = re.compile(r";;&?|;&|&&|\|\||\|&|[;|\n]|&(?!>)")
_REDIRECT: Final = re.compile(r"\d{0,2}(?:<<<|<<-?(?!<)|&>>?|>>|>\||<>|[<>]&(?:\d{1,4}|-)?|[<>](?!\())|&>>?")
_HEREDOC_WORD: Final = re.compile(r"""[ \t]*(?:'([^'\n]{1,80})'|"([^"\n]{1,80})"|\\?([^\s'"`$()<>|&;\\]{1,80}))""")
_PLAIN: Final = re.compile(r"[^\s'\"`$\\;|&<>()]+")
_NESTED: Final = re.compile(r"[\\'\"`(){}]|\$[({]?")
_IN_DOUBLE: Final = re.compile(r"[\\\"`]|\$[({]")
_CLOSER: Final = {"(": ")", "$(": ")", "${": "}", "`": "`", '"': '"'}


class Scanner:
    """One pass over one text.

    Attributes
    ----------
    visited : int
        Characters passed over so far, look-ahead included: the cost of the pass in a unit that no machine changes.
    """

    def __init__(self, source: str, start: int = 0, end: int | None = None) -> None:
        self.source: Final = source
        self.visited = 0
        self._position = start
        self._end: Final = len(source) if end is None else end
        self._dead: set[str] = set()  # openers that have no closer in the rest of the text
        self._heredocs: list[tuple[str, bool]] = []  # (closing word, leading tabs stripped) that wait for the line end

    def __iter__(self) -> Iterator[Token]:
        """Yield the tokens from left to right."""
        source, end = self.source, self._end
        nesting: list[str] = []  # closers of OPEN tokens and of subshells
        command = True  # a command may start here
        target = False  # the target of a redirection comes next
        before_in = 0  # words to come until the `in` of a for or case
        while self._position < end:
            at = self._position
            if blank := _BLANK.match(source, at, end):
                self._move(blank.end())
                continue
            char = source[at]
            if char == "#" and self._at_word_start(at):
                line_end = source.find("\n", at, end)
                self._move(end if line_end < 0 else line_end)
                yield Token(Kind.COMMENT, at, self._position)
                continue
            if char in "<>&0123456789" and (token := self._redirect(at)) is not None:
                yield token
                target = source[token.end - 1] in "<>|&-"
                target = target and not _complete(source[at : token.end])
                continue
            if operator := _OPERATOR.match(source, at, end):
                self._move(operator.end())
                command, target = True, False
                if char != "\n":
                    yield Token(Kind.OPERATOR, at, self._position)
                elif self._heredocs:
                    yield from self._bodies()
                elif source[at - 1 : at] != "\n":  # blank lines say nothing
                    yield Token(Kind.OPERATOR, at, self._position)
                continue
            if char == ")":
                self._move(at + 1)
                closed = nesting.pop() if nesting and nesting[-1] != "`" else ""
                yield Token(Kind.CLOSE if closed == "$" else Kind.KEYWORD, at, at + 1)
                command = closed != "$"
                continue
            if char == "`" and nesting and nesting[-1] == "`":
                nesting.pop()
                self._move(at + 1)
                yield Token(Kind.CLOSE, at, at + 1)
                command = False
                continue
            if char == "(":
                if source.startswith("((", at) and self._skips(at, "("):
                    yield Token(Kind.WORD, at, self._position)
                    command = False
                    continue
                self._move(at + 1)
                nesting.append("(")
                yield Token(Kind.KEYWORD, at, at + 1)
                command = True
                continue
            opener = self._opener(at)
            if opener and not (opener == 1 and "`" in nesting):
                nesting.append("`" if opener == 1 else "$")
                self._move(at + opener)
                yield Token(Kind.OPEN, at, at + opener)
                command = True
                continue
            self._word(ticks=bool(nesting) and nesting[-1] == "`")
            text = source[at : self._position]
            before_in -= 1
            if (command and not target and text in KEYWORDS) or (before_in == 0 and text == "in"):
                yield Token(Kind.KEYWORD, at, self._position)
                command = text in _OPENERS
                before_in = 2 if text in _IN_FOLLOWS else 0
            else:
                yield Token(Kind.WORD, at, self._position)
                command = False
            target = False

    def _at_word_start(self, at: int) -> bool:
        return at == 0 or self.source[at - 1] in " \t\n;|&()`"

    def _move(self, position: int) -> None:
        self.visited += position - self._position
        self._position = position

    def _opener(self, at: int) -> int:
        """Return the length of a substitution opener at `at`, 0 when there is none."""
        source = self.source
        if source.startswith(("$(", "<(", ">("), at):
            return 0 if source.startswith("$((", at) else 2
        return 1 if source[at] == "`" else 0

    def _redirect(self, at: int) -> Token | None:
        match = _REDIRECT.match(self.source, at, self._end)
        if match is None:
            return None
        stop = match.end()
        operator = match.group().lstrip("0123456789")
        if operator in ("<<", "<<-"):
            word = _HEREDOC_WORD.match(self.source, stop, self._end)
            if word is None:
                self._move(stop)
                return Token(Kind.REDIRECT, at, stop)
            stop = word.end()
            self._heredocs.append((word.group(1) or word.group(2) or word.group(3), operator == "<<-"))
        self._move(stop)
        return Token(Kind.REDIRECT, at, stop)

    def _bodies(self) -> Iterator[Token]:
        """Yield the bodies of the here-documents that were opened on the line that just ended."""
        waiting, self._heredocs = self._heredocs, []
        source, end = self.source, self._end
        for word, tabs in waiting:
            start = self._position
            if start >= end:
                return
            indent = "\t*" if tabs else ""
            closing = re.compile(f"^{indent}{re.escape(word)}[ \t]*$", re.MULTILINE)
            match = None if word in self._dead else closing.search(source, start, end)
            if match is None:
                # Never closed: the shell would read to the end of the input. Several at once leave nothing to read.
                self._move(end)
                yield Token(Kind.HEREDOC, start, end)
                return
            self._move(match.end())
            yield Token(Kind.HEREDOC, start, match.end())
            if source.startswith("\n", self._position) and (word, tabs) != waiting[-1]:
                self._move(self._position + 1)

    def _word(self, *, ticks: bool) -> None:
        """Move past one word. At least one character is taken. With `ticks`, a backtick ends the word."""
        source, end = self.source, self._end
        first = self._position
        while self._position < end:
            at = self._position
            if plain := _PLAIN.match(source, at, end):
                self._move(plain.end())
                continue
            char = source[at]
            if char == "\\":
                self._move(min(at + 2, end))
            elif char in "'\"" or source.startswith(("$(", "${"), at) or (char == "`" and at > first and not ticks):
                opener = source[at : at + 2] if char == "$" else char
                if not self._skips(at, opener):
                    self._move(at + len(opener))
            elif char == "$":
                self._move(at + 1)
            elif char == "(" and at > first and source[at - 1] in "=@?*+!" and self._skips(at, "("):
                continue  # an array or an extended glob
            else:
                break
        if self._position == first:
            self._move(first + 1)

    def _skips(self, at: int, opener: str) -> bool:
        """Move past the bracketed or quoted text that `opener` begins; return False when nothing closes it."""
        if opener in self._dead:
            return False
        stop = self._single(at) if opener == "'" else self._closed(at + len(opener), _CLOSER[opener])
        if stop < 0:
            self._dead.add(opener)
            self.visited += self._end - at
            return False
        self._move(stop)
        return True

    def _single(self, at: int) -> int:
        if at and self.source[at - 1] == "$":  # $'…' knows escapes
            match = re.compile(r"(?:[^'\\]|\\.)*'", re.DOTALL).match(self.source, at + 1, self._end)
            return match.end() if match else -1
        stop = self.source.find("'", at + 1, self._end)
        return stop + 1 if stop >= 0 else -1

    def _closed(self, at: int, closer: str) -> int:
        """Return the place after the `closer` that ends the text beginning at `at`, or -1."""
        source, end = self.source, self._end
        stack = [closer]
        dead_single = False
        while at < end:
            top = stack[-1]
            match = (_IN_DOUBLE if top == '"' else _NESTED).search(source, at, end)
            if match is None:
                return -1
            found, at = match.group(), match.end()
            if found == "\\":
                at += 1
            elif found == top:
                stack.pop()
                if not stack:
                    return at
            elif found in _CLOSER:
                if top == "`" or (top == "}" and found == "("):
                    continue
                stack.append(_CLOSER[found])
            elif found == "'" and top != "`" and not dead_single:
                stop = source.find("'", at, end)
                dead_single = stop < 0
                at = at if dead_single else stop + 1
            elif found == "{" and top == "}":
                stack.append("}")
        return -1


def _complete(redirect: str) -> bool:
    """Whether a redirection needs no target word: ``2>&1``, ``>&-``, ``<<EOF``."""
    operator = redirect.lstrip("0123456789")
    return (operator[:2] in ("<&", ">&") and len(operator) > 2) or (operator.startswith("<<") and operator[2:3] != "<")


def scan(source: str) -> Iterator[Token]:
    """Yield the tokens of `source` in linear time. Never raises."""
    return iter(Scanner(source))
