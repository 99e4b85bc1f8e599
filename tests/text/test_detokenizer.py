"""Whatever ids come, the parts put together are the whole, and no part ends within a character."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text import vocabularies
from tests.text.samples import STRINGS
from ziggurat.errors import InvalidArgument
from ziggurat.text.detokenizer import MAX_STOPS, Detokenizer, StopStrings
from ziggurat.text.tokenizer import Tokenizer

KINDS = ["byte_level", "sentence_piece", "word_piece", "unigram"]


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    return Tokenizer.from_gguf(getattr(vocabularies, kind)())


def parts(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [*[detokenizer.push(token) for token in ids], detokenizer.finish()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skip", [True, False])
def test_parts_of_real_text_are_whole_characters(kind: str, skip: bool) -> None:
    tokenizer = tokenizer_of(kind)
    for text in STRINGS:
        ids = tokenizer.encode(text)
        found = parts(Detokenizer(tokenizer, skip), ids)
        assert "".join(found) == tokenizer.decode(ids, skip)
        assert not any("�" in part for part in found) or "�" in text


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(0, 799), max_size=40), st.booleans())
def test_parts_of_nonsense_are_its_lenient_decoding(kind: str, ids: list[int], skip: bool) -> None:
    tokenizer = tokenizer_of(kind)
    found = "".join(parts(Detokenizer(tokenizer, skip), ids))
    assert found == tokenizer.decode(ids, skip)
    kept = [i for i in ids if not (skip and i in tokenizer.special_ids)]
    data = b"".join(tokenizer.pieces.piece(token, first=at == 0) for at, token in enumerate(kept))
    leading = tokenizer.pieces.leading if tokenizer.pieces.leading_count else b""
    assert found == data.removeprefix(leading).decode("utf-8", "replace")


def test_bytes_of_a_character_come_out_together() -> None:
    tokenizer = tokenizer_of("sentence_piece")
    ids = [3 + byte for byte in "🌍é".encode()]
    assert parts(Detokenizer(tokenizer), ids) == ["", "", "", "🌍", "", "é", ""]
    assert parts(Detokenizer(tokenizer), ids[:3]) == ["", "", "", "\ufffd"]
    assert parts(Detokenizer(tokenizer), [ids[0], tokenizer.encode("a")[1]])[1].startswith("\ufffd")


def test_only_the_first_space_of_a_new_text_is_dropped() -> None:
    tokenizer = tokenizer_of("sentence_piece")
    ids = tokenizer.encode(" the the", add_special=False)
    assert "".join(parts(Detokenizer(tokenizer), ids)) == " the the"
    assert "".join(parts(Detokenizer(tokenizer, continues=True), ids)) == "  the the"
    spaced = [1, *ids]  # a special token in front does not use the rule up
    assert "".join(parts(Detokenizer(tokenizer), spaced)) == " the the"


def test_kept_special_tokens_stay() -> None:
    tokenizer = tokenizer_of("byte_level")
    ids = tokenizer.encode("<|im_start|>x<|im_end|>", parse_special=True)
    assert "".join(parts(Detokenizer(tokenizer, keep=[1201]), ids)) == "<|im_start|>x"


ALPHABET = st.text("ab", max_size=24)


def expected(stops: list[str], text: str, include: bool) -> tuple[str, str | None]:
    """The rule by brute force: the stop that ends first; of those the longest."""
    for end in range(len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            stop = max(ending, key=len)
            return text[: end if include else end - len(stop)], stop
    return text, None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4),
    ALPHABET,
    st.lists(st.integers(0, 24)),
    st.booleans(),
)
def test_stops_are_found_in_every_split(stops: list[str], text: str, cuts: list[int], include: bool) -> None:
    finder = StopStrings(stops, include)
    edges = sorted({0, len(text), *[cut for cut in cuts if cut < len(text)]})
    shown, matched = "", None
    for start, end in pairwise(edges):
        part, matched = finder.push(text[start:end])
        shown += part
        assert expected(stops, text, include)[0].startswith(shown), "text was shown that belongs to a stop"
    shown += finder.finish()
    assert (shown, matched) == expected(stops, text, include)


def test_only_what_may_become_a_stop_is_held_back() -> None:
    finder = StopStrings(["</s>", "\n\nUser:"])
    assert finder.push("hello <") == ("hello ", None)
    assert finder.push("b>") == ("<b>", None)
    assert finder.push(" x\n\nUse") == (" x", None)
    assert finder.push("r: hidden") == ("", "\n\nUser:")
    assert finder.push("more") == ("", "\n\nUser:")
    assert finder.finish() == ""
    assert StopStrings([]).push("all of it") == ("all of it", None)


def test_stops_that_make_no_sense_are_refused() -> None:
    for stops in ([""], ["a"] * (MAX_STOPS + 1), ["a" * 5000]):
        with pytest.raises(InvalidArgument):
            StopStrings(stops)
