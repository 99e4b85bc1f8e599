"""ggml's tensor types by their number in a GGUF file.

Sizes as in the GGUF specification (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). All that exist are
listed, so that a file which has one of them is told apart from a damaged one; which can run is the op set's business.
"""

from __future__ import annotations

from collections.abc import Mapping

from ziggurat.formats.stored import BF16, F16, F32, Q4_0, Q8_0, Encoding

_BLOCKS = (
    # ggml's number, name, elements a block, bytes a block
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (9, "Q8_1", 32, 40),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (29, "IQ1_M", 256, 56),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
)
# ggml's number, name, bytes, onnx.TensorProto's number
_PLAIN = ((24, "i8", 1, 3), (25, "i16", 2, 5), (26, "i32", 4, 6), (27, "i64", 8, 7), (28, "f64", 8, 11))

ENCODINGS: Mapping[int, Encoding] = {
    0: F32,
    1: F16,
    2: Q4_0,
    8: Q8_0,
    30: BF16,
    **{number: Encoding(name, elements, size, ggml=number) for number, name, elements, size in _BLOCKS},
    **{number: Encoding(name, 1, size, dtype, number) for number, name, size, dtype in _PLAIN},
}

# Block encodings that zig.Linear, zig.Embed and zig.Dequantize take.
RUNNABLE_BLOCKS = frozenset((2, 3, 6, 7, 8, 12, 13, 14))
