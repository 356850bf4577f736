"""Everything that is plain data in Python has its key in a file."""

from __future__ import annotations

import inspect
from datetime import date
from typing import Any

import pytest
from msgspec import Struct

from llmbalance import (
    Backend,
    Bandit,
    Breaker,
    Budget,
    ConfigFileError,
    Deal,
    Experiment,
    Group,
    Hedge,
    Limit,
    Limits,
    Mirror,
    Price,
    Router,
    Rule,
    Task,
    Timeouts,
    config_schema,
)
from llmbalance._configfile._load import load
from llmbalance._configfile._schema import RouterTable

ASK = [{"role": "user", "content": "What is the capital of France?"}]

# Arguments of the Router that are tables of their own.
TABLES = {
    "backends": "backend",
    "groups": "group",
    "fallbacks": "group",
    "tasks": "task",
    "classifier": "rule",
    "shadow_classifier": "shadow_rule",
    "budgets": "budget",
    "experiments": "experiment",
    "mirrors": "mirror",
}
# What no file can hold, and why.
ONLY_CODE = {
    ("Router", "on_anomaly"): "a function",
    ("Backend", "dialect"): "a class",
    ("Budget", "on_alert"): "a function",
    ("Mirror", "compare"): "a function",
}
# Where the table of each class stands in the schema.
PLACES: list[tuple[type[Struct], tuple[str, ...]]] = [
    (Backend, ("properties", "backend", "items")),
    (Budget, ("properties", "budget", "oneOf", "0", "items")),
    (Group, ("properties", "group", "additionalProperties")),
    (Task, ("properties", "task", "additionalProperties")),
    (Experiment, ("properties", "experiment", "additionalProperties")),
    (Mirror, ("properties", "mirror", "additionalProperties")),
    (Rule, ("properties", "rule", "items")),
    (Rule, ("properties", "shadow_rule", "items")),
    *[
        (shape, ("$defs", shape.__name__))
        for shape in (Limits, Limit, Timeouts, Breaker, Price, Deal, Bandit, Hedge)
    ],
]


def test_every_argument_of_the_router_has_a_key_of_the_same_default() -> None:
    schema = config_schema()["properties"]
    for name, parameter in inspect.signature(Router).parameters.items():
        if ("Router", name) in ONLY_CODE:
            assert name not in schema["router"]["properties"]
        elif name in TABLES:
            assert TABLES[name] in schema, name
        else:
            assert name in schema["router"]["properties"], name
            if name != "prices":
                own = getattr(RouterTable(), name)
                assert own == (parameter.default or own), name


@pytest.mark.parametrize(("shape", "place"), PLACES)
def test_every_field_of_a_class_has_a_key(
    shape: type[Struct], place: tuple[str, ...]
) -> None:
    table: Any = config_schema()
    for step in place:
        table = table[int(step) if isinstance(table, list) else step]
    named = {"name"} if "additionalProperties" in place else set()
    fields = set(shape.__struct_fields__) - named
    fields -= {name for of, name in ONLY_CODE if of == shape.__name__}
    more = {"backends", "aliases"} if shape is Group else set()
    assert set(table["properties"]) == fields | more


def whole(**changes: Any) -> dict[str, Any]:
    """Two groups with tasks and rules over them."""
    return {
        "router": {"default_task": "plain", "aliases": {"quick": "small"}},
        "backend": [
            {"name": "a", "model": "ollama/x", "groups": ["big"], "quality": 5},
            {"name": "b", "model": "ollama/y", "groups": ["small"]},
        ],
        "group": {
            "big": {
                "max_attempts": 2,
                "timeout": 9,
                "min_quality": 3,
                "fallbacks": ["best"],
                "context_fallbacks": ["quick"],
                "content_filter_fallbacks": ["small"],
            },
            "small": {"aliases": ["best"], "postprocess": ["trim"]},
        },
        "task": {
            "plain": {"group": "quick", "max_tokens": 10},
            "code": {"group": "big", "strategy": "latency", "priority": 1},
        },
        "rule": [{"task": "code", "has": ["code"]}],
        "shadow_rule": [{"task": "code", "longer": 10}],
        "budget": [{"usd": 1, "group": "best"}],
    } | changes


def test_a_file_with_groups_tasks_and_rules_is_a_router_that_follows_them() -> None:
    router = Router.from_file(whole())
    assert router.classify("Hello") == "plain"
    assert router.classify("```\nx = 1\n```") == "code"
    assert router.classifications()["calls"] == 2
    rows = router.explain("", "```\nx = 1\n```", task="auto").rows()
    assert [row["backend"] for row in rows] == ["a", "b"]
    fleet = router._fleet
    terms = fleet.group_terms[fleet.group("big")]
    assert (terms.timeout, terms.max_attempts) == (9.0, 2)
    assert terms.context == terms.filtered == [fleet.group("small")]
    assert fleet.group("best") == fleet.group("quick") == fleet.group("small")


def test_experiments_and_mirrors_stand_in_a_file() -> None:
    router = Router.from_file(
        whole(
            experiment={
                "cheaper": {
                    "models": ["big"],
                    "arms": {"control": {}, "cheap": {"strategy": "cost"}},
                    "ramp": [[0, 0.01], ["1h", 1.0]],
                    "since": date(2026, 1, 1),
                },
                "taught": {
                    "tasks": ["plain"],
                    "unit": "user",
                    "arms": {"a": {}, "b": {"model": "quick", "max_tokens": 5}},
                    "bandit": {"reward": "feedback", "cost_weight": 2},
                },
            },
            mirror={"new": {"to": "small", "share": 0.5, "models": ["big"]}},
        )
    )
    assert set(router.experiments()) == {"cheaper", "taught"}
    assert router.mirrors()["new"]["to"] == "small"


def test_a_file_says_what_it_wants_of_waiting_retrying_and_looking() -> None:
    router = Router.from_file(
        whole(
            router={
                "health_interval": 3,
                "max_waiting": 5,
                "retry_budget": False,
                "auto_session": True,
                "hedge": {"after": 0.5},
                "postprocess": ["strip_fences"],
                "unknown_price": "openai/gpt-4o",
                "aliases": {"quick": "small"},
            }
        )
    )
    assert router._watch is not None
    assert router._watch.interval == 3
    assert router._fleet.lines.most == 5
    assert router._fleet.retries is None
    assert router._intake.auto_session
    assert router._fleet.hedges is not None
    other = {"retry_budget": 0.5, "aliases": {"quick": "small"}}
    share = Router.from_file(whole(router=other))._fleet.retries
    assert share is not None
    assert share.share == 0.5


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"task": {"auto": {"group": "big"}}}, "task.auto", "other than"),
        ({"task": {"t": {}}}, "task.t", "'group' is missing"),
        ({"task": {"t": {"group": "bgi"}}}, "task.t.group", "did you mean 'big'?"),
        ({"task": {"t": {"group": "big", "name": "u"}}}, "task.t.name", "unknown key"),
        ({"task": [{"group": "big"}]}, "task", "[task.NAME]"),
        ({"router": {"default_task": "cod"}}, "router.default_task", "mean 'code'?"),
        ({"rule": [{"task": "cdoe"}]}, "rule[0].task", "did you mean 'code'?"),
        ({"rule": [{"task": "code", "pattern": "("}]}, "rule[0].pattern", "missing )"),
        ({"rule": {"task": "code"}}, "rule", "[[rule]]"),
        ({"shadow_rule": [{"has": ["code"]}]}, "shadow_rule[0]", "'task' is missing"),
        ({"router": {"aliases": {"x": "no"}}}, "router.aliases.x", "no group"),
        ({"router": {"aliases": {"a": "big"}}}, "router.aliases.a", "is taken"),
        ({"group": {"big": {"context_fallbacks": ["no"]}}}, "context_fallbacks", "no"),
        ({"group": {"big": {"name": "x"}}}, "group.big.name", "unknown key"),
        ({"router": {"retry_budget": True}}, "router.retry_budget", "false for none"),
        ({"router": {"predict": "auto"}}, "router.predict", "ledger"),
        ({"router": {"hedge": {"tail": 0}}}, "router.hedge.tail", "> 0"),
        ({"router": {"hedge": 3}}, "router.hedge", "bool"),
        ({"router": {"shift_at": 0.99}}, "router.shift_at", "shift_at < stop_at"),
        ({"mirror": {"m": {"to": "smal"}}}, "mirror.m.to", "did you mean 'small'?"),
        ({"mirror": {"m": {"to": "big", "compare": "x"}}}, "compare", "is a function"),
        ({"mirror": {"m/": {"to": "big"}}}, "mirror.m/", "letters, digits"),
        ({"experiment": {"e": {"arms": {"a": {}}}}}, "experiment.e.arms", "2 to 20"),
        (
            {"experiment": {"e": {"arms": {"a": {}, "b": {}}, "models": ["x"]}}},
            "experiment.e.models[0]",
            "no group",
        ),
        ({"router": {"on_anomaly": "x"}}, "router.on_anomaly", "unknown key"),
    ],
)
def test_mistakes_in_these_tables_are_found(
    changes: dict[str, Any], field: str, why: str
) -> None:
    with pytest.raises(ConfigFileError) as caught:
        load(whole(**changes))
    found = [e for e in caught.value.errors if field in e.field]
    assert found, caught.value
    assert any(why in e.message for e in found), found
