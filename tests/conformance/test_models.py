"""Whole models against ONNX Runtime, on every instruction set of the machine, and each row's bits alone and in company.

The quick tier runs nets of a few thousand weights and the two lightest real topologies; the heavy one all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest

from tests.conformance import exported_models, light_models, small_models
from tests.conformance.batch_invariance import assert_rows_stand_alone, assert_same_bits
from tests.conformance.engines import ISAS, Feeds, assert_close, load, onnxruntime_outputs
from tests.conformance.inputs import feeds_for

LENGTHS = {"encoder": (9, 16), "bert_base": (24, 61), "minilm_l6": (24, 61)}  # of text, in tokens
BATCHES = (1, 5)
THREADS = (1, 2)


@cache
def model(name: str) -> bytes:
    if name in small_models.MAKERS:
        return small_models.MAKERS[name]()
    if name in light_models.NAMES:
        return light_models.make(name)
    if exported_models.MISSING:
        pytest.skip(f"exporting {name} needs {' and '.join(exported_models.MISSING)}")
    return exported_models.make(name)


def agrees_and_stands_alone(name: str, isa: str) -> None:
    """Both sequence lengths, batches of 1 and 5, 1 and 2 threads; one load for each number of threads."""
    loaded: dict[int, Any] = {threads: load(model(name), isa, threads) for threads in THREADS}
    runs: dict[str, Callable[[Feeds], Feeds]] = {f"{n} threads": net.run for n, net in loaded.items()}
    for length in LENGTHS.get(name, (1,)):
        for batch in BATCHES:
            feeds = feeds_for(model(name), batch, length, seed=batch)
            assert_close(loaded[2].run(feeds), onnxruntime_outputs(model(name), feeds))
            assert_same_bits(runs, feeds)
        rows = feeds_for(model(name), 3, length, seed=7)
        assert_rows_stand_alone(loaded[2].run, rows)


quick = partial(pytest.mark.parametrize, "name", (*small_models.MAKERS, *light_models.QUICK))
heavy = partial(
    pytest.mark.parametrize,
    "name",
    (*(n for n in light_models.NAMES if n not in light_models.QUICK), *exported_models.NAMES),
)


@pytest.mark.parametrize("isa", ISAS)
@quick()
def test_small_models(name: str, isa: str) -> None:
    agrees_and_stands_alone(name, isa)


@pytest.mark.heavy
@pytest.mark.parametrize("isa", ISAS)
@heavy()
def test_models(name: str, isa: str) -> None:
    agrees_and_stands_alone(name, isa)


@pytest.mark.parametrize("name", tuple(small_models.MAKERS))
def test_the_reference_device_computes_the_same(name: str) -> None:
    """Late streams, copies between memories, one plain kernel a primitive: another engine, the same answers."""
    import ziggurat

    feeds = feeds_for(model(name), 2, 9, seed=3)
    late = ziggurat.load(model(name), device="reference", engine=ziggurat.Engine(threads=1))
    assert_close(late.run(feeds), load(model(name)).run(feeds), bound=1e-5)
    again = late.run(feeds_for(model(name), 1, 5, seed=4))
    assert_close(again, load(model(name)).run(feeds_for(model(name), 1, 5, seed=4)), bound=1e-5)
