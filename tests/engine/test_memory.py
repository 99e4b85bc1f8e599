"""What loading and running take is predicted, bounded, refused in time, and given back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ziggurat
from tests.cli.support import environment
from tests.cli.support import ziggurat as command
from tests.conformance import small_models
from tests.conformance.inputs import feeds_for
from tests.engine.language import write_checkpoint
from tests.engine.memory_models import folded_product, wide_linear
from tests.http.support import until
from ziggurat.cli.benchmark import Shape
from ziggurat.cli.memory import measure
from ziggurat.errors import InvalidArgument, OutOfMemory

NAMES = ("residual_net", "inverted_residual_net", "encoder")


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / f"{request.param}.onnx"
    path.write_bytes(small_models.MAKERS[request.param]())
    return path


@pytest.fixture
def engine() -> Iterator[ziggurat.Engine]:
    with ziggurat.Engine(threads=2) as engine:
        yield engine


def shapes(feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_predicted_is_what_is_reserved(model: Path, engine: ziggurat.Engine, batch: int) -> None:
    feeds = feeds_for(model.read_bytes(), batch, sequence=24)
    measured = ziggurat.load(model, engine=engine, measure=True)
    assert engine.memory()["reserved"] == engine.memory()["packed_weights"] == 0
    load, need = measured.load_need(), measured.run_need(shapes(feeds))
    loaded = ziggurat.load(model, engine=engine)
    memory = engine.memory()
    assert loaded.load_need() == load and loaded.run_need(shapes(feeds)) == need
    assert memory["packed_weights"] == load["packed"]
    assert memory["reserved"] == load["packed"] + load["constants"] > 0
    loaded.run(feeds)
    assert need["dynamic_steps"] == 0
    assert engine.memory()["reserved"] == memory["reserved"]
    run_bytes = need["slab"] + need["scratch"] + need["outputs"]
    assert engine.memory()["peak"] == max(memory["peak"], memory["reserved"] + run_bytes)


def test_a_measured_model_does_not_run(model: Path, engine: ziggurat.Engine) -> None:
    measured = ziggurat.load(model, engine=engine, measure=True)
    with pytest.raises(InvalidArgument, match="measured"):
        measured.run(feeds_for(model.read_bytes(), 1, sequence=8))
    with pytest.raises(InvalidArgument, match="shape"):
        measured.run_need({})


def test_inspect_tells_what_the_process_really_takes(tmp_path: Path) -> None:
    """Against the resident memory of a process that loads and runs; weights of 32 MiB drown what else moves."""
    path = tmp_path / "wide.onnx"
    path.write_bytes(wide_linear(4096, 2048))
    said = json.loads(command("inspect", str(path), "--memory", "--json").stdout)
    assert said["fits"] and said["load"]["packed"] >= 4096 * 2048 * 4
    code = """if True:
        import sys, numpy as np, ziggurat
        def resident():
            return int(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1]) << 10
        engine = ziggurat.Engine(threads=2)
        ziggurat.load(sys.argv[2], engine=engine)  # what importing the formats takes is not the model's
        before = resident()
        model = ziggurat.load(sys.argv[1], engine=engine)
        model.run({model.inputs[0].name: np.ones((1, 4096), np.float32)})
        print(resident() - before)
    """
    small = tmp_path / "small.onnx"
    small.write_bytes(wide_linear(8, 8))
    arguments = [sys.executable, "-c", code, str(path), str(small)]
    result = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=True)
    assert said["total"] * 0.95 < int(result.stdout) < said["total"] * 1.1 + (4 << 20)


def test_a_load_that_cannot_fit_is_refused_with_numbers_and_leaves_nothing(model: Path) -> None:
    with ziggurat.Engine(threads=1) as roomy:
        need = ziggurat.load(model, engine=roomy, measure=True).load_need()
    with ziggurat.Engine(threads=1, memory_limit=(need["packed"] + need["constants"]) * 3 // 4) as engine:
        with pytest.raises(OutOfMemory, match=r"weights need .* packed\), but 0 bytes of the .* limit"):
            ziggurat.load(model, engine=engine)
        assert engine.memory()["reserved"] == engine.memory()["packed_weights"] == 0


def test_a_short_budget_refuses_to_fold_and_never_changes_the_plan() -> None:
    content = folded_product(128)  # of 64 KiB each: two weights, their product
    with ziggurat.Engine(threads=1) as roomy:
        plan = ziggurat.load(content, engine=roomy).plan()
    assert plan.steps == 1
    loaded, refusals = 0, []
    for limit in range(16 << 10, 400 << 10, 16 << 10):
        with ziggurat.Engine(threads=1, memory_limit=limit) as engine:
            try:
                with ziggurat.load(content, engine=engine) as model:
                    assert model.plan().fingerprint == plan.fingerprint
                loaded += 1
            except OutOfMemory as error:
                refusals.append(str(error))
            assert engine.memory()["reserved"] == 0
    assert len(refusals) > 3 and loaded > 3
    assert all("memory limit are in use" in text for text in refusals)


def test_a_run_that_cannot_fit_is_refused_with_numbers_and_the_next_one_runs(model: Path) -> None:
    feeds = feeds_for(model.read_bytes(), 1, sequence=16)
    with ziggurat.Engine(threads=1) as roomy:
        measured = ziggurat.load(model, engine=roomy, measure=True)
        load, need = measured.load_need(), measured.run_need(shapes(feeds))
        expected = ziggurat.load(model, engine=roomy).run(feeds)
    limit = load["packed"] + load["constants"] + need["slab"] + need["scratch"] + need["outputs"] + load["packed"]
    with ziggurat.Engine(threads=1, memory_limit=limit) as engine:
        loaded = ziggurat.load(model, engine=engine)
        with pytest.raises(OutOfMemory, match="memory limit are in use"):
            loaded.run({name: np.zeros((4000, *array.shape[1:]), array.dtype) for name, array in feeds.items()})
        again = loaded.run(feeds)
    for name, array in expected.items():
        np.testing.assert_array_equal(again[name], array)


def test_unloading_gives_memory_back_to_the_system(tmp_path: Path, engine: ziggurat.Engine) -> None:
    path = tmp_path / "wide.onnx"
    path.write_bytes(wide_linear(4096, 2048))
    loaded = ziggurat.load(path, engine=engine)
    loaded.run({loaded.inputs[0].name: np.ones((1, 4096), np.float32)})
    assert sum(pool["reserved"] for pool in engine.pools()) > 30 << 20
    loaded.close()
    assert sum(pool["reserved"] for pool in engine.pools()) == 0
    assert sum(pool["released"] for pool in engine.pools()) > 30 << 20


def test_idle_memory_goes_back_after_the_time_that_was_set() -> None:
    def cached(engine: ziggurat.Engine) -> int:
        return sum(pool["cached"] for pool in engine.pools())

    content = small_models.MAKERS["residual_net"]()
    feeds = feeds_for(content, 256, sequence=8)
    with ziggurat.Engine(threads=1, purge_after=0) as engine:
        model = ziggurat.load(content, engine=engine)
        model.run(feeds)
        kept = cached(engine)
    assert kept > 16 << 20
    with ziggurat.Engine(threads=1, purge_after=0.1) as engine:
        model = ziggurat.load(content, engine=engine)
        first = model.run(feeds)
        # What lies in huge pages beside weights stays.
        until(lambda: cached(engine) < kept / 4, "idle memory goes back")
        for name, array in model.run(feeds).items():
            np.testing.assert_array_equal(array, first[name])


def scatter(engine: ziggurat.Engine) -> Callable[[], None]:
    """Loads many models and unloads two thirds of them; what is returned checks that the others answer as before."""
    kept, others = [], []
    for i in range(24):
        (kept if i % 3 == 0 else others).append(ziggurat.load(wide_linear(256 + 32 * i, 512, seed=i), engine=engine))
    feeds = [{model.inputs[0].name: np.ones((1, 256 + 96 * i), np.float32)} for i, model in enumerate(kept)]
    before = [model.run(feed)["y"] for model, feed in zip(kept, feeds, strict=True)]
    for model in others:
        model.close()

    def check() -> None:
        for model, feed, expected in zip(kept, feeds, before, strict=True):
            np.testing.assert_array_equal(model.run(feed)["y"], expected)

    return check


def weights_pool(engine: ziggurat.Engine) -> dict[str, Any]:
    return {pool["pool"]: pool for pool in engine.pools()}["weights"]


def test_defragmenting_reports_what_it_did_and_changes_no_result() -> None:
    with ziggurat.Engine(threads=1, defragment_above=1) as engine:
        check = scatter(engine)
        assert weights_pool(engine)["moved"] == 0 and weights_pool(engine)["fragmentation"] > 0.3
        report = engine.defragment()
        weights = {pool["pool"]: pool for pool in report["after"]}["weights"]
        assert report["moved"] == weights["moved"] > 0
        assert weights["fragmentation"] == 0 and weights["defragmentations"] == 1
        check()
        assert engine.defragment()["moved"] == 0


def test_unloading_moves_together_what_it_left_scattered(engine: ziggurat.Engine) -> None:
    check = scatter(engine)
    weights = weights_pool(engine)
    assert weights["moved"] > 0 and weights["defragmentations"] > 0
    worth = max(256 << 10, weights["used"] // 128)
    assert weights["fragmentation"] <= 0.3 or weights["cached"] - weights["largest_free"] <= worth
    check()


def test_what_is_predicted_of_a_language_model_is_what_is_reserved(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    with ziggurat.Engine(threads=1, memory_limit=64 << 20) as engine:
        said = measure(folder, Shape(), engine)
        assert engine.memory()["reserved"] == 0
        with ziggurat.load_llm(folder, engine=engine) as language:
            memory = engine.memory()
            assert memory["packed_weights"] == said["load"]["packed"]
            resident = said["load"]["packed"] + said["load"]["constants"]
            assert memory["reserved"] == resident + said["kv_cache"]
            language.forward(list(range(1, 101)))
            assert engine.memory()["peak"] <= said["total"] <= said["limit"]
