"""Procedural memory as the long-term store of a LangGraph agent.

`ProceduralStore` is a `langgraph.store.base.BaseStore`: a graph takes it as ``compile(store=…)``, a LangChain agent as
``create_agent(…, store=…)``:

- ``store.put(("workflows", project), session_id, {"commands": […], "outcome": "success"})`` learns a session,
- ``store.search(("workflows", project), query="command so far\\nnewest command")`` predicts what comes next,
- ``store.get(("workflows", project), pattern_id)`` returns a learned workflow,
- ``store.delete(("workflows", project), session_id)`` forgets a session.

Run: ``pip install langgraph && python examples/langgraph_memory.py``. It runs harmless commands in a temporary folder
and needs no network and no model.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, PutOp, Result, SearchItem, SearchOp
from tool_loop import LEAST, learn_from_a_person, project, run

from procedural_memory import Prediction, ProceduralMemoryEngine


class ProceduralStore(BaseStore):
    """A store whose items are workflows; the last part of a namespace is the folder of the project.

    Parameters
    ----------
    engine : ProceduralMemoryEngine
        It belongs to the caller.
    """

    def __init__(self, engine: ProceduralMemoryEngine) -> None:
        self.engine = engine
        self._namespaces: set[tuple[str, ...]] = set()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do what `put`, `get`, `search`, `delete` and `list_namespaces` ask for."""
        return [self._do(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _do(self, op: Op) -> Result:
        if isinstance(op, PutOp):
            self._put(op)
            return None
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, GetOp):
            return self._get(op)
        assert isinstance(op, ListNamespacesOp)
        return sorted(self._namespaces)[op.offset : op.offset + op.limit]

    def _put(self, op: PutOp) -> None:
        if op.value is None:
            self.engine.forget(session=op.key)
            return
        steps = [{"command": step} if isinstance(step, str) else step for step in op.value["commands"]]
        self.engine.learn_workflow(
            [{"cwd": op.namespace[-1], "actor": "agent", **step} for step in steps],
            session_outcome=op.value.get("outcome"),
            session_id=op.key,
            source="langgraph",
        )
        self._namespaces.add(op.namespace)

    def _get(self, op: GetOp) -> Item | None:
        found = self.engine.patterns.get(op.key)
        if found is None:
            return None
        value = {"commands": list(found.command_sequence), "confidence": found.confidence}
        seen = datetime.fromtimestamp(found.last_seen, timezone.utc)
        return Item(value=value, key=op.key, namespace=op.namespace, created_at=seen, updated_at=seen)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        folder = op.namespace_prefix[-1]
        context = [{"command": line, "cwd": folder} for line in (op.query or "").splitlines() if line.strip()]
        found = self.engine.predict_next_action(context, op.offset + op.limit, cwd=folder)
        now = datetime.now(timezone.utc)
        return [
            SearchItem(op.namespace_prefix, one.template, _value(one), now, now, score=one.probability)
            for one in found[op.offset :]
        ]


def _value(one: Prediction) -> dict[str, Any]:
    return {
        "command": one.next_command,
        "reason": one.reason,
        "confidence": one.confidence,
        "runnable": one.runnable,
        "destructive": one.destructive,
    }


class State(TypedDict):
    """What the graph hands on."""

    folder: str
    ran: list[dict[str, Any]]
    next: str | None


def recall(state: State, runtime: Runtime[None]) -> dict[str, Any]:
    """Choose what to do next: where a model belongs that reads what was recalled, the likeliest safe line."""
    assert runtime.store is not None
    so_far = "\n".join(step["command"] for step in state["ran"])
    found = runtime.store.search(("workflows", state["folder"]), query=so_far, limit=3)
    safe = [
        one for one in found if one.value["runnable"] and not one.value["destructive"] and (one.score or 0) >= LEAST
    ]
    return {"next": safe[0].value["command"] if safe and len(state["ran"]) < 10 else None}


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
        found = store.get(("workflows", folder), pattern.pattern_id)
        assert found is not None
        print(f"learned: {' -> '.join(found.value['commands'])}, confidence {found.value['confidence']:.2f}")
        print(f"{pattern.success_count} of {pattern.success_count + pattern.failure_count} sessions ended well")


if __name__ == "__main__":
    main()
