"""SmolLM3: Llama where every fourth layer has no positions (NoPE, arXiv:2501.18795)."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.rope import read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import read_sizes
from ziggurat.formats.architectures.windows import layer_windows

GGUF = GGUF_NAMES
SIZES = read_sizes


def build(net: Decoder) -> Any:
    config, layers = net.config, net.sizes.layers
    rope = read_rope(rope_parameters(config, theta=2e6), net.sizes, net.context, interleaved=net.from_gguf)
    rotated = _rotated(config, layers)
    windows: list[int | None] = [None] * layers
    if config.flag("use_sliding_window"):
        windows = layer_windows(config, layers, lambda layer: not rotated[layer])
    bias, mlp_bias = config.flag("attention_bias"), config.flag("mlp_bias")
    activation = config.text("hidden_act", "silu")
    x = net.embed()
    for layer in range(layers):
        name = f"layers.{layer}"
        mixed = net.attention(
            net.norm(x, f"{name}.input_layernorm"),
            f"{name}.self_attn",
            layer,
            rope if rotated[layer] else None,
            bias=bias,
            output_bias=bias,
            window=windows[layer],
        )
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.norm(x, f"{name}.post_attention_layernorm")
        x = net.add(x, net.gated_mlp(normed, f"{name}.mlp", activation=activation, bias=mlp_bias))
    return net.finish(net.norm(x, "norm"), tied=True)


def _rotated(config: Config, layers: int) -> list[bool]:
    """no_rope_layers has a 1 where there are positions, in spite of its name."""
    if config.has("no_rope_layers"):
        return [bool(one) for one in config.list("no_rope_layers", layers)[:layers]]
    interval = config.integer("no_rope_layer_interval", 4)
    return [(layer + 1) % interval != 0 for layer in range(layers)]
