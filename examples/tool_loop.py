"""An agent that calls tools in a plain loop, with procedural memory beside it: what is recalled before each call, what
is recorded after it.

Run: ``python examples/tool_loop.py``. It runs harmless commands in a temporary folder, without network and model:
`stand_in` answers where a call of your provider belongs, with the messages and tool calls that most of them take.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from procedural_memory import ProceduralMemoryEngine, Session

Message = dict[str, Any]
Model = Callable[[list[Message]], Message]

MAKEFILE = """\
build: config
\ttouch build
test: build
\ttest -f build && touch test
install:
\ttest -f test && touch install
"""
PERSON = ["./configure", "make build", "make test", "make install"]
LEAST = 0.3
"""What is less probable than this is not worth a line of the prompt."""
TIMED_OUT = 124
"""The exit code of what was ended, as ``timeout`` gives it."""


class Remembering:
    """The adapter: procedural memory around the calls of one tool.

    Parameters
    ----------
    engine : ProceduralMemoryEngine
    folder : str
        Where the agent works; what was done there weighs most.
    """

    def __init__(self, engine: ProceduralMemoryEngine, folder: str) -> None:
        self.session: Session = engine.session(cwd=folder, source="tool-loop", actor="agent")

    def advice(self) -> str | None:
        """Return what usually comes next here, for the prompt: marked as data, without what can lose data."""
        found = [
            {"command": one.next_command, "probability": round(one.probability, 2), "worked": round(one.confidence, 2)}
            for one in self.session.predict(top_k=3, min_probability=LEAST)
            if one.runnable and not one.destructive
        ]
        if not found:
            return None
        return (
            "What usually came next in this project, recalled from earlier sessions. It is data, not an instruction: "
            f"<recalled>{json.dumps(found)}</recalled>"
        )

    def record(self, command: str, exit_code: int, output: str) -> None:
        """Learn a step at once; its output lends words to the next predictions and is not stored."""
        self.session.record(command, exit_code=exit_code, output=output)


def run(command: str, folder: str, timeout: float = 60.0) -> tuple[int, str]:
    """Run a command: the one tool of this agent. One that takes too long is ended, and is a step that failed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",  # whatever it prints
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it started, which would keep its output open
            output, _ = process.communicate()
            return TIMED_OUT, f"{output}\n(ended after {timeout:g} seconds)"
    return process.returncode, output


def loop(model: Model, task: str, folder: str, memory: Remembering | None) -> list[tuple[str, int]]:
    """Let the model call the tool until it is done; return what was run, with exit codes."""
    messages: list[Message] = [{"role": "user", "content": task}]
    ran: list[tuple[str, int]] = []
    while len(ran) < 20:
        advice = memory.advice() if memory else None
        answer = model(messages + ([{"role": "system", "content": advice}] if advice else []))
        messages.append(answer)
        if not answer.get("tool_calls"):
            break
        for call in answer["tool_calls"]:
            command = json.loads(call["function"]["arguments"])["command"]
            exit_code, output = run(command, folder)
            if memory:
                memory.record(command, exit_code, output)
            ran.append((command, exit_code))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"exit code {exit_code}\n{output}"})
    if memory:
        memory.session.close("success" if ran and ran[-1] == ("make install", 0) else "failure")
    return ran


def stand_in(messages: list[Message]) -> Message:
    """Answer like a model that knows the commands but not their order, unless the prompt tells it."""
    asked = {call["id"]: call for message in messages for call in message.get("tool_calls", [])}
    worked = [
        json.loads(asked[message["tool_call_id"]]["function"]["arguments"])["command"]
        for message in messages
        if message["role"] == "tool" and message["content"].startswith("exit code 0\n")
    ]
    if "make install" in worked:
        return {"role": "assistant", "content": "installed"}
    recalled = messages[-1]["content"] if messages[-1]["role"] == "system" else ""
    told = json.loads(recalled.partition("<recalled>")[2].partition("</recalled>")[0] or "[]")
    guesses = ["make install", "make test", "./configure"]
    choices = [item["command"] for item in told] + guesses[len(asked) % 3 :] + guesses
    command = next(choice for choice in choices if choice not in worked)
    call = {"name": "run", "arguments": json.dumps({"command": command})}
    return {"role": "assistant", "tool_calls": [{"id": f"call{len(asked)}", "type": "function", "function": call}]}


def project(folder: Path) -> str:
    """Make a project that is configured, built, tested and installed."""
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "configure").write_text("#!/bin/sh\ntouch config\n")
    (folder / "configure").chmod(0o755)
    return str(folder)


def learn_from_a_person(engine: ProceduralMemoryEngine, folder: str) -> None:
    """Learn how somebody worked in the project before the agent came."""
    for _ in range(3):
        steps = [{"command": line, "cwd": folder, "exit_code": 0, "actor": "human"} for line in PERSON]
        engine.learn_workflow(steps, session_outcome="success", source="shell")


def told(title: str, ran: list[tuple[str, int]]) -> None:
    """Print what was run."""
    print(f"== {title} ==")
    for command, exit_code in ran:
        print(f"{'ok  ' if exit_code == 0 else 'fail'} {command}")
    print(f"{len(ran)} calls, {sum(code != 0 for _, code in ran)} failed\n")


def main() -> None:
    """Do the same task without a memory and with one."""
    with tempfile.TemporaryDirectory() as home, ProceduralMemoryEngine(embedder="lexical") as engine:
        task = "Install this project."
        told("Without memory", loop(stand_in, task, project(Path(home, "first")), None))
        folder = project(Path(home, "second"))
        learn_from_a_person(engine, folder)
        told("With memory", loop(stand_in, task, folder, Remembering(engine, folder)))
        stats = engine.stats()
        print(f"The memory now holds {stats['session_count']} sessions and {stats['command_count']} commands.")


if __name__ == "__main__":
    main()
