"""Gemma 2: soft caps, alternating windows, norms before and after each block (arXiv:2408.00118)."""

from __future__ import annotations

import math
from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.rope import Rope, read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import Sizes, read_sizes
from ziggurat.formats.architectures.windows import layer_windows

GGUF = {
    **GGUF_NAMES,
    "layers.{}.post_attention_layernorm": "blk.{}.post_attention_norm",
    "layers.{}.pre_feedforward_layernorm": "blk.{}.ffn_norm",
    "layers.{}.post_feedforward_layernorm": "blk.{}.post_ffw_norm",
}


def SIZES(config: Config) -> Sizes:  # noqa: N802 -- the same word in every architecture
    return read_sizes(config, head_dim=256)


def build(net: Decoder) -> Any:
    config, sizes = net.config, net.sizes
    rope = read_rope(rope_parameters(config), sizes, net.context)
    windows = layer_windows(config, sizes.layers, lambda layer: layer % 2 == 0)
    softcap = config.number("attn_logit_softcapping", 0.0, least=0.0)
    x = net.scaled(net.embed(), math.sqrt(sizes.hidden))
    for layer, window in enumerate(windows):
        x = block(net, x, layer, rope, window=window, softcap=softcap)
    cap = config.number("final_logit_softcapping", 0.0, least=0.0)
    return net.finish(net.norm(x, "norm", shift=shift(net)), tied=True, softcap=cap)


def shift(net: Decoder) -> float:
    """Checkpoints store norm weights less 1; GGUF's converter adds it."""
    return 0.0 if net.from_gguf else 1.0


def block(
    net: Decoder,
    x: int,
    layer: int,
    rope: Rope,
    *,
    window: int | None,
    softcap: float,
    head_norms: bool = False,
) -> int:
    """One layer of Gemma 2 or 3."""
    config, name, one = net.config, f"layers.{layer}", shift(net)
    mixed = net.attention(
        net.norm(x, f"{name}.input_layernorm", shift=one),
        f"{name}.self_attn",
        layer,
        rope,
        bias=config.flag("attention_bias"),
        output_bias=config.flag("attention_bias"),
        head_norms=head_norms,
        shift=one,
        window=window,
        scale=config.number("query_pre_attn_scalar", 256.0, least=1e-6) ** -0.5,
        softcap=softcap,
    )
    x = net.add(net.sampled(x, layer), net.norm(mixed, f"{name}.post_attention_layernorm", shift=one))
    normed = net.norm(x, f"{name}.pre_feedforward_layernorm", shift=one)
    activation = config.text("hidden_activation", "gelu_pytorch_tanh")
    hidden = net.gated_mlp(normed, f"{name}.mlp", activation=activation)
    return net.add(x, net.norm(hidden, f"{name}.post_feedforward_layernorm", shift=one))
