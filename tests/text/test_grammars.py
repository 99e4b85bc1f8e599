"""Whatever is chosen among the tokens that a mask allows, the text is of the form; what cannot be is refused."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.text import vocabularies
from tests.text.schemas import SCHEMAS, closed
from ziggurat.errors import InvalidArgument
from ziggurat.text import AssistantMessage, Constraint, Grammars, Tokenizer, ToolParser
from ziggurat.text.call_forms import CallForm

PADDING = 50  # rows of the model past the last token


@cache
def grammars(kind: str = "byte_level") -> Grammars:
    tokenizer = Tokenizer.from_gguf(getattr(vocabularies, kind)())
    return Grammars(tokenizer.fit(tokenizer.vocab_size + PADDING))


def allowed(known: Grammars, constraint: Constraint) -> list[int]:
    row = np.full(known.words, 0xFFFFFFFF, np.uint32)
    constraint.mask_into(row)
    return [int(i) for i in np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))]


def walk(known: Grammars, constraint: Constraint, rng: random.Random, free: int = 15, limit: int = 1500) -> str:
    """Chooses tokens at random, after `free` of them such that the text comes to an end soon."""
    tokenizer = known._tokenizer
    quote, braces = tokenizer.token_id('"'), [tokenizer.token_id("}"), tokenizer.token_id("]")]
    quoted = escaped = False  # whether the text so far ends within a string, and there after a backslash
    ids: list[int] = []
    for step in range(limit):
        choices = allowed(known, constraint)
        assert choices, "there is always a way on"
        assert max(choices) < tokenizer.vocab_size - PADDING, "rows without a token are never allowed"
        ends = [token for token in choices if token in tokenizer.stop_ids]
        if ends and (step >= free or len(ends) == len(choices) or rng.random() < 0.3):
            assert constraint.is_accepting()
            constraint.accept(rng.choice(ends))
            return tokenizer.decode(ids)
        closers = [] if step < free else [quote] if quoted else braces
        found = [token for token in closers if token in choices]
        token = found[0] if found else rng.choice([token for token in choices if token not in ends])
        for char in tokenizer.token_text(token):
            quoted = quoted != (char == '"' and not escaped)
            escaped = quoted and char == "\\" and not escaped
        constraint.accept(token)
        ids.append(token)
    raise AssertionError(f"no end after {limit} tokens: {tokenizer.decode(ids)[-200:]!r}")


def validates(schema: Any, text: str) -> bool:
    jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema_rs is not installed")
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    return bool(validator.is_valid(json.loads(text, parse_float=finite)))


def finite(text: str) -> float:
    """A number too large for a float is still a number."""
    return max(-1e308, min(1e308, float(text)))


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("kind", ["byte_level", "sentence_piece"])
def test_every_walk_makes_json_of_the_schema(name: str, kind: str, seed: int) -> None:
    known, schema = grammars(kind), SCHEMAS[name]
    text = walk(known, known.compile(json=schema), random.Random(f"{seed} {name}"))
    assert validates(schema, text), text


def test_fifty_schemas_and_more() -> None:
    assert len(SCHEMAS) >= 50


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["byte_level", "sentence_piece"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_many_walks(name: str, kind: str, seed: int) -> None:
    known, schema = grammars(kind), SCHEMAS[name]
    compiled = known.compile(json=schema)
    for i in range(40):
        text = walk(known, compiled.copy(), random.Random(f"{seed} {name} {i}"), free=10 * (i % 6))
        assert validates(schema, text), text


def test_json_object_is_an_object(seed: int) -> None:
    for i in range(4):
        text = walk(grammars(), grammars().compile(json_object=None), random.Random(seed + i))
        assert isinstance(json.loads(text), dict)


def test_regex_choice_and_grammars(seed: int) -> None:
    known, rng = grammars(), random.Random(seed)
    for _ in range(5):
        assert re.fullmatch(r"[a-c]{2,4}/[0-9]+", walk(known, known.compile(regex=r"[a-c]{2,4}/[0-9]+"), rng))
        assert walk(known, known.compile(choice=["yes", 'no "way"', "maybe \\ ü\n"]), rng) in (
            "yes",
            'no "way"',
            "maybe \\ ü\n",
        )
        gbnf = 'root ::= expr ("+" expr)*\nexpr ::= [0-9]+ | "(" root ")"'
        assert re.fullmatch(r"[0-9+()]+", walk(known, known.compile(grammar=gbnf), rng, free=8))
        lark = 'start: greeting " " NAME\ngreeting: "hi" | "yo"\nNAME: /[A-Z][a-z]{1,5}/'
        assert re.fullmatch(r"(hi|yo) [A-Z][a-z]{1,5}", walk(known, known.compile(grammar=lark), rng))


TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": closed(city={"type": "string"})}},
    {
        "type": "function",
        "function": {
            "name": "sum",
            "parameters": {
                "$defs": {"n": {"type": "integer"}},
                **closed(a={"$ref": "#/$defs/n"}, b={"$ref": "#/$defs/n"}),
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]


@pytest.mark.parametrize("shape", ["hermes", "llama3", "mistral", "mistral-args"])
@pytest.mark.parametrize("name", [None, "sum"])
@pytest.mark.parametrize("parallel", [True, False])
def test_required_calls_are_read_back(shape: str, name: str | None, parallel: bool, seed: int) -> None:
    known = grammars()
    form = known.compile(tools=CallForm.of(shape, TOOLS, name, parallel))
    schemas = {t["function"]["name"]: t["function"].get("parameters", {"type": "object"}) for t in TOOLS}
    for i in range(3):
        text = walk(known, form.copy(), random.Random(seed + i))
        parser = ToolParser.named(shape.partition("-")[0])
        message = AssistantMessage.of(parser.push(text) + parser.finish())
        assert message.content == "" and message.calls, text
        assert parallel or len(message.calls) == 1
        for call in message.calls:
            assert name in (None, call.name)
            assert validates(schemas[call.name], call.arguments), text


MARKS = {"hermes": "<tool_call>", "llama3": '{"name":', "mistral": "[TOOL_CALLS]", "mistral-args": "[TOOL_CALLS]"}
STRICT = [{**tool, "function": {**tool["function"], "strict": i == 1}} for i, tool in enumerate(TOOLS)]


def say(known: Grammars, form: Constraint, text: str) -> None:
    for token in known._tokenizer.encode(text, add_special=False, parse_special=True):
        assert token in allowed(known, form), (text, known._tokenizer.token_text(token))
        form.accept(token)


@pytest.mark.parametrize("special", [False, True], ids=["text", "token"])
@pytest.mark.parametrize("shape", MARKS)
@pytest.mark.parametrize("parallel", [True, False])
def test_a_strict_function_is_bound_once_its_call_begins(shape: str, parallel: bool, special: bool, seed: int) -> None:
    known, mark = marked(MARKS[shape]) if special else grammars(), MARKS[shape]
    free = CallForm.of_strict(shape, STRICT, parallel)
    assert free is not None
    form = known.compile(tools=free)
    ends = set(known._tokenizer.stop_ids)
    said = form.copy()
    say(known, said, "It is <warm> [today], I think; {1}.\nThat <tool_cal is no call. ")
    assert ends <= set(allowed(known, said)), "text alone is an answer"
    for i in range(4):
        called = form.copy()
        lead = "" if shape == "llama3" else "I shall ask. " * (i % 2)
        say(known, called, lead + mark)
        assert not ends & set(allowed(known, called)), "a call that has begun is brought to its end"
        text = lead + mark + walk(known, called, random.Random(seed + i))
        parser = ToolParser.named(shape.partition("-")[0])
        message = AssistantMessage.of(parser.push(text) + parser.finish())
        assert message.content.strip() == lead.strip() and message.calls, text
        for call in message.calls:
            if call.name == "sum":
                assert validates(TOOLS[1]["function"]["parameters"], call.arguments), text
            assert call.name in ("weather", "sum", "now") and isinstance(json.loads(call.arguments), dict)


def marked(mark: str) -> Grammars:
    """A vocabulary in which the mark is a token of its own; the mark of Llama 3 is none."""
    metadata = vocabularies.byte_level()
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    if mark.startswith("{"):
        return grammars()
    metadata = metadata | {"tokenizer.ggml.tokens": [*tokens[:-1], mark]}
    tokenizer = Tokenizer.from_gguf(metadata | {"tokenizer.ggml.token_type": [*types[:-1], vocabularies.CONTROL]})
    return Grammars(tokenizer.fit(tokenizer.vocab_size + PADDING))


def test_functions_that_are_not_strict_bind_nobody() -> None:
    assert CallForm.of_strict("hermes", TOOLS) is None
    loose = [{**TOOLS[0], "function": {**TOOLS[0]["function"], "strict": False}}]
    assert CallForm.of_strict("xml", loose) is None
    with pytest.raises(InvalidArgument, match="'xml' cannot be enforced"):
        CallForm.of_strict("xml", STRICT)
    strict = tool({"not": {}})
    with pytest.raises(InvalidArgument, match=r"tools\[0\].function.parameters: keyword 'not'"):
        CallForm.of_strict("hermes", [{**strict, "function": {**strict["function"], "strict": True}}])


def test_a_mark_that_is_a_special_token_is_that_token() -> None:
    metadata = vocabularies.byte_level()
    types = [*metadata["tokenizer.ggml.token_type"][:-1], vocabularies.CONTROL]
    tokenizer = Tokenizer.from_gguf(metadata | {"tokenizer.ggml.token_type": types})
    known = Grammars(tokenizer)
    form = known.compile(tools=CallForm.of("hermes", TOOLS))
    assert allowed(known, form) == [tokenizer.token_id("<tool_call>")]


def test_a_form_after_thoughts(seed: int) -> None:
    known = grammars()
    form = known.compile(json=closed(a={"type": "integer"}), after="</think>")
    tokenizer = known._tokenizer
    for token in tokenizer.encode("Hm, {\n}.</think>", add_special=False):
        assert token in allowed(known, form)
        form.accept(token)
    assert validates(closed(a={"type": "integer"}), walk(known, form, random.Random(seed)))
    special = known.compile(choice=["x"], after="<|im_start|>")
    assert tokenizer.token_id("<|im_start|>") in allowed(known, special)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"not": {"type": "string"}}, "keyword 'not' at '/' of the JSON schema cannot be enforced"),
        ({"type": "array", "uniqueItems": True}, "keyword 'uniqueItems' at '/'"),
        (closed(a={"type": "array", "contains": {}}), "keyword 'contains' at '/properties/a'"),
        ({"if": {}, "then": {}}, "keyword 'if'"),
        ({"type": "object", "propertyNames": {}}, "keyword 'propertyNames'"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "keyword 'dependentRequired'"),
        ({"type": "object", "unevaluatedProperties": False}, "keyword 'unevaluatedProperties'"),
        ({"anyOf": [{}, {"$defs": {"x": {"minContains": 1}}}]}, "keyword 'minContains' at '/anyOf/1/$defs/x'"),
        ({"type": "string", "minlength": 3}, "keyword 'minlength' at '/' of the JSON schema is unknown; did you mean"),
        ({"type": "string", "nullable": True}, "keyword 'nullable'"),
        (
            {"x-guidance": {"lenient": True}, "type": "string"},
            "keyword 'x-guidance' at '/' of the JSON schema is unknown",
        ),
        ({"type": "string", "format": "color"}, "keyword 'format' at '/' of the JSON schema: 'color' cannot be"),
        ({"type": "string", "format": "unknown"}, "'unknown' cannot be enforced"),
        (
            {"type": "object", "minProperties": 2},
            "keyword 'minProperties' at '/'",
        ),
        ({"type": "array", "prefixItems": [{}], "additionalItems": False}, "keyword 'additionalItems' at '/'"),
        ({"$ref": "#"}, "the JSON schema"),
        ({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "the JSON schema"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "pattern": "(a)\\1"}, "backreferences are not supported"),
        ({"type": "banana"}, "Invalid type: banana"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum (5) is greater than maximum (3)"),
        ({"$ref": "#/$defs/nothing"}, "/$defs/nothing"),
        ({"$ref": "https://example.org/schema"}, "https://example.org/schema"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf constraints are not supported"),
        ({"enum": []}, "Unsatisfiable"),
        (False, "Unsatisfiable"),
        ([1], "wrong at '/': no schema but [1]"),
        ({"properties": {"a": 3}}, "wrong at '/properties/a'"),
        ({"properties": [1]}, "keyword 'properties' at '/' of the JSON schema is no object"),
        ({"anyOf": {"a": 1}}, "keyword 'anyOf' at '/' of the JSON schema is no list"),
        ("{", "is not JSON"),
        ({"const": float("nan")}, "JSON"),
        ({"title": "x" * 300_000}, "more than 262144 characters"),
    ],
)
def test_what_cannot_be_enforced_is_named(schema: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        grammars().compile(json=schema)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1, "\\u0061": "x"}'),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1, "a": "x"}'),
        ({"type": "object", "patternProperties": {"^a": {"type": "integer"}}}, '{"\\u0061": "x"}'),
        ({"type": "string"}, '"\\ud83d"'),
        ({"type": "string"}, '"a\nb"'),
        ({"type": "integer"}, "01"),
        ({"type": "array", "items": [{"type": "string"}]}, "[1]"),
        ({"type": "array", "items": [{}], "additionalItems": False}, "[1, 2]"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}, "minimum": 5}, "3"),
        ({"type": "string", "maxLength": 1}, '"ab"'),
        ({"type": "string", "minLength": 2}, '"😀"'),
        ({"type": "string", "format": "date"}, '"2023-02-29"'),
        ({"type": "array", "items": {"format": "date-time"}}, '["1900-02-29T00:00:00Z"]'),
        ({"$defs": {"t": {"format": "time"}}, "$ref": "#/$defs/t"}, '"15:34:60Z"'),
    ],
)
def test_ways_around_a_schema_are_closed(schema: Any, text: str) -> None:
    assert not fits({"json": schema}, text)


def fits(form: dict[str, Any], text: str) -> bool:
    known = grammars()
    constraint = known.compile(**form)
    for token in known._tokenizer.encode(text, add_special=False):
        if token not in allowed(known, constraint):
            return False
        constraint.accept(token)
    return constraint.is_accepting()


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "format": "date"}, '"2024-02-29"'),
        ({"type": "string", "format": "date"}, '"2000-12-31"'),
        ({"type": "string", "format": "date-time"}, '"2000-02-29T23:59:59.5+02:00"'),
        ({"type": "string"}, '"é😀 \\n \\" \\\\ /"'),
        ({"type": "object"}, '{\n    "a": [1, {"b": null}]\n}'),
        ({"type": "object"}, '{"a":[1,{"b":null}]}'),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]}, '{"b": 1, "c": 2}'),
    ],
)
def test_what_people_write_fits(schema: Any, text: str) -> None:
    assert fits({"json": schema}, text)


def test_a_schema_nested_without_end() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"items": schema}
    with pytest.raises(InvalidArgument, match="nests deeper than 64"):
        grammars().compile(json=schema)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "one form at a time"),
        ({"regex": "a", "choice": ["b"]}, "one form at a time"),
        ({"regex": ""}, "empty"),
        ({"regex": "(a"}, "the regular expression cannot be enforced"),
        ({"regex": 3}, "no text"),
        ({"choice": []}, "choice is a list of strings"),
        ({"choice": ["a", ""]}, "choice is a list of strings"),
        ({"choice": "abc"}, "choice is a list of strings"),
        ({"grammar": "start: nothing"}, 'unknown name: "nothing"'),
        ({"grammar": "root ::= ("}, "the grammar cannot be read"),
        ({"grammar": "((((" * 10_000}, "the grammar"),
    ],
)
def test_other_forms_that_are_wrong(form: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        grammars().compile(**form)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CallForm.of("hermes", TOOLS, "absent"), "there is no tool 'absent'"),
        (lambda: CallForm.of("hermes", []), "there are no tools"),
        (lambda: CallForm.of("xml", TOOLS), "'xml' cannot be enforced"),
        (lambda: CallForm.of("hermes", [{"function": {}}]), r"tools\[0\] has no function with a name"),
        (lambda: CallForm.of("hermes", [tool({"not": {}})]), r"tools\[0\].function.parameters: keyword 'not'"),
        (lambda: CallForm.of("hermes", [tool({"type": "array"})]), "arguments are an object, not 'array'"),
    ],
)
def test_tools_that_cannot_be_required(make: Callable[[], CallForm], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make()


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def test_a_token_that_is_not_allowed_is_refused() -> None:
    known = grammars()
    constraint = known.compile(regex="ab")
    with pytest.raises(InvalidArgument, match="is not allowed here"):
        constraint.accept(known._tokenizer.encode("z")[0])
    with pytest.raises(InvalidArgument):  # and what follows an error is no free text
        allowed(known, constraint)


def test_rows_are_checked() -> None:
    constraint = grammars().compile(regex="a")
    words = grammars().words
    read_only = np.zeros(words, np.uint32)
    read_only.flags.writeable = False
    for row in (
        np.zeros(words + 1, np.uint32),
        np.zeros(words, np.uint64),
        np.zeros(2 * words, np.uint32)[::2],
        read_only,
    ):
        with pytest.raises(InvalidArgument, match=f"a writable row of {words} words"):
            constraint.mask_into(row)
    with pytest.raises(InvalidArgument, match="outside"):
        grammars().fill([(constraint, 2)], np.zeros((2, words), np.uint32))


def test_many_rows_at_once_are_the_rows_one_by_one() -> None:
    known = grammars()
    forms = [known.compile(json=schema) for schema in SCHEMAS.values()]
    masks = np.zeros((len(forms), known.words), np.uint32)
    known.fill([(form, len(forms) - 1 - i) for i, form in enumerate(forms)], masks)
    row = np.zeros(known.words, np.uint32)
    for form, expected in zip(forms, masks[::-1], strict=True):
        form.mask_into(row)
        assert (row == expected).all()


def test_threads_compile_at_once() -> None:
    tokenizer = Tokenizer.from_gguf(vocabularies.byte_level())
    known = Grammars(tokenizer)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: allowed(known, known.compile(choice=[f"{i % 10}x"])), range(100)))
    assert found == [allowed(known, known.compile(choice=[f"{i % 10}x"])) for i in range(100)]


def test_a_copy_goes_its_own_way() -> None:
    known = grammars()
    encode = known._tokenizer.encode
    one = known.compile(choice=["ab", "cd"])
    other = one.copy()
    one.accept(encode("a")[0])
    assert encode("c")[0] in allowed(known, other) and encode("c")[0] not in allowed(known, one)
    again = known.compile(choice=["ab", "cd"])  # from the cache, from the beginning
    assert allowed(known, again) == allowed(known, other)
