"""Writing a Converse body from an OpenAI-shaped call (see ``bedrock.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._errors import InvalidRequestError
from .._types import Call
from . import _messages
from ._anthropic_request import BUDGETS, JSON_TOOL, fit_thinking
from ._base import Dialect
from ._bodies import merge
from ._models import claude_model, fit_effort

_INFERENCE: Mapping[str, str] = {
    "max_tokens": "maxTokens",
    "max_completion_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
}
_TIERS = frozenset(("default", "flex", "priority", "reserved"))
_FORMATS = frozenset(("png", "jpeg", "gif", "webp"))
_DOCUMENTS = frozenset(
    ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")
)
_UNKNOWN = "Converse has no such parameter"


def write_body(dialect: Dialect, call: Call, warnings: list[str]) -> dict[str, Any]:
    """The body of a converse request."""
    system, turns = _turns(_messages.as_dicts(call.messages))
    body: dict[str, Any] = {"messages": turns}
    if system:
        body["system"] = system
    params = {k: v for k, v in call.params.items() if v is not None}
    extra = params.pop("extra_body", None)
    inference: dict[str, Any] = {}
    more: dict[str, Any] = {}  # what only the model knows, not Converse
    _tools(dialect, body, params, warnings)
    for name, value in params.items():
        if name in _INFERENCE:
            inference.setdefault(_INFERENCE[name], value)
        elif name == "stop":
            inference["stopSequences"] = _messages.stops_of(value)
        elif name in ("top_k", "thinking"):
            more[name] = value
        elif name == "reasoning_effort":
            _reasoning(dialect, more, value, warnings)
        elif name == "response_format":
            _response_format(dialect, body, value, warnings)
        elif name == "service_tier" and value in _TIERS:
            body["serviceTier"] = {"type": value}
        elif name == "service_tier" and value == "auto":
            continue  # Bedrock's own way without a tier
        elif name == "metadata" and isinstance(value, dict):
            body["requestMetadata"] = {k: str(v) for k, v in value.items()}
        elif name == "n" and value != 1:
            raise InvalidRequestError("n", value, "Bedrock gives one answer")
        elif name != "n" and not _messages.changes_nothing(name, value):
            dialect.leave_out(name, _UNKNOWN, warnings)
    _settle(dialect, inference, more, warnings)
    thinking = (more.get("thinking") or {}).get("type")
    if thinking == "enabled" and body.get("toolConfig", {}).get("toolChoice"):
        body["toolConfig"]["toolChoice"] = {"auto": {}}
        warnings.append("tool_choice set to auto: a forced one forbids thinking")
    if inference:
        body["inferenceConfig"] = inference
    if more:
        body["additionalModelRequestFields"] = more
    if extra is not None:
        merge(body, extra)
    return body


def _turns(
    messages: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        role = message["role"]
        if role in _messages.SYSTEM_ROLES:
            _messages.only_text(at, role, message.get("content"))
            system += _content(at, message)
            continue
        if role == "assistant":
            blocks = _assistant(at, message)
        elif role == "tool":
            role, blocks = "user", [_result(at, message)]
            _cache_point(blocks, message)
        else:
            blocks = _content(at, message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise InvalidRequestError(
            "messages", "(system only)", "add a user message: Bedrock needs one"
        )
    if turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"text": "(continue)"}]})
    return system, turns


def _content(at: int, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for kind, part in _messages.parts_of(at, message.get("content")):
        if kind == "text":
            if not part.get("text"):
                continue
            blocks.append({"text": part["text"]})
        elif kind == "image_url":
            blocks.append(_image(at, _messages.image_url(at, part)))
        elif kind == "file":
            blocks.append(_document(at, part.get("file") or {}))
        else:
            raise InvalidRequestError(
                f"messages[{at}].content", kind, "Bedrock takes text, images, documents"
            )
        _cache_point(blocks, part)
    _cache_point(blocks, message)
    return blocks


def _cache_point(blocks: list[dict[str, Any]], marked: Mapping[str, Any]) -> None:
    marker = marked.get("cache_control")
    if marker and blocks:
        point = {"type": "default"}
        if isinstance(marker, dict) and marker.get("ttl"):
            point["ttl"] = marker["ttl"]
        blocks.append({"cachePoint": point})


def _image(at: int, url: str) -> dict[str, Any]:
    data = _messages.data_url(url)
    kind = data[0].partition("/")[2].replace("jpg", "jpeg") if data else ""
    if data is None or kind not in _FORMATS:
        raise InvalidRequestError(
            f"messages[{at}].content",
            "(a web address)" if data is None else data[0],
            "Bedrock takes png, jpeg, gif and webp as data:image/...;base64,...",
        )
    return {"image": {"format": kind, "source": {"bytes": data[1]}}}


def _document(at: int, file: dict[str, Any]) -> dict[str, Any]:
    value = str(file.get("file_data") or "")
    data = _messages.data_url(value)
    kind = data[0].rpartition("/")[2] if data else "pdf"
    kind = {"plain": "txt", "markdown": "md"}.get(kind, kind)
    if not value or kind not in _DOCUMENTS:
        raise InvalidRequestError(
            f"messages[{at}].content.file", kind, "give file_data as base64"
        )
    name = str(file.get("filename") or "document").rpartition(".")[0] or "document"
    safe = "".join(c if c.isalnum() or c in " -()[]" else " " for c in name)
    source = {"bytes": data[1] if data else value}
    return {"document": {"format": kind, "name": safe, "source": source}}


def _assistant(at: int, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for kept in message.get("thinking_blocks") or ():
        if kept.get("type") == "redacted_thinking":
            blocks.append({"reasoningContent": {"redactedContent": kept.get("data")}})
        else:
            thought = {"text": kept.get("thinking", "")}
            if kept.get("signature"):
                thought["signature"] = kept["signature"]
            blocks.append({"reasoningContent": {"reasoningText": thought}})
    blocks += _content(at, {**message, "content": _messages.said_by(message)})
    for call in message.get("tool_calls") or ():
        use = {
            "toolUseId": str(call.get("id") or "call"),
            "name": (call.get("function") or {}).get("name") or "",
            "input": _messages.arguments_of(call),
        }
        blocks.append({"toolUse": use})
    return blocks


def _result(at: int, message: Mapping[str, Any]) -> dict[str, Any]:
    content = _content(at, {"content": message.get("content")})
    content = content or [{"text": "(empty)"}]  # an empty list is refused
    result: dict[str, Any] = {
        "toolUseId": str(message.get("tool_call_id") or "call"),
        "content": content,
    }
    if message.get("is_error"):
        result["status"] = "error"
    return {"toolResult": result}


def _tools(
    dialect: Dialect, body: dict[str, Any], params: dict[str, Any], warnings: list[str]
) -> None:
    tools = params.pop("tools", None)
    choice = params.pop("tool_choice", None)
    if params.pop("parallel_tool_calls", None) is False and tools:
        dialect.leave_out("parallel_tool_calls", _UNKNOWN, warnings)
    if not tools or choice == "none":
        return
    config: dict[str, Any] = {
        "tools": [_tool(function) for function in _messages.functions_of(tools)]
    }
    if choice == "required":
        config["toolChoice"] = {"any": {}}
    elif choice == "auto":
        config["toolChoice"] = {"auto": {}}
    elif isinstance(choice, dict) and (choice.get("function") or {}).get("name"):
        config["toolChoice"] = {"tool": {"name": choice["function"]["name"]}}
    elif choice is not None:
        raise InvalidRequestError(
            "tool_choice", choice, 'use "auto", "none", "required" or a function'
        )
    body["toolConfig"] = config


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    spec: dict[str, Any] = {"name": function["name"], "inputSchema": {"json": schema}}
    if function.get("description"):
        spec["description"] = function["description"]
    if function.get("strict"):
        spec["strict"] = True
    return {"toolSpec": spec}


def _reasoning(
    dialect: Dialect, more: dict[str, Any], effort: Any, warnings: list[str]
) -> None:
    model = claude_model(dialect.model)
    if "claude" not in dialect.model or not model.thinks:
        if effort != "none":
            why = f"{dialect.model} takes none through Converse"
            dialect.leave_out("reasoning_effort", why, warnings)
        return
    if effort == "none":
        if model.rests:
            more.setdefault("thinking", {"type": "disabled"})
        else:
            warnings.append(f"reasoning_effort raised: {dialect.model} always reasons")
            more["output_config"] = {"effort": model.efforts[0]}
        return
    if effort not in BUDGETS:
        raise InvalidRequestError(
            "reasoning_effort", effort, f"use none, {', '.join(BUDGETS)}"
        )
    if model.adaptive:
        more["thinking"] = {"type": "adaptive"}
    if model.efforts:
        more["output_config"] = {"effort": fit_effort(effort, model.efforts, warnings)}
    else:
        budget = {"type": "enabled", "budget_tokens": BUDGETS[effort]}
        more.setdefault("thinking", budget)


def _settle(
    dialect: Dialect,
    inference: dict[str, Any],
    more: dict[str, Any],
    warnings: list[str],
) -> None:
    """Take out what a Claude model, or thinking, does not go with."""
    if "claude" not in dialect.model:
        return
    model = claude_model(dialect.model)
    inference.setdefault("maxTokens", model.max_output)
    if "thinking" in more:
        more["thinking"] = fit_thinking(model, more["thinking"], warnings)
    thinking = more.get("thinking") or {}
    budget = thinking.get("budget_tokens")
    if budget is not None and budget >= inference["maxTokens"]:
        thinking["budget_tokens"] = max(1024, inference["maxTokens"] - 1)
    if not model.both and "temperature" in inference and "topP" in inference:
        del inference["topP"]
        dialect.leave_out("top_p", "it does not go with temperature here", warnings)
    active = thinking.get("type") in ("enabled", "adaptive")
    for place, name in (
        (inference, "temperature"),
        (inference, "topP"),
        (more, "top_k"),
    ):
        refused = not model.samples or (active and name != "topP")
        if refused and name in place:
            del place[name]
            dialect.leave_out(name, f"{dialect.model} refuses it here", warnings)


def _response_format(
    dialect: Dialect, body: dict[str, Any], value: Any, warnings: list[str]
) -> None:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequestError(
            "response_format", kind, "use text, json_object or json_schema"
        )
    asked = value.get("json_schema") or {} if isinstance(value, dict) else {}
    schema = asked.get("schema")
    claude = claude_model(dialect.model) if "claude" in dialect.model else None
    if schema and claude is not None and claude.schema:
        text = msgspec.json.encode(schema).decode()
        told = {"schema": text, "name": asked.get("name") or "answer"}
        form = {"type": "json_schema", "structure": {"jsonSchema": told}}
        body["outputConfig"] = {"textFormat": form}
        return
    if schema and "toolConfig" not in body:
        tool = {"name": JSON_TOOL, "description": "Give the answer."}
        body["toolConfig"] = {
            "tools": [_tool({**tool, "parameters": schema})],
            "toolChoice": {"tool": {"name": JSON_TOOL}},
        }
        warnings.append("response_format: served by a forced tool")
        return
    text = "Answer with one JSON object and nothing else."
    if schema:
        text = "Answer with one JSON object that fits this JSON schema: "
        text += msgspec.json.encode(schema).decode()
    body.setdefault("system", []).append({"text": text})
    warnings.append("response_format: JSON asked for by an instruction")
