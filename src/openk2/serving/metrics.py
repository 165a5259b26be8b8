"""GET /metrics: what Prometheus reads. Counts of the engine come from the engine itself."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from openk2.inference.engine_process import EngineProcess

__all__ = ["Metrics", "RequestCounter"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SECONDS_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)

# Field of the engine's statistics -> what it counts.
GAUGES = {
    "running": "sequences that are being generated",
    "waiting": "sequences that wait for a lane",
    "blocks_used": "blocks of the latent cache in use",
    "blocks_total": "blocks of the latent cache",
}
COUNTERS = {
    "prompt_tokens": "tokens of prompts",
    "cached_tokens": "tokens of prompts that were in the cache already",
    "generated_tokens": "tokens drawn",
    "finished": "sequences that came to their end",
    "aborted": "sequences that were aborted",
    "steps": "steps of the engine",
}


class Metrics:
    """One server's figures; `open_requests` says how many it is working on."""

    def __init__(self, engine: "EngineProcess", open_requests: Callable[[], int]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_EngineFigures(engine, open_requests))
        self.requests = Counter(
            "k2_http_requests", "answers", ("route", "code"), registry=self._registry
        )
        self.time_to_first_token = Histogram(
            "k2_time_to_first_token_seconds",
            "from a request's arrival to a sequence's first token",
            registry=self._registry,
            buckets=SECONDS,
        )
        self.time_per_token = Histogram(
            "k2_time_per_output_token_seconds",
            "mean of a sequence, after its first token",
            registry=self._registry,
            buckets=SECONDS_PER_TOKEN,
        )

    def text(self) -> bytes:
        """Prometheus' exposition format."""
        return generate_latest(self._registry)


class _EngineFigures(Collector):
    def __init__(self, engine: "EngineProcess", open_requests: Callable[[], int]) -> None:
        self._engine, self._open_requests = engine, open_requests

    def collect(self) -> Iterator[Metric]:
        statistics = self._engine.statistics()
        for field, help in GAUGES.items():
            yield GaugeMetricFamily(f"k2_{field}", help, value=getattr(statistics, field))
        for field, help in COUNTERS.items():
            yield CounterMetricFamily(f"k2_{field}", help, value=getattr(statistics, field))
        yield GaugeMetricFamily(
            "k2_open_requests", "requests being answered", value=self._open_requests()
        )


class RequestCounter:
    """ASGI: counts every answer by route and status, whoever gave it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = 499  # as nginx logs a client that went away before the answer

        async def observed(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            # The path itself is the client's text: as a label it would grow without bound.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(code)).inc()
