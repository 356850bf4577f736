"""The error taxonomy: the body decides before the status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance._errors import LLMBalanceError, ProviderError
from llmbalance._types import Failure
from llmbalance.providers import KINDS, TRANSPORT_KINDS, dialect, exception_of
from llmbalance.providers._classify import classify, read_error

NOW = 1_750_000_000.0
ACTIONS = {"never", "other", "same_later", "larger", "able"}
OUTCOMES = {
    *("ok", "slow", "failed", "broken_stream", "timeout", "rate_limited", "quota"),
    *("auth", "missing", "rejected", "cancelled", "incapable"),
}


def understood(status: int, body: Any, **headers: str) -> Failure:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, fields, raw, now_wall=NOW)


def openai(message: str = "no", code: Any = None, kind: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str = "no", **more: Any) -> Any:
    error = {"type": kind, "message": message, **more}
    return {"type": "error", "error": error, "request_id": "req_1"}


def google(status: str, message: str = "no", *details: Any) -> Any:
    error = {"code": 1, "message": message, "status": status, "details": details}
    return {"error": error}


def test_every_row_of_the_table_is_complete() -> None:
    for name, kind in KINDS.items():
        assert kind.action in ACTIONS, name
        assert kind.outcome in OUTCOMES, name
        assert kind.scope in ("call", "model", "account"), name
        assert issubclass(kind.error, LLMBalanceError), name
    assert set(TRANSPORT_KINDS.values()) <= KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_every_row_gives_its_exception(name: str) -> None:
    failure = Failure(kind=name, message="said", status=400, code="c", retry_after=2.0)
    error = exception_of(failure, backend="b")
    assert type(error) is KINDS[name].error
    assert (error.message, error.backend, error.retry_after) == ("said", "b", 2.0)
    if isinstance(error, ProviderError):
        assert (error.kind, error.status, error.code) == (name, 400, "c")


CASES: list[tuple[str, int, Any]] = [
    ("bad_request", 400, openai("bad value", "invalid_value")),
    ("unsupported", 400, openai("not with this model", "unsupported_parameter")),
    ("context_length", 400, openai("too long", "context_length_exceeded")),
    (
        "context_length",
        400,
        anthropic("invalid_request_error", "prompt is too long: 9"),
    ),
    (
        "context_length",
        400,
        google("INVALID_ARGUMENT", "5 exceeds the maximum number of tokens"),
    ),
    ("context_length", 400, {"message": "Input is too long for requested model."}),
    (
        "context_length",
        400,
        {"error": {"code": 400, "type": "exceed_context_size_error"}},
    ),
    ("too_large", 413, b"<html><title>413 Too Large</title></html>"),
    ("too_large", 413, anthropic("request_too_large")),
    ("content_filter", 400, openai("filtered", "content_filter")),
    ("auth", 401, openai("wrong", "invalid_api_key", "invalid_request_error")),
    ("auth", 401, {"detail": "Unauthorized"}),
    (
        "auth",
        400,
        google("INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"}),
    ),
    ("auth", 400, {"code": "x", "error": "Incorrect API key provided. Get one."}),
    ("auth", 401, {"error": {"message": "Unauthorized", "type": "api_error"}}),
    ("permission", 403, anthropic("permission_error")),
    ("region", 400, google("FAILED_PRECONDITION", "User location is not supported.")),
    ("quota", 429, openai("pay", "insufficient_quota", "insufficient_quota")),
    ("quota", 429, openai("pay", "credit_balance_exhausted")),
    ("quota", 402, openai("Insufficient Balance", "invalid_request_error")),
    (
        "quota",
        400,
        anthropic("invalid_request_error", "Your credit balance is too low"),
    ),
    (
        "quota",
        429,
        anthropic(
            "rate_limit_error",
            "x",
            details={"error_code": "enforced_spend_limit_reached"},
        ),
    ),
    ("model_missing", 404, openai("The model `x` does not exist", "model_not_found")),
    ("model_missing", 404, anthropic("not_found_error", "model: x")),
    ("model_missing", 400, {"code": "i", "error": "Model not found: grok-x"}),
    ("model_missing", 404, {"error": {"code": "DeploymentNotFound", "message": "no"}}),
    ("model_missing", 404, {"error": "model 'x' not found"}),
    ("rate_limit", 429, openai("slow", "rate_limit_exceeded", "tokens")),
    ("rate_limit", 429, openai("ramp", "slow_down")),
    ("rate_limit", 429, anthropic("rate_limit_error")),
    (
        "rate_limit",
        429,
        google("RESOURCE_EXHAUSTED", "You exceeded your current quota"),
    ),
    ("tier_capacity", 498, openai("busy", "capacity_exceeded")),
    ("tier_capacity", 429, openai("Resource Unavailable")),
    ("overloaded", 529, anthropic("overloaded_error")),
    ("overloaded", 200, anthropic("overloaded_error")),
    ("overloaded", 503, openai("busy", "server_is_overloaded")),
    (
        "overloaded",
        429,
        google("RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
    ),
    ("overloaded", 503, b""),
    ("server", 500, anthropic("api_error")),
    ("server", 500, openai("The server had an error")),
    ("server", 502, b"<html><head><title>502 Bad Gateway</title></head></html>"),
    ("timeout", 504, anthropic("timeout_error")),
    ("timeout", 504, google("DEADLINE_EXCEEDED")),
    ("transient", 499, google("CANCELLED")),
    ("transient", 408, b""),
    (
        "incapable",
        500,
        {
            "error": {
                "code": 500,
                "message": "tools param requires --jinja flag",
                "type": "server_error",
            }
        },
    ),
    (
        "incapable",
        501,
        {"error": {"code": 501, "message": "no", "type": "not_supported_error"}},
    ),
    ("bad_request", 422, {"detail": [{"loc": ["body"], "msg": "bad"}]}),
    ("bad_request", 400, b"not json at all"),
    ("server", 599, b"{truncated"),
]


@pytest.mark.parametrize(("kind", "status", "body"), CASES)
def test_an_error_is_what_its_body_says(kind: str, status: int, body: Any) -> None:
    failure = understood(status, body)
    assert failure.kind == kind
    assert failure.status == status
    assert failure.message


def test_aws_names_its_errors_in_a_header() -> None:
    body = {"message": "Too many requests"}
    name = "ThrottlingException:http://internal.amazon.com/coral/"
    failure = understood(400, body, x_amzn_errortype=name)
    assert failure.kind == "rate_limit"
    expired = understood(403, body, x_amzn_errortype="ExpiredTokenException")
    assert expired.kind == "auth"


def test_an_account_without_money_is_no_rate_limit() -> None:
    for body in (openai("x", "insufficient_quota"), openai("x", "rate_limit_exceeded")):
        failure = understood(429, body, retry_after="3")
        assert failure.retry_after == 3.0
    assert (
        KINDS[understood(429, openai("x", "insufficient_quota")).kind].action == "other"
    )


def test_googles_waits_stand_in_the_body() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48s"}
    minute = {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "RequestsPerMinutePerProject", "quotaValue": "10"}],
    }
    day = json.loads(json.dumps(minute).replace("PerMinute", "PerDay"))
    none = json.loads(json.dumps(minute).replace('"10"', '"0"'))
    busy = understood(429, google("RESOURCE_EXHAUSTED", "no", minute, retry))
    assert (busy.kind, busy.retry_after) == ("rate_limit", 48.0)
    assert understood(429, google("RESOURCE_EXHAUSTED", "no", day)).kind == "quota"
    assert understood(429, google("RESOURCE_EXHAUSTED", "no", none)).kind == "quota"


def test_openais_waits_stand_in_the_text_when_no_header_says_them() -> None:
    text = "Rate limit reached. Please try again in 1.25s. See more."
    failure = understood(429, openai(text, "rate_limit_exceeded"))
    assert failure.retry_after == 1.25
    failure = understood(429, openai(text, "rate_limit_exceeded"), retry_after="9")
    assert failure.retry_after == 9.0


def test_request_ids_come_from_body_or_header() -> None:
    assert understood(500, anthropic("api_error")).request_id == "req_1"
    assert understood(500, openai(), x_request_id="r2").request_id == "r2"


def test_a_key_that_a_provider_repeats_is_struck_out() -> None:
    key = "secret-key-of-mine-123"
    target = dialect("openai")(model="m", api_key=key)
    body = json.dumps(openai(f"Incorrect API key provided: {key}.")).encode()
    failure = target.failure(401, {}, body, NOW)
    assert key not in failure.message
    other = understood(401, openai("Incorrect API key provided: sk-abcdef123."))
    assert "sk-abc" not in other.message


def test_long_messages_are_cut() -> None:
    assert len(understood(400, openai("x" * 10_000)).message) <= 500


def test_a_page_of_html_is_told_by_its_title() -> None:
    page = b"<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>"
    assert "Error 404" in understood(404, page).message


@given(st.binary() | st.text().map(lambda t: json.dumps({"error": t}).encode()))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    for status in (200, 400, 429, 500):
        assert understood(status, body).kind in KINDS


FIELDS = ["error", "message", "code", "type", "details", "status", "detail", "metadata"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_shape_of_json_breaks_the_reading(value: Any) -> None:
    failure = understood(429, value)
    assert failure.kind in KINDS
    assert isinstance(read_error(json.dumps(value).encode()).message, str)


SAME = {
    "auth": {"auth", "permission"},
    "backend_incapable": {"incapable"},
    "bad_request": {"bad_request", "unsupported", "malformed"},
    "model_not_found": {"model_missing"},
}


def test_recorded_errors_fall_into_their_class(recorded: Path) -> None:
    lines = (recorded / "error_bodies.jsonl").read_text().splitlines()
    for line in lines:
        entry = json.loads(line)
        body = entry["body"].encode()
        failure = classify(entry["status"], entry["headers"], body, now_wall=NOW)
        wanted = SAME.get(entry["suggested_class"], {entry["suggested_class"]})
        assert failure.kind in wanted, entry
    assert len(lines) > 100
