"""Groups: their own rules, where they lead, and what is never left downwards."""

from __future__ import annotations

import time
from typing import Any

import pytest

from llmbalance import (
    Backend,
    ConfigError,
    ContentFilterError,
    ContextLengthError,
    Group,
    OverloadedError,
    Price,
    ProviderError,
    RequestTimeoutError,
    Router,
)

ASK = [{"role": "user", "content": "What is the capital of France?"}]
FILTERED = {"error": {"code": "content_filter", "message": "refused by the filter"}}
TOO_LONG = {
    "error": {"code": "context_length_exceeded", "message": "maximum context length"}
}


def backend(provider: Any, group: str, **options: Any) -> Backend:
    settings: dict[str, Any] = {
        "name": provider.name,
        "groups": [group],
        "api_key": "test-key",
        "base_url": provider.base_url,
        "price": Price(1, 2),
    } | options
    return Backend("openai/gpt-4o", **settings)


@pytest.fixture
def make(llm_provider: Any) -> Any:
    """`make("a", "b")`: providers and a backend each, in the group of its name."""

    def build(*names: str, **options: Any) -> tuple[dict[str, Any], list[Backend]]:
        providers = {
            name: llm_provider("openai", name=name, model="gpt-4o", **options)
            for name in names
        }
        return providers, [backend(p, f"g-{n}") for n, p in providers.items()]

    return build


def names(attempts: Any) -> list[str]:
    return [attempt.backend for attempt in attempts]


async def test_a_group_has_a_strategy_of_its_own(llm_provider):
    providers = [llm_provider("openai", name=n, model="gpt-4o") for n in ("x", "y")]
    backends = [
        backend(p, "", groups=["turns", "cheap"], price=Price(1 + 8 * i, 1 + 8 * i))
        for i, p in enumerate(providers)
    ]
    groups = [Group(name="turns", strategy="round_robin"), Group(name="cheap", v=0.0)]
    async with Router(backends, groups=groups) as router:
        turns = [(await router.chat("turns", ASK)).backend for _ in range(4)]
        cheap = [(await router.chat("cheap", ASK)).backend for _ in range(4)]
    assert sorted(turns) == ["x", "x", "y", "y"]
    assert cheap == ["x"] * 4


async def test_an_alias_is_another_name(make):
    _, backends = make("a")
    async with Router(backends, aliases={"gpt4": "g-a"}) as router:
        assert (await router.chat("gpt4", ASK)).backend == "a"


async def test_a_group_is_left_only_where_a_fallback_says_so(make):
    providers, backends = make("a", "b", "c")
    providers["a"].outage(status=503)
    groups = [
        Group(name="g-a", fallbacks=["g-b"]),
        Group(name="g-b", fallbacks=["g-a"]),
    ]
    async with Router(backends, groups=groups) as router:
        assert names((await router.chat("g-a", ASK)).attempts) == ["a", "b"]
        providers["b"].outage(status=503)
        with pytest.raises(OverloadedError):
            await router.chat("g-a", ASK, timeout=1)
    assert providers["c"].served == 0
    assert not providers["c"].requests


async def test_a_prompt_that_is_too_long_takes_its_own_chain(make):
    providers, backends = make("a", "b", "long")
    groups = [
        Group(name="g-a", fallbacks=["g-b"], context_fallbacks=["g-long"]),
        Group(name="g-long", context_fallbacks=["g-a"]),
    ]
    async with Router(backends, groups=groups) as router:
        providers["a"].fail_next(1, status=400, body=TOO_LONG)
        assert names((await router.chat("g-a", ASK)).attempts) == ["a", "long"]
        providers["a"].fail_next(1, status=400, body=TOO_LONG)
        providers["long"].fail_next(1, status=400, body=TOO_LONG)
        with pytest.raises(ContextLengthError) as caught:
            await router.chat("g-a", ASK)
        assert names(caught.value.attempts) == ["a", "long"]
        providers["a"].fail_next(1, status=503)  # any other failure: the general one
        assert names((await router.chat("g-a", ASK)).attempts) == ["a", "b"]


async def test_a_call_without_fallbacks_stays_in_its_group_whatever_happens(make):
    providers, backends = make("a", "b", "long")
    group = Group(name="g-a", fallbacks=["g-b"], context_fallbacks=["g-long"])
    async with Router(backends, groups=[group], retry_budget=None) as router:
        providers["a"].fail_next(1, status=400, body=TOO_LONG)
        with pytest.raises(ContextLengthError):
            await router.chat("g-a", ASK, fallbacks=[])
        providers["a"].fail_next(9, status=503)
        with pytest.raises(ProviderError) as caught:
            await router.chat("g-a", ASK, fallbacks=[], timeout=1)
        assert set(names(caught.value.attempts)) == {"a"}
    assert not providers["b"].requests and not providers["long"].requests


async def test_without_its_own_chain_a_long_prompt_takes_the_general_one(make):
    providers, backends = make("a", "b")
    providers["a"].fail_next(1, status=400, body=TOO_LONG)
    async with Router(backends, fallbacks={"g-a": ["g-b"]}) as router:
        assert names((await router.chat("g-a", ASK)).attempts) == ["a", "b"]


async def test_a_prompt_known_to_be_too_long_is_not_even_sent(llm_provider):
    small = llm_provider("openai", name="small", model="gpt-4o")
    large = llm_provider("openai", name="large", model="gpt-4o")
    backends = [
        backend(small, "tier", context=50),
        backend(large, "long", context=100_000),
        backend(large, "other", context=100_000, name="other"),
    ]
    groups = [Group(name="tier", fallbacks=["other"], context_fallbacks=["long"])]
    long = [{"role": "user", "content": "many words and more " * 200}]
    async with Router(backends, groups=groups) as router:
        assert names((await router.chat("tier", long)).attempts) == ["large"]
        assert names((await router.chat("tier", ASK)).attempts) == ["small"]
    assert small.served == 1


async def test_refused_content_goes_elsewhere_only_where_that_is_written(make):
    providers, backends = make("a", "b", "open")
    groups = [Group(name="g-a", content_filter_fallbacks=["g-open"])]
    fallbacks = {"g-a": ["g-b"], "g-b": ["g-a"]}
    async with Router(backends, groups=groups, fallbacks=fallbacks) as router:
        providers["a"].fail_next(1, status=400, body=FILTERED)
        assert names((await router.chat("g-a", ASK)).attempts) == ["a", "open"]
        providers["b"].fail_next(1, status=400, body=FILTERED)
        with pytest.raises(ContentFilterError) as caught:
            await router.chat("g-b", ASK)
    assert names(caught.value.attempts) == ["b"]


async def test_a_withheld_answer_counts_as_refused_and_is_paid(llm_provider):
    def reply(ask: Any) -> dict[str, Any]:
        return {"text": "I", "finish_reason": "content_filter"}

    shy = llm_provider("openai", name="shy", model="gpt-4o", reply=reply)
    free = llm_provider("openai", name="free", model="gpt-4o")
    backends = [backend(shy, "tier"), backend(free, "open")]
    groups = [Group(name="tier", content_filter_fallbacks=["open"])]
    async with Router(backends, groups=groups) as router:
        reply_ = await router.chat("tier", ASK)
    assert names(reply_.attempts) == ["shy", "free"]
    assert reply_.attempts[0].cost_nano_usd > 0
    async with Router(backends) as router:
        kept = await router.chat("tier", ASK)
    assert kept.choices[0].finish_reason == "content_filter"


async def test_attempts_and_time_in_a_group_are_limited(llm_provider):
    slow = [llm_provider("openai", name=f"s{i}", model="gpt-4o") for i in range(3)]
    good = llm_provider("openai", name="good", model="gpt-4o")
    for provider in slow:
        provider.outage(status=503)
    backends = [*(backend(p, "tier") for p in slow), backend(good, "next")]
    groups = [Group(name="tier", fallbacks=["next"], max_attempts=2)]
    async with Router(backends, groups=groups) as router:
        reply = await router.chat("tier", ASK)
    assert names(reply.attempts)[-1] == "good"
    assert len(reply.attempts) == 3
    for provider in slow:
        provider.recover().hang()
    groups = [Group(name="tier", fallbacks=["next"], timeout=0.3)]
    async with Router(backends, groups=groups) as router:
        begin = time.monotonic()
        reply = await router.chat("tier", ASK, timeout=30)
        assert reply.backend == "good"
        assert 0.25 < time.monotonic() - begin < 3
    async with Router(backends, groups=[Group(name="tier", timeout=0.2)]) as router:
        with pytest.raises(RequestTimeoutError):
            await router.chat("tier", ASK, timeout=30)


async def test_backends_below_a_groups_quality_do_not_belong_to_it(llm_provider):
    poor = llm_provider("openai", name="poor", model="gpt-4o")
    fine = llm_provider("openai", name="fine", model="gpt-4o")
    backends = [
        backend(poor, "tier", quality=3, price=Price(0, 0)),
        backend(fine, "tier", quality=8),
    ]
    async with Router(backends, groups=[Group(name="tier", min_quality=5)]) as router:
        fine.outage(status=503)
        with pytest.raises(OverloadedError):
            await router.chat("tier", ASK, timeout=1)
        assert (await router.chat("poor", ASK)).backend == "poor"
    assert poor.served == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"groups": [Group(name="g-x")]}, "groups"),
        ({"groups": [Group(name="g-a"), Group(name="g-a")]}, "groups"),
        ({"groups": ["g-a"]}, "groups"),
        ({"groups": [Group(name="g-a", fallbacks=["no"])]}, "fallbacks"),
        ({"groups": [Group(name="g-a", context_fallbacks=["no"])]}, "context"),
        ({"groups": [Group(name="g-a", min_quality=1)]}, "min_quality"),
        ({"aliases": {"x": "no"}}, "aliases"),
        ({"aliases": {"a": "g-a"}}, "aliases"),
        (
            {
                "groups": [Group(name="g-a", fallbacks=["a"])],
                "fallbacks": {"g-a": ["a"]},
            },
            "fallbacks",
        ),
    ],
)
def test_wrong_groups_are_refused_by_name(make, options, field):
    _, backends = make("a")
    with pytest.raises(ConfigError, match=field):
        Router(backends, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "best"},
        {"v": -1},
        {"timeout": 0},
        {"max_attempts": 0},
        {"min_quality": 256},
        {"fallbacks": "mid"},
    ],
)
def test_wrong_settings_of_a_group_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Group(name="g", **options)
