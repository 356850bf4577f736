"""Reading OpenAI-shaped messages: what every dialect needs before it translates.

Messages are dicts as OpenAI documents them, or the ``Message`` objects of earlier
replies put back into the list. Checks stop at the shape; meaning is left to providers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .._errors import InvalidRequestError
from .._types import Message

ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))
# The parts of a message that only some providers know (see ``Message``).
CARRIED = frozenset(
    (
        "reasoning_content",
        "reasoning",
        "thinking_blocks",
        "reasoning_details",
        "extra_content",
        "annotations",
        "images",
        "parsed",
        "cache_control",
    )
)
_HINTS = frozenset(
    (
        *("stream_options", "prompt_cache_key", "prompt_cache_retention"),
        "prompt_cache_options",
    )
)
_TEXTS = frozenset(("text", "refusal"))
SYSTEM_ROLES = frozenset(("system", "developer"))


def as_dicts(messages: Sequence[Mapping[str, Any] | Message]) -> list[dict[str, Any]]:
    """Return the messages as dicts (the caller's own where they are dicts already).

    Raises InvalidRequestError, naming the message, when there are none, when one is no
    message, or when its role is unknown. The caller's dicts are not to be changed.
    """
    if not isinstance(messages, list | tuple) or not messages:
        raise InvalidRequestError(
            "messages", _name_of(messages), "give a non-empty list of messages"
        )
    result: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            message = _to_dict(at, message)
        if message.get("role") not in ROLES:
            raise InvalidRequestError(
                f"messages[{at}].role",
                message.get("role"),
                f"use one of {', '.join(sorted(ROLES))}",
            )
        if message.get("tool_calls"):
            _check_calls(at, message["tool_calls"])
        result.append(message)
    return result


def _check_calls(at: int, calls: Any) -> None:
    """Refuse tool calls that are none."""
    if not isinstance(calls, list | tuple):
        calls = [None]
    for call in calls:
        told = call if isinstance(call, Mapping) else {}
        if not isinstance(told.get("function"), Mapping) and "custom" not in told:
            raise InvalidRequestError(
                f"messages[{at}].tool_calls",
                _name_of(call),
                'give a list of {"id": ..., "function": {"name": ..., ...}}',
            )


def _to_dict(at: int, message: Any) -> dict[str, Any]:
    if isinstance(message, Message):
        if message.parsed is not None:
            message = msgspec.structs.replace(message, parsed=None)
        value = msgspec.to_builtins(message)
        return dict(value)
    if isinstance(message, Mapping):
        return dict(message)
    dump = getattr(message, "model_dump", None)
    if dump is not None:  # messages of the openai package
        return dict(dump(exclude_none=True))
    raise InvalidRequestError(
        f"messages[{at}]",
        _name_of(message),
        'give a dict such as {"role": "user", "content": "..."}',
    )


def _name_of(value: object) -> str:
    return f"({type(value).__name__})"


def text_of(content: Any) -> str:
    """The text of a content, which may be a string, parts or None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(map(_text_in, content))


def _text_in(part: Any) -> str:
    if isinstance(part, dict):
        part = part.get("text") or part.get("refusal")
    return part if isinstance(part, str) else ""


def media_of(at: int, content: Any) -> list[tuple[str, dict[str, Any]]]:
    """The parts of a content that are no text, as (type, part)."""
    if not isinstance(content, list):
        return []
    return [(kind, part) for kind, part in parts_of(at, content) if kind not in _TEXTS]


def only_text(at: int, role: str, content: Any) -> None:
    """Refuse a content of which a part is no text, where nothing else can be sent."""
    for kind, _ in media_of(at, content):
        raise InvalidRequestError(
            f"messages[{at}].content",
            kind,
            f"in a message of the {role} give text only; a user's takes more",
        )


def said_by(message: Mapping[str, Any]) -> Any:
    """What an assistant said: the content, or the refusal in place of it."""
    content = message.get("content")
    if content:
        return content
    return message.get("refusal") or content


def parts_of(at: int, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (type, part) of a content given as parts; a string is one text part.

    ``at`` is the message's number, for error texts.
    """
    if content is None:
        return
    if isinstance(content, str):
        yield "text", {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise InvalidRequestError(
            f"messages[{at}].content",
            _name_of(content),
            "give a string or a list of content parts",
        )
    for number, part in enumerate(content):
        if isinstance(part, str):
            yield "text", {"type": "text", "text": part}
        elif isinstance(part, dict) and part.get("type") == "refusal":
            yield "text", {"type": "text", "text": part.get("refusal")}
        elif isinstance(part, dict) and isinstance(part.get("type"), str):
            yield part["type"], part
        else:
            raise InvalidRequestError(
                f"messages[{at}].content[{number}]",
                _name_of(part),
                'give a part such as {"type": "text", "text": "..."}',
            )


def image_url(at: int, part: Mapping[str, Any]) -> str:
    """The URL of an ``image_url`` part."""
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str) or not url:
        raise InvalidRequestError(
            f"messages[{at}].content.image_url",
            _name_of(value),
            'give {"url": "https://..."} or {"url": "data:image/png;base64,..."}',
        )
    return url


def data_url(url: str) -> tuple[str, str] | None:
    """Split ``data:image/png;base64,AAAA`` in (media type, base64); None if no such."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    media, semicolon, encoding = head.partition(";")
    if not comma or not semicolon or not encoding.endswith("base64"):
        return None
    return media or "application/octet-stream", data


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a tool call as an object; {} when empty or not an object."""
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return arguments
    if not arguments:
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}


def functions_of(tools: Any) -> Iterator[dict[str, Any]]:
    """Yield the ``function`` object of each tool; refuses other kinds of tool."""
    for at, tool in enumerate(tools_of(tools)):
        yield function_of(at, tool)


def tools_of(tools: Any) -> Sequence[Any]:
    """The tools; InvalidRequestError unless they are a list."""
    if not isinstance(tools, list | tuple):
        raise InvalidRequestError("tools", _name_of(tools), "give a list of tools")
    return tools


def function_of(at: int, tool: Any) -> dict[str, Any]:
    """The ``function`` object of tool number ``at``."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, dict) or not function.get("name"):
        raise InvalidRequestError(
            f"tools[{at}]",
            tool.get("type") if isinstance(tool, Mapping) else _name_of(tool),
            'give {"type": "function", "function": {"name": ..., ...}}',
        )
    return function


def changes_nothing(name: str, value: Any) -> bool:
    """Whether a parameter may be left out without a word: the answer is the same."""
    return name in _HINTS or (name == "store" and not value)


def stops_of(stop: Any) -> list[str]:
    """``stop`` as a list of strings; InvalidRequestError when it is none."""
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list | tuple) or not all(
        isinstance(one, str) for one in stops
    ):
        raise InvalidRequestError("stop", stop, "give a string or a list of strings")
    return list(stops)
