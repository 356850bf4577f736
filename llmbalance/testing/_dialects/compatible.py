"""Servers that imitate OpenAI's API, each with its own habits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from .._bucket import Refusal
from .._exchange import Ask, Refused, Usage
from . import _ollama_native
from ._base import Event, Target, Turn, decode_object, duration, encode
from ._ollama_native import read_native
from .openai import OpenAI


class Compatible(OpenAI):
    """The plain protocol: no padding, no tiers, no fields that only OpenAI has."""

    name: ClassVar[str] = "openai_compatible"
    charge: ClassVar[str] = "actual"
    reasoning_field: ClassVar[str | None] = "reasoning_content"

    def message_extras(self) -> dict[str, Any]:
        return {}

    def tail(self) -> dict[str, Any]:
        return {"system_fingerprint": "fp_mock000000"}

    def padded(self, turn: Turn) -> bool:
        return False

    def chunk(self, turn: Turn, choices: list[Any]) -> dict[str, Any]:
        chunk = super().chunk(turn, choices)
        del chunk["service_tier"]
        chunk.pop("usage", None)
        return chunk

    def usage(self, turn: Turn) -> dict[str, Any]:
        used = turn.usage
        usage: dict[str, Any] = {
            "prompt_tokens": used.input,
            "completion_tokens": used.output,
            "total_tokens": used.input + used.output,
        }
        if used.cached:
            usage["prompt_tokens_details"] = {"cached_tokens": used.cached}
        if used.reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": used.reasoning}
        return usage

    def headers(self, key: str, took: float) -> list[str]:
        return [f"x-request-id: req_{key}"]


class Groq(Compatible):
    """Groq: usage twice at the end, its own times, errors as a named event."""

    name: ClassVar[str] = "groq"
    prefix: ClassVar[str] = "/openai/v1"
    reasoning_field: ClassVar[str | None] = "reasoning"
    duration_digits: ClassVar[int] = 9
    stream_type: ClassVar[str] = "text/event-stream"

    def at_admission(self, ask: Ask, usage: Usage, charge: str) -> int:
        """Cached tokens do not count towards the limit."""
        taken = super().at_admission(ask, usage, charge)
        return taken - usage.cached if charge == "actual" else taken

    def tail(self) -> dict[str, Any]:
        return super().tail() | {"service_tier": "on_demand"}

    def usage(self, turn: Turn) -> dict[str, Any]:
        return super().usage(turn) | {
            "queue_time": round(turn.queued, 9),
            "prompt_time": round(turn.took * 0.1, 9),
            "completion_time": round(turn.took * 0.9, 9),
            "total_time": round(turn.took, 9),
        }

    def finish_chunk(self, turn: Turn, i: int, reply: Any) -> dict[str, Any]:
        chunk = super().finish_chunk(turn, i, reply)
        usage = self.usage(turn)
        return chunk | {"x_groq": {"id": f"req_{turn.key}", "usage": usage}}

    def envelope(
        self, message: str, kind: str, param: str | None, code: Any
    ) -> dict[str, Any]:
        error = {"message": message, "type": kind}
        return {"error": error | ({"code": code} if code else {})}

    def describe(
        self, refused: Refused, key: str
    ) -> tuple[int, str, str, str | None, Any]:
        caller = "invalid_request_error"
        if refused.kind in ("auth", "auth_missing"):
            return 401, "Invalid API Key", caller, None, "invalid_api_key"
        if refused.kind == "server":
            status = refused.status or 500
            return status, "Internal Server Error", "internal_server_error", None, None
        if refused.kind == "overloaded":
            return 503, "Service Unavailable", "internal_server_error", None, None
        return super().describe(refused, key)

    def limit_text(self, refusal: Refusal, ask: Ask, dimension: str) -> str:
        return (
            f"Rate limit reached for model `{ask.model}` in organization `org_mock` "
            f"service tier `on_demand` on {dimension.replace(' min', ' minute')}: "
            f"Limit {refusal.limit}, Used {refusal.used}, Requested "
            f"{refusal.requested}. Please try again in {duration(refusal.wait_ns, 9)}."
        )

    def retry_headers(self, seconds: float) -> list[str]:
        return [f"retry-after: {max(1, -int(-seconds // 1))}"]

    def stream_error(self, turn: Turn) -> bytes:
        status, text, kind, _, _ = self.describe(Refused("server"), turn.key)
        error = {"message": text, "type": kind, "status_code": status}
        return b"event: error\ndata: " + encode({"error": error}) + b"\n\n"


class DeepSeek(Compatible):
    """DeepSeek: usage in the finish chunk, cache hits and misses, concurrency limit."""

    name: ClassVar[str] = "deepseek"
    usage_in_finish: ClassVar[bool] = True

    def usage(self, turn: Turn) -> dict[str, Any]:
        used = turn.usage
        return super().usage(turn) | {
            "prompt_cache_hit_tokens": used.cached,
            "prompt_cache_miss_tokens": used.input - used.cached,
            "prompt_tokens_details": {"cached_tokens": used.cached},
        }


class VLLM(Compatible):
    """vLLM: a local server; busy slots make a queue, not a 429."""

    name: ClassVar[str] = "vllm"
    max_queue: ClassVar[int] = 10_000

    def read(self, target: Target, headers: Any, body: bytes) -> Ask:
        if target.method == "GET" and target.path == "/health":
            return Ask("health")
        return super().read(target, headers, body)

    def describe(
        self, refused: Refused, key: str
    ) -> tuple[int, str, str, str | None, Any]:
        status, text, _, param, _ = super().describe(refused, key)
        if refused.kind == "not_found":
            text = f"The model `{refused.message}` does not exist."
        kind = {400: "BadRequestError", 401: "Unauthorized", 404: "NotFoundError"}
        return status, text, kind.get(status, "InternalServerError"), param, status

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        if refused.kind in ("auth", "auth_missing"):
            return 401, encode({"error": "Unauthorized"})
        return super().error(refused, key)

    def headers(self, key: str, took: float) -> list[str]:
        return ["server: uvicorn"]


class Ollama(Compatible):
    """Ollama: its /v1 interface and its own; a queue of 512 in front of the model."""

    name: ClassVar[str] = "ollama"
    reasoning_field: ClassVar[str | None] = "reasoning"
    max_queue: ClassVar[int] = 512

    def form(self, target: Target) -> str:
        return "native" if target.path.startswith("/api/") else ""

    def read(self, target: Target, headers: Mapping[str, str], body: bytes) -> Ask:
        if target.method == "POST" and target.path == "/api/chat":
            given = decode_object(body)
            return read_native(Ask("chat", self.read_model(given), given), given)
        if target.method == "POST" and target.path == "/api/embed":
            ask = self.read_embed(decode_object(body))
            ask.form = "native"
            return ask
        if target.method == "GET" and target.path == "/api/tags":
            return Ask("models", form="native")
        return super().read(target, headers, body)

    def unary(self, turn: Turn) -> bytes:
        if turn.ask.form != "native":
            return super().unary(turn)
        if turn.ask.kind == "models":
            names = [{"name": m, "model": m} for m in self.models]
            return encode({"models": names})
        if turn.ask.kind == "embed":
            rows = self.embed_body(turn)["data"]
            return _ollama_native.embeddings(turn, [row["embedding"] for row in rows])
        return _ollama_native.unary(turn)

    def events(self, turn: Turn) -> Iterator[Event]:
        native = turn.ask.form == "native"
        return _ollama_native.events(turn) if native else super().events(turn)

    def stream_content_type(self, ask: Ask) -> str:
        return "application/x-ndjson" if ask.form == "native" else self.stream_type

    def stream_error(self, turn: Turn) -> bytes:
        if turn.ask.form != "native":
            return super().stream_error(turn)
        return (
            encode({"error": "an error was encountered while running the model"})
            + b"\n"
        )

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        if refused.form != "native":
            return super().error(refused, key)
        status, text, *_ = self.describe(refused, key)
        return status, encode({"error": text})

    def tail(self) -> dict[str, Any]:
        return {"system_fingerprint": "fp_ollama"}

    def describe(
        self, refused: Refused, key: str
    ) -> tuple[int, str, str, str | None, Any]:
        status, text, _, _, _ = super().describe(refused, key)
        kind = {400: "invalid_request_error", 404: "not_found_error"}
        if refused.kind == "not_found":
            text = f"model '{refused.message}' not found"
        if refused.kind == "overloaded":
            text = "server busy, please try again.  maximum pending requests exceeded"
        if refused.kind in ("auth", "auth_missing"):
            text = "Unauthorized"
        return status, text, kind.get(status, "api_error"), None, None

    def headers(self, key: str, took: float) -> list[str]:
        return []
