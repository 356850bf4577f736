"""Rate limits as providers state them: headers, Retry-After, texts, Google's details.

    x-ratelimit-limit-requests: 10000      ->  LimitReading("requests",
    x-ratelimit-remaining-requests: 9999         limit=10000, remaining=9999,
    x-ratelimit-reset-requests: 6ms              reset_seconds=0.006,
                                                 window_seconds=60)

OpenAI's and Groq's reset is the time until the bucket is *full* again under linear
refill: reset = (limit - remaining) / limit * window. One header name may therefore
mean a limit per minute or per day; the three numbers say which. Every parser returns
None for text it does not understand: a bad header never fails a good answer.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from .._types import LimitKind, LimitReading

MINUTE, HOUR, DAY, MONTH = 60.0, 3600.0, 86_400.0, 30 * 86_400.0
_WINDOWS = (1.0, MINUTE, HOUR, DAY)
_BETWEEN = tuple(math.sqrt(a * b) for a, b in pairwise(_WINDOWS))
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": MINUTE,
    "h": HOUR,
    "d": DAY,
}
_THROTTLING = frozenset((402, 408, 409, 425, 429, 498))


def number(text: str | None) -> float | None:
    """Read a finite, non-negative decimal; None when it is none."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def duration(text: str | None) -> float | None:
    """Read a Go duration such as ``1m13.588s``; returns seconds, None when bad.

    A bare number is not a duration. Text after a comma (two headers merged into one)
    is ignored.
    """
    if not text:
        return None
    text = text.partition(",")[0].strip()
    unit = "ms" if text.endswith("ms") else text[-1:]
    plain = number(text[: -len(unit)])
    if plain is not None and unit in _UNITS:  # one number, one unit: nearly all
        return plain * _UNITS[unit]
    total, at, end = 0.0, 0, len(text)
    while at < end:
        start = at
        while at < end and (text[at].isdigit() or text[at] == "."):
            at += 1
        unit_at = at
        while at < end and not (text[at].isdigit() or text[at] == "."):
            at += 1
        factor, value = _UNITS.get(text[unit_at:at]), number(text[start:unit_at])
        if factor is None or value is None:
            return None
        total += value * factor
    return total if end else None


def rfc3339(text: str | None, now_wall: float) -> float | None:
    """Seconds from ``now_wall`` (epoch) to an RFC 3339 instant; 0 when it is past."""
    if not text:
        return None
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, then.timestamp() - now_wall)


def infer_window(
    limit: float | None, remaining: float | None, reset: float | None
) -> float | None:
    """The window in which ``limit`` refills: 1 s, 1 min, 1 h or 1 day.

    reset * limit / used, rounded to the nearest of them on a logarithmic scale; None
    when nothing is used or the numbers do not say.
    """
    if not limit or remaining is None or not reset or remaining >= limit:
        return None
    estimate = reset * limit / (limit - remaining)
    return _WINDOWS[bisect_left(_BETWEEN, estimate)]


def azure_reset(
    text: str | None, limit: float | None, remaining: float | None, window: float | None
) -> float | None:
    """Seconds until an Azure limit is full again.

    Some deployments send milliseconds, others whole seconds rounded down, under one
    name; so it is computed from the other three numbers, and the text is used (in the
    only unit that cannot overstate, milliseconds) when they are missing.
    """
    if limit and remaining is not None and window:
        return max(0.0, limit - remaining) / limit * window
    value = number(text)
    return None if value is None else value / 1000


def retry_after(
    headers: Mapping[str, str], status: int, now_wall: float
) -> float | None:
    """Seconds a provider asks to wait, from ``retry-after-ms`` or ``retry-after``.

    Seconds (also fractional) or an HTTP date; 0 when past. None on a 2xx, where it is
    no throttling signal (Anthropic and Together send it there), and when unreadable.
    """
    if status not in _THROTTLING and status < 500:
        return None
    millis = number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    text = headers.get("retry-after")
    seconds = number(text)
    if seconds is not None or not text:
        return seconds
    try:
        from email.utils import parsedate_to_datetime  # 3 ms, rarely needed

        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, then.timestamp() - now_wall)


def wait_in_text(message: str) -> float | None:
    """Seconds from "try again in 18.642s", "retry in 1m2s", "retry after 7 seconds"."""
    lowered = message.lower()
    for phrase in ("try again in ", "retry in ", "retry after ", "again after "):
        at = lowered.find(phrase)
        if at < 0:
            continue
        words = lowered[at + len(phrase) :].split(maxsplit=2)
        if not words:
            continue
        first = words[0].rstrip(".,;:!")
        seconds = duration(first)
        if seconds is not None:
            return seconds
        value = number(first)
        if value is None or len(words) < 2:
            continue
        unit = words[1].rstrip(".,;:!s")
        known = {"second": 1.0, "minute": MINUTE, "hour": HOUR, "millisecond": 1e-3}
        return value * known[unit] if unit in known else None
    return None


_TEXT = re.compile(
    r"on (requests|tokens|input tokens|output tokens) per (min|hour|day)[^:]*: "
    r"Limit (\d{1,15}), Used (\d{1,15})"
)
_PER = {"min": MINUTE, "hour": HOUR, "day": DAY}
_KINDS: Mapping[str, LimitKind] = {
    "requests": "requests",
    "tokens": "tokens",
    "input tokens": "input_tokens",
    "output tokens": "output_tokens",
}


def limits_in_text(message: str) -> list[LimitReading]:
    """The limit a refusal names: "on tokens per min (TPM): Limit 30000, Used 29937".

    OpenAI's words, and those of who copied them; the time it asks to wait shows a
    bucket that refills steadily.
    """
    found = _TEXT.search(message)
    if found is None:
        return []
    limit, used, window = float(found[3]), float(found[4]), _PER[found[2]]
    if limit == 0:
        return []
    reset = used / limit * window
    left = max(limit - used, 0.0)
    return [LimitReading(_KINDS[found[1]], limit, left, reset, window)]


def google_details(details: Any) -> tuple[float | None, str | None, bool]:
    """Read google.rpc details: (retry delay in seconds, scope, has any quota at all).

    Scope is "minute", "day" or None, from the quota's id.
    """
    delay: float | None = None
    scope: str | None = None
    any_quota = True
    for item in details if isinstance(details, list) else ():
        if not isinstance(item, dict):
            continue
        kind = str(item.get("@type", ""))
        if kind.endswith("RetryInfo"):
            delay = duration(str(item.get("retryDelay", "")))
        elif kind.endswith("QuotaFailure"):
            for violation in item.get("violations") or ():
                quota = str(violation.get("quotaId", "")).lower()
                if "perday" in quota:
                    scope = "day"
                elif "perminute" in quota and scope is None:
                    scope = "minute"
                any_quota = any_quota and str(violation.get("quotaValue", "1")) != "0"
        elif kind.endswith("ErrorInfo"):
            known = item.get("metadata") or {}
            any_quota = any_quota and str(known.get("quota_limit_value", "1")) != "0"
    return delay, scope, any_quota


def tightest(readings: Iterable[LimitReading]) -> list[LimitReading]:
    """One reading per kind and window: the one with the smallest share left.

    An organisation and a project, say, both limit tokens per minute; the bucket that
    holds one number must hold the binding one.
    """
    best: dict[tuple[str, float | None], LimitReading] = {}
    for reading in readings:
        key = (reading.kind, reading.window_seconds)
        rival = best.get(key)
        if rival is None or _share(reading) < _share(rival):
            best[key] = reading
    return list(best.values())


def _share(reading: LimitReading) -> float:
    if reading.limit and reading.remaining is not None:
        return reading.remaining / reading.limit
    return math.inf


_NAMES: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "requests"),
    ("tokens", "tokens"),
    ("requests", "project-requests"),
    ("tokens", "project-tokens"),
)
_OPENAI: tuple[tuple[LimitKind, str, str, str], ...] = tuple(
    (
        kind,
        f"x-ratelimit-limit-{name}",
        f"x-ratelimit-remaining-{name}",
        f"x-ratelimit-reset-{name}",
    )
    for kind, name in _NAMES
)


def openai_limits(headers: Mapping[str, str]) -> list[LimitReading]:
    """OpenAI, Groq, xAI and those that copy them: limit, remaining, time to full."""
    readings: list[LimitReading] = []
    for kind, limit_name, remaining_name, reset_name in _OPENAI:
        remaining = number(headers.get(remaining_name))
        limit = number(headers.get(limit_name))
        if remaining is None and limit is None:
            continue
        reset = duration(headers.get(reset_name))
        window = infer_window(limit, remaining, reset)
        readings.append(LimitReading(kind, limit, remaining, reset, window))
    return readings if len(readings) < 3 else tightest(readings)


def azure_limits(headers: Mapping[str, str]) -> list[LimitReading]:
    """Azure: OpenAI's names, bare numbers, and the window in a header of its own."""
    readings: list[LimitReading] = []
    for kind, limit_name, remaining_name, reset_name in _OPENAI[:2]:
        text = headers.get(remaining_name)
        if text is None or text.startswith("-"):  # -1/-1/0 stands for "unknown"
            continue
        limit, remaining = number(headers.get(limit_name)), number(text)
        if remaining is None:
            continue
        window = number(headers.get(f"x-ratelimit-renewalperiod-{kind}"))
        reset = azure_reset(headers.get(reset_name), limit, remaining, window)
        readings.append(LimitReading(kind, limit, remaining, reset, window))
    return readings


_ANTHROPIC: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "anthropic-ratelimit-requests"),
    ("input_tokens", "anthropic-ratelimit-input-tokens"),
    ("output_tokens", "anthropic-ratelimit-output-tokens"),
    ("tokens", "anthropic-ratelimit-tokens"),
)


def anthropic_limits(headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
    """Anthropic: RFC 3339 resets, per minute; any of the four groups may be missing."""
    readings: list[LimitReading] = []
    for kind, name in _ANTHROPIC:
        remaining = number(headers.get(f"{name}-remaining"))
        if remaining is None:
            continue
        limit = number(headers.get(f"{name}-limit"))
        reset = rfc3339(headers.get(f"{name}-reset"), now_wall)
        readings.append(LimitReading(kind, limit, remaining, reset, MINUTE))
    return readings


_MISTRAL_WINDOWS = {
    "minute": MINUTE,
    "month": MONTH,
    "10-second": 10.0,
    "second": 1.0,
    "hour": HOUR,
    "day": DAY,
}
_MISTRAL: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "req"),
    ("tokens", "tokens"),
)


def mistral_limits(headers: Mapping[str, str]) -> list[LimitReading]:
    """Mistral: the window stands in the header's name; older ones limit "by size"."""
    readings: list[LimitReading] = []
    for kind, name in _MISTRAL:
        for word, window in _MISTRAL_WINDOWS.items():
            remaining = number(headers.get(f"x-ratelimit-remaining-{name}-{word}"))
            if remaining is not None:
                limit = number(headers.get(f"x-ratelimit-limit-{name}-{word}"))
                readings.append(LimitReading(kind, limit, remaining, None, window))
    if not readings:
        remaining = number(headers.get("ratelimitbysize-remaining"))
        if remaining is not None:
            limit = number(headers.get("ratelimitbysize-limit"))
            reset = number(headers.get("ratelimitbysize-reset"))
            readings.append(LimitReading("tokens", limit, remaining, reset, MINUTE))
    return readings


def together_limits(headers: Mapping[str, str]) -> list[LimitReading]:
    """Together: a dynamic rate per second; ``remaining`` may exceed ``limit``."""
    remaining = number(headers.get("x-ratelimit-remaining"))
    if remaining is None:
        return openai_limits(headers)
    limit = number(headers.get("x-ratelimit-limit"))
    reset = number(headers.get("x-ratelimit-reset"))
    return [LimitReading("requests", limit, remaining, reset, 1.0)]


def per_minute(readings: Sequence[LimitReading]) -> list[LimitReading]:
    """Give readings without a window the one of a minute (xAI sends no reset)."""
    return [
        LimitReading(r.kind, r.limit, r.remaining, r.reset_seconds, MINUTE)
        if r.window_seconds is None
        else r
        for r in readings
    ]
