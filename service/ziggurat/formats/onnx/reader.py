"""read_onnx: one ONNX model from a file or from bytes into a graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
import onnx.checker
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ziggurat.errors import InvalidArgument, InvalidModel, Unsupported
from ziggurat.formats.onnx import sniff
from ziggurat.formats.onnx.builder import Builder
from ziggurat.formats.onnx.external import ExternalData
from ziggurat.formats.onnx.functions import opset_versions
from ziggurat.formats.onnx.graph import import_graph
from ziggurat.formats.onnx.importer import FunctionKey, Importer, plain_domain
from ziggurat.formats.onnx.schemas import NEWEST
from ziggurat.formats.onnx.scope import Scope
from ziggurat.formats.onnx.tensors import Tensors
from ziggurat.formats.onnx.text import check_names
from ziggurat.formats.onnx.unknown import refuse_unknown_operators
from ziggurat.formats.onnx.walker import Skeleton, walk
from ziggurat.formats.source import Buffer, FileSource, Source, open_source

NEWEST_IR = 14
# The checker parses the whole model again; its findings are not worth seconds.
MAX_CHECKED_BYTES = 4 << 20
_HEAD_BYTES = 512


@dataclass(frozen=True)
class Imported:
    """`graph` is what the builder's finish() gave; `warnings` are for the user to see, the model runs."""

    graph: Any
    warnings: list[str]


def read_onnx(
    source: str | os.PathLike[str] | Buffer, new_builder: Callable[[str], Builder], *, check: bool = True
) -> Imported:
    """Reads a model.

    Args:
        source: a path, or the model's bytes (then it cannot have external data).
        new_builder: makes an empty graph of a name; `ziggurat._native.GraphBuilder`.
        check: also collect the findings of the `onnx` package's checker, for models of a few megabytes.

    Raises:
        NotFound: the file does not exist.
        InvalidModel: the file is not ONNX, is corrupt, or describes no valid graph.
        Unsupported: valid, but too new, too old, or with operators that this build does not have.
    """
    with open_source(source) as opened:
        skeleton, model = _parse(opened)
        external = ExternalData(opened.given if isinstance(opened, FileSource) else None)
        try:
            imported = _import(model, Tensors(opened, skeleton, external), new_builder)
        except InvalidArgument as error:
            # The builder's arithmetic does not know that its arguments came from a file.
            raise InvalidModel(error.message, node=error.node, op=error.op, tensor=error.tensor) from None
        if check and opened.size <= MAX_CHECKED_BYTES and not _has_external_data(model):
            imported.warnings.extend(_findings(opened))
        return imported


def _parse(source: Source) -> tuple[Skeleton, Any]:
    head = bytes(source.read(0, min(_HEAD_BYTES, source.size)))
    what = sniff.describe(head, source.size)
    if what is not None:
        raise InvalidModel(f"not an ONNX model: the file is {what}")
    model = onnx.ModelProto()
    try:
        skeleton = walk(source)
        model.ParseFromString(skeleton.data)
    except DecodeError:
        raise _not_onnx(head, "the file is not valid protobuf") from None
    except InvalidModel as error:
        raise _not_onnx(head, str(error)) from None
    if not skeleton.has_graph:
        raise _not_onnx(head, "the file has no graph")
    return skeleton, model


def _not_onnx(head: bytes, problem: str) -> InvalidModel:
    text = sniff.describe_text(head)
    return InvalidModel(f"not an ONNX model: {f'the file is {text}' if text else problem}")


def _import(model: Any, tensors: Tensors, new_builder: Callable[[str], Builder]) -> Imported:
    check_names(model)
    opsets = _versions(model)
    importer = Importer(tensors, _functions(model))
    builder = new_builder(model.graph.name)
    refuse_unknown_operators(model.graph, opsets, importer.functions, importer.catalog, builder)
    import_graph(importer, model.graph, Scope(builder, opsets))
    return Imported(builder.finish(), importer.warnings)


def _versions(model: Any) -> dict[str, int]:
    """The opset imports. Those before OLDEST are left to each op: many have not changed since the first."""
    if model.ir_version < 1:
        raise InvalidModel("the model has no IR version")
    if model.ir_version > NEWEST_IR:
        raise Unsupported(f"the model has IR version {model.ir_version}, the newest supported one is {NEWEST_IR}")
    opsets = opset_versions(model.opset_import)
    # Before IR version 3 there were no imports, and opset 1 was meant.
    _check_range(opsets.get("", 1 if model.ir_version < 3 else None), "the model")
    for function in model.functions:
        _check_range(opset_versions(function.opset_import).get(""), f"function {function.domain}.{function.name}")
    return opsets


def _check_range(version: int | None, who: str) -> None:
    if version is None:
        return
    if version < 1:
        raise InvalidModel(f"{who} uses opset {version} of ai.onnx")
    if version > NEWEST:
        raise Unsupported(f"{who} uses opset {version} of ai.onnx, the newest supported one is {NEWEST}")


def _functions(model: Any) -> dict[FunctionKey, Any]:
    functions: dict[FunctionKey, Any] = {}
    for function in model.functions:
        key = (plain_domain(function.domain), function.name, function.overload)
        if key in functions:
            raise InvalidModel(f"function {function.domain}.{function.name} is defined twice")
        functions[key] = function
    return functions


def _has_external_data(model: Any) -> bool:
    return any(tensor.external_data for tensor in model.graph.initializer)


def _findings(source: Source) -> list[str]:
    try:
        onnx.checker.check_model(bytes(source.read(0, source.size)))
    except onnx.checker.ValidationError as error:
        return [f"onnx.checker: {' '.join(str(error).split())[:500]}"]
    except (RuntimeError, ValueError, TypeError, DecodeError) as error:
        return [f"onnx.checker failed: {error}"[:500]]
    return []
