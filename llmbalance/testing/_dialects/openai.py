"""OpenAI: Chat Completions, embeddings, models; the base of all that imitate it."""

from __future__ import annotations

import base64
import math
import random
import struct
from collections.abc import Iterator
from typing import Any, ClassVar

from .._bucket import SECOND, Limiter, Refusal
from .._exchange import Ask, Refused, Reply
from .._words import pieces
from . import _responses
from ._base import (
    MARK,
    Event,
    Turn,
    duration,
    encode,
    template,
)
from ._openai_read import OpenAIReader

_NAMES = {
    "requests": ("requests", "requests per min (RPM)"),
    "requests_day": ("requests", "requests per day (RPD)"),
    "tokens": ("tokens", "tokens per min (TPM)"),
    "output": ("tokens", "output tokens per min (OTPM)"),
    "concurrency": ("requests", "concurrent requests"),
}
_PADDING = "kZ3xQ9wTbE7u"
_DIMENSIONS = 16  # of an embedding, unless the caller asks for another number


def sse(value: Any) -> bytes:
    """One server-sent event without a name."""
    return b"data: " + encode(value) + b"\n\n"


class OpenAI(OpenAIReader):
    """The API of api.openai.com."""

    name: ClassVar[str] = "openai"
    charge: ClassVar[str] = "chars4"
    reasoning_field: ClassVar[str | None] = None
    usage_in_finish: ClassVar[bool] = False

    # --- writing -------------------------------------------------------------

    def usage(self, turn: Turn) -> dict[str, Any]:
        used = turn.usage
        return {
            "prompt_tokens": used.input,
            "completion_tokens": used.output,
            "total_tokens": used.input + used.output,
            "prompt_tokens_details": {"cached_tokens": used.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": used.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def message(self, reply: Reply, key: str) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text if reply.text or not reply.calls else None,
        }
        if reply.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{key}{i:02d}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for i, call in enumerate(reply.calls)
            ]
        if self.reasoning_field and reply.reasoning:
            message[self.reasoning_field] = reply.reasoning
        return message | self.message_extras()

    def message_extras(self) -> dict[str, Any]:
        return {"refusal": None, "annotations": []}

    def tail(self) -> dict[str, Any]:
        """Fields at the end of a reply and of each chunk."""
        return {"service_tier": "default", "system_fingerprint": "fp_mock000000"}

    def unary(self, turn: Turn) -> bytes:
        if turn.ask.kind == "models":
            return encode(self.models_body(turn))
        if turn.ask.kind == "embed":
            return encode(self.embed_body(turn))
        if turn.ask.form == "responses":
            return encode(_responses.response(turn))
        body = {
            "id": f"chatcmpl-{turn.key}",
            "object": "chat.completion",
            "created": turn.created,
            "model": turn.ask.model,
            "choices": [
                {
                    "index": i,
                    "message": self.message(reply, turn.key),
                    "logprobs": None,
                    "finish_reason": reply.finish,
                }
                for i, reply in enumerate(turn.replies)
            ],
            "usage": self.usage(turn),
        }
        return encode(body | self.tail())

    def models_body(self, turn: Turn) -> dict[str, Any]:
        cards = [
            {"id": m, "object": "model", "created": 1715367049, "owned_by": "system"}
            for m in ((turn.ask.model,) if turn.ask.model else self.models)
        ]
        return cards[0] if turn.ask.model else {"object": "list", "data": cards}

    def embed_body(self, turn: Turn) -> dict[str, Any]:
        ask = turn.ask
        size = ask.body.get("dimensions") or _DIMENSIONS
        packed = ask.body.get("encoding_format") == "base64"
        rows = []
        for i, text in enumerate(ask.inputs):
            vector = embedding(text, size)
            value: Any = vector
            if packed:
                value = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
            rows.append({"object": "embedding", "index": i, "embedding": value})
        used = turn.usage.input
        return {
            "object": "list",
            "data": rows,
            "model": ask.model,
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }

    # --- streams -------------------------------------------------------------

    def chunk(self, turn: Turn, choices: list[Any]) -> dict[str, Any]:
        head = {
            "id": f"chatcmpl-{turn.key}",
            "object": "chat.completion.chunk",
            "created": turn.created,
            "model": turn.ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_mock000000",
            "choices": choices,
        }
        return head | ({"usage": None} if turn.ask.include_usage else {})

    def delta(
        self, turn: Turn, i: int, delta: dict[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": i, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self.chunk(turn, [choice])

    def events(self, turn: Turn) -> Iterator[Event]:
        if turn.ask.form == "responses":
            yield from _responses.events(turn)
            return
        at = 0
        for i, reply in enumerate(turn.replies):
            for event in self.choice_events(turn, i, reply, at):
                at = event[0]
                yield event
        yield from self.closing(turn, at)
        yield at, b"data: [DONE]\n\n"

    def choice_events(
        self, turn: Turn, i: int, reply: Reply, at: int
    ) -> Iterator[Event]:
        content = None if reply.calls and not reply.text else ""
        first = {"role": "assistant", "content": content}
        yield at, self.event(turn, self.delta(turn, i, first), 0)
        if self.reasoning_field and reply.reasoning:
            before, after = self.piece_template(turn, i, {self.reasoning_field: MARK})
            for piece in pieces(reply.reasoning):
                at += 1
                yield at, before + encode(piece) + after(at)
        else:
            at += reply.reasoning_tokens
        before, after = self.piece_template(turn, i, {"content": MARK})
        for piece in pieces(reply.text):
            at += 1
            yield at, before + encode(piece) + after(at)
        for j, call in enumerate(reply.calls):
            for delta in self.call_deltas(turn, j, call.name, call.arguments):
                at += 1
                yield (
                    at,
                    self.event(turn, self.delta(turn, i, {"tool_calls": [delta]}), at),
                )
        yield at, self.event(turn, self.finish_chunk(turn, i, reply), at)

    def call_deltas(
        self, turn: Turn, j: int, name: str, arguments: str
    ) -> Iterator[dict[str, Any]]:
        yield {
            "index": j,
            "id": f"call_{turn.key}{j:02d}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        for piece in pieces(arguments):
            yield {"index": j, "function": {"arguments": piece}}

    def finish_chunk(self, turn: Turn, i: int, reply: Reply) -> dict[str, Any]:
        chunk = self.delta(turn, i, {}, reply.finish)
        last = i == len(turn.replies) - 1
        return chunk | (
            {"usage": self.usage(turn)} if self.usage_in_finish and last else {}
        )

    def closing(self, turn: Turn, at: int) -> Iterator[Event]:
        """What follows the finish reason: usage, when it was asked for."""
        if turn.ask.include_usage and not self.usage_in_finish:
            yield (
                at,
                self.event(
                    turn, self.chunk(turn, []) | {"usage": self.usage(turn)}, at
                ),
            )

    def padded(self, turn: Turn) -> bool:
        """Whether chunks carry the padding that hides the length of tokens."""
        options = turn.ask.body.get("stream_options") or {}
        return options.get("include_obfuscation") is not False

    def event(self, turn: Turn, chunk: dict[str, Any], at: int) -> bytes:
        if self.padded(turn):
            chunk["obfuscation"] = _PADDING[: at * 7 % len(_PADDING)]
        return sse(chunk)

    def piece_template(self, turn: Turn, i: int, delta: dict[str, Any]) -> Any:
        """The bytes before a piece of text, and a function: position -> bytes after."""
        before, after = template(self.delta(turn, i, delta))
        if not self.padded(turn):
            end = after + b"\n\n"
            return b"data: " + before, lambda at: end
        ends = [
            after[:-1] + b',"obfuscation":"' + _PADDING[:k].encode() + b'"}\n\n'
            for k in range(len(_PADDING))
        ]
        return b"data: " + before, lambda at: ends[at * 7 % len(ends)]

    # --- errors and limits ---------------------------------------------------

    def envelope(
        self, message: str, kind: str, param: str | None, code: Any
    ) -> dict[str, Any]:
        error = {"message": message, "type": kind, "param": param, "code": code}
        return {"error": error}

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        status, *fields = self.describe(refused, key)
        return status, encode(self.envelope(*fields))

    def describe(
        self, refused: Refused, key: str
    ) -> tuple[int, str, str, str | None, Any]:
        """Status, message, type, param, code."""
        caller = "invalid_request_error"
        match refused.kind:
            case "auth_missing":
                text = (
                    "You didn't provide an API key. You need to provide your API key "
                    "in an Authorization header using Bearer auth (i.e. Authorization: "
                    "Bearer YOUR_KEY)."
                )
                return 401, text, caller, None, None
            case "auth":
                text = (
                    "Incorrect API key provided: ********. You can find your API key "
                    "at https://platform.openai.com/account/api-keys."
                )
                return 401, text, caller, None, "invalid_api_key"
            case "not_found":
                text = (
                    f"The model `{refused.message}` does not exist or you do not have "
                    "access to it."
                )
                return 404, text, caller, None, "model_not_found"
            case "no_route":
                return 404, f"Invalid URL ({refused.message})", caller, None, None
            case "context":
                text = (
                    f"This model's maximum context length is {self.context_window} "
                    f"tokens. However, your messages resulted in {refused.message} "
                    "tokens. Please reduce the length of the messages."
                )
                return 400, text, caller, "messages", "context_length_exceeded"
            case "too_large":
                return 413, refused.message, caller, None, None
            case "overloaded":
                text = (
                    "The server is currently overloaded with other requests. Sorry "
                    "about that! You can retry your request, or contact us through our "
                    "help center at help.openai.com if the error persists."
                )
                kind = "service_unavailable_error"
                return 503, text, kind, None, "server_is_overloaded"
            case "server" if refused.status == 503:
                return self.describe(Refused("overloaded"), key)
            case "server":
                text = (
                    "The server had an error processing your request. Sorry about "
                    "that! You can retry your request, or contact us through our help "
                    f"center if you keep seeing this error. (Request ID req_{key})"
                )
                return refused.status or 500, text, "server_error", None, None
        return 400, refused.message, caller, refused.param, None

    def limited(
        self, refusal: Refusal, ask: Ask, key: str
    ) -> tuple[int, bytes, list[str]]:
        kind, dimension = _NAMES[refusal.kind]
        if refusal.hopeless:
            text = (
                f"Request too large for {ask.model} in organization org-mock on "
                f"{dimension}: Limit {refusal.limit}, Requested {refusal.requested}. "
                "The input or output tokens must be reduced in order to run "
                "successfully."
            )
            headers: list[str] = []
        else:
            text = self.limit_text(refusal, ask, dimension)
            headers = self.retry_headers(refusal.wait_ns / SECOND)
        body = self.envelope(text, kind, None, "rate_limit_exceeded")
        return 429, encode(body), headers

    def limit_text(self, refusal: Refusal, ask: Ask, dimension: str) -> str:
        wait = duration(refusal.wait_ns + 999_999, 3)
        return (
            f"Rate limit reached for {ask.model} in organization org-mock on "
            f"{dimension}: Limit {refusal.limit}, Used {refusal.used}, Requested "
            f"{refusal.requested}. Please try again in {wait}. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        )

    def retry_headers(self, seconds: float) -> list[str]:
        ms = max(0, math.ceil(seconds * 1000))
        return [f"retry-after-ms: {ms}", *super().retry_headers(seconds)]

    def stream_error(self, turn: Turn) -> bytes:
        if turn.ask.form == "responses":
            return _responses.stream_error(turn)
        _, body = self.error(Refused("server"), turn.key)
        return b"data: " + body + b"\n\n"

    def headers(self, key: str, took: float) -> list[str]:
        return [
            f"x-request-id: req_{key}",
            "openai-organization: mock",
            f"openai-processing-ms: {took * 1000:.0f}",
            "openai-version: 2020-10-01",
        ]

    duration_digits: ClassVar[int] = 3

    def limit_headers(self, limiter: Limiter, now: int, wall: float) -> list[str]:
        """The whole quota counts as one bucket; reset is the time until it is full."""
        lines = []
        day = limiter.buckets.get("requests_day")
        minute = limiter.buckets.get("requests")
        shown = (("requests", day or minute), ("tokens", limiter.buckets.get("tokens")))
        for name, bucket in shown:
            if bucket is not None:
                reset = duration(bucket.full_ns(now), self.duration_digits)
                lines += [
                    f"x-ratelimit-limit-{name}: {bucket.limit}",
                    f"x-ratelimit-remaining-{name}: {bucket.remaining(now)}",
                    f"x-ratelimit-reset-{name}: {reset}",
                ]
        return lines


def embedding(text: str, size: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    rng = random.Random(text)
    vector = [rng.gauss(0.0, 1.0) for _ in range(size)]
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / norm for x in vector]
