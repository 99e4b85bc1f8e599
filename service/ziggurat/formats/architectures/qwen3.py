"""Qwen3 (dense): a head size of its own, norms on the heads of q and k, no biases (arXiv:2505.09388)."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.qwen2 import windows
from ziggurat.formats.architectures.rope import read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import Sizes, read_sizes

GGUF = GGUF_NAMES


def SIZES(config: Config) -> Sizes:  # noqa: N802 -- the same word in every architecture
    return read_sizes(config, head_dim=128)


def build(net: Decoder) -> Any:
    config = net.config
    rope = read_rope(rope_parameters(config), net.sizes, net.context)
    bias = config.flag("attention_bias")
    activation = config.text("hidden_act", "silu")
    x = net.embed()
    for layer, window in enumerate(windows(config, net.sizes)):
        name = f"layers.{layer}"
        mixed = net.attention(
            net.norm(x, f"{name}.input_layernorm"),
            f"{name}.self_attn",
            layer,
            rope,
            bias=bias,
            output_bias=bias,
            head_norms=True,
            window=window,
        )
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.norm(x, f"{name}.post_attention_layernorm")
        x = net.add(x, net.gated_mlp(normed, f"{name}.mlp", activation=activation))
    return net.finish(net.norm(x, "norm"))
