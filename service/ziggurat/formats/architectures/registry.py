"""Which module builds which model_type, and which GGUF architecture that is."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from ziggurat.errors import Unsupported
from ziggurat.formats.architectures.config import Config
from ziggurat.formats.architectures.decoder import Decoder
from ziggurat.formats.architectures.sizes import Sizes

# model_type -> module. GGUF's general.architecture uses the same words; Mistral calls itself llama there.
DECODERS: Mapping[str, str] = {
    "llama": "llama",
    "mistral": "mistral",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "smollm3": "smollm3",
    "gpt2": "gpt2",
}
ENCODERS: Mapping[str, str] = {
    "bert": "bert",
    "roberta": "bert",
    "xlm-roberta": "bert",
    "distilbert": "distilbert",
}
# What stands before layer names: saved from the causal model, from the bare one, or from a multimodal one.
ROOTS = ("model.", "", "model.language_model.", "language_model.model.")
PROBE = "embed_tokens.weight"


class Architecture(Protocol):
    """A module of this package. Also, where they differ from the above: ROOTS and PROBE."""

    GGUF: Mapping[str, str]

    def SIZES(self, config: Config) -> Sizes: ...  # noqa: N802
    def build(self, net: Decoder) -> Any: ...


def find(model_type: str, where: str) -> Any:
    """The module of a decoder.

    Raises:
        Unsupported: there is none; the message lists those that are.
    """
    if model_type not in DECODERS:
        if model_type in ENCODERS:
            raise Unsupported(f"{where}: {model_type!r} is an encoder, which generates no text; load_encoder reads it")
        known = ", ".join(sorted(DECODERS))
        raise Unsupported(f"{where}: the architecture {model_type!r} is not supported; supported are {known}")
    return importlib.import_module(f"ziggurat.formats.architectures.{DECODERS[model_type]}")
