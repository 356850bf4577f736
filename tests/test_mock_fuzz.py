"""No request, however strange, gets past the mock without an answer of its vendor."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmbalance.testing import MockProvider
from llmbalance.testing._desk import Desk
from llmbalance.testing._server import Request

KEYS = {
    "authorization": "Bearer test-key",
    "x-api-key": "test-key",
    "x-goog-api-key": "test-key",
    "anthropic-version": "2023-06-01",
}
PATHS = {
    "openai": ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"],
    "groq": ["/openai/v1/chat/completions"],
    "ollama": ["/api/chat", "/api/embed", "/v1/chat/completions"],
    "anthropic": ["/v1/messages", "/v1/messages/count_tokens"],
    "google": [
        "/v1beta/models/m:generateContent",
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        "/v1beta/models/m:batchEmbedContents",
        "/v1beta/models/m:countTokens",
    ],
}
_NAMES = """
model messages role content type text parts tools function name parameters
stream input tool_calls tool_choice response_format stop n max_tokens
contents requests generationConfig input_schema system source options format
dimensions instructions
"""
NAMES = _NAMES.split()
leaves = st.none() | st.booleans() | st.integers(-9, 99) | st.floats() | st.text()
leaves |= st.sampled_from(["m", "user", "text", "hello", "function", "image_url"])
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
message = st.fixed_dictionaries(
    {"role": st.just("user") | values, "content": st.just("hi") | values}
)
body = st.fixed_dictionaries(
    {"model": st.just("m") | values},
    optional={
        "messages": st.lists(message, max_size=3) | values,
        "contents": st.lists(st.fixed_dictionaries({"parts": values})) | values,
        "input": values,
        "max_tokens": st.just(9) | values,
        "tools": values,
        "stream": st.booleans() | values,
        "system": values,
        "response_format": values,
        "generationConfig": values,
        "options": values,
        "requests": values,
        "stop": values,
        "tool_choice": values,
        "dimensions": values,
        "text": values,
    },
)


class Paper:
    """A connection that only writes down what it is told."""

    def __init__(self):
        self.status, self.answering, self.paused = None, None, False
        self.data = b""

    def respond(self, status, lines, kind, data):
        assert self.status is None
        self.status, self.data = status, data

    def begin(self, status, lines, kind):
        self.respond(status, lines, kind, b"")

    def send(self, data):
        self.data += data

    def end(self):
        self.answering = None


@pytest.mark.parametrize("dialect", PATHS)
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_body_is_answered_or_refused(dialect, data):
    path = data.draw(st.sampled_from(PATHS[dialect]))
    sent = data.draw(body.map(lambda b: json.dumps(b).encode()) | st.binary())
    provider, conn = MockProvider(dialect, model="m"), Paper()
    loop = asyncio.new_event_loop()
    try:
        Desk(provider, loop, 0).handle(conn, Request("POST", path, KEYS, sent))
    finally:
        loop.close()
    assert conn.status in (200, 400, 404)
    assert provider.served + provider.refused == 1 or "count" in path.lower()
    if conn.status != 200:
        assert json.loads(conn.data)["error"]
    assert provider.in_flight == 0


@pytest.mark.parametrize("stop", [[True], [None, "a"], 5])
def test_stops_that_are_no_texts_are_refused_as_ollama_does(stop):
    told = {"messages": [{"role": "user", "content": "hi"}], "options": {"stop": stop}}
    provider, conn = MockProvider("ollama", model="m"), Paper()
    loop = asyncio.new_event_loop()
    try:
        sent = json.dumps({"model": "m", "stream": False, **told}).encode()
        Desk(provider, loop, 0).handle(conn, Request("POST", "/api/chat", KEYS, sent))
    finally:
        loop.close()
    assert conn.status == 400 and json.loads(conn.data)["error"]
