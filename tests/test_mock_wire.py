"""What the mock writes on the wire is what each vendor writes."""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime

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


# --- Gemini ------------------------------------------------------------------


def test_gemini_counts_in_every_chunk_and_ends_lines_with_crlf():
    with MockProvider("google", output_tokens=20) as provider:
        _, headers, body = call(provider, stream=True)
    assert headers["content-type"] == "text/event-stream"
    assert body.count(b"\r\n\r\n") == len(events(body, b"\r\n\r\n"))
    assert b"\n\n" not in body
    chunks = [d for _, d in events(body, b"\r\n\r\n")]
    done = [c["usageMetadata"]["candidatesTokenCount"] for c in chunks]
    assert done == sorted(done)
    assert done[-1] == 20
    last = chunks[-1]["candidates"][0]
    assert last["finishReason"] == "STOP"
    total = chunks[-1]["usageMetadata"]
    assert total["totalTokenCount"] == total["promptTokenCount"] + 20


def test_gemini_without_alt_sse_streams_one_json_array():
    with MockProvider("google", model="g") as provider:
        path = "/v1beta/models/g:streamGenerateContent"
        _, headers, body = call(provider, path=path)
    assert headers["content-type"].startswith("application/json")
    assert json.loads(body)[-1]["candidates"][0]["finishReason"] == "STOP"


def test_gemini_has_no_limit_headers_and_its_wait_is_in_the_body():
    with MockProvider("google", rpm=1) as provider:
        _, headers, _ = call(provider)
        status, limited, body = call(provider)
    assert not [h for h in headers if "ratelimit" in h.lower()]
    assert "retry-after" not in limited
    error = json.loads(body)["error"]
    assert (status, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    details = {d["@type"].rsplit(".", 1)[1]: d for d in error["details"]}
    wait = float(error["message"].rpartition("Please retry in ")[2].rstrip("s."))
    assert 50 < wait < 60
    assert details["RetryInfo"]["retryDelay"] == f"{int(wait)}s"
    quota = details["QuotaFailure"]["violations"][0]
    assert "PerMinute" in quota["quotaId"]
    assert quota["quotaValue"] == "1"


def test_gemini_calls_functions_under_finish_reason_stop_without_an_id():
    with MockProvider("google", reply=WEATHER) as provider:
        _, _, body = call(provider)
    candidate = json.loads(body)["candidates"][0]
    assert candidate["finishReason"] == "STOP"
    (part,) = candidate["content"]["parts"]
    assert part == {"functionCall": {"name": "weather", "args": {"city": "Bern"}}}


def test_gemini_thoughts_are_counted_apart():
    reply = {"reasoning": "think it over", "text": "yes!"}
    with MockProvider("google", reply=reply) as provider:
        _, _, body = call(provider)
    usage = json.loads(body)["usageMetadata"]
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (1, 4)


def test_gemini_breaks_its_stream_with_bare_json():
    with MockProvider("google") as provider:
        provider.stream_error(after_tokens=1)
        _, _, body = call(provider, stream=True)
    _, _, rest = body.rpartition(b"\r\n\r\n")
    assert not rest.startswith(b"data:")
    assert json.loads(rest)["error"]["status"] == "UNAVAILABLE"


def test_gemini_is_served_under_vertex_paths_too():
    place = "/v1/projects/p/locations/l/publishers/google/models/g"
    with MockProvider("google", model="g") as provider:
        headers = {"Authorization": "Bearer test-key"}
        path = f"{place}:generateContent"
        assert call(provider, path=path, headers=headers)[0] == 200


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
