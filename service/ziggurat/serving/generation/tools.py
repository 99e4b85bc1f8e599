"""Tool calls that a request insists on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ziggurat.errors import InvalidArgument
from ziggurat.serving.generation.request import Structure
from ziggurat.text.call_forms import CallForm

if TYPE_CHECKING:
    from ziggurat.serving.generation.service import LanguageService


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may, must or must not call, and which tool it must."""

    kind: Literal["none", "auto", "required", "named"] = "none"
    name: str | None = None

    @property
    def forced(self) -> bool:
        return self.kind in ("required", "named")


def call_structure(
    service: LanguageService, choice: ToolChoice, tools: Sequence[Mapping[str, Any]], parallel: bool
) -> Structure:
    """At least one call of a tool that is there, with arguments by its schema, in the format of the model's template.

    Raises InvalidArgument where the template has no calls, or a schema cannot be enforced.
    """
    parser = service.tool_parser()
    if parser is None or service.template is None:
        raise InvalidArgument(f"model '{service.name}' has no format for tool calls, so none can be insisted on")
    shape = CallForm.shape_for(parser.name, service.template.source)
    return Structure("tools", CallForm.of(shape, tools, choice.name, parallel))


def strict_structure(service: LanguageService, tools: Sequence[Mapping[str, Any]], parallel: bool) -> Structure | None:
    """What holds where the model may call or not: arguments of `strict` functions by their schemas. None where no
    function is strict, or the template writes no calls. Raises InvalidArgument where a schema cannot be enforced."""
    parser = service.tool_parser()
    if parser is None or service.template is None:
        return None
    form = CallForm.of_strict(CallForm.shape_for(parser.name, service.template.source), tools, parallel)
    return None if form is None else Structure("tools", form)
