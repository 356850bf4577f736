"""OpenAI's answers and chunks as all who copied them send them.

Fields bear the provider's own names; what nobody reads is left out, and skipped.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from .._errors import ProtocolError
from .._types import Choice, ChunkChoice, Embedding, Usage
from ._lenient import put_right


class PromptParts(Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class CompletionParts(Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class WireUsage(Struct):
    """Usage as OpenAI and its relatives send it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptParts | None = None
    completion_tokens_details: CompletionParts | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek
    cached_tokens: int | None = None  # Together and others, outside the details
    cost: float | dict[str, Any] | None = None  # OpenRouter, USD; Perplexity nests it
    cost_in_usd_ticks: int | None = None  # xAI, in 1e-10 USD
    service_tier: str | None = None  # Mistral: the tier that was billed

    def usage(self) -> Usage | None:
        """The same in the common form; None where nothing is counted."""
        told = (self.prompt_tokens, self.completion_tokens, self.total_tokens)
        if {*told, self.cost_in_usd_ticks} == {None} and self.cost is None:
            return None
        completion = self.completion_tokens or 0
        prompt = self.prompt_tokens
        if prompt is None:  # what is left of the whole
            prompt = max(0, (self.total_tokens or 0) - completion)
        inside = self.prompt_tokens_details
        outside = self.completion_tokens_details
        cached = (inside and inside.cached_tokens) or self.prompt_cache_hit_tokens
        cost = self.cost
        if isinstance(cost, dict):
            cost = cost.get("total_cost")
        if self.cost_in_usd_ticks is not None:
            cost = self.cost_in_usd_ticks / 1e10
        return Usage(
            prompt,
            completion,
            self.total_tokens or prompt + completion,
            cached or self.cached_tokens or 0,
            (inside and inside.cache_write_tokens) or 0,
            0,
            (outside and outside.reasoning_tokens) or 0,
            (inside and inside.audio_tokens) or 0,
            (outside and outside.audio_tokens) or 0,
            (inside and inside.image_tokens) or 0,
            (outside and outside.image_tokens) or 0,
            0,
            cost,
        )


class GroqExtra(Struct):
    usage: WireUsage | None = None

    def counted(self) -> Usage | None:
        """What was used; None where only Groq's own hardware is counted there."""
        told = self.usage
        if told is None or told.prompt_tokens is None:
            return None
        return told.usage()


class _Answer(Struct):
    """What complete answers and the events of streams have in common."""

    id: str = ""
    created: int = 0
    model: str = ""
    usage: WireUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    error: Any = None

    def tier(self) -> str | None:
        """The tier that was billed; Mistral says it with the usage."""
        if self.service_tier is None and self.usage is not None:
            return self.usage.service_tier
        return self.service_tier


class WireReply(_Answer):
    """A complete answer."""

    choices: list[Choice] = []


class WireChunk(_Answer):
    """One event of a stream."""

    choices: list[ChunkChoice] = []
    x_groq: GroqExtra | None = None


class WireEmbeddings(Struct):
    data: list[Embedding] = []
    model: str = ""
    usage: WireUsage | None = None
    error: Any = None


decode_reply = msgspec.json.Decoder(WireReply).decode


decode_chunk = msgspec.json.Decoder(WireChunk).decode


decode_embeddings = msgspec.json.Decoder(WireEmbeddings).decode


def convert(value: dict[str, Any], wire: type[Any]) -> Any:
    """Convert an answer that did not fit at once; ProtocolError when it cannot be."""
    try:
        return msgspec.convert(put_right(value), wire, strict=False)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the answer has an unexpected shape: {error}") from None
