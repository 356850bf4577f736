"""What the mock writes as Gemini is what Gemini writes."""

from __future__ import annotations

import json

from test_mock_wire import WEATHER, call, events

from llmbalance.testing import MockProvider

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
