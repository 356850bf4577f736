"""Writing Anthropic's request body from an OpenAI-shaped call: ``anthropic.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from .._errors import InvalidRequestError
from .._types import Call
from . import _messages
from ._anthropic_messages import marked_part, split_turns, text_block
from ._bodies import merge
from ._models import ClaudeModel, claude_model, fit_effort

if TYPE_CHECKING:
    from ._base import Dialect

# The tool that carries a JSON answer where the model has no output format.
JSON_TOOL = "json_answer"
# Thinking budgets in tokens for models that take no effort; the field's usual ladder.
BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 10_000,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
# Anthropic's own parameters, which pass unchanged.
_NATIVE = frozenset(
    (
        "top_k",
        "thinking",
        "cache_control",
        "container",
        "mcp_servers",
        "context_management",
        "inference_geo",
        "speed",
    )
)
_UNKNOWN = "Anthropic has no such parameter"


def write_body(dialect: Dialect, call: Call, warnings: list[str]) -> dict[str, Any]:
    """The body of a message request without model and stream."""
    model = claude_model(dialect.model)
    system, turns = split_turns(_messages.as_dicts(call.messages))
    params = {k: v for k, v in call.params.items() if v is not None}
    extra = params.pop("extra_body", None)
    limit = params.pop("max_completion_tokens", None)
    limit = params.pop("max_tokens", limit)
    body: dict[str, Any] = {"max_tokens": limit or _default_limit(dialect, model)}
    if system:
        body["system"] = system
    body["messages"] = turns
    _tools(body, params)
    _reasoning(dialect, model, body, params, warnings)
    for name, value in params.items():
        writer = _WRITERS.get(name)
        if writer is not None:
            writer(dialect, model, body, value, warnings)
        elif name == "output_config":
            body[name] = {**body.get(name, {}), **value}
        elif name in _NATIVE:
            body[name] = value
        elif not _messages.changes_nothing(name, value):
            dialect.leave_out(name, _UNKNOWN, warnings)
    _settle_sampling(dialect, model, body, warnings)
    if extra is not None:
        merge(body, extra)
    return body


def _default_limit(dialect: Dialect, model: ClaudeModel) -> int:
    limit = dialect.options.get("max_output_tokens")
    return int(limit) if limit else model.max_output


# -- parameters ---------------------------------------------------------------


def _tools(body: dict[str, Any], params: dict[str, Any]) -> None:
    tools = params.pop("tools", None)
    choice = params.pop("tool_choice", None)
    parallel = params.pop("parallel_tool_calls", None)
    if not tools:
        return
    body["tools"] = [
        dict(tool) if _is_own(tool) else _tool(_messages.function_of(at, tool))
        for at, tool in enumerate(_messages.tools_of(tools))
    ]
    native = _tool_choice(choice)
    if parallel is False and native.get("type") != "none":
        native["disable_parallel_tool_use"] = True
    if choice is not None or parallel is False:
        body["tool_choice"] = native


def _is_own(tool: Any) -> bool:
    """Whether a tool is one of Anthropic's, such as web search or tool search."""
    return (
        isinstance(tool, Mapping)
        and tool.get("type") not in (None, "function")
        and "custom" not in tool  # OpenAI's
    )


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {}
    if schema.get("type") != "object":
        schema = {**schema, "type": "object"}
    tool: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        tool["description"] = function["description"]
    tool["input_schema"] = schema
    if function.get("strict"):
        tool["strict"] = True
    return marked_part(tool, function)


def _tool_choice(choice: Any) -> dict[str, Any]:
    if choice in (None, "auto"):
        return {"type": "auto"}
    if choice == "required":
        return {"type": "any"}
    if choice == "none":
        return {"type": "none"}
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and function.get("name"):
        return {"type": "tool", "name": function["name"]}
    raise InvalidRequestError(
        "tool_choice", choice, 'use "auto", "none", "required" or a function by name'
    )


def _reasoning(
    dialect: Dialect,
    model: ClaudeModel,
    body: dict[str, Any],
    params: dict[str, Any],
    warnings: list[str],
) -> None:
    effort = params.pop("reasoning_effort", None)
    if "thinking" in params:
        params["thinking"] = fit_thinking(model, params["thinking"], warnings)
    if effort is None:
        return
    if "thinking" in params:
        dialect.leave_out("reasoning_effort", "thinking was given too", warnings)
        return
    if effort == "none":
        if model.rests:
            body["thinking"] = {"type": "disabled"}
        elif model.thinks:
            warnings.append(f"reasoning_effort raised: {dialect.model} always reasons")
            body["output_config"] = {"effort": model.efforts[0]}
        return
    if not model.thinks:
        dialect.leave_out(
            "reasoning_effort", f"{dialect.model} does not reason", warnings
        )
        return
    if effort not in BUDGETS:
        raise InvalidRequestError(
            "reasoning_effort", effort, f"use none, {', '.join(BUDGETS)}"
        )
    if model.adaptive:
        body["thinking"] = {"type": "adaptive"}
    if model.efforts:
        body["output_config"] = {"effort": fit_effort(effort, model.efforts, warnings)}
    else:
        _budget(dialect, body, BUDGETS[effort], warnings)


def fit_thinking(model: ClaudeModel, thinking: Any, warnings: list[str]) -> Any:
    """Anthropic's own ``thinking`` in the words of this model."""
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "enabled" and model.adaptive and not model.budget:
        warnings.append("thinking: budget left out, this model adapts by itself")
        rest = {k: v for k, v in thinking.items() if k not in ("type", "budget_tokens")}
        return {"type": "adaptive", **rest}
    if kind == "adaptive" and model.budget and not model.adaptive:
        warnings.append("thinking: this model takes a budget, and got a medium one")
        return {"type": "enabled", "budget_tokens": BUDGETS["medium"]}
    return thinking


def _budget(
    dialect: Dialect, body: dict[str, Any], budget: int, warnings: list[str]
) -> None:
    limit = body["max_tokens"]
    if limit <= 1024:
        dialect.leave_out("reasoning_effort", "max_tokens leaves no room", warnings)
        return
    budget = min(budget, limit - 1) if limit - 1 >= 1024 else 1024
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _settle_sampling(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], warnings: list[str]
) -> None:
    """Take out what the model, or thinking, does not go with."""
    if not model.samples:
        for name in ("temperature", "top_p", "top_k"):
            if name in body:
                del body[name]
                dialect.leave_out(name, f"{dialect.model} refuses it", warnings)
    if not model.both and "temperature" in body and "top_p" in body:
        del body["top_p"]
        dialect.leave_out("top_p", "it does not go with temperature here", warnings)
    choice = body.get("tool_choice") or {}
    thinking = body.get("thinking") or {}
    budget = thinking.get("type") == "enabled"
    if choice.get("type") in ("any", "tool") and (budget or not model.forced):
        body["tool_choice"] = {k: v for k, v in choice.items() if k != "name"}
        body["tool_choice"]["type"] = "auto"
        why = "a forced one forbids thinking" if budget else "this model refuses others"
        warnings.append(f"tool_choice set to auto: {why}")
    if thinking.get("type", "disabled") == "disabled":
        return
    for name in ("temperature", "top_k"):
        if name in body:
            if body[name] != 1 or name == "top_k":
                dialect.leave_out(name, "it does not go with thinking", warnings)
            del body[name]


def _temperature(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    if isinstance(v, int | float) and v > 1:
        w.append("temperature lowered to 1, Anthropic's highest")
        v = 1
    body["temperature"] = v


def _top_p(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    body["top_p"] = v


def _stop(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    stops = _messages.stops_of(v)
    kept = [stop for stop in stops if stop.strip()]
    if len(kept) < len(stops):
        dialect.leave_out("stop", "Anthropic refuses stops of white space", w)
    if kept:
        body["stop_sequences"] = kept


def _n(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    if v != 1:
        raise InvalidRequestError("n", v, "Anthropic gives one answer; make n calls")


def _user_id(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    body["metadata"] = {"user_id": str(v)}


def _metadata(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    if isinstance(v, dict) and v.keys() == {"user_id"}:
        body["metadata"] = v
    else:
        dialect.leave_out("metadata", "Anthropic takes only user_id there", w)


def _service_tier(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    if v in _TIERS:
        body["service_tier"] = _TIERS[v]
    else:
        dialect.leave_out("service_tier", f"Anthropic has no tier {v!r}", w)


def _logprobs(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    if v:
        raise InvalidRequestError("logprobs", v, "Anthropic gives none; use another")


def _response_format(
    dialect: Dialect, model: ClaudeModel, body: dict[str, Any], v: Any, w: list[str]
) -> None:
    kind = v.get("type") if isinstance(v, dict) else v
    if kind == "text":
        return
    if kind == "json_object":
        text = "Answer with one JSON object and nothing else."
        body["system"] = _append_system(body.get("system"), text)
        w.append("response_format: JSON asked for by an instruction")
        return
    if kind != "json_schema":
        raise InvalidRequestError(
            "response_format", kind, "use text, json_object or json_schema"
        )
    asked = v.get("json_schema") or {}
    schema = asked.get("schema") or {"type": "object"}
    if model.schema:
        output = body.setdefault("output_config", {})
        output["format"] = {"type": "json_schema", "schema": schema}
    elif "tools" in body or "thinking" in body or not model.forced:
        text = "Answer with one JSON object that fits this JSON schema: "
        text += msgspec.json.encode(schema).decode()
        body["system"] = _append_system(body.get("system"), text)
        w.append("response_format: schema given as an instruction")
    else:
        tool = {
            "name": JSON_TOOL,
            "description": "Give the answer.",
            "parameters": schema,
        }
        body["tools"] = [_tool(tool)]
        body["tool_choice"] = {"type": "tool", "name": JSON_TOOL}
        w.append("response_format: served by a forced tool")


def _append_system(system: Any, text: str) -> Any:
    if isinstance(system, list):
        return [*system, text_block(text)]
    return f"{system}\n\n{text}" if system else text


_Writer = Callable[["Dialect", ClaudeModel, dict[str, Any], Any, list[str]], None]
_WRITERS: Mapping[str, _Writer] = {
    "temperature": _temperature,
    "top_p": _top_p,
    "stop": _stop,
    "n": _n,
    "user": _user_id,
    "safety_identifier": _user_id,
    "metadata": _metadata,
    "service_tier": _service_tier,
    "logprobs": _logprobs,
    "top_logprobs": _logprobs,
    "response_format": _response_format,
}
