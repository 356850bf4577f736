"""Conversations stay where their prompt cache is, while that backend can take them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmbalance import Backend, Limits, Price, Router
from llmbalance._hash import stable_hash

LONG = "You are a careful assistant for the city archive. " * 200
RATES = Price(10, 10, cache_read=1)


@pytest.fixture
def make(llm_provider: Any) -> Any:
    def build(count: int = 3, limits: Limits | None = None, **options: Any) -> Any:
        providers = [
            llm_provider("openai", name=f"n{i}", model="gpt-4o", prompt_cache=True)
            for i in range(count)
        ]
        backends = [
            Backend(
                "openai/gpt-4o",
                name=p.name,
                groups=["all"],
                api_key="test-key",
                base_url=p.base_url,
                price=RATES,
                limits=limits,
                cache_life=options.get("cache_life", 300.0),
            )
            for p in providers
        ]
        options.pop("cache_life", None)
        return providers, Router(backends, seed=3, **options)

    return build


def turns(first: str, count: int) -> list[list[dict[str, str]]]:
    """A conversation as it is sent, turn by turn."""
    messages = [{"role": "system", "content": LONG}, {"role": "user", "content": first}]
    sent = []
    for i in range(count):
        sent.append(list(messages))
        messages += [
            {"role": "assistant", "content": f"answer {i}"},
            {"role": "user", "content": f"question {i}"},
        ]
    return sent


async def talk(router: Router, count: int, sessions: int, **options: Any) -> Any:
    replies: dict[int, list[Any]] = {s: [] for s in range(sessions)}
    for i in range(count):
        for s in range(sessions):
            messages = turns(f"conversation {s}", count)[i]
            extra = {"session": f"s{s}"} if options.get("named") else {}
            replies[s].append(await router.chat("all", messages, **extra))
    return replies


async def test_a_session_stays_and_pays_for_its_prompt_once(make):
    _, router = make()
    async with router:
        replies = await talk(router, 5, 6, named=True)
    for conversation in replies.values():
        assert len({reply.backend for reply in conversation}) == 1
        first, *later = conversation
        full = 0.01 * first.usage.prompt_tokens / 1000  # USD, nothing cached
        assert all(reply.usage.cached_tokens > 2000 for reply in later)
        assert all(reply.cost < full / 2 for reply in later)


async def test_calls_that_begin_alike_are_a_session_by_setting(make):
    _, router = make(auto_session=True)
    async with router:
        replies = await talk(router, 4, 6)
    assert all(len({r.backend for r in talk_}) == 1 for talk_ in replies.values())


async def test_a_session_leaves_a_backend_that_is_broken(make):
    providers, router = make()
    async with router:
        first = await router.chat("all", turns("hello", 1)[0], session="s")
        home = next(p for p in providers if p.name == first.backend)
        home.outage(status=503)
        second = await router.chat("all", turns("hello", 2)[1], session="s")
        assert second.backend != first.backend
        home.recover()
        third = await router.chat("all", turns("hello", 3)[2], session="s")
    assert third.backend == second.backend  # its cache lies there now


async def test_a_session_spills_when_its_backend_is_full(make):
    providers, router = make(2, Limits(concurrency=1))
    for provider in providers:
        provider.ttft = 0.1
    messages = turns("hello", 1)[0]
    async with router:
        first = await router.chat("all", messages, session="s")
        pair = await asyncio.gather(
            *(router.chat("all", messages, session="s") for _ in range(2))
        )
    assert first.backend in {reply.backend for reply in pair}
    assert len({reply.backend for reply in pair}) == 2


async def test_a_session_expires_with_the_providers_cache(make):
    _, router = make(2, cache_life=0.05)
    async with router:
        await router.chat("all", turns("hello", 1)[0], session="s")
        bound = router.explain("all", turns("hello", 1)[0], session="s")
        await asyncio.sleep(0.1)
        free = router.explain("all", turns("hello", 1)[0], session="s")
    costs = [sorted(row["cost"] for row in r["candidates"]) for r in (bound, free)]
    assert costs[0][0] < costs[0][1] / 2
    assert costs[1][0] == pytest.approx(costs[1][1])


@pytest.mark.parametrize("sessions", [0, 2, 4096])
def test_a_session_has_one_key_however_many_are_remembered(make, sessions):
    _, router = make(sessions=sessions)

    def key(model: str, name: Any) -> int | None:
        asked = [{"role": "user", "content": "Hello"}]
        run = router._intake.run("chat", model, asked, False, {"session": name})
        return run.options.session

    first = [key("all", f"s{i}") for i in range(5)]
    assert first == [key("all", f"s{i}") for i in range(5)]
    assert len({*first, key("n0", "s0")}) == 6
    assert key("all", 7) == key("all", "7")
    assert first[0] == stable_hash("all", "s0")
