"""The model repository extension: index, load, unload."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from ziggurat.errors import InvalidArgument, NotFound
from ziggurat.http.access import check_admin
from ziggurat.http.documents import flag, json_response, parameters, read_document

if TYPE_CHECKING:
    from ziggurat.serving.control import Control
    from ziggurat.settings import Settings

FILE = "file:"  # what the name of a parameter that carries a file begins with


def repository_router(control: Control, settings: Settings) -> APIRouter:
    router = APIRouter(prefix="/v2/repository", tags=["repository"])

    @router.post("/index")
    @router.post("/{repository}/index", include_in_schema=False)
    async def index(request: Request, repository: str = "") -> Response:
        _check_repository(repository)
        document = await read_document(request, settings.limits)
        return json_response(await control.index(flag(document, "ready")))

    @router.post("/models/{name:path}/load")
    @router.post("/{repository}/models/{name:path}/load", include_in_schema=False)
    async def load(request: Request, name: str, repository: str = "") -> Response:
        check_admin(request, settings.server.admin)
        _check_repository(repository)
        wanted = parameters(await read_document(request, settings.limits))
        await control.load(name, _config(wanted), _files(wanted))
        return Response(status_code=200)

    @router.post("/models/{name:path}/unload")
    @router.post("/{repository}/models/{name:path}/unload", include_in_schema=False)
    async def unload(request: Request, name: str, repository: str = "") -> Response:
        check_admin(request, settings.server.admin)
        _check_repository(repository)
        flag(parameters(await read_document(request, settings.limits)), "unload_dependents")
        await control.unload(name)
        return Response(status_code=200)

    return router


def _check_repository(name: str) -> None:
    if name:
        raise NotFound(f"unknown repository '{name}': there is one, which has no name")


def _config(wanted: dict[str, Any]) -> str | None:
    unknown = [key for key in wanted if key != "config" and not key.startswith(FILE)]
    if unknown:
        raise InvalidArgument(f"unknown parameter '{unknown[0]}': known are 'config' and '{FILE}<version>/model.onnx'")
    value = wanted.get("config")
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(f"'config' must be a string that holds JSON, got {type(value).__name__}")
    return value


def _files(wanted: dict[str, Any]) -> dict[str, bytes]:
    files = {}
    for key, value in wanted.items():
        if not key.startswith(FILE):
            continue
        if not isinstance(value, str):
            raise InvalidArgument(f"'{key}' must be a string of base64, got {type(value).__name__}")
        try:
            files[key.removeprefix(FILE)] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidArgument(f"'{key}' is not base64: {error}") from None
    return files
