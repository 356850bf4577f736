"""Active health: outages are seen without a call, and never by a paid one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from backends import backend

from llmbalance import Backend, ConfigError, Price, Router
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "Hello?"}]
Provider = Callable[..., MockProvider]


def two(make: Provider, **options: Any) -> tuple[MockProvider, MockProvider, Router]:
    a, b = make("openai", name="a"), make("openai", name="b")
    backends = [backend(a), backend(b, price=Price(10, 20))]
    settings: dict[str, Any] = {"health_interval": 3600, "seed": 1}
    return a, b, Router(backends, **settings | options)


def state(router: Router, name: str = "a") -> str:
    return str(router.stats()["backends"][name]["breaker"])


async def test_two_bad_looks_keep_a_backend_out_and_a_good_one_lets_it_in(
    llm_provider: Provider,
) -> None:
    a, _, router = two(llm_provider)
    async with router:
        await router._watch.look()
        assert state(router) == "closed"
        a.outage(status=503)
        await router._watch.look()
        assert state(router) == "closed"  # once may be chance
        await router._watch.look()
        assert state(router) == "open"
        reply = await router.chat("all", ASK)
        assert [attempt.backend for attempt in reply.attempts] == ["b"]
        a.recover()
        await router._watch.look()
        assert (await router.chat("all", ASK)).backend == "a"
    assert a.tokens_out == reply.usage.completion_tokens > 0


async def test_looks_are_free_and_no_calls_of_the_router(
    llm_provider: Provider,
) -> None:
    a, b, router = two(llm_provider)
    async with router:
        for _ in range(3):
            await router._watch.look()
        stats = router.stats()["backends"]
    assert a.tokens_out == b.tokens_out == a.tokens_in == 0
    assert [seen.path for seen in a.requests] == ["/v1/models"] * 3
    assert stats["a"]["requests"] == 0 and stats["a"]["cost"] == 0


async def test_a_refused_key_is_seen_and_a_missing_list_is_no_fault(
    llm_provider: Provider,
) -> None:
    wrong = llm_provider("openai", name="wrong", api_key="another")
    bare = llm_provider("openai", name="bare")
    backends = [backend(wrong), backend(bare, base_url=f"{bare.base_url}/nowhere")]
    async with Router(backends, health_interval=3600) as router:
        for _ in range(3):
            await router._watch.look()
        assert state(router, "wrong") == "open"
        assert state(router, "bare") == "closed"


async def test_what_is_opened_by_hand_stays_so(llm_provider: Provider) -> None:
    a, _, router = two(llm_provider)
    async with router:
        router.open_breaker("a")
        await router._watch.look()
        assert state(router) == "open"
        router.reset_breaker("a")
        assert state(router) == "closed"
        a.outage(status=503)
        await router._watch.look()
        await router._watch.look()
        router.open_breaker("a")  # the user's word now
        a.recover()
        await router._watch.look()
        assert state(router) == "open"


async def test_the_watch_runs_by_interval_once_calls_do_and_ends_with_the_router(
    llm_provider: Provider,
) -> None:
    a, _, router = two(llm_provider, health_interval=0.01)
    async with router:
        assert not a.requests  # nothing before the first call
        await router.chat("all", ASK)
        for _ in range(500):
            if sum(seen.path == "/v1/models" for seen in a.requests) >= 3:
                break
            await asyncio.sleep(0.01)
        stream = await router.chat("all", ASK, stream=True)
        assert [chunk async for chunk in stream]
    looks = sum(seen.path == "/v1/models" for seen in a.requests)
    assert looks >= 3
    await asyncio.sleep(0.05)
    assert sum(seen.path == "/v1/models" for seen in a.requests) <= looks + 1


async def test_closing_leaves_backends_to_their_breakers(
    llm_provider: Provider,
) -> None:
    a, _, router = two(llm_provider)
    a.outage(status=503)
    await router._watch.look()
    await router._watch.look()
    assert state(router) == "open"
    await router.aclose()
    assert state(router) == "closed"


@pytest.mark.parametrize("wrong", [0, -1, "often"])
def test_a_wrong_interval_is_refused(wrong: Any) -> None:
    one = Backend("openai/gpt-4o", api_key="k", price=Price(1, 2))
    with pytest.raises(ConfigError, match="health_interval"):
        Router([one], health_interval=wrong)
