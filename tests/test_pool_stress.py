"""What the pool does under stress, in virtual time: herds, dead backends, full limits.

Every test runs under every strategy; nothing sleeps, `now` is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from llmbalance._core import CHARGES, OUTCOMES, STRATEGIES, UNITS, Lease, Pool, PriceRow

DONE, FAILED = OUTCOMES.index("done"), OUTCOMES.index("failed")
PROMPT = "word " * 250
EQUAL = PriceRow({"input": 2_500_000, "output": 10_000_000})

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
every_seed = pytest.mark.parametrize("seed", range(5))


def make(n: int, strategy: str, seed: int = 1, sessions: int = 0) -> Pool:
    """A group of n equal backends."""
    pool = Pool(n, 2 * n, 2, 1, n, sessions, seed)
    for i in range(n):
        pool.add_backend(EQUAL, id=i + 1)
    pool.add_group(list(range(n)), STRATEGIES.index(strategy))
    return pool


def answer(lease: Lease, now: float, seconds: float = 2.0, tokens: int = 300) -> None:
    usage = (tokens, 0, 0, 0, 0, 0, 200)
    lease.settle(DONE, usage, seconds / 4, seconds, True, True, now=now)


def call(pool: Pool, now: float, dead: Callable[[int], bool]) -> list[int]:
    """One call with failover, as a router makes it; returns whom it tried.

    Raises AssertionError when the caller would have got an error.
    """
    tried: list[int] = []
    lease = pool.pick(0, PROMPT, 500, now=now)
    while True:
        assert lease.backend >= 0, f"nobody is left after {tried}"
        tried.append(lease.backend)
        if not dead(lease.backend):
            answer(lease, now)
            return tried
        lease.settle(FAILED, now=now)
        lease = lease.again(now=now)


def nobody(_: int) -> bool:
    return False


@every_strategy
@every_seed
def test_a_hundred_picks_at_once_over_four_equal_backends_do_not_herd(
    strategy: str, seed: int
) -> None:
    pool = make(4, strategy, seed)
    leases = [pool.pick(0, PROMPT, 500, now=100.0) for _ in range(100)]
    shares = Counter(lease.backend for lease in leases)
    assert max(shares.values()) <= 35
    for lease in leases:
        answer(lease, 103.0)
    leases = [pool.pick(0, PROMPT, 500, now=104.0) for _ in range(100)]
    shares = Counter(lease.backend for lease in leases)
    assert max(shares.values()) <= 35, "after something was learned as well"
    assert pool.usage()["in_flight"] == 100


@every_strategy
@every_seed
@pytest.mark.parametrize("gap", [0.001, 0.3, 3.0])
def test_with_one_of_two_backends_dead_no_call_fails(
    strategy: str, seed: int, gap: float
) -> None:
    pool = make(2, strategy, seed)
    now = 100.0
    for _ in range(200):
        tried = call(pool, now, dead=lambda i: i == 0)
        assert tried[-1] == 1
        now += gap


@every_strategy
def test_of_fifty_at_once_exactly_ten_fit_a_limit_of_ten_a_minute(
    strategy: str,
) -> None:
    pool = make(1, strategy)
    pool.add_limit(0, UNITS.index("requests"), CHARGES.index("actual"), 10, 60.0)
    leases = [pool.pick(0, PROMPT, 500, now=100.0) for _ in range(50)]
    admitted = [lease for lease in leases if lease.backend == 0]
    assert len(admitted) == 10
    assert {lease.wait for lease in leases if lease.backend < 0} == {6.0}
    for lease in admitted:
        answer(lease, 100.5)
    later = [pool.pick(0, PROMPT, 500, now=160.0) for _ in range(50)]
    assert sum(lease.backend == 0 for lease in later) == 10


@every_strategy
@every_seed
@pytest.mark.parametrize("n", [2, 4])
def test_a_backend_that_fails_fast_is_left_within_twenty_calls(
    strategy: str, seed: int, n: int
) -> None:
    """Failures come back in 20 ms, answers in 2 s: naive latency would love it."""
    pool = make(n, strategy, seed)
    now = 100.0
    for _ in range(20):
        call(pool, now, dead=lambda i: i == 1)
        now += 0.02
    attempts = Counter[int]()
    for _ in range(1000):
        attempts.update(call(pool, now, dead=lambda i: i == 1))
        now += 0.02
    assert attempts[1] <= 0.02 * attempts.total()


@every_strategy
def test_a_backend_that_fails_fast_looks_no_faster_before_its_breaker_opens(
    strategy: str,
) -> None:
    pool = make(4, strategy)
    pool.order(1, 2)  # stay closed, whatever happens
    now, attempts = 100.0, Counter[int]()
    for _ in range(1000):
        attempts.update(call(pool, now, dead=lambda i: i == 1))
        now += 2.0
    # Half of all pairs hold it, which bounds two choices; the others know its share.
    assert attempts[1] <= 0.5 * 1000


@every_strategy
@every_seed
def test_a_recovered_backend_is_back_at_its_share_within_the_slow_start(
    strategy: str, seed: int
) -> None:
    pool = make(4, strategy, seed)
    now = 100.0
    while pool.backend(2, now)["breaker"]["state"] != "open":
        call(pool, now, dead=lambda i: i == 2)
        now += 0.05
    while pool.backend(2, now)["breaker"]["state"] != "ramp":
        call(pool, now, dead=nobody)
        now += 0.05
    started = now
    early, late = Counter[int](), Counter[int]()
    while now < started + 3.0:
        early.update(call(pool, now, dead=nobody))
        now += 0.01
    while now < started + 30.0:
        call(pool, now, dead=nobody)
        now += 0.05
    for _ in range(2000):
        late.update(call(pool, now, dead=nobody))
        now += 0.01
    assert pool.backend(2, now)["breaker"]["state"] == "closed"
    assert 0.20 <= late[2] / late.total() <= 0.30, "its full share is a quarter"
    assert early[2] / early.total() <= 0.15, "at first it gets a tenth of its share"


@every_strategy
@every_seed
@pytest.mark.parametrize("seconds", [0.5, 2.0, 20.0])
def test_four_hundred_calls_one_after_another_reach_every_equal_backend(
    strategy: str, seed: int, seconds: float
) -> None:
    pool = make(4, strategy, seed)
    now, shares = 100.0, Counter[int]()
    for k in range(400):
        lease = pool.pick(0, PROMPT, 500, now=now)
        shares[lease.backend] += 1
        now += seconds
        noise = (k * 7919) % 120  # no prompt is billed quite as estimated
        answer(lease, now, seconds * (0.9 + 0.05 * (k % 5)), 240 + noise)
    assert min(shares[i] for i in range(4)) >= 20


@every_strategy
def test_a_herd_of_one_session_spreads_and_many_sessions_do_too(strategy: str) -> None:
    pool = make(4, strategy, sessions=1024)
    one = [pool.pick(0, PROMPT, 500, session=77, now=100.0) for _ in range(100)]
    assert max(Counter(lease.backend for lease in one).values()) <= 35
    for lease in one:
        answer(lease, 101.0)
    mixed = [(i * 0x9E3779B97F4A7C15) % 2**64 for i in range(1, 101)]
    many = [pool.pick(0, PROMPT, 500, session=s, now=102.0) for s in mixed]
    assert max(Counter(lease.backend for lease in many).values()) <= 35


@every_strategy
def test_a_slower_backend_gets_less_where_time_counts(strategy: str) -> None:
    """One of four takes five times as long; closed loop of 32 calls in flight."""
    pool = make(4, strategy)
    now, shares = 100.0, Counter[int]()
    running: list[tuple[float, float, Lease]] = []
    for _ in range(3000):
        if len(running) >= 32:
            running.sort(key=lambda run: run[0])
            now, seconds, lease = running.pop(0)
            answer(lease, now, seconds)
        lease = pool.pick(0, PROMPT, 500, now=now)
        shares[lease.backend] += 1
        seconds = 10.0 if lease.backend == 3 else 2.0
        running.append((now + seconds, seconds, lease))
    slow = shares[3] / 3000
    if strategy in ("round_robin", "weighted"):
        assert 0.24 <= slow <= 0.26
    else:
        assert slow <= 0.12


@every_strategy
def test_when_everybody_is_dead_the_caller_hears_it_and_recovery_is_found(
    strategy: str,
) -> None:
    pool = make(3, strategy)
    now = 100.0
    for _ in range(40):
        lease = pool.pick(0, PROMPT, 500, last_resort=True, now=now)
        assert lease.backend >= 0, "better a try than none"
        lease.settle(FAILED, now=now)
        now += 0.1
    assert pool.pick(0, PROMPT, 500, now=now).backend == -1
    now += 400.0
    answered = 0
    for _ in range(100):
        lease = pool.pick(0, PROMPT, 500, now=now)
        if lease.backend >= 0:
            answer(lease, now)
            answered += 1
        now += 0.5
    assert answered >= 80, "all but the first, of which a tenth goes as probes"


@every_strategy
def test_weights_hold_while_they_change(strategy: str) -> None:
    pool = make(2, strategy)
    now = 100.0
    for weights, share in [((1, 1), 0.5), ((3, 1), 0.75), ((0, 1), 0.0), ((1, 1), 0.5)]:
        for i, weight in enumerate(weights):
            pool.set_weight(i, weight)
        shares = Counter[int]()
        for _ in range(2000):
            shares.update(call(pool, now, dead=nobody))
            now += 2.5
        if strategy == "round_robin" and 0 not in weights:
            share = 0.5
        assert abs(shares[0] / 2000 - share) < 0.05
