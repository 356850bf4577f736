"""Events: told to everyone who listens, in the way of nobody."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from typing import Any

import pytest

from llmbalance import (
    AlertEvent,
    AttemptEvent,
    Backend,
    BadRequestError,
    CallEvent,
    Limits,
    Price,
    Router,
)
from llmbalance._events import Events
from llmbalance._spikes import Spikes

ASK = [{"role": "user", "content": "What is the capital of France?"}]


def router_of(*providers: Any, **options: Any) -> Router:
    backends = [
        Backend(
            "openai/gpt-4o",
            name=provider.name,
            groups=["all"],
            api_key="test-key",
            base_url=provider.base_url,
            price=Price(1 + i, 2 + i),
        )
        for i, provider in enumerate(providers)
    ]
    return Router(backends, seed=1, **options)


@pytest.fixture
def pair(llm_provider: Any) -> list[Any]:
    return [llm_provider("openai", name=name, model="gpt-4o") for name in ("a", "b")]


def attempt(at: float = 0.0, outcome: str = "done", backend: str = "a") -> AttemptEvent:
    return AttemptEvent(at=at, call=1, group="g", backend=backend, outcome=outcome)


async def test_one_event_per_attempt_and_one_per_call(pair):
    pair[0].fail_next(1, status=503)
    heard: list[Any] = []
    async with router_of(*pair) as router:
        router.events.subscribe(heard.append)
        reply = await router.chat("all", ASK)
        assert router.events.flush(5)
    first, second, call = heard
    assert (first.backend, first.outcome, first.status) == ("a", "failed", 503)
    assert (first.error, first.group) == ("overloaded", "all")
    assert (second.backend, second.outcome, second.error) == ("b", "done", None)
    assert second.output_tokens == reply.usage.completion_tokens
    assert second.input_tokens == reply.usage.prompt_tokens
    assert isinstance(call, CallEvent)
    assert (call.backend, call.error, call.attempts) == ("b", None, 2)
    assert call.cost_nano_usd == reply.cost_nano_usd
    assert first.call == second.call == call.call
    assert call.seconds >= second.seconds > 0


async def test_a_call_that_fails_or_is_left_says_so(pair):
    heard: list[Any] = []
    async with router_of(*pair) as router:
        router.events.subscribe(heard.append)
        pair[0].fail_next(1, status=400)
        with pytest.raises(BadRequestError):
            await router.chat("all", ASK)
        pair[0].hang()
        task = asyncio.create_task(router.chat("a", ASK))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert router.events.flush(5)
    calls = [event for event in heard if isinstance(event, CallEvent)]
    assert [call.error for call in calls] == ["BadRequestError", "cancelled"]
    assert [call.backend for call in calls] == [None, None]


async def test_streams_and_leases_are_told_too(pair):
    heard: list[Any] = []
    async with router_of(*pair) as router:
        router.events.subscribe(heard.append)
        async for _ in await router.chat("all", ASK, stream=True):
            pass
        with router.acquire("all", ASK) as lease:
            lease.settle(usage={"prompt_tokens": 3, "completion_tokens": 4})
        assert router.events.flush(5)
    told = [event for event in heard if isinstance(event, AttemptEvent)]
    assert [event.stream for event in told] == [True, False]
    assert (told[1].input_tokens, told[1].output_tokens) == (3, 4)
    calls = [event for event in heard if isinstance(event, CallEvent)]
    assert [event.error for event in calls] == [None, None]


async def test_events_can_be_iterated_and_end_with_the_router(pair):
    seen = []

    async def watch(router: Router) -> None:
        async for event in router.events:
            seen.append(type(event).__name__)

    async with router_of(*pair) as router:
        task = asyncio.create_task(watch(router))
        await asyncio.sleep(0)
        await router.chat("all", ASK)
        await asyncio.to_thread(router.sync.chat, "all", ASK)
    await asyncio.wait_for(task, 5)
    assert seen == ["AttemptEvent", "CallEvent"] * 2
    assert not router.events.active


async def test_a_listener_that_fails_or_is_slow_harms_no_call(pair, caplog):
    def slow(event: Any) -> None:
        time.sleep(0.2)
        raise RuntimeError("the listener's own mistake")

    async with router_of(*pair) as router:
        router.events.subscribe(slow)
        begin = time.monotonic()
        for _ in range(3):
            await router.chat("all", ASK)
        assert time.monotonic() - begin < 0.2
        with caplog.at_level(logging.ERROR, "llmbalance"):
            assert await asyncio.to_thread(router.events.flush, 5)
            await asyncio.sleep(0.3)
    assert len([r for r in caplog.records if "listener" in r.message]) == 1


async def test_a_late_listener_loses_the_oldest_and_knows_how_many():
    events = Events()
    stream = aiter(events)
    for i in range(5000):
        events.emit(attempt(at=float(i)))
    assert events.dropped == stream.dropped == 5000 - 4096
    assert (await anext(stream)).at == 5000 - 4096


async def test_nobody_listening_makes_nothing(pair, monkeypatch):
    async with router_of(*pair) as router:
        stop = router.events.subscribe(lambda event: None)
        stop()
        watcher = aiter(router.events)
        del watcher
        gc.collect()
        router.events.emit(attempt())
        assert not router.events.active
        monkeypatch.setattr(Events, "emit", None)
        assert (await router.chat("all", ASK)).text


def test_the_logger_is_quiet_by_default():
    handlers = logging.getLogger("llmbalance").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def told(spikes: Spikes, events: list[AttemptEvent]) -> list[tuple[float, str]]:
    return [(e.at, what) for e in events for what, _, _ in spikes.note(e)]


def test_a_spike_against_a_clean_history_is_told_once():
    spikes = Spikes()
    history = [attempt(at=float(i)) for i in range(3600)]
    assert told(spikes, history) == []
    storm = [attempt(3600 + i, "failed" if i % 2 else "done") for i in range(60)]
    alerts = told(spikes, storm)
    assert [what for _, what in alerts] == ["failed"]
    calm = [attempt(3660.0 + i) for i in range(300)]
    assert told(spikes, calm) == []
    again = [attempt(3960.0 + i, "rate_limited") for i in range(60)]
    assert [what for _, what in told(spikes, again)] == ["rate_limited"]


def test_what_always_fails_a_little_is_no_news():
    spikes = Spikes()
    usual = [
        attempt(float(i), "failed" if i % 5 == 0 else "done") for i in range(36000)
    ]
    assert all(at < 120 for at, _ in told(spikes, usual))  # news in the beginning only
    assert told(Spikes(), usual[:15]) == []


def test_what_callers_do_is_not_the_backends_fault():
    spikes = Spikes()
    left = [attempt(float(i), "cancelled") for i in range(100)]
    assert told(spikes, left) == []


async def test_a_spike_becomes_an_alert():
    events = Events()
    stream = aiter(events)
    for i in range(1000):
        events.emit(attempt(float(i)))
    for i in range(60):
        events.emit(attempt(1000.0 + i, "failed"))
    events.close()
    alerts = [event async for event in stream if isinstance(event, AlertEvent)]
    assert len(alerts) == 1
    assert (alerts[0].backend, alerts[0].what) == ("a", "failed")
    assert alerts[0].share > alerts[0].usual + 0.1


async def test_a_spike_of_a_key_is_told_although_no_backend_has_many_calls(caplog):
    names = tuple(f"b{i}" for i in range(10))
    events = Events()
    stream = aiter(events)
    for i in range(1000):
        events.emit(attempt(float(i), backend=names[i % 10]), names)
    for i in range(50):  # five each: too few to tell of any one of them
        events.emit(attempt(1000.0 + i, "rate_limited", names[i % 10]), names)
    events.close()
    alerts = [event async for event in stream if isinstance(event, AlertEvent)]
    assert [(alert.what, alert.key) for alert in alerts] == [("rate_limited", names)]
    assert "the key of b0, b1" in caplog.text


def test_a_key_is_that_of_all_backends_that_have_it():
    def one(name, key, model="openai/gpt-4o", **options):
        return Backend(model, name=name, api_key=key, **options)

    router = Router(
        [
            one("a", "k1", tuned={"law": "ft:gpt-4o:x"}),
            one("b", "k1", "openai/gpt-4.1"),
            one("c", "k2"),
            one("d", "k1", "groq/llama"),  # another provider's key
            one("e", "k1", base_url="http://127.0.0.1:1/v1"),
            one("w", "k2", "openai/*"),
        ]
    )
    sharing = router._fleet.sharing
    assert sharing("a") == sharing("b") == ("a", "b", "a/ft:gpt-4o:x")
    assert sharing("d") == sharing("e") == ()
    assert sharing("c") == ("c", "w")
    with router.acquire("openai/o3", "Hello") as lease:
        lease.release()
    assert sharing("w/o3") == ("c", "w", "w/o3")


@pytest.mark.parametrize("left", ["release", "cancelled"])
async def test_a_lease_that_is_given_up_is_a_call_that_was_cancelled(left: str) -> None:
    router = Router([Backend("openai/gpt-4o", api_key="k", price=Price(1, 2))])
    heard: list[Any] = []
    router.events.subscribe(heard.append)
    with router.acquire("openai/gpt-4o", "Hello", tags=["team=a"]) as lease:
        if left == "release":
            lease.release()
            lease.release()  # changes nothing
        else:
            lease.settle(error="cancelled")
    assert router.events.flush(5)
    (call,) = [event for event in heard if isinstance(event, CallEvent)]
    attempts = [event for event in heard if isinstance(event, AttemptEvent)]
    assert (call.error, call.backend, call.labels) == ("cancelled", None, ("team=a",))
    assert call.attempts == len(attempts) == (left == "cancelled")


async def test_a_lease_that_is_released_makes_room_for_those_who_wait() -> None:
    limits = Limits(concurrency=1)
    one = Backend("openai/gpt-4o", api_key="k", price=Price(1, 2), limits=limits)
    router = Router([one])
    first = router.acquire("openai/gpt-4o", "Hello")
    served: list[str] = []

    async def second() -> None:
        async with router.acquire("openai/gpt-4o", "Hello") as lease:
            served.append(lease.backend)
            lease.release()

    with first:
        task = asyncio.create_task(second())
        await asyncio.sleep(0)  # it runs until it waits
        (line,) = router._fleet.lines._lines.values()
        assert not line[0].called
        first.release()
        assert line[0].called
    await asyncio.wait_for(task, 5)
    assert served == ["openai/gpt-4o"]
