"""Metrics of language models: our frozen names, and vLLM's for the gauges that inference gateways read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ziggurat.telemetry.histogram import Histogram

# From a cached prefix on a small model to a long prompt in a full queue; a token takes from under 1 ms to seconds.
FIRST_TOKEN_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
INTER_TOKEN_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LanguageSample:
    """What a scrape wants to know of one language model; `stats` are the generator's."""

    model: str
    last_step_at: float
    stats: dict[str, Any] = field(default_factory=dict)


class LanguageMetrics(Collector):
    """Told of each token's time; what is a state is read when a scrape comes, by LanguageCollector."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter(
            "ziggurat_tokens", "Tokens by kind: prompt or generated", ("model", "kind"), registry=registry
        )
        self._early = Counter(
            "ziggurat_streams_ended_early", "Streams that ended before they were whole", ("model",), registry=registry
        )
        self._ignored = Counter(
            "ziggurat_ignored_fields", "Fields of requests that mean nothing here", ("route",), registry=registry
        )
        self._first: dict[str, Histogram] = {}
        self._inter: dict[str, Histogram] = {}
        registry.register(self)

    def first_token(self, model: str, seconds: float) -> None:
        _of(self._first, model, FIRST_TOKEN_BUCKETS).observe(seconds)

    def inter_token(self, model: str, seconds: float) -> None:
        _of(self._inter, model, INTER_TOKEN_BUCKETS).observe(seconds)

    def tokens(self, model: str, kind: str, count: int) -> None:
        self._tokens.labels(model, kind).inc(count)

    def ended_early(self, model: str) -> None:
        self._early.labels(model).inc()

    def ignored(self, route: str, count: int) -> None:
        self._ignored.labels(route).inc(count)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for name, text, series in (
            ("time_to_first_token", "Seconds from a request's arrival to its first token", self._first),
            ("inter_token_latency", "Seconds between two tokens of one sequence", self._inter),
        ):
            family = HistogramMetricFamily(f"ziggurat_{name}_seconds", text, labels=("model",))
            for model, histogram in list(series.items()):
                buckets, total = histogram.samples()
                family.add_metric((model,), buckets, total)
            yield family


def _of(series: dict[str, Histogram], model: str, bounds: Sequence[float]) -> Histogram:
    histogram = series.get(model)
    if histogram is None:
        histogram = series[model] = Histogram(bounds)
    return histogram


class LanguageCollector(Collector):
    def __init__(self, samples: Callable[[], Iterable[LanguageSample]]) -> None:
        self._samples = samples

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        samples = list(self._samples())
        if samples:
            yield from _ours(samples)
            yield from _of_vllm(samples)


def _ours(samples: Iterable[LanguageSample]) -> list[Metric]:
    one = ("model",)
    sequences = GaugeMetricFamily("ziggurat_sequences", "Sequences by state", labels=("model", "state"))
    usage = GaugeMetricFamily("ziggurat_kv_cache_usage_ratio", "Share of the KV blocks in use", labels=one)
    prefix = CounterMetricFamily(
        "ziggurat_prefix_cache_tokens", "Prompt tokens by whether they were cached", labels=("model", "result")
    )
    preempted = CounterMetricFamily(
        "ziggurat_preemptions", "Sequences put back to be computed again for want of blocks", labels=one
    )
    speculation = CounterMetricFamily(
        "ziggurat_speculation_tokens", "Tokens guessed ahead, by whether they were right", labels=("model", "result")
    )
    for sample in samples:
        name, stats = sample.model, sample.stats
        sequences.add_metric((name, "running"), stats.get("running", 0))
        sequences.add_metric((name, "waiting"), stats.get("waiting", 0))
        usage.add_metric((name,), _usage(stats))
        hits = stats.get("prefix_hit_tokens", 0)
        prefix.add_metric((name, "hit"), hits)
        prefix.add_metric((name, "miss"), max(stats.get("prefix_query_tokens", 0) - hits, 0))
        preempted.add_metric((name,), stats.get("preemptions", 0))
        accepted = stats.get("accepted_tokens", 0)
        speculation.add_metric((name, "accepted"), accepted)
        speculation.add_metric((name, "rejected"), max(stats.get("draft_tokens", 0) - accepted, 0))
    return [sequences, usage, prefix, preempted, speculation]


def _of_vllm(samples: Iterable[LanguageSample]) -> list[Metric]:
    labels = ("model_name", "engine")
    running = GaugeMetricFamily("vllm:num_requests_running", "ziggurat_sequences, running", labels=labels)
    waiting = GaugeMetricFamily("vllm:num_requests_waiting", "ziggurat_sequences, waiting", labels=labels)
    usage = GaugeMetricFamily("vllm:kv_cache_usage_perc", "ziggurat_kv_cache_usage_ratio", labels=labels)
    config = GaugeMetricFamily(
        "vllm:cache_config_info", "The KV cache", labels=(*labels, "block_size", "num_gpu_blocks", "cache_dtype")
    )
    queries = CounterMetricFamily("vllm:prefix_cache_queries", "Prompt tokens looked up", labels=labels)
    hits = CounterMetricFamily("vllm:prefix_cache_hits", "Prompt tokens found", labels=labels)
    preemptions = CounterMetricFamily("vllm:num_preemptions", "ziggurat_preemptions", labels=labels)
    for sample in samples:
        key, stats = (sample.model, "0"), sample.stats
        running.add_metric(key, stats.get("running", 0))
        waiting.add_metric(key, stats.get("waiting", 0))
        usage.add_metric(key, _usage(stats))
        blocks, dtype = str(stats.get("kv_blocks_total", 0)), str(stats.get("kv_dtype", "auto"))
        config.add_metric((*key, "32", blocks, dtype), 1)
        queries.add_metric(key, stats.get("prefix_query_tokens", 0))
        hits.add_metric(key, stats.get("prefix_hit_tokens", 0))
        preemptions.add_metric(key, stats.get("preemptions", 0))
    return [running, waiting, usage, config, queries, hits, preemptions]


def _usage(stats: dict[str, Any]) -> float:
    total = stats.get("kv_blocks_total", 0)
    return stats.get("kv_blocks_used", 0) / total if total else 0.0
