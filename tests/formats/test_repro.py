"""Bundles of failed runs: what is written, what is not, and that they fail again."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import ziggurat
from tests.http import models
from ziggurat.cli import app
from ziggurat.engine import CancelToken, Engine
from ziggurat.errors import Cancelled, InvalidArgument, InvalidModel
from ziggurat.formats.repro import Repro, read_bundle


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(threads=2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """y = reshape(x + w, shape): fails in its last step where the shape, an input, does not fit."""
    nodes = [helper.make_node("Add", ["x", "w"], ["a"], "plus"), helper.make_node("Reshape", ["a", "s"], ["y"], "bend")]
    inputs = [models.value("x", TensorProto.FLOAT, ["n", 4]), models.value("s", TensorProto.INT64, [2])]
    outputs = [models.value("y", TensorProto.FLOAT, ["p", "q"])]
    return models.save(tmp_path / "bend.onnx", nodes, inputs, outputs, {"w": np.ones(4, np.float32)})


def feeds(rows: int, *shape: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((rows, 4), np.float32), "s": np.array(shape, np.int64)}


def bundles(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_failed_run_leaves_a_bundle_that_fails_again(source: Path, engine: Engine, tmp_path: Path) -> None:
    told: list[str] = []
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "deep" / "repro", tell=told.append))
    assert model.run(feeds(3, 4, 3))["y"].shape == (4, 3)
    wrong = feeds(3, 5, 3)
    with pytest.raises(InvalidArgument) as caught:
        model.run(wrong)
    (path,) = bundles(tmp_path / "deep" / "repro")
    assert caught.value.__notes__ == [f"written for a rerun: ziggurat check {path}"] and str(path) in told[0]
    assert path.stat().st_mode & 0o777 == 0o700
    bundle = read_bundle(path)
    assert bundle.report["fingerprint"] == model.plan().fingerprint and bundle.report["error"]["node"] == "bend"
    assert all(bundle.feeds[name].tobytes() == value.tobytes() for name, value in wrong.items())
    source.unlink()  # the bundle needs nothing else
    with pytest.raises(InvalidArgument) as again:
        ziggurat.load(bundle.model, engine=engine).run(bundle.feeds)
    assert str(again.value) == str(caught.value)


def test_the_command_reruns_a_bundle_and_says_when_it_no_longer_fails(
    source: Path, engine: Engine, tmp_path: Path
) -> None:
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "repro"))
    with pytest.raises(InvalidArgument):
        model.run(feeds(3, 5, 3))
    (path,) = bundles(tmp_path / "repro")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1 and "plan     the same as then" in result.output
    assert result.output.count("InvalidArgument: ") == 2 and result.output.count("'bend'") == 2
    mended = numpy_helper.from_array(np.array([6, 2], np.int64), "s").SerializeToString()
    (path / "test_data_set_0" / "input_1.pb").write_bytes(mended)
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 0 and "now      it runs" in result.output and "agrees  y" in result.output


def test_what_is_no_failure_of_the_run_leaves_nothing(source: Path, engine: Engine, tmp_path: Path) -> None:
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "repro"))
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        model.run(feeds(3, 4, 3), cancel=cancel)
    with pytest.raises(InvalidArgument):
        model.run({"x": np.zeros((3, 5), np.float32), "s": np.zeros(2, np.int64)})
    with pytest.raises(InvalidArgument):
        model.run({})
    assert bundles(tmp_path / "repro") == []


def test_count_and_size_are_bounded_and_nothing_is_deleted(source: Path, engine: Engine, tmp_path: Path) -> None:
    told: list[str] = []
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "repro", bundles=2, tell=told.append))
    for _ in range(2):
        for rows in range(1, 6):
            with pytest.raises(InvalidArgument):
                model.run(feeds(rows, 7, 9))
    first = bundles(tmp_path / "repro")
    assert len(first) == 2 and len(told) == 2
    later = Repro(tmp_path / "repro", bundles=2, tell=told.append)  # another process with the same folder
    with pytest.raises(InvalidArgument):
        ziggurat.load(source, engine=engine, repro=later).run(feeds(6, 7, 9))
    assert bundles(tmp_path / "repro") == first and "which is the limit" in told[-1]
    small = Repro(tmp_path / "small", limit=1000, tell=told.append)
    with pytest.raises(InvalidArgument):
        ziggurat.load(source, engine=engine, repro=small).run(feeds(1000, 7, 9))
    assert bundles(tmp_path / "small") == [] and "limit of a bundle is 1000" in told[-1]
    tight = Repro(tmp_path / "tight", limit=source.stat().st_size, tell=told.append)
    with pytest.raises(InvalidArgument):
        ziggurat.load(source, engine=engine, repro=tight).run(feeds(1, 7, 9))
    (path,) = bundles(tmp_path / "tight")
    assert read_bundle(path).model == source.resolve() and not (path / "model.onnx").exists()


def test_external_data_comes_along_and_odd_types_survive(engine: Engine, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["f", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "s"], ["y"], "bend"),
        helper.make_node("Identity", ["t"], ["u"]),
    ]
    inputs = [
        models.value("x", TensorProto.BFLOAT16, ["n", 4]),
        models.value("s", TensorProto.INT64, [2]),
        models.value("t", TensorProto.STRING, ["k"]),
    ]
    outputs = [models.value("y", TensorProto.FLOAT, ["p", "q"]), models.value("u", TensorProto.STRING, ["k"])]
    path = models.save(tmp_path / "m" / "odd.onnx", nodes, inputs, outputs, {"w": np.arange(4, dtype=np.float32)})
    (path.parent / "weights").mkdir()
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights/w.bin", size_threshold=0)
    model = ziggurat.load(path, engine=engine, repro=Repro(tmp_path / "repro"))
    given = {
        "x": np.arange(8).reshape(2, 4).astype(ml_dtypes.bfloat16),
        "s": np.array([3, 3]),
        "t": np.array(["ä", "b"], object),
    }
    with pytest.raises(InvalidArgument):
        model.run(given)
    (bundle_path,) = bundles(tmp_path / "repro")
    bundle = read_bundle(bundle_path)
    assert bundle.feeds["x"].dtype == ml_dtypes.bfloat16 and (bundle.feeds["x"] == given["x"]).all()
    assert [one.encode() if isinstance(one, str) else one for one in bundle.feeds["t"]] == ["ä".encode(), b"b"]
    with pytest.raises(InvalidArgument, match="bend"):
        ziggurat.load(bundle.model, engine=engine).run(bundle.feeds)


def test_a_folder_that_cannot_be_written_leaves_the_error_as_it_is(
    source: Path, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    told: list[str] = []
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "file", tell=told.append))
    with pytest.raises(InvalidArgument, match="bend"):
        model.run(feeds(3, 5, 3))
    assert len(told) == 1 and "could not be written" in told[0]


def test_runs_at_once_write_whole_bundles(source: Path, engine: Engine, tmp_path: Path) -> None:
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "repro", bundles=50))

    def fail(rows: int) -> None:
        with pytest.raises(InvalidArgument):
            model.run(feeds(rows, 7, 9))

    threads = [threading.Thread(target=fail, args=(rows,)) for rows in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(read_bundle(path).feeds["x"]) for path in bundles(tmp_path / "repro")) == list(range(1, 9))


@pytest.mark.parametrize("damage", ["report.json", "test_data_set_0/input_0.pb"])
def test_a_damaged_bundle_is_named(source: Path, engine: Engine, tmp_path: Path, damage: str) -> None:
    model = ziggurat.load(source, engine=engine, repro=Repro(tmp_path / "repro"))
    with pytest.raises(InvalidArgument):
        model.run(feeds(3, 5, 3))
    (path,) = bundles(tmp_path / "repro")
    file = path / damage
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InvalidModel, match="is no whole bundle"):
        read_bundle(path)
    file.write_text(json.dumps({"format": "other"}))
    with pytest.raises(InvalidModel, match="no report of this version" if damage == "report.json" else "no whole"):
        read_bundle(path)
    assert os.listdir(path)
