"""The contract that every embedder fulfils, one check per rule.

Give a factory that makes a fresh embedder of one vector space; every check makes what it needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from procedural_memory.embedding.base import Embedder, Vectors
from procedural_memory.errors import InvalidTypeError

Factory = Callable[[], Embedder]

COMMANDS = [
    "git status",
    "git add .",
    "git commit -m 'fix the parser'",
    "npm run build && npm test -- --watch=false",
    "cat <FILE> | grep -n <STR> | head -<NUM>",
    "ls",
    "docker compose up -d --build web worker",
    "python -m pytest tests/test_parser.py::test_quotes -x -q --tb=short",
]

STRANGE = [
    "",
    " ",
    "\n\t\r",
    "\x00",
    "a\x00b",
    "échö ‘naïve’ 你好 мир",
    "🎉 👩‍👩‍👧 \U0001f9ff",
    "lone \ud800 surrogate \udfff",
    "\u202e\u200b\ufeff",
    "'\"`$(<[{|&;",
    "é",
    "-" * 50,
]


def check_shape_and_type(make: Factory) -> None:
    """One float32 row per text, as long as `dimension` says."""
    embedder = make()
    rows = embedder.embed(COMMANDS)
    assert rows.shape == (len(COMMANDS), embedder.dimension)
    assert rows.dtype == np.float32
    assert isinstance(embedder.dimension, int)
    assert embedder.dimension > 0


def check_unit_length(make: Factory) -> None:
    """Every row has length one, also for odd texts."""
    lengths = np.linalg.norm(make().embed(COMMANDS + STRANGE).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)


def check_tells_texts_apart(make: Factory) -> None:
    """No two of these commands share a vector: an embedder that ignores its input fails here."""
    rows = make().embed(COMMANDS)
    similar = rows @ rows.T - np.eye(len(rows))
    assert similar.max() < 0.9999


def check_deterministic(make: Factory) -> None:
    """The same text gives the same vector, from the same object and from a fresh one."""
    first = make()
    np.testing.assert_array_equal(first.embed(COMMANDS), first.embed(COMMANDS))
    np.testing.assert_allclose(make().embed(COMMANDS), first.embed(COMMANDS), atol=1e-6)


def check_batch_equals_single(make: Factory) -> None:
    """A text has the same vector alone and among others."""
    embedder = make()
    texts = COMMANDS + STRANGE
    singles = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_allclose(embedder.embed(texts), singles, atol=2e-5)


def check_order_of_rows(make: Factory) -> None:
    """Rows come in the order of the texts, also when texts repeat."""
    embedder = make()
    forward, backward = embedder.embed(COMMANDS), embedder.embed(COMMANDS[::-1])
    np.testing.assert_allclose(forward, backward[::-1], atol=2e-5)
    repeated = embedder.embed(["ls", "git status", "ls"])
    np.testing.assert_allclose(repeated[0], repeated[2], atol=2e-5)


def check_no_texts(make: Factory) -> None:
    """No texts give an empty array with the right number of columns."""
    embedder = make()
    rows = embedder.embed([])
    assert rows.shape == (0, embedder.dimension)
    assert rows.dtype == np.float32


def check_strange_texts(make: Factory) -> None:
    """Blanks, NUL, emoji, lone surrogates: each gets a finite vector."""
    rows = make().embed(STRANGE)
    assert np.isfinite(rows).all()


def check_very_long_text(make: Factory) -> None:
    """A megabyte of text is embedded, not refused."""
    rows = make().embed(["x" * 1_000_000, "echo " + "word " * 40_000, "ls"])
    assert np.isfinite(rows).all()
    assert rows.shape[0] == 3


def check_input_untouched(make: Factory) -> None:
    """The list of texts is not changed."""
    texts = list(COMMANDS)
    make().embed(texts)
    assert texts == COMMANDS


def check_result_is_the_callers(make: Factory) -> None:
    """Writing into a result changes no later one."""
    embedder = make()
    first = embedder.embed(["ls"])
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(embedder.embed(["ls"]), kept)


def check_any_sequence(make: Factory) -> None:
    """A tuple does as well as a list."""
    embedder = make()
    np.testing.assert_allclose(embedder.embed(tuple(COMMANDS)), embedder.embed(COMMANDS), atol=1e-6)


def check_fingerprint(make: Factory) -> None:
    """Stable over calls and objects, and names the dimension."""
    first, second = make(), make()
    before = first.fingerprint
    first.embed(COMMANDS)
    assert first.fingerprint == before == second.fingerprint
    assert str(first.dimension) in before


def check_bad_input(make: Factory) -> None:
    """One string, a number among the texts, and None are named in the error."""
    embedder = make()
    with pytest.raises(InvalidTypeError, match=r"not one str"):
        embedder.embed("git status")
    with pytest.raises(InvalidTypeError, match=r"texts\[1\] must be a string, not int: 7"):
        embedder.embed(["ls", 7])  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError, match="not NoneType"):
        embedder.embed(None)  # type: ignore[arg-type]


def check_threads(make: Factory) -> None:
    """Eight threads share one embedder, and each gets what one thread gets."""
    embedder = make()
    expected = make().embed(COMMANDS)
    results: list[Vectors | BaseException] = []
    start = threading.Barrier(8)

    def work(index: int) -> None:
        try:
            start.wait(10)
            for turn in range(3):
                embedder.embed([f"new text {index} {turn}"])
                rows = embedder.embed(COMMANDS)
            results.append(rows)
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        assert not isinstance(result, BaseException), repr(result)
        np.testing.assert_allclose(result, expected, atol=2e-5)


def check_protocol(make: Factory) -> None:
    """The embedder fulfils the protocol."""
    assert isinstance(make(), Embedder)


CHECKS: list[Callable[[Factory], None]] = [
    check_protocol,
    check_shape_and_type,
    check_unit_length,
    check_tells_texts_apart,
    check_deterministic,
    check_batch_equals_single,
    check_order_of_rows,
    check_no_texts,
    check_strange_texts,
    check_very_long_text,
    check_input_untouched,
    check_result_is_the_callers,
    check_any_sequence,
    check_fingerprint,
    check_bad_input,
    check_threads,
]
