"""Plain lines: what is read without the grammar is what the grammar reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory.commands.normalize import MAX_COMMANDS, MAX_PARTS, _clean, _plain, _shell, analyze

PLAIN = [
    "ls",
    "git commit -m 'fix: a \"b\"' && git push",
    'grep -rn "a b" src | head -5; wc -l a.txt || echo no',
    "make -j4 2>&1 | tee build.log",
    "make 2>&1 all",
    "sort < in.txt > out.txt 2>/dev/null",
    "A=1 B='x y' python a.py --n=3 >> log 2>&1",
    'python -c "\nimport os\nprint(\\"$HOME\\")\n"',
    "cd a\nls -la\n\nmake",
    "cat <FILE> && git commit -m <STR>",
    "cat <<'EOF' > a.py\nx = 'a\n  y # $(no\nEOF",
    "cat > a.py <<'END' && ls\nEND\n\npython a.py | head",
]
# The grammar knows more of these, or reads them in a way of its own.
OTHER = [
    *[
        "",
        "a &",
        "a && ",
        "a;; b",
        "(ls)",
        "echo $x",
        "echo `date`",
        "echo $(date)",
        "a <(b)",
        "cat a\\ b",
        "ls # x",
        "!x",
    ],
    *[
        "if a; then b; fi",
        "for x in a b; do c; done",
        "grep in a",
        "[ -f a ]",
        "a{b,c}",
        "declare -x A",
        "export'a b'",
        'let =~"$x"',
        "unset b''",
        "a == b",
    ],
    *[
        "a =~'b'",
        "a 3>b",
        "a2>b",
        "a >&2",
        "a <<< b",
        "a 2>",
        'echo "$(date)"',
        'echo "a',
        "echo 'a",
        "a \\\n b",
        "a && || b",
    ],
    *[
        "cat <<EOF\na\nEOF",
        "cat <<'EOF'\na",
        "cat <<'EOF'\na\n  EOF\nEOF",
        "cat <<'EOF'\na\nEOFx\nEOF",
        "cat <<'EOF'\n\\$x\nEOF",
    ],
    *[
        "cat <<'xFILEx'\n<FILE>\nxFILEx",
        "cat <<'A' <<'B'\nA\nB",
        "echo '<<A'\nA",
        "cat <<'EOF' > \"a\"\nx\nEOF",
        "cat <<-'A'\nA",
    ],
    " ".join(["a"] * (MAX_PARTS + 1)),
    ";".join(["a"] * (MAX_COMMANDS + 1)),
]


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_is_read_as_the_grammar_reads_it(line: str) -> None:
    """Template, slots, programs, flags and files are equal."""
    plain = _plain(line)
    assert plain is not None
    assert plain == _shell(line)


@pytest.mark.parametrize("line", OTHER)
def test_any_other_line_is_left_to_the_grammar(line: str) -> None:
    """Whatever is expanded, nested, reserved, cut short or too long is not plain."""
    assert _plain(line) is None


def test_most_cases_of_the_table_are_plain() -> None:
    """And their parts are those that the grammar gives."""
    rows = Path(__file__).with_name("normalize_cases.tsv").read_text(encoding="utf-8").splitlines()
    lines = [_clean(line.partition("\t")[0]) for line in rows]
    plain = [line for line in lines if _plain(line) is not None]
    assert len(plain) > 0.7 * len(lines)
    for line in plain:
        assert _plain(line) == _shell(line)


def test_commands_come_again_in_other_lines() -> None:
    """What is kept of a command does not depend on the line it was first seen in."""
    alone, after = analyze("vim a.py -n 3"), analyze("cd x && vim a.py -n 3; ls")
    assert after.template == f"cd <FILE> && {alone.template}; ls"
    assert after.slots[1:] == alone.slots
    assert after.programs == ("cd", *alone.programs, "ls")
    assert set(alone.mentioned + alone.created) <= {*after.mentioned, *after.created}


_SIGNS = "ab1-=./:,@%+^~*?_é#!{}[]$`\\'\"<>|&; \n"
_PARTS = st.one_of(
    st.sampled_from(
        ["'a b'", '"c d"', "''", '""', "<FILE>", "'$x'", '"\'"', '"a\nb"', '"\\""', '"$x"', '"a $b"', '"<NUM>"']
    ),
    st.sampled_from(
        ["=~", "==", "let", "export", "unset", "in", "for", "do", "time", "[", "{}", "A=1", "sudo", "xargs", "find"]
    ),
    st.text(_SIGNS, min_size=1, max_size=4),
)
_WORDS = st.lists(_PARTS, min_size=1, max_size=3).map("".join)
_BLANKS = [
    *[" "] * 6,
    "\t",
    "  ",
    " && ",
    "&&",
    "; ",
    ";",
    " | ",
    " || ",
    "\n",
    "\n\n",
    " > ",
    " 2>",
    " 2>&1 ",
    " >> ",
    " < ",
]
_LINES = st.lists(st.tuples(_WORDS, st.sampled_from(_BLANKS)), min_size=1, max_size=6).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)
_BODIES = st.lists(
    st.sampled_from(
        ["", "x = 1", "  EOF", "EOFx", "EOF ", "#EOF", "\\", "\\$x", "$(x", "`", '"', "<FILE>", "x \\", "$", "a <<B"]
    )
    | st.text(_SIGNS, max_size=4),
    max_size=4,
).map("\n".join)
_DOCUMENTS = st.builds(
    "{} <<{}{}\n{}\n{}\n{}".format,
    st.sampled_from(["cat", "cat > f", "sudo tee x"]) | _LINES,
    st.sampled_from(["'EOF'", "'EOF'", "EOF", '"EOF"']),
    st.sampled_from(["", "", " > f.py", " >> f", " && ls", " | sh", " 2>&1"]),
    _BODIES,
    st.just("EOF"),
    st.sampled_from(["", "", "ls; ls", "\nls"]) | _LINES,
)


@settings(max_examples=1500, deadline=None)
@given(_LINES | _DOCUMENTS | st.lists(st.sampled_from(PLAIN + OTHER) | _WORDS, max_size=4).map(" ".join))
def test_what_is_plain_agrees_with_the_grammar(line: str) -> None:
    """Of any text: where the short way gives something, it is what the long way gives."""
    source = _clean(line)
    plain = _plain(source)
    assert plain is None or plain == _shell(source)
