"""POST /v1/chat/completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from ziggurat.http.openai import answers, problems
from ziggurat.http.openai.convert import of_chat
from ziggurat.http.openai.sse import DONE, EventStream, frame
from ziggurat.serving.generation.stream import collect
from ziggurat.serving.generation.talk import Conversation, Talk
from ziggurat.serving.generation.tools import ToolChoice

if TYPE_CHECKING:
    from starlette.responses import Response

    from ziggurat.http.openai.bodies import ChatBody
    from ziggurat.http.openai.desk import Call
    from ziggurat.serving.generation.stream import Piece, Stream, Whole
    from ziggurat.text.deltas import Delta


async def chat(call: Call[ChatBody]) -> Response:
    body = call.body
    _refuse_what_cannot_be(body)
    wanted = of_chat(body)
    conversation = conversation_of(body)
    stream = await call.while_there(conversation.begin(call.language, wanted, call.began))
    call.times = stream.times
    told = ChatCompletion(call, stream, conversation)
    if body.stream:
        return EventStream(stream, told, call.began, call.ended)
    try:
        wholes = await call.while_there(collect(stream))
    finally:
        stream.close()
    return call.answer(told.whole(wholes))


def conversation_of(body: ChatBody) -> Conversation:
    """The request's messages with all that decides how they become a prompt, and how its answer is read."""
    kwargs = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        kwargs.setdefault("reasoning_effort", body.reasoning_effort)
    if body.documents is not None:
        kwargs.setdefault("documents", body.documents)
    return Conversation(
        messages=body.messages,
        tools=[tool.model_dump(exclude_none=True) for tool in body.tools or ()],
        choice=_choice(body),
        parallel=body.parallel_tool_calls is not False,
        kwargs=kwargs,
        template=body.chat_template,
        add_generation_prompt=body.add_generation_prompt and not body.continue_final_message,
        continue_final_message=body.continue_final_message,
    )


def _choice(body: ChatBody) -> ToolChoice:
    choice = body.tool_choice
    if choice is None:
        return ToolChoice("auto" if body.tools else "none")
    if not body.tools and choice != "none":
        raise problems.BadField("tool_choice", "tool_choice needs tools")
    if isinstance(choice, str):
        return ToolChoice(choice)
    names = [tool.function.name for tool in body.tools or ()]
    if choice.function.name not in names:
        raise problems.BadField("tool_choice", f"tool_choice: no tool is called '{choice.function.name}'")
    return ToolChoice("named", choice.function.name)


def _refuse_what_cannot_be(body: ChatBody) -> None:
    if body.functions is not None or body.function_call is not None:
        raise problems.BadField("functions", "functions and function_call are not supported: use tools and tool_choice")
    if body.echo:
        raise problems.BadField("echo", "echo is for completions")
    if body.audio is not None or set(body.modalities or ()) - {"text"}:
        raise problems.BadField("modalities", "modalities: only text can be generated")
    if body.continue_final_message and body.messages[-1].get("role") != "assistant":
        raise problems.BadField(
            "continue_final_message", "continue_final_message needs a last message of the assistant"
        )


class ChatCompletion:
    """One chat's answer, whole or as a writer of events."""

    problem = staticmethod(problems.problem)

    def __init__(self, call: Call[ChatBody], stream: Stream, conversation: Conversation) -> None:
        self._body = call.body
        self._stream = stream
        self._tokenizer = call.language.texts.tokenizer
        self._talks = [conversation.talk(call.language, stream.parts[0].prompt.tokens) for _ in range(stream.wanted.n)]
        self._begun: set[int] = set()
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": call.entry.name,
            "system_fingerprint": call.language.fingerprint,
        }

    # --- in one piece ---

    def whole(self, wholes: Sequence[Whole]) -> dict[str, Any]:
        choices = [self._choice(index, whole) for index, whole in enumerate(wholes)]
        told = self._head | {"choices": choices, "usage": self._usage()}
        prompt = self._stream.parts[0].prompt
        if self._body.prompt_logprobs is not None:
            told["prompt_logprobs"] = answers.prompt_logprobs(prompt.logprobs or (), self._tokenizer)
        if self._body.return_token_ids:
            told["prompt_token_ids"] = list(prompt.tokens)
        return told

    def _choice(self, index: int, whole: Whole) -> dict[str, Any]:
        talk = self._talks[index]
        for text in whole.pieces:
            talk.push(text)
        talk.finish()
        logprobs = None
        if self._body.logprobs:
            logprobs = answers.chat_logprobs(whole.tokens, self._tokenizer, self._body.top_logprobs or 0)
        choice: dict[str, Any] = {"index": index, "message": self._message(talk), "logprobs": logprobs}
        choice |= {"finish_reason": talk.finish_reason(whole.finish), "stop_reason": whole.stop_reason}
        if self._body.return_token_ids:
            choice["token_ids"] = [token.id for token in whole.tokens]
        return choice

    def _message(self, talk: Talk) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": talk.content, "refusal": None}
        if talk.reasoning is not None and self._body.include_reasoning:
            message |= {"reasoning": talk.reasoning, "reasoning_content": talk.reasoning}
        if talk.calls:
            message["tool_calls"] = [
                {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
                for one in talk.calls
            ]
        return message

    # --- as events ---

    def pieces(self, pieces: Sequence[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if piece.index not in self._begun:
                self._begun.add(piece.index)
                yield self._chunk(piece.index, {"role": "assistant", "content": ""}, first=True)
            yield from self._of_piece(piece)

    def _of_piece(self, piece: Piece) -> Iterator[bytes]:
        talk = self._talks[piece.index]
        deltas = talk.push(piece.text)
        if piece.finish is not None:
            deltas = [*deltas, *talk.finish()]
        logprobs = None
        if self._body.logprobs and piece.token is not None:
            logprobs = answers.chat_logprobs([piece.token], self._tokenizer, self._body.top_logprobs or 0)
        token_ids = [piece.token.id] if piece.token is not None else []
        told = [delta for delta in map(self._delta, deltas) if delta]
        if not told and (logprobs is not None or self._body.return_token_ids):
            told = [{}]  # the token shows no text yet, but was asked for
        for at, delta in enumerate(told):
            yield self._chunk(piece.index, delta, None if at else logprobs, [] if at else token_ids)
        if piece.finish is not None:
            reason = talk.finish_reason(piece.finish)
            yield self._chunk(piece.index, {}, finish=reason, stop_reason=piece.stop_reason)

    def _delta(self, delta: Delta) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if delta.content:
            told["content"] = delta.content
        if delta.reasoning and self._body.include_reasoning:
            told |= {"reasoning": delta.reasoning, "reasoning_content": delta.reasoning}
        if delta.call is not None:
            function: dict[str, Any] = {"arguments": delta.call.arguments}
            entry: dict[str, Any] = {"index": delta.call.index}
            if delta.call.name is not None:
                entry |= {"id": delta.call.id, "type": "function"}
                function = {"name": delta.call.name, **function}
            told["tool_calls"] = [{**entry, "function": function}]
        return told

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        token_ids: Sequence[int] = (),
        *,
        finish: str | None = None,
        stop_reason: str | int | None = None,
        first: bool = False,
    ) -> bytes:
        choice: dict[str, Any] = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if finish is not None:
            choice["stop_reason"] = stop_reason
        if self._body.return_token_ids and (token_ids or first):
            choice["token_ids"] = list(token_ids)
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        if first and self._body.return_token_ids:
            chunk["prompt_token_ids"] = list(self._stream.parts[0].prompt.tokens)
        if self._body.include_usage:
            chunk["usage"] = self._usage() if self._body.continuous_usage else None
        return frame(orjson.dumps(chunk))

    def end(self) -> Iterator[bytes]:
        if self._body.include_usage:
            last = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}
            yield frame(orjson.dumps(last))
        yield DONE

    def error(self, error: Exception) -> Iterable[bytes]:
        return [frame(problems.in_stream(error)), DONE]

    def _usage(self) -> dict[str, Any]:
        return answers.usage(self._stream, sum(talk.reasoning_tokens for talk in self._talks))
