"""Eight threads on one pool: no update is lost, and nothing stays reserved."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from llmbalance._core import CHARGES, OUTCOMES, STRATEGIES, UNITS, Pool, PriceRow

THREADS, CALLS = 8, 1500
PRICE = PriceRow({"input": 1_000_000, "output": 2_000_000})  # 1,000 and 2,000 nano-USD


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def make(limit: int, cap: int) -> Pool:
    pool = Pool(4, 8, 1, 1, 4, 0, 7)
    for i in range(4):
        pool.add_backend(PRICE, id=i + 1)
        pool.add_limit(
            i, UNITS.index("requests"), CHARGES.index("actual"), limit, 3600.0
        )
    pool.charge("all", 0, pool.add_budget(0, cap))
    pool.add_group([0, 1, 2, 3], STRATEGIES.index("least_busy"))
    return pool


def run(work: list[threading.Thread]) -> None:
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(60)
        assert not thread.is_alive()


def test_every_call_of_every_thread_is_counted_once() -> None:
    pool = make(limit=10**6, cap=10**15)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            held = []
            for k in range(CALLS):
                lease = pool.pick(0, "hello there", 20)
                assert lease.backend >= 0
                held.append(lease)
                if k % 3 == 0:
                    lease.progress(5)
                if k % 7 == 0:
                    held.append(lease.again())
                if len(held) > number or k == CALLS - 1:
                    usage = (10, 0, 0, 0, 0, 0, 5)
                    for each in held:
                        each.settle(OUTCOMES.index("done"), usage, 0.1, 0.2, True, True)
                    held.clear()
        except BaseException as error:
            errors.append(error)

    run([threading.Thread(target=work, args=(n,)) for n in range(THREADS)])
    assert not errors
    expected = THREADS * (CALLS + -(-CALLS // 7))
    views = [pool.backend(i) for i in range(4)]
    assert sum(view["calls"] for view in views) == expected
    assert pool.usage()["in_flight"] == 0
    assert [view["in_flight"] for view in views] == [0] * 4
    assert [view["tokens_in_flight"] for view in views] == [0] * 4
    budget = pool.budget(0)
    assert budget["reserved"] == 0
    assert sum(view["outcomes"]["done"] for view in views) == expected
    assert budget["spent"] == expected * (10 * 1000 + 5 * 2000)
    assert budget["spent"] == sum(view["cost"] for view in views)
    assert sum(pool.limit(i)["charged"] for i in range(4)) == expected


def test_a_limit_is_not_passed_by_threads_at_once() -> None:
    pool = make(limit=50, cap=10**15)
    admitted = []
    gate = threading.Barrier(THREADS)

    def work() -> None:
        gate.wait(10)
        for _ in range(100):
            lease = pool.pick(0, "hello", 20, now=1000.0)
            if lease.backend >= 0:
                admitted.append(lease)

    run([threading.Thread(target=work) for _ in range(THREADS)])
    assert len(admitted) == 4 * 50


def test_a_budget_is_not_overspent_by_threads_at_once() -> None:
    one = make(limit=10**6, cap=10**15).pick(0, "hello", 20).hold
    pool = make(limit=10**6, cap=100 * one + one // 2)
    admitted = []
    gate = threading.Barrier(THREADS)

    def work() -> None:
        gate.wait(10)
        for _ in range(100):
            lease = pool.pick(0, "hello", 20)
            if lease.backend >= 0:
                admitted.append(lease)

    run([threading.Thread(target=work) for _ in range(THREADS)])
    assert len(admitted) == 100
    admitted.clear()
    assert pool.budget(0)["reserved"] == 0
