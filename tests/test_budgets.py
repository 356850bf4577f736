"""Budgets of a router: whom they hold for, when they alert, how they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from leases import backend, call

from llmbalance import (
    Backend,
    Budget,
    BudgetExceededError,
    ConfigError,
    InvalidRequestError,
    Price,
    Router,
)
from llmbalance.testing import MockProvider

COST = 1500 * 1000 + 500 * 2000  # nano-USD of one call at 1 and 2 USD per million
PRICE = Price(1, 2)
Provider = Callable[..., MockProvider]


def router(*budgets: Budget, **options: Any) -> Router:
    backends = [
        backend("a", PRICE, groups=["all", "first"]),
        backend("b", PRICE, groups=["all", "second"]),
    ]
    return Router(backends, budgets=budgets, wait=False, **options)


def calls_until_refused(of: Router, model: str = "all", **options: Any) -> int:
    for number in range(20):
        try:
            call(of, model, **options)
        except BudgetExceededError:
            return number
    return 20


# -- whom they hold for ----------------------------------------------------------

# Room for all calls; room for three, since less is left then than a call would hold.
LARGE, SMALL = 1.0, COST * 3.2e-9


@pytest.mark.parametrize(
    ("scope", "held", "free"),
    [
        ({}, {}, None),
        ({"backend": "a"}, {"model": "a"}, {"model": "b"}),
        ({"group": "first"}, {"model": "first"}, {"model": "second"}),
        ({"tag": "night"}, {"tags": ["night"]}, {}),
        ({"tag": "team=web"}, {"tags": "team=web"}, {"tags": "team=ads"}),
        ({"task": "sum"}, {"task": "sum"}, {"task": "chat"}),
        ({"user": "ann"}, {"user": "ann"}, {"user": "bob"}),
    ],
)
def test_a_budget_holds_for_its_scope_alone(scope: Any, held: Any, free: Any) -> None:
    of = router(Budget(usd=SMALL, per="day", **scope))
    assert calls_until_refused(of, **held) == 3
    if free is not None:
        assert calls_until_refused(of, **free) == 20


def test_a_call_is_under_the_budgets_of_everything_it_carries() -> None:
    small, large = {"usd": SMALL}, {"usd": LARGE}
    of = router(Budget(task="t", **large), Budget(user="u", **small), Budget(**large))
    assert calls_until_refused(of, task="t") == 20
    assert calls_until_refused(of, task="t", user="u") == 3
    spent = [of._fleet.pool.spent(i)[0] for i in range(3)]
    assert spent == [23 * COST, 3 * COST, 23 * COST]


def test_the_same_tag_twice_is_charged_once() -> None:
    of = router(Budget(usd=1, tag="x"))
    call(of, tags=["x", "x"])
    assert of._fleet.pool.spent(0)[0] == COST


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Budget(usd=1, task="a", user="b"), "user"),
        (lambda: Budget(usd=-1), "usd"),
        (lambda: Budget(usd=1, per="fortnight"), "per"),
        (lambda: Budget(usd=1, alert_at=(0,)), "alert_at"),
        (lambda: router(Budget(usd=1, timezone="Mars/Olympus")), "timezone"),
        (lambda: router(Budget(usd=1, backend="c")), "backend"),
        (lambda: router(Budget(usd=1, group="third")), "group"),
        (lambda: router(*[Budget(usd=1) for _ in range(5)]), "budgets"),
    ],
)
def test_a_wrong_budget_is_refused_by_the_name_of_its_field(make: Any, field: str):
    with pytest.raises(ConfigError, match=field):
        make()


def test_a_call_says_which_of_its_labels_is_wrong() -> None:
    of = router(*[Budget(usd=1, tag=f"t{n}") for n in range(9)])
    with pytest.raises(InvalidRequestError, match="8 budgets"):
        call(of, tags=[f"t{n}" for n in range(9)])
    with pytest.raises(InvalidRequestError, match=r"tags.*t0"):
        call(of, tags=["no-such-tag"])
    with pytest.raises(InvalidRequestError, match="task"):
        call(of, task="")


# -- how they end ----------------------------------------------------------------


def test_a_hard_budget_says_when_it_lifts() -> None:
    of = router(Budget(usd=SMALL, per=3600))
    assert calls_until_refused(of) == 3
    with pytest.raises(BudgetExceededError) as caught:
        call(of)
    error = caught.value
    end_of_hour = (time.time() // 3600 + 1) * 3600
    assert error.lifts_at == pytest.approx(end_of_hour, abs=2)
    assert error.retry_after == pytest.approx(end_of_hour - time.time(), abs=2)
    assert error.reasons == {"a": "budget", "b": "budget"}
    assert "budget" in str(error)


def test_a_total_budget_never_lifts() -> None:
    of = router(Budget(usd=SMALL, per="total"))
    assert calls_until_refused(of) == 3
    with pytest.raises(BudgetExceededError) as caught:
        call(of)
    assert caught.value.lifts_at is None


def test_a_budget_of_one_backend_sends_calls_to_the_others() -> None:
    of = router(Budget(usd=SMALL, backend="a"))
    taken = [call(of) for _ in range(20)]
    assert taken.count("a") == 3
    assert taken.count("b") == 17


def test_a_new_window_is_a_new_budget() -> None:
    of = router(Budget(usd=SMALL, per=3600))
    assert calls_until_refused(of) == 3
    pool, later = of._fleet.pool, time.monotonic() + 3600
    assert pool.spent(0, later)[0] == 0


def test_a_day_that_begins_while_the_machine_sleeps_is_a_new_day() -> None:
    of = router(Budget(usd=SMALL, per="day"))
    [meter], pool, wall = of._fleet.meters, of._fleet.pool, time.time()
    assert calls_until_refused(of) == 3
    meter.turn(pool, wall)
    assert calls_until_refused(of) == 0
    tomorrow = (wall // 86400 + 1) * 86400 + 7200
    again = meter.turn(pool, tomorrow)  # the pool's own clock did not move
    assert again == tomorrow + 22 * 3600
    assert pool.budget(0)["ends_in"] == pytest.approx(22 * 3600, abs=5)
    assert calls_until_refused(of) == 3
    meter.turn(pool, tomorrow + 60)
    assert calls_until_refused(of) == 0


def test_a_clock_that_is_a_little_late_ends_no_window_twice() -> None:
    of = router(Budget(usd=SMALL, per="day"))
    [meter], pool = of._fleet.meters, of._fleet.pool
    midnight = (time.time() // 86400 + 1) * 86400
    meter.turn(pool, midnight - 3600)
    now = time.monotonic() + 3601  # by the pool's clock the day is over
    assert pool.spent(0, now)[1] == 1
    assert meter.turn(pool, midnight - 0.01) == pytest.approx(midnight)
    pool.book(0, COST, 0, now)
    assert pool.spent(0, now)[0] == COST


async def test_a_thousand_calls_at_once_never_pass_the_cap(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai", model="gpt-4o", output_tokens=50, ttft=0.02)
    target = Backend(
        "openai/gpt-4o",
        groups=["all"],
        api_key="test-key",
        base_url=provider.base_url,
        price=Price(0, 1000),
    )
    of = Router(
        [target],
        budgets=[Budget(usd=100 * 0.05, per="day")],
        ledger=":memory:",
        wait=False,
    )

    async def one() -> bool:
        try:
            await of.chat("all", [{"role": "user", "content": "Hi"}], max_tokens=50)
        except BudgetExceededError as error:
            assert error.lifts_at is not None
            return False
        return True

    async with of:
        served = await asyncio.gather(*(one() for _ in range(1000)))
        assert sum(served) == provider.served == 100
        assert of.costs()["total"]["total_nano_usd"] == 5_000_000_000


@pytest.mark.parametrize(("limit", "reach"), [(400, 0), (None, 1)])
def test_only_answers_longer_than_thought_pass_the_cap(limit: Any, reach: int) -> None:
    """What is held bounds what is spent: past the cap goes no more than the calls in
    flight cost beyond what was held for them."""
    of = router(Budget(usd=0.02))
    leases = []
    while True:
        lease = of.acquire("all", "Hello", max_tokens=limit)
        try:
            leases.append(lease.__enter__())
        except BudgetExceededError:
            break
    output = limit or 1500  # more than the 1,024 that a group without history holds
    held = sum(lease.shot.lease.hold for lease in leases)
    assert held <= 20_000_000
    for lease in leases:
        lease.settle(usage={"prompt_tokens": 3, "completion_tokens": output})
    spent = of._fleet.pool.spent(0)[0]
    beyond = len(leases) * ((output - 1024) * 2000)
    assert (spent > 20_000_000) is bool(reach)
    assert spent <= 20_000_000 + (beyond if reach else 0)


# -- what they tell --------------------------------------------------------------


def test_a_router_tells_what_its_budgets_have_spent_and_hold() -> None:
    of = router(
        Budget(usd=1, per="hour"),
        Budget(usd=0, per="total", hard=False, user="ann"),
        Budget(usd=2, per=60, rolling=True, group="all", hard=False),
    )
    with of.acquire("all", "Hello", max_tokens=500) as lease:
        held, ann, _ = of.budgets()["budgets"]
        assert held["held"] > 0 == held["spent"]
        assert held["left"] == pytest.approx(1 - held["held"])
        assert (ann["scope"], ann["name"], ann["hard"]) == ("user", "ann", False)
        assert (ann["held"], ann["share"]) == (0, None)
        cost = lease.settle(usage={"prompt_tokens": 1500, "completion_tokens": 500})
    report = of.budgets()
    hour, ann, rolling = report.rows()
    assert (hour["spent"], hour["held"]) == (pytest.approx(cost), 0)
    assert hour["share"] == pytest.approx(cost)
    assert rolling["share"] == pytest.approx(cost / 2)
    assert ann["spent"] == 0
    end_of_hour = (time.time() // 3600 + 1) * 3600
    assert hour["ends_at"] == pytest.approx(end_of_hour, abs=2)
    assert rolling["ends_at"] is ann["ends_at"] is None
    assert "budget per hour" in str(report)


def test_a_window_that_has_ended_is_not_told_any_more() -> None:
    of = router(Budget(usd=1, per=3600))
    call(of)
    assert of.budgets().rows()[0]["spent"] > 0
    later = time.time() + 3600
    of._fleet.wall = lambda: later  # type: ignore[method-assign]
    of._fleet.due = 0.0
    assert of.budgets().rows()[0]["spent"] == 0


def test_a_router_without_budgets_has_an_empty_table() -> None:
    assert router().budgets().rows() == []
