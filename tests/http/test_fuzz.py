"""Requests nobody would think of: whatever comes, the answer is a status that blames the right side."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.support import Raw, Running

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["x", "y", "FP32", "INT64", "BYTES", "NaN", "binary_data_size", 2**31, -1, 0]),
)
KEYS = st.one_of(
    st.text(max_size=4),
    st.sampled_from(
        ["name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id", "timeout", "binary_data_size"]
    ),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4))
)
TENSOR = st.fixed_dictionaries(
    {"name": st.one_of(st.just("x"), SCALARS), "datatype": st.one_of(st.just("FP32"), SCALARS)},
    optional={"shape": st.one_of(st.lists(st.integers(-1, 5), max_size=3), JSON), "data": JSON, "parameters": JSON},
)
DOCUMENT = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(TENSOR, max_size=2), JSON)},
    optional={"outputs": JSON, "parameters": JSON, "id": JSON},
)
LENGTH = st.one_of(st.none(), st.integers(-2, 400).map(str), st.text("0123456789abc+-. ", max_size=6))
NONE_OF_THESE = {500, 503, 499}


def answered(server: Running, model: str, body: bytes, length: str | None) -> None:
    headers = {} if length is None else {"inference_header_content_length": length}
    with Raw(server.port) as raw:
        reply = raw.request("POST", f"/v2/models/identity/{model}/infer", body, **headers)
        assert reply.status not in NONE_OF_THESE, reply
        if reply.status != 200:
            assert reply.error
        assert raw.request("GET", "/v2/health/live").status == 200


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["fp32", "int64", "bytes", "bool"]), DOCUMENT, st.binary(max_size=40), LENGTH, st.booleans())
def test_documents(server: Running, model: str, document: Any, raw: bytes, length: str | None, exact: bool) -> None:
    head = json.dumps(document).encode()
    answered(server, model, head + raw, str(len(head)) if exact else length)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["fp32", "bytes", "bool", "fp16"]), st.binary(max_size=200), LENGTH)
def test_noise(server: Running, model: str, body: bytes, length: str | None) -> None:
    answered(server, model, body, length)
