"""Figures for Prometheus: what was asked and how long it took, and how much the memory holds."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = {
    "pattern_count": "Patterns",
    "session_count": "Sessions",
    "command_count": "Commands",
    "waiting_steps": "Steps of hooks that wait to be taken in",
    "unreadable_steps": "Steps of hooks that could not be read",
    "graph_node_count": "Templates",
    "graph_edge_count": "Transitions",
    "total_successes": "Sessions that ended in success",
    "total_failures": "Sessions that ended in failure",
}


class Metrics:
    """The figures of one application, in a registry of its own; those of all workers where there are several."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "procedural_memory_requests", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "procedural_memory_request_seconds", "Time to the end of an answer", ("route",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method, route, status).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self, stats: dict[str, Any] | None, calls: int) -> bytes:
        """Return everything in the text format; without the sizes where the memory did not tell them."""
        now = CollectorRegistry()
        Gauge("procedural_memory_calls_waiting", "Calls of the engine that wait or run", registry=now).set(calls)
        for name, text in _SIZES.items() if stats else ():
            Gauge(f"procedural_memory_{name}", text, registry=now).set(stats[name])  # type: ignore[index]
        return b"".join(generate_latest(registry) for registry in (self._counted(), now))

    def _counted(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return shared
