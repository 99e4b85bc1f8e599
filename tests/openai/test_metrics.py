"""The language models' metrics, as Prometheus and inference gateways read them."""

from __future__ import annotations

import time
from pathlib import Path

from tests.http.support import Raw, serving
from tests.http.test_metrics import key, scrape
from tests.openai.conftest import NAME
from tests.openai.support import COMPLETIONS, Events, post


def test_tokens_times_and_states(repository: Path) -> None:
    with serving(repository) as running, Raw(running.port) as raw:
        before = scrape(raw)
        for _ in range(2):
            reply = post(raw, COMPLETIONS, {"prompt": "The plain " * 20, "max_tokens": 5, "ignore_eos": True})
            assert reply.status == 200
        after = scrape(raw)
    prompt = reply.json()["usage"]["prompt_tokens"]
    assert after[key("ziggurat_tokens_total", model=NAME, kind="generated")] == 10
    assert after[key("ziggurat_tokens_total", model=NAME, kind="prompt")] == 2 * prompt
    assert after[key("ziggurat_time_to_first_token_seconds_count", model=NAME)] == 2
    assert after[key("ziggurat_inter_token_latency_seconds_count", model=NAME)] == 8
    assert after[key("ziggurat_prefix_cache_tokens_total", model=NAME, result="hit")] >= 32
    assert after[key("ziggurat_preemptions_total", model=NAME)] == 0
    step = key("ziggurat_engine_last_step_timestamp_seconds")
    assert before[step] < after[step] <= time.time()
    for state in ("running", "waiting"):
        assert after[key("ziggurat_sequences", model=NAME, state=state)] == 0
    labels = {"model": NAME, "version": "1", "protocol": "openai", "code": "200"}
    assert after[key("ziggurat_requests_total", **labels)] == 2
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"):
        assert after[key(name, model_name=NAME, engine="0")] == 0
    assert any(name == "vllm:cache_config_info" and ("block_size", "32") in labels for name, labels in after)


def test_gauges_follow_what_runs(repository: Path) -> None:
    with serving(repository) as running, Raw(running.port) as raw:
        body = {"prompt": "x", "stream": True, "max_tokens": 1900, "ignore_eos": True, "n": 3}
        with Events(running.port, COMPLETIONS, body) as events:
            next(events.chunks())
            during = scrape(raw)
        assert during[key("ziggurat_sequences", model=NAME, state="running")] == 3
        assert during[key("vllm:num_requests_running", model_name=NAME, engine="0")] == 3
        assert 0 < during[key("ziggurat_kv_cache_usage_ratio", model=NAME)] <= 1
        assert raw.request("GET", "/load").json()["server_load"] in (0, 3)
