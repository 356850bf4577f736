"""OpenAI's Responses API, behind the same chat call: option ``api`` = "responses".

    OpenAI chat                          Responses
    messages                        ->   input items; system text as instructions
    assistant's tool_calls          ->   function_call items
    tool message                    ->   function_call_output item
    tools[].function                ->   tools[], flat
    response_format                 ->   text.format
    reasoning_effort, verbosity     ->   reasoning.effort, text.verbosity
    max_tokens                      ->   max_output_tokens

Nothing is stored at the provider unless ``store`` asks for it; reasoning then comes
back encrypted and travels in ``Message.reasoning_details`` to the next turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._errors import InvalidRequestError, ProtocolError
from .._types import (
    SSE,
    UNARY,
    Call,
    ChatChunk,
    ChatReply,
    Choice,
    Delta,
    Function,
    FunctionDelta,
    Message,
    Request,
    ToolCall,
    ToolCallDelta,
)
from . import _messages
from ._base import Dialect, StreamReader, merge, unreadable
from ._classify import request_id
from ._models import openai_model
from ._responses_wire import (
    WireEvent,
    WireItem,
    WireResponse,
    decode_event,
    decode_response,
)
from .azure import Azure
from .openai import OpenAI, adapt_to_model
from .openai_compatible import OpenAICompatible

MARKS = (
    b".delta",
    b'"function_call"',
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b'"error"',
)
_FLAT = frozenset(
    (
        *("temperature", "top_p", "user", "metadata", "store", "service_tier"),
        *("parallel_tool_calls", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prompt_cache_options", "top_logprobs"),
    )
)
_NO_EFFECT = frozenset(("stream_options",))
_UNKNOWN = "the Responses API has no such parameter"
_encode = msgspec.json.Encoder().encode


class _Responses(OpenAICompatible):
    """The Responses API at any host that offers it; the host's class comes behind."""

    def chat(self, call: Call) -> Request:
        """Write a request of /responses."""
        warnings: list[str] = []
        params = {k: v for k, v in call.params.items() if v is not None}
        extra = params.pop("extra_body", None)
        self._adapt(params, warnings)
        body: dict[str, Any] = {"model": self.model}
        instructions, items = _items(_messages.as_dicts(call.messages))
        if instructions:
            body["instructions"] = instructions
        body["input"] = items
        body["store"] = params.pop("store", False)
        if openai_model(self.model).reasoning and not body["store"]:
            body["include"] = ["reasoning.encrypted_content"]
        for name, value in params.items():
            self._parameter(body, name, value, warnings)
        if extra is not None:
            merge(body, extra)
        if call.stream:
            body["stream"] = True
        return Request(
            target=self.target("/responses"),
            body=_encode(body),
            stream=SSE if call.stream else UNARY,
            marks=MARKS if call.stream else (),
            warnings=warnings,
        )

    def _adapt(self, params: dict[str, Any], warnings: list[str]) -> None:
        for name in self.rejects.keys() & params.keys():
            self.leave_out(name, self.rejects[name], warnings)
            del params[name]
        name = str(self.options.get("base_model") or self.model)
        adapt_to_model(self, params, warnings, name=name)

    def _parameter(
        self, body: dict[str, Any], name: str, value: Any, warnings: list[str]
    ) -> None:
        if name in _FLAT:
            body[name] = value
        elif name in ("max_tokens", "max_completion_tokens"):
            body.setdefault("max_output_tokens", max(16, value))
        elif name == "tools":
            functions = _messages.functions_of(value)
            body["tools"] = [{"type": "function", **f} for f in functions]
        elif name == "tool_choice":
            body["tool_choice"] = _tool_choice(value)
        elif name == "response_format":
            body.setdefault("text", {})["format"] = _format(value)
        elif name == "verbosity":
            body.setdefault("text", {})["verbosity"] = value
        elif name == "reasoning_effort":
            body["reasoning"] = {"effort": value}
        elif name in ("n", "logprobs") and value not in (1, False):
            raise InvalidRequestError(
                name, value, "the Responses API gives one answer without them"
            )
        elif name not in _NO_EFFECT and name not in ("n", "logprobs"):
            self.leave_out(name, _UNKNOWN, warnings)

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete response."""
        try:
            wire = decode_response(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(body, error) from None
        if wire.error or wire.status == "failed":
            raise self.error_inside(headers, body)
        if wire.status not in ("completed", "incomplete"):
            raise ProtocolError(f"the response is {wire.status}", offset=len(body))
        message = _message(wire.output)
        reason = _reason(wire, bool(message.tool_calls))
        return ChatReply(
            choices=[Choice(message, 0, reason)],
            id=wire.id,
            created=int(wire.created_at),
            model=wire.model or self.model,
            usage=wire.usage.usage() if wire.usage is not None else None,
            service_tier=wire.service_tier,
            provider_request_id=request_id(headers),
            raw_body=body,
        )

    def stream(self) -> StreamReader:
        """A reader of the Responses API's events."""
        return ResponsesStream(self)


class OpenAIResponses(_Responses, OpenAI):
    """The Responses API of OpenAI."""

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """This is the variant."""
        return cls


class AzureResponses(_Responses, Azure):
    """The Responses API of Azure's v1 address."""

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """This is the variant."""
        return cls


def _items(messages: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Instructions (leading system text) and input items."""
    instructions: list[str] = []
    items: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if role in _messages.SYSTEM_ROLES and not items:
            instructions.append(_messages.text_of(content))
        elif role == "tool":
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": message.get("tool_call_id"),
                    "output": _messages.text_of(content),
                }
            )
        elif role == "assistant":
            items += _assistant(message)
        else:
            parts = [_part(at, k, p) for k, p in _messages.parts_of(at, content)]
            items.append({"role": role, "content": parts})
    return "\n\n".join(instructions), items


def _part(at: int, kind: str, part: dict[str, Any]) -> dict[str, Any]:
    if kind == "text":
        return {"type": "input_text", "text": part.get("text") or ""}
    if kind == "image_url":
        return {"type": "input_image", "image_url": _messages.image_url(at, part)}
    if kind == "file":
        return {"type": "input_file", **(part.get("file") or {})}
    raise InvalidRequestError(
        f"messages[{at}].content", kind, "the Responses API takes text, images, files"
    )


def _assistant(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        detail
        for detail in message.get("reasoning_details") or ()
        if detail.get("type") == "reasoning"
    ]
    text = _messages.text_of(message.get("content"))
    if text:
        part = {"type": "output_text", "text": text}
        items.append({"role": "assistant", "content": [part]})
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        items.append(
            {
                "type": "function_call",
                "call_id": call.get("id"),
                "name": function.get("name"),
                "arguments": function.get("arguments") or "{}",
            }
        )
    return items


def _tool_choice(choice: Any) -> Any:
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict):
        return {"type": "function", "name": function.get("name")}
    return choice


def _format(value: Any) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind == "json_schema":
        return {"type": kind, **(value.get("json_schema") or {})}
    return {"type": kind}


def _message(items: list[WireItem]) -> Message:
    message = Message()
    text: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    kept: list[dict[str, Any]] = []
    for item in items:
        if item.type == "message":
            for part in item.content or ():
                if part.refusal is not None:
                    message.refusal = (message.refusal or "") + part.refusal
                elif part.text is not None:
                    text.append(part.text)
                    if part.annotations:
                        found = message.annotations or []
                        message.annotations = found + part.annotations
        elif item.type == "function_call":
            function = Function(item.name or "", item.arguments or "{}")
            calls.append(ToolCall(item.call_id or item.id or "", function))
        elif item.type == "reasoning":
            thoughts += [part.text or "" for part in item.summary or ()]
            if item.encrypted_content:
                kept.append(_reasoning(item))
    message.content = "".join(text) if text or not calls else None
    message.tool_calls = calls or None
    message.reasoning_content = "\n\n".join(thoughts) or None
    message.reasoning_details = kept or None
    return message


def _reasoning(item: WireItem) -> dict[str, Any]:
    summary = [{"type": p.type, "text": p.text} for p in item.summary or ()]
    return {
        "type": "reasoning",
        "summary": summary,
        "encrypted_content": item.encrypted_content,
    }


def _reason(wire: WireResponse, calls: bool) -> str:
    if wire.status == "incomplete":
        why = wire.incomplete_details and wire.incomplete_details.reason
        return "content_filter" if why == "content_filter" else "length"
    return "tool_calls" if calls else "stop"


class ResponsesStream(StreamReader):
    """Reads the Responses API's events by their types."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._tools: dict[int, int] = {}  # output item -> number of its tool call
        self._given: set[int] = set()  # tool calls whose arguments have come

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one event; unknown ones give nothing."""
        if data == b"[DONE]":
            self.done = True
            return []
        try:
            wire = decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(data, error) from None
        kind = wire.type or event
        if kind == "response.output_text.delta":
            return self.add(Delta(wire.delta)) if wire.delta else []
        if kind == "response.function_call_arguments.delta":
            return self._arguments(wire.output_index, wire.delta)
        if kind in (
            "response.reasoning_summary_text.delta",
            "response.reasoning_text.delta",
        ):
            return self.add(Delta(reasoning_content=wire.delta)) if wire.delta else []
        if kind == "response.refusal.delta":
            return self.add(Delta(refusal=wire.delta)) if wire.delta else []
        if kind == "response.output_item.added" and wire.item is not None:
            return self._item(wire.output_index, wire.item)
        if kind == "response.output_item.done" and wire.item is not None:
            return self._item_done(wire.output_index, wire.item)
        if kind in ("error", "response.failed") or wire.error:
            raise self.dialect.error_inside({}, _error_of(wire, data))
        if wire.response is not None:
            self._response(kind, wire.response)
        return []

    def _response(self, kind: str, response: WireResponse) -> None:
        self.id, self.created = response.id, int(response.created_at)
        self.model = response.model or self.dialect.model
        if response.usage is not None:
            self.usage = response.usage.usage()
        self.service_tier = response.service_tier or self.service_tier
        if kind in ("response.completed", "response.incomplete"):
            self.reasons[0] = _reason(response, bool(self._tools))
            self.done = True

    def _item(self, index: int, item: WireItem) -> list[ChatChunk]:
        if item.type != "function_call":
            return []
        number = self._tools[index] = len(self._tools)
        if item.arguments:
            self._given.add(index)
        function = FunctionDelta(item.name or "", item.arguments or "")
        call = ToolCallDelta(number, item.call_id or item.id, function, "function")
        return self.add(Delta(tool_calls=[call]))

    def _item_done(self, index: int, item: WireItem) -> list[ChatChunk]:
        """Hand on what came without deltas: whole arguments, encrypted reasoning."""
        if item.type == "function_call" and index not in self._given:
            if index not in self._tools:
                return self._item(index, item)
            return self._arguments(index, item.arguments or "{}")
        if item.type == "reasoning" and item.encrypted_content:
            return self.add(Delta(reasoning_details=[_reasoning(item)]))
        return []

    def _arguments(self, index: int, piece: str | None) -> list[ChatChunk]:
        if not piece:
            return []
        self._given.add(index)
        function = FunctionDelta(None, piece)
        call = ToolCallDelta(self._tools.get(index, 0), None, function)
        return self.add(Delta(tool_calls=[call]))


def _error_of(wire: WireEvent, data: bytes) -> dict[str, Any] | bytes:
    if wire.response is not None and isinstance(wire.response.error, dict):
        return {"error": wire.response.error}
    return data
