"""The pool as Python sees it: what it refuses by name, and what its leases do."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance._core import CHARGES, OUTCOMES, STRATEGIES, UNITS, Lease, Pool, PriceRow

PRICE = PriceRow({"input": 1_000_000, "output": 2_000_000})  # 1,000 and 2,000 nano-USD
RULES = (5, 10, 0.5, 0.8, 0.1, 3, 30.0, 5.0, 300.0, 30.0, 0)


def make(n: int = 2, strategy: str = "round_robin") -> Pool:
    pool = Pool(n, 8, 4, 3, 4 * n, 16, 1)
    for i in range(n):
        pool.add_backend(PRICE, id=i + 1)
    pool.add_group(list(range(n)), STRATEGIES.index(strategy))
    return pool


BAD_CALLS: list[tuple[str, type[Exception], Callable[[Pool], Any]]] = [
    ("sessions a power of two", ValueError, lambda p: Pool(1, 1, 1, 1, 1, 3)),
    ("backends", ValueError, lambda p: Pool(0, 1, 1, 1, 1)),
    ("price", TypeError, lambda p: p.add_backend("cheap")),
    ("breaker", TypeError, lambda p: p.add_backend(PRICE, breaker=5)),
    ("weight", ValueError, lambda p: p.set_terms(0, PRICE, weight=-1.0)),
    ("backend", TypeError, lambda p: p.set_terms()),
    ("set_weight", ValueError, lambda p: p.set_weight(9, 1.0)),
    ("1e\\+300", ValueError, lambda p: p.set_weight(0, 1e300)),
    ("1e-300", ValueError, lambda p: p.set_weight(0, 1e-300)),
    ("nan", ValueError, lambda p: p.set_weight(0, float("nan"))),
    ("weight .* 1e-300", ValueError, lambda p: p.add_backend(PRICE, weight=1e-300)),
    ("set_price", ValueError, lambda p: p.set_price(9, PRICE)),
    ("add_limit", ValueError, lambda p: p.add_limit(0, 0, 0, 0, 60.0)),
    ("set_limit", ValueError, lambda p: p.set_limit(0, 5)),
    ("set_limit", ValueError, lambda p: p.set_limit(0, 5, -1.0)),
    ("set_budget", ValueError, lambda p: p.set_budget(0, 5)),
    ("share_limit", ValueError, lambda p: p.share_limit(0, 5)),
    ("share_calls", ValueError, lambda p: p.share_calls(0, 5)),
    ("add_budget", ValueError, lambda p: p.add_budget(0, -1)),
    ("set_window", ValueError, lambda p: p.set_window(0, 1.0, 1.0)),
    ("scope", ValueError, lambda p: p.charge("team", 0, 0)),
    ("twice", ValueError, lambda p: p.add_group([0, 0], 0)),
    ("members", TypeError, lambda p: p.add_group((0,), 0)),
    ("set_group", ValueError, lambda p: p.set_group(0, [0], 99)),
    ("order", ValueError, lambda p: p.order(0, 3)),
    ("shift", ValueError, lambda p: p.set_policy(shift=0.9, stop=0.8)),
    ("group", ValueError, lambda p: p.pick(9, "x")),
    ("max_tokens", ValueError, lambda p: p.pick(0, "x", -1)),
    ("max_cost", ValueError, lambda p: p.pick(0, "x", max_cost=-1)),
    ("quality", ValueError, lambda p: p.pick(0, "x", quality=256)),
    ("needs", ValueError, lambda p: p.pick(0, "x", needs=2**40)),
    ("strategy", ValueError, lambda p: p.pick(0, "x", strategy=99)),
    ("tried", ValueError, lambda p: p.pick(0, "x", tried=(7,))),
    ("budgets", TypeError, lambda p: p.pick(0, "x", budgets=[0])),
    ("seconds", ValueError, lambda p: p.pick(0, "x", now=1e12)),
    ("outcome", ValueError, lambda p: p.pick(0, "x").settle(99)),
    ("usage", TypeError, lambda p: p.pick(0, "x").settle(0, [1])),
    ("cost", ValueError, lambda p: p.pick(0, "x").settle(0, cost=-1)),
    ("told", TypeError, lambda p: p.pick(0, "x").settle(0, told=[1])),
    ("group", ValueError, lambda p: p.pick(0, "x").again(9)),
    ("colour", TypeError, lambda p: p.pick(0, "x", colour=1)),
    ("prompt", TypeError, lambda p: p.pick(0)),
    ("backend 9", IndexError, lambda p: p.backend(9)),
]


@pytest.mark.parametrize(
    ("word", "kind", "call"),
    BAD_CALLS,
    ids=[f"{i}-{b[0]}" for i, b in enumerate(BAD_CALLS)],
)
def test_what_is_out_of_range_is_refused_by_name(
    word: str, kind: type[Exception], call: Callable[[Pool], Any]
) -> None:
    pool = make()
    with pytest.raises(kind, match=word):
        call(pool)
    gc.collect()
    assert pool.usage()["in_flight"] == 0


AT = {"now": -1.0}
TIMED: list[Callable[[Pool], Any]] = [
    lambda p: p.pick(0, "x", **AT),
    lambda p: p.explain(0, "x", **AT),
    lambda p: p.pick(0, "x", now=5.0).settle(0, **AT),
    lambda p: p.pick(0, "x", now=5.0).again(**AT),
    lambda p: p.order(0, 1, -1.0),
    lambda p: p.set_limit(0, 5, 60.0, 0, -1.0),
    lambda p: p.set_window(0, 1.0, 1.0, -1.0),
    lambda p: p.add_budget(0, 5, **AT),
    lambda p: p.backend(0, -1.0),
    lambda p: p.limit(0, -1.0),
    lambda p: p.budget(0, -1.0),
    lambda p: p.learned("backend", 0, -1.0),
    lambda p: p.teach("backend", 0, p.learned("backend", 0), 0.0, -1.0),
    lambda p: p.book(0, 5, 0.0, -1.0),
    lambda p: p.spent(0, -1.0),
]


@pytest.mark.parametrize("call", TIMED)
def test_a_time_before_the_clock_began_is_refused(call: Callable[[Pool], Any]) -> None:
    pool = make()
    pool.add_limit(0, 0, 0, 5, 60.0)
    pool.add_budget(1, 5, True, 60.0, 60.0)
    with pytest.raises(ValueError, match=r"now must be 0 or more seconds, not -1\.0"):
        call(pool)


def test_rules_that_no_clock_can_follow_are_refused() -> None:
    for at in (6, 7, 8, 9):
        for bad in (float("nan"), float("inf"), -1.0, 1e300):
            rules = (*RULES[:at], bad, *RULES[at + 1 :])
            with pytest.raises(ValueError, match=r"^breaker: (window|cooldown|ramp)"):
                make(1).set_terms(0, PRICE, breaker=rules)


def test_a_lease_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError, match="cannot create"):
        Lease()


def test_a_dropped_lease_gives_everything_back_but_the_prompt() -> None:
    pool = make(1)
    pool.add_limit(0, UNITS.index("tokens"), CHARGES.index("actual"), 100_000, 60.0)
    pool.charge("all", 0, pool.add_budget(0, 10**9, now=100.0))
    lease = pool.pick(0, "word " * 100, 500, now=100.0)
    tokens = lease.input_tokens
    assert pool.limit(0, 100.0)["charged"] == tokens + 500
    del lease
    assert pool.limit(0, 100.0)["charged"] == tokens
    assert pool.budget(0, 100.0)["reserved"] == 0
    assert pool.budget(0, 100.0)["spent"] == tokens * 1000
    assert pool.backend(0, 100.0)["outcomes"]["cancelled"] == 1


def test_a_dropped_lease_of_virtual_time_ends_in_virtual_time() -> None:
    """Or the budget's window of this very minute would long be over."""
    pool = make(1)
    pool.charge("all", 0, pool.add_budget(1, 10**9, True, 60.0, 60.0, now=5.0))
    lease = pool.pick(0, "word " * 100, 500, now=10.0)
    done = pool.pick(0, "word", 5, now=20.0)
    done.settle(0, now=21.0)
    del lease
    assert pool.budget(0, 21.0)["rolls"] == 0
    assert pool.budget(0, 21.0)["spent"] > 0


def test_leases_outlive_their_name_for_the_pool_and_are_not_leaked() -> None:
    pool = make()
    kept = [pool.pick(0, "x") for _ in range(100)]
    del pool
    gc.collect()
    for lease in kept:
        assert lease.live
        assert lease.settle(OUTCOMES.index("done"), (10, 0, 0, 0, 0, 0, 5)) == 20_000
    before = sys.getrefcount(Lease)
    del kept, lease
    assert sys.getrefcount(Lease) == before - 100


def test_the_next_attempt_leaves_out_who_was_tried() -> None:
    pool = make(3)
    lease = pool.pick(0, "x", now=1.0)
    tried = {lease.backend}
    while (lease := lease.again(now=1.0)).backend >= 0:
        assert lease.backend not in tried
        tried.add(lease.backend)
    assert tried == {0, 1, 2}
    assert lease.decision["refused"] == {"tried": 3}
    assert lease.wait == float("inf")


def test_the_decision_tells_of_every_candidate() -> None:
    pool = make(3, "cost")
    pool.set_weight(0, 0.0)
    pool.set_price(2, PriceRow({"input": 1, "output": 1}))
    lease = pool.pick(0, "word " * 100, 50, now=1.0)
    decision = lease.decision
    assert lease.backend == 2
    assert decision["strategy"] == "cost"
    assert [c["reason"] for c in decision["candidates"]] == [
        "drained",
        "eligible",
        "eligible",
    ]
    assert decision["refused"] == {"drained": 1}
    assert lease.rivals == 1
    explained = pool.explain(0, "word " * 100, 50, now=1.0)
    assert [q["reason"] for q in explained] == ["drained", "eligible", "eligible"]


def test_a_backend_takes_less_than_two_kilobytes() -> None:
    assert Pool(1, 0, 0, 0, 0).usage()["bytes_per_backend"] <= 2048


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("context", -1),
        ("context", 3 * 10**9),
        ("max_output", -2),
        ("max_calls", 2**31),
        ("weight", float("nan")),
        ("weight", -0.5),
        ("min_share", 2.0),
        ("order", 256),
        ("quality", -1),
        ("family", 6),
        ("cache_life", -1.0),
    ],
)
def test_a_term_out_of_range_is_named_with_its_value(field: str, value: float):
    pool = Pool(2, 0, 0, 0, 0)
    row = PriceRow({"input": 1, "output": 1})
    index = pool.add_backend(row)
    wrong = rf"^{field} must be .*, not {value!r}$"
    with pytest.raises(ValueError, match=wrong):
        pool.add_backend(row, **{field: value})
    with pytest.raises(ValueError, match=wrong):
        pool.set_terms(index, row, **{field: value})


def test_a_breaker_rule_out_of_range_is_named():
    rules = (5, 10, 1.5, 0.8, 0.1, 3, 30.0, 5.0, 60.0, 30.0, 0)
    with pytest.raises(ValueError, match=r"^breaker: failure_rate must be above 0 and"):
        Pool(1, 0, 0, 0, 0).add_backend(PriceRow({"input": 1}), breaker=rules)
