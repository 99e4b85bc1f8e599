"""What callers see of a token, and what they may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token.

    Attributes:
        token: Its id; None where a sequence ends without one (cancelled).
        text: The characters that it completes. May be empty (a part of a character, a special token, text held back
            because it may become a stop string); all texts joined are the answer.
        logprob: Natural logarithm of its probability, if `logprobs` was asked for.
        finish_reason: None while the sequence goes on; "stop" (end token, stop token, stop string), "length",
            "cancelled".
        index: Which of the `n` sequences of a prompt.
        top: The most probable tokens as (id, logprob), if `logprobs` asked for some.
    """

    token: int | None
    text: str
    logprob: float | None = None
    finish_reason: str | None = None
    index: int = 0
    top: Sequence[tuple[int, float]] | None = None


class Sampling(TypedDict, total=False):
    """Keywords of `LanguageModel.generate`.

    max_tokens: tokens at most. Default: what the context has room for.
    min_tokens: no end token before so many.
    temperature: 0 takes the most probable token; default 1.
    top_k, top_p, min_p: keep the k most probable (0: all); those that make up p; those above min_p of the best.
    repetition_penalty, presence_penalty, frequency_penalty: against repeating; default 1, 0, 0.
    logit_bias: added to logits, by token id.
    seed: the same seed draws the same tokens; None draws one.
    n: sequences for each prompt.
    logprobs: log-probabilities of the chosen token and of so many others.
    stop, include_stop: strings that end the text, and whether they belong to it.
    stop_token_ids: tokens that end it.
    ignore_eos: end tokens do not.
    skip_special: special tokens do not show in the text; default true.
    """

    max_tokens: int | None
    min_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float] | None
    seed: int | None
    n: int
    logprobs: int | None
    stop: str | Sequence[str]
    include_stop: bool
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    skip_special: bool
