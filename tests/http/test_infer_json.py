"""Inference with tensors as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.http.support import Raw

A, B = [[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.5], [0.5, 0.5]]


def tensor(name: str, data: Any, datatype: str = "FP32", shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(np.shape(data)) if shape is None else shape,
        "data": data,
        **more,
    }


def pair(**more: Any) -> dict[str, Any]:
    return {"inputs": [tensor("a", A), tensor("b", B)], **more}


def test_all_outputs_come_when_none_is_named(raw: Raw) -> None:
    reply = raw.infer("pair", pair(id="42"))
    document = reply.json()
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert (document["model_name"], document["model_version"], document["id"]) == ("pair", "3", "42")
    assert [(one["name"], one["datatype"], one["shape"]) for one in document["outputs"]] == [
        ("sum", "FP32", [2, 2]),
        ("difference", "FP32", [2, 2]),
    ]
    np.testing.assert_array_equal(reply.tensors()["sum"], np.add(A, B))
    np.testing.assert_array_equal(reply.tensors()["difference"], np.subtract(A, B))


def test_named_outputs_come_alone_and_in_the_order_asked(raw: Raw) -> None:
    names = [{"name": "difference"}, {"name": "sum"}]
    assert [one["name"] for one in raw.infer("pair", pair(outputs=names)).json()["outputs"]] == ["difference", "sum"]
    assert list(raw.infer("pair", pair(outputs=names[:1])).tensors()) == ["difference"]


def test_a_version_can_be_named_and_no_id_is_made_up(raw: Raw) -> None:
    document = raw.infer("pair/versions/1", pair()).json()
    assert document["model_version"] == "1" and "id" not in document


def test_data_may_be_nested_or_flat(raw: Raw) -> None:
    flat = {"inputs": [tensor("a", [1, 2, 3, 4], shape=[2, 2]), tensor("b", B)]}
    np.testing.assert_array_equal(raw.infer("pair", flat).tensors()["sum"], np.add(A, B))


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False, True]),
        ("UINT8", [0, 255]),
        ("UINT16", [0, 65535]),
        ("UINT32", [0, 2**32 - 1]),
        ("UINT64", [0, 2**64 - 1, 2**53 + 1]),
        ("INT8", [-128, 127]),
        ("INT16", [-(2**15), 2**15 - 1]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1, 2**53 + 1]),
        ("FP32", [0.0, -1.5, 3.0e38, 1.0e-45]),
        ("FP64", [0.1, 1.0e308, -5e-324]),
        ("BYTES", ["", "a", "grüße\x00!", "日本"]),
    ],
)
def test_every_datatype_with_a_json_form_keeps_its_values_exactly(raw: Raw, datatype: str, data: list[Any]) -> None:
    output = raw.infer(f"identity/{datatype.lower()}", {"inputs": [tensor("x", data, datatype)]}).json()["outputs"][0]
    assert output["datatype"] == datatype and output["shape"] == [len(data)]
    want = [float(np.float32(one)) for one in data] if datatype == "FP32" else data
    got = [float(np.float32(one)) for one in output["data"]] if datatype == "FP32" else output["data"]
    assert got == want


def test_empty_tensors_pass(raw: Raw) -> None:
    document = raw.infer("identity/fp32", {"inputs": [tensor("x", [], shape=[0])]}).json()
    assert document["outputs"][0]["data"] == [] and document["outputs"][0]["shape"] == [0]


@pytest.mark.parametrize("body", [b'["NaN", 1, "-Infinity", "Infinity"]', b"[NaN, 1, -Infinity, Infinity]"])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_non_finite_numbers_are_strings_on_the_way_out_and_either_on_the_way_in(
    raw: Raw, body: bytes, datatype: str
) -> None:
    head = f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[4],"data":'.encode()
    reply = raw.infer(f"identity/{datatype.lower()}", head + body + b"}]}")
    assert json.loads(reply.body)["outputs"][0]["data"] == ["NaN", 1.0, "-Infinity", "Infinity"]


@pytest.mark.parametrize("kind", ["FP16", "BF16"])
def test_half_precision_has_no_json_form(raw: Raw, kind: str) -> None:
    reply = raw.infer(f"identity/{kind.lower()}", {"inputs": [tensor("x", [1.0], kind)]})
    assert reply.status == 400 and reply.error == f"tensor 'x': {kind} has no JSON form: send it as binary data"


def test_classification_gives_the_largest_values_with_their_indices(raw: Raw) -> None:
    document = {
        "inputs": [tensor("x", [0.5, 3.0, -1.0, 2.0])],
        "outputs": [{"name": "y", "parameters": {"classification": 2}}],
    }
    output = raw.infer("identity/fp32", document).json()["outputs"][0]
    assert output["datatype"] == "BYTES" and output["data"] == ["3.0:1", "2.0:3"]


def test_a_class_has_the_shortest_text_of_its_value(raw: Raw) -> None:
    document = {"inputs": [tensor("x", [0.1, 0.9])], "outputs": [{"name": "y", "parameters": {"classification": 1}}]}
    assert raw.infer("identity/fp32", document).json()["outputs"][0]["data"] == ["0.9:1"]


def test_curl_says_it_sends_a_form_and_is_understood(raw: Raw) -> None:
    assert raw.infer("pair", pair(), content_type="application/x-www-form-urlencoded").status == 200


@pytest.mark.parametrize("priority", [-1, 1.5, "soon", True, [1], 1 << 32])
def test_a_priority_that_is_none_is_refused(raw: Raw, priority: object) -> None:
    answer = raw.infer("pair", pair(parameters={"priority": priority}))
    assert answer.status == 400 and "'priority' must be a number from 1 (first)" in answer.json()["error"]


@pytest.mark.parametrize("priority", [0, 1, 100, "7", (1 << 32) - 1])
def test_a_priority_is_taken_and_not_echoed(raw: Raw, priority: object) -> None:
    answer = raw.infer("pair", pair(parameters={"priority": priority}))
    assert answer.status == 200 and "parameters" not in answer.json()


def test_unknown_keys_are_ignored(raw: Raw) -> None:
    assert (
        raw.infer("pair", pair(model_name="pair", colour="red", parameters={"priority": 3, "who": "me"})).status == 200
    )
