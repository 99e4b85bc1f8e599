"""BERT (arXiv:1810.04805), RoBERTa (arXiv:1907.11692) and XLM-RoBERTa."""

from __future__ import annotations

from typing import Any

from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.encoder import Encoder, EncoderSizes, Pooling

ROOTS = ("", "bert.", "roberta.")
PROBE = "embeddings.word_embeddings.weight"
WORDS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "out": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "last_norm": "output.LayerNorm",
}


def SIZES(config: Config) -> EncoderSizes:  # noqa: N802 -- the same word in every architecture
    if config.text("position_embedding_type", "absolute") != "absolute":
        raise Unsupported(f"{config.where}: only absolute positions are supported")
    if config.flag("is_decoder") or config.flag("add_cross_attention"):
        raise Unsupported(f"{config.where}: only encoders are supported of this architecture")
    positions = config.integer("max_position_embeddings", 512)
    # RoBERTa counts positions from behind the padding token's.
    first = 0 if config.text("model_type") == "bert" else config.integer("pad_token_id", 1, least=0) + 1
    return EncoderSizes(
        vocab=config.integer("vocab_size"),
        hidden=config.integer("hidden_size"),
        layers=config.integer("num_hidden_layers", most=4096),
        heads=config.integer("num_attention_heads"),
        ffn=config.integer("intermediate_size"),
        context=positions - first,
        first=first,
        types=config.integer("type_vocab_size", 2, least=0),
        eps=config.number("layer_norm_eps", 1e-12, least=0.0),
    )


def build(net: Encoder, pooling: Pooling | None, labels: int) -> Any:
    """With `pooling` an embedding, without it the scores of a classifier with so many labels."""
    x = net.embed("embeddings", "embeddings.LayerNorm")
    activation = net.config.text("hidden_act", "gelu")
    for layer in range(net.sizes.layers):
        x = net.layer(x, f"encoder.layer.{layer}", WORDS, activation)
    if pooling is not None:
        return net.pooled(x, pooling)
    first = net.first_token(x)
    if net.config.text("model_type") == "bert":
        return net.scored(net.op("Tanh", [net.square(first, "pooler.dense")]), "classifier", labels)
    return net.scored(net.op("Tanh", [net.square(first, "classifier.dense")]), "classifier.out_proj", labels)
