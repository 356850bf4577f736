"""predictive leaves a limit before it is reached, composite when it nearly is.

A ramp over virtual time: calls come ever faster at a cheap backend with a limit and a
dearer one without; nothing is sent, every answer comes at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from llmbalance._core import STRATEGIES, Pool, PriceRow

START, SECONDS, LIMIT = 100.0, 300.0, 600  # 10 a second come back


@dataclass
class Ramp:
    """What a ramp from 2 to 32 calls a second showed."""

    left: float = 0.0  # s after which the first call went elsewhere
    used: float = 0.0  # share of the limit that was used then
    refused: int = 0  # choices for which the limit had no room
    served: int = 0  # calls that the cheap backend took


def ramp(strategy: str, dearer: float) -> Ramp:
    pool = Pool(2, 1, 0, 1, 2, seed=1)
    for factor in (1.0, dearer):
        pico = int(1_000_000 * factor)
        pool.add_backend(PriceRow({"input": pico, "output": pico}))
    pool.add_limit(0, 0, 0, LIMIT, 60.0)
    pool.set_policy(0.8, 0.95, 0.95)
    group = pool.add_group([0, 1], STRATEGIES.index(strategy))
    seen, now = Ramp(), START
    while now < START + SECONDS:
        now += 1 / (2 + (now - START) / 10)
        lease = pool.pick(group, "hello", max_tokens=50, now=now)
        if lease.decision["refused"].get("rate"):
            seen.refused += 1
        if lease.backend == 1 and seen.left == 0.0:
            seen.left = now - START
            seen.used = pool.limit(0, now)["used"]
        seen.served += lease.backend == 0
        usage = (10, 0, 0, 0, 0, 0, 50)
        lease.settle(0, usage=usage, ttft=0.3, seconds=1.0, now=now)
    return seen


@pytest.mark.parametrize(("dearer", "share"), [(1.3, 0.75), (2.0, 0.85), (4.0, 0.9)])
def test_predictive_moves_traffic_before_the_limit_is_reached(
    dearer: float, share: float
) -> None:
    late, early = ramp("composite", dearer), ramp("predictive", dearer)
    assert early.left < late.left - 3  # seconds
    assert early.used < share < late.used
    assert early.refused == 0


def test_neither_runs_into_the_limit_however_dear_the_other_is() -> None:
    """Four times the price: composite leaves at the last moment, but it leaves."""
    late, early = ramp("composite", 4.0), ramp("predictive", 4.0)
    assert late.refused == early.refused == 0
    assert early.used < 0.82 < 0.93 < late.used < 0.95


def test_the_cheap_capacity_is_used_all_the_same() -> None:
    late, early = ramp("composite", 2.0), ramp("predictive", 2.0)
    assert early.served == pytest.approx(late.served, rel=0.01)
