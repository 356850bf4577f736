"""The vendors' own SDKs judge the mock: they must see what they see of the vendor."""

from __future__ import annotations

import json

import pytest

from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "How is the weather in Bern?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"tool_calls": [{"name": "weather", "arguments": {"city": "Bern"}}]}
TWO = {"text": "Let me see.", "tool_calls": WEATHER["tool_calls"] * 2}
REASON = "needs the vendor's SDK: pip install openai anthropic google-genai"

# google-genai warns about its own use of other libraries.
pytestmark = pytest.mark.filterwarnings("default")


def openai_client(provider, *, key="test-key", retries=0):
    openai = pytest.importorskip("openai", reason=REASON)
    return openai.OpenAI(base_url=provider.base_url, api_key=key, max_retries=retries)


def anthropic_client(provider, *, key="test-key", retries=0):
    anthropic = pytest.importorskip("anthropic", reason=REASON)
    return anthropic.Anthropic(
        base_url=provider.base_url, api_key=key, max_retries=retries
    )


def google_client(provider, *, key="test-key"):
    genai = pytest.importorskip("google.genai", reason=REASON)
    options = {"base_url": provider.base_url}
    return genai.Client(api_key=key, http_options=options)


OPENAI_LIKE = ["openai", "openai_compatible", "groq", "deepseek", "vllm", "ollama"]
OPENAI_LIKE += ["mistral", "openrouter", "xai"]


# --- openai ------------------------------------------------------------------


@pytest.mark.parametrize("dialect", OPENAI_LIKE)
def test_openai_sdk_reads_a_whole_answer(dialect):
    with (
        MockProvider(dialect, model="m", output_tokens=12) as provider,
        openai_client(provider) as client,
    ):
        reply = client.chat.completions.create(model="m", messages=ASK)
    assert len(reply.choices[0].message.content) == 48
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == 7 + 4 + 3
    assert reply.usage.completion_tokens == 12


@pytest.mark.parametrize("dialect", OPENAI_LIKE)
def test_openai_sdk_streams_the_same_text_and_usage(dialect):
    with (
        MockProvider(dialect, model="m", reply="Sunny, 24 °C.") as provider,
        openai_client(provider) as client,
    ):
        stream = client.chat.completions.create(
            model="m",
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert text == "Sunny, 24 °C."
    assert set(finishes) == {None, "stop"}
    assert finishes.count("stop") == (2 if dialect == "openrouter" else 1)
    usages = [c.usage for c in chunks if c.usage]
    assert usages[-1].completion_tokens == 4


def test_openai_sdk_reads_tool_calls_whole_and_streamed():
    tools = [{"type": "function", "function": {"name": "weather"}}]
    with (
        MockProvider("openai", model="m", reply=TWO) as provider,
        openai_client(provider) as client,
    ):
        options = {"model": "m", "messages": ASK, "tools": tools}
        whole = client.chat.completions.create(**options).choices[0]
        with client.chat.completions.stream(**options) as stream:
            streamed = stream.get_final_completion().choices[0]
    for choice in (whole, streamed):
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "Let me see."
        calls = choice.message.tool_calls
        assert [c.function.name for c in calls] == ["weather", "weather"]
        assert json.loads(calls[1].function.arguments) == {"city": "Bern"}
        assert calls[0].id != calls[1].id


def test_openai_sdk_reads_json_that_fits_the_schema():
    form = {"name": "place", "schema": SCHEMA, "strict": True}
    with (
        MockProvider("openai", model="m") as provider,
        openai_client(provider) as client,
    ):
        reply = client.chat.completions.create(
            model="m",
            messages=ASK,
            response_format={"type": "json_schema", "json_schema": form},
        )
    assert json.loads(reply.choices[0].message.content).keys() == {"city"}


def test_openai_sdk_lists_models_and_embeds():
    with (
        MockProvider("openai", model=["m", "e"]) as provider,
        openai_client(provider) as client,
    ):
        assert [m.id for m in client.models.list()] == ["m", "e"]
        assert client.models.retrieve("e").id == "e"
        packed = client.embeddings.create(model="e", input=["a", "b"])
        floats = client.embeddings.create(
            model="e", input="a", encoding_format="float", dimensions=8
        )
    assert len(packed.data) == 2
    assert packed.data[0].embedding != packed.data[1].embedding
    assert sum(x * x for x in packed.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert len(floats.data[0].embedding) == 8
    assert packed.usage.prompt_tokens == 1


def test_openai_sdk_raises_the_vendors_errors():
    openai = pytest.importorskip("openai", reason=REASON)
    with MockProvider("openai", model="m", rpm=1) as provider:
        with openai_client(provider, key="wrong") as client:
            with pytest.raises(openai.AuthenticationError) as auth:
                client.chat.completions.create(model="m", messages=ASK)
            assert auth.value.code == "invalid_api_key"
        with openai_client(provider) as client:
            create = client.chat.completions.create
            with pytest.raises(openai.NotFoundError) as missing:
                create(model="other", messages=ASK)
            assert missing.value.code == "model_not_found"
            with pytest.raises(openai.BadRequestError):
                create(model="m", messages=[])
            create(model="m", messages=ASK)
            with pytest.raises(openai.RateLimitError) as limited:
                create(model="m", messages=ASK)
            assert limited.value.code == "rate_limit_exceeded"
            assert 59 <= int(limited.value.response.headers["retry-after"]) <= 60
            assert limited.value.request_id.startswith("req_")
            provider.outage(status=503)
            with pytest.raises(openai.InternalServerError):
                create(model="m", messages=ASK)


def test_openai_sdk_waits_as_long_as_it_is_told_and_succeeds():
    with (
        MockProvider("openai", model="m", rpm=120, burst=0.5) as provider,
        openai_client(provider, retries=2) as client,
    ):
        for _ in range(3):
            client.chat.completions.create(model="m", messages=ASK)
    statuses = [seen.status for seen in provider.requests]
    assert statuses.count(200) == 3
    # One request per 500 ms: the SDK comes back when retry-after-ms is over.
    assert statuses.count(429) in (1, 2)
    assert provider.rejected == statuses.count(429)


def test_openai_sdk_sees_an_error_inside_a_stream():
    openai = pytest.importorskip("openai", reason=REASON)
    with (
        MockProvider("openai", model="m") as provider,
        openai_client(provider) as client,
    ):
        provider.stream_error(after_tokens=3)
        stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
        with pytest.raises(openai.APIError, match="had an error"):
            list(stream)


# --- anthropic ---------------------------------------------------------------


def test_anthropic_sdk_reads_a_whole_answer_and_its_limits():
    options = {"rpm": 50, "tpm": 30_000, "otpm": 8_000}
    with (
        MockProvider("anthropic", model="c", output_tokens=12, **options) as provider,
        anthropic_client(provider) as client,
    ):
        got = client.messages.with_raw_response.create(
            model="c", max_tokens=100, messages=ASK, system="Be kind."
        )
        reply = got.parse()
    assert len(reply.content[0].text) == 48
    assert reply.stop_reason == "end_turn"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (9 + 7, 12)
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "49"
    assert got.request_id.startswith("req_")


def test_anthropic_sdk_assembles_a_stream_with_thinking_and_tools():
    said = TWO | {"reasoning": "I should ask the weather tool."}
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    with (
        MockProvider("anthropic", model="c", reply=said) as provider,
        anthropic_client(provider) as client,
    ):
        options = {"model": "c", "max_tokens": 100, "messages": ASK, "tools": tools}
        whole = client.messages.create(**options)
        with client.messages.stream(**options) as stream:
            streamed = stream.get_final_message()
    for reply in (whole, streamed):
        kinds = [block.type for block in reply.content]
        assert kinds == ["thinking", "text", "tool_use", "tool_use"]
        assert reply.content[0].thinking == said["reasoning"]
        assert reply.content[0].signature
        assert reply.content[3].input == {"city": "Bern"}
        assert reply.stop_reason == "tool_use"
    assert whole.usage.output_tokens == streamed.usage.output_tokens


def test_anthropic_sdk_calls_a_tool_without_arguments():
    said = {"tool_calls": [{"name": "now"}]}
    with (
        MockProvider("anthropic", model="c", reply=said) as provider,
        anthropic_client(provider) as client,
        client.messages.stream(model="c", max_tokens=50, messages=ASK) as stream,
    ):
        assert stream.get_final_message().content[0].input == {}


def test_anthropic_sdk_counts_tokens_and_lists_models():
    with (
        MockProvider("anthropic", model="c") as provider,
        anthropic_client(provider) as client,
    ):
        assert client.messages.count_tokens(model="c", messages=ASK).input_tokens == 14
        assert [m.id for m in client.models.list()] == ["c"]


def test_anthropic_sdk_raises_the_vendors_errors():
    anthropic = pytest.importorskip("anthropic", reason=REASON)
    options = {"model": "c", "max_tokens": 9, "messages": ASK}
    with MockProvider("anthropic", model="c", rpm=1) as provider:
        with (
            anthropic_client(provider, key="wrong") as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            client.messages.create(**options)
        with anthropic_client(provider) as client:
            with pytest.raises(anthropic.NotFoundError):
                client.messages.create(**options | {"model": "other"})
            client.messages.create(**options)
            with pytest.raises(anthropic.RateLimitError) as limited:
                client.messages.create(**options)
            assert limited.value.response.headers["retry-after"] == "60"
            assert limited.value.type == "rate_limit_error"
            provider.fail_next(1, status=529)
            with pytest.raises(anthropic.InternalServerError) as overloaded:
                client.messages.create(**options)
            assert overloaded.value.type == "overloaded_error"


def test_anthropic_sdk_sees_an_error_inside_a_stream():
    anthropic = pytest.importorskip("anthropic", reason=REASON)
    with (
        MockProvider("anthropic", model="c") as provider,
        anthropic_client(provider) as client,
    ):
        provider.stream_error(after_tokens=3)
        with (
            client.messages.stream(model="c", max_tokens=9, messages=ASK) as stream,
            pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        ):
            stream.get_final_message()


# --- google-genai ------------------------------------------------------------


def test_google_sdk_reads_whole_and_streamed_answers():
    with (
        MockProvider("google", model="g", output_tokens=20) as provider,
        google_client(provider) as client,
    ):
        models = client.models
        whole = models.generate_content(model="g", contents="hello")
        chunks = list(models.generate_content_stream(model="g", contents="hello"))
    assert len(whole.text) == 80
    assert whole.candidates[0].finish_reason.name == "STOP"
    assert whole.usage_metadata.candidates_token_count == 20
    text = "".join(chunk.text or "" for chunk in chunks)
    assert len(text) == 80
    assert chunks[-1].usage_metadata.total_token_count == 3 + 20


def test_google_sdk_reads_function_calls_and_thoughts():
    types = pytest.importorskip("google.genai.types", reason=REASON)
    function = types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)
    off = types.AutomaticFunctionCallingConfig(disable=True)
    tools = [types.Tool(function_declarations=[function])]
    config = types.GenerateContentConfig(tools=tools, automatic_function_calling=off)
    said = WEATHER | {"reasoning": "Ask the tool."}
    with (
        MockProvider("google", model="g", reply=said) as provider,
        google_client(provider) as client,
    ):
        models = client.models
        whole = models.generate_content(model="g", contents="?", config=config)
        stream = models.generate_content_stream(model="g", contents="?", config=config)
        chunks = list(stream)
    assert whole.function_calls[0].args == {"city": "Bern"}
    assert whole.function_calls[0].id is None
    assert whole.usage_metadata.thoughts_token_count == 4
    assert chunks[-1].function_calls[0].name == "weather"
    assert chunks[-1].usage_metadata.thoughts_token_count == 4


def test_google_sdk_reads_json_embeddings_and_counts():
    config = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    with (
        MockProvider("google", model=["g", "e"]) as provider,
        google_client(provider) as client,
    ):
        models = client.models
        reply = models.generate_content(model="g", contents="?", config=config)
        vectors = models.embed_content(model="e", contents=["a", "b"]).embeddings
        counted = models.count_tokens(model="g", contents="hello")
        names = [m.name for m in models.list()]
    assert json.loads(reply.text).keys() == {"city"}
    assert len(vectors) == 2
    assert vectors[0].values != vectors[1].values
    assert counted.total_tokens == 3
    assert names == ["models/g", "models/e"]


def test_google_sdk_raises_the_vendors_errors():
    errors = pytest.importorskip("google.genai.errors", reason=REASON)
    with (
        MockProvider("google", model="g", rpm=1) as provider,
        google_client(provider, key="wrong") as stranger,
        google_client(provider) as client,
    ):
        models = client.models
        with pytest.raises(errors.ClientError) as auth:
            stranger.models.generate_content(model="g", contents="?")
        with pytest.raises(errors.ClientError) as missing:
            models.generate_content(model="other", contents="?")
        models.generate_content(model="g", contents="?")
        with pytest.raises(errors.ClientError) as limited:
            models.generate_content(model="g", contents="?")
        provider.outage(status=503)
        with pytest.raises(errors.ServerError) as down:
            models.generate_content(model="g", contents="?")
    assert (auth.value.code, auth.value.status) == (400, "INVALID_ARGUMENT")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    assert (limited.value.code, limited.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert "retryDelay" in str(limited.value.details)
    assert (down.value.code, down.value.status) == (503, "UNAVAILABLE")


def test_google_sdk_sees_an_error_inside_a_stream():
    errors = pytest.importorskip("google.genai.errors", reason=REASON)
    with (
        MockProvider("google", model="g") as provider,
        google_client(provider) as client,
    ):
        provider.stream_error(after_tokens=1)
        with pytest.raises(errors.APIError) as broken:
            list(client.models.generate_content_stream(model="g", contents="?"))
    assert broken.value.code == 503
