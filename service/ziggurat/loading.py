"""load: a model file becomes a Model."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ziggurat.engine import Engine, GraphBuilder, Model, default_engine
from ziggurat.formats.onnx import read_onnx


def load(
    source: str | os.PathLike[str] | bytes,
    device: str = "auto",
    threads: int | None = None,
    engine: Engine | None = None,
    *,
    optimize: bool = True,
    disabled_passes: Sequence[str] = (),
) -> Model:
    """Loads an ONNX model.

    Args:
        source: the path of a .onnx file, or the file's bytes.
        device: "auto", "cpu", or "reference" (slow and plain, for checking).
        threads: how many of the engine's workers one run may use. Default: all.
        engine: what the model shares threads and memory with. Default: one engine for the process.
        optimize: False leaves out every optimizer pass.
        disabled_passes: names of passes to leave out.

    Raises:
        NotFound: the file does not exist.
        InvalidModel: it is not ONNX, is damaged, or describes no valid graph.
        Unsupported: it needs an operator, a type or a version that this build does not have.
        OutOfMemory: it does not fit the engine's memory limit.

    Example:
        >>> model = ziggurat.load("resnet50.onnx")
        >>> outputs = model.run({"x": np.zeros((1, 3, 224, 224), np.float32)})
    """
    imported = read_onnx(source, GraphBuilder)
    return Model(
        engine or default_engine(),
        imported.graph,
        device=device,
        threads=threads,
        optimize=optimize,
        disabled_passes=disabled_passes,
        warnings=imported.warnings,
    )
