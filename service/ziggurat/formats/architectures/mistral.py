"""Mistral: Llama with a sliding window in every layer (arXiv:2310.06825). In GGUF files it calls itself llama."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.rope import read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import read_sizes
from ziggurat.formats.architectures.windows import layer_windows

GGUF = GGUF_NAMES
SIZES = read_sizes


def build(net: Decoder) -> Any:
    config = net.config
    rope = read_rope(rope_parameters(config), net.sizes, net.context, interleaved=net.from_gguf)
    windows = layer_windows(config, net.sizes.layers, lambda layer: True)
    activation = config.text("hidden_act", "silu")
    x = net.embed()
    for layer, window in enumerate(windows):
        name = f"layers.{layer}"
        normed = net.norm(x, f"{name}.input_layernorm")
        mixed = net.attention(normed, f"{name}.self_attn", layer, rope, window=window)
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.norm(x, f"{name}.post_attention_layernorm")
        x = net.add(x, net.gated_mlp(normed, f"{name}.mlp", activation=activation))
    return net.finish(net.norm(x, "norm"))
