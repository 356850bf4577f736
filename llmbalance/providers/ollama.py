"""Ollama's own chat API: JSON lines, arguments as objects, times in nanoseconds.

Ollama's OpenAI endpoint hides the context size and cuts prompts silently at its
default; the native one takes ``num_ctx`` (option ``num_ctx`` of the backend, or per
call in ``extra_body={"options": {"num_ctx": ...}}``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from .._errors import InvalidRequestError, ProtocolError
from .._types import (
    NDJSON,
    Call,
    ChatChunk,
    ChatReply,
    Choice,
    Delta,
    Embedding,
    EmbeddingReply,
    Function,
    FunctionDelta,
    Message,
    Request,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from . import _messages
from ._base import NATIVE, REFUSED, TRANSLATED, Dialect, StreamReader
from ._bodies import decoder, encode, json_text, merge, posted
from ._classify import request_id
from ._inputs import inputs_of
from ._models import EFFORTS, fit_effort
from ._reasons import ended, is_something
from .openai_compatible import rename_max_tokens

MARKS = (b'"message"', b'"error"')
_OPTIONS: Mapping[str, str] = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
}
FINISH_REASONS: Mapping[str, str] = {"stop": "stop", "length": "length"}
_UNKNOWN = "Ollama has no such parameter"


class _Function(Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Call(Struct):
    function: _Function
    id: str | None = None


class _Message(Struct):
    content: str = ""
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Reply(Struct):
    message: _Message | None = None
    model: str = ""
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int = 0
    eval_count: int = 0
    error: Any = None

    def usage(self) -> Usage:
        """Tokens read and made; a prompt served from cache may count as 0."""
        total = self.prompt_eval_count + self.eval_count
        return Usage(self.prompt_eval_count, self.eval_count, total)


class _Embeddings(Struct):
    embeddings: list[list[float]] = []
    model: str = ""
    prompt_eval_count: int = 0
    error: Any = None


_decode = decoder(_Reply)
_decode_embeddings = decoder(_Embeddings)


class Ollama(Dialect):
    """A local Ollama, or its cloud with a key."""

    name = "ollama"
    key_env = ("OLLAMA_API_KEY",)
    base_env = ("OLLAMA_HOST", "OLLAMA_BASE_URL")
    default_base_url = "http://127.0.0.1:11434"
    needs_key = False
    supports: ClassVar[Mapping[str, str]] = {
        "stream": NATIVE,
        "tools": TRANSLATED,
        "tool_choice": REFUSED,
        "parallel_tool_calls": REFUSED,
        "image_url": REFUSED,
        "image_data": TRANSLATED,
        "input_audio": REFUSED,
        "file": REFUSED,
        "json_object": TRANSLATED,
        "json_schema": TRANSLATED,
        "n": REFUSED,
        "stop": TRANSLATED,
        "seed": TRANSLATED,
        "logprobs": REFUSED,
        "reasoning_effort": TRANSLATED,
        "cache_control": REFUSED,
        "service_tier": REFUSED,
        "rate_limit_headers": REFUSED,
        "embeddings": TRANSLATED,
        "health": NATIVE,
    }

    def base_url(self) -> str:
        """OLLAMA_HOST may be a bare host:port; 0.0.0.0 is where a server listens."""
        url = os.environ.get("OLLAMA_HOST") or super().base_url()
        if "://" not in url:
            url = f"http://{url}" if ":" in url else f"http://{url}:11434"
        return url.replace("//0.0.0.0", "//127.0.0.1")

    def _set_base(self, url: str) -> None:
        super()._set_base(url)
        self.path = self.path.removesuffix("/v1").removesuffix("/api")

    def chat(self, call: Call) -> Request:
        """Write a call of /api/chat."""
        warnings: list[str] = []
        names: dict[str, str] = {}
        messages = _messages.as_dicts(call.messages)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(at, m, names) for at, m in enumerate(messages)],
            "stream": call.stream,
        }
        params = {k: v for k, v in call.params.items() if v is not None}
        extra = params.pop("extra_body", None)
        rename_max_tokens(params, "max_tokens")
        options = self._parameters(body, params, warnings)
        if self.options.get("num_ctx"):
            options.setdefault("num_ctx", self.options["num_ctx"])
        if options:
            body["options"] = options
        if extra is not None:
            merge(body, extra)
        target = f"{self.path}/api/chat"
        return posted(call, target, body, warnings, NDJSON, MARKS)

    def _parameters(
        self, body: dict[str, Any], params: dict[str, Any], warnings: list[str]
    ) -> dict[str, Any]:
        options: dict[str, Any] = {}
        choice = params.pop("tool_choice", None)
        for name, value in params.items():
            if name in _OPTIONS:
                options[_OPTIONS[name]] = value
            elif name == "stop":
                options["stop"] = _messages.stops_of(value)
            elif name == "tools":
                if choice != "none":
                    functions = _messages.functions_of(value)
                    body["tools"] = [
                        {"type": "function", "function": f} for f in functions
                    ]
            elif name == "response_format":
                _format(body, value)
            elif name == "reasoning_effort":
                body["think"] = _think(self.model, value, warnings)
            elif name == "n" and value != 1:
                raise InvalidRequestError("n", value, "Ollama gives one answer")
            elif name != "n" and not _messages.changes_nothing(name, value):
                self.leave_out(name, _UNKNOWN, warnings)
        if choice not in (None, "auto", "none"):
            self.leave_out("tool_choice", _UNKNOWN, warnings)
        return options

    def embed(self, call: Call) -> Request:
        """Write a call of /api/embed."""
        inputs_of(self, call.input)
        body: dict[str, Any] = {"model": self.model, "input": call.input}
        warnings: list[str] = []
        for name, value in call.params.items():
            if name == "dimensions" and value is not None:
                body["dimensions"] = value
            elif value is not None and (name, value) != ("encoding_format", "float"):
                self.leave_out(name, _UNKNOWN, warnings)
        target = f"{self.path}/api/embed"
        return Request(target=target, body=encode(body), warnings=warnings)

    def health(self) -> Request | None:
        """The list of installed models."""
        return Request(method="GET", target=f"{self.path}/api/tags")

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete answer."""
        wire = _decode(body)
        if wire.error:
            raise self.error_inside(headers, body)
        if wire.message is None or not wire.done:
            raise ProtocolError("the answer is not finished", offset=len(body))
        found = wire.message
        message = Message(found.content, reasoning_content=found.thinking or None)
        if found.tool_calls:
            message.tool_calls = [
                ToolCall(call.id or f"call_{at}_{call.function.name}", _call(call))
                for at, call in enumerate(found.tool_calls)
            ]
        warnings: list[str] = []
        came, called = is_something(message), bool(found.tool_calls)
        reason = _reason(self, wire, warnings, came=came, called=called)
        return ChatReply(
            choices=[Choice(message, 0, reason)],
            created=int(time.time()),
            model=wire.model or self.model,
            usage=wire.usage(),
            provider_request_id=request_id(headers),
            warnings=warnings,
            raw_body=body,
        )

    def embed_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> EmbeddingReply:
        """Read embeddings."""
        wire = _decode_embeddings(body)
        if wire.error:
            raise self.error_inside(headers, body)
        if not wire.embeddings:
            raise ProtocolError("the answer has no embeddings", offset=len(body))
        tokens = wire.prompt_eval_count
        return EmbeddingReply(
            data=[Embedding(v, at) for at, v in enumerate(wire.embeddings)],
            model=wire.model or self.model,
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
            raw_body=body,
        )

    def stream(self) -> StreamReader:
        """A reader of Ollama's lines."""
        return OllamaStream(self)


def _message(
    at: int, message: Mapping[str, Any], names: dict[str, str]
) -> dict[str, Any]:
    role, content = message["role"], _messages.said_by(message)
    result: dict[str, Any] = {"role": "system" if role == "developer" else role}
    result["content"] = _messages.text_of(content)
    images = []
    for kind, part in _messages.parts_of(at, content):
        if kind == "image_url":
            data = _messages.data_url(_messages.image_url(at, part))
            if data is None:
                raise InvalidRequestError(
                    f"messages[{at}].content",
                    "(a web address)",
                    "Ollama fetches none: send data:image/...;base64,...",
                )
            images.append(data[1])
        elif kind != "text":
            raise InvalidRequestError(
                f"messages[{at}].content", kind, "Ollama takes text and images"
            )
    if images:
        result["images"] = images
    if message.get("tool_calls"):
        result["tool_calls"] = [_written(c, names) for c in message["tool_calls"]]
    if message.get("reasoning_content"):
        result["thinking"] = message["reasoning_content"]
    if role == "tool":
        name = names.get(message.get("tool_call_id") or "") or message.get("name")
        if name:
            result["tool_name"] = name
    return result


def _written(call: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    name = (call.get("function") or {}).get("name") or ""
    names[str(call.get("id"))] = name
    arguments = _messages.arguments_of(call)
    return {"function": {"name": name, "arguments": arguments}}


def _format(body: dict[str, Any], value: Any) -> None:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind == "json_object":
        body["format"] = "json"
    elif kind == "json_schema":
        asked = value.get("json_schema") or {}
        body["format"] = asked.get("schema") or "json"
    elif kind != "text":
        raise InvalidRequestError(
            "response_format", kind, "use text, json_object or json_schema"
        )


def _think(model: str, effort: Any, warnings: list[str]) -> Any:
    """gpt-oss takes an amount; other models think or do not."""
    if effort != "none" and effort not in EFFORTS:
        raise InvalidRequestError(
            "reasoning_effort", effort, f"use none, {', '.join(EFFORTS)}"
        )
    if "gpt-oss" in model:  # which always reasons
        return fit_effort(effort, EFFORTS[1:4], warnings)
    return effort != "none"


def _call(call: _Call) -> Function:
    return Function(call.function.name, json_text(call.function.arguments))


def _reason(
    dialect: Dialect, wire: _Reply, warnings: list[str], *, came: bool, called: bool
) -> str:
    said = wire.done_reason or "stop"  # old servers say nothing
    reason = ended(
        dialect, said, FINISH_REASONS, (), warnings, came=came, called=called
    )
    return "tool_calls" if called and reason == "stop" else reason


class OllamaStream(StreamReader):
    """Reads Ollama's lines; the one with ``done`` carries the counts."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._calls = 0

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one line."""
        wire = _decode(data)
        if wire.error:
            raise self.dialect.error_inside({}, data)
        if not self.created:
            self.created = int(time.time())
            self.model = wire.model or self.dialect.model
        chunks: list[ChatChunk] = []
        found = wire.message
        if found is not None:
            delta = Delta(found.content or None)
            delta.reasoning_content = found.thinking or None
            if found.tool_calls:
                delta.tool_calls = [self._number(call) for call in found.tool_calls]
            if found.content or found.thinking or found.tool_calls:
                chunks = self.add(delta)
        if wire.done:
            self.usage = wire.usage()
            self.reasons[0] = _reason(
                self.dialect,
                wire,
                self.warnings,
                came=self._started,
                called=self._calls > 0,
            )
            self.done = True
        return chunks

    def _number(self, call: _Call) -> ToolCallDelta:
        number, made = self._calls, _call(call)
        self._calls += 1
        function = FunctionDelta(made.name, made.arguments)
        identity = call.id or f"call_{number}_{made.name}"
        return ToolCallDelta(number, identity, function, "function")
