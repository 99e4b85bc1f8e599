"""Rotary positions: the inverse frequencies of every scaling that configurations name.

RoPE: Su et al. 2021, arXiv:2104.09864. Scalings: linear (Chen et al. 2023, arXiv:2306.15595), dynamic NTK, YaRN
(Peng et al. 2023, arXiv:2309.00071), LongRoPE (Ding et al. 2024, arXiv:2402.13753), llama3 (the Llama 3.1 release).
Frequencies are computed in float64 and rounded once.

A token's rotation may depend on its own position only: otherwise what the cache holds would change when a sequence
grows. Scalings that transformers switches on by the length of the sequence (dynamic, longrope) are therefore chosen
once, by the context that the model is loaded for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.sizes import Sizes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Rope:
    """`frequencies` are radians a position, one for each rotated pair; `scale` multiplies cosine and sine.

    Interleaved: pairs are neighbours; otherwise element i goes with element i + len(frequencies).
    """

    frequencies: Array
    scale: float = 1.0
    interleaved: bool = False


def rope_parameters(config: Config, layer_type: str | None = None, *, theta: float = 10000.0) -> Config:
    """The parameters of one kind of layer, from any of the forms that configurations have had.

    New: rope_parameters, an object or one for each layer type. Old: rope_theta and rope_scaling.
    """
    parameters = config.section("rope_parameters")
    if layer_type is not None and parameters.has(layer_type):
        parameters = parameters.section(layer_type)
    if not config.has("rope_parameters"):
        parameters = config.section("rope_scaling")
    kind = parameters.text("rope_type", parameters.text("type", "default"))
    found = {"rope_type": kind, "rope_theta": parameters.number("rope_theta", config.number("rope_theta", theta))}
    found["partial_rotary_factor"] = parameters.number(
        "partial_rotary_factor", config.number("partial_rotary_factor", 1.0), least=0.0, most=1.0
    )
    for key in ("original_max_position_embeddings",):
        found[key] = config.integer(key, parameters.integer(key, config.integer("max_position_embeddings", 2048)))
    return parameters.with_values(**found)


def read_rope(parameters: Config, sizes: Sizes, context: int, *, interleaved: bool = False) -> Rope:
    """The rotation that `parameters` (of `rope_parameters`) describe, for sequences of up to `context` tokens."""
    dim = int(sizes.head_dim * parameters.number("partial_rotary_factor", 1.0))
    dim -= dim % 2
    if dim == 0:
        raise parameters.error("partial_rotary_factor", "at least one rotated pair")
    kind = parameters.text("rope_type")
    if kind not in _KINDS:
        raise Unsupported(f"{parameters.where}: RoPE scaling {kind!r}; supported are {', '.join(_KINDS)}")
    with np.errstate(all="ignore"):  # what is out of range is refused below
        frequencies, scale = _KINDS[kind](parameters, dim, sizes, context)
        if parameters.has("factors"):  # GGUF's rope_freqs.weight: llama3's scaling, already computed
            frequencies = frequencies / np.array(parameters.numbers("factors", dim // 2))
    if not np.isfinite(frequencies).all() or np.abs(frequencies).max() > 1e6:
        raise parameters.error("rope_theta", "frequencies within reason")
    return Rope(frequencies.astype(np.float32), scale, interleaved)


def _plain(parameters: Config, dim: int, theta: float | None = None) -> Array:
    base = parameters.number("rope_theta", least=1.0) if theta is None else theta
    return 1.0 / base ** (np.arange(0, dim, 2, dtype=np.float64) / dim)


def _default(parameters: Config, dim: int, sizes: Sizes, context: int) -> tuple[Array, float]:
    return _plain(parameters, dim), 1.0


def _linear(parameters: Config, dim: int, sizes: Sizes, context: int) -> tuple[Array, float]:
    return _plain(parameters, dim) / _factor(parameters), 1.0


def _dynamic(parameters: Config, dim: int, sizes: Sizes, context: int) -> tuple[Array, float]:
    factor, length = _factor(parameters), max(context, sizes.context)
    stretch = factor * length / sizes.context - (factor - 1)
    theta = parameters.number("rope_theta", least=1.0) * stretch ** (dim / max(dim - 2, 1))
    return _plain(parameters, dim, theta), 1.0


def _llama3(parameters: Config, dim: int, sizes: Sizes, context: int) -> tuple[Array, float]:
    frequencies, factor = _plain(parameters, dim), _factor(parameters)
    low, high = parameters.number("low_freq_factor"), parameters.number("high_freq_factor")
    if not 0 < low < high:
        raise parameters.error("high_freq_factor", f"more than low_freq_factor ({low})")
    turns = parameters.integer("original_max_position_embeddings") * frequencies / (2 * math.pi)
    # 0: fewer turns than `low` over the original context, fully stretched; 1: more than `high`, left alone
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1 - kept) * frequencies / factor + kept * frequencies, 1.0


def _yarn(parameters: Config, dim: int, sizes: Sizes, context: int) -> tuple[Array, float]:
    original = parameters.integer("original_max_position_embeddings")
    factor = _factor(parameters, sizes.context / original)
    frequencies, theta = _plain(parameters, dim), parameters.number("rope_theta", least=1.0 + 1e-6)

    def dimension(turns: float) -> float:
        """The dimension whose pair makes so many turns over the original context."""
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = dimension(parameters.number("beta_fast", 32.0, least=1e-3))
    high = dimension(parameters.number("beta_slow", 1.0, least=1e-3))
    if parameters.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = np.clip((np.arange(dim // 2) - low) / ((high - low) or 0.001), 0.0, 1.0)
    mixed = frequencies / factor * ramp + frequencies * (1 - ramp)
    return mixed, _yarn_scale(parameters, factor)


def _yarn_scale(parameters: Config, factor: float) -> float:
    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if parameters.has("attention_factor"):
        return parameters.number("attention_factor")
    if parameters.number("mscale", 0.0) and parameters.number("mscale_all_dim", 0.0):
        return magnitude(parameters.number("mscale")) / magnitude(parameters.number("mscale_all_dim"))
    return magnitude(1.0)


def _longrope(parameters: Config, dim: int, sizes: Sizes, context: int) -> tuple[Array, float]:
    original = parameters.integer("original_max_position_embeddings", least=2)
    divisors = parameters.numbers("long_factor" if context > original else "short_factor", dim // 2)
    if min(divisors) <= 0:
        raise parameters.error("short_factor", "positive numbers")
    factor = _factor(parameters, sizes.context / original)
    default = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return _plain(parameters, dim) / np.array(divisors), parameters.number("attention_factor", default)


def _factor(parameters: Config, default: float | None = None) -> float:
    if default is None:
        return parameters.number("factor", least=1e-3)
    return parameters.number("factor", default, least=1e-3)


_KINDS = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,  # LongRoPE's first name
}
