"""Gemini (AI Studio, and the same methods under Vertex AI's paths)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from .._bucket import SECOND, Refusal
from .._exchange import Ask, Refused, Reply, Usage
from .._words import pieces
from ._base import (
    Event,
    Turn,
    encode,
)
from ._google_read import GoogleReader
from .openai import embedding

_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_QUOTAS = {  # kind of limit -> metric, quota id
    "requests": (
        "generate_requests_per_model",
        "GenerateRequestsPerMinutePerProjectPerModel",
    ),
    "requests_day": (
        "generate_requests_per_model_per_day",
        "GenerateRequestsPerDayPerProjectPerModel",
    ),
    "tokens": (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
}
_TYPE = "type.googleapis.com/google.rpc."
_GROUP = 8  # tokens in one chunk of a stream, after the first


def pretty(value: Any) -> bytes:
    """JSON as Google prints it outside of event streams."""
    return msgspec.json.format(encode(value), indent=2) + b"\n"


class Google(GoogleReader):
    """The API of generativelanguage.googleapis.com; no rate-limit headers at all."""

    name: ClassVar[str] = "google"
    charge: ClassVar[str] = "input"
    image_tokens: ClassVar[int] = 258
    stream_type: ClassVar[str] = "text/event-stream"
    json_type: ClassVar[str] = "application/json; charset=UTF-8"

    # --- writing -------------------------------------------------------------

    def part_calls(self, reply: Reply) -> list[dict[str, Any]]:
        """Function calls: arguments as an object, and no id."""
        calls = []
        for call in reply.calls:
            try:
                args = msgspec.json.decode(call.arguments)
            except msgspec.DecodeError:
                args = {}
            calls.append({"functionCall": {"name": call.name, "args": args}})
        return calls

    def usage(self, used: Usage, done: int, thoughts: int) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "promptTokenCount": used.input,
            "candidatesTokenCount": done,
            "totalTokenCount": used.input + done + thoughts,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used.input}],
        }
        if used.cached:
            usage["cachedContentTokenCount"] = used.cached
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        return usage

    def tail(self, turn: Turn, done: int, thoughts: int) -> dict[str, Any]:
        return {
            "usageMetadata": self.usage(turn.usage, done, thoughts),
            "modelVersion": turn.ask.model,
            "responseId": turn.key,
        }

    def candidate(self, parts: list[Any], i: int, finish: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
        if not parts:
            candidate["content"] = {"role": "model"}
        return candidate | ({"finishReason": finish} if finish else {}) | {"index": i}

    def unary(self, turn: Turn) -> bytes:
        kind = turn.ask.kind
        if kind == "models" and turn.ask.model:
            return pretty({"name": f"models/{turn.ask.model}"})
        if kind == "models":
            return pretty({"models": [{"name": f"models/{m}"} for m in self.models]})
        if kind == "count":
            return pretty({"totalTokens": turn.usage.input})
        if kind == "embed":
            return pretty(self.embed_body(turn))
        rows = []
        for i, reply in enumerate(turn.replies):
            parts: list[Any] = []
            if reply.reasoning:
                parts.append({"text": reply.reasoning, "thought": True})
            if reply.text:
                parts.append({"text": reply.text})
            parts += self.part_calls(reply)
            rows.append(self.candidate(parts, i, _FINISH[reply.finish]))
        done = turn.usage.output - turn.usage.reasoning
        return pretty(
            {"candidates": rows} | self.tail(turn, done, turn.usage.reasoning)
        )

    def embed_body(self, turn: Turn) -> dict[str, Any]:
        rows = turn.ask.body.get("requests") or [turn.ask.body]
        values = []
        for row, text in zip(rows, turn.ask.inputs, strict=True):
            size = row.get("outputDimensionality") or 16
            values.append({"values": embedding(text, min(int(size), 4096))})
        if "requests" in turn.ask.body:
            return {"embeddings": values}
        return {"embedding": values[0]}

    # --- streams -------------------------------------------------------------

    def events(self, turn: Turn) -> Iterator[Event]:
        """Chunks with running usage; CRLF events, or one JSON array without alt=sse."""
        sse = turn.ask.include_usage
        first = True
        at = 0
        for at, chunk in self.chunks(turn):
            if sse:
                yield at, b"data: " + encode(chunk) + b"\r\n\r\n"
            else:
                yield at, (b"[" if first else b",\r\n") + pretty(chunk)
            first = False
        if not sse:
            yield at, b"]"

    def stream_content_type(self, ask: Ask) -> str:
        return self.stream_type if ask.include_usage else self.json_type

    def chunks(self, turn: Turn) -> Iterator[tuple[int, dict[str, Any]]]:
        at = done = thoughts = 0
        for i, reply in enumerate(turn.replies):
            for parts, tokens, thinking in self.portions(reply):
                at += tokens
                thoughts += tokens if thinking else 0
                done += 0 if thinking else tokens
                body = {"candidates": [self.candidate(parts, i, None)]}
                yield at, body | self.tail(turn, done, thoughts)
            last = i == len(turn.replies) - 1
            if last:
                thoughts = turn.usage.reasoning
                done = turn.usage.output - thoughts
            parts = self.part_calls(reply) or [{"text": ""}]
            end = self.candidate(parts, i, _FINISH[reply.finish])
            yield at, {"candidates": [end]} | self.tail(turn, done, thoughts)

    def portions(self, reply: Reply) -> Iterator[tuple[list[Any], int, bool]]:
        """Parts of text, their tokens, and whether they are thoughts."""
        for text, thinking in ((reply.reasoning, True), (reply.text, False)):
            mark = {"thought": True} if thinking else {}
            held, size, group = "", 0, 1
            for piece in pieces(text):
                held += piece
                size += 1
                if size == group:
                    yield [{"text": held} | mark], size, thinking
                    held, size, group = "", 0, _GROUP
            if held:
                yield [{"text": held} | mark], size, thinking

    # --- errors and limits ---------------------------------------------------

    def body(
        self, status: int, message: str, details: list[Any] | None = None
    ) -> bytes:
        name = _STATUS.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
        error: dict[str, Any] = {"code": status, "message": message, "status": name}
        return pretty({"error": error | ({"details": details} if details else {})})

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        status, message = self.describe(refused)
        details = None
        if refused.kind == "auth":
            details = [
                {
                    "@type": f"{_TYPE}ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                    "metadata": {"service": "generativelanguage.googleapis.com"},
                }
            ]
        return status, self.body(status, message, details)

    def describe(self, refused: Refused) -> tuple[int, str]:
        match refused.kind:
            case "auth":
                return (
                    refused.status or 400,
                    "API key not valid. Please pass a valid API key.",
                )
            case "auth_missing":
                return 403, (
                    "Method doesn't allow unregistered callers (callers without "
                    "established identity). Please use API Key or other form of API "
                    "consumer identity to call this API."
                )
            case "not_found":
                return 404, (
                    f"models/{refused.message} is not found for API version v1beta, or "
                    "is not supported for generateContent. Call ListModels to see the "
                    "list of available models and their supported methods."
                )
            case "no_route":
                return 404, "Requested entity was not found."
            case "context":
                return 400, (
                    f"The input token count ({refused.message}) exceeds the maximum "
                    f"number of tokens allowed ({self.context_window})."
                )
            case "too_large":
                return 413, refused.message
            case "overloaded":
                return 503, "The model is overloaded. Please try again later."
            case "server":
                status = refused.status or 500
                if status == 503:
                    return status, "The model is overloaded. Please try again later."
                return status, "An internal error has occurred. Please retry."
        return 400, refused.message

    def limited(
        self, refusal: Refusal, ask: Ask, key: str
    ) -> tuple[int, bytes, list[str]]:
        """The quota that failed and the wait stand in the body, nothing in headers."""
        metric, quota = _QUOTAS.get(refusal.kind, _QUOTAS["requests"])
        metric = f"generativelanguage.googleapis.com/{metric}"
        wait = refusal.wait_ns / SECOND
        message = (
            "You exceeded your current quota, please check your plan and billing "
            "details. For more information on this error, head to: "
            "https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for "
            f"metric: {metric}, limit: {refusal.limit}, model: {ask.model}"
        )
        violation = {
            "quotaMetric": metric,
            "quotaId": quota,
            "quotaDimensions": {"model": ask.model, "location": "global"},
            "quotaValue": str(refusal.limit),
        }
        link = "https://ai.google.dev/gemini-api/docs/rate-limits"
        links = [{"description": "Learn more about Gemini API quotas", "url": link}]
        details: list[Any] = [
            {"@type": f"{_TYPE}Help", "links": links},
            {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
        ]
        if not refusal.hopeless:
            message += f"\nPlease retry in {wait:.9f}".rstrip("0").rstrip(".") + "s."
            details.append(_retry_info(wait))
        return 429, self.body(429, message, details), []

    def with_retry(self, body: bytes, seconds: float) -> tuple[bytes, list[str]]:
        try:
            value = msgspec.json.decode(body)
            value["error"].setdefault("details", []).append(_retry_info(seconds))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return body, self.retry_headers(seconds)  # a scripted body of another shape
        return pretty(value), []

    def stream_error(self, turn: Turn) -> bytes:
        """Bare pretty-printed JSON between the events, without `data:`."""
        _, body = self.error(Refused("server", status=503), turn.key)
        return body.replace(b"\n", b"\r\n")

    def headers(self, key: str, took: float) -> list[str]:
        return [
            "Vary: Origin",
            "Vary: X-Origin",
            "Vary: Referer",
            "Server: scaffolding on HTTPServer2",
            f"Server-Timing: gfet4t7; dur={took * 1000:.0f}",
            "X-Gemini-Service-Tier: standard",
        ]


def _retry_info(seconds: float) -> dict[str, str]:
    """Whole seconds, cut off, as in Google's bodies (the message has the rest)."""
    return {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{int(seconds)}s"}
