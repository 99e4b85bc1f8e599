"""Grammars of tool calls: what `tool_choice` demands, in the format that the model writes and tool_formats reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument
from ziggurat.text.schema_rules import check_schema, tightened

if TYPE_CHECKING:
    from ziggurat.text.tokenizer import Tokenizer

MAX_TOOLS = 512


@dataclass(frozen=True)
class _Shape:
    """How a format writes calls; `{}` stands for the name, special tokens stand alone as items."""

    begin: tuple[str, ...]  # before the first call
    head: tuple[str, ...]  # of each call, up to the arguments
    tail: tuple[str, ...]
    between: tuple[str, ...]
    end: tuple[str, ...]


_SHAPES = {
    "hermes": _Shape(
        (), ("<tool_call>", '\n{"name": {}, "arguments": '), ("}\n", "</tool_call>"), ("\n",), ()
    ),
    "llama3": _Shape((), ('{"name": {}, "parameters": ',), ("}",), ("; ",), ()),
    "mistral": _Shape(("[TOOL_CALLS]", " ["), ('{"name": {}, "arguments": ',), ("}",), (", ",), ("]",)),
    "mistral-args": _Shape((), ("[TOOL_CALLS]", "{}", "[ARGS]"), (), (), ()),
}  # fmt: skip


@dataclass(frozen=True)
class CallForm:
    """Calls of the given functions, at least one, and nothing else; or, where text is `free`, any text that may end in
    such calls: from the mark that begins a call on, the form holds.

    Attributes:
        shape: hermes, llama3, mistral, or mistral-args for `[TOOL_CALLS]name[ARGS]{…}`.
        functions: Names with the JSON schemas of their arguments.
        parallel: More than one call may be made.
        free: Text may come instead, or before.
    """

    shape: str
    functions: tuple[tuple[str, Mapping[str, Any]], ...]
    parallel: bool = True
    free: bool = False

    @classmethod
    def of(
        cls, shape: str, tools: Sequence[Mapping[str, Any]], name: str | None = None, parallel: bool = True
    ) -> CallForm:
        """From the API's list of tools; only function `name` where one is given.

        Raises:
            InvalidArgument: No such function, tools that are none, or schemas that cannot be enforced.
        """
        if shape not in _SHAPES:
            raise InvalidArgument(f"calls in the format '{shape}' cannot be enforced")
        functions = [_function(i, tool) for i, tool in enumerate(tools)]
        chosen = [(known, schema) for known, schema in functions if name in (None, known)]
        if not chosen:
            raise InvalidArgument(
                f"there is no tool '{name}'" if name else "a call is required, but there are no tools"
            )
        if len(chosen) > MAX_TOOLS:
            raise InvalidArgument(f"{len(chosen)} tools; {MAX_TOOLS} is the limit where a call is required")
        return cls(shape, tuple(chosen), parallel)

    @classmethod
    def of_strict(cls, shape: str, tools: Sequence[Mapping[str, Any]], parallel: bool = True) -> CallForm | None:
        """What a choice of the model's own leaves of tools: text, or calls in which functions that are `strict` get
        arguments by their schemas and others any object. None where no function is strict.

        Raises:
            InvalidArgument: As `of`.
        """
        if not any(_is_strict(tool) for tool in tools):
            return None
        loose = [tool if _is_strict(tool) else _without_schema(tool) for tool in tools]
        form = cls.of(shape, loose, None, parallel)
        return cls(form.shape, form.functions, parallel, free=True)

    @staticmethod
    def shape_for(parser: str, template: str) -> str:
        """What `template` writes for the parser of that name: Mistral's newer templates write `[ARGS]`."""
        return "mistral-args" if parser == "mistral" and "[ARGS]" in template else parser

    def grammar(self, tokenizer: Tokenizer) -> str:
        """Lark for llguidance."""
        shape = _SHAPES[self.shape]

        def write(parts: tuple[str, ...]) -> str:
            return " ".join(terminal(part, tokenizer) for part in parts)

        more = f" ({write(shape.between)} call)*" if self.parallel else ""
        calls = f"{write(shape.begin)} call{more} {write(shape.end)}"
        lines = ["%llguidance {}", *(self._free(calls, more, tokenizer) if self.free else [f"start: {calls}"])]
        lines.append("call: " + " | ".join(f"call_{i}" for i in range(len(self.functions))))
        for i, (name, schema) in enumerate(self.functions):
            written = name if self.shape == "mistral-args" else json.dumps(name, ensure_ascii=False)
            head = tuple(part.replace("{}", written) for part in shape.head)
            rest = f"arguments_{i} {write(shape.tail)}"
            lines.append(f"call_{i}: {write(head)} {rest}")
            if self.free and not shape.begin:
                lines.append(f"begun_{i}: {write(head[1:])} {rest}")
            lines.append(f"arguments_{i}: %json {json.dumps(schema)}")
        return "\n".join(lines)

    def _free(self, calls: str, more: str, tokenizer: Tokenizer) -> list[str]:
        """The start of a grammar in which the model may say something first, or nothing but that."""
        shape = _SHAPES[self.shape]
        if self.shape == "llama3":  # calls have no mark: a message that begins like one is one
            return [f"start: TEXT? | {calls}", r"TEXT: /[ \t\r\n]*[^{ \t\r\n](.|\n)*/"]
        mark = terminal((*shape.begin, *shape.head)[0], tokenizer)
        if mark.startswith("<["):  # a token of its own, which no text holds
            return [f"start: TEXT? ({calls})?", "TEXT: /(.|\\n)+/"]
        if shape.begin:
            follow = " ".join([*(terminal(part, tokenizer) for part in shape.begin[1:]), f"call{more}"])
            follow += " " + " ".join(terminal(part, tokenizer) for part in shape.end)
        else:
            follow = "(" + " | ".join(f"begun_{i}" for i in range(len(self.functions))) + f"){more}"
        inside = re.escape(json.loads(mark)).replace("/", r"\/")
        return [
            f"start: TEXT? | before {follow}",
            rf"TEXT: /(.|\n)+/ & ~/(.|\n)*{inside}(.|\n)*/",
            rf"before[lazy]: /(.|\n)*/ {mark}",
        ]


def terminal(text: str, tokenizer: Tokenizer) -> str:
    """Lark for a fixed text: its token where that is a special one, which no spelling out can make."""
    token = tokenizer.token_id(text)
    if token is not None and token in tokenizer.special_ids:
        return f"<[{token}]>"
    return json.dumps(text, ensure_ascii=False) if text else ""


def _is_strict(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return isinstance(function, Mapping) and function.get("strict") is True


def _without_schema(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    return {**tool, "function": {**function, "parameters": {"type": "object"}}}


def _function(index: int, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    from ziggurat.text.grammars import JSON_OPTIONS

    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InvalidArgument(f"tools[{index}] has no function with a name")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    try:
        check_schema(schema)
    except InvalidArgument as error:
        raise InvalidArgument(f"tools[{index}].function.parameters: {error.message}") from None
    if schema.get("type", "object") != "object":
        raise InvalidArgument(f"tools[{index}].function.parameters: arguments are an object, not {schema['type']!r}")
    return function["name"], {"type": "object", **tightened(schema), "x-guidance": JSON_OPTIONS}
