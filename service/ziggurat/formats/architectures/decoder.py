"""Decoders: what all of them have beside their layers, and the blocks that most of them share."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.net import INT64, Net
from ziggurat.formats.architectures.rope import Rope
from ziggurat.formats.architectures.sizes import Sizes
from ziggurat.formats.architectures.weights import Weights

# Our names (transformers', without the root) and GGUF's, where most architectures agree.
GGUF_NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "layers.{}.input_layernorm": "blk.{}.attn_norm",
    "layers.{}.self_attn.q_proj": "blk.{}.attn_q",
    "layers.{}.self_attn.k_proj": "blk.{}.attn_k",
    "layers.{}.self_attn.v_proj": "blk.{}.attn_v",
    "layers.{}.self_attn.o_proj": "blk.{}.attn_output",
    "layers.{}.self_attn.q_norm": "blk.{}.attn_q_norm",
    "layers.{}.self_attn.k_norm": "blk.{}.attn_k_norm",
    "layers.{}.post_attention_layernorm": "blk.{}.ffn_norm",
    "layers.{}.mlp.gate_proj": "blk.{}.ffn_gate",
    "layers.{}.mlp.up_proj": "blk.{}.ffn_up",
    "layers.{}.mlp.down_proj": "blk.{}.ffn_down",
}


class Decoder(Net):
    """The graph of a decoder over a paged cache.

    Inputs: tokens, positions, slots i64[tokens], starts i64[bounds], blocks i64[sequences, blocks], rows i64[rows],
    and the resource kv. Outputs: logits f32[rows, vocab] and kv. Only the tokens that `rows` names go beyond the last
    layer's attention.
    """

    def __init__(
        self, builder: Any, weights: Weights, config: Config, sizes: Sizes, *, context: int, from_gguf: bool
    ) -> None:
        super().__init__(builder, weights, config, context=context, from_gguf=from_gguf)
        self.sizes = sizes
        self.tokens = builder.input("tokens", INT64, ["tokens"])
        self.positions = builder.input("positions", INT64, ["tokens"])
        self._slots = builder.input("slots", INT64, ["tokens"])
        self._starts = builder.input("starts", INT64, ["bounds"])
        self._blocks = builder.input("blocks", INT64, ["sequences", "blocks"])
        self._rows = builder.input("rows", INT64, ["rows"])
        self._kv = builder.input_of_type("kv", ("resource",))
        self._angles: dict[int, tuple[int, int]] = {}
        self.windows: set[int] = set()  # those that some layer has

    def embed(self, name: str = "embed_tokens") -> int:
        return self.embedded(self.tokens, name, self.sizes.vocab, self.sizes.hidden)

    def norm(self, x: int, name: str, *, shift: float = 0.0) -> int:
        return self.rms_norm(x, name, self.sizes.hidden, self.sizes.eps, shift=shift)

    def sampled(self, x: int, layer: int) -> int:
        """In the last layer the wanted rows of x, in all others x."""
        return self.op("Gather", [x, self._rows], {"axis": 0}) if layer == self.sizes.layers - 1 else x

    def attention(
        self,
        x: int,
        name: str,
        layer: int,
        rope: Rope | None,
        *,
        bias: bool = False,
        output_bias: bool = False,
        head_norms: bool = False,
        shift: float = 0.0,
        window: int | None = None,
        scale: float | None = None,
        softcap: float = 0.0,
    ) -> int:
        """Self-attention with separate projections q_proj, k_proj, v_proj and o_proj under `name`.

        Args:
            rope: the rotation, None for none.
            head_norms: queries and keys have norms q_norm and k_norm, with `shift` added to their weights.
            window: how many positions back a token sees, itself included; None for all.
            scale: of the scores; default 1 / sqrt(head_dim).
            softcap: bends the scores; 0 for none.
        """
        s = self.sizes
        q = self.linear(x, f"{name}.q_proj", s.query_width, s.hidden, bias=bias)
        k = self.linear(x, f"{name}.k_proj", s.kv_width, s.hidden, bias=bias)
        v = self.linear(x, f"{name}.v_proj", s.kv_width, s.hidden, bias=bias)
        if head_norms:
            q = self.head_norm(q, f"{name}.q_norm", s.heads, s.head_dim, s.eps, shift=shift)
            k = self.head_norm(k, f"{name}.k_norm", s.kv_heads, s.head_dim, s.eps, shift=shift)
        mixed = self.attend(q, k, v, layer, rope, window=window, scale=scale, softcap=softcap)
        return self.linear(mixed, f"{name}.o_proj", s.hidden, s.query_width, bias=output_bias)

    def attend(
        self,
        q: int,
        k: int,
        v: int,
        layer: int,
        rope: Rope | None,
        *,
        window: int | None = None,
        scale: float | None = None,
        softcap: float = 0.0,
    ) -> int:
        """Rotates, writes keys and values to the cache, and mixes values: [tokens or rows, heads * head_dim]."""
        s = self.sizes
        if rope is not None:
            angles = self._angles_of(rope)
            q = self.rotated(q, s.heads, s.head_dim, rope, angles)
            k = self.rotated(k, s.kv_heads, s.head_dim, rope, angles)
        self._kv = self.op("KvWrite", [self._kv, k, v, self._slots], {"layer": layer}, "zig")
        if window is not None:
            self.windows.add(window)
        attributes: dict[str, Any] = {
            "layer": layer,
            "heads": s.heads,
            "kv_heads": s.kv_heads,
            "scale": float(s.head_dim**-0.5 if scale is None else scale),
            "softcap": float(softcap),
            "window": window or 0,
        }
        inputs = [q, self._kv, self.positions, self._starts, self._blocks]
        return self.sampled(self.op("PagedAttention", inputs, attributes, "zig"), layer)

    def gated_mlp(self, x: int, name: str, *, activation: str = "silu", bias: bool = False) -> int:
        """down(act(gate(x)) * up(x))."""
        s = self.sizes
        gate = self.linear(x, f"{name}.gate_proj", s.ffn, s.hidden, bias=bias)
        up = self.linear(x, f"{name}.up_proj", s.ffn, s.hidden, bias=bias)
        hidden = self.op("Mul", [self.activation(gate, activation), up])
        return self.linear(hidden, f"{name}.down_proj", s.hidden, s.ffn, bias=bias)

    def finish(self, x: int, *, embedding: str = "embed_tokens", tied: bool = False, softcap: float = 0.0) -> Any:
        """Logits of the normed rows x, and the finished graph. `tied`: what holds where the configuration is silent
        and the checkpoint has no lm_head."""
        name = embedding if self._is_tied(tied) else "lm_head"
        table = self.weights.matrix(f"{name}.weight", self.sizes.vocab, self.sizes.hidden, precise=True)
        logits = self.softcapped(self.op("Linear", [x, table], domain="zig"), softcap)
        self.builder.output(logits, "logits")
        self.builder.output(self._kv, "kv")
        return self.builder.finish()

    def _is_tied(self, default: bool) -> bool:
        if self.from_gguf:
            return not self.weights.has("lm_head.weight")
        return self.config.flag("tie_word_embeddings", default)

    def _angles_of(self, rope: Rope) -> tuple[int, int]:
        if id(rope) not in self._angles:
            self._angles[id(rope)] = self.angles(self.positions, rope)
        return self._angles[id(rope)]
