"""Every rule of the redaction: what it must match, what it must not, and that no text makes it slow."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refresh_secret_rules import LICENCE, _rule, translate

from procedural_memory.commands import redact as module
from procedural_memory.commands.redact import SECRET, TOKEN_RULES, redact

RULES_FILE = Path(module.__file__).with_name("secret_rules.json")
CONTENT = json.loads(RULES_FILE.read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = CONTENT["rules"]
# They stand in pieces in the file, so that a scanner of secrets sees none.
EXAMPLES: dict[str, list[str]] = {
    name: [text.replace("·", "") for text in texts]
    for name, texts in json.loads(
        Path(__file__).with_name("secret_rule_examples.json").read_text(encoding="utf-8")
    ).items()
}


@pytest.mark.parametrize("rule", RULES, ids=[rule["id"] for rule in RULES])
def test_rule_of_gitleaks(rule: dict[str, Any]) -> None:
    """The rule matches its example, also within `redact`, and not the near miss."""
    example, miss = EXAMPLES[rule["id"]]
    found = re.search(rule["pattern"], example)
    assert found
    assert any(keyword in example.lower() for keyword in rule["keywords"])
    assert min(map(len, rule["keywords"])) >= 3
    assert all(keyword.split() == [keyword] for keyword in rule["keywords"])
    assert not re.search(rule["pattern"], miss)
    redacted = redact(f"cmd {example} end")
    secret = next((group for group in found.groups() if group), found.group())
    assert secret not in redacted
    assert SECRET in redacted


def test_licence_goes_with_the_rules() -> None:
    """The notice and the version stand in the file and in NOTICE, and every rule has its examples."""
    notice = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
    assert "\n".join(CONTENT["licence"]) == LICENCE
    assert [line.strip() for line in LICENCE.splitlines() if line] == [
        line.strip() for line in notice[notice.index("MIT License") :].splitlines() if line
    ]
    assert re.fullmatch(r"gitleaks \d+\.\d+\.\d+, https://\S+", CONTENT["source"])
    assert EXAMPLES.keys() == {rule["id"] for rule in RULES}


@pytest.mark.parametrize(
    ("go", "python"),
    [
        (r"a(?i)b|c", r"a(?i:b)|(?i:c)"),
        (r"(x(?i)y)z", r"(x(?i:y))z"),
        (r"[[:alnum:]]+\z", r"[A-Za-z0-9]{1,512}\Z"),
        (r"a{3,}?b*", r"a{3,512}?b{0,512}"),
        (r"(?:a)(b){3}$", r"(?:a)(?:b){3}\Z"),
        (r"(?P<n>a)", "(a)"),
        (r"[\w.-]{0,50}?(?:k)=(v)", "(?:k)=(v)"),
        (r"\(a\)[)+*]", r"\(a\)[)+*]"),
    ],
)
def test_translation(go: str, python: str) -> None:
    """Flags get a scope, repetitions an end, and only secrets are captured."""
    assert translate(go) == python
    re.compile(python)


def test_the_second_group_may_be_the_secret() -> None:
    """All other groups are kept out of the way."""
    assert translate(r"(a)(b)", 2) == "(?:a)(b)"


def test_a_pattern_that_names_a_prefix_takes_the_whole_token() -> None:
    """What follows the prefix is the secret."""
    assert _rule({"id": "x", "regex": "abc-key-", "keywords": ["abc-key-"]}, {})["pattern"] == (
        "(?a)abc-key-[A-Za-z0-9+/=_-]*"
    )
    example, _ = EXAMPLES["aws-amazon-bedrock-api-key-short-lived"]
    assert redact(f"cmd {example}Lz9BY3Rpb249/a+b== end") == "cmd <SECRET> end"


# They look at one value or name, from its beginning.
_OF_A_VALUE = ("_FILLER", "_IDENTIFIER", "_KEY_NAME", "_MIXED", "_PLAIN_VALUE", "_REFERENCE")


def _patterns() -> Iterator[tuple[str, re.Pattern[str], list[str]]]:
    for rule in RULES:
        yield rule["id"], re.compile(rule["pattern"]), [*rule["keywords"][:2], *EXAMPLES[rule["id"]]]
    for token in TOKEN_RULES:
        yield token.name, re.compile(token.pattern), [*token.hint.split()[:2], token.example]
    for place in module._PLACE_RULES:
        program = place.programs.partition("|")[0]
        pattern = re.compile(f"(?:{place.place}){place.value}")
        yield f"{program} {place.place}", pattern, [f"{program} -p", " login -p", " --user x:"]
    for name, value in vars(module).items():
        if isinstance(value, re.Pattern):
            yield name, value, ["API_TOKEN=", "--password ", "set -x A ", "git commit -m '", "echo x | "]


def _repeated(part: str) -> Callable[[int], str]:
    return lambda size: (part * size)[:size]


def _run(start: str, sign: str) -> Callable[[int], str]:
    return lambda size: start + sign * size


def _hostile(seeds: list[str]) -> Iterator[Callable[[int], str]]:
    for seed in seeds:
        yield from (_repeated(seed[:cut] or "a") for cut in {len(seed), len(seed) - 1, len(seed) // 2})
        yield from (_run(seed, sign) for sign in "a0_-.=/ :'")


def _least(function: Callable[[str], object], text: str) -> float:
    least = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        function(text)
        least = min(least, time.perf_counter() - start)
    return least


def _grows_too_fast(function: Callable[[str], object], text: Callable[[int], str], size: int) -> bool:
    # Four times the text takes four times as long; what is quadratic takes sixteen. Twice, for a machine may be busy.
    return all(_least(function, text(4 * size)) > 12 * _least(function, text(size)) + 0.005 for _ in range(2))


@pytest.mark.parametrize(("name", "pattern", "seeds"), [pytest.param(*case, id=case[0]) for case in _patterns()])
def test_no_text_makes_a_rule_slow(name: str, pattern: re.Pattern[str], seeds: list[str]) -> None:
    """Repeated beginnings, near misses and long runs take time in proportion to their length."""
    apply = pattern.match if name in _OF_A_VALUE else lambda text: pattern.sub("", text)
    for text in _hostile(seeds):
        assert not _grows_too_fast(apply, text, 1000), text(80)


def test_the_measure_of_time_can_fail() -> None:
    """It notices a pattern that takes quadratic time."""
    assert _grows_too_fast(re.compile(r"a*a*b").search, lambda size: "a" * size, 400)


_PARTS = st.sampled_from([part for _, _, seeds in _patterns() for part in seeds] + list("'\"\\ \n|;&=$`(){}<>@:/,-"))


@settings(max_examples=60, deadline=None)
@given(st.lists(_PARTS, min_size=1, max_size=5).map("".join))
def test_redaction_takes_time_in_proportion(part: str) -> None:
    """Whatever is repeated, all the rules together are linear; `redact` applies them at most eight times."""
    assert not _grows_too_fast(module._once, _repeated(part), 1000)


_SHORTCUTS = module._NAMED | module._SETS | module._SAYS_IT | module._LISTENING | module._RUNS | module._RUNS_UNNAMED
_SPOTS = {
    "name": [
        *[
            "{0}={1}",
            "{0} = {1}",
            "--{0} {1}",
            "-{0}={1}",
            "A=b,{0}={1}",
            "{0}: {1}\n",
            "x['{0}'] = {1}",
            "putenv('{0}', {1})",
        ],
        *["set -gx {0} {1}", "setenv {0} {1}", "setx {0} {1}", "Set-Item -Path Env:{0} -Value {1}", "modify x {0} {1}"],
    ],
    "program": ["{0} -p {1}", "x/{0} -p{1}", "'{0}' -u {1}", "{0} login {1}", "{0} set A_TOKEN {1}", "({0}\n-P {1}"],
    "reader": ["echo {1} | {0}", "echo {1}|{0}", "{0} <<A\n{1}\nA\n", "printf {1} |\t{0}", "{0} <<< {1}"],
}
_FILLED = {
    "name": [
        *["API_TOKEN", "db-password", "X_KEY", "--X_KEY", "pw", "db.auth_token", "SSHPASS", "é_token", "to\u212aen"],
    ],
    "program": sorted(module._PROGRAMS)[::4],
    "reader": [
        *["sudo -S", "x --stdin", "x --password-stdin", "chpasswd", "kinit", "vercel env add x", "gh secret set x"],
        *["x --with-token", "cryptsetup", "rclone login -", "vault kv put", "x -pass stdin", "x --token-stdin", "op x"],
    ],
}
_VALUES = ["hunter22", "'hunter2'", '"hunter 2"', "\\'hunter2\\'", "$X", "x y", "bob:hunter2", "'a b:c'"]
_SPOTTED = [
    spot.format(filled, value)
    for kind, spots in _SPOTS.items()
    for spot, filled, value in itertools.product(spots, _FILLED[kind], _VALUES)
]


def _check_signs(text: str) -> None:
    """The words of a text tell of every keyword in it, and where they tell of nothing no rule finds anything."""
    signs, small = module._signs(text), text.lower()
    for number, (keywords, _) in enumerate(module._token_rules(), module._FIRST_RULE):
        assert bool(signs >> number & 1) == any(keyword in small for keyword in keywords)
    for sign, hints in module._SIGNS_OF_PLACES.items():
        assert bool(signs & sign) >= any(hint in small for hint in hints)
    hidden = module._places(text, signs | _SHORTCUTS)
    assert module._places(text, signs) == hidden
    if not signs >> module._FIRST_RULE and not signs & module._GIT:
        assert module._once(text) == hidden


def test_no_sign_is_missed() -> None:
    """Whatever a rule by place finds, the words tell of it."""
    for text in _SPOTTED:
        _check_signs(text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(_SPOTTED) | _PARTS | st.text(max_size=4), max_size=6),
    st.sampled_from(["", " ", "\n", "; "]),
)
def test_no_sign_is_missed_among_others(parts: list[str], between: str) -> None:
    """The same of any text."""
    _check_signs(between.join(parts))


@pytest.mark.parametrize(
    "line",
    [
        "tokens; paſſword: 'zqhunter2'",
        "cat keys tokens\npaſſword: zqhunter2",
        "setenv paſſword zqhunter2 tokens",
        "python -c \"os.environ['paſſword'] = 'zqhunter2'\" tokens",
    ],
)
def test_a_long_s_is_an_s(line: str) -> None:
    """Where case does not matter it is one, whichever word tells that there is something to find."""
    assert "zqhunter2" not in redact(line)


def test_words_do_not_stay_in_memory() -> None:
    """What is kept of a word is a hash: it may be a secret."""
    redact("PGPASSWORD=zqhunter2 psql")
    kept = module._known_signs
    assert hash("PGPASSWORD=zqhunter2") in kept
    assert {type(key) for key in kept} == {int}
    for number in range(module._KNOWN_WORDS + 1):
        redact(f"ls {number}")
    assert len(kept) <= module._KNOWN_WORDS


def test_nothing_is_compiled_before_it_is_needed() -> None:
    """A line without a keyword compiles no token rule, and one with a keyword its rule alone."""
    code = (
        "from procedural_memory.commands import redact as m; m.redact('ls -la src');"
        "rules = [r for _, r in m._token_rules()];"
        "print(sum(r._pattern is not None for r in rules)); m.redact('cmd npm_x');"
        "print(sum(r._pattern is not None for r in rules), len(rules) > 150)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1", "True"]
