"""What `model.yaml` says about one language model holds for that one, and the server's settings for the others."""

from __future__ import annotations

from pathlib import Path

from tests.http.support import Raw, serving
from tests.openai import tiny
from tests.openai.support import COMPLETIONS, Events, post, problem


def test_a_model_has_settings_of_its_own(tmp_path: Path) -> None:
    tiny.write(tmp_path / "plain")
    own = tiny.write(tmp_path / "own")
    (own / "model.yaml").write_text(
        "aliases: [small]\nthreads: 1\n"
        "language: {context: 64, weights: int8, kv_cache: f32, kv_memory: 128KiB, max_sequences: 2, sequences: 3,\n"
        "  step_tokens: 16, prefix_cache: false, speculation: ngram}\n"
    )
    with serving(tmp_path, language={"context": 256}) as running, Raw(running.port) as raw:
        long = {"prompt": [40] * 64, "max_tokens": 1}
        refused = problem(post(raw, COMPLETIONS, {"model": "small", **long}))
        assert (refused["n_prompt_tokens"], refused["n_ctx"]) == (64, 64)
        assert post(raw, COMPLETIONS, {"model": "plain", **long}).status == 200
        refused = problem(post(raw, COMPLETIONS, {"model": "plain", "prompt": [40] * 256}))
        assert refused["n_ctx"] == 256
        four = {"prompt": ["a"] * 4, "max_tokens": 1}
        assert post(raw, COMPLETIONS, {"model": "own", **four}).status == 429
        assert post(raw, COMPLETIONS, {"model": "plain", **four}).status == 200
        stats = {name: running.service.registry.find(name).status.language.sample().stats for name in ("own", "plain")}
        assert stats["own"]["kv_bytes"] <= 128 << 10 < stats["plain"]["kv_bytes"]
        told = raw.request("GET", "/v2/models/plain/stats").json()["model_stats"][0]["memory_usage"][0]
        weights = sum(running.service.registry.find("plain").status.language.language.model.memory().values())
        assert told["byte_size"] == weights + stats["plain"]["kv_bytes"] and weights > 0
        again = {"prompt": [41] * 60, "max_tokens": 1, "stream": True, "stream_options": {"include_usage": True}}

        def cached(model: str) -> int:
            with Events(running.port, COMPLETIONS, {"model": model, **again}) as events:
                return int(events.documents()[-1]["usage"]["prompt_tokens_details"]["cached_tokens"])

        assert [cached("plain"), cached("plain")] == [0, 32]


def test_a_model_has_a_deadline_of_its_own(tmp_path: Path) -> None:
    tiny.write(tmp_path / "plain")
    (tiny.write(tmp_path / "late") / "model.yaml").write_text("timeout: 0.000001\n")
    with serving(tmp_path) as running, Raw(running.port) as raw:
        body = {"prompt": "x", "max_tokens": 4}
        assert post(raw, COMPLETIONS, {"model": "late", **body}).status == 504
        assert post(raw, COMPLETIONS, {"model": "plain", **body}).status == 200


def test_a_wrong_key_is_the_models_problem_alone(tmp_path: Path) -> None:
    tiny.write(tmp_path / "plain")
    (tiny.write(tmp_path / "own") / "model.yaml").write_text("language: {kv_cach: int8}\n")
    with serving(tmp_path) as running, Raw(running.port) as raw:
        assert post(raw, COMPLETIONS, {"model": "plain", "prompt": "x", "max_tokens": 1}).status == 200
        index = {one["name"]: one for one in raw.request("POST", "/v2/repository/index").json()}
        assert "did you mean 'kv_cache'" in index["own"]["reason"]
