"""Marks of rate limits: where choices shift, where ordinary calls stop."""

from __future__ import annotations

from typing import Any

import pytest

from llmbalance import (
    Backend,
    ConfigError,
    Limits,
    Price,
    RateLimitedError,
    Router,
)

ASK = [{"role": "user", "content": "Name a bird."}]


def local(name: str, **options: Any) -> Backend:
    """A backend that nobody calls in these tests."""
    return Backend(
        "ollama/m",
        **({"name": name, "groups": ["all"], "price": Price(1, 2)} | options),
    )


def admitted(router: Router, **options: Any) -> int:
    """How many calls fit at one instant; their leases are kept until the end."""
    held = []
    for _ in range(300):
        lease = router.acquire("all", ASK, wait=False, **options)
        try:
            held.append(lease.__enter__())
        except RateLimitedError as error:
            assert error.retry_after is not None
            assert error.retry_after > 0
            return len(held)
    raise AssertionError("no limit")


def test_ordinary_calls_stop_at_the_mark_and_urgent_ones_use_the_rest() -> None:
    router = Router([local("one", limits=Limits(rpm=100))])
    assert admitted(router) == 95
    assert admitted(router) == 0
    assert admitted(router, priority=True) == 5


@pytest.mark.parametrize(("mark", "most"), [(0.5, 50), (0.999, 100), (1, 100)])
def test_the_mark_can_be_set(mark: float, most: int) -> None:
    router = Router([local("one", limits=Limits(rpm=100))], shift_at=0.4, stop_at=mark)
    assert admitted(router) == most
    assert admitted(router, priority=1) == 100 - most


def test_a_mark_takes_nothing_from_small_limits() -> None:
    for rpm in (1, 2, 10, 19):
        router = Router([local("one", limits=Limits(rpm=rpm))])
        assert admitted(router) == rpm


def test_after_the_mark_a_call_waits_for_what_comes_back() -> None:
    router = Router([local("one", limits=Limits(rpm=100))])
    pool = router._fleet.pool
    held = [pool.pick(0, ASK, now=1000.0) for _ in range(96)]
    assert [lease.backend for lease in held] == [0] * 95 + [-1]
    assert held[-1].wait == pytest.approx(0.6, abs=1e-3)
    assert pool.pick(0, ASK, now=1000.601).backend == 0
    assert pool.pick(0, ASK, now=1000.602).backend == -1
    assert pool.pick(0, ASK, priority=True, now=1000.603).backend == 0


def test_a_call_larger_than_the_share_waits_for_the_whole_limit() -> None:
    """980 of 1,000 tokens are above 95 %: refused for good, nobody would serve them."""
    router = Router([local("one", limits=Limits(otpm=1000))])
    pool = router._fleet.pool
    first = pool.pick(0, ASK, max_tokens=980, now=1000.0)
    assert first.backend == 0
    after = pool.pick(0, ASK, max_tokens=980, now=1000.0)
    assert after.backend == -1
    reserved = first.output_tokens
    assert after.wait == pytest.approx(60 * reserved / 1000, rel=0.01)
    never = pool.pick(0, ASK, max_tokens=1001, now=1000.0)
    assert never.backend == -1
    assert never.decision["refused"] == {"burst": 1}


def test_choices_shift_to_another_backend_before_the_limit_is_reached() -> None:
    """The dearer one costs 1.5 times as much: as much as the cheaper at 91 % used."""

    def share(**marks: float) -> int:
        backends = [
            local("cheap", limits=Limits(rpm=100)),
            local("dear", price=Price(1.5, 3)),
        ]
        pool = Router(backends, seed=1, **marks)._fleet.pool
        held = [pool.pick(0, ASK, now=1000.0) for _ in range(200)]
        return sum(lease.backend == 0 for lease in held)

    early = share(shift_at=0.3, stop_at=0.6)
    assert 50 <= early < 60
    assert 90 <= share() <= 95
    assert share(shift_at=0.98, stop_at=1.0) > 97


@pytest.mark.parametrize(
    ("marks", "field"),
    [
        ({"shift_at": 0}, "shift_at"),
        ({"shift_at": -1}, "shift_at"),
        ({"shift_at": True}, "shift_at"),
        ({"shift_at": 0.95}, "shift_at"),
        ({"stop_at": 0.8}, "shift_at"),
        ({"stop_at": 1.01}, "stop_at"),
        ({"stop_at": float("nan")}, "stop_at"),
        ({"stop_at": "95%"}, "stop_at"),
    ],
)
def test_marks_that_make_no_sense_are_refused(marks: Any, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Router([local("one")], **marks)
