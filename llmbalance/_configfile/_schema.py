"""The shape of a configuration file: which tables there are and what stands in them.

    [router]     strategy, v, timeout, ...      RouterTable
    [defaults]   what every backend starts with     \
    [provider.X] what every backend of X starts with > Backend
    [[backend]]  one place that answers             /
    [group.X]    strategy, v, fallbacks, ...    GroupTable
    [[budget]]   or [budget.X]: money           Budget

The tables hold exactly the fields of the classes one writes in Python, so there is one
definition of each; what a file cannot hold (functions, classes) is left out here.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any

import msgspec
from msgspec import Struct

from .._config import (
    ABILITIES,
    WHAT,
    Backend,
    Breaker,
    Budget,
    Limit,
    Limits,
    Timeouts,
    one_of,
    positive,
)
from .._core import CHARGES, STRATEGIES
from .._errors import ConfigError
from .._price import Price


class RouterTable(Struct, frozen=True, kw_only=True):
    """The options of the Router.

    ``strategy``, ``v`` (USD a second of waiting is worth), ``timeout`` (seconds for a
    whole call), ``timeouts`` (of one attempt), ``breaker``, ``wait`` (false: raise at
    once when all limits are used up), ``unknown_price`` ("dearest", "refuse" or a
    price), ``prices`` (price tables to lay over the built-in one: paths relative to the
    file, or addresses), ``ledger`` (a file that keeps every attempt, path relative to
    this one), ``postprocess`` (steps done to every text), ``sessions`` (conversations
    to remember, a power of two or 0), ``seed``.
    """

    strategy: str = "composite"
    v: float | None = None
    timeout: float = 600.0
    timeouts: Timeouts | None = None
    breaker: Breaker | None = None
    wait: bool = True
    unknown_price: str | Price = "dearest"
    prices: tuple[str, ...] | str = ()
    ledger: str | None = None
    postprocess: tuple[str, ...] = ()
    sessions: int = 4096
    seed: int | None = None

    def __post_init__(self) -> None:
        one_of("strategy", self.strategy, STRATEGIES)
        positive("v", self.v, zero=True)
        positive("timeout", self.timeout)
        if isinstance(self.unknown_price, str):
            one_of("unknown_price", self.unknown_price, UNKNOWN_PRICE)
        if not 0 <= self.sessions < 1 << 30 or self.sessions & (self.sessions - 1):
            raise ConfigError("sessions", self.sessions, "give a power of two, or 0")
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise ConfigError("seed", self.seed, "give a whole number >= 0 of 64 bits")


UNKNOWN_PRICE = ("dearest", "refuse")


class GroupTable(Struct, frozen=True, kw_only=True):
    """One group: its own ``strategy`` and ``v``, and where calls go on.

    ``fallbacks``: groups, models or backends to go on with, in order. ``backends``:
    names of members, beside those that name the group in their ``groups``.
    ``aliases``: other names of the group.
    """

    strategy: str | None = None
    v: float | None = None
    fallbacks: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.strategy is not None:
            one_of("strategy", self.strategy, STRATEGIES)
        positive("v", self.v, zero=True)


SECTIONS = ("router", "defaults", "provider", "backend", "group", "budget")
# What only code can say -> what to do about it.
ONLY_CODE = {
    (Backend, "dialect"): "is a class: build that Backend in Python",
    (Budget, "on_alert"): "is a function: build that Budget in Python",
}
_IN_FILES: dict[tuple[type, str], Any] = {
    (Backend, "api_key"): str | None,
    (Backend, "postprocess"): tuple[str, ...],
}
# Texts that must be one of a few words; they check themselves, editors want to know.
_WORDS = {
    (RouterTable, "strategy"): STRATEGIES,
    (GroupTable, "strategy"): STRATEGIES,
    (Limits, "charge"): CHARGES,
    (Limit, "what"): WHAT,
    (Backend, "can"): ABILITIES,
}


@functools.cache
def fields_of(shape: type[Struct]) -> Mapping[str, Any]:
    """Return the fields a table of this shape may have, with their types."""
    hints = typing.get_type_hints(shape)
    return {
        name: _IN_FILES.get((shape, name), _one_array(hints[name]))
        for name in shape.__struct_fields__
        if (shape, name) not in ONLY_CODE
    }


def _one_array(hint: Any) -> Any:
    """A type that takes tuples and lists takes tuples: a file has one kind of array."""
    kinds = {typing.get_origin(one) for one in typing.get_args(hint)}
    if not {tuple, list} <= kinds:
        return hint
    rest = [one for one in typing.get_args(hint) if typing.get_origin(one) is not list]
    return typing.Union[tuple(rest)]  # noqa: UP007


@functools.cache
def needed(shape: type[Struct]) -> tuple[str, ...]:
    """Return the fields a table of this shape must have."""
    return tuple(f.name for f in msgspec.structs.fields(shape) if f.required)


def shape_in(hint: Any) -> type[Struct] | None:
    """Return the struct a table given for a field of this type becomes, or None."""
    if typing.get_origin(hint) in _CONTAINERS:
        return None
    for one in typing.get_args(hint) or (hint,):
        if isinstance(one, type) and issubclass(one, Struct):
            return one
    return None


def without_shapes(hint: Any) -> Any:
    """Return a type without its structs: what a value that is no table may be."""
    if shape_in(hint) is None:
        return hint
    rest = [one for one in typing.get_args(hint) if shape_in(one) is None]
    return typing.Union[tuple(rest)] if rest else NoneType  # noqa: UP007


def config_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of a configuration file, for editors.

    The same shape holds for TOML and YAML.
    """
    definitions: dict[str, Any] = {}
    backend = _table(Backend, definitions)
    loose = {**backend, "required": []}
    loose["properties"] = {
        name: schema
        for name, schema in backend["properties"].items()
        if name not in ("model", "name")
    }
    budget = _table(Budget, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmbalance configuration",
        "type": "object",
        "additionalProperties": False,
        "required": ["backend"],
        "properties": {
            "router": _table(RouterTable, definitions),
            "defaults": loose,
            "provider": {"type": "object", "additionalProperties": loose},
            "backend": {"type": "array", "minItems": 1, "items": backend},
            "group": {
                "type": "object",
                "additionalProperties": _table(GroupTable, definitions),
            },
            "budget": {
                "oneOf": [
                    {"type": "array", "items": budget},
                    {"type": "object", "additionalProperties": budget},
                ]
            },
        },
        "$defs": definitions,
    }


def _table(shape: type[Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {}
    for name, hint in fields_of(shape).items():
        schema = _schema(hint, definitions)
        words = _WORDS.get((shape, name))
        if words is not None:
            choice = {"enum": list(words)}
            schema = {"type": "array", "items": choice} if name == "can" else choice
        properties[name] = schema
    return {
        "type": "object",
        "description": (shape.__doc__ or "").partition("\n")[0],
        "additionalProperties": False,
        "required": list(needed(shape)),
        "properties": properties,
    }


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one field; tables of other shapes go to the definitions."""
    shape = shape_in(hint)
    if shape is not None:
        if shape.__name__ not in definitions:
            definitions[shape.__name__] = {}  # a shape may contain itself
            definitions[shape.__name__] = _table(shape, definitions)
        choices = [{"$ref": f"#/$defs/{shape.__name__}"}]
        rest = without_shapes(hint)
        if rest is not NoneType:
            choices.append(_schema(rest, definitions))
        return choices[0] if len(choices) == 1 else {"anyOf": choices}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _CONTAINERS:
        inner = arguments[-1] if origin is not tuple else arguments[0]
        if origin in (dict, Mapping):
            return {
                "type": "object",
                "additionalProperties": _schema(inner, definitions),
            }
        if origin is tuple and Ellipsis not in arguments:
            items = [_schema(one, definitions) for one in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items)}
        return {"type": "array", "items": _schema(inner, definitions)}
    if arguments:
        choices = [_schema(one, definitions) for one in arguments if one != NoneType]
        unique = [c for i, c in enumerate(choices) if c not in choices[:i]]
        return unique[0] if len(unique) == 1 else {"anyOf": unique}
    return {} if hint is Any else dict(_PLAIN[hint])


_CONTAINERS = (tuple, list, dict, Mapping)
# Numbers and switches may come from the environment: "env:NAME".
_REFERENCE = {"type": "string", "pattern": "^env:"}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    NoneType: {"type": "null"},
    int: {"anyOf": [{"type": "integer"}, _REFERENCE]},
    float: {"anyOf": [{"type": "number"}, _REFERENCE]},
    bool: {"anyOf": [{"type": "boolean"}, _REFERENCE]},
}
