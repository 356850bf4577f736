"""Budgets of a router: whom they hold for, when they alert, how they end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from leases import USAGE, backend, call

from llmbalance import (
    Backend,
    Budget,
    BudgetExceededError,
    ConfigError,
    InvalidRequestError,
    Price,
    Router,
)
from llmbalance._alerts import Pulse
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


# -- alerts ----------------------------------------------------------------------


def test_each_share_is_told_once_as_spending_passes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[float] = []
    soft = Budget(
        usd=COST * 10e-9,
        hard=False,
        alert_at=(1.0, 0.5, 0.8),
        on_alert=lambda budget, share: told.append(share),
    )
    of = router(soft)
    seen = []
    for _ in range(15):
        call(of)
        seen.append(list(told))
    assert seen[3] == []
    assert seen[4] == [0.5]
    assert seen[7] == [0.5, 0.8]
    assert seen[9] == seen[14] == [0.5, 0.8, 1.0]
    events = [record for record in caplog.records if record.name == "llmbalance"]
    assert [event.data["share"] for event in events] == told  # type: ignore[attr-defined]
    assert {event.event for event in events} == {"budget"}  # type: ignore[attr-defined]
    assert "budget per day has used 50%" in caplog.text


def test_one_dear_call_tells_all_shares_it_passes() -> None:
    told: list[float] = []
    of = router(Budget(usd=COST * 1e-9, on_alert=lambda _, share: told.append(share)))
    call(of, usage={"prompt_tokens": 1500, "completion_tokens": 500})
    assert told == [0.5, 0.8, 1.0]


def test_an_alert_that_fails_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    of = router(Budget(usd=COST * 2e-9, on_alert=lambda *_: 1 / 0, hard=False))
    assert call(of) in "ab"
    assert "callback for 'budget' failed" in caplog.text


def test_a_new_window_tells_again() -> None:
    told: list[float] = []
    of = router(
        Budget(
            usd=COST * 1e-9,
            per=3600,
            hard=False,
            alert_at=(1,),
            on_alert=lambda _, share: told.append(share),
        )
    )
    [meter] = of._fleet.meters
    call(of)
    call(of)
    assert told == [1]
    now = time.monotonic() + 3600
    of._fleet.pool.book(0, COST, 0, now)
    meter.check(of._fleet.pool, now)
    assert told == [1, 1]


def test_a_rolling_budget_tells_once_a_period() -> None:
    told: list[float] = []
    of = router(
        Budget(
            usd=COST * 1e-9,
            per=3600,
            rolling=True,
            hard=False,
            alert_at=(1,),
            on_alert=lambda _, share: told.append(share),
        )
    )
    [meter] = of._fleet.meters
    pool, now = of._fleet.pool, time.monotonic()
    for minute in range(120):
        pool.book(0, COST, 0, now + 60 * minute)
        meter.check(pool, now + 60 * minute)
    assert told == [1, 1]


def test_threads_that_pass_a_mark_together_tell_it_once() -> None:
    told: list[float] = []
    of = router(
        Budget(
            usd=COST * 400e-9,
            hard=False,
            on_alert=lambda _, share: told.append(share),
        )
    )
    threads = [
        threading.Thread(target=lambda: [call(of) for _ in range(100)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0.5, 0.8, 1.0]
    assert of._fleet.pool.spent(0)[0] == 800 * COST


def test_budgets_without_marks_are_not_looked_at() -> None:
    of = router(Budget(usd=1, alert_at=()))
    assert of._fleet.books is None
    assert call(of) in "ab"


# -- anomalies -------------------------------------------------------------------


def steady(pulse: Pulse, minutes: int, nano: int, begin: int = 0) -> None:
    for minute in range(begin, begin + minutes):
        assert pulse.add(nano, minute * 60.0) is None


def test_money_that_goes_faster_than_ever_is_told_once_an_hour() -> None:
    pulse = Pulse(0.0)
    steady(pulse, 120, 1_000_000_000)
    strange = pulse.add(3_000_000_000, 120 * 60.0)
    assert strange is not None
    assert strange.usd_per_hour == pytest.approx(180)
    assert strange.usual_usd_per_hour == pytest.approx(60)
    assert strange.highest_usd_per_hour == pytest.approx(60, rel=0.01)
    assert pulse.add(9_000_000_000, 120 * 60.0) is None
    assert pulse.add(99_000_000_000, 182 * 60.0) is not None


def test_nothing_is_strange_without_an_hour_of_history() -> None:
    pulse = Pulse(0.0)
    steady(pulse, 59, 1_000_000_000)
    assert pulse.add(50_000_000_000, 59 * 60.0) is None


def test_rare_calls_of_the_usual_size_are_not_strange() -> None:
    pulse = Pulse(0.0)
    for hour in range(48):
        assert pulse.add(1_000_000_000, hour * 3600.0) is None


def test_a_busy_morning_like_yesterdays_is_not_strange() -> None:
    pulse = Pulse(0.0)
    for minute in range(5 * 1440):
        busy = minute % 1440 >= 540
        assert pulse.add(5_000_000_000 if busy else 0, minute * 60.0) is None


def test_a_history_goes_on_in_the_next_process() -> None:
    old, new = Pulse(0.0), Pulse(0.0)
    steady(old, 120, 1_000_000_000)
    new.resume(old.state())
    assert new.add(3_000_000_000, 30.0) is not None


async def test_a_router_calls_back_when_money_runs() -> None:
    told: list[Any] = []
    of = router(on_anomaly=told.append)
    assert of._books is not None
    pulse = of._books._pulse
    assert pulse is not None
    pulse.resume({"minutes": 999, "mean": 1e5, "square": 1e10, "highest": 1e5})
    call(of, usage=USAGE)
    [anomaly] = told
    assert anomaly.usd_per_hour == pytest.approx(COST * 60 / 1e9)
    call(of, usage=USAGE)
    assert len(told) == 1


def test_alerts_reach_handlers_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "llmbalance")
    of = router(Budget(usd=COST * 1e-9, alert_at=(0.5,), task="t", hard=False))
    call(of, task="t")
    [record] = caplog.records
    assert record.getMessage().startswith("budget per day of task 't' has used 50%")
