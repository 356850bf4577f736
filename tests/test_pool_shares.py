"""A backend with a min_share stays warm under every strategy, and no further."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from llmbalance import Backend, ConfigError, Price, Router
from llmbalance._core import STRATEGIES


def backend(name: str, dollars: float, **options: Any) -> Backend:
    price = Price(dollars, dollars)
    return Backend(
        "openai/gpt-4o", name=name, groups=["all"], api_key="k", price=price, **options
    )


def served(router: Router, calls: int) -> Counter[str]:
    count: Counter[str] = Counter()
    for _ in range(calls):
        with router.acquire("all", "Hello", max_tokens=5) as lease:
            lease.settle(usage={"prompt_tokens": 9, "completion_tokens": 5})
        count[lease.backend] += 1
    return count


@pytest.mark.parametrize("strategy", ["cost", "composite", "predictive"])
def test_a_dear_backend_gets_its_share_within_a_point(strategy: str) -> None:
    router = Router(
        [backend("cheap", 1), backend("dear", 9, min_share=0.2)], strategy=strategy
    )
    count = served(router, 1000)
    assert 790 <= count["cheap"] <= 810 and 190 <= count["dear"] <= 210


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_share_is_kept_under_every_strategy(strategy: str) -> None:
    backends = [backend("big", 1, weight=1000), backend("small", 9, min_share=0.2)]
    assert served(Router(backends, strategy=strategy), 1000)["small"] >= 190


def test_a_drained_backend_is_owed_nothing() -> None:
    router = Router([backend("a", 1), backend("b", 9, min_share=0.5)], strategy="cost")
    router.set_weight("b", 0)
    assert served(router, 20) == {"a": 20}


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused_by_name(share: float) -> None:
    with pytest.raises(ConfigError, match="min_share"):
        backend("a", 1, min_share=share)


def test_shares_of_a_group_above_one_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"min_share.*'all'"):
        Router([backend("a", 1, min_share=0.6), backend("b", 1, min_share=0.6)])
