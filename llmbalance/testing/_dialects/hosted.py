"""Hosted services that follow OpenAI's protocol with bodies and limits of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from .._bucket import Limiter, Refusal
from .._exchange import Ask, Refused, Reply
from ._base import Event, Turn, encode
from .compatible import Compatible
from .openai import sse


class Mistral(Compatible):
    """Mistral: flat errors, the window in the header's name, whole tool calls."""

    name: ClassVar[str] = "mistral"
    usage_in_finish: ClassVar[bool] = True

    def tail(self) -> dict[str, Any]:
        return {}

    def chunk(self, turn: Turn, choices: list[Any]) -> dict[str, Any]:
        chunk = super().chunk(turn, choices)
        del chunk["system_fingerprint"]
        return chunk

    def call_deltas(
        self, turn: Turn, j: int, name: str, arguments: str
    ) -> Iterator[dict[str, Any]]:
        """One chunk holds all of a call; it has no `index`."""
        function = {"name": name, "arguments": arguments}
        yield {"id": f"call{turn.key[-4:]}{j}", "function": function}

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        if refused.kind in ("auth", "auth_missing"):
            return 401, encode({"detail": "Invalid API Key"})
        status, text, kind, param, _ = self.describe(refused, key)
        code = "3000" if status >= 500 else "3051"
        if refused.kind == "not_found":
            status, text = 400, f"Invalid model: {refused.message}"
            kind, code = "invalid_model", "1500"
        return status, self.flat(status, text, kind, param, code)

    def flat(
        self, status: int, text: str, kind: str, param: str | None, code: str
    ) -> bytes:
        fields = {"object": "error", "message": text, "type": kind, "param": param}
        return encode(fields | {"code": code, "raw_status_code": status})

    def limited(
        self, refusal: Refusal, ask: Ask, key: str
    ) -> tuple[int, bytes, list[str]]:
        """A 429 without any wait."""
        what = "Tokens" if refusal.kind == "tokens" else "Requests"
        text = f"{what} rate limit exceeded"
        return 429, self.flat(429, text, "rate_limited", None, "1300"), []

    def limit_headers(self, limiter: Limiter, now: int, wall: float) -> list[str]:
        lines = []
        for kind, name in (("requests", "req-minute"), ("tokens", "tokens-minute")):
            bucket = limiter.buckets.get(kind)
            if bucket is not None:
                lines += [
                    f"x-ratelimit-limit-{name}: {bucket.limit}",
                    f"x-ratelimit-remaining-{name}: {bucket.remaining(now)}",
                ]
        return lines


class OpenRouter(Compatible):
    """OpenRouter: comments, a finish reason twice, the cost in the usage."""

    name: ClassVar[str] = "openrouter"
    prefix: ClassVar[str] = "/api/v1"
    reasoning_field: ClassVar[str | None] = "reasoning"
    usage_in_finish: ClassVar[bool] = True

    def usage(self, turn: Turn) -> dict[str, Any]:
        usage = super().usage(turn)
        if self.price is not None:
            paid_in, paid_out, paid_cached = self.price
            used = turn.usage
            pico = (used.input - used.cached) * paid_in + used.output * paid_out
            usage["cost"] = (pico + used.cached * paid_cached) / 1e12
        return usage

    def finish_chunk(self, turn: Turn, i: int, reply: Reply) -> dict[str, Any]:
        chunk = super().finish_chunk(turn, i, reply)
        chunk.pop("usage", None)
        return chunk

    def events(self, turn: Turn) -> Iterator[Event]:
        yield -1, b": OPENROUTER PROCESSING\n\n"
        yield from super().events(turn)

    def closing(self, turn: Turn, at: int) -> Iterator[Event]:
        last = self.delta(turn, 0, {"role": "assistant", "content": ""})
        again = self.finish_chunk(turn, len(turn.replies) - 1, turn.replies[-1])
        yield at, sse(again)
        yield at, sse(last | {"usage": self.usage(turn)})

    def envelope(
        self, message: str, kind: str, param: str | None, code: Any
    ) -> dict[str, Any]:
        return {"error": {"message": message, "code": code}, "user_id": "user_mock"}

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        status, text, kind, param, _ = self.describe(refused, key)
        if refused.kind == "not_found":
            status, text = 400, f"{refused.message} is not a valid model ID"
        return status, encode(self.envelope(text, kind, param, status))

    def stream_error(self, turn: Turn) -> bytes:
        """The error stands inside a normal chunk, and [DONE] follows."""
        chunk = self.delta(turn, 0, {"role": "assistant", "content": ""}, "error")
        error = {"code": 502, "message": "Provider disconnected"}
        return sse(chunk | {"error": error}) + b"data: [DONE]\n\n"

    def limit_headers(self, limiter: Limiter, now: int, wall: float) -> list[str]:
        return []


class XAI(Compatible):
    """xAI: a wrong key is a 400, errors are texts, limits have no reset."""

    name: ClassVar[str] = "xai"

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        status, text, *_ = self.describe(refused, key)
        if refused.kind in ("auth", "auth_missing"):
            status = refused.status or 400
            text = (
                "Incorrect API key provided. You can obtain an API key from "
                "https://console.x.ai."
            )
        code = "invalid-argument" if status < 500 else "internal-error"
        return status, encode({"code": code, "error": text})

    def limit_headers(self, limiter: Limiter, now: int, wall: float) -> list[str]:
        lines = super().limit_headers(limiter, now, wall)
        return [line for line in lines if not line.startswith("x-ratelimit-reset")]
