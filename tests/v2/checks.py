"""What holds of a V2 server over HTTP, check by check. Each is a function of a client; it asserts, or returns.

Sources: the Open Inference Protocol's REST specification, and Triton's extensions for binary tensors, classification,
model repositories, configuration and statistics. Where they leave a choice, every choice passes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from tests.v2.client import HEADER, Client, Reply, binary, numbers, strings, tensor

Check = Callable[[Client], None]
CHECKS: list[Check] = []
BINARY = {"binary_data_output": True}
F4 = np.array([1.5, -2.25, 0.1, 3e38], np.float32)


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def good(reply: Reply) -> Reply:
    assert reply.status == 200, (reply.status, reply.body[:300])
    return reply


def refused(client: Client, reply: Reply, *statuses: int) -> None:
    """An error in V2's shape, after which the connection goes on."""
    assert reply.status in (statuses or (400,)), (reply.status, reply.body[:300])
    assert reply.error
    assert reply.headers["content-type"].startswith("application/json")
    before = client.reconnects
    assert client.get("/v2/health/live").status == 200
    assert client.reconnects == before, "the connection was closed after an error"


def echo(client: Client, datatype: str, values: list[Any], **more: Any) -> Any:
    document = {"inputs": [tensor("x", datatype, [len(values)], values)], **more}
    output = good(client.infer(f"v2_{datatype.lower()}", document)).output("y")
    assert output["datatype"] == datatype and output["shape"] == [len(values)], output
    return output["data"]


def pair(**more: Any) -> dict[str, Any]:
    inputs = [tensor("a", "FP32", [2, 2], [1, 2, 3, 4]), tensor("b", "FP32", [2, 2], [10, 20, 30, 40])]
    return {"inputs": inputs, **more}


# --- health and metadata -------------------------------------------------------------------------------------------


@check
def server_is_live(client: Client) -> None:
    assert client.get("/v2/health/live").status == 200


@check
def server_is_ready(client: Client) -> None:
    assert client.get("/v2/health/ready").status == 200


@check
def server_metadata_names_the_server_and_its_extensions(client: Client) -> None:
    document = good(client.get("/v2")).json()
    assert isinstance(document["name"], str) and document["name"]
    assert isinstance(document["version"], str) and document["version"]
    assert all(isinstance(one, str) for one in document["extensions"])


@check
def model_metadata_describes_tensors(client: Client) -> None:
    document = good(client.get("/v2/models/v2_pair")).json()
    assert document["name"] == "v2_pair" and isinstance(document["platform"], str) and document["platform"]
    assert sorted(document["versions"]) == ["1", "2"]
    for key, names in (("inputs", ["a", "b"]), ("outputs", ["sum", "difference"])):
        assert [one["name"] for one in document[key]] == names
        assert all(one["datatype"] == "FP32" and one["shape"] == [-1, 2] for one in document[key]), document[key]


@check
def model_metadata_may_name_the_version(client: Client) -> None:
    assert good(client.get("/v2/models/v2_pair/versions/1")).json()["name"] == "v2_pair"


@check
def every_datatype_has_its_name(client: Client) -> None:
    for name in ("BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64", "BF16", "BYTES"):
        document = good(client.get(f"/v2/models/v2_{name.lower()}")).json()
        assert document["inputs"][0]["datatype"] == name, document


@check
def fixed_shapes_are_told(client: Client) -> None:
    assert good(client.get("/v2/models/v2_fixed")).json()["inputs"][0]["shape"] == [2, 3]


@check
def models_are_ready(client: Client) -> None:
    assert client.get("/v2/models/v2_pair/ready").status == 200
    assert client.get("/v2/models/v2_pair/versions/2/ready").status == 200


@check
def unknown_models_are_not_found(client: Client) -> None:
    refused(client, client.get("/v2/models/v2_nobody"), 404)
    refused(client, client.infer("v2_nobody", pair()), 404)
    assert client.get("/v2/models/v2_nobody/ready").status in (400, 404)


@check
def unknown_versions_are_not_found(client: Client) -> None:
    refused(client, client.get("/v2/models/v2_pair/versions/77"), 404)
    refused(client, client.infer("v2_pair/versions/77", pair()), 404)


# --- inference as JSON ---------------------------------------------------------------------------------------------


@check
def all_outputs_come_in_the_models_order(client: Client) -> None:
    reply = good(client.infer("v2_pair", pair()))
    assert reply.headers["content-type"].startswith("application/json")
    assert [one["name"] for one in reply.head()["outputs"]] == ["sum", "difference"]
    sums = reply.output("sum")
    assert (sums["datatype"], sums["shape"]) == ("FP32", [2, 2])
    np.testing.assert_array_equal(numbers(sums["data"]), [11, 22, 33, 44])
    np.testing.assert_array_equal(numbers(reply.output("difference")["data"]), [-9, -18, -27, -36])


@check
def the_answer_names_model_and_version(client: Client) -> None:
    head = good(client.infer("v2_pair/versions/1", pair())).head()
    assert (head["model_name"], head["model_version"]) == ("v2_pair", "1")
    assert good(client.infer("v2_pair", pair())).head()["model_version"] == "2", "the highest version is the default"


@check
def an_id_comes_back_and_none_is_made_up(client: Client) -> None:
    for name in ("42", "request-\u00e4"):
        assert good(client.infer("v2_pair", pair(id=name))).head()["id"] == name
    assert not good(client.infer("v2_pair", pair())).head().get("id")


@check
def only_the_outputs_asked_for_come_in_their_order(client: Client) -> None:
    wanted = [{"name": "difference"}, {"name": "sum"}]
    head = good(client.infer("v2_pair", pair(outputs=wanted))).head()
    assert [one["name"] for one in head["outputs"]] == ["difference", "sum"]
    head = good(client.infer("v2_pair", pair(outputs=wanted[:1]))).head()
    assert [one["name"] for one in head["outputs"]] == ["difference"]


@check
def nested_and_flat_data_mean_the_same(client: Client) -> None:
    nested = {"inputs": [tensor("a", "FP32", [2, 2], [[1, 2], [3, 4]]), tensor("b", "FP32", [2, 2], [[0, 0], [0, 1]])]}
    np.testing.assert_array_equal(numbers(good(client.infer("v2_pair", nested)).output("sum")["data"]), [1, 2, 3, 5])


@check
def integers_are_exact_to_64_bits(client: Client) -> None:
    values = [2**53 + 1, 2**63 - 1, -(2**63), 0]
    assert echo(client, "INT64", values) == values
    assert echo(client, "UINT64", [2**64 - 1, 2**53 + 1]) == [2**64 - 1, 2**53 + 1]


@check
def small_integers_reach_their_limits(client: Client) -> None:
    for datatype, values in (("INT8", [-128, 127]), ("UINT8", [0, 255]), ("INT16", [-32768, 32767])):
        assert echo(client, datatype, values) == values


@check
def floats_survive(client: Client) -> None:
    np.testing.assert_array_equal(numbers(echo(client, "FP32", F4.tolist())).astype(np.float32), F4)
    values = [0.1 + 0.2, 1e300, 5e-324]
    np.testing.assert_array_equal(numbers(echo(client, "FP64", values)), values)


@check
def non_finite_floats_survive(client: Client) -> None:
    raw = np.array([np.nan, np.inf, -np.inf, 1], np.float32).tobytes()
    reply = good(client.infer("v2_fp32", {"inputs": [binary("x", "FP32", [4], raw)]}, raw))
    np.testing.assert_array_equal(numbers(reply.output("y")["data"]), [np.nan, np.inf, -np.inf, 1])


@check
def booleans_are_booleans(client: Client) -> None:
    data = echo(client, "BOOL", [True, False])
    assert data == [True, False] and all(type(one) is bool for one in data), data


@check
def strings_are_text_of_any_kind(client: Client) -> None:
    values = ["", "gr\u00fc\u00dfe", "with\x00nul", '"\\', "\U0001f600"]
    assert echo(client, "BYTES", values) == values


@check
def empty_tensors_are_tensors(client: Client) -> None:
    assert list(echo(client, "FP32", [])) == []


# --- binary tensors ------------------------------------------------------------------------------------------------


def binary_echo(client: Client, datatype: str, raw: bytes, count: int) -> bytes:
    document = {"inputs": [binary("x", datatype, [count], raw)], "parameters": BINARY}
    reply = good(client.infer(f"v2_{datatype.lower()}", document, raw))
    assert reply.output("y")["datatype"] == datatype and reply.output("y")["shape"] == [count]
    return reply.raw()["y"]


@check
def binary_tensors_come_back_as_they_went(client: Client) -> None:
    cases: list[tuple[str, np.ndarray]] = [
        ("BOOL", np.array([True, False])),
        ("INT16", np.array([-2, 258], np.int16)),
        ("UINT64", np.array([2**64 - 1], np.uint64)),
        ("FP16", np.array([1.5, np.nan, -0.0], np.float16)),
        ("BF16", np.array([1.5, np.inf], ml_dtypes.bfloat16)),
        ("FP32", F4),
        ("FP64", np.array([0.1])),
    ]
    for datatype, array in cases:
        assert binary_echo(client, datatype, array.tobytes(), len(array)) == array.tobytes(), datatype


@check
def binary_strings_carry_their_lengths(client: Client) -> None:
    raw = strings([b"", b"\x00\xff", b"text"])
    assert binary_echo(client, "BYTES", raw, 3) == raw


@check
def binary_input_may_be_answered_as_json(client: Client) -> None:
    reply = good(client.infer("v2_fp32", {"inputs": [binary("x", "FP32", [4], F4.tobytes())]}, F4.tobytes()))
    assert HEADER.lower() not in reply.headers and reply.headers["content-type"].startswith("application/json")
    np.testing.assert_array_equal(numbers(reply.output("y")["data"]).astype(np.float32), F4)


@check
def json_input_may_be_answered_as_binary(client: Client) -> None:
    reply = good(client.infer("v2_fp32", {"inputs": [tensor("x", "FP32", [4], F4.tolist())], "parameters": BINARY}))
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.raw()["y"] == F4.tobytes()


@check
def one_input_may_be_binary_and_the_other_not(client: Client) -> None:
    raw = np.array([[1, 2]], np.float32).tobytes()
    document = {"inputs": [tensor("b", "FP32", [1, 2], [10, 20]), binary("a", "FP32", [1, 2], raw)]}
    np.testing.assert_array_equal(numbers(good(client.infer("v2_pair", document, raw)).output("sum")["data"]), [11, 22])


@check
def an_outputs_own_wish_wins(client: Client) -> None:
    wanted = [{"name": "sum", "parameters": {"binary_data": False}}, {"name": "difference"}]
    reply = good(client.infer("v2_pair", pair(outputs=wanted, parameters=BINARY)))
    assert list(reply.raw()) == ["difference"]
    np.testing.assert_array_equal(numbers(reply.output("sum")["data"]), [11, 22, 33, 44])
    wanted = [{"name": "sum", "parameters": {"binary_data": True}}, {"name": "difference"}]
    reply = good(client.infer("v2_pair", pair(outputs=wanted)))
    assert list(reply.raw()) == ["sum"] and "data" in reply.output("difference")


@check
def a_raw_body_is_the_only_input(client: Client) -> None:
    reply = good(client.request("POST", "/v2/models/v2_fp32/infer", F4.tobytes(), {HEADER: "0"}))
    assert reply.output("y")["shape"] == [4] and reply.raw()["y"] == F4.tobytes()


@check
def a_raw_body_of_bytes_is_one_element(client: Client) -> None:
    reply = good(client.request("POST", "/v2/models/v2_bytes/infer", b"hello", {HEADER: "0"}))
    assert reply.output("y")["shape"] == [1] and reply.raw()["y"] == strings([b"hello"])


@check
def half_precision_has_no_json_form(client: Client) -> None:
    refused(client, client.infer("v2_fp16", {"inputs": [tensor("x", "FP16", [1], [1.5])]}), 400)


@check
def classification_gives_the_largest(client: Client) -> None:
    output = {"name": "y", "parameters": {"classification": 2}}
    document = {"inputs": [tensor("x", "FP32", [2, 4], [1, 4, 2, 3, 8, 5, 6, 7])], "outputs": [output]}
    answer = good(client.infer("v2_batched", document)).output("y")
    assert answer["datatype"] == "BYTES" and answer["shape"] == [2, 2], answer
    parts = [text.split(":")[:2] for text in np.array(answer["data"]).ravel().tolist()]
    assert [(float(value), int(index)) for value, index in parts] == [(4.0, 1), (3.0, 3), (8.0, 0), (7.0, 3)]


# --- how bodies travel ---------------------------------------------------------------------------------------------


@check
def compressed_requests_are_understood(client: Client) -> None:
    head = json.dumps({"inputs": [binary("x", "FP32", [4], F4.tobytes())], "parameters": BINARY}).encode()
    for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        headers = {HEADER: str(len(head)), "Content-Encoding": encoding}
        reply = good(client.request("POST", "/v2/models/v2_fp32/infer", pack(head + F4.tobytes()), headers))
        assert reply.raw()["y"] == F4.tobytes()


@check
def answers_are_compressed_only_as_asked(client: Client) -> None:
    values = [0.5] * 4000
    body = json.dumps({"inputs": [tensor("x", "FP32", [len(values)], values)]}).encode()
    for asked, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress), ("identity", bytes)):
        reply = good(client.request("POST", "/v2/models/v2_fp32/infer", body, {"Accept-Encoding": asked}))
        encoding = reply.headers.get("content-encoding", "identity")
        assert encoding in (asked, "identity"), encoding
        plain = unpack(reply.body) if encoding == asked else reply.body
        assert len(json.loads(plain)["outputs"][0]["data"]) == len(values)


@check
def chunked_requests_are_understood(client: Client) -> None:
    body = json.dumps(pair()).encode()
    reply = good(client.request("POST", "/v2/models/v2_pair/infer", iter([body[:20], body[20:]])))
    np.testing.assert_array_equal(numbers(reply.output("sum")["data"]), [11, 22, 33, 44])


@check
def large_tensors_come_whole(client: Client) -> None:
    array = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    assert binary_echo(client, "FP32", array.tobytes(), len(array)) == array.tobytes()


# --- errors --------------------------------------------------------------------------------------------------------


@check
def wrong_requests_are_refused_and_the_connection_goes_on(client: Client) -> None:
    x = tensor("x", "FP32", [2], [1, 2])
    wrong: list[Any] = [
        b"{not json",
        {},
        {"inputs": []},
        {"inputs": [{**x, "datatype": "INT32"}]},
        {"inputs": [{**x, "datatype": "FP33"}]},
        {"inputs": [{**x, "shape": [3]}]},
        {"inputs": [{**x, "shape": [-1]}]},
        {"inputs": [{**x, "data": [1, "two"]}]},
        {"inputs": [{**x, "name": "z"}]},
        {"inputs": [x, x]},
        {"inputs": [x], "outputs": [{"name": "z"}]},
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2]}]},
    ]
    for document in wrong:
        refused(client, client.infer("v2_fp32", document), 400)
    refused(client, client.infer("v2_pair", {"inputs": [tensor("a", "FP32", [1, 2], [1, 2])]}), 400)
    refused(client, client.infer("v2_fixed", {"inputs": [tensor("x", "FP32", [3, 2], [0] * 6)]}), 400)


@check
def wrong_framing_is_refused_and_the_connection_goes_on(client: Client) -> None:
    raw = F4.tobytes()
    item = binary("x", "FP32", [4], raw)
    head = json.dumps({"inputs": [item]}).encode()
    for length in (str(len(head) + len(raw) + 1), "-1", "abc"):
        headers = {HEADER: length}
        refused(client, client.request("POST", "/v2/models/v2_fp32/infer", head + raw, headers), 400)
    refused(client, client.request("POST", "/v2/models/v2_fp32/infer", head + raw), 400)
    refused(client, client.infer("v2_fp32", {"inputs": [item]}, raw + b"x"), 400)
    refused(client, client.infer("v2_fp32", {"inputs": [item]}, raw[:-1]), 400)
    refused(client, client.infer("v2_fp32", {"inputs": [{**item, "data": [1, 2, 3, 4]}]}, raw), 400)
    short = {"inputs": [binary("x", "FP32", [4], raw[:-2])]}
    refused(client, client.infer("v2_fp32", short, raw[:-2]), 400)
    refused(
        client, client.infer("v2_bytes", {"inputs": [binary("x", "BYTES", [1], b"\x09\0\0\0a")]}, b"\x09\0\0\0a"), 400
    )


@check
def wrong_methods_are_refused(client: Client) -> None:
    assert client.get("/v2/models/v2_pair/infer").status in (400, 404, 405)
    assert client.request("POST", "/v2/health/live").status in (400, 404, 405)


# --- extensions ----------------------------------------------------------------------------------------------------


def index(client: Client, **body: Any) -> dict[tuple[str, str], str]:
    rows = good(client.request("POST", "/v2/repository/index", body)).json()
    return {(row["name"], row.get("version", "")): row.get("state", "") for row in rows}


@check
def the_index_lists_every_model_with_its_state(client: Client) -> None:
    states = index(client)
    assert states["v2_pair", "1"] == states["v2_pair", "2"] == states["v2_fixed", "1"] == "READY"
    assert set(index(client, ready=True).values()) == {"READY"}


@check
def a_model_can_be_unloaded_and_loaded_again(client: Client) -> None:
    document = {"inputs": [tensor("x", "FP32", [1], [1])]}
    assert good(client.infer("v2_spare", document))
    good(client.request("POST", "/v2/repository/models/v2_spare/unload", {}))
    try:
        assert client.get("/v2/models/v2_spare/ready").status >= 400
        reply = client.infer("v2_spare", document)
        refused(client, reply, 400, 404, 503)
        assert reply.status != 503 or int(reply.headers["retry-after"]) > 0
        assert index(client).get(("v2_spare", "1"), "UNAVAILABLE") in ("UNAVAILABLE", "UNLOADING")
    finally:
        good(client.request("POST", "/v2/repository/models/v2_spare/load", {}))
    assert client.get("/v2/models/v2_spare/ready").status == 200
    assert good(client.infer("v2_spare", document))


@check
def loading_what_is_not_there_fails(client: Client) -> None:
    refused(client, client.request("POST", "/v2/repository/models/v2_nobody/load", {}), 400, 404)


@check
def the_configuration_is_a_model_config(client: Client) -> None:
    config = good(client.get("/v2/models/v2_batched/config")).json()
    assert config["name"] == "v2_batched" and config["max_batch_size"] == 8
    assert config["platform"] or config["backend"]
    for key, name in (("input", "x"), ("output", "y")):
        (one,) = config[key]
        assert (one["name"], one["data_type"], [int(dim) for dim in one["dims"]]) == (name, "TYPE_FP32", [4])
    plain = good(client.get("/v2/models/v2_fixed/config")).json()
    assert plain["max_batch_size"] == 0 and [int(dim) for dim in plain["input"][0]["dims"]] == [2, 3]
    assert good(client.get("/v2/models/v2_bytes/config")).json()["input"][0]["data_type"] == "TYPE_STRING"


def counts(client: Client, path: str) -> dict[str, Any]:
    (one,) = good(client.get(path)).json()["model_stats"]
    return one


@check
def statistics_count_each_request(client: Client) -> None:
    path = "/v2/models/v2_batched/versions/1/stats"
    before = counts(client, path)
    document = {"inputs": [tensor("x", "FP32", [3, 4], [1.0] * 12)]}
    for _ in range(2):
        good(client.infer("v2_batched", document))
    client.infer("v2_batched", {"inputs": []})
    after = counts(client, path)
    assert (after["name"], after["version"]) == ("v2_batched", "1")
    assert after["inference_count"] - before["inference_count"] == 6, "rows are counted, not requests"
    assert after["execution_count"] - before["execution_count"] == 2
    assert after["last_inference"] > 1_600_000_000_000, "milliseconds since 1970"
    for key in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        new, old = after["inference_stats"][key], before["inference_stats"][key]
        assert new["count"] - old["count"] == 2, key
        assert new["ns"] >= old["ns"], key
    assert after["inference_stats"]["fail"]["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert any(one["batch_size"] == 3 and one["compute_infer"]["count"] >= 2 for one in after["batch_stats"])


@check
def statistics_of_all_models(client: Client) -> None:
    names = {one["name"] for one in good(client.get("/v2/models/stats")).json()["model_stats"]}
    assert {"v2_batched", "v2_pair"} <= names
    versions = {one["version"] for one in good(client.get("/v2/models/v2_pair/stats")).json()["model_stats"]}
    assert versions == {"1", "2"}


# Where each extension that a server may claim has its route, and how it is asked.
ROUTES = {
    "system_shared_memory": ("GET", "/v2/systemsharedmemory/status"),
    "cuda_shared_memory": ("GET", "/v2/cudasharedmemory/status"),
    "trace": ("GET", "/v2/trace/setting"),
    "logging": ("GET", "/v2/logging"),
    "model_repository": ("POST", "/v2/repository/index"),
    "model_configuration": ("GET", "/v2/models/v2_pair/config"),
    "statistics": ("GET", "/v2/models/v2_pair/stats"),
}


@check
def extensions_are_exactly_what_works(client: Client) -> None:
    claimed = set(good(client.get("/v2")).json()["extensions"])
    for extension, (method, path) in ROUTES.items():
        reply = client.request(method, path)
        assert (reply.status == 200) == (extension in claimed), (extension, reply.status)
        if reply.status != 200:
            assert reply.status in (404, 501) and reply.error
