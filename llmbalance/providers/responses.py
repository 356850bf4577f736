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
from typing import Any, ClassVar

from .._errors import ProtocolError
from .._types import (
    SSE,
    Call,
    ChatChunk,
    ChatReply,
    Choice,
    ChunkChoice,
    Delta,
    Function,
    FunctionDelta,
    Message,
    Request,
    ToolCall,
    ToolCallDelta,
)
from . import _messages
from ._base import Dialect, StreamReader
from ._bodies import merge, posted
from ._classify import request_id
from ._models import openai_model
from ._responses_request import write_items, write_parameter
from ._responses_wire import (
    WireEvent,
    WireItem,
    WireResponse,
    decode_event,
    decode_response,
)
from .openai_compatible import OpenAICompatible

MARKS = (
    b".delta",
    b'"function_call"',
    b'"custom_tool_call"',
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b'"error"',
)
_CALLS = ("function_call", "custom_tool_call")
_UNKNOWN = "the host has no such parameter"


class Responses(OpenAICompatible):
    """The Responses API at any host that offers it; the host's class comes behind."""

    tool_kinds = frozenset[str]()  # this API has tools of its own
    stores = False  # the host stores answers unless told not to

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """This is the variant."""
        return cls

    def keeps_reasoning(self) -> bool:
        """Whether reasoning comes back encrypted when that is asked for."""
        return False

    def chat(self, call: Call) -> Request:
        """Write a request of /responses."""
        warnings: list[str] = []
        params = {k: v for k, v in call.params.items() if v is not None}
        extra = params.pop("extra_body", None)
        store = params.pop("store", False if self.stores else None)
        params["messages"] = _messages.as_dicts(call.messages)
        self.adapt(params, warnings)
        body: dict[str, Any] = {"model": self.model}
        instructions, body["input"] = write_items(params.pop("messages"))
        if instructions:
            body["instructions"] = instructions
        if store is not None:
            body["store"] = store
        if not store and self.keeps_reasoning():
            body["include"] = ["reasoning.encrypted_content"]
        for name, value in params.items():
            write_parameter(self, body, name, value, warnings)
        if extra is not None:
            merge(body, extra)
        if call.stream:
            body["stream"] = True
        target = self.target("/responses")
        return posted(call, target, body, warnings, SSE, MARKS)

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete response."""
        wire = decode_response(body)
        if wire.error or wire.status == "failed":
            raise self.error_inside(headers, body)
        if wire.status not in ("completed", "incomplete"):
            raise ProtocolError(f"the response is {wire.status}", offset=len(body))
        message, logprobs = _message(wire.output)
        reason = _reason(wire, bool(message.tool_calls))
        return ChatReply(
            choices=[Choice(message, 0, reason, logprobs)],
            id=wire.id,
            created=int(wire.created_at),
            model=wire.model or self.model,
            usage=wire.counted(),
            service_tier=wire.service_tier,
            provider_request_id=request_id(headers),
            raw_body=body,
        )

    def stream(self) -> StreamReader:
        """A reader of the Responses API's events."""
        return ResponsesStream(self)


class _OpenAI(Responses):
    """As OpenAI and Azure offer it."""

    stores = True

    def keeps_reasoning(self) -> bool:
        """All reasoning models do."""
        return openai_model(str(self.options.get("base_model") or self.model)).reasoning


class _XAI(Responses):
    stores = True
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("logit_bias", "service_tier", "prediction", "metadata", "top_k"), _UNKNOWN
    )

    def keeps_reasoning(self) -> bool:
        """Models with a name of their own for those that do not reason."""
        return "non-reasoning" not in self.model


class _Groq(Responses):
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
            *("logprobs", "top_logprobs", "logit_bias", "verbosity", "top_k"),
        ),
        "Groq refuses it",
    )


class _OpenRouter(Responses):
    def keeps_reasoning(self) -> bool:
        """OpenAI's models do."""
        return openai_model(self.model).reasoning

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """The cost comes unasked here."""
        super().adapt(body, warnings)
        body.pop("usage", None)


class _DeepSeek(Responses):
    json_schema = True  # here, other than in chat completions

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """The amount of reasoning stands where OpenAI has it."""
        OpenAICompatible.adapt(self, body, warnings)


_ACCENTS: Mapping[str, type[Responses]] = {
    "openai": _OpenAI,
    "azure": _OpenAI,
    "xai": _XAI,
    "groq": _Groq,
    "openrouter": _OpenRouter,
    "deepseek": _DeepSeek,
}


def responses_of(host: type[OpenAICompatible]) -> type[Responses]:
    """The dialect of a host's Responses API, which knows the host's ways."""
    accent = _ACCENTS.get(host.name, Responses)
    told = {"__doc__": f"The Responses API of {host.name}.", "__module__": __name__}
    return type(f"{host.__name__}Responses", (accent, host), told)


def _message(items: list[WireItem]) -> tuple[Message, dict[str, Any] | None]:
    """The message in a response's items, and the probabilities of its tokens."""
    message = Message()
    probabilities: list[dict[str, Any]] = []
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
                    probabilities += part.logprobs or ()
                    if part.annotations:
                        found = message.annotations or []
                        message.annotations = found + part.annotations
        elif item.type in _CALLS:
            calls.append(_call(item))
        elif item.type == "reasoning":
            thoughts += [part.text or "" for part in item.summary or item.content or ()]
            if item.encrypted_content:
                kept.append(_reasoning(item))
    message.content = "".join(text) if text or not calls else None
    message.tool_calls = calls or None
    message.reasoning_content = "\n\n".join(thoughts) or None
    message.reasoning_details = kept or None
    return message, _logprobs(probabilities)


def _logprobs(content: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    return {"content": content, "refusal": None} if content else None


def _call(item: WireItem) -> ToolCall:
    """A call of a function or, of type custom, of a tool that takes free text."""
    given = item.arguments or item.input or ""
    if item.type == "custom_tool_call":
        function = Function(item.name or "", given)
        return ToolCall(item.call_id or item.id or "", function, "custom")
    function = Function(item.name or "", given or "{}")
    return ToolCall(item.call_id or item.id or "", function)


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
        wire = decode_event(data)
        kind = wire.type or event
        if kind == "response.output_text.delta":
            return self._text_delta(wire) if wire.delta else []
        if kind in (
            "response.function_call_arguments.delta",
            "response.custom_tool_call_input.delta",
        ):
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

    def _text_delta(self, wire: WireEvent) -> list[ChatChunk]:
        choice = ChunkChoice(Delta(wire.delta), 0, None, _logprobs(wire.logprobs))
        return self.chunk([choice])

    def _response(self, kind: str, response: WireResponse) -> None:
        self.id, self.created = response.id, int(response.created_at)
        self.model = response.model or self.dialect.model
        if response.usage is not None:
            self.usage = response.counted()
        self.service_tier = response.service_tier or self.service_tier
        if kind in ("response.completed", "response.incomplete"):
            self.reasons[0] = _reason(response, bool(self._tools))
            self.done = True

    def _item(self, index: int, item: WireItem) -> list[ChatChunk]:
        if item.type not in _CALLS:
            return []
        number = self._tools[index] = len(self._tools)
        given = item.arguments or item.input or ""
        if given:
            self._given.add(index)
        function = FunctionDelta(item.name or "", given)
        kind = "custom" if item.type == "custom_tool_call" else "function"
        call = ToolCallDelta(number, item.call_id or item.id, function, kind)
        return self.add(Delta(tool_calls=[call]))

    def _item_done(self, index: int, item: WireItem) -> list[ChatChunk]:
        """Hand on what came without deltas: whole arguments, encrypted reasoning."""
        if item.type in _CALLS and index not in self._given:
            if index not in self._tools:
                return self._item(index, item)
            return self._arguments(index, _call(item).function.arguments)
        if item.type == "reasoning" and item.encrypted_content:
            return self.add(Delta(reasoning_details=[_reasoning(item)]))
        return []

    def _arguments(self, index: int, piece: str | None) -> list[ChatChunk]:
        if not piece or index not in self._tools:
            return []
        self._given.add(index)
        function = FunctionDelta(None, piece)
        call = ToolCallDelta(self._tools[index], None, function)
        return self.add(Delta(tool_calls=[call]))


def _error_of(wire: WireEvent, data: bytes) -> dict[str, Any] | bytes:
    if wire.response is not None and isinstance(wire.response.error, dict):
        return {"error": wire.response.error}
    return data
