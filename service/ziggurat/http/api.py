"""Puts the routes together. Everything they need is handed in; there is no application at module level."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from ziggurat.errors import ZigguratError
from ziggurat.http import page, shapes
from ziggurat.http.front import Front
from ziggurat.http.infer import Infer
from ziggurat.http.openai.routes import LanguageRoutes
from ziggurat.http.problems import text_of
from ziggurat.http.v2_management import absent_router, logging_router, statistics_router
from ziggurat.http.v2_repository import repository_router
from ziggurat.http.v2_routes import health_router, model_router
from ziggurat.telemetry.logs import verbosity_of
from ziggurat.telemetry.metrics import CONTENT_TYPE
from ziggurat.version import __version__

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ziggurat.serving.control import Control
    from ziggurat.serving.serving import Serving
    from ziggurat.settings import Settings
    from ziggurat.telemetry.metrics import Metrics


def create_api(
    settings: Settings, serving: Serving, control: Control, metrics: Metrics, logger: FilteringBoundLogger
) -> Front:
    infer = Infer(serving, metrics, settings.limits, logger)
    # The documentation pages would load scripts from elsewhere; /openapi.json stays.
    api = FastAPI(title="Ziggurat", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_infer(api, infer)
    LanguageRoutes(serving, metrics, settings.limits, logger).add_to(api)
    api.include_router(health_router(serving))
    api.include_router(repository_router(control, settings))
    api.include_router(logging_router(verbosity_of(logger), settings))
    api.include_router(absent_router())
    api.include_router(statistics_router(serving))
    api.include_router(model_router(serving, settings.server.name))
    _add_metrics(api, metrics)
    api.include_router(page.router(serving, settings.server.name))
    _add_problems(api)
    return Front(api, infer, logger, settings.logging.requests)


def _add_infer(api: FastAPI, infer: Infer) -> None:
    """Front takes POSTs to this route before they come here; here it refuses other methods, and is described."""
    api.router.routes.append(Route("/v2/models/{name:path}/infer", infer, methods=["POST"]))
    schema_without = api.openapi
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    operation = {
        "tags": ["v2"],
        "summary": "Infer",
        "description": "Runs a model; `/versions/{version}` may stand before `/infer`. The bodies are the Open "
        "Inference Protocol's, as JSON or with the binary tensor extension.",
        "parameters": [name],
        "requestBody": {"required": True, "content": {"application/json": {}, "application/octet-stream": binary}},
        "responses": {"200": {"description": "Outputs"}, "default": {"description": '{"error": "text"}'}},
    }

    def schema() -> dict[str, Any]:
        document = schema_without()
        document["paths"].setdefault("/v2/models/{name}/infer", {})["post"] = operation
        return document

    api.openapi = schema  # type: ignore[method-assign]


def _add_metrics(api: FastAPI, metrics: Metrics) -> None:
    @api.get("/metrics", tags=["metrics"])
    async def read_metrics() -> Response:
        return Response(await asyncio.to_thread(metrics.expose), media_type=CONTENT_TYPE)


def _add_problems(api: FastAPI) -> None:
    """Every error in its protocol's shape, whoever raised it."""

    async def ours(request: Request, error: Exception) -> Response:
        request.scope["ziggurat.error"] = text_of(error)
        status, headers, body = shapes.problem(request.scope["path"], error)
        return _response(status, body, {key.decode(): value.decode() for key, value in headers})

    async def of_http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        return _response(
            error.status_code,
            shapes.of_status(request.scope["path"], error.status_code, error.detail),
            dict(error.headers or {}),
        )

    async def of_validation(request: Request, error: Exception) -> Response:
        return _response(400, shapes.of_status(request.scope["path"], 400, text_of(error)), {})

    api.add_exception_handler(ZigguratError, ours)
    api.add_exception_handler(HTTPException, of_http)
    api.add_exception_handler(RequestValidationError, of_validation)


def _response(status: int, body: bytes, headers: dict[str, str]) -> Response:
    return Response(body, status, headers, "application/json")
