"""The metrics under their frozen names. Each server has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("LOADING", "READY", "UNAVAILABLE")
LABELS = ("model", "version", "protocol", "code")
# A small model answers within 100 µs, a large one within a minute.
BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class ModelSample:
    """What a scrape wants to know of one model version."""

    model: str
    version: str
    state: str
    load_seconds: float | None
    fallback_steps: int | None


class _Series(NamedTuple):
    requests: Counter
    total: Histogram
    queue: Histogram
    compute: Histogram


class Metrics:
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self._requests = Counter("ziggurat_requests", "Inference requests answered", LABELS, registry=registry)
        self._total = self._histogram("request", "Seconds from a request's arrival to its answer")
        self._queue = self._histogram("queue", "Seconds a request waited for its turn")
        self._compute = self._histogram("compute", "Seconds the model computed for a request")
        self.inflight = Gauge("ziggurat_inflight_requests", "Requests accepted, not yet answered", registry=registry)
        self.rejected = Counter(
            "ziggurat_rejected", "Requests refused before any work was done", ("reason",), registry=registry
        )
        self._series: dict[tuple[str, str, str, int], _Series] = {}

    def observe(
        self, labels: tuple[str, str, str, int], seconds: float, queue_seconds: float, compute_seconds: float
    ) -> None:
        """Counts one answered request; `labels` are (model, version, protocol, status), of models that exist."""
        series = self._series.get(labels)
        if series is None:
            text = [str(label) for label in labels]
            series = self._series[labels] = _Series(
                self._requests.labels(*text),
                self._total.labels(*text),
                self._queue.labels(*text),
                self._compute.labels(*text),
            )
        series.requests.inc()
        series.total.observe(seconds)
        series.queue.observe(queue_seconds)
        series.compute.observe(compute_seconds)

    def expose(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(cast("CollectorRegistry", _WithoutCreated(self.registry)))

    def _histogram(self, what: str, text: str) -> Histogram:
        return Histogram(f"ziggurat_{what}_duration_seconds", text, LABELS, registry=self.registry, buckets=BUCKETS)


class _WithoutCreated:
    """Leaves out the `_created` series: a second series for each of ours, that no dashboard reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class StateCollector(Collector):
    """Reads the models' and the pools' state when a scrape comes, instead of being told of each change."""

    def __init__(
        self, models: Callable[[], Iterable[ModelSample]], pools: Callable[[], Iterable[dict[str, Any]]]
    ) -> None:
        self._models = models
        self._pools = pools

    def describe(self) -> list[Metric]:
        return []  # spares the registry a collection at registration, when nothing is there yet

    def collect(self) -> Iterator[Metric]:
        yield from self._collect_models()
        yield from self._collect_pools()

    def _collect_models(self) -> Iterator[Metric]:
        labels = ("model", "version")
        state = GaugeMetricFamily("ziggurat_model_state", "1 for the state a model is in", labels=(*labels, "state"))
        load = GaugeMetricFamily("ziggurat_model_load_seconds", "Seconds the last load took", labels=labels)
        fallback = GaugeMetricFamily(
            "ziggurat_plan_fallback_steps", "Steps of the plan that run as a fallback", labels=labels
        )
        for one in self._models():
            for name in STATES:
                state.add_metric((one.model, one.version, name), float(one.state == name))
            if one.load_seconds is not None:
                load.add_metric((one.model, one.version), one.load_seconds)
            if one.fallback_steps is not None:
                fallback.add_metric((one.model, one.version), one.fallback_steps)
        yield from (state, load, fallback)

    def _collect_pools(self) -> Iterator[Metric]:
        allocations = CounterMetricFamily(
            "ziggurat_pool_allocations", "Allocations by whether the pool had memory at hand", labels=("pool", "result")
        )
        ratio = GaugeMetricFamily("ziggurat_pool_hit_ratio", "Share of allocations that were hits", labels=("pool",))
        size = GaugeMetricFamily("ziggurat_pool_bytes", "Bytes of a pool by state", labels=("pool", "state"))
        fragmentation = GaugeMetricFamily(
            "ziggurat_pool_fragmentation_ratio", "Share of idle memory outside the largest free piece", labels=("pool",)
        )
        for pool in self._pools():
            name, hits, misses = str(pool["pool"]), pool["hits"], pool["misses"]
            allocations.add_metric((name, "hit"), hits)
            allocations.add_metric((name, "miss"), misses)
            ratio.add_metric((name,), hits / (hits + misses) if hits + misses else 0.0)
            for state in ("used", "cached", "reserved", "largest_free"):
                size.add_metric((name, state), pool[state])
            fragmentation.add_metric((name,), pool["fragmentation"])
        yield from (allocations, ratio, size, fragmentation)
