"""The offline bound where prompts are cached: below the best there is, and near it."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from llmbalance import Backend, Limits, Price
from llmbalance.simulate import Fleet, Service, Trace, lower_bound, run

PIECE, LIFE = 512, 60.0
# USD a million tokens: new, read from the cache, answered
PRICES = [(1.0, 0.1, 2.0), (1.2, 0.2, 2.0), (2.0, 2.0, 1.0)]


def fleet_of(backends: int, limits: Limits | None = None) -> Fleet:
    """Backends that keep prompts and take half a second, or 10 ms a token."""
    return Fleet(
        [
            Backend(
                f"openai_compatible/b{k}",
                price=Price(new, answer, cache_read=read),
                limits=limits,
            )
            for k, (new, read, answer) in enumerate(PRICES[:backends])
        ],
        services={
            "*": Service(
                ttft=0.5,
                ttft_spread=0,
                token=0.01,
                token_spread=0,
                prefill=0,
                cache_life=LIFE,
                cache_least=PIECE,
            )
        },
    )


def trace_of(
    at: list[float], input: list[int], output: list[int], **columns: Any
) -> Trace:
    """A trace of arrivals in seconds."""
    return Trace([round(t * 1e9) for t in at], input, output, **columns)


def chats(seed: int, requests: int) -> Trace:
    """Few conversations that grow, branch, share a beginning and pause."""
    luck = random.Random(seed)
    at, block, blocks, session, output = [0.0], [], [0], [], []
    known: dict[int, list[int]] = {}
    for i in range(requests):
        at.append(at[-1] + luck.choice([0.1, 3, 20, 70]))
        name = luck.randrange(1, 4)
        prompt = known.get(name, [7])
        prompt = [*prompt[: luck.randint(1, len(prompt))], 100 * (i + 1)]
        prompt += [100 * (i + 1) + k for k in range(1, luck.randint(1, 4))]
        known[name] = prompt
        block += prompt
        blocks.append(len(block))
        session.append(name)
        output.append(luck.randint(1, 300))
    sizes = [PIECE * (b - a) for a, b in itertools.pairwise(blocks)]
    return trace_of(
        at[1:],
        [size + 1 for size in sizes],
        output,
        session=session,
        block=block,
        blocks=blocks,
        block_tokens=PIECE,
    )


def true_cost(trace: Trace, places: tuple[int, ...]) -> float:
    """USD when every request is sent at once to its place; a cache per backend."""
    until: dict[tuple[int, int], float] = {}
    assert trace.block is not None and trace.blocks is not None
    stored: list[tuple[float, int, list[int]]] = []
    total = 0.0
    for i, b in enumerate(places):
        at = trace.at[i] / 1e9
        for end, where, blocks in sorted(s for s in stored if s[0] <= at):
            until.update({(where, k): end + LIFE for k in blocks})
        stored = [s for s in stored if s[0] > at]
        mine = list(trace.block[trace.blocks[i] : trace.blocks[i + 1]])
        stale = (k for k, piece in enumerate(mine) if until.get((b, piece), 0) <= at)
        hit = PIECE * next(stale, len(mine))
        new, read, answer = PRICES[b]
        total += (trace.input[i] - hit) * new + hit * read + trace.output[i] * answer
        stored.append((at + 0.5 + 0.01 * (trace.output[i] - 1), b, mine))
    return total / 1e6


@pytest.mark.parametrize("backends", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_no_way_to_send_prompts_is_cheaper_than_the_bound(
    seed: int, backends: int
) -> None:
    pytest.importorskip("scipy")
    trace = chats(seed, 8 if backends == 2 else 6)
    ways = itertools.product(range(backends), repeat=len(trace))
    best = min(true_cost(trace, way) for way in ways)
    bound = lower_bound(trace, fleet_of(backends), patience=0.05).cost
    assert 0.7 * best <= bound <= best * (1 + 1e-6)


def test_a_prompt_is_found_only_where_its_family_went() -> None:
    pytest.importorskip("scipy")
    trace = trace_of(
        [0, 1000, 2000, 3000],
        [1024] * 4,
        [1] * 4,
        session=[1, 1, 2, 2],
    )
    fresh = trace_of([0, 1000, 2000, 3000], [1024] * 4, [1] * 4)
    apart = lower_bound(trace, fleet_of(2)).cost
    assert apart == pytest.approx(lower_bound(fresh, fleet_of(2)).cost)
    near = trace_of([0, 20, 1000, 1020], [1024] * 4, [1] * 4, session=[1, 1, 2, 2])
    both = lower_bound(near, fleet_of(2)).cost
    # two of the four are read from the cache, but for the last token
    assert both == pytest.approx(apart - 2 * 1023 * 0.9 / 1e6)


def test_a_small_limit_costs_a_family_its_cache_or_its_price() -> None:
    pytest.importorskip("scipy")
    at = [20.0 * k for k in range(60)]
    trace = trace_of(at, [2048] * 60, [1] * 60, session=[1 + k % 2 for k in range(60)])
    free = lower_bound(trace, fleet_of(2)).cost
    held = lower_bound(trace, fleet_of(2, Limits(tpm=4096))).cost
    assert held > free


def test_more_backends_than_walks_are_made_for_still_have_a_bound() -> None:
    pytest.importorskip("scipy")
    names = [f"openai_compatible/n{k}" for k in range(9)]
    price = Price(1, 2, cache_read=0.1)
    service = Service(cache_life=LIFE, cache_least=PIECE)
    many = Fleet([Backend(n, price=price) for n in names], services={"*": service})
    trace = trace_of([0, 20], [1024] * 2, [1] * 2, session=[1, 1])
    assert lower_bound(trace, many).cost == pytest.approx((1025 + 102.3 + 4) / 1e6)


@pytest.mark.parametrize("strategy", ["composite", "cost", "round_robin", "least_busy"])
def test_no_strategy_with_limits_and_caches_is_cheaper(strategy: str) -> None:
    pytest.importorskip("scipy")
    luck = random.Random(5)
    at = sorted(luck.uniform(0, 900) for _ in range(300))
    session = [luck.randint(1, 40) for _ in at]
    trace = trace_of(at, [2048] * 300, [40] * 300, session=session)
    fleet = fleet_of(3, Limits(tpm=20_000))
    result = run(trace, fleet, strategy=strategy)
    bound = lower_bound(trace, fleet, success=result.success).cost
    assert result.success == 1 and 0 < bound <= result.cost
