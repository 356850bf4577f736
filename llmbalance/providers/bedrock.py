"""Amazon Bedrock's Converse API; option ``api`` = "invoke" sends Claude its own words.

    OpenAI                               Converse
    content parts                   ->   {"text"}, {"image"}, {"document"} blocks
    tool_calls / tool messages      ->   toolUse / toolResult blocks
    cache_control                   ->   a cachePoint block after the marked one
    reasoning blocks                ->   reasoningContent, with its signature

The key is a Bedrock API key (bearer). Without one, requests are signed by the transport
with AWS credentials: options ``access_key``, ``secret_key``, ``session_token`` or the
AWS environment variables. Option ``region`` (or AWS_REGION) names the region. Streams
are binary frames; the transport hands on each frame's event name and payload.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from .._errors import ConfigError, ProtocolError
from .._types import (
    AWS_FRAMES,
    Call,
    ChatChunk,
    ChatReply,
    Choice,
    Delta,
    Function,
    Message,
    Request,
    ToolCall,
)
from ._anthropic_request import JSON_TOOL
from ._aws import Aws
from ._base import NATIVE, REFUSED, TRANSLATED, Dialect, StreamReader
from ._bedrock_request import write_body
from ._bedrock_wire import (
    Reasoning,
    Thought,
    WireBlock,
    WireDelta,
    decode_event,
    decode_reply,
)
from ._blocks import BlockStream, thinking_block
from ._bodies import encode, json_text, posted
from ._classify import request_id
from ._reasons import ended, is_something

MARKS = (b'"contentBlockIndex"', b'"stopReason"')
FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
FAILURES = ("malformed_model_output", "malformed_tool_use")
_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")


class Bedrock(Aws, Dialect):
    """Any model of Bedrock through Converse."""

    name = "bedrock"
    key_env = ("AWS_BEARER_TOKEN_BEDROCK",)
    base_env = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME",)
    needs_key = False
    supports: ClassVar[Mapping[str, str]] = {
        "stream": NATIVE,
        "tools": TRANSLATED,
        "tool_choice": TRANSLATED,
        "parallel_tool_calls": REFUSED,
        "image_url": REFUSED,
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
        "cache_control": TRANSLATED,
        "service_tier": TRANSLATED,
        "rate_limit_headers": REFUSED,
        "embeddings": REFUSED,
        "health": REFUSED,
        "count_tokens": NATIVE,
    }

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """Claude by InvokeModel when option ``api`` asks for it."""
        api = options.get("api", "converse")
        if api not in ("converse", "invoke"):
            raise ConfigError("api", api, 'use "converse" or "invoke"')
        if api == "converse":
            return cls
        if "claude" not in model:
            raise ConfigError("api", api, "only Claude models are spoken to so")
        from ._bedrock_claude import BedrockClaude  # seldom asked for

        return BedrockClaude

    def base_url(self) -> str:
        """The environment's address, else the region's."""
        return super().base_url() or self.region_url()

    def chat(self, call: Call) -> Request:
        """Write a converse or converse-stream request."""
        warnings: list[str] = []
        body = write_body(self, call, warnings)
        method = "converse-stream" if call.stream else "converse"
        target = f"{self.path}/model/{quote(self.model, safe='')}/{method}"
        return posted(call, target, body, warnings, AWS_FRAMES, MARKS)

    def count_tokens(self, call: Call) -> Request:
        """Write a request that counts the prompt's tokens, free of charge."""
        body = write_body(self, call, [])
        counted = {name: body[name] for name in _COUNTED if name in body}
        return Request(
            target=f"{self.path}/model/{quote(self.model, safe='')}/count-tokens",
            body=encode({"input": {"converse": counted}}),
        )

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete answer."""
        wire = decode_reply(body)
        if wire.output is None or wire.output.message is None or not wire.stop_reason:
            raise ProtocolError("the answer has no message", offset=len(body))
        message = _message(wire.output.message.content)
        warnings: list[str] = []
        reason = ended(
            self,
            wire.stop_reason,
            FINISH_REASONS,
            FAILURES,
            warnings,
            came=is_something(message),
            called=bool(message.tool_calls),
        )
        if reason == "tool_calls" and not message.tool_calls:
            reason = "stop"  # the forced JSON tool
        return ChatReply(
            choices=[Choice(message, 0, reason)],
            id=request_id(headers) or "",
            created=int(time.time()),
            model=self.model,
            usage=wire.usage.usage() if wire.usage is not None else None,
            service_tier=wire.service_tier.type if wire.service_tier else None,
            provider_request_id=request_id(headers),
            warnings=warnings,
            raw_body=body,
        )

    def stream(self) -> StreamReader:
        """A reader of Converse's events."""
        return BedrockStream(self)


def _message(blocks: list[WireBlock]) -> Message:
    text: list[str] = []
    thoughts: list[str] = []
    kept: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    images: list[dict[str, Any]] = []
    for block in blocks:
        if block.text is not None:
            text.append(block.text)
        elif block.citations_content is not None:
            text += [cited.text for cited in block.citations_content.content]
        elif block.image is not None and block.image.source is not None:
            images.append(_shown(block.image.format, block.image.source.bytes))
        elif block.tool_use is not None and block.tool_use.type is None:
            arguments = json_text(block.tool_use.input)
            if block.tool_use.name == JSON_TOOL:
                text.append(arguments)
            else:
                function = Function(block.tool_use.name, arguments)
                calls.append(ToolCall(block.tool_use.tool_use_id, function))
        elif block.reasoning_content is not None:
            one = _thinking(block.reasoning_content)
            kept.append(one)
            thoughts.append(one.get("thinking", ""))
    message = Message("".join(text) if text or not calls else None)
    message.tool_calls = calls or None
    message.thinking_blocks = kept or None
    message.reasoning_content = "".join(thoughts) or None
    message.images = images or None
    return message


def _shown(kind: str, data: str) -> dict[str, Any]:
    url = f"data:image/{kind};base64,{data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _thinking(reasoning: Reasoning) -> dict[str, Any]:
    if reasoning.redacted_content is not None:
        return {"type": "redacted_thinking", "data": reasoning.redacted_content}
    thought = reasoning.reasoning_text or Thought()
    return thinking_block(thought.text, thought.signature)


class BedrockStream(BlockStream):
    """Reads Converse's events by their names."""

    dialect: Bedrock

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one frame; names of exceptions start with "exception:"."""
        if event.startswith(("exception:", "error:")):
            raise self._exception(event, data)
        wire = decode_event(data)
        index = wire.content_block_index
        if event == "contentBlockDelta" and wire.delta is not None:
            return self._delta(index, wire.delta)
        if event == "contentBlockStart" and wire.start is not None:
            tool = wire.start.tool_use
            if tool is None or tool.type is not None:  # Bedrock's own
                return []
            return self.tool(index, tool.tool_use_id, tool.name)
        if event == "contentBlockStop":
            return self.stop(index)
        if event == "messageStart":
            self.model = self.dialect.model
            self.created = int(time.time())
        elif event == "messageStop":
            self.finish(wire.stop_reason or "", FINISH_REASONS, FAILURES)
        elif event == "metadata":
            if wire.usage is not None:
                self.usage = wire.usage.usage()
            self.service_tier = wire.service_tier.type if wire.service_tier else None
            self.done = True
        return []

    def _exception(self, event: str, data: bytes) -> Exception:
        headers = {"x-amzn-errortype": event.partition(":")[2]}
        return self.dialect.error_inside(headers, data)

    def _delta(self, index: int, delta: WireDelta) -> list[ChatChunk]:
        if delta.text:
            return self.add(Delta(delta.text))
        if delta.tool_use is not None:
            return self.arguments(index, delta.tool_use.input)
        reasoning = delta.reasoning_content
        if reasoning is None:
            return []
        if reasoning.text:
            return self.thought(index, reasoning.text)
        if reasoning.signature is not None:
            return self.signed(index, reasoning.signature)
        if reasoning.redacted_content is not None:
            return self.add(Delta(thinking_blocks=[_thinking(reasoning)]))
        return []
