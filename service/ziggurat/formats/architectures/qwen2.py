"""Qwen2 and Qwen2.5: Llama with biases on q, k and v (arXiv:2407.10671)."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.rope import read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import Sizes, read_sizes
from ziggurat.formats.architectures.windows import layer_windows

GGUF = GGUF_NAMES
SIZES = read_sizes


def build(net: Decoder) -> Any:
    config = net.config
    rope = read_rope(rope_parameters(config), net.sizes, net.context)
    activation = config.text("hidden_act", "silu")
    x = net.embed()
    for layer, window in enumerate(windows(config, net.sizes)):
        name = f"layers.{layer}"
        normed = net.norm(x, f"{name}.input_layernorm")
        mixed = net.attention(normed, f"{name}.self_attn", layer, rope, bias=True, window=window)
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.norm(x, f"{name}.post_attention_layernorm")
        x = net.add(x, net.gated_mlp(normed, f"{name}.mlp", activation=activation))
    return net.finish(net.norm(x, "norm"))


def windows(config: Config, sizes: Sizes) -> list[int | None]:
    """Windows count only where use_sliding_window says so, from layer max_window_layers on."""
    if not config.flag("use_sliding_window"):
        return [None] * sizes.layers
    first = config.integer("max_window_layers", 28, least=0)
    return layer_windows(config, sizes.layers, lambda layer: layer >= first)
