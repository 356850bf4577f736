"""Odd but legal: what servers say that their own documentation does not promise."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmbalance._errors import InvalidRequestError, LLMBalanceError, ProtocolError
from llmbalance._types import Call
from llmbalance.providers import Dialect, dialect

ASK = [{"role": "user", "content": "hi"}]
OPENAI: dict[str, Any] = {
    "id": "x",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "hi",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f"}}
                ],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHUNK: dict[str, Any] = {
    **OPENAI,
    "choices": [
        {
            "index": 0,
            "delta": {
                "content": "hi",
                "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}],
            },
            "finish_reason": "stop",
        }
    ],
}
ANTHROPIC: dict[str, Any] = {
    "id": "x",
    "type": "message",
    "model": "m",
    "content": [
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "i", "name": "f", "input": {"a": None}},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
GOOGLE: dict[str, Any] = {
    "candidates": [
        {
            "index": 0,
            "content": {
                "parts": [
                    {"text": "hi"},
                    {"functionCall": {"name": "f", "args": {"a": None}}},
                ]
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 3,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 0,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
    },
    "modelVersion": "m",
    "responseId": "r",
}
BEDROCK: dict[str, Any] = {
    "output": {
        "message": {
            "content": [
                {"text": "hi"},
                {"toolUse": {"toolUseId": "i", "name": "f", "input": {"a": None}}},
            ]
        }
    },
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 0},
}
OLLAMA: dict[str, Any] = {
    "model": "m",
    "message": {
        "role": "assistant",
        "content": "hi",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": None}}}],
    },
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 3,
    "eval_count": 2,
}
RESPONSES: dict[str, Any] = {
    "id": "r",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
ANSWERS = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "bedrock": BEDROCK,
    "ollama": OLLAMA,
    "responses": RESPONSES,
}
# Without these there is no answer: the content itself, how it ended, what a block is.
VITAL = {
    *("choices", "candidates", "output", "message", "content", "parts", "type"),
    *("stop_reason", "stopReason", "finishReason", "status", "done", "functionCall"),
    *("function", "name", "toolUse"),
}


def make(name: str, model: str = "m", **options: Any) -> Dialect:
    if name == "responses":
        name, options = "openai", {"api": "responses"}
    return dialect(name)(
        model=model,
        base_url="http://h",
        api_key="a-secret-key",
        options={"region": "us-east-1", "project": "p"} | options,
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in inside:
        yield (*path, name)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, name))


def with_at(value: Any, path: tuple[Any, ...], new: Any) -> bytes:
    whole = copy.deepcopy(value)
    at = whole
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = new
    return json.dumps(whole).encode()


@pytest.mark.parametrize("name", ANSWERS)
def test_null_is_read_like_a_field_that_is_not_there(name: str) -> None:
    target, told = make(name), ANSWERS[name]
    for path in places(told):
        if path[-1] in VITAL or isinstance(path[-1], int):
            continue
        reply = target.chat_reply(200, {}, with_at(told, path, None))
        assert reply.choices[0].finish_reason in ("stop", "tool_calls"), path
        if "content" not in path:
            assert reply.usage is None or reply.usage.total_tokens >= 0, path


@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock", "ollama"])
def test_null_is_a_value_in_a_tools_arguments(name: str) -> None:
    told = copy.deepcopy(ANSWERS[name])
    if name == "anthropic":
        told["id"] = None  # makes the whole answer be read twice
    elif name == "google":
        told["responseId"] = None
    elif name == "bedrock":
        told["usage"]["inputTokens"] = None
    else:
        told["model"] = None
    reply = make(name).chat_reply(200, {}, json.dumps(told).encode())
    assert json.loads(reply.tool_calls[0].function.arguments) == {"a": None}
    assert reply.text == "hi"


@pytest.mark.parametrize("name", ANSWERS)
def test_no_wrong_type_raises_anything_but_our_errors(name: str) -> None:
    target, told = make(name), ANSWERS[name]
    wrong = [[], {}, "s", 5, 1.5, True, [None], "2026-01-01T00:00:00Z", {"a": None}]
    for path in places(told):
        for value in [*wrong, -3, 10**30]:
            try:
                target.chat_reply(200, {}, with_at(told, path, value))
            except LLMBalanceError as error:
                assert str(error), (path, value)


def test_no_wrong_type_in_a_chunk_raises_anything_but_our_errors() -> None:
    for path in places(CHUNK):
        for value in (None, [], {}, "s", 5, 1.5, True, [None], {"a": None}, -3):
            try:
                make("openai").stream().feed("", with_at(CHUNK, path, value))
            except LLMBalanceError as error:
                assert str(error), (path, value)


def test_a_date_for_a_number_and_arguments_of_null_are_put_right() -> None:
    told = copy.deepcopy(OPENAI)
    told["created"] = "2026-01-01T00:00:00Z"
    call = told["choices"][0]["message"]["tool_calls"][0]
    call["function"]["arguments"] = None
    reply = make("openai").chat_reply(200, {}, json.dumps(told).encode())
    assert reply.created == 0 and reply.text == "hi"
    assert reply.tool_calls[0].function.arguments == ""


def test_a_shape_that_cannot_be_read_is_told_by_its_place() -> None:
    body = with_at(GOOGLE, ("candidates",), 5)
    with pytest.raises(ProtocolError, match=r"unexpected shape.*\$\.candidates"):
        make("google").chat_reply(200, {}, body)


def feed_all(target: Dialect, chunks: list[dict[str, Any]]) -> list[Any]:
    reader, found = target.stream(), []
    for chunk in chunks:
        for one in reader.feed("", json.dumps(chunk).encode()):
            found += one.choices[0].delta.tool_calls or []
    return found


def fragment(index: int, **told: Any) -> dict[str, Any]:
    call = {"index": index, **told}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}


def test_calls_that_all_have_the_same_number_are_told_apart() -> None:
    """As Gemini's copy of OpenAI's API streams them."""
    one = fragment(0, id="a", function={"name": "f", "arguments": "{}"})
    two = fragment(0, id="b", function={"name": "g", "arguments": "{}"})
    assert [c.index for c in feed_all(make("openai_compatible"), [one, two])] == [0, 1]


def test_interleaved_calls_and_ids_said_again_stay_one_call_each() -> None:
    chunks = [
        fragment(0, id="a", function={"name": "f", "arguments": ""}),
        fragment(1, id="b", function={"name": "g", "arguments": ""}),
        fragment(0, function={"arguments": '{"x"'}),
        fragment(1, id="b", function={"name": "g", "arguments": "{"}),
        fragment(0, id="other", function={"arguments": ":1}"}),  # a new id each time
        fragment(1, function={"arguments": "}"}),
    ]
    calls = feed_all(make("vllm"), chunks)
    assert [call.index for call in calls] == [0, 1, 0, 1, 0, 1]


def test_the_billed_tier_is_found_with_mistrals_usage() -> None:
    told = copy.deepcopy(OPENAI)
    told["usage"]["service_tier"] = "priority"
    body = json.dumps(told).encode()
    assert make("mistral").chat_reply(200, {}, body).service_tier == "priority"
    reader = make("mistral").stream()
    chunk = {**CHUNK, "usage": told["usage"]}
    reader.feed("", json.dumps(chunk).encode())
    assert reader.end().service_tier == "priority"


def test_groqs_hardware_counts_are_no_usage() -> None:
    reader = make("groq").stream()
    reader.feed("", json.dumps(CHUNK).encode())
    extra = {"choices": [], "x_groq": {"usage": {"dram_cached_tokens": 7}}}
    reader.feed("", json.dumps(extra).encode())
    usage = reader.end().usage
    assert usage is not None and usage.prompt_tokens == 3


def test_a_usage_that_counts_nothing_is_no_usage_and_costs_are_estimated() -> None:
    for told in ({}, {"prompt_tokens": None, "completion_tokens": None}):
        body = json.dumps({**OPENAI, "usage": told}).encode()
        assert make("openai").chat_reply(200, {}, body).usage is None
        reader = make("openai").stream()
        reader.feed("", json.dumps(CHUNK).encode())
        reader.feed("", json.dumps({"choices": [], "usage": told}).encode())
        usage = reader.end().usage
        assert usage is not None and usage.prompt_tokens == 3  # what came before


def test_a_prompt_that_is_not_counted_is_what_is_left_of_the_whole() -> None:
    told = {"completion_tokens": 2, "total_tokens": 7}
    body = json.dumps({**OPENAI, "usage": told}).encode()
    usage = make("openai").chat_reply(200, {}, body).usage
    assert usage is not None and usage.prompt_tokens == 5
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    body = json.dumps({**OPENAI, "usage": zero}).encode()
    usage = make("openai").chat_reply(200, {}, body).usage
    assert usage is not None and usage.total_tokens == 0  # that is said


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("MAX_TOKENS", "length"),
        ("STOP", "stop"),
        ("COMPLETE", "stop"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("TOOL_CALL", "tool_calls"),
        ("", "tool_calls"),
    ],
)
def test_reasons_that_a_gateway_passes_on_are_openais(said: str, meant: str) -> None:
    body = with_at(OPENAI, ("choices", 0, "finish_reason"), said)
    found = make("openai_compatible").chat_reply(200, {}, body).choices[0]
    assert found.finish_reason == meant
    if said:
        reader = make("openai_compatible").stream()
        reader.feed("", with_at(CHUNK, ("choices", 0, "finish_reason"), said))
        assert reader.end().choices[0].finish_reason == meant


# -- what is asked of a model, and what it takes ------------------------------------


def effort(name: str, model: str, asked: str, **options: Any) -> tuple[Any, list[str]]:
    call = Call(messages=ASK, params={"reasoning_effort": asked})
    request = make(name, model, **options).chat(call)
    body = json.loads(request.body)
    said = body.get("reasoning_effort") or body.get("think")
    said = said or (body.get("output_config") or {}).get("effort")
    more = body.get("additionalModelRequestFields") or {}
    said = said or (more.get("output_config") or {}).get("effort")
    thinking = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
    return said or thinking.get("thinkingLevel"), request.warnings


@pytest.mark.parametrize(
    ("name", "model", "asked", "sent"),
    [
        ("groq", "openai/gpt-oss-120b", "xhigh", "high"),
        ("groq", "openai/gpt-oss-120b", "none", "low"),
        ("groq", "qwen/qwen3-32b", "low", "default"),
        ("groq", "qwen/qwen3.8-27b", "minimal", "low"),
        ("groq", "llama-3.3-70b-versatile", "low", None),
        ("xai", "grok-4.3", "minimal", "low"),
        ("xai", "grok-4.5", "none", "low"),
        ("xai", "grok-3-mini", "medium", "high"),
        ("xai", "grok-4.20-reasoning", "low", None),
        ("xai", "grok-4-0709", "low", None),
        ("anthropic", "claude-opus-4-5", "max", "high"),
        ("anthropic", "claude-opus-5", "minimal", "low"),
        ("bedrock", "anthropic.claude-opus-4-5-v1:0", "max", "high"),
        ("google", "gemini-3-pro", "max", "HIGH"),
        ("ollama", "gpt-oss:20b", "minimal", "low"),
    ],
)
def test_another_amount_of_reasoning_than_asked_for_is_told(
    name: str, model: str, asked: str, sent: str | None
) -> None:
    got, warnings = effort(name, model, asked)
    assert got == sent
    assert len(warnings) == 1 and "reasoning_effort" in warnings[0]


@pytest.mark.parametrize(
    ("name", "model", "asked"),
    [
        ("groq", "openai/gpt-oss-120b", "low"),
        ("groq", "qwen/qwen3-32b", "none"),
        ("xai", "grok-4.3", "none"),
        ("xai", "grok-4.5", "medium"),
        ("xai", "grok-4.20-multi-agent-0309", "xhigh"),
        ("anthropic", "claude-opus-5", "max"),
        ("ollama", "gpt-oss:20b", "high"),
    ],
)
def test_an_amount_that_a_model_takes_goes_as_it_is(
    name: str, model: str, asked: str
) -> None:
    assert effort(name, model, asked) == (asked, [])


@pytest.mark.parametrize(
    ("name", "model", "params"),
    [
        ("mistral", "magistral-medium", {"reasoning_effort": "low"}),
        ("groq", "llama-3.3-70b-versatile", {"reasoning_effort": "low"}),
        (
            "anthropic",
            "claude-sonnet-4-5",
            {
                "reasoning_effort": "low",
                "thinking": {"type": "enabled", "budget_tokens": 2000},
            },
        ),
    ],
)
def test_what_is_left_out_is_refused_where_that_is_asked(
    name: str, model: str, params: dict[str, Any]
) -> None:
    call = Call(messages=ASK, params=params)
    (warning,) = make(name, model).chat(call).warnings
    assert warning.startswith("reasoning_effort left out")
    with pytest.raises(InvalidRequestError, match="reasoning_effort"):
        make(name, model, unsupported="refuse").chat(call)


@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock", "responses"])
@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_picture_is_not_lost_in_a_system_message(name: str, role: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    text = {"type": "text", "text": "look"}
    told = [{"role": role, "content": [text, picture]}, *ASK]
    with pytest.raises(InvalidRequestError, match=r"messages\[0\].content"):
        make(name).chat(Call(messages=told))
    told[0]["content"] = [text, "and read"]
    body = make(name).chat(Call(messages=told)).body
    assert b"look" in body and b"and read" in body


def test_a_picture_is_not_lost_in_what_an_assistant_said() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    told = [*ASK, {"role": "assistant", "content": [picture]}, *ASK]
    with pytest.raises(InvalidRequestError, match=r"messages\[1\].content"):
        make("anthropic").chat(Call(messages=told))


@pytest.mark.parametrize(
    "name", ["anthropic", "google", "bedrock", "ollama", "responses"]
)
def test_a_refusal_given_as_a_part_is_what_was_said(name: str) -> None:
    part = {"type": "refusal", "refusal": "I would rather not"}
    told = [*ASK, {"role": "assistant", "content": [part]}, *ASK]
    assert b"I would rather not" in make(name).chat(Call(messages=told)).body


WRONG_CALLS: list[Any] = ["x", [None], [{"id": "a"}], {"a": 1}, [{"function": "f"}]]


@pytest.mark.parametrize("name", [*ANSWERS, "mistral", "groq"])
@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_tool_calls_that_are_none_are_refused_by_place(name: str, wrong: Any) -> None:
    told = [*ASK, {"role": "assistant", "tool_calls": wrong}]
    with pytest.raises(InvalidRequestError, match=r"messages\[1\].tool_calls"):
        make(name).chat(Call(messages=told))


@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock", "ollama"])
@pytest.mark.parametrize("wrong", [5, [5], {"a": 1}])
def test_stops_that_are_none_are_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="stop = "):
        make(name).chat(Call(messages=ASK, params={"stop": wrong}))


@pytest.mark.parametrize("name", ANSWERS)
def test_what_json_cannot_say_is_refused(name: str) -> None:
    for value in (object(), "\ud800"):
        call = Call(messages=ASK, params={"extra_body": {"x": value}})
        with pytest.raises(InvalidRequestError, match="give what JSON can say"):
            make(name).chat(call)


# -- keys and who may see them ------------------------------------------------------


def test_anthropics_token_goes_as_bearer_whatever_it_looks_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "my-gateways-token")
    target = dialect("anthropic")(model="m", api_key="my-gateways-token")
    assert "Authorization: Bearer my-gateways-token" in target.headers()
    other = dialect("anthropic")(model="m", api_key="sk-ant-api-1")
    assert "x-api-key: sk-ant-api-1" in other.headers()


def test_a_functions_key_is_struck_out_of_messages() -> None:
    target = dialect("openai")(model="m", api_key=lambda: "moving-target-123")
    assert target.request_headers() == ["Authorization: Bearer moving-target-123"]
    body = json.dumps({"error": {"message": "bad key moving-target-123."}})
    assert "moving" not in target.failure(401, {}, body.encode()).message


@pytest.mark.parametrize("api", ["converse", "invoke"])
def test_aws_quotes_what_was_signed_and_nobody_sees_the_token(api: str) -> None:
    target = dialect("bedrock")(
        model="anthropic.claude-sonnet-4-5",
        base_url="http://h",
        options={
            "region": "us-east-1",
            "access_key": "an-access-key",
            "secret_key": "the-secret-part",
            "session_token": "the-session-token",
            "api": api,
        },
    )
    signed = target.sigv4()
    assert signed is not None
    assert signed[1] == "an-access-key:the-secret-part:the-session-token"
    quoted = "The Canonical String should have been x-amz-security-token:"
    told = {"message": f"{quoted}the-session-token"}
    body = json.dumps(told).encode()
    failure = target.failure(
        403, {"x-amzn-errortype": "InvalidSignatureException"}, body
    )
    assert failure.kind == "auth" and "the-session" not in failure.message
    assert "the-se" not in repr(target)
