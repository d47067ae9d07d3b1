"""What a word is: by its looks, and by what its place in the command says about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from procedural_memory.commands.tables import KINDS

__all__ = ["PLACEHOLDER", "Piece", "Slot", "fill", "is_safe", "look", "piece", "unquote"]


class Slot(NamedTuple):
    """What stood in the place of a placeholder.

    Attributes
    ----------
    kind : str
        The placeholder without its brackets, ``FILE``.
    value : str
        The text as it was typed, quotes included; for a run of arguments the whole run.
    """

    kind: str
    value: str


class Piece(NamedTuple):
    """A part of a template with the values of its placeholders."""

    text: str
    slots: tuple[Slot, ...] = ()
    tight_left: bool = False
    tight_right: bool = False


PLACEHOLDER: Final = re.compile(f"<({'|'.join(KINDS)})>")

_SAFE: Final = re.compile(r"[\w@%+=:,./^~!?#{}\[\]-]+", re.ASCII)
_WITH_PLACEHOLDER: Final = re.compile(rf"(?:[\w@%+=:,./^~!#-]|{PLACEHOLDER.pattern})+", re.ASCII)
_LONG: Final = 80  # a longer word is no name of anything

_ENVIRONMENT: Final = re.compile(
    r"\$(?:\{?(?:HOME|PATH|PWD|OLDPWD|USER|SHELL|HOSTNAME|PYTHONPATH|VIRTUAL_ENV|EDITOR|LANG|TERM|TMPDIR|RANDOM)\}?|"
    r"[?!$#@*0-9_-])"
)
_URL: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,20}:/{2,3}\S*|(?:git|hg)@[\w.-]{1,200}:\S+|[\w.-]{1,100}@[\w.-]{1,200}:\S+\.git"
)
_IP: Final = re.compile(
    r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?::\d{1,5})?|(?=.*:.*:)\[?[0-9a-fA-F:]{2,39}\]?(?:/\d{1,3}|:\d{1,5})?"
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T_]\S{0,30})?|\d{1,2}:\d{2}:\d{2}")
_HASH: Final = re.compile(r"(?=[a-f]{0,63}\d)(?=\d{0,63}[a-f])[0-9a-f]{7,64}|\d[0-9a-f]{39}|sha256:[0-9a-f]{7,64}")
_NUMBER: Final = re.compile(
    r"[+-]?\d{1,3}(?:\.\d{0,12})?[eE](?:[+-]\d{1,3}|\d{1,2})|[+-]?\.\d+|[+-]?\d+(?:[.,:]\d+){0,8}(?:[kKmMgGtT]i?[bB]?|[bBsmhdwy]|ms|us|ns|px|%)?(?:/(?:tcp|udp))?|"
    r"0x[0-9a-fA-F]+|\d+-\d*|\d+(?:\.\.\d+)+|-\d+"
)
_EMAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[a-z]{2,8}")
_USER_HOST: Final = re.compile(r"[\w.+-]{0,64}@[\w.-]{0,200}(?::\d{1,5})?")
_PROMPT: Final = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,200}:?[^\s$#]{0,200}[$#]")
_HOST: Final = re.compile(
    r"localhost(?::\d{1,5})?|[\w-]{1,63}(?:\.[\w-]{1,63}){0,6}\.(?:com|org|net|io|dev|local|lan|"
    r"edu|gov|internal|ai|co|uk|de|fr|eu)(?::\d{1,5})?|[\w-]{1,63}(?:\.[\w-]{1,63}){0,6}:\d{2,5}"
)
_REMOTE: Final = re.compile(r"([\w.-]{0,64}@[\w.-]{0,200}|[\w.-]{2,200}):([^:\s]*)")
_VERSIONED: Final = re.compile(r"@?[\w./-]{1,100}(?:@|==|>=|<=|~=)[\w.^~*-]{1,40}")
_EXTENSION: Final = re.compile(r"[\w%@+,=.-]{0,200}[\w)]\.[A-Za-z][\w]{0,9}~?")
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/].*|\\\\.*|\.{1,2}\\.*", re.DOTALL)
_ASSIGNED: Final = re.compile(r"([A-Za-z_][\w.-]{0,60}\+?=)(.*)", re.DOTALL)
_DOTS: Final = re.compile(r"(?:\.{1,2}/?)(?:\.\./?)*")
_QUOTED_GLOB: Final = re.compile(r"[\w./*?-]*(?:\*\.\w|/\*|\*/)[\w./*?-]*", re.ASCII)
_SEQUENCE: Final = re.compile(r"\{\d+\.\.\d+(?:\.\.\d+)?\}")
_GLOB: Final = re.compile(r"[*?]|\[[^\]]{1,40}\]|\{[^{}]{0,200},[^{}]{0,200}\}")
_LINES: Final = re.compile(
    r"(?:\d+|\$)(?:,[+~]?(?:\d+|\$))?!?[pdq=]?(?:;\s{0,3}\d+(?:,[\d$]+)?[pdq=]?){0,20}|\d+(?:,\d+)?,?"
)
_BUNDLE: Final = re.compile(r"[cxtruA][vzjJfpkwOmhao]{0,7}")
_KEY: Final = re.compile(r"[A-Za-z][\w-]{0,40}(?:\.[\w-]{1,60}){1,4}")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")  # where git expects one, no digit or nothing but digits will do
_SHORT_HASH: Final = 12
_MODE: Final = re.compile(r"[ugoa]{0,4}[+=-][rwxXst]{1,6}(?:,[ugoa]{0,4}[+=-][rwxXst]{1,6}){0,3}|[0-7]{3,4}")
_REVISION_PATH: Final = re.compile(r"([\w./~^@{}-]{1,100}):([\w./-][^\s:]{0,200})")
_HEAD: Final = re.compile(
    r"(?:HEAD|FETCH_HEAD|ORIG_HEAD|MERGE_HEAD|CHERRY_PICK_HEAD|@|@\{u\}|"
    r"@\{upstream\})(?:[~^]\d{0,2}){0,4}|stash@\{\d{1,2}\}"
)
_TAG: Final = re.compile(r"v?\d+(?:\.\d+){1,3}[\w.+-]{0,20}")
_RECORD: Final = re.compile(r"A|AAAA|ANY|CNAME|MX|NS|PTR|SOA|SRV|TXT")
_SITE: Final = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:me|in|app|xyz|info|us)(?:/|$)")
_METHOD: Final = re.compile(r"GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS")
_LOCAL_PACKAGE: Final = re.compile(r"\.{0,2}/\S*|~\S*|\S+\.(?:whl|tar\.gz|tgz|zip|deb|rpm|txt|gem|apk|pkg)(?:\[\S*\])?")
_EDITABLE: Final = re.compile(r"\.(?:/?\[[\w,-]{1,60}\])?")


_PUNCTUATION: Final = frozenset(
    ["-", "--", "~", "+", "{}", "{", "}", "\\;", "\\(", "\\)", "\\!", "!", "=", "==", "!=", "[", "]", "[[", "]]"]
)


def fill(template: str, slots: Iterable[Slot]) -> str:
    """Return `template` with the values of `slots` in the places of its placeholders, from left to right."""
    values = iter(slots)
    return PLACEHOLDER.sub(lambda match: next(values).value, template)


def unquote(word: str) -> str:
    """Return a word as the program sees it: outer quotes and backslashes taken away."""
    if "'" not in word and '"' not in word and "\\" not in word:
        return word
    if _WINDOWS.fullmatch(word):
        return word
    first = word[0]
    if first in "'\"" and len(word) > 1 and word[-1] == first and first not in word[1:-1]:
        return word[1:-1]
    return re.sub(r"\\(.)|['\"]", lambda match: match.group(1) or "", word, flags=re.DOTALL)


def is_safe(word: str) -> bool:
    """Whether a word may stand in a template as it is: no quotes, no expansion, nothing a shell would act on."""
    return len(word) <= _LONG and _SAFE.fullmatch(word) is not None


@lru_cache(maxsize=8192)
def _look(word: str) -> str:
    if "'" in word or '"' in word or "\\" in word:
        inner = unquote(word)
        if _WINDOWS.fullmatch(word) and "'" not in word and '"' not in word:
            return "FILE"
        if not inner or "\n" in inner or " " in inner or "\\" in inner:
            return "STR"
        if _QUOTED_GLOB.fullmatch(inner):
            return "GLOB"
        kind = _look(inner) if "'" not in inner and '"' not in inner else ""
        return kind if kind in ("FILE", "URL", "TEST", "IP", "EMAIL", "DATE") else "STR"
    if "$" in word or "`" in word:
        if _ENVIRONMENT.fullmatch(word):
            return ""
        return "FILE" if "/" in word and "(" not in word else "VAR"
    if _URL.fullmatch(word):
        return "URL"
    digit = word[0].isdigit() or word[0] in "+-0" or word[-1].isdigit()
    if digit:
        if _IP.fullmatch(word):
            return "IP"
        if _UUID.fullmatch(word):
            return "UUID"
        if _DATE.fullmatch(word):
            return "DATE"
        if _NUMBER.fullmatch(word):
            return "NUM" if len(word) < 40 else "HASH"
    elif ":" in word and _IP.fullmatch(word):
        return "IP"
    if _HASH.fullmatch(word):
        return "HASH"
    if _UUID.fullmatch(word):
        return "UUID"
    if word[0] == "v" and _TAG.fullmatch(word):
        return "TAG"
    if "::" in word:
        return "TEST"
    if "@" in word:
        if _VERSIONED.fullmatch(word) and not word.startswith("@@"):
            after = word.rpartition("@")[2]
            if (
                (after[:1].isdigit() and not _IP.fullmatch(after))
                or after in ("latest", "next", "beta")
                or after[:1] in "^~"
            ):
                return "PKG"
        if _EMAIL.fullmatch(word):
            return "EMAIL"
        if _USER_HOST.fullmatch(word):
            return "HOST"
    elif "=" in word and _VERSIONED.fullmatch(word) and not _ASSIGNED.fullmatch(word):
        return "PKG"
    if _GLOB.search(word):
        return "GLOB"
    if word[0] == "{" and _SEQUENCE.fullmatch(word):
        return "NUM"
    if _HOST.fullmatch(word) and "/" not in word:
        return "HOST"
    if "/" in word or word[0] == "~" or (word[0] == "." and len(word) > 1) or _EXTENSION.fullmatch(word):
        return "FILE"
    if not is_safe(word):
        return "STR"
    return ""


def look(word: str) -> str:
    """Return the placeholder kind a word looks like, "" for a bare word. `word` must not be empty."""
    if len(word) > 256:
        if word[0] in "'\"":
            return "STR"
        return "FILE" if "/" in word else "STR"
    return _look(word)


def _one(kind: str, word: str) -> Piece:
    return Piece(f"<{kind}>", (Slot(kind, word),))


def _auto(word: str, bare: str = "NAME") -> Piece:
    """Judge a word by its looks; a bare word becomes `bare`, or stays when that is ""."""
    if word in _PUNCTUATION or word in ("/", "/dev/null", "*"):
        return Piece(word)
    if _DOTS.fullmatch(word):
        return Piece(word)
    if "=" in word and (match := _ASSIGNED.fullmatch(word)):
        return _assigned(match.group(1), match.group(2))
    if word[0] in "+:" and word[1:].isdigit():
        return Piece(f"{word[0]}<NUM>", (Slot("NUM", word[1:]),))
    kind = look(word)
    if not kind and word[0] == "$":
        return Piece(word)
    if kind == "HOST" and ":" not in word and "@" in word and (prompt := _PROMPT.fullmatch(word)):
        return _one("HOST", prompt.group())
    if not kind and "@" in word and ":" in word and (match := _REMOTE.fullmatch(word)):
        return _remote(word)
    if not kind:
        kind = bare
    return _one(kind, word) if kind else Piece(word)


def _assigned(name: str, value: str) -> Piece:
    if not value:
        return Piece(name)
    kind = look(value)
    if value == "/dev/null":
        return Piece(name + value)
    return Piece(
        f"{name}<{kind if kind in ('FILE', 'NUM', 'URL', 'IP') else 'VAL'}>",
        (Slot(kind if kind in ("FILE", "NUM", "URL", "IP") else "VAL", value),),
    )


def _file(word: str) -> Piece:
    if word[0] == "+" and len(word) > 1:  # `vim +10`, `less +F`
        return (
            _auto(word)
            if word[1:].isdigit()
            else Piece(word)
            if word[1:].isalpha() and len(word) < 4
            else _one("FILE", word)
        )
    kind = look(word)
    if kind in ("", "NAME", "HOST", "NUM", "HASH", "STR", "PKG", "EMAIL", "DATE", "UUID", "VAR", "IP"):
        if kind == "" and word[0] == "$":
            return Piece(word)
        if _DOTS.fullmatch(word) or word in _PUNCTUATION:
            return Piece(word)
        return _one("FILE", word)
    return _auto(word)


def _literal(word: str) -> Piece:
    if len(word) < _SHORT_HASH and word.isalnum() and look(word) == "HASH":  # `-t ed25519`
        return Piece(word)
    return _auto(word, "")


def _key(word: str) -> Piece:
    return Piece(word) if _KEY.fullmatch(word) else _auto(word)


def _text(word: str) -> Piece:
    if word == "{}":
        return Piece(word)
    if word[0] == "$" and _ENVIRONMENT.fullmatch(word):
        return Piece(word)
    return _one("VAR" if word[0] == "$" and look(word) == "VAR" else "STR", word)


def _script(word: str) -> Piece:
    return _one("RANGE" if len(word) < 200 and _LINES.fullmatch(unquote(word)) else "STR", word)


def _range(word: str) -> Piece:
    return _one("RANGE", word)


def _host(word: str) -> Piece:
    if word[0] == "+" or _RECORD.fullmatch(word):  # `dig +short x.y MX`
        return Piece(word)
    kind = look(word)
    if kind in ("", "EMAIL", "FILE", "STR", "PKG"):
        return _one("HOST" if kind != "FILE" or ("/" not in word and word[0] not in "~.") else "FILE", word)
    return _auto(word)


def _remote(word: str) -> Piece:
    if "://" not in word and (match := _REMOTE.fullmatch(word)) and not _WINDOWS.fullmatch(word):
        host, path = match.groups()
        slots = (Slot("HOST", host),) if host else ()
        text = "<HOST>:" if host else ":"
        return Piece(f"{text}<FILE>", (*slots, Slot("FILE", path))) if path else Piece(text, slots)
    if look(word) == "HOST" and "@" in word:
        return _one("HOST", word)
    return _file(word)


def _reference(word: str) -> Piece:
    return _revision(word, path=False)


def _path_reference(word: str) -> Piece:
    return _revision(word, path=True)


def _revision(word: str, *, path: bool) -> Piece:
    if _HEAD.fullmatch(word) or word in (".", "-", "--", "..", "./", "+", "origin", "upstream"):
        return Piece(word)
    kind = look(word)
    if path and kind != "URL" and (match := _REVISION_PATH.fullmatch(word)):  # `HEAD~1:src/a.py`
        revision = _revision(match.group(1), path=False)
        return Piece(f"{revision.text}:<FILE>", (*revision.slots, Slot("FILE", match.group(2))))
    if kind in ("HASH", "URL", "GLOB", "VAR", "UUID", "DATE", "STR"):
        return _one(kind, word)
    if _COMMIT.fullmatch(word):
        return _one("HASH", word)
    if ".." in word and not word.startswith(".."):
        return _one("BRANCH", word)
    if _TAG.fullmatch(word) and ("." in word):
        return _one("TAG", word)
    if kind == "FILE":
        if word[0] in "./~" or word[-1] == "/" or _EXTENSION.fullmatch(word.rpartition("/")[2]):
            return _one("FILE", word)
        if path and not word.startswith(
            ("origin/", "upstream/", "feature/", "feat/", "fix/", "bugfix/", "hotfix/", "release/", "refs/")
        ):
            return _one("FILE", word)
    return _one("BRANCH", word)


def _editable(word: str) -> Piece:
    kind = look(word)
    return Piece(word) if word == "." else _one(kind if kind in ("URL", "VAR") else "FILE", word)


def _package(word: str) -> Piece:
    if _EDITABLE.fullmatch(word):
        return Piece(word)
    kind = look(word)
    if kind in ("URL", "VAR"):
        return _one(kind, word)
    return _one("FILE" if _LOCAL_PACKAGE.fullmatch(word) else "PKG", word)


def _test(word: str) -> Piece:
    if word == "discover":
        return Piece(word)
    kind = look(word)
    if kind in ("", "HOST", "NAME", "STR", "TEST"):
        return _one("TEST", word)
    if (
        kind == "FILE"
        and "/" not in word
        and not word.endswith((".py", ".js", ".ts", ".tsx", ".jsx", ".rb", ".go", ".rs"))
    ):
        return Piece(word) if _DOTS.fullmatch(word) else _one("TEST", word)
    return _auto(word)


def _url(word: str) -> Piece:
    if _METHOD.fullmatch(word):
        return Piece(word)
    kind = look(word)
    if kind in ("IP", "VAR", "URL"):
        return _one(kind, word)
    inner = unquote(word)
    if (
        _HOST.match(inner)
        or _SITE.match(inner)
        or "://" in inner
        or (kind in ("HOST", "EMAIL", "GLOB") and "/" in inner)
    ):
        return _one("URL", word)
    return (
        _one("URL" if inner[:1].isdigit() and ":" in inner else "FILE", word)
        if kind in ("FILE", "NUM")
        else _auto(word)
    )


def _name(word: str) -> Piece:
    kind = look(word)
    if (
        kind in ("STR", "PKG")
        or (kind == "NUM" and ":" in word)  # `chown 1000:1000`
        or (kind == "FILE" and word[0] not in "./~")
        or (kind in ("TEST", "HOST") and "@" not in word)
    ):
        return _one("NAME", word)
    return _auto(word)


def _bundle(word: str) -> Piece:
    return Piece(word) if _BUNDLE.fullmatch(word) else _file(word)


def _test_file(word: str) -> Piece:
    return _one("TEST", word) if "::" in word else _file(word)


def _mode(word: str) -> Piece:
    return Piece(word) if _MODE.fullmatch(word) else _name(word)


def _tag(word: str) -> Piece:
    return _one("TAG", word)


def _value(word: str) -> Piece:
    if match := _ASSIGNED.fullmatch(word):
        return Piece(f"{match.group(1)}<VAL>", (Slot("VAL", match.group(2)),)) if match.group(2) else Piece(word)
    return Piece(word) if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,40}|[+-][a-z]?", word) else _one("VAL", word)


def _number(word: str) -> Piece:
    if word == "auto":
        return Piece(word)
    if word[0] in "$%" and (_ENVIRONMENT.fullmatch(word) or word[1:].isdigit()):  # `kill $!`, `kill %1`
        return Piece(word)
    kind = look(word)
    return _one("NUM" if kind in ("", "NUM", "STR") and (kind or not word[0].isalpha()) else kind or "NAME", word)


def _image(word: str) -> Piece:
    return _one("VAR" if word[0] == "$" else "IMAGE", word)


def _code(word: str) -> Piece:
    return _one("CODE", word)


def _branch(word: str) -> Piece:
    return _reference(word)


_CLASSES: Final[dict[str, Callable[[str], Piece]]] = {
    "AUTO": _auto,
    "LIT": _literal,
    "FILE": _file,
    "STR": _text,
    "SED": _script,
    "RANGE": _range,
    "HOST": _host,
    "REMOTE": _remote,
    "REF": _reference,
    "PATHREF": _path_reference,
    "BRANCH": _branch,
    "PKG": _package,
    "EDITABLE": _editable,
    "TEST": _test,
    "URL": _url,
    "NAME": _name,
    "MODE": _mode,
    "BUNDLE": _bundle,
    "KEY": _key,
    "TESTFILE": _test_file,
    "TAG": _tag,
    "VAL": _value,
    "NUM": _number,
    "IMAGE": _image,
    "CODE": _code,
    "GLOB": lambda word: _one("GLOB", word),
    "SECRET": lambda word: _one("VAL" if "$" in word else "SECRET", word),
}


@lru_cache(maxsize=16384)
def _piece(word: str, expected: str) -> Piece:
    if "<" in word and PLACEHOLDER.search(word) and _WITH_PLACEHOLDER.fullmatch(word):
        return Piece(word, tuple(Slot(match.group(1), match.group()) for match in PLACEHOLDER.finditer(word)))
    return _CLASSES[expected](word)


def piece(word: str, expected: str = "AUTO") -> Piece:
    """Return the part of the template for a word.

    Parameters
    ----------
    word : str
        The word as typed, not empty.
    expected : str
        Argument class, see `tables`.
    """
    if len(word) > 256:
        return _one(
            "STR" if expected in ("AUTO", "LIT", "NAME", "SED", "VAL") else expected if expected in KINDS else "FILE",
            word,
        )
    return _piece(word, expected)
