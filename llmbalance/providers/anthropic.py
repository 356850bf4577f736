"""Anthropic's Messages API.

    OpenAI                               Anthropic
    system / developer messages     ->   top-level system
    tool message                    ->   tool_result block, first in the user's turn
    assistant's tool_calls          ->   tool_use blocks, input as an object
    consecutive turns of one role   ->   one turn
    response_format json_schema     ->   output_config.format, or a forced tool
    reasoning_effort                ->   output_config.effort and thinking

Thinking blocks travel with the message that has them (``Message.thinking_blocks``) and
go back unchanged, signature and all. Anthropic's own tools (web search, tool search)
pass in ``tools`` as they are; an answer with blocks of theirs keeps them all in
``extra_content["anthropic"]`` (``_anthropic_own.py``). Requests are in
``_anthropic_request.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from .._errors import ProtocolError
from .._money._cost import place
from .._types import (
    SSE,
    Call,
    ChatChunk,
    ChatReply,
    Choice,
    Delta,
    Function,
    LimitReading,
    Message,
    Request,
    ToolCall,
)
from ._anthropic_own import USUAL, content_in, content_of
from ._anthropic_request import JSON_TOOL, write_body
from ._anthropic_wire import (
    StopDetails,
    WireBlock,
    WireDelta,
    WireReply,
    WireUsage,
    decode_event,
    decode_reply,
)
from ._base import NATIVE, REFUSED, TRANSLATED, Dialect, StreamReader
from ._blocks import BlockStream, thinking_block
from ._bodies import encode, json_text, posted
from ._classify import request_id
from ._limits import anthropic_limits
from ._reasons import ended, is_something

MARKS = (b'"content_block_delta"', b'"message_delta"', b'"error"')

FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTED = (
    *("system", "messages", "tools", "tool_choice"),
    *("thinking", "output_config"),
)
PAUSED = "the provider paused its turn: send the reply back to let it go on"


class Anthropic(Dialect):
    """api.anthropic.com. Option ``betas``: names for the anthropic-beta header."""

    name = "anthropic"
    key_env: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    base_env: ClassVar[tuple[str, ...]] = ("ANTHROPIC_BASE_URL",)
    default_base_url = "https://api.anthropic.com"
    supports: ClassVar[Mapping[str, str]] = {
        "stream": NATIVE,
        "tools": TRANSLATED,
        "tool_choice": TRANSLATED,
        "parallel_tool_calls": TRANSLATED,
        "image_url": TRANSLATED,
        "image_data": TRANSLATED,
        "input_audio": REFUSED,
        "file": TRANSLATED,
        "json_object": TRANSLATED,
        "json_schema": TRANSLATED,
        "n": REFUSED,
        "stop": TRANSLATED,
        "seed": REFUSED,
        "logprobs": REFUSED,
        "reasoning_effort": TRANSLATED,
        "cache_control": NATIVE,
        "service_tier": TRANSLATED,
        "rate_limit_headers": NATIVE,
        "embeddings": REFUSED,
        "health": NATIVE,
        "count_tokens": NATIVE,
    }

    def auth(self, key: str) -> list[str]:
        """The key's own header; tokens, by their look or variable, go as bearer."""
        token = os.environ.get("ANTHROPIC_AUTH_TOKEN")
        if key.startswith("sk-ant-oat") or key == token:
            return [f"Authorization: Bearer {key}"]
        return [f"x-api-key: {key}"]

    def headers(self) -> list[str]:
        """The common lines and the API's version."""
        lines = [*super().headers(), "anthropic-version: 2023-06-01"]
        betas = self.options.get("betas")
        if betas:
            names = betas if isinstance(betas, str) else ",".join(betas)
            lines.append(f"anthropic-beta: {names}")
        return lines

    def body(self, call: Call, warnings: list[str]) -> dict[str, Any]:
        """The body without what belongs to the place it is sent to."""
        return write_body(self, call, warnings)

    def chat(self, call: Call) -> Request:
        """Write a message request."""
        warnings: list[str] = []
        body = {"model": self.model, **self.body(call, warnings)}
        if call.stream:
            body["stream"] = True
        target = f"{self.path}/v1/messages"
        request = posted(call, target, body, warnings, SSE, MARKS)
        request.region = place(body.get("inference_geo"))
        return request

    def count_tokens(self, call: Call) -> Request | None:
        """Write a request that counts the prompt's tokens, free of charge."""
        body = self.body(call, [])
        counted = {name: body[name] for name in _COUNTED if name in body}
        return Request(
            target=f"{self.path}/v1/messages/count_tokens",
            body=encode({"model": self.model, **counted}),
        )

    def health(self) -> Request | None:
        """One page of the list of models: free, and it proves the key."""
        return Request(
            method="GET",
            target=f"{self.path}/v1/models?limit=1",
        )

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete message."""
        wire = decode_reply(body)
        if wire.error or wire.type == "error":
            raise self.error_inside(headers, body)
        if wire.stop_reason is None:
            raise ProtocolError("the answer has no stop reason", offset=len(body))
        warnings = [PAUSED] if wire.stop_reason == "pause_turn" else []
        return ChatReply(
            choices=[self._choice(wire, body, warnings)],
            id=wire.id,
            created=int(time.time()),
            model=wire.model or self.model,
            usage=wire.usage.usage() if wire.usage is not None else None,
            service_tier=wire.usage.tier() if wire.usage is not None else None,
            provider_request_id=request_id(headers),
            warnings=warnings,
            raw_body=body,
        )

    def _choice(self, wire: WireReply, body: bytes, warnings: list[str]) -> Choice:
        message, is_json = _message(wire, body)
        reason = ended(
            self,
            wire.stop_reason or "",
            FINISH_REASONS,
            (),
            warnings,
            came=is_something(message),
            called=bool(message.tool_calls),
        )
        if is_json and reason == "tool_calls":
            reason = "stop"
        return Choice(message, 0, reason)

    def stream(self) -> StreamReader:
        """A reader of Anthropic's events."""
        return AnthropicStream(self)

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """Anthropic's own headers."""
        return anthropic_limits(headers, now_wall)


def _message(wire: WireReply, body: bytes) -> tuple[Message, bool]:
    """The message of a complete answer, and whether the forced JSON tool is in it."""
    text: list[str] = []
    thoughts: list[str] = []
    blocks: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    is_json = False
    others = False  # blocks of Anthropic's own tools, whose order matters
    for block in wire.content:
        kind = block.type
        if kind == "text":
            text.append(block.text or "")
        elif kind == "tool_use":
            arguments = json_text(block.input) or "{}"
            if block.name == JSON_TOOL:
                text.append(arguments)
                is_json = True
            else:
                function = Function(block.name or "", arguments)
                calls.append(ToolCall(block.id or "", function))
        elif kind == "thinking":
            thoughts.append(block.thinking or "")
            blocks.append(thinking_block(block.thinking, block.signature))
        elif kind == "redacted_thinking":
            blocks.append({"type": kind, "data": block.data})
        else:
            others = True
    message = Message(content="".join(text) if text or not calls else None)
    if calls:
        message.tool_calls = calls
    if blocks:
        message.thinking_blocks = blocks
        message.reasoning_content = "".join(thoughts) or None
    if others:
        message.extra_content = content_of(body)
    if wire.stop_reason == "refusal":
        message.refusal = _refusal(wire.stop_details)
    return message, is_json


def _refusal(details: StopDetails | None) -> str:
    if details is None:
        return "the provider refused to answer"
    return details.explanation or details.category or "the provider refused to answer"


class AnthropicStream(BlockStream):
    """Reads Anthropic's events: blocks that start, grow and stop."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._usage = WireUsage()
        self._starts: list[tuple[int, bytes]] = []  # events that begin blocks
        self._deltas: list[tuple[int, WireDelta]] = []
        self._own = False  # a tool of Anthropic's own took part

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one event; unknown ones give nothing."""
        wire = decode_event(data)
        kind = wire.type or event
        if kind == "content_block_delta":
            if wire.delta is None:
                return []
            self._deltas.append((wire.index, wire.delta))
            return self._delta(wire.index, wire.delta)
        if kind == "content_block_start":
            self._starts.append((wire.index, data))
            return self._block(wire.index, wire.content_block)
        if kind == "content_block_stop":
            return self.stop(wire.index)
        if kind == "message_start" and wire.message is not None:
            self.id = wire.message.id
            self.model = wire.message.model or self.dialect.model
            self.created = int(time.time())
            self._count(wire.message.usage)
        elif kind == "message_delta":
            self._count(wire.usage)
            if wire.delta is not None and wire.delta.stop_reason is not None:
                return self._finish(wire.delta)
        elif kind == "message_stop":
            self.done = True
        elif kind == "error" or wire.error:
            raise self.dialect.error_inside({}, data)
        return []

    def _count(self, usage: WireUsage | None) -> None:
        if usage is not None:
            self._usage.update(usage)
            self.usage = self._usage.usage()
            self.service_tier = self._usage.tier()

    def _finish(self, delta: WireDelta) -> list[ChatChunk]:
        said = delta.stop_reason or ""
        self.finish(said, FINISH_REASONS)
        if delta.stop_reason == "pause_turn":
            self.warnings.append(PAUSED)
        chunks = []
        if self._own:
            content = content_in(self._starts, self._deltas)
            chunks += self.add(Delta(extra_content=content))
        if delta.stop_reason == "refusal":
            chunks += self.add(Delta(refusal=_refusal(delta.stop_details)))
        return chunks

    def _block(self, index: int, block: WireBlock | None) -> list[ChatChunk]:
        if block is None:
            return []
        self._own = self._own or block.type not in USUAL
        if block.type == "tool_use":
            return self.tool(index, block.id, block.name or "")
        if block.type == "redacted_thinking":
            one = {"type": block.type, "data": block.data}
            return self.add(Delta(thinking_blocks=[one]))
        if block.type == "text" and block.text:
            return self.add(Delta(block.text))
        return []

    def _delta(self, index: int, delta: WireDelta) -> list[ChatChunk]:
        kind = delta.type
        if kind == "text_delta":
            return self.add(Delta(delta.text)) if delta.text else []
        if kind == "input_json_delta":
            return self.arguments(index, delta.partial_json)
        if kind == "thinking_delta" and delta.thinking:
            return self.thought(index, delta.thinking)
        if kind == "signature_delta":
            return self.signed(index, delta.signature)
        return []
