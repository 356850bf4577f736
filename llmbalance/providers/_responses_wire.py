"""The Responses API's answers and events as they come: see ``responses.py``.

Fields bear the provider's own names; what nobody reads is left out, and skipped.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from .._types import Usage
from ._bodies import decoder


class InputDetails(Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputDetails(Struct, gc=False):
    reasoning_tokens: int | None = None


class WireUsage(Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    cost_in_usd_ticks: int | None = None  # xAI: 1e-10 USD

    def usage(self) -> Usage:
        """The common form."""
        inside, outside = self.input_tokens_details, self.output_tokens_details
        ticks = self.cost_in_usd_ticks
        return Usage(
            prompt_tokens=self.input_tokens,
            completion_tokens=self.output_tokens,
            total_tokens=self.total_tokens,
            cached_tokens=(inside and inside.cached_tokens) or 0,
            cache_write_tokens=(inside and inside.cache_write_tokens) or 0,
            reasoning_tokens=(outside and outside.reasoning_tokens) or 0,
            cost_usd=ticks / 1e10 if ticks else None,
        )


class WirePart(Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[dict[str, Any]] | None = None


class WireItem(Struct):
    type: str = ""
    id: str | None = None
    content: list[WirePart] | None = None
    summary: list[WirePart] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None  # of a custom tool


class Searches(Struct):
    num_requests: int = 0


class ToolUsage(Struct):
    web_search: Searches | None = None


class Incomplete(Struct):
    reason: str | None = None


class WireResponse(Struct):
    output: list[WireItem] = []
    id: str = ""
    model: str = ""
    created_at: float = 0
    status: str | None = None
    incomplete_details: Incomplete | None = None
    usage: WireUsage | None = None
    service_tier: str | None = None
    error: Any = None
    tool_usage: ToolUsage | None = None

    def counted(self) -> Usage | None:
        """What was used, searches included; None where nothing is said."""
        if self.usage is None:
            return None
        used, tools = self.usage.usage(), self.tool_usage
        searches = tools.web_search.num_requests if tools and tools.web_search else 0
        return structs.replace(used, web_search_requests=searches) if searches else used


class WireEvent(Struct):
    type: str = ""
    delta: str | None = None
    logprobs: list[dict[str, Any]] | None = None
    output_index: int = 0
    item: WireItem | None = None
    response: WireResponse | None = None
    error: Any = None


decode_response = decoder(WireResponse)


decode_event = decoder(WireEvent)
