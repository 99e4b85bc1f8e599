"""The model configuration extension: what Triton calls a ModelConfig, as perf_analyzer and its kin read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ziggurat.http.datatypes import BY_ENGINE
from ziggurat.serving.admission import DEFAULT_PRIORITY, MAX_PRIORITY

if TYPE_CHECKING:
    from ziggurat.serving.registry import Entry
    from ziggurat.types import TensorSpec

BACKEND = "ziggurat"
PLATFORM = "onnx_onnxv1"
# Triton's names differ from V2's in one place only.
_TYPES = {"BYTES": "TYPE_STRING"}


def describe_config(entry: Entry) -> dict[str, Any]:
    """Raises Unavailable, Unsupported."""
    model = entry.ready_model()
    size = entry.batch_size()
    skip = 1 if size else 0
    document: dict[str, Any] = {
        "name": entry.name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "version_policy": entry.config.versions.describe(),
        "max_batch_size": size,
        "input": [
            {**_tensor(spec, skip), "format": "FORMAT_NONE", "is_shape_tensor": False, "allow_ragged_batch": False}
            for spec in model.inputs
        ],
        "output": [{**_tensor(spec, skip), "label_filename": "", "is_shape_tensor": False} for spec in model.outputs],
        "batch_input": [],
        "batch_output": [],
        "instance_group": [{"name": f"{entry.name}_0", "kind": "KIND_CPU", "count": 1, "gpus": [], "profile": []}],
        "default_model_filename": "model.onnx",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
        "model_transaction_policy": {"decoupled": False},
    }
    if size:
        document["dynamic_batching"] = {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": round(entry.config.max_queue_delay * 1e6),
            "preserve_ordering": False,
            "priority_levels": MAX_PRIORITY,
            "default_priority_level": DEFAULT_PRIORITY,
            "priority_queue_policy": {},
        }
    return document


def _tensor(spec: TensorSpec, skip: int) -> dict[str, Any]:
    name = BY_ENGINE[spec.dtype].name if spec.dtype in BY_ENGINE else spec.dtype.upper()
    shape = [-1] if spec.shape is None else [-1 if extent is None else extent for extent in spec.shape]
    return {"name": spec.name, "data_type": _TYPES.get(name, f"TYPE_{name}"), "dims": shape[skip:]}
