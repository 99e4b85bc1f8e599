from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.digits import train

FOLDER = Path(train.__file__).parent
MODEL = FOLDER / "1" / "model.onnx"


@pytest.fixture(scope="module")
def golden() -> tuple[np.ndarray, np.ndarray]:
    document = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
    images = np.array(document["image"], np.float32).reshape(-1, 1, 8, 8)
    return images, np.array(document["probabilities"])


def stored_weights() -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(MODEL).graph.initializer}


def test_the_hand_written_gradients_are_those_of_the_loss() -> None:
    images, labels, _, _ = train.load_split()
    images, labels = images[:4], labels[:4]
    rng = np.random.default_rng(3)
    weights = train.initial_weights(rng)
    for name in weights:  # away from the kink: with zero biases, blank paper sits at the corner of the ReLU
        weights[name] += 0.1 * rng.standard_normal(weights[name].shape)
    grads = train.gradients(weights, *train.forward(weights, images), labels)

    def loss() -> float:
        return float(-np.log(train.forward(weights, images)[0][np.arange(4), labels]).mean())

    for name, value in weights.items():
        # the direction of the gradient itself: its slope is the gradient's squared length
        direction, kept, step = grads[name], value.copy(), 1e-6
        weights[name] = kept + step * direction
        above = loss()
        weights[name] = kept - step * direction
        slope = (above - loss()) / (2 * step)
        weights[name] = kept
        assert slope == pytest.approx((direction**2).sum(), rel=1e-4), name


def test_training_gives_the_same_bits_twice() -> None:
    images, labels, _, _ = train.load_split()
    runs = [list(train.train(images[:256], labels[:256], 2))[-1] for _ in range(2)]
    assert runs[0][2] == runs[1][2]
    assert all(np.array_equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])


@pytest.mark.heavy
def test_the_script_makes_the_stored_weights_again() -> None:
    images, labels, _, _ = train.load_split()
    *_, (_, weights, _) = train.train(images, labels, train.EPOCHS)
    stored = stored_weights()
    for name, value in weights.items():
        np.testing.assert_allclose(stored[name], value, rtol=0, atol=2e-5, err_msg=name)


def test_the_card_tells_the_truth() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    weights = {name: value.astype(np.float64) for name, value in stored_weights().items()}
    count = sum(value.size for name, value in weights.items() if name != "full_scale")
    *_, images, labels = train.load_split()
    right = round(train.accuracy(weights, images, labels) * len(labels))
    assert f"{count:,} parameters" in card
    assert f"{100 * right / len(labels):.1f} % ({right} of {len(labels)})" in card
    assert f"{MODEL.stat().st_size // 1000} KB" in card
    assert right / len(labels) > 0.97


def test_golden_values_are_what_onnxruntime_says_too(golden: tuple[np.ndarray, np.ndarray]) -> None:
    import onnxruntime

    images, probabilities = golden
    session = onnxruntime.InferenceSession(MODEL.read_bytes(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], probabilities, rtol=0, atol=1e-6)
    assert probabilities.argmax(axis=1).tolist() == list(range(10))
