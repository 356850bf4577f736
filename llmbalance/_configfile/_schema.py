"""The shape of a configuration file: which tables there are and what stands in them.

    [router]     strategy, v, timeout, ...      RouterTable
    [defaults]   what every backend starts with     \
    [provider.X] what every backend of X starts with > Backend
    [[backend]]  one place that answers             /
    [group.X]    strategy, v, fallbacks, ...    GroupTable (so does [defaults.group])
    [task.X]     what calls of a task ask for   Task
    [[rule]]     tells the task of a call       Rule (so does [[shadow_rule]])
    [[budget]]   or [budget.X]: money           Budget
    [experiment.X], [mirror.X]                  Experiment, Mirror

The tables hold exactly the fields of the classes one writes in Python, so there is one
definition of each; what a file cannot hold (functions, classes) is left out here.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import NoneType
from typing import Any

import msgspec
from msgspec import Struct

from .._checks import MOST_SECONDS, MOST_USD, one_of, positive
from .._config import ABILITIES, WHAT, Backend, Breaker, Budget, Limit, Limits, Timeouts
from .._core import CHARGES, STRATEGIES
from .._errors import ConfigError
from .._experiments._experiment import METRICS, REWARDS, UNITS, Bandit, Experiment
from .._experiments._mirror import Mirror
from .._fleet._groups import Group
from .._fleet._hedge import Hedge
from .._price import Price
from .._tasks._rules import HAS, SCRIPTS, Rule
from .._tasks._task import Task
from ._inherit import OF_ONE


class RouterTable(Struct, frozen=True, kw_only=True):
    """The options of the Router, which explains them; here they are written so:

    ``retry_budget``: false for none; ``unknown_price``: "dearest", "refuse", the name
    of a model or a price; ``prices``: price tables to lay over the built-in one (paths
    relative to the file, or addresses); ``ledger``: a path relative to the file.
    """

    strategy: str = "composite"
    v: float | None = None
    timeout: float = 600.0
    timeouts: Timeouts | None = None
    breaker: Breaker | None = None
    health_interval: float | None = None
    wait: bool = True
    max_waiting: int | None = None
    shift_at: float = 0.8
    stop_at: float = 0.95
    retry_budget: float | bool | None = 0.2
    hedge: Hedge | bool | None = None
    predict: str | None = None
    unknown_price: str | Price = "dearest"
    prices: tuple[str, ...] | str = ()
    ledger: str | None = None
    postprocess: tuple[str, ...] = ()
    default_task: str | None = None
    aliases: dict[str, str] = {}
    max_models: int = 256
    sessions: int = 4096
    auto_session: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        one_of("strategy", self.strategy, STRATEGIES)
        positive("v", self.v, zero=True, most=MOST_USD)
        positive("timeout", self.timeout, most=MOST_SECONDS)
        positive("health_interval", self.health_interval, most=MOST_SECONDS)
        positive("max_waiting", self.max_waiting, zero=True)
        if not 0 < self.shift_at < self.stop_at <= 1:
            remedy = "give shares with 0 < shift_at < stop_at <= 1"
            raise ConfigError("shift_at", self.shift_at, remedy)
        if self.predict is not None:
            one_of("predict", self.predict, PREDICT)
            if self.ledger is None:
                remedy = "is told by a ledger: give `ledger` as well"
                raise ConfigError("predict", self.predict, remedy)
        if self.retry_budget is True:
            raise ConfigError("retry_budget", True, "give a share, or false for none")
        if self.retry_budget is not False:
            positive("retry_budget", self.retry_budget, zero=True)
        price = self.unknown_price
        if isinstance(price, str) and "/" not in price:
            one_of("unknown_price", price, UNKNOWN_PRICE)
        if not 0 <= self.sessions < 1 << 30 or self.sessions & (self.sessions - 1):
            raise ConfigError("sessions", self.sessions, "give a power of two, or 0")
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise ConfigError("seed", self.seed, "give a whole number >= 0 of 64 bits")


PREDICT = ("auto",)
UNKNOWN_PRICE = ("dearest", "refuse")


class GroupTable(Group, frozen=True, kw_only=True):
    """One group: its settings, its members, its other names.

    ``backends``: names of members, beside those that name the group in their
    ``groups``. ``aliases``: other names of the group.
    """

    backends: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


SECTIONS = (
    *("router", "defaults", "provider", "backend", "group", "task", "rule"),
    *("shadow_rule", "budget", "experiment", "mirror"),
)
# Tables that are named by where they stand.
NAMED: Mapping[type[Struct], str] = {
    GroupTable: "name",
    Task: "name",
    Experiment: "name",
    Mirror: "name",
}
# What only code can say -> what to do about it.
ONLY_CODE = {
    (Backend, "dialect"): "is a class: build that Backend in Python",
    (Budget, "on_alert"): "is a function: build that Budget in Python",
    (Mirror, "compare"): "is a function: build that Mirror in Python",
}
# Texts that must be one of a few words; they check themselves, editors want to know.
WORDS: Mapping[tuple[type[Struct], str], typing.Iterable[str]] = {
    (RouterTable, "strategy"): STRATEGIES,
    (RouterTable, "predict"): PREDICT,
    (GroupTable, "strategy"): STRATEGIES,
    (Task, "strategy"): STRATEGIES,
    (Experiment, "unit"): UNITS,
    (Experiment, "metric"): METRICS,
    (Bandit, "reward"): REWARDS,
    (Rule, "has"): HAS,
    (Rule, "script"): SCRIPTS,
    (Limits, "charge"): CHARGES,
    (Limit, "what"): WHAT,
    (Backend, "can"): ABILITIES,
}


@functools.cache
def fields_of(shape: type[Struct]) -> Mapping[str, Any]:
    """Return the fields a table of this shape may have, with their types."""
    hints = typing.get_type_hints(shape)
    return {
        name: in_file(hints[name])
        for name in shape.__struct_fields__
        if (shape, name) not in ONLY_CODE and NAMED.get(shape) != name
    }


def in_file(hint: Any) -> Any:
    """The part of a type that a file can hold: no functions, one kind of array.

    Dates are read as their text.
    """
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and Ellipsis in arguments:
        return tuple[in_file(arguments[0]), ...]  # type: ignore[misc]
    kinds = {typing.get_origin(one) or one for one in arguments}
    no = {Callable, date} | ({list} if tuple in kinds else set())
    if typing.get_origin(hint) in _CONTAINERS or not kinds & no:
        return hint
    rest = [one for one in arguments if (typing.get_origin(one) or one) not in no]
    return typing.Union[tuple(map(in_file, rest))]  # noqa: UP007


@functools.cache
def needed(shape: type[Struct]) -> tuple[str, ...]:
    """Return the fields a table of this shape must have."""
    fields = msgspec.structs.fields(shape)
    return tuple(f.name for f in fields if f.required and NAMED.get(shape) != f.name)


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


def _without(table: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The schema of a table for what several inherit: without what belongs to one."""
    fields = {k: v for k, v in table["properties"].items() if k not in names}
    return {**table, "properties": fields}


def config_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of a configuration file, for editors.

    The same shape holds for TOML and YAML.
    """
    definitions: dict[str, Any] = {}
    backend = _table(Backend, definitions)
    loose = {**_without(backend, ("model", "name")), "required": []}
    group = _table(GroupTable, definitions)
    budget = _table(Budget, definitions)
    rules = {"type": "array", "items": _table(Rule, definitions)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmbalance configuration",
        "type": "object",
        "additionalProperties": False,
        "required": ["backend"],
        "properties": {
            "router": _table(RouterTable, definitions),
            "defaults": {
                **loose,
                "properties": {**loose["properties"], "group": _without(group, OF_ONE)},
            },
            "provider": {"type": "object", "additionalProperties": loose},
            "backend": {"type": "array", "minItems": 1, "items": backend},
            "group": {
                "type": "object",
                "additionalProperties": group,
            },
            "task": {
                "type": "object",
                "additionalProperties": _table(Task, definitions),
            },
            "experiment": {
                "type": "object",
                "additionalProperties": _table(Experiment, definitions),
            },
            "mirror": {
                "type": "object",
                "additionalProperties": _table(Mirror, definitions),
            },
            "rule": rules,
            "shadow_rule": rules,
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
        words = WORDS.get((shape, name))
        if words is not None:
            choice = {"enum": list(words)}
            many = schema.get("type") == "array"
            schema = {"type": "array", "items": choice} if many else choice
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
            anything = inner is Any
            within = True if anything else _schema(inner, definitions)
            return {"type": "object", "additionalProperties": within}
        if origin is tuple and Ellipsis not in arguments:
            items = [_schema(one, definitions) for one in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items)}
        return {"type": "array", "items": _schema(inner, definitions)}
    if arguments:
        choices = [_schema(one, definitions) for one in arguments if one != NoneType]
        unique = [c for i, c in enumerate(choices) if c not in choices[:i]]
        return unique[0] if len(unique) == 1 else {"anyOf": unique}
    return {} if hint is Any else dict(_PLAIN[hint])


_CONTAINERS = (tuple, list, dict, Mapping, Sequence)
# Numbers and switches may come from the environment: "env:NAME".
_REFERENCE = {"type": "string", "pattern": "^env:"}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    NoneType: {"type": "null"},
    int: {"anyOf": [{"type": "integer"}, _REFERENCE]},
    float: {"anyOf": [{"type": "number"}, _REFERENCE]},
    bool: {"anyOf": [{"type": "boolean"}, _REFERENCE]},
}
