"""What a value must be: a number > 0, a known word, a period of time.

Each raises ConfigError naming the field, the value and the remedy.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from ._core import STRATEGIES
from ._errors import ConfigError
from ._fields import MOST

_PERIODS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "week": 604800.0,
    "month": 2592000.0,
}
MOST_SECONDS = 1e9  # of any time-out: what clocks count in nanoseconds ends there
MOST_USD = 9e9
_LEAST_SHARE = 1e-9  # anything smaller is 0 to the core
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(field: str, period: float | str) -> float:
    """Return a period in seconds: a number, "minute", "day", ... or "10s", "5m"."""
    if isinstance(period, str):
        match = _DURATION.fullmatch(period.strip())
        known = _PERIODS.get(period)
        value = known if known else float(match[1]) * _UNITS[match[2]] if match else 0.0
    elif isinstance(period, int | float) and not isinstance(period, bool):
        value = period
    else:
        value = 0.0
    if not 1e-9 <= value < 9e9:
        raise ConfigError(
            field, period, 'give seconds > 0, "minute", "day", "month" or "10s"'
        )
    return float(value)


def one_of(field: str, value: object, known: Iterable[str]) -> None:
    """Refuse a word that is not among ``known``, naming the nearest one."""
    names = list(known)
    if value not in names:
        word = value if isinstance(value, str) else ""
        near = difflib.get_close_matches(word, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(field, value, f"{hint}use one of {', '.join(names)}")


def positive(
    field: str, value: float | None, *, zero: bool = False, most: float = MOST
) -> None:
    """Refuse what is no number > 0 (>= 0 with ``zero``) to ``most``; None is fine."""
    if value is None:
        return
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value < math.inf or (value == 0 and not zero):
        raise ConfigError(field, value, f"give a number {'>=' if zero else '>'} 0")
    if value > most:
        raise ConfigError(field, value, f"give a number of at most {most:g}")


def within_one(field: str, value: float, *, zero: bool = False) -> None:
    """Refuse what is no share: above 0 (from 0 on with ``zero``) and at most 1."""
    positive(field, value, zero=zero)
    if not (0 if zero else _LEAST_SHARE) <= value <= 1:
        low = "0 to 1" if zero else "above 0, at most 1"
        raise ConfigError(field, value, f"give a share, {low}")


def switches(**given: object) -> None:
    """Refuse what is neither True nor False: the text "false" would be true."""
    for field, value in given.items():
        if not isinstance(value, bool):
            raise ConfigError(field, value, "give True or False")


def whole_numbers(**given: object) -> None:
    """Refuse what is no whole number; None is fine."""
    for field, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise ConfigError(field, value, "give a whole number")


def check_marks(shift_at: float, stop_at: float) -> None:
    """Refuse marks of rate limits unless 0 < shift_at < stop_at <= 1."""
    for field, mark in (("shift_at", shift_at), ("stop_at", stop_at)):
        positive(field, mark)
        if mark > 1:
            raise ConfigError(field, mark, "give a share of the limit, e.g. 0.9")
    if shift_at >= stop_at:
        raise ConfigError("shift_at", shift_at, f"must be below stop_at = {stop_at:g}")


def check_strategy(field: str, strategy: str) -> int:
    """Return the index of a strategy; ConfigError names the known ones."""
    one_of(field, strategy, STRATEGIES)
    return STRATEGIES.index(strategy)
