"""OpenAI's chat completions, as spoken by OpenAI and by all who copied it.

Requests pass nearly unchanged; what differs from host to host is a handful of class
attributes (see ``hosts.py``). Answers are decoded straight into the public types; an
answer that does not fit them (a number for a string, content as parts, arguments as an
object) is decoded again without types, put right and converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from .._errors import ConfigError, InvalidRequestError, ProtocolError
from .._types import (
    SSE,
    Call,
    ChatReply,
    Choice,
    EmbeddingReply,
    LimitReading,
    Request,
)
from . import _messages
from ._base import NATIVE, REFUSED, Dialect, StreamReader
from ._bodies import decode_object, encode, merge, posted, unreadable
from ._classify import request_id
from ._inputs import inputs_of
from ._limits import openai_limits
from ._openai_stream import OpenAIStream, openai_reason
from ._openai_wire import WireReply, convert, decode_embeddings, decode_reply
from ._reasons import is_something

# Where a stream event carries something the caller waits for. The finish reason is
# among them because an answer may have no content at all.
MARKS = (
    b'"content":"',
    b'"content": "',
    b'"tool_calls"',
    b'"reasoning',
    b'"refusal":"',
    b'"finish_reason":"',
    b'"error"',
    b"[DONE]",
)

FEATURES: Mapping[str, str] = {
    "stream": NATIVE,
    "tools": NATIVE,
    "tool_choice": NATIVE,
    "parallel_tool_calls": NATIVE,
    "image_url": NATIVE,
    "image_data": NATIVE,
    "input_audio": NATIVE,
    "file": NATIVE,
    "json_object": NATIVE,
    "json_schema": NATIVE,
    "n": NATIVE,
    "stop": NATIVE,
    "seed": NATIVE,
    "logprobs": NATIVE,
    "reasoning_effort": NATIVE,
    "cache_control": REFUSED,
    "service_tier": NATIVE,
    "rate_limit_headers": NATIVE,
    "embeddings": NATIVE,
    "health": NATIVE,
    "embed_tokens": NATIVE,
    "responses": NATIVE,
}


class OpenAICompatible(Dialect):
    """Any server with OpenAI's ``/chat/completions``; the class of its relatives.

    A subclass says what is special: where the paths differ, which parameters are
    refused, what the token limit is called, which message fields are wanted back.
    Option ``json_schema`` False: the server knows ``json_object`` only, so a schema is
    given as an instruction beside it. Option ``api`` "responses": OpenAI's other API,
    where the host has it.
    """

    name = "openai_compatible"
    key_env: ClassVar[tuple[str, ...]] = ("OPENAI_COMPATIBLE_API_KEY",)
    base_env: ClassVar[tuple[str, ...]] = ("OPENAI_COMPATIBLE_BASE_URL",)
    needs_key = False
    supports = FEATURES

    chat_path: ClassVar[str] = "/chat/completions"
    embed_path: ClassVar[str] = "/embeddings"
    health_path: ClassVar[str | None] = "/models"
    # Parameters the host refuses -> why, for the warning.
    rejects: ClassVar[Mapping[str, str]] = {}
    renames: ClassVar[Mapping[str, str]] = {}
    # The one name the host knows for the token limit; "" leaves the caller's.
    max_tokens_name: ClassVar[str] = ""
    developer_role: ClassVar[bool] = False
    wants_back: ClassVar[frozenset[str]] = frozenset()  # of ``_messages.CARRIED``
    asks_usage: ClassVar[bool] = True  # stream_options.include_usage is understood
    json_schema: ClassVar[bool] = True
    # Kinds of tools that exist here; empty: the host is left to judge.
    tool_kinds: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """The Responses API when option ``api`` asks for it."""
        api = options.get("api", "chat")
        if api == "chat":
            return cls
        if api != "responses":
            raise ConfigError("api", api, 'use "chat" or "responses"')
        if cls.supports.get("responses", REFUSED) == REFUSED:
            raise ConfigError("api", api, f"{cls.name} has no Responses API")
        from .responses import responses_of  # only now: it is built on this class

        return responses_of(cls)

    # -- requests ------------------------------------------------------------

    def chat(self, call: Call) -> Request:
        """Write the call: OpenAI's own shape, less what this host does not take."""
        warnings: list[str] = []
        body: dict[str, Any] = {"model": self.model}
        body["messages"] = self.messages(_messages.as_dicts(call.messages))
        for name, value in call.params.items():
            if value is not None:
                body[name] = value
        self.adapt(body, warnings)
        if "extra_body" in body:
            merge(body, body.pop("extra_body"))
        if call.stream:
            body["stream"] = True
            if self.asks_usage:
                asked = body.get("stream_options") or {}
                body["stream_options"] = {**asked, "include_usage": True}
        return posted(call, self.target(self.chat_path), body, warnings, SSE, MARKS)

    def target(self, path: str) -> str:
        """Path and query below the base address."""
        if self.query:
            return f"{self.path}{path}?{self.query}"
        return self.path + path

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Put the parameters right for this host and model, in place."""
        for name in self.rejects.keys() & body.keys():
            if not _messages.changes_nothing(name, body.pop(name)):
                self.leave_out(name, self.rejects[name], warnings)
        for name in self.renames.keys() & body.keys():
            body[self.renames[name]] = body.pop(name)
        if self.max_tokens_name:
            rename_max_tokens(body, self.max_tokens_name)
        if self.tool_kinds and "tools" in body:
            self._check_tools(body["tools"])
        native = self.options.get("json_schema", self.json_schema)
        if not native and "response_format" in body:
            self._schema_as_instruction(body, warnings)

    def _check_tools(self, tools: Any) -> None:
        for at, tool in enumerate(_messages.tools_of(tools)):
            kind = tool.get("type") if isinstance(tool, Mapping) else None
            if kind not in self.tool_kinds:
                known = " or ".join(sorted(self.tool_kinds))
                raise InvalidRequestError(
                    f"tools[{at}]", kind, f"{self.name} takes tools of type {known}"
                )

    def _schema_as_instruction(self, body: dict[str, Any], warnings: list[str]) -> None:
        asked = body["response_format"]
        if not isinstance(asked, dict) or asked.get("type") != "json_schema":
            return
        schema = (asked.get("json_schema") or {}).get("schema") or {}
        text = "Answer with one JSON object that fits this JSON schema: "
        instruction = {"role": "system", "content": text + encode(schema).decode()}
        body["messages"] = [instruction, *body["messages"]]
        body["response_format"] = {"type": "json_object"}
        warnings.append("response_format: schema given as an instruction")

    def messages(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages without what this host does not know; copies where changed."""
        if self.cleans_nothing(messages):
            return messages
        for at, message in enumerate(messages):
            if isinstance(message.get("content"), list):
                self._check_parts(at, message["content"])
        return [self.message(message) for message in messages]

    def _check_parts(self, at: int, content: list[Any]) -> None:
        """Refuse parts that this host does not take, so that another one is asked."""
        for kind, part in _messages.media_of(at, content):
            feature = kind
            if kind == "image_url":
                data = _messages.image_url(at, part).startswith("data:")
                feature = "image_data" if data else "image_url"
            if self.supports.get(feature) == REFUSED:
                raise InvalidRequestError(
                    f"messages[{at}].content", kind, f"{self.name} takes none of these"
                )

    def cleans_nothing(self, messages: list[dict[str, Any]]) -> bool:
        """Whether all messages are plain text and can be sent as they are."""
        for message in messages:
            role = message["role"]
            if role == "developer" and not self.developer_role:
                return False
            if type(message.get("content")) is not str or len(message) != 2:
                return False
        return True

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """One message without what this host does not know."""
        drop = (message.keys() & _messages.CARRIED) - self.wants_back
        calls, content = message.get("tool_calls"), message.get("content")
        result = {k: v for k, v in message.items() if k not in drop and v is not None}
        if message["role"] == "developer" and not self.developer_role:
            result["role"] = "system"
        if calls and "extra_content" not in self.wants_back:
            result["tool_calls"] = [_without(call, "extra_content") for call in calls]
        if calls and any(call.get("type") == "custom" for call in calls):
            result["tool_calls"] = [_custom(call) for call in result["tool_calls"]]
        if isinstance(content, list) and "cache_control" not in self.wants_back:
            result["content"] = [_without(part, "cache_control") for part in content]
        return result

    def embed(self, call: Call) -> Request:
        """Write an embedding call of at most ``embed_limits`` inputs."""
        if self.supports.get("embeddings") == REFUSED:
            return super().embed(call)
        inputs_of(self, call.input)
        inputs = call.input if isinstance(call.input, str) else list(call.input)
        warnings: list[str] = []
        body: dict[str, Any] = {"model": self.model, "input": inputs}
        for name, value in call.params.items():
            if value is not None:
                body[name] = value
        self.adapt(body, warnings)
        if "extra_body" in body:
            merge(body, body.pop("extra_body"))
        return Request(
            target=self.target(self.embed_path),
            body=encode(body),
            warnings=warnings,
        )

    def health(self) -> Request | None:
        """The list of models: free, and it proves the key."""
        if self.health_path is None:
            return None
        return Request(
            method="GET",
            target=self.target(self.health_path),
        )

    # -- answers -------------------------------------------------------------

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete answer."""
        try:
            wire = decode_reply(body)
        except msgspec.ValidationError:
            wire = convert(decode_object(body), WireReply)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(body, error) from None
        if wire.error:
            raise self.error_inside(headers, body)
        if not wire.choices:
            raise ProtocolError("the answer has no choices", offset=len(body))
        warnings: list[str] = []
        for choice in wire.choices:
            self.settle(choice, headers, warnings)
        return ChatReply(
            choices=wire.choices,
            id=wire.id,
            created=wire.created,
            model=wire.model or self.model,
            usage=wire.usage.usage() if wire.usage is not None else None,
            service_tier=wire.tier(),
            system_fingerprint=wire.system_fingerprint,
            provider_request_id=request_id(headers),
            warnings=warnings,
            raw_body=body,
        )

    def settle(
        self, choice: Choice, headers: Mapping[str, str], warnings: list[str]
    ) -> None:
        """Give a choice OpenAI's finish reason; raise when it tells of a failure."""
        message = choice.message
        if message.reasoning is not None:
            message.reasoning_content = message.reasoning_content or message.reasoning
            message.reasoning = None
        reason = choice.finish_reason
        if not reason:  # the answer is whole all the same
            choice.finish_reason = "tool_calls" if message.tool_calls else "stop"
            return
        choice.finish_reason = openai_reason(
            self,
            reason,
            warnings,
            came=is_something(message),
            called=bool(message.tool_calls),
            headers=headers,
        )

    def embed_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> EmbeddingReply:
        """Read embeddings, put in the order of their index."""
        try:
            wire = decode_embeddings(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(body, error) from None
        if wire.error:
            raise self.error_inside(headers, body)
        if not wire.data:
            raise ProtocolError("the answer has no embeddings", offset=len(body))
        wire.data.sort(key=lambda item: item.index)
        return EmbeddingReply(
            data=wire.data,
            model=wire.model or self.model,
            usage=wire.usage.usage() if wire.usage is not None else None,
            provider_request_id=request_id(headers),
            raw_body=body,
        )

    def stream(self) -> StreamReader:
        """A reader of OpenAI's chunks."""
        return OpenAIStream(self)

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """OpenAI's ``x-ratelimit-*`` headers."""
        return openai_limits(headers)


def rename_max_tokens(body: dict[str, Any], name: str) -> None:
    """Send the token limit, however the caller named it, as ``name``."""
    other = "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"
    if other in body:
        limit = body.pop(other)
        body.setdefault(name, limit)


def _custom(call: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool that takes free text, which travels as a function's."""
    function = call.get("function")
    if call.get("type") != "custom" or not isinstance(function, dict):
        return call
    told = {"name": function.get("name"), "input": function.get("arguments") or ""}
    return {"id": call.get("id"), "type": "custom", "custom": told}


def _without(value: Any, key: str) -> Any:
    if isinstance(value, dict) and key in value:
        return {k: v for k, v in value.items() if k != key}
    return value
