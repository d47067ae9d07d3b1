"""Redaction: what must go, what must stay, and the promises that hold for every string."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory.commands.redact import SECRET, TOKEN_RULES, TokenRule, redact

CASES = Path(__file__).with_name("redact_cases.tsv")


def _part(heading: str) -> Iterator[str]:
    current = ""
    for line in CASES.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            current = line.lstrip("# ")
        elif line and current == heading:
            yield line.replace("⏎", "\n")


SECRETS = list(_part("secrets"))
LOOK_ALIKES = list(_part("look-alikes"))


@pytest.mark.parametrize("command", SECRETS)
def test_secret_is_redacted(command: str) -> None:
    """The secret is gone, the program and all that stood before the secret are kept."""
    redacted = redact(command)
    assert "hunter2" not in redacted
    assert SECRET in redacted
    start = command.index("hunter2")
    kept = redacted.partition(SECRET)[0]
    assert command[:start].startswith(kept)
    assert start - len(kept) <= 5  # at most a short prefix such as `pass:` goes with it


@pytest.mark.parametrize("command", LOOK_ALIKES)
def test_look_alike_stays(command: str) -> None:
    """What only looks like a secret is not touched."""
    assert redact(command) == command


def test_tables_are_large() -> None:
    """At least 40 secrets and 40 look-alikes."""
    assert len(set(SECRETS)) >= 40
    assert len(set(LOOK_ALIKES)) >= 40


@pytest.mark.parametrize("rule", TOKEN_RULES, ids=[rule.name for rule in TOKEN_RULES])
def test_token_rule(rule: TokenRule) -> None:
    """Each rule matches its example and not its look-alike, by itself and within `redact`."""
    assert re.search(rule.pattern, rule.example)
    assert not re.search(rule.pattern, rule.look_alike)
    assert any(hint in rule.example.lower() for hint in rule.hint.split())
    assert SECRET in redact(f"cmd {rule.example} end")
    assert SECRET not in redact(rule.look_alike)


def test_a_token_is_found_in_any_place() -> None:
    """A token with a known look is found in an argument, a URL, a here-document and quoted code."""
    token = "ghp_" + "a1B2" * 9
    for command in (
        f"cmd {token}",
        f"cmd --x={token}",
        f"git clone https://{token}@github.com/x/y",
        f"cat <<EOF > f\nkey: {token}\nEOF",
        f"python -c \"print('{token}')\"",
    ):
        assert token not in redact(command)


def test_only_the_secret_goes() -> None:
    """The line around the secret is kept to the character."""
    assert redact("mysql -u root -phunter2 db < a.sql") == "mysql -u root -p<SECRET> db < a.sql"
    assert redact("curl -u bob:hunter2 https://x.y") == "curl -u bob:<SECRET> https://x.y"
    assert redact("git clone https://bob:hunter2@h/y") == "git clone https://bob:<SECRET>@h/y"
    assert redact(f"sshpass -p {'hunter2' * 6} mysql -phunter2 db") == "sshpass -p <SECRET> mysql -p<SECRET> db"
    assert redact("A_TOKEN='x y' make && ls") == "A_TOKEN='<SECRET>' make && ls"


@pytest.mark.parametrize(
    "command",
    [
        "PASSWORD='$ecretPw9' make",
        "PASSWORD='abc\nPw9' make",
        "mysql -p'$ecretPw9' db",
        "curl -u 'bob:$ecretPw9' x",
        """curl -d '{"password":"$ecretPw9"}' x""",
        """curl -d '{"password":"it'"'"'s Pw9"}' x""",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nPw9\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: my-key\n\nPw9",
        "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: my-key\nPw9\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    ],
)
def test_the_end_of_a_secret_goes_too(command: str) -> None:
    """Header lines, signs that mean nothing in single quotes, quotes and line ends do not cut a secret short."""
    assert "Pw9" not in redact(command)


@pytest.mark.parametrize(
    "command",
    [
        "export GCP_CREDENTIALS='{}'",
        'export API_TOKEN="{}"',
        "export API_TOKEN={}",
        "echo {} | docker login --password-stdin",
        "cmd --token {} x",
        "curl -H 'Authorization: Bearer {}' x",
        "curl -H 'X-Api-Key: {}' x",
        """curl -d '{{"password": "{}"}}' x""",
        "curl -b 'session={}' x",
        "curl -u bob:{} x",
        "curl https://bob:{}@h",
        "curl 'https://h?token={}&a=b'",
        "mysql -p{} db",
        "cmd eyJhbGciOiJIUzI1NiJ9.eyJ{}.abc",
    ],
)
def test_a_long_secret_goes_whole(command: str) -> None:
    """A secret has no greatest length."""
    secret = "aB3d" * 4000 + "Pw9"
    redacted = redact(command.format(secret))
    assert SECRET in redacted
    assert len(redacted) < 100


@pytest.mark.parametrize(
    "start", ["A_TOKEN='", 'A_TOKEN="', "mysql -p'", 'curl -u "b:', 'curl -d \'{"password":"', "echo '"]
)
@pytest.mark.parametrize("rest", ["a", "a ", "\n", '\\"', "A_TOKEN='b\"", "\\'a\\\"", '"a'])
def test_a_quote_that_does_not_close_takes_linear_time(start: str, rest: str) -> None:
    """100 000 characters are no trouble."""
    begun = time.perf_counter()
    redact(start + rest * (100_000 // len(rest)))
    assert time.perf_counter() - begun < 10  # a quadratic rule takes minutes


_PIECES = st.sampled_from(
    [
        *[
            "mysql",
            "-p",
            "-phunter2",
            "docker",
            "login",
            "--password",
            "-u",
            "curl",
            "bob:x",
            "echo",
            "|",
            "--password-stdin",
            "=",
            "API_KEY=",
            "TOKEN=",
            "https://",
            "@",
            ":",
        ],
        *[
            "'",
            '"',
            "\\",
            "\n",
            ";",
            "&&",
            "<<<",
            "$",
            "(",
            SECRET,
            "Bearer ",
            "password",
            '"token": "',
            "é",
            "\ud800",
            "\x00",
        ],
        *[rule.example for rule in TOKEN_RULES],
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.one_of(_PIECES, st.text(max_size=6)), max_size=12).map(" ".join)
    | st.lists(_PIECES, max_size=8).map("".join)
)
def test_redact_is_idempotent(command: str) -> None:
    """Redacting twice changes nothing, whatever the text."""
    once = redact(command)
    assert redact(once) == once


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_text_without_secrets_keeps_its_length(command: str) -> None:
    """A text is either left alone or holds the placeholder."""
    redacted = redact(command)
    assert redacted == command or SECRET in redacted


def test_importing_the_redactor_loads_nothing_of_the_package() -> None:
    """The module can be loaded alone by a hook: standard library only."""
    path = Path(redact.__code__.co_filename)
    code = (
        "import importlib.util, sys; before = set(sys.modules); "
        f"s = importlib.util.spec_from_file_location('r', {str(path)!r}); m = importlib.util.module_from_spec(s); "
        "s.loader.exec_module(m); print(m.redact('mysql -phunter2')); "
        "print(*[n for n in set(sys.modules) - before if n.partition('.')[0] not in sys.stdlib_module_names])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["mysql -p<SECRET>", ""]
