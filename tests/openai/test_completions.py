"""What the fields of completions do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.http.support import Raw, Running
from tests.openai.conftest import NAME
from tests.openai.support import CHAT, COMPLETIONS, Events, post

PROMPT = "The ziggurat stands"


def complete(raw: Raw, **fields: Any) -> dict[str, Any]:
    reply = post(raw, COMPLETIONS, {"model": NAME, "prompt": PROMPT, **fields})
    assert reply.status == 200, reply.body
    return dict(reply.json())


def test_echo_with_log_probabilities_scores_the_prompt(raw: Raw) -> None:
    """As evaluation harnesses ask: no new token, the prompt's own probabilities."""
    answer = complete(raw, max_tokens=0, echo=True, logprobs=2)
    choice = answer["choices"][0]
    told = choice["logprobs"]
    assert choice["text"] == PROMPT == "".join(told["tokens"]) and answer["usage"]["completion_tokens"] == 0
    assert told["token_logprobs"][0] is None and all(one <= 0 for one in told["token_logprobs"][1:])
    assert told["top_logprobs"][0] is None and all(len(one) >= 2 for one in told["top_logprobs"][1:])
    assert [PROMPT[at:].startswith(token) for at, token in zip(told["text_offset"], told["tokens"], strict=True)]
    longer = complete(raw, max_tokens=3, echo=True, logprobs=2, temperature=0)["choices"][0]
    count = len(told["tokens"])
    assert longer["text"].startswith(PROMPT) and longer["logprobs"]["tokens"][:count] == told["tokens"]
    assert (
        longer["logprobs"]["token_logprobs"][:count] == pytest.approx(told["token_logprobs"][:count], abs=1e-4)
        if told["token_logprobs"][0] is not None
        else True
    )


def test_a_stream_puts_together_what_an_answer_has(server: Running, raw: Raw) -> None:
    wanted = {"max_tokens": 12, "seed": 5, "echo": True, "logprobs": 1, "n": 2, "return_token_ids": True}
    whole = complete(raw, **wanted)
    with Events(server.port, COMPLETIONS, {"prompt": PROMPT, "stream": True, **wanted}) as events:
        documents = events.documents()
    for index, choice in enumerate(whole["choices"]):
        mine = [one["choices"][0] for one in documents if one["choices"][0]["index"] == index]
        assert "".join(one["text"] for one in mine) == choice["text"]
        assert [token for one in mine for token in one["token_ids"]] == choice["token_ids"]
        for key in ("tokens", "token_logprobs", "text_offset"):
            assert [value for one in mine for value in one["logprobs"][key]] == choice["logprobs"][key]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]


def test_seeds_repeat_and_differ(raw: Raw) -> None:
    texts = [complete(raw, max_tokens=20, seed=seed, ignore_eos=True)["choices"][0]["text"] for seed in (1, 1, 2, -1)]
    assert texts[0] == texts[1] and len(set(texts)) == 3
    free = {complete(raw, max_tokens=20, ignore_eos=True)["choices"][0]["text"] for _ in range(3)}
    assert len(free) == 3, "without a seed no two answers should be equal"


def test_stops_cut_the_text_and_say_which(raw: Raw) -> None:
    whole = complete(raw, max_tokens=60, temperature=0, ignore_eos=True)["choices"][0]["text"]
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    cut = complete(raw, max_tokens=60, temperature=0, ignore_eos=True, stop=["nowhere", stop])
    choice = cut["choices"][0]
    assert choice["text"] == whole[: whole.index(stop)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    assert cut["usage"]["completion_tokens"] < 60
    kept = complete(raw, max_tokens=60, temperature=0, ignore_eos=True, stop=stop, include_stop_str_in_output=True)
    assert kept["choices"][0]["text"] == whole[: whole.index(stop) + len(stop)]


def test_stop_tokens_end_without_standing_in_the_text(raw: Raw) -> None:
    whole = complete(raw, max_tokens=9, temperature=0, ignore_eos=True, return_token_ids=True)["choices"][0]
    last = whole["token_ids"][4]
    first = whole["token_ids"].index(last)
    cut = complete(raw, max_tokens=9, temperature=0, ignore_eos=True, stop_token_ids=[last], return_token_ids=True)
    assert cut["choices"][0]["token_ids"] == whole["token_ids"][: first + 1]
    assert (cut["choices"][0]["finish_reason"], cut["choices"][0]["stop_reason"]) == ("stop", last)
    assert whole["text"].startswith(cut["choices"][0]["text"])


def test_bias_and_allowed_tokens(raw: Raw) -> None:
    forced = complete(raw, max_tokens=5, logit_bias={"300": 100}, return_token_ids=True)["choices"][0]
    assert forced["token_ids"] == [300] * 5
    allowed = complete(raw, max_tokens=40, allowed_token_ids=[300, 301, 302], return_token_ids=True)["choices"][0]
    assert set(allowed["token_ids"]) <= {300, 301, 302} and len(set(allowed["token_ids"])) > 1


def test_min_tokens_and_ignore_eos(raw: Raw) -> None:
    assert complete(raw, max_tokens=50, ignore_eos=True)["usage"]["completion_tokens"] == 50
    for seed in range(5):
        assert complete(raw, max_tokens=50, min_tokens=20, seed=seed)["usage"]["completion_tokens"] >= 20


STRUCTURES: dict[str, tuple[dict[str, Any], str]] = {
    "choice": ({"structured_outputs": {"choice": ["left", "right"]}}, "left|right"),
    "regex": ({"structured_outputs": {"regex": "[a-c]{3}-[0-9]{2}"}}, "[a-c]{3}-[0-9]{2}"),
    "older name": ({"guided_regex": "x{2,4}"}, "x{2,4}"),
    "grammar": ({"structured_outputs": {"grammar": 'start: "go " ("up" | "down")'}}, "go (up|down)"),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_structures_hold_for_every_choice(raw: Raw, kind: str) -> None:
    fields, pattern = STRUCTURES[kind]
    for choice in complete(raw, max_tokens=64, n=6, seed=11, **fields)["choices"]:
        assert re.fullmatch(pattern, choice["text"]) and choice["finish_reason"] == "stop"


def test_a_request_is_one_of_many_prompts_times_n(raw: Raw) -> None:
    ids = post(raw, "/tokenize", {"prompt": PROMPT}).json()["tokens"]
    answer = complete(raw, prompt=[ids, ids[:2]], n=2, max_tokens=4, seed=1)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == len(ids) + 2
    assert answer["choices"][0]["text"] == complete(raw, n=2, max_tokens=4, seed=1)["choices"][0]["text"]


def test_special_tokens_show_only_when_asked(raw: Raw) -> None:
    (end,) = post(raw, "/tokenize", {"prompt": "<|im_start|>"}).json()["tokens"]
    forced = {"max_tokens": 2, "logit_bias": {str(end): 100}}
    assert complete(raw, **forced)["choices"][0]["text"] == ""
    assert complete(raw, **forced, skip_special_tokens=False)["choices"][0]["text"] == "<|im_start|>" * 2


def test_a_cached_prefix_is_told_and_salts_keep_apart(raw: Raw) -> None:
    prompt = "Nobody knows how many bricks there are. " * 12

    def cached(salt: str) -> int:
        answer = complete(raw, prompt=prompt, max_tokens=1, cache_salt=salt)
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert cached("a") == 0 and cached("a") > 32 and cached("b") == 0


def test_continuing_a_last_message_is_one_text(raw: Raw) -> None:
    messages = [{"role": "user", "content": "Say it"}, {"role": "assistant", "content": "The tower"}]
    body = {"messages": messages, "max_tokens": 1, "return_token_ids": True, "continue_final_message": True}
    tokens = post(raw, CHAT, body).json()["prompt_token_ids"]
    text = post(raw, "/detokenize", {"tokens": tokens}).json()["content"]
    assert text.endswith("<|im_start|>assistant\nThe tower")
