"""Putting right answers that are almost OpenAI's.

Only answers that the typed decoder refused come here, so this may be slow. What was
seen in the wild: content as a list of parts (Mistral's reasoning models), arguments as
an object (Ollama), a missing tool-call id, numbers for strings, ``null`` for "".
"""

from __future__ import annotations

from typing import Any

import msgspec

_STRINGS = ("id", "model", "service_tier", "system_fingerprint")


def put_right(value: dict[str, Any]) -> dict[str, Any]:
    """Return an answer or stream chunk with the known faults mended, in place."""
    for name in _STRINGS:
        _string(value, name)
    value["created"] = _whole(value.get("created"))
    choices = value.get("choices")
    value["choices"] = choices = choices if isinstance(choices, list) else []
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        if choice.get("index") is None:
            choice["index"] = 0
        if choice.get("finish_reason") is not None:
            choice["finish_reason"] = str(choice["finish_reason"])
        for name in ("message", "delta"):
            message = choice.get(name)
            if isinstance(message, dict):
                _message(message)
            elif name in choice:
                choice[name] = {}
        choice.setdefault("delta", {})
        choice.setdefault("message", {})
        if not isinstance(choice.get("logprobs"), dict | None):
            choice["logprobs"] = None
    return value


def _whole(value: Any) -> int:
    """Epoch seconds; 0 for what is no number, such as a date in words."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _string(value: dict[str, Any], name: str) -> None:
    if name in value and not isinstance(value[name], str):
        if value[name] is None:
            del value[name]
        else:
            value[name] = str(value[name])


def _message(message: dict[str, Any]) -> None:
    _string(message, "role")
    content = message.get("content")
    if isinstance(content, list):
        _split_parts(message, content)
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            _tool_call(call, number)
    for name in ("annotations", "images", "thinking_blocks", "reasoning_details"):
        if not isinstance(message.get(name), list | None):
            message[name] = None


def _split_parts(message: dict[str, Any], parts: list[Any]) -> None:
    text, thought = [], []
    for part in parts:
        if not isinstance(part, dict):
            text.append(str(part))
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            pieces = inner if isinstance(inner, list) else [inner]
            for piece in pieces:
                found = piece.get("text") if isinstance(piece, dict) else piece
                thought.append(str(found or ""))
        elif part.get("text") is not None:
            text.append(str(part["text"]))
    message["content"] = "".join(text)
    if thought:
        message["reasoning_content"] = "".join(thought)


def _tool_call(call: dict[str, Any], number: int) -> None:
    function = call.get("function")
    custom = call.get("custom")
    if isinstance(custom, dict):
        name, text = custom.get("name"), custom.get("input") or ""
        function = call["function"] = {"name": name, "arguments": text}
    if not isinstance(function, dict):
        function = call["function"] = {}
    arguments = function.get("arguments")
    if "arguments" in function and not isinstance(arguments, str):
        text = "" if arguments is None else msgspec.json.encode(arguments).decode()
        function["arguments"] = text
    if "name" in function and function["name"] is None and "arguments" in function:
        del function["name"]
    identity = call.get("id")
    if identity is None or identity == "":
        if function.get("name"):
            call["id"] = f"call_{number}"
    elif not isinstance(identity, str):
        call["id"] = str(identity)
    if call.get("type") is None:
        call["type"] = "function"
