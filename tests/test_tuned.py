"""Tuned endpoints: a base is chosen, and what was tuned from it is called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Budget,
    BudgetExceededError,
    ConfigError,
    Group,
    InvalidRequestError,
    Limits,
    NoBackendError,
    Price,
    PriceTable,
    RateLimitedError,
    Router,
)

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TUNED = "ft:gpt-4o:acme::x1"


@pytest.fixture
def server(llm_provider: Any) -> Any:
    """A provider that answers for every model."""
    return llm_provider("openai", name="any")


def base(server: Any, model: str = "openai/gpt-4o", **options: Any) -> Backend:
    settings: dict[str, Any] = {"groups": ["frontier"], "tuned": {"support": TUNED}}
    settings |= {"api_key": "test-key", "base_url": server.base_url} | options
    return Backend(model, **settings)


def asked_for(server: Any) -> list[str]:
    return [json.loads(seen.body)["model"] for seen in server.requests]


async def test_a_variant_is_answered_by_the_tuned_endpoint_of_a_base(server):
    async with Router([base(server)]) as router:
        reply = await router.chat("frontier", ASK, tuned="support")
        assert reply.backend == f"openai/{TUNED}"
        assert (await router.chat("frontier", ASK)).backend == "openai/gpt-4o"
        stream = await router.chat("frontier", ASK, tuned="support", stream=True)
        async for _ in stream:
            pass
        with router.acquire("frontier", ASK, tuned="support") as lease:
            assert lease.model == TUNED
            lease.release()
        assert TUNED in str(router.explain("frontier", ASK, tuned="support"))
        assert router.costs()["backends"][f"openai/{TUNED}"]["requests"] == 3
    assert asked_for(server) == [TUNED, "gpt-4o", TUNED]


def test_blocking_calls_reach_tuned_endpoints(server):
    router = Router([base(server)])
    reply = router.sync.chat("frontier", ASK, tuned="support")
    assert reply.backend == f"openai/{TUNED}"


async def test_tuned_endpoints_are_in_no_group_but_have_their_name(server):
    async with Router([base(server)], strategy="round_robin") as router:
        found = {(await router.chat("frontier", ASK)).backend for _ in range(4)}
        assert found == {"openai/gpt-4o"}
        reply = await router.chat(f"openai/{TUNED}", ASK)
        assert reply.backend == f"openai/{TUNED}"


async def test_backends_without_the_variant_help_when_none_with_it_can(llm_provider):
    bad = llm_provider("openai", name="bad", error_rate=1.0)
    good = llm_provider("openai", name="good")
    backends = [
        base(bad, name="with"),
        base(good, name="without", tuned={}, price=Price(0, 0)),  # far cheaper
    ]
    async with Router(backends, fallbacks={}) as router:
        reply = await router.chat("frontier", ASK, tuned="support")
        assert reply.attempts[0].backend == f"with/{TUNED}"
        assert reply.backend == "without"


async def test_the_variant_of_a_fallback_comes_before_its_other_backends(llm_provider):
    bad = llm_provider("openai", name="bad", error_rate=1.0)
    good = llm_provider("openai", name="good")
    backends = [
        base(bad, name="a"),
        base(good, name="b", groups=["mid"], tuned={}),
        base(good, name="c", groups=["mid"], tuned={"support": "ft:gpt-4o-mini:a::1"}),
    ]
    async with Router(backends, fallbacks={"frontier": ["mid"]}) as router:
        reply = await router.chat("frontier", ASK, tuned="support")
        assert [a.backend for a in reply.attempts] == [
            f"a/{TUNED}",
            "a",
            "c/ft:gpt-4o-mini:a::1",
        ]


async def test_several_bases_are_balanced_over_their_tuned_endpoints(server):
    backends = [base(server, name=name, price=Price(1, 1)) for name in ("a", "b")]
    async with Router(backends, strategy="round_robin") as router:
        found = [
            (await router.chat("frontier", ASK, tuned="support")).backend
            for _ in range(4)
        ]
    assert sorted(found) == [f"a/{TUNED}"] * 2 + [f"b/{TUNED}"] * 2


async def test_money_is_counted_at_the_tuned_price(server):
    table = PriceTable()
    table.set("openai/ft:gpt-4o", Price(100, 100))
    async with Router([base(server, price=Price(1, 1))], prices=table) as router:
        plain = await router.chat("frontier", ASK)
        tuned = await router.chat("frontier", ASK, tuned="support")
        assert plain.cost == pytest.approx(1e-6 * plain.usage.total_tokens)
        assert tuned.cost == pytest.approx(1e-4 * tuned.usage.total_tokens)
        router.set_price(f"openai/{TUNED}", Price(1000, 1000))
        dearer = await router.chat("frontier", ASK, tuned="support")
        assert dearer.cost == pytest.approx(1e-3 * dearer.usage.total_tokens)


async def test_a_tuned_endpoint_spends_the_limits_of_its_base(server):
    limits = Limits(rpm=2, concurrency=1)
    async with Router([base(server, limits=limits)], wait=False, stop_at=1.0) as router:
        with router.acquire("frontier", ASK, tuned="support") as lease:
            with pytest.raises(RateLimitedError), router.acquire("frontier", ASK):
                pass
            lease.settle(status=200)
        await router.chat("frontier", ASK)
        with pytest.raises(RateLimitedError):
            await router.chat("frontier", ASK, tuned="support")


async def test_breakers_of_base_and_tuned_endpoint_are_apart(server):
    async with Router([base(server)]) as router:
        router.open_breaker("openai/gpt-4o")
        assert (await router.chat("frontier", ASK, tuned="support")).cost != 0
        with pytest.raises(NoBackendError):
            await router.chat("frontier", ASK)


async def test_a_groups_terms_and_budgets_hold_for_its_variants(server, tmp_path):
    options: dict[str, Any] = {
        "groups": [Group(name="frontier", strategy="cost", max_attempts=2)],
        "budgets": [Budget(usd=0.01, per="day", group="frontier")],
        "ledger": tmp_path / "ledger",
        "unknown_price": Price(50, 50),
    }
    async with Router([base(server)], **options) as router:
        await router.chat("frontier", ASK, tuned="support", max_tokens=40)
        number = router._fleet.groups["frontier[support]"]
        assert router._fleet.group_terms[number].max_attempts == 2
        with router.acquire("frontier", ASK, tuned="support") as lease:
            assert lease.decision.to_dict()["strategy"] == "cost"
            lease.release()
        [meter] = router._fleet.meters
        spent = router._fleet.pool.spent(meter.index)[0]
        assert spent > 0
    async with Router([base(server)], **options) as router:
        [meter] = router._fleet.meters
        assert router._fleet.pool.spent(meter.index)[0] == spent
        with pytest.raises(BudgetExceededError):
            for _ in range(20):
                await router.chat("frontier", ASK, tuned="support", max_tokens=40)


@pytest.mark.parametrize("tuned", ["", 3, ["support"]])
async def test_a_variant_is_a_name(server, tuned):
    async with Router([base(server)]) as router:
        with pytest.raises(InvalidRequestError, match="tuned"):
            await router.chat("frontier", ASK, tuned=tuned)


async def test_a_variant_nobody_has_is_refused_with_those_there_are(server):
    async with Router([base(server)]) as router:
        with pytest.raises(InvalidRequestError, match="known are support"):
            await router.chat("frontier", ASK, tuned="sales")
    async with Router([base(server, tuned={})]) as router:
        with pytest.raises(InvalidRequestError, match="known are none"):
            await router.chat("frontier", ASK, tuned="support")
    assert not server.requests


def test_a_group_named_like_a_variant_is_refused(server):
    other = base(server, name="o", groups=["frontier[support]"], tuned={})
    with pytest.raises(ConfigError, match="variant"):
        Router([base(server), other])
