"""Gemma 3, text: five local layers to a global one, each kind with a RoPE of its own; norms on q and k instead of soft
caps (arXiv:2503.19786)."""

from __future__ import annotations

import math
from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import Decoder
from ziggurat.formats.architectures.gemma2 import GGUF, SIZES, block, shift
from ziggurat.formats.architectures.rope import Rope, read_rope, rope_parameters
from ziggurat.formats.architectures.windows import layer_windows

__all__ = ["GGUF", "SIZES", "build"]


def build(net: Decoder) -> Any:
    config, sizes = net.config, net.sizes
    if config.flag("use_bidirectional_attention"):
        raise config.error("use_bidirectional_attention", "false: decoders only")
    everywhere = read_rope(rope_parameters(config, "full_attention", theta=1e6), sizes, net.context)
    local = _local_rope(net)
    pattern = config.integer("sliding_window_pattern", 6)
    windows = layer_windows(config, sizes.layers, lambda layer: (layer + 1) % pattern != 0)
    softcap = config.number("attn_logit_softcapping", 0.0, least=0.0)
    x = net.scaled(net.embed(), math.sqrt(sizes.hidden))
    for layer, window in enumerate(windows):
        rope = everywhere if window is None else local
        x = block(net, x, layer, rope, window=window, softcap=softcap, head_norms=True)
    cap = config.number("final_logit_softcapping", 0.0, least=0.0)
    return net.finish(net.norm(x, "norm", shift=shift(net)), tied=True, softcap=cap)


def _local_rope(net: Decoder) -> Rope:
    """Of the sliding layers; old configurations have rope_local_base_freq, and never a scaling."""
    config = net.config
    if config.has("rope_parameters"):
        parameters = rope_parameters(config, "sliding_attention", theta=10000.0)
    else:
        theta = config.number("rope_local_base_freq", 10000.0, least=1.0)
        parameters = Config({"rope_type": "default", "rope_theta": theta}, config.where)
    return read_rope(parameters, net.sizes, net.context)
