"""Ollama's own API: options apart, arguments as objects, lines of JSON, vectors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from .._exchange import Ask
from .._words import pieces
from ._base import Event, Turn, bad, encode, integer, read_tool


def read_native(ask: Ask, body: dict[str, Any]) -> Ask:
    """Fill an ask from the body of POST /api/chat; it streams unless told not to."""
    ask.form = "native"
    messages = body.get("messages")
    if not isinstance(messages, list):
        bad("messages must be an array")
    ask.messages = len(messages)
    for message in messages:
        text = message.get("content") or ""
        for call in message.get("tool_calls") or ():
            text += encode(call).decode()
        ask.read(text)
        ask.images += len(message.get("images") or ())
        ask.prefixes += (text,)
        if message.get("role") == "user":
            ask.prompt = text
    for tool in body.get("tools") or ():
        function = tool.get("function") or {}
        name, about = function.get("name"), function.get("description")
        read_tool(ask, name, about, function.get("parameters"))
    options = body.get("options") or {}
    predict = options.get("num_predict")
    unlimited = isinstance(predict, int) and predict < 0
    ask.max_tokens = None if unlimited else integer(predict, "num_predict")
    stop = options.get("stop")
    if not isinstance(stop, str | list | None):
        bad("stop must be an array of strings")
    ask.stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if not all(isinstance(one, str) for one in ask.stop):
        bad("stop must be an array of strings")
    form = body.get("format")
    ask.wants_json = bool(form)
    ask.schema = form if isinstance(form, dict) else None
    ask.stream = body.get("stream") is not False
    return ask


def _line(turn: Turn, message: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    message = {"role": "assistant", "content": ""} | message
    return {"model": turn.ask.model, "created_at": now, "message": message}


def _calls(turn: Turn) -> dict[str, Any]:
    calls = []
    for i, call in enumerate(turn.reply.calls):
        try:
            arguments = msgspec.json.decode(call.arguments)
        except msgspec.DecodeError:
            arguments = {}
        function = {"index": i, "name": call.name, "arguments": arguments}
        calls.append({"id": f"call_{turn.key}{i:02d}", "function": function})
    return {"tool_calls": calls} if calls else {}


def _end(turn: Turn) -> dict[str, Any]:
    """Counts, and durations in nanoseconds; `stop` also after tool calls."""
    work = round(turn.took * 1e9)
    return {
        "done": True,
        "done_reason": "length" if turn.reply.finish == "length" else "stop",
        "total_duration": work + round(turn.queued * 1e9),
        "load_duration": 0,
        "prompt_eval_count": turn.usage.input,
        "prompt_eval_duration": work // 10,
        "eval_count": turn.usage.output,
        "eval_duration": work - work // 10,
    }


def unary(turn: Turn) -> bytes:
    """The whole answer."""
    message: dict[str, Any] = {"content": turn.reply.text}
    if turn.reply.reasoning:
        message["thinking"] = turn.reply.reasoning
    return encode(_line(turn, message | _calls(turn)) | _end(turn))


def embeddings(turn: Turn, vectors: list[Any]) -> bytes:
    """The answer to POST /api/embed."""
    told: dict[str, Any] = {"model": turn.ask.model, "embeddings": vectors}
    told |= {"total_duration": round((turn.took + turn.queued) * 1e9)}
    return encode(told | {"load_duration": 0, "prompt_eval_count": turn.usage.input})


def events(turn: Turn) -> Iterator[Event]:
    """One line of JSON for each token, one for the calls, and one for the end."""
    at = 0
    parts = (("thinking", turn.reply.reasoning), ("content", turn.reply.text))
    for field, text in parts:
        for piece in pieces(text):
            at += 1
            yield at, encode(_line(turn, {field: piece}) | {"done": False}) + b"\n"
    at = turn.usage.output
    if turn.reply.calls:
        yield at, encode(_line(turn, _calls(turn)) | {"done": False}) + b"\n"
    yield at, encode(_line(turn, {}) | _end(turn)) + b"\n"
