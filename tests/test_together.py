"""Everything at once: what one call leaves right, a hundred kinds of calls do as well.

Hedges, streams, sessions, tasks, experiments, mirrors, wildcards, embeddings, leases
and threads on one router whose file changes all the time, with callers that leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbalance import ProviderError, Router
from llmbalance.testing import MockProvider

Provider = Callable[..., MockProvider]
RATES = {"a": (2.5, 10), "b": (2.5, 10), "c": (3, 15), "d": (1, 2), "e": (1, 2)}
KINDS = {"c": "anthropic", "e": "google"}
MODELS = {"c": "anthropic/claude-sonnet-4-5", "d": "openai/*", "e": "google/gemini-x"}
GROUPS = {"a": ["big"], "b": ["big"], "c": ["big"], "d": ["any-*"], "e": ["mid"]}
CALLS = 150


@pytest.fixture
def providers(llm_provider: Provider) -> dict[str, MockProvider]:
    return {
        name: llm_provider(
            KINDS.get(name, "openai"),
            name=name,
            price=price,
            ttft=0.003,
            per_token=0.0003,
            jitter=0.5,
            output_tokens=(4, 30),
            seed=i,
        )
        for i, (name, price) in enumerate(RATES.items())
    }


def config(
    providers: dict[str, MockProvider], ledger: Path, phase: int, hedges: float
) -> dict[str, Any]:
    """The fleet of the moment: with every phase somebody or something comes or goes."""
    backends = [
        {
            "name": name,
            "model": MODELS.get(name, "openai/gpt-4o"),
            "groups": GROUPS[name],
            "base_url": provider.base_url,
            "api_key": "test-key",
            "price": dict(zip(("input", "output"), RATES[name], strict=True)),
            "limits": {"rpm": 60_000, "concurrency": 30},
        }
        for name, provider in providers.items()
        if name != "b" or phase % 2 == 0
    ]
    first = backends[0]
    model = {"model": "openai/text-embedding-3-small", "groups": ["texts"]}
    backends.append(first | model | {"name": "texts"})
    hedge = {"after": 0.006, "budget": hedges, "max_price_ratio": 3}
    arms: dict[str, Any] = {"control": {}, "warm": {"temperature": 1.0}}
    bandit = {"models": ["mid"], "arms": {"as": {}, "up": {"model": "big"}}}
    return {
        "router": {"timeout": 20, "seed": 1, "ledger": str(ledger)},
        "backend": backends,
        "group": {"big": {"fallbacks": ["mid"], "hedge": hedge, "max_attempts": 3}},
        "experiment": {"style": {"models": ["big"], "unit": "user", "arms": arms}}
        | ({"where": bandit | {"bandit": {"cost_weight": 1}}} if phase % 3 else {}),
        "mirror": {"m": {"to": "mid", "share": 0.2, "models": ["big"]}},
        "task": {"fast": {"group": "mid", "max_tokens": 40}},
        "budget": {
            "all": {"usd": 100},
            "ada": {"usd": 50, "user": "ada"},
            "warm": {"usd": 50, "tag": "experiment.style=warm"},
        },
    }


def blocking(router: Router, model: str, ask: list[Any], options: Any) -> None:
    router.sync.chat(model, ask, **options)
    with router.sync.chat(model, ask, stream=True, **options) as stream:
        for _ in stream:
            pass


async def one(router: Router, chance: random.Random, leave: bool) -> None:
    """A call of some kind; with ``leave`` its caller may lose interest."""
    ask = [{"role": "user", "content": "q" * chance.randrange(1, 300)}]
    options: dict[str, Any] = {"max_tokens": 40}
    options["session"] = chance.choice([None, "s1", "s2"])
    options["user"] = chance.choice([None, "ada", "bob"])
    model = chance.choice(["big", "big", "mid", "openai/o3", "any-1"])
    kind = chance.randrange(6)
    if kind == 0:
        await router.chat(model, ask, **options)
    elif kind == 1:
        stream = await router.chat(model, ask, stream=True, **options)
        async for _ in stream:
            if leave and chance.random() < 0.02:
                break  # dropped: nobody closes it
    elif kind == 2:
        await router.embed("texts", ["text"] * chance.choice([1, 3000]))
    elif kind == 3:
        await router.chat(messages=ask, task="fast", **options)
    elif kind == 4 and leave:
        async with router.acquire(model, ask, **options) as lease:
            await asyncio.sleep(0.002)
            if chance.random() < 0.5:
                lease.release()
    else:
        await asyncio.to_thread(blocking, router, model, ask, options)


async def play(
    providers: dict[str, MockProvider], ledger: Path, seed: int, leave: bool
) -> Router:
    """Make many calls while the configuration changes, and wait for all to be over."""
    chance = random.Random(seed)
    hedges = 0.5 if leave else 1e-9
    router = Router.from_file(config(providers, ledger, 0, hedges))
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    for i in range(CALLS):
        tasks.append(loop.create_task(one(router, chance, leave)))
        if leave and chance.random() < 0.3:
            loop.call_later(chance.random() * 0.03, tasks[-1].cancel)
        if leave and chance.random() < 0.03:
            providers[chance.choice("abc")].fail_next(2, status=503)
        if i % 15 == 14:
            router.reload(config(providers, ledger, i // 15, hedges))
        await asyncio.sleep(chance.random() * 0.004)
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, ProviderError):
            await task
    gc.collect()
    for _ in range(500):  # mirrors, and streams that were dropped, end a little later
        rows = router.stats()["backends"].values()
        if not router.mirrors()["m"]["in_flight"] + sum(r["in_flight"] for r in rows):
            break
        await asyncio.sleep(0.01)
    return router


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_stays_taken_whoever_leaves(
    providers: dict[str, MockProvider], tmp_path: Path, seed: int
) -> None:
    router = await play(providers, tmp_path / "costs.db", seed, leave=True)
    busy = {n: row["in_flight"] for n, row in router.stats()["backends"].items()}
    assert not any(busy.values()), busy
    pool, meters = router._fleet.pool, router._fleet.meters
    assert [pool.budget(meter.index)["reserved"] for meter in meters] == [0, 0, 0]
    assert not router._fleet.lines
    spent = pool.budget(meters[0].index)["spent"]
    await router.aclose()
    assert router.costs(by="status")["total"]["total_nano_usd"] == spent > 0


async def test_every_cent_is_what_the_providers_bill(
    providers: dict[str, MockProvider], tmp_path: Path
) -> None:
    router = await play(providers, tmp_path / "costs.db", 4, leave=False)
    await router.aclose()
    billed = sum(provider.billed_pico_usd for provider in providers.values())
    costs = router.costs(by="status")
    assert set(costs["statuses"]) == {"ok"}
    assert costs["total"]["total_nano_usd"] * 1000 == billed
