"""Weights by name, checked, as values of the graph under construction.

Matrices stay where they are: the builder gets file ranges, unless another encoding was asked for. Vectors (norms,
biases) are read and become float32.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from ziggurat.engine import quantize_rows
from ziggurat.errors import InvalidArgument, InvalidModel, Unsupported
from ziggurat.formats.gguf.types import RUNNABLE_BLOCKS
from ziggurat.formats.stored import BF16, F32, Q4_0, Q8_0, Encoding, StoredTensor

Array = np.ndarray[Any, Any]

FORMATS = ("auto", "f32", "bf16", "int8", "int4")
# What is converted is read so many elements at a time.
CHUNK_ELEMENTS = 1 << 24
_PLAIN: Mapping[str, Any] = {"f32": np.dtype("<f4"), "f16": np.dtype("<f2"), "bf16": np.dtype(ml_dtypes.bfloat16)}
_NUMBER = re.compile(r"\.(\d+)\.")


class WeightBuilder(Protocol):
    """The part of a graph builder that takes weights."""

    def constant(self, name: str, dtype: int, shape: list[int], data: Any) -> int: ...
    def constant_file(self, name: str, dtype: int, shape: list[int], path: str, offset: int, length: int) -> int: ...
    def encoded_constant(self, name: str, shape: list[int], ggml_type: int, data: Any) -> int: ...
    def encoded_constant_file(
        self, name: str, shape: list[int], ggml_type: int, path: str, offset: int, length: int
    ) -> int: ...
    def node(
        self, domain: str, op: str, name: str, inputs: Any, outputs: Any, attributes: dict[str, Any]
    ) -> list[int]: ...


class Weights:
    """The tensors of one checkpoint.

    Args:
        tensors: by the file's own names.
        names: GGUF's name for each of ours, layer numbers as {}; None where the file has our names.
        roots: what may stand before our names in the file; the first that fits `probe` is taken.
        form: "auto" keeps each matrix as it is; "f32", "bf16", "int8", "int4" convert.
    """

    def __init__(
        self,
        builder: WeightBuilder,
        tensors: Mapping[str, StoredTensor],
        *,
        names: Mapping[str, str] | None = None,
        roots: tuple[str, ...] = ("",),
        probe: str = "",
        form: str = "auto",
    ) -> None:
        if form not in FORMATS:
            raise InvalidArgument(f"weights={form!r}; expected one of {', '.join(FORMATS)}")
        self._builder = builder
        self._tensors = tensors
        self._names = names
        self._form = form
        self._root = next((root for root in roots if root + probe in tensors), roots[0])
        self._made: dict[tuple[str, bool], int] = {}
        self._bytes: Counter[str] = Counter()
        self.used: dict[str, int] = {}  # file name -> elements

    def has(self, name: str) -> bool:
        return self._file_name(name) in self._tensors

    def matrix(self, name: str, rows: int, columns: int, *, transposed: bool = False, precise: bool = False) -> int:
        """The [rows, columns] matrix `name`. `transposed`: the file has [columns, rows]. `precise`: one that decides
        much (embeddings, output), which "int4" keeps at 8 bits."""
        key = (name, transposed)
        if key not in self._made:
            stored = self._find(name, (columns, rows) if transposed else (rows, columns))
            self._made[key] = self._place(stored, transposed, precise)
        return self._made[key]

    def slices(self, name: str, rows: list[int], columns: int) -> list[int]:
        """The matrix `name` of sum(rows) rows, cut into matrices one below the other."""
        stored = self._find(name, (sum(rows), columns))
        ends = np.cumsum(rows).tolist()
        return [self._place(stored.rows(end - count, end), False, False) for count, end in zip(rows, ends, strict=True)]

    def vector(self, name: str, length: int, *, shift: float = 0.0) -> int:
        """The vector `name` as float32, `shift` added to every element."""
        stored = self._find(name, (length,))
        values = plain_values(stored, 0, stored.elements) + np.float32(shift)
        return self._builder.constant(name, 1, [length], values)

    def summary(self) -> tuple[int, str]:
        """How many numbers the used weights are, and the encoding that most matrix bytes have."""
        names = {"Q8_0": "int8", "Q4_0": "int4"} if self._form in ("int8", "int4") else {}
        common = self._bytes.most_common(1)
        most = common[0][0] if common else "f32"
        return sum(self.used.values()), names.get(most, most)

    def unused(self) -> list[str]:
        return [name for name in self._tensors if name not in self.used]

    def _find(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        file_name = self._file_name(name)
        stored = self._tensors.get(file_name)
        if stored is None:
            raise InvalidModel(f"the checkpoint lacks this tensor; expected shape {list(shape)}", tensor=file_name)
        if stored.shape != shape:
            problem = f"has shape {list(stored.shape)}, the configuration asks for {list(shape)}"
            raise InvalidModel(problem, tensor=file_name)
        self.used[file_name] = stored.elements
        return stored

    def _file_name(self, name: str) -> str:
        if self._names is None:
            return name if name in self._tensors else self._root + name
        path, _, kind = name.rpartition(".")
        numbers = _NUMBER.findall(path + ".")
        theirs = self._names.get(_NUMBER.sub(".{}.", path + ".")[:-1])
        return name if theirs is None else f"{theirs.format(*numbers)}.{kind}"

    def _place(self, stored: StoredTensor, transposed: bool, precise: bool) -> int:
        encoding, builder = stored.encoding, self._builder
        target = self._target(stored, transposed, precise)
        self._bytes[target.name] += stored.elements
        if target == encoding and not transposed:
            if encoding.dtype is not None:
                shape = list(stored.shape)
                return builder.constant_file(
                    stored.name, encoding.dtype, shape, stored.path, stored.offset, stored.length
                )
            return self._blocks_of_file(stored)
        if encoding.dtype is None:
            plain = builder.node("zig", "Dequantize", stored.name, [self._blocks_of_file(stored)], [stored.name], {})[0]
            if target == F32:
                return plain
            return builder.node("", "Cast", stored.name, [plain], [f"{stored.name}/plain"], {"to": target.dtype})[0]
        return self._converted(stored, target, transposed)

    def _blocks_of_file(self, stored: StoredTensor) -> int:
        ggml = stored.encoding.ggml
        if ggml not in RUNNABLE_BLOCKS:
            raise Unsupported(f"is encoded as {stored.encoding.name}, which this build cannot run", tensor=stored.name)
        return self._builder.encoded_constant_file(
            stored.name, list(stored.shape), int(ggml or 0), stored.path, stored.offset, stored.length
        )

    def _target(self, stored: StoredTensor, transposed: bool, precise: bool) -> Encoding:
        encoding = stored.encoding
        if encoding.dtype is not None and encoding.name not in _PLAIN:
            raise Unsupported(f"has elements of {encoding.name}; supported are {', '.join(_PLAIN)}", tensor=stored.name)
        if self._form in ("auto", "f32", "bf16"):
            return {"auto": encoding, "f32": F32, "bf16": BF16}[self._form]
        wanted = Q4_0 if self._form == "int4" and not precise else Q8_0
        if encoding.dtype is None:  # blocks already: what is as small as asked stays
            if encoding.bytes * 8 / encoding.elements > wanted.bytes * 8 / wanted.elements + 1:
                problem = f"is {encoding.name} already; weights={self._form!r} is for plain weights, use 'auto'"
                raise Unsupported(problem, tensor=stored.name)
            return encoding
        columns = stored.shape[0] if transposed else stored.shape[1]
        return encoding if columns % wanted.elements else wanted

    def _converted(self, stored: StoredTensor, target: Encoding, transposed: bool) -> int:
        rows, columns = stored.shape[::-1] if transposed else stored.shape
        if transposed:  # GPT-2's matrices are small; one piece
            whole = plain_values(stored, 0, stored.elements).reshape(stored.shape).T
            pieces = [_encode(np.ascontiguousarray(whole), F32, rows, columns, target)]
        else:
            step = max(1, CHUNK_ELEMENTS // columns)
            pieces = [
                _encode(_raw(stored, start * columns, stop * columns), stored.encoding, stop - start, columns, target)
                for start, stop in ((start, min(rows, start + step)) for start in range(0, rows, step))
            ]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if target.dtype is not None:
            return self._builder.constant(stored.name, target.dtype, [rows, columns], data)
        return self._builder.encoded_constant(stored.name, [rows, columns], int(target.ggml or 0), data)


def plain_values(stored: StoredTensor, start: int, stop: int) -> Array:
    """Elements start to stop of a tensor of floats, as float32.

    Raises:
        InvalidModel: the file became shorter since its header was read.
        Unsupported: the elements are no floats.
    """
    if stored.encoding.name not in _PLAIN:
        problem = f"has elements of {stored.encoding.name}; supported here are {', '.join(_PLAIN)}"
        raise Unsupported(problem, tensor=stored.name)
    values: Array = _raw(stored, start, stop).view(_PLAIN[stored.encoding.name]).astype(np.float32)
    return values


def _raw(stored: StoredTensor, start: int, stop: int) -> Array:
    """The bytes of elements start to stop of a plain tensor."""
    size = stored.encoding.bytes
    try:
        raw = np.fromfile(stored.path, np.uint8, (stop - start) * size, offset=stored.offset + start * size)
    except OSError as error:
        raise InvalidModel(f"'{stored.path}' cannot be read: {error}", tensor=stored.name) from None
    if raw.nbytes != (stop - start) * size:
        raise InvalidModel(f"'{stored.path}' became shorter while it was being read", tensor=stored.name)
    return raw


def _encode(data: Array, source: Encoding, rows: int, columns: int, target: Encoding) -> bytes:
    """Elements of one plain encoding in another, or in blocks."""
    if target.dtype is None:
        return quantize_rows(data.reshape(-1), int(source.dtype or 0), rows, columns, int(target.ggml or 0))
    with np.errstate(over="ignore"):
        encoded: Array = data.reshape(-1).view(_PLAIN[source.name]).astype(np.float32).astype(_PLAIN[target.name])
    return encoded.tobytes()
