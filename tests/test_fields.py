"""Whatever a value is given, it holds what its annotation says or raises ConfigError.

Every field of every public value gets every hostile value, and what is made of it goes
into a router: an OverflowError from below is as wrong as a router that takes it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import Struct

import llmbalance
from llmbalance import (
    Backend,
    Bandit,
    Breaker,
    Budget,
    ConfigError,
    Deal,
    Experiment,
    Group,
    Hedge,
    Limit,
    Limits,
    Mirror,
    Price,
    Router,
    Rule,
    Task,
    Timeouts,
)

NAME = "openai/gpt-4o"
NUMBERS = [math.nan, math.inf, -math.inf, -1, 0, 2**31, 2**63, 10**400, 1e300, 1e-300]
HOSTILE = [*NUMBERS, 10**5000, "5", "", b"x", True, None, [], {}, [None], object()]
TWO_ARMS: dict[str, dict[str, Any]] = {"a": {}, "b": {}}


def backend(**fields: Any) -> Backend:
    """The one backend of a router, under its own key."""
    return Backend(NAME, **{"api_key": "test-key", "price": Price(1, 1), **fields})


def router(**options: Any) -> Router:
    """A router with one backend."""
    return Router([backend()], **options)


def experiment(**fields: Any) -> Experiment:
    """An experiment between two arms that are alike."""
    return Experiment(**{"name": "e", "arms": TWO_ARMS, **fields})


# What each value needs to be one, and the router that works with it.
VALUES: dict[type[Struct], tuple[dict[str, Any], Callable[[Any], object]]] = {
    Backend: ({"model": NAME, "api_key": "k"}, lambda it: Router([it])),
    Limit: (
        {"what": "requests", "amount": 5},
        lambda it: Router([backend(limits=Limits(more=(it,)))]),
    ),
    Limits: ({}, lambda it: Router([backend(limits=it)])),
    Timeouts: ({}, lambda it: router(timeouts=it)),
    Breaker: ({}, lambda it: router(breaker=it)),
    Budget: ({"usd": 1}, lambda it: router(budgets=[it])),
    Group: ({"name": NAME}, lambda it: router(groups=[it])),
    Hedge: ({}, lambda it: router(hedge=it)),
    Task: ({"name": "t", "group": NAME}, lambda it: router(tasks=[it])),
    Rule: (
        {"task": "t"},
        lambda it: router(tasks=[Task(name="t", group=NAME)], classifier=[it]),
    ),
    Experiment: (
        {"name": "e", "arms": TWO_ARMS},
        lambda it: router(experiments=[it]),
    ),
    Bandit: ({}, lambda it: router(experiments=[experiment(bandit=it)])),
    Mirror: ({"to": NAME}, lambda it: router(mirrors=[it])),
    Deal: (
        {"factor": 1},
        lambda it: Router([backend(price=Price(1, 1, deals=(it,)))]),
    ),
    Price: ({"input": 1, "output": 1}, lambda it: Router([backend(price=it)])),
}


def cases() -> Iterator[tuple[type[Struct], str]]:
    """Every field of every value."""
    for kind in VALUES:
        for field in kind.__struct_fields__:
            yield kind, field


def test_every_value_that_a_user_writes_down_is_here() -> None:
    public = {getattr(llmbalance, name) for name in llmbalance.__all__}
    written = {
        kind
        for kind in public
        if isinstance(kind, type)
        and issubclass(kind, Struct)
        and kind.__struct_config__.frozen
        and "__post_init__" in vars(kind)
    }
    assert written == set(VALUES)


@pytest.mark.parametrize(
    ("kind", "field"), [pytest.param(*c, id=f"{c[0].__name__}.{c[1]}") for c in cases()]
)
def test_a_hostile_value_is_refused_by_name_or_a_router_works_with_it(
    kind: type[Struct], field: str
) -> None:
    needed, use = VALUES[kind]
    late = field == "dialect"  # any kind of value may be an Any
    for value in HOSTILE:
        try:
            made = kind(**{**needed, field: value})
        except ConfigError as error:
            message = str(error)
            assert "=" in message and ": " in message and error.remedy, message
            continue
        try:
            use(made)
        except ConfigError as error:  # what only the router can know: a name, a zone
            number = isinstance(value, int | float) and value is not True
            assert late or not number, f"refused too late: {error}"


@pytest.mark.parametrize(
    ("make", "field", "says"),
    [
        (lambda: Limits(rpm=2**63), "rpm", "at most 9e+15"),
        (lambda: Limits(tpm="5"), "tpm", "a whole number"),  # type: ignore[arg-type]
        (lambda: Limits(rpm=1.5), "rpm", "a whole number"),  # type: ignore[arg-type]
        (lambda: Limits(concurrency=2**31), "concurrency", "2.14748e+09"),
        (lambda: Limit("requests", 1, per="31d"), "per", "30 days"),
        (lambda: Limit("requests", 1, burst=10**9), "burst", "30 years"),
        (lambda: Backend(NAME, weight=1e7), "weight", "at most 1e+06"),
        (lambda: Backend(NAME, weight=1e-50), "weight", "at least 1e-6"),
        (lambda: Backend(NAME, http_version="3"), "http_version", "auto, 1.1, 2"),
        (lambda: Backend(NAME, groups=3), "groups", "list of texts"),  # type: ignore[arg-type]
        (lambda: Backend(NAME, limits=5), "limits", "Limits(...)"),  # type: ignore[arg-type]
        (lambda: Breaker(probes=256), "probes", "at most 255"),
        (lambda: Breaker(failure_rate=1e-300), "failure_rate", "above 0"),
        (lambda: Budget(usd=1e10), "usd", "at most 9e+09"),
        (lambda: Deal(factor=2000), "factor", "at most 1000"),
        (lambda: Price(900, 1, tiers={"fast": 2}), "factor", "too dear"),
        (lambda: Price(1, 1, request=101), "request", "100 USD"),
        (lambda: Price(1, 1, above={"x": Price(1)}), "above", "whole number"),
        (lambda: Price(1, 1, deals=(5,)), "deals", "Deal(...)"),  # type: ignore[arg-type]
        (lambda: Deal(factor=1, daily=("16:30",)), "daily", "two times"),  # type: ignore[arg-type]
    ],
)
def test_what_is_beyond_a_range_is_told_with_the_range(
    make: Callable[[], object], field: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        make()
    assert caught.value.field == field


ARGUMENTS = [name for name in inspect.signature(Router).parameters if name != "ledger"]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_hostile_argument_of_a_router_is_refused_or_works(name: str) -> None:
    for value in HOSTILE:
        given = {"backends": [backend()], name: value}
        try:
            Router(**given)
        except ConfigError as error:
            assert error.remedy


@pytest.mark.parametrize("value", HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_a_hostile_weight_of_a_running_router_is_refused_with_its_value(
    value: Any,
) -> None:
    made = router()
    if isinstance(value, int) and value == 0:
        made.set_weight(NAME, value)
        assert made.stats()["backends"][NAME]["weight"] == 0
        return
    with pytest.raises(ConfigError, match=r"^weight = ") as caught:
        made.set_weight(NAME, value)
    assert caught.value.field == "weight"
    assert made.stats()["backends"][NAME]["weight"] == 1


def test_the_least_and_the_largest_weight_still_get_calls() -> None:
    for weight in (1e-6, 1e6):
        made = router(strategy="weighted")
        made.set_weight(NAME, weight)
        with made.acquire(NAME, "Hello", max_tokens=5) as lease:
            assert lease.backend == NAME


async def test_the_longest_times_that_may_be_written_down_work(
    llm_provider: Any,
) -> None:
    provider = llm_provider("openai", name="a", model="gpt-4o")
    long = 1e9
    times = dict.fromkeys(Timeouts.__struct_fields__, long)
    one = backend(base_url=provider.base_url, timeouts=Timeouts(**times))
    task = Task(name="t", group=NAME, timeout=long, max_latency=long, max_cost=9e9)
    group = Group(name=NAME, timeout=long, hedge=Hedge(after=long), v=9e9)
    async with Router([one], tasks=[task], groups=[group], timeout=long) as made:
        for stream in (False, True):
            reply = await made.chat(
                messages=[{"role": "user", "content": "Hi"}], task="t", stream=stream
            )
            if stream:
                assert [chunk async for chunk in reply][-1].backend == NAME
            else:
                assert reply.backend == NAME


def test_a_proxy_may_hold_a_password_and_is_not_shown() -> None:
    made = backend(proxy="http://me:very-secret@proxy.example:3128")
    assert "very-secret" not in repr(made)
    with pytest.raises(ConfigError) as caught:
        backend(proxy=["very-secret"])
    assert "very-secret" not in str(caught.value)
