"""Windows of time: the calendar of budgets, and "since when" of reports.

    Budget(per="month", timezone="Europe/Berlin")

        start                 now                       ends     next end
    ----|----------------------|-------------------------|-----------|---->
        1 March 00:00          20 March            1 April     1 May
                               <------- ends_in --------><- period ->

A day of a calendar has 23 to 25 hours and a month 28 to 31 days, so a window is asked
for anew whenever one has ended.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from .._checks import seconds_of
from .._config import Budget
from .._errors import ConfigError

CALENDAR = ("hour", "day", "week", "month")
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


class Window(NamedTuple):
    """A window of a budget: epoch second of its start, seconds until it ends, and
    the seconds the next one lasts."""

    start: float
    ends_in: float
    period: float


def window(budget: Budget, wall: float) -> Window:
    """Return the window of ``budget`` that ``wall`` (epoch s) lies in.

    Calendar words run from the full hour, midnight, Monday or the first in the
    budget's time zone; a number of seconds runs from the epoch; a rolling window
    began one period ago, a total one with the epoch.
    """
    if budget.per == "total":
        return Window(0.0, float("inf"), float("inf"))
    period = seconds_of("per", budget.per)
    if budget.rolling:
        return Window(wall - period, period, period)
    if budget.per not in CALENDAR:
        return Window(wall - wall % period, period - wall % period, period)
    now, per = datetime.fromtimestamp(wall, zone_of(budget.timezone)), str(budget.per)
    start, end = start_of(now, per), next_start(now, per)
    after = next_start(end, per)
    return Window(
        start.timestamp(),
        max(end.timestamp() - wall, 0.001),
        after.timestamp() - end.timestamp(),
    )


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name; ConfigError when there is none such."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # 2 ms, rarely needed

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            "timezone", name, 'give a name such as "Europe/Berlin"'
        ) from None


def start_of(now: datetime, per: str) -> datetime:
    """Return the beginning of the hour, day, week or month that ``now`` lies in."""
    if per == "hour":
        return now.replace(minute=0, second=0, microsecond=0)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if per == "day":
        return day
    return day - timedelta(days=day.weekday()) if per == "week" else day.replace(day=1)


def next_start(now: datetime, per: str) -> datetime:
    """Return the beginning of the hour, day, week or month after that of ``now``."""
    start = start_of(now, per)
    if per == "hour":
        # by the clock that runs on: an hour may come twice, or not at all
        return datetime.fromtimestamp(start.timestamp() + 3600, start.tzinfo)
    if per == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=1 if per == "day" else 7)


def since_when(since: float | str | date, wall: float) -> float:
    """Return the epoch second that ``since`` means at ``wall`` (epoch s).

    "7d", "24h", "30min", "2w": so long ago; "hour", "day", "week", "month": the
    present one's start in UTC; "2026-11-01" or a date or datetime (UTC unless it says
    otherwise); a number is an epoch second.
    """
    if isinstance(since, int | float) and not isinstance(since, bool):
        return float(since)
    if isinstance(since, str):
        if ago := _AGO.fullmatch(since.strip()):
            return wall - float(ago[1]) * _SECONDS[ago[2]]
        if since in CALENDAR:
            return start_of(datetime.fromtimestamp(wall, UTC), since).timestamp()
        with contextlib.suppress(ValueError):
            since = datetime.fromisoformat(since)
    if isinstance(since, date):
        if not isinstance(since, datetime):
            since = datetime(since.year, since.month, since.day)
        return (since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp()
    raise ConfigError(
        "since", since, 'give "7d", "24h", "month", a date or an epoch second'
    )
