"""Answers as objects: a type goes out as a JSON schema and comes back validated.

    class City(msgspec.Struct):
        name: str
        people: int

    params["response_format"] = response_format(City)       before the call
    reply.choices[0].message.parsed = parse(City, reply.text)   after it

Types: msgspec structs, dataclasses, TypedDicts, and pydantic models (recognised by
their methods; pydantic itself is not needed).
"""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from typing import Any, is_typeddict

import msgspec

from .._errors import InvalidRequestError, ServerError
from .._steps import strip_fences


def is_type(value: Any) -> bool:
    """Whether ``response_format`` is a type rather than OpenAI's own dict."""
    return isinstance(value, type) and (
        issubclass(value, msgspec.Struct)
        or is_dataclass(value)
        or is_typeddict(value)
        or hasattr(value, "model_json_schema")
    )


def response_format(wanted: type[Any]) -> dict[str, Any]:
    """OpenAI's ``response_format`` for a type.

    Strict (every property required, none beyond them) where the type allows it: not
    for types with free-form maps. InvalidRequestError for what is no such type.
    """
    if not is_type(wanted):
        raise InvalidRequestError(
            "response_format",
            wanted,
            "give a msgspec Struct, a dataclass, a pydantic model or OpenAI's dict",
        )
    schema, definitions = _schema_of(wanted)
    strict = _tighten(schema) and all(_tighten(d) for d in definitions.values())
    if definitions:
        schema["$defs"] = definitions
    name = re.sub(r"[^\w-]", "_", wanted.__name__)[:64]
    asked = {"name": name, "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": asked}


def _schema_of(wanted: type[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema with an object at its root, and the definitions it refers to."""
    make = getattr(wanted, "model_json_schema", None)
    if make is not None:
        schema = dict(make())
        return schema, schema.pop("$defs", {})
    (schema,), definitions = msgspec.json.schema_components(
        [wanted], ref_template="#/$defs/{name}"
    )
    root = schema.get("$ref", "").rpartition("/")[2]
    if not root:
        return schema, definitions
    # A type that contains itself keeps its own definition beside the root.
    text = msgspec.json.encode(definitions)
    kept = dict(definitions)
    if f'"#/$defs/{root}"'.encode() not in text:
        del kept[root]
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(definitions[root]))
    return copy, kept


def _tighten(schema: Any) -> bool:
    """Make a schema strict, in place; False where free-form maps forbid it."""
    if isinstance(schema, list):
        return all([_tighten(inner) for inner in schema])
    if not isinstance(schema, dict):
        return True
    tight = True
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") or "properties" not in schema:
            tight = False
        else:
            schema["additionalProperties"] = False
            schema["required"] = list(schema["properties"])
    schema.pop("default", None)  # a required property has no default
    for key, inner in schema.items():
        if key in ("properties", "$defs"):
            tight = all([_tighten(value) for value in inner.values()]) and tight
        elif key in ("items", "anyOf", "oneOf", "allOf", "prefixItems"):
            tight = _tighten(inner) and tight
    return tight


def parse(wanted: type[Any], text: str) -> Any:
    """The validated object in an answer's text; code fences around it are ignored.

    Raises ServerError of kind "malformed" when the text is not such an object: another
    backend may do better.
    """
    bare = strip_fences(text)
    validate = getattr(wanted, "model_validate_json", None)
    try:
        if validate is not None:
            return validate(bare)
        return msgspec.json.decode(bare, type=wanted)
    except (msgspec.DecodeError, ValueError) as error:
        raise ServerError(
            f"the answer is no valid {wanted.__name__}: {type(error).__name__}",
            status=200,
            kind="malformed",
        ) from error
