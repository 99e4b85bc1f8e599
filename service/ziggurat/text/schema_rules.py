"""What a JSON schema may contain so that text can be held to all of it.

The grammar engine refuses the keywords of the standard that it does not implement. It ignores words that are no
keywords, as the standard asks; here those are refused too, because `minlength` is a mistake that would otherwise be
noticed in production.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from ziggurat.errors import InvalidArgument

MAX_DEPTH = 64

# Enforced by the engine (llguidance, docs/json_schema.md).
_ENFORCED = frozenset(
    """type enum const anyOf oneOf allOf $ref properties additionalProperties patternProperties required minProperties
    maxProperties items prefixItems additionalItems minItems maxItems minLength maxLength pattern format minimum
    maximum exclusiveMinimum exclusiveMaximum multipleOf""".split()  # noqa: SIM905
)
# Words without force on what is valid. `discriminator`, `nullable` and the like are OpenAPI's.
_NOTES = frozenset(
    """$schema $id $anchor $comment $defs definitions title description default example examples deprecated readOnly
    writeOnly contentEncoding contentMediaType discriminator externalDocs xml""".split()  # noqa: SIM905
)
# Of the standard, but not enforced.
_REFUSED = frozenset(
    """not if then else contains minContains maxContains uniqueItems propertyNames dependencies dependentRequired
    dependentSchemas unevaluatedItems unevaluatedProperties contentSchema $dynamicRef $dynamicAnchor $recursiveRef
    $recursiveAnchor $vocabulary nullable id""".split()  # noqa: SIM905
)
_FORMATS = frozenset(
    "date-time time date duration email hostname ipv4 ipv6 uuid uri".split()  # noqa: SIM905
)
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "additionalItems")


# What the engine's own expressions for dates and times let through: 29 February in other years, a 61st second.
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = f"^(?:[0-9]{{4}}-(?:0[13-9]|1[0-2]|02-(?:[01][0-9]|2[0-8]))|{_LEAP}-02-29)"
_TIGHTER = {
    "date": (_DATE,),
    "time": ("^[0-9]{2}:[0-9]{2}:[0-5]",),
    "date-time": (_DATE, "^.{11}[0-9]{2}:[0-9]{2}:[0-5]"),
}


def check_schema(schema: Any) -> None:
    """Looks at every keyword of every part.

    Raises:
        InvalidArgument: Naming the first keyword that cannot be enforced, and where it is.
    """
    stack: list[tuple[Any, str, int]] = [(schema, "", 0)]
    while stack:
        part, place, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"the JSON schema nests deeper than {MAX_DEPTH} levels")
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            raise InvalidArgument(f"the JSON schema is wrong at '{place or '/'}': no schema but {part!r:.80}")
        for keyword in part:
            _check_keyword(keyword, place)
        _check_values(part, f"at '{place or '/'}' of the JSON schema")
        stack += [(inner, where, depth + 1) for inner, where in _parts(part, place)]


def _check_keyword(keyword: Any, place: str) -> None:
    if keyword in _ENFORCED or keyword in _NOTES:
        return
    where = f"keyword '{keyword}' at '{place or '/'}' of the JSON schema"
    if keyword in _REFUSED:
        raise InvalidArgument(f"{where} cannot be enforced")
    if isinstance(keyword, str) and keyword.startswith("x-") and keyword != "x-guidance":
        return
    near = difflib.get_close_matches(str(keyword), _ENFORCED | _NOTES, 1)
    raise InvalidArgument(f"{where} is unknown" + (f"; did you mean '{near[0]}'?" if near else ""))


def _check_values(part: dict[str, Any], where: str) -> None:
    """Keywords that are enforced for some of their values only."""
    if part.get("format", "date") not in _FORMATS:
        raise InvalidArgument(f"keyword 'format' {where}: {part['format']!r:.80} cannot be enforced")
    if "additionalItems" in part and not isinstance(part.get("items"), list):
        raise InvalidArgument(f"keyword 'additionalItems' {where} has no force without a list of 'items'")
    least, required = part.get("minProperties", 0), part.get("required", [])
    open_names = part.get("additionalProperties") is not False or "patternProperties" in part
    sure = len(required) if isinstance(required, list) else 0
    if open_names and isinstance(least, int | float) and least > max(1, sure):
        # A grammar cannot see that a name came before, and one that comes twice counts once.
        raise InvalidArgument(f"keyword 'minProperties' {where} cannot be enforced where names are free")


def _parts(part: dict[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    """The schemas inside a schema, and where they are."""
    for keyword in _MAPS:
        found = part.get(keyword, {})
        if not isinstance(found, dict):
            raise InvalidArgument(f"keyword '{keyword}' at '{place or '/'}' of the JSON schema is no object")
        for name, inner in found.items():
            yield inner, f"{place}/{keyword}/{name}"
    for keyword in (*_LISTS, "items"):
        found = part.get(keyword, [])
        if isinstance(found, list):
            for i, inner in enumerate(found):
                yield inner, f"{place}/{keyword}/{i}"
        elif keyword in _LISTS:
            raise InvalidArgument(f"keyword '{keyword}' at '{place or '/'}' of the JSON schema is no list")
    for keyword in _SCHEMAS:
        if keyword in part and not isinstance(part[keyword], list):
            yield part[keyword], f"{place}/{keyword}"


def tightened(part: Any) -> Any:
    """A checked schema with the patterns that make its formats exact."""
    if not isinstance(part, dict):
        return part
    made = dict(part)
    for keyword in _MAPS:
        if keyword in part:
            made[keyword] = {name: tightened(inner) for name, inner in part[keyword].items()}
    for keyword in (*_LISTS, *_SCHEMAS):
        if keyword in part:
            inner = part[keyword]
            made[keyword] = [tightened(one) for one in inner] if isinstance(inner, list) else tightened(inner)
    patterns = _TIGHTER.get(part.get("format", ""), ())
    if patterns:
        made["allOf"] = [*made.get("allOf", []), *({"pattern": pattern} for pattern in patterns)]
    return made
