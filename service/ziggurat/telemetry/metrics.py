"""The metrics under their frozen names. Each server has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ziggurat.telemetry.histogram import Histogram, Level
from ziggurat.telemetry.language import LanguageMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("LOADING", "READY", "UNLOADING", "UNAVAILABLE")
LABELS = ("model", "version", "protocol", "code")
# A small model answers within 100 µs, a large one within a minute.
BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
DURATIONS = (
    ("total", "request", "Seconds from a request's arrival to its answer"),
    ("queue", "queue", "Seconds a request waited for its turn"),
    ("compute", "compute", "Seconds the model computed for a request"),
)


@dataclass(frozen=True, slots=True)
class ModelSample:
    """What a scrape wants to know of one model version."""

    model: str
    version: str
    state: str
    load_seconds: float | None
    fallback_steps: int | None


class _Series:
    """One combination of labels."""

    __slots__ = ("compute", "labels", "queue", "requests", "total")

    def __init__(self, labels: tuple[str, str, str, int]) -> None:
        self.labels = [str(label) for label in labels]
        self.requests = 0
        self.total, self.queue, self.compute = Histogram(BUCKETS), Histogram(BUCKETS), Histogram(BUCKETS)


class Metrics(Collector):
    """`observe` and `batch` belong to the event loop."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.inflight = Level()
        self.rejected = Counter(
            "ziggurat_rejected", "Requests refused before any work was done", ("reason",), registry=registry
        )
        self.language = LanguageMetrics(registry)
        self._series: dict[tuple[str, str, str, int], _Series] = {}
        self._batches: dict[tuple[str, str], Histogram] = {}
        registry.register(self)

    def observe(
        self, labels: tuple[str, str, str, int], seconds: float, queue_seconds: float, compute_seconds: float
    ) -> None:
        """Counts one answered request; `labels` are (model, version, protocol, status), of models that exist."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(labels)
        series.requests += 1
        series.total.observe(seconds)
        series.queue.observe(queue_seconds)
        series.compute.observe(compute_seconds)

    def batch(self, model: str, version: str, rows: int) -> None:
        """Counts one run that was open to several requests."""
        histogram = self._batches.get((model, version))
        if histogram is None:
            histogram = self._batches[model, version] = Histogram(BATCH_BUCKETS)
        histogram.observe(rows)

    def describe(self) -> list[Metric]:
        return []  # spares the registry a collection at registration

    def collect(self) -> Iterator[Metric]:
        series = list(self._series.values())
        requests = CounterMetricFamily("ziggurat_requests", "Inference requests answered", labels=LABELS)
        for one in series:
            requests.add_metric(one.labels, one.requests)
        yield requests
        for attribute, what, text in DURATIONS:
            family = HistogramMetricFamily(f"ziggurat_{what}_duration_seconds", text, labels=LABELS)
            for one in series:
                family.add_metric(one.labels, *getattr(one, attribute).samples())
            yield family
        size = HistogramMetricFamily("ziggurat_batch_size", "Rows that shared a run", labels=LABELS[:2])
        for labels, histogram in list(self._batches.items()):
            size.add_metric(labels, *histogram.samples())
        yield size
        inflight = "Requests accepted, not yet answered"
        yield GaugeMetricFamily("ziggurat_inflight_requests", inflight, self.inflight.value)

    def expose(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(cast("CollectorRegistry", _WithoutCreated(self.registry)))


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
        self,
        models: Callable[[], Iterable[ModelSample]],
        pools: Callable[[], Iterable[dict[str, Any]]],
        memory: Callable[[], dict[str, int]],
        last_step: Callable[[], float],
    ) -> None:
        self._models = models
        self._pools = pools
        self._memory = memory
        self._last_step = last_step

    def describe(self) -> list[Metric]:
        return []  # spares the registry a collection at registration, when nothing is there yet

    def collect(self) -> Iterator[Metric]:
        yield from self._collect_models()
        yield from self._collect_pools()
        yield from self._collect_engine()

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
        defragmentations = CounterMetricFamily(
            "ziggurat_pool_defragmentations", "Times that a pool's blocks were moved together", labels=("pool",)
        )
        for pool in self._pools():
            name, hits, misses = str(pool["pool"]), pool["hits"], pool["misses"]
            allocations.add_metric((name, "hit"), hits)
            allocations.add_metric((name, "miss"), misses)
            ratio.add_metric((name,), hits / (hits + misses) if hits + misses else 0.0)
            for state in ("used", "cached", "reserved", "largest_free"):
                size.add_metric((name, state), pool[state])
            fragmentation.add_metric((name,), pool["fragmentation"])
            defragmentations.add_metric((name,), pool["defragmentations"])
        yield from (allocations, ratio, size, fragmentation, defragmentations)

    def _collect_engine(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily(
            "ziggurat_device_memory_bytes", "Bytes of the engine's budget by state", labels=("device", "state")
        )
        for state, size in self._memory().items():
            memory.add_metric(("cpu", state), size)
        yield memory
        text = "When the engine last began or finished a run, in seconds since 1970"
        yield GaugeMetricFamily("ziggurat_engine_last_step_timestamp_seconds", text, self._last_step())
