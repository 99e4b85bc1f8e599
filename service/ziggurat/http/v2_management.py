"""Configuration and statistics; logging; and what clients know that this server does not have, told by a 501."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from ziggurat.errors import InvalidArgument, Unsupported
from ziggurat.http.access import check_admin
from ziggurat.http.documents import json_response, read_document
from ziggurat.http.v2_config import describe_config

if TYPE_CHECKING:
    from ziggurat.serving.registry import Entry
    from ziggurat.serving.serving import Serving
    from ziggurat.settings import Settings
    from ziggurat.telemetry.logs import Verbosity


def statistics_router(serving: Serving) -> APIRouter:
    router = APIRouter(prefix="/v2/models", tags=["v2"])

    @router.get("/stats")
    async def all_statistics() -> Response:
        return json_response({"model_stats": [_statistics(one) for one in serving.registry.entries()]})

    # A name may contain "/", so the longer path has to be tried first: of stacked decorators that is the lower one.
    @router.get("/{name:path}/stats")
    @router.get("/{name:path}/versions/{version}/stats")
    async def model_statistics(name: str, version: str | None = None) -> Response:
        found = serving.registry.versions(name).values() if version is None else [serving.registry.find(name, version)]
        return json_response({"model_stats": [_statistics(one) for one in found]})

    @router.get("/{name:path}/config")
    @router.get("/{name:path}/versions/{version}/config")
    async def config(name: str, version: str | None = None) -> Response:
        return json_response(describe_config(serving.registry.find(name, version)))

    return router


def _statistics(entry: Entry) -> dict[str, Any]:
    loaded = entry.status.loaded
    size = sum(loaded.memory().values()) if loaded is not None else 0
    usage = [{"type": "CPU", "id": 0, "byte_size": size}]
    return {"name": entry.name, "version": entry.version, **entry.statistics.document(), "memory_usage": usage}


def logging_router(verbosity: Verbosity, settings: Settings) -> APIRouter:
    """The logging extension, but for files: nothing over HTTP may name one to write."""
    router = APIRouter(tags=["logging"])

    @router.get("/v2/logging")
    async def read_logging() -> Response:
        return json_response(_logging(verbosity))

    @router.post("/v2/logging")
    async def change_logging(request: Request) -> Response:
        check_admin(request, settings.server.admin)
        _change(verbosity, await read_document(request, settings.limits))
        return json_response(_logging(verbosity))

    return router


def _logging(verbosity: Verbosity) -> dict[str, Any]:
    levels = {f"log_{name}": getattr(verbosity, name) for name in ("info", "warning", "error")}
    return {"log_file": "", **levels, "log_verbose_level": int(verbosity.debug), "log_format": "default"}


def _change(verbosity: Verbosity, document: dict[str, Any]) -> None:
    wanted: dict[str, bool] = {}
    for key, value in document.items():
        if key in ("log_info", "log_warning", "log_error") and type(value) is bool:
            wanted[key.removeprefix("log_")] = value
        elif key == "log_verbose_level" and type(value) is int and value >= 0:
            wanted["debug"] = value > 0
        elif not (key == "log_file" and value == "") and not (key == "log_format" and value == "default"):
            raise InvalidArgument(f"'{key}' cannot be set to {value!r}: only levels can be changed while serving")
    verbosity.change(**wanted)


ABSENT = (
    ("/v2/systemsharedmemory", "system shared memory is not supported: send the data in the request"),
    ("/v2/cudasharedmemory", "CUDA shared memory is not supported: send the data in the request"),
)
TRACE = "traces over HTTP are not supported: Server-Timing headers, metrics and the log tell where time went"


def absent_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def refuse(path: str, text: str) -> None:
        async def answer() -> Response:
            raise Unsupported(text)

        router.add_api_route(path, answer, methods=["GET", "POST"])

    for prefix, text in ABSENT:
        for word in ("status", "register", "unregister"):
            refuse(f"{prefix}/{word}", text)
            refuse(f"{prefix}/region/{{name:path}}/{word}", text)
    refuse("/v2/trace/setting", TRACE)
    refuse("/v2/models/{name:path}/trace/setting", TRACE)
    return router
