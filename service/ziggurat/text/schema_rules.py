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
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "additionalItems")


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
