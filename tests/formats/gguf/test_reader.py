"""GGUF headers: what the gguf package writes is read; what lies is refused, never believed or allocated for."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.gguf.files import header, info, pair, text, with_data, write
from ziggurat.errors import InvalidModel, NotFound, Unsupported, ZigguratError
from ziggurat.formats.gguf import ENCODINGS, read_gguf
from ziggurat.formats.gguf.metadata import MAX_ELEMENTS, MAX_PAIRS
from ziggurat.formats.gguf.reader import MAX_TENSORS


def test_sizes_of_all_types_are_those_of_the_reference() -> None:
    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {number: (one.elements, one.bytes) for number, one in ENCODINGS.items()} == known
    assert {number: one.name.upper() for number, one in ENCODINGS.items()} == {int(k): k.name for k in Kind}


def test_metadata_and_ranges_are_as_the_reference_wrote_them(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    metadata = {
        "a.text": "grüße",
        "a.flag": True,
        "a.count": 7,
        "a.part": 0.5,
        "a.list": [1, 2, 3],
        "a.words": ["x", "", "yz"],
        "general.alignment": 64,
    }
    tensors = {"plain": (array, Kind.F32), "blocks": (array, Kind.Q4_0), "odd": (array[0, :3].copy(), Kind.F32)}
    path = write(tmp_path / "m.gguf", dict(metadata), tensors)
    found = read_gguf(path)
    assert found.metadata == {"general.architecture": "llama", **metadata}
    assert found.version == 3
    raw = path.read_bytes()
    for name, (values, kind) in tensors.items():
        stored = found.tensors[name]
        assert stored.shape == values.shape
        assert stored.encoding.ggml == kind
        assert stored.offset % 64 == 0
        assert raw[stored.offset : stored.offset + stored.length] == gguf.quants.quantize(values, kind).tobytes()


def test_version_2_and_bytes_that_are_no_utf_8_are_read(tmp_path: Path) -> None:
    words = struct.pack("<IQ", 8, 2) + text(b"\xff\xfe") + text("ok")
    path = tmp_path / "m.gguf"
    path.write_bytes(with_data(header([pair("words", 9, words)], [], version=2), b""))
    first, second = read_gguf(path).metadata["words"]
    assert (first.encode("utf-8", "surrogateescape"), second) == (b"\xff\xfe", "ok")


F32 = info("t", [4, 2], 0, 0)
ARRAY = 9
LIES = {
    "another magic": (header([], [], magic=b"GGUM"), InvalidModel, "not a GGUF file"),
    "version 1": (header([], [], version=1), Unsupported, "version 1"),
    "version 4": (header([], [], version=4), Unsupported, "version 4"),
    "big-endian": (header([], [], version=3 << 24), Unsupported, "big-endian"),
    "counts beyond reason": (header([], [], tensors=MAX_TENSORS + 1), InvalidModel, "the limit is"),
    "pairs beyond reason": (header([], [], keys=MAX_PAIRS + 1), InvalidModel, "the limit is"),
    "fewer pairs": (header([], [], keys=1), InvalidModel, "the file ends"),
    "fewer tensors": (header([], [], tensors=3), InvalidModel, "the file ends"),
    "a key twice": (header([pair("k", 4, bytes(4))] * 2, []), InvalidModel, "'k' occurs twice"),
    "an unknown value type": (header([pair("k", 13, bytes(4))], []), InvalidModel, "unknown value type 13"),
    "a long string": (header([pair("k", 8, struct.pack("<Q", 1 << 62))], []), InvalidModel, "the limit is"),
    "a string beyond the end": (header([pair("k", 8, struct.pack("<Q", 1000))], []), InvalidModel, "the file ends"),
    "a long array": (header([pair("k", ARRAY, struct.pack("<IQ", 0, 1 << 63))], []), InvalidModel, "elements"),
    "an array beyond the end": (header([pair("k", ARRAY, struct.pack("<IQ", 10, 99))], []), InvalidModel, "file ends"),
    "arrays in arrays": (
        header([pair("k", ARRAY, struct.pack("<IQ", 9, 1) * 3 + struct.pack("<IQ", 0, 0))], []),
        InvalidModel,
        "nested deeper",
    ),
    "an alignment of 3": (header([pair("general.alignment", 4, struct.pack("<I", 3))], []), InvalidModel, "power of"),
    "an alignment of text": (header([pair("general.alignment", 8, text("32"))], []), InvalidModel, "power of"),
    "a tensor twice": (header([], [F32, F32]), InvalidModel, "'t' occurs twice"),
    "rank 5": (header([], [info("t", [1] * 5, 0, 0)]), InvalidModel, "rank 5"),
    "no elements": (header([], [info("t", [4, 0], 0, 0)]), InvalidModel, r"dimensions \[4, 0\]"),
    "huge dimensions": (header([], [info("t", [1 << 63, 2], 0, 0)]), InvalidModel, "dimensions"),
    "a product beyond int64": (header([], [info("t", [1 << 40] * 4, 0, 0)]), InvalidModel, "cut short"),
    "an unknown type": (header([], [info("t", [32], 77, 0)]), Unsupported, "type 77"),
    "rows that are no blocks": (header([], [info("t", [33], 2, 0)]), InvalidModel, "blocks of 32"),
    "an offset off the grid": (header([], [info("t", [4], 0, 8)]), InvalidModel, "multiple of the alignment"),
    "an offset outside": (header([], [info("t", [4], 0, 64)]), InvalidModel, "cut short"),
    "an offset beyond int64": (header([], [info("t", [4], 0, (1 << 64) - 32)]), InvalidModel, "cut short"),
    "overlap": (header([], [info("a", [8], 0, 0), info("t", [8, 2], 0, 0)]), InvalidModel, "overlaps"),
    "a name that is too long": (header([], [info("t" * 2000, [4], 0, 0)]), InvalidModel, "the limit is"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    data, kind, expected = LIES[lie]
    path = tmp_path / "m.gguf"
    path.write_bytes(with_data(data, bytes(64)) if "beyond the end" not in lie and "fewer" not in lie else data)
    with pytest.raises(kind, match=expected):
        read_gguf(path)


def test_all_arrays_of_a_file_share_one_limit(tmp_path: Path) -> None:
    count = MAX_ELEMENTS // 2 + 1
    array = struct.pack("<IQ", 0, count) + bytes(count)
    path = tmp_path / "m.gguf"
    path.write_bytes(with_data(header([pair("a", ARRAY, array), pair("b", ARRAY, array)], []), b""))
    with pytest.raises(InvalidModel, match="b brings the file's arrays above"):
        read_gguf(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_gguf(tmp_path / "nothing.gguf")
    for content in (b"", b"GG", b"GGUF", b"GGUF\3\0\0\0"):
        (tmp_path / "m.gguf").write_bytes(content)
        with pytest.raises(InvalidModel):
            read_gguf(tmp_path / "m.gguf")


def attempt(path: Path) -> None:
    """Reads; only a ZigguratError may come out, and little memory may go in."""
    tracemalloc.start()
    try:
        read_gguf(path)
    except ZigguratError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 * path.stat().st_size + (1 << 20)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    array = np.random.default_rng(0).standard_normal((2, 32), dtype=np.float32)
    metadata = {"a.text": "some text", "a.list": [1, 2, 3], "a.words": ["x", "yz"], "a.count": 7}
    tensors = {f"blk.{i}.weight": (array, kind) for i, kind in enumerate((Kind.F32, Kind.Q4_0, Kind.Q8_0))}
    return write(tmp_path_factory.mktemp("good") / "m.gguf", metadata, tensors).read_bytes()


def test_damaged_files_give_typed_errors_and_no_large_allocation(good: bytes, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    path = tmp_path / "m.gguf"
    head = good.rindex(b"blk.2.weight") + 40
    for round_ in range(400):
        data = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(head)] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        path.write_bytes(data[: draw.randint(0, len(data))] if round_ % 5 == 0 else data)
        attempt(path)


@settings(max_examples=150, deadline=None)
@given(
    pairs=st.lists(st.builds(pair, st.text(max_size=4), st.integers(0, 14), st.binary(max_size=40)), max_size=4),
    infos=st.lists(
        st.builds(
            info,
            st.text(max_size=4),
            st.lists(st.integers(0, (1 << 64) - 1) | st.just(32), max_size=5),
            st.integers(0, 45),
            st.integers(0, (1 << 64) - 1) | st.just(0),
        ),
        max_size=3,
    ),
    data=st.binary(max_size=64),
)
def test_any_header_is_read_or_refused(
    pairs: list[bytes], infos: list[bytes], data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(with_data(header(pairs, infos), data))
    attempt(path)
