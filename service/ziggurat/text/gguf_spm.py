"""SentencePiece vocabularies (tokenizer.ggml.model "llama" and "t5") as `tokenizers` models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ziggurat.errors import InvalidModel
from ziggurat.text.gguf import PREFIX, TokenType, Vocabulary

if TYPE_CHECKING:
    import tokenizers
    from tokenizers import normalizers

_SPACE = "▁"


def build_bpe(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """SentencePiece BPE: merges by score, unknown characters as bytes (sentencepiece, src/bpe_model.cc)."""
    import tokenizers
    from tokenizers import decoders, models, normalizers

    if not vocabulary.scores:
        raise InvalidModel(f"{PREFIX}scores is missing")
    byte_tokens = vocabulary.of_type(TokenType.BYTE)
    model = models.BPE(
        {text: i for i, text in enumerate(vocabulary.tokens)},
        list(merges_by_score(vocabulary)),
        unk_token=_unknown(vocabulary),
        fuse_unk=True,
        byte_fallback=bool(byte_tokens),
    )
    backend = tokenizers.Tokenizer(model)
    prefix = vocabulary.flag("add_space_prefix", True)
    steps: list[normalizers.Normalizer] = [normalizers.Prepend(_SPACE)] if prefix else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    add_tokens(backend, vocabulary)
    surround(backend, vocabulary, begin=True, end=False)
    return backend


def build_unigram(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """SentencePiece unigram (sentencepiece, src/unigram_model.cc), with the normalisation table of the file."""
    import tokenizers
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

    unknown = vocabulary.of_type(TokenType.UNKNOWN)
    if not vocabulary.scores or not unknown:
        raise InvalidModel(f"{PREFIX}scores or a token of unknown type is missing")
    pieces = list(zip(vocabulary.tokens, vocabulary.scores, strict=True))
    byte_fallback = bool(vocabulary.of_type(TokenType.BYTE))
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unknown[0], byte_fallback))
    steps: list[normalizers.Normalizer] = []
    table = vocabulary.metadata.get(PREFIX + "precompiled_charsmap")
    if table is not None and len(table):
        steps.append(normalizers.Precompiled(bytes(int(value) & 0xFF for value in table)))
    if vocabulary.flag("remove_extra_whitespaces", False):
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if vocabulary.flag("add_space_prefix", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, scheme)
    fallback = [decoders.ByteFallback()] if byte_fallback else []
    backend.decoder = decoders.Sequence([*fallback, decoders.Metaspace(_SPACE, scheme)])
    add_tokens(backend, vocabulary)
    surround(backend, vocabulary, begin=False, end=True)
    return backend


def merges_by_score(vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """The pairs that SentencePiece would merge, most urgent first.

    It merges the adjacent pair whose concatenation has the highest score, leftmost first; `tokenizers` merges by rank,
    leftmost first among equal pairs. Pairs that make different pieces are ordered by those pieces' scores. Pairs that
    make the same piece P matter only where two of its occurrences overlap: symbols l, r, s with l + r = r + s = P,
    where the left one must win. There P has period |l|, so of a split and its mirror image the one whose left part is
    a period of P goes first. Only powers of a shorter string (three or more repeats) have both as periods; then the
    longer left part goes first, as merging from the left makes it.
    """
    pieces = [i for i, kind in enumerate(vocabulary.types) if kind is TokenType.NORMAL]
    normal = {vocabulary.tokens[i] for i in pieces}
    for i in sorted(pieces, key=lambda i: (-vocabulary.scores[i], i)):
        piece = vocabulary.tokens[i]
        cuts = [at for at in range(1, len(piece)) if piece[:at] in normal and piece[at:] in normal]
        if len(cuts) > 1:
            cuts.sort(key=lambda at, piece=piece: (not piece.startswith(piece[at:]), -at))  # type: ignore[misc]
        for at in cuts:
            yield piece[:at], piece[at:]


def add_tokens(backend: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Control tokens are special; user-defined ones are text that is always one token."""
    from tokenizers import AddedToken

    def chosen(special: bool, *types: TokenType) -> list[AddedToken]:
        ids = vocabulary.of_type(*types)
        return [AddedToken(vocabulary.tokens[i], special=special, normalized=False) for i in ids]

    backend.add_special_tokens(chosen(True, TokenType.CONTROL, TokenType.UNKNOWN))
    backend.add_tokens(chosen(False, TokenType.USER_DEFINED))


def surround(backend: tokenizers.Tokenizer, vocabulary: Vocabulary, begin: bool, end: bool) -> None:
    """Beginning- and end-of-sequence tokens around a text; `begin` and `end` where the file does not say."""
    from tokenizers import processors

    before = vocabulary.role("bos_token") if vocabulary.flag("add_bos_token", begin) else None
    after = vocabulary.role("eos_token") if vocabulary.flag("add_eos_token", end) else None
    around = [text for text in (before, after) if text is not None]
    if around:
        single = " ".join([*([before] if before else []), "$A", *([after] if after else [])])
        ids = [(text, vocabulary.tokens.index(text)) for text in dict.fromkeys(around)]
        backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)


def _unknown(vocabulary: Vocabulary) -> str | None:
    found = vocabulary.of_type(TokenType.UNKNOWN)
    return vocabulary.tokens[found[0]] if found else vocabulary.role("unk_token")
