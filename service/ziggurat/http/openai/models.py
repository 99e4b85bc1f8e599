"""GET /v1/models and /v1/models/{id}, /health, /ping, /version, /load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response

from ziggurat.http.documents import json_response
from ziggurat.http.openai.problems import UnknownModel
from ziggurat.types import LanguageModelSpec
from ziggurat.version import __version__

if TYPE_CHECKING:
    from ziggurat.http.openai.desk import Desk
    from ziggurat.serving.entry import Entry

OWNER = "ziggurat"


def add_models(router: APIRouter, desk: Desk, prefix: str) -> None:
    @router.get(f"{prefix}/models", include_in_schema=prefix == "/v1")
    async def list_models() -> Response:
        listed = {entry.name: _describe(entry) for entry in desk.languages()}
        return json_response({"object": "list", "data": list(listed.values())})

    @router.get(f"{prefix}/models/{{name:path}}", include_in_schema=prefix == "/v1")
    async def one_model(name: str) -> Response:
        entry = desk.find(name)
        if entry.kind != "language":
            raise UnknownModel(f"'{name}' is not a language model: see /v2/models/{name}")
        entry.check_ready()
        return json_response(_describe(entry))


def add_status(router: APIRouter, desk: Desk) -> None:
    @router.get("/ping", include_in_schema=False)
    @router.post("/ping", include_in_schema=False)
    async def ping() -> Response:
        return Response(status_code=200 if desk.serving.live() else 503)

    @router.get("/version", tags=["openai"])
    async def version() -> Response:
        return json_response({"version": __version__})

    @router.get("/load", tags=["openai"])
    async def load() -> Response:
        languages = [entry.status.language for entry in desk.languages()]
        sequences = sum(one.limits.taken.sequences for one in languages if one is not None)
        return json_response({"server_load": sequences + desk.serving.admission.running})


def _describe(entry: Entry) -> dict[str, Any]:
    service = entry.status.language
    told: dict[str, Any] = {"id": entry.name, "object": "model", "created": 0, "owned_by": OWNER}
    if service is not None:
        spec = service.spec
        width = spec.hidden if isinstance(spec, LanguageModelSpec) else spec.dimensions
        told |= {"created": service.created, "root": entry.name, "parent": None, "max_model_len": spec.context}
        told["meta"] = {"n_vocab": spec.vocab, "n_ctx_train": spec.context, "n_embd": width}
        told["meta"] |= {"n_params": spec.parameters, "architecture": spec.architecture, "weights": spec.weights}
    return told
