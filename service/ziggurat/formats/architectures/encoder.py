"""Encoders: what all of them have around their layers, pooling to one embedding, and scores of cross-encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.net import INT64, Net
from ziggurat.formats.architectures.weights import Weights

POOLINGS = ("mean", "cls", "last", "max")


@dataclass(frozen=True, slots=True)
class EncoderSizes:
    """`context` is the most tokens of one text, special tokens included; `first` the position of its first token."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    ffn: int
    context: int
    first: int
    types: int
    eps: float


@dataclass(frozen=True, slots=True)
class Pooling:
    """How an embedding comes from the hidden states of a text's tokens."""

    kind: str = "mean"
    normalize: bool = False


class Encoder(Net):
    """The graph of an encoder for one text.

    Inputs: tokens, positions, types i64[tokens]. Output: embedding f32[hidden], or scores f32[labels].
    """

    def __init__(self, builder: Any, weights: Weights, config: Config, sizes: EncoderSizes) -> None:
        super().__init__(builder, weights, config, context=sizes.context, from_gguf=False)
        self.sizes = sizes
        self.tokens = builder.input("tokens", INT64, ["tokens"])
        self.positions = builder.input("positions", INT64, ["tokens"])
        self.types = builder.input("types", INT64, ["tokens"])

    def embed(self, name: str, norm: str) -> int:
        """Tokens, positions and types added up and normed."""
        s = self.sizes
        x = self.embedded(self.tokens, f"{name}.word_embeddings", s.vocab, s.hidden)
        x = self.add(x, self.embedded(self.positions, f"{name}.position_embeddings", s.context + s.first, s.hidden))
        if s.types:
            x = self.add(x, self.embedded(self.types, f"{name}.token_type_embeddings", s.types, s.hidden))
        return self.layer_norm(x, norm, s.hidden, s.eps)

    def layer(self, x: int, name: str, words: Mapping[str, str], activation: str) -> int:
        """Attention and MLP, each added to what goes in and normed after. `words` are an architecture's names."""
        s = self.sizes
        q, k, v = (
            self.op("Unsqueeze", [self.square(x, f"{name}.{words[one]}"), self.ints([0])]) for one in ("q", "k", "v")
        )
        heads = {"q_num_heads": s.heads, "kv_num_heads": s.heads}
        mixed = self.op("Squeeze", [self.op("Attention", [q, k, v], heads), self.ints([0])])
        x = self.add(x, self.square(mixed, f"{name}.{words['out']}"))
        x = self.layer_norm(x, f"{name}.{words['norm']}", s.hidden, s.eps)
        hidden = self.linear(x, f"{name}.{words['up']}", s.ffn, s.hidden, bias=True)
        hidden = self.activation(hidden, activation)
        x = self.add(x, self.linear(hidden, f"{name}.{words['down']}", s.hidden, s.ffn, bias=True))
        return self.layer_norm(x, f"{name}.{words['last_norm']}", s.hidden, s.eps)

    def square(self, x: int, name: str) -> int:
        """A projection of the hidden width onto itself, with bias."""
        return self.linear(x, name, self.sizes.hidden, self.sizes.hidden, bias=True)

    def first_token(self, x: int) -> int:
        """[1, hidden]: the state of the token that stands for the whole text."""
        return self.op("Gather", [x, self.ints([0])], {"axis": 0})

    def pooled(self, x: int, pooling: Pooling) -> Any:
        """One embedding of hidden states, and the finished graph."""
        if pooling.kind in ("mean", "max"):
            kind = "ReduceMean" if pooling.kind == "mean" else "ReduceMax"
            y = self.op(kind, [x, self.ints([0])], {"keepdims": 0})
        elif pooling.kind in ("cls", "last"):
            y = self.op("Gather", [x, self.ints([0 if pooling.kind == "cls" else -1])], {"axis": 0})
            y = self.op("Squeeze", [y, self.ints([0])])
        else:
            raise Unsupported(f"pooling {pooling.kind!r}; supported are {', '.join(POOLINGS)}")
        if pooling.normalize:
            length = self.op("ReduceL2", [y, self.ints([0])], {"keepdims": 1})
            y = self.op("Div", [y, self.op("Max", [length, self.floats([1e-12])])])
        self.builder.output(y, "embedding")
        return self.builder.finish()

    def scored(self, x: int, name: str, labels: int) -> Any:
        """Scores of the [1, hidden] state x, and the finished graph."""
        scores = self.linear(x, name, labels, self.sizes.hidden, bias=True)
        self.builder.output(self.op("Squeeze", [scores, self.ints([0])]), "scores")
        return self.builder.finish()
