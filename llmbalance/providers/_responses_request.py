"""OpenAI-shaped messages and parameters in the words of the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._errors import InvalidRequestError
from . import _messages

if TYPE_CHECKING:
    from ._base import Dialect

_FLAT = frozenset(
    (
        *("temperature", "top_p", "user", "metadata", "store", "service_tier"),
        *("parallel_tool_calls", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prompt_cache_options", "top_logprobs"),
    )
)
_UNKNOWN = "the Responses API has no such parameter"


def write_parameter(
    dialect: Dialect, body: dict[str, Any], name: str, value: Any, warnings: list[str]
) -> None:
    """Put one parameter into the body."""
    if name in _FLAT:
        body[name] = value
    elif name in ("max_tokens", "max_completion_tokens"):
        body.setdefault("max_output_tokens", max(16, value))
    elif name == "tools":
        tools = enumerate(_messages.tools_of(value))
        body["tools"] = [_tool(at, tool) for at, tool in tools]
    elif name == "tool_choice":
        body["tool_choice"] = _tool_choice(value)
    elif name == "response_format":
        body.setdefault("text", {})["format"] = _format(value)
    elif name == "verbosity":
        body.setdefault("text", {})["verbosity"] = value
    elif name == "reasoning_effort":
        body["reasoning"] = {"effort": value}
    elif name == "logprobs":
        if value:
            body.setdefault("include", []).append("message.output_text.logprobs")
    elif name == "n":
        if value != 1:
            raise InvalidRequestError(name, value, "the Responses API gives one answer")
    elif name == "stream_options":  # usage always comes; padding may be left out
        kept = {k: v for k, v in value.items() if k == "include_obfuscation"}
        body.update({name: kept} if kept else {})
    else:
        dialect.leave_out(name, _UNKNOWN, warnings)


def write_items(messages: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Instructions (leading system text) and input items."""
    instructions: list[str] = []
    items: list[dict[str, Any]] = []
    custom: set[Any] = set()  # calls of tools that take free text
    for at, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if role in _messages.SYSTEM_ROLES and not items:
            _messages.only_text(at, role, content)
            instructions.append(_messages.text_of(content))
        elif role == "tool":
            identity = message.get("tool_call_id")
            kind = "custom_tool_call" if identity in custom else "function_call"
            output = _messages.text_of(content)
            told = _parts(at, content) if _messages.media_of(at, content) else output
            items.append(
                {"type": f"{kind}_output", "call_id": identity, "output": told}
            )
        elif role == "assistant":
            items += _assistant(message, custom)
        else:
            items.append({"role": role, "content": _parts(at, content)})
    return "\n\n".join(instructions), items


def _parts(at: int, content: Any) -> list[dict[str, Any]]:
    return [_part(at, kind, part) for kind, part in _messages.parts_of(at, content)]


def _part(at: int, kind: str, part: dict[str, Any]) -> dict[str, Any]:
    if kind == "text":
        return {"type": "input_text", "text": part.get("text") or ""}
    if kind == "image_url":
        result = {"type": "input_image", "image_url": _messages.image_url(at, part)}
        given = part.get("image_url")
        if isinstance(given, dict) and given.get("detail"):
            result["detail"] = given["detail"]
        return result
    if kind == "file":
        return {"type": "input_file", **(part.get("file") or {})}
    raise InvalidRequestError(
        f"messages[{at}].content", kind, "the Responses API takes text, images, files"
    )


def _assistant(message: Mapping[str, Any], custom: set[Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        detail
        for detail in message.get("reasoning_details") or ()
        if detail.get("type") == "reasoning"
    ]
    text = _messages.text_of(message.get("content"))
    if text:
        part = {"type": "output_text", "text": text}
        items.append({"role": "assistant", "content": [part]})
    elif message.get("refusal"):
        said = {"type": "refusal", "refusal": message["refusal"]}
        items.append({"role": "assistant", "content": [said]})
    for call in message.get("tool_calls") or ():
        items.append(_written(call, custom))
    return items


def _written(call: Mapping[str, Any], custom: set[Any]) -> dict[str, Any]:
    function, identity = call.get("function") or {}, call.get("id")
    item = {"call_id": identity, "name": function.get("name")}
    if call.get("type") == "custom":
        custom.add(identity)
        text = function.get("arguments") or ""
        return {"type": "custom_tool_call", **item, "input": text}
    arguments = function.get("arguments") or "{}"
    return {"type": "function_call", **item, "arguments": arguments}


def _tool(at: int, tool: Any) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind in (None, "function"):
        return {"type": "function", **_messages.function_of(at, tool)}
    return _flat(tool)  # the API's own tools, such as web_search, are flat already


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """Take what stands in an object named like the type out of it."""
    rest = dict(value)
    inner = rest.pop(str(value.get("type")), None)
    return {**rest, **inner} if isinstance(inner, dict) else dict(value)


def _tool_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    made = _flat(choice)
    if isinstance(made.get("tools"), list):  # allowed_tools
        made["tools"] = [_flat(tool) for tool in made["tools"]]
    return made


def _format(value: Any) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind == "json_schema":
        return {"type": kind, **(value.get("json_schema") or {})}
    return {"type": kind}
