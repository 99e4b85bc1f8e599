"""Requests made up from our own OpenAPI document: whatever comes, no answer blames the server."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.http.support import Running

OURS = {500, 502}


def test_the_document_describes_the_routes(own_server: Running) -> None:
    document = schemathesis.openapi.from_url(f"{own_server.url}/openapi.json").raw_schema
    paths = document["paths"]
    assert {"/v2", "/v2/models/{name}/infer", "/v2/repository/index", "/v2/models/stats", "/metrics"} <= set(paths)


@pytest.mark.heavy
def test_made_up_requests_get_answers(own_server: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{own_server.url}/openapi.json")
    tried: set[str] = set()

    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            reply = case.call(base_url=own_server.url, timeout=60)
            assert reply.status_code not in OURS, (case, reply.status_code, reply.text[:300])

        ask()
        tried.add(operation.label)
    assert len(tried) >= 12, tried
