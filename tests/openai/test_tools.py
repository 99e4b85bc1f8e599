"""Tool calls: insisted on, left to the model, as a stream and at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.http.support import Raw, Running, serving
from tests.openai import tiny
from tests.openai.conftest import NAME
from tests.openai.support import CHAT, Events, post
from ziggurat.serving.generation.talk import Talk
from ziggurat.text.reasoning import ReasoningSplitter
from ziggurat.text.tool_parser import ToolParser

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"type": "integer", "minimum": -12, "maximum": 12}},
            "required": ["zone"],
            "additionalProperties": False,
        },
    },
}
ASKED: dict[str, Any] = {
    "model": NAME,
    "messages": [{"role": "user", "content": "How warm is it, and how late?"}],
    "tools": [WEATHER, CLOCK],
    "max_tokens": 600,
}


def check_call(call: dict[str, Any]) -> None:
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "weather":
        assert set(arguments) == {"city", "unit"} and arguments["unit"] in ("C", "F")
    else:
        assert call["function"]["name"] == "clock" and set(arguments) == {"zone"}


@pytest.mark.parametrize("seed", range(4))
def test_a_call_that_is_required_comes_with_valid_arguments(raw: Raw, seed: int) -> None:
    choice = post(raw, CHAT, {**ASKED, "tool_choice": "required", "seed": seed}).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    calls = choice["message"]["tool_calls"]
    assert calls and len({call["id"] for call in calls}) == len(calls)
    for call in calls:
        assert call["type"] == "function"
        check_call(call)


def test_a_call_by_name_and_only_one_where_one_is_wanted(raw: Raw) -> None:
    named = {"type": "function", "function": {"name": "clock"}}
    body = {**ASKED, "tool_choice": named, "parallel_tool_calls": False, "n": 4, "seed": 2}
    for choice in post(raw, CHAT, body).json()["choices"]:
        (call,) = choice["message"]["tool_calls"]
        assert call["function"]["name"] == "clock"
        check_call(call)


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_of_calls_puts_together_what_an_answer_has(server: Running, raw: Raw, seed: int) -> None:
    body = {**ASKED, "tool_choice": "required", "seed": seed}
    message = post(raw, CHAT, body).json()["choices"][0]["message"]
    with Events(server.port, CHAT, {**body, "stream": True}) as events:
        documents = events.documents()
    calls: dict[int, dict[str, str]] = {}
    for document in documents:
        for part in document["choices"][0]["delta"].get("tool_calls", ()):
            if part["index"] not in calls:
                assert part["id"] and part["type"] == "function" and part["function"]["name"]
                calls[part["index"]] = {"name": part["function"]["name"], "arguments": ""}
            else:
                assert "id" not in part and "type" not in part and "name" not in part["function"]
            calls[part["index"]]["arguments"] += part["function"]["arguments"]
    assert list(calls.values()) == [call["function"] for call in message["tool_calls"]]
    assert documents[-1]["choices"][0]["finish_reason"] == "tool_calls"


def strict(tool: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    function = tool["function"]
    return {**tool, "function": {**function, "strict": True, "parameters": {**function["parameters"], **parameters}}}


def test_a_strict_function_keeps_its_schema_where_the_model_chooses(tmp_path: Path) -> None:
    """A vocabulary in which the mark of a call is one token, which a bias makes the model say, or not."""
    folder = tiny.write(tmp_path / "marked", eos_token_id=[2])
    tokens = folder / "tokenizer.json"
    tokens.write_text(tokens.read_text(encoding="utf-8").replace("<|endoftext|>", "<tool_call>"), encoding="utf-8")
    with serving(tmp_path) as running, Raw(running.port) as raw:
        body = {**ASKED, "model": "marked", "tools": [strict(WEATHER), CLOCK], "parallel_tool_calls": False}
        named = set()
        for seed in range(6):
            choice = post(raw, CHAT, {**body, "seed": seed, "logit_bias": {0: 100}}).json()["choices"][0]
            (call,) = choice["message"]["tool_calls"]
            named.add(call["function"]["name"])
            assert choice["finish_reason"] == "tool_calls"
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            if call["function"]["name"] == "weather":
                check_call(call)
            quiet = post(raw, CHAT, {**body, "seed": seed, "logit_bias": {0: -100}, "max_tokens": 20}).json()
            assert "tool_calls" not in quiet["choices"][0]["message"]
        assert "weather" in named


def test_a_strict_schema_that_cannot_be_enforced_is_refused(raw: Raw) -> None:
    tools = [CLOCK, strict(WEATHER, minProperties=1, uniqueItems=True)]
    reply = post(raw, CHAT, {**ASKED, "tools": tools})
    assert reply.status == 400 and "tools[1].function.parameters" in reply.json()["error"]["message"]
    del tools[1]["function"]["strict"]
    assert post(raw, CHAT, {**ASKED, "tools": tools, "max_tokens": 3}).status == 200


def test_tools_show_in_the_prompt_unless_there_is_no_choice(raw: Raw) -> None:
    def prompt(**fields: Any) -> str:
        answer = post(raw, CHAT, {**ASKED, "max_tokens": 1, "return_token_ids": True, **fields}).json()
        text = post(raw, "/detokenize", {"tokens": answer["prompt_token_ids"]}).json()["content"]
        return str(text)

    assert "weather" in prompt() and "weather" not in prompt(tool_choice="none")


def test_a_conversation_with_calls_goes_on(raw: Raw) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": 1}'}}
    messages = [
        *ASKED["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    answer = post(raw, CHAT, {**ASKED, "messages": messages, "max_tokens": 1, "return_token_ids": True}).json()
    text = post(raw, "/detokenize", {"tokens": answer["prompt_token_ids"]}).json()["content"]
    assert '{"name": "clock", "arguments": {"zone": 1}}' in text and "<tool_response>\nnoon" in text


SAID = (
    "<think>Which city?\n</think>\n\nLet me see.\n<tool_call>\n"
    '{"name": "weather", "arguments": {"city": "Größe 塔", "unit": "C"}}\n</tool_call>\n<tool_call>\n'
    '{"name": "clock", "arguments": {"zone": 1}}\n</tool_call>'
)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50, 1000])
def test_what_is_read_does_not_depend_on_the_cuts(step: int) -> None:
    talk = Talk(ToolParser.named("hermes"), ReasoningSplitter("think"), parallel=True)
    deltas = [one for at in range(0, len(SAID), step) for one in talk.push(SAID[at : at + step])] + talk.finish()
    assert talk.reasoning == "Which city?" and talk.content == "Let me see."
    assert [(call.name, json.loads(call.arguments)) for call in talk.calls] == [
        ("weather", {"city": "Größe 塔", "unit": "C"}),
        ("clock", {"zone": 1}),
    ]
    assert "".join(delta.content for delta in deltas) == talk.content
    assert "".join(delta.reasoning for delta in deltas) == talk.reasoning
    assert talk.finish_reason("stop") == "tool_calls" and talk.finish_reason("length") == "length"
    alone = Talk(ToolParser.named("hermes"), ReasoningSplitter("think"), parallel=False)
    for char in SAID:
        alone.push(char)
    alone.finish()
    assert [call.name for call in alone.calls] == ["weather"]
