"""Command line in, flat tokens out: words, operators, redirections, here-documents.

The tree-sitter grammar of bash reads what is valid shell; `scan` reads the rest. The grammar is quadratic on hostile
input, so it sees at most 16 kB, and its work is bounded by a count of its own progress reports. A clock would make the
tokens of one text depend on how busy the machine is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from procedural_memory.commands.scan import KEYWORDS, Kind, Scanner, Token, scan

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser

__all__ = ["MAX_PARSED", "tokens"]

MAX_PARSED: Final = 16_384
"""Characters the grammar-based parser is given at most."""

# Below this length even a quadratic parse is quick, and parsing without a progress report is faster.
_SHORT: Final = 512
# Honest input needs about one report per 60 characters.
_CHARACTERS_PER_REPORT: Final = 32
# Within one word the grammar is quadratic and makes no report: 16 kB of `a@` take seconds.
_LONG_WORD: Final = re.compile(r"\S{1024}")

_WORDS: Final = frozenset(
    {
        "word",
        "string",
        "raw_string",
        "ansi_c_string",
        "translated_string",
        "concatenation",
        "number",
        "simple_expansion",
        "expansion",
        "arithmetic_expansion",
        "brace_expression",
        "regex",
        "extglob_pattern",
        "test_operator",
        "special_variable_name",
        "variable_name",
        "variable_assignment",
        "array",
        "subscript",
    }
)
# Read by the tokeniser instead: to it `[` is a program and `[[ … ]]` are words.
_RESCANNED: Final = frozenset({"test_command", "c_style_for_statement", "compound_statement"})
_OPERATORS: Final = frozenset({"&&", "||", ";", "|", "|&", "&", ";;", ";&", ";;&", "\n"})
_REDIRECTS: Final = frozenset({"file_redirect", "herestring_redirect"})
_NON_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_LINE_END: Final = re.compile(r"(?<!\\)\n")

_local = threading.local()


@lru_cache(maxsize=1)
def _language() -> Language:
    import tree_sitter_bash
    from tree_sitter import Language

    return Language(tree_sitter_bash.language())


def _parser() -> Parser:
    """Return this thread's parser: one object must not be used by two threads at once."""
    parser: Parser | None = getattr(_local, "parser", None)
    if parser is None:
        from tree_sitter import Parser

        parser = _local.parser = Parser(_language())
    return parser


def _tree(source: bytes) -> Node | None:
    """Return the root of the syntax tree, or None when the text is not shell or costs too much to read."""
    parser = _parser()
    if len(source) <= _SHORT:
        root = parser.parse(source).root_node
        return None if root.has_error else root
    reports_left = 32 + len(source) // _CHARACTERS_PER_REPORT

    def stop(*_: Any) -> bool:
        nonlocal reports_left
        reports_left -= 1
        return reports_left < 0

    def read(offset: int, _: Any) -> bytes:
        return source[offset : offset + 4096]

    parse: Callable[..., Any] = parser.parse
    try:
        tree = parse(read, progress_callback=stop)
    except (ValueError, TypeError):  # stopped, or a release of tree-sitter that cannot be stopped
        parser.reset()
        return None
    root = tree.root_node
    return None if root.has_error else root


def _walk(root: Node, source: str) -> list[Token] | None:
    """Return the tokens of a syntax tree, or None when the tree leaves out some text (the ``-`` of ``cat - <<A``).

    There is no recursion, so no depth of nesting is too deep.
    """
    out: list[Token] = []
    last = 0
    stack = [root]
    while stack:
        node = stack.pop()
        kind, start, end = node.type, node.start_byte, node.end_byte
        if start == end:
            continue
        if kind == "heredoc_body":
            continue  # known by its closing line; the node itself begins after the indent
        if kind == "heredoc_end":
            out.append(Token(Kind.HEREDOC, source.find("\n", last, start) + 1 or start, end))
            last = end
            continue
        rescanned = kind in _RESCANNED and (kind != "compound_statement" or source.startswith("((", start))
        leaf = kind in _WORDS or rescanned or kind == "comment" or node.child_count == 0
        if not leaf and kind not in _REDIRECTS and kind != "heredoc_redirect":
            stack.extend(reversed(node.children))
            continue
        if start > last:
            gap = source[last:start]
            if not gap.isspace() and gap.strip(" \t\n\\"):
                return None
            # The grammar drops most line ends; between two commands they separate like a semicolon.
            if last and "\n" in gap and (found := _LINE_END.search(source, last, start)):
                out.append(Token(Kind.OPERATOR, found.start(), found.start() + 1))
        if kind in _REDIRECTS:
            children = node.children
            cut = next((i for i, child in enumerate(children) if child.type[0] in "<>&"), 0)
            operator = children[cut]
            stop = operator.end_byte
            if operator.type in (">&", "<&", ">&-", "<&-") and len(children) > cut + 1:
                after = children[cut + 1]
                if after.type == "number" and after.start_byte == stop:
                    stop, cut = after.end_byte, cut + 1
            out.append(Token(Kind.REDIRECT, start, stop))
            stack.extend(reversed(children[cut + 1 :]))
            last = stop
            continue
        if kind == "heredoc_redirect":
            children = node.children
            cut = next(i for i, child in enumerate(children) if child.type == "heredoc_start")
            out.append(Token(Kind.REDIRECT, start, children[cut].end_byte))
            stack.extend(reversed(children[cut + 1 :]))
            last = children[cut].end_byte
            continue
        if rescanned:
            out.extend(Scanner(source, start, end))
        elif kind in _WORDS:
            out.append(Token(Kind.WORD, start, end))
        elif kind == "comment":
            out.append(Token(Kind.COMMENT, start, end))
        elif kind in _OPERATORS:
            out.append(Token(Kind.OPERATOR, start, end))
        elif kind in ("$(", "<(", ">(", "`"):
            parent = node.parent
            closing = kind == "`" and parent is not None and parent.end_byte == end
            out.append(Token(Kind.CLOSE if closing else Kind.OPEN, start, end))
        elif kind == ")":
            parent = node.parent
            inner = parent is not None and parent.type in ("command_substitution", "process_substitution")
            out.append(Token(Kind.CLOSE if inner else Kind.KEYWORD, start, end))
        else:
            reserved = kind in KEYWORDS or not kind[0].isalpha()  # `export` is a word like any other program
            out.append(Token(Kind.KEYWORD if reserved and not node.is_named else Kind.WORD, start, end))
        last = end
    return None if source[last:].strip(" \t\n\\") else out


def tokens(source: str, *, shell: bool = True) -> Iterator[Token]:
    """Yield the tokens of a command line from left to right. Never raises; linear in the length of `source`.

    Parameters
    ----------
    source : str
        The text, without NUL.
    shell : bool
        False skips the grammar and tokenises directly.
    """
    # The grammar takes the prompt of `$ ls` for a variable.
    if shell and len(source) <= MAX_PARSED and "$ " not in source and not _LONG_WORD.search(source):
        # One byte per character: places in the bytes are places in the text.
        ascii_source = source if source.isascii() else _NON_ASCII.sub("x", source)
        root = _tree(ascii_source.encode("ascii"))
        if root is not None and (found := _walk(root, source)) is not None:
            return iter(found)
    return scan(source)
