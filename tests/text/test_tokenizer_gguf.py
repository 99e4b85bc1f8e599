"""Vocabularies of GGUF files against the algorithms that made them, written out plainly here."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.text import vocabularies
from tests.text.samples import STRINGS, WORDS
from tests.text.vocabularies import keys
from ziggurat.errors import InvalidArgument, InvalidModel, Unsupported
from ziggurat.text.gguf import PREFIX
from ziggurat.text.pieces import byte_alphabet
from ziggurat.text.pretokenizers import PRE_TOKENIZERS
from ziggurat.text.tokenizer import Tokenizer

MAKERS = [vocabularies.byte_level, vocabularies.sentence_piece, vocabularies.word_piece, vocabularies.unigram]


def sentence_piece_bpe(metadata: dict[str, Any], text: str, prefix: bool) -> list[int]:
    """SentencePiece's BPE: of all adjacent pairs that make a piece, merge the best scored, leftmost first."""
    tokens, scores = metadata[PREFIX + "tokens"], metadata[PREFIX + "scores"]
    ids = {t: i for i, t in enumerate(tokens) if metadata[PREFIX + "token_type"][i] == vocabularies.NORMAL}
    symbols = list("▁" * (prefix and text != "") + text.replace(" ", "▁"))
    while True:
        found = [(-scores[ids[a + b]], at) for at, (a, b) in enumerate(pairwise(symbols)) if a + b in ids]
        if not found:
            break
        _, at = min(found)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    out = []
    for symbol in symbols:
        out += [ids[symbol]] if symbol in ids else [3 + byte for byte in symbol.encode()]
    return out


def ranked_bpe(metadata: dict[str, Any], words: list[str]) -> list[int]:
    """GPT-2's BPE within each word: merge the pair that was learnt first, everywhere, until none is left."""
    ids = {t: i for i, t in enumerate(metadata[PREFIX + "tokens"])}
    ranks = {tuple(m.split(" ")): i for i, m in enumerate(metadata[PREFIX + "merges"])}
    stand_in = {byte: char for char, byte in byte_alphabet().items()}
    out = []
    for word in words:
        symbols = [stand_in[byte] for byte in word.encode()]
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: ranks.get(pair, 1 << 30))
            if best not in ranks:
                break
            merged, at = [], 0
            while at < len(symbols):
                together = tuple(symbols[at : at + 2]) == best
                merged.append("".join(symbols[at : at + 1 + together]))
                at += 1 + together
            symbols = merged
        out += [ids[symbol] for symbol in symbols]
    return out


def random_strings(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    alphabets = ["ab -", "a.", "the quick\n", *WORDS]
    return ["".join(rng.choices(rng.choice(alphabets), k=rng.randrange(1, 30))) for _ in range(count)]


@pytest.mark.parametrize("prefix", [True, False])
def test_sentence_piece_merges_as_sentencepiece_does(seed: int, prefix: bool) -> None:
    metadata = vocabularies.sentence_piece(add_space_prefix=prefix)
    tokenizer = Tokenizer.from_gguf(metadata)
    for text in STRINGS + random_strings(seed, 400):
        expected = sentence_piece_bpe(metadata, text, prefix)
        assert tokenizer.encode(text, add_special=False) == expected, text


def test_byte_level_merges_as_gpt2_does(seed: int) -> None:
    pytest.importorskip("regex", reason="regex is not installed")
    metadata = vocabularies.byte_level()
    tokenizer = Tokenizer.from_gguf(metadata)
    for text in STRINGS + random_strings(seed, 100):
        if "<tool_call>" in text:
            continue  # a user-defined token, which is cut out first
        expected = ranked_bpe(metadata, split("qwen2", text))
        assert tokenizer.encode(text, add_special=False) == expected, text


def split(name: str, text: str) -> list[str]:
    """Cuts by a pre-tokeniser's patterns with another regular expression engine."""
    regex = pytest.importorskip("regex", reason="regex is not installed")
    pieces = [text] if text else []
    for pattern in PRE_TOKENIZERS[name].patterns:
        pattern = pattern.replace(r"\x{1D400}-\x{1D7CB}", "\U0001d400-\U0001d7cb")
        cut = []
        for piece in pieces:
            at = 0
            for match in regex.finditer(pattern, piece, flags=regex.V1):
                cut += [piece[at : match.start()], match.group()]
                at = match.end()
            cut.append(piece[at:])
        pieces = [piece for piece in cut if piece]
    return pieces


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_pre_tokenizers_cut_alike_in_two_engines(name: str, seed: int) -> None:
    from tokenizers import Regex, pre_tokenizers

    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name].patterns]
    ours = pre_tokenizers.Sequence(steps)
    for text in STRINGS + random_strings(seed, 100):
        if "\x85" in text:
            continue  # the two disagree on whether U+0085 is a space
        assert [piece for piece, _ in ours.pre_tokenize_str(text)] == split(name, text), text


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("llama-bpe", "It's 12345\n\n  x", ["It", "'s", " ", "123", "45", "\n\n", " ", " x"]),
        ("llama-bpe", "IT'S é!?\n", ["IT", "'S", " é", "!?\n"]),
        ("qwen2", "x 123", ["x", " ", "1", "2", "3"]),
        ("gpt-2", "IT'S 123 it's", ["IT", "'", "S", " 123", " it", "'s"]),
        ("smollm", "a 123 b", ["a", " ", "1", "2", "3", " b"]),
        ("gpt-4o", "camelCase HTMLParser don't", ["camel", "Case", " HTMLParser", " don't"]),
        ("tekken", "camelCase 12", ["camel", "Case", " ", "1", "2"]),
        ("deepseek-v3", "中文abc 1234", ["中文", "abc", " ", "123", "4"]),
        ("deepseek-llm", "Ab c1\n", ["Ab", " c", "1", "\n"]),
        ("falcon", "x==1234", ["x", "==", "123", "4"]),
        ("default", "a+b 1234", ["a", "+", "b", " ", "123", "4"]),
        ("superbpe", "n 12345", ["n ", "12", "345"]),
    ],
)
def test_pre_tokenizers_by_example(name: str, text: str, pieces: list[str]) -> None:
    from tokenizers import Regex, pre_tokenizers

    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name].patterns]
    assert [piece for piece, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(text)] == pieces


def test_word_piece_undoes_the_marks() -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import models, normalizers, pre_tokenizers

    words = vocabularies._learnt_words(900)
    bert = Library(models.WordPiece({t: i for i, t in enumerate(words)}, unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer = Tokenizer.from_gguf(vocabularies.word_piece())
    for text in STRINGS:
        if "▁" in text:
            continue  # GGUF's mark itself: the format cannot tell it from a word's start
        ids = tokenizer.encode(text)
        assert ids == [2, *bert.encode(text).ids, 3]
    ids, segments = tokenizer.encode_pair("one two", "three")
    assert ids == [*tokenizer.encode("one two"), *tokenizer.encode("three")[1:]]
    assert segments == [0] * len(tokenizer.encode("one two")) + [1] * (len(tokenizer.encode("three")) - 1)


def test_word_piece_with_capitals_keeps_them() -> None:
    metadata = vocabularies.word_piece()
    tokens = [*metadata[PREFIX + "tokens"], "▁Zebra"]
    tokenizer = Tokenizer.from_gguf(
        metadata | keys(tokens=tokens, token_type=[3, 2, 3, 3, 3, *[1] * (len(tokens) - 5)])
    )
    assert tokenizer.encode("Zebra", add_special=False) == [len(tokens) - 1]


def test_unigram_finds_the_most_likely_cut() -> None:
    metadata = vocabularies.unigram()
    tokenizer = Tokenizer.from_gguf(metadata)
    scores = dict(zip(metadata[PREFIX + "tokens"], metadata[PREFIX + "scores"], strict=True))
    for text in ("the quick brown fox", "Hello, world!", "language models"):
        marked = "▁" + text.replace(" ", "▁")
        best = [0.0] + [-1e9] * len(marked)
        for end in range(1, len(marked) + 1):
            for start in range(end):
                if (piece := marked[start:end]) in scores:
                    best[end] = max(best[end], best[start] + scores[piece])
        ids = tokenizer.encode(text, add_special=False)
        assert sum(metadata[PREFIX + "scores"][i] for i in ids) == pytest.approx(best[-1])
        assert tokenizer.encode(text) == [*ids, 1]


@pytest.mark.parametrize("make", MAKERS)
def test_decoding_is_the_librarys(make: Callable[[], dict[str, Any]]) -> None:
    tokenizer = Tokenizer.from_gguf(make())
    for text in STRINGS:
        ids = tokenizer.encode(text)
        for skip in (True, False):
            assert tokenizer.decode(ids, skip) == tokenizer._backend.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("make", MAKERS[:2])
def test_text_comes_back(make: Callable[[], dict[str, Any]]) -> None:
    tokenizer = Tokenizer.from_gguf(make())
    for text in STRINGS:
        assert tokenizer.decode(tokenizer.encode(text)) == (text.replace("▁", " ") if make is MAKERS[1] else text)


@pytest.mark.parametrize("make", MAKERS)
def test_special_tokens_written_out_are_text_unless_asked(make: Callable[[], dict[str, Any]]) -> None:
    tokenizer = Tokenizer.from_gguf(make())
    for token in sorted(tokenizer.special_ids - {tokenizer.unk_id}):
        text = f"a {tokenizer._backend.id_to_token(token)} b"
        assert token not in tokenizer.encode(text, add_special=False)
        assert token in tokenizer.encode(text, add_special=False, parse_special=True)


@pytest.mark.parametrize("make", [MAKERS[0], MAKERS[1], MAKERS[3]])
def test_a_text_inside_another_has_no_space_before_it(make: Callable[[], dict[str, Any]]) -> None:
    tokenizer = Tokenizer.from_gguf(make())
    for text in ("Hello, world!", " spaced", "a</s>b", "{}"):
        ids = tokenizer.encode_inner(text)
        assert (
            b"".join(map(tokenizer.token_bytes, ids)).decode() == text.replace("<unk>", "") or tokenizer.unk_id in ids
        )
        assert not tokenizer.special_ids.intersection(ids) - {tokenizer.unk_id}


def test_user_defined_tokens_are_always_one() -> None:
    tokenizer = Tokenizer.from_gguf(vocabularies.sentence_piece())
    mark = tokenizer.token_id("<|user mark|>")
    assert mark in tokenizer.encode("x<|user mark|>y")
    assert tokenizer.token_text(mark or 0) == "<|user mark|>"


def test_flags_and_ends() -> None:
    metadata = vocabularies.byte_level()
    tokens = metadata[PREFIX + "tokens"]
    tokenizer = Tokenizer.from_gguf(metadata | keys(add_bos_token=True, add_eos_token=True))
    assert tokenizer.encode("")[0] == tokenizer.bos_id and tokenizer.encode("")[-1] == tokenizer.eos_id
    assert tokenizer.stop_ids == (tokens.index("<|endoftext|>"), tokens.index("<|im_end|>"))
    assert Tokenizer.from_gguf(metadata | keys(eos_token_id=0xFFFFFFFF)).eos_id is None
    assert Tokenizer.from_gguf(metadata | keys(pre="llama-bpe") | {PREFIX + "add_bos_token": True}).encode("a")[0] == (
        tokenizer.bos_id
    )
    templates = {"tokenizer.chat_template": "{{ x }}", "tokenizer.chat_template.tool_use": "{{ y }}"}
    assert Tokenizer.from_gguf(metadata | templates).chat_templates == {"default": "{{ x }}", "tool_use": "{{ y }}"}


def test_rows_of_the_model_and_tokens_must_fit() -> None:
    tokenizer = Tokenizer.from_gguf(vocabularies.byte_level())
    size = tokenizer.vocab_size
    with pytest.raises(InvalidModel, match=f"{size} tokens, the model only {size - 1} rows"):
        tokenizer.fit(size - 1)
    assert tokenizer.fit(size + 60).decode([size + 59, tokenizer.encode("a")[0]]) == "a"
    for token in (-1, size + 60):
        with pytest.raises(InvalidArgument, match=f"token {token} is outside the vocabulary of {size + 60}"):
            tokenizer.decode([token])


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="surrogate"):
        Tokenizer.from_gguf(vocabularies.byte_level()).encode("a\ud800")


def broken(**changes: Any) -> dict[str, Any]:
    return vocabularies.byte_level() | keys(**changes)


SIZE = len(vocabularies.byte_level()[PREFIX + "tokens"])


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({}, Unsupported, "model is ''"),
        (broken(model="rwkv"), Unsupported, "'rwkv'"),
        (broken(model=3), InvalidModel, "no string but int"),
        (broken(pre="new-thing"), Unsupported, "'new-thing'"),
        (broken(tokens=[]), InvalidModel, "tokens is missing or empty"),
        (broken(tokens="abc"), InvalidModel, "tokens is no array"),
        (broken(tokens=7), InvalidModel, "tokens is no array"),
        (broken(tokens=["a", b"\xff\xfe"]), InvalidModel, "token 1 is not UTF-8"),
        (broken(tokens=["a", "\udcff"]), InvalidModel, "token 1 is not UTF-8"),
        (broken(tokens=["a", 5]), InvalidModel, "token 1 is no string but int"),
        (broken(tokens=["a", "b", "a"], token_type=[1, 1, 1]), InvalidModel, "tokens 0 and 2 are both 'a'"),
        (broken(token_type=[1, 2]), InvalidModel, f"{SIZE} tokens but 2 entries in tokenizer.ggml.token_type"),
        (broken(token_type=[9] * SIZE), InvalidModel, "token_type has an entry that is no token type"),
        (broken(scores=[1.0]), InvalidModel, f"{SIZE} tokens but 1 entries in tokenizer.ggml.scores"),
        (broken(scores=["x"] * SIZE), InvalidModel, "scores has an entry that is no number"),
        (broken(scores=[float("nan")] * SIZE), InvalidModel, "NaN"),
        (broken(merges=[]), InvalidModel, "merges is missing"),
        (broken(merges=["ab"]), InvalidModel, "merge 0 is 'ab'"),
        (broken(merges=["a ☃"]), InvalidModel, "merge 0 names '☃', which is no token"),
        (broken(merges=["q \u0101"]), InvalidModel, "which is no token"),
        (broken(bos_token_id=SIZE), InvalidModel, f"bos_token_id is {SIZE}"),
        (vocabularies.sentence_piece() | keys(scores=[]), InvalidModel, "scores is missing"),
        (vocabularies.unigram() | keys(precompiled_charsmap=[1, 2, 3]), InvalidModel, "makes no tokenizer"),
        (vocabularies.word_piece() | keys(unknown_token_id=None, token_type=[]), InvalidModel, "unknown words"),
    ],
)
def test_bad_data_is_a_typed_error(metadata: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Tokenizer.from_gguf(metadata)
    assert message in str(caught.value)
