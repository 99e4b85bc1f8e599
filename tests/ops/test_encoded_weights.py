"""Block-encoded weights: decoding against the gguf package on random bytes, the ops that take them, and bad sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from ziggurat import _native as native
from ziggurat.errors import ZigguratError

FORMATS = [GGMLQuantizationType(number) for number in (2, 3, 6, 7, 8, 12, 13, 14)]
FLOAT32, INT64 = 1, 7


def random_blocks(kind: GGMLQuantizationType, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Any bytes are blocks; those whose float16 scales are not finite are among them."""
    block, size = GGML_QUANT_SIZES[kind]
    return np.random.default_rng(seed).integers(0, 256, (rows, columns // block * size), dtype=np.uint8)


def finite_blocks(kind: GGMLQuantizationType, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Random bytes whose scales are small numbers: every second byte below 64 keeps a float16 below 2."""
    blocks = random_blocks(kind, rows, columns, seed)
    size = GGML_QUANT_SIZES[kind][1]
    each = blocks.reshape(-1, size)
    for scale in (208,) if kind is GGMLQuantizationType.Q6_K else (0, 2):
        each[:, scale + 1] &= 0x2F
    return blocks


def run(build: Any, feeds: list[Any] | None = None, optimize: bool = False) -> tuple[Any, Any]:
    builder = native.GraphBuilder("encoded")
    builder.output(build(builder), "y")
    engine = native.Engine(1, 0, None)
    model = native.Model(engine, builder.finish(), "auto", 0, optimize, [], False)
    return model.run(feeds or [], [], None, None)[0], model


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_decoding_is_the_references(kind: GGMLQuantizationType) -> None:
    blocks = random_blocks(kind, 40, 512)

    def build(builder: Any) -> int:
        w = builder.encoded_constant("w", [40, 512], int(kind), blocks.tobytes())
        return int(builder.node("zig", "Dequantize", "", [w], ["w32"], {})[0])

    decoded, _ = run(build)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(decoded, quants.dequantize(blocks, kind))


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_embed_and_linear_take_blocks_from_a_file(kind: GGMLQuantizationType, tmp_path: Path) -> None:
    rows, columns = 33, 512
    blocks = finite_blocks(kind, rows, columns)
    path = tmp_path / "weights"
    path.write_bytes(b"head" + blocks.tobytes() + b"tail")
    weight = quants.dequantize(blocks, kind)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, rows, 9)
    x = rng.standard_normal((3, columns), dtype=np.float32)

    def file_weight(builder: Any) -> int:
        return int(builder.encoded_constant_file("w", [rows, columns], int(kind), str(path), 4, blocks.nbytes))

    def embed(builder: Any) -> int:
        ids_in = builder.input("ids", INT64, ["tokens"])
        return int(builder.node("zig", "Embed", "", [file_weight(builder), ids_in], ["e"], {})[0])

    def linear(builder: Any) -> int:
        x_in = builder.input("x", FLOAT32, ["tokens", columns])
        return int(builder.node("zig", "Linear", "", [x_in, file_weight(builder)], ["l"], {})[0])

    np.testing.assert_array_equal(run(embed, [ids])[0], weight[ids])
    product = run(linear, [x])[0]
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    # Kernels may round x to 8 bits in groups of 32: half a step of amax / 127 a value, against each weight.
    groups = np.abs(x).reshape(3, -1, 32).max(axis=2) / 254
    bound = groups @ np.abs(weight).reshape(rows, -1, 32).sum(axis=2).T
    assert (np.abs(product - exact) <= 1.01 * bound + 1e-5 * np.abs(exact)).all()
    with pytest.raises(ZigguratError, match="out of range"):
        run(embed, [np.array([rows])])


def test_other_ops_are_given_what_is_decoded() -> None:
    blocks = finite_blocks(GGMLQuantizationType.Q8_0, 4, 64)
    weight = quants.dequantize(blocks, GGMLQuantizationType.Q8_0)

    def build(builder: Any) -> int:
        w = builder.encoded_constant("w", [4, 64], 8, blocks.tobytes())
        return int(builder.node("", "Add", "", [w, w], ["y"], {})[0])

    for optimize in (False, True):
        np.testing.assert_array_equal(run(build, optimize=optimize)[0], weight + weight)


def test_sizes_that_lie_are_typed_errors(tmp_path: Path) -> None:
    builder = native.GraphBuilder("bad")
    with pytest.raises(ZigguratError, match=r"Q4_0\[2,32\] takes 36 bytes, got 35.*|.*takes 36") as error:
        builder.encoded_constant("w", [2, 32], 2, b"\0" * 35)
    assert error.value.tensor == "w"
    with pytest.raises(ZigguratError, match="whole blocks of 32"):
        builder.encoded_constant("w", [2, 33], 2, b"\0" * 36)
    with pytest.raises(ZigguratError, match="whole blocks of 256"):
        builder.encoded_constant("w", [2, 32], 14, b"\0" * 36)
    with pytest.raises(ZigguratError, match="whole blocks"):
        builder.encoded_constant("w", [], 2, b"")
    with pytest.raises(ZigguratError, match="shape"):
        builder.encoded_constant("w", [-2, -32], 2, b"\0" * 36)
    with pytest.raises(ZigguratError, match="GGML type 99 is not understood"):
        builder.encoded_constant("w", [2, 32], 99, b"")
    with pytest.raises(ZigguratError, match="takes 36 bytes"):
        builder.encoded_constant_file("w", [2, 32], 2, "/nowhere", 0, 40)
    short = tmp_path / "short"
    short.write_bytes(b"\0" * 20)

    def build(made: Any) -> int:
        w = made.encoded_constant_file("w", [2, 32], 2, str(short), 0, 36)
        return int(made.node("zig", "Dequantize", "", [w], ["y"], {})[0])

    with pytest.raises(ZigguratError, match="ends or fails at byte"):
        run(build)
