"""OpenAI -> native -> OpenAI keeps the meaning of generated conversations.

Requests are read back by small readers of this file, written from the vendors'
documentation; answers go through the dialects themselves.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbalance._errors import InvalidRequestError
from llmbalance._types import Call
from llmbalance.providers import dialect

texts = st.text(min_size=1, max_size=30).filter(str.strip)
names = st.sampled_from(["look", "find_it", "sum"])
arguments = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.integers(-99, 99) | texts | st.lists(st.integers(0, 5), max_size=3),
    max_size=3,
)
pixels = st.sampled_from(["iVBORw0KGgo=", "QUJD"])


@st.composite
def conversations(draw: Any) -> list[dict[str, Any]]:
    """A conversation with tools and images; every call is answered, in order."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(texts)})
    count = 0
    for _ in range(draw(st.integers(1, 4))):
        content: Any = draw(texts)
        if draw(st.booleans()):
            url = f"data:image/png;base64,{draw(pixels)}"
            image = {"type": "image_url", "image_url": {"url": url}}
            content = [{"type": "text", "text": content}, image]
        messages.append({"role": "user", "content": content})
        calls = []
        for _ in range(draw(st.integers(0, 2))):
            count += 1
            function = {
                "name": draw(names),
                "arguments": json.dumps(draw(arguments)),
            }
            calls.append({"id": f"c{count}", "type": "function", "function": function})
        text = draw(texts)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = calls
        messages.append(message)
        for call in calls:
            result = {"role": "tool", "tool_call_id": call["id"]}
            messages.append({**result, "content": draw(texts)})
    messages.append({"role": "user", "content": draw(texts)})
    return messages


def meaning(messages: list[dict[str, Any]]) -> list[Any]:
    """What was said, in order, without the frames around it."""
    said: list[Any] = []
    called: dict[str, str] = {}
    for message in messages:
        content = message["content"]
        role = message["role"]
        if role == "tool":
            said.append(("result", called[message["tool_call_id"]], content))
            continue
        if isinstance(content, str):
            said.append((role, content))
        else:
            said.append((role, content[0]["text"]))
            said.append((role, "image", content[1]["image_url"]["url"]))
        for call in message.get("tool_calls", ()):
            function = call["function"]
            called[call["id"]] = function["name"]
            given = json.loads(function["arguments"])
            said.append(("call", function["name"], given))
    return said


def anthropic_meaning(body: dict[str, Any]) -> list[Any]:
    said: list[Any] = []
    called: dict[str, str] = {}
    if "system" in body:
        said.append(("system", body["system"]))
    for turn in body["messages"]:
        blocks = turn["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        for block in blocks:
            if block["type"] == "text":
                said.append((turn["role"], block["text"]))
            elif block["type"] == "image":
                source = block["source"]
                url = f"data:{source['media_type']};base64,{source['data']}"
                said.append((turn["role"], "image", url))
            elif block["type"] == "tool_use":
                called[block["id"]] = block["name"]
                said.append(("call", block["name"], block["input"]))
            else:
                name = called[block["tool_use_id"]]
                said.append(("result", name, block["content"]))
    return said


def google_meaning(body: dict[str, Any]) -> list[Any]:
    said: list[Any] = []
    if "systemInstruction" in body:
        parts = body["systemInstruction"]["parts"]
        said.append(("system", "".join(part["text"] for part in parts)))
    for content in body["contents"]:
        role = {"model": "assistant"}.get(content["role"], content["role"])
        for part in content["parts"]:
            if "text" in part:
                said.append((role, part["text"]))
            elif "inlineData" in part:
                blob = part["inlineData"]
                url = f"data:{blob['mimeType']};base64,{blob['data']}"
                said.append((role, "image", url))
            elif "functionCall" in part:
                call = part["functionCall"]
                said.append(("call", call["name"], call["args"]))
            else:
                answer = part["functionResponse"]
                said.append(("result", answer["name"], answer["response"]["output"]))
    return said


def bedrock_meaning(body: dict[str, Any]) -> list[Any]:
    said: list[Any] = [("system", block["text"]) for block in body.get("system", ())]
    called: dict[str, str] = {}
    for turn in body["messages"]:
        for block in turn["content"]:
            if "text" in block:
                said.append((turn["role"], block["text"]))
            elif "image" in block:
                image = block["image"]
                url = f"data:image/{image['format']};base64,{image['source']['bytes']}"
                said.append((turn["role"], "image", url))
            elif "toolUse" in block:
                use = block["toolUse"]
                called[use["toolUseId"]] = use["name"]
                said.append(("call", use["name"], use["input"]))
            else:
                result = block["toolResult"]
                text = result["content"][0]["text"]
                said.append(("result", called[result["toolUseId"]], text))
    return said


def sent(name: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    target = dialect(name)(model="m", api_key="k", options={"region": "r"})
    body: dict[str, Any] = json.loads(target.chat(Call(messages=messages)).body)
    return body


def as_google_sees(said: list[Any]) -> list[Any]:
    """Results that are JSON objects or lists go to Google as such."""
    seen = []
    for one in said:
        if one[0] == "result" and one[2][:1] in ("{", "["):
            with contextlib.suppress(ValueError):
                one = (*one[:2], json.loads(one[2]))
        seen.append(one)
    return seen


@settings(max_examples=60)
@given(conversations())
def test_anthropic_keeps_what_was_said(messages: list[dict[str, Any]]) -> None:
    assert anthropic_meaning(sent("anthropic", messages)) == meaning(messages)


@settings(max_examples=60)
@given(conversations())
def test_google_keeps_what_was_said(messages: list[dict[str, Any]]) -> None:
    said = as_google_sees(meaning(messages))
    assert google_meaning(sent("google", messages)) == said


@settings(max_examples=60)
@given(conversations())
def test_bedrock_keeps_what_was_said(messages: list[dict[str, Any]]) -> None:
    assert bedrock_meaning(sent("bedrock", messages)) == meaning(messages)


@settings(max_examples=60)
@given(conversations())
def test_openai_and_its_copies_keep_what_was_said(
    messages: list[dict[str, Any]],
) -> None:
    for name in ("openai", "groq", "mistral", "openrouter"):
        assert meaning(sent(name, messages)["messages"]) == meaning(messages)
    if any(isinstance(message["content"], list) for message in messages):
        with pytest.raises(InvalidRequestError):
            sent("deepseek", messages)  # which takes no images
    else:
        assert meaning(sent("deepseek", messages)["messages"]) == meaning(messages)


@settings(max_examples=60)
@given(texts, st.lists(st.tuples(names, arguments), max_size=3))
def test_answers_of_all_mean_the_same(text: str, calls: list[Any]) -> None:
    told = []
    for name, body in native_answers(text, calls).items():
        target = dialect(name)(model="m", api_key="k", options={"region": "r"})
        reply = target.chat_reply(200, {}, json.dumps(body).encode())
        found = [
            (call.function.name, json.loads(call.function.arguments))
            for call in reply.tool_calls
        ]
        told.append((reply.text, found, reply.choices[0].finish_reason))
    assert told == [(text, calls, "tool_calls" if calls else "stop")] * len(told)


def native_answers(text: str, calls: list[Any]) -> dict[str, dict[str, Any]]:
    """The same answer as four vendors write it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"c{at}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(passed)},
            }
            for at, (name, passed) in enumerate(calls)
        ]
    blocks: list[Any] = [{"type": "text", "text": text}]
    parts: list[Any] = [{"text": text}]
    converse: list[Any] = [{"text": text}]
    for at, (name, passed) in enumerate(calls):
        blocks.append(
            {"type": "tool_use", "id": f"c{at}", "name": name, "input": passed}
        )
        parts.append({"functionCall": {"name": name, "args": passed}})
        use = {"toolUseId": f"c{at}", "name": name, "input": passed}
        converse.append({"toolUse": use})
    reason = "tool_calls" if calls else "stop"
    return {
        "openai": {
            "choices": [{"index": 0, "message": message, "finish_reason": reason}]
        },
        "anthropic": {
            "content": blocks,
            "stop_reason": "tool_use" if calls else "end_turn",
        },
        "google": {
            "candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]
        },
        "bedrock": {
            "output": {"message": {"role": "assistant", "content": converse}},
            "stopReason": "tool_use" if calls else "end_turn",
        },
    }
