"""Overload, deadlines, stopping, unloading, and an engine that hangs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.http.support import Raw, Reply, serving, until
from tests.openai.conftest import NAME
from tests.openai.support import COMPLETIONS, Events, post, problem, settled

LONG = {"prompt": "x", "max_tokens": 1900, "ignore_eos": True}


def test_every_request_of_a_flood_is_answered(repository: Path) -> None:
    with serving(repository, language={"sequences": 8}) as running:

        def ask(k: int) -> Reply:
            with Raw(running.port) as raw:
                return post(raw, COMPLETIONS, {"prompt": f"brick {k}", "max_tokens": 8, "ignore_eos": True})

        with ThreadPoolExecutor(48) as pool:
            replies = list(pool.map(ask, range(400)))
        assert {reply.status for reply in replies} <= {200, 429}
        assert sum(reply.status == 200 for reply in replies) >= 8
        for reply in replies:
            if reply.status == 429:
                assert problem(reply)["type"] == "rate_limit_error" and int(reply.headers["retry-after"]) >= 1
        until(lambda: settled(running, NAME), "all is given back")


def test_prompt_tokens_that_wait_are_bounded(repository: Path) -> None:
    with serving(repository, language={"waiting_tokens": 100}) as running:
        service = running.service.registry.find(NAME).status.language
        assert service is not None
        ticket = service.limits.acquire(1, 90)
        with Raw(running.port) as raw:
            assert post(raw, COMPLETIONS, {"prompt": "a word " * 100, "max_tokens": 1}).status == 429
            assert post(raw, COMPLETIONS, {"prompt": "short", "max_tokens": 1}).status == 200
            service.limits.release(ticket)
            assert post(raw, COMPLETIONS, {"prompt": "a word " * 100, "max_tokens": 1}).status == 200, "alone it may"


def test_a_deadline_ends_an_answer(repository: Path) -> None:
    with serving(repository, language={"timeout": 0.01}) as running, Raw(running.port) as raw:
        begin = time.monotonic()
        reply = post(raw, COMPLETIONS, LONG)
        assert reply.status == 504 and problem(reply)["type"] == "timeout_error"
        assert time.monotonic() - begin < 30
        until(lambda: settled(running, NAME), "the generation is given up")


def test_a_stop_lets_streams_finish_within_the_grace(repository: Path) -> None:
    with serving(repository, server={"grace": 30}) as running:
        with Events(running.port, COMPLETIONS, {**LONG, "max_tokens": 400, "stream": True}) as events:
            chunks = events.chunks()
            text = next(chunks)
            running.stop()
            text += b"".join(chunks)
        assert text.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"length"' in text


def test_after_the_grace_streams_end_by_an_error(repository: Path) -> None:
    with serving(repository, server={"grace": 0.1}) as running:
        with Events(running.port, COMPLETIONS, {**LONG, "n": 32, "stream": True}) as events:
            chunks = events.chunks()
            text = next(chunks)
            running.stop()
            text += b"".join(chunks)
        assert text.endswith(b"data: [DONE]\n\n") and b'"code":503' in text and b"stopping" in text


def test_unloading_waits_for_streams_and_then_gives_everything_back(repository: Path) -> None:
    with serving(repository) as running, Raw(running.port) as raw:
        service = running.service.registry.find(NAME).status.language
        assert service is not None
        with Events(running.port, COMPLETIONS, {**LONG, "max_tokens": 200, "stream": True}) as events:
            chunks = events.chunks()
            text = next(chunks)
            assert raw.request("POST", f"/v2/repository/models/{NAME}/unload", host="127.0.0.1").status == 200
            refused = post(raw, COMPLETIONS, {"model": NAME, "prompt": "x"})
            assert refused.status == 503 and "retry-after" in refused.headers
            text += b"".join(chunks)
        assert text.endswith(b"data: [DONE]\n\n")
        entry = running.service.registry.find(NAME)
        until(lambda: entry.status.state.value == "UNAVAILABLE", "it is unloaded")
        threads_are_gone = lambda: not service.driver._thread.is_alive() and service.driver._pool._shutdown  # noqa: E731
        until(threads_are_gone, "its threads are gone")
        assert raw.request("GET", "/v1/models").json()["data"] == []
        assert raw.request("POST", f"/v2/repository/models/{NAME}/load", host="127.0.0.1").status == 200
        assert post(raw, COMPLETIONS, {"model": NAME, "prompt": "x", "max_tokens": 1}).status == 200


def test_an_engine_that_hangs_is_not_live_and_one_that_works_is(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(repository, server={"hang": 0.4}) as running, Raw(running.port) as raw:
        service = running.service.registry.find(NAME).status.language
        assert service is not None
        go, step = threading.Event(), service.driver._step

        def frozen() -> Any:
            go.wait(60)
            return step()

        monkeypatch.setattr(service.driver, "_step", frozen)
        with Events(running.port, COMPLETIONS, {**LONG, "max_tokens": 3, "stream": True}) as events:
            until(lambda: raw.request("GET", "/health").status == 503, "the hang is seen")
            go.set()
            assert events.documents()
        until(lambda: raw.request("GET", "/health").status == 200, "it lives again")
        with Events(running.port, COMPLETIONS, {**LONG, "stream": True}) as events:  # longer than `hang`, but at work
            for _ in events.chunks():
                pass
            assert raw.request("GET", "/health").status == 200
