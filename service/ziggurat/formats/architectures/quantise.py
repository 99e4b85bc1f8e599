"""Plain weights to blocks of 8 or 4 bits, in the layouts of ggml's Q8_0 and Q4_0.

A block is 32 neighbours of a row and one float16 scale. Q8_0: scale = amax / 127, values rounded half away from zero.
Q4_0: scale = -extreme / 8, where the extreme is the element of largest magnitude with its sign, so that it maps to -8
exactly; values are stored with 8 added, the first half of a block in the low nibbles.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BLOCK = 32


def quantise_q8_0(rows: Array) -> Array:
    """float32 [n, k], k a multiple of 32, to uint8 [n, k / 32 * 34]."""
    blocks = rows.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    scaled = blocks * _inverse(scale)
    whole = np.trunc(scaled)  # adding a half before would round 0.49999997 up
    rounded = (whole + np.sign(scaled) * (np.abs(scaled - whole) >= np.float32(0.5))).astype(np.int8)
    joined = np.concatenate((scale.astype("<f2").view(np.uint8), rounded.view(np.uint8)), axis=1)
    return joined.reshape(len(rows), -1)


def quantise_q4_0(rows: Array) -> Array:
    """float32 [n, k], k a multiple of 32, to uint8 [n, k / 32 * 18]."""
    blocks = rows.reshape(-1, BLOCK)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scale = extreme / np.float32(-8)
    shifted = np.trunc(blocks * _inverse(scale) + np.float32(8.5)).clip(0, 15).astype(np.uint8)
    packed = shifted[:, : BLOCK // 2] | shifted[:, BLOCK // 2 :] << 4
    return np.concatenate((scale.astype("<f2").view(np.uint8), packed), axis=1).reshape(len(rows), -1)


def _inverse(scale: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.where(scale == 0, np.float32(0), np.float32(1) / scale)
