"""What comes back: one shape of answers and one sequence of chunks, whoever speaks."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import exchanges
import pytest
from exchanges import Events, told
from hypothesis import given
from hypothesis import strategies as st

from llmbalance._errors import (
    LLMBalanceError,
    OverloadedError,
    ProtocolError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from llmbalance._types import Call, ChatReply, Usage
from llmbalance.providers import Dialect, dialect

OPTIONS = {"region": "here", "project": "mine"}


def make(name: str, model: str = "m", **options: Any) -> Dialect:
    return dialect(name)(
        model=model, base_url="http://h", api_key="k", options={**OPTIONS, **options}
    )


CLAUDE = make("bedrock", "claude-opus-4-1", api="invoke")
RESPONSES = make("openai", api="responses")
DIALECTS: dict[str, Dialect] = {
    "openai": make("openai"),
    "anthropic": make("anthropic"),
    "google": make("google"),
    "bedrock": make("bedrock"),
    "bedrock-claude": CLAUDE,
    "ollama": make("ollama"),
    "responses": RESPONSES,
}


def encode(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def reply(name: str, value: Any, **headers: str) -> ChatReply:
    return DIALECTS[name].chat_reply(200, headers, encode(value))


# --- whole answers -------------------------------------------------------------------

ARGUMENTS = {"q": "a", "n": 1}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "sig"}

# The same answer, "Hello." and one tool call after some thought, in every dialect.
WHOLE: dict[str, Any] = {
    "openai": {
        "id": "c1",
        "object": "chat.completion",
        "created": 7,
        "model": "real",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "Hello.",
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {
                            "id": "t1",
                            "type": "function",
                            "function": {
                                "name": "look",
                                "arguments": json.dumps(ARGUMENTS),
                            },
                        }
                    ],
                },
            }
        ],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 9,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    },
    "anthropic": {
        "id": "c1",
        "type": "message",
        "role": "assistant",
        "model": "real",
        "content": [
            THINKING,
            {"type": "text", "text": "Hello."},
            {"type": "tool_use", "id": "t1", "name": "look", "input": ARGUMENTS},
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 12,
            "cache_read_input_tokens": 8,
            "output_tokens": 9,
            "output_tokens_details": {"thinking_tokens": 4},
        },
    },
    "google": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "Hello."},
                        {
                            "functionCall": {"name": "look", "args": ARGUMENTS},
                            "thoughtSignature": "sig",
                        },
                    ],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 20,
            "cachedContentTokenCount": 8,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 4,
            "totalTokenCount": 29,
        },
        "modelVersion": "real",
        "responseId": "c1",
    },
    "bedrock": {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {
                        "reasoningContent": {
                            "reasoningText": {"text": "hm", "signature": "sig"}
                        }
                    },
                    {"text": "Hello."},
                    {
                        "toolUse": {
                            "toolUseId": "t1",
                            "name": "look",
                            "input": ARGUMENTS,
                        }
                    },
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 12, "outputTokens": 9, "cacheReadInputTokens": 8},
    },
    "ollama": {
        "model": "real",
        "message": {
            "role": "assistant",
            "content": "Hello.",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "look", "arguments": ARGUMENTS}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 20,
        "eval_count": 9,
    },
    "responses": {
        "id": "c1",
        "created_at": 7.0,
        "model": "real",
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "sig",
            },
            {
                "type": "message",
                "content": [{"type": "output_text", "text": "Hello."}],
            },
            {
                "type": "function_call",
                "call_id": "t1",
                "name": "look",
                "arguments": json.dumps(ARGUMENTS),
            },
        ],
        "usage": {
            "input_tokens": 20,
            "output_tokens": 9,
            "total_tokens": 29,
            "input_tokens_details": {"cached_tokens": 8},
            "output_tokens_details": {"reasoning_tokens": 4},
        },
    },
}
WHOLE["bedrock-claude"] = WHOLE["anthropic"]
NOT_SAID = {
    "bedrock": {"reasoning_tokens"},
    "ollama": {"reasoning_tokens", "cached_tokens"},
}
COUNTS = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "cached_tokens": 8,
    "reasoning_tokens": 4,
}


def check_usage(name: str, usage: Usage | None) -> None:
    assert usage is not None
    for field, count in COUNTS.items():
        expected = 0 if field in NOT_SAID.get(name, ()) else count
        assert getattr(usage, field) == expected, field


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_answer_looks_the_same_from_everybody(name: str) -> None:
    answer = reply(name, WHOLE[name])
    (choice,) = answer.choices
    assert answer.text == "Hello."
    assert choice.finish_reason == "tool_calls"
    assert choice.message.reasoning_content == "hm"
    (call,) = answer.tool_calls
    assert call.id
    assert call.function.name == "look"
    assert json.loads(call.function.arguments) == ARGUMENTS
    assert answer.raw == WHOLE[name]
    assert answer.object == "chat.completion"
    assert answer.model
    check_usage(name, answer.usage)


@pytest.mark.parametrize("name", WHOLE)
def test_signatures_survive_into_the_next_request(name: str) -> None:
    if name in ("openai", "ollama"):
        return  # these sign nothing
    answer = reply(name, WHOLE[name])
    turn = {"role": "user", "content": "?"}
    tool = {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "1"}
    call = Call(messages=[turn, answer.choices[0].message, tool])
    assert '"sig"' in DIALECTS[name].chat(call).body.decode()


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_or_garbled_answer_is_a_protocol_error(name: str) -> None:
    body = encode(WHOLE[name])
    for broken in (body[:-1], body[: len(body) // 2], b"", b"[]", b"{}", b"\xff\xfe"):
        with pytest.raises(ProtocolError) as caught:
            DIALECTS[name].chat_reply(200, {}, broken)
        assert caught.value.offset is None or caught.value.offset <= len(broken)


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_no_damage_raises_anything_but_our_errors(name: str, data: Any) -> None:
    body = bytearray(encode(WHOLE[name]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(LLMBalanceError):
        DIALECTS[name].chat_reply(200, {}, bytes(body))


def test_an_error_inside_a_200_is_an_error() -> None:
    limited = {"error": {"message": "no", "code": 429, "type": "rate_limit_error"}}
    with pytest.raises(RateLimitError):
        reply("openai", limited)
    overloaded = {"type": "error", "error": {"type": "overloaded_error"}}
    with pytest.raises(OverloadedError):
        reply("anthropic", overloaded)
    with pytest.raises(ServerError):
        reply("google", {"error": {"code": 500, "status": "INTERNAL", "message": "x"}})
    with pytest.raises(ProviderError):
        reply("ollama", {"error": "it broke"})
    failed = {"status": "failed", "error": {"code": "server_error", "message": "x"}}
    with pytest.raises(ServerError):
        reply("responses", failed)


def openai_answer(message: Any, reason: str = "stop", **more: Any) -> ChatReply:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return reply("openai", {"id": "c", "choices": [choice], **more})


def test_almost_openai_is_put_right() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    answer = openai_answer({"content": None, "tool_calls": [call]}, "tool_calls")
    assert answer.tool_calls[0].function.arguments == '{"a":1}'
    assert answer.tool_calls[0].id == "call_0"
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "yes"},
    ]
    answer = openai_answer({"role": "assistant", "content": parts})
    assert answer.text == "yes"
    assert answer.choices[0].message.reasoning_content == "hm"
    numbers = {"id": 5, "created": 1.5, "model": None, "system_fingerprint": 3}
    choice = {"index": None, "message": {"content": "x"}, "finish_reason": None}
    odd = reply("openai", {**numbers, "choices": [choice]})
    assert (odd.id, odd.created, odd.text) == ("5", 1, "x")


def test_reasoning_has_one_name() -> None:
    answer = openai_answer({"role": "assistant", "content": "x", "reasoning": "hm"})
    assert answer.choices[0].message.reasoning_content == "hm"
    assert answer.choices[0].message.reasoning is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [("model_length", "length"), ("eos", "stop"), ("function_call", "tool_calls")],
)
def test_other_hosts_finish_reasons_are_openais(said: str, meant: str) -> None:
    assert openai_answer({"content": "x"}, said).choices[0].finish_reason == meant


@pytest.mark.parametrize("said", ["error", "insufficient_system_resource"])
def test_an_answer_that_ended_in_failure_is_no_answer(said: str) -> None:
    with pytest.raises(ServerError if said == "error" else OverloadedError):
        openai_answer({"content": "x"}, said)


def test_costs_and_caches_are_found_under_every_name() -> None:
    message = {"content": "x"}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    answer = openai_answer(message, usage={**usage, "prompt_cache_hit_tokens": 5})
    assert answer.usage is not None and answer.usage.cached_tokens == 5
    answer = openai_answer(message, usage={**usage, "cost": 0.25})
    assert answer.usage is not None and answer.usage.cost_usd == 0.25
    answer = openai_answer(message, usage={**usage, "cost_in_usd_ticks": 10**10})
    assert answer.usage is not None and answer.usage.cost_usd == 1.0
    answer = openai_answer(message, usage=None)
    assert answer.usage is None


def test_anthropic_counts_what_it_wrote_to_the_cache() -> None:
    value = json.loads(json.dumps(WHOLE["anthropic"]))
    value["usage"] |= {
        "cache_creation_input_tokens": 100,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 60,
            "ephemeral_1h_input_tokens": 40,
        },
        "service_tier": "priority",
    }
    answer = reply("anthropic", value)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 120
    assert answer.usage.cache_write_tokens == 100
    assert answer.usage.cache_write_1h_tokens == 40
    assert answer.service_tier == "priority"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
    ],
)
def test_anthropics_stop_reasons(said: str, meant: str) -> None:
    value = {**WHOLE["anthropic"], "content": [], "stop_reason": said}
    answer = reply("anthropic", value)
    assert answer.choices[0].finish_reason == meant
    assert answer.text == ""
    assert bool(answer.choices[0].message.refusal) == (said == "refusal")
    assert bool(answer.warnings) == (said == "pause_turn")


def test_the_forced_json_tool_reads_as_text() -> None:
    use = {"type": "tool_use", "id": "t", "name": "json_answer", "input": {"a": 1}}
    value = {**WHOLE["anthropic"], "content": [use]}
    answer = reply("anthropic", value)
    assert json.loads(answer.text) == {"a": 1}
    assert answer.choices[0].finish_reason == "stop"
    assert answer.tool_calls == []


def gemini(parts: Any, reason: Any = "STOP", **more: Any) -> ChatReply:
    candidate = {"content": {"parts": parts}, "finishReason": reason, **more}
    return reply("google", {"candidates": [candidate]})


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        (1, "stop"),
        (2, "length"),
    ],
)
def test_googles_finish_reasons(said: Any, meant: str) -> None:
    answer = gemini([{"text": "x"}], said)
    assert answer.choices[0].finish_reason == meant


@pytest.mark.parametrize("said", ["MALFORMED_FUNCTION_CALL", "OTHER", 99])
def test_googles_failures_go_elsewhere(said: Any) -> None:
    with pytest.raises(ServerError) as caught:
        gemini([], said, finishMessage="it broke")
    assert caught.value.kind == "malformed"
    assert "it broke" in str(caught.value)


def test_a_blocked_prompt_is_a_content_filter() -> None:
    answer = reply("google", {"promptFeedback": {"blockReason": "SAFETY"}})
    assert answer.choices[0].finish_reason == "content_filter"
    assert answer.choices[0].message.refusal == "SAFETY"


def test_googles_images_and_modalities() -> None:
    blob = {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}
    (image,) = gemini([blob]).choices[0].message.images or []
    assert image["image_url"]["url"] == "data:image/png;base64,QQ=="
    value = json.loads(json.dumps(WHOLE["google"]))
    value["usageMetadata"]["promptTokensDetails"] = [
        {"modality": "TEXT", "tokenCount": 5},
        {"modality": "AUDIO", "tokenCount": 15},
    ]
    answer = reply("google", value)
    assert answer.usage is not None and answer.usage.audio_input_tokens == 15


def test_a_call_without_arguments_has_an_empty_object() -> None:
    answer = gemini([{"functionCall": {"name": "now"}}])
    assert answer.tool_calls[0].function.arguments == "{}"
    assert answer.choices[0].finish_reason == "tool_calls"


def test_an_incomplete_response_is_too_long_or_filtered() -> None:
    for why, meant in (("max_output_tokens", "length"), ("content_filter",) * 2):
        value = {**WHOLE["responses"], "status": "incomplete"}
        value["incomplete_details"] = {"reason": why}
        assert reply("responses", value).choices[0].finish_reason == meant


def test_embeddings_come_in_order() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    value = {"object": "list", "data": data, "model": "e", "usage": usage}
    answer = make("openai").embed_reply(200, {}, encode(value))
    assert answer.vectors == [[1.0], [2.0]]
    assert answer.usage is not None and answer.usage.prompt_tokens == 3
    answer = make("google").embed_reply(200, {}, b'{"embeddings":[{"values":[1,2]}]}')
    assert answer.vectors == [[1.0, 2.0]]
    vertex = {"values": [1.0], "statistics": {"token_count": 4}}
    body = encode({"predictions": [{"embeddings": vertex}]})
    answer = make("vertex").embed_reply(200, {}, body)
    assert answer.usage is not None and answer.usage.prompt_tokens == 4
    body = encode({"embeddings": [[0.5]], "prompt_eval_count": 2})
    assert make("ollama").embed_reply(200, {}, body).vectors == [[0.5]]
    for name in ("openai", "google", "vertex", "ollama"):
        for broken in (b"", b"{}", b'{"data":'):
            with pytest.raises(ProtocolError):
                make(name).embed_reply(200, {}, broken)


# --- streams -------------------------------------------------------------------------


def chunk(delta: Any = None, reason: Any = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": reason}]
    return encode(
        {"id": "c1", "created": 7, "model": "real", "choices": choices} | more
    )


def tool(index: int | None, arguments: str, **more: Any) -> Any:
    call: dict[str, Any] = {"function": {"arguments": arguments, **more.pop("f", {})}}
    if index is not None:
        call["index"] = index
    return {"tool_calls": [{**call, **more}]}


def anthropic(kind: str, **more: Any) -> tuple[str, bytes]:
    return kind, encode({"type": kind, **more})


def framed(event: str, **more: Any) -> tuple[str, bytes]:
    return event, encode({"contentBlockIndex": 0, **more})


def responses(kind: str, **more: Any) -> tuple[str, bytes]:
    return kind, encode({"type": kind, **more})


ANTHROPIC: Events = [
    anthropic(
        "message_start",
        message={
            "id": "c1",
            "model": "real",
            "usage": {
                "input_tokens": 12,
                "cache_read_input_tokens": 8,
                "output_tokens": 1,
            },
        },
    ),
    anthropic("ping"),
    anthropic("content_block_start", index=0, content_block={"type": "thinking"}),
    anthropic(
        "content_block_delta",
        index=0,
        delta={"type": "thinking_delta", "thinking": "hm"},
    ),
    anthropic(
        "content_block_delta",
        index=0,
        delta={"type": "signature_delta", "signature": "sig"},
    ),
    anthropic("content_block_stop", index=0),
    anthropic(
        "content_block_start", index=1, content_block={"type": "text", "text": ""}
    ),
    *(
        anthropic(
            "content_block_delta", index=1, delta={"type": "text_delta", "text": t}
        )
        for t in ("Hel", "lo.")
    ),
    anthropic("content_block_stop", index=1),
    anthropic(
        "content_block_start",
        index=2,
        content_block={"type": "tool_use", "id": "t1", "name": "look", "input": {}},
    ),
    *(
        anthropic(
            "content_block_delta",
            index=2,
            delta={"type": "input_json_delta", "partial_json": p},
        )
        for p in ("", '{"q":"a"', ',"n":1}')
    ),
    anthropic("content_block_stop", index=2),
    anthropic(
        "message_delta",
        delta={"stop_reason": "tool_use"},
        usage={"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
    ),
    anthropic("message_stop"),
]


def in_frames(events: Events) -> Events:
    wrapped = []
    for _, data in events:
        payload = {"bytes": base64.b64encode(data).decode()}
        wrapped.append(("chunk", encode(payload)))
    return wrapped


# The answer of WHOLE, streamed.
STREAMS: dict[str, Events] = {
    "openai": [
        ("", chunk({"role": "assistant", "content": ""})),
        ("", chunk({"reasoning_content": "hm"})),
        ("", chunk({"content": "Hel"})),
        ("", chunk({"content": "lo."})),
        ("", chunk(tool(0, "", id="t1", type="function", f={"name": "look"}))),
        ("", chunk(tool(0, '{"q":"a"'))),
        ("", chunk(tool(0, ',"n":1}'))),
        ("", chunk({}, "tool_calls")),
        ("", chunk(choices=[], usage=WHOLE["openai"]["usage"])),
        ("", b"[DONE]"),
    ],
    "anthropic": ANTHROPIC,
    "bedrock-claude": in_frames(ANTHROPIC),
    "google": [
        (
            "",
            encode(
                {
                    "candidates": [{"content": {"parts": [part]}}],
                    "usageMetadata": {"promptTokenCount": 20},
                    "modelVersion": "real",
                    "responseId": "c1",
                }
            ),
        )
        for part in (
            {"text": "hm", "thought": True},
            {"text": "Hel"},
            {"text": "lo."},
            WHOLE["google"]["candidates"][0]["content"]["parts"][2],
        )
    ]
    + [
        (
            "",
            encode(
                {
                    "candidates": [{"finishReason": "STOP"}],
                    "usageMetadata": WHOLE["google"]["usageMetadata"],
                }
            ),
        )
    ],
    "bedrock": [
        ("messageStart", b'{"role":"assistant"}'),
        framed("contentBlockDelta", delta={"reasoningContent": {"text": "hm"}}),
        framed("contentBlockDelta", delta={"reasoningContent": {"signature": "sig"}}),
        framed("contentBlockDelta", delta={"text": "Hel"}),
        framed("contentBlockDelta", delta={"text": "lo."}),
        framed("contentBlockStop"),
        framed(
            "contentBlockStart", start={"toolUse": {"toolUseId": "t1", "name": "look"}}
        ),
        framed("contentBlockDelta", delta={"toolUse": {"input": '{"q":"a"'}}),
        framed("contentBlockDelta", delta={"toolUse": {"input": ',"n":1}'}}),
        framed("contentBlockStop"),
        ("messageStop", b'{"stopReason":"tool_use"}'),
        ("metadata", encode({"usage": WHOLE["bedrock"]["usage"]})),
    ],
    "ollama": [
        ("", encode({"model": "real", "message": m, "done": False}))
        for m in (
            {"content": "", "thinking": "hm"},
            {"content": "Hel"},
            {"content": "lo."},
            {"content": "", "tool_calls": WHOLE["ollama"]["message"]["tool_calls"]},
        )
    ]
    + [("", encode({**WHOLE["ollama"], "message": {"content": ""}}))],
    "responses": [
        responses("response.created", response={"id": "c1", "model": "real"}),
        responses("response.reasoning_summary_text.delta", delta="hm"),
        responses("response.output_item.done", item=WHOLE["responses"]["output"][0]),
        responses("response.output_text.delta", output_index=1, delta="Hel"),
        responses("response.output_text.delta", output_index=1, delta="lo."),
        responses(
            "response.output_item.added",
            output_index=2,
            item={"type": "function_call", "call_id": "t1", "name": "look"},
        ),
        *(
            responses("response.function_call_arguments.delta", output_index=2, delta=d)
            for d in ('{"q":"a"', ',"n":1}')
        ),
        responses("response.completed", response=WHOLE["responses"]),
    ],
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_stream_looks_the_same_from_everybody(name: str) -> None:
    story = told(DIALECTS[name], STREAMS[name])
    assert story.text == story.reader.text == "Hello."
    assert story.reason == "tool_calls"
    assert story.calls == [("look", ARGUMENTS)]
    thoughts = [c.choices[0].delta.reasoning_content for c in story.chunks]
    assert "".join(t for t in thoughts if t) == "hm"
    roles = [c.choices[0].delta.role for c in story.chunks]
    assert roles == ["assistant"] + [None] * (len(roles) - 1)
    assert story.last.model
    check_usage(name, story.last.usage)


@pytest.mark.parametrize("name", STREAMS)
def test_the_marks_of_a_request_find_the_first_content(name: str) -> None:
    call = Call(messages=[{"role": "user", "content": "x"}], stream=True)
    marks = DIALECTS[name].chat(call).marks
    reader = DIALECTS[name].stream()
    for event, data in STREAMS[name]:
        marked = any(mark in data for mark in marks)
        if reader.feed(event, data):
            assert marked, data
            break


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_before_its_finish_is_a_failure(name: str) -> None:
    events = STREAMS[name]
    finished = 0
    for cut in range(len(events)):
        reader = DIALECTS[name].stream()
        for event, data in events[:cut]:
            reader.feed(event, data)
        if reader.finished:
            finished += 1
            assert reader.end().choices[0].finish_reason == "tool_calls"
        else:
            with pytest.raises(ProtocolError):
                reader.end()
            assert "Hello.".startswith(reader.text)
    assert finished <= 2


@pytest.mark.parametrize("name", STREAMS)
def test_garbage_in_a_stream_is_a_protocol_error(name: str) -> None:
    for garbage in (b"{", b"<html>", b"[1,", b"\xff"):
        event = STREAMS[name][1][0]
        with pytest.raises(ProtocolError):
            DIALECTS[name].stream().feed(event, garbage)


@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_no_damaged_stream_raises_anything_but_our_errors(name: str, data: Any) -> None:
    events = [*STREAMS[name]]
    at = data.draw(st.integers(0, len(events) - 1))
    body = bytearray(events[at][1])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    events[at] = (events[at][0], bytes(body))
    reader = DIALECTS[name].stream()
    with contextlib.suppress(LLMBalanceError):
        for event, piece in events:
            reader.feed(event, piece)
        reader.end()


BROKEN: list[tuple[str, tuple[str, bytes], type[ProviderError]]] = [
    ("openai", ("", b'{"error":{"message":"x","code":"server_error"}}'), ServerError),
    ("openai", ("error", b'{"error":{"message":"x"}}'), ServerError),
    ("openai", ("", chunk({}, "error")), ServerError),
    (
        "anthropic",
        anthropic("error", error={"type": "overloaded_error"}),
        OverloadedError,
    ),
    ("google", ("", b'{"error":{"code":503,"status":"UNAVAILABLE"}}'), OverloadedError),
    ("bedrock", ("exception:throttlingException", b'{"message":"x"}'), RateLimitError),
    ("bedrock", ("error:500", b'{"message":"x"}'), ServerError),
    ("bedrock-claude", ("exception:modelStreamErrorException", b"{}"), ServerError),
    ("ollama", ("", b'{"error":"it broke"}'), ProviderError),
    ("responses", responses("error", code="server_error", message="x"), ServerError),
    (
        "responses",
        responses(
            "response.failed",
            response={"error": {"code": "rate_limit_exceeded", "message": "x"}},
        ),
        RateLimitError,
    ),
]


@pytest.mark.parametrize(("name", "event", "error"), BROKEN)
def test_an_error_inside_a_stream_is_an_error(
    name: str, event: tuple[str, bytes], error: type[ProviderError]
) -> None:
    reader = DIALECTS[name].stream()
    for one in STREAMS[name][:4]:
        reader.feed(*one)
    with pytest.raises(error):
        reader.feed(*event)


def test_a_finish_said_twice_counts_once() -> None:
    events = [chunk({"content": "x"}), chunk({}, "stop"), chunk({}, "length")]
    story = told(DIALECTS["openai"], [("", data) for data in events])
    assert story.reason == "stop"


def test_an_answer_may_have_no_content_at_all() -> None:
    start, end = ANTHROPIC[0], ANTHROPIC[-1]
    delta = anthropic("message_delta", delta={"stop_reason": "end_turn"})
    story = told(DIALECTS["anthropic"], [start, delta, end])
    assert (story.chunks, story.reason, story.reader.done) == ([], "stop", True)


def test_a_streamed_call_without_arguments_gets_an_empty_object() -> None:
    events = [e for e in ANTHROPIC if b"input_json_delta" not in e[1]]
    assert told(DIALECTS["anthropic"], events).calls == [("look", {})]
    events = [e for e in STREAMS["bedrock"] if b'"input"' not in e[1]]
    assert told(DIALECTS["bedrock"], events).calls == [("look", {})]


def test_tool_calls_without_an_index_are_numbered() -> None:
    events = [
        chunk(tool(None, "{}", id="a", f={"name": "f"})),
        chunk(tool(None, "", id="b", f={"name": "g"})),
        chunk(tool(None, '{"x":1}')),
        chunk({}, "tool_calls"),
    ]
    story = told(DIALECTS["openai"], [("", data) for data in events])
    assert story.calls == [("f", {}), ("g", {"x": 1})]


def test_usage_is_found_wherever_a_host_puts_it() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    first, finish = chunk({"content": "x"}), chunk({}, "stop", usage=usage)
    everywhere = [chunk({"content": "x"}, usage=usage), chunk({}, "stop")]
    groq = [first, chunk({}, "stop", x_groq={"id": "r", "usage": usage})]
    for events in ([first, finish], everywhere, groq):
        story = told(DIALECTS["openai"], [("", data) for data in events])
        assert story.last.usage is not None
        assert story.last.usage.total_tokens == 7


def test_several_answers_at_once_finish_each() -> None:
    def piece(index: int, text: str | None, reason: str | None = None) -> bytes:
        delta = {"content": text} if text else {}
        choice = {"index": index, "delta": delta, "finish_reason": reason}
        return encode({"choices": [choice]})

    events = [piece(0, "a"), piece(1, "b"), piece(1, None, "stop"), piece(0, "c")]
    events.append(piece(0, None, "length"))
    story = told(DIALECTS["openai"], [("", data) for data in events])
    assert story.text == "ac"
    assert [c.finish_reason for c in story.last.choices] == ["length", "stop"]


def test_a_streamed_refusal_and_a_filter_are_told() -> None:
    delta = {"stop_reason": "refusal", "stop_details": {"explanation": "no"}}
    events = [ANTHROPIC[0], anthropic("message_delta", delta=delta)]
    story = told(DIALECTS["anthropic"], events)
    assert story.reason == "content_filter"
    assert story.chunks[-1].choices[0].delta.refusal == "no"
    blocked = encode({"promptFeedback": {"blockReason": "SAFETY"}})
    assert told(DIALECTS["google"], [("", blocked)]).reason == "content_filter"


def test_our_own_splitter_is_right_about_line_ends() -> None:
    body = b"event: a\r\ndata: 1\r\n\r\n: note\r\n\r\ndata:2\ndata: 3\n\ndata: 4"
    assert list(exchanges.sse(body)) == [("a", b"1"), ("", b"2\n3"), ("", b"4")]
    payload = exchanges.frame("metadata", b"{}") + exchanges.frame(
        "throttlingException", b"[]", "exception"
    )
    assert list(exchanges.frames(payload)) == [
        ("metadata", b"{}"),
        ("exception:throttlingException", b"[]"),
    ]
