"""A tensor as a file stores it: element encoding, shape and byte range. What safetensors and GGUF readers give."""

from __future__ import annotations

from dataclasses import dataclass

# Far above any real tensor, far below where products of sizes stop fitting in int64.
MAX_DIM = 1 << 40
MAX_RANK = 8


@dataclass(frozen=True, slots=True)
class Encoding:
    """How numbers lie in the file.

    Attributes:
        name: as users know it: "f32", "bf16", "Q4_K".
        elements, bytes: of one block; 1 element for plain numbers.
        dtype: onnx.TensorProto's number of plain elements, None for blocks.
        ggml: ggml's number of the type, None for what GGUF does not have.
    """

    name: str
    elements: int
    bytes: int
    dtype: int | None = None
    ggml: int | None = None


F32 = Encoding("f32", 1, 4, dtype=1, ggml=0)
F16 = Encoding("f16", 1, 2, dtype=10, ggml=1)
BF16 = Encoding("bf16", 1, 2, dtype=16, ggml=30)
Q4_0 = Encoding("Q4_0", 32, 18, ggml=2)
Q8_0 = Encoding("Q8_0", 32, 34, ggml=8)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`shape` has the outermost dimension first. The range lies inside the file; its length fits shape and encoding."""

    name: str
    encoding: Encoding
    shape: tuple[int, ...]
    path: str
    offset: int
    length: int

    @property
    def elements(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    def rows(self, start: int, stop: int) -> StoredTensor:
        """Rows start to stop of a matrix; rows are whole blocks, so they are a range of their own."""
        row_bytes = self.length // self.shape[0]
        shape = (stop - start, *self.shape[1:])
        offset, length = self.offset + start * row_bytes, (stop - start) * row_bytes
        return StoredTensor(f"{self.name}[{start}:{stop}]", self.encoding, shape, self.path, offset, length)
