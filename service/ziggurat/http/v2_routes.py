"""The V2 routes beside inference: health, server and model metadata, model readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Response

from ziggurat.errors import Unavailable
from ziggurat.http.datatypes import BY_ENGINE, NO_TENSORS
from ziggurat.http.documents import json_response
from ziggurat.serving.registry import State
from ziggurat.version import __version__

if TYPE_CHECKING:
    from ziggurat.serving.registry import Status
    from ziggurat.serving.serving import Serving
    from ziggurat.types import TensorSpec

# What works here, under Triton's names; a test asks for each of them.
EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
]


def health_router(serving: Serving) -> APIRouter:
    """Public, and says nothing but the state."""
    router = APIRouter(tags=["health"])

    @router.get("/health")
    @router.get("/v2/health/live")
    async def live() -> Response:
        is_live = serving.live()
        return json_response({"live": is_live}, 200 if is_live else 503)

    @router.get("/v2/health/ready")
    async def ready() -> Response:
        is_ready = serving.ready()
        return json_response({"ready": is_ready}, 200 if is_ready else 503)

    return router


def model_router(serving: Serving, server_name: str) -> APIRouter:
    router = APIRouter(tags=["v2"])

    @router.get("/v2")
    @router.get("/v2/", include_in_schema=False)
    async def server_metadata() -> Response:
        return json_response({"name": server_name, "version": __version__, "extensions": EXTENSIONS})

    @router.get("/v2/models")
    async def list_models() -> Response:
        return json_response({"models": serving.registry.names()})

    # A name may contain "/", so the longer path has to be tried first: of stacked decorators that is the lower one.
    @router.get("/v2/models/{name:path}/ready")
    @router.get("/v2/models/{name:path}/versions/{version}/ready")
    async def model_ready(name: str, version: str | None = None) -> Response:
        serving.registry.find(name, version).check_ready()
        if serving.draining:
            raise Unavailable("the server is stopping")
        return json_response({"name": name, "ready": True})

    @router.get("/v2/models/{name:path}")
    @router.get("/v2/models/{name:path}/versions/{version}")
    async def model_metadata(name: str, version: str | None = None) -> Response:
        if name.endswith("/infer"):  # no model can be called so: it is the POST route, asked for by GET
            raise HTTPException(405, "Method Not Allowed", {"allow": "POST"})
        return json_response(metadata(serving, name, version))

    return router


def metadata(serving: Serving, name: str, version: str | None) -> dict[str, Any]:
    status = serving.registry.find(name, version).check_ready()
    versions = serving.registry.versions(name)
    inputs, outputs = tensors_of(status)
    return {
        "name": name,
        "versions": [key for key, entry in versions.items() if entry.status.state is State.READY],
        "platform": "onnx_onnxv1" if status.model is not None else "ziggurat_language_model",
        "inputs": inputs,
        "outputs": outputs,
    }


# What generate and generate_stream take and give, in V2's words.
LANGUAGE_INPUTS = [{"name": "text_input", "datatype": "BYTES", "shape": [1]}]
LANGUAGE_OUTPUTS = [{"name": "text_output", "datatype": "BYTES", "shape": [1]}]


def tensors_of(status: Status) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs of a model that is ready, as V2 describes them; none of one that is not."""
    if status.model is not None:
        return [describe(spec) for spec in status.model.inputs], [describe(spec) for spec in status.model.outputs]
    return (LANGUAGE_INPUTS, LANGUAGE_OUTPUTS) if status.language is not None else ([], [])


def describe(spec: TensorSpec) -> dict[str, Any]:
    """A tensor as V2 tells it: -1 for a dimension that varies, and where not even the rank is known."""
    shape = [-1] if spec.shape is None else [-1 if extent is None else extent for extent in spec.shape]
    name = spec.dtype.upper() if spec.dtype in NO_TENSORS else BY_ENGINE[spec.dtype].name
    return {"name": spec.name, "datatype": name, "shape": shape}
