"""Makes the digits model: a small convolution net, trained with NumPy alone on scikit-learn's bundled digits.

    python models/digits/train.py            # writes 1/model.onnx and golden.json beside this file
    python models/digits/train.py --out DIR --epochs 1

Everything is computed in float64 from one seed, so that another machine's BLAS, which may sum in another order, leads
to the same float32 weights within about 1e-6. Adam, cross-entropy, and shifts by up to one pixel as augmentation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]

SEED = 20
EPOCHS = 40
BATCH = 64
CHANNELS = (16, 32)
HIDDEN = 64
RATE = 2e-3
FULL_SCALE = 16.0  # scikit-learn's images hold intensities 0..16


def load_split() -> tuple[Array, NDArray[np.int64], Array, NDArray[np.int64]]:
    """Images [n, 1, 8, 8] of intensities 0..16 and their labels: four fifths to train, one fifth to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    images = digits.images[order].reshape(-1, 1, 8, 8)
    labels = digits.target[order].astype(np.int64)
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def initial_weights(rng: np.random.Generator) -> Weights:
    """He's scale, sqrt(2 / fan-in), for the layers that a ReLU follows."""
    first, second = CHANNELS
    flat = second * 4 * 4

    def he(*shape: int, fan_in: int) -> Array:
        return rng.standard_normal(shape) * np.sqrt(2 / fan_in)

    return {
        "conv1.weight": he(first, 1, 3, 3, fan_in=9),
        "conv1.bias": np.zeros(first),
        "conv2.weight": he(second, first, 3, 3, fan_in=9 * first),
        "conv2.bias": np.zeros(second),
        "hidden.weight": he(HIDDEN, flat, fan_in=flat),
        "hidden.bias": np.zeros(HIDDEN),
        "output.weight": he(10, HIDDEN, fan_in=2 * HIDDEN),
        "output.bias": np.zeros(10),
    }


def patches(x: Array) -> Array:
    """[n, c, h, w] -> [n, h, w, c * 9]: what a 3x3 kernel with one pixel of zero padding sees at each place."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return seen.transpose(0, 2, 3, 1, 4, 5).reshape(*x.shape[:1], *x.shape[2:], -1)


def spread(columns: Array, channels: int) -> Array:
    """The transpose of `patches`: adds each window's gradients back to the pixels it saw."""
    n, h, w, _ = columns.shape
    seen = columns.reshape(n, h, w, channels, 3, 3)
    padded = np.zeros((n, channels, h + 2, w + 2))
    for dy in range(3):
        for dx in range(3):
            padded[:, :, dy : dy + h, dx : dx + w] += seen[..., dy, dx].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def convolve(columns: Array, weight: Array, bias: Array) -> Array:
    out = columns @ weight.reshape(len(weight), -1).T + bias
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))


def windows(x: Array) -> Array:
    """[n, c, h, w] -> [n, c, h / 2, 2, w / 2, 2]: the 2x2 windows that pooling looks at, without a copy."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2)


def forward(w: Weights, images: Array) -> tuple[Array, dict[str, Array]]:
    """Probabilities [n, 10] of images [n, 1, 8, 8], and what the backward pass needs."""
    keep: dict[str, Array] = {"columns1": patches(images / FULL_SCALE)}
    keep["relu1"] = np.maximum(convolve(keep["columns1"], w["conv1.weight"], w["conv1.bias"]), 0)
    keep["columns2"] = patches(keep["relu1"])
    keep["relu2"] = np.maximum(convolve(keep["columns2"], w["conv2.weight"], w["conv2.bias"]), 0)
    keep["pooled"] = windows(keep["relu2"]).max(axis=(3, 5))
    keep["flat"] = keep["pooled"].reshape(len(images), -1)
    keep["relu3"] = np.maximum(keep["flat"] @ w["hidden.weight"].T + w["hidden.bias"], 0)
    logits = keep["relu3"] @ w["output.weight"].T + w["output.bias"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), keep


def gradients(w: Weights, probabilities: Array, keep: dict[str, Array], labels: NDArray[np.int64]) -> Weights:
    """Of the mean cross-entropy, by hand, layer by layer from the output back."""
    n, grads = len(labels), {}
    delta = (probabilities - np.eye(10)[labels]) / n
    grads["output.weight"], grads["output.bias"] = delta.T @ keep["relu3"], delta.sum(axis=0)
    delta = delta @ w["output.weight"] * (keep["relu3"] > 0)
    grads["hidden.weight"], grads["hidden.bias"] = delta.T @ keep["flat"], delta.sum(axis=0)

    # a maximum passes its gradient to the pixel that won; equal winners (paper looks the same everywhere) share it
    won = windows(keep["relu2"]) == keep["pooled"][:, :, :, None, :, None]
    pooled = (delta @ w["hidden.weight"]).reshape(keep["pooled"].shape)[:, :, :, None, :, None]
    delta = (pooled * won / won.sum(axis=(3, 5), keepdims=True)).reshape(keep["relu2"].shape) * (keep["relu2"] > 0)

    for layer, columns in (("conv2", keep["columns2"]), ("conv1", keep["columns1"])):
        rows = delta.transpose(0, 2, 3, 1).reshape(-1, delta.shape[1])
        weight = w[f"{layer}.weight"]
        grads[f"{layer}.weight"] = (rows.T @ columns.reshape(len(rows), -1)).reshape(weight.shape)
        grads[f"{layer}.bias"] = rows.sum(axis=0)
        if layer == "conv2":
            back = (rows @ weight.reshape(len(weight), -1)).reshape(columns.shape)
            delta = spread(back, CHANNELS[0]) * (keep["relu1"] > 0)
    return grads


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Each image moved by -1, 0 or 1 pixel either way; what leaves the frame is lost."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    offsets = rng.integers(0, 3, (len(images), 2))
    return np.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets, strict=True)])


def train(images: Array, labels: NDArray[np.int64], epochs: int) -> Iterator[tuple[int, Weights, float]]:
    """Yields (epoch, weights, mean loss) after each epoch. Adam, with a rate that falls to zero along a cosine."""
    rng = np.random.default_rng(SEED)
    weights = initial_weights(rng)
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    step, steps = 0, EPOCHS * -(-len(labels) // BATCH)
    for epoch in range(epochs):
        order, losses = rng.permutation(len(labels)), []
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            probabilities, keep = forward(weights, shifted(images[chosen], rng))
            losses.append(-np.log(probabilities[np.arange(len(chosen)), labels[chosen]] + 1e-12).mean())
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            for name, grad in gradients(weights, probabilities, keep, labels[chosen]).items():
                first[name] = 0.9 * first[name] + 0.1 * grad
                second[name] = 0.999 * second[name] + 0.001 * grad * grad
                mean, spread_of = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                weights[name] = weights[name] - rate * mean / (np.sqrt(spread_of) + 1e-8)
        yield epoch, weights, float(np.mean(losses))


def accuracy(weights: Weights, images: Array, labels: NDArray[np.int64]) -> float:
    return float((forward(weights, images)[0].argmax(axis=1) == labels).mean())


def onnx_model(weights: Weights) -> bytes:
    """The same computation as `forward`, in float32, batch size free."""
    from onnx import TensorProto, checker, helper, numpy_helper

    stored = {name: value.astype(np.float32) for name, value in weights.items()}
    stored["full_scale"] = np.float32(FULL_SCALE).reshape(())
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    rows = [
        ("Div", ["image", "full_scale"], "scaled", {}),
        ("Conv", ["scaled", "conv1.weight", "conv1.bias"], "conv1", conv),
        ("Relu", ["conv1"], "relu1", {}),
        ("Conv", ["relu1", "conv2.weight", "conv2.bias"], "conv2", conv),
        ("Relu", ["conv2"], "relu2", {}),
        ("MaxPool", ["relu2"], "pooled", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", ["pooled"], "flat", {"axis": 1}),
        ("Gemm", ["flat", "hidden.weight", "hidden.bias"], "hidden", {"transB": 1}),
        ("Relu", ["hidden"], "relu3", {}),
        ("Gemm", ["relu3", "output.weight", "output.bias"], "logits", {"transB": 1}),
        ("Softmax", ["logits"], "probabilities", {"axis": 1}),
    ]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], name=output, **attributes) for op, inputs, output, attributes in rows],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10, producer_name="ziggurat"
    )
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def golden(weights: Weights, images: Array, labels: NDArray[np.int64]) -> dict[str, object]:
    """The first test image of each digit and what this file's own forward pass, with the stored weights, says of it."""
    rounded = {name: value.astype(np.float32).astype(np.float64) for name, value in weights.items()}
    chosen = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    probabilities = forward(rounded, images[chosen])[0]
    return {
        "labels": list(range(10)),
        "image": images[chosen].astype(int).reshape(10, 64).tolist(),
        "probabilities": [[float(f"{p:.9g}") for p in row] for row in probabilities],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    images, labels, test_images, test_labels = load_split()
    for epoch, weights, loss in train(images, labels, arguments.epochs):
        print(f"epoch {epoch + 1:2} loss {loss:.4f} test accuracy {accuracy(weights, test_images, test_labels):.4f}")
    (arguments.out / "1").mkdir(parents=True, exist_ok=True)
    (arguments.out / "1" / "model.onnx").write_bytes(onnx_model(weights))
    lines = json.dumps(golden(weights, test_images, test_labels)).replace("], ", "],\n  ").replace('], "', '],\n"')
    (arguments.out / "golden.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
