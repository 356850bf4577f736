"""LiteLLM's routing_groups: a strategy, and a name, for several models together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import Router
from llmbalance._configfile._load import Plan
from llmbalance._litellm._plan import load_litellm
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
Provider = Callable[..., MockProvider]


def config(*sets: Any, models: str = "abc", **router: Any) -> dict[str, Any]:
    rows = [
        {"model_name": name, "litellm_params": {"model": f"ollama/model-{name}"}}
        for name in models
    ]
    return {
        "model_list": rows,
        "router_settings": {"routing_groups": [*sets], **router},
    }


def plan_of(*sets: Any, **given: Any) -> Plan:
    return load_litellm(config(*sets, **given))


def one(name: str, models: list[str], strategy: str, **more: Any) -> dict[str, Any]:
    return {"group_name": name, "models": models, "routing_strategy": strategy, **more}


def told(plan: Plan, kind: str = "fault") -> list[str]:
    return [f"{note.field}: {note.message}" for note in plan.notes if note.kind == kind]


def strategies(plan: Plan) -> dict[str, str | None]:
    return {group.name: group.strategy for group in plan.options["groups"]}


def members(plan: Plan, group: str) -> list[str]:
    return [b.label for b in plan.backends if group in b.groups]


def test_models_of_a_routing_group_have_its_strategy_and_its_name() -> None:
    plan = plan_of(one("fast", ["a", "b"], "latency-based-routing"))
    assert strategies(plan) == {"a": "latency", "b": "latency", "fast": "latency"}
    assert members(plan, "fast") == ["a", "b"]
    assert plan.options["strategy"] == "weighted"
    assert told(plan) == []
    fleet = Router.from_litellm(config(one("fast", ["a", "b"], "least-busy")))._fleet
    assert fleet.rule("fast") == fleet.rule("a") != fleet.rule("c")


def test_models_by_priority_are_a_group_and_its_fallbacks() -> None:
    ranks = {"a": 1, "b": 1, "c": 7}
    plan = plan_of(
        one("tiers", ["a", "b", "c"], "priority", model_priorities=ranks),
        fallbacks=[{"tiers": ["a"]}],
    )
    assert members(plan, "tiers") == ["a", "b"]
    assert plan.options["fallbacks"] == {"tiers": ["c", "a"]}
    assert strategies(plan) == {"tiers": "weighted"}
    assert told(plan) == []


def test_several_models_of_a_later_priority_are_a_group_of_their_own() -> None:
    ranks = {"a": 1, "b": 2, "c": 2}
    plan = plan_of(one("t", ["c", "b", "a"], "priority", model_priorities=ranks))
    assert members(plan, "t") == ["a"]
    assert plan.options["fallbacks"] == {"t": ["t#2"]}
    assert members(plan, "t#2") == ["b", "c"]


async def test_calls_of_a_priority_group_go_on_to_the_next_one(
    llm_provider: Provider,
) -> None:
    mocks = {"dead": llm_provider("openai"), "good": llm_provider("openai")}
    mocks["dead"].outage(status=500)
    rows = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{mock.model}",
                "api_base": mock.base_url,
                "api_key": "test-key",
            },
        }
        for name, mock in mocks.items()
    ]
    tiers = one("t", [*mocks], "priority", model_priorities={"dead": 1, "good": 2})
    settings = {"routing_groups": [tiers], "num_retries": 0}
    source = {"model_list": rows, "router_settings": settings}
    async with Router.from_litellm(source) as router:
        reply = await router.acompletion("t", ASK, timeout=20)
    assert [attempt.backend for attempt in reply.attempts] == ["dead", "good"]


@pytest.mark.parametrize(
    ("entry", "kind", "why"),
    [
        (one("x", ["a"], "fastest"), "fault", "'fastest' is unknown"),
        (one("x", ["q"], "least-busy"), "fault", "no group 'q'"),
        (one("", ["a"], "least-busy"), "fault", "needs a group_name"),
        ({"group_name": "x", "model": ["a"]}, "fault", "did you mean 'models'?"),
        ("x", "fault", "is no mapping"),
        (one("x", ["a", "b"], "priority"), "fault", "needs a whole number >= 1"),
        (one("a", ["b"], "least-busy"), "changed", "goes on meaning that"),
        (
            one("x", ["a"], "least-busy", routing_strategy_args={"ttl": 1}),
            "changed",
            "by their age",
        ),
    ],
)
def test_what_a_routing_group_says_in_vain_is_told(
    entry: Any, kind: str, why: str
) -> None:
    plan = plan_of(entry)
    assert any(why in text for text in told(plan, kind))
    assert all("routing_groups" in text for text in told(plan, kind))


def test_routing_groups_that_are_no_list_are_told() -> None:
    source = config()
    source["router_settings"]["routing_groups"] = {"x": ["a"]}
    assert "give a list" in told(load_litellm(source))[0]


def test_a_model_has_the_strategy_of_its_first_group() -> None:
    plan = plan_of(
        one("x", ["a"], "least-busy"), one("y", ["a", "b"], "cost-based-routing")
    )
    assert strategies(plan)["a"] == "least_busy"
    assert strategies(plan)["y"] == strategies(plan)["b"] == "cost"
    assert "'a' has a strategy from another group already" in told(plan)[0]


def test_wildcards_get_the_strategy_and_stay_out_of_the_name() -> None:
    rows = [
        {"model_name": name, "litellm_params": {"model": f"ollama/{name}"}}
        for name in ("a", "*")
    ]
    sets = [one("x", ["a", "*"], "least-busy")]
    plan = load_litellm(
        {"model_list": rows, "router_settings": {"routing_groups": sets}}
    )
    assert strategies(plan) == {"a": "least_busy", "*": "least_busy", "x": "least_busy"}
    assert members(plan, "x") == ["a"]
    assert any("leaves out wildcards" in text for text in told(plan, "changed"))
