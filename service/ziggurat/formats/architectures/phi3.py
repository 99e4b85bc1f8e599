"""Phi-3, 3.5 and 4-mini: fused projections, partial rotation, LongRoPE (arXiv:2404.14219)."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.decoder import GGUF_NAMES, Decoder
from ziggurat.formats.architectures.rope import Rope, read_rope, rope_parameters
from ziggurat.formats.architectures.sizes import read_sizes
from ziggurat.formats.architectures.windows import layer_windows

GGUF = {
    **GGUF_NAMES,
    "layers.{}.self_attn.qkv_proj": "blk.{}.attn_qkv",
    "layers.{}.mlp.gate_up_proj": "blk.{}.ffn_up",
}
SIZES = read_sizes


def build(net: Decoder) -> Any:
    config, s = net.config, net.sizes
    rope = _rope(net)
    windows = layer_windows(config, s.layers, lambda layer: True)
    activation = config.text("hidden_act", "silu")
    x = net.embed()
    for layer, window in enumerate(windows):
        name = f"layers.{layer}"
        normed = net.norm(x, f"{name}.input_layernorm")
        widths = [s.query_width, s.kv_width, s.kv_width]
        q, k, v = net.split_linear(normed, f"{name}.self_attn.qkv_proj", widths, s.hidden)
        mixed = net.attend(q, k, v, layer, rope, window=window)
        mixed = net.linear(mixed, f"{name}.self_attn.o_proj", s.hidden, s.query_width)
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.norm(x, f"{name}.post_attention_layernorm")
        gate, up = net.split_linear(normed, f"{name}.mlp.gate_up_proj", [s.ffn, s.ffn], s.hidden)
        hidden = net.op("Mul", [net.activation(gate, activation), up])
        x = net.add(x, net.linear(hidden, f"{name}.mlp.down_proj", s.hidden, s.ffn))
    return net.finish(net.norm(x, "norm"))


def _rope(net: Decoder) -> Rope:
    parameters = rope_parameters(net.config)
    if parameters.text("rope_type") in ("su", "yarn"):  # what early Phi-3 configurations called LongRoPE
        parameters = parameters.with_values(rope_type="longrope")
    return read_rope(parameters, net.sizes, net.context)
