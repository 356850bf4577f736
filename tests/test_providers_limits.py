"""Rate limits as providers state them."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance._types import LimitReading
from llmbalance.providers import _limits as limits
from llmbalance.providers import dialect

NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("12ms", 0.012),
        ("350us", 0.00035),
        ("9.5s", 9.5),
        ("1m30s", 90.0),
        ("2h5m0.25s", 7500.25),
        ("1d1h", 90_000.0),
        ("7s, 9s", 7.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("12", None),
        ("s", None),
        ("-1s", None),
        ("1s2", None),
    ],
)
def test_go_durations_are_read(text: str | None, seconds: float | None) -> None:
    assert limits.duration(text) == (seconds and pytest.approx(seconds))


@given(st.text())
def test_no_text_breaks_a_parser(text: str) -> None:
    limits.duration(text)
    limits.number(text)
    limits.rfc3339(text, NOW)
    limits.wait_in_text(text)
    limits.limits_in_text(text)
    limits.retry_after({"retry-after": text, "retry-after-ms": text}, 429, NOW)


@pytest.mark.parametrize(
    ("words", "kind", "window"),
    [
        ("tokens per min (TPM)", "tokens", 60.0),
        ("requests per minute (RPM)", "requests", 60.0),
        ("requests per day (RPD)", "requests", 86_400.0),
        ("input tokens per hour", "input_tokens", 3600.0),
    ],
)
def test_a_refusal_that_names_its_limit_says_how_full_it_is(
    words: str, kind: Any, window: float
) -> None:
    said = f"You are too fast for m in o on {words}: Limit 400, Used 300, Requested 200"
    assert limits.limits_in_text(said) == [
        LimitReading(kind, 400.0, 100.0, window * 3 / 4, window)
    ]


@pytest.mark.parametrize(
    "words",
    [
        "on tokens per min (TPM): Limit 400, Requested 500",  # never fits: says nothing
        "on tokens per min (TPM): Limit 0, Used 0, Requested 1",
        "on images per min: Limit 5, Used 5",
        "tokens per min: Limit 5, Used 5",
        "",
    ],
)
def test_a_refusal_without_numbers_names_no_limit(words: str) -> None:
    assert limits.limits_in_text(words) == []


def test_of_a_header_and_a_text_about_one_limit_the_tighter_one_counts() -> None:
    bound = dialect("openai")(model="m", api_key="k")
    text = "Too fast: on tokens per min (TPM): Limit 400, Used 400, Requested 2."
    body = {"error": {"message": text, "code": "rate_limit_exceeded"}}
    fields = {
        "x-ratelimit-limit-tokens": "400",
        "x-ratelimit-remaining-tokens": "100",
        "x-ratelimit-reset-tokens": "45s",
    }
    told = LimitReading("tokens", 400.0, 0.0, 60.0, 60.0)
    for headers in ({}, fields):
        failure = bound.failure(429, headers, json.dumps(body), NOW)
        assert (failure.kind, failure.limits) == ("rate_limit", [told])


@given(
    st.integers(1, 10**7), st.floats(0.01, 1), st.sampled_from([1.0, 60, 3600, 86400])
)
def test_the_window_follows_from_the_three_numbers(
    limit: int, share: float, window: float
) -> None:
    used = max(1, int(limit * share))
    reset = used / limit * window
    assert limits.infer_window(limit, limit - used, reset) == window


def test_a_full_bucket_does_not_tell_its_window() -> None:
    assert limits.infer_window(100, 100, 0.0) is None
    assert limits.infer_window(None, 5, 1.0) is None
    assert limits.infer_window(100, None, 1.0) is None


@pytest.mark.parametrize(
    ("headers", "status", "seconds"),
    [
        ({"retry-after": "3"}, 429, 3.0),
        ({"retry-after": "0.5"}, 503, 0.5),
        ({"retry-after-ms": "80", "retry-after": "1"}, 429, 0.08),
        ({"retry-after": "3"}, 200, None),
        ({"retry-after": "3"}, 404, None),
        ({"retry-after": "-3"}, 429, None),
        ({"retry-after": "nan"}, 429, None),
        ({}, 429, None),
    ],
)
def test_retry_after_counts_on_throttling_answers_only(
    headers: dict[str, str], status: int, seconds: float | None
) -> None:
    assert limits.retry_after(headers, status, NOW) == seconds


def test_retry_after_may_be_a_date() -> None:
    now = datetime.fromisoformat("2026-01-05T10:00:00+00:00").timestamp()
    later = {"retry-after": "Mon, 05 Jan 2026 10:00:30 GMT"}
    earlier = {"retry-after": "Mon, 05 Jan 2026 09:00:00 GMT"}
    assert limits.retry_after(later, 429, now) == 30.0
    assert limits.retry_after(earlier, 429, now) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Limit reached. Please try again in 1.5s. Contact us.", 1.5),
        ("Please retry in 1m2s.", 62.0),
        ("Please retry after 7 seconds.", 7.0),
        ("Retry after 2 minutes", 120.0),
        ("Try again later.", None),
        ("retry in", None),
    ],
)
def test_waits_are_found_in_messages(text: str, seconds: float | None) -> None:
    assert limits.wait_in_text(text) == seconds


def readings(name: str, headers: dict[str, str], **options: Any) -> list[LimitReading]:
    target = dialect(name)(model="m", base_url="http://h", api_key="k", options=options)
    return target.limits(headers, NOW)


def test_openai_says_limits_by_minute_and_day_under_one_name() -> None:
    headers = {
        "x-ratelimit-limit-requests": "200",
        "x-ratelimit-remaining-requests": "150",
        "x-ratelimit-reset-requests": "6h0m0s",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "30000",
        "x-ratelimit-reset-tokens": "30s",
    }
    assert readings("openai", headers) == [
        LimitReading("requests", 200, 150, 21_600, 86_400),
        LimitReading("tokens", 60_000, 30_000, 30, 60),
    ]


def test_of_two_limits_of_one_kind_the_tighter_is_told() -> None:
    headers = {
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "30000",
        "x-ratelimit-reset-tokens": "30s",
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-requests": "600ms",
        "x-ratelimit-limit-project-tokens": "10000",
        "x-ratelimit-remaining-project-tokens": "1000",
        "x-ratelimit-reset-project-tokens": "54s",
    }
    tokens = [r for r in readings("openai", headers) if r.kind == "tokens"]
    assert [(r.limit, r.remaining) for r in tokens] == [(10_000, 1000)]


def test_azures_resets_are_computed_whatever_their_unit() -> None:
    for reset in ("500", "0"):
        headers = {
            "x-ratelimit-limit-requests": "120",
            "x-ratelimit-remaining-requests": "119",
            "x-ratelimit-reset-requests": reset,
            "x-ratelimit-renewalperiod-requests": "60",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-limit-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
        }
        assert readings("azure", headers) == [
            LimitReading("requests", 120, 119, 0.5, 60)
        ]


def test_anthropics_resets_are_instants_and_groups_may_be_missing() -> None:
    headers = {
        "anthropic-ratelimit-input-tokens-limit": "1000",
        "anthropic-ratelimit-input-tokens-remaining": "900",
        "anthropic-ratelimit-input-tokens-reset": "2025-06-15T15:07:00Z",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00Z",
    }
    now = datetime.fromisoformat("2025-06-15T15:06:40+00:00").timestamp()
    target = dialect("anthropic")(model="m", api_key="k")
    assert target.limits(headers, now) == [
        LimitReading("requests", 50, 49, 0, 60),
        LimitReading("input_tokens", 1000, 900, 20, 60),
    ]


def test_mistral_names_the_window_in_the_header() -> None:
    headers = {
        "x-ratelimit-limit-req-10-second": "60",
        "x-ratelimit-remaining-req-10-second": "51",
        "x-ratelimit-limit-tokens-minute": "2000",
        "x-ratelimit-remaining-tokens-minute": "1500",
    }
    assert readings("mistral", headers) == [
        LimitReading("requests", 60, 51, None, 10),
        LimitReading("tokens", 2000, 1500, None, 60),
    ]
    older = {
        "ratelimitbysize-limit": "500",
        "ratelimitbysize-remaining": "400",
        "ratelimitbysize-reset": "33",
    }
    assert readings("mistral", older) == [LimitReading("tokens", 500, 400, 33, 60)]


def test_together_counts_by_the_second_and_xai_by_the_minute() -> None:
    bare = {
        "x-ratelimit-limit": "10",
        "x-ratelimit-remaining": "19",
        "x-ratelimit-reset": "2",
    }
    assert readings("together", bare) == [LimitReading("requests", 10, 19, 2, 1)]
    named = {
        "x-ratelimit-limit-requests": "1800",
        "x-ratelimit-remaining-requests": "1788",
    }
    assert readings("xai", named) == [LimitReading("requests", 1800, 1788, None, 60)]


def test_providers_without_headers_say_nothing() -> None:
    for name in ("google", "bedrock", "vertex", "ollama"):
        found = readings(name, {"x-ratelimit-limit-requests": "5"}, region="r")
        assert found == []


def test_recorded_cases_are_read_as_they_were_meant(recorded: Path) -> None:
    for case in json.loads((recorded / "ratelimit_cases.json").read_text()):
        expected = case.get("expect_ms", case.get("expect_window_s"))
        found = _read(case)
        if case["kind"] == "infer_window":
            assert found == expected, case
        elif expected is None:
            assert found is None, case
        else:
            assert found is not None, case
            assert abs(math.ceil(round(found * 1000, 6)) - expected) <= 1, case


def _read(case: dict[str, Any]) -> float | None:
    kind, value, headers = case["kind"], case.get("value"), case.get("headers", {})
    now = NOW
    if "now" in case:
        now = datetime.fromisoformat(case["now"]).timestamp()
    if kind == "retry_after":
        return limits.retry_after(headers, case["status"], now)
    if kind == "rfc3339_reset":
        return limits.rfc3339(value, now)
    if kind == "azure_reset":
        return limits.azure_reset(
            value, case["limit"], case["remaining"], case["renewal_s"]
        )
    if kind == "google_error_details":
        delay, scope, _ = limits.google_details(value)
        assert scope == case["scope"]
        return delay
    if kind == "infer_window":
        numbers = (limits.number(headers["limit"]), limits.number(headers["remaining"]))
        return limits.infer_window(*numbers, limits.duration(headers["reset"]))
    return {"duration": limits.duration, "message": limits.wait_in_text}[kind](value)


HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "azure.com": "azure",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.together": "together",
    "api.x.ai": "xai",
}


def test_recorded_headers_give_sane_readings(recorded: Path) -> None:
    seen = 0
    for line in (recorded / "ratelimit_headers.jsonl").read_text().splitlines():
        entry = json.loads(line)
        name = next((n for h, n in HOSTS.items() if h in entry["host"]), None)
        if name is None:
            continue
        for reading in readings(name, entry["headers"]):
            seen += 1
            assert reading.remaining is not None and reading.remaining >= 0
            assert reading.reset_seconds is None or reading.reset_seconds >= 0
            assert reading.window_seconds in (None, 1, 10, 60, 3600, 86400, 30 * 86400)
    assert seen > 200
