"""The cases: how the calls come, what the server does, what is measured."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from clients import Send, Stream

Result = dict[str, float]


def spread(samples: list[float]) -> Result:
    """Median and 99th percentile in microseconds, and what lies between them."""
    ordered = sorted(samples)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return {"p50": p50 * 1e6, "p99": p99 * 1e6, "p99/p50": p99 / p50}


async def closed_loop(send: Send, concurrent: int, seconds: float) -> Result:
    """Each of *concurrent* callers asks again as soon as it is answered."""
    samples: list[float] = []
    end = 0.0

    async def caller(keep: bool) -> None:
        while (begun := time.perf_counter()) < end:
            await send()
            if keep:
                samples.append(time.perf_counter() - begun)

    await send()  # what is imported or read at the first call
    end = time.perf_counter() + min(0.5, seconds)  # connections, caches
    await asyncio.gather(*(caller(False) for _ in range(concurrent)))
    cpu, begun = time.process_time(), time.perf_counter()
    end = begun + seconds
    await asyncio.gather(*(caller(True) for _ in range(concurrent)))
    cpu, took = time.process_time() - cpu, time.perf_counter() - begun
    rate = len(samples) / took
    return {"cpu": cpu / len(samples) * 1e6, "rate": rate, **spread(samples)}


async def open_loop(
    send: Send, per_second: int, delay: float, seconds: float
) -> Result:
    """Calls begin on a clock, answered or not; *delay* is the server's own part."""
    samples: list[float] = []

    async def call() -> None:
        begun = time.perf_counter()
        await send()
        samples.append(time.perf_counter() - begun - delay)

    async def arrivals(count: int) -> None:
        tasks, begun = [], time.perf_counter()
        for i in range(count):
            wait = begun + i / per_second - time.perf_counter()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(call()))
        await asyncio.gather(*tasks)

    await arrivals(int(per_second * min(1.0, seconds)))
    samples.clear()
    cpu = time.process_time()
    await arrivals(int(per_second * seconds))
    cpu = time.process_time() - cpu
    found = spread(samples)
    return {
        "cpu": cpu / len(samples) * 1e6,
        "added p50": found["p50"],
        "added p99": found["p99"],
    }


async def streams(send: Send, stream: Stream, concurrent: int) -> Result:
    """All streams at once; opening and ending them is part of an event's price."""
    got = 0

    async def reader() -> None:
        nonlocal got
        async for events in stream():
            got += events

    await send()
    await asyncio.gather(*(reader() for _ in range(concurrent)))
    got = 0
    cpu = time.process_time()
    await asyncio.gather(*(reader() for _ in range(concurrent)))
    cpu = time.process_time() - cpu
    return {"cpu": cpu / got * 1e6, "events": float(got)}


@dataclass(frozen=True, slots=True)
class Case:
    """One load.  ``server``: delay in ms, events of a stream, ms between them."""

    run: Callable[[Send, Stream, float], Awaitable[Result]]
    server: tuple[int, int, int] = (0, 0, 0)
    one_core: bool = False
    tls: bool = False
    leave_out: tuple[str, ...] = ()  # subjects that cannot carry it


def closed(concurrent: int, **more: bool | tuple[str, ...]) -> Case:
    return Case(lambda send, _, s: closed_loop(send, concurrent, s), **more)


CASES: dict[str, Case] = {
    "closed c=1": closed(1),
    "closed c=64": closed(64),
    "closed c=64, one core": closed(64, one_core=True),
    # httpx's pool walks all connections for each request: 20 ms of CPU a call here.
    "closed c=256": closed(256, leave_out=("httpx",)),
    "open 2000/s, 1000 in flight": Case(
        lambda send, _, s: open_loop(send, 2000, 0.5, s),
        server=(500, 0, 0),
        leave_out=("openai", "litellm", "litellm_router", "httpx"),
    ),
    "200 streams": Case(
        lambda send, stream, _: streams(send, stream, 200), server=(0, 100, 20)
    ),
    "new TLS connection": closed(1, tls=True),
}


def keep_to_one_core() -> None:
    """Run on the first core alone, where the system can be told so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
