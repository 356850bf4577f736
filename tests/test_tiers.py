"""Tiers of quality, classes of equals, prepaid capacity: who may serve a call."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Group,
    Limits,
    LLMBalanceError,
    NoBackendError,
    Price,
    RateLimitedError,
    Router,
    UnknownModelError,
)

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TIERS = ("frontier", "mid", "economy")


@pytest.fixture
def fleet(llm_provider: Any) -> dict[str, Any]:
    """Two providers for each tier, named like frontier-0."""
    return {
        f"{tier}-{i}": llm_provider("openai", name=f"{tier}-{i}", model="gpt-4o")
        for tier in TIERS
        for i in range(2)
    }


def backends_of(fleet: dict[str, Any]) -> list[Backend]:
    """The worse the cheaper: a tier left downwards would be an economy."""
    return [
        Backend(
            "openai/gpt-4o",
            name=name,
            groups=[name[:-2]],
            quality=3 - TIERS.index(name[:-2]),
            price=Price(10 ** -TIERS.index(name[:-2]), 1),
            api_key="test-key",
            base_url=provider.base_url,
        )
        for name, provider in fleet.items()
    ]


def tier_of(name: str) -> str:
    return name.rpartition("-")[0]


@pytest.mark.parametrize(
    "strategy",
    ["round_robin", "weighted", "least_busy", "latency", "cost", "p2c", "composite"],
)
async def test_no_strategy_leaves_a_tier(fleet, strategy):
    async with Router(backends_of(fleet), strategy=strategy) as router:
        for tier in TIERS:
            for _ in range(6):
                assert tier_of((await router.chat(tier, ASK)).backend) == tier


async def test_a_tier_is_never_left_downwards_unless_a_fallback_says_so(fleet):
    chance = random.Random(7)
    chains = {"frontier": ["mid"]}  # mid goes nowhere
    options: dict[str, Any] = {"fallbacks": chains, "retry_budget": None}
    async with Router(backends_of(fleet), timeout=5, **options) as router:
        seen = set()
        for _ in range(30):
            for name, provider in fleet.items():
                provider.recover()
                if tier_of(name) != "economy" and chance.random() < 0.6:
                    provider.outage(status=503)
                router.reset_breaker(name)
            for tier, allowed in (("frontier", {"frontier", "mid"}), ("mid", {"mid"})):
                try:
                    reply = await router.chat(tier, ASK, timeout=0.3)
                except LLMBalanceError as error:
                    tried = {tier_of(a.backend) for a in error.attempts}
                else:
                    tried = {tier_of(a.backend) for a in reply.attempts}
                    seen.add((tier, tier_of(reply.backend)))
                assert tried <= allowed
        assert {("frontier", "frontier"), ("frontier", "mid"), ("mid", "mid")} <= seen


async def test_least_quality_bounds_a_call_and_its_whole_chain(fleet):
    chains = {"frontier": ["mid"], "mid": ["economy"]}
    async with Router(backends_of(fleet), fallbacks=chains) as router:
        for name in ("frontier-0", "frontier-1"):
            router.open_breaker(name)
        assert tier_of((await router.chat("frontier", ASK)).backend) == "mid"
        for name in ("mid-0", "mid-1"):
            router.open_breaker(name)
        reply = await router.chat("frontier", ASK)
        assert tier_of(reply.backend) == "economy"
        with pytest.raises(NoBackendError) as caught:
            await router.chat("frontier", ASK, min_quality=2)
        reasons = caught.value.reasons
        assert reasons["economy-0"] == reasons["economy-1"] == "quality"


async def test_equals_of_several_providers_are_one_class(llm_provider):
    """Any names make classes; a backend may be of several, and models may differ."""
    first = llm_provider("openai", name="first", model="gpt-4o")
    second = llm_provider("anthropic", name="second", model="claude-sonnet-4-5")
    backends = [
        Backend("openai/gpt-4o", name="first", groups=["flagship", "eu-flagship"]),
        Backend("anthropic/claude-sonnet-4-5", name="second", groups=["flagship"]),
    ]
    given = [(first, backends[0]), (second, backends[1])]
    ready = [
        Backend(
            b.model,
            name=b.name,
            groups=b.groups,
            price=Price(1, 1),
            api_key="test-key",
            base_url=provider.base_url,
        )
        for provider, b in given
    ]
    async with Router(ready, strategy="round_robin") as router:
        found = {(await router.chat("flagship", ASK)).backend for _ in range(4)}
        assert found == {"first", "second"}
        found = {(await router.chat("eu-flagship", ASK)).backend for _ in range(4)}
        assert found == {"first"}
        first.outage(status=503)
        assert (await router.chat("flagship", ASK)).backend == "second"
        with pytest.raises(UnknownModelError, match="flagship"):
            await router.chat("nobody", ASK)


def prepaid(server: Any, limits: Limits) -> list[Backend]:
    common: dict[str, Any] = {
        "groups": ["frontier"],
        "api_key": "test-key",
        "base_url": server.base_url,
    }
    return [
        Backend("openai/gpt-4o", name="payg", order=1, price=Price(5, 5), **common),
        Backend(
            "openai/gpt-4o", name="ptu", price=Price(0, 0), limits=limits, **common
        ),
    ]


@pytest.mark.parametrize("strategy", ["composite", "latency", "round_robin", "p2c"])
async def test_prepaid_capacity_is_used_up_before_anything_is_paid(
    llm_provider, strategy
):
    server = llm_provider("openai", model="gpt-4o")
    backends = prepaid(server, Limits(rpm=3))
    async with Router(backends, strategy=strategy, stop_at=1.0) as router:
        replies = [await router.chat("frontier", ASK) for _ in range(5)]
    assert [r.backend for r in replies] == ["ptu"] * 3 + ["payg"] * 2
    assert [r.cost == 0 for r in replies] == [True] * 3 + [False] * 2


async def test_calls_overflow_while_prepaid_capacity_is_busy_and_then_return(
    llm_provider,
):
    server = llm_provider("openai", model="gpt-4o")
    async with Router(prepaid(server, Limits(concurrency=2))) as router:
        with (
            router.acquire("frontier", ASK) as one,
            router.acquire("frontier", ASK) as two,
            router.acquire("frontier", ASK) as three,
        ):
            assert [one.backend, two.backend, three.backend] == ["ptu", "ptu", "payg"]
            one.settle(status=200)
            with router.acquire("frontier", ASK) as four:
                assert four.backend == "ptu"


async def test_calls_overflow_while_prepaid_capacity_fails(llm_provider):
    server = llm_provider("openai", model="gpt-4o")
    async with Router(prepaid(server, Limits(rpm=600))) as router:
        router.open_breaker("ptu")
        assert (await router.chat("frontier", ASK)).backend == "payg"
        router.reset_breaker("ptu")
        assert (await router.chat("frontier", ASK)).backend == "ptu"


async def test_prepaid_capacity_alone_never_costs_more_than_it_holds(llm_provider):
    server = llm_provider("openai", model="gpt-4o")
    groups = [Group(name="frontier")]
    ptu = [b for b in prepaid(server, Limits(rpm=2)) if b.name == "ptu"]
    async with Router(ptu, groups=groups, wait=False, stop_at=1.0) as router:
        for _ in range(2):
            assert (await router.chat("frontier", ASK)).cost == 0
        with pytest.raises(RateLimitedError):
            await router.chat("frontier", ASK)
