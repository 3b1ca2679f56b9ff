"""What Prometheus reads of a server: requests, times, batches, the queue, and what was pruned."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contextpruner.results.result import Result

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests, by route and status.", "route", "status")
        self._documents = self._counter("documents", "Documents that were pruned.")
        self._tokens = self._counter("tokens", "Tokens before pruning, and what stayed.", "stage")
        name = "contextpruner_request_seconds"
        self._seconds = Histogram(name, "Time of a request.", ["route"], registry=self._registry, buckets=SECONDS)
        name = "contextpruner_batch_requests"
        self._batches = Histogram(name, "Requests labelled together.", registry=self._registry, buckets=BATCHES)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"contextpruner_{name}", description, labels, registry=self._registry)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"contextpruner_{name}", description, registry=self._registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, n_requests: int) -> None:
        """A batch that is labelled."""
        self._batches.observe(n_requests)

    def pruned(self, result: Result) -> None:
        """What came of a question."""
        self._documents.inc(len(result.documents))
        self._tokens.labels("before").inc(result.n_tokens_before)
        self._tokens.labels("after").inc(result.n_tokens_after)

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)
