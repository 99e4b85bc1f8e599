"""What a file that is not ONNX looks like, and what its owner should do."""

from __future__ import annotations

import os

_EXPORT = "export the model to ONNX first"

# Longest and surest first: (where, bytes, what it is and what to do).
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself; fetch it with 'git lfs pull'"),
    (0, b"GGUF", "a GGUF language model; serve it as '<name>/*.gguf'"),
    (0, b"PK\x03\x04", f"a zip archive (a PyTorch or Keras file, or a packed folder); unpack it, or {_EXPORT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras); {_EXPORT}, for instance with tf2onnx"),
    (4, b"TFL3", f"a TensorFlow Lite model; {_EXPORT}, for instance with tf2onnx"),
    (4, b"ORTM", "an ONNX Runtime format model (.ort); use the .onnx file that it was made from"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it first"),
    (0, b"BZh", "a bzip2 archive; unpack it first"),
    (0, b"\xfd7zXZ\x00", "an xz archive; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"\x7fELF", "a program or shared library"),
    (0, b"\x93NUMPY", "a NumPy array file"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"%PDF", "a PDF document"),
)
_PICKLE = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_MAX_SAFETENSORS_HEADER = 100_000_000


def describe(head: bytes, size: int) -> str | None:
    """What the file is if its first bytes (512 are enough) say for sure that it is not ONNX."""
    if size == 0:
        return "empty"
    for offset, magic, text in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return text
    if head.startswith(_PICKLE) and head[2:3] in b"c}](Xq\x95":
        return f"a Python pickle (PyTorch or scikit-learn); {_EXPORT}"
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= header <= min(size - 8, _MAX_SAFETENSORS_HEADER):
        return "a safetensors file: weights without a graph; serve it with its config.json, or " + _EXPORT
    return None


def describe_text(head: bytes) -> str | None:
    """What a file that could not be read as protobuf looks like, if it is text."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        return "an HTML page, probably an error page saved under the model's name; download the file again"
    if text.startswith((b"<?xml", b"<net")):
        return f"XML (an OpenVINO graph?); {_EXPORT}"
    if not text or any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    try:
        # The head may end inside a character.
        head[: max(len(head) - 3, 1)].decode("utf-8")
    except UnicodeDecodeError:
        return None
    start = os.fsdecode(text[:40].splitlines()[0])
    return f"JSON text, starting with {start!r}" if text[:1] in b"{[" else f"text, starting with {start!r}"
