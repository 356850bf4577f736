"""A router that is closed while calls are in flight leaves nobody waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmbalance import Backend, ConnectionLostError, Ledger, Price, Router

ASK = [{"role": "user", "content": "Name a bird."}]


@pytest.fixture
def provider(llm_provider):
    return llm_provider("openai", name="slow", model="gpt-4o")


def router_of(provider, **settings) -> Router:
    backend = Backend(
        f"openai/{provider.model}",
        name="slow",
        groups=["all"],
        api_key="test-key",
        base_url=provider.base_url,
        price=Price(1, 2),
    )
    return Router([backend], **settings)


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_in_flight_end_with_an_error(provider, stream):
    provider.hang()
    router = router_of(provider)
    asking = asyncio.ensure_future(router.chat("all", ASK, stream=stream))
    await asyncio.sleep(0.1)
    await router.aclose()
    with pytest.raises(ConnectionLostError, match="was closed"):
        await asyncio.wait_for(asking, 2)
    row = router.stats()["backends"]["slow"]
    assert (row["in_flight"], row["cancelled"]) == (0, 1)


@pytest.mark.parametrize("reading", [False, True])
async def test_a_stream_half_read_ends_with_an_error(provider, reading):
    provider.per_token = 0.2
    router = router_of(provider)
    stream = await router.chat("all", ASK, stream=True)
    await anext(stream)
    after = asyncio.ensure_future(anext(stream)) if reading else None
    await asyncio.sleep(0)
    await router.aclose()
    with pytest.raises(ConnectionLostError, match="was closed"):
        if after is not None:
            await asyncio.wait_for(after, 2)
        while True:  # what had come before
            await asyncio.wait_for(anext(stream), 2)
    await stream.aclose()  # once more does no harm
    assert router.stats()["backends"]["slow"]["in_flight"] == 0


async def test_what_was_in_flight_is_in_the_ledger(provider, tmp_path: Path):
    provider.hang()
    ledger = Ledger(tmp_path / "calls.db")
    router = router_of(provider, ledger=ledger)
    asking = asyncio.ensure_future(router.chat("all", ASK))
    await asyncio.sleep(0.1)
    await router.aclose()
    assert [entry.status for entry in ledger.entries()] == ["cancelled"]
    with pytest.raises(ConnectionLostError):
        await asking


async def test_a_closed_router_can_be_used_again(provider):
    router = router_of(provider)
    await router.chat("all", ASK)
    await router.aclose()
    assert (await router.chat("all", ASK)).backend == "slow"
    await router.aclose()
