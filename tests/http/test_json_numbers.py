"""Numbers that are read straight from a request's text: the same arrays, and the same errors, as by way of objects."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ziggurat.engine.json_numbers import NumberFinder, NumberText
from ziggurat.errors import InvalidArgument
from ziggurat.http import tensors, v2_request
from ziggurat.http.datatypes import BY_NAME

TYPES = ("FP32", "FP64", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8", "BOOL")
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1e308, 5e-324, 3.5e38, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 1e22, 0.1]),
)


def outcome(data: object, datatype: str, shape: tuple[int, ...]) -> tuple[str, Any]:
    try:
        array = tensors.from_json(data, BY_NAME[datatype], shape, "x")
    except InvalidArgument as error:
        return "error", str(error)
    return array.dtype.name, (array.shape, array.tobytes())


def as_text(data: object) -> NumberText:
    text = json.dumps(data).encode()
    return NumberText(b"  " + text + b" ", 2, 2 + len(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, max_size=6), st.sampled_from(TYPES), st.integers(0, 6))
def test_flat_numbers_come_out_as_by_way_of_objects(values: list[Any], datatype: str, count: int) -> None:
    data = orjson.loads(json.dumps(values))
    assert outcome(as_text(values), datatype, (count,)) == outcome(data, datatype, (count,))


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=3), max_leaves=12),
    st.lists(st.integers(0, 3), max_size=3),
)
def test_nested_numbers_come_out_as_by_way_of_objects(data: Any, shape: list[int]) -> None:
    if isinstance(data, list):
        assert outcome(as_text(data), "FP32", tuple(shape)) == outcome(data, "FP32", tuple(shape))


@pytest.mark.parametrize(
    "text",
    ["[01]", "[+1]", "[1.]", "[.5]", "[1e]", "[1,]", "[,1]", "[1 2]", "[-]", "[1", "[1]]", "[--1]", "[1e+]", "[]x"],
)
def test_what_is_no_json_is_no_number(text: str) -> None:
    numbers = NumberText(text.encode(), 0, len(text))
    assert numbers.read(np.dtype("float32"), (1,)) is None


def test_shapes_that_claim_too_much_take_no_memory() -> None:
    assert as_text([1, 2]).read(np.dtype("float32"), (2**40, 2**20)) is None
    assert as_text([1, 2]).read(np.dtype("float32"), (0, 2**61)) is None


def request(item: str, tail: str = "") -> v2_request.Request:
    return v2_request.parse(f'{{"inputs": [{item}]{tail}}}'.encode(), None)


LONG = "[" + ", ".join(["0.5"] * 20) + "]"


def test_only_the_data_of_inputs_is_taken_out() -> None:
    finder = NumberFinder()
    text = (
        f'{{"data": {LONG}, "inputs": [{{"name": "a\\"data\\"", "data" : {LONG}, "parameters": {{"data": {LONG}}}}}, '
        f'{{"data": {LONG}}}], "more": {{"data": {LONG}}}}}'
    ).encode()
    skeleton, numbers = finder.find(text)
    assert len(numbers) == 2 and all(bytes(one) == LONG.encode() for one in numbers.values())
    document = orjson.loads(skeleton)
    assert document["data"] == document["more"]["data"] == document["inputs"][0]["parameters"]["data"] == [0.5] * 20
    assert [item["data"] for item in document["inputs"]] == list(numbers)


def test_a_request_reads_as_it_did() -> None:
    parsed = request(f'{{"name": "x", "data": {LONG}}}')
    assert isinstance(parsed.inputs[0]["data"], NumberText)
    assert request('{"name": "x", "data": [1, 2]}').inputs[0]["data"] == [1, 2], "short ones are not worth it"
    assert request('{"name": "x", "data": ["1", "2", "3", "4", "5", "6", "7"]}').inputs[0]["data"][0] == "1"


@pytest.mark.parametrize("item", [f'{{"data": {LONG}', f'{{"data": {LONG[:-1]}}}', f'{{"data": {LONG}, "x": tru}}'])
def test_broken_documents_are_refused_with_the_general_parsers_words(item: str) -> None:
    with pytest.raises(InvalidArgument, match="the request is not JSON"):
        request(item)


@settings(max_examples=300, deadline=None)
@given(st.text('{}[]",:data0123456789.-e \\\n', max_size=120))
def test_any_text_survives_the_search(text: str) -> None:
    body = f'{{"inputs": [{{"data": {LONG}, {text}'.encode()
    skeleton, numbers = NumberFinder().find(body)
    for mark, one in numbers.items():
        skeleton = skeleton.replace(f'"{mark}"'.encode(), bytes(one))
    assert skeleton == body
