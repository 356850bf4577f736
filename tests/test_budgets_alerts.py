"""Who is told when money goes: shares of budgets, and a pace never seen before."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest
from leases import USAGE, backend, call

from llmbalance import Budget, Price, Router
from llmbalance._money._alerts import Pulse

COST = 1500 * 1000 + 500 * 2000  # nano-USD of one call at 1 and 2 USD per million


def router(*budgets: Budget, **options: Any) -> Router:
    return Router([backend("a", Price(1, 2))], budgets=budgets, wait=False, **options)


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
    assert call(of) == "a"
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
    assert call(of) == "a"


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
