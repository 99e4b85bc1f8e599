"""POST /v1/completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from ziggurat.http.openai import answers, problems
from ziggurat.http.openai.convert import of_completion
from ziggurat.http.openai.sse import DONE, EventStream, frame
from ziggurat.serving.generation.stream import Token, collect
from ziggurat.serving.generation.structure import constraint_for

if TYPE_CHECKING:
    from starlette.responses import Response

    from ziggurat.http.openai.bodies import CompletionBody
    from ziggurat.http.openai.desk import Call
    from ziggurat.serving.generation.stream import Part, Piece, Stream, Whole

MAX_PROMPTS = 1024


async def complete(call: Call[CompletionBody]) -> Response:
    body, service = call.body, call.language
    wanted = of_completion(body)
    prompts = prompts_of(body.prompt, "prompt")
    stream = await call.while_there(
        service.generate(
            prompts,
            wanted,
            arrived=call.began,
            special=body.add_special_tokens,
            parse_special=True,
            constraint=constraint_for(service, wanted.structure),
            continues=True,
        )
    )
    call.times = stream.times
    told = Completion(call, stream)
    if body.stream:
        return EventStream(stream, told, call.began, call.ended)
    try:
        wholes = await call.while_there(collect(stream))
    finally:
        stream.close()
    return call.answer(told.whole(wholes))


def prompts_of(prompt: str | list[Any], field: str) -> list[str | list[int]]:
    """One prompt or several, each a text or token ids."""
    if isinstance(prompt, str):
        return [prompt]
    if prompt and isinstance(prompt[0], int):
        return [prompt]
    if not prompt:
        raise problems.BadField(field, f"{field}: the list is empty")
    if len(prompt) > MAX_PROMPTS:
        raise problems.BadField(field, f"{field}: {len(prompt)} texts in one request, {MAX_PROMPTS} is the limit")
    return prompt


class Completion:
    """One completion's answer, whole or as a writer of events."""

    problem = staticmethod(problems.problem)

    def __init__(self, call: Call[CompletionBody], stream: Stream) -> None:
        self._body = call.body
        self._stream = stream
        self._tokenizer = call.language.texts.tokenizer
        self._head: dict[str, Any] = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": call.entry.name,
            "system_fingerprint": call.language.fingerprint,
        }
        self._offsets: dict[int, int] = {}  # by choice, of the next token in its text

    def whole(self, wholes: Sequence[Whole]) -> dict[str, Any]:
        choices = [self._choice(index, whole) for index, whole in enumerate(wholes)]
        return self._head | {"choices": choices, "usage": self._usage()}

    def _choice(self, index: int, whole: Whole) -> dict[str, Any]:
        part, echo = self._part(index), self._body.echo
        before = self._prompt_text(part) if echo else ""
        logprobs = None
        if self._body.logprobs is not None:
            prompt = list(part.prompt.logprobs or ()) if echo else []
            logprobs = answers.completion_logprobs([*prompt, *whole.tokens], self._tokenizer, 0)
        choice: dict[str, Any] = {"text": before + whole.text, "index": index, "logprobs": logprobs}
        choice |= {"finish_reason": whole.finish, "stop_reason": whole.stop_reason}
        if self._body.prompt_logprobs is not None:
            choice["prompt_logprobs"] = answers.prompt_logprobs(part.prompt.logprobs or (), self._tokenizer)
        if self._body.return_token_ids:
            choice |= {"prompt_token_ids": list(part.prompt.tokens), "token_ids": [token.id for token in whole.tokens]}
        return choice

    def pieces(self, pieces: Sequence[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if piece.text or piece.finish or piece.index not in self._offsets or self._every:
                yield frame(self._chunk(self._of_piece(piece)))

    def end(self) -> Iterator[bytes]:
        if self._body.include_usage:
            yield frame(orjson.dumps(self._head | {"choices": [], "usage": self._usage()}))
        yield DONE

    def error(self, error: Exception) -> Iterable[bytes]:
        return [frame(problems.in_stream(error)), DONE]

    @property
    def _every(self) -> bool:
        """Whether a token that shows no text is told."""
        return self._body.logprobs is not None or bool(self._body.return_token_ids)

    def _of_piece(self, piece: Piece) -> dict[str, Any]:
        body = self._body
        first = piece.index not in self._offsets
        offset = self._offsets.setdefault(piece.index, 0)
        part = self._part(piece.index)
        tokens: list[Token] = [] if piece.token is None else [piece.token]
        choice: dict[str, Any] = {"index": piece.index, "text": piece.text, "logprobs": None}
        if body.return_token_ids:
            choice["token_ids"] = [token.id for token in tokens]
            if first:
                choice["prompt_token_ids"] = list(part.prompt.tokens)
        if first and body.echo:
            choice["text"] = self._prompt_text(part) + piece.text
            tokens = [*(part.prompt.logprobs or ()), *tokens]
        if body.logprobs is not None:
            choice["logprobs"] = told = answers.completion_logprobs(tokens, self._tokenizer, offset)
            self._offsets[piece.index] = offset + sum(map(len, told["tokens"]))
        choice["finish_reason"] = piece.finish
        choice["stop_reason"] = piece.stop_reason
        return choice

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        chunk = {**self._head, "choices": [choice]}
        if self._body.include_usage:
            chunk["usage"] = self._usage() if self._body.continuous_usage else None
        return orjson.dumps(chunk)

    def _usage(self) -> dict[str, Any]:
        return answers.usage(self._stream)

    def _part(self, index: int) -> Part:
        return self._stream.parts[index // self._stream.wanted.n]

    def _prompt_text(self, part: Part) -> str:
        return part.prompt.text if part.prompt.text is not None else self._tokenizer.decode(part.prompt.tokens, False)
