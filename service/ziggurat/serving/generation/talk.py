"""Conversations: messages become a prompt by the model's template; what the model says becomes content, reasoning and
tool calls again, the same whether it is read at once or as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument
from ziggurat.serving.generation.messages import checked_messages
from ziggurat.serving.generation.structure import constraint_for
from ziggurat.serving.generation.tools import ToolChoice, call_structure, strict_structure
from ziggurat.text.deltas import Delta, ToolCall
from ziggurat.text.reasoning import ReasoningSplitter
from ziggurat.text.tool_parser import ToolParser

if TYPE_CHECKING:
    from ziggurat.serving.generation.request import Generation
    from ziggurat.serving.generation.service import LanguageService
    from ziggurat.serving.generation.stream import Stream

MAX_CALLS = 128  # of one message
RESERVED = frozenset(("tokenizer", "messages", "tools", "add_generation_prompt", "continue_final_message"))
PROMPT_END = 16  # tokens of a prompt's end, which tell whether it opened the model's thoughts


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What is to be answered, and how the answer is to be read."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    choice: ToolChoice = field(default_factory=ToolChoice)
    parallel: bool = True
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    async def begin(self, service: LanguageService, wanted: Generation, arrived: float) -> Stream:
        """Renders, and queues what is to be said. Raises whatever is wrong with messages, tools or template."""
        service.limits.check()
        structure = wanted.structure
        if self.choice.forced:
            if structure is not None:
                raise InvalidArgument("tool_choice asks for a call, and the format for something else: give one")
            structure = call_structure(service, self.choice, self.tools, self.parallel)
        elif structure is None and self._has_tools:
            structure = strict_structure(service, self.tools, self.parallel)
        prompt = await service.texts.work(lambda: self.prompt(service))
        thoughts = _open_thoughts(service, prompt)
        constraint = constraint_for(service, structure, thoughts)
        return await service.generate(
            [prompt], wanted, arrived=arrived, constraint=constraint, keep=self._marks(service)
        )

    def prompt(self, service: LanguageService) -> list[int]:
        """The token ids that the model reads; takes milliseconds."""
        template = service.template
        if self.template is not None:
            raise InvalidArgument("chat_template: templates in requests are not accepted, only the model's own")
        if template is None:
            raise InvalidArgument(
                f"model '{service.name}' has no chat template, so it cannot hold conversations: use completions"
            )
        taken = RESERVED.intersection(self.kwargs)
        if taken:
            raise InvalidArgument(f"chat_template_kwargs: '{min(taken)}' is said elsewhere in the request")
        return template.prompt(
            service.texts.tokenizer,
            checked_messages(self.messages),
            list(self.tools) if self._has_tools else None,
            add_generation_prompt=self.add_generation_prompt,
            continue_final_message=self.continue_final_message,
            **self.kwargs,
        )

    def talk(self, service: LanguageService, prompt: Sequence[int]) -> Talk:
        """What reads one choice."""
        parser = service.tool_parser() if self._has_tools else None
        return Talk(parser, service.splitter(_end_of(service, prompt)), self.parallel)

    @property
    def _has_tools(self) -> bool:
        return bool(self.tools) and self.choice.kind != "none"

    def _marks(self, service: LanguageService) -> list[int]:
        """Special tokens that a reader has to see."""
        parser, splitter = service.tool_parser() if self._has_tools else None, service.splitter("")
        marks = [*(parser.markers if parser is not None else ()), *(splitter.markers if splitter is not None else ())]
        found = [service.texts.tokenizer.token_id(mark) for mark in marks]
        return [token for token in found if token is not None]


def _end_of(service: LanguageService, prompt: Sequence[int]) -> str:
    return service.texts.tokenizer.decode(prompt[-PROMPT_END:], skip_special=False)


def _open_thoughts(service: LanguageService, prompt: Sequence[int]) -> str | None:
    """The mark that ends the model's thoughts, where the prompt has begun them: until then no form holds."""
    splitter = service.splitter("")
    if splitter is None:
        return None
    start, end = splitter.markers
    return end if _end_of(service, prompt).rstrip().endswith(start) else None


class Talk:
    """One choice's text, read as it comes. What it is in the end does not depend on how it was cut."""

    def __init__(self, tools: ToolParser | None, splitter: ReasoningSplitter | None, parallel: bool) -> None:
        self.content: str | None = None
        self.reasoning: str | None = None
        self.reasoning_tokens = 0
        self.calls: list[ToolCall] = []
        self._tools = tools
        self._splitter = splitter
        self._most = MAX_CALLS if parallel else 1

    def push(self, text: str) -> list[Delta]:
        """What one token's text adds to the message."""
        deltas = self._keep(self._split(text))
        self.reasoning_tokens += any(delta.reasoning for delta in deltas)
        return deltas

    def finish(self) -> list[Delta]:
        """What was held back."""
        held = self._splitter.finish() if self._splitter is not None else []
        last = [one for delta in held for one in self._parse(delta)]
        return self._keep([*last, *(self._tools.finish() if self._tools is not None else [])])

    def finish_reason(self, reason: str | None) -> str | None:
        return "tool_calls" if reason == "stop" and self.calls else reason

    def _split(self, text: str) -> list[Delta]:
        if not text:
            return []
        parts = self._splitter.push(text) if self._splitter is not None else [Delta(content=text)]
        return [one for delta in parts for one in self._parse(delta)]

    def _parse(self, delta: Delta) -> list[Delta]:
        return self._tools.push(delta.content) if self._tools is not None and delta.content else [delta]

    def _keep(self, deltas: Sequence[Delta]) -> list[Delta]:
        kept = [delta for delta in deltas if delta.call is None or delta.call.index < self._most]
        for delta in kept:
            if delta.content:
                self.content = (self.content or "") + delta.content
            if delta.reasoning:
                self.reasoning = (self.reasoning or "") + delta.reasoning
            if (call := delta.call) is not None:
                if call.name is not None:
                    self.calls.append(ToolCall(call.id or "", call.name))
                self.calls[call.index].arguments += call.arguments
        return kept
