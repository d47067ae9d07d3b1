"""The OpenAPI document holds: whatever it allows is answered as it says, and nothing makes the server fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import running

pytest.importorskip("schemathesis")
pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

HERE = Path(__file__).parent


def test_every_endpoint_keeps_to_the_document(tmp_path: Path) -> None:
    """All checks and phases of schemathesis against a real server; it may write below one folder only."""
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    options = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical", "--snapshot-dir", str(snapshots)]
    with running(tmp_path, *options, "--no-log-requests") as server:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"),
            "run", f"{server.address}/openapi.json", "--checks", "all", "--no-color", "--max-examples",
            os.environ.get("PROCEDURAL_MEMORY_EXAMPLES", "1"),
            "--seed", os.environ.get("PROCEDURAL_MEMORY_SEED", "1"),  # the same cases each time
            "--exclude-path", "/events",  # a stream never ends: there is nothing to check at its end
        ]  # fmt: skip
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=900)
        assert done.returncode == 0, done.stdout[-6_000:]
        generated, passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout).groups()  # type: ignore[union-attr]
        assert int(generated) == int(passed) > 500
        assert server.end() == 0
    assert "ERROR" not in server.log.read_text()
