"""The mock's limits are exact: integer buckets against a naive model in fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from llmbalance.testing._bucket import DAY, MINUTE, SECOND, Bucket, Limiter

limits = st.integers(1, 10**7)
steps = st.lists(
    st.tuples(st.integers(0, 90 * SECOND), st.integers(0, 50_000)), max_size=60
)


def test_whole_quota_is_free_at_once_then_refills_evenly():
    bucket = Bucket(60, MINUTE, 0)
    for _ in range(60):
        assert bucket.holds(1, 0)
        bucket.charge(1, 0)
    assert not bucket.holds(1, 0)
    assert bucket.wait_ns(1, 0) == SECOND
    assert not bucket.holds(1, SECOND - 1)
    assert bucket.holds(1, SECOND)


def test_wait_is_used_plus_requested_minus_limit_over_the_rate():
    for used, requested, milliseconds in ((29937, 385, 644), (18928, 11159, 174)):
        bucket = Bucket(30_000, MINUTE, 0)
        bucket.charge(used, 0)
        assert bucket.wait_ns(requested, 0) == milliseconds * 1_000_000


@given(limits, steps)
def test_bucket_agrees_with_a_model_in_fractions(limit, moves):
    bucket, level, now = Bucket(limit, MINUTE, 0), Fraction(limit), 0
    for pause, amount in moves:
        now += pause
        level = min(Fraction(limit), level + Fraction(pause * limit, MINUTE))
        assert bucket.holds(amount, now) == (level >= amount)
        wait = bucket.wait_ns(amount, now)
        exact = max(Fraction(0), (amount - level) * MINUTE / limit)
        assert 0 <= wait - exact < 1
        assert bucket.remaining(now) == max(0, int(level // 1))
        if level >= amount:
            bucket.charge(amount, now)
            level -= amount


@given(limits, st.integers(1, 10**6), st.integers(0, 10**6))
def test_after_the_announced_wait_the_amount_fits(limit, used, wanted):
    bucket = Bucket(limit, MINUTE, 0)
    bucket.charge(used, 0)
    wanted = min(wanted, bucket.capacity())
    wait = bucket.wait_ns(wanted, 0)
    assert wait == 0 or not bucket.holds(wanted, wait - 1)
    assert bucket.holds(wanted, wait)


def test_short_burst_limits_slices_but_speaks_of_the_minute():
    bucket = Bucket(600, MINUTE, 0, burst_ns=SECOND)
    bucket.charge(10, 0)
    assert not bucket.holds(1, 0)
    assert bucket.remaining(0) == 590
    assert bucket.full_ns(0) == SECOND


def test_a_throttle_cuts_what_is_there_and_its_end_restores_the_limit():
    limiter = Limiter(rpm=600, tpm=None, otpm=None, rpd=None, burst=60, now=0)
    limiter.throttle(2, None, 0)
    assert [limiter.admit(1, 0) is None for _ in range(4)] == [True, True, False, False]
    limiter.throttle(None, None, 0)
    assert limiter.buckets["requests"].limit == 600
    assert limiter.admit(1, SECOND) is None


def test_a_throttle_makes_a_limit_where_there_was_none_and_takes_it_away():
    limiter = Limiter(rpm=None, tpm=None, otpm=None, rpd=None, burst=60, now=0)
    limiter.throttle(1, None, 0)
    assert limiter.admit(1, 0) is None
    assert limiter.admit(1, 0) is not None
    limiter.throttle(None, None, 0)
    assert limiter.admit(1, 0) is None


def test_admission_is_all_or_nothing():
    limiter = Limiter(rpm=10, tpm=100, otpm=None, rpd=None, burst=60, now=0)
    refusal = limiter.admit(101, 0)
    assert refusal is not None
    assert refusal.kind == "tokens"
    assert refusal.hopeless
    assert limiter.buckets["requests"].remaining(0) == 10


def test_output_is_charged_later_and_may_become_a_debt():
    limiter = Limiter(rpm=None, tpm=None, otpm=60, rpd=None, burst=60, now=0)
    assert limiter.admit(5, 0) is None
    limiter.settle(0, 90, 0)
    refusal = limiter.admit(5, 0)
    assert refusal is not None
    assert refusal.kind == "output"
    assert refusal.wait_ns == 31 * SECOND
    assert limiter.admit(5, 31 * SECOND) is None


def test_a_day_is_a_bucket_like_the_minute():
    limiter = Limiter(rpm=None, tpm=None, otpm=None, rpd=14_400, burst=60, now=0)
    assert limiter.admit(1, 0) is None
    assert limiter.buckets["requests_day"].full_ns(0) == DAY // 14_400


def test_what_is_given_back_never_overfills():
    bucket = Bucket(10, MINUTE, 0)
    bucket.charge(-5, 0)
    assert bucket.remaining(0) == 10
    assert not bucket.holds(11, 0)
