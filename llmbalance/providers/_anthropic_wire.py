"""Anthropic's answers and events as they come: see ``anthropic.py``.

Fields bear the provider's own names; what nobody reads is left out, and skipped.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from .._money._cost import place
from .._types import Usage
from ._bodies import decoder


class CacheCreation(Struct, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(Struct, gc=False):
    thinking_tokens: int | None = None


class ServerTools(Struct, gc=False):
    web_search_requests: int | None = None


class WireUsage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None

    def tier(self) -> str | None:
        """The tier that was billed; fast inference has a price of its own."""
        return "fast" if self.speed == "fast" else self.service_tier

    def update(self, later: WireUsage) -> None:
        """Take over what a later event of the stream says; its counts are totals."""
        for name in self.__struct_fields__:
            value = getattr(later, name)
            if value is not None:
                setattr(self, name, value)

    def usage(self) -> Usage:
        """The common form: the prompt includes what was read from and put in cache."""
        read = self.cache_read_input_tokens or 0
        write = self.cache_creation_input_tokens or 0
        hour = (
            self.cache_creation and self.cache_creation.ephemeral_1h_input_tokens
        ) or 0
        thought = self.output_tokens_details
        tools = self.server_tool_use
        prompt, output = (
            (self.input_tokens or 0) + read + write,
            self.output_tokens or 0,
        )
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=output,
            total_tokens=prompt + output,
            cached_tokens=read,
            cache_write_tokens=write,
            cache_write_1h_tokens=hour,
            reasoning_tokens=(thought and thought.thinking_tokens) or 0,
            web_search_requests=(tools and tools.web_search_requests) or 0,
            region=place(self.inference_geo),
        )


class WireBlock(Struct):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class StopDetails(Struct):
    category: str | None = None
    explanation: str | None = None


class WireReply(Struct):
    content: list[WireBlock] = []
    id: str = ""
    model: str = ""
    type: str = ""
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: WireUsage | None = None
    error: Any = None


class WireDelta(Struct):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class WireEvent(Struct):
    type: str = ""
    index: int = 0
    delta: WireDelta | None = None
    content_block: WireBlock | None = None
    message: WireReply | None = None
    usage: WireUsage | None = None
    error: Any = None


decode_reply = decoder(WireReply)


decode_event = decoder(WireEvent)
