"""DistilBERT (arXiv:1910.01108): BERT without token types and pooler."""

from __future__ import annotations

from typing import Any

from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.encoder import Encoder, EncoderSizes, Pooling

ROOTS = ("", "distilbert.")
PROBE = "embeddings.word_embeddings.weight"
WORDS = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "out": "attention.out_lin",
    "norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "last_norm": "output_layer_norm",
}


def SIZES(config: Config) -> EncoderSizes:  # noqa: N802 -- the same word in every architecture
    return EncoderSizes(
        vocab=config.integer("vocab_size"),
        hidden=config.integer("dim"),
        layers=config.integer("n_layers", most=4096),
        heads=config.integer("n_heads"),
        ffn=config.integer("hidden_dim"),
        context=config.integer("max_position_embeddings", 512),
        first=0,
        types=0,
        eps=1e-12,
    )


def build(net: Encoder, pooling: Pooling | None, labels: int) -> Any:
    """With `pooling` an embedding, without it the scores of a classifier with so many labels."""
    x = net.embed("embeddings", "embeddings.LayerNorm")
    activation = net.config.text("activation", "gelu")
    for layer in range(net.sizes.layers):
        x = net.layer(x, f"transformer.layer.{layer}", WORDS, activation)
    if pooling is not None:
        return net.pooled(x, pooling)
    first = net.op("Relu", [net.square(net.first_token(x), "pre_classifier")])
    return net.scored(first, "classifier", labels)
