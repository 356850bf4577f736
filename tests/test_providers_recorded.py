"""Recorded exchanges of real providers, read straight from their bytes.

What each should give is taken from the native body itself by a few plain lines here,
not by the code under test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchanges import Exchange, exchange, told

from llmbalance._errors import LLMBalanceError, ProtocolError, ProviderError
from llmbalance._types import ChatReply, Usage
from llmbalance.providers import Dialect, dialect

NAMES = {
    "gemini": "google",
    "llamacpp": "vllm",
    "perplexity": "openai_compatible",
    "writer": "openai_compatible",
    "venice": "openai_compatible",
    "cohere": "openai_compatible",
}
# Not chat, or a shape that none of the dialects is for.
LEFT_OUT = {
    "075-bedrock-invoke-anthropic": "Claude 2's old completion shape",
    "074-bedrock-invoke-anthropic-stream": "Claude 2's old completion shape",
    "134-cohere-stream": "Cohere's own API",
    "143-writer-stream": "text completions",
    "164-vertex-token-details": "an answer of countTokens",
    "149-gemini-stream-empty-content": "cut by hand: see below",
    "095-gemini-429-retryinfo": "see below",
}
# Errors that came with status 200.
INSIDE = {
    "105-groq-stream-error": "malformed",
    "137-openrouter-stream-error": "server",
    "138-gemini-unexpected-tool-call": "malformed",
    "146-gemini-stream-error-mid": None,
    "155-gemini-unary-finish-message": "malformed",
}
KINDS = {
    "027": "auth",
    "028": "context_length",
    "029": "unsupported",
    "030": "bad_request",
    "031": "bad_request",
    "032": "bad_request",
    "034": "server",
    "047": "auth",
    "048": "rate_limit",
    "068": "context_length",
    "070": "bad_request",
    "077": "model_missing",
    "078": "auth",
    "079": "auth",
    "094": "model_missing",
    "099": "bad_request",
    "100": "bad_request",
    "102": "model_missing",
    "106": "malformed",
    "110": "auth",
    "113": "auth",
    "114": "context_length",
    "118": "rate_limit",
    "119": "context_length",
    "123": "auth",
    "127": "model_missing",
    "128": "auth",
    "132": "context_length",
    "136": "context_length",
    "156": "quota",
    "157": "region",
    "159": "permission",
    "167": "model_missing",
    "172": "context_length",
    "174": "incapable",
    "175": "incapable",
    "179": "bad_request",
    "180": "bad_request",
    "183": "auth",
    "195": "bad_request",
    "198": "model_missing",
}


def speaker(seen: Exchange) -> Dialect:
    options: dict[str, Any] = {"region": "r", "project": "p", "api_version": "2024-02"}
    name = NAMES.get(seen.provider, seen.provider)
    if seen.url.endswith("/responses"):
        name, options["api"] = "openai", "responses"
    return dialect(name)(model="m", base_url="http://h", api_key="k", options=options)


def all_of(recorded: Path) -> list[Exchange]:
    index = json.loads((recorded / "cassettes" / "index.json").read_text())
    return [exchange(recorded, e["id"]) for e in index if e["id"] not in LEFT_OUT]


def find(value: Any, key: str) -> list[Any]:
    """Every value of *key* anywhere in a JSON value, in order."""
    found: list[Any] = []
    if isinstance(value, dict):
        for k, v in value.items():
            if k == key and v is not None:
                found.append(v)
            found += find(v, key)
    elif isinstance(value, list):
        for v in value:
            found += find(v, key)
    return found


def natively(seen: Exchange) -> list[Any]:
    """The JSON values of an answer: one, or those of the stream's events."""
    if seen.kind == "json":
        value = json.loads(seen.body)
        return value if isinstance(value, list) else [value]
    return [
        json.loads(data) for _, data in seen.events() if data.lstrip().startswith(b"{")
    ]


def billed(seen: Exchange) -> tuple[int, int] | None:
    """Prompt and completion tokens as the provider's own words say them."""
    values = natively(seen)

    def last(*keys: str) -> int:
        found = [v for key in keys for v in find(values, key) if isinstance(v, int)]
        return found[-1] if found else 0

    if find(values, "usageMetadata"):
        usage = find(values, "usageMetadata")[-1]
        output = usage.get("candidatesTokenCount", 0)
        return usage.get("promptTokenCount", 0) + usage.get(
            "toolUsePromptTokenCount", 0
        ), output + usage.get("thoughtsTokenCount", 0)
    if find(values, "prompt_eval_count"):
        return last("prompt_eval_count"), last("eval_count")
    if find(values, "prompt_tokens"):
        return last("prompt_tokens"), last("completion_tokens")
    if find(values, "input_tokens"):
        usages = [u for u in find(values, "usage") if "output_tokens" in u]
        whole: dict[str, Any] = {}
        for usage in usages:
            whole |= {k: v for k, v in usage.items() if v is not None}
        prompt = whole.get("input_tokens", 0)
        prompt += whole.get("cache_read_input_tokens", 0)
        prompt += whole.get("cache_creation_input_tokens", 0)
        return prompt, whole.get("output_tokens", 0)
    return None


def check(seen: Exchange, usage: Usage | None) -> None:
    expected = billed(seen)
    assert (usage is not None) == (expected is not None), seen.name
    if usage is not None:
        assert (usage.prompt_tokens, usage.completion_tokens) == expected, seen.name
        assert min(usage.disjoint().values()) >= 0, seen.name


def test_every_recorded_error_falls_into_its_class(recorded: Path) -> None:
    seen = {one.name[:3]: one for one in all_of(recorded) if one.status >= 400}
    assert seen.keys() == KINDS.keys()
    for number, one in seen.items():
        failure = speaker(one).failure(one.status, one.headers, one.body)
        assert failure.kind == KINDS[number], (one.name, failure)
        assert failure.message


def test_every_recorded_answer_is_read_whole(recorded: Path) -> None:
    count = 0
    for one in all_of(recorded):
        if one.status >= 400 or one.kind != "json" or one.name in INSIDE:
            continue
        answer = speaker(one).chat_reply(one.status, one.headers, one.body)
        assert answer.choices[0].finish_reason, one.name
        check(one, answer.usage)
        check_text(one, answer)
        count += 1
    assert count >= 30


def check_text(seen: Exchange, answer: ChatReply) -> None:
    """Text and tool calls are those that stand in the native body."""
    values = natively(seen)
    message = answer.choices[0].message
    if message.content:
        texts = [
            v for k in ("text", "content") for v in find(values, k) if type(v) is str
        ]
        whole = "".join(texts)
        assert message.content in whole or message.content in texts, seen.name
    calls = [
        *(name for call in find(values, "functionCall") for name in [call["name"]]),
        *(f["name"] for f in find(values, "function") if isinstance(f, dict)),
        *(b["name"] for c in find(values, "content") if isinstance(c, list)
          for b in c if isinstance(b, dict) and b.get("type") == "tool_use"),
    ]  # fmt: skip
    assert [call.function.name for call in answer.tool_calls] == calls, seen.name
    for call in answer.tool_calls:
        assert isinstance(json.loads(call.function.arguments), dict), seen.name


def test_every_recorded_stream_is_told_to_its_end(recorded: Path) -> None:
    count = 0
    for one in all_of(recorded):
        if one.status >= 400 or one.kind in ("json", "other") or one.name in INSIDE:
            continue
        story = told(speaker(one), one.events())
        assert story.reason, one.name
        assert story.text == story.reader.text
        check(one, story.last.usage)
        for _, arguments in story.calls:
            assert isinstance(arguments, dict), one.name
        asked = (one.sent or {}).get("stream_options") or {}
        if asked.get("include_usage"):
            assert story.last.usage is not None, one.name
        count += 1
    assert count >= 25


@pytest.mark.parametrize("name", INSIDE)
def test_recorded_errors_inside_a_200_are_errors(recorded: Path, name: str) -> None:
    one = exchange(recorded, name)
    with pytest.raises(ProviderError) as caught:
        if one.kind == "json":
            speaker(one).chat_reply(200, one.headers, one.body)
        else:
            told(speaker(one), one.events())
    if INSIDE[name] is not None:
        assert caught.value.kind == INSIDE[name]


def test_every_recorded_stream_fails_when_it_is_cut(recorded: Path) -> None:
    for one in all_of(recorded):
        if one.status >= 400 or one.kind != "sse" or one.name in INSIDE:
            continue
        events = list(one.events())
        reader = speaker(one).stream()
        for event, data in events[: len(events) // 3]:
            reader.feed(event, data)
        if not reader.finished:
            with pytest.raises(ProtocolError):
                reader.end()


def test_every_recorded_answer_fails_when_it_is_cut(recorded: Path) -> None:
    for one in all_of(recorded):
        if one.status >= 400 or one.kind != "json" or one.name in INSIDE:
            continue
        for cut in range(0, len(one.body) - 1, max(1, len(one.body) // 40)):
            if not one.body[cut:].strip():
                continue
            with pytest.raises(LLMBalanceError):
                speaker(one).chat_reply(200, one.headers, one.body[:cut])


def test_a_recorded_minute_limit_of_google_is_no_spent_account(recorded: Path) -> None:
    one = exchange(recorded, "095")
    failure = speaker(one).failure(one.status, one.headers, one.body)
    assert (failure.kind, failure.retry_after) == ("rate_limit", 48.0)


def test_a_recorded_stream_without_a_finish_reason_counts_as_cut(
    recorded: Path,
) -> None:
    one = exchange(recorded, "149")
    with pytest.raises(ProtocolError):
        told(speaker(one), one.events())


def test_retry_after_on_a_recorded_200_is_not_throttling(recorded: Path) -> None:
    from llmbalance.providers._limits import retry_after

    one = exchange(recorded, "064")
    assert "retry-after" in one.headers
    assert retry_after(one.headers, one.status, 0.0) is None


def test_particular_recordings(recorded: Path) -> None:
    def answer(number: str) -> ChatReply:
        one = exchange(recorded, number)
        return speaker(one).chat_reply(one.status, one.headers, one.body)

    assert answer("012").choices[0].message.refusal
    assert len(answer("016").choices) == 2
    cached = answer("060").usage
    assert cached is not None and cached.cached_tokens > 0
    written = answer("040").usage
    assert written is not None and written.cache_write_tokens > 0
    assert answer("086").choices[0].message.reasoning_content
    assert answer("090").choices[0].finish_reason == "content_filter"
    assert answer("152").choices[0].finish_reason == "content_filter"
    routed = exchange(recorded, "117")
    story = told(speaker(routed), routed.events())
    assert story.last.usage is not None and story.last.usage.cost_usd
    thinking = answer("057").choices[0].message.thinking_blocks
    assert thinking and thinking[0]["signature"]
