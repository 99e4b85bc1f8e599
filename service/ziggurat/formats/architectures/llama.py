"""Llama 1 to 3 and what shares its shape (arXiv:2302.13971, arXiv:2407.21783)."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.rope import read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import read_sizes

GGUF = GGUF_NAMES
SIZES = read_sizes


def build(net: Decoder) -> Any:
    config = net.config
    # GGUF's converter permutes the rows of q and k so that rotated pairs are neighbours.
    rope = read_rope(rope_parameters(config), net.sizes, net.context, interleaved=net.from_gguf)
    bias, mlp_bias = config.flag("attention_bias"), config.flag("mlp_bias")
    activation = config.text("hidden_act", "silu")
    x = net.embed()
    for layer in range(net.sizes.layers):
        name = f"layers.{layer}"
        mixed = net.attention(
            net.norm(x, f"{name}.input_layernorm"),
            f"{name}.self_attn",
            layer,
            rope,
            bias=bias,
            output_bias=config.flag("attention_output_bias", bias),
        )
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.norm(x, f"{name}.post_attention_layernorm")
        x = net.add(x, net.gated_mlp(normed, f"{name}.mlp", activation=activation, bias=mlp_bias))
    return net.finish(net.norm(x, "norm"))
