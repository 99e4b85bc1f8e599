"""The same weights give the same logits from a folder and from GGUF, whole and in steps, for every architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from tests.formats.architectures import checkpoints
from tests.formats.architectures.checkpoints import CONFIGS, config_of, tensors_of, write_folder, write_gguf
from tests.formats.architectures.stepping import Stepper, apart, logits
from ziggurat.engine import quantize_rows

IDS = np.random.default_rng(1).integers(0, checkpoints.VOCAB, 40).tolist()


@pytest.mark.parametrize("case", CONFIGS)
def test_steps_of_any_size_give_the_bits_of_the_whole(case: str, tmp_path: Path) -> None:
    config = config_of(case)
    folder = write_folder(tmp_path / "m", config, tensors_of(config))
    whole = logits(folder, IDS[:30])
    assert np.array_equal(whole, logits(folder, IDS[:30], chunks=[1] * 30))
    assert np.array_equal(whole, logits(folder, IDS[:30], chunks=[7, 16, 7]))
    assert len(np.unique(whole.argmax(axis=1))) > 3  # a model that says something


@pytest.mark.parametrize("case", CONFIGS)
def test_gguf_means_the_same_as_the_folder(case: str, tmp_path: Path) -> None:
    config = config_of(case)
    tensors = tensors_of(config)
    folder, file = write_folder(tmp_path / "m", config, tensors), write_gguf(tmp_path / "m.gguf", config, tensors)
    one, other = Stepper(folder), Stepper(file)
    assert apart(other.step(IDS), one.step(IDS)) < 1e-5
    assert one.source.warnings == other.source.warnings == []
    for name in (
        "vocab",
        "context",
        "layers",
        "heads",
        "kv_heads",
        "head_dim",
        "parameters",
        "eos_token_ids",
        "sliding_window",
    ):
        assert getattr(one.source.spec, name) == getattr(other.source.spec, name)


BLOCKS = [Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0]


@pytest.mark.parametrize("kind", [*BLOCKS, Kind.F16, Kind.BF16], ids=lambda kind: kind.name)
def test_gguf_types_mean_what_the_reference_dequantises(kind: Kind, tmp_path: Path) -> None:
    config = config_of("llama")
    tensors = tensors_of(config)
    plain = {
        name: array if array.ndim == 1 else gguf.quants.dequantize(gguf.quants.quantize(array, kind), kind)
        for name, array in tensors.items()
    }
    want = logits(write_folder(tmp_path / "m", config, plain), IDS)
    file = write_gguf(tmp_path / "m.gguf", config, tensors, kind)
    assert Stepper(file).source.spec.weights == {"F16": "f16", "BF16": "bf16"}.get(kind.name, kind.name)
    # In blocks the rows of activations are int8 in groups of 32, each step 1/127 of the group's largest: normal numbers
    # lose 0.54 % (rms) a product. Of this model's many products in a row, 4000 logits are up to 5.5 % apart.
    assert apart(logits(file, IDS), want) < (0.08 if kind in BLOCKS else 1e-5)
    assert apart(logits(file, IDS, weights="f32"), want) < 1e-5


@pytest.mark.parametrize(("form", "bound"), [("f32", 0.0), ("bf16", 1e-5), ("int8", 0.08), ("int4", 0.08)])
def test_weights_convert_at_load(form: str, bound: float, tmp_path: Path) -> None:
    """The same as weights that were rounded before they were saved; in blocks activations are int8, as above."""
    config = config_of("llama")
    tensors = tensors_of(config)
    folder = write_folder(tmp_path / "m", config, tensors)
    rounded = {name: rounded_to(form, name, array) for name, array in tensors.items()}
    want = logits(write_folder(tmp_path / "rounded", config, rounded), IDS)
    converted = Stepper(folder, weights=form)
    assert apart(converted.step(IDS), want) <= bound
    assert converted.source.spec.weights == form
    assert form == "f32" or apart(logits(folder, IDS), want) > 1e-4


def rounded_to(form: str, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.ndim == 1 or form == "f32":
        return array
    if form == "bf16":
        return array.astype(ml_dtypes.bfloat16).astype(np.float32)
    kind = Kind.Q4_0 if form == "int4" and "embed" not in name and "lm_head" not in name else Kind.Q8_0
    blocks = np.frombuffer(quantize_rows(array.reshape(-1), 1, *array.shape, kind), np.uint8).reshape(len(array), -1)
    values: np.ndarray[Any, Any] = gguf.quants.dequantize(blocks, kind)
    return values


def test_half_precision_files_are_read_without_widening_on_disk(tmp_path: Path) -> None:
    config = config_of("gpt2")
    tensors = tensors_of(config)
    for dtype in (np.float16, ml_dtypes.bfloat16):
        narrow = {name: array.astype(dtype) for name, array in tensors.items()}
        wide = {name: array.astype(np.float32) for name, array in narrow.items()}
        want = logits(write_folder(tmp_path / "wide", config, wide), IDS)
        assert apart(logits(write_folder(tmp_path / "narrow", config, narrow), IDS), want) < 1e-5


def test_only_wanted_rows_are_computed_and_they_have_the_same_bits(tmp_path: Path) -> None:
    config = config_of("llama")
    folder = write_folder(tmp_path / "m", config, tensors_of(config))
    whole = logits(folder, IDS)
    assert np.array_equal(Stepper(folder).step(IDS, rows=[39, 3]), whole[[39, 3]])


def test_unoptimised_graphs_mean_the_same(tmp_path: Path) -> None:
    config = config_of("gemma3")
    folder = write_folder(tmp_path / "m", config, tensors_of(config))
    assert apart(logits(folder, IDS, optimize=False), logits(folder, IDS)) < 1e-5
