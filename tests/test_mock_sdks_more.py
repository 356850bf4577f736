"""More of the vendors' APIs, judged by their SDKs: Responses, and Ollama's own."""

from __future__ import annotations

import json

import pytest
from test_mock_sdks import ASK, REASON, SCHEMA, TWO, WEATHER, openai_client

from llmbalance.testing import MockProvider

pytestmark = pytest.mark.filterwarnings("default")


# --- openai, Responses API ---------------------------------------------------


def test_openai_sdk_reads_responses_whole_and_streamed():
    said = TWO | {"reasoning": "I should ask the weather tool."}
    tools = [{"type": "function", "name": "weather", "parameters": SCHEMA}]
    options = {"model": "m", "input": ASK, "tools": tools, "instructions": "Be kind."}
    with (
        MockProvider("openai", model="m", reply=said) as provider,
        openai_client(provider) as client,
    ):
        whole = client.responses.create(**options)
        with client.responses.stream(**options) as stream:
            deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
            streamed = stream.get_final_response()
    assert "".join(deltas) == "Let me see."
    for reply in (whole, streamed):
        kinds = [item.type for item in reply.output]
        assert kinds == ["reasoning", "message", "function_call", "function_call"]
        assert reply.output[0].summary[0].text == said["reasoning"]
        assert reply.output_text == "Let me see."
        assert json.loads(reply.output[3].arguments) == {"city": "Bern"}
        assert reply.status == "completed"
        assert reply.usage.input_tokens > 9
    assert whole.usage == streamed.usage


def test_openai_sdk_reads_an_incomplete_response():
    with (
        MockProvider("openai", model="m") as provider,
        openai_client(provider) as client,
    ):
        reply = client.responses.create(model="m", input="hi", max_output_tokens=16)
    assert reply.status == "incomplete"
    assert reply.incomplete_details.reason == "max_output_tokens"
    assert reply.usage.output_tokens == 16


def test_openai_sdk_sees_an_error_inside_a_response_stream():
    openai = pytest.importorskip("openai", reason=REASON)
    with (
        MockProvider("openai", model="m") as provider,
        openai_client(provider) as client,
    ):
        provider.stream_error(after_tokens=3)
        stream = client.responses.create(model="m", input="hi", stream=True)
        try:
            kinds = [event.type for event in stream]
        except openai.APIError as broken:
            kinds = ["error" if "had an error" in str(broken) else "other"]
    assert kinds[-1] == "error"


# --- ollama, its own API -----------------------------------------------------


def ollama_client(provider):
    ollama = pytest.importorskip("ollama", reason="needs pip install ollama")
    host = provider.base_url.removesuffix("/v1")
    return ollama.Client(host=host, headers={"Authorization": "Bearer test-key"})


def test_ollama_sdk_reads_whole_and_streamed_answers():
    said = WEATHER | {"text": "Let me see.", "reasoning": "Ask."}
    with MockProvider("ollama", model="m", reply=said, ttft=0.01) as provider:
        client = ollama_client(provider)
        whole = client.chat(model="m", messages=ASK)
        lines = list(client.chat(model="m", messages=ASK, stream=True))
        client._client.close()
    assert whole.message.content == "Let me see."
    assert whole.message.thinking == "Ask."
    assert whole.message.tool_calls[0].function.arguments == {"city": "Bern"}
    assert (whole.done, whole.done_reason) == (True, "stop")
    assert whole.total_duration >= 10_000_000
    assert "".join(line.message.content or "" for line in lines) == "Let me see."
    assert lines[-1].eval_count == whole.eval_count
    assert lines[-1].prompt_eval_count == 7 + 4 + 3


def test_ollama_sdk_raises_the_servers_errors():
    ollama = pytest.importorskip("ollama", reason="needs pip install ollama")
    with MockProvider("ollama", model="m") as provider:
        client = ollama_client(provider)
        with pytest.raises(ollama.ResponseError, match="model 'other' not found"):
            client.chat(model="other", messages=ASK)
        provider.stream_error(after_tokens=2)
        with pytest.raises(ollama.ResponseError, match="while running the model"):
            list(client.chat(model="m", messages=ASK, stream=True))
        provider.outage(status=503)
        with pytest.raises(ollama.ResponseError, match="server busy"):
            client.chat(model="m", messages=ASK)
        client._client.close()
