"""GPT-2: learned positions, LayerNorm, one fused projection for q, k and v (Radford et al. 2019)."""

from __future__ import annotations

from typing import Any

from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import Decoder
from ziggurat.formats.architectures.sizes import Sizes, read_sizes

GGUF = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "lm_head": "output",
    "h.{}.ln_1": "blk.{}.attn_norm",
    "h.{}.attn.c_attn": "blk.{}.attn_qkv",
    "h.{}.attn.c_proj": "blk.{}.attn_output",
    "h.{}.ln_2": "blk.{}.ffn_norm",
    "h.{}.mlp.c_fc": "blk.{}.ffn_up",
    "h.{}.mlp.c_proj": "blk.{}.ffn_down",
}
ROOTS = ("transformer.", "")
PROBE = "wte.weight"


def SIZES(config: Config) -> Sizes:  # noqa: N802 -- the same word in every architecture
    """GPT-2 has names of its own for the usual sizes."""
    hidden = config.integer("n_embd", config.integer("hidden_size", 768))
    return read_sizes(
        config.with_values(
            hidden_size=hidden,
            num_attention_heads=config.integer("n_head", config.integer("num_attention_heads", 12)),
            num_key_value_heads=None,
            head_dim=None,
            num_hidden_layers=config.integer("n_layer", config.integer("num_hidden_layers", 12)),
            intermediate_size=config.integer("n_inner", config.integer("intermediate_size", 4 * hidden)),
            max_position_embeddings=config.integer("n_positions", config.integer("max_position_embeddings", 1024)),
            rms_norm_eps=config.number("layer_norm_epsilon", 1e-5, least=0.0),
        )
    )


def build(net: Decoder) -> Any:
    config, s = net.config, net.sizes
    for flag in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
        if config.flag(flag):
            raise Unsupported(f"{config.where}: {flag} is not supported")
    scale = None if config.flag("scale_attn_weights", True) else 1.0
    # Checkpoints store [in, out]; GGUF's converter transposes.
    flipped = not net.from_gguf
    activation = config.text("activation_function", "gelu_new")
    x = net.add(net.embed("wte"), net.embedded(net.positions, "wpe", s.context, s.hidden))
    for layer in range(s.layers):
        name = f"h.{layer}"
        normed = net.layer_norm(x, f"{name}.ln_1", s.hidden, s.eps)
        fused = net.linear(normed, f"{name}.attn.c_attn", 3 * s.hidden, s.hidden, bias=True, transposed=flipped)
        q, k, v = _thirds(net, fused, s.hidden)
        mixed = net.attend(q, k, v, layer, None, scale=scale)
        mixed = net.linear(mixed, f"{name}.attn.c_proj", s.hidden, s.hidden, bias=True, transposed=flipped)
        x = net.add(net.sampled(x, layer), mixed)
        normed = net.layer_norm(x, f"{name}.ln_2", s.hidden, s.eps)
        hidden = net.linear(normed, f"{name}.mlp.c_fc", s.ffn, s.hidden, bias=True, transposed=flipped)
        hidden = net.activation(hidden, activation)
        x = net.add(x, net.linear(hidden, f"{name}.mlp.c_proj", s.hidden, s.ffn, bias=True, transposed=flipped))
    return net.finish(net.layer_norm(x, "ln_f", s.hidden, s.eps), embedding="wte", tied=True)


def _thirds(net: Decoder, fused: int, width: int) -> list[int]:
    cuts = [net.ints([width * part]) for part in range(4)]
    return [net.op("Slice", [fused, cuts[part], cuts[part + 1], net.ints([1])]) for part in range(3)]
