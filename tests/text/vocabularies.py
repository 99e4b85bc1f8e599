"""Vocabularies learnt on the spot, in the shape that GGUF files hold them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.text.samples import corpus
from ziggurat.text.gguf import PREFIX, TokenType
from ziggurat.text.pieces import byte_alphabet
from ziggurat.text.pretokenizers import PRE_TOKENIZERS

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = (int(kind) for kind in TokenType)


def keys(**values: Any) -> dict[str, Any]:
    return {PREFIX + name: value for name, value in values.items()}


@cache
def _learnt(pre: str, size: int) -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level BPE vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in PRE_TOKENIZERS[pre].patterns]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(byte_alphabet()), show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    model = tokenizer.model.__getstate__()
    return [text for text, _ in tokens], [" ".join(pair) for pair in json.loads(model)["merges"]]


def byte_level(pre: str = "qwen2", size: int = 1200) -> dict[str, Any]:
    """A gpt2 vocabulary with control and user-defined tokens after the learnt ones."""
    tokens, merges = _learnt(pre, size)
    extra = [("<|endoftext|>", CONTROL), ("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<tool_call>", USER)]
    return keys(
        model="gpt2",
        pre=pre,
        tokens=tokens + [text for text, _ in extra],
        token_type=[NORMAL] * len(tokens) + [kind for _, kind in extra],
        merges=merges,
        bos_token_id=len(tokens),
        eos_token_id=len(tokens) + 2,
        add_bos_token=False,
    )


@cache
def _learnt_pieces(size: int) -> list[str]:
    """Pieces of a SentencePiece-like BPE vocabulary, most frequent merges first, characters last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁*[^▁]*"), "isolated")
    tokenizer.train_from_iterator(
        [line for text in corpus() for line in text.split("\n")],
        trainers.BpeTrainer(vocab_size=size, limit_alphabet=120, show_progress=False),
    )
    tokens = [text for text, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    return [t for t in tokens if len(t) > 1] + [t for t in tokens if len(t) == 1]


def sentence_piece(size: int = 1500, **flags: Any) -> dict[str, Any]:
    """A llama vocabulary: unknown, begin, end, 256 bytes, pieces scored by rank, one user-defined token."""
    pieces = _learnt_pieces(size)
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], *pieces, "<|user▁mark|>"]
    return keys(
        model="llama",
        tokens=tokens,
        scores=[0.0] * 259 + [float(-i) for i in range(len(pieces))] + [0.0],
        token_type=[UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(pieces), USER],
        bos_token_id=1,
        eos_token_id=2,
        unknown_token_id=0,
        **flags,
    )


@cache
def _learnt_words(size: int) -> list[str]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    return [text for text, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]


def word_piece(size: int = 900) -> dict[str, Any]:
    """A bert vocabulary with llama.cpp's marks: ▁ before the start of a word, nothing before its continuation."""
    words = _learnt_words(size)
    tokens = words[:5] + [t[2:] if t.startswith("##") else "▁" + t for t in words[5:]]
    return keys(
        model="bert",
        tokens=tokens,
        token_type=[CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL, *[NORMAL] * (len(tokens) - 5)],
        unknown_token_id=1,
        cls_token_id=2,
        seperator_token_id=3,
        padding_token_id=0,
        mask_token_id=4,
    )


@cache
def _learnt_unigrams(size: int) -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return [(text, score) for text, score in json.loads(tokenizer.model.__getstate__())["vocab"]]


def unigram(size: int = 800) -> dict[str, Any]:
    """A t5 vocabulary: padding, end, unknown, then pieces with their log probabilities."""
    pieces = _learnt_unigrams(size)
    return keys(
        model="t5",
        tokens=[text for text, _ in pieces],
        scores=[score for _, score in pieces],
        token_type=[CONTROL, CONTROL, UNKNOWN, *[NORMAL] * (len(pieces) - 3)],
        padding_token_id=0,
        eos_token_id=1,
        unknown_token_id=2,
    )
