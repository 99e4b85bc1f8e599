"""Fields that several requests share, as clients write them, with their limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Chance = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stops = Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], Field(max_length=16)]
TokenIds = Annotated[list[int], Field(max_length=1 << 20)]


class Body(BaseModel):
    """A request: wrong types are errors, unknown fields are kept apart to be counted."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


class Part(BaseModel):
    """Something inside a request; what else it holds means nothing here."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())


class StreamOptions(Part):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class StructuredOutputs(Part):
    """vLLM's way to ask for structure; exactly one may be given."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    json_schema: dict[str, Any] | str | bool | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: Annotated[list[str], Field(min_length=1)] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class Sampling(Body):
    """What completions and chat have in common."""

    model: str | None = Field(default=None, description="A model's name; may be left out where there is only one.")
    max_tokens: int | None = Field(default=None, ge=0)
    min_tokens: int = Field(default=0, ge=0)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Chance | None = None
    top_k: int | None = Field(default=None, ge=-1)
    min_p: Chance | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    allowed_token_ids: Annotated[TokenIds, Field(min_length=1)] | None = None
    bad_words: list[str] | None = None
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | Stops | None = None
    stop_token_ids: Annotated[list[int], Field(max_length=256)] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    prompt_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    priority: int = Field(default=0, ge=-(1 << 31), le=(1 << 31) - 1)
    cache_salt: str | None = None
    return_token_ids: bool | None = None
    timeout: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Seconds that the whole answer may take; the server has a limit of its own."
    )
    request_id: str | None = None
    user: str | None = None

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def continuous_usage(self) -> bool:
        return self.include_usage and self.stream_options is not None and self.stream_options.continuous_usage_stats


class JsonSchema(Part):
    name: str | None = None
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
