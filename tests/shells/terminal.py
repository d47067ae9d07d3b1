"""A real shell in a real terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from procedural_memory import Command, ProceduralMemoryEngine

AUTOSUGGESTIONS = Path("/usr/share/zsh-autosuggestions/zsh-autosuggestions.zsh")
START_UP = {"zsh": ".zshrc", "bash": ".bashrc", "fish": ".config/fish/config.fish"}
PROMPT = "ready>"


class Terminal:
    """A shell under tmux, with a home of its own."""

    def __init__(self, shell: str, home: Path, *options: str, before: str = "", after: str = "") -> None:
        self.shell = shell
        self.home = home
        self.store = home / "memory.sqlite3"
        self._name = f"pm-{os.getpid()}-{home.name}-{shell}"
        init = (
            f"{shlex.quote(sys.executable)} -m procedural_memory init {shell} --path {self.store} {' '.join(options)}"
        )
        prompts = {
            "zsh": f"PS1='{PROMPT} '",
            "bash": f"PS1='{PROMPT} '",
            "fish": f"function fish_prompt; echo -n '{PROMPT} '; end",
        }
        load = f"{init} | source" if shell == "fish" else f'eval "$({init})"'
        file = home / START_UP[shell]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "\n".join([prompts[shell], "function fish_greeting; end" if shell == "fish" else "", before, load, after])
        )
        command = {"zsh": "zsh -d -i", "bash": "bash --noprofile -i", "fish": "fish -i"}[shell]
        environment = {
            "HOME": str(home),
            "ZDOTDIR": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "HISTFILE": str(home / "history"),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }
        words = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *command.split()]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "30", "-c", str(home), shlex.join(words))
        self.wait(lambda screen: PROMPT in screen)

    def tmux(self, *arguments: str) -> str:
        """Tell tmux something."""
        done = subprocess.run(["tmux", "-L", self._name, *arguments], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self) -> str:
        """Return what is seen."""
        return self.tmux("capture-pane", "-p").rstrip()

    def line(self) -> str:
        """Return what stands behind the newest prompt."""
        return self.screen().rpartition(PROMPT)[2].partition("\n")[0].strip()

    def wait(self, condition: Callable[[str], bool], seconds: float = 20.0) -> str:
        """Wait until the screen is as it should be."""
        end = time.monotonic() + seconds
        while not condition(screen := self.screen()):
            assert time.monotonic() < end, f"never:\n{screen}"
            time.sleep(0.05)
        return screen

    def type(self, text: str) -> None:
        """Type letters."""
        self.tmux("send-keys", "-l", text)

    def paste(self, text: str) -> None:
        """Paste a text, as a terminal tells a shell of it."""
        file = self.home / "pasted"
        file.write_text(text)
        self.tmux("load-buffer", str(file))
        self.tmux("paste-buffer", "-p", "-d")

    def key(self, name: str) -> None:
        """Press a key, as tmux names it."""
        self.tmux("send-keys", name)

    def run(self, line: str) -> None:
        """Type a command and wait for the next prompt."""
        before = self.screen().count(PROMPT)
        self.type(line)
        self.key("Enter")
        if before < 15:
            # What is suggested may stand behind the prompt already.
            self.wait(lambda screen: screen.count(PROMPT) > before and screen.split("\n")[-1].startswith(PROMPT))
        else:
            time.sleep(0.5)

    def recorded(self, count: int, seconds: float = 20.0) -> list[Command]:
        """Return the steps of the memory in the order of its log, when there are so many."""
        end = time.monotonic() + seconds
        while True:
            with ProceduralMemoryEngine(path=self.store, embedder="lexical") as engine:
                _, steps = engine.learned_since(0, 1_000)
            if len(steps) >= count or time.monotonic() > end:
                return steps
            time.sleep(0.2)

    def close(self) -> None:
        """End the shell and what it started."""
        subprocess.run(["tmux", "-L", self._name, "kill-server"], capture_output=True, timeout=20)
        subprocess.run(["pkill", "-f", f"shells.answering --store {self.store}"], capture_output=True, timeout=20)


@contextmanager
def terminal(shell: str, home: Path, *options: str, before: str = "", after: str = "") -> Iterator[Terminal]:
    """Give a shell in a terminal; skips where there is none."""
    for program in ("tmux", shell):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    opened = Terminal(shell, home, *options, before=before, after=after)
    try:
        yield opened
    finally:
        opened.close()
