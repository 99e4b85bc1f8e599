"""Runs that compute at once share the engine's threads: the same bits, and everyone gets on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

import ziggurat
from tests.conformance import small_models
from tests.conformance.inputs import feeds_for

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "1" / "model.onnx"


def test_concurrent_runs_of_several_models_have_the_bits_of_runs_alone() -> None:
    engine = ziggurat.Engine(threads=4)
    sources = [DIGITS.read_bytes(), small_models.MAKERS["residual_net"](), small_models.MAKERS["encoder"]()]
    cases = []
    for source in sources:
        model, feeds = ziggurat.load(source, engine=engine), feeds_for(source, 2)
        alone = ziggurat.load(source, engine=ziggurat.Engine(threads=1)).run(feeds)
        cases.append((model, feeds, {name: value.tobytes() for name, value in alone.items()}))
    wrong: list[str] = []

    def work(seed: int) -> None:
        for turn in np.random.default_rng(seed).integers(0, len(cases), 30):
            model, feeds, want = cases[turn]
            got = model.run(feeds)
            wrong.extend(name for name, value in got.items() if value.tobytes() != want[name])

    for clients in (1, 2, 7):
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert engine.core.runs == 0


def test_concurrent_runs_are_counted_while_they_compute() -> None:
    engine = ziggurat.Engine(threads=2)
    source = small_models.MAKERS["residual_net"]()
    model, feeds = ziggurat.load(source, engine=engine), feeds_for(source, 1)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            model.run(feeds)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    most, end = 0, time.monotonic() + 60
    while most < 2 and time.monotonic() < end:
        most = max(most, engine.core.runs)
    stop.set()
    for thread in threads:
        thread.join()
    assert 2 <= most <= 3 and engine.core.runs == 0
