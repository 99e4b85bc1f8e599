"""POST /v1/embeddings and /v1/rerank."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from ziggurat.http.openai.completions import prompts_of
from ziggurat.http.openai.problems import BadField

if TYPE_CHECKING:
    from starlette.responses import Response

    from ziggurat.http.openai.bodies import EmbeddingBody, RerankBody
    from ziggurat.http.openai.desk import Call

Vector = np.ndarray[Any, np.dtype[np.float32]]


async def embed(call: Call[EmbeddingBody]) -> Response:
    body = call.body
    encoder = call.encoder
    inputs = prompts_of(body.input, "input")
    vectors, tokens = await call.while_there(encoder.embed(inputs, call.began))
    if body.dimensions is not None:
        vectors = _shorten(vectors, body.dimensions)
    write = _base64 if body.encoding_format == "base64" else _floats
    data = [{"object": "embedding", "index": at, "embedding": write(one)} for at, one in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return call.answer({"object": "list", "data": data, "model": call.entry.name, "usage": usage})


def _shorten(vectors: Vector, dimensions: int) -> Vector:
    """The first so many numbers, of length 1 again (as Matryoshka embeddings are used)."""
    if dimensions > vectors.shape[1]:
        raise BadField("dimensions", f"dimensions: the model's vectors have {vectors.shape[1]}, not {dimensions}")
    short = vectors[:, :dimensions]
    units: Vector = short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), np.float32(1e-12))
    return units


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _floats(vector: Vector) -> list[float]:
    return [float(value) for value in vector]


async def rerank(call: Call[RerankBody]) -> Response:
    body = call.body
    encoder = call.encoder
    texts = [_text(one, at) for at, one in enumerate(body.documents)]
    scores, tokens = await call.while_there(encoder.rank(body.query, texts, call.began))
    order = sorted(range(len(texts)), key=lambda at: (-scores[at], at))[: body.top_n]
    results = []
    for at in order:
        result: dict[str, Any] = {"index": at, "relevance_score": float(scores[at])}
        if body.return_documents:
            result["document"] = {"text": texts[at]}
        results.append(result)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"id": f"rerank-{secrets.token_hex(12)}", "model": call.entry.name, "results": results}
    return call.answer(answer | {"usage": usage, "meta": {"billed_units": {"total_tokens": tokens}}})


def _text(document: str | dict[str, Any], at: int) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise BadField("documents", f"documents[{at}]: expected a text, or an object with one under 'text'")
    return text
