"""Partitions: which files there are, and the sessions that stand in one.

A partition is one file that `fsspec` can open, on disk or in an object store. Its suffix tells what it holds:

``.jsonl``, ``.ndjson``, also ``.gz``, ``.bz2``, ``.xz``, ``.zst``
    A session a line, as `ProceduralMemoryEngine.learn_many` takes it: a mapping with ``commands`` and optionally
    ``outcome``, ``session_id``, ``source``, ``project``; or a list of commands.
``.parquet``, ``.pq`` with a column ``commands``
    A session a row, with the same columns; ``commands`` is a list of strings or of structs.
``.parquet``, ``.pq`` with the columns ``session_id`` and ``command``
    A step a row, in order within its session; the rows of a session need not stand together. More columns:
    ``exit_code``, ``cwd``, ``timestamp``, ``duration_ms``, ``project``, ``source``, ``actor``, ``host``, ``branch`` of
    the step, and ``outcome`` of its session, in any of its rows.

A session stands in one partition as a whole. Of Parquet its ``session_id`` may be an integer, which stands for its
decimal text.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, cast

from procedural_memory.commands.redact import redact
from procedural_memory.errors import (
    HistoryError,
    InvalidInputError,
    InvalidTypeError,
    MissingExtraError,
    ProceduralMemoryError,
    shown,
)
from procedural_memory.sources.files import JSONL, PACKED, PARQUET

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Item", "name_of", "partitions_of", "read_items", "safe_address", "unit_of"]

_STEP: Final = (
    "command",
    "exit_code",
    "cwd",
    "timestamp",
    "duration_ms",
    "project",
    "source",
    "actor",
    "host",
    "branch",
)
_ENDINGS: Final = f"{', '.join(JSONL)} (each also with {', '.join(PACKED)}), {', '.join(PARQUET)}"


class Item(NamedTuple):
    """A session as it stands in a partition: its first line, or row, and how many lines that are not empty stand before
    that; where it has a row for each step all of its rows."""

    line: int
    place: int
    session: dict[str, Any]
    rows: Sequence[int] = ()


def partitions_of(given: object, options: Mapping[str, Any]) -> list[str]:
    """Return the addresses of the files that are meant by addresses, patterns and folders, each once.

    Parameters
    ----------
    given : str, path, or sequence of them
        What a pattern or a folder stands for is sorted.
    options : mapping
        For the file system; see `fsspec`.
    """
    items = [given] if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(items, Sequence) or isinstance(items, (bytes, bytearray)) or not items:
        raise InvalidTypeError(f"partitions: must be an address or a list of addresses, got {shown(given)}")
    found: dict[str, None] = {}
    for item in items:
        if not isinstance(item, (str, os.PathLike)):
            raise InvalidTypeError(f"partitions: must be addresses, not {type(item).__name__} ({shown(item)})")
        if not os.fspath(item).strip():
            raise InvalidInputError("partitions: an address must not be empty; the current folder is '.'")
        found.update(dict.fromkeys(_expanded(os.fspath(item), options)))
    for url in found:
        _kind(url)
    return list(found)


def _fsspec() -> Any:
    """Return the package that opens files, wherever they are."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError("fsspec, which opens files and object stores,", "distributed") from error
    return fsspec


def _expanded(url: str, options: Mapping[str, Any]) -> list[str]:
    files = _fsspec()
    missing = "check the address"
    try:
        system, _, paths = files.get_fs_token_paths(url, storage_options=dict(options))
        if len(paths) == 1 and system.isdir(paths[0]):
            paths = sorted(path for path in system.find(paths[0]) if _suffix(path) in (*JSONL, *PARQUET))
            missing = f"none in the folder ends in {_ENDINGS}"
        elif len(paths) == 1 and _suffix(paths[0]) not in (*JSONL, *PARQUET) and not system.exists(paths[0]):
            paths = []  # a folder, or a name without its ending
    except (ImportError, ValueError, TypeError) as error:  # of a protocol that is not known, or lacks its package
        raise InvalidInputError(f"partitions: {safe_address(url)!r} cannot be opened ({_reason(error, url)})") from None
    except Exception as error:  # each file system has errors of its own
        raise HistoryError(f"partitions: {safe_address(url)!r} cannot be listed ({_reason(error, url)})") from None
    if not paths:
        raise InvalidInputError(f"partitions: {safe_address(url)!r} stands for no file; {missing}")
    return [_with_host(str(system.unstrip_protocol(path)), url, system) for path in paths]


def _with_host(found: str, given: str, system: Any) -> str:
    """Return the address of a file with the host that was given: systems that are one connection leave it out."""
    scheme, _, path = found.partition("://")
    if not path.startswith("/") or not given.startswith(f"{scheme}://"):
        return found
    host = given.partition("://")[2].partition("/")[0]
    return f"{scheme}://{host}{path}" if "host" in type(system)._get_kwargs_from_urls(given) else found


def name_of(url: str) -> str:
    """Return the name of a partition, the same whatever else is learned in one go: its address without a login.

    That is user and password, and what an ``http`` address has after its path, where a signature changes each time.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    host, slash, path = rest.partition("/")
    if scheme in ("http", "https"):
        path = path.partition("?")[0]
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def safe_address(url: str) -> str:
    """Return an address as it may be told: without a login, and without what else is secret."""
    return redact(name_of(url))


def _reason(error: Exception, url: str) -> str:
    return redact((str(error) or type(error).__name__).replace(url, safe_address(url)))


def read_items(url: str, options: Mapping[str, Any], bad: Callable[[int, str], object]) -> Iterator[Item]:
    """Yield the sessions of a partition, not yet checked; call `bad` with the line and reason of what is none.

    Raises
    ------
    HistoryError
        The file cannot be read to its end.
    """
    parquet, zstd = _kind(url) in PARQUET, url.lower().endswith(".zst")
    files = _fsspec()
    try:
        with files.open(url, "rb", compression=None if parquet or zstd else "infer", **options) as file:
            # The reader of fsspec takes a file that was cut off for one that ends, and reads one frame of many.
            content = _pyarrow().CompressedInputStream(file, "zstd") if zstd else file
            yield from (_parquet if parquet else _jsonl)(cast("IO[bytes]", content), bad)
    except InvalidInputError as error:
        raise InvalidInputError(f"partition {safe_address(url)!r}: {error}") from None
    except ProceduralMemoryError:
        raise
    except Exception as error:  # each file system, kind of file and way of packing has errors of its own
        todo = "write the file anew, or leave it out"
        if isinstance(error, FileNotFoundError):
            todo = "check the address; each worker must be able to read it"
        elif isinstance(error, PermissionError):
            todo = "let the user of each worker read it"
        raise HistoryError(
            f"partition {safe_address(url)!r}: cannot be read ({_reason(error, url)}); nothing was learned; {todo}"
        ) from None


def _suffix(url: str) -> str:
    path = PurePosixPath(url.lower())
    inner = PurePosixPath(path.stem).suffix
    return inner if path.suffix in PACKED and inner in JSONL else path.suffix


def unit_of(url: str) -> str:
    """Return what stands in a file one after the other."""
    return "row" if _suffix(url) in PARQUET else "line"


def _kind(url: str) -> str:
    kind = _suffix(url)
    if kind not in (*JSONL, *PARQUET):
        raise InvalidInputError(f"partitions: the names of files must end in {_ENDINGS}, got {safe_address(url)!r}")
    return kind


def _jsonl(file: IO[bytes], bad: Callable[[int, str], object]) -> Iterator[Item]:
    lines = enumerate(io.TextIOWrapper(file, "utf-8-sig", "replace", newline="\n"), 1)
    for place, (number, line) in enumerate((number, line) for number, line in lines if line.strip()):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad(number, f"is not valid JSON ({error})")
            continue
        if isinstance(item, list):
            item = {"commands": item}
        if isinstance(item, dict):
            yield Item(number, place, item)
        else:
            bad(number, f"must be a session with 'commands', got {shown(item)}")


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow, which reads Parquet and Zstandard,", "distributed") from error
    return pyarrow


def _parquet(file: IO[bytes], bad: Callable[[int, str], object]) -> Iterator[Item]:
    table = _pyarrow().parquet.ParquetFile(file)
    names = table.schema_arrow.names
    if "commands" in names or "session_commands" in names:
        yield from (Item(number, number - 1, row) for number, row in _rows(table, names))
    elif "session_id" in names and "command" in names:
        yield from _by_session(_rows(table, names), bad)
    else:
        raise InvalidInputError(
            "Parquet must have a column 'commands' (a session a row), or 'session_id' and 'command' (a step a row), "
            f"got the columns {shown(names)}"
        )


def _rows(table: Any, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    wanted = [*_STEP, "commands", "session_commands", "outcome", "session_outcome", "session_id", "session"]
    number = 0
    for batch in table.iter_batches(columns=[name for name in names if name in wanted]):
        columns = [
            column.cast(_micro(column.type), safe=False) if "timestamp[ns" in str(column.type) else column
            for column in batch.columns
        ]
        lists = [_values(column) for column in columns]
        for values in zip(*lists, strict=True):
            number += 1
            row = _plain(dict(zip(batch.schema.names, values, strict=True)))
            for name in ("session_id", "session"):
                if type(row.get(name)) is int:
                    row[name] = str(row[name])
            yield number, row


def _micro(kind: pa.DataType) -> pa.DataType:
    """Return a type with times in microseconds, which Python can hold."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_list(kind):
        return pa.list_(_micro(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_micro(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _micro(field.type)) for field in kind])
    return pa.string() if pa.types.is_null(kind) or pa.types.is_dictionary(kind) else kind


def _values(column: pa.Array) -> list[Any]:
    try:
        return cast("list[Any]", column.to_pylist())
    except (OverflowError, ValueError):
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    """Return a value; of a date, time or duration that Python cannot hold the text, for who checks it to refuse."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        kind = str(scalar.type)
        if kind.startswith("struct"):
            return {name: _value(item) for name, item in scalar.items()}
        return [_value(item) for item in scalar.values] if "list" in kind else f"{scalar.value} {kind}"


def _plain(value: Any) -> Any:
    """Return a value without what is absent: columns are there in all rows, or in none. A command must not be."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None or key == "command"}
    return value


def _by_session(rows: Iterator[tuple[int, dict[str, Any]]], bad: Callable[[int, str], object]) -> Iterator[Item]:
    found: dict[str, tuple[list[int], list[dict[str, Any]], set[str]]] = {}
    for number, row in rows:
        name = row.pop("session_id", None)
        if not isinstance(name, str):
            bad(number, f"session_id: must be a string or an integer, got {shown(name)}")
            continue
        outcome = row.pop("outcome", None)
        if isinstance(outcome, (list, dict)):
            bad(number, f"outcome: must be a string, not {type(outcome).__name__} ({shown(outcome)})")
            continue
        numbers, steps, outcomes = found.setdefault(name, ([], [], set()))
        if outcome is not None:
            outcomes.add(outcome)
        numbers.append(number)
        steps.append(row)
    for name, (numbers, steps, outcomes) in found.items():
        if len(outcomes) > 1:
            bad(numbers[0], f"outcome: must be one in all rows of a session, got {shown(sorted(map(str, outcomes)))}")
            continue
        source = next((step["source"] for step in steps if "source" in step), None)
        session = {"session_id": name, "outcome": next(iter(outcomes), None), "commands": steps, "source": source}
        yield Item(numbers[0], numbers[0] - 1, session, numbers)
