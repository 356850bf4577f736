"""How often a call may ask: by its group, by the kind of failure, by its own word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    AuthenticationError,
    Backend,
    BadRequestError,
    ConfigError,
    Group,
    InvalidRequestError,
    OverloadedError,
    Price,
    RateLimitError,
    Router,
    ServerError,
)
from llmbalance._call import _walk as walk
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
Provider = Callable[..., MockProvider]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_BACKOFF", (0.001, 0.002))


def backend(provider: MockProvider, *groups: str, **options: Any) -> Backend:
    return Backend(
        "openai/gpt-4o",
        name=provider.name,
        groups=groups,
        api_key="test-key",
        base_url=provider.base_url,
        price=Price(1, 2),
        **options,
    )


async def attempts_of(
    backends: list[Backend], error: type[Exception], *groups: Group, **options: Any
) -> int:
    async with Router(backends, groups=groups, retry_budget=None) as router:
        with pytest.raises(error) as caught:
            await router.chat("g", ASK, timeout=20, **options)
    return len(caught.value.attempts)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [(500, ServerError, 6), (503, OverloadedError, 2), (429, RateLimitError, 1)],
)
async def test_the_kind_of_the_first_failure_says_how_many_attempts_there_are(
    llm_provider: Provider, status: int, error: type[Exception], expected: int
) -> None:
    provider = llm_provider("openai")
    provider.fail_next(20, status=status, retry_after=0.001)
    group = Group(name="g", max_attempts=2, attempts={"server": 6, "rate_limit": 1})
    assert await attempts_of([backend(provider, "g")], error, group) == expected


async def test_more_attempts_than_three_rounds_are_only_made_where_that_is_said(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    provider.outage(status=500)
    one = [backend(provider, "g")]
    assert await attempts_of(one, ServerError) == 3
    assert await attempts_of(one, ServerError, Group(name="g", max_attempts=5)) == 5
    assert await attempts_of(one, ServerError, max_attempts=4) == 4
    group = Group(name="g", max_attempts=5, attempts={"server": 3})
    assert await attempts_of(one, ServerError, group, max_attempts=1) == 1


async def test_what_every_backend_would_refuse_is_asked_once_whatever_is_said(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    kinds = {"bad_request": 5, "auth": 5}
    group = Group(name="g", max_attempts=5, attempts=kinds)
    provider.outage(status=400)
    assert await attempts_of([backend(provider, "g")], BadRequestError, group) == 1
    provider.recover().outage(status=401)
    assert await attempts_of([backend(provider, "g")], AuthenticationError, group) == 1


async def test_a_call_s_own_number_holds_in_each_group(llm_provider: Provider) -> None:
    bad = [llm_provider("openai", name=f"b{i}") for i in range(3)]
    good = llm_provider("openai", name="good")
    for provider in bad:
        provider.outage(status=500)
    backends = [*(backend(p, "g") for p in bad), backend(good, "next")]
    async with Router(backends, fallbacks={"g": ["next"]}) as router:
        reply = await router.chat("g", ASK, max_attempts=1)
        assert [a.backend for a in reply.attempts][1:] == ["good"]
        stream = await router.chat("g", ASK, max_attempts=2, stream=True)
        assert [chunk async for chunk in stream]
        assert sum(len(provider.requests) for provider in bad) == 1 + 2


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "3"])
async def test_a_wrong_number_is_refused(value: Any) -> None:
    router = Router([Backend("ollama/x", groups=["g"])])
    with pytest.raises(InvalidRequestError, match="max_attempts"):
        await router.chat("g", ASK, max_attempts=value)


def test_a_wrong_kind_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'rate_limit'"):
        Group(name="g", attempts={"rate_limits": 3})
    with pytest.raises(ConfigError, match="attempts"):
        Group(name="g", attempts={"rate_limit": 0})


# -- parameters of a backend -----------------------------------------------------


async def test_a_backend_s_parameters_fill_what_the_call_leaves_open(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    own = {"temperature": 0, "max_tokens": 7, "seed": 3}
    async with Router([backend(provider, "g", params=own)]) as router:
        await router.chat("g", ASK)
        await router.chat("g", ASK, temperature=1, max_completion_tokens=9)
        stream = await router.chat("g", ASK, stream=True, seed=None)
        assert [chunk async for chunk in stream]
    sent = [seen.json() for seen in provider.requests]
    seen = [{k: s.get(k) for k in ("temperature", "seed")} for s in sent]
    assert seen == [
        {"temperature": 0, "seed": 3},
        {"temperature": 1, "seed": 3},
        {"temperature": 0, "seed": 3},
    ]
    longest = [s.get("max_tokens", s.get("max_completion_tokens")) for s in sent]
    assert longest == [7, 9, 7]


@pytest.mark.parametrize("name", ["tools", "response_format", "user", "temprature"])
def test_what_makes_a_call_what_it_is_is_no_backend_s(name: str) -> None:
    with pytest.raises(ConfigError, match="params"):
        Router([Backend("ollama/x", params={name: 1})])
