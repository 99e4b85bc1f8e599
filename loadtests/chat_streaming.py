"""Users who hold conversations with a language model and read the answers as they come.

locust -f loadtests/chat_streaming.py --headless --host http://127.0.0.1:8000 -u 16 -r 4 -t 60s

Beside the requests themselves it reports, as the client sees them: `time to first token`, `inter-token latency` (the
mean of an answer's) and `whole answer`. Knobs, in the environment:
MODEL (default: the server's first language model), MAX_TOKENS (64), PROMPT_WORDS (40), SHARED_PREFIX=1 gives all users
one system prompt, as assistants have.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from locust import HttpUser, between, events, task

WORDS = [
    "river",
    "stone",
    "tower",
    "brick",
    "field",
    "morning",
    "water",
    "road",
    "market",
    "king",
    "song",
    "letter",
    "winter",
    "bread",
    "garden",
]
PREFIX = "You are patient and answer in whole sentences. " * 8


class Talker(HttpUser):
    wait_time = between(0.1, 0.5)

    def on_start(self) -> None:
        self.numbers = random.Random()  # noqa: S311 -- words of a load, no secrets
        self.words = int(os.environ.get("PROMPT_WORDS", "40"))
        self.max_tokens = int(os.environ.get("MAX_TOKENS", "64"))
        self.model = os.environ.get("MODEL") or self._first_model()

    def _first_model(self) -> str:
        models = self.client.get("/v1/models", name="models").json()["data"]
        if not models:
            raise RuntimeError("the server has no language model")
        return str(models[0]["id"])

    @task
    def talk(self) -> None:
        messages = [{"role": "user", "content": " ".join(self.numbers.choices(WORDS, k=self.words))}]
        if os.environ.get("SHARED_PREFIX") == "1":
            messages.insert(0, {"role": "system", "content": PREFIX})
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        begin = time.perf_counter()
        with self.client.post(
            "/v1/chat/completions", json=body, stream=True, catch_response=True, name="chat, until its status"
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
                return
            problem = self._read(answer, begin)
            if problem is None:
                answer.success()
            else:
                answer.failure(problem)

    def _read(self, answer: Any, begin: float) -> str | None:
        """Tells the times of one stream, and what was wrong with it."""
        at: list[float] = []
        generated = 0
        for event in documents(answer):
            if event is None:
                break
            if "error" in event:
                return str(event["error"]["message"])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                at.append(time.perf_counter())
            if event.get("usage"):
                generated = event["usage"]["completion_tokens"]
        else:
            return "the stream ended without [DONE]"
        if at:
            tell("time to first token", at[0] - begin)
            tell("whole answer", time.perf_counter() - begin)
        if len(at) > 1 and generated > 1:
            tell("inter-token latency", (at[-1] - at[0]) / (generated - 1))
        return None


def documents(answer: Any) -> Iterator[dict[str, Any] | None]:
    """Each event of a stream; None for [DONE]. Reads what is there, without waiting for a buffer to fill."""
    rest = b""
    for chunk in answer.iter_content(chunk_size=None):
        *frames, rest = (rest + chunk).split(b"\n\n")
        for frame in frames:
            if frame.startswith(b"data: "):
                yield None if frame == b"data: [DONE]" else json.loads(frame[6:])


def tell(name: str, seconds: float) -> None:
    events.request.fire(
        request_type="SSE", name=name, response_time=seconds * 1e3, response_length=0, exception=None, context={}
    )
