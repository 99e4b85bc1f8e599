"""Embeddings and ranking, by the official client library and as they are on the wire."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

import ziggurat
from tests.http.support import Raw, Running, serving, until
from tests.openai import tiny_bert
from tests.openai.support import CHAT, post, problem

TEXTS = ["The river stands in the plain", "Bread is baked", "a tower of brick by the river"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("encoders")
    tiny_bert.write(root / "embeds")
    tiny_bert.write(root / "team/ranks", ranks=True)
    return root


@pytest.fixture(scope="module")
def encoders(folder: Path) -> Iterator[Running]:
    with serving(folder, language={"sequences": 4}) as running:
        yield running


@pytest.fixture
def raw(encoders: Running) -> Iterator[Raw]:
    with Raw(encoders.port) as connection:
        yield connection


def test_embeddings_are_what_the_encoder_gives(encoders: Running, folder: Path) -> None:
    with ziggurat.load_encoder(folder / "embeds") as encoder:
        expected = encoder.embed(TEXTS)
    with openai.OpenAI(base_url=f"{encoders.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model="embeds", input=TEXTS)  # asks for base64
        plain = client.embeddings.create(model="embeds", input=TEXTS[1], encoding_format="float")
        short = client.embeddings.create(model="embeds", input=TEXTS[0], dimensions=8)
    assert [one.index for one in answer.data] == [0, 1, 2]
    np.testing.assert_array_equal(np.array([one.embedding for one in answer.data], np.float32), expected)
    np.testing.assert_array_equal(np.array(plain.data[0].embedding, np.float32), expected[1])
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > plain.usage.prompt_tokens
    cut = expected[0, :8] / np.linalg.norm(expected[0, :8])
    np.testing.assert_allclose(short.data[0].embedding, cut, rtol=1e-6)


def test_base64_is_little_endian_float32_and_token_ids_are_texts(raw: Raw) -> None:
    ids = post(raw, "/tokenize", {"model": "embeds", "prompt": TEXTS[0]}).json()["tokens"]
    body = {"model": "embeds", "input": [ids], "encoding_format": "base64"}
    (one,) = post(raw, "/v1/embeddings", body).json()["data"]
    (same,) = post(raw, "/openai/v1/embeddings", {"model": "embeds", "input": TEXTS[0]}).json()["data"]
    values = np.frombuffer(base64.b64decode(one["embedding"]), "<f4")
    np.testing.assert_array_equal(values, np.array(same["embedding"], np.float32))


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/openai/v1/rerank"])
def test_documents_are_ranked_by_the_cross_encoder(raw: Raw, folder: Path, path: str) -> None:
    body = {"model": "team/ranks", "query": "the river", "documents": [*TEXTS, {"text": "stone"}]}
    answer = post(raw, path, {**body, "return_documents": True}).json()
    results = answer["results"]
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
    assert sorted(one["index"] for one in results) == [0, 1, 2, 3]
    assert {one["document"]["text"] for one in results} == {*TEXTS, "stone"}
    with ziggurat.load_encoder(folder / "team/ranks") as encoder:
        logits = encoder.scores("the river", [*TEXTS, "stone"])[:, 0]
    for one in results:
        assert one["relevance_score"] == pytest.approx(1 / (1 + np.exp(-float(logits[one["index"]]))), rel=1e-5)
    best = post(raw, path, {**body, "top_n": 2}).json()["results"]
    assert [one["index"] for one in best] == [one["index"] for one in results[:2]] and "document" not in best[0]


def test_an_embedding_model_ranks_by_cosine(raw: Raw) -> None:
    body = {"model": "embeds", "query": TEXTS[1], "documents": TEXTS}
    best = post(raw, "/v1/rerank", body).json()["results"][0]
    assert best["index"] == 1 and best["relevance_score"] == pytest.approx(1, abs=1e-5)


def test_what_an_encoder_cannot_do_is_refused(raw: Raw) -> None:
    chat = post(raw, CHAT, {"model": "embeds", "messages": [{"role": "user", "content": "x"}]})
    assert chat.status == 400 and problem(chat)["param"] == "model"
    for body in (
        {"model": "team/ranks", "input": "x"},
        {"model": "embeds", "input": []},
        {"model": "embeds", "input": [[]]},
        {"model": "embeds", "input": [99999]},
        {"model": "embeds", "input": "x", "dimensions": 33},
        {"model": "embeds", "input": "x", "encoding_format": "binary"},
        {"input": "x"},
    ):
        reply = post(raw, "/v1/embeddings", body)
        assert reply.status == 400 and problem(reply), body
    none = post(raw, "/v1/rerank", {"model": "team/ranks", "query": "x", "documents": []})
    assert none.status == 400 and problem(none)["param"] == "documents"


def test_a_client_that_leaves_ends_its_work(encoders: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    service = encoders.service.registry.find("embeds").status.language
    read: list[str] = []
    embed = service.encoder.embed  # type: ignore[union-attr]
    monkeypatch.setattr(service.encoder, "embed", lambda one: (time.sleep(0.02), read.append(one), embed(one))[2])  # type: ignore[union-attr]
    with Raw(encoders.port) as leaver:
        leaver.send("POST", "/v1/embeddings", b'{"model": "embeds", "input": ["a"' + b', "a"' * 500 + b"]}")
        until(lambda: len(read) > 2, "it has begun")
    until(lambda: service._admission.running == 0, "it has ended")  # type: ignore[union-attr]
    assert len(read) < 400 and threading.active_count() < 200
