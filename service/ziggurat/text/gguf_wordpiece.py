"""WordPiece vocabularies (tokenizer.ggml.model "bert") as `tokenizers` models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ziggurat.errors import InvalidModel
from ziggurat.text.gguf import TokenType, Vocabulary
from ziggurat.text.gguf_spm import add_tokens

if TYPE_CHECKING:
    import tokenizers

_START, _GOES_ON = "▁", "##"
CAPITAL = re.compile("[A-Z]")
MAX_WORD = 100  # characters; BERT's own limit, longer words are unknown


def build(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """GGUF marks the start of a word (▁) where BERT marks its continuation (##); here it is turned back."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    special = (TokenType.CONTROL, TokenType.UNKNOWN)
    marks = {i for i, kind in enumerate(vocabulary.types) if kind in special}
    texts = [
        text if i in marks else text.removeprefix(_START) if text.startswith(_START) else _GOES_ON + text
        for i, text in enumerate(vocabulary.tokens)
    ]
    if len(set(texts)) != len(texts):
        raise InvalidModel("two tokens are the same once the marks of word starts are taken away")
    unknown = vocabulary.role("unk_token") or "[UNK]"
    if unknown not in texts:
        raise InvalidModel("there is no token for unknown words")
    model = models.WordPiece(
        {text: i for i, text in enumerate(texts)},
        unk_token=unknown,
        continuing_subword_prefix=_GOES_ON,
        max_input_chars_per_word=MAX_WORD,
    )
    backend = tokenizers.Tokenizer(model)
    # The file does not say whether letters keep their case; a vocabulary with capitals does.
    cased = any(CAPITAL.search(text) for i, text in enumerate(texts) if i not in marks)
    backend.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=not cased)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(_GOES_ON, cleanup=True)
    add_tokens(backend, vocabulary)
    _surround(backend, vocabulary, texts)
    return backend


def _surround(backend: tokenizers.Tokenizer, vocabulary: Vocabulary, texts: list[str]) -> None:
    from tokenizers import processors

    first = vocabulary.role("cls_token") or vocabulary.role("bos_token")
    last = vocabulary.role("sep_token") or vocabulary.role("eos_token")
    if first is None or last is None:
        return
    ids = [(text, texts.index(text)) for text in dict.fromkeys((first, last))]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0", pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1", special_tokens=ids
    )
