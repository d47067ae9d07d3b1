"""What MLX does on a GPU, done on the CPU: compiled graphs of few shapes, float16, one thread."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from embedding_checks import COMMANDS
from tiny_models import bert_weights, need, numpy_bert, tiny_bert, tiny_qwen3, write_safetensors

from procedural_memory.embedding import mlx_thread
from procedural_memory.embedding.base import Vectors
from procedural_memory.embedding.mlx import MLXEmbedder

need_mlx = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('mlx')", reason="mlx is not installed")
pytestmark = need_mlx

if TYPE_CHECKING:
    from procedural_memory.embedding.mlx_forward import Runner

TEXTS = [*COMMANDS, "", "git commit " + "abc/def " * 30, "Git STATUS"]
MANY = ["git " + "a" * (index * 7 % 23) for index in range(150)]


def embedder(folder: Path, *, half: bool, compiled: bool = True) -> MLXEmbedder:
    """Return an embedder that runs in a given way, whatever MLX has here."""
    from procedural_memory.embedding.mlx_forward import Way

    made = MLXEmbedder(folder)
    made._way = Way(half=half, compiled=compiled)
    return made


def cosines(first: Vectors, second: Vectors) -> Any:
    """Return the cosine of each row with the one of the same place."""
    return np.einsum("ij,ij->i", first.astype(np.float64), second.astype(np.float64))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[4:9]])
def test_compiled_and_padded_equals_a_plain_forward_pass(tmp_path: Path, pooling: str, texts: list[str]) -> None:
    """Every pooling, eleven texts in sixteen rows, one in one, five in eight: 1e-5."""
    folder = tiny_bert(tmp_path, pooling=pooling)
    expected = numpy_bert(folder, texts, pooling=pooling)
    np.testing.assert_allclose(embedder(folder, half=False).embed(texts), expected, atol=1e-5)


def test_a_compiled_decoder_equals_a_plain_one(tmp_path: Path) -> None:
    """Padding stands behind the last token and is not seen by it."""
    need("mlx_lm")
    folder = tiny_qwen3(tmp_path)
    expected = MLXEmbedder(folder).embed(TEXTS)
    np.testing.assert_allclose(embedder(folder, half=True).embed(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu", "quick_gelu"])
def test_float16_is_close_to_float32(tmp_path: Path, pooling: str, activation: str) -> None:
    """Every pooling and activation: the cosine with the float32 vector is above 1 - 1e-4, yet not the same vector."""
    folder = tiny_bert(tmp_path, pooling=pooling, activation=activation)
    plain, half = MLXEmbedder(folder).embed(TEXTS), embedder(folder, half=True).embed(TEXTS)
    assert cosines(plain, half).min() > 1 - 1e-4
    assert 1e-5 < np.abs(plain - half).max() < 1e-2


def test_one_fingerprint_in_every_way(tmp_path: Path) -> None:
    """The name of the space is that of the weights."""
    folder = tiny_bert(tmp_path)
    assert embedder(folder, half=True).fingerprint == MLXEmbedder(folder).fingerprint


@pytest.mark.parametrize("half", [False, True])
def test_rows_keep_the_order_of_texts(tmp_path: Path, half: bool) -> None:
    """150 texts of mixed lengths, in three batches: each has the vector that it has alone."""
    made = embedder(tiny_bert(tmp_path), half=half)
    rows = made.embed(MANY)
    np.testing.assert_allclose(made.embed(MANY[::-1])[::-1], rows, atol=2e-3 if half else 1e-5)
    for index in range(0, 150, 10):
        np.testing.assert_allclose(made.embed([MANY[index]])[0], rows[index], atol=2e-3 if half else 1e-5)


def overflowing(folder: Path) -> Path:
    """Return a model in which the word npm, and only it, is beyond what float16 holds."""
    tiny_bert(folder)
    weights = bert_weights(len(_vocabulary(folder)))
    weights["embeddings.word_embeddings.weight"][_vocabulary(folder)["npm"], 0] = 1e5
    write_safetensors(folder / "model.safetensors", weights)
    return folder


def _vocabulary(folder: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    vocabulary: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return vocabulary


def test_a_text_that_float16_cannot_hold_is_embedded_in_float32(tmp_path: Path) -> None:
    """It alone: the others have the vectors that they have without it, before and after."""
    folder = overflowing(tmp_path)
    half, plain = embedder(folder, half=True), MLXEmbedder(folder)
    without = half.embed(["git status", "ls"])
    rows = half.embed(["git status", "npm test", "ls"])
    expected = plain.embed(["git status", "npm test", "ls"])
    np.testing.assert_allclose(rows[1], expected[1], atol=1e-6)
    np.testing.assert_allclose(rows[[0, 2]], without, atol=1e-6)
    assert np.abs(rows[[0, 2]] - expected[[0, 2]]).max() > 1e-5
    np.testing.assert_allclose(half.embed(["git status", "ls"]), without, atol=1e-6)


class Counted:
    """A model of one number, the sum of the token ids, that notes what shapes it is traced for and where."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.threads: set[str] = set()

    def __call__(self, ids: Any, mask: Any) -> Any:  # noqa: D102
        import mlx.core as mx

        self.shapes.append(tuple(ids.shape))
        self.threads.add(threading.current_thread().name)
        return mx.cumsum(ids.astype(mx.float32), axis=1)[:, :, None]


def runner(model: Counted, limit: int) -> Runner:
    """Return a compiled runner of `model`."""
    from procedural_memory.embedding.mlx_forward import GPU, Runner

    return mlx_thread.run(lambda: Runner(model, "lasttoken", GPU, limit))


def numbers(run: Runner, lengths: Sequence[int]) -> list[float]:
    """Return what the model gives for texts of so many ones."""
    ids = [[1] * length for length in lengths]
    rows = mlx_thread.run(lambda: run(ids))
    return [float(value) for value in rows[:, 0]]


def test_few_shapes_are_compiled_for_many_lengths() -> None:
    """Every length from 1 to 500: 20 widths of one row, none above the limit, and nothing new the second time."""
    model = Counted()
    run = runner(model, 500)
    for length in range(1, 501):
        assert numbers(run, [length]) == [length]
    widths = [width for _, width in model.shapes]
    assert widths == [*range(8, 65, 8), *range(80, 129, 16), *range(160, 257, 32), 320, 384, 448, 500]
    for count in (1, 2, 3, 5, 9, 33, 64):
        assert numbers(run, [7] * count) == [7.0] * count
    assert {rows for rows, _ in model.shapes} == {1, 2, 4, 8, 16, 64}
    known = len(model.shapes)
    lengths = [index * 7919 % 500 + 1 for index in range(1000)]
    assert numbers(run, lengths) == lengths
    assert numbers(run, lengths) == lengths
    assert len(model.shapes) < known + 30
    assert all(rows * width <= 8192 for rows, width in model.shapes)


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [300, 600]), ("cls", [300, 300]), ("lasttoken", [300, 900]), ("max", [300, 900])]
)
def test_pooling_is_in_float32(pooling: str, expected: list[int]) -> None:
    """Also of 500 numbers whose sum float16 cannot hold."""
    import mlx.core as mx

    from procedural_memory.embedding.mlx_forward import GPU, Runner

    def forward(ids: Any, mask: Any) -> Any:
        return ids.astype(mx.float16)[:, :, None] * 300

    run = mlx_thread.run(lambda: Runner(forward, pooling, GPU, 512))
    rows = mlx_thread.run(lambda: run([[1] * 500, [1, 2, 3]]))
    assert rows.dtype == np.float32
    assert rows[:, 0].tolist() == expected


def test_what_one_thread_compiled_serves_the_others() -> None:
    """Threads of the background come and go; none compiles again."""
    model = Counted()
    run = runner(model, 64)
    for _ in range(4):
        thread = threading.Thread(target=numbers, args=(run, [3, 20]))
        thread.start()
        thread.join()
    assert numbers(run, [3, 20]) == [3, 20]
    assert model.shapes == [(2, 24)]
    assert model.threads == {"procedural-memory-mlx"}


def test_a_released_model_leaves_nothing_behind() -> None:
    """MLX 0.32.0 finds a graph by an address, which the next model may get: each still gives its own numbers."""
    for factor in range(1, 7):
        made = runner_of(factor)
        assert numbers(made, [3]) == [3.0 * factor]
        del made
        gc.collect()


def runner_of(factor: int) -> Runner:
    """Return a compiled runner of a model that multiplies."""
    from procedural_memory.embedding.mlx_forward import GPU, Runner

    def forward(ids: Any, mask: Any) -> Any:
        return Counted()(ids, mask) * factor

    return mlx_thread.run(lambda: Runner(forward, "lasttoken", GPU, 64))


def test_an_error_reaches_the_caller_and_the_thread_goes_on() -> None:
    """Whatever is raised in the thread of MLX."""
    with pytest.raises(ZeroDivisionError):
        mlx_thread.run(lambda: 1 // 0)
    assert mlx_thread.run(lambda: 7) == 7


@pytest.mark.parametrize("compiled", [False, True])
def test_many_texts_go_in_bounded_batches(compiled: bool) -> None:
    """Short ones first, every index once, tokens and texts bounded, padding included."""
    from procedural_memory.embedding.mlx_forward import Way, batches

    way = Way(half=False, compiled=compiled)
    lengths = [(index * 7919) % 500 + 1 for index in range(1000)]
    made = list(batches(lengths, way, 512))
    assert sorted(index for batch in made for index in batch) == list(range(1000))
    order = [lengths[index] for batch in made for index in batch]
    assert order == sorted(order)
    assert all(len(batch) <= 64 for batch in made)
    shapes = [way.shape(len(batch), lengths[batch[-1]], 512) for batch in made]
    assert all(rows * width <= 8192 for rows, width in shapes)
    assert list(batches([], way, 512)) == []
    assert list(batches([99_999], way, 512)) == [[0]]


def test_padding_is_never_all_of_a_row() -> None:
    """Attention over nothing would be no number."""
    from procedural_memory.embedding.mlx_forward import _padded

    tokens, mask = _padded([[5, 6], [7]], (4, 8))
    assert tokens.sum(axis=1).tolist() == [11, 7, 0, 0]
    assert mask.sum(axis=1).tolist() == [2, 1, 1, 1]


FORK = """
import os, sys
from procedural_memory.embedding import mlx_thread
assert mlx_thread.run(lambda: 1) == 1
child = os.fork()
if child == 0:
    os._exit(mlx_thread.run(lambda: 7))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    """That of its parent is not there, and would be waited for without end."""
    assert subprocess.run([sys.executable, "-c", FORK], timeout=60).returncode == 7


EXIT = """
import sys, threading
from procedural_memory.embedding.mlx import MLXEmbedder
embedder, done = MLXEmbedder(sys.argv[1]), threading.Event()
threading.Thread(target=lambda: (embedder.embed(["ls"]), done.set()), daemon=True).start()
sys.exit(0 if done.wait(60) else 3)
"""


def test_a_process_ends_well_after_embedding_in_the_background(tmp_path: Path) -> None:
    """MLX takes the process down when a thread that compiled ends together with it."""
    folder = tiny_bert(tmp_path)
    for _ in range(8):
        ended = subprocess.run([sys.executable, "-c", EXIT, str(folder)], capture_output=True, timeout=120)
        assert (ended.returncode, ended.stderr) == (0, b"")
