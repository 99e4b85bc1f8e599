"""The page's part for language models, and `ziggurat bench` of one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.support import ziggurat
from tests.http.support import Raw
from tests.http.test_page import state_of
from tests.openai.conftest import NAME


def test_the_page_knows_who_can_converse(raw: Raw) -> None:
    html = raw.request("GET", "/").body.decode()
    (row,) = state_of(html)["models"]  # type: ignore[misc]
    assert (row["name"], row["kind"], row["generates"], row["chat"]) == (NAME, "language", True, True)
    assert "/v1/chat/completions" in html and "/v1/completions" in html


def test_bench_measures_every_concurrency(repository: Path) -> None:
    words = ("--prompt", "40", "--new", "6", "--concurrency", "1,3", "--rounds", "2")
    done = ziggurat("bench", str(repository / NAME), *words, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [one["concurrency"] for one in report["results"]] == [1, 3]
    for one in report["results"]:
        assert one["prefill_tokens_per_second"] > 0 and one["decode_tokens_per_second"] > 0
        for times in (one["time_to_first_token_ms"], one["inter_token_latency_ms"]):
            assert 0 < times["p50"] <= times["p90"] <= times["p99"]
    table = ziggurat("bench", str(repository / NAME), *words)
    assert table.returncode == 0 and "prefill t/s" in table.stdout


def test_bench_refuses_what_does_not_fit(repository: Path) -> None:
    long = ziggurat("bench", str(repository / NAME), "--prompt", "4000")
    assert long.returncode == 2 and "context of 2048" in long.stderr
    wrong = ziggurat("bench", str(repository / NAME), "--concurrency", "1,x")
    assert wrong.returncode == 2 and "--concurrency takes numbers" in wrong.stderr
