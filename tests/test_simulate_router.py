"""The simulator against the real router, on mock providers with the same habits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from virtual import WAY, Outcome, for_real, prose, said

from llmbalance import Backend, Limits, Price, Router
from llmbalance._core import STRATEGIES
from llmbalance.simulate import Fleet, Service, Trace, run
from llmbalance.testing import MockFleet, MockProvider

# name: USD per million tokens, s to the first token, s per token, requests a minute
HOSTS = {
    "cheap": (Price(1, 4), 0.20, 0.006, 600),
    "quick": (Price(2, 8), 0.08, 0.002, 900),
    "large": (Price(4, 12), 0.12, 0.004, 60_000),
}
BURST = 2.0  # seconds' worth of a limit at once


def trace_of(seconds: float) -> Trace:
    lengths = {"input": (400, 0.7), "output": (60, 0.5)}
    return Trace.poisson(rate=50, seconds=seconds, seed=9, **lengths).in_group("all")


def provider(name: str, key: str | None = None) -> MockProvider:
    _, ttft, token, rpm = HOSTS[name]
    return MockProvider(
        "openai_compatible",
        name=name,
        model="m",
        api_key=key,
        ttft=ttft,
        per_token=token,
        rpm=rpm,
        burst=BURST,
        output_tokens=said,
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


def simulated(trace: Trace, strategy: str, outcomes: list[Outcome], **how: Any) -> Any:
    """The same requests, as long as they were billed."""
    usages = [outcome.reply.usage for outcome in outcomes if outcome.reply]
    billed = Trace(
        trace.at,
        [usage.prompt_tokens for usage in usages],
        [usage.completion_tokens for usage in usages],
        groups=["all"],
    )
    services = {
        name: Service(
            ttft=ttft + WAY, ttft_spread=0, prefill=0, token=token, token_spread=0
        )
        for name, (_, ttft, token, _) in HOSTS.items()
    }
    fleet = Fleet([backend(name) for name in HOSTS], services=services)
    return run(
        billed, fleet, strategy=strategy, timeout=30, seed=1, estimate_error=0, **how
    )


def deviations(told: Mapping[str, Any], outcomes: list[Outcome]) -> dict[str, Any]:
    """What lies further apart than allowed: name -> (simulated, real)."""
    assert told["success"] == 1
    cost = sum(o.reply.cost_nano_usd for o in outcomes if o.reply) / 1e9
    p95 = sorted(o.seconds for o in outcomes)[int(0.95 * len(outcomes))]
    shares = Counter(o.backend for o in outcomes)
    pairs = {
        "cost": (told["cost"], cost, 0.01 * cost),
        "p95": (told["p95"], p95, 0.1 * p95),
        **{
            name: (told["share"][name], shares[name] / len(outcomes), 0.02)
            for name in HOSTS
        },
    }
    return {name: (a, b) for name, (a, b, most) in pairs.items() if abs(a - b) > most}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_simulated_minute_is_the_real_one_in_cost_shares_and_latency(
    strategy: str,
) -> None:
    """Cost within 1 %, shares within 2 points, p95 within 10 %, and most calls go to
    the very backend they really went to."""

    def make(urls: dict[str, str]) -> Router:
        backends = [backend(name, url) for name, url in urls.items()]
        return Router(backends, strategy=strategy, seed=1)

    trace = trace_of(60)
    outcomes = for_real(trace, [provider(name) for name in HOSTS], make, timeout=30)
    result = simulated(trace, strategy, outcomes, samples=True)
    assert deviations(result.to_dict(), outcomes) == {}
    pairs = zip(result.requests(), outcomes, strict=True)
    same = sum(row["backend"] == outcome.backend for row, outcome in pairs)
    assert same > 0.8 * len(trace)


async def over_sockets(trace: Trace) -> tuple[list[Outcome], list[int]]:
    """Send the trace at its own pace, in real time; outcomes and when each was sent."""
    with MockFleet([provider(name, "test-key") for name in HOSTS]) as mocks:
        backends = [backend(mock.name, mock.base_url) for mock in mocks]
        async with Router(backends, strategy="cost", seed=1) as router:
            for name in HOSTS:  # connections are not part of the model
                await router.chat(name, [{"role": "user", "content": "1 warm"}])
            start = time.perf_counter()

            async def one(i: int) -> tuple[Outcome, int]:
                await asyncio.sleep(trace.at[i] / 1e9 - (time.perf_counter() - start))
                begin = time.perf_counter()
                text = f"{trace.output[i]} {prose(trace.input[i])}"
                ask = [{"role": "user", "content": text}]
                reply = await router.chat("all", ask, timeout=30)
                took = time.perf_counter() - begin
                return Outcome(took, reply), round((begin - start) * 1e9)

            pairs = await asyncio.gather(*(one(i) for i in range(len(trace))))
    return [outcome for outcome, _ in pairs], [at for _, at in pairs]


def test_a_simulated_run_is_the_real_one_over_sockets_and_in_real_time() -> None:
    """What is simulated is when calls were sent, not when they should have been: a
    machine that is busy with other things sends them late, in heaps."""
    planned = trace_of(5)
    for _ in range(3):
        outcomes, sent = asyncio.run(over_sockets(planned))
        order = sorted(range(len(planned)), key=sent.__getitem__)
        trace = Trace(
            [max(sent[i], 0) for i in order],
            [planned.input[i] for i in order],
            [planned.output[i] for i in order],
            groups=["all"],
        )
        outcomes = [outcomes[i] for i in order]
        apart = deviations(simulated(trace, "cost", outcomes).to_dict(), outcomes)
        if not apart:
            break
    assert apart == {}
