"""JSON Schema made smaller for servers that know only part of it."""

from __future__ import annotations

from typing import Any

# What Google's OpenAPI subset knows; everything else is refused by it.
_OPENAPI = frozenset(
    (
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "items",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "anyOf",
        "default",
        "example",
        "propertyOrdering",
    )
)
_DEPTH = 32


def openapi_subset(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` in the subset of OpenAPI 3 that Google's ``Schema`` takes.

    References are put in place (recursive ones end in an object after 32 levels),
    ``const`` becomes an enum of one, a union with null ``nullable``; other keywords
    are left out, which only widens what is allowed.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    return _reduce(schema, definitions, _DEPTH)


def _reduce(schema: Any, definitions: dict[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth == 0:
        return {"type": "object"}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = definitions.get(reference.rpartition("/")[2], {})
        rest = {k: v for k, v in schema.items() if k != "$ref"}
        return _reduce({**target, **rest}, definitions, depth - 1)
    result = {k: v for k, v in schema.items() if k in _OPENAPI}
    if "const" in schema:
        result["enum"] = [schema["const"]]
        result.setdefault("type", "string")
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        kept = [o for o in options if o != {"type": "null"}]
        if len(kept) < len(options):
            result["nullable"] = True
        if len(kept) == 1:
            result.pop("anyOf", None)
            result = {**_reduce(kept[0], definitions, depth - 1), **result}
        else:
            result["anyOf"] = [_reduce(o, definitions, depth - 1) for o in kept]
    kind = schema.get("type")
    if isinstance(kind, list):
        names = [k for k in kind if k != "null"]
        result["type"] = names[0] if names else "string"
        if "null" in kind:
            result["nullable"] = True
    if isinstance(schema.get("properties"), dict):
        result["properties"] = {
            name: _reduce(inner, definitions, depth - 1)
            for name, inner in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = _reduce(schema["items"], definitions, depth - 1)
    return result
