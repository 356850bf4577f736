"""What users of LiteLLM have complained of does not happen here."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    AuthenticationError,
    Backend,
    Budget,
    Limits,
    Price,
    RateLimitedError,
    Router,
    ServerError,
    StreamInterruptedError,
    UnknownModelError,
)
from llmbalance._core import OUTCOMES
from llmbalance._litellm._names import STRATEGIES
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
DONE, FAILED = OUTCOMES.index("done"), OUTCOMES.index("failed")
LATE = OUTCOMES.index("timed_out")
Provider = Callable[..., MockProvider]


def router_of(*rows: dict[str, Any], **settings: Any) -> Router:
    """A router for rows given as {"group", other litellm_params}."""
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


def backend_at(provider: MockProvider, name: str, **fields: Any) -> Backend:
    return Backend(
        f"openai/{provider.model}",
        name=name,
        base_url=provider.base_url,
        api_key="test-key",
        **{"groups": ["g"], "price": Price(1, 2), **fields},
    )


def picked(router: Router, now: float, group: str = "g") -> Any:
    return router._fleet.pool.pick(router._fleet.group(group), "hello", now=now)


# -- cooldowns -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "opens"), [("FFA", True), ("FAA", False), ("FAFAA", False)]
)
def test_failures_count_by_their_share_though_never_many_in_a_row(
    pattern: str, opens: bool
) -> None:
    router = router_of({}, {})
    for i in range(60):
        lease = picked(router, 1 + i / 10, "g#1")
        if lease.backend < 0:
            break
        outcome = FAILED if pattern[i % len(pattern)] == "F" else DONE
        lease.settle(outcome, (10, 10), 0.01, 0.02, now=1 + i / 10)
    assert (i < 59) == opens
    assert (router._fleet.pool.backend(0)["breaker"]["state"] != "closed") == opens


@pytest.mark.parametrize("order", [(60.0, 5.0), (5.0, 60.0)])
def test_of_two_times_to_stay_away_the_later_holds(order: tuple[float, float]) -> None:
    router = router_of({})
    leases = [picked(router, 1.0) for _ in order]
    for lease, retry_after in zip(leases, order, strict=True):
        lease.settle(OUTCOMES.index("rate_limited"), retry_after=retry_after, now=2.0)
    assert picked(router, 50.0).backend == -1
    assert picked(router, 63.0).backend == 0


async def test_retry_after_keeps_from_that_backend_also_when_there_are_others(
    llm_provider: Provider,
) -> None:
    limited, free = llm_provider("openai"), llm_provider("openai")
    limited.outage(status=429, retry_after=30)
    rows = row_at(limited, order=1), row_at(free, order=2)
    async with router_of(*rows, disable_cooldowns=True) as router:
        start = time.monotonic()
        replies = [await router.acompletion("g", ASK) for _ in range(20)]
        assert time.monotonic() - start < 10  # nobody sleeps for who is not needed
    assert {reply.backend for reply in replies} == {"g#2"}
    assert len(limited.requests) == 1


async def test_when_all_are_away_the_first_to_come_back_is_waited_for(
    llm_provider: Provider,
) -> None:
    soon, later = llm_provider("openai"), llm_provider("openai")
    soon.fail_next(1, status=429, retry_after=1)
    later.fail_next(1, status=429, retry_after=60)
    async with router_of(row_at(soon), row_at(later)) as router:
        await asyncio.gather(
            *(router.acompletion("g", ASK, timeout=20) for _ in range(4))
        )
        start = time.monotonic()
        reply = await router.acompletion("g", ASK, timeout=20)
    assert reply.backend == "g#1"
    assert time.monotonic() - start < 10


async def test_who_has_no_room_yet_is_waited_for_when_all_others_have_failed(
    llm_provider: Provider,
) -> None:
    dead, full = llm_provider("openai"), llm_provider("openai")
    dead.outage(status=401)
    limits = Limits(rpm=60, burst_seconds=1)
    first = backend_at(dead, "dead", order=0)
    second = backend_at(full, "full", order=1, limits=limits)
    for wait in (True, False):
        async with Router([first, second]) as router:
            await router.chat("full", ASK)  # for a second it has no room
            if wait:
                reply = await router.chat("g", ASK, timeout=20)
                assert [a.backend for a in reply.attempts] == ["dead", "full"]
            else:
                with pytest.raises(AuthenticationError):
                    await router.chat("g", ASK, timeout=20, wait=False)


def test_time_outs_drive_calls_to_who_answers() -> None:
    latency = {"routing_strategy": "latency-based-routing", "cooldown_time": 60}
    router = router_of({}, {}, **latency)
    for name, outcome in (("g#1", LATE), ("g#2", DONE)) * 5:
        lease = picked(router, 1.0, name)
        seconds = 30.0 if outcome == LATE else 0.3
        lease.settle(outcome, (10, 10), None, seconds, now=1.0 + seconds)
    names = Counter[int]()
    for _ in range(10):
        lease = picked(router, 40.0)
        names[lease.backend] += 1
        lease.settle(DONE, (10, 10), 0.1, 0.3, now=40.3)
    assert names == {1: 10}


# -- retries and fallbacks -------------------------------------------------------------


async def test_a_refused_key_is_asked_once_and_others_have_their_own(
    llm_provider: Provider,
) -> None:
    refusing, willing = llm_provider("openai"), llm_provider("openai")
    refusing.outage(status=401)
    async with router_of(row_at(refusing), num_retries=3) as router:
        with pytest.raises(AuthenticationError) as caught:
            await router.acompletion("g", ASK, timeout=10)
    assert len(caught.value.attempts) == len(refusing.requests) == 1
    rows = row_at(refusing, order=1), row_at(willing, order=2)
    async with router_of(*rows, num_retries=3) as router:
        assert (await router.acompletion("g", ASK)).backend == "g#2"


async def test_a_missing_model_goes_on_to_the_next_order(
    llm_provider: Provider,
) -> None:
    gone, there = llm_provider("openai"), llm_provider("openai")
    gone.outage(status=404)
    rows = row_at(gone, order=1), row_at(there, order=2)
    async with router_of(*rows) as router:
        assert (await router.acompletion("g", ASK)).backend == "g#2"


async def test_errors_do_not_grow_with_fallbacks_in_a_circle(
    llm_provider: Provider,
) -> None:
    broken = llm_provider("openai")
    broken.outage(status=500)
    names = ["a", "b", "c", "d"]
    circle = [{x: [y]} for x, y in zip(names, [*names[1:], "a"], strict=True)]
    async with router_of(
        *(row_at(broken, group=name) for name in names), fallbacks=circle
    ) as router:
        with pytest.raises(ServerError) as caught:
            await router.chat("a", ASK, timeout=20, max_attempts=1)
    assert [a.backend for a in caught.value.attempts] == names
    assert len(str(caught.value)) < 400


async def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    router = router_of({"group": "fast"}, {"group": "good"})
    with pytest.raises(UnknownModelError, match=r"fast.*good"):
        await router.acompletion("godo", ASK)


def test_what_the_caller_hands_in_stays_as_it_was(llm_provider: Provider) -> None:
    provider = llm_provider("openai")
    rows = [
        {"model_name": name, "litellm_params": row_at(provider)} for name in ("a", "b")
    ]
    settings = {"default_fallbacks": ["b"], "fallbacks": [{"a": ["b"]}]}
    data = {"model_list": rows, "router_settings": settings}
    options: dict[str, Any] = {"fallbacks": ["b"], "metadata": {"tags": ["x"]}}
    messages = copy.deepcopy(ASK)
    before = copy.deepcopy((data, options, messages))
    router = Router.from_litellm(data)
    provider.fail_next(1, status=500)
    router.completion("a", messages, **options)
    router.close()
    assert (data, options, messages) == before


# -- limits, in flight -----------------------------------------------------------------


async def test_a_stream_that_is_left_gives_its_place_back_and_is_paid_for(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai", per_token=0.02, output_tokens=200)
    backend = backend_at(provider, "one", limits=Limits(concurrency=1))
    async with Router([backend], budgets=[Budget(usd=1)]) as router:
        pool = router._fleet.pool
        stream = await router.chat("g", ASK, stream=True, max_tokens=300)
        async for _ in stream:
            with pytest.raises(RateLimitedError):
                await router.chat("g", ASK, wait=False)
            break
        await stream.aclose()
        assert pool.spent(0)[0] > 0
        provider.per_token = 0.0
        assert (await router.chat("g", ASK, timeout=10)).text
        assert pool.backend(0)["in_flight"] == 0


async def test_a_stream_that_breaks_goes_on_elsewhere_only_before_its_first_token(
    llm_provider: Provider,
) -> None:
    broken, whole = llm_provider("openai"), llm_provider("openai")
    backends = [backend_at(broken, "broken"), backend_at(whole, "whole", groups=["h"])]
    async with Router(backends, fallbacks={"g": ["h"]}, budgets=[Budget(usd=1)]) as r:
        broken.cut_stream(after_tokens=0, n=1)
        chunks = [chunk async for chunk in await r.chat("g", ASK, stream=True)]
        assert chunks[-1].backend == "whole"
        before, _ = r._fleet.pool.spent(0)
        broken.cut_stream(after_tokens=5, n=1)
        text = ""
        with pytest.raises(StreamInterruptedError):
            async for chunk in await r.chat("g", ASK, stream=True):
                text += chunk.text
        assert text and len(whole.requests) == 1  # told twice it would be a lie
        assert r._fleet.pool.spent(0)[0] > before  # what was said is paid for


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_nothing_drifts_however_calls_end(strategy: str) -> None:
    router = router_of({}, {}, {}, routing_strategy=strategy, disable_cooldowns=True)
    for i in range(600):
        lease = picked(router, 1 + i)
        lease.settle(i % len(OUTCOMES), (10, 10), 0.01, 0.02, now=1.5 + i)
        del lease
    pool = router._fleet.pool
    assert [pool.backend(i)["in_flight"] for i in range(3)] == [0, 0, 0]


# -- weights, prices, latency ----------------------------------------------------------


def test_weights_that_are_all_zero_are_taken_as_equal_and_divide_by_nothing() -> None:
    router = router_of({"weight": 0}, {"weight": 0})
    assert {picked(router, float(i)).backend for i in range(1, 10)} == {0, 1}
    assert any("all weights are 0" in str(note) for note in router.notes)
    router = router_of({"weight": 0}, {"weight": 2})
    assert {picked(router, float(i)).backend for i in range(1, 10)} == {1}


def test_prices_written_as_texts_are_prices() -> None:
    router = router_of(
        {"input_cost_per_token": "3e-6", "output_cost_per_token": "0.000003"},
        {"input_cost_per_token": "1e-6", "output_cost_per_token": "0.000001"},
        routing_strategy="cost-based-routing",
    )
    assert {picked(router, float(i)).backend for i in range(1, 10)} == {1}


async def test_a_cached_token_that_costs_nothing_costs_nothing(
    llm_provider: Provider,
) -> None:
    provider = llm_provider(
        "openai", reply={"text": "yes", "cached_tokens": 1024}, output_tokens=1
    )
    free = {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 0,
        "cache_read_input_token_cost": 0,
    }
    long = [{"role": "user", "content": "word " * 1200}]
    async with router_of(row_at(provider, **free)) as router:
        reply = await router.acompletion("g", long)
    assert reply.usage.cached_tokens == 1024
    assert reply.cost_nano_usd == (reply.usage.prompt_tokens - 1024) * 1000


def test_who_was_slow_once_is_not_slow_for_ever() -> None:
    router = router_of({}, {}, routing_strategy="latency-based-routing")
    for i in range(20):
        for name, seconds in (("g#1", 8.0), ("g#2", 0.5)):
            lease = picked(router, 1.0 + 10 * i, name)
            lease.settle(DONE, (10, 10), seconds / 2, seconds, now=9.0 + 10 * i)
    assert {picked(router, 210.0).backend for _ in range(5)} == {1}
    seen = Counter[int]()
    for i in range(200):
        lease = picked(router, 4000.0 + i)
        seen[lease.backend] += 1
        lease.settle(DONE, (10, 10), 0.2, 0.4, now=4000.4 + i)
    assert seen[0] >= 20


def test_zero_seconds_do_not_break_the_choice_by_latency() -> None:
    router = router_of({}, {}, routing_strategy="latency-based-routing")
    for i in range(20):
        lease = picked(router, 1.0 + i)
        lease.settle(DONE, (0, 0), 0.0, 0.0, now=1.0 + i)
    assert picked(router, 30.0).backend in (0, 1)


def test_a_long_prompt_does_not_hold_up_the_loop() -> None:
    router = router_of({"model": "openai/gpt-4o", "api_key": "k"})
    long = [{"role": "user", "content": "some words of a long prompt " * 30_000}]
    pool, group = router._fleet.pool, router._fleet.group("g")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        pool.pick(group, long)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # 840,000 characters; 0.2 ms on a quiet machine
