"""safetensors headers: what the reference writes is read; what lies is refused, never believed or allocated for."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ziggurat.errors import InvalidModel, NotFound, ZigguratError
from ziggurat.formats.safetensors import MAX_HEADER_BYTES, read_index, read_safetensors


def write(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file with this header, JSON or bytes as they are."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: str, shape: list[Any], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_ranges_are_where_the_reference_wrote_the_tensors(tmp_path: Path) -> None:
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.arange(4, dtype=np.float16),
        "brain": np.arange(5).astype(ml_dtypes.bfloat16),
        "none": np.zeros((0, 7), np.float32),
        "scalar": np.array(3.0, np.float64),
    }
    save_file(tensors, tmp_path / "m.safetensors", {"format": "pt"})
    found = read_safetensors(tmp_path / "m.safetensors")
    assert found.keys() == tensors.keys()
    raw = (tmp_path / "m.safetensors").read_bytes()
    for name, array in tensors.items():
        stored = found[name]
        assert stored.shape == array.shape
        assert raw[stored.offset : stored.offset + stored.length] == array.tobytes()
    assert found["brain"].encoding.name == "bf16"


def test_rows_of_a_matrix_are_a_range_of_their_own(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    save_file({"a": array}, tmp_path / "m.safetensors")
    part = read_safetensors(tmp_path / "m.safetensors")["a"].rows(1, 3)
    raw = (tmp_path / "m.safetensors").read_bytes()
    assert part.shape == (2, 3)
    assert raw[part.offset : part.offset + part.length] == array[1:3].tobytes()


LIES = {
    "offsets outside": ({"t": entry("F32", [4], 0, 17)}, "outside the file"),
    "offsets backwards": ({"t": entry("F32", [1], 8, 4)}, "outside the file"),
    "another size": ({"t": entry("F32", [3], 0, 16)}, "needs 12"),
    "a dtype that lies": ({"t": entry("BF16", [4], 0, 16)}, "needs 8"),
    "a dtype that is none": ({"t": entry("F33", [4], 0, 16)}, "unknown dtype 'F33'"),
    "a dtype that is no text": ({"t": entry(["F32"], [4], 0, 16)}, "unknown dtype"),  # type: ignore[arg-type]
    "sizes below zero": ({"t": entry("F32", [-4], 0, 16)}, "bad shape"),
    "sizes beyond reason": ({"t": entry("F32", [1 << 62, 1 << 62], 0, 16)}, "bad shape"),
    "a product beyond int64": ({"t": entry("F32", [1 << 39, 1 << 39, 0, 1], 0, 0)}, "behind its last tensor"),
    "true for a size": ({"t": entry("F32", [True], 0, 4)}, "bad shape"),
    "too many dimensions": ({"t": entry("F32", [1] * 9, 0, 4)}, "bad shape"),
    "offsets of three": ({"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]}}, "bad data_offsets"),
    "a missing field": ({"t": {"dtype": "F32", "shape": [4]}}, "expected dtype"),
    "an entry that is a list": ({"t": []}, "expected dtype"),
    "overlap": ({"s": entry("F32", [2], 0, 8), "t": entry("F32", [3], 4, 16)}, "overlaps"),
    "a hole": ({"t": entry("F32", [2], 8, 16)}, "hole"),
    "data behind": ({"t": entry("F32", [2], 0, 8)}, "behind its last tensor"),
    "a list": ([1], "not a JSON object"),
    "no JSON": (b"{'t': 1}", "not valid JSON"),
    "deep JSON": (b'{"t":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
    "no UTF-8": (b'{"\xff": 1}', "not valid JSON"),
    "a key twice": (b'{"t": 1, "t": 2}', "'t' occurs twice"),
    "a number of 5000 digits": (b'{"t": ' + b"9" * 5000 + b"}", "not valid JSON"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    header, expected = LIES[lie]
    path = write(tmp_path / "m.safetensors", header, bytes(16))
    with pytest.raises(InvalidModel, match=expected) as caught:
        read_safetensors(path)
    assert str(path) in str(caught.value)


def test_the_header_s_length_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for length in (17, 1 << 40, (1 << 64) - 1):
        with pytest.raises(InvalidModel, match="cut short"):
            read_safetensors(write(path, b"{}", bytes(14), length=length))
    path.write_bytes(b"short")
    with pytest.raises(InvalidModel, match="header needs 8"):
        read_safetensors(path)
    with path.open("wb") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER_BYTES + 100)
    with pytest.raises(InvalidModel, match="the limit is"):
        read_safetensors(path)
    with pytest.raises(NotFound):
        read_safetensors(tmp_path / "nothing.safetensors")


def sharded(folder: Path) -> dict[str, str]:
    save_file({"a": np.zeros(2, np.float32)}, folder / "one.safetensors")
    save_file({"b": np.ones(3, np.float32)}, folder / "two.safetensors")
    return {"a": "one.safetensors", "b": "two.safetensors"}


def index(folder: Path, places: Any) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def test_an_index_joins_its_files(tmp_path: Path) -> None:
    found = read_index(index(tmp_path, sharded(tmp_path)))
    assert {name: Path(stored.path).name for name, stored in found.items()} == sharded(tmp_path)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"a": "three.safetensors"}, "three.safetensors' of this checkpoint is missing"),
        ({"b": "one.safetensors"}, "does not have it"),
        ({"a": "../one.safetensors"}, "name of a file beside it"),
        ({"a": "/etc/passwd"}, "name of a file beside it"),
        ({"a": ""}, "name of a file beside it"),
        ({"a": 3}, "name of a file beside it"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_an_index_that_lies_is_refused(places: Any, expected: str, tmp_path: Path) -> None:
    sharded(tmp_path)
    with pytest.raises(InvalidModel, match=expected):
        read_index(index(tmp_path, places))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "m.safetensors"
    save_file({f"layer.{i}.weight": np.full((3, i), i, np.float32) for i in range(4)}, path, {"format": "pt"})
    return path.read_bytes()


def attempt(path: Path) -> None:
    """Reads; only a ZigguratError may come out, and little memory may go in."""
    tracemalloc.start()
    try:
        read_safetensors(path)
    except ZigguratError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 * path.stat().st_size + (1 << 20)


def test_damaged_files_give_typed_errors_and_no_large_allocation(good: bytes, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    path = tmp_path / "m.safetensors"
    for round_ in range(400):
        data = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data) if round_ % 2 else 60)] = draw.randrange(256)
        path.write_bytes(data[: draw.randint(0, len(data))] if round_ % 5 == 0 else data)
        attempt(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(header=st.dictionaries(st.text(max_size=5), JSON, max_size=4), data=st.binary(max_size=32))
def test_any_json_is_read_or_refused(header: dict[str, Any], data: bytes, tmp_path_factory: Any) -> None:
    attempt(write(tmp_path_factory.getbasetemp() / "any.safetensors", header, data))
