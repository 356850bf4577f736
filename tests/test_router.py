"""The main job over real sockets: choose, send, fail over, account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    AuthenticationError,
    Backend,
    BadRequestError,
    Breaker,
    Budget,
    BudgetExceededError,
    CostLimitError,
    InvalidRequestError,
    LeaseError,
    Limits,
    NoBackendError,
    OverloadedError,
    Price,
    RateLimitedError,
    RequestTimeoutError,
    Router,
    ServerError,
    StreamInterruptedError,
    Timeouts,
    UnknownModelError,
)
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
PRICES = {"a": (3, 15), "b": (1, 5), "c": (2, 8)}
KINDS = {"a": "anthropic", "b": "google", "c": "openai"}
MODELS = {"a": "claude-sonnet-4-5", "b": "gemini-2.5-pro", "c": "gpt-4o"}

Provider = Callable[..., MockProvider]


def backend(provider: MockProvider, name: str = "", **options: Any) -> Backend:
    """A backend that points at a mock provider."""
    kind = provider.dialect
    settings: dict[str, Any] = {
        "name": name or provider.name,
        "groups": ["all"],
        "api_key": "test-key",
        "base_url": provider.base_url,
        "price": Price(1, 2),
    } | options
    return Backend(f"{kind}/{provider.model}", **settings)


@pytest.fixture
def fleet(llm_provider: Provider) -> dict[str, MockProvider]:
    """One provider of each of the three main dialects."""
    return {
        name: llm_provider(kind, name=name, model=MODELS[name], output_tokens=20)
        for name, kind in KINDS.items()
    }


def router_of(fleet: dict[str, MockProvider], **options: Any) -> Router:
    """A router over the three, `b` being the cheapest."""
    backends = [
        backend(provider, price=Price(*PRICES[name]))
        for name, provider in fleet.items()
    ]
    return Router(backends, **({"seed": 1} | options))


async def test_the_cheapest_backend_answers_with_text_usage_and_exact_cost(fleet):
    async with router_of(fleet) as router:
        reply = await router.chat("all", ASK, max_tokens=50)
    assert reply.backend == "b"
    assert reply.text
    assert reply.choices[0].message.content == reply.text
    usage = reply.usage
    assert usage.completion_tokens == 20
    nano = usage.prompt_tokens * 1_000 + usage.completion_tokens * 5_000
    assert reply.cost_nano_usd == nano
    assert reply.cost == pytest.approx(nano / 1e9)
    assert [a.backend for a in reply.attempts] == ["b"]
    assert reply.decision.to_dict()["strategy"] == "composite"
    assert "b" in repr(reply.decision)


@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_every_dialect_answers_whole_and_in_a_stream_alike(fleet, name):
    async with router_of(fleet) as router:
        whole = await router.chat(name, ASK, max_tokens=50)
        chunks = [c async for c in await router.chat(name, ASK, stream=True)]
    assert whole.backend == name
    assert "".join(chunk.text for chunk in chunks)
    last = chunks[-1]
    assert last.choices[0].finish_reason == "stop"
    assert last.usage.completion_tokens == 20
    assert last.cost_nano_usd == whole.cost_nano_usd
    assert last.backend == name


async def test_generate_takes_a_prompt_and_embed_returns_vectors(llm_provider):
    provider = llm_provider("openai", name="e", model="text-embedding-3-small")
    router = Router([backend(provider)])
    reply = await router.embed("all", ["one", "two"])
    assert len(reply.data) == 2
    assert reply.vectors[0] != reply.vectors[1]
    assert reply.cost is not None
    with pytest.raises(InvalidRequestError, match="prompt"):
        await router.generate("", model="all")


@pytest.mark.parametrize("fault", ["outage", "drop", "garbage", "empty", "html", "401"])
async def test_a_broken_backend_is_left_for_another_one(fleet, fault):
    broken = fleet["b"]
    if fault == "outage":
        broken.outage(status=503)
    elif fault == "drop":
        broken.outage(status=None)
    elif fault == "401":
        broken.fail_next(1, status=401)
    else:
        broken.garbage(kind="truncated" if fault == "garbage" else fault)
    async with router_of(fleet) as router:
        reply = await router.chat("all", ASK)
    assert reply.backend == "c"
    assert [a.backend for a in reply.attempts] == ["b", "c"]
    assert reply.attempts[0].error is not None


async def test_a_hanging_backend_is_left_in_time(fleet):
    fleet["b"].hang()
    async with router_of(fleet, timeouts=Timeouts(total=0.2)) as router:
        reply = await router.chat("all", ASK, timeout=10)
    assert reply.backend == "c"
    assert reply.attempts[0].error == "request_timeout"


async def test_a_429_moves_the_call_and_pauses_the_backend(fleet):
    fleet["b"].fail_next(1, status=429, retry_after=30)
    async with router_of(fleet) as router:
        first = await router.chat("all", ASK)
        second = await router.chat("all", ASK)
        paused = router.stats()["backends"]["b"]
    assert [a.backend for a in first.attempts] == ["b", "c"]
    assert [a.backend for a in second.attempts] == ["c"]
    assert paused["rate_limited"] == 1
    assert paused["breaker"] == "closed"


async def test_the_callers_own_fault_is_not_tried_elsewhere(fleet):
    fleet["b"].fail_next(1, status=400)
    async with router_of(fleet) as router:
        with pytest.raises(BadRequestError) as caught:
            await router.chat("all", ASK)
    assert caught.value.backend == "b"
    assert len(caught.value.attempts) == 1


async def test_when_all_fail_the_last_error_carries_every_attempt(fleet):
    for provider in fleet.values():
        provider.outage(status=500)
    async with router_of(fleet) as router:
        with pytest.raises(ServerError) as caught:
            await router.chat("all", ASK, timeout=1.5)
    assert {a.backend for a in caught.value.attempts} == {"a", "b", "c"}


async def test_a_dead_key_opens_the_breaker_and_says_so(llm_provider):
    provider = llm_provider("openai", name="only", model="gpt-4o")
    router = Router([backend(provider, api_key="wrong")])
    with pytest.raises(AuthenticationError) as caught:
        await router.chat("all", ASK)
    assert "wrong" not in str(caught.value)
    assert router.stats()["backends"]["only"]["breaker"] == "open"


async def test_a_breaker_keeps_calls_away_and_lets_them_back(fleet):
    fleet["b"].outage(status=503)
    rules = Breaker(cooldown=0.2, cooldown_max=0.4, ramp=0.1, window=1)
    async with router_of(fleet, breaker=rules) as router:
        for _ in range(20):
            await router.chat("all", ASK)
        seen = fleet["b"].errors
        assert seen <= 6
        fleet["b"].recover()
        deadline = time.monotonic() + 10
        while fleet["b"].served < 10 and time.monotonic() < deadline:
            await router.chat("all", ASK)
            await asyncio.sleep(0.01)
    assert fleet["b"].served >= 10


async def test_fallback_groups_are_visited_once_even_in_a_circle(llm_provider):
    one = llm_provider("openai", name="one", model="gpt-4o")
    two = llm_provider("openai", name="two", model="gpt-4o-mini")
    one.outage(status=503)
    router = Router(
        [backend(one, groups=["big"]), backend(two, groups=["small"])],
        fallbacks={"big": ["small"], "small": ["big"]},
    )
    reply = await router.chat("big", ASK)
    assert [a.backend for a in reply.attempts] == ["one", "two"]
    two.outage(status=503)
    with pytest.raises(OverloadedError):
        await router.chat("big", ASK, timeout=1)


async def test_rpm_admits_exactly_its_number_of_calls(llm_provider):
    provider = llm_provider("openai", name="ten", model="gpt-4o")
    router = Router([backend(provider, limits=Limits(rpm=10))], wait=False)

    async def one() -> bool:
        try:
            await router.chat("all", ASK)
        except RateLimitedError as error:
            assert error.retry_after is not None
            assert 0 < error.retry_after <= 6
            return False
        return True

    admitted = await asyncio.gather(*(one() for _ in range(50)))
    assert sum(admitted) == 10
    assert provider.served == 10


async def test_a_full_limit_is_waited_for_within_the_timeout(llm_provider):
    provider = llm_provider("openai", name="slow", model="gpt-4o")
    router = Router([backend(provider, limits=Limits(rps=20))])
    begin = time.monotonic()
    await asyncio.gather(*(router.chat("all", ASK) for _ in range(30)))
    assert time.monotonic() - begin > 0.4
    with pytest.raises(RateLimitedError):
        router.acquire("all", ASK, wait=False).__enter__()


async def test_concurrency_is_never_exceeded(llm_provider):
    provider = llm_provider("openai", name="two", model="gpt-4o", ttft=0.05)
    router = Router([backend(provider, limits=Limits(concurrency=2))])
    await asyncio.gather(*(router.chat("all", ASK) for _ in range(8)))
    assert provider.peak == 2


async def test_max_cost_excludes_what_is_too_dear(fleet):
    async with router_of(fleet) as router:
        reply = await router.chat("all", ASK, max_cost=0.001, max_tokens=100)
        assert reply.backend == "b"
        with pytest.raises(CostLimitError) as caught:
            await router.chat("all", ASK, max_cost=0.0001, max_tokens=100)
    assert set(caught.value.reasons.values()) == {"max_cost"}
    assert all(p.served <= 1 for p in fleet.values())


async def test_max_latency_excludes_what_is_expected_to_be_too_slow(fleet):
    async with router_of(fleet) as router:
        with pytest.raises(NoBackendError) as caught:
            await router.chat("all", ASK, max_latency=0.01)
    assert set(caught.value.reasons.values()) == {"max_latency"}


async def test_a_budget_is_never_overspent_by_concurrent_calls(llm_provider):
    provider = llm_provider("openai", name="dear", model="gpt-4o", output_tokens=50)
    router = Router(
        [backend(provider, price=Price(0, 1000))],
        budgets=[Budget(usd=0.5, per="day")],
        wait=False,
    )

    async def one() -> bool:
        try:
            await router.chat("all", ASK, max_tokens=50)
        except BudgetExceededError:
            return False
        return True

    done = await asyncio.gather(*(one() for _ in range(40)))
    assert sum(done) == 10
    assert router.costs()["total"]["total"] == pytest.approx(0.5)


async def test_a_call_has_one_deadline_for_everything(fleet):
    for provider in fleet.values():
        provider.hang()
    async with router_of(fleet) as router:
        begin = time.monotonic()
        with pytest.raises(RequestTimeoutError):
            await router.chat("all", ASK, timeout=0.4)
    assert time.monotonic() - begin < 2


async def test_a_stream_fails_over_before_its_first_token(fleet):
    fleet["b"].cut_stream(after_tokens=0)
    async with router_of(fleet) as router:
        chunks = [c async for c in await router.chat("all", ASK, stream=True)]
    assert chunks[-1].backend == "c"
    assert [a.backend for a in chunks[-1].attempts] == ["b", "c"]


@pytest.mark.parametrize("how", ["close", "reset", "end"])
async def test_a_stream_that_breaks_later_gives_the_text_and_its_cost(fleet, how):
    fleet["b"].cut_stream(after_tokens=5, how=how)
    async with router_of(fleet) as router:
        seen = ""
        with pytest.raises(StreamInterruptedError) as caught:
            async for chunk in await router.chat("all", ASK, stream=True):
                seen += chunk.text
    assert seen
    assert caught.value.text == seen
    assert caught.value.usage.completion_tokens > 0
    assert caught.value.cost > 0
    assert fleet["c"].served == 0


async def test_closing_a_stream_early_settles_what_was_seen(fleet):
    fleet["b"].slow(factor=1)
    async with router_of(fleet) as router:
        stream = await router.chat("b", ASK, stream=True)
        await anext(stream)
        await stream.aclose()
        row = router.stats()["backends"]["b"]
    assert row["in_flight"] == 0
    assert row["cancelled"] == 1
    assert row["cost"] > 0


async def test_cancelling_a_call_frees_what_it_held(llm_provider):
    provider = llm_provider("openai", name="hangs", model="gpt-4o")
    provider.hang()
    router = Router([backend(provider)])
    task = asyncio.create_task(router.chat("all", ASK))
    await asyncio.sleep(0.1)
    assert router.stats()["backends"]["hangs"]["in_flight"] == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert router.stats()["backends"]["hangs"]["in_flight"] == 0


@pytest.mark.parametrize(
    "strategy",
    [
        *("round_robin", "weighted", "least_busy", "latency"),
        *("cost", "p2c", "composite", "predictive"),
    ],
)
async def test_equal_backends_share_a_burst_under_every_strategy(
    llm_provider, strategy
):
    fleet = [llm_provider("openai", name=f"n{i}", model="gpt-4o") for i in range(4)]
    async with Router([backend(p) for p in fleet], strategy=strategy, seed=7) as router:
        await asyncio.gather(*(router.chat("all", ASK) for _ in range(100)))
    assert max(provider.served for provider in fleet) <= 35


async def test_weights_split_calls_and_zero_drains(llm_provider):
    fleet = [llm_provider("openai", name=n, model="gpt-4o") for n in ("big", "small")]
    backends = [backend(fleet[0], weight=3), backend(fleet[1])]
    async with Router(backends, strategy="weighted") as router:
        for _ in range(40):
            await router.chat("all", ASK)
        assert fleet[0].served == 30
        router.set_weight("big", 0)
        for _ in range(5):
            await router.chat("all", ASK)
    assert (fleet[0].served, fleet[1].served) == (30, 15)


async def test_stats_and_costs_add_up(fleet):
    async with router_of(fleet, strategy="round_robin") as router:
        for _ in range(9):
            await router.chat("all", ASK)
        stats, costs = router.stats(), router.costs()
    assert stats["total"]["requests"] == 9
    assert stats["total"]["success_rate"] == 1
    assert sum(row["share"] for row in stats["backends"].values()) == pytest.approx(1)
    for row in stats["backends"].values():
        assert row["requests"] == 3
        assert 0 < row["p50"] <= row["p95"]
        assert row["mean"] > 0
    parts = [row["total_nano_usd"] for row in costs["backends"].values()]
    assert sum(parts) == costs["total"]["total_nano_usd"]
    percent = sum(row["percentage"] for row in costs["backends"].values())
    assert percent == pytest.approx(1)
    assert "backend" in str(stats)
    assert "<table>" in costs._repr_html_()


async def test_explain_names_everyone_and_sends_nothing(fleet):
    async with router_of(fleet) as router:
        report = router.explain("all", ASK, max_cost=0.0006, max_tokens=100)
    reasons = {row["backend"]: row["reason"] for row in report["candidates"]}
    assert reasons == {"a": "max_cost", "b": "eligible", "c": "max_cost"}
    assert all(not provider.requests for provider in fleet.values())


async def test_bring_your_own_client(fleet):
    async with router_of(fleet) as router:
        with router.acquire("all", ASK, max_tokens=100) as lease:
            assert lease.backend == "b"
            assert lease.model == MODELS["b"]
            cost = lease.settle(
                usage={"prompt_tokens": 10, "completion_tokens": 100},
                status=200,
                ttft=0.1,
                seconds=1.0,
            )
            with pytest.raises(LeaseError):
                lease.settle()
        assert cost == pytest.approx((10 * 1 + 100 * 5) / 1e6)
        with pytest.raises(RuntimeError):
            async with router.acquire("all", ASK):
                raise RuntimeError("the caller's own mistake")
        row = router.stats()["backends"]["b"]
    assert (row["succeeded"], row["cancelled"], row["in_flight"]) == (1, 1, 0)


async def test_health_tells_who_answers_and_warm_leaves_a_connection(fleet):
    fleet["a"].outage(status=503)
    async with router_of(fleet) as router:
        await router.warm()
        health = await router.health()
        reply = await router.chat("c", ASK)
    assert {name: row["ok"] for name, row in health.items()} == {
        "a": False,
        "b": True,
        "c": True,
    }
    assert health["a"]["problem"] == "server"
    assert router.stats()["total"]["requests"] == 1
    assert len(reply.attempts) == 1


def test_blocking_calls_do_the_same(fleet):
    router = router_of(fleet)
    reply = router.sync.chat("all", ASK)
    assert reply.backend == "b"
    chunks = list(router.sync.chat("c", ASK, stream=True))
    assert chunks[-1].usage.completion_tokens == 20
    assert router.sync.generate("Hello", model="a").text


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_cost": -1}, "max_cost"),
        ({"timeout": 0}, "timeout"),
        ({"temperatur": 1}, "temperatur"),
    ],
)
async def test_bad_calls_are_refused_before_anything_is_sent(fleet, call, field):
    async with router_of(fleet) as router:
        with pytest.raises(InvalidRequestError, match=field):
            await router.chat("all", **({"messages": ASK} | call))
        with pytest.raises(UnknownModelError, match="al"):
            await router.chat("al", ASK)
    assert all(not provider.requests for provider in fleet.values())
