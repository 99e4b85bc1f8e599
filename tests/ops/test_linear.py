"""zig.Linear and the encoders of its weights: every format and instruction set, however tokens are grouped."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from tests.ops.test_encoded_weights import FORMATS, finite_blocks
from ziggurat import _native as native
from ziggurat.errors import InvalidArgument

FLOAT32, INT64, FLOAT16, BFLOAT16 = 1, 7, 10, 16
HALVES = {FLOAT16: np.dtype(np.float16), BFLOAT16: np.dtype(ml_dtypes.bfloat16)}


def usable(isa: str) -> bool:
    try:
        native.Engine(1, 0, isa)
    except InvalidArgument:
        return False
    return True


ISAS = [isa for isa in ("sse42", "avx2", "avx512", "avx512vnni") if usable(isa)]


def linear(owner: Any, weight: Any, columns: int, bias: np.ndarray | None = None) -> Any:
    """The model y = x w^T + bias; `weight` adds the constant to a builder."""
    builder = native.GraphBuilder("linear")
    inputs = [builder.input("x", FLOAT32, ["tokens", columns]), weight(builder)]
    if bias is not None:
        inputs.append(builder.constant("bias", FLOAT32, list(bias.shape), bias.tobytes()))
    builder.output(builder.node("zig", "Linear", "", inputs, ["y"], {})[0], "y")
    return native.Model(owner, builder.finish(), "auto", 0, True, [], False)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(model.run([x], [], None, None)[0])


@pytest.mark.parametrize("isa", ISAS)
def test_bits_do_not_depend_on_tokens_or_threads(isa: str) -> None:
    rng = np.random.default_rng(3)
    rows, columns = 520, 768
    x = rng.standard_normal((70, columns), dtype=np.float32)
    bias = rng.standard_normal(rows, dtype=np.float32)
    one, two = native.Engine(1, 0, isa), native.Engine(2, 0, isa)
    for kind in FORMATS:
        blocks = finite_blocks(kind, rows, columns).tobytes()
        models = [
            linear(owner, lambda b: b.encoded_constant("w", [rows, columns], int(kind), blocks), columns, bias)  # noqa: B023
            for owner in (one, two)
        ]
        assert f"linear.{kind.name}.{isa}" in models[0].plan_text()
        alone = np.concatenate([run(models[0], x[i : i + 1]) for i in range(len(x))])
        for model in models:
            for tokens in (2, 3, 8, 17, 70):
                np.testing.assert_array_equal(run(model, x[:tokens]), alone[:tokens])


@pytest.mark.parametrize("dtype", HALVES)
def test_16_bit_weights_give_the_bits_of_their_float32_values(dtype: int) -> None:
    rng = np.random.default_rng(4)
    rows, columns = 70, 300
    weight = rng.standard_normal((rows, columns), dtype=np.float32).astype(HALVES[dtype])
    wide = weight.astype(np.float32)
    x = rng.standard_normal((33, columns), dtype=np.float32)
    bias = rng.standard_normal(rows, dtype=np.float32)
    for isa in ISAS:
        for threads in (1, 2):
            owner = native.Engine(threads, 0, isa)
            half = linear(owner, lambda b: b.constant("w", dtype, [rows, columns], weight.tobytes()), columns, bias)
            full = linear(owner, lambda b: b.constant("w", FLOAT32, [rows, columns], wide.tobytes()), columns, bias)
            assert f"linear.{HALVES[dtype].name}.{isa}" in half.plan_text()
            for tokens in (1, 2, 5, 33):
                np.testing.assert_array_equal(run(half, x[:tokens]), run(full, x[:tokens]))


@pytest.mark.parametrize("kind", [GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0], ids=lambda kind: kind.name)
@pytest.mark.parametrize("dtype", [FLOAT32, *HALVES])
def test_rows_are_encoded_at_least_as_well_as_by_the_gguf_package(kind: GGMLQuantizationType, dtype: int) -> None:
    weight = (np.random.default_rng(5).standard_normal((67, 320)) * 0.02).astype(HALVES.get(dtype, np.float32))
    encoded = native.quantize_rows(weight.tobytes(), dtype, 67, 320, int(kind), 2)
    assert encoded == native.quantize_rows(memoryview(b"x" + weight.tobytes())[1:], dtype, 67, 320, int(kind), 1)
    values = weight.astype(np.float32)

    def error(blocks: np.ndarray) -> float:
        return float(np.square(quants.dequantize(blocks, kind) - values).mean())

    ours = error(np.frombuffer(encoded, np.uint8).reshape(67, -1))
    assert ours <= error(quants.quantize(values, kind)) * (0.95 if kind is GGMLQuantizationType.Q4_0 else 1.001)


def test_rows_that_cannot_be_encoded_are_typed_errors() -> None:
    weight = np.ones((4, 64), np.float32)
    weight[2, 40] = np.inf
    with pytest.raises(InvalidArgument, match=r"row 2 .* Q4_0"):
        native.quantize_rows(weight, FLOAT32, 4, 64, 2)
    with pytest.raises(InvalidArgument, match="GGML type 2"):
        native.quantize_rows(weight, FLOAT32, 4, 64, 12)
    with pytest.raises(InvalidArgument, match="whole blocks of 32"):
        native.quantize_rows(weight, FLOAT32, 4, 33, 8)
    with pytest.raises(InvalidArgument, match="do not take 1024 bytes"):
        native.quantize_rows(weight, FLOAT32, 5, 64, 8)
    with pytest.raises(InvalidArgument, match="int64 cannot be encoded"):
        native.quantize_rows(np.ones((4, 64), np.int64), 7, 4, 64, 8)


def test_a_tied_embedding_is_read_from_the_packed_weight() -> None:
    rows, columns = 37, 512
    ids = np.array([0, 36, 17, 17])
    for kind in FORMATS:
        blocks = finite_blocks(kind, rows, columns)
        builder = native.GraphBuilder("tied")
        weight = builder.encoded_constant("w", [rows, columns], int(kind), blocks.tobytes())
        hidden = builder.node("zig", "Embed", "", [weight, builder.input("ids", INT64, ["tokens"])], ["h"], {})[0]
        builder.output(hidden, "h")
        builder.output(builder.node("zig", "Linear", "", [hidden, weight], ["y"], {})[0], "y")
        model = native.Model(native.Engine(1, 0, None), builder.finish(), "auto", 0, True, [], False)
        assert f"embed.strips.{kind.name}" in model.plan_text()
        found = np.asarray(model.run([ids], [], None, None)[0])
        np.testing.assert_array_equal(found, quants.dequantize(blocks, kind)[ids])
        with pytest.raises(InvalidArgument, match="id 37 at position 1 is out of range"):
            model.run([np.array([0, rows])], [], None, None)
