"""Anthropic Messages, with its streams, its five kinds of headers and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from .._bucket import SECOND, Limiter, Refusal
from .._exchange import Ask, Refused, Reply
from .._words import pieces
from ._anthropic_read import AnthropicReader
from ._base import (
    MARK,
    Event,
    Turn,
    encode,
    template,
)

_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_LIMITS = {
    "requests": "requests per minute",
    "requests_day": "requests per day",
    "tokens": "input tokens per minute",
    "output": "output tokens per minute",
    "concurrency": "concurrent connections",
}


def named(kind: str, value: dict[str, Any]) -> bytes:
    """One server-sent event; the data carry their own type, as the name does."""
    return b"event: " + kind.encode() + b"\ndata: " + encode(value) + b"\n\n"


class Anthropic(AnthropicReader):
    """The API of api.anthropic.com, version 2023-06-01."""

    name: ClassVar[str] = "anthropic"
    early_head: ClassVar[bool] = True
    charge: ClassVar[str] = "input"
    image_tokens: ClassVar[int] = 1600
    marks_cache: ClassVar[bool] = True

    # --- writing -------------------------------------------------------------

    def usage(self, turn: Turn, output: int) -> dict[str, Any]:
        used = turn.usage
        hour = "1h" in str(turn.ask.body.get("cache_control") or "")
        asked = turn.ask.body.get("inference_geo")
        where = {} if asked is None else {"inference_geo": asked}
        return {
            "input_tokens": used.input - used.cached - used.cache_write,
            "cache_creation_input_tokens": used.cache_write,
            "cache_read_input_tokens": used.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if hour else used.cache_write,
                "ephemeral_1h_input_tokens": used.cache_write if hour else 0,
            },
            "output_tokens": output,
            "service_tier": "standard",
            **where,
        }

    def stop(self, reply: Reply) -> dict[str, Any]:
        reason = "stop_sequence" if reply.stop_sequence else _STOP[reply.finish]
        return {"stop_reason": reason, "stop_sequence": reply.stop_sequence}

    def envelope(self, turn: Turn, content: list[Any]) -> dict[str, Any]:
        return {
            "model": turn.ask.model,
            "id": f"msg_{turn.key}",
            "type": "message",
            "role": "assistant",
            "content": content,
        }

    def unary(self, turn: Turn) -> bytes:
        if turn.ask.kind == "models":
            return encode(self.models_body())
        if turn.ask.kind == "count":
            return encode({"input_tokens": turn.usage.input})
        content: list[Any] = []
        reply = turn.reply
        if reply.reasoning:
            sign = f"mock{turn.key}"
            block = {"type": "thinking", "thinking": reply.reasoning, "signature": sign}
            content.append(block)
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        for i, call in enumerate(reply.calls):
            start = self.call_start(turn, i, call.name)
            content.append(start | {"input": _arguments(call.arguments)})
        usage = {"usage": self.usage(turn, turn.usage.output)}
        return encode(self.envelope(turn, content) | self.stop(reply) | usage)

    def models_body(self) -> dict[str, Any]:
        rows = [
            {
                "type": "model",
                "id": m,
                "display_name": m,
                "created_at": "2025-01-01T00:00:00Z",
            }
            for m in self.models
        ]
        ends = {
            "first_id": self.models[0] if self.models else None,
            "last_id": self.models[-1] if self.models else None,
        }
        return {"data": rows, "has_more": False} | ends

    def call_start(self, turn: Turn, i: int, name: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{turn.key}{i:02d}", "name": name}

    def events(self, turn: Turn) -> Iterator[Event]:
        open_stop: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}
        first = min(1, turn.usage.output)
        message = self.envelope(turn, []) | open_stop
        message |= {"usage": self.usage(turn, first)}
        yield -1, named("message_start", {"type": "message_start", "message": message})
        at = 0
        for index, (start, deltas) in enumerate(self.blocks(turn)):
            body = {
                "type": "content_block_start",
                "index": index,
                "content_block": start,
            }
            yield at, named("content_block_start", body)
            if index == 0:
                yield at, b'event: ping\ndata: {"type": "ping"}\n\n'
            for kind, field, text in deltas:
                for event in self.delta_events(index, kind, field, text, at):
                    at = event[0]
                    yield event
            body = {"type": "content_block_stop", "index": index}
            yield at, named("content_block_stop", body)
        final = self.usage(turn, turn.usage.output)
        del final["cache_creation"], final["service_tier"]
        final.pop("inference_geo", None)
        end = {"type": "message_delta", "delta": self.stop(turn.reply), "usage": final}
        yield at, named("message_delta", end)
        yield at, named("message_stop", {"type": "message_stop"})

    def blocks(
        self, turn: Turn
    ) -> Iterator[tuple[dict[str, Any], list[tuple[str, str, str]]]]:
        """Each content block: how it starts, and (delta type, field, text) of it."""
        reply = turn.reply
        if reply.reasoning:
            start = {"type": "thinking", "thinking": "", "signature": ""}
            sign = ("signature_delta", "signature", f"mock{turn.key}")
            yield start, [("thinking_delta", "thinking", reply.reasoning), sign]
        if reply.text:
            start = {"type": "text", "text": ""}
            yield start, [("text_delta", "text", reply.text)]
        for i, call in enumerate(reply.calls):
            begin = self.call_start(turn, i, call.name) | {"input": {}}
            empty = call.arguments == "{}"
            deltas = [("input_json_delta", "partial_json", "")]
            if not empty:
                deltas.append(("input_json_delta", "partial_json", call.arguments))
            yield begin, deltas

    def delta_events(
        self, index: int, kind: str, field: str, text: str, at: int
    ) -> Iterator[Event]:
        delta = {"type": kind, field: MARK}
        body = {"type": "content_block_delta", "index": index, "delta": delta}
        before, after = template(body)
        before, after = b"event: content_block_delta\ndata: " + before, after + b"\n\n"
        if kind == "signature_delta" or not text:
            yield at, before + encode(text) + after
            return
        for piece in pieces(text):
            at += 1
            yield at, before + encode(piece) + after

    # --- errors and limits ---------------------------------------------------

    def error_body(self, kind: str, message: str, key: str) -> bytes:
        error = {"type": kind, "message": message}
        return encode({"type": "error", "error": error, "request_id": f"req_{key}"})

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        status, message = self.describe(refused)
        kind = _ERRORS.get(status, "api_error" if status >= 500 else _ERRORS[400])
        return status, self.error_body(kind, message, key)

    def describe(self, refused: Refused) -> tuple[int, str]:
        match refused.kind:
            case "auth":
                return 401, "invalid x-api-key"
            case "auth_missing":
                return 401, "x-api-key header is required"
            case "not_found":
                return 404, f"model: {refused.message}"
            case "no_route":
                return 404, "Not Found"
            case "context":
                limit = self.context_window
                return 400, (
                    f"prompt is too long: {refused.message} tokens > {limit} maximum"
                )
            case "too_large":
                return 413, "Request exceeds the maximum size"
            case "overloaded":
                return 529, "Overloaded"
            case "server":
                status = refused.status or 500
                return (
                    status,
                    "Overloaded" if status == 529 else "Internal server error",
                )
        return 400, refused.message

    def limited(
        self, refusal: Refusal, ask: Ask, key: str
    ) -> tuple[int, bytes, list[str]]:
        limit = f"{refusal.limit:,} {_LIMITS[refusal.kind]}"
        text = (
            f"This request would exceed your organization's rate limit of {limit} "
            f"(org: mock, model: {ask.model}). For details, refer to: "
            "https://docs.claude.com/en/api/rate-limits. You can see the response "
            "headers for current usage. Please reduce the prompt length or the maximum "
            "tokens requested, or try again later."
        )
        headers = (
            [] if refusal.hopeless else self.retry_headers(refusal.wait_ns / SECOND)
        )
        return 429, self.error_body("rate_limit_error", text, key), headers

    def retry_headers(self, seconds: float) -> list[str]:
        return [f"retry-after: {max(0, -int(-seconds // 1))}"]

    def stream_error(self, turn: Turn) -> bytes:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return named("error", {"type": "error", "error": error})

    def headers(self, key: str, took: float) -> list[str]:
        return [
            f"request-id: req_{key}",
            "anthropic-organization-id: mock",
            f"x-envoy-upstream-service-time: {took * 1000:.0f}",
        ]

    def limit_headers(self, limiter: Limiter, now: int, wall: float) -> list[str]:
        """`tokens` is the sum of input and output; all tokens in whole thousands."""
        found = limiter.buckets
        groups: list[tuple[str, int, int, int]] = []
        names = (("requests", "requests"), ("tokens", "input-tokens"))
        for kind, name in (*names, ("output", "output-tokens")):
            bucket = found.get(kind)
            if bucket is not None:
                left, full = bucket.remaining(now), bucket.full_ns(now)
                groups.append((name, bucket.limit, left, full))
        tokens = [g for g in groups if g[0] != "requests"]
        if tokens:
            limit, left = sum(g[1] for g in tokens), sum(g[2] for g in tokens)
            groups.append(("tokens", limit, left, max(g[3] for g in tokens)))
        lines = []
        for name, limit, left, full in groups:
            head = f"anthropic-ratelimit-{name}"
            if name != "requests":
                left = min(limit, (left + 500) // 1000 * 1000)
            lines += [
                f"{head}-limit: {limit}",
                f"{head}-remaining: {left}",
                f"{head}-reset: {_rfc3339(wall + full / SECOND)}",
            ]
        return lines


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _arguments(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
