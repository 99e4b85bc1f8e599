"""Thoughts and words are told apart alike however the text is cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ziggurat.errors import NotFound
from ziggurat.text import AssistantMessage, ReasoningSplitter


def split(parts: Iterable[str], name: str = "think", opened: bool = False) -> tuple[str, str]:
    splitter = ReasoningSplitter(name, opened)
    deltas = [delta for part in parts for delta in splitter.push(part)] + splitter.finish()
    found = AssistantMessage.of(deltas)
    return found.reasoning, found.content


@pytest.mark.parametrize(
    ("text", "opened", "reasoning", "content"),
    [
        ("<think>\nHm, é.\n\n</think>\n\nYes.\n", False, "Hm, é.", "Yes.\n"),
        (" \n<think>a</think>b", False, "a", "b"),
        ("Hm.\n</think>\n\nYes.", True, "Hm.", "Yes."),
        ("No thoughts. <think>late</think>", False, "", "No thoughts. <think>late</think>"),
        ("  spaced", False, "", "  spaced"),
        ("<think>\n\n</think>\n\nYes", False, "", "Yes"),
        ("<think>cut off \n", False, "cut off", ""),
        ("<think>a < b </thin k> c </think>d", False, "a < b </thin k> c", "d"),
        ("<thin", False, "", "<thin"),
        ("", False, "", ""),
        ("  ", False, "", "  "),
        ("</think>x", True, "", "x"),
    ],
)
def test_every_cut(text: str, opened: bool, reasoning: str, content: str) -> None:
    assert split([text], opened=opened) == (reasoning, content)
    assert split(text, opened=opened) == (reasoning, content)
    for cut in range(1, len(text)):
        assert split([text[:cut], text[cut:]], opened=opened) == (reasoning, content), f"cut at {cut}"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", " ", "\n", "a", "é"]), max_size=12),
    st.booleans(),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_any_text_in_any_parts(fragments: list[str], opened: bool, cuts: list[int]) -> None:
    text = "".join(fragments)
    edges = sorted({0, len(text), *[cut for cut in cuts if cut < len(text)]})
    assert split([text[a:b] for a, b in pairwise(edges)], opened=opened) == split([text], opened=opened)


def test_the_template_says_whether_and_how() -> None:
    assert ReasoningSplitter.for_template("{{ messages }}") is None
    found = ReasoningSplitter.for_template("… </think> …", "<|im_start|>assistant\n<think>\n")
    assert found is not None and found.push("hm</think>x")[0].reasoning == "hm"
    found = ReasoningSplitter.for_template("… </think> …", "<think>\n\n</think>\n\n")
    assert found is not None and found.push("hm")[0].content == "hm"
    assert split(["[THINK]a[/THINK]b"], "mistral") == ("a", "b")
    with pytest.raises(NotFound, match="no reasoning format 'x'"):
        ReasoningSplitter("x")
