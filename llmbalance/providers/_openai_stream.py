"""OpenAI's chunks, and the reasons for which its answers end.

Usage may come in the finish chunk, in one of its own or in every chunk; the finish
reason may come twice; ``[DONE]`` may be missing; a tool call may lack its index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._types import ChatChunk, ChunkChoice, ToolCallDelta
from ._base import Dialect, StreamReader
from ._bodies import decode_object, unreadable
from ._openai_wire import WireChunk, convert, decode_chunk
from ._reasons import ended

FINISH_REASONS: Mapping[str, str] = {
    "model_length": "length",
    "max_tokens": "length",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "complete": "stop",
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    **dict.fromkeys(
        (
            *("refusal", "safety", "recitation", "blocklist", "prohibited_content"),
            *("spii", "content_filtered", "guardrail_intervened", "error_toxic"),
        ),
        "content_filter",
    ),
}
# Finish reasons that are failures: the answer before them is not to be trusted.
FAILED = {
    "error": "server",
    "insufficient_system_resource": "overloaded",
    "abort": "server",
}


class OpenAIStream(StreamReader):
    """Reads chunks of OpenAI's shape, with the habits of all known hosts."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._calls: dict[int, list[str | None]] = {}  # ids of tool calls by choice

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one chunk."""
        if data == b"[DONE]":
            self.done = True
            return []
        try:
            wire = decode_chunk(data)
        except msgspec.ValidationError:
            wire = convert(decode_object(data), WireChunk)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(data, error) from None
        if wire.usage is not None:
            self.usage = wire.usage.usage() or self.usage
        elif wire.x_groq is not None:
            self.usage = wire.x_groq.counted() or self.usage
        if wire.error or event == "error":
            raise self.dialect.error_inside({}, data)
        if not self.id:
            self.id, self.created = wire.id, wire.created
            self.model = wire.model or self.dialect.model
            self.system_fingerprint = wire.system_fingerprint
        self.service_tier = wire.tier() or self.service_tier
        kept = [choice for choice in wire.choices if self._keep(choice)]
        return self.chunk(kept) if kept else []

    def _keep(self, choice: ChunkChoice) -> bool:
        reason = choice.finish_reason
        if reason is not None:
            again = choice.index in self.reasons and reason.lower() not in FAILED
            if reason and not again:
                self.reasons[choice.index] = self._reason(choice, reason)
            choice.finish_reason = None
        delta = choice.delta
        delta.role = None
        if delta.reasoning is not None:
            delta.reasoning_content = delta.reasoning_content or delta.reasoning
            delta.reasoning = None
        if delta.tool_calls:
            self._number(choice.index, delta.tool_calls)
            return True
        return bool(
            delta.content
            or delta.reasoning_content
            or delta.refusal
            or delta.reasoning_details
            or delta.audio
            or delta.images
            or choice.logprobs
        )

    def _reason(self, choice: ChunkChoice, said: str) -> str:
        delta, called = choice.delta, choice.index in self._calls
        return openai_reason(
            self.dialect,
            said,
            self.warnings,
            came=self._started or bool(delta.content or delta.refusal),
            called=called or bool(delta.tool_calls),
        )

    def _number(self, index: int, calls: list[ToolCallDelta]) -> None:
        """Give every fragment its call's index (Mistral may leave it out, Gemini's
        copy of this API gives all calls the same)."""
        known = self._calls.setdefault(index, [])
        for call in calls:
            if self._begins_another(known, call):
                call.index = None
            if call.index is None:
                if call.id is not None and call.id in known:
                    call.index = known.index(call.id)
                elif call.id is not None or not known:
                    call.index = len(known)
                else:
                    call.index = len(known) - 1
            while len(known) <= call.index:
                known.append(call.id)

    @staticmethod
    def _begins_another(known: list[str | None], call: ToolCallDelta) -> bool:
        """Whether a fragment begins a new call under the number of another one."""
        if call.index is None or not 0 <= call.index < len(known):
            return False
        named = call.function is not None and bool(call.function.name)
        return named and bool(call.id) and call.id != known[call.index] is not None


def openai_reason(
    dialect: Dialect,
    said: str,
    warnings: list[str],
    *,
    came: bool,
    called: bool,
    headers: Mapping[str, str] | None = None,
) -> str:
    """OpenAI's word for a finish reason; gateways pass on those of others.

    ``came``, ``called``: as for ``ended``; raises where it tells of a failure.
    """
    word = said.lower()
    if word in FAILED:
        raise dialect.error_inside(headers or {}, finish_error(word))
    if word in FINISH_REASONS:
        return FINISH_REASONS[word]
    return ended(dialect, said, {}, (), warnings, came=came, called=called)


def finish_error(reason: str) -> dict[str, Any]:
    """The error that a failed finish reason stands for."""
    kind = FAILED[reason]
    code = "overloaded_error" if kind == "overloaded" else "server_error"
    return {"error": {"message": f"the answer ended with {reason!r}", "code": code}}
