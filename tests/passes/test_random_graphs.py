"""The optimised model computes what the model says: the same bits where every pass that ran is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import ziggurat
from tests.passes.random_graphs import models

APPROXIMATE = (
    "recognize_attention",
    "recognize_layer_norm",
    "recognize_gelu",
    "recognize_swish",
    "fold_conv_scale",
    "channels_last",
)
# Six steps deep, each pass within 2^-18 of its operands, weights below 2 and sums of up to 36 terms.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-4}

Case = tuple[bytes, np.ndarray]


def outputs(case: Case, **options: object) -> dict[str, np.ndarray]:
    model, x = case
    with ziggurat.load(model, **options) as loaded:  # type: ignore[arg-type]
        return loaded.run({"x": x})


def check_same_bits(case: Case, **options: object) -> None:
    plain, optimised = outputs(case, optimize=False), outputs(case, **options)
    assert plain.keys() == optimised.keys()
    for name, array in plain.items():
        assert array.shape == optimised[name].shape
        assert np.array_equal(array.view(np.uint32), optimised[name].view(np.uint32)), name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models())
def test_exact_passes_keep_every_bit(case: Case) -> None:
    check_same_bits(case, disabled_passes=APPROXIMATE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models())
def test_all_passes_stay_within_their_bounds(case: Case) -> None:
    plain, optimised = outputs(case, optimize=False), outputs(case)
    for name, array in plain.items():
        assert np.allclose(array, optimised[name], **TOLERANCE, equal_nan=True), name


@pytest.mark.heavy
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models())
def test_exact_passes_keep_every_bit_of_many_models(case: Case) -> None:
    check_same_bits(case, disabled_passes=APPROXIMATE)


def test_the_models_are_worth_the_name() -> None:
    """Enough of the draws are rewritten by each pass that these tests are about."""
    seen: set[str] = set()

    @settings(max_examples=140, deadline=None, database=None, derandomize=True)
    @given(models())
    def collect(case: Case) -> None:
        with ziggurat.load(case[0]) as model:
            seen.update(record["name"] for record in model.plan().passes if record["rewrites"])

    collect()
    missing = {
        "eliminate_identity", "eliminate_common", "fold_constants", "fold_shapes", "merge_casts", "merge_reshapes",
        "merge_transposes", "fuse_conv", "fuse_matmul", "fuse_elementwise",
        "merge_products", "sink_transposes", *APPROXIMATE,
    } - seen  # fmt: skip
    assert missing == set()
