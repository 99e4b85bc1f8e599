"""All attention of nets as exporters write them is recognised, and computes what PyTorch does, each row for itself."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest

import ziggurat
from tests.conformance import attention_models
from tests.conformance.batch_invariance import assert_rows_stand_alone

pytestmark = pytest.mark.skipif(
    bool(attention_models.MISSING), reason=f"exporting needs {' and '.join(attention_models.MISSING)}"
)


def check(name: str, spelling: str, dynamo: bool) -> None:
    content, inputs, want = attention_models.make(name, spelling, dynamo)
    with ziggurat.load(content) as model:
        plan = str(model.plan())
        assert len(re.findall(r"\bFusedAttention\(", plan)) == attention_models.ATTENTIONS[name], plan
        assert "Softmax(" not in plan
        got = model.run(inputs)["y"]
        assert model.batching().independent, model.batching().reason
        assert_rows_stand_alone(model.run, inputs)
    with ziggurat.load(content, optimize=False) as plain:
        reference = plain.run(inputs)["y"]
    for other in (want, reference):
        assert np.abs(got - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("name", attention_models.NAMES)
def test_attention_is_recognised(name: str) -> None:
    check(name, "eager", dynamo=False)


@pytest.mark.heavy
@pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="PyTorch's newer exporter needs onnxscript")
@pytest.mark.parametrize("name", attention_models.NAMES)
def test_attention_is_recognised_in_what_the_newer_exporter_writes(name: str) -> None:
    check(name, "eager", dynamo=True)


# What else is spelled by scaled_dot_product_attention is spelled as in one of these.
@pytest.mark.heavy
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "bart", "vit", "swin"])
def test_the_fused_function_of_pytorch_is_recognised(name: str, dynamo: bool) -> None:
    if dynamo and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("PyTorch's newer exporter needs onnxscript")
    check(name, "sdpa", dynamo)
