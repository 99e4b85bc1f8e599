"""Skeleton and weights come apart and together again; damaged bytes are refused, never trusted."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.formats.onnx.models import model, read, value, weights_model
from tests.formats.onnx.recorder import Recorder
from ziggurat.errors import InvalidModel, NotFound, ZigguratError
from ziggurat.formats.onnx import read_onnx, walker
from ziggurat.formats.onnx.walker import MIN_BLOB_BYTES, walk
from ziggurat.formats.onnx.wire import encode_tag, encode_varint
from ziggurat.formats.source import FileSource, MemorySource

SMALL = weights_model(300).SerializeToString()


def submessage(number: int, content: bytes) -> bytes:
    return encode_tag(number, 2) + encode_varint(len(content)) + content


def refill(data: bytes) -> onnx.ModelProto:
    """The model again, from its skeleton and its blobs."""
    skeleton = walk(MemorySource(data))
    found = onnx.ModelProto.FromString(skeleton.data)
    for tensor in found.graph.initializer:
        blob = skeleton.blob_of(tensor.raw_data)
        if blob is not None:
            tensor.ClearField("raw_data")
            content = data[blob.offset : blob.offset + blob.length]
            if blob.field == "raw_data":
                tensor.raw_data = content
            else:
                getattr(tensor, blob.field).extend(np.frombuffer(content, "<f4" if blob.field[0] == "f" else "<f8"))
    return found


def test_large_tensors_leave_the_skeleton_and_small_ones_stay() -> None:
    data = weights_model(1000).SerializeToString()
    skeleton = walk(MemorySource(data))
    assert [blob.length for blob in skeleton.blobs] == [12000, 4000]
    assert len(skeleton.data) < 500
    assert refill(data) == onnx.ModelProto.FromString(data)
    tiny = walk(MemorySource(weights_model(3).SerializeToString()))
    assert tiny.blobs == []
    assert tiny.data == weights_model(3).SerializeToString()


def test_packed_float_and_double_data_are_blobs_too() -> None:
    floats = helper.make_tensor("w", onnx.TensorProto.FLOAT, [600], np.arange(600))
    doubles = helper.make_tensor("d", onnx.TensorProto.DOUBLE, [300], np.arange(300))
    nodes = [helper.make_node("Identity", ["w"], ["y"]), helper.make_node("Identity", ["d"], ["z"])]
    outputs = [value("y", shape=(600,)), value("z", onnx.TensorProto.DOUBLE, (300,))]
    data = model(nodes, [], outputs, [floats, doubles]).SerializeToString()
    assert [blob.field for blob in walk(MemorySource(data)).blobs] == ["float_data", "double_data"]
    assert refill(data) == onnx.ModelProto.FromString(data)
    recorded = {t.name.split("#")[0]: numpy_helper.to_array(t) for t in read(data).graph.graph.initializer}
    assert (recorded["w"] == np.arange(600)).all()
    assert (recorded["d"] == np.arange(300)).all()


def test_tensors_inside_nodes_subgraphs_and_functions_are_blobs() -> None:
    big = numpy_helper.from_array(np.zeros(MIN_BLOB_BYTES, np.uint8), "big")
    constant = helper.make_node("Constant", [], ["c"], value=big)
    branch = helper.make_graph([constant], "b", [], [value("c", onnx.TensorProto.UINT8, (MIN_BLOB_BYTES,))], [big])
    branching = helper.make_node("If", ["cond"], ["y"], then_branch=branch, else_branch=branch)
    function = helper.make_function("f", "F", [], ["c"], [constant], [helper.make_opsetid("", 28)])
    data = model([constant, branching], functions=[function]).SerializeToString()
    skeleton = walk(MemorySource(data))
    assert len(skeleton.blobs) == 1 + 2 * 2 + 1
    assert len(skeleton.data) < MIN_BLOB_BYTES


def test_a_model_truncated_at_any_byte_is_refused() -> None:
    # the weights' inner bytes are all alike: every position around them, and a few in them
    for length in (*range(300), *range(300, len(SMALL) - 300, 97), *range(len(SMALL) - 300, len(SMALL))):
        with pytest.raises(InvalidModel):
            read(SMALL[:length])


@settings(max_examples=400, deadline=2000)
@given(st.data())
def test_a_damaged_model_is_read_or_refused_but_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        # the header and the tail are where structure is; weights are in between
        position = data.draw(st.integers(0, 250) | st.integers(len(SMALL) - 120, len(SMALL) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    start = time.monotonic()
    with contextlib.suppress(ZigguratError):
        read(bytes(damaged))
    assert time.monotonic() - start < 2


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ZigguratError):
        read(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08" + b"\xff" * 11, "varint of more than 10 bytes at byte 1"),
        (submessage(7, b"\x0a\x00" * 600 + b"\x0a\x7f"), "field 1 at byte 1203 needs 127 bytes, only 0 are left"),
        (b"\x0b", "unknown wire type 3 at byte 0"),
        (b"\x08\x0a\x3a", "cut off inside a varint at byte 3"),
        (b"\x08\x0a\x09\x00\x00", "field 1 at byte 2 is cut off"),
        (b"\x00\x01", "field number 0 at byte 0 is out of range"),
        (b"\x08\x0a" + submessage(2, b"x"), "the file has no graph"),
    ],
)
def test_malformed_protobuf_is_named_with_its_position(data: bytes, message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        read(data)


def test_nesting_is_limited() -> None:
    content = b"\0" * MIN_BLOB_BYTES
    for _ in range(60):  # graph, node, attribute, graph, ...
        content = submessage(1, submessage(5, submessage(6, content)))
    with pytest.raises(InvalidModel, match="nested deeper than 100"):
        read(b"\x08\x0a" + submessage(7, content))


def test_a_file_of_very_many_fields_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker, "MAX_FIELDS", 2000)
    with pytest.raises(InvalidModel, match="more than 2000 protobuf fields"):
        read(b"\x08\x0a" + submessage(7, submessage(1, b"") * 2001))


def test_a_placeholder_cannot_be_forged() -> None:
    forged = onnx.TensorProto(name="w", data_type=2, dims=[24], raw_data=b"\0" * 24)
    data = model([helper.make_node("Identity", ["w"], ["y"])], [], [value("y", 2, (24,))], [forged])
    (tensor,) = read(data).graph.graph.initializer
    assert numpy_helper.to_array(tensor).tolist() == [0] * 24


def test_a_model_of_more_than_2_gb_is_read_without_its_weights(tmp_path: Path) -> None:
    """A sparse file: a real header and tail around 3 GiB of zeros."""
    size = 3 << 30
    head = submessage(8, b"w") + b"\x10\x02" + b"\x08" + encode_varint(size)
    tensor = len(head) + len(encode_tag(9, 2) + encode_varint(size)) + size
    rest = model([helper.make_node("Identity", ["x"], ["y"], "n")], [value("x")], [value("y")])
    graph = rest.graph.SerializeToString()
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x0a" + submessage(8, b"\x10\x1c"))
        file.write(
            encode_tag(7, 2) + encode_varint(len(encode_tag(5, 2) + encode_varint(tensor)) + tensor + len(graph))
        )
        file.write(encode_tag(5, 2) + encode_varint(tensor) + head + encode_tag(9, 2) + encode_varint(size))
        start = file.tell()
        file.seek(size, 1)
        file.write(graph)

    class Lazy(Recorder):
        def constant_file(self, name: str, dtype: int, shape: list[int], path: str, offset: int, length: int) -> int:
            self.files.append((path, offset, length))
            return self.string_constant(name, [0], [])

    builder = Lazy("g")
    imported = read_onnx(path, lambda name: builder)
    assert builder.files == [(str(path), start, size)]
    assert [node.op_type for node in imported.graph.graph.node] == ["Identity", "Identity"]


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(SMALL)
    with FileSource(path) as source:
        path.write_bytes(SMALL[:100])
        with pytest.raises(InvalidModel, match="became shorter"):
            source.read(0, len(SMALL))


def test_paths_that_are_no_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"missing\.onnx"):
        read_onnx(tmp_path / "missing.onnx", Recorder)
    with pytest.raises(InvalidModel, match="is a folder"):
        read_onnx(tmp_path, Recorder)
    with pytest.raises(InvalidModel, match="not a regular file"):
        read_onnx("/dev/zero", Recorder)
    with pytest.raises(InvalidModel, match="cannot be opened"):
        read_onnx("a\0b", Recorder)


def test_the_length_of_a_field_may_be_anything_up_to_64_bits() -> None:
    for length in (2**31, 2**63, 2**64 - 1):
        with pytest.raises(InvalidModel, match="only 8 are left"):
            read(b"\x08\x0a" + encode_tag(7, 2) + encode_varint(length) + struct.pack("<q", 0))
