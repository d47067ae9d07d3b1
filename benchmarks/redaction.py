"""Measure the redaction: how much of the table of secrets it finds, what it takes for one, what it costs.

``python benchmarks/redaction.py [--write]`` prints the figures, and writes them to REDACTION.md when asked to.
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from typing import NamedTuple

from procedural_memory.commands.redact import redact
from procedural_memory.samples import load_sessions

TABLE = Path(__file__).parent.parent / "tests" / "commands" / "secret_table.tsv"
REPORT = Path(__file__).with_name("REDACTION.md")

_ALPHABETS = {
    "hex": digits + "abcdef",
    "HEX": digits + "ABCDEF",
    "digits": digits,
    "lower": ascii_lowercase,
    "lowerupper": ascii_letters,
    "ALNUM": ascii_uppercase + digits,
    "alnum": ascii_letters + digits,
    "base32": ascii_uppercase + "234567",
    "b64": ascii_letters + digits + "+/",
    "b64url": ascii_letters + digits + "-_",
    "pw": ascii_letters + digits + "!.%^+_-",
}
_HOLE = re.compile(rf"\{{(?:({'|'.join(_ALPHABETS)}):(\d+)|uuid)\}}")
_MARK = re.compile("⟦(.*?)⟧", re.DOTALL)
_RUN = 8


class Row(NamedTuple):
    """A line of the table: as it stands there, and with values its command, the secrets in it, what is between."""

    line: str
    command: str
    secrets: tuple[str, ...]
    rest: tuple[str, ...]


def _value(kind: str | None, length: int, dice: random.Random) -> str:
    if kind is None:
        return "-".join("".join(dice.choices(_ALPHABETS["hex"], k=n)) for n in (8, 4, 4, 4, 12))
    # Edges are letters and digits, and both occur: as in what services and password managers make.
    alphabet = _ALPHABETS[kind]
    plain = [character for character in alphabet if character.isalnum()]
    while True:
        text = "".join(dice.choices(alphabet, k=length))
        text = dice.choice(plain) + text[1:-1] + dice.choice(plain) if length > 1 else text
        if length < 6 or kind in ("digits", "lower", "lowerupper") or re.search(r"[A-Za-z].*\d|\d.*[A-Za-z]", text):
            return text


def _filled(line: str) -> str:
    dice = random.Random(line)
    return _HOLE.sub(lambda hole: _value(hole[1], int(hole[2] or 0), dice), line)


def read_table(kind: str) -> Iterator[Row]:
    """Yield the rows of a kind, ``secret`` or ``look-alike``; values are made up, the same ones every time."""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.partition("\t")[0] != kind:
            continue
        pieces = _MARK.split(_filled(line.partition("\t")[2]).replace("⏎", "\n"))
        yield Row(line.partition("\t")[2], "".join(pieces), tuple(pieces[1::2]), tuple(pieces[::2]))


def leaked(row: Row, redacted: str) -> list[str]:
    """Return the secrets of which a part can still be read."""
    return [
        secret
        for secret in row.secrets
        for parts in [{secret[i : i + _RUN] for i in range(max(1, len(secret) - _RUN + 1))}]
        if any(part in redacted and not any(part in piece for piece in row.rest) for part in parts)
    ]


def rest_is_kept(row: Row, redacted: str) -> bool:
    """Return whether all that stands around the secrets is as it was."""
    return re.fullmatch(".*?".join(map(re.escape, row.rest)), redacted, re.DOTALL) is not None


class Figures(NamedTuple):
    """What a redaction makes of the table."""

    secrets: int
    recall: float
    kept: float
    look_alikes: int
    false_positives: float
    missed: list[str]
    taken: list[str]


def measure(function: Callable[[str], str] = redact) -> Figures:
    """Return recall over secrets, how many rows keep all else, and false positives over look-alikes."""
    rows, others = list(read_table("secret")), list(read_table("look-alike"))
    results = [(row, function(row.command)) for row in rows]
    missed = [row.line for row, out in results for _ in leaked(row, out)]
    taken = [row.line for row in others if function(row.command) != row.command]
    count = sum(len(row.secrets) for row in rows)
    kept = sum(rest_is_kept(row, out) for row, out in results) / len(rows)
    return Figures(count, 1 - len(missed) / count, kept, len(others), len(taken) / len(others), missed, taken)


def costs(function: Callable[[str], object], commands: Iterable[str], rounds: int = 5) -> list[float]:
    """Return the microseconds that each command costs, the least of several rounds."""
    times = []
    for command in commands:
        least = float("inf")
        for _ in range(rounds):
            start = time.perf_counter_ns()
            function(command)
            least = min(least, time.perf_counter_ns() - start)
        times.append(least / 1000)
    return times


def _split(command: str) -> None:
    """The yardstick: cut a command into words, without any rule."""
    try:
        shlex.split(command)
    except ValueError:
        return


def _spread(times: Sequence[float]) -> tuple[float, float]:
    return statistics.median(times), sorted(times)[int(0.99 * (len(times) - 1))]


def _report() -> str:
    figures = measure()
    lines = [
        "# Redaction",
        "",
        "Written by `python benchmarks/redaction.py --write`. The table is `tests/commands/secret_table.tsv`; its head",
        "says how it was written and what the first run found, before any rule was changed: recall 0.931, false",
        "positives 0.028. Rules were mended by what it showed: on lines that nobody has looked at expect less.",
        "",
        "| | |",
        "|---|---|",
        f"| secrets | {figures.secrets} |",
        f"| recall | {figures.recall:.3f} |",
        f"| lines whose rest is kept to the character | {figures.kept:.3f} |",
        f"| look-alikes | {figures.look_alikes} |",
        f"| false positives | {figures.false_positives:.3f} |",
        "",
        "Microseconds per command. The yardstick, `shlex.split`, knows no rule and was run on the same lines.",
        "",
        "| commands | count | median | 99th percentile | median of shlex.split | median by the yardstick |",
        "|---|---|---|---|---|---|",
    ]
    for name, commands in _corpora().items():
        (median, high), (yardstick, _) = (_spread(costs(function, commands)) for function in (redact, _split))
        lines.append(
            f"| {name} | {len(commands)} | {median:.1f} | {high:.1f} | {yardstick:.1f} | {median / yardstick:.2f} |"
        )
    for title, items in (("Secrets that are not found", figures.missed), ("Taken for secrets", figures.taken)):
        lines += ["", f"## {title}", "", *([f"- `{item}`" for item in items] or ["None."])]
    return "\n".join(lines) + "\n"


def _corpora() -> dict[str, list[str]]:
    return {
        "secrets of the table": [row.command for row in read_table("secret")],
        "look-alikes of the table": [row.command for row in read_table("look-alike")],
        "sample sessions": [step["command"] for session in load_sessions() for step in session["commands"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.name} as well")
    options = parser.parse_args()
    report = _report()
    print(report)
    if options.write:
        REPORT.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
