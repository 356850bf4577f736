"""Google's answers and chunks as they come: see ``google.py``.

Fields bear the provider's own names; what nobody reads is left out, and skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from .._types import Usage
from ._bodies import decoder


class WireCall(Struct):
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class WireBlob(Struct):
    mime: str = field(default="application/octet-stream", name="mimeType")
    data: str = ""


class WirePart(Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: WireCall | None = None
    inline_data: WireBlob | None = None


class WireContent(Struct):
    parts: list[WirePart] = []


class WireToken(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0

    def logprob(self) -> dict[str, Any]:
        """In OpenAI's shape."""
        return {
            "token": self.token,
            "logprob": self.log_probability,
            "bytes": list(self.token.encode()),
        }


class WireRivals(Struct):
    candidates: list[WireToken] = []


class WireLogprobs(Struct, rename="camel"):
    chosen_candidates: list[WireToken] = []
    top_candidates: list[WireRivals] = []

    def logprobs(self) -> dict[str, Any]:
        """In OpenAI's shape: every token with the most likely ones in its place."""
        content = [
            {**token.logprob(), "top_logprobs": []} for token in self.chosen_candidates
        ]
        for told, rivals in zip(content, self.top_candidates, strict=False):
            told["top_logprobs"] = [one.logprob() for one in rivals.candidates]
        return {"content": content, "refusal": None}


class WireCandidate(Struct, rename="camel"):
    content: WireContent | None = None
    finish_reason: str | int | None = None
    finish_message: str | None = None
    index: int = 0
    logprobs_result: WireLogprobs | None = None


class WireFeedback(Struct, rename="camel"):
    block_reason: str | int | None = None
    block_reason_message: str | None = None


class WireModality(Struct, rename="camel"):
    modality: str | int | None = None
    token_count: int = 0


class WireUsage(Struct, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    cached_content_token_count: int = 0
    total_token_count: int = 0
    prompt_tokens_details: list[WireModality] | None = None
    candidates_tokens_details: list[WireModality] | None = None
    service_tier: str | None = None
    traffic_type: str | int | None = None  # Vertex

    def tier(self) -> str | None:
        """The service tier that was billed; None where nothing is said."""
        return self.service_tier or _TRAFFIC.get(self.traffic_type)

    def usage(self) -> Usage:
        """The common form: the completion includes the thoughts."""
        prompt = self.prompt_token_count + self.tool_use_prompt_token_count
        output = self.candidates_token_count + self.thoughts_token_count
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=output,
            total_tokens=self.total_token_count or prompt + output,
            cached_tokens=self.cached_content_token_count,
            reasoning_tokens=self.thoughts_token_count,
            audio_input_tokens=_of(self.prompt_tokens_details, "AUDIO"),
            audio_output_tokens=_of(self.candidates_tokens_details, "AUDIO"),
            image_input_tokens=_of(self.prompt_tokens_details, "IMAGE"),
            image_output_tokens=_of(self.candidates_tokens_details, "IMAGE"),
        )


_TRAFFIC: Mapping[object, str] = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
}


def _of(details: list[WireModality] | None, modality: str) -> int:
    return sum(d.token_count for d in details or () if d.modality == modality)


class WireReply(Struct, rename="camel"):
    candidates: list[WireCandidate] = []
    prompt_feedback: WireFeedback | None = None
    usage_metadata: WireUsage | None = None
    model_version: str = ""
    response_id: str = ""
    error: Any = None


class WireVector(Struct):
    values: list[float] = []


class WireEmbeddings(Struct, rename="camel"):
    embeddings: list[WireVector] = []
    embedding: WireVector | None = None  # the one, where one was asked for
    usage_metadata: WireUsage | None = None
    error: Any = None


_decode_reply = decoder(WireReply)
_decode_list = decoder(list[WireReply])


decode_embeddings = decoder(WireEmbeddings)


def decode_reply(body: bytes) -> WireReply:
    """Decode an answer or a chunk; a list of chunks (no alt=sse) is joined."""
    if body.lstrip()[:1] == b"[":
        return _joined(_decode_list(body))
    return _decode_reply(body)


def _joined(chunks: list[WireReply]) -> WireReply:
    """One answer out of the chunks of a stream."""
    whole = WireReply()
    by_index: dict[int, WireCandidate] = {}
    for chunk in chunks:
        whole.error = whole.error or chunk.error
        whole.prompt_feedback = whole.prompt_feedback or chunk.prompt_feedback
        whole.usage_metadata = chunk.usage_metadata or whole.usage_metadata
        whole.model_version = chunk.model_version or whole.model_version
        whole.response_id = chunk.response_id or whole.response_id
        for one in chunk.candidates:
            kept = by_index.setdefault(one.index, WireCandidate(WireContent([])))
            assert kept.content is not None
            kept.content.parts += one.content.parts if one.content is not None else []
            kept.finish_reason = one.finish_reason or kept.finish_reason
            kept.finish_message = one.finish_message or kept.finish_message
            kept.index = one.index
            if one.logprobs_result is not None:
                found = kept.logprobs_result = kept.logprobs_result or WireLogprobs()
                found.chosen_candidates += one.logprobs_result.chosen_candidates
                found.top_candidates += one.logprobs_result.top_candidates
    whole.candidates = list(by_index.values())
    return whole
