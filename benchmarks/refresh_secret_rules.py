"""Take over the rules of gitleaks (MIT licence) as data: ``python benchmarks/refresh_secret_rules.py SOURCE VERSION``.

SOURCE is a ``gitleaks.toml``, or a program or wheel with the default configuration in it. Written are
``procedural_memory/commands/secret_rules.json`` and the examples of the tests: for each rule one text that it must
match and one that it must not, made from its pattern.

A pattern of Go becomes one of Python that takes linear time: every repetition gets an upper bound. What ends a token
in a file also does so on a command line, and a few signs more do. A pattern that only names the prefix of a token gets
the rest of it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

from procedural_memory.commands.redact import entropy

ROOT = Path(__file__).parent.parent
RULES = ROOT / "procedural_memory" / "commands" / "secret_rules.json"
EXAMPLES = ROOT / "tests" / "commands" / "secret_rule_examples.json"

# Rules that are not taken over, and why.
LEFT_OUT = {
    "generic-api-key": "takes 3 of the 290 look-alikes of the table; names and places find what it does",
    "curl-auth-header": "commands/redact.py knows headers, of whatever program",
    "curl-auth-user": "commands/redact.py knows -u of curl and its like",
    "kubernetes-secret-yaml": "for files",
    "jwt": "commands/redact.py finds shorter ones, too",
    "private-key": "commands/redact.py finds those without an end, too",
}
_WIDER = """
age-secret-key anthropic-admin-api-key anthropic-api-key aws-access-token flyio-access-token github-app-token
github-fine-grained-pat github-oauth github-pat github-refresh-token gitlab-cicd-job-token gitlab-deploy-token
gitlab-feed-token gitlab-pat gitlab-pat-routable gitlab-ptt gitlab-runner-authentication-token
gitlab-runner-authentication-token-routable gitlab-scim-token grafana-cloud-api-token grafana-service-account-token
huggingface-access-token mailgun-private-api-token notion-api-token openai-api-key openshift-user-token
pypi-upload-token sidekiq-sensitive-url slack-app-token slack-bot-token slack-config-refresh-token
slack-legacy-bot-token slack-legacy-token slack-legacy-workspace-token slack-user-token slack-webhook-url
square-access-token stripe-access-token vault-batch-token vault-service-token
"""
LEFT_OUT |= dict.fromkeys(_WIDER.split(), "commands/redact.py has a rule that finds these and more")
LICENCE = """MIT License

Copyright (c) 2019 Zachary Rice

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE."""
# No secrets: ids and public keys.
_PUBLIC = re.compile(r"client-id$|access-id$|api-id$|pub-key$|public-key$|pub-api-key$|access-key-id$")
# Keywords that are too short to be looked up, or stand beside hashes on command lines.
_KEYWORDS = {
    "azure-ad-client-secret": [f"{digit}q~" for digit in "0123456789"],
    "sourcegraph-access-token": ["sgp_"],
    "twilio-api-key": [f"sk{digit}" for digit in "0123456789abcdef"],
}
_MOST = 512
_NAMED_BY_A_WORD = re.compile(r"\[\\w\.-\]\{0,50\}\?")
_WORDS = "^[a-zA-Z_.-]+$"
# How a token ends, as gitleaks has it, and as it is on a command line.
_END = re.compile(re.escape(r"""(?:[\x60'"\s;]|\\[nr]|$""") + r"(?:\|\\b)?\)$")
_SHELL_END = r"(?=[\x60'\"\s;&|()<>{}\[\],@:#?\\]|\Z)"
# A pattern that names a prefix alone; what follows it is the token.
_PREFIX = re.compile(r"[\w-]+")
_REST = "[A-Za-z0-9+/=_-]*"
_CLASSES = {"[:alnum:]": "A-Za-z0-9", "[:alpha:]": "A-Za-z", "[:digit:]": "0-9", "[:xdigit:]": "A-Fa-f0-9"}


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration in a TOML file, or in a program or wheel that holds it as text."""
    import tomllib

    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            content = max((wheel.read(name) for name in wheel.namelist()), key=len)
    start = content.find(b'title = "gitleaks config"')
    if start < 0:
        raise SystemExit(f"{path}: holds no gitleaks configuration; give a gitleaks.toml or a package that embeds it")
    # Around it are other texts of the program; a rule ends with a list of keywords or an allowlist.
    text = re.split(rb"[\x00-\x08\x0e-\x1f]", content[start:], maxsplit=1)[0].decode("utf-8", "ignore")
    for end in (len(text), *(place.end() for place in reversed(list(re.finditer(r"\n\n", text))))):
        try:
            return tomllib.loads(text[:end])
        except tomllib.TOMLDecodeError:
            continue
    raise SystemExit(f"{path}: the configuration cannot be read")


def _pieces(pattern: str) -> Iterator[str]:
    """Cut a pattern into escapes, classes, repetitions, openings of groups and single characters."""
    place = 0
    piece = re.compile(
        r"\\(?:x[0-9a-fA-F]{2}|.)|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}\??|[*+]\??|\(\?P<\w+>|"
        r"\(\?[a-zA-Z-]*[:)]|.",
        re.DOTALL,
    )
    while place < len(pattern):
        found = piece.match(pattern, place)
        assert found is not None
        yield found.group()
        place = found.end()


def _bounded(piece: str) -> str:
    lazy = "?" if piece.endswith("?") else ""
    if piece[0] in "*+":
        return f"{{{int(piece[0] == '+')},{_MOST}}}{lazy}"
    least = piece.rstrip("?").strip("{}")
    if not least.endswith(","):
        return piece
    return f"{{{least}{max(_MOST, 4 * int(least[:-1]))}}}{lazy}"


def translate(pattern: str, secret_group: int = 0) -> str:
    """Return a pattern of Go as one of Python whose repetitions are bounded; groups are kept for secrets alone."""
    pattern = _NAMED_BY_A_WORD.sub("", pattern)  # what stands before the word is no part of the secret
    pattern, ends = _END.subn("", pattern)
    out: list[str] = []
    flags: list[list[str]] = [[]]  # for each open group the flags that were switched on within it
    opened: list[int] = []
    closed, groups = -1, 0
    for piece in _pieces(pattern):
        repeated = closed
        closed = -1
        if re.fullmatch(r"\(\?[a-zA-Z-]+\)", piece):
            out.append(piece[:-1] + ":")
            flags[-1].append(piece[:-1] + ":")
        elif piece[0] == "(":
            captures = piece == "(" or piece.startswith("(?P<")
            groups += captures
            wanted = captures and secret_group in (0, groups)
            opened.append(len(out))
            out.append("(" if wanted else "(?:" if captures else piece)
            flags.append([])
        elif piece == ")":
            out.append(")" * (len(flags.pop()) + 1))
            closed = opened.pop()
        elif piece == "|":
            out.append(")" * len(flags[-1]) + "|" + "".join(flags[-1]))
        elif re.fullmatch(r"[*+?]\??|\{\d+(?:,\d*)?\}\??", piece):
            out.append(piece if piece[0] == "?" else _bounded(piece))
            if repeated >= 0 and out[repeated] == "(":
                out[repeated] = "(?:"  # a part that repeats is not the secret
        elif piece[0] == "[":
            for name, characters in _CLASSES.items():
                piece = piece.replace(name, characters)
            out.append(piece)
        else:
            out.append({"\\z": r"\Z", "$": r"\Z"}.get(piece, piece))
    out.append(")" * len(flags[0]))
    return "".join(out) + (_SHELL_END if ends else "")


def _rule(rule: dict[str, Any], everywhere: dict[str, Any]) -> dict[str, Any]:
    by_word = _NAMED_BY_A_WORD.search(rule["regex"]) is not None
    lists = [allowed for allowed in rule.get("allowlists", ()) if allowed.get("regexTarget", "secret") == "secret"]
    rest = _REST if _PREFIX.fullmatch(rule["regex"]) else ""
    # What is allowed everywhere is left to the stand-ins that commands/redact.py knows.
    allowed = [translate(pattern) for one in lists for pattern in one.get("regexes", ())]
    return {
        "id": rule["id"],
        "keywords": _KEYWORDS.get(rule["id"], rule["keywords"]),
        "pattern": f"(?a){translate(rule['regex'], rule.get('secretGroup', 0))}{rest}",
        "entropy": rule.get("entropy", 0),
        "allowed": "|".join(f"(?:{pattern})" for pattern in allowed + [_WORDS] * by_word),
        "stop": [word for one in (*lists, everywhere) for word in one.get("stopwords", ())],
    }


def rules_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rules that make sense on a command line, translated."""
    return [
        _rule(rule, config["allowlist"])
        for rule in config["rules"]
        if "path" not in rule and rule["id"] not in LEFT_OUT and not _PUBLIC.search(rule["id"])
    ]


class _Writer:
    """Writes a text that a pattern matches."""

    def __init__(self, seed: str) -> None:
        self._dice = random.Random(seed)

    def text(self, parsed: Any) -> str:
        return "".join(self._one(str(kind), value) for kind, value in parsed)

    def _one(self, kind: str, value: Any) -> str:
        if kind == "LITERAL":
            return chr(value)
        if kind in ("IN", "ANY", "NOT_LITERAL", "CATEGORY"):
            members = [(kind, value)] if kind != "IN" else value
            return self._dice.choice([c for c in ascii_letters + digits + "_-/+.=:,~% " if _is_in(c, members)])
        if kind == "BRANCH":
            return self.text(self._dice.choice(value[1]))
        if kind == "SUBPATTERN":
            text = self.text(value[3])
            return text
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, item = value
            # An optional part is left out; of an open number a few are written.
            count = least if least in (0, most) else min(most, least + 8)
            return "".join(self.text(item) for _ in range(count))
        return ""  # borders and what lies ahead


def _is_in(character: str, members: Any) -> bool:
    inside, negated = False, False
    for kind, value in ((str(kind), value) for kind, value in members):
        if kind == "NEGATE":
            negated = True
        elif kind == "LITERAL":
            inside = inside or ord(character) == value
        elif kind == "NOT_LITERAL":
            inside = inside or ord(character) != value
        elif kind == "RANGE":
            inside = inside or value[0] <= ord(character) <= value[1]
        elif kind == "ANY":
            inside = True
        elif kind == "CATEGORY":
            signs = {"DIGIT": r"\d", "WORD": r"\w", "SPACE": r"\s"}
            sign = next(sign for name, sign in signs.items() if name in str(value))
            inside = inside or bool(re.match(sign.upper() if "NOT" in str(value) else sign, character))
    return inside is not negated


def examples_of(rule: dict[str, Any]) -> tuple[str, str]:
    """Return a text that a rule matches, and a near miss: the same cut short."""
    pattern = re.compile(rule["pattern"])
    parsed = re._parser.parse(rule["pattern"])  # type: ignore[attr-defined]
    for attempt in range(200):
        text = _Writer(f"{rule['id']} {attempt}").text(parsed).strip()
        if not any(keyword in text.lower() for keyword in rule["keywords"]):
            text = f"{rule['keywords'][0]} {text}"
        found = pattern.search(text)
        if found is None or secret_of(rule, found) is None:
            continue
        start, end = found.span()
        return text, next(text[:cut] for cut in range(end - 1, start, -1) if not pattern.search(text[:cut]))
    raise SystemExit(f"{rule['id']}: no example could be made of {rule['pattern']}; add the rule to LEFT_OUT")


def secret_of(rule: dict[str, Any], found: re.Match[str]) -> str | None:
    """Return the secret in a match, None where the rule lets it pass."""
    secret = next((group for group in found.groups() if group), found.group())
    if rule["allowed"] and re.search(rule["allowed"], secret):
        return None
    if any(word in secret.lower() for word in rule["stop"]) or entropy(secret) <= rule["entropy"]:
        return None
    return secret


def _apart(text: str) -> str:
    """Return a text in pieces, so that a scanner of secrets sees none in the file."""
    return "·".join(text[i : i + 4] for i in range(0, len(text), 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("version")
    options = parser.parse_args()
    rules = rules_of(read_config(options.source))
    notice = {
        "source": f"gitleaks {options.version}, https://github.com/gitleaks/gitleaks",
        "licence": LICENCE.splitlines(),
        "written_by": "benchmarks/refresh_secret_rules.py; do not edit",
    }
    lines = ",\n".join(json.dumps(rule) for rule in rules)
    RULES.write_text(json.dumps(notice, indent=1)[:-2] + f',\n "rules": [\n{lines}\n]}}\n', encoding="utf-8")
    texts = {rule["id"]: list(map(_apart, examples_of(rule))) for rule in rules}
    EXAMPLES.write_text(json.dumps(texts, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(rules)} rules", file=sys.stderr)


if __name__ == "__main__":
    main()
