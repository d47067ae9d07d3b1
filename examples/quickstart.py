"""Procedural memory in one script: learn, predict, follow a live session, compare, explain, save and load.

Run: ``python examples/quickstart.py``. It needs no network and writes to a temporary folder only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from procedural_memory import Prediction, ProceduralMemoryEngine, StepInfluence
from procedural_memory.samples import load_sessions

PROJECT = "/home/dev/src/infra"
DEPLOYMENT = [
    "terraform fmt",
    "terraform validate",
    "terraform plan -out next.tfplan",
    "terraform apply next.tfplan",
    "curl -fsS https://status.example.com/healthz",
]


def main() -> None:
    """Walk through the engine once."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        learn(engine)
        predict(engine)
        follow(engine)
        compare(engine)
        explain(engine)
        keep(engine)


def deployment(day: int) -> list[dict[str, object]]:
    """Return one session of our own: a command needs its text only, but predictions gain from the rest."""
    start = datetime(2026, 3, day, 9, 0, tzinfo=timezone.utc).timestamp()
    return [
        {"command": command, "exit_code": 0, "cwd": PROJECT, "timestamp": start + 30 * step}
        for step, command in enumerate(DEPLOYMENT)
    ]


def learn(engine: ProceduralMemoryEngine) -> None:
    """Learn the shipped samples in bulk, then sessions of our own."""
    heading("Learn")
    engine.learn_many(load_sessions())
    for day in (25, 26, 27):
        pattern_id = engine.learn_workflow(deployment(day), session_outcome="success")
    engine.flush()  # new commands are embedded in the background; predictions need not wait for it
    assert pattern_id is not None, "five commands are enough to form a pattern"
    pattern = engine.patterns[pattern_id]
    print(engine)
    print(f"new pattern {pattern_id[:8]}: {pattern.command_count} steps, {pattern.success_count} successes,", end=" ")
    print(f"success rate {pattern.success_rate:.0%}, confidence {pattern.confidence:.2f}")


def predict(engine: ProceduralMemoryEngine) -> None:
    """Ask what comes next, given the commands so far."""
    heading("Predict")
    show("git commit", engine.predict_next_action(["git add .", "git commit -m 'Fix rounding'"], top_k=3))
    # With a folder, file names of that project can fill the prediction.
    show("terraform validate", engine.predict_next_action(deployment(30)[:2], top_k=3))


def follow(engine: ProceduralMemoryEngine) -> None:
    """Record the steps of a live session as they happen, and ask in between."""
    heading("Live session")
    with engine.session(cwd="/home/dev/src/orders-api", project="orders-api") as session:
        session.record("git status", exit_code=0)
        session.record("vim src/orders/refunds.py", exit_code=0)
        session.record("uv run pytest -q", exit_code=1, output="FAILED tests/test_refunds.py::test_half_cents")
        show("uv run pytest -q, which failed", session.predict(top_k=3))
        session.record("vim src/orders/refunds.py", exit_code=0)
        show("vim src/orders/refunds.py", session.predict(top_k=3))
        session.record("uv run pytest -q tests/test_refunds.py", exit_code=0)
        pattern_id = session.close("success")
    print(f"closed with success, formed pattern {str(pattern_id)[:8]}")


def compare(engine: ProceduralMemoryEngine) -> None:
    """Find workflows that resemble a sequence of commands, in its order."""
    heading("Similar patterns")
    for found in engine.similar_patterns(["docker compose build", "docker compose up -d", "curl -fsS http://x/y"], k=3):
        steps = " -> ".join(found.pattern.templates[found.start : found.end])
        print(f"{found.similarity:.2f}  {found.pattern_id[:8]}  {steps}")


def explain(engine: ProceduralMemoryEngine) -> None:
    """Ask which steps of a context go together with good and bad endings."""
    heading("Explain the outcome")
    context = ["git status", "vim src/app.ts", "npm run lint", "git stash", "git switch main"]
    explanation = engine.explain_outcome(context, limit=2)
    print(
        f"of all {explanation.sessions} sessions with a known end {explanation.base_rate:.0%} ended well. "
        "Association, not proof of cause:"
    )
    print_influences("better", explanation.raises)
    print_influences("worse", explanation.lowers)
    heading("Predict the outcome")
    for end in ({"command": "npm test", "exit_code": 0}, {"command": "npm test", "exit_code": 1}):
        told = engine.predict_outcome(["git pull", "vim src/app.ts", end])
        print(
            f"npm test gives {end['exit_code']}: ends well with probability {told.probability:.2f} "
            f"({told.low:.2f} to {told.high:.2f})"
        )


def keep(engine: ProceduralMemoryEngine) -> None:
    """Save the memory, load it elsewhere, and get the same answer."""
    heading("Save and load")
    context = deployment(30)[:3]
    before = engine.predict_next_action(context, top_k=1)[0]
    with tempfile.TemporaryDirectory() as folder, ProceduralMemoryEngine(embedder="lexical") as other:
        saved = engine.save(Path(folder) / "memory.pkl")
        sessions = other.load(saved).sessions
        after = other.predict_next_action(context, top_k=1)[0]
        print(f"{saved.name}: {saved.stat().st_size / 1024:.0f} KiB, {sessions} sessions")
    print(f"before: {before.next_command}  ({before.probability:.0%})")
    print(f"after:  {after.next_command}  ({after.probability:.0%})")
    print("the same prediction" if after.next_command == before.next_command else "the predictions differ")


def heading(title: str) -> None:
    """Print a section title."""
    print(f"\n== {title} ==")


def show(after: str, predictions: Iterable[Prediction]) -> None:
    """Print predictions, with the reason of the first."""
    print(f"after: {after}")
    for rank, prediction in enumerate(predictions, 1):
        print(f"  {rank}. {prediction.next_command}  ({prediction.probability:.0%})")
        if rank == 1:
            print(f"     because: {prediction.reason}")


def print_influences(direction: str, influences: Iterable[StepInfluence]) -> None:
    """Print steps with their counts and the interval of the log odds ratio."""
    for step in influences:
        interval = f"[{step.low:+.1f}, {step.high:+.1f}]"
        counts = f"{step.successes} good, {step.failures} bad sessions"
        print(f"  {direction:6}  {step.step}  ({counts}; log odds {step.log_odds:+.1f} {interval})")


if __name__ == "__main__":
    main()
