"""Tokens: both readers agree, every text ends, and the cost grows with the length alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory.commands import parse
from procedural_memory.commands.danger import is_destructive
from procedural_memory.commands.normalize import analyze, normalize
from procedural_memory.commands.parse import MAX_PARSED, tokens
from procedural_memory.commands.redact import redact
from procedural_memory.commands.scan import Kind, Scanner, Token, scan

SHELL = [
    "ls -la",
    "cat a | grep b | head -5",
    "make && ./a || echo no; ls &",
    "(cd a; ls) && { b; }",
    "cat <<'EOF' > a.py\nx = 1\n\n  y\nEOF\npython a.py",
    "cat > f <<-X && ls\n\tbody\n\tX\nls",
    "sort <<< $x",
    "FOO=1 B='a b' c",
    "export A=b",
    "cmd > out 2>&1 < in",
    "cmd &> all",
    "echo \"a $(date) b\" 'c' $'d\\n' \"$x\"",
    "echo $(ls $(pwd)) `date`",
    "diff <(sort a) <(sort b)",
    "if [ -f x ]; then a; elif b; then c; else d; fi",
    "for i in a b; do\n c $i\ndone",
    "while read x; do a; done < f",
    "case $x in a) b;; *) c;; esac",
    "[[ $a == b* ]] && c",
    "(( i++ ))",
    "f() { a; }",
    "! a",
    "a \\\n  -b # c",
    "x=(1 2 3)",
    "echo ${a:-b} $((1+2))",
    "a\n\n\nb",
]

OPENERS = [
    *(
        [
            "(",
            "{",
            "[",
            '"',
            "'",
            "`",
            "$(",
            "${",
            "<<",
            "<(",
            "\\",
            "[[",
            "((",
            "$((",
            "$'",
            '$"',
            ">",
            "a=(",
            "!",
            "<FILE>",
            "<",
            "-",
            "--",
            "a|",
            "$",
            "é",
            "*",
            "~/",
            "a/",
            "a.",
            "a@",
            "a:",
            "1,",
            "0",
            "::",
            "%",
            "=",
            "print(",
            '"$(',
            '`"',
            "${a:-",
        ]
    ),
    *(
        [
            "if ",
            "while ",
            "case ",
            "for ",
            "# ",
            "&& ",
            "; ",
            "[[ ",
            "<<A ",
            "<<< ",
            "> ",
            "2>&1 ",
            "a=",
            "{ ",
            "( ",
            "do ",
            "then ",
            "function ",
            "a ",
            "-a ",
            "git ",
            "sudo ",
            "sudo -u ",
        ]
    ),
    *(
        [
            "env A=1 ",
            "xargs ",
            "find -exec ",
            "python -m ",
            "select a from ",
            ">>> ",
            "'a' ",
            "<<A $(",
            "case x in ",
            "a) ",
            ";;",
            "esac ",
            "fi ",
            "done ",
            ") ",
            "} ",
            "] ",
        ]
    ),
    *["| ", "|| ", "\n", "<<A\n", "<<'A'\n", "\ud800", "\x00"],
]


def _text(source: str, found: list[Token]) -> list[tuple[Kind, str]]:
    return [(token.kind, source[token.start : token.end]) for token in found]


@pytest.mark.parametrize("source", SHELL)
def test_both_readers_agree(source: str) -> None:
    """The grammar and our own tokeniser give the same tokens for valid shell."""
    root = parse._tree(source.encode())
    assert root is not None
    by_grammar = parse._walk(root, source)
    assert by_grammar is not None
    assert _text(source, by_grammar) == _text(source, list(scan(source)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*OPENERS, "a", " ", "b c", "EOF\n"]), max_size=25).map("".join))
def test_tokens_lie_in_order(source: str) -> None:
    """Tokens never overlap, and every word that is no blank lies in one of them."""
    found = list(tokens(source.replace("\x00", " ")))
    last = 0
    for token in found:
        assert last <= token.start < token.end <= len(source)
        last = token.end


def test_text_the_grammar_drops_is_read_all_the_same() -> None:
    """The grammar loses the dash of ``python - <<EOF``; the tokens have it."""
    source = "python - <<'EOF'\nx\nEOF"
    assert (Kind.WORD, "-") in _text(source, list(tokens(source)))


def test_two_heredocs_on_a_line() -> None:
    """The grammar cannot read two here-documents of one line; the tokeniser can."""
    source = "cat <<A <<B\n1\nA\n2\nB\nls"
    assert [text for kind, text in _text(source, list(tokens(source))) if kind is Kind.HEREDOC] == ["1\nA", "2\nB"]
    assert normalize(source) == "cat <<A <<B <HEREDOC> <HEREDOC>; ls"


def test_the_grammar_gives_up_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grammar's work is bounded by a count that honest input stays far below, the same way on every machine."""
    honest = "cat a.txt | grep b && python c.py --flag=1\n" * (MAX_PARSED // 44)
    assert parse._tree(honest.encode()) is not None
    monkeypatch.setattr(parse, "_CHARACTERS_PER_REPORT", len(honest))
    assert parse._tree(honest.encode()) is None
    assert parse._tree(b"ls -la") is not None  # the next text starts afresh


@pytest.mark.parametrize("size", [16_000, 1_000_000])
@pytest.mark.parametrize("opener", OPENERS)
def test_repeated_opener(opener: str, size: int) -> None:
    """A long run of any opener has a short template, which is its own template."""
    source = (opener * (size // len(opener) + 1))[:size]
    result = analyze(source)
    assert len(result.template) <= 4_000
    assert normalize(result.template) == result.template
    assert len(result.programs) <= 64


@pytest.mark.parametrize("opener", OPENERS)
def test_scanning_is_linear(opener: str) -> None:
    """Characters visited, look-ahead included, are a bounded multiple of the length, and grow with it."""
    visited = []
    for size in (10_000, 100_000):
        scanner = Scanner((opener * (size // len(opener) + 1))[:size])
        for _ in scanner:
            pass
        visited.append(scanner.visited)
    assert visited[1] <= 16 * 100_000
    assert visited[1] <= 14 * max(visited[0], 10_000)


@pytest.mark.parametrize("size", [16_000, 300_000])
@pytest.mark.parametrize(
    "opener",
    [
        "docker login -p",
        "curl -u ",
        "mysql -x ",
        "eyJ",
        "-eyJ",
        "password ",
        "--a-",
        "a=",
        "https://a:",
        "echo x | ",
        "'",
        '"',
        "\\",
    ],
)
def test_redaction_ends(opener: str, size: int) -> None:
    """Redaction of a long hostile line ends and is stable."""
    source = (opener * (size // len(opener) + 1))[:size]
    once = redact(source)
    assert redact(once) == once


@pytest.mark.parametrize("opener", [*OPENERS, "rm ", "git push ", "drop table ", "chmod -R "])
def test_danger_ends(opener: str) -> None:
    """A long hostile line gets an answer."""
    assert is_destructive((opener * 100_000)[:100_000]) in (True, False)


def test_deep_nesting_is_no_recursion() -> None:
    """Ten thousand nested substitutions and groups do not exhaust the stack."""
    for opener, closer in (("$(", ")"), ("(", ")"), ("{ ", "}"), ('"$(', ')"'), ("`", "`"), ("if a; then ", "; fi")):
        assert normalize(opener * 3_000 + "ls" + closer * 3_000)


def test_a_megabyte_heredoc_is_one_slot() -> None:
    """A large file written through a here-document is one slot, and the command after it is seen."""
    body = "x = 'it''s' # <<A $(\n" * 50_000
    result = analyze(f"cat <<'EOF' > a.py\n{body}EOF\npython a.py")
    assert result.template == "cat <<'EOF' > <FILE> <HEREDOC>; python <FILE>"
    assert result.created == ("a.py",)
