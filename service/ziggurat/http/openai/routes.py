"""Every route of language models: OpenAI's under /v1 and /openai/v1, what vLLM and llama.cpp add, and V2's generate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ziggurat.http import generate, problems
from ziggurat.http.openai import bodies, vectors
from ziggurat.http.openai.chat import chat
from ziggurat.http.openai.completions import complete
from ziggurat.http.openai.desk import Desk
from ziggurat.http.openai.fields import Body
from ziggurat.http.openai.models import add_models, add_status
from ziggurat.http.openai.text_routes import detokenize, tokenize

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.serving.serving import Serving
    from ziggurat.settings import LimitSettings
    from ziggurat.telemetry.metrics import Metrics

Endpoint = Callable[[Request], Awaitable[Response]]
PREFIXES = ("/v1", "/openai/v1")


class LanguageRoutes:
    """Made once; `add_to` puts them in an application's table."""

    def __init__(self, serving: Serving, metrics: Metrics, limits: LimitSettings, logger: FilteringBoundLogger) -> None:
        openai = Desk(serving, metrics, limits, logger)
        v2 = Desk(serving, metrics, limits, logger, "v2", problems.problem)
        self.router = APIRouter(tags=["openai"])
        for prefix in PREFIXES:
            add_models(self.router, openai, prefix)
        add_status(self.router, openai)
        self._bodies: dict[str, tuple[str, type[Body]]] = {}
        self.routes: list[Route] = []
        self._add_openai(openai)
        self._add_generate(v2)

    def add_to(self, api: FastAPI) -> None:
        """Adds the routes, and the operations of those that read bodies to the OpenAPI document."""
        api.include_router(self.router)
        api.router.routes.extend(self.routes)
        without = api.openapi

        def document() -> dict[str, Any]:
            schema = without()
            self._describe(schema)
            return schema

        api.openapi = document  # type: ignore[method-assign]

    def _describe(self, document: dict[str, Any]) -> None:
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for path, (summary, kind) in self._bodies.items():
            schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[kind.__name__] = schema
            document["paths"].setdefault(path, {})["post"] = _operation(path, summary, kind.__name__)

    def _add_openai(self, desk: Desk) -> None:
        table: list[tuple[str, str, type[Body], Any]] = [
            ("/completions", "Continue a prompt", bodies.CompletionBody, complete),
            ("/chat/completions", "Continue a conversation", bodies.ChatBody, chat),
            ("/embeddings", "Texts as vectors", bodies.EmbeddingBody, vectors.embed),
            ("/rerank", "Order documents by how they answer a query", bodies.RerankBody, vectors.rerank),
        ]
        for path, summary, kind, handler in table:
            endpoint = desk.endpoint(kind, handler)
            for prefix in PREFIXES:
                self._add(prefix + path, endpoint)
            self._bodies["/v1" + path] = (summary, kind)
        plain: list[tuple[str, str, type[Body], Any]] = [
            ("/rerank", "Order documents by how they answer a query", bodies.RerankBody, vectors.rerank),
            ("/tokenize", "A text's token ids", bodies.TokenizeBody, tokenize),
            ("/detokenize", "The text of token ids", bodies.DetokenizeBody, detokenize),
        ]
        for path, summary, kind, handler in plain:
            self._add(path, desk.endpoint(kind, handler))
            self._bodies[path] = (summary, kind)

    def _add_generate(self, desk: Desk) -> None:
        for word, summary, handler in (
            ("generate", "Continue a text", generate.generate),
            ("generate_stream", "Continue a text, as events", generate.generate_stream),
        ):
            endpoint = desk.endpoint(bodies.GenerateBody, handler)
            # The longer path first: a name may contain "/".
            self._add(f"/v2/models/{{name:path}}/versions/{{version}}/{word}", endpoint)
            self._add(f"/v2/models/{{name:path}}/{word}", endpoint)
            self._bodies[f"/v2/models/{{name}}/{word}"] = (summary, bodies.GenerateBody)

    def _add(self, path: str, endpoint: Endpoint) -> None:
        self.routes.append(Route(path, endpoint, methods=["POST"]))


def _operation(path: str, summary: str, schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    operation: dict[str, Any] = {
        "tags": ["v2" if path.startswith("/v2") else "openai"],
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
        "responses": {
            "200": {"description": "The answer; a stream of events where one was asked for"},
            "default": {"description": "An error"},
        },
    }
    if "{name}" in path:
        operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation
