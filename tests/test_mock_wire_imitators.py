"""Servers that imitate OpenAI: what the mock writes is what each of them writes."""

from __future__ import annotations

import json

import pytest
from test_mock_wire import WEATHER, call, events

from llmbalance.testing import MockProvider

# --- the imitators -----------------------------------------------------------


def test_groq_sends_usage_twice_and_waits_in_whole_seconds():
    options = {"rpd": 14_400, "tpm": 30_000}
    with MockProvider("groq", output_tokens=3, **options) as provider:
        assert provider.base_url.endswith("/openai/v1")
        _, headers, body = call(
            provider, stream=True, stream_options={"include_usage": True}
        )
        provider.throttle(rpm=1)
        assert call(provider)[0] == 200
        status, limited, _ = call(provider)
    chunks = [d for _, d in events(body)]
    finish, extra = chunks[-3], chunks[-2]
    assert finish["x_groq"]["usage"] == extra["usage"]
    assert extra["choices"] == []
    assert headers["x-ratelimit-limit-requests"] == "14400"
    assert headers["x-ratelimit-reset-requests"] == "6s"
    assert status == 429
    assert limited["retry-after"] == "60"


def test_groq_names_the_error_in_its_stream_and_sends_no_done():
    with MockProvider("groq") as provider:
        provider.stream_error(after_tokens=2)
        _, _, body = call(provider, stream=True)
    name, data = events(body)[-1]
    assert name == "error"
    assert data["error"]["status_code"] == 500
    assert b"[DONE]" not in body


def test_deepseek_puts_usage_into_the_finish_chunk():
    with MockProvider("deepseek") as provider:
        _, _, body = call(provider, stream=True)
    finish = events(body)[-2][1]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"]["prompt_cache_hit_tokens"] == 0


def test_vllm_has_a_health_page_and_its_own_kinds_of_errors():
    with MockProvider("vllm", model="m") as provider:
        assert call(provider, method="GET", path="/health")[0] == 200
        status, _, body = call(provider, model="other")
    error = json.loads(body)["error"]
    assert (status, error["code"], error["type"]) == (404, 404, "NotFoundError")


def test_mistral_names_the_window_in_its_headers_and_has_flat_errors():
    with MockProvider("mistral", model="m", rpm=2, tpm=6000, reply=WEATHER) as provider:
        _, headers, body = call(provider, stream=True)
        assert call(provider, model="other")[0] == 400
        assert call(provider, headers={"Authorization": "Bearer x"})[2] == (
            b'{"detail":"Invalid API Key"}'
        )
        call(provider)
        status, _, limited = call(provider)
    assert headers["x-ratelimit-remaining-req-minute"] == "1"
    assert headers["x-ratelimit-limit-tokens-minute"] == "6000"
    chunks = [d for _, d in events(body)]
    (tool_call,) = chunks[1]["choices"][0]["delta"]["tool_calls"]
    assert "index" not in tool_call
    assert chunks[-2]["usage"]["completion_tokens"] > 0
    error = json.loads(limited)
    assert (status, error["type"], error["code"]) == (429, "rate_limited", "1300")


def test_openrouter_comments_finishes_twice_and_tells_the_cost():
    with MockProvider("openrouter", price=(3, 15), output_tokens=5) as provider:
        assert provider.base_url.endswith("/api/v1")
        _, _, body = call(provider, stream=True)
        provider.stream_error(after_tokens=2)
        _, _, broken = call(provider, stream=True)
    assert body.startswith(b": OPENROUTER PROCESSING\n\n")
    chunks = [d for _, d in events(body)]
    finishes = [c["choices"][0]["finish_reason"] for c in chunks[:-1]]
    assert finishes.count("stop") == 2
    usage = chunks[-2]["usage"]
    assert usage["cost"] == pytest.approx((9 * 3 + 5 * 15) / 1e6)
    last = events(broken)[-2][1]
    assert last["error"]["code"] == 502
    assert last["choices"][0]["index"] == 0


def test_xai_answers_400_to_a_wrong_key_and_tells_no_reset():
    with MockProvider("xai", rpm=60) as provider:
        _, headers, _ = call(provider)
        status, _, body = call(provider, headers={"Authorization": "Bearer x"})
    assert headers["x-ratelimit-remaining-requests"] == "59"
    assert "x-ratelimit-reset-requests" not in headers
    assert (status, json.loads(body)["code"]) == (400, "invalid-argument")


def test_output_counts_at_the_end_where_the_vendor_charges_what_was_used():
    with MockProvider("groq", tpm=60, output_tokens=60) as provider:
        assert call(provider)[0] == 200
        assert call(provider)[0] == 429
