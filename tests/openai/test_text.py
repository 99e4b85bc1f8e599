"""Tokenizing in both dialects, V2's generate, and what else is asked about language models."""

from __future__ import annotations

import json

import pytest

from tests.http.support import Raw, Running
from tests.openai.conftest import NAME
from tests.openai.support import CHAT, COMPLETIONS, Events, post, problem

TEXT = "The ziggurat: Größe 塔 🙂"


def test_both_dialects_of_tokenize_agree_and_come_back(raw: Raw) -> None:
    vllm = post(raw, "/tokenize", {"model": NAME, "prompt": TEXT, "return_token_strs": True}).json()
    llama = post(raw, "/tokenize", {"content": TEXT, "with_pieces": True}).json()
    assert vllm["count"] == len(vllm["tokens"]) == len(vllm["token_strs"]) and vllm["max_model_len"] == 2048
    assert [one["id"] for one in llama["tokens"]] == vllm["tokens"]
    pieces = b"".join(
        one["piece"].encode() if isinstance(one["piece"], str) else bytes(one["piece"]) for one in llama["tokens"]
    )
    assert pieces.decode() == TEXT
    back = post(raw, "/detokenize", {"tokens": vllm["tokens"]}).json()
    assert back == {"prompt": TEXT, "content": TEXT}


def test_a_conversation_is_tokenized_as_chat_would(raw: Raw) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    tokens = post(raw, "/tokenize", {"messages": messages}).json()["tokens"]
    text = post(raw, "/detokenize", {"tokens": tokens}).json()["content"]
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    chat = post(raw, CHAT, {"messages": messages, "max_tokens": 1, "return_token_ids": True}).json()
    assert chat["prompt_token_ids"] == tokens and chat["usage"]["prompt_tokens"] == len(tokens)


@pytest.mark.parametrize("body", [{}, {"prompt": "a", "content": "b"}, {"messages": []}, {"content": 5}])
def test_tokenize_of_nothing_or_of_two_things_is_refused(raw: Raw, body: dict[str, object]) -> None:
    reply = post(raw, "/tokenize", body)
    assert reply.status == 400 and problem(reply)


def test_a_token_that_is_none_is_refused(raw: Raw) -> None:
    for tokens in ([-1], [512], ["a"], [1.5]):
        assert post(raw, "/detokenize", {"tokens": tokens}).status == 400


def test_v2_lists_a_language_model_by_its_texts(raw: Raw) -> None:
    meta = raw.request("GET", f"/v2/models/{NAME}").json()
    assert meta["inputs"] == [{"name": "text_input", "datatype": "BYTES", "shape": [1]}]
    assert meta["outputs"] == [{"name": "text_output", "datatype": "BYTES", "shape": [1]}]
    assert raw.request("GET", f"/v2/models/{NAME}/ready").status == 200


@pytest.mark.parametrize("path", [f"/v2/models/{NAME}", f"/v2/models/{NAME}/versions/1"])
def test_generate_is_a_completion(raw: Raw, path: str) -> None:
    parameters = {"max_tokens": 7, "temperature": 0, "details": True}
    reply = post(raw, f"{path}/generate", {"id": "42", "text_input": "The plain", "parameters": parameters})
    document = reply.json()
    assert reply.status == 200 and document["id"] == "42"
    assert (document["model_name"], document["model_version"]) == (NAME, "1")
    completion = post(raw, COMPLETIONS, {"prompt": "The plain", "max_tokens": 7, "temperature": 0}).json()
    assert document["text_output"] == completion["choices"][0]["text"]
    assert document["details"]["finish_reason"] in ("length", "eos_token")
    assert len(document["details"]["logprobs"]) == completion["usage"]["completion_tokens"]


def test_generate_stream_is_generate_in_pieces(server: Running, raw: Raw) -> None:
    body = {"text_input": "The plain", "parameters": {"max_tokens": 9, "temperature": 0, "ignore_eos": True}}
    whole = post(raw, f"/v2/models/{NAME}/generate", body).json()
    with Events(server.port, f"/v2/models/{NAME}/generate_stream", body) as events:
        frames = list(events.frames())
    assert events.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert all(frame.startswith("data: {") for frame in frames), "no [DONE] in this protocol"
    assert "".join(json.loads(frame[6:])["text_output"] for frame in frames) == whole["text_output"]


def test_errors_of_generate_have_v2s_shape(raw: Raw) -> None:
    for word in ("generate", "generate_stream"):
        assert post(raw, f"/v2/models/nobody/{word}", {"text_input": "x"}).status == 404
        for body in ({}, {"text_input": 5}, {"text_input": "x", "parameters": {"temperature": -1}}):
            reply = post(raw, f"/v2/models/{NAME}/{word}", body)
            assert reply.status == 400 and reply.error


def test_what_the_server_tells_of_itself(raw: Raw) -> None:
    assert raw.request("GET", "/health").status == raw.request("GET", "/ping").status == 200
    assert list(raw.request("GET", "/version").json()) == ["version"]
    assert raw.request("GET", "/load").json() == {"server_load": 0}
    for prefix in ("/v1", "/openai/v1"):
        (one,) = raw.request("GET", f"{prefix}/models").json()["data"]
        assert raw.request("GET", f"{prefix}/models/{NAME}").json() == one
        assert one["max_model_len"] == 2048 and one["meta"]["n_vocab"] == 512


def test_every_operation_is_described(raw: Raw) -> None:
    paths = raw.request("GET", "/openapi.json").json()["paths"]
    described = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/tokenize", "/detokenize"}
    assert described | {"/v1/models", "/v2/models/{name}/generate"} <= set(paths)
