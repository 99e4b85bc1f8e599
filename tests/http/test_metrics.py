"""The metrics, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.http.support import Raw, Running, serving

GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def fresh(repository: Path) -> Iterator[Running]:
    with serving(repository) as running:
        yield running


def scrape(raw: Raw) -> Samples:
    reply = raw.request("GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.body.decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_requests_are_counted_and_timed_by_model_version_protocol_and_code(fresh: Running) -> None:
    with Raw(fresh.port) as raw:
        for _ in range(3):
            assert raw.infer("identity/fp32", GOOD).status == 200
        assert raw.infer("identity/fp32", {}).status == 400
        samples = scrape(raw)
    labels = {"model": "identity/fp32", "version": "1", "protocol": "v2"}
    assert samples[key("ziggurat_requests_total", **labels, code="200")] == 3
    assert samples[key("ziggurat_requests_total", **labels, code="400")] == 1
    for what in ("request", "queue", "compute"):
        assert samples[key(f"ziggurat_{what}_duration_seconds_count", **labels, code="200")] == 3
    total = samples[key("ziggurat_request_duration_seconds_sum", **labels, code="200")]
    assert total > samples[key("ziggurat_compute_duration_seconds_sum", **labels, code="200")] > 0
    assert samples[key("ziggurat_inflight_requests")] == 0


def test_names_that_clients_make_up_make_no_series(fresh: Running) -> None:
    with Raw(fresh.port) as raw:
        raw.infer("made-up", GOOD)
        raw.infer("pair/versions/77", GOOD)
        text = raw.request("GET", "/metrics").body
    assert b"made-up" not in text and b'"77"' not in text


def test_states_of_models_and_pools_can_be_read(fresh: Running) -> None:
    with Raw(fresh.port) as raw:
        raw.infer("identity/fp32", GOOD)
        samples = scrape(raw)
    assert samples[key("ziggurat_model_state", model="pair", version="3", state="READY")] == 1
    assert samples[key("ziggurat_model_state", model="broken", version="1", state="UNAVAILABLE")] == 1
    assert samples[key("ziggurat_model_state", model="broken", version="1", state="READY")] == 0
    assert samples[key("ziggurat_model_load_seconds", model="pair", version="3")] > 0
    assert samples[key("ziggurat_plan_fallback_steps", model="pair", version="3")] == 0
    pools = {dict(labels)["pool"] for name, labels in samples if name == "ziggurat_pool_hit_ratio"}
    assert pools == {str(pool["pool"]) for pool in fresh.service.engine.pools()} != set()
    for pool in pools:
        hits = samples[key("ziggurat_pool_allocations_total", pool=pool, result="hit")]
        misses = samples[key("ziggurat_pool_allocations_total", pool=pool, result="miss")]
        ratio = hits / (hits + misses) if hits + misses else 0.0
        assert samples[key("ziggurat_pool_hit_ratio", pool=pool)] == pytest.approx(ratio)
        assert key("ziggurat_pool_bytes", pool=pool, state="reserved") in samples
        assert 0 <= samples[key("ziggurat_pool_fragmentation_ratio", pool=pool)] <= 1
        assert samples[key("ziggurat_pool_defragmentations_total", pool=pool)] == 0


def test_there_is_no_series_for_when_a_series_began(fresh: Running) -> None:
    with Raw(fresh.port) as raw:
        raw.infer("identity/fp32", GOOD)
        assert b"_created" not in raw.request("GET", "/metrics").body
