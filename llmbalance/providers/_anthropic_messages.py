"""OpenAI's messages as Anthropic's turns: see ``anthropic.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InvalidRequestError
from . import _messages

_ID_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def split_turns(messages: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Split messages in system text and alternating turns of user and assistant."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if role in _messages.SYSTEM_ROLES:
            system += _text_blocks(at, message, content)
            continue
        if role == "tool":
            role, blocks = "user", [_tool_result(at, message)]
        elif role == "assistant":
            blocks = _assistant(at, message)
        else:
            blocks = _user(at, message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        _results_first(turn)
    if not turns:
        raise InvalidRequestError(
            "messages", "(system only)", "add a user message: Anthropic needs one"
        )
    if turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [text_block("(continue)")]})
    return _plain_system(system), turns


def text_block(text: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": text}


def _plain_system(blocks: list[dict[str, Any]]) -> Any:
    if any("cache_control" in block for block in blocks):
        return blocks
    return "\n\n".join(block["text"] for block in blocks)


def _text_blocks(
    at: int, message: Mapping[str, Any], content: Any
) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        return _marked([text_block(content)], message) if content else []
    _messages.only_text(at, message["role"], content)
    blocks = [
        marked_part(text_block(text), part)
        for _, part in _messages.parts_of(at, content)
        if (text := part.get("text"))
    ]
    return _marked(blocks, message)


def _marked(
    blocks: list[dict[str, Any]], message: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Put a message's own cache marker on its last block."""
    if blocks and message.get("cache_control"):
        blocks[-1]["cache_control"] = message["cache_control"]
    return blocks


def marked_part(block: dict[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Put a part\'s cache marker on its block."""
    if part.get("cache_control"):
        block["cache_control"] = part["cache_control"]
    return block


def _user(at: int, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if type(content) is str:
        return _marked([text_block(content)], message) if content else []
    blocks = [
        marked_part(block, part)
        for kind, part in _messages.parts_of(at, content)
        if (block := _part(at, kind, part)) is not None
    ]
    return _marked(blocks, message)


def _part(at: int, kind: str, part: dict[str, Any]) -> dict[str, Any] | None:
    if kind == "text":
        return text_block(part["text"]) if part.get("text") else None
    if kind == "image_url":
        return {"type": "image", "source": _source(_messages.image_url(at, part))}
    if kind == "file":
        return _document(at, part.get("file") or {})
    if kind in ("image", "document", "search_result"):  # Anthropic's own
        return dict(part)
    raise InvalidRequestError(
        f"messages[{at}].content", kind, "Anthropic takes text, images and documents"
    )


def _source(url: str) -> dict[str, Any]:
    data = _messages.data_url(url)
    if data is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": data[0], "data": data[1]}


def _document(at: int, file: dict[str, Any]) -> dict[str, Any]:
    data, identity = file.get("file_data"), file.get("file_id")
    if isinstance(data, str) and data:
        if "://" not in data and not data.startswith("data:"):
            data = f"data:application/pdf;base64,{data}"
        block: dict[str, Any] = {"type": "document", "source": _source(data)}
    elif identity:
        block = {"type": "document", "source": {"type": "file", "file_id": identity}}
    else:
        raise InvalidRequestError(
            f"messages[{at}].content.file", "(empty)", "give file_data or file_id"
        )
    if file.get("filename"):
        block["title"] = file["filename"]
    return block


def _assistant(at: int, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = (message.get("extra_content") or {}).get("anthropic")
    if own:
        return list(own["content"])
    blocks: list[dict[str, Any]] = list(message.get("thinking_blocks") or ())
    blocks += _text_blocks(at, message, _messages.said_by(message))
    for call in message.get("tool_calls") or ():
        blocks.append(
            {
                "type": "tool_use",
                "id": safe_id(call.get("id")),
                "name": (call.get("function") or {}).get("name") or "",
                "input": _messages.arguments_of(call),
            }
        )
    return blocks


def safe_id(identity: Any) -> str:
    """A tool call's id in the letters Anthropic takes; other providers use more."""
    text = str(identity or "call")
    if _ID_SAFE.issuperset(text):
        return text
    return "".join(c if c in _ID_SAFE else "_" for c in text)


def _tool_result(at: int, message: Mapping[str, Any]) -> dict[str, Any]:
    block: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": safe_id(message.get("tool_call_id")),
    }
    content = message.get("content")
    if type(content) is str:
        block["content"] = content
    else:
        blocks = _user(at, {"content": content})
        if blocks:  # an empty list is refused
            block["content"] = blocks
    if message.get("is_error"):
        block["is_error"] = True
    return marked_part(block, message)


def _results_first(turn: dict[str, Any]) -> None:
    """Results come before anything else a user says; one plain text goes as such."""
    blocks = turn["content"]
    if len(blocks) == 1:
        block = blocks[0]
        if block["type"] == "text" and len(block) == 2:
            turn["content"] = block["text"]
    elif any(block["type"] == "tool_result" for block in blocks):
        blocks.sort(key=lambda block: block["type"] != "tool_result")
