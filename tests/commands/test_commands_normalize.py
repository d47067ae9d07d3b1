"""Templates: the table of real cases, and what holds for every string there is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory.commands.normalize import Normalized, analyze, normalize, render
from procedural_memory.commands.shapes import PLACEHOLDER
from procedural_memory.commands.tables import KINDS

CASES = Path(__file__).with_name("normalize_cases.tsv")


def _cases() -> Iterator[tuple[str, str]]:
    for line in CASES.read_text(encoding="utf-8").splitlines():
        if "\t" in line and not line.startswith("# Commands"):
            command, template = line.split("\t")
            yield command.replace("⏎", "\n"), template


CASE_LIST = list(_cases())

# Words that shells and templates are made of, so that random lines are more than noise.
_FRAGMENTS = st.sampled_from(
    [f"<{kind}>" for kind in KINDS]
    + [
        "git",
        "ls",
        "cat",
        "sudo",
        "env",
        "python",
        "-m",
        "-c",
        "pytest",
        "sed",
        "-n",
        "-i",
        "10,20p",
        "find",
        "-exec",
        "\\;",
        "{}",
        "xargs",
        "docker",
        "run",
        "kubectl",
        "get",
        "cd",
        "..",
        "-",
        "--",
        "-5",
        "&&",
        "||",
        "|",
        "|&",
        ";",
        "&",
        ";;",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "[[",
        "]]",
        "$(",
        ")",
        "`",
        "'",
        '"',
        "$",
        "${",
        "<<",
        "<<EOF",
        "EOF",
        "<<<",
        "<",
        ">",
        ">>",
        "2>&1",
        "&>",
        "#",
        "!",
        "if",
        "then",
        "fi",
        "for",
        "in",
        "do",
        "done",
        "while",
        "case",
        "esac",
        "function",
        "sudo",
        "timeout",
        "Where-Object",
        "a/b.txt",
        "a.py",
        "x=1",
        "A=b",
        "https://x.y/z",
        "10.0.0.1",
        "user@host:/p",
        "deadbeef1",
        "*.py",
        "~",
        "$HOME",
        "$x",
        "\\",
    ]
    + ["\\\n", "\n", "\t", "  ", "\x00", "\x1b[0m", "\ud800", "é", "☃", "\u2028", "'a b'", '"c d"', "print(1)"]
    + ["SELECT 1 from x"]
)
_LINES = st.one_of(
    st.text(max_size=80),
    st.lists(_FRAGMENTS, max_size=14).map(" ".join),
    st.lists(_FRAGMENTS, max_size=14).map("".join),
    st.lists(st.one_of(_FRAGMENTS, st.text(max_size=5)), max_size=14).map(" ".join),
)


@pytest.mark.parametrize(("command", "template"), CASE_LIST, ids=[command[:60] for command, _ in CASE_LIST])
def test_case(command: str, template: str) -> None:
    """Every command of the table has its template, and the template has itself."""
    assert normalize(command) == template
    assert normalize(template) == template


def test_table_is_large() -> None:
    """The table holds at least 200 distinct commands."""
    assert len({command for command, _ in CASE_LIST}) >= 200


@pytest.mark.parametrize("command", [command for command, _ in CASE_LIST if "\n" not in command and "#" not in command])
def test_case_renders_back(command: str) -> None:
    """The values put back into the template give the command, blanks aside."""
    result = analyze(command)
    assert _bare(render(result.template, [slot.value for slot in result.slots])) == _bare(command)


SAME = r"""
cat a.txt¦cat src/b.py¦cat ~/x¦cat "a b.txt"¦cat Makefile¦cat .env¦cat 123¦cat $f¦cat "$f"
cd src¦cd /tmp¦cd my-app¦cd "a b"¦cd 2024¦cd repo1.0
git add a.py¦git add src/¦git add Makefile¦git add "a b.txt"¦git add a b
git checkout -b x¦git checkout -b feature/x¦git checkout -b fix-123¦git checkout -b 123-fix¦git checkout -b release-1.2
git push origin main¦git push origin feature/x¦git push origin JIRA-1
git commit -m "x"¦git commit -m fix¦git commit -m "$(cat f)"¦git commit -m "a⏎b"¦git commit -m "it's"
git clone https://x.y/a/b¦git clone git@x.y:a/b.git¦git clone ssh://git@x.y/a.git
git show abc1234¦git show 3f786850e387550fdab836ed7e6dc881de23001b¦git show 1234567¦git show deadbee
git branch -d x¦git branch -d feature/y¦git branch -d a b
pip install requests¦pip install "x>=1"¦pip install Django==4.2¦pip install x[extra]¦pip install a b
npm install lodash¦npm install @types/node¦npm install react@18 react-dom@^18
docker run -p 80:80 nginx¦docker run -p 127.0.0.1:80:80 gcr.io/a/b:tag
docker build -t app .¦docker build -t x.io/a/b:latest .¦docker build -t app:$TAG .
kubectl get pods -n a¦kubectl get pods -n kube-system
kubectl logs web¦kubectl logs api-7c9b8d6f5-x2x4z¦kubectl logs pod/x
ssh bob@h¦ssh my-server¦ssh root@10.0.0.1¦ssh host.example.com
python a.py --lr 0.1¦python src/b.py --lr 1e-3¦python ./c.py --lr 5¦python d.py --lr .01
pytest a.py::b¦pytest tests/a.py::TestX::test_y¦pytest "tests/a.py::t[x]"¦pytest a.py::b c.py::d
curl https://a.io¦curl "https://a.io/?q=1&b=2"¦curl localhost:8080¦curl 127.0.0.1:80/x¦curl example.com
sleep 5¦sleep 0.1¦sleep 10s
grep foo a¦grep "foo bar" a.txt¦grep 'x.*y' src/b.py¦grep 123 a¦grep https://x a.txt
find . -name "*.py"¦find . -name foo.txt¦find . -name \*.c
echo hi¦echo "a b"¦echo a b¦echo 123¦echo a/b¦echo --- x
chown bob a¦chown root:root a.txt¦chown 1000:1000 x
for i in 1 2 3; do ls $i; done¦for x in {1..5}; do ls $x; done
"""


@pytest.mark.parametrize("family", SAME.strip().split("\n"))
def test_the_same_job_has_one_template(family: str) -> None:
    """The same job with other arguments is the same step."""
    assert len({normalize(command.replace("⏎", "\n")) for command in family.split("¦")}) == 1


OTHER = """
git stash pop¦git stash drop¦git stash list
http GET x.y/z¦http POST x.y/z¦http DELETE x.y/z
str_replace_editor view a.py¦str_replace_editor create a.py
npx vitest run¦npx vitest watch
npm audit¦npm audit fix
aws glue start-job-run¦aws glue get-job-run
mix deps.get¦mix deps.compile
kubectl scale deployment web¦kubectl expose deployment web
yarn workspace web add x¦yarn workspace web remove x
python -m unittest discover¦python -m unittest tests.a
"""


@pytest.mark.parametrize("family", OTHER.strip().split("\n"))
def test_another_job_has_another_template(family: str) -> None:
    """Another sub-command is another step."""
    commands = family.split("¦")
    assert len({normalize(command) for command in commands}) == len(commands)


@settings(max_examples=600, deadline=None)
@given(_LINES)
def test_normalize_is_idempotent(command: str) -> None:
    """A template is its own template, whatever it was made of."""
    template = normalize(command)
    assert normalize(template) == template


@settings(max_examples=300, deadline=None)
@given(_LINES)
def test_slots_match_placeholders(command: str) -> None:
    """There is one slot per placeholder, of its kind, in its place; a template is one clean line."""
    result = analyze(command)
    assert [slot.kind for slot in result.slots] == PLACEHOLDER.findall(result.template)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]|  ", result.template)
    assert result.template == result.template.strip(" ")


@settings(max_examples=200, deadline=None)
@given(_LINES)
def test_analyze_is_pure(command: str) -> None:
    """The same command gives an equal result, cached or not."""
    from procedural_memory.commands.normalize import _analyze

    assert analyze(command) == _analyze(command) == _analyze(command)


_WORD = st.one_of(
    st.sampled_from(
        [
            "ls",
            "cat",
            "grep",
            "git",
            "add",
            "push",
            "-la",
            "--all=3",
            "-n5",
            "a/b.txt",
            "src",
            "x.py",
            "*.c",
            "42",
            "deadbeef",
            "https://a.b/c",
            "'a",
            "b'",
            "user@h:/x",
        ]
    ),
    st.from_regex(r"[a-zA-Z0-9_./@:=%+-]{1,12}", fullmatch=True),
    st.from_regex(r"'[a-z ]{0,8}'", fullmatch=True),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(_WORD, min_size=1, max_size=6).map(" ".join), min_size=1, max_size=4), st.data())
def test_plain_lines_render_back(commands: list[str], data: st.DataObject) -> None:
    """Words, pipes and lists come back as they were, blanks aside."""
    line = commands[0]
    for command in commands[1:]:
        line += data.draw(st.sampled_from([" | ", " && ", " || ", "; ", " > f; "])) + command
    result = analyze(line)
    assert _bare(render(result.template, [slot.value for slot in result.slots])) == _bare(line)


def _bare(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("git commit -m x", ("git commit",)),
        ("grep x a | head", ("grep", "head")),
        ("python -m pytest -q", ("pytest",)),
        ("python3.11 a.py", ("python",)),
        ("npx eslint .", ("eslint",)),
        ("sudo apt install x", ("apt install",)),
        ("sudo -u bob env A=1 nice -n 5 make", ("make",)),
        ("./x.sh", ("./x.sh",)),
        ("/usr/bin/git status", ("git status",)),
        ("docker compose -f a.yml up -d", ("docker compose up",)),
        ("docker exec -it web bash", ("bash",)),
        ("poetry run python manage.py migrate", ("manage.py migrate",)),
        ("cd a && make", ("cd", "make")),
        ("echo $(date)", ("date", "echo")),
        ("FOO=1", ()),
        ("", ()),
    ],
)
def test_programs(command: str, programs: tuple[str, ...]) -> None:
    """Programs are seen through wrappers, paths and module runners."""
    assert analyze(command).programs == programs


@pytest.mark.parametrize(
    ("command", "created", "mentioned"),
    [
        ("echo x > a.txt", ("a.txt",), ()),
        ("make 2>> log.txt", ("log.txt",), ()),
        ("cat <<'EOF' > a.py\nx\nEOF", ("a.py",), ()),
        ("touch a b", ("a", "b"), ()),
        ("mkdir -p 'my dir'", ("my dir",), ()),
        ("cp a.txt b.txt", ("b.txt",), ("a.txt",)),
        ("mv a.txt b.txt out/", ("out/",), ("a.txt", "b.txt")),
        ("vim src/a.py", ("src/a.py",), ()),
        ("open_file src/a.py", ("src/a.py",), ()),
        ("sed -i 's/a/b/' a.py", ("a.py",), ()),
        ("sed -n 5p a.py", (), ("a.py",)),
        ("curl -o a.zip https://x.y/z", ("a.zip",), ()),
        ("cat a.txt > /dev/null", (), ("a.txt",)),
        ("sort < a.txt", (), ("a.txt",)),
        ("pytest tests/test_a.py::test_b", (), ("tests/test_a.py::test_b",)),
        ("ls | tee out.txt", ("out.txt",), ()),
    ],
)
def test_files(command: str, created: tuple[str, ...], mentioned: tuple[str, ...]) -> None:
    """Files that a command writes are told from files that it reads."""
    result = analyze(command)
    assert (result.created, result.mentioned) == (created, mentioned)


def test_flags_are_those_of_the_template() -> None:
    """Flags are kept in order, their numbers replaced."""
    assert analyze("grep -rn -A3 --include=*.py x .").flags == ("-rn", "-A<NUM>", "--include=<GLOB>")


def test_a_run_of_arguments_is_one_slot() -> None:
    """Five files are one placeholder, and its value holds all five."""
    result = analyze("git add a.py  b.py 'c d.py'")
    assert result.template == "git add <FILE>"
    assert result.slots[0].value == "a.py b.py 'c d.py'"


def test_render_gives_a_heredoc_its_lines() -> None:
    """A here-document comes back with its line ends, and the next command starts on a line of its own."""
    command = "cat <<'EOF' > a.py\nprint(1)\nEOF\npython a.py"
    result = analyze(command)
    assert render(result.template, [slot.value for slot in result.slots]) == command


def test_render_leaves_what_has_no_value() -> None:
    """Placeholders beyond the last value stay."""
    assert render("cp <FILE> <FILE>", ["a"]) == "cp a <FILE>"


@pytest.mark.parametrize("command", ["", " ", "\n\t ", "\x00", "\x1b[31m\x1b[0m"])
def test_nothing_has_an_empty_template(command: str) -> None:
    """A line of blanks and control characters has the empty template."""
    assert analyze(command) == Normalized("")


def test_control_characters_are_blanks() -> None:
    """Control characters count as blanks, terminal escapes are dropped, surrogates do no harm."""
    assert normalize("ls\x00-la\x07") == "ls -la"
    assert normalize("\x1b[32mls\x1b[0m -la\r\n") == "ls -la"
    assert normalize("cat \ud800.txt") == "cat <FILE>"


def test_a_long_chain_ends_in_one_rest() -> None:
    """Beyond a fixed number of commands the rest is one slot, so that long scripts repeat; nothing is lost."""
    long, longer = "; ".join(["make a"] * 30), "; ".join(["make a"] * 300)
    assert normalize(long) == normalize(longer)
    result = analyze(longer)
    assert result.slots[-1].kind == "REST"
    assert render(result.template, [slot.value for slot in result.slots]) == longer


def test_importing_the_normaliser_loads_no_parser() -> None:
    """tree-sitter is loaded by the first command that needs it, not by the import nor by a plain line."""
    code = (
        "import sys, procedural_memory.commands.normalize as n; print('tree_sitter' in sys.modules); "
        "n.normalize('ls -l | wc'); print('tree_sitter' in sys.modules); "
        "n.normalize('echo $(ls)'); print('tree_sitter' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]
