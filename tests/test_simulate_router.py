"""The simulator against the real router, on mock providers with the same habits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from llmbalance import Backend, Limits, Price, Router
from llmbalance.simulate import Fleet, Service, Trace, run
from llmbalance.testing import MockFleet, MockProvider

# name: USD per million tokens, s to the first token, s per token, requests a minute
HOSTS = {
    "cheap": (Price(1, 4), 0.20, 0.006, 600),
    "quick": (Price(2, 8), 0.08, 0.002, 900),
    "large": (Price(4, 12), 0.12, 0.004, 60_000),
}
BURST = 2.0  # seconds' worth of a limit at once
TRACE = Trace.poisson(rate=50, seconds=5, seed=9, input=(400, 0.7), output=(60, 0.5))


def provider(name: str) -> MockProvider:
    _, ttft, token, rpm = HOSTS[name]
    return MockProvider(
        "openai_compatible",
        name=name,
        model="m",
        ttft=ttft,
        per_token=token,
        rpm=rpm,
        burst=BURST,
        output_tokens=lambda ask: int(ask.prompt.split()[0]),
    )


def backend(name: str, url: str | None = None) -> Backend:
    price, _, _, rpm = HOSTS[name]
    return Backend(
        "openai_compatible/m",
        name=name,
        groups=["all"],
        base_url=url,
        api_key="test-key",
        price=price,
        limits=Limits(rpm=rpm, burst_seconds=BURST),
    )


async def for_real(strategy: str) -> tuple[list[Any], list[float]]:
    """Send the trace through a Router at its own pace; replies and seconds."""
    with MockFleet([provider(name) for name in HOSTS]) as mocks:
        backends = [backend(mock.name, mock.base_url) for mock in mocks]
        async with Router(backends, strategy=strategy, seed=1) as router:
            for name in HOSTS:  # connections are not part of the model
                await router.chat(name, [{"role": "user", "content": "1 warm"}])
            start = time.perf_counter()

            async def one(i: int) -> tuple[Any, float]:
                await asyncio.sleep(TRACE.at[i] / 1e9 - (time.perf_counter() - start))
                begin = time.perf_counter()
                text = f"{TRACE.output[i]} " + "x" * (4 * TRACE.input[i])
                ask = [{"role": "user", "content": text}]
                reply = await router.chat("all", ask, timeout=30)
                return reply, time.perf_counter() - begin

            pairs = await asyncio.gather(*(one(i) for i in range(len(TRACE))))
    return [reply for reply, _ in pairs], [seconds for _, seconds in pairs]


def simulated(strategy: str, replies: list[Any]) -> Any:
    """The same requests, as long as they were billed, without their noise."""
    trace = Trace(
        TRACE.at,
        [reply.usage.prompt_tokens for reply in replies],
        [reply.usage.completion_tokens for reply in replies],
        groups=["all"],
    )
    services = {
        name: Service(ttft=ttft, ttft_spread=0, prefill=0, token=token, token_spread=0)
        for name, (_, ttft, token, _) in HOSTS.items()
    }
    fleet = Fleet([backend(name) for name in HOSTS], services=services)
    return run(trace, fleet, strategy=strategy, timeout=30, seed=1, samples=True)


def deviations(strategy: str) -> dict[str, tuple[float, float]]:
    """What lies further apart than allowed: name -> (simulated, real)."""
    replies, seconds = asyncio.run(for_real(strategy))
    told = simulated(strategy, replies).to_dict()
    assert told["success"] == 1
    cost = sum(reply.cost_nano_usd for reply in replies) / 1e9
    p95 = sorted(seconds)[int(0.95 * len(seconds))]
    shares = Counter(reply.backend for reply in replies)
    pairs = {
        "cost": (told["cost"], cost, 0.01 * cost),
        "p95": (told["p95"], p95, 0.1 * p95),
        **{
            name: (told["share"][name], shares[name] / len(TRACE), 0.02)
            for name in HOSTS
        },
    }
    return {name: (a, b) for name, (a, b, most) in pairs.items() if abs(a - b) > most}


@pytest.mark.parametrize("strategy", ["cost", "round_robin"])
def test_a_simulated_run_is_the_real_one_in_cost_shares_and_latency(
    strategy: str,
) -> None:
    """Cost within 1 %, shares within 2 points, p95 within 10 %; a machine that is busy
    with other things may need another try."""
    for _ in range(3):
        apart = deviations(strategy)
        if not apart:
            break
    assert apart == {}
