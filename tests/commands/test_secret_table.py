"""The redaction on a table of secrets and look-alikes that was written apart from its rules."""

from __future__ import annotations

from redaction import leaked, measure, read_table, rest_is_kept

from procedural_memory.commands.redact import SECRET, redact


def test_table_is_large_and_marked() -> None:
    """At least 200 of each kind, all different; every secret is marked, no look-alike is."""
    secrets, others = list(read_table("secret")), list(read_table("look-alike"))
    assert len({row.line for row in secrets}) >= 200
    assert len({row.line for row in others}) >= 200
    assert all(row.secrets and all(row.secrets) for row in secrets)
    assert not any(row.secrets for row in others)
    assert not any(sign in row.command for row in (*secrets, *others) for sign in ("⟦", "⟧", "{hex", "{alnum", "{pw"))


def test_recall_and_false_positives() -> None:
    """Nearly every secret goes, hardly a look-alike changes, and the rest of the line stays."""
    figures = measure()
    assert figures.recall >= 0.97, figures.missed
    assert figures.false_positives <= 0.01, figures.taken
    assert figures.kept >= 0.95


def test_the_measure_can_fail() -> None:
    """A redaction that does nothing finds nothing; one that takes everything has only false positives."""
    nothing, everything = measure(str), measure(lambda command: SECRET)
    assert (nothing.recall, nothing.false_positives, nothing.kept) == (0, 0, 1)
    assert (everything.recall, everything.false_positives) == (1, 1)
    row = next(row for row in read_table("secret") if len(row.secrets[0]) > 16)
    half = row.command.replace(row.secrets[0], row.secrets[0][:10] + SECRET)
    assert leaked(row, half) == [row.secrets[0]]
    assert not rest_is_kept(row, SECRET)


def test_the_table_is_redacted_once() -> None:
    """Redacting again changes nothing."""
    for kind in ("secret", "look-alike"):
        for row in read_table(kind):
            once = redact(row.command)
            assert redact(once) == once
