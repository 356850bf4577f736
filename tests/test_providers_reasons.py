"""How an answer ended: four words, whatever the provider says.

A word that nobody knows is "stop" or "tool_calls" when there is an answer, told in the
warnings; without an answer it is a failure that another backend may not have.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from exchanges import told
from hypothesis import given
from hypothesis import strategies as st

from llmbalance import ServerError
from llmbalance.providers import Dialect, dialect

OPTIONS = {"region": "here", "project": "mine"}
FOUR = {"stop", "length", "tool_calls", "content_filter"}


def make(name: str, model: str = "m", **options: Any) -> Dialect:
    return dialect(name)(
        model=model, base_url="http://h", api_key="k", options={**OPTIONS, **options}
    )


def openai(text: str, called: bool, said: str, streamed: bool) -> Any:
    call = {"id": "t", "index": 0, "function": {"name": "f", "arguments": "{}"}}
    message = {"content": text or None, **({"tool_calls": [call]} if called else {})}
    kind = "delta" if streamed else "message"
    return {"id": "c", "choices": [{"index": 0, kind: message, "finish_reason": said}]}


def anthropic(text: str, called: bool, said: str) -> Any:
    blocks: list[Any] = [{"type": "text", "text": text}] if text else []
    if called:
        blocks.append({"type": "tool_use", "id": "t", "name": "f", "input": {}})
    return {"id": "c", "content": blocks, "stop_reason": said}


def anthropic_events(text: str, called: bool, said: str) -> list[tuple[str, Any]]:
    start = {"type": "content_block_start", "index": 0}
    events: list[Any] = []
    if text:
        events = [start | {"content_block": {"type": "text", "text": text}}]
    if called:
        tool = {"type": "tool_use", "id": "t", "name": "f"}
        events.append(start | {"index": 1, "content_block": tool})
    events.append({"type": "message_delta", "delta": {"stop_reason": said}})
    return [(event["type"], event) for event in events]


def google(text: str, called: bool, said: str) -> Any:
    parts: list[Any] = [{"text": text}] if text else []
    if called:
        parts.append({"functionCall": {"name": "f", "args": {}}})
    return {"candidates": [{"content": {"parts": parts}, "finishReason": said}]}


def bedrock(text: str, called: bool, said: str) -> Any:
    content: list[Any] = [{"text": text}] if text else []
    if called:
        content.append({"toolUse": {"toolUseId": "t", "name": "f", "input": {}}})
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": said}


def bedrock_events(text: str, called: bool, said: str) -> list[tuple[str, Any]]:
    events: list[tuple[str, Any]] = []
    if text:
        delta = {"contentBlockIndex": 0, "delta": {"text": text}}
        events = [("contentBlockDelta", delta)]
    if called:
        use = {"toolUse": {"toolUseId": "t", "name": "f"}}
        events.append(("contentBlockStart", {"contentBlockIndex": 1, "start": use}))
    return [*events, ("messageStop", {"stopReason": said})]


def ollama(text: str, called: bool, said: str) -> Any:
    calls = [{"function": {"name": "f", "arguments": {}}}] if called else []
    message = {"content": text, **({"tool_calls": calls} if called else {})}
    return {"message": message, "done": True, "done_reason": said}


def in_frames(events: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [
        ("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
        for _, event in events
    ]


Whole = Callable[[str, bool, str], Any]
Events = Callable[[str, bool, str], list[tuple[str, Any]]]
SPOKEN: dict[str, tuple[Dialect, Whole, Events]] = {
    "openai": (
        make("openai"),
        lambda *how: openai(*how, False),
        lambda *how: [("", openai(*how, True))],
    ),
    "anthropic": (make("anthropic"), anthropic, anthropic_events),
    "google": (make("google"), google, lambda *how: [("", google(*how))]),
    "bedrock": (make("bedrock"), bedrock, bedrock_events),
    "bedrock-claude": (
        make("bedrock", "claude-opus-4-1", api="invoke"),
        anthropic,
        lambda *how: in_frames(anthropic_events(*how)),
    ),
    "ollama": (make("ollama"), ollama, lambda *how: [("", ollama(*how))]),
}


def ending(
    name: str, text: str, called: bool, said: str, streamed: bool
) -> tuple[str | None, list[str]]:
    """Finish reason and warnings of an answer that ended with ``said``."""
    speaker, whole, events = SPOKEN[name]
    if not streamed:
        body = json.dumps(whole(text, called, said)).encode()
        answer = speaker.chat_reply(200, {}, body)
        return answer.choices[0].finish_reason, answer.warnings
    spoken = [(kind, json.dumps(e).encode()) for kind, e in events(text, called, said)]
    last = told(speaker, spoken).last
    return last.choices[0].finish_reason, last.warnings


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", SPOKEN)
def test_an_unknown_end_of_an_answer_is_told(name: str, streamed: bool) -> None:
    reason, warnings = ending(name, "Hello.", False, "moon_rose", streamed)
    assert reason == "stop"
    assert warnings == ["the answer ended with 'moon_rose', which is read as 'stop'"]
    reason, warnings = ending(name, "", True, "moon_rose", streamed)
    assert reason == "tool_calls"
    assert "read as 'tool_calls'" in warnings[0]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", SPOKEN)
def test_an_unknown_end_of_nothing_is_a_failure(name: str, streamed: bool) -> None:
    with pytest.raises(ServerError, match="ended with moon_rose") as caught:
        ending(name, "", False, "moon_rose", streamed)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("google", "MALFORMED_FUNCTION_CALL"),
        ("google", "OTHER"),
        ("google", "7"),  # another failure in each of Google's APIs
        ("bedrock", "malformed_tool_use"),
        ("openai", "error"),
        ("openai", "ERROR"),
    ],
)
def test_a_known_failure_is_one_whatever_came_before(name: str, said: str) -> None:
    for streamed in (False, True):
        with pytest.raises(ServerError, match=f"(?i)ended with '?{said}"):
            ending(name, "Hello.", False, said, streamed)


@given(st.sampled_from(list(SPOKEN)), st.text(max_size=12), st.booleans())
def test_whatever_is_said_the_end_is_one_of_four_words(
    name: str, said: str, streamed: bool
) -> None:
    try:
        reason, _ = ending(name, "Hello.", False, said or "x", streamed)
    except ServerError:
        return
    assert reason in FOUR
