"""Routers that nobody holds are gone, whatever they were made of and did."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Budget,
    Experiment,
    Group,
    Hedge,
    Mirror,
    Price,
    Router,
    Rule,
    Task,
)
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
Provider = Callable[..., MockProvider]


def backend_at(provider: MockProvider, name: str, **fields: Any) -> Backend:
    return Backend(
        f"openai/{provider.model}",
        name=name,
        base_url=provider.base_url,
        api_key="test-key",
        **{"groups": ["g"], "price": Price(1, 2), **fields},
    )


def full_router(provider: MockProvider) -> Router:
    """A router with everything that could hold on to it."""
    return Router(
        [backend_at(provider, "a"), backend_at(provider, "b", groups=["h"])],
        groups=[Group(name="g", fallbacks=["h"], max_attempts=2)],
        tasks=[Task(name="t", group="g")],
        classifier=[Rule(task="t", keywords=["capital"])],
        budgets=[Budget(usd=1), Budget(usd=1, tag="x=y")],
        hedge=Hedge(after=30.0),
        experiments=[Experiment(name="e", arms={"a": {}, "b": {"temperature": 1.0}})],
        mirrors=[Mirror(to="h", share=0.5)],
        health_interval=60.0,
        auto_session=True,
        on_anomaly=print,
    )


def migrated(provider: MockProvider) -> Router:
    """A router made from a LiteLLM configuration."""
    params = {"model": f"openai/{provider.model}", "api_key": "test-key"}
    params["api_base"] = provider.base_url
    row = {"model_name": "g", "litellm_params": params}
    return Router.from_litellm({"model_list": [row]})


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("kind", ["full", "litellm"])
def test_twenty_routers_that_are_dropped_are_gone(
    llm_provider: Provider, kind: str, closed: bool
) -> None:
    provider = llm_provider("openai")

    async def use(router: Router) -> None:
        router.events.subscribe(lambda event: None)
        assert (await router.chat("g", ASK, timeout=20)).text
        async for _ in await router.chat("g", ASK, stream=True, timeout=20):
            pass
        if closed:
            await router.aclose()

    alive = []
    for _ in range(20):
        router = full_router(provider) if kind == "full" else migrated(provider)
        asyncio.run(use(router))
        alive.append(weakref.ref(router))
        del router
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 0
