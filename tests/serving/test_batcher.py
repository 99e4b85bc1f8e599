"""The batcher: who shares a run, who waits, who is dropped, and that nobody's bits depend on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import ziggurat
from tests.http import models
from ziggurat.engine import Batching, CancelToken, Engine, Model
from ziggurat.errors import DeadlineExceeded, InvalidArgument, Overloaded
from ziggurat.serving.admission import DEFAULT_PRIORITY
from ziggurat.serving.batcher import Batch, Batcher
from ziggurat.serving.work import Done

RNG = np.random.default_rng(0)


class Wish:
    """A protocol's request, without a protocol."""

    light = True

    def __init__(
        self, feeds: dict[str, np.ndarray], deadline: float | None = None, priority: int = DEFAULT_PRIORITY
    ) -> None:
        self.feeds = feeds
        self.priority = priority
        self.deadline = deadline

    def read(self, model: Model) -> dict[str, np.ndarray]:
        return self.feeds

    def write(self, arrays: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.array(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(threads=2)


@pytest.fixture(scope="module")
def perceptron(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Model:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]
    weights = {"w1": RNG.standard_normal((32, 64), np.float32), "w2": RNG.standard_normal((64, 5), np.float32)}
    inputs = [models.value("x", TensorProto.FLOAT, ["batch", 32])]
    outputs = [models.value("y", TensorProto.FLOAT, ["batch", 5])]
    path = models.save(tmp_path_factory.mktemp("mlp") / "mlp.onnx", nodes, inputs, outputs, weights)
    return ziggurat.load(path, engine=engine)


class Desk:
    """A batcher whose runs wait for a bell, so that a test decides who has arrived by then."""

    def __init__(self, model: Model, max_rows: int = 8, delay: float = 0.0, queue: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.bell = asyncio.Event()
        self.bell.set()
        self.batcher = Batcher(model, model.batching(), max_rows, delay, queue, self._run, CancelToken)

    async def _run(self, take: Callable[[], Batch | None], compute: Callable[[Batch], None]) -> None:
        await asyncio.sleep(0)
        batch = take()
        if batch is not None:
            self.batches.append([item.rows for item in batch.items])
            await self.bell.wait()
            await asyncio.to_thread(compute, batch)

    async def ask(self, rows: np.ndarray, deadline: float | None = None, priority: int = DEFAULT_PRIORITY) -> Done[Any]:
        wish = Wish({"x": rows}, deadline, priority)
        return await self.batcher.submit(self.batcher.item(wish, wish.read(self.batcher._model)))


def rows(count: int) -> np.ndarray:
    return RNG.standard_normal((count, 32), np.float32)


def test_those_who_come_during_a_run_share_the_next_and_get_the_bits_that_they_get_alone(perceptron: Model) -> None:
    async def scene() -> Desk:
        desk = Desk(perceptron)
        desk.bell.clear()
        requests = [rows(count) for count in (1, 2, 1, 3)]
        pending = [asyncio.ensure_future(desk.ask(one)) for one in requests[:1]]
        await asyncio.sleep(0.01)
        pending += [asyncio.ensure_future(desk.ask(one)) for one in requests[1:]]
        await asyncio.sleep(0.01)
        desk.bell.set()
        for request, done in zip(requests, await asyncio.gather(*pending), strict=True):
            alone = perceptron.run({"x": request})["y"]
            assert done.get()["y"].tobytes() == alone.tobytes()
            assert done.rows == len(request) and done.compute_seconds > 0
        return desk

    assert asyncio.run(scene()).batches == [[1], [2, 1, 3]]


def test_a_run_takes_no_more_rows_than_allowed_but_one_request_of_any_size(perceptron: Model) -> None:
    async def scene() -> Desk:
        desk = Desk(perceptron, max_rows=4)
        desk.bell.clear()
        pending = [asyncio.ensure_future(desk.ask(rows(count))) for count in (3, 2, 2, 9)]
        await asyncio.sleep(0.01)
        desk.bell.set()
        answers = [done.get()["y"].shape for done in await asyncio.gather(*pending)]
        assert answers == [(3, 5), (2, 5), (2, 5), (9, 5)]
        return desk

    assert asyncio.run(scene()).batches == [[3], [2, 2], [9]]


def test_lower_priorities_are_in_the_next_run_first(perceptron: Model) -> None:
    async def scene() -> Desk:
        desk = Desk(perceptron, max_rows=4)
        desk.bell.clear()
        pending = [asyncio.ensure_future(desk.ask(rows(1)))]
        await asyncio.sleep(0.01)  # the first runs, the others queue
        wishes = ((4, 100), (3, 100), (2, 1), (2, 50))
        pending += [asyncio.ensure_future(desk.ask(rows(count), None, priority)) for count, priority in wishes]
        await asyncio.sleep(0.01)
        assert desk.batcher.priority == 1
        desk.bell.set()
        assert all(done.error is None for done in await asyncio.gather(*pending))
        return desk

    assert asyncio.run(scene()).batches == [[1], [2, 2], [4], [3]]


def test_one_client_alone_never_waits(perceptron: Model) -> None:
    async def scene() -> None:
        desk = Desk(perceptron, delay=10.0)
        for _ in range(3):
            begin = time.monotonic()
            assert (await desk.ask(rows(1))).error is None
            assert time.monotonic() - begin < 5.0  # a tenth of the delay would already be a second

    asyncio.run(scene())


def test_who_is_alone_is_told_from_who_comes_meanwhile(perceptron: Model) -> None:
    async def scene() -> None:
        desk = Desk(perceptron)
        batcher = desk.batcher
        assert batcher.alone
        with batcher.solo():
            assert not batcher.alone  # whoever comes now may share a run
            assert (await desk.ask(rows(1))).error is None
        assert not batcher.alone  # there were two lately
        for _ in range(3):
            await desk.ask(rows(1))
        assert batcher.alone

    asyncio.run(scene())


def test_where_several_were_lately_the_first_waits_for_them(perceptron: Model) -> None:
    async def scene() -> Desk:
        desk = Desk(perceptron, delay=10.0)
        await asyncio.gather(*(desk.ask(rows(1)) for _ in range(4)))  # shows that there are four
        pending = []
        for _ in range(4):
            pending.append(asyncio.ensure_future(desk.ask(rows(1))))
            await asyncio.sleep(0.02)
        await asyncio.gather(*pending)
        return desk

    batches = asyncio.run(scene()).batches
    assert batches[-1] == [1, 1, 1, 1], "four were there before, so the run began when the fourth had come"


def test_a_wait_in_vain_is_not_repeated(perceptron: Model) -> None:
    async def scene() -> None:
        desk = Desk(perceptron, delay=0.3)
        await asyncio.gather(*(desk.ask(rows(1)) for _ in range(4)))
        begin = time.monotonic()
        await desk.ask(rows(1))
        first = time.monotonic() - begin
        assert first >= 0.25, "it waited for the others"
        begin = time.monotonic()
        await desk.ask(rows(1))
        assert time.monotonic() - begin < first, "and has learned that there are none"

    asyncio.run(scene())


def test_who_leaves_the_queue_is_in_no_run(perceptron: Model) -> None:
    async def scene() -> Desk:
        desk = Desk(perceptron)
        desk.bell.clear()
        first, leaving, staying = (asyncio.ensure_future(desk.ask(rows(count))) for count in (1, 2, 3))
        await asyncio.sleep(0.01)
        late = asyncio.ensure_future(desk.ask(rows(4)))
        await asyncio.sleep(0.01)
        late.cancel()
        desk.bell.set()
        await asyncio.gather(first, leaving, staying)
        assert late.cancelled() or isinstance(late.exception(), asyncio.CancelledError)
        return desk

    assert asyncio.run(scene()).batches == [[1, 2, 3]]


def test_a_run_that_everybody_left_is_cancelled(perceptron: Model) -> None:
    async def scene() -> None:
        desk = Desk(perceptron)
        desk.bell.clear()
        pending = [asyncio.ensure_future(desk.ask(rows(1))) for _ in range(2)]
        await asyncio.sleep(0.01)
        batch = desk.batcher._running
        assert batch is not None and len(batch.items) == 2
        pending[0].cancel()
        await asyncio.sleep(0.01)
        assert not batch.cancel.cancelled
        pending[1].cancel()
        await asyncio.sleep(0.01)
        assert batch.cancel.cancelled
        desk.bell.set()
        assert (await desk.ask(rows(1))).error is None, "the next one is served"

    asyncio.run(scene())


def test_a_deadline_holds_while_waiting_and_while_others_run(perceptron: Model) -> None:
    async def scene() -> None:
        desk = Desk(perceptron)
        desk.bell.clear()
        patient = asyncio.ensure_future(desk.ask(rows(1)))
        hurried = asyncio.ensure_future(desk.ask(rows(1), time.monotonic() + 0.05))
        await asyncio.sleep(0.01)
        queued = asyncio.ensure_future(desk.ask(rows(1), time.monotonic() + 0.05))
        assert isinstance((await hurried).error, DeadlineExceeded)
        assert isinstance((await queued).error, DeadlineExceeded)
        desk.bell.set()
        assert (await patient).error is None

    asyncio.run(scene())


def test_a_full_queue_refuses(perceptron: Model) -> None:
    async def scene() -> None:
        desk = Desk(perceptron, queue=2)
        desk.bell.clear()
        running = asyncio.ensure_future(desk.ask(rows(1)))
        await asyncio.sleep(0.01)
        waiting = [asyncio.ensure_future(desk.ask(rows(1))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 requests wait"):
            await desk.ask(rows(1))
        desk.bell.set()
        await asyncio.gather(running, *waiting)

    asyncio.run(scene())


def test_different_inner_shapes_do_not_share(engine: Engine, tmp_path: Path) -> None:
    shape: list[int | str] = ["batch", "length"]
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [models.value(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    model = ziggurat.load(models.save(tmp_path / "m.onnx", [node], value[:1], value[1:]), engine=engine)

    async def scene() -> list[list[int]]:
        desk = Desk(model)
        desk.bell.clear()
        arrays = [np.ones(shape, np.float32) for shape in ((1, 3), (2, 4), (1, 3), (1, 4))]
        pending = [asyncio.ensure_future(desk.ask(one)) for one in arrays]
        await asyncio.sleep(0.01)
        desk.bell.set()
        assert [done.get()["y"].shape for done in await asyncio.gather(*pending)] == [one.shape for one in arrays]
        return desk.batches

    assert asyncio.run(scene()) == [[1, 1], [2, 1]]


def test_one_bad_request_spoils_nobody_elses(engine: Engine, tmp_path: Path) -> None:
    table = np.arange(5, dtype=np.float32)
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    inputs = [models.value("x", TensorProto.INT64, ["batch", 1])]
    outputs = [models.value("y", TensorProto.FLOAT, ["batch", 1])]
    model = ziggurat.load(models.save(tmp_path / "g.onnx", [node], inputs, outputs, {"table": table}), engine=engine)
    assert model.batching().independent, model.batching().reason

    async def scene() -> None:
        desk = Desk(model)
        done = await asyncio.gather(*(desk.ask(np.array([[index]], np.int64)) for index in (3, 99, 4)))
        assert desk.batches == [[1, 1, 1]]
        assert [one.get()["y"][0, 0] for one in (done[0], done[2])] == [3.0, 4.0]
        assert isinstance(done[1].error, InvalidArgument), done[1].error

    asyncio.run(scene())


def test_inputs_must_agree_on_the_number_of_rows(engine: Engine, tmp_path: Path) -> None:
    model = ziggurat.load(models.pair(tmp_path / "pair.onnx"), engine=engine)
    desk_of = Batcher(model, model.batching(), 8, 0.0, 8, None, CancelToken)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="'b': has 2 rows, another input has 1"):
        desk_of.item(Wish({}), {"a": np.zeros((1, 2), np.float32), "b": np.zeros((2, 2), np.float32)})


def test_what_is_not_proved_is_not_batched(engine: Engine, tmp_path: Path) -> None:
    mixing = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    value = [models.value(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    model = ziggurat.load(models.save(tmp_path / "s.onnx", [mixing], value[:1], value[1:]), engine=engine)
    batching = model.batching()
    assert isinstance(batching, Batching) and not batching.independent
    assert "Softmax" in batching.reason
    fixed = ziggurat.load(models.identity(tmp_path / "f.onnx", TensorProto.FLOAT, [2, 3]), engine=engine)
    assert "first dimension" in fixed.batching().reason
