"""The words in which architectures write their graphs: one method a building block, weights by name.

Values are the builder's numbers. Hidden states are float32 [tokens, width]; a weight matrix is [out, in].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.rope import Rope
from ziggurat.formats.architectures.weights import Weights

INT64 = 7


class Net:
    """One graph under construction.

    Attributes:
        config: the model's configuration.
        context: most tokens of one sequence that the graph is for.
        from_gguf: the weights come from a GGUF file, whose converters change some of them.
    """

    def __init__(self, builder: Any, weights: Weights, config: Config, *, context: int, from_gguf: bool) -> None:
        self.builder = builder
        self.weights = weights
        self.config = config
        self.context = context
        self.from_gguf = from_gguf
        self._constants: dict[tuple[str, bytes], int] = {}
        self._nodes = 0

    def op(self, op: str, inputs: Sequence[int], attributes: dict[str, Any] | None = None, domain: str = "") -> int:
        """A node with one output."""
        self._nodes += 1
        name = f"{op}_{self._nodes}"
        return int(self.builder.node(domain, op, name, list(inputs), [name], attributes or {})[0])

    def ints(self, values: Sequence[int]) -> int:
        return self._constant("ints", INT64, np.array(values, "<i8"))

    def floats(self, values: Any) -> int:
        with np.errstate(over="ignore"):
            return self._constant("floats", 1, np.asarray(values, "<f4"))

    def add(self, a: int, b: int) -> int:
        return self.op("Add", [a, b])

    def scaled(self, x: int, factor: float) -> int:
        return self.op("Mul", [x, self.floats(factor)])

    def linear(
        self, x: int, name: str, rows: int, columns: int, *, bias: bool = False, transposed: bool = False
    ) -> int:
        """x times the matrix `name`.weight [rows, columns], plus `name`.bias."""
        inputs = [x, self.weights.matrix(f"{name}.weight", rows, columns, transposed=transposed)]
        if bias:
            inputs.append(self.weights.vector(f"{name}.bias", rows))
        return self.op("Linear", inputs, domain="zig")

    def split_linear(self, x: int, name: str, rows: list[int], columns: int) -> list[int]:
        """x times each part of a fused matrix."""
        parts = self.weights.slices(f"{name}.weight", rows, columns)
        return [self.op("Linear", [x, part], domain="zig") for part in parts]

    def embedded(self, ids: int, name: str, rows: int, columns: int) -> int:
        """Rows of the table `name`.weight."""
        table = self.weights.matrix(f"{name}.weight", rows, columns, precise=True)
        return self.op("Embed", [table, ids], domain="zig")

    def rms_norm(self, x: int, name: str, size: int, eps: float, *, shift: float = 0.0) -> int:
        """`shift` is added to the weights: Gemma stores them less 1."""
        scale = self.weights.vector(f"{name}.weight", size, shift=shift)
        return self.op("RMSNormalization", [x, scale], {"axis": -1, "epsilon": eps})

    def head_norm(self, x: int, name: str, heads: int, size: int, eps: float, *, shift: float = 0.0) -> int:
        """RMSNorm of each head of [tokens, heads * size] by itself."""
        split = self.op("Reshape", [x, self.ints([0, heads, size])])
        normed = self.rms_norm(split, name, size, eps, shift=shift)
        return self.op("Reshape", [normed, self.ints([0, heads * size])])

    def layer_norm(self, x: int, name: str, size: int, eps: float) -> int:
        scale, bias = self.weights.vector(f"{name}.weight", size), self.weights.vector(f"{name}.bias", size)
        return self.op("LayerNormalization", [x, scale, bias], {"axis": -1, "epsilon": eps})

    def activation(self, x: int, kind: str) -> int:
        """An activation by the name that configurations use."""
        if kind in ("silu", "swish"):
            return self.op("Swish", [x])
        if kind == "gelu":
            return self.op("Gelu", [x])
        if kind in ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_tanh"):
            return self.op("Gelu", [x], {"approximate": b"tanh"})
        if kind in ("relu", "tanh"):
            return self.op(kind.capitalize(), [x])
        raise Unsupported(
            f"{self.config.where}: the activation {kind!r}; supported are silu, gelu, gelu_new, relu, tanh"
        )

    def softcapped(self, x: int, cap: float) -> int:
        """Bends x so that it stays within cap; 0 leaves it alone."""
        return self.scaled(self.op("Tanh", [self.scaled(x, 1.0 / cap)]), cap) if cap else x

    def angles(self, positions: int, rope: Rope) -> tuple[int, int]:
        """Cosine and sine [1, tokens, pairs] of every position times every frequency."""
        column = self.op("Unsqueeze", [self.op("Cast", [positions], {"to": 1}), self.ints([0, 2])])
        angles = self.op("Mul", [column, self.floats(rope.frequencies[None, None, :])])
        cosine, sine = self.op("Cos", [angles]), self.op("Sin", [angles])
        if rope.scale != 1.0:
            return self.scaled(cosine, rope.scale), self.scaled(sine, rope.scale)
        return cosine, sine

    def rotated(self, x: int, heads: int, size: int, rope: Rope, angles: tuple[int, int]) -> int:
        """[tokens, heads * size], each head rotated by its token's angles."""
        pairs = len(rope.frequencies)
        attributes = {"num_heads": heads, "interleaved": int(rope.interleaved)}
        if 2 * pairs != size:
            attributes["rotary_embedding_dim"] = 2 * pairs
        batch = self.op("Unsqueeze", [x, self.ints([0])])
        return self.op("Squeeze", [self.op("RotaryEmbedding", [batch, *angles], attributes), self.ints([0])])

    def _constant(self, what: str, dtype: int, values: np.ndarray[Any, Any]) -> int:
        key = (f"{what}{values.shape}", values.tobytes())
        if key not in self._constants:
            name = f"{what}_{len(self._constants)}"
            self._constants[key] = int(self.builder.constant(name, dtype, list(values.shape), key[1]))
        return self._constants[key]
