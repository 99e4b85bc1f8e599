"""Plain values that every layer may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: The tensor's name, as `run` takes and returns it.
        dtype: As NumPy or ml_dtypes spells it ("float32", "bfloat16", "int4"), or "string".
        shape: None where a dimension is dynamic; None as a whole where even the rank is unknown.
        dim_names: For each dimension the model's own name ("batch"), None where it has none.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    dim_names: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageModelSpec:
    """What a generator and a server need to know of a language model beside its graph.

    Attributes:
        architecture: The model type ("llama", "qwen3").
        vocab: Token ids are 0 to vocab - 1; also the width of a row of logits.
        context: Most tokens of one sequence, prompt and generated together.
        layers, heads, kv_heads, head_dim: The sizes of attention; a token has kv_heads * head_dim key numbers a layer.
        hidden: Width of the hidden state.
        parameters: How many numbers the weights are, whatever their encoding; tied ones count once.
        weights: The encoding that most of them have: "f32", "f16", "bf16", "int8", "int4", or GGUF's name, as "Q4_K".
        bos_token_id: The token that starts a sequence, if the model has one.
        eos_token_ids: The tokens that end one.
        sliding_window: The window of the layers that look back only so far, None where all see everything.
    """

    architecture: str
    vocab: int
    context: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    parameters: int
    weights: str
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    sliding_window: int | None = None


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What is to be known of an embedding model or cross-encoder beside its graph.

    Attributes:
        architecture: The model type ("bert").
        vocab: Token ids are 0 to vocab - 1.
        context: Most tokens of one text (or pair), special tokens included; longer ones are cut.
        dimensions: Numbers of an embedding.
        labels: Scores of a cross-encoder; 0 for an embedding model.
        pooling: "mean", "cls", "last" or "max"; empty for a cross-encoder.
        normalize: Embeddings have length 1.
        parameters, weights: As for LanguageModelSpec.
    """

    architecture: str
    vocab: int
    context: int
    dimensions: int
    labels: int
    pooling: str
    normalize: bool
    parameters: int
    weights: str
