"""The mock's bodies have the fields of recorded ones: none missing, none invented."""

from __future__ import annotations

import http.client
import json

import pytest

from llmbalance.testing import MockProvider

USER = {"role": "user", "content": "hello"}
KEYS = {
    "Authorization": "Bearer test-key",
    "x-api-key": "test-key",
    "x-goog-api-key": "test-key",
    "anthropic-version": "2023-06-01",
}
REQUESTS = {
    "openai": ("/v1/chat/completions", {"messages": [USER]}),
    "groq": ("/openai/v1/chat/completions", {"messages": [USER]}),
    "deepseek": ("/v1/chat/completions", {"messages": [USER]}),
    "anthropic": ("/v1/messages", {"messages": [USER], "max_tokens": 99}),
    "google": (
        "/v1beta/models/m:generateContent",
        {"contents": [{"parts": [{"text": "hello"}]}]},
    ),
}


def ask(provider, **more):
    path, body = REQUESTS[provider.dialect]
    if more.pop("google_stream", False):
        path = path.replace("generateContent", "streamGenerateContent?alt=sse")
    conn = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
    try:
        sent = body if provider.dialect == "google" else body | {"model": "m"} | more
        conn.request("POST", path, json.dumps(sent), KEYS)
        return conn.getresponse().read()
    finally:
        conn.close()


def paths(value, at=""):
    """The names of all fields, as dotted paths; the places in a list are one."""
    if isinstance(value, dict):
        found = set()
        for key, inner in value.items():
            found |= {f"{at}.{key}"} | paths(inner, f"{at}.{key}")
        return found
    if isinstance(value, list):
        return set().union(*(paths(v, f"{at}[]") for v in value)) if value else set()
    return set()


def stream_paths(body):
    """The fields of a whole event stream; typed events apart from each other."""
    found = set()
    for line in body.splitlines():
        data = line.removeprefix(b"data:").strip()
        if line.startswith(b"data:") and data != b"[DONE]":
            value = json.loads(data)
            found |= paths(value, value.get("type", ""))
    return found


def recorded_bodies(folder, *numbers):
    cassettes = folder / "cassettes"
    for number in numbers:
        (found,) = cassettes.glob(f"{number}-*")
        yield (found / "response.body").read_bytes()


@pytest.mark.parametrize(
    ("dialect", "numbers"),
    [
        ("openai", ("001", "013", "015", "017")),
        ("anthropic", ("050", "060", "061")),
        ("google", ("080",)),
    ],
)
def test_whole_answers_have_the_recorded_fields(recorded, dialect, numbers):
    real = [paths(json.loads(b)) for b in recorded_bodies(recorded, *numbers)]
    with MockProvider(dialect) as provider:
        mine = paths(json.loads(ask(provider)))
    extra = {".choices[].logprobs", ".usageMetadata.thoughtsTokenCount"}
    assert mine - set.union(*real) - extra == set()
    assert set.intersection(*real) - mine - extra == set()


@pytest.mark.parametrize(
    ("dialect", "numbers", "more"),
    [
        ("openai", ("006", "008", "010"), {"stream_options": {"include_usage": True}}),
        ("groq", ("190",), {"stream_options": {"include_usage": True}}),
        ("deepseek", ("186",), {}),
        ("anthropic", ("052", "053"), {}),
        ("google", ("081",), {"google_stream": True}),
    ],
)
def test_streams_have_the_recorded_fields(recorded, dialect, numbers, more):
    real = [stream_paths(b) for b in recorded_bodies(recorded, *numbers)]
    with MockProvider(dialect) as provider:
        mine = stream_paths(ask(provider, stream=True, **more))
    # Other fields of the vendor that come with options, or with what is scripted.
    extra = {"thoughtsTokenCount", "logprobs", "seed", "refusal", "service_tier"}
    extra |= {"completion_tokens_details", "reasoning_tokens", "reasoning_content"}
    assert {p for p in mine - set.union(*real) if last(p) not in extra} == set()
    missing = set.intersection(*real) - mine
    assert {p for p in missing if last(p) not in extra} == set()


def last(path):
    return path.rpartition(".")[2]


@pytest.mark.parametrize(
    ("dialect", "number", "options", "more"),
    [
        ("openai", "027", {"api_key": "other"}, {}),
        ("anthropic", "068", {"context_window": 1}, {}),
        ("google", "094", {"model": "other"}, {}),
        ("google", "095", {"tpm": 1}, {}),
    ],
)
def test_errors_have_the_recorded_fields(recorded, dialect, number, options, more):
    (real,) = recorded_bodies(recorded, number)
    with MockProvider(dialect, **options) as provider:
        mine = json.loads(ask(provider, **more))
        if number == "095":
            provider.fail_next(1, status=429, retry_after=48)
            mine = json.loads(ask(provider))
    assert paths(mine) == paths(json.loads(real))
