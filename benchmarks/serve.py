"""What the HTTP service bears, with wrk as the load, and what it costs beyond the call of the engine.

A memory of 10,000 made-up sessions of ten steps is served by ``procedural-memory serve``. wrk asks it on loopback at 1,
8 and 64 connections, for predictions alone and with every tenth request learning a session. Then the same predictions
are asked of an engine in this process and of the service in turns: the difference is the cost of the shim. At last
SIGTERM ends the server in the middle of a mixed load: the memory must hold what was acknowledged.

The load of that comes from threads that note each answer. Load and server share the machine.

Run: python benchmarks/serve.py [--sessions 10000] [--seconds 10] [--write]     (needs wrk: apt-get install wrk)
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from speed.workload import habits

from procedural_memory import ProceduralMemoryEngine

HERE = Path(__file__).parent
CONNECTIONS = (1, 8, 64)
HEADER = "| load | workers | connections | requests/s | p50 ms | p99 ms | errors |"


@contextmanager
def served(path: Path, workers: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the server; give its process and its address."""
    log = path.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "procedural_memory", "serve", "--path", str(path), "--embedder", "lexical",
             "--port", "0", "--workers", str(workers), "--no-log-requests"],
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        while not (found := re.search(r"http://(\S+)", log.read_text())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield process, found[1]
    finally:
        process.terminate()
        process.wait()


def wrk(address: str, connections: int, seconds: int, folder: Path, load: str) -> dict[str, Any]:
    """Ask the server for some seconds."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s"]
    files = [str(folder / "predict.jsonl"), str(folder / "learn.jsonl"), load]
    done = subprocess.run(
        [*command, "-s", str(HERE / "serve.lua"), f"http://{address}", "--", *files], capture_output=True, text=True
    )
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(done.stdout + done.stderr)
    result: dict[str, Any] = json.loads(found[1])
    return result


def warm(address: str, bodies: list[str], times: int) -> None:
    """Let every worker open its memory and fill its caches."""
    for body in islice(bodies, times):
        ask(http.client.HTTPConnection(address), "/predict", body)


def ask(connection: http.client.HTTPConnection, path: str, body: str) -> None:
    """Ask, and read the answer."""
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    if answer.status not in (200, 503):  # 503 while it opens its memory
        raise SystemExit(f"the server answered {answer.status}")


def cost(address: str, path: Path, bodies: list[str]) -> tuple[float, float, float]:
    """Return p50 of a call of the engine and of a request, in turns, and of the smallest request, in ms."""
    connection = http.client.HTTPConnection(address)
    taken = []
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        for number, body in enumerate(bodies):
            context = json.loads(body)["current_context"]
            begin = time.perf_counter()
            engine.predict_next_action(context, top_k=3)
            middle = time.perf_counter()
            ask(connection, "/predict", body)
            end = time.perf_counter()
            connection.request("GET", "/patterns/none")
            connection.getresponse().read()
            if number >= len(bodies) // 5:  # the first ones fill caches
                taken.append((middle - begin, end - middle, time.perf_counter() - end))
    p50 = np.median(np.array(taken), axis=0) * 1e3
    return float(p50[0]), float(p50[1]), float(p50[2])


def killed(path: Path, folder: Path, workers: int) -> str:
    """End the server in mid-load; return what became of what was acknowledged."""
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        before = engine.stats()["session_count"]
    predicts, learns = ((folder / f"{name}.jsonl").read_text().splitlines() for name in ("predict", "learn"))
    with served(path, workers) as (process, address):
        warm(address, predicts, 10)
        answered, unanswered = [], []

        def load(first: int) -> None:
            connection = http.client.HTTPConnection(address, timeout=60)
            for number in count(first, 64):
                name = f"{workers} workers, session {number}"
                learning = number % 10 == 0
                body = {**json.loads(learns[number % len(learns)]), "session_id": name}
                try:
                    ask(
                        connection,
                        *(("/learn", json.dumps(body)) if learning else ("/predict", predicts[number % 500])),
                    )
                except (OSError, http.client.HTTPException):
                    unanswered.extend([name] if learning else [])
                    return
                answered.extend([name] if learning else [])

        threads = [threading.Thread(target=load, args=(first,)) for first in range(64)]
        for thread in threads:
            thread.start()
        time.sleep(5)
        process.terminate()
        status = process.wait(120)
        for thread in threads:
            thread.join()
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        kept = engine.stats()["session_count"] - before
        lost = [name for name in answered if not engine.forget(session=name, dry_run=True).steps]
    if lost or status:
        raise SystemExit(f"LOST: {len(lost)} of {len(answered)} sessions acknowledged; exit status {status}")
    return (
        f"SIGTERM in the middle of the mixed load at 64 connections, {workers} worker(s): {len(answered)} sessions "
        f"acknowledged, {len(lost)} of them lost; {kept - len(answered)} kept without an answer, exit status {status}."
    )


def measure(sessions: int, seconds: int, folder: Path) -> list[str]:
    """Return the document."""
    path = folder / "memory.sqlite3"
    made = list(islice(habits(), sessions + 500))
    with ProceduralMemoryEngine(path=path, embedder="lexical") as engine:
        for first in range(0, sessions, 1_000):
            engine.learn_many(made[first : min(first + 1_000, sessions)])
        engine.flush()
    bodies = []
    learns = []
    for number, session in enumerate(made[sessions:]):
        lines = [item["command"] if isinstance(item, dict) else item for item in session["commands"]]
        bodies.append(json.dumps({"current_context": lines[: 2 + number % 6], "top_k": 3}))
        learns.append(json.dumps({"session_commands": [{"command": line} for line in lines]}))
    (folder / "predict.jsonl").write_text("\n".join(bodies))
    (folder / "learn.jsonl").write_text("\n".join(learns))
    rows = []
    for workers in (1, 2):
        with served(path, workers) as (_, address):
            warm(address, bodies, 100 * workers)
            if workers == 1:
                engine_ms, request_ms, small_ms = cost(address, path, bodies)
            for load in ("predict", "mix"):
                for connections in CONNECTIONS:
                    result = wrk(address, connections, seconds, folder, load)
                    name = "/predict" if load == "predict" else "90 % /predict, 10 % /learn"
                    rows.append(
                        f"| {name} | {workers} | {connections} | {result['requests'] / result['seconds']:.0f} "
                        f"| {result['p50']:.1f} | {result['p99']:.1f} | {result['refused'] + result['broken']} |"
                    )
                    print(rows[-1], flush=True)
    return [
        HEADER,
        "|---" * 7 + "|",
        *rows,
        "",
        f"Cost of the shim: p50 of `/predict` {request_ms:.2f} ms, of the same call of an engine in this process, in "
        f"turns, {engine_ms:.2f} ms: {request_ms - engine_ms:.2f} ms more ({request_ms / engine_ms:.2f}x). A "
        f"request that reads one row takes {small_ms:.2f} ms.",
        "",
        *(killed(path, folder, workers) + "\n" for workers in (1, 2)),
    ]


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(options.sessions, options.seconds, Path(folder))
    print("\n".join(lines))
    if options.write:
        told = (
            f"Written by `python benchmarks/serve.py --write` on {date.today()} "
            f"(Python {platform.python_version()}, {os.cpu_count()} cores, which wrk and the server share): "
            f"{options.sessions} sessions of 10 steps learned; "
            f"{options.seconds} s for each row, durability full, lexical embedder, top_k 3."
        )
        text = "\n".join(["# What the HTTP service bears, and what it costs", "", told, "", *lines]).rstrip() + "\n"
        (HERE / "SERVE.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
