"""What the mock writes as Anthropic is what Anthropic writes."""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime

import pytest
from test_mock_wire import KEYS, USER, WEATHER, call, events

from llmbalance.testing import MockProvider

# --- Anthropic ---------------------------------------------------------------


def test_anthropic_headers_come_in_four_groups_with_dates():
    options = {"rpm": 60, "tpm": 20_000, "otpm": 8_000}
    with MockProvider("anthropic", output_tokens=100, **options) as provider:
        call(provider)
        _, headers, _ = call(provider)
    limits = {
        name: headers[f"anthropic-ratelimit-{name}-limit"]
        for name in ("requests", "input-tokens", "output-tokens", "tokens")
    }
    assert limits == {
        "requests": "60",
        "input-tokens": "20000",
        "output-tokens": "8000",
        "tokens": "28000",
    }
    assert headers["anthropic-ratelimit-requests-remaining"] == "58"
    assert headers["anthropic-ratelimit-output-tokens-remaining"] == "8000"  # rounded
    reset = headers["anthropic-ratelimit-requests-reset"]
    then = datetime.strptime(reset, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert -2 <= then.timestamp() - time.time() <= 3
    assert headers["request-id"].startswith("req_")


def test_anthropic_429_has_its_body_and_whole_seconds():
    with MockProvider("anthropic", rpm=1) as provider:
        call(provider)
        status, headers, body = call(provider)
    value = json.loads(body)
    assert status == 429
    assert value["type"] == "error"
    assert value["error"]["type"] == "rate_limit_error"
    assert value["request_id"] == headers["request-id"]
    assert headers["retry-after"] == "60"


def test_anthropic_streams_begin_with_usage_and_end_with_more():
    with MockProvider("anthropic", output_tokens=5) as provider:
        _, _, body = call(provider, stream=True)
    found = events(body)
    names = [name for name, _ in found]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[3:8] == ["content_block_delta"] * 5
    assert names[8:] == ["content_block_stop", "message_delta", "message_stop"]
    assert all(name == data["type"] for name, data in found)
    assert found[0][1]["message"]["usage"]["input_tokens"] == 9
    assert found[-2][1]["usage"]["output_tokens"] == 5
    assert found[-2][1]["delta"]["stop_reason"] == "end_turn"


def test_anthropic_starts_its_stream_before_the_first_token():
    with MockProvider("anthropic", ttft=0.6) as provider:
        conn = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
        body = {"model": "m", "max_tokens": 9, "messages": [USER], "stream": True}
        start = time.monotonic()
        conn.request("POST", "/v1/messages", json.dumps(body), KEYS["anthropic"])
        reply = conn.getresponse()
        assert reply.readline() == b"event: message_start\n"
        assert time.monotonic() - start < 0.5
        reply.read()
        assert time.monotonic() - start >= 0.6
        conn.close()


def test_anthropic_streams_a_tool_call_after_an_empty_delta():
    with MockProvider("anthropic", reply=WEATHER) as provider:
        _, _, body = call(provider, stream=True)
    deltas = [d["delta"] for n, d in events(body) if n == "content_block_delta"]
    assert deltas[0] == {"type": "input_json_delta", "partial_json": ""}
    assert json.loads("".join(d["partial_json"] for d in deltas)) == {"city": "Bern"}


def test_anthropic_may_answer_with_no_content_at_all():
    with MockProvider("anthropic", reply="STOP", output_tokens=1) as provider:
        _, _, body = call(provider, stop_sequences=["STOP"])
        _, _, stream = call(provider, stop_sequences=["STOP"], stream=True)
    value = json.loads(body)
    assert value["content"] == []
    assert (value["stop_reason"], value["stop_sequence"]) == ("stop_sequence", "STOP")
    names = [name for name, _ in events(stream)]
    assert names == ["message_start", "message_delta", "message_stop"]


def test_anthropic_input_excludes_what_is_cached():
    system = [{"type": "text", "text": "x" * 8000}]
    system[0]["cache_control"] = {"type": "ephemeral"}
    with MockProvider("anthropic", prompt_cache=True) as provider:
        first, second = (
            json.loads(call(provider, system=system)[2])["usage"] for _ in "ab"
        )
        plain = json.loads(call(provider, system="x" * 8000)[2])["usage"]
    whole = plain["input_tokens"]
    assert first["cache_creation_input_tokens"] == 1920
    assert second["cache_read_input_tokens"] == 1920
    assert first["input_tokens"] == second["input_tokens"] == whole - 1920


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": []}, "at least one message"),
        ({"temperature": 1.5}, "range: 0..1"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "first message"),
        ({"messages": [{"role": "system", "content": "a"}]}, "'user' or 'assistant'"),
        ({"tools": [{"name": "t"}]}, "input_schema: Field required"),
    ],
)
def test_anthropic_refuses_what_it_cannot_understand(more, text):
    with MockProvider("anthropic") as provider:
        status, _, body = call(provider, **more)
    error = json.loads(body)["error"]
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert text in error["message"]


def test_anthropic_wants_its_version():
    with MockProvider("anthropic") as provider:
        status, _, body = call(provider, headers={"x-api-key": "test-key"})
    assert status == 400
    assert "anthropic-version" in json.loads(body)["error"]["message"]
