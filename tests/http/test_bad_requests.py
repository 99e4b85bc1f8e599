"""What no client should send: always a status and a text that name the fault, and a connection that goes on."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.support import Raw, Running, serving
from ziggurat.http import protocol

GOOD = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}


@pytest.fixture
def raw(server: Running) -> Iterator[Raw]:
    """A connection that must still answer when the test is over."""
    with Raw(server.port) as connection:
        yield connection
        assert connection.infer("identity/fp32", {"inputs": [GOOD]}).status == 200, "the connection stays usable"


def item(**changes: Any) -> dict[str, Any]:
    changed = {**GOOD, **changes}
    return {key: one for key, one in changed.items() if one is not ...}


BAD_TENSORS = {
    "another datatype": (item(datatype="INT64"), "tensor 'x': expected datatype FP32, got 'INT64'"),
    "no such datatype": (
        item(datatype="FLOAT"),
        "tensor 'x': expected datatype FP32, got 'FLOAT', which is no datatype",
    ),
    "no datatype": (item(datatype=...), "got None"),
    "a rank too many": (item(shape=[1, 2]), "tensor 'x': expected shape [-1] (-1: any), got [1, 2]"),
    "too few values": (item(shape=[3]), "tensor 'x': shape [3] has 3 elements, 'data' has 2"),
    "a negative size": (item(shape=[-1]), "'shape' must be an array of sizes"),
    "a size that is no integer": (item(shape=[2.0]), "'shape' must be an array of sizes"),
    "a size that is a boolean": (item(shape=[True]), "'shape' must be an array of sizes"),
    "2^40 elements": (item(shape=[2**40]), "1099511627776 elements, 'data' has 2"),
    "2^100 elements": (item(shape=[2**63]), "too large"),
    "no shape": (item(shape=...), "'shape' must be"),
    "an unknown name": (item(name="X"), "the model has no input 'X'"),
    "no name": (item(name=...), "needs a 'name'"),
    "a name that is a number": (item(name=7), "needs a 'name'"),
    "no data": (item(data=...), "has neither 'data' nor 'binary_data_size'"),
    "null": (item(data=[1, None]), "'data' holds: null"),
    "a string": (item(data=[1, "two"]), "'data' holds: string"),
    "a boolean": (item(data=[1, True]), "'data' holds: boolean"),
    "an object": (item(data={"a": 1}), "'data' must be an array"),
    "too large for FP32": (item(data=[1, 1e39]), "beyond FP32"),
    "nested too deep": (item(data=[[1], [2]]), "'data' holds: list"),
    "parameters that are a list": (item(parameters=[]), "must be an object"),
    "both forms": (item(parameters={"binary_data_size": 8}), "has both"),
    "negative binary size": (item(data=..., parameters={"binary_data_size": -8}), "must be a number of bytes"),
    "binary size as text": (item(data=..., parameters={"binary_data_size": "8"}), "must be a number of bytes"),
    "binary without bytes": (item(data=..., parameters={"binary_data_size": 8}), "0 bytes are left"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_a_bad_tensor_is_400_and_named(raw: Raw, case: str) -> None:
    tensor, says = BAD_TENSORS[case]
    reply = raw.infer("identity/fp32", {"inputs": [tensor]})
    assert reply.status == 400 and says in reply.error


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b'{"inputs": NaN', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 60_000 + b"NaN", "not JSON"),
        ({}, "'inputs' must be an array of objects"),
        ({"inputs": {}}, "'inputs' must be an array of objects"),
        ({"inputs": [1]}, "'inputs' must be an array of objects"),
        ({"inputs": [GOOD, GOOD]}, "tensor 'x': is given twice"),
        ({"inputs": [GOOD], "outputs": [{"name": "z"}]}, "the model has no output 'z'"),
        ({"inputs": [GOOD], "outputs": [{}]}, "an output needs a 'name'"),
        ({"inputs": [GOOD], "outputs": [{"name": "y"}, {"name": "y"}]}, "asked for twice"),
        ({"inputs": [GOOD], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}, "true or false"),
        ({"inputs": [GOOD], "outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "number of classes"),
        ({"inputs": [GOOD], "id": 7}, "'id' must be a string"),
        ({"inputs": [GOOD], "parameters": 7}, "must be an object"),
        ({"inputs": [GOOD], "parameters": {"timeout": -1}}, "microseconds"),
        ({"inputs": [GOOD], "parameters": {"timeout": 1.5}}, "microseconds"),
        ({"inputs": [GOOD], "parameters": {"binary_data_output": "yes"}}, "true or false"),
    ],
)
def test_a_bad_document_is_400(raw: Raw, document: Any, says: str) -> None:
    reply = raw.infer("identity/fp32", document)
    assert reply.status == 400 and says in reply.error


# A bare NaN sends a document to the lenient parser, which knows more than any answer can carry back.
NAN = b'"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[NaN]}]}'


@pytest.mark.parametrize(
    "head",
    [
        b'{"id":"\\ud800",',
        b'{"parameters":{"a":"\\ud800"},',
        b'{"parameters":{"\\ud800":1},',
        b'{"parameters":{"a":NaN},',
        b'{"parameters":{"a":-Infinity},',
        b'{"parameters":{"a":%d},' % 2**70,
    ],
)
def test_what_an_answer_cannot_carry_back_is_400(raw: Raw, head: bytes) -> None:
    assert raw.infer("identity/fp32", head + NAN).status == 400


def test_an_integer_beyond_64_bits_is_called_so(raw: Raw) -> None:
    for model, value in (("int64", -(2**63) - 1), ("int64", 2**70), ("uint64", 2**64)):
        tensor = item(datatype=model.upper(), shape=[1], data=[value])
        assert f"beyond {model.upper()}" in raw.infer(f"identity/{model}", {"inputs": [tensor]}).error


def test_a_message_is_no_longer_than_it_helps(raw: Raw, server: Running) -> None:
    reply = raw.infer("identity/fp32", {"inputs": [item(name="n" * 100_000)]})
    assert reply.status == 400 and "inputs are x" in reply.error and len(reply.error) < 5000
    assert max(len(line) for line in server.log.getvalue().splitlines()) < 10_000


def test_a_made_up_name_is_logged_whatever_its_letters(raw: Raw, server: Running) -> None:
    body = b'{"inputs":[{"name":"half \\ud800","datatype":"FP32","shape":[1],"data":[NaN]}]}'
    reply = raw.infer("identity/fp32", body, x_request_id="half-a-pair")
    assert reply.status == 400 and "half ?" in reply.error
    (line,) = [one for one in server.logged() if one.get("request_id") == "half-a-pair"]
    assert line["status"] == 400 and "half ?" in line["error"]


def test_ragged_data_is_400(raw: Raw) -> None:
    tensor = {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2, 3], [4]]}
    reply = raw.infer("pair", {"inputs": [tensor]})
    assert reply.status == 400 and "does not have shape [2, 2]: wrong at axis 1" in reply.error


def test_a_missing_input_is_400_and_named(raw: Raw) -> None:
    reply = raw.infer("pair", {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]})
    assert reply.status == 400 and "'b'" in reply.error


@pytest.mark.parametrize(
    ("model", "datatype", "data"),
    [
        ("int8", "INT8", [128]),
        ("uint8", "UINT8", [-1]),
        ("int64", "INT64", [2**63]),
        ("uint64", "UINT64", [2**64]),
        ("int32", "INT32", [1.5]),
        ("int32", "INT32", [1.0]),
        ("bool", "BOOL", [2]),
        ("bytes", "BYTES", [1]),
    ],
)
def test_a_value_that_the_datatype_cannot_hold_is_400(raw: Raw, model: str, datatype: str, data: list[Any]) -> None:
    reply = raw.infer(f"identity/{model}", {"inputs": [item(datatype=datatype, shape=[1], data=data)]})
    assert reply.status == 400 and reply.error.startswith("tensor 'x': ")


def test_shared_memory_is_501(raw: Raw) -> None:
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    assert raw.infer("identity/fp32", {"inputs": [item(data=..., parameters=parameters)]}).status == 501


HEAD = json.dumps({"inputs": [item(data=..., parameters={"binary_data_size": 8})]}).encode()


@pytest.mark.parametrize(
    ("length", "body", "says"),
    [
        ("100000", HEAD + bytes(8), f"the body has {len(HEAD) + 8}"),
        ("-1", HEAD + bytes(8), "must be a number of bytes, got '-1'"),
        ("", HEAD + bytes(8), "must be a number of bytes"),
        ("1e2", HEAD + bytes(8), "must be a number of bytes"),
        ("9" * 40, HEAD + bytes(8), "must be a number of bytes"),
        (None, HEAD + bytes(8), "needs the header Inference-Header-Content-Length"),
        (str(len(HEAD)), HEAD + bytes(7), "'binary_data_size' is 8, 7 bytes are left"),
        (str(len(HEAD)), HEAD + bytes(9), "account for 8 binary bytes, the body has 9"),
        (str(len(HEAD) - 1), HEAD + bytes(8), "not JSON"),
        (str(len(HEAD) + 1), HEAD + bytes(8), "not JSON"),
        (str(len(HEAD)), HEAD.replace(b"[2]", b"[3]") + bytes(8), "needs 12 bytes (3 elements of FP32), got 8"),
        ("0", bytes(7), "needs 4 bytes"),
    ],
)
def test_a_wrong_binary_frame_is_400(raw: Raw, length: str | None, body: bytes, says: str) -> None:
    headers = {} if length is None else {"inference_header_content_length": length}
    reply = raw.request("POST", "/v2/models/identity/fp32/infer", body, **headers)
    assert reply.status == 400 and says in reply.error


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x01\x00", "ends inside a length"),
        (b"\x05\x00\x00\x00abc", "claims 5 bytes, 3 are left"),
        (b"\xff\xff\xff\xffabc", "claims 4294967295 bytes"),
        (b"\x01\x00\x00\x00a\x01\x00\x00\x00b", "the shape has 1 elements, the BYTES data 2"),
        (b"", "the shape has 1 elements, the BYTES data 0"),
    ],
)
def test_wrong_bytes_elements_are_400(raw: Raw, data: bytes, says: str) -> None:
    tensor = item(datatype="BYTES", shape=[1], data=..., parameters={"binary_data_size": len(data)})
    reply = raw.infer("identity/bytes", {"inputs": [tensor]}, data)
    assert reply.status == 400 and says in reply.error


def test_a_bool_is_a_byte_of_zero_or_one(raw: Raw) -> None:
    tensor = item(datatype="BOOL", shape=[2], data=..., parameters={"binary_data_size": 2})
    reply = raw.infer("identity/bool", {"inputs": [tensor]}, b"\x01\x02")
    assert reply.status == 400 and "must lie in 0..1" in reply.error


@pytest.mark.parametrize("header", ["content_type", "content_encoding"])
def test_what_is_certainly_not_for_us_is_415(raw: Raw, header: str) -> None:
    text = {"content_type": "multipart/form-data; boundary=x", "content_encoding": "br"}[header]
    reply = raw.infer("identity/fp32", {"inputs": [GOOD]}, **{header: text})
    assert reply.status == 415 and reply.error


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"no gzip", 400, "the body is not gzip"),
        (gzip.compress(b"{}", mtime=0)[:-3], 400, "not one whole gzip stream"),
        (gzip.compress(b"{}", mtime=0) + b"more", 400, "not one whole gzip stream"),
        (gzip.compress(b"{}", mtime=0) + gzip.compress(b"{}", mtime=0)[:-3], 400, "not one whole gzip stream"),
        (b"", 400, "not one whole gzip stream"),
        (
            gzip.compress(b"{", mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(b"}", mtime=0),
            400,
            "'inputs' must be",
        ),
        (gzip.compress(bytes(1 << 19)) * 3, 413, "more than 1048576 bytes when decompressed"),
        (gzip.compress(b"{}", mtime=0), 400, "'inputs' must be"),
        (gzip.compress(bytes(100 << 20)), 413, "more than 1048576 bytes when decompressed"),
    ],
)
def test_a_wrong_compressed_body_is_refused(raw: Raw, body: bytes, status: int, says: str) -> None:
    reply = raw.request("POST", "/v2/models/identity/fp32/infer", body, content_encoding="gzip")
    assert reply.status == status and says in reply.error


@pytest.mark.parametrize(
    ("asked", "encoding"),
    [
        ("GZIP", "gzip"),
        ("gzip;q=1.0", "gzip"),
        ("Deflate ; q=0.5", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip;q=2", None),
        ("gzip;level=9", None),
        ("gzip, deflate, br", None),  # what clients send by habit
        ("*", None),
        ("", None),
    ],
)
def test_an_answer_is_compressed_for_who_names_one_encoding(raw: Raw, asked: str, encoding: str | None) -> None:
    many = {**GOOD, "shape": [5000], "data": [0.5] * 5000}
    reply = raw.infer("identity/fp32", {"inputs": [many]}, accept_encoding=asked)
    assert reply.status == 200 and reply.headers.get("content-encoding") == encoding


def test_a_body_over_the_limit_is_413(raw: Raw) -> None:
    reply = raw.request("POST", "/v2/models/identity/fp32/infer", bytes((1 << 20) + 1))
    assert reply.status == 413 and reply.error == "the body has 1048577 bytes, the limit is 1048576"


def test_a_chunked_body_over_the_limit_is_413(raw: Raw) -> None:
    head = b"POST /v2/models/identity/fp32/infer HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    raw.socket.sendall(head + (b"10000\r\n" + bytes(0x10000) + b"\r\n") * 17 + b"0\r\n\r\n")
    reply = raw.reply()
    assert reply.status == 413 and "limit" in reply.error


def test_a_chunked_body_is_understood(raw: Raw) -> None:
    body = json.dumps({"inputs": [GOOD]}).encode()
    head = b"POST /v2/models/identity/fp32/infer HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    parts = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7))
    raw.socket.sendall(head + parts + b"0\r\n\r\n")
    assert raw.reply().status == 200


def test_an_unknown_model_is_404_and_a_broken_one_503(raw: Raw) -> None:
    assert raw.infer("nobody", {"inputs": [GOOD]}).status == 404
    assert raw.infer("identity/fp32/versions/9", {"inputs": [GOOD]}).status == 404
    reply = raw.infer("broken", {"inputs": [GOOD]})
    assert reply.status == 503 and reply.headers["retry-after"] == "1"


def test_a_refusal_before_100_continue_closes_the_connection(server: Running) -> None:
    with Raw(server.port) as connection:
        head = "POST /v2/models/nobody/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n"
        connection.socket.sendall(head.encode())
        reply = connection.reply()
        assert reply.status == 404 and reply.headers["connection"] == "close"


def test_what_is_not_http_is_refused_and_the_server_goes_on(server: Running, raw: Raw) -> None:
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
    ):
        with Raw(server.port) as connection:
            connection.socket.sendall(noise)
            reply = connection.reply()
            assert reply.status == 400 and reply.error and reply.headers["connection"] == "close"
    assert raw.request("GET", "/v2/health/live").status == 200


@pytest.mark.parametrize("line", [b"x" * 30, b"y" * 5000])
def test_a_head_without_end_is_refused(server: Running, line: bytes) -> None:
    with Raw(server.port) as connection:
        connection.socket.sendall(b"GET /v2 HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):  # the server may close while this is still talking
            for number in range((100 << 10) // len(line)):
                connection.socket.sendall(b"h%d: " % number + line + b"\r\n")
            assert connection.reply().status == 400


def test_a_head_that_is_too_slow_ends_the_connection(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with serving(repository) as running:
        for start in (b"", b"GET /v2 HTT", b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\nGET /v2 H"):
            with Raw(running.port) as connection:
                connection.socket.sendall(start)
                received = b""
                while data := connection.socket.recv(4096):
                    received += data
                assert received.startswith(b"HTTP/1.1 200") == (b"live" in start)


def test_asking_for_a_websocket_is_answered_as_plain_http(raw: Raw) -> None:
    assert raw.request("GET", "/v2/health/live", connection="Upgrade", upgrade="websocket").status == 200


def test_requests_sent_in_one_go_are_answered_in_their_order(raw: Raw) -> None:
    for number in range(5):
        raw.send("POST", "/v2/models/identity/fp32/infer", json.dumps({"inputs": [GOOD], "id": str(number)}).encode())
    assert [raw.reply().json()["id"] for _ in range(5)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "path", ["/v2/models/%ff%00/infer", "/v2/models/a%0Ab/infer", "/v2/models//infer", "/%2e%2e/x"]
)
def test_strange_paths_are_404(raw: Raw, path: str) -> None:
    assert raw.request("POST", path, b"{}").status == 404


def test_a_path_that_is_no_ascii_is_refused(server: Running) -> None:
    with Raw(server.port) as connection:
        connection.socket.sendall(b"GET /v2/\xff HTTP/1.1\r\nhost: t\r\n\r\n")
        assert connection.reply().status in (400, 404)
