"""Retries and queues: an outage is not multiplied, nobody is overtaken or forgotten."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from backends import backend

from llmbalance import (
    Backend,
    Budget,
    BudgetExceededError,
    ConfigError,
    InvalidRequestError,
    Limit,
    Limits,
    LLMBalanceError,
    OverloadedError,
    Price,
    RateLimitedError,
    RequestTimeoutError,
    Router,
)
from llmbalance._fleet._line import Lines
from llmbalance._fleet._retries import AGAIN, Retries
from llmbalance._types import Failure

ASK = [{"role": "user", "content": "What is the capital of France?"}]
BUSY = {"error": {"message": "Busy. Please try again in 120ms."}}


# -- the retry budget --------------------------------------------------------------


def test_repetitions_are_a_share_of_the_calls_of_ten_seconds():
    retries = Retries(0.2, 3.0)
    for i in range(1000):
        retries.deposit(100 + i / 100)
    allowed = sum(retries.allow(109.9) for _ in range(500))
    assert allowed == int((200 + 3) / AGAIN)
    assert retries.refused == 500 - allowed


def test_a_quiet_router_may_retry_and_the_past_is_forgotten():
    retries = Retries()
    assert retries.allow(5.0)
    assert not retries.allow(5.0)
    assert not retries.allow(14.9)
    assert retries.allow(15.0)


def test_going_elsewhere_is_never_refused_but_counts():
    retries = Retries()
    for _ in range(50):
        retries.withdraw(1.0)
    assert retries.balance(1.0) == pytest.approx(3 - 50)
    assert not retries.allow(1.0)
    assert retries.allow(60.0)


async def test_an_outage_of_everything_does_not_multiply_the_load(llm_provider):
    providers = [llm_provider("openai", name=n, model="gpt-4o") for n in ("a", "b")]
    for provider in providers:
        # Breakers stay closed and no limit is named: only the budget holds back.
        provider.outage(status=429, retry_after=0.1, body=BUSY)

    async def storm(**options: Any) -> int:
        for provider in providers:
            provider.clear()
        router = Router([backend(p) for p in providers], seed=1, **options)
        calls = (router.chat("all", ASK, timeout=4) for _ in range(50))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, Exception) for result in results)
        return sum(len(provider.requests) for provider in providers)

    free = await storm(retry_budget=None)
    held = await storm()
    assert 50 <= held <= 50 * 2 + 10
    assert free > held


async def test_a_dead_backend_is_absorbed_without_any_budget(llm_provider):
    dead, good = (llm_provider("openai", name=n, model="gpt-4o") for n in "ab")
    dead.outage(status=503)
    async with Router(
        [backend(dead, price=Price(0, 0)), backend(good)], retry_budget=0
    ) as router:
        replies = [await router.chat("all", ASK) for _ in range(50)]
    assert all(reply.backend == "b" for reply in replies)


def pauses(router: Router, kind: str = "server") -> list[float]:
    """The pauses of a call to backends that all fail, until it gives up."""
    run = router._intake.run("chat", "all", ASK, False, {"timeout": 60})
    found: list[float] = []
    try:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                found.append(shot)
            else:
                found.append(-1.0)
                run.fail(shot, Failure(kind=kind, message="", status=500), None)
    except LLMBalanceError:
        run.end()
        return found


def local(name: str) -> Backend:
    return Backend("ollama/m", name=name, groups=["all"], price=Price(1, 2))


def test_a_call_pauses_only_when_nobody_is_left_and_then_for_any_time_up_to_a_bound():
    """Three rounds over three backends: two pauses, full jitter below 1 and 2 s."""
    one, two = [], []
    for _ in range(200):
        router = Router([local(n) for n in "abc"], retry_budget=None)
        found = pauses(router)
        assert [pause < 0 for pause in found] == [True] * 3 + [False, *[True] * 3] * 2
        one.append(found[3])
        two.append(found[7])
    for times, bound in ((one, 1.0), (two, 2.0)):
        assert 0 <= min(times) < 0.1 * bound
        assert 0.9 * bound < max(times) <= bound
        assert 0.4 * bound < sum(times) / len(times) < 0.6 * bound


def test_no_pause_is_made_that_the_deadline_does_not_allow():
    router = Router([local("a")], retry_budget=None)
    run = router._intake.run("chat", "all", ASK, False, {"timeout": 5})
    shot = run.aim()
    assert not isinstance(shot, float)
    late = Failure(kind="overloaded", message="", status=503, retry_after=6.0)
    run.fail(shot, late, None)
    with pytest.raises(OverloadedError):
        run.aim()


# -- the line ----------------------------------------------------------------------


def test_the_line_goes_by_priority_then_arrival():
    lines = Lines()
    first, second, urgent = (lines.join("g", p) for p in (0, 0, 5))
    assert first and second and urgent
    assert lines.is_head(urgent)
    assert lines.busy("g", 5, 1e9) and not lines.busy("g", 6, 1e9)
    lines.leave(urgent)
    assert lines.is_head(first) and first.called
    assert not second.called
    lines.leave(second)
    lines.leave(first)
    assert not lines and not lines.busy("g", 0, 1e9)


def test_who_asks_for_something_else_stands_elsewhere():
    lines = Lines()
    one, other = lines.join("one", 0), lines.join("other", 0)
    assert one and other
    assert lines.is_head(one) and lines.is_head(other)
    lines.room()
    assert one.called and other.called


def test_one_who_cannot_wait_so_long_may_ask_before_the_head():
    lines = Lines()
    head = lines.join("g", 0)
    assert head
    head.until = 100.0
    assert lines.busy("g", 0, 200.0)
    assert not lines.busy("g", 0, 50.0)


def test_a_full_line_refuses_the_least_urgent():
    lines = Lines(most=2)
    first, second = lines.join("g", 0), lines.join("g", 0)
    assert first and second
    assert lines.join("g", 0) is None
    urgent = lines.join("g", 1)
    assert urgent and lines.is_head(urgent)
    assert second.shed and second.called and not first.shed
    assert lines.waiting == 2


def test_who_would_surely_wait_too_long_is_known_by_the_pace_of_the_line():
    lines = Lines()
    waiting = [lines.join("g", 0, 1000.0) for _ in range(30)]
    assert lines.least_wait("g", 0) == 0  # nothing is known yet
    for k, ticket in enumerate(waiting[:7]):
        assert ticket
        lines.leave(ticket, 10.0 + k * 0.5)
    # 23 before a newcomer, one each half second, less two standard deviations.
    assert lines.least_wait("g", 0) == pytest.approx((23 - 2 * 23**0.5) / 2)
    assert lines.least_wait("g", 1) == 0  # goes before all of them
    assert lines.least_wait("h", 0) == 0


def test_those_without_a_chance_leave_the_line_when_its_pace_is_known():
    lines = Lines()
    waiting = [lines.join("g", 0, 20.0) for _ in range(60)]
    for k, ticket in enumerate(waiting[:7]):
        assert ticket
        lines.leave(ticket, 10.0 + k * 0.5)
    # 13 is the time, 7 s are left: 14 calls, with two standard deviations up to 24.
    shed = [ticket for ticket in waiting if ticket and ticket.shed]
    assert lines.waiting == 60 - 7 - len(shed)
    assert lines.waiting == 24
    assert all(ticket.called and ticket.least >= 7.0 for ticket in shed)
    assert shed == waiting[-len(shed) :]
    for ticket in shed:
        lines.leave(ticket)
    assert lines.waiting == 53 - len(shed)


def test_a_burst_of_room_lets_everybody_stay():
    lines = Lines()
    waiting = [lines.join("g", 0, 18.0) for _ in range(60)]
    for k, ticket in enumerate(waiting[:20]):
        assert ticket
        lines.leave(ticket, 10.0 + k // 10 * 5 + k * 0.001)
    assert lines.least_wait("g", 0) < 0.1
    assert lines.waiting == 40


async def test_load_is_shed_before_it_has_waited_in_vain(llm_provider):
    """20 calls a second fit, 200 come within one and have a second each."""
    provider = llm_provider("openai", name="slow", model="gpt-4o")
    limits = Limits(more=[Limit("requests", 20, "second", burst=1)])
    router = Router([backend(provider, limits=limits)])
    shed: list[float] = []
    vain: list[float] = []

    async def one(after: float) -> None:
        await asyncio.sleep(after)
        begin = time.monotonic()
        try:
            await router.chat("all", ASK, timeout=1.0)
        except RateLimitedError as error:
            seconds = time.monotonic() - begin
            if "more than can be served" in str(error):
                assert error.retry_after is not None
                assert error.retry_after > 0
                shed.append(seconds)
            else:
                vain.append(seconds)
        except RequestTimeoutError:  # served, but a busy machine came too late
            pass

    async with router:
        await asyncio.gather(*(one(k * 0.005) for k in range(200)))
        assert router._fleet.lines.waiting == 0
    assert len(shed) > 3 * len(vain)
    assert sorted(shed)[len(shed) // 2] < 0.4  # long before their time is over
    assert provider.served >= 15


async def test_waiters_are_served_in_order_and_no_one_overtakes(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o", ttft=0.02)
    router = Router([backend(provider, limits=Limits(concurrency=1))])
    done: list[Any] = []

    async def one(mark: Any, **options: Any) -> None:
        await router.chat("all", ASK, **options)
        done.append(mark)

    tasks = []
    for i in range(6):
        tasks.append(asyncio.create_task(one(i)))
        await asyncio.sleep(0.001)
    tasks.append(asyncio.create_task(one("urgent", priority=3)))
    await asyncio.gather(*tasks)
    assert done == [0, "urgent", 1, 2, 3, 4, 5]
    assert not router._fleet.lines


async def test_room_is_taken_as_soon_as_it_is_there(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o", ttft=0.05)
    router = Router([backend(provider, limits=Limits(concurrency=1))])
    begin = time.monotonic()
    await asyncio.gather(*(router.chat("all", ASK) for _ in range(10)))
    assert 0.5 <= time.monotonic() - begin < 0.5 + 0.5
    assert provider.peak == 1


async def test_too_many_waiters_are_refused_at_once(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o", ttft=0.1)
    router = Router([backend(provider, limits=Limits(concurrency=1))], max_waiting=2)
    begin = time.monotonic()

    async def one() -> float:
        try:
            await router.chat("all", ASK)
        except RateLimitedError as error:
            assert "max_waiting" in str(error)
            return time.monotonic() - begin
        return 0.0

    results = await asyncio.gather(*(one() for _ in range(8)))
    refused = [seconds for seconds in results if seconds]
    assert len(refused) == 5
    assert max(refused) < 0.1
    assert provider.served == 3


async def test_who_leaves_the_line_leaves_no_place_behind(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o", ttft=0.2)
    router = Router([backend(provider, limits=Limits(concurrency=1))])
    first = asyncio.create_task(router.chat("all", ASK))
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(router.chat("all", ASK)) for _ in range(3)]
    stream = asyncio.create_task(router.chat("all", ASK, stream=True))
    await asyncio.sleep(0.05)
    assert router._fleet.lines.waiting == 4
    for task in (waiting[0], stream):
        task.cancel()
    with pytest.raises(RateLimitedError):
        await router.chat("all", ASK, timeout=0.05)
    await asyncio.gather(first, *waiting[1:])
    assert router._fleet.lines.waiting == 0
    assert provider.served == 3


async def test_threads_and_leases_wait_in_the_same_line(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o", ttft=0.05)
    router = Router([backend(provider, limits=Limits(concurrency=1))])
    threads = [asyncio.to_thread(router.sync.chat, "all", ASK) for _ in range(4)]
    tasks = [asyncio.create_task(work) for work in threads]
    await asyncio.sleep(0.02)
    with pytest.raises(RateLimitedError):
        router.acquire("all", ASK).__enter__()
    async with router.acquire("all", ASK) as lease:
        lease.release()
    await asyncio.gather(*tasks)
    assert provider.peak == 1
    assert not router._fleet.lines


async def test_a_failing_backend_is_not_asked_for_ever(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o")
    provider.outage(status=503)
    async with Router([backend(provider)], retry_budget=0.0) as router:
        with pytest.raises(OverloadedError) as caught:
            await router.chat("all", ASK, timeout=10)
    assert len(caught.value.attempts) == 2  # one, and one of the floor


async def test_wrong_settings_are_refused_by_name(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o")
    for options in ({"max_waiting": -1}, {"retry_budget": -0.1}, {"retry_budget": 20}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            Router([backend(provider)], **options)
    router = Router([backend(provider)])
    with pytest.raises(InvalidRequestError, match="priority"):
        await router.chat("all", ASK, priority="high")


async def test_a_lease_that_was_waited_for_in_vain_leaves_its_place(llm_provider):
    provider = llm_provider("openai", name="one", model="gpt-4o")
    router = Router([backend(provider, limits=Limits(concurrency=1))])
    async with router:
        held = await router.acquire("all", ASK).__aenter__()
        with pytest.raises(RateLimitedError):
            async with router.acquire("all", ASK, timeout=0.05):
                pass
        assert router._fleet.lines.waiting == 0
        held.settle()
        async with router.acquire("all", ASK, timeout=5) as lease:
            assert lease.backend == "one"


def test_a_slot_that_a_call_holds_is_told_as_such_and_not_as_a_time():
    one = Backend(
        "openai/gpt-4o",
        name="a",
        groups=["all"],
        api_key="k",
        limits=Limits(concurrency=1),
    )
    router = Router([one], wait=False)
    with router.acquire("all", ASK):
        with pytest.raises(RateLimitedError, match="when a call in flight has") as no:
            router.acquire("all", ASK).__enter__()
        assert no.value.retry_after is None
        assert no.value.reasons == {"a": "concurrency"}
        (line,) = router.explain("all", ASK).rows()
        assert (line["reason"], line["wait"]) == ("concurrency", None)
    with router.acquire("all", ASK) as lease:
        assert lease.decision.to_dict()["wait"] == 0


def test_money_that_a_call_holds_is_told_as_such_and_not_as_a_time():
    price = Price(0, 10)
    one = Backend("openai/x", name="a", groups=["all"], api_key="k", price=price)
    ten_tokens = Budget(usd=0.0001, per="day")
    router = Router([one], budgets=[ten_tokens], wait=False)
    with router.acquire("all", ASK, max_tokens=10) as lease:
        with pytest.raises(BudgetExceededError, match="when a call in fl") as no:
            router.acquire("all", ASK, max_tokens=10).__enter__()
        assert no.value.retry_after is None
        assert no.value.lifts_at == pytest.approx(time.time(), abs=2)
        lease.release()
    with router.acquire("all", ASK, max_tokens=10) as lease:
        assert lease.backend == "a"
