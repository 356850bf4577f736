"""Our dialects and the mock providers over real sockets: they must agree.

The mock is judged by the vendors' own SDKs; so the two cannot agree on a mistake.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from exchanges import Told, lines, sse, told

from llmbalance import Backend, Price, Router
from llmbalance._types import Call, ChatReply, Failure, Request
from llmbalance.providers import Dialect, dialect
from llmbalance.testing import MockProvider

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ASK = [{"role": "user", "content": "How is the weather in Bern?"}]
TWO = {
    "text": "Let me see.",
    "tool_calls": [{"name": "weather", "arguments": {"city": "Bern"}}] * 2,
}
SPEAKERS = [
    *("openai", "anthropic", "google", "groq", "deepseek", "mistral", "openrouter"),
    *("xai", "vllm", "ollama", "openai_compatible", "responses"),
]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Line(NamedTuple):
    """A mock provider and our dialect at its other end."""

    provider: MockProvider
    dialect: Dialect

    def send(self, request: Request) -> Answer:
        client = http.client.HTTPConnection("127.0.0.1", self.provider.port, timeout=10)
        lines = [*self.dialect.headers(), *self.dialect.request_headers()]
        fields = dict(line.split(": ", 1) for line in [*lines, *request.headers])
        client.request(request.method, request.target, request.body or None, fields)
        answer = client.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        result = Answer(answer.status, found, answer.read())
        client.close()
        return result

    def ask(self, messages: Any = ASK, /, **params: Any) -> ChatReply:
        request = self.dialect.chat(Call(messages=messages, params=params))
        answer = self.send(request)
        assert answer.status == 200, answer.body
        return self.dialect.chat_reply(*answer)

    def listen(self, messages: Any = ASK, /, **params: Any) -> Told:
        call = Call(messages=messages, params=params, stream=True)
        request = self.dialect.chat(call)
        answer = self.send(request)
        assert answer.status == 200, answer.body
        cut = lines if request.stream == 2 else sse
        return told(self.dialect, cut(answer.body))

    def fail(self, **params: Any) -> Failure:
        answer = self.send(self.dialect.chat(Call(messages=ASK, params=params)))
        assert answer.status >= 400
        return self.dialect.failure(*answer)


def line_to(
    llm_provider: Any, name: str, key: str = "test-key", **settings: Any
) -> Line:
    vendor = "openai" if name == "responses" else name
    provider = llm_provider(vendor, model="gpt-4o", **settings)
    options = {"api": "responses"} if name == "responses" else {}
    target = dialect(vendor)(
        model="gpt-4o", base_url=provider.base_url, api_key=key, options=options
    )
    return Line(provider, target)


@pytest.fixture
def llm_provider() -> Iterator[Any]:
    """Start mock providers that stop with the test (the plugin may not be loaded)."""
    started: list[MockProvider] = []

    def make(*args: Any, **settings: Any) -> MockProvider:
        started.append(MockProvider(*args, **settings))
        return started[-1].__enter__()

    yield make
    for provider in started:
        provider.__exit__(None, None, None)


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_whole_answer_arrives(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, output_tokens=12)
    reply = line.ask(max_tokens=100)
    assert len(reply.text) == 48
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == line.provider.tokens_in
    assert reply.usage.completion_tokens == line.provider.tokens_out == 12


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_stream_arrives_and_says_the_same(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, reply="One two three four.")
    story = line.listen()
    assert story.text == line.ask().text == "One two three four."
    assert story.reason == "stop"
    assert story.last.usage is not None
    assert story.last.usage.total_tokens > 0


@pytest.mark.parametrize("name", SPEAKERS)
def test_tool_calls_arrive_whole_and_streamed(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, reply=TWO)
    reply = line.ask(tools=[TOOL])
    calls = [
        (call.function.name, json.loads(call.function.arguments))
        for call in reply.tool_calls
    ]
    assert calls == [("weather", {"city": "Bern"})] * 2
    assert len({call.id for call in reply.tool_calls}) == 2
    assert reply.choices[0].finish_reason == "tool_calls"
    story = line.listen(tools=[TOOL])
    assert story.calls == calls
    assert story.text == reply.text == "Let me see."
    assert story.reason == "tool_calls"


@pytest.mark.parametrize("name", SPEAKERS)
def test_tool_results_go_back(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, reply=TWO)
    asked = line.ask(tools=[TOOL])
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{at} degrees"}
        for at, call in enumerate(asked.tool_calls)
    ]
    line.provider.clear()
    line.ask([*ASK, asked.choices[0].message, *results], tools=[TOOL])
    assert line.provider.served == 1
    body = json.dumps(json.loads(line.provider.requests[-1].body))
    assert "0 degrees" in body and "1 degrees" in body


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_schema_is_answered_with_json(llm_provider: Any, name: str) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    asked = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": schema, "strict": True},
    }
    line = line_to(llm_provider, name)
    if name == "deepseek":
        asked = {"type": "json_object"}
        ask = [{"role": "user", "content": "Answer in json."}]
        assert isinstance(json.loads(line.ask(ask, response_format=asked).text), dict)
        return
    answer = json.loads(line.ask(response_format=asked).text)
    assert isinstance(answer["city"], str)


@pytest.mark.parametrize("name", SPEAKERS)
def test_the_wrong_key_is_an_auth_failure(llm_provider: Any, name: str) -> None:
    failure = line_to(llm_provider, name, key="wrong-key-of-mine").fail()
    assert failure.kind == "auth"
    assert "wrong-key-of-mine" not in failure.message


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_missing_model_is_missing(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name)
    line.dialect.model = "gpt-4o-nowhere"
    assert line.fail().kind == "model_missing"


@pytest.mark.parametrize("name", SPEAKERS)
def test_too_long_a_prompt_is_a_context_failure(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, context_window=30)
    request = line.dialect.chat(
        Call(messages=[{"role": "user", "content": "words " * 200}])
    )
    answer = line.send(request)
    if answer.status == 200:
        pytest.skip("this vendor cuts the prompt and answers")
    assert line.dialect.failure(*answer).kind == "context_length"


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_limit_is_told_with_its_wait(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, rpm=1)
    line.ask()
    failure = line.fail()
    assert failure.kind in ("rate_limit", "overloaded")
    assert failure.retry_after is None or 0 < failure.retry_after <= 61


@pytest.mark.parametrize(
    "name", ["openai", "anthropic", "groq", "mistral", "responses", "xai"]
)
def test_limits_are_read_as_the_mock_counts_them(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name, rpm=60, tpm=10_000)
    call = Call(messages=ASK, params={"max_tokens": 16})
    answer = line.send(line.dialect.chat(call))
    readings = {r.kind: r for r in line.dialect.limits(answer.headers, time.time())}
    assert readings["requests"].limit == 60
    assert readings["requests"].remaining == 59
    assert readings["requests"].window_seconds == 60
    assert readings["tokens"].limit == 10_000


@pytest.mark.parametrize("name", SPEAKERS)
@pytest.mark.parametrize("status", [500, 503])
def test_outages_are_the_providers_fault(
    llm_provider: Any, name: str, status: int
) -> None:
    line = line_to(llm_provider, name)
    line.provider.fail_next(1, status=status)
    assert line.fail().kind in ("server", "overloaded")


@pytest.mark.parametrize("name", ["openai", "google", "ollama", "vllm"])
def test_health_probes_are_answered_for_nothing(llm_provider: Any, name: str) -> None:
    line = line_to(llm_provider, name)
    request = line.dialect.health()
    assert request is not None
    assert line.send(request).status == 200
    assert line.provider.tokens_out == 0


def test_embeddings_arrive(llm_provider: Any) -> None:
    line = line_to(llm_provider, "openai")
    answer = line.send(line.dialect.embed(Call(kind="embed", input=["a", "b"])))
    reply = line.dialect.embed_reply(*answer)
    assert [item.index for item in reply.data] == [0, 1]
    assert reply.usage is not None and reply.usage.prompt_tokens > 0


async def test_a_picture_goes_past_a_backend_that_takes_none(llm_provider: Any) -> None:
    blind, seeing = llm_provider(dialect="deepseek"), llm_provider(dialect="ollama")
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    told = [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]
    fleet = [
        Backend(
            f"{name}/{mock.model}",
            base_url=mock.base_url,
            api_key="test-key",
            groups=["all"],
            price=price,
        )
        for name, mock, price in (
            ("deepseek", blind, Price(1, 1)),
            ("ollama", seeing, None),
        )
    ]
    async with Router(fleet, strategy="round_robin") as router:
        replies = [await router.chat("all", told) for _ in range(3)]
    assert {reply.backend.partition("/")[0] for reply in replies} == {"ollama"}
    assert blind.served == blind.refused == 0
