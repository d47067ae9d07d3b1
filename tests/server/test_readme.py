"""The README's curl lines, as they stand, against a real server; each answer is compared with what is printed there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from running import running

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
README = Path(__file__).parents[2] / "README.md"


def _examples() -> tuple[str, list[tuple[str, Any]]]:
    block = README.read_text(encoding="utf-8").split("<!-- curl -->\n```bash\n")[1].split("```")[0]
    first, *lines = block.strip().splitlines()
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    return first, [(line, json.loads(answer.removeprefix("# "))) for line, answer in pairs]


def _check(found: Any, printed: Any, place: str = "answer") -> None:
    """Compare; "…" stands for anything, as a key for further fields."""
    if printed == "…":
        return
    if isinstance(printed, dict):
        assert isinstance(found, dict), place
        names = set(printed) - {"…"}
        assert names <= set(found) if "…" in printed else names == set(found), place
        for name in names:
            _check(found[name], printed[name], f"{place}.{name}")
    elif isinstance(printed, list):
        assert len(found) == len(printed), place
        for number, pair in enumerate(zip(found, printed, strict=True)):
            _check(*pair, f"{place}[{number}]")
    else:
        assert found == printed, place


def test_every_curl_line_answers_as_printed(tmp_path: Path) -> None:
    """In their order, from an empty memory."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    first, examples = _examples()
    assert len(examples) >= 15
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    options = ["--path", str(tmp_path / "m.sqlite3"), "--embedder", "lexical", "--snapshot-dir", str(temporary)]
    with running(tmp_path, *options) as server:
        port = server.address.rsplit(":", 1)[1]
        for line, printed in examples:
            # Another port and folder than a user would have, so that nobody's are touched.
            asked = line.replace("localhost:8002", f"localhost:{port}").replace("/tmp/", f"{temporary}/")
            command = asked.replace("curl -s", "curl -s --retry 9 --retry-all-errors --retry-delay 1")
            done = subprocess.run(
                ["bash", "-c", f"{first}\n{command}"],
                capture_output=True,
                text=True,
                timeout=60,
                env=os.environ | {"no_proxy": "*"},
            )
            answer = done.stdout.replace(str(temporary), "/tmp")
            _check(json.loads(answer), printed, re.sub(r" -d .*", "", line))
