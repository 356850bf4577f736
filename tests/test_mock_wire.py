"""What the mock writes on the wire is what each vendor writes."""

from __future__ import annotations

import http.client
import json

import pytest

from llmbalance.testing import MockProvider

KEYS = {
    "openai": {"Authorization": "Bearer test-key"},
    "anthropic": {"x-api-key": "test-key", "anthropic-version": "2023-06-01"},
    "google": {"x-goog-api-key": "test-key"},
}
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"tool_calls": [{"name": "weather", "arguments": {"city": "Bern"}}]}


def call(provider, *, headers=None, path=None, method="POST", stream=False, **more):
    """Send one chat request in the provider's dialect: (status, headers, body)."""
    kind = provider.dialect if provider.dialect in KEYS else "openai"
    model = provider.model
    if kind == "google":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        path = path or f"/v1beta/models/{model}:{verb}"
    elif kind == "anthropic":
        body = {"model": model, "max_tokens": 100, "messages": [USER]}
        path = path or "/v1/messages"
    else:
        body = {"model": model, "messages": [USER]}
        path = path or f"{provider.speaks.prefix}/chat/completions"
    if stream and kind != "google":
        body["stream"] = True
    sent = KEYS[kind] if headers is None else headers
    conn = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
    try:
        data = None if method == "GET" else json.dumps(body | more)
        conn.request(method, path, data, sent)
        reply = conn.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        conn.close()


def events(body, end=b"\n\n"):
    """(name, data) of each server-sent event."""
    found = []
    for block in body.split(end):
        lines = block.replace(b"\r\n", b"\n").split(b"\n")
        name = [x[7:].decode() for x in lines if x.startswith(b"event: ")]
        data = [x[6:] for x in lines if x.startswith(b"data: ")]
        if data:
            value = data[0] if data[0] == b"[DONE]" else json.loads(data[0])
            found.append((name[0] if name else "", value))
    return found


# --- OpenAI ------------------------------------------------------------------


def test_openai_usage_is_bytes_over_four_plus_the_frame():
    with MockProvider("openai", output_tokens=12) as provider:
        _, _, body = call(provider)
    usage = json.loads(body)["usage"]
    assert usage["prompt_tokens"] == 2 + 4 + 3
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == 21


def test_openai_headers_tell_the_time_until_the_bucket_is_full():
    with MockProvider("openai", rpm=100, tpm=10_000) as provider:
        _, headers, _ = call(provider)
    assert headers["x-ratelimit-limit-requests"] == "100"
    assert headers["x-ratelimit-remaining-requests"] == "99"
    assert headers["x-ratelimit-reset-requests"] == "600ms"
    assert headers["x-ratelimit-remaining-tokens"] == "9995"  # ceil(5 / 4) + 3
    assert headers["x-ratelimit-reset-tokens"] == "30ms"
    assert headers["x-request-id"].startswith("req_")


def test_openai_shows_the_limit_of_the_day_under_the_same_name():
    with MockProvider("openai", rpm=100, rpd=200) as provider:
        _, headers, _ = call(provider)
    assert headers["x-ratelimit-limit-requests"] == "200"
    assert headers["x-ratelimit-reset-requests"] == "7m12s"


def test_openai_429_is_exact_to_the_millisecond():
    with MockProvider("openai", model="gpt-4o", tpm=600, charge="max") as provider:
        assert call(provider, max_tokens=582)[0] == 200  # 9 + 582 of 600
        status, headers, body = call(provider, max_tokens=100)
    error = json.loads(body)["error"]
    wait_ms = int(headers["retry-after-ms"])
    assert status == 429
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    assert "Limit 600, Used 591, Requested 109. Please try again in" in error["message"]
    assert 5_000 < wait_ms <= 10_000  # (591 + 109 - 600) / 10 per second
    assert int(headers["retry-after"]) == -(-wait_ms // 1000)
    assert f"in {wait_ms / 1000:g}s." in error["message"]


def test_a_request_larger_than_the_limit_gets_no_wait():
    with MockProvider("openai", tpm=600, charge="max") as provider:
        status, headers, body = call(provider, max_tokens=1000)
    assert status == 429
    assert "retry-after" not in headers
    assert "Request too large" in json.loads(body)["error"]["message"]


def test_openai_streams_usage_only_when_asked_for_it():
    with MockProvider("openai", output_tokens=4) as provider:
        _, headers, plain = call(provider, stream=True)
        asked = {"include_usage": True, "include_obfuscation": False}
        _, _, full = call(provider, stream=True, stream_options=asked)
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    chunks = [data for _, data in events(plain)]
    assert chunks[-1] == b"[DONE]"
    assert all("usage" not in c for c in chunks[:-1])
    assert any(c.get("obfuscation") for c in chunks[:-1])
    chunks = [data for _, data in events(full)]
    assert [c["usage"] for c in chunks[:-2]] == [None] * 6
    assert chunks[-2]["choices"] == []
    assert chunks[-2]["usage"]["completion_tokens"] == 4
    assert all("obfuscation" not in c for c in chunks[:-1])
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-3]["choices"][0]["finish_reason"] == "stop"


def test_openai_streams_a_tool_call_in_fragments():
    with MockProvider("openai", reply=WEATHER) as provider:
        _, _, body = call(provider, stream=True)
    deltas = [d["choices"][0]["delta"] for _, d in events(body) if d != b"[DONE]"]
    calls = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
    assert calls[0]["function"] == {"name": "weather", "arguments": ""}
    assert all("id" not in c for c in calls[1:])
    text = "".join(c["function"]["arguments"] for c in calls)
    assert json.loads(text) == {"city": "Bern"}


def test_a_forced_tool_is_called_with_arguments_that_fit():
    function = {"name": "weather", "parameters": TOOL}
    tools = [{"type": "function", "function": function}]
    with MockProvider("openai") as provider:
        _, _, body = call(provider, tools=tools, tool_choice="required")
    choice = json.loads(body)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    function = choice["message"]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]).keys() == {"city"}


def test_an_invalid_schema_is_the_callers_fault():
    wrong = {"type": "array", "minItems": "many"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": wrong}}
    with MockProvider("openai") as provider:
        status, _, body = call(provider, response_format=form)
    assert status == 400
    assert "Invalid schema" in json.loads(body)["error"]["message"]


def test_several_choices_are_counted_together():
    with MockProvider("openai", output_tokens=5) as provider:
        _, _, body = call(provider, n=3)
    value = json.loads(body)
    assert [c["index"] for c in value["choices"]] == [0, 1, 2]
    assert value["usage"]["completion_tokens"] == 15


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"messages": []}, "empty array"),
        ({"messages": [{"role": "user"}]}, "in 'messages[0]'"),
        ({"model": None}, "model parameter"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "wrong type"),
        ({"tools": [1]}, "tools"),
    ],
)
def test_openai_refuses_what_it_cannot_understand(more, text):
    with MockProvider("openai") as provider:
        status, _, body = call(provider, **more)
        assert provider.refused == 1
    error = json.loads(body)["error"]
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert text in error["message"]


def test_repeated_prompts_are_reported_as_cached():
    long = [{"role": "system", "content": "x" * 8000}, USER]
    with MockProvider("openai", prompt_cache=True) as provider:
        used = [json.loads(call(provider, messages=long)[2])["usage"] for _ in "ab"]
    cached = [u["prompt_tokens_details"]["cached_tokens"] for u in used]
    assert cached == [0, 1920]


# --- keys, models, windows ---------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "wrong", "missing"),
    [
        ("openai", 401, 401),
        ("groq", 401, 401),
        ("vllm", 401, 401),
        ("anthropic", 401, 401),
        ("google", 400, 403),
    ],
)
def test_a_wrong_key_gets_the_vendors_answer_and_is_not_repeated(
    dialect, wrong, missing
):
    bad = {"Authorization": "Bearer s3cret", "anthropic-version": "2023-06-01"}
    with MockProvider(dialect) as provider:
        status, _, body = call(provider, headers=bad)
        assert status == wrong
        assert b"s3cret" not in body
        empty = {"anthropic-version": "2023-06-01"}
        assert call(provider, headers=empty)[0] == missing
        assert (provider.refused, provider.served) == (2, 0)


@pytest.mark.parametrize("dialect", ["openai", "groq", "ollama", "anthropic"])
def test_an_unknown_model_is_a_404(dialect):
    with MockProvider(dialect, model="m") as provider:
        status, _, body = call(provider, model="nope")
    assert status == 404
    assert b"nope" in body


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("openai", "context_length_exceeded"),
        ("anthropic", "prompt is too long: 9 tokens > 8 maximum"),
        ("google", "exceeds the maximum number of tokens allowed (1)"),
    ],
)
def test_a_prompt_beyond_the_window_is_refused_in_the_vendors_words(dialect, text):
    window = 1 if dialect == "google" else 8
    with MockProvider(dialect, context_window=window) as provider:
        status, _, body = call(provider)
    assert status == 400
    assert text in body.decode()


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
def test_every_scripted_failure_has_a_body_of_the_vendor(dialect, status):
    with MockProvider(dialect, model="m") as provider:
        provider.fail_next(1, status=status, retry_after=3)
        got, headers, body = call(provider)
    assert got == status
    error = json.loads(body)["error"]
    assert error["message"]
    if dialect == "google":
        assert error["code"] == status
        infos = [d for d in error["details"] if d["@type"].endswith("RetryInfo")]
        assert infos[0]["retryDelay"] == "3s"
    else:
        assert headers["retry-after"] == "3"
