"""The sizes that every decoder has, under the names that Hugging Face configurations give them."""

from __future__ import annotations

from dataclasses import dataclass

from ziggurat.errors import InvalidModel
from ziggurat.formats.architectures.config import Config

MAX_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Sizes:
    """`context` is the most positions that the configuration speaks of, `ffn` the inner width of the MLP."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    context: int
    eps: float

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim


def read_sizes(config: Config, *, head_dim: int | None = None) -> Sizes:
    """`head_dim`: what an architecture takes where the configuration does not say; default hidden / heads."""
    heads = config.integer("num_attention_heads", most=1 << 14)
    hidden = config.integer("hidden_size")
    sizes = Sizes(
        vocab=config.integer("vocab_size"),
        hidden=hidden,
        layers=config.integer("num_hidden_layers", most=MAX_LAYERS),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", heads, most=1 << 14),
        head_dim=config.integer("head_dim", head_dim or hidden // heads, most=1 << 14),
        ffn=config.integer("intermediate_size"),
        context=config.integer("max_position_embeddings", 2048),
        eps=config.number("rms_norm_eps", 1e-6, least=0.0, most=1.0),
    )
    if heads % sizes.kv_heads:
        raise InvalidModel(
            f"{config.where}: {heads} attention heads are no multiple of {sizes.kv_heads} key and value heads"
        )
    return sizes
