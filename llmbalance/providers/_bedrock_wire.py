"""Converse's answers and frames as they come: see ``bedrock.py``.

Fields bear the provider's own names; what nobody reads is left out, and skipped.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from .._types import Usage
from ._bodies import decoder


class ToolUse(Struct, rename="camel"):
    name: str = ""
    tool_use_id: str = ""
    type: str | None = None  # "server_tool_use": Bedrock runs it
    input: msgspec.Raw = msgspec.Raw(b"{}")


class Thought(Struct):
    text: str = ""
    signature: str | None = None


class Reasoning(Struct, rename="camel"):
    reasoning_text: Thought | None = None
    redacted_content: str | None = None
    text: str | None = None
    signature: str | None = None


class CitedText(Struct):
    text: str = ""


class Cited(Struct):
    content: list[CitedText] = []


class ImageSource(Struct):
    bytes: str = ""


class Image(Struct):
    format: str = "png"
    source: ImageSource | None = None


class WireBlock(Struct, rename="camel"):
    text: str | None = None
    tool_use: ToolUse | None = None
    reasoning_content: Reasoning | None = None
    citations_content: Cited | None = None
    image: Image | None = None


class WireContent(Struct):
    content: list[WireBlock] = []


class WireOutput(Struct):
    message: WireContent | None = None


class CacheDetail(Struct, rename="camel"):
    ttl: str = ""
    input_tokens: int = 0


class WireUsage(Struct, rename="camel"):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_details: list[CacheDetail] | None = None

    def usage(self) -> Usage:
        """The common form: the prompt includes what was read from and put in cache."""
        read, write = self.cache_read_input_tokens, self.cache_write_input_tokens
        prompt = self.input_tokens + read + write
        hour = sum(d.input_tokens for d in self.cache_details or () if d.ttl == "1h")
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=self.output_tokens,
            total_tokens=prompt + self.output_tokens,
            cached_tokens=read,
            cache_write_tokens=write,
            cache_write_1h_tokens=hour,
        )


class WireTier(Struct):
    type: str | None = None


class WireReply(Struct, rename="camel"):
    output: WireOutput | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    service_tier: WireTier | None = None


class BlockStart(Struct, rename="camel"):
    tool_use: ToolUse | None = None


class InputPiece(Struct):
    input: str = ""


class WireDelta(Struct, rename="camel"):
    text: str | None = None
    tool_use: InputPiece | None = None
    reasoning_content: Reasoning | None = None


class WireEvent(Struct, rename="camel"):
    content_block_index: int = 0
    start: BlockStart | None = None
    delta: WireDelta | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    service_tier: WireTier | None = None
    message: str | None = None  # of an exception


class ClaudeChunk(Struct):
    bytes: str = ""


decode_reply = decoder(WireReply)


decode_event = decoder(WireEvent)


decode_chunk = decoder(ClaudeChunk)
