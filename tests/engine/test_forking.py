"""An engine after fork(): in the child it raises Unavailable or goes away quietly, whatever the parent was doing."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import ziggurat
from tests.formats.architectures.checkpoints import config_of, tensors_of, write_folder
from tests.language.test_model import write_tokenizer
from ziggurat.errors import Unavailable

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "1" / "model.onnx"
FEEDS = {"image": np.random.default_rng(0).random((16, 1, 8, 8), np.float32)}
SECONDS = 60  # a child that has not ended by then hangs


def child(work: Callable[[], None]) -> None:
    """Calls `work` in a forked child, which must end well."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert status == 0, status
            return
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(Unavailable, match=r"fork\(\)|closed"):
        call()


@contextmanager
def busy(model: ziggurat.Model, threads: int = 3) -> Iterator[None]:
    """Runs in flight all the while."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            model.run(FEEDS)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_in_a_child_the_parents_engine_refuses_and_a_new_one_works() -> None:
    engine = ziggurat.Engine(threads=4)
    model = ziggurat.load(DIGITS, engine=engine)
    want = model.run(FEEDS)["probabilities"].tobytes()

    def work() -> None:
        for call in (
            lambda: model.run(FEEDS),
            lambda: model.profile(FEEDS),
            lambda: ziggurat.load(DIGITS, engine=engine),
            engine.memory,
            engine.pools,
            engine.purge,
        ):
            refused(call)
        own = ziggurat.load(DIGITS, engine=ziggurat.Engine(threads=2))
        assert own.run(FEEDS)["probabilities"].tobytes() == want
        assert ziggurat.load(DIGITS).run(FEEDS)["probabilities"].tobytes() == want

    with busy(model):
        for _ in range(10):
            child(work)
    assert model.run(FEEDS)["probabilities"].tobytes() == want


def test_a_child_may_drop_all_that_it_inherited() -> None:
    engine = ziggurat.Engine(threads=4)
    model = ziggurat.load(DIGITS, engine=engine)
    kept = [model.run(FEEDS) for _ in range(3)]

    def work() -> None:
        model.close()
        engine.close()
        kept.clear()
        gc.collect()

    def work_after_default() -> None:
        kept.clear()
        ziggurat.load(DIGITS).run(FEEDS)

    with busy(ziggurat.load(DIGITS, engine=engine)):
        for _ in range(10):
            child(work)
            child(work_after_default)
    assert kept and model.run(FEEDS)


def test_a_grandchild_is_no_different() -> None:
    model = ziggurat.load(DIGITS, engine=ziggurat.Engine(threads=2))
    child(lambda: child(lambda: refused(lambda: model.run(FEEDS))))


def test_a_language_model_refuses_in_a_child_even_while_it_generates(tmp_path: Path) -> None:
    config = config_of("llama")
    folder = write_folder(tmp_path, config, tensors_of(config))
    write_tokenizer(folder)
    with ziggurat.load_llm(folder, engine=ziggurat.Engine(threads=2)) as llm:
        stop = threading.Event()

        def generate() -> None:
            while not stop.is_set():
                for _ in llm.generate([5, 9, 30], max_tokens=20, ignore_eos=True):
                    pass

        worker = threading.Thread(target=generate)
        worker.start()

        def work() -> None:
            refused(lambda: list(llm.generate([5, 9, 30], max_tokens=4)))
            refused(lambda: llm.forward([5, 9]))
            refused(lambda: list(llm.generate_batch([[5, 9]], max_tokens=4)))

        try:
            for _ in range(10):
                child(work)
        finally:
            stop.set()
            worker.join()
