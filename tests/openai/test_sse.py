"""Streams to the letter: frames, headers, usage, errors in the middle, clients that leave or read slowly."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.http.support import Raw, Running, serving, until
from tests.openai.conftest import NAME
from tests.openai.support import CHAT, COMPLETIONS, Events, post, problem, settled

CHATTING: dict[str, Any] = {"model": NAME, "messages": [{"role": "user", "content": "Go on"}], "stream": True}
COMPLETING: dict[str, Any] = {"model": NAME, "prompt": "The plain", "stream": True, "max_tokens": 6}


def test_a_chat_stream_frame_by_frame(server: Running) -> None:
    body = {**CHATTING, "max_tokens": 6, "ignore_eos": True}
    with Events(server.port, CHAT, body) as events:
        documents = events.documents()
    assert events.status == 200
    assert events.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert events.headers["cache-control"] == "no-cache" and events.headers["x-accel-buffering"] == "no"
    assert events.headers["x-request-id"] and int(events.headers["openai-processing-ms"]) >= 0
    assert all(one["object"] == "chat.completion.chunk" and "usage" not in one for one in documents)
    assert len({(one["id"], one["created"], one["model"]) for one in documents}) == 1
    first, last = documents[0]["choices"][0], documents[-1]["choices"][0]
    assert first["delta"] == {"role": "assistant", "content": ""} and first["finish_reason"] is None
    assert last["delta"] == {} and last["finish_reason"] == "length"
    assert all(one["choices"][0]["delta"]["content"] for one in documents[1:-1])


def test_usage_comes_last_and_only_when_asked_for(server: Running) -> None:
    with Events(server.port, CHAT, {**CHATTING, "max_tokens": 4, "stream_options": {"include_usage": True}}) as events:
        *before, last = events.documents()
    assert all(one["usage"] is None and one["choices"] for one in before)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] <= 4
    running = {**CHATTING, "max_tokens": 4, "ignore_eos": True}
    running["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    with Events(server.port, CHAT, running) as events:
        counts = [one["usage"]["completion_tokens"] for one in events.documents()]
    assert counts == sorted(counts) and counts[-1] == 4


def test_choices_have_ends_of_their_own(server: Running) -> None:
    with Events(server.port, COMPLETIONS, {**COMPLETING, "n": 3, "prompt": ["a", "b"]}) as events:
        documents = events.documents()
    ends = [one["choices"][0]["index"] for one in documents if one["choices"][0]["finish_reason"]]
    assert sorted(ends) == list(range(6))


def test_an_error_before_the_first_token_is_an_answer_of_its_own(raw: Raw) -> None:
    reply = post(raw, CHAT, {**CHATTING, "messages": []})
    assert reply.status == 400 and reply.headers["content-type"] == "application/json"
    assert problem(reply)["param"] == "messages"
    late = post(raw, CHAT, {**CHATTING, "timeout": 1e-6})
    assert late.status == 504 and problem(late)["type"] == "timeout_error"


def test_an_error_in_the_middle_is_an_event_and_the_stream_ends_properly(server: Running) -> None:
    body = {**CHATTING, "max_tokens": 1900, "ignore_eos": True, "n": 32, "timeout": 1.5}
    with Events(server.port, CHAT, body) as events:
        *_, last = events.documents()
    assert events.status == 200
    assert last["error"]["code"] == 504 and last["error"]["type"] == "timeout_error" and last["error"]["param"] is None
    until(lambda: settled(server, NAME), "the generation is given up")


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_clients_that_leave_leave_nothing_behind(server: Running, kind: str) -> None:
    numbers = random.Random(kind)
    bystander: list[Any] = []
    calm = {**COMPLETING, "prompt": "A tower is built", "max_tokens": 60, "seed": 3, "temperature": 1.0}

    def watch() -> None:
        with Events(server.port, COMPLETIONS, calm) as events:
            bystander.append("".join(one["choices"][0]["text"] for one in events.documents()))

    watch()
    alone = bystander.pop()
    for _ in range(10):
        leavers = [Events(server.port, CHAT, {**CHATTING, "n": numbers.choice((1, 1, 2))}) for _ in range(20)]
        thread = threading.Thread(target=watch)
        thread.start()
        for one in leavers:
            if numbers.random() < 0.6:  # the others leave before anything came
                chunks = one.chunks()
                for _ in range(numbers.randrange(4)):
                    next(chunks, None)
            one.reset() if kind == "reset" else one.close()
        thread.join()
    until(lambda: settled(server, NAME), "what they asked for is given back")
    assert bystander == [alone] * 10, "a stream beside them was disturbed"


def _leave(server: Running, numbers: random.Random, count: int) -> None:
    """Streams that end at a random point: before anything came, after some chunks, within one."""
    leavers = [Events(server.port, CHAT, {**CHATTING, "n": numbers.choice((1, 1, 2))}) for _ in range(count)]
    for one in leavers:
        if numbers.random() < 0.7:
            chunks = one.chunks()
            for _ in range(numbers.randrange(5)):
                next(chunks, None)
        if numbers.random() < 0.2:  # in the middle of a frame, if one comes
            one.socket.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                one.socket.recv(numbers.randrange(1, 40))
        one.reset() if numbers.random() < 0.5 else one.close()
    until(lambda: settled(server, NAME), "what they asked for is given back")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.heavy
def test_a_thousand_streams_that_end_anywhere_leave_nothing_behind(repository: Path) -> None:
    numbers = random.Random(1000)
    with serving(repository) as server:
        service = server.service.registry.find(NAME).status.language
        assert service is not None
        _leave(server, numbers, 40)  # what is made once: the template, buffers, threads
        tasks, threads, before = len(asyncio.all_tasks(server.loop)), threading.active_count(), 0
        for round_ in range(25):
            _leave(server, numbers, 40)
            if round_ == 4:
                gc.collect()
                before = _resident()
        until(lambda: len(asyncio.all_tasks(server.loop)) <= tasks, "their tasks end")
        gc.collect()
        assert threading.active_count() == threads
        assert _resident() - before < 16 << 20, "800 streams left memory behind"
        stats = service.language.generator.stats()
        assert stats["kv_blocks_used"] + stats["kv_blocks_cached"] <= stats["kv_blocks_total"]
        with Events(server.port, CHAT, {**CHATTING, "max_tokens": 3}) as events:
            assert events.documents()


def test_a_client_that_leaves_ends_its_generation_within_a_step(server: Running) -> None:
    service = server.service.registry.find(NAME).status.language
    assert service is not None
    events = Events(server.port, COMPLETIONS, {**COMPLETING, "max_tokens": 1900, "ignore_eos": True})
    next(events.chunks())
    events.close()
    until(lambda: settled(server, NAME), "it is cancelled")
    steps = service.driver.steps
    time.sleep(0.1)
    assert service.driver.steps == steps, "steps go on for nobody"


def test_a_reader_that_stalls_is_bounded_and_then_cut_off(repository: Path) -> None:
    with serving(repository, language={"backlog": 1024}) as running:
        body = {**COMPLETING, "n": 16, "max_tokens": 1900, "ignore_eos": True, "logprobs": 5}
        with Events(running.port, COMPLETIONS, body, buffer=4096) as events:
            events.start()  # and no more is read
            until(lambda: settled(running, NAME), "the generation is cancelled")
            with pytest.raises((OSError, ValueError)):  # the connection is reset, or ends within an event
                for _ in events.chunks():
                    pass
        with Events(running.port, COMPLETIONS, COMPLETING) as after:
            assert after.documents()


def test_pings_keep_an_idle_stream_alive(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constraint that takes its time, as a large grammar might, and a ping interval that a test can wait for."""
    from ziggurat.http.openai import sse

    monkeypatch.setattr(sse, "PING_SECONDS", 0.02)
    service = server.service.registry.find(NAME).status.language
    assert service is not None
    step = service.driver._step
    monkeypatch.setattr(service.driver, "_step", lambda: (time.sleep(0.1), step())[1])
    with Events(server.port, COMPLETIONS, {**COMPLETING, "max_tokens": 2, "ignore_eos": True}) as events:
        frames = list(events.frames())
    assert ": ping" in frames
    told = [frame for frame in frames if frame != ": ping"]
    assert told[-1] == "data: [DONE]" and json.loads(told[0][6:])["choices"]
