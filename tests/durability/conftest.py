"""How much is tried, and the library that stands between a process and its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def thorough() -> bool:
    """Whether to try as much as was once promised, or a sample of it: PROCEDURAL_MEMORY_THOROUGH=1."""
    return bool(os.environ.get("PROCEDURAL_MEMORY_THOROUGH"))


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: it is the same to a process, and syncing costs nothing."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built library of `shim.c`; skips the test where it cannot be built."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux"):
        pytest.skip("the library that watches files is for Linux")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the library that watches files")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library
