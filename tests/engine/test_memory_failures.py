"""Whichever request for memory fails: a typed error, nothing leaks, and the next run is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ziggurat
from tests.conformance import small_models
from tests.conformance.inputs import feeds_for
from tests.engine.language import make_generator, prompt_of, write_checkpoint
from ziggurat.engine import Generator
from ziggurat.errors import OutOfMemory, ZigguratError


@pytest.fixture(scope="module", params=("residual_net", "inverted_residual_net", "encoder"))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("failures") / f"{request.param}.onnx"
    path.write_bytes(small_models.MAKERS[request.param]())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama"))


def test_every_failed_allocation_of_a_load_and_a_run_is_an_error_and_leaks_nothing(model: Path) -> None:
    feeds = feeds_for(model.read_bytes(), 2, sequence=8)
    with ziggurat.Engine(threads=1) as engine:
        core = engine.core
        expected = ziggurat.load(model, engine=engine).run(feeds)
        loads = 0
        for n in range(1, 2000):
            core.fail_allocation(n)
            loaded = failed = None
            try:
                loaded = ziggurat.load(model, engine=engine)
                loads = max(loads, n)
                result = loaded.run(feeds)
            except OutOfMemory as error:
                failed = error
            if core.failure_pending():
                break
            assert failed is not None, n  # nobody goes on without what was asked for
            core.fail_allocation(0)
            if loaded is not None:
                result = loaded.run(feeds)  # whatever failed, the next one runs
                assert all(np.array_equal(result[name], expected[name]) for name in expected), n
                del result
                loaded.close()
            assert engine.memory()["reserved"] == 0, n
            assert engine.memory()["packed_weights"] == 0, n
        else:
            pytest.fail("a load and a run ask for memory more than 2000 times")
        core.fail_allocation(0)
        assert loads > 3
        loaded = result = failed = None
        del expected
        assert sum(pool["used"] for pool in engine.pools()) == 0


def generate(generator: Generator, prompt: list[int]) -> tuple[list[int], list[type[Exception]]]:
    """The tokens of a greedy answer, and the errors of its requests and steps, to the end whatever fails."""
    tokens: list[int] = []
    errors: list[type[Exception]] = []
    generator.add(prompt, max_tokens=4, temperature=0.0)
    while True:
        try:
            events = generator.step()
        except ZigguratError as error:
            errors.append(type(error))
            continue
        if events is None:
            return tokens, errors
        for event in events:
            tokens.append(event.token)
            if event.error is not None:
                errors.append(type(event.error))


def test_every_failed_allocation_of_a_generation_is_an_error_of_its_requests_alone(folder: Path) -> None:
    engine = ziggurat.Engine(threads=1)
    generator = make_generator(folder, engine=engine)
    prompt = prompt_of(40, 3)
    expected = generate(generator, prompt)
    assert expected[1] == []
    reserved = engine.memory()["reserved"]
    for n in range(1, 500):
        engine.core.fail_allocation(n)
        _, errors = generate(generator, prompt)
        pending = engine.core.failure_pending()
        engine.core.fail_allocation(0)
        assert set(errors) <= {OutOfMemory}
        assert generate(generator, prompt) == expected, n
        assert engine.memory()["reserved"] <= reserved, n
        if pending:
            break
    assert n > 10  # every place that asks was reached; a step that found no memory may have been tried again
