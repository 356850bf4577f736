"""Combined uptime: the textbook values, and what a common cause leaves of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance import Availability, ConfigError, availability

UPTIMES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def test_independent_outages_multiply() -> None:
    both = availability([0.999, 0.995])
    assert both.combined == pytest.approx(1 - 0.001 * 0.005, abs=1e-15)
    assert both.minutes_per_year == pytest.approx(0.001 * 0.005 * 525_960)
    assert both.nines == pytest.approx(5.301, abs=1e-3)
    assert both.gain == pytest.approx(200)


def test_a_common_cause_for_a_tenth_of_the_outages_costs_most_of_the_gain() -> None:
    apart, joined = (
        availability([0.999, 0.995]),
        availability([0.999, 0.995], correlation=0.1),
    )
    assert apart.minutes_per_year < 3
    # 0.0001 of the time both are down together, and a little more by chance.
    assert 1e-4 < joined.downtime < 1.05e-4
    assert joined.minutes_per_year == pytest.approx(54.9, abs=0.1)
    assert joined.gain == pytest.approx(9.6, abs=0.1)


def test_with_full_correlation_others_do_not_help_the_best() -> None:
    assert availability([0.99, 0.9, 0.999], correlation=1).combined == pytest.approx(
        0.999
    )


def test_one_backend_alone_is_as_good_as_it_is_whatever_the_correlation() -> None:
    assert availability([0.99], correlation=0.5).combined == pytest.approx(0.99)


def test_one_that_is_never_down_is_enough() -> None:
    perfect = availability([1.0, 0.5], correlation=0.3)
    assert (perfect.combined, perfect.nines, perfect.gain) == (1.0, math.inf, math.inf)


def test_when_all_are_always_down_so_is_the_whole() -> None:
    assert availability([0, 0], correlation=1) == Availability(0, 1, 525_960, 0, 1)


@given(UPTIMES, st.floats(0, 1))
def test_the_whole_is_never_worse_than_the_best_nor_better_than_independent(
    ups: list[float], correlation: float
) -> None:
    whole = availability(ups, correlation=correlation)
    independent = availability(ups)
    assert 0 <= whole.downtime <= 1
    assert whole.combined >= max(ups) - 1e-12
    assert whole.downtime >= independent.downtime - 1e-12


@given(UPTIMES, st.floats(0, 1), st.floats(0, 1))
def test_more_correlation_never_helps(ups: list[float], a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert (
        availability(ups, correlation=low).downtime
        <= availability(ups, correlation=high).downtime + 1e-12
    )


def test_it_reads_as_a_sentence() -> None:
    assert str(availability([0.999])) == (
        "99.900000% up, 526.0 minutes of downtime a year"
    )
    assert str(availability([0.999] * 3)).endswith("0.0316 seconds of downtime a year")


@pytest.mark.parametrize(
    ("ups", "correlation", "field"),
    [([], 0, "uptimes"), ([99.9], 0, "uptimes"), ([0.9], 2, "correlation")],
)
def test_values_that_are_no_shares_are_refused(
    ups: list[float], correlation: float, field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        availability(ups, correlation=correlation)
    assert caught.value.field == field
