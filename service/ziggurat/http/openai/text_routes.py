"""POST /tokenize and /detokenize, in vLLM's dialect and llama.cpp's: one handler takes both and answers with the keys
of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ziggurat.http.openai.problems import BadField
from ziggurat.serving.generation.talk import Conversation
from ziggurat.serving.generation.tools import ToolChoice

if TYPE_CHECKING:
    from starlette.responses import Response

    from ziggurat.http.openai.bodies import DetokenizeBody, TokenizeBody
    from ziggurat.http.openai.desk import Call


async def tokenize(call: Call[TokenizeBody]) -> Response:
    body, texts = call.body, call.service.texts
    given = [name for name in ("prompt", "messages", "content") if getattr(body, name) is not None]
    if len(given) != 1:
        raise BadField(given[1] if given else "prompt", "give one of prompt, messages (vLLM) and content (llama.cpp)")
    if body.content is not None:
        tokens = await texts.encode([body.content], body.add_special or False, body.parse_special, whole=True)
    elif body.prompt is not None:
        tokens = await texts.encode([body.prompt], body.add_special_tokens is not False, True, whole=True)
    else:
        language, conversation = call.language, _conversation(body)
        tokens = [await texts.work(lambda: conversation.prompt(language))]
    ids = tokens[0]
    pieces = [texts.tokenizer.token_text(token) for token in ids] if body.with_pieces or body.return_token_strs else []
    answer: dict[str, Any] = {"count": len(ids), "max_model_len": texts.context, "tokens": ids}
    if body.with_pieces:
        answer["tokens"] = [_piece(token, texts.tokenizer.token_bytes(token)) for token in ids]
    if body.return_token_strs:
        answer["token_strs"] = pieces
    return call.answer(answer)


def _piece(token: int, data: bytes) -> dict[str, Any]:
    """llama.cpp tells a piece that is no whole character by its bytes."""
    try:
        return {"id": token, "piece": data.decode()}
    except UnicodeDecodeError:
        return {"id": token, "piece": list(data)}


def _conversation(body: TokenizeBody) -> Conversation:
    return Conversation(
        messages=body.messages or [],
        tools=[tool.model_dump(exclude_none=True) for tool in body.tools or ()],
        choice=ToolChoice("auto" if body.tools else "none"),
        kwargs=dict(body.chat_template_kwargs or {}),
        add_generation_prompt=body.add_generation_prompt and not body.continue_final_message,
        continue_final_message=body.continue_final_message,
    )


async def detokenize(call: Call[DetokenizeBody]) -> Response:
    texts = call.service.texts
    text = await texts.work(lambda: texts.decode(call.body.tokens))
    return call.answer({"prompt": text, "content": text})
