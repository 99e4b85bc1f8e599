"""What a client wants generated, in the words of the engine; what contradicts itself is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ziggurat.errors import InvalidArgument

StructureKind = Literal["json", "json_object", "regex", "grammar", "choice", "tokens", "tools"]


@dataclass(frozen=True, slots=True)
class Structure:
    """What the text must be: `value` is a JSON schema, a regular expression, a grammar, choices, token ids or
    the calls of tools (CallForm)."""

    kind: StructureKind
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How to continue a prompt.

    Attributes:
        max_tokens: None is all that the context has room for.
        logprobs: None for none, else how many alternatives beside the chosen token.
        stop: texts that end it; `include_stop` leaves the one that did in the text.
        skip_special: special tokens do not show in the text.
        priority: lower ones go first, as vLLM has it.
        salt: prompts share cached prefixes only with prompts of the same salt.
        timeout: seconds from arrival to the last token; None leaves it to the server.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    skip_special: bool = True
    structure: Structure | None = None
    priority: int = 0
    salt: bytes = b""
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidArgument(f"min_tokens ({self.min_tokens}) is above max_tokens ({self.max_tokens})")
        if self.structure is not None and (self.ignore_eos or self.min_tokens):
            what = "ignore_eos" if self.ignore_eos else "min_tokens"
            raise InvalidArgument(f"{what} contradicts structured output, which says itself where the text ends")
        if any(not text for text in self.stop):
            raise InvalidArgument("stop: an empty text would end every answer at once")

    def options(self) -> dict[str, Any]:
        """The keywords of Generator.add; stop texts and structure are the caller's business."""
        return {
            **({} if self.max_tokens is None else {"max_tokens": self.max_tokens}),
            "min_tokens": self.min_tokens,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": dict(self.logit_bias) if self.logit_bias else None,
            "seed": self.seed,
            "n": self.n,
            "logprobs": self.logprobs,
            "prompt_logprobs": self.prompt_logprobs,
            "stop_token_ids": self.stop_token_ids,
            "ignore_eos": self.ignore_eos,
            "priority": -self.priority,  # the engine takes the highest first
            "salt": self.salt,
        }
