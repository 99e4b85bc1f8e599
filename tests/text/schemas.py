"""Fifty JSON schemas as people send them, from scalars to recursion."""

from __future__ import annotations

from typing import Any

STRING, INTEGER, NUMBER, BOOLEAN, NULL = ({"type": t} for t in ("string", "integer", "number", "boolean", "null"))
EMAIL = STRING | {"format": "email", "maxLength": 60}  # validators know a limit of 64 before the @, the engine does not


def closed(**properties: Any) -> dict[str, Any]:
    """An object of exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def listed(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items} | more


POINT = closed(x=NUMBER, y=NUMBER)
TREE = {
    "$defs": {"node": closed(value=INTEGER, children=listed({"$ref": "#/$defs/node"}, maxItems=2))},
    "$ref": "#/$defs/node",
}
LINKED = {
    "$defs": {"cell": closed(head=BOOLEAN, tail={"anyOf": [{"$ref": "#/$defs/cell"}, NULL]})},
    "$ref": "#/$defs/cell",
}

SCHEMAS: dict[str, Any] = {
    "any object": {"type": "object"},
    "any value": True,
    "empty schema": {},
    "string": STRING,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "null": NULL,
    "short string": STRING | {"minLength": 2, "maxLength": 5},
    "pattern": STRING | {"pattern": "^[A-Z]{2}-[0-9]{3}$"},
    "pattern in the middle": STRING | {"pattern": "ab+c", "maxLength": 12},
    "unicode pattern": STRING | {"pattern": "^[äöü😀]{1,4}$"},
    "date": STRING | {"format": "date"},
    "date and time": STRING | {"format": "date-time"},
    "uuid": STRING | {"format": "uuid"},
    "ipv4": STRING | {"format": "ipv4"},
    "email": EMAIL,
    "bounded integer": INTEGER | {"minimum": -5, "maximum": 17},
    "open interval": INTEGER | {"exclusiveMinimum": 0, "exclusiveMaximum": 100},
    "bounded number": NUMBER | {"minimum": 0, "maximum": 1},
    "negative number": NUMBER | {"exclusiveMaximum": 0},
    "multiple": INTEGER | {"multipleOf": 7, "minimum": 0, "maximum": 700},
    "enumeration": {"enum": ["red", "green", 'with "quotes" and \\', "ünï"]},
    "mixed enumeration": {"enum": [1, "a", None, True, {"b": [1, 2]}, [], 1.5]},
    "constant": {"const": {"a": [1, "x", None]}},
    "union of types": {"type": ["string", "null", "integer"]},
    "list": listed(INTEGER, maxItems=4),
    "list of three": listed(BOOLEAN, minItems=3, maxItems=3),
    "list of at least two": listed(NULL, minItems=2),
    "tuple": {"type": "array", "prefixItems": [STRING, INTEGER], "items": False, "minItems": 2},
    "tuple of draft 7": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array"}
    | {"items": [INTEGER, BOOLEAN], "additionalItems": False, "minItems": 1},
    "at least one of two": {"type": "object", "properties": {"a": NULL, "b": NULL}, "additionalProperties": False}
    | {"minProperties": 1},
    "time": STRING | {"format": "time"},
    "duration": STRING | {"format": "duration"},
    "ipv6": STRING | {"format": "ipv6"},
    "hostname": STRING | {"format": "hostname", "maxLength": 30},
    "uri": STRING | {"format": "uri", "maxLength": 40},
    "steps of a quarter": NUMBER | {"multipleOf": 0.25, "minimum": 0, "maximum": 9},
    "pattern and open": {"type": "object", "properties": {"n_a": {"minimum": 5}}}
    | {"patternProperties": {"^n_": INTEGER}, "maxProperties": 3, "required": ["n_a"]},
    "control characters": {"enum": ["\n", "\t\\", "\x7f", "é\u2028"]},
    "tuple and more": {"type": "array", "prefixItems": [INTEGER], "items": BOOLEAN, "maxItems": 4},
    "matrix": listed(listed(INTEGER, minItems=2, maxItems=2), minItems=2, maxItems=2),
    "person": closed(name=STRING, age=INTEGER | {"minimum": 0, "maximum": 150}, email=EMAIL),
    "optional property": {"type": "object", "properties": {"a": INTEGER, "b": STRING}, "required": ["a"]}
    | {"additionalProperties": False},
    "all optional": {"type": "object", "properties": {"a": NULL, "b": NULL}, "additionalProperties": False},
    "additional of a type": {"type": "object", "properties": {"id": INTEGER}, "required": ["id"]}
    | {"additionalProperties": BOOLEAN},
    "map": {"type": "object", "additionalProperties": INTEGER, "maxProperties": 3},
    "required but not described": {"type": "object", "required": ["key"], "maxProperties": 2},
    "pattern properties": {"type": "object", "patternProperties": {"^n_[a-z]+$": INTEGER}}
    | {"additionalProperties": False},
    "nested": closed(user=closed(name=STRING, at=POINT), tags=listed(STRING, maxItems=3)),
    "references": {"$defs": {"point": POINT}, **closed(a={"$ref": "#/$defs/point"}, b={"$ref": "#/$defs/point"})},
    "draft 7 definitions": {"definitions": {"p": POINT}, **closed(p={"$ref": "#/definitions/p"})},
    "tree": TREE,
    "linked list": LINKED,
    "any of": {"anyOf": [closed(kind={"const": "a"}, x=INTEGER), closed(kind={"const": "b"}, y=BOOLEAN)]},
    "one of": {"oneOf": [closed(kind={"const": "a"}, x=INTEGER), closed(kind={"const": "b"}, y=BOOLEAN)]},
    "one of types": {"oneOf": [STRING, INTEGER, listed(NULL, maxItems=2)]},
    "all of": {"allOf": [{"properties": {"a": INTEGER}, "required": ["a"]}, {"properties": {"b": BOOLEAN}}]}
    | {"type": "object"},
    "all of bounds": {"allOf": [INTEGER | {"minimum": 3}, {"maximum": 9}]},
    "notes": {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "description": "d"}
    | {"default": {}, "examples": [1], "x-order": 3, "$comment": "c"}
    | closed(a=STRING | {"title": "A", "deprecated": True, "maxLength": 9}),
    "strange names": closed(**{'quote " here': INTEGER, "": NULL, "ключ": BOOLEAN, "a/b~c": NULL}),
    "keywords as names": closed(type=STRING | {"maxLength": 3}, properties=INTEGER, **{"$ref": NULL, "not": BOOLEAN}),
    "function arguments": closed(city=STRING, unit={"enum": ["C", "F"]}, days=INTEGER | {"minimum": 1, "maximum": 14}),
    "extraction": closed(
        items=listed(
            closed(name=STRING, price=NUMBER | {"minimum": 0}, stock={"type": ["integer", "null"]}), maxItems=3
        ),
        total=NUMBER,
        currency={"enum": ["EUR", "CHF"]},
    ),
}
