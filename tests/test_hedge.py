"""Hedging over real sockets: the first to deliver wins, both are accounted for."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backends import backend

from llmbalance import (
    AuthenticationError,
    BadRequestError,
    Breaker,
    Budget,
    ConfigError,
    ConnectionLostError,
    Group,
    Hedge,
    InvalidRequestError,
    Ledger,
    Limits,
    Price,
    RequestTimeoutError,
    Router,
)
from llmbalance._fleet._hedge import Hedger, Hedges, Window
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "Name a bird."}]
SOON = Hedge(after=0.03, budget=1)
LATE = Hedge(after=0.3, budget=1)


class Stalling(MockProvider):
    """Every tenth answer takes its time."""

    asked = 0
    stall = 0.5

    @property
    def ttft(self) -> float:
        self.asked += 1
        return self.stall if self.asked % 10 == 0 else self.usual

    @ttft.setter
    def ttft(self, seconds: float) -> None:
        self.usual = seconds


@pytest.fixture
def two(llm_provider: Any) -> list[MockProvider]:
    """A slow one, which is asked first because it is cheaper, and a quick one."""
    return [
        llm_provider("openai", name=name, model="gpt-4o", output_tokens=5, ttft=ttft)
        for name, ttft in (("slow", 0.4), ("quick", 0.005))
    ]


def router_of(providers: list[MockProvider], **options: Any) -> Router:
    prices = {"slow": Price(1, 2)}
    backends = [
        backend(p, price=prices.get(p.name, Price(1.2, 2.4))) for p in providers
    ]
    return Router(backends, **({"seed": 1, "hedge": SOON} | options))


def nothing_is_reserved(router: Router) -> None:
    pool = router._fleet.pool
    assert pool.usage()["in_flight"] == 0
    for meter in router._fleet.meters:
        assert pool.budget(meter.index)["reserved"] == 0
    for target in router._fleet.targets:
        assert pool.backend(target.index)["in_flight"] == 0
        assert pool.backend(target.index)["tokens_in_flight"] == 0


async def left(provider: MockProvider, calls: int) -> None:
    """Wait until a provider has seen so many clients leave."""
    end = time.monotonic() + 5
    while provider.cancelled < calls:
        assert time.monotonic() < end, provider.cancelled
        await asyncio.sleep(0.005)


# -- who wins, what it costs -----------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_the_quicker_of_two_answers_and_the_other_is_left(two, stream):
    two[0].ttft = 2.0
    async with router_of(two) as router:
        begin = time.monotonic()
        reply = await router.chat("all", ASK, stream=stream, max_tokens=50)
        if stream:
            chunks = [chunk async for chunk in reply]
            assert "".join(chunk.text for chunk in chunks)
            reply = chunks[-1]
        assert time.monotonic() - begin < 1.5
        await left(two[0], 1)
        nothing_is_reserved(router)
        stats = router.stats()
    assert reply.backend == "quick"
    assert [(a.backend, a.outcome) for a in reply.attempts] == [
        ("slow", "cancelled"),
        ("quick", "done"),
    ]
    lost, paid = (a.cost_nano_usd for a in reply.attempts)
    assert lost > 0
    assert reply.cost_nano_usd == lost + paid
    assert stats["hedges"] == {
        "calls": 1,
        "sent": 1,
        "won": 1,
        "skipped": 0,
        "cost": lost / 1e9,
    }
    assert stats["backends"]["slow"]["cancelled"] == 1
    assert stats["backends"]["slow"]["failed"] == 0
    assert stats["total"]["cost"] == pytest.approx(reply.cost)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_may_win_all_the_same(two, stream):
    slow, quick = two
    slow.ttft, quick.ttft = 0.1, 0.4
    async with router_of(two) as router:
        reply = await router.chat("all", ASK, stream=stream)
        if stream:
            reply = [chunk async for chunk in reply][-1]
        await left(quick, 1)
        figures = router.stats()["hedges"]
        nothing_is_reserved(router)
    assert reply.backend == "slow"
    assert [a.backend for a in reply.attempts] == ["quick", "slow"]
    assert (figures["sent"], figures["won"]) == (1, 0)
    assert figures["cost"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_blocking_calls_are_hedged_in_their_own_thread(two, stream):
    two[0].ttft = 2.0
    router = router_of(two)
    before = threading.active_count()
    begin = time.monotonic()
    reply = router.sync.chat("all", ASK, stream=stream)
    if stream:
        chunks = list(reply)
        assert "".join(chunk.text for chunk in chunks)
        reply = chunks[-1]
    assert time.monotonic() - begin < 1.5
    assert threading.active_count() <= before + 1  # the I/O thread
    assert reply.backend == "quick"
    assert [a.outcome for a in reply.attempts] == ["cancelled", "done"]
    nothing_is_reserved(router)


async def test_embeddings_are_hedged(two):
    async with router_of(two) as router:
        reply = await router.embed("all", ["one", "two"])
    assert reply.backend == "quick"
    assert len(reply.attempts) == 2
    nothing_is_reserved(router)
    again = router_of(two).sync.embed("all", "one")
    assert [a.outcome for a in again.attempts] == ["cancelled", "done"]


async def test_ledger_and_events_get_both_attempts_and_one_call(two, tmp_path):
    path = tmp_path / "ledger.db"
    router = router_of(two, ledger=path)
    heard: list[Any] = []
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hear(event: Any) -> None:
        heard.append(event)
        if len(heard) == 3:
            loop.call_soon_threadsafe(told.set)

    router.events.subscribe(hear)
    async with router:
        reply = await router.chat("all", ASK)
        await asyncio.wait_for(told.wait(), 5)
    with Ledger(path) as ledger:
        rows = list(ledger.entries())
    assert [(r.backend, r.status, r.last) for r in rows] == [
        ("slow", "cancelled", False),
        ("quick", "ok", True),
    ]
    assert len({r.call_id for r in rows}) == 1
    assert sum(r.cost_nano for r in rows) == reply.cost_nano_usd
    assert [type(e).__name__ for e in heard] == [
        "AttemptEvent",
        "AttemptEvent",
        "CallEvent",
    ]
    assert (heard[-1].backend, heard[-1].attempts, heard[-1].error) == (
        "quick",
        2,
        None,
    )
    assert heard[-1].cost_nano_usd == reply.cost_nano_usd


# -- failures around a hedge -----------------------------------------------------


async def test_a_failure_before_it_is_due_is_no_hedge(two):
    two[0].fail_next(1, status=503)
    async with router_of(two, hedge=LATE) as router:
        reply = await router.chat("all", ASK)
        assert router.stats()["hedges"]["sent"] == 0
    assert [a.outcome for a in reply.attempts] == ["failed", "done"]


async def test_what_a_busy_loop_has_not_fetched_is_no_silence(two):
    """The answer is there in time, only nobody looked."""
    two[0].ttft = 0.05
    async with router_of(two, hedge=Hedge(after=0.15, budget=1)) as router:
        asking = asyncio.ensure_future(router.chat("all", ASK))
        await asyncio.sleep(0.02)
        time.sleep(0.3)  # noqa: ASYNC251
        reply = await asking
        assert router.stats()["hedges"]["sent"] == 0
    assert [a.backend for a in reply.attempts] == ["slow"]


@pytest.mark.parametrize("status", [400, 401, 503])
async def test_a_rival_that_fails_leaves_the_first_alone(two, status):
    two[1].outage(status=status)
    async with router_of(two) as router:
        reply = await router.chat("all", ASK)
        nothing_is_reserved(router)
    assert reply.backend == "slow"
    assert len(reply.attempts) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_that_fails_leaves_the_rival_alone(two, stream):
    slow, quick = two
    quick.ttft = 0.2
    slow.ttft = 0.1
    slow.cut_stream(after_tokens=0) if stream else slow.garbage(kind="truncated")
    async with router_of(two) as router:
        reply = await router.chat("all", ASK, stream=stream)
        if stream:
            reply = [chunk async for chunk in reply][-1]
        nothing_is_reserved(router)
    assert reply.backend == "quick"
    assert [a.backend for a in reply.attempts] == ["slow", "quick"]
    assert reply.attempts[0].outcome != "cancelled"


async def test_when_both_fail_a_third_is_asked(two, llm_provider):
    third = llm_provider("openai", name="third", model="gpt-4o", output_tokens=5)
    for provider in two:
        provider.ttft = 0.08
        provider.garbage(kind="truncated")
    backends = [backend(p) for p in two]
    backends.append(backend(third, order=1))
    async with Router(backends, seed=1, hedge=SOON) as router:
        reply = await router.chat("all", ASK)
        nothing_is_reserved(router)
    assert reply.backend == "third"
    assert len(reply.attempts) == 3


@pytest.mark.parametrize(
    ("status", "error"), [(400, BadRequestError), (422, BadRequestError)]
)
async def test_a_refused_call_is_never_sent_to_a_second_one(two, status, error):
    two[0].outage(status=status)
    async with router_of(two, hedge=LATE) as router:
        with pytest.raises(error) as caught:
            await router.chat("all", ASK)
        await asyncio.sleep(0.05)
        nothing_is_reserved(router)
    assert len(caught.value.attempts) == 1
    assert two[1].served == 0
    assert not two[1].requests


async def test_a_refusal_that_comes_late_ends_the_rival_at_once(two, monkeypatch):
    """The first is refused while the second is still at work."""
    slow, quick = two
    slow.ttft, quick.ttft = 0.12, 5.0
    slow.garbage(kind="truncated")
    from llmbalance.providers import _failures

    row = _failures.KINDS["bad_request"]
    patched = {**_failures.KINDS, "truncated": row, "bad_answer": row}
    monkeypatch.setattr("llmbalance._call._run.KINDS", _Never(patched, row))
    async with router_of(two) as router:
        with pytest.raises(Exception) as caught:
            await router.chat("all", ASK, timeout=10)
        await left(quick, 1)
        nothing_is_reserved(router)
    assert [a.backend for a in caught.value.attempts] == ["quick", "slow"]


class _Never(dict[str, Any]):
    """Every failure is the caller's own."""

    def __init__(self, rows: Any, never: Any) -> None:
        super().__init__(rows)
        self._never = never

    def __getitem__(self, kind: str) -> Any:
        return super().__getitem__(kind) if kind == "cancelled" else self._never


async def test_a_stream_that_delivered_is_not_raced_any_more(two):
    two[0].ttft, two[0].per_token = 0.005, 0.1
    async with router_of(two, hedge=LATE) as router:
        chunks = [c async for c in await router.chat("all", ASK, stream=True)]
        assert router.stats()["hedges"]["sent"] == 0
    assert chunks[-1].backend == "slow"
    assert not two[1].requests


@pytest.mark.parametrize("stream", [False, True])
async def test_one_deadline_holds_for_both(two, stream):
    for provider in two:
        provider.hang()
    async with router_of(two) as router:
        begin = time.monotonic()
        with pytest.raises(RequestTimeoutError) as caught:
            await router.chat("all", ASK, stream=stream, timeout=0.5)
        assert time.monotonic() - begin < 1.5
        nothing_is_reserved(router)
    assert {a.backend for a in caught.value.attempts} == {"slow", "quick"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_leaves_leaves_both(two, stream):
    two[1].ttft = 0.4
    async with router_of(two) as router:
        asking = asyncio.ensure_future(router.chat("all", ASK, stream=stream))
        await asyncio.sleep(0.1)
        assert router._fleet.pool.usage()["in_flight"] == 2
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        nothing_is_reserved(router)
        await left(two[0], 1)
        await left(two[1], 1)
        figures = router.stats()
    assert figures["hedges"]["won"] == 0
    assert figures["total"]["cancelled"] == 2


async def test_a_router_that_closes_ends_a_race(two):
    two[1].ttft = 0.4
    router = router_of(two)
    asking = asyncio.ensure_future(router.chat("all", ASK))
    await asyncio.sleep(0.1)
    await router.aclose()
    with pytest.raises(ConnectionLostError, match="was closed"):
        await asyncio.wait_for(asking, 2)
    nothing_is_reserved(router)


# -- when, to whom ---------------------------------------------------------------


async def test_it_is_off_unless_asked_for(two):
    async with router_of(two, hedge=None) as router:
        assert len((await router.chat("all", ASK)).attempts) == 1
        assert "hedges" not in router.stats()
        await router.chat("all", ASK, hedge=True)  # knows too little yet
        assert router.stats()["hedges"]["sent"] == 0
    async with router_of(two) as router:
        assert len((await router.chat("all", ASK, hedge=False)).attempts) == 1
        assert len((await router.chat("all", ASK, hedge=True)).attempts) == 2


async def test_a_group_has_its_own_rule(two):
    groups = [Group(name="all", hedge=False)]
    async with router_of(two, groups=groups) as router:
        assert len((await router.chat("all", ASK)).attempts) == 1
    groups = [Group(name="all", hedge=SOON)]
    async with router_of(two, groups=groups, hedge=None) as router:
        assert len((await router.chat("all", ASK)).attempts) == 2
    groups = [Group(name="all", max_attempts=1)]
    async with router_of(two, groups=groups) as router:
        assert len((await router.chat("all", ASK)).attempts) == 1


@pytest.mark.parametrize(
    "terms",
    [
        {"price": Price(1.6, 3.2)},  # dearer than 1.5 times
        {"limits": Limits(rpm=6)},  # one call more is beyond the mark
        {"limits": Limits(concurrency=1)},
        {"weight": 0},
        {"groups": ["other"]},
    ],
)
async def test_nobody_is_asked_who_is_too_dear_or_too_full(two, terms):
    slow, quick = two
    router = Router([backend(slow), backend(quick, **terms)], seed=1, hedge=SOON)
    router._fleet.set_hedges(SOON)
    held = []
    if "limits" in terms:
        count = 5 if terms["limits"].rpm else 1
        held = [router.acquire("quick", ASK).__enter__() for _ in range(count)]
    async with router:
        reply = await router.chat("all", ASK)
        assert router.stats()["hedges"]["sent"] == 0
    assert [a.backend for a in reply.attempts] == ["slow"]
    assert not quick.requests
    for lease in held:
        lease.release()
    nothing_is_reserved(router)


async def test_both_attempts_together_keep_to_max_cost(two):
    async with router_of(two) as router:
        with router.acquire("all", ASK) as lease:
            once = lease.estimated_cost
        reply = await router.chat("all", ASK, max_tokens=300, max_cost=2 * once)
        assert len(reply.attempts) == 1
        reply = await router.chat("all", ASK, max_tokens=300, max_cost=3 * once)
        assert len(reply.attempts) == 2


async def test_the_budget_bounds_the_share_of_calls(two):
    rule = Hedge(after=0.01, budget=0.1)
    two[0].ttft = 0.03
    async with router_of(two, hedge=rule) as router:
        for _ in range(45):
            await router.chat("all", ASK)
        figures = router.stats()["hedges"]
    assert figures["calls"] == 45
    assert figures["sent"] == 4
    assert figures["skipped"] > 20


def test_the_window_slides() -> None:
    window = Window()
    for _ in range(40):
        window.call(1000.0)
    assert [window.take(1000.0, 0.05) for _ in range(3)] == [True, True, False]
    window.give_back()
    assert window.take(1300.0, 0.05)
    assert not window.take(1300.0, 0.05)
    assert not window.take(1605.0, 0.05)  # the calls are forgotten, too
    for _ in range(20):
        window.call(1605.0)
    assert not window.take(1605.0, 0.05)  # one hedge of 1300 counts
    assert window.take(1905.0, 0.05)
    window.call(10_000.0)
    assert (window.calls, window.sent) == (1, 0)


def test_threads_share_one_budget() -> None:
    window, share = Window(), 0.05
    for _ in range(1000):
        window.call(5.0)
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: window.take(5.0, share), range(400)))
    assert sum(taken) == 50


class _Lease:
    def __init__(self, tail: tuple[float, float, float] | None) -> None:
        self._tail = tail

    def tail(self, first: bool) -> tuple[float, float, float] | None:
        return self._tail


class _Shot:
    sent_at = 100.0

    def __init__(self, *tail: float) -> None:
        self.lease = _Lease(tail or None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tail", "wait"),
    [
        ((), None),  # nothing is known
        ((1.0, 2.0, 5.0), 2.0),  # a long tail: at the p95
        ((1.0, 6.0, 9.0), 4.0),  # the tail begins before it
        ((1.0, 1.5, 2.0), 4.0),  # steady: only what hangs
        ((1.0, 1.5, 3.0), 6.0),
    ],
)
def test_when_another_is_asked(tail: Any, wait: float | None) -> None:
    due = Hedger(Hedge()).due(_Shot(*tail), False)  # type: ignore[arg-type]
    assert due == (None if wait is None else 100.0 + wait)
    fixed = Hedger(Hedge(after=0.25)).due(_Shot(*tail), True)  # type: ignore[arg-type]
    assert fixed == 100.25


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": 0},
        {"after": "p95"},
        {"budget": 0},
        {"budget": 1.5},
        {"max_price_ratio": 0},
        {"max_price_ratio": float("inf")},
        {"tail": 0.5},
        {"tail": None},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises((ConfigError, TypeError), match=next(iter(wrong))):
        Hedge(**wrong)


async def test_what_cannot_be_hedged_says_so(two):
    with pytest.raises(ConfigError, match="hedge"):
        router_of(two, hedge=0.05)
    with pytest.raises(ConfigError, match="hedge"):
        Hedges(None, {0: "yes"})
    router = router_of(two)
    with pytest.raises(InvalidRequestError, match="hedge"):
        await router.chat("all", ASK, hedge="yes")
    with pytest.raises(InvalidRequestError, match="hedge"):
        router.acquire("all", ASK, hedge=True)
    with router.acquire("all", ASK) as lease:
        assert lease.backend == "slow"


# -- what it is for --------------------------------------------------------------


async def storm(router: Router, calls: int, stream: bool = False) -> list[float]:
    """Seconds of so many calls, eight at a time: to the first token of streams."""
    times: list[float] = []
    todo = iter(range(calls))

    async def worker() -> None:
        for _ in todo:
            begin = time.monotonic()
            reply = await router.chat("all", ASK, stream=stream, max_tokens=20)
            times.append(time.monotonic() - begin)
            if stream:
                async for _ in reply:
                    pass

    await asyncio.gather(*(worker() for _ in range(8)))
    return times


def p99(times: list[float]) -> float:
    return sorted(times)[int(0.99 * len(times))]


@pytest.mark.parametrize("stream", [False, True])
async def test_stalls_of_one_backend_no_longer_make_the_tail(llm_fleet, stream):
    """One of four stalls at every tenth answer: 2.5 % of the calls."""

    async def tail(hedge: Hedge | None) -> tuple[float, Any]:
        kinds = [Stalling, MockProvider, MockProvider, MockProvider]
        providers = [
            kind("openai", name=name, model="gpt-4o", ttft=0.02, output_tokens=3)
            for kind, name in zip(kinds, "abcd", strict=True)
        ]
        llm_fleet(*providers)
        backends = [backend(p) for p in providers]
        strategy = "round_robin"  # it does not avoid the one that stalls
        async with Router(backends, strategy=strategy, hedge=hedge) as router:
            await storm(router, 400, stream)
            times = await storm(router, 600, stream)
            nothing_is_reserved(router)
            served = sum(len(p.requests) for p in providers)
            return p99(times), (router.stats(), served)

    without, _ = await tail(None)
    with_hedges, (stats, served) = await tail(Hedge())
    assert without > 0.4
    assert with_hedges < without / 3
    figures = stats["hedges"]
    assert 0 < figures["sent"] <= 0.05 * 1000
    assert served <= 1000 * 1.05
    assert figures["won"] > 0.5 * figures["sent"]
    assert stats["backends"]["a"]["breaker"] == "closed"


async def test_a_backend_that_dies_is_left_long_before_its_time_out(llm_provider):
    providers = [
        llm_provider("openai", name=n, model="gpt-4o", ttft=0.01, output_tokens=3)
        for n in "ab"
    ]
    backends = [backend(p) for p in providers]
    rule = Hedge(budget=0.2)
    async with Router(backends, strategy="round_robin", hedge=rule) as router:
        await storm(router, 120)
        providers[0].hang()
        times = await storm(router, 16)
        nothing_is_reserved(router)
        stats = router.stats()
    assert max(times) < 2.0
    assert stats["hedges"]["won"] >= 8
    assert stats["backends"]["a"]["failed"] == 0
    assert stats["backends"]["a"]["breaker"] == "closed"


async def test_what_is_overtaken_does_not_look_fast(two):
    slow, _ = two
    async with router_of(two, strategy="round_robin") as router:
        for _ in range(12):
            await router.chat("all", ASK)
        await left(slow, 6)
        pool = router._fleet.pool
        latency = pool.backend(0)["latency"]
        seen = [line["seconds"] for line in pool.explain(0, ASK)]
    assert latency["samples"] <= 6
    assert seen[0] > seen[1]


async def test_a_storm_of_hedges_and_cancellations_leaks_nothing(llm_provider):
    providers = [
        llm_provider(
            "openai", name=n, model="gpt-4o", ttft=0.02, jitter=1.0, output_tokens=4
        )
        for n in "abc"
    ]
    backends = [backend(p, limits=Limits(rpm=60_000)) for p in providers]
    router = Router(
        backends,
        hedge=Hedge(after=0.01, budget=1),
        budgets=[Budget(usd=10)],
        breaker=Breaker(in_a_row=1000),
        seed=3,
    )
    dice = random.Random(5)

    async def one(k: int) -> None:
        stream = bool(k % 2)
        task = asyncio.ensure_future(router.chat("all", ASK, stream=stream))
        await asyncio.sleep(dice.uniform(0, 0.06))
        if k % 3 == 0:
            task.cancel()
        try:
            reply: Any = await task
        except asyncio.CancelledError:
            return
        if stream:
            async for _ in reply:
                if k % 5 == 0:
                    break
            await reply.aclose()

    async with router:
        for _ in range(6):
            await asyncio.gather(*(one(k) for k in range(40)))
        figures = router.stats()
        nothing_is_reserved(router)
    assert figures["hedges"]["sent"] > 50
    assert figures["total"]["in_flight"] == 0
    spent = router._fleet.pool.budget(0)
    assert spent["spent"] == pytest.approx(figures["total"]["cost"] * 1e9, abs=1)


def test_many_threads_race_without_leaving_anything_behind(llm_provider):
    providers = [
        llm_provider(
            "openai", name=n, model="gpt-4o", ttft=0.02, jitter=1.0, output_tokens=4
        )
        for n in "abc"
    ]
    rule = Hedge(after=0.01, budget=1)
    router = Router([backend(p) for p in providers], hedge=rule, seed=2)

    def one(k: int) -> int:
        reply = router.sync.chat("all", ASK, stream=bool(k % 2))
        if k % 2:
            with reply:
                if k % 3 == 0:  # leave after the first chunk
                    next(reply)
                    return 0
                reply = list(reply)[-1]
        assert reply.text or reply.usage
        return len(reply.attempts)

    with ThreadPoolExecutor(8) as threads:
        attempts = list(threads.map(one, range(160)))
    assert max(attempts) == 2
    nothing_is_reserved(router)
    figures = router.stats()
    assert figures["hedges"]["sent"] > 30
    assert figures["total"]["failed"] == 0
    assert figures["total"]["requests"] == 160 + figures["hedges"]["sent"]


async def test_a_wrong_key_of_the_rival_is_told_to_its_breaker(two):
    slow, quick = two
    bad = backend(quick, api_key="wrong", price=Price(1.2, 2.4))
    async with Router([backend(slow), bad], hedge=SOON, seed=1) as router:
        reply = await router.chat("all", ASK)
        assert reply.backend == "slow"
        assert router.stats()["backends"]["quick"]["breaker"] == "open"
        with pytest.raises(AuthenticationError):
            await router.chat("quick", ASK)
