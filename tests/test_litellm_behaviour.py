"""What a LiteLLM configuration promises is kept, also where LiteLLM breaks it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    NoBackendError,
    ProviderError,
    RequestTimeoutError,
    Router,
    ServerError,
)
from llmbalance._core import OUTCOMES
from llmbalance._litellm._names import STRATEGIES
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
DONE, FAILED = OUTCOMES.index("done"), OUTCOMES.index("failed")
Provider = Callable[..., MockProvider]
USAGE = "usage-based-routing-v2"


def router_of(*rows: dict[str, Any], **settings: Any) -> Router:
    """A router for rows given as {"group", "price", other litellm_params}."""
    made = []
    for i, given in enumerate(rows):
        params = {"model": f"ollama/{i}", **given}
        made.append({"model_name": params.pop("group", "g"), "litellm_params": params})
    return Router.from_litellm({"model_list": made, "router_settings": settings})


def row_at(provider: MockProvider, **params: Any) -> dict[str, Any]:
    return {
        "model": f"openai/{provider.model}",
        "api_base": provider.base_url,
        "api_key": "test-key",
        **params,
    }


def picks(router: Router, calls: int, outcome: int = DONE, group: str = "g") -> Any:
    """How often each backend is chosen for calls that come one after the other."""
    fleet, counts = router._fleet, Counter[str]()
    for _ in range(calls):
        lease = fleet.pool.pick(fleet.group(group), "hello")
        name = router.backends[lease.backend] if lease.backend >= 0 else ""
        counts[name] += 1
        if name:
            lease.settle(outcome, (10, 10), 0.01, 0.02)
    return counts


@pytest.mark.parametrize("allowed", [0, 2, 3, 4])
def test_a_backend_is_cooled_at_the_failure_after_those_allowed(allowed: int) -> None:
    router = router_of({}, allowed_fails=allowed, cooldown_time=60)
    counts = picks(router, 20, FAILED)
    assert counts == {"g": allowed + 1, "": 20 - allowed - 1}


def test_many_failures_may_be_allowed() -> None:
    counts = picks(router_of({}, allowed_fails=100, cooldown_time=60), 150, FAILED)
    assert counts == {"g": 101, "": 49}


def test_shares_follow_the_weights_also_when_only_the_second_row_has_one() -> None:
    assert picks(router_of({"weight": 9}, {"weight": 1}), 1000)["g#1"] == 900
    assert picks(router_of({}, {"weight": 9}), 1000)["g#2"] == 900


def test_shares_follow_the_rates() -> None:
    counts = picks(router_of({"rpm": 90_000}, {"rpm": 1_000}), 910)
    assert counts["g#1"] >= 0.89 * 910


def test_orders_hold_without_any_other_switch() -> None:
    router = router_of({"order": 2}, {"order": 1}, allowed_fails=0, cooldown_time=60)
    assert picks(router, 50) == {"g#2": 50}
    router.open_breaker("g#2")
    assert picks(router, 50) == {"g#1": 50}


def test_a_rate_of_two_admits_two() -> None:
    assert picks(router_of({"rpm": 2}), 10)["g"] == 2


def test_the_price_of_one_row_does_not_change_another_of_the_same_model() -> None:
    dear = {"model": "ollama/x", "input_cost_per_token": 1e-5}
    for rows in (({"model": "ollama/x"}, dear), (dear, {"model": "ollama/x"})):
        router = router_of(*rows, routing_strategy="cost-based-routing")
        free = "g#1" if rows[0] is not dear else "g#2"
        assert picks(router, 20) == {free: 20}


def test_an_explicit_price_of_zero_is_chosen_first() -> None:
    router = router_of(
        {"model": "openai/gpt-4o", "api_key": "k"},
        {
            "model": "openai/gpt-4o",
            "api_key": "k",
            "input_cost_per_token": 0,
            "output_cost_per_token": 0,
        },
        routing_strategy="cost-based-routing",
    )
    assert picks(router, 20) == {"g#2": 20}


@pytest.mark.parametrize("strategy", list(STRATEGIES))
async def test_one_dead_of_two_reaches_no_caller(
    llm_provider: Provider, strategy: str
) -> None:
    dead, alive = llm_provider("openai"), llm_provider("openai")
    dead.outage(status=500)
    async with router_of(
        row_at(dead), row_at(alive), routing_strategy=strategy, disable_cooldowns=True
    ) as router:
        replies = [await router.acompletion("g", ASK) for _ in range(20)]
    assert {reply.backend for reply in replies} == {"g#2"}


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_burst_spreads_over_equals(strategy: str) -> None:
    router = router_of(*[{} for _ in range(4)], routing_strategy=strategy)
    pool, group = router._fleet.pool, router._fleet.group("g")
    leases = [pool.pick(group, "hello") for _ in range(100)]
    assert max(Counter(lease.backend for lease in leases).values()) <= 35


async def test_fallbacks_in_a_circle_ask_each_group_once_and_end(
    llm_provider: Provider,
) -> None:
    a, b = llm_provider("openai"), llm_provider("openai")
    a.outage(status=500)
    b.outage(status=500)
    router = router_of(
        row_at(a, group="a"),
        row_at(b, group="b"),
        fallbacks=[{"a": ["b"]}, {"b": ["a"]}],
    )
    async with router:
        with pytest.raises((ServerError, RequestTimeoutError)) as caught:
            await router.acompletion("a", ASK, timeout=0.4)
    assert [attempt.backend for attempt in caught.value.attempts[:2]] == ["a", "b"]


async def test_a_row_s_time_out_beats_the_router_s_and_the_call_s_beats_both(
    llm_provider: Provider,
) -> None:
    slow = llm_provider("openai")
    slow.hang()

    async def first_attempt(router: Router, within: float) -> float:
        async with router:
            with pytest.raises(RequestTimeoutError) as caught:
                await router.acompletion("g", ASK, timeout=within)
        return float(caught.value.attempts[0].seconds)

    own = router_of(row_at(slow, timeout=0.1), timeout=30)
    assert 0.1 <= await first_attempt(own, within=0.5) < 0.4
    general = router_of(row_at(slow), timeout=0.1)
    assert 0.1 <= await first_attempt(general, within=0.5) < 0.4
    start = time.monotonic()
    await first_attempt(router_of(row_at(slow, timeout=20)), within=0.2)
    assert time.monotonic() - start < 3


async def test_calls_in_flight_are_bounded_until_a_stream_is_consumed(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    async with router_of(row_at(provider, max_parallel_requests=1)) as router:
        stream = await router.acompletion("g", ASK, stream=True)
        with pytest.raises((NoBackendError, RequestTimeoutError)):
            await router.acompletion("g", ASK, timeout=0.1)
        second = asyncio.ensure_future(router.acompletion("g", ASK, timeout=10))
        async for _ in stream:
            pass
        assert (await second).text


def test_several_routers_learn_apart() -> None:
    first, second = router_of({}, {}), router_of({}, {})
    picks(first, 10)
    assert [first._fleet.pool.backend(i)["calls"] for i in (0, 1)] == [5, 5]
    assert [second._fleet.pool.backend(i)["calls"] for i in (0, 1)] == [0, 0]


def test_the_cheapest_is_used_up_then_the_next_then_nobody() -> None:
    router = router_of(
        {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "rpm": 4},
        {"input_cost_per_token": 3e-6, "output_cost_per_token": 3e-6, "rpm": 3},
        {"input_cost_per_token": 2e-6, "output_cost_per_token": 2e-6, "rpm": 2},
        routing_strategy="cost-based-routing",
    )
    router._fleet.pool.set_policy(ceiling=1.0)
    seen = [next(iter(picks(router, 1))) for _ in range(11)]
    assert seen == ["g#1"] * 4 + ["g#3"] * 2 + ["g#2"] * 3 + [""] * 2


async def test_default_fallbacks_serve_names_that_neither_rows_nor_wildcards_have(
    llm_provider: Provider,
) -> None:
    server, rest = llm_provider("openai"), llm_provider("openai")
    rows = [
        {
            "model_name": "w/*",
            "litellm_params": row_at(server, model="custom_openai/*"),
        },
        {"model_name": "rest", "litellm_params": row_at(rest, model="custom_openai/r")},
    ]
    settings = {"default_fallbacks": ["rest"]}
    router = Router.from_litellm({"model_list": rows, "router_settings": settings})
    async with router:
        assert (await router.acompletion("who knows", ASK)).backend == "rest"
        assert (await router.acompletion("w/x", ASK)).backend == "w/x"
        server.outage(status=503)
        assert (await router.acompletion("w/x", ASK)).backend == "rest"


# -- what LiteLLM's own tests expect -----------------------------------------------


def test_three_failures_and_seven_answers_do_not_cool_a_backend() -> None:
    router = router_of({}, {})
    for outcome in (FAILED, DONE, DONE) * 3 + (DONE,):
        pool = router._fleet.pool
        lease = pool.pick(router._fleet.group("g#1"), "hello")
        assert lease.backend == 0
        lease.settle(outcome, (10, 10), 0.01, 0.02)
    assert router._fleet.pool.backend(0)["breaker"]["state"] == "closed"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("auth", "open"), ("missing", "open"), ("rejected", "closed")],
)
def test_a_refused_key_or_a_missing_model_cools_even_a_single_backend(
    outcome: str, state: str
) -> None:
    router = router_of({}, cooldown_time=60)
    picks(router, 1, OUTCOMES.index(outcome))
    assert router._fleet.pool.backend(0)["breaker"]["state"] == state


def test_a_later_retry_after_is_not_shortened_by_an_earlier_one() -> None:
    router = router_of({})
    pool, group = router._fleet.pool, router._fleet.group("g")
    leases = [pool.pick(group, "hello", now=1.0) for _ in range(2)]
    for lease, retry_after in zip(leases, (60.0, 5.0), strict=True):
        lease.settle(OUTCOMES.index("rate_limited"), retry_after=retry_after, now=2.0)
    assert pool.pick(group, "hello", now=50.0).backend == -1
    assert pool.pick(group, "hello", now=63.0).backend == 0


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_what_no_retry_can_help_is_asked_once(
    llm_provider: Provider, status: int
) -> None:
    provider = llm_provider("openai")
    provider.outage(status=status)
    async with router_of(row_at(provider), num_retries=3) as router:
        with pytest.raises(ProviderError) as caught:
            await router.acompletion("g", ASK, timeout=10)
    assert len(caught.value.attempts) == 1


async def test_a_retry_waits_only_where_nobody_else_is_left(
    llm_provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(low: float, high: float) -> float:
        pauses.append(high)
        return 0.0

    monkeypatch.setattr("llmbalance._call._walk.random.uniform", pause)
    first, second = llm_provider("openai"), llm_provider("openai")
    first.outage(status=500)
    second.outage(status=500)
    for rows, waits in (((first, second), 0), ((first,), 1)):
        pauses.clear()
        router = router_of(*map(row_at, rows), num_retries=1)
        async with router:
            with pytest.raises(ServerError) as caught:
                await router.acompletion("g", ASK, timeout=10)
        assert len(caught.value.attempts) == 2
        assert len(pauses) == waits  # and none after the last attempt


def test_usage_based_routing_takes_who_has_more_room() -> None:
    router = router_of({"tpm": 10_000}, {"tpm": 10_000}, routing_strategy=USAGE)
    pool, group = router._fleet.pool, router._fleet.group("g")
    assert {pool.pick(group, "hello").backend for _ in range(50)} == {0, 1}
    router = router_of({"tpm": 10_000}, {"tpm": 10_000}, routing_strategy=USAGE)
    pool = router._fleet.pool
    held = pool.pick(router._fleet.group("g#2"), "hello", 5000)
    assert {pool.pick(router._fleet.group("g"), "hi", 1).backend for _ in range(9)} == {
        0
    }
    assert held.live


async def test_ten_a_minute_let_ten_of_fifty_at_once_through(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    row = row_at(provider, rpm=10)
    async with router_of(row) as router:
        answers = await asyncio.gather(
            *(router.acompletion("g", ASK, timeout=0.3, wait=False) for _ in range(50)),
            return_exceptions=True,
        )
    assert sum(not isinstance(answer, Exception) for answer in answers) == 10
    assert len(provider.requests) == 10


def test_the_faster_backend_is_chosen() -> None:
    router = router_of({}, {}, routing_strategy="latency-based-routing")
    fleet = router._fleet
    for name, seconds in (("g#1", 2.0), ("g#2", 0.2)) * 10:
        lease = fleet.pool.pick(fleet.group(name), "hello")
        lease.settle(DONE, (10, 10), seconds / 2, seconds)
    assert picks(router, 10) == {"g#2": 10}


def test_the_cheapest_is_chosen_until_it_has_no_room() -> None:
    def priced(usd: float) -> dict[str, float]:
        return {"input_cost_per_token": usd, "output_cost_per_token": usd}

    router = router_of(
        {"rpm": 3, **priced(1e-7)},
        priced(1e-6),
        routing_strategy="cost-based-routing",
    )
    assert picks(router, 10) == {"g#1": 3, "g#2": 7}
    limited = router_of(
        {"rpm": 1, **priced(1e-7)}, routing_strategy="cost-based-routing"
    )
    assert picks(limited, 3) == {"g": 1, "": 2}


def test_calls_with_the_same_beginning_stay_where_it_is_cached() -> None:
    router = Router.from_litellm(
        {
            "model_list": [
                {
                    "model_name": "g",
                    "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"},
                }
                for _ in range(4)
            ],
            "router_settings": {"optional_pre_call_checks": ["prompt_caching"]},
        }
    )

    def ask(beginning: str, turn: int) -> str:
        messages = [
            {"role": "system", "content": beginning * 2000},
            {"role": "user", "content": "go on"},
            {"role": "assistant", "content": "yes " * turn},
            {"role": "user", "content": "and then"},
        ]
        shot = router._intake.run("chat", "g", messages, False, {}).aim()
        assert not isinstance(shot, float)
        shot.lease.settle(DONE, (2000, 10), 0.5, 1.0)
        return shot.target.name

    places = {name: {ask(name, turn) for turn in range(8)} for name in "abcdefgh"}
    assert all(len(where) == 1 for where in places.values()), places
    assert len(set.union(*places.values())) > 1
    stay = next(iter(places["a"]))
    router.open_breaker(stay)
    assert ask("a", 9) != stay
