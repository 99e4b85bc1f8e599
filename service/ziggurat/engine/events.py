"""What steps of a language model tell."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ziggurat.errors import ZigguratError

Finish = Literal["stop", "length", "cancelled", "error"]
TopTokens = list[tuple[int, float]]


class TokenEvent(NamedTuple):
    """What a step gave one sequence.

    Attributes:
        request: what `Generator.add` returned.
        index: which of the request's n sequences.
        token: the token drawn; None where the sequence ended without one (cancelled, error, max_tokens=0). The token
            that ends a sequence with "stop" is here too.
        logprob: its log probability, where asked for: the model's own, before temperature, penalties and masks.
        top: the most likely (id, log probability), best first, where asked for.
        finish: why the sequence ended, on its last event. "stop": an end or stop token; "length": max_tokens, the
            context, or all that the KV cache can hold.
        cached_tokens: on a sequence's first event, how much of the prompt the prefix cache had; else None.
        prompt_logprobs: on the first event where asked for: for each prompt token (log probability, top), None for
            the first token, which nothing predicts.
        error: with finish "error", what went wrong.
    """

    request: int
    index: int  # type: ignore[assignment]  # takes the place of tuple.index
    token: int | None
    logprob: float | None = None
    top: TopTokens | None = None
    finish: Finish | None = None
    cached_tokens: int | None = None
    prompt_logprobs: list[tuple[float, TopTokens] | None] | None = None
    error: ZigguratError | None = None
