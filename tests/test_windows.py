"""Windows of budgets follow the calendar of their time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance import Budget, ConfigError
from llmbalance._money._windows import since_when, window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("per", "now", "start", "end", "hours_after"),
    [
        ("day", "2026-03-28 12:00", "2026-03-28", "2026-03-29", 23),
        ("day", "2026-03-29 12:00", "2026-03-29", "2026-03-30", 24),
        ("day", "2026-10-24 23:59", "2026-10-24", "2026-10-25", 25),
        ("week", "2026-11-21 10:00", "2026-11-16", "2026-11-23", 168),
        ("week", "2026-10-19 00:00", "2026-10-19", "2026-10-26", 168),
        ("month", "2026-01-31 23:00", "2026-01-01", "2026-02-01", 28 * 24),
        ("month", "2026-02-10 00:00", "2026-02-01", "2026-03-01", 31 * 24 - 1),
        ("month", "2028-01-01 00:00", "2028-01-01", "2028-02-01", 29 * 24),
        ("month", "2026-12-31 23:00", "2026-12-01", "2027-01-01", 31 * 24),
    ],
)
def test_a_calendar_window_has_the_length_of_the_calendar(
    per: str, now: str, start: str, end: str, hours_after: int
) -> None:
    got = window(Budget(usd=1, per=per, timezone="Europe/Berlin"), at(now))
    assert got.start == at(start)
    assert at(now) + got.ends_in == at(end)
    assert got.period == hours_after * 3600


def test_an_hour_begins_where_the_zone_says() -> None:
    budget = Budget(usd=1, per="hour", timezone="Asia/Kolkata")  # UTC + 5:30
    got = window(budget, at("2026-05-05 10:20", "Asia/Kolkata"))
    assert got.start == at("2026-05-05 10:00", "Asia/Kolkata")
    assert (got.ends_in, got.period) == (2400, 3600)


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    budget = Budget(usd=1, per="hour", timezone="Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN).timestamp()
    one, two = window(budget, first), window(budget, first + 3600)
    assert one.ends_in == two.ends_in == 1800
    assert two.start - one.start == 3600


@given(
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Havana"]
    ),
    st.integers(1_500_000_000, 1_900_000_000),
)
def test_windows_follow_each_other_without_a_gap(per: str, zone: str, now: int) -> None:
    budget = Budget(usd=1, per=per, timezone=zone)
    this = window(budget, now)
    end = now + this.ends_in
    following = window(budget, end)
    assert this.start <= now < end
    assert following.start == end
    assert following.ends_in == this.period


def test_seconds_run_from_the_epoch_and_rolling_ones_to_now() -> None:
    assert window(Budget(usd=1, per=100), 1234) == (1200, 66, 100)
    assert window(Budget(usd=1, per="10m", rolling=True), 6000) == (5400, 600, 600)
    assert window(Budget(usd=1, per="total"), 6000).start == 0


def test_an_unknown_zone_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="timezone = 'Europe/Atlantis'"):
        window(Budget(usd=1, timezone="Europe/Atlantis"), 0)


@pytest.mark.parametrize(
    ("since", "epoch"),
    [
        ("7d", 1e9 - 7 * 86400),
        ("1.5h", 1e9 - 5400),
        ("30min", 1e9 - 1800),
        ("2w", 1e9 - 14 * 86400),
        (5, 5.0),
        ("month", datetime(2001, 9, 1, tzinfo=UTC).timestamp()),
        ("day", datetime(2001, 9, 9, tzinfo=UTC).timestamp()),
        ("2001-09-01", datetime(2001, 9, 1, tzinfo=UTC).timestamp()),
        ("2001-09-01T12:00+02:00", datetime(2001, 9, 1, 10, tzinfo=UTC).timestamp()),
        (date(2001, 9, 1), datetime(2001, 9, 1, tzinfo=UTC).timestamp()),
        (datetime(2001, 9, 1, 2, tzinfo=BERLIN), 999302400.0),
    ],
)
def test_since_is_read_in_many_words(since: object, epoch: float) -> None:
    assert since_when(since, 1e9) == epoch  # type: ignore[arg-type]


@pytest.mark.parametrize("since", ["soon", "", "7 days ago", None, True])
def test_a_since_that_says_nothing_is_refused(since: object) -> None:
    with pytest.raises(ConfigError, match="since"):
        since_when(since, 1e9)  # type: ignore[arg-type]
