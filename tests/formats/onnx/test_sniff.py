"""A file that is not ONNX gets told what it looks like."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile

import pytest

from tests.formats.onnx.models import read
from ziggurat.errors import InvalidModel


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    return buffer.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (LFS, "a Git LFS pointer.*git lfs pull"),
        (b"GGUF\x03\0\0\0", "a GGUF language model"),
        (zipped(), "a zip archive"),
        (safetensors(), "a safetensors file: weights without a graph"),
        (gzip.compress(b"x", mtime=0), "a gzip archive; unpack it"),
        (pickle.dumps({"weights": [1, 2]}), "a Python pickle"),
        (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (b"\x08\0\0\0ORTM", "an ONNX Runtime format model"),
        (b"\x7fELF\x02", "a program or shared library"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page.*download the file again"),
        (b"\n <HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><net name="m"/>', "XML"),
        (b'{"model": "x"}', 'JSON text, starting with \'{"model": "x"}\''),
        (b"hello, this is no model\n", "text, starting with 'hello, this is no model'"),
        ("naïve café ".encode() * 100, "text, starting with"),
        (b"\xff\xfe\x00\x01" * 20, "not an ONNX model"),
    ],
)
def test_what_it_looks_like_is_in_the_error(data: bytes, message: str) -> None:
    with pytest.raises(InvalidModel, match=f"not an ONNX model: .*{message}|{message}"):
        read(data)
