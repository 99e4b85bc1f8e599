"""External data is found in the model's folder, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.formats.onnx.models import model, read, value
from tests.formats.onnx.recorder import Recorder
from ziggurat.errors import InvalidModel
from ziggurat.formats.onnx import read_onnx

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def with_external(folder: Path, **entries: str) -> Path:
    """A model whose weight `w` lies at the given location."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2, 3], data_location=onnx.TensorProto.EXTERNAL)
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    proto = model([helper.make_node("Add", ["x", "w"], ["y"], "a")], [value("x")], [value("y")], [tensor])
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def weight_of(path: Path) -> Any:
    builders: list[Recorder] = []

    def new(name: str) -> Recorder:
        builders.append(Recorder(name))
        return builders[-1]

    (tensor,) = read_onnx(path, new).graph.graph.initializer
    assert len(builders[0].files) == 1
    return numpy_helper.to_array(tensor)


def test_a_weight_is_read_from_its_offset(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\xff" * 8 + WEIGHT.tobytes() + b"\xff" * 8)
    path = with_external(tmp_path, location="w.bin", offset="8", length="24")
    assert (weight_of(path) == WEIGHT).all()


def test_length_may_be_left_out_and_the_file_may_be_in_a_subfolder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(WEIGHT.tobytes() + b"more")
    assert (weight_of(with_external(tmp_path, location="data/w.bin")) == WEIGHT).all()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "absent.bin"}, "'absent.bin': No such file"),
        ({"location": "../outside.bin"}, "must be a relative path inside the model's folder"),
        ({"location": "sub/../../outside.bin"}, "must be a relative path"),
        ({"location": "..\\outside.bin"}, "must be a relative path"),
        ({"location": "/etc/hostname"}, "must be a relative path"),
        ({"location": "C:\\w.bin"}, "must be a relative path"),
        ({"location": "w.bin\0"}, "must be a relative path"),
        ({"location": "."}, "must be a relative path|not a regular file"),
        ({"location": ""}, "without a location"),
        ({}, "without a location"),
        ({"location": "folder"}, "not a regular file"),
        ({"location": "fifo"}, "not a regular file"),
        ({"location": "link.bin"}, "a link that leads outside"),
        ({"location": "linked/outside.bin"}, "a link that leads outside"),
        ({"location": "loop"}, "'loop'"),
        ({"location": "w.bin", "offset": "-1"}, "has offset '-1'"),
        ({"location": "w.bin", "offset": "1_0"}, "has offset '1_0'"),
        ({"location": "w.bin", "offset": "9" * 30}, "has offset"),
        ({"location": "w.bin", "offset": "1"}, "has 24 bytes, but bytes 1 to 25 are needed"),
        ({"location": "w.bin", "length": "20"}, "has length 20, the tensor's type and shape need 24"),
        ({"location": "w.bin", "length": "x"}, "has length 'x'"),
    ],
)
def test_what_may_not_be_is_named(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    (tmp_path / "outside.bin").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "folder").mkdir()
    (folder / "w.bin").write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to("../outside.bin")
    (folder / "linked").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    with pytest.raises(InvalidModel, match=message) as caught:
        read_onnx(with_external(folder, **entries), Recorder)
    assert caught.value.tensor == "w"


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "w.bin").symlink_to("real.bin")
    assert (weight_of(with_external(tmp_path, location="w.bin")) == WEIGHT).all()


def test_a_cache_that_links_both_files_into_one_blob_folder_works(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    with_external(blobs, location="w.bin").rename(blobs / "1234")
    (blobs / "5678").write_bytes(WEIGHT.tobytes())
    snapshot.mkdir()
    (snapshot / "m.onnx").symlink_to("../blobs/1234")
    (snapshot / "w.bin").symlink_to("../blobs/5678")
    assert (weight_of(snapshot / "m.onnx") == WEIGHT).all()


def test_a_model_in_memory_has_no_folder(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(InvalidModel, match="given as bytes, load it by its path"):
        read(with_external(tmp_path, location="w.bin").read_bytes())
