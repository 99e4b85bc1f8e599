"""A defragmentation is told in the log, with what was moved and what that gained."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import CapturingLogger

import ziggurat
from tests.engine.memory_models import wide_linear
from ziggurat.telemetry.memory import log_defragmentations


@pytest.fixture
def engine() -> Iterator[ziggurat.Engine]:
    # Unloading moves nothing by itself.
    with ziggurat.Engine(threads=1, purge_after=0, defragment_above=1) as engine:
        yield engine


async def watch(engine: ziggurat.Engine, logger: CapturingLogger) -> None:
    watching = asyncio.ensure_future(log_defragmentations(engine, logger, pace=0.01))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert logger.calls == []
    report = engine.defragment()
    for _ in range(500):
        if logger.calls:
            break
        await asyncio.sleep(0.01)
    watching.cancel()
    (call,) = logger.calls
    assert call.method_name == "info" and call.args == ("memory defragmented",)
    told = call.kwargs
    assert told["pool"] == "weights" and told["moved"] == report["moved"] > 0
    assert told["reserved"] < told["reserved_before"]


def test_a_defragmentation_is_logged_once_with_its_gain(engine: ziggurat.Engine) -> None:
    models = [ziggurat.load(wide_linear(200 + 40 * i, 400, seed=i), engine=engine) for i in range(24)]
    kept = models[::4]
    for model in models:
        if model not in kept:
            model.close()
    asyncio.run(watch(engine, CapturingLogger()))
