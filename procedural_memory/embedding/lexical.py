"""Hashed words and character n-grams: an embedder that needs no weights and always works."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from procedural_memory.digests import blake2b
from procedural_memory.embedding.base import Vectors
from procedural_memory.embedding.checking import checked_texts
from procedural_memory.errors import InvalidInputError, InvalidTypeError, shown

__all__ = ["LexicalEmbedder"]

VERSION: Final = 1
"""Part of the fingerprint: raise it with any change that moves a vector."""

MAX_CHARS: Final = 2048
"""Only this much of a text is read: what tells commands apart stands at the front."""

MAX_TOKENS: Final = 64

# What a part of a command weighs. A program name says most about what a command does, its arguments least.
PROGRAM, SUBCOMMAND, SECOND_SUBCOMMAND, JOINT, FLAG, ARGUMENT, PLACEHOLDER, WRAPPER = (
    1.0, 0.9, 0.6, 0.45, 0.32, 0.16, 0.06, 0.12,
)  # fmt: skip
PIPE_STEP: Final = 0.7  # a program that is fed by a pipe, against the first one
CHANGE_DIRECTORY: Final = 0.25  # "cd somewhere && real-work" is about the real work

# Every alternative matches at least one character and none can fail late, so the scan is linear in any input.
_TOKEN: Final = re.compile(r"<[A-Z_]+>|\"[^\"]*\"?|'[^']*'?|`[^`]*`?|&&|\|\|?|[;&()\n]|\d*[<>]+&?\d*|[^\s\"'`|;&()<>]+")
_SEPARATORS: Final = frozenset({"|", "||", "&&", ";", "&", "(", ")", "\n"})
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_PLAIN_WORD: Final = re.compile(r"[A-Za-z][\w:-]*\Z")
_PIECE: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")
_WRAPPERS: Final = frozenset({"sudo", "doas", "time", "env", "nohup", "exec", "command", "nice", "npx", "!", "{"})
# First words after these are arguments, never sub-commands.
_NO_SUBCOMMAND: Final = frozenset(
    """
    ls ll cd cat less more head tail grep egrep rg ag find fd sed awk cut sort uniq wc tr tee xargs echo
    printf rm cp mv ln mkdir rmdir touch chmod chown chgrp stat file diff patch tar zip unzip gzip
    gunzip vi vim nvim nano emacs code open man which whereis type source . export unset alias history
    kill killall pkill ps top ssh scp sftp rsync ping curl wget nc nmap dig host nslookup bash sh zsh
    python python3 node ruby perl php java gcc g++ clang pytest tox jq base64 md5sum sha256sum su whoami
    id date sleep test [ hydra john msfconsole
    """.split()  # noqa: SIM905 - a hundred quoted words are no easier to read
)

_Feature = tuple[str, str]  # (role, text)


@final
class LexicalEmbedder:
    """Embed commands by hashing their words, word pieces and character n-grams. No weights, numpy only.

    Feature hashing with signs (Weinberger et al. 2009) into `dimension` buckets; the hash is BLAKE2b, so
    vectors are the same in every process and on every platform. The parts of a command are weighted by what
    they say about the job: program and sub-command most, flags less, arguments little, placeholders like
    ``<FILE>`` next to nothing. Steps of a pipeline are marked with their position. The first 2,048 characters
    and 64 tokens count.

    It knows spelling, not meaning: ``npm install`` and ``yarn add`` share nothing.

    Parameters
    ----------
    dimension : int, default 256
        Length of a vector, 16 to 8192. Unrelated commands have a cosine of 0 ± 1/sqrt(dimension).
    """

    __slots__ = ("_dimension", "_fallback", "_lock", "_rows", "_table")

    _CHUNK: Final = 64  # texts a pass
    _CAPACITY: Final = 16_384  # cached tokens; above twice what one pass can add

    def __init__(self, dimension: int = 256) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int):
            raise InvalidTypeError(f"dimension must be an int, not {type(dimension).__name__}: {shown(dimension)}")
        if not 16 <= dimension <= 8192:
            raise InvalidInputError(f"dimension must be 16 to 8192, not {dimension}")
        self._dimension: Final = dimension
        self._lock: Final = threading.Lock()
        self._rows: Final[dict[_Feature, int]] = {}
        self._table: NDArray[np.float32] = np.zeros((256, dimension), dtype=np.float32)
        self._fallback: Final = _unit(_hashed([("empty", 1.0)], dimension))

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """``lexical-v<version>-d<dimension>``."""
        return f"lexical-v{VERSION}-d{self._dimension}"

    def __repr__(self) -> str:
        return f"LexicalEmbedder(dimension={self._dimension})"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit-length row per text: float32 of shape (len(texts), dimension).

        A text without any word (empty, blanks) gives one fixed unit vector.

        Raises
        ------
        InvalidTypeError
            If `texts` is no sequence of strings.
        """
        items = checked_texts(texts)
        out: Vectors = np.empty((len(items), self._dimension), dtype=np.float32)
        for start in range(0, len(items), self._CHUNK):
            out[start : start + self._CHUNK] = self._chunk(items[start : start + self._CHUNK])
        return out

    def _chunk(self, texts: Sequence[str]) -> Vectors:
        rows: list[int] = []
        weights: list[float] = []
        owners: list[int] = []
        with self._lock:
            if len(self._rows) > self._CAPACITY // 2:
                self._rows.clear()
            known = self._rows
            for owner, text in enumerate(texts):
                for feature, weight in _features(text):
                    row = known.get(feature)
                    rows.append(self._add(feature) if row is None else row)
                    weights.append(weight)
                    owners.append(owner)
            gathered = self._table[rows]
        gathered *= np.asarray(weights, dtype=np.float32)[:, None]
        sums: Vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        if owners:
            present, starts = np.unique(owners, return_index=True)
            sums[present] = np.add.reduceat(gathered, starts, axis=0)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        empty = lengths < 1e-6  # no token, or tokens that cancel out
        lengths[empty] = 1.0
        sums /= lengths[:, None]
        sums[empty] = self._fallback
        return sums

    def _add(self, feature: _Feature) -> int:
        """Give `feature` a row in the table. The lock is held."""
        row = len(self._rows)
        if row == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._table[row] = _unit(_hashed(_subfeatures(*feature), self._dimension))
        self._rows[feature] = row
        return row


def _features(text: str) -> Iterator[tuple[_Feature, float]]:
    """Yield ((role, token), weight) for the parts of a command line."""
    tokens: list[str] = _TOKEN.findall(text[:MAX_CHARS])[:MAX_TOKENS]
    step = 0
    fed_by_pipe = False
    program = ""  # of this step, "" while none was seen
    words_left = 0  # sub-commands that may still follow
    module_next = False
    sub = ""
    scale = 1.0
    several = any(token in _SEPARATORS for token in tokens)
    for token in tokens:
        if token in _SEPARATORS:
            fed_by_pipe = token == "|"
            if program:
                step += 1
            program = sub = ""
            continue
        if not program:
            if token in _WRAPPERS:
                yield ("wrapper", token), WRAPPER
                continue
            if token[0] == "-" or _ASSIGNMENT.match(token):  # VAR=1 cmd, sudo -E cmd
                yield ("flag", token.partition("=")[0]), WRAPPER
                continue
            program = token.rpartition("/")[2] or token
            scale = (PIPE_STEP if fed_by_pipe else 1.0) * (
                CHANGE_DIRECTORY if several and program in ("cd", "pushd") else 1.0
            )
            words_left = 0 if program in _NO_SUBCOMMAND else 2
            module_next = False
            yield ("program", program), PROGRAM * scale
            yield (f"step{min(step, 3)}", program), 0.2 * scale
            continue
        if token[0] == "<" and token[-1] == ">" and len(token) > 2:
            yield ("placeholder", token), PLACEHOLDER * scale
            words_left = 0
        elif token[0] == "-" and len(token) > 1:
            name, _, value = token.partition("=")
            yield ("flag", name), FLAG * scale
            if value:
                yield ("argument", value), ARGUMENT * scale
            module_next = name == "-m" and program.startswith(("python", "pypy"))
        elif module_next:  # python -m pytest is pytest
            yield ("program", token), PROGRAM * scale
            program, words_left, module_next = token, 0 if token in _NO_SUBCOMMAND else 2, False
        elif words_left and _PLAIN_WORD.match(token):
            yield ("sub", token), (SUBCOMMAND if words_left == 2 else SECOND_SUBCOMMAND) * scale
            if words_left == 2:
                yield ("joint", f"{program} {token}"), JOINT * scale
            else:
                yield ("joint", f"{program} {sub} {token}"), 0.5 * JOINT * scale
            sub = token
            words_left -= 1
        else:
            yield ("argument", token), ARGUMENT * scale
            words_left = 0


def _subfeatures(role: str, token: str) -> Iterator[tuple[str, float]]:
    """Yield (name, weight) of what is hashed for one token: the word in its role, its pieces, its n-grams."""
    yield f"{role}={token}", 1.0
    if role in ("joint", "placeholder", "wrapper") or role.startswith("step"):
        return
    bare = token.strip("-\"'`")
    lowered = bare.lower()
    yield f"word={lowered}", 0.7  # the same word in another role is still the same word
    pieces = _PIECE.findall(bare)[:32]
    for piece in pieces if len(pieces) > 1 else ():
        yield f"word={piece.lower()}", 0.7 / len(pieces) ** 0.5
    if len(lowered) <= 32:
        framed = f"^{lowered}$"
        grams = [framed[i : i + n] for n in (3, 4) for i in range(len(framed) - n + 1)]
        for gram in grams:
            yield f"gram={gram}", 0.6 / len(grams) ** 0.5


def _hashed(features: Iterator[tuple[str, float]] | list[tuple[str, float]], dimension: int) -> NDArray[np.float64]:
    vector = np.zeros(dimension, dtype=np.float64)
    for name, weight in features:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        vector[(number >> 1) % dimension] += weight if number & 1 else -weight
    return vector


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    length = float(np.sqrt(np.dot(vector, vector)))
    if length < 1e-9:  # features that cancel out
        vector, length = np.eye(1, len(vector), dtype=np.float64)[0], 1.0
    return (vector / length).astype(np.float32)
