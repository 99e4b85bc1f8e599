"""The parts that answers and chunks are made of: usage and log probabilities, in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ziggurat.serving.generation.stream import Stream, Token
    from ziggurat.text.tokenizer import Tokenizer

LEAST = -9999.0  # what OpenAI tells for "never": JSON has no infinity


def usage(stream: Stream, reasoning_tokens: int | None = None) -> dict[str, Any]:
    prompt, generated = stream.prompt_tokens, stream.generated_tokens
    told: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": stream.cached_tokens},
    }
    if reasoning_tokens is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
    return told


def finite(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, LEAST)


def chat_logprobs(tokens: Iterable[Token], tokenizer: Tokenizer, top: int) -> dict[str, Any]:
    return {"content": [_entry(token, tokenizer, top) for token in tokens], "refusal": None}


def _entry(token: Token, tokenizer: Tokenizer, top: int) -> dict[str, Any]:
    entry = _one(token.id, token.logprob, tokenizer)
    entry["top_logprobs"] = [_one(other, logprob, tokenizer) for other, logprob in token.top[:top]]
    return entry


def _one(token: int, logprob: float | None, tokenizer: Tokenizer) -> dict[str, Any]:
    data = tokenizer.token_bytes(token)
    return {"token": data.decode("utf-8", "replace"), "logprob": finite(logprob), "bytes": list(data)}


def completion_logprobs(tokens: Sequence[Token], tokenizer: Tokenizer, offset: int) -> dict[str, Any]:
    """`offset` is where in the choice's text the first token begins. The first of a prompt has no probability."""
    texts = [tokenizer.token_text(token.id) for token in tokens]
    offsets = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
    return {
        "text_offset": offsets,
        "token_logprobs": [finite(token.logprob) for token in tokens],
        "tokens": texts,
        "top_logprobs": [_tops(token, text, tokenizer) for token, text in zip(tokens, texts, strict=True)],
    }


def _tops(token: Token, text: str, tokenizer: Tokenizer) -> dict[str, Any] | None:
    if token.logprob is None:
        return None
    best = {tokenizer.token_text(other): finite(logprob) for other, logprob in reversed(token.top)}
    # the likelier of two tokens that look the same stays; the chosen one is always told
    return dict(sorted({text: finite(token.logprob), **best}.items(), key=lambda item: -(item[1] or 0.0)))


def prompt_logprobs(tokens: Sequence[Token], tokenizer: Tokenizer) -> list[dict[str, Any] | None]:
    """vLLM's form: for each prompt token its id and the best others with rank, log probability and text."""
    return [_ranked(token, tokenizer) for token in tokens]


def _ranked(token: Token, tokenizer: Tokenizer) -> dict[str, Any] | None:
    if token.logprob is None:
        return None
    told = {
        str(other): {"logprob": finite(logprob), "rank": rank, "decoded_token": tokenizer.token_text(other)}
        for rank, (other, logprob) in enumerate(token.top, 1)
    }
    own = {"logprob": finite(token.logprob), "rank": None, "decoded_token": tokenizer.token_text(token.id)}
    return {str(token.id): own} | told
