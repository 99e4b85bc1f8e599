"""Requests made up from our own OpenAPI document: whatever comes, the answer is one of ours, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies

from tests.http.support import Running, serving, until
from tests.openai.conftest import NAME
from tests.openai.support import settled

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/tokenize",
    "/detokenize",
    "/v2/models/{name}/generate",
    "/v2/models/{name}/generate_stream",
)
FINE = {200, 400, 404, 405, 413, 415, 429, 503, 504}


@pytest.fixture(scope="module")
def fuzzed(repository: Path) -> Iterator[Running]:
    with serving(repository, language={"timeout": 1, "sequences": 300}) as running:
        yield running
        until(lambda: settled(running, NAME), "all is given back")


@pytest.fixture(scope="module")
def api(fuzzed: Running) -> Any:
    return schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")


@pytest.mark.heavy
@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=strategies.data())
def test_whatever_is_asked_the_answer_is_ours(api: Any, path: str, data: strategies.DataObject) -> None:
    case = data.draw(api[path]["POST"].as_strategy())
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = NAME
    if case.path_parameters:
        case.path_parameters["name"] = NAME
    reply = case.call(timeout=30)
    assert reply.status_code in FINE, reply.text
    if reply.status_code >= 400:
        error = reply.json()["error"]
        assert isinstance(error, str) == path.startswith("/v2/"), reply.text
