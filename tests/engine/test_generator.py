"""A language model's steps on a real graph: the same request gives the same bits, and what is wrong is refused."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.language import CONTEXT, END, VOCAB, Answer, Request, make_generator, prompt_of, run, write_checkpoint
from ziggurat.engine import Generator
from ziggurat.errors import InvalidArgument, OutOfMemory, PromptTooLong


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def generator(folder: Path) -> Generator:
    return make_generator(folder)


def crowd() -> list[Request]:
    """Seventeen requests of all kinds; three begin alike."""
    shared = prompt_of(70, 99)
    requests: list[Request] = [(prompt_of(600, 0), {"temperature": 0.0, "max_tokens": 6})]
    for i in range(1, 17):
        prompt = (shared if i % 5 == 0 else []) + prompt_of(1 + 11 * i % 90, i)
        options: dict[str, Any] = {"max_tokens": 30 + 3 * i, "seed": i, "temperature": 0.7 if i % 3 else 0.0}
        options |= {"top_p": 0.9} if i % 4 == 1 else {"top_k": 20} if i % 4 == 2 else {}
        options |= {"repetition_penalty": 1.2, "ignore_eos": True} if i % 2 else {}
        options |= {"n": 3} if i == 7 else {}
        requests.append((prompt, options))
    return [(prompt, {**options, "logprobs": 2}) for prompt, options in requests]


@pytest.fixture(scope="module")
def alone(folder: Path) -> list[Answer]:
    """Each request by itself, its prompt in one piece, nothing cached."""
    solo = make_generator(folder, threads=1, step_tokens=1024, prefix_cache=False)
    return [answer for request in crowd() for answer in run(solo, [request])]


@pytest.mark.parametrize(
    "options",
    [
        {"step_tokens": 64},
        {"step_tokens": 7},
        {"step_tokens": 1, "max_sequences": 5},
        {"step_tokens": 256, "threads": 1, "prefix_cache": False},
        {"step_tokens": 64, "speculation": "ngram"},
        {"step_tokens": 64, "blocks": 24},  # far too few: sequences lose their cache and are computed again
    ],
    ids=str,
)
def test_a_request_gives_the_same_bits_in_any_company(
    folder: Path, alone: list[Answer], options: dict[str, Any]
) -> None:
    company = make_generator(folder, **options)
    assert run(company, crowd()) == alone
    assert (company.stats()["preemptions"] > 0) == ("blocks" in options)
    if company.stats()["prefix_hit_tokens"]:
        assert run(company, crowd()) == alone


@pytest.mark.parametrize(("weights", "kv_dtype"), [("int8", "int8"), ("int4", "f16"), ("bf16", "bf16")])
def test_the_same_holds_for_every_kind_of_weights_and_cache(folder: Path, weights: str, kv_dtype: str) -> None:
    requests = crowd()[1:8]
    make = {"weights": weights, "kv_dtype": kv_dtype}
    solo = make_generator(folder, threads=1, step_tokens=1024, prefix_cache=False, **make)
    wanted = [answer for request in requests for answer in run(solo, [request])]
    assert run(make_generator(folder, step_tokens=16, blocks=12, **make), requests) == wanted


def test_greedy_tokens_are_the_largest_of_the_logits(generator: Generator) -> None:
    prompt = prompt_of(40, 3)
    (answer,) = run(generator, [(prompt, {"max_tokens": 12, "temperature": 0.0, "ignore_eos": True})])
    logits = generator.forward_logits([*prompt, *answer.tokens])
    assert logits.shape == (52, VOCAB)
    assert logits[39:51].argmax(axis=1).tolist() == answer.tokens


def test_log_probabilities_are_of_the_logits(generator: Generator) -> None:
    prompt = prompt_of(50, 4)
    generator.add(prompt, max_tokens=1, temperature=0.5, logprobs=3, prompt_logprobs=2, seed=1)
    (event,) = [event for events in iter(generator.step, None) for event in events]
    logits = generator.forward_logits(prompt).astype(np.float64)
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert event.logprob == pytest.approx(scores[-1, event.token], abs=1e-5)
    assert event.top is not None
    assert [token for token, _ in event.top] == np.argsort(-scores[-1], kind="stable")[:3].tolist()
    assert event.prompt_logprobs is not None
    assert len(event.prompt_logprobs) == 50
    assert event.prompt_logprobs[0] is None
    for position, score in enumerate(event.prompt_logprobs[1:], 1):
        assert score is not None
        assert score[0] == pytest.approx(scores[position - 1, prompt[position]], abs=1e-5)
        assert [token for token, _ in score[1]] == np.argsort(-scores[position - 1], kind="stable")[:2].tolist()


def test_a_shared_prefix_is_computed_once_among_equal_salts(folder: Path) -> None:
    generator = make_generator(folder)
    prompt = prompt_of(320, 1)

    def cached(salt: bytes) -> int | None:
        generator.add([*prompt, 11], max_tokens=1, salt=salt)
        (event,) = [event for events in iter(generator.step, None) for event in events]
        return event.cached_tokens

    assert [cached(b""), cached(b""), cached(b"tenant"), cached(b"tenant")] == [0, 320, 0, 320]


def test_draws_under_a_mask_stay_inside_it_and_fail_closed(generator: Generator) -> None:
    generator.add(prompt_of(5, 1), max_tokens=6, constrained=True, n=2, seed=3, ignore_eos=True)
    rows = generator.schedule()
    assert rows is not None
    assert [index for _, index in rows] == [0, 1]
    generator.forward()
    with pytest.raises(InvalidArgument, match="draws 2 tokens under a mask, got 0"):
        generator.sample()
    with pytest.raises(InvalidArgument, match=r"uint32 \[rows, 5\]"):
        generator.sample(np.zeros((2, 4), np.uint32))
    mask = np.zeros((2, 5), np.uint32)
    mask[0, 1], mask[1, 2] = 0b11 << 3, 0b1  # ids 35 and 36, id 64
    events = generator.sample(mask)
    while (rows := generator.schedule()) is not None:
        generator.forward()
        events += generator.sample(mask[[index for _, index in rows]])
    assert {event.token for event in events if event.index == 0} <= {35, 36}
    assert [event.token for event in events if event.index == 1] == [64] * 6
    generator.add(prompt_of(5, 1), max_tokens=6, constrained=True)
    generator.schedule()
    generator.forward()
    (event,) = generator.sample(np.zeros((1, 5), np.uint32))
    assert (event.token, event.finish) == (None, "error")
    assert isinstance(event.error, InvalidArgument)


def test_a_sequence_ends_where_it_should(generator: Generator) -> None:
    bias = {"logit_bias": {END: 100.0}, "temperature": 0.0}
    ended, held, stopped, full, none = run(
        generator,
        [
            ([20, 21], {**bias, "max_tokens": 9}),
            ([20, 21], {**bias, "max_tokens": 9, "min_tokens": 4}),
            ([20, 21], {"logit_bias": {50: 100.0}, "stop_token_ids": [50], "ignore_eos": True, "max_tokens": 9}),
            (prompt_of(CONTEXT - 3, 1), {"ignore_eos": True}),
            ([20, 21], {"max_tokens": 0}),
        ],
    )
    assert (ended.tokens, ended.finish) == ([END], "stop")
    assert (held.tokens[4:], held.finish, END in held.tokens[:4]) == ([END], "stop", False)
    assert (stopped.tokens, stopped.finish) == ([50], "stop")
    assert (len(full.tokens), full.finish) == (3, "length")
    assert (none.tokens, none.finish) == ([], "length")


def test_a_cancelled_request_gives_its_cache_back(generator: Generator) -> None:
    request = generator.add(prompt_of(100, 1), n=2, max_tokens=50, ignore_eos=True)
    generator.step()
    assert generator.stats()["kv_blocks_used"] > 0
    generator.cancel(request, 1)
    events = generator.step()
    assert events is not None
    assert {(event.index, event.finish) for event in events} == {(0, None), (1, "cancelled")}
    generator.cancel(request)
    events = generator.step()
    assert events is not None
    assert [(event.index, event.finish, event.token) for event in events] == [(0, "cancelled", None)]
    assert generator.step() is None
    assert generator.stats()["kv_blocks_used"] == 0


def test_what_cannot_run_is_refused_with_numbers(folder: Path, generator: Generator) -> None:
    with pytest.raises(PromptTooLong) as refused:
        generator.add([20] * CONTEXT)
    assert (refused.value.n_prompt_tokens, refused.value.n_ctx) == (CONTEXT, CONTEXT)
    assert pickle.loads(pickle.dumps(refused.value)).n_ctx == CONTEXT
    with pytest.raises(OutOfMemory, match="16 KV blocks, the pool has 10"):
        make_generator(folder, blocks=10).add([20] * 400, max_tokens=100)
    for prompt in ([], [VOCAB], [-1], [2**40], [1.5], [[1, 2]]):
        with pytest.raises(InvalidArgument):
            generator.add(prompt)  # type: ignore[arg-type]
    for wrong in (
        {"temperature": -0.1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1},
        {"min_p": 2.0}, {"repetition_penalty": 0.0}, {"n": 0}, {"min_tokens": 5, "max_tokens": 4}, {"max_tokens": -1},
        {"logit_bias": {VOCAB: 1.0}}, {"logit_bias": {1: float("inf")}}, {"stop_token_ids": [-1]}, {"logprobs": -1},
        {"prompt_logprobs": VOCAB + 1},
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=next(iter(wrong))):
            generator.add([20], **wrong)  # type: ignore[arg-type]
    assert generator.step() is None


def test_an_engine_without_memory_refuses_with_numbers(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="at least one block"):
        make_generator(folder, blocks=0)
    with pytest.raises(OutOfMemory, match="KV cache"):
        make_generator(folder, blocks=10**9)


def test_requests_come_from_any_thread(folder: Path, alone: list[Answer]) -> None:
    generator = make_generator(folder)
    requests = [request for request in crowd() if "n" not in request[1]]
    wanted = [a for a, (_, options) in zip(alone[:7], crowd()[:7], strict=True) if "n" not in options] + alone[10:]
    ids: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda i=i: ids.__setitem__(i, generator.add(requests[i][0], **requests[i][1])))  # type: ignore[misc]
        for i in range(len(requests))
    ]
    answers: dict[int, Answer] = {}
    for thread in threads:
        thread.start()
        for event in generator.step() or ():
            answers.setdefault(event.request, Answer()).hear(event)
    for thread in threads:
        thread.join()
    while (events := generator.step()) is not None:
        for event in events:
            answers.setdefault(event.request, Answer()).hear(event)
    assert [answers[ids[i]] for i in range(len(requests))] == wanted
