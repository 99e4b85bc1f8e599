"""What must be refused, in OpenAI's shape, before the first token; the connection goes on each time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.support import Raw
from tests.openai.conftest import NAME
from tests.openai.support import CHAT, COMPLETIONS, post, problem

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

BAD_CHATS: dict[str, tuple[dict[str, Any], str | None]] = {
    "no messages": ({"messages": []}, "messages"),
    "messages of another type": ({"messages": "hello"}, "messages"),
    "unknown role": ({"messages": [{"role": "king", "content": "x"}]}, None),
    "message without content": ({"messages": [{"role": "user"}]}, None),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, None),
    "arguments that are no JSON": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        None,
    ),
    "too hot": ({"temperature": 2.5}, "temperature"),
    "a temperature that is a text": ({"temperature": "1"}, "temperature"),
    "top_p above 1": ({"top_p": 1.5}, "top_p"),
    "n of 0": ({"n": 0}, "n"),
    "n beyond measure": ({"n": 1000}, "n"),
    "no tokens": ({"max_tokens": 0}, "max_tokens"),
    "limits that disagree": ({"max_tokens": 4, "max_completion_tokens": 5}, "max_tokens"),
    "min above max": ({"min_tokens": 9, "max_tokens": 3}, None),
    "an empty stop": ({"stop": [""]}, "stop"),
    "top_logprobs without logprobs": ({"top_logprobs": 2}, "top_logprobs"),
    "too many top_logprobs": ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    "a bias for no token": ({"logit_bias": {"word": 1}}, "logit_bias"),
    "a bias beyond the vocabulary": ({"logit_bias": {"99999": 1}}, None),
    "a bias too large": ({"logit_bias": {"1": 101}}, "logit_bias"),
    "a stop token beyond the vocabulary": ({"stop_token_ids": [99999]}, None),
    "stream options without a stream": ({"stream_options": {}, "stream": False}, "stream_options"),
    "tool choice without tools": ({"tool_choice": "required"}, "tool_choice"),
    "a tool that is not there": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
    ),
    "functions": ({"functions": [{"name": "f"}]}, "functions"),
    "speech": ({"modalities": ["text", "audio"]}, "modalities"),
    "a schema that is missing": ({"response_format": {"type": "json_schema"}}, "response_format"),
    "a format that is unknown": ({"response_format": {"type": "xml"}}, "response_format"),
    "a schema that is none": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "thing"}}}},
        None,
    ),
    "a schema that cannot be enforced": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {"type": "object"}}}}},
        None,
    ),
    "two structures": (
        {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
        "structured_outputs",
    ),
    "two structures in one": ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
    "a regular expression that is none": ({"structured_outputs": {"regex": "("}}, None),
    "structure and ignore_eos": ({"structured_outputs": {"regex": "a"}, "ignore_eos": True}, None),
    "a tool is required and a format too": (
        {"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}},
        None,
    ),
    "a template of the client's": ({"chat_template": "{{ 1 }}"}, None),
    "a template keyword that is taken": ({"chat_template_kwargs": {"messages": []}}, None),
    "going on with nobody": ({"continue_final_message": True}, "continue_final_message"),
    "the best of many": ({"best_of": 3}, "best_of"),
    "bad words": ({"bad_words": ["x"]}, "bad_words"),
    "no time": ({"timeout": 0}, "timeout"),
}


@pytest.mark.parametrize("case", BAD_CHATS)
def test_chats_that_cannot_be(raw: Raw, case: str) -> None:
    fields, param = BAD_CHATS[case]
    for stream in (False, True):
        reply = post(raw, CHAT, {"model": NAME, "messages": HELLO, "stream": stream, **fields})
        error = problem(reply)
        assert reply.status == 400 and error["type"] == "invalid_request_error", error
        assert param is None or error["param"] == param, error


BAD_COMPLETIONS: dict[str, dict[str, Any]] = {
    "no prompt": {"prompt": None},
    "an empty prompt of tokens": {"prompt": []},
    "a prompt of nothing": {"prompt": ""},
    "an id beyond the vocabulary": {"prompt": [1, 99999]},
    "a negative id": {"prompt": [-1]},
    "ids and texts": {"prompt": [1, "a"]},
    "a suffix": {"suffix": "end"},
    "too many logprobs": {"logprobs": 21},
    "prompt log probabilities of a stream": {"prompt_logprobs": 1, "stream": True},
    "allowed tokens that are none": {"allowed_token_ids": [99999]},
}


@pytest.mark.parametrize("case", BAD_COMPLETIONS)
def test_completions_that_cannot_be(raw: Raw, case: str) -> None:
    reply = post(raw, COMPLETIONS, {"model": NAME, "prompt": "x", **BAD_COMPLETIONS[case]})
    assert reply.status == 400, reply.body
    problem(reply)


def test_a_prompt_that_is_too_long_tells_both_numbers(raw: Raw) -> None:
    reply = post(raw, COMPLETIONS, {"model": NAME, "prompt": [7] * 2048})
    error = problem(reply)
    assert reply.status == 400 and error["code"] == "context_length_exceeded"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (2048, 2048)
    text = post(raw, COMPLETIONS, {"model": NAME, "prompt": "word " * 100_000})
    assert text.status == 400 and problem(text)["n_prompt_tokens"] > 2048
    chat = post(raw, CHAT, {"model": NAME, "messages": [{"role": "user", "content": "word " * 5000}]})
    assert chat.status == 400 and problem(chat)["code"] == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"[" * 5000, b'{"model": "\xff"}'])
def test_bodies_that_are_no_requests(raw: Raw, body: bytes) -> None:
    for path in (CHAT, COMPLETIONS, "/v1/embeddings", "/tokenize"):
        reply = post(raw, path, body)
        assert reply.status == 400 and problem(reply)["type"] == "invalid_request_error"


def test_sizes_types_and_methods(raw: Raw) -> None:
    assert post(raw, CHAT, b" " * (1 << 20) + b"{}").status == 413
    wrong = raw.request("POST", CHAT, b"x", content_type="multipart/form-data")
    assert wrong.status == 415 and problem(wrong)
    method = raw.request("GET", CHAT)
    assert method.status == 405 and problem(method) and method.headers["allow"] == "POST"
    nowhere = post(raw, "/v1/nothing", {})
    assert nowhere.status == 404 and problem(nowhere)["type"] == "not_found_error"


def test_models_that_are_not_there_or_not_ready(raw: Raw) -> None:
    for path in ("/v1", "/openai/v1"):
        unknown = post(raw, f"{path}/chat/completions", {"model": "nobody", "messages": HELLO})
        assert unknown.status == 404 and problem(unknown)["code"] == "model_not_found"
        assert problem(raw.request("GET", f"{path}/models/no/body"))["code"] == "model_not_found"


def test_fields_that_nobody_knows_are_ignored_and_counted(raw: Raw) -> None:
    reply = post(raw, COMPLETIONS, {"model": NAME, "prompt": "x", "max_tokens": 1, "surprise": 1, "other": {}})
    assert reply.status == 200
    metrics = raw.request("GET", "/metrics").body.decode()
    assert 'ziggurat_ignored_fields_total{route="completions"} 2.0' in metrics and "surprise" not in metrics


def test_a_language_model_has_no_infer(raw: Raw) -> None:
    reply = raw.infer(NAME, {"inputs": []})
    assert reply.status == 501 and "language model" in reply.error
