"""Answers by JSON schema: every one of them is valid, whatever the schema and however the model would rather ramble."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs  # what schemathesis validates with
import openai
import pytest

from tests.openai.conftest import NAME

WORD = {"type": "string", "maxLength": 10}
SMALL = {"type": "integer", "minimum": 0, "maximum": 99}


def record(required: bool = True, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": list(properties)} if required else {})


def items(of: dict[str, Any], most: int = 3, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": least, "maxItems": most}


SCHEMAS: dict[str, dict[str, Any]] = {
    "boolean": record(flag={"type": "boolean"}),
    "null": record(nothing={"type": "null"}),
    "word": record(word=WORD),
    "two words": record(first=WORD, second=WORD),
    "integer": record(count=SMALL),
    "negative integer": record(count={"type": "integer", "minimum": -50, "maximum": -10}),
    "number": record(share={"type": "number", "minimum": 0, "maximum": 1}),
    "open interval": record(share={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10}),
    "enum of texts": record(colour={"enum": ["red", "green", "blue"]}),
    "enum of all kinds": record(value={"enum": [1, "one", None, True, [1, 2], {"a": 1}]}),
    "constant": record(kind={"const": "tower"}, height=SMALL),
    "pattern": record(code={"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}),
    "date": record(day={"type": "string", "format": "date"}),
    "time": record(at={"type": "string", "format": "time"}),
    "uuid": record(id={"type": "string", "format": "uuid"}),
    "length": record(name={"type": "string", "minLength": 3, "maxLength": 5}),
    "list of integers": record(values=items(SMALL)),
    "list of words": record(words=items(WORD, 4, 2)),
    "list of lists": record(rows=items(items(SMALL, 2, 2), 2, 1)),
    "list of records": record(people=items(record(name=WORD, age=SMALL), 2, 1)),
    "tuple": record(pair={"type": "array", "prefixItems": [WORD, SMALL], "items": False, "minItems": 2}),
    "list at the top": items(SMALL, 5, 1),
    "text at the top": WORD,
    "integer at the top": SMALL,
    "boolean at the top": {"type": "boolean"},
    "enum at the top": {"enum": ["yes", "no"]},
    "nested": record(a=record(b=record(c=record(d=SMALL)))),
    "wide": record(**{f"field_{k}": SMALL for k in range(12)}),
    "optional": record(False, a=SMALL, b=WORD, c={"type": "boolean"}),
    "some required": record(False, a=SMALL, b=SMALL, c=SMALL) | {"required": ["b"]},
    "nothing but an object": record(),
    "one of two types": record(value={"type": ["integer", "null"], "minimum": 0, "maximum": 9}),
    "any of": record(value={"anyOf": [SMALL, {"const": "none"}]}),
    "any of records": {"anyOf": [record(cat=WORD), record(dog=WORD)]},
    "one of": {"oneOf": [record(kind={"const": "a"}, x=SMALL), record(kind={"const": "b"}, y=SMALL)]},
    "all of": record(value={"allOf": [{"type": "integer", "minimum": 3}, {"type": "integer", "maximum": 30}]}),
    "reference": {**record(home={"$ref": "#/$defs/place"}), "$defs": {"place": record(street=WORD, number=SMALL)}},
    "two references": {
        **record(home={"$ref": "#/$defs/place"}, work={"$ref": "#/$defs/place"}),
        "$defs": {"place": record(street=WORD)},
    },
    "older definitions": {**record(a={"$ref": "#/definitions/n"}), "definitions": {"n": SMALL}},
    "tree": {
        **record(root={"$ref": "#/$defs/node"}),
        "$defs": {"node": record(value=SMALL, children=items({"$ref": "#/$defs/node"}, 1))},
    },
    "tool call": record(name={"const": "weather"}, arguments=record(city=WORD, unit={"enum": ["C", "F"]})),
    "strict answer": record(steps=items(record(thought=WORD, sum=SMALL), 2, 1), answer=SMALL),
    "extraction": record(
        title=WORD, authors=items(WORD, 2, 1), year={"type": "integer", "minimum": 1900, "maximum": 2100}
    ),
    "rating": record(stars={"type": "integer", "minimum": 1, "maximum": 5}, reason=WORD),
    "coordinates": record(
        lat={"type": "number", "minimum": -90, "maximum": 90}, lon={"type": "number", "minimum": -180, "maximum": 180}
    ),
    "keys with odd letters": record(**{"größe": SMALL, "a b": SMALL, 'quo"te': SMALL, "塔": SMALL}),
    "descriptions": record(x={**SMALL, "description": "how many"}) | {"title": "Count", "description": "of bricks"},
    "default": record(x={**SMALL, "default": 3}),
    "map of integers": {"type": "object", "additionalProperties": SMALL, "maxProperties": 3},
    "multiple of": record(x={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}),
    "flags": record(**{name: {"type": "boolean"} for name in ("read", "write", "run")}),
    "matrix of choices": record(grid=items(items({"enum": ["x", "o", ""]}, 3, 3), 3, 3)),
}


def test_there_are_fifty() -> None:
    assert len(SCHEMAS) >= 50


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_answer_is_valid(client: openai.OpenAI, name: str) -> None:
    schema = SCHEMAS[name]
    answer = client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": "Tell me of the tower"}],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        n=3,
        seed=1,
        max_tokens=1200,
    )
    for choice in answer.choices:
        assert choice.finish_reason == "stop", choice.message.content
        jsonschema_rs.validate(schema, json.loads(choice.message.content or ""))


def test_any_json_object(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": "Anything"}],
        response_format={"type": "json_object"},
        n=4,
        seed=5,
        max_tokens=1200,
    )
    ended = [choice for choice in answer.choices if choice.finish_reason == "stop"]
    assert ended and all(isinstance(json.loads(choice.message.content or ""), dict) for choice in ended)
