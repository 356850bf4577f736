"""What every dialect of the mock provider can do, and the tools they share.

A dialect reads a request into an `Ask`, and writes answers, streams, errors and
rate-limit headers the way its provider does. It does no I/O and keeps no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qs, unquote

import msgspec

from .._bucket import Limiter, Refusal
from .._exchange import Ask, Refused, Reply, Tool, Usage

Event = tuple[int, bytes]  # (due after so many tokens, bytes to send)
encode = msgspec.json.encode
_MARK = "\x7fpiece\x7f"
_MARK_JSON = encode(_MARK)


@dataclass(slots=True)
class Turn:
    """One admitted request with its answer, as a dialect needs it to write it."""

    ask: Ask
    replies: Sequence[Reply]
    usage: Usage
    key: str  # 24 hex digits, unique per provider
    created: int  # unix seconds
    took: float = 0.0  # seconds of "work" in the model
    queued: float = 0.0  # seconds in the queue
    sent: int = 0  # events of its stream

    @property
    def reply(self) -> Reply:
        return self.replies[0]


@dataclass(slots=True)
class Target:
    """A request line, taken apart."""

    method: str
    path: str  # unquoted, no query
    query: dict[str, list[str]]

    @classmethod
    def parse(cls, method: str, raw: str) -> Target:
        path, _, query = raw.partition("?")
        if "%" in path:
            path = unquote(path)
        return cls(method, path, parse_qs(query) if query else {})


class Dialect:
    """Base class; one instance belongs to one provider."""

    name: ClassVar[str]
    prefix: ClassVar[str] = ""  # path of the base URL
    charge: ClassVar[str] = "actual"  # how the provider counts tokens per minute
    early_head: ClassVar[bool] = False  # a stream starts before the first token
    max_queue: ClassVar[int] = 0  # waiting requests when all slots are busy
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    json_type: ClassVar[str] = "application/json"
    image_tokens: ClassVar[int] = 765
    marks_cache: ClassVar[bool] = False  # prompts are cached only when marked

    def __init__(
        self, models: tuple[str, ...], api_key: str | None, context_window: int | None
    ) -> None:
        self.models = models
        self.api_key = api_key
        self.context_window = context_window
        self.price: tuple[int, int, int] | None = None  # pico-USD per token

    def form(self, target: Target) -> str:
        """Which of the vendor's APIs a request is for; "" = the usual one."""
        return ""

    # --- reading -------------------------------------------------------------

    def authorise(self, headers: Mapping[str, str], target: Target) -> None:
        """Raise Refused unless the credentials are right."""
        raise NotImplementedError

    def read(self, target: Target, headers: Mapping[str, str], body: bytes) -> Ask:
        """Understand a request, or raise Refused."""
        raise NotImplementedError

    def overhead(self, ask: Ask) -> int:
        """Tokens of the frame around the texts."""
        raise NotImplementedError

    def input_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt: ceil(bytes / 4) + images + frame."""
        images = ask.images * self.image_tokens
        return (ask.text_bytes + 3) // 4 + images + self.overhead(ask)

    def at_admission(self, ask: Ask, usage: Usage, charge: str) -> int:
        """Tokens taken from the bucket on arrival; see MockProvider's `charge`."""
        if charge == "chars4":
            return (ask.text_chars + 3) // 4 + 3
        if charge == "max":
            return usage.input + (16 if ask.max_tokens is None else ask.max_tokens)
        return usage.input

    # --- writing -------------------------------------------------------------

    def unary(self, turn: Turn) -> bytes:
        """The body of an answer."""
        raise NotImplementedError

    def stream_content_type(self, ask: Ask) -> str:
        """The Content-Type of a stream."""
        return self.stream_type

    def events(self, turn: Turn) -> Iterator[Event]:
        """The events of a stream, in order of the tokens they wait for."""
        raise NotImplementedError

    def error(self, refused: Refused, key: str) -> tuple[int, bytes]:
        """Status and body of an error."""
        raise NotImplementedError

    def limited(
        self, refusal: Refusal, ask: Ask, key: str
    ) -> tuple[int, bytes, list[str]]:
        """Status, body and extra header lines of a request over its limit."""
        raise NotImplementedError

    def stream_error(self, turn: Turn) -> bytes:
        """What the provider writes into a stream when its model breaks down."""
        raise NotImplementedError

    def headers(self, key: str, took: float) -> list[str]:
        """Header lines of every answer: request id and the like."""
        raise NotImplementedError

    def limit_headers(self, limiter: Limiter, now: int, wall: float) -> list[str]:
        """Header lines that tell the state of the limits, written at admission."""
        return []

    def retry_headers(self, seconds: float) -> list[str]:
        """Header lines that tell how long to wait."""
        return [f"Retry-After: {max(0, -int(-seconds // 1))}"]

    def with_retry(self, body: bytes, seconds: float) -> tuple[bytes, list[str]]:
        """An error body and header lines that tell how long to wait."""
        return body, self.retry_headers(seconds)

    # --- shared --------------------------------------------------------------

    def known(self, model: str) -> bool:
        """Whether this provider serves that model (all, if none was named)."""
        return not self.models or model in self.models

    def check_model(self, model: str) -> None:
        if not self.known(model):
            raise Refused("not_found", model)

    def check_context(self, tokens: int) -> None:
        if self.context_window is not None and tokens > self.context_window:
            raise Refused("context", str(tokens))


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body; anything else is refused."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as exc:
        raise Refused("bad_request", f"could not parse the JSON body: {exc}") from None
    if not isinstance(value, dict):
        bad("the request body must be a JSON object")
    return value


def bad(message: str, param: str | None = None) -> NoReturn:
    raise Refused("bad_request", message, param)


def integer(value: Any, param: str) -> int | None:
    """An optional whole number >= 0 of a request."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        bad(f"Invalid value for '{param}': expected an integer >= 0.", param)
    return int(value)


def read_tool(ask: Ask, name: Any, description: Any, schema: Any) -> None:
    """Add a tool to the ask; its text counts as prompt."""
    if not isinstance(name, str) or not name:
        bad("a tool needs a name", "tools")
    ask.read(name)
    if isinstance(description, str):
        ask.read(description)
    if schema is not None:
        ask.read(encode(schema).decode())
    ask.tools += (Tool(name, schema),)


def template(chunk: Any) -> tuple[bytes, bytes]:
    """Encode a value that holds `MARK` once; the bytes before and after it."""
    before, _, after = encode(chunk).partition(_MARK_JSON)
    return before, after


MARK = _MARK


def duration(ns: int, digits: int) -> str:
    """A Go-like duration ("6ms", "1m13.588s"), cut after `digits` decimals of 1 s."""
    unit = 10 ** (9 - digits)
    ns -= ns % unit
    if ns < 1_000_000_000:
        text = f"{ns / 1_000_000:.6f}".rstrip("0").rstrip(".")
        return "0s" if text == "0" else f"{text}ms"
    seconds, rest = divmod(ns, 1_000_000_000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    text = f"{seconds}{fraction}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text
