"""Procedural memory as the long-term store of a LangGraph agent.

`ProceduralStore` is a `langgraph.store.base.BaseStore`: a graph takes it as ``compile(store=…)``, a LangChain agent as
``create_agent(…, store=…)``. It keeps what is put as any store does, and learns what is a session of commands:

- ``store.put(("workflows", project), key, {"commands": […], "outcome": "success"})`` keeps and learns a session; put
  again it is replaced, and ``store.delete(…)`` forgets it,
- ``store.get(…)`` returns it, ``store.search(("workflows",), query="command so far\\nnewest command")`` the sessions
  below a prefix, those first whose workflow is like that of the query,
- ``store.next_steps(("workflows", project), […])`` predicts what comes next.

Run: ``pip install langgraph && python examples/langgraph_memory.py``. It runs harmless commands in a temporary folder
and needs no network and no model.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, Op, PutOp, Result, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore
from tool_loop import LEAST, learn_from_a_person, project, run

from procedural_memory import (
    InvalidInputError,
    Prediction,
    ProceduralMemoryEngine,
    SessionConflictError,
    normalize,
    redact,
)

Namespace = tuple[str, ...]


class ProceduralStore(BaseStore):
    """A store that learns the sessions that are put into it.

    Where the last part of a namespace is an absolute path, it is the folder in which the commands ran.

    Parameters
    ----------
    engine : ProceduralMemoryEngine
        What is learned; it belongs to the caller.
    items : BaseStore, optional
        What keeps the items themselves, for instance a ``SqliteStore``; in memory unless given.
    """

    def __init__(self, engine: ProceduralMemoryEngine, items: BaseStore | None = None) -> None:
        self.engine = engine
        self.items = items if items is not None else InMemoryStore()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do what `put`, `get`, `search`, `delete` and `list_namespaces` ask for."""
        every = list(ops)
        newest = {(op.namespace, op.key): op for op in every if isinstance(op, PutOp)}
        for put in newest.values():  # first, so that no item is kept whose session breaks a rule
            self._learn(put)
        plain = [self._all(op) if isinstance(op, SearchOp) and op.query else op for op in every]
        results = self.items.batch(plain)
        return [
            self._ranked(op, result) if isinstance(op, SearchOp) and op.query else result
            for op, result in zip(every, results, strict=True)
        ]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.batch, list(ops))

    def next_steps(
        self, namespace: Namespace, commands: Sequence[str | Mapping[str, Any]], limit: int = 3
    ) -> list[Prediction]:
        """Predict what comes after the commands of a session so far."""
        folder = _folder(namespace)
        steps = [{"cwd": folder, **_step(command)} for command in commands]
        return self.engine.predict_next_action(steps, limit, cwd=folder)

    def _learn(self, op: PutOp) -> None:
        name = _name(op.namespace, op.key)
        steps = _steps(op.value)
        if not steps or op.value is None:
            self.engine.forget(session=name)  # which may be known from before
            return
        given: dict[str, Any] = {
            "session_commands": [{"cwd": _folder(op.namespace), "actor": "agent", **_step(step)} for step in steps],
            "session_outcome": op.value.get("outcome"),
            "session_id": name,
            "source": "langgraph",
        }
        try:
            learned = self.engine.learn_workflow(**given)
        except SessionConflictError:  # it replaces what was put before
            self.engine.forget(session=name)
            learned = self.engine.learn_workflow(**given)
        if learned is None:  # too short to be learned, and perhaps longer before
            self.engine.forget(session=name)

    @staticmethod
    def _all(op: SearchOp) -> SearchOp:
        return op._replace(query=None, offset=0, limit=2**31 - 1)

    def _ranked(self, op: SearchOp, result: Result) -> Result:
        """Return the items that were found, those first whose workflow is like that of the query."""
        assert isinstance(result, list)
        lines = [line for line in (op.query or "").splitlines() if line.strip()]
        try:
            found = self.engine.similar_patterns(lines, k=200, threshold=0.0)
        except InvalidInputError:  # a query is any text
            found = []
        likeness = {tuple(one.pattern.templates): one.similarity for one in found}
        items = [
            SearchItem(
                item.namespace, item.key, item.value, item.created_at, item.updated_at, _likeness(item, likeness)
            )
            for item in result
            if isinstance(item, SearchItem)
        ]
        items.sort(key=lambda item: -(item.score or 0.0))
        return items[op.offset : op.offset + op.limit]


def _name(namespace: Namespace, key: str) -> str:
    return f"langgraph:{json.dumps([*namespace, key])}"


def _folder(namespace: Namespace) -> str | None:
    return namespace[-1] if namespace and os.path.isabs(namespace[-1]) else None


def _steps(value: Mapping[str, Any] | None) -> list[Any]:
    """Return the commands of an item, none where it is something else than a session."""
    commands = (value or {}).get("commands")
    return commands if isinstance(commands, list) else []


def _step(command: str | Mapping[str, Any]) -> dict[str, Any]:
    return dict(command) if isinstance(command, Mapping) else {"command": command}  # the engine says what is wrong


def _likeness(item: SearchItem, likeness: Mapping[tuple[str, ...], float]) -> float | None:
    return likeness.get(tuple(normalize(redact(_step(step)["command"])) for step in _steps(item.value)))


class State(TypedDict):
    """What the graph hands on."""

    folder: str
    ran: list[dict[str, Any]]
    next: str | None


def recall(state: State, runtime: Runtime[None]) -> dict[str, Any]:
    """Choose what to do next: where a model belongs that reads what was recalled, the likeliest safe line, once."""
    assert isinstance(runtime.store, ProceduralStore)
    found = runtime.store.next_steps(("workflows", state["folder"]), state["ran"])
    ran = {step["command"] for step in state["ran"]}
    safe = [one for one in found if one.runnable and not one.destructive and one.probability >= LEAST]
    return {"next": next((one.next_command for one in safe if one.next_command not in ran), None)}


def act(state: State) -> dict[str, Any]:
    """Run it."""
    command = state["next"] or ""
    exit_code, _ = run(command, state["folder"])
    return {"ran": [*state["ran"], {"command": command, "exit_code": exit_code}]}


def remember(state: State, runtime: Runtime[None]) -> dict[str, Any]:
    """Learn the session."""
    assert runtime.store is not None
    outcome = "success" if all(step["exit_code"] == 0 for step in state["ran"]) else "failure"
    runtime.store.put(("workflows", state["folder"]), "agent session 1", {"commands": state["ran"], "outcome": outcome})
    return {}


def main() -> None:
    """Let an agent do what a person did before it."""
    graph = StateGraph(State)
    graph.add_node("recall", recall)
    graph.add_node("act", act)
    graph.add_node("remember", remember)
    graph.add_edge(START, "recall")
    graph.add_conditional_edges("recall", lambda state: "act" if state["next"] else "remember", ["act", "remember"])
    graph.add_edge("act", "recall")
    graph.add_edge("remember", END)
    with tempfile.TemporaryDirectory() as home, ProceduralMemoryEngine(embedder="lexical") as engine:
        folder = project(Path(home, "project"))
        learn_from_a_person(engine, folder)
        store = ProceduralStore(engine)
        end = graph.compile(store=store).invoke({"folder": folder, "ran": [], "next": None})
        for step in end["ran"]:
            print(f"{'ok  ' if step['exit_code'] == 0 else 'fail'} {step['command']}")
        (pattern,) = engine.patterns.values()
        found = store.search(("workflows",), query="./configure\nmake build")
        print(f"kept: {found[0].key}, like the query by {found[0].score or 0:.2f}")
        print(f"{pattern.success_count} of {pattern.success_count + pattern.failure_count} sessions ended well")


if __name__ == "__main__":
    main()
