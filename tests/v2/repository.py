"""The models that the suite asks for. To test another server, write them into its repository:

python -m tests.v2.repository FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnx import TensorProto, helper

from tests.http import models

BATCHED_SETTINGS = "max_batch_size: 8\nmax_queue_delay: 0.001\nlabels:\n  y: [ant, bee, cat, dog]\n"


def write(root: Path) -> Path:
    """Names are what Triton takes too; each model is `<name>/1/model.onnx`."""
    for name, element_type in models.ELEMENT_TYPES.items():
        models.identity(root / f"v2_{name.lower()}/1/model.onnx", element_type)
    models.pair(root / "v2_pair/1/model.onnx")
    models.pair(root / "v2_pair/2/model.onnx")
    models.identity(root / "v2_fixed/1/model.onnx", TensorProto.FLOAT, [2, 3])
    models.identity(root / "v2_spare/1/model.onnx", TensorProto.FLOAT)
    relu = helper.make_node("Relu", ["x"], ["y"])
    values = [models.value(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    models.save(root / "v2_batched/1/model.onnx", [relu], values[:1], values[1:])
    (root / "v2_batched/model.yaml").write_text(BATCHED_SETTINGS, encoding="utf-8")
    return root


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
