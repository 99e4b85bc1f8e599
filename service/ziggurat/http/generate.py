"""POST /v2/models/{name}/generate and generate_stream: text generation as the Open Inference Protocol has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from ziggurat.http import problems
from ziggurat.http.openai import answers
from ziggurat.http.openai.convert import of_generate
from ziggurat.http.openai.sse import EventStream, frame
from ziggurat.serving.generation.stream import collect

if TYPE_CHECKING:
    from starlette.responses import Response

    from ziggurat.http.openai.bodies import GenerateBody
    from ziggurat.http.openai.desk import Call
    from ziggurat.serving.generation.stream import Piece, Stream, Token, Whole


async def generate(call: Call[GenerateBody]) -> Response:
    stream = await _begin(call)
    try:
        (whole,) = await call.while_there(collect(stream))
    finally:
        stream.close()
    return call.answer(Generated(call, stream).whole(whole))


async def generate_stream(call: Call[GenerateBody]) -> Response:
    stream = await _begin(call)
    return EventStream(stream, Generated(call, stream), call.began, call.ended)


async def _begin(call: Call[GenerateBody]) -> Stream:
    wanted = of_generate(call.body)
    begin = call.language.generate(
        [call.body.text_input], wanted, arrived=call.began, parse_special=True, continues=True
    )
    stream = await call.while_there(begin)
    call.times = stream.times
    return stream


class Generated:
    """The answer of a generation, whole or as a writer of events."""

    problem = staticmethod(problems.problem)

    def __init__(self, call: Call[GenerateBody], stream: Stream) -> None:
        self._head = {"model_name": call.entry.name, "model_version": call.entry.version}
        if call.body.id is not None:
            self._head["id"] = call.body.id
        parameters = call.body.parameters
        self._details = parameters is not None and parameters.details
        self._before = call.body.text_input if parameters is not None and parameters.echo else ""
        self._service = call.language

    def whole(self, whole: Whole) -> dict[str, Any]:
        told: dict[str, Any] = {**self._head, "text_output": self._before + whole.text}
        if self._details:
            reason = self._reason(whole.finish, whole.tokens[-1:])
            told["details"] = {"finish_reason": reason, "logprobs": [self._token(one) for one in whole.tokens]}
        return told

    def pieces(self, pieces: Sequence[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if piece.text or piece.finish or self._details or self._before:
                told: dict[str, Any] = {**self._head, "text_output": self._before + piece.text}
                self._before = ""
                tokens = [piece.token] if piece.token is not None else []
                if self._details:
                    told["details"] = {"finish_reason": self._reason(piece.finish, tokens)}
                    told["details"]["token"] = self._token(tokens[0]) if tokens else None
                yield frame(orjson.dumps(told))

    def end(self) -> Iterable[bytes]:
        return []

    def error(self, error: Exception) -> Iterable[bytes]:
        return [frame(problems.problem(error)[2])]

    def _reason(self, finish: str | None, last: Sequence[Token]) -> str | None:
        if finish == "stop":
            return "eos_token" if last and last[0].id in self._service.eos else "stop_sequence"
        return finish

    def _token(self, token: Token) -> dict[str, Any]:
        tokenizer = self._service.texts.tokenizer
        special = token.id in tokenizer.special_ids
        text = tokenizer.token_text(token.id)
        return {"id": token.id, "text": text, "logprob": answers.finite(token.logprob), "special": special}
