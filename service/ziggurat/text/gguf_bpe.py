"""Byte-level BPE vocabularies (tokenizer.ggml.model "gpt2") as `tokenizers` models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.text.gguf import PREFIX, Vocabulary
from ziggurat.text.gguf_spm import add_tokens, surround
from ziggurat.text.pretokenizers import PRE_TOKENIZERS

if TYPE_CHECKING:
    import tokenizers


def build(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """Merges in the file's order within the words that the named pre-tokeniser cuts."""
    import tokenizers
    from tokenizers import Regex, decoders, models, pre_tokenizers

    name = vocabulary.metadata.get(PREFIX + "pre", "default")
    if name not in PRE_TOKENIZERS:
        raise Unsupported(f"{PREFIX}pre is '{name}', a pre-tokeniser that is not known here")
    if not vocabulary.merges:
        raise InvalidModel(f"{PREFIX}merges is missing or empty")
    pre = PRE_TOKENIZERS[name]
    ids = {text: i for i, text in enumerate(vocabulary.tokens)}
    backend = tokenizers.Tokenizer(models.BPE(ids, vocabulary.merges, ignore_merges=pre.whole_words))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre.patterns]
    prefix = vocabulary.flag("add_space_prefix", False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    backend.decoder = decoders.ByteLevel()
    add_tokens(backend, vocabulary)
    surround(backend, vocabulary, begin=pre.bos, end=False)
    return backend
