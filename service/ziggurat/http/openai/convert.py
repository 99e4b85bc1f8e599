"""Requests as clients write them to what the engine is asked; what contradicts itself or cannot be kept is refused."""

from __future__ import annotations

from typing import Any

from ziggurat.http.openai.bodies import ChatBody, CompletionBody, GenerateBody, GenerateParameters
from ziggurat.http.openai.fields import ResponseFormat, Sampling, StructuredOutputs
from ziggurat.http.openai.problems import BadField
from ziggurat.serving.generation.request import Generation, Structure

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's
DEFAULT_GENERATE_TOKENS = 20  # the Open Inference Protocol's
SEEDS = 1 << 64


def of_completion(body: CompletionBody) -> Generation:
    if body.suffix is not None:
        raise BadField("suffix", "suffix: text before a given ending is not supported")
    limit = DEFAULT_COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
    wanted = body.logprobs
    return _generation(
        body,
        max_tokens=limit,  # 0 asks for the prompt's log probabilities alone
        logprobs=wanted,
        prompt_logprobs=body.prompt_logprobs if not body.echo or wanted is None else wanted,
        structure=structure_of(body, body.response_format),
    )


def of_chat(body: ChatBody) -> Generation:
    if body.top_logprobs is not None and not body.logprobs:
        raise BadField("top_logprobs", "top_logprobs needs logprobs: true")
    if body.max_tokens is not None and body.max_completion_tokens not in (None, body.max_tokens):
        raise BadField("max_tokens", "max_tokens and max_completion_tokens say different things")
    limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    if limit == 0:
        raise BadField("max_tokens", "max_tokens: at least one token has to be asked for")
    return _generation(
        body,
        max_tokens=limit,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        prompt_logprobs=body.prompt_logprobs,
        structure=structure_of(body, body.response_format),
    )


def of_generate(body: GenerateBody) -> Generation:
    wanted = body.parameters or GenerateParameters()
    return Generation(
        max_tokens=wanted.max_tokens or DEFAULT_GENERATE_TOKENS,
        min_tokens=wanted.min_tokens,
        temperature=1.0 if wanted.temperature is None else wanted.temperature,
        top_p=wanted.top_p or 1.0,
        top_k=_top_k(wanted.top_k, wanted.top_p),
        repetition_penalty=wanted.repetition_penalty or 1.0,
        presence_penalty=wanted.presence_penalty or 0.0,
        frequency_penalty=wanted.frequency_penalty or 0.0,
        seed=None if wanted.seed is None else wanted.seed % SEEDS,
        stop=_stops(wanted.stop),
        ignore_eos=wanted.ignore_eos,
        logprobs=0 if wanted.details else None,
    )


def _generation(body: Sampling, **more: Any) -> Generation:
    n = body.n or 1
    if body.best_of not in (None, n):
        raise BadField("best_of", "best_of: choosing the best of more answers than are returned is not supported")
    if body.bad_words:
        raise BadField("bad_words", "bad_words is not supported; logit_bias forbids single tokens")
    if body.stream_options is not None and not body.stream:
        raise BadField("stream_options", "stream_options is for streams: set stream: true")
    if body.stream and body.prompt_logprobs is not None:
        raise BadField("prompt_logprobs", "prompt_logprobs is for answers in one piece, not for streams")
    return Generation(
        min_tokens=body.min_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=_top_k(body.top_k, body.top_p),
        top_p=body.top_p or 1.0,
        min_p=body.min_p or 0.0,
        repetition_penalty=body.repetition_penalty or 1.0,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=_bias(body.logit_bias),
        seed=None if body.seed is None else body.seed % SEEDS,
        n=n,
        stop=_stops(body.stop),
        stop_token_ids=tuple(body.stop_token_ids or ()),
        include_stop=body.include_stop_str_in_output,
        ignore_eos=body.ignore_eos,
        skip_special=body.skip_special_tokens,
        priority=body.priority,
        salt=(body.cache_salt or "").encode(),
        timeout=body.timeout,
        **more,
    )


def _top_k(top_k: int | None, top_p: float | None) -> int:
    """-1 and 0 mean all tokens; top_p 0 leaves the most likely one, which is top_k 1."""
    return 1 if top_p == 0 else max(top_k or 0, 0)


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _bias(bias: dict[str, float] | None) -> dict[int, float] | None:
    if not bias:
        return None
    wrong = next((key for key in bias if not (key.isdecimal() and key.isascii() and len(key) < 10)), None)
    if wrong is not None:
        raise BadField("logit_bias", f"logit_bias: keys are token ids, got '{wrong}'")
    return {int(key): value for key, value in bias.items()}


def structure_of(body: Sampling, response_format: ResponseFormat | None) -> Structure | None:
    """What the text must be; raises where it is asked for in more than one way."""
    found = [
        *_of_response_format(response_format),
        *_of_structured_outputs(body.structured_outputs),
        *_of_guided(body),
    ]
    if body.allowed_token_ids:
        found.append(("allowed_token_ids", Structure("tokens", tuple(body.allowed_token_ids))))
    if len(found) > 1:
        raise BadField(found[1][0], f"{found[0][0]} and {found[1][0]} both say what the text must be: give one")
    return found[0][1] if found else None


Found = list[tuple[str, Structure]]


def _of_response_format(wanted: ResponseFormat | None) -> Found:
    if wanted is None or wanted.type == "text":
        return []
    if wanted.type == "json_object":
        return [("response_format", Structure("json_object"))]
    if wanted.json_schema is None or wanted.json_schema.json_schema is None:
        raise BadField("response_format", "response_format: type json_schema needs json_schema.schema")
    return [("response_format", Structure("json", wanted.json_schema.json_schema))]


def _of_structured_outputs(wanted: StructuredOutputs | None) -> Found:
    if wanted is None:
        return []
    values: list[tuple[Any, Structure]] = [
        (wanted.json_schema, Structure("json", wanted.json_schema)),
        (wanted.regex, Structure("regex", wanted.regex)),
        (wanted.choice, Structure("choice", wanted.choice)),
        (wanted.grammar, Structure("grammar", wanted.grammar)),
        (wanted.json_object or None, Structure("json_object")),
    ]
    found = [("structured_outputs", structure) for value, structure in values if value is not None]
    if len(found) != 1:
        raise BadField("structured_outputs", "structured_outputs: give exactly one of json, regex, choice, grammar")
    return found


def _of_guided(body: Sampling) -> Found:
    """vLLM's older names."""
    structures: list[tuple[str, Any, Structure]] = [
        ("guided_json", body.guided_json, Structure("json", body.guided_json)),
        ("guided_regex", body.guided_regex, Structure("regex", body.guided_regex)),
        ("guided_choice", body.guided_choice, Structure("choice", body.guided_choice)),
        ("guided_grammar", body.guided_grammar, Structure("grammar", body.guided_grammar)),
    ]
    return [(name, structure) for name, value, structure in structures if value is not None]
