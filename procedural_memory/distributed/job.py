"""The job: workers read partitions, learn what is new in them and unite what they learned; the memory takes it over.

::

    partitions    read, redact   plan     learn            unite            take over
    a.parquet  ->  part  \\             /  partial  \\
    b.parquet  ->  part   ->  heads  ->   partial   ->  ... partial  ->  the engine: one transaction, then the ranker
    c.jsonl    ->  part  /              \\  partial  /

Whatever a worker computes follows from its arguments alone, and partitions keep their order: a worker that is lost, and
how fast each one is, changes nothing. Nothing is written but by the one transaction at the end.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from procedural_memory import __version__
from procedural_memory.distributed.partials import (
    TICK,
    Failure,
    Head,
    Partial,
    attempt,
    head_of,
    learn_part,
    read_part,
    tellings_of,
    told_again_in,
    unite_partials,
)
from procedural_memory.distributed.partitions import partitions_of, safe_address
from procedural_memory.distributed.plan import Share, plan, told_by_several
from procedural_memory.engine import ProceduralMemoryEngine
from procedural_memory.errors import InvalidInputError, InvalidTypeError, MissingExtraError, StorageError, shown
from procedural_memory.memory.sequences import WATCHED

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["PartitionReport", "PartitionsLearned", "learn_partitions"]

_FAN_IN: Final = 8
"""How many partial memories are united in one go: SQLite can look into ten files at once."""


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """What became of one partition.

    Attributes
    ----------
    url : str
        Without user, password and other secrets.
    sessions, commands : int
        Those that were read and are in order.
    new_sessions : int
        Sessions that were learned.
    known_sessions : int
        Sessions that the memory or a partition before this one has, with the same content.
    short_sessions : int
        Sessions with fewer than `min_commands` commands, which were left out.
    skipped : mapping of str to int
        What breaks a rule and was left out, by kind.
    problems : tuple of str
        The first ones of these, each with partition and line (of Parquet: row).
    """

    url: str
    sessions: int
    commands: int
    new_sessions: int
    known_sessions: int
    short_sessions: int
    skipped: Mapping[str, int]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartitionsLearned:
    """What `learn_partitions` did.

    Attributes
    ----------
    partitions : tuple of PartitionReport
    seconds : mapping of str to float
        What reading, learning and uniting on the workers took, taking over here, and the ranker.
    """

    partitions: tuple[PartitionReport, ...]
    seconds: Mapping[str, float]

    @property
    def new_sessions(self) -> int:
        """Sessions learned."""
        return sum(one.new_sessions for one in self.partitions)

    @property
    def skipped(self) -> int:
        """How much was left out because it breaks a rule."""
        return sum(sum(one.skipped.values()) for one in self.partitions)


def learn_partitions(
    engine: ProceduralMemoryEngine,
    partitions: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    client: Client | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> PartitionsLearned:
    """Learn the sessions of many files on the workers of a Dask cluster.

    The memory is then what `ProceduralMemoryEngine.learn_many` makes of the sessions in the order of the partitions,
    count for count; but steps that several sources tell of are counted as after `ProceduralMemoryEngine.rebuild`.
    What breaks a rule is left out, counted and reported. All else is learned, or nothing: it is one transaction of the
    memory. A job that failed, or that ran before, is run again without harm: sessions that are known stay as they are.

    Secrets are redacted on the workers, before anything is kept or sent on. By `engine` go the rules for what is
    redacted and ignored, and `min_commands`.

    Parameters
    ----------
    engine : ProceduralMemoryEngine
        The memory that learns; it may know something already.
    partitions : str, path, or sequence of them
        Addresses that `fsspec` knows (``/logs/a.jsonl``, ``s3://logs/day=*/*.parquet``), patterns of them, or folders.
        All workers must be able to read them. `procedural_memory.distributed.partitions` describes what stands in the
        files. A session stands in one file as a whole, and a file is learned by one worker.
    client : distributed.Client, optional
        Of a cluster whose workers have this version of the package. Unless given, one is started on this machine for
        the job, with a process for each core; a script needs ``if __name__ == "__main__":`` for that.
    storage_options : mapping, optional
        For the file system: keys, endpoints, … (see `fsspec`); sent to the workers.
    progress : callable, optional
        Called with ``"read"``, ``"learn"`` or ``"unite"``, how many parts of that are done, and of how many.

    Returns
    -------
    PartitionsLearned

    Raises
    ------
    MissingExtraError
        Dask, or what reads a kind of file, is not installed.
    InvalidInputError
        An argument breaks a rule, or an address stands for no file.
    HistoryError
        A file cannot be read.
    SessionConflictError
        An id stands for sessions with different content, in two partitions or in the memory.
    StorageError
        The cluster could not do the work: workers died of it, have another version, or were lost.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(f"{error.name}, which learns on many processes,", "distributed") from error

    if not isinstance(engine, ProceduralMemoryEngine):
        raise InvalidTypeError(f"engine: must be a ProceduralMemoryEngine, not {type(engine).__name__}")
    if client is not None and not isinstance(client, distributed.Client):
        raise InvalidTypeError(f"client: must be a distributed.Client or None, not {type(client).__name__}")
    if client is not None and client.asynchronous:
        raise InvalidInputError("client: must not be asynchronous; call this in a thread with a client of its own")
    if client is not None and client.status in ("closing", "closed"):
        raise InvalidInputError("client: is closed; make a new one with distributed.Client(…)")
    if progress is not None and not callable(progress):
        raise InvalidTypeError(f"progress: must be callable or None, not {type(progress).__name__} ({shown(progress)})")
    if storage_options is not None and not isinstance(storage_options, Mapping):
        raise InvalidTypeError(
            f"storage_options: must be a mapping or None, not {type(storage_options).__name__} "
            f"({shown(storage_options)})"
        )
    options = dict(storage_options or {})
    if engine._privacy.disabled:
        return PartitionsLearned((), {})
    urls = partitions_of(partitions, options)
    with _cluster(client) as found:
        return _Job(engine, found, options, progress).run(urls)


@contextmanager
def _cluster(client: Client | None) -> Iterator[Client]:
    """Give a client, or that of a cluster on this machine, on its loopback only."""
    if client is not None:
        yield client
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=os.cpu_count() or 1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as own,
    ):
        yield own


class _Job:
    """One run."""

    def __init__(
        self,
        engine: ProceduralMemoryEngine,
        client: Client,
        options: dict[str, Any],
        progress: Callable[[str, int, int], object] | None,
    ) -> None:
        self._engine = engine
        self._client = client
        self._options = options
        self._progress = progress
        self._futures: list[Future] = []
        self._about: dict[object, str] = {}
        self._seconds: dict[str, float] = {}

    def run(self, urls: list[str]) -> PartitionsLearned:
        """Learn from the partitions."""
        try:
            with self._timed("read"):
                parts, heads = self._read(urls)
            with self._engine._reading():
                shares = plan(heads, self._is_known, WATCHED)
            with self._timed("learn"):
                partials = self._learn(parts, heads, shares)
            with self._timed("unite"):
                united = self._unite(partials)
        finally:
            self._client.cancel(self._futures)
        with self._timed("take over"):
            if united:
                self._take_over(united)
        with self._timed("ranker"):
            self._engine.stats()  # learns the tail of the log
        self._engine.flush()
        return PartitionsLearned(tuple(map(_report, heads, shares)), self._seconds)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - begin

    def _submit(self, function: Callable[..., Any], *arguments: Any, of: str = "") -> Future:
        # A key of its own: what is read may have changed since another job read it.
        future = self._client.submit(attempt, function, *arguments, key=f"{function.__name__}-{uuid.uuid4().hex}")
        self._futures.append(future)
        self._about[future.key] = f"{function.__name__}{of and f' of partition {of!r}'}"
        return future

    def _done(self, name: str, futures: Sequence[Future]) -> Iterator[Future]:
        """Yield each when it is computed."""
        from distributed import as_completed

        for done, future in enumerate(as_completed(futures), 1):
            if future.status != "finished":
                self._result(future)
            yield future
            if self._progress is not None:
                self._progress(name, done, len(futures))

    def _wait(self, name: str, futures: Sequence[Future]) -> None:
        """Wait until all are computed; what goes wrong unforeseen raises at once."""
        for _ in self._done(name, futures):
            pass

    def _result(self, future: Future) -> Any:
        """Return what a worker computed; raise the error that it returned instead."""
        from distributed import CancelledError, KilledWorker

        try:
            result = future.result()
        except KilledWorker as error:
            raise StorageError(
                f"cluster: each worker that tried {self._about.get(error.task, error.task)} died "
                f"({error.allowed_failures + 1}); nothing was learned. "
                "Give workers more memory, or divide large partitions, and start again"
            ) from error
        except (CancelledError, OSError) as error:
            raise StorageError(f"cluster: the work was not finished ({error}); nothing was learned") from error
        if isinstance(result, Failure):
            raise result.error
        return result

    def _read(self, urls: list[str]) -> tuple[list[Future], list[Head]]:
        engine = self._engine
        parts = [
            self._submit(read_part, url, self._options, engine._privacy, engine._min_commands, of=safe_address(url))
            for url in urls
        ]
        futures = [self._submit(head_of, part) for part in parts]
        found: dict[object, Head] = {future.key: self._result(future) for future in self._done("read", futures)}
        heads = [found[future.key] for future in futures]
        for head in heads:
            if head.version != __version__:
                raise StorageError(
                    f"cluster: a worker has version {head.version} of the package, this process {__version__}; "
                    "install the same one everywhere"
                )
        return parts, heads

    def _is_known(self, name: str, digest: bytes) -> bool:
        known = self._engine._store.find_session(name)
        if known is not None:
            self._engine._check_same(known, digest)
        return known is not None

    def _learn(self, parts: list[Future], heads: list[Head], shares: list[Share]) -> list[Future]:
        with self._engine._writing():
            begins = self._engine._moments([len(head.sessions) for head in heads], TICK)
        several = told_by_several(heads)
        tellings = [
            self._submit(tellings_of, parts[number], number, shares[number].new, begins[number]) for number in several
        ]
        again: dict[int, set[tuple[int, int]]] = (
            self._result(self._submit(told_again_in, *tellings)) if tellings else {}
        )
        partials = [
            self._submit(
                learn_part,
                part,
                head.fingerprint,
                share.new,
                again.get(number, set()),
                share.derived,
                self._engine._min_commands,
                begins[number],
                of=head.url,
            )
            for number, (part, head, share) in enumerate(zip(parts, heads, shares, strict=True))
            if share.new
        ]
        self._wait("learn", partials)
        return partials

    def _unite(self, partials: list[Future]) -> list[Partial]:
        """Unite partial memories, level by level, until two are left: they meet where they are taken over."""
        level, united = partials, []
        while len(level) > 2:
            size = -(-len(level) // max(2, -(-len(level) // _FAN_IN)))
            groups = [level[i : i + size] for i in range(0, len(level), size)]
            level = [group[0] if len(group) == 1 else self._submit(unite_partials, *group) for group in groups]
            united += level
        self._wait("unite", united)
        return [self._result(future) for future in level]

    def _take_over(self, united: list[Partial]) -> None:
        with tempfile.TemporaryDirectory(prefix="procedural-memory-") as folder:
            files = [Path(folder, f"{number}.sqlite") for number in range(len(united))]
            for file, partial in zip(files, united, strict=True):
                file.write_bytes(partial)
            self._engine._absorb(files)


def _report(head: Head, share: Share) -> PartitionReport:
    new = len(share.new)
    return PartitionReport(
        head.url,
        len(head.sessions) + head.short,
        head.commands,
        new,
        len(head.sessions) - new,
        head.short,
        dict(head.skipped),
        tuple(head.problems),
    )
