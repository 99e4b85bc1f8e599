"""The official client library, unmodified, against a server process."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest

from tests.openai.conftest import NAME

QUESTION = [{"role": "user", "content": "What stands in the plain?"}]


def test_models_are_listed_and_found_by_names_with_slashes(client: openai.OpenAI) -> None:
    listed = client.models.list().data
    assert [one.id for one in listed] == [NAME] and listed[0].object == "model"
    one = client.models.retrieve(NAME)
    assert one.id == NAME and one.owned_by and one.max_model_len == 2048  # type: ignore[attr-defined]


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=24, temperature=0)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content is not None
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage is not None and answer.usage.prompt_tokens > 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    again = client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=24, temperature=0)
    assert again.choices[0].message.content == choice.message.content


def test_a_chat_as_a_stream_is_the_same_chat(client: openai.OpenAI) -> None:
    wanted = {"model": NAME, "messages": QUESTION, "max_tokens": 40, "seed": 7, "n": 3}
    whole = client.chat.completions.create(**wanted)
    texts, ends, usage = ["", "", ""], [None] * 3, None
    for chunk in client.chat.completions.create(**wanted, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
        usage = chunk.usage or usage
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert len(set(texts)) > 1, "three draws of the same seed must not be one"
    assert usage is not None and whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_completions_of_texts_and_of_token_ids(client: openai.OpenAI) -> None:
    one = client.completions.create(model=NAME, prompt="The ziggurat", max_tokens=8, temperature=0)
    many = client.completions.create(model=NAME, prompt=["The ziggurat", "Every"], max_tokens=8, temperature=0)
    assert [choice.index for choice in many.choices] == [0, 1]
    assert many.choices[0].text == one.choices[0].text
    ids = httpx.post(f"{str(client.base_url).removesuffix('/v1/')}/tokenize", json={"prompt": "The ziggurat"}).json()
    same = client.completions.create(model=NAME, prompt=ids["tokens"], max_tokens=8, temperature=0)
    assert same.choices[0].text == one.choices[0].text


def test_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NAME, messages=QUESTION, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3, stop=None
    )
    content = answer.choices[0].logprobs.content  # type: ignore[union-attr]
    assert content is not None and answer.usage is not None and len(content) == answer.usage.completion_tokens
    for entry in content:
        assert len(entry.top_logprobs) == 3 and entry.logprob <= 0
        assert entry.top_logprobs[0].logprob == entry.logprob, "temperature 0 takes the most likely token"
        assert bytes(entry.bytes or []).decode(errors="replace") == entry.token


def test_errors_have_the_classes_that_clients_catch(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=QUESTION)
    assert unknown.value.code == "model_not_found" and unknown.value.param == "model"
    with pytest.raises(openai.BadRequestError) as hot:
        client.chat.completions.create(model=NAME, messages=QUESTION, temperature=3)
    assert hot.value.param == "temperature" and hot.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model=NAME, prompt=[5] * 3000)
    assert long.value.body["n_prompt_tokens"] == 3000 and long.value.body["n_ctx"] == 2048  # type: ignore[index]
    assert long.value.code == "context_length_exceeded"


def test_many_clients_at_once_get_what_one_gets_alone(alone: object) -> None:
    url = f"{alone.url}/v1"  # type: ignore[attr-defined]

    async def ask(client: openai.AsyncOpenAI, k: int) -> str:
        text = ""
        stream = await client.chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": f"Tell me of brick {k % 4}"}],
            max_tokens=30,
            seed=k % 4,
            stream=True,
        )
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        return text

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            single = [await ask(client, k) for k in range(4)]
            return single + list(await asyncio.gather(*(ask(client, k) for k in range(24))))

    texts = asyncio.run(all_of_them())
    assert all(text == texts[k % 4] for k, text in enumerate(texts[4:]))


def test_a_full_server_is_asked_again(repository: object) -> None:
    from tests.e2e import server as process

    with process.serve(repository, "--set", "language.sequences=1") as small:  # type: ignore[arg-type]
        busy = openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0)
        with busy.chat.completions.create(
            model=NAME, messages=QUESTION, max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
        ) as stream:
            next(iter(stream))
            with pytest.raises(openai.RateLimitError) as refused:
                busy.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=1)
            assert int(refused.value.response.headers["retry-after"]) >= 1
        patient = busy.with_options(max_retries=5)
        assert patient.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=1).choices


def test_json_by_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "steps": {"type": "integer", "maximum": 999}},
        "required": ["name", "steps"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=NAME,
        messages=QUESTION,
        max_tokens=300,
        response_format={"type": "json_schema", "json_schema": {"name": "tower", "schema": schema, "strict": True}},
    )
    document = json.loads(answer.choices[0].message.content or "")
    assert set(document) == {"name", "steps"} and isinstance(document["steps"], int)
